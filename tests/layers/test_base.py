"""What all distribution layers share: precision, scales, the order of parameters, arguments."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from conftest import B, S, make_vae

import vae_tf as vt
from vae_tf.layers import base

tfd = tfp.distributions
HALF = ["float16", "bfloat16", "mixed_float16", "mixed_bfloat16"]


@pytest.fixture
def policy():
    """Sets a policy for the time of a test."""
    before = keras.config.dtype_policy()
    yield keras.config.set_dtype_policy
    keras.config.set_dtype_policy(before)


@keras.saving.register_keras_serializable("test_base")
class TwoNormals(vt.layers.ToDistribution):
    """The mixture of the docstring of `ToDistribution`."""

    layout = (2, 2, 2)

    @classmethod
    def params_size(cls, event_shape):
        return 6 * super().params_size(event_shape)

    def distribution(self, params):
        logits, loc, raw = (self.to_event(part, 2) for part in tf.split(params, 3, axis=-1))
        normals = vt.distributions.Normal(loc, base.scale_from(raw, 1e-3))
        return self.independent(vt.distributions.Mixture(tfd.Categorical(logits=logits), normals))


LAYERS = {
    "Normal": lambda **kw: vt.layers.Normal(784, scale="learned", **kw),
    "NormalDiag": lambda **kw: vt.layers.NormalDiag(2, **kw),
    "NormalTriL": lambda **kw: vt.layers.NormalTriL(2, **kw),
    "CouplingFlow": lambda **kw: vt.layers.CouplingFlow(2, **kw),
    "Bernoulli": lambda **kw: vt.layers.Bernoulli(784, **kw),
    "Categorical": lambda **kw: vt.layers.Categorical(784, 3, **kw),
    "NegativeBinomial": lambda **kw: vt.layers.NegativeBinomial(784, **kw),
    "DistributionLayer": lambda **kw: vt.layers.DistributionLayer("StudentT", 784, df=4.0, **kw),
    "Mixture": lambda **kw: vt.layers.Mixture(vt.layers.Bernoulli(784), 3, **kw),
}


@pytest.mark.parametrize("half", HALF)
@pytest.mark.parametrize("name", LAYERS)
class TestFloat32AtLeast:
    def parameters(self, layer):
        return np.random.default_rng(0).normal(size=(B, layer.input_size)).astype("float16")

    def log_prob(self, layer, params):
        p = layer(params)
        return p.log_prob(tf.ones([B, *p.event_shape], p.dtype))

    def test_of_a_layer(self, name, half):
        layer, full = LAYERS[name](dtype=half), LAYERS[name](dtype="float32")
        params = self.parameters(layer)
        got = self.log_prob(layer, params)
        assert got.dtype == tf.float32 and layer.compute_dtype == "float32"
        np.testing.assert_array_equal(got, self.log_prob(full, params))
        assert {weight.dtype for weight in layer.weights} <= {"float32"}
        again = type(layer).from_config(layer.get_config())
        assert again.compute_dtype == "float32"

    def test_of_a_policy(self, name, half, policy):
        policy(half)
        layer = LAYERS[name]()
        assert layer.compute_dtype == layer.variable_dtype == "float32"

    def test_a_learned_number_is_not_rounded_by_the_model_around(self, name, half, policy):
        if name not in ("Normal", "NegativeBinomial"):
            return
        policy(half)
        layer = LAYERS[name]()
        body = keras.layers.Dense(layer.input_size, kernel_initializer="zeros")
        network = keras.Sequential([keras.Input((3,)), body, layer])
        weight = layer.trainable_weights[0]
        weight.assign(tf.fill(weight.shape, 0.1234567))
        expected = self.log_prob(layer, np.zeros((B, layer.input_size), "float32"))
        p = network(np.zeros((B, 3), "float32"))
        np.testing.assert_array_equal(p.log_prob(tf.ones([B, 784])), expected)


def test_float64_stays(policy):
    assert vt.layers.Bernoulli(3, dtype="float64").compute_dtype == "float64"
    policy("float64")
    assert vt.layers.Bernoulli(3).compute_dtype == "float64"


class TestScales:
    @pytest.mark.parametrize("floor", [1e-6, 1e-3])
    def test_raw_from_is_the_inverse_from_the_floor_to_the_largest(self, floor):
        scale = floor + np.concatenate([np.logspace(-12, 0, 25), [1.0, 30.0, 710.0, 1e4, 1e30]])
        raw = base.raw_from(scale, floor)
        assert np.isfinite(raw).all() and raw.dtype == "float64"
        # scale - floor itself has lost the digits that `scale` cannot hold
        rtol = 8 * np.finfo("float64").eps * (1 + floor / (scale - floor))
        above = np.logaddexp(0, raw + np.log(np.expm1(1.0)))
        assert np.all(np.abs(above / (scale - floor) - 1) <= rtol * (1 + np.abs(raw)))

    def test_of_float32_arrays(self):
        scale = np.float32([1e-4, 0.7, 800.0])
        raw = vt.layers.NormalDiag.inverse_scale(scale)
        assert raw.dtype == "float32"
        params = np.concatenate([0 * raw, raw])[None]
        got = vt.layers.NormalDiag(3)(params).stddev()[0]
        # a rounding of raw moves a small scale by |raw| eps
        assert np.all(np.abs(got / scale - 1) <= 4 * np.finfo("float32").eps * (1 + np.abs(raw)))

    def test_the_right_number_above_710(self):
        expected = 800.0 - 1e-6 - np.log(np.expm1(1.0))
        assert vt.layers.NormalDiag.inverse_scale(800.0) == pytest.approx(expected, rel=1e-15)

    @pytest.mark.parametrize("scale", [1e-6, 1e-7, 0.0, -1.0, np.inf, np.nan])
    def test_at_the_floor_and_below(self, scale):
        with pytest.raises(ValueError, match="Expected `scale` to be finite and above its floor"):
            vt.layers.NormalDiag.inverse_scale([0.3, scale])
        layer = vt.layers.Normal(3, scale="learned")
        layer.build((None, 3))
        with pytest.raises(ValueError, match="Expected `scale` to be"):
            layer.set_scale(scale)
        assert layer.raw_scale == 0.0

    def test_a_large_scale_is_set(self):
        layer = vt.layers.Normal(3, scale="learned")
        layer.build((None, 3))
        layer.set_scale(2000.0)
        np.testing.assert_allclose(layer(tf.zeros([1, 3])).stddev(), 2000.0, rtol=1e-6)

    def test_a_layer_without_weights_says_so(self):
        with pytest.raises(ValueError, match="Expected a layer that is part of a model"):
            vt.layers.Normal(3, scale="learned").set_scale(1.0)

    def test_the_starting_scale_is_what_it_was(self):
        """To the bit: saved weights of 0.1.0 mean the same numbers."""
        raw = tf.constant([-3.0, 0.0, 0.25, 5.0])
        bits = base.scale_from(raw, 1e-6).numpy().view("uint32")
        by_hand = 1e-6 + tf.nn.softplus(raw + np.log(np.expm1(1.0)))
        np.testing.assert_array_equal(bits, by_hand.numpy().view("uint32"))


class TestLayout:
    KINDS = {
        "Bernoulli": (vt.layers.Bernoulli((2, 3)), (1,)),
        "Normal": (vt.layers.Normal((2, 3)), (1, 1)),
        "Normal learned": (vt.layers.Normal((2, 3), scale="learned"), (1,)),
        "Categorical": (vt.layers.Categorical((2, 3), 4), (4,)),
        "NB": (vt.layers.NegativeBinomial((2, 3), dispersion="predicted"), (1, 1)),
        "ZINB": (vt.layers.ZeroInflatedNegativeBinomial((2, 3), "predicted"), (1, 1, 1)),
        "StudentT": (vt.layers.DistributionLayer("StudentT", (2, 3)), (1, 1, 1)),
        "mixture": (TwoNormals((2, 3)), (2, 2, 2)),
        "Mixture": (vt.layers.Mixture(vt.layers.Normal((2, 3)), 2, True), (2, 2, 2)),
        "Mixture of categories": (
            vt.layers.Mixture(vt.layers.Categorical((2, 3), 4), 2, True),
            (2, 8),
        ),
    }

    @pytest.mark.parametrize("name", KINDS)
    def test_a_parameter_moves_its_own_dimension(self, name):
        """By the layout, number j of kind k of dimension d: only d's log-density has a gradient."""
        layer, layout = self.KINDS[name]
        assert layer.layout == layout and sum(layout) * 6 == layer.input_size
        params = tf.constant(np.random.default_rng(0).normal(size=(1, layer.input_size)), "float32")
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(params)
            by_dimension = layer(params).distribution.log_prob(tf.ones([2, 3]))
            flat = tf.unstack(tf.reshape(by_dimension, [6]))
        start = 0
        for width in layout:
            own = np.arange(start, start + 6 * width).reshape(6, width)
            for d, value in enumerate(flat):
                gradient = tape.gradient(value, params).numpy()[0, start : start + 6 * width]
                assert set(np.flatnonzero(gradient) + start) <= set(own[d])
            start += 6 * width

    @pytest.mark.parametrize("layer", [vt.layers.NormalTriL(3), vt.layers.CouplingFlow(2)])
    def test_parameters_of_no_single_dimension(self, layer):
        with pytest.raises(ValueError, match="whose parameters belong to single dimensions"):
            _ = layer.layout


class TestArguments:
    @pytest.mark.parametrize("name", LAYERS)
    def test_a_regularizer_of_the_activity_is_refused(self, name):
        """tfp.layers take their KL there; it was accepted and never called."""
        with pytest.raises(ValueError, match="Expected no `activity_regularizer`.*objective holds"):
            LAYERS[name](activity_regularizer=keras.regularizers.L2())
        with pytest.raises(ValueError, match="Expected no `autocast`"):
            LAYERS[name](autocast=False)

    @pytest.mark.parametrize("classes", [1, 0, 2.0, (3, 2), None])
    def test_at_least_two_classes(self, classes):
        with pytest.raises(ValueError, match="Expected `num_classes` to be"):
            vt.layers.Categorical(3, classes)
        with pytest.raises(ValueError, match="Expected `num_classes` to be"):
            vt.layers.Categorical.params_size(3, classes)

    @pytest.mark.parametrize("scale", [np.inf, np.nan, np.array([1.0]), -1.0])
    def test_a_fixed_scale_is_a_positive_number(self, scale):
        with pytest.raises(ValueError, match="Expected `scale` to be a positive number"):
            vt.layers.Normal(3, scale=scale)

    @pytest.mark.parametrize(
        ("family", "fixed"),
        [
            ("Normal", {"scale": -1.0}),
            ("Normal", {"scale": np.inf}),
            ("Normal", {"scale": np.nan}),
            ("StudentT", {"df": 0.0}),
            ("Gamma", {"rate": -2.0}),
        ],
    )
    def test_a_fixed_parameter_outside_its_domain(self, family, fixed):
        with pytest.raises(ValueError, match=r"Expected .*Received"):
            vt.layers.DistributionLayer(family, 2, **fixed)

    def test_fixed_parameters_inside_it(self):
        for family, fixed in (
            ("TruncatedNormal", {"low": 0.0, "high": 2.0}),
            ("Normal", {"loc": -1}),
        ):
            layer = vt.layers.DistributionLayer(family, 2, **fixed)
            assert np.isfinite(layer(tf.zeros([1, layer.input_size])).log_prob([[0.5, 1.0]])).all()


def test_a_mixture_likelihood_trains_and_saves(tmp_path):
    """Against the log-density by hand, and through a whole model."""
    layer = TwoNormals(3, dtype="float64")
    raw = np.random.default_rng(0).normal(size=(B, 18))
    logits, loc, raw_scale = (part.reshape(B, 3, 2) for part in np.split(raw, 3, axis=1))
    scale = 1e-3 + np.logaddexp(0, raw_scale + np.log(np.expm1(1.0)))
    x = np.random.default_rng(1).normal(size=(B, 3))
    density = np.exp(-0.5 * ((x[..., None] - loc) / scale) ** 2) / (scale * np.sqrt(2 * np.pi))
    weights = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    truth = np.log((weights * density).sum(-1)).sum(-1)
    np.testing.assert_allclose(layer(raw).log_prob(x), truth, rtol=1e-12)
    vae = make_vae(2, TwoNormals(3), event=(3,), seed=0)
    x = x.astype("float32")
    vae.fit(x, epochs=2, verbose=0)
    vae.save(tmp_path / "mixture.keras")
    loaded = keras.saving.load_model(tmp_path / "mixture.keras")
    np.testing.assert_array_equal(loaded.elbo(x, S, seed=0).elbo, vae.elbo(x, S, seed=0).elbo)


def test_the_modules_can_be_loaded_again():
    """As notebooks with `%autoreload` do; the KLs are registered with TFP once.

    In a process of its own: layers that were registered anew are other classes than before.
    """
    names = [f"vae_tf.layers.{name}" for name in ("distributions", "counts", "support")]
    code = "import importlib, vae_tf\n"
    code += "".join(f"importlib.reload(importlib.import_module({name!r}))\n" for name in names)
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-2000:]
