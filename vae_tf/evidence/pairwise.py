"""log p(x_b | z_n) for every latent n and every example b, as one matrix product where it can be.

Bernoulli, Poisson, Normal and the negative binomial whose dispersion does not depend on z are
exponential families: their log-density is linear in statistics of x, so that N latents against B
examples cost one [N, D] x [D, B] product and not N * B * D evaluations of a density:

    log p(x|z) = a(z) + eta(z) . t(x) + log h(x)

The terms are larger than their sum and cancel, so all of them are float64, made of the parameters
as the network gave them, and for the Normal they are taken about the mean of the data.
"""

import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from vae_tf.layers import support
from vae_tf.layers.counts import MeanDispersion, ZeroInflated

tfd = tfp.distributions

__all__ = ["log_prob", "rounding"]

_EPS = np.finfo("float64").eps
# Of a density whose terms are not known, in units of eps: 1.4e-5 is what the counts' families
# state for float32, and in float64 the terms of a Gamma may be 10,000 times their sum.
_UNKNOWN = {"float32": 128, "float64": 2**14}


def log_prob(p_x, x):
    """The matrix of log-likelihoods.

    Args:
        p_x: likelihoods of N latents, batch [N], event [*event].
        x: data, shape [B, *event], in the support.

    Returns:
        Shape [N, B], float64, nats.
    """
    x = support.check(p_x[:1], x)  # one of the latents: it broadcasts against all examples
    p_x = _in_float64(p_x)
    terms = _exponential_family(_family(p_x), tf.cast(x, tf.float64))
    if terms is None:  # any other family, by broadcasting: [B, 1, *event] against batch [N]
        return tf.transpose(tf.cast(p_x.log_prob(tf.cast(x, p_x.dtype)[:, None]), tf.float64))
    total = _sum(terms.of_z)[:, None] + _sum(terms.of_x)
    for eta, statistic in terms.products:
        total += tf.matmul(_flat(eta), _flat(statistic), transpose_b=True)
    return total


def rounding(p_x, x):
    """What arithmetic can lose in `log_prob` of x_b given z_b, one latent for each example.

    A sum of D terms in float64 is off by at most D eps sum |terms| (Higham 2002, section 4.2).
    Of other families than those above the terms are not known: the log-probabilities take their
    place, with a factor.

    Args:
        p_x: likelihoods, batch [B], event [*event].
        x: data, shape [B, *event].

    Returns:
        Shape [B], float64, nats.
    """
    p_x, dimensions = _in_float64(p_x), max(1, math.prod(x.shape[1:]))
    terms = _exponential_family(_family(p_x), tf.cast(x, tf.float64))
    if terms is None:
        own = _family(p_x).log_prob(tf.cast(x, p_x.dtype))
        eps = _UNKNOWN.get(own.dtype.name, 1) * np.finfo(own.dtype.as_numpy_dtype).eps
        return eps * (1 + _sum(tf.abs(tf.cast(own, tf.float64))).numpy())
    parts = [terms.of_z, terms.of_x, *(eta * statistic for eta, statistic in terms.products)]
    size = sum(_sum(tf.abs(part)) for part in parts)
    return (dimensions + 4) * _EPS * size.numpy()


def _family(p_x):
    return p_x.distribution if isinstance(p_x, tfd.Independent) else p_x


class _Terms(NamedTuple):
    """log p(x|z) as sums over the event."""

    of_z: tf.Tensor  # a(z), [N, *event]
    products: list  # of (eta(z), [N, *event], t(x), [B, *event])
    of_x: tf.Tensor  # log h(x), [B, *event]


def _exponential_family(family, x):
    """The `_Terms` of a family, or None; x is float64."""
    if isinstance(family, tfd.Bernoulli):
        logits = tf.cast(family.logits_parameter(), tf.float64)
        return _Terms(-tf.math.softplus(logits), [(logits, x)], tf.zeros_like(x))
    if isinstance(family, tfd.Poisson):
        log_rate = tf.cast(family.log_rate_parameter(), tf.float64)
        return _Terms(-tf.exp(log_rate), [(log_rate, x)], -tf.math.lgamma(x + 1))
    if isinstance(family, MeanDispersion) and family.dispersion.shape.rank < x.shape.rank:
        return _negative_binomial(family, x)
    if isinstance(family, tfd.Normal):
        return _normal(family, x)
    return None


def _negative_binomial(family, x):
    """log NB(x) = x log(a m / (1 + a m)) - r log(1 + a m) + log Gamma(x + r) / (Gamma(r) x!)"""
    a = tf.cast(family.dispersion, tf.float64)
    log_odds = tf.cast(family.log_mean, tf.float64) + tf.math.log(a)  # log(a m)
    r = tf.broadcast_to(1 / a, tf.shape(x))
    ways = tf.math.lgamma(x + r) - tf.math.lgamma(r) - tf.math.lgamma(x + 1)
    return _Terms(-tf.math.softplus(log_odds) / a, [(tf.math.log_sigmoid(log_odds), x)], ways)


def _normal(family, x):
    """-(x - m)^2 / 2 s^2 = -(x - c)^2 / 2 s^2 + (x - c) (m - c) / s^2 - (m - c)^2 / 2 s^2"""
    centre = tf.reduce_mean(x, axis=0)
    scale = tf.cast(family.stddev(), tf.float64)
    x, loc, precision = x - centre, tf.cast(family.mean(), tf.float64) - centre, scale**-2
    of_z = -0.5 * loc**2 * precision - tf.math.log(scale) - 0.5 * math.log(2 * math.pi)
    return _Terms(of_z, [(loc * precision, x), (-0.5 * precision, x**2)], tf.zeros_like(x))


def _in_float64(p):
    """The same distribution with its parameters in float64, where it can be made from them.

    The counts' own families are written for float32, and their densities stay what they are.
    """
    if isinstance(_family(p), (MeanDispersion, ZeroInflated)):
        return p
    try:
        precise = p.copy(**{name: _cast(value) for name, value in p.parameters.items()})
    except (TypeError, ValueError, tf.errors.InvalidArgumentError, NotImplementedError):
        return p
    return precise


def _cast(value):
    if isinstance(value, tfd.Distribution):
        return _in_float64(value)
    is_array = tf.is_tensor(value) or isinstance(value, (np.ndarray, np.floating))
    floating = is_array and tf.as_dtype(value.dtype).is_floating
    return tf.cast(value, tf.float64) if floating else value


def _sum(terms):
    """[N, *event] -> [N]"""
    return tf.reduce_sum(terms, axis=list(range(1, terms.shape.rank)))


def _flat(tensor):
    """[N, *event] -> [N, D]"""
    return tf.reshape(tensor, [tf.shape(tensor)[0], -1])
