"""Active units, mutual information and ELBO surgery: which latents a model uses, and how much."""

import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from vae_tf import elbo
from vae_tf.diagnostics import aggregate

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

    count: int  # how many are active
    active: np.ndarray  # [L], bool
    variance: np.ndarray  # [L], float64: Var_x of the mean of q(z_l|x)


def active_units(model, x, threshold=0.01):
    """The latents whose mean moves with the data (Burda, Grosse and Salakhutdinov 2016).

        Var_x( E_q(z|x)[z_l] ) > threshold,       the variance with 1/N

    It counts, and does not weigh: a latent above the threshold may hold a hundredth of a nat.
    `kl_per_latent` says how much each one costs.

    Args:
        model: has `encode(x)`, whose q(z|x) has a mean in closed form.
        x: data, shape [N, *event], at least two examples.
        threshold: 0.01 is that of Burda et al., for a prior of variance one.

    Returns:
        `ActiveUnits(count, active [L], variance [L])`.

    Raises:
        ValueError: if there are fewer than two examples.
    """
    means = [q_z.mean() for q_z in aggregate.encoded(model, x, at_least=2)]
    variance = np.concatenate(means).astype("float64").var(axis=0)
    active = variance > threshold
    return ActiveUnits(int(active.sum()), active, variance)


def kl_per_latent(model, x):
    """KL(q(z_l|x_n) || p(z_l)) of each example and latent; over l they sum to the KL of the ELBO.

    Args:
        model: has `prior` and `encode(x)`, both with independent latents.
        x: data, shape [N, *event].

    Returns:
        Shape [N, L], float64, nats.

    Raises:
        ValueError: if the latents are not independent.
    """
    parts = [elbo.kl_per_latent(q_z, model.prior) for q_z in aggregate.encoded(model, x)]
    return np.concatenate(parts).astype("float64")


def aggregate_log_prob(model, x, z):
    """log q(z) = log 1/N sum_n q(z|x_n), the density of the codes of all examples together.

    Args:
        model: has `encode(x)`.
        x: data, shape [N, *event]: all the examples that q(z) is made of.
        z: points, shape [..., L].

    Returns:
        Shape [...], float64, nats; -inf is possible, where no q(z|x_n) has any density.
    """
    z = np.asarray(z, "float64")
    parts = aggregate.in_float64(aggregate.encoded(model, x))
    return aggregate.log_density(parts, z.reshape(-1, z.shape[-1])).reshape(z.shape[:-1])


class MutualInformation(NamedTuple):
    """How much z tells about which example it came from; `numpy.asarray` of it is the estimate."""

    estimate: float  # nats
    standard_error: float  # of the estimate, over the samples of z; the examples are fixed
    log_n: float  # log N, nats: no estimate is above
    saturated: bool  # so near to log N that the number speaks of N and not of the model

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.estimate, dtype)


def mutual_information(model, x, num_samples=1, *, seed=None):
    """I_q(n; z): how much a code z tells about which of these N examples it is the code of.

        I = 1/N sum_n E_q(z|x_n)[ log q(z|x_n) - log q(z) ],     q(z) = 1/N sum_m q(z|x_m)

    (Hoffman and Johnson 2016.) The index n is the datum, so the number depends on N and lies
    between 0 and log N. Once every code is told apart from all others it is log N, however much
    finer the codes still become, and `saturated` says so: within 1 % or three standard errors.
    (An average over minibatches of B examples would stop at log B.) Time grows with
    num_samples N^2 L, memory with num_samples N L.

    Args:
        model: has `encode(x)`.
        x: data, shape [N, *event]: all the examples that q(z) is made of.
        num_samples: samples of z for each example.
        seed: an integer for the same numbers each time.

    Returns:
        `MutualInformation(estimate, standard_error, log_n, saturated)`, nats. With one sample for
        each example the standard error includes the spread between examples, and is too large
        rather than too small.

    Raises:
        ValueError: if `num_samples` is not a positive integer.
    """
    z, parts = aggregate.sampled(model, x, num_samples, seed)
    return _information(aggregate.log_ratios(parts, z)[..., 0])


class Surgery(NamedTuple):
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


def surgery(model, x, num_samples=1, *, seed=None):
    """ELBO surgery (Hoffman and Johnson 2016): what the KL term of the ELBO is made of.

        mean KL(q(z|x_n) || p(z)) = I_q(n; z) + KL(q(z) || p(z))
        KL(q(z) || p(z))          = KL(q(z) || prod_l q(z_l)) + sum_l KL(q(z_l) || p(z_l))

    with q(z) = 1/N sum_n q(z|x_n). The second line (Chen et al. 2018) needs a prior and a q(z|x)
    of independent latents; otherwise its two terms are None. Only the informations I_q(n; z) and
    I_q(n; z_l) are estimated, all from the same samples, and the rest follows:

        marginal_kl = kl - I        total_correlation = sum_l I_l - I
        dimension_wise_kl = kl - sum_l I_l

    The mean KL is exact where it has a closed form, so both lines hold to rounding whatever the
    samples. Each part is right within its standard error, and one near zero may be below it.

    Args:
        model: has `prior` and `encode(x)`.
        x: data, shape [N, *event]: all the examples that q(z) is made of.
        num_samples: samples of z for each example.
        seed: an integer for the same numbers each time, those of `mutual_information`.

    Returns:
        A `Surgery`, nats per example; its errors as those of `MutualInformation`, over the
        samples of z.

    Raises:
        ValueError: if `num_samples` is not a positive integer.
    """
    z, parts = aggregate.sampled(model, x, num_samples, seed)
    ratios = aggregate.log_ratios(parts, z, per_latent=True)
    joint, per_latent = ratios[..., 0], ratios[..., 1:]  # [S, N], [S, N, L] or [S, N, 0]
    mean_kl, noise = _mean_kl(model, x, parts, z)
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


def _mean_kl(model, x, parts, z):
    """The mean KL, and the sampled terms [S, N] that its noise comes from: zeros if it is exact."""
    try:
        exact = [elbo.kl(q_z, model.prior) for q_z in aggregate.encoded(model, x)]
        return float(np.concatenate(exact).astype("float64").mean()), np.zeros(z.shape[:2])
    except NotImplementedError:
        pairs = aggregate.split_by(parts, z)
        log_q = np.concatenate([q_z.log_prob(own) for q_z, own in pairs], axis=1)
        log_p = model.prior.log_prob(tf.cast(z, model.prior.dtype)).numpy()
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
