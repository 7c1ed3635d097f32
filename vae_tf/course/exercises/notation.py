"""The exercises of lesson 00: a log-likelihood, a joint, the KL in two ways."""

import numpy as np

from vae_tf.course.checks import Function, Value

__all__ = ["EXERCISES"]

# -- 00.1: 64 pixels of probability 0.9, one of them off -------------------------------------------

_ON, _OFF = np.log(0.9), np.log(0.1)

_one_pixel = Value(
    63 * _ON + _OFF,
    {
        "you averaged over the pixels: the event is summed": (63 * _ON + _OFF) / 64,
        "you gave all 64 pixels the probability of a 1: the last pixel is 0": 64 * _ON,
        "you left out the pixel that is 0: it has a probability too, 1 - 0.9": 63 * _ON,
        "you took only the pixel that is 0: the 63 others have probabilities too": _OFF,
        "you gave the probability: its logarithm is asked": 0.9**63 * 0.1,
        "you averaged over the pixels, and changed the sign: that is a loss, a cross-entropy": -(
            63 * _ON + _OFF
        )
        / 64,
        "you took two pixels for 0: a single one is": 62 * _ON + 2 * _OFF,
        "you gave all 64 pixels the probability of a 0: 63 are 1": 64 * _OFF,
        "you counted 65 pixels: 63 are 1, and one is 0": 64 * _ON + _OFF,
        "you took the logarithm of each value once: 63 pixels share the first": _ON + _OFF,
        "you subtracted the logarithm of the pixel that is 0: all are added": 63 * _ON - _OFF,
        "you did not sum over the pixels": np.array([63 * _ON, _OFF]),
        "you took logarithms to base 10: nats are natural logarithms": np.log10(0.9**63 * 0.1),
        "you added the probabilities of the pixels: their logarithms are added": 63 * 0.9 + 0.1,
        "you added the probabilities of the pixels: they multiply": np.log(63 * 0.9 + 0.1),
        "you swapped the two: 63 pixels are 1 and a single one is 0": 63 * _OFF + _ON,
        "you counted the places that the 0 could have: this image has it at one place": (
            63 * _ON + _OFF + np.log(64)
        ),
        "you took the logarithm of an average probability: each pixel has its own logarithm": (
            np.log((63 * 0.9 + 0.1) / 64)
        ),
        "you weighted the logarithms by the probabilities: each pixel counts once": (
            63 * 0.9 * _ON + 0.1 * _OFF
        ),
        "you counted the pixel that is 0 as often as the others: it is one": 63 * (_ON + _OFF),
        "you multiplied before the logarithm: log(63 p) is not 63 log(p)": np.log(63 * 0.9) + _OFF,
        "you took minus the logarithm, and all 64 pixels for 1": -64 * _ON,
        "you took 1 - p: the logarithm of p is asked": 1 - 0.9**63 * 0.1,
        "you added 0.1 and not its logarithm": 63 * _ON + 0.1,
        "you took -log(0.9) for log(1 - 0.9)": 62 * _ON,
        "you took 1 - log(0.9) for log(1 - 0.9)": 63 * _ON + 1 - _ON,
        "you multiplied the two logarithms: they are added": 63 * _ON * _OFF,
    },
)

# -- 00.2: log p(x, z) of binary images ------------------------------------------------------------


def _bernoulli(x, logits):
    """Log-probability of each pixel, without overflow: [S, B, D]."""
    return x * logits - np.logaddexp(0.0, logits)


def _standard_normal(z):
    """Log-density of each latent under N(0, 1): [S, B, L]."""
    return -0.5 * (z**2 + np.log(2 * np.pi))


def _log_joint(x, z, logits):
    return _bernoulli(x, logits).sum(-1) + _standard_normal(z).sum(-1)


def _naive(x, p):
    return x * np.log(p) + (1 - x) * np.log(1 - p)


def _images():
    rng = np.random.default_rng(0)
    sizes = ((7, 5, 3, 64), (4, 2, 1, 6))
    return [
        (
            rng.integers(0, 2, (b, d)).astype("float32"),
            rng.normal(size=(s, b, n)).astype("float32"),
            rng.normal(scale=2.0, size=(s, b, d)).astype("float32"),
        )
        for s, b, n, d in sizes
    ]


def _survives(function):
    """One pixel of logit 1,000 that is on, one of logit -1,000 that is off; then one surprise."""
    z, logits = np.zeros((1, 1, 1), "float32"), np.array([[[1000.0, -1000.0]]], "float32")
    on, off = np.array([[1.0, 0.0]], "float32"), np.array([[0.0, 0.0]], "float32")
    at_zero = -0.5 * np.log(2 * np.pi)
    with np.errstate(all="ignore"):
        found = [np.asarray(function(x, z, logits), "float64") for x in (on, off)]
    return np.allclose(np.ravel(found), [at_zero, at_zero - 1000], atol=1e-2)


_joint = Function(
    _log_joint,
    _images,
    {
        "you forgot the prior: the joint is likelihood times prior": (
            lambda x, _, a: _bernoulli(x, a).sum(-1)
        ),
        "you forgot the likelihood: the joint is likelihood times prior": (
            lambda _x, z, _logits: _standard_normal(z).sum(-1)
        ),
        "you subtracted the prior: it is a factor, so its logarithm is added": lambda x, z, a: (
            _bernoulli(x, a).sum(-1) - _standard_normal(z).sum(-1)
        ),
        "you multiplied two logarithms: of a product, they are added": lambda x, z, a: (
            _bernoulli(x, a).sum(-1) * _standard_normal(z).sum(-1)
        ),
        "you left out log(2 pi) of the prior: densities come with their constants": (
            lambda x, z, a: _bernoulli(x, a).sum(-1) - 0.5 * (z**2).sum(-1)
        ),
        "you took log(2 pi) once more than there are latents": lambda x, z, a: (
            _log_joint(x, z, a) - 0.5 * np.log(2 * np.pi)
        ),
        "you squared the sum of the latents: each is squared, then summed": lambda x, z, a: (
            _log_joint(x, z, a) + 0.5 * (z**2).sum(-1) - 0.5 * z.sum(-1) ** 2
        ),
        "you did not sum over the pixels: an image has one probability": lambda x, _, a: _bernoulli(
            x, a
        ),
        "you took log(2 pi) once: it belongs to each latent": lambda x, z, a: (
            _bernoulli(x, a).sum(-1) - 0.5 * (z**2).sum(-1) - 0.5 * np.log(2 * np.pi)
        ),
        "you left out the 1/2 of z^2 in the prior": lambda x, z, a: (
            _bernoulli(x, a).sum(-1) - (z**2 + 0.5 * np.log(2 * np.pi)).sum(-1)
        ),
        "you averaged over pixels and latents: both are events, and summed": lambda x, z, a: (
            _bernoulli(x, a).mean(-1) + _standard_normal(z).mean(-1)
        ),
        "you averaged over the pixels: the event is summed": lambda x, z, a: (
            _bernoulli(x, a).mean(-1) + _standard_normal(z).sum(-1)
        ),
        "you averaged over the latents: the event is summed": lambda x, z, a: (
            _bernoulli(x, a).sum(-1) + _standard_normal(z).mean(-1)
        ),
        "you changed the sign of the logit inside the logarithm: log(1 + exp(logit))": (
            lambda x, z, a: (x * a - np.logaddexp(0, -a)).sum(-1) + _standard_normal(z).sum(-1)
        ),
        "you swapped 0 and 1: the logit is that of a 1": lambda x, z, a: (
            _bernoulli(1 - x, a).sum(-1) + _standard_normal(z).sum(-1)
        ),
        "you added log(2 pi) where it is subtracted": lambda x, z, a: (
            _bernoulli(x, a).sum(-1) + 0.5 * (np.log(2 * np.pi) - z**2).sum(-1)
        ),
        "you took log(2 pi) without its 1/2 in the prior": lambda x, z, a: (
            _bernoulli(x, a).sum(-1) - (0.5 * z**2 + np.log(2 * np.pi)).sum(-1)
        ),
        "you changed the sign of the likelihood: a cross-entropy is minus its logarithm": (
            lambda x, z, a: _standard_normal(z).sum(-1) - _bernoulli(x, a).sum(-1)
        ),
        "you gave the density: its logarithm is asked": lambda x, z, a: np.exp(_log_joint(x, z, a)),
        "you summed over samples and batch, too: [S, B] is asked": lambda x, z, a: _log_joint(
            x, z, a
        ).sum(),
        "you left out the pixels that are 0: they have a probability too": lambda x, z, a: (
            (x * (a - np.logaddexp(0.0, a))).sum(-1) + _standard_normal(z).sum(-1)
        ),
        "you took the logits for probabilities: a sigmoid lies between them": lambda x, z, a: (
            _naive(x, a).sum(-1) + _standard_normal(z).sum(-1)
        ),
        "you averaged over the samples, too: [S, B] is asked": lambda x, z, a: _log_joint(
            x, z, a
        ).mean(0),
        "you averaged over the batch, too: [S, B] is asked": lambda x, z, a: _log_joint(
            x, z, a
        ).mean(-1),
        "you added the prior's density: its logarithm is added": lambda x, z, a: (
            _bernoulli(x, a).sum(-1) + np.exp(_standard_normal(z)).sum(-1)
        ),
        "you added the prior's density, a product over latents: its logarithm is added": (
            lambda x, z, a: _bernoulli(x, a).sum(-1) + np.exp(_standard_normal(z).sum(-1))
        ),
        "you summed the densities of the latents before the logarithm: they multiply": (
            lambda x, z, a: _bernoulli(x, a).sum(-1) + np.log(np.exp(_standard_normal(z)).sum(-1))
        ),
        "you added the pixels' probabilities: their logarithms are added": lambda x, z, a: (
            np.exp(_bernoulli(x, a)).sum(-1) + _standard_normal(z).sum(-1)
        ),
        "you summed the prior over samples and batch, too: over the latents only": (
            lambda x, z, a: _bernoulli(x, a).sum(-1) + _standard_normal(z).sum()
        ),
        "you summed the likelihood over samples and batch, too: over the pixels only": (
            lambda x, z, a: _bernoulli(x, a).sum() + _standard_normal(z).sum(-1)
        ),
        "you took every pixel for a 1: x says which are": lambda x, z, a: (
            _bernoulli(np.ones_like(x), a).sum(-1) + _standard_normal(z).sum(-1)
        ),
        "you left out x: log p belongs to the ones only, log(1 - p) to the zeros": (
            lambda _, z, a: (a - 2 * np.logaddexp(0.0, a)).sum(-1) + _standard_normal(z).sum(-1)
        ),
        "you added log(1 + exp(logit)): it is subtracted": lambda x, z, a: (
            (x * a + np.logaddexp(0.0, a)).sum(-1) + _standard_normal(z).sum(-1)
        ),
        "you left out log(1 + exp(logit)), which makes p and 1 - p sum to one": (
            lambda x, z, a: (x * a).sum(-1) + _standard_normal(z).sum(-1)
        ),
        "you took the logits for logarithms: log p = logit - log(1 + exp(logit))": (
            lambda x, z, a: np.where(x > 0, a, -a).sum(-1) + _standard_normal(z).sum(-1)
        ),
        "you subtracted log(1 - p) of the pixels that are 0: it is added": lambda x, z, a: (
            ((2 * x - 1) * _bernoulli(x, a)).sum(-1) + _standard_normal(z).sum(-1)
        ),
        "you averaged the prior over samples and batch, too: over the latents it is summed": (
            lambda x, z, a: _bernoulli(x, a).sum(-1) + _standard_normal(z).sum(-1).mean()
        ),
        "you added the latents before the density: each has its own": lambda x, z, a: (
            _bernoulli(x, a).sum(-1) + _standard_normal(z.sum(-1))
        ),
        "you averaged the likelihood over the samples: [S, B] is asked": lambda x, z, a: (
            _bernoulli(x, a).sum(-1).mean(0) + _standard_normal(z).sum(-1)
        ),
        "you divided by sqrt(2 pi) outside the logarithm: log(2 pi) / 2 is subtracted": (
            lambda x, z, a: _bernoulli(x, a).sum(-1) - 0.5 * (z**2).sum(-1) / np.sqrt(2 * np.pi)
        ),
        "you left out the square of z in the prior": lambda x, z, a: (
            _bernoulli(x, a).sum(-1) - 0.5 * (z + np.log(2 * np.pi)).sum(-1)
        ),
        "you added z^2 / 2 in the prior: it is subtracted": lambda x, z, a: (
            _bernoulli(x, a).sum(-1) + 0.5 * (z**2 - np.log(2 * np.pi)).sum(-1)
        ),
        "you took log(2 pi) / 2 once: it belongs to each latent, and so does its 1/2": (
            lambda x, z, a: _bernoulli(x, a).sum(-1) - 0.5 * (z**2).sum(-1) - np.log(2 * np.pi)
        ),
        "you summed over the samples, too: [S, B] is asked": lambda x, z, a: _log_joint(
            x, z, a
        ).sum(0),
        "you summed over the batch, too: [S, B] is asked": lambda x, z, a: _log_joint(x, z, a).sum(
            -1
        ),
    },
    {
        "it is not finite, or not right, where a logit is 1,000 or -1,000: 1 - p is rounded to 0; "
        "write log p = -log(1 + exp(-logit)) with np.logaddexp": _survives
    },
)

# -- 00.3: KL of two Normals -----------------------------------------------------------------------


def _kl(loc_q, scale_q, loc_p, scale_p):
    ratio, shift = scale_q / scale_p, (loc_q - loc_p) / scale_p
    return (0.5 * (ratio**2 + shift**2 - 1) - np.log(ratio)).sum(-1)


def _each_kl(loc_q, scale_q, loc_p, scale_p):
    ratio, shift = scale_q / scale_p, (loc_q - loc_p) / scale_p
    return 0.5 * (ratio**2 + shift**2 - 1) - np.log(ratio)


def _normals():
    rng = np.random.default_rng(1)

    def pair(b, n):
        return rng.normal(size=(b, n)), rng.uniform(0.3, 2.5, size=(b, n))

    return [(*pair(b, n), *pair(b, n)) for b, n in ((5, 3), (2, 1), (4, 7))]


def _against_itself(function):
    loc, scale = np.array([[0.5, -2.0]]), np.array([[0.1, 3.0]])
    return np.allclose(function(loc, scale, loc, scale), 0.0, atol=1e-6)


_two_normals = Function(
    _kl,
    _normals,
    {
        "you took it the other way round, KL(p || q): the average is over q": (
            lambda m, s, n, t: _kl(n, t, m, s)
        ),
        "you left out p: KL to N(0, 1) is the special case of the page": (
            lambda m, s, _loc, _scale: _kl(m, s, 0.0, 1.0)
        ),
        "you left out the minus one in each latent": (
            lambda m, s, n, t: _each_kl(m, s, n, t).sum(-1) + 0.5 * m.shape[-1]
        ),
        "you subtracted one once: it belongs to each latent": (
            lambda m, s, n, t: _kl(m, s, n, t) + 0.5 * (m.shape[-1] - 1)
        ),
        "you averaged over the latents: the KL is a sum": (
            lambda m, s, n, t: _each_kl(m, s, n, t).mean(-1)
        ),
        "you did not sum over the latents: [B] is asked": _each_kl,
        "you summed over the batch: the latents are the last axis": (
            lambda m, s, n, t: _each_kl(m, s, n, t).sum(0)
        ),
        "you summed over latents and batch: [B] is asked": (
            lambda m, s, n, t: _each_kl(m, s, n, t).sum()
        ),
        "you took the scales for variances: they are standard deviations": (
            lambda m, s, n, t: _kl(m, np.sqrt(s), n, np.sqrt(t))
        ),
        "you added the logarithm of the ratio of the scales: it is subtracted": (
            lambda m, s, n, t: (_each_kl(m, s, n, t) + 2 * np.log(s / t)).sum(-1)
        ),
        "you took log(scale_q / scale_p) with the 1/2 of log(scale^2), too: half is missing": (
            lambda m, s, n, t: (_each_kl(m, s, n, t) + 0.5 * np.log(s / t)).sum(-1)
        ),
        "you left out the logarithm of the scales": (
            lambda m, s, n, t: (_each_kl(m, s, n, t) + np.log(s / t)).sum(-1)
        ),
        "you left out the distance of the centres": lambda m, s, n, t: _kl(0 * m, s, 0 * n, t),
        "you did not square the distance of the centres": (
            lambda m, s, n, t: (_each_kl(n, s, n, t) + 0.5 * np.abs(m - n) / t).sum(-1)
        ),
        "you did not square scale_q": (
            lambda m, s, n, t: (_each_kl(m, s, n, t) + 0.5 * (s - s**2) / t**2).sum(-1)
        ),
        "you divided by scale_p: by its square": (
            lambda m, s, n, t: (0.5 * (s**2 + (m - n) ** 2) / t - 0.5 - np.log(s / t)).sum(-1)
        ),
        "you divided by the square of scale_q: by that of scale_p": (
            lambda m, s, n, t: (_each_kl(m, s, n, s) - np.log(s / t)).sum(-1)
        ),
        "you left out the 1/2 of the squares and of the one": (
            lambda m, s, n, t: (2 * _each_kl(m, s, n, t) + np.log(s / t)).sum(-1)
        ),
        "you took log(scale^2) without its 1/2": (
            lambda m, s, n, t: (_each_kl(m, s, n, t) - np.log(s / t)).sum(-1)
        ),
        "you averaged over the batch, too: [B] is asked": lambda m, s, n, t: _kl(m, s, n, t).mean(),
        "you subtracted 1 in each latent: it is 1/2": (
            lambda m, s, n, t: (_each_kl(m, s, n, t) - 0.5).sum(-1)
        ),
        "you forgot brackets: scale_q^2 is divided by 2 scale_p^2, too": (
            lambda m, s, n, t: (s**2 + 0.5 * ((m - n) / t) ** 2 - 0.5 - np.log(s / t)).sum(-1)
        ),
        "you swapped q and p in the squares": (
            lambda m, s, n, t: (_each_kl(n, t, m, s) + 2 * np.log(t / s)).sum(-1)
        ),
        "you added 1/2 in each latent: it is subtracted": (
            lambda m, s, n, t: (_each_kl(m, s, n, t) + 1.0).sum(-1)
        ),
        "you added the centres: their difference counts": lambda m, s, n, t: _kl(m, s, -n, t),
        "you took the difference of the centres without its square": (
            lambda m, s, n, t: (_each_kl(n, s, n, t) + 0.5 * (m - n) / t**2).sum(-1)
        ),
        "you took the scales for variances in the squares": (
            lambda m, s, n, t: (0.5 * (s + (m - n) ** 2) / t - 0.5 - np.log(s / t)).sum(-1)
        ),
        "you did not divide the distance of the centres by scale_p": (
            lambda m, s, n, t: (_each_kl(n, s, n, t) + 0.5 * (m - n) ** 2).sum(-1)
        ),
        "you took a logarithm to base 2: nats are natural logarithms": (
            lambda m, s, n, t: (_each_kl(m, s, n, t) - np.log(t / s) + np.log2(t / s)).sum(-1)
        ),
        "you took the size of the distance of the centres: its square is added": (
            lambda m, s, n, t: (_each_kl(m, s, m, t) + 0.5 * np.abs(m - n) / t**2).sum(-1)
        ),
        "you multiplied the KLs of the latents: independent parts add up": (
            lambda m, s, n, t: _each_kl(m, s, n, t).prod(-1)
        ),
        "you left out the 1/2 of the last term": (
            lambda m, s, n, t: (np.log(t / s) - 0.5 + (s**2 + (m - n) ** 2) / t**2).sum(-1)
        ),
        "you subtracted the squares of the centres: the difference is squared": (
            lambda m, s, n, t: (np.log(t / s) - 0.5 + 0.5 * (s**2 + m**2 - n**2) / t**2).sum(-1)
        ),
        "you put loc_q - loc_p for both distances: under q, (z - loc_q)^2 averages to scale_q^2": (
            lambda m, s, n, t: (np.log(t / s) + 0.5 * (m - n) ** 2 * (t**-2 - s**-2)).sum(-1)
        ),
        "you left out scale_q^2: under q, (z - loc_p)^2 averages to more than the distance": (
            lambda m, s, n, t: (np.log(t / s) - 0.5 + 0.5 * ((m - n) / t) ** 2).sum(-1)
        ),
        "you put one z, loc_q, in place of the average over q (or scale_p where q has scale_q)": (
            lambda m, s, n, t: (np.log(t / s) + 0.5 * ((m - n) / t) ** 2).sum(-1)
        ),
        "you divided the one by scale_p^2, too: it is 1/2 in each latent": (
            lambda m, s, n, t: (np.log(t / s) + 0.5 * (s**2 + (m - n) ** 2 - 1) / t**2).sum(-1)
        ),
        "you did not divide scale_q^2 / 2 by scale_q^2: the middle term averages to 1/2": (
            lambda m, s, n, t: (_each_kl(m, s, n, t) + 0.5 - 0.5 * s**2).sum(-1)
        ),
        "you did not divide scale_q^2 by scale_p^2": (
            lambda m, s, n, t: (_each_kl(m, s, n, t) + 0.5 * s**2 * (1 - 1 / t**2)).sum(-1)
        ),
        "you did not divide by scale_p^2: the last term has it": (
            lambda m, s, n, t: (np.log(t / s) - 0.5 + 0.5 * (s**2 + (m - n) ** 2)).sum(-1)
        ),
        "you divided the distance of the centres by scale_q: by scale_p": (
            lambda m, s, n, t: (_each_kl(m, s, m, t) + 0.5 * ((m - n) / s) ** 2).sum(-1)
        ),
        "you subtracted the distance of the centres: it is added": (
            lambda m, s, n, t: (_each_kl(m, s, n, t) - ((m - n) / t) ** 2).sum(-1)
        ),
        "you added the terms before you squared: the cross term averages to zero": (
            lambda m, s, n, t: (np.log(t / s) - 0.5 + 0.5 * ((s + m - n) / t) ** 2).sum(-1)
        ),
        "you squared the difference of the scales: scale_q^2 alone is added": (
            lambda m, s, n, t: (
                np.log(t / s) - 0.5 + 0.5 * ((s - t) ** 2 + (m - n) ** 2) / t**2
            ).sum(-1)
        ),
        "you divided the logarithms: log(a / b) is their difference": (
            lambda m, s, n, t: (_each_kl(m, s, n, t) - np.log(t / s) + np.log(t) / np.log(s)).sum(
                -1
            )
        ),
        "you subtracted two KLs to N(0, 1): a KL is no difference of two": (
            lambda m, s, n, t: _kl(m, s, 0.0, 1.0) - _kl(n, t, 0.0, 1.0)
        ),
        "you added both ways round: KL(q || p) alone is asked": (
            lambda m, s, n, t: _kl(m, s, n, t) + _kl(n, t, m, s)
        ),
        "you averaged both ways round: KL(q || p) alone is asked": (
            lambda m, s, n, t: 0.5 * (_kl(m, s, n, t) + _kl(n, t, m, s))
        ),
        "you left out the average of the middle term, and the 1/2 of the last": (
            lambda m, s, n, t: (np.log(t / s) + (s**2 + (m - n) ** 2) / t**2).sum(-1)
        ),
        "you left out the logarithm, and the minus one": (
            lambda m, s, n, t: (0.5 * (s**2 + (m - n) ** 2) / t**2).sum(-1)
        ),
    },
    {"KL(p || p) should be zero": _against_itself},
)

# -- 00.4: KL from draws, with its standard error --------------------------------------------------


def _from_draws(log_q, log_p):
    ratio = log_q - log_p
    return ratio.mean(0), ratio.std(0, ddof=1) / np.sqrt(len(ratio))


def _log_densities():
    rng = np.random.default_rng(2)
    sizes = (7, 5), (50, 3)
    return [(rng.normal(-1, 1, size), rng.normal(-2.5, 2, size)) for size in sizes]


def _spread(change):
    """A mistake in the error alone: what becomes of (ratio [S, B], S)."""
    return lambda q, p: ((q - p).mean(0), change(q - p, len(q)))


# What may go wrong in the estimate, and in its error: an answer may have one of each.
_ESTIMATES = {
    "you took log p - log q: KL(q || p) averages log q - log p": lambda q, p: (p - q).mean(0),
    "you summed over the draws where an expectation is an average": lambda q, p: (q - p).sum(0),
    "you divided the sum by S - 1: an average divides by S": lambda q, p: (
        (q - p).sum(0) / (len(q) - 1)
    ),
    "you averaged the ratio q / p and not its logarithm": lambda q, p: np.exp(q - p).mean(0),
    "you took the logarithm of an average: the logarithm comes first": lambda q, p: np.log(
        np.exp(q - p).mean(0)
    ),
    "you divided the logarithms: log(q / p) is their difference": lambda q, p: (q / p).mean(0),
    "you weighted by log q: nothing is weighted": lambda q, p: (q * (q - p)).mean(0),
    "you weighted by log q and summed: nothing is weighted": lambda q, p: (q * (q - p)).sum(0),
    "you weighted by q: the draws come from q already": lambda q, p: (np.exp(q) * (q - p)).mean(0),
    "you weighted by q and summed: the draws come from q already": lambda q, p: (
        np.exp(q) * (q - p)
    ).sum(0),
    "you summed the ratios q / p and took the logarithm: the logarithm comes first": (
        lambda q, p: np.log(np.exp(q - p).sum(0))
    ),
    "you took absolute values: a log ratio may be negative": lambda q, p: np.abs(q - p).mean(0),
    "you squared the log ratio": lambda q, p: ((q - p) ** 2).mean(0),
    "you took half the square of the log ratio": lambda q, p: 0.5 * ((q - p) ** 2).mean(0),
    "you left out log p": lambda q, _: q.mean(0),
    "you left out log q": lambda _, p: p.mean(0),
}
_ERRORS = {
    "you took ddof=0 in the error: ddof=1 is asked": lambda ratio: (
        ratio.std(0) / np.sqrt(len(ratio))
    ),
    "you did not divide the standard deviation by sqrt(S)": lambda ratio: ratio.std(0, ddof=1),
    "you left out ddof=1 and the division by sqrt(S)": lambda ratio: ratio.std(0),
    "you divided the standard deviation by S, not by its root": lambda ratio: (
        ratio.std(0, ddof=1) / len(ratio)
    ),
    "you did not subtract the mean in the error: a standard deviation is about the mean": (
        lambda ratio: np.sqrt((ratio**2).mean(0) / len(ratio))
    ),
    "you took ddof=0 in the error, and divided by S, not by its root": lambda ratio: (
        ratio.std(0) / len(ratio)
    ),
    "you gave the variance of one draw as the error: sqrt(variance / S) is asked": lambda ratio: (
        ratio.var(0, ddof=1)
    ),
    "you gave the variance of the mean as the error: its square root is asked": lambda ratio: (
        ratio.var(0, ddof=1) / len(ratio)
    ),
}


def _wrong_in(estimate, error):
    """A function that makes a mistake in either part, or in both."""

    def mistaken(q, p):
        wrong = estimate(q, p) if estimate else (q - p).mean(0)
        return wrong, error(q - p) if error else _from_draws(q, p)[1]

    return mistaken


_EITHER = {reason: _wrong_in(estimate, None) for reason, estimate in _ESTIMATES.items()}
_EITHER |= {reason: _wrong_in(None, error) for reason, error in _ERRORS.items()}
_EITHER |= {
    f"{first}; and {second}": _wrong_in(estimate, error)
    for first, estimate in _ESTIMATES.items()
    for second, error in _ERRORS.items()
}

_draws = Function(
    _from_draws,
    _log_densities,
    {
        "you averaged the ratio q / p: it is the log ratio that is averaged": lambda q, p: (
            np.exp(q - p).mean(0),
            np.exp(q - p).std(0, ddof=1) / np.sqrt(len(q)),
        ),
        "you weighted the log ratio by q: the draws come from q already": lambda q, p: (
            (np.exp(q) * (q - p)).mean(0),
            (np.exp(q) * (q - p)).std(0, ddof=1) / np.sqrt(len(q)),
        ),
        "you averaged over the batch: the draws are the first axis": lambda q, p: (
            (q - p).mean(1),
            (q - p).std(1, ddof=1) / np.sqrt(q.shape[1]),
        ),
        "you averaged over the batch, and with ddof=0: the draws are the first axis": lambda q, p: (
            (q - p).mean(1),
            (q - p).std(1) / np.sqrt(q.shape[1]),
        ),
        "you averaged over the batch, and divided by sqrt(S): the draws are the first axis": (
            lambda q, p: ((q - p).mean(1), (q - p).std(1, ddof=1) / np.sqrt(len(q)))
        ),
        "you pooled the batch in the error: [B] is asked": (
            _spread(lambda ratio, s: ratio.std(ddof=1) / np.sqrt(s))
        ),
        "you divided log q by log p: log(q / p) is their difference": lambda q, p: (
            (q / p).mean(0),
            (q / p).std(0, ddof=1) / np.sqrt(len(q)),
        ),
        "you weighted by log q: the draws come from q already, so nothing is weighted": (
            lambda q, p: (
                (q * (q - p)).mean(0),
                (q * (q - p)).std(0, ddof=1) / np.sqrt(len(q)),
            )
        ),
        "you divided by S - 1 under the root: ddof=1 has done so, now divide by S": (
            _spread(lambda ratio, s: ratio.std(0, ddof=1) / np.sqrt(s - 1))
        ),
        "you averaged over draws and batch: [B] is asked": lambda q, p: (
            (q - p).mean(),
            (q - p).std(ddof=1) / np.sqrt(q.size),
        ),
        "you added two variances: log q and log p are of the same draws, so take that of their "
        "difference": lambda q, p: (
            (q - p).mean(0),
            np.sqrt((q.var(0, ddof=1) + p.var(0, ddof=1)) / len(q)),
        ),
        "you divided by sqrt(B): by sqrt(S), the number of draws": lambda q, p: (
            (q - p).mean(0),
            (q - p).std(0, ddof=1) / np.sqrt(q.shape[1]),
        ),
        "you gave the error first: the estimate comes first": lambda q, p: _from_draws(q, p)[::-1],
        "you took the logarithm of two averages: the logarithm comes first": lambda q, p: (
            np.log(np.exp(q).mean(0) / np.exp(p).mean(0)),
            (q - p).std(0, ddof=1) / np.sqrt(len(q)),
        ),
        "you divided by sqrt(S B): each q has its own S draws": (
            _spread(lambda ratio, _: ratio.std(0, ddof=1) / np.sqrt(ratio.size))
        ),
        "you took absolute values of all log ratios: they may be negative": lambda q, p: (
            np.abs(q - p).mean(0),
            np.abs(q - p).std(0, ddof=1) / np.sqrt(len(q)),
        ),
        "you summed over the draws, and gave the error of a sum: an expectation is an average": (
            lambda q, p: ((q - p).sum(0), (q - p).std(0, ddof=1) * np.sqrt(len(q)))
        ),
        "you took the median: an expectation is an average": lambda q, p: (
            np.median(q - p, axis=0),
            (q - p).std(0, ddof=1) / np.sqrt(len(q)),
        ),
        "you left out log q: the ratio is of q and p": lambda q, p: (
            -p.mean(0),
            p.std(0, ddof=1) / np.sqrt(len(q)),
        ),
        "you multiplied by sqrt(S): divide": (
            _spread(lambda ratio, s: ratio.std(0, ddof=1) * np.sqrt(s))
        ),
        "you gave half an interval of 95 %: the standard error alone is asked": (
            _spread(lambda ratio, s: 1.96 * ratio.std(0, ddof=1) / np.sqrt(s))
        ),
        "you subtracted two standard errors: take that of the difference": lambda q, p: (
            (q - p).mean(0),
            (q.std(0, ddof=1) - p.std(0, ddof=1)) / np.sqrt(len(q)),
        ),
        "you took the standard error of log q alone: that of the log ratio": lambda q, p: (
            (q - p).mean(0),
            q.std(0, ddof=1) / np.sqrt(len(q)),
        ),
        "you took the square root of S only: the variance needs its square root too": (
            _spread(lambda ratio, s: ratio.var(0, ddof=1) / np.sqrt(s))
        ),
    }
    | _EITHER,
    {
        "KL should not change if a constant is added to both logarithms: their difference counts": (
            lambda f: np.allclose(
                f(np.array([[1.0], [2.0]]), np.array([[0.0], [3.0]])),
                f(np.array([[11.0], [12.0]]), np.array([[10.0], [13.0]])),
            )
        )
    },
)

EXERCISES = {"00.1": _one_pixel, "00.2": _joint, "00.3": _two_normals, "00.4": _draws}
