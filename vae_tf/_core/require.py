"""What arguments must be, said once: every guard returns the value in the form that is used.

num_samples = require.count(num_samples, "num_samples")
"""

import math
import numbers

import numpy as np

__all__ = ["count", "examples", "finite", "latents", "positive", "share", "sizes"]


def _is_whole(value):
    return hasattr(value, "__index__") and not isinstance(value, (bool, np.bool_))


def _is_real(value):
    return isinstance(value, (numbers.Real, np.number)) and not isinstance(value, (bool, np.bool_))


def count(value, name):
    """A number of samples (or the like) is a positive whole number."""
    if not _is_whole(value) or value < 1:
        raise ValueError(f"Expected `{name}` to be a positive integer. Received: {name}={value!r}")
    return int(value)


def sizes(shape, name="event_shape"):
    """(28, 28) for (28, 28), (2,) for 2; positive integers only."""
    parts = shape if isinstance(shape, (tuple, list)) else (shape,)
    if not parts or not all(_is_whole(n) and n >= 1 for n in parts):
        raise ValueError(
            f"Expected `{name}` to be a positive integer or a tuple of them. "
            f"Received: {name}={shape!r}"
        )
    return tuple(int(n) for n in parts)


def finite(value, name):
    """A number as a float."""
    if not _is_real(value) or not math.isfinite(value):
        raise ValueError(f"Expected `{name}` to be a finite number. Received: {name}={value!r}")
    return float(value)


def positive(value, name):
    """A positive finite number as a float."""
    if not _is_real(value) or not (math.isfinite(value) and value > 0):
        raise ValueError(f"Expected `{name}` to be a positive number. Received: {name}={value!r}")
    return float(value)


def share(value, name):
    """A number between 0 and 1 as a float."""
    if not _is_real(value) or not 0 <= value <= 1:
        raise ValueError(f"Expected `{name}` between 0 and 1. Received: {name}={value!r}")
    return float(value)


def examples(x, name="x"):
    """Data as a NumPy array [B, *event]."""
    array = np.asarray(x)
    if array.ndim == 0:
        raise ValueError(
            f"Expected `{name}` to be an array of examples, shape [B, *event]; of a "
            f"tf.data.Dataset take its batches one by one. Received: {x!r}"
        )
    return array


def latents(q, name):
    """A distribution over latents is one over vectors: event shape [L]."""
    if q.event_shape.rank != 1:
        raise ValueError(
            f"Expected `{name}` to be a distribution of event shape [L]; tfd.Independent(..., 1) "
            f"makes independent latents one event. Received: event shape {list(q.event_shape)}"
        )
