"""Exercises of notebook 05: what beta trades, and when a latent collapses."""

import numpy as np

from vae_tf.course.checks import Function, Value

__all__ = ["EXERCISES"]


# -- 05.1: beta from two runs -------------------------------------------------------------------

_FIRST, _SECOND = np.array([3.41, 61.20]), np.array([3.28, 61.53])  # (rate, distortion) in nats
_STEP = _SECOND - _FIRST
_BETA = -_STEP[1] / _STEP[0]


# -- 05.2: the KL of each unit ------------------------------------------------------------------


def _units(eigenvalues, beta, sigma):
    return 0.5 * np.log(np.maximum(eigenvalues / (beta * sigma**2), 1.0))


def _units_unclipped(eigenvalues, beta, sigma):
    return 0.5 * np.log(eigenvalues / (beta * sigma**2))


def _units_of_scale(eigenvalues, beta, sigma):
    return _units(eigenvalues, beta, np.sqrt(sigma))


def _units_beta_squared(eigenvalues, beta, sigma):
    return _units(eigenvalues, beta**2, sigma)


def _units_without_beta(eigenvalues, _, sigma):
    return _units(eigenvalues, 1.0, sigma)


def _units_without_sigma(eigenvalues, beta, _):
    return _units(eigenvalues, beta, 1.0)


def _units_beta_inverted(eigenvalues, beta, sigma):
    return _units(eigenvalues, 1 / beta, sigma)


def _units_sigma_inverted(eigenvalues, beta, sigma):
    return _units(eigenvalues, beta, 1 / sigma)


def _units_absolute(eigenvalues, beta, sigma):
    return np.abs(_units_unclipped(eigenvalues, beta, sigma))


def _mean_variances(eigenvalues, beta, sigma):
    return 1 - 1 / np.maximum(eigenvalues / (beta * sigma**2), 1.0)


def _code_variances(eigenvalues, beta, sigma):
    return 1 / np.maximum(eigenvalues / (beta * sigma**2), 1.0)


def _are_active(eigenvalues, beta, sigma):
    return (eigenvalues > beta * sigma**2).astype("float64")


def _units_of_one_plus(eigenvalues, beta, sigma):
    return 0.5 * np.log(1 + eigenvalues / (beta * sigma**2))


def _units_of_excess(eigenvalues, beta, sigma):
    return np.maximum(0.5 * np.log(np.maximum(eigenvalues - beta * sigma**2, 1e-300)), 0)


def _spectra():
    """Eigenvalues above and below the edge, a zero among them, more than one noise."""
    return [
        (np.array([4.0, 2.0, 1.0, 0.0]), 3.0, 0.7),
        (np.array([5.2, 1.3, 0.9, 0.4, 0.1]), 0.5, 1.4),
        (np.array([0.3, 0.2]), 1.7, 0.6),
    ]


# -- 05.3: the scales that keep k units ---------------------------------------------------------


def _eigenvalues(x, centred=True, free=0):
    x = x - x.mean(axis=0) if centred else x
    return np.linalg.eigvalsh(x.T @ x / (len(x) - free))[::-1]


def _scales_at(eigenvalues, beta, upper, lower):
    return np.sqrt(eigenvalues[lower] / beta), np.sqrt(eigenvalues[upper] / beta)


def _scales(x, beta, k):
    return _scales_at(_eigenvalues(x), beta, k - 1, k)


def _scales_one_too_many(x, beta, k):
    return _scales_at(_eigenvalues(x), beta, k, k + 1)


def _scales_one_too_few(x, beta, k):
    return _scales_at(_eigenvalues(x), beta, max(k - 2, 0), k - 1)


def _scales_ascending(x, beta, k):
    return _scales_at(_eigenvalues(x)[::-1], beta, k - 1, k)


def _scales_squared(x, beta, k):
    return tuple(scale**2 for scale in _scales(x, beta, k))


def _scales_without_beta(x, _, k):
    return _scales(x, 1.0, k)


def _scales_beta_outside(x, beta, k):
    return tuple(scale / beta for scale in _scales(x, 1.0, k))


def _scales_beta_inverted(x, beta, k):
    return _scales(x, 1 / beta, k)


def _scales_swapped(x, beta, k):
    return _scales(x, beta, k)[::-1]


def _scales_uncentred(x, beta, k):
    return _scales_at(_eigenvalues(x, centred=False), beta, k - 1, k)


def _scales_of_sample_covariance(x, beta, k):
    return _scales_at(_eigenvalues(x, free=1), beta, k - 1, k)


def _scales_of_scatter(x, beta, k):
    return _scales_at(len(x) * _eigenvalues(x), beta, k - 1, k)


def _scales_of_correlation(x, beta, k):
    return _scales(x / x.std(axis=0), beta, k)


def _scales_of_variances(x, beta, k):
    return _scales_at(np.sort(x.var(axis=0))[::-1], beta, k - 1, k)


def _tables():
    """Data [N, D] of few examples, a mean that is not zero; k from one to D - 1."""
    rng = np.random.default_rng(53)
    cases = []
    for count, size, beta, k in ((12, 4, 1.0, 2), (9, 5, 2.5, 1), (30, 4, 0.6, 2)):
        mixed = rng.normal(size=(count, size)) @ rng.normal(size=(size, size))
        cases.append((mixed + rng.normal(size=size), beta, k))
    return cases


def _keeps_k(scales_for):
    """Just inside of both ends k units are active, just outside k + 1 and k - 1."""
    for x, beta, k in _tables():
        eigenvalues = _eigenvalues(x)
        low, high = scales_for(x, beta, k)
        tried = 1.001 * low, high / 1.001, low / 1.001, 1.001 * high
        counts = [int((eigenvalues > beta * scale**2).sum()) for scale in tried]
        if counts != [k, k, k + 1, k - 1]:
            return False
    return True


# -- 05.4: free bits ----------------------------------------------------------------------------


def _free_bits(reconstruction, kl, allowance):
    return np.mean(reconstruction) - np.maximum(kl.mean(axis=0), allowance).sum()


def _free_each_example(reconstruction, kl, allowance):
    return np.mean(reconstruction - np.maximum(kl, allowance).sum(axis=1))


def _free_of_the_sum(reconstruction, kl, allowance):
    return np.mean(reconstruction) - max(kl.sum(axis=1).mean(), allowance)


def _free_least(reconstruction, kl, allowance):
    return np.mean(reconstruction) - np.minimum(kl.mean(axis=0), allowance).sum()


def _free_excess(reconstruction, kl, allowance):
    return np.mean(reconstruction) - np.maximum(kl.mean(axis=0) - allowance, 0).sum()


def _free_mean(reconstruction, kl, allowance):
    return np.mean(reconstruction) - np.maximum(kl.mean(axis=0), allowance).mean()


def _free_of_total(reconstruction, kl, allowance):
    return np.mean(reconstruction) - np.maximum(kl.sum(axis=0), allowance).sum()


def _free_sums(reconstruction, kl, allowance):
    return np.sum(reconstruction) - np.maximum(kl.sum(axis=0), allowance).sum()


def _free_added(reconstruction, kl, allowance):
    return np.mean(reconstruction) + np.maximum(kl.mean(axis=0), allowance).sum()


def _free_none(reconstruction, kl, _):
    return np.mean(reconstruction - kl.sum(axis=1))


def _free_of_wrong_axis(reconstruction, kl, allowance):
    return np.mean(reconstruction) - np.maximum(kl.mean(axis=1), allowance).sum()


def _free_mean_of_all(reconstruction, kl, allowance):
    return np.mean(reconstruction) - max(kl.mean(), allowance)


def _free_pays_nothing(reconstruction, kl, allowance):
    mean = kl.mean(axis=0)
    return np.mean(reconstruction) - mean[mean > allowance].sum()


def _free_each(reconstruction, kl, allowance):
    return reconstruction - np.maximum(kl.mean(axis=0), allowance).sum()


def _batches():
    """Latents above and below the allowance, and some that straddle; B and L differ."""
    rng = np.random.default_rng(55)
    levels = [0.02, 0.4, 2.0], [0.01, 0.1, 0.2, 1.0, 3.0], [0.02, 0.05]
    cases = []
    for batch, level, allowance in zip((7, 4, 3), levels, (0.5, 0.2, 0.6), strict=True):
        kl = np.array(level) * rng.gamma(2.0, 0.5, size=(batch, len(level)))
        cases.append((rng.normal(-20, 3, size=batch), kl, allowance))
    return cases


# -- 05.5: what a draw adds to the edges --------------------------------------------------------


def _pairs(p):
    """Neighbours in a row, and in a column."""
    return (p[:, :, 1:], p[:, :, :-1]), (p[:, 1:], p[:, :-1])


def _over_pairs(p, of_two, across=sum):
    return across([np.mean(of_two(a, b)) for a, b in _pairs(p)])


def _draw_edges(p):
    return _over_pairs(p, lambda a, b: a + b - 2 * a * b)


def _mean_edges(p):
    return _over_pairs(p, lambda a, b: (a - b) ** 2)


def _noise_only(p):
    return _over_pairs(p, lambda a, b: a * (1 - a) + b * (1 - b))


def _one_noise(p):
    return _over_pairs(p, lambda a, b: (a - b) ** 2 + a * (1 - a))


def _product_of_scales(p):
    return _over_pairs(p, lambda a, b: (a - b) ** 2 + 2 * np.sqrt(a * (1 - a) * b * (1 - b)))


def _sum_of_scales(p):
    return _over_pairs(p, lambda a, b: (a - b) ** 2 + np.sqrt(a * (1 - a)) + np.sqrt(b * (1 - b)))


def _difference_of_noise(p):
    return _over_pairs(p, lambda a, b: (a - b) ** 2 + a * (1 - a) - b * (1 - b))


def _together(p):
    return _over_pairs(p, lambda a, b: a + b - a * b)


def _first_on(p):
    return _over_pairs(p, lambda a, b: a * (1 - b))


def _noise_of_all_pixels(p):
    return _mean_edges(p) + 4 * np.mean(p * (1 - p))


def _averaged_axes(p):
    return _draw_edges(p) / 2


def _rows_only(p):
    return np.mean(_of_pair(*_pairs(p)[0]))


def _columns_only(p):
    return np.mean(_of_pair(*_pairs(p)[1]))


def _of_pair(a, b):
    return a + b - 2 * a * b


def _all_pairs_at_once(p):
    return np.mean(np.concatenate([_of_pair(a, b).ravel() for a, b in _pairs(p)]))


def _summed_pairs(p):
    return sum(np.sum(_of_pair(a, b)) for a, b in _pairs(p))


def _thresholded(p):
    return _mean_edges((p > 0.5).astype("float64"))


def _examples_as_rows(p):
    """Neighbours along the first two axes: the batch taken for an axis of the image."""
    rows = np.mean(_of_pair(p[1:], p[:-1]))
    return rows + np.mean(_of_pair(p[:, 1:], p[:, :-1]))


def _probabilities():
    rng = np.random.default_rng(56)
    return [(rng.uniform(size=(5, 4, 7)),), (rng.uniform(size=(2, 3, 2)) ** 4,)]


def _binary_is_its_own_draw(draw_edges):
    x = (np.random.default_rng(57).uniform(size=(6, 5, 4)) > 0.6).astype("float64")
    return np.allclose(draw_edges(x), _mean_edges(x))


EXERCISES = {
    "05.1": Value(
        _BETA,
        mistakes={
            "you divided rates by distortions; beta is nats of distortion for a nat of rate": (
                -1 / _BETA
            ),
            "you inverted the ratio: beta is the change of distortion over that of rate": 1 / _BETA,
            "you divided the values, where the changes count": _FIRST[1] / _FIRST[0],
            "you divided the values of the second run, where the changes count": _SECOND[1]
            / _SECOND[0],
            "you gave the change of the distortion alone; divide it by that of the rate": _STEP[1],
            "you gave the change of D + R, which is minus that of the ELBO": _STEP.sum(),
            "you multiplied the two changes; the slope is their ratio": -_STEP[0] * _STEP[1],
        },
    ),
    "05.2": Function(
        truth=_units,
        cases=_spectra,
        mistakes={
            "you let the KL of a dead unit fall below zero; it is zero": _units_unclipped,
            "you took the size of the logarithm; below the edge the KL is zero": _units_absolute,
            "you did not square sigma: the edge is beta sigma^2": _units_of_scale,
            "you squared beta: the edge is beta sigma^2": _units_beta_squared,
            "you left beta out: the edge is beta sigma^2": _units_without_beta,
            "you left sigma out: the edge is beta sigma^2": _units_without_sigma,
            "you divided sigma^2 by beta: the edge is their product": _units_beta_inverted,
            "you multiplied by sigma^2; the eigenvalue is divided by beta sigma^2 (brackets?)": (
                _units_sigma_inverted
            ),
            "you returned the variance of the means; the KL is asked": _mean_variances,
            "you returned the variance of q(z_i|x); the KL is asked": _code_variances,
            "you returned which units are active; the KL of each is asked": _are_active,
            "you added one inside the logarithm: that is the information of a channel with a "
            "fixed encoder, not the optimum": _units_of_one_plus,
            "you took the logarithm of a difference; it is of the ratio": _units_of_excess,
            "you summed over the units; each has a KL of its own": (
                lambda *case: _units(*case).sum()
            ),
        },
    ),
    "05.3": Function(
        truth=_scales,
        cases=_tables,
        mistakes={
            "you returned variances; a scale is their square root": _scales_squared,
            "you counted the eigenvalues from zero: k + 1 units stay": _scales_one_too_many,
            "you are one eigenvalue too far up: k - 1 units stay": _scales_one_too_few,
            "you took the eigenvalues in rising order, as eigvalsh returns them": (
                _scales_ascending
            ),
            "you left beta out: the edge is beta sigma^2": _scales_without_beta,
            "you divided by beta outside of the root": _scales_beta_outside,
            "you multiplied by beta; sigma^2 is the eigenvalue divided by it": (
                _scales_beta_inverted
            ),
            "you returned the larger scale first": _scales_swapped,
            "you did not subtract the mean of the data": _scales_uncentred,
            "you divided by N - 1; the maximum of the ELBO has the covariance with 1/N": (
                _scales_of_sample_covariance
            ),
            "you did not divide by N: that is a scatter matrix and no covariance": (
                _scales_of_scatter
            ),
            "you standardised the data; with Normal noise the covariance counts": (
                _scales_of_correlation
            ),
            "you took the variances of the columns; the eigenvalues of the covariance count": (
                _scales_of_variances
            ),
        },
        properties={
            "between the two scales k units should be active, just outside k + 1 and k - 1": (
                _keeps_k
            )
        },
    ),
    "05.4": Function(
        truth=_free_bits,
        cases=_batches,
        mistakes={
            "you took the maximum for each example; the mean over the batch comes first": (
                _free_each_example
            ),
            "you gave all latents one allowance together; each has its own": _free_of_the_sum,
            "you took the minimum: that rewards a KL above the allowance": _free_least,
            "you subtracted the allowance from the KL: the same gradients, but no bound on the "
            "ELBO any more; the maximum is asked": _free_excess,
            "you averaged over the latents; the KL is a sum": _free_mean,
            "you summed the KL over the batch before you compared it": _free_of_total,
            "you summed over the batch; the mean is asked": _free_sums,
            "you added the KL; it is a penalty": _free_added,
            "you gave the ELBO: no latent got its allowance": _free_none,
            "you averaged the KL over the latents of each example; average over the batch": (
                _free_of_wrong_axis
            ),
            "you averaged over the latents before you compared with the allowance": (
                _free_mean_of_all
            ),
            "you let a latent below its allowance pay nothing; it pays the allowance": (
                _free_pays_nothing
            ),
            "you did not average the reconstruction over the batch": _free_each,
        },
    ),
    "05.5": Function(
        truth=_draw_edges,
        cases=_probabilities,
        mistakes={
            "you gave the edges of the means; a draw adds the variance of both pixels": (
                _mean_edges
            ),
            "you gave the variances alone; the squared difference of the means is missing": (
                _noise_only
            ),
            "you added the variance of one pixel; both are drawn": _one_noise,
            "you added twice the product of the scales: that is for equal pixels only": (
                _product_of_scales
            ),
            "you added scales; variances add": _sum_of_scales,
            "you subtracted one variance from the other; variances of independent draws add": (
                _difference_of_noise
            ),
            "you counted the pairs in which either is on; those in which one is on count": (
                _together
            ),
            "you counted the pairs whose first pixel alone is on; the second may be, as well": (
                _first_on
            ),
            "you added the variance of all pixels; those at the border are in fewer pairs": (
                _noise_of_all_pixels
            ),
            "you averaged over the two axes; add them, as the lesson does": _averaged_axes,
            "you left out neighbours in a column": _rows_only,
            "you left out neighbours in a row": _columns_only,
            "you averaged over all pairs at once; the lesson adds the two means": (
                _all_pairs_at_once
            ),
            "you summed over the pairs; the mean is asked": _summed_pairs,
            "you set pixels by a threshold; a draw is random": _thresholded,
            "you took the batch for an axis of the image": _examples_as_rows,
        },
        properties={"a binary image is its own draw: nothing is added": _binary_is_its_own_draw},
    ),
}
