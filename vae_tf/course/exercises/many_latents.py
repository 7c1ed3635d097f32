"""Exercises of notebook 11: chains of latents, and diffusion."""

import numpy as np
from scipy.special import logsumexp

from vae_tf.course.checks import Function, Value

__all__ = ["EXERCISES"]


# -- 11.1: what one step costs ------------------------------------------------------------------

_X, _GUESS, _LAM_S, _LAM_T = 1.5, 0.9, 3.0, 2.0
_SQUARE = (_X - _GUESS) ** 2
_COST = 0.5 * (np.exp(_LAM_S) - np.exp(_LAM_T)) * _SQUARE


# -- 11.2: the ELBO of a ladder -----------------------------------------------------------------


def _ladder(log_lik, log_p, log_q):
    return (log_lik + log_p.sum(axis=0) - log_q.sum(axis=0)).mean(axis=0)


def _ladder_of_iwae(log_lik, log_p, log_q):
    log_w = log_lik + log_p.sum(axis=0) - log_q.sum(axis=0)
    return logsumexp(log_w, axis=0) - np.log(len(log_w))


def _ladder_with_likelihood_at_each(log_lik, log_p, log_q):
    return (log_lik + log_p - log_q).sum(axis=0).mean(axis=0)


def _cases_of_ladder():
    rng = np.random.default_rng(112)
    cases = []
    for levels, samples, batch in ((3, 7, 4), (1, 5, 2), (6, 2, 3)):
        log_lik = -5 + 2 * rng.normal(size=(samples, batch))
        log_p, log_q = rng.normal(size=(2, levels, samples, batch)) - [[[[4]]], [[[1]]]]
        cases.append((log_lik, log_p, log_q))
    return cases


# -- 11.3: all steps of a diffusion -------------------------------------------------------------


def _steps_kl(x, guesses, lams):
    return 0.5 * -np.diff(np.exp(lams)) @ (x - guesses) ** 2


def _weighted_errors(factor, power=2):
    """The sum of steps if each squared error had another factor, of lambda_s and lambda_t."""

    def kl(x, guesses, lams):
        return 0.5 * factor(lams[:-1], lams[1:]) @ np.abs(x - guesses) ** power

    return kl


def _cases_of_steps():
    rng = np.random.default_rng(113)
    cases = []
    for steps, batch in ((4, 5), (1, 3), (6, 2)):
        lams = np.sort(rng.normal(size=steps + 1))[::-1]
        cases.append((rng.normal(size=batch), rng.normal(size=(steps, batch)), lams))
    return cases


def _steps_add_up(kl):
    """With one guess throughout, a step more or less makes no difference."""
    x, lams = np.ones(2), np.array([2.0, 0.5, -1.0])
    return np.allclose(kl(x, np.zeros((2, 2)), lams), kl(x, np.zeros((1, 2)), lams[::2]))


# -- 11.4: the best denoiser of a mixture -------------------------------------------------------


def _parts(z, alpha, sigma, shares, locs, scales):
    """log of share times density [B, K], the hills' own answers [B, K]."""
    variances = alpha**2 * scales**2 + sigma**2
    off = np.asarray(z)[:, None] - alpha * locs
    log_hills = np.log(shares) - 0.5 * off**2 / variances - 0.5 * np.log(variances)
    return log_hills, locs + alpha * scales**2 / variances * off


def _softmax(log_hills):
    hills = np.exp(log_hills - log_hills.max(axis=1, keepdims=True))
    return hills / hills.sum(axis=1, keepdims=True)


def _denoiser(*arguments):
    log_hills, answers = _parts(*arguments)
    return (_softmax(log_hills) * answers).sum(axis=1)


def _denoiser_by_shares(*arguments):
    return (arguments[3] * _parts(*arguments)[1]).sum(axis=1)


def _denoiser_equal_shares(z, alpha, sigma, shares, locs, scales):
    return _denoiser(z, alpha, sigma, np.ones_like(shares), locs, scales)


def _denoiser_of_locs(*arguments):
    return (_softmax(_parts(*arguments)[0]) * arguments[4]).sum(axis=1)


def _denoiser_of_likeliest(*arguments):
    log_hills, answers = _parts(*arguments)
    return np.take_along_axis(answers, log_hills.argmax(axis=1)[:, None], axis=1)[:, 0]


def _denoiser_without_width(*arguments):
    """Normal densities without one over their scale."""
    z, alpha, sigma, _, locs, scales = arguments
    log_hills, answers = _parts(*arguments)
    log_hills = log_hills + 0.5 * np.log(alpha**2 * scales**2 + sigma**2)
    return (_softmax(log_hills) * answers).sum(axis=1)


def _denoiser_noise_only(z, alpha, sigma, shares, locs, scales):
    """p(k|z) from N(z; alpha mu_k, sigma^2): the hills' own spread is missing."""
    log_hills = np.log(shares) - 0.5 * ((z[:, None] - alpha * locs) / sigma) ** 2
    answers = _parts(z, alpha, sigma, shares, locs, scales)[1]
    return (_softmax(log_hills) * answers).sum(axis=1)


def _denoiser_hills_unmoved(z, alpha, sigma, shares, locs, scales):
    """p(k|z) from N(z; mu_k, ...): alpha is missing."""
    variances = alpha**2 * scales**2 + sigma**2
    log_hills = np.log(shares) - 0.5 * (z[:, None] - locs) ** 2 / variances
    log_hills = log_hills - 0.5 * np.log(variances)
    answers = _parts(z, alpha, sigma, shares, locs, scales)[1]
    return (_softmax(log_hills) * answers).sum(axis=1)


def _denoiser_gain_without_alpha(z, alpha, sigma, shares, locs, scales):
    variances = alpha**2 * scales**2 + sigma**2
    log_hills, _ = _parts(z, alpha, sigma, shares, locs, scales)
    answers = locs + scales**2 / variances * (z[:, None] - alpha * locs)
    return (_softmax(log_hills) * answers).sum(axis=1)


def _denoiser_scales_not_squared(z, alpha, sigma, shares, locs, scales):
    return _denoiser(z, alpha, sigma, shares, locs, np.sqrt(scales))


def _denoiser_with(z, alpha, sigma, shares, locs, scales, spread=np.sqrt, answer=None):
    """As a student writes it, with `norm.pdf` and a scale, or answers, of another kind."""
    variances = alpha**2 * scales**2 + sigma**2
    off, wide = z[:, None] - alpha * locs, spread(variances)
    log_hills = np.log(shares) - 0.5 * (off / wide) ** 2 - np.log(wide)
    gain = alpha * scales**2 / variances
    answers = locs + gain * off if answer is None else answer(z[:, None], gain, alpha, locs)
    return (_softmax(log_hills) * answers).sum(axis=1)


def _denoiser_variance_for_scale(*arguments):
    return _denoiser_with(*arguments, spread=lambda variances: variances)


def _denoiser_change_only(*arguments):
    return _denoiser_with(*arguments, answer=lambda z, gain, alpha, locs: gain * (z - alpha * locs))


def _denoiser_alpha_lost_inside(*arguments):
    return _denoiser_with(*arguments, answer=lambda z, gain, _, locs: locs + gain * (z - locs))


def _denoiser_scales_added(z, alpha, sigma, shares, locs, scales):
    wide = alpha * scales + sigma
    return _denoiser_with(z, alpha, sigma, shares, locs, scales, spread=lambda _: wide)


def _denoiser_sigma_not_squared(z, alpha, sigma, shares, locs, scales):
    return _denoiser(z, alpha, np.sqrt(sigma), shares, locs, scales)


def _cases_of_mixtures():
    shares, locs, scales = np.array([0.6, 0.1, 0.3]), np.array([-2.0, 0.5, 3.0]), [0.3, 0.8, 0.1]
    scales, cases = np.array(scales), []
    for lam, z in ((2.0, np.linspace(-3, 4, 9)), (-3.0, np.array([0.4, -1.0]))):
        alpha, sigma = (1 + np.exp(-lam)) ** -0.5, (1 + np.exp(lam)) ** -0.5
        cases.append((z, alpha, sigma, shares, locs, scales))
    two = np.array([0.5, 0.5]), np.array([-1.0, 2.0]), np.array([0.4, 0.2])
    return [*cases, (np.array([0.3]), 0.6, 0.8, *two)]


def _plain_mixture(denoiser):
    """One hill only: the answer is that of a Normal."""
    z = np.array([0.5, -1.0])
    found = denoiser(z, 0.6, 0.8, np.array([1.0]), np.array([2.0]), np.array([1.0]))
    return np.allclose(found, 2 + 0.6 * (z - 1.2), rtol=1e-4, atol=1e-5)


# -- 11.5: the weight behind a loss -------------------------------------------------------------


def _weight(lam, density, target):
    factor = {"eps": np.ones_like(lam), "x": np.exp(-lam), "v": 1 + np.exp(-lam)}[target]
    return 2 * density * factor


def _with_factors(x, v, eps=lambda lam: np.ones_like(lam)):
    """The weight if the squared errors were related by other factors."""

    def weight(lam, density, target):
        return 2 * density * {"eps": eps, "x": x, "v": v}[target](lam)

    return weight


def _cases_of_weights():
    cases = []
    for lam, target in (
        (np.linspace(-6, 5, 7), "eps"),
        (np.array([-2.0, 0.5, 3.0]), "x"),
        (np.linspace(-4, 6, 5), "v"),
    ):
        cases.append((lam, 1 / np.cosh(lam / 2) / (2 * np.pi), target))
        cases.append((lam, np.full(lam.shape, 1 / 16), target))
    return cases


# -- 11.6: the evidence of a chain --------------------------------------------------------------


def _evidence(prior, down, likelihood):
    mass = prior
    for step in down:
        mass = mass @ step
    return np.log(mass @ likelihood)


def _evidence_wrong_order(prior, down, likelihood):
    return _evidence(prior, down[::-1], likelihood)


def _evidence_transposed(prior, down, likelihood):
    return _evidence(prior, down.swapaxes(1, 2), likelihood)


def _evidence_without_chain(prior, _, likelihood):
    return np.log(prior @ likelihood)


def _evidence_one_step(prior, down, likelihood):
    return _evidence(prior, down[:1], likelihood)


def _evidence_without_last(prior, down, likelihood):
    return _evidence(prior, down[:-1], likelihood)


def _mean_log(prior, down, likelihood):
    mass = prior
    for step in down:
        mass = mass @ step
    return mass @ np.log(likelihood)


def _evidence_of_likeliest(prior, down, likelihood):
    """The likeliest path alone (max in place of sum)."""
    mass = prior
    for step in down:
        mass = (mass[:, None] * step).max(axis=0)
    return np.log((mass[:, None] * likelihood).max(axis=0))


def _evidence_uniform_prior(prior, down, likelihood):
    return _evidence(np.full_like(prior, 1 / len(prior)), down, likelihood)


def _cases_of_chains():
    rng = np.random.default_rng(116)
    cases = []
    for steps, states, batch in ((3, 5, 4), (2, 4, 2), (4, 3, 1)):
        prior = rng.dirichlet(np.ones(states))
        down = rng.dirichlet(np.full(states, 0.6), size=(steps, states))
        cases.append((prior, down, 0.01 + 2 * rng.random((states, batch))))
    return cases


EXERCISES: dict[str, Value | Function] = {
    "11.1": Value(
        _COST,
        mistakes={
            "you took lambda for the signal-to-noise ratio: it is its logarithm": (
                0.5 * (_LAM_S - _LAM_T) * _SQUARE
            ),
            "you forgot to square the error of the guess": (
                0.5 * (np.exp(_LAM_S) - np.exp(_LAM_T)) * (_X - _GUESS)
            ),
            "you took the ratio that the step ends with; it should be the difference of both": (
                0.5 * np.exp(_LAM_S) * _SQUARE
            ),
            "you took the ratio that the step begins with; it should be the difference of both": (
                0.5 * np.exp(_LAM_T) * _SQUARE
            ),
            "you took the exponential of the difference; it should be the difference of "
            "exponentials": 0.5 * np.exp(_LAM_S - _LAM_T) * _SQUARE,
            "you exchanged s and t: the signal is stronger at s": -_COST,
            "you added the two ratios; their difference is asked": (
                0.5 * (np.exp(_LAM_S) + np.exp(_LAM_T)) * _SQUARE
            ),
            "you took the ratio of amplitudes, exp(lambda / 2); SNR is that of squares": (
                0.5 * (np.exp(_LAM_S / 2) - np.exp(_LAM_T / 2)) * _SQUARE
            ),
            "you took noise-to-signal ratios: the exponent has no minus": (
                0.5 * (np.exp(-_LAM_T) - np.exp(-_LAM_S)) * _SQUARE
            ),
            "you left out the error of the guess": 0.5 * (np.exp(_LAM_S) - np.exp(_LAM_T)),
        },
    ),
    "11.2": Function(
        truth=_ladder,
        cases=_cases_of_ladder,
        mistakes={
            "you averaged inside the logarithm: that is the importance weighted bound": (
                _ladder_of_iwae
            ),
            "you counted the likelihood once a level; x hangs on the lowest latent alone": (
                _ladder_with_likelihood_at_each
            ),
            "you took the lowest level only; each level has a log p and a log q": (
                lambda log_lik, log_p, log_q: (log_lik + log_p[0] - log_q[0]).mean(axis=0)
            ),
            "you took the top level only; each level has a log p and a log q": (
                lambda log_lik, log_p, log_q: (log_lik + log_p[-1] - log_q[-1]).mean(axis=0)
            ),
            "you averaged over the levels; their logarithms are to be summed": (
                lambda log_lik, log_p, log_q: (
                    log_lik + log_p.mean(axis=0) - log_q.mean(axis=0)
                ).mean(axis=0)
            ),
            "you summed log p(x|z_1) over the samples; all terms are averaged over them": (
                lambda log_lik, log_p, log_q: (
                    log_lik.sum(axis=0) + (log_p - log_q).sum(axis=0).mean(axis=0)
                )
            ),
            "you left log q out: that is the average log joint": (
                lambda log_lik, log_p, _: (log_lik + log_p.sum(axis=0)).mean(axis=0)
            ),
            "you left the likelihood of x out": (
                lambda _, log_p, log_q: (log_p - log_q).sum(axis=0).mean(axis=0)
            ),
            "you left log p of the latents out": (
                lambda log_lik, _, log_q: (log_lik - log_q.sum(axis=0)).mean(axis=0)
            ),
            "you subtracted log p and added log q: the KL has the wrong sign": (
                lambda log_lik, log_p, log_q: (
                    log_lik - log_p.sum(axis=0) + log_q.sum(axis=0)
                ).mean(axis=0)
            ),
            "you added log q; it is to be subtracted": (
                lambda log_lik, log_p, log_q: (
                    log_lik + log_p.sum(axis=0) + log_q.sum(axis=0)
                ).mean(axis=0)
            ),
            "you subtracted only the top level's log q": (
                lambda log_lik, log_p, log_q: (log_lik + log_p.sum(axis=0) - log_q[-1]).mean(axis=0)
            ),
            "you subtracted only the lowest level's log q": (
                lambda log_lik, log_p, log_q: (log_lik + log_p.sum(axis=0) - log_q[0]).mean(axis=0)
            ),
            "you added only the top level's log p, the prior": (
                lambda log_lik, log_p, log_q: (log_lik + log_p[-1] - log_q.sum(axis=0)).mean(axis=0)
            ),
            "you returned the first sample; it is to be averaged over all": (
                lambda log_lik, log_p, log_q: (log_lik + (log_p - log_q).sum(axis=0))[0]
            ),
        },
        properties={
            "with q equal to p at every level, only the mean log likelihood should be left": (
                lambda f: np.allclose(
                    f(np.ones((3, 2)), np.full((4, 3, 2), -7.0), np.full((4, 3, 2), -7.0)), 1
                )
            )
        },
    ),
    "11.3": Function(
        truth=_steps_kl,
        cases=_cases_of_steps,
        mistakes={
            "you took lambda for the signal-to-noise ratio: it is its logarithm": (
                _weighted_errors(lambda s, t: s - t)
            ),
            "you forgot to square the errors of the guesses": (
                lambda x, guesses, lams: 0.5 * -np.diff(np.exp(lams)) @ (x - guesses)
            ),
            "you took absolute errors; they are to be squared": (
                _weighted_errors(lambda s, t: np.exp(s) - np.exp(t), power=1)
            ),
            "you squared too late: each guess's error is squared by itself": (
                lambda x, guesses, lams: (0.5 * -np.diff(np.exp(lams)) @ (x - guesses)) ** 2
            ),
            "you took the SNR at s alone; it should be the difference of both": (
                _weighted_errors(lambda s, _: np.exp(s))
            ),
            "you took the SNR at t alone; it should be the difference of both": (
                _weighted_errors(lambda _, t: np.exp(t))
            ),
            "you took the exponential of the difference; it should be the difference of "
            "exponentials": _weighted_errors(lambda s, t: np.exp(s - t)),
            "you took SNR_s / SNR_t - 1: that goes with the error of the noise, not of x": (
                _weighted_errors(lambda s, t: np.exp(s - t) - 1)
            ),
            "you took amplitudes, exp(lambda / 2); SNR is the ratio of squares": (
                _weighted_errors(lambda s, t: np.exp(s / 2) - np.exp(t / 2))
            ),
            "you took noise-to-signal ratios, exp(-lambda)": (
                _weighted_errors(lambda s, t: np.exp(-t) - np.exp(-s))
            ),
            "you left the SNR out: the steps have different weights": (
                _weighted_errors(lambda s, _: np.ones_like(s))
            ),
            "you went through the steps from the top down; lams begins at z_0": (
                lambda x, guesses, lams: _steps_kl(x, guesses[::-1], lams)
            ),
            "you averaged over the steps; their KLs are to be summed": (
                lambda x, guesses, lams: _steps_kl(x, guesses, lams) / len(guesses)
            ),
            "you gave all steps the whole range of SNR": (
                lambda x, guesses, lams: (
                    0.5 * (np.exp(lams[0]) - np.exp(lams[-1])) * ((x - guesses) ** 2).sum(axis=0)
                )
            ),
            "you summed over the examples too: each x has a KL of its own": (
                lambda x, guesses, lams: _steps_kl(x, guesses, lams).sum()
            ),
        },
        properties={
            "with one guess throughout, the number of steps should not matter": _steps_add_up
        },
    ),
    "11.4": Function(
        truth=_denoiser,
        cases=_cases_of_mixtures,
        mistakes={
            "you weighted the hills by their shares; p(k|z) depends on z": _denoiser_by_shares,
            "you left the shares out of p(k|z)": _denoiser_equal_shares,
            "you averaged the centres of the hills; each hill's answer moves with z": (
                _denoiser_of_locs
            ),
            "you took the likeliest hill; all are to be averaged": _denoiser_of_likeliest,
            "you left one over the scale out of the Normal densities: narrow hills are higher": (
                _denoiser_without_width
            ),
            "you gave z the variance sigma^2 in hill k; the hill's own, alpha^2 c^2, is missing": (
                _denoiser_noise_only
            ),
            "you centred hill k of z at its mean; it is at alpha times its mean": (
                _denoiser_hills_unmoved
            ),
            "you lost the alpha above: the factor is alpha c^2 / (alpha^2 c^2 + sigma^2)": (
                _denoiser_gain_without_alpha
            ),
            "you took the variance of z for its scale: `norm.pdf` wants the root": (
                _denoiser_variance_for_scale
            ),
            "you left mu_k out of the answer of hill k: it moves away from there": (
                _denoiser_change_only
            ),
            "you took z - mu_k in the answer of hill k; it is z - alpha mu_k": (
                _denoiser_alpha_lost_inside
            ),
            "you added scales; variances add: alpha^2 c^2 + sigma^2": _denoiser_scales_added,
            "you forgot to square the scales of the hills": _denoiser_scales_not_squared,
            "you forgot to square sigma": _denoiser_sigma_not_squared,
            "you returned the sum of share, density and answer; divide by the density of z": (
                lambda *arguments: (
                    (np.exp(_parts(*arguments)[0]) * _parts(*arguments)[1]).sum(axis=1)
                    / np.sqrt(2 * np.pi)
                )
            ),
            "you returned z / alpha: that trusts all of z": lambda z, alpha, *_: z / alpha,
            "you returned z": lambda z, *_: z,
            "you returned the guess of the noise; x is asked": (
                lambda z, alpha, sigma, *mixture: (
                    (z - alpha * _denoiser(z, alpha, sigma, *mixture)) / sigma
                )
            ),
            "you returned alpha times the guess of x": (
                lambda z, alpha, *rest: alpha * _denoiser(z, alpha, *rest)
            ),
        },
        properties={
            "one hill should give mu + alpha c^2 / (alpha^2 c^2 + sigma^2) (z - alpha mu)": (
                _plain_mixture
            )
        },
    ),
    "11.5": Function(
        truth=_weight,
        cases=_cases_of_weights,
        mistakes={
            "you left the density out: how often a noise level is drawn is a part of its weight": (
                lambda lam, _, target: _weight(lam, np.ones_like(lam), target)
            ),
            "you left out the target: the density is the weight of the squared error of eps only": (
                lambda _, density, __: 2 * density
            ),
            "you left out the target and a factor 2: the loss is one half of an integral": (
                lambda _, density, __: density
            ),
            "you turned the factor of x round: its squared error is exp(-lambda) times that of "
            "eps": _with_factors(np.exp, lambda lam: 1 + np.exp(-lam)),
            "you turned the factor of v round: its squared error is that of eps over alpha^2": (
                _with_factors(lambda lam: np.exp(-lam), lambda lam: 1 / (1 + np.exp(-lam)))
            ),
            "you turned both factors round": _with_factors(
                np.exp, lambda lam: 1 / (1 + np.exp(-lam))
            ),
            "you divided by sigma^2 for v; it is alpha^2": (
                _with_factors(lambda lam: np.exp(-lam), lambda lam: 1 + np.exp(lam))
            ),
            "you forgot to square: the error of v is that of eps over alpha, squared alpha^2": (
                _with_factors(lambda lam: np.exp(-lam), lambda lam: np.sqrt(1 + np.exp(-lam)))
            ),
            "you forgot to square: the error of x is sigma / alpha times that of eps": (
                _with_factors(lambda lam: np.exp(-lam / 2), lambda lam: 1 + np.exp(-lam))
            ),
            "you forgot to square both factors: errors are squared, and so are their ratios": (
                _with_factors(lambda lam: np.exp(-lam / 2), lambda lam: np.sqrt(1 + np.exp(-lam)))
            ),
            "you turned both factors round, and lost the factor 2": (
                lambda lam, density, target: (
                    density
                    * {"eps": 1 + 0 * lam, "x": np.exp(lam), "v": 1 / (1 + np.exp(-lam))}[target]
                )
            ),
            "you divided by the density; it multiplies": (
                lambda lam, density, target: _weight(lam, 1 / density, target)
            ),
            "you treated x like v": (
                _with_factors(lambda lam: 1 + np.exp(-lam), lambda lam: 1 + np.exp(-lam))
            ),
            "you treated v like x": (
                _with_factors(lambda lam: np.exp(-lam), lambda lam: np.exp(-lam))
            ),
            "you took the weight of the ELBO, which is 1, whatever the loss": (
                lambda lam, *_: np.ones_like(lam)
            ),
        },
    ),
    "11.6": Function(
        truth=_evidence,
        cases=_cases_of_chains,
        mistakes={
            "you went through the steps from the bottom up; the first one leaves the prior": (
                _evidence_wrong_order
            ),
            "you exchanged rows and columns of a step: a row is where it comes from": (
                _evidence_transposed
            ),
            "you took the prior for the lowest latent's distribution: the steps are missing": (
                _evidence_without_chain
            ),
            "you took the first step only": _evidence_one_step,
            "you left the last step out": _evidence_without_last,
            "you averaged the log likelihood: that is no log p(x), but lies below it": _mean_log,
            "you followed the likeliest path only; all are to be summed": _evidence_of_likeliest,
            "you left the prior out: all states of the top one are not equally likely": (
                _evidence_uniform_prior
            ),
            "you averaged over the top states, or their logarithms; the prior says how likely each "
            "is, and the logarithm comes last": (
                lambda _, down, likelihood: np.log(np.linalg.multi_dot([*down, likelihood])).mean(
                    axis=0
                )
            ),
            "you added up the steps; one follows on the other: multiply": (
                lambda prior, down, likelihood: np.log(prior @ down.sum(axis=0) @ likelihood)
            ),
            "you multiplied the steps entry by entry; these are products of matrices": (
                lambda prior, down, likelihood: np.log(prior @ down.prod(axis=0) @ likelihood)
            ),
            "you used the first step throughout": (
                lambda prior, down, likelihood: _evidence(prior, down[[0] * len(down)], likelihood)
            ),
            "you returned p(x): its logarithm is asked": (
                lambda *arguments: np.exp(_evidence(*arguments))
            ),
        },
        properties={
            "a likelihood of 1 everywhere should give log p(x) = 0": (
                lambda f: np.allclose(
                    f(np.array([0.3, 0.7]), np.full((3, 2, 2), 0.5), np.ones((2, 1))), 0
                )
            )
        },
    ),
}
