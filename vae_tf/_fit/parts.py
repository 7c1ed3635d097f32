"""What the parts of a VAE must be: said when it is made, and not in the middle of training."""

import math
import weakref

import keras
import tensorflow as tf
import tensorflow_probability as tfp

tfd = tfp.distributions

__all__ = [
    "claim",
    "conditions_of",
    "release",
    "require_alike",
    "require_latent_size",
    "require_trainable",
    "widest",
]


def conditions_of(encoder: keras.Model, decoder: keras.Model) -> tuple:
    """The inputs beyond the first, as KerasTensors: the longer list, which the other one begins."""
    for name, network in (("encoder", encoder), ("decoder", decoder)):
        if not isinstance(network, keras.Model) or not getattr(network, "inputs", None):
            raise TypeError(
                f"Expected `{name}` to be a Sequential or Functional keras.Model with known "
                "inputs, such as vt.networks.mlp(...); of a subclassed one make "
                "keras.Model(inputs, network(inputs)) by inputs = keras.Input(shape). "
                f"Received: {network!r}"
            )
        if any(None in one.shape[1:] for one in network.inputs):
            raise ValueError(
                f"Expected `{name}` with inputs of fixed shape: p(x|z) is a distribution over "
                "events of one shape. Received: input shapes "
                f"{[one.shape for one in network.inputs]}"
            )
    few, many = sorted((encoder.inputs[1:], decoder.inputs[1:]), key=len)
    if any(a.shape[1:] != b.shape[1:] for a, b in zip(few, many, strict=False)):
        raise ValueError(
            "Expected encoder and decoder with the same conditions in the same order. Received: "
            f"shapes {[c.shape[1:] for c in encoder.inputs[1:]]} and "
            f"{[c.shape[1:] for c in decoder.inputs[1:]]}"
        )
    return tuple(many)


def claim(part: keras.Layer, model: keras.Model, name: str) -> None:
    """Notes whose part this is: two models would share its state, and what it learns.

    Raises:
        ValueError: if it is another model's.
    """
    owner = vars(part).get("_claimed_by", lambda: None)()
    if owner is not None and owner is not model:
        raise ValueError(
            f"The state of `{name}` is that of one model's training. Expected a "
            f"{type(part).__name__} of its own. Received: one that another model has"
        )
    vars(part)["_claimed_by"] = weakref.ref(model)


def release(part: keras.Layer) -> None:
    """Another model may have it now."""
    vars(part).pop("_claimed_by", None)


def output_of(network: keras.Model, name: str) -> tfd.Distribution:
    """What the network returns for one example of ones."""
    inputs = [tf.ones([1, *one.shape[1:]], one.dtype) for one in network.inputs]
    output = network(inputs if len(inputs) > 1 else inputs[0])
    if not isinstance(output, tfd.Distribution):
        raise TypeError(
            f"Expected `{name}` to end in a distribution layer, such as "
            f"vt.layers.NormalDiag(2). Received: an output of {type(output).__name__}"
        )
    return output


def require_latent_size(encoder: keras.Model, decoder: keras.Model) -> int:
    """L, from the encoder's output; it must be what the decoder takes."""
    q_z, p_x = output_of(encoder, "encoder"), output_of(decoder, "decoder")
    if q_z.event_shape.rank != 1 or q_z.batch_shape.rank != 1:
        raise ValueError(
            "Expected an encoder that ends in event shape [L], one distribution for each example. "
            f"Received: batch shape {list(q_z.batch_shape)}, event shape {list(q_z.event_shape)} "
            "(are encoder and decoder swapped?)"
        )
    latent_size = q_z.event_shape[0]
    if decoder.inputs[0].shape[1:] != (latent_size,):
        raise ValueError(
            f"The encoder gives {latent_size} latents. Expected a decoder with input shape "
            f"({latent_size},). Received: {decoder.inputs[0].shape[1:]}"
        )
    require_trainable(q_z)
    wanted = encoder.inputs[0].shape[1:]
    if p_x.batch_shape.rank != 1:
        raise ValueError(
            "Expected a decoder that gives one likelihood for each example, whose event shape is "
            f"that of x, {wanted}: flatten the parameters and name the whole event in the last "
            f"layer. Received: one for each of {list(p_x.batch_shape[1:])} steps or pixels, event "
            f"shape {list(p_x.event_shape)}"
        )
    if tuple(p_x.event_shape) != tuple(wanted):
        raise ValueError(
            "Expected the decoder's event shape to be the encoder's input shape, "
            f"{wanted}. Received: {tuple(p_x.event_shape)}"
        )
    return latent_size


def require_trainable(q_z: tfd.Distribution) -> None:
    """A q(z|x) whose samples are functions of its parameters: without, it gets no gradient."""
    if q_z.dtype.is_floating and q_z.reparameterization_type == tfd.FULLY_REPARAMETERIZED:
        return
    raise ValueError(
        "Training differentiates through samples of q(z|x). Expected an encoder that ends in a "
        "continuous distribution with reparameterized samples, such as vt.layers.NormalDiag (of "
        "TFP's mixtures, MixtureSameFamily(..., reparameterize=True)). "
        f"Received: {q_z.name} of dtype {q_z.dtype.name}. For discrete latents use a continuous "
        "relaxation (tfd.RelaxedOneHotCategorical, tfd.RelaxedBernoulli), or a class of your own "
        "with prior, encode and decode for what needs no training, such as vt.evidence.enumeration"
    )


def require_alike(encoder: keras.Model, decoder: keras.Model) -> str:
    """The dtype that both compute densities in."""
    dtypes = [network.layers[-1].compute_dtype for network in (encoder, decoder)]
    if dtypes[0] != dtypes[1]:
        raise ValueError(
            "Expected encoder and decoder whose distributions have one dtype. Received: "
            f"{dtypes[0]} and {dtypes[1]}"
        )
    return dtypes[0]


def widest(*networks: keras.Model) -> int:
    """The largest number of values that any layer makes of one example."""
    return max(_values(layer) for network in networks for layer in _layers(network))


def _layers(network):
    """The layers inside, those of networks inside too."""
    for layer in network.layers:
        yield from _layers(layer) if isinstance(layer, keras.Model) else [layer]


def _values(layer):
    try:
        outputs = keras.tree.flatten(layer.output)
    except (AttributeError, ValueError):  # it was never called, or more than once
        outputs = []
    return max([math.prod(n or 1 for n in one.shape[1:]) for one in outputs], default=1)
