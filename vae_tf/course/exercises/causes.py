"""Exercises of notebook 09: the two parts of a gap, generalisation, and three gradients."""

import functools

import numpy as np

from vae_tf.course.checks import Function, Value

__all__ = ["EXERCISES"]


# -- 09.1: the price of a tilt --------------------------------------------------------------------

_RHO = 0.8
_TILT = -0.5 * np.log(1 - _RHO**2)
_MARGINAL = 1 / (1 - _RHO**2) - 1 - _TILT  # of the q with the posterior's own two scales


# -- 09.2: a gap in two parts ---------------------------------------------------------------------


def _kl(mean, covariance, loc, variance):
    """KL(N(loc, diag(variance)) || N(mean, covariance))."""
    precision, d = np.linalg.inv(covariance), loc - mean
    fit = np.diagonal(precision) @ variance + d @ precision @ d - len(loc)
    return 0.5 * (fit + np.linalg.slogdet(covariance)[1] - np.log(variance).sum())


def _reversed_kl(mean, covariance, loc, variance):
    """KL(N(mean, covariance) || N(loc, diag(variance)))."""
    fit = ((np.diagonal(covariance) + (loc - mean) ** 2) / variance).sum() - len(loc)
    return 0.5 * (fit + np.log(variance).sum() - np.linalg.slogdet(covariance)[1])


def _best(covariance):
    """The variances of the best diagonal q."""
    return 1 / np.diagonal(np.linalg.inv(covariance))


def _split(mean, covariance, loc, scale, kl=_kl, best=_best):
    approximation = kl(mean, covariance, mean, best(covariance))
    return approximation, kl(mean, covariance, loc, scale**2) - approximation


def _split_without_move(mean, covariance, loc, scale):
    del loc
    return _split(mean, covariance, mean, scale)


def _split_without_stretch(mean, covariance, loc, scale):
    del scale
    return _split(mean, covariance, loc, _best(covariance) ** 0.5)


def _split_diagonal_move(mean, covariance, loc, scale):
    """The move priced without the products of two latents."""
    first, second = _split(mean, covariance, loc, scale)
    precision, d = np.linalg.inv(covariance), loc - mean
    return first, second - 0.5 * (d @ precision @ d - np.diagonal(precision) @ d**2)


def _gaussians():
    """L = 2, 3, 1; and 5 latents, strongly tilted, far off."""
    rng, cases = np.random.default_rng(90), []
    for latents, far in ((2, 0.5), (3, 1.0), (1, 0.7), (5, 4.0)):
        root = rng.normal(size=(latents, latents)) + 0.7 * np.eye(latents)
        covariance, mean = root @ root.T + 0.05 * np.eye(latents), rng.normal(size=latents)
        loc = mean + far * rng.normal(size=latents)
        cases.append((mean, covariance, loc, np.exp(rng.normal(-0.7, 0.5, latents))))
    return cases


def _no_tilt_no_approximation(split):
    """A diagonal posterior, and an encoder that is right about it."""
    variance = np.array([0.3, 2.0, 0.01])
    found = split(np.ones(3), np.diag(variance), np.ones(3), variance**0.5)
    return np.allclose(np.asarray(found, "float64"), 0.0, atol=1e-6)


# -- 09.3: two ways to do worse on new data -------------------------------------------------------


def _generalization(seen_log_p, seen_elbo, new_log_p, new_elbo):
    model = seen_log_p.mean() - new_log_p.mean()
    return model, (new_log_p - new_elbo).mean() - (seen_log_p - seen_elbo).mean()


def _evidences():
    """Unequal sizes; equal gaps; large negative values."""
    rng, cases = np.random.default_rng(91), []
    for seen, new, level in ((7, 5, -20.0), (3, 9, -100.0), (6, 6, -1000.0)):
        log_p = level + rng.normal(size=seen), level - 3 + rng.normal(size=new)
        gaps = rng.exponential(0.5, size=seen), 1 + rng.exponential(2.0, size=new)
        cases.append((log_p[0], log_p[0] - gaps[0], log_p[1], log_p[1] - gaps[1]))
    return cases


def _adds_up(split):
    for case in _evidences():
        whole = case[1].mean() - case[3].mean()
        if not np.allclose(np.sum(split(*case)), whole, rtol=1e-4, atol=1e-3):
            return False
    return True


# -- 09.4: signal and noise -----------------------------------------------------------------------


def _snr(gradients):
    return np.linalg.norm(gradients.mean(axis=0)) / np.sqrt(gradients.var(axis=0, ddof=1).sum())


def _gradients():
    """R = 7, P = 3; R = 200, P = 2; R = 4, P = 30; a strong signal."""
    rng = np.random.default_rng(92)
    shapes = (((7, 3), 0.5, 1.0), ((200, 2), 0.1, 2.0), ((4, 30), 0.0, 0.3), ((12, 5), 9.0, 0.1))
    return [(m + s * rng.normal(size=shape) * (1 + np.arange(shape[1])),) for shape, m, s in shapes]


# -- 09.5: the weights of DReG --------------------------------------------------------------------


def _normalised(log_w, axis=0):
    w = np.exp(log_w - log_w.max(axis=axis, keepdims=True))
    return w / w.sum(axis=axis, keepdims=True)


def _dreg(log_w):
    return _normalised(log_w) ** 2


def _underflowing(log_w):
    w = np.exp(log_w)
    return (w / w.sum(axis=0)) ** 2


def _log_weights():
    """K = 4, B = 3; K = 2, B = 5, near -1000; K = 1, B = 3; K = 50, B = 2, one dominates."""
    rng = np.random.default_rng(93)
    shapes = ((4, 3, -3.0, 1.0), (2, 5, -1000.0, 2.0), (1, 3, 7.0, 1.0), (50, 2, -90.0, 8.0))
    return [(m + s * rng.normal(size=(k, b)),) for k, b, m, s in shapes]


EXERCISES: dict[str, Value | Function] = {
    "09.1": Value(
        _TILT,
        mistakes={
            "you left out the factor 1/2": 2 * _TILT,
            "you gave q the scales of the posterior, 1 and 1; the best ones come from the "
            "precisions": _MARGINAL,
            "you took the determinant of the covariance, 1 - 0.8^2; the gap is minus half its "
            "logarithm": 1 - _RHO**2,
            "you took 1 - 0.8; the determinant is 1 - 0.8 * 0.8": -0.5 * np.log(1 - _RHO),
            "you gave the scale of the best q, not the gap": np.sqrt(1 - _RHO**2),
            "you gave a precision, not the gap": 1 / (1 - _RHO**2),
            "you took the covariance for M; M is proportional to the precision": -_TILT,
        },
    ),
    "09.2": Function(
        truth=_split,
        cases=_gaussians,
        mistakes={
            "you exchanged the two parts: approximation comes first": (
                lambda *case: _split(*case)[::-1]
            ),
            "you gave the total in place of the amortization": (
                lambda mean, covariance, loc, scale: (
                    _split(mean, covariance, loc, scale)[0],
                    _kl(mean, covariance, loc, scale**2),
                )
            ),
            "you gave the best q the variances of the posterior; they are one over the diagonal "
            "of the precision": functools.partial(_split, best=np.diagonal),
            "you took the other KL, from the posterior to q": functools.partial(
                _split, kl=_reversed_kl, best=np.diagonal
            ),
            "you took the other KL, from the posterior to q, with the best q of this one": (
                functools.partial(_split, kl=_reversed_kl)
            ),
            "you gave the total first; the approximation is the gap of the best q": (
                lambda *case: (sum(_split(*case)), _split(*case)[1])
            ),
            "you added log|precision|; it is subtracted": (
                lambda mean, covariance, loc, scale: (
                    _split(mean, covariance, loc, scale)[0] - np.linalg.slogdet(covariance)[1],
                    _split(mean, covariance, loc, scale)[1],
                )
            ),
            "you took the logarithm of a scale where that of its square belongs": (
                lambda mean, covariance, loc, scale: (
                    _split(mean, covariance, loc, scale)[0],
                    _split(mean, covariance, loc, scale)[1] + 0.5 * np.log(scale).sum(),
                )
            ),
            "you took the scales for variances; square them": (
                lambda mean, covariance, loc, scale: _split(mean, covariance, loc, scale**0.5)
            ),
            "you left the move of the mean out of the amortization": _split_without_move,
            "you left the scales out of the amortization": _split_without_stretch,
            "you priced the move by the diagonal of the precision alone": _split_diagonal_move,
            "you forgot the factor 1/2": (lambda *case: tuple(2 * part for part in _split(*case))),
            "you took the covariance where its inverse belongs": (
                lambda mean, covariance, loc, scale: _split(
                    mean, np.linalg.inv(covariance), loc, scale
                )
            ),
            "you averaged over the latents; the parts are sums": (
                lambda mean, *rest: tuple(part / len(mean) for part in _split(mean, *rest))
            ),
        },
        properties={
            "a posterior without tilt and a perfect encoder should give zero and zero": (
                _no_tilt_no_approximation
            )
        },
    ),
    "09.3": Function(
        truth=_generalization,
        cases=_evidences,
        mistakes={
            "you exchanged the two parts: that of the model comes first": (
                lambda *case: _generalization(*case)[::-1]
            ),
            "you gave the fall of the ELBO in place of the inference's part": (
                lambda a, b, c, d: (a.mean() - c.mean(), b.mean() - d.mean())
            ),
            "you gave the fall of the ELBO in place of the model's part": (
                lambda a, b, c, d: (b.mean() - d.mean(), _generalization(a, b, c, d)[1])
            ),
            "you subtracted the new gap from the seen one; the loss on new data is new - seen": (
                lambda *case: (_generalization(*case)[0], -_generalization(*case)[1])
            ),
            "you subtracted seen from new in the model's part": (
                lambda *case: (-_generalization(*case)[0], _generalization(*case)[1])
            ),
            "you subtracted seen from new in log p(x), and new from seen in the gap": (
                lambda *case: tuple(-part for part in _generalization(*case))
            ),
            "you gave the new gap alone; the seen images have a gap too": (
                lambda a, _, c, d: (a.mean() - c.mean(), (c - d).mean())
            ),
            "you gave the gap of the seen images; subtract it from the new one": (
                lambda a, b, c, _: (a.mean() - c.mean(), (a - b).mean())
            ),
            "you gave the two gaps; what is asked is how each part falls on new images": (
                lambda a, b, c, d: ((a - b).mean(), (c - d).mean())
            ),
            "you gave the falls of the ELBO and of log p(x)": (
                lambda a, b, c, d: (b.mean() - d.mean(), a.mean() - c.mean())
            ),
            "you summed over the images; the numbers of images differ, so take means": (
                lambda a, b, c, d: (a.sum() - c.sum(), (c - d).sum() - (a - b).sum())
            ),
            "you took medians; only means add up": (
                lambda a, b, c, d: (
                    np.median(a) - np.median(c),
                    np.median(c - d) - np.median(a - b),
                )
            ),
        },
        properties={"the two parts should add up to the fall of the mean ELBO": _adds_up},
    ),
    "09.4": Function(
        truth=_snr,
        cases=_gradients,
        mistakes={
            "you divided by the standard error of the mean; the noise is that of one draw": (
                lambda g: _snr(g) * np.sqrt(len(g))
            ),
            "you divided by the variance; the noise is its root": (
                lambda g: np.linalg.norm(g.mean(axis=0)) / g.var(axis=0, ddof=1).sum()
            ),
            "you divided by R; a variance with ddof=1 divides by R - 1": (
                lambda g: np.linalg.norm(g.mean(axis=0)) / np.sqrt(g.var(axis=0).sum())
            ),
            "you added standard deviations; variances add up": (
                lambda g: np.linalg.norm(g.mean(axis=0)) / g.std(axis=0, ddof=1).sum()
            ),
            "you averaged over the parameters in the noise; sum their variances": (
                lambda g: np.linalg.norm(g.mean(axis=0)) / np.sqrt(g.var(axis=0, ddof=1).mean())
            ),
            "you averaged the lengths of the gradients; take the length of their average": (
                lambda g: np.linalg.norm(g, axis=1).mean() / np.sqrt(g.var(axis=0, ddof=1).sum())
            ),
            "you averaged the ratios of single parameters; one ratio is asked for the group": (
                lambda g: np.mean(np.abs(g.mean(axis=0)) / g.std(axis=0, ddof=1))
            ),
            "you took the length of the single ratios; mean and noise of the group come first": (
                lambda g: np.linalg.norm(g.mean(axis=0) / g.std(axis=0, ddof=1))
            ),
            "you averaged over draws and parameters together; keep the parameters apart": (
                lambda g: np.abs(g.mean()) / g.std()
            ),
            "you took the determinant of the covariance; the noise is its trace": (
                lambda g: (
                    np.linalg.norm(g.mean(axis=0)) / np.sqrt(np.abs(np.linalg.det(np.cov(g.T))))
                )
            ),
            "you took the variance of the lengths": (
                lambda g: np.linalg.norm(g.mean(axis=0)) / np.linalg.norm(g, axis=1).std(ddof=1)
            ),
            "you squared the ratio": lambda g: _snr(g) ** 2,
            "you took the variance of all entries together": (
                lambda g: np.linalg.norm(g.mean(axis=0)) / g.std(ddof=1)
            ),
            "you averaged over the parameters where the draws belong": lambda g: _snr(g.T),
            "you inverted the ratio: noise over signal": lambda g: 1 / _snr(g),
        },
        properties={
            "a gradient in other units should have the same ratio": (
                lambda f: np.isclose(f(_gradients()[0][0]), f(1000 * _gradients()[0][0]))
            )
        },
    ),
    "09.5": Function(
        truth=_dreg,
        cases=_log_weights,
        mistakes={
            "you forgot the square: these are the weights of STL": _normalised,
            "you normalised once more after the square; the squares need not add up to one": (
                lambda log_w: _normalised(2 * log_w)
            ),
            "you normalised over the examples; the K samples of one example compete": (
                lambda log_w: _normalised(log_w, axis=1) ** 2
            ),
            "you normalised over all samples of all examples; each example has its own": (
                lambda log_w: _normalised(log_w, axis=None) ** 2
            ),
            "you exponentiated log weights near -1000, which gives zero: subtract the largest "
            "first": _underflowing,
            "you squared the log weights; square the weights": (
                lambda log_w: _normalised(log_w**2)
            ),
            "you left the weights unnormalised": lambda log_w: np.exp(2 * log_w),
            "you multiplied by K": lambda log_w: len(log_w) * _dreg(log_w),
            "you multiplied by K twice: a_k is w_k over the sum, not over the mean": (
                lambda log_w: len(log_w) ** 2 * _dreg(log_w)
            ),
            "you returned logarithms": lambda log_w: 2 * np.log(_normalised(log_w)),
            "you gave a_k - a_k^2, which belongs to the other form of the estimator": (
                lambda log_w: _normalised(log_w) - _dreg(log_w)
            ),
            "you normalised the log weights themselves": (
                lambda log_w: (log_w / log_w.sum(axis=0)) ** 2
            ),
            "you subtracted the largest weight and forgot to divide by the sum": (
                lambda log_w: np.exp(2 * (log_w - log_w.max(axis=0)))
            ),
            "you took a root where the square belongs": lambda log_w: _normalised(log_w) ** 0.5,
        },
        properties={
            "with K = 1 every weight should be one": (
                lambda f: np.allclose(f(np.array([[-3.0, 800.0, -2000.0]])), 1.0)
            ),
            "a constant added to all log weights of an example should change nothing": (
                lambda f: np.allclose(
                    f(_log_weights()[0][0]), f(_log_weights()[0][0] + 5.0), rtol=1e-4
                )
            ),
        },
    ),
}
