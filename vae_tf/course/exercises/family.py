"""Exercises of notebook 07: the beta-VAE family, its scores, and what a seed does to them."""

import functools

import numpy as np
from scipy.special import ndtr

from vae_tf.course.checks import Function, Value

__all__ = ["EXERCISES"]


# -- 07.1: two runs at equal rate -----------------------------------------------------------------

_RATES, _SCORES = np.array([8.3, 6.5, 5.2]), np.array([0.07, 0.10, 0.20])  # of beta 1, 2, 3
_A, _B = (6.1, 0.19), (7.4, 0.15)  # rate, score


def _excess(rate, score):
    return score - np.interp(rate, _RATES[::-1], _SCORES[::-1])


_LEAD = _excess(*_B) - _excess(*_A)


# -- 07.2: the gap, factor by factor --------------------------------------------------------------


def _tables():
    """F = 3, L = 4; F = 5, L = 2; F = 2, L = 6, the best two equal."""
    rng, cases = np.random.default_rng(71), []
    for factors, latents, values in ((3, 4, 5), (5, 2, 3), (2, 6, 9)):
        counts = rng.integers(0, 40, size=(latents, factors, 7, values))
        counts[..., 0] += rng.integers(0, 300, size=(latents, factors, 7))
        if factors == 2:
            counts[1] = counts[0]
        cases.append((_information(counts), _entropy(counts[0])))
    return cases


def _information(counts):
    """I(bin; value) of tables [..., bins, values], nats."""
    p = counts / counts.sum(axis=(-2, -1), keepdims=True)
    independent = p.sum(axis=-1, keepdims=True) * p.sum(axis=-2, keepdims=True)
    return np.sum(
        p * np.log(np.where(p > 0, p, 1) / np.where(p > 0, independent, 1)), axis=(-2, -1)
    )


def _entropy(counts):
    p = counts.sum(axis=-2) / counts.sum(axis=(-2, -1))[..., None]
    return -np.sum(p * np.log(np.where(p > 0, p, 1)), axis=-1)


def _gaps(information, entropy):
    best = np.sort(information, axis=0)
    return (best[-1] - best[-2]) / entropy


def _gap_of(first, second):
    """The gap between the order statistics of these ranks from the top."""

    def gaps(information, entropy):
        best = np.sort(information, axis=0)[::-1]
        return (best[first] - best[second]) / entropy

    return gaps


def _gaps_to_mean(information, entropy):
    rest = (information.sum(axis=0) - information.max(axis=0)) / (len(information) - 1)
    return (information.max(axis=0) - rest) / entropy


def _gaps_of_sorted_factors(information, entropy):
    best = np.sort(information, axis=1)
    return (best[:, -1] - best[:, -2])[: len(entropy)] / entropy[: len(best)]


# -- 07.3: the total correlation of a Normal ------------------------------------------------------


def _total_correlation(covariance):
    return 0.5 * (np.log(np.diag(covariance)).sum() - np.linalg.slogdet(covariance)[1])


def _to_the_prior(covariance):
    """KL(N(0, covariance) || N(0, identity))."""
    return 0.5 * (np.trace(covariance) - len(covariance) - np.linalg.slogdet(covariance)[1])


def _to_the_product_reversed(covariance):
    """KL(product || joint)."""
    inside = np.diag(covariance) @ np.diag(np.linalg.inv(covariance)) - len(covariance)
    return 0.5 * inside - _total_correlation(covariance)


def _pairs_only(covariance):
    """The sum of the mutual informations of pairs."""
    scale = np.sqrt(np.diag(covariance))
    r = covariance / np.outer(scale, scale)
    return -0.5 * np.log(1 - r[np.triu_indices(len(r), 1)] ** 2).sum()


def _covariances():
    """L = 2, 4, 3, and 40, where the determinant underflows."""
    rng, cases = np.random.default_rng(72), []
    for latents, unit in ((2, 1.0), (4, 0.6), (3, 1.3), (40, 1e-5)):
        factor = rng.normal(size=(latents, latents)) + 2 * np.eye(latents)
        cases.append((unit**2 * factor @ factor.T,))
    return cases


# -- 07.4: free bits ------------------------------------------------------------------------------


def _free_bits(reconstruction, kl, free):
    return np.mean(reconstruction) - np.maximum(free, kl.mean(axis=0)).sum()


def _batches():
    """B = 6, L = 4; B = 1, L = 2; B = 9, L = 3, where nothing is free: the ELBO."""
    rng, cases = np.random.default_rng(73), []
    for batch, latents, free in ((6, 4, 1.6), (1, 2, 1.0), (9, 3, 0.0)):
        kl = rng.gamma(0.8, 0.8, size=(batch, latents)) * np.linspace(0.1, 2.5, latents)
        cases.append((rng.normal(-40, 8, size=batch), kl, free))
    return cases


def _nothing_free_is_the_elbo(objective):
    reconstruction, kl, _ = _batches()[0]
    return np.isclose(objective(reconstruction, kl, 0.0), np.mean(reconstruction - kl.sum(axis=1)))


# -- 07.5: the penalty of DIP-VAE-II --------------------------------------------------------------


def _penalty(covariance, lambda_od, lambda_d):
    diagonal = np.diag(covariance)
    off = (covariance**2).sum() - (diagonal**2).sum()
    return lambda_od * off + lambda_d * ((diagonal - 1) ** 2).sum()


def _of_means(loc):
    centred = loc - loc.mean(axis=0)
    return centred.T @ centred / len(loc)


def _dip(loc, scale, lambda_od, lambda_d):
    covariance = _of_means(loc) + np.diag((scale**2).mean(axis=0))
    return _penalty(covariance, lambda_od, lambda_d)


def _dip_with(covariance):
    """The penalty of another covariance."""

    def penalty(loc, scale, lambda_od, lambda_d):
        return _penalty(covariance(loc, scale), lambda_od, lambda_d)

    return penalty


def _dip_half(loc, scale, lambda_od, lambda_d):
    covariance = _of_means(loc) + np.diag((scale**2).mean(axis=0))
    off = np.triu(covariance, 1)
    return lambda_od * (off**2).sum() + lambda_d * ((np.diag(covariance) - 1) ** 2).sum()


def _dip_absolute(loc, scale, lambda_od, lambda_d):
    covariance = _of_means(loc) + np.diag((scale**2).mean(axis=0))
    diagonal = np.diag(covariance)
    off = np.abs(covariance).sum() - np.abs(diagonal).sum()
    return lambda_od * off + lambda_d * np.abs(diagonal - 1).sum()


def _dip_to_zero(loc, scale, lambda_od, lambda_d):
    covariance = _of_means(loc) + np.diag((scale**2).mean(axis=0))
    diagonal = np.diag(covariance)
    off = (covariance**2).sum() - (diagonal**2).sum()
    return lambda_od * off + lambda_d * (diagonal**2).sum()


def _dip_mean(loc, scale, lambda_od, lambda_d):
    return _dip(loc, scale, lambda_od, lambda_d) / loc.shape[1] ** 2


def _codes():
    """B = 8, L = 3; B = 50, L = 2; B = 5, L = 4."""
    rng, cases = np.random.default_rng(74), []
    for batch, latents, *weights in ((8, 3, 5.0, 2.0), (50, 2, 1.0, 7.0), (5, 4, 3.0, 10.0)):
        loc = rng.normal(size=(batch, latents)) @ rng.normal(size=(latents, latents)) + 0.8
        cases.append((loc, np.exp(-0.7 + 0.5 * rng.normal(size=loc.shape)), *weights))
    return cases


# -- 07.6: the objective's share ------------------------------------------------------------------

_F, _SEEDS = 11.5, 5
_SHARE = (_F - 1) / (_F - 1 + _SEEDS)


# -- 07.7: how often a rule finds what is there ---------------------------------------------------


def _found(difference, sd, seeds, rule=3.0):
    shift = difference / np.sqrt(2 * sd**2 / seeds)
    return ndtr(shift - rule) + ndtr(-shift - rule)


def _found_one_sided(difference, sd, seeds):
    return ndtr(difference / np.sqrt(2 * sd**2 / seeds) - 3)


def _found_wrong_error(error):
    """With another standard error of the difference."""
    return lambda difference, sd, seeds: (
        ndtr(difference / error(sd, seeds) - 3) + ndtr(-difference / error(sd, seeds) - 3)
    )


def _differences():
    return [(0.1, 0.06, 10), (0.05, 0.06, 26), (0.02, 0.05, 5), (0.0, 0.3, 7), (0.3, 0.2, 12)]


EXERCISES: dict[str, Value | Function] = {
    "07.1": Value(
        _LEAD,
        mistakes={
            "you compared the two MIGs as they are, or handed `np.interp` rates that fall; take "
            "from each MIG what beta alone reaches at its rate, with rates in rising order": (
                _B[1] - _A[1]
            ),
            "you subtracted the wrong way round: B minus A": -_LEAD,
            "you gave the excess of B alone; subtract that of A": _excess(*_B),
            "you gave the excess of A alone; subtract it from that of B": _excess(*_A),
            "you took the point of the line that is nearest in rate; go along the line": (
                (_B[1] - 0.10) - (_A[1] - 0.10)
                if abs(_B[0] - 6.5) < abs(_B[0] - 8.3)
                else (_B[1] - 0.07) - (_A[1] - 0.10)
            ),
            "you took the point of the line with the rate next below; go along the line": (
                (_B[1] - 0.10) - (_A[1] - 0.20)
            ),
            "you divided the MIG by the rate; compare with the curve at the same rate": (
                _B[1] / _B[0] - _A[1] / _A[0]
            ),
            "you used one line from beta 1 to beta 3; the curve has a corner at beta 2": (
                (_B[1] - np.interp(_B[0], [5.2, 8.3], [0.20, 0.07]))
                - (_A[1] - np.interp(_A[0], [5.2, 8.3], [0.20, 0.07]))
            ),
            "you added the two excesses; subtract them": _excess(*_B) + _excess(*_A),
        },
    ),
    "07.2": Function(
        truth=_gaps,
        cases=_tables,
        mistakes={
            "you averaged over the factors; return the gap of each": (
                lambda *case: np.mean(_gaps(*case))
            ),
            "you did not divide by the entropies": lambda information, entropy: (
                _gaps(information, entropy) * entropy
            ),
            "you took the entropies in bits, and the information in nats": (
                lambda information, entropy: _gaps(information, entropy) * np.log(2)
            ),
            "you divided by the number of factors; divide by the entropy of each": (
                lambda information, entropy: _gaps(information, entropy) * entropy / len(entropy)
            ),
            "you left out the second best latent": lambda information, entropy: (
                information.max(axis=0) / entropy
            ),
            "you subtracted the worst latent, and not the second best": _gap_of(0, -1),
            "you subtracted the mean of the other latents; only the second best counts": (
                _gaps_to_mean
            ),
            "you let factors compete; for each factor it is the latents that do": (
                _gaps_of_sorted_factors
            ),
            "you subtracted the larger from the smaller": lambda *case: -_gaps(*case),
            "you divided by the largest information; divide by the entropy": (
                lambda information, entropy: (
                    _gaps(information, entropy) * entropy / information.max(axis=0)
                )
            ),
            "you divided by the sum over the latents; divide by the entropy": (
                lambda information, entropy: (
                    _gaps(information, entropy) * entropy / information.sum(axis=0)
                )
            ),
        },
        properties={
            "two latents that know a factor equally well should give it a gap of zero": (
                lambda gaps: np.allclose(gaps(np.full((3, 2), 0.4), np.array([1.1, 2.3])), 0)
            )
        },
    ),
    "07.3": Function(
        truth=_total_correlation,
        cases=_covariances,
        mistakes={
            "you forgot the factor one half": lambda c: 2 * _total_correlation(c),
            "you compared with the prior; the product of q(z)'s own marginals belongs here": (
                _to_the_prior
            ),
            "you left out the variances: only the determinant of a correlation matrix would do": (
                lambda c: -0.5 * np.linalg.slogdet(c)[1]
            ),
            "you subtracted the wrong way round": lambda c: -_total_correlation(c),
            "you took the divergence the other way round: from the product to q(z)": (
                _to_the_product_reversed
            ),
            "you added up pairs; three latents can share what no pair shows": _pairs_only,
            "you let the determinant underflow to zero: use np.linalg.slogdet": (
                lambda c: 0.5 * (np.log(np.diag(c)).sum() - np.log(np.linalg.det(c)))
            ),
            "you gave half the logarithm of the determinant; the variances are missing": (
                lambda c: 0.5 * np.linalg.slogdet(c)[1]
            ),
            "you averaged over the latents; the logarithms add up": (
                lambda c: 0.5 * (np.log(np.diag(c)).mean() - np.linalg.slogdet(c)[1])
            ),
            "you divided by the number of latents": lambda c: _total_correlation(c) / len(c),
            "you took the logarithm of the sum of variances, not the sum of logarithms": (
                lambda c: 0.5 * (np.log(np.trace(c)) - np.linalg.slogdet(c)[1])
            ),
        },
        properties={
            "independent latents should have no total correlation": (
                lambda f: np.allclose(f(np.diag([0.3, 2.0, 1.0])), 0.0, atol=1e-6)
            ),
            "multiplying a latent by a constant should change nothing": (
                lambda f: np.allclose(
                    f(np.array([[1.0, 0.5], [0.5, 1.0]])), f(np.array([[4.0, 1.0], [1.0, 1.0]]))
                )
            ),
        },
    ),
    "07.4": Function(
        truth=_free_bits,
        cases=_batches,
        mistakes={
            "you took the maximum for each example; the mean over the batch comes first": (
                lambda r, kl, free: np.mean(r) - np.maximum(free, kl).sum(axis=1).mean()
            ),
            "you gave all latents one allowance together; each has its own": (
                lambda r, kl, free: np.mean(r) - np.maximum(free, kl.sum(axis=1).mean())
            ),
            "you gave all latents one allowance together, example by example; each latent has its "
            "own, and the mean over the batch comes first": (
                lambda r, kl, free: np.mean(r - np.maximum(free, kl.sum(axis=1)))
            ),
            "you subtracted the allowance from the KL; below it a latent pays the allowance, above "
            "it its whole KL": (
                lambda r, kl, free: np.mean(r) - np.maximum(0, kl.mean(axis=0) - free).sum()
            ),
            "you took the minimum; a latent never counts less than the allowance": (
                lambda r, kl, free: np.mean(r) - np.minimum(free, kl.mean(axis=0)).sum()
            ),
            "you left out the free part: a latent below it counts as the allowance": (
                lambda r, kl, free: np.mean(r) - np.where(kl.mean(0) > free, kl.mean(0), 0).sum()
            ),
            "you averaged over the latents; their shares add up": (
                lambda r, kl, free: np.mean(r) - np.maximum(free, kl.mean(axis=0)).mean()
            ),
            "you averaged over all entries of the KL; over the latents it is a sum": (
                lambda r, kl, free: np.mean(r) - np.maximum(free, kl.mean())
            ),
            "you summed the KL over the batch; it is a mean": (
                lambda r, kl, free: np.mean(r) - np.maximum(free, kl.sum(axis=0)).sum()
            ),
            "you gave the ELBO; nothing was free": lambda r, kl, _: np.mean(r - kl.sum(axis=1)),
            "you gave the loss; the objective is minus that": lambda *case: -_free_bits(*case),
            "you summed the reconstruction over the batch; it is a mean": (
                lambda r, kl, free: np.sum(r) - np.maximum(free, kl.mean(axis=0)).sum()
            ),
            "you added the KL; it is subtracted": (
                lambda r, kl, free: np.mean(r) + np.maximum(free, kl.mean(axis=0)).sum()
            ),
            "you left the reconstruction out": (
                lambda _, kl, free: -np.maximum(free, kl.mean(axis=0)).sum()
            ),
        },
        properties={"with nothing free it should be the mean ELBO": _nothing_free_is_the_elbo},
    ),
    "07.5": Function(
        truth=_dip,
        cases=_codes,
        mistakes={
            "you took the covariance of the means alone: that is DIP-VAE-I": _dip_with(
                lambda loc, _: _of_means(loc)
            ),
            "you added the scales; the covariance takes variances": _dip_with(
                lambda loc, scale: _of_means(loc) + np.diag(scale.mean(axis=0))
            ),
            "you divided by B - 1; here the batch stands for all data, so divide by B": _dip_with(
                lambda loc, scale: (
                    _of_means(loc) * len(loc) / (len(loc) - 1) + np.diag((scale**2).mean(axis=0))
                )
            ),
            "you did not subtract the mean of the means": _dip_with(
                lambda loc, scale: loc.T @ loc / len(loc) + np.diag((scale**2).mean(axis=0))
            ),
            "you summed the variances over the batch where a mean belongs": _dip_with(
                lambda loc, scale: _of_means(loc) + np.diag((scale**2).sum(axis=0))
            ),
            "you squared the mean scale; the mean of the squares belongs here": _dip_with(
                lambda loc, scale: _of_means(loc) + np.diag(scale.mean(axis=0) ** 2)
            ),
            "you added the mean variances to all entries; they belong on the diagonal": _dip_with(
                lambda loc, scale: _of_means(loc) + (scale**2).mean(axis=0)
            ),
            "you counted each pair of latents once; the sum has both orders": _dip_half,
            "you took absolute values; the penalty has squares": _dip_absolute,
            "you pulled the diagonal to zero; it should be one": _dip_to_zero,
            "you averaged over the entries; the penalty is a sum": _dip_mean,
            "you exchanged the two weights": lambda loc, scale, lambda_od, lambda_d: _dip(
                loc, scale, lambda_d, lambda_od
            ),
            "you left the diagonal out": lambda loc, scale, lambda_od, _: _dip(
                loc, scale, lambda_od, 0.0
            ),
            "you left out what is off the diagonal": lambda loc, scale, _, lambda_d: _dip(
                loc, scale, 0.0, lambda_d
            ),
            "you subtracted it: the penalty itself is positive": lambda *case: -_dip(*case),
        },
        properties={
            "codes whose q(z) has unit variances and no correlations should pay nothing": (
                lambda f: np.allclose(
                    f(np.array([[0.6, 0.0], [-0.6, 0.0]]), np.array([[0.8, 1.0]] * 2), 3.0, 2.0),
                    0.0,
                    atol=1e-6,
                )
            )
        },
    ),
    "07.6": Value(
        _SHARE,
        mistakes={
            "you forgot that F is 1 where the names do nothing: subtract 1": _F / (_F + _SEEDS),
            "you forgot the number of seeds": (_F - 1) / _F,
            "you gave the share of the seed": 1 - _SHARE,
            "you took standard deviations; shares of variance add up to one": np.sqrt(
                (_F - 1) / _SEEDS
            )
            / (1 + np.sqrt((_F - 1) / _SEEDS)),
            "you gave the ratio of the two variances; the share divides by their sum": (
                (_F - 1) / _SEEDS
            ),
            "you gave the ratio of the standard deviations": np.sqrt((_F - 1) / _SEEDS),
            "you multiplied by the number of seeds where you should divide": (
                (_F - 1) * _SEEDS / ((_F - 1) * _SEEDS + 1)
            ),
            "you used ten objectives in place of five seeds": (_F - 1) / (_F - 1 + 10),
            "you gave the root of the share": np.sqrt(_SHARE),
        },
    ),
    "07.7": Function(
        truth=_found,
        cases=_differences,
        mistakes={
            "you gave only one of the two means an error; variances add": _found_wrong_error(
                lambda sd, seeds: sd / np.sqrt(seeds)
            ),
            "you left out the number of seeds": _found_wrong_error(lambda sd, _: np.sqrt(2) * sd),
            "you divided by the number of seeds, not by its root": _found_wrong_error(
                lambda sd, seeds: np.sqrt(2) * sd / seeds
            ),
            "you added standard deviations; variances add": _found_wrong_error(
                lambda sd, seeds: 2 * sd / np.sqrt(seeds)
            ),
            "you took `sd` for a variance": _found_wrong_error(
                lambda sd, seeds: np.sqrt(2 * sd / seeds)
            ),
            "you left out the other side: a difference may also seem to be negative": (
                _found_one_sided
            ),
            "you gave the chance that it is missed, on one side": (
                lambda *case: 1 - _found_one_sided(*case)
            ),
            "you said whether the true difference exceeds three errors; how often the measured one "
            "does was asked": lambda difference, sd, seeds: float(
                difference / np.sqrt(2 * sd**2 / seeds) > 3
            ),
            "you gave the p value of the true difference": lambda difference, sd, seeds: (
                2 * ndtr(-difference / np.sqrt(2 * sd**2 / seeds))
            ),
            "you gave the chance that it is missed": lambda *case: 1 - _found(*case),
            "you gave the false alarms, where nothing is there": lambda *case: _found(
                0.0, *case[1:]
            ),
            "you asked for two standard errors": functools.partial(_found, rule=2.0),
            "you asked for four standard errors": functools.partial(_found, rule=4.0),
            "you asked for one standard error": functools.partial(_found, rule=1.0),
            "you gave the number of standard errors; the chance was asked for": (
                lambda difference, sd, seeds: difference / np.sqrt(2 * sd**2 / seeds)
            ),
        },
        properties={
            "at a true difference of just three standard errors it should be one half": (
                lambda f: abs(f(3 * np.sqrt(2 / 8), 1.0, 8) - 0.5) < 1e-3
            )
        },
    ),
}
