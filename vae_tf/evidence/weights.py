"""The mean of importance weights, from their logarithms: in parts, in bounded memory, with a doubt.

    log 1/K sum_k w_k,     its standard error, the effective sample size, and Pareto's k-hat

The standard error presumes that the weights have a variance, which no finite sample shows. k-hat,
the shape of the generalised Pareto distribution that fits the largest weights, is what can be
known of it: moments of order 1/k and above do not exist (Vehtari et al. 2024, arXiv 1507.02646).
"""

import math
from typing import NamedTuple

import numpy as np
from arviz_stats.base import array_stats

__all__ = ["LogMean", "WeightSums", "largest_pareto_k"]


class LogMean(NamedTuple):
    """log 1/K sum_k w_k and what is known of its error, each [B], float64."""

    estimate: np.ndarray  # nats
    standard_error: np.ndarray  # nats, by the delta method; infinite for one weight
    effective_sample_size: np.ndarray  # between 1 and K; 0 where all weights are zero
    pareto_k: np.ndarray  # NaN for fewer than 25 weights, -inf where they are equal


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
        top = np.where(np.isfinite(new), new, 0.0)  # so far nothing but zero weights
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
            estimate = np.where(mean > 0, self._log_max + np.log(mean), -np.inf)
            effective = np.where(mean > 0, self._sum**2 / self._sum_of_squares, 0.0)
        return LogMean(
            estimate,
            np.where((self.count > 1) & (mean > 0), error, np.inf),
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
    if len(largest) < 6:
        return np.nan
    if not np.isfinite(largest).all():  # more zero weights than can be: nothing has a moment
        return np.inf
    if np.ptp(largest) < 1e-6 * max(1.0, abs(largest[-1])):  # equal, but for float32 rounding
        return -np.inf
    # k-hat looks at the tail only: the weights that were not kept may be any below it.
    log_w = np.full(count, largest[0] - 1.0)
    log_w[: len(largest)] = largest
    # PSIS speaks of leave-one-out likelihoods, whose importance weights are their inverse.
    return float(array_stats.psislw(-log_w, r_eff=1.0)[1])
