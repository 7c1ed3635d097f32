"""The way of Keras' own VAE example: a Model with a `train_step`, and stock `fit`.

After keras.io, "Variational AutoEncoder": with its convolutions, or with dense layers in their
place. Its loss is summed over pixels and latents, which is right there.
"""

import os

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import speed_protocol as protocol
import tensorflow as tf
from keras import layers, ops


class Sampling(layers.Layer):
    """Uses (z_mean, z_log_var) to sample z."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seed_generator = keras.random.SeedGenerator(0)

    def call(self, inputs):
        z_mean, z_log_var = inputs
        epsilon = keras.random.normal(shape=ops.shape(z_mean), seed=self.seed_generator)
        return z_mean + ops.exp(0.5 * z_log_var) * epsilon


def dense():
    """What stands between the image and 2 L numbers, and between z and the probabilities."""
    down = [layers.Dense(width, activation="tanh") for width in protocol.HIDDEN]
    up = [layers.Dense(width, activation="tanh") for width in reversed(protocol.HIDDEN)]
    up += [layers.Dense(protocol.EVENT, activation="sigmoid"), layers.Reshape((28, 28, 1))]
    return [layers.Flatten(), *down], up


def convolutions():
    half = {"strides": 2, "padding": "same", "activation": "relu"}
    down = [layers.Conv2D(32, 3, **half), layers.Conv2D(64, 3, **half), layers.Flatten()]
    up = [layers.Dense(7 * 7 * 64, activation="relu"), layers.Reshape((7, 7, 64))]
    up += [layers.Conv2DTranspose(64, 3, **half), layers.Conv2DTranspose(32, 3, **half)]
    up.append(layers.Conv2DTranspose(1, 3, activation="sigmoid", padding="same"))
    return [*down, layers.Dense(16, activation="relu")], up


def networks(latents, down, up):
    inputs = h = keras.Input((28, 28, 1))
    for layer in [*down, layers.Dense(2 * latents)]:
        h = layer(h)
    z_mean, z_log_var = h[:, :latents], h[:, latents:]
    z = Sampling()([z_mean, z_log_var])
    return keras.Model(inputs, [z_mean, z_log_var, z]), keras.Sequential(
        [keras.Input((latents,)), *up]
    )


class VAE(keras.Model):
    def __init__(self, encoder, decoder, **kwargs):
        super().__init__(**kwargs)
        self.encoder = encoder
        self.decoder = decoder
        self.total_loss_tracker = keras.metrics.Mean(name="total_loss")
        self.reconstruction_loss_tracker = keras.metrics.Mean(name="reconstruction_loss")
        self.kl_loss_tracker = keras.metrics.Mean(name="kl_loss")

    @property
    def metrics(self):
        return [self.total_loss_tracker, self.reconstruction_loss_tracker, self.kl_loss_tracker]

    def train_step(self, data):
        with tf.GradientTape() as tape:
            z_mean, z_log_var, z = self.encoder(data)
            reconstruction = self.decoder(z)
            reconstruction_loss = ops.mean(
                ops.sum(keras.losses.binary_crossentropy(data, reconstruction), axis=(1, 2))
            )
            kl_loss = -0.5 * (1 + z_log_var - ops.square(z_mean) - ops.exp(z_log_var))
            kl_loss = ops.mean(ops.sum(kl_loss, axis=1))
            total_loss = reconstruction_loss + kl_loss
        grads = tape.gradient(total_loss, self.trainable_weights)
        self.optimizer.apply_gradients(zip(grads, self.trainable_weights, strict=True))
        self.total_loss_tracker.update_state(total_loss)
        self.reconstruction_loss_tracker.update_state(reconstruction_loss)
        self.kl_loss_tracker.update_state(kl_loss)
        return {metric.name: metric.result() for metric in self.metrics}


class KerasGuide:
    scale = "log variance"
    versions = {"TensorFlow": tf.__version__, "Keras": keras.__version__}

    def prepare(self, x, batch, model="mlp", latents=50, weights=None):
        keras.utils.set_random_seed(0)
        self.x, self.batch = x.reshape(-1, 28, 28, 1), batch
        layers_of = {"mlp": dense, "conv": convolutions}[model]
        self.vae = VAE(*networks(latents, *layers_of()))
        if weights:
            self.vae.encoder.set_weights(weights[:6] + self.vae.encoder.get_weights()[6:])
            self.vae.decoder.set_weights(weights[6:])
        self.vae.compile(optimizer=keras.optimizers.Adam())

    def train(self, epochs):
        fitted = self.vae.fit(self.x, epochs=epochs, batch_size=self.batch, verbose=0)
        return fitted.history["total_loss"][-1]

    def weights(self):
        return self.vae.encoder.get_weights()[:6] + self.vae.decoder.get_weights()


if __name__ == "__main__":
    protocol.serve(KerasGuide())
