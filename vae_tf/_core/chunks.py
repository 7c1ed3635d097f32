"""Long work in parts, so that memory does not grow with the number of samples or nodes."""

import collections

import tensorflow as tf

__all__ = ["BUDGET", "Repeated", "sizes"]

# Values that one tensor may hold at a time: 8 million float32 values are 32 MB.
BUDGET = 8_000_000
_EAGERLY = 2  # calls with the same shapes, before a graph is worth its tracing


def sizes(total, values_each):
    """`total` items in parts that each fit the budget: [size, ...], whose sum is `total`."""
    part = max(1, BUDGET // max(1, values_each))
    return [min(part, total - start) for start in range(0, total, part)]


class Repeated:
    """A function of tensors, for work in many parts of the same shapes: it becomes a graph.

    A function that TensorFlow cannot trace (a model of NumPy operations, say) stays as it is. What
    is random in it must come from a seed among its tensors.

    Args:
        function: takes tensors and, by keyword, what is not a tensor; returns tensors.
    """

    def __init__(self, function):
        self._function = function
        self._calls = collections.Counter()
        self._graphs = {}

    def __call__(self, *tensors, **others):
        tensors = [tf.convert_to_tensor(tensor) for tensor in tensors]
        key = (*((tuple(one.shape), one.dtype) for one in tensors), *others.items())
        self._calls[key] += 1
        if self._calls[key] <= _EAGERLY:
            return self._function(*tensors, **others)
        if key not in self._graphs:
            self._graphs[key] = self._traced(tensors, others)
        return self._graphs[key](*tensors)

    def _traced(self, tensors, others):
        def function(*tensors):
            return self._function(*tensors, **others)

        try:
            return tf.function(function, autograph=False).get_concrete_function(*tensors)
        except Exception:  # whatever it is, it does not arise, or arises again, without a graph
            return function
