"""Likelihoods of counts: Poisson, negative binomial, and negative binomial with extra zeros.

    mean = size_factor * exp(param),    variance = mean + dispersion * mean^2

The dispersion is DESeq2's alpha and that of TFP's `experimental_from_mean_dispersion`; it is
1 / theta of scvi-tools. At zero it is the Poisson. `size_factor` is optional, a second argument of
the layer: how deeply a cell was sequenced, or how long one has looked.

TFP's own `NegativeBinomial` loses 0.08 nats in float32 where counts and 1 / dispersion reach 1e6,
its `Poisson` 0.2 at counts of 1e6, and its `ZeroInflatedNegativeBinomial` doubles the logits it is
given (TFP 0.25). So the distributions are here, with a log-probability written for accuracy.
"""

import math
from typing import Any

import keras
import tensorflow as tf
import tensorflow_probability as tfp

from vae_tf._core import require
from vae_tf.layers.base import ToDistribution, number_or_name, scale_from
from vae_tf.layers.distributions import Discrete

tfd = tfp.distributions

__all__ = ["NegativeBinomial", "Poisson", "ZeroInflatedNegativeBinomial"]

# -- the distributions ---------------------------------------------------------------------------


def _log_ratio(ratio, ratio_minus_one):
    """log(ratio), from whichever of the two keeps its digits; gradients stay finite."""
    near = tf.abs(ratio_minus_one) < 0.5
    return tf.where(
        near,
        tf.math.log1p(tf.where(near, ratio_minus_one, 0)),
        tf.math.log(tf.where(near, tf.ones_like(ratio), ratio)),
    )


# The square of a mean beyond exp(+-44) leaves float32, and gradients hold squares. Between these
# two the mean itself is computed with, outside its logarithm.
_TINY, _HUGE = -30.0, 40.0


def _log_ratios(n, log_mean, r):
    """log(n (mean + r) / (mean (n + r))) and log((n + r) / (mean + r)), of any mean."""
    extreme = (log_mean < _TINY) | (log_mean > _HUGE)
    mean = tf.exp(tf.where(extreme, tf.zeros_like(log_mean), log_mean))
    by_count = _log_ratio((n / mean) * ((mean + r) / (n + r)), r / (n + r) * ((n - mean) / mean))
    by_r = _log_ratio((n + r) / (mean + r), (n - mean) / (mean + r))
    # log((mean + r) / mean) = softplus(-log_odds) and log((mean + r) / r) = softplus(log_odds)
    log_odds = log_mean - tf.math.log(r)
    far_by_count = tf.nn.softplus(-log_odds) - tf.math.log1p(r / n)
    far_by_r = tf.math.log1p(n / r) - tf.nn.softplus(log_odds)
    return tf.where(extreme, far_by_count, by_count), tf.where(extreme, far_by_r, by_r)


def _log_prob_zero(log_mean, dispersion):
    """log NB(0) = -r log(1 + mean / r), of any mean."""
    huge = log_mean > _HUGE
    mean = tf.exp(tf.where(huge, tf.zeros_like(log_mean), log_mean))
    far = tf.nn.softplus(log_mean + tf.math.log(dispersion))
    return -tf.where(huge, far, tf.math.log1p(mean * dispersion)) / dispersion


def _stirling_error(y):
    """log Gamma(y) - [(y - 1/2) log y - y + 1/2 log(2 pi)], which is about 1 / (12 y).

    Below 8 by Gamma(y) = Gamma(y + 8) / (y (y + 1) ... (y + 7)), which is ten times as fast as
    `tf.math.lgamma` and as accurate.
    """
    small = y < 8
    low, high = tf.where(small, y, tf.ones_like(y)), tf.where(small, 8 * tf.ones_like(y), y)
    product = math.prod((low + k) / (low + 8) for k in range(8))
    shifted = (low - 0.5) * tf.math.log1p(8 / low) - 8 - tf.math.log(product)
    error = tfp.math.log_gamma_correction(tf.where(small, low + 8, high))
    return tf.where(small, shifted, 0) + error


def _log_prob(x, log_mean, dispersion):
    """log NB(x), with r = 1 / dispersion.

        log NB(0) = -r log(1 + mean / r)
        log NB(x) = -deviance / 2 + 1/2 log(r / (2 pi x (x + r))) + e(x + r) - e(x) - e(r)

        deviance / 2 = x log(x (mean + r) / (mean (x + r))) - r log((x + r) / (mean + r))

    e is the error of Stirling's formula. Nothing in it is larger than the result by much, whereas
    in the textbook form log Gamma(x + r) - log Gamma(r) cancels against x log r (Loader 2000 does
    the same for the binomial).
    """
    r, zero = 1 / dispersion, x < 0.5
    n = tf.where(zero, tf.ones_like(x), x)  # not the zeros: their logarithm has no gradient
    by_count, by_r = _log_ratios(n, log_mean, r)
    half_deviance = n * by_count - r * by_r
    # For a tiny r both this and e(r) grow as log r: NB(x) is proportional to r.
    width = 0.5 * (tf.math.log(r) - tf.math.log(n + r) - tf.math.log(n) - math.log(2 * math.pi))
    errors = _stirling_error(n + r) - _stirling_error(n) - _stirling_error(r)
    return tf.where(zero, _log_prob_zero(log_mean, dispersion), width + errors - half_deviance)


def _poisson_log_prob(x, log_rate):
    """log Poisson(x), from the deviance and the error e of Stirling's formula (Loader 2000).

        log Poisson(0) = -rate
        log Poisson(x) = -deviance / 2 - 1/2 log(2 pi x) - e(x)

        deviance / 2 = x (rate / x - 1 - log(rate / x))

    The textbook form cancels: at a count of 1e6 its terms are a million times the result. In the
    deviance the distance of log rate from log x counts x-fold, and float32 does not hold it well
    enough: this one number is computed in float64, from the float32 that was given.
    """
    zero = x < 0.5
    n = tf.where(zero, tf.ones_like(x), x)
    distance = tf.cast(log_rate, tf.float64) - tf.math.log(tf.cast(n, tf.float64))
    half_deviance = tf.cast(n, tf.float64) * (tf.math.expm1(distance) - distance)
    rest = 0.5 * (tf.math.log(n) + math.log(2 * math.pi)) + _stirling_error(n)
    return -tf.where(zero, tf.exp(log_rate), tf.cast(half_deviance, x.dtype) + rest)


class LogRate(tfd.Poisson):
    """`tfd.Poisson` by the logarithm of its rate, accurate in float32 for large counts too.

    Args:
        log_rate: any shape.

    Example:

    >>> LogRate(tf.math.log([2.0])).log_prob([0.0]).numpy().tolist()
    [-2.0]
    """

    def __init__(self, log_rate: Any, name: str = "Poisson"):
        parameters = dict(locals())
        super().__init__(log_rate=log_rate, name=name)
        self._parameters = parameters

    @classmethod
    def _parameter_properties(cls, *_args, **_kwargs):
        return {"log_rate": tfp.util.ParameterProperties()}

    def _log_prob(self, x):
        return _poisson_log_prob(x, self.log_rate)


class MeanDispersion(tfd.NegativeBinomial):
    """`tfd.NegativeBinomial` by log-mean and dispersion.

    variance = mean + dispersion mean^2.

    Args:
        log_mean: any shape.
        dispersion: positive, of a shape that broadcasts with it.

    Example:

    >>> MeanDispersion(tf.math.log([2.0]), 0.5).variance().numpy().tolist()
    [4.0]
    """

    def __init__(self, log_mean: Any, dispersion: Any, name: str = "NegativeBinomial"):
        parameters = dict(locals())
        self._log_mean = tf.convert_to_tensor(log_mean)
        self._dispersion = tf.convert_to_tensor(dispersion, self._log_mean.dtype)
        super().__init__(
            1 / self._dispersion,
            logits=self._log_mean + tf.math.log(self._dispersion),
            require_integer_total_count=False,
            name=name,
        )
        self._parameters = parameters

    log_mean = property(lambda self: self._log_mean)
    dispersion = property(lambda self: self._dispersion)

    @classmethod
    def _parameter_properties(cls, *_args, **_kwargs):
        scalar = tfp.util.ParameterProperties
        softplus = tfp.bijectors.Softplus
        return {
            "log_mean": scalar(),
            "dispersion": scalar(default_constraining_bijector_fn=softplus),
        }

    def _log_prob(self, x):
        return _log_prob(x, self.log_mean, self.dispersion)

    def _mean(self):
        return tf.exp(self.log_mean) * tf.ones_like(self.dispersion)

    def _variance(self):
        # mean + dispersion * mean^2
        mean = self._mean()
        return mean * (1 + self.dispersion * mean)

    def _sample_n(self, n, seed=None):
        # rate ~ Gamma(r, r / mean), x | rate ~ Poisson(rate); both samplers compile under XLA.
        rate_seed, count_seed = tf.unstack(tfp.random.split_seed(seed))
        rate = tfd.Gamma(1 / self.dispersion, tf.exp(-self.log_mean) / self.dispersion)
        return tfd.Poisson(rate.sample(n, seed=rate_seed)).sample(seed=count_seed)


class ZeroInflated(Discrete):
    """With probability sigmoid(gate_logits) a zero, else a draw from the negative binomial.

    Args:
        gate_logits: any shape.
        log_mean, dispersion: those of the negative binomial, of shapes that broadcast with it.

    Example:

    >>> ZeroInflated([0.0], tf.math.log([2.0]), 0.5).mean().numpy().tolist()
    [1.0]
    """

    def __init__(
        self,
        gate_logits: Any,
        log_mean: Any,
        dispersion: Any,
        name: str = "ZeroInflatedNegativeBinomial",
    ):
        parameters = dict(locals())
        self._log_mean = tf.convert_to_tensor(log_mean)
        self._gate_logits = tf.convert_to_tensor(gate_logits, self._log_mean.dtype)
        self._dispersion = tf.convert_to_tensor(dispersion, self._log_mean.dtype)
        super().__init__(self._log_mean.dtype, parameters, name)

    gate_logits = property(lambda self: self._gate_logits)
    log_mean = property(lambda self: self._log_mean)
    dispersion = property(lambda self: self._dispersion)

    @classmethod
    def _parameter_properties(cls, *_args, **_kwargs):
        shared = MeanDispersion._parameter_properties()
        return {"gate_logits": tfp.util.ParameterProperties(), **shared}

    def _counts(self):
        return MeanDispersion(self.log_mean, self.dispersion)

    def _log_prob(self, x):
        # p(x) = gate [x = 0] + (1 - gate) NB(x)
        log_gate = tf.math.log_sigmoid(self.gate_logits)
        counted = tf.math.log_sigmoid(-self.gate_logits) + self._counts().log_prob(x)
        return tf.where(x < 0.5, tfp.math.log_add_exp(log_gate, counted), counted)

    def _mean(self):
        return tf.sigmoid(-self.gate_logits) * self._counts().mean()

    def _variance(self):
        # (1 - gate) (Var + gate mean^2)
        counts, gate = self._counts(), tf.sigmoid(self.gate_logits)
        return tf.sigmoid(-self.gate_logits) * (counts.variance() + gate * counts.mean() ** 2)

    def _sample_n(self, n, seed=None):
        gate_seed, count_seed = tf.unstack(tfp.random.split_seed(seed))
        counts = self._counts().sample(n, seed=count_seed)
        logits = tf.broadcast_to(-self.gate_logits, self.batch_shape_tensor())
        return counts * tfd.Bernoulli(logits=logits, dtype=self.dtype).sample(n, seed=gate_seed)


# -- the layers ----------------------------------------------------------------------------------


class _Counts(ToDistribution):
    """What the likelihoods of counts share: a log-mean, shifted by the log of a size factor."""

    def distribution(self, params: tf.Tensor, log_size: Any = None) -> tfd.Distribution:
        raise NotImplementedError("A subclass defines `distribution(params, log_size)`.")

    def call(self, params: tf.Tensor, size_factor: Any = None) -> tfd.Distribution:
        if size_factor is None:
            return self.distribution(params)
        # A sum of counts is often of an integer type.
        size_factor = tf.cast(tf.convert_to_tensor(size_factor), params.dtype)
        self._batch_of(size_factor.shape)
        if tf.executing_eagerly() and not tf.reduce_all(size_factor > 0):
            raise ValueError(
                "Expected `size_factor` to be positive. "
                f"Received: the value {float(tf.reduce_min(size_factor)):g}"
            )
        return self.distribution(params, tf.math.log(size_factor))

    def compute_output_spec(self, params: Any, size_factor: Any = None) -> keras.KerasTensor:
        batch = tf.TensorShape(params.shape[:-1])
        if size_factor is not None:
            batch = tf.broadcast_static_shape(batch, self._batch_of(size_factor.shape))
        return keras.KerasTensor((*batch, *self.event_shape), dtype=self.compute_dtype)

    def _batch_of(self, shape):
        """The batch axes of a size factor: one axis of length one follows for each event axis."""
        shape, ndims = tf.TensorShape(shape), len(self.event_shape)
        if shape.rank != 0 and tuple(shape[-ndims:]) != (1,) * ndims:
            ones = ", ".join("1" * ndims)
            raise ValueError(
                f"Expected `size_factor` of shape [..., {ones}], one number for each example. "
                f"Received: shape {list(shape)}"
            )
        return shape[:-ndims]

    def _log_mean(self, params, log_size):
        log_mean = self.to_event(params)
        return log_mean if log_size is None else log_mean + log_size


@keras.saving.register_keras_serializable("vae_tf")
class Poisson(_Counts):
    """Independent Poissons for counts, by the logarithm of their rates.

        p(x) = prod_d rate_d^x_d exp(-rate_d) / x_d!,    rate = size_factor * exp(params)

    Called as `layer(params)` or `layer(params, size_factor)`; the size factor is a positive number
    for each example, shape [..., 1] with an axis for each axis of the event. The layer before
    gives one log-rate for each dimension.

    Args:
        event_shape: the shape of one draw.

    Example:

    >>> Poisson(3)(tf.zeros([5, 3]), size_factor=2 * np.ones((5, 1))).mean().numpy()[0].tolist()
    [2.0, 2.0, 2.0]
    """

    def distribution(self, params: tf.Tensor, log_size: Any = None) -> tfd.Distribution:
        return self.independent(LogRate(self._log_mean(params, log_size)))


@keras.saving.register_keras_serializable("vae_tf")
class NegativeBinomial(_Counts):
    """Independent negative binomials, by mean and dispersion: variance = mean + dispersion mean^2.

    A Poisson whose rate is itself Gamma distributed with mean `mean` and variance
    `dispersion * mean^2`; at dispersion zero a Poisson. Called as `layer(params)` or
    `layer(params, size_factor)`: mean = size_factor * exp(params), where the size factor is a
    positive number for each example, shape [..., 1] with an axis for each axis of the event.
    The layer before gives the log-mean of each dimension; then, if they are predicted, the raw
    dispersion of each.

    Args:
        event_shape: the shape of one draw.
        dispersion: a positive number (fixed), "learned" (one trainable number for each dimension,
            that is for each gene) or "predicted" (a second output of the network for each
            dimension). It is DESeq2's alpha and 1 / theta of scvi-tools.
        min_dispersion: the floor under a learned or predicted dispersion.

    Raises:
        ValueError: if an argument is not positive, or a size factor has another shape.

    Example:

    >>> NegativeBinomial.params_size(3), NegativeBinomial.params_size(3, dispersion="predicted")
    (3, 6)
    """

    def __init__(
        self,
        event_shape: int | tuple[int, ...],
        dispersion: float | str = "learned",
        min_dispersion: float = 1e-6,
        **kwargs: Any,
    ):
        super().__init__(event_shape, **kwargs)
        self.dispersion = number_or_name(dispersion, "dispersion")
        self.min_dispersion = require.positive(min_dispersion, "min_dispersion")

    @classmethod
    def params_size(
        cls, event_shape: int | tuple[int, ...], dispersion: float | str = "learned"
    ) -> int:
        """One log-mean for each dimension, and where it is predicted one raw dispersion."""
        return math.prod(require.sizes(event_shape)) * (2 if dispersion == "predicted" else 1)

    @property
    def input_size(self) -> int:
        """`params_size` of this instance."""
        return self.params_size(self.event_shape, self.dispersion)

    def build(self, input_shape: Any) -> None:
        super().build(input_shape)
        if self.dispersion == "learned":
            self.raw_dispersion = self.add_weight(
                shape=self.event_shape,
                initializer="zeros",
                autocast=False,  # a mixed policy of the model around must not round it
                name="raw_dispersion",
            )

    def distribution(self, params: tf.Tensor, log_size: Any = None) -> tfd.Distribution:
        params, dispersion = self._split(params)
        return self.independent(MeanDispersion(self._log_mean(params, log_size), dispersion))

    def _split(self, params):
        """The parameters of the mean, and the dispersion."""
        if self.dispersion == "predicted":
            params, raw = tf.split(params, 2, axis=-1)
            return params, scale_from(self.to_event(raw), self.min_dispersion)
        if self.dispersion == "learned":
            raw = tf.convert_to_tensor(self.raw_dispersion)
            return params, scale_from(raw, self.min_dispersion)
        return params, tf.constant(self.dispersion, params.dtype)

    def get_config(self) -> dict[str, Any]:
        own = {"dispersion": self.dispersion, "min_dispersion": self.min_dispersion}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable("vae_tf")
class ZeroInflatedNegativeBinomial(NegativeBinomial):
    """Independent negative binomials with extra zeros: p(x) = gate [x = 0] + (1 - gate) NB(x).

    gate = sigmoid(logit), one predicted logit for each dimension, after the parameters of
    `NegativeBinomial`. The mean of NB(x) is size_factor * exp(params); that of x is (1 - gate)
    times as large. Arguments and size factor as for `NegativeBinomial`.

    Example:

    >>> ZeroInflatedNegativeBinomial.params_size(3)
    6
    """

    @classmethod
    def params_size(
        cls, event_shape: int | tuple[int, ...], dispersion: float | str = "learned"
    ) -> int:
        """Those of `NegativeBinomial`, and one logit of the gate for each dimension."""
        return super().params_size(event_shape, dispersion) + math.prod(require.sizes(event_shape))

    def distribution(self, params: tf.Tensor, log_size: Any = None) -> tfd.Distribution:
        width = math.prod(self.event_shape)
        params, gate = tf.split(params, [self.input_size - width, width], axis=-1)
        params, dispersion = self._split(params)
        counts = self._log_mean(params, log_size), dispersion
        return self.independent(ZeroInflated(self.to_event(gate), *counts))
