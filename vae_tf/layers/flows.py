"""Normalizing flows: a q(z|x) that need not be Gaussian, with a density in closed form.

    z = loc + scale * f_K(... f_1(u)),   u ~ N(0, I),   log q(z) = log N(u; 0, I) - log|det dz/du|

Each f is an affine coupling (Dinh, Sohl-Dickstein and Bengio 2017): one half of the vector stays,
and says by how much the other half is shifted and stretched, so that both the inverse and the
determinant are at hand. The weights of that little network belong to the example: the layer
before predicts them all, and one row of parameters is one posterior.
"""

import functools
import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from vae_tf._core import require
from vae_tf.layers.base import ToDistribution, scale_from
from vae_tf.layers.distributions import Independent, Normal, _NotATensor

tfb, tfd = tfp.bijectors, tfp.distributions

__all__ = ["CouplingFlow", "FlowedNormal"]

_LARGEST_LOG_SCALE = 2.0  # of one coupling: a factor between 1/7 and 7


class FlowedNormal(_NotATensor, tfd.TransformedDistribution):
    """A standard Normal pushed through affine couplings, then stretched and moved.

    Args:
        params: shape [..., P], as `CouplingFlow` takes them; kept as `.params`.
        event_size: L.
        num_flows: how many couplings.
        hidden: the width of the network inside each.
        min_scale: the floor under the scale.

    Example:

    >>> params = tf.zeros([5, CouplingFlow.params_size(2)])
    >>> FlowedNormal(params, 2, num_flows=4, hidden=16, min_scale=1e-6).event_shape
    TensorShape([2])
    """

    def __init__(
        self,
        params: Any,
        event_size: int,
        num_flows: int,
        hidden: int,
        min_scale: float,
        name: str = "FlowedNormal",
    ):
        parameters = dict(locals())
        self._params, self._event_size = tf.convert_to_tensor(params), event_size
        self._num_flows, self._hidden, self._min_scale = num_flows, hidden, min_scale
        loc, raw, weights = tf.split(
            self._params, [event_size, event_size, self._params.shape[-1] - 2 * event_size], axis=-1
        )
        couplings = _couplings(weights, event_size, num_flows, hidden)
        stretch = tfb.Shift(loc)(tfb.Scale(scale_from(raw, min_scale)))
        zeros = tf.zeros_like(loc)
        super().__init__(
            Independent(Normal(zeros, tf.ones_like(zeros)), reinterpreted_batch_ndims=1),
            tfb.Chain([stretch, *reversed(couplings)]),
            parameters=parameters,
            name=name,
        )

    @classmethod
    def _parameter_properties(cls, dtype, num_classes=None):
        del dtype, num_classes
        return {"params": tfp.util.ParameterProperties(event_ndims=1)}

    @property
    def params(self) -> tf.Tensor:
        """The row of parameters of each example, shape [..., P]."""
        return self._params

    @property
    def layer_config(self) -> dict[str, Any]:
        """What the `CouplingFlow` was made of that gave this distribution."""
        names = ("event_size", "num_flows", "hidden", "min_scale")
        return {name: self.parameters[name] for name in names}

    def _no_moment(self, name):
        raise NotImplementedError(
            f"The {name} of a flow has no closed form. Expected a Gaussian q, or an average over "
            f"samples: `.sample(1000, seed=...)`. Received: `.{name}()` of {self.name}"
        )

    def _mean(self):
        self._no_moment("mean")

    def _mode(self):
        self._no_moment("mode")

    def _variance(self):
        self._no_moment("variance")

    def _stddev(self):
        self._no_moment("stddev")

    def _covariance(self):
        self._no_moment("covariance")

    def _entropy(self):
        self._no_moment("entropy")


def _couplings(weights, event_size, num_flows, hidden):
    """The bijectors f_1, ..., f_K; they keep the first and the last half by turns."""
    kept = _kept(event_size, num_flows)
    parts = tf.split(weights, [_weights_size(event_size, k, hidden) for k in kept], axis=-1)
    return [
        tfb.RealNVP(
            num_masked=k if flow % 2 == 0 else -k,
            shift_and_log_scale_fn=functools.partial(_network, part, flow, hidden),
        )
        for flow, (k, part) in enumerate(zip(kept, parts, strict=True))
    ]


def _kept(event_size, num_flows):
    """How many of the L entries each coupling keeps."""
    first = event_size // 2
    return [first if flow % 2 == 0 else event_size - first for flow in range(num_flows)]


def _weights_size(event_size, kept, hidden):
    """One hidden layer: kept -> hidden -> shift and log-scale of the others."""
    return (kept + 1) * hidden + (hidden + 1) * 2 * (event_size - kept)


def _network(weights, flow, hidden, u, units):
    """Shift and log-scale of `units` entries from the kept ones, u [..., k]: each [..., units].

    Constants are added to the first layer. Without them all gradients but those of the last bias
    would vanish at weights of zero, where the coupling is the identity.
    """
    kept = u.shape[-1]
    w_1, b_1, w_2, b_2 = tf.split(
        weights, [kept * hidden, hidden, hidden * 2 * units, 2 * units], axis=-1
    )
    c_w, c_b = (tf.constant(c, weights.dtype) for c in _constants(flow, kept, hidden))
    h = tf.tanh(_times(u, _matrix(w_1, kept, hidden) + c_w) + b_1 + c_b)
    out = _times(h, _matrix(w_2, hidden, 2 * units)) / math.sqrt(hidden) + b_2
    shift, raw = tf.split(out, 2, axis=-1)
    return shift, _LARGEST_LOG_SCALE * tf.tanh(raw / _LARGEST_LOG_SCALE)


def _constants(flow, kept, hidden):
    """Fixed weights [k, hidden] and biases [hidden], the same on every machine, for ever."""
    rng = np.random.RandomState(flow)  # its stream never changes; saved models rely on it
    return rng.normal(size=(kept, hidden)) / math.sqrt(kept), rng.normal(size=hidden)


def _matrix(row, rows, columns):
    """[..., rows * columns] -> [..., rows, columns]"""
    matrix = tf.reshape(row, tf.concat([tf.shape(row)[:-1], [rows, columns]], axis=0))
    matrix.set_shape((*row.shape[:-1], rows, columns))
    return matrix


def _times(u, matrix):
    """Rows times matrices, whose leading axes broadcast: [..., k] and [..., k, n] to [..., n]."""
    return tf.reduce_sum(u[..., None] * matrix, axis=-2)


@keras.saving.register_keras_serializable("vae_tf")
class CouplingFlow(ToDistribution):
    """A q(z|x) of any shape: a Normal bent by `num_flows` affine couplings.

        z = loc + scale * f_K(... f_1(u)),   u ~ N(0, I)

    (Dinh, Sohl-Dickstein and Bengio 2017; as a posterior, Rezende and Mohamed 2015.) Its
    `log_prob` is exact at every z. A mean, an entropy and a KL in closed form it does not have:
    the KL of the ELBO is then estimated from the samples. All parameters at zero give N(0, I).
    The layer before gives L locs, L raw scales, then the weights of the couplings, one coupling
    after the other.

    Args:
        event_size: L, the number of latents, at least two.
        num_flows: how many couplings; it takes three until every entry depends on every other.
        hidden: the width of the one hidden layer in each.
        min_scale: the floor under the scale.

    Raises:
        ValueError: if there are fewer than two latents, or an argument is not positive.

    Example:

    >>> encoder = vt.networks.mlp((28, 28), CouplingFlow(10))
    >>> CouplingFlow.params_size(2, num_flows=1, hidden=16)  # 4, and 1 -> 16 -> 2 with biases
    70
    """

    def __init__(
        self,
        event_size: int | tuple[int, ...],
        num_flows: int = 4,
        hidden: int = 16,
        min_scale: float = 1e-6,
        **kwargs: Any,
    ):
        super().__init__(_require_latents(event_size), **kwargs)
        (self.num_flows,) = require.sizes(num_flows, "num_flows")
        (self.hidden,) = require.sizes(hidden, "hidden")
        self.min_scale = require.positive(min_scale, "min_scale")

    @classmethod
    def params_size(
        cls, event_size: int | tuple[int, ...], num_flows: int = 4, hidden: int = 16
    ) -> int:
        """A loc and a raw scale for each latent, and the weights of all couplings."""
        (size,) = _require_latents(event_size)
        (num_flows,), (hidden,) = (
            require.sizes(num_flows, "num_flows"),
            require.sizes(hidden, "hidden"),
        )
        couplings = [_weights_size(size, k, hidden) for k in _kept(size, num_flows)]
        return 2 * size + sum(couplings)

    @property
    def input_size(self) -> int:
        """`params_size` of this instance."""
        return self.params_size(self.event_shape, self.num_flows, self.hidden)

    @property
    def layout(self) -> tuple[int, ...]:
        """Raises ValueError: the weights of a coupling belong to no single latent."""
        raise ValueError(
            "Expected a layer whose parameters belong to single dimensions. Received: CouplingFlow"
        )

    def distribution(self, params: tf.Tensor) -> FlowedNormal:
        (size,) = self.event_shape
        return FlowedNormal(params, size, self.num_flows, self.hidden, self.min_scale)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config["event_size"] = config.pop("event_shape")
        own = {"num_flows": self.num_flows, "hidden": self.hidden, "min_scale": self.min_scale}
        return {**config, **own}


def _require_latents(event_size):
    shape = require.sizes(event_size, "event_size")
    if len(shape) != 1 or shape[0] < 2:
        raise ValueError(
            "A coupling moves one half of the latents by the other. Expected `event_size` to be "
            f"one integer of at least 2. Received: event_size={event_size!r}"
        )
    return shape
