"""What a loss weighs: its gradients, held against those of -log p(x|z) and of the KL."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from vae_tf._core import require
from vae_tf.layers.distributions import Independent

tfd = tfp.distributions

__all__ = ["EffectiveBeta", "effective_beta"]


@dataclasses.dataclass(frozen=True)
class EffectiveBeta:
    """The beta-VAE that a loss trains. `numpy.asarray` of it is beta."""

    beta: float  # the loss is a multiple of -E_q[log p(x|z)] + beta KL
    scale: float | None  # of the Normal for which it is minus an ELBO; None for other likelihoods

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.beta, dtype)

    def __float__(self) -> float:
        return self.beta


def effective_beta(
    loss: Callable[..., Any],
    event_shape: int | tuple[int, ...] = 784,
    latent_size: int = 32,
    *,
    likelihood: Callable[[Any], Any] | None = None,
) -> EffectiveBeta:
    """The beta and the sigma that a loss implies by its sums, means and weights.

    Per example, up to a factor that the optimizer does not see, a loss

        a sum_d (x_d - x_hat_d)^2 + b sum_l KL_l   =   2a (-log N(x; x_hat, I) + b/(2a) KL) + ...

    is the beta-VAE with beta = b / (2a) and a decoder of unit variance. It is minus the ELBO of
    another model as well: the one whose decoder has sigma^2 = beta. For another likelihood,
    a (-log p(x|z)) + b KL gives beta = b / a. Both weights are measured: the gradient of the loss
    by x_hat, and by loc and scale, is held against that of -log p(x|z) and of the KL, for random
    values of three magnitudes and batches of two sizes.

    Args:
        loss: a callable of (x, x_hat, loc, scale), to be minimised: x and x_hat of shape
            [B, *event_shape], the parameters of q(z|x) of shape [B, L]. It returns a number or
            [B] numbers, and is written in TensorFlow or `keras.ops`.
        event_shape: of x.
        latent_size: L.
        likelihood: a layer of `vt.layers` or any function from x_hat to p(x|z); by default
            independent Normals with mean x_hat and variance one. With
            `vt.layers.Bernoulli(784)`, x_hat are logits and x is binary.

    Returns:
        `EffectiveBeta(beta, scale)`.

    Raises:
        ValueError: if the loss is not of this form: it is no number per example or per batch, it
            does not fall with the likelihood, or a weight differs between pixels or between
            latents, changes with the values (free bits, a capacity) or with the batch size.

    Example:

    >>> def loss(x, x_hat, loc, scale):  # means over pixels and over latents
    ...     kl = 0.5 * (loc**2 + scale**2 - 1) - tf.math.log(scale)
    ...     return tf.reduce_mean((x - x_hat) ** 2) + tf.reduce_mean(kl)
    >>> round(vt.diagnostics.effective_beta(loss, event_shape=784, latent_size=32).beta, 4)
    12.25
    """
    event, latents = require.sizes(event_shape), require.count(latent_size, "latent_size")
    probes = [(0.3, 3), (1.0, 3), (2.0, 3), (1.0, 5)]  # (magnitude of the values, batch size)
    weights = []
    for i, (magnitude, batch) in enumerate(probes):
        x_hat, loc, scale = _random_values(magnitude, batch, event, latents, i)
        weights.append(_weights(loss, likelihood or _unit_normal, x_hat, loc, scale, i))
    beta = _ratio(np.array(weights))
    return EffectiveBeta(beta, math.sqrt(beta) if likelihood is None else None)


def _unit_normal(x_hat):
    return Independent(tfd.Normal(x_hat, 1.0), reinterpreted_batch_ndims=len(x_hat.shape) - 1)


def _random_values(magnitude, batch, event_shape, latent_size, seed):
    rng = np.random.default_rng(seed)
    shapes = (batch, *event_shape), (batch, latent_size), (batch, latent_size)
    x_hat, loc, raw = (magnitude * rng.standard_normal(shape) for shape in shapes)
    return [tf.constant(value, "float32") for value in (x_hat, loc, np.exp(0.5 * raw))]


def _weights(loss, likelihood, x_hat, loc, scale, seed):
    """The multiples (a, b) of grad(-log p(x|z)) and of grad(KL) that the loss descends."""
    others = tf.reverse(x_hat, [0])  # errors then differ in size, and are not the noise alone
    x = tf.cast(likelihood(others).sample(seed=[seed, 0]), tf.float32)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([x_hat, loc, scale])
        value = tf.convert_to_tensor(loss(x, x_hat, loc, scale))
        surprise = -likelihood(x_hat).log_prob(x)
        kl = tf.reduce_sum(0.5 * (loc**2 + scale**2 - 1) - tf.math.log(scale), axis=-1)
    if value.shape not in ([], [len(x)]):
        raise ValueError(
            f"Expected a loss that returns a number or one for each of {len(x)} examples. "
            f"Received: shape {list(value.shape)}"
        )
    gradients = [
        [_flat_gradient(tape, target, sources) for target in (value, reference)]
        for sources, reference in (([x_hat], surprise), ([loc, scale], kl))
    ]
    names = "x_hat is no multiple of -log p(x|z)'s", "loc and scale is no multiple of the KL's"
    return [_multiple(*pair, name) for pair, name in zip(gradients, names, strict=True)]


def _flat_gradient(tape, target, sources):
    parts = tape.gradient(target, sources, unconnected_gradients="zero")
    return np.concatenate([np.ravel(part) for part in parts]).astype("float64")


def _multiple(gradient, reference, name):
    """w where gradient = w reference, or an error."""
    w = gradient @ reference / (reference @ reference)
    misfit = np.abs(gradient - w * reference).max()
    if not misfit <= 1e-3 * np.abs(gradient).max():
        raise ValueError(
            "Expected a (-log p(x|z)) + b KL with the same a for all pixels and the same b for "
            f"all latents. Received: a loss whose gradient by {name} "
            f"(off by {misfit / np.abs(gradient).max():.2g} of its largest entry)"
        )
    return w


def _ratio(weights):
    """b / a from the weights of four probes, [4, 2], the first three of equal batch size."""
    (a, b), same_batch = weights.T, weights[:3]
    if not (a > 0).all() or not (b >= 0).all():
        raise ValueError(
            "Expected a loss to be minimised, that weighs -log p(x|z) by a > 0 and the KL by "
            f"b >= 0. Received: a={a[0]:.4g}, b={b[0]:.4g}"
        )
    if (np.ptp(same_batch, axis=0) > 1e-3 * same_batch.max(axis=0)).any():
        raise ValueError(
            "Expected weights a and b that are constants. Received: weights that change with the "
            f"values, a={np.round(a[:3], 6)}, b={np.round(b[:3], 6)}"
        )
    beta = b / a
    if np.ptp(beta) > 1e-3 * beta.max():
        raise ValueError(
            "Expected both terms summed, or both averaged, over the batch. Received: "
            f"beta={beta[2]:.4g} for 3 examples and beta={beta[3]:.4g} for 5"
        )
    return float(beta.mean())
