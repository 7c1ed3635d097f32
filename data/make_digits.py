"""Writes digits.npz: 1,797 handwritten digits in 8 x 8 grey levels 0..16.

Needs scikit-learn (`pip install scikit-learn`), which carries them: they are the test part of the
"Optical Recognition of Handwritten Digits" data of the UCI repository.
"""

import numpy as np
from _write import stratified_split, write
from sklearn.datasets import load_digits

digits = load_digits()
x, y = digits.images, digits.target  # [1797, 8, 8] float64, whole numbers 0..16; [1797] int64
assert x.shape == (1797, 8, 8) and x.max() == 16
assert np.array_equal(x, x.astype(np.uint8))

write(
    "digits",
    x=x.astype(np.uint8),
    y=y.astype(np.uint8),
    split=stratified_split(y, num_val=250, num_test=250, seed=1797),
)
