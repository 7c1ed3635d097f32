"""The families: Normals, Bernoullis, categoricals, and any scalar family of TFP."""

import inspect
import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from vae_tf._core import require
from vae_tf.layers import distributions
from vae_tf.layers.base import ToDistribution, number_or_name, raw_from, scale_from
from vae_tf.layers.counts import LogRate
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


Shape = int | tuple[int, ...]


class LocScale(ToDistribution):
    """What the families of a loc and a scale share: all locs first, then raw scales if predicted.

    Args:
        event_shape: the shape of one draw.
        scale: a positive number (fixed), "learned" (one trainable number for all dimensions) or
            "predicted" (a second output of the network for each dimension).
        min_scale: the floor under a learned or predicted scale.

    Example:

    >>> LocScale.params_size(3), LocScale.params_size(3, scale=0.1)
    (6, 3)
    """

    def __init__(
        self,
        event_shape: Shape,
        scale: float | str = "predicted",
        min_scale: float = 1e-6,
        **kwargs: Any,
    ):
        super().__init__(event_shape, **kwargs)
        self.scale = number_or_name(scale, "scale")
        self.min_scale = require.positive(min_scale, "min_scale")

    @classmethod
    def params_size(cls, event_shape: Shape, scale: float | str = "predicted") -> int:
        """One loc for each dimension, and where it is predicted one raw scale."""
        size = super().params_size(event_shape)
        return 2 * size if scale == "predicted" else size

    @property
    def input_size(self) -> int:
        """`params_size` of this instance."""
        return self.params_size(self.event_shape, self.scale)

    def build(self, input_shape: Any) -> None:
        super().build(input_shape)
        if self.scale == "learned":
            self.raw_scale = self.add_weight(
                shape=(),
                initializer="zeros",
                autocast=False,  # a mixed policy of the model around must not round it
                name="raw_scale",
            )

    def _loc_and_scale(self, params):
        """In the shape of the event, or one scale for all."""
        if self.scale == "predicted":
            loc, raw = tf.split(params, 2, axis=-1)
            return self.to_event(loc), scale_from(self.to_event(raw), self.min_scale)
        if self.scale == "learned":
            raw = tf.convert_to_tensor(self.raw_scale)
            return self.to_event(params), scale_from(raw, self.min_scale)
        return self.to_event(params), tf.constant(self.scale, params.dtype)

    def set_scale(self, scale: float) -> None:
        """Sets a learned scale, for example to `optimal_scale` after each epoch.

        Args:
            scale: a number above `min_scale`.

        Raises:
            ValueError: if the layer has no learned scale or has no weights yet, or if `scale` is
                not above `min_scale`.

        Example:

        >>> layer = Normal(3, scale="learned")
        >>> layer.build((None, 3))
        >>> layer.set_scale(2.0)
        >>> layer(tf.zeros([1, 3])).stddev().numpy()[0].tolist()
        [2.0, 2.0, 2.0]
        """
        if self.scale != "learned":
            raise ValueError(
                f'Expected a layer with scale="learned". Received: scale={self.scale!r}'
            )
        if not self.built:
            raise ValueError(
                "Expected a layer that is part of a model or was called once. Received: a layer "
                "without weights as yet"
            )
        self.raw_scale.assign(raw_from(require.positive(scale, "scale"), self.min_scale))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "scale": self.scale, "min_scale": self.min_scale}


@keras.saving.register_keras_serializable("vae_tf")
class Normal(LocScale):
    """Independent Normals: p(x) = prod_d N(x_d; loc_d, scale_d^2).

    The layer before gives all locs; then, if they are predicted, all raw scales: scale =
    min_scale + softplus(raw + log(e - 1)), which is one at raw = 0.

    Args:
        event_shape: the shape of one draw.
        scale: the standard deviation: a positive number (fixed), "learned" (one trainable number
            for all dimensions, as in the sigma-VAE of Rybkin et al. 2021) or "predicted" (a second
            output of the network for each dimension).
        min_scale: the floor under a learned or predicted scale; it keeps log-densities finite.

    Raises:
        ValueError: if `scale` is neither a positive number nor one of these names.

    Example:

    >>> Normal.params_size(3), Normal.params_size(3, scale=0.1)
    (6, 3)
    """

    def distribution(self, params: tf.Tensor) -> tfd.Distribution:
        return self.independent(distributions.Normal(*self._loc_and_scale(params)))

    @staticmethod
    def optimal_scale(x: Any, loc: Any) -> float:
        """sqrt(mean (x - loc)^2), the one scale under which x is most probable.

        At it log p(x|z) = -D/2 log(2 pi e MSE) (the optimal sigma of Rybkin et al. 2021).

        Args:
            x: data, shape [B, *event].
            loc: the mean of p(x|z), shape [..., B, *event].

        Returns:
            A float.

        Example:

        >>> Normal.optimal_scale(np.array([[1.0, 3.0]]), np.array([[0.0, 2.0]]))
        1.0
        """
        difference = np.asarray(x, "float64") - np.asarray(loc, "float64")
        return float(np.sqrt(np.mean(difference**2)))


@keras.saving.register_keras_serializable("vae_tf")
class NormalDiag(Normal):
    """A Normal over a vector with a diagonal covariance, the usual q(z|x): loc and scale predicted.

    q(z|x) = prod_l N(z_l; loc_l, scale_l^2), batch [...], event [L]. The layer before gives L
    locs, then L raw scales.

    Args:
        event_size: L, the number of latents.
        min_scale: the floor under the scale.

    Example:

    >>> NormalDiag.params_size(2)
    4
    """

    def __init__(self, event_size: Shape, min_scale: float = 1e-6, **kwargs: Any):
        super().__init__(require.sizes(event_size, "event_size"), min_scale=min_scale, **kwargs)

    @classmethod
    def params_size(cls, event_size: Shape) -> int:  # type: ignore[override]
        """A loc and a raw scale for each latent."""
        return 2 * math.prod(require.sizes(event_size, "event_size"))

    @property
    def input_size(self) -> int:
        """`params_size` of this instance."""
        return self.params_size(self.event_shape)

    @staticmethod
    def inverse_scale(scale: Any, min_scale: float = 1e-6) -> np.ndarray:
        """The network output that gives this scale: log(expm1(scale - min_scale)), shifted.

        Args:
            scale: above `min_scale`, any shape.
            min_scale: that of the layer.

        Returns:
            Raw scales, of the shape of `scale`.

        Raises:
            ValueError: if a scale is not a finite number above `min_scale`.

        Example:

        >>> raw = NormalDiag.inverse_scale(np.array([3.0]))
        >>> NormalDiag(1)(np.array([[0.0, raw[0]]], "float32")).stddev().numpy().tolist()
        [[3.0]]
        """
        return raw_from(scale, min_scale)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["scale"]  # always predicted
        config["event_size"] = config.pop("event_shape")
        return config


@keras.saving.register_keras_serializable("vae_tf")
class NormalTriL(ToDistribution):
    """A Normal over a vector with a full covariance: N(loc, T T'), T lower triangular.

    The layer before gives L locs, then the triangle in the order of `tfp.math.fill_triangular`,
    its diagonal as raw scales.

    Args:
        event_size: L, the number of latents.
        min_scale: the floor under the diagonal of T.

    Raises:
        ValueError: if `event_size` is not one positive integer.

    Example:

    >>> NormalTriL.params_size(3)  # 3 for loc, 6 for the triangle
    9
    """

    def __init__(self, event_size: Shape, min_scale: float = 1e-6, **kwargs: Any):
        super().__init__(require.sizes(event_size, "event_size"), **kwargs)
        if len(self.event_shape) != 1:
            raise ValueError(
                f"Expected `event_size` to be one integer. Received: event_size={event_size!r}"
            )
        self.min_scale = require.positive(min_scale, "min_scale")

    @classmethod
    def params_size(cls, event_size: Shape) -> int:
        """L for loc, L (L + 1) / 2 for the triangle."""
        (size,) = require.sizes(event_size, "event_size")
        return size + size * (size + 1) // 2

    @property
    def input_size(self) -> int:
        """`params_size` of this instance."""
        return self.params_size(self.event_shape)

    @property
    def layout(self) -> tuple[int, ...]:
        """Raises ValueError: the triangle belongs to no single latent."""
        raise ValueError(
            "Expected a layer whose parameters belong to single dimensions. Received: NormalTriL"
        )

    def distribution(self, params: tf.Tensor) -> tfd.Distribution:
        (size,) = self.event_shape
        loc, raw = tf.split(params, [size, self.input_size - size], axis=-1)
        raw = tfp.math.fill_triangular(raw)  # [..., L, L]
        diagonal = scale_from(tf.linalg.diag_part(raw), self.min_scale)
        return MultivariateNormalTriL(loc, scale_tril=tf.linalg.set_diag(raw, diagonal))

    def get_config(self) -> dict[str, Any]:
        config = {**super().get_config(), "min_scale": self.min_scale}
        config["event_size"] = config.pop("event_shape")
        return config


@keras.saving.register_keras_serializable("vae_tf")
class Bernoulli(ToDistribution):
    """Independent Bernoullis for binary data, by their logits: P(x_d = 1) = sigmoid(logit_d).

    Args:
        event_shape: the shape of one draw; the layer before gives one logit for each dimension.

    Example:

    >>> Bernoulli(3)(tf.zeros([5, 3])).mean().numpy()[0].tolist()
    [0.5, 0.5, 0.5]
    """

    def distribution(self, params: tf.Tensor) -> tfd.Distribution:
        logits = self.to_event(params)
        return self.independent(distributions.Bernoulli(logits=logits, dtype=logits.dtype))


@keras.saving.register_keras_serializable("vae_tf")
class ContinuousBernoulli(ToDistribution):
    """Independent continuous Bernoullis, a density on [0, 1] (Loaiza-Ganem, Cunningham 2019).

        p(x) = prod_d C(p_d) p_d^x_d (1 - p_d)^(1 - x_d),    p_d = sigmoid(logit_d)

    The honest choice for grey pixels: a Bernoulli gives them no density at all.

    Args:
        event_shape: the shape of one draw; the layer before gives one logit for each dimension.

    Example:

    >>> ContinuousBernoulli(3)(tf.zeros([5, 3])).mean().numpy()[0].tolist()
    [0.5, 0.5, 0.5]
    """

    def distribution(self, params: tf.Tensor) -> tfd.Distribution:
        logits = self.to_event(params)
        # Without `dtype` TFP would round float64 data to float32.
        return self.independent(tfd.ContinuousBernoulli(logits=logits, dtype=logits.dtype))


@keras.saving.register_keras_serializable("vae_tf")
class Categorical(ToDistribution):
    """Independent categoricals: every dimension takes one of `num_classes` values 0, 1, ...

        P(x_d = k) = softmax(logits_d)_k

    The layer before gives the logits of the first dimension, then those of the second: classes
    come last.

    Args:
        event_shape: the shape of one draw.
        num_classes: how many values a dimension can take, at least two.

    Raises:
        ValueError: if `num_classes` is not an integer of at least two.

    Example:

    >>> Categorical(3, num_classes=10).input_size
    30
    """

    def __init__(self, event_shape: Shape, num_classes: int, **kwargs: Any):
        super().__init__(event_shape, **kwargs)
        self.num_classes = self._at_least_two(num_classes)

    @staticmethod
    def _at_least_two(num_classes):
        number = require.count(num_classes, "num_classes")
        if number < 2:
            raise ValueError(
                f"Expected `num_classes` to be at least 2. Received: num_classes={num_classes!r}"
            )
        return number

    @classmethod
    def params_size(cls, event_shape: Shape, num_classes: int) -> int:  # type: ignore[override]
        """A logit for each class of each dimension."""
        return super().params_size(event_shape) * cls._at_least_two(num_classes)

    @property
    def input_size(self) -> int:
        """`params_size` of this instance."""
        return self.params_size(self.event_shape, self.num_classes)

    @property
    def layout(self) -> tuple[int, ...]:
        """One kind, with a logit for each class of a dimension."""
        return (self.num_classes,)

    def distribution(self, params: tf.Tensor) -> tfd.Distribution:
        logits = self.to_event(params, self.num_classes)
        return self.independent(tfd.Categorical(logits=logits, dtype=logits.dtype))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num_classes": self.num_classes}


# Where TFP's own is slower, less accurate or draws by the mode.
_OWN = {"Bernoulli": distributions.Bernoulli, "Normal": distributions.Normal, "Poisson": LogRate}


@keras.saving.register_keras_serializable("vae_tf")
class DistributionLayer(ToDistribution):
    """Any scalar family of TFP, independently along the event: Laplace, Gamma, StudentT, ...

    Each parameter that is not fixed by keyword is predicted, and brought into its domain by the
    bijector that TFP names for it (a scale becomes positive, a probability stays in [0, 1]). The
    layer before gives them kind by kind, in the order of TFP's `parameter_properties`: first the
    one parameter for all dimensions, then the next.

    Args:
        family: a class of `tfp.distributions` or its name.
        event_shape: the shape of one draw.
        **fixed: parameters that are numbers and not predicted, such as `df=4.0`; and the
            arguments of `keras.Layer`.

    Raises:
        ValueError: if TFP has no such family, if its parameters are not scalar per dimension
            (for a full covariance there is `NormalTriL`; otherwise subclass `ToDistribution`), or
            if a fixed one is outside its domain.

    Example:

    >>> DistributionLayer("StudentT", 3, df=4.0).input_size  # loc and scale
    6
    """

    def __init__(self, family: str | type, event_shape: Shape, **fixed: Any):
        names = "name", "dtype", "trainable", "activity_regularizer", "autocast"
        super().__init__(event_shape, **{k: fixed.pop(k) for k in names if k in fixed})
        self.family = family if isinstance(family, str) else family.__name__
        self.fixed = fixed
        self._properties = self._predicted(self.family, fixed, self.compute_dtype)
        self._require_domain()

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

    def _require_domain(self):
        """TFP says what is outside the domain of a parameter, where it is asked to look."""
        ends = {"low", "high"}  # may be infinite: they truncate
        for name, value in self.fixed.items():
            if name not in ends and not np.all(np.isfinite(value)):
                raise ValueError(f"Expected `{name}` to be finite. Received: {name}={value!r}")
        try:
            with tf.init_scope():
                self._family_of(tf.zeros([1, self.input_size], self.compute_dtype), True)
        except (ValueError, tf.errors.InvalidArgumentError) as error:
            raise ValueError(
                f"Expected parameters of {self.family} in their domain. "
                f"Received: {self.fixed} ({str(error).splitlines()[0]})"
            ) from error

    @classmethod
    def params_size(  # type: ignore[override]
        cls, family: str | type, event_shape: Shape, **fixed: Any
    ) -> int:
        """One number for each parameter that is not fixed, for each dimension."""
        family = family if isinstance(family, str) else family.__name__
        return len(cls._predicted(family, fixed)) * math.prod(require.sizes(event_shape))

    @property
    def input_size(self) -> int:
        """`params_size` of this instance."""
        return self.params_size(self.family, self.event_shape, **self.fixed)

    def distribution(self, params: tf.Tensor) -> tfd.Distribution:
        return self.independent(self._family_of(params))

    def _family_of(self, params, validate_args=False):
        raw = tf.split(params, len(self._properties), axis=-1)
        arguments = {
            name: entry.default_constraining_bijector_fn()(self.to_event(part))
            for (name, entry), part in zip(self._properties.items(), raw, strict=True)
        }
        arguments |= {name: tf.constant(value, params.dtype) for name, value in self.fixed.items()}
        kind = getattr(tfd, self.family)
        if "dtype" in inspect.signature(kind.__init__).parameters:
            arguments["dtype"] = params.dtype  # TFP's default is int32 for a Bernoulli
        if validate_args:
            return kind(**arguments, validate_args=True)
        return _OWN.get(self.family, kind)(**arguments)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "family": self.family, **self.fixed}
