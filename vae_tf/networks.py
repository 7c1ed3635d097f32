"""Bodies of encoders and decoders: plain Keras layers, ended by a distribution layer.

`z` carries a sample axis, [S, B, L], and most Keras models want exactly [B, L]: `batch_apply`
merges the leading axes before a network and restores them after it. A conditional network takes
a list, [first, *conditions]: x or z, then labels or covariates, and last the size factor of counts.
"""

import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf
import tensorflow_probability as tfp

from vae_tf._core import require
from vae_tf.layers.base import ToDistribution

tfd = tfp.distributions

__all__ = ["batch_apply", "by_kind", "conv_decoder", "conv_encoder", "mlp"]

Shape = int | tuple[int, ...]
Condition = Shape | list[Shape] | None  # the shape of one condition, or of several

# -- the networks ----------------------------------------------------------------------------------


def mlp(
    input_shape: Shape,
    output: ToDistribution,
    hidden: int | Sequence[int] = (200, 200),
    activation: Any = "tanh",
    condition: Condition = None,
    size_factor: bool = False,
    **kwargs: Any,
) -> keras.Model:
    """Dense layers that end in a distribution: an encoder or a decoder.

    Args:
        input_shape: the shape of one example or one latent; an integer or a tuple.
        output: the distribution layer at the end, such as `vt.layers.NormalDiag(2)`.
        hidden: the widths of the hidden layers; `()` gives a linear map.
        activation: of the hidden layers.
        condition: the shape of one condition, an integer or a tuple; a list of such for several.
            They join the input before the first layer.
        size_factor: whether the last input is a size factor, shape [B, 1] with an axis for each
            axis of the event, which goes to `output`; for the likelihoods of counts.
        **kwargs: of each `Dense` layer, such as `kernel_initializer` or `dtype`.

    Returns:
        A `keras.Sequential`, called on [B, *input_shape]; with a condition or a size factor a
        `keras.Model`, called on a list. Either returns a distribution, batch [B].

    Raises:
        TypeError: if `output` is no distribution layer, or takes no size factor.
        ValueError: if a size is not a positive integer.

    Example:

    >>> encoder = mlp((28, 28), vt.layers.NormalDiag(2))
    >>> encoder(np.zeros((5, 28, 28))).batch_shape
    TensorShape([5])
    >>> decoder = mlp(2, vt.layers.Poisson(8), condition=3, size_factor=True)
    >>> decoder([np.zeros((5, 2)), np.zeros((5, 3)), np.ones((5, 1))]).event_shape
    TensorShape([8])
    """
    _require_output(output, size_factor)
    shape = require.sizes(input_shape, "input_shape")
    dense = [
        keras.layers.Dense(width, activation=activation, **kwargs)
        for width in _widths(hidden, "hidden")
    ]
    flatten = [keras.layers.Flatten()] if len(shape) > 1 else []
    params = keras.layers.Dense(output.input_size, **kwargs)
    # An input of another dtype than the first layer's would be rounded on its way in.
    inputs = keras.Input(shape, dtype=params.compute_dtype)
    if condition is None and not size_factor:
        return keras.Sequential([inputs, *flatten, *dense, params, output])
    return _functional(inputs, flatten, [*dense, params], output, condition, size_factor)


def conv_encoder(
    input_shape: tuple[int, ...],
    output: ToDistribution,
    filters: int | Sequence[int] = (32, 64),
    hidden: int = 128,
    activation: Any = "relu",
    condition: Condition = None,
) -> keras.Model:
    """Strided convolutions, a dense layer, a distribution: an encoder of images.

    Args:
        input_shape: (height, width) or (height, width, channels).
        output: the distribution layer at the end.
        filters: the number of filters of each convolution; each halves height and width.
        hidden: the width of the dense layer after them.
        activation: of the hidden layers.
        condition: as for `mlp`; it joins before the dense layer.

    Returns:
        A `keras.Sequential`, called on [B, *input_shape]; with a condition a `keras.Model`, called
        on a list. Either returns a distribution, batch [B].

    Raises:
        TypeError: if `output` is no distribution layer.
        ValueError: if `input_shape` is not that of an image, or a size not a positive integer.

    Example:

    >>> encoder = conv_encoder((8, 8), vt.layers.NormalDiag(2), filters=(4,), hidden=16)
    >>> encoder(np.zeros((5, 8, 8))).batch_shape
    TensorShape([5])
    """
    _require_output(output)
    height, width, channels = _image_shape(input_shape)
    convolutions = [
        keras.layers.Conv2D(n, 3, strides=2, padding="same", activation=activation)
        for n in _widths(filters, "filters")
    ]
    inputs = keras.Input(tuple(input_shape))
    flatten = [
        keras.layers.Reshape((height, width, channels)),
        *convolutions,
        keras.layers.Flatten(),
    ]
    dense = [
        keras.layers.Dense(hidden, activation=activation),
        keras.layers.Dense(output.input_size),
    ]
    if condition is None:
        return keras.Sequential([inputs, *flatten, *dense, output])
    return _functional(inputs, flatten, dense, output, condition)


def conv_decoder(
    latent_size: int,
    output: ToDistribution,
    filters: int | Sequence[int] = (64, 32),
    hidden: int | None = 128,
    activation: Any = "relu",
    condition: Condition = None,
) -> keras.Model:
    """The mirror of `conv_encoder`: latents, a dense layer, transposed convolutions, images.

    Args:
        latent_size: L.
        output: a likelihood layer; its event shape is that of an image whose height and width
            can be halved once for each entry of `filters`. The last convolution computes the
            parameters of each pixel.
        filters: the number of filters of each transposed convolution.
        hidden: the width of the dense layer before them; None leaves it out, and one dense layer
            leads from z to the first filters, as in Keras' own example of a VAE.
        activation: of the hidden layers.
        condition: as for `mlp`; it joins z.

    Returns:
        A `keras.Sequential`, called on [B, L]; with a condition a `keras.Model`, called on a list.
        Either returns a distribution, batch [B].

    Raises:
        TypeError: if `output` is no distribution layer.
        ValueError: if height or width cannot be halved that often, if there are no filters, or a
            size is not a positive integer.

    Example:

    >>> decoder = conv_decoder(2, vt.layers.Bernoulli((8, 8)), filters=(4,), hidden=None)
    >>> decoder(np.zeros((5, 2))).event_shape
    TensorShape([8, 8])
    """
    _require_output(output)
    filters = _widths(filters, "filters")
    height, width, _ = _image_shape(output.event_shape)
    small = _small_image(output.event_shape, filters)
    convolutions = [
        keras.layers.Conv2DTranspose(n, 3, strides=2, padding="same", activation=activation)
        for n in filters
    ]
    wide = [] if hidden is None else [keras.layers.Dense(hidden, activation=activation)]
    layers = [
        *wide,
        keras.layers.Dense(math.prod(small), activation=activation),
        keras.layers.Reshape(small),
        *convolutions,
        keras.layers.Conv2D(output.input_size // (height * width), 3, padding="same"),
        *by_kind(output, (height, width)),
    ]
    inputs = keras.Input((latent_size,))
    if condition is None:
        return keras.Sequential([inputs, *layers, output])
    return _functional(inputs, [], layers, output, condition)


def by_kind(output: ToDistribution, positions: Shape) -> list[keras.Layer]:
    """Layers that bring parameters computed position by position into the order of `output`.

    A convolution gives all parameters of one pixel, then those of the next; a distribution layer
    wants all locs, then all raw scales (`ToDistribution.layout`). Between the two belongs a
    reordering, without which a Flatten alone would mix them. At each position the layer before
    gives the locs of its channels, then their raw scales; several numbers of one kind, such as the
    logits of classes, stay together.

    Args:
        output: the distribution layer at the end.
        positions: the pixels or the time steps, such as (28, 28); the event is that many times
            its channels.

    Returns:
        Three Keras layers for `[*positions, input_size / positions]`.

    Raises:
        ValueError: if the event is no multiple of the positions, if kinds differ in how many
            numbers of them a dimension has, or if parameters belong to no single dimension.

    Example:

    >>> likelihood = vt.layers.Normal((8, 8))
    >>> per_pixel = keras.layers.Conv2D(2, 3, padding="same")  # a loc and a raw scale
    >>> body = [keras.Input((8, 8, 4)), per_pixel, *by_kind(likelihood, (8, 8)), likelihood]
    >>> keras.Sequential(body)(np.zeros((5, 8, 8, 4))).event_shape
    TensorShape([8, 8])
    """
    number, layout = math.prod(require.sizes(positions, "positions")), output.layout
    if math.prod(output.event_shape) % number or len(set(layout)) != 1:
        raise ValueError(
            "Expected an event that is a multiple of the positions, and parameters with equally "
            f"many numbers of each kind. Received: positions={positions!r}, event shape "
            f"{output.event_shape}, layout {layout}"
        )
    kinds = len(layout)
    return [
        keras.layers.Reshape((number, kinds, output.input_size // (number * kinds))),
        keras.layers.Permute((2, 1, 3)),
        keras.layers.Flatten(),
    ]


# -- their parts -----------------------------------------------------------------------------------


def _functional(inputs, first, then, output, condition, size_factor=False):
    """[x, *conditions(, size factor)]: `first` acts on x alone, `then` on x and the conditions."""
    conditions = [keras.Input(shape, dtype=inputs.dtype) for shape in _shapes(condition)]
    h = _through(first, inputs)
    if conditions:
        flat = [keras.layers.Flatten()(c) if len(c.shape) > 2 else c for c in conditions]
        h = keras.layers.Concatenate()([h, *flat])
    params = _through(then, h)
    if not size_factor:
        return keras.Model([inputs, *conditions], output(params))
    size = keras.Input((1,) * len(output.event_shape), dtype=output.compute_dtype)
    return keras.Model([inputs, *conditions, size], output(params, size))


def _through(layers, h):
    for layer in layers:
        h = layer(h)
    return h


def _shapes(condition):
    """The shapes of the conditions: none, one, or a list of several."""
    parts = condition if isinstance(condition, list) else [condition]
    return [require.sizes(part, "condition") for part in parts if part is not None]


def _widths(widths, name):
    """16 is (16,); no width at all is ()."""
    empty = isinstance(widths, (tuple, list)) and not widths
    return () if empty else require.sizes(widths, name)


def _require_output(output, size_factor=False):
    if not isinstance(output, ToDistribution):
        raise TypeError(
            "Expected `output` to be a distribution layer such as vt.layers.NormalDiag(2). "
            f"Received: {output!r}"
        )
    if size_factor and "size_factor" not in inspect.signature(output.call).parameters:
        raise TypeError(
            "Expected `output` to be a layer that takes a size factor, such as "
            f"vt.layers.NegativeBinomial(8). Received: {output!r}"
        )


def _image_shape(shape):
    if not isinstance(shape, (tuple, list)) or len(shape) not in (2, 3):
        raise ValueError(
            "Expected images of shape (height, width) or (height, width, channels). "
            f"Received: {shape!r}"
        )
    return (*shape, 1) if len(shape) == 2 else tuple(shape)


def _small_image(event_shape, filters):
    """What the transposed convolutions start from: (height, width, channels)."""
    if not filters:
        raise ValueError(
            "Expected `filters` to be the number of filters of one transposed convolution or "
            "more. Received: filters=()"
        )
    height, width, _ = _image_shape(event_shape)
    factor = 2 ** len(filters)
    if height % factor or width % factor:
        raise ValueError(
            f"Expected a height and a width that are multiples of {factor}. "
            f"Received: event_shape={event_shape}"
        )
    return (height // factor, width // factor, filters[0])


# -- with any number of leading axes ---------------------------------------------------------------


def batch_apply(
    network: Callable[..., Any],
    z: tf.Tensor,
    condition: Sequence[Any] | None = None,
    event_ndims: int = 1,
    **kwargs: Any,
) -> Any:
    """Applies a network of [N, *event] to [..., *event]: [S, B, L] -> batch [S, B].

    Args:
        network: a callable that maps [N, *event] to a tensor [N, ...] or to a distribution of
            batch shape [N]; a Keras model with several inputs is called on a list, [z, *condition].
        z: a tensor with any number of leading axes.
        condition: tensors [B, ...] or [1, ...], whose first axis is that of the last leading axis
            of `z`: each is repeated for every sample. A network with fewer inputs takes the first
            ones, and a network with a single input none.
        event_ndims: how many trailing axes of `z` belong to one example.
        **kwargs: for the network, such as `training`.

    Returns:
        What the network returns, with the leading axes of `z` (and of its condition) restored.

    Raises:
        ValueError: if the network has more inputs than there are conditions for.

    Example:

    >>> decoder = mlp(3, vt.layers.Bernoulli(8), condition=4)
    >>> batch_apply(decoder, tf.zeros([7, 5, 3]), [tf.zeros([5, 4])]).batch_shape
    TensorShape([7, 5])
    """
    taken = _taken(network, condition)
    z, taken, lead, static_lead = _same_lead(tf.convert_to_tensor(z), taken, event_ndims)
    if static_lead.rank == 1:
        return network([z, *taken] if taken else z, **kwargs)
    rank = static_lead.rank
    flat = [_merge(part, rank) for part in (z, *taken)]
    output = network(flat if taken else flat[0], **kwargs)  # [S*B, ...]
    if isinstance(output, tfd.Distribution):
        return _unmerge_distribution(output, lead, static_lead)
    return _unmerge(output, lead, static_lead)


def _taken(network, condition):
    """The conditions that the network has inputs for."""
    inputs = getattr(network, "inputs", None)
    wanted = len(inputs) - 1 if isinstance(inputs, (tuple, list)) else 0
    given = () if condition is None else tuple(condition)
    if wanted > len(given):
        raise ValueError(
            f"The network takes {wanted} inputs beside the first. Expected a `condition` of at "
            f"least {wanted} parts. Received: {len(given) or 'none'}"
        )
    return [tf.convert_to_tensor(part) for part in given[:wanted]]


def _same_lead(z, conditions, event_ndims):
    """z and its conditions with the same leading axes, and these axes: [S, B]."""
    ndims = z.shape.rank - event_ndims
    lead, static_lead = tf.shape(z)[:ndims], z.shape[:ndims]
    if not conditions:
        return z, [], lead, static_lead
    for c in conditions:
        lead = tf.broadcast_dynamic_shape(lead, tf.shape(c)[:1])
        static_lead = tf.broadcast_static_shape(static_lead, c.shape[:1])

    def spread(part, own_ndims):
        event = part.shape[part.shape.rank - own_ndims :]
        tail = tf.shape(part)[part.shape.rank - own_ndims :]
        wide = tf.broadcast_to(part, tf.concat([lead, tail], axis=0))
        wide.set_shape((*static_lead, *event))
        return wide

    spread_conditions = [spread(c, c.shape.rank - 1) for c in conditions]
    return spread(z, event_ndims), spread_conditions, lead, static_lead


def _merge(tensor, rank):
    """[S, B, ...] -> [S*B, ...]"""
    flat = tf.reshape(tensor, tf.concat([[-1], tf.shape(tensor)[rank:]], axis=0))
    flat.set_shape((tensor.shape[:rank].num_elements(), *tensor.shape[rank:]))
    return flat


def _unmerge(tensor, lead, static_lead):
    """[S*B, ...] -> [S, B, ...]"""
    restored = tf.reshape(tensor, tf.concat([lead, tf.shape(tensor)[1:]], axis=0))
    restored.set_shape((*static_lead, *tensor.shape[1:]))
    return restored


class _Unmerged(tfd.BatchReshape):
    """`tfd.BatchReshape`, which alone does not broadcast data over samples."""

    def log_prob(self, value, name="log_prob", **kwargs):
        value = tf.convert_to_tensor(value, dtype_hint=self.dtype)
        own = tf.concat([self.batch_shape_tensor(), self.event_shape_tensor()], axis=0)
        wide = tf.broadcast_to(value, tf.broadcast_dynamic_shape(tf.shape(value), own))
        return super().log_prob(wide, name, **kwargs)


def _unmerge_distribution(p, lead, static_lead):
    """Batch [S*B] -> batch [S, B], the same family: its parameters are reshaped, not wrapped.

    Where that cannot be, as for a mixture of several families, it is wrapped after all.
    """
    batch = tf.concat([lead, p.batch_shape_tensor()[1:]], axis=0)
    if any(_holds_distributions(value) for value in p.parameters.values()):
        return _Unmerged(p, batch)
    ndims = {name: entry.event_ndims for name, entry in p.parameter_properties().items()}
    restored = {}
    for name, value in p.parameters.items():
        if isinstance(value, tfd.Distribution):
            restored[name] = _unmerge_distribution(value, lead, static_lead)
        elif not tf.is_tensor(value):
            continue
        elif ndims.get(name) is None:  # nobody knows which of its axes are the batch's
            return _Unmerged(p, batch)
        elif value.shape.rank - ndims[name] == p.batch_shape.rank:  # it has the leading axis
            restored[name] = _unmerge(value, lead, static_lead)
    return p.copy(**restored) if restored else _Unmerged(p, batch)


def _holds_distributions(value):
    is_list = isinstance(value, (tuple, list))
    return is_list and any(isinstance(part, tfd.Distribution) for part in value)
