"""The coupling flow against quadrature, automatic differentiation and a banana."""

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


def flow(event_size, dtype="float64", **kwargs):
    return layers.CouplingFlow(event_size, dtype=dtype, **kwargs)


def rows(layer, *lead, seed=0, size=0.5):
    params = size * np.random.default_rng(seed).normal(size=(*lead, layer.input_size))
    return tf.constant(params, layer.compute_dtype)


def flow_vae(latents=2, **kwargs):
    encoder = vt.networks.mlp((8, 8), layers.CouplingFlow(latents), hidden=(32,))
    decoder = vt.networks.mlp(latents, layers.Bernoulli((8, 8)), hidden=(32,))
    return vt.VAE(encoder, decoder, **kwargs)


@pytest.fixture(scope="module")
def trained_flow(binary_digits):
    keras.utils.set_random_seed(0)
    vae = flow_vae(seed=0)
    history = vae.fit(binary_digits[0], epochs=3, batch_size=64, verbose=0).history["elbo"]
    return vae, history


class TestDensity:
    def test_it_integrates_to_one(self):
        """Bent flows in the plane, by the trapezoid rule, which is exact for what is smooth."""
        layer = flow(2)
        u = np.linspace(-15, 15, 401)
        z = np.stack(np.meshgrid(u, u, indexing="ij"), axis=-1).reshape(-1, 1, 2)
        for seed in range(3):
            q = layer(rows(layer, 1, seed=seed, size=0.3))
            mass = np.exp(q.log_prob(z).numpy()).sum() * (u[1] - u[0]) ** 2
            assert mass == pytest.approx(1.0, abs=1e-7)

    @pytest.mark.parametrize("latents", [2, 3, 5])
    def test_it_is_the_base_density_over_the_determinant(self, latents):
        layer = flow(latents)
        params, noise = (
            rows(layer, B),
            tf.random.stateless_normal([B, latents], [0, 1], dtype=tf.float64),
        )
        with tf.GradientTape() as tape:
            tape.watch(noise)
            z = layer(params).bijector.forward(noise)
        jacobian = tape.batch_jacobian(z, noise)
        base = scipy.stats.norm.logpdf(noise).sum(-1)
        expected = base - np.linalg.slogdet(jacobian)[1]
        fresh = layer(params)  # it has seen no sample, and must invert
        np.testing.assert_allclose(fresh.log_prob(tf.identity(z)), expected, rtol=1e-10)
        np.testing.assert_allclose(fresh.bijector.inverse(tf.identity(z)), noise, atol=1e-10)
        off_diagonal = jacobian.numpy()[:, ~np.eye(latents, dtype=bool)]
        assert np.abs(off_diagonal).max(axis=0).min() > 1e-3  # every entry moves every other

    def test_samples_fall_where_the_density_says(self):
        """Counts in 36 cells against the integral of the density over each."""
        layer, n, half = flow(2), 40_000, 6
        params = rows(layer, 1, seed=1)
        z = layer(params).sample(n, seed=[0, 1])[:, 0]
        edges = np.linspace(-3, 3, half + 1)
        counts = np.histogram2d(*z.numpy().T, bins=[edges, edges])[0]
        nodes, weights = np.polynomial.legendre.leggauss(24)
        u = (edges[:-1, None] + (nodes + 1) / 2).ravel()  # each cell is one wide
        grid = np.stack(np.meshgrid(u, u, indexing="ij"), axis=-1)
        density = np.exp(layer(params).log_prob(grid.reshape(-1, 1, 2)).numpy())
        cells = density.reshape(half, 24, half, 24)
        share = np.einsum("aibj,i,j->ab", cells, weights / 2, weights / 2)
        assert 0.5 < share.sum() < 1 and share.min() < 0.01 < share.max()
        assert (np.abs(counts - n * share) < 4 * np.sqrt(n * share * (1 - share)) + 1).all()

    def test_at_zero_it_is_the_standard_normal(self):
        for latents in (2, 3, 5):
            q = flow(latents)(tf.zeros([B, flow(latents).input_size], tf.float64))
            z = q.sample(S, seed=[0, 1])
            expected = scipy.stats.norm(scale=1 + 1e-6).logpdf(z).sum(-1)
            np.testing.assert_allclose(q.log_prob(z), expected, rtol=1e-12)

    def test_zero_is_no_saddle(self):
        """A gradient that is zero there would never let the couplings bend."""
        layer = flow(2, num_flows=2, hidden=3)
        params = tf.zeros([1, layer.input_size], tf.float64)
        z = np.array([[0.7, 0.3], [-0.4, 1.1], [1.5, -0.2]])[:, None]
        with tf.GradientTape() as tape:
            tape.watch(params)
            log_q = tf.reduce_sum(layer(params).log_prob(z))
        gradient = tape.gradient(log_q, params).numpy()[0, 4:].reshape(2, -1)
        first, last = np.split(gradient, [6], axis=1)  # 1 -> 3 -> 2: w 3, b 3, w 6, b 2
        assert (first == 0).all() and (last != 0).all()

    def test_from_zero_it_can_bend_both_ways(self):
        """To first order the shift gets odd and even functions of the half that is kept."""
        layer, u = flow(2, num_flows=1, hidden=3), np.array([0.5, 1.0, 2.0])
        noise = np.stack([np.concatenate([u, -u]), np.zeros(6)], axis=1)
        params = tf.zeros([6, layer.input_size], tf.float64)
        with tf.GradientTape() as tape:
            tape.watch(params)
            moved = layer(params).bijector.forward(noise)[:, 1]
        gradient = tape.gradient(moved, params).numpy()[:, 10:16:2]  # w_2: 3 units -> shift
        odd, even = gradient[:3] - gradient[3:], gradient[:3] + gradient[3:]
        assert np.abs(odd).min() > 1e-3 and np.ptp(even, axis=0).min() > 1e-3

    def test_wild_parameters_stay_finite(self):
        """What an untrained network may predict: the log-scale of a coupling is bounded."""
        layer = flow(L, dtype="float32")
        q = layer(rows(layer, B, size=100.0))
        z = q.sample(S, seed=[0, 1])
        assert np.isfinite(z).all() and np.isfinite(q.log_prob(z)).all()

    def test_a_banana_is_better_met_than_by_any_gaussian(self):
        """z_1 ~ N(0, 1), z_2 = z_1^2 + 0.3 e: maximum likelihood, scored on fresh samples.

        By quadrature nothing is needed: the entropy of the banana is that of z_1 and e, and the
        best Gaussian has its mean and its covariance diag(1, 2.09).
        """
        e = np.random.default_rng(0).normal(size=(2, 4000, 2))
        z_train, z_test = (np.stack([u[:, 0], u[:, 0] ** 2 + 0.3 * u[:, 1]], -1) for u in e)
        layer = flow(2)

        def step(i, row, mean, square):
            with tf.GradientTape() as tape:
                tape.watch(row)
                log_q = tf.reduce_mean(layer.distribution(row).log_prob(z_train[:1000]))
            gradient = tape.gradient(log_q, row)
            mean, square = 0.9 * mean + 0.1 * gradient, 0.99 * square + 0.01 * gradient**2
            return i + 1, row + 0.02 * mean / (tf.sqrt(square) + 1e-8), mean, square

        zeros = tf.zeros([layer.input_size], tf.float64)
        fit = tf.function(
            lambda: tf.while_loop(lambda i, *_: i < 500, step, (0, zeros, zeros, zeros)),
            jit_compile=True,
        )
        log_q = layer(fit()[1][None]).log_prob(z_test).numpy()
        entropy = np.log(2 * np.pi * np.e) + np.log(0.3)
        gaussian = -(np.log(2 * np.pi * np.e) + 0.5 * np.log(2.09))
        error = log_q.std(ddof=1) / np.sqrt(len(log_q))
        assert log_q.mean() - 4 * error > gaussian + 1.0
        assert log_q.mean() - 4 * error < -entropy  # and no density beats the true one


class TestLayer:
    def test_params_size(self):
        # loc and scale; then kept -> hidden -> shift and log-scale of the others, with biases
        assert layers.CouplingFlow.params_size(2, num_flows=1, hidden=16) == 4 + 32 + 34
        assert layers.CouplingFlow.params_size(3, num_flows=2, hidden=4) == 6 + (8 + 20) + (12 + 10)
        layer = flow(5, num_flows=3, hidden=7)
        assert layer.input_size == layers.CouplingFlow.params_size(5, num_flows=3, hidden=7)

    @pytest.mark.parametrize("latents", [2, 3])
    def test_shapes_of_sample_batch_event(self, latents):
        layer = flow(latents)
        params = rows(layer, B)
        q = layer(params)
        assert (q.batch_shape, q.event_shape) == ([B], [latents])
        z = q.sample(S, seed=[0, 1])
        assert z.shape == (S, B, latents)
        single = [layer(params[b : b + 1]).log_prob(z[:, b : b + 1])[:, 0] for b in range(B)]
        np.testing.assert_allclose(layer(params).log_prob(z), np.stack(single, 1), rtol=1e-12)
        shared = layer(params).log_prob(z[:, :1])  # one point for all examples
        expected = layer(params).log_prob(tf.repeat(z[:, :1], B, axis=1))
        np.testing.assert_allclose(shared, expected, rtol=1e-12)
        nested = layer(tf.reshape(rows(layer, S * B), [S, B, -1]))
        assert nested.batch_shape == (S, B) and nested.sample(4, seed=[0, 1]).shape == (
            4,
            S,
            B,
            latents,
        )

    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    def test_compiled_it_is_the_same(self, dtype):
        layer = flow(L, dtype=dtype)
        params = rows(layer, B)
        z = layer(params).sample(S, seed=[0, 1])
        assert z.dtype == dtype
        expected = layer(params).log_prob(z)
        for jit in (False, True):
            log_prob = tf.function(lambda p, z: layer(p).log_prob(z), jit_compile=jit)
            np.testing.assert_allclose(log_prob(params, z), expected, rtol=1e-5)
            sample = tf.function(lambda p: layer(p).sample(S, seed=[0, 1]), jit_compile=jit)
            assert np.isfinite(sample(params)).all()

    def test_sequential_and_functional_and_config(self):
        layer = layers.CouplingFlow(L, num_flows=3, hidden=5, min_scale=0.01)
        inputs, dense = keras.Input((4,)), keras.layers.Dense(layer.input_size)
        functional = keras.Model(inputs, layer(dense(inputs)))
        sequential = keras.Sequential([inputs, dense, layer])
        assert functional.output_shape == sequential.output_shape == (None, L)
        h, z = np.ones((B, 4), "float32"), np.zeros((B, L), "float32")
        np.testing.assert_array_equal(functional(h).log_prob(z), sequential(h).log_prob(z))
        again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
        assert again.get_config() == layer.get_config()
        assert again(dense(h)).layer_config == {
            "event_size": L,
            "num_flows": 3,
            "hidden": 5,
            "min_scale": 0.01,
        }

    def test_it_keeps_its_row_of_parameters(self):
        layer = flow(2)
        params = rows(layer, B)
        np.testing.assert_array_equal(layer(params).params, params)

    def test_leading_axes_of_a_network_that_ends_in_it(self):
        network = vt.networks.mlp(4, layers.CouplingFlow(L), hidden=(6,))
        h = np.random.default_rng(0).normal(size=(S, B, 4)).astype("float32")
        q = vt.networks.batch_apply(network, tf.constant(h))
        assert type(q) is type(network(h[0])) and q.batch_shape == (S, B)
        z = q.sample(seed=[0, 1])
        expected = [network(h[s]).log_prob(z[s]) for s in range(S)]
        np.testing.assert_allclose(q.log_prob(z), expected, rtol=1e-4, atol=1e-4)


class TestRefusals:
    def test_one_latent_has_no_other_half(self):
        for make in (layers.CouplingFlow, layers.CouplingFlow.params_size):
            for size in (1, (2, 3)):
                with pytest.raises(ValueError, match=r"one integer of at least 2. Received"):
                    make(size)

    @pytest.mark.parametrize("argument", ["num_flows", "hidden", "min_scale"])
    def test_arguments(self, argument):
        with pytest.raises(ValueError, match=f"Expected `{argument}` to be a positive"):
            layers.CouplingFlow(2, **{argument: 0})

    def test_wrong_width(self):
        with pytest.raises(ValueError, match=r"Expected an input of shape .* Received"):
            flow(2)(tf.zeros([B, 5], tf.float64))

    @pytest.mark.parametrize(
        "moment", ["mean", "mode", "variance", "stddev", "covariance", "entropy"]
    )
    def test_no_moment_has_a_closed_form(self, moment):
        layer = flow(2)
        with pytest.raises(NotImplementedError, match=f"The {moment} of a flow .*Received"):
            getattr(layer(rows(layer, B)), moment)()

    def test_it_is_not_a_tensor(self):
        layer = flow(2)
        with pytest.raises(TypeError, match="Expected a tensor. Received: a distribution"):
            np.asarray(layer(rows(layer, B)))


class TestAsAnEncoder:
    def test_training_raises_the_elbo(self, trained_flow):
        history = trained_flow[1]
        assert history[-1] > history[0] + 1

    def test_its_weights_average_to_the_evidence(self, trained_flow, binary_digits):
        """E_q[w] = p(x), known from a grid: samples and density belong together."""
        vae, x = trained_flow[0], binary_digits[1][:20]
        truth = vt.evidence.grid(vae, x).estimate
        one_pass = vt.elbo.forward(vae, x, 4000, seed=0)
        ratio = np.exp(vt.elbo.log_weights(one_pass).numpy().astype("float64") - truth)
        error = ratio.std(axis=0, ddof=1) / np.sqrt(4000)
        assert (np.abs(ratio.mean(axis=0) - 1) < 4 * error + 1e-3).all()

    def test_the_kl_is_sampled(self, trained_flow, binary_digits):
        vae, x = trained_flow[0], binary_digits[1][:5]
        terms = vae.elbo(x, 100, seed=0)
        one_pass = vae(x, num_samples=100, seed=0)
        expected = one_pass.q_z.log_prob(one_pass.z) - one_pass.p_z.log_prob(one_pass.z)
        np.testing.assert_allclose(terms.kl, np.mean(expected, axis=0), rtol=1e-4)

    def test_diagnostics_work_or_say_what_they_need(self, trained_flow, binary_digits):
        vae, x = trained_flow[0], binary_digits[1][:50]
        information = vt.diagnostics.mutual_information(vae, x, 20, seed=0)
        parts = vt.diagnostics.surgery(vae, x, 20, seed=0)
        assert 0 < information.estimate <= information.log_n
        assert parts.kl == pytest.approx(parts.mutual_information + parts.marginal_kl)
        assert parts.total_correlation is None
        mean_kl = vae.elbo(x, 1000, seed=1).kl.numpy().mean()
        assert abs(parts.kl - mean_kl) < 0.05 * mean_kl
        with pytest.raises(ValueError, match="independent"):
            vt.diagnostics.kl_per_latent(vae, x)
        with pytest.raises(NotImplementedError, match="average over samples"):
            vt.diagnostics.active_units(vae, x)
        with pytest.raises(NotImplementedError, match="average over samples"):
            vae.predict(x, verbose=0)

    def test_a_gaussian_encoder_is_none(self, binary_digits):
        """The same parameters mean the same: a loc and a scale, and no bend."""
        vae, x = make_vae(2), binary_digits[1][:5]
        q = vae.encode(x)
        raw = layers.NormalDiag.inverse_scale(q.stddev())
        layer = layers.CouplingFlow(2)
        rest = np.zeros((5, layer.input_size - 4), "float32")
        params = np.concatenate([q.mean(), raw, rest], axis=1).astype("float32")
        z = q.sample(S, seed=[0, 1])
        np.testing.assert_allclose(layer(params).log_prob(z), q.log_prob(z), rtol=1e-4, atol=1e-4)
