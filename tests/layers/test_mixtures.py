"""Mixtures of any family: against sums by hand, against TFP's, and through whole models."""

import keras
import numpy as np
import pytest
import scipy.special
import scipy.stats
import tensorflow as tf
import tensorflow_probability as tfp
from conftest import B, S, make_vae

import vae_tf as vt

tfd = tfp.distributions
K, EVENT = 4, (2, 3)

FAMILIES = {
    "Normal": vt.layers.Normal,
    "Normal, fixed": lambda event, **kw: vt.layers.Normal(event, scale=0.7, **kw),
    "Normal, learned": lambda event, **kw: vt.layers.Normal(event, scale="learned", **kw),
    "Bernoulli": vt.layers.Bernoulli,
    "ContinuousBernoulli": vt.layers.ContinuousBernoulli,
    "Categorical": lambda event, **kw: vt.layers.Categorical(event, 5, **kw),
    "DiscretizedLogistic": vt.layers.DiscretizedLogistic,
    "NegativeBinomial": vt.layers.NegativeBinomial,
    "ZINB": lambda event, **kw: vt.layers.ZeroInflatedNegativeBinomial(event, "predicted", **kw),
    "Logistic": lambda event, **kw: vt.layers.DistributionLayer("Logistic", event, **kw),
    "StudentT": lambda event, **kw: vt.layers.DistributionLayer("StudentT", event, df=4.0, **kw),
}
VECTORS = {"NormalTriL": vt.layers.NormalTriL, "CouplingFlow": vt.layers.CouplingFlow}


def raw(layer, *lead, seed=0):
    return np.random.default_rng(seed).normal(size=(*lead, layer.input_size))


def mean_and_scale(loc, raw_scale, floor=1e-6):
    return loc, floor + np.logaddexp(0, raw_scale + np.log(np.expm1(1.0)))


def mixed(logits, log_p, axis):
    """log sum_k share_k p_k."""
    return scipy.special.logsumexp(scipy.special.log_softmax(logits, axis) + log_p, axis)


def of_all(p, x):
    """Log-densities of examples under the batch [S, B]."""
    return p.log_prob(tf.cast(x, p.dtype)).numpy()


@pytest.mark.parametrize("name", [*FAMILIES, *VECTORS])
def test_one_component_for_the_event_by_the_layer_itself(name):
    """K calls of the family's own layer, weighted and added up in float64."""
    event = EVENT if name in FAMILIES else (3,)
    component = (FAMILIES | VECTORS)[name](event, dtype="float64")
    layer = vt.layers.Mixture(component, K)
    assert layer.compute_dtype == "float64" and layer.event_shape == event
    params, x = raw(layer, S, B), np.ones((B, *event))
    logits, rest = params[..., :K], np.split(params[..., K:], K, axis=-1)
    p = layer(params)
    assert p.batch_shape == (S, B) and p.event_shape == event
    each = [layer.components(part).log_prob(x) for part in rest]
    np.testing.assert_allclose(of_all(p, x), mixed(logits, np.stack(each, -1), -1), rtol=1e-12)


@pytest.mark.parametrize("name", FAMILIES)
def test_one_component_for_each_dimension_by_the_layer_itself(name):
    """A mixture for each dimension is one of single numbers, dimension by dimension."""
    component = FAMILIES[name](EVENT, dtype="float64")
    layer = vt.layers.Mixture(component, K, per_dimension=True)
    params, x = raw(layer, S, B), np.ones((B, *EVENT))
    p = layer(params)
    assert p.batch_shape == (S, B) and p.event_shape == EVENT
    total, single = 0.0, FAMILIES[name](1, dtype="float64")
    for d in range(6):
        of_d, start = [], 0  # [S, B, K, numbers of that kind]
        for width in layer.layout:
            kind = params[..., start : start + 6 * width].reshape(S, B, 6, width)
            of_d.append(kind[..., d, :].reshape(S, B, K, width // K))
            start += 6 * width
        logits, *numbers = of_d
        one = single(np.concatenate(numbers, axis=-1)).log_prob(np.ones(1))
        total = total + mixed(logits[..., 0], one, -1)
    np.testing.assert_allclose(of_all(p, x), total, rtol=1e-12)


class TestNormals:
    """Everything by hand, with NumPy and SciPy."""

    x = np.random.default_rng(1).normal(size=(B, 3))

    def test_for_the_event(self):
        layer = vt.layers.Mixture(vt.layers.Normal(3, dtype="float64"), K)
        params = raw(layer, B)
        loc, scale = mean_and_scale(*np.split(params[:, K:].reshape(B, K, 6), 2, axis=-1))
        log_p = scipy.stats.norm(loc, scale).logpdf(self.x[:, None]).sum(-1)
        p = layer(params)
        truth = mixed(params[:, :K], log_p, -1)
        np.testing.assert_allclose(p.log_prob(self.x), truth, rtol=1e-12)
        # the mean of means; the mean of variances and the variance of means
        share = scipy.special.softmax(params[:, :K], axis=-1)[..., None]
        mean = (share * loc).sum(1)
        variance = (share * (scale**2 + (loc - mean[:, None]) ** 2)).sum(1)
        np.testing.assert_allclose(p.mean(), mean, rtol=1e-12)
        np.testing.assert_allclose(p.variance(), variance, rtol=1e-12)

    def test_for_each_dimension(self):
        layer = vt.layers.Mixture(vt.layers.Normal(3, dtype="float64"), K, per_dimension=True)
        params = raw(layer, B)
        logits, loc, raw_scale = (part.reshape(B, 3, K) for part in np.split(params, 3, axis=1))
        loc, scale = mean_and_scale(loc, raw_scale)
        log_p = scipy.stats.norm(loc, scale).logpdf(self.x[..., None])
        truth = mixed(logits, log_p, -1).sum(-1)
        np.testing.assert_allclose(layer(params).log_prob(self.x), truth, rtol=1e-12)
        share = scipy.special.softmax(logits, axis=-1)
        np.testing.assert_allclose(layer(params).mean(), (share * loc).sum(-1), rtol=1e-12)

    def test_equal_components_are_one(self):
        one = vt.layers.Normal(3, dtype="float64")
        params = raw(one, B)
        p = vt.layers.Mixture(one, K)(np.concatenate([raw(one, B)[:, :K], *[params] * K], axis=1))
        np.testing.assert_allclose(p.log_prob(self.x), one(params).log_prob(self.x), rtol=1e-12)

    @pytest.mark.parametrize("per_dimension", [False, True])
    def test_the_density_has_the_area_one(self, per_dimension):
        component = vt.layers.Normal(1, scale=0.5, dtype="float64")
        layer = vt.layers.Mixture(component, K, per_dimension)
        x = np.linspace(-12, 12, 20001)
        density = np.exp(layer(raw(layer, 1)).log_prob(x[:, None, None]))[:, 0]
        assert density.sum() * (x[1] - x[0]) == pytest.approx(1.0, abs=1e-12)


class TestDraws:
    def draws(self, per_dimension):
        """Components that lie far apart, so that a draw says where it comes from."""
        component = vt.layers.Normal(2, scale=1e-3)
        layer = vt.layers.Mixture(component, 3, per_dimension)
        share = np.array([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7]])
        if per_dimension:
            params = np.concatenate([np.log(share).ravel(), [0, 1, 2, 0, 1, 2]])
        else:
            params = np.concatenate([np.log(share[0]), [0, 0, 1, 1, 2, 2]])
        p = layer(params[None].astype("float32"))
        return np.rint(p.sample(4000, seed=[0, 1]).numpy()[:, 0]).astype(int), share

    def test_the_event_draws_once(self):
        which, share = self.draws(False)
        np.testing.assert_array_equal(which[:, 0], which[:, 1])
        self.frequencies(which[:, 0], share[0])

    def test_each_dimension_draws_by_itself(self):
        which, share = self.draws(True)
        for d in range(2):
            self.frequencies(which[:, d], share[d])
        together = np.mean((which[:, 0] == 0) & (which[:, 1] == 2))
        assert abs(together - 0.35) < 4 * np.sqrt(0.35 * 0.65 / 4000)

    def frequencies(self, which, share):
        found = np.bincount(which, minlength=3) / 4000
        assert np.all(abs(found - share) < 4 * np.sqrt(share * (1 - share) / 4000))


class TestAsTFP:
    """What TFP tests of its mixtures (distribution_layer_test.py), in Keras 3."""

    COMPONENTS = {
        "MixtureNormal": (vt.layers.Normal, tfd.Normal),
        "MixtureLogistic": (FAMILIES["Logistic"], tfd.Logistic),
        "MixtureSameFamily": (vt.layers.NormalTriL, tfd.MultivariateNormalTriL),
        "CategoricalMixtureOfOneHotCategorical": (FAMILIES["Categorical"], tfd.Categorical),
    }

    def layer(self, name, dtype="float32"):
        return vt.layers.Mixture(self.COMPONENTS[name][0](3, dtype=dtype), K)

    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    @pytest.mark.parametrize("static", [True, False])
    @pytest.mark.parametrize("name", COMPONENTS)
    def test_parameters_go_where_they_belong(self, name, static, dtype):
        layer, family = self.layer(name, dtype), self.COMPONENTS[name][1]
        params = tf.constant(raw(layer, 7, 5), dtype)
        seen = []

        @tf.function(input_signature=[tf.TensorSpec([7, 5] if static else [None, None], dtype)])
        def shapes(x):
            p = layer(tf.repeat(x[..., None], layer.input_size, axis=-1))
            seen.append(p.batch_shape)
            return p.log_prob(tf.ones(p.event_shape, p.dtype))

        assert shapes(params[..., 0]).shape == (7, 5)
        assert seen[0] == ([7, 5] if static else [None, None])
        p = layer(params)
        assert p.dtype == dtype and isinstance(p, tfd.MixtureSameFamily)
        parts = getattr(p.components_distribution, "distribution", p.components_distribution)
        if name != "MixtureSameFamily":
            assert isinstance(p.components_distribution, tfd.Independent)
        else:
            parts = p.components_distribution
        assert isinstance(parts, family)
        np.testing.assert_array_equal(p.mixture_distribution.logits, params[..., :K])
        of_components = tf.reshape(params[..., K:], [7, 5, K, -1])
        first = parts.logits if name.startswith("Categorical") else parts.loc
        first = tf.reshape(first, [7, 5, K, -1])
        np.testing.assert_array_equal(first, of_components[..., : first.shape[-1]])

    @pytest.mark.parametrize("name", COMPONENTS)
    @pytest.mark.parametrize("per_dimension", [False, True])
    def test_saved_and_loaded_to_the_bit(self, name, per_dimension, tmp_path):
        if per_dimension and name == "MixtureSameFamily":
            return  # a full covariance joins the dimensions
        layer = vt.layers.Mixture(self.COMPONENTS[name][0](3), K, per_dimension)
        dense = keras.layers.Dense(layer.input_size)
        model = keras.Sequential([keras.Input((6,)), dense, layer])
        model.save(tmp_path / "mixture.keras")
        loaded = keras.saving.load_model(tmp_path / "mixture.keras", safe_mode=True)
        x, y = np.random.default_rng(0).normal(size=(B, 6)), np.ones((S, B, 3), "float32")
        np.testing.assert_array_equal(loaded(x).log_prob(y), model(x).log_prob(y))
        assert loaded.layers[-1].get_config() == layer.get_config()

    @pytest.mark.parametrize("name", ["MixtureNormal", "MixtureLogistic", "MixtureSameFamily"])
    def test_exported_with_the_mean_as_output(self, name, tmp_path):
        layer = self.layer(name)
        dense = keras.layers.Dense(layer.input_size)
        body = [keras.Input((6,)), dense, layer, vt.layers.ToTensor("mean"), keras.layers.Dense(1)]
        model = keras.Sequential(body)
        x = np.random.default_rng(0).normal(size=(B, 6)).astype("float32")
        model.export(tmp_path / "served", verbose=False)
        served = tf.saved_model.load(tmp_path / "served")
        np.testing.assert_allclose(served.serve(x), model(x), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(model.predict(x, verbose=0), model(x), rtol=1e-5, atol=1e-6)

    @pytest.mark.parametrize("name", COMPONENTS)
    def test_a_mixture_density_network_comes_down_to_the_entropy(self, name):
        """Two branches, y = +- 4 + noise: the entropy of the noise, and one bit of the sign."""
        rng = np.random.default_rng(0)
        x = rng.normal(size=(2000, 1)).astype("float32")
        if name.startswith("Categorical"):  # categories 0 and 1 or 3 and 4 of five, all alike
            y, entropy = rng.choice([0, 1, 3, 4], (2000, 1)), np.log(4)
            component = vt.layers.Categorical(1, 5)
        else:
            noise = scipy.stats.logistic if name == "MixtureLogistic" else scipy.stats.norm
            branch = rng.choice([-4.0, 4.0], (2000, 1))
            y = branch + noise(scale=0.5).rvs((2000, 1), random_state=rng)
            entropy = noise(scale=0.5).entropy() + np.log(2)
            component = self.COMPONENTS[name][0](1)
        y = y.astype("float32")
        layer = vt.layers.Mixture(component, 2)
        model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(layer.input_size), layer])
        start = np.zeros(layer.input_size)
        start[2], start[2 + component.input_size] = -1.0, 1.0  # components that differ
        model.set_weights([np.zeros((1, layer.input_size)), start])
        optimizer = keras.optimizers.Adam(0.1)
        optimizer.build(model.trainable_variables)

        @tf.function
        def step():
            with tf.GradientTape() as tape:
                loss = -tf.reduce_mean(model(x).log_prob(y))
            optimizer.apply(tape.gradient(loss, model.trainable_variables))
            return loss

        losses = [float(step()) for _ in range(200)]
        log_p = model(x).log_prob(y).numpy()
        # a mean of 2000 log-densities has this standard error; what was fitted lies a little below
        error = max(log_p.std() / np.sqrt(2000), 0.01)
        assert losses[0] > entropy + 0.1 and abs(losses[-1] - entropy) < 4 * error


class TestWithAModel:
    def test_pixels_of_a_convolution(self):
        """Per dimension, the parameters of a pixel find their way: `vt.networks.by_kind`."""
        likelihood = vt.layers.Mixture(vt.layers.DiscretizedLogistic((8, 8)), 3, per_dimension=True)
        assert likelihood.layout == (3, 3, 3) and likelihood.input_size == 9 * 64
        decoder = vt.networks.conv_decoder(2, likelihood, (4,), hidden=8)
        p = vt.networks.batch_apply(decoder, tf.zeros([S, B, 2]))
        assert p.batch_shape == (S, B) and p.event_shape == (8, 8)
        assert np.isfinite(p.log_prob(np.ones((B, 8, 8), "float32"))).all()

    def test_what_is_learned_is_saved(self, tmp_path):
        component = vt.layers.Normal(3, scale="learned")
        vae = make_vae(2, vt.layers.Mixture(component, K), event=(3,), seed=0)
        x = np.random.default_rng(0).normal(size=(B, 3)).astype("float32")
        vae.fit(x, epochs=2, verbose=0)
        (learned,) = vae.decoder.layers[-1].trainable_weights
        assert learned.shape == () and float(learned) != 0.0
        vae.save(tmp_path / "vae.keras")
        loaded = keras.saving.load_model(tmp_path / "vae.keras")
        np.testing.assert_array_equal(loaded.elbo(x, S, seed=0).elbo, vae.elbo(x, S, seed=0).elbo)
        assert not component.built  # the layer that was given is only a description

    def test_data_outside_the_support_are_refused(self):
        vae = make_vae(2, vt.layers.Mixture(vt.layers.Bernoulli(3), K), event=(3,))
        with pytest.raises(ValueError, match="only the values 0 and 1"):
            vae.elbo(np.full((B, 3), 0.5, "float32"))

    def test_as_a_posterior_it_is_refused(self):
        encoder = vt.networks.mlp(3, vt.layers.Mixture(vt.layers.NormalDiag(2), K))
        with pytest.raises(ValueError, match="reparameterized"):
            vt.VAE(encoder, vt.networks.mlp(2, vt.layers.Normal(3)))

    def test_of_half_precision_it_is_computed_in_float32(self):
        layer = vt.layers.Mixture(vt.layers.Normal(3), K, dtype="mixed_bfloat16")
        assert layer.compute_dtype == layer.components.compute_dtype == "float32"
        double = vt.layers.Mixture(vt.layers.Normal(3), K, dtype="float64")
        assert double(raw(double, B)).dtype == double.components.compute_dtype == "float64"


class TestArguments:
    @pytest.mark.parametrize("number", [1, 0, 2.0, None])
    def test_at_least_two_components(self, number):
        with pytest.raises(ValueError, match="Expected `num_components`"):
            vt.layers.Mixture(vt.layers.Normal(3), number)
        with pytest.raises(ValueError, match="Expected `num_components`"):
            vt.layers.Mixture.params_size(vt.layers.Normal(3), number)

    def test_a_component_is_a_layer(self):
        with pytest.raises(TypeError, match="Expected `component` to be a distribution layer"):
            vt.layers.Mixture("Normal", 3)

    @pytest.mark.parametrize("name", VECTORS)
    def test_dimensions_that_belong_together(self, name):
        with pytest.raises(ValueError, match="whose parameters belong to single dimensions"):
            vt.layers.Mixture(VECTORS[name](3), K, per_dimension=True)

    def test_a_logit_of_the_event_has_no_dimension(self):
        with pytest.raises(ValueError, match="per_dimension=True makes one for each dimension"):
            _ = vt.layers.Mixture(vt.layers.Normal(3), K).layout

    @pytest.mark.parametrize("name", [*FAMILIES, *VECTORS])
    @pytest.mark.parametrize("per_dimension", [False, True])
    def test_how_wide_the_layer_before_is(self, name, per_dimension):
        if per_dimension and name in VECTORS:
            return
        component = (FAMILIES | VECTORS)[name](3)
        layer = vt.layers.Mixture(component, K, per_dimension)
        assert layer.input_size == vt.layers.Mixture.params_size(component, K, per_dimension)
        with pytest.raises(ValueError, match=f"takes {layer.input_size} parameters"):
            layer(tf.zeros([B, layer.input_size + 1]))
