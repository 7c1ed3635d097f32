"""The same seed gives the same numbers: eagerly, in a graph, and under XLA written out or not."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from scipy import stats

import vae_tf as vt
from vae_tf._core import random

SHAPES = ([7], [2, 3, 4], [1], [0])
SEEDS = (0, 1, -1, 2**40 + 3)


def everywhere(draw):
    """What `draw` gives for each seed: eagerly, in a graph, under XLA, under XLA written out."""

    def written(seed):
        with random.written_out():
            return draw(seed)

    modes = [draw, tf.function(draw), tf.function(draw, jit_compile=True)]
    modes += [written, tf.function(written, jit_compile=True)]
    for seed in map(random.as_seed, SEEDS):
        yield [mode(seed).numpy() for mode in modes]


@pytest.mark.parametrize("shape", SHAPES)
def test_bits_are_equal_in_every_mode(shape):
    for first, *others in everywhere(lambda seed: random.bits(shape, seed)):
        for other in others:
            np.testing.assert_array_equal(first, other)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("draw", [random.normal, random.uniform])
def test_numbers_are_equal_in_every_mode(draw, shape, dtype):
    eps = np.finfo(dtype).eps
    for first, *others in everywhere(lambda seed: draw(shape, seed, dtype)):
        assert first.shape == tuple(shape) and first.dtype == dtype
        for other in others:  # sine, cosine and logarithm are right to a few units, of up to 6
            np.testing.assert_allclose(first, other, rtol=0, atol=32 * eps)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_eagerly_they_are_those_of_tensorflow(dtype):
    seed, eps = random.as_seed(3), np.finfo(dtype).eps
    options = {"seed": seed, "dtype": dtype, "alg": "philox"}
    expected = tf.random.stateless_normal([501], **options)
    np.testing.assert_allclose(random.normal([501], seed, dtype), expected, atol=32 * eps)
    expected = tf.random.stateless_uniform([501], **options)
    np.testing.assert_allclose(random.uniform([501], seed, dtype), expected, atol=eps)


def test_split_is_that_of_tfp():
    expected = np.stack(tfp.random.split_seed(random.as_seed(5), n=3))
    np.testing.assert_array_equal(np.stack(random.split(5, 3)), expected)


def test_they_are_uniform_and_normal():
    """Kolmogorov's test at one in 10,000, and pairs without correlation at 4 standard errors."""
    count = 100_000
    u, z = (np.asarray(d([count], 11), "float64") for d in (random.uniform, random.normal))
    assert stats.kstest(u, "uniform").pvalue > 1e-4
    assert stats.kstest(z, "norm").pvalue > 1e-4
    for lag in (1, 2, 3, 4):
        assert abs(np.mean(z[lag:] * z[:-lag])) < 4 / np.sqrt(count)


def test_half_precision_is_rounded_float32():
    half = random.normal([9], 0, "float16")
    np.testing.assert_array_equal(half, tf.cast(random.normal([9], 0), tf.float16))


def test_a_seed_generator_moves_on():
    generator = keras.random.SeedGenerator(0)
    assert not np.array_equal(random.normal([3], generator), random.normal([3], generator))


def test_without_replicas_the_seed_is_the_generators_own():
    expected = keras.random.SeedGenerator(3).next()
    np.testing.assert_array_equal(random.as_seed(keras.random.SeedGenerator(3)), expected)


def test_a_shape_that_is_known_late():
    draw = tf.function(
        lambda n: random.normal([n, 2], 0), input_signature=[tf.TensorSpec([], tf.int32)]
    )
    np.testing.assert_allclose(draw(tf.constant(5)), random.normal([5, 2], 0), atol=1e-6)


@pytest.mark.parametrize("seed", [0.5, "0", True, [1, 2]])
def test_other_seeds_are_refused(seed):
    with pytest.raises(TypeError, match="Expected `seed` to be an integer or None"):
        vt.random.as_seed(seed)
