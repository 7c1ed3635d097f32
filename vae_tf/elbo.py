"""The ELBO of one pass through the model: per example, in nats, nothing averaged over the batch.

    ELBO(x) = E_q[log p(x|z)] - KL(q(z|x) || p(z))  <=  log p(x)    (docs/the_elbo.md, section 1)

Everything here takes a `Forward`, that is one pass: x, the three distributions and the samples.
The three functions `reconstruction_kl`, `energy_entropy` and `mean_log_weight` estimate the same
number; they differ in how much of it is done in closed form (Kingma and Welling 2014, eq. 2 to 7).
"""

import math
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from vae_tf._core import binary, chunks, require
from vae_tf._core.models import LatentModel, as_condition, given
from vae_tf._core.moments import Moments
from vae_tf._core.random import as_seed
from vae_tf.layers import support

tfd = tfp.distributions

__all__ = [
    "ElboTerms",
    "Forward",
    "GatedForward",
    "bits_per_dimension",
    "energy_entropy",
    "estimate",
    "forward",
    "gated",
    "has_independent_latents",
    "kl",
    "kl_per_latent",
    "log_joint",
    "log_likelihood",
    "log_weights",
    "mean_log_weight",
    "moments",
    "reconstruction",
    "reconstruction_kl",
]


class Forward(NamedTuple):
    """One pass: encode, sample, decode."""

    x: tf.Tensor  # [B, *event]
    p_z: tfd.Distribution  # batch [],     event [L]
    q_z: tfd.Distribution  # batch [B],    event [L]
    z: tf.Tensor  # [S, B, L]
    p_x: tfd.Distribution  # batch [S, B], event [*event]

    @property
    def gate(self) -> Any:
        """None; a `GatedForward` has one."""
        return None


class GatedForward(Forward):
    """A pass whose z has gone through `gated`, and the gate, [S, B]: a `Forward` in all else."""

    gate = None

    def __new__(cls, *parts, gate=None):
        one_pass = super().__new__(cls, *parts)
        one_pass.gate = gate
        return one_pass


class ElboTerms(NamedTuple):
    """The ELBO and its two terms, each [B], in nats. `numpy.asarray(terms)` is the ELBO."""

    elbo: tf.Tensor
    reconstruction: tf.Tensor
    kl: tf.Tensor

    def __array__(self, dtype=None, copy=None):
        return tf.convert_to_tensor(self.elbo).numpy().astype(dtype or self.elbo.dtype.name)


@tf.custom_gradient
def gated(z: Any) -> Any:
    """z as it is, and a gate that weighs the gradient into z by the sample.

    The gate is zero everywhere, and acts by its gradient alone. An objective that adds to its
    value sum_s a_s gate_s, where sum_s a_s = 1, does not change that value, but has the gradient
    into the sample z_s multiplied by a_s, whereas those into the decoder and the prior, which use
    z, stay what they are. An objective that leaves the gate alone leaves the gradient alone.

    Args:
        z: samples, shape [S, B, L].

    Returns:
        z, shape [S, B, L], and the gate, shape [S, B].
    """

    def gradient(into_z, into_gate):
        # The gate receives c a_s, c the objective's own weight in the loss, and a sums to one.
        total = tf.reduce_sum(into_gate, axis=0)  # [B]
        in_use = total != 0
        share = tf.where(in_use, into_gate / tf.where(in_use, total, 1), 1)  # [S, B]
        return into_z * share[..., tf.newaxis]

    return (tf.identity(z), tf.zeros_like(z[..., 0])), gradient


def forward(
    model: LatentModel,
    x: Any,
    num_samples: int = 1,
    *,
    condition: Any = None,
    seed: Any = None,
    gate: bool = False,
    **kwargs: Any,
) -> Forward:
    """One pass: encode, sample, decode, of any model that has `prior`, `encode` and `decode`.

        z_s ~ q(z|x),  s = 1 ... S

    Args:
        model: a `vt.VAE`, a `vt.linear.LinearGaussian`, or a class of your own.
        x: data, shape [B, *event], in the support of the likelihood.
        num_samples: S, samples of z for each example.
        condition: what a conditional model knows beside x: an array [B, ...] or a tuple of them.
        seed: an integer for the same samples each time.
        gate: whether the pass is to be a `GatedForward`, which `vt.objectives.IWAE` wants for its
            gradient "dreg".
        **kwargs: for `encode` and `decode`, such as `training`.

    Returns:
        A `Forward`.

    Raises:
        ValueError: if `num_samples` is not a positive integer, `x` is outside the support, or
            `condition` has not B rows.
        TypeError: if `seed` is not an integer.

    Example:

    >>> model = vt.linear.LinearGaussian(np.ones((3, 1)), np.zeros(3), 1.0)
    >>> one_pass = vt.elbo.forward(model, np.zeros((5, 3)), num_samples=7, seed=0)
    >>> one_pass.z.shape, vt.elbo.log_likelihood(one_pass).shape
    (TensorShape([7, 5, 1]), TensorShape([7, 5]))
    """
    num_samples, seed = require.count(num_samples, "num_samples"), as_seed(seed)
    x = x if tf.is_tensor(x) else require.examples(x)
    model = _given(model, condition, x)
    q_z = model.encode(x, **kwargs)
    require.latents(q_z, "encode(x)")
    z = q_z.sample(num_samples, seed=seed)  # [S, B, L]
    z, gate = gated(z) if gate else (z, None)
    p_x = model.decode(z, **kwargs)
    parts = support.check(p_x, x), model.prior, q_z, z, p_x
    return Forward(*parts) if gate is None else GatedForward(*parts, gate=gate)


def _given(model, condition, x):
    return model if condition is None else given(model, as_condition(condition, x.shape[0]))


def kl(q_z: tfd.Distribution, p_z: tfd.Distribution, z: Any = None) -> tf.Tensor:
    """KL(q || p), in closed form where TFP knows one, else by Monte Carlo.

    Args:
        q_z: batch [B], event [L].
        p_z: batch [] or [B], event [L].
        z: samples of `q_z`, shape [S, B, L], for the case without a closed form.

    Returns:
        Shape [B], nats.

    Raises:
        NotImplementedError: if there is no closed form and no samples were given.

    Example:

    >>> q_z, p_z = (tfd.Independent(tfd.Normal([[loc]], 1.0), 1) for loc in (2.0, 0.0))
    >>> float(kl(q_z, p_z)[0])  # loc^2 / 2
    2.0
    """
    try:
        return tfd.kl_divergence(q_z, p_z)
    except NotImplementedError:
        if z is None:
            raise
    # KL(q || p) = E_q[log q(z) - log p(z)]
    return tf.reduce_mean(q_z.log_prob(z) - p_z.log_prob(z), axis=0)  # [S, B] -> [B]


def has_independent_latents(distribution: tfd.Distribution) -> bool:
    """Whether the density is a product over l, one factor for each latent.

    Example:

    >>> has_independent_latents(vt.priors.StandardNormal(2)())
    True
    """
    return isinstance(distribution, tfd.Independent) and (
        distribution.event_shape.rank == 1 and distribution.distribution.event_shape.rank == 0
    )


def kl_per_latent(q_z: tfd.Distribution, p_z: tfd.Distribution) -> tf.Tensor:
    """KL(q(z_l|x) || p(z_l)) of each latent, in closed form; they sum to the KL.

    Only independent latents have terms of their own: q(z|x) = prod_l q(z_l|x) and
    p(z) = prod_l p(z_l), as `NormalDiag` and `StandardNormal` are.

    Args:
        q_z: batch [B], event [L].
        p_z: batch [], event [L].

    Returns:
        Shape [B, L], nats.

    Raises:
        ValueError: if the latents of `q_z` or of `p_z` are not independent.

    Example:

    >>> q_z = tfd.Independent(tfd.Normal([[2.0, 0.0]], 1.0), 1)
    >>> kl_per_latent(q_z, vt.priors.StandardNormal(2)()).numpy().tolist()
    [[2.0, 0.0]]
    """
    for name, distribution in (("q_z", q_z), ("p_z", p_z)):
        if not has_independent_latents(distribution):
            raise ValueError(
                f"The KL has a term for each latent only where latents are independent. Expected "
                f"`{name}` to be a tfd.Independent over one axis, such as NormalDiag and "
                f"StandardNormal give. Received: {distribution.name}"
            )
    return tfd.kl_divergence(q_z.distribution, p_z.distribution)


def log_likelihood(forward: Forward, *, differentiable: bool = True) -> tf.Tensor:
    """log p(x|z_s), shape [S, B], nats; NaN where `support.check` has marked an example.

    Args:
        forward: one pass.
        differentiable: False where no gradient is asked for: binary data go a faster way then.

    Example:

    >>> model = vt.linear.LinearGaussian(np.ones((3, 1)), np.zeros(3), 1.0)
    >>> one_pass = vt.elbo.forward(model, np.zeros((5, 3)), num_samples=7, seed=0)
    >>> log_likelihood(one_pass).shape
    TensorShape([7, 5])
    """
    fast = None if differentiable else binary.log_prob(forward.p_x, forward.x)
    if fast is not None:
        return fast
    event = range(forward.x.shape.rank - forward.p_x.event_shape.rank, forward.x.shape.rank)
    marked = tf.reduce_any(tf.math.is_nan(forward.x), axis=list(event))  # [B]
    log_prob = forward.p_x.log_prob(forward.x)
    # The root of -1 or of 0: a NaN that is computed, and only where it belongs. A constant one
    # would be found by `tf.debugging.enable_check_numerics` in good data too.
    return log_prob + tf.sqrt(-tf.cast(marked, log_prob.dtype))


def reconstruction(forward: Forward) -> tf.Tensor:
    """E_q[log p(x|z)], the mean over the samples, shape [B], nats.

    Example:

    >>> model = vt.linear.LinearGaussian(np.ones((3, 1)), np.zeros(3), 1.0)
    >>> one_pass = vt.elbo.forward(model, np.zeros((5, 3)), num_samples=7, seed=0)
    >>> reconstruction(one_pass).shape
    TensorShape([5])
    """
    return tf.reduce_mean(log_likelihood(forward), axis=0)  # [S, B] -> [B]


def reconstruction_kl(forward: Forward) -> ElboTerms:
    """Reconstruction minus KL (docs/the_elbo.md, section 1): the form that training uses.

    Args:
        forward: one pass.

    Returns:
        `ElboTerms`, each [B], nats.

    Example:

    >>> model = vt.linear.LinearGaussian(np.ones((3, 1)), np.zeros(3), 1.0)
    >>> one_pass = vt.elbo.forward(model, np.zeros((5, 3)), num_samples=7, seed=0)
    >>> reconstruction_kl(one_pass).kl.shape
    TensorShape([5])
    """
    # ELBO = E_q[log p(x|z)] - KL(q(z|x) || p(z))
    expected_log_likelihood = reconstruction(forward)
    penalty = kl(forward.q_z, forward.p_z, forward.z)
    return ElboTerms(expected_log_likelihood - penalty, expected_log_likelihood, penalty)


def estimate(
    model: LatentModel,
    x: Any,
    num_samples: int = 1,
    *,
    condition: Any = None,
    seed: Any = None,
    progress: bool = False,
) -> ElboTerms:
    """The ELBO of data of any length, with any number of samples, in bounded memory.

        ELBO = E_q[log p(x|z)] - KL(q(z|x) || p(z))

    Args:
        model, x, num_samples, condition, seed: as for `forward`.
        progress: show a progress bar.

    Returns:
        `ElboTerms`, each [B], nats.

    Raises:
        ValueError, TypeError: as `forward` does.

    Example:

    >>> model = vt.linear.LinearGaussian(np.ones((3, 1)), np.zeros(3), 1.0)
    >>> vt.elbo.estimate(model, np.zeros((5, 3)), 100, seed=0).elbo.shape
    TensorShape([5])
    """
    num_samples = require.count(num_samples, "num_samples")
    if tf.executing_eagerly():
        x, model = require.examples(x), given(model, prior=model.prior)
        if len(x) * num_samples * chunks.width(model, x) > chunks.BUDGET:
            terms, _ = moments(
                model, x, num_samples, condition=condition, seed=seed, progress=progress
            )
            return ElboTerms(*(tf.cast(term, model.prior.dtype) for term in terms))
    return reconstruction_kl(forward(model, x, num_samples, condition=condition, seed=seed))


def moments(
    model: LatentModel,
    x: Any,
    num_samples: int,
    *,
    condition: Any = None,
    seed: Any = None,
    progress: bool = False,
) -> tuple[ElboTerms, np.ndarray]:
    """The mean ELBO over the samples, its two terms, and the standard error of the mean.

    The KL is a closed form where there is one, and then has no error; else the ELBO is that of
    `mean_log_weight`, whose error is that of the log weights.

    Args:
        model, x, num_samples, condition, seed, progress: as for `estimate`.

    Returns:
        `ElboTerms` and the standard error of `elbo`, each [B], NumPy float64, nats; the error is
        infinite for one sample.

    Raises:
        ValueError, TypeError: as `forward` does.

    Example:

    >>> model = vt.linear.LinearGaussian(np.ones((3, 1)), np.zeros(3), 1.0)
    >>> x = np.zeros((5, 3))
    >>> terms, error = vt.elbo.moments(model, x, 1000, seed=0)
    >>> bool(np.all(abs(terms.elbo - model.elbo(x, model.encode(x)).elbo) < 4 * error))
    True
    """
    num_samples = require.count(num_samples, "num_samples")
    x = require.examples(x)
    sums, loop = Moments(3, len(x)), {"condition": condition, "seed": seed, "progress": progress}
    for rows, size, values in chunks.over(_moments, model, x, num_samples=num_samples, **loop):
        sums.add(rows, size, *values)
    return ElboTerms(*sums.mean), sums.standard_error[0]


def _moments(model, x, seed, *, size):
    """Mean and mean square deviation of elbo, reconstruction and kl over samples, [3, b] each."""
    one_pass = forward(model, x, size, seed=seed)
    log_p = log_likelihood(one_pass, differentiable=False)  # [S, b]
    try:
        kl_of_each = kl(one_pass.q_z, one_pass.p_z) + tf.zeros_like(log_p)
    except NotImplementedError:
        kl_of_each = one_pass.q_z.log_prob(one_pass.z) - one_pass.p_z.log_prob(one_pass.z)
    values = tf.stack([log_p - kl_of_each, log_p, kl_of_each])  # [3, S, b]
    values = tf.cast(values, tf.float64)  # many parts add up
    return tf.reduce_mean(values, axis=1), tf.math.reduce_variance(values, axis=1)


def energy_entropy(forward: Forward) -> tf.Tensor:
    """E_q[log p(x, z)] + H[q], the form of statistical physics, shape [B], nats.

    Example:

    >>> model = vt.linear.LinearGaussian(np.ones((3, 1)), np.zeros(3), 1.0)
    >>> one_pass = vt.elbo.forward(model, np.zeros((5, 3)), num_samples=7, seed=0)
    >>> energy_entropy(one_pass).shape
    TensorShape([5])
    """
    # ELBO = E_q[log p(x|z) + log p(z)] + H[q(z|x)]
    energy = log_likelihood(forward) + forward.p_z.log_prob(forward.z)  # [S, B]
    return tf.reduce_mean(energy, axis=0) + forward.q_z.entropy()


def log_joint(model: LatentModel, x: Any, z: Any, *, condition: Any = None) -> tf.Tensor:
    """log p(x, z) = log p(x|z) + log p(z) (docs/the_elbo.md, section 2, step 6).

    Args:
        model: has `prior` and `decode(z)`.
        x: data, shape [B, *event].
        z: latents, shape [S, B, L].
        condition: of a conditional model: an array [B, ...] or a tuple of them.

    Returns:
        Shape [S, B], nats.

    Raises:
        ValueError: if `x` is outside the support, or `condition` has not B rows.

    Example:

    >>> model = vt.linear.LinearGaussian(np.ones((3, 1)), np.zeros(3), 1.0)
    >>> vt.elbo.log_joint(model, np.zeros((5, 3)), np.zeros((7, 5, 1))).shape
    TensorShape([7, 5])
    """
    x = x if tf.is_tensor(x) else require.examples(x)
    model = _given(model, condition, x)
    p_x = model.decode(z)
    return p_x.log_prob(support.check(p_x, x)) + model.prior.log_prob(z)


def log_weights(forward: Forward, *, score: bool = True, differentiable: bool = True) -> tf.Tensor:
    """log w_s = log p(x|z_s) + log p(z_s) - log q(z_s|x), shape [S, B], nats.

    Their mean is the ELBO, the logarithm of the mean of their exponentials the K-sample bound,
    and where q is the exact posterior all of them equal log p(x).

    Args:
        forward: one pass.
        score: whether their gradient includes the score of q, that is the gradient of log q(z|x)
            where its parameters move and z does not.
        differentiable: as for `log_likelihood`.

    Example:

    >>> model = vt.linear.LinearGaussian(np.ones((3, 1)), np.zeros(3), 1.0)
    >>> one_pass = vt.elbo.forward(model, np.zeros((5, 3)), num_samples=7, seed=0)
    >>> log_weights(one_pass).shape
    TensorShape([7, 5])
    """
    log_q = forward.q_z.log_prob(forward.z)
    if not score:
        # Where z stands still, what is left of the gradient is the score; it is subtracted.
        at_rest = forward.q_z.log_prob(tf.stop_gradient(forward.z))
        log_q += tf.stop_gradient(at_rest) - at_rest
    log_p = log_likelihood(forward, differentiable=differentiable)
    return log_p + (forward.p_z.log_prob(forward.z) - log_q)


def bits_per_dimension(nats: Any, event_shape: Any) -> np.ndarray:
    """Nats per example as bits per dimension: nats / (log 2 * number of dimensions).

    Args:
        nats: any shape.
        event_shape: of one example, such as (28, 28), or 784; () for numbers.

    Returns:
        The shape of `nats`, bits.

    Raises:
        ValueError: if `event_shape` holds anything but positive integers.

    Example:

    >>> round(float(vt.elbo.bits_per_dimension(784 * np.log(2), (28, 28))), 6)
    1.0
    """
    event = tuple(event_shape) if np.ndim(event_shape) else (event_shape,)
    dimensions = math.prod(require.sizes(event)) if event else 1
    return np.asarray(nats) / (math.log(2.0) * dimensions)


def mean_log_weight(forward: Forward) -> tf.Tensor:
    """E_q[log p(x, z) - log q(z|x)] (docs/the_elbo.md, section 2, step 5), by Monte Carlo alone.

    Shape [B], nats.

    Example:

    >>> model = vt.linear.LinearGaussian(np.ones((3, 1)), np.zeros(3), 1.0)
    >>> one_pass = vt.elbo.forward(model, np.zeros((5, 3)), num_samples=7, seed=0)
    >>> mean_log_weight(one_pass).shape
    TensorShape([5])
    """
    return tf.reduce_mean(log_weights(forward), axis=0)
