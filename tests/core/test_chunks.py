"""Long work in parts: the same numbers as in one piece, in memory that does not grow."""

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

import vae_tf as vt
from vae_tf._core import chunks


@pytest.fixture
def vae():
    encoder = vt.networks.mlp(6, vt.layers.NormalDiag(3), hidden=(8,))
    return vt.VAE(encoder, vt.networks.mlp(3, vt.layers.Bernoulli(6), hidden=(8,)), seed=0)


@pytest.fixture
def x(rng):
    return (rng.random((23, 6)) < 0.4).astype("float32")


class TestEvaluationInParts:
    def test_the_elbo_of_each_example_whatever_the_budget(self, vae, x, monkeypatch):
        whole = vae.elbo(x, 1000, seed=0)
        forward = vt.elbo.forward(vae, x, 1000, seed=0)
        error = np.std(vt.elbo.log_likelihood(forward), axis=0) / np.sqrt(1000)
        monkeypatch.setattr(chunks, "BUDGET", 300)  # parts of 12, 11 examples and 25 to 27 samples
        parts = vae.elbo(x, 1000, seed=0)
        assert np.all(np.abs(parts.elbo - whole.elbo) < 4 * np.sqrt(2) * error)
        np.testing.assert_allclose(parts.kl, whole.kl, rtol=1e-6)
        np.testing.assert_allclose(parts.elbo, parts.reconstruction - parts.kl, atol=1e-5)
        np.testing.assert_array_equal(parts.elbo, vae.elbo(x, 1000, seed=0).elbo)

    def test_no_noise_no_difference(self, vae, x, monkeypatch):
        vae.decoder.layers[0].kernel.assign(tf.zeros([3, 8]))  # z is not seen
        whole = vae.elbo(x, 7)
        monkeypatch.setattr(chunks, "BUDGET", 100)
        np.testing.assert_allclose(vae.elbo(x, 7).elbo, whole.elbo, rtol=1e-5)

    def test_equal_weights_are_so_in_parts(self, vae, monkeypatch):
        x = np.zeros((23, 6), "float32")  # its q(z|x) is N(0, 1), as long as all biases are zero
        vae.decoder.layers[0].kernel.assign(tf.zeros([3, 8]))
        monkeypatch.setattr(chunks, "BUDGET", 100)
        bound = vt.evidence.iwae(vae, x, 700, seed=0)
        np.testing.assert_allclose(bound.estimate, 6 * np.log(0.5), rtol=1e-5)
        assert np.all(bound.pareto_k == -np.inf) and not bound.refused.any()

    def test_the_encoder_does_not_run_for_every_sample(self, vae, monkeypatch):
        """With so many examples one sample of each filled the budget: 1,000 parts."""
        monkeypatch.setattr(chunks, "BUDGET", 50 * chunks.width(vae, np.zeros((1, 6))))
        x, passes, samples = np.zeros((50, 6), "float32"), np.zeros(50, int), np.zeros(50, int)

        def draw(model, x, seed, *, size):
            return vt.elbo.forward(model, x, size, seed=seed).z

        for rows, size, z in chunks.over(draw, vae, x, num_samples=1000, seed=0):
            assert z.shape == (size, len(rows), 3)
            passes[rows] += 1
            samples[rows] += size
        assert np.all(samples == 1000) and np.all((50 < passes) & (passes <= 125))

    def test_no_two_parts_share_their_noise(self, vae, monkeypatch):
        x = np.ones((40, 6), "float32")
        monkeypatch.setattr(chunks, "BUDGET", 12)  # two examples and one sample at a time
        reconstruction = vae.elbo(x, 1, seed=0).reconstruction.numpy()
        assert len(np.unique(reconstruction)) == 40

    def test_other_values_are_refused_in_every_part(self, vae, x, monkeypatch):
        x = x[:20]  # five parts of four examples
        x[-1, 0] = 0.5  # in the last, which is a graph by then
        monkeypatch.setattr(chunks, "BUDGET", 6 * 4)
        for evaluate in (vae.elbo, lambda x, k: vt.evidence.iwae(vae, x, k)):
            with pytest.raises(ValueError, match="Expected `x` with only the values 0 and 1.*0.5"):
                evaluate(x, 3)


_PEAK = """
import sys, keras, numpy as np, vae_tf as vt
keras.utils.set_random_seed(0)
vae = vt.VAE(
    vt.networks.mlp(2, vt.layers.NormalDiag(2), hidden=(200, 200)),
    vt.networks.mlp(2, vt.layers.Normal(2, scale=0.1), hidden=(200, 200)),
)
x = np.random.default_rng(0).normal(size=(100, 2)).astype("float32")
vt.evidence.iwae(vae, x, int(sys.argv[1]), seed=0)
print(*[line.split()[1] for line in open("/proc/self/status") if "VmHWM" in line])
"""


class TestMemory:
    @pytest.mark.skipif(not pathlib.Path("/proc/self/status").exists(), reason="needs /proc")
    def test_it_does_not_grow_with_k_however_wide_the_network(self):
        """b17: 2-D data under layers of 200: 8,000 samples took 1.9 GB more than 500."""
        environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
        command = [sys.executable, "-c", _PEAK]
        few, many = (
            int(subprocess.check_output([*command, count], env=environment, text=True))
            for count in ("500", "8000")
        )
        assert many < 1.1 * few

    def test_the_budget_knows_layers_and_components(self, rng):
        wide = vt.networks.mlp(2, vt.layers.NormalDiag(2), hidden=(50,))
        decoder = vt.networks.mlp(2, vt.layers.Normal(2), hidden=(70,))
        x = rng.normal(size=(3, 2)).astype("float32")
        assert chunks.width(vt.VAE(wide, decoder), x) == 2 * 70
        prior = vt.priors.MixtureOfNormals(2, 100)
        assert chunks.width(vt.VAE(wide, decoder, prior=prior), x) == 200
