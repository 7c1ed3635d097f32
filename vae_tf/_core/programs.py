"""Graphs: for work in many parts of the same shapes, and kept between calls by models that can.

A graph holds whatever was no tensor when it was made. Of a `vt.VAE` that is its networks and its
prior, whose numbers are variables: it keeps its graphs as long as these are the same objects, and
until it is compiled again. Of any other model nothing is known, and a graph lives for one call.
"""

import collections
from collections.abc import Callable, Hashable
from typing import Any

import tensorflow as tf

from vae_tf._core.models import given, taken_apart

__all__ = ["Kept", "Repeated", "kept", "of_tensors", "suits_xla"]

_EAGERLY = 2  # parts of the same shapes in a call, before a graph is worth its tracing
_MOST = 16  # programs that a model keeps, and graphs of a program: the oldest give way


class Kept:
    """Programs by their keys, as long as the parts that they are made of stay the same objects."""

    def __init__(self) -> None:
        self._parts: tuple = ()
        self._made: dict = {}

    def get(self, parts: tuple, key: Hashable, make: Callable) -> Any:
        if [id(part) for part in parts] != [id(part) for part in self._parts]:
            self._parts, self._made = parts, {}
        return _put(self._made, key, make)

    def clear(self) -> None:
        self._made = {}


def _put(made, key, make):
    """`made[key]`, made where it is not there; of too many the oldest is given up."""
    if key not in made:
        while len(made) >= _MOST:
            made.pop(next(iter(made)))
        made[key] = make()
    return made[key]


def suits_xla(model: Any) -> bool:
    """Whether compiling a model's networks by XLA can pay: on a CPU, if they do not convolve.

    There XLA's own convolutions take some five times as long as TensorFlow's. A kernel with more
    than the two axes of a matrix is taken for one of a convolution.
    """
    if tf.config.list_physical_devices("GPU"):
        return True
    networks = (getattr(taken_apart(model)[0], name, None) for name in ("encoder", "decoder"))
    kernels = (weight for network in networks for weight in getattr(network, "weights", ()))
    return all(len(kernel.shape) <= 2 for kernel in kernels)


def kept(model: Any, key: Hashable, make: Callable) -> Any:
    """What `make()` gave for this key, where the model keeps it; else what it gives now."""
    keep = getattr(taken_apart(model)[0], "kept", None)
    return make() if keep is None else keep(key, make)


def of_tensors(function: Callable, model: Any, parts: int = 0) -> "Repeated":
    """`function(model, *tensors)` as one of the tensors only, which the model keeps if it can.

    Args:
        function: takes a model of x and z alone, whose condition is filled in.
        model: a `LatentModel`, maybe with a prior or a condition that is filled in already.
        parts: how many of the tensors, the last ones, are the condition.
    """
    bare, condition, prior = taken_apart(model)
    parts += len(condition)

    def on(prior):
        def program(*tensors, **others):
            own, condition = tensors[: len(tensors) - parts], tensors[len(tensors) - parts :]
            return function(given(bare, condition or None, prior=prior), *own, **others)

        return program

    # What is kept asks for the prior itself: its numbers may have changed by then.
    prior_of_graphs = None if hasattr(bare, "kept") else prior
    graphs = kept(model, ("graphs", function, parts), dict)
    return Repeated(on(prior), on(prior_of_graphs), graphs, condition)


class Repeated:
    """A function of tensors, for work in many parts of the same shapes: it becomes a graph.

    The first parts of a call are run without one, whether there is one or not, so that the same
    call gives the same digits each time. A function that TensorFlow cannot trace (a model of NumPy
    operations, say) stays as it is. What is random in it must come from a seed among its tensors.
    What a graph can only mark, by NaN (`support.check` does), the function itself refuses: a result
    with NaN is asked for again without a graph.

    Args:
        function: takes tensors and, by keyword, what is not a tensor; returns tensors.
        to_trace: what becomes a graph, if not the same function.
        graphs: where graphs are kept; by default they are its own.
        last: tensors that follow the others in each call.
    """

    def __init__(self, function, to_trace=None, graphs=None, last=()):
        self._function, self._to_trace = function, to_trace or function
        self._calls = collections.Counter()
        self._graphs = {} if graphs is None else graphs
        self._last = last

    def __call__(self, *tensors, **others):
        tensors = [tf.convert_to_tensor(tensor) for tensor in (*tensors, *self._last)]
        key = (*((tuple(one.shape), one.dtype) for one in tensors), *others.items())
        self._calls[key] += 1
        if self._calls[key] <= _EAGERLY:
            return self._function(*tensors, **others)
        graph = _put(self._graphs, key, lambda: self._traced(tensors, others))
        values = graph(*tensors)
        return self._function(*tensors, **others) if _has_nan(values) else values

    def _traced(self, tensors, others):
        def function(*tensors):
            return self._to_trace(*tensors, **others)

        try:
            return tf.function(function, autograph=False).get_concrete_function(*tensors)
        except Exception:  # whatever it is, it does not arise, or arises again, without a graph
            return function


def _has_nan(values):
    floats = [value for value in tf.nest.flatten(values) if value.dtype.is_floating]
    return any(bool(tf.reduce_any(tf.math.is_nan(value))) for value in floats)
