"""The evidence lower bound, measured: models and TFP distributions for Keras 3.

    import vae_tf as vt

A number of this package is in nats, per example, with all constants; `S, B, L, D` name the
sample, batch, latent and data axes.
"""

__version__ = "0.1.0"

from vae_tf._backend import about  # first: it refuses another Keras backend

# isort: split
from vae_tf import (
    checks,
    data,
    diagnostics,
    disentanglement,
    distributions,
    elbo,
    evidence,
    gap,
    layers,
    linear,
    networks,
    objectives,
    plots,
    priors,
    random,
    results,
    schedules,
    support,
)
from vae_tf._headline import headline
from vae_tf.model import VAE
from vae_tf.sweep import sweep

__all__ = [
    "VAE",
    "about",
    "checks",
    "data",
    "diagnostics",
    "disentanglement",
    "distributions",
    "elbo",
    "evidence",
    "gap",
    "headline",
    "layers",
    "linear",
    "networks",
    "objectives",
    "plots",
    "priors",
    "random",
    "results",
    "schedules",
    "support",
    "sweep",
]
