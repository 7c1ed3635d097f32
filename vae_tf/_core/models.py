"""What the package asks of a model: three things, and two more where a model is exact.

`evidence`, `gap` and `diagnostics` import no model. They take anything with `prior`, `encode(x)`
and `decode(z)`, and use closed forms where it offers them. A model that is conditional, p(x|c),
takes a condition as a keyword: `given` fills it in, and what comes back is a model of x and z
alone.
"""

from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from vae_tf._core import require

__all__ = [
    "ExactModel",
    "LatentModel",
    "as_condition",
    "by_condition",
    "given",
    "is_exact",
    "rows",
    "rows_of",
    "taken_apart",
]

tfd = tfp.distributions
_CLOSED_FORMS = "log_evidence", "posterior", "elbo"


@runtime_checkable
class LatentModel(Protocol):
    """A model of data x by latents z: p(x, z) = p(x|z) p(z), and q(z|x).

    A conditional model's `encode` and `decode` take `condition=` as well: an array [B, ...], or a
    tuple of them, whose rows belong to the rows of x; or one row for all. In `decode` it
    broadcasts over the leading axes of z: z [..., B, L] with a condition [B, ...] or [1, ...].

    Two things are optional: `width`, the number of values of the widest layer for one example, by
    which long work is cut so that it fits into memory; and what `ExactModel` has more.
    """

    @property
    def prior(self) -> tfd.Distribution:
        """p(z): batch [], event [L]."""

    def encode(self, x: Any) -> tfd.Distribution:
        """q(z|x): x [B, *event] gives batch [B], event [L]."""

    def decode(self, z: Any) -> tfd.Distribution:
        """p(x|z): z [..., L] gives batch [...], event [*event]."""


@runtime_checkable
class ExactModel(LatentModel, Protocol):
    """A `LatentModel` whose evidence, posterior and ELBO of a Gaussian q are closed forms."""

    def log_evidence(self, x: Any) -> np.ndarray:
        """log p(x), shape [B], nats."""

    def posterior(self, x: Any) -> tfd.Distribution:
        """p(z|x): batch [B], event [L]."""

    def elbo(self, x: Any, q_z: tfd.Distribution) -> Any:
        """The ELBO of any Gaussian q(z|x): `vt.elbo.ElboTerms`, each [B], nats."""


class _Given:
    """A conditional model with its condition filled in, and its prior asked for once."""

    def __init__(self, model, condition, prior):
        self._model, self._condition, self._prior = model, condition, prior

    @property
    def prior(self):
        return self._model.prior if self._prior is None else self._prior

    @property
    def width(self):
        return getattr(self._model, "width", None)

    def _with_condition(self, kwargs):
        """A single part as it is, several as a tuple."""
        if self._condition is None:
            return kwargs
        one = self._condition[0] if len(self._condition) == 1 else self._condition
        return {**kwargs, "condition": one}

    def encode(self, x, **kwargs):
        return self._model.encode(x, **self._with_condition(kwargs))

    def decode(self, z, **kwargs):
        return self._model.decode(z, **self._with_condition(kwargs))


class _ExactGiven(_Given):
    """The same of an `ExactModel`."""

    def log_evidence(self, x):
        return self._model.log_evidence(x, **self._with_condition({}))

    def posterior(self, x):
        return self._model.posterior(x, **self._with_condition({}))

    def elbo(self, x, q_z):
        return self._model.elbo(x, q_z, **self._with_condition({}))


def given(model: LatentModel, condition: tuple | None = None, *, prior: Any = None) -> LatentModel:
    """The model for a given condition: one of x and z alone.

    Args:
        model: a `LatentModel`.
        condition: None, or a tuple of tensors [B, ...] or [1, ...]. The model receives a single
            one as it is, and several as a tuple.
        prior: p(z), where it was asked for before: a VampPrior runs its encoder each time.
    """
    if condition is None and prior is None:
        return model
    if isinstance(model, _Given) and model._condition is None:  # it holds a prior, and no more
        model, prior = model._model, model._prior if prior is None else prior
    return (_ExactGiven if is_exact(model) else _Given)(model, condition, prior)


def taken_apart(model: Any) -> tuple[Any, tuple, Any]:
    """The model that `given` was called with, the condition, and the prior, None if unfilled."""
    if isinstance(model, _Given):
        return model._model, model._condition or (), model._prior
    return model, (), None


def is_exact(model: Any) -> bool:
    """Whether it is an `ExactModel`; unlike `isinstance`, without asking for its prior."""
    return all(callable(getattr(model, name, None)) for name in _CLOSED_FORMS)


def as_condition(condition: Any, batch: int | None) -> tuple | None:
    """A condition as a tuple of arrays with a row for each of `batch` examples, or None.

    Args:
        condition: None, an array [B, ...], or a tuple or a list of such arrays. Tensors stay
            tensors, for a pass inside a graph; all else becomes NumPy.
        batch: B; None where it is not known, in a graph.

    Raises:
        ValueError: if a part has not B rows.
    """
    if condition is None:
        return None
    parts = condition if _is_several(condition) else (condition,)
    parts = tuple(
        part if tf.is_tensor(part) else require.examples(part, "condition") for part in parts
    )
    counts = [part.shape[0] if len(part.shape) else 1 for part in parts]
    if not parts or any(batch is not None and n not in (batch, None) for n in counts):
        raise ValueError(
            f"Expected `condition` with a row for each of {batch} examples. "
            f"Received: {', '.join(str(n) for n in counts) or 'no'} rows"
        )
    return parts


def _is_several(condition):
    """A tuple, or a list of arrays; a list of numbers is one array."""
    arrays = isinstance(condition, list) and all(hasattr(part, "shape") for part in condition)
    return isinstance(condition, tuple) or arrays


def rows_of(arrays, rows):
    """These rows, a slice or their numbers, of each array or tensor."""
    by_number = not isinstance(rows, slice)
    return tuple(
        tf.gather(one, rows) if by_number and tf.is_tensor(one) else one[rows] for one in arrays
    )


def by_condition(model: LatentModel, condition: tuple | None, batch: int) -> Iterator:
    """The examples in groups of equal condition, each with the model given that condition.

    What is the same for all examples of a group (the nodes of a grid, the states of discrete
    latents) is decoded once for it, whatever is in x.

    Args:
        model: a `LatentModel`; its prior is asked for once.
        condition: as `as_condition` makes it, or None: then there is one group.
        batch: B.

    Yields:
        (rows, model): the numbers of the examples, [b], and a model of x and z alone, whose
        condition has one row, [1, ...].
    """
    prior = model.prior
    if condition is None:
        yield np.arange(batch), given(model, None, prior=prior)
        return
    parts = [np.asarray(part) for part in condition]
    numbers = [np.unique(part, axis=0, return_inverse=True)[1].reshape(-1) for part in parts]
    _, first, group = np.unique(
        np.stack(numbers, axis=1), axis=0, return_index=True, return_inverse=True
    )
    for number, row in enumerate(first):
        one = tuple(tf.convert_to_tensor(part[row : row + 1]) for part in parts)
        yield np.flatnonzero(group.reshape(-1) == number), given(model, one, prior=prior)


def rows(condition: tuple | None, index: Any) -> tuple | None:
    """These rows, a slice or their numbers, of each part of a condition, or None."""
    return None if condition is None else rows_of(condition, index)
