"""What `fit`, `evaluate` and `predict` are given, in the form that they use, or a refusal.

Whatever holds the data, nothing unchecked reaches the weights: arrays are looked at before the
first step, batches (of a `tf.data.Dataset`, a `PyDataset`, a generator) as they are read.
"""

import inspect
import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from vae_tf._core import chunks, require
from vae_tf.data import Batches
from vae_tf.layers import support

__all__ = ["checked", "named", "on_batch", "plain", "refuse_targets"]

_DISTRIBUTED = (tf.distribute.DistributedDataset, tf.data.Iterator)


def named(function: Any, args: tuple, kwargs: dict) -> dict:
    """Positional arguments of a method of Keras by their names."""
    names = list(inspect.signature(function).parameters)[1:]
    if len(args) > len(names):
        raise TypeError(f"Expected at most {len(names)} arguments. Received: {len(args)}")
    return dict(zip(names, args, strict=False)) | kwargs


def refuse_targets(y: Any = None, sample_weight: Any = None, class_weight: Any = None) -> None:
    """A VAE has no target, and each example counts alike: what is ignored would be believed."""
    received = {"y": y, "sample_weight": sample_weight, "class_weight": class_weight}
    received = [name for name, value in received.items() if value is not None]
    if received:
        raise ValueError(
            "A VAE explains x by itself, and every example counts alike. Expected fit(x) or "
            "evaluate(x), or ((x, condition)) for a conditional one. Received: a target y or "
            f"sample weights ({', '.join(received)})"
        )


def plain(model: Any, data: Any, name: str = "x") -> tuple:
    """(x, *conditions) from an array, or from a tuple or a list of arrays."""
    wanted = 1 + len(model.conditions)
    parts = tuple(keras.tree.flatten(data)) if isinstance(data, (tuple, list)) else (data,)
    if len(parts) != wanted or any(np.ndim(part) == 0 for part in parts if _is_number(part)):
        if wanted > 1 or (isinstance(data, tuple) and len(parts) > 1 and np.ndim(parts[1]) > 0):
            raise ValueError(
                f"Expected `{name}` with {wanted - 1} conditions: {model.describe_data()}. "
                f"Received: {len(parts)} parts (a VAE has no target y)"
            )
        parts = (data,)  # a list of numbers
    names = (name, *(f"condition of {name}" for _ in model.conditions))
    parts = tuple(_array(part, label) for part, label in zip(parts, names, strict=True))
    if len({len(part) for part in parts}) > 1:
        raise ValueError(
            f"Expected `{name}` and its conditions with equally many rows. Received: "
            f"{[len(part) for part in parts]}"
        )
    return parts


def _is_number(part):
    return isinstance(part, (int, float, bool, np.generic))


def _array(part, name):
    if isinstance(part, tf.Tensor) and part.shape.rank:
        return part
    return require.examples(part, name)


def checked(model: Any, data: Any, name: str) -> Any:
    """Data in the support of the likelihood, in a form that Keras takes.

    Returns:
        A tuple (x, *conditions) of arrays, or a source of checked batches.
    """
    if data is None:
        raise ValueError(f"Expected `{name}`: {model.describe_data()}. Received: None")
    if isinstance(data, tf.data.Dataset):
        return data.map(lambda *batch: _check_in_graph(model, batch, name))
    if type(data) is Batches:  # pixels drawn anew are zeros and ones in any batch
        first, *_ = keras.tree.flatten(data[0])
        _check_rows(model, first if data.binarize else data.x, name)
        return data
    if isinstance(data, keras.utils.PyDataset):
        return _Checked(model, data, name)
    if isinstance(data, _DISTRIBUTED):
        return data
    if hasattr(data, "__next__"):
        return (_check_batch(model, batch, name) for batch in data)
    parts = plain(model, data, name)
    _check_rows(model, parts[0], name)
    return parts


def on_batch(model: Any, batch: Any, name: str) -> Any:
    """A batch as `train_step` takes it, checked."""
    return packed(_checked_parts(model, plain(model, batch, name), name))


def packed(parts: tuple) -> Any:
    """(x, *conditions) as the x of Keras: one array stays an array."""
    return parts[0] if len(parts) == 1 else parts


def _check_rows(model, x, name):
    if len(x) == 0:
        raise ValueError(f"Expected at least one example. Received: `{name}` with none")
    p_x = model.any_likelihood()
    rows = max(1, chunks.BUDGET // max(1, math.prod(x.shape[1:])))
    for start in range(0, len(x), rows):
        support.check(p_x, model.as_data(x[start : start + rows], name), name)


def _checked_parts(model, parts, name):
    x = support.check(model.any_likelihood(), model.as_data(parts[0], name), name)
    return (x, *parts[1:])


def _check_batch(model, batch, name):
    """A batch of a generator or a `PyDataset`, as Keras unpacks it: (x,) or ((x, c),)."""
    x, y, weight = keras.utils.unpack_x_y_sample_weight(batch)
    if model.conditions and y is not None and weight is None:
        x, y = (x, y), None  # a pair (x, condition)
    refuse_targets(y, weight)
    return (packed(_checked_parts(model, plain(model, x, name), name)),)


class _Checked(keras.utils.PyDataset):
    """A `PyDataset` whose batches are checked as they are read."""

    def __init__(self, model, data, name):
        # In a process of its own a batch would need a copy of the model there.
        options = {"workers": data.workers, "max_queue_size": data.max_queue_size}
        super().__init__(use_multiprocessing=False, **options)
        self._model, self._data, self._name = model, data, name

    @property
    def num_batches(self):
        return self._data.num_batches

    def __getitem__(self, index):
        return _check_batch(self._model, self._data[index], self._name)

    def on_epoch_begin(self):
        self._data.on_epoch_begin()

    def on_epoch_end(self):
        self._data.on_epoch_end()


def _check_in_graph(model, batch, name):
    """For `Dataset.map`: in a graph the check marks what it refuses by NaN."""
    x, *others = keras.tree.flatten(batch)
    if len(others) != len(model.conditions):
        raise ValueError(
            f"Expected batches of {model.describe_data()}. Received: {1 + len(others)} parts "
            "(a VAE has no target y)"
        )
    if x.shape.rank is None:  # of a generator without a signature
        x = tf.ensure_shape(x, [None, *model.encoder.inputs[0].shape[1:]])
    p_x = model.any_likelihood()
    refused = tf.math.is_nan(support.check(p_x, x, name))
    message = f"Expected `{name}` with {support.describe(p_x)}. Received: other values"
    with tf.control_dependencies([tf.debugging.Assert(~tf.reduce_any(refused), [message])]):
        x = tf.identity(x)
    return (packed((x, *others)),)
