"""Exercises of notebook 06: the five sentences, on gene expression."""

import numpy as np
from scipy.special import gammaln
from scipy.stats import beta, nbinom, norm

from vae_tf.course.checks import Function, Value

__all__ = ["EXERCISES"]


# -- 06.1: how many zeros -----------------------------------------------------------------------

_MEAN, _DISPERSION = 2.0, 1.5
_ZEROS = (1 + _DISPERSION * _MEAN) ** (-1 / _DISPERSION)


# -- 06.2: the negative binomial ----------------------------------------------------------------


def _terms(x, mean, dispersion):
    """The log-probability of each count, [B, D]."""
    r = 1 / dispersion
    ways = gammaln(x + r) - gammaln(r) - gammaln(x + 1)
    return ways + r * np.log(r / (r + mean)) + x * np.log(mean / (r + mean))


def _nb(x, mean, dispersion):
    return _terms(x, mean, dispersion).sum(axis=1)


def _nb_inverse(x, mean, dispersion):
    return _nb(x, mean, 1 / dispersion)


def _nb_swapped(x, mean, dispersion):
    r = 1 / dispersion
    swapped = r * np.log(mean / (r + mean)) + x * np.log(r / (r + mean))
    right = r * np.log(r / (r + mean)) + x * np.log(mean / (r + mean))
    return _nb(x, mean, dispersion) + (swapped - right).sum(axis=1)


def _nb_no_factorial(x, mean, dispersion):
    return _nb(x, mean, dispersion) + gammaln(x + 1).sum(axis=1)


def _nb_no_ways(x, mean, dispersion):
    r = 1 / dispersion
    return _nb(x, mean, dispersion) - (gammaln(x + r) - gammaln(r) - gammaln(x + 1)).sum(axis=1)


def _nb_factorial_of_next(x, mean, dispersion):
    return _nb(x, mean, dispersion) + (gammaln(x + 1) - gammaln(x + 2)).sum(axis=1)


def _nb_gamma_of_count(x, mean, dispersion):
    with np.errstate(all="ignore"):
        return _nb(x, mean, dispersion) + (gammaln(x + 1) - gammaln(x)).sum(axis=1)


def _nb_no_gamma_of_r(x, mean, dispersion):
    return _nb(x, mean, dispersion) + np.broadcast_to(gammaln(1 / dispersion), x.shape).sum(axis=1)


def _nb_linear_variance(x, mean, dispersion):
    """Variance mean (1 + dispersion): that of NB1."""
    return _nb(x, mean, dispersion / mean)


def _nb_no_counts(x, mean, dispersion):
    return _nb(x, mean, dispersion) - (x * np.log(mean / (1 / dispersion + mean))).sum(axis=1)


def _nb_no_zeros(x, mean, dispersion):
    r = 1 / dispersion
    return _nb(x, mean, dispersion) - (r * np.log(r / (r + mean))).sum(axis=1)


def _nb_power_dispersion(x, mean, dispersion):
    r = 1 / dispersion
    return _nb(x, mean, dispersion) + ((dispersion - r) * np.log(r / (r + mean))).sum(axis=1)


def _nb_mean_over_genes(x, mean, dispersion):
    return _terms(x, mean, dispersion).mean(axis=1)


def _nb_over_cells(x, mean, dispersion):
    return _terms(x, mean, dispersion).sum(axis=0)


def _nb_of_all(x, mean, dispersion):
    return _terms(x, mean, dispersion).sum()


def _nb_underflowing(x, mean, dispersion):
    with np.errstate(all="ignore"):
        p = nbinom.pmf(x, 1 / dispersion, 1 / (1 + dispersion * mean))
        return np.log(p).sum(axis=1)


def _nb_product_underflowing(x, mean, dispersion):
    with np.errstate(all="ignore"):
        return np.log(np.exp(_terms(x, mean, dispersion)).prod(axis=1))


def _poisson(x, mean, dispersion):
    del dispersion
    return (x * np.log(mean) - mean - gammaln(x + 1)).sum(axis=1)


def _cells():
    """B = 5, D = 3; and B = 2, D = 400, with a count of 5,000 where 2 are expected."""
    rng = np.random.default_rng(61)
    few = rng.poisson(3.0, size=(5, 3)).astype("float64")
    few[0] = 0
    many = rng.poisson(4.0, size=(2, 400)).astype("float64")
    many[0, 0] = 5000.0
    return [
        (few, np.exp(rng.normal(1, 0.5, size=(5, 3))), np.array([0.2, 1.7, 3.0])),
        (many, np.full((2, 400), 2.0), np.exp(rng.normal(-1, 0.3, size=400))),
    ]


def _near_poisson(log_prob):
    x, mean = np.array([[0.0, 3.0, 7.0]]), np.array([[1.0, 2.0, 9.0]])
    tiny = np.full(3, 1e-6)
    return np.allclose(log_prob(x, mean, tiny), _poisson(x, mean, tiny), atol=1e-3)


# -- 06.3: the probability of a count -----------------------------------------------------------


def _rounded(x, loc, scale):
    above = norm.cdf((np.log(x + 1.5) - loc) / scale)
    below = np.where(x > 0, norm.cdf((np.log(x + 0.5) - loc) / scale), 0.0)
    return np.log(above - below).sum(axis=1)


def _rounded_zero_cut(x, loc, scale):
    above, below = (norm.cdf((np.log(x + shift) - loc) / scale) for shift in (1.5, 0.5))
    return np.log(above - below).sum(axis=1)


def _rounded_down(x, loc, scale):
    above = norm.cdf((np.log(x + 2) - loc) / scale)
    below = np.where(x > 0, norm.cdf((np.log(x + 1) - loc) / scale), 0.0)
    return np.log(above - below).sum(axis=1)


def _rounded_down_cut(x, loc, scale):
    above, below = (norm.cdf((np.log(x + shift) - loc) / scale) for shift in (2, 1))
    return np.log(above - below).sum(axis=1)


def _rounded_in_logs(x, loc, scale):
    y = np.log1p(x)
    above, below = (norm.cdf((y + half - loc) / scale) for half in (0.5, -0.5))
    return np.log(above - np.where(x > 0, below, 0.0)).sum(axis=1)


def _rounded_in_logs_cut(x, loc, scale):
    y = np.log1p(x)
    above, below = (norm.cdf((y + half - loc) / scale) for half in (0.5, -0.5))
    return np.log(above - below).sum(axis=1)


def _density_of_log(x, loc, scale):
    return norm.logpdf(np.log1p(x), loc, scale).sum(axis=1)


def _density_of_count(x, loc, scale):
    return (norm.logpdf(np.log1p(x), loc, scale) - np.log1p(x)).sum(axis=1)


def _rounded_log_of_count(x, loc, scale):
    with np.errstate(all="ignore"):
        above = norm.cdf((np.log(x + 0.5) - loc) / scale)
        below = np.where(x > 0, norm.cdf((np.log(x - 0.5) - loc) / scale), 0.0)
        return np.log(above - below).sum(axis=1)


def _rounded_at_most(x, loc, scale):
    return np.log(norm.cdf((np.log(x + 1.5) - loc) / scale)).sum(axis=1)


def _rounded_variance(x, loc, scale):
    return _rounded(x, loc, np.sqrt(scale))


def _rounded_by_variance(x, loc, scale):
    return _rounded(x, loc, scale**2)


def _rounded_unscaled(x, loc, scale):
    return _rounded(x, loc, np.ones_like(scale))


def _rounded_sum_unlogged(x, loc, scale):
    above = norm.cdf((np.log(x + 1.5) - loc) / scale)
    below = np.where(x > 0, norm.cdf((np.log(x + 0.5) - loc) / scale), 0.0)
    return (above - below).sum(axis=1)


def _rounded_reversed(x, loc, scale):
    above = norm.cdf((np.log(x + 1.5) - loc) / scale)
    below = np.where(x > 0, norm.cdf((np.log(x + 0.5) - loc) / scale), 0.0)
    with np.errstate(all="ignore"):
        return np.log(below - above).sum(axis=1)


def _rounded_unlogged(x, loc, scale):
    return np.exp(_rounded(x, loc, scale))


def _rounded_mean(x, loc, scale):
    return _rounded(x, loc, scale) / x.shape[1]


def _rounded_cells():
    rng = np.random.default_rng(63)
    cases = []
    for batch, genes in ((5, 3), (1, 7)):
        x = rng.poisson(4.0, size=(batch, genes)).astype("float64")
        x[0, 0] = 0
        loc = np.log1p(x) + rng.normal(0, 0.4, size=x.shape)
        cases.append((x, loc, np.exp(rng.normal(-0.7, 0.3, size=x.shape))))
    return cases


def _sums_to_one(log_prob):
    counts = np.arange(3000.0)[:, None]
    loc, scale = np.full((3000, 1), 0.7), np.full((3000, 1), 0.8)
    with np.errstate(all="ignore"):
        return abs(np.exp(log_prob(counts, loc, scale)).sum() - 1) < 1e-3


# -- 06.4: Pearson residuals --------------------------------------------------------------------


def _expected(counts):
    totals = counts.sum(axis=1, keepdims=True)
    return totals * counts.sum(axis=0) / counts.sum()


def _clipped(residuals, limit=None):
    limit = np.sqrt(len(residuals)) if limit is None else limit
    return np.clip(residuals, -limit, limit)


def _residuals(counts, dispersion):
    mean = _expected(counts)
    return _clipped((counts - mean) / np.sqrt(mean + dispersion * mean**2))


def _residuals_poisson(counts, dispersion):
    del dispersion
    mean = _expected(counts)
    return _clipped((counts - mean) / np.sqrt(mean))


def _residuals_unclipped(counts, dispersion):
    mean = _expected(counts)
    return (counts - mean) / np.sqrt(mean + dispersion * mean**2)


def _residuals_clipped_by_genes(counts, dispersion):
    return _clipped(_residuals_unclipped(counts, dispersion), np.sqrt(counts.shape[1]))


def _residuals_clipped_by_number(counts, dispersion):
    return _clipped(_residuals_unclipped(counts, dispersion), len(counts))


def _residuals_clipped_above(counts, dispersion):
    return np.minimum(_residuals_unclipped(counts, dispersion), np.sqrt(len(counts)))


def _residuals_by_variance(counts, dispersion):
    mean = _expected(counts)
    return _clipped((counts - mean) / (mean + dispersion * mean**2))


def _residuals_inverse(counts, dispersion):
    return _residuals(counts, 1 / dispersion)


def _residuals_without_depth(counts, dispersion):
    mean = counts.mean(axis=0)
    return _clipped((counts - mean) / np.sqrt(mean + dispersion * mean**2))


def _residuals_without_genes(counts, dispersion):
    mean = np.broadcast_to(counts.mean(axis=1, keepdims=True), counts.shape)
    return _clipped((counts - mean) / np.sqrt(mean + dispersion * mean**2))


def _residuals_of_mean(counts, mean, dispersion):
    return _clipped((counts - mean) / np.sqrt(mean + dispersion * mean**2))


def _residuals_mean_for_sum(counts, dispersion):
    totals = counts.sum(axis=1, keepdims=True)
    return _residuals_of_mean(counts, totals * counts.mean(axis=0) / counts.sum(), dispersion)


def _residuals_mean_share(counts, dispersion):
    totals = counts.sum(axis=1, keepdims=True)
    return _residuals_of_mean(counts, totals * (counts / totals).mean(axis=0), dispersion)


def _residuals_square_dispersion(counts, dispersion):
    return _residuals(counts, dispersion**2)


def _residuals_clipped_by_size(counts, dispersion):
    return _clipped(_residuals_unclipped(counts, dispersion), np.sqrt(counts.size))


def _residuals_clipped_at_zero(counts, dispersion):
    return np.clip(_residuals_unclipped(counts, dispersion), 0, np.sqrt(len(counts)))


def _residuals_linear(counts, dispersion):
    mean = _expected(counts)
    return _clipped((counts - mean) / np.sqrt(mean + dispersion * mean))


def _residuals_empirical(counts, dispersion):
    del dispersion
    mean = _expected(counts)
    return _clipped((counts - mean) / np.sqrt(((counts - mean) ** 2).mean(axis=0)))


def _residuals_uncentred(counts, dispersion):
    mean = _expected(counts)
    return _clipped(counts / np.sqrt(mean + dispersion * mean**2))


def _counted():
    """Cells of unequal depth, [7, 4] and [3, 11]; single counts that are far off."""
    rng = np.random.default_rng(64)
    cases = []
    for (cells, genes), dispersion in (((7, 4), 0.01), ((3, 11), 0.5)):
        depth = np.exp(rng.normal(0, 0.7, size=(cells, 1)))
        counts = rng.poisson(depth * np.exp(rng.normal(1, 1, size=genes))).astype("float64") + 1
        counts[0, 0] = 400.0
        counts[-1, -1] = 0.0
        cases.append((counts, dispersion))
    return cases


# -- 06.5: an interval for an accuracy ----------------------------------------------------------

_Z = float(norm.isf(0.025))


def _wilson(right, n, z=_Z):
    share, shrunk = right / n, 1 + z**2 / n
    centre = (share + z**2 / (2 * n)) / shrunk
    half = z * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2)) / shrunk
    return centre - half, centre + half


def _wald(right, n, z=_Z):
    share = right / n
    half = z * np.sqrt(share * (1 - share) / n)
    return share - half, share + half


def _wilson_uncentred(right, n):
    low, high = _wilson(right, n)
    return right / n - (high - low) / 2, right / n + (high - low) / 2


def _wilson_unshrunk(right, n):
    shrunk = 1 + _Z**2 / n
    return tuple(shrunk * end for end in _wilson(right, n))


def _wilson_half_unshrunk(right, n):
    low, high = _wilson(right, n)
    centre, half = (low + high) / 2, (high - low) / 2
    return centre - half * (1 + _Z**2 / n), centre + half * (1 + _Z**2 / n)


def _wilson_centre_unshrunk(right, n):
    low, high = _wilson(right, n)
    centre, half = (low + high) / 2 * (1 + _Z**2 / n), (high - low) / 2
    return centre - half, centre + half


def _widest(right, n):
    return right / n - _Z * 0.5 / np.sqrt(n), right / n + _Z * 0.5 / np.sqrt(n)


def _wilson_missing_power(right, n):
    share, shrunk = right / n, 1 + _Z**2 / n
    centre = (share + _Z**2 / (2 * n)) / shrunk
    half = _Z * np.sqrt(share * (1 - share) / n + _Z**2 / (4 * n)) / shrunk
    return centre - half, centre + half


def _exact(right, n):
    low = beta.ppf(0.025, right, n - right + 1) if right else 0.0
    return low, beta.ppf(0.975, right + 1, n - right) if right < n else 1.0


def _wald_clipped(right, n):
    low, high = _wald(right, n)
    return max(low, 0.0), min(high, 1.0)


def _without_n(right, n):
    share = right / n
    half = _Z * np.sqrt(share * (1 - share))
    return share - half, share + half


EXERCISES: dict[str, Value | Function] = {
    "06.1": Value(
        _ZEROS,
        mistakes={
            "you swapped p and 1 - p: p = 1 / (1 + a m) is the factor of the zeros": (
                1 - 1 / (1 + _DISPERSION * _MEAN)
            )
            ** (1 / _DISPERSION),
            "you took the Poisson's, exp(-m): here the dispersion counts": np.exp(-_MEAN),
            "you used the dispersion where its inverse belongs, and the inverse in its place": (
                1 + _MEAN / _DISPERSION
            )
            ** -_DISPERSION,
            "you raised p to the power a; n is 1 / a": (1 + _DISPERSION * _MEAN) ** -_DISPERSION,
            "you left out the power n = 1 / a": 1 / (1 + _DISPERSION * _MEAN),
            "you computed the probability of one molecule or more; it should be that of none": 1
            - _ZEROS,
            "you computed the probability of exactly one molecule": float(
                nbinom.pmf(1, 1 / _DISPERSION, 1 / (1 + _DISPERSION * _MEAN))
            ),
            "you took the logarithm; the probability itself is asked": np.log(_ZEROS),
            "you gave per cent; a probability lies between 0 and 1": 100 * _ZEROS,
            "you computed the probability of at most one molecule": float(
                nbinom.cdf(1, 1 / _DISPERSION, 1 / (1 + _DISPERSION * _MEAN))
            ),
            "you divided by 1 + m; the mean is to be multiplied by the dispersion": (1 + _MEAN)
            ** (-1 / _DISPERSION),
        },
    ),
    "06.2": Function(
        truth=_nb,
        cases=_cells,
        mistakes={
            "you used the dispersion where its inverse belongs: r = 1 / dispersion": _nb_inverse,
            "you swapped p and 1 - p: mean / (r + mean) goes with the count x": _nb_swapped,
            "you forgot the factorial of x, log Gamma(x + 1)": _nb_no_factorial,
            "you left out the three Gamma functions": _nb_no_ways,
            "you took log Gamma(x + 2) for the factorial: x! is Gamma(x + 1)": (
                _nb_factorial_of_next
            ),
            "you took log Gamma(x) for the factorial: x! is Gamma(x + 1)": _nb_gamma_of_count,
            "you forgot log Gamma(r), which is to be subtracted": _nb_no_gamma_of_r,
            "you forgot the last term, x log(m / (r + m))": _nb_no_counts,
            "you forgot the term r log(r / (r + m))": _nb_no_zeros,
            "you multiplied log(r / (r + m)) by the dispersion; it should be by r": (
                _nb_power_dispersion
            ),
            "you made the variance mean + dispersion * mean; it should be mean + dispersion * "
            "mean^2": _nb_linear_variance,
            "you averaged over the genes; the log-probability of a cell is a sum": (
                _nb_mean_over_genes
            ),
            "you summed over the cells; the sum should be over the genes, axis 1": _nb_over_cells,
            "you summed over cells and genes; each cell has a number of its own": _nb_of_all,
            "you took the logarithm of a probability that underflows to zero: use logarithms "
            "throughout": _nb_underflowing,
            "you multiplied probabilities until they underflowed: add logarithms": (
                _nb_product_underflowing
            ),
            "you wrote the Poisson's: the dispersion does not enter": _poisson,
        },
        properties={
            "you should get the Poisson's log-probability as the dispersion goes to zero": (
                _near_poisson
            )
        },
    ),
    "06.3": Function(
        truth=_rounded,
        cases=_rounded_cells,
        mistakes={
            "you cut the zero off at log(1/2); it takes all that lies below log(3/2)": (
                _rounded_zero_cut
            ),
            "you rounded down: a count x takes what lies between x - 1/2 and x + 1/2": (
                _rounded_down
            ),
            "you rounded down, and cut the zero off: it takes all that lies below log(3/2)": (
                _rounded_down_cut
            ),
            "you rounded log(1 + x) to half a unit; the half belongs to the count x": (
                _rounded_in_logs
            ),
            "you rounded log(1 + x) to half a unit; the half belongs to the count x, and the "
            "zero takes all below": _rounded_in_logs_cut,
            "you computed the log-density of log(1 + x); the probability of a count is asked": (
                _density_of_log
            ),
            "you computed a log-density per unit of count; the probability of an interval is "
            "asked": _density_of_count,
            "you forgot that y is the logarithm of 1 + x, not of x": _rounded_log_of_count,
            "you forgot to subtract what lies below the interval": _rounded_at_most,
            "you took the square root of the scale, which is a standard deviation": (
                _rounded_variance
            ),
            "you squared the scale, which is a standard deviation": _rounded_by_variance,
            "you forgot to divide by the scale": _rounded_unscaled,
            "you returned probabilities; their logarithms are asked": _rounded_unlogged,
            "you summed probabilities; take the logarithm of each, then sum": _rounded_sum_unlogged,
            "you took the logarithm of a negative number: subtract what lies below from what lies "
            "above": _rounded_reversed,
            "you averaged over the genes; the log-probability of a cell is a sum": _rounded_mean,
        },
        properties={"you should get probabilities that sum to one over all counts": _sums_to_one},
    ),
    "06.4": Function(
        truth=_residuals,
        cases=_counted,
        mistakes={
            "you used the Poisson's variance: dispersion * mean^2 is missing": _residuals_poisson,
            "you forgot to clip at the square root of the number of cells": _residuals_unclipped,
            "you clipped at the square root of the number of genes; it should be that of the "
            "cells": _residuals_clipped_by_genes,
            "you clipped at the number of cells; it should be its square root": (
                _residuals_clipped_by_number
            ),
            "you clipped above only; residuals are clipped below as well": _residuals_clipped_above,
            "you clipped at the square root of the number of all entries; it should be that of the "
            "cells": _residuals_clipped_by_size,
            "you clipped at zero below; the lower limit is minus the upper one": (
                _residuals_clipped_at_zero
            ),
            "you divided by the variance; it should be its square root": _residuals_by_variance,
            "you took the mean of the gene for its sum: its share is its sum over all counts": (
                _residuals_mean_for_sum
            ),
            "you averaged the shares of the gene over the cells; its share is in all counts": (
                _residuals_mean_share
            ),
            "you squared the dispersion; only the mean is to be squared": (
                _residuals_square_dispersion
            ),
            "you used the inverse of the dispersion": _residuals_inverse,
            "you left the totals of the cells out: the expected count grows with the depth": (
                _residuals_without_depth
            ),
            "you took the mean of the cell for every gene: the share of the gene is missing": (
                _residuals_without_genes
            ),
            "you took dispersion * mean; the mean is to be squared": _residuals_linear,
            "you divided by the standard deviation of the data; the negative binomial's is asked": (
                _residuals_empirical
            ),
            "you forgot to subtract the expected count": _residuals_uncentred,
        },
        properties={
            "you should get the same signs if every count is doubled": (
                lambda f: np.array_equal(
                    np.sign(f(_counted()[0][0], 0.1)), np.sign(f(2 * _counted()[0][0], 0.1))
                )
            )
        },
    ),
    "06.5": Function(
        truth=_wilson,
        cases=lambda: [(80, 100), (3, 4), (0, 4), (161, 200)],
        mistakes={
            "you used the textbook's share +- 1.96 standard errors, which has no width at 0 of 4": (
                _wald
            ),
            "you used the textbook's share +- 1.96 standard errors and cut it at 0 and 1": (
                _wald_clipped
            ),
            "you computed the exact (Clopper and Pearson) interval; Wilson's is asked": _exact,
            "you forgot a square in the last term under the root, z^2 / (4 n^2)": (
                _wilson_missing_power
            ),
            "you took z = 2; it is 1.960": lambda right, n: _wilson(right, n, 2.0),
            "you took z = 1; a 95 % interval has z = 1.96": lambda right, n: _wilson(right, n, 1.0),
            "you took z = 1.645, which leaves 5 % on each side": (
                lambda right, n: _wilson(right, n, float(norm.isf(0.05)))
            ),
            "you took z = 2.576, of a 99 % interval": (
                lambda right, n: _wilson(right, n, float(norm.isf(0.005)))
            ),
            "you centred it on the share; Wilson's centre is drawn towards one half": (
                _wilson_uncentred
            ),
            "you forgot to divide by 1 + z^2 / n": _wilson_unshrunk,
            "you forgot to divide the half-width by 1 + z^2 / n": _wilson_half_unshrunk,
            "you forgot to divide the centre by 1 + z^2 / n": _wilson_centre_unshrunk,
            "you took the widest standard error, that of a share of one half": _widest,
            "you forgot to divide the variance by n": _without_n,
            "you returned it as (high, low)": lambda right, n: _wilson(right, n)[::-1],
            "you returned counts; shares are asked": (
                lambda right, n: tuple(n * end for end in _wilson(right, n))
            ),
        },
    ),
}
