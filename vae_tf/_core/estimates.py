"""One kind of estimate: a number for each example and its doubt, in nats.

    found = vt.evidence.iwae(vae, x, 100, seed=0)
    found.estimate, found.standard_error     # [B] each
    numpy.asarray(found)                     # the estimate

It is no tuple: `found * 2` and `a, b = found` would be mistakes, and are errors.
"""

import dataclasses

import numpy as np

__all__ = ["Estimate"]


@dataclasses.dataclass(frozen=True, eq=False)
class Estimate:
    """A number for each example, [B], float64, nats, and its standard error.

    A subclass is a frozen dataclass whose fields follow these two, and says what its error covers;
    other names for them are properties.
    """

    estimate: np.ndarray
    standard_error: np.ndarray

    def __array__(self, dtype=None, copy=None):
        array = np.asarray(self.estimate, dtype)
        return array.copy() if copy else array

    def __len__(self):
        return len(self.estimate)
