"""This project's `fit` and its estimates of log p(x), as a reader calls them.

    python speed_fit.py xla|auto|keras

A training of 2,000 steps or more is compiled by XLA, a shorter one runs as TensorFlow's own graph.
The rounds of a benchmark are short, so the program of a long one is asked for: "xla". "auto" is
what a reader gets who asks for nothing, and "keras" the `fit` of Keras itself on the same model.
"""

import os
import sys

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import numpy as np
import speed_protocol as protocol
import tensorflow as tf

import vae_tf as vt


def mlp(latents):
    encoder = vt.networks.mlp(protocol.EVENT, vt.layers.NormalDiag(latents))
    return encoder, vt.networks.mlp(latents, vt.layers.Bernoulli(protocol.EVENT))


def conv(latents):
    encoder = vt.networks.conv_encoder((28, 28), vt.layers.NormalDiag(latents), hidden=16)
    return encoder, vt.networks.conv_decoder(latents, vt.layers.Bernoulli((28, 28)), hidden=None)


def counts(latents):
    genes, hidden = protocol.GENES, protocol.HIDDEN_OF_COUNTS
    x, q_z = keras.Input((genes,)), vt.layers.NormalDiag(latents)
    h = keras.layers.Dense(hidden, activation="tanh")(keras.ops.log1p(x))
    encoder = keras.Model(x, q_z(keras.layers.Dense(q_z.input_size)(h)))
    p_x = vt.layers.NegativeBinomial(genes)
    return encoder, vt.networks.mlp(latents, p_x, hidden=hidden, size_factor=True)


NETWORKS = {"mlp": mlp, "conv": conv, "counts": counts}


def make(model="mlp", latents=50, weights=None, jit_compile="auto", before=(), **options):
    """A VAE, with the weights that are given; `before` are layers in front of its decoder."""
    keras.utils.set_random_seed(0)
    encoder, decoder = NETWORKS[model](latents)
    if before:
        decoder = keras.Sequential([decoder.inputs[0], *before, *decoder.layers])
    vae = vt.VAE(encoder, decoder, seed=0, **options)
    if weights:
        for variable, value in zip(vae.trainable_variables, weights, strict=True):
            variable.assign(value)
    vae.compile("adam", jit_compile=jit_compile)  # Adam(1e-3)
    return vae


def inputs(model, x):
    """What `fit` takes: images in their shape, counts with their size factors."""
    if model == "counts":
        return x, x.sum(axis=1, keepdims=True) / x.sum(axis=1).mean()
    return x.reshape(-1, 28, 28) if model == "conv" else x


class Count(keras.layers.Layer):
    """Hands z on, and counts its rows, forward and back, and how often a graph is built of it."""

    def __init__(self):
        super().__init__()
        self.rows, self.traced = tf.Variable(0, trainable=False, dtype=tf.int64), 0

    def call(self, z):
        self.traced += not tf.executing_eagerly()
        rows = tf.cast(tf.shape(z)[0], tf.int64)

        @tf.custom_gradient
        def hand_on(z):
            def gradient(by):
                self.rows.assign_add(rows)
                return by

            self.rows.assign_add(rows)
            return tf.identity(z), gradient

        return hand_on(z)

    def compute_output_spec(self, z):
        return keras.KerasTensor(z.shape, z.dtype)


FUNCTIONS = {
    "elbo": lambda vae, x, **how: vae.elbo(x, **how).elbo,
    "iwae": lambda vae, x, **how: vt.evidence.iwae(vae, x, **how).estimate,
    "grid": lambda vae, x, **how: vt.evidence.grid(vae, x, **how).estimate,
    "ais": lambda vae, x, **how: vt.evidence.ais(vae, x, **how).estimate,
    "bracket": lambda vae, x, **how: vt.evidence.bracket(vae, x, **how).upper,
    "decompose": lambda vae, x, **how: (  # without log p(x), which is a case of its own
        vt.gap.decompose(vae, x, log_evidence=np.zeros(len(x)), **how).best_elbo
    ),
}


class Fit:
    def __init__(self, form="xla"):
        self.jit_compile = True if form == "xla" else "auto"
        self.fit = keras.Model.fit if form == "keras" else vt.VAE.fit

    def prepare(self, x, batch, model="mlp", latents=50, weights=None):
        # XLA's convolutions take minutes on a CPU: there `fit` decides for itself.
        jit_compile = "auto" if model == "conv" else self.jit_compile
        self.x, self.batch = inputs(model, x), batch
        self.vae = make(model, latents, weights, jit_compile)

    def train(self, epochs):
        history = self.fit(self.vae, self.x, batch_size=self.batch, epochs=epochs, verbose=0)
        return history.history["loss"][-1]

    def weights(self):
        return [variable.numpy() for variable in self.vae.trainable_variables]

    def load(self, model="mlp", latents=50, weights=None):
        self.about = {"model": model, "latents": latents, "weights": weights}
        self.vae = make(**self.about)
        decoder = keras.Sequential(self.vae.decoder.layers[:-1])
        self.decoder = tf.function(decoder, autograph=False)

    def decode(self, rows):
        """The decoder alone: the floor where there are convolutions."""
        for _ in range(-(-rows // protocol.CHUNK)):
            self.decoder(tf.zeros([protocol.CHUNK, self.about["latents"]]))

    def evaluate(self, x, function, **settings):
        x = inputs(self.about["model"], x)
        return float(np.mean(FUNCTIONS[function](self.vae, x, **settings)))

    def count(self, x, function, **settings):
        """(rows of z through the decoder, forward and back; graphs built by a second call)."""
        x, count = inputs(self.about["model"], x), Count()
        vae = make(**self.about, before=[count])
        for _ in range(2):
            count.rows.assign(0)
            count.traced = 0
            FUNCTIONS[function](vae, x, **settings)
        return int(count.rows), count.traced


if __name__ == "__main__":
    protocol.serve(Fit(sys.argv[1]))
