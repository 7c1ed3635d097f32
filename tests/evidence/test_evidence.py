"""Bounds and truths against closed forms; Monte Carlo within four standard errors."""

import numpy as np
import pytest
import scipy.special
import scipy.stats
import tensorflow as tf
import tensorflow_probability as tfp
from conftest import B, S, make_vae, random_linear

import vae_tf as vt
from vae_tf._core import chunks
from vae_tf.evidence import pairwise, quadrature
from vae_tf.layers.counts import MeanDispersion

tfd = tfp.distributions


class TestElbo:
    def test_three_forms_agree(self, trained, binary_digits):
        """The same samples: they differ by Monte Carlo noise only, and by none where q is exact."""
        one_pass = vt.elbo.forward(trained, binary_digits[1][:B], 4000, seed=0)
        a = vt.elbo.reconstruction_kl(one_pass).elbo
        b, c = vt.elbo.energy_entropy(one_pass), vt.elbo.mean_log_weight(one_pass)
        p_z, q_z, z = one_pass.p_z, one_pass.q_z, one_pass.z
        for other, noise in ((b, p_z.log_prob(z)), (c, p_z.log_prob(z) - q_z.log_prob(z))):
            error = np.std(noise, axis=0) / np.sqrt(len(z))
            assert (np.abs(a - other) < 4 * error + 1e-4).all()

    def test_monte_carlo_kl(self):
        """A posterior without a closed form: a Student-t against the prior."""
        q_z = vt.layers.DistributionLayer("StudentT", 2, df=30.0)(tf.zeros([B, 4]) + 0.2)
        p_z = vt.priors.StandardNormal(2)()
        z = q_z.sample(20_000, seed=[0, 1])
        ratio = q_z.log_prob(z) - p_z.log_prob(z)
        # One latent at a time, by quadrature.
        u = np.linspace(-40, 40, 400_001)
        q = scipy.stats.t(30.0, 0.2, np.logaddexp(0, 0.2))
        exact = 2 * np.trapezoid(q.pdf(u) * (q.logpdf(u) - scipy.stats.norm.logpdf(u)), u)
        error = np.std(ratio, axis=0) / np.sqrt(len(z))
        assert (np.abs(vt.elbo.kl(q_z, p_z, z) - exact) < 4 * error).all()
        with pytest.raises(NotImplementedError):
            vt.elbo.kl(q_z, p_z)

    def test_every_log_weight_is_log_p_where_q_is_the_posterior(self, rng):
        model, x = random_linear(rng, 6, 1)  # with one latent `encode` is the posterior
        log_w = vt.elbo.log_weights(vt.elbo.forward(model, x, S, seed=0))
        np.testing.assert_allclose(log_w, np.tile(model.log_evidence(x), (S, 1)), atol=1e-9)


class TestIwae:
    def test_exact_for_any_number_of_samples_where_q_is_the_posterior(self, rng):
        model, x = random_linear(rng, 6, 1)
        for k in (1, 2, 7):
            bound = vt.evidence.iwae(model, x, k, seed=0)
            np.testing.assert_allclose(bound, model.log_evidence(x), atol=1e-9)

    def test_the_divisor_is_what_was_drawn(self, rng, monkeypatch):
        """Chunks that do not divide K: the estimate is the one of all weights at once."""
        model, x = random_linear(rng, 6, 2)
        seen, original = [], vt.elbo.log_weights
        monkeypatch.setattr(
            vt.elbo, "log_weights", lambda f, **how: seen.append(original(f, **how)) or seen[-1]
        )
        monkeypatch.setattr(chunks, "BUDGET", 3 * x.size)
        bound = vt.evidence.iwae(model, x, 7, seed=0)
        log_w = np.concatenate(seen)
        assert [len(part) for part in seen] == [3, 3, 1] and log_w.shape == (7, 10)
        expected = scipy.special.logsumexp(log_w, axis=0) - np.log(7)
        np.testing.assert_allclose(bound, expected, rtol=1e-12)
        w = np.exp(log_w - log_w.max(0))
        error = w.std(0, ddof=1) / w.mean(0) / np.sqrt(7)
        np.testing.assert_allclose(bound.standard_error, error, rtol=1e-9)
        np.testing.assert_allclose(bound.effective_sample_size, w.sum(0) ** 2 / (w**2).sum(0))

    def test_examples_in_chunks(self, rng, monkeypatch):
        model, x = random_linear(rng, 6, 1)
        monkeypatch.setattr(chunks, "BUDGET", 2 * x[0].size)
        bound = vt.evidence.iwae(model, x, 3, seed=0)
        np.testing.assert_allclose(bound, model.log_evidence(x), atol=1e-9)

    def test_mean_weight_is_unbiased_and_the_bound_grows_with_k(self, rng):
        model, x = random_linear(rng, 4, 2, noise=1.0)
        many, shape = np.tile(x, [400, 1]), [400, len(x)]  # no two rows share their noise
        runs = {k: vt.evidence.iwae(model, many, k, seed=k) for k in (1, 2, 10)}
        truth = model.log_evidence(x)
        estimates = {k: runs[k].estimate.reshape(shape) for k in runs}
        for k, values in estimates.items():
            weights = np.exp(values - truth)  # expectation one, for every k
            error = weights.std(0, ddof=1) / 20
            assert (np.abs(weights.mean(0) - 1) < 4 * error).all(), k
        means = {k: values.mean() for k, values in estimates.items()}
        errors = {k: values.mean(1).std(ddof=1) / 20 for k, values in estimates.items()}
        for small, large in ((1, 2), (2, 10)):
            assert means[small] < means[large] + 4 * np.hypot(errors[small], errors[large])
        assert means[10] - means[1] > 4 * np.hypot(errors[1], errors[10])
        assert means[10] <= truth.mean() + 4 * errors[10]

    def test_one_sample_knows_no_error(self, rng):
        model, x = random_linear(rng, 6, 2)
        assert np.isinf(vt.evidence.iwae(model, x, 1, seed=0).standard_error).all()


class Waves:
    """x = (sin(waves z_1), z_2) + noise: p(z|x) is a row of hills."""

    prior = vt.priors.StandardNormal(2, dtype="float64")()

    def __init__(self, waves, scale):
        self.waves, self.scale = waves, np.float64(scale)

    def decode(self, z):
        loc = tf.concat([tf.sin(self.waves * z[..., :1]), z[..., 1:]], axis=-1)
        return vt.distributions.Independent(tfd.Normal(loc, self.scale), 1)


class TestGrid:
    @pytest.mark.parametrize("latents", [1, 2])
    def test_honest_on_100_random_linear_models(self, latents):
        rng = np.random.default_rng(latents)
        for _ in range(100):
            data_size = int(rng.integers(3, 40))
            noise = 10 ** rng.uniform(-1.5, 0.5)  # posteriors far narrower than the first grid
            model, x = random_linear(rng, data_size, latents, noise=noise)
            truth, grid = model.log_evidence(x[:3]), vt.evidence.grid(model, x[:3])
            assert (np.abs(grid.estimate - truth) <= grid.error).all()
            assert (grid.error <= 1e-3).all()

    def test_a_very_narrow_ridge_across_the_grid(self):
        """One direction known to a thousandth, the other not at all."""
        weights = np.outer(np.full(20, 8.0), [1.0, -0.7]) + 0.01
        model = vt.linear.LinearGaussian(weights, np.zeros(20), 0.05)
        x = np.outer([1.0, -0.4], np.full(20, 8.0))
        grid = vt.evidence.grid(model, x)
        assert (np.abs(grid.estimate - model.log_evidence(x)) <= grid.error).all()
        assert (grid.error <= 1e-3).all()

    @pytest.mark.parametrize("latents", [1, 2])
    def test_a_peak_halfway_between_the_first_nodes(self, latents):
        """By symmetry all sublattices see the same there, so their spread is zero and wrong."""
        model = vt.linear.LinearGaussian(np.eye(3)[:, :latents], np.zeros(3), 0.01)
        x = np.zeros((1, 3))
        x[0, :latents] = 0.1 * (1 + 0.01**2)  # the posterior's mean is 0.1, the first spacing 0.2
        grid = vt.evidence.grid(model, x)
        assert (np.abs(grid.estimate - model.log_evidence(x)) <= grid.error).all()

    def test_far_outside_the_prior(self, rng):
        model, _ = random_linear(rng, 5, 2, noise=0.5)
        x = model.mean + 15 * model.weights.sum(1)[None]  # z is near (15, 15)
        grid = vt.evidence.grid(model, x)
        assert (np.abs(grid.estimate - model.log_evidence(x)) <= grid.error).all()

    @pytest.mark.parametrize("latents", [1, 2])
    @pytest.mark.parametrize("fold", [0.0, 0.5, 0.8, 1.1])
    def test_a_posterior_of_two_far_hills(self, latents, fold):
        """x_1 = |z_1 - fold| + noise: the lower hill holds between a half and a thousandth."""

        class Folded:
            prior = vt.priors.StandardNormal(latents, dtype="float64")()

            def decode(self, z):
                z = tf.concat([tf.abs(z[..., :1] - fold), z[..., 1:]], axis=-1)
                return vt.distributions.Independent(tfd.Normal(z, 0.05), 1)

        x = np.full((1, latents), 3.0)
        u = np.linspace(-12, 12, 2_400_001)
        log_likelihood = scipy.stats.norm(np.abs(u - fold), 0.05).logpdf(3.0)
        log_joint = log_likelihood + scipy.stats.norm.logpdf(u)
        truth = np.log(np.trapezoid(np.exp(log_joint), u))
        truth += (latents - 1) * scipy.stats.norm(0, np.hypot(1, 0.05)).logpdf(3.0)
        grid = vt.evidence.grid(Folded(), x)
        assert abs(grid.estimate[0] - truth) <= grid.error[0] + 1e-6
        assert grid.error[0] <= 1e-3

    @pytest.mark.parametrize("scale", [0.05, 0.1, 0.3])
    @pytest.mark.parametrize(
        "decoder",
        [
            lambda z: tf.sin(2 * z),
            lambda z: tf.sin(3 * z),
            lambda z: tf.concat([tf.cos(2 * z), tf.sin(2 * z)], axis=-1),
            lambda z: tf.nn.relu(z) - 2 * tf.nn.relu(-z - 1),
        ],
    )
    def test_many_hills_and_kinks(self, decoder, scale):
        """One latent, a posterior of up to a dozen hills: by a sum over 600,001 nodes."""

        class Wave:
            prior = vt.priors.StandardNormal(1, dtype="float64")()

            def decode(self, z):
                return vt.distributions.Independent(tfd.Normal(decoder(z), np.float64(scale)), 1)

        u = np.linspace(-12, 12, 600_001)[:, None]
        loc = decoder(tf.constant(u)).numpy()
        x = loc[100_000:500_000:20_000]  # z between -8 and 8
        prior = scipy.stats.norm.logpdf(u[:, 0])
        log_joint = [prior + scipy.stats.norm(loc, scale).logpdf(v).sum(-1) for v in x]
        truth = scipy.special.logsumexp(log_joint, axis=1) + np.log(u[1, 0] - u[0, 0])
        grid = vt.evidence.grid(Wave(), x)
        assert (np.abs(grid.estimate - truth) <= grid.error + 1e-6).all()

    @pytest.mark.parametrize("waves, scale, resolved", [(3, 0.3, True), (5, 0.05, False)])
    def test_many_hills_in_the_plane(self, waves, scale, resolved):
        u = np.linspace(-12, 12, 600_001)
        x = np.stack([np.linspace(-0.95, 0.95, 20), np.full(20, 0.4)], axis=1)
        prior = scipy.stats.norm.logpdf(u)
        rows = [prior + scipy.stats.norm(np.sin(waves * u), scale).logpdf(v) for v in x[:, 0]]
        truth = scipy.special.logsumexp(rows, axis=1) + np.log(u[1] - u[0])
        truth += scipy.stats.norm(0, np.hypot(1, scale)).logpdf(0.4)
        grid = vt.evidence.grid(Waves(waves, scale), x)
        assert (np.abs(grid.estimate - truth) <= grid.error + 1e-6).all()
        assert (grid.error <= 1e-3).all() == resolved

    def test_hills_along_the_wide_axis_of_a_narrow_prior(self):
        """A box is coarse on the narrow axis, and yet finer than the last grid on the wide one."""
        wide, mean = 23.41, np.array([-11.758, -22.124, -16.396])
        scale = np.array([0.447, 0.614, 0.519])

        class Hills:
            prior = tfd.MultivariateNormalDiag(np.zeros(2), np.array([wide, 1.0]))

            def decode(self, z):
                hills = -0.5 * ((z[..., :1] - mean) / scale) ** 2
                minus = 10 - 2 * tf.reduce_logsumexp(hills, axis=-1, keepdims=True)
                loc = tf.concat([tf.sqrt(minus), z[..., 1:]], axis=-1)
                return vt.distributions.Independent(tfd.Normal(loc, np.float64(1.0)), 1)

        x = np.array([[0.0, 0.3]])  # sqrt(minus) standard deviations off in its first dimension
        density = scale * scipy.stats.norm.pdf(mean, 0, np.hypot(wide, scale))
        truth = np.log(density.sum()) - 5 + scipy.stats.norm.logpdf(0.3, 0, np.sqrt(2))
        grid = vt.evidence.grid(Hills(), x)
        assert abs(grid.estimate[0] - truth) <= grid.error[0] <= 1e-3

    @pytest.mark.parametrize("radius", [0.06, 0.0])
    def test_support_on_one_node_or_none(self, radius):
        """p(x|z) = N(x; 0, 1) in a disc, and zero beyond."""

        class Disc:
            prior = vt.priors.StandardNormal(2, dtype="float64")()

            def decode(self, z):
                inside = tf.norm(z, axis=-1, keepdims=True) < radius
                loc = tf.where(inside, tf.zeros_like(z[..., :1]), 1e200)
                return vt.distributions.Independent(tfd.Normal(loc, np.float64(1.0)), 1)

        with np.errstate(divide="ignore"):
            truth = np.log1p(-np.exp(-(radius**2) / 2)) - 0.5 * np.log(2 * np.pi)
        grid = vt.evidence.grid(Disc(), np.zeros((1, 1)))
        assert grid.estimate[0] == truth or abs(grid.estimate[0] - truth) <= grid.error[0]

    @pytest.mark.parametrize("tolerance", [1e-2, 1e-6])
    def test_a_finer_grid_leaves_out_what_does_not_count(self, tolerance, monkeypatch):
        decoded, log_likelihood = [], quadrature._log_likelihood

        def counting(model, x, z):
            decoded.append(len(z))
            return log_likelihood(model, x, z)

        monkeypatch.setattr(quadrature, "_log_likelihood", counting)
        model, x = Waves(3, 0.15), np.array([[0.2, 0.4], [-0.9, 0.1]])
        some, used = vt.evidence.grid(model, x, tolerance=tolerance), sum(decoded)
        monkeypatch.setattr(quadrature, "_LEFT_OUT", 0.0)
        every = vt.evidence.grid(model, x, tolerance=tolerance)
        assert used < (sum(decoded) - used) / 3
        np.testing.assert_array_equal(some.nodes, every.nodes)
        assert (np.abs(some.estimate - every.estimate) <= 1e-3 * tolerance + 1e-12).all()

    def test_examples_in_parts_are_the_same_examples(self, trained, binary_digits, monkeypatch):
        x = binary_digits[1][:7]
        whole = vt.evidence.grid(trained, x)
        monkeypatch.setattr(quadrature, "_EXAMPLES", 3)
        np.testing.assert_allclose(vt.evidence.grid(trained, x), whole, atol=1e-5)

    def test_above_elbo_and_bound_on_real_digits(self, trained, binary_digits):
        x = binary_digits[1][:50]
        grid = vt.evidence.grid(trained, x)
        one_pass = vt.elbo.forward(trained, x, 2000, seed=0)
        log_w = vt.elbo.log_weights(one_pass).numpy().astype("float64")
        # E[w] = p(x) and E[log w] = ELBO <= log p(x), each within four standard errors.
        ratio = np.exp(log_w - grid.estimate)
        assert (np.abs(ratio.mean(0) - 1) < 4 * ratio.std(0) / np.sqrt(2000) + 1e-3).all()
        assert (log_w.mean(0) <= grid.estimate + 4 * log_w.std(0) / np.sqrt(2000)).all()

    def test_three_latents_are_refused(self):
        with pytest.raises(ValueError, match=r"Expected a model with 1 or 2 latents. Received: 3"):
            vt.evidence.grid(make_vae(3), np.zeros((2, 8, 8), "float32"))


class TestPairwise:
    @pytest.mark.parametrize(
        "layer, x",
        [
            (vt.layers.Bernoulli(6), 1.0),
            (vt.layers.Poisson(6), 3.0),
            (vt.layers.Normal(6), 0.3),
            (vt.layers.Normal(6, scale=0.2), 0.3),
            (vt.layers.ContinuousBernoulli(6), 0.3),
            (vt.layers.NegativeBinomial(6), 3.0),
            (vt.layers.NegativeBinomial(6, dispersion=0.02), 30.0),
            (vt.layers.NegativeBinomial(6, dispersion="predicted"), 3.0),
            (vt.layers.ZeroInflatedNegativeBinomial(6), 3.0),
        ],
    )
    def test_the_matrix_product_is_the_log_prob(self, layer, x):
        rng = np.random.default_rng(0)
        p_x = layer(rng.normal(size=(S, layer.input_size)).astype("float32"))
        x = np.full((B, 6), x, "float32") * (rng.random((B, 6)) < 0.8)
        expected = p_x.log_prob(tf.constant(x)[:, None]).numpy().T
        np.testing.assert_allclose(pairwise.log_prob(p_x, x), expected, rtol=1e-5, atol=1e-5)


def _independent(distribution):
    return tfd.Independent(distribution, 1)


def _far_cases():
    """(likelihoods of N latents, data, density in float64 by SciPy), all far from zero."""
    rng, one = np.random.default_rng(0), np.float32
    loc, x = (1e4 + 0.1 * rng.normal(size=(n, 1, 3)).astype(one) for n in (S, B))
    loc, x = loc[:, 0].astype(one), x[:, 0].astype(one)
    scale = (0.1 * np.exp(0.3 * rng.normal(size=(S, 3)))).astype(one)
    log_rate = np.log(1e6 * np.exp(1e-3 * rng.normal(size=(S, 3)))).astype(one)
    counts = rng.poisson(1e6, size=(B, 3)).astype(one)
    logits = (30 * rng.normal(size=(S, 3))).astype(one)
    concentration = (1e4 * np.exp(0.01 * rng.normal(size=(S, 3)))).astype(one)
    many = np.round(1e5 + 1e3 * rng.normal(size=(B, 3))).astype(one)
    r = 1 / np.float64(one(1e-4))
    wide, norm = (lambda a: np.float64(a)[:, None]), scipy.stats.norm.logpdf
    mean = np.exp(wide(np.log(many[:1]) + np.zeros((S, 3), one)))
    log_mean, bits = np.log(many[:1]) + np.zeros((S, 3), one), one(rng.random((B, 3)) < 0.5)
    yield "Normal", tfd.Normal(loc, scale), x, norm(np.float64(x), wide(loc), wide(scale))
    fixed = np.float64(one(0.1))
    yield "fixed scale", tfd.Normal(loc, one(0.1)), x, norm(np.float64(x), wide(loc), fixed)
    student = scipy.stats.t.logpdf(np.float64(x), 5, wide(loc), wide(scale))
    yield "StudentT", tfd.StudentT(one(5), loc, scale), x, student
    poisson = scipy.stats.poisson.logpmf
    exact = poisson(np.float64(counts), np.exp(wide(log_rate)))
    yield "Poisson", tfd.Poisson(log_rate=log_rate), counts, exact
    rate = np.exp(log_rate)
    yield "by rate", tfd.Poisson(rate=rate), counts, poisson(np.float64(counts), wide(rate))
    exact = wide(logits) * bits - np.logaddexp(0, wide(logits))
    yield "Bernoulli", tfd.Bernoulli(logits=logits, dtype=tf.float32), bits, exact
    gamma = tfd.Gamma(concentration, np.full((S, 3), 0.1, one))
    exact = scipy.stats.gamma.logpdf(
        np.float64(many), wide(concentration), scale=1 / wide(one(0.1) * np.ones((S, 3), one))
    )
    yield "Gamma", gamma, many, exact
    exact = scipy.stats.nbinom.logpmf(np.float64(many), r, r / (r + mean))
    counts_family = MeanDispersion(log_mean, np.full(3, 1e-4, one))
    yield "NegativeBinomial", counts_family, many, exact


class TestFarFromZero:
    @pytest.mark.parametrize(
        "name, family, x, exact", list(_far_cases()), ids=lambda v: v if isinstance(v, str) else ""
    )
    def test_nothing_is_lost_but_rounding(self, name, family, x, exact):
        """f01, f11: a density that cancels log p(0) is off by 900 nats, or by a fifth of one."""
        found = pairwise.log_prob(_independent(family), x).numpy()
        own = pairwise.rounding(_independent(family[:B]), x) if name != "NegativeBinomial" else 1e-7
        # The sums of one example bound those of another; four times for the oracle's own error.
        assert np.abs(found - exact.sum(axis=-1)).max() <= 4 * np.max(own) < 1e-6

    def test_a_mixture_of_clusters_by_enumeration(self):
        """f01: 908.4 where 2.4 is right."""

        class Clusters:
            mean = tf.constant(1e4 + 0.1 * np.arange(4)[:, None] * np.ones((1, 3)), tf.float32)
            prior = tfd.OneHotCategorical(logits=tf.zeros(4), dtype=tf.float32)

            def decode(self, z):
                return _independent(tfd.Normal(tf.einsum("...k,kd->...d", z, self.mean), 0.1))

        x = (1e4 + np.array([[0.03, 0.11, 0.2]])).astype("float32")
        scale = np.float64(np.float32(0.1))
        terms = scipy.stats.norm.logpdf(np.float64(x), np.float64(Clusters.mean), scale).sum(1)
        found = vt.evidence.enumeration(Clusters(), x)
        expected = scipy.special.logsumexp(terms - np.log(4))
        assert abs(found.estimate[0] - expected) <= found.standard_error[0] < 1e-5
        posterior = scipy.special.softmax(terms)
        np.testing.assert_allclose(found.posterior[:, 0], posterior, rtol=1e-6)


class Hills:
    """A prior of any shape; the likelihood is off by 1 at z = 0, and by 0 at z = 15."""

    def __init__(self, prior):
        self.prior = prior

    def decode(self, z):
        f = 1.0 - z / 15.0 + 5.0 * tf.sin(np.pi * z / 15.0) ** 2
        return _independent(tfd.Normal(tf.tile(f, [1] * (f.shape.rank - 1) + [30]), 0.5))

    def truth(self, x):
        z = np.linspace(-60, 135, 3_900_001)[:, None]  # no zero of f beyond
        z = z.astype(self.prior.dtype.as_numpy_dtype)
        f = 1.0 - np.float64(z) / 15.0 + 5.0 * np.sin(np.pi * np.float64(z) / 15.0) ** 2
        joint = 30 * scipy.stats.norm.logpdf(x[0, 0], f[:, 0], 0.5) + self.prior.log_prob(z)
        return scipy.special.logsumexp(np.float64(joint)) + np.log(195 / 3_900_000)


def _mixture(w, loc, scale):
    components = _independent(tfd.Normal(np.float64(loc)[:, None], np.float64(scale)[:, None]))
    return tfd.MixtureSameFamily(tfd.Categorical(logits=np.log(np.float64(w))), components)


class TestGridOfOtherPriors:
    @pytest.mark.parametrize(
        "prior",
        [
            _mixture([0.9995, 0.0005], [0.0, 15.0], [1.0, 1.0]),
            tfd.Mixture(
                tfd.Categorical(logits=np.log([0.9995, 0.0005])),
                [_independent(tfd.Normal(np.array([m]), np.float64(1))) for m in (0.0, 15.0)],
            ),
            tfd.Independent(
                tfd.MixtureSameFamily(
                    tfd.Categorical(logits=np.log([0.9995, 0.0005])),
                    tfd.Normal(np.array([[0.0, 15.0]]), np.float64(1)),
                ),
                1,
            ),
            _independent(tfd.StudentT(np.float64(3), np.zeros(1), np.float64(1))),
            _independent(tfd.Cauchy(np.zeros(1), np.float64(1))),
            _independent(tfd.Laplace(np.zeros(1), np.float64(2))),
        ],
        ids=["MixtureSameFamily", "Mixture", "Independent", "StudentT", "Cauchy", "Laplace"],
    )
    def test_a_hill_where_little_of_the_prior_is(self, prior):
        """b16: -68.17 +- 3e-5 where -15.04 is right."""
        model, x = Hills(prior), np.zeros((1, 30))
        grid = vt.evidence.grid(model, x)
        assert abs(grid.estimate[0] - model.truth(x)) <= grid.standard_error[0] + 1e-6

    def test_a_component_that_the_nodes_step_over(self):
        """A hundredth of a spacing wide, and half of the prior: seen, or stated as error."""
        prior = _mixture([0.5, 0.5], [0.0, 3.00037], [1.0, 1e-5])

        class Line:
            def decode(self, z):
                return _independent(tfd.Normal(tf.cast(z, tf.float64), 0.5))

        model = Line()
        model.prior = prior
        x = np.array([[0.0], [1.5], [3.0]])
        sds = np.hypot(0.5, [1.0, 1e-5])
        terms = scipy.stats.norm.logpdf(x, [0.0, 3.00037], sds) + np.log(0.5)
        truth = scipy.special.logsumexp(terms, axis=1)
        grid = vt.evidence.grid(model, x)
        off = np.abs(grid.estimate - truth)
        assert (off <= grid.standard_error).all() and off[2] < np.inf

    def test_a_tolerance_that_is_none(self, rng):
        model, x = random_linear(rng, 6, 2)
        for tolerance in (-1, 0, np.nan):
            with pytest.raises(ValueError, match="Expected `tolerance` to be a positive number"):
                vt.evidence.grid(model, x, tolerance=tolerance)


class TestNanModels:
    """f13: a number for a model that has none would be a wrong one."""

    @pytest.fixture
    def vae(self):
        vae = make_vae(likelihood=vt.layers.Normal((8, 8)), seed=0)
        for weight in vae.trainable_variables:
            weight.assign(np.full(weight.shape, np.nan))
        return vae

    def test_estimates_are_nan(self, vae):
        x, E = np.zeros((3, 8, 8), "float32"), vt.evidence
        for found in (
            E.iwae(vae, x, 50, seed=0),
            E.cubo(vae, x, 50, seed=0),
            E.eubo(vae, x, np.zeros((2, 3, 2))),
            E.grid(vae, x),
            E.ais(vae, x, 4, 5, seed=0),
            E.bracket(vae, x, num_chains=4, num_steps=5, num_simulated=0, seed=0),
        ):
            assert np.isnan(found.estimate).all() and np.isnan(found.standard_error).all()
        assert E.iwae(vae, x, 50, seed=0).refused.all()
        with pytest.raises(ValueError, match="NaN"):
            E.iwae(vae, x, 50, seed=0).log_evidence()
        assert np.isnan(vt.elbo.estimate(vae, x, 3, seed=0).elbo).all()

    def test_enumeration(self):
        class Coin:
            prior = _independent(tfd.Bernoulli(probs=[0.5], dtype=tf.float32))

            def decode(self, z):
                return _independent(tfd.Normal(z * np.nan, 1.0))

        found = vt.evidence.enumeration(Coin(), np.zeros((2, 1)))
        assert np.isnan(found.estimate).all()
        with pytest.raises(ValueError, match="NaN"):
            found.sample(3)


class TestEstimates:
    def test_no_tuple(self, rng):
        """b26: `bound * 2` was a tuple of ten arrays, `len(bound)` five."""
        model, x = random_linear(rng, 6, 2)
        for found in (vt.evidence.iwae(model, x, 50, seed=0), vt.evidence.grid(model, x)):
            assert len(found) == len(x) and np.asarray(found) is not None
            np.testing.assert_array_equal(np.asarray(found), found.estimate)
            for misuse in (lambda f: f * 2, lambda f: f[0], lambda f: f + f, lambda f: [*f]):
                with pytest.raises(TypeError):
                    misuse(found)
        assert vt.evidence.grid(model, x).error is not None

    def test_bits_per_dimension(self):
        for shape in (784, (28, 28), [28, 28], np.int64(784), tf.TensorShape([28, 28])):
            assert vt.elbo.bits_per_dimension(784 * np.log(2), shape) == pytest.approx(1)
        assert vt.elbo.bits_per_dimension(np.log(2), ()) == pytest.approx(1)
        with pytest.raises(ValueError, match="Expected `event_shape`"):
            vt.elbo.bits_per_dimension(1.0, 0)

    def test_the_prior_is_asked_for_once(self, rng):
        """b20: a VampPrior runs its encoder each time."""
        line, x = random_linear(rng, 6, 2)
        asked = []

        class Counted:
            encode, decode = staticmethod(line.encode), staticmethod(line.decode)

            @property
            def prior(self):
                asked.append(0)
                return line.prior

        for measure in (
            lambda m: vt.evidence.iwae(m, x, 50, seed=0),
            lambda m: vt.evidence.ais(m, x, 4, 5, seed=0),
            lambda m: vt.elbo.estimate(m, x, 50, seed=0),
            lambda m: vt.elbo.moments(m, x, 50, seed=0),
            lambda m: vt.evidence.grid(m, x),
            lambda m: vt.evidence.eubo(m, x, np.zeros((3, 10, 2))),
        ):
            asked.clear()
            measure(Counted())
            assert len(asked) == 1

    def test_check_numerics_finds_no_nan_in_good_data(self, rng):
        """f26: the mark of bad data is computed, not a constant of the graph."""
        model, x = random_linear(rng, 6, 2)
        x = tf.constant(x)
        graph = tf.function(lambda x: vt.elbo.log_likelihood(vt.elbo.forward(model, x, 3, seed=0)))
        graph = graph.get_concrete_function(tf.TensorSpec(x.shape, x.dtype)).graph
        mine = [
            op.get_attr("value")
            for op in graph.get_operations()
            if op.type == "Const" and any("elbo.py" in str(f) for f in op.traceback[-4:])
        ]
        values = [tf.make_ndarray(value) for value in mine]
        assert not any(np.isnan(v).any() for v in values if v.dtype.kind == "f")


class TestGap:
    def test_exact_where_the_model_has_a_closed_form(self, rng):
        model, x = random_linear(rng, 6, 2)
        gap = vt.gap.total(model, x)
        exact = tfd.kl_divergence(model.encode(x), model.posterior(x))
        np.testing.assert_allclose(gap, exact, atol=1e-9)
        assert (gap.error == 0).all()

    def test_by_grid_and_samples_it_is_the_same(self, rng):
        """The linear model as a VAE: no closed form is asked for, and the answer is known."""
        model, x = random_linear(rng, 6, 2)
        gap = vt.gap.total(model.to_vae(), x, num_samples=4000, seed=0)
        exact = tfd.kl_divergence(model.encode(x), model.posterior(x))
        assert (np.abs(gap.total - exact) < 4 * gap.error).all()

    def test_without_a_closed_form_of_the_kl_its_noise_is_counted_too(self):
        """A Student-t posterior; the spread of 300 estimates is what one of them states."""

        class Heavy:
            prior = vt.priors.StandardNormal(1)()

            def encode(self, x):
                q_z = vt.layers.DistributionLayer("StudentT", 1, df=8.0)
                return q_z(tf.zeros([len(x), 2]))

            def decode(self, z):
                return vt.layers.Normal(1, scale=20.0)(z)  # nearly all of the noise is the KL's

        gap = vt.gap.total(Heavy(), np.zeros((300, 1), "float32"), 200, seed=0)
        spread, stated = np.std(gap.elbo, ddof=1), np.mean(gap.error)
        # A standard deviation of 300 draws has a relative error of 1 / sqrt(600).
        assert abs(stated / spread - 1) < 4 / np.sqrt(600)

    def test_one_sample_is_too_few(self, trained, binary_digits):
        with pytest.raises(ValueError, match="at least 2"):
            vt.gap.total(trained, binary_digits[1][:2], num_samples=1)


@pytest.mark.parametrize("asked", [False, True])
def test_a_progress_bar_where_it_is_asked_for(rng, capsys, asked):
    model, x = random_linear(rng, 3, 1)
    for estimate in (
        lambda: vt.evidence.iwae(model, x, S, seed=0, progress=asked),
        lambda: vt.evidence.grid(model, x, progress=asked),
    ):
        estimate()
        shown = capsys.readouterr().err
        assert ("100%" in shown) is asked, shown


class TestBadCounts:
    @pytest.mark.parametrize("count", [0, -1, 2.0, True, None, "3"])
    def test_samples(self, trained, binary_digits, count):
        x = binary_digits[1][:2]
        for attempt in (
            lambda: trained.elbo(x, count),
            lambda: vt.evidence.iwae(trained, x, count),
            lambda: vt.gap.total(trained, x, count),
            lambda: trained.sample(count),
            lambda: vt.objectives.ELBO(num_samples=count),
        ):
            with pytest.raises(ValueError, match=r"Expected `\w+` to be a positive integer"):
                attempt()

    @pytest.mark.parametrize("seed", [1.5, "0", True, [1, 2]])
    def test_seeds(self, trained, binary_digits, seed):
        x = binary_digits[1][:2]
        for attempt in (
            lambda: trained.elbo(x, seed=seed),
            lambda: vt.evidence.iwae(trained, x, 2, seed=seed),
            lambda: trained.sample(2, seed=seed),
        ):
            with pytest.raises(TypeError, match="Expected `seed` to be an integer"):
                attempt()
