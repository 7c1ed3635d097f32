"""Bounds of log p(x) from both sides: against closed forms, quadrature and enumeration."""

import numpy as np
import pytest
import scipy.special
import scipy.stats
import tensorflow as tf
import tensorflow_probability as tfp
from arviz_stats.base import array_stats
from conftest import random_linear

import vae_tf as vt
from vae_tf._core import chunks
from vae_tf.evidence import annealing
from vae_tf.evidence.annealing import Path
from vae_tf.evidence.weights import WeightSums, largest_pareto_k
from vae_tf.layers.distributions import Independent

tfd = tfp.distributions


class OneLatent:
    """Posterior N(0, 1) for every x, q = N(delta, tau2): all divergences are closed forms.

    z ~ N(0, 2), x|z ~ N(z, 2) and x = 0, so that p(z|x) = N(0, 1) and p(x) = N(0; 0, 4).
    """

    x = np.zeros((3, 1))
    log_p = scipy.stats.norm(0, 2).logpdf(0.0)

    def __init__(self, delta, tau2):
        self.delta, self.tau = delta, np.sqrt(tau2)

    prior = Independent(tfd.Normal(np.zeros(1), np.sqrt(2.0)), 1)

    def encode(self, x):
        loc = tf.zeros([len(x), 1], tf.float64) + self.delta
        return Independent(tfd.Normal(loc, self.tau), 1)

    def decode(self, z):
        return Independent(tfd.Normal(tf.cast(z, tf.float64), np.sqrt(2.0)), 1)

    def chi_square(self):
        """E_q[(p/q)^2] - 1, finite for tau2 > 1/2."""
        delta, tau2 = self.delta, self.tau**2
        a = 2 - 1 / tau2
        exponent = delta**2 / (2 * tau2) + delta**2 / (2 * tau2**2 * a)
        return np.sqrt(tau2 / a) * np.exp(exponent) - 1


class Posterior:
    """A model whose encoder is replaced: q(z|x) from the exact posterior N(m, V)."""

    def __init__(self, model, shift=0.0, stretch=1.0):
        self.prior, self.decode = model.prior, model.decode
        self._model, self._shift, self._stretch = model, shift, stretch

    def encode(self, x):
        p = self._model.posterior(x)
        loc = p.mean() + self._shift * p.stddev()
        return vt.distributions.MultivariateNormalTriL(loc, self._stretch * p.scale_tril)


class ManyLinear:
    """A linear-Gaussian model of its own for each example, as one program."""

    def __init__(self, models):
        self.prior = models[0].prior
        self._weights = tf.constant([m.weights for m in models])  # [B, D, L]
        self._mean = tf.constant([m.mean for m in models])
        self._scale = tf.constant([[m.scale] for m in models])  # [B, 1]
        squared = tf.eye(self._weights.shape[-1], dtype="float64") * self._scale[..., None] ** 2
        self._m = tf.matmul(self._weights, self._weights, transpose_a=True) + squared

    def decode(self, z):
        z = tf.cast(z, tf.float64)[..., None, :]  # [..., B, 1, L], or [1, 1, L] for all
        loc = tf.reduce_sum(z * self._weights, axis=-1) + self._mean
        return Independent(tfd.Normal(loc, self._scale), 1)

    def _posterior_mean(self, x):
        projected = tf.linalg.matvec(self._weights, x - self._mean, transpose_a=True)
        return tf.linalg.solve(self._m, projected[..., None])[..., 0]

    def encode(self, x):
        scale = self._scale / tf.sqrt(tf.linalg.diag_part(self._m))
        return Independent(tfd.Normal(self._posterior_mean(x), scale), 1)

    def posterior(self, x):
        covariance = tf.linalg.inv(self._m) * self._scale[..., None] ** 2
        factor = tf.linalg.cholesky(covariance)
        return vt.distributions.MultivariateNormalTriL(self._posterior_mean(x), factor)


class Decoders:
    """Two latents, twelve hidden units, thirty pixels; a decoder for each example, or one for all.

    The encoder is the prior: chains have all the way to go.
    """

    prior = vt.priors.StandardNormal(2, dtype="float64")()

    def __init__(self, first, second):
        self._first, self._second = (
            tf.constant(first),
            tf.constant(second),
        )  # [B, 12, 2], [B, 30, 12]

    def decode(self, z):
        z = tf.cast(z, tf.float64)[..., None, :]
        h = tf.tanh(tf.reduce_sum(z * self._first, axis=-1) + 0.5)[..., None, :]
        logits = tf.reduce_sum(h * self._second, axis=-1)
        return Independent(tfd.Bernoulli(logits=logits, dtype=tf.float64), 1)

    def encode(self, x):
        zeros = tf.zeros([len(x) if tf.executing_eagerly() else x.shape[0], 2], tf.float64)
        return Independent(tfd.Normal(zeros, 1.0), 1)


class Bits:
    """Five Bernoulli latents, six binary pixels, float64, and a decoder with an interaction."""

    prior = Independent(
        tfd.Bernoulli(logits=tf.linspace(tf.constant(-1.0, tf.float64), 1.0, 5), dtype=tf.float64),
        1,
    )

    def decode(self, z):
        weights = np.random.default_rng(0).normal(size=(5, 6))
        logits = tf.cast(z, tf.float64) @ weights + z[..., :1] * z[..., 1:2]
        return Independent(tfd.Bernoulli(logits=logits, dtype=tf.float64), 1)

    def encode(self, x):
        return Independent(tfd.Bernoulli(logits=tf.zeros([len(x), 5], "float64")), 1)


class TestWeightSums:
    def test_in_parts_as_all_at_once(self, rng):
        log_w = rng.normal(scale=2.0, size=(1000, 4)) - 700
        parts, whole = WeightSums(4, 1000), WeightSums(4, 1000)
        for start in range(0, 1000, 170):
            parts.add(np.arange(4), log_w[start : start + 170])
        whole.add(np.arange(4), log_w)
        for a, b in zip(parts.log_mean(), whole.log_mean(), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12)
        expected = scipy.special.logsumexp(log_w, axis=0) - np.log(1000)
        np.testing.assert_allclose(whole.log_mean().estimate, expected, rtol=1e-12)

    @pytest.mark.parametrize("count", [25, 100, 225, 226, 5000])
    def test_k_hat_is_that_of_arviz_for_all_weights(self, rng, count):
        log_w = rng.normal(scale=1.5, size=(count, 3))
        sums = WeightSums(3, count)
        sums.add(np.arange(3), log_w)
        expected = array_stats.psislw(-log_w.T, r_eff=1.0)[1]
        np.testing.assert_allclose(sums.log_mean().pareto_k, expected, rtol=1e-9)

    def test_k_hat_finds_the_shape_of_a_pareto_tail(self, rng):
        """w = U^-k has shape k exactly; the error of the fit is about (1 + k) / sqrt(tail)."""
        for k in (0.3, 0.7, 1.5):
            sums = WeightSums(50, 4000)
            sums.add(np.arange(50), -k * np.log(rng.uniform(size=(4000, 50))))
            found = sums.log_mean().pareto_k
            error = (1 + k) / np.sqrt(3 * np.sqrt(4000)) / np.sqrt(50)
            # PSIS shrinks towards 0.5 with the weight of ten observations.
            shrunk = (k * 189 + 0.5 * 10) / 199
            assert abs(found.mean() - shrunk) < 4 * error

    def test_too_few_and_equal_weights(self):
        few, equal = WeightSums(1, 24), WeightSums(1, 100)
        few.add([0], np.arange(24.0)[:, None])
        equal.add([0], np.full((100, 1), -3.0))
        assert np.isnan(few.log_mean().pareto_k).all()
        assert equal.log_mean().pareto_k == -np.inf
        assert equal.log_mean().standard_error == 0

    def test_weights_of_zero(self):
        """A part of them, most of them, all of them: a number, or a refusal, and no NaN."""
        log_w = np.full((1000, 4), -np.inf)
        log_w[:, 0] = 0.0
        log_w[500:, 1] = np.linspace(0, 1, 500)
        log_w[999, 2] = 0.0
        sums = WeightSums(4, 1000)
        for start in range(0, 1000, 100):
            sums.add(np.arange(4), log_w[start : start + 100])
        found = sums.log_mean()
        expected = [0.0, scipy.special.logsumexp(log_w[:, 1]) - np.log(1000), -np.log(1000)]
        np.testing.assert_allclose(found.estimate, [*expected, -np.inf], atol=1e-12)
        assert (found.pareto_k > 0.7).tolist() == [False, False, True, True]
        assert np.isinf(found.standard_error[3]) and found.effective_sample_size[3] == 0

    def test_threshold(self):
        """Vehtari et al. 2024: 0.5 at a hundred weights, 2/3 at a thousand, never above 0.7."""
        assert largest_pareto_k(100) == 0.5
        assert largest_pareto_k(1000) == pytest.approx(2 / 3)
        assert largest_pareto_k(10**6) == 0.7


class TestTies:
    """c05: discrete latents tie their weights, which no Pareto tail describes."""

    class Coin:
        prior = Independent(
            tfd.Bernoulli(probs=tf.constant([0.5], tf.float64), dtype=tf.float64), 1
        )

        def __init__(self, probability):
            self.probability = probability

        def encode(self, x):
            probs = tf.fill([x.shape[0], 1], np.float64(self.probability))
            return Independent(tfd.Bernoulli(probs=probs, dtype=tf.float64), 1)

        def decode(self, z):
            return Independent(tfd.Normal(tf.concat([z, z], -1), np.float64(1)), 1)

    @pytest.mark.parametrize("probability", [0.094, 0.3, 0.9])
    @pytest.mark.parametrize("count", [100, 1000])  # of 25 draws all may be tails, unseen
    def test_two_values(self, probability, count):
        model, x = self.Coin(probability), np.ones((500, 2))
        exact = vt.evidence.enumeration(model, x[:1]).estimate[0]
        bound = vt.evidence.iwae(model, x, count, seed=0)
        assert not np.isnan(bound.pareto_k).any()
        trusted = ~bound.refused
        covered = np.abs(bound.estimate - exact)[trusted] <= 4 * bound.standard_error[trusted]
        # Ten heads seen of a binomial number: four errors cover but in 1 of 1,000.
        assert trusted.mean() > (0.9 if count == 1000 else 0) and np.mean(covered) > 0.99

    def test_a_rare_large_value_is_not_trusted(self):
        log_w = np.zeros((1000, 1))
        log_w[:3] = 10.0
        sums = WeightSums(1, 1000)
        sums.add([0], log_w)
        assert sums.log_mean().pareto_k > 0.7

    def test_continuous_weights_are_not_ties(self, rng):
        log_w = rng.normal(size=(1000, 1)).astype("float32").astype("float64")
        sums = WeightSums(1, 1000)
        sums.add([0], log_w)
        expected = array_stats.psislw(-log_w.T, r_eff=1.0)[1]
        np.testing.assert_allclose(sums.log_mean().pareto_k, expected, rtol=1e-9)


class TestIwae:
    def test_refuses_bad_encoders_and_not_good_ones(self):
        """20 linear models: nearly the posterior, and a wider q, against a narrow shifted one."""
        rng, shares = np.random.default_rng(0), {"good": [], "wide": [], "bad": []}
        for _ in range(20):
            model, x = random_linear(rng, 8, int(rng.integers(1, 6)))
            kinds = {"good": Posterior(model, 0.1, 1.05), "wide": Posterior(model, 0.0, 1.3)}
            kinds["bad"] = Posterior(model, 1.5, 0.25)
            for name, kind in kinds.items():
                bound = vt.evidence.iwae(kind, x, 2000, seed=0)
                shares[name].append(bound.refused.mean())
                assert np.isinf(bound.standard_error[bound.refused]).all()
        assert np.mean(shares["bad"]) >= 0.95
        assert np.mean(shares["good"]) <= 0.05 and np.mean(shares["wide"]) <= 0.05

    def test_the_refusal_is_plain(self, rng):
        model, x = random_linear(rng, 8, 3)
        bad = vt.evidence.iwae(Posterior(model, 1.5, 0.25), x, 1000, seed=0)
        with pytest.raises(ValueError, match=r"of 10 examples .* k-hat of at most 0.7"):
            bad.log_evidence()
        with pytest.raises(ValueError, match="Too few importance weights"):
            vt.evidence.iwae(Posterior(model, 1.5, 0.25), x, 24, seed=0).log_evidence()
        good = vt.evidence.iwae(Posterior(model, 0.0, 1.1), x, 1000, seed=0)
        np.testing.assert_array_equal(good.log_evidence(), good.estimate)

    @pytest.mark.parametrize("delta, tau2", [(0.5, 1.5), (0.0, 0.8)])
    def test_chi_square_law(self, delta, tau2):
        """log p(x) - E[L_K] = chi^2 / (2K) + o(1/K): to 10 % at K = 50, by 10,000 bounds."""
        model, k = OneLatent(delta, tau2), 50
        x = np.zeros((10_000, 1))
        bounds = vt.evidence.iwae(model, x, k, seed=0).estimate
        law = model.chi_square() / (2 * k)
        # The mean weight is a control variate: its expectation is one.
        w = np.exp(bounds - model.log_p)
        loss = w - 1 - (bounds - model.log_p)
        error = loss.std() / np.sqrt(len(x))
        assert error < 0.025 * law
        assert abs(loss.mean() - law) < 0.1 * law

    def test_monotone_in_k_on_digits(self, trained, binary_digits):
        x = binary_digits[1][:100]
        truth = vt.evidence.grid(trained, x).estimate
        runs = {
            k: np.array(
                [vt.evidence.iwae(trained, x, k, seed=s).estimate.mean() for s in range(20)]
            )
            for k in (1, 5, 50, 500)
        }
        mean = {k: values.mean() for k, values in runs.items()}
        error = {k: values.std(ddof=1) / np.sqrt(20) for k, values in runs.items()}
        for small, large in ((1, 5), (5, 50), (50, 500)):
            assert mean[large] - mean[small] > -4 * np.hypot(error[small], error[large])
        assert mean[500] <= truth.mean() + 4 * error[500]
        assert mean[50] - mean[1] > 4 * np.hypot(error[1], error[50])


class TestUpperBounds:
    def test_eubo_of_the_linear_model(self, rng):
        """EUBO = log p(x) + KL(p(z|x) || q(z|x)), and with the ELBO a sandwich."""
        model, x = random_linear(rng, 8, 3)
        z = model.posterior(x).sample(20_000, seed=[0, 1])
        bound = vt.evidence.eubo(model, x, z)
        q, p = model.encode(x), model.posterior(x)
        exact = model.log_evidence(x) + tfd.kl_divergence(p, q).numpy()
        assert (np.abs(bound.estimate - exact) < 4 * bound.standard_error).all()
        assert (bound.estimate > model.log_evidence(x)).all()
        width = exact - np.asarray(model.elbo(x, q))
        both = tfd.kl_divergence(p, q) + tfd.kl_divergence(q, p)
        np.testing.assert_allclose(width, both, rtol=1e-9)

    def test_eubo_of_data_that_the_model_made(self, trained):
        """One exact posterior sample for each example: above log p(x) in the mean."""
        x, z = vt.evidence.simulate(trained, 100, seed=0)
        bound = vt.evidence.eubo(trained, x, z[None])
        assert np.isinf(bound.standard_error).all()
        above = bound.estimate - vt.evidence.grid(trained, x).estimate
        error = above.std(ddof=1) / 10
        assert above.mean() > 4 * error

    def test_eubo_in_chunks(self, rng, monkeypatch):
        model, x = random_linear(rng, 8, 3)
        z = model.posterior(x).sample(50, seed=[0, 1])
        whole = vt.evidence.eubo(model, x, z)
        monkeypatch.setattr(chunks, "BUDGET", 7 * x.size)
        np.testing.assert_allclose(vt.evidence.eubo(model, x, z), whole, rtol=1e-12)

    def test_eubo_wants_samples_for_each_example(self, rng):
        model, x = random_linear(rng, 8, 3)
        with pytest.raises(ValueError, match=r"shape \['S', 10, 3\].*Received: shape \[5, 3\]"):
            vt.evidence.eubo(model, x, np.zeros((5, 3)))

    def test_cubo_is_half_the_log_of_one_plus_chi_square(self):
        model = OneLatent(0.5, 1.5)
        bound = vt.evidence.cubo(model, model.x, 200_000, seed=0)
        exact = model.log_p + 0.5 * np.log1p(model.chi_square())
        assert (np.abs(bound.estimate - exact) < 4 * bound.standard_error).all()
        assert not bound.refused.any() and exact > model.log_p

    def test_cubo_is_refused_before_iwae(self):
        """tau2 = 0.4: k = 1 - tau2 = 0.6 for the weights, 1.2 for their squares."""
        model, x = OneLatent(0.0, 0.4), np.zeros((50, 1))
        assert vt.evidence.iwae(model, x, 5000, seed=0).refused.mean() < 0.2
        assert vt.evidence.cubo(model, x, 5000, seed=0).refused.mean() > 0.8


class TestEnumeration:
    def test_all_data_sum_to_one(self):
        """The 64 possible x: their probabilities sum to one, each is the sum of its 32 terms."""
        model = Bits()
        x = np.array(list(np.ndindex(*[2] * 6)), "float64")
        exact = vt.evidence.enumeration(model, x)
        assert np.exp(exact.estimate).sum() == pytest.approx(1, abs=1e-12)
        np.testing.assert_allclose(exact.posterior.sum(axis=0), 1, rtol=1e-12)
        z = exact.states
        assert z.shape == (32, 5) and len(np.unique(z, axis=0)) == 32
        joint = vt.evidence.log_joint(model, x[:4], np.repeat(z[:, None], 4, axis=1))
        by_hand = scipy.special.logsumexp(joint, axis=0)
        np.testing.assert_allclose(exact.estimate[:4], by_hand, rtol=1e-12)

    def test_samples_of_the_posterior(self):
        model, x = Bits(), np.eye(6)[:3]
        exact = vt.evidence.enumeration(model, x)
        z = exact.sample(20_000, seed=1)
        mean = np.einsum("nb,nl->bl", exact.posterior, exact.states)
        error = np.sqrt(mean * (1 - mean) / 20_000)
        assert (np.abs(z.mean(axis=0) - mean) < 4 * error).all()
        bound = vt.evidence.eubo(model, x, z)
        log_q = 5 * np.log(0.5)
        joint = np.log(exact.posterior) + exact.estimate
        eubo = (exact.posterior * (joint - log_q)).sum(axis=0)
        assert (np.abs(bound.estimate - eubo) < 4 * bound.standard_error).all()

    def test_other_families(self):
        class Classes(Bits):
            prior = Independent(tfd.Categorical(logits=np.zeros((2, 3)), dtype="float64"), 1)

            def decode(self, z):
                return Independent(tfd.Normal(tf.cast(z, tf.float64), 1.0), 1)

        class OneHot(Classes):
            prior = tfd.OneHotCategorical(logits=np.zeros(3), dtype=tf.float64)

        x2, x3 = np.array([[0.0, 1.0]]), np.array([[0.0, 1.0, 0.0]])
        log_normal = scipy.stats.norm.logpdf
        by_hand = scipy.special.logsumexp(log_normal(x2.T, np.arange(3)), axis=1) - np.log(3)
        np.testing.assert_allclose(vt.evidence.enumeration(Classes(), x2), by_hand.sum())
        terms = log_normal(x3, np.eye(3)).sum(axis=1)
        by_hand = scipy.special.logsumexp(terms) - np.log(3)
        np.testing.assert_allclose(vt.evidence.enumeration(OneHot(), x3), by_hand)

    def test_refusals(self, trained, binary_digits):
        with pytest.raises(ValueError, match="Expected a prior with at most .* uncountably many"):
            vt.evidence.enumeration(trained, binary_digits[1][:2])

        class Many(Bits):
            prior = Independent(tfd.Bernoulli(logits=np.zeros(30)), 1)

        with pytest.raises(ValueError, match="30 latents of 2 values"):
            vt.evidence.enumeration(Many(), np.zeros((1, 6)))

    def test_as_many_states_as_it_says(self):
        """Of bits that the data do not feel; 2^10 of them are few, and 2^21 too many."""

        class Unfelt:
            def __init__(self, bits):
                self.prior = Independent(tfd.Bernoulli(logits=tf.zeros([bits])), 1)

            def decode(self, z):
                return Independent(tfd.Normal(0.0 * tf.cast(z[..., :1], tf.float32), 1.0), 1)

        x = np.float32([[-1.0], [0.5]])
        exact = vt.evidence.enumeration(Unfelt(10), x)
        truth = scipy.stats.norm.logpdf(x[:, 0])
        assert (np.abs(exact.estimate - truth) <= exact.standard_error).all()
        with pytest.raises(ValueError, match="at most 1,048,576 states"):
            vt.evidence.enumeration(Unfelt(21), x)


class TestAis:
    def test_against_the_grid_on_digits(self, trained, binary_digits):
        x = binary_digits[1][:50]
        truth = vt.evidence.grid(trained, x).estimate
        bound = vt.evidence.ais(trained, x, seed=0)
        off = bound.estimate - truth
        assert abs(off.mean()) < 0.05
        assert (np.abs(off) < 0.05 + 5 * bound.standard_error).all()
        assert (bound.acceptance > 0.4).all() and abs(bound.acceptance.mean() - 0.65) < 0.1

    @pytest.mark.parametrize("initial", ["encoder", "prior"])
    @pytest.mark.parametrize("steps", [3, 60])
    def test_mean_weight_is_unbiased(self, rng, initial, steps):
        """E[w] = p(x), E[1/w] = 1/p(x) on the way back, however few the temperatures."""
        model, x = random_linear(rng, 4, 2, noise=1.0)
        x = np.repeat(x[:2], 32, axis=0)
        truth = model.log_evidence(x)
        path = Path(model, 200, steps, initial)
        there = path.forward(x, seed=1)
        z = model.posterior(x).sample(200, seed=[0, 1])
        back = path.reverse(x, z, there.step_sizes, seed=2)
        for log_w, sign in ((there.log_w, 1), (back.log_w, -1)):
            w = np.exp(log_w - sign * truth).reshape(200, 2, 32).swapaxes(0, 1).reshape(2, -1)
            error = w.std(axis=1, ddof=1) / np.sqrt(w.shape[1])
            assert (error < 0.1).all()
            assert (np.abs(w.mean(axis=1) - 1) < 4 * error).all()

    def test_hot_steps_leave_the_posterior_alone(self, rng):
        """Chains that start in the posterior of every temperature stay there: f_0 = posterior."""
        model, x = random_linear(rng, 5, 3)
        exact = Posterior(model)
        path = Path(exact, 400, 10, "encoder")
        there = path.forward(x, seed=0)
        np.testing.assert_allclose(there.log_w, np.tile(model.log_evidence(x), (400, 1)))
        mean, sd = (
            value.numpy() for value in (model.posterior(x).mean(), model.posterior(x).stddev())
        )
        assert (np.abs(there.z.mean(axis=0) - mean) < 4.5 * sd / 20).all()
        variance = there.z.var(axis=0, ddof=1) / sd**2
        assert (np.abs(variance - 1) < 4.5 * np.sqrt(2 / 399)).all()

    def test_does_not_depend_on_a_bad_encoder(self, rng):
        """Where the K-sample bound is nats off, the chains are not."""
        model, x = random_linear(rng, 8, 3)
        bad = Posterior(model, 1.0, 0.4)
        truth = model.log_evidence(x)
        bound = vt.evidence.ais(bad, x, num_steps=300, seed=0)
        off = bound.estimate - truth
        assert (np.abs(off) < 5 * bound.standard_error + 0.05).all()
        assert np.abs(off).mean() < 0.2 < (truth - vt.evidence.iwae(bad, x, 500, seed=0)).mean()

    @pytest.mark.parametrize("chains", [2, 3, 5, 16])
    def test_the_error_covers_for_any_number_of_chains(self, rng, chains):
        """b08: twice the error holds log p(x) in 95 of 100 runs, 200 of them at a time."""
        model, x = random_linear(rng, 6, 2)
        x = np.repeat(x[:1], 200, axis=0)
        bound = vt.evidence.ais(model, x, chains, 60, seed=0)
        known = np.isfinite(bound.standard_error)
        off = np.abs(bound.estimate - model.log_evidence(x[0]))
        covered = (off <= 1.96 * bound.standard_error)[known].mean()
        assert known.mean() > 0.5
        assert covered >= 0.95 - 4 * np.sqrt(0.05 * 0.95 / known.sum())

    @pytest.mark.parametrize("chains", [2, 3, 5, 16])
    @pytest.mark.parametrize("spread", [0.05, 0.6, 1.5, 4.0])
    def test_the_error_covers_for_log_normal_weights(self, rng, chains, spread):
        """At worst, for weights of any spread, 88 of 100."""
        log_w = spread * rng.normal(size=(chains, 4000)) - spread**2 / 2  # E[w] = 1
        sums = WeightSums(4000, chains)
        sums.add(np.arange(4000), log_w)
        found = sums.log_mean()
        error = annealing.covering(found.standard_error, log_w)
        covered = np.mean(np.abs(found.estimate) <= 1.96 * error)
        floor = 0.95 if spread < 0.5 else 0.88
        assert covered >= floor - 4 * np.sqrt(floor * (1 - floor) / 4000)

    def test_the_way_back_takes_the_step_sizes_of_the_way_there(self, rng):
        """In the opposite order, and unchanged: a step size that adapts biases the weights."""
        model, x = random_linear(rng, 6, 2)
        path = Path(model, 4, 7, "encoder")
        there = path.forward(x, seed=0)
        sizes = there.step_sizes  # [T, B]
        assert (np.ptp(sizes, axis=0) > 0).all()
        back = path.reverse(x, there.z, sizes, seed=1)
        np.testing.assert_array_equal(back.step_sizes, [*sizes[-2::-1], sizes[0]])

    def test_parts_of_equal_size(self, rng, monkeypatch):
        """Seven examples in parts of three: each in its place, none lost, none twice."""
        model, x = random_linear(rng, 6, 2)
        monkeypatch.setattr(annealing, "_EXAMPLES", 3)
        bound = vt.evidence.ais(model, x[:7], num_steps=100, seed=0)
        assert bound.estimate.shape == (7,)
        off = bound.estimate - model.log_evidence(x[:7])
        assert (np.abs(off) < 6 * bound.standard_error).all()

    def test_seeds_and_errors(self, rng):
        model, x = random_linear(rng, 6, 2)
        a, b, c = (vt.evidence.ais(model, x, 4, 5, seed=seed).estimate for seed in (0, 0, 1))
        np.testing.assert_array_equal(a, b)
        assert (a != c).any()
        for kwargs, words in (
            ({"num_chains": 1}, "num_chains` of at least 2"),
            ({"num_steps": 0}, "num_steps` to be a positive integer"),
            ({"initial": "posterior"}, 'Expected `initial` to be "encoder" or "prior"'),
        ):
            with pytest.raises(ValueError, match=words):
                vt.evidence.ais(model, x, **kwargs)
        with pytest.raises(ValueError, match="Expected continuous latents"):
            vt.evidence.ais(IntegerBits(), np.eye(6))


def test_a_likelihood_over_vectors(rng):
    """One density for the whole vector, as MultivariateNormalDiag has: the same log p(x)."""
    model, x = random_linear(rng, 6, 2)

    class Vectors:
        prior, encode = model.prior, staticmethod(model.encode)

        def decode(self, z):
            p_x = model.decode(z)
            return tfd.MultivariateNormalDiag(p_x.mean(), p_x.stddev())

    for kind in (lambda m: vt.evidence.iwae(m, x, 50, seed=0), lambda m: vt.evidence.grid(m, x)):
        np.testing.assert_allclose(kind(Vectors()), kind(model), rtol=1e-6)
    with pytest.raises(ValueError, match="another support"):
        vt.evidence.grid(Vectors(), np.full_like(x, np.inf))


class IntegerBits(Bits):
    prior = Independent(tfd.Bernoulli(logits=np.zeros(5)), 1)


class TestBracket:
    def test_calibrated_on_100_random_linear_models(self):
        """1 to 20 latents, closed form: the interval of level 0.95 holds log p(x)."""
        rng, inside, tight = np.random.default_rng(7), [], []
        for latents in (1, 2, 3, 5, 7, 9, 11, 14, 17, 20):
            pairs = [random_linear(rng, 30, latents) for _ in range(10)]
            models = [model for model, _ in pairs for _ in range(5)]
            x = np.concatenate([x[:5] for _, x in pairs])
            many = ManyLinear(models)
            z = many.posterior(x).sample(16, seed=[latents, 0])
            both = vt.evidence.bracket(many, x, z=z, num_steps=30, num_simulated=0, seed=latents)
            low, high = both.limits(0.95)
            truth = np.concatenate([model.log_evidence(x[:5]) for model, x in pairs])
            inside.append((low <= truth) & (truth <= high))
            tight.append([2 * both.lower - low >= truth, 2 * both.upper - high <= truth])
        assert both.certified and np.shape(inside) == (10, 50)
        assert np.mean(inside) >= 0.95
        # Not by being wide: each end is as near to the truth as its error says, but for the bias
        # outwards, which is about half the square of the error.
        assert np.mean(tight) >= 0.9

    def test_bounds_are_bounds(self, rng):
        """Few temperatures: far apart, and the truth between them in the mean."""
        model, x = random_linear(rng, 12, 8)
        x = np.concatenate([x] * 6)
        both = vt.evidence.bracket(model, x, num_steps=5, initial="prior", num_simulated=5, seed=0)
        truth = model.log_evidence(x)
        for outwards in (truth - both.lower, both.upper - truth):
            assert (
                outwards.mean() > 4 * outwards.std(ddof=1) / np.sqrt(60) and outwards.mean() > 0.5
            )
        assert both.simulated_width.shape == (5,)
        np.testing.assert_array_equal(np.asarray(both), both.lower)
        np.testing.assert_array_equal(both.standard_error, both.lower_error)
        # Where few chains have all the weight, Markov's inequality: log 40 nats at a level of 0.95.
        unknown = np.isinf(both.lower_error)
        assert unknown.any()
        below = both.lower - both.limits(0.95)[0]
        np.testing.assert_allclose(below[unknown], np.log(40))

    def test_of_a_trained_vae(self, trained, binary_digits):
        """Real digits, where the way back starts at the ends of the way there: no certificate."""
        x = binary_digits[1][:40]
        both = vt.evidence.bracket(trained, x, num_steps=100, seed=0)
        truth = vt.evidence.grid(trained, x)
        low, high = both.limits(0.95)
        inside = (low - truth.error <= truth.estimate) & (truth.estimate <= high + truth.error)
        assert not both.certified and inside.mean() >= 0.9
        assert abs(both.simulated_width.mean()) < 0.2

    def test_wrong_arguments(self, rng):
        model, x = random_linear(rng, 6, 2)
        for z in (np.zeros((10, 3)), np.full((10, 2), np.nan)):
            with pytest.raises(ValueError, match=r"Expected `z` of shape \[10, 2\]"):
                vt.evidence.bracket(model, x, z=z, num_steps=2, num_simulated=0)
        both = vt.evidence.bracket(model, x, num_steps=2, num_simulated=0, seed=0)
        with pytest.raises(ValueError, match="Expected `level` between 0 and 1"):
            both.limits(95)
        for refused in (x[0, 0], tf.data.Dataset.from_tensor_slices(x)):
            for kind in (vt.evidence.bracket, vt.evidence.ais, vt.gap.decompose):
                with pytest.raises(ValueError, match="Expected `x` to be an array of examples"):
                    kind(model, refused)
            with pytest.raises(ValueError, match="Expected `x` to be an array of examples"):
                vt.evidence.iwae(model, refused, 3)
        with pytest.raises(ValueError, match="at least one example"):
            vt.evidence.ais(model, x[:0])


def test_calibrated_on_20_nonlinear_models(monkeypatch):
    """Decoders from nearly linear to sharply bent, on data that they make: exact by the grid.

    Once certified, by the z that made x, and once as for any x: by the ends of the way there.
    """
    rng = np.random.default_rng(0)
    first = rng.normal(size=(20, 12, 2)) * np.linspace(0.3, 3, 20)[:, None, None]
    second = rng.normal(size=(20, 30, 12))
    own = np.repeat(np.arange(20), 5)  # five examples of each, all in one part
    monkeypatch.setattr(annealing, "_EXAMPLES", 100)
    every = Decoders(first[own], second[own])
    x, z = vt.evidence.simulate(every, 100, seed=0)
    grids = [
        vt.evidence.grid(Decoders(first[m : m + 1], second[m : m + 1]), x[own == m])
        for m in range(20)
    ]
    truth = np.concatenate([g.estimate for g in grids])
    off = np.concatenate([g.error for g in grids])
    assert off.max() < 1e-3
    for given in (z, None):
        both = vt.evidence.bracket(every, x, z=given, num_steps=50, num_simulated=0, seed=1)
        low, high = both.limits(0.95)
        assert both.certified == (given is not None)
        assert np.mean((low - off <= truth) & (truth <= high + off)) >= 0.95


class Folded:
    """x = z^2 plus noise: two hills, of which the encoder knows one. log p(x) by the grid."""

    prior = vt.priors.StandardNormal(1, dtype="float64")()

    def decode(self, z):
        return Independent(tfd.Normal(tf.cast(z, tf.float64) ** 2, 0.1), 1)

    def encode(self, x):
        loc = tf.sqrt(tf.maximum(tf.cast(x, tf.float64), 0.01))
        return Independent(tfd.Normal(loc, 0.1), 1)


def test_a_missed_hill_is_within_the_certified_limits():
    """From z at the known hill both ends agree, log 2 below the truth, with hardly any spread."""
    x, z = vt.evidence.simulate(Folded(), 60, seed=0)
    far = x[:, 0] > 0.3  # the hills lie apart
    x, z = x[far], z[far]
    both = vt.evidence.bracket(Folded(), x, z=z, num_steps=50, num_simulated=0, seed=0)
    truth = vt.evidence.grid(Folded(), x).estimate
    half = (both.upper < truth - 0.5).mean()
    assert 0.2 < half < 0.8 and np.isinf(both.upper_error).all()
    low, high = both.limits(0.95)
    assert ((low <= truth) & (truth <= high)).mean() >= 0.95
