"""A mixture of any family: several distributions of one kind, and the share of each.

Two things are called a mixture of K Normals over an image. In the first, one component is drawn for
the whole image, and there are K shares; that is what `tfp.layers.MixtureSameFamily`,
`MixtureNormal` and `MixtureLogistic` are. In the second, each pixel draws a component of its own,
and has K shares; so the discretised logistics of PixelCNN++ (Salimans et al. 2017, equation 2).
"""

import math
from typing import Any

import keras
import tensorflow as tf
import tensorflow_probability as tfp

from vae_tf._core import require
from vae_tf.layers import distributions
from vae_tf.layers.base import ToDistribution

tfd = tfp.distributions

__all__ = ["Mixture"]


@keras.saving.register_keras_serializable("vae_tf")
class Mixture(ToDistribution):
    """A mixture of K distributions of one family, each with parameters of its own.

        p(x) = sum_k share_k p_k(x)                     one component for the whole event
        p(x) = prod_d sum_k share_dk p_dk(x_d)          per_dimension=True

    with share = softmax(logits) (Bishop 1994, "Mixture density networks"). For the whole event, the
    layer before gives K logits, then all parameters of the first component, then those of the next.
    For each dimension it gives the logits, K for each dimension, and then the parameters kind by
    kind, K times as many for each dimension as `component` alone.

    Which component a draw comes from does not move smoothly with the logits: a mixture is a
    likelihood, and as a q(z|x) it is refused.

    Args:
        component: a layer of the family, such as `vt.layers.Normal((8, 8))`: it says the shape of
            one draw, and what is fixed or learned. Only its configuration is taken. What it learns
            is shared by the components; with `per_dimension`, what it learns for each dimension it
            learns for each component, too.
        num_components: K, at least two.
        per_dimension: whether each dimension draws a component of its own.
        **kwargs: of `keras.Layer`.

    Raises:
        TypeError: if `component` is no distribution layer.
        ValueError: if `num_components` is not an integer of at least two; with `per_dimension`, if
            the parameters of `component` do not belong to single dimensions.

    Example:

    >>> layer = Mixture(vt.layers.Normal(3), 5)
    >>> layer.input_size  # 5 logits, and 5 times 3 locs and 3 raw scales
    35
    >>> layer(tf.zeros([7, 35])).event_shape
    TensorShape([3])
    """

    def __init__(
        self,
        component: ToDistribution,
        num_components: int,
        per_dimension: bool = False,
        **kwargs: Any,
    ):
        self._require(component, num_components)
        super().__init__(component.event_shape, **{"dtype": component.dtype_policy, **kwargs})
        self.num_components, self.per_dimension = int(num_components), bool(per_dimension)
        self._layout = component.layout if per_dimension else None
        each = (self.num_components,) if per_dimension else ()
        self.components = self._copy(component, (*self.event_shape, *each))

    @staticmethod
    def _require(component, num_components):
        if not isinstance(component, ToDistribution):
            raise TypeError(
                "Expected `component` to be a distribution layer such as vt.layers.Normal(3). "
                f"Received: {component!r}"
            )
        if require.count(num_components, "num_components") < 2:
            raise ValueError(
                "Expected `num_components` to be at least 2. "
                f"Received: num_components={num_components}"
            )

    def _copy(self, component, event_shape):
        """A layer of the same family, for draws of this shape and in the precision of this one."""
        config = {**component.get_config(), "dtype": self.dtype_policy}
        size = "event_size" if "event_size" in config else "event_shape"
        return type(component).from_config({**config, size: event_shape})

    @classmethod
    def params_size(  # type: ignore[override]
        cls, component: ToDistribution, num_components: int, per_dimension: bool = False
    ) -> int:
        """For each component a logit (of each dimension, or one) and its own parameters."""
        cls._require(component, num_components)
        logits = math.prod(component.event_shape) if per_dimension else 1
        return num_components * (logits + component.input_size)

    @property
    def input_size(self) -> int:
        """`params_size` of this instance."""
        if self.per_dimension:
            return self._num_logits + self.components.input_size
        return self.num_components * (1 + self.components.input_size)

    @property
    def _num_logits(self):
        return self.num_components * (math.prod(self.event_shape) if self.per_dimension else 1)

    @property
    def layout(self) -> tuple[int, ...]:
        """Logits first, then the kinds of the component; K times as many for each dimension.

        Raises:
            ValueError: without `per_dimension`, where a logit belongs to the whole event.
        """
        if self._layout is None:
            raise ValueError(
                "Expected a layer whose parameters belong to single dimensions. Received: a "
                "Mixture for the whole event; per_dimension=True makes one for each dimension"
            )
        return tuple(self.num_components * width for width in (1, *self._layout))

    def build(self, input_shape: Any) -> None:
        super().build(input_shape)
        self.components.build((None, self.components.input_size))

    def distribution(self, params: tf.Tensor) -> tfd.Distribution:
        sizes = [self._num_logits, self.input_size - self._num_logits]
        logits, rest = tf.split(params, sizes, axis=-1)
        if self.per_dimension:
            which = tfd.Categorical(logits=self.to_event(logits, self.num_components))
            scalars = self.components.distribution(rest).distribution  # batch [..., *event, K]
            return self.independent(distributions.Mixture(which, scalars))
        each = [self.num_components, self.components.input_size]
        rest = tf.reshape(rest, tf.concat([tf.shape(rest)[:-1], each], axis=0))
        rest.set_shape((*params.shape[:-1], *each))
        # batch [..., K]
        return distributions.Mixture(
            tfd.Categorical(logits=logits), self.components.distribution(rest)
        )

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        component = self._copy(self.components, config.pop("event_shape"))
        return {
            **config,
            "component": keras.saving.serialize_keras_object(component),
            "num_components": self.num_components,
            "per_dimension": self.per_dimension,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Mixture":
        component = keras.saving.deserialize_keras_object(config["component"])
        return cls(**{**config, "component": component})
