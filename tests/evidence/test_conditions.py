"""Conditional models, p(x|c): each function of `evidence` and `elbo` against a closed form."""

import dataclasses

import numpy as np
import pytest
import scipy.special
import tensorflow as tf
import tensorflow_probability as tfp

import vae_tf as vt
from vae_tf._core import chunks, programs
from vae_tf._core.models import as_condition, given, is_exact
from vae_tf.evidence import annealing
from vae_tf.layers.distributions import Independent

tfd = tfp.distributions
B, C, D = 5, 3, 4  # examples, values of a condition, dimensions of x


class Shifted:
    """A linear-Gaussian model whose mean depends on c: log p(x|c) = log p(x - shift(c))."""

    def __init__(self, latents=2, exact=False):
        rng = np.random.default_rng(0)
        self.line = vt.linear.LinearGaussian(rng.normal(size=(D, latents)), np.zeros(D), 0.7)
        self.prior, self.shift = self.line.prior, 3 * rng.normal(size=(C, D))
        self.traces = 0
        if exact:
            self.log_evidence = lambda x, condition: self.truth(x, condition)
            self.posterior = lambda x, condition: self.line.posterior(x - self._of(condition))
            self.elbo = lambda x, q_z, condition: self.line.elbo(x - self._of(condition), q_z)

    def _of(self, condition):
        return tf.cast(condition, tf.float64) @ self.shift  # [B, D]

    def encode(self, x, condition):
        self.traces += 1
        q_z = self.line.encode(tf.cast(x, tf.float64) - self._of(condition))
        return Independent(tfd.Normal(q_z.mean() + 0.1, 1.2 * q_z.stddev()), 1)

    def decode(self, z, condition):
        p_x = self.line.decode(z)
        return Independent(tfd.Normal(p_x.mean() + self._of(condition), self.line.scale), 1)

    def truth(self, x, condition):
        return self.line.log_evidence(x - condition @ self.shift)


class InTwoParts(Shifted):
    """The same, with a condition of two parts: labels and a factor, [B] and [B, 1]."""

    def _of(self, condition):
        label, factor = condition
        return factor * tf.gather(self.shift, label)

    def truth(self, x, condition):
        return self.line.log_evidence(x - condition[1] * self.shift[condition[0]])


def one_hot(rng, count=B):
    return np.eye(C)[rng.integers(C, size=count)]


@pytest.fixture
def data(rng):
    condition = np.eye(C)[[0, 2, 0, 1, 2]]
    return rng.normal(size=(B, D)), condition


@pytest.fixture(params=["one part", "two parts"])
def case(request, rng):
    x, label = rng.normal(size=(B, D)), np.array([0, 2, 0, 1, 2])
    if request.param == "one part":
        return Shifted(), x, np.eye(C)[label]
    return InTwoParts(), x, (label, np.array([1.0, 0.5, 1.0, 2.0, 0.5])[:, None])


class TestEveryFunction:
    def test_grid(self, case):
        model, x, condition = case
        grid = vt.evidence.grid(model, x, condition=condition)
        assert (np.abs(grid.estimate - model.truth(x, condition)) <= grid.standard_error).all()
        assert (grid.standard_error < 1e-3).all()

    def test_iwae_and_cubo(self, case):
        model, x, condition = case
        truth = model.truth(x, condition)
        for kind in (vt.evidence.iwae, vt.evidence.cubo):
            bound = kind(model, x, 20_000, condition=condition, seed=0)
            trusted = ~bound.refused  # k-hat of w^2 is near its limit for one of them
            assert trusted.sum() >= 4 and (bound.standard_error[trusted] < 0.05).all()
            off = bound.estimate - truth
            if kind is vt.evidence.iwae:
                assert trusted.all() and (np.abs(off) < 4 * bound.standard_error).all()
            else:
                assert (off > -4 * bound.standard_error).all() and off[trusted].mean() > 0

    def test_ais_and_bracket(self, case):
        model, x, condition = case
        truth = model.truth(x, condition)
        lower = vt.evidence.ais(model, x, 32, 40, condition=condition, seed=0)
        assert (np.abs(lower.estimate - truth) < 4 * lower.standard_error).all()
        both = vt.evidence.bracket(
            model, x, condition=condition, num_steps=40, num_simulated=3, seed=1
        )
        low, high = both.limits(0.999)
        assert ((low <= truth) & (truth <= high)).all() and both.simulated_width.shape == (3,)
        assert not both.certified

    def test_elbo(self, case):
        model, x, condition = case
        one_pass = vt.elbo.forward(model, x, 7, condition=condition, seed=0)
        assert one_pass.z.shape == (7, B, 2) and one_pass.p_x.batch_shape == (7, B)
        terms, error = vt.elbo.moments(model, x, 4000, condition=condition, seed=0)
        again = vt.elbo.estimate(model, x, 4000, condition=condition, seed=0)
        np.testing.assert_allclose(again.elbo, terms.elbo, atol=8 * error.max())
        # log p(x) - ELBO = KL(q || posterior), both Gaussian.
        q_z = given(model, as_condition(condition, B)).encode(x)
        shifted = x - np.asarray(model._of(condition))
        gap = tfd.kl_divergence(q_z, model.line.posterior(shifted)).numpy()
        assert (np.abs(model.truth(x, condition) - gap - terms.elbo) < 4 * error).all()

    def test_log_joint_and_eubo(self, case):
        model, x, condition = case
        shifted = x - np.asarray(model._of(condition))
        z = model.line.posterior(shifted).sample(4000, seed=[0, 1])
        joint = vt.elbo.log_joint(model, x, z[:7], condition=condition)
        expected = vt.elbo.log_joint(model.line, shifted, z[:7])
        np.testing.assert_allclose(joint, expected, atol=1e-9)
        bound = vt.evidence.eubo(model, x, z, condition=condition)
        q_z = given(model, as_condition(condition, B)).encode(x)
        gap = tfd.kl_divergence(model.line.posterior(shifted), q_z).numpy()
        off = bound.estimate - model.truth(x, condition) - gap
        assert (np.abs(off) < 4 * bound.standard_error).all()

    def test_simulate(self, rng):
        model, condition = Shifted(), one_hot(rng, 4000)
        x, z = vt.evidence.simulate(model, 4000, condition=condition, seed=0)
        noise = x - condition @ model.shift - z @ model.line.weights.T
        error = model.line.scale / np.sqrt(4000)
        assert (np.abs(noise.mean(axis=0)) < 4 * error).all()
        assert (np.abs(noise.std(axis=0) - model.line.scale) < 4 * error).all()

    def test_enumeration(self, rng):
        class Coin:
            prior = Independent(tfd.Bernoulli(probs=np.array([0.3, 0.6]), dtype=tf.float64), 1)
            decoded = 0

            def decode(self, z, condition):
                self.decoded += z.shape[0]
                return Independent(tfd.Normal(tf.cast(z, tf.float64) + condition, 0.5), 1)

        model, x, condition = Coin(), rng.normal(size=(B, 2)), np.array([0, 1, 0, 2, 1])[:, None]
        condition = condition.astype("float64")
        found = vt.evidence.enumeration(model, x, condition=condition)
        once = model.decoded
        joint = given(model, as_condition(condition, B)).decode(found.states[:, None]).log_prob(x)
        joint += tf.cast(model.prior.log_prob(found.states), tf.float64)[:, None]
        expected = scipy.special.logsumexp(joint, axis=0)
        assert (np.abs(found.estimate - expected) <= found.standard_error + 1e-14).all()
        assert once == 3 * 4 + B  # four states for each of three conditions, and the best of each


class TestParts:
    def test_rows_of_the_condition_go_with_the_rows_of_x(self, case, monkeypatch):
        """Two examples and one sample at a time, in one graph for all parts of a shape."""
        model, x, condition = case
        monkeypatch.setattr(chunks, "BUDGET", 2 * D)
        monkeypatch.setattr(annealing, "_EXAMPLES", 2)
        bound = vt.evidence.iwae(model, x, 200, condition=condition, seed=0)
        assert model.traces <= 2 * (programs._EAGERLY + 1)  # parts of two shapes, [2] and [1]
        truth = model.truth(x, condition)
        assert (np.abs(bound.estimate - truth) < 5 * bound.standard_error).all()
        lower = vt.evidence.ais(model, x, 8, 20, condition=condition, seed=0)
        assert (np.abs(lower.estimate - truth) < 5 * lower.standard_error).all()

    def test_a_grid_is_decoded_once_for_each_condition(self, data):
        x, condition = data
        model = Shifted()
        seen, decode = [], model.decode

        def counted(z, condition):
            seen.append(tuple(condition.shape))
            return decode(z, condition)

        model.decode = counted
        vt.evidence.grid(model, x, condition=condition)
        assert (1, C) in seen and seen.count((1, C)) <= 3 * 12

    def test_the_order_of_the_examples_is_kept(self, data):
        x, condition = data
        model, order = Shifted(), np.array([3, 1, 4, 0, 2])
        a = vt.evidence.grid(model, x, condition=condition).estimate
        b = vt.evidence.grid(model, x[order], condition=condition[order]).estimate
        np.testing.assert_allclose(b, a[order], atol=1e-9)


class TestNoCondition:
    def test_it_changes_nothing(self, rng):
        line, x = Shifted().line, rng.normal(size=(B, D))
        for kind in (
            lambda **c: vt.evidence.iwae(line, x, 50, seed=0, **c),
            lambda **c: vt.evidence.grid(line, x, **c),
            lambda **c: vt.evidence.ais(line, x, 4, 5, seed=0, **c),
            lambda **c: vt.elbo.estimate(line, x, 50, seed=0, **c).elbo,
        ):
            np.testing.assert_array_equal(kind(), kind(condition=None))


class TestExactModels:
    def test_a_closed_form_is_used_and_certified(self, data):
        x, condition = data
        model = Shifted(exact=True)
        assert is_exact(model) and is_exact(given(model, (condition,)))
        both = vt.evidence.bracket(
            model, x, condition=condition, num_steps=20, num_simulated=0, seed=0
        )
        assert both.certified
        exact = given(model, as_condition(condition, B))
        np.testing.assert_allclose(exact.log_evidence(x), model.truth(x, condition))
        assert exact.posterior(x).batch_shape == (B,)
        parts = vt.gap.decompose(model, x, condition=condition)
        np.testing.assert_allclose(parts.log_evidence, model.truth(x, condition))

    def test_the_linear_model_is_one(self):
        line = Shifted().line
        assert is_exact(line) and isinstance(line, vt.LatentModel)


class TestConditions:
    def test_wrong_numbers_of_rows(self, data):
        x, condition = data
        for function in (vt.evidence.grid, vt.evidence.bracket, vt.elbo.forward):
            with pytest.raises(ValueError, match="a row for each of 5 examples. Received: 4 rows"):
                function(Shifted(), x, condition=condition[:4])

    def test_a_list_of_numbers_is_one_array_and_one_of_arrays_is_several(self):
        assert len(as_condition([[1.0, 0.0], [0.0, 1.0]], 2)) == 1
        assert len(as_condition([np.zeros(2), np.zeros((2, 3))], 2)) == 2
        assert len(as_condition((np.zeros(2),), 2)) == 1


def test_results_are_frozen(data):
    x, condition = data
    bound = vt.evidence.iwae(Shifted(), x, 5, condition=condition, seed=0)
    with pytest.raises(dataclasses.FrozenInstanceError):
        bound.estimate = None
