"""Objectives of the ELBO's terms: the ELBO, its two terms weighed, and the K-sample bound.

All but `FreeBits`, whose allowance is one of the batch, look at one example at a time.
"""

from typing import Any

import keras
import tensorflow as tf

from vae_tf import elbo
from vae_tf.elbo import ElboTerms, Forward
from vae_tf.objectives.base import Objective

__all__ = ["ELBO", "IWAE", "BetaELBO", "Capacity", "FreeBits"]


@keras.saving.register_keras_serializable("vae_tf")
class ELBO(Objective):
    """The ELBO itself: E_q[log p(x|z)] - KL(q(z|x) || p(z)) (docs/the_elbo.md, section 1).

    Example:

    >>> x = tf.zeros([5, 3])
    >>> encoder = vt.networks.mlp(3, vt.layers.NormalDiag(2), hidden=(8,))
    >>> decoder = vt.networks.mlp(2, vt.layers.Normal(3), hidden=(8,))
    >>> vae = vt.VAE(encoder, decoder, objective=ELBO(), seed=0)
    >>> vae.objective(vae(x)).shape  # [B], nats
    TensorShape([5])
    """

    def __call__(self, forward: Forward, terms: ElboTerms | None = None) -> tf.Tensor:
        return (terms or elbo.reconstruction_kl(forward)).elbo


@keras.saving.register_keras_serializable("vae_tf")
class BetaELBO(Objective):
    """E_q[log p(x|z)] - beta KL(q(z|x) || p(z)) (Higgins et al. 2017; docs/the_elbo.md, section 5).

    For beta < 1 it is no lower bound of log p(x) any more; for beta > 1 it is a looser one.

    Args:
        beta: the weight of the KL term: a number that is not negative, or a schedule such as
            `vt.schedules.LinearWarmup(steps)`.
        num_samples: S.

    Raises:
        ValueError: if `beta` is negative, not finite, or neither a number nor a schedule.

    Example:

    >>> x = tf.zeros([5, 3])
    >>> encoder = vt.networks.mlp(3, vt.layers.NormalDiag(2), hidden=(8,))
    >>> decoder = vt.networks.mlp(2, vt.layers.Normal(3), hidden=(8,))
    >>> vae = vt.VAE(encoder, decoder, objective=BetaELBO(4.0), seed=0)
    >>> vae.objective(vae(x)).shape  # [B], nats
    TensorShape([5])
    """

    scheduled = ("beta",)

    def __init__(self, beta: Any, num_samples: int = 1, **kwargs: Any) -> None:
        super().__init__(num_samples, **kwargs)
        self.beta = beta

    def __call__(self, forward: Forward, terms: ElboTerms | None = None) -> tf.Tensor:
        terms = terms or elbo.reconstruction_kl(forward)
        return terms.reconstruction - self.now(self.beta, terms.kl.dtype) * terms.kl


@keras.saving.register_keras_serializable("vae_tf")
class FreeBits(Objective):
    """E_q[log p(x|z)] - sum_g max(free_nats, E_batch KL_g) (Kingma et al. 2016).

    KL_g is the part of the KL that belongs to a group g of latents. As long as its mean over the
    batch is below `free_nats`, the group pays no more for carrying information: its KL has no
    gradient. An example's share is its own KL_g where the mean is above, `free_nats` where not, so
    that the mean over the batch is the formula.

    Args:
        free_nats: how much each group may carry without paying: a number or a schedule; at 0 this
            is the ELBO.
        groups: lists of latents, such as [[0, 1], [2]], that hold each latent once; by default
            each latent is a group.
        num_samples: S.

    Raises:
        ValueError: if `free_nats` is negative, or `groups` does not hold each latent once; when
            called, if the latents are not independent under q(z|x) and p(z).

    Example:

    >>> x = tf.zeros([5, 3])
    >>> encoder = vt.networks.mlp(3, vt.layers.NormalDiag(2), hidden=(8,))
    >>> decoder = vt.networks.mlp(2, vt.layers.Normal(3), hidden=(8,))
    >>> vae = vt.VAE(encoder, decoder, objective=FreeBits(0.5), seed=0)
    >>> vae.objective(vae(x)).shape  # [B], nats
    TensorShape([5])
    """

    scheduled = ("free_nats",)

    def __init__(
        self, free_nats: Any, groups: Any = None, num_samples: int = 1, **kwargs: Any
    ) -> None:
        super().__init__(num_samples, **kwargs)
        self.free_nats = free_nats
        self.groups = None if groups is None else tuple(self._group(group) for group in groups)

    @staticmethod
    def _group(group):
        if not isinstance(group, (list, tuple)):
            raise ValueError(
                "Expected `groups` to hold lists of latents, such as [[0, 1], [2]]. "
                f"Received: the group {group!r}"
            )
        return tuple(group)

    def attach(self, latent_size: int) -> None:
        members = sorted(latent for group in self.groups or [] for latent in group)
        if self.groups is not None and members != list(range(latent_size)):
            raise ValueError(
                f"Expected `groups` to hold each of the latents 0 to {latent_size - 1} once. "
                f"Received: groups={self.groups}"
            )

    def __call__(self, forward: Forward, terms: ElboTerms | None = None) -> tf.Tensor:
        terms = terms or elbo.reconstruction_kl(forward)
        kl = elbo.kl_per_latent(forward.q_z, forward.p_z)  # [B, L]
        if self.groups is not None:
            sums = [tf.reduce_sum(tf.gather(kl, group, axis=1), axis=1) for group in self.groups]
            kl = tf.stack(sums, axis=1)  # [B, G]
        free = self.now(self.free_nats, kl.dtype)
        pays = tf.reduce_mean(kl, axis=0) > free  # [G]
        return terms.reconstruction - tf.reduce_sum(tf.where(pays, kl, free), axis=1)

    def get_config(self) -> dict:
        return {**super().get_config(), "groups": self.groups}


@keras.saving.register_keras_serializable("vae_tf")
class Capacity(Objective):
    """E_q[log p(x|z)] - gamma |KL(q(z|x) || p(z)) - C| (Burgess et al. 2018, eq. 8).

    The KL of each example is held at the capacity C, which a schedule lets grow. That is the
    equation of the paper; disentanglement_lib holds the mean over the batch, which is weaker.

    Args:
        capacity: C in nats: a number or a schedule, such as
            `vt.schedules.LinearWarmup(100_000, stop=25.0)`, the choice of the paper.
        gamma: how strongly; the paper takes 1000. With gamma = 1 and C = 0 this is the
            ELBO, where the KL is in closed form and so never negative.
        num_samples: S.

    Raises:
        ValueError: if `capacity` or `gamma` is negative.

    Example:

    >>> x = tf.zeros([5, 3])
    >>> encoder = vt.networks.mlp(3, vt.layers.NormalDiag(2), hidden=(8,))
    >>> decoder = vt.networks.mlp(2, vt.layers.Normal(3), hidden=(8,))
    >>> vae = vt.VAE(encoder, decoder, objective=Capacity(5.0), seed=0)
    >>> vae.objective(vae(x)).shape  # [B], nats
    TensorShape([5])
    """

    scheduled = ("capacity", "gamma")

    def __init__(
        self, capacity: Any, gamma: Any = 1000.0, num_samples: int = 1, **kwargs: Any
    ) -> None:
        super().__init__(num_samples, **kwargs)
        self.capacity = capacity
        self.gamma = gamma

    def __call__(self, forward: Forward, terms: ElboTerms | None = None) -> tf.Tensor:
        terms = terms or elbo.reconstruction_kl(forward)
        off = tf.abs(terms.kl - self.now(self.capacity, terms.kl.dtype))
        return terms.reconstruction - self.now(self.gamma, terms.kl.dtype) * off


@keras.saving.register_keras_serializable("vae_tf")
class IWAE(Objective):
    """log 1/K sum_k p(x, z_k) / q(z_k|x), the K-sample bound (Burda et al. 2016).

    The logarithm is taken for each example, over its own K samples. K = 1 is the ELBO, all of it
    by Monte Carlo (`vt.elbo.mean_log_weight`); more samples bring it closer to log p(x).

    The value is the same whatever `gradient` is. With a_k = w_k / sum_j w_j and w_k the weights,
    the decoder and a learned prior receive sum_k a_k grad log p(x, z_k), and the encoder

        "standard"   sum_k a_k   (d log w_k / d z_k  d z_k / d phi - d log q(z_k|x) / d phi)
        "stl"        sum_k a_k    d log w_k / d z_k  d z_k / d phi
        "dreg"       sum_k a_k^2  d log w_k / d z_k  d z_k / d phi

    where the last term of the first line, the score, is taken at fixed z_k. As K grows, the noise
    of the standard gradient falls more slowly than the gradient itself (Rainforth et al. 2018);
    that of "dreg" (Tucker et al. 2019) falls faster, and it has the same mean. "stl" (Roeder et
    al. 2017) has the same mean for K = 1 only: for larger K it is biased, and the bias stays. Both
    vanish, sample by sample, where q is the posterior. They need samples of q(z|x) that can be
    differentiated.

    Args:
        num_samples: K.
        gradient: "standard", "stl" (sticking the landing) or "dreg" (doubly reparameterized).

    Raises:
        ValueError: if `gradient` is none of the three; when called for "dreg", if the pass has no
            gate.

    Example:

    >>> x = tf.zeros([5, 3])
    >>> encoder = vt.networks.mlp(3, vt.layers.NormalDiag(2), hidden=(8,))
    >>> decoder = vt.networks.mlp(2, vt.layers.Normal(3), hidden=(8,))
    >>> vae = vt.VAE(encoder, decoder, objective=IWAE(5), seed=0)
    >>> vae.objective(vae(x)).shape  # [B], nats
    TensorShape([5])
    """

    def __init__(self, num_samples: int, gradient: str = "standard", **kwargs: Any) -> None:
        super().__init__(num_samples, **kwargs)
        if gradient not in ("standard", "stl", "dreg"):
            raise ValueError(
                'Expected `gradient` to be "standard", "stl" or "dreg". '
                f"Received: gradient={gradient!r}"
            )
        self.gradient = gradient
        self.gate = gradient == "dreg"

    def __call__(self, forward: Forward, terms: ElboTerms | None = None) -> tf.Tensor:
        del terms
        log_w = elbo.log_weights(forward, score=self.gradient == "standard")  # [S, B]
        log_k = tf.math.log(tf.cast(tf.shape(log_w)[0], log_w.dtype))
        bound = tf.reduce_logsumexp(log_w, axis=0) - log_k
        return bound + self._gate(forward, log_w) if self.gate else bound

    @staticmethod
    def _gate(forward, log_w):
        """Zeros, [B], that have the gradient into z_k multiplied by a_k once more."""
        if forward.gate is None:
            raise ValueError(
                'The gradient "dreg" needs a pass with a gate. Expected one of vae(x), or of '
                "vt.elbo.forward(model, x, num_samples, gate=True). Received: a pass without"
            )
        share = tf.stop_gradient(tf.nn.softmax(log_w, axis=0))  # a_k
        return tf.reduce_sum(share * tf.cast(forward.gate, log_w.dtype), axis=0)

    def get_config(self) -> dict:
        return {**super().get_config(), "gradient": self.gradient}
