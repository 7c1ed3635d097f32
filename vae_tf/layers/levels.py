"""A likelihood of grey levels and colours that are stored in bytes: the discretised logistic.

A byte has 256 values, and a density is no probability of one of them: a density can be made as
large as one likes where pixels repeat. Here each level has the probability that a logistic
distribution gives to all numbers that round to it (Salimans et al. 2017, "PixelCNN++", equation 2),
so log p(x) <= 0, and -log2 p(x) / D are bits per dimension that can be compared.
"""

import math
from typing import Any

import keras
import tensorflow as tf
import tensorflow_probability as tfp

from vae_tf._core import random, require
from vae_tf.layers.distributions import Discrete
from vae_tf.layers.families import LocScale

tfd = tfp.distributions

__all__ = ["DiscretizedLogistic", "Rounded"]


class Rounded(Discrete):
    """A logistic distribution, rounded to the levels 0, 1 / (n - 1), ..., 1.

    The first level has all below it too, the last all above.

    Args:
        loc, scale: of the logistic distribution, of shapes that broadcast with each other.
        levels: n.

    Example:

    >>> p_x = Rounded([0.5], [0.1], 3)
    >>> print(np.exp(p_x.log_prob([0.0, 0.5, 1.0])).round(3))
    [0.076 0.848 0.076]
    """

    def __init__(self, loc: Any, scale: Any, levels: int, name: str = "DiscretizedLogistic"):
        parameters = dict(locals())
        self._loc = tf.convert_to_tensor(loc)
        self._scale = tf.convert_to_tensor(scale, self._loc.dtype)
        self._levels = levels
        super().__init__(self._loc.dtype, parameters, name)

    loc = property(lambda self: self._loc)
    scale = property(lambda self: self._scale)
    levels = property(lambda self: self._levels)

    @classmethod
    def _parameter_properties(cls, *_args, **_kwargs):
        softplus = tfp.bijectors.Softplus
        return {
            "loc": tfp.util.ParameterProperties(),
            "scale": tfp.util.ParameterProperties(default_constraining_bijector_fn=softplus),
            "levels": tfp.util.ParameterProperties(event_ndims=None),
        }

    def _log_prob(self, x):
        # s(a) - s(b) = s(a) s(-b) (1 - exp(b - a)) for the sigmoid s: no difference of two numbers
        # that are nearly equal, however far x lies from loc.
        half = 0.5 / (self.levels - 1)
        below_upper = tf.math.log_sigmoid((x + half - self.loc) / self.scale)
        above_lower = tf.math.log_sigmoid((self.loc - x + half) / self.scale)
        width = tfp.math.log1mexp(2 * half / self.scale)
        inside = below_upper + above_lower + width
        return tf.where(x < half, below_upper, tf.where(x > 1 - half, above_lower, inside))

    def _sum_over_levels(self, weight):
        """sum_k weight(k) P(level >= k), level by level: no axis of levels in memory."""

        def add(total, k):
            edge = (k - 0.5) / (self.levels - 1)
            return total + weight(k) * tf.sigmoid((self.loc - edge) / self.scale)

        shape = tf.broadcast_dynamic_shape(tf.shape(self.loc), tf.shape(self.scale))
        each = tf.range(1, self.levels, dtype=self.dtype)
        return tf.foldl(add, each, initializer=tf.zeros(shape, self.dtype))

    def _mean(self):
        return self._sum_over_levels(lambda _: 1.0) / (self.levels - 1)

    def _variance(self):
        # E[k^2] = sum_k (2 k - 1) P(level >= k)
        square = self._sum_over_levels(lambda k: 2 * k - 1) / (self.levels - 1) ** 2
        return square - self._mean() ** 2

    def _sample_n(self, n, seed=None):
        shape = tf.concat([[n], self.batch_shape_tensor()], axis=0)
        u = random.uniform(shape, tfp.random.sanitize_seed(seed), self.dtype)
        u = tf.maximum(u, math.ldexp(1.0, -24))  # not zero: its logarithm
        x = self.loc + self.scale * (tf.math.log(u) - tf.math.log1p(-u))
        return tf.round(tf.clip_by_value(x, 0, 1) * (self.levels - 1)) / (self.levels - 1)


@keras.saving.register_keras_serializable("vae_tf")
class DiscretizedLogistic(LocScale):
    """Independent grey levels or colours: each has a probability, so bits per dimension mean much.

        p(x) = prod_d s((x_d + h - loc_d) / scale_d) - s((x_d - h - loc_d) / scale_d)

    with the sigmoid s and half a step h = 1 / (2 (levels - 1)); at 0 the second term is zero, at 1
    the first is one (Salimans et al. 2017, equation 2). x holds the levels 0, 1 / (levels - 1),
    ..., 1, such as bytes divided by 255; other numbers are refused.

    The layer before gives all locs; then, if they are predicted, all raw scales.

    Args:
        event_shape: the shape of one draw, such as (32, 32, 3).
        levels: how many levels there are; 256 for bytes.
        scale: of the logistic distribution: a positive number, "learned" or "predicted", as for
            `Normal`.
        min_scale: the floor under a learned or predicted scale.

    Raises:
        ValueError: if `levels` is not an integer above one, or `scale` is neither a positive
            number nor one of these names.

    Example:

    >>> p_x = DiscretizedLogistic(3, scale=0.1)(tf.fill([1, 3], 0.5))
    >>> bits = -p_x.log_prob(tf.fill([1, 3], 128 / 255)) / (3 * np.log(2))
    >>> print(bits.numpy().round(2))  # a byte has eight
    [6.67]
    """

    def __init__(
        self,
        event_shape: int | tuple[int, ...],
        levels: int = 256,
        scale: float | str = "predicted",
        min_scale: float = 1e-4,
        **kwargs: Any,
    ):
        super().__init__(event_shape, scale, min_scale, **kwargs)
        if (levels := require.count(levels, "levels")) < 2:
            raise ValueError(f"Expected `levels` to be two or more. Received: levels={levels}")
        self.levels = levels

    def distribution(self, params: tf.Tensor) -> tfd.Distribution:
        loc, scale = self._loc_and_scale(params)
        return self.independent(Rounded(loc, scale, self.levels))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "levels": self.levels}
