"""Long work in parts, so that memory does not grow with the number of samples or nodes.

`over` is the one loop over samples and examples; whoever draws many samples of z for each example
goes through it:

    for rows, size, log_w in chunks.over(log_weights, model, x, num_samples=K, seed=seed):
        sums.add(rows, log_w)
"""

import collections
import math

import numpy as np
import tensorflow as tf
from tqdm.auto import tqdm

from vae_tf._core.models import as_condition, given, rows_of
from vae_tf._core.random import split

__all__ = ["BUDGET", "Repeated", "examples", "over", "over_z", "sizes", "width"]

# Values that one tensor may hold at a time: 8 million float32 values are 32 MB.
BUDGET = 8_000_000
_EAGERLY = 2  # calls with the same shapes, before a graph is worth its tracing


def sizes(total, values_each):
    """`total` items in parts that each fit the budget: [size, ...], whose sum is `total`."""
    part = max(1, BUDGET // max(1, values_each))
    return [min(part, total - start) for start in range(0, total, part)]


def width(model, x):
    """The most values that one tensor holds for one z of one example.

    Hidden layers may be far wider than x. A model says so by an attribute `width`: the values of
    its widest layer. Of a layer wider than x, input and output are held at once. The density of a
    mixture holds z once for each component.

    Args:
        model: a `LatentModel`.
        x: data, shape [B, *event].
    """
    prior = model.prior
    components = getattr(prior, "components_distribution", prior).batch_shape.num_elements() or 1
    of_z = components * math.prod(prior.event_shape)
    of_x, of_layer = math.prod(x.shape[1:]), getattr(model, "width", None) or 1
    return max(1, of_x, of_z, 2 * of_layer if of_layer > of_x else 1)


def examples(count, values_each):
    """The numbers of `count` examples, in nearly equal parts that each fit the budget."""
    return np.array_split(np.arange(count), max(1, -(-count * values_each // BUDGET)))


def over(function, model, x, *arrays, num_samples, condition=None, seed=None, progress=False):
    """The loop over samples and examples: what each part of both gives, one after the other.

    The prior is asked for once. A part has a seed of its own, so that no two examples share their
    noise: the error of a mean over examples relies on it.

    Args:
        function: `function(model, x, seed, *arrays, size=...)` draws `size` samples of z for each
            of the examples it is given, by `seed`, and returns tensors. `model` is a model of x
            and z alone, whose condition is filled in. It becomes a graph where that is worth it.
        model: a `LatentModel`.
        x: data, NumPy, shape [B, *event].
        *arrays: whatever else has a row for each example, NumPy or tensors.
        num_samples: S, for each example in all.
        condition: of the model, with a row for each example.
        seed: of all parts.
        progress: show a progress bar.

    Yields:
        (rows, size, values): the numbers of the examples, [b], how many samples of each, and what
        `function` returned. For each example the sizes sum to S.
    """
    condition = as_condition(condition, len(x)) or ()
    model = given(model, prior=model.prior)
    program, each = _program(function, model, len(condition)), width(model, x)
    groups = examples(len(x), each)
    group_seeds = split(seed, len(groups)) if len(groups) > 1 else [seed]
    with tqdm(total=len(x) * num_samples, disable=not progress, unit_scale=True) as bar:
        for rows, group_seed in zip(groups, group_seeds, strict=True):
            others = rows_of((*arrays, *condition), rows)
            counts = sizes(num_samples, len(rows) * each)
            for size, one in zip(counts, split(group_seed, len(counts)), strict=True):
                yield rows, size, program(x[rows], one, *others, size=size)
                bar.update(size * len(rows))


def over_z(function, model, x, z, *, condition=None):
    """The same loop where the z are given: shape [S, B, L].

    Args:
        function: `function(model, x, z)`.
        model, x, condition: as for `over`.
        z: latents, NumPy or a tensor.

    Yields:
        (rows, samples, values): the numbers of the examples, [b], those of the samples, a slice,
        and what `function` returned.
    """
    condition = as_condition(condition, len(x)) or ()
    model = given(model, prior=model.prior)
    program, each = _program(function, model, len(condition)), width(model, x)
    for rows in examples(len(x), each):
        others = rows_of(condition, rows)
        start = 0
        for size in sizes(len(z), len(rows) * each):
            samples, start = slice(start, start + size), start + size
            part = z[samples] if len(rows) == len(x) else tf.gather(z[samples], rows, axis=1)
            yield rows, samples, program(x[rows], part, *others)


def _program(function, model, parts):
    """`function(model, *tensors)` as one of tensors only; the last `parts` are the condition."""
    prior = model.prior

    def program(*tensors, **others):
        own, condition = tensors[: len(tensors) - parts], tensors[len(tensors) - parts :]
        return function(given(model, condition or None, prior=prior), *own, **others)

    return Repeated(program)


class Repeated:
    """A function of tensors, for work in many parts of the same shapes: it becomes a graph.

    A function that TensorFlow cannot trace (a model of NumPy operations, say) stays as it is. What
    is random in it must come from a seed among its tensors. What a graph can only mark, by NaN
    (`support.check` does), the function itself refuses: a result with NaN is asked for again
    without a graph.

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
        values = self._graphs[key](*tensors)
        return self._function(*tensors, **others) if _has_nan(values) else values

    def _traced(self, tensors, others):
        def function(*tensors):
            return self._function(*tensors, **others)

        try:
            return tf.function(function, autograph=False).get_concrete_function(*tensors)
        except Exception:  # whatever it is, it does not arise, or arises again, without a graph
            return function


def _has_nan(values):
    floats = [value for value in tf.nest.flatten(values) if value.dtype.is_floating]
    return any(bool(tf.reduce_any(tf.math.is_nan(value))) for value in floats)
