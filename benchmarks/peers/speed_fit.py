"""This project's `fit` and its estimates of log p(x), as a reader calls them.

    python speed_fit.py xla|auto|keras

On a CPU a training of 2,000 steps or more is compiled by XLA, unless it convolves.
The rounds of a benchmark are short, so the program of a long one is asked for: "xla". "auto" is
what a reader gets who asks for nothing, and "keras" the `fit` of Keras itself on the same model.
"""

import sys

import keras
import numpy as np
import speed_protocol as protocol
import tensorflow as tf

import vae_tf as vt
from vae_tf.evidence.weights import WeightSums


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


def make(model="mlp", latents=50, weights=None, jit_compile="auto", counter=None, **options):
    """A VAE, with the weights that are given; `counter` is a layer in front of its decoder."""
    keras.utils.set_random_seed(0)
    encoder, decoder = NETWORKS[model](latents)
    if counter:
        decoder = keras.Sequential([decoder.inputs[0], counter, *decoder.layers])
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
    "iwae": vt.evidence.iwae,
    "grid": vt.evidence.grid,
    "ais": vt.evidence.ais,
    "bracket": vt.evidence.bracket,
    "decompose": lambda vae, x, **how: (  # without log p(x), which is a case of its own
        vt.gap.decompose(vae, x, log_evidence=np.zeros(len(x)), **how)
    ),
}


class Fit:
    def __init__(self, form="xla"):
        self.jit_compile = True if form == "xla" else "auto"
        self.fit = keras.Model.fit if form == "keras" else vt.VAE.fit

    def prepare(self, x, batch, model="mlp", latents=50, weights=None, counted=False):
        # XLA's convolutions take longer on a CPU: there `fit` decides for itself.
        jit_compile = "auto" if model == "conv" else self.jit_compile
        self.model, self.latents, self.batch = model, latents, batch
        self.x, self.counter = inputs(model, x), Count() if counted else None
        self.vae = make(model, latents, weights, jit_compile, self.counter)
        if counted:
            self.layers = self.vae.decoder.layers[1:-1]  # neither the counter nor p(x|z)
            self.decoder = tf.function(keras.Sequential(self.layers), autograph=False)

    def train(self, epochs):
        history = self.fit(self.vae, self.x, batch_size=self.batch, epochs=epochs, verbose=0)
        return history.history["loss"][-1]

    def weights(self):
        return [variable.numpy() for variable in self.vae.trainable_variables]

    def evaluate(self, x, function, **settings):
        found = FUNCTIONS[function](self.vae, inputs(self.model, x), **settings)
        return float(np.asarray(found).mean())

    def count(self):
        """(rows of z decoded, forward and back; graphs built of it), since it was asked before."""
        found = int(self.counter.rows), self.counter.traced
        self.counter.rows.assign(0)
        self.counter.traced = 0
        return found

    def decode(self, rows):
        if self.model == "mlp":
            return protocol.products(np, rows, self.latents)
        for _ in range(-(-rows // protocol.CHUNK)):
            self.decoder(tf.zeros([protocol.CHUNK, self.latents]))

    def parts(self, x, num_samples, seed):
        """{part of `iwae`: its seconds}: what it does to samples, a hundred at a time as there."""
        size, graph, found = min(100, num_samples), tf.function(autograph=False), {}
        one_pass, sums = vt.elbo.forward(self.vae, x, size), WeightSums(len(x), num_samples)
        rows, log_w = np.arange(len(x)), vt.elbo.log_weights(one_pass)
        pairs = [(tf.ones([size * len(x), one.kernel.shape[0]]), one.kernel) for one in self.layers]
        parts = {
            "noise": graph(lambda: one_pass.q_z.sample(size, seed=[0, seed])),
            "matrix products": graph(lambda: [a @ kernel for a, kernel in pairs]),
            "tanh": graph(lambda: [tf.tanh(a) for a, _ in pairs[1:]]),
            "log p(x|z)": graph(lambda: vt.elbo.log_likelihood(one_pass, differentiable=False)),
            "log-sum-exp": lambda: sums.add(rows, log_w),
        }
        for name, part in parts.items():
            part()  # compiles
            seconds = [protocol.timed(part)[1] for _ in range(5)]
            found[name] = float(np.median(seconds)) * num_samples / size
        return found | {"k-hat": protocol.timed(sums.log_mean)[1]}


if __name__ == "__main__":
    protocol.serve(Fit(sys.argv[1]))
