"""The gap: by how much the ELBO is below log p(x), and why.

    gap(x) = log p(x) - ELBO(x) = KL(q(z|x) || p(z|x)) >= 0        (docs/the_elbo.md, section 3)

`total` measures it. `decompose` says how much of it no q of the family could avoid, and how much
is due to the encoder.
"""

from vae_tf.gap.parts import Decomposition, TotalGap, decompose, total

__all__ = ["Decomposition", "TotalGap", "decompose", "total"]
