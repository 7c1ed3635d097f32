"""The support of a likelihood: which data it gives a probability to, and a refusal of the rest.

A density evaluated outside its support still returns a number, and that number means nothing:
grey pixels under a Bernoulli are the classic case. So `check` raises where it can look at the
data, and where it cannot (inside a compiled step) it turns the offending example into NaN: a
wrong number never passes for a right one.
"""

import tensorflow as tf
import tensorflow_probability as tfp

from vae_tf.layers.counts import ZeroInflated

tfd = tfp.distributions

__all__ = ["check", "describe"]


def _whole(x):
    return tf.equal(x, tf.floor(x))


def _between_0_and_1(x, _):
    return (x >= 0) & (x <= 1)


def _inside_0_and_1(x, _):
    return (x > 0) & (x < 1)


def _zero_or_one(x, _):
    return (x == 0) | (x == 1)


def _counts(x, _):
    return (x >= 0) & _whole(x)


def _category(x, p_x):
    classes = tf.cast(tf.shape(p_x.logits_parameter())[-1], x.dtype)
    return _counts(x, p_x) & (x < classes)


def _positive(x, _):
    return x > 0


_SUPPORTS = {
    tfd.Bernoulli: (_zero_or_one, "only the values 0 and 1 (binarise grey values first)"),
    tfd.ContinuousBernoulli: (_between_0_and_1, "values between 0 and 1"),
    tfd.Beta: (_inside_0_and_1, "values between 0 and 1, both excluded"),
    tfd.Categorical: (_category, "category numbers 0, 1, ..., num_classes - 1"),
    tfd.Poisson: (_counts, "whole numbers that are not negative (raw counts)"),
    tfd.NegativeBinomial: (_counts, "whole numbers that are not negative (raw counts)"),
    ZeroInflated: (_counts, "whole numbers that are not negative (raw counts)"),
    tfd.Gamma: (_positive, "positive values"),
    tfd.LogNormal: (_positive, "positive values"),
    tfd.Exponential: (_positive, "positive values"),
}


def _family(p_x):
    """The innermost distribution: what `Independent` and `BatchReshape` wrap."""
    while isinstance(p_x, (tfd.Independent, tfd.BatchReshape)):
        p_x = p_x.distribution
    return p_x


def _as_tfp_knows_it(x, family):
    """For other families: where TFP's bijector onto the support can be inverted, [B, *event]."""
    try:
        onto_support = family.experimental_default_event_space_bijector()
    except NotImplementedError:
        onto_support = tfp.bijectors.Identity()
    density = tf.math.is_finite(family.log_prob(x))
    for _ in range(family.event_shape.rank):  # one density for a vector: all its values share it
        density = density[..., None]
    inside = _whole(x) if onto_support is None else tf.math.is_finite(onto_support.inverse(x))
    inside &= density
    return tf.reduce_all(inside, axis=list(range(inside.shape.rank - x.shape.rank)))


def _rule(p_x):
    family = _family(p_x)
    for kind, rule in _SUPPORTS.items():
        if isinstance(family, kind):
            return (family, *rule)
    if isinstance(family, tfd.Normal):
        return family, lambda x, _: tf.math.is_finite(x), "finite values"
    return family, _as_tfp_knows_it, f"values in the support of {family.name}"


def describe(p_x):
    """In words, the values that the likelihood `p_x` accepts."""
    return _rule(p_x)[2]


def check(p_x, x, name="x"):
    """Returns `x` if it lies in the support of `p_x`, and refuses it otherwise.

    Args:
        p_x: the likelihood, a `tfd.Distribution` with event shape [*event].
        x: data, shape [B, *event].
        name: what the error calls the data.

    Returns:
        `x`, of the dtype of `p_x`. In a graph, values outside the support are NaN.

    Raises:
        ValueError: if the shape of an example is not `p_x.event_shape`, or (eagerly) if a value
            is outside the support, NaN or infinite.
    """
    x = tf.convert_to_tensor(x)
    x = x if x.dtype == p_x.dtype else tf.cast(x, p_x.dtype)
    event = p_x.event_shape
    if x.shape.rank != event.rank + 1 or not x.shape[1:].is_compatible_with(event):
        wrap = "" if event.rank else " (tfd.Independent makes independent dimensions one event)"
        raise ValueError(
            f"Expected `{name}` of shape {['B', *event]} for the likelihood "
            f"{_family(p_x).name}{wrap}. Received: shape {list(x.shape)}"
        )
    family, inside, words = _rule(p_x)
    ok = tf.math.is_finite(x) & inside(x, family)
    if not tf.executing_eagerly():
        return tf.where(ok, x, tf.constant(float("nan"), x.dtype))
    if not tf.reduce_all(ok):
        first = tf.boolean_mask(x, ~ok)[0]
        raise ValueError(
            f"The likelihood {_family(p_x).name} has another support. "
            f"Expected `{name}` with {words}. Received: the value {first.numpy():g} "
            f"(and {int(tf.reduce_sum(tf.cast(~ok, tf.int64))) - 1} more outside the support)"
        )
    return x
