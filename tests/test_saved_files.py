"""Models saved by version 0.1.0 load, are what they were, and train on.

`expected.json` holds what each of them gave then: log weights at fixed z, the ELBO's terms of four
draws, and where training stood. The draws of a seed are another matter: since 0.2.0 they come from
a generator that gives the same numbers under XLA.
"""

import json
from pathlib import Path

import keras
import numpy as np
import pytest

import vae_tf  # noqa: F401, Keras finds its classes by their names

FOLDER = Path(__file__).parent / "fixtures" / "v0_1_0"
EXPECTED = json.loads((FOLDER / "expected.json").read_text(encoding="utf-8"))["expected"]
BY_SAMPLING = ("flow_mixture_prior", "vamp_prior")  # no closed form of the KL
Z = np.random.default_rng(3).normal(size=(4, 5, 2)).astype("float32")  # [S, B, L]
# A log weight is a sum of up to 64 terms, each right to 6e-8: 2e-5 leaves room for another order
# of the sum, and for another processor's exponential.
ROUNDING = {"rtol": 2e-5, "atol": 2e-5}


def load(name):
    return keras.saving.load_model(FOLDER / f"{name}.keras")


def data(name):
    with np.load(FOLDER / "data.npz") as arrays:
        return arrays[EXPECTED[name]["data"]]


def terms(vae, x, z):
    """log p(x|z) and log q(z|x) - log p(z), [S, B] each: their means are the ELBO's two terms."""
    q_z, p_x = vae.encode(x), vae.decode(z)
    return p_x.log_prob(x).numpy(), (q_z.log_prob(z) - vae.prior.log_prob(z)).numpy()


@pytest.mark.parametrize("name", EXPECTED)
def test_it_is_the_model_that_was_saved(name):
    vae, x, then = load(name), data(name), EXPECTED[name]
    reconstruction, kl = terms(vae, x, Z)
    np.testing.assert_allclose(reconstruction - kl, then["log_weights"], **ROUNDING)
    if name not in BY_SAMPLING:
        kl = vae.elbo(x, num_samples=4, seed=7).kl
        np.testing.assert_allclose(kl, then["kl"], **ROUNDING)


@pytest.mark.parametrize("name", EXPECTED)
def test_the_elbo_is_what_it_was(name):
    """Its terms, from four draws then, are those of many draws now, to five standard errors."""
    vae, x, then = load(name), data(name), EXPECTED[name]
    many = terms(vae, x, vae.encode(x).sample(400, seed=(0, 1)))
    for now, name_of_term in zip(many, ("reconstruction", "kl"), strict=True):
        off = np.abs(now.mean(axis=0) - then[name_of_term])
        assert np.all(off < 5 * now.std(axis=0) / np.sqrt(4)), name_of_term


@pytest.mark.parametrize("name", EXPECTED)
def test_training_goes_on_from_where_it_stood(name):
    vae, x, then = load(name), data(name), EXPECTED[name]
    assert int(vae.objective.step) == then["step"]
    assert int(vae.optimizer.iterations) == then["iterations"]
    np.testing.assert_array_equal(vae.seed_generator.state, then["seed_state"])
    history = vae.fit(x, epochs=1, batch_size=len(x), verbose=0).history
    assert np.all(np.isfinite(history["elbo"]))
    assert int(vae.objective.step) == int(vae.optimizer.iterations) == then["step"] + 1


def test_no_file_is_left_out():
    assert {path.stem for path in FOLDER.glob("*.keras")} == EXPECTED.keys()
