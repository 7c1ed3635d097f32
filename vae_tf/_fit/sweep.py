"""Many VAEs of one architecture trained as one program: a sweep over seeds, or over beta.

A small model leaves most of a machine idle. Here the weights of M models are stacked, [M, ...], a
matrix product becomes M products at once, and an epoch of all models is one program on data that
stay on the device. A step is that of `fit`: the model's own `compute_loss`, as a function of the
values of its variables (`keras.StatelessScope`), mapped over the models (`tf.vectorized_map`).
Convolutions work, but go through the models one by one.
"""

import json
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from vae_tf._core import require
from vae_tf._fit import engine, feed, keras_private, replicas
from vae_tf.data import Batches
from vae_tf.model import VAE
from vae_tf.objectives import Factor

__all__ = ["Histories", "sweep"]

# They move each weight by itself, whatever the others do: so stacked models do not mix.
_ELEMENTWISE = ("SGD", "RMSprop", "Adam", "AdamW", "Adadelta", "Adagrad", "Adamax", "Nadam", "Lion")


class Histories(NamedTuple):
    """What `fit` reports, for each model and epoch: means over examples, nats, each [M, epochs]."""

    loss: np.ndarray
    elbo: np.ndarray
    reconstruction: np.ndarray
    kl: np.ndarray


def sweep(
    vaes: Iterable[VAE], x: Any, epochs: int = 1, batch_size: int = 32, verbose: int = 1
) -> Histories:
    """Trains M VAEs at once; each gets the training that `fit` would give it alone.

    They may differ in their weights, their seeds, and the numbers or schedules of their objectives
    (what the objective lists as `scheduled`, such as beta). As in `fit`, a model's own seed fixes
    the order of an array and the samples of z: models of equal seed meet the same batches and the
    same noise, and no model depends on which others are there. `vt.data.Batches` have an order of
    their own, the same for all. Afterwards each is an ordinary trained `vt.VAE`, with the state of
    its optimizer and its schedules; interrupted, it has the epochs that were finished.

    Args:
        vaes: M VAEs, compiled as for `fit`, with optimizers of equal settings.
        x: data, an array [N, *event] or `vt.data.Batches`; of conditional models (x, condition).
        epochs: how often each example is seen.
        batch_size: B, of an array; the last batch of an epoch holds what remains.
        verbose: 1 for a progress bar with the lowest and the highest ELBO, 0 for silence.

    Returns:
        `Histories(loss, elbo, reconstruction, kl)`, each [M, epochs], nats.

    Raises:
        TypeError: if `vaes` are not VAEs, or `x` is neither an array nor `Batches`.
        ValueError: if the VAEs differ in anything else, or share a part; if their training cannot
            be stacked: the objective `Factor`, weights with a constraint, an optimizer that looks
            at several weights together; if `x` is outside the support of the likelihood.

    Example:

    >>> def make(beta):
    ...     encoder = vt.networks.mlp(4, vt.layers.NormalDiag(2), hidden=(8,))
    ...     decoder = vt.networks.mlp(2, vt.layers.Normal(4), hidden=(8,))
    ...     return vt.VAE(encoder, decoder, objective=vt.objectives.BetaELBO(beta), seed=0)
    >>> data = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
    >>> found = vt.sweep([make(beta) for beta in (0.5, 1.0, 4.0)], data, epochs=2, verbose=0)
    >>> found.elbo.shape
    (3, 2)
    """
    vaes, epochs = _require_alike(vaes), require.count(epochs, "epochs")
    batched = isinstance(x, (tf.data.Dataset, keras.utils.PyDataset)) or hasattr(x, "__next__")
    if batched and type(x) is not Batches:
        kind = type(x).__name__
        raise TypeError(f"Expected `x` to be an array or vt.data.Batches. Received: a {kind}")
    x = feed.checked(vaes[0], x, "x")
    together = _Together(vaes, x, require.count(batch_size, "batch_size"))
    shown = ("lowest ELBO", "highest ELBO")
    bar = keras.utils.Progbar(epochs, verbose=verbose, stateful_metrics=shown, unit_name="epoch")
    found = []
    try:
        for epoch in range(1, epochs + 1):
            found.append(together.train_an_epoch())
            elbo = found[-1]["elbo"]
            bar.update(epoch, zip(shown, (elbo.min(), elbo.max()), strict=True))
        together.optimizer.finalize_variable_values(together.weights)  # as `fit` does at its end
    finally:
        together.hand_back()
    return Histories(*(np.stack([f[name] for f in found], axis=1) for name in Histories._fields))


class _Together:
    """The variables of M models, stacked, and the program that trains all for an epoch."""

    def __init__(self, vaes, x, batch_size):
        self.vaes, self.lead = vaes, vaes[0]  # it is the code of the lead that runs, for all
        self.batches = x if isinstance(x, Batches) else None
        arrays = (x.x, *(x.condition or ())) if self.batches else x
        self.arrays = (self.lead.as_data(arrays[0]), *map(tf.convert_to_tensor, arrays[1:]))
        self.batch_size = self.batches.batch_size if self.batches else batch_size
        # What changes besides weights: seeds, the step of the objective; sums of metrics.
        self.others = self.lead.non_trainable_variables + self.lead.metrics_variables
        weights = _stack(vae.trainable_variables for vae in vaes)
        self.weights = [keras.Variable(values, dtype=values.dtype.name) for values in weights]
        self.optimizer = self._stacked_optimizer(self.lead.optimizer)
        for vae in vaes:
            vae.optimizer.build(vae.trainable_variables)
        states = _stack(vae.optimizer.variables for vae in vaes)
        for variable, values in zip(self.optimizer.variables, states, strict=True):
            # All have done the same number of steps, at the same learning rate.
            variable.assign(values if values.shape == variable.shape else values[0])
        self.program = None

    def _stacked_optimizer(self, optimizer):
        """One of the same settings, for the stacked weights."""
        stacked = type(optimizer).from_config(optimizer.get_config())
        if optimizer.weight_decay:
            pairs = zip(self.lead.trainable_variables, self.weights, strict=True)
            kept = [whole for own, whole in pairs if not keras_private.decays(optimizer, own)]
            if kept:
                stacked.exclude_from_weight_decay(var_list=kept)
        stacked.build(self.weights)
        return stacked

    def train_an_epoch(self):
        """What the metrics of all models say at its end: {name: [M]}."""
        if self.batches is None:  # each model's own
            orders = [engine.shuffled(self.arrays[0], v.seed_generator)() for v in self.vaes]
        else:
            orders = [engine.epochs_of(self.batches)()] * len(self.vaes)
        rows = tf.constant(np.stack([rows for rows, _ in orders]), tf.int32)
        state = _stack(vae.non_trainable_variables for vae in self.vaes)
        now = state, rows, tf.constant(orders[0][1], tf.int32)
        if self.program is None:
            jit = bool(self.lead.jit_compile)
            epoch = tf.function(self._epoch, autograph=False, jit_compile=jit)
            self.program = epoch.get_concrete_function(*now)
        found, state, losses = self.program(*now)
        losses = losses.numpy()
        if not np.isfinite(losses).all():
            broken = np.flatnonzero(~np.isfinite(losses)).tolist()
            raise FloatingPointError(
                "The sweep has stopped: the loss of a step is not finite. Expected steps that do "
                "not diverge. The weights of all models are those before that step. Received: "
                f"losses {losses[broken].tolist()} of the models {broken}"
            )
        for m, vae in enumerate(self.vaes):
            for variable, values in zip(vae.non_trainable_variables, state, strict=True):
                variable.assign(values[m])
        return {name: values.numpy() for name, values in found.items()}

    def hand_back(self):
        """The models' own weights and optimizers take the values that were found."""
        for m, vae in enumerate(self.vaes):
            own = vae.trainable_variables + vae.optimizer.variables
            for variable, one in zip(own, self.weights + self.optimizer.variables, strict=True):
                variable.assign(one.value if one.shape == variable.shape else one.value[m])

    # -- the program ---------------------------------------------------------------------------

    def _epoch(self, state, rows, seed):
        """The metrics {name: [M]}, the state, [M, ...], and the losses of the last step, [M]."""
        models, (steps, left) = len(self.vaes), divmod(len(self.arrays[0]), self.batch_size)
        metrics = [tf.zeros([models, *v.shape], v.dtype) for v in self.lead.metrics_variables]

        def one_step(i, values, _, size=self.batch_size):
            batch = tf.slice(rows, [0, i * self.batch_size], [models, size])
            weights = [tf.convert_to_tensor(weight) for weight in self.weights]
            gradients, values, losses = tf.vectorized_map(
                lambda model: self._gradients(i, seed, *model),
                (tf.range(models), weights, values, batch),
                warn=False,
            )
            fine = tf.reduce_all(tf.math.is_finite(losses))
            replicas.apply_if(fine, lambda: self.optimizer.apply(gradients, self.weights))
            return i + 1, values, losses

        losses = tf.zeros([models], self.weights[0].dtype)
        # One iteration at a time: the next must see the weights that this one leaves.
        i, values, losses = tf.while_loop(
            lambda i, _, losses: (i < steps) & tf.reduce_all(tf.math.is_finite(losses)),
            one_step,
            (0, [*state, *metrics], losses),
            parallel_iterations=1,
        )
        if left:
            _, values, last = one_step(i, values, losses, left)
            losses += last  # not finite, if either is not
        return tf.vectorized_map(self._results, values), values[: len(state)], losses

    def _gradients(self, i, seed, m, weights, values, rows):
        """Those of model m at its batch of step i, the other values after the step, the loss."""
        x, *conditions = (tf.gather(array, rows) for array in self.arrays)  # [B, ...]
        if self.batches is not None and self.batches.binarize:
            x = Batches.draw(x, seed, i)
        with tf.GradientTape() as tape, self._scope(values, weights) as scope, self._numbers(m):
            tape.watch(weights)
            x = feed.packed((x, *conditions))
            loss = self.lead.compute_loss(x, y_pred=self.lead(x, training=True))
            tracker = next(metric for metric in self.lead.metrics if metric.name == "loss")
            tracker.update_state(loss, sample_weight=rows.shape[0])
            scaled = self.lead.optimizer.scale_loss(loss)
        after = [scope.get_current_value(variable) for variable in self.others]
        return tape.gradient(scaled, weights, unconnected_gradients="zero"), after, loss

    def _results(self, values):
        with self._scope(values):
            return {metric.name: metric.result() for metric in self.lead.metrics}

    def _scope(self, values, weights=()):
        """In it the variables of the lead have these values; after it, their own again."""
        pairs = [*zip(self.others, values, strict=True)]
        pairs += zip(self.lead.trainable_variables, weights, strict=bool(weights))
        return keras.StatelessScope(pairs, collect_losses=True)

    def _numbers(self, m):
        """Lends the lead's objective the numbers of model m at its present step."""
        lead, numbers = self.lead.objective, {}
        for name in lead.scheduled:
            each = [lead.now(getattr(vae.objective, name), "float64") for vae in self.vaes]
            numbers[name] = tf.stack(each)[m]
        return lead.lent(numbers)


def _stack(each):
    """M lists of variables -> one list of tensors [M, ...]"""
    return [tf.stack([v.value for v in same]) for same in zip(*each, strict=True)]


def _require_alike(vaes):
    found = list(vaes) if isinstance(vaes, Iterable) else []
    if not found or not all(isinstance(vae, VAE) for vae in found):
        raise TypeError(f"Expected `vaes` to be a list of vt.VAE. Received: {vaes!r}")
    vaes = found
    owned = [id(part) for vae in vaes for part in (*vae.variables, vae.optimizer)]
    if len(set(owned)) < len(owned):
        raise ValueError(
            "Expected VAEs with parts of their own. Received: an encoder, a decoder, a prior, an "
            "objective or an optimizer that two of them share"
        )
    wanted = _settings(vaes[0])
    for m, vae in enumerate(vaes):
        other = [part for part, text in _settings(vae).items() if text != wanted[part]]
        if other:
            raise ValueError(
                "Expected VAEs that differ only in weights, seeds, and numbers or schedules of the "
                f"objective. Received: vaes[{m}] and vaes[0] differ in {', '.join(other)}"
            )
    _require_stackable(vaes[0], vaes[0].optimizer)
    return vaes


def _require_stackable(vae, optimizer):
    received = {
        f"the optimizer {type(optimizer).__name__}": type(optimizer).__name__ not in _ELEMENTWISE,
        "clipping by norm": optimizer.clipnorm or optimizer.global_clipnorm,
        "weights with a constraint": any(v.constraint for v in vae.trainable_variables),
        "the objective Factor": isinstance(vae.objective, Factor),  # it has its own optimizer
        "run_eagerly": vae.run_eagerly,
        "a train_step of its own": type(vae).train_step is not VAE.train_step,
    }
    received = [what for what, is_there in received.items() if is_there]
    if received:
        raise ValueError(
            f"A sweep stacks the weights. Expected an optimizer of {_ELEMENTWISE}, which moves "
            f"each weight by itself, and the steps of `fit`. Received: {', '.join(received)}"
        )


def _settings(vae):
    """{part: what must be equal, as text}"""
    parts = {"encoder": vae.encoder, "decoder": vae.decoder, "prior": vae.prior_layer}
    texts = {name: _text(part) for name, part in parts.items()}
    texts["objective"] = _text(vae.objective, vae.objective.scheduled)
    texts |= {"class": repr(type(vae)), "jit_compile": str(vae.jit_choice)}
    return texts | {"optimizer": f"{_text(vae.optimizer)} at step {int(vae.optimizer.iterations)}"}


def _text(part, left_out=()):
    """The configuration without seeds, first weights, and the numbering of names."""

    def kept(entry):
        seeds = ("seed", "initializer")
        return {k: v for k, v in entry.items() if not (k.endswith(seeds) or k in left_out)}

    config = json.dumps(keras.saving.serialize_keras_object(part), default=str)
    return re.sub(r'_\d+"', '"', json.dumps(json.loads(config, object_hook=kept)))
