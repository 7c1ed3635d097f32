"""Weights that change while a model trains: a number for each training step.

A schedule is what Keras calls a learning-rate schedule: `schedule(step)` gives a number, and
`get_config` lets it be saved. So those of `keras.optimizers.schedules` serve here as well.
"""

import math
import numbers

import keras
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

    ```python
    warm_up = vt.objectives.BetaELBO(vt.schedules.LinearWarmup(steps=400))
    ```
    """

    def __init__(self, steps, stop=1.0, start=0.0):
        self.steps = require.count(steps, "steps")
        self.start, self.stop = require.finite(start, "start"), require.finite(stop, "stop")

    def __call__(self, step):
        share = tf.minimum(tf.cast(step, tf.float32) / self.steps, 1.0)
        return self.start + (self.stop - self.start) * share

    def get_config(self):
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
    """

    def __init__(self, period, ramp=0.5, stop=1.0, start=0.0, cycles=4):
        self.period = require.count(period, "period")
        self.ramp = require.share(ramp, "ramp")
        self.start, self.stop = require.finite(start, "start"), require.finite(stop, "stop")
        self.cycles = require.count(cycles, "cycles")

    def __call__(self, step):
        step = tf.cast(step, tf.int64)
        within = tf.cast(step % self.period, tf.float32) / self.period
        share = tf.minimum(within / self.ramp, 1.0) if self.ramp > 0 else 1.0
        share = tf.where(step < self.cycles * self.period, share, 1.0)
        return self.start + (self.stop - self.start) * share

    def get_config(self):
        names = ("period", "ramp", "stop", "start", "cycles")
        return {name: getattr(self, name) for name in names}


def _is_registered(function):
    return function in keras.saving.get_custom_objects().values()


def number_or_schedule(value, name):
    """A weight as it is kept: a float, or a schedule that can be saved with the model.

    Args:
        value: a number that is not negative; a callable of the step with `get_config`; a function
            registered by `keras.saving.register_keras_serializable`; or the configuration of one.
        name: what the error calls it.

    Raises:
        ValueError: if it is none of these.
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
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not is_number or not (math.isfinite(value) and value >= 0):
        raise ValueError(
            f"Expected `{name}` to be a number that is not negative, or a schedule such as "
            f"vt.schedules.LinearWarmup(steps). Received: {name}={value!r}"
        )
    return float(value)


def value_at(weight, step, dtype):
    """The weight at this step, a scalar tensor."""
    return tf.cast(weight(step) if callable(weight) else weight, dtype)
