"""What training maximises: a number for each example, shape [B], from one pass of the model.

The ELBO is one choice. Whatever is chosen, `history` and `evaluate` still report the ELBO of
beta = 1 under the name `elbo`; the loss is minus the mean of the objective.
"""

import math
import numbers

import keras

from vae_tf import elbo
from vae_tf.elbo import require_count

__all__ = ["ELBO", "BetaELBO", "Objective"]


class Objective:
    """Base of the objectives: `objective(forward, terms)` gives a [B] tensor to be maximised.

    Args:
        num_samples: S, how many samples of z each example gets in a training step.
    """

    def __init__(self, num_samples=1):
        self.num_samples = require_count(num_samples, "num_samples")

    def __call__(self, forward, terms=None):
        """The objective.

        Args:
            forward: one pass, `vt.elbo.Forward`.
            terms: its `ElboTerms`, if they are at hand already.

        Returns:
            Shape [B], nats.
        """
        raise NotImplementedError("A subclass of Objective defines `__call__(forward, terms)`.")

    def get_config(self):
        return {"num_samples": self.num_samples}

    @classmethod
    def from_config(cls, config):
        return cls(**config)


@keras.saving.register_keras_serializable("vae_tf")
class ELBO(Objective):
    """The ELBO itself: E_q[log p(x|z)] - KL(q(z|x) || p(z)) (document, section 1)."""

    def __call__(self, forward, terms=None):
        return (terms or elbo.reconstruction_kl(forward)).elbo


@keras.saving.register_keras_serializable("vae_tf")
class BetaELBO(Objective):
    """E_q[log p(x|z)] - beta KL(q(z|x) || p(z)) (Higgins et al. 2017).

    For beta < 1 it is no lower bound of log p(x) any more; for beta > 1 it is a looser one.

    Args:
        beta: the weight of the KL term, a number that is not negative.
        num_samples: S.

    Raises:
        ValueError: if `beta` is negative, not finite or not a number.
    """

    def __init__(self, beta, num_samples=1):
        super().__init__(num_samples)
        is_number = isinstance(beta, numbers.Real) and not isinstance(beta, bool)
        if not is_number or not (math.isfinite(beta) and beta >= 0):
            raise ValueError(
                f"Expected `beta` to be a number that is not negative. Received: beta={beta!r}"
            )
        self.beta = float(beta)

    def __call__(self, forward, terms=None):
        terms = terms or elbo.reconstruction_kl(forward)
        return terms.reconstruction - self.beta * terms.kl

    def get_config(self):
        return {**super().get_config(), "beta": self.beta}
