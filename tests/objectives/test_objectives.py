"""Objectives: at their neutral settings the ELBO, away from them what the papers' formulas say."""

import itertools

import keras
import numpy as np
import pytest
import scipy.special
import scipy.stats
import tensorflow as tf
import tensorflow_probability as tfp
from conftest import B, L, S, make_vae, random_linear

import vae_tf as vt
from vae_tf.objectives import factor, penalties

tfd = tfp.distributions
N = 64  # training examples
OBJECTIVES = vt.objectives

NEUTRAL = {
    "BetaELBO": lambda: OBJECTIVES.BetaELBO(1.0),
    "BetaELBO scheduled": lambda: OBJECTIVES.BetaELBO(vt.schedules.LinearWarmup(9, 1.0, 1.0)),
    "FreeBits": lambda: OBJECTIVES.FreeBits(0.0),
    "FreeBits groups": lambda: OBJECTIVES.FreeBits(0.0, groups=[[0, 2], [1]]),
    "Capacity": lambda: OBJECTIVES.Capacity(0.0, gamma=1.0),
    "BetaTC stratified": lambda: OBJECTIVES.BetaTC(1.0, N),
    "BetaTC weighted": lambda: OBJECTIVES.BetaTC(1.0, N, estimator="weighted"),
    "DIP I": lambda: OBJECTIVES.DIP("I", 0.0, 0.0),
    "DIP II": lambda: OBJECTIVES.DIP("II", 0.0, 0.0),
    "InfoMMD": lambda: OBJECTIVES.InfoMMD(alpha=0.0, lambda_=1.0),
    "Factor": lambda: OBJECTIVES.Factor(0.0, hidden=(8,)),
}

WARM_UP = vt.schedules.LinearWarmup(steps=6)
MIDWAY = {
    "ELBO": lambda: OBJECTIVES.ELBO(),
    "BetaELBO": lambda: OBJECTIVES.BetaELBO(WARM_UP),
    "BetaELBO cyclical": lambda: OBJECTIVES.BetaELBO(vt.schedules.Cyclical(9)),
    "BetaELBO Keras": lambda: OBJECTIVES.BetaELBO(
        keras.optimizers.schedules.PolynomialDecay(0.0, 6, 1.0)
    ),
    "FreeBits": lambda: OBJECTIVES.FreeBits(
        vt.schedules.LinearWarmup(6, stop=100.0), groups=[[0, 1], [2]]
    ),
    "Capacity": lambda: OBJECTIVES.Capacity(vt.schedules.LinearWarmup(6, stop=3.0), gamma=5.0),
    "BetaTC": lambda: OBJECTIVES.BetaTC(vt.schedules.LinearWarmup(6, stop=6.0), N),
    "DIP I": lambda: OBJECTIVES.DIP("I", WARM_UP, 10.0),
    "DIP II": lambda: OBJECTIVES.DIP("II", WARM_UP, 1.0),
    "InfoMMD": lambda: OBJECTIVES.InfoMMD(seed=3),
    "Factor": lambda: OBJECTIVES.Factor(WARM_UP, hidden=(8, 8), learning_rate=1e-3, seed=3),
    "IWAE": lambda: OBJECTIVES.IWAE(S),
    "IWAE stl": lambda: OBJECTIVES.IWAE(S, gradient="stl"),
    "IWAE dreg": lambda: OBJECTIVES.IWAE(S, gradient="dreg"),
}


@keras.saving.register_keras_serializable("test")
def halves(step):
    """A schedule that is a plain function."""
    return 0.5 ** tf.cast(step, tf.float32)


@pytest.fixture
def x(rng):
    return (rng.random((N, 8, 8)) < 0.4).astype("float32")


def spread_out(vae):
    """Makes q(z|x) differ between examples, as after training: the encoder's output times 5."""
    kernel, bias = vae.encoder.layers[-2].get_weights()
    vae.encoder.layers[-2].set_weights([5 * kernel, bias])
    return vae


def gaussian_pass(rng, loc, scale, samples, dtype="float64"):
    """A pass whose q(z|x_b) are the given Normals; the likelihood is of no interest."""
    q_z = tfd.Independent(tfd.Normal(tf.constant(loc, dtype), tf.constant(scale, dtype)), 1)
    latents = loc.shape[-1]
    p_z = vt.priors.StandardNormal(latents, dtype=dtype)()
    seed = int(rng.integers(2**31))
    return vt.elbo.Forward(None, p_z, q_z, q_z.sample(samples, seed=[seed, 0]), None)


def terms_of(forward, reconstruction=-50.0):
    kl = vt.elbo.kl(forward.q_z, forward.p_z)
    return vt.elbo.ElboTerms(reconstruction - kl, reconstruction + 0 * kl, kl)


class TestNeutral:
    @pytest.mark.parametrize("name", NEUTRAL)
    def test_equals_the_elbo_of_each_example(self, name, x):
        vae = spread_out(make_vae(L, objective=NEUTRAL[name](), seed=0))
        one_pass = vae(x, num_samples=S, seed=1)
        terms = vt.elbo.reconstruction_kl(one_pass)
        objective = vae.objective(one_pass, terms)
        assert objective.shape == (N,)
        assert np.mean(terms.kl) > 1  # else nothing would be at stake
        np.testing.assert_allclose(objective, terms.elbo, rtol=1e-5)
        np.testing.assert_array_equal(vae.objective(one_pass), vae.objective(one_pass, terms))

    @pytest.mark.parametrize("name", NEUTRAL)
    def test_takes_one_sample_unless_told_otherwise(self, name):
        assert NEUTRAL[name]().num_samples == 1

    @pytest.mark.parametrize("gradient", ["standard", "stl", "dreg"])
    def test_iwae_with_one_sample_is_the_elbo_by_monte_carlo(self, gradient, x):
        vae = make_vae(L, objective=OBJECTIVES.IWAE(1, gradient))
        one_pass = vae(x, seed=1)
        np.testing.assert_allclose(
            vae.objective(one_pass), vt.elbo.mean_log_weight(one_pass), rtol=1e-5
        )

    @pytest.mark.parametrize("name", [n for n in MIDWAY if n != "ELBO" and "IWAE" not in n])
    def test_away_from_it_the_objective_differs(self, name, x):
        vae = spread_out(make_vae(L, objective=MIDWAY[name](), seed=0))
        vae.objective.step.assign(4)
        one_pass = vae(x, num_samples=S, seed=1)
        assert np.mean(np.abs(vae.objective(one_pass) - vae.elbo(x, S, seed=1).elbo)) > 1e-3


class TestHistory:
    def test_val_elbo_is_the_same_number_whatever_is_maximised(self, x):
        """Same weights, no learning, a decoder that ignores z: no noise is left."""

        def val_elbo(objective):
            keras.utils.set_random_seed(1)
            vae = make_vae(L, objective=objective, seed=0)
            kernel, bias = vae.decoder.layers[0].get_weights()
            vae.decoder.layers[0].set_weights([0 * kernel, bias])
            vae.compile(keras.optimizers.SGD(0.0), run_eagerly=True)
            return vae.fit(x, validation_data=x, verbose=0).history["val_elbo"][0]

        expected = val_elbo(OBJECTIVES.ELBO())
        for name, make in MIDWAY.items():
            assert val_elbo(make()) == pytest.approx(expected, rel=1e-5), name

    def test_early_stopping_does_not_fire_because_beta_moved(self, binary_digits):
        """While beta climbs from 0.1 to 1, the loss rises and the model gets better."""
        train, held_out = binary_digits[0][:640], binary_digits[1]

        def epochs(monitor, mode):
            keras.utils.set_random_seed(2)
            vae = make_vae(4, objective=OBJECTIVES.BetaELBO(0.1), seed=0)
            vae.compile(keras.optimizers.Adam(3e-3))
            vae.fit(train, epochs=15, verbose=0)
            vae.objective = OBJECTIVES.BetaELBO(vt.schedules.LinearWarmup(200, start=0.1))
            vae.compile(keras.optimizers.Adam(3e-3))
            stop = keras.callbacks.EarlyStopping(monitor, mode=mode, patience=2)
            history = vae.fit(
                train, epochs=8, validation_data=held_out, callbacks=[stop], verbose=0
            )
            return len(history.epoch)

        assert epochs("val_loss", "min") == 3  # of eight: none is better than the first
        assert epochs("val_elbo", "max") == 8


class TestSaving:
    @pytest.mark.parametrize("name", MIDWAY)
    def test_goes_on_from_the_middle_of_a_schedule(self, name, x, tmp_path):
        vae = make_vae(L, objective=MIDWAY[name](), seed=0)
        vae.compile(run_eagerly=True)  # as exact, and sooner
        vae.fit(x, batch_size=20, verbose=0)  # four of six steps, the last one short
        vae.save(tmp_path / "half.keras")
        loaded = keras.saving.load_model(tmp_path / "half.keras")
        assert int(loaded.objective.step) == int(vae.objective.step) == 4
        assert loaded.objective.get_config() == vae.objective.get_config()
        goes_on = {"batch_size": 20, "epochs": 2, "shuffle": False, "verbose": 0}
        histories = [model.fit(x, **goes_on).history for model in (vae, loaded)]
        assert histories[0] == histories[1]
        for own, other in zip(vae.get_weights(), loaded.get_weights(), strict=True):
            np.testing.assert_array_equal(own, other)


class TestSchedules:
    def test_linear_warm_up(self):
        schedule = vt.schedules.LinearWarmup(steps=10, stop=2.0, start=1.0)
        values = [float(schedule(step)) for step in (0, 1, 5, 10, 100)]
        np.testing.assert_allclose(values, [1.0, 1.1, 1.5, 2.0, 2.0], rtol=1e-6)

    def test_cyclical_follows_the_formula_of_fu_et_al(self):
        # tau = ((t - 1) mod T/M) / (T/M); beta = min(tau / R, 1), with t from 1
        steps, cycles, ramp = 40, 4, 0.5
        tau = (np.arange(steps) % (steps // cycles)) / (steps // cycles)
        schedule = vt.schedules.Cyclical(steps // cycles, ramp, cycles=cycles)
        values = [float(schedule(step)) for step in range(steps)]
        np.testing.assert_allclose(values, np.minimum(tau / ramp, 1), rtol=1e-6)
        assert float(schedule(steps + 1)) == 1.0

    def test_only_training_steps_count(self, x):
        vae = make_vae(L, objective=OBJECTIVES.BetaELBO(WARM_UP))
        vae.fit(x, batch_size=16, epochs=2, validation_data=x, verbose=0)
        assert int(vae.objective.step) == 8
        vae.evaluate(x, verbose=0), vae.elbo(x), vae(x)
        assert int(vae.objective.step) == 8

    def test_the_loss_uses_the_value_of_the_step(self, x):
        vae = make_vae(L, objective=OBJECTIVES.BetaELBO(WARM_UP), seed=0)
        vae.compile(keras.optimizers.SGD(0.0))
        for beta in (0, 1 / 6, 2 / 6):
            history = vae.fit(x, batch_size=N, verbose=0).history
            expected = -history["reconstruction"][0] + beta * history["kl"][0]
            assert history["loss"][0] == pytest.approx(expected, rel=1e-5)

    def test_a_registered_function_is_a_schedule_that_can_be_saved(self, x, tmp_path):
        vae = make_vae(L, objective=OBJECTIVES.BetaELBO(halves))
        vae.fit(x, verbose=0)
        vae.save(tmp_path / "function.keras")
        loaded = keras.saving.load_model(tmp_path / "function.keras")
        assert loaded.objective.beta is halves
        np.testing.assert_array_equal(loaded.elbo(x, seed=0).elbo, vae.elbo(x, seed=0).elbo)

    def test_a_schedule_that_cannot_be_saved_is_refused(self):
        with pytest.raises(ValueError, match=r"Expected `beta` to have a `get_config`.*Received"):
            OBJECTIVES.BetaELBO(lambda _: 1.0)

    @pytest.mark.parametrize("wrong", [-1.0, np.nan, np.inf, "one", True, None])
    def test_no_number_and_no_schedule(self, wrong):
        with pytest.raises(ValueError, match="Expected `beta` to be a number that is not negative"):
            OBJECTIVES.BetaELBO(wrong)

    @pytest.mark.parametrize("arguments", [{"steps": 0}, {"steps": 5, "stop": np.inf}])
    def test_wrong_warm_up(self, arguments):
        with pytest.raises(ValueError, match="Expected `.*Received"):
            vt.schedules.LinearWarmup(**arguments)

    @pytest.mark.parametrize("arguments", [{"period": 0}, {"period": 5, "ramp": 2.0}])
    def test_wrong_cycle(self, arguments):
        with pytest.raises(ValueError, match="Expected `.*Received"):
            vt.schedules.Cyclical(**arguments)


class TestFreeBits:
    def test_below_the_threshold_a_latent_pays_the_threshold_and_no_more(self, rng):
        loc = np.array([0.1, 3.0, 5.0]) * rng.normal(size=(B, 3))
        forward = gaussian_pass(rng, loc, np.full((B, 3), 0.9), 1)
        kl = 0.5 * (loc**2 + 0.9**2 - 1 - np.log(0.9**2))
        assert kl.mean(0)[0] < 0.5 < kl.mean(0)[1]
        objective = OBJECTIVES.FreeBits(0.5)(forward, terms_of(forward))
        np.testing.assert_allclose(objective, -50 - 0.5 - kl[:, 1:].sum(1), rtol=1e-6)

    def test_the_mean_over_the_batch_is_the_formula(self, rng):
        loc = rng.normal(size=(B, 4)) * [0.1, 0.5, 1.0, 2.0]
        forward = gaussian_pass(rng, loc, np.full((B, 4), 0.9), 1)
        kl = 0.5 * (loc**2 + 0.9**2 - 1 - np.log(0.9**2))
        for groups, sums in (
            (None, kl),
            ([[0, 3], [1, 2]], np.stack([kl[:, [0, 3]].sum(1), kl[:, [1, 2]].sum(1)], 1)),
        ):
            expected = -50 - np.maximum(0.4, sums.mean(0)).sum()
            objective = OBJECTIVES.FreeBits(0.4, groups)(forward, terms_of(forward))
            assert np.mean(objective) == pytest.approx(expected, rel=1e-6)

    def test_no_gradient_reaches_a_latent_below_the_threshold(self, rng):
        loc = tf.Variable(np.array([0.1, 3.0]) * rng.normal(size=(B, 2)))
        with tf.GradientTape() as tape:
            q_z = tfd.Independent(tfd.Normal(loc, tf.ones_like(loc)), 1)
            p_z = vt.priors.StandardNormal(2, dtype="float64")()
            forward = vt.elbo.Forward(None, p_z, q_z, q_z.sample(1, seed=[0, 1]), None)
            objective = OBJECTIVES.FreeBits(1.0)(forward, terms_of(forward))
        gradient = tape.gradient(objective, loc).numpy()
        assert np.all(gradient[:, 0] == 0) and np.all(gradient[:, 1] != 0)

    def test_groups_hold_each_latent_once(self):
        with pytest.raises(
            ValueError, match="Expected `groups` to hold each of the latents 0 to 2"
        ):
            make_vae(3, objective=OBJECTIVES.FreeBits(0.1, groups=[[0, 1], [1, 2]]))

    def test_latents_that_depend_on_each_other_have_no_kl_of_their_own(self, x):
        prior = vt.priors.MixtureOfNormals(L, 4)
        vae = make_vae(L, prior=prior, objective=OBJECTIVES.FreeBits(0.1))
        with pytest.raises(ValueError, match="Expected `p_z` to be a tfd.Independent.*Received"):
            vae.fit(x, verbose=0)


class TestCapacity:
    def test_is_the_distance_from_the_capacity(self, rng):
        forward = gaussian_pass(rng, rng.normal(size=(B, L)), np.full((B, L), 0.5), 1)
        terms = terms_of(forward)
        expected = -50 - 7 * np.abs(terms.kl.numpy() - 2.5)
        np.testing.assert_allclose(OBJECTIVES.Capacity(2.5, 7.0)(forward, terms), expected)

    def test_training_holds_the_kl_there(self, binary_digits):
        vae = make_vae(4, objective=OBJECTIVES.Capacity(3.0, gamma=100.0), seed=0)
        history = vae.fit(binary_digits[0], epochs=30, batch_size=64, verbose=0).history
        assert history["kl"][-1] == pytest.approx(3.0, abs=0.1)


class TestIWAE:
    def test_the_logarithm_is_taken_for_each_example(self, x):
        vae = spread_out(make_vae(L))
        one_pass = vae(x[:B], num_samples=S, seed=1)
        log_w = np.float64(vt.elbo.log_weights(one_pass))
        expected = scipy.special.logsumexp(log_w, axis=0) - np.log(S)
        np.testing.assert_allclose(OBJECTIVES.IWAE(S)(one_pass), expected, rtol=1e-6)

    @pytest.mark.parametrize("num_samples", [1, 7])
    def test_without_noise_where_q_is_the_posterior(self, rng, num_samples):
        model, x = random_linear(rng, 5, 2)
        q_z = model.posterior(x)
        z = q_z.sample(num_samples, seed=[1, 2])
        forward = vt.elbo.Forward(tf.constant(x), model.prior, q_z, z, model.decode(z))
        objective = OBJECTIVES.IWAE(num_samples)(forward)
        np.testing.assert_allclose(objective, model.log_evidence(x), rtol=1e-10)


def grid_truth(loc, scale):
    """I, TC and dimension-wise KL of a mixture of two-dimensional Normals, by quadrature."""
    axis = np.linspace(-9, 9, 1201)
    cell = (axis[1] - axis[0]) ** 2
    densities = scipy.stats.norm.pdf(axis, loc[..., None], scale[..., None])  # [N, 2, G]
    each = np.einsum("ni,nj->nij", densities[:, 0], densities[:, 1])
    joint, first, second = each.mean(0), *densities.mean(0)
    product, prior = np.outer(first, second), np.outer(*[scipy.stats.norm.pdf(axis)] * 2)

    def kl(a, b):
        return cell * scipy.special.rel_entr(a, b).sum((-2, -1))

    return kl(each, joint).mean(), kl(joint, product), kl(product, prior)


class TestBetaTC:
    loc = np.array([[-2.0, -1.5], [-0.5, -1.0], [0.0, 0.7], [0.4, 0.1], [1.2, 2.0], [2.5, 1.0]])
    scale = np.linspace(0.4, 1.1, 12).reshape(6, 2)

    @pytest.mark.parametrize("estimator", ["stratified", "weighted"])
    def test_the_parts_on_the_full_batch_against_quadrature(self, rng, estimator):
        """With all examples in the batch both estimators know q(z); "weighted" up to log N."""
        forward = gaussian_pass(rng, self.loc, self.scale, 40_000)
        objective = OBJECTIVES.BetaTC(6.0, 6, estimator=estimator)
        truth = np.array(grid_truth(self.loc, self.scale))
        log_q, log_q_each = penalties.log_aggregate(forward.q_z, forward.z, 6.0, estimator)
        if estimator == "weighted":
            # each of the three logarithms is too small by log N
            truth += np.array([1, -1 + 2, -2]) * np.log(6)
        samples = [
            forward.q_z.log_prob(forward.z) - log_q,
            log_q - tf.reduce_sum(log_q_each, -1),
            tf.reduce_sum(log_q_each, -1) - forward.p_z.log_prob(forward.z),
        ]
        for part, values, exact in zip(objective.parts(forward), samples, truth, strict=True):
            error = np.std(np.mean(values, axis=1)) / np.sqrt(len(values))
            assert abs(np.mean(part) - exact) < 4 * error + 1e-6

    def test_total_correlation_of_a_gaussian(self, rng):
        """Means N(0, C - s^2 I) make q(z) = N(0, C), TC = -1/2 log det of its correlation.

        A mixture of n components is not quite that Normal: over independent repetitions its TC
        is measured for two n, and the error of order 1/n extrapolated away.
        """
        rho, scale = 0.8, 0.4
        covariance = np.array([[1.0, rho], [rho, 1.0]]) - scale**2 * np.eye(2)

        def tc(n):
            loc = rng.multivariate_normal([0, 0], covariance, size=n)
            forward = gaussian_pass(rng, loc, np.full((n, 2), scale), 1)
            return np.mean(OBJECTIVES.BetaTC(6.0, n).parts(forward)[1])

        small, large = (np.array([tc(n) for _ in range(60)]) for n in (200, 400))
        extrapolated = 2 * large.mean() - small.mean()
        error = np.sqrt((4 * large.var() + small.var()) / 60)
        assert abs(extrapolated + 0.5 * np.log(1 - rho**2)) < 4 * error

    def test_stratified_weights_make_q_of_z_exact_on_average(self, rng):
        """Over all batches that hold x_0, the mean of the estimates of q(z) is q(z)."""
        z = rng.normal(size=(S, 1, 2))
        estimates, each = [], []
        for others in itertools.combinations(range(1, 6), 2):
            rows = [0, *others]
            forward = gaussian_pass(rng, self.loc[rows], self.scale[rows], 1)
            log_q, log_q_each = penalties.log_aggregate(
                forward.q_z, tf.constant(np.repeat(z, 3, axis=1)), 6.0
            )
            estimates.append(np.exp(log_q[:, 0]))
            each.append(np.exp(log_q_each[:, 0]))
        density = scipy.stats.norm.pdf(z, self.loc, self.scale)  # [S, N, 2]
        np.testing.assert_allclose(np.mean(estimates, 0), density.prod(-1).mean(1), rtol=1e-12)
        np.testing.assert_allclose(np.mean(each, 0), density.mean(1), rtol=1e-12)

    def test_the_weighted_formula(self, rng):
        forward = gaussian_pass(rng, self.loc[:3], self.scale[:3], S)
        log_q, _ = penalties.log_aggregate(forward.q_z, forward.z, 6.0, "weighted")
        z = forward.z.numpy()[:, :, None]
        density = scipy.stats.norm.pdf(z, self.loc[:3], self.scale[:3]).prod(-1)  # [S, B, B]
        np.testing.assert_allclose(log_q, np.log(density.sum(-1) / (6 * 3)), rtol=1e-10)

    def test_each_weight_belongs_to_its_part(self, rng):
        forward = gaussian_pass(rng, self.loc, self.scale, S)
        terms = terms_of(forward)
        weights = {"alpha": 2.0, "beta": 5.0, "gamma": 0.5}
        objective = OBJECTIVES.BetaTC(dataset_size=N, **weights)
        parts = dict(zip(weights, objective.parts(forward), strict=True))
        by_hand = terms.elbo - sum((weights[name] - 1) * parts[name] for name in weights)
        np.testing.assert_allclose(objective(forward, terms), by_hand, rtol=1e-10)

    def test_the_order_of_the_batch_does_not_matter(self, rng):
        forward = gaussian_pass(rng, self.loc, self.scale, S)
        objective, order = OBJECTIVES.BetaTC(6.0, N), [3, 1, 5, 0, 2, 4]
        loc, scale = (tf.constant(v[order]) for v in (self.loc, self.scale))
        q_z = tfd.Independent(tfd.Normal(loc, scale), 1)
        shuffled = forward._replace(q_z=q_z, z=tf.gather(forward.z, order, axis=1))
        expected = objective(forward, terms_of(forward)).numpy()[order]
        np.testing.assert_allclose(objective(shuffled, terms_of(shuffled)), expected, rtol=1e-12)

    def test_one_example_alone_is_finite(self, rng):
        forward = gaussian_pass(rng, self.loc[:1], self.scale[:1], S)
        assert np.isfinite(OBJECTIVES.BetaTC(6.0, N)(forward, terms_of(forward))).all()


class TestDIP:
    def test_on_gaussians_with_a_known_covariance(self, rng):
        """Means with exactly the covariance C; q adds diag(scale^2) in variant II."""
        white = rng.normal(size=(N, 3))
        white = (white - white.mean(0)) @ np.linalg.inv(
            np.linalg.cholesky(np.cov(white.T, ddof=0))
        ).T
        c = np.array([[1.5, 0.4, -0.2], [0.4, 0.8, 0.1], [-0.2, 0.1, 1.1]])
        loc, scale = white @ np.linalg.cholesky(c).T, np.array([0.5, 0.2, 0.9])
        forward = gaussian_pass(rng, loc, np.tile(scale, (N, 1)), 1)
        terms = terms_of(forward)
        for variant, covariance in (("I", c), ("II", c + np.diag(scale**2))):
            off = 2 * (0.4**2 + 0.2**2 + 0.1**2)
            on = ((np.diag(covariance) - 1) ** 2).sum()
            objective = OBJECTIVES.DIP(variant, 3.0, 5.0)(forward, terms)
            np.testing.assert_allclose(terms.elbo - objective, 3 * off + 5 * on, rtol=1e-10)

    def test_a_full_covariance_posterior(self, x):
        encoder = vt.networks.mlp((8, 8), vt.layers.NormalTriL(2), hidden=(8,))
        decoder = vt.networks.mlp(2, vt.layers.Bernoulli((8, 8)), hidden=(8,))
        vae = vt.VAE(encoder, decoder, objective=OBJECTIVES.DIP("II", 1.0, 1.0))
        q_z = vae.encode(x)
        expected = np.cov(q_z.mean().numpy().T, ddof=0) + q_z.covariance().numpy().mean(0)
        np.testing.assert_allclose(vae.objective.covariance(q_z), expected, rtol=1e-4, atol=1e-6)


class TestInfoMMD:
    def test_no_bias_on_gaussians(self, rng):
        """E k(a, b) for a - b ~ N(m, C) is det(I + C/h^2)^-1/2 exp(-m' (h^2 I + C)^-1 m / 2)."""
        mean, spread, scale, h = np.array([0.5, -0.3]), np.array([1.2, 0.4]), 0.7, 1.3
        variance = spread**2 + scale**2  # of q(z)

        def kernel_mean(m, c):
            return np.prod(1 + c / h**2) ** -0.5 * np.exp(-0.5 * (m**2 / (h**2 + c)).sum())

        truth = (
            kernel_mean(0 * mean, 2 * variance)
            + kernel_mean(0 * mean, np.full(2, 2.0))
            - 2 * kernel_mean(mean, variance + 1)
        )

        compiled = tf.function(penalties.mmd)

        def estimate():
            loc = mean + spread * rng.normal(size=(B, 2))
            z = loc + scale * rng.normal(size=(3, B, 2))  # three samples of each example
            return compiled(tf.constant(z), tf.constant(rng.normal(size=(B + 2, 2))), h)

        values = np.array([estimate() for _ in range(3000)])
        assert abs(values.mean() - truth) < 4 * values.std() / np.sqrt(len(values))
        assert abs(truth) > 8 * values.std() / np.sqrt(len(values))  # the test can tell

    def test_the_formula(self, rng):
        forward = gaussian_pass(rng, rng.normal(size=(B, L)), np.full((B, L), 0.5), 1, "float32")
        terms = terms_of(forward)
        a, b = (OBJECTIVES.InfoMMD(alpha, 10.0, seed=1) for alpha in (0.25, 1.0))
        penalty = a.discrepancy(forward).numpy()
        a.seed_generator.state.assign(b.seed_generator.state)
        expected = -50 - 0.75 * terms.kl - (0.25 + 10 - 1) * penalty
        np.testing.assert_allclose(a(forward, terms), expected, rtol=1e-5)
        np.testing.assert_allclose(b(forward, terms), [-50 - 10 * penalty] * B, rtol=1e-5)

    def test_one_example_alone_says_nothing_about_the_aggregate(self, rng):
        forward = gaussian_pass(rng, rng.normal(size=(1, L)), np.full((1, L), 0.5), 3, "float32")
        assert OBJECTIVES.InfoMMD(seed=1).discrepancy(forward) == 0

    @pytest.mark.parametrize("alpha, lambda_", [(1.5, 1.0), (0.0, 0.5)])
    def test_negative_weights_are_refused(self, alpha, lambda_):
        with pytest.raises(ValueError, match=r"Expected alpha <= 1.*Received"):
            OBJECTIVES.InfoMMD(alpha, lambda_)


class TestFactor:
    correlation = 0.8

    def draw(self, rng, n):
        covariance = [[1.0, self.correlation], [self.correlation, 1.0]]
        return rng.multivariate_normal([0, 0], covariance, size=n).astype("float32")

    def log_ratio(self, z):
        covariance = [[1.0, self.correlation], [self.correlation, 1.0]]
        joint = scipy.stats.multivariate_normal([0, 0], covariance).logpdf(z)
        return joint - scipy.stats.norm.logpdf(z).sum(-1)

    def test_an_ideal_discriminator_gives_the_total_correlation(self, rng):
        objective = OBJECTIVES.Factor(3.0, hidden=(4,))
        objective.attach(2)
        # an object with the exact log-ratio in place of the network
        object.__setattr__(
            objective, "discriminator", lambda z: tf.constant(self.log_ratio(z)[:, None])
        )
        z = self.draw(rng, 40_000)
        forward = gaussian_pass(rng, np.zeros((40_000, 2)), np.ones((40_000, 2)), 1)
        forward = forward._replace(z=tf.constant(z[None]))
        terms = terms_of(forward)
        penalty = (terms.elbo - objective(forward, terms)).numpy() / 3
        truth = -0.5 * np.log(1 - self.correlation**2)
        assert abs(penalty.mean() - truth) < 4 * penalty.std() / 200

    def test_the_discriminator_learns_it(self, rng):
        """Its cross-entropy comes down from log 2 towards that of the exact log-ratio."""
        objective = OBJECTIVES.Factor(3.0, hidden=(32, 32), learning_rate=3e-3, seed=0)
        objective.attach(2)
        forward = gaussian_pass(rng, np.zeros((512, 2)), np.ones((512, 2)), 1)
        step = tf.function(lambda z: objective.advance(forward._replace(z=z)))
        for _ in range(300):
            step(tf.constant(self.draw(rng, 512)[None]))
        z = self.draw(rng, 20_000)
        shuffled = factor.permute_latents(tf.constant(z), 1).numpy()
        exact = np.logaddexp(0, -self.log_ratio(z)) + np.logaddexp(0, self.log_ratio(shuffled))
        reached = float(objective.discriminator_loss(tf.constant(z)))
        error = 4 * np.std(exact / 2) / np.sqrt(len(z))
        assert exact.mean() / 2 - error < reached < exact.mean() / 2 + 0.01 + error < np.log(2)
        logits = objective.total_correlation(tf.constant(z[None]))
        assert np.corrcoef(logits, self.log_ratio(z))[0, 1] > 0.9

    def test_shuffling_keeps_each_latent_and_breaks_their_dependence(self, rng):
        z = self.draw(rng, 10_000)
        shuffled = factor.permute_latents(tf.constant(z), 1).numpy()
        np.testing.assert_array_equal(np.sort(z, axis=0), np.sort(shuffled, axis=0))
        assert abs(np.corrcoef(shuffled.T)[0, 1]) < 4 / np.sqrt(len(z))

    def test_the_two_players_keep_apart(self, x):
        """The model's optimizer does not move the discriminator, nor the other way round."""
        vae = make_vae(L, objective=OBJECTIVES.Factor(5.0, hidden=(8,), seed=0), seed=0)
        names = {v.path for v in vae.trainable_variables}
        assert not names & {v.path for v in vae.objective.discriminator.weights}
        vae.trainable = False
        vae.trainable = True  # thaws the discriminator too
        for own_rate, other_rate in ((1.0, 0.0), (0.0, 1.0)):
            vae.compile(keras.optimizers.SGD(own_rate))
            vae.objective.discriminator_optimizer.learning_rate = other_rate
            before = vae.encoder.get_weights(), vae.objective.discriminator.get_weights()
            vae.fit(x, verbose=0)
            after = vae.encoder.get_weights(), vae.objective.discriminator.get_weights()
            moved = [
                any(np.any(a != b) for a, b in zip(*pair, strict=True))
                for pair in zip(before, after, strict=True)
            ]
            assert moved == [own_rate > 0, other_rate > 0]

    def test_another_model_with_other_latents_is_refused(self):
        objective = OBJECTIVES.Factor(5.0, hidden=(8,))
        vae = make_vae(2, objective=objective)
        vae.objective = OBJECTIVES.ELBO()  # gives it up
        with pytest.raises(ValueError, match="Expected a Factor for 2 latents. Received: 3"):
            make_vae(3, objective=objective)


class TestStockKeras:
    @pytest.mark.parametrize("name", ["BetaTC", "Factor"])
    def test_compiled_by_xla(self, name, x):
        vae = make_vae(L, objective=MIDWAY[name](), seed=0)
        vae.compile(jit_compile=True)
        loss = vae.fit(x, epochs=5, verbose=0).history["loss"]
        assert np.isfinite(loss).all()
        assert int(vae.objective.step) == 10

    def test_an_objective_can_be_changed(self, x):
        vae = make_vae(L, seed=0)
        vae.fit(x, verbose=0)
        vae.compile(keras.optimizers.SGD(0.0))
        vae.fit(x, verbose=0)
        vae.objective = OBJECTIVES.BetaELBO(1000.0)
        for history in (vae.fit(x, verbose=0).history, vae.evaluate(x, return_dict=True)):
            loss, reconstruction, kl = (
                np.mean(history[name]) for name in ("loss", "reconstruction", "kl")
            )
            assert loss == pytest.approx(1000 * kl - reconstruction, rel=1e-5)
        with pytest.raises(TypeError, match="Expected `objective` to be a vt.objectives.Objective"):
            vae.objective = "ELBO"

    @pytest.mark.parametrize(
        "make",
        [
            lambda: OBJECTIVES.DIP("III", 1.0, 1.0),
            lambda: OBJECTIVES.BetaTC(6.0, N, estimator="both"),
            lambda: OBJECTIVES.BetaTC(6.0, 0),
            lambda: OBJECTIVES.Factor(-1.0),
            lambda: OBJECTIVES.Capacity(-1.0),
            lambda: OBJECTIVES.FreeBits(-0.1),
            lambda: OBJECTIVES.IWAE(0),
            lambda: OBJECTIVES.InfoMMD(alpha="half"),
            lambda: OBJECTIVES.Factor(5.0, hidden=0),
            lambda: OBJECTIVES.FreeBits(0.1, groups=[0, 1]),
        ],
    )
    def test_wrong_arguments(self, make):
        with pytest.raises(ValueError, match="Expected `.*Received"):
            make()
