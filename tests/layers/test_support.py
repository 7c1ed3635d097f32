"""Which data a likelihood accepts: one value inside and one outside, for family after family."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from conftest import B, S

import vae_tf as vt
from vae_tf.layers import support

tfd, tfb = tfp.distributions, tfp.bijectors
Z = tf.zeros([1, 3])  # parameters of one example of three dimensions
ONE = Z + 1.0


def mixture(components, parts=2):
    return tfd.MixtureSameFamily(tfd.Categorical(logits=tf.zeros([1, 3, parts])), components)


# name: (scalar distributions [1, 3], or a distribution over vectors of three; accepted; refused)
FAMILIES = {
    "Bernoulli, int32": (tfd.Bernoulli(logits=Z), [0, 1], [0.7, 2, -1]),
    "ProbitBernoulli": (tfd.ProbitBernoulli(Z), [0, 1], [0.7]),
    "Categorical, int32": (tfd.Categorical(logits=tf.zeros([1, 3, 4])), [0, 3], [0.7, 4, -1]),
    "OrderedLogistic": (tfd.OrderedLogistic(tf.constant([0.0, 1.0]), Z), [0, 2], [0.5, -1]),
    "Zipf": (tfd.Zipf(2 + Z), [1, 5], [0, 0.5]),
    "Geometric": (tfd.Geometric(logits=Z), [0, 5], [-1, 0.5]),
    "Binomial": (tfd.Binomial(5.0, logits=Z), [0, 5], [-1, 6, 0.5]),
    "BetaBinomial": (tfd.BetaBinomial(5.0, ONE, ONE), [0, 5], [-1, 6, 0.5]),
    "Skellam": (tfd.Skellam(ONE, ONE), [0, -3], [0.5]),
    "FiniteDiscrete": (
        tfd.FiniteDiscrete([0.0, 0.5], logits=tf.zeros([1, 3, 2])),
        [0, 0.5],
        [1, 0.2],
    ),
    "Deterministic": (tfd.Deterministic(Z), [0], [1]),
    "Exponential": (tfd.Exponential(ONE), [0, 2], [-1]),
    "Gamma(1), an Exponential": (tfd.Gamma(ONE, 1.0), [0, 2], [-1]),
    "Gamma(2)": (tfd.Gamma(2 * ONE, 1.0), [2], [0, -1]),
    "Beta(1, 2)": (tfd.Beta(ONE, 2.0), [0, 0.5], [1, -0.1, 1.1]),
    "Uniform": (tfd.Uniform(Z, 2.0), [0, 1.9], [-0.1, 2.1]),
    "HalfNormal": (tfd.HalfNormal(ONE), [0, 2], [-1]),
    "Weibull": (tfd.Weibull(ONE, ONE), [0.5], [-1]),
    "LogNormal": (tfd.LogNormal(Z, ONE), [0.5], [0, -1]),
    "VonMises": (tfd.VonMises(Z, ONE), [-3, 3], [3.2]),
    "ContinuousBernoulli": (tfd.ContinuousBernoulli(logits=Z), [0, 0.3, 1], [-0.1, 1.1]),
    "StudentT": (tfd.StudentT(4.0, Z, ONE), [-9, 0.5], []),
    "Quantized": (tfd.QuantizedDistribution(tfd.Normal(Z, 1.0), 0.0, 5.0), [0, 5], [0.5, 6]),
    "MixtureSameFamily of Normals": (mixture(tfd.Normal(tf.zeros([1, 3, 2]), 1.0)), [0.3, -4], []),
    "... of Gammas": (mixture(tfd.Gamma(tf.fill([1, 3, 2], 2.0), 1.0)), [0.3], [-1, 0]),
    "... of Bernoullis": (mixture(tfd.Bernoulli(logits=tf.zeros([1, 3, 2]))), [0, 1], [0.7]),
    "... of Uniforms": (
        mixture(tfd.Uniform(tf.zeros([1, 3, 1]) + [0.0, 4.0], [1.0, 5.0])),
        [0.5, 4.5],
        [2.0, 5.1],
    ),
    "... pushed through a sigmoid": (
        tfb.Sigmoid()(mixture(tfd.Normal(tf.zeros([1, 3, 2]), 1.0))),
        [0.3],
        [-0.1, 1.2],
    ),
    "Mixture of a Gamma and a point": (
        tfd.Mixture(
            tfd.Categorical(logits=tf.zeros([1, 3, 2])),
            [tfd.Gamma(2 * ONE, 1.0), tfd.Deterministic(Z)],
        ),
        [0, 0.3],
        [-1],
    ),
    "Inflated": (tfd.Inflated(tfd.NegativeBinomial(3.0, logits=Z), 0.3 + Z), [0, 2], [0.5, -1]),
    "Masked, all valid": (tfd.Masked(tfd.Gamma(ONE, 1.0), Z == 0), [0.3], [-1]),
    "Masked, none valid": (tfd.Masked(tfd.Gamma(ONE, 1.0), Z == 1), [0.3, -1], []),
}
VECTORS = {
    "OneHotCategorical": (tfd.OneHotCategorical(logits=Z), [0, 1, 0], [1, 1, 0]),
    "Multinomial": (tfd.Multinomial(10.0, logits=Z), [1, 2, 7], [1, 2, 3]),
    "DirichletMultinomial": (tfd.DirichletMultinomial(10.0, ONE), [1, 2, 7], [1, 2, 3]),
    "Dirichlet": (tfd.Dirichlet(ONE), [0.2, 0.3, 0.5], [0.2, 0.3, 0.6]),
    "VonMisesFisher": (tfd.VonMisesFisher([[1.0, 0, 0]], [1.0]), [0.6, 0.8, 0], [0.6, 0.9, 0]),
    "MultivariateNormal": (tfd.MultivariateNormalDiag(Z), [0.5, -3, 2], [0.5, np.inf, 2]),
    "mixture over vectors": (
        tfd.MixtureSameFamily(
            tfd.Categorical(logits=tf.zeros([1, 2])),
            tfd.Independent(tfd.Uniform([[[0.0] * 3, [4.0] * 3]], [[[1.0] * 3, [5.0] * 3]]), 1),
        ),
        [4.5, 4.5, 4.5],
        [0.5, 4.5, 0.5],  # each value is in one component, and the vector in none
    ),
    "Blockwise": (
        tfd.Blockwise([tfd.Independent(tfd.Normal(Z[:, :2], 1.0), 1), tfd.Gamma([2.0], 1.0)]),
        [-1, 0.5, 2],
        [-1, 0.5, -2],
    ),
    "Sample": (tfd.Sample(tfd.Gamma([2.0], 1.0), 3), [1, 2, 3], [1, -2, 3]),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_scalar_families(name):
    p, inside, outside = FAMILIES[name]
    p = tfd.Independent(p, 1)
    for value in inside:
        x = support.check(p, np.full((B, 3), value))
        np.testing.assert_array_equal(x, np.full((B, 3), value, "float32"))
        assert np.isfinite(p.log_prob(x)).all()
    usual = np.full((B, 3), inside[0], "float64")
    for value in outside:
        usual[1, 2] = value
        with pytest.raises(ValueError, match=r"Expected `x` with .*Received: the value"):
            support.check(p, usual)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_graph_marks_what_is_refused(name):
    """Where the number of examples is not known, and where values cannot be looked at: NaN."""
    p, inside, outside = FAMILIES[name]
    rows = np.array([[value] * 3 for value in (*inside, *outside)], "float32")

    @tf.function(input_signature=[tf.TensorSpec([None, 3])])
    def marked(x):
        return tf.math.is_nan(support.check(tfd.Independent(p, 1), x))

    refused = [False] * len(inside) + [True] * len(outside)
    np.testing.assert_array_equal(marked(rows), np.tile(np.array(refused)[:, None], 3))


def test_a_mask_of_unknown_length():
    @tf.function(input_signature=[tf.TensorSpec([None, 3]), tf.TensorSpec([None, 3], tf.bool)])
    def marked(x, mask):
        pixels = tfd.Masked(tfd.Bernoulli(logits=tf.zeros_like(x), dtype="float32"), mask)
        return tf.math.is_nan(support.check(tfd.Independent(pixels, 1), x))

    mask = np.array([[True, False, True], [False, True, True]])
    np.testing.assert_array_equal(marked(np.full((2, 3), 0.5), mask), mask)


@pytest.mark.parametrize("name", VECTORS)
def test_families_of_vectors(name):
    p, inside, outside = VECTORS[name]
    x = support.check(p, np.array([inside] * B, "float32"))
    assert np.isfinite(p.log_prob(x)).all()
    with pytest.raises(ValueError, match=r"Expected `x` with .*Received: the value"):
        support.check(p, np.array([inside, outside], "float32"))


@pytest.mark.parametrize("name", ["Bernoulli, int32", "... of Gammas", "Uniform", "StudentT"])
def test_under_every_sample(name):
    """p(x|z_s) for S samples: x [B, *event] against batch [S, 1]."""
    p, inside, outside = FAMILIES[name]
    p = tfd.Independent(p, 1)[tf.newaxis][tf.zeros([S], tf.int32)[0] : 1]
    x = np.full((B, 3), inside[0], "float32")
    assert support.check(p, x).shape == x.shape
    for value in outside:
        with pytest.raises(ValueError, match="Received: the value"):
            support.check(p, np.full((B, 3), value))


def test_grey_is_not_cast_to_zero_before_it_is_seen():
    """In an integer dtype 0.7 would be 0: the values are looked at as they were given."""
    p = tfd.Independent(tfd.Bernoulli(logits=Z), 1)
    assert p.dtype == tf.int32
    with pytest.raises(ValueError, match="Received: the value 0.7"):
        support.check(p, np.full((B, 3), 0.7))
    for dtype in ("int64", "uint8", "bool", "float32", "float64"):
        x = support.check(p, np.ones((B, 3), dtype))
        assert x.dtype == (tf.float64 if dtype == "float64" else tf.float32)
        np.testing.assert_allclose(p.log_prob(x), 3 * np.log(0.5), rtol=1e-6)


def test_an_integer_family_named_in_a_layer():
    layer = vt.layers.DistributionLayer("Bernoulli", 3)
    p, logits = layer(ONE), np.ones(3)
    assert p.dtype == tf.float32 and p.sample(seed=[0, 1]).dtype == tf.float32
    x = support.check(p, np.array([[1, 0, 1]]))
    truth = np.sum([1, 0, 1] * logits - np.log1p(np.exp(logits)))
    np.testing.assert_allclose(p.log_prob(x), [truth], rtol=1e-6)


def test_a_joint_distribution_is_refused_by_name():
    p = tfd.JointDistributionSequential([tfd.Normal(0.0, 1.0), tfd.Normal(0.0, 1.0)])
    with pytest.raises(ValueError, match="Expected a likelihood of one array.*joint distribution"):
        support.check(p, np.zeros((B, 2)))


def test_a_class_of_ones_own():
    class Mine(tfd.Distribution):
        def __init__(self):
            super().__init__(tf.float32, tfd.NOT_REPARAMETERIZED, False, True)

        def _batch_shape(self):
            return tf.TensorShape([1])

        def _event_shape(self):
            return tf.TensorShape([2])

        def _log_prob(self, x):
            return tf.reduce_sum(tf.where(x > 0, -x, -np.inf), axis=-1)

    assert support.check(Mine(), np.ones((B, 2))).shape == (B, 2)
    with pytest.raises(ValueError, match="Expected `x` with values in the support of mine"):
        support.check(Mine(), -np.ones((B, 2)))


class TestInAGraph:
    """Where nothing can raise, what is refused turns NaN, and nothing else does."""

    def marked(self, x, jit_compile=False):
        p = tfd.Independent(tfd.Bernoulli(logits=tf.zeros([1, 3])), 1)
        program = tf.function(lambda x: support.check(p, x), jit_compile=jit_compile)
        return program.get_concrete_function(tf.TensorSpec([None, 3])), program(x).numpy()

    @pytest.mark.parametrize("jit_compile", [False, True])
    def test_what_is_refused_is_nan(self, jit_compile):
        x = np.array([[0, 1, -0.0], [1, 0.7, 0], [np.nan, np.inf, -np.inf]], "float32")
        _, seen = self.marked(x, jit_compile)
        np.testing.assert_array_equal(np.isnan(seen), [[0, 0, 0], [0, 1, 0], [1, 1, 1]])
        np.testing.assert_array_equal(seen[0].tobytes(), x[0].tobytes())  # -0.0 too

    def test_no_constant_is_nan(self):
        """`tf.debugging.enable_check_numerics` looks at constants as well."""
        program, _ = self.marked(np.zeros((B, 3), "float32"))
        constants = [op for op in program.graph.get_operations() if op.type == "Const"]
        values = [tf.make_ndarray(op.get_attr("value")) for op in constants]
        assert values and not any(np.isnan(v).any() for v in values if v.dtype.kind == "f")
