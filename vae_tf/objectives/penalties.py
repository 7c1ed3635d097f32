"""Objectives that look at the aggregate posterior, q(z) = 1/N sum_n q(z|x_n), through a batch.

Each is the ELBO plus a penalty that vanishes at its neutral setting. A penalty belongs to the
whole batch: these objectives, unlike the ELBO, depend on which examples share a batch.
"""

import math
from typing import Any

import keras
import tensorflow as tf
import tensorflow_probability as tfp

from vae_tf import elbo
from vae_tf._core import require
from vae_tf._core.random import as_seed
from vae_tf.elbo import ElboTerms, Forward
from vae_tf.objectives.base import Objective

tfd = tfp.distributions

__all__ = ["DIP", "BetaTC", "InfoMMD", "log_aggregate", "mmd", "penalty_of_covariance"]


def _one_of(value, choices, name):
    if value not in choices:
        raise ValueError(f"Expected `{name}` to be one of {choices}. Received: {name}={value!r}")
    return value


def _require_independent(distribution, symbol):
    if not elbo.has_independent_latents(distribution):
        raise ValueError(
            f"BetaTC looks at latents one by one. Expected `{symbol}` to be a tfd.Independent "
            "over one axis, such as NormalDiag and StandardNormal give. "
            f"Received: {distribution.name}"
        )


def log_aggregate(q_z, z, dataset_size, estimator="stratified"):
    """log q(z) and log q(z_l), with the batch standing in for all N examples.

    A sample z of q(z|x_b) meets the M = B - 1 other examples of the batch. "weighted" gives each
    of the B examples the weight 1/(N B) (Chen et al. 2018, section 3: q(z) is too small by nearly
    a factor B, a constant in its logarithm where one component dominates); "stratified" gives x_b
    its true share 1/N and the others (N - 1)/(N M) each, so that E[q(z)] over the batches is exact
    (Chen et al. 2018, appendix C.2; their formula gives one of the others another weight, and this
    is its mean over the choice of that one).

    Args:
        q_z: batch [B], independent over event [L].
        z: samples of it, shape [S, B, L].
        dataset_size: N.
        estimator: "stratified" or "weighted".

    Returns:
        log q(z), shape [S, B], and log q(z_l), shape [S, B, L], nats.
    """
    log_q = q_z.distribution.log_prob(z[:, :, None])  # [S, B, L] at [B, L]: [S, B, B, L]
    batch = tf.shape(z)[1]
    total = tf.constant(dataset_size, z.dtype)
    size, others = (tf.cast(n, z.dtype) for n in (batch, tf.maximum(batch - 1, 1)))
    if estimator == "weighted":
        share = tf.fill([batch, batch], 1 / (total * size))
    else:
        share = tf.fill([batch, batch], (total - 1) / (total * others))
        share = tf.linalg.set_diag(share, tf.fill([batch], 1 / total))
    log_share = tf.math.log(share)
    joint = tf.reduce_logsumexp(tf.reduce_sum(log_q, axis=-1) + log_share, axis=2)
    return joint, tf.reduce_logsumexp(log_q + log_share[:, :, None], axis=2)


@keras.saving.register_keras_serializable("vae_tf")
class BetaTC(Objective):
    """beta-TCVAE (Chen et al. 2018, section 3): the mean KL in three parts, each with its weight.

        KL(q(z|x) || p(z)) = I(x; z) + TC(z) + sum_l KL(q(z_l) || p(z_l))       (mean over x)
        objective = E_q[log p(x|z)] - alpha I - beta TC - gamma sum_l KL(q(z_l) || p(z_l))

    It is computed as the ELBO minus (weight - 1) times each part, so that with all weights at one
    it is the ELBO to rounding, and only what is added has Monte Carlo noise.

    Args:
        beta: the weight of the total correlation TC = KL(q(z) || prod_l q(z_l)); a number or a
            schedule. The paper's choice for dSprites is 6.
        dataset_size: N, the number of training examples, no less than those of a batch.
        alpha: the weight of the index-code mutual information.
        gamma: the weight of the dimension-wise KL.
        estimator: of log q(z) from a batch, "stratified" or "weighted": see `log_aggregate`.
        num_samples: S.

    Example:

    >>> x = tf.zeros([5, 3])
    >>> encoder = vt.networks.mlp(3, vt.layers.NormalDiag(2), hidden=(8,))
    >>> decoder = vt.networks.mlp(2, vt.layers.Normal(3), hidden=(8,))
    >>> vae = vt.VAE(encoder, decoder, objective=BetaTC(6.0, dataset_size=100), seed=0)
    >>> vae.objective(vae(x)).shape  # [B], nats
    TensorShape([5])
    """

    scheduled = ("beta", "alpha", "gamma")

    def __init__(
        self,
        beta: Any,
        dataset_size: int,
        alpha: Any = 1.0,
        gamma: Any = 1.0,
        estimator: str = "stratified",
        num_samples: int = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_samples, **kwargs)
        self.beta = beta
        self.alpha = alpha
        self.gamma = gamma
        self.dataset_size = require.count(dataset_size, "dataset_size")
        self.estimator = _one_of(estimator, ("stratified", "weighted"), "estimator")

    def parts(self, forward: Forward) -> list[tf.Tensor]:
        """Estimates of I(x; z), TC and the dimension-wise KL: each [B], nats."""
        _, p_z, q_z, z, _ = forward
        _require_independent(q_z, "q_z")
        _require_independent(p_z, "p_z")
        log_q, log_q_each = log_aggregate(q_z, z, self.dataset_size, self.estimator)
        log_product = tf.reduce_sum(log_q_each, axis=-1)  # [S, B]
        parts = q_z.log_prob(z) - log_q, log_q - log_product, log_product - p_z.log_prob(z)
        return [tf.reduce_mean(part, axis=0) for part in parts]

    def __call__(self, forward: Forward, terms: ElboTerms | None = None) -> tf.Tensor:
        total = (terms or elbo.reconstruction_kl(forward)).elbo
        weights = (self.alpha, self.beta, self.gamma)
        for weight, part in zip(weights, self.parts(forward), strict=True):
            total -= (self.now(weight, part.dtype) - 1) * part
        return total

    def get_config(self) -> dict:
        own = {"dataset_size": self.dataset_size, "estimator": self.estimator}
        return {**super().get_config(), **own}


def penalty_of_covariance(covariance, lambda_od, lambda_d):
    """lambda_od sum_{i != j} C_ij^2 + lambda_d sum_i (C_ii - 1)^2, of a matrix [L, L]."""
    diagonal = tf.linalg.diag_part(covariance)
    off = tf.reduce_sum(covariance**2) - tf.reduce_sum(diagonal**2)
    return lambda_od * off + lambda_d * tf.reduce_sum((diagonal - 1) ** 2)


@keras.saving.register_keras_serializable("vae_tf")
class DIP(Objective):
    """DIP-VAE (Kumar et al. 2018, eq. 6 and 7): the ELBO minus a distance of a covariance from I.

        objective = ELBO - lambda_od sum_{i != j} C_ij^2 - lambda_d sum_i (C_ii - 1)^2

    C is the covariance over the batch (1/B) of the means of q(z|x) (variant "I"), or that of the
    aggregate q(z), which adds the mean covariance of q(z|x) (variant "II").

    Args:
        variant: "I" or "II".
        lambda_od: the weight off the diagonal, a number or a schedule.
        lambda_d: the weight on the diagonal; Locatello et al. (2019) take 10 lambda_od for "I" and
            lambda_od for "II". With both at zero this is the ELBO.
        num_samples: S.

    Example:

    >>> x = tf.zeros([5, 3])
    >>> encoder = vt.networks.mlp(3, vt.layers.NormalDiag(2), hidden=(8,))
    >>> decoder = vt.networks.mlp(2, vt.layers.Normal(3), hidden=(8,))
    >>> vae = vt.VAE(encoder, decoder, objective=DIP("I", 10.0, 100.0), seed=0)
    >>> vae.objective(vae(x)).shape  # [B], nats
    TensorShape([5])
    """

    scheduled = ("lambda_od", "lambda_d")

    def __init__(
        self, variant: str, lambda_od: Any, lambda_d: Any, num_samples: int = 1, **kwargs: Any
    ) -> None:
        super().__init__(num_samples, **kwargs)
        self.variant = _one_of(variant, ("I", "II"), "variant")
        self.lambda_od = lambda_od
        self.lambda_d = lambda_d

    def covariance(self, q_z: tfd.Distribution) -> tf.Tensor:
        """C, shape [L, L]."""
        covariance = tfp.stats.covariance(q_z.mean())  # of the means, with 1/B
        if self.variant == "II":
            independent = isinstance(q_z, tfd.Independent)
            each = tf.linalg.diag(q_z.variance()) if independent else q_z.covariance()  # [B, L, L]
            covariance += tf.reduce_mean(each, axis=0)
        return covariance

    def __call__(self, forward: Forward, terms: ElboTerms | None = None) -> tf.Tensor:
        total = (terms or elbo.reconstruction_kl(forward)).elbo
        weights = (self.now(weight, total.dtype) for weight in (self.lambda_od, self.lambda_d))
        return total - penalty_of_covariance(self.covariance(forward.q_z), *weights)

    def get_config(self) -> dict:
        return {**super().get_config(), "variant": self.variant}


def mmd(z, prior_z, bandwidth):
    """The squared maximum mean discrepancy between q(z) and p(z), without bias.

        MMD^2 = E k(z, z') - 2 E k(z, y) + E k(y, y'),   z, z' ~ q(z), y, y' ~ p(z) independent
        k(a, b) = exp(-|a - b|^2 / (2 bandwidth^2))      (Gretton et al. 2012)

    Samples of one example are not independent samples of q(z): such pairs are left out. A batch
    of one example has no others, says nothing about q(z), and gives zero.

    Args:
        z: S samples for each of B examples, shape [S, B, L].
        prior_z: samples of the prior, shape [M, L].
        bandwidth: of the kernel, a positive number.

    Returns:
        A scalar; near zero it may be negative.
    """

    def kernel(a, b):
        """[A, L], [B, L] -> [A, B]"""
        return tf.exp(-tf.reduce_sum((a[:, None] - b) ** 2, axis=-1) / (2 * bandwidth**2))

    def mean_of_pairs(matrix, group):
        """The mean over pairs from two different groups."""
        apart = tf.cast(group[:, None] != group, matrix.dtype)
        return tf.reduce_sum(matrix * apart) / tf.maximum(tf.reduce_sum(apart), 1)

    samples, batch, latents = tf.unstack(tf.shape(z))
    example = tf.tile(tf.range(batch), [samples])  # of each row of z
    z = tf.reshape(z, [-1, latents])
    within_q = mean_of_pairs(kernel(z, z), example)
    within_p = mean_of_pairs(kernel(prior_z, prior_z), tf.range(tf.shape(prior_z)[0]))
    discrepancy = within_q + within_p - 2 * tf.reduce_mean(kernel(z, prior_z))
    return tf.where(batch > 1, discrepancy, tf.zeros_like(discrepancy))


@keras.saving.register_keras_serializable("vae_tf")
class InfoMMD(Objective):
    """InfoVAE (Zhao et al. 2019) with the maximum mean discrepancy between q(z) and p(z).

        objective = E_q[log p(x|z)] - (1 - alpha) KL(q(z|x) || p(z))
                    - (alpha + lambda_ - 1) MMD^2(q(z), p(z))

    Args:
        alpha: how much of the KL is taken away; at 1 all of it (the MMD-VAE). A number or a
            schedule; a schedule's values are not checked.
        lambda_: with alpha, the weight of the discrepancy. alpha = 0 and lambda_ = 1 is the ELBO.
        bandwidth: of the Gaussian kernel; by default sqrt(L), for which two draws of the prior
            are about a bandwidth and a half apart.
        num_samples: S.
        seed: fixes the samples of the prior, as many as the batch has examples.

    Raises:
        ValueError: if alpha > 1, or alpha + lambda_ < 1: a negative weight would push q(z) away.

    Example:

    >>> x = tf.zeros([5, 3])
    >>> encoder = vt.networks.mlp(3, vt.layers.NormalDiag(2), hidden=(8,))
    >>> decoder = vt.networks.mlp(2, vt.layers.Normal(3), hidden=(8,))
    >>> vae = vt.VAE(encoder, decoder, objective=InfoMMD(), seed=0)
    >>> vae.objective(vae(x)).shape  # [B], nats
    TensorShape([5])
    """

    scheduled = ("alpha", "lambda_")
    signed = ("alpha",)

    def __init__(
        self,
        alpha: Any = 1.0,
        lambda_: Any = 1000.0,
        bandwidth: float | None = None,
        num_samples: int = 1,
        *,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_samples, **kwargs)
        self.alpha, self.lambda_ = alpha, lambda_
        alpha, lambda_ = self.alpha, self.lambda_
        numbers = not (callable(alpha) or callable(lambda_))
        if numbers and (alpha > 1 or alpha + lambda_ < 1):
            raise ValueError(
                "Expected alpha <= 1 and alpha + lambda_ >= 1, so that neither weight is "
                f"negative. Received: alpha={alpha!r}, lambda_={lambda_!r}"
            )
        self.bandwidth = None if bandwidth is None else require.positive(bandwidth, "bandwidth")
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def discrepancy(self, forward: Forward) -> tf.Tensor:
        """MMD^2(q(z), p(z)), a scalar."""
        batch, latents = forward.z.shape[1] or tf.shape(forward.z)[1], forward.z.shape[2]
        prior_z = forward.p_z.sample(batch, seed=as_seed(self.seed_generator))
        return mmd(forward.z, prior_z, self.bandwidth or math.sqrt(latents))

    def __call__(self, forward: Forward, terms: ElboTerms | None = None) -> tf.Tensor:
        terms = terms or elbo.reconstruction_kl(forward)
        alpha, lambda_ = (self.now(w, terms.kl.dtype) for w in (self.alpha, self.lambda_))
        penalty = (alpha + lambda_ - 1) * self.discrepancy(forward)
        return terms.reconstruction - (1 - alpha) * terms.kl - penalty

    def get_config(self) -> dict:
        own = ("bandwidth", "seed")
        return {**super().get_config(), **{name: getattr(self, name) for name in own}}
