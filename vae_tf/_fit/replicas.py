"""What changes where several replicas (devices, or machines) share each batch.

Keras hands every replica a share of the batch, sums their gradients and averages what they report.
"""

import contextlib
import contextvars
from collections.abc import Callable, Iterator

import tensorflow as tf

__all__ = ["apply_if", "apply_if_finite", "mean_over_batch", "number", "reported", "taken_back"]


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


def apply_if_finite(loss: tf.Tensor, apply: Callable, gradients: list, undo: Callable) -> tf.Tensor:
    """`apply(gradients)` where loss and gradients are finite on every replica; else weights stay.

    A gradient of NaN comes with a finite loss where a `tf.where` hides a branch that has none. It
    reaches the bias of every layer below, and these are short; kernels are looked at only where
    there is no bias, since that costs a tenth of a step.

    Args:
        loss: this replica's, a scalar.
        apply: moves the weights.
        gradients: for it.
        undo: takes back what the pass itself has changed, such as the averages of a
            `BatchNormalization`.

    Returns:
        The loss, NaN where the step was not taken.
    """
    fine = tf.math.is_finite(loss) & _finite(gradients)
    if _taken_back.get():
        apply(gradients)
    elif number() == 1:
        apply_if(fine, lambda: apply(gradients), undo)
    else:
        # Replicas may not meet inside of a branch. Gradients of zero leave weights that are whole.
        broken = tf.cast(~fine, tf.float32)
        fine = tf.distribute.get_replica_context().all_reduce("SUM", broken) == 0
        apply([None if g is None else tf.where(fine, g, tf.zeros_like(g)) for g in gradients])
    # A NaN that is computed: a constant one would be found by `enable_check_numerics`.
    return loss + tf.sqrt(tf.cast(fine, loss.dtype) - 1)


def _finite(gradients):
    dense = [g for g in gradients if tf.is_tensor(g)]  # neither None nor sparse
    short = [g for g in dense if g.shape.rank < 2] or dense
    sums = [tf.cast(tf.reduce_sum(g), tf.float64) for g in short]
    return tf.math.is_finite(tf.add_n(sums)) if sums else tf.constant(True)


_taken_back = contextvars.ContextVar("taken_back", default=False)


@contextlib.contextmanager
def taken_back() -> Iterator[None]:
    """Steps that are traced inside move the weights in any case: the caller can take them back.

    A branch in every step costs an XLA program a sixth of its speed.
    """
    token = _taken_back.set(True)
    try:
        yield
    finally:
        _taken_back.reset(token)


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
