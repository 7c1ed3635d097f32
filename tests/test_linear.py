"""The linear-Gaussian model against SciPy and against itself, float64."""

import numpy as np
import pytest
import scipy.stats
import tensorflow_probability as tfp
from conftest import random_linear

import vae_tf as vt

tfd = tfp.distributions
LinearGaussian = vt.linear.LinearGaussian


def random_gaussians(rng, count, latents, full):
    loc = rng.normal(size=(count, latents))
    if not full:
        return tfd.MultivariateNormalDiag(loc, np.exp(rng.normal(size=loc.shape)))
    factor = np.tril(rng.normal(size=(count, latents, latents)))
    diagonal = np.exp(rng.normal(size=loc.shape))
    factor[:, range(latents), range(latents)] = diagonal
    return tfd.MultivariateNormalTriL(loc, factor)


class TestClosedForms:
    @pytest.mark.parametrize("data_size, latents", [(2, 1), (5, 3), (40, 7)])
    def test_evidence_is_that_of_a_multivariate_normal(self, rng, data_size, latents):
        model, x = random_linear(rng, data_size, latents)
        covariance = model.weights @ model.weights.T + model.scale**2 * np.eye(data_size)
        expected = scipy.stats.multivariate_normal(model.mean, covariance).logpdf(x)
        np.testing.assert_allclose(model.log_evidence(x), expected, atol=1e-9)

    def test_posterior_is_bayes_rule(self, rng):
        """log p(x, z) - log p(z|x) = log p(x), whatever z."""
        model, x = random_linear(rng, 6, 3)
        z = rng.normal(size=(7, 10, 3))
        log_p = vt.elbo.log_joint(model, x, z) - model.posterior(x).log_prob(z)
        np.testing.assert_allclose(log_p, np.tile(model.log_evidence(x), (7, 1)), atol=1e-9)

    @pytest.mark.parametrize("full", [False, True])
    def test_elbo_plus_kl_is_log_p_for_1000_random_q(self, rng, full):
        model, x = random_linear(rng, 6, 3)
        q_z = random_gaussians(rng, 1000, 3, full)
        kl = tfd.kl_divergence(q_z, model.posterior(x[0])).numpy()
        identity = np.asarray(model.elbo(x[0], q_z)) + kl - model.log_evidence(x[0])
        assert np.abs(identity).max() <= 1e-9
        assert kl.min() >= 0

    def test_elbo_is_what_sampling_estimates(self, rng):
        model, x = random_linear(rng, 6, 3)
        one_pass = vt.elbo.forward(model, x, 4000, seed=0)
        sampled = np.asarray(vt.elbo.log_likelihood(one_pass))
        exact = model.elbo(x, model.encode(x))
        error = sampled.std(0) / np.sqrt(4000)
        assert (np.abs(sampled.mean(0) - exact.reconstruction) < 4 * error).all()

    def test_encode_is_the_best_diagonal_gaussian(self, rng):
        model, x = random_linear(rng, 6, 3)
        m = model.weights.T @ model.weights + model.scale**2 * np.eye(3)
        closed_form = 0.5 * (np.log(np.diag(m)).sum() - np.linalg.slogdet(m)[1])
        np.testing.assert_allclose(vt.gap.total(model, x), closed_form, atol=1e-9)
        loc, scale = model.encode(x).mean().numpy(), model.encode(x).stddev().numpy()
        for _ in range(100):
            moved = tfd.MultivariateNormalDiag(
                loc + 0.1 * rng.normal(size=loc.shape), scale * np.exp(0.1 * rng.normal(size=3))
            )
            assert np.all(tfd.kl_divergence(moved, model.posterior(x)) > closed_form)

    def test_rotating_the_latents_changes_the_gap_and_not_the_evidence(self, rng):
        model = LinearGaussian.fit(rng.normal(size=(200, 6)) @ rng.normal(size=(6, 6)), 2)
        x = rng.normal(size=(5, 6))
        turn = np.sqrt(0.5) * np.array([[1.0, -1.0], [1.0, 1.0]])
        rotated = LinearGaussian(model.weights @ turn, model.mean, model.scale)
        np.testing.assert_allclose(rotated.log_evidence(x), model.log_evidence(x), atol=1e-9)
        assert np.abs(vt.gap.total(model, x).total).max() <= 1e-9
        assert vt.gap.total(rotated, x).total.min() > 1e-3


class TestMaximumLikelihood:
    @pytest.mark.parametrize("latents", [1, 2, 4])
    def test_fit_reaches_the_closed_form_with_one_over_n(self, rng, latents):
        x = rng.normal(size=(50, 6)) @ rng.normal(size=(6, 6)) + 3
        model = LinearGaussian.fit(x, latents)
        values = np.linalg.eigvalsh(np.cov(x.T, ddof=0))[::-1]
        noise = values[latents:].mean()
        maximum = -0.5 * (
            6 * np.log(2 * np.pi)
            + np.log(values[:latents]).sum()
            + (6 - latents) * np.log(noise)
            + 6
        )
        assert abs(model.log_evidence(x).mean() - maximum) <= 1e-9
        assert model.scale**2 == pytest.approx(noise, rel=1e-12)

    def test_it_is_a_maximum(self, rng):
        x = rng.normal(size=(50, 5)) @ rng.normal(size=(5, 5))
        best = LinearGaussian.fit(x, 2)
        for _ in range(100):
            other = LinearGaussian(
                best.weights + 0.01 * rng.normal(size=(5, 2)),
                best.mean + 0.01 * rng.normal(size=5),
                best.scale * np.exp(0.01 * rng.normal()),
            )
            assert other.log_evidence(x).mean() < best.log_evidence(x).mean()

    def test_its_encoder_is_exact(self, rng):
        x = rng.normal(size=(50, 5)) @ rng.normal(size=(5, 5))
        assert np.abs(vt.gap.total(LinearGaussian.fit(x, 3), x).total).max() <= 1e-9


class TestAsVae:
    def test_the_same_model_with_the_same_encoder(self, rng):
        model, x = random_linear(rng, 6, 3)
        vae = model.to_vae()
        np.testing.assert_allclose(vae.encode(x).mean(), model.encode(x).mean(), atol=1e-12)
        np.testing.assert_allclose(vae.encode(x).stddev(), model.encode(x).stddev(), atol=1e-12)
        a, b = (vt.evidence.iwae(m, x, 7, seed=0) for m in (vae, model))
        np.testing.assert_allclose(a, b, atol=1e-9)

    def test_float32_for_everyday_use(self, rng):
        model, x = random_linear(rng, 6, 3)
        vae = model.to_vae(dtype="float32")
        assert vae.encode(x).dtype == "float32"
        np.testing.assert_allclose(
            vae.elbo(x, 3, seed=0).kl, vt.elbo.kl(model.encode(x), model.prior), rtol=1e-4
        )


class TestBadInput:
    def test_parameters(self):
        for weights, mean, scale in (
            (np.ones(3), np.ones(3), 1.0),
            (np.ones((3, 2)), np.ones(2), 1.0),
            (np.ones((3, 0)), np.ones(3), 1.0),
            (np.ones((3, 2)), np.ones(3), 0.0),
            (np.ones((3, 2)), np.ones(3), [1.0]),
            (np.full((3, 2), np.nan), np.ones(3), 1.0),
        ):
            with pytest.raises(ValueError, match=r"Expected .*Received"):
                LinearGaussian(weights, mean, scale)

    def test_data(self, rng):
        model, x = random_linear(rng, 6, 2)
        for bad in (x[:, :5], np.where(x > 0, np.nan, x)):
            with pytest.raises(ValueError, match="Expected `x` of shape"):
                model.log_evidence(bad)

    def test_fit(self, rng):
        x = rng.normal(size=(20, 5))
        for data, latents in ((x, 5), (x, 0), (x[0], 1), (x, 1.5), (x[:2], 3), (x * np.inf, 1)):
            with pytest.raises(ValueError, match=r"Expected .*Received"), np.errstate(all="ignore"):
                LinearGaussian.fit(data, latents)
        with pytest.raises(ValueError, match="variance beyond the latent directions"):
            LinearGaussian.fit(np.outer(np.arange(20.0), np.ones(5)), 2)
