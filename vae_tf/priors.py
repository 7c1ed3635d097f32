"""Priors p(z). A prior is a Keras layer without input, so that a learned one trains and saves.

Calling it gives the distribution: `p_z = prior()`, batch [], event [L].
"""

import weakref
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from vae_tf._core import require
from vae_tf.layers.base import full_precision, refuse_arguments, scale_from
from vae_tf.layers.distributions import Independent, Mixture, Normal
from vae_tf.layers.flows import CouplingFlow, FlowedNormal

tfd = tfp.distributions

__all__ = ["Flow", "MixtureOfNormals", "Prior", "StandardNormal", "VampPrior"]


_WITHOUT_EFFECT = "activity_regularizer", "autocast", "input_shape", "input_dim", "batch_shape"


@keras.saving.register_keras_serializable("vae_tf")
class Prior(keras.Layer):
    """Base of the priors: `distribution()` gives p(z), batch [], event [L].

    It computes in float32 at least, under every dtype policy. One prior belongs to one model.

    Args:
        latent_size: L, the number of latents.
        **kwargs: `name`, `dtype` and `trainable` of `keras.Layer`.

    Raises:
        ValueError: if `latent_size` is not a positive integer, or an argument of `keras.Layer`
            is given that has no effect here.

    Example: a Normal three times as wide as the standard one.

    >>> class Wide(Prior):
    ...     def distribution(self):
    ...         zeros = tf.zeros([self.latent_size], self.compute_dtype)
    ...         return Independent(Normal(zeros, 3.0), reinterpreted_batch_ndims=1)
    >>> Wide(2)().stddev().numpy().tolist()
    [3.0, 3.0]
    """

    def __init__(self, latent_size: int, **kwargs: Any):
        refuse_arguments(type(self).__name__, kwargs, _WITHOUT_EFFECT)
        super().__init__(**{**kwargs, "dtype": full_precision(kwargs.get("dtype"))})
        (self.latent_size,) = require.sizes(latent_size, "latent_size")
        self._owner: Any = None

    def distribution(self) -> tfd.Distribution:
        """p(z), batch [], event [L]."""
        raise NotImplementedError("A subclass of Prior defines `distribution()`.")

    def attach(self, encoder: keras.Model) -> None:
        """Called by the model with its encoder; a prior that is made of q(z|x) keeps it.

        Args:
            encoder: of the model that takes this prior for its own.

        Raises:
            ValueError: if another model has it: what one of them learns, the other would get.
        """
        owner = None if self._owner is None else self._owner()
        if owner not in (None, encoder):
            raise ValueError(
                f"A {type(self).__name__} is learned with the encoder of its model. Expected one "
                "that no other model has. Received: one that belongs to another encoder already"
            )
        self._owner = weakref.ref(encoder)  # weak, or Keras would count it among the layers

    def __call__(self) -> tfd.Distribution:
        # Keras' own `__call__` wants an input, and a prior has none.
        return self.distribution()

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "latent_size": self.latent_size}


@keras.saving.register_keras_serializable("vae_tf")
class StandardNormal(Prior):
    """p(z) = N(0, I), the usual prior (docs/the_elbo.md, notation).

    Args:
        latent_size: L.

    Example:

    >>> StandardNormal(2)().event_shape
    TensorShape([2])
    """

    def distribution(self) -> tfd.Distribution:
        zeros = tf.zeros([self.latent_size], self.compute_dtype)
        return Independent(Normal(zeros, tf.ones_like(zeros)), reinterpreted_batch_ndims=1)


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

    Raises:
        ValueError: if a size is not a positive integer, or the floor is not positive.

    Example:

    >>> prior = MixtureOfNormals(2, num_components=10)
    >>> prior().log_prob(tf.zeros([7, 5, 2])).shape
    TensorShape([7, 5])
    """

    def __init__(
        self,
        latent_size: int,
        num_components: int = 10,
        min_scale: float = 1e-3,
        **kwargs: Any,
    ):
        super().__init__(latent_size, **kwargs)
        (self.num_components,) = require.sizes(num_components, "num_components")
        self.min_scale = require.positive(min_scale, "min_scale")
        shape = (self.num_components, self.latent_size)
        normal = keras.initializers.RandomNormal(stddev=1.0)
        own = {"autocast": False}  # a mixed policy of the model around must not round them
        self.loc = self.add_weight(shape=shape, initializer=normal, name="loc", **own)
        self.raw_scale = self.add_weight(shape=shape, initializer="zeros", name="raw_scale", **own)
        self.logits = self.add_weight(shape=shape[:1], initializer="zeros", name="logits", **own)

    def distribution(self) -> tfd.Distribution:
        loc, logits = tf.convert_to_tensor(self.loc), tf.convert_to_tensor(self.logits)
        scale = scale_from(tf.convert_to_tensor(self.raw_scale), self.min_scale)
        return Mixture(tfd.Categorical(logits=logits), Independent(Normal(loc, scale), 1))

    def get_config(self) -> dict[str, Any]:
        own = {"num_components": self.num_components, "min_scale": self.min_scale}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable("vae_tf")
class Flow(Prior):
    """p(z), a Normal bent by learned affine couplings, with an exact density.

        z = loc + scale * f_K(... f_1(u)),   u ~ N(0, I)

    (Dinh, Sohl-Dickstein and Bengio 2017; as a prior, Chen et al., Variational lossy autoencoder,
    2017.) It starts as N(0, I). There is no closed form of KL(q || p) for it: the KL of an example
    is then estimated from the samples of z.

    Args:
        latent_size: L, the number of latents, at least two.
        num_flows: how many couplings.
        hidden: the width of the one hidden layer in each.
        min_scale: the floor under the scale.

    Raises:
        ValueError: if there are fewer than two latents, or an argument is not positive.

    Example:

    >>> prior = Flow(2, num_flows=8)
    >>> prior().log_prob(tf.zeros([7, 5, 2])).shape
    TensorShape([7, 5])
    """

    def __init__(
        self,
        latent_size: int,
        num_flows: int = 4,
        hidden: int = 16,
        min_scale: float = 1e-6,
        **kwargs: Any,
    ):
        super().__init__(latent_size, **kwargs)
        (self.num_flows,) = require.sizes(num_flows, "num_flows")
        (self.hidden,) = require.sizes(hidden, "hidden")
        self.min_scale = require.positive(min_scale, "min_scale")
        size = CouplingFlow.params_size(self.latent_size, self.num_flows, self.hidden)
        self.params = self.add_weight(
            shape=(size,), initializer="zeros", autocast=False, name="params"
        )

    def distribution(self) -> tfd.Distribution:
        params = tf.convert_to_tensor(self.params)
        return FlowedNormal(params, self.latent_size, self.num_flows, self.hidden, self.min_scale)

    def get_config(self) -> dict[str, Any]:
        own = {"num_flows": self.num_flows, "hidden": self.hidden, "min_scale": self.min_scale}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable("vae_tf")
class VampPrior(Prior):
    """p(z) = 1/K sum_k q(z|u_k): the encoder at K learned pseudo-inputs (Tomczak, Welling 2018).

    The ELBO's best prior is the aggregate posterior, and this is its likeness with K inputs in
    place of N examples. The model lends it the encoder. There is no closed form of KL(q || p) for
    it: the KL of an example is then estimated from the samples of z. Unlike the paper's, the
    pseudo-inputs are not confined to [0, 1]. The encoder runs at all K of them whenever the prior
    is asked for; the distribution that it gives holds the result, however often it is evaluated.

    Args:
        latent_size: L.
        pseudo_inputs: where the u_k start, shape [K, *event], for example training examples; or
            that shape alone, a tuple, and then they start at zero plus noise of scale 0.1.

    Raises:
        ValueError: if `pseudo_inputs` is neither examples nor a shape of some.

    Example:

    >>> encoder = vt.networks.mlp(4, vt.layers.NormalDiag(2))
    >>> prior = VampPrior(2, pseudo_inputs=np.eye(4))
    >>> prior.attach(encoder)  # `vt.VAE` does so
    >>> prior().components_distribution.batch_shape
    TensorShape([4])
    """

    def __init__(self, latent_size: int, pseudo_inputs: Any, **kwargs: Any):
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
        self.encoder: Any = None

    def attach(self, encoder: keras.Model) -> None:
        """Keeps the encoder, which the pseudo-inputs have to fit.

        Raises:
            ValueError: if another model has this prior, if the pseudo-inputs are no examples of
                this encoder, or if it takes a condition, which a pseudo-input has none of.
        """
        if len(encoder.inputs) > 1:
            raise ValueError(
                "A pseudo-input has no condition. Expected an encoder with one input. "
                f"Received: one with {len(encoder.inputs)}"
            )
        if self.shape[1:] != encoder.input_shape[1:]:
            raise ValueError(
                f"Expected pseudo-inputs of shape [K, *event], event {encoder.input_shape[1:]}. "
                f"Received: shape {self.shape}"
            )
        super().attach(encoder)
        self.encoder = encoder

    def distribution(self) -> tfd.Distribution:
        # Always as for inference: a pseudo-input is no example, and must not enter the statistics
        # that a BatchNormalization keeps of the examples, nor be dropped out.
        u = tf.convert_to_tensor(self.pseudo_inputs)
        q_z = self.encoder(u, training=False)  # batch [K], event [L]
        return Mixture(tfd.Categorical(logits=tf.zeros(self.shape[:1], q_z.dtype)), q_z)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "pseudo_inputs": self.shape}
