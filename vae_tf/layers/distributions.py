"""TFP distributions as the layers return them: the same objects, with three things added.

A distribution is not a tensor. Feeding one to the next layer, or asking `predict` for it, is
refused with an error that says what to take instead: a hidden sample would be randomness without
a seed, a hidden mean would be another model. And the KL between a Normal with a full and one with
a diagonal covariance, which TFP lacks, is registered in closed form. The two families that nearly
every VAE is made of, Normals and Bernoullis, compute faster what they compute.
"""

import tensorflow as tf
import tensorflow_probability as tfp

tfd = tfp.distributions

__all__ = ["Bernoulli", "Independent", "MultivariateNormalTriL", "Normal"]


class _NotATensor:
    """Says what to do where Keras or NumPy would convert a distribution to an array."""

    def _refuse(self):
        raise TypeError(
            "Expected a tensor. Received: a distribution, "
            f"{self.name} with event shape {list(self.event_shape)}. Take a tensor from it: "
            "`.sample(seed=...)`, `.mean()` or `.mode()`. `model.predict` needs tensors too: use "
            "`model(x).mean()`, or `vae.predict(x)`, which is the mean of a reconstruction."
        )

    def numpy(self):
        self._refuse()

    def __array__(self, dtype=None, copy=None):
        self._refuse()


class Independent(_NotATensor, tfd.Independent):
    """`tfd.Independent`, with a clear error where a tensor is expected."""


class MultivariateNormalTriL(_NotATensor, tfd.MultivariateNormalTriL):
    """`tfd.MultivariateNormalTriL`, with a clear error where a tensor is expected."""


class Normal(tfd.Normal):
    """`tfd.Normal`, whose draws do not slow down a program that XLA compiles."""

    def _sample_n(self, n, seed=None):
        shape = tf.concat([[n], self.batch_shape_tensor()], axis=0)
        # Left to choose the algorithm, XLA takes one that is ten times slower on a CPU.
        noise = tf.random.stateless_normal(
            shape, tfp.random.sanitize_seed(seed), dtype=self.dtype, alg="philox"
        )
        return self.loc + self.scale * noise


class Bernoulli(tfd.Bernoulli):
    """`tfd.Bernoulli` of logits, for zeros and ones only.

    TFP's own accepts what lies between as well, and computes two logarithms for each value.
    """

    def _log_prob(self, event):
        # log p(x) = -log(1 + exp((1 - 2 x) logit))
        sign = 1 - 2 * tf.cast(event, self.logits.dtype)
        return -tf.math.softplus(sign * self.logits)


def _as_multivariate(q):
    """Independent Normals over one axis, as the multivariate Normal that they are."""
    if not isinstance(q.distribution, tfd.Normal) or q.event_shape.rank != 1:
        raise NotImplementedError(f"No closed form of the KL for {q.name}.")
    # The broadcast keeps a fixed scale and a predicted loc in step.
    loc, scale = q.distribution.mean(), q.distribution.stddev()
    return tfd.MultivariateNormalDiag(loc, scale)


# TFP has the KL between two multivariate Normals and between two Independents, not between one
# of each; a full-covariance posterior against a diagonal prior is exactly that.
@tfd.RegisterKL(tfd.MultivariateNormalLinearOperator, tfd.Independent)
def _kl_full_diagonal(a, b, name=None):
    return tfd.kl_divergence(a, _as_multivariate(b), name=name)


@tfd.RegisterKL(tfd.Independent, tfd.MultivariateNormalLinearOperator)
def _kl_diagonal_full(a, b, name=None):
    return tfd.kl_divergence(_as_multivariate(a), b, name=name)
