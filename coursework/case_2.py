"""Assignment 2: a student's linear model, six examples, an encoder, and a step of a decoder."""

from typing import NamedTuple

import numpy as np
from student_number import generator


class Case(NamedTuple):
    """A model z ~ N(0, I), x | z ~ N(weights z + mean, sigma^2 I) of two latents, and more.

    The encoder is q(z|x) = N(to_loc (x - mean), diag(scale)^2). The last five belong to question
    q8: there one latent makes one number x, x | z ~ N(w z, noise^2), and q stays N(loc, q_scale^2).
    """

    weights: np.ndarray  # [4, 2]
    mean: np.ndarray  # [4]
    sigma: float  # a standard deviation
    x: np.ndarray  # [6, 4]
    to_loc: np.ndarray  # [2, 4]
    scale: np.ndarray  # [2]
    one_x: float
    noise: float
    loc: float
    q_scale: float
    w: float

    def encode(self, x):
        """The mean and the scale of q(z|x): x [B, 4] -> [B, 2], [B, 2]."""
        loc = (np.asarray(x) - self.mean) @ self.to_loc.T
        return loc, np.broadcast_to(self.scale, loc.shape)


def case(student):
    """The case of a student: the same number gives the same case on every machine.

    The two columns of the weights lean towards each other, so that the posterior is tilted; sigma
    lies in [0.7, 1.2]; x is drawn from the model; the encoder is crude, its scales in [0.3, 0.6].
    In q8, x lies in [1.8, 3] and w is where the evidence of this x is largest.
    """
    rng = generator(student, assignment=2)
    first, second = rng.normal(size=(2, 4))
    first /= np.sqrt(np.sum(first**2))
    second -= np.sum(first * second) * first  # at right angles to the first
    second /= np.sqrt(np.sum(second**2))
    second += rng.choice([-1, 1]) * rng.uniform(0.8, 1.4) * first
    weights = (np.stack([first, second], axis=1) * rng.uniform(1.2, 1.8, 2)).round(2)
    mean, sigma = rng.uniform(-1, 1, 4).round(2), round(rng.uniform(0.7, 1.2), 2)
    x = rng.normal(size=(6, 2)) @ weights.T + mean + sigma * rng.normal(size=(6, 4))
    to_loc = np.linalg.pinv(weights) * rng.uniform(0.3, 0.7, (2, 1))
    scale = rng.uniform(0.3, 0.6, 2)
    one_x, noise = rng.uniform([1.8, 0.5], [3.0, 0.9]).round(2)
    loc, q_scale = rng.uniform([0.8, 0.7], [1.2, 1.1]).round(2)
    w = np.sqrt(one_x**2 - noise**2)
    step = tuple(float(v) for v in (one_x, noise, loc, q_scale, w.round(3)))
    return Case(weights, mean, sigma, x.round(2), to_loc.round(2), scale.round(2), *step)
