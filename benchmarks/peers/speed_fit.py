"""This project's `fit` and `iwae`, as a reader calls them.

    python speed_fit.py long|short|auto|keras

A training of 2,000 steps or more is compiled by XLA, a shorter one runs as TensorFlow's own graph.
The rounds of a benchmark are short, so the long one is asked for by `jit_compile=True`; "auto" is
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


def model(weights):
    """The VAE of the benchmark: 784-200-200-L, tanh, and its mirror."""
    latents = len(weights[6])
    encoder = vt.networks.mlp(protocol.EVENT, vt.layers.NormalDiag(latents))
    decoder = vt.networks.mlp(latents, vt.layers.Bernoulli(protocol.EVENT))
    vae = vt.VAE(encoder, decoder, seed=0)
    for variable, value in zip(vae.trainable_variables, weights, strict=True):
        variable.assign(value)
    return vae


class Fit:
    scale = "softplus of one"
    versions = {"TensorFlow": tf.__version__, "Keras": keras.__version__}

    def __init__(self, length):
        self.jit_compile = {"long": True, "short": False}.get(length, "auto")
        self.fit = keras.Model.fit if length == "keras" else vt.VAE.fit

    def prepare(self, x, batch, weights):
        self.x, self.batch = x, batch
        self.vae = model(weights)
        self.vae.compile("adam", jit_compile=self.jit_compile)  # Adam(1e-3)

    def train(self, epochs):
        history = self.fit(self.vae, self.x, batch_size=self.batch, epochs=epochs, verbose=0)
        return history.history["loss"][-1]

    def weights(self):
        return [variable.numpy() for variable in self.vae.trainable_variables]

    def load(self, weights):
        self.vae = model(weights)

    def evaluate(self, x, samples, seed):
        return float(np.mean(vt.evidence.iwae(self.vae, x, samples, seed=seed).estimate))


if __name__ == "__main__":
    protocol.serve(Fit(sys.argv[1]))
