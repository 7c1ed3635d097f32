"""Collapse is predicted before training: `predict_collapse` against linear VAEs that were trained.

Fifteen VAEs of five latents, one for each beta, are trained side by side as one program on 2,000
examples of 8 numbers: the full batch, an ELBO without sampling noise, Adam until nothing moves.
Nothing in the training knows of eigenvalues.
"""

import math
from typing import NamedTuple

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from conftest import random_linear

import vae_tf as vt

tfd = tfp.distributions

N, D, L = 2000, 8, 5
SCALE = 0.5
ASKED = (1.0, 1.5, 3.0, 5.0, 10.0)
STEP = 0.05  # neighbours of a beta, for the slope there
BETAS = np.array([beta * factor for factor in (1 - STEP, 1, 1 + STEP) for beta in ASKED])
COUNTS = (5, 4, 3, 2, 1)  # of the five units, at the betas asked for


def linear_data():
    """Examples whose variances along hidden, tilted axes the thresholds beta scale^2 separate."""
    rng = np.random.default_rng(7)
    axes = np.linalg.qr(rng.normal(size=(D, D)))[0]
    variances = np.array([3.3, 1.7, 0.95, 0.53, 0.32, 0.12, 0.09, 0.06])
    return rng.normal(size=(N, D)) * np.sqrt(variances) @ axes + rng.normal(size=D)


class Trained(NamedTuple):
    """What training arrived at, for each of K betas."""

    steepest: float  # the largest gradient that is left
    mean_variance: np.ndarray  # [K, L], in falling order
    rate: np.ndarray  # [K], nats per example
    distortion: np.ndarray  # [K], nats per example


def terms(x, encoder, shift, log_scale, decoder, offset):
    """Distortion and rate [K], and the means of q(z|x) [K, N, L], in closed form."""
    loc, variance = x @ encoder + shift, tf.exp(2 * log_scale)
    # E_q |x - W z - b|^2 = |x - W m - b|^2 + tr(W'W V)
    squared = tf.reduce_mean(tf.reduce_sum((x - loc @ decoder - offset) ** 2, axis=2), axis=1)
    squared += tf.reduce_sum(variance[:, :, None] * decoder**2, axis=[1, 2])
    distortion = 0.5 * D * math.log(2 * math.pi * SCALE**2) + squared / (2 * SCALE**2)
    q_z = tfd.Normal(loc, tf.exp(log_scale)[:, None])
    kl = tfd.kl_divergence(q_z, tfd.Normal(tf.zeros([], x.dtype), 1.0))
    return distortion, tf.reduce_mean(tf.reduce_sum(kl, axis=2), axis=1), loc


@pytest.fixture(scope="module")
def x():
    return linear_data()


@pytest.fixture(scope="module")
def trained(x, steps=3000):
    """All betas at once."""
    rng = np.random.default_rng(1)
    shapes = [(D, L), (1, L), (L,), (L, D), (1, D)]
    start = [0.1 * rng.normal(size=(len(BETAS), *shape)) for shape in shapes]
    weights = [tf.Variable(values) for values in start]
    adam = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.03, steps))
    adam.build(weights)

    def gradients():
        with tf.GradientTape() as tape:
            distortion, rate, _ = terms(x, *weights)
            loss = distortion + BETAS * rate
        return tape.gradient(loss, weights)

    def one_step(step):
        adam.apply(gradients(), weights)
        return step + 1

    @tf.function(jit_compile=True)
    def descend():
        tf.while_loop(lambda step: step < steps, one_step, [0])

    descend()
    steepest = max(float(tf.reduce_max(tf.abs(part))) for part in gradients())
    distortion, rate, loc = (part.numpy() for part in terms(x, *weights))
    return Trained(steepest, np.sort(loc.var(axis=1), axis=1)[:, ::-1], rate, distortion)


@pytest.fixture(scope="module")
def predicted(x):
    """What was said before, for each beta."""
    return [vt.diagnostics.predict_collapse(x, beta, SCALE, latent_size=L) for beta in BETAS]


def test_training_has_converged(trained):
    assert trained.steepest < 1e-3


@pytest.mark.parametrize("beta, count", list(zip(ASKED, COUNTS, strict=True)))
def test_as_many_units_are_active_as_predicted(x, trained, beta, count):
    prediction = vt.diagnostics.predict_collapse(x, beta, SCALE)
    assert prediction.count == count
    measured = trained.mean_variance[BETAS.tolist().index(beta)]
    assert (measured > 0.01).sum() == count
    np.testing.assert_allclose(measured, prediction.mean_variance[:L], atol=0.01)


def test_each_point_lies_on_the_frontier(trained, predicted):
    """Above it by no more than 0.02 nats, and nowhere below."""
    said = np.array([(p.rate, p.distortion) for p in predicted])
    np.testing.assert_allclose(
        np.stack([trained.rate, trained.distortion], axis=1), said, atol=0.02
    )
    above = trained.distortion + BETAS * trained.rate - said @ [0, 1] - BETAS * said[:, 0]
    assert above.min() > -1e-9  # no VAE is below: the prediction is the minimum
    assert above.max() < 0.02


def test_the_slope_of_the_frontier_is_minus_beta(trained):
    distortion, rate = (values.reshape(3, -1) for values in (trained.distortion, trained.rate))
    slope = (distortion[2] - distortion[0]) / (rate[2] - rate[0])
    np.testing.assert_allclose(slope, -np.array(ASKED), rtol=0.02)


def test_the_frontier_is_convex_and_falls(trained):
    order = np.argsort(BETAS)
    rate, distortion = trained.rate[order], trained.distortion[order]
    assert (np.diff(rate) < 0).all() and (np.diff(distortion) > 0).all()
    assert (np.diff(np.diff(distortion) / np.diff(rate)) < 0).all()


@pytest.mark.parametrize("beta", [0.3, 1.0, 4.0])
def test_beta_and_the_variance_of_the_decoder_are_one_knob(rng, beta):
    """D(s2) + beta R = -beta ELBO(beta s2) + D/2 log(2 pi s2) - beta D/2 log(2 pi beta s2)."""
    model, x = random_linear(rng, D, L)
    q_z = tfd.MultivariateNormalDiag(rng.normal(size=(10, L)), np.exp(rng.normal(size=(10, L))))
    widened = vt.linear.LinearGaussian(model.weights, model.mean, np.sqrt(beta) * model.scale)
    terms_here, elbo_there = model.elbo(x, q_z), widened.elbo(x, q_z).elbo
    constants = [D / 2 * np.log(2 * np.pi * v) for v in (model.scale**2, beta * model.scale**2)]
    right = -beta * elbo_there + constants[0] - beta * constants[1]
    left = -terms_here.reconstruction + beta * terms_here.kl
    np.testing.assert_allclose(left, right, rtol=0, atol=1e-9 * max(1.0, np.abs(left).max()))


def test_a_vae_collapses_by_its_decoder_alone(x):
    """With beta = 1 and stock `fit`: as many units die as scale^2 asks for."""
    scale = math.sqrt(3.0) * SCALE
    encoder = vt.networks.mlp(D, vt.layers.NormalDiag(L), hidden=())
    decoder = vt.networks.mlp(L, vt.layers.Normal(D, scale=scale), hidden=())
    # ten samples for each example: with one, noise keeps two latents turned into each other
    vae = vt.VAE(encoder, decoder, objective=vt.objectives.ELBO(num_samples=10), seed=0)
    epochs, batch_size = 40, 100
    steps = epochs * N // batch_size
    vae.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.05, steps)))
    vae.fit(x, epochs=epochs, batch_size=batch_size, verbose=0)
    units = vt.diagnostics.active_units(vae, x)
    prediction = vt.diagnostics.predict_collapse(x, 1.0, scale)
    assert units.count == prediction.count == 3
    # the noise of sampled gradients leaves the weights near their optimum, not at it
    np.testing.assert_allclose(
        np.sort(units.variance)[::-1], prediction.mean_variance[:L], rtol=0, atol=0.06
    )
