"""What Keras keeps to itself may go: then `fit` goes Keras' own way, with the same numbers."""

import keras
import numpy as np
import pytest
from conftest import make_vae

from vae_tf._fit import keras_private

X = (np.random.default_rng(0).random((96, 6)) < 0.5).astype("float32")


def history():
    keras.utils.set_random_seed(0)
    model = make_vae(event=(6,), hidden=(8,), seed=0)
    return model.fit(X, epochs=2, batch_size=16, validation_data=X[:20], verbose=0).history


@pytest.mark.parametrize("gone", ["data_adapter", "_dataset", "steps_per_execution"])
def test_without_turns_every_step_is_called_by_itself(gone, monkeypatch):
    expected, calls = history(), keras_private.calls_in_turns

    class Renamed:
        """Keras' iterator, of which one attribute has another name."""

        def __init__(self, iterator):
            self._iterator = iterator

        def __getattr__(self, name):
            if name == gone or (gone == "_dataset" and name == "data_adapter"):
                raise AttributeError(name)
            return getattr(self._iterator, name)

    monkeypatch.setattr(keras_private, "calls_in_turns", lambda it: calls(Renamed(it)))
    found = history()
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-6)


def test_a_hook_that_is_never_called_leaves_fit_as_it_was(monkeypatch):
    expected = history()
    monkeypatch.setattr(keras_private, "calls_in_turns", lambda *_: None)
    monkeypatch.setattr(keras_private, "needs_no_batch", lambda *_: None)
    assert history()["loss"] == pytest.approx(expected["loss"], rel=1e-6)


def test_a_layer_that_cannot_be_forgotten_stays():
    keras_private.forget(object(), object())


def test_a_sweep_with_weight_decay_says_what_is_missing():
    with pytest.raises(NotImplementedError, match="Expected an optimizer without `weight_decay`"):
        keras_private.decays(object(), object())
