"""TensorFlow Probability's Keras layers on tf_keras, and its stock `fit`.

The KL is added once, as its mean: its own KLDivergenceRegularizer counts it twice and
KLDivergenceAddLoss sums it over the batch (see doubled_kl.py).
"""

import os

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["TF_USE_LEGACY_KERAS"] = "1"

import speed_protocol as protocol
import tensorflow as tf
import tensorflow_probability as tfp
import tf_keras

tfd, tfpl, layers = tfp.distributions, tfp.layers, tf_keras.layers


class AddKL(layers.Layer):
    """Adds mean_B KL(q || p) to the loss."""

    def __init__(self, prior):
        super().__init__()
        self.prior = prior

    def call(self, q_z):
        self.add_loss(tf.reduce_mean(tfd.kl_divergence(q_z, self.prior)))
        return tf.convert_to_tensor(q_z)


def model(latents):
    """x -> p(x|z), with the KL in its losses."""
    prior = tfd.Independent(tfd.Normal(tf.zeros(latents), 1.0), 1)
    dense = [layers.Dense(width, activation="tanh") for width in 2 * protocol.HIDDEN]
    return tf_keras.Sequential(
        [
            layers.InputLayer((protocol.EVENT,)),
            *dense[:2],
            layers.Dense(tfpl.IndependentNormal.params_size(latents)),
            tfpl.IndependentNormal(latents),
            AddKL(prior),
            *dense[2:],
            layers.Dense(tfpl.IndependentBernoulli.params_size(protocol.EVENT)),
            tfpl.IndependentBernoulli(protocol.EVENT, tfd.Bernoulli.logits),
        ]
    )


class TfpLayers:
    scale = "softplus"
    versions = {"TensorFlow": tf.__version__, "tf_keras": tf_keras.__version__}
    versions |= {"TFP": tfp.__version__}

    def prepare(self, x, batch, weights):
        self.x, self.batch = x, batch
        self.vae = model(len(weights[6]))
        self.vae.set_weights(weights)
        self.vae.compile(tf_keras.optimizers.Adam(), loss=lambda x, p_x: -p_x.log_prob(x))

    def train(self, epochs):
        fitted = self.vae.fit(self.x, self.x, self.batch, epochs, verbose=0)
        return fitted.history["loss"][-1]

    def weights(self):
        return self.vae.get_weights()


if __name__ == "__main__":
    protocol.serve(TfpLayers())
