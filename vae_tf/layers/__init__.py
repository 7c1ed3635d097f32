"""Keras layers whose output is a TFP distribution.

The last layer of a network turns the numbers that a `Dense` layer computes into a distribution:

    encoder = keras.Sequential(
        [keras.Input((64,)), keras.layers.Dense(NormalDiag.params_size(2)), NormalDiag(2)]
    )
    q_z = encoder(x)        # tfd.Distribution, batch [B], event [2]

How that works in Keras is in `base.py`; the families are in `families.py`, `counts.py`,
`levels.py` and `flows.py`. For one of your own, subclass `ToDistribution`. `distributions.py` holds
the distributions that they return, `support.py` says which data a likelihood accepts.
"""

from vae_tf.layers.base import ToDistribution
from vae_tf.layers.counts import NegativeBinomial, Poisson, ZeroInflatedNegativeBinomial
from vae_tf.layers.families import (
    Bernoulli,
    Categorical,
    ContinuousBernoulli,
    DistributionLayer,
    Normal,
    NormalDiag,
    NormalTriL,
)
from vae_tf.layers.flows import CouplingFlow
from vae_tf.layers.levels import DiscretizedLogistic

__all__ = [
    "Bernoulli",
    "Categorical",
    "ContinuousBernoulli",
    "CouplingFlow",
    "DiscretizedLogistic",
    "DistributionLayer",
    "NegativeBinomial",
    "Normal",
    "NormalDiag",
    "NormalTriL",
    "Poisson",
    "ToDistribution",
    "ZeroInflatedNegativeBinomial",
]
