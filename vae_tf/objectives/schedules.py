"""Weights that change while a model trains: a number for each training step.

A schedule is what Keras calls a learning-rate schedule: `schedule(step)` gives a number, and
`get_config` lets it be saved. So those of `keras.optimizers.schedules` serve here as well.
"""

import math
import numbers
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from vae_tf._core import require

__all__ = ["Cyclical", "LinearWarmup", "number_or_schedule", "value_at"]


@keras.saving.register_keras_serializable("vae_tf")
class LinearWarmup(keras.optimizers.schedules.LearningRateSchedule):
    """From `start` to `stop` along a straight line, then constant (Bowman et al. 2016).

        value(step) = start + (stop - start) * min(step / steps, 1)

    Args:
        steps: how many training steps the line takes.
        stop: the value at the end.
        start: the value at step 0.

    Example:

    >>> warm_up = vt.objectives.BetaELBO(vt.schedules.LinearWarmup(steps=400))
    >>> float(LinearWarmup(steps=400)(100))
    0.25
    """

    def __init__(self, steps: int, stop: float = 1.0, start: float = 0.0) -> None:
        self.steps = require.count(steps, "steps")
        self.start, self.stop = require.finite(start, "start"), require.finite(stop, "stop")

    def __call__(self, step: Any) -> tf.Tensor:
        share = tf.minimum(tf.cast(step, tf.float32) / self.steps, 1.0)
        return self.start + (self.stop - self.start) * share

    def get_config(self) -> dict:
        return {"steps": self.steps, "stop": self.stop, "start": self.start}


@keras.saving.register_keras_serializable("vae_tf")
class Cyclical(keras.optimizers.schedules.LearningRateSchedule):
    """A warm-up that starts again every `period` steps (Fu et al. 2019).

    In each period the value climbs from `start` to `stop` during the first `ramp` of it, and
    stays there for the rest. After `cycles` periods it stays for good.

    Args:
        period: the steps of one cycle.
        ramp: the share of a cycle that climbs, between 0 and 1 (R in the paper, there 0.5).
        stop: the highest value.
        start: the lowest value.
        cycles: how many cycles (M in the paper, there 4).

    Example:

    >>> float(Cyclical(period=100)(125))  # a quarter into the second cycle
    0.5
    """

    def __init__(
        self,
        period: int,
        ramp: float = 0.5,
        stop: float = 1.0,
        start: float = 0.0,
        cycles: int = 4,
    ) -> None:
        self.period = require.count(period, "period")
        self.ramp = require.share(ramp, "ramp")
        self.start, self.stop = require.finite(start, "start"), require.finite(stop, "stop")
        self.cycles = require.count(cycles, "cycles")

    def __call__(self, step: Any) -> tf.Tensor:
        step = tf.cast(step, tf.int64)
        within = tf.cast(step % self.period, tf.float32) / self.period
        share = tf.minimum(within / self.ramp, 1.0) if self.ramp > 0 else 1.0
        share = tf.where(step < self.cycles * self.period, share, 1.0)
        return self.start + (self.stop - self.start) * share

    def get_config(self) -> dict:
        names = ("period", "ramp", "stop", "start", "cycles")
        return {name: getattr(self, name) for name in names}


class Live(float):
    """The number that a variable holds now; `value_at` reads the variable itself."""

    variable: Any = None

    @classmethod
    def of(cls, variable: Any) -> "Live":
        number = cls(variable.numpy() if tf.executing_eagerly() else _in_init_scope(variable))
        number.variable = variable
        return number


def _in_init_scope(variable):
    with tf.init_scope():  # while a step is being traced
        return variable.numpy()


def is_variable(value: Any) -> bool:
    """Whether a number lives in a variable, of TensorFlow or of Keras."""
    return isinstance(value, (tf.Variable, keras.Variable))


def _is_registered(function):
    return function in keras.saving.get_custom_objects().values()


def number_or_schedule(value: Any, name: str, signed: bool = False) -> Any:
    """A weight as it is kept: a float, a variable, or a schedule that can be saved with the model.

    Args:
        value: a number; a scalar variable that holds one; a callable of the step with `get_config`;
            a function registered by `keras.saving.register_keras_serializable`; or the
            configuration of one.
        name: what the error calls it.
        signed: whether the number may be negative.

    Raises:
        ValueError: if it is none of these.

    Example:

    >>> number_or_schedule(4, "beta")
    4.0
    """
    if isinstance(value, dict):  # from the configuration of a saved model
        value = keras.saving.deserialize_keras_object(value)
    if callable(value):
        if hasattr(value, "get_config") or _is_registered(value):
            return value
        raise ValueError(
            f"A schedule is saved with its model. Expected `{name}` to have a `get_config`, such "
            "as vt.schedules.LinearWarmup(steps), or to be a function registered by "
            f"keras.saving.register_keras_serializable. Received: {name}={value!r}"
        )
    number = value.numpy().item() if is_variable(value) and value.shape == () else value
    wanted = "finite number" if signed else "number that is not negative"
    is_number = isinstance(number, (numbers.Real, np.number)) and not isinstance(number, bool)
    if not is_number or not math.isfinite(number) or (number < 0 and not signed):
        raise ValueError(
            f"Expected `{name}` to be a {wanted}, or a schedule such as "
            f"vt.schedules.LinearWarmup(steps). Received: {name}={value!r}"
        )
    return value if is_variable(value) else float(value)


def value_at(weight: Any, step: Any, dtype: Any) -> tf.Tensor:
    """The weight at this step, a scalar tensor.

    Example:

    >>> float(value_at(LinearWarmup(steps=10), step=5, dtype="float32"))
    0.5
    """
    weight = getattr(weight, "variable", weight)
    return tf.cast(weight(step) if callable(weight) else weight, dtype)
