"""log p(x_b | z_n) for every latent n and every example b, as one matrix product where it can be.

Bernoulli, Poisson, Normal and the negative binomial whose dispersion does not depend on z are
exponential families: their log-density is linear in statistics of x, so that N latents against B
examples cost one [N, D] x [D, B] product and not N * B * D evaluations of a density:

    log p(x|z) = log p(0|z) + eta(z) . t(x) + log h(x)
"""

import tensorflow as tf
import tensorflow_probability as tfp

from vae_tf.layers import support
from vae_tf.layers.counts import MeanDispersion

tfd = tfp.distributions

__all__ = ["log_prob"]


def log_prob(p_x, x):
    """The matrix of log-likelihoods.

    Args:
        p_x: likelihoods of N latents, batch [N], event [*event].
        x: data, shape [B, *event], in the support.

    Returns:
        Shape [N, B], float64, nats.
    """
    x = support.check(p_x[:1], x)  # one of the latents: it broadcasts against all examples
    terms = _exponential_family(getattr(p_x, "distribution", p_x), x)
    if terms is None:  # any other family, by broadcasting: [B, 1, *event] against batch [N]
        return tf.transpose(tf.cast(p_x.log_prob(x[:, None]), tf.float64))
    at_zero = tf.cast(p_x.log_prob(tf.zeros_like(x[0])), tf.float64)  # [N]
    total = at_zero[:, None]
    for eta, statistic in terms:
        total += tf.matmul(_flat(eta), _flat(statistic), transpose_b=True)
    return total


def _exponential_family(family, x):
    """Pairs (eta(z), t(x)) whose products sum to log p(x|z) - log p(0|z), or None."""
    if isinstance(family, tfd.Bernoulli):
        return [(family.logits_parameter(), x)]
    if isinstance(family, tfd.Poisson):
        log_rate = family.log_rate_parameter()
        return [(log_rate, x), (-tf.ones_like(log_rate), tf.math.lgamma(x + 1))]
    if isinstance(family, MeanDispersion) and family.dispersion.shape.rank < x.shape.rank:
        # log NB(x) - log NB(0) = x log(a m / (1 + a m)) + log Gamma(x + r) / (Gamma(r) x!), r = 1/a
        a, counts = (tf.cast(value, tf.float64) for value in (family.dispersion, x))
        log_odds = tf.cast(family.log_mean, tf.float64) + tf.math.log(a)
        r = tf.broadcast_to(1 / a, tf.shape(counts))
        ways = tf.math.lgamma(counts + r) - tf.math.lgamma(r) - tf.math.lgamma(counts + 1)
        return [(tf.math.log_sigmoid(log_odds), counts), (tf.ones_like(log_odds), ways)]
    if isinstance(family, tfd.Normal):
        loc, precision = (
            tf.cast(family.mean(), tf.float64),
            tf.cast(family.stddev(), tf.float64) ** -2,
        )
        return [(loc * precision, x), (-0.5 * precision, tf.cast(x, tf.float64) ** 2)]
    return None


def _flat(tensor):
    """[N, *event] -> [N, D], float64: the products of one row are large and cancel."""
    return tf.cast(tf.reshape(tensor, [tf.shape(tensor)[0], -1]), tf.float64)
