"""Draws the picture of the front page, docs/bounds.png: log p(x) and its bounds, measured.

Run it with `.venv/bin/python tools/picture.py`; it takes about a minute on two cores. With --draw
it draws the last figures again.
"""

import sys
from pathlib import Path

import keras
import matplotlib.pyplot as plt
import numpy as np

import vae_tf as vt

ROOT = Path(__file__).resolve().parents[1]
PICTURE, MEASURED = ROOT / "docs" / "bounds.png", ROOT / "build" / "bounds.npz"
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


def k_sample_bound(vae, x, k, repetitions=20):
    """The bound is an expectation; one estimate of it scatters, also to above log p(x)."""
    estimates = [vt.evidence.iwae(vae, x, k, seed=seed).estimate for seed in range(repetitions)]
    return np.mean(estimates, axis=0)


def measure(vae, x):
    """log p(x) of each digit, the two terms of its ELBO, and its bounds [K, B]; all in nats."""
    terms = vae.elbo(x, num_samples=500, seed=0)
    return {
        "truth": vt.evidence.grid(vae, x).estimate,
        "reconstruction": terms.reconstruction.numpy(),
        "kl": terms.kl.numpy(),
        "bounds": np.array([k_sample_bound(vae, x, k) for k in K]),
    }


def colour(quantity):
    return vt.plots.STYLE[quantity]["color"]


def draw_each(ax, elbo, bound):
    """How far below log p(x) each digit's bounds lie, in order of its gap."""
    order, ranks = np.argsort(elbo), np.arange(len(elbo))
    ax.fill_between(ranks, 0, elbo[order], color=colour("gap"), alpha=0.12, lw=0)
    ax.plot(ranks, bound[order], "x", color=colour("IWAE"), ms=4)
    ax.plot(ranks, elbo[order], "o", color=colour("ELBO"), ms=3)
    ax.set(xlabel="held-out digit, in order of its gap", title="each digit")
    ax.set_yscale("symlog", linthresh=1)
    ax.set_yticks([0, 0.5, 1, 2, 5, 10, 20, 50], ["0", "0.5", "1", "2", "5", "10", "20", "50"])
    ax.set_ylim(70, -0.45)
    ax.text(len(elbo), -0.12, "log p(x)", ha="right", va="bottom")
    ax.text(12, 0.8, "ELBO", color=colour("ELBO"), ha="center")
    ax.text(50, 5, "20-sample bound", color=colour("IWAE"), ha="center")
    ax.annotate("", (88, 0.32), (56, 4.2), arrowprops={"arrowstyle": "->", "color": colour("IWAE")})


def draw_means(ax, elbo, bounds):
    """The means of the same distances, against the number of samples."""
    ax.fill_between(K, 0, elbo.mean(), color=colour("gap"), alpha=0.12, lw=0)
    ax.axhline(elbo.mean(), **vt.plots.STYLE["ELBO"])
    ax.plot(K, bounds.mean(axis=1), marker="x", ms=4, **vt.plots.STYLE["IWAE"])
    ax.set(xlabel="K, samples", xscale="log", title="mean of 150 digits")
    ax.set_ylim(elbo.mean() + 0.15, -0.25)
    ax.text(K[-1], -0.03, "log p(x)", ha="right", va="bottom")
    ax.text(K[-1], elbo.mean() - 0.04, "ELBO", ha="right", color=colour("ELBO"))
    ax.text(3, 0.75, "K-sample bound", color=colour("IWAE"))


def draw(truth, reconstruction, kl, bounds):
    """Left: how log p(x) is made up. Then how far its bounds lie below it, and what K does."""
    elbo, bounds = truth - (reconstruction - kl), truth - bounds
    figure, (left, middle, right) = plt.subplots(
        1, 3, figsize=(13, 4), width_ratios=(5, 5, 3.5), layout="constrained"
    )
    parts = reconstruction.mean(), kl.mean(), truth.mean()
    vt.plots.waterfall(*parts, left, title="mean of 150 digits")
    left.tick_params(axis="x", labelsize="small")
    draw_each(middle, elbo, bounds[K.index(20)])
    draw_means(right, elbo, bounds)
    for ax in (middle, right):
        ax.axhline(0, **vt.plots.STYLE["log p(x)"])
        ax.set_ylabel("nats below log p(x)")
        ax.spines[["top", "right"]].set_visible(False)
    print("reconstruction {:.2f}, KL {:.2f}, log p(x) {:.2f}".format(*parts))
    print(f"ELBO: {elbo.mean():.2f} nats below, {elbo.min():.2f} to {elbo.max():.2f}")
    print("K-sample bound:", dict(zip(K, bounds.mean(axis=1).round(2).tolist(), strict=True)))
    return figure


def main():
    """Measures, and draws; with --draw, only draws what was measured last."""
    if sys.argv[1:] != ["--draw"]:
        MEASURED.parent.mkdir(exist_ok=True)
        np.savez(MEASURED, **measure(*train()))
    with np.load(MEASURED) as measured:
        draw(**measured).savefig(PICTURE, dpi=140)
    print(f"wrote {PICTURE.name}")


if __name__ == "__main__":
    main()
