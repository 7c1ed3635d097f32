"""From a distribution to a tensor inside a network."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import B

import vae_tf as vt

X = np.random.default_rng(0).normal(size=(B, 4)).astype("float32")


def network(kind, *after, layer=None, **kwargs):
    """x -> parameters -> distribution -> tensor (-> more)."""
    layer = layer or vt.layers.NormalDiag(2)
    params = keras.layers.Dense(layer.input_size)
    body = [keras.Input((4,)), params, layer, vt.layers.ToTensor(kind, **kwargs), *after]
    model = keras.Sequential(body)
    return model, keras.Sequential([keras.Input((4,)), params, layer])


@pytest.mark.parametrize("kind", ["mean", "mode", "stddev"])
def test_it_is_what_the_distribution_says(kind):
    model, ends_before = network(kind)
    assert model.output_shape == (None, 2)
    expected = getattr(ends_before(X), kind)()
    np.testing.assert_array_equal(model(X), expected)
    np.testing.assert_allclose(model.predict(X, verbose=0), expected, rtol=1e-6)


def test_the_shape_of_an_image():
    model, _ = network("mean", keras.layers.Conv2D(3, 3), layer=vt.layers.Bernoulli((8, 8, 1)))
    assert model.output_shape == (None, 6, 6, 3) and model(X).shape == (B, 6, 6, 3)


class TestDraws:
    def test_new_at_each_call_and_again_from_the_seed(self):
        first, _ = network("sample", seed=3)
        again = keras.models.clone_model(first)
        again.set_weights(first.get_weights())
        draws = [first(X).numpy() for _ in range(2)]
        assert np.all(draws[0] != draws[1])
        for draw in draws:
            np.testing.assert_array_equal(again(X), draw)

    def test_the_mean_and_the_spread_are_those_of_the_distribution(self):
        model, ends_before = network("sample", seed=0)
        x = np.repeat(X[:1], 4000, axis=0)
        q, z = ends_before(X[:1]), model(x).numpy()
        loc, scale = q.mean().numpy()[0], q.stddev().numpy()[0]
        assert np.all(abs(z.mean(0) - loc) < 4 * scale / np.sqrt(4000))
        assert np.all(abs(z.std(0) / scale - 1) < 4 / np.sqrt(2 * 4000))

    def test_gradients_pass_through_them(self):
        """z = loc + scale noise: dz/dloc = 1, and dz/dscale is the noise."""
        params = tf.constant(np.random.default_rng(0).normal(size=(B, 4)), "float32")
        to_tensor = vt.layers.ToTensor("sample", seed=0)
        with tf.GradientTape() as tape:
            tape.watch(params)
            q = vt.layers.NormalDiag(2)(params)
            z = to_tensor(q)
        gradient = tape.gradient(z, params).numpy()
        np.testing.assert_array_equal(gradient[:, :2], 1.0)
        noise = (z - q.mean()) / q.stddev()
        of_softplus = 1 / (1 + np.exp(-(params[:, 2:] + np.log(np.expm1(1.0)))))
        np.testing.assert_allclose(gradient[:, 2:], noise * of_softplus, rtol=1e-5)

    @pytest.mark.parametrize("jit_compile", [False, True])
    def test_stock_keras_trains_through_them(self, jit_compile):
        """An ordinary regression on a noisy code, without a VAE around it."""
        model, _ = network("sample", keras.layers.Dense(1), seed=0)
        model.compile(keras.optimizers.Adam(0.05), loss="mse", jit_compile=jit_compile)
        loss = model.fit(np.repeat(X, 50, 0), np.ones((50 * B, 1)), epochs=5, verbose=0)
        assert loss.history["loss"][-1] < loss.history["loss"][0]


@pytest.mark.parametrize("kind", ["sample", "mean"])
def test_saved_and_loaded(kind, tmp_path):
    model, _ = network(kind, keras.layers.Dense(1))
    model(X)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_array_equal(loaded(X), model(X))  # of draws: the next one


def test_two_models_in_one():
    """An encoder whose mean is a feature of another network, by the functional way."""
    x = keras.Input((4,))
    q_z = vt.layers.NormalDiag(2)(keras.layers.Dense(4)(x))
    code, spread = vt.layers.ToTensor("mean")(q_z), vt.layers.ToTensor("stddev")(q_z)
    model = keras.Model(x, [q_z, keras.layers.Dense(1)(keras.layers.Concatenate()([code, spread]))])
    q, y = model(X)
    assert y.shape == (B, 1) and q.event_shape == (2,)


def test_what_it_refuses():
    with pytest.raises(ValueError, match="Expected `kind` to be one of"):
        vt.layers.ToTensor("median")
    with pytest.raises(ValueError, match="Expected no `seed` for the mean"):
        vt.layers.ToTensor("mean", seed=0)
    with pytest.raises(TypeError, match="Expected a distribution.*Received: a tensor"):
        vt.layers.ToTensor("mean")(tf.zeros([5, 2]))


def test_without_it_the_next_layer_refuses_a_distribution():
    x = keras.Input((4,))
    q_z = vt.layers.NormalDiag(2)(keras.layers.Dense(4)(x))
    model = keras.Model(x, keras.layers.Dense(1)(q_z))
    with pytest.raises(TypeError, match="ToTensor"):
        model(X)
