"""The base of all layers that end a network in a distribution.

Keras must know a shape and a dtype before it has numbers: `compute_output_spec` answers with
those of a sample. At run time `call` returns the distribution itself, eagerly, in `tf.function`,
under XLA, and after `.keras` save and load.
"""

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from vae_tf._core import require
from vae_tf.layers.distributions import Independent

__all__ = [
    "ToDistribution",
    "full_precision",
    "number_or_name",
    "raw_from",
    "refuse_arguments",
    "scale_from",
]

# softplus(raw + this) = 1 at raw = 0: an untrained network starts at scale one.
_UNIT_SOFTPLUS = math.log(math.expm1(1.0))


def scale_from(raw: Any, floor: float) -> tf.Tensor:
    """A positive number from any real one: floor + softplus(raw + log(e - 1)).

    Example:

    >>> float(scale_from(0.0, floor=0.0))
    1.0
    """
    return floor + tf.nn.softplus(raw + _UNIT_SOFTPLUS)


def raw_from(scale: Any, floor: float) -> np.ndarray:
    """The real number that `scale_from` makes this scale of.

    Computed in float64, whatever the dtype: y + log(1 - exp(-y)), y = scale - floor, neither
    overflows for a large y nor loses a small one.

    Args:
        scale: above the floor, any shape.
        floor: the floor that `scale_from` adds.

    Returns:
        Of the shape and, if it is floating, of the dtype of `scale`.

    Raises:
        ValueError: if a scale is not a finite number above the floor.

    Example:

    >>> abs(float(raw_from(1.0, floor=0.0))) < 1e-12
    True
    """
    scale = np.asarray(scale)
    above = scale.astype("float64") - floor
    if not np.all(np.isfinite(above) & (above > 0)):
        raise ValueError(
            f"Expected `scale` to be finite and above its floor, {floor:g}. "
            f"Received: scale={scale!r}"
        )
    raw = above + np.log(-np.expm1(-above)) - _UNIT_SOFTPLUS
    return raw.astype(scale.dtype if np.issubdtype(scale.dtype, np.floating) else "float64")


def number_or_name(value: Any, name: str) -> float | str:
    """A parameter that is fixed (a positive number), "learned" or "predicted".

    Raises:
        ValueError: if `value` is none of these.

    Example:

    >>> number_or_name(2, "scale"), number_or_name("learned", "scale")
    (2.0, 'learned')
    """
    if not isinstance(value, str):
        return require.positive(value, name)
    if value not in ("learned", "predicted"):
        raise ValueError(
            f'Expected `{name}` to be a positive number, "learned" or "predicted". '
            f"Received: {name}={value!r}"
        )
    return value


def full_precision(dtype: Any) -> Any:
    """The dtype policy for what computes log-densities: float32 in place of float16 and bfloat16.

    A log-density is a sum of many terms, and half precision holds three digits: the policies
    "float16", "bfloat16" and "mixed_..." of them become "float32"; others stay.

    Args:
        dtype: as `keras.Layer` takes it: None, a name, a policy or its config.

    Example:

    >>> full_precision("mixed_bfloat16"), full_precision("float64")
    ('float32', 'float64')
    """
    policy = keras.dtype_policies.get(dtype)  # of None: the policy in force
    return "float32" if policy.compute_dtype in ("float16", "bfloat16") else dtype


def refuse_arguments(layer: str, kwargs: dict[str, Any], names: Sequence[str]) -> None:
    """Arguments of `keras.Layer` that would have no effect, and so promise what is not done.

    Raises:
        ValueError: if one of them was given.
    """
    hints = {
        "activity_regularizer": "the objective holds the KL already; choose another one in "
        "vt.VAE(..., objective=...), such as vt.objectives.BetaELBO(4.0)",
        "autocast": "the input is always cast up to the precision of the log-density",
    }
    for name in names:
        if kwargs.get(name) is not None:
            raise ValueError(
                f"Expected no `{name}` for {layer}: {hints.get(name, 'it has no input')}. "
                f"Received: {name}={kwargs[name]!r}"
            )


@keras.saving.register_keras_serializable("vae_tf")
class ToDistribution(keras.Layer):
    """Base of the layers that end a network in a distribution: [..., P] to event [*event].

    A subclass says how many parameters it needs (`params_size`, and `input_size` of an instance)
    and builds the distribution from them (`distribution`). The layer computes in float32 at least,
    under every dtype policy: log-densities are sums of many terms.

    Parameters come kind by kind: first the one kind for all dimensions (all locs), then the next
    (all raw scales). Within a kind the dimensions have the order of a flattened event; a kind
    with several numbers for each dimension, such as the logits of classes, has them last.
    `layout` says so in numbers. A decoder that computes the parameters pixel by pixel must bring
    them into this order: `vt.networks.by_kind`.

    Args:
        event_shape: the shape of one draw, a positive integer or a tuple of them.
        **kwargs: of `keras.Layer`.

    Raises:
        ValueError: if `event_shape` holds anything but positive integers, if the last axis of
            the input is not `input_size` wide, or if an argument of `keras.Layer` is given that
            has no effect here, such as `activity_regularizer`.

    Example: a mixture of two Normals for each dimension.

    >>> tfd = tfp.distributions
    >>> class TwoNormals(ToDistribution):
    ...     layout = (2, 2, 2)  # logits, locs and raw scales, two of each for each dimension
    ...     @classmethod
    ...     def params_size(cls, event_shape):
    ...         return 6 * super().params_size(event_shape)
    ...     def distribution(self, params):
    ...         parts = (self.to_event(part, 2) for part in tf.split(params, 3, axis=-1))
    ...         logits, loc, raw = parts  # [..., *event, 2]
    ...         normals = vt.distributions.Normal(loc, scale_from(raw, 1e-3))
    ...         which = tfd.Categorical(logits=logits)
    ...         return self.independent(vt.distributions.Mixture(which, normals))
    >>> TwoNormals(3)(tf.zeros([5, 18])).event_shape
    TensorShape([3])
    """

    def __init__(self, event_shape: int | tuple[int, ...], **kwargs: Any):
        refuse_arguments(type(self).__name__, kwargs, ("activity_regularizer", "autocast"))
        super().__init__(**{**kwargs, "dtype": full_precision(kwargs.get("dtype"))})
        self.event_shape = require.sizes(event_shape)

    @classmethod
    def params_size(cls, event_shape: int | tuple[int, ...]) -> int:
        """How wide the layer before must be: the number of parameters of one distribution."""
        return math.prod(require.sizes(event_shape))

    @property
    def input_size(self) -> int:
        """`params_size` of this instance."""
        return self.params_size(self.event_shape)

    @property
    def layout(self) -> tuple[int, ...]:
        """For each kind of parameter, how many numbers of it a dimension has.

        (1, 1) is: loc for all dimensions, then raw scale for all; (10,): ten logits for each.

        Raises:
            ValueError: if the parameters do not belong to dimensions, as the triangle of
                `NormalTriL` does not.
        """
        kinds, rest = divmod(self.input_size, math.prod(self.event_shape))
        if rest:
            raise ValueError(
                f"Expected a layer whose parameters belong to single dimensions. Received: "
                f"{type(self).__name__} with {self.input_size} parameters for event shape "
                f"{self.event_shape}"
            )
        return (1,) * kinds

    def distribution(self, params: tf.Tensor) -> tfp.distributions.Distribution:
        """The distribution with parameters `params`, shape [..., input_size]."""
        raise NotImplementedError("A subclass of ToDistribution defines `distribution(params)`.")

    def build(self, input_shape: Any) -> None:
        if input_shape[-1] != self.input_size:
            raise ValueError(
                f"{type(self).__name__} with event shape {self.event_shape} takes "
                f"{self.input_size} parameters. Expected an input of shape [..., "
                f"{self.input_size}]. Received: shape {list(input_shape)}"
            )
        super().build(input_shape)

    def call(self, params: tf.Tensor) -> tfp.distributions.Distribution:
        return self.distribution(params)

    def compute_mask(self, inputs: Any, previous_mask: Any) -> None:
        """A mask says which steps count; here it would be lost, and every step would count."""
        del inputs
        if any(mask is not None for mask in keras.tree.flatten(previous_mask)):
            raise ValueError(
                "A distribution layer gives one distribution for the whole event. Expected "
                "parameters without a mask: let a layer such as LSTM(return_sequences=False) "
                "use it up. Received: a mask"
            )

    def compute_output_spec(self, params: Any) -> keras.KerasTensor:
        shape = (*params.shape[:-1], *self.event_shape)
        return keras.KerasTensor(shape, dtype=self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "event_shape": self.event_shape}

    def to_event(self, params: tf.Tensor, *trailing: int) -> tf.Tensor:
        """One kind of parameters in the shape of the event: [..., P] -> [..., *event, *trailing].

        Args:
            params: shape [..., P], P the size of the event times that of `trailing`.
            *trailing: axes for several numbers of a dimension, such as the logits of classes.

        Example:

        >>> Bernoulli = vt.layers.Bernoulli((2, 3))
        >>> Bernoulli.to_event(tf.zeros([5, 24]), 4).shape
        TensorShape([5, 2, 3, 4])
        """
        event = (*self.event_shape, *trailing)
        shaped = tf.reshape(params, tf.concat([tf.shape(params)[:-1], event], axis=0))
        shaped.set_shape((*params.shape[:-1], *event))
        return shaped

    def independent(self, distribution: tfp.distributions.Distribution) -> Independent:
        """One event out of scalar distributions: batch [..., *event] to batch [...].

        Example:

        >>> scalars = vt.distributions.Normal(tf.zeros([5, 2, 3]), 1.0)
        >>> vt.layers.Normal((2, 3)).independent(scalars).event_shape
        TensorShape([2, 3])
        """
        return Independent(distribution, reinterpreted_batch_ndims=len(self.event_shape))
