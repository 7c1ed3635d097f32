"""What changes where several replicas (devices, or machines) share each batch.

Keras hands every replica a share of the batch, sums their gradients and averages what they report.
"""

from collections.abc import Callable

import tensorflow as tf

__all__ = ["apply_if", "apply_if_finite", "mean_over_batch", "number", "reported"]


def number() -> int:
    """How many replicas share a batch."""
    replica = tf.distribute.get_replica_context()
    return 1 if replica is None else replica.num_replicas_in_sync


def mean_over_batch(values: tf.Tensor) -> tf.Tensor:
    """This replica's part of the mean over the whole batch: the parts add up to it.

    A short last batch may leave the replicas unequal shares, or one of them nothing. The gradient
    weighs each example by one over the size of the whole batch. The value weighs each replica
    alike: Keras multiplies what it reports by the number of examples.

    Args:
        values: of this replica's examples, shape [b].

    Returns:
        A scalar.
    """
    if number() == 1:
        return tf.reduce_mean(values)
    replica = tf.distribute.get_replica_context()
    size = tf.cast(tf.shape(values)[0], values.dtype)  # b
    mean = tf.reduce_sum(values) / tf.maximum(size, 1)
    share = size / replica.all_reduce(tf.distribute.ReduceOp.SUM, size)
    value = tf.stop_gradient((1 / replica.num_replicas_in_sync - share) * mean)
    return share * mean + value


def apply_if_finite(loss: tf.Tensor, apply: Callable, gradients: list, undo: Callable) -> None:
    """`apply(gradients)` where the loss is finite on every replica; else the weights stay.

    Args:
        loss: this replica's, a scalar.
        apply: moves the weights.
        gradients: for it.
        undo: takes back what the pass itself has changed, such as the averages of a
            `BatchNormalization`.
    """
    if number() == 1:
        apply_if(tf.math.is_finite(loss), lambda: apply(gradients), undo)
        return
    # Replicas may not meet inside of a branch. Gradients of zero leave weights that are whole.
    replica = tf.distribute.get_replica_context()
    broken = tf.cast(~tf.math.is_finite(loss), tf.float32)
    fine = replica.all_reduce(tf.distribute.ReduceOp.SUM, broken) == 0
    apply([None if g is None else tf.where(fine, g, tf.zeros_like(g)) for g in gradients])


def apply_if(condition: tf.Tensor, change: Callable, otherwise: Callable | None = None) -> None:
    """Changes variables where the condition holds, also inside of a program."""

    def done(change):
        if change is not None:
            change()
        return tf.constant(True)

    tf.cond(condition, lambda: done(change), lambda: done(otherwise))


def reported(results: dict) -> dict:
    """Metrics of a step as Keras can average them: over several machines it wants an axis."""
    strategy = tf.distribute.get_strategy()
    if (
        isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)
        and strategy.num_replicas_in_sync > len(strategy.extended.worker_devices)  # those here
    ):
        results = {name: tf.reshape(value, [1]) for name, value in results.items()}
    return results
