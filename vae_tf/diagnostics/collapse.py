"""Posterior collapse where it can be computed: the optimum of the linear-Gaussian beta-VAE."""

import math
from typing import Any, NamedTuple

import numpy as np

from vae_tf._core import require

__all__ = ["Collapse", "predict_collapse"]


class Collapse(NamedTuple):
    """The optimum of the linear-Gaussian model, direction by direction, largest first."""

    eigenvalues: np.ndarray  # [D], of the data's covariance, descending
    active: np.ndarray  # [D], bool: the direction gets a latent that is used
    count: int  # type: ignore[assignment]  # how many are active; not the method of a tuple
    mean_variance: np.ndarray  # [D], Var_x of the latent's mean; 0 where inactive
    encoder_scale: np.ndarray  # [D], the standard deviation of q(z_i|x); 1 where inactive
    kl: np.ndarray  # [D], nats per example; 0 where inactive
    rate: float  # nats per example: the sum of `kl`
    distortion: float  # nats per example: minus the reconstruction, constants included


def predict_collapse(
    x: Any, beta: float = 1.0, scale: float = 1.0, *, latent_size: int | None = None
) -> Collapse:
    """Which latents survive, before any training (Lucas et al. 2019; Wang and Ziyin 2022).

    For p(x|z) = N(W z + b, scale^2 I) and a linear encoder, reconstruction - beta KL is greatest
    where direction i of the data, with variance lambda_i (1/N), is treated as follows:

        active if and only if    lambda_i > beta scale^2,    and then
        Var_x(mu_i) = 1 - beta scale^2 / lambda_i            Var(z_i|x) = beta scale^2 / lambda_i
        KL_i        = 1/2 log(lambda_i / (beta scale^2))

    The distortion is D/2 log(2 pi scale^2) plus beta/2 for each active direction and
    lambda_i / (2 scale^2) for each other. Along beta its slope against the rate is -beta.

    Args:
        x: data, shape [N, *event]; an event of any shape is flattened to D values.
        beta: the weight of the KL term.
        scale: the standard deviation of the decoder's noise, fixed.
        latent_size: L, where the model has fewer latents than D: at most L directions, the
            largest, are active.

    Returns:
        A `Collapse`; arrays [D], float64, nats per example.

    Raises:
        ValueError: if `x` is not finite data of at least two examples, `beta` or `scale` is not
            positive, or `latent_size` is no positive integer.

    Example:

    >>> x = np.array([[3.0, 0.0], [-3.0, 0.0], [0.0, 1.0], [0.0, -1.0]])  # variances 4.5, 0.5
    >>> vt.diagnostics.predict_collapse(x, beta=2.0).count
    1
    """
    threshold = require.positive(beta, "beta") * require.positive(scale, "scale") ** 2
    eigenvalues = _eigenvalues(_flat(x))
    active = eigenvalues > threshold
    if latent_size is not None:
        active[require.count(latent_size, "latent_size") :] = False
    known = np.where(active, threshold / np.maximum(eigenvalues, threshold), 1.0)
    kl = 0.5 * np.log(1 / known)
    lost = np.where(active, threshold, eigenvalues).sum() / (2 * scale**2)
    constant = 0.5 * len(eigenvalues) * math.log(2 * math.pi * scale**2)
    return Collapse(
        eigenvalues,
        active,
        int(active.sum()),
        1 - known,
        np.sqrt(known),
        kl,
        float(kl.sum()),
        float(constant + lost),
    )


def _flat(x):
    """[N, *event] -> [N, D], float64, of at least two finite examples."""
    x = require.examples(x).astype("float64")
    if x.ndim < 2 or len(x) < 2 or not np.isfinite(x).all():
        raise ValueError(
            "Expected finite data `x` of shape [N, *event], at least two examples. "
            f"Received: shape {list(x.shape)}, finite={bool(np.isfinite(x).all())}"
        )
    return x.reshape(len(x), -1)


def _eigenvalues(flat):
    """Of the covariance with 1/N, [D], descending; those that N examples cannot have are zero."""
    centred = flat - flat.mean(axis=0)
    # X'X and XX' share their eigenvalues, up to zeros: the smaller of the two is enough.
    gram = centred @ centred.T if len(flat) < flat.shape[1] else centred.T @ centred
    eigenvalues = np.zeros(flat.shape[1])
    eigenvalues[: len(gram)] = np.maximum(np.linalg.eigvalsh(gram)[::-1] / len(flat), 0.0)
    return eigenvalues
