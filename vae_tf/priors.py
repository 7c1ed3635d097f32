"""Priors p(z). A prior is a Keras layer without input, so that a learned one trains and saves.

Calling it gives the distribution: `p_z = prior()`, batch [], event [L].
"""

import keras
import tensorflow as tf
import tensorflow_probability as tfp

from vae_tf.distributions import Independent
from vae_tf.to_distribution import sizes

tfd = tfp.distributions

__all__ = ["Prior", "StandardNormal"]


@keras.saving.register_keras_serializable("vae_tf")
class Prior(keras.Layer):
    """Base of the priors: `distribution()` gives p(z), batch [], event [L].

    Args:
        latent_size: L, the number of latents.
    """

    def __init__(self, latent_size, **kwargs):
        if kwargs.get("dtype") is None and "mixed" in keras.config.dtype_policy().name:
            kwargs["dtype"] = "float32"
        super().__init__(**kwargs)
        (self.latent_size,) = sizes(latent_size, "latent_size")

    def distribution(self):
        raise NotImplementedError("A subclass of Prior defines `distribution()`.")

    def __call__(self):
        # Keras' own `__call__` wants an input, and a prior has none.
        return self.distribution()

    def get_config(self):
        return {**super().get_config(), "latent_size": self.latent_size}


@keras.saving.register_keras_serializable("vae_tf")
class StandardNormal(Prior):
    """p(z) = N(0, I), the prior of the document's notation reference.

    Args:
        latent_size: L.

    Example:

    >>> StandardNormal(2)().event_shape
    TensorShape([2])
    """

    def distribution(self):
        zeros = tf.zeros([self.latent_size], self.compute_dtype)
        return Independent(tfd.Normal(zeros, tf.ones_like(zeros)), reinterpreted_batch_ndims=1)
