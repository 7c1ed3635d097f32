"""Conditional VAEs, p(x|c): wherever data go in, conditions go with them, row by row."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from scipy import stats

import vae_tf as vt

tfd = tfp.distributions
N, D, L, C = 60, 4, 2, 3
RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, C, N)
ONE_HOT = np.eye(C, dtype="float32")[LABELS]
X = (RNG.normal(size=(N, D)) + 3 * LABELS[:, None]).astype("float32")


def make(seed=0, conditions=C, **kwargs):
    keras.utils.set_random_seed(seed)
    encoder = vt.networks.mlp(D, vt.layers.NormalDiag(L), hidden=(8,), condition=conditions)
    decoder = vt.networks.mlp(L, vt.layers.Normal(D, scale=1.0), hidden=(8,), condition=conditions)
    return vt.VAE(encoder, decoder, seed=0, **kwargs)


@pytest.fixture(scope="module")
def trained():
    vae = make()
    vae.compile(keras.optimizers.Adam(1e-2))
    vae.fit((X, ONE_HOT), epochs=200, batch_size=20, verbose=0)
    return vae


FEEDS = {
    "array": (lambda: (X, ONE_HOT), {"batch_size": 20}),
    "list": (lambda: [X, ONE_HOT], {"batch_size": 20}),
    "tensors": (lambda: (tf.constant(X), tf.constant(ONE_HOT)), {"batch_size": 20}),
    "data set of pairs": (lambda: tf.data.Dataset.from_tensor_slices((X, ONE_HOT)).batch(20), {}),
    "data set of x": (lambda: tf.data.Dataset.from_tensor_slices(((X, ONE_HOT),)).batch(20), {}),
    "Batches": (lambda: vt.data.Batches(X, 20, condition=ONE_HOT), {}),
    "generator": (
        lambda: (((X[i : i + 20], ONE_HOT[i : i + 20]),) for i in (0, 20, 40)),
        {"steps_per_epoch": 3},
    ),
}


@pytest.fixture(scope="module")
def expected(trained):
    """Minus the mean ELBO, its error for one z of each example, and what other rows would give."""
    right, error = vt.elbo.moments(trained, X, 400, condition=ONE_HOT, seed=0)
    wrong, _ = vt.elbo.moments(trained, X, 400, condition=ONE_HOT[::-1], seed=0)
    return -right.elbo.mean(), np.sqrt(400 * (error**2).sum()) / N, -wrong.elbo.mean()


@pytest.mark.parametrize("name", FEEDS)
def test_every_feed(name, trained, expected):
    """Rows stay together: labels that belong to other rows give another loss."""
    data, options = FEEDS[name]
    vae = make()
    vae.encoder.set_weights(trained.encoder.get_weights())
    vae.decoder.set_weights(trained.decoder.get_weights())
    vae.compile(keras.optimizers.SGD(0.0))  # the loss of all examples, whatever their order
    loss = vae.fit(data(), verbose=0, **options).history["loss"][0]
    right, error, wrong = expected
    assert abs(loss - right) < 4 * error < abs(wrong - right) / 4


def test_one_row_of_a_condition_stands_for_its_example(trained):
    one_by_one = [
        trained.elbo(X[i : i + 1], 3, condition=ONE_HOT[i : i + 1], seed=0).kl[0] for i in range(5)
    ]
    np.testing.assert_allclose(
        trained.elbo(X[:5], 3, condition=ONE_HOT[:5], seed=0).kl, one_by_one, rtol=1e-5
    )


def test_decoding_meets_every_sample_with_its_condition(trained):
    z = np.random.default_rng(1).normal(size=(7, 5, L)).astype("float32")
    together = trained.decode(z, condition=ONE_HOT[:5]).mean()
    assert together.shape == (7, 5, D)
    for s, b in itertools.product(range(7), range(5)):
        alone = trained.decode(z[s, b][None], condition=ONE_HOT[b : b + 1]).mean()[0]
        np.testing.assert_allclose(together[s, b], alone, rtol=1e-5, atol=1e-6)


def test_sample_reconstruct_evaluate_predict(trained):
    three = np.tile(np.eye(C, dtype="float32")[2], (200, 1))
    drawn = trained.sample(200, condition=three, seed=0).numpy()
    assert drawn.shape == (200, D)
    assert abs(drawn.mean() - 6) < 1 < abs(drawn.mean() - 3)
    np.testing.assert_array_equal(trained.sample(200, condition=three[:1], seed=0), drawn)
    assert trained.reconstruct(X[:5], condition=ONE_HOT[:5], seed=0).shape == (5, D)
    assert trained.predict((X, ONE_HOT), verbose=0).shape == (N, D)
    elbo = trained.evaluate((X, ONE_HOT), verbose=0, return_dict=True)["elbo"]
    terms, error = vt.elbo.moments(trained, X, 200, condition=ONE_HOT, seed=0)
    # evaluate draws one z for each example: sqrt(200) times the error of 200
    assert abs(elbo - terms.elbo.mean()) < 4 * np.sqrt(200 * (error**2).sum()) / N


def test_bounds_gap_and_diagnostics(trained):
    given = {"condition": ONE_HOT[:5]}
    truth = vt.evidence.grid(trained, X[:5], **given)
    bound = vt.evidence.iwae(trained, X[:5], 2000, seed=0, **given)
    error = 4 * bound.standard_error + truth.standard_error
    np.testing.assert_array_less(np.abs(bound.estimate - truth.estimate), error)
    gap = vt.gap.total(trained, X[:5], 500, seed=0, **given)
    assert (np.asarray(gap) > -4 * gap.standard_error).all()
    assert vt.diagnostics.active_units(trained, X, condition=ONE_HOT).variance.shape == (L,)
    assert vt.diagnostics.surgery(trained, X, condition=ONE_HOT, seed=0).kl > 0


def test_log_evidence_given_a_label_is_above_that_without(trained):
    """Labels that say where x lies make x more probable than a VAE without them thinks."""
    keras.utils.set_random_seed(0)
    parts = vt.layers.NormalDiag(L), vt.layers.Normal(D, scale=1.0)
    encoder, decoder = (
        vt.networks.mlp(n, p, hidden=(8,)) for n, p in zip((D, L), parts, strict=True)
    )
    plain = vt.VAE(encoder, decoder, seed=0)
    plain.compile(keras.optimizers.Adam(1e-2))
    plain.fit(X, epochs=30, verbose=0)
    given = vt.evidence.iwae(trained, X, 500, condition=ONE_HOT, seed=0).estimate
    assert given.mean() > vt.evidence.iwae(plain, X, 500, seed=0).estimate.mean()


def test_saved_and_loaded(trained, tmp_path):
    trained.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    given = {"condition": ONE_HOT[:5], "seed": 0}
    for a, b in zip(trained.elbo(X[:5], **given), again.elbo(X[:5], **given), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_sweep_is_fit():
    alone, swept = make(), [make(), make(seed=1)]
    options = {"epochs": 2, "batch_size": 16}
    history = alone.fit((X, ONE_HOT), verbose=0, **options).history
    found = vt.sweep(swept, (X, ONE_HOT), verbose=0, **options)
    np.testing.assert_allclose(found.loss[0], history["loss"], rtol=1e-5)


def test_two_conditions_and_a_network_that_takes_the_first():
    keras.utils.set_random_seed(0)
    counts = np.random.default_rng(2).poisson(3.0, (N, D)).astype("float32")
    size = counts.sum(axis=1)  # one number for each example: [N] is [N, 1]
    likelihood = vt.layers.NegativeBinomial(D)
    encoder = vt.networks.mlp(D, vt.layers.NormalDiag(L), hidden=(8,), condition=C)
    decoder = vt.networks.mlp(L, likelihood, hidden=(8,), condition=C, size_factor=True)
    vae = vt.VAE(encoder, decoder, seed=0)
    assert len(vae.conditions) == 2
    history = vae.fit((counts, ONE_HOT, size), epochs=2, verbose=0).history
    assert np.isfinite(history["elbo"]).all()
    z = tf.zeros([1, 5, L])
    means = vae.decode(z, condition=(ONE_HOT[:5], size[:5])).mean()
    double = vae.decode(z, condition=(ONE_HOT[:5], 2 * size[:5])).mean()
    np.testing.assert_allclose(double, 2 * means, rtol=1e-5)
    found = vt.evidence.iwae(vae, counts[:5], 50, condition=(ONE_HOT[:5], size[:5]), seed=0)
    assert np.isfinite(found.estimate).all()


def test_a_size_factor_alone_against_scipy():
    """An encoder that takes no condition, a decoder that takes the size: log p(x|z, c) by hand."""
    encoder = vt.networks.mlp(D, vt.layers.NormalDiag(L), hidden=(8,))
    decoder = vt.networks.mlp(L, vt.layers.Poisson(D), hidden=(), size_factor=True)
    vae = vt.VAE(encoder, decoder, seed=0)
    x, size = np.array([[3.0, 0, 1, 7]], "float32"), np.array([11.0], "float32")
    log_prob = vae.decode(np.zeros((1, 1, L)), condition=size).log_prob(x)
    bias = decoder.get_weights()[-1]
    expected = stats.poisson.logpmf(x[0], 11 * np.exp(bias)).sum()
    np.testing.assert_allclose(log_prob[0, 0], expected, rtol=1e-5)


BAD = {
    "no condition": (lambda v: v.fit(X, verbose=0), "with 1 conditions"),
    "too many": (lambda v: v.fit((X, ONE_HOT, ONE_HOT), verbose=0), "Received: 3 parts"),
    "other rows": (lambda v: v.fit((X, ONE_HOT[:9]), verbose=0), "equally many rows"),
    "other width": (lambda v: v.elbo(X, condition=ONE_HOT[:, :2]), r"shape \[B, 3\]"),
    "elbo without": (lambda v: v.elbo(X), "Expected 1 conditions"),
    "elbo of fewer rows": (lambda v: v.elbo(X, condition=ONE_HOT[:9]), "60 examples"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_refused(name, trained):
    call, words = BAD[name]
    with pytest.raises(ValueError, match=words):
        call(trained)


def test_a_model_without_conditions_refuses_one():
    encoder = vt.networks.mlp(D, vt.layers.NormalDiag(L), hidden=(8,))
    vae = vt.VAE(encoder, vt.networks.mlp(L, vt.layers.Normal(D), hidden=(8,)))
    with pytest.raises(ValueError, match="Expected 0 conditions"):
        vae.elbo(X, condition=ONE_HOT)


def test_networks_that_disagree_about_conditions():
    encoder = vt.networks.mlp(D, vt.layers.NormalDiag(L), hidden=(8,), condition=C)
    decoder = vt.networks.mlp(L, vt.layers.Normal(D), hidden=(8,), condition=C + 1)
    with pytest.raises(ValueError, match="same conditions in the same order"):
        vt.VAE(encoder, decoder)


def test_several_devices():
    """A strategy with one device goes Keras' way: a pair of arrays is one input there too."""
    with tf.distribute.OneDeviceStrategy("cpu:0").scope():
        vae = make()
    history = vae.fit((X, ONE_HOT), epochs=1, batch_size=20, verbose=0).history
    assert np.isfinite(history["loss"]).all()
