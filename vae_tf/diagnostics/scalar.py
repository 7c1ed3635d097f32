"""A single number and its doubt: what a diagnostic of all examples together estimates."""

import dataclasses
from typing import Any

import numpy as np

__all__ = ["Scalar"]


@dataclasses.dataclass(frozen=True)
class Scalar:
    """An estimate and its standard error; `numpy.asarray` of it is the estimate.

    It is no tuple: `found * 2` and `a, b = found` would be mistakes, and are errors.
    """

    estimate: float
    standard_error: float

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.estimate, dtype)

    def __float__(self) -> float:
        return float(self.estimate)
