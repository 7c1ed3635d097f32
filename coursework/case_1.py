"""Assignment 1: the three sensors of a student, what they read, and an approximate posterior."""

from typing import NamedTuple

import numpy as np
from student_number import generator


class Case(NamedTuple):
    """A latent z, three sensors that saturate: x_d | z ~ N(height tanh(slope z + shift), sigma^2).

    All are parameters of that sentence, but for the prior of z, N(prior_loc, prior_scale^2), and
    for the last two, which give the approximate posterior q(z|x) = N(loc, scale^2) of this x.
    """

    prior_loc: float
    prior_scale: float
    height: np.ndarray  # [3]
    slope: np.ndarray  # [3]
    shift: np.ndarray  # [3]
    sigma: np.ndarray  # [3], standard deviations
    x: np.ndarray  # [3], what the sensors read
    loc: float
    scale: float

    def mean(self, z):
        """The mean of x given z: z of any shape [...] -> [..., 3]."""
        return self.height * np.tanh(self.slope * np.asarray(z)[..., None] + self.shift)


def case(student):
    """The case of a student: the same number gives the same case on every machine.

    The prior's mean lies in [-0.8, 0.8] and its scale in [0.7, 1.4]; heights in [1, 2], slopes in
    [0.5, 1.3] of either sign, shifts in [-0.8, 0.8], sigmas in [0.35, 0.7]. x is drawn from the
    model; q has its mean 0.2 to 0.5 from the z that made x, and a scale in [0.35, 0.7].
    """
    rng = generator(student, assignment=1)
    prior_loc, prior_scale = rng.uniform([-0.8, 0.7], [0.8, 1.4]).round(2)
    height = rng.uniform(1, 2, 3).round(2)
    slope = (rng.choice([-1, 1], 3) * rng.uniform(0.5, 1.3, 3)).round(2)
    shift, sigma = rng.uniform(-0.8, 0.8, 3).round(2), rng.uniform(0.35, 0.7, 3).round(2)
    z = prior_loc + prior_scale * rng.uniform(-1.5, 1.5)
    x = height * np.tanh(slope * z + shift) + sigma * rng.normal(size=3)
    loc = z + rng.choice([-1, 1]) * rng.uniform(0.2, 0.5)
    scale = rng.uniform(0.35, 0.7)
    q = round(float(loc), 2), round(float(scale), 2)
    return Case(float(prior_loc), float(prior_scale), height, slope, shift, sigma, x.round(2), *q)
