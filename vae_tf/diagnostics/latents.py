"""Active units, mutual information and ELBO surgery: which latents a model uses, and how much."""

import dataclasses
import math
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from vae_tf import elbo
from vae_tf._core import require
from vae_tf._core.models import LatentModel
from vae_tf.diagnostics import aggregate
from vae_tf.diagnostics.scalar import Scalar

__all__ = [
    "ActiveUnits",
    "MutualInformation",
    "Surgery",
    "active_units",
    "aggregate_log_prob",
    "kl_per_latent",
    "mutual_information",
    "surgery",
]


class ActiveUnits(NamedTuple):
    """Which latents a model uses."""

    count: int  # type: ignore[assignment]  # how many are active; not the method of a tuple
    active: np.ndarray  # [L], bool
    variance: np.ndarray  # [L], float64: Var_x of the mean of q(z_l|x)


def active_units(
    model: LatentModel, x: Any, threshold: float = 0.01, *, condition: Any = None
) -> ActiveUnits:
    """The latents whose mean moves with the data (Burda, Grosse and Salakhutdinov 2016).

        Var_x( E_q(z|x)[z_l] ) > threshold,       the variance with 1/N

    The count does not say how much a latent is used: one just above the threshold may have a KL of
    a hundredth of a nat. `kl_per_latent` has the KL of each.

    Args:
        model: has `encode(x)`, whose q(z|x) has a mean in closed form.
        x: data, shape [N, *event], at least two examples.
        threshold: 0.01 is that of Burda et al., for a prior of variance one.
        condition: of a conditional model: an array [N, ...] or a tuple of them.

    Returns:
        `ActiveUnits(count, active [L], variance [L])`.

    Raises:
        ValueError: if there are fewer than two examples, or the model gives NaN.

    Example:

    >>> model = vt.linear.LinearGaussian(np.array([[2.0, 0.0], [2.0, 0.0]]), np.zeros(2), 1.0)
    >>> x = np.random.default_rng(0).normal(size=(100, 2))
    >>> vt.diagnostics.active_units(model, x).count  # the second latent does not reach x
    1
    """
    threshold = require.finite(threshold, "threshold")
    parts = aggregate.encoded(model, x, condition=condition, at_least=2)
    variance = np.concatenate([q_z.mean() for q_z in parts]).astype("float64").var(axis=0)
    active = variance > threshold
    return ActiveUnits(int(active.sum()), active, variance)


def kl_per_latent(model: LatentModel, x: Any, *, condition: Any = None) -> np.ndarray:
    """The KL of each example and latent. Over the latents they sum to the KL of the ELBO.

        KL(q(z|x_n) || p(z)) = sum_l KL(q(z_l|x_n) || p(z_l))

    Args:
        model: has `prior` and `encode(x)`, both with independent latents.
        x: data, shape [N, *event].
        condition: of a conditional model: an array [N, ...] or a tuple of them.

    Returns:
        Shape [N, L], float64, nats.

    Raises:
        ValueError: if the latents are not independent, or the model gives NaN.

    Example:

    >>> model = vt.linear.LinearGaussian(np.eye(3, 2), np.zeros(3), 1.0)
    >>> vt.diagnostics.kl_per_latent(model, np.zeros((5, 3))).shape
    (5, 2)
    """
    prior, parts = model.prior, aggregate.encoded(model, x, condition=condition)
    kls = [elbo.kl_per_latent(q_z, prior) for q_z in parts]
    return np.concatenate(kls).astype("float64")


def aggregate_log_prob(model: LatentModel, x: Any, z: Any, *, condition: Any = None) -> np.ndarray:
    """The log-density of the aggregate posterior, the mixture of the codes of all examples.

        log q(z) = log 1/N sum_n q(z|x_n)

    Args:
        model: has `encode(x)`.
        x: data, shape [N, *event]: all the examples that q(z) is made of.
        z: points, shape [..., L].
        condition: of a conditional model: an array [N, ...] or a tuple of them.

    Returns:
        Shape [...], float64, nats; -inf where no q(z|x_n) has any density.

    Raises:
        ValueError: if `z` has another number of latents, or the model gives NaN.

    Example:

    >>> model = vt.linear.LinearGaussian(np.eye(3, 2), np.zeros(3), 1.0)
    >>> vt.diagnostics.aggregate_log_prob(model, np.zeros((5, 3)), np.zeros((7, 2))).shape
    (7,)
    """
    z = np.asarray(z, "float64")
    parts = aggregate.in_float64(aggregate.encoded(model, x, condition=condition))
    latents = parts[0].event_shape[0]
    if z.ndim < 1 or z.shape[-1] != latents:
        raise ValueError(
            f"Expected points `z` of shape [..., {latents}]. Received: shape {list(z.shape)}"
        )
    return aggregate.log_density(parts, z.reshape(-1, z.shape[-1])).reshape(z.shape[:-1])


@dataclasses.dataclass(frozen=True)
class MutualInformation(Scalar):
    """How much a code tells about its example, nats; `numpy.asarray` of it is the estimate.

    `standard_error` is over the samples of z; the examples are fixed.
    """

    log_n: float  # log N, nats: no estimate is larger
    saturated: bool  # so near log N that the number says how many examples there are, no more


def mutual_information(
    model: LatentModel,
    x: Any,
    num_samples: int = 1,
    *,
    condition: Any = None,
    seed: Any = None,
) -> MutualInformation:
    """The mutual information of a code z and the number n of the example that it belongs to.

        I = 1/N sum_n E_q(z|x_n)[ log q(z|x_n) - log q(z) ],     q(z) = 1/N sum_m q(z|x_m)

    (Hoffman and Johnson 2016.) It lies between 0 and log N, so it depends on the number of
    examples. If no two codes overlap it is log N, and does not grow if they become narrower still;
    `saturated` is True where it is within 1 % or three standard errors of log N. (An average over
    minibatches of B examples would be at most log B.) Time grows with num_samples N^2 L, memory
    with num_samples N L.

    Args:
        model: has `encode(x)`.
        x: data, shape [N, *event]: all the examples that q(z) is made of.
        num_samples: samples of z for each example.
        condition: of a conditional model: an array [N, ...] or a tuple of them.
        seed: an integer for the same numbers each time.

    Returns:
        `MutualInformation(estimate, standard_error, log_n, saturated)`, nats. With one sample for
        each example the standard error includes the spread between examples: it is then too large
        rather than too small.

    Raises:
        ValueError: if `num_samples` is not a positive integer, or the model gives NaN.

    Example:

    >>> model = vt.linear.LinearGaussian(np.eye(3, 2), np.zeros(3), 0.01)
    >>> x = np.array([[-1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])  # two codes, far apart
    >>> found = vt.diagnostics.mutual_information(model, x, seed=0)
    >>> round(float(found.estimate / np.log(2)), 3), found.saturated  # in bits
    (1.0, True)
    """
    z, parts = aggregate.sampled(model, x, num_samples, seed, condition)
    return _information(aggregate.log_ratios(parts, z)[..., 0])


@dataclasses.dataclass(frozen=True)
class Surgery:
    """The mean KL and its parts, nats per example. Both sums hold to rounding."""

    kl: float  # mean KL(q(z|x_n) || p(z)) = mutual_information + marginal_kl
    mutual_information: float  # I_q(n; z), at most log N
    marginal_kl: float  # KL(q(z) || p(z)) = total_correlation + dimension_wise_kl
    total_correlation: float | None  # KL(q(z) || prod_l q(z_l)); None if latents are dependent
    dimension_wise_kl: float | None  # sum_l KL(q(z_l) || p(z_l)); None likewise
    standard_error: float  # of mutual_information and of marginal_kl
    standard_error_of_parts: float | None  # of total_correlation and of dimension_wise_kl
    log_n: float
    saturated: bool  # as in `MutualInformation`


def surgery(
    model: LatentModel,
    x: Any,
    num_samples: int = 1,
    *,
    condition: Any = None,
    seed: Any = None,
) -> Surgery:
    """ELBO surgery (Hoffman and Johnson 2016): what the KL term of the ELBO is made of.

        mean KL(q(z|x_n) || p(z)) = I_q(n; z) + KL(q(z) || p(z))
        KL(q(z) || p(z))          = KL(q(z) || prod_l q(z_l)) + sum_l KL(q(z_l) || p(z_l))

    with q(z) = 1/N sum_n q(z|x_n). The second line (Chen et al. 2018) needs a prior and a q(z|x)
    of independent latents; otherwise its two terms are None. Only the informations I_q(n; z) and
    I_q(n; z_l) are estimated, all from the same samples, and the rest follows:

        marginal_kl = kl - I        total_correlation = sum_l I_l - I
        dimension_wise_kl = kl - sum_l I_l

    The mean KL is exact where it has a closed form, and both sums hold to rounding for any samples.
    Each part is right within its standard error; so a part near zero may come out negative.

    Args:
        model: has `prior` and `encode(x)`.
        x: data, shape [N, *event]: all the examples that q(z) is made of.
        num_samples: samples of z for each example.
        condition: of a conditional model: an array [N, ...] or a tuple of them.
        seed: an integer for the same numbers each time, those of `mutual_information`.

    Returns:
        A `Surgery`, nats per example; its errors are over the samples of z, as that of
        `MutualInformation`.

    Raises:
        ValueError: if `num_samples` is not a positive integer, or the model gives NaN.

    Example:

    >>> model = vt.linear.LinearGaussian(np.eye(3, 2), np.zeros(3), 1.0)
    >>> x = np.random.default_rng(0).normal(size=(50, 3))
    >>> parts = vt.diagnostics.surgery(model, x, num_samples=10, seed=0)
    >>> np.allclose(parts.kl, parts.mutual_information + parts.marginal_kl)
    True
    """
    z, parts = aggregate.sampled(model, x, num_samples, seed, condition)
    ratios = aggregate.log_ratios(parts, z, per_latent=True)
    joint, per_latent = ratios[..., 0], ratios[..., 1:]  # [S, N], [S, N, L] or [S, N, 0]
    mean_kl, noise = _mean_kl(model, x, condition, parts, z)
    information = _information(joint)
    total = dimension_wise = parts_error = None
    if per_latent.size and elbo.has_independent_latents(model.prior):
        single = per_latent.sum(axis=-1)
        total = float(single.mean() - joint.mean())
        dimension_wise = mean_kl - float(single.mean())
        parts_error = max(_standard_error(single - joint), _standard_error(noise - single))
    return Surgery(
        mean_kl,
        information.estimate,
        mean_kl - information.estimate,
        total,
        dimension_wise,
        max(information.standard_error, _standard_error(noise - joint)),
        parts_error,
        information.log_n,
        information.saturated,
    )


def _mean_kl(model, x, condition, parts, z):
    """The mean KL, and the sampled terms [S, N] that its noise comes from: zeros if it is exact."""
    p_z = model.prior
    try:
        exact = [elbo.kl(q_z, p_z) for q_z in aggregate.encoded(model, x, condition=condition)]
        return float(np.concatenate(exact).astype("float64").mean()), np.zeros(z.shape[:2])
    except NotImplementedError:
        pairs = aggregate.split_by(parts, z)
        log_q = np.concatenate([q_z.log_prob(own) for q_z, own in pairs], axis=1)
        log_p = p_z.log_prob(tf.cast(z, p_z.dtype)).numpy()
        noise = log_q.astype("float64") - log_p
        return float(noise.mean()), noise


def _standard_error(values):
    """Of the mean of values [S, N], where the samples are random and the N examples are not.

    One sample for each example shows no spread of its own: the spread between examples is added.
    """
    samples, examples = values.shape
    if samples > 1:
        return float(np.sqrt(values.var(axis=0, ddof=1).sum() / samples) / examples)
    return float(values.std(ddof=1) / np.sqrt(examples)) if examples > 1 else math.inf


def _information(log_ratio):
    """The estimate from log q(z|x_n) - log q(z), shape [S, N]."""
    estimate, error = float(log_ratio.mean()), _standard_error(log_ratio)
    log_n = math.log(log_ratio.shape[1])
    saturated = estimate >= log_n - max(3 * error, 0.01 * log_n)
    return MutualInformation(min(estimate, log_n), error, log_n, saturated)
