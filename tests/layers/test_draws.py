"""The same seed gives the same draws: eagerly, in a graph, and under XLA."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from conftest import B, L

import vae_tf as vt

tfd = tfp.distributions
N = 5000


def _params(layer):
    return tf.constant(np.random.default_rng(0).normal(size=(B, layer.input_size)), tf.float32)


def _of(layer):
    return lambda: layer(_params(layer))


DISTRIBUTIONS = {
    "Normal": _of(vt.layers.NormalDiag(L)),
    "NormalTriL": _of(vt.layers.NormalTriL(L)),
    "CouplingFlow": _of(vt.layers.CouplingFlow(L, num_flows=2, hidden=4)),
    "Bernoulli": _of(vt.layers.Bernoulli((2, 3))),
    "Mixture": _of(vt.layers.Mixture(vt.layers.Normal(L), 4)),
    "Mixture for each dimension": _of(vt.layers.Mixture(vt.layers.Normal(L), 4, True)),
    "named in a DistributionLayer": _of(vt.layers.DistributionLayer("Normal", L)),
    "StandardNormal": vt.priors.StandardNormal(L),
    "MixtureOfNormals": lambda: vt.priors.MixtureOfNormals(L, 4),
}


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_in_every_mode(name):
    make = DISTRIBUTIONS[name]
    make = make() if name == "MixtureOfNormals" else make  # its weights are made once
    eager = make().sample(7, seed=[3, 4])
    for jit_compile in (False, True):
        compiled = tf.function(lambda: make().sample(7, seed=[3, 4]), jit_compile=jit_compile)()
        np.testing.assert_allclose(compiled, eager, rtol=1e-5, atol=1e-5)
    assert np.any(make().sample(7, seed=[3, 5]) != eager)
    one = make().sample(seed=[3, 4])
    assert one.shape == (*make().batch_shape, *make().event_shape)


def test_those_of_a_normal_are_what_they_were():
    q = vt.layers.NormalDiag(L)(tf.zeros([B, 2 * L]))
    noise = tf.random.stateless_normal([7, B, L], [3, 4], alg="philox")
    np.testing.assert_allclose(q.sample(7, seed=[3, 4]), noise * q.stddev(), rtol=1e-5, atol=1e-5)


def test_a_full_covariance_has_its_moments():
    q = vt.layers.NormalTriL(L)(_params(vt.layers.NormalTriL(L)))
    z = q.sample(N, seed=[1, 2]).numpy()
    assert z.shape == (N, B, L)
    error = z.std(0) / np.sqrt(N)
    assert np.all(np.abs(z.mean(0) - q.mean()) < 4 * error)
    centred = z - q.mean().numpy()
    products = centred[..., :, None] * centred[..., None, :]
    error = products.std(0) / np.sqrt(N)
    assert np.all(np.abs(products.mean(0) - q.covariance()) < 4.5 * error)  # 45 numbers
    with tf.GradientTape() as tape:  # reparameterised
        params = _params(vt.layers.NormalTriL(L))
        tape.watch(params)
        draw = vt.layers.NormalTriL(L)(params).sample(seed=[1, 2])
    assert np.all(tape.gradient(draw, params)[:, :L] == 1.0)


@pytest.mark.parametrize("batch", [(), (2,)])
def test_a_mixture_draws_each_component_by_its_weight(batch):
    logits = tf.broadcast_to([0.0, 1.0, -2.0], [*batch, 3])
    locs = tf.constant([[-10.0, 0.0], [0.0, 5.0], [10.0, 10.0]])
    parts = vt.distributions.Normal(tf.broadcast_to(locs, [*batch, 3, 2]), 0.1)
    p = vt.distributions.Mixture(
        tfd.Categorical(logits=logits), vt.distributions.Independent(parts, 1)
    )
    x = p.sample(N, seed=[1, 2]).numpy()
    assert x.shape == (N, *batch, 2)
    which = np.abs(x[..., None, :] - locs.numpy()).sum(-1).argmin(-1)
    assert np.abs(x - locs.numpy()[which]).max() < 0.6  # both numbers of one component
    share = np.exp([0.0, 1.0, -2.0]) / np.exp([0.0, 1.0, -2.0]).sum()
    for k in range(3):
        error = np.sqrt(share[k] * (1 - share[k]) / N)
        assert np.all(np.abs((which == k).mean(0) - share[k]) < 4 * error)


def test_bernoulli_draws():
    logits = tf.constant([-2.0, 0.0, 3.0])
    p = vt.distributions.Bernoulli(logits=logits, dtype="float32")
    x = p.sample(N, seed=[1, 2]).numpy()
    assert set(np.unique(x)) == {0.0, 1.0}
    truth = tf.sigmoid(logits)
    assert np.all(np.abs(x.mean(0) - truth) < 4 * np.sqrt(truth * (1 - truth) / N))
