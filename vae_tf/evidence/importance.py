"""log p(x) between bounds that need no more than samples: `iwae` below, `eubo` and `cubo` above.

All of them are means of the same weight, w = p(x, z) / q(z|x), in different orders:

    ELBO = E_q[log w]  <=  E[log 1/K sum_k w_k]  <=  log p(x)  <=  1/2 log E_q[w^2],  E_post[log w]
"""

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf

from vae_tf import elbo
from vae_tf._core import chunks, require
from vae_tf._core.estimates import Estimate
from vae_tf._core.models import LatentModel, given
from vae_tf.evidence.weights import WeightSums, largest_pareto_k

__all__ = ["ChiSquareBound", "KSampleBound", "UpperBound", "cubo", "eubo", "iwae"]


@dataclasses.dataclass(frozen=True, eq=False)
class KSampleBound(Estimate):
    """The K-sample bound and whether to trust it, each [B], nats.

    `standard_error` is infinite for one sample, and where the bound is refused.
    """

    effective_sample_size: np.ndarray  # float64, between 1 and the number of samples
    pareto_k: np.ndarray  # float64; NaN for fewer than 25 samples
    refused: np.ndarray  # bool: k-hat says that the estimate must not be taken for its limit

    def log_evidence(self) -> np.ndarray:
        """The estimates as values of log p(x), [B], nats.

        Raises:
            ValueError: if any example is refused: its largest weights fit a distribution without
                the moments that the error of their mean depends on; if there are too few weights
                to judge; or if a weight is NaN.
        """
        if np.isnan(self.estimate).any():
            raise ValueError("Expected weights that are numbers. Received: NaN from the model")
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


@dataclasses.dataclass(frozen=True, eq=False)
class ChiSquareBound(Estimate):
    """CUBO_2 and whether to trust it, each [B], nats; `standard_error` as for `KSampleBound`."""

    effective_sample_size: np.ndarray  # float64, of the squared weights
    pareto_k: np.ndarray  # float64, of the squared weights
    refused: np.ndarray  # bool: as for `KSampleBound`


class UpperBound(Estimate):
    """An upper bound of log p(x), each [B], nats; `standard_error` is infinite for one sample."""


def iwae(
    model: LatentModel,
    x: Any,
    num_samples: int,
    *,
    condition: Any = None,
    seed: Any = None,
    progress: bool = False,
) -> KSampleBound:
    """The K-sample bound of importance weighting (Burda, Grosse and Salakhutdinov 2016).

        log 1/K sum_k w_k,   w_k = p(x, z_k) / q(z_k|x),   z_k ~ q(z|x)

    Its expectation grows with K from the ELBO (K = 1) towards log p(x). It is always a bound. It is
    an estimate of log p(x) only where no few weights dominate the mean. Pareto's k-hat judges that
    (Vehtari et al. 2024): above min(1 - 1/log10 K, 0.7) an example is refused, its standard error
    is infinite, and `log_evidence()` raises. Samples are drawn in chunks, so that memory does not
    grow with K.

    Args:
        model: has `prior`, `encode(x)` and `decode(z)`.
        x: data, shape [B, *event].
        num_samples: K; 25 or more for k-hat.
        condition: of a conditional model: an array [B, ...] or a tuple of them.
        seed: an integer for the same numbers each time.
        progress: show a progress bar.

    Returns:
        `KSampleBound(estimate, standard_error, effective_sample_size, pareto_k, refused)`, each
        [B], nats. The standard error is that of the delta method, sd(w) / (mean(w) sqrt(K)).

    Raises:
        ValueError: if `num_samples` is not a positive integer, `x` is outside the support, or
            `condition` has not B rows.

    Example:

    >>> model = vt.linear.LinearGaussian(np.ones((3, 2)), np.zeros(3), 1.0)
    >>> bound = vt.evidence.iwae(model, np.zeros((5, 3)), num_samples=1000, seed=0)
    >>> bound.estimate.shape, bound.refused.shape
    ((5,), (5,))
    """
    return KSampleBound(*_bound(model, x, num_samples, 1, condition, seed, progress))


def cubo(
    model: LatentModel,
    x: Any,
    num_samples: int,
    *,
    condition: Any = None,
    seed: Any = None,
    progress: bool = False,
) -> ChiSquareBound:
    """The chi-square upper bound, CUBO_2 (Dieng et al. 2017).

        CUBO = 1/2 log E_q[w^2] = log p(x) + 1/2 log(1 + chi^2(p(z|x) || q(z|x)))

    CUBO itself is above log p(x). Its estimate need not be: the largest weights are rare, and a
    sample without them has a mean of w^2 that is too small. So k-hat here is that of w^2, twice
    that of w, and more examples are refused than by `iwae`. `eubo` and the way back of `bracket`
    are above log p(x) on average, but need samples of the posterior.

    Args:
        model, x, num_samples, condition, seed, progress: as for `iwae`.

    Returns:
        `ChiSquareBound(estimate, standard_error, effective_sample_size, pareto_k, refused)`, each
        [B], nats.

    Raises:
        ValueError: as `iwae` does.

    Example:

    >>> model = vt.linear.LinearGaussian(np.ones((3, 2)), np.zeros(3), 1.0)
    >>> x = np.zeros((5, 3))
    >>> bool((vt.evidence.cubo(model, x, 1000, seed=0).estimate > model.log_evidence(x)).all())
    True
    """
    return ChiSquareBound(*_bound(model, x, num_samples, 2, condition, seed, progress))


def _bound(model, x, num_samples, power, condition, seed, progress):
    """The fields of 1/power log 1/K sum_k w_k^power."""
    num_samples, x = require.count(num_samples, "num_samples"), require.examples(x)
    sums = WeightSums(len(x), num_samples)
    loop = {"condition": condition, "seed": seed, "progress": progress}
    for rows, _, log_w in chunks.over(_log_weights, model, x, num_samples=num_samples, **loop):
        sums.add(rows, power * log_w.numpy().astype("float64"))
    estimate, error, effective, pareto_k = sums.log_mean()
    refused = (pareto_k > largest_pareto_k(num_samples)) | np.isnan(estimate)
    error = np.where(refused, np.where(np.isnan(estimate), np.nan, np.inf), error / power)
    return estimate / power, error, effective, pareto_k, refused


def _log_weights(model, x, seed, *, size):
    one_pass = elbo.forward(model, x, size, seed=seed)
    return elbo.log_weights(one_pass, differentiable=False)  # [size, b]


def eubo(model: LatentModel, x: Any, z: Any, *, condition: Any = None) -> UpperBound:
    """The evidence upper bound, from samples of the posterior.

        EUBO = E_{p(z|x)}[ log p(x, z) - log q(z|x) ] = log p(x) + KL(p(z|x) || q(z|x))

    EUBO minus ELBO is KL(q || p) + KL(p || q), and log p(x) lies between them (Ji and Shen 2019).
    There are exact samples of the posterior where the model has a closed form
    (`vt.linear.LinearGaussian.posterior`), where its latents can be enumerated
    (`vt.evidence.enumeration`), and for data that the model itself made: the z that x was drawn
    from is one.

    Args:
        model: has `prior`, `encode(x)` and `decode(z)`.
        x: data, shape [B, *event].
        z: samples of p(z|x), shape [S, B, L]; for data drawn from the model, its z[None].
        condition: of a conditional model: an array [B, ...] or a tuple of them.

    Returns:
        `UpperBound(estimate, standard_error)`, each [B], nats. With one sample for each example
        the mean over examples is a bound of the mean of log p(x), and the error is infinite.

    Raises:
        ValueError: if `z` is not [S, B, L], `x` is outside the support, or `condition` has not B
            rows.

    Example:

    >>> model = vt.linear.LinearGaussian(np.ones((3, 2)), np.zeros(3), 1.0)
    >>> x, z = vt.evidence.simulate(model, 1000, seed=0)
    >>> bool(vt.evidence.eubo(model, x, z[None]).estimate.mean() > model.log_evidence(x).mean())
    True
    """
    model = given(model, prior=model.prior)  # which is asked for once
    x, z = require.examples(x), tf.cast(z, model.prior.dtype)
    shape = ["S", len(x), *model.prior.event_shape]
    if z.shape.rank != 3 or list(z.shape[1:]) != shape[1:] or len(z) == 0:
        raise ValueError(
            f"Expected `z` to be samples of p(z|x), shape {shape}. Received: shape {list(z.shape)}"
        )
    log_w = np.empty(z.shape[:2])  # [S, B], float64
    for rows, samples, values in chunks.over_z(_log_weights_at, model, x, z, condition=condition):
        log_w[samples, rows] = values
    spread = log_w.std(axis=0, ddof=1) if len(z) > 1 else np.full(len(x), np.inf)
    return UpperBound(log_w.mean(axis=0), spread / np.sqrt(len(z)))


def _log_weights_at(model, x, z):
    return elbo.log_joint(model, x, z) - model.encode(x).log_prob(z)  # [s, b]
