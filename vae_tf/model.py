"""The VAE: an encoder, a decoder, a prior and an objective, as a stock `keras.Model`.

    q_z = encode(x);  z ~ q_z;  p_x = decode(z);  loss = -mean_B objective(x, q_z, z, p_x)

The mean over the batch is taken here, once, and nowhere else in the package.
"""

from collections.abc import Callable, Hashable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from vae_tf import elbo
from vae_tf._core import require
from vae_tf._core.models import given
from vae_tf._core.programs import Kept
from vae_tf._core.random import split
from vae_tf._fit import engine, feed, keras_private, parts, replicas
from vae_tf.networks import batch_apply
from vae_tf.objectives import ELBO, Objective
from vae_tf.priors import Prior, StandardNormal

tfd = tfp.distributions

__all__ = ["VAE"]


@keras.saving.register_keras_serializable("vae_tf")
class VAE(keras.Model):
    """A variational autoencoder (Kingma and Welling 2014; Rezende et al. 2014).

    `fit`, `evaluate`, callbacks and `.keras` files are those of Keras. The history reports `loss`
    (minus the objective, plus what layers add) and, whatever the objective, the beta = 1 bound:
    `elbo`, `reconstruction` and `kl`; all are means over examples, in nats. Where layers add a
    loss of their own, such as weight decay, it is reported as `regularization`. The model compiles
    itself with Adam(1e-3); call `compile` to choose otherwise.

    It is conditional, p(x|c), if a network takes more than one input: encoder [x, c], decoder
    [z, c]. Then `fit`, `evaluate` and `predict` take tuples, `fit((x, c))`, and everything else
    takes `condition=c`, with a row for each example. Of several conditions, a network takes the
    first ones it has inputs for.

    Args:
        encoder: maps x, shape [B, *event], to q(z|x): batch [B], event [L].
        decoder: maps z, shape [B, L], to p(x|z): batch [B], event [*event].
        prior: a `vt.priors.Prior`; by default `StandardNormal` of the encoder's latent size.
        objective: a `vt.objectives.Objective`; by default `ELBO()`.
        seed: an integer that fixes the samples of training and of calls without a seed.
        **kwargs: of `keras.Model`, such as `name`.

    Raises:
        TypeError: if encoder or decoder do not end in a distribution.
        ValueError: if encoder, prior and decoder disagree about shapes or dtypes; if q(z|x) cannot
            be trained, because its samples are discrete or not reparameterized; if prior or
            objective belong to another model.

    Example:

    >>> encoder = vt.networks.mlp((8, 8), vt.layers.NormalDiag(2), hidden=(16,))
    >>> decoder = vt.networks.mlp(2, vt.layers.Bernoulli((8, 8)), hidden=(16,))
    >>> vae = vt.VAE(encoder, decoder, seed=0)
    >>> x = vt.data.binarize(vt.data.load("digits").x_train, seed=0)
    >>> history = vae.fit(x, epochs=1, verbose=0)
    >>> vae.elbo(x[:5], num_samples=10, seed=0).elbo.shape  # [B], nats
    TensorShape([5])
    """

    train_function: Any  # of Keras, until `make_train_function`
    test_function: Any

    def __init__(
        self,
        encoder: keras.Model,
        decoder: keras.Model,
        prior: Prior | None = None,
        objective: Objective | None = None,
        *,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.conditions = parts.conditions_of(encoder, decoder)
        self.encoder = encoder
        self.decoder = decoder
        latent_size = parts.require_latent_size(encoder, decoder)
        dtype = parts.require_alike(encoder, decoder)
        self.prior_layer = StandardNormal(latent_size, dtype=dtype) if prior is None else prior
        self._require_prior(latent_size)
        parts.claim(self.prior_layer, self, "prior")
        self.prior_layer.attach(encoder)
        self.objective = ELBO() if objective is None else objective
        self._seed = None if seed is None else int(seed)
        self.seed_generator = keras.random.SeedGenerator(self._seed)  # of training
        self.other_seeds = keras.random.SeedGenerator(self._seed)  # of all other calls
        self._terms = {
            name: keras.metrics.Mean(name=name) for name in ("elbo", "reconstruction", "kl")
        }
        self._arrays = engine.Arrays(self, VAE)
        self._kept = Kept()
        self.built = True
        self.compile()

    def _require_prior(self, latent_size):
        if not isinstance(self.prior_layer, Prior) or self.prior_layer.latent_size != latent_size:
            raise ValueError(
                f"Expected `prior` to be a vt.priors.Prior of {latent_size} latents, such as "
                f"vt.priors.StandardNormal({latent_size}). Received: {self.prior_layer!r}"
            )

    @property
    def objective(self) -> Objective:
        """What training maximises. It can be changed at any time; the next step obeys.

        So can its numbers: `vae.objective.beta = 2.0`, in a callback too.
        """
        return self._objective

    @objective.setter
    def objective(self, objective: Objective) -> None:
        if not isinstance(objective, Objective):
            raise TypeError(
                "Expected `objective` to be a vt.objectives.Objective, such as "
                f"vt.objectives.ELBO(). Received: {objective!r}"
            )
        previous = getattr(self, "_objective", None)
        if previous is objective:
            return
        parts.claim(objective, self, "objective")
        objective.attach(self.prior_layer.latent_size)
        if previous is not None:
            parts.release(previous)
            keras_private.forget(self, previous)
        self._objective = objective

    # -- the three things that `evidence`, `gap` and `diagnostics` ask of a model ------------

    @property
    def prior(self) -> tfd.Distribution:
        """p(z): a distribution, batch [], event [L]."""
        return self.prior_layer()

    def encode(self, x: Any, training: bool = False, *, condition: Any = None) -> tfd.Distribution:
        """q(z|x), the approximate posterior: batch [B], event [L].

        Args:
            x: data, shape [B, *event].
            training: whether layers such as `Dropout` run as in training.
            condition: of a conditional model: an array [B, ...] or a tuple of them.
        """
        x = self.as_data(x)
        return batch_apply(
            self.encoder,
            x,
            self._as_condition(condition),
            event_ndims=x.shape.rank - 1,
            training=training,
        )

    def decode(self, z: Any, training: bool = False, *, condition: Any = None) -> tfd.Distribution:
        """p(x|z), the likelihood: z of shape [..., L] gives batch [...], event [*event].

        Args:
            z: latents; of a conditional model [..., B, L], or any leading axes for a single c.
            training: as for `encode`.
            condition: of a conditional model: an array [B, ...] or [1, ...], or a tuple of them.
        """
        dtype = self.prior_layer.compute_dtype
        z = tf.convert_to_tensor(z)
        z = z if z.dtype == dtype else tf.cast(z, dtype)
        if z.shape.rank is None or z.shape.rank < 2 or z.shape[-1] != self.prior_layer.latent_size:
            raise ValueError(
                f"Expected `z` of shape [..., {self.prior_layer.latent_size}], with at least one "
                f"leading axis. Received: shape {z.shape}"
            )
        return batch_apply(self.decoder, z, self._as_condition(condition), training=training)

    @property
    def width(self) -> int:
        """The most values that any layer holds for one z of one example."""
        return parts.widest(self.encoder, self.decoder)

    def kept(self, key: Hashable, make: Callable) -> Any:
        """What `make()` gave for this key, as long as the networks and the prior are the same.

        So `vt.evidence` and `vt.gap` compile once for a model and a shape of data. A layer whose
        attributes were changed by hand is seen after the next `compile`, as in Keras. Nothing is
        kept for a subclass with a `prior`, `encode` or `decode` of its own.
        """
        asked = "prior", "encode", "decode"
        if any(getattr(type(self), name) is not getattr(VAE, name) for name in asked):
            return make()
        return self._kept.get((self.encoder, self.decoder, self.prior_layer), key, make)

    # -- one pass, and what training makes of it ---------------------------------------------

    def call(
        self,
        x: Any,
        num_samples: int | None = None,
        *,
        seed: Any = None,
        training: bool = False,
    ) -> elbo.Forward:
        """One pass: x -> q_z -> z -> p_x. Returns a `vt.elbo.Forward`.

        Args:
            x: data, shape [B, *event]; of a conditional model (x, condition).
            num_samples: S; by default the objective's.
            seed: an integer for the same samples each time; by default the model's own, one
                stream for training and one for everything else.
            training: as for `encode`.
        """
        x, *condition = x if isinstance(x, (tuple, list)) else (x,)
        samples = self.objective.num_samples if num_samples is None else num_samples
        if seed is None:
            seed = self.seed_generator if training else self.other_seeds
        model = given(self, tuple(condition) or None)
        gate = self.objective.gate
        return elbo.forward(model, x, samples, seed=seed, gate=gate, training=training)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: elbo.Forward | None = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> tf.Tensor:
        """loss = -mean_B(objective) + what layers add, such as weight decay; a scalar, nats.

        For a training loop of your own, of four lines:

            with tf.GradientTape() as tape:
                loss = vae.compute_loss(x, vae(x, training=True))
            gradients = tape.gradient(loss, vae.trainable_variables)
            vae.optimizer.apply(gradients, vae.trainable_variables)

        Args:
            x: data; not looked at where a pass is given.
            y: a pass, or None: a VAE has no target.
            y_pred: a pass, `vae(x)`; by default made here.
            sample_weight: None.
            training: whether this is a training step, which the objective then counts.
        """
        if isinstance(y, elbo.Forward):
            y, y_pred = None, y
        feed.refuse_targets(y, sample_weight)
        one_pass = self(x, training=training) if y_pred is None else y_pred
        terms = elbo.reconstruction_kl(one_pass)
        for name, metric in self._terms.items():
            if name != "regularization":
                metric.update_state(getattr(terms, name))
        loss = -replicas.mean_over_batch(self.objective(one_pass, terms))
        if "regularization" in self._terms:
            added = tf.add_n([tf.cast(tf.reduce_sum(part), loss.dtype) for part in self.losses])
            self._terms["regularization"].update_state(added)
            loss += added / replicas.number()
        if training:
            self.objective.advance(one_pass)
        return loss

    def train_step(self, data: Any) -> dict:
        """One step. If its loss is not finite it changes no weight, and `fit` ends with an error.

        Args:
            data: a batch as Keras hands it over.
        """
        x = self._unpacked(data)
        before = self._float_state()
        with tf.GradientTape() as tape:
            loss = self.compute_loss(x, y_pred=self(x, training=True), training=True)
            scaled = self.optimizer.scale_loss(loss)
        weights = self.trainable_variables
        if weights:
            loss = replicas.apply_if_finite(
                loss,
                lambda gradients: self.optimizer.apply(gradients, weights),
                tape.gradient(scaled, weights),
                lambda: [variable.assign(value) for variable, value in before],
            )
        self._track(loss, x)
        return self.compute_metrics()

    def test_step(self, data: Any) -> dict:
        """The loss and the terms of a batch, as Keras hands it over."""
        x = self._unpacked(data)
        self._track(self.compute_loss(x, y_pred=self(x), training=False), x)
        return self.compute_metrics()

    def _unpacked(self, data):
        """x, or (x, *conditions), from a batch."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        if self.conditions and y is not None and sample_weight is None:
            x, y = (x, y), None
        feed.refuse_targets(y, sample_weight)
        return feed.packed(tuple(keras.tree.flatten(x)))

    def _track(self, loss, x):
        """Adds the loss of a batch to the mean that is reported."""
        size = tf.shape(x[0] if isinstance(x, tuple) else x)[0]
        whole = loss * replicas.number()  # Keras averages what replicas report
        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(whole, sample_weight=size)

    def _float_state(self):
        """What a pass itself changes, the averages of a `BatchNormalization`, with its values."""
        networks = (self.encoder, self.decoder, self.prior_layer)
        variables = {id(v): v for part in networks for v in part.non_trainable_variables}
        floats = [v for v in variables.values() if tf.as_dtype(v.dtype).is_floating]
        return [(v, tf.convert_to_tensor(v.value)) for v in floats]

    def require_finite(self, logs: dict) -> None:
        """Ends a training whose last step had a loss of NaN or infinity.

        Raises:
            FloatingPointError: says so; the weights are those before that step.
        """
        loss = float(np.ravel(logs.get("loss", 0.0))[0])  # own steps may say none
        if np.isfinite(loss):
            return
        found = {name: float(np.ravel(value)[0]) for name, value in logs.items()}
        self.reset_metrics()
        raise FloatingPointError(
            "Training has stopped: the loss of its last step is not finite. Expected data in the "
            "support of the likelihood, and steps that do not diverge (a lower learning rate, "
            "`clipnorm`, a larger `min_scale`). The weights are those before that step. "
            f"Received: means so far {found}"
        )

    def compute_metrics(self, *_: Any, **__: Any) -> dict:
        """The means so far: `loss`, `elbo`, `reconstruction`, `kl`."""
        return replicas.reported(self.get_metrics_result())

    def predict_step(self, data: Any) -> tf.Tensor:
        """The mean of a reconstruction, E[x|z] at z = E[z|x]: tensors, and no randomness."""
        x = self._unpacked(data)
        x, *condition = x if isinstance(x, tuple) else (x,)
        condition = tuple(condition) or None
        return self.decode(self.encode(x, condition=condition).mean(), condition=condition).mean()

    def compile(self, optimizer: Any = "adam", loss: Any = None, *args: Any, **kwargs: Any) -> None:
        """Keras' `compile`, without a loss or metrics: those of a VAE are its own."""
        kwargs = feed.named(keras.Model.compile, (optimizer, loss, *args), kwargs)
        for name in ("loss", "metrics", "weighted_metrics"):
            if kwargs.get(name) is not None:
                raise ValueError(
                    "The loss of a VAE is minus the mean of its objective, and its metrics are "
                    f"elbo, reconstruction and kl. Expected no `{name}`; choose the objective in "
                    f"VAE(..., objective=...). Received: {name}={kwargs[name]!r}"
                )
        self.objective.attach(self.prior_layer.latent_size)  # its parts may have been unfrozen
        self.jit_choice = kwargs.get("jit_compile", "auto")  # Keras keeps what it makes of it
        self._kept.clear()
        if self.losses and "regularization" not in self._terms:
            self._terms["regularization"] = keras.metrics.Mean(name="regularization")
        super().compile(**kwargs)

    def get_compile_config(self) -> dict:
        return {**super().get_compile_config(), "jit_compile": self.jit_choice}

    def compile_from_config(self, config: dict) -> None:
        # Keras asks for this wherever `compile` is overridden; without it a loaded model would
        # lose the state of its optimizer.
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        *args: Any,
        **kwargs: Any,
    ) -> keras.callbacks.History:
        """Keras' `fit`, after a look at the data: an array is checked before the first step, a
        source of batches as it is read.

        Arrays and `vt.data.Batches` stay on the device, where one program takes many steps
        (`vae_tf/_fit/engine.py`): as many as `compile(steps_per_execution=...)` says; by default a
        tenth of an epoch, or a hundred where that is more, and one at a time for a callback that
        looks at batches. An array is shuffled by the model's own seed. XLA compiles the steps on a
        GPU, and on a CPU in trainings of 2,000 steps or more, if the networks have no convolutions
        (XLA's take some five times as long there) and `compile(jit_compile=False)` does not forbid
        it; the numbers are the same, to rounding.

        Args:
            x: an array [N, *event], a data frame, a `tf.data.Dataset`, a `PyDataset` such as
                `vt.data.Batches`, or a generator of batches; of a conditional model (x, condition).
            y, sample_weight, class_weight: None; a VAE has neither.
            batch_size: B, of arrays; 32 by default.
            epochs: how often each example is seen.
            *args, **kwargs: of `keras.Model.fit`, in its order.

        Returns:
            A `History`, whose `history` has a list for each of `loss`, `elbo`, `reconstruction`
            and `kl`.

        Raises:
            ValueError: if data are outside the support, or not of the form that is expected.
            FloatingPointError: if the loss of a step is not finite; see `train_step`.
        """
        kwargs = feed.named(keras.Model.fit, (x, y, batch_size, epochs, *args), kwargs)
        x = kwargs.pop("x")
        refused = ("y", "sample_weight", "class_weight")
        feed.refuse_targets(**{name: kwargs.pop(name, None) for name in refused})
        if kwargs.get("validation_data") is not None:
            kwargs["validation_data"] = self._checked(kwargs["validation_data"], "validation_data")
        x = self._checked(x, "x")
        if not isinstance(x, tuple):
            kwargs.setdefault("shuffle", False)  # a source of batches shuffles itself
            if batch_size is not None:
                raise ValueError(
                    "A source of batches has a batch size of its own. Expected `batch_size` with "
                    f"arrays only. Received: batch_size={batch_size} with a {type(x).__name__}"
                )
        with self._arrays.lent():
            x, kwargs = self._arrays.for_fit(x, kwargs)
            return super().fit(x, **kwargs)

    def evaluate(
        self, x: Any = None, y: Any = None, batch_size: int | None = None, *args: Any, **kwargs: Any
    ) -> Any:
        """Keras' `evaluate`; the data are checked first.

        Args:
            x, y, batch_size: as for `fit`.
            *args, **kwargs: of `keras.Model.evaluate`, in its order.

        Returns:
            Means over examples, nats: {name: value} with `return_dict=True`, else a list.
        """
        kwargs = feed.named(keras.Model.evaluate, (x, y, batch_size, *args), kwargs)
        x = kwargs.pop("x")
        feed.refuse_targets(kwargs.pop("y"), kwargs.pop("sample_weight", None))
        if keras_private.is_validation(kwargs):
            return super().evaluate(x, **kwargs)
        x = self._checked(x, "x")
        with self._arrays.lent():
            x, kwargs = self._arrays.for_evaluate(x, kwargs)
            return super().evaluate(x, **kwargs)

    def predict(self, x: Any, *args: Any, **kwargs: Any) -> np.ndarray:
        """The means of reconstructions, E[x|z] at z = E[z|x], shape [N, *event].

        Args:
            x: as for `fit`.
            *args, **kwargs: of `keras.Model.predict`, in its order.
        """
        kwargs = feed.named(keras.Model.predict, (x, *args), kwargs)
        x = self._checked(kwargs.pop("x"), "x")
        return super().predict(feed.packed(x) if isinstance(x, tuple) else x, **kwargs)

    def train_on_batch(self, x: Any, y: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Keras' `train_on_batch`; the batch is checked first."""
        return super().train_on_batch(*self._on_batch("train_on_batch", x, y, args, kwargs))

    def test_on_batch(self, x: Any, y: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Keras' `test_on_batch`; the batch is checked first."""
        return super().test_on_batch(*self._on_batch("test_on_batch", x, y, args, kwargs))

    def _on_batch(self, method, x, y, args, kwargs):
        kwargs = feed.named(getattr(keras.Model, method), (x, y, *args), kwargs)
        refused = ("y", "sample_weight", "class_weight")
        feed.refuse_targets(**{name: kwargs.get(name) for name in refused})
        return (
            feed.on_batch(self, x, "x"),
            *([None] * (3 if method[1] == "r" else 2)),
            *([kwargs.get("return_dict", False)]),
        )

    def export(self, filepath: Any, *args: Any, **kwargs: Any) -> None:
        """Keras' `export`; without an `input_signature`, for batches of any size of `predict`."""
        specs = [tf.TensorSpec([None, *i.shape[1:]], i.dtype) for i in self._inputs()]
        kwargs.setdefault("input_signature", [specs if len(specs) > 1 else specs[0]])
        super().export(filepath, *args, **kwargs)

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        # Called by Keras before each loop. Under a strategy it takes a batch to see its shape: over
        # several machines that fails for a data set, and the shape is known.
        del data_batch
        resident = keras_private.calls_in_turns(iterator)
        if resident is not None:
            resident.steps_of_a_turn = resident.wanted_steps
        batch = tuple(tf.zeros([1, *one.shape[1:]], one.dtype) for one in self._inputs())
        keras_private.needs_no_batch(self, (feed.packed(batch),))

    def _inputs(self):
        """x and the conditions, as KerasTensors."""
        return (self.encoder.inputs[0], *self.conditions)

    def make_train_function(self, force: bool = False) -> Any:
        if self.train_function is None or force:
            self.train_function = self._program(
                self.train_step, "train_function", super().make_train_function
            )
        return self.train_function

    def make_test_function(self, force: bool = False) -> Any:
        if self.test_function is None or force:
            self.test_function = self._program(
                self.test_step, "test_function", super().make_test_function
            )
        return self.test_function

    def _program(self, step, name, make):
        def keras_function():
            own = getattr(self, name)
            make(force=True)
            made = getattr(self, name)
            setattr(self, name, own)
            return made

        training = name == "train_function"
        return engine.Program(self, self._arrays.residents, step, keras_function, training)

    # -- what a trained model is for ---------------------------------------------------------

    def elbo(
        self, x: Any, num_samples: int = 1, *, condition: Any = None, seed: int | None = None
    ) -> elbo.ElboTerms:
        """The ELBO of each example (docs/the_elbo.md, section 1), at beta = 1 whatever was trained.

            ELBO(x) = E_q[log p(x|z)] - KL(q(z|x) || p(z))

        Args:
            x: data, shape [B, *event].
            num_samples: S; the Monte Carlo error falls with its square root, and memory does not
                grow with it.
            condition: of a conditional model: an array [B, ...] or a tuple of them.
            seed: an integer for the same numbers each time.

        Returns:
            `ElboTerms(elbo, reconstruction, kl)`, each [B], nats.
        """
        seed = self._or_own(seed)
        return elbo.estimate(self, x, num_samples, condition=condition, seed=seed)

    def sample(self, n: int, *, condition: Any = None, seed: int | None = None) -> tf.Tensor:
        """`n` draws of x: z from the prior, x from p(x|z). Shape [n, *event].

        Args:
            n: how many.
            condition: of a conditional model: a row for each draw, [n, ...], or one for all.
            seed: an integer for the same draws each time.
        """
        seeds = split(self._or_own(seed), 2)
        z = self.prior.sample(require.count(n, "n"), seed=seeds[0])
        return self.decode(z, condition=condition).sample(seed=seeds[1])

    def reconstruct(self, x: Any, *, condition: Any = None, seed: int | None = None) -> tf.Tensor:
        """E[x|z] for one z from q(z|x): shape [B, *event].

        Args:
            x, condition, seed: as for `elbo`.
        """
        seed = self._or_own(seed)
        return elbo.forward(self, x, condition=condition, seed=seed).p_x.mean()[0]

    def _or_own(self, seed):
        return self.other_seeds if seed is None else seed

    # -- guards and saving -------------------------------------------------------------------

    def as_data(self, x: Any, name: str = "x") -> tf.Tensor:
        """Data as a float tensor [B, *event], or an error that says what was expected."""
        x = x if tf.is_tensor(x) else require.examples(x, name)
        x = tf.convert_to_tensor(x)
        event = self.encoder.inputs[0].shape[1:]
        if x.shape.rank != len(event) + 1 or not x.shape[1:].is_compatible_with(event):
            raise ValueError(
                f"Expected `{name}` of shape [B, {', '.join(map(str, event))}]. "
                f"Received: shape {list(x.shape)}"
            )
        dtype = self.prior_layer.compute_dtype
        return x if x.dtype == dtype else tf.cast(x, dtype)

    def describe_data(self) -> str:
        """In words, what `fit` takes."""
        shapes = [f"[B, {', '.join(map(str, one.shape[1:]))}]" for one in self._inputs()]
        return " and ".join(["x of shape " + shapes[0], *("a condition " + s for s in shapes[1:])])

    def any_likelihood(self) -> tfd.Distribution:
        """p(x|z) at z = 0, and conditions of one: what it accepts, all others do."""
        z = tf.zeros([1, self.prior_layer.latent_size], self.prior_layer.compute_dtype)
        ones = tuple(tf.ones([1, *one.shape[1:]], one.dtype) for one in self.conditions)
        return self.decode(z, condition=ones or None)

    def _as_condition(self, condition):
        """A tuple of tensors [B, ...] of the dtypes that the networks take, or None."""
        given_parts = condition if isinstance(condition, (tuple, list)) else (condition,)
        found = [] if condition is None else keras.tree.flatten(given_parts)
        if len(found) != len(self.conditions):
            raise ValueError(
                f"Expected {len(self.conditions)} conditions: {self.describe_data()}. "
                f"Received: {len(found)} (`condition=` takes an array or a tuple of them)"
            )
        pairs = zip(found, self.conditions, strict=True)
        return tuple(self._as_one_condition(*pair) for pair in pairs) or None

    @staticmethod
    def _as_one_condition(part, wanted):
        part = tf.convert_to_tensor(part if tf.is_tensor(part) else require.examples(part))
        part = part if part.dtype == wanted.dtype else tf.cast(part, wanted.dtype)
        for _ in range(len(wanted.shape) - part.shape.rank):
            part = part[..., tf.newaxis]  # [B] is [B, 1]
        if not part.shape[1:].is_compatible_with(wanted.shape[1:]):
            raise ValueError(
                f"Expected `condition` of shape [B, {', '.join(map(str, wanted.shape[1:]))}]. "
                f"Received: shape {list(part.shape)}"
            )
        return part

    def _checked(self, data, name):
        return feed.checked(self, data, name)

    def save_own_variables(self, store: Any) -> None:
        if not self.optimizer.built:  # loading builds it, and then looks for its state
            self.optimizer.build(self.trainable_variables)
        super().save_own_variables(store)
        # Keras leaves the state of seed generators out; with it a resumed training goes on as
        # if it had never stopped.
        store["seed_generator"] = np.array(self.seed_generator.state)
        store["other_seeds"] = np.array(self.other_seeds.state)

    def load_own_variables(self, store: Any) -> None:
        store = {key: store[key] for key in store.keys()}
        for name in ("seed_generator", "other_seeds"):
            if name in store:  # version 0.1.0 had one
                getattr(self, name).state.assign(store.pop(name))
        super().load_own_variables(store)

    def get_config(self) -> dict:
        serialize = keras.saving.serialize_keras_object
        return {
            **super().get_config(),
            "encoder": serialize(self.encoder),
            "decoder": serialize(self.decoder),
            "prior": serialize(self.prior_layer),
            "objective": serialize(self.objective),
            "seed": self._seed,
        }

    @classmethod
    def from_config(cls, config: dict, custom_objects: dict | None = None) -> "VAE":
        config = dict(config)
        for part in ("encoder", "decoder", "prior", "objective"):
            config[part] = keras.saving.deserialize_keras_object(
                config[part], custom_objects=custom_objects
            )
        return cls(**config)
