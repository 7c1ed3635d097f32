"""FactorVAE: a total correlation that a discriminator estimates while the model trains."""

from typing import Any

import keras
import tensorflow as tf

from vae_tf import elbo
from vae_tf._core import random, require
from vae_tf._core.random import as_seed
from vae_tf._fit import replicas
from vae_tf.elbo import ElboTerms, Forward
from vae_tf.objectives.base import Objective

__all__ = ["Factor", "permute_latents"]


def permute_latents(z, seed):
    """Each latent shuffled over the batch by itself, [B, L]: a draw of prod_l q(z_l)."""
    order = tf.argsort(random.uniform(tf.shape(z), seed), axis=0)  # [B, L]
    return tf.transpose(tf.gather(tf.transpose(z), tf.transpose(order), batch_dims=1))


@keras.saving.register_keras_serializable("vae_tf")
class Factor(Objective):
    """FactorVAE (Kim and Mnih 2018, eq. 2): the ELBO minus gamma times total correlation.

        objective = ELBO - gamma TC,   TC = KL(q(z) || prod_l q(z_l)) = E_q(z)[D(z)]

    D(z) is the logit of a discriminator that tells draws of q(z) from draws whose latents have
    been shuffled over the batch; at its optimum D = log q(z) - sum_l log q(z_l). It takes a step of
    its own in each training step, on the same batch (the paper takes a second one), and is saved
    with the model.

    Args:
        gamma: the weight of TC, a number or a schedule; at zero this is the ELBO.
        hidden: the widths of the discriminator's layers; the paper has (1000,) * 6.
        learning_rate: of the discriminator; it trains by Adam with the paper's beta_1 = 0.5 and
            beta_2 = 0.9.
        num_samples: S.
        seed: fixes the shuffles.

    Example:

    >>> x = tf.zeros([5, 3])
    >>> encoder = vt.networks.mlp(3, vt.layers.NormalDiag(2), hidden=(8,))
    >>> decoder = vt.networks.mlp(2, vt.layers.Normal(3), hidden=(8,))
    >>> vae = vt.VAE(encoder, decoder, objective=Factor(6.0, hidden=(8,)), seed=0)
    >>> vae.objective(vae(x)).shape  # [B], nats
    TensorShape([5])
    """

    scheduled = ("gamma",)

    def __init__(
        self,
        gamma: Any,
        hidden: tuple[int, ...] = (200, 200, 200),
        learning_rate: float = 1e-4,
        num_samples: int = 1,
        *,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_samples, **kwargs)
        self.gamma = gamma
        self.hidden = require.sizes(hidden, "hidden")
        self.learning_rate = require.positive(learning_rate, "learning_rate")
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.discriminator: Any = None

    def attach(self, latent_size: int) -> None:
        if self.discriminator is None:
            self._build_discriminator(latent_size)
        if self.discriminator.input_shape[-1] != latent_size:
            raise ValueError(
                "An objective belongs to one model. Expected a Factor for "
                f"{self.discriminator.input_shape[-1]} latents. Received: {latent_size} latents"
            )
        # The optimizer of the model must leave it alone: it would make q(z) look independent.
        self.discriminator.trainable = False

    def _build_discriminator(self, latent_size):
        dense = [keras.layers.Dense(width, "leaky_relu") for width in self.hidden]
        self.discriminator = keras.Sequential(
            [keras.Input((latent_size,)), *dense, keras.layers.Dense(1, dtype="float32")]
        )
        self.discriminator_optimizer = keras.optimizers.Adam(
            self.learning_rate, beta_1=0.5, beta_2=0.9
        )
        self.discriminator_optimizer.build(self.discriminator.weights)

    def total_correlation(self, z: tf.Tensor) -> tf.Tensor:
        """D(z), whose mean over q(z) is the estimate of TC: [S, B, L] -> [B], nats."""
        logits = self.discriminator(tf.reshape(z, [-1, z.shape[-1]]))
        return tf.reduce_mean(tf.reshape(logits, tf.shape(z)[:2]), axis=0)

    def __call__(self, forward: Forward, terms: ElboTerms | None = None) -> tf.Tensor:
        total = (terms or elbo.reconstruction_kl(forward)).elbo
        tc = tf.cast(self.total_correlation(forward.z), total.dtype)
        return total - self.now(self.gamma, total.dtype) * tc

    def discriminator_loss(self, z: tf.Tensor) -> tf.Tensor:
        """The cross-entropy of telling z, [B, L], from its shuffled rows; log 2 by chance."""
        shuffled = permute_latents(z, as_seed(self.seed_generator))
        joint, product = self.discriminator(z), self.discriminator(shuffled)
        values = tf.nn.softplus(-joint) + tf.nn.softplus(product)  # [B, 1]
        return replicas.mean_over_batch(values[:, 0]) / 2

    def advance(self, forward: Forward) -> None:
        super().advance(forward)
        weights = self.discriminator.weights
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch([weight.value for weight in weights])
            loss = self.discriminator_loss(tf.stop_gradient(forward.z[0]))
        gradients = tape.gradient(loss, [weight.value for weight in weights])
        replicas.apply_if_finite(
            loss,
            lambda gradients: self.discriminator_optimizer.apply(gradients, weights),
            gradients,
            lambda: None,
        )

    def get_config(self) -> dict:
        own = ("hidden", "learning_rate", "seed")
        return {**super().get_config(), **{name: getattr(self, name) for name in own}}
