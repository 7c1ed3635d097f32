"""Draws the README's picture, docs/bounds.png: ELBO, K-sample bound and exact log p(x), measured.

Run it with `.venv/bin/python tools/picture.py`; it takes about a minute on two cores.
"""

from pathlib import Path

import keras
import matplotlib.pyplot as plt
import numpy as np

import vae_tf as vt

PICTURE = Path(__file__).resolve().parents[1] / "docs" / "bounds.png"
K = (1, 2, 5, 10, 20, 50, 100, 200)


def train():
    """A VAE with two latents, so that its log p(x) is known, and 150 held-out digits."""
    keras.utils.set_random_seed(0)
    digits = vt.data.load("mnist5k")
    encoder = vt.networks.mlp((28, 28), vt.layers.NormalDiag(2))
    decoder = vt.networks.mlp(2, vt.layers.Bernoulli((28, 28)))
    vae = vt.VAE(encoder, decoder, seed=0)
    vae.fit(vt.data.binarize(digits.x_train, seed=0), epochs=20, batch_size=100, verbose=0)
    return vae, vt.data.binarize(digits.x_test, seed=1)[:150]


def k_sample_bound(vae, x, k, repetitions=100):
    """The bound is an expectation; one estimate of it scatters, also to above log p(x)."""
    estimates = [vt.evidence.iwae(vae, x, k, seed=seed).estimate for seed in range(repetitions)]
    return np.mean(estimates, axis=0)


def draw(vae, x):
    """Left: the bounds of each digit, below its log p(x). Right: their means against K."""
    truth = vt.evidence.grid(vae, x).estimate
    elbo = vae.elbo(x, num_samples=500, seed=0).elbo.numpy()
    bounds = {k: k_sample_bound(vae, x, k) for k in K}
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(10, 3.8), width_ratios=(3, 2), layout="constrained"
    )
    order = np.argsort(elbo - truth)[::-1]
    style = vt.plots.STYLE
    left.axhline(0, label="log p(x), exact", **style["log p(x)"])
    left.plot(
        (bounds[20] - truth)[order], "x", color=style["IWAE"]["color"], label="20-sample bound"
    )
    left.plot((elbo - truth)[order], "o", color=style["ELBO"]["color"], ms=3, label="ELBO")
    left.set(xlabel="held-out digit, in order of its gap", ylabel="value − log p(x) [nats]")
    left.set_yscale("symlog", linthresh=1)
    left.legend(loc="lower left")
    right.axhline(truth.mean(), label="log p(x)", **style["log p(x)"])
    right.plot(K, [bounds[k].mean() for k in K], label="K-sample bound", **style["IWAE"])
    right.axhline(elbo.mean(), label="ELBO", **style["ELBO"])
    right.set(xlabel="K, samples", ylabel="mean of 150 digits [nats]", xscale="log")
    right.legend(loc="center right")
    return figure


if __name__ == "__main__":
    PICTURE.parent.mkdir(exist_ok=True)
    draw(*train()).savefig(PICTURE, dpi=110)
    print(f"wrote {PICTURE.name}")
