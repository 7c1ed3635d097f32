"""log p(x) by enumeration: with a few discrete latents the integral is a short sum."""

import itertools
from typing import NamedTuple

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from vae_tf._core import chunks, require
from vae_tf.evidence import pairwise

tfd = tfp.distributions

__all__ = ["Enumeration", "enumeration"]

_MOST_STATES = 2**20


class Enumeration(NamedTuple):
    """log p(x) and the posterior, exactly. `numpy.asarray(enumeration)` is log p(x), [B]."""

    estimate: np.ndarray  # [B], float64, nats
    posterior: np.ndarray  # [N, B], float64: p(z_n|x_b)
    states: np.ndarray  # [N, L]: every value that z can take

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.estimate, dtype)

    def sample(self, num_samples, *, seed=0):
        """Exact samples of p(z|x), shape [num_samples, B, L]."""
        rng = np.random.default_rng(seed)
        until = np.cumsum(self.posterior, axis=0)  # [N, B]
        u = rng.uniform(size=(num_samples, until.shape[1])) * until[-1]
        index = [np.searchsorted(column, draw) for column, draw in zip(until.T, u.T, strict=True)]
        return self.states[np.transpose(index)]


def enumeration(model, x):
    """log p(x) = log sum_z p(x|z) p(z), exactly, for discrete latents.

    Args:
        model: has `decode(z)` and a `prior` of event shape [L]: independent Bernoulli or
            categorical latents, or one `tfd.OneHotCategorical`, with N <= 2^20 states in all.
        x: data, shape [B, *event]. The posterior alone takes 8 N B bytes: for many states, pass
            few examples at a time.

    Returns:
        `Enumeration(estimate, posterior, states)`.

    Raises:
        ValueError: if the latents are continuous or have too many states, or `x` is outside the
            support.

    Example:

    ```python
    exact = vt.evidence.enumeration(model, x)
    vt.evidence.eubo(model, x, exact.sample(1000))
    ```
    """
    states = _states(model.prior).astype(tf.as_dtype(model.prior.dtype).as_numpy_dtype)
    x = np.asarray(x)
    log_joint = []
    for part in np.split(states, np.cumsum(chunks.sizes(len(states), x[:1].size + len(x)))[:-1]):
        log_prior = tf.cast(model.prior.log_prob(part), tf.float64)[:, None]
        log_joint.append((pairwise.log_prob(model.decode(part), x) + log_prior).numpy())
    log_joint = np.concatenate(log_joint)  # [N, B]
    top = log_joint.max(axis=0)
    estimate = top + np.log(np.exp(log_joint - top).sum(axis=0))
    return Enumeration(estimate, np.exp(log_joint - estimate), states)


def _states(prior):
    """Every value of z, [N, L]."""
    require.latents(prior, "prior")
    latents = prior.event_shape[0]
    if isinstance(prior, tfd.OneHotCategorical):
        return np.eye(latents)
    family = prior.distribution if isinstance(prior, tfd.Independent) else prior
    values = None
    if isinstance(family, tfd.Bernoulli):
        values = 2
    elif isinstance(family, tfd.Categorical):
        values = family.logits_parameter().shape[-1]
    if values is None or values**latents > _MOST_STATES:
        raise ValueError(
            "An enumeration needs independent Bernoulli or categorical latents, or a "
            f"OneHotCategorical. Expected a prior with at most {_MOST_STATES:,} states. "
            f"Received: {prior.name} with {latents} latents of {values or 'uncountably many'} "
            "values (vt.evidence.grid and vt.evidence.ais are for continuous ones)"
        )
    return np.array(list(itertools.product(range(values), repeat=latents)))
