"""The VAE: an encoder, a decoder, a prior and an objective, as a stock `keras.Model`.

    q_z = encode(x);  z ~ q_z;  p_x = decode(z);  loss = -mean_B objective(x, q_z, z, p_x)

The mean over the batch is taken here, once, and nowhere else in the package.
"""

import math

import keras
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from vae_tf import elbo
from vae_tf._core import chunks, require
from vae_tf._core.random import split
from vae_tf._fit import engine, replicas
from vae_tf.data import Batches
from vae_tf.layers import support
from vae_tf.networks import batch_apply
from vae_tf.objectives import ELBO, Objective
from vae_tf.priors import Prior, StandardNormal

tfd = tfp.distributions

__all__ = ["VAE"]


@keras.saving.register_keras_serializable("vae_tf")
class VAE(keras.Model):
    """A variational autoencoder (Kingma and Welling 2014; Rezende et al. 2014).

    `fit`, `evaluate`, callbacks and `.keras` files are those of Keras. The history reports `loss`
    (minus the objective) and, whatever the objective, the beta = 1 bound: `elbo`,
    `reconstruction` and `kl`; all are means over examples, in nats. It compiles itself with
    Adam(1e-3); call `compile` to choose otherwise.

    Args:
        encoder: maps x, shape [B, *event], to q(z|x): batch [B], event [L].
        decoder: maps z, shape [B, L], to p(x|z): batch [B], event [*event].
        prior: a `vt.priors.Prior`; by default `StandardNormal` of the encoder's latent size.
        objective: a `vt.objectives.Objective`; by default `ELBO()`.
        seed: an integer that fixes the samples of training and of calls without a seed.

    Raises:
        TypeError: if encoder or decoder do not end in a distribution.
        ValueError: if encoder, prior and decoder disagree about shapes.

    Example:

    ```python
    encoder = vt.networks.mlp((28, 28), vt.layers.NormalDiag(2))
    decoder = vt.networks.mlp(2, vt.layers.Bernoulli((28, 28)))
    vae = vt.VAE(encoder, decoder)
    vae.fit(x, epochs=10)
    vae.elbo(x, num_samples=10, seed=0).elbo  # [B], nats
    ```
    """

    def __init__(self, encoder, decoder, prior=None, objective=None, *, seed=None, **kwargs):
        super().__init__(**kwargs)
        self.encoder = encoder
        self.decoder = decoder
        latent_size = self._latent_size(encoder, decoder)
        if prior is None:
            prior = StandardNormal(latent_size, dtype=encoder.layers[-1].compute_dtype)
        self.prior_layer = prior
        self._require_parts(latent_size)
        self.objective = ELBO() if objective is None else objective
        self.prior_layer.attach(encoder)
        self._seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        self._terms = {
            name: keras.metrics.Mean(name=name) for name in ("elbo", "reconstruction", "kl")
        }
        self.built = True
        self.compile()

    @staticmethod
    def _latent_size(encoder, decoder):
        """L, from the encoder's output; it must be what the decoder takes."""
        for name, network in (("encoder", encoder), ("decoder", decoder)):
            if not isinstance(network, keras.Model) or not getattr(network, "inputs", None):
                raise TypeError(
                    f"Expected `{name}` to be a Sequential or Functional keras.Model with known "
                    f"inputs, such as vt.networks.mlp(...). Received: {network!r}"
                )
            output = network(tf.zeros([1, *network.input_shape[1:]]))
            if not isinstance(output, tfd.Distribution):
                raise TypeError(
                    f"Expected `{name}` to end in a distribution layer, such as "
                    f"vt.layers.NormalDiag(2). Received: an output of {type(output).__name__}"
                )
        if len(encoder.output_shape) != 2:
            raise ValueError(
                "Expected an encoder that ends in event shape [L]. Received: event shape "
                f"{list(encoder.output_shape[1:])} (are encoder and decoder swapped?)"
            )
        latent_size = encoder.output_shape[1]
        if decoder.input_shape[1:] != (latent_size,):
            raise ValueError(
                f"The encoder gives {latent_size} latents. Expected a decoder with input shape "
                f"({latent_size},). Received: {decoder.input_shape[1:]}"
            )
        return latent_size

    def _require_parts(self, latent_size):
        if not isinstance(self.prior_layer, Prior) or self.prior_layer.latent_size != latent_size:
            raise ValueError(
                f"Expected `prior` to be a vt.priors.Prior of {latent_size} latents, such as "
                f"vt.priors.StandardNormal({latent_size}). Received: {self.prior_layer!r}"
            )
        if self.decoder.output_shape[1:] != self.encoder.input_shape[1:]:
            raise ValueError(
                "Expected the decoder's event shape to be the encoder's input shape, "
                f"{self.encoder.input_shape[1:]}. Received: {self.decoder.output_shape[1:]}"
            )

    @property
    def objective(self):
        """What training maximises. It can be changed at any time; the next step obeys."""
        return self._objective

    @objective.setter
    def objective(self, objective):
        if not isinstance(objective, Objective):
            raise TypeError(
                "Expected `objective` to be a vt.objectives.Objective, such as "
                f"vt.objectives.ELBO(). Received: {objective!r}"
            )
        objective.attach(self.prior_layer.latent_size)
        self._objective = objective
        # Steps that were compiled hold the objective of before; a callback may be changing it.
        if self.train_function is not None:
            self.make_train_function(force=True)
        if self.test_function is not None:
            self.make_test_function(force=True)

    # -- the three things that `evidence`, `gap` and `diagnostics` ask of a model ------------

    @property
    def prior(self):
        """p(z): a distribution, batch [], event [L]."""
        return self.prior_layer()

    def encode(self, x, training=False):
        """q(z|x), the approximate posterior: batch [B], event [L]."""
        return self.encoder(self._require_shape(x), training=training)

    def decode(self, z, training=False):
        """p(x|z), the likelihood: z of shape [..., L] gives batch [...], event [*event]."""
        dtype = self.prior_layer.compute_dtype
        z = tf.convert_to_tensor(z)
        z = z if z.dtype == dtype else tf.cast(z, dtype)
        if z.shape.rank < 2 or z.shape[-1] != self.prior_layer.latent_size:
            raise ValueError(
                f"Expected `z` of shape [..., {self.prior_layer.latent_size}], with at least one "
                f"leading axis. Received: shape {list(z.shape)}"
            )
        return batch_apply(self.decoder, z, training=training)

    # -- one pass, and what training makes of it ---------------------------------------------

    def call(self, x, num_samples=None, *, seed=None, training=False):
        """One pass: x -> q_z -> z -> p_x. Returns a `vt.elbo.Forward`."""
        samples = self.objective.num_samples if num_samples is None else num_samples
        seed = self._or_own(seed)
        gate = self.objective.gate
        return elbo.forward(self, x, samples, seed=seed, gate=gate, training=training)

    def _or_own(self, seed):
        return self.seed_generator if seed is None else seed

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """loss = -mean_B(objective). `y_pred` is the `Forward` of this batch."""
        del x  # it is in the pass already
        if y is not None or sample_weight is not None:
            raise ValueError(
                "A VAE explains x by itself. Expected fit(x) or evaluate(x). "
                "Received: a target y or sample weights"
            )
        terms = elbo.reconstruction_kl(y_pred)
        for name, metric in self._terms.items():
            metric.update_state(getattr(terms, name))
        loss = -replicas.mean_over_batch(self.objective(y_pred, terms))
        if training:
            self.objective.advance(y_pred)
        return loss

    def compute_metrics(self, *_, **__):
        return replicas.reported(self.get_metrics_result())

    def predict_step(self, data):
        """The mean of a reconstruction, E[x|z] at z = E[z|x]: tensors, and no randomness."""
        x, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        return self.decode(self.encode(x).mean()).mean()

    def compile(self, optimizer="adam", loss=None, **kwargs):
        chosen = {"loss": loss, **{k: kwargs.get(k) for k in ("metrics", "weighted_metrics")}}
        for name, value in chosen.items():
            if value is not None:
                raise ValueError(
                    "The loss of a VAE is minus the mean of its objective, and its metrics are "
                    f"elbo, reconstruction and kl. Expected no `{name}`; choose the objective in "
                    f"VAE(..., objective=...). Received: {name}={value!r}"
                )
        self.objective.attach(self.prior_layer.latent_size)  # its parts may have been unfrozen
        self.jit_choice = kwargs.get("jit_compile", "auto")  # Keras keeps what it makes of it
        super().compile(optimizer=optimizer, **kwargs)

    def get_compile_config(self):
        return {**super().get_compile_config(), "jit_compile": self.jit_choice}

    def compile_from_config(self, config):
        # Keras asks for this wherever `compile` is overridden; without it a loaded model would
        # lose the state of its optimizer.
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)

    def fit(self, x=None, y=None, batch_size=None, epochs=1, **kwargs):
        """Keras' `fit`, after a look at the data: an array is checked before the first step, a
        `tf.data.Dataset` as it is read, a `PyDataset` by its first batch.

        Arrays and `vt.data.Batches` stay on the device, where one program takes many steps
        (`vae_tf/engine.py`): as many as `compile(steps_per_execution=...)` says; by default a tenth
        of an epoch, or a hundred where that is more, and one at a time for a callback that looks at
        batches. An array is shuffled by the model's own seed. XLA compiles the steps on a GPU, and
        on a CPU in trainings of 2,000 steps or more, unless `compile(jit_compile=False)`.
        """
        kwargs |= {"batch_size": batch_size, "epochs": epochs}
        if kwargs.get("validation_data") is not None:
            validation = self._checked(kwargs["validation_data"], "validation_data")
            kwargs["validation_data"] = validation
        if isinstance(x, (tf.data.Dataset, Batches)):
            kwargs.setdefault("shuffle", False)  # they shuffle themselves, by their own seed
        x = self._checked(x, "x")
        if y is not None:  # `compute_loss` says what is wrong with it
            return super().fit(x, y, **kwargs)
        with engine.Arrays(self) as arrays:
            x, kwargs = arrays.for_fit(x, kwargs)
            return super().fit(x, **kwargs)

    def evaluate(self, x=None, y=None, batch_size=None, **kwargs):
        """Keras' `evaluate`; the data are checked first."""
        kwargs["batch_size"] = batch_size
        # During `fit` Keras comes here with validation data that were checked before.
        x = x if "_use_cached_eval_dataset" in kwargs else self._checked(x, "x")
        if y is not None:
            return super().evaluate(x, y, **kwargs)
        with engine.Arrays(self) as arrays:
            x, kwargs = arrays.for_evaluate(x, kwargs)
            return super().evaluate(x, **kwargs)

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        # Called by Keras before each loop. Under a strategy it takes a batch to see its shape: over
        # several machines that fails for a data set, and the shape is known.
        del data_batch
        engine.take_turns(iterator)
        super()._maybe_symbolic_build(data_batch=(tf.zeros([1, *self.encoder.input_shape[1:]]),))

    def make_train_function(self, force=False):
        if self.train_function is None or force:
            super().make_train_function(force)
            self.train_function = engine.Program(self, self.train_step, self.train_function)

    def make_test_function(self, force=False):
        if self.test_function is None or force:
            super().make_test_function(force)
            self.test_function = engine.Program(self, self.test_step, self.test_function)

    # -- what a trained model is for ---------------------------------------------------------

    def elbo(self, x, num_samples=1, *, seed=None):
        """The ELBO of each example (document, section 1), at beta = 1 whatever was trained.

        Args:
            x: data, shape [B, *event].
            num_samples: S; the Monte Carlo error falls with its square root, and memory does not
                grow with it.
            seed: an integer for the same numbers each time.

        Returns:
            `ElboTerms(elbo, reconstruction, kl)`, each [B], nats.
        """
        return elbo.estimate(self, x, num_samples, seed=self._or_own(seed))

    def sample(self, n, *, seed=None):
        """`n` draws of x: z from the prior, x from p(x|z). Shape [n, *event]."""
        seeds = split(self._or_own(seed), 2)
        z = self.prior.sample(require.count(n, "n"), seed=seeds[0])
        return self.decode(z).sample(seed=seeds[1])

    def reconstruct(self, x, *, seed=None):
        """E[x|z] for one z from q(z|x): shape [B, *event]."""
        return elbo.forward(self, x, seed=self._or_own(seed)).p_x.mean()[0]

    # -- guards and saving -------------------------------------------------------------------

    def _require_shape(self, x):
        """Data as a float tensor [B, *event], or an error that says what was expected."""
        x = tf.convert_to_tensor(x)
        event = self.encoder.input_shape[1:]
        if x.shape.rank != len(event) + 1 or not x.shape[1:].is_compatible_with(event):
            raise ValueError(
                f"Expected `x` of shape [B, {', '.join(map(str, event))}]. "
                f"Received: shape {list(x.shape)}"
            )
        dtype = self.prior_layer.compute_dtype
        return x if x.dtype == dtype else tf.cast(x, dtype)

    def _checked(self, data, name):
        """Data whose every value lies in the support of the likelihood: arrays are checked now,
        a `tf.data.Dataset` batch by batch as it is read, a `PyDataset` by its first batch.
        """
        if isinstance(data, tuple) and len(data) == 1:
            (data,) = data
        if isinstance(data, (tf.Variable, keras.Variable)):
            data = tf.convert_to_tensor(data)
        p_x = self.decode(tf.zeros([1, self.prior_layer.latent_size]))
        if isinstance(data, tf.data.Dataset):
            return data.map(lambda *batch: self._check_in_graph(p_x, batch, name))
        if isinstance(data, keras.utils.PyDataset):
            support.check(p_x, self._require_shape(data[0]), name)
        elif isinstance(data, (np.ndarray, tf.Tensor)):
            part = max(1, chunks.BUDGET // max(1, math.prod(data.shape[1:])))
            for start in range(0, max(1, len(data)), part):
                support.check(p_x, self._require_shape(data[start : start + part]), name)
        return data

    @staticmethod
    def _check_in_graph(p_x, batch, name):
        """For `Dataset.map`: in a graph the check marks what it refuses by NaN."""
        refused = tf.math.is_nan(support.check(p_x, batch[0], name))
        message = f"Expected `{name}` with {support.describe(p_x)}. Received: other values"
        with tf.control_dependencies([tf.debugging.Assert(~tf.reduce_any(refused), [message])]):
            return tuple(tf.identity(part) for part in batch)

    def save_own_variables(self, store):
        # Keras leaves the state of seed generators out; with it a resumed training goes on as
        # if it had never stopped.
        store["seed_generator"] = np.array(self.seed_generator.state)

    def load_own_variables(self, store):
        self.seed_generator.state.assign(store["seed_generator"])

    def get_config(self):
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
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
        for part in ("encoder", "decoder", "prior", "objective"):
            config[part] = keras.saving.deserialize_keras_object(
                config[part], custom_objects=custom_objects
            )
        return cls(**config)
