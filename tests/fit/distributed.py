"""Run by test_distribution: trains models and writes what came out of it.

python distributed.py one OUT         one process, one device
python distributed.py mirrored OUT    one process, two logical devices
python distributed.py workers OUT     one of several processes; TF_CONFIG says which
"""

import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

import vae_tf as vt

kind, out = sys.argv[1:]
if kind == "mirrored":
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
elif kind == "workers":
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
else:
    strategy = tf.distribute.get_strategy()

BATCH, RATE = 16, 0.1
x = (np.random.default_rng(0).random((64, 6)) < 0.4).astype("float32")


def make(optimizer, noise=False):
    """Without a path from z to x nothing is random, so that replicas can be compared exactly."""
    keras.utils.set_random_seed(0)
    with strategy.scope():
        own = {} if noise else {"kernel_initializer": "zeros"}
        encoder = vt.networks.mlp(6, vt.layers.NormalDiag(3), hidden=(8,))
        decoder = vt.networks.mlp(3, vt.layers.Bernoulli(6), hidden=(8,), **own)
        vae = vt.VAE(encoder, decoder, seed=0)
        vae.compile(optimizer())
    return vae


def adam():
    return keras.optimizers.Adam(0.01)


def sgd():
    return keras.optimizers.SGD(RATE)


def weights_of(vae):
    return {f"weight {i}": w.numpy() for i, w in enumerate(vae.trainable_weights)}


class StepsOfATurn(keras.callbacks.Callback):
    """How many steps one call takes: more than one only on the array path of `vae_tf/engine.py`."""

    def on_epoch_begin(self, *_):
        self.steps = self.model.steps_per_execution


def fitted(data, **kwargs):
    """A model, and what two epochs of Adam report and leave."""
    vae, turn = make(adam), StepsOfATurn()
    history = vae.fit(data, epochs=2, shuffle=False, verbose=0, callbacks=[turn], **kwargs).history
    results = {f"history {name}": np.array(values) for name, values in history.items()}
    steps_of_a_turn.append(turn.steps)
    return vae, {**results, **weights_of(vae)}


def evaluated(vae):
    report = vae.evaluate(x[:37], batch_size=BATCH, return_dict=True, verbose=0)
    return {f"evaluate {name}": np.array(value) for name, value in report.items()}


def used(vae):
    """`evaluate`, `predict`, and `evaluate` of a file that was written under the strategy."""
    vae.save(f"{out}.keras")
    return {
        **evaluated(vae),
        "predict": vae.predict(x[:37], batch_size=BATCH, verbose=0),
        **{f"saved {k}": v for k, v in evaluated(keras.models.load_model(f"{out}.keras")).items()},
    }


def noisy_by_fit(num):
    """One epoch of a model with noise, and its reported ELBO."""
    vae = make(sgd, noise=True)
    elbo = vae.fit(x[:num], batch_size=BATCH, shuffle=False, verbose=0).history["elbo"]
    return {"elbo": np.array(elbo), **weights_of(vae)}


def noisy_by_hand(num):
    """The same on one device, from the definition: two replicas, each with a seed of its own, and
    one step along the mean gradient of the whole batch.
    """
    vae, elbos = make(sgd, noise=True), []
    for step, start in enumerate(range(0, num, BATCH)):
        batch = x[start : min(start + BATCH, num)]
        halves = np.array_split(batch, 2)  # the first is the larger one
        state = tf.constant([0, step], tf.int32)  # of the seed generator: (seed, calls)
        with tf.GradientTape() as tape:
            elbo = [
                vae.elbo(half, seed=tf.random.experimental.stateless_fold_in(state, replica)).elbo
                for replica, half in enumerate(halves)
            ]
            loss = -tf.reduce_mean(tf.concat(elbo, axis=0))
        for weight, slope in zip(
            vae.trainable_variables, tape.gradient(loss, vae.trainable_variables), strict=True
        ):
            weight.assign(weight - RATE * slope)
        elbos.append(tf.concat(elbo, axis=0))
    return {"elbo": np.array([np.mean(np.concatenate(elbos))]), **weights_of(vae)}


def draws():
    """z of the same example in two passes, by each replica of this process: [2, replicas, L]."""
    vae = make(sgd, noise=True)

    @tf.function(autograph=False)
    def draw():
        return strategy.run(lambda: vae(x[:1], training=True).z[0, 0])

    return {"z": np.stack([strategy.experimental_local_results(draw()) for _ in range(2)])}


def array():
    vae, results = fitted(x[:33], batch_size=BATCH, validation_data=x[:21])
    return {**results, **used(vae)}


def batches():
    return fitted(vt.data.Batches(x[:37], BATCH, seed=3))[1]


def dataset():
    return fitted(tf.data.Dataset.from_tensor_slices(x[:37]).batch(BATCH))[1]


def noise():
    return noisy_by_hand(37) if kind == "one" else noisy_by_fit(37)


steps_of_a_turn = []
# With two replicas the last batch of 37 examples is of 3 + 2, of 33 of 1 + 0, of 21 of 3 + 2.
results = {case.__name__: case() for case in (array, batches, dataset, noise, draws)}
names = ("array", "batches", "dataset")
results["steps"] = dict(zip(names, steps_of_a_turn, strict=True))
flat = {f"{case}: {name}": v for case, values in results.items() for name, v in values.items()}
np.savez(f"{out}.npz", **flat)
