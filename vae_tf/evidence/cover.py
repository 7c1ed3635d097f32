"""A box that holds all of a prior: where the first grids of `vt.evidence.grid` lie."""

from typing import NamedTuple

import numpy as np
import tensorflow_probability as tfp

tfd = tfp.distributions

__all__ = ["Cover", "cover"]

_WIDTH = 8.0  # standard deviations each way: a Normal has 1e-15 of its mass beyond
_SAMPLES = 10_000  # of a prior, or of a component, that does not know its mean and scale
_MASS = 1e-6  # of the prior, that the box may lack; float32 does not tell less from none
_WIDENINGS = 6  # each by a factor of two
_SIDES = {1: 20_001, 2: 321}  # nodes per axis, to measure the mass


class Cover(NamedTuple):
    """A box, centre +- reach, and the components of the prior in it."""

    centre: np.ndarray  # [L]
    reach: np.ndarray  # [L]
    missing: float  # the mass of the prior that was not found in it
    log_w: np.ndarray  # [K]: of the components of a mixture, else empty
    loc: np.ndarray  # [K, L]
    scale: np.ndarray  # [K, L]


def cover(prior):
    """The `Cover` of a prior over one or two latents."""
    log_w, loc, scale = _components(prior)
    low, high = (loc - _WIDTH * scale).min(axis=0), (loc + _WIDTH * scale).max(axis=0)
    centre, reach = (low + high) / 2, (high - low) / 2
    missing = 0.0
    if len(log_w) == 1 and not _is_normal(prior):
        reach, missing = _widened(prior, centre, reach)
    if len(log_w) == 1:  # resolution is for the grids to judge
        log_w, loc, scale = log_w[:0], loc[:0], scale[:0]
    return Cover(centre, reach, missing, log_w, loc, scale)


def _is_normal(prior):
    if isinstance(prior, tfd.Independent):
        return isinstance(prior.distribution, tfd.Normal)
    return isinstance(prior, tfd.MultivariateNormalLinearOperator)


def _components(prior):
    """log weight [K], mean and standard deviation [K, L] of each; K = 1 without components."""
    if isinstance(prior, tfd.MixtureSameFamily):
        loc, scale = _moments(prior.components_distribution)
        log_w = np.log(prior.mixture_distribution.probs_parameter())
    elif isinstance(prior, tfd.Mixture):
        log_w = np.log(prior.cat.probs_parameter())
        moments = [_moments(component) for component in prior.components]
        loc, scale = (np.stack(parts) for parts in zip(*moments, strict=True))
    elif isinstance(prior, tfd.Independent) and _is_mixture(prior.distribution):
        return _product(prior.distribution)
    else:
        loc, scale = (part[None] for part in _moments(prior))
        log_w = np.zeros(1)
    return np.asarray(log_w, "float64"), loc, scale


def _is_mixture(distribution):
    return isinstance(distribution, tfd.MixtureSameFamily)


def _product(mixture):
    """Independent mixtures, one for each latent: their components in all combinations."""
    log_w = np.log(mixture.mixture_distribution.probs_parameter())
    loc, scale = _moments(mixture.components_distribution)  # [L, K]
    index = np.indices((loc.shape[1],) * len(loc)).reshape(len(loc), -1)  # [L, K^L]
    log_w = np.broadcast_to(log_w, loc.shape)
    log_w, loc, scale = (np.take_along_axis(part, index, 1).T for part in (log_w, loc, scale))
    return log_w.sum(axis=1).astype("float64"), loc, scale


def _moments(distribution):
    """Mean and standard deviation, float64; by samples where there is no finite closed form."""
    try:
        loc, scale = distribution.mean().numpy(), distribution.stddev().numpy()
    except NotImplementedError:
        loc = scale = np.array(np.nan)
    if not (np.isfinite(loc).all() and np.isfinite(scale).all()):
        z = distribution.sample(_SAMPLES, seed=(0, 0)).numpy()
        loc, scale = z.mean(axis=0), z.std(axis=0)
    return loc.astype("float64"), scale.astype("float64")


def _widened(prior, centre, reach):
    """A reach at which the box holds all of the prior, and what it lacks even so."""
    missing = _missing(prior, centre, reach)
    for _ in range(_WIDENINGS):
        if missing <= _MASS:
            return reach, 0.0
        wider = _missing(prior, centre, 2 * reach)
        if wider >= missing:  # it is an edge of the prior, or a peak, that the sum does not resolve
            break
        reach, missing = 2 * reach, wider
    return reach, missing


def _missing(prior, centre, reach):
    """One minus the mass of the prior in a box, by the sum over its nodes."""
    latents = len(centre)
    u = np.linspace(-1, 1, _SIDES[latents])
    mesh = np.stack(np.meshgrid(*[u] * latents, indexing="ij"), axis=-1).reshape(-1, latents)
    z = (centre + reach * mesh).astype(prior.dtype.as_numpy_dtype)
    density = np.exp(prior.log_prob(z).numpy().astype("float64"))
    return abs(1 - density.sum() * np.prod(reach * (u[1] - u[0])))
