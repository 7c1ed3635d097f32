"""This project's `fit` and its estimates of log p(x), as a reader calls them.

    python speed_fit.py long|short|auto|keras

A training of 2,000 steps or more is compiled by XLA, a shorter one runs as TensorFlow's own graph.
The rounds of a benchmark are short, so the long one is asked for by `jit_compile=True`; "auto" is
what a reader gets who asks for nothing, and "keras" the `fit` of Keras itself on the same model.
"""

import contextlib
import os
import sys

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import numpy as np
import speed_protocol as protocol
import tensorflow as tf

import vae_tf as vt

# -- the models ------------------------------------------------------------------------------


def mlp(latents):
    encoder = vt.networks.mlp(protocol.EVENT, vt.layers.NormalDiag(latents))
    return encoder, vt.networks.mlp(latents, vt.layers.Bernoulli(protocol.EVENT))


def conv(latents):
    encoder = vt.networks.conv_encoder((28, 28), vt.layers.NormalDiag(latents), hidden=16)
    return encoder, vt.networks.conv_decoder(latents, vt.layers.Bernoulli((28, 28)), hidden=None)


def counts(latents):
    x, q_z = keras.Input((protocol.GENES,)), vt.layers.NormalDiag(latents)
    h = keras.layers.Dense(protocol.HIDDEN_OF_COUNTS, activation="tanh")(keras.ops.log1p(x))
    encoder = keras.Model(x, q_z(keras.layers.Dense(q_z.input_size)(h)))
    likelihood = vt.layers.NegativeBinomial(protocol.GENES)
    hidden = protocol.HIDDEN_OF_COUNTS
    return encoder, vt.networks.mlp(latents, likelihood, hidden=hidden, size_factor=True)


NETWORKS = {"mlp": mlp, "conv": conv, "counts": counts}


def make(model="mlp", latents=50, weights=None, seed=0, around=lambda decoder: decoder, **options):
    """A VAE, with the weights that are given; `around` may change its decoder."""
    keras.utils.set_random_seed(seed)
    encoder, decoder = NETWORKS[model](latents)
    vae = vt.VAE(encoder, around(decoder), seed=seed, **options)
    if weights:
        for variable, value in zip(vae.trainable_variables, weights, strict=True):
            variable.assign(value)
    return vae


def inputs(model, x):
    """What `fit` takes: images in their shape, counts with their size factors."""
    if model == "counts":
        return x, x.sum(axis=1, keepdims=True) / x.sum(axis=1).mean()
    return x.reshape(-1, 28, 28) if model == "conv" else x


# -- how many decodings an estimate takes ----------------------------------------------------


class Count(keras.layers.Layer):
    """Hands z on and counts: latents decoded, gradients taken back, and times it was traced."""

    def __init__(self):
        super().__init__()
        self.decoded, self.back = (
            tf.Variable(0, trainable=False, dtype=tf.int64) for _ in range(2)
        )
        self.traced = 0

    def call(self, z):
        self.traced += not tf.executing_eagerly()
        rows = tf.cast(tf.shape(z)[0], tf.int64)

        @tf.custom_gradient
        def hand_on(z):
            def gradient(by):
                self.back.assign_add(rows)
                return by

            self.decoded.assign_add(rows)
            return tf.identity(z), gradient

        return hand_on(z)

    def compute_output_spec(self, z):
        return keras.KerasTensor(z.shape, z.dtype)


FUNCTIONS = {  # of a model, data and a seed: what is estimated of each example
    "elbo": lambda vae, x, seed, **more: vae.elbo(x, seed=seed, **more).elbo,
    "iwae": lambda vae, x, seed, **more: vt.evidence.iwae(vae, x, seed=seed, **more).estimate,
    "grid": lambda vae, x, _, **more: vt.evidence.grid(vae, x, **more).estimate,
    "ais": lambda vae, x, seed, **more: vt.evidence.ais(vae, x, seed=seed, **more).estimate,
    "bracket": lambda vae, x, seed, **more: vt.evidence.bracket(vae, x, seed=seed, **more).upper,
    "decompose": lambda vae, x, seed, **more: (
        vt.gap.decompose(vae, x, log_evidence=np.zeros(len(x)), seed=seed, **more).best_elbo
    ),
}


class Fit:
    scale = "softplus of one"
    versions = {"TensorFlow": tf.__version__, "Keras": keras.__version__}

    def __init__(self, length):
        self.jit_compile = {"long": True, "short": False}.get(length, "auto")
        self.fit = keras.Model.fit if length == "keras" else vt.VAE.fit

    def prepare(self, x, batch, model="mlp", latents=50, weights=None, replicas=0):
        self.x, self.batch = inputs(model, x), batch
        with replicated(replicas) if replicas else contextlib.nullcontext():
            self.vae = make(model, latents, weights)
            # XLA's convolutions take minutes on a CPU: there `fit` decides for itself.
            jit_compile = "auto" if model == "conv" else self.jit_compile
            self.vae.compile("adam", jit_compile=jit_compile)  # Adam(1e-3)

    def train(self, epochs):
        history = self.fit(self.vae, self.x, batch_size=self.batch, epochs=epochs, verbose=0)
        return history.history["loss"][-1]

    def weights(self):
        return [variable.numpy() for variable in self.vae.trainable_variables]

    def load(self, **about):
        self.about, self.vae = about, make(**about)
        decoder = keras.Sequential(self.vae.decoder.layers[:-1])
        self.decoder = tf.function(decoder, autograph=False)

    def decode(self, decoded, **_):
        """The decoder alone, a thousand at a time: the floor where there are convolutions."""
        z = tf.zeros([1000, self.about["latents"]])
        for _ in range(-(-decoded // 1000)):
            self.decoder(z)

    def evaluate(self, x, function, seed, **settings):
        x = inputs(self.about["model"], x)
        return float(np.mean(FUNCTIONS[function](self.vae, x, seed, **settings)))

    def count(self, x, function, seed, **settings):
        """[latents decoded, gradients into them, times a second call traces the decoder]."""
        one, x = Count(), inputs(self.about["model"], x)

        def around(decoder):
            return keras.Sequential([decoder.inputs[0], one, *decoder.layers])

        vae = make(**self.about, around=around)
        found = []
        for _ in range(2):
            for variable in (one.decoded, one.back):
                variable.assign(0)
            one.traced = 0
            FUNCTIONS[function](vae, x, seed, **settings)
            found = [int(one.decoded), int(one.back), one.traced]
        return found


def replicated(replicas):
    """The scope of so many logical CPUs."""
    cpu = tf.config.list_physical_devices("CPU")[0]
    logical = [tf.config.LogicalDeviceConfiguration()] * replicas
    tf.config.set_logical_device_configuration(cpu, logical)
    return tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(replicas)]).scope()


if __name__ == "__main__":
    protocol.serve(Fit(sys.argv[1]))
