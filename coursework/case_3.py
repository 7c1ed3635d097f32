"""Your own data and parameters of assignment 3. There is nothing to change in this file."""

from typing import NamedTuple

import numpy as np
from student_number import generator

import vae_tf as vt


class Case(NamedTuple):
    """What a student number gives; all of it drawn by NumPy, the same on every machine.

    `images` show digits of three of the ten classes, in 4 x 4 pixels: grey levels less the mean
    image, with Normal noise added to each pixel. `seen` and `new` are digits of the same classes,
    8 x 8 pixels, black or white.
    """

    classes: tuple  # three of the digits 0 to 9
    images: np.ndarray  # [N, 16], float64, N about 390
    noise: np.ndarray  # [16], the standard deviation of the noise of each pixel, 0.06 to 0.2
    budget: float  # nats per image, 1.50 to 3.00
    loc: np.ndarray  # [400, 10], means of q(z|x) of the run of question 4
    scale: np.ndarray  # [400, 10], its standard deviations
    seen: np.ndarray  # [N, 8, 8], float32, for training
    new: np.ndarray  # [about 75, 8, 8], float32, held out


def case(student):
    """The case of one student number, a whole number above 0."""
    rng = generator(student, assignment=3)
    digits = vt.data.load("digits")
    classes = np.sort(rng.choice(10, 3, replace=False))
    grey = digits.x_train[np.isin(digits.y_train, classes)].astype("float64")  # [N, 8, 8]
    clean = grey.reshape(-1, 4, 2, 4, 2).mean(axis=(2, 4)).reshape(-1, 16)
    noise = rng.uniform(0.06, 0.2, 16)
    images = clean - clean.mean(axis=0) + noise * rng.normal(size=clean.shape)
    budget = round(rng.uniform(1.5, 3.0), 2)
    loc, scale = _codes(rng)
    seed_of_seen, seed_of_new = (int(seed) for seed in rng.integers(1, 1_000_000, 2))
    seen = vt.data.binarize(grey, seed_of_seen)
    new = vt.data.binarize(digits.x_val[np.isin(digits.y_val, classes)], seed_of_new)
    labels = tuple(int(label) for label in classes)
    return Case(labels, images, noise, budget, loc, scale, seen, new)


def _codes(rng):
    """Means and standard deviations of q(z|x) for 400 images and ten latents."""
    spread = np.array([0.9, 0.6, 0.25, 0.06, 0, 0, 0, 0, 0, 0]) * rng.uniform(0.8, 1.05, 10)
    place = np.array([0, 0, 0.3, 0, 0, 0, 0, 0.5, 0, -0.4]) * rng.uniform(0.8, 1.2, 10)
    width = np.sqrt(1 - spread)
    width[8:] = rng.uniform(0.5, 0.8, 2)
    loc = place + np.sqrt(spread + 1e-4) * rng.normal(size=(400, 10))
    scale = width * np.exp(0.01 * rng.normal(size=(400, 10)))
    order = rng.permutation(10)
    return loc[:, order], scale[:, order]
