"""What a difference over seeds says: one convention for every verdict of the course.

Two arms that differ in one thing are run with the same seeds, and the difference is taken seed by
seed. `compare` asks of each difference whether chance alone explains it: a t test, whose p value is
exact where the differences are Normal, and Holm's correction, which keeps the chance that any
verdict of the page is wrong at or below `level`, however the verdicts depend on each other
(Holm, A simple sequentially rejective multiple test procedure, Scand. J. Statist. 1979).
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

__all__ = ["Comparison", "Comparisons", "compare"]


class Comparison(NamedTuple):
    """One difference: its mean over the runs, and whether chance alone explains it."""

    mean: float
    standard_error: float
    freedom: float
    p: float
    adjusted_p: float
    holds: bool

    def __str__(self):
        how = "holds" if self.holds else "not shown"
        return (
            f"{self.mean:+.3f} +- {self.standard_error:.3f}, p = {self.p:.2g}, "
            f"corrected {self.adjusted_p:.2g}: {how}"
        )


class Comparisons(dict):
    """{name: Comparison}; prints as a table."""

    def __str__(self):
        width = max(map(len, self), default=0)
        return "\n".join(f"{name:<{width}}  {one}" for name, one in self.items())


def compare(differences: Mapping[str, ArrayLike], level: float = 0.05) -> Comparisons:
    """Tests all differences of a page together.

    With one value a run, mean / s / sqrt(n) follows Student's t with n - 1 degrees of freedom under
    chance alone. With judges, entry [i, j] is run i seen by judge j; the variance of the mean is
    s_runs^2 / n + s_judges^2 / m, of the means over either axis: it covers the choice of runs and
    that of judges. Its degrees of freedom are those of the shorter axis, with which the test is
    never too bold (Hajek, Inequalities for the generalized Student's distribution, 1962).

    Args:
        differences: {name: differences}, [n] with one value a run, or [n, m] with m judges; each
            is of arms that differ in one thing only. All verdicts of a page belong in one call,
            those that fail included.
        level: the chance that any of the verdicts is wrong if all are due to chance.

    Returns:
        {name: Comparison(mean, standard_error, freedom, p, adjusted_p, holds)}; the p values are
        two-sided, `adjusted_p` is Holm's, and `holds` says that it is at most `level`. Prints as a
        table.

    Raises:
        ValueError: if a difference has fewer than two runs or judges, another shape, or a value
            that is not finite.

    Example:

    >>> print(vt.course.compare({"better": [1.1, 1.2, 0.9, 1.1, 0.8], "no": [1, -1, 2, 0, -2]}))
    better  +1.020 +- 0.073, p = 0.00016, corrected 0.00031: holds
    no      +0.000 +- 0.707, p = 1, corrected 1: not shown
    """
    if not 0 < level < 1:
        raise ValueError(f"Expected `level` between 0 and 1. Received: level={level}")
    tested = {name: _test(name, values) for name, values in differences.items()}
    adjusted = _holm([test[-1] for test in tested.values()])
    return Comparisons(
        {
            name: Comparison(*test, corrected, corrected <= level)
            for (name, test), corrected in zip(tested.items(), adjusted, strict=True)
        }
    )


def _test(name: str, values: ArrayLike) -> tuple[float, float, float, float]:
    """The mean, its standard error, the degrees of freedom and the two-sided p value."""
    values = np.asarray(values, "float64")
    if values.ndim not in (1, 2) or min(values.shape) < 2 or not np.isfinite(values).all():
        raise ValueError(
            f"Expected `{name}` to hold finite differences, [n] or [n, judges], two or more along "
            f"each axis. Received: {values}"
        )
    axes = [
        values.mean(axis=1 - axis) if values.ndim == 2 else values for axis in range(values.ndim)
    ]
    parts = np.array([means.var(ddof=1) / len(means) for means in axes])
    mean, variance = values.mean(), parts.sum()
    if variance == 0:  # the same difference in every run
        return float(mean), 0.0, float(len(values) - 1), float(mean == 0)
    freedom = float(min(values.shape) - 1)
    p = 2 * stats.t.sf(abs(mean) / np.sqrt(variance), freedom)
    return float(mean), float(np.sqrt(variance)), freedom, float(p)


def _holm(p):
    """Holm's adjusted p values: the i-th smallest times the number not yet rejected."""
    p = np.asarray(p, "float64")
    order = np.argsort(p)
    steps = np.maximum.accumulate(p[order] * (len(p) - np.arange(len(p))))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(steps, 1)
    return adjusted.tolist()
