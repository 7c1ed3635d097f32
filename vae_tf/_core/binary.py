"""log p(x) of binary x, in one pass over the logits: for long work that asks for no gradient.

    log p(x) = -sum_d log(1 + exp(m_d)),     m_d = (1 - 2 x_d) logit_d
             = -sum_d max(m_d, 0) - sum_i log prod_(d in group i) (1 + exp(-|m_d|))

A logarithm for each pixel of each sample is what evaluation spends most on, after the products of
the decoder. Each factor lies between 1 and 2, so that those of a group can be multiplied first:
one logarithm for eight pixels. XLA makes one loop of all this; as operations of their own they
would pass over memory eight times.
"""

from typing import Any

import tensorflow as tf
import tensorflow_probability as tfp

__all__ = ["log_prob"]

tfd = tfp.distributions
_GROUP = 8  # factors: more save little, and round more


def log_prob(p_x: tfd.Distribution, x: Any) -> tf.Tensor | None:
    """`p_x.log_prob(x)`, to rounding, or None: it is for independent Bernoullis, inside a graph.

    Args:
        p_x: batch [S, B], event [*event].
        x: zeros and ones, shape [B, *event].

    Returns:
        Shape [S, B], nats; NaN where x is.
    """
    event = p_x.event_shape
    fits = isinstance(p_x, tfd.Independent) and isinstance(p_x.distribution, tfd.Bernoulli)
    if tf.executing_eagerly() or not fits or not event.is_fully_defined():
        return None
    if event.num_elements() < _GROUP or x.shape.rank != event.rank + 1:
        return None
    logits = p_x.distribution.logits_parameter()
    batch = tf.shape(logits)[: -event.rank]
    logits = tf.reshape(logits, tf.concat([batch, [event.num_elements()]], axis=0))
    x = tf.reshape(tf.cast(x, logits.dtype), [-1, event.num_elements()])
    return tf.function(_log_prob, autograph=False, jit_compile=True)(logits, x)


def _log_prob(logits, x):
    m = (1 - 2 * x) * logits  # [S, B, D]
    whole = m.shape[-1] // _GROUP
    *parts, rest = tf.split(m, [whole] * _GROUP + [m.shape[-1] - _GROUP * whole], axis=-1)
    product = positive = None
    for part in parts:
        factor, above = 1 + tf.exp(-tf.abs(part)), tf.nn.relu(part)
        product = factor if product is None else product * factor
        positive = above if positive is None else positive + above
    total = tf.reduce_sum(tf.math.log(product) + positive, axis=-1)
    return -(total + tf.reduce_sum(tf.math.softplus(rest), axis=-1))
