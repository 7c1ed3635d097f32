"""The exercises of lesson 02: Jensen's price, what draws are worth, step 7, a bound from above."""

import math

import numpy as np

from vae_tf.course.checks import Function, Value

__all__ = ["EXERCISES"]

# 02.1: Jensen's gap of a log-normal weight, w = exp(s e), e ~ N(0, 1).

_S = 1.3

_JENSEN = Value(
    _S**2 / 2,
    {
        "you forgot the factor 1/2: the mean of exp(s e) is exp(s^2 / 2)": _S**2,
        "you halved s, where its square is halved": _S / 2,
        "you gave s, which is the standard deviation of log w": _S,
        "you left out the logarithm: the gap is log E[w] - E[log w]": math.exp(_S**2 / 2),
        "you took E[w] for 1 + s^2 / 2: these are only two terms of the exponential series": (
            math.log(1 + _S**2 / 2)
        ),
        "you took E[e^2] = 1 into the exponent: exp(s e) has the mean exp(s^2 / 2)": math.exp(_S),
        "you gave the variance of w: the gap is a difference of logarithms": (
            math.expm1(_S**2) * math.exp(_S**2)
        ),
        "you gave E[log w], which is zero: it is one of the two terms": 0.0,
        "you took one logarithm too many: exp(s^2 / 2) is E[w], and s^2 / 2 its logarithm": (
            math.log(_S**2 / 2)
        ),
        "you averaged over e = 1 and e = -1, a coin: e is Normal here": math.log(math.cosh(_S)),
        "you took the difference of E[w] and exp(E[log w]), which is 1: the gap is the difference "
        "of their logarithms": math.expm1(_S**2 / 2),
        "you took the logarithm of 1 + s^2: s^2 is the variance of log w, not that of w": (
            math.log1p(_S**2)
        ),
        "you averaged s |e|, without the sign: E[log w] = s E[e] is zero": (
            _S * math.sqrt(2 / math.pi)
        ),
        "you forgot the factor 1/2, and left out the logarithm": math.exp(_S**2),
        "you gave log(s), where s is the standard deviation of log w": math.log(_S),
    },
)


# 02.2: what share of the draws counts.


def _scaled(log_w):
    """The weights of each example in units of its largest."""
    return np.exp(log_w - log_w.max(axis=0))


def _share(w, axis=0):
    return w.sum(axis) ** 2 / (w.shape[axis] * (w**2).sum(axis))


def _effective_share(log_w):
    return _share(_scaled(log_w))


def _entropy_share(log_w):
    w = _scaled(log_w) / _scaled(log_w).sum(0)
    return np.exp(-np.sum(w * np.log(np.where(w > 0, w, 1)), axis=0)) / len(log_w)


def _share_above(tiny):
    """The share with a small number under the line, against 0/0."""

    def share(log_w):
        w = np.exp(log_w)
        return w.sum(0) ** 2 / (len(w) * (w**2).sum(0) + tiny)

    return share


def _share_by_variance(ddof):
    def share(log_w):
        w = _scaled(log_w)
        freed = len(w) / (len(w) - ddof) if len(w) > ddof else np.nan
        return 1 / (1 + freed * w.var(0) / w.mean(0) ** 2)

    return share


def _log_weights():
    """Log weights [K, B]: moderate, near -1000, far apart, one draw, one that dominates, a zero."""
    rng = np.random.default_rng(20)
    moderate = rng.normal(-3, 1.5, (7, 4))
    far = rng.normal(-1000, 1.5, (5, 3))
    apart = rng.normal(-20, 1.5, (3, 2)) - np.array([0.0, 900.0])
    one = rng.normal(-40, 5, (1, 2))
    alone = rng.normal(-20, 1, (6, 2)) + np.array([[30.0], [0], [0], [0], [0], [0]])
    with_zero = rng.normal(-5, 1, (4, 3))
    with_zero[2, 1] = -np.inf
    return [(log_w,) for log_w in (moderate, far, apart, one, alone, with_zero)]


_SHARE = Function(
    _effective_share,
    _log_weights,
    {
        "you left out the division by K: that is the effective number of draws, not their share": (
            lambda log_w: len(log_w) * _effective_share(log_w)
        ),
        "you turned the fraction upside down: a share is never above one": (
            lambda log_w: 1 / _effective_share(log_w)
        ),
        "you multiplied by K where the sum of squares is multiplied by it": (
            lambda log_w: len(log_w) ** 2 * _effective_share(log_w)
        ),
        "you exponentiated log weights near -1000 and divided zero by zero: subtract the largest "
        "of each example first": lambda log_w: _share(np.exp(log_w)),
        "you subtracted one largest for all examples, and those far below it still underflow: each "
        "example needs its own": lambda log_w: _share(np.exp(log_w - log_w.max())),
        "you squared the sum below the line too: there, each weight is squared before the sum": (
            lambda log_w: np.full(log_w.shape[1], 1 / len(log_w))
        ),
        "you forgot the square of the sum above the line": (
            lambda log_w: _scaled(log_w).sum(0) / (len(log_w) * (_scaled(log_w) ** 2).sum(0))
        ),
        "you forgot the squares below the line": lambda log_w: _scaled(log_w).mean(0),
        "you used the logarithms where the weights themselves are asked": _share,
        "you subtracted the largest, and did not exponentiate: the weights themselves are asked": (
            lambda log_w: _share(log_w - log_w.max(0))
        ),
        "you subtracted the mean log weight, which is minus infinity if one weight is zero: "
        "subtract the largest": lambda log_w: _share(np.exp(log_w - log_w.mean(0))),
        "you returned the logarithm of the share: exponentiate it at the end": (
            lambda log_w: np.log(_effective_share(log_w))
        ),
        "you divided by the number of all weights, K times B: K is the length of the first axis": (
            lambda log_w: _effective_share(log_w) / log_w.shape[1]
        ),
        "you gave the sum of the squared normalised weights: the share is 1 over K times it": (
            lambda log_w: 1 / (len(log_w) * _effective_share(log_w))
        ),
        "you gave the part of the largest weight: all K weights are asked, through their squares": (
            lambda log_w: 1 / _scaled(log_w).sum(0)
        ),
        "you summed over the examples: the K draws are the first axis": (
            lambda log_w: _share(np.exp(log_w - log_w.max(1, keepdims=True)), axis=1)
        ),
        "you put all examples together: each has a share of its own": (
            lambda log_w: _share(np.exp(log_w - log_w.max()).ravel())
        ),
        "you summed over draws and examples: each example has a share of its own": (
            lambda log_w: _share(_scaled(log_w).ravel())
        ),
        "you averaged over the examples: each has a share of its own": (
            lambda log_w: _effective_share(log_w).mean()
        ),
        "you divided by K once too often: with the mean weight above the line, the squares below "
        "it are averaged too": lambda log_w: _effective_share(log_w) / len(log_w),
        "you subtracted var(w) / mean(w)^2 from one: the share is 1 over one plus that": (
            lambda log_w: 1 - _scaled(log_w).var(0) / _scaled(log_w).mean(0) ** 2
        ),
        "you took the entropy of the weights: that is another effective number, here squares are "
        "asked": _entropy_share,
        "you gave per cent: a share lies between 0 and 1": (
            lambda log_w: 100 * _effective_share(log_w)
        ),
        "you returned the logarithm of the effective number: exponentiate it and divide by K": (
            lambda log_w: np.log(len(log_w) * _effective_share(log_w))
        ),
        "you divided by the number of examples: K is the length of the first axis": (
            lambda log_w: len(log_w) * _effective_share(log_w) / log_w.shape[1]
        ),
        "you divided the log weights by the largest: to divide the weights, subtract it": (
            lambda log_w: _share(np.exp(log_w / log_w.max(0)))
        ),
        "you divided the variance of the weights by K - 1: the share has the mean of K squares": (
            _share_by_variance(1)
        ),
        "you left out the one: with v = var(w) / mean(w)^2 the share is 1 / (1 + v)": (
            lambda log_w: 1 / (1 / _effective_share(log_w) - 1)
        ),
        "you counted the draws above the mean weight: each weight counts, through its square": (
            lambda log_w: (_scaled(log_w) > _scaled(log_w).mean(0)).mean(0)
        ),
        **{
            f"you put a number such as {tiny:g} under the line, and the share became zero: "
            "subtract the largest log weight first": _share_above(tiny)
            for tiny in (1e-6, 1e-8, 1e-12, 1e-16, 1e-30, 1e-300)
        },
        "you returned the normalised weights: one number for each example is asked": (
            lambda log_w: _scaled(log_w) / _scaled(log_w).sum(0)
        ),
    },
    {
        "it should be 1 where all weights are the same": (
            lambda f: np.allclose(f(np.full((9, 2), -800.0)), 1)
        ),
        "it should not change if all log weights rise by 5 nats": (
            lambda f: np.allclose(
                f(np.array([[-2.0], [-4.0], [-3.0]]) + 5), f(np.array([[-2.0], [-4.0], [-3.0]]))
            )
        ),
    },
)


# 02.3: step 7 in closed form, for a straight decoder: z ~ N(0, 1), x|z ~ N(slope z, noise^2).


def _log_normal(x, loc, scale):
    return -0.5 * ((x - loc) / scale) ** 2 - np.log(scale) - 0.5 * math.log(2 * math.pi)


def _kl(loc, scale):
    return 0.5 * (loc**2 + scale**2 - 1) - np.log(scale)


def _straight_elbo(x, loc, scale, slope, noise):
    spread = slope**2 * scale**2 / (2 * noise**2)
    return _log_normal(x, slope * loc, noise) - spread - _kl(loc, scale)


def _elbo_of(slope_power=2, scale_power=2, noise_power=-2, factor=0.5, kl=_kl):
    """An ELBO with another spread of the reconstruction, or another KL."""

    def elbo(x, loc, scale, slope, noise):
        spread = factor * slope**slope_power * scale**scale_power * noise**noise_power
        return _log_normal(x, slope * loc, noise) - spread - kl(loc, scale)

    return elbo


def _distance_elbo(factor):
    """An ELBO with a squared distance in the place of the log likelihood."""
    return lambda x, loc, scale, slope, _noise: (
        -factor * ((x - slope * loc) ** 2 + slope**2 * scale**2) - _kl(loc, scale)
    )


def _squared_elbo(squared, power=2, factor=0.5):
    """An ELBO with another squared distance, or another division of it by the noise."""

    def elbo(x, loc, scale, slope, noise):
        constants = _log_normal(x, x, noise)
        distance = squared(x, loc, scale, slope)
        return constants - factor * distance / noise**power - _kl(loc, scale)

    return elbo


def _right_square(x, loc, scale, slope):
    return (x - slope * loc) ** 2 + slope**2 * scale**2


def _lines():
    """x, loc and scale [B], slope and noise numbers: moderate, a negative slope, precise data."""
    rng = np.random.default_rng(21)
    cases = []
    for batch, slope, noise in ((5, 0.7, 0.9), (2, -1.6, 0.4), (3, 2.5, 0.05)):
        x, loc = rng.normal(0, 1.5, batch), rng.normal(0, 0.7, batch)
        cases.append((x, loc, rng.uniform(0.2, 1.4, batch), slope, noise))
    return cases


def _touches(elbo):
    """At the posterior the ELBO is log p(x)."""
    x, slope, noise = np.array([1.2, -0.4]), 0.8, 0.5
    total = slope**2 + noise**2
    at_posterior = elbo(x, slope * x / total, np.full(2, noise / math.sqrt(total)), slope, noise)
    return np.allclose(at_posterior, _log_normal(x, 0.0, math.sqrt(total)), atol=1e-4)


_STRAIGHT = Function(
    _straight_elbo,
    _lines,
    {
        "you evaluated log p(x|z) at z = loc: the average over q has the spread of q in it too": (
            _elbo_of(factor=0)
        ),
        "you forgot to square the scale of q in the spread": _elbo_of(scale_power=1),
        "you forgot to square the slope in the spread": _elbo_of(slope_power=1),
        "you left the slope out of the spread: the decoder stretches the scale of q by it": (
            _elbo_of(slope_power=0)
        ),
        "you forgot the factor 1/2 of the spread": _elbo_of(factor=1),
        "you left the noise out of the spread: squares are counted in units of noise^2": (
            _elbo_of(noise_power=0)
        ),
        "you added the spread: it makes the reconstruction worse": _elbo_of(factor=-0.5),
        "you took noise for a variance: it is a standard deviation": (
            lambda x, loc, scale, slope, noise: _straight_elbo(x, loc, scale, slope, np.sqrt(noise))
        ),
        "you averaged the noise into p(x): N(slope loc, noise^2 + slope^2 scale^2) is the density "
        "of x under q, and step 7 averages a logarithm": (
            lambda x, loc, scale, slope, noise: (
                _log_normal(x, slope * loc, np.sqrt(noise**2 + slope**2 * scale**2))
                - _kl(loc, scale)
            )
        ),
        "you left out the constant -1/2 log(2 pi) of the likelihood": (
            lambda *args: _straight_elbo(*args) + 0.5 * math.log(2 * math.pi)
        ),
        "you forgot the factor 1/2 of log(2 pi)": (
            lambda *args: _straight_elbo(*args) - 0.5 * math.log(2 * math.pi)
        ),
        "you halved log(noise): half of log(noise^2) is log(noise)": (
            lambda x, loc, scale, slope, noise: (
                _straight_elbo(x, loc, scale, slope, noise) + 0.5 * np.log(noise)
            )
        ),
        "you took E[z^2] for scale^2: it is loc^2 + scale^2": (
            lambda x, loc, scale, slope, noise: (
                _straight_elbo(x, loc, scale, slope, noise) + (slope * loc / noise) ** 2 / 2
            )
        ),
        "you counted slope^2 loc^2 twice: it is in (x - slope loc)^2 already": (
            lambda x, loc, scale, slope, noise: (
                _straight_elbo(x, loc, scale, slope, noise) - (slope * loc / noise) ** 2 / 2
            )
        ),
        "you gave minus the squared distance alone for the reconstruction: log p(x|z) divides it "
        "by 2 noise^2, and has constants": _distance_elbo(1.0),
        "you left the noise out of the reconstruction: log p(x|z) divides the squared distance by "
        "2 noise^2, and has constants": _distance_elbo(0.5),
        "you subtracted log(noise^2): the density of a Normal has its half, log(noise)": (
            lambda x, loc, scale, slope, noise: (
                _straight_elbo(x, loc, scale, slope, noise) - np.log(noise)
            )
        ),
        "you left out -log(noise), a part of the likelihood": (
            lambda x, loc, scale, slope, noise: (
                _straight_elbo(x, loc, scale, slope, noise) + np.log(noise)
            )
        ),
        "you left out the constants of the likelihood, -log(noise) - 1/2 log(2 pi)": (
            lambda x, loc, scale, slope, noise: (
                _straight_elbo(x, loc, scale, slope, noise)
                + np.log(noise)
                + 0.5 * math.log(2 * math.pi)
            )
        ),
        "you added the KL: the ELBO is reconstruction minus KL": _elbo_of(
            kl=lambda loc, scale: -_kl(loc, scale)
        ),
        "you left out the KL: this is the reconstruction alone": _elbo_of(kl=lambda *_: 0.0),
        "you forgot the minus one of the KL, or added the noise of x to the squared distance: "
        "both cost 1/2 nat": _elbo_of(kl=lambda loc, scale: _kl(loc, scale) + 0.5),
        "you forgot the factor 1/2 of the KL": _elbo_of(
            kl=lambda loc, scale: loc**2 + scale**2 - 1 - np.log(scale)
        ),
        "you forgot the logarithm of the scale in the KL": _elbo_of(
            kl=lambda loc, scale: 0.5 * (loc**2 + scale**2 - 1)
        ),
        "you added log(scale) in the KL where it is subtracted": _elbo_of(
            kl=lambda loc, scale: _kl(loc, scale) + 2 * np.log(scale)
        ),
        "you turned the KL round: it is KL(q, prior), and not KL(prior, q)": _elbo_of(
            kl=lambda loc, scale: 0.5 * ((1 + loc**2) / scale**2 - 1) + np.log(scale)
        ),
        "you returned minus the ELBO: that is a loss": lambda *args: -_straight_elbo(*args),
        "you gave log p(x), which does not depend on q": (
            lambda x, _loc, _scale, slope, noise: _log_normal(x, 0.0, np.hypot(slope, noise))
        ),
        "you divided the squared distance by 2 noise: the density has the variance, noise^2": (
            _squared_elbo(_right_square, power=1)
        ),
        "you averaged the reconstruction over the batch: each x has one of its own": (
            lambda x, loc, scale, slope, noise: (
                (_straight_elbo(x, loc, scale, slope, noise) + _kl(loc, scale)).mean()
                - _kl(loc, scale)
            )
        ),
        "you added log(noise): the density of a Normal is divided by noise": (
            lambda x, loc, scale, slope, noise: (
                _straight_elbo(x, loc, scale, slope, noise) + 2 * np.log(noise)
            )
        ),
        "you forgot the factor 1/2 of log(2 pi noise^2)": (
            lambda x, loc, scale, slope, noise: (
                _straight_elbo(x, loc, scale, slope, noise)
                - np.log(noise)
                - 0.5 * math.log(2 * math.pi)
            )
        ),
        "you left out -E_q[log q], the entropy: this is the mean of the log joint": _elbo_of(
            kl=lambda loc, scale: 0.5 * (loc**2 + scale**2 + math.log(2 * math.pi))
        ),
        "you took log p(z) at loc in the place of minus the KL": _elbo_of(
            kl=lambda loc, _: 0.5 * (loc**2 + math.log(2 * math.pi))
        ),
        "you forgot the factor 1/2 of the squared distance": _squared_elbo(_right_square, factor=1),
        "you divided the spread by 2 noise: squares are counted in units of noise^2": _elbo_of(
            noise_power=-1
        ),
        "you left out the slope: the mean of x is slope z": _squared_elbo(
            lambda x, loc, scale, _: (x - loc) ** 2 + scale**2
        ),
        "you added slope loc to x: the distance is x - slope z": _squared_elbo(
            lambda x, loc, scale, slope: (x + slope * loc) ** 2 + slope**2 * scale**2
        ),
        "you left out the mixed term -2 x slope loc of the square": _squared_elbo(
            lambda x, loc, scale, slope: x**2 + slope**2 * (loc**2 + scale**2)
        ),
        "you gave log p(x|z) at z = loc + scale: the average over q is asked": _squared_elbo(
            lambda x, loc, scale, slope: (x - slope * (loc + scale)) ** 2
        ),
        "you did not square the scale in the KL": _elbo_of(
            kl=lambda loc, scale: 0.5 * (loc**2 + scale - 1) - np.log(scale)
        ),
        "you did not square loc in the KL": _elbo_of(
            kl=lambda loc, scale: 0.5 * (loc + scale**2 - 1) - np.log(scale)
        ),
        "you left loc out of the KL": _elbo_of(kl=lambda loc, scale: _kl(0 * loc, scale)),
        "you halved the logarithm in the KL: half of log(scale^2) is log(scale)": _elbo_of(
            kl=lambda loc, scale: _kl(loc, scale) + 0.5 * np.log(scale)
        ),
        "you subtracted log(scale^2) in the KL: the half before it makes it log(scale)": _elbo_of(
            kl=lambda loc, scale: _kl(loc, scale) - np.log(scale)
        ),
        "you averaged over the batch: each x has an ELBO of its own": (
            lambda *args: _straight_elbo(*args).mean()
        ),
        "you summed over the batch: each x has an ELBO of its own": (
            lambda *args: _straight_elbo(*args).sum()
        ),
    },
    {"it should be log N(x; 0, slope^2 + noise^2) where q is the posterior": _touches},
)


# 02.4: a bound from above, by a tangent of the logarithm.


def _tangent_bound(log_w, log_c):
    return np.exp(log_w - log_c).mean(0) - 1 + log_c


def _log_mean(log_w):
    return log_w.max(0) + np.log(_scaled(log_w).mean(0))


def _tangents():
    """Log weights [K, B] and where the tangent touches [B]; near -1000, one draw, a zero weight."""
    rng = np.random.default_rng(22)
    moderate = rng.normal(-3, 1, (7, 4))
    far = rng.normal(-1000, 1, (5, 3)) + np.array([0.0, 700.0, -400.0])
    one = rng.normal(-40, 1, (1, 2))
    with_zero = rng.normal(-5, 1, (4, 3))
    with_zero[2, 1] = -np.inf
    return [  # far enough from where it touches that a clipped weight is seen
        (log_w, _log_mean(log_w) + np.linspace(-1.2, 1.5, log_w.shape[1]))
        for log_w in (moderate, far, one, with_zero)
    ]


def _is_above(bound):
    """For every c the tangent lies above the curve."""
    log_w = np.array([[-2.0, -900.0], [-4.0, -901.0], [-3.5, -905.0]])
    level = _log_mean(log_w)
    bounds = [np.asarray(bound(log_w, level + off)) for off in (-2.0, -0.3, 0.0, 0.4, 3.0)]
    return all((b >= level - 1e-4).all() for b in bounds) and np.allclose(bounds[2], level)


def _clipped_tangent(low):
    return lambda log_w, log_c: (
        np.exp(np.maximum(log_w, low) - np.maximum(log_c, low)).mean(0) - 1 + log_c
    )


def _tangent_above(tiny):
    """The tangent with a small number under the line, against 0/0."""
    return lambda log_w, log_c: np.exp(log_w).mean(0) / (np.exp(log_c) + tiny) - 1 + log_c


_TANGENT = Function(
    _tangent_bound,
    _tangents,
    {
        "you forgot the minus one: at a = c the tangent has the height log c": (
            lambda log_w, log_c: _tangent_bound(log_w, log_c) + 1
        ),
        "you added one where one is subtracted": (
            lambda log_w, log_c: _tangent_bound(log_w, log_c) + 2
        ),
        "you left out log c, the height at which the tangent touches": (
            lambda log_w, log_c: _tangent_bound(log_w, log_c) - log_c
        ),
        "you subtracted the fraction: the tangent rises with p(x)": (
            lambda log_w, log_c: 2 * log_c - _tangent_bound(log_w, log_c)
        ),
        "you averaged the weights over all examples: each example has a mean of its own": (
            lambda log_w, log_c: np.exp(log_w - log_c).mean() - 1 + log_c
        ),
        "you divided by log c and not by c": (
            lambda log_w, log_c: (np.exp(log_w).mean(0) - np.exp(log_c)) / log_c + log_c
        ),
        "you subtracted log c where it is added": (
            lambda log_w, log_c: _tangent_bound(log_w, log_c) - 2 * log_c
        ),
        "you summed over the draws: p(x) is estimated by their mean": (
            lambda log_w, log_c: np.exp(log_w - log_c).sum(0) - 1 + log_c
        ),
        "you divided by c outside of the exponential, and log weights near -1000 gave zero by "
        "zero: subtract log c first": (
            lambda log_w, log_c: np.exp(log_w).mean(0) / np.exp(log_c) - 1 + log_c
        ),
        "you multiplied by c: the slope of the logarithm at c is 1/c": (
            lambda log_w, log_c: np.exp(log_w + log_c).mean(0) - 1 + log_c
        ),
        "you left out the division by c: the slope of the logarithm at c is 1/c": (
            lambda log_w, log_c: np.exp(log_w).mean(0) - 1 + log_c
        ),
        "you took the logarithm of the mean weight: that is the lower bound of step 3": (
            lambda log_w, _log_c: _log_mean(log_w)
        ),
        "you averaged the logarithms: that is step 4, a lower bound": (
            lambda log_w, _log_c: log_w.mean(0)
        ),
        "you averaged log w / c: the mean of the weights themselves goes into the tangent": (
            lambda log_w, log_c: (log_w - log_c).mean(0) - 1 + log_c
        ),
        "you averaged the logarithms and exponentiated after that: the weights are averaged": (
            lambda log_w, log_c: np.exp(log_w.mean(0) - log_c) - 1 + log_c
        ),
        "you took the logarithm of the mean weight where its ratio to c is asked": (
            lambda log_w, log_c: _log_mean(log_w) - 1 + log_c
        ),
        "you divided logarithms: log w / log c is not log(w / c)": (
            lambda log_w, log_c: log_w.mean(0) / log_c - 1 + log_c
        ),
        "you subtracted the largest log weight too, and did not put it back: log c is enough": (
            lambda log_w, log_c: np.exp(log_w - log_w.max(0) - log_c).mean(0) - 1 + log_c
        ),
        "you used log a >= 1 - c/a + log c, which is a bound from below": (
            lambda log_w, log_c: 1 - np.exp(log_c - log_w).mean(0) + log_c
        ),
        "you took the logarithm of the ratio: the tangent rises with the ratio itself": (
            lambda log_w, _log_c: _log_mean(log_w) - 1
        ),
        "you left out the division by c, of c as well: the slope of the logarithm at c is 1/c": (
            lambda log_w, log_c: np.exp(log_w).mean(0) - np.exp(log_c) + log_c
        ),
        "you added c: the tangent touches at the height log c": (
            lambda log_w, log_c: np.exp(log_w - log_c).mean(0) - 1 + np.exp(log_c)
        ),
        "you subtracted the mean of log c over the examples: each has a c of its own": (
            lambda log_w, log_c: _tangent_bound(log_w, np.full_like(log_c, log_c.mean()))
        ),
        "you took the largest weight of each example for the mean": (
            lambda log_w, log_c: np.exp(log_w.max(0) - log_c) - 1 + log_c
        ),
        "you took c from these draws, as their mean: log_c is given": (
            lambda log_w, _log_c: log_w.mean(0) + np.exp(log_w - log_w.mean(0)).mean(0) - 1
        ),
        **{
            f"you put a number such as {tiny:g} under the line: subtract log c first": (
                _tangent_above(tiny)
            )
            for tiny in (1e-8, 1e-16, 1e-30, 1e-300)
        },
        "you added log c twice": lambda log_w, log_c: _tangent_bound(log_w, log_c) + log_c,
        "you subtracted log K: the mean has its division by K already": (
            lambda log_w, log_c: _tangent_bound(log_w, log_c) - math.log(len(log_w))
        ),
        **{
            f"you clipped the log weights, as at {low}: subtract log c first, and none is tiny": (
                _clipped_tangent(low)
            )
            for low in (-30, -100)
        },
        "you used log c for c": (
            lambda log_w, log_c: np.exp(log_w).mean(0) / log_c - 1 + np.log(log_c)
        ),
        "you summed over the examples: the K draws are the first axis": (
            lambda log_w, log_c: np.exp(log_w - log_c).mean(1) - 1 + log_c.mean()
        ),
        "you averaged over the examples: each has a bound of its own": (
            lambda log_w, log_c: _tangent_bound(log_w, log_c).mean()
        ),
    },
    {"it should touch log mean w at c = mean w, and lie above it for every other c": _is_above},
)


EXERCISES = {"02.1": _JENSEN, "02.2": _SHARE, "02.3": _STRAIGHT, "02.4": _TANGENT}
