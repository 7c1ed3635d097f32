"""Learned priors: densities against SciPy, the KL by Monte Carlo, what a model makes of them."""

import keras
import numpy as np
import pytest
import scipy.special
import scipy.stats
import tensorflow as tf
from conftest import L, S, make_vae

import vae_tf as vt


def mixture_log_prob(z, weights, loc, scale):
    """log sum_k w_k N(z; loc_k, diag scale_k^2), z of shape [..., L]."""
    log_normal = scipy.stats.norm.logpdf(z[..., None, :], loc, scale).sum(-1)
    return scipy.special.logsumexp(log_normal, b=weights, axis=-1)


def randomize(prior, rng):
    for weight in prior.trainable_weights:
        weight.assign(rng.normal(size=weight.shape))


class TestMixtureOfNormals:
    def test_density(self, rng):
        prior = vt.priors.MixtureOfNormals(L, 4, dtype="float64")
        randomize(prior, rng)
        z = rng.normal(size=(S, 5, L))
        weights = scipy.special.softmax(prior.logits.numpy())
        # one at zero, by softplus, above the floor
        scale = prior.min_scale + np.log1p(np.exp(prior.raw_scale.numpy()) * np.expm1(1.0))
        expected = mixture_log_prob(z, weights, prior.loc.numpy(), scale)
        np.testing.assert_allclose(prior().log_prob(z), expected, rtol=1e-12)
        assert (prior().batch_shape, prior().event_shape) == ([], [L])

    def test_one_component_can_be_the_standard_normal(self, rng):
        prior = vt.priors.MixtureOfNormals(L, 1, min_scale=1e-9)
        prior.loc.assign(np.zeros((1, L)))
        z = rng.normal(size=(5, L)).astype("float32")
        expected = vt.priors.StandardNormal(L)().log_prob(z)
        np.testing.assert_allclose(prior().log_prob(z), expected, rtol=1e-5)

    def test_the_kl_from_samples_agrees_with_quadrature(self, rng):
        prior = vt.priors.MixtureOfNormals(1, 3, dtype="float64")
        randomize(prior, rng)
        q_z = vt.layers.NormalDiag(1, dtype="float64")(tf.constant([[0.4, -0.5]], tf.float64))
        nodes = np.linspace(-12, 12, 20_001)[:, None, None]
        log_q, log_p = q_z.log_prob(nodes).numpy(), prior().log_prob(nodes).numpy()
        truth = (np.exp(log_q) * (log_q - log_p)).sum() * (nodes[1] - nodes[0]).item()
        z = q_z.sample(20_000, seed=[1, 2])
        error = np.std(q_z.log_prob(z) - prior().log_prob(z)) / np.sqrt(20_000)
        assert abs(vt.elbo.kl(q_z, prior(), z).numpy().item() - truth) < 4 * error

    def test_learning_it_alone_gains_at_most_the_marginal_kl(self, trained, binary_digits):
        """mean KL = I + KL(q(z) || p(z)): with q(z|x) fixed, only the second part can shrink."""
        x = binary_digits[0]
        vae = make_vae(2, prior=vt.priors.MixtureOfNormals(2, 10), hidden=(64,), seed=0)
        for part in ("encoder", "decoder"):
            getattr(vae, part).set_weights(getattr(trained, part).get_weights())
            getattr(vae, part).trainable = False
        vae.compile(keras.optimizers.Adam(2e-2))
        vae.fit(x, epochs=20, batch_size=128, verbose=0)
        q_z, p_z = vae.encode(x), vae.prior
        z = q_z.sample(50, seed=[1, 2])
        gains = p_z.log_prob(z) - trained.prior.log_prob(z)  # [S, N], of the mean KL
        error = np.std(np.mean(gains, axis=1)) / np.sqrt(50)
        possible = vt.diagnostics.surgery(trained, x, 20, seed=0)
        at_most = possible.marginal_kl + 4 * (error + possible.standard_error)
        assert 0.5 * possible.marginal_kl < np.mean(gains) < at_most


class TestFlow:
    def test_starts_as_the_standard_normal(self, rng):
        z = rng.normal(size=(S, 5, L)).astype("float32")
        expected = vt.priors.StandardNormal(L)().log_prob(z)
        np.testing.assert_allclose(vt.priors.Flow(L)().log_prob(z), expected, rtol=1e-5)

    def test_density_by_change_of_variables(self, rng):
        """log p(z) = log N(u) - log|det dz/du|, the determinant from the Jacobian itself."""
        prior = vt.priors.Flow(3, num_flows=4, hidden=8, dtype="float64")
        randomize(prior, rng)
        u = tf.constant(rng.normal(size=(5, 3)))
        with tf.GradientTape() as tape:
            tape.watch(u)
            z = prior().bijector.forward(u)
        jacobian = tape.batch_jacobian(z, u).numpy()
        expected = scipy.stats.norm.logpdf(u).sum(-1) - np.linalg.slogdet(jacobian)[1]
        np.testing.assert_allclose(prior().log_prob(z), expected, rtol=1e-9)

    def test_integrates_to_one(self, rng):
        prior = vt.priors.Flow(2, dtype="float64")
        prior.params.assign(0.5 * rng.normal(size=prior.params.shape))
        axis = np.linspace(-30, 30, 2001)
        density = prior().prob(np.stack(np.meshgrid(axis, axis), -1)).numpy()
        np.testing.assert_allclose(density.sum() * (axis[1] - axis[0]) ** 2, 1, rtol=1e-3)

    def test_learns_what_one_normal_cannot(self):
        """Two hills: log 2 nats less than the best Normal at most, and most of it is found."""
        rng = np.random.default_rng(0)
        z = rng.normal(size=(2000, 2)) * 0.3 + rng.choice([-1.5, 1.5], size=(2000, 1)) * [1, 0]
        prior, z = vt.priors.Flow(2, num_flows=6), z.astype("float32")
        optimizer = keras.optimizers.Adam(1e-2)

        @tf.function
        def step():
            with tf.GradientTape() as tape:
                loss = -tf.reduce_mean(prior().log_prob(z))
            weights = prior.trainable_weights
            optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
            return loss

        for _ in range(500):
            loss = step()
        hills = np.stack([z + [1.5, 0], z - [1.5, 0]])
        truth = np.logaddexp(*scipy.stats.norm.logpdf(hills / 0.3).sum(-1)) - np.log(2 * 0.09)
        one_normal = scipy.stats.norm.logpdf((z - z.mean(0)) / z.std(0)).sum(-1)
        one_normal = (one_normal - np.log(z.std(0)).sum()).mean()
        assert -loss > one_normal + 0.7 * (truth.mean() - one_normal)
        assert -loss < truth.mean() + 0.1  # what 2,000 points let it learn by heart

    def test_one_latent_is_refused(self):
        with pytest.raises(ValueError, match="at least 2"):
            vt.priors.Flow(1)


class TestVampPrior:
    def test_is_the_mean_of_the_posteriors_of_its_pseudo_inputs(self, binary_digits, rng):
        u = binary_digits[0][:7]
        vae = make_vae(L, prior=vt.priors.VampPrior(L, u))
        q_u = vae.encode(u)
        z = rng.normal(size=(5, L)).astype("float32")
        expected = mixture_log_prob(z, np.full(7, 1 / 7), q_u.mean().numpy(), q_u.stddev().numpy())
        np.testing.assert_allclose(vae.prior.log_prob(z), expected, rtol=1e-4)

    def test_pseudo_inputs_learn_and_the_encoder_is_one(self, binary_digits):
        x = binary_digits[0][:64]
        vae = make_vae(L, prior=vt.priors.VampPrior(L, x[:7]), seed=0)
        assert len(vae.trainable_variables) == len(make_vae(L).trainable_variables) + 1
        vae.fit(x, epochs=2, verbose=0)
        assert np.any(vae.prior_layer.pseudo_inputs.numpy() != x[:7])
        np.testing.assert_array_equal(
            vae.prior.components_distribution.mean(),
            vae.encode(vae.prior_layer.pseudo_inputs).mean(),
        )

    def test_loaded_it_still_shares_the_encoder(self, binary_digits, tmp_path):
        x = binary_digits[0][:64]
        vae = make_vae(2, prior=vt.priors.VampPrior(2, x[:7]), seed=0)
        vae.fit(x, verbose=0)
        vae.save(tmp_path / "vamp.keras")
        loaded = keras.saving.load_model(tmp_path / "vamp.keras")
        assert loaded.prior_layer.encoder is loaded.encoder
        assert len(loaded.trainable_variables) == len(vae.trainable_variables)
        np.testing.assert_array_equal(loaded.elbo(x, seed=0).elbo, vae.elbo(x, seed=0).elbo)

    def test_a_shape_alone_starts_near_zero(self):
        prior = vt.priors.VampPrior(2, (50, 8, 8))
        assert prior.pseudo_inputs.shape == (50, 8, 8)
        assert abs(np.std(prior.pseudo_inputs) - 0.1) < 4 * 0.1 / np.sqrt(2 * 50 * 64)

    @pytest.mark.parametrize("wrong", [50, (50,), np.ones(7)])
    def test_no_examples_and_no_shape_of_some(self, wrong):
        with pytest.raises(ValueError, match="Expected `pseudo_inputs` to be examples"):
            vt.priors.VampPrior(2, wrong)

    def test_another_shape_is_refused(self):
        with pytest.raises(ValueError, match=r"Expected pseudo-inputs of shape \[K, \*event\]"):
            make_vae(2, prior=vt.priors.VampPrior(2, (7, 9)))

    def test_pseudo_inputs_do_not_enter_the_statistics_of_the_examples(self):
        """In training too: the moving mean of data about 0 is not that of pseudo-inputs at 100."""
        normalize = keras.layers.BatchNormalization(momentum=0.0)
        drop = keras.layers.Dropout(0.5, seed=0)
        q = vt.layers.NormalDiag(2)
        encoder = keras.Sequential([keras.Input((4,)), normalize, drop, keras.layers.Dense(4), q])
        decoder = vt.networks.mlp(2, vt.layers.Normal(4, scale=1.0), hidden=())
        prior = vt.priors.VampPrior(2, np.full((10, 4), 100.0, "float32"))
        vae = vt.VAE(encoder, decoder, prior=prior, seed=0)
        x = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
        vae.compile(keras.optimizers.SGD(0.0))
        vae.fit(x, batch_size=64, verbose=0)
        np.testing.assert_allclose(normalize.moving_mean, x.mean(0), atol=1e-6)
        components = prior().components_distribution  # all pseudo-inputs are one: nothing dropped
        np.testing.assert_array_equal(components.mean(), np.tile(components.mean()[:1], (10, 1)))

    def test_a_distribution_holds_what_the_encoder_said(self):
        """`log_prob` of one object runs no encoder again, eagerly or in a graph."""
        encoder = vt.networks.mlp(4, vt.layers.NormalDiag(2), hidden=())
        prior = vt.priors.VampPrior(2, (7, 4))
        prior.attach(encoder)
        p, calls = prior(), []
        prior.encoder = lambda *args, **_: calls.append(args)
        for _ in range(3):
            p.log_prob(tf.zeros([S, 5, 2]))
            p.sample(3, seed=[0, 1])
        assert not calls


OF_EACH_KIND = {
    "normal": lambda **kw: vt.priors.StandardNormal(2, **kw),
    "mixture": lambda **kw: vt.priors.MixtureOfNormals(2, 5, **kw),
    "flow": lambda **kw: vt.priors.Flow(2, **kw),
    "VampPrior": lambda **kw: vt.priors.VampPrior(2, (5, 8, 8), **kw),
}


@pytest.mark.parametrize("name", OF_EACH_KIND)
class TestEveryPrior:
    def test_a_second_model_is_refused(self, name):
        prior = OF_EACH_KIND[name]()
        vae = make_vae(2, prior=prior)
        vae.compile()  # the same model may ask again
        prior.attach(vae.encoder)
        with pytest.raises(ValueError, match="one that another model has"):
            make_vae(2, prior=prior)

    def test_made_again_from_its_config(self, name):
        vae = make_vae(2, prior=OF_EACH_KIND[name]())
        again = vae.from_config(vae.get_config())
        again.compile()
        assert again.prior.event_shape == (2,)
        with pytest.raises(ValueError, match="one that belongs to another encoder"):
            again.prior_layer.attach(vae.encoder)

    @pytest.mark.parametrize("half", ["float16", "bfloat16", "mixed_float16", "mixed_bfloat16"])
    def test_float32_at_least(self, name, half):
        prior = OF_EACH_KIND[name](dtype=half)
        assert prior.compute_dtype == prior.variable_dtype == "float32"
        assert {weight.dtype for weight in prior.weights} <= {"float32"}
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy(half)
        try:
            assert OF_EACH_KIND[name]().compute_dtype == "float32"
        finally:
            keras.config.set_dtype_policy(before)

    @pytest.mark.parametrize(
        "argument",
        [{"activity_regularizer": keras.regularizers.L2()}, {"autocast": False}, {"input_dim": 2}],
    )
    def test_arguments_without_effect_are_refused(self, name, argument):
        with pytest.raises(ValueError, match="Expected no `"):
            OF_EACH_KIND[name](**argument)


MAKERS = {
    "mixture": lambda: vt.priors.MixtureOfNormals(2, 5),
    "flow": lambda: vt.priors.Flow(2),
    "VampPrior": lambda: vt.priors.VampPrior(2, (5, 8, 8)),
}


@pytest.mark.parametrize("policy", ["mixed_float16", "float64"])
@pytest.mark.parametrize("name", MAKERS)
def test_training_in_another_precision(name, policy, binary_digits):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        vae = make_vae(2, prior=MAKERS[name](), seed=0)
        elbo = vae.fit(binary_digits[0][:128], epochs=3, verbose=0).history["elbo"]
    finally:
        keras.config.set_dtype_policy(before)
    assert vae.prior.dtype == ("float64" if policy == "float64" else "float32")
    assert np.isfinite(elbo).all()


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_the_evidence_functions_take_it(make, binary_digits):
    x = binary_digits[1][:20]
    vae = make_vae(2, prior=make(), seed=0)
    vae.fit(binary_digits[0][:256], epochs=3, verbose=0)
    exact = vt.evidence.grid(vae, x)
    bound = vt.evidence.iwae(vae, x, 2000, seed=0)
    assert np.all(abs(bound.estimate - exact.estimate) < 4 * bound.standard_error + 0.02)
    assert vae.sample(S).shape == (S, 8, 8)
    assert np.mean(vt.gap.total(vae, x, 200, seed=0).total) > 0
