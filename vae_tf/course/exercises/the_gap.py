"""Exercises of notebook 03: the gap between the ELBO and log p(x)."""

import itertools

import numpy as np

from vae_tf.course.checks import Function, Value

__all__ = ["EXERCISES"]


# -- 03.1: the price of a shift -----------------------------------------------------------------

_VARIANCES, _SHIFT = np.array([0.25, 0.04]), np.array([0.6, -0.3])
_PRICE = 0.5 * np.sum(_SHIFT**2 / _VARIANCES)
_TO_PRIOR = 0.5 * np.sum(_VARIANCES + _SHIFT**2 - 1 - np.log(_VARIANCES))


# -- 03.2: the gap on a grid --------------------------------------------------------------------


def _log_sum(log_values):
    """The logarithm of the sum over the nodes, [N, B] -> [B]."""
    top = log_values.max(axis=0)
    return top + np.log(np.exp(log_values - top).sum(axis=0))


def _gap_on_grid(log_joint, log_q, area):
    log_posterior = log_joint - _log_sum(log_joint) - np.log(area)  # integrates to one
    return (np.exp(log_q) * (log_q - log_posterior)).sum(axis=0) * area


def _elbo_on_grid(log_joint, log_q, area):
    return (np.exp(log_q) * (log_joint - log_q)).sum(axis=0) * area


def _reversed_on_grid(log_joint, log_q, area):
    log_posterior = log_joint - _log_sum(log_joint) - np.log(area)
    return (np.exp(log_posterior) * (log_posterior - log_q)).sum(axis=0) * area


def _one_evidence_for_all(log_joint, log_q, area):
    log_p = _log_sum(log_joint.reshape(-1)) + np.log(area)
    return log_p - _elbo_on_grid(log_joint, log_q, area)


def _unweighted_on_grid(log_joint, log_q, area):
    log_posterior = log_joint - _log_sum(log_joint) - np.log(area)
    return (log_q - log_posterior).sum(axis=0) * area


def _without_log_q(log_joint, log_q, area):
    log_p = _log_sum(log_joint) + np.log(area)
    return log_p - (np.exp(log_q) * log_joint).sum(axis=0) * area


def _equal_weights(log_joint, log_q, area):
    return _log_sum(log_joint) + np.log(area) - (log_joint - log_q).mean(axis=0)


def _weights_on_half(log_joint, log_q, area):
    log_p = _log_sum(log_joint) + np.log(area)
    return log_p - (np.exp(log_q) * log_joint - log_q).sum(axis=0) * area


def _weights_of_the_joint(log_joint, log_q, area):
    log_p = _log_sum(log_joint) + np.log(area)
    return log_p - (np.exp(log_joint) * (log_joint - log_q)).sum(axis=0) * area


def _largest_for_sum(log_joint, log_q, area):
    return log_joint.max(axis=0) + np.log(area) - _elbo_on_grid(log_joint, log_q, area)


def _node_count_for_area(log_joint, log_q, area):
    return _log_sum(log_joint) - np.log(len(log_joint)) - _elbo_on_grid(log_joint, log_q, area)


def _mean_for_elbo(log_joint, log_q, area):
    elbo = (np.exp(log_q) * (log_joint - log_q)).mean(axis=0)
    return _log_sum(log_joint) + np.log(area) - elbo


def _means_for_both(log_joint, log_q, _):
    elbo = (np.exp(log_q) * (log_joint - log_q)).mean(axis=0)
    return _log_sum(log_joint) - np.log(len(log_joint)) - elbo


def _weights_of_log_q(log_joint, log_q, area):
    log_posterior = log_joint - _log_sum(log_joint) - np.log(area)
    return (log_q * (log_q - log_posterior)).sum(axis=0) * area


def _weights_of_the_posterior(log_joint, log_q, area):
    return -_reversed_on_grid(log_joint, log_q, area)


def _posterior_for_its_log(log_joint, log_q, area):
    posterior = np.exp(log_joint - _log_sum(log_joint)) / area
    return (np.exp(log_q) * (log_q - posterior)).sum(axis=0) * area


def _normalised_and_area(log_joint, log_q, area):
    return _gap_on_grid(log_joint, log_q, area) / np.exp(log_q).sum(axis=0)


def _area_outside_the_log(log_joint, log_q, area):
    return _log_sum(log_joint) * area - _elbo_on_grid(log_joint, log_q, area)


def _one_elbo_for_all(log_joint, log_q, area):
    elbo = _elbo_on_grid(log_joint, log_q, area)
    return _log_sum(log_joint) + np.log(area) - elbo.sum()


def _weights_for_joint(log_joint, log_q, area):
    log_p = _log_sum(log_joint - log_q) + np.log(area)
    return log_p - _elbo_on_grid(log_joint, log_q, area)


def _without_area(log_joint, log_q, area):
    return _log_sum(log_joint) - _elbo_on_grid(log_joint, log_q, area) / area


def _elbo_without_area(log_joint, log_q, area):
    log_p = _log_sum(log_joint) + np.log(area)
    return log_p - _elbo_on_grid(log_joint, log_q, area) / area


def _underflowing_ratio(log_joint, log_q, area):
    posterior = np.exp(log_joint) / (np.exp(log_joint).sum(axis=0) * area)
    return (np.exp(log_q) * (log_q - np.log(posterior))).sum(axis=0) * area


def _underflowing_log(log_joint, log_q, area):
    log_p = np.log(np.exp(log_joint).sum(axis=0) * area)
    return log_p - _elbo_on_grid(log_joint, log_q, area)


def _log_normal(z, loc, scale):
    return -0.5 * ((z - loc) / scale) ** 2 - np.log(scale) - 0.5 * np.log(2 * np.pi)


def _grids():
    """One latent and one example; two latents and three examples, with log joints near -1000."""
    z, step = np.linspace(-7, 7, 701, retstep=True)
    z = z[:, None]  # [N, 1]
    one = _log_normal(z, 0, 1) - (2 - z**2) ** 2  # two hills
    side, pitch = np.linspace(-7, 7, 141, retstep=True)
    z_1, z_2 = (part.reshape(-1, 1) for part in np.meshgrid(side, side, indexing="ij"))
    level = np.array([-5.0, -200.0, -1000.0])
    tilted = level + _log_normal(z_1, 0.5, 0.6) + _log_normal(z_2, z_1 - 0.3 * z_1**2, 0.5)
    locs = np.array([[0.5, 0.4, -0.6], [0.2, 0.0, -0.9]])
    log_q = _log_normal(z_1, locs[0], 0.5) + _log_normal(z_2, locs[1], 0.7)
    return [(one, _log_normal(z, 1.2, 0.4), step), (tilted, log_q, pitch**2)]


# -- 03.3: the price of a tilt ------------------------------------------------------------------


def _diagonals(matrices):
    return np.diagonal(matrices, axis1=-2, axis2=-1)


def _log_det(matrices):
    return np.linalg.slogdet(matrices)[1]


def _diagonal_gap(precision):
    return 0.5 * (np.log(_diagonals(precision)).sum(axis=-1) - _log_det(precision))


def _marginal_gap(precision):
    return _diagonal_gap(np.linalg.inv(precision))


def _overflowing_gap(precision):
    log_det = np.log(np.linalg.det(precision))
    return 0.5 * (np.log(_diagonals(precision)).sum(axis=-1) - log_det)


def _overflowing_product(precision):
    product = _diagonals(precision).prod(axis=-1)
    return 0.5 * (np.log(product) - _log_det(precision))


def _overflowing_ratio_of_gap(precision):
    return 0.5 * np.log(_diagonals(precision).prod(axis=-1) / np.linalg.det(precision))


def _gap_of_marginals(precision):
    """The gap of the diagonal q that has the posterior's own variances."""
    variances = _diagonals(np.linalg.inv(precision))
    traces = (_diagonals(precision) * variances).sum(axis=-1) - precision.shape[-1]
    return 0.5 * (traces - _log_det(precision) - np.log(variances).sum(axis=-1))


def _gap_with_both_of_slogdet(precision):
    diagonal = np.log(_diagonals(precision)).sum(axis=-1)
    return 0.5 * (diagonal - np.stack(np.linalg.slogdet(precision)))


def _precisions():
    """[5, 3, 3], [1, 2, 2], and one of 200 latents whose determinant overflows."""
    rng = np.random.default_rng(33)
    cases = []
    for batch, latents, size in ((5, 3, 1.0), (1, 2, 0.2), (2, 200, 50.0)):
        factor = rng.normal(size=(batch, latents, latents))
        cases.append((size * (np.eye(latents) + factor @ factor.swapaxes(1, 2) / latents),))
    return cases


# -- 03.4: one step of EM -----------------------------------------------------------------------


def _moments(w, x, half=0.5):
    """Mean [B] and variance of the posterior of z ~ N(0, 1), x|z ~ N(w z, half)."""
    return w * x / (w**2 + half), half / (w**2 + half)


def _em_step(w, x):
    mean, variance = _moments(w, x)
    return np.sum(x * mean) / np.sum(mean**2 + variance)


def _em_without_variance(w, x):
    mean, _ = _moments(w, x)
    return np.sum(x * mean) / np.sum(mean**2)


def _em_with_scale(w, x):
    mean, variance = _moments(w, x)
    return np.sum(x * mean) / np.sum(mean**2 + np.sqrt(variance))


def _em_variance_once(w, x):
    mean, variance = _moments(w, x)
    return np.sum(x * mean) / (np.sum(mean**2) + variance)


def _em_mean_of_ratios(w, x):
    mean, variance = _moments(w, x)
    return np.mean(x * mean / (mean**2 + variance))


def _em_wrong_noise(w, x):
    mean, variance = _moments(w, x, half=0.25)
    return np.sum(x * mean) / np.sum(mean**2 + variance)


def _em_unit_noise(w, x):
    mean, variance = _moments(w, x, half=1.0)
    return np.sum(x * mean) / np.sum(mean**2 + variance)


def _em_variance_squared(w, x):
    mean, variance = _moments(w, x)
    return np.sum(x * mean) / np.sum(mean**2 + variance**2)


def _em_sums_first(w, x):
    mean, variance = _moments(w, x)
    return np.sum(x) * np.sum(mean) / np.sum(mean**2 + variance)


def _em_square_of_sum(w, x):
    mean, variance = _moments(w, x)
    return np.sum(x * mean) / (np.sum(mean) ** 2 + len(x) * variance)


def _em_mean_over_sum(w, x):
    mean, variance = _moments(w, x)
    return np.mean(x * mean) / np.sum(mean**2 + variance)


def _em_precision_for_variance(w, x):
    mean, variance = _moments(w, x, half=2.0)
    return np.sum(x * mean) / np.sum(mean**2 + variance)


def _em_half_a_mean(w, x):
    mean, variance = _moments(w, x)
    return np.sum(x * mean / 2) / np.sum((mean / 2) ** 2 + variance)


def _em_subtracted_variance(w, x):
    mean, variance = _moments(w, x)
    return np.sum(x * mean) / np.sum(mean**2 - variance)


def _em_prior_moments(w, x):
    return np.mean(x * _moments(w, x)[0])


def _em_z_from_x(w, x):
    return np.sum(x * _moments(w, x)[0]) / np.sum(x**2)


def _em_variance_alone(w, x):
    mean, variance = _moments(w, x)
    return np.sum(x * mean) / (len(x) * variance)


def _em_squares_above(w, x):
    mean, variance = _moments(w, x)
    return np.sum(x**2) / np.sum(mean**2 + variance)


def _em_old_weight_kept(w, x):
    return w * _em_step(w, x)


def _em_without_prior(w, x):
    mean, variance = x / w, 0.5 / w**2
    return np.sum(x * mean) / np.sum(mean**2 + variance)


def _evidence_never_falls(em_step):
    """log p(x) of all x before and after each of some steps."""

    def log_p(w, x):
        return np.sum(_log_normal(x, 0, np.sqrt(w**2 + 0.5)))

    cases = _weights_and_data()
    return [log_p(float(np.squeeze(em_step(w, x))), x) >= log_p(w, x) - 1e-9 for w, x in cases]


def _weights_and_data():
    rng = np.random.default_rng(34)
    return [(1.0, np.array([2.0])), (0.3, rng.normal(size=7)), (-1.7, 2 * rng.normal(size=5))]


# -- 03.5: three bugs ---------------------------------------------------------------------------

_BUGS = {
    "averaged": "the KL is still averaged over the latents, where it is a sum",
    "at the mean": "z is still set to the mean of q: its spread, weights^2 times scale^2, is lost",
    "no constant": "the Normal density still lacks its constant, D/2 log(2 pi noise^2)",
}


def _elbo_with(bugs=()):
    """The ELBO of a linear decoder with some of the bugs."""

    def elbo(x, loc, scale, weights, noise):
        squares = ((x - loc @ weights.T) ** 2).sum(axis=1)
        if "at the mean" not in bugs:
            squares = squares + (scale**2 * (weights**2).sum(axis=0)).sum(axis=1)
        log_lik = -squares / (2 * noise**2)
        if "no constant" not in bugs:
            log_lik = log_lik - 0.5 * x.shape[1] * np.log(2 * np.pi * noise**2)
        kl = 0.5 * (loc**2 + scale**2 - 1 - 2 * np.log(scale))
        return log_lik - (kl.mean(axis=1) if "averaged" in bugs else kl.sum(axis=1))

    return elbo


def _left():
    """{"you left ...": the ELBO with these bugs}, for each choice of one, two or three bugs."""
    found = {}
    for count in (1, 2, 3):
        for bugs in itertools.combinations(_BUGS, count):
            said = "; ".join(_BUGS[bug] for bug in bugs)
            number = ("one", "two", "all three")[count - 1]
            found[f"you left {number} of the bugs in: {said}"] = _elbo_with(bugs)
    return found


def _elbo_scale_not_squared(x, loc, scale, weights, noise):
    spread = (scale * (weights**2).sum(axis=0) - scale**2 * (weights**2).sum(axis=0)).sum(axis=1)
    return _elbo_with()(x, loc, scale, weights, noise) - spread / (2 * noise**2)


def _elbo_one_constant(x, loc, scale, weights, noise):
    lost = 0.5 * (x.shape[1] - 1) * np.log(2 * np.pi * noise**2)
    return _elbo_with()(x, loc, scale, weights, noise) + lost


def _elbo_noise_not_squared(x, loc, scale, weights, noise):
    lost = 0.5 * x.shape[1] * np.log(noise)
    return _elbo_with()(x, loc, scale, weights, noise) + lost


def _elbo_constant_without_half(x, loc, scale, weights, noise):
    added = 0.5 * x.shape[1] * np.log(2 * np.pi * noise**2)
    return _elbo_with()(x, loc, scale, weights, noise) - added


def _elbo_constant_with_wrong_sign(x, loc, scale, weights, noise):
    twice = x.shape[1] * np.log(2 * np.pi * noise**2)
    return _elbo_with()(x, loc, scale, weights, noise) + twice


def _elbo_constant_of_latents(x, loc, scale, weights, noise):
    lost = 0.5 * (x.shape[1] - loc.shape[1]) * np.log(2 * np.pi * noise**2)
    return _elbo_with()(x, loc, scale, weights, noise) + lost


def _kl_to_prior(loc, scale):
    return 0.5 * (loc**2 + scale**2 - 1 - 2 * np.log(scale)).sum(axis=1)


def _elbo_kl_added(x, loc, scale, weights, noise):
    return _elbo_with()(x, loc, scale, weights, noise) + 2 * _kl_to_prior(loc, scale)


def _elbo_squared_too_late(x, loc, scale, weights, noise):
    right = (scale**2 * (weights**2).sum(axis=0)).sum(axis=1)
    wrong = ((scale @ weights.T) ** 2).sum(axis=1)
    return _elbo_with()(x, loc, scale, weights, noise) - (wrong - right) / (2 * noise**2)


def _elbo_spread_of_q_only(x, loc, scale, weights, noise):
    spread = (scale**2 - scale**2 * (weights**2).sum(axis=0)).sum(axis=1)
    return _elbo_with()(x, loc, scale, weights, noise) - spread / (2 * noise**2)


def _elbo_spread_not_divided(x, loc, scale, weights, noise):
    spread = (scale**2 * (weights**2).sum(axis=0)).sum(axis=1)
    return _elbo_with()(x, loc, scale, weights, noise) + spread / (2 * noise**2) - spread


def _elbo_spread_subtracted(x, loc, scale, weights, noise):
    spread = (scale**2 * (weights**2).sum(axis=0)).sum(axis=1)
    return _elbo_with()(x, loc, scale, weights, noise) + spread / noise**2


def _elbo_weights_not_squared(x, loc, scale, weights, noise):
    lost = (scale**2 * (weights**2 - weights).sum(axis=0)).sum(axis=1)
    return _elbo_with()(x, loc, scale, weights, noise) + lost / (2 * noise**2)


def _elbo_mean_of_squares(x, loc, scale, weights, noise):
    squares = ((x - loc @ weights.T) ** 2).sum(axis=1)
    lost = squares * (1 - 1 / x.shape[1]) / (2 * noise**2)
    return _elbo_with()(x, loc, scale, weights, noise) + lost


def _elbo_mean_of_all_squares(x, loc, scale, weights, noise):
    squares = ((x - loc @ weights.T) ** 2).sum(axis=1)
    squares = squares + (scale**2 * (weights**2).sum(axis=0)).sum(axis=1)
    lost = squares * (1 - 1 / x.shape[1]) / (2 * noise**2)
    return _elbo_with()(x, loc, scale, weights, noise) + lost


def _elbo_mean_of_spread(x, loc, scale, weights, noise):
    lost = (scale**2 * (weights**2).sum(axis=0)).sum(axis=1) * (1 - 1 / x.shape[1])
    return _elbo_with()(x, loc, scale, weights, noise) + lost / (2 * noise**2)


def _elbo_spread_without_half(x, loc, scale, weights, noise):
    added = (scale**2 * (weights**2).sum(axis=0)).sum(axis=1) / (2 * noise**2)
    return _elbo_with()(x, loc, scale, weights, noise) - added


def _elbo_with_squares_over(divided):
    """The ELBO with the squares and the spread over this function of the noise."""

    def elbo(x, loc, scale, weights, noise):
        squares = ((x - loc @ weights.T) ** 2).sum(axis=1)
        squares = squares + (scale**2 * (weights**2).sum(axis=0)).sum(axis=1)
        wrong = squares / (2 * noise**2) - squares / divided(noise)
        return _elbo_with()(x, loc, scale, weights, noise) + wrong

    return elbo


def _elbo_without_kl(x, loc, scale, weights, noise):
    return _elbo_with()(x, loc, scale, weights, noise) + _kl_to_prior(loc, scale)


def _elbo_constant_without_noise(x, loc, scale, weights, noise):
    return _elbo_with()(x, loc, scale, weights, noise) + x.shape[1] * np.log(noise)


def _elbo_constant_without_two_pi(x, loc, scale, weights, noise):
    lost = 0.5 * x.shape[1] * np.log(2 * np.pi)
    return _elbo_with()(x, loc, scale, weights, noise) + lost


def _elbo_constant_of_examples(x, loc, scale, weights, noise):
    lost = 0.5 * (x.shape[1] - x.shape[0]) * np.log(2 * np.pi * noise**2)
    return _elbo_with()(x, loc, scale, weights, noise) + lost


def _elbo_kl_doubled(x, loc, scale, weights, noise):
    return _elbo_with()(x, loc, scale, weights, noise) - _kl_to_prior(loc, scale)


def _elbo_kl_of_all(x, loc, scale, weights, noise):
    kl = _kl_to_prior(loc, scale)
    return _elbo_with()(x, loc, scale, weights, noise) + kl - kl.sum()


def _encoded():
    """B = 5, D = 6, L = 3; and B = 1, D = 2, L = 4."""
    rng = np.random.default_rng(35)
    cases = []
    for batch, event, latents, noise in ((5, 6, 3, 0.7), (1, 2, 4, 1.3)):
        x, loc = rng.normal(size=(batch, event)), rng.normal(size=(batch, latents))
        scale = np.exp(rng.normal(-0.5, 0.5, size=(batch, latents)))
        cases.append((x, loc, scale, rng.normal(size=(event, latents)), noise))
    return cases


def _exact_posterior_is_tight(elbo):
    """One latent: the ELBO of the exact posterior, against log N(x; 0, w w' + noise^2 I)."""
    weights, noise, x = np.array([[1.0], [-2.0]]), 0.8, np.array([[0.3, -1.1], [2.0, 0.4]])
    m = float((weights**2).sum()) + noise**2
    loc, scale = x @ weights / m, np.full((2, 1), noise / np.sqrt(m))
    covariance = weights @ weights.T + noise**2 * np.eye(2)
    squares = np.einsum("bi,ij,bj->b", x, np.linalg.inv(covariance), x)
    log_p = -0.5 * (squares + np.linalg.slogdet(2 * np.pi * covariance)[1])
    return np.allclose(elbo(x, loc, scale, weights, noise), log_p, rtol=1e-5)


EXERCISES = {
    "03.1": Value(
        _PRICE,
        mistakes={
            "you averaged over the two latents; the KL is a sum, or you took 1/2 twice": _PRICE / 2,
            "you forgot the factor 1/2 of the KL between Normals": 2 * _PRICE,
            "you squared the variances: they are variances already, not scales": 0.5
            * np.sum((_SHIFT / _VARIANCES) ** 2),
            "you divided by scales; it should be by variances": 0.5
            * np.sum(_SHIFT**2 / np.sqrt(_VARIANCES)),
            "you multiplied by the covariance; its inverse belongs there": 0.5
            * np.sum(_SHIFT**2 * _VARIANCES),
            "you left out the covariance: a shift is measured in posterior scales": 0.5
            * np.sum(_SHIFT**2),
            "you computed a KL to the prior; the gap is the KL to the posterior": _TO_PRIOR,
            "you took the length of the shift; the KL has half its square": np.sqrt(2 * _PRICE),
            "you kept the trace without the number of latents: they cancel": _PRICE + 1,
            "you kept the trace, and without its 1/2; it cancels against the number of latents": (
                _PRICE + 2
            ),
            "you subtracted the number of latents without the trace: they cancel": _PRICE - 1,
            "you took one of the two latents; the KL is a sum over both": 0.5
            * _SHIFT[0] ** 2
            / _VARIANCES[0],
            "you took the second of the two latents; the KL is a sum over both": 0.5
            * _SHIFT[1] ** 2
            / _VARIANCES[1],
            "you did not square: each shift, in posterior scales, is squared before the sum": (
                np.sum(_SHIFT / np.sqrt(_VARIANCES))
            ),
            "you did not square: a length in posterior scales is squared, not its parts added": (
                np.sum(np.abs(_SHIFT) / np.sqrt(_VARIANCES))
            ),
            "you took half the length of the shift; the KL has half its square": 0.5
            * np.sqrt(2 * _PRICE),
            "you added the shifts before you squared; each latent has a term of its own": 0.5
            * np.sum(_SHIFT) ** 2
            / np.sum(_VARIANCES),
            "you did not square the shift: it stands on both sides of the inverse": 0.5
            * np.sum(_SHIFT / _VARIANCES),
            "you kept a log-determinant: between equal covariances two of them cancel": _PRICE
            + 0.5 * np.sum(np.log(_VARIANCES)),
        },
    ),
    "03.2": Function(
        truth=_gap_on_grid,
        cases=_grids,
        mistakes={
            "you took the KL the other way round: the average should be under q": _reversed_on_grid,
            "you returned the ELBO; the gap is log p(x) minus it": _elbo_on_grid,
            "you did not normalise: against the joint, and not the posterior, this is minus the "
            "ELBO": lambda *case: -_elbo_on_grid(*case),
            "you returned log p(x); the ELBO is still to be subtracted": (
                lambda log_joint, _, area: _log_sum(log_joint) + np.log(area)
            ),
            "you made the posterior sum to one; a density integrates to one, so it is to be "
            "divided by the area as well": (
                lambda log_joint, log_q, area: _gap_on_grid(log_joint, log_q, area) + np.log(area)
            ),
            "you forgot the area in log p(x): a sum over nodes becomes an integral by it": (
                lambda log_joint, log_q, area: _gap_on_grid(log_joint, log_q, area) - np.log(area)
            ),
            "you summed over the examples too; each has a log p(x) of its own": (
                _one_evidence_for_all
            ),
            "you summed over the nodes without the weight q: the average is under q": (
                _unweighted_on_grid
            ),
            "you forgot the area of a node in the last sum": (
                lambda log_joint, log_q, area: _gap_on_grid(log_joint, log_q, area) / area
            ),
            "you subtracted the logarithm of the area in log p(x); it is to be added": (
                lambda log_joint, log_q, area: (
                    _gap_on_grid(log_joint, log_q, area) - 2 * np.log(area)
                )
            ),
            "you left log q out of the ELBO: it averages log p(x, z) minus log q(z|x)": (
                _without_log_q
            ),
            "you forgot the area in the ELBO, which is an integral too": _elbo_without_area,
            "you left the area out twice: log p(x) and the ELBO are both integrals": _without_area,
            "you gave all nodes the same weight in the ELBO; its average is under q": (
                _equal_weights
            ),
            "you weighted the log joint by q, but not log q: brackets are missing": (
                _weights_on_half
            ),
            "you averaged under the joint in the ELBO; its average is under q": (
                _weights_of_the_joint
            ),
            "you took the largest log joint for log p(x); all nodes belong to the sum": (
                _largest_for_sum
            ),
            "you divided by the number of nodes in log p(x); an integral is a sum times the area": (
                _node_count_for_area
            ),
            "you took log q for the weight of a node; it is q: exponentiate": _weights_of_log_q,
            "you averaged under the posterior; the average is under q": _weights_of_the_posterior,
            "you subtracted the posterior from log q; its logarithm belongs there": (
                _posterior_for_its_log
            ),
            "you made q sum to one and multiplied by the area too; one of them will do": (
                _normalised_and_area
            ),
            "you multiplied log p(x) by the area; it belongs inside the logarithm": (
                _area_outside_the_log
            ),
            "you summed the ELBO over the examples too; each has its own": _one_elbo_for_all,
            "you divided by q in log p(x); on a grid nothing is drawn from q": _weights_for_joint,
            "you averaged over the nodes in the ELBO; an integral is a sum times the area": (
                _mean_for_elbo
            ),
            "you averaged over the nodes in both integrals; each is a sum times the area": (
                _means_for_both
            ),
            "you averaged over the nodes; an integral is a sum times the area": (
                lambda log_joint, log_q, area: (
                    _gap_on_grid(log_joint, log_q, area) / area / len(log_q)
                )
            ),
            "you exponentiated a log joint near -1000, which gives zero: subtract the largest "
            "first, as logsumexp does": _underflowing_ratio,
            "you took the logarithm of a sum that is zero, since exp(-1000) is: subtract the "
            "largest log joint first, as logsumexp does": _underflowing_log,
        },
    ),
    "03.3": Function(
        truth=_diagonal_gap,
        cases=_precisions,
        mistakes={
            "you used the covariance, that is the marginals of the posterior; they are best for "
            "KL(posterior || q), the other way round": _marginal_gap,
            "you forgot the factor 1/2": lambda precision: 2 * _diagonal_gap(precision),
            "you left the determinant out": (
                lambda precision: 0.5 * np.log(_diagonals(precision)).sum(axis=-1)
            ),
            "you left the determinant out, and summed the logarithms of scales": (
                lambda precision: -0.5 * np.log(_diagonals(precision)).sum(axis=-1)
            ),
            "you forgot the logarithm of the ratio": (
                lambda precision: (
                    0.5 * _diagonals(precision).prod(axis=-1) / np.linalg.det(precision)
                )
            ),
            "you took the first precision for all examples; each has a gap of its own": (
                lambda precision: np.repeat(_diagonal_gap(precision)[:1], len(precision))
            ),
            "you took the eigenvalues, whose product is the determinant: the entries of the "
            "diagonal are asked": lambda precision: np.zeros(len(precision)),
            "you took the diagonal of the covariance, and the determinant of the precision": (
                lambda precision: (
                    0.5
                    * (
                        np.log(_diagonals(np.linalg.inv(precision))).sum(axis=-1)
                        - _log_det(precision)
                    )
                )
            ),
            "you left the diagonal out": lambda precision: -0.5 * _log_det(precision),
            "you left the diagonal out, and the minus sign": (
                lambda precision: 0.5 * _log_det(precision)
            ),
            "you subtracted the wrong way round: the diagonal comes first": (
                lambda precision: -_diagonal_gap(precision)
            ),
            "you averaged over the latents; log-determinants are sums": (
                lambda precision: _diagonal_gap(precision) / precision.shape[-1]
            ),
            "you took the logarithm of a determinant that overflows: use np.linalg.slogdet": (
                _overflowing_gap
            ),
            "you took the logarithm of a product that overflows: sum the logarithms": (
                _overflowing_product
            ),
            "you summed the diagonals of all examples; each has a gap of its own": (
                lambda precision: 0.5 * (np.log(_diagonals(precision)).sum() - _log_det(precision))
            ),
            "you halved the diagonal only; the factor 1/2 belongs to both terms": (
                lambda precision: _diagonal_gap(precision) - 0.5 * _log_det(precision)
            ),
            "you halved the determinant only; the factor 1/2 belongs to both terms": (
                lambda precision: (
                    _diagonal_gap(precision) + 0.5 * np.log(_diagonals(precision)).sum(axis=-1)
                )
            ),
            "you added the log-determinant; it is to be subtracted": (
                lambda precision: _diagonal_gap(precision) + _log_det(precision)
            ),
            "you took the logarithms of a product and a determinant that overflow: sum the "
            "logarithms, and use np.linalg.slogdet": _overflowing_ratio_of_gap,
            "you gave q the posterior's own variances; the best ones are 1 / P_jj, narrower": (
                _gap_of_marginals
            ),
            "you took the logarithm of the trace; it is the sum of the logarithms": (
                lambda precision: (
                    0.5 * (np.log(_diagonals(precision).sum(axis=-1)) - _log_det(precision))
                )
            ),
            "you averaged the logarithms of the diagonal; they are to be summed": (
                lambda precision: (
                    0.5 * (np.log(_diagonals(precision)).mean(axis=-1) - _log_det(precision))
                )
            ),
            "you subtracted the determinant; its logarithm belongs there": (
                lambda precision: (
                    0.5 * (np.log(_diagonals(precision)).sum(axis=-1) - np.linalg.det(precision))
                )
            ),
            "you took the first result of slogdet, a sign; the second is the logarithm": (
                lambda precision: (
                    0.5
                    * (np.log(_diagonals(precision)).sum(axis=-1) - np.linalg.slogdet(precision)[0])
                )
            ),
            "you subtracted both results of slogdet; the second one is the logarithm": (
                _gap_with_both_of_slogdet
            ),
            "you read |P| as absolute values; it is the determinant": (
                lambda precision: (
                    0.5
                    * (
                        np.log(_diagonals(precision)).sum(axis=-1)
                        - np.log(np.abs(precision)).sum(axis=(-2, -1))
                    )
                )
            ),
            "you summed the logarithms of all entries; only the diagonal ones belong there": (
                lambda precision: (
                    0.5 * (np.log(np.abs(precision)).sum(axis=(-2, -1)) - _log_det(precision))
                )
            ),
            "you took the trace of all precisions; a logarithm belongs on each entry": (
                lambda precision: 0.5 * (_diagonals(precision).sum(axis=-1) - _log_det(precision))
            ),
        },
        properties={
            "a diagonal precision has no tilt, so its gap should be zero": (
                lambda gap: np.allclose(gap(np.array([np.diag([2.0, 5.0, 0.1])])), 0, atol=1e-6)
            )
        },
    ),
    "03.4": Function(
        truth=_em_step,
        cases=_weights_and_data,
        mistakes={
            "you took E[z]^2 for E[z^2]: the posterior's variance is missing": _em_without_variance,
            "you added the posterior's scale; E[z^2] has its variance": _em_with_scale,
            "you added the variance once; each observation has its own": _em_variance_once,
            "you averaged ratios; the best w is a ratio of two sums": _em_mean_of_ratios,
            "you took 1/2 for a standard deviation; it is the variance of x given z": (
                _em_wrong_noise
            ),
            "you took 1 for the variance of x given z; it is 1/2": _em_unit_noise,
            "you squared the posterior's variance; E[z^2] has it as it is": _em_variance_squared,
            "you left the prior out of the posterior: z is not x / w": _em_without_prior,
            "you summed x and E[z] apart; each x_i belongs to its own z_i": _em_sums_first,
            "you squared the sum of the means; each E[z_i] is squared by itself": _em_square_of_sum,
            "you averaged above and summed below; both should be sums": _em_mean_over_sum,
            "you took 1/2 for the precision of x given z; it is the variance": (
                _em_precision_for_variance
            ),
            "you lost the 2 in the posterior's mean, 2wx / (2w^2 + 1)": _em_half_a_mean,
            "you subtracted the variance; E[z^2] is the mean squared plus it": (
                _em_subtracted_variance
            ),
            "you left out E[z^2], or took the prior's, which is 1; it is the mean squared plus the "
            "variance": _em_prior_moments,
            "you fitted z from x: below belongs the sum of E[z^2], not that of x^2": _em_z_from_x,
            "you multiplied by the old w: it stands in the posterior only": _em_old_weight_kept,
            "you returned the old w": lambda w, _: w,
            "you returned the change of w; the new w is asked": (lambda w, x: _em_step(w, x) - w),
            "you took the variance for E[z^2]: the mean squared is missing": _em_variance_alone,
            "you summed x^2 above; it is x times E[z]": _em_squares_above,
            "you replaced the observations by their mean; each has a posterior of its own": (
                lambda w, x: _em_step(w, np.mean(x, keepdims=True))
            ),
            "you turned the fraction upside down: E[z^2] belongs below": (
                lambda w, x: 1 / _em_step(w, x)
            ),
            "you returned the maximum of the evidence at once; a step of EM goes there slowly": (
                lambda _, x: np.sqrt(max(np.mean(x**2) - 0.5, 0.0))
            ),
        },
        properties={
            "you made log p(x) fall: with q the posterior, a step of EM should never lower it": (
                _evidence_never_falls
            )
        },
    ),
    "03.5": Function(
        truth=_elbo_with(),
        cases=_encoded,
        mistakes={
            **_left(),
            "you forgot to square the scale where you added the spread of z": (
                _elbo_scale_not_squared
            ),
            "you added the constant once; each of the D numbers of x has it": _elbo_one_constant,
            "you counted the latents in the constant; it is that of the D numbers of x": (
                _elbo_constant_of_latents
            ),
            "you added the KL; it is to be subtracted": _elbo_kl_added,
            "you summed weights times scale before you squared; square each, then sum": (
                _elbo_squared_too_late
            ),
            "you forgot to square the noise in the constant": _elbo_noise_not_squared,
            "you forgot the factor 1/2 of the constant": _elbo_constant_without_half,
            "you added the constant; it is to be subtracted": _elbo_constant_with_wrong_sign,
            "you added the spread of z, but the decoder stretches it: weights^2 times scale^2": (
                _elbo_spread_of_q_only
            ),
            "you forgot to divide the spread of z by 2 noise^2: it is a part of the squares": (
                _elbo_spread_not_divided
            ),
            "you subtracted the spread of z from the squares; it is added to them": (
                _elbo_spread_subtracted
            ),
            "you squared the scale but not the weights where you added the spread of z": (
                _elbo_weights_not_squared
            ),
            "you averaged the squares over the D numbers of x; they are to be summed": (
                _elbo_mean_of_squares
            ),
            "you averaged the squares and the spread over the D numbers of x; both are sums": (
                _elbo_mean_of_all_squares
            ),
            "you averaged the spread of z over the D numbers of x; it is a sum": (
                _elbo_mean_of_spread
            ),
            "you forgot the factor 1/2 of the spread of z: it is a part of the squares": (
                _elbo_spread_without_half
            ),
            "you divided the squares by noise^2; it should be 2 noise^2": (
                _elbo_with_squares_over(lambda noise: noise**2)
            ),
            "you divided the squares by 2 noise; the noise is a scale, to be squared": (
                _elbo_with_squares_over(lambda noise: 2 * noise)
            ),
            "you left the KL out": _elbo_without_kl,
            "you left the noise out of the constant": _elbo_constant_without_noise,
            "you left 2 pi out of the constant": _elbo_constant_without_two_pi,
            "you counted the examples in the constant; it is that of the D numbers of x": (
                _elbo_constant_of_examples
            ),
            "you forgot the factor 1/2 of the KL": _elbo_kl_doubled,
            "you summed the KL over the examples too; each has its own": _elbo_kl_of_all,
        },
        properties={
            "you should get log p(x) if q is the exact posterior": _exact_posterior_is_tight
        },
    ),
}
