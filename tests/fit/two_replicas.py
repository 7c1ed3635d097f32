"""Run by test_contract: two logical devices train and report as one does, on the same batches."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)

import vae_tf as vt


def make():
    """Without a path from z to x nothing is random, so that devices can be compared exactly."""
    keras.utils.set_random_seed(0)
    encoder = vt.networks.mlp(6, vt.layers.NormalDiag(3), hidden=(8,))
    decoder = vt.networks.mlp(3, vt.layers.Bernoulli(6), hidden=(8,), kernel_initializer="zeros")
    vae = vt.VAE(encoder, decoder)
    vae.compile(keras.optimizers.SGD(0.1))
    return vae


def train(vae):
    history = vae.fit(x, epochs=2, batch_size=16, shuffle=False, verbose=0).history
    report = vae.evaluate(x, batch_size=16, return_dict=True, verbose=0)
    return history, report, vae.get_weights()


x = (np.random.default_rng(0).random((64, 6)) < 0.4).astype("float32")
one = train(make())
with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
    two = train(make())
for a, b in zip(one[:2], two[:2], strict=True):
    for name in ("loss", "elbo", "reconstruction", "kl"):
        np.testing.assert_allclose(a[name], b[name], rtol=1e-5)
for a, b in zip(one[2], two[2], strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
