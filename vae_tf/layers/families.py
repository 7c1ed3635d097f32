"""The families: Normals, Bernoullis, categoricals, and any scalar family of TFP."""

import math

import keras
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from vae_tf._core import require
from vae_tf.layers import distributions
from vae_tf.layers.base import ToDistribution, raw_from, scale_from
from vae_tf.layers.distributions import MultivariateNormalTriL

tfd = tfp.distributions

__all__ = [
    "Bernoulli",
    "Categorical",
    "ContinuousBernoulli",
    "DistributionLayer",
    "Normal",
    "NormalDiag",
    "NormalTriL",
]


@keras.saving.register_keras_serializable("vae_tf")
class Normal(ToDistribution):
    """Independent Normals: p(x) = prod_d N(x_d; loc_d, scale_d^2).

    Args:
        event_shape: the shape of one draw.
        scale: the standard deviation: a positive number (fixed), "learned" (one trainable number
            for all dimensions, as in the sigma-VAE of Rybkin et al. 2021) or "predicted" (a second
            output of the network for each dimension).
        min_scale: the floor under a learned or predicted scale; it keeps log-densities finite.

    Example:

    >>> Normal.params_size(3), Normal.params_size(3, scale=0.1)
    (6, 3)
    """

    def __init__(self, event_shape, scale="predicted", min_scale=1e-6, **kwargs):
        super().__init__(event_shape, **kwargs)
        self.scale = self._checked(scale)
        self.min_scale = require.positive(min_scale, "min_scale")

    @staticmethod
    def _checked(scale):
        if scale in ("learned", "predicted"):
            return scale
        if isinstance(scale, str):
            raise ValueError(
                'Expected `scale` to be a positive number, "learned" or "predicted". '
                f"Received: scale={scale!r}"
            )
        return require.positive(scale, "scale")

    @classmethod
    def params_size(cls, event_shape, scale="predicted"):
        size = super().params_size(event_shape)
        return 2 * size if scale == "predicted" else size

    @property
    def input_size(self):
        return self.params_size(self.event_shape, self.scale)

    def build(self, input_shape):
        super().build(input_shape)
        if self.scale == "learned":
            self.raw_scale = self.add_weight(shape=(), initializer="zeros", name="raw_scale")

    def distribution(self, params):
        if self.scale == "predicted":
            loc, raw = tf.split(params, 2, axis=-1)
            scale = scale_from(self._to_event(raw), self.min_scale)
        elif self.scale == "learned":
            loc, scale = params, scale_from(tf.convert_to_tensor(self.raw_scale), self.min_scale)
        else:
            loc, scale = params, tf.constant(self.scale, params.dtype)
        return self._independent(distributions.Normal(self._to_event(loc), scale))

    @staticmethod
    def optimal_scale(x, loc):
        """sqrt(mean (x - loc)^2), the one scale under which x is most probable.

        At it log p(x|z) = -D/2 log(2 pi e MSE) (the optimal sigma of Rybkin et al. 2021).

        Args:
            x: data, shape [B, *event].
            loc: the mean of p(x|z), shape [..., B, *event].

        Returns:
            A float.
        """
        difference = np.asarray(x, "float64") - np.asarray(loc, "float64")
        return float(np.sqrt(np.mean(difference**2)))

    def set_scale(self, scale):
        """Sets a learned scale, for example to `optimal_scale` after each epoch."""
        if self.scale != "learned":
            raise ValueError(
                f'Expected a layer with scale="learned". Received: scale={self.scale!r}'
            )
        self.raw_scale.assign(raw_from(require.positive(scale, "scale"), self.min_scale))

    def get_config(self):
        return {**super().get_config(), "scale": self.scale, "min_scale": self.min_scale}


@keras.saving.register_keras_serializable("vae_tf")
class NormalDiag(Normal):
    """A Normal over a vector with a diagonal covariance, the usual q(z|x): loc and scale predicted.

    q(z|x) = prod_l N(z_l; loc_l, scale_l^2), batch [...], event [L].

    Args:
        event_size: L, the number of latents.
        min_scale: the floor under the scale.

    Example:

    >>> NormalDiag.params_size(2)
    4
    """

    def __init__(self, event_size, min_scale=1e-6, **kwargs):
        super().__init__(require.sizes(event_size, "event_size"), min_scale=min_scale, **kwargs)

    @classmethod
    def params_size(cls, event_size):
        return 2 * math.prod(require.sizes(event_size, "event_size"))

    @property
    def input_size(self):
        return self.params_size(self.event_shape)

    @staticmethod
    def inverse_scale(scale, min_scale=1e-6):
        """The network output that gives this scale: log(expm1(scale - min_scale)), shifted."""
        if not np.all(np.asarray(scale) > min_scale):
            raise ValueError(
                f"Expected `scale` above min_scale={min_scale}. Received: scale={scale}"
            )
        return raw_from(scale, min_scale)

    def get_config(self):
        config = super().get_config()
        del config["scale"]  # always predicted
        config["event_size"] = config.pop("event_shape")
        return config


@keras.saving.register_keras_serializable("vae_tf")
class NormalTriL(ToDistribution):
    """A Normal over a vector with a full covariance: N(loc, T T'), T lower triangular.

    Args:
        event_size: L, the number of latents.
        min_scale: the floor under the diagonal of T.

    Example:

    >>> NormalTriL.params_size(3)  # 3 for loc, 6 for the triangle
    9
    """

    def __init__(self, event_size, min_scale=1e-6, **kwargs):
        super().__init__(require.sizes(event_size, "event_size"), **kwargs)
        if len(self.event_shape) != 1:
            raise ValueError(
                f"Expected `event_size` to be one integer. Received: event_size={event_size!r}"
            )
        self.min_scale = require.positive(min_scale, "min_scale")

    @classmethod
    def params_size(cls, event_size):
        (size,) = require.sizes(event_size, "event_size")
        return size + size * (size + 1) // 2

    @property
    def input_size(self):
        return self.params_size(self.event_shape)

    def distribution(self, params):
        (size,) = self.event_shape
        loc, raw = tf.split(params, [size, self.input_size - size], axis=-1)
        raw = tfp.math.fill_triangular(raw)  # [..., L, L]
        diagonal = scale_from(tf.linalg.diag_part(raw), self.min_scale)
        return MultivariateNormalTriL(loc, scale_tril=tf.linalg.set_diag(raw, diagonal))

    def get_config(self):
        config = {**super().get_config(), "min_scale": self.min_scale}
        config["event_size"] = config.pop("event_shape")
        return config


@keras.saving.register_keras_serializable("vae_tf")
class Bernoulli(ToDistribution):
    """Independent Bernoullis for binary data, by their logits: P(x_d = 1) = sigmoid(logit_d)."""

    def distribution(self, params):
        logits = self._to_event(params)
        return self._independent(distributions.Bernoulli(logits=logits, dtype=logits.dtype))


@keras.saving.register_keras_serializable("vae_tf")
class ContinuousBernoulli(ToDistribution):
    """Independent continuous Bernoullis, a density on [0, 1] (Loaiza-Ganem, Cunningham 2019).

    The honest choice for grey pixels: a Bernoulli gives them no density at all.
    """

    def distribution(self, params):
        logits = self._to_event(params)
        # Without `dtype` TFP would round float64 data to float32.
        return self._independent(tfd.ContinuousBernoulli(logits=logits, dtype=logits.dtype))


@keras.saving.register_keras_serializable("vae_tf")
class Categorical(ToDistribution):
    """Independent categoricals: every dimension takes one of `num_classes` values 0, 1, ...

    Args:
        event_shape: the shape of one draw.
        num_classes: how many values a dimension can take, at least two.
    """

    def __init__(self, event_shape, num_classes, **kwargs):
        super().__init__(event_shape, **kwargs)
        (self.num_classes,) = require.sizes(num_classes, "num_classes")

    @classmethod
    def params_size(cls, event_shape, num_classes):
        return super().params_size(event_shape) * num_classes

    @property
    def input_size(self):
        return self.params_size(self.event_shape, self.num_classes)

    def distribution(self, params):
        logits = self._to_event(params, self.num_classes)
        return self._independent(tfd.Categorical(logits=logits, dtype=logits.dtype))

    def get_config(self):
        return {**super().get_config(), "num_classes": self.num_classes}


@keras.saving.register_keras_serializable("vae_tf")
class DistributionLayer(ToDistribution):
    """Any scalar family of TFP, independently along the event: Laplace, Gamma, StudentT, ...

    Each parameter that is not fixed by keyword is predicted, and brought into its domain by the
    bijector that TFP names for it (a scale becomes positive, a probability stays in [0, 1]).

    Args:
        family: a class of `tfp.distributions` or its name.
        event_shape: the shape of one draw.
        **fixed: parameters that are numbers and not predicted, such as `df=4.0`; and the
            arguments of `keras.Layer`.

    Raises:
        ValueError: if TFP has no such family, or its parameters are not scalar per dimension
            (for a full covariance there is `NormalTriL`; otherwise subclass `ToDistribution`).

    Example:

    >>> DistributionLayer("StudentT", 3, df=4.0).input_size  # loc and scale
    6
    """

    def __init__(self, family, event_shape, **fixed):
        layer = {k: fixed.pop(k) for k in ("name", "dtype", "trainable") if k in fixed}
        super().__init__(event_shape, **layer)
        self.family = family if isinstance(family, str) else family.__name__
        self.fixed = fixed
        self._properties = self._predicted(self.family, fixed, self.compute_dtype)

    @staticmethod
    def _predicted(family, fixed, dtype="float32"):
        """The parameters that the network must deliver: {name: TFP's properties of it}."""
        kind = getattr(tfd, family, None)
        if not (isinstance(kind, type) and issubclass(kind, tfd.Distribution)):
            raise ValueError(
                "Expected `family` to be a class of tfp.distributions, or its name. "
                f"Received: family={family!r}"
            )
        properties = kind.parameter_properties(dtype=tf.as_dtype(dtype))
        unknown = sorted(set(fixed) - set(properties))
        if unknown:
            raise ValueError(
                f"Expected parameters of {family}: {sorted(properties)}. Received: {unknown}"
            )
        predicted = {
            name: entry
            for name, entry in properties.items()
            if entry.is_preferred and entry.is_tensor and name not in fixed
        }
        if not predicted or any(entry.event_ndims != 0 for entry in predicted.values()):
            raise ValueError(
                "Expected a family whose predicted parameters are scalar for each dimension. "
                f"Received: family={family!r}, which predicts {sorted(predicted)}"
            )
        return predicted

    @classmethod
    def params_size(cls, family, event_shape, **fixed):
        family = family if isinstance(family, str) else family.__name__
        return len(cls._predicted(family, fixed)) * math.prod(require.sizes(event_shape))

    @property
    def input_size(self):
        return self.params_size(self.family, self.event_shape, **self.fixed)

    def distribution(self, params):
        raw = tf.split(params, len(self._properties), axis=-1)
        predicted = {
            name: entry.default_constraining_bijector_fn()(self._to_event(part))
            for (name, entry), part in zip(self._properties.items(), raw, strict=True)
        }
        fixed = {name: tf.constant(value, params.dtype) for name, value in self.fixed.items()}
        return self._independent(getattr(tfd, self.family)(**predicted, **fixed))

    def get_config(self):
        return {**super().get_config(), "family": self.family, **self.fixed}
