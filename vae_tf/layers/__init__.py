"""Keras layers whose output is a TFP distribution.

The last layer of a network turns the numbers that a `Dense` layer computes into a distribution:

    encoder = keras.Sequential(
        [keras.Input((64,)), keras.layers.Dense(NormalDiag.params_size(2)), NormalDiag(2)]
    )
    q_z = encoder(x)        # tfd.Distribution, batch [B], event [2]

How that works in Keras is in `base.py`; the families are in `families.py`, `counts.py`,
`levels.py`, `mixtures.py` and `flows.py`. For one of your own, subclass `ToDistribution`; a scale
from any real number is `scale_from`. `ToTensor` leads back from a distribution to a tensor.
`distributions.py` holds the distributions that the layers return, `support.py` says which data a
likelihood accepts.
"""

from vae_tf.layers.base import ToDistribution, raw_from, scale_from
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
from vae_tf.layers.mixtures import Mixture
from vae_tf.layers.tensors import ToTensor

__all__ = [
    "Bernoulli",
    "Categorical",
    "ContinuousBernoulli",
    "CouplingFlow",
    "DiscretizedLogistic",
    "DistributionLayer",
    "Mixture",
    "NegativeBinomial",
    "Normal",
    "NormalDiag",
    "NormalTriL",
    "Poisson",
    "ToDistribution",
    "ToTensor",
    "ZeroInflatedNegativeBinomial",
    "raw_from",
    "scale_from",
]
