"""What arguments must be, said once: every guard returns the value in the form that is used.

num_samples = require.count(num_samples, "num_samples")
"""

import math
import numbers
from typing import Any

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


def examples(x: Any, name: str = "x") -> np.ndarray:
    """Data as a NumPy array [B, *event]: of arrays, tensors, variables, lists, data frames.

    Raises:
        ValueError: if it is sparse, ragged, of text or objects, has masked entries, or is no array
            of examples at all.
    """
    _refuse_sparse(x, name)
    _refuse_masked(x, name)
    array = _dense(x, name)
    if array.ndim == 0:
        raise ValueError(
            f"Expected `{name}` to be an array of examples, shape [B, *event]; of a "
            f"tf.data.Dataset take its batches one by one. Received: {x!r}"
        )
    if array.dtype.kind in "OSUMmc" or array.dtype.names:
        raise ValueError(
            f"Expected `{name}` to hold real numbers. Received: {type(x).__name__} of dtype "
            f"{array.dtype}"
        )
    return array


def _refuse_sparse(x, name):
    if hasattr(x, "toarray") or hasattr(x, "todense"):  # of SciPy
        raise ValueError(
            f"Expected `{name}` to be a dense array (`{name}.toarray()` makes one). Received: a "
            f"sparse {type(x).__name__}"
        )
    if type(x).__name__ == "SparseTensor":
        raise ValueError(
            f"Expected `{name}` to be a dense array (`tf.sparse.to_dense({name})` makes one). "
            "Received: a SparseTensor"
        )


def _refuse_masked(x, name):
    masked = np.ma.count_masked(x) if isinstance(x, np.ma.MaskedArray) else 0
    if masked:
        raise ValueError(
            f"Expected `{name}` without masked entries: they have no value. "
            f"Received: a masked array with {masked} of them"
        )


def _dense(x, name):
    """An array of it, whatever it holds."""
    try:
        array = np.asarray(x.to_numpy() if hasattr(x, "to_numpy") else np.ma.getdata(x))
        # A data frame whose columns differ in dtype is one of objects.
        is_frame = hasattr(x, "to_numpy") and array.dtype.kind == "O"
        return array.astype("float64") if is_frame else array
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"Expected `{name}` to be an array of numbers, with rows of equal length. "
            f"Received: {type(x).__name__} ({error})"
        ) from error


def latents(q, name):
    """A distribution over latents is one over vectors: event shape [L]."""
    if q.event_shape.rank != 1:
        raise ValueError(
            f"Expected `{name}` to be a distribution of event shape [L]; tfd.Independent(..., 1) "
            f"makes independent latents one event. Received: event shape {list(q.event_shape)}"
        )
