"""The gap: what the ELBO loses, and to what.

    gap(x) = log p(x) - ELBO(x) = KL(q(z|x) || p(z|x)) >= 0                (document, section 3)

`total` measures it, `decompose` says how much is the fault of the family that q is taken from, and
how much that of the encoder.
"""

from vae_tf.gap.parts import Decomposition, TotalGap, decompose, total

__all__ = ["Decomposition", "TotalGap", "decompose", "total"]
