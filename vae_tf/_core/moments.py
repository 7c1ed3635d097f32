"""Mean and standard error of samples that come in parts, for each example by itself."""

import numpy as np

__all__ = ["Moments"]


class Moments:
    """Running moments of `fields` quantities of `batch` examples, in float64.

    By the update of Chan, Golub and LeVeque (1983), which does not cancel, whatever the mean.

    Args:
        fields: F, how many quantities.
        batch: B, how many examples.
    """

    def __init__(self, fields, batch):
        self._count = np.zeros(batch)
        self._mean, self._squares = np.zeros((2, fields, batch))

    def add(self, rows, size, mean, variance):
        """`size` more samples of the examples `rows`, [b]: mean and variance, [F, b] each.

        The variance is the mean square deviation of these samples, as `tf.math.reduce_variance`.
        """
        mean, variance = (np.asarray(value, "float64") for value in (mean, variance))
        old, count = self._count[rows], self._count[rows] + size
        step = mean - self._mean[:, rows]
        self._mean[:, rows] += step * size / count
        self._squares[:, rows] += variance * size + step**2 * old * size / count
        self._count[rows] = count

    @property
    def mean(self):
        """[F, B]."""
        return self._mean

    @property
    def standard_error(self):
        """Of the mean, [F, B]; infinite for one sample."""
        with np.errstate(divide="ignore", invalid="ignore"):
            error = np.sqrt(self._squares / (self._count - 1) / self._count)
        return np.where(self._count > 1, error, np.inf)
