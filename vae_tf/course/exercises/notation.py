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
        "you subtracted the logarithm of the pixel that is 0: all are added": 63 * _ON - _OFF,
        "you did not sum over the pixels": np.array([63 * _ON, _OFF]),
        "you took logarithms to base 10: nats are natural logarithms": np.log10(0.9**63 * 0.1),
        "you added the probabilities of the pixels: they multiply": np.log(63 * 0.9 + 0.1),
        "you swapped the two: 63 pixels are 1 and a single one is 0": 63 * _OFF + _ON,
        "you multiplied before the logarithm: log(63 p) is not 63 log(p)": np.log(63 * 0.9) + _OFF,
        "you took -log(0.9) for log(1 - 0.9)": 62 * _ON,
        "you counted 64 pixels that are 1: one of the 64 is 0": 64 * _ON + _OFF,
        "you averaged over what the pixels might be: they are 63 ones and a zero": (
            64 * (0.9 * _ON + 0.1 * _OFF)
        ),
    },
)

# -- 00.2: log p(x, z) of binary images ------------------------------------------------------------


def _likelihood(x, logits):
    """Log-probability of each pixel, without overflow: [S, B, D]."""
    return x * logits - np.logaddexp(0.0, logits)


def _prior(z):
    """Log-density of each latent under N(0, 1): [S, B, L]."""
    return -0.5 * (z**2 + np.log(2 * np.pi))


def _joint_of(likelihood, prior):
    """Sums what is left of the event: [S, B, D], [S, B, L] -> [S, B]."""
    return likelihood.sum(-1) + prior.sum(-1)


def _log_joint(x, z, a):
    return _joint_of(_likelihood(x, a), _prior(z))


def _of_probabilities(x, p):
    return x * np.log(p) + (1 - x) * np.log(1 - p)


def _sigmoid(a):
    return 1 / (1 + np.exp(-a))


def _images():
    rng = np.random.default_rng(0)

    def case(s, b, n, d):
        drawn = rng.integers(0, 2, (b, d)), rng.normal(size=(s, b, n)), rng.normal(0, 2, (s, b, d))
        return tuple(array.astype("float32") for array in drawn)

    return [case(7, 5, 3, 64), case(4, 2, 1, 6)]


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
            lambda x, _, a: _likelihood(x, a).sum(-1)
        ),
        "you forgot the likelihood: the joint is likelihood times prior": (
            lambda _x, z, _a: _prior(z).sum(-1)
        ),
        "you subtracted the prior: it is a factor, so its logarithm is added": (
            lambda x, z, a: _joint_of(_likelihood(x, a), -_prior(z))
        ),
        "you changed the sign of the likelihood: a cross-entropy is minus its logarithm": (
            lambda x, z, a: _joint_of(-_likelihood(x, a), _prior(z))
        ),
        "you left out log(2 pi) of the prior: densities come with their constants": (
            lambda x, z, a: _joint_of(_likelihood(x, a), -0.5 * z**2)
        ),
        "you took log(2 pi) / 2 once: it belongs to each latent": (
            lambda x, z, a: _joint_of(_likelihood(x, a), -0.5 * z**2) - 0.5 * np.log(2 * np.pi)
        ),
        "you took log(2 pi) without its 1/2 in the prior": (
            lambda x, z, a: _joint_of(_likelihood(x, a), -0.5 * z**2 - np.log(2 * np.pi))
        ),
        "you left out the 1/2 of z^2 in the prior": (
            lambda x, z, a: _joint_of(_likelihood(x, a), _prior(z) - 0.5 * z**2)
        ),
        "you averaged over pixels and latents: both are events, and summed": (
            lambda x, z, a: _likelihood(x, a).mean(-1) + _prior(z).mean(-1)
        ),
        "you averaged over the pixels: they are one event, and summed": (
            lambda x, z, a: _likelihood(x, a).mean(-1) + _prior(z).sum(-1)
        ),
        "you averaged over the latents: they are one event, and summed": (
            lambda x, z, a: _likelihood(x, a).sum(-1) + _prior(z).mean(-1)
        ),
        "you took the logits for probabilities: p is 1 / (1 + exp(-logit))": (
            lambda x, z, a: _joint_of(_of_probabilities(x, a), _prior(z))
        ),
        "you clipped the logits as if they were probabilities: p is 1 / (1 + exp(-logit))": (
            lambda x, z, a: _joint_of(_of_probabilities(x, np.clip(a, 1e-7, 1 - 1e-7)), _prior(z))
        ),
        "you added up p and 1 - p of the pixels without their logarithms": (
            lambda x, z, a: _joint_of(x * _sigmoid(a) + (1 - x) * _sigmoid(-a), _prior(z))
        ),
        "you left out the logarithm's term: a pixel has x a - log(1 + exp(a))": (
            lambda x, z, a: _joint_of(x * a, _prior(z))
        ),
        "you forgot the square of z in the prior": (
            lambda x, z, a: _joint_of(_likelihood(x, a), -0.5 * (z + np.log(2 * np.pi)))
        ),
        "you changed the sign of z^2 in the prior: it is -z^2 / 2": (
            lambda x, z, a: _joint_of(_likelihood(x, a), _prior(z) + z**2)
        ),
        "you took log(2 pi) / 2 of the prior with a plus": (
            lambda x, z, a: _joint_of(_likelihood(x, a), _prior(z) + np.log(2 * np.pi))
        ),
        "you multiplied the logarithms: the logarithm of a product is a sum": (
            lambda x, z, a: _likelihood(x, a).sum(-1) * _prior(z).sum(-1)
        ),
        "you added the density of the prior: its logarithm is added": (
            lambda x, z, a: _likelihood(x, a).sum(-1) + np.exp(_prior(z).sum(-1))
        ),
        "you summed over samples and batch, too: [S, B] is asked": (
            lambda x, z, a: _log_joint(x, z, a).sum()
        ),
        "you changed the sign of the logit inside the logarithm: log(1 + exp(logit))": (
            lambda x, z, a: _joint_of(x * a - np.logaddexp(0, -a), _prior(z))
        ),
        "you swapped 0 and 1: the logit is that of a 1": (
            lambda x, z, a: _joint_of(_likelihood(1 - x, a), _prior(z))
        ),
        "you left out the pixels that are 0: they have a probability too": (
            lambda x, z, a: _joint_of(x * _likelihood(x, a), _prior(z))
        ),
        "you gave the density: its logarithm is asked": (
            lambda x, z, a: np.exp(_log_joint(x, z, a))
        ),
    },
    {
        "it is not finite, or not right, where a logit is 1,000 or -1,000: 1 - p is rounded to 0; "
        "write log p = -log(1 + exp(-logit)) with np.logaddexp": _survives
    },
)

# -- 00.3: KL of two Normals -----------------------------------------------------------------------


def _each_kl(m, s, n, t):
    """KL of each latent of q = N(m, s^2) to p = N(n, t^2): [B, L]."""
    return np.log(t / s) - 0.5 + 0.5 * (s**2 + (m - n) ** 2) / t**2


def _kl(m, s, n, t):
    return _each_kl(m, s, n, t).sum(-1)


def _normals():
    rng = np.random.default_rng(1)

    def pair(b, n):
        return rng.normal(size=(b, n)), rng.uniform(0.3, 2.5, size=(b, n))

    return [(*pair(b, n), *pair(b, n)) for b, n in ((5, 3), (2, 1), (4, 7))]


_two_normals = Function(
    _kl,
    _normals,
    {
        "you took it the other way round, KL(p || q): the average is over q": (
            lambda m, s, n, t: _kl(n, t, m, s)
        ),
        "you left out p: KL to N(0, 1) is the special case of the page": (
            lambda m, s, _n, _t: _kl(m, s, 0.0, 1.0)
        ),
        "you left out the minus 1/2 in each latent": (
            lambda m, s, n, t: (_each_kl(m, s, n, t) + 0.5).sum(-1)
        ),
        "you averaged over the latents: the KL is a sum": (
            lambda m, s, n, t: _each_kl(m, s, n, t).mean(-1)
        ),
        "you did not sum over the latents: [B] is asked": _each_kl,
        "you took the scales for variances: they are standard deviations": (
            lambda m, s, n, t: _kl(m, np.sqrt(s), n, np.sqrt(t))
        ),
        "you turned the ratio in the logarithm round: it is scale_p / scale_q": (
            lambda m, s, n, t: (_each_kl(m, s, n, t) + 2 * np.log(s / t)).sum(-1)
        ),
        "you left out the logarithm of the scales": (
            lambda m, s, n, t: (_each_kl(m, s, n, t) + np.log(s / t)).sum(-1)
        ),
        "you left out the distance of the centres": lambda m, s, _, t: _kl(m, s, m, t),
        "you left out scale_q^2: under q, (z - loc_p)^2 averages to more than the distance": (
            lambda m, s, n, t: (_each_kl(m, s, n, t) - 0.5 * s**2 / t**2).sum(-1)
        ),
        "you put loc_q - loc_p for both distances: under q, (z - loc_q)^2 averages to scale_q^2": (
            lambda m, s, n, t: (np.log(t / s) + 0.5 * (m - n) ** 2 * (t**-2 - s**-2)).sum(-1)
        ),
        "you put one z, loc_q, in place of the average over q": (
            lambda m, s, n, t: (np.log(t / s) + 0.5 * ((m - n) / t) ** 2).sum(-1)
        ),
        "you left out the 1/2 of the last term": (
            lambda m, s, n, t: (np.log(t / s) - 0.5 + (s**2 + (m - n) ** 2) / t**2).sum(-1)
        ),
        "you did not square scale_p under the last fraction": (
            lambda m, s, n, t: (np.log(t / s) - 0.5 + 0.5 * (s**2 + (m - n) ** 2) / t).sum(-1)
        ),
        "you did not square scale_q in the last fraction": (
            lambda m, s, n, t: (np.log(t / s) - 0.5 + 0.5 * (s + (m - n) ** 2) / t**2).sum(-1)
        ),
        "you did not square the distance of the centres": (
            lambda m, s, n, t: (np.log(t / s) - 0.5 + 0.5 * (s**2 + m - n) / t**2).sum(-1)
        ),
        "you took the distance of the centres without its square": (
            lambda m, s, n, t: (np.log(t / s) - 0.5 + 0.5 * (s**2 + abs(m - n)) / t**2).sum(-1)
        ),
        "you took the difference of the squares for the square of the difference": (
            lambda m, s, n, t: (np.log(t / s) - 0.5 + 0.5 * (s**2 + m**2 - n**2) / t**2).sum(-1)
        ),
        "you divided only one of two terms by 2 scale_p^2: scale_q^2 and the squared distance": (
            lambda m, s, n, t: (np.log(t / s) - 0.5 + s**2 + 0.5 * ((m - n) / t) ** 2).sum(-1)
        ),
        "you divided by 2 and then multiplied by scale_p^2: 2 scale_p^2 is below the line": (
            lambda m, s, n, t: (np.log(t / s) - 0.5 + 0.5 * (s**2 + (m - n) ** 2) * t**2).sum(-1)
        ),
        "you left out scale_p^2 below the line": (
            lambda m, s, n, t: (np.log(t / s) - 0.5 + 0.5 * (s**2 + (m - n) ** 2)).sum(-1)
        ),
        "you divided by scale_q^2: the last term has scale_p^2 below the line": (
            lambda m, s, n, t: (np.log(t / s) - 0.5 + 0.5 * (s**2 + (m - n) ** 2) / s**2).sum(-1)
        ),
        "you took the difference of the scales: under q, (z - loc_p)^2 has scale_q^2 alone": (
            lambda m, s, n, t: (
                np.log(t / s) - 0.5 + 0.5 * ((s - t) ** 2 + (m - n) ** 2) / t**2
            ).sum(-1)
        ),
        "you put loc_q - loc_p for z - loc_q: under q, (z - loc_q)^2 averages to scale_q^2": (
            lambda m, s, n, t: (
                np.log(t / s) - 0.5 * ((m - n) / s) ** 2 + 0.5 * (s**2 + (m - n) ** 2) / t**2
            ).sum(-1)
        ),
        "you took 1/2 away once: it belongs to each latent": (
            lambda m, s, n, t: (_each_kl(m, s, n, t) + 0.5).sum(-1) - 0.5
        ),
        "you took 1 away where each latent has 1/2": (
            lambda m, s, n, t: (_each_kl(m, s, n, t) - 0.5).sum(-1)
        ),
        "you added the 1/2 of each latent: it is taken away": (
            lambda m, s, n, t: (_each_kl(m, s, n, t) + 1).sum(-1)
        ),
        "you took the logarithm of the variances: halve it, or take that of the scales": (
            lambda m, s, n, t: (_each_kl(m, s, n, t) + np.log(t / s)).sum(-1)
        ),
        "you halved the logarithm of the scales: half belongs to that of the variances": (
            lambda m, s, n, t: (_each_kl(m, s, n, t) - 0.5 * np.log(t / s)).sum(-1)
        ),
        "you took the logarithm of the scales to base 2": (
            lambda m, s, n, t: (_each_kl(m, s, n, t) - np.log(t / s) + np.log2(t / s)).sum(-1)
        ),
    },
)

# -- 00.4: KL from draws, with its standard error --------------------------------------------------


def _mean_and_error(draws, axis=0):
    return draws.mean(axis), draws.std(axis, ddof=1) / np.sqrt(draws.shape[axis])


def _with_error(error):
    """The right estimate, with an error from the log ratio, [S, B], that is mistaken."""
    return lambda q, p: ((q - p).mean(0), error(q - p))


def _log_densities():
    rng = np.random.default_rng(2)
    sizes = (7, 5), (50, 3)
    return [(rng.normal(-1, 1, size), rng.normal(-2.5, 2, size)) for size in sizes]


_draws = Function(
    lambda q, p: _mean_and_error(q - p),
    _log_densities,
    {
        "you took log p - log q: KL(q || p) averages log q - log p": (
            lambda q, p: _mean_and_error(p - q)
        ),
        "you averaged the ratio q / p: it is the log ratio that is averaged": (
            lambda q, p: _mean_and_error(np.exp(q - p))
        ),
        "you divided log q by log p: log(q / p) is their difference": (
            lambda q, p: _mean_and_error(q / p)
        ),
        "you weighted the log ratio by q: the draws come from q already": (
            lambda q, p: _mean_and_error(np.exp(q) * (q - p))
        ),
        "you averaged over the batch: the draws are the first axis": (
            lambda q, p: _mean_and_error(q - p, axis=1)
        ),
        "you averaged over draws and batch: [B] is asked": (
            lambda q, p: _mean_and_error((q - p).ravel())
        ),
        "you summed over the draws where an expectation is an average": (
            lambda q, p: ((q - p).sum(0), _mean_and_error(q - p)[1])
        ),
        "you gave the error first: the estimate comes first": (
            lambda q, p: _mean_and_error(q - p)[::-1]
        ),
        "you took ddof=0 in the error: ddof=1 is asked": (
            _with_error(lambda r: r.std(0) / np.sqrt(len(r)))
        ),
        "you did not divide the standard deviation by sqrt(S)": (
            _with_error(lambda r: r.std(0, ddof=1))
        ),
        "you divided the standard deviation by S, not by its root": (
            _with_error(lambda r: r.std(0, ddof=1) / len(r))
        ),
        "you gave the variance of the mean as the error: its square root is asked": (
            _with_error(lambda r: r.var(0, ddof=1) / len(r))
        ),
        "you took the variance in the error: the standard deviation is divided by sqrt(S)": (
            _with_error(lambda r: r.var(0, ddof=1) / np.sqrt(len(r)))
        ),
        "you gave the variance as the error: take its root, and divide by sqrt(S)": (
            _with_error(lambda r: r.var(0, ddof=1))
        ),
        "you divided by the root of B, the number of distributions: S draws are averaged": (
            _with_error(lambda r: r.std(0, ddof=1) / np.sqrt(r.shape[1]))
        ),
        "you divided by the root of S times B: each mean has S draws": (
            _with_error(lambda r: r.std(0, ddof=1) / np.sqrt(r.size))
        ),
        "you divided by the root of S - 1 after ddof=1: sqrt(S) is asked": (
            _with_error(lambda r: r.std(0, ddof=1) / np.sqrt(len(r) - 1))
        ),
        "you multiplied the standard deviation by sqrt(S): the error falls with S": (
            _with_error(lambda r: r.std(0, ddof=1) * np.sqrt(len(r)))
        ),
        "you took one error for all distributions: [B] is asked, along the first axis": (
            lambda q, p: ((q - p).mean(0), (q - p).std(ddof=1) / np.sqrt(len(q)))
        ),
        "you took the spread of log q alone: that of the log ratio is asked": (
            lambda q, p: ((q - p).mean(0), _mean_and_error(q)[1])
        ),
        "you took the median: an expectation is estimated by the mean": (
            lambda q, p: (np.median(q - p, 0), _mean_and_error(q - p)[1])
        ),
        "you added the variances of log q and log p: take that of their difference": (
            lambda q, p: (
                (q - p).mean(0),
                np.sqrt((q.var(0, ddof=1) + p.var(0, ddof=1)) / len(q)),
            )
        ),
        "you took the logarithm of the mean ratio: the mean of the log ratio is asked": (
            lambda q, p: (np.log(np.exp(q - p).mean(0)), _mean_and_error(q - p)[1])
        ),
        "you took the absolute value of the log ratio: single draws may be negative": (
            lambda q, p: _mean_and_error(abs(q - p))
        ),
        "you weighted the log ratio by q and summed: the draws come from q already": (
            lambda q, p: ((np.exp(q) * (q - p)).sum(0), _mean_and_error(q - p)[1])
        ),
        "you weighted the log ratio by q in estimate and error: the draws come from q already": (
            lambda q, p: (
                (np.exp(q) * (q - p)).sum(0),
                _mean_and_error(np.exp(q) * (q - p))[1],
            )
        ),
    },
)

EXERCISES = {"00.1": _one_pixel, "00.2": _joint, "00.3": _two_normals, "00.4": _draws}
