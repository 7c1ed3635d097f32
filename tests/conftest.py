"""Shared fixtures, and the contract printed line by line at the end of a run."""

import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("MPLBACKEND", "Agg")

import keras
import numpy as np
import pytest

import vae_tf as vt

S, B, L, D = 7, 5, 3, 64  # unequal, so that no silent broadcast goes unseen


@pytest.fixture(autouse=True)
def _fixed_weights():
    keras.utils.set_random_seed(0)


@pytest.fixture(scope="session")
def binary_digits():
    """Real 8x8 digits, binarised: 1297 for training, 250 held out."""
    digits = vt.data.load("digits")
    return vt.data.binarize(digits.x_train, seed=0), vt.data.binarize(digits.x_test, seed=1)


def make_vae(latents=2, likelihood=None, event=(8, 8), hidden=(32,), **kwargs):
    likelihood = vt.layers.Bernoulli(event) if likelihood is None else likelihood
    encoder = vt.networks.mlp(event, vt.layers.NormalDiag(latents), hidden=hidden)
    return vt.VAE(encoder, vt.networks.mlp(latents, likelihood, hidden=hidden), **kwargs)


@pytest.fixture(scope="session")
def trained(binary_digits):
    """A VAE of two latents after a short training on digits."""
    keras.utils.set_random_seed(0)
    vae = make_vae(hidden=(64,), seed=0)
    vae.fit(binary_digits[0], epochs=8, batch_size=64, verbose=0)
    return vae


def random_linear(rng, data_size, latent_size, noise=None):
    """A random linear-Gaussian model and ten examples that it has drawn itself."""
    noise = rng.uniform(0.3, 1.5) if noise is None else noise
    weights, mean = rng.normal(size=(data_size, latent_size)), rng.normal(size=data_size)
    z = rng.normal(size=(10, latent_size))
    x = z @ weights.T + mean + noise * rng.normal(size=(10, data_size))
    return vt.linear.LinearGaussian(weights, mean, noise), x


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def pytest_collection_modifyitems(items):
    """Marks what tests/slow.txt lists: a test, a class, or all of a file."""
    lines = (Path(__file__).parent / "slow.txt").read_text(encoding="utf-8").splitlines()
    slow = {line for line in lines if line and not line.startswith("#")}
    for item in items:
        name = item.nodeid.removeprefix("tests/").split("[")[0]
        parts = name.split("::")
        if slow & {"::".join(parts[:n]) for n in range(1, len(parts) + 1)}:
            item.add_marker("slow")


def pytest_terminal_summary(terminalreporter):
    """The ten lines of the contract and what the tests named after them found."""
    lines = {}
    for status in ("passed", "failed", "error"):
        for report in terminalreporter.getreports(status):
            if "test_contract.py::" in report.nodeid and (
                report.when == "call" or status != "passed"
            ):
                line = report.nodeid.split("::")[1].split("[")[0]
                lines.setdefault(line, []).append(status)
    if lines:
        terminalreporter.section("the contract")
    for line in sorted(lines):
        title = line.removeprefix("Test_").replace("_", " ")
        verdict = "ok" if set(lines[line]) == {"passed"} else "BROKEN"
        terminalreporter.line(f"{title:<60} {len(lines[line]):>3} tests  {verdict}")
