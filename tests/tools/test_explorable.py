"""The explorable: what its JavaScript computes is what the package computes."""

import json
import re
import shutil
import subprocess

import explorable
import numpy as np
import pytest
from stamp import ROOT

import vae_tf as vt

CORE = ROOT / "docs" / "site" / "_static" / "explore_core.js"
SCRIPT = """
const core = require(process.argv[1]);
const stored = JSON.parse(require("fs").readFileSync(0, "utf8"));
const model = new core.Model(stored);
console.log(JSON.stringify(stored.heldOut.map((text) => {
  const x = core.image(text), q = model.encode(x), { posterior, step } = model.evidence(x);
  const tilted = { mean: q.mean, scale: [0.5, 0.2], angle: 0.7 };
  return {
    evidence: model.evidence(x).logEvidence, q, elbo: model.elbo(x, q),
    tilted: model.elbo(x, tilted), bound: model.iwae(x, q, 20),
    mass: posterior.reduce((a, b) => a + b) * step * step,
  };
})));
"""

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="needs Node.js")


@pytest.fixture(scope="module")
def stored():
    text = explorable.TARGET.read_text(encoding="utf-8")
    return json.loads(re.fullmatch(r"const EXPLORE_MODEL = (.*);\n", text)[1])


@pytest.fixture(scope="module")
def browser(stored):
    command = ["node", "-e", SCRIPT, str(CORE)]
    run = subprocess.run(command, input=json.dumps(stored), capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


@pytest.fixture(scope="module")
def vae(stored):
    made = explorable.model()
    for name in ("encoder", "decoder"):
        network = getattr(made, name)
        shapes = [weight.shape for weight in network.get_weights()]
        values = [np.reshape(v, s) for v, s in zip(stored[name], shapes, strict=True)]
        network.set_weights(values)
    return made


@pytest.fixture(scope="module")
def x(stored):
    pixels = [[int(pixel) for pixel in text] for text in stored["heldOut"]]
    return np.array(pixels, "float32").reshape(-1, 8, 8)


def test_the_evidence_is_that_of_grid(browser, vae, x):
    truth = vt.evidence.grid(vae, x).estimate
    np.testing.assert_allclose([one["evidence"] for one in browser], truth, atol=1e-3)
    np.testing.assert_allclose([one["mass"] for one in browser], 1, rtol=1e-9)


def test_q_is_that_of_the_encoder(browser, vae, x):
    q_z = vae.encode(x)
    np.testing.assert_allclose([one["q"]["mean"] for one in browser], q_z.mean(), atol=1e-5)
    np.testing.assert_allclose([one["q"]["scale"] for one in browser], q_z.stddev(), atol=1e-5)


def test_the_elbo_and_its_kl(browser, vae, x):
    draws = [vae.elbo(x, 200, seed=seed) for seed in range(20)]
    elbo = np.array([one.elbo for one in draws])  # [20, B]
    error = elbo.std(axis=0, ddof=1) / np.sqrt(len(elbo))
    ours = np.array([one["elbo"]["elbo"] for one in browser])
    assert np.all(abs(elbo.mean(axis=0) - ours) < 4 * error + 1e-3)
    kl = [one["elbo"]["kl"] for one in browser]
    np.testing.assert_allclose(kl, draws[0].kl, atol=1e-4)


def test_a_tilted_q_and_the_bound_lie_below_the_evidence(browser):
    for one in browser:
        assert one["tilted"]["elbo"] < one["evidence"]
        bound = one["bound"]
        assert one["elbo"]["elbo"] - 0.02 < bound["estimate"]
        assert bound["estimate"] < one["evidence"] + 4 * bound["standardError"]
