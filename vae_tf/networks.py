"""Bodies of encoders and decoders: plain Keras layers, ended by a distribution layer.

`z` carries a sample axis, [S, B, L], and most Keras models want exactly [B, L]: `batch_apply`
merges the leading axes before a network and restores them after it.
"""

import math

import keras
import tensorflow as tf
import tensorflow_probability as tfp

from vae_tf.layers.base import ToDistribution

tfd = tfp.distributions

__all__ = ["batch_apply", "conv_decoder", "conv_encoder", "mlp"]


def _require_output(output):
    if not isinstance(output, ToDistribution):
        raise TypeError(
            "Expected `output` to be a distribution layer such as vt.layers.NormalDiag(2). "
            f"Received: {output!r}"
        )


def mlp(input_shape, output, hidden=(200, 200), activation="tanh", **kwargs):
    """Dense layers that end in a distribution: an encoder or a decoder.

    Args:
        input_shape: the shape of one example or one latent; an integer or a tuple.
        output: the distribution layer at the end, such as `vt.layers.NormalDiag(2)`.
        hidden: the widths of the hidden layers; `()` gives a linear map.
        activation: of the hidden layers.
        **kwargs: of each `Dense` layer, such as `kernel_initializer` or `dtype`.

    Returns:
        A `keras.Sequential`; called on [B, *input_shape] it returns a distribution, batch [B].

    Example:

    >>> encoder = mlp((28, 28), vae_tf.layers.NormalDiag(2))
    >>> encoder(x)  # a distribution with batch shape [B] and event shape [2]
    """
    _require_output(output)
    shape = input_shape if isinstance(input_shape, (tuple, list)) else (input_shape,)
    dense = [keras.layers.Dense(width, activation=activation, **kwargs) for width in hidden]
    flatten = [keras.layers.Flatten()] if len(shape) > 1 else []
    params = keras.layers.Dense(output.input_size, **kwargs)
    # An input of another dtype than the first layer's would be rounded on its way in.
    inputs = keras.Input(tuple(shape), dtype=params.compute_dtype)
    return keras.Sequential([inputs, *flatten, *dense, params, output])


def conv_encoder(input_shape, output, filters=(32, 64), hidden=128, activation="relu"):
    """Strided convolutions, a dense layer, a distribution: an encoder of images.

    Args:
        input_shape: (height, width) or (height, width, channels).
        output: the distribution layer at the end.
        filters: the number of filters of each convolution; each halves height and width.
        hidden: the width of the dense layer after them.
        activation: of the hidden layers.
    """
    _require_output(output)
    height, width, channels = _image_shape(input_shape)
    convolutions = [
        keras.layers.Conv2D(n, 3, strides=2, padding="same", activation=activation) for n in filters
    ]
    return keras.Sequential(
        [
            keras.Input(tuple(input_shape)),
            keras.layers.Reshape((height, width, channels)),
            *convolutions,
            keras.layers.Flatten(),
            keras.layers.Dense(hidden, activation=activation),
            keras.layers.Dense(output.input_size),
            output,
        ]
    )


def conv_decoder(latent_size, output, filters=(64, 32), hidden=128, activation="relu"):
    """The mirror of `conv_encoder`: latents, a dense layer, transposed convolutions, images.

    Args:
        latent_size: L.
        output: a likelihood layer; its event shape is that of an image whose height and width
            can be halved once for each entry of `filters`.
        filters: the number of filters of each transposed convolution.
        hidden: the width of the dense layer before them.
        activation: of the hidden layers.

    Raises:
        ValueError: if height or width cannot be halved that often.
    """
    _require_output(output)
    height, width, channels = _image_shape(output.event_shape)
    factor = 2 ** len(filters)
    if height % factor or width % factor:
        raise ValueError(
            f"Expected a height and a width that are multiples of {factor}. "
            f"Received: event_shape={output.event_shape}"
        )
    small = (height // factor, width // factor, filters[0])
    convolutions = [
        keras.layers.Conv2DTranspose(n, 3, strides=2, padding="same", activation=activation)
        for n in filters
    ]
    per_pixel = output.input_size // (height * width)
    return keras.Sequential(
        [
            keras.Input((latent_size,)),
            keras.layers.Dense(hidden, activation=activation),
            keras.layers.Dense(math.prod(small), activation=activation),
            keras.layers.Reshape(small),
            *convolutions,
            keras.layers.Conv2D(per_pixel, 3, padding="same"),
            # The parameters of one kind stay together, as `ToDistribution` expects them.
            keras.layers.Reshape((height * width, per_pixel // channels, channels)),
            keras.layers.Permute((2, 1, 3)),
            keras.layers.Flatten(),
            output,
        ]
    )


def _image_shape(shape):
    if len(shape) not in (2, 3):
        raise ValueError(
            "Expected images of shape (height, width) or (height, width, channels). "
            f"Received: {tuple(shape)}"
        )
    return (*shape, 1) if len(shape) == 2 else tuple(shape)


def batch_apply(network, z, event_ndims=1, **kwargs):
    """Applies a network of [N, *event] to [..., *event]: [S, B, L] -> batch [S, B].

    Args:
        network: a callable that maps [N, *event] to a tensor [N, ...] or to a distribution of
            batch shape [N].
        z: a tensor with any number of leading axes.
        event_ndims: how many trailing axes of `z` belong to one example.
        **kwargs: for the network, such as `training`.

    Returns:
        What the network returns, with the leading axes of `z` restored.
    """
    lead = tf.shape(z)[: z.shape.rank - event_ndims]
    static_lead = z.shape[: z.shape.rank - event_ndims]
    if static_lead.rank == 1:
        return network(z, **kwargs)
    flat = tf.reshape(z, tf.concat([[-1], tf.shape(z)[z.shape.rank - event_ndims :]], axis=0))
    flat.set_shape((static_lead.num_elements(), *z.shape[z.shape.rank - event_ndims :]))
    output = network(flat, **kwargs)  # [S*B, ...]
    if isinstance(output, tfd.Distribution):
        return _unmerge_distribution(output, lead, static_lead)
    return _unmerge(output, lead, static_lead)


def _unmerge(tensor, lead, static_lead):
    """[S*B, ...] -> [S, B, ...]"""
    restored = tf.reshape(tensor, tf.concat([lead, tf.shape(tensor)[1:]], axis=0))
    restored.set_shape((*static_lead, *tensor.shape[1:]))
    return restored


def _unmerge_distribution(p, lead, static_lead):
    """Batch [S*B] -> batch [S, B], the same family: its parameters are reshaped, not wrapped.

    `tfd.BatchReshape` would do for any distribution, but does not broadcast data over samples.
    """
    parameters = {
        name: value
        for name, value in p.parameters.items()
        if tf.is_tensor(value) or isinstance(value, tfd.Distribution)
    }
    ndims = {name: entry.event_ndims for name, entry in p.parameter_properties().items()}
    restored = {}
    for name, value in parameters.items():
        if isinstance(value, tfd.Distribution):
            restored[name] = _unmerge_distribution(value, lead, static_lead)
        elif value.shape.rank - ndims[name] == p.batch_shape.rank:  # it has the leading axis
            restored[name] = _unmerge(value, lead, static_lead)
    if not restored:
        return tfd.BatchReshape(p, lead)
    return p.copy(**restored)
