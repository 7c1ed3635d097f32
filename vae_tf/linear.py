"""The linear-Gaussian model (probabilistic PCA), where every number of the course is exact.

    z ~ N(0, I),   x | z ~ N(W z + mean, scale^2 I)

Its evidence, its posterior and the ELBO of any Gaussian q are closed forms (Tipping and Bishop
1999; Lucas et al. 2019), in float64. It has `prior`, `encode` and `decode` like a VAE, so that
whatever measures a VAE can be held against the truth.
"""

import math
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from vae_tf._core import require
from vae_tf.elbo import ElboTerms
from vae_tf.layers import Normal, NormalDiag
from vae_tf.layers.distributions import Independent, MultivariateNormalTriL
from vae_tf.model import VAE
from vae_tf.networks import mlp
from vae_tf.priors import StandardNormal

tfd = tfp.distributions

__all__ = ["LinearGaussian"]


class LinearGaussian:
    """z ~ N(0, I), x|z ~ N(W z + mean, scale^2 I), all in float64.

    Args:
        weights: W, shape [D, L].
        mean: shape [D].
        scale: the standard deviation of the noise, a positive number.

    Raises:
        ValueError: if the shapes do not agree, a value is not finite, or `scale` is not positive.

    Example:

    >>> x = np.random.default_rng(0).normal(size=(50, 5))
    >>> model = vt.linear.LinearGaussian.fit(x, latent_size=2)
    >>> q_z = model.encode(x)
    >>> gap = model.log_evidence(x) - model.elbo(x, q_z).elbo  # KL(q || posterior), [B]
    >>> bool(np.all(abs(gap) < 1e-9))  # after `fit` the encoder is the exact posterior
    True
    """

    def __init__(self, weights: Any, mean: Any, scale: Any):
        self.weights = np.asarray(weights, "float64")
        self.mean = np.asarray(mean, "float64")
        self.scale = np.asarray(scale, "float64")
        self._require_parameters()
        data_size, latent_size = self.weights.shape
        # M = W'W + scale^2 I, [L, L]: the precision of the posterior is M / scale^2.
        self._m = self.weights.T @ self.weights + self.scale**2 * np.eye(latent_size)
        self._to_mean = np.linalg.solve(self._m, self.weights.T)  # [L, D]
        self.prior = StandardNormal(latent_size, dtype="float64")()

    def _require_parameters(self):
        shapes = self.weights.shape, self.mean.shape, self.scale.shape
        if len(shapes[0]) != 2 or 0 in shapes[0] or shapes[1:] != (shapes[0][:1], ()):
            raise ValueError(
                "Expected `weights` of shape [D, L], `mean` of shape [D] and a number `scale`. "
                f"Received: shapes {', '.join(str(list(shape)) for shape in shapes)}"
            )
        finite = all(np.isfinite(p).all() for p in (self.weights, self.mean, self.scale))
        if not finite or not self.scale > 0:
            raise ValueError(
                "Expected finite parameters and a positive `scale`. "
                f"Received: scale={self.scale}, finite={finite}"
            )

    # -- the model ---------------------------------------------------------------------------

    def decode(self, z: Any) -> tfd.Distribution:
        """p(x|z), z of shape [..., L]: batch [...], event [D]."""
        z = tf.cast(z, tf.float64)
        loc = tf.einsum("...l,dl->...d", z, self.weights) + self.mean
        return Independent(tfd.Normal(loc, self.scale), reinterpreted_batch_ndims=1)

    def posterior(self, x: Any) -> tfd.Distribution:
        """p(z|x) = N(M^-1 W'(x - mean), scale^2 M^-1), exactly: batch [B], event [L]."""
        loc = self._posterior_mean(x)
        factor = np.linalg.cholesky(self.scale**2 * np.linalg.inv(self._m))
        return MultivariateNormalTriL(loc, scale_tril=factor + tf.zeros_like(loc)[..., None])

    def encode(self, x: Any) -> tfd.Distribution:
        """q(z|x): the best Gaussian with a diagonal covariance, batch [B], event [L].

        It has the posterior's mean and the variances scale^2 / M_jj, the inverse of the diagonal
        of the posterior's precision. Its gap is 1/2 (sum_j log M_jj - log|M|): zero if and only
        if W'W is diagonal.
        """
        loc = self._posterior_mean(x)
        scale = self.scale / np.sqrt(np.diag(self._m)) + tf.zeros_like(loc)
        return Independent(tfd.Normal(loc, scale), reinterpreted_batch_ndims=1)

    def _posterior_mean(self, x):
        return self._centred(x) @ self._to_mean.T

    def _centred(self, x):
        if tf.is_symbolic_tensor(x):  # inside a compiled step, where no value can be looked at
            return tf.cast(x, tf.float64) - self.mean
        x = require.examples(x).astype("float64", copy=False)
        if x.shape[-1:] != self.mean.shape or not np.isfinite(x).all():
            raise ValueError(
                f"Expected `x` of shape [..., {len(self.mean)}], finite. "
                f"Received: shape {list(x.shape)}, finite={bool(np.isfinite(x).all())}"
            )
        return x - self.mean

    # -- closed forms ------------------------------------------------------------------------

    def log_evidence(self, x: Any) -> np.ndarray:
        """log p(x) = log N(x; mean, W W' + scale^2 I), shape [B], nats, NumPy float64."""
        centred = self._centred(x)
        data_size, latent_size = self.weights.shape
        # By the matrix inversion lemma only M is inverted and its determinant taken:
        # |C| = scale^(2 (D - L)) |M|,  C^-1 = (I - W M^-1 W') / scale^2
        log_det = 2 * (data_size - latent_size) * np.log(self.scale)
        log_det += np.linalg.slogdet(self._m)[1]
        residual = centred - self._posterior_mean(x) @ self.weights.T
        squared = (centred * residual).sum(-1) / self.scale**2
        return -0.5 * (data_size * math.log(2 * math.pi) + log_det + squared)

    def elbo(self, x: Any, q_z: tfd.Distribution) -> ElboTerms:
        """The ELBO of any Gaussian q(z|x), in closed form.

            E_q[log p(x|z)] = log N(x; W m + mean, scale^2 I) - tr(W'W V) / (2 scale^2)

        Args:
            x: shape [B, D].
            q_z: a Gaussian with mean m and covariance V, batch broadcastable to [B], event [L].

        Returns:
            `ElboTerms(elbo, reconstruction, kl)`, each [B], nats, float64.
        """
        x = self._centred(x) + self.mean  # float64, and refused if it is no data
        spread = tf.einsum("lk,...lk->...", self.weights.T @ self.weights, _covariance(q_z))
        reconstruction = self.decode(q_z.mean()).log_prob(x) - spread / (2 * self.scale**2)
        kl = tfd.kl_divergence(q_z, self.prior)
        return ElboTerms(reconstruction - kl, reconstruction, kl)

    # -- from data, and to a VAE -------------------------------------------------------------

    @classmethod
    def fit(cls, x: Any, latent_size: int) -> "LinearGaussian":
        """The maximum-likelihood model of data `x`, in closed form (Tipping and Bishop 1999).

        W = U (Lambda - scale^2 I)^1/2 from the `latent_size` largest eigenvalues of the
        covariance, and scale^2 is the mean of the others. The covariance of maximum likelihood
        divides by N; with N - 1 the result is another, less likely model.

        Args:
            x: shape [N, D].
            latent_size: L, smaller than D and than N.

        Returns:
            A `LinearGaussian`; its W'W is diagonal, so that `encode` is the exact posterior.

        Raises:
            ValueError: if `latent_size` is not a positive integer below D and N, or no variance
                is left for the noise.
        """
        x = require.examples(x).astype("float64", copy=False)
        (latent_size,) = require.sizes(latent_size, "latent_size")
        if x.ndim != 2 or latent_size >= min(x.shape) or not np.isfinite(x).all():
            raise ValueError(
                "Expected finite `x` of shape [N, D] and `latent_size` below both. "
                f"Received: shape {list(x.shape)}, latent_size={latent_size}"
            )
        mean = x.mean(axis=0)
        covariance = (x - mean).T @ (x - mean) / len(x)
        eigenvalues, eigenvectors = np.linalg.eigh(covariance)  # ascending
        variance = eigenvalues[:-latent_size].mean()
        if not variance > 1e-12 * eigenvalues[-1]:
            raise ValueError(
                "Expected data with variance beyond the latent directions. "
                f"Received: noise variance {variance:g} for latent_size={latent_size}"
            )
        stretch = np.sqrt(np.maximum(eigenvalues[: -latent_size - 1 : -1] - variance, 0.0))
        return cls(eigenvectors[:, : -latent_size - 1 : -1] * stretch, mean, np.sqrt(variance))

    def to_vae(self, dtype: str = "float64", **kwargs: Any) -> VAE:
        """The same model as a `vt.VAE` of two linear maps, with `encode` as its encoder.

        Args:
            dtype: of the networks.
            **kwargs: of `vt.VAE`.

        Example:

        >>> model = vt.linear.LinearGaussian(np.ones((3, 2)), np.zeros(3), 1.0)
        >>> bool(np.allclose(model.to_vae().encode(np.ones((1, 3))).mean(), 3 / 7))
        True
        """
        data_size, latent_size = self.weights.shape
        encoder = mlp(data_size, NormalDiag(latent_size, dtype=dtype), hidden=(), dtype=dtype)
        likelihood = Normal(data_size, scale=float(self.scale), dtype=dtype)
        decoder = mlp(latent_size, likelihood, hidden=(), dtype=dtype)
        decoder.layers[0].set_weights([self.weights.T, self.mean])
        encoder.layers[0].set_weights(self._encoder_weights(encoder.layers[-1].min_scale))
        prior = StandardNormal(latent_size, dtype=dtype)
        return VAE(encoder, decoder, prior, dtype=dtype, **kwargs)

    def _encoder_weights(self, min_scale):
        """Kernel [D, 2 L] and bias [2 L] of the dense layer before `NormalDiag`."""
        kernel = np.concatenate([self._to_mean.T, np.zeros_like(self._to_mean.T)], axis=1)
        scale = self.scale / np.sqrt(np.diag(self._m))
        raw = NormalDiag.inverse_scale(scale, min_scale)
        return [kernel, np.concatenate([-self._to_mean @ self.mean, raw])]


def _covariance(q):
    """[..., L, L], also for independent Normals, whose class does not offer it."""
    try:
        return q.covariance()
    except NotImplementedError:
        return tf.linalg.diag(q.variance())
