"""The gap: what the ELBO loses.

    gap(x) = log p(x) - ELBO(x) = KL(q(z|x) || p(z|x)) >= 0                (document, section 3)

To measure a difference one needs both ends. log p(x) is taken from a closed form where the model
has one, else from a grid over its one or two latents.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from vae_tf import chunks, elbo, evidence
from vae_tf.linear import LinearGaussian
from vae_tf.random import split

__all__ = ["TotalGap", "total"]


class TotalGap(NamedTuple):
    """The gap and its two ends, each [B], in nats. `numpy.asarray(gap)` is the total."""

    total: np.ndarray  # log_evidence - elbo
    error: np.ndarray  # one standard error of the ELBO, plus the error of log_evidence
    log_evidence: np.ndarray
    elbo: np.ndarray

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.total, dtype)


def total(model, x, num_samples=1000, *, seed=None):
    """log p(x) - ELBO(x) for each example, with its error.

    Args:
        model: a `vt.linear.LinearGaussian`, whose gap is a closed form, or anything with `prior`,
            `encode(x)` and `decode(z)` and one or two latents.
        x: data, shape [B, *event].
        num_samples: samples for the ELBO, at least two; a closed form needs none.
        seed: an integer for the same numbers each time.

    Returns:
        `TotalGap(total, error, log_evidence, elbo)`, each [B], nats.

    Raises:
        ValueError: if `num_samples` is below two, or the truth is out of reach: no closed form
            and more than two latents.
    """
    if isinstance(model, LinearGaussian):
        truth, bound = model.log_evidence(x), np.asarray(model.elbo(x, model.encode(x)))
        return TotalGap(truth - bound, np.zeros_like(truth), truth, bound)
    if elbo.require_count(num_samples, "num_samples") < 2:
        raise ValueError(
            "One sample has no standard error. Expected `num_samples` of at least 2. "
            f"Received: num_samples={num_samples}"
        )
    truth = evidence.grid(model, x)
    bound, standard_error = _elbo(model, x, num_samples, seed)
    return TotalGap(truth.estimate - bound, standard_error + truth.error, truth.estimate, bound)


def _elbo(model, x, num_samples, seed):
    """The ELBO and its standard error, each [B], float64, with the samples drawn in chunks."""
    x = np.asarray(x)
    sizes = chunks.sizes(num_samples, x.size)
    samples = []
    for size, one_seed in zip(sizes, split(seed, len(sizes)), strict=True):
        one_pass = elbo.forward(model, x, size, seed=one_seed)
        samples.append(tf.cast(_elbo_of_each_sample(one_pass), tf.float64))
    samples = np.concatenate(samples)  # [S, B]
    return samples.mean(axis=0), samples.std(axis=0, ddof=1) / np.sqrt(num_samples)


def _elbo_of_each_sample(one_pass):
    """[S, B], nats: with the KL in closed form if there is one, else sampled as well."""
    try:
        return elbo.log_likelihood(one_pass) - elbo.kl(one_pass.q_z, one_pass.p_z)
    except NotImplementedError:
        return elbo.log_weights(one_pass)
