"""log p(x), the evidence: what the ELBO is a lower bound of.

    log p(x) = log E_{p(z)}[p(x|z)]                        (docs/the_elbo.md, section 2, step 1)

Exact where it can be: `grid` by quadrature over one or two latents, `enumeration` of the states of
small discrete ones, closed forms in `vt.linear`. Bounds elsewhere: `iwae`, the K-sample bound, and
`ais`, annealed importance sampling, from below; `eubo`, `cubo` and reverse annealing from above;
`bracket` puts both ends together. They ask of a model only `prior`, `encode(x)` and `decode(z)`,
and every number comes with its error: `found.estimate`, `found.standard_error`. Each estimator is
a module of its own; here are their public names.
"""

from vae_tf.elbo import log_joint
from vae_tf.evidence.annealing import Annealed, ais
from vae_tf.evidence.importance import ChiSquareBound, KSampleBound, UpperBound, cubo, eubo, iwae
from vae_tf.evidence.quadrature import Grid, grid
from vae_tf.evidence.states import Enumeration, enumeration
from vae_tf.evidence.two_sided import Bracket, bracket, simulate

__all__ = [
    "Annealed",
    "Bracket",
    "ChiSquareBound",
    "Enumeration",
    "Grid",
    "KSampleBound",
    "UpperBound",
    "ais",
    "bracket",
    "cubo",
    "enumeration",
    "eubo",
    "grid",
    "iwae",
    "log_joint",
    "simulate",
]
