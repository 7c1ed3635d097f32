"""The mean of importance weights, from their logarithms: in parts, in bounded memory.

    log 1/K sum_k w_k,     its standard error, the effective sample size, and Pareto's k-hat

The standard error is right only if the weights have a variance, and no finite sample shows that.
k-hat, the shape of the generalised Pareto distribution that fits the largest weights, is a measure
of it: moments of order 1/k and above do not exist (Vehtari et al. 2024, arXiv 1507.02646).
"""

import math
from typing import NamedTuple

import numpy as np

from vae_tf._core.random import uniform

__all__ = ["LogMean", "WeightSums", "draw", "largest_pareto_k"]

_SEEN = 10  # how often a tied largest weight must have come for its share to be known


class LogMean(NamedTuple):
    """log 1/K sum_k w_k and what is known of its error, each [B], float64."""

    estimate: np.ndarray  # nats
    standard_error: np.ndarray  # nats, by the delta method; infinite for one weight
    effective_sample_size: np.ndarray  # between 1 and K; 0 where all weights are zero
    pareto_k: np.ndarray  # NaN for fewer than 25 weights, -inf where they take few values


class WeightSums:
    """Running sums of weights for each of `batch` examples, relative to the largest so far.

    Of single weights only the largest are kept, those that k-hat is fitted to: 3 sqrt(K) of K.

    Args:
        batch: B, the number of examples.
        count: K, how many weights each example will get in all.
    """

    def __init__(self, batch, count):
        self.count = count
        self._log_max = np.full(batch, -np.inf)
        self._sum = np.zeros(batch)  # of w / exp(log_max)
        self._sum_of_squares = np.zeros(batch)
        self._largest = np.full((_tail_size(count) + 1, batch), -np.inf)  # and the cutoff below

    def add(self, rows, log_w):
        """Adds log weights [S, b] of the examples `rows`, [b]."""
        log_w = np.asarray(log_w, "float64")
        old = self._log_max[rows]
        new = np.maximum(old, log_w.max(axis=0))
        top = np.where(np.isneginf(new), 0.0, new)  # so far nothing but zero weights
        shrink, w = np.exp(old - top), np.exp(log_w - top)
        self._log_max[rows] = new
        self._sum[rows] = self._sum[rows] * shrink + w.sum(axis=0)
        self._sum_of_squares[rows] = self._sum_of_squares[rows] * shrink**2 + (w**2).sum(axis=0)
        together = np.concatenate([self._largest[:, rows], log_w])
        self._largest[:, rows] = np.sort(together, axis=0)[-len(self._largest) :]

    def log_mean(self):
        """A `LogMean` of all weights."""
        mean = self._sum / self.count
        with np.errstate(divide="ignore", invalid="ignore"):
            # Var(w) / mean(w)^2 = K sum(w^2) / sum(w)^2 - 1, and one sample knows no variance.
            relative_variance = np.maximum(self._sum_of_squares / self.count / mean**2 - 1, 0.0)
            error = np.sqrt(relative_variance / (self.count - 1))
            estimate = np.where(mean == 0, -np.inf, self._log_max + np.log(mean))
            effective = np.where(mean == 0, 0.0, self._sum**2 / self._sum_of_squares)
        unknown = np.isnan(estimate)  # a weight that is no number
        return LogMean(
            estimate,
            np.where(unknown, np.nan, np.where((self.count > 1) & (mean > 0), error, np.inf)),
            effective,
            np.array([_pareto_k(largest, self.count) for largest in self._largest.T]),
        )


def largest_pareto_k(count):
    """The k-hat up to which `count` weights can be trusted: min(1 - 1/log10 K, 0.7)."""
    return min(1 - 1 / math.log10(count), 0.7) if count > 1 else -math.inf


def _tail_size(count):
    """How many weights PSIS fits k-hat to; ArviZ chooses the same number."""
    return math.floor(3 * math.sqrt(count)) if count > 225 else count // 5


def _pareto_k(largest, count):
    """k-hat of `count` log weights, of which the largest are given, in ascending order."""
    if len(largest) < 6 or np.isnan(largest).any():
        return np.nan
    if not np.isfinite(largest).all():  # more zero weights than can be: nothing has a moment
        return np.inf
    tied = _of_few_values(largest)
    if tied is not None:
        return tied
    # k-hat looks at the tail only: the weights that were not kept may be any below it.
    log_w = np.full(count, largest[0] - 1.0)
    log_w[: len(largest)] = largest
    from arviz_stats.base import array_stats  # here, because it takes long to import

    # PSIS speaks of leave-one-out likelihoods, whose importance weights are their inverse.
    with np.errstate(divide="ignore", invalid="ignore"):  # tied weights have no tail to fit
        pareto_k = float(array_stats.psislw(-log_w, r_eff=1.0)[1])
    return np.inf if np.isnan(pareto_k) else pareto_k  # what cannot be judged is not trusted


def _of_few_values(largest):
    """k-hat where the largest log weights are of a discrete distribution of few values, or None.

    Continuous weights are not tied, but for float32 rounding. Where half of the tail is, each value
    has a probability of its own, every moment exists (-inf), and a Pareto tail describes nothing.
    What can still mislead is a largest value so rare that its frequency is not known: infinity. A
    value that was never drawn is not seen at all.
    """
    close = 1e-6 * max(1.0, abs(largest[-1]))
    values = 1 + np.count_nonzero(np.diff(largest) > close)
    times = np.count_nonzero(largest[-1] - largest <= close)
    if values > 1 and 2 * values > len(largest):
        return None
    return -np.inf if times >= min(_SEEN, len(largest) - 1) else np.inf


def draw(w, count, seed):
    """`count` draws from the numbers 0 to N - 1 with probabilities as w, [N, B]: [count, B]."""
    until = np.cumsum(w, axis=0)
    u = uniform([count, w.shape[1]], seed, "float64").numpy() * until[-1]
    columns = zip(until.T, u.T, strict=True)
    # With NaN among the weights any number will do.
    found = [np.searchsorted(column, one, side="right") for column, one in columns]
    return np.minimum(np.transpose(found), len(w) - 1)
