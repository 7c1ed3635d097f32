"""Seeds. The one place where a seed of Keras or of Python becomes a seed of TFP."""

import numbers

import keras
import tensorflow as tf
import tensorflow_probability as tfp

__all__ = ["as_seed", "split"]


def as_seed(seed):
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
    number = tf.cast(replica.replica_id_in_sync_group, tf.int32)
    return tf.random.experimental.stateless_fold_in(seed, number)


def split(seed, count):
    """`count` independent seeds from one, int32, shape [count, 2]."""
    return tfp.random.split_seed(as_seed(seed), n=count)
