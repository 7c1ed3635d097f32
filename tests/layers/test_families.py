"""Every distribution layer against SciPy or TFP, in Sequential and Functional models."""

import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
import tensorflow_probability as tfp
from conftest import B, L, S, make_vae

import vae_tf as vt
from vae_tf import layers

tfd = tfp.distributions


def softplus_scale(raw, floor=1e-6):
    return floor + np.logaddexp(0, raw + np.log(np.expm1(1.0)))


def params(layer, *lead):
    rng = np.random.default_rng(0)
    return rng.normal(size=(*lead, layer.input_size))


# name: (layer of event shape (2, 3), SciPy's log-density of x from raw parameters and x)
def _halves(raw):
    return (half.reshape(-1, 2, 3) for half in np.split(raw, 2, axis=-1))


def _normal(raw, x):
    loc, raw_scale = _halves(raw)
    return scipy.stats.norm(loc, softplus_scale(raw_scale)).logpdf(x)


def _continuous_bernoulli(raw, x):
    # log C(l) + x log l + (1 - x) log(1 - l), C = 2 artanh(1 - 2 l) / (1 - 2 l)
    p = 1 / (1 + np.exp(-raw.reshape(-1, 2, 3)))
    return np.log(2 * np.arctanh(1 - 2 * p) / (1 - 2 * p)) + x * np.log(p) + (1 - x) * np.log1p(-p)


def _categorical(raw, x):
    logits = raw.reshape(-1, 2, 3, 4)
    log_p = logits - scipy.special.logsumexp(logits, axis=-1, keepdims=True)
    return np.take_along_axis(log_p, x[..., None].astype(int), axis=-1)[..., 0]


def _student(raw, x):
    loc, raw_scale = _halves(raw)
    scale = np.logaddexp(0, raw_scale)  # TFP's own bijector: softplus, with a tiny floor
    return scipy.stats.t(4.0, loc, scale).logpdf(x)


ORACLES = {
    "Bernoulli": (
        layers.Bernoulli((2, 3)),
        lambda raw, x: scipy.stats.bernoulli(1 / (1 + np.exp(-raw.reshape(-1, 2, 3)))).logpmf(x),
        1.0,
    ),
    "ContinuousBernoulli": (layers.ContinuousBernoulli((2, 3)), _continuous_bernoulli, 0.3),
    "Poisson": (
        layers.Poisson((2, 3)),
        lambda raw, x: scipy.stats.poisson(np.exp(raw.reshape(-1, 2, 3))).logpmf(x),
        2.0,
    ),
    "Categorical": (layers.Categorical((2, 3), 4), _categorical, 3.0),
    "Normal predicted": (layers.Normal((2, 3)), _normal, 0.7),
    "Normal fixed": (
        layers.Normal((2, 3), scale=0.4),
        lambda raw, x: scipy.stats.norm(raw.reshape(-1, 2, 3), 0.4).logpdf(x),
        0.7,
    ),
    "Normal learned": (
        layers.Normal((2, 3), scale="learned"),
        lambda raw, x: scipy.stats.norm(raw.reshape(-1, 2, 3), 1.0 + 1e-6).logpdf(x),
        0.7,
    ),
    "StudentT": (layers.DistributionLayer("StudentT", (2, 3), df=4.0), _student, 0.7),
}


@pytest.mark.parametrize("family", ORACLES)
class TestOracle:
    def test_log_prob_is_the_sum_over_the_event(self, family):
        layer, oracle, value = ORACLES[family]
        layer = type(layer).from_config({**layer.get_config(), "dtype": "float64"})
        raw, x = params(layer, B), np.full((B, 2, 3), value)
        expected = oracle(raw, x).sum((-1, -2))
        np.testing.assert_allclose(layer(raw).log_prob(x), expected, rtol=1e-9, atol=1e-9)

    def test_shapes_of_batch_and_event(self, family):
        layer, _, _ = ORACLES[family]
        for lead in ((B,), (S, B)):
            p = layer(params(layer, *lead).astype("float32"))
            assert (p.batch_shape, p.event_shape) == (lead, (2, 3))
            assert p.sample(4, seed=[0, 1]).shape == (4, *lead, 2, 3)

    def test_sequential_functional_and_compiled(self, family):
        layer, _, value = ORACLES[family]
        x = np.full((B, 2, 3), value, "float32")
        inputs = keras.Input((4,))
        dense = keras.layers.Dense(layer.input_size)
        functional = keras.Model(inputs, layer(dense(inputs)))
        sequential = keras.Sequential([inputs, dense, layer])
        assert functional.output_shape == sequential.output_shape == (None, 2, 3)
        h = np.ones((B, 4), "float32")
        expected = functional(h).log_prob(x)
        np.testing.assert_array_equal(sequential(h).log_prob(x), expected)
        for jit in (False, True):
            compiled = tf.function(lambda h: functional(h).log_prob(x), jit_compile=jit)
            np.testing.assert_allclose(compiled(h), expected, rtol=1e-5)

    def test_config(self, family):
        layer, _, _ = ORACLES[family]
        again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
        assert again.get_config() == layer.get_config()
        assert again.input_size == layer.input_size

    def test_wrong_width_is_refused(self, family):
        layer, _, _ = ORACLES[family]
        layer = type(layer).from_config(layer.get_config())
        with pytest.raises(ValueError, match=r"Expected an input of shape .* Received"):
            layer(tf.zeros([B, layer.input_size + 1]))


class TestGaussianLatents:
    def test_params_size(self):
        assert layers.NormalDiag.params_size(L) == 2 * L
        assert layers.NormalTriL.params_size(L) == L + L * (L + 1) // 2
        assert layers.Normal.params_size((2, 3), scale="learned") == 6
        assert layers.Categorical.params_size((2, 3), 4) == 24
        assert layers.DistributionLayer.params_size("Gamma", 3) == 6

    def test_tril_is_a_multivariate_normal(self):
        layer = layers.NormalTriL(L, dtype="float64")
        q = layer(params(layer, B))
        z = np.random.default_rng(1).normal(size=(B, L))
        covariance = q.covariance().numpy()
        expected = [
            scipy.stats.multivariate_normal(m, c).logpdf(v)
            for m, c, v in zip(q.mean().numpy(), covariance, z, strict=True)
        ]
        np.testing.assert_allclose(q.log_prob(z), expected, rtol=1e-9)
        assert np.abs(covariance[:, 0, 1]).min() > 0

    def test_kl_between_full_and_diagonal_in_closed_form(self):
        full = layers.NormalTriL(L, dtype="float64")
        diagonal = layers.NormalDiag(L, dtype="float64")
        q, p = full(params(full, B)), diagonal(params(diagonal, B)[:, ::-1])
        dense = tfd.MultivariateNormalTriL(p.mean(), tf.linalg.diag(p.stddev()))
        for a, b, a_dense, b_dense in ((q, p, q, dense), (p, q, dense, q)):
            expected = tfd.kl_divergence(a_dense, b_dense)
            np.testing.assert_allclose(tfd.kl_divergence(a, b), expected, rtol=1e-9)

    def test_an_untrained_scale_is_one_and_never_below_its_floor(self):
        q = layers.NormalDiag(2, min_scale=0.01)(tf.constant([[0.0, 0.0, 0.0, -100.0]]))
        np.testing.assert_allclose(q.stddev(), [[1.01, 0.01]], rtol=1e-6)

    def test_inverse_scale(self):
        scale = np.array([0.02, 1.0, 7.0])
        raw = layers.NormalDiag.inverse_scale(scale)
        np.testing.assert_allclose(softplus_scale(raw), scale, rtol=1e-9)


class TestFasterFamilies:
    """What they compute is what TFP computes."""

    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    def test_bernoulli(self, dtype):
        logits = tf.constant([-200.0, -30.0, -1.5, 0.0, 0.7, 30.0, 200.0], dtype)
        own = vt.distributions.Bernoulli(logits=logits, dtype=dtype)
        tfp_own = tfp.distributions.Bernoulli(logits=logits, dtype=dtype)
        for x in ([[0.0], [1.0]], [[1], [0]]):
            with tf.GradientTape(persistent=True) as tape:
                tape.watch(logits)
                values = (
                    own.copy(logits=logits).log_prob(x),
                    tfp_own.copy(logits=logits).log_prob(x),
                )
            eps = np.finfo(dtype).eps
            np.testing.assert_allclose(*values, rtol=4 * eps)
            np.testing.assert_allclose(*(tape.gradient(v, logits) for v in values), atol=4 * eps)

    def test_normal(self):
        for arguments in ((0.0, 1.0), ([1.0, 2.0], [[0.5], [3.0]])):
            own = vt.distributions.Normal(*arguments).sample(5, seed=[1, 2])
            tfp_own = tfp.distributions.Normal(*arguments).sample(5, seed=[1, 2])
            # Both add loc and scale * noise; of each the last digits are rounded.
            loc, scale = np.abs(arguments[0]), np.array(arguments[1])
            size = np.max(loc) + np.max(scale) * np.abs((tfp_own - arguments[0]) / scale).max()
            np.testing.assert_allclose(
                own, tfp_own, rtol=0, atol=4 * np.finfo("float32").eps * size
            )

    def test_normal_draws_under_xla_are_normal(self):
        program = tf.function(
            lambda: vt.distributions.Normal(3.0, 2.0).sample(10_000, seed=[1, 2]), jit_compile=True
        )
        # A fit without parameters: p-values are uniform where the draws are what they should be.
        assert scipy.stats.kstest(program().numpy(), "norm", (3.0, 2.0)).pvalue > 1e-4


class TestADistributionIsNotATensor:
    @pytest.mark.parametrize("layer", [layers.NormalDiag(2), layers.NormalTriL(2)])
    def test_predict_and_the_next_layer_say_what_to_take(self, layer):
        network = vt.networks.mlp(4, layer, hidden=())
        h = np.ones((B, 4), "float32")
        for attempt in (
            lambda: network.predict(h, verbose=0),
            lambda: keras.layers.Dense(3)(network(h)),
            lambda: keras.Sequential([network, keras.layers.Dense(3)])(h),
            lambda: np.asarray(network(h)),
        ):
            with pytest.raises(TypeError, match="Expected a tensor. Received: a distribution"):
                attempt()

    def test_its_mean_and_samples_are(self):
        network = vt.networks.mlp(4, layers.NormalDiag(2), hidden=())
        q = network(np.ones((B, 4), "float32"))
        assert keras.layers.Dense(3)(q.mean()).shape == (B, 3)
        assert keras.layers.Dense(3)(q.sample(seed=[0, 1])).shape == (B, 3)


class TestBadArguments:
    @pytest.mark.parametrize("size", [0, -1, 2.0, "2", True, None, (), (2, 0)])
    def test_event_sizes(self, size):
        for make in (layers.NormalDiag, layers.Bernoulli, vt.priors.StandardNormal):
            with pytest.raises(ValueError, match=r"Expected `\w+` to be a positive integer"):
                make(size)

    @pytest.mark.parametrize("scale", [0, -1.0, "wide", None, True])
    def test_scales(self, scale):
        with pytest.raises(ValueError, match="Expected `scale`"):
            layers.Normal(3, scale=scale)

    def test_families(self):
        with pytest.raises(ValueError, match="Expected `family`"):
            layers.DistributionLayer("Gaussian", 3)
        with pytest.raises(ValueError, match="Expected parameters of StudentT"):
            layers.DistributionLayer("StudentT", 3, nu=4.0)
        with pytest.raises(ValueError, match="scalar for each dimension"):
            layers.DistributionLayer("Dirichlet", 3)
        with pytest.raises(ValueError, match="scalar for each dimension"):  # one is, one is not
            layers.DistributionLayer("VonMisesFisher", 3)

    def test_networks(self):
        with pytest.raises(TypeError, match="Expected `output`"):
            vt.networks.mlp(3, keras.layers.Dense(3))
        with pytest.raises(ValueError, match="multiples of 4"):
            vt.networks.conv_decoder(2, layers.Bernoulli((9, 8)))
        with pytest.raises(ValueError, match="Expected images"):
            vt.networks.conv_encoder((8,), layers.NormalDiag(2))


class TestBatchApply:
    def test_a_distribution_keeps_its_family_and_its_numbers(self):
        z = np.random.default_rng(0).normal(size=(S, B, 4)).astype("float32")
        for layer in (*[layer for layer, _, _ in ORACLES.values()], layers.NormalTriL(L)):
            network = vt.networks.mlp(4, type(layer).from_config(layer.get_config()), hidden=(6,))
            p = vt.networks.batch_apply(network, z if tf.is_tensor(z) else tf.constant(z))
            assert type(p) is type(network(z[0]))
            x = p.sample(seed=[0, 1])
            expected = [network(z[s]).log_prob(x[s]) for s in range(S)]
            np.testing.assert_allclose(p.log_prob(x), expected, rtol=1e-4, atol=1e-4)

    def test_tensors(self):
        dense = keras.layers.Dense(3)
        z = tf.random.stateless_normal([S, 2, B, 4], [0, 1])
        assert vt.networks.batch_apply(dense, z).shape == (S, 2, B, 3)
        assert vt.networks.batch_apply(dense, z[0, 0]).shape == (B, 3)

    def test_an_exotic_distribution_is_wrapped(self):
        def network(z):
            mixture = tfd.Categorical(logits=z)
            components = tfd.Normal(z, 1.0)
            return tfd.MixtureSameFamily(mixture, components)

        p = vt.networks.batch_apply(network, tf.zeros([S, B, 4]))
        assert p.batch_shape == (S, B)

    def test_conv_decoder_keeps_the_parameters_of_a_pixel_together(self):
        """loc in the first half, raw scale in the second: filter k of the last convolution is
        parameter k of every pixel."""
        decoder = vt.networks.conv_decoder(2, layers.Normal((8, 8)), filters=(4, 3), hidden=5)
        last = decoder.layers[-5]
        kernel, _ = last.get_weights()
        last.set_weights([np.zeros_like(kernel), np.array([5.0, 0.0], "float32")])
        p = decoder(np.ones((1, 2), "float32"))
        np.testing.assert_allclose(p.mean(), 5.0)
        np.testing.assert_allclose(p.stddev(), 1.0 + 1e-6, rtol=1e-6)


class TestOptimalScale:
    """The sigma-VAE: one learned scale, whose best value is known."""

    def layer_at(self, scale, loc):
        layer = vt.layers.Normal(4, scale="learned", dtype="float64")
        layer(loc)  # builds it
        layer.set_scale(scale)
        return layer

    def test_the_log_likelihood_there(self, rng):
        x, loc = rng.normal(size=(2, 7, 4))
        scale = vt.layers.Normal.optimal_scale(x, loc)
        mean_square = np.mean((x - loc) ** 2)
        log_likelihood = self.layer_at(scale, loc)(loc).log_prob(x)
        expected = -4 / 2 * np.log(2 * np.pi * np.e * mean_square)
        np.testing.assert_allclose(np.mean(log_likelihood), expected, rtol=1e-12)

    def test_no_other_scale_is_better(self, rng):
        x, loc = rng.normal(size=(2, 7, 4))
        scale = vt.layers.Normal.optimal_scale(x, loc)
        layer = self.layer_at(scale, loc)
        with tf.GradientTape() as tape:
            log_likelihood = tf.reduce_mean(layer(loc).log_prob(x))
        assert abs(tape.gradient(log_likelihood, layer.raw_scale.value)) < 1e-12
        for other in (0.8 * scale, 1.25 * scale):
            worse = np.mean(self.layer_at(other, loc)(loc).log_prob(x))
            assert worse < log_likelihood - 0.1

    def test_training_finds_it(self, binary_digits):
        x = binary_digits[0][:256]
        vae = make_vae(2, vt.layers.Normal((8, 8), scale="learned"), seed=0)
        vae.compile(keras.optimizers.Adam(1e-2))
        vae.fit(x, epochs=60, verbose=0)
        one_pass = vae(x, num_samples=50, seed=1)
        optimal = vt.layers.Normal.optimal_scale(x, one_pass.p_x.mean())
        learned = float(np.ravel(one_pass.p_x.stddev())[0])
        # d log-likelihood / d log scale = D (MSE / scale^2 - 1): small where training has settled
        assert abs(learned / optimal - 1) < 0.02

    def test_only_a_learned_scale_can_be_set(self):
        with pytest.raises(ValueError, match='Expected a layer with scale="learned"'):
            vt.layers.Normal(4, scale=0.5).set_scale(1.0)
