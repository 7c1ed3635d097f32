"""What training maximises: a number for each example, shape [B], from one pass of the model.

The ELBO is one choice. Whatever is chosen, `history` and `evaluate` still report the ELBO of
beta = 1 under the name `elbo`; the loss is minus the mean of the objective. `bounds.py` holds the
objectives made of the ELBO's own terms, `penalties.py` and `factor.py` those that look at
q(z) = E_x q(z|x), for which a batch stands in; `schedules.py` weights that change with the step.
"""

from vae_tf.objectives.base import Objective
from vae_tf.objectives.bounds import ELBO, IWAE, BetaELBO, Capacity, FreeBits
from vae_tf.objectives.factor import Factor
from vae_tf.objectives.penalties import DIP, BetaTC, InfoMMD

__all__ = [
    "DIP",
    "ELBO",
    "IWAE",
    "BetaELBO",
    "BetaTC",
    "Capacity",
    "Factor",
    "FreeBits",
    "InfoMMD",
    "Objective",
]
