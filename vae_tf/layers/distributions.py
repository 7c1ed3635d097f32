"""TFP distributions as the layers return them: the same objects, with some things added.

A distribution is not a tensor. Feeding one to the next layer, or asking `predict` for it, is
refused with an error that says what to take instead: a hidden sample would be randomness without
a seed, a hidden mean would be another model. The KL between a Normal with a full and one with a
diagonal covariance, which TFP lacks, is registered in closed form. Normals, Bernoullis and
mixtures draw the same numbers from the same seed eagerly, in a graph and under XLA.
"""

from typing import Any, NoReturn

import tensorflow as tf
import tensorflow_probability as tfp

from vae_tf._core import random

tfd = tfp.distributions

__all__ = ["Bernoulli", "Discrete", "Independent", "Mixture", "MultivariateNormalTriL", "Normal"]


class _NotATensor:
    """Says what to do where Keras or NumPy would convert a distribution to an array."""

    name: Any
    event_shape: Any

    def _refuse(self) -> NoReturn:
        raise TypeError(
            "Expected a tensor. Received: a distribution, "
            f"{self.name} with event shape {list(self.event_shape)}. Take a tensor from it: "
            "`.sample(seed=...)`, `.mean()` or `.mode()`; inside a network, by the layer "
            "`vt.layers.ToTensor`. `model.predict` needs tensors too: use `model(x).mean()`, or "
            "`vae.predict(x)`, which is the mean of a reconstruction."
        )

    def numpy(self) -> NoReturn:
        """Raises TypeError: a distribution is not a tensor."""
        self._refuse()

    def __array__(self, dtype: Any = None, copy: Any = None) -> NoReturn:
        self._refuse()


class Independent(_NotATensor, tfd.Independent):
    """`tfd.Independent`, with a clear error where a tensor is expected.

    Example:

    >>> Independent(Normal(tf.zeros([5, 2]), 1.0), reinterpreted_batch_ndims=1).event_shape
    TensorShape([2])
    """


class MultivariateNormalTriL(_NotATensor, tfd.MultivariateNormalTriL):
    """`tfd.MultivariateNormalTriL`: loc + T noise, the same draws in every mode.

    Example:

    >>> MultivariateNormalTriL(tf.zeros([5, 2]), tf.eye(2)).sample(7, seed=[0, 1]).shape
    TensorShape([7, 5, 2])
    """

    def _call_sample_n(self, sample_shape, seed, **_):
        # TFP takes this way for what it transforms, past `_sample_n`.
        lead = tf.reshape(tf.convert_to_tensor(sample_shape, tf.int32), [-1])
        parts = [lead, self.batch_shape_tensor(), self.event_shape_tensor()]
        noise = random.normal(tf.concat(parts, axis=0), tfp.random.sanitize_seed(seed), self.dtype)
        return self.loc + self.scale.matvec(noise)


class Normal(tfd.Normal):
    """`tfd.Normal`: loc + scale noise, the same draws in every mode.

    Example:

    >>> Normal(tf.zeros([5, 2]), 1.0).sample(7, seed=[0, 1]).shape
    TensorShape([7, 5, 2])
    """

    def _sample_n(self, n, seed=None):
        shape = tf.concat([[n], self.batch_shape_tensor()], axis=0)
        noise = random.normal(shape, tfp.random.sanitize_seed(seed), self.dtype)
        return self.loc + self.scale * noise


class Bernoulli(tfd.Bernoulli):
    """`tfd.Bernoulli` of logits, for zeros and ones only.

    TFP's own accepts what lies between as well, and computes two logarithms for each value.

    Example:

    >>> Bernoulli(logits=tf.zeros([5, 2]), dtype="float32").sample(7, seed=[0, 1]).shape
    TensorShape([7, 5, 2])
    """

    def _log_prob(self, event):
        # log p(x) = -log(1 + exp((1 - 2 x) logit))
        sign = 1 - 2 * tf.cast(event, self.logits.dtype)
        return -tf.math.softplus(sign * self.logits)

    def _sample_n(self, n, seed=None):
        shape = tf.concat([[n], self.batch_shape_tensor()], axis=0)
        probs = self.probs_parameter()
        below = random.uniform(shape, tfp.random.sanitize_seed(seed), probs.dtype) < probs
        return tf.cast(below, self.dtype)


class Discrete(
    tfd.distribution.DiscreteDistributionMixin, tfd.distribution.AutoCompositeTensorDistribution
):
    """Base of a discrete family of single numbers that TFP lacks; a subclass has a `_log_prob`.

    The subclass keeps its parameters as tensors, says what they are in `_parameter_properties`, and
    then calls this constructor.

    Args:
        dtype: of a draw.
        parameters: what the subclass was called with, `dict(locals())` in the first line of its
            own constructor.
        name: of the family, as an error calls it.

    Example: a die of `sides`.

    >>> class Die(Discrete):
    ...     def __init__(self, sides, name="Die"):
    ...         parameters = dict(locals())
    ...         self.sides = tf.convert_to_tensor(sides)
    ...         super().__init__(self.sides.dtype, parameters, name)
    ...     @classmethod
    ...     def _parameter_properties(cls, *_args, **_kwargs):
    ...         return {"sides": tfp.util.ParameterProperties()}
    ...     def _log_prob(self, x):
    ...         return -tf.math.log(self.sides) * tf.ones_like(x)
    >>> Die([6.0, 8.0]).batch_shape
    TensorShape([2])
    """

    def __init__(self, dtype: Any, parameters: dict[str, Any], name: str):
        super().__init__(
            dtype=dtype,
            reparameterization_type=tfd.NOT_REPARAMETERIZED,
            validate_args=False,
            allow_nan_stats=True,
            parameters=parameters,
            name=name,
        )

    def _event_shape(self):
        return tf.TensorShape([])

    def _event_shape_tensor(self):
        return tf.constant([], tf.int32)

    def _default_event_space_bijector(self):
        return None


class Mixture(_NotATensor, tfd.MixtureSameFamily):
    """`tfd.MixtureSameFamily` whose draws are the same in every mode, where its components' are.

    Example:

    >>> parts = Independent(Normal(tf.zeros([4, 2]), 1.0), reinterpreted_batch_ndims=1)
    >>> Mixture(tfd.Categorical(logits=tf.zeros([4])), parts).sample(7, seed=[0, 1]).shape
    TensorShape([7, 2])
    """

    def _sample_n(self, n, seed=None):
        which, what = random.split(tfp.random.sanitize_seed(seed), 2)
        draws = self.components_distribution.sample(n, seed=what)  # [n, *batch, K, *event]
        # The component is the number of partial sums of the weights that u has passed.
        weights = self.mixture_distribution.probs_parameter()
        sums = tf.cumsum(weights, axis=-1)[..., :-1]
        axis = draws.shape.rank - self.event_shape.rank - 1
        u = random.uniform(tf.shape(draws)[:axis], which, weights.dtype)[..., tf.newaxis]
        chosen = tf.reduce_sum(tf.cast(u >= sums, tf.int32), axis=-1)  # [n, *batch]
        return tf.gather(draws, chosen, axis=axis, batch_dims=axis)


def _as_multivariate(q):
    """Independent Normals over one axis, as the multivariate Normal that they are."""
    if not isinstance(q.distribution, tfd.Normal) or q.event_shape.rank != 1:
        raise NotImplementedError(f"No closed form of the KL for {q.name}.")
    # The broadcast keeps a fixed scale and a predicted loc in step.
    loc, scale = q.distribution.mean(), q.distribution.stddev()
    return tfd.MultivariateNormalDiag(loc, scale)


def _kl_full_diagonal(a, b, name=None):
    return tfd.kl_divergence(a, _as_multivariate(b), name=name)


def _kl_diagonal_full(a, b, name=None):
    return tfd.kl_divergence(_as_multivariate(a), b, name=name)


def _register_kl(a, b, divergence):
    """Once: where this module is loaded again, TFP has the function already."""
    try:
        tfd.RegisterKL(a, b)(divergence)
    except ValueError as error:
        if "already been registered" not in str(error):
            raise


# TFP has the KL between two multivariate Normals and between two Independents, not between one
# of each; a full-covariance posterior against a diagonal prior is exactly that.
_register_kl(tfd.MultivariateNormalLinearOperator, tfd.Independent, _kl_full_diagonal)
_register_kl(tfd.Independent, tfd.MultivariateNormalLinearOperator, _kl_diagonal_full)
