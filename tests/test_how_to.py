"""The how-to pages: their code runs from top to bottom and prints what they say it prints."""

import contextlib
import io
import pathlib
import re

import keras
import matplotlib.pyplot as plt
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
import tensorflow_probability as tfp
from stamp import ROOT

import vae_tf as vt

tfd = tfp.distributions

PAGES = {page.stem: page for page in (ROOT / "docs" / "how_to").glob("*.md")}
# It needs two processes: tests/fit/test_several_devices.py runs it.
RUN = PAGES.keys() - {"several_machines"}
# They train ten, two and five models; tests/slow.txt names their test.
LONG = {"semi_supervised", "counts", "tune"}
BLOCK = re.compile(r"```python\n(?P<code>.*?)```\n(?:```text\n(?P<printed>.*?)```)?", re.DOTALL)
NUMBER = re.compile(r"(?<![\w.])[-+]?\d+(?:\.\d+)?(?:e-?\d+)?")
# A training carries rounding on: on another machine its numbers differ by a few parts in a hundred.
RTOL, ATOL = 0.05, 0.02


def run(page):
    """Runs a page in the present folder; asserts that it prints what it says. Returns its names."""
    names, text = {"__name__": "page"}, PAGES[page].read_text(encoding="utf-8")
    for number, block in enumerate(BLOCK.finditer(text)):
        printed, source = io.StringIO(), pathlib.Path(f"block_{number}.py").resolve()
        source.write_text(block["code"], encoding="utf-8")  # where tf.function looks it up
        with contextlib.redirect_stdout(printed):
            exec(compile(block["code"], str(source), "exec"), names)
        plt.close("all")
        assert_alike(printed.getvalue(), block["printed"] or "")
    return names


def assert_alike(got, said):
    """The same words, and numbers within the tolerance."""
    numbers = [np.array(NUMBER.findall(text), "float64") for text in (got, said)]
    assert NUMBER.sub("#", got).split() == NUMBER.sub("#", said).split(), got
    np.testing.assert_allclose(*numbers, rtol=RTOL, atol=ATOL, err_msg=got)


# What a page claims beyond its numbers, by the names that it leaves.
CLAIMS = {
    "semi_supervised": lambda names: np.mean(names["with_all"]) > np.mean(names["alone"]),
    "counts": lambda names: names["elbos"][1] > names["elbos"][0],
    "missing_values": lambda names: names["wrong"].mean() < names["frequent"].mean(),
    "own_likelihood": lambda names: (
        np.mean(names["restored"] != names["clean"]) < np.mean(names["flips"])
    ),
}


@pytest.fixture
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    """Where the files go that a page writes."""
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("in_a_folder_of_its_own")
@pytest.mark.parametrize("page", sorted(RUN - LONG))
def test_a_page_prints_what_it_says(page):
    names = run(page)
    assert page not in CLAIMS or CLAIMS[page](names)


@pytest.mark.usefixtures("in_a_folder_of_its_own")
@pytest.mark.parametrize("page", sorted(LONG))
def test_a_long_page_prints_what_it_says(page):
    names = run(page)
    assert page not in CLAIMS or CLAIMS[page](names)


@pytest.mark.parametrize("page", sorted(PAGES))
def test_a_page_is_short_and_leads_on(page):
    text = PAGES[page].read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 60
    assert re.match(r"# (How to|From) .*\n\n(For|To|The) ", text)  # and then what it is for
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", text)
    assert all((PAGES[page].parent / target).exists() for target in targets)
    assert f"docs/how_to/{page}\n" in (ROOT / "docs/site/how_to.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", sorted(RUN))
def test_a_page_has_numbers_that_come_again(page):
    text = PAGES[page].read_text(encoding="utf-8")
    first, *_ = blocks = list(BLOCK.finditer(text))
    assert first["code"].startswith("import keras\n")
    assert "\nkeras.utils.set_random_seed(0)" in first["code"]
    assert any(NUMBER.search(block["printed"] or "") for block in blocks)


def test_other_words_or_numbers_are_noticed():
    assert_alike("ELBO -25.0 nats", "ELBO -25.3 nats")
    for said in ("ELBO -28.3 nats", "IWAE -25.0 nats", "ELBO -25.0 nats 3"):
        with pytest.raises(AssertionError):
            assert_alike("ELBO -25.0 nats", said)


class MaskedNormal(vt.layers.ToDistribution):
    """prod_d N(x_d; loc_d, NOISE^2)^mask_d, as the page's Bernoulli."""

    @classmethod
    def params_size(cls, event_shape):
        return 2 * super().params_size(event_shape)

    def distribution(self, params):
        loc, mask = (self.to_event(part) for part in tf.split(params, 2, axis=-1))
        return self.independent(tfd.Masked(tfd.Normal(loc, tf.cast(NOISE, loc.dtype)), mask > 0.5))


NOISE = 0.5


class LinearWithHoles:
    """x = W z + mean + noise, some values not seen; q is the posterior given those that were."""

    def __init__(self, rng):
        self.weights, self.mean = rng.normal(size=(5, 2)), rng.normal(size=5)
        z, mask = (keras.Input((n,), dtype="float64") for n in (2, 5))
        dense = keras.layers.Dense(5, dtype="float64")
        params = keras.layers.Concatenate(dtype="float64")([dense(z), mask])
        self.decoder = keras.Model([z, mask], MaskedNormal(5, dtype="float64")(params))
        dense.set_weights([self.weights.T, self.mean])
        self.prior = tfd.MultivariateNormalDiag(np.zeros(2))

    def decode(self, z, *, condition):
        return vt.networks.batch_apply(self.decoder, z, [condition])

    def encode(self, x, *, condition):
        seen = np.asarray(condition)
        of_latents = np.einsum("dl,nd,dm->nlm", self.weights, seen, self.weights) / NOISE**2
        covariance = np.linalg.inv(np.eye(2) + of_latents)
        pull = ((np.asarray(x) - self.mean) * seen) @ self.weights / NOISE**2
        loc = np.einsum("nlm,nm->nl", covariance, pull)
        return tfd.MultivariateNormalTriL(loc, np.linalg.cholesky(covariance))

    def log_evidence(self, x, seen):
        """By the marginal Normal of what was seen."""
        found = np.zeros(len(x))
        for i, at in enumerate(seen == 1):
            if at.any():
                w = self.weights[at]
                covariance = w @ w.T + NOISE**2 * np.eye(at.sum())
                found[i] = scipy.stats.multivariate_normal(self.mean[at], covariance).logpdf(
                    x[i, at]
                )
        return found

    def elbo(self, x, seen, loc, scale):
        """Of any q = N(loc, scale^2), in closed form."""
        off = ((x - self.mean - loc @ self.weights.T) ** 2 + scale**2 @ self.weights.T**2) * seen
        constants = seen.sum(axis=1) * np.log(NOISE * np.sqrt(2 * np.pi))
        kl = 0.5 * (loc**2 + scale**2 - 1 - 2 * np.log(scale)).sum(axis=1)
        return -off.sum(axis=1) / (2 * NOISE**2) - constants - kl


class TestMissingValues:
    """The way of the page, with Normals, where everything is known in closed form."""

    def setup_method(self):
        rng = np.random.default_rng(0)
        self.model = LinearWithHoles(rng)
        self.seen = (rng.random((20, 5)) < 0.6).astype("float64")
        self.x = (rng.normal(size=(20, 5)) + self.model.mean) * self.seen
        self.loc, self.scale = rng.normal(size=(20, 2)), rng.uniform(0.3, 1.5, (20, 2))

    def test_evidence_is_that_of_what_was_seen(self):
        truth = self.model.log_evidence(self.x, self.seen)
        bound = vt.evidence.iwae(self.model, self.x, 3, condition=self.seen, seed=0)
        np.testing.assert_allclose(bound.estimate, truth, atol=1e-6)  # q is the posterior
        grid = vt.evidence.grid(self.model, self.x, condition=self.seen)
        np.testing.assert_allclose(grid.estimate, truth, atol=1e-6)

    def test_elbo_of_any_q(self):
        """The reconstruction is quadratic in z: the nodes of Gauss and Hermite give its mean."""
        nodes, weight = np.polynomial.hermite_e.hermegauss(4)
        z = np.stack(np.meshgrid(nodes, nodes), axis=-1).reshape(-1, 1, 2)
        share = np.outer(weight, weight).ravel() / (2 * np.pi)
        p_x = self.model.decode(self.loc + self.scale * z, condition=self.seen)
        q_z = tfd.MultivariateNormalDiag(self.loc, self.scale)
        elbo = share @ p_x.log_prob(self.x).numpy() - q_z.kl_divergence(self.model.prior)
        truth = self.model.elbo(self.x, self.seen, self.loc, self.scale)
        np.testing.assert_allclose(elbo, truth, atol=1e-6)
        assert np.all(truth < self.model.log_evidence(self.x, self.seen))
