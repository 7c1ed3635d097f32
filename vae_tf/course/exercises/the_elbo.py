"""The exercises of lesson 01: the ELBO, the K-sample bound and log p(x), written by the student."""

import math

import numpy as np

from vae_tf.course.checks import Function, Value

__all__ = ["EXERCISES"]


def _log_sum_exp(log_terms, axis=0):
    """log sum exp, whatever the size of the terms."""
    top = np.max(log_terms, axis=axis, keepdims=True)
    total = np.exp(log_terms - top).sum(axis=axis)
    return np.squeeze(top, axis=axis) + np.log(total)


# 01.1: from bits per pixel to a gap in nats.

_PIXELS, _BITS, _KL, _LOG_P = 28 * 28, 0.180, 13.4, -108.0
_RECONSTRUCTION = -_BITS * _PIXELS * math.log(2)

_BILL = Value(
    _LOG_P - (_RECONSTRUCTION - _KL),
    {
        "you added the KL: the ELBO is reconstruction minus KL": _LOG_P - (_RECONSTRUCTION + _KL),
        "you left out the KL: this is log p(x) minus the reconstruction": _LOG_P - _RECONSTRUCTION,
        "you forgot the 784 pixels: bits per pixel are divided by them": (
            _LOG_P + _BITS * math.log(2) + _KL
        ),
        "you took bits for nats: a bit is log 2 nats": _LOG_P + _BITS * _PIXELS + _KL,
        "you divided by log 2 where bits become nats by multiplying": (
            _LOG_P + _BITS * _PIXELS / math.log(2) + _KL
        ),
        "you stayed in bits per pixel: the gap is asked in nats": (
            (_LOG_P - _RECONSTRUCTION + _KL) / (_PIXELS * math.log(2))
        ),
        "you stopped at the ELBO: the gap is log p(x) minus it": _RECONSTRUCTION - _KL,
        "you took the cost for the term of the ELBO: they differ in sign": (
            _LOG_P - (-_RECONSTRUCTION - _KL)
        ),
        "you took 28 pixels: these images have 28 by 28": (_LOG_P + _BITS * 28 * math.log(2) + _KL),
        "you turned the KL from bits into nats: it is in nats already": (
            _LOG_P - _RECONSTRUCTION + _KL * math.log(2)
        ),
        "you took the KL for a cost of each pixel: it is one number for the image": (
            _LOG_P - _RECONSTRUCTION + _KL * _PIXELS
        ),
        "you forgot the minus of log p(x)": -_LOG_P - (_RECONSTRUCTION - _KL),
        "you left out the reconstruction, or divided by 784 pixels what is divided by them "
        "already": _LOG_P + _KL,
        "you added log p(x) and the ELBO: the gap is their difference": (
            _LOG_P + (_RECONSTRUCTION - _KL)
        ),
        "you stopped at the reconstruction: the KL and log p(x) are left": _RECONSTRUCTION,
        "you divided the gap by log 2: nats are asked, and it is in nats": (
            (_LOG_P - _RECONSTRUCTION + _KL) / math.log(2)
        ),
        "you took 0.180 for the bits of the whole image, and for nats": _LOG_P + _BITS + _KL,
    },
    atol=0.03,  # a reconstruction that was rounded to one digit
)


# 01.2: the ELBO of a pass.


def _log_pixels(x, logits):
    return x * logits - np.logaddexp(0, logits)  # [S, B, D]


def _kl(loc, scale):
    return 0.5 * (loc**2 + scale**2 - 1) - np.log(scale)  # [B, L]


def _elbo(x, logits, loc, scale):
    return _log_pixels(x, logits).sum(-1).mean(0) - _kl(loc, scale).sum(-1)


def _elbo_by_one_plus_exp(x, logits, loc, scale):
    log_pixels = x * logits - np.log(1 + np.exp(logits))
    return log_pixels.sum(-1).mean(0) - _kl(loc, scale).sum(-1)


def _elbo_by_probabilities(x, logits, loc, scale):
    p = 1 / (1 + np.exp(-logits))
    log_pixels = x * np.log(p) + (1 - x) * np.log(1 - p)
    return log_pixels.sum(-1).mean(0) - _kl(loc, scale).sum(-1)


def _elbo_by_mean_probabilities(x, logits, loc, scale):
    p = 1 / (1 + np.exp(-logits))
    p = np.where(x > 0, p, 1 - p).mean(0)
    return np.log(p).sum(-1) - _kl(loc, scale).sum(-1)


def _elbo_by_clipping(eps):
    """An ELBO whose probabilities stay between eps and 1 - eps."""

    def elbo(x, logits, loc, scale):
        p = np.clip(1 / (1 + np.exp(-logits)), eps, 1 - eps)
        log_pixels = x * np.log(p) + (1 - x) * np.log(1 - p)
        return log_pixels.sum(-1).mean(0) - _kl(loc, scale).sum(-1)

    return elbo


def _elbo_of(pixels=np.sum, samples=np.mean, latents=np.sum, kl=_kl, weight=1.0):
    """An ELBO by other reductions, or with another KL."""

    def elbo(x, logits, loc, scale):
        reconstruction = samples(pixels(_log_pixels(x, logits), axis=-1), axis=0)
        return reconstruction - weight * latents(kl(loc, scale), axis=-1)

    return elbo


def _passes():
    """Passes of unequal sizes; in the last one some logits are too large for `exp`."""
    rng = np.random.default_rng(1)
    passes = []
    for samples, batch, pixels, latents, size in (
        (7, 5, 64, 3, 1.5),
        (1, 2, 9, 1, 5),
        (3, 4, 6, 2, 900),
    ):
        x = rng.integers(0, 2, (batch, pixels)).astype("float64")
        logits = rng.normal(0, size, (samples, batch, pixels))
        loc, scale = rng.normal(0, 1.5, (batch, latents)), rng.uniform(0.1, 1.6, (batch, latents))
        passes.append((x, logits, loc, scale))
    return passes


_ELBO = Function(
    _elbo,
    _passes,
    {
        "you added the KL: the ELBO is reconstruction minus KL": _elbo_of(weight=-1.0),
        "you left out the KL: this is the reconstruction term alone": _elbo_of(weight=0.0),
        "you returned minus the ELBO: that is the loss": lambda *args: -_elbo(*args),
        "you averaged over the pixels: log p(x|z) is the sum of theirs": _elbo_of(pixels=np.mean),
        "you summed over the samples: an expectation is estimated by their mean": _elbo_of(
            samples=np.sum
        ),
        "you kept the samples apart: an expectation is estimated by their mean": _elbo_of(
            samples=lambda log_p, axis: log_p  # noqa: ARG005
        ),
        "you averaged over the latents: the KL is the sum of theirs": _elbo_of(latents=np.mean),
        "you averaged over pixels and over latents: both are sums": _elbo_of(
            pixels=np.mean, latents=np.mean
        ),
        "you averaged over the batch: each of the B examples has an ELBO of its own": (
            lambda *args: _elbo(*args).mean()
        ),
        "you took scale for a variance: it is a standard deviation": _elbo_of(
            kl=lambda loc, scale: 0.5 * (loc**2 + scale - 1 - np.log(scale))
        ),
        "you took scale for a log scale: it is a standard deviation": _elbo_of(
            kl=lambda loc, scale: 0.5 * (loc**2 + np.exp(2 * scale) - 1) - scale
        ),
        "you took scale for a log-variance: it is a standard deviation": _elbo_of(
            kl=lambda loc, scale: 0.5 * (loc**2 + np.exp(scale) - 1 - scale)
        ),
        "you halved the logarithm of the scale: the KL has log scale, or half of log scale^2": (
            _elbo_of(kl=lambda loc, scale: 0.5 * (loc**2 + scale**2 - 1 - np.log(scale)))
        ),
        "you forgot the minus one of the KL": _elbo_of(kl=lambda loc, scale: _kl(loc, scale) + 0.5),
        "you forgot the factor 1/2 of the KL": _elbo_of(weight=2.0),
        "you forgot the logarithm of the scale in the KL": _elbo_of(
            kl=lambda loc, scale: 0.5 * (loc**2 + scale**2 - 1)
        ),
        "you exponentiated before the mean over samples: E[log p(x|z)] is a mean of logarithms": (
            lambda x, logits, loc, scale: (
                _log_sum_exp(_log_pixels(x, logits).sum(-1))
                - np.log(len(logits))
                - _kl(loc, scale).sum(-1)
            )
        ),
        "you averaged the logits over the samples: log p(x|z) is averaged": (
            lambda x, logits, loc, scale: _elbo(x, logits.mean(0, keepdims=True), loc, scale)
        ),
        "you averaged the probabilities over the samples: log p(x|z) is averaged": (
            _elbo_by_mean_probabilities
        ),
        "you took only the first sample: an expectation is estimated by their mean": (
            lambda x, logits, loc, scale: _elbo(x, logits[:1], loc, scale)
        ),
        "you summed the KL over the batch too: each example has a KL of its own": (
            lambda x, logits, loc, scale: (
                _log_pixels(x, logits).sum(-1).mean(0) - _kl(loc, scale).sum()
            )
        ),
        "you averaged the KL over the batch: each example has a KL of its own": (
            lambda x, logits, loc, scale: (
                _log_pixels(x, logits).sum(-1).mean(0) - _kl(loc, scale).sum(-1).mean()
            )
        ),
        "you averaged the KL over latents and batch: sum it over the latents of each example": (
            lambda x, logits, loc, scale: (
                _log_pixels(x, logits).sum(-1).mean(0) - _kl(loc, scale).mean()
            )
        ),
        "you forgot the square of loc in the KL": _elbo_of(
            kl=lambda loc, scale: _kl(loc, scale) + 0.5 * (loc - loc**2)
        ),
        "you forgot the square of scale in the KL": _elbo_of(
            kl=lambda loc, scale: _kl(loc, scale) + 0.5 * (scale - scale**2)
        ),
        "you left out loc: the KL grows with the distance from the prior's centre": _elbo_of(
            kl=lambda loc, scale: _kl(0 * loc, scale)
        ),
        "you took the KL the other way round, KL(p || q)": _elbo_of(
            kl=lambda loc, scale: np.log(scale) - 0.5 + 0.5 * (1 + loc**2) / scale**2
        ),
        "you changed the sign of the logarithm of the scale in the KL": _elbo_of(
            kl=lambda loc, scale: _kl(loc, scale) + 2 * np.log(scale)
        ),
        "you left out the pixels that are 0: they have a probability too": (
            lambda x, logits, loc, scale: (
                (x * _log_pixels(x, logits)).sum(-1).mean(0) - _kl(loc, scale).sum(-1)
            )
        ),
        "you swapped 0 and 1: the logit is that of a 1": (
            lambda x, logits, loc, scale: _elbo(1 - x, logits, loc, scale)
        ),
        "you left out log(1 + e^a): a pixel has x a - log(1 + e^a)": (
            lambda x, logits, loc, scale: (x * logits).sum(-1).mean(0) - _kl(loc, scale).sum(-1)
        ),
        "you took the cross-entropy, a cost, for the log-likelihood: they differ in sign": (
            lambda x, logits, loc, scale: (
                -_log_pixels(x, logits).sum(-1).mean(0) - _kl(loc, scale).sum(-1)
            )
        ),
        **{
            f"you clipped probabilities at {eps:g}, which changes what a logit of 900 costs: stay "
            "with x a - log(1 + e^a)": _elbo_by_clipping(eps)
            for eps in (1e-5, 1e-6, 1e-7, 1e-8, 1e-10, 1e-12)
        },
        "you took the best sample: an expectation is estimated by the mean": _elbo_of(
            samples=np.max
        ),
        "you took the minus one of the KL once: it belongs to each latent": (
            lambda x, logits, loc, scale: _elbo(x, logits, loc, scale) - 0.5 * (loc.shape[-1] - 1)
        ),
        "you took the logarithm of the scale to base 10": _elbo_of(
            kl=lambda loc, scale: 0.5 * (loc**2 + scale**2 - 1) - np.log10(scale)
        ),
        "you wrote log(1 + exp(a)), which is infinite for a logit of 900: np.logaddexp(0, a) is "
        "not": _elbo_by_one_plus_exp,
        "you went through probabilities, whose logarithm is that of zero for a logit of 900: stay "
        "with x a - log(1 + e^a)": _elbo_by_probabilities,
    },
)


# 01.3: a K-sample bound that survives log weights near -1000.


def _iwae(log_w):
    return _log_sum_exp(log_w) - np.log(len(log_w))


def _weights():
    """Log weights [K, B] of unequal sizes: moderate, near -1000, one sample, a weight of zero."""
    rng = np.random.default_rng(2)
    moderate = rng.normal(-3, 2, (6, 4))
    far = rng.normal(-1000, 3, (5, 3)) + np.array([0.0, 900.0, -400.0])
    deep, alone = rng.normal(-1000, 3, (3, 2)), rng.normal(-150, 5, (1, 2))
    with_zero = rng.normal(-20, 2, (4, 3))
    with_zero[1, 2] = -np.inf
    return [(moderate,), (far,), (deep,), (alone,), (with_zero,)]


_IWAE = Function(
    _iwae,
    _weights,
    {
        "you averaged the logarithms: that is the ELBO, the bound of one sample": (
            lambda log_w: log_w.mean(0)
        ),
        "you summed the weights: their mean has a division by K": _log_sum_exp,
        "you added log K: a division by K inside of the logarithm subtracts it": (
            lambda log_w: _log_sum_exp(log_w) + np.log(len(log_w))
        ),
        "you subtracted K and not its logarithm": lambda log_w: _log_sum_exp(log_w) - len(log_w),
        "you subtracted the largest where it is added back": (
            lambda log_w: _iwae(log_w) - 2 * log_w.max(0)
        ),
        "you summed over samples and examples: each example has its own bound": (
            lambda log_w: _log_sum_exp(log_w.ravel())
        ),
        "you divided by K outside of the logarithm: inside, it is a subtraction of log K": (
            lambda log_w: _log_sum_exp(log_w) / len(log_w)
        ),
        "you took the largest weight for their mean": lambda log_w: log_w.max(0),
        "you averaged over the examples: the K samples are the first axis": (
            lambda log_w: _log_sum_exp(log_w, axis=1) - np.log(log_w.shape[1])
        ),
        "you averaged over samples and examples together: each example has its own bound": (
            lambda log_w: _log_sum_exp(log_w.ravel()) - np.log(log_w.size)
        ),
        "you exponentiated log weights near -1000, and got the logarithm of zero: take the largest "
        "out first": lambda log_w: np.log(np.exp(log_w).mean(0)),
        "you summed weights that are zero as numbers: take the largest out first, and divide by "
        "K": lambda log_w: np.log(np.exp(log_w).sum(0)),
        "you averaged the weights over the examples too: that mean needs axis=0": (
            lambda log_w: log_w.max(0) + np.log(np.exp(log_w - log_w.max(0)).mean())
        ),
        "you took the largest out and did not put it back": (
            lambda log_w: _iwae(log_w) - log_w.max(0)
        ),
        "you took out one largest for all examples, and one that lies far below it still "
        "underflows: each example needs its own": (
            lambda log_w: log_w.max() + np.log(np.exp(log_w - log_w.max()).mean(0))
        ),
        "you returned the mean weight: its logarithm is asked": lambda log_w: np.exp(_iwae(log_w)),
        "you divided by the number of examples: the mean is over the K samples": (
            lambda log_w: _log_sum_exp(log_w) - np.log(log_w.shape[1])
        ),
        "you multiplied by the largest where it is added back": (
            lambda log_w: _iwae(log_w - log_w.max(0)) * log_w.max(0)
        ),
        "you left out the logarithm of the mean weight": (
            lambda log_w: log_w.max(0) + np.exp(_iwae(log_w - log_w.max(0)))
        ),
        "you took the logarithm of the sum, and divided it by K with the largest left out": (
            lambda log_w: log_w.max(0) + _log_sum_exp(log_w - log_w.max(0)) / len(log_w)
        ),
        "you took out the mean, or the smallest, and not the largest: where one weight is zero its "
        "logarithm is minus infinity": (
            lambda log_w: log_w.mean(0) + np.log(np.exp(log_w - log_w.mean(0)).mean(0))
        ),
        "you added the largest in the exponent, where it is subtracted": (
            lambda log_w: log_w.max(0) + np.log(np.exp(log_w + log_w.max(0)).mean(0))
        ),
        "you returned the bound of all examples together: [B] is asked": (
            lambda log_w: _iwae(log_w).mean()
        ),
        "you added 1e-10 inside of the logarithm: that is far more than a weight near exp(-1000); "
        "take the largest out first": lambda log_w: np.log(np.exp(log_w).mean(0) + 1e-10),
        "you added 1e-8 inside of the logarithm: that is far more than a weight near exp(-1000); "
        "take the largest out first": lambda log_w: np.log(np.exp(log_w).mean(0) + 1e-8),
        "you clipped exponents far below zero, which changes weights near exp(-1000): take the "
        "largest out first": lambda log_w: np.log(np.exp(np.maximum(log_w, -700)).mean(0)),
    },
    {
        "it should be the log weight itself where there is one sample, K = 1": (
            lambda iwae: np.allclose(iwae(np.array([[-3.0, -700.0]])), [-3.0, -700.0])
        ),
        "it should rise by 5 nats if every log weight rises by 5 nats": (
            lambda iwae: np.allclose(
                np.asarray(iwae(np.array([[-2.0], [-4.0]]) + 5)),
                np.asarray(iwae(np.array([[-2.0], [-4.0]]))) + 5,
            )
        ),
    },
)


# 01.4: log p(x) of a model with one latent, by a sum over nodes.

_NODES = np.linspace(-8, 8, 4001)
_SPACING = _NODES[1] - _NODES[0]
_LOG_PRIOR = -0.5 * _NODES**2 - 0.5 * math.log(2 * math.pi)


def _log_evidence(log_likelihood):
    return _log_sum_exp(log_likelihood(_NODES) + _LOG_PRIOR) + np.log(_SPACING)


def _naive_evidence(log_likelihood):
    return np.log(np.sum(np.exp(log_likelihood(_NODES) + _LOG_PRIOR)) * _SPACING)


def _likelihoods():
    """log p(x|z) as functions of z: broad, narrow, with two hills, and near -1000."""

    def normal(x, weight, scale):
        constant = -math.log(scale) - 0.5 * math.log(2 * math.pi)
        return lambda z: -0.5 * ((x - weight * z) / scale) ** 2 + constant

    return [
        (normal(1.0, 0.7, 0.9),),
        (normal(2.0, 1.0, 0.05),),
        (lambda z: -0.5 * ((np.abs(z) - 1.5) / 0.2) ** 2 + 3.0,),
        (lambda z: normal(0.5, 2.0, 0.4)(z) - 1000.0,),
    ]


_EVIDENCE = Function(
    _log_evidence,
    _likelihoods,
    {
        "you left out the prior: the integrand is p(x|z) p(z)": (
            lambda f: _log_sum_exp(f(_NODES)) + np.log(_SPACING)
        ),
        "you left out the spacing: a sum becomes an integral by the width of its strips": (
            lambda f: _log_sum_exp(f(_NODES) + _LOG_PRIOR)
        ),
        "you multiplied by the spacing outside of the logarithm: there it is an addition of its "
        "logarithm": lambda f: _log_sum_exp(f(_NODES) + _LOG_PRIOR) * _SPACING,
        "you averaged over the nodes where the integral is a sum times the spacing": (
            lambda f: _log_sum_exp(f(_NODES) + _LOG_PRIOR) - np.log(len(_NODES))
        ),
        "you averaged p(x|z) over the nodes as if they were drawn from the prior": (
            lambda f: _log_sum_exp(f(_NODES)) - np.log(len(_NODES))
        ),
        "you averaged p(x|z) over the nodes as if they were drawn from the prior, and of "
        "exponentials that are zero": (lambda f: np.log(np.mean(np.exp(f(_NODES))))),
        "you left out the prior, and exponentiated numbers near -1000: the integrand is "
        "p(x|z) p(z)": lambda f: np.log(np.sum(np.exp(f(_NODES))) * _SPACING),
        "you returned the integrand at each node: the integral is their sum times the spacing": (
            lambda f: f(_NODES) + _LOG_PRIOR
        ),
        "you divided by 4001 nodes: between them lie 4000 spaces": (
            lambda f: _log_sum_exp(f(_NODES) + _LOG_PRIOR) + np.log(16 / 4001)
        ),
        "you summed logarithms: densities are summed, then the logarithm is taken": (
            lambda f: np.sum(f(_NODES) + _LOG_PRIOR) * _SPACING
        ),
        "you took the expectation of the logarithm under the prior, which is a lower bound": (
            lambda f: np.sum(f(_NODES) * np.exp(_LOG_PRIOR)) * _SPACING
        ),
        "you forgot the 1/2 in the exponent of the prior": (
            lambda f: _log_evidence(lambda z: f(z) - 0.5 * z**2)
        ),
        "you subtracted the logarithm of the spacing: it is added": (
            lambda f: _log_evidence(f) - 2 * np.log(_SPACING)
        ),
        "you left out the constant of the prior, -1/2 log(2 pi)": (
            lambda f: _log_evidence(f) + 0.5 * math.log(2 * math.pi)
        ),
        "you exponentiated numbers near -1000, and got the logarithm of zero: take the largest out "
        "first": _naive_evidence,
        "you returned p(x): its logarithm is asked": lambda f: np.exp(_log_evidence(f)),
        "you added the spacing: its logarithm is added": (
            lambda f: _log_sum_exp(f(_NODES) + _LOG_PRIOR) + _SPACING
        ),
        "you added the logarithm of the spacing twice: the line has one axis": (
            lambda f: _log_evidence(f) + np.log(_SPACING)
        ),
        "you averaged over the nodes where the integral is a sum times the spacing, and of "
        "exponentials that are zero": lambda f: np.log(np.mean(np.exp(f(_NODES) + _LOG_PRIOR))),
        "you averaged logarithms: densities are summed, then the logarithm is taken": (
            lambda f: np.mean(f(_NODES) + _LOG_PRIOR)
        ),
        "you divided by the prior: the integrand is p(x|z) times p(z)": (
            lambda f: _log_sum_exp(f(_NODES) - _LOG_PRIOR) + np.log(_SPACING)
        ),
        "you took the largest term for their sum": lambda f: np.max(f(_NODES) + _LOG_PRIOR),
        "you took the largest term for their sum, times the spacing": (
            lambda f: np.max(f(_NODES) + _LOG_PRIOR) + np.log(_SPACING)
        ),
        "you took the likelihood at its best node for the integral": lambda f: np.max(f(_NODES)),
        "you took the prior's constant without its 1/2": (
            lambda f: _log_evidence(f) - 0.5 * math.log(2 * math.pi)
        ),
        "you added the constant of the prior: it is -1/2 log(2 pi)": (
            lambda f: _log_evidence(f) + math.log(2 * math.pi)
        ),
        "you forgot the square of z in the prior": (
            lambda f: _log_evidence(lambda z: f(z) + 0.5 * z**2 - 0.5 * z)
        ),
        "you changed the sign in the exponent of the prior: it is -z^2 / 2": (
            lambda f: _log_evidence(lambda z: f(z) + z**2)
        ),
        "you took the prior itself for its logarithm": (
            lambda f: _log_sum_exp(f(_NODES) + np.exp(_LOG_PRIOR)) + np.log(_SPACING)
        ),
        "you took the log-likelihood for the likelihood: it is exponentiated first": (
            lambda f: np.log(np.sum(f(_NODES) * np.exp(_LOG_PRIOR)) * _SPACING)
        ),
        "you multiplied the logarithms: that of a product is a sum": (
            lambda f: _log_sum_exp(f(_NODES) * _LOG_PRIOR) + np.log(_SPACING)
        ),
        "you took log p(x|z) at z = 0, the prior's centre, for the integral": (
            lambda f: f(np.zeros(1))[0]
        ),
    },
)


# 01.5: the beta of a loss.

_BETA = Value(
    (0.3 / 8) / (1 / 100),
    {
        "you forgot the factor 0.3": 100 / 8,
        "you forgot that the KL is a mean over eight latents": 0.3 * 100,
        "you forgot that the likelihood is a mean over 100 pixels": 0.3 / 8,
        "you divided the wrong way round: beta is the weight of the KL over that of the "
        "likelihood": 8 / (0.3 * 100),
        "you read off the factor in the script: the two means count too": 0.3,
        "you took 784 pixels: these images have 10 by 10": 0.3 / 8 * 784,
        "you took 10 pixels: these images have 10 by 10": 0.3 / 8 * 10,
        "you multiplied by eight latents where a mean divides by them": 0.3 * 8 * 100,
        "you divided by 100: dividing by the weight of a pixel, 1/100, multiplies by 100": (
            0.3 / 8 / 100
        ),
        "you exchanged the two means: the KL is divided by eight, the likelihood by 100": (
            0.3 * 8 / 100
        ),
        "you multiplied by eight latents where a mean divides by them, and forgot the pixels": (
            0.3 * 8
        ),
        "you divided by 0.3 where the KL is multiplied by it": 100 / 8 / 0.3,
        "you added the factor to the ratio of the two means: it multiplies": 0.3 + 100 / 8,
        "you took two latents: these are eight": 0.3 / 2 * 100,
        "you took 20 pixels: 10 by 10 are 100": 0.3 / 8 * 20,
        "you divided by 0.3 where the KL is multiplied by it, and forgot the eight latents": (
            100 / 0.3
        ),
        "you took it for the ELBO, whose beta is 1: here both terms are means": 1.0,
        "you forgot the factor 0.3, and turned the ratio of the two means round": 8 / 100,
        "you divided by 100 pixels and 8 latents, and forgot the factor 0.3": 1 / 800,
        "you multiplied the two sizes, and forgot the factor 0.3": 800.0,
        "you forgot the factor 0.3, and that the KL is a mean over eight latents": 100.0,
        "you took the side of the image, and forgot that the KL is a mean": 0.3 * 10,
    },
)


EXERCISES = {"01.1": _BILL, "01.2": _ELBO, "01.3": _IWAE, "01.4": _EVIDENCE, "01.5": _BETA}
