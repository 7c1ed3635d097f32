"""The exercises of lesson 02b: noise of a batch, two gradients, a safe KL, and z = mu."""

import math

import numpy as np

from vae_tf.course.checks import Function, Value

__all__ = ["EXERCISES"]


# 02b.1: the noise of a batch.

_SPREAD, _DIGITS, _DRAWS = 9.0, 100, 4

_BATCH = Value(
    _SPREAD / math.sqrt(_DIGITS * _DRAWS),
    {
        "you left out the draws: each digit has four": _SPREAD / math.sqrt(_DIGITS),
        "you left out the batch: the mean is over 100 digits as well": _SPREAD / math.sqrt(_DRAWS),
        "you divided by the number of draws where the standard deviation falls with its root": (
            _SPREAD / (_DIGITS * _DRAWS)
        ),
        "you took the root for the digits and not for the draws": (
            _SPREAD / (math.sqrt(_DIGITS) * _DRAWS)
        ),
        "you took the root for the draws and not for the digits": (
            _SPREAD / (math.sqrt(_DRAWS) * _DIGITS)
        ),
        "you gave the variance: the standard deviation is its root": (
            _SPREAD**2 / (_DIGITS * _DRAWS)
        ),
        "you gave the spread of a sum over the batch: the loss is a mean": (
            _SPREAD * math.sqrt(_DIGITS / _DRAWS)
        ),
        "you gave the spread of a sum over digits and draws: the loss is a mean": (
            _SPREAD * math.sqrt(_DIGITS * _DRAWS)
        ),
        "you added the draws to the digits: there are four for each": (
            _SPREAD / math.sqrt(_DIGITS + _DRAWS)
        ),
        "you gave the spread of a single draw: a mean varies less": _SPREAD,
        "you left out the draws, and took no root: the standard deviation falls with the root": (
            _SPREAD / _DIGITS
        ),
        "you left out the batch, and took no root: the standard deviation falls with the root": (
            _SPREAD / _DRAWS
        ),
        "you took 9 for a variance: it is a standard deviation": (
            math.sqrt(_SPREAD / (_DIGITS * _DRAWS))
        ),
        "you added the noise of the draws to that of the batch: all 400 draws are averaged, in one "
        "mean": math.hypot(_SPREAD / math.sqrt(_DIGITS), _SPREAD / math.sqrt(_DRAWS)),
        "you added two standard deviations: all 400 draws are averaged, in one mean": (
            _SPREAD / math.sqrt(_DIGITS) + _SPREAD / math.sqrt(_DRAWS)
        ),
    },
)


# 02b.2: the gradient that reaches the encoder.


_SHIFT = math.log(math.e - 1)  # the package's, where a scale of one has the raw number zero


def _softplus(raw):
    return np.logaddexp(0, raw)


def _sigmoid(raw):
    return 1 / (1 + np.exp(-raw))


def _backward(
    scale_of=_softplus,
    scale_slope=_sigmoid,
    kl=1.0,
    kl_by_scale=lambda scale: scale - 1 / scale,
    moved_by=lambda noise, _: noise,
    place=lambda loc, scale, noise: loc + scale * noise,
    mean=np.mean,
):
    """d/dloc and d/draw of mean_s f(z_s) - KL; each argument can be a mistake."""

    def gradient(slope, loc, raw, noise):
        scale = scale_of(raw)
        slopes = slope(place(loc, scale, noise)) * np.ones_like(noise)
        by_scale = mean(slopes * moved_by(noise, scale)) - kl * kl_by_scale(scale)
        return mean(slopes) - kl * loc, by_scale * scale_slope(raw)

    return gradient


def _two_means(slope, loc, raw, noise):
    scale = _softplus(raw)
    slopes = slope(loc + scale * noise)
    by_scale = slopes.mean() * noise.mean() - scale + 1 / scale
    return slopes.mean() - loc, by_scale * _sigmoid(raw)


def _raw_kl(slope, loc, raw, noise):
    """The KL's slope by the scale, as if it were that by the raw scale."""
    scale = _softplus(raw)
    slopes = slope(loc + scale * noise)
    return slopes.mean() - loc, (slopes * noise).mean() * _sigmoid(raw) - scale + 1 / scale


def _swapped(gradient):
    return lambda *case: gradient(*case)[::-1]


def _slopes():
    rng = np.random.default_rng(20)
    return [
        (lambda z: 1.0 - 3.0 * z, 0.4, 1.3, rng.normal(size=7)),
        (np.cos, -0.7, -0.6, rng.normal(size=50)),
        (lambda z: z**3, 1.1, -2.0, rng.normal(size=11)),
        (lambda z: np.exp(-(z**2)), 0.2, 2.5, rng.normal(size=3)),
    ]


_GRADIENT = Function(
    _backward(),
    _slopes,
    {
        "you left out the KL: its slopes, loc and scale - 1/scale, are subtracted": _backward(kl=0),
        "you added the slopes of the KL: the ELBO is reconstruction minus KL": _backward(kl=-1),
        "you stopped at the scale: d scale / d raw is the sigmoid of raw": (
            _backward(scale_slope=lambda _: 1)
        ),
        "you left out the KL, and stopped at the scale: d scale / d raw is the sigmoid of raw": (
            _backward(kl=0, scale_slope=lambda _: 1)
        ),
        "you multiplied by the softplus where its slope, the sigmoid, is asked": (
            _backward(scale_slope=_softplus)
        ),
        "you multiplied by the slope of the sigmoid: the slope of the softplus is the sigmoid": (
            _backward(scale_slope=lambda raw: _sigmoid(raw) * (1 - _sigmoid(raw)))
        ),
        "you took the raw number for the scale": (
            _backward(scale_of=lambda raw: raw, scale_slope=lambda _: 1)
        ),
        "you took the raw number for the scale, though you used the slope of the softplus": (
            _backward(scale_of=lambda raw: raw)
        ),
        "you used exp(raw / 2), the scale of a log-variance: softplus is asked": (
            _backward(lambda raw: np.exp(raw / 2), lambda raw: np.exp(raw / 2) / 2)
        ),
        "you used exp(raw): softplus is asked": _backward(np.exp, np.exp),
        "you left out the noise: dz/dscale is the noise": (
            _backward(moved_by=lambda noise, _: np.ones_like(noise))
        ),
        "you multiplied by scale * noise: dz/dscale is the noise alone": (
            _backward(moved_by=lambda noise, scale: scale * noise)
        ),
        "you took the slope at the noise: it belongs at z = loc + scale * noise": (
            _backward(place=lambda _loc, _scale, noise: noise)
        ),
        "you took the slope at loc, as if there were no noise": (
            _backward(place=lambda loc, _, noise: loc + 0 * noise)
        ),
        "you moved z by the scale squared: z = loc + scale * noise": (
            _backward(place=lambda loc, scale, noise: loc + scale**2 * noise)
        ),
        "you moved z by the root of the scale: it is a standard deviation": (
            _backward(place=lambda loc, scale, noise: loc + scale**0.5 * noise)
        ),
        "you forgot the -1/scale in the slope of the KL, which has a log scale": (
            _backward(kl_by_scale=lambda scale: scale)
        ),
        "you gave the KL the slope scale - 1: that of -log scale is -1/scale": (
            _backward(kl_by_scale=lambda scale: scale - 1)
        ),
        "you averaged z first, and the noise: f' is taken at each draw": (
            lambda slope, loc, raw, noise: _backward()(
                slope, loc, raw, noise[:1] * 0 + noise.mean()
            )
        ),
        "you subtracted loc^2 / 2: its slope by loc is loc": (
            lambda slope, loc, raw, noise: (
                _backward(kl=0)(slope, loc, raw, noise)[0] - loc**2 / 2,
                _backward()(slope, loc, raw, noise)[1],
            )
        ),
        "you divided the noise by the scale, as the score function does: dz/dscale is the noise": (
            _backward(moved_by=lambda noise, scale: noise / scale)
        ),
        "you divided by the scale squared in the slope of the KL: that of -log scale is -1/scale": (
            _backward(kl_by_scale=lambda scale: scale - 1 / scale**2)
        ),
        "you forgot the half: (scale^2 - 1)/2 has the slope scale": (
            _backward(kl_by_scale=lambda scale: 2 * scale - 1 / scale)
        ),
        "you left the scale itself out of the slope of the KL, scale - 1/scale": (
            _backward(kl_by_scale=lambda scale: -1 / scale)
        ),
        "you turned the slope of the KL by the scale round: it is scale - 1/scale": (
            _backward(kl_by_scale=lambda scale: 1 / scale - scale)
        ),
        "you subtracted the KL itself where its slope by the scale is asked": (
            _backward(kl_by_scale=lambda scale: (scale**2 - 1) / 2 - np.log(scale))
        ),
        "you took the sigmoid of the scale: the slope of the softplus is the sigmoid of raw": (
            _backward(scale_slope=lambda raw: _sigmoid(_softplus(raw)))
        ),
        "you took the sigmoid of -raw: the slope of the softplus is the sigmoid of raw": (
            _backward(scale_slope=lambda raw: _sigmoid(-raw))
        ),
        "you took exp(raw) for the slope of the softplus: divide it by 1 + exp(raw)": (
            _backward(scale_slope=np.exp)
        ),
        "you divided by the sigmoid: the chain rule multiplies": (
            _backward(scale_slope=lambda raw: 1 / _sigmoid(raw))
        ),
        "you left the KL out of d/dloc: its slope there is loc": (
            lambda *case: (_backward(kl=0)(*case)[0], _backward()(*case)[1])
        ),
        "you left the KL out of d/draw: its slope by the scale is scale - 1/scale": (
            lambda *case: (_backward()(*case)[0], _backward(kl=0)(*case)[1])
        ),
        "you returned the gradient of the loss, minus the ELBO, in d/draw alone": (
            lambda *case: (_backward()(*case)[0], -_backward()(*case)[1])
        ),
        "you added the shift log(e - 1): here the scale is softplus(raw)": (
            lambda slope, loc, raw, noise: _backward()(slope, loc, raw + _SHIFT, noise)
        ),
        "you left the KL without the sigmoid: its scale comes from raw, too": _raw_kl,
        "you multiplied two means: the mean of a product is asked": _two_means,
        "you summed over the draws: the reconstruction is their mean": _backward(mean=np.sum),
        "you returned the gradient of each draw: their mean is asked": _backward(mean=lambda v: v),
        "you returned d/draw first: the order is d/dloc, d/draw": _swapped(_backward()),
    },
    {
        "it should be zero where q is the prior and f has no slope": (
            lambda gradient: np.allclose(
                gradient(np.zeros_like, 0.0, math.log(math.e - 1), np.array([1.0, -2.0])), 0
            )
        ),
    },
)


# 02b.3: the score function gradient, each draw with the mean of the others as baseline.


def _others(values):
    """The mean of all values but one, for each of them."""
    return (values.sum() - values) / (len(values) - 1)


def _right_loc(noise, scale):
    return noise / scale


def _right_scale(noise, scale):
    return (noise**2 - 1) / scale


def _scored(
    score_loc=_right_loc, score_scale=_right_scale, left=lambda v: v - _others(v), mean=np.mean
):
    """The estimate with other scores, functions of (noise, scale), or another baseline."""

    def gradient(f, loc, scale, noise):
        values = left(f(loc + scale * noise))
        return mean(values * score_loc(noise, scale)), mean(values * score_scale(noise, scale))

    return gradient


_score = _scored()


def _with_z_for_distance(f, loc, scale, noise):
    """z where z - loc belongs."""
    values = f(loc + scale * noise)
    values, z = values - _others(values), loc + scale * noise
    return (values * z).mean() / scale**2, (values * ((z / scale) ** 2 - 1)).mean() / scale


def _with_two_means(left):
    """The mean of the values times the mean of the scores."""

    def gradient(f, loc, scale, noise):
        values = left(f(loc + scale * noise))
        scores = _right_loc(noise, scale), _right_scale(noise, scale)
        return tuple(values.mean() * score.mean() for score in scores)

    return gradient


def _with_f_at_loc(f, loc, scale, noise):
    return _scored(left=lambda v: v - f(np.full_like(noise, loc)))(f, loc, scale, noise)


def _by_differences(f, loc, scale, noise):
    """The pathwise gradient, with a difference quotient for the slope."""
    z = loc + scale * noise
    slopes = (f(z + 1e-5) - f(z - 1e-5)) / 2e-5
    return slopes.mean(), (slopes * noise).mean()


def _integrands():
    rng = np.random.default_rng(30)
    return [
        (lambda z: 1.0 - 3.0 * z**2, 0.4, 1.3, rng.normal(size=7)),
        (lambda z: np.cos(4 * z), -0.7, 0.6, rng.normal(size=50)),
        (lambda z: (z > 0).astype("float64"), 0.1, 0.2, rng.normal(size=40)),
        (lambda z: -100.0 - np.abs(z), 2.0, 3.0, rng.normal(size=5)),
    ]


_SCORE = Function(
    _score,
    _integrands,
    {
        "you used no baseline": _scored(left=lambda v: v),
        "you subtracted the mean over all draws, their own included: too small by 1 - 1/S": (
            _scored(left=lambda v: v - v.mean())
        ),
        "you divided the sum of the other S - 1 draws by S": (
            _scored(left=lambda v: v - (v.sum() - v) / len(v))
        ),
        "you divided the sum of all S draws by S - 1: a draw's own f must be left out": (
            _scored(left=lambda v: v - v.sum() / (len(v) - 1))
        ),
        "you added the baseline": _scored(left=lambda v: v + _others(v)),
        "you took the baseline for f: they are subtracted": _scored(left=_others),
        "you forgot the minus one, and used no baseline": (
            _scored(score_scale=lambda noise, scale: noise**2 / scale, left=lambda v: v)
        ),
        "you divided the noise by the scale squared: (z - loc) / scale^2 is noise / scale": (
            _scored(
                lambda noise, scale: noise / scale**2,
                lambda noise, scale: (noise**2 - 1) / scale**2,
            )
        ),
        "you divided the first by the scale squared: (z - loc) / scale^2 is noise / scale": (
            _scored(lambda noise, scale: noise / scale**2)
        ),
        "you divided z - loc by the scale and not by its square": _scored(lambda noise, _: noise),
        "you did not divide by the scale: d log q / dloc is noise / scale": (
            _scored(lambda noise, _: noise, lambda noise, _: noise**2 - 1)
        ),
        "you divided the square by the scale squared, and one by the scale: both by the scale, for "
        "(z - loc)^2 / scale^3 is noise^2 / scale": (
            _scored(score_scale=lambda noise, scale: noise**2 - 1 / scale)
        ),
        "you divided by the scale cubed but measured z - loc in scales: (z - loc)^2 / scale^3 "
        "is noise^2 / scale": (
            _scored(score_scale=lambda noise, scale: noise**2 / scale**3 - 1 / scale)
        ),
        "you differentiated by the variance: d/dscale is asked": (
            _scored(score_scale=lambda noise, scale: (noise**2 - 1) / (2 * scale**2))
        ),
        "you took the same score for both: that of the scale is (noise^2 - 1) / scale": (
            _scored(score_scale=_right_loc)
        ),
        "you forgot to subtract loc: the score has z - loc": _with_z_for_distance,
        "you put z where the noise belongs: the score has (z - loc) / scale": (
            lambda f, loc, scale, noise: _scored(
                lambda noise, scale: (loc + scale * noise) / scale,
                lambda noise, scale: ((loc + scale * noise) ** 2 - 1) / scale,
            )(f, loc, scale, noise)
        ),
        "you put z - loc where the noise belongs: divide it by the scale first": (
            _scored(lambda noise, _: noise, lambda noise, scale: scale * noise**2 - 1 / scale)
        ),
        "you used log q itself for its slopes: the score is d log q / dloc and d log q / dscale": (
            _scored(*2 * [lambda noise, scale: -(noise**2) / 2 - np.log(scale)])
        ),
        "you multiplied two means: the mean of f times the score is asked, draw by draw": (
            _with_two_means(lambda v: v)
        ),
        "you multiplied two means, of which the first is zero: the mean of the product is asked": (
            _with_two_means(lambda v: v - _others(v))
        ),
        "you used the baseline for d/dloc only": (
            lambda *case: (_score(*case)[0], _scored(left=lambda v: v)(*case)[1])
        ),
        "you used the baseline for d/dscale only": (
            lambda *case: (_scored(left=lambda v: v)(*case)[0], _score(*case)[1])
        ),
        "you took f(loc) for the baseline: the mean of f over the other draws is asked": (
            _with_f_at_loc
        ),
        "you subtracted the sum of f over the other draws: divide it by S - 1": (
            _scored(left=lambda v: v - (v.sum() - v))
        ),
        "you multiplied f by the density and not by the score": (
            _scored(
                *2 * [lambda noise, scale: np.exp(-(noise**2) / 2) / scale / math.sqrt(2 * math.pi)]
            )
        ),
        "you turned the sign of the score: d log q / dloc is (z - loc) / scale^2": (
            _scored(lambda noise, scale: -noise / scale)
        ),
        "you multiplied by the scale: d log q / dloc is noise / scale": (
            _scored(lambda noise, scale: noise * scale, lambda noise, scale: (noise**2 - 1) * scale)
        ),
        "you evaluated f at the noise: it belongs at z = loc + scale * noise": (
            lambda f, loc, scale, noise: _score(lambda _: f(noise), loc, scale, noise)
        ),
        "you used a slope of f: the score function gradient needs none, and a step has none": (
            _by_differences
        ),
        "you summed over the draws: the estimate is their mean": _scored(mean=np.sum),
        "you divided the sum over the draws by S - 1: the estimate is their mean": (
            _scored(mean=lambda v: v.sum() / (len(v) - 1))
        ),
        "you returned the gradient of each draw: their mean is asked": _scored(mean=lambda v: v),
        "you returned d/dscale first: the order is d/dloc, d/dscale": _swapped(_score),
    },
    {
        "it should not change if 1000 is added to f": (
            lambda gradient: np.allclose(
                gradient(np.sin, 0.3, 0.7, np.array([1.0, -2.0, 0.5])),
                gradient(lambda z: np.sin(z) + 1000, 0.3, 0.7, np.array([1.0, -2.0, 0.5])),
            )
        ),
    },
)


# 02b.4: a KL from raw scales that survives both ends.


def _log_softplus(raw):
    return np.where(raw < -30, raw, np.log(np.logaddexp(0, np.maximum(raw, -30))))


def _kl_from_raw(scale_of=_softplus, log_scale_of=_log_softplus, half=0.5, one=1.0, total=None):
    """KL(N(loc, scale^2) || N(0, 1)) by latent, summed; each argument can be a mistake."""

    def kl(loc, raw):
        with np.errstate(all="ignore"):
            scale = scale_of(raw)
            log_scale = np.log(scale) if log_scale_of is None else log_scale_of(raw)
            each = half * (loc**2 + scale**2 - one) - log_scale
        return each.sum(-1) if total is None else total(each)

    return kl


def _one_plus_exp(raw):
    return np.log(1 + np.exp(raw))


def _reversed(loc, raw):
    scale = _softplus(raw)
    with np.errstate(all="ignore"):
        return (0.5 * ((1 + loc**2) / scale**2 - 1) + _log_softplus(raw)).sum(-1)


def _loc_as_it_is(loc, raw):
    return _kl_from_raw()(0 * loc, raw) + loc.sum(-1) / 2


def _raw_scales():
    rng = np.random.default_rng(40)
    locs = rng.normal(size=(5, 3))
    low, high = (
        np.array([[-1000.0, -60.0], [0.3, -5.0]]),
        np.array([[1000.0, 2.0, 90.0], [500.0, 0.0, -1.0]]),
    )
    return [(locs, 2 * rng.normal(size=(5, 3))), (locs[:2, :2], low), (locs[:2], high)]


_MACHINE = [np.finfo(dtype).eps for dtype in ("float32", "float64")] + [np.finfo("float64").tiny]
_FLOORS = [10.0**-k for k in (3, 4, 5, 6, 7, 8, 9, 10, 12, 15, 16, 20, 30, 38, 300)] + _MACHINE


_SAFE_KL = Function(
    _kl_from_raw(),
    _raw_scales,
    {
        "you took the logarithm of a softplus that is zero at raw = -1000: far below zero log "
        "softplus(raw) is raw itself": _kl_from_raw(log_scale_of=None),
        "you computed log(1 + exp(raw)), infinite at raw = 1000 and zero at -1000: np.logaddexp(0, "
        "raw) repairs the first, and far below zero its logarithm is raw itself": (
            _kl_from_raw(_one_plus_exp, None)
        ),
        "you computed log(1 + exp(raw)), which is infinite at raw = 1000: np.logaddexp(0, raw)": (
            _kl_from_raw(_one_plus_exp)
        ),
        **{
            f"you put a floor of {floor:g} under the scale: finite, but not this KL": (
                _kl_from_raw(lambda raw, floor=floor: floor + _softplus(raw), None)
            )
            for floor in _FLOORS
        },
        **{
            f"you clipped the raw scale at {low}: finite, but not this KL": (
                _kl_from_raw(lambda raw, low=low: _softplus(np.maximum(raw, low)), None)
            )
            for low in (-10, -20, -30, -40, -50, -60, -80, -88, -100, -500, -700)
        },
        **{
            f"you clipped the raw scale to [-{ends}, {ends}]: finite, but not this KL": (
                _kl_from_raw(lambda raw, ends=ends: _softplus(np.clip(raw, -ends, ends)), None)
            )
            for ends in (10, 20, 30, 40, 50, 60, 80, 88, 100, 500, 700)
        },
        "you took raw for log softplus(raw) below zero: it is so only far below": (
            _kl_from_raw(log_scale_of=lambda raw: np.where(raw < 0, raw, _log_softplus(raw)))
        ),
        "you took raw for the scale above zero: softplus is so only far above": (
            _kl_from_raw(lambda raw: np.where(raw > 0, raw, _softplus(raw)), None)
        ),
        "you used the package's scale, with its floor and shift: here it is softplus(raw)": (
            _kl_from_raw(lambda raw: 1e-6 + _softplus(raw + _SHIFT), None)
        ),
        "you clipped the KL where it was infinite: it is finite, and log softplus(raw) is raw": (
            lambda loc, raw: np.nan_to_num(_kl_from_raw(log_scale_of=None)(loc, raw))
        ),
        "you left out latents whose scale is zero: far below zero log softplus(raw) is raw": (
            _kl_from_raw(
                log_scale_of=None, total=lambda each: np.where(np.isinf(each), 0, each).sum(-1)
            )
        ),
        "you did not square loc": _loc_as_it_is,
        "you squared the sum of loc and scale: the squares are added": (
            lambda loc, raw: _kl_from_raw()(loc, raw) + (loc * _softplus(raw)).sum(-1)
        ),
        "you added the shift log(e - 1): here the scale is softplus(raw)": (
            _kl_from_raw(
                lambda raw: _softplus(raw + math.log(math.e - 1)),
                lambda raw: _log_softplus(raw + math.log(math.e - 1)),
            )
        ),
        "you took the raw number for the logarithm of the scale everywhere": (
            _kl_from_raw(log_scale_of=lambda raw: raw)
        ),
        "you used exp(raw / 2), the scale of a log-variance: softplus is asked": (
            _kl_from_raw(lambda raw: np.exp(raw / 2), lambda raw: raw / 2)
        ),
        "you used exp(raw): softplus is asked": _kl_from_raw(np.exp, lambda raw: raw),
        "you took softplus(raw) for the variance: it is the scale": _kl_from_raw(
            lambda raw: np.sqrt(_softplus(raw)), lambda raw: _log_softplus(raw) / 2
        ),
        "you did not square the scale": _kl_from_raw(lambda raw: np.sqrt(_softplus(raw))),
        "you forgot the minus one": _kl_from_raw(one=0.0),
        "you forgot the half before the squares": _kl_from_raw(half=1.0),
        "you halved the logarithm too: it stands alone, -log scale": (
            _kl_from_raw(log_scale_of=lambda raw: _log_softplus(raw) / 2)
        ),
        "you added the logarithm: -log scale grows for a small scale": (
            _kl_from_raw(log_scale_of=lambda raw: -_log_softplus(raw))
        ),
        "you left out loc": lambda loc, raw: _kl_from_raw()(0 * loc, raw),
        "you reversed the KL: q comes first": _reversed,
        "you averaged over the latents where the KL is a sum": (
            _kl_from_raw(total=lambda each: each.mean(-1))
        ),
        "you returned the KL of each latent: they add up": _kl_from_raw(total=lambda each: each),
        "you summed over the examples, too: each has its own": _kl_from_raw(total=np.sum),
        "you averaged over the examples: each has its own": (
            _kl_from_raw(total=lambda each: each.sum(-1).mean())
        ),
        "you summed over the examples and kept the latents: the last axis is summed": (
            _kl_from_raw(total=lambda each: each.sum(0))
        ),
    },
    {
        "it should be zero where q is the prior": (
            lambda kl: np.allclose(kl(np.zeros((1, 2)), np.full((1, 2), math.log(math.e - 1))), 0)
        ),
    },
)


# 02b.5: what z = mu promises too much.


def _excess(weights, scale, noise_scale):
    return 0.5 * scale**2 @ (weights**2).sum(0) / noise_scale**2


def _linear():
    rng = np.random.default_rng(50)
    shapes = [(6, 3, 5), (4, 1, 7), (2, 4, 3)]  # D, L, B
    return [
        (rng.normal(size=(d, latents)), rng.uniform(0.1, 2, size=(b, latents)), noise_scale)
        for (d, latents, b), noise_scale in zip(shapes, (0.5, 0.1, 2.0), strict=True)
    ]


_EXCESS = Function(
    _excess,
    _linear,
    {
        "you did not square the scale of q": (
            lambda w, s, noise_scale: 0.5 * s @ (w**2).sum(0) / noise_scale**2
        ),
        "you did not square the noise scale: a Normal divides by its variance": (
            lambda w, s, noise_scale: 0.5 * s**2 @ (w**2).sum(0) / noise_scale
        ),
        "you left out the noise scale": lambda w, s, _: 0.5 * s**2 @ (w**2).sum(0),
        "you summed the weights over D and squared then: squares are summed": (
            lambda w, s, noise_scale: 0.5 * s**2 @ w.sum(0) ** 2 / noise_scale**2
        ),
        "you added the latents before squaring: their noise is independent, squares are summed": (
            lambda w, s, noise_scale: 0.5 * ((s @ w.T) ** 2).sum(-1) / noise_scale**2
        ),
        "you averaged over D: a log-likelihood is a sum over it": (
            lambda w, s, noise_scale: 0.5 * s**2 @ (w**2).mean(0) / noise_scale**2
        ),
        "you averaged over the latents: they add up": (
            lambda w, s, noise_scale: _excess(w, s, noise_scale) / s.shape[1]
        ),
        "you averaged over D and over the latents: both are sums": (
            lambda w, s, noise_scale: _excess(w, s, noise_scale) / w.size
        ),
        "you did not square the weights": (
            lambda w, s, noise_scale: 0.5 * s**2 @ w.sum(0) / noise_scale**2
        ),
        "you averaged over the examples: each has its own": (
            lambda w, s, noise_scale: _excess(w, s, noise_scale).mean()
        ),
        "you summed over the examples: each has its own": (
            lambda w, s, noise_scale: _excess(w, s, noise_scale).sum()
        ),
        "you gave each latent's part: they add up": (
            lambda w, s, noise_scale: 0.5 * s**2 * (w**2).sum(0) / noise_scale**2
        ),
        "you left out the scale of q": (
            lambda w, s, noise_scale: np.full(len(s), 0.5 * (w**2).sum() / noise_scale**2)
        ),
        "you multiplied two sums: each scale goes with its own column of W": (
            lambda w, s, noise_scale: 0.5 * (s**2).sum(-1) * (w**2).sum() / noise_scale**2
        ),
        "you gave each pixel's part: they add up": (
            lambda w, s, noise_scale: 0.5 * s**2 @ (w**2).T / noise_scale**2
        ),
        "you multiplied by the noise variance: a Normal divides by it": (
            lambda w, s, noise_scale: 0.5 * s**2 @ (w**2).sum(0) * noise_scale**2
        ),
        "you kept the constant D log tau: both terms have it, and it cancels": (
            lambda w, s, noise_scale: _excess(w, s, noise_scale) + len(w) * np.log(noise_scale)
        ),
        "you lost the constant D log tau of one term: both have it, and it cancels": (
            lambda w, s, noise_scale: _excess(w, s, noise_scale) - len(w) * np.log(noise_scale)
        ),
        "you added the noise of x, half a nat a pixel: x is given, and no draw": (
            lambda w, s, noise_scale: _excess(w, s, noise_scale) + 0.5 * len(w)
        ),
        "you squared neither W nor the scale": (
            lambda w, s, noise_scale: 0.5 * s @ w.sum(0) / noise_scale**2
        ),
        "you took the norm of each column of W where its square is asked": (
            lambda w, s, noise_scale: 0.5 * s**2 @ np.sqrt((w**2).sum(0)) / noise_scale**2
        ),
        "you squared the noise scale twice": (
            lambda w, s, noise_scale: 0.5 * s**2 @ (w**2).sum(0) / noise_scale**4
        ),
        "you added the expected half nats, (1 - sigma^2) / 2: here the decoder is exact": (
            lambda w, s, noise_scale: _excess(w, s, noise_scale) + 0.5 * (1 - s**2).sum(-1)
        ),
        "you subtracted the KL's part as well: it is the same in both, and cancels": (
            lambda w, s, noise_scale: (
                _excess(w, s, noise_scale) - (0.5 * (s**2 - 1) - np.log(s)).sum(-1)
            )
        ),
        "you used the half nat for each latent, which holds for the best q only": (
            lambda _w, s, _: 0.5 * (1 - s**2).sum(-1)
        ),
    },
    {
        "it should be zero for a decoder that ignores z": (
            lambda excess: np.allclose(excess(np.zeros((3, 2)), np.ones((4, 2)), 0.5), 0)
        ),
    },
)


EXERCISES = {
    "02b.1": _BATCH,
    "02b.2": _GRADIENT,
    "02b.3": _SCORE,
    "02b.4": _SAFE_KL,
    "02b.5": _EXCESS,
}
