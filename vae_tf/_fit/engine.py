"""Many steps in one program: how `fit` and `evaluate` run through arrays. A reader can skip it.

A small VAE's step takes a few milliseconds, and Keras' own way from one step to the next (a data
pipeline, a call, callbacks) as long again. Here the arrays lie on the device, and one program
gathers whole batches and takes many steps of the model's own `train_step` or `test_step`. Where
binary pixels are wanted, those of an epoch are drawn before it. What a step computes stays the
same, and the loop over epochs, its callbacks, progress bar and validation are Keras'; the order of
an array is drawn from the model's own seed.

How it fits into Keras: `fit` calls `model.train_function(iterator)` once for a number of steps.
That function is a `Program` here, and the iterator delivers tickets: pairs of (which data, which
turn). Whatever is no ticket goes to Keras' own function.
"""

import contextlib
import functools
import itertools
import math
import warnings
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from vae_tf._core import random, require
from vae_tf._core.programs import suits_xla
from vae_tf._fit import replicas
from vae_tf._fit.feed import packed
from vae_tf.data import Batches

__all__ = ["Arrays", "Program", "epochs_of", "shuffled"]

_LARGEST = 2**31  # bytes: larger data stay with Keras' own pipeline
_LONG = 2000  # steps: a training of at least so many wins back what compiling costs
_FEWEST, _TURNS = 100, 10  # steps of a turn at least; turns of an epoch at most, for the callbacks
_TICKET = tf.TensorSpec([2], tf.int64)
_TRAIN_HOOKS = ("on_batch_begin", "on_batch_end", "on_train_batch_begin", "on_train_batch_end")
_TEST_HOOKS = ("on_test_batch_begin", "on_test_batch_end")
# Keras' callbacks that do without single batches: always, or while this argument is "epoch"
_BY_EPOCH = {
    keras.callbacks.ProgbarLogger: None,
    keras.callbacks.ModelCheckpoint: "save_freq",
    keras.callbacks.BackupAndRestore: "save_freq",
    keras.callbacks.TensorBoard: "update_freq",
}


class Resident:
    """Arrays on the device, x first, and the order in which an epoch takes their rows."""

    def __init__(self, arrays, batch_size, epoch, num_epochs=0, binarize=False):
        self.arrays = self._given = tuple(_tensor(array) for array in arrays)
        self.size, self.batch_size, self.binarize = len(arrays[0]), batch_size, binarize
        self._epoch = epoch  # gives the order of the rows, [N], and a seed for drawing pixels
        self.num_steps = math.ceil(self.size / batch_size)
        self.steps_of_a_turn = self.wanted_steps = 1
        self.is_long = self.num_steps * num_epochs >= _LONG

    def start_epoch(self):
        self.rows, seed = (tf.constant(part, tf.int32) for part in self._epoch())
        if self.binarize:
            x, *others = self._given
            self.arrays = (_drawn(x, self.rows, seed, self.batch_size), *others)

    def parts(self, start, stop):
        """The steps from `start` to `stop`, and those on a short last batch by themselves."""
        whole = self.size // self.batch_size
        for first, last in ((start, min(stop, whole)), (max(start, whole), stop)):
            if first < last:
                yield first, last


@functools.partial(tf.function, autograph=False, reduce_retracing=True)
def _drawn(x, rows, seed, batch_size):
    """The binary pixels of an epoch, uint8, those that `Batches` draws for its batches.

    In the program of the steps XLA would draw them again for every use of a batch, and with it
    an epoch of MNIST takes a third as long again.
    """

    def draw(i):
        batch = tf.gather(x, rows[i * batch_size : (i + 1) * batch_size])
        return tf.reshape(tf.cast(Batches.draw(batch, seed, i), tf.uint8), [-1])

    # One program for data of every rank, so the pixels lie in a row; the last batch may be short.
    steps = -(-tf.size(rows) // batch_size)
    drawn = tf.TensorArray(tf.uint8, steps, infer_shape=False, element_shape=[None])
    _, drawn = tf.while_loop(
        lambda i, _: i < steps, lambda i, drawn: (i + 1, drawn.write(i, draw(i))), (0, drawn)
    )
    x = tf.reshape(drawn.concat(), tf.shape(x))
    return tf.gather(x, tf.math.invert_permutation(rows))


def _tensor(x):
    """On the device; floats as Keras would feed them."""
    x = tf.convert_to_tensor(x)
    return tf.cast(x, keras.config.floatx()) if x.dtype.is_floating else x


class Program:
    """Keras' `train_function` or `test_function`, which runs many steps when it gets a ticket.

    Args:
        model: a `vt.VAE`.
        residents: {number: `Resident`}, the model's own.
        step: its `train_step` or `test_step`.
        make: makes Keras' function, for everything that is no ticket.
        training: whether the steps change weights.
    """

    def __init__(self, model, residents, step, make, training):
        self._model, self._residents, self._step, self._make = model, residents, step, make
        self._training = training
        self._traced_for = None
        self._may_use_xla = True

    def __call__(self, iterator):
        self._forget_what_changed()
        if getattr(iterator, "element_spec", None) == _TICKET:
            logs = self._take_a_turn(*next(iterator).numpy().tolist())
        else:
            logs = self._keras_function(iterator)
        if self._training:
            self._model.require_finite(logs)
        return logs

    def _forget_what_changed(self):
        """A compiled step holds the objective of when it was traced, all but its numbers."""
        objective = self._model.objective
        now = id(objective), objective.version
        if now != self._traced_for:
            self._traced_for, self._programs, self._keras_function = now, {}, self._make()

    def _take_a_turn(self, number, turn):
        resident = self._residents[number]
        count = resident.steps_of_a_turn
        if turn == 0:
            resident.start_epoch()
        logs = self._model.get_metrics_result()  # of a turn beyond the last
        last = min((turn + 1) * count, resident.num_steps)
        for start, stop in resident.parts(turn * count, last):
            logs, reached, fine, before = self._run(resident, start, stop)
            if self._training and not fine:
                self._take_back(resident, start, int(reached) - 1, before)
                break
        return logs

    def _take_back(self, resident, start, stop, before):
        """The state before the step `stop`: that of the start, and the steps until there."""
        for variable, value in zip(self._variables(), before, strict=True):
            variable.assign(value)
        if start < stop:
            self._run(resident, start, stop)

    def _variables(self):
        """What a training step changes."""
        model = self._model
        return [*model.variables, *model.metrics_variables, *model.optimizer.variables]

    def _run(self, resident, start, stop):
        whole = stop * resident.batch_size <= resident.size
        steps = (tf.constant(start), tf.constant(stop))
        arguments = (resident.arrays, resident.rows, *steps)
        try:
            return self._program(resident, whole)(*arguments)
        except (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError) as error:
            reason = str(error).splitlines()[0]
            if not self._may_use_xla or "compile" not in reason:
                raise
        # A program that cannot be compiled has not run either: nothing has changed.
        warnings.warn(f"XLA cannot compile this model, so it runs without: {reason}", stacklevel=2)
        self._may_use_xla, self._programs = False, {}
        return self._program(resident, whole)(*arguments)

    def _program(self, resident, whole):
        """The program for these data, traced once."""
        if self._training and not self._model.optimizer.built:  # a loop cannot make variables
            self._model.optimizer.build(self._model.trainable_variables)
        if self._model.run_eagerly or tf.config.functions_run_eagerly():
            return self._steps(resident)
        dtypes = tuple(array.dtype for array in resident.arrays)
        key = (resident.batch_size, dtypes)
        # XLA wants batches of one size, and a short last one is not worth another compilation.
        xla = (
            self._may_use_xla
            and whole
            and (
                self._model.jit_compile
                or self._model.jit_choice == "auto"
                and suits_xla(self._model)
                and (resident.is_long or (*key, True) in self._programs)
            )
        )
        if (*key, xla) not in self._programs:
            self._programs[(*key, xla)] = self._traced(resident, xla)
        return self._programs[(*key, xla)]

    def _traced(self, resident, xla):
        scalar, vector = (tf.TensorSpec(shape, tf.int32) for shape in ([], [None]))
        arrays = tuple(tf.TensorSpec([None, *a.shape[1:]], a.dtype) for a in resident.arrays)
        steps = tf.function(self._steps(resident, xla), autograph=False, jit_compile=xla)
        with random.written_out(xla and not tf.config.list_physical_devices("GPU")):
            return steps.get_concrete_function(arrays, vector, scalar, scalar)

    def _steps(self, resident, one_size=False):
        """The steps from `start` to `stop`, until one whose loss is not finite.

        They return the metrics, where they stopped, whether all losses were finite, and what the
        variables were before.
        """
        batch_size = resident.batch_size

        def steps(arrays, rows, start, stop):
            before = [tf.identity(v) for v in self._variables()] if self._training else []

            def one_step(i, _):
                first = i * batch_size
                size = batch_size if one_size else tf.minimum(batch_size, tf.size(rows) - first)
                batch = tf.slice(rows, [first], [size])
                parts = tuple(tf.gather(array, batch) for array in arrays)
                with replicas.taken_back():
                    logs = self._step((packed(parts),))
                return i + 1, tf.math.is_finite(logs["loss"])

            # One at a time: the next step must see the weights that this one leaves.
            reached, fine = tf.while_loop(
                lambda i, fine: (i < stop) & fine,
                one_step,
                (start, tf.constant(True)),
                parallel_iterations=1,
            )
            return self._model.get_metrics_result(), reached, fine, before

        return steps


class Arrays:
    """What `fit` and `evaluate` hand to Keras: tickets in place of arrays, for as long as they run.

    ```python
    with arrays.lent():
        x, arguments = arrays.for_fit(x, arguments)
        keras.Model.fit(model, x, **arguments)
    ```
    """

    def __init__(self, model: Any, base: type) -> None:
        self._model, self._base, self._count = model, base, itertools.count()
        self.residents: dict[int, Resident] = {}

    @contextlib.contextmanager
    def lent(self):
        """Lets go of what was taken inside."""
        before = set(self.residents)
        try:
            yield
        finally:
            for number in self.residents.keys() - before:
                del self.residents[number]

    def for_fit(self, x: Any, arguments: dict) -> tuple[Any, dict]:
        """x and the keyword arguments of `fit`, with tickets for all arrays that suit."""
        arguments, callbacks = dict(arguments), arguments.get("callbacks")
        size, epochs = _size_of_batch(arguments.get("batch_size")), arguments.get("epochs", 1)
        if arguments.get("validation_split") and isinstance(x, tuple):
            cut = math.floor(len(x[0]) * (1 - arguments["validation_split"]))
            if arguments.get("validation_data") is not None or not 0 < cut < len(x[0]):
                return packed(x), arguments  # it is for Keras to say what is wrong
            del arguments["validation_split"]
            x, arguments["validation_data"] = ([part[s] for part in x] for s in _cut(cut))
            x, arguments["validation_data"] = tuple(x), tuple(arguments["validation_data"])
        self._validation(arguments, size, callbacks)
        shuffle = arguments.get("shuffle", True)
        if type(x) is Batches and not shuffle:  # it shuffles itself
            arrays, size, epoch = (x.x, *(x.condition or ())), x.batch_size, epochs_of(x)
        elif isinstance(x, tuple):
            arrays = x
            epoch = shuffled(x[0], self._model.seed_generator) if shuffle else _in_order(x[0])
        else:
            return x, arguments
        if shuffle not in (True, False):
            return packed(arrays), arguments
        if not self._suits(arrays, "train_step", arguments, ("steps_per_epoch",)):
            return (x if type(x) is Batches else packed(arrays)), arguments
        resident = Resident(arrays, size, epoch, epochs, getattr(x, "binarize", False))
        tickets = self._tickets(resident, callbacks, _TRAIN_HOOKS)
        return tickets, {**arguments, "batch_size": None, "shuffle": False}

    def _validation(self, arguments, size, callbacks):
        """Tickets for the validation data, if they suit."""
        arrays = arguments.get("validation_data")
        if not isinstance(arrays, tuple):
            return
        if self._suits(arrays, "test_step", arguments, ("validation_steps",)):
            own_size = arguments.pop("validation_batch_size", None) or size
            resident = Resident(arrays, own_size, _in_order(arrays[0]))
            arguments["validation_data"] = self._tickets(resident, callbacks, _TEST_HOOKS)
        else:
            arguments["validation_data"] = (packed(arrays),)

    def for_evaluate(self, x: Any, arguments: dict) -> tuple[Any, dict]:
        """x and the keyword arguments of `evaluate`."""
        if not isinstance(x, tuple) or not self._suits(x, "test_step", arguments, ("steps",)):
            return (packed(x) if isinstance(x, tuple) else x), arguments
        resident = Resident(x, _size_of_batch(arguments.get("batch_size")), _in_order(x[0]))
        tickets = self._tickets(resident, arguments.get("callbacks"), _TEST_HOOKS)
        return tickets, {**arguments, "batch_size": None}

    def _suits(self, arrays, step, arguments, names):
        """Whether nothing is asked for that only Keras' own data pipeline can do."""
        default = tf.distribute.get_strategy()
        return (
            0 < sum(map(_bytes, arrays)) <= _LARGEST
            and all(arguments.get(name) is None for name in names)
            and keras.config.max_steps_per_epoch() is None
            and getattr(type(self._model), step) is getattr(self._base, step)
            and not tf.distribute.has_strategy()
            and self._model.distribute_strategy is default
        )

    def _tickets(self, resident, callbacks, hooks):
        """A `tf.data.Dataset` with one ticket for each step; a turn takes one of them."""
        resident.wanted_steps = self._steps_of_a_turn(resident.num_steps, callbacks, hooks)
        number = next(self._count)
        self.residents[number] = resident
        turns = np.arange(resident.num_steps)
        tickets = np.stack([np.full_like(turns, number), turns], axis=1)
        options = tf.data.Options()
        options.autotune.enabled = False  # it would take ten times as long as the tickets
        tickets = tf.data.Dataset.from_tensor_slices(tickets).with_options(options)
        tickets.resident = resident
        return tickets

    def _steps_of_a_turn(self, num_steps, callbacks, hooks):
        """What `compile` was told, or as many as suit the callbacks."""
        if self._model.steps_per_execution != 1 or _looks_at_batches(callbacks, hooks):
            return self._model.steps_per_execution
        return math.ceil(num_steps / min(_TURNS, math.ceil(num_steps / _FEWEST)))


def _cut(at):
    return slice(None, at), slice(at, None)


def _size_of_batch(batch_size):
    return 32 if batch_size is None else require.count(batch_size, "batch_size")


def _bytes(x):
    return math.prod(x.shape) * tf.as_dtype(x.dtype).size


def _in_order(x):
    """An epoch as `Resident` asks for it: the order of the rows, and a seed (unused)."""
    return lambda: (np.arange(len(x)), (0, 0))


def shuffled(x, seed_generator):
    """Likewise: a new order for each epoch."""

    def epoch():
        seed = random.as_seed(seed_generator).numpy().astype(np.uint32)
        return np.random.default_rng(seed).permutation(len(x)), (0, 0)

    return epoch


def epochs_of(batches):
    """Likewise: the order of `Batches`, and the seed of their pixels."""

    def epoch():
        batches.on_epoch_end()  # Keras' way would have called it too, before the first epoch
        return batches.order, batches.draw_seed

    return epoch


def _looks_at_batches(callbacks, hooks):
    """Whether a callback wants to be called at every step."""
    callbacks = getattr(callbacks, "callbacks", callbacks) or []  # a CallbackList has a list
    callbacks = callbacks if isinstance(callbacks, (list, tuple)) else [callbacks]
    return any(
        _has_own(callback, hooks, keras.callbacks.Callback)
        and not any(
            isinstance(callback, kind)
            and (argument is None or getattr(callback, argument) == "epoch")
            and not _has_own(callback, hooks, kind)
            for kind, argument in _BY_EPOCH.items()
        )
        for callback in callbacks
    )


def _has_own(callback, hooks, kind):
    """Whether a callback defines a hook anew, by its class or (LambdaCallback) by itself."""
    return any(
        getattr(type(callback), hook) is not getattr(kind, hook) or hook in vars(callback)
        for hook in hooks
    )
