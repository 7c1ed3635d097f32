"""Long work in parts, so that memory does not grow with the number of samples or nodes.

`over` is the one loop over samples and examples; whoever draws many samples of z for each example
goes through it:

    for rows, size, log_w in chunks.over(log_weights, model, x, num_samples=K, seed=seed):
        sums.add(rows, log_w)
"""

import math

import numpy as np
import tensorflow as tf
from tqdm.auto import tqdm

from vae_tf._core.models import as_condition, given, rows_of
from vae_tf._core.programs import of_tensors
from vae_tf._core.random import split

__all__ = ["BUDGET", "examples", "over", "over_nodes", "over_z", "sizes", "width"]

# Values that one tensor may hold at a time: 8 million float32 values are 32 MB.
BUDGET = 8_000_000


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
    parts = min(count, -(-count * values_each // BUDGET))
    return np.array_split(np.arange(count), max(1, parts))


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
    program, each = of_tensors(function, model, len(condition)), width(model, x)
    # Each part runs the encoder, too: at most some hundred times for an example.
    groups = examples(len(x), each * max(1, num_samples // 100))
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
    program, each = of_tensors(function, model, len(condition)), width(model, x)
    for rows in examples(len(x), each):
        others = rows_of(condition, rows)
        start = 0
        for size in sizes(len(z), len(rows) * each):
            samples, start = slice(start, start + size), start + size
            part = z[samples] if len(rows) == len(x) else tf.gather(z[samples], rows, axis=1)
            yield rows, samples, program(x[rows], part, *others)


def over_nodes(function, model, x, z):
    """The same loop where each z is for all of x: shape [N, L], the nodes of a grid, say.

    Args:
        function: `function(model, x, z)`, whose tensors have a row for each z.
        model: a `LatentModel` of x and z alone.
        x: data, NumPy, shape [B, *event].
        z: latents, NumPy, of the dtype of the model.

    Returns:
        What `function` returned, NumPy, the parts one after the other.
    """
    program = of_tensors(function, model)
    ends = np.cumsum(sizes(len(z), width(model, x) + len(x)))[:-1]
    return np.concatenate([program(x, part).numpy() for part in np.split(z, ends)])
