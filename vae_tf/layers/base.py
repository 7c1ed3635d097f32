"""The base of all layers that end a network in a distribution.

Keras must know a shape and a dtype before it has numbers: `compute_output_spec` answers with
those of a sample. At run time `call` returns the distribution itself, eagerly, in `tf.function`,
under XLA, and after `.keras` save and load.
"""

import math

import keras
import numpy as np
import tensorflow as tf

from vae_tf._core import require
from vae_tf.layers.distributions import Independent

__all__ = ["ToDistribution", "raw_from", "scale_from"]

# softplus(raw + this) = 1 at raw = 0: an untrained network starts at scale one.
_UNIT_SOFTPLUS = math.log(math.expm1(1.0))


def scale_from(raw, floor):
    """A positive number from any real one: floor + softplus(raw + log(e - 1))."""
    return floor + tf.nn.softplus(raw + _UNIT_SOFTPLUS)


def raw_from(scale, floor):
    """The real number that `scale_from` makes this scale of."""
    return np.log(np.expm1(np.asarray(scale) - floor)) - _UNIT_SOFTPLUS


@keras.saving.register_keras_serializable("vae_tf")
class ToDistribution(keras.Layer):
    """Base of the layers that end a network in a distribution: [..., P] to event [*event].

    A subclass says how many parameters it needs (`params_size`, and `input_size` of an instance)
    and builds the distribution from them (`distribution`). The layer computes in float32 at least,
    also under a mixed precision policy: log-densities are sums of many terms.

    Args:
        event_shape: the shape of one draw, a positive integer or a tuple of them.
        **kwargs: of `keras.Layer`.

    Raises:
        ValueError: if `event_shape` holds anything but positive integers, or if the last axis of
            the input is not `input_size` wide.
    """

    def __init__(self, event_shape, **kwargs):
        if kwargs.get("dtype") is None and "mixed" in keras.config.dtype_policy().name:
            kwargs["dtype"] = "float32"
        super().__init__(**kwargs)
        self.event_shape = require.sizes(event_shape)

    @classmethod
    def params_size(cls, event_shape):
        """How wide the layer before must be: the number of parameters of one distribution."""
        return math.prod(require.sizes(event_shape))

    @property
    def input_size(self):
        """`params_size` of this instance."""
        return self.params_size(self.event_shape)

    def distribution(self, params):
        """The distribution with parameters `params`, shape [..., input_size]."""
        raise NotImplementedError("A subclass of ToDistribution defines `distribution(params)`.")

    def build(self, input_shape):
        if input_shape[-1] != self.input_size:
            raise ValueError(
                f"{type(self).__name__} with event shape {self.event_shape} takes "
                f"{self.input_size} parameters. Expected an input of shape [..., "
                f"{self.input_size}]. Received: shape {list(input_shape)}"
            )
        super().build(input_shape)

    def call(self, params):
        return self.distribution(params)

    def compute_output_spec(self, params):
        shape = (*params.shape[:-1], *self.event_shape)
        return keras.KerasTensor(shape, dtype=self.compute_dtype)

    def get_config(self):
        return {**super().get_config(), "event_shape": self.event_shape}

    def _to_event(self, params, *trailing):
        """[..., P] -> [..., *event, *trailing]"""
        event = (*self.event_shape, *trailing)
        shaped = tf.reshape(params, tf.concat([tf.shape(params)[:-1], event], axis=0))
        shaped.set_shape((*params.shape[:-1], *event))
        return shaped

    def _independent(self, distribution):
        """One event out of the scalar distributions along the event axes."""
        return Independent(distribution, reinterpreted_batch_ndims=len(self.event_shape))
