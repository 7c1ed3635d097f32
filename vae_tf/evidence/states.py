"""log p(x) by enumeration: with a few discrete latents the integral is a short sum."""

import dataclasses
import itertools
from typing import Any

import numpy as np
import scipy.special
import tensorflow as tf
import tensorflow_probability as tfp

from vae_tf._core import chunks, require
from vae_tf._core.estimates import Estimate
from vae_tf._core.models import LatentModel, as_condition, by_condition, given
from vae_tf.evidence import pairwise
from vae_tf.evidence.weights import draw

tfd = tfp.distributions

__all__ = ["Enumeration", "enumeration"]

_MOST_STATES = 2**20


@dataclasses.dataclass(frozen=True, eq=False)
class Enumeration(Estimate):
    """log p(x), [B], in nats, and the posterior, exactly; `standard_error` is that of rounding."""

    posterior: np.ndarray  # [N, B], float64: p(z_n|x_b)
    states: np.ndarray  # [N, L]: every value that z can take

    def sample(self, num_samples: int, *, seed: Any = None) -> np.ndarray:
        """Exact samples of p(z|x), shape [num_samples, B, L].

        Args:
            num_samples: how many for each example.
            seed: an integer for the same samples each time.

        Raises:
            ValueError: if `num_samples` is not a positive integer, or a probability is NaN.
        """
        num_samples = require.count(num_samples, "num_samples")
        if np.isnan(self.posterior).any():
            raise ValueError("Expected a posterior of finite probabilities. Received: NaN")
        return self.states[draw(self.posterior, num_samples, seed)]


def enumeration(model: LatentModel, x: Any, *, condition: Any = None) -> Enumeration:
    """log p(x) = log sum_z p(x|z) p(z), exactly, for discrete latents.

    Args:
        model: has `decode(z)` and a `prior` of event shape [L]: independent Bernoulli or
            categorical latents, or one `tfd.OneHotCategorical`, with N <= 2^20 states in all.
        x: data, shape [B, *event]. The posterior alone takes 8 N B bytes: for many states, pass
            few examples at a time.
        condition: of a conditional model: an array [B, ...] or a tuple of them. The states are
            decoded once for each of its values.

    Returns:
        `Enumeration(estimate, standard_error, posterior, states)`, nats. The error is a bound of
        what rounding can do to the largest term of the sum: of the parameters that the decoder
        gives nothing else is uncertain.

    Raises:
        ValueError: if the latents are continuous or have too many states, `x` is outside the
            support, or `condition` has not B rows.

    Example:

    >>> class Coin:
    ...     prior = tfd.Independent(tfd.Bernoulli(probs=[0.5], dtype=tf.float32), 1)
    ...     def decode(self, z):
    ...         return tfd.Independent(tfd.Normal(z, 1.0), 1)
    >>> exact = vt.evidence.enumeration(Coin(), np.array([[0.5]]))
    >>> exact.posterior[:, 0].round(3), exact.sample(7, seed=0).shape
    (array([0.5, 0.5]), (7, 1, 1))
    """
    x, model = require.examples(x), given(model, prior=model.prior)  # which is asked for once
    states = _states(model.prior).astype(tf.as_dtype(model.prior.dtype).as_numpy_dtype)
    log_joint, error = np.empty((len(states), len(x))), np.empty(len(x))
    for rows, one_model in by_condition(model, as_condition(condition, len(x)), len(x)):
        log_joint[:, rows] = chunks.over_nodes(_log_joint, one_model, x[rows], states)
        best = states[log_joint[:, rows].argmax(axis=0)]  # [b, L]
        error[rows] = _rounding(one_model, x[rows], best)
    estimate = scipy.special.logsumexp(log_joint, axis=0)
    with np.errstate(invalid="ignore"):  # of an impossible x
        return Enumeration(estimate, error, np.exp(log_joint - estimate), states)


def _log_joint(model, x, states):
    """log p(x_b, z_n), [N, B], float64."""
    log_prior = tf.cast(model.prior.log_prob(states), tf.float64)[:, None]
    return pairwise.log_prob(model.decode(states), x) + log_prior


def _rounding(model, x, z):
    """Of log p(x_b, z_b), [B]: that of the likelihood, and that of the prior in its own dtype."""
    log_prior = model.prior.log_prob(z).numpy()
    own = 4 * np.finfo(log_prior.dtype).eps * (1 + np.abs(log_prior.astype("float64")))
    return own + pairwise.rounding(model.decode(z), x)


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
