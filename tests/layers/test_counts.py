"""Likelihoods of counts, against fifty decimal digits, SciPy, and a Gamma-Poisson mixture."""

import itertools
from decimal import Decimal, localcontext

import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
import tensorflow_probability as tfp
from conftest import B, S, make_vae
from scipy.special import digamma

import vae_tf as vt
from vae_tf.layers import support
from vae_tf.layers.counts import LogRate, MeanDispersion, ZeroInflated

tfd = tfp.distributions

# -- the oracle: log NB(x) in fifty digits, from Stirling's series beyond 40 ---------------------

_BERNOULLI = [(1, 6), (-1, 30), (1, 42), (-1, 30), (5, 66), (-691, 2730), (7, 6), (-3617, 510)]
_LOG_2PI = Decimal("1.8378770664093454835606594728112352797227949472756")


def _log_gamma(y):
    shift = Decimal(1)
    while y < 40:
        shift, y = shift * y, y + 1
    series = sum(
        Decimal(a) / b / (2 * k * (2 * k - 1) * y ** (2 * k - 1))
        for k, (a, b) in enumerate(_BERNOULLI, 1)
    )
    return (y - Decimal("0.5")) * y.ln() - y + _LOG_2PI / 2 + series - shift.ln()


def exact(x, log_mean, dispersion):
    """log NB(x) of the numbers given, to the last bit of a float64."""
    with localcontext() as context:
        context.prec = 50
        x, log_mean, dispersion = (Decimal(float(v)) for v in (x, log_mean, dispersion))
        r, mean = 1 / dispersion, log_mean.exp()
        binomial = _log_gamma(x + r) - _log_gamma(r) - _log_gamma(x + 1)
        log_odds = dispersion.ln() + log_mean
        return float(binomial + x * log_odds - (x + r) * (1 + dispersion * mean).ln())


COUNTS = (0, 1, 2, 7, 100, 9973, 999_000, 1_000_000)
MEANS = (1e-6, 1e-3, 0.3, 1.0, 8.0, 1e3, 1e6)
DISPERSIONS = (1e-6, 1e-4, 1e-2, 0.3, 1.0, 10.0, 1e3, 1e6)


@pytest.fixture(scope="module", params=["float32", "float64"])
def grid(request):
    """Every combination of the extremes: x, log-mean, dispersion and the exact log NB(x)."""
    points = np.array(list(itertools.product(COUNTS, MEANS, DISPERSIONS)))
    x, log_mean, dispersion = points[:, 0], np.log(points[:, 1]), points[:, 2]
    x, log_mean, dispersion = (v.astype(request.param) for v in (x, log_mean, dispersion))
    truth = [exact(*point) for point in zip(x, log_mean, dispersion, strict=True)]
    return x, log_mean, dispersion, np.array(truth)


def test_the_oracle_itself():
    assert float(_log_gamma(Decimal(5))) == pytest.approx(np.log(24), rel=1e-15)
    assert float(_log_gamma(Decimal("0.5"))) == pytest.approx(0.5 * np.log(np.pi), rel=1e-15)
    assert exact(3, np.log(2.0), 0.5) == pytest.approx(
        scipy.stats.nbinom(2, 0.5).logpmf(3), rel=1e-12
    )


class TestStability:
    """x in 0..1e6, means and dispersions in 1e-6..1e6, in the arithmetic that is used."""

    def test_log_prob_to_rounding(self, grid):
        x, log_mean, dispersion, truth = grid
        got = MeanDispersion(log_mean, dispersion).log_prob(x).numpy().astype("float64")
        # A rounding of the mean moves log NB by |x - mean| / (1 + dispersion mean): no formula
        # can do better. About ten roundings meet: eight times each is generous and no more.
        mean = np.exp(log_mean.astype("float64"))
        slope = np.abs(x - mean) / (1 + dispersion.astype("float64") * mean)
        tolerance = 8 * np.finfo(x.dtype).eps * (1 + np.abs(truth) + slope)
        assert np.max(np.abs(got - truth) / tolerance) <= 1
        if x.dtype == np.float32:  # the figure of the docstring
            assert np.abs(got - truth)[np.abs(truth) < 100].max() < 1e-4

    @pytest.mark.parametrize("dispersion", [1e-4, 0.5, 1e6])
    def test_a_mean_far_too_small_has_a_way_back(self, dispersion):
        """Of a mean down to exp(-80) the gradient is still that of the formula, and no NaN."""
        x = np.array([1.0, 1e4, 1e6], "float32")[:, None]
        log_mean = tf.constant(np.linspace(-80, -31, 8, dtype="float32"))
        with tf.GradientTape() as tape:
            tape.watch(log_mean)
            log_prob = MeanDispersion(log_mean, tf.constant(dispersion)).log_prob(x)
        assert np.isfinite(log_prob).all()
        slope = np.broadcast_to(x, (3, 8)).sum(axis=0)  # (x - mean) / (1 + dispersion mean)
        np.testing.assert_allclose(tape.gradient(log_prob, log_mean), slope, rtol=1e-5)

    def test_that_of_tfp_is_not_good_enough(self, grid):
        """The reason why the formula is ours: remove it when this fails."""
        x, log_mean, dispersion, truth = grid
        theirs = tfd.NegativeBinomial(
            1 / dispersion, log_mean + np.log(dispersion), require_integer_total_count=False
        )
        error = np.abs(theirs.log_prob(x).numpy() - truth)[np.abs(truth) < 100].max()
        assert error > (0.05 if x.dtype == np.float32 else 1e-11)

    def test_gradients_are_finite_and_right(self, grid):
        x, log_mean, dispersion, _ = grid
        parameters = [tf.constant(log_mean), tf.constant(dispersion)]
        with tf.GradientTape() as tape:
            tape.watch(parameters)
            log_prob = MeanDispersion(*parameters).log_prob(x)
        by_mean, by_dispersion = (g.numpy() for g in tape.gradient(log_prob, parameters))
        assert np.isfinite(by_mean).all() and np.isfinite(by_dispersion).all()
        x, log_mean, a = (v.astype("float64") for v in (x, log_mean, dispersion))
        mean, r, eps = np.exp(log_mean), 1 / a, np.finfo(grid[0].dtype).eps
        # d/d log mean = (x - mean) / (1 + dispersion mean), from terms of size x and mean
        size = (x + mean) / (1 + a * mean)
        assert np.all(np.abs(by_mean - (x - mean) / (1 + a * mean)) <= 8 * eps * size)
        # d/d log r = r [digamma(x + r) - digamma(r) + log(r / (r + mean)) - (x - mean)/(r + mean)]
        moderate = (r < 1e3) & (x < 1e4)  # beyond, SciPy's digammas cancel
        slope = r * (digamma(x + r) - digamma(r) - np.log1p(mean / r) - (x - mean) / (r + mean))
        wrong = np.abs(-a * by_dispersion - slope)[moderate]
        terms = 1 + x + r * (1 + np.log1p(mean / r) + np.abs(digamma(r)))
        assert np.all(wrong <= 8 * eps * terms[moderate])

    def test_zero_inflated_gradients_are_finite(self, grid):
        x, log_mean, dispersion, _ = grid
        for logit in (-80.0, 0.0, 80.0):
            gate = tf.fill([len(x)], tf.constant(logit, log_mean.dtype))
            parameters = [gate, tf.constant(log_mean), tf.constant(dispersion)]
            with tf.GradientTape() as tape:
                tape.watch(parameters)
                log_prob = ZeroInflated(*parameters).log_prob(x)
            assert np.isfinite(log_prob).all()
            assert all(np.isfinite(g).all() for g in tape.gradient(log_prob, parameters))

    def test_compiled_it_is_the_same(self, grid):
        x, log_mean, dispersion, truth = grid
        compiled = tf.function(
            lambda m, a: MeanDispersion(m, a).log_prob(x), jit_compile=True, autograph=False
        )
        mean = np.exp(log_mean.astype("float64"))
        slope = np.abs(x - mean) / (1 + dispersion.astype("float64") * mean)
        # XLA's own exp and log1p are good to a few units in the last place.
        tolerance = 64 * np.finfo(x.dtype).eps * (1 + np.abs(truth) + slope)
        assert np.max(np.abs(compiled(log_mean, dispersion) - truth) / tolerance) <= 1


class TestMeansOfAnySize:
    """The gradient by the log-mean, (x - mean) / (1 + dispersion mean), where mean^2 overflows."""

    LOG_MEANS = [-100.0, -60.0, -31.0, -29.0, 0.0, 30.0, 39.0, 41.0, 43.0, 45.0, 50.0, 60.0, 88.0]
    LOG_MEANS += [90.0, 200.0]  # exp leaves float32

    @pytest.mark.parametrize("dispersion", [1e-3, 0.5, 10.0])
    @pytest.mark.parametrize("kind", ["counted", "inflated"])
    def test_gradients(self, kind, dispersion):
        # Of a zero the gate would have its part, however nearly it is closed.
        x = np.array([0.0, 3.0, 1000.0][kind == "inflated" :], "float32")[:, None]
        log_mean = tf.constant(np.tile(self.LOG_MEANS, (len(x), 1)), tf.float32)
        with tf.GradientTape() as tape:
            tape.watch(log_mean)
            counts = log_mean, tf.constant(dispersion)
            closed = tf.constant(-800.0)  # a gate that lets nothing through
            p = MeanDispersion(*counts) if kind == "counted" else ZeroInflated(closed, *counts)
            log_prob = p.log_prob(x)
        assert np.isfinite(log_prob).all()
        mean, a = np.exp(np.float64(self.LOG_MEANS)), float(np.float32(dispersion))
        truth, size = (x - mean) / (1 + a * mean), (x + mean) / (1 + a * mean)
        got = tape.gradient(log_prob, log_mean)
        # as above, and log(mean / r) is rounded to half a unit of its size, here up to 200
        tolerance = np.finfo("float32").eps * (8 + np.abs(self.LOG_MEANS)) * size
        assert np.all(np.abs(got - truth) <= tolerance)

    @pytest.mark.parametrize("log_mean", [41.0, 60.0, 85.0])
    def test_log_prob_and_its_gradient_by_the_dispersion(self, log_mean):
        a = tf.constant([0.01, 0.5, 10.0])
        with tf.GradientTape() as tape:
            tape.watch(a)
            log_prob = MeanDispersion(tf.constant(log_mean), a).log_prob(3.0)
        truth = [exact(3.0, log_mean, value) for value in a.numpy()]
        np.testing.assert_allclose(log_prob, truth, rtol=8 * np.finfo("float32").eps)
        r = 1 / a.numpy().astype("float64")
        mean = np.exp(log_mean)
        by_log_r = r * (digamma(3 + r) - digamma(r) - np.log1p(mean / r) - (3 - mean) / (r + mean))
        np.testing.assert_allclose(-a * tape.gradient(log_prob, a), by_log_r, rtol=1e-5)


def exact_poisson(x, log_rate):
    with localcontext() as context:
        context.prec = 50
        x, log_rate = Decimal(float(x)), Decimal(float(log_rate))
        return float(x * log_rate - log_rate.exp() - _log_gamma(x + 1))


@pytest.fixture(scope="module", params=["float32", "float64"])
def points(request):
    counts = np.array([0, 1, 2, 7, 100, 9973, 99_999, 1_000_000, 10_000_000], "float64")
    ratios = np.array([1e-30, 1e-6, 0.5, 0.999, 1.0, 1.001, 3.0, 1e3])
    x, ratio = (v.ravel() for v in np.meshgrid(counts, ratios))
    log_rate = np.log(np.maximum(x, 1) * ratio).astype(request.param)
    return x.astype(request.param), log_rate, np.array(list(map(exact_poisson, x, log_rate)))


def rounding(x, log_rate, truth):
    """One rounding of each term of log Poisson(x).

    Terms of the size of log x are added to a deviance that float64 has held; there log rate -
    log x has lost the digits of log x, and counts |x - rate| times.
    """
    log_x = np.log(np.maximum(x, 1).astype("float64"))
    distance = np.abs(x - np.exp(log_rate.astype("float64")))
    lost = np.finfo("float64").eps * distance * (1 + np.abs(log_rate) + log_x)
    return np.finfo(x.dtype).eps * (1 + np.abs(truth) + log_x) + lost


class TestPoisson:
    """Against fifty digits: counts to 1e7, rates beside the count and far from it."""

    def test_log_prob_to_rounding(self, points):
        x, log_rate, truth = points
        got = LogRate(log_rate).log_prob(x).numpy().astype("float64")
        assert np.max(np.abs(got - truth) / rounding(x, log_rate, truth)) <= 4
        if x.dtype == np.float32:
            assert np.max(np.abs(got - truth) / np.maximum(1, np.abs(truth))) < 1e-5

    def test_gradient_is_x_minus_rate(self, points):
        x, log_rate, _ = points
        log_rate = tf.constant(log_rate)
        with tf.GradientTape() as tape:
            tape.watch(log_rate)
            log_prob = LogRate(log_rate).log_prob(x)
        gradient, rate = (
            tape.gradient(log_prob, log_rate),
            np.exp(log_rate.numpy().astype("float64")),
        )
        truth = x - rate
        size = np.finfo(x.dtype).eps * np.abs(truth) + 64 * np.finfo("float64").eps * (x + rate)
        assert np.all(np.abs(gradient - truth) <= 4 * size)

    def test_compiled_it_is_the_same(self, points):
        x, log_rate, truth = points
        compiled = tf.function(lambda r: LogRate(r).log_prob(x), jit_compile=True, autograph=False)
        eager = LogRate(log_rate).log_prob(x)
        # XLA's own exp and log are good to a few units in the last place
        assert np.max(np.abs(compiled(log_rate) - eager) / rounding(x, log_rate, truth)) <= 64

    def test_that_of_tfp_is_not_good_enough(self, points):
        """The reason why the formula is ours: remove it when this fails."""
        x, log_rate, truth = points
        near = np.abs(truth) < 100
        error = np.abs(tfd.Poisson(log_rate=log_rate).log_prob(x) - truth)[near].max()
        assert error > (0.1 if x.dtype == np.float32 else 1e-10)

    def test_many_large_counts_in_the_layers(self):
        """A bulk sample: 2,000 genes, 3.3 nats were lost."""
        rng = np.random.default_rng(0)
        log_rate = rng.normal(8, 2.5, 2000).astype("float32")
        x = rng.poisson(np.exp(np.float64(log_rate))).astype("float32")
        truth = sum(map(exact_poisson, x, log_rate))
        for layer in (vt.layers.Poisson(2000), vt.layers.DistributionLayer("Poisson", 2000)):
            p = layer(log_rate[None])
            assert isinstance(p.distribution, tfd.Poisson)
            # 2,000 terms of up to 12, each rounded, and float32 partial sums of up to 1e4
            tolerance = np.finfo("float32").eps * (np.sqrt(2000) * 12 * 4 + 8 * abs(truth))
            assert abs(float(p.log_prob(x[None])[0]) - truth) <= tolerance

    def test_moments_and_copies(self):
        p = LogRate(np.log([2.0, 5.0]))
        np.testing.assert_allclose(p.mean(), [2.0, 5.0], rtol=1e-15)
        np.testing.assert_allclose(p.copy(log_rate=np.log([3.0])).variance(), [3.0], rtol=1e-15)
        mass = np.exp(p.log_prob(np.arange(100.0)[:, None]))
        np.testing.assert_allclose(mass.sum(0), 1, rtol=1e-12)


class TestWhatTheyMean:
    MEAN, DISPERSION, GATE = 5.0, 0.4, -0.7

    def counted(self, dispersion=DISPERSION):
        return MeanDispersion(tf.constant(np.log(self.MEAN)), tf.constant(dispersion, "float64"))

    def inflated(self, gate=GATE):
        return ZeroInflated(
            tf.constant(gate, "float64"), np.log(self.MEAN), np.float64(self.DISPERSION)
        )

    @pytest.mark.parametrize("kind", ["counted", "inflated"])
    def test_sums_to_one_and_moments(self, kind):
        p = getattr(self, kind)()
        x = np.arange(2000.0)  # beyond: exp(-2000 * 0.4) at most
        mass = np.exp(p.log_prob(x))
        assert mass.sum() == pytest.approx(1, abs=1e-12)
        mean = mass @ x
        assert p.mean().numpy() == pytest.approx(mean, rel=1e-12)
        assert p.variance().numpy() == pytest.approx(mass @ (x - mean) ** 2, rel=1e-11)

    def test_variance_is_mean_plus_dispersion_times_its_square(self):
        assert self.counted().variance().numpy() == pytest.approx(5.0 + 0.4 * 25, rel=1e-15)

    def test_gamma_mixture_of_poissons(self):
        """NB(x) = int Gamma(rate; 1 / a, 1 / (a mean)) Poisson(x; rate) d rate, by quadrature."""
        log_rate = np.linspace(-60, 8, 20_001)
        weight = np.exp(
            scipy.stats.gamma(1 / 0.4, scale=0.4 * 5.0).logpdf(np.exp(log_rate)) + log_rate
        ) * (log_rate[1] - log_rate[0])
        x = np.arange(60.0)
        mixture = scipy.stats.poisson(np.exp(log_rate)).pmf(x[:, None]) @ weight
        np.testing.assert_allclose(np.exp(self.counted().log_prob(x)), mixture, rtol=1e-10)

    def test_the_parameters_of_tfp_deseq2_and_scvi(self):
        x, theta = np.arange(40.0), 1 / self.DISPERSION
        got = self.counted().log_prob(x)
        theirs = tfd.NegativeBinomial.experimental_from_mean_dispersion(
            np.float64(self.MEAN), np.float64(self.DISPERSION), require_integer_total_count=False
        )
        np.testing.assert_allclose(got, theirs.log_prob(x), rtol=1e-12)
        scvi = scipy.stats.nbinom(theta, theta / (theta + self.MEAN))
        np.testing.assert_allclose(got, scvi.logpmf(x), rtol=1e-12)

    def test_without_dispersion_a_poisson(self):
        x = np.arange(30.0)
        poisson = scipy.stats.poisson(self.MEAN).logpmf(x)
        # log NB = log Poisson + a [(x - mean)^2 - x] / 2 + O(a^2)
        a = 1e-8
        slope = (self.counted(a).log_prob(x) - poisson) / a
        np.testing.assert_allclose(slope, ((x - self.MEAN) ** 2 - x) / 2, rtol=1e-4, atol=1e-4)

    def test_gate_open_closed_and_in_between(self):
        x = np.arange(30.0)
        closed = self.inflated(-800.0).log_prob(x)
        np.testing.assert_allclose(closed, self.counted().log_prob(x), rtol=1e-13)
        opened = np.exp(self.inflated(800.0).log_prob(x))
        np.testing.assert_array_equal(opened, x == 0)
        gate = 1 / (1 + np.exp(-self.GATE))
        by_hand = gate * (x == 0) + (1 - gate) * np.exp(self.counted().log_prob(x))
        np.testing.assert_allclose(np.exp(self.inflated().log_prob(x)), by_hand, rtol=1e-12)

    @pytest.mark.parametrize("kind", ["counted", "inflated"])
    @pytest.mark.parametrize("jit_compile", [False, True])
    def test_samples(self, kind, jit_compile):
        p, n = getattr(self, kind)(), 40_000
        draw = tf.function(lambda: p.sample(n, seed=[0, 1]), jit_compile=jit_compile)
        x = draw().numpy()
        np.testing.assert_array_equal(x, draw())
        np.testing.assert_array_equal(x, np.floor(x))
        for statistic, truth in (
            (x, p.mean()),
            ((x - p.mean().numpy()) ** 2, p.variance()),
            (x == 0, np.exp(p.log_prob(0.0))),
            (x == 1, np.exp(p.log_prob(1.0))),
        ):
            assert abs(statistic.mean() - float(truth)) < 4 * statistic.std() / np.sqrt(n)

    def test_every_example_draws_its_own_zeros(self):
        p = ZeroInflated(np.float32(0.0), np.full(1000, np.log(50.0), "float32"), np.float32(0.1))
        assert 400 < np.sum(p.sample(seed=[0, 1]) == 0) < 600

    def test_samples_at_the_extremes(self):
        means, dispersions = np.meshgrid(np.float32(MEANS), np.float32(DISPERSIONS))
        x = MeanDispersion(np.log(means), dispersions).sample(7, seed=[0, 1]).numpy()
        assert np.isfinite(x).all() and x.min() >= 0


LAYERS = {
    "Poisson": lambda **kw: vt.layers.Poisson((2, 3), **kw),
    "learned": lambda **kw: vt.layers.NegativeBinomial((2, 3), **kw),
    "predicted": lambda **kw: vt.layers.NegativeBinomial((2, 3), dispersion="predicted", **kw),
    "fixed": lambda **kw: vt.layers.NegativeBinomial((2, 3), dispersion=0.3, **kw),
    "inflated": lambda **kw: vt.layers.ZeroInflatedNegativeBinomial((2, 3), **kw),
    "inflated, predicted": lambda **kw: vt.layers.ZeroInflatedNegativeBinomial(
        (2, 3), dispersion="predicted", **kw
    ),
}


def _parts(layer, raw):
    """By NumPy: mean, dispersion and gate of raw parameters, each [..., 2, 3] (or less)."""
    parts = [part.reshape(*part.shape[:-1], 2, 3) for part in np.split(raw, raw.shape[-1] // 6, -1)]
    kind, dispersion = type(layer).__name__, getattr(layer, "dispersion", None)
    gate = 1 / (1 + np.exp(-parts.pop())) if kind.startswith("ZeroInflated") else None
    if dispersion == "predicted":
        dispersion = 1e-6 + np.logaddexp(0, parts.pop() + np.log(np.expm1(1.0)))
    elif dispersion == "learned":
        dispersion = 1 + 1e-6
    return np.exp(parts[0]), dispersion, gate


def _numpy_log_prob(layer, raw, x, size=1.0):
    mean, dispersion, gate = _parts(layer, raw)
    mean = mean * size
    if dispersion is None:
        return scipy.stats.poisson(mean).logpmf(x).sum((-1, -2))
    mass = scipy.stats.nbinom(1 / dispersion, 1 / (1 + dispersion * mean)).pmf(x)
    mass = mass if gate is None else gate * (x == 0) + (1 - gate) * mass
    return np.log(mass).sum((-1, -2))


@pytest.mark.parametrize("name", LAYERS)
class TestLayers:
    def raw(self, layer, *lead):
        return np.random.default_rng(0).normal(size=(*lead, layer.input_size))

    def test_log_prob_against_numpy(self, name):
        layer = LAYERS[name](dtype="float64")
        raw, x = self.raw(layer, B), np.arange(B * 6.0).reshape(B, 2, 3) // 4
        expected = _numpy_log_prob(layer, raw, x)
        np.testing.assert_allclose(layer(raw).log_prob(x), expected, rtol=1e-10)

    def test_a_size_factor_multiplies_the_mean(self, name):
        layer = LAYERS[name](dtype="float64")
        raw, x = self.raw(layer, S, B), np.arange(B * 6.0).reshape(B, 2, 3) // 4
        size = np.linspace(0.2, 3, B)[:, None, None]
        p = layer(raw, size)
        assert (p.batch_shape, p.event_shape) == ((S, B), (2, 3))
        np.testing.assert_allclose(p.mean(), layer(raw).mean() * size, rtol=1e-12)
        expected = _numpy_log_prob(layer, raw, x, size)
        np.testing.assert_allclose(p.log_prob(x), expected, rtol=1e-10)
        shifted = raw.copy()  # the same as shifting the log-mean
        shifted[..., :6] += np.log(size)[..., 0]
        np.testing.assert_allclose(p.log_prob(x), layer(shifted).log_prob(x), rtol=1e-12)
        np.testing.assert_array_equal(
            layer(raw, size_factor=1.0).log_prob(x), layer(raw).log_prob(x)
        )

    def test_a_functional_decoder_with_two_inputs(self, name, tmp_path):
        z, size = keras.Input((4,)), keras.Input((1, 1))
        layer = LAYERS[name]()
        decoder = keras.Model([z, size], layer(keras.layers.Dense(layer.input_size)(z), size))
        assert decoder.output_shape == (None, 2, 3)
        rng = np.random.default_rng(1)
        inputs = [rng.normal(size=(B, 4)), rng.uniform(0.5, 2, size=(B, 1, 1))]
        x = np.ones((B, 2, 3), "float32")
        decoder.save(tmp_path / "decoder.keras")
        again = keras.saving.load_model(tmp_path / "decoder.keras")
        np.testing.assert_array_equal(decoder(inputs).log_prob(x), again(inputs).log_prob(x))
        for jit in (False, True):
            compiled = tf.function(lambda *v: decoder(list(v)).log_prob(x), jit_compile=jit)
            expected = decoder(inputs).log_prob(x)
            np.testing.assert_allclose(compiled(*inputs), expected, rtol=1e-5)

    def test_one_of_a_batch_and_the_support(self, name):
        p = LAYERS[name]()(tf.zeros([B, LAYERS[name]().input_size]))
        x = np.ones((S, 2, 3), "float32")
        assert p[:1].log_prob(x).shape == (S,)
        support.check(p[:1], x)
        for outside in (0.5, -1.0, np.nan, np.inf):
            with pytest.raises(ValueError, match="Expected `x` with whole numbers"):
                support.check(p[:1], np.where(np.arange(3) == 1, outside, x))

    def test_a_vae_trains_and_saves(self, name, tmp_path):
        vae = make_vae(2, LAYERS[name](), event=(2, 3))
        vae.compile("adam", jit_compile=name == "inflated, predicted")  # XLA once: it takes seconds
        x = np.random.default_rng(0).poisson(3.0, size=(60, 2, 3)).astype("float32")
        history = vae.fit(x, epochs=3, verbose=0).history["elbo"]
        assert np.isfinite(history).all() and history[-1] > history[0]
        vae.save(tmp_path / "vae.keras")
        loaded = keras.saving.load_model(tmp_path / "vae.keras")
        assert type(loaded.decoder.layers[-1]) is type(vae.decoder.layers[-1])
        np.testing.assert_array_equal(loaded.elbo(x, S, seed=1).elbo, vae.elbo(x, S, seed=1).elbo)
        sample = vae.sample(9, seed=0).numpy()
        np.testing.assert_array_equal(sample, np.floor(sample))


class TestArguments:
    def test_params_size(self):
        plain, inflated = vt.layers.NegativeBinomial, vt.layers.ZeroInflatedNegativeBinomial
        assert [plain.params_size((2, 3), d) for d in ("learned", "predicted", 0.1)] == [6, 12, 6]
        sizes = [inflated.params_size((2, 3), d) for d in ("learned", "predicted", 0.1)]
        assert sizes == [12, 18, 12]

    def test_a_learned_dispersion_is_one_for_each_dimension(self):
        layer = vt.layers.NegativeBinomial((2, 3))
        p = layer(tf.zeros([B, 6]))
        assert [w.shape for w in layer.trainable_weights] == [(2, 3)]
        np.testing.assert_allclose(p.distribution.dispersion, 1.0, rtol=1e-5)
        layer.raw_dispersion.assign(tf.fill([2, 3], -100.0))
        np.testing.assert_allclose(layer(tf.zeros([B, 6])).distribution.dispersion, 1e-6)

    @pytest.mark.parametrize("dispersion", [0, -1.0, "wide", None, True])
    def test_dispersions(self, dispersion):
        for layer in (vt.layers.NegativeBinomial, vt.layers.ZeroInflatedNegativeBinomial):
            with pytest.raises(ValueError, match="Expected `dispersion`.*Received"):
                layer(3, dispersion=dispersion)
        with pytest.raises(ValueError, match="Expected `min_dispersion`"):
            vt.layers.NegativeBinomial(3, min_dispersion=0)

    def test_size_factors(self):
        layer, params = vt.layers.NegativeBinomial(3), tf.zeros([B, 3])
        for size in (np.ones(B), np.ones((B, 3)), np.ones((B, 2))):
            with pytest.raises(ValueError, match=r"Expected `size_factor` of shape .*Received"):
                layer(params, size_factor=size)
        for size in (0.0, -np.ones((B, 1)), np.full((B, 1), np.nan)):
            with pytest.raises(
                ValueError, match=r"Expected `size_factor` to be positive.*Received"
            ):
                layer(params, size_factor=size)
        with pytest.raises(ValueError, match="Expected `size_factor` of shape"):
            layer(keras.Input((3,)), keras.Input((2,)))

    @pytest.mark.parametrize("dtype", ["int32", "int64", "uint8", "float64"])
    def test_a_size_factor_may_be_a_sum_of_counts(self, dtype):
        layer, params = vt.layers.NegativeBinomial(3), tf.zeros([B, 3])
        sizes = np.array([[3], [1], [7], [2], [200]], dtype)
        np.testing.assert_allclose(layer(params, sizes).mean(), np.tile(sizes, 3), rtol=1e-6)
        np.testing.assert_allclose(layer(params, size_factor=3).mean(), 3.0, rtol=1e-6)
        with pytest.raises(ValueError, match="Expected `size_factor` to be positive"):
            layer(params, 0 * sizes)

    def test_the_names_of_saved_models(self):
        for name in ("Poisson", "NegativeBinomial", "ZeroInflatedNegativeBinomial"):
            registered = keras.saving.get_registered_object(f"vae_tf>{name}")
            assert registered is getattr(vt.layers, name)
