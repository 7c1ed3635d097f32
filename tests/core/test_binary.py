"""Bernoulli likelihoods in one pass: the same numbers, to rounding."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import vae_tf as vt
from vae_tf._core import binary

tfd = tfp.distributions


def in_a_graph(logits, x, family=tfd.Bernoulli):
    @tf.function(autograph=False)
    def graph(logits, x):
        event = len(x.shape) - 1
        return binary.log_prob(tfd.Independent(family(logits=logits), event), x)

    return graph(tf.constant(logits, tf.float32), tf.constant(x, tf.float32)).numpy()


def exact(logits, x):
    """-sum log(1 + exp((1 - 2 x) logit)) in float64."""
    terms = np.logaddexp(0, (1 - 2 * x) * logits.astype("float32").astype("float64"))
    return -terms.reshape(*logits.shape[:2], -1).sum(axis=-1)


@pytest.mark.parametrize("event", [(8,), (13,), (64,), (5, 7), (28, 28, 1)])
@pytest.mark.parametrize("spread", [0.1, 3.0, 60.0])
def test_it_is_the_sum_of_softplus(event, spread, rng):
    logits = spread * rng.normal(size=(6, 4, *event))
    x = (rng.random((4, *event)) < 0.4).astype("float32")
    # A term is off by a few eps, a product of eight factors by eight; then a float32 sum.
    terms = np.logaddexp(0, (1 - 2 * x) * logits).reshape(6, 4, -1)
    bound = np.finfo("float32").eps * (12 * terms.shape[-1] + 4 * terms.sum(axis=-1))
    found = in_a_graph(logits, x)
    assert found.shape == (6, 4)
    assert np.all(np.abs(found - exact(logits, x)) <= bound)


def test_impossible_and_certain_pixels():
    logits = np.full((1, 3, 16), 1e4, "float32")
    logits[0, 2] = np.inf
    x = np.ones((3, 16), "float32")
    x[1, 0] = x[2, 1] = 0
    np.testing.assert_array_equal(in_a_graph(logits, x), [[0, -1e4, -np.inf]])


def test_what_is_marked_stays_marked(rng):
    x = np.zeros((3, 16), "float32")
    x[1, 3] = np.nan
    found = in_a_graph(rng.normal(size=(5, 3, 16)), x)
    assert np.isnan(found[:, 1]).all() and np.isfinite(found[:, [0, 2]]).all()


def test_it_leaves_alone_what_it_does_not_know():
    x = tf.zeros([3, 16])
    bernoulli = tfd.Independent(tfd.Bernoulli(logits=tf.zeros([5, 3, 16])), 1)
    assert binary.log_prob(bernoulli, x) is None  # eagerly

    @tf.function(autograph=False)
    def graph():
        normal = tfd.Independent(tfd.Normal(tf.zeros([5, 3, 16]), 1.0), 1)
        few = tfd.Independent(tfd.Bernoulli(logits=tf.zeros([5, 3, 7])), 1)
        assert binary.log_prob(normal, x) is None
        assert binary.log_prob(few, x[:, :7]) is None
        return tf.constant(0)

    graph()


def test_the_bound_of_a_model_is_that_of_the_density_itself(rng, monkeypatch):
    encoder = vt.networks.mlp((4, 4), vt.layers.NormalDiag(2), hidden=(8,))
    vae = vt.VAE(encoder, vt.networks.mlp(2, vt.layers.Bernoulli((4, 4)), hidden=(8,)), seed=0)
    x = (rng.random((5, 4, 4)) < 0.5).astype("float32")
    monkeypatch.setattr(vt._core.chunks, "BUDGET", 5 * 16 * 10)
    fast = vt.evidence.iwae(vae, x, 200, seed=0).estimate
    vae.compile()  # forgets the graphs
    monkeypatch.setattr(binary, "log_prob", lambda *_: None)
    np.testing.assert_allclose(fast, vt.evidence.iwae(vae, x, 200, seed=0).estimate, rtol=1e-6)
