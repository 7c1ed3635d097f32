"""What every objective is: a number for each example, from one pass of the model, to be maximised.

It is a Keras layer for one reason: what it counts or learns while it trains (the step of a
schedule, a discriminator) is then tracked by the model, and saved and restored with it.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf

from vae_tf._core import require
from vae_tf._core.random import SavesSeed
from vae_tf.elbo import ElboTerms, Forward
from vae_tf.objectives import schedules

__all__ = ["Objective"]


class _Weight:
    """An attribute that is a number or a schedule; a number can be changed while a model trains.

    A compiled step holds whatever it met when it was traced. So a number lives in a variable,
    which the step reads each time, and reading the attribute gives a `schedules.Live` float.
    """

    def __set_name__(self, owner, name):
        self.name = name

    def __get__(self, objective, owner=None):
        if objective is None:
            return self
        for weights in ("_lent", "_weights"):
            if self.name in objective.__dict__.get(weights, ()):
                kept = objective.__dict__[weights][self.name]
                break
        else:
            raise AttributeError(self.name)
        return schedules.Live.of(kept) if schedules.is_variable(kept) else kept

    def __set__(self, objective, value):
        signed = self.name in objective.signed
        value = schedules.number_or_schedule(value, self.name, signed)
        weights = objective.__dict__.setdefault("_weights", {})
        kept = weights.get(self.name)
        if isinstance(value, float) and schedules.is_variable(kept):
            kept.assign(value)
            return
        if isinstance(value, float):
            value = tf.Variable(value, trainable=False, dtype="float64", name=self.name)
        weights[self.name] = value
        objective.changed()


@keras.saving.register_keras_serializable("vae_tf")
class Objective(SavesSeed, keras.Layer):
    """Base of the objectives: `objective(forward, terms)` gives a [B] tensor to be maximised.

    An objective belongs to one model: its step, and what it learns, are those of that model's
    training. A subclass defines `__call__`. It lists the names of its weights in `scheduled`: each
    may be a number or a schedule, `self.now(self.beta)` is its value at the present training step,
    and `vae.objective.beta = 2.0` changes it at any time, in the next step.

    Args:
        num_samples: S, how many samples of z each example gets in a training step.
        **kwargs: of `keras.Layer`.

    Example:

    >>> class Doubled(vt.objectives.Objective):
    ...     def __call__(self, forward, terms=None):
    ...         return 2 * (terms or vt.elbo.reconstruction_kl(forward)).elbo
    >>> Doubled(num_samples=3).num_samples
    3
    """

    scheduled: tuple[str, ...] = ()  # the names of the arguments that may be numbers or schedules
    signed: tuple[str, ...] = ()  # those among them that may be negative
    seed_generator: Any = None  # of an objective that draws random numbers
    gate: bool = False  # whether it wants passes with a gate, see `vt.elbo.gated`

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        for name in cls.scheduled:
            if not isinstance(vars(cls).get(name), _Weight):
                weight = _Weight()
                weight.__set_name__(cls, name)
                setattr(cls, name, weight)

    def __init__(self, num_samples: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_samples = require.count(num_samples, "num_samples")
        self.step = self.add_weight(
            shape=(),
            initializer="zeros",
            dtype="int64",
            trainable=False,
            aggregation="only_first_replica",
            name="step",
        )
        self.built = True

    def __setattr__(self, name, value):
        super().__setattr__(name, value)
        if not name.startswith("_") and name not in self.scheduled:
            self.changed()

    def changed(self) -> None:
        """Notes that what a compiled step holds of this objective is no longer true."""
        self.__dict__["_version"] = self.version + 1

    @property
    def version(self) -> int:
        """It grows with every change that a compiled step would not see."""
        return self.__dict__.get("_version", 0)

    def __call__(self, forward: Forward, terms: ElboTerms | None = None) -> tf.Tensor:
        """The objective.

        Args:
            forward: one pass, `vt.elbo.Forward`.
            terms: its `ElboTerms`, if they are at hand already.

        Returns:
            Shape [B], nats.
        """
        raise NotImplementedError("A subclass of Objective defines `__call__(forward, terms)`.")

    @contextlib.contextmanager
    def lent(self, values: dict[str, tf.Tensor]) -> Iterator[None]:
        """Inside, the weights have these values, scalar tensors: those of another model."""
        self.__dict__["_lent"] = values
        try:
            yield
        finally:
            del self.__dict__["_lent"]

    def now(self, weight: Any, dtype: Any = "float32") -> tf.Tensor:
        """The value of a number or a schedule at the present training step."""
        return schedules.value_at(weight, self.step.value, dtype)

    def attach(self, latent_size: int) -> None:
        """Called by the model when it compiles; an objective with layers of its own builds them."""

    def advance(self, forward: Forward) -> None:
        """What the objective itself does in a training step, after its value was taken.

        It counts the step; some learn from the pass. The weights of the model have not moved yet.
        """
        del forward
        self.step.assign_add(1)

    def get_config(self) -> dict:
        serialize = keras.saving.serialize_keras_object
        weights = {name: getattr(self, name) for name in self.scheduled}
        weights = {
            k: float(w) if isinstance(w, float) else serialize(w) for k, w in weights.items()
        }
        return {**super().get_config(), "num_samples": self.num_samples, **weights}
