"""The evidence lower bound, measured: models and TFP distributions for Keras 3.

    import vae_tf as vt

A number of this package is in nats, per example, with all constants; `S, B, L, D` name the
sample, batch, latent and data axes.
"""

__version__ = "0.2.0"  # the only place; the wheel takes it from here

from vae_tf._core.backend import about  # first: it refuses another Keras backend

# isort: split
from vae_tf import (
    _moved,
    course,
    data,
    diagnostics,
    disentanglement,
    elbo,
    evidence,
    gap,
    layers,
    linear,
    networks,
    objectives,
    priors,
)
from vae_tf._core import random
from vae_tf._core.models import LatentModel
from vae_tf._fit.sweep import sweep
from vae_tf.course import checks, headline, plots, results
from vae_tf.layers import distributions, support
from vae_tf.model import VAE
from vae_tf.objectives import schedules

__all__ = [
    "LatentModel",
    "VAE",
    "about",
    "checks",
    "course",
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


def __getattr__(name: str) -> object:
    """The modules of version 0.1.0 that have moved, with a warning."""
    if (old := f"vae_tf.{name}") in _moved.PLACES:
        return _moved.load(old, stacklevel=2)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
