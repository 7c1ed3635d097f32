"""Seeds and noise. The same seed gives the same numbers: eagerly, in a graph and under XLA.

TensorFlow's own `stateless_normal` does not: XLA fills in its numbers in another order. But the
integers of the counter-based generator below it, Philox (Salmon et al. 2011), are the same
everywhere. So uniform and normal numbers are made of these integers, here, and nowhere else in the
package. Eagerly they equal those of `stateless_normal` and `stateless_uniform`, to rounding.
"""

import contextlib
import contextvars
import math
import numbers
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

__all__ = ["as_seed", "bits", "fold_in", "normal", "split", "uniform"]

Seed = Any  # an integer, a keras.random.SeedGenerator, an int32 tensor of shape [2], or None


def as_seed(seed: Seed) -> tf.Tensor:
    """A stateless TFP seed: the same seed gives the same numbers, wherever it is used.

    TFP samplers want int32 pairs; `keras.random.SeedGenerator.next()` is an int64 pair, and a
    bare Python integer would be mixed with TensorFlow's global state. All of them pass here.

    Args:
        seed: an integer, a `keras.random.SeedGenerator` (which moves on), a seed tensor of shape
            [2], or None for a fresh seed that is different every time.

    Returns:
        A seed, int32, shape [2].

    Raises:
        TypeError: if `seed` is none of these.

    Example:

    >>> as_seed(7).numpy().tolist()
    [0, 7]
    """
    if seed is None:  # new numbers each time
        return tfp.random.sanitize_seed(None)
    if isinstance(seed, keras.random.SeedGenerator):
        return _of_replica(tf.cast(seed.next(), tf.int32))
    if isinstance(seed, numbers.Integral) and not isinstance(seed, bool):
        # Two 32-bit halves of the integer, so that no two 64-bit seeds coincide.
        halves = divmod(int(seed) % 2**64, 2**32)
        return tf.constant([half - 2**32 * (half >= 2**31) for half in halves], tf.int32)
    if tf.is_tensor(seed) and seed.shape == [2]:
        return tf.cast(seed, tf.int32)
    raise TypeError(f"Expected `seed` to be an integer or None. Received: seed={seed!r}")


def _of_replica(seed):
    """Replicas hold the same state of a generator: each makes a seed of its own from it."""
    replica = tf.distribute.get_replica_context()
    if replica is None or replica.num_replicas_in_sync == 1:
        return seed
    return fold_in(seed, tf.cast(replica.replica_id_in_sync_group, tf.int32))


class SavesSeed:
    """For a Keras layer with a `seed_generator`, or None: loaded, it goes on where it stood."""

    seed_generator: Any

    def save_own_variables(self, store: Any) -> None:
        super().save_own_variables(store)  # type: ignore[misc]
        if self.seed_generator is not None:  # Keras leaves it out
            store["seed_generator"] = np.array(self.seed_generator.state)

    def load_own_variables(self, store: Any) -> None:
        store = {key: store[key] for key in store.keys()}
        seed = store.pop("seed_generator", None)
        if seed is not None:
            self.seed_generator.state.assign(seed)
        super().load_own_variables(store)  # type: ignore[misc]


def fold_in(seed: tf.Tensor, number: Any) -> tf.Tensor:
    """A seed of its own for each number, int32, shape [2].

    Example:

    >>> fold_in(as_seed(7), 1).shape
    TensorShape([2])
    """
    return tf.random.experimental.stateless_fold_in(seed, number, alg="philox")


def split(seed: Seed, count: int) -> list[tf.Tensor]:
    """`count` independent seeds from one, each int32, shape [2].

    Example:

    >>> [part.shape for part in split(7, 2)]
    [TensorShape([2]), TensorShape([2])]
    """
    return tf.unstack(tf.bitcast(bits([count, 2], seed), tf.int32))


def uniform(shape: Any, seed: Seed, dtype: Any = "float32") -> tf.Tensor:
    """Numbers u in [0, 1), so that P(u < p) = p up to 2^-23 (2^-52 for float64).

    Args:
        shape: of the result.
        seed: as for `as_seed`.
        dtype: of the result; all but float64 are rounded from float32.

    Example:

    >>> uniform([2, 3], seed=0).shape
    TensorShape([2, 3])
    """
    dtype = tf.as_dtype(dtype)
    if dtype == tf.float64:
        words = bits(tf.concat([shape, [2]], axis=0), seed)
        return _fraction64(words[..., 0], words[..., 1])
    return tf.cast(_fraction(bits(shape, seed)), dtype)


def normal(shape: Any, seed: Seed, dtype: Any = "float32") -> tf.Tensor:
    """Draws of N(0, 1): r sin(v) and r cos(v), r^2 = -2 log u, v = 2 pi u' (Box, Muller 1958).

    Args:
        shape: of the result.
        seed: as for `as_seed`.
        dtype: of the result; all but float64 are rounded from float32.

    Example:

    >>> normal([2, 3], seed=0).shape
    TensorShape([2, 3])
    """
    dtype = tf.as_dtype(dtype)
    size = _size(shape)
    of_one_pair = _pairs64 if dtype == tf.float64 else _pairs
    radius, sine, cosine = of_one_pair(size, as_seed(seed))
    if _written_out.get():  # each number has a copy of its pair
        odd = tf.bitwise.bitwise_and(tf.range(size), 1) == 1
        flat = radius * tf.where(odd, cosine, sine)
    else:
        flat = tf.reshape(radius[:, None] * tf.stack([sine, cosine], axis=1), [-1])[:size]
    return tf.cast(tf.reshape(flat, shape), dtype)


def bits(shape: Any, seed: Seed) -> tf.Tensor:
    """Random integers, uint32, over the full range; the same in every mode, to the bit.

    Example:

    >>> bits([4], seed=0).dtype
    tf.uint32
    """
    seed = as_seed(seed)
    if not _written_out.get():
        return tf.random.stateless_uniform(
            shape, seed, minval=None, maxval=None, dtype=tf.uint32, alg="philox"
        )
    index = tf.range(_size(shape))
    words = _philox(tf.bitwise.right_shift(index, 2), seed)
    lane = tf.bitwise.bitwise_and(index, 3)
    first, second = (tf.where(lane % 2 == 0, *words[i : i + 2]) for i in (0, 2))
    return tf.reshape(tf.where(lane < 2, first, second), shape)


def _size(shape):
    static = tf.get_static_value(shape)
    return tf.reduce_prod(shape) if static is None else math.prod(int(n) for n in static)


def _pairs(size, seed):
    """Radius, sine and cosine for each pair, [size / 2]; written out, a copy for each number."""
    if _written_out.get():
        index = tf.range(size)
        words = _philox(tf.bitwise.right_shift(index, 2), seed)
        second = tf.bitwise.bitwise_and(index, 2) > 0
        words = [tf.where(second, words[i + 2], words[i]) for i in (0, 1)]
    else:
        words = tf.unstack(tf.reshape(bits([(size + 1) // 2 * 2], seed), [-1, 2]), axis=1)
    u, v = map(_fraction, words)
    return _polar(u, v)


def _pairs64(size, seed):
    """Likewise in float64, where every fraction takes two words."""
    words = tf.unstack(tf.reshape(bits([(size + 1) // 2 * 4], seed), [-1, 4]), axis=1)
    parts = _polar(_fraction64(*words[:2]), _fraction64(*words[2:]))
    return [tf.repeat(part, 2)[:size] for part in parts] if _written_out.get() else parts


def _polar(u, v):
    radius = tf.sqrt(-2 * tf.math.log(tf.maximum(u, tf.constant(1e-7, u.dtype))))
    angle = tf.constant(2 * math.pi, v.dtype) * v
    return radius, tf.sin(angle), tf.cos(angle)


def _fraction(word):
    """The lowest 23 bits as a number in [0, 1)."""
    lowest = tf.bitwise.bitwise_and(word, tf.constant(2**23 - 1, tf.uint32))
    return tf.cast(tf.cast(lowest, tf.int32), tf.float32) * 2.0**-23


def _fraction64(high, low):
    """20 bits of one word and all 32 of another as a number in [0, 1)."""
    high = tf.bitwise.bitwise_and(high, tf.constant(2**20 - 1, tf.uint32))
    whole = tf.cast(high, tf.float64) * 2.0**32 + tf.cast(low, tf.float64)
    return whole * 2.0**-52


# -- the generator written out ---------------------------------------------------------------

_written_out = contextvars.ContextVar("written_out", default=False)


@contextlib.contextmanager
def written_out(flag=True):
    """What is traced inside makes the integers by plain operations, and the same ones.

    On a CPU, XLA's own Philox is slow: 6,400 normals take 0.19 ms where these operations, which it
    fuses, take 0.08. Everywhere else TensorFlow's kernel is faster. No number depends on it.
    """
    token = _written_out.set(flag)
    try:
        yield
    finally:
        _written_out.reset(token)


def _philox(group, seed):
    """Philox4x32-10: the four words of each group of numbers, uint32, each of the shape of group.

    Key and counter are those of TensorFlow's stateless random numbers: the four words that one
    round of the generator makes of the seed.
    """
    sign = tf.bitcast(tf.bitwise.right_shift(seed, 31), tf.uint32)  # of a 64-bit seed
    low = tf.bitcast(seed, tf.uint32)
    scramble = tf.constant(0x3EC8F720, tf.uint32), tf.constant(0x02461E29, tf.uint32)
    start = (low[0], sign[0], low[1], sign[1])
    # As a loop, because XLA would do a scalar's work again for each number of the vector.
    key_0, key_1, *counter = tf.while_loop(
        lambda i, *_: i < 10,
        lambda i, words, key: (i + 1, _round(words, key), _next_key(key)),
        (0, start, scramble),
    )[1]
    words = [tf.cast(group, tf.uint32), tf.zeros_like(group, tf.uint32)]
    words += [tf.fill(tf.shape(group), word) for word in counter]
    key = key_0, key_1
    for _ in range(10):
        words, key = _round(words, key), _next_key(key)
    return words


def _round(words, key):
    high_0, low_0 = _product(words[0], 0xD2511F53)
    high_1, low_1 = _product(words[2], 0xCD9E8D57)
    xor = tf.bitwise.bitwise_xor
    return xor(xor(high_1, words[1]), key[0]), low_1, xor(xor(high_0, words[3]), key[1]), low_0


def _next_key(key):
    steps = 0x9E3779B9, 0xBB67AE85
    return tuple(k + tf.constant(step, tf.uint32) for k, step in zip(key, steps, strict=True))


def _product(word, factor):
    """The high and the low half of a product of 64 bits."""
    product = tf.cast(word, tf.uint64) * tf.constant(factor, tf.uint64)
    high = tf.bitwise.right_shift(product, tf.constant(32, tf.uint64))
    return tf.cast(high, tf.uint32), tf.cast(product, tf.uint32)
