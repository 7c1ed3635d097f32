"""What every objective is: a number for each example, from one pass of the model, to be maximised.

It is a Keras layer for one reason: what it counts or learns while it trains (the step of a
schedule, a discriminator) is then tracked by the model, and saved and restored with it.
"""

import keras
import numpy as np

from vae_tf._core import require
from vae_tf.objectives import schedules

__all__ = ["Objective"]


@keras.saving.register_keras_serializable("vae_tf")
class Objective(keras.Layer):
    """Base of the objectives: `objective(forward, terms)` gives a [B] tensor to be maximised.

    An objective belongs to one model: its step, and what it learns, are those of that model's
    training. A subclass defines `__call__`. Weights that may be schedules it keeps by
    `vt.schedules.number_or_schedule`, lists their names in `scheduled` and reads them by
    `self.now(weight)`, their value at the present training step.

    Args:
        num_samples: S, how many samples of z each example gets in a training step.
        **kwargs: of `keras.Layer`.
    """

    scheduled = ()  # the names of the arguments that may be numbers or schedules
    seed_generator = None  # of an objective that draws random numbers
    gate = False  # whether it wants passes with a gate, see `vt.elbo.gated`

    def __init__(self, num_samples=1, **kwargs):
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

    def __call__(self, forward, terms=None):
        """The objective.

        Args:
            forward: one pass, `vt.elbo.Forward`.
            terms: its `ElboTerms`, if they are at hand already.

        Returns:
            Shape [B], nats.
        """
        raise NotImplementedError("A subclass of Objective defines `__call__(forward, terms)`.")

    def now(self, weight, dtype="float32"):
        """The value of a number or a schedule at the present training step."""
        return schedules.value_at(weight, self.step.value, dtype)

    def attach(self, latent_size):
        """Called by the model when it compiles; an objective with layers of its own builds them."""

    def advance(self, forward):
        """What the objective itself does in a training step, after its value was taken.

        It counts the step; some learn from the pass. The weights of the model have not moved yet.
        """
        del forward
        self.step.assign_add(1)

    def get_config(self):
        serialize = keras.saving.serialize_keras_object
        weights = {name: serialize(getattr(self, name)) for name in self.scheduled}
        return {**super().get_config(), "num_samples": self.num_samples, **weights}

    def save_own_variables(self, store):
        super().save_own_variables(store)
        if self.seed_generator is not None:  # Keras leaves it out
            store["seed_generator"] = np.array(self.seed_generator.state)

    def load_own_variables(self, store):
        store = {key: store[key] for key in store.keys()}
        seed = store.pop("seed_generator", None)
        if seed is not None:
            self.seed_generator.state.assign(seed)
        super().load_own_variables(store)
