"""Exercises of notebook 08: what may stand in for log p(x)."""

import numpy as np
from scipy.special import logsumexp
from scipy.stats import norm

from vae_tf.course.checks import Function, Value
from vae_tf.evidence.weights import LogMean, WeightSums, largest_pareto_k

__all__ = ["EXERCISES"]


# -- 08.1: how many samples ---------------------------------------------------------------------

_SHIFT, _VARIANCE, _LOSS = 1.0, 1.2, 0.001


def _chi_square(shift, variance, inner=2.0):
    """Of the posterior N(0, 1) from q = N(shift, variance)."""
    a = inner - 1 / variance
    exponent = shift**2 / (2 * variance) * (1 + 1 / (variance * a))
    return np.sqrt(variance / a) * np.exp(exponent) - 1


_CHI_SQUARE = _chi_square(_SHIFT, _VARIANCE)


# -- 08.2: the estimate and its error -----------------------------------------------------------


def _log_mean_and_error(log_w):
    top = log_w.max(axis=0)
    w = np.exp(log_w - top)
    error = w.std(axis=0, ddof=1) / w.mean(axis=0) / np.sqrt(len(w))
    return top + np.log(w.mean(axis=0)), error


def _with_error(error):
    """The same estimate, with another error from log weights [S, B]."""
    return lambda log_w: (_log_mean_and_error(log_w)[0], error(log_w))


def _relative(log_w):
    w = np.exp(log_w - log_w.max(axis=0))
    return w / w.mean(axis=0)


def _with_estimate(estimate):
    return lambda log_w: (estimate(log_w), _log_mean_and_error(log_w)[1])


def _cases_of_log_weights():
    rng = np.random.default_rng(82)
    cases = []
    for samples, batch, level in ((7, 4, -3.0), (30, 5, -1000.0), (5, 3, 900.0)):
        cases.append((level + rng.normal(size=(samples, batch)) * [[1.5]],))
    return cases


def _same_for_all(function):
    """Equal weights: that weight, and no error."""
    estimate, error = function(np.full((6, 2), -800.0))
    return np.allclose(estimate, -800) and np.allclose(error, 0)


# -- 08.3: a bound from above -------------------------------------------------------------------


def _tangent(log_w):
    half = len(log_w) // 2
    log_c = logsumexp(log_w[:half], axis=0) - np.log(half)
    ratio = np.exp(log_w[half:] - log_c).mean(axis=0)
    return ratio - 1 + log_c


def _tangent_same(log_w):
    """With c from all weights, and all weights again: the log mean."""
    return logsumexp(log_w, axis=0) - np.log(len(log_w))


def _tangent_of(log_c, ratio=lambda log_r: np.exp(log_r).mean(axis=0)):
    """A tangent bound with another log c, or another mean of w / c."""

    def bound(log_w):
        half = len(log_w) // 2
        c = log_c(log_w[:half])
        return ratio(log_w[half:] - c) - 1 + c

    return bound


def _log_mean(log_w):
    return logsumexp(log_w, axis=0) - np.log(len(log_w))


def _tangent_turned(log_w):
    return _tangent(np.concatenate([log_w[len(log_w) // 2 :], log_w[: len(log_w) // 2]]))


def _cases_of_halves():
    rng = np.random.default_rng(83)
    cases = []
    for samples, batch, level in ((8, 3, -2.0), (20, 4, -1000.0), (6, 2, 750.0)):
        cases.append((level + 0.8 * rng.normal(size=(samples, batch)),))
    return cases


# -- 08.4: annealing ----------------------------------------------------------------------------


def _anneal(z, betas, log_w, move):
    total = np.zeros(len(z))
    for before, after in zip(betas[:-1], betas[1:], strict=True):
        total = total + (after - before) * log_w(z)
        z = move(z, after)
    return total


def _anneal_after_the_move(z, betas, log_w, move):
    total = np.zeros(len(z))
    for before, after in zip(betas[:-1], betas[1:], strict=True):
        z = move(z, after)
        total = total + (after - before) * log_w(z)
    return total


def _anneal_old_beta(z, betas, log_w, move):
    total = np.zeros(len(z))
    for before, after in zip(betas[:-1], betas[1:], strict=True):
        total = total + (after - before) * log_w(z)
        z = move(z, before)
    return total


def _anneal_equal_steps(z, betas, log_w, move):
    return _anneal_by(lambda _before, _after, n: 1 / n)(z, betas, log_w, move)


def _anneal_by(factor):
    """With another factor of the log weight at each step."""

    def anneal(z, betas, log_w, move):
        total = np.zeros(len(z))
        for before, after in zip(betas[:-1], betas[1:], strict=True):
            total = total + factor(before, after, len(betas) - 1) * log_w(z)
            z = move(z, after)
        return total

    return anneal


def _anneal_without_moves(z, betas, log_w, move):
    del betas, move
    return log_w(z)


def _anneal_from_the_start(z, betas, log_w, move):
    total = np.zeros(len(z))
    for before, after in zip(betas[:-1], betas[1:], strict=True):
        total = total + (after - before) * log_w(move(z, after))
    return total


def _anneal_weights_added(z, betas, log_w, move):
    total = np.zeros(len(z))
    for before, after in zip(betas[:-1], betas[1:], strict=True):
        total = total + np.exp((after - before) * log_w(z))
        z = move(z, after)
    return np.log(total)


def _anneal_first_missing(z, betas, log_w, move):
    return _anneal(move(z, betas[1]), betas[1:], log_w, move) if len(betas) > 2 else 0 * z


def _anneal_last_only(z, betas, log_w, move):
    for before, after in zip(betas[:-1], betas[1:], strict=True):
        last = (after - before) * log_w(z)
        z = move(z, after)
    return last


def _anneal_averaged(z, betas, log_w, move):
    return _anneal(z, betas, log_w, move) / (len(betas) - 1)


def _cases_of_annealing():
    rng, cases = np.random.default_rng(84), []
    for chains, betas in (
        (5, [0.0, 0.1, 0.4, 1.0]),
        (3, [0.0, 1.0]),
        (4, [0.0, 0.05, 0.15, 0.3, 0.5, 0.75, 1.0]),
    ):
        # A log weight that is no multiple of another, and a move that depends on beta.
        cases.append((rng.normal(size=chains), np.array(betas), _log_w, _move))
    return cases


def _log_w(z):
    return 2 - 0.5 * z**2 - 3 * z


def _move(z, beta):
    return 0.7 * z - 2 * beta + 0.3 * np.sin(5 * z)


def _anneals_to_one(anneal):
    """Exact draws from Normals: the mean weight is p(x) = 1, to 4.5 standard errors."""
    rng, loc, scale = np.random.default_rng(0), 1.0, 0.7
    precision = 1 / scale**2

    def move(z, beta):
        total = (1 - beta) * precision + beta
        return rng.normal((1 - beta) * loc * precision / total, total**-0.5, len(z))

    def log_w(z):
        return norm.logpdf(z) - norm.logpdf(z, loc, scale)

    found = anneal(rng.normal(loc, scale, 20_000), np.linspace(0, 1, 21) ** 1.5, log_w, move)
    w = np.exp(found)
    return abs(w.mean() - 1) < 4.5 * w.std() / np.sqrt(len(w))


# -- 08.5: a q that fools k-hat -----------------------------------------------------------------

_HILLS = [  # shares, means and scales: far apart, the smaller one first, last and in the middle
    (np.array([0.1, 0.9]), np.array([-6.0, 5.0]), np.array([0.5, 1.0])),
    (np.array([0.7, 0.3]), np.array([-8.0, 4.0]), np.array([1.5, 0.4])),
    (np.array([0.5, 0.05, 0.45]), np.array([-40.0, 0.0, 40.0]), np.array([2.0, 1.0, 3.0])),
]


def _normal_q(found):
    loc, scale = (float(np.asarray(part).reshape(())) for part in found)
    return loc, scale


def _judged(found, hills, samples=4000):
    """The estimate of log p(x) = 0 with the q that was handed over, its error and k-hat."""
    (loc, scale), (shares, locs, scales) = _normal_q(found), hills
    z = loc + scale * np.random.default_rng(85).normal(size=samples)
    joint = np.log(shares) + norm.logpdf(z[:, None], locs, scales)
    sums = WeightSums(1, samples)
    sums.add(np.arange(1), (logsumexp(joint, axis=1) - norm.logpdf(z, loc, scale))[:, None])
    return LogMean(*(part[0] for part in sums.log_mean()))


def _hidden_hills():
    return [tuple(part.copy() for part in hills) for hills in _HILLS]


def _every(holds):
    """Whether it holds for the q of all hidden posteriors."""
    return lambda q_of: all(holds(_judged(q_of(*hills), hills)) for hills in _hidden_hills())


def _is_a_pair(q_of):
    found = [q_of(*hills) for hills in _hidden_hills()]
    try:
        return all(np.isfinite(_normal_q(one)).all() and _normal_q(one)[1] > 0 for one in found)
    except (TypeError, ValueError):
        return False


# -- 08.6: the harmonic mean --------------------------------------------------------------------


def _harmonic(log_lik):
    return np.log(len(log_lik)) - logsumexp(-log_lik, axis=0)


def _cases_of_likelihoods():
    rng = np.random.default_rng(86)
    return [
        (level + rng.normal(size=shape),)
        for level, shape in ((-4.0, (7, 3)), (-1000.0, (12, 2)), (800.0, (3, 5)))
    ]


EXERCISES = {
    "08.1": Value(
        _CHI_SQUARE / (2 * _LOSS),
        mistakes={
            "you forgot the factor 2 of the law": _CHI_SQUARE / _LOSS,
            "you took 1 + chi-square for chi-square": (1 + _CHI_SQUARE) / (2 * _LOSS),
            "you passed the root of the variance; tau^2 is the variance": (
                _chi_square(_SHIFT, _VARIANCE**0.5) / (2 * _LOSS)
            ),
            "you squared the variance; tau^2 is the variance": (
                _chi_square(_SHIFT, _VARIANCE**2) / (2 * _LOSS)
            ),
            "you took a = 1 - 1/tau^2; it is 2 - 1/tau^2": (
                _chi_square(_SHIFT, _VARIANCE, inner=1.0) / (2 * _LOSS)
            ),
            "you left the shift out": _chi_square(0.0, _VARIANCE) / (2 * _LOSS),
            "you divided by the loss squared: that is the law of a standard error": (
                _CHI_SQUARE / (2 * _LOSS**2)
            ),
            "you multiplied by 2; the law divides by it": 2 * _CHI_SQUARE / _LOSS,
            "you returned chi-square; the number of samples is asked": _CHI_SQUARE,
            "you returned 1 + chi-square; the number of samples is asked": 1 + _CHI_SQUARE,
        },
        atol=1.0,  # rounded up or not
    ),
    "08.2": Function(
        truth=_log_mean_and_error,
        cases=_cases_of_log_weights,
        mistakes={
            "you averaged the logarithms: that is the ELBO": _with_estimate(
                lambda log_w: log_w.mean(axis=0)
            ),
            "you took the spread of the log weights; it is that of the weights over their mean": (
                _with_error(lambda log_w: log_w.std(axis=0, ddof=1) / np.sqrt(len(log_w)))
            ),
            "you forgot to divide by the root of the number of samples": _with_error(
                lambda log_w: _relative(log_w).std(axis=0, ddof=1)
            ),
            "you divided by the number of samples; it is its root": _with_error(
                lambda log_w: _relative(log_w).std(axis=0, ddof=1) / len(log_w)
            ),
            "you forgot to divide the spread by the mean weight": (
                _with_error(
                    lambda log_w: (
                        np.exp(log_w - log_w.max(axis=0)).std(axis=0, ddof=1) / np.sqrt(len(log_w))
                    )
                )
            ),
            "you divided by S; a standard deviation of S samples has S - 1 (ddof=1)": _with_error(
                lambda log_w: _relative(log_w).std(axis=0) / np.sqrt(len(log_w))
            ),
            "you returned the variance of the estimate; its root is asked": _with_error(
                lambda log_w: _relative(log_w).var(axis=0, ddof=1) / len(log_w)
            ),
            "you exchanged the two: the estimate comes first, then its error": (
                lambda log_w: _log_mean_and_error(log_w)[::-1]
            ),
            "you returned the mean weight; its logarithm is asked": _with_estimate(
                lambda log_w: np.exp(_log_mean_and_error(log_w)[0])
            ),
            "you left out the number of samples: a sum where a mean belongs": _with_estimate(
                lambda log_w: logsumexp(log_w, axis=0)
            ),
            "you forgot to add the largest log weight again": _with_estimate(
                lambda log_w: _log_mean_and_error(log_w)[0] - log_w.max(axis=0)
            ),
            "you exponentiated as it is: log weights near -1000 or 900 need the largest one "
            "subtracted first": lambda log_w: (
                np.log(np.exp(log_w).mean(axis=0)),
                np.exp(log_w).std(axis=0, ddof=1)
                / np.exp(log_w).mean(axis=0)
                / np.sqrt(len(log_w)),
            ),
        },
        properties={"equal weights should give that weight, and no error": _same_for_all},
    ),
    "08.3": Function(
        truth=_tangent,
        cases=_cases_of_halves,
        mistakes={
            "you used the same weights for c and for the mean: that is the log of the mean, a "
            "lower bound": _tangent_same,
            "you used the first half for c and for the mean: that is a lower bound": (
                lambda log_w: _log_mean(log_w[: len(log_w) // 2])
            ),
            "you averaged all weights; the mean belongs to the second half alone": lambda log_w: (
                np.exp(log_w - _log_mean(log_w[: len(log_w) // 2])).mean(axis=0)
                - 1
                + _log_mean(log_w[: len(log_w) // 2])
            ),
            "you exchanged the halves: the first chooses c": _tangent_turned,
            "you forgot the minus one": lambda log_w: _tangent(log_w) + 1,
            "you took the mean of log weights for log c: a tangent there is a bound, but a "
            "loose one": _tangent_of(lambda first: first.mean(axis=0)),
            "you took the sum of the weights for c; it is their mean": _tangent_of(
                lambda first: logsumexp(first, axis=0)
            ),
            "you took the largest weight for c": _tangent_of(lambda first: first.max(axis=0)),
            "you subtracted log c; it is added": lambda log_w: (
                _tangent(log_w) - 2 * _log_mean(log_w[: len(log_w) // 2])
            ),
            "you left log c out": lambda log_w: (
                _tangent(log_w) - _log_mean(log_w[: len(log_w) // 2])
            ),
            "you took the logarithm of the mean of w / c; the tangent has none": _tangent_of(
                _log_mean, lambda log_r: _log_mean(log_r)
            ),
            "you summed w / c; it is averaged": _tangent_of(
                _log_mean, lambda log_r: np.exp(log_r).sum(axis=0)
            ),
            "you averaged log w - log c; the weights are averaged": _tangent_of(
                _log_mean, lambda log_r: log_r.mean(axis=0)
            ),
            "you exponentiated as it is: log weights near -1000 or 750 need log c subtracted "
            "first": lambda log_w: (
                np.exp(log_w[len(log_w) // 2 :]).mean(axis=0)
                / np.exp(log_w[: len(log_w) // 2]).mean(axis=0)
                - 1
                + np.log(np.exp(log_w[: len(log_w) // 2]).mean(axis=0))
            ),
        },
        properties={
            "equal weights should give that weight": (
                lambda bound: np.allclose(bound(np.full((6, 2), -800.0)), -800)
            )
        },
    ),
    "08.4": Function(
        truth=_anneal,
        cases=_cases_of_annealing,
        mistakes={
            "you moved first and collected then: collect where the chain is, and move on": (
                _anneal_after_the_move
            ),
            "you moved with the beta before; the move belongs to the one just reached": (
                _anneal_old_beta
            ),
            "you took equal steps 1/T; betas may lie unevenly": _anneal_equal_steps,
            "you collected all of the log weight at each step; its share is the step in beta": (
                _anneal_by(lambda *_: 1.0)
            ),
            "you weighted with beta; it is the step from one beta to the next": (
                _anneal_by(lambda _before, after, _n: after)
            ),
            "you weighted with the beta before; it is the step from one beta to the next": (
                _anneal_by(lambda before, _after, _n: before)
            ),
            "you never moved: that is importance sampling": _anneal_without_moves,
            "you added up the factors; a weight is their product, so its logarithm is a sum of "
            "logarithms": _anneal_weights_added,
            "you moved from the first z each time: keep the new z for the next step": (
                _anneal_from_the_start
            ),
            "you left the first step out": _anneal_first_missing,
            "you returned the last step only: add them up": _anneal_last_only,
            "you divided by the number of steps: the steps in beta add up to one already": (
                _anneal_averaged
            ),
            "you subtracted: beta rises, so each step counts with a plus": (
                lambda *arguments: -_anneal(*arguments)
            ),
            "you returned the weights; their logarithms are asked": (
                lambda *arguments: np.exp(_anneal(*arguments))
            ),
            "you returned one number: the mean over the chains comes later": (
                lambda *arguments: _log_mean(_anneal(*arguments))
            ),
        },
        properties={
            "with exact draws the mean weight should be p(x) within its error": _anneals_to_one
        },
    ),
    "08.5": Function(
        truth=None,
        properties={
            "it should return two numbers, a mean and a scale above zero": _is_a_pair,
            "your q is right: its estimate has to be off by a nat or more. Which hill should it "
            "never visit?": _every(lambda found: found.estimate < -0.05),
            "it is off, but not by a nat in each hidden case: miss the larger share": _every(
                lambda found: found.estimate < -1
            ),
            "k-hat refuses your q: the weights of the hill that it does visit are too uneven": (
                _every(lambda found: found.pareto_k <= largest_pareto_k(4000))
            ),
            "its standard error is above 0.05 nats: nobody would trust it": _every(
                lambda found: found.standard_error < 0.05
            ),
        },
    ),
    "08.6": Function(
        truth=_harmonic,
        cases=_cases_of_likelihoods,
        mistakes={
            "you forgot to turn the sign back": lambda log_lik: -_harmonic(log_lik),
            "you averaged the likelihoods, and not their inverses": _log_mean,
            "you averaged the logarithms: that is the reconstruction": (
                lambda log_lik: log_lik.mean(axis=0)
            ),
            "you summed where a mean belongs": lambda log_lik: -logsumexp(-log_lik, axis=0),
            "you subtracted log S twice, or with the wrong sign": (
                lambda log_lik: -logsumexp(-log_lik, axis=0) - np.log(len(log_lik))
            ),
            "you took the smallest likelihood": lambda log_lik: log_lik.min(axis=0),
            "you returned p(x); its logarithm is asked": lambda log_lik: np.exp(_harmonic(log_lik)),
            "you inverted the logarithms; the likelihoods are inverted": lambda log_lik: (
                1 / (1 / log_lik).mean(axis=0)
            ),
            "you exponentiated as it is: log likelihoods near -1000 or 800 overflow": (
                lambda log_lik: -np.log(np.exp(-log_lik).mean(axis=0))
            ),
        },
        properties={
            "equal likelihoods should give that likelihood": (
                lambda f: np.allclose(f(np.full((5, 2), -700.0)), -700)
            )
        },
    ),
}
