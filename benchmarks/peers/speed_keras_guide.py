"""The way of Keras' own VAE example: a Model with a `train_step`, and stock `fit`.

After keras.io, "Variational AutoEncoder", with dense layers in place of its convolutions. Its loss
is summed over pixels and latents, which is right there.
"""

import keras
import speed_protocol as protocol
import tensorflow as tf
from keras import layers, ops


class VAE(keras.Model):
    def __init__(self, latents):
        super().__init__()
        down = [layers.Dense(width, activation="tanh") for width in protocol.HIDDEN]
        up = [layers.Dense(width, activation="tanh") for width in reversed(protocol.HIDDEN)]
        down = [keras.Input((28, 28, 1)), layers.Flatten(), *down, layers.Dense(2 * latents)]
        up = [keras.Input((latents,)), *up, layers.Dense(protocol.EVENT, activation="sigmoid")]
        self.encoder = keras.Sequential(down)
        self.decoder = keras.Sequential([*up, layers.Reshape((28, 28, 1))])
        self.seed_generator = keras.random.SeedGenerator(0)
        names = "total_loss", "reconstruction_loss", "kl_loss"
        self.trackers = [keras.metrics.Mean(name=name) for name in names]

    def train_step(self, data):
        with tf.GradientTape() as tape:
            z_mean, z_log_var = ops.split(self.encoder(data), 2, axis=1)
            epsilon = keras.random.normal(ops.shape(z_mean), seed=self.seed_generator)
            z = z_mean + ops.exp(0.5 * z_log_var) * epsilon
            entropy = keras.losses.binary_crossentropy(data, self.decoder(z))
            reconstruction_loss = ops.mean(ops.sum(entropy, axis=(1, 2)))
            kl_loss = -0.5 * (1 + z_log_var - ops.square(z_mean) - ops.exp(z_log_var))
            kl_loss = ops.mean(ops.sum(kl_loss, axis=1))
            total_loss = reconstruction_loss + kl_loss
        gradients = tape.gradient(total_loss, self.trainable_weights)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_weights, strict=True))
        losses = total_loss, reconstruction_loss, kl_loss
        for tracker, loss in zip(self.trackers, losses, strict=True):
            tracker.update_state(loss)
        return {tracker.name: tracker.result() for tracker in self.trackers}


class KerasGuide:
    def prepare(self, x, batch, latents, weights, **_):
        keras.utils.set_random_seed(0)
        self.x, self.batch, self.vae = x.reshape(-1, 28, 28, 1), batch, VAE(latents)
        self.vae.encoder.set_weights(weights[:6])
        self.vae.decoder.set_weights(weights[6:])
        self.vae.compile(optimizer=keras.optimizers.Adam())

    def train(self, epochs):
        fitted = self.vae.fit(self.x, epochs=epochs, batch_size=self.batch, verbose=0)
        return fitted.history["total_loss"][-1]


if __name__ == "__main__":
    protocol.serve(KerasGuide())
