"""What a model does with its latents: which of them it uses, and how much they tell.

`active_units`, `kl_per_latent`, `mutual_information`, `surgery` and `aggregate_log_prob` ask of a
model only `prior`, `encode(x)` and `decode(z)`. Their aggregate posterior is the exact mixture
q(z) = 1/N sum_n q(z|x_n) over the N examples that they are given, and not over minibatches of
them. `predict_collapse` needs the data only, `effective_beta` only a loss, and `gradient_snr` a
model with weights to train.
"""

from vae_tf.diagnostics.collapse import Collapse, predict_collapse
from vae_tf.diagnostics.gradients import GradientSNR, SignalToNoise, gradient_snr
from vae_tf.diagnostics.latents import (
    ActiveUnits,
    MutualInformation,
    Surgery,
    active_units,
    aggregate_log_prob,
    kl_per_latent,
    mutual_information,
    surgery,
)
from vae_tf.diagnostics.loss_weights import EffectiveBeta, effective_beta

__all__ = [
    "ActiveUnits",
    "Collapse",
    "EffectiveBeta",
    "GradientSNR",
    "MutualInformation",
    "SignalToNoise",
    "Surgery",
    "active_units",
    "aggregate_log_prob",
    "effective_beta",
    "gradient_snr",
    "kl_per_latent",
    "mutual_information",
    "predict_collapse",
    "surgery",
]
