"""The way of Keras' own VAE example: a Model with a `train_step`, and stock `fit`.

After keras.io, "Variational AutoEncoder", with dense layers in place of convolutions. Its loss is
summed over pixels and latents, which is right there.
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


def networks(latents):
    inputs = keras.Input((28, 28, 1))
    h = layers.Flatten()(inputs)
    for width in protocol.HIDDEN:
        h = layers.Dense(width, activation="tanh")(h)
    both = layers.Dense(2 * latents)(h)
    z_mean, z_log_var = both[:, :latents], both[:, latents:]
    z = Sampling()([z_mean, z_log_var])
    encoder = keras.Model(inputs, [z_mean, z_log_var, z])
    inputs = h = keras.Input((latents,))
    for width in reversed(protocol.HIDDEN):
        h = layers.Dense(width, activation="tanh")(h)
    h = layers.Dense(protocol.EVENT, activation="sigmoid")(h)
    return encoder, keras.Model(inputs, layers.Reshape((28, 28, 1))(h))


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

    def prepare(self, x, batch, weights):
        self.x, self.batch = x.reshape(-1, 28, 28, 1), batch
        self.vae = VAE(*networks(len(weights[6])))
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
