"""What Keras keeps to itself and `fit` needs all the same: each name here, and nowhere else.

Where a name is gone, the function says so by what it returns, and `fit` goes Keras' own way: more
slowly, with the same numbers.
"""

from typing import Any

import keras

__all__ = ["calls_in_turns", "decays", "forget", "is_validation", "needs_no_batch"]


def calls_in_turns(epoch_iterator: Any) -> Any:
    """The `Resident` whose tickets Keras' loop runs through, now told to call once a turn; or None.

    The model's own `steps_per_execution` is left alone: other functions of Keras are made of it.
    """
    data = getattr(getattr(epoch_iterator, "data_adapter", None), "_dataset", None)
    resident = getattr(data, "resident", None)
    if resident is None or not hasattr(epoch_iterator, "steps_per_execution"):
        return None
    epoch_iterator.steps_per_execution = resident.wanted_steps
    return resident


def decays(optimizer: keras.Optimizer, variable: keras.Variable) -> bool:
    """Whether the optimizer's weight decay shrinks this variable (`exclude_from_weight_decay`)."""
    if not hasattr(optimizer, "_use_weight_decay"):
        raise NotImplementedError(
            "This version of Keras does not say which weights are excluded from weight decay. "
            "Expected an optimizer without `weight_decay` in a sweep. Received: one that has it"
        )
    return bool(optimizer._use_weight_decay(variable))


def is_validation(arguments: dict) -> bool:
    """Whether `evaluate` was called by `fit`, with data that were checked before."""
    return "_use_cached_eval_dataset" in arguments


def needs_no_batch(model: keras.Model, data_batch: Any) -> None:
    """Lets Keras see the shapes of a batch without taking one from the data."""
    build = getattr(keras.Model, "_maybe_symbolic_build", None)
    if build is not None:
        build(model, data_batch=data_batch)


def forget(model: keras.Model, layer: keras.Layer) -> None:
    """Takes a layer that was replaced out of the model's layers and variables."""
    untrack = getattr(getattr(model, "_tracker", None), "untrack", None)
    if untrack is not None:
        untrack(layer)
