"""What changes where several replicas (devices, or machines) share each batch.

Keras hands every replica a share of the batch, sums their gradients and averages what they report.
"""

import tensorflow as tf

__all__ = ["mean_over_batch", "reported"]


def mean_over_batch(values):
    """This replica's part of the mean over the whole batch: the parts add up to it.

    A short last batch may leave the replicas unequal shares, or one of them nothing. The gradient
    weighs each example by one over the size of the whole batch. The value weighs each replica
    alike: Keras multiplies what it reports by the number of examples.

    Args:
        values: of this replica's examples, shape [b].

    Returns:
        A scalar.
    """
    replica = tf.distribute.get_replica_context()
    if replica is None or replica.num_replicas_in_sync == 1:
        return tf.reduce_mean(values)
    size = tf.cast(tf.shape(values)[0], values.dtype)  # b
    mean = tf.reduce_sum(values) / tf.maximum(size, 1)
    share = size / replica.all_reduce(tf.distribute.ReduceOp.SUM, size)
    value = tf.stop_gradient((1 / replica.num_replicas_in_sync - share) * mean)
    return share * mean + value


def reported(results):
    """Metrics of a step as Keras can average them: over several machines it wants an axis."""
    strategy = tf.distribute.get_strategy()
    if (
        isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)
        and strategy.num_replicas_in_sync > len(strategy.extended.worker_devices)  # those here
    ):
        results = {name: tf.reshape(value, [1]) for name, value in results.items()}
    return results
