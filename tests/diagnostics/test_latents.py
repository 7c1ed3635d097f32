"""Diagnostics against closed forms, quadrature and optimisation; sampled ones within 4 s.e."""

import dataclasses

import keras
import numpy as np
import pytest
import scipy.optimize
import scipy.sparse
import scipy.special
import scipy.stats
import tensorflow as tf
import tensorflow_probability as tfp
from conftest import B, L, S, make_vae, random_linear

import vae_tf as vt
from vae_tf._core import chunks

tfd = tfp.distributions
diagnostics = vt.diagnostics


class Codes:
    """A student's own class: the example's first column is its number, its code is in a table."""

    def __init__(self, loc, scale, prior=None):
        self.loc, self.scale = (np.asarray(value, "float64") for value in (loc, scale))
        latents = self.loc.shape[1]
        self.prior = (
            vt.priors.StandardNormal(latents, dtype="float64")() if prior is None else prior
        )

    @property
    def x(self):
        return np.arange(len(self.loc))[:, None]

    def family(self, rows):
        return vt.distributions.Independent(tfd.Normal(self.loc[rows], self.scale[rows]), 1)

    def encode(self, x):
        return self.family(np.asarray(x)[:, 0])

    decode = None  # no diagnostic needs it


class Single(Codes):
    """Codes as a network gives them, in float32."""

    def family(self, rows):
        loc, scale = (value[rows].astype("float32") for value in (self.loc, self.scale))
        return vt.distributions.Independent(tfd.Normal(loc, scale), 1)


class Heavy(Codes):
    """Student-t codes: no closed form of the KL, and no Normals."""

    def family(self, rows):
        return vt.distributions.Independent(
            tfd.StudentT(np.float64(6.0), self.loc[rows], self.scale[rows]), 1
        )


class Correlated(Codes):
    """Codes with a full covariance."""

    def family(self, rows):
        factor = np.array([[1.0, 0.0], [0.8, 0.6]]) * self.scale[rows][:, None]
        return vt.distributions.MultivariateNormalTriL(self.loc[rows], scale_tril=factor)


def random_codes(rng, latents, kind=Codes, examples=6):
    """Codes that overlap, correlate, and miss the prior."""
    loc = rng.normal(size=(examples, 1)) + 0.7 * rng.normal(size=(examples, latents)) + 0.5
    return kind(loc, rng.uniform(0.3, 0.9, size=(examples, latents)))


def quadrature(model, axes):
    """(I, KL(q(z)||p(z)), TC, dimension-wise KL) by sums over a grid, without the package."""
    points = np.stack(np.meshgrid(*axes, indexing="ij"), -1)  # [..., L]
    cell = np.prod([axis[1] - axis[0] for axis in axes])
    q = model.encode(model.x)
    log_each = q.log_prob(points[..., None, :]).numpy()  # [..., N]
    each = np.exp(log_each)
    mixture = each.mean(-1)
    log_mixture = np.log(np.maximum(mixture, 1e-300))
    information = (each * (log_each - log_mixture[..., None])).sum() * cell / len(model.x)
    marginal = (mixture * (log_mixture - model.prior.log_prob(points).numpy())).sum() * cell
    if len(axes) == 1:
        return information, marginal, 0.0, marginal
    product, dimension_wise = 0.0, 0.0
    for i, axis in enumerate(axes):
        step = axis[1] - axis[0]
        one = mixture.sum(1 - i) * cell / step  # q(z_i) on its axis
        log_one = np.log(np.maximum(one, 1e-300))
        product = product + (log_one[:, None] if i == 0 else log_one[None, :])
        dimension_wise += (one * (log_one - scipy.stats.norm.logpdf(axis))).sum() * step
    return information, marginal, (mixture * (log_mixture - product)).sum() * cell, dimension_wise


def axes_of(latents, reach=9.0, nodes=601):
    return [np.linspace(-reach, reach, nodes)] * latents


class TestPredictCollapse:
    SCALES = np.array([3.0, 2.0, 1.5, 0.6])

    def data(self, rng, examples=40):
        rotation = scipy.stats.ortho_group.rvs(4, random_state=0)
        return (rng.normal(size=(examples, 4)) * self.SCALES) @ rotation + 1.0

    @pytest.mark.parametrize("beta", [1.0, 1.5, 3.0, 5.0, 10.0])
    def test_it_is_where_an_optimiser_ends(self, rng, beta):
        """All weights of a linear beta-VAE of four latents, by L-BFGS on its exact objective."""
        x, scale = self.data(rng), 0.8
        centred = tf.constant(x - x.mean(0))

        def rate_distortion(decoder, encoder, log_v):
            mu, v = centred @ encoder, tf.exp(log_v)
            kl = 0.5 * tf.reduce_sum(v + mu**2 - 1 - log_v, -1)
            error = tf.reduce_sum((centred - mu @ decoder) ** 2, -1)
            error += tf.reduce_sum(v * tf.reduce_sum(decoder**2, -1))
            constant = 2 * np.log(2 * np.pi * scale**2)
            return tf.reduce_mean(kl), tf.reduce_mean(error) / (2 * scale**2) + constant, mu

        def unpack(flat):
            return tf.reshape(flat[:16], [4, 4]), tf.reshape(flat[16:32], [4, 4]), flat[32:]

        @tf.function
        def value_and_gradient(flat):
            with tf.GradientTape() as tape:
                tape.watch(flat)
                rate, distortion, _ = rate_distortion(*unpack(flat))
                value = distortion + beta * rate
            return value, tape.gradient(value, flat)

        def loss(flat):
            return [part.numpy() for part in value_and_gradient(tf.constant(flat))]

        options = {"maxiter": 5000, "ftol": 1e-15, "gtol": 1e-9}
        start = rng.normal(size=36) * 0.3
        end = scipy.optimize.minimize(loss, start, jac=True, method="L-BFGS-B", options=options)
        rate, distortion, mu = rate_distortion(*unpack(end.x))
        expected = diagnostics.predict_collapse(x, beta, scale)
        np.testing.assert_allclose(end.fun, expected.distortion + beta * expected.rate, atol=1e-6)
        np.testing.assert_allclose(
            [rate, distortion], [expected.rate, expected.distortion], atol=2e-3
        )
        variance = np.sort(mu.numpy().var(0))[::-1]
        np.testing.assert_allclose(variance, expected.mean_variance, atol=2e-3)
        scales = np.sort(np.exp(0.5 * end.x[32:]))
        np.testing.assert_allclose(scales, expected.encoder_scale, atol=2e-3)
        assert (variance > 0.01).sum() == expected.count

    @pytest.mark.parametrize("beta", [0.2, 1.0, 4.0])
    def test_it_is_the_closed_form_of_the_linear_model(self, rng, beta):
        x, scale = self.data(rng), 0.8
        expected = diagnostics.predict_collapse(x, beta, scale)
        values, vectors = np.linalg.eigh(np.cov(x, rowvar=False, ddof=0))
        stretch = np.sqrt(np.maximum(values - beta * scale**2, 0))
        model = vt.linear.LinearGaussian(vectors * stretch, x.mean(0), scale)
        # The best q for reconstruction - beta KL is the posterior for a noise sqrt(beta) as large.
        wide = vt.linear.LinearGaussian(model.weights, model.mean, np.sqrt(beta) * scale)
        terms = model.elbo(x, wide.encode(x))
        np.testing.assert_allclose(np.mean(terms.kl), expected.rate, atol=1e-10)
        np.testing.assert_allclose(-np.mean(terms.reconstruction), expected.distortion, atol=1e-10)
        per_latent = vt.elbo.kl_per_latent(wide.encode(x), model.prior).numpy().mean(0)[::-1]
        np.testing.assert_allclose(per_latent, expected.kl, atol=1e-10)
        units = diagnostics.active_units(wide, x)
        np.testing.assert_allclose(units.variance[::-1], expected.mean_variance, atol=1e-10)
        assert units.count == expected.count

    def test_the_slope_of_the_frontier_is_minus_beta(self, rng):
        x = self.data(rng)
        for beta in (0.3, 1.0, 2.5, 6.0):
            low, high = (diagnostics.predict_collapse(x, beta * (1 + h)) for h in (-1e-5, 1e-5))
            assert low.count == high.count
            slope = (high.distortion - low.distortion) / (high.rate - low.rate)
            np.testing.assert_allclose(slope, -beta, rtol=1e-6)

    def test_the_covariance_divides_by_n(self):
        x = np.array([[2.0, 0.0], [-2.0, 0.0]])  # variance 4 with 1/N, 8 with 1/(N - 1)
        np.testing.assert_allclose(diagnostics.predict_collapse(x).eigenvalues, [4, 0], atol=1e-12)
        assert diagnostics.predict_collapse(x, beta=5.0).count == 0
        assert diagnostics.predict_collapse(x, beta=4.0).count == 0  # at the threshold: inactive
        assert diagnostics.predict_collapse(x, beta=3.9).count == 1
        assert diagnostics.predict_collapse(x, scale=1.9).count == 1
        assert diagnostics.predict_collapse(x, scale=2.1).count == 0

    def test_events_are_flattened_and_may_outnumber_examples(self, rng):
        x = rng.normal(size=(B, 4, 6)) * 3
        collapse = diagnostics.predict_collapse(x)
        covariance = np.cov(x.reshape(B, 24), rowvar=False, ddof=0)
        values = np.linalg.eigvalsh(covariance)[::-1]
        assert collapse.eigenvalues.shape == collapse.active.shape == (24,)
        np.testing.assert_allclose(collapse.eigenvalues, values, atol=1e-10)
        assert collapse.count <= B - 1 and collapse.kl[collapse.count :].sum() == 0

    def test_fewer_latents_than_directions(self, rng):
        """It is then probabilistic PCA with its noise given: the ELBO is that model's log p(x)."""
        x, scale = self.data(rng), 0.8
        two = diagnostics.predict_collapse(x, scale=scale, latent_size=2)
        assert two.count == 2 < diagnostics.predict_collapse(x, scale=scale).count
        values, vectors = np.linalg.eigh(np.cov(x, rowvar=False, ddof=0))
        weights = vectors[:, -2:] * np.sqrt(values[-2:] - scale**2)
        log_p = vt.linear.LinearGaussian(weights, x.mean(0), scale).log_evidence(x).mean()
        np.testing.assert_allclose(-two.rate - two.distortion, log_p, atol=1e-10)

    @pytest.mark.parametrize(
        "x, kwargs, expected",
        [
            (np.zeros((1, 3)), {}, "at least two examples"),
            (np.zeros(3), {}, "at least two examples"),
            (np.full((3, 2), np.nan), {}, "finite"),
            (np.ones((3, 2)), {"beta": 0.0}, "`beta` to be a positive number"),
            (np.ones((3, 2)), {"scale": -1.0}, "`scale` to be a positive number"),
            (np.ones((3, 2)), {"latent_size": 0}, "`latent_size` to be a positive integer"),
            (np.ones((3, 2)), {"latent_size": (2,)}, "`latent_size` to be a positive integer"),
            (scipy.sparse.csr_matrix(np.eye(3)), {}, r"`x.toarray\(\)` makes one"),
        ],
    )
    def test_refusals(self, x, kwargs, expected):
        with pytest.raises(ValueError, match=expected):
            diagnostics.predict_collapse(x, **kwargs)


class TestKlPerLatent:
    def test_closed_form_and_sum(self, rng):
        loc, scale = rng.normal(size=(B, L)), rng.uniform(0.1, 2, size=(B, L))
        model = Codes(loc, scale)
        kl = diagnostics.kl_per_latent(model, model.x)
        assert kl.shape == (B, L) and kl.dtype == "float64"
        np.testing.assert_allclose(kl, 0.5 * (scale**2 + loc**2 - 1) - np.log(scale), atol=1e-12)

    def test_they_sum_to_the_kl_of_a_vae_in_chunks_too(self, binary_digits, monkeypatch):
        vae, x = make_vae(L), binary_digits[0][:B]
        whole = diagnostics.kl_per_latent(vae, x)
        np.testing.assert_allclose(whole.sum(1), vae.elbo(x, seed=0).kl, rtol=1e-5)
        monkeypatch.setattr(chunks, "BUDGET", 2 * x[0].size)
        np.testing.assert_allclose(diagnostics.kl_per_latent(vae, x), whole, rtol=1e-5)

    def test_dependent_latents_are_refused(self, rng):
        model = random_codes(rng, 2, Correlated)
        with pytest.raises(ValueError, match="independent"):
            diagnostics.kl_per_latent(model, model.x)


class TestActiveUnits:
    def test_the_variance_of_the_mean_over_the_examples(self, rng):
        model = Codes(rng.normal(size=(B, L)) * [1.0, 0.3, 0.02], np.full((B, L), 0.5))
        units = diagnostics.active_units(model, model.x)
        by_hand = ((model.loc - model.loc.mean(0)) ** 2).sum(0) / B
        np.testing.assert_allclose(units.variance, by_hand, rtol=1e-12)
        assert units.variance.shape == (L,) and units.count == 2
        assert units.active.tolist() == [True, True, False]

    def test_the_threshold_is_one_of_a_variance(self):
        loc = [
            [0.05, 0.11],
            [-0.05, -0.11],
        ]  # standard deviations .05 and .11, variances around .01
        model = Codes(loc, np.full((2, 2), 1e-3))  # however narrow the codes are
        assert diagnostics.active_units(model, model.x).active.tolist() == [False, True]
        assert diagnostics.active_units(model, model.x, threshold=0.002).count == 2
        assert diagnostics.active_units(model, model.x, threshold=0.0121001).count == 0

    def test_order_and_chunks_do_not_matter(self, trained, binary_digits, monkeypatch):
        x = binary_digits[0][:50]
        units = diagnostics.active_units(trained, x)
        assert units.count == 2
        monkeypatch.setattr(chunks, "BUDGET", 7 * x[0].size)
        shuffled = diagnostics.active_units(trained, x[::-1])
        np.testing.assert_allclose(shuffled.variance, units.variance, rtol=1e-5)

    def test_one_example_has_no_variance(self):
        with pytest.raises(ValueError, match="N at least 2"):
            diagnostics.active_units(Codes([[0.0]], [[1.0]]), np.zeros((1, 1)))


class TestAggregate:
    def test_density_of_the_mixture(self, rng, monkeypatch):
        model = random_codes(rng, 2)
        z = rng.normal(size=(S, 4, 2))
        densities = [
            scipy.stats.norm(model.loc[n], model.scale[n]).pdf(z).prod(-1) for n in range(6)
        ]
        expected = np.log(np.mean(densities, axis=0))
        np.testing.assert_allclose(diagnostics.aggregate_log_prob(model, model.x, z), expected)
        order = rng.permutation(6)
        shuffled = diagnostics.aggregate_log_prob(model, model.x[order], z)
        np.testing.assert_allclose(shuffled, expected)
        monkeypatch.setattr(chunks, "BUDGET", 5)  # examples and points in several parts
        np.testing.assert_allclose(diagnostics.aggregate_log_prob(model, model.x, z), expected)

    def test_narrow_codes_of_a_float32_encoder_far_from_zero(self):
        """Scale 1e-4 at 30: in float32 a sample is off by a hundredth of a standard deviation."""

        model = Single(np.full((3, 1), 30.0), np.full((3, 1), 1e-4))
        z = 30 + 1e-4 * np.linspace(-3, 3, 50)[:, None]
        expected = scipy.stats.norm(30, np.float32(1e-4)).logpdf(z[:, 0])
        computed = diagnostics.aggregate_log_prob(model, model.x, z)
        np.testing.assert_allclose(computed, expected, atol=1e-7)

    def test_where_no_code_reaches_there_is_no_density_and_no_nan(self):
        class Boxes(Codes):
            def family(self, rows):
                loc, width = self.loc[rows], self.scale[rows]
                return vt.distributions.Independent(tfd.Uniform(loc, loc + width), 1)

        model = Boxes([[0.0], [1.0], [1.0]], np.ones((3, 1)))
        values = diagnostics.aggregate_log_prob(model, model.x, [[0.5], [1.5], [7.0]])
        np.testing.assert_allclose(values, [np.log(1 / 3), np.log(2 / 3), -np.inf])
        # Which box is known; which of the two examples in the second box is not.
        entropy = np.log(3) - 2 / 3 * np.log(2)
        information = diagnostics.mutual_information(model, model.x, S, seed=0)
        np.testing.assert_allclose(information, entropy, atol=1e-12)

    def test_one_distribution_for_all_examples_is_refused(self):
        class Prior(Codes):
            def encode(self, _):
                return self.prior

        with pytest.raises(ValueError, match=r"batch shape \[6\]. Received: batch shape \[\]"):
            diagnostics.mutual_information(
                Prior(np.zeros((6, 2)), np.ones((6, 2))), np.zeros((6, 1))
            )


class TestMutualInformation:
    @pytest.mark.parametrize("kind, latents", [(Codes, 1), (Codes, 2), (Heavy, 1), (Correlated, 2)])
    def test_against_quadrature(self, rng, kind, latents):
        model = random_codes(rng, latents, kind)
        reach, nodes = (400.0, 400_001) if kind is Heavy else (9.0, 601)
        truth = quadrature(model, axes_of(latents, reach, nodes))[0]
        got = diagnostics.mutual_information(model, model.x, 4000, seed=0)
        assert abs(got.estimate - truth) < 4 * got.standard_error
        assert got.standard_error < 0.01 and got.log_n == np.log(6) and not got.saturated

    def test_the_stated_error_is_the_spread(self, rng):
        model = random_codes(rng, 2)
        truth = quadrature(model, axes_of(2))[0]
        runs = [diagnostics.mutual_information(model, model.x, S, seed=i) for i in range(200)]
        estimates = np.array([run.estimate for run in runs])
        spread = estimates.std(ddof=1)
        assert abs(estimates.mean() - truth) < 4 * spread / np.sqrt(200)
        stated = np.sqrt(np.mean([run.standard_error**2 for run in runs]))
        # A standard deviation of 200 draws has a relative error of about 1 / sqrt(400).
        assert abs(stated / spread - 1) < 4 / np.sqrt(400)
        single = [diagnostics.mutual_information(model, model.x, 1, seed=i) for i in range(200)]
        stated = np.sqrt(np.mean([run.standard_error**2 for run in single]))
        assert stated > np.std([run.estimate for run in single], ddof=1) * (
            1 - 4 / np.sqrt(400)
        )  # on the safe side

    def test_codes_told_apart_saturate_at_log_n(self, rng):
        model = Codes(100.0 * np.arange(B * 2).reshape(B, 2), rng.uniform(0.01, 1, size=(B, 2)))
        for samples in (1, S):
            got = diagnostics.mutual_information(model, model.x, samples, seed=0)
            assert got.saturated and got.log_n == np.log(B)
            np.testing.assert_allclose(
                [got.estimate, got.standard_error], [got.log_n, 0], atol=1e-12
            )
            assert got.estimate <= got.log_n

    def test_codes_all_alike_know_nothing(self):
        model = Codes(np.full((B, L), 0.4), np.full((B, L), 0.7))
        got = diagnostics.mutual_information(model, model.x, S, seed=0)
        assert abs(got.estimate) < 1e-12 and not got.saturated

    def test_two_groups_hold_one_bit(self):
        loc = 50.0 * np.array([0, 1, 0, 1, 1, 0])[:, None]
        model = Codes(loc, np.ones((6, 1)))
        got = diagnostics.mutual_information(model, model.x, S, seed=0)
        np.testing.assert_allclose(got, np.log(2), atol=1e-12)
        # The index is the datum: every example twice is the same information of twice as many.
        twice = Codes(np.tile(loc, (2, 1)), np.ones((12, 1)))
        got = diagnostics.mutual_information(twice, twice.x, S, seed=0)
        np.testing.assert_allclose([got.estimate, got.log_n], np.log([2, 12]), atol=1e-12)

    def test_never_above_log_n(self, rng):
        for seed in range(50):
            model = Codes(rng.normal(size=(3, 1)) * 4, rng.uniform(0.1, 1, size=(3, 1)))
            got = diagnostics.mutual_information(model, model.x, 2, seed=seed)
            assert got.estimate <= got.log_n

    def test_narrow_codes_of_a_float32_encoder_far_from_zero(self):
        """Samples in float32 would fall on a lattice as wide as the codes; units do not matter."""
        steps = 2.0**-19 * np.array([0, 2, 5])[:, None]  # neighbours of 30 are 2^-19 apart
        scale = np.full((3, 1), np.float32(2e-6), "float64")
        near, far = Codes(steps / scale, scale / scale), Single(30 + steps, scale)
        both = [diagnostics.mutual_information(model, model.x, S, seed=0) for model in (near, far)]
        np.testing.assert_allclose(both[1].estimate, both[0].estimate, atol=1e-6)

    def test_one_example(self):
        model = Codes([[3.0, 1.0]], [[0.1, 2.0]])
        got = diagnostics.mutual_information(model, model.x, S, seed=0)
        assert got.estimate == got.log_n == 0.0 and got.saturated

    def test_pairs_in_blocks_are_the_same_pairs(self, rng, monkeypatch):
        model = random_codes(rng, 2, examples=9)
        whole = diagnostics.surgery(model, model.x, S, seed=0)
        monkeypatch.setattr(chunks, "BUDGET", 40)  # two points at a time against 9 examples
        blocks = diagnostics.surgery(model, model.x, S, seed=0)
        for ours, theirs in zip(*map(dataclasses.astuple, (blocks, whole)), strict=True):
            np.testing.assert_allclose(ours, theirs)
        monkeypatch.setattr(chunks, "BUDGET", 4)  # the examples in parts as well: other samples
        parts = diagnostics.surgery(model, model.x, 50, seed=0)
        error = np.hypot(whole.standard_error, parts.standard_error)
        assert abs(parts.mutual_information - whole.mutual_information) < 4 * error
        np.testing.assert_allclose(parts.kl, whole.kl, rtol=1e-12)

    def test_order_does_not_matter(self, rng):
        model = random_codes(rng, 2)
        runs = [
            diagnostics.mutual_information(model, x, 2000, seed=0) for x in (model.x, model.x[::-1])
        ]
        difference = runs[0].estimate - runs[1].estimate
        assert abs(difference) < 4 * np.hypot(*[run.standard_error for run in runs])


class TestSurgery:
    def close(self, got, truth):
        """Every part within its errors, the KL and the sums to rounding."""
        information, marginal, total, dimension_wise = truth
        np.testing.assert_allclose(got.mutual_information + got.marginal_kl, got.kl, atol=1e-12)
        assert abs(got.mutual_information - information) < 4 * got.standard_error
        assert abs(got.marginal_kl - marginal) < 4 * got.standard_error
        if got.total_correlation is not None:
            parts = got.total_correlation + got.dimension_wise_kl
            np.testing.assert_allclose(parts, got.marginal_kl, atol=1e-12)
            assert abs(got.total_correlation - total) < 4 * got.standard_error_of_parts + 1e-12
            assert abs(got.dimension_wise_kl - dimension_wise) < 4 * got.standard_error_of_parts

    @pytest.mark.parametrize("latents", [1, 2])
    def test_linear_gaussian(self, rng, latents):
        """The acceptance line: mean KL = I + KL(q(z)||p(z)) to 1e-6, both by quadrature."""
        for _ in range(3):
            model, x = random_linear(rng, 3, latents, noise=1.5)
            model.x = x
            truth = quadrature(model, axes_of(latents))
            got = diagnostics.surgery(model, x, 2000, seed=0)
            np.testing.assert_allclose(got.kl, truth[0] + truth[1], atol=1e-6)
            np.testing.assert_allclose(
                got.kl, np.mean(model.elbo(x, model.encode(x)).kl), atol=1e-12
            )
            np.testing.assert_allclose(truth[2] + truth[3], truth[1], atol=1e-6)
            self.close(got, truth)

    def test_codes_that_correlate_and_miss_the_prior(self, rng):
        model = random_codes(rng, 2)
        truth = quadrature(model, axes_of(2))
        assert truth[2] > 0.1 and truth[3] > 0.1  # there is something to find
        got = diagnostics.surgery(model, model.x, 4000, seed=0)
        self.close(got, truth)
        assert got.standard_error_of_parts < 0.02
        again = diagnostics.mutual_information(model, model.x, 4000, seed=0)
        assert again.estimate == got.mutual_information
        assert again.standard_error == got.standard_error

    def test_without_a_closed_form_of_the_kl(self, rng):
        """Student-t codes: the KL is sampled as well, and its noise is in the errors."""
        model = random_codes(rng, 1, Heavy)
        truth = quadrature(model, axes_of(1, 400.0, 400_001))
        got = diagnostics.surgery(model, model.x, 4000, seed=0)
        self.close(got, truth)
        assert abs(got.kl - truth[0] - truth[1]) < 8 * got.standard_error
        runs = [diagnostics.surgery(model, model.x, 40, seed=i) for i in range(200)]
        self.errors_are_the_spread(runs, ["mutual_information", "marginal_kl"], "standard_error")

    def errors_are_the_spread(self, runs, names, error):
        """One error is stated for two parts, that of the noisier."""
        spread = max(np.std([getattr(run, name) for run in runs], ddof=1) for name in names)
        stated = np.sqrt(np.mean([getattr(run, error) ** 2 for run in runs]))
        assert abs(stated / spread - 1) < 4 / np.sqrt(2 * len(runs))

    def test_the_stated_errors_are_the_spread(self, rng):
        model = random_codes(rng, 2)
        runs = [diagnostics.surgery(model, model.x, 40, seed=i) for i in range(200)]
        self.errors_are_the_spread(runs, ["mutual_information", "marginal_kl"], "standard_error")
        names = ["total_correlation", "dimension_wise_kl"]
        self.errors_are_the_spread(runs, names, "standard_error_of_parts")

    def test_dependent_latents_have_no_dimension_wise_parts(self, rng):
        model = random_codes(rng, 2, Correlated)
        got = diagnostics.surgery(model, model.x, 2000, seed=0)
        self.close(got, quadrature(model, axes_of(2)))
        assert got.total_correlation is got.dimension_wise_kl is None
        assert got.standard_error_of_parts is None

    def test_a_prior_with_dependent_latents(self, rng):
        factor = np.array([[1.0, 0.0], [0.7, 1.2]])
        prior = vt.distributions.MultivariateNormalTriL(np.zeros(2), scale_tril=factor)
        codes = random_codes(rng, 2)
        model = Codes(codes.loc, codes.scale, prior)
        got = diagnostics.surgery(model, model.x, 2000, seed=0)
        assert got.total_correlation is got.dimension_wise_kl is None
        self.close(got, quadrature(model, axes_of(2)))

    def test_an_aggregate_that_is_the_prior(self):
        """Each q(z|x) is far from N(0, 1), all of them together are not: quantiles of a Normal."""
        loc = np.sqrt(1 - 0.1**2) * scipy.stats.norm.ppf((np.arange(400) + 0.5) / 400)
        model = Codes(loc[:, None], np.full((400, 1), 0.1))
        got = diagnostics.surgery(model, model.x, 20, seed=0)
        self.close(got, quadrature(model, axes_of(1, nodes=4001)))
        assert got.kl > 1.7 and abs(got.marginal_kl) < 0.01 + 4 * got.standard_error
        assert abs(got.total_correlation) < 1e-12  # one latent

    def test_a_trained_vae(self, trained, binary_digits):
        x = binary_digits[1][:20]
        got = diagnostics.surgery(trained, x, 100, seed=0)
        np.testing.assert_allclose(got.kl, np.mean(trained.elbo(x, seed=0).kl), rtol=1e-6)
        q_z = trained.encode(x)
        model = Codes(q_z.mean(), q_z.stddev())  # the same codes in float64
        assert model.scale.min() > 0.1
        self.close(got, quadrature(model, axes_of(2, 6.0, 601)))

    def test_seeds_and_counts(self, rng):
        model = random_codes(rng, 2)
        first, again, other = (diagnostics.surgery(model, model.x, seed=i) for i in (0, 0, 1))
        assert first == again and first.mutual_information != other.mutual_information
        for bad in (0, 1.5, True):
            with pytest.raises(ValueError, match="`num_samples` to be a positive integer"):
                diagnostics.surgery(model, model.x, bad)
        with pytest.raises(ValueError, match=r"Expected `x` of shape \[N, \*event\]"):
            diagnostics.surgery(model, np.zeros((0, 1)))


MEASURES = {
    "active_units": lambda *args, **kw: diagnostics.active_units(*args, **kw).variance,
    "kl_per_latent": diagnostics.kl_per_latent,
    "aggregate_log_prob": lambda m, x, **kw: diagnostics.aggregate_log_prob(
        m, x, np.zeros((4, 2)), **kw
    ),
    "mutual_information": lambda *args, **kw: (
        diagnostics.mutual_information(*args, seed=0, **kw).estimate
    ),
    "surgery": lambda *args, **kw: diagnostics.surgery(*args, seed=0, **kw).marginal_kl,
}


class ByCondition(Codes):
    """Its codes depend on a condition too: the first part shifts them, the second widens them."""

    def encode(self, x, condition):
        shift, width = condition
        rows = np.asarray(x)[:, 0]
        loc, scale = self.loc[rows] + shift, self.scale[rows] * width
        return vt.distributions.Independent(tfd.Normal(loc, scale), 1)


class TestConditions:
    @pytest.mark.parametrize("name", MEASURES)
    def test_they_are_those_of_the_codes_that_it_makes(self, rng, monkeypatch, name):
        loc, scale = rng.normal(size=(6, 2)), rng.uniform(0.3, 0.9, size=(6, 2))
        shift, width = rng.normal(size=(6, 2)), rng.uniform(0.5, 2.0, size=(6, 1))
        plain, given = Codes(loc + shift, scale * width), ByCondition(loc, scale)
        expected = MEASURES[name](plain, plain.x)
        measured = MEASURES[name](given, given.x, condition=(shift, width))
        np.testing.assert_allclose(measured, expected, rtol=1e-12)
        monkeypatch.setattr(chunks, "BUDGET", 2)  # two examples in a part, with their rows
        expected = MEASURES[name](plain, plain.x)
        measured = MEASURES[name](given, given.x, condition=(shift, width))
        np.testing.assert_allclose(measured, expected, rtol=1e-12)

    @pytest.mark.parametrize("name", MEASURES)
    def test_a_row_for_each_example(self, name):
        model = ByCondition(np.zeros((6, 2)), np.ones((6, 2)))
        with pytest.raises(ValueError, match="Expected `condition` with a row for each of 6"):
            MEASURES[name](model, model.x, condition=(np.zeros((6, 2)), np.ones((5, 1))))


class TestBrokenModels:
    @pytest.mark.parametrize("name", MEASURES)
    @pytest.mark.parametrize("broken", ["loc", "scale"])
    def test_nan_is_not_a_collapse(self, name, broken):
        model = Codes(np.zeros((6, 2)), np.ones((6, 2)))
        getattr(model, broken)[[1, 3], 1] = np.nan
        with pytest.raises(ValueError, match="are numbers. Received: NaN for 2 of 6 examples"):
            MEASURES[name](model, model.x)

    @pytest.mark.parametrize("name", MEASURES)
    def test_a_network_of_nan(self, name, binary_digits):
        vae = make_vae(2)
        for variable in vae.trainable_variables:
            variable.assign(np.full(variable.shape, np.nan))
        with pytest.raises(ValueError, match="Received: NaN for 9 of 9 examples"):
            MEASURES[name](vae, binary_digits[0][:9])

    @pytest.mark.parametrize("name", ["kl_per_latent", "surgery"])
    def test_a_prior_of_nan_gives_nan(self, name):
        nan = vt.distributions.Independent(tfd.Normal(np.full(2, np.nan), np.ones(2)), 1)
        model = Codes(np.zeros((6, 2)), np.ones((6, 2)), prior=nan)
        assert np.isnan(MEASURES[name](model, model.x)).all()

    @pytest.mark.parametrize("name", MEASURES)
    def test_containers(self, name, trained, binary_digits):
        with pytest.raises(ValueError, match=r"`x.toarray\(\)` makes one"):
            MEASURES[name](trained, scipy.sparse.csr_matrix(binary_digits[0][:9].reshape(9, -1)))

    def test_points_of_another_size(self):
        model = Codes(np.zeros((6, 2)), np.ones((6, 2)))
        for z in (np.zeros((4, 1)), np.zeros((4, 3)), 0.0):
            with pytest.raises(ValueError, match=r"`z` of shape \[..., 2\]. Received: shape"):
                diagnostics.aggregate_log_prob(model, model.x, z)


class TestMemory:
    def test_wide_networks_get_fewer_examples_at_a_time(self, monkeypatch):
        sizes = []

        class Wide(Codes):
            width = 100

            def encode(self, x):
                sizes.append(len(x))
                return super().encode(x)

        model = Wide(np.zeros((6, 2)), np.ones((6, 2)))
        monkeypatch.setattr(chunks, "BUDGET", 200)
        diagnostics.active_units(model, model.x)
        assert sizes == [2, 2, 2]


class TestResults:
    def test_they_are_no_tuples(self, rng):
        model = random_codes(rng, 2)
        found = diagnostics.mutual_information(model, model.x, S, seed=0)
        assert float(found) == np.asarray(found) == found.estimate
        for result in (found, diagnostics.surgery(model, model.x, seed=0)):
            with pytest.raises(TypeError):
                result * 2
            with pytest.raises(TypeError):
                tuple(result)
            with pytest.raises(AttributeError):
                result.log_n = 0.0


def kl_terms(loc, scale):
    return 0.5 * (loc**2 + scale**2 - 1) - tf.math.log(scale)


def squares(x, x_hat):
    return (x - x_hat) ** 2


def per_example(terms):
    return tf.reduce_sum(terms, axis=list(range(1, len(terms.shape))))


mean = tf.reduce_mean


def keras_guide(x, x_hat, loc, scale):
    """The sums and means of Keras' guide to subclassing, with its log-variance."""
    log_square = 2 * tf.math.log(scale)
    kl = -0.5 * tf.reduce_mean(log_square - tf.square(loc) - tf.exp(log_square) + 1)
    return keras.losses.MeanSquaredError()(x, x_hat) + kl


class TestEffectiveBeta:
    @pytest.mark.parametrize(
        "loss, beta, sizes",
        [
            (lambda x, r, m, s: mean(per_example(squares(x, r))) / 2
             + mean(per_example(kl_terms(m, s))), 1.0, (784, 32)),
            (lambda x, r, m, s: per_example(squares(x, r)) / 2 + per_example(kl_terms(m, s)),
             1.0, (784, 32)),
            (lambda x, r, m, s: mean(squares(x, r)) / 2 + mean(per_example(kl_terms(m, s))),
             784.0, (784, 32)),
            (lambda x, r, m, s: mean(squares(x, r)) + mean(per_example(kl_terms(m, s))),
             392.0, ((28, 28), 2)),
            (keras_guide, 12.25, (784, 32)),
            (lambda x, r, m, s: mean(squares(x, r)) + mean(per_example(kl_terms(m, s))) / 784,
             0.5, (784, 10)),
            (lambda x, r, m, s: mean(squares(x, r)) + 0.5 * mean(kl_terms(m, s)),
             7.8125, (2000, 64)),
            (lambda x, r, m, s: tf.reduce_sum(squares(x, r)) + 6 * tf.reduce_sum(kl_terms(m, s)),
             3.0, (5, 1)),
            (lambda x, r, *_: mean(squares(x, r)), 0.0, (64, 3)),
        ],
    )  # fmt: skip
    def test_sums_and_means(self, loss, beta, sizes):
        got = diagnostics.effective_beta(loss, *sizes)
        np.testing.assert_allclose([got.beta, got.scale], [beta, np.sqrt(beta)], rtol=1e-5)
        np.testing.assert_allclose(np.asarray(got), beta, rtol=1e-5)

    def test_it_is_the_elbo_of_the_normal_with_that_scale(self, rng):
        """The same loss, up to a factor and a constant, for any values: beta-sigma identity."""
        x, x_hat, loc = (rng.normal(size=(40, size)) for size in (64, 64, L))
        scale = rng.uniform(0.1, 2, size=(40, L))
        values = [tf.constant(value, "float32") for value in (x, x_hat, loc, scale)]
        sigma = diagnostics.effective_beta(keras_guide, 64, L).scale
        loss = [keras_guide(*(value[i : i + 1] for value in values)) for i in range(40)]
        p_x = scipy.stats.norm(x_hat, sigma)
        elbo = p_x.logpdf(x).sum(1) - np.sum(kl_terms(loc, scale), axis=1)
        slope, intercept = np.polyfit(elbo, loss, 1)
        np.testing.assert_allclose(loss, slope * elbo + intercept, atol=1e-4)
        assert slope < 0

    def test_another_likelihood(self):
        def bce(x, logits, loc, scale):
            recon = keras.losses.BinaryCrossentropy()(x, tf.sigmoid(logits))  # a mean over pixels
            return recon + mean(per_example(kl_terms(loc, scale)))

        got = diagnostics.effective_beta(bce, 784, 2, likelihood=vt.layers.Bernoulli(784))
        np.testing.assert_allclose(got.beta, 784.0, rtol=1e-3)
        assert got.scale is None

    @pytest.mark.parametrize(
        "loss, received",
        [
            (lambda x, r, m, s: mean(squares(x, r) * np.arange(1.0, 65, dtype="float32"))
             + mean(kl_terms(m, s)), "by x_hat is no multiple"),
            (lambda x, r, m, s: mean(squares(x, r))
             + mean(kl_terms(m, s) * np.array([1, 1, 1.01], "float32")), "no multiple of the KL"),
            (lambda x, r, m, s: mean(squares(x, r)) + mean(tf.maximum(kl_terms(m, s), 0.5)),
             "no multiple of the KL"),  # free bits
            (lambda x, r, m, s: mean(squares(x, r)) + abs(mean(kl_terms(m, s)) - 0.2),
             "a > 0 and the KL by b >= 0"),  # a capacity: the sign turns
            (lambda x, r, m, s: mean(squares(x, r)) + mean(kl_terms(m, s)) ** 2,
             "change with the values"),
            (lambda x, r, m, s: tf.math.log(mean(squares(x, r))) + mean(kl_terms(m, s)),
             "change with the values"),  # the optimal sigma of each batch
            (lambda x, r, m, s: mean(squares(x, r)) * mean(s) + mean(kl_terms(m, s)),
             "no multiple of the KL"),
            (lambda x, r, m, s: mean(abs(x - r)) + mean(kl_terms(m, s)), "by x_hat is no multiple"),
            (lambda x, r, m, s: mean(squares(x, r)) + mean(0.5 * (m**2 + s**2 - 1)
             - 2 * tf.math.log(s)), "no multiple of the KL"),  # a half forgotten
            (lambda x, r, m, s: mean(squares(x, r)) + tf.reduce_sum(kl_terms(m, s)),
             "for 3 examples and beta="),  # the batch averaged in one term only
            (lambda x, r, m, s: -mean(squares(x, r)) - mean(kl_terms(m, s)), "a=-0.01042, b="),
            (lambda *values: mean(kl_terms(*values[2:])), "a=0, b="),
            (lambda x, r, *_: squares(x, r), r"shape \[3, 64\]"),
            (lambda x, r, *_: float(mean(squares(x, r))), "a=0, b=0"),
            (lambda x, r, m, s: mean(squares(x, r)) * np.nan + mean(kl_terms(m, s)), "off by nan"),
        ],
    )  # fmt: skip
    def test_a_loss_of_another_form_is_refused(self, loss, received):
        with pytest.raises(ValueError, match=received):
            diagnostics.effective_beta(loss, 64, L)
