"""What the package asks of a model: three things, and two more where a model is exact.

`evidence`, `gap` and `diagnostics` import no model. They take anything with `prior`, `encode(x)`
and `decode(z)`, and use closed forms where it offers them. A model that is conditional, p(x|c),
takes a condition as a keyword: `given` fills it in, and what comes back is a model of x and z
alone.
"""

from typing import Any, Protocol, runtime_checkable

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from vae_tf._core import require

__all__ = ["ExactModel", "LatentModel", "as_condition", "given", "rows"]

Distribution = tfp.distributions.Distribution


@runtime_checkable
class LatentModel(Protocol):
    """A model of data x by latents z: p(x, z) = p(x|z) p(z), and q(z|x).

    A conditional model's `encode` and `decode` take `condition=` as well: an array [B, ...], or a
    tuple of them, whose rows belong to the rows of x.
    """

    @property
    def prior(self) -> Distribution:
        """p(z): batch [], event [L]."""

    def encode(self, x: Any) -> Distribution:
        """q(z|x): x [B, *event] gives batch [B], event [L]."""

    def decode(self, z: Any) -> Distribution:
        """p(x|z): z [..., L] gives batch [...], event [*event]."""


@runtime_checkable
class ExactModel(LatentModel, Protocol):
    """A `LatentModel` whose evidence, posterior and ELBO of a Gaussian q are closed forms."""

    def log_evidence(self, x: Any) -> np.ndarray:
        """log p(x), shape [B], nats."""

    def posterior(self, x: Any) -> Distribution:
        """p(z|x): batch [B], event [L]."""

    def elbo(self, x: Any, q_z: Distribution) -> Any:
        """The ELBO of any Gaussian q(z|x): `vt.elbo.ElboTerms`, each [B], nats."""


class _Given:
    """A conditional model with its condition filled in."""

    def __init__(self, model, condition):
        self._model, self._condition = model, condition

    @property
    def prior(self):
        return self._model.prior

    def encode(self, x, **kwargs):
        return self._model.encode(x, condition=self._condition, **kwargs)

    def decode(self, z, **kwargs):
        return self._model.decode(z, condition=self._condition, **kwargs)


def given(model, condition):
    """The model for a given condition, None or a tuple of tensors [B, ...] or [1, ...]."""
    return model if condition is None else _Given(model, condition)


def as_condition(condition, batch):
    """A condition as a tuple of NumPy arrays with a row for each of `batch` examples, or None.

    Args:
        condition: None, an array [B, ...], or a tuple or a list of such arrays.
        batch: B.

    Raises:
        ValueError: if a part has not B rows.
    """
    if condition is None:
        return None
    parts = condition if isinstance(condition, (tuple, list)) else (condition,)
    parts = tuple(np.asarray(require.examples(part, "condition")) for part in parts)
    if not parts or any(len(part) != batch for part in parts):
        raise ValueError(
            f"Expected `condition` with a row for each of {batch} examples. "
            f"Received: {', '.join(str(len(part)) for part in parts) or 'no'} rows"
        )
    return parts


def rows(condition, index):
    """These rows (a slice, or an array of numbers) of each part of a condition, or None."""
    if condition is None:
        return None
    take = tf.gather if tf.is_tensor(index) else lambda part, index: part[index]
    return tuple(take(part, index) for part in condition)
