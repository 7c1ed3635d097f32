"""Grey levels and colours: probabilities of 256 levels, against sums over all of them."""

import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

import vae_tf as vt
from vae_tf.layers.levels import Rounded

LEVELS = np.arange(256) / 255
CASES = [(0.5, 0.1), (0.0, 0.01), (1.3, 0.02), (-0.2, 1e-3), (0.3, 1e-4), (0.5, 10.0)]


def exact(loc, scale):
    """P(level) by SciPy's logistic distribution, from whichever tail keeps its digits."""
    edges = (np.arange(1, 256) - 0.5) / 255
    spread = scipy.stats.logistic(loc, scale)
    below = np.concatenate([[0.0], spread.cdf(edges), [1.0]])
    above = np.concatenate([[1.0], spread.sf(edges), [0.0]])
    left = LEVELS < loc
    return np.where(left, np.diff(below), -np.diff(above))


@pytest.mark.parametrize(("loc", "scale"), CASES)
def test_probabilities_and_moments(loc, scale):
    p_x, p = Rounded(np.array(loc), np.array(scale), 256), exact(loc, scale)
    np.testing.assert_allclose(np.exp(p_x.log_prob(LEVELS)), p, rtol=1e-9, atol=1e-300)
    mean = (p * LEVELS).sum()
    assert float(p_x.mean()) == pytest.approx(mean, abs=1e-12)
    assert float(p_x.variance()) == pytest.approx((p * (LEVELS - mean) ** 2).sum(), abs=1e-12)


@pytest.mark.parametrize(("loc", "scale"), CASES)
def test_single_precision(loc, scale):
    """A rounding of x - loc moves log p by that over the scale; log p itself is rounded, too."""
    single = Rounded(np.float32(loc), np.float32(scale), 256).log_prob(LEVELS.astype("float32"))
    double = Rounded(np.float64(np.float32(loc)), np.float64(np.float32(scale)), 256)
    x = LEVELS.astype("float32").astype("float64")
    rounding = 4 * 2.0**-24 * (1.5 + abs(loc)) / scale
    # where the width is far below the scale, log(1 - exp(-width)) has its own rounding, too
    np.testing.assert_allclose(single, double.log_prob(x), rtol=4e-6, atol=rounding + 1e-6)


@pytest.mark.parametrize(("loc", "scale"), CASES)
def test_draws_have_these_frequencies(loc, scale):
    draws = Rounded(np.array(loc), np.array(scale), 256).sample(4000, seed=[0, 1]).numpy()
    counts = np.bincount(np.rint(draws * 255).astype(int), minlength=256)
    np.testing.assert_allclose(draws * 255, np.rint(draws * 255), atol=1e-10)
    p = exact(loc, scale)
    spread = np.sqrt(4000 * p * (1 - p))
    common = p > 0.005
    assert np.all(abs(counts - 4000 * p)[common] < 4.5 * spread[common] + 1e-9)  # 256 levels
    rare = 4000 * p[~common].sum()
    assert abs(counts[~common].sum() - rare) < 4 * np.sqrt(rare + 1)


def test_gradients_are_finite_far_away():
    loc, scale = tf.Variable([-3.0, 0.2, 4.0]), tf.Variable([1e-4, 1e-4, 1e-4])
    with tf.GradientTape() as tape:
        log_p = Rounded(loc, scale, 256).log_prob(LEVELS[:, None].astype("float32"))
    assert np.isfinite(log_p).all()
    for gradient in tape.gradient(log_p, [loc, scale]):
        assert np.isfinite(gradient).all()


@pytest.mark.parametrize("scale", ["predicted", "learned", 0.1])
def test_a_model_of_colours_is_trained_saved_and_refuses_what_is_no_level(tmp_path, scale):
    rng = np.random.default_rng(0)
    x = (rng.integers(0, 256, (64, 4, 4, 3)) / 255).astype("float32")
    encoder = vt.networks.mlp((4, 4, 3), vt.layers.NormalDiag(2), hidden=8)
    likelihood = vt.layers.DiscretizedLogistic((4, 4, 3), scale=scale)
    vae = vt.VAE(encoder, vt.networks.mlp(2, likelihood, hidden=8), seed=0)
    history = vae.fit(x, epochs=2, batch_size=32, verbose=0)
    assert np.isfinite(history.history["elbo"]).all()
    assert vae.elbo(x, seed=0).reconstruction.numpy().max() < 0  # probabilities, not densities
    assert vae.sample(3, seed=0).shape == (3, 4, 4, 3)
    vae.save(tmp_path / "vae.keras")
    again = keras.saving.load_model(tmp_path / "vae.keras")
    np.testing.assert_allclose(again.elbo(x, seed=0).elbo, vae.elbo(x, seed=0).elbo, rtol=1e-6)
    with pytest.raises(ValueError, match="grey levels k"):
        vae.fit(x + 0.5 / 255, verbose=0)


@pytest.mark.parametrize("levels", [1, 0, 2.5])
def test_levels_are_counted(levels):
    with pytest.raises(ValueError, match="Expected `levels`"):
        vt.layers.DiscretizedLogistic(3, levels=levels)
