"""Gradients of the K-sample bound, and their noise: quadrature, definitions, known moments."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import scipy.special
import scipy.stats
import tensorflow as tf
from conftest import make_vae, random_linear

import vae_tf as vt
from vae_tf.diagnostics.gradients import signal_to_noise

IWAE = vt.objectives.IWAE
GRADIENTS = ("standard", "stl", "dreg")
FLOAT64 = {"dtype": "float64"}


def values_of(variables):
    return [v.value for v in variables]


def gradient_of(vae, objective, forward, weights=None):
    """{variable: gradient} of the mean, or the weighted sum, of an objective over a pass.

    `forward` is a function, for the pass itself must be on the tape.
    """
    with tf.GradientTape() as tape:
        each = objective(forward())
        total = tf.reduce_mean(each) if weights is None else tf.reduce_sum(weights * each)
    variables = vae.trainable_variables
    found = tape.gradient(total, values_of(variables), unconnected_gradients="zero")
    return {v.path: g for v, g in zip(variables, found, strict=True)}


def part(gradient, vae, encoder):
    """The entries of the encoder, or those of decoder and prior, as one vector."""
    paths = {v.path for v in vae.encoder.trainable_variables}
    chosen = [np.ravel(g) for path, g in gradient.items() if (path in paths) == encoder]
    return np.concatenate(chosen)


def assert_close(found, truth, **tolerance):
    assert found.keys() == truth.keys()
    for path in truth:
        np.testing.assert_allclose(found[path], truth[path], err_msg=path, **tolerance)


# One latent, so that means over the samples of z are sums over the nodes of a quadrature.

X = 1.3  # the one example
NODES, NODE_WEIGHTS = np.polynomial.hermite_e.hermegauss(60)
NODE_WEIGHTS /= NODE_WEIGHTS.sum()


def one_latent():
    """x = a tanh(z) + b plus noise; encoder, decoder, noise and a mixture as prior are learned."""
    normal = vt.layers.Normal(1, scale="learned", **FLOAT64)
    vae = vt.VAE(
        vt.networks.mlp(1, vt.layers.NormalDiag(1, **FLOAT64), hidden=(), **FLOAT64),
        vt.networks.mlp(1, normal, hidden=(1,), **FLOAT64),
        vt.priors.MixtureOfNormals(1, 2, **FLOAT64),
        **FLOAT64,
    )
    rng = np.random.default_rng(3)
    for variable in vae.trainable_variables:
        variable.assign(0.5 * rng.normal(size=variable.shape))
    return vae


def on_nodes(vae, num_samples):
    """A pass with a gate, one example for each K-tuple of nodes; and the tuples' weights."""
    noise = np.stack(np.meshgrid(*[NODES] * num_samples)).reshape(num_samples, -1, 1)
    weights = np.prod(np.meshgrid(*[NODE_WEIGHTS] * num_samples), axis=0).ravel()

    def forward():
        x = tf.fill([len(weights), 1], tf.constant(X, tf.float64))
        q_z = vae.encode(x)
        z, gate = vt.elbo.gated(q_z.mean() + q_z.stddev() * noise)
        return vt.elbo.GatedForward(x, vae.prior, q_z, z, vae.decode(z), gate=gate)

    return forward, weights


def expected_bound(vae, num_samples):
    """E[L_K] by NumPy and SciPy alone, from the numbers in the weights."""

    def scale(raw, floor):
        return floor + np.log1p(np.exp(raw + np.log(np.expm1(1.0))))

    log_normal = scipy.stats.norm.logpdf
    kernel, bias = vae.encoder.layers[0].get_weights()
    loc, raw = X * kernel[0] + bias
    z = loc + scale(raw, 1e-6) * NODES
    (slope, shift), (a, b), (noise,) = (layer.get_weights() for layer in vae.decoder.layers)
    mean = a[0] * np.tanh(slope[0] * z + shift) + b
    prior = vae.prior_layer
    log_share = scipy.special.log_softmax(prior.logits.numpy())[:, None]
    components = log_share + log_normal(z, prior.loc.numpy(), scale(prior.raw_scale.numpy(), 1e-3))
    log_w = log_normal(X, mean, scale(noise, 1e-6)) - log_normal(z, loc, scale(raw, 1e-6))
    log_w += scipy.special.logsumexp(components, axis=0)
    bound = scipy.special.logsumexp(np.meshgrid(*[log_w] * num_samples), axis=0)
    weights = np.prod(np.meshgrid(*[NODE_WEIGHTS] * num_samples), axis=0)
    return (weights * (bound - np.log(num_samples))).sum()


def expected_gradient(vae, num_samples, step=1e-3):
    """The gradient of E[L_K] by differences, with an error of the order of step^4."""

    def at(variable, start, i, move):
        moved = np.array(start)
        moved[i] += move * step
        variable.assign(moved)
        return expected_bound(vae, num_samples)

    gradient = {}
    for variable in vae.trainable_variables:
        start = variable.numpy()
        gradient[variable.path] = np.zeros(start.shape)
        for i in np.ndindex(start.shape):
            near, far = (at(variable, start, i, n) - at(variable, start, i, -n) for n in (1, 2))
            gradient[variable.path][i] = (8 * near - far) / (12 * step)
        variable.assign(start)
    return gradient


class TestExpectation:
    """Nothing is random here: a gradient has the right mean to eight digits, or has not."""

    @pytest.mark.parametrize("num_samples", [1, 2])
    def test_on_average_it_is_the_gradient_of_the_bound(self, num_samples):
        vae = one_latent()
        truth = expected_gradient(vae, num_samples)
        assert all(np.abs(g).max() > 1e-3 for g in truth.values())  # each of them is at stake
        forward, weights = on_nodes(vae, num_samples)
        for gradient in GRADIENTS if num_samples == 1 else ("standard", "dreg"):
            found = gradient_of(vae, IWAE(num_samples, gradient), forward, weights)
            assert_close(found, truth, atol=1e-8, rtol=0)

    def test_stl_is_biased_for_two_samples_in_the_encoder_alone(self):
        vae = one_latent()
        truth = expected_gradient(vae, 2)
        forward, weights = on_nodes(vae, 2)
        found = gradient_of(vae, IWAE(2, "stl"), forward, weights)
        bias = part(found, vae, True) - part(truth, vae, True)
        assert np.linalg.norm(bias) > 0.1 * np.linalg.norm(part(truth, vae, True))
        np.testing.assert_allclose(part(found, vae, False), part(truth, vae, False), atol=1e-8)

    @pytest.mark.parametrize("jit", [False, True])
    def test_compiled_it_is_the_same(self, jit):
        vae = one_latent()
        forward, weights = on_nodes(vae, 2)
        objectives = [IWAE(2, gradient) for gradient in GRADIENTS]

        def gradients():
            return [gradient_of(vae, one, forward, weights) for one in objectives]

        compiled = tf.function(gradients, jit_compile=jit, autograph=False)
        for found, eager in zip(compiled(), gradients(), strict=True):
            assert_close(found, eager, rtol=1e-9, atol=1e-12)


# Any number of latents: the definitions, for one set of samples.

POSTERIORS = {
    "NormalDiag": lambda: vt.layers.NormalDiag(2, **FLOAT64),
    "NormalTriL": lambda: vt.layers.NormalTriL(2, **FLOAT64),
    "CouplingFlow": lambda: vt.layers.CouplingFlow(2, **FLOAT64),
}


def small_vae(posterior, objective):
    likelihood = vt.layers.Bernoulli(6, **FLOAT64)
    return vt.VAE(
        vt.networks.mlp(6, posterior, hidden=(5,), **FLOAT64),
        vt.networks.mlp(2, likelihood, hidden=(5,), **FLOAT64),
        vt.priors.MixtureOfNormals(2, 3, **FLOAT64),
        objective,
        **FLOAT64,
    )


def by_definition(vae, x, seed):
    """All three gradients, from their terms: what the docstring of `IWAE` says, literally."""
    body, to_q = keras.Sequential(vae.encoder.layers[:-1]), vae.encoder.layers[-1]
    with tf.GradientTape(persistent=True) as tape:
        params = body(x)
        z = to_q(params).sample(vae.objective.num_samples, seed=vt.random.as_seed(seed))
        fixed_z, fixed_q = tf.stop_gradient(z), to_q(tf.stop_gradient(params))
        tape.watch(fixed_z)
        log_p = vae.decode(fixed_z).log_prob(x) + vae.prior.log_prob(fixed_z)
        log_w = log_p - fixed_q.log_prob(fixed_z)  # [S, B]
        log_q = to_q(params).log_prob(fixed_z)
    share = tf.nn.softmax(log_w, axis=0)
    into_z = tape.gradient(log_w, fixed_z)  # [S, B, L]

    def gradient(target, upstream):
        variables = values_of(vae.trainable_variables)
        found = tape.gradient(target, variables, upstream / len(x), unconnected_gradients="zero")
        return np.array([np.concatenate([np.ravel(g) for g in found])])

    model, score = gradient(log_p, share), gradient(log_q, share)
    path, doubly = (gradient(z, share[..., None] ** n * into_z) for n in (1, 2))
    return {"standard": model + path - score, "stl": model + path, "dreg": model + doubly}


def as_row(gradient):
    return np.array([np.concatenate([np.ravel(g) for g in gradient.values()])])


@pytest.fixture
def x(rng):
    return (rng.random((5, 6)) < 0.4).astype("float64")


class TestDefinition:
    @pytest.mark.parametrize("posterior", POSTERIORS)
    def test_sample_by_sample(self, posterior, x):
        vae = small_vae(POSTERIORS[posterior](), IWAE(4, "dreg"))
        truth = by_definition(vae, x, seed=7)
        for name in GRADIENTS:
            found = gradient_of(vae, IWAE(4, name), lambda: vae(x, seed=7))
            np.testing.assert_allclose(as_row(found), truth[name], rtol=1e-9, atol=1e-12)
        for one, other in (("standard", "stl"), ("standard", "dreg"), ("stl", "dreg")):
            assert np.abs(truth[one] - truth[other]).max() > 1e-3  # they can be told apart

    @pytest.mark.parametrize("gradient", GRADIENTS)
    def test_the_value_is_the_bound_to_the_bit(self, gradient, x):
        vae = small_vae(POSTERIORS["NormalTriL"](), IWAE(4, gradient))
        one_pass = vae(x, seed=7)
        np.testing.assert_array_equal(vae.objective(one_pass), IWAE(4)(one_pass))

    def test_an_objective_that_leaves_the_gate_alone_does_not_feel_it(self, x):
        vae = small_vae(POSTERIORS["NormalDiag"](), IWAE(4, "dreg"))
        for objective in (vt.objectives.ELBO(), IWAE(4), IWAE(4, "stl")):
            found, expected = (
                gradient_of(
                    vae, objective, lambda gate=gate: vt.elbo.forward(vae, x, 4, seed=7, gate=gate)
                )
                for gate in (True, False)
            )
            assert_close(found, expected, rtol=1e-12)

    def test_one_example_of_no_weight_in_the_loss(self, x):
        vae = small_vae(POSTERIORS["NormalDiag"](), IWAE(4, "dreg"))
        weights = tf.constant([0.3, 0.0, 0.7, -2.0, 1.0], tf.float64)
        found = gradient_of(vae, vae.objective, lambda: vae(x, seed=7), weights)
        singly = 0
        for i, weight in enumerate(weights.numpy()):
            alone = tf.one_hot(i, 5, dtype=tf.float64)
            own = gradient_of(vae, vae.objective, lambda: vae(x, seed=7), alone)
            singly = singly + weight * as_row(own)
        np.testing.assert_allclose(as_row(found), singly, rtol=1e-9, atol=1e-12)


class TestWhereQIsThePosterior:
    """One latent, linear and Gaussian: every log weight is log p(x), and z makes no noise."""

    @pytest.mark.parametrize("num_samples", [1, 7])
    def test_the_gradient_of_the_encoder_vanishes(self, rng, num_samples):
        model, x = random_linear(rng, 5, 1)
        vae = model.to_vae()
        largest = {
            name: np.abs(
                part(
                    gradient_of(
                        vae,
                        IWAE(num_samples, name),
                        lambda: vt.elbo.forward(vae, x, num_samples, seed=1, gate=True),
                    ),
                    vae,
                    encoder=True,
                )
            ).max()
            for name in GRADIENTS
        }
        assert largest["stl"] < 1e-12 and largest["dreg"] < 1e-12 < 1e-2 < largest["standard"]

    @pytest.mark.parametrize(
        "gradient, mode",
        [
            *[("dreg", mode) for mode in ("run_eagerly", "graph", "jit_compile")],
            *[(gradient, "graph") for gradient in ("standard", "stl")],
        ],
    )
    def test_a_training_step_moves_the_decoder_only(self, rng, gradient, mode):
        model, x = random_linear(rng, 5, 1)
        vae = model.to_vae(objective=IWAE(3, gradient), seed=0)
        vae.compile(keras.optimizers.SGD(1e-3), **({} if mode == "graph" else {mode: True}))
        before = [network.get_weights() for network in (vae.encoder, vae.decoder)]
        vae.fit(x, verbose=0)
        after = [network.get_weights() for network in (vae.encoder, vae.decoder)]
        encoder, decoder = (
            max(np.abs(a - b).max() for a, b in zip(*pair, strict=True))
            for pair in zip(before, after, strict=True)
        )
        assert (encoder < 1e-14) == (gradient != "standard") and decoder > 1e-5


class TestStockKeras:
    def test_mixed_precision_and_a_scaled_loss(self, x):
        """The gradients of float32 to three digits, whatever the loss was multiplied by."""

        def gradients(policy, scale):
            before = keras.config.dtype_policy()
            keras.config.set_dtype_policy(policy)
            try:
                keras.utils.set_random_seed(0)
                vae = make_vae(2, objective=IWAE(5, "dreg"), hidden=(8,), seed=0)
                images = np.tile(x[:, :2, None].astype("float32"), [1, 4, 8])  # [B, 8, 8]
                return [
                    as_row(gradient_of(vae, objective, lambda: vae(images, seed=1), scale)) / scale
                    for objective in (vae.objective, IWAE(5, "stl"))
                ]
            finally:
                keras.config.set_dtype_policy(before)

        dreg, stl = gradients("float32", 1.0)
        mixed, _ = gradients("mixed_float16", 256.0)
        size = np.linalg.norm(dreg)
        assert np.linalg.norm(mixed - dreg) < 0.01 * size < 0.1 * size < np.linalg.norm(stl - dreg)

    def test_two_replicas_take_the_step_of_one(self):
        run = subprocess.run([sys.executable, "-c", REPLICAS], capture_output=True, text=True)
        assert run.returncode == 0, run.stderr[-3000:]

    def test_a_pass_without_a_gate_is_refused(self, x):
        vae = small_vae(POSTERIORS["NormalDiag"](), IWAE(4, "dreg"))
        with pytest.raises(ValueError, match=r"Expected one of vae\(x\).*Received"):
            vae.objective(vt.elbo.forward(vae, x, 4))
        assert vae.objective(vae(x)).shape == (5,)

    @pytest.mark.parametrize("wrong", ["DReG", None, 2])
    def test_no_such_gradient(self, wrong):
        with pytest.raises(ValueError, match="Expected `gradient` to be .*Received"):
            IWAE(4, gradient=wrong)


# Each replica has half of the batch and, by the fixed seed, the samples that this half would have
# alone: their common step is the mean of the two halves' gradients.
REPLICAS = """
import os
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import keras, numpy as np, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import vae_tf as vt

class Fixed(vt.VAE):
    def call(self, x, num_samples=None, *, seed=None, training=False):
        return super().call(x, num_samples, seed=7, training=training)

def make():
    keras.utils.set_random_seed(0)
    networks = (
        vt.networks.mlp(6, vt.layers.NormalDiag(3), hidden=(8,)),
        vt.networks.mlp(3, vt.layers.Bernoulli(6), hidden=(8,)),
    )
    vae = Fixed(*networks, objective=vt.objectives.IWAE(4, gradient="dreg"))
    vae.compile(keras.optimizers.SGD(1.0))
    return vae

def gradient(vae, x):
    with tf.GradientTape() as tape:
        bound = tf.reduce_mean(vae.objective(vae(x)))
    return tape.gradient(bound, [v.value for v in vae.trainable_variables])

x = (np.random.default_rng(0).random((16, 6)) < 0.4).astype("float32")
one = make()
halves = [gradient(one, x[:8]), gradient(one, x[8:])]
with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
    two = make()
two.fit(x, batch_size=16, shuffle=False, verbose=0)
for v, a, b, w in zip(one.trainable_variables, *halves, two.trainable_variables, strict=True):
    np.testing.assert_allclose(w, v + (a + b) / 2, rtol=1e-5, atol=1e-6)
"""


# -- the noise of a gradient ---------------------------------------------------------------------


def from_table(table):
    """A gradient function that gives the rows of a table, one after the other."""
    rows, row = tf.constant(table), tf.Variable(0)

    def gradients(seed):
        del seed
        g = tf.gather(rows, row.assign_add(1) - 1)
        return {"all": [g[:3], tf.reshape(g[3:], [2, 2])], "last": [g[-1:]]}

    return gradients


class TestSignalToNoise:
    @pytest.mark.parametrize("far", [0.3, 100.0])
    @pytest.mark.parametrize("replicates", [3, 19, 50])
    def test_the_formulas(self, rng, replicates, far):
        """||E g||^2 is the mean of g_i . g_j over all i != j, another way to say it."""
        table = rng.normal(size=(replicates, 7)) + far * np.arange(7.0)
        found = signal_to_noise(from_table(table), replicates, seed=0)
        for name, g in (("all", table), ("last", table[:, -1:])):

            def squared(g):
                r = len(g)
                pairs = (g.sum(0) @ g.sum(0) - (g**2).sum()) / (r * (r - 1))
                return pairs / g.var(axis=0, ddof=1).sum()

            groups = np.array_split(np.arange(replicates), min(20, replicates))
            without = [squared(np.delete(g, rows, axis=0)) for rows in groups]
            error = np.sqrt((len(groups) - 1) * np.var(without))
            snr = np.sqrt(squared(g))
            result = found[name]
            np.testing.assert_allclose(result.snr, snr, rtol=1e-9)
            np.testing.assert_allclose(
                result.standard_error,
                max(np.sqrt(snr**2 + error) - snr, snr - np.sqrt(max(snr**2 - error, 0))),
                rtol=1e-6,
            )
            np.testing.assert_allclose(result.noise**2, g.var(axis=0, ddof=1).sum(), rtol=1e-9)
            np.testing.assert_allclose(result.signal, snr * result.noise, rtol=1e-9)
        mean, spread = table.mean(0), table.std(0, ddof=1)
        result = found["all"]
        for values, expected in (
            (result.mean, mean),
            (result.deviation, spread),
            (result.parameters, np.abs(mean) / spread),
        ):
            assert [v.shape for v in values] == [(3,), (2, 2)]
            np.testing.assert_allclose(np.concatenate([v.ravel() for v in values]), expected)

    def test_a_small_signal_and_its_error(self):
        """N(m, I) in five dimensions, SNR 0.2, from 25 replicates: 1/sqrt(R) is 0.2 as well.

        Over repetitions SNR^2 is right on average, where it was not set to zero, and the truth is
        within three of the stated errors nearly always.
        """
        size, replicates, truth = 5, 25, 0.2

        def gradients(seed):
            normal = tf.random.stateless_normal([size], seed, dtype=tf.float64)
            return {"g": [truth + normal]}

        found = [signal_to_noise(gradients, replicates, seed=i)["g"] for i in range(40)]
        assert np.mean([f.mean[0] @ f.mean[0] / f.noise**2 for f in found]) > 1.5 * truth**2
        squares = np.array([f.mean[0] @ f.mean[0] - f.noise**2 / replicates for f in found])
        error = squares.std(ddof=1) / np.sqrt(len(found))
        assert abs(squares.mean() - size * truth**2) < 4 * error < size * truth**2
        off = [abs(f.snr - truth) / f.standard_error for f in found]
        assert np.mean(np.array(off) < 3) >= 0.9 and np.max(off) > 0.5

    def test_the_error_is_that_of_repetitions(self):
        """SNR 2 from 100 replicates: what it says of itself is how it varies."""

        def gradients(seed):
            return {"g": [2 + tf.random.stateless_normal([4], seed, dtype=tf.float64)]}

        found = [signal_to_noise(gradients, 100, seed=i)["g"] for i in range(60)]
        snr, stated = ([getattr(f, name) for f in found] for name in ("snr", "standard_error"))
        spread = np.std(snr, ddof=1)
        assert (
            abs(np.mean(snr) - 2) < 4 * spread / np.sqrt(60) + 2 / 100
        )  # its bias is of order 1/R
        # 60 repetitions know a spread to 1/sqrt(120), a mean of the stated errors far better
        assert abs(np.mean(stated) / spread - 1) < 4 / np.sqrt(120)

    def test_no_noise_and_no_gradient(self):
        def gradients(seed):
            del seed
            return {"sure": [tf.ones([3])], "none": [tf.zeros([3])]}

        found = signal_to_noise(gradients, 50)
        assert found["sure"].snr == np.inf and found["sure"].noise == 0
        assert np.isnan(found["none"].snr) and np.isnan(found["none"].parameters[0]).all()

    @pytest.mark.parametrize("wrong", [2, 0, 1.5])
    def test_too_few_replicates(self, wrong):
        with pytest.raises(ValueError, match="Expected `num_replicates` .*Received"):
            signal_to_noise(lambda _: {"g": [tf.ones([1])]}, wrong)


def moments(model, x, q_loc, q_scale):
    """Mean and variance of the ELBO's gradient for one sample and one example, exactly.

    With z = m + s e, e ~ N(0, 1), A = w^2 / scale^2 + 1 the precision of the posterior and mu its
    mean, x' = x - mean: each gradient is a polynomial c0 + c1 e + c2 e^2, of mean c0 + c2 and
    variance c1^2 + 2 c2^2.

        d/dm = A (mu - m) - A s e           d/ds = 1/s + A (mu - m) e - A s e^2
        d/dmean = (x' - w z) / scale^2      d/dw = z (x' - w z) / scale^2
    """
    w, variance = model.weights.item(), model.scale.item() ** 2
    a, rest = w**2 / variance + 1, x - model.mean.item()
    m, s = q_loc, q_scale
    pull = w * rest / variance - a * m  # A (mu - m)
    coefficients = {
        "loc": (pull, -a * s, 0.0),
        "scale": (1 / s, pull, -a * s),
        "mean": ((rest - w * m) / variance, -w * s / variance, 0.0),
        "weights": (
            m * (rest - w * m) / variance,
            (s * rest - 2 * w * m * s) / variance,
            -w * s**2 / variance,
        ),
    }
    return {n: (c[0] + c[2], c[1] ** 2 + 2 * c[2] ** 2) for n, c in coefficients.items()}


class TestGradientSNR:
    def test_the_moments_of_the_linear_model(self):
        """One latent, one dimension, three examples, an encoder that is not the posterior."""
        model, scale = vt.linear.LinearGaussian([[0.8]], [0.3], 0.7), 0.9
        vae = model.to_vae()
        raw = vt.layers.NormalDiag.inverse_scale(scale)
        vae.encoder.layers[0].set_weights([np.array([[0.4, 0.0]]), np.array([0.5, raw])])
        x, replicates = np.array([[-1.0], [0.4], [2.0]]), 4000
        found = vt.diagnostics.gradient_snr(vae, x, IWAE(1), replicates, seed=0)
        assert found.prior is None
        each = [moments(model, value, 0.4 * value + 0.5, scale) for value in x[:, 0]]
        slope = -np.expm1(-(scale - 1e-6))  # d scale / d raw, of the softplus

        def of(name, factor):  # of the mean over the batch
            mean = np.mean([f * e[name][0] for f, e in zip(factor, each, strict=True)])
            variance = np.mean([f**2 * e[name][1] for f, e in zip(factor, each, strict=True)])
            return mean, variance / len(each)

        ones, inputs = np.ones(3), x[:, 0]
        truth = {
            "encoder": [
                of("loc", inputs),
                of("scale", slope * inputs),
                of("loc", ones),
                of("scale", slope * ones),
            ],
            "decoder": [of("weights", ones), of("mean", ones)],
        }
        for name, pairs in truth.items():
            group, (mean, variance) = getattr(found, name), np.transpose(pairs)
            snr = np.linalg.norm(mean) / np.sqrt(variance.sum())
            assert abs(group.snr - snr) < 4 * group.standard_error < 0.4 * snr
            measured = np.concatenate([m.ravel() for m in group.mean])
            assert np.all(np.abs(measured - mean) < 4 * np.sqrt(variance / replicates))
            spread = np.concatenate([d.ravel() for d in group.deviation])
            # a polynomial of second order has a kurtosis of at most 15
            assert np.all(np.abs(spread**2 / variance - 1) < 4 * np.sqrt(14 / replicates))

    @pytest.mark.parametrize("gradient", GRADIENTS)
    def test_against_a_plain_loop(self, gradient, x):
        vae = small_vae(POSTERIORS["NormalTriL"](), IWAE(3, gradient))
        found = vt.diagnostics.gradient_snr(vae, x, vae.objective, 1000, seed=0)
        draw = tf.function(
            lambda seed: gradient_of(vae, vae.objective, lambda: vae(x, seed=seed)), autograph=False
        )
        seeds = vt.random.split(1, 1000)
        table = np.concatenate([as_row(draw(seed)) for seed in seeds])
        ends = np.cumsum([int(np.prod(v.shape)) for v in vae.trainable_variables])
        columns = np.split(np.arange(ends[-1]), ends[:-1])  # of each variable
        own = dict(zip([v.path for v in vae.trainable_variables], columns, strict=True))
        layers = (vae.encoder, vae.decoder, vae.prior_layer)
        for name, layer in zip(("encoder", "decoder", "prior"), layers, strict=True):
            g = table[:, np.concatenate([own[v.path] for v in layer.trainable_variables])]
            group, variance = getattr(found, name), g.var(axis=0, ddof=1)
            snr = np.sqrt(max(0, g.mean(0) @ g.mean(0) / variance.sum() - 1 / len(g)))
            assert abs(group.snr - snr) < 4 * np.sqrt(2) * group.standard_error
            off = np.concatenate([m.ravel() for m in group.mean]) - g.mean(0)
            assert np.all(np.abs(off) <= 5 * np.sqrt(2 * variance / len(g)))  # the largest of 60

    def test_more_samples_drown_the_encoder_but_not_with_dreg(self):
        """The orders of Rainforth et al. 2018 and Tucker et al. 2019: K^(-1/2) and K^(1/2).

        From K = 8 to 128 that is a factor of 1/4 or 4, once K is large; q is wider than the
        posterior, so that the weights are bounded.
        """
        model, k = vt.linear.LinearGaussian([[0.8]], [0.3], 0.7), (8, 128)
        vae = model.to_vae()
        raw = vt.layers.NormalDiag.inverse_scale(0.8)  # the posterior's is 0.66
        vae.encoder.layers[0].set_weights([np.array([[0.6, 0.0]]), np.array([0.0, raw])])
        x = np.full((100, 1), 1.0)  # a hundred times the same: ten times its signal to noise

        def factor(gradient, name):
            few, many = (
                getattr(vt.diagnostics.gradient_snr(vae, x, IWAE(n, gradient), 500, seed=n), name)
                for n in k
            )
            return many.snr / few.snr

        assert factor("standard", "encoder") < 0.4
        assert factor("dreg", "encoder") > 2.5
        assert factor("standard", "decoder") > 2.5

    def test_the_same_seed_the_same_numbers(self, x):
        vae = small_vae(POSTERIORS["NormalDiag"](), None)
        one, two, other = (
            vt.diagnostics.gradient_snr(vae, x, IWAE(2), 30, seed=s).encoder.snr for s in (0, 0, 1)
        )
        assert one == two != other

    def test_a_prior_made_of_the_encoder_has_the_pseudo_inputs_only(self, x):
        prior = vt.priors.VampPrior(2, x[:3].astype("float32"))
        encoder = vt.networks.mlp(6, vt.layers.NormalDiag(2), hidden=(4,))
        vae = vt.VAE(encoder, vt.networks.mlp(2, vt.layers.Bernoulli(6), hidden=(4,)), prior)
        found = vt.diagnostics.gradient_snr(vae, x, vt.objectives.ELBO(), 10, seed=0)
        assert [m.shape for m in found.prior.mean] == [(3, 6)] and len(found.encoder.mean) == 4

    def test_what_is_refused(self, x, rng):
        vae = small_vae(POSTERIORS["NormalDiag"](), None)
        with pytest.raises(ValueError, match=r"Expected .*Received"):
            vt.diagnostics.gradient_snr(vae, x + 0.5 * np.eye(5, 6, -1), IWAE(2), 10)
        with pytest.raises(ValueError, match=r"Expected .*Received"):
            vt.diagnostics.gradient_snr(vae, x, IWAE(2), 2)
        with pytest.raises(TypeError, match="Expected `model` to be a vt.VAE"):
            vt.diagnostics.gradient_snr(random_linear(rng, 3, 2)[0], x, IWAE(2), 10)
        with pytest.raises(TypeError, match="vt.objectives.ELBO.*Received: 'elbo'"):
            vt.diagnostics.gradient_snr(vae, x, "elbo", 10)
        with pytest.raises(ValueError, match="Expected `condition` with a row for each of 5"):
            vt.diagnostics.gradient_snr(vae, x, IWAE(2), 10, condition=np.zeros(3))

    def test_any_model_that_says_what_its_parts_train(self, x):
        """No `vt.VAE`: a class of a student's own, with the same numbers."""
        vae = small_vae(POSTERIORS["NormalDiag"](), None)

        class Own:
            encoder, decoder, prior_layer = vae.encoder, vae.decoder, vae.prior_layer
            prior = property(lambda _: vae.prior)

            def encode(self, x, training=False):
                return vae.encode(x, training=training)

            def decode(self, z, training=False):
                return vae.decode(z, training=training)

        ours, theirs = (
            vt.diagnostics.gradient_snr(model, x, IWAE(2), 30, seed=0) for model in (Own(), vae)
        )
        assert ours.encoder.snr == theirs.encoder.snr and ours.decoder.snr == theirs.decoder.snr

    def test_a_condition_goes_with_its_example(self, x):
        """A VAE of x and c, whose input is one vector, against one that takes them apart."""
        c = np.random.default_rng(1).normal(size=(len(x), 2)).astype("float32")
        vae = small_vae(POSTERIORS["NormalDiag"](), None)

        class Shifted:
            encoder, decoder, prior_layer = vae.encoder, vae.decoder, vae.prior_layer
            prior = property(lambda _: vae.prior)

            def encode(self, x, training=False, condition=None):
                return vae.encode(x * (1 - condition[:, :1]), training=training)

            def decode(self, z, training=False, condition=None):
                return vae.decode(z + condition[:, :1], training=training)

        class Known(Shifted):
            def encode(self, x, training=False):
                return super().encode(x, training, c)

            def decode(self, z, training=False):
                return super().decode(z, training, c)

        known = vt.diagnostics.gradient_snr(Known(), x, IWAE(2), 30, seed=0)
        given = vt.diagnostics.gradient_snr(Shifted(), x, IWAE(2), 30, seed=0, condition=c)
        assert known.encoder.snr == given.encoder.snr and known.decoder.snr == given.decoder.snr

    def test_a_network_of_nan_gives_nan(self, x):
        vae = small_vae(POSTERIORS["NormalDiag"](), None)
        for variable in vae.trainable_variables:
            variable.assign(np.full(variable.shape, np.nan))
        found = vt.diagnostics.gradient_snr(vae, x, vt.objectives.ELBO(), 10, seed=0).encoder
        assert np.isnan([found.snr, found.standard_error, found.signal, found.noise]).all()

    def test_results_are_no_tuples(self, x):
        vae = small_vae(POSTERIORS["NormalDiag"](), None)
        found = vt.diagnostics.gradient_snr(vae, x, vt.objectives.ELBO(), 10, seed=0).encoder
        assert found.snr == found.estimate == np.asarray(found)
        with pytest.raises(TypeError):
            found * 2
