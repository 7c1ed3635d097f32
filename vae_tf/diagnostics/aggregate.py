"""The aggregate posterior q(z) = 1/N sum_n q(z|x_n): the exact mixture over N given examples.

Its density at a point needs the density of every q(z|x_n) there. Pairs of a point and an example
are taken in blocks, so that memory does not grow with their number.
"""

import math

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from vae_tf._core import chunks, require
from vae_tf._core.models import as_condition, given, rows
from vae_tf._core.random import as_seed, split
from vae_tf.elbo import has_independent_latents
from vae_tf.layers.distributions import Independent

tfd = tfp.distributions

__all__ = [
    "encoded",
    "in_float64",
    "log_density",
    "log_ratios",
    "sampled",
    "split_by",
]


def encoded(model, x, *, condition=None, at_least=1):
    """q(z|x_n) of all examples, in parts that fit the memory: a list, each batch [b], event [L]."""
    x = require.examples(x)
    if x.ndim < 2 or len(x) < at_least:
        raise ValueError(
            f"Expected `x` of shape [N, *event], N at least {at_least}. "
            f"Received: shape {list(x.shape)}"
        )
    condition = as_condition(condition, len(x))
    # `chunks.width` would ask for a prior, which not every diagnostic needs
    width = max(getattr(model, "width", None) or 1, x[0].size)
    return [
        _checked(given(model, rows(condition, part)).encode(x[part]), len(part))
        for part in chunks.examples(len(x), width)
    ]


def _checked(q_z, batch):
    require.latents(q_z, "encode(x)")
    if q_z.batch_shape != [batch]:
        raise ValueError(
            f"Expected `encode(x)` to give a distribution for each example, batch shape [{batch}]. "
            f"Received: batch shape {list(q_z.batch_shape)}"
        )
    _refuse_nan(q_z)
    return q_z


def _refuse_nan(q_z):
    """NaN is above no threshold: a broken model would pass for one without active latents."""
    log_prob = q_z.log_prob(q_z.sample(seed=as_seed(0))).numpy()
    broken = int(np.isnan(log_prob).sum())
    if broken:
        raise ValueError(
            "Expected `encode(x)` to give distributions whose parameters are numbers. Received: "
            f"NaN for {broken} of {len(log_prob)} examples (are there NaNs in the weights?)"
        )


def in_float64(parts):
    """Independent Normals in float64, in which narrow ones far from zero keep their shape."""
    return [_normal_in_float64(q_z) for q_z in parts]


def _normal_in_float64(q_z):
    if not (has_independent_latents(q_z) and isinstance(q_z.distribution, tfd.Normal)):
        return q_z
    loc, scale = (tf.cast(p, tf.float64) for p in (q_z.mean(), q_z.stddev()))
    return Independent(tfd.Normal(loc, scale), reinterpreted_batch_ndims=1)


def sampled(model, x, num_samples, seed, condition=None):
    """Samples of each q(z|x_n), shape [S, N, L], and the q(z|x_n) in parts."""
    num_samples = require.count(num_samples, "num_samples")
    parts = in_float64(encoded(model, x, condition=condition))
    seeds = split(seed, len(parts))
    z = [q_z.sample(num_samples, seed=one) for q_z, one in zip(parts, seeds, strict=True)]
    return np.concatenate(z, axis=1), parts


def split_by(parts, z):
    """Pairs (q_z, z of its own examples), from z of shape [S, N, L]."""
    ends = np.cumsum([q_z.batch_shape[0] for q_z in parts])
    return zip(parts, np.split(z, ends[:-1], axis=1), strict=True)


def log_density(parts, z, per_latent=False):
    """log q(z) at K points z [K, L]: shape [K, 1], or with each log q(z_l) [K, 1 + L], nats."""
    examples = sum(q_z.batch_shape[0] for q_z in parts)
    largest = max(q_z.batch_shape[0] for q_z in parts)
    ends = np.cumsum(chunks.sizes(len(z), largest * z.shape[1]))
    blocks = [_log_sum(parts, block[:, None], per_latent) for block in np.split(z, ends[:-1])]
    return np.concatenate(blocks) - math.log(examples)


def _log_sum(parts, z, per_latent):
    """log sum_n q(z|x_n) at z [K, 1, L], added up over the parts: [K, 1] or [K, 1 + L]."""
    total = -np.inf
    for q_z in parts:
        log_q = _log_prob(q_z, z, per_latent)  # [K, b, 1 + L]
        largest = np.maximum(log_q.max(axis=1), -1e300)  # -inf minus -inf would be NaN
        with np.errstate(divide="ignore"):
            log_sum = np.log(np.exp(log_q - largest[:, None]).sum(axis=1))
        total = np.logaddexp(total, largest + log_sum)
    return total


def _log_prob(q_z, z, per_latent):
    """log q(z|x), shape [..., 1], or followed by the log q(z_l|x), shape [..., 1 + L]; float64."""
    z = tf.cast(z, q_z.dtype)
    if not has_independent_latents(q_z):
        return q_z.log_prob(z).numpy().astype("float64")[..., None]
    single = q_z.distribution.log_prob(z).numpy().astype("float64")
    joint = single.sum(axis=-1, keepdims=True)
    return np.concatenate([joint, single], axis=-1) if per_latent else joint


def log_ratios(parts, z, per_latent=False):
    """log q(z|x_n) - log q(z) at the samples of each q(z|x_n), and the same for each latent.

    Args:
        parts: the q(z|x_n).
        z: their samples, shape [S, N, L].
        per_latent: whether the log q(z_l|x_n) - log q(z_l) are wanted too.

    Returns:
        Shape [S, N, 1], or [S, N, 1 + L] if they are and the latents are independent.
    """
    own = [_log_prob(q_z, part, per_latent) for q_z, part in split_by(parts, z)]
    own = np.concatenate(own, axis=1)
    mixture = log_density(parts, z.reshape(-1, z.shape[-1]), per_latent).reshape(own.shape)
    # q(z) is at least q(z|x_n) / N, so the ratio is at most log N; rounding can make it larger.
    return np.minimum(own - mixture, math.log(z.shape[1]))
