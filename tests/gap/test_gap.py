"""The decomposition of the gap against closed forms, quadrature and another optimiser."""

import dataclasses

import numpy as np
import pytest
import scipy.optimize
import tensorflow as tf
import tensorflow_probability as tfp
from conftest import make_vae, random_linear

import vae_tf as vt
from vae_tf import layers
from vae_tf._core import chunks, random
from vae_tf.gap import best_q
from vae_tf.gap import parts as gap_parts
from vae_tf.layers.distributions import Independent

tfd = tfp.distributions


class Perturbed(vt.linear.LinearGaussian):
    """A linear model whose encoder is off: its mean by dV (x - mean), its scale by factors."""

    def __init__(self, model, change, factors):
        super().__init__(model.weights, model.mean, model.scale)
        self.change, self.factors = change, factors

    def encode(self, x):
        q = super().encode(x)
        loc = q.mean() + (x - self.mean) @ self.change.T
        return Independent(tfd.Normal(loc, q.stddev() * self.factors), reinterpreted_batch_ndims=1)


class Bent:
    """z ~ N(0, I), x|z ~ N((z_1, z_2 + z_1^2), 0.3^2): the posterior is a banana."""

    prior = vt.priors.StandardNormal(2)()

    def encode(self, x):
        return Independent(tfd.Normal(0.5 * tf.cast(x, tf.float32), 0.5), 1)

    def decode(self, z):
        loc = tf.stack([z[..., 0], z[..., 1] + z[..., 0] ** 2], axis=-1)
        return Independent(tfd.Normal(loc, [0.9, 0.3]), 1)


BENT_X = np.array([[0.3, 0.5], [-1.0, 1.5], [1.5, 1.0]], "float32")


def perturbed(rng, latents=3):
    model, x = random_linear(rng, 8, latents, noise=0.6)
    change = 0.05 * rng.normal(size=(latents, 8))
    return Perturbed(model, change, np.linspace(0.5, 2.0, latents)), x


def known_parts(model, x):
    """Approximation and amortization of the best diagonal Gaussian against `Perturbed`.

    With M = W'W + s^2 I the posterior is N(., s^2 M^-1), the best q has the variances s^2 / M_jj,
    and a Gaussian whose mean is off by d and whose scales are f_j times those has
        ELBO[q*] - ELBO[q] = d' M d / (2 s^2) + sum_j (f_j^2 - 1 - log f_j^2) / 2
    """
    m = model.weights.T @ model.weights + model.scale**2 * np.eye(model.weights.shape[1])
    approximation = (np.log(np.diag(m)).sum() - np.linalg.slogdet(m)[1]) / 2
    d = (x - model.mean) @ model.change.T
    squared = model.factors**2
    off = np.einsum("bi,ij,bj->b", d, m, d) / (2 * model.scale**2)
    return approximation, off + (squared - 1 - np.log(squared)).sum() / 2


@pytest.fixture
def graph(monkeypatch):
    """Plain graphs, which are made in a fraction of the time, where XLA is not the question."""
    monkeypatch.setattr(best_q, "Compiled", lambda f, _xla: tf.function(f, autograph=False))


class TestLinear:
    """Weights that are not orthogonal, an encoder that is off: every part is known."""

    def test_diagonal(self, rng):
        model, x = perturbed(rng)
        parts = vt.gap.decompose(model, x, "diag")
        approximation, amortization = known_parts(model, x)
        assert approximation > 0.1 and amortization.min() > 0.1
        np.testing.assert_allclose(parts.approximation, approximation, atol=1e-6)
        np.testing.assert_allclose(parts.amortization, amortization, atol=1e-6)
        np.testing.assert_allclose(parts.total, approximation + amortization, atol=1e-6)
        np.testing.assert_allclose(parts, vt.gap.total(model, x), atol=1e-12)
        for error in (parts.total_error, parts.approximation_error, parts.amortization_error):
            assert (error == 0).all()
        assert parts.optimization_error.max() < 1e-6

    def test_full_covariance_leaves_the_encoder_to_blame(self, rng):
        model, x = perturbed(rng)
        parts = vt.gap.decompose(model, x, "tril")
        exact = tfd.kl_divergence(model.encode(x), model.posterior(x))
        np.testing.assert_allclose(parts.approximation, 0, atol=1e-6)
        np.testing.assert_allclose(parts.amortization, exact, atol=1e-6)

    @pytest.mark.usefixtures("graph")
    def test_rotated_weights_are_the_families_fault(self, rng):
        """pPCA has no gap; the same model, rotated, has one, and its encoder is the best."""
        fitted = vt.linear.LinearGaussian.fit(rng.normal(size=(50, 6)) * np.arange(1, 7), 2)
        rotation = np.array([[np.cos(0.6), -np.sin(0.6)], [np.sin(0.6), np.cos(0.6)]])
        model = vt.linear.LinearGaussian(fitted.weights @ rotation, fitted.mean, fitted.scale)
        x = rng.normal(size=(4, 6))
        m = model.weights.T @ model.weights + model.scale**2 * np.eye(2)
        expected = (np.log(np.diag(m)).sum() - np.linalg.slogdet(m)[1]) / 2
        for each, known in ((fitted, 0.0), (model, expected)):
            parts = vt.gap.decompose(each, x)
            np.testing.assert_allclose(parts.approximation, known, atol=1e-6)
            np.testing.assert_allclose(parts.amortization, 0, atol=1e-6)
            assert (parts.amortization > -1e-12).all()  # rounding
        assert expected > 0.01


@pytest.fixture(scope="module")
def linear_vae():
    """A linear model as a VAE, of which no closed form is known: model, VAE and data."""
    model, x = random_linear(np.random.default_rng(3), 8, 2, noise=0.6)
    return model, model.to_vae(), x


class TestBySamples:
    def test_the_linear_model_without_its_closed_forms(self, linear_vae):
        model, vae, x = linear_vae
        exact = vt.gap.decompose(model, x)
        parts = vt.gap.decompose(vae, x, num_samples=4000, seed=1)
        for name in ("total", "approximation", "amortization"):
            error = 4 * getattr(parts, f"{name}_error") + parts.optimization_error + 1e-4
            assert (np.abs(getattr(parts, name) - getattr(exact, name)) < error).all(), name
        assert parts.total_error.max() < 0.1 and parts.optimization_error.max() < 0.05

    def test_a_gaussian_posterior_is_found_without_noise(self, linear_vae):
        """There all log weights are log p(x), so that neither search nor estimate has any noise."""
        _, vae, x = linear_vae
        parts = vt.gap.decompose(vae, x, "tril", num_samples=100, tolerance=1e-6, seed=2)
        assert np.abs(parts.approximation).max() < 1e-3
        assert parts.approximation_error.max() < 1e-3
        np.testing.assert_allclose(parts.total, parts.approximation + parts.amortization, atol=1e-9)

    def test_gradient_has_no_noise_at_the_posterior(self, linear_vae):
        model, vae, x = linear_vae
        layer = layers.NormalTriL(2, dtype="float64")
        params, _ = best_q.first_params(layer, model.posterior(x))
        for seed in range(3):
            gradient = best_q.Search(vae, layer)._gradient(vae, params, tf.constant([seed, 1]), x)
            np.testing.assert_allclose(gradient, 0, atol=1e-9)

    def test_gradient_is_right_on_average(self, linear_vae):
        """Against that of the closed form, at a q that is neither the best nor of its shape."""
        model, vae, x = linear_vae
        layer = layers.NormalTriL(2, dtype="float64")
        params = tf.constant(0.5 * np.random.default_rng(0).normal(size=(10, 5)))
        with tf.GradientTape() as tape:
            tape.watch(params)
            bound = model.elbo(x, layer.distribution(params)).elbo
        expected = tape.gradient(bound, params)
        search = best_q.Search(vae, layer)
        seeds = tf.stack(vt.random.split(0, 2000))
        gradients = tf.function(
            lambda: tf.map_fn(
                lambda seed: search._gradient(vae, params, seed, tf.constant(x)),
                seeds,
                fn_output_signature=tf.float64,
            )
        )().numpy()
        error = gradients.std(axis=0, ddof=1) / np.sqrt(len(gradients))
        assert (np.abs(gradients.mean(axis=0) - expected) < 4 * error + 1e-9).all()

    def test_chunks_are_one_sample(self, linear_vae, monkeypatch):
        """Mean and error of all samples, whatever the parts that they come in."""
        _, vae, x = linear_vae
        layer, q_z, seen = layers.NormalDiag(2, dtype="float64"), vae.encode(x), []
        wide = Independent(tfd.Normal(q_z.mean(), 1.5 * q_z.stddev()), 1)
        params, _ = best_q.first_params(layer, wide)
        monkeypatch.setattr(chunks, "BUDGET", 4 * len(x) * chunks.width(vae, x))
        original = gap_parts._sampled_elbos(layer)

        def spy(*args, size):
            if tf.executing_eagerly():
                seen.append((size, args[2]))
            return original(*args, size=size)

        monkeypatch.setattr(gap_parts, "_sampled_elbos", lambda _: spy)
        seed = tf.constant([0, 1])
        (bound, best), errors = gap_parts._elbos(vae, x, None, layer, params, 10, seed)
        assert [size for size, _ in seen] == [4, 4, 2]
        values = []
        for size, seed in seen:
            noise = random.normal([size, 10, 2], seed, tf.float64)
            values.append(
                [
                    best_q.log_weights(vae, x, q, q.mean() + q.stddev() * noise).numpy()
                    for q in (q_z, wide)
                ]
            )
        log_w = np.concatenate(values, axis=1)
        np.testing.assert_allclose([bound, best], log_w.mean(axis=1), rtol=1e-9)
        expected = [*log_w, log_w[1] - log_w[0]]
        expected = [values.std(axis=0, ddof=1) / np.sqrt(10) for values in expected]
        np.testing.assert_allclose(errors, expected, rtol=1e-6)

    @pytest.mark.usefixtures("graph")
    def test_a_search_cut_short_says_so(self, linear_vae):
        """What a single round gained is what it states, within the noise of its score.

        The start is off by a shift alone, where Var[log w] = 2 KL, and 16 pairs score each of 10.
        """
        model, vae, x = linear_vae
        q_z = model.encode(x)
        off = Independent(tfd.Normal(q_z.mean() + 3 * q_z.stddev(), q_z.stddev()), 1)
        layer = layers.NormalDiag(2, dtype="float64")
        found = best_q.Search(vae, layer)(x, off, max_steps=100, seed=0)
        bounds = [model.elbo(x, q).elbo for q in (off, layer(found.params), q_z)]
        start, end, best = (np.mean(bound) for bound in bounds)
        error = 4 * np.sqrt(2 * (best - start) / 320)
        assert found.steps == 100 and end - start > 2 * error
        assert abs(found.change.mean() - (end - start)) < error

    @pytest.mark.usefixtures("graph")
    def test_examples_in_parts(self, linear_vae, monkeypatch):
        model, vae, x = linear_vae
        given = {"log_evidence": model.log_evidence(x[:9]), "num_samples": 100, "seed": 0}
        whole = vt.gap.decompose(vae, x[:9], **given)
        monkeypatch.setattr(chunks, "BUDGET", 4 * 3 * 8)
        calls = []
        original = best_q.Search.__call__
        monkeypatch.setattr(
            best_q.Search,
            "__call__",
            lambda self, x, *args, **kw: calls.append(len(x)) or original(self, x, *args, **kw),
        )
        parts = vt.gap.decompose(vae, x[:9], **given)
        assert calls == [3, 3, 3]
        for name in ("elbo", "best_elbo"):
            error = 4 * (whole.total_error + parts.total_error) + 0.05
            assert (np.abs(getattr(parts, name) - getattr(whole, name)) < error).all()

    @pytest.mark.usefixtures("graph")
    def test_the_same_seed_gives_the_same_numbers(self, linear_vae):
        _, vae, x = linear_vae
        a, b, c = (
            vt.gap.decompose(vae, x[:3], max_steps=100, num_samples=10, seed=seed).best_elbo
            for seed in (1, 1, 2)
        )
        np.testing.assert_array_equal(a, b)
        assert np.any(a != c)


def bent_elbo(layer, nodes=48):
    """params [B, P] -> the ELBO of each by Gauss-Hermite quadrature over the noise."""
    u, w = np.polynomial.hermite_e.hermegauss(nodes)
    noise = np.stack(np.meshgrid(u, u, indexing="ij"), axis=-1).reshape(-1, 1, 2)
    weights = (np.outer(w, w) / w.sum() ** 2).reshape(-1, 1).astype("float32")
    model = Bent()

    def elbo(params):
        q = layer.distribution(params)
        z = best_q.push(q, tf.constant(noise, tf.float32))
        return tf.reduce_sum(weights * best_q.log_weights(model, BENT_X, q, z), axis=0)

    return elbo


@pytest.fixture(scope="module")
def parts():
    return {
        family: vt.gap.decompose(Bent(), BENT_X, family, num_samples=8000, seed=0)
        for family in best_q.FAMILIES
    }


class TestBent:
    """A posterior that no Gaussian meets; log p(x) by grid."""

    @pytest.mark.parametrize("family", ["diag", "tril"])
    def test_another_optimiser_finds_the_same(self, parts, family):
        """BFGS on the ELBO by quadrature, where there is no noise at all."""
        layer = best_q.layer_of(family, Bent().encode(BENT_X))
        elbo = bent_elbo(layer)
        first, _ = best_q.first_params(layer, Bent().encode(BENT_X))

        @tf.function
        def value_and_gradient(params):
            with tf.GradientTape() as tape:
                tape.watch(params)
                value = -tf.reduce_sum(elbo(params))
            return value, tape.gradient(value, params)

        def function(flat):
            params = tf.constant(flat.reshape(first.shape), tf.float32)
            value, gradient = value_and_gradient(params)
            return float(value), gradient.numpy().astype("float64").ravel()

        found = scipy.optimize.minimize(function, first.numpy().ravel(), jac=True, method="BFGS")
        expected = elbo(tf.constant(found.x.reshape(first.shape), tf.float32)).numpy()
        got = parts[family]
        error = 4 * got.approximation_error + 1e-4
        assert (got.best_elbo < expected + error).all()
        assert (got.best_elbo > expected - error - got.optimization_error).all()
        assert got.optimization_error.max() < 0.05

    def test_a_richer_family_has_less_to_answer_for(self, parts):
        diag, tril, flow = (parts[family] for family in ("diag", "tril", "flow"))
        for rich, poor in ((tril, diag), (flow, tril)):
            error = 4 * (rich.approximation_error + poor.approximation_error)
            error += rich.optimization_error
            assert (rich.approximation < poor.approximation + error).all()
        # The sum over the three is a difference that no noise explains.
        for rich, poor in ((tril, diag), (flow, tril)):
            difference = (poor.approximation - rich.approximation).sum()
            assert difference > 4 * (rich.approximation_error + poor.approximation_error).sum()
        assert flow.approximation.sum() < tril.approximation.sum() / 2

    def test_parts_add_up_and_are_not_negative(self, parts):
        for each in parts.values():
            np.testing.assert_allclose(each, each.approximation + each.amortization, atol=1e-9)
            np.testing.assert_allclose(each.total, each.log_evidence - each.elbo, atol=1e-9)
            assert (each.approximation > -4 * each.approximation_error - 1e-4).all()
            error = 4 * each.amortization_error + each.optimization_error
            assert (each.amortization > -error - 1e-4).all()

    def test_the_total_does_not_depend_on_the_family(self, parts):
        exact = bent_elbo(layers.NormalDiag(2))(
            best_q.first_params(layers.NormalDiag(2), Bent().encode(BENT_X))[0]
        )
        truth = vt.evidence.grid(Bent(), BENT_X).estimate
        for each in parts.values():
            assert (np.abs(each.total - (truth - exact)) < 4 * each.total_error + 1e-3).all()


class TestRealDigits:
    def test_both_parts_are_not_negative(self, trained, binary_digits):
        parts = vt.gap.decompose(trained, binary_digits[1][:40], num_samples=500, seed=0)
        assert (parts.approximation > -4 * parts.approximation_error - 1e-3).all()
        error = 4 * parts.amortization_error + parts.optimization_error
        assert (parts.amortization > -error - 1e-3).all()
        total = vt.gap.total(trained, binary_digits[1][:40], 2000, seed=1)
        assert (np.abs(parts.total - total) < 4 * np.hypot(parts.total_error, total.error)).all()


class TestWhereItStarts:
    def test_from_the_encoders_own_parameters(self):
        """A q of the family is its own first row, so that without a step nothing is lost."""
        x = np.zeros((5, 4), "float32")
        for layer in (layers.NormalDiag(3), layers.NormalTriL(3), layers.CouplingFlow(3, hidden=5)):
            params = np.random.default_rng(0).normal(size=(5, layer.input_size)).astype("float32")
            q_z = layer(0.5 * params)
            name = {v: k for k, v in best_q.FAMILIES.items()}[type(layer)]
            again = best_q.layer_of(name, q_z)
            row, unit = best_q.first_params(again, q_z)
            np.testing.assert_allclose(row, 0.5 * params, atol=1e-4)
            assert unit.shape == row.shape and (unit.numpy() > 0).all()
        del x

    def test_from_the_nearest_gaussian(self):
        """Of a flow there are samples only; a full covariance loses its correlations."""
        flow, n = layers.CouplingFlow(2, dtype="float64"), best_q._MOMENT_SAMPLES
        rows = 0.3 * np.random.default_rng(0).normal(size=(4, flow.input_size))
        z = flow(rows).sample(100_000, seed=[0, 1]).numpy()
        for name in ("diag", "tril"):
            layer = best_q.layer_of(name, flow(rows))
            row, _ = best_q.first_params(layer, flow(rows), tf.constant([0, 2]))
            q = layer(row)
            error = 4 * z.std(axis=0) / np.sqrt(n)
            assert (np.abs(q.mean() - z.mean(axis=0)) < error).all()
            np.testing.assert_allclose(q.stddev(), z.std(axis=0), rtol=0.25)

    @pytest.mark.usefixtures("graph")
    def test_a_flow_encoder_is_decomposed_by_a_flow_of_its_sizes(self, binary_digits):
        encoder = vt.networks.mlp((8, 8), layers.CouplingFlow(2, num_flows=2, hidden=4), hidden=())
        decoder = vt.networks.mlp(2, layers.Bernoulli((8, 8)), hidden=(8,))
        vae = vt.VAE(encoder, decoder, seed=0)
        x = binary_digits[1][:6]
        parts = vt.gap.decompose(vae, x, "flow", num_samples=500, max_steps=300, seed=0)
        error = 4 * parts.amortization_error + parts.optimization_error
        assert (parts.amortization > -error - 1e-3).all()
        assert parts.amortization.mean() > 0

    @pytest.mark.usefixtures("graph")
    def test_any_other_q(self):
        """A Student-t encoder: samples of its own, and a Normal to begin with."""

        class Heavy(Bent):
            def encode(self, x):
                q_z = layers.DistributionLayer("StudentT", 2, df=5.0)
                return q_z(tf.concat([0.5 * x, tf.zeros_like(x)], axis=-1))

        parts = vt.gap.decompose(Heavy(), BENT_X, num_samples=2000, seed=0, max_steps=300)
        one_pass = vt.elbo.forward(Heavy(), BENT_X, 20_000, seed=1)
        log_w = vt.elbo.log_weights(one_pass).numpy()
        error = np.hypot(parts.total_error, log_w.std(axis=0) / np.sqrt(20_000))
        assert (np.abs(parts.elbo - log_w.mean(axis=0)) < 4 * error).all()


class TestEvidence:
    @pytest.mark.usefixtures("graph")
    def test_given(self, rng):
        model, x = perturbed(rng)
        truth = model.log_evidence(x)
        given = vt.evidence.KSampleBound
        fields = {field.name: np.full(10, 0.25) for field in dataclasses.fields(given)}
        bound = given(**{**fields, "estimate": truth - 1})
        for log_evidence, error in ((truth - 1, 0.0), (list(truth - 1), 0.0), (bound, 0.25)):
            parts = vt.gap.decompose(model, x, log_evidence=log_evidence, max_steps=100)
            np.testing.assert_allclose(parts.log_evidence, truth - 1)
            np.testing.assert_allclose(parts.total_error, error)
            np.testing.assert_allclose(parts.approximation_error, error)
            np.testing.assert_allclose(parts.amortization_error, 0)
        with pytest.raises(ValueError, match=r"Expected `log_evidence` of shape \[10\].*Received"):
            vt.gap.decompose(model, x, log_evidence=truth[:3])

    @pytest.mark.usefixtures("graph")
    def test_annealed_where_no_grid_reaches(self, monkeypatch):
        model, x = random_linear(np.random.default_rng(0), 6, 3, noise=1.0)
        vae, asked = model.to_vae(), []

        def ais(model, x, **_):
            asked.append((model, len(x)))
            return vt.evidence.Grid(np.zeros(len(x)), np.full(len(x), 0.5), None)

        monkeypatch.setattr(vt.evidence, "ais", ais)
        parts = vt.gap.decompose(vae, x, num_samples=10, max_steps=100, seed=0)
        assert asked == [(vae, 10)] and (parts.log_evidence == 0).all()
        assert (parts.total_error > 0.5).all()


class Shifted(Bent):
    """The same model of x - c, for a condition c: decoder and encoder must see the same rows."""

    def encode(self, x, condition):
        return super().encode(tf.cast(x, tf.float32) - tf.cast(condition, tf.float32))

    def decode(self, z, condition):
        p_x = super().decode(z)
        loc = p_x.mean() + tf.cast(condition, tf.float32)
        return Independent(tfd.Normal(loc, [0.9, 0.3]), 1)


class ShiftedLinear(vt.linear.LinearGaussian):
    """The linear model of x - c: its closed forms take the condition too."""

    def encode(self, x, condition):
        return super().encode(x - condition)

    def decode(self, z, condition):
        p_x = super().decode(z)
        return Independent(tfd.Normal(p_x.mean() + condition, self.scale), 1)

    def log_evidence(self, x, condition):
        return super().log_evidence(x - condition)

    def elbo(self, x, q_z, condition):
        plain = vt.linear.LinearGaussian(self.weights, self.mean, self.scale)
        return plain.elbo(x - condition, q_z)


SHIFT = np.array([[0.5, -1.0], [0.0, 2.0], [-2.0, 0.3]], "float32")


class TestConditions:
    """With x moved by the condition, every number is that of the plain model."""

    def test_total(self):
        plain = vt.gap.total(Bent(), BENT_X, 200, seed=0)
        given = vt.gap.total(Shifted(), BENT_X + SHIFT, 200, condition=SHIFT, seed=0)
        for name in ("total", "error", "log_evidence", "elbo"):
            np.testing.assert_allclose(getattr(given, name), getattr(plain, name), atol=2e-4)

    @pytest.mark.usefixtures("graph")
    def test_decompose_in_parts(self, monkeypatch):
        how = {"num_samples": 200, "max_steps": 100, "seed": 0}
        how["log_evidence"] = vt.evidence.grid(Bent(), BENT_X).estimate
        monkeypatch.setattr(chunks, "BUDGET", 8)  # an example at a time, with its own row
        plain = vt.gap.decompose(Bent(), BENT_X, **how)
        given = vt.gap.decompose(Shifted(), BENT_X + SHIFT, condition=(SHIFT,), **how)
        for name in ("approximation", "amortization", "optimization_error"):
            np.testing.assert_allclose(getattr(given, name), getattr(plain, name), atol=2e-3)

    @pytest.mark.usefixtures("graph")
    def test_closed_forms(self, rng):
        model, x = random_linear(rng, 5, 2, noise=0.6)
        given = ShiftedLinear(model.weights, model.mean, model.scale)
        c = rng.normal(size=x.shape)
        total = vt.gap.total(given, x + c, condition=c)
        np.testing.assert_allclose(total, vt.gap.total(model, x), atol=1e-9)
        ours = vt.gap.decompose(given, x + c, condition=c, max_steps=100)
        theirs = vt.gap.decompose(model, x, max_steps=100)
        np.testing.assert_allclose(ours.approximation, theirs.approximation, atol=1e-9)
        assert (ours.total_error == 0).all()

    def test_a_row_for_each_example(self):
        for measure in (vt.gap.total, vt.gap.decompose):
            with pytest.raises(ValueError, match="Expected `condition` with a row for each of 3"):
                measure(Shifted(), BENT_X, condition=SHIFT[:2])


class TestAnyExactModel:
    def test_no_class_is_asked_for(self, rng):
        """Closed forms, and no `LinearGaussian`: they are used, and nothing is sampled."""
        model, x = random_linear(rng, 5, 2, noise=0.6)

        class Own:
            prior, encode, decode = model.prior, model.encode, model.decode
            log_evidence, posterior, elbo = model.log_evidence, model.posterior, model.elbo

        ours = vt.gap.total(Own(), x)
        np.testing.assert_array_equal(ours, vt.gap.total(model, x))
        assert (ours.error == 0).all()

    def test_an_encoder_that_is_not_gaussian_is_sampled(self, rng):
        model, x = random_linear(rng, 5, 2, noise=0.6)

        class Heavy(vt.linear.LinearGaussian):
            def encode(self, x):
                q = super().encode(x)
                return Independent(tfd.StudentT(np.float64(9.0), q.mean(), q.stddev()), 1)

        heavy = Heavy(model.weights, model.mean, model.scale)
        gap = vt.gap.total(heavy, x, 4000, seed=0)
        one_pass = vt.elbo.forward(heavy, x, 4000, seed=1)
        log_w = vt.elbo.log_weights(one_pass).numpy()
        error = np.hypot(gap.error, log_w.std(axis=0) / np.sqrt(4000))
        assert (gap.error > 0).all()
        assert (np.abs(gap.elbo - log_w.mean(axis=0)) < 4 * error).all()
        np.testing.assert_allclose(gap.log_evidence, model.log_evidence(x))


class TestBrokenModels:
    @pytest.mark.usefixtures("graph")
    @pytest.mark.parametrize("family", ["diag", "tril"])
    def test_nan_gives_nan_or_an_error(self, binary_digits, family):
        vae, x = make_vae(2), binary_digits[1][:3]
        for variable in vae.trainable_variables:
            variable.assign(np.full(variable.shape, np.nan))
        how = {"log_evidence": np.zeros(3), "num_samples": 10, "max_steps": 100, "seed": 0}
        parts = vt.gap.decompose(vae, x, family, **how)
        for name in ("total", "approximation", "amortization", "optimization_error", "best_elbo"):
            assert np.isnan(getattr(parts, name)).all(), name
        try:
            gap = vt.gap.total(vae, x, 10, seed=0)
        except ValueError as error:
            assert "NaN" in str(error)
        else:
            assert np.isnan(gap.total).all()


class TestPrecision:
    @pytest.mark.usefixtures("graph")
    @pytest.mark.parametrize("family", ["diag", "tril", "flow"])
    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    def test_data_of_either_precision(self, linear_vae, dtype, family):
        model, _, x = linear_vae
        vae = model.to_vae(dtype=dtype)
        how = {"num_samples": 20, "max_steps": 100, "seed": 0}
        how["log_evidence"] = model.log_evidence(x[:3])
        for data in (x[:3].astype("float32"), x[:3].astype("float64")):
            parts = vt.gap.decompose(vae, data, family, **how)
            assert parts.total.dtype == np.float64 and np.isfinite(parts.total).all()


class TestResults:
    def test_they_are_no_tuples(self, rng):
        model, x = random_linear(rng, 4, 2, noise=0.6)
        gap = vt.gap.total(model, x)
        assert gap.total is gap.estimate and gap.error is gap.standard_error and len(gap) == 10
        np.testing.assert_allclose(gap.total, gap.log_evidence - gap.elbo)
        with pytest.raises(TypeError):
            gap * 2
        with pytest.raises(AttributeError):
            gap.elbo = 0

    def test_no_examples(self, linear_vae):
        with pytest.raises(ValueError, match="Expected at least one example"):
            vt.gap.decompose(linear_vae[1], linear_vae[2][:0])


class TestCompiled:
    def test_what_xla_cannot_is_a_graph(self):
        def function(x):
            return tf.strings.to_number(tf.strings.as_string(x)) + 1

        program = best_q.Compiled(function, xla=True)
        assert program(tf.constant(2.0)) == 3.0
        assert program(tf.constant(3.0)) == 4.0


class TestRefusals:
    def test_arguments(self, trained, binary_digits):
        x = binary_digits[1][:2]
        for kwargs, message in (
            ({"family": "full"}, r"Expected `family` to be one of .*Received: 'full'"),
            ({"num_samples": 1}, "at least 2"),
            ({"num_samples": 2.5}, "Expected `num_samples` to be a positive integer"),
        ):
            with pytest.raises(ValueError, match=message):
                vt.gap.decompose(trained, x, **kwargs)
        with pytest.raises(TypeError, match="Expected `seed` to be an integer"):
            vt.gap.decompose(trained, x, seed="0")
        with pytest.raises(ValueError, match="another support"):
            vt.gap.decompose(trained, 0.5 * x, log_evidence=np.zeros(2))

    def test_one_latent_has_no_flow(self, binary_digits):
        with pytest.raises(ValueError, match="at least 2"):
            vt.gap.decompose(make_vae(1), binary_digits[1][:2], "flow", num_samples=2)
