"""Exercises of notebook 04b: memorising and its price."""

import functools

import numpy as np

from vae_tf import data
from vae_tf.course.checks import Function, Value

__all__ = ["EXERCISES"]


# -- 04b.1: when a table is a bad bargain ---------------------------------------------------------


@functools.cache
def _frequencies():
    """How often each pixel is black in the 200 digits of the stub, [64]."""
    return data.binarize(data.load("digits").x_train[:200], seed=0).mean(axis=0).ravel()


def _entropies(p):
    """-p log p, and 0 at 0."""
    return -p * np.log(np.where(p > 0, p, 1.0))


_BLACK, _WHITE = (_entropies(p) for p in (_frequencies(), 1 - _frequencies()))
_BREAK_EVEN = (_BLACK + _WHITE).sum() / np.log(200)


# -- 04b.2: a free discount -----------------------------------------------------------------------


def _second_moment(loc, scale):
    return np.mean(loc**2 + scale**2, axis=0)


def _factor(loc, scale):
    return _second_moment(loc, scale) ** -0.5


def _one_factor(loc, scale):
    found = np.mean(loc**2 + scale**2) ** -0.5
    return found if loc.shape[1] > 1 else found.reshape(1)


def _mean_kl(loc, scale):
    """Of each latent, averaged over the examples, [L]."""
    return np.mean((loc**2 + scale**2 - 1) / 2 - np.log(scale), axis=0)


def _codes():
    """B = 7, L = 3; B = 1, L = 2; codes far apart and narrow, B = 40, L = 1."""
    rng, cases = np.random.default_rng(42), []
    for batch, latents, centre, spread, width in (
        (7, 3, 0.7, 2.0, -1.0),
        (1, 2, -0.4, 1.0, 0.5),
        (40, 1, 3.0, 90.0, -6.0),
    ):
        loc = centre + spread * rng.normal(size=(batch, latents))
        cases.append((loc, np.exp(width + 0.6 * rng.normal(size=(batch, latents)))))
    return cases


def _cannot_be_improved(factor):
    """No other factor near the one that was found has a lower mean KL."""
    for loc, scale in _codes():
        found = np.broadcast_to(np.asarray(factor(loc, scale), "float64"), loc.shape[1:])
        best = _mean_kl(found * loc, found * scale)
        for c in (0.98 * found, 1.02 * found):
            if np.any(_mean_kl(c * loc, c * scale) < best):
                return False
    return True


# -- 04b.3: the AUC -------------------------------------------------------------------------------


def _pairs(members, strangers):
    return members[:, None] - strangers


def _auc(members, strangers):
    pairs = _pairs(members, strangers)
    return np.mean(pairs > 0) + 0.5 * np.mean(pairs == 0)


def _one_to_one(members, strangers):
    n = min(len(members), len(strangers))
    pairs = members[:n] - strangers[:n]
    return np.mean(pairs > 0) + 0.5 * np.mean(pairs == 0)


def _of_ranks(members, strangers):
    """One to one after sorting."""
    return _one_to_one(np.sort(members), np.sort(strangers))


def _best_accuracy(members, strangers):
    cuts = np.concatenate([members, strangers])
    right = [(members >= c).mean() + (strangers < c).mean() for c in cuts]
    return max(right) / 2


def _median_accuracy(members, strangers):
    cut = np.median(np.concatenate([members, strangers]))
    return ((members > cut).mean() + (strangers <= cut).mean()) / 2


def _scores():
    """Unequal sizes; with ties; all equal; log-probabilities near -1000."""
    rng = np.random.default_rng(43)
    return [
        (rng.normal(0.8, 1.0, 11), rng.normal(0.0, 1.0, 6)),
        (rng.integers(1, 5, 9).astype(float), rng.integers(0, 4, 14).astype(float)),
        (np.full(3, 2.0), np.full(5, 2.0)),
        (-1000 + rng.normal(0.3, 1.0, 4), -1000 + rng.normal(0.0, 1.0, 8)),
    ]


# -- 04b.4: the information of a code -------------------------------------------------------------


def _log_normal(z, loc, scale):
    return -0.5 * ((z - loc) / scale) ** 2 - np.log(scale) - 0.5 * np.log(2 * np.pi)


def _log_mean_exp(values):
    """Over the last axis."""
    top = values.max(axis=-1, keepdims=True)
    return top[..., 0] + np.log(np.exp(values - top).mean(axis=-1))


def _densities(loc, scale, noise):
    """log q(z|x_m) at the draws of every code, [S, N, N], and those of the codes' own, [S, N]."""
    z = loc + scale * noise
    every = _log_normal(z[:, :, None], loc, scale).sum(axis=-1)
    return every, _log_normal(z, loc, scale).sum(axis=-1)


def _log_ratios(loc, scale, noise):
    every, own = _densities(loc, scale, noise)
    return own - _log_mean_exp(every)


def _information(loc, scale, noise):
    return np.mean(_log_ratios(loc, scale, noise))


def _without_log_n(loc, scale, noise):
    return _information(loc, scale, noise) - np.log(len(loc))


def _averaged_latents(loc, scale, noise):
    z = loc + scale * noise
    own = _log_normal(z, loc, scale).mean(axis=-1)
    return np.mean(own - _log_mean_exp(_log_normal(z[:, :, None], loc, scale).mean(axis=-1)))


def _each_latent(loc, scale, noise):
    columns = zip(loc.T, scale.T, np.moveaxis(noise, -1, 0), strict=True)
    return sum(_information(m[:, None], s[:, None], e[..., None]) for m, s, e in columns)


def _against_prior(loc, scale, noise):
    z = loc + scale * noise
    return np.mean(_log_normal(z, loc, scale).sum(-1) - _log_normal(z, 0, 1).sum(-1))


def _mean_of_logs(loc, scale, noise):
    every, own = _densities(loc, scale, noise)
    return np.mean(own - every.mean(axis=-1))


def _without_own(loc, scale, noise):
    every, own = _densities(loc, scale, noise)
    others = every + np.where(np.eye(len(loc), dtype=bool), -np.inf, 0.0)
    n = len(loc)
    return np.mean(own - _log_mean_exp(others) - np.log(n / (n - 1)))


def _underflowing(loc, scale, noise):
    every, own = _densities(loc, scale, noise)
    return np.mean(own - np.log(np.exp(every).mean(axis=-1)))


def _noise_as_draws(loc, scale, noise):
    every = _log_normal(noise[:, :, None], loc, scale).sum(axis=-1)
    return np.mean(_log_normal(noise, loc, scale).sum(axis=-1) - _log_mean_exp(every))


def _variance_for_scale(loc, scale, noise):
    return _information(loc, scale**2, noise)


def _coded():
    """S = 7, N = 5, L = 3; S = 4, N = 2, L = 1; 6 codes far apart; 3 codes of 900 latents."""
    rng, cases = np.random.default_rng(44), []
    for samples, examples, latents, spread, width in ((7, 5, 3, 1.0, -0.3), (4, 2, 1, 0.5, 0.0)):
        loc = spread * rng.normal(size=(examples, latents))
        scale = np.exp(width + 0.3 * rng.normal(size=(examples, latents)))
        cases.append((loc, scale, rng.normal(size=(samples, examples, latents))))
    far = 60 * rng.normal(size=(6, 2)), np.exp(-3 + 0.2 * rng.normal(size=(6, 2)))
    many = rng.normal(size=(3, 900)), np.exp(0.1 * rng.normal(size=(3, 900)))
    return [*cases, (*far, rng.normal(size=(3, 6, 2))), (*many, rng.normal(size=(2, 3, 900)))]


def _kl_in_closed_form(loc, scale, _):
    return _mean_kl(loc, scale).sum()


def _summed_over_draws(loc, scale, noise):
    """The mean over the draws of the other codes, not the density of all codes at a draw."""
    every, own = _densities(loc, scale, noise)
    return np.mean(own - _log_mean_exp(np.swapaxes(every, 1, 2)))


def _table_saturates(information):
    """Codes that lie thousands of scales apart."""
    rng = np.random.default_rng(45)
    loc, noise = 1000.0 * np.arange(8)[:, None], rng.normal(size=(5, 8, 1))
    return np.allclose(information(loc, np.full((8, 1), 0.1), noise), np.log(8), rtol=1e-5)


def _equal_codes_tell_nothing(information):
    rng = np.random.default_rng(46)
    equal = np.full((4, 2), 0.3), np.full((4, 2), 0.7)
    return np.allclose(information(*equal, rng.normal(size=(6, 4, 2))), 0.0, atol=1e-6)


# -- 04b.5: the memorisation score of a table -----------------------------------------------------


def _table(members, flip):
    """log p(x_n | the table has x_m alone), [N, N]."""
    wrong = np.abs(members[:, None] - members).sum(axis=-1)
    return wrong * np.log(flip) + (members.shape[1] - wrong) * np.log1p(-flip)


def _log_sum_exp(values):
    top = values.max(axis=-1, keepdims=True)
    return top[..., 0] + np.log(np.exp(values - top).sum(axis=-1))


def _parts(members, flip):
    """log p(x_n) under the whole table and under the one without x_n, each [N]."""
    rows, n = _table(members, flip), len(members)
    without = rows + np.where(np.eye(n, dtype=bool), -np.inf, 0.0)
    return _log_sum_exp(rows) - np.log(n), _log_sum_exp(without) - np.log(n - 1)


def _score(members, flip):
    whole, without = _parts(members, flip)
    return whole - without


def _score_same_n(members, flip):
    n = len(members)
    return _score(members, flip) + np.log(n / (n - 1))


def _score_pixels(members, flip):
    return _score(members, flip) / members.shape[1]


def _score_only_wrong(members, flip):
    """Without the pixels that agree."""
    wrong, n = np.abs(members[:, None] - members).sum(axis=-1), len(members)
    rows = wrong * np.log(flip)
    without = rows + np.where(np.eye(n, dtype=bool), -np.inf, 0.0)
    return _log_sum_exp(rows) - _log_sum_exp(without) - np.log(n / (n - 1))


def _score_of_best(members, flip):
    """The nearest other member in place of the sum over all."""
    rows, n = _table(members, flip), len(members)
    without = rows + np.where(np.eye(n, dtype=bool), -np.inf, 0.0)
    return rows.max(axis=-1) - without.max(axis=-1) - np.log(n / (n - 1))


def _score_zeroed(members, flip):
    """The own term set to log 1 = 0 in place of -inf."""
    rows, n = _table(members, flip), len(members)
    without = np.where(np.eye(n, dtype=bool), 0.0, rows)
    return _log_sum_exp(rows) - _log_sum_exp(without) - np.log(n / (n - 1))


def _score_mean_of_logs(members, flip):
    rows, n = _table(members, flip), len(members)
    others = (rows.sum(axis=-1) - np.diagonal(rows)) / (n - 1)
    return rows.mean(axis=-1) - others


def _score_of_shares(members, flip):
    """The share of wrong pixels in place of their number."""
    pixels, n = members.shape[1], len(members)
    rows = _table(members, flip) / pixels
    without = rows + np.where(np.eye(n, dtype=bool), -np.inf, 0.0)
    return _log_sum_exp(rows) - _log_sum_exp(without) - np.log(n / (n - 1))


def _score_own_against_others(members, flip):
    rows, n = _table(members, flip), len(members)
    without = rows + np.where(np.eye(n, dtype=bool), -np.inf, 0.0)
    return np.diagonal(rows) - _log_sum_exp(without)


def _score_underflows(members, flip):
    rows, n = np.exp(_table(members, flip)), len(members)
    return np.log(rows.mean(axis=-1)) - np.log((rows.sum(axis=-1) - np.diagonal(rows)) / (n - 1))


def _score_swapped(members, flip):
    return _score(members, 1 - flip)


def _tables():
    """N = 7, D = 12; N = 3, D = 5 with a digit twice; 4 digits of 2,000 pixels, near -1000."""
    rng, cases = np.random.default_rng(47), []
    for n, pixels, flip in ((7, 12, 0.2), (3, 5, 0.1), (4, 2000, 0.3)):
        members = (rng.random((n, pixels)) < 0.4).astype("float64")
        if n == 3:
            members[2] = members[0]
        cases.append((members, flip))
    return cases


def _half_is_no_table(score):
    """With half of the pixels flipped all images are equally probable."""
    members = np.eye(5)
    return np.allclose(score(members, 0.5), 0.0, atol=1e-5)


EXERCISES: dict[str, Value | Function] = {
    "04b.1": Value(
        _BREAK_EVEN,
        mistakes={
            "you averaged over the 64 pixels; the log-likelihood of a digit is a sum": (
                _BREAK_EVEN / 64
            ),
            "you left out the white pixels; each adds (1 - f) log(1 - f)": (
                _BLACK.sum() / np.log(200)
            ),
            "you left out the black pixels; each adds f log f": _WHITE.sum() / np.log(200),
            "you took log N in bits, and the reconstruction in nats": _BREAK_EVEN * np.log(2),
            "you gave log 2 to every pixel; only a pixel with frequency 1/2 has it": (
                64 * np.log(2) / np.log(200)
            ),
            "you took N and not log N as the price of the table": (_BLACK + _WHITE).sum() / 200,
            "you inverted the ratio: reconstruction lost over KL saved": 1 / _BREAK_EVEN,
            "you gave the reconstruction of the second model; divide it by the KL of the table": (
                (_BLACK + _WHITE).sum()
            ),
            "you gave the average frequency f to every pixel; each pixel has its own": (
                64
                * sum(_entropies(np.array([p, 1 - p])).sum() for p in [_frequencies().mean()])
                / np.log(200)
            ),
        },
    ),
    "04b.2": Function(
        truth=_factor,
        cases=_codes,
        mistakes={
            "you gave the square of the factor": lambda *case: _factor(*case) ** 2,
            "you gave 1 / c": lambda *case: 1 / _factor(*case),
            "you gave 1 / c^2, the second moment itself": lambda *case: _factor(*case) ** -2,
            "you measured from the average mean; the prior sits at zero": (
                lambda loc, scale: (loc.var(axis=0) + np.mean(scale**2, axis=0)) ** -0.5
            ),
            "you left out the scales; a code pays for its spread too": (
                lambda loc, _: np.mean(loc**2, axis=0) ** -0.5
            ),
            "you left out the means": lambda _, scale: np.mean(scale**2, axis=0) ** -0.5,
            "you forgot to square the scales": (
                lambda loc, scale: np.mean(loc**2 + scale, axis=0) ** -0.5
            ),
            "you summed over the examples where a mean belongs": (
                lambda loc, scale: np.sum(loc**2 + scale**2, axis=0) ** -0.5
            ),
            "you averaged over the latents; each has a factor of its own": (
                lambda loc, scale: np.full(loc.shape[1], np.mean(loc**2 + scale**2) ** -0.5)
            ),
            "you averaged over the latents, and gave one number; each latent has a factor": (
                _one_factor
            ),
            "you gave each example a factor; the decoder can undo only one for all examples": (
                lambda loc, scale: (loc**2 + scale**2) ** -0.5
            ),
            "you averaged lengths; the mean is that of squares": (
                lambda loc, scale: 1 / np.mean((loc**2 + scale**2) ** 0.5, axis=0)
            ),
            "you averaged the scales before you squared them": (
                lambda loc, scale: (np.mean(loc**2, axis=0) + np.mean(scale, axis=0) ** 2) ** -0.5
            ),
            "you averaged the means before you squared them": (
                lambda loc, scale: (np.mean(loc, axis=0) ** 2 + np.mean(scale**2, axis=0)) ** -0.5
            ),
            "you measured the means from their average, and left out the scales": (
                lambda loc, _: np.where(len(loc) > 1, loc.std(axis=0), np.inf) ** -1.0
            ),
            "you averaged roots; the mean stands under the root": (
                lambda loc, scale: np.mean((loc**2 + scale**2) ** -0.5, axis=0)
            ),
        },
        properties={
            "you can go lower: with another factor near yours the mean KL is smaller": (
                _cannot_be_improved
            )
        },
    ),
    "04b.3": Function(
        truth=_auc,
        cases=_scores,
        mistakes={
            "you counted the pairs in which the stranger is higher": lambda m, s: 1 - _auc(m, s),
            "you left out the ties; each counts one half": (lambda m, s: np.mean(_pairs(m, s) > 0)),
            "you counted each tie as one; it counts one half": (
                lambda m, s: np.mean(_pairs(m, s) >= 0)
            ),
            "you summed over the pairs; the AUC is a share of them": (
                lambda m, s: _auc(m, s) * len(m) * len(s)
            ),
            "you counted the pairs, without the ties; the AUC is a share, each tie one half": (
                lambda m, s: np.sum(_pairs(m, s) > 0)
            ),
            "you counted the pairs in which the stranger is higher, and left out the ties": (
                lambda m, s: np.mean(_pairs(m, s) < 0)
            ),
            "you asked how many members exceed the average stranger; every pair counts": (
                lambda m, s: np.mean(m > s.mean())
            ),
            "you asked how many members exceed the middle stranger; every pair counts": (
                lambda m, s: np.mean(m > np.median(s))
            ),
            "you forgot to subtract the ranks that members have among themselves": (
                lambda m, s: _auc(m, s) + (len(m) + 1) / (2 * len(s))
            ),
            "you paired each member with one stranger; every pair counts": _one_to_one,
            "you paired the sorted scores one to one; every pair counts": _of_ranks,
            "you gave the accuracy of the best threshold; the AUC is a share of pairs": (
                _best_accuracy
            ),
            "you gave the accuracy of the median as threshold; the AUC is a share of pairs": (
                _median_accuracy
            ),
            "you gave the difference of the two means; only the order of a pair counts": (
                lambda m, s: m.mean() - s.mean()
            ),
            "you divided by the number of members only": lambda m, s: _auc(m, s) * len(s),
            "you gave 2 AUC - 1, which is zero for a coin": lambda m, s: 2 * _auc(m, s) - 1,
        },
        properties={
            "any increasing function of the scores should leave the AUC as it is": (
                lambda auc: np.allclose(auc(*_scores()[0]), auc(*map(np.exp, _scores()[0])))
            )
        },
    ),
    "04b.4": Function(
        truth=_information,
        cases=_coded,
        mistakes={
            "you summed over the codes in q(z); it is their mean, which adds log N": _without_log_n,
            "you averaged over the latents; log-densities add up": _averaged_latents,
            "you added up the information of each latent alone; q(z) mixes whole codes": (
                _each_latent
            ),
            "you compared with the prior; that gives the KL, and q(z) belongs here": _against_prior,
            "you averaged logarithms in q(z); it is the logarithm of a mean of densities": (
                _mean_of_logs
            ),
            "you left the code's own density out of q(z)": _without_own,
            "you gave log N, its largest value; codes that overlap tell less": (
                lambda loc, *_: np.log(len(loc))
            ),
            "you gave the mean KL to the prior; the information is a part of it": (
                _kl_in_closed_form
            ),
            "you averaged one code's density over the draws of all; q(z) averages all densities "
            "at one draw": _summed_over_draws,
            "you subtracted log N where it is to be added": (
                lambda *case: _information(*case) - 2 * np.log(len(case[0]))
            ),
            "you averaged over the draws alone; average over the examples too": (
                lambda *case: np.mean(_log_ratios(*case), axis=0)
            ),
            "you averaged over the examples alone; average over the draws too": (
                lambda *case: np.mean(_log_ratios(*case), axis=1)
            ),
            "you exponentiated log-densities near -1000, which gives zero: subtract the largest "
            "first, as logsumexp does": _underflowing,
            "you took the noise itself as draws: z = loc + scale * noise": _noise_as_draws,
            "you squared the scales; they are standard deviations": _variance_for_scale,
            "you subtracted the wrong way round": lambda *case: -_information(*case),
            "you summed over the draws; the information is a mean": (
                lambda loc, scale, noise: _information(loc, scale, noise) * len(noise)
            ),
            "you summed over draws and examples; the information is a mean": (
                lambda loc, scale, noise: _information(loc, scale, noise) * noise[..., 0].size
            ),
        },
        properties={
            "codes that lie far apart should give log N": _table_saturates,
            "equal codes should give zero": _equal_codes_tell_nothing,
        },
    ),
    "04b.5": Function(
        truth=_score,
        cases=_tables,
        mistakes={
            "you kept N in the table without x_n; it has N - 1 digits left": _score_same_n,
            "you returned log p of the table without x_n; the score is a difference": (
                lambda *case: _parts(*case)[1]
            ),
            "you returned log p of the whole table; the score is a difference": (
                lambda *case: _parts(*case)[0]
            ),
            "you subtracted the wrong way round: the whole table comes first": (
                lambda *case: -_score(*case)
            ),
            "you averaged over the digits; each has a score of its own": (
                lambda *case: np.mean(_score(*case))
            ),
            "you averaged over the pixels; their log-probabilities add up": _score_pixels,
            "you left out the pixels that agree; each has the probability 1 - flip": (
                _score_only_wrong
            ),
            "you took the nearest digit alone; the table sums over all": _score_of_best,
            "you set the log-probability of the own digit to zero, which is a probability of one; "
            "leave the digit out, or use -inf": _score_zeroed,
            "you averaged logarithms; a table is a mean of probabilities": _score_mean_of_logs,
            "you took the share of the pixels that differ; each pixel has a factor of its own, so "
            "count them": _score_of_shares,
            "you compared the own entry with the others; the whole table comes first, its own "
            "entry among the others": _score_own_against_others,
            "you exponentiated log-probabilities near -1000, which gives zero: use logsumexp": (
                _score_underflows
            ),
            "you returned a ratio of probabilities; the score is its logarithm": (
                lambda *case: np.exp(_score(*case))
            ),
            "you gave the probability `flip` to the pixels that agree": _score_swapped,
        },
        properties={
            "with flip = 1/2 every image is equally probable, so the score should be zero": (
                _half_is_no_table
            )
        },
    ),
}
