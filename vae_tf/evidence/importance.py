"""log p(x) between bounds that need no more than samples: `iwae` below, `eubo` and `cubo` above.

All of them are means of the same weight, w = p(x, z) / q(z|x), in different orders:

    ELBO = E_q[log w]  <=  E[log 1/K sum_k w_k]  <=  log p(x)  <=  1/2 log E_q[w^2],  E_post[log w]
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf
from tqdm.auto import tqdm

from vae_tf import elbo
from vae_tf._core import chunks, require
from vae_tf._core.random import split
from vae_tf.evidence.weights import WeightSums, largest_pareto_k

__all__ = ["ChiSquareBound", "KSampleBound", "UpperBound", "cubo", "eubo", "iwae"]


class KSampleBound(NamedTuple):
    """The K-sample bound and its trust, each [B]. `numpy.asarray(bound)` is the estimate."""

    estimate: np.ndarray  # float64, nats
    standard_error: np.ndarray  # float64, of the estimate; infinite for one sample or if refused
    effective_sample_size: np.ndarray  # float64, between 1 and the number of samples
    pareto_k: np.ndarray  # float64; NaN for fewer than 25 samples
    refused: np.ndarray  # bool: k-hat says that the estimate must not be taken for its limit

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.estimate, dtype)

    def log_evidence(self):
        """The estimates as values of log p(x), [B], nats.

        Raises:
            ValueError: if any example is refused: its largest weights fit a distribution without
                the moments that make a mean of K of them a value with an error; or if there are
                too few weights to judge.
        """
        if np.isnan(self.pareto_k).any():
            raise ValueError(
                "Too few importance weights to say whether their mean can be trusted. Expected "
                "`num_samples` of at least 25. Received: fewer"
            )
        if self.refused.any():
            raise ValueError(
                f"The largest importance weights of {self.refused.sum()} of {len(self.refused)} "
                "examples are too rare for their mean to be trusted, however small its spread "
                "looks. Expected a Pareto k-hat of at most 0.7 (less for fewer samples). Received: "
                f"k-hat up to {self.pareto_k.max():.2f} (use vt.evidence.ais, which does not "
                "depend on q(z|x) alone, or leave out the examples marked in `refused`)"
            )
        return self.estimate


class ChiSquareBound(NamedTuple):
    """CUBO_2 and its trust, each [B]. `numpy.asarray(bound)` is the estimate."""

    estimate: np.ndarray  # float64, nats
    standard_error: np.ndarray  # float64; infinite for one sample or if refused
    effective_sample_size: np.ndarray  # float64, of the squared weights
    pareto_k: np.ndarray  # float64, of the squared weights
    refused: np.ndarray  # bool: as for `KSampleBound`

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.estimate, dtype)


class UpperBound(NamedTuple):
    """An upper bound of log p(x), each [B], nats. `numpy.asarray(bound)` is the estimate."""

    estimate: np.ndarray  # float64
    standard_error: np.ndarray  # float64

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.estimate, dtype)


def iwae(model, x, num_samples, *, seed=None, progress=False):
    """The K-sample bound of importance weighting (Burda, Grosse and Salakhutdinov 2016).

        log 1/K sum_k w_k,   w_k = p(x, z_k) / q(z_k|x),   z_k ~ q(z|x)

    Its expectation grows with K from the ELBO (K = 1) towards log p(x). A bound it is always; an
    estimate of log p(x) only where the weights allow it. Pareto's k-hat judges that (Vehtari et al.
    2024): above min(1 - 1/log10 K, 0.7) an example is refused, its standard error is infinite, and
    `log_evidence()` raises. Samples are drawn in chunks, so that memory does not grow with K.

    Args:
        model: has `prior`, `encode(x)` and `decode(z)`.
        x: data, shape [B, *event].
        num_samples: K; 25 or more for k-hat.
        seed: an integer for the same numbers each time.
        progress: show a progress bar.

    Returns:
        `KSampleBound(estimate, standard_error, effective_sample_size, pareto_k, refused)`, each
        [B], nats. The standard error is that of the delta method, sd(w) / (mean(w) sqrt(K)).

    Raises:
        ValueError: if `num_samples` is not a positive integer, or `x` is outside the support.

    Example:

    ```python
    bound = vt.evidence.iwae(vae, x, num_samples=5000, seed=0)
    bound.estimate[~bound.refused]
    ```
    """
    return KSampleBound(*_bound(model, x, num_samples, 1, seed, progress))


def cubo(model, x, num_samples, *, seed=None, progress=False):
    """The chi-square upper bound, CUBO_2 (Dieng et al. 2017).

        CUBO = 1/2 log E_q[w^2] = log p(x) + 1/2 log(1 + chi^2(p(z|x) || q(z|x)))

    The number is an upper bound, its estimate only nearly: a mean of K squared weights is below
    its expectation as often as its largest ones are rare, and then below log p(x) too. So here
    k-hat is that of w^2, twice that of w, and the refusal comes early. `eubo` and the reverse
    annealing of `bracket` err on the right side, but need samples of the posterior.

    Args:
        model, x, num_samples, seed, progress: as for `iwae`.

    Returns:
        `ChiSquareBound(estimate, standard_error, effective_sample_size, pareto_k, refused)`, each
        [B], nats.

    Raises:
        ValueError: if `num_samples` is not a positive integer, or `x` is outside the support.
    """
    return ChiSquareBound(*_bound(model, x, num_samples, 2, seed, progress))


def _bound(model, x, num_samples, power, seed, progress):
    """The fields of 1/power log 1/K sum_k w_k^power."""
    num_samples = require.count(num_samples, "num_samples")
    x = require.examples(x)
    sums = WeightSums(len(x), num_samples)
    sizes = chunks.sizes(num_samples, x.size)
    seeds = split(seed, len(sizes))

    def log_weights(x, seed, *, size):
        return elbo.log_weights(elbo.forward(model, x, size, seed=seed))

    log_weights = chunks.Repeated(log_weights)
    for size, one_seed in zip(tqdm(sizes, disable=not progress), seeds, strict=True):
        parts = np.array_split(np.arange(len(x)), max(1, x.size * size // chunks.BUDGET))
        # No two examples share their noise: the error of a mean over examples relies on it.
        own_seeds = split(one_seed, len(parts)) if len(parts) > 1 else [one_seed]
        for rows, own_seed in zip(parts, own_seeds, strict=True):
            log_w = log_weights(x[rows], own_seed, size=size).numpy()  # [size, b]
            elbo.refuse_nan(model, x[rows], log_w)
            sums.add(rows, power * log_w.astype("float64"))
    estimate, error, effective, pareto_k = sums.log_mean()
    refused = pareto_k > largest_pareto_k(num_samples)
    error = np.where(refused, np.inf, error / power)
    return estimate / power, error, effective, pareto_k, refused


def eubo(model, x, z):
    """The evidence upper bound, from samples of the posterior.

        EUBO = E_{p(z|x)}[ log p(x, z) - log q(z|x) ] = log p(x) + KL(p(z|x) || q(z|x))

    With the ELBO it makes a sandwich whose width is KL(q || p) + KL(p || q) (Ji and Shen 2019).
    Exact posterior samples are to be had where the model has a closed form (`model.posterior(x)`
    of `vt.linear.LinearGaussian`), where latents can be enumerated, and for data that the model
    itself made: the z that x was drawn from is one.

    Args:
        model: has `prior`, `encode(x)` and `decode(z)`.
        x: data, shape [B, *event].
        z: samples of p(z|x), shape [S, B, L]; for data drawn from the model, its z[None].

    Returns:
        `UpperBound(estimate, standard_error)`, each [B], nats; of one sample for each example the
        mean over examples is a bound of the mean of log p(x), and the error is infinite.

    Raises:
        ValueError: if `z` is not [S, B, L], or `x` is outside the support.
    """
    x, z = require.examples(x), tf.cast(z, model.prior.dtype)
    shape = ["S", len(x), *model.prior.event_shape]
    if z.shape.rank != 3 or list(z.shape[1:]) != shape[1:] or len(z) == 0:
        raise ValueError(
            f"Expected `z` to be samples of p(z|x), shape {shape}. Received: shape {list(z.shape)}"
        )
    q_z = model.encode(x)
    parts = [
        elbo.log_joint(model, x, part) - q_z.log_prob(part)
        for part in tf.split(z, chunks.sizes(len(z), x.size))
    ]
    log_w = np.concatenate(parts).astype("float64")  # [S, B]
    spread = log_w.std(axis=0, ddof=1) if len(z) > 1 else np.full(len(x), np.inf)
    return UpperBound(log_w.mean(axis=0), spread / np.sqrt(len(z)))
