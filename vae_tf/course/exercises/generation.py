"""Exercises of notebook 04a: what generation needs from the codes of all data together."""

import math

import numpy as np

from vae_tf.course.checks import Function, Value

__all__ = ["EXERCISES"]


# -- 04a.1: which codes have this KL? -------------------------------------------------------------

_KL, _LATENTS, _IMAGES = 25.0, 10, 60_000


def _scale_of_centred(kl):
    """The s of KL(N(0, s^2) || N(0, 1)) = kl: of the code in the centre, and not the mean."""
    low, high = 1e-9, 1.0
    for _ in range(200):
        s = math.sqrt(low * high)
        low, high = (s, high) if (s**2 - 1) / 2 - math.log(s) > kl else (low, s)
    return s


# -- 04a.2: surgery -------------------------------------------------------------------------------


def _log_sum(log_values, axis):
    """The logarithm of a sum, whatever the size of its terms."""
    top = log_values.max(axis=axis, keepdims=True)
    return np.squeeze(top, axis) + np.log(np.exp(log_values - top).sum(axis=axis))


def _kls(loc, scale):
    return 0.5 * (loc**2 + scale**2 - 1) - np.log(scale)  # [N, L]


def _pairs(loc, scale, z):
    """log q(z_n|x_m) of each latent, [N, N, L]."""
    standard = (z[:, None] - loc) / scale
    return -0.5 * (standard**2 + np.log(2 * np.pi)) - np.log(scale)


def _information(log_pairs):
    """[N, N] -> the mean of log q(z_n|x_n) - log q(z_n)."""
    return np.mean(np.diag(log_pairs) - _log_sum(log_pairs, 1) + np.log(len(log_pairs)))


def _surgery(loc, scale, z, kl=None, information=None):
    kl = _kls(loc, scale).sum(axis=1).mean() if kl is None else kl
    if information is None:
        information = _information(_pairs(loc, scale, z).sum(axis=-1))
    return kl, information, kl - information


def _swapped(loc, scale, z):
    kl, information, distance = _surgery(loc, scale, z)
    return kl, distance, information


def _without_log_n(loc, scale, z):
    log_pairs = _pairs(loc, scale, z).sum(axis=-1)
    ratio = np.diag(log_pairs) - _log_sum(log_pairs, 1)
    return _surgery(loc, scale, z, information=ratio.mean())


def _others_only(loc, scale, z):
    log_pairs = _pairs(loc, scale, z).sum(axis=-1)
    others = np.where(np.eye(len(loc), dtype=bool), -np.inf, log_pairs)
    ratio = np.diag(log_pairs) - _log_sum(others, 1) + np.log(len(loc) - 1)
    return _surgery(loc, scale, z, information=ratio.mean())


def _latent_by_latent(loc, scale, z):
    log_pairs = _pairs(loc, scale, z)
    each = [_information(log_pairs[..., latent]) for latent in range(loc.shape[1])]
    return _surgery(loc, scale, z, information=sum(each))


def _one_normal(loc, scale, z):
    """The mixture replaced by the Normal of its moments."""
    mean, std = loc.mean(axis=0), np.sqrt(loc.var(axis=0) + (scale**2).mean(axis=0))
    log_q = -0.5 * (((z - mean) / std) ** 2 + np.log(2 * np.pi)) - np.log(std)
    own = np.einsum("nnl->nl", _pairs(loc, scale, z))
    return _surgery(loc, scale, z, information=(own - log_q).sum(axis=1).mean())


def _sampled_kl(loc, scale, z):
    own = np.einsum("nnl->nl", _pairs(loc, scale, z)).sum(axis=1)
    log_p = -0.5 * (z**2 + np.log(2 * np.pi)).sum(axis=1)
    return _surgery(loc, scale, z, kl=(own - log_p).mean())


def _mean_of_logs(loc, scale, z):
    log_pairs = _pairs(loc, scale, z).sum(axis=-1)
    return _surgery(loc, scale, z, information=(np.diag(log_pairs) - log_pairs.mean(1)).mean())


def _wrong_axis(loc, scale, z):
    return _surgery(loc, scale, z, information=_information(_pairs(loc, scale, z).sum(axis=-1).T))


def _underflowing(loc, scale, z):
    pairs = np.exp(_pairs(loc, scale, z).sum(axis=-1))
    ratio = np.log(np.diag(pairs)) - np.log(pairs.mean(axis=1))
    return _surgery(loc, scale, z, information=ratio.mean())


def _log_n_subtracted(loc, scale, z):
    information = _information(_pairs(loc, scale, z).sum(axis=-1)) - 2 * np.log(len(loc))
    return _surgery(loc, scale, z, information=information)


def _own_q_only(loc, scale, z):
    own = np.einsum("nnl->nl", _pairs(loc, scale, z)).sum(axis=1)
    ratio = own - _log_sum(own, 0) + np.log(len(loc))
    return _surgery(loc, scale, z, information=ratio.mean())


def _latents_averaged(loc, scale, z):
    return _surgery(loc, scale, z, information=_information(_pairs(loc, scale, z).mean(axis=-1)))


def _codes():
    """Wide codes; spikes; codes far from the prior; densities that underflow in 800 latents."""
    rng = np.random.default_rng(42)
    cases = []
    shapes = (7, 3, 0.6, 0.0), (40, 1, 1e-6, 0.0), (25, 2, 0.05, 30.0), (5, 800, 0.9, 0.0)
    for count, latents, width, far in shapes:
        loc = far + rng.normal(size=(count, latents))
        scale = width * np.exp(0.3 * rng.normal(size=(count, latents)))
        cases.append((loc, scale, loc + scale * rng.normal(size=(count, latents))))
    return cases


# -- 04a.3: spikes that break a claim -------------------------------------------------------------


def _spikes(kl, u):
    return _spikes_of(math.exp(-kl), u)


def _spikes_of(s, u):
    return math.sqrt(1 - s**2) * u, np.full(u.shape, s)


def _with_means(factor):
    """The right scales, but means `factor(s)` times the draws."""
    return lambda kl, u: (factor(math.exp(-kl)) * u, np.full(u.shape, math.exp(-kl)))


def _kls_and_draws():
    rng = np.random.default_rng(3)
    return [(kl, rng.normal(size=count)) for kl, count in ((0.4, 7), (2.0, 5), (13.8, 4))]


def _is_the_prior(f):
    """Whether the variances of means and of codes add up to one; here u has the moments of N."""
    u = np.array([-1.0, 1.0])
    return all(np.allclose(f(kl, u)[0] ** 2 + f(kl, u)[1] ** 2, 1) for kl in (0.1, 1.0, 9.0))


# -- 04a.4: one Normal for all codes --------------------------------------------------------------


def _moments(loc, scale):
    mean = loc.mean(axis=0)
    return mean, (loc - mean).T @ (loc - mean) / len(loc) + np.diag((scale**2).mean(axis=0))


def _sum_of(spread, width):
    """A covariance that is put together wrongly: of the means, and of the widths."""
    return lambda loc, scale: (loc.mean(axis=0), spread(loc) + width(scale))


def _then(change):
    """The right covariance, changed afterwards."""
    return lambda loc, scale: (loc.mean(axis=0), change(_moments(loc, scale)[1]))


def _widths(scale):
    return np.diag((scale**2).mean(axis=0))


def _cov(loc, ddof=0):
    return np.cov(loc, rowvar=False, ddof=ddof).reshape(loc.shape[1], loc.shape[1])


def _unequal_codes():
    rng = np.random.default_rng(7)
    cases = []
    for count, latents, far in ((6, 2, 0.0), (9, 3, 20.0), (4, 1, -5.0)):
        mixing = rng.normal(size=(latents, latents))
        loc = far + rng.normal(size=(count, latents)) @ mixing
        cases.append((loc, np.exp(0.5 * rng.normal(size=(count, latents)))))
    return cases


# -- 04a.5: log p(x) under another prior ----------------------------------------------------------


def _log_normal(nodes, mean, covariance):
    apart = nodes - mean
    squares = (apart @ np.linalg.inv(covariance) * apart).sum(axis=1)
    log_det = np.linalg.slogdet(2 * np.pi * covariance)[1]
    return -0.5 * (squares + log_det)


def _log_p(log_lik, nodes, area, mean, covariance):
    log_prior = _log_normal(nodes, mean, covariance)
    return _log_sum(log_lik + log_prior[:, None], 0) + np.log(area)


def _old_prior(log_lik, nodes, area, mean, covariance):
    del covariance
    return _log_p(log_lik, nodes, area, np.zeros_like(mean), np.eye(len(mean)))


def _precision_for_covariance(log_lik, nodes, area, mean, covariance):
    return _log_p(log_lik, nodes, area, mean, np.linalg.inv(covariance))


def _tilt_ignored(log_lik, nodes, area, mean, covariance):
    return _log_p(log_lik, nodes, area, mean, np.diag(np.diag(covariance)))


def _variance_for_scale(log_lik, nodes, area, mean, covariance):
    return _log_p(log_lik, nodes, area, mean, covariance @ covariance)


def _mean_left_out(log_lik, nodes, area, mean, covariance):
    return _log_p(log_lik, nodes, area, np.zeros_like(mean), covariance)


def _area_left_out(log_lik, nodes, area, mean, covariance):
    return _log_p(log_lik, nodes, area, mean, covariance) - np.log(area)


def _area_divided(log_lik, nodes, area, mean, covariance):
    return _log_p(log_lik, nodes, area, mean, covariance) - 2 * np.log(area)


def _mean_over_nodes(log_lik, nodes, area, mean, covariance):
    return _area_left_out(log_lik, nodes, area, mean, covariance) - np.log(len(nodes))


def _times_area(log_lik, nodes, area, mean, covariance):
    return _area_left_out(log_lik, nodes, area, mean, covariance) * area


def _diagonal_for_scale(log_lik, nodes, area, mean, covariance):
    return _log_p(log_lik, nodes, area, mean, np.diag(np.diag(covariance) ** 2))


def _constant_left_out(log_lik, nodes, area, mean, covariance):
    more = 0.5 * len(mean) * np.log(2 * np.pi)
    return _log_p(log_lik, nodes, area, mean, covariance) + more


def _determinant_left_out(log_lik, nodes, area, mean, covariance):
    return _log_p(log_lik, nodes, area, mean, covariance) + 0.5 * np.linalg.slogdet(covariance)[1]


def _logs_averaged(log_lik, nodes, area, mean, covariance):
    prior = np.exp(_log_normal(nodes, mean, covariance))
    return (prior[:, None] * log_lik).sum(axis=0) * area


def _no_prior(log_lik, nodes, area, mean, covariance):
    del nodes, mean, covariance
    return _log_sum(log_lik, 0) + np.log(area)


def _no_safe_sum(log_lik, nodes, area, mean, covariance):
    prior = np.exp(_log_normal(nodes, mean, covariance))
    return np.log((prior[:, None] * np.exp(log_lik)).sum(axis=0) * area)


def _all_examples(log_lik, nodes, area, mean, covariance):
    return _log_sum(_log_p(log_lik, nodes, area, mean, covariance), 0)


def _not_the_log(log_lik, nodes, area, mean, covariance):
    return np.exp(_log_p(log_lik, nodes, area, mean, covariance))


def _grids():
    """One latent and two examples; two latents, three examples, log-likelihoods near -1000."""
    u, step = np.linspace(-12, 12, 481, retstep=True)
    one = np.stack([-((u - 2) ** 2), -4.0 * np.cos(u) - 6], axis=1)
    side, pitch = np.linspace(-14, 14, 141, retstep=True)
    nodes = np.stack(np.meshgrid(side, side, indexing="ij"), axis=-1).reshape(-1, 2)
    bent = nodes[:, 1] - 0.2 * nodes[:, 0] ** 2
    two = np.stack([-(bent**2), -900 - bent**2, -1000 - np.abs(nodes).sum(axis=1)], axis=1)
    covariance = np.array([[3.0, 1.2], [1.2, 1.5]])
    return [
        (one, u[:, None], step, np.array([1.5]), np.array([[2.0]])),
        (two, nodes, pitch**2, np.array([2.0, -1.0]), covariance),
    ]


EXERCISES: dict[str, Value | Function] = {
    "04a.1": Value(
        math.exp(-_KL / _LATENTS),
        {
            "you gave all nats to one latent: the KL is a sum over ten of them": math.exp(-_KL),
            "you gave the variance s^2; the scale is asked": math.exp(-2 * _KL / _LATENTS),
            "you lost the minus sign: such a code is wider than the prior": math.exp(
                _KL / _LATENTS
            ),
            "you took bits for nats: invert a natural logarithm": 2 ** (-_KL / _LATENTS),
            "you inverted a logarithm to base ten; it is a natural one": 10 ** (-_KL / _LATENTS),
            "you subtracted log N first: in the population the whole KL is information": math.exp(
                -(_KL - math.log(_IMAGES)) / _LATENTS
            ),
            "you took log N for the KL: N does not enter": math.exp(-math.log(_IMAGES) / _LATENTS),
            "you took the KL of the code in the centre; the mean over all codes is -log s": (
                _scale_of_centred(_KL / _LATENTS)
            ),
            "you gave the KL of one latent; solve it for s": _KL / _LATENTS,
            "you gave the KL beyond log N; the scale s is asked": _KL - math.log(_IMAGES),
        },
    ),
    "04a.2": Function(
        truth=_surgery,
        cases=_codes,
        mistakes={
            "you exchanged information and distance: the information is the mean log ratio": (
                _swapped
            ),
            "you forgot the 1/N of the mixture: a log N is missing": _without_log_n,
            "you subtracted log N from the ratio; the 1/N of the mixture adds it": (
                _log_n_subtracted
            ),
            "you took each draw under its own q(z|x) only; q(z) needs all pairs": _own_q_only,
            "you averaged log q over the latents; a density of several is a product": (
                _latents_averaged
            ),
            "you left each example's own q(z|x) out of q(z); it belongs to the mixture": (
                _others_only
            ),
            "you cut each latent by itself and summed: q(z) is a mixture in all latents": (
                _latent_by_latent
            ),
            "you took one Normal for q(z); it is the mixture of all q(z|x)": _one_normal,
            "you estimated the mean KL from the draws; its closed form is asked": _sampled_kl,
            "you averaged log q(z|x_m) over m: average the densities, then take the log": (
                _mean_of_logs
            ),
            "you summed over the draws; for each draw, sum over the examples m of the mixture": (
                _wrong_axis
            ),
            "you exponentiated large negative numbers: use logsumexp": _underflowing,
            "you averaged the KL over the latents; it is a sum over them": (
                lambda loc, scale, z: _surgery(loc, scale, z, kl=_kls(loc, scale).mean())
            ),
            "you summed the KL over the examples; its mean is asked": (
                lambda loc, scale, z: _surgery(loc, scale, z, kl=_kls(loc, scale).sum())
            ),
            "you forgot to square the scale in the KL": (
                lambda loc, scale, z: _surgery(
                    loc,
                    scale,
                    z,
                    kl=(0.5 * (loc**2 + scale - 1) - np.log(scale)).sum(axis=1).mean(),
                )
            ),
            "you halved the logarithm of the scale; of the variance it would be half": (
                lambda loc, scale, z: _surgery(
                    loc,
                    scale,
                    z,
                    kl=(0.5 * (loc**2 + scale**2 - 1 - np.log(scale))).sum(axis=1).mean(),
                )
            ),
            "you added information and KL: the distance is their difference": (
                lambda loc, scale, z: (
                    *_surgery(loc, scale, z)[:2],
                    sum(_surgery(loc, scale, z)[:2]),
                )
            ),
        },
        properties={
            "you should never find more than log N nats of information": (
                lambda f: all(f(*case)[1] <= np.log(len(case[0])) + 1e-6 for case in _codes())
            )
        },
    ),
    "04a.3": Function(
        truth=_spikes,
        cases=_kls_and_draws,
        mistakes={
            "you gave the means variance 1; with the spikes' own width it becomes 1 + s^2": (
                _with_means(lambda _: 1.0)
            ),
            "you took 1 - s^2 for the standard deviation of the means; it is their variance": (
                _with_means(lambda s: 1 - s**2)
            ),
            "you took 1 - s for the variance of the means; it is 1 - s^2": (
                _with_means(lambda s: math.sqrt(1 - s))
            ),
            "you took 1 - s for the standard deviation of the means; it is the root of 1 - s^2": (
                _with_means(lambda s: 1 - s)
            ),
            "you added s^2 to 1; the variance of the means is 1 - s^2": (
                _with_means(lambda s: math.sqrt(1 + s**2))
            ),
            "you put all means at zero: then the aggregate is as narrow as one code": (
                _with_means(lambda _: 0.0)
            ),
            "you took -log s^2 for the mean KL; it is -log s": (
                lambda kl, u: _spikes_of(math.exp(-kl / 2), u)
            ),
            "you took half of -log s for the mean KL; it is -log s": (
                lambda kl, u: _spikes_of(math.exp(-2 * kl), u)
            ),
            "you inverted a logarithm to base 2; the KL is in nats": (
                lambda kl, u: _spikes_of(2**-kl, u)
            ),
            "you solved for the code in the centre; the mean KL over all codes is -log s": (
                lambda kl, u: _spikes_of(_scale_of_centred(kl), u)
            ),
            "you added log N to the KL: N does not enter": (
                lambda kl, u: _spikes_of(math.exp(-kl - math.log(len(u))), u)
            ),
            "you exchanged the two arrays: means first, then scales": (
                lambda kl, u: _spikes(kl, u)[::-1]
            ),
            "you returned variances; scales are asked": (
                lambda kl, u: (_spikes(kl, u)[0], _spikes(kl, u)[1] ** 2)
            ),
            "you returned one scale; each code has its own, all alike": (
                lambda kl, u: (_spikes(kl, u)[0], math.exp(-kl))
            ),
        },
        properties={
            "you should get Var(m) + s^2 = 1, the variance of the prior": _is_the_prior,
        },
    ),
    "04a.4": Function(
        truth=_moments,
        cases=_unequal_codes,
        mistakes={
            "you left out the widths of the q(z|x): a mixture is wider than its means": (
                _sum_of(_cov, lambda scale: 0 * scale[0])
            ),
            "you added the scales; add their squares, the variances": (
                _sum_of(_cov, lambda scale: np.diag(scale.mean(axis=0)))
            ),
            "you squared the mean scale; average the squares": (
                _sum_of(_cov, lambda scale: np.diag(scale.mean(axis=0) ** 2))
            ),
            "you summed the variances over the examples; average them": (
                _sum_of(_cov, lambda scale: len(scale) * _widths(scale))
            ),
            "you averaged products of scales; the latents of one q(z|x) are independent": (
                _sum_of(_cov, lambda scale: scale.T @ scale / len(scale))
            ),
            "you added the widths to every entry; independent latents add to the diagonal only": (
                _sum_of(_cov, lambda scale: (scale**2).mean(axis=0))
            ),
            "you forgot to subtract the mean: that is E[z z'], the second moment": (
                _sum_of(lambda loc: loc.T @ loc / len(loc), _widths)
            ),
            "you divided by N - 1, as np.cov does by itself; q(z) has weights 1/N": (
                _sum_of(lambda loc: _cov(loc, ddof=1), _widths)
            ),
            "you forgot to divide by N": _sum_of(lambda loc: len(loc) * _cov(loc), _widths),
            "you took the mean of the widths alone: the spread of the means is missing": (
                _sum_of(lambda loc: 0 * loc[0], _widths)
            ),
            "you kept the diagonal only: the cloud of means may be tilted": (
                _then(lambda covariance: np.diag(np.diag(covariance)))
            ),
            "you returned a triangular factor; the covariance itself is asked": (
                _then(np.linalg.cholesky)
            ),
            "you took square roots of the entries; a covariance is asked": (
                _then(lambda covariance: np.sign(covariance) * np.sqrt(np.abs(covariance)))
            ),
        },
        properties={
            "one example alone should give back its own q(z|x)": (
                lambda f: np.allclose(
                    np.concatenate(
                        [np.ravel(p) for p in f(np.array([[1.0, 2.0]]), np.array([[0.5, 3.0]]))]
                    ),
                    [1, 2, 0.25, 0, 0, 9],
                )
            )
        },
    ),
    "04a.5": Function(
        truth=_log_p,
        cases=_grids,
        mistakes={
            "you used the old prior N(0, I); `mean` and `covariance` are those of the new": (
                _old_prior
            ),
            "you took the covariance for its inverse in the Normal": _precision_for_covariance,
            "you kept the diagonal of the covariance only: this prior is tilted": _tilt_ignored,
            "you took the covariance for a factor of it, as a standard deviation": (
                _variance_for_scale
            ),
            "you left out the mean: the new prior is not centred": _mean_left_out,
            "you forgot the area of a node: a sum becomes an integral by it": _area_left_out,
            "you divided by the area of a node; multiply by it": _area_divided,
            "you averaged over the nodes; sum, then multiply by the area of a node": (
                _mean_over_nodes
            ),
            "you multiplied the logarithm by the area; its logarithm is to be added": _times_area,
            "you took the variances on the diagonal for standard deviations": _diagonal_for_scale,
            "you forgot the constant of the Normal, 2 pi for each latent": _constant_left_out,
            "you forgot the determinant of the covariance": _determinant_left_out,
            "you averaged log p(x|z): the log belongs outside of the integral": _logs_averaged,
            "you left the prior out: p(x|z) is to be averaged under it": _no_prior,
            "you exponentiated large negative numbers: use logsumexp": _no_safe_sum,
            "you summed over the examples too; each has a log p(x) of its own": _all_examples,
            "you returned p(x); its logarithm is asked": _not_the_log,
        },
        properties={
            "you should get the same for a log-likelihood that is 7 nats higher, plus 7": (
                lambda f: all(
                    np.allclose(f(case[0] + 7, *case[1:]), f(*case) + 7, rtol=1e-6)
                    for case in _grids()
                )
            )
        },
    ),
}
