"""log p(x), the evidence: what the ELBO is a lower bound of.

    log p(x) = log E_{p(z)}[p(x|z)]                                (document, section 2, step 1)

`grid` computes the integral by quadrature where there are one or two latents: the truth, with an
error estimate. `iwae` bounds it from below with K samples of the encoder, for any number of
latents. They ask of a model only `prior`, `encode(x)` and `decode(z)`.
"""

from typing import NamedTuple

import numpy as np
from tqdm.auto import tqdm

from vae_tf import chunks, elbo
from vae_tf.elbo import log_joint, require_count
from vae_tf.quadrature import Grid, grid
from vae_tf.random import split

__all__ = ["Grid", "KSampleBound", "grid", "iwae", "log_joint"]


class KSampleBound(NamedTuple):
    """The K-sample bound, each [B], in nats. `numpy.asarray(bound)` is the estimate."""

    estimate: np.ndarray  # float64
    standard_error: np.ndarray  # float64, of the estimate; infinite for one sample
    effective_sample_size: np.ndarray  # float64, between 1 and the number of samples

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.estimate, dtype)


def iwae(model, x, num_samples, *, seed=None, progress=False):
    """The K-sample bound of importance weighting (Burda, Grosse and Salakhutdinov 2016).

        log 1/K sum_k w_k,   w_k = p(x, z_k) / q(z_k|x),   z_k ~ q(z|x)

    Its expectation grows with K from the ELBO (K = 1) towards log p(x). Samples are drawn in
    chunks, so that memory does not grow with K; the divisor is the number of weights drawn.

    Args:
        model: has `prior`, `encode(x)` and `decode(z)`.
        x: data, shape [B, *event].
        num_samples: K.
        seed: an integer for the same numbers each time.
        progress: show a progress bar.

    Returns:
        `KSampleBound(estimate, standard_error, effective_sample_size)`, each [B], nats. The
        standard error is that of the delta method, sd(w) / (mean(w) sqrt(K)). Where q is
        narrower than the posterior the weights may have an infinite variance, and then neither it
        nor the effective sample size gives a warning.

    Raises:
        ValueError: if `num_samples` is not a positive integer, or `x` is outside the support.
    """
    num_samples = require_count(num_samples, "num_samples")
    x = np.asarray(x)
    sizes = chunks.sizes(num_samples, x.size)
    totals = _empty_totals(len(x))
    seeds = split(seed, len(sizes))
    for size, one_seed in zip(tqdm(sizes, disable=not progress), seeds, strict=True):
        for rows in np.array_split(np.arange(len(x)), max(1, x.size * size // chunks.BUDGET)):
            one_pass = elbo.forward(model, x[rows], size, seed=one_seed)
            _add_weights(totals, rows, elbo.log_weights(one_pass).numpy().astype("float64"))
    return _bound(totals)


def _empty_totals(batch):
    return {
        "count": np.zeros(batch),
        "log_max": np.full(batch, -np.inf),
        "sum": np.zeros(batch),  # of w / exp(log_max)
        "sum_of_squares": np.zeros(batch),
    }


def _add_weights(totals, rows, log_w):
    """Adds log weights [S, b] to the running sums, which are relative to the largest so far."""
    old = totals["log_max"][rows]
    new = np.maximum(old, log_w.max(axis=0))
    shrink, w = np.exp(old - new), np.exp(log_w - new)
    totals["log_max"][rows] = new
    totals["sum"][rows] = totals["sum"][rows] * shrink + w.sum(axis=0)
    totals["sum_of_squares"][rows] = totals["sum_of_squares"][rows] * shrink**2 + (w**2).sum(axis=0)
    totals["count"][rows] += len(log_w)


def _bound(totals):
    count, total, squares = totals["count"], totals["sum"], totals["sum_of_squares"]
    estimate = totals["log_max"] + np.log(total / count)
    # Var(w) / mean(w)^2 = count * sum(w^2) / sum(w)^2 - 1, and one sample knows no variance.
    relative_variance = np.maximum(count * squares / total**2 - 1, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.where(count > 1, np.sqrt(relative_variance / (count - 1)), np.inf)
    return KSampleBound(estimate, error, total**2 / squares)
