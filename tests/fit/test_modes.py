"""The same seed gives the same numbers: eagerly, in a graph, under XLA, whatever the epochs."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import make_vae

import vae_tf as vt

GREY = np.random.default_rng(0).random((90, 6)).astype("float32")
BINARY = (GREY < 0.5).astype("float32")
MODES = {
    "eager": {"run_eagerly": True},
    "graph": {"jit_compile": False},
    "XLA": {"jit_compile": True},
    "by itself": {},
}


def losses(mode, epochs=2, data="array", parts=dict):
    keras.utils.set_random_seed(0)
    model = make_vae(event=(6,), hidden=(8,), seed=0, **parts())
    model.compile("adam", **MODES[mode])
    if data == "array":
        return model.fit(BINARY, batch_size=32, epochs=epochs, verbose=0).history["loss"]
    batches = vt.data.Batches(GREY, batch_size=32, seed=0, binarize=True)
    return model.fit(batches, epochs=epochs, verbose=0).history["loss"]


@pytest.mark.parametrize("data", ["array", "pixels drawn anew"])
def test_in_every_mode(data):
    """Rounding of single steps adds up: six steps of 1e-7 each are far below 1e-5."""
    expected = losses("eager", data=data)
    for mode in ("graph", "XLA", "by itself"):
        np.testing.assert_allclose(losses(mode, data=data), expected, rtol=1e-5)


PARTS = {
    "mixture prior": lambda: {"prior": vt.priors.MixtureOfNormals(2, 3)},
    "MMD": lambda: {"objective": vt.objectives.InfoMMD(seed=3)},
    "Factor": lambda: {"objective": vt.objectives.Factor(1.0, hidden=(4,), seed=3)},
    "IWAE": lambda: {"objective": vt.objectives.IWAE(3, gradient="dreg")},
}


@pytest.mark.parametrize("name", PARTS)
def test_whatever_draws_in_training(name):
    expected = losses("graph", parts=PARTS[name])
    np.testing.assert_allclose(losses("XLA", parts=PARTS[name]), expected, rtol=1e-4)


def test_whatever_the_number_of_epochs(monkeypatch):
    """A training long enough for XLA begins as a short one does."""
    from vae_tf._fit import engine

    monkeypatch.setattr(engine, "_LONG", 20)
    short, long = losses("by itself", epochs=2), losses("by itself", epochs=8)
    np.testing.assert_allclose(long[:2], short, rtol=1e-5)


@pytest.mark.parametrize(
    "layer", [vt.layers.NormalDiag, vt.layers.NormalTriL, vt.layers.CouplingFlow]
)
def test_samples_of_q(layer):
    keras.utils.set_random_seed(0)
    encoder = vt.networks.mlp(6, layer(3), hidden=(8,))

    def draw():
        return encoder(BINARY[:5]).sample(7, seed=vt.random.as_seed(1))

    for compiled in (tf.function(draw), tf.function(draw, jit_compile=True)):
        np.testing.assert_allclose(compiled(), draw(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("look", ["elbo", "sample", "reconstruct", "evaluate", "call"])
def test_a_look_in_a_callback_changes_no_training(look):
    class Look(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):  # noqa: ARG002, Keras hands over both
            model = self.model
            argument = 3 if look == "sample" else BINARY[:4]
            (model if look == "call" else getattr(model, look))(argument)

    def train(callbacks):
        keras.utils.set_random_seed(0)
        model = make_vae(event=(6,), hidden=(8,), seed=0)
        options = {"batch_size": 45, "epochs": 3, "verbose": 0, "callbacks": callbacks}
        return model.fit(BINARY, **options).history["loss"]

    assert train([Look()]) == train([])
