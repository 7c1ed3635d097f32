"""Priors p(z). A prior is a Keras layer without input, so that a learned one trains and saves.

Calling it gives the distribution: `p_z = prior()`, batch [], event [L].
"""

import keras
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from vae_tf._core import require
from vae_tf.layers.base import scale_from
from vae_tf.layers.distributions import Independent

tfd = tfp.distributions

__all__ = ["MixtureOfNormals", "Prior", "StandardNormal", "VampPrior"]


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
        (self.latent_size,) = require.sizes(latent_size, "latent_size")

    def distribution(self):
        raise NotImplementedError("A subclass of Prior defines `distribution()`.")

    def attach(self, encoder):
        """Called by the model with its encoder; a prior that is made of q(z|x) keeps it."""

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


@keras.saving.register_keras_serializable("vae_tf")
class MixtureOfNormals(Prior):
    """p(z) = sum_k w_k N(loc_k, diag scale_k^2), all learned.

    There is no closed form of KL(q || p) for it: the KL of an example is then estimated from the
    samples of z. The component means start as draws of N(0, I), the scales at one, the weights
    equal.

    Args:
        latent_size: L.
        num_components: K.
        min_scale: the floor under the scales.

    Example:

    ```python
    vae = vt.VAE(encoder, decoder, prior=vt.priors.MixtureOfNormals(2, num_components=10))
    ```
    """

    def __init__(self, latent_size, num_components=10, min_scale=1e-3, **kwargs):
        super().__init__(latent_size, **kwargs)
        (self.num_components,) = require.sizes(num_components, "num_components")
        self.min_scale = require.positive(min_scale, "min_scale")
        shape = (self.num_components, self.latent_size)
        normal = keras.initializers.RandomNormal(stddev=1.0)
        own = {"autocast": False}  # a mixed policy of the model around must not round them
        self.loc = self.add_weight(shape=shape, initializer=normal, name="loc", **own)
        self.raw_scale = self.add_weight(shape=shape, initializer="zeros", name="raw_scale", **own)
        self.logits = self.add_weight(shape=shape[:1], initializer="zeros", name="logits", **own)

    def distribution(self):
        loc, logits = tf.convert_to_tensor(self.loc), tf.convert_to_tensor(self.logits)
        scale = scale_from(tf.convert_to_tensor(self.raw_scale), self.min_scale)
        return tfd.MixtureSameFamily(
            tfd.Categorical(logits=logits), Independent(tfd.Normal(loc, scale), 1)
        )

    def get_config(self):
        own = {"num_components": self.num_components, "min_scale": self.min_scale}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable("vae_tf")
class VampPrior(Prior):
    """p(z) = 1/K sum_k q(z|u_k): the encoder at K learned pseudo-inputs (Tomczak, Welling 2018).

    The ELBO's best prior is the aggregate posterior, and this is its likeness with K inputs in
    place of N examples. The model lends it the encoder. There is no closed form of KL(q || p) for
    it: the KL of an example is then estimated from the samples of z. Unlike the paper's, the
    pseudo-inputs are not confined to [0, 1].

    Args:
        latent_size: L.
        pseudo_inputs: where the u_k start, shape [K, *event], for example training examples; or
            that shape alone, a tuple, and then they start at zero plus noise of scale 0.1.

    Example:

    ```python
    vae = vt.VAE(encoder, decoder, prior=vt.priors.VampPrior(2, x_train[:100]))
    ```
    """

    def __init__(self, latent_size, pseudo_inputs, **kwargs):
        super().__init__(latent_size, **kwargs)
        shape, start = np.shape(pseudo_inputs), lambda *_, **__: pseudo_inputs
        if isinstance(pseudo_inputs, (tuple, list)) and len(shape) == 1:  # it is a shape
            shape, start = pseudo_inputs, keras.initializers.RandomNormal(stddev=0.1)
        if len(shape) < 2:
            raise ValueError(
                "Expected `pseudo_inputs` to be examples, shape [K, *event], or that shape, a "
                f"tuple. Received: pseudo_inputs={pseudo_inputs!r}"
            )
        self.shape = require.sizes(tuple(shape), "pseudo_inputs")
        self.pseudo_inputs = self.add_weight(
            shape=self.shape, initializer=start, autocast=False, name="pseudo_inputs"
        )
        self.encoder = None

    def attach(self, encoder):
        if self.encoder not in (None, encoder):
            raise ValueError(
                "A VampPrior is made of the encoder of its model. Expected one that no other "
                "model has. Received: one that belongs to another encoder already"
            )
        if self.shape[1:] != encoder.input_shape[1:]:
            raise ValueError(
                f"Expected pseudo-inputs of shape [K, *event], event {encoder.input_shape[1:]}. "
                f"Received: shape {self.shape}"
            )
        self.encoder = encoder

    def distribution(self):
        q_z = self.encoder(tf.convert_to_tensor(self.pseudo_inputs))  # batch [K], event [L]
        return tfd.MixtureSameFamily(
            tfd.Categorical(logits=tf.zeros(self.shape[:1], q_z.dtype)), q_z
        )

    def get_config(self):
        return {**super().get_config(), "pseudo_inputs": self.shape}
