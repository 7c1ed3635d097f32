"""What a condition is worth: makes data/results/conditions.json.

    python experiments/conditions.py

Five seeds each. Digits given their labels: the K-sample bound of held-out log p(x|y), against that
of log p(x) of the same networks without labels. Blood cells given how many molecules were counted
in each: how much of log(total count) the means of q(z|x) still tell, as R^2 of a linear regression
on held-out cells, with and without the size factor; and where every cell was thinned to the same
total, so that what is left is what kind of cell it is. About ten minutes on two cores.
"""

import time

import keras
import numpy as np
from sklearn.linear_model import LinearRegression

import vae_tf as vt

SEEDS = (0, 1, 2, 3, 4)
DIGITS = {"latents": 10, "epochs": 20, "batch_size": 100, "num_samples": 100, "test_images": 200}
CELLS = {"latents": 5, "hidden": 64, "epochs": 40, "batch_size": 50, "learning_rate": 3e-3}


def digits(seed, labels):
    """Mean of the K-sample bound of held-out digits, nats."""
    data = vt.data.load("mnist5k")
    x_train, x_test = vt.data.binarize(data.x_train, 0), vt.data.binarize(data.x_test, 1)
    y_train, y_test = (keras.utils.to_categorical(y, 10) for y in (data.y_train, data.y_test))
    keras.utils.set_random_seed(seed)
    condition = 10 if labels else None
    q_z, p_x = vt.layers.NormalDiag(DIGITS["latents"]), vt.layers.Bernoulli((28, 28))
    encoder = vt.networks.mlp((28, 28), q_z, condition=condition)
    decoder = vt.networks.mlp(DIGITS["latents"], p_x, condition=condition)
    vae = vt.VAE(encoder, decoder, seed=seed)
    options = {"epochs": DIGITS["epochs"], "batch_size": DIGITS["batch_size"], "verbose": 0}
    vae.fit((x_train, y_train) if labels else x_train, **options)
    x, given = x_test[: DIGITS["test_images"]], y_test[: DIGITS["test_images"]]
    bound = vt.evidence.iwae(
        vae, x, DIGITS["num_samples"], condition=given if labels else None, seed=0
    )
    return float(bound.estimate.mean())


def thinned(counts, total, seed):
    """As many molecules of each cell, drawn without replacement from those that were counted."""
    rng = np.random.default_rng(seed)
    cells = [rng.multivariate_hypergeometric(cell, total) for cell in counts.astype(int)]
    return np.array(cells, "float32")


def cells(seed, size_factor, thin=False):
    """R^2 of log(total count) from the means of q(z|x), on held-out cells."""
    data = vt.data.load("pbmc")
    x_train, x_test = data.x_train, data.x_test
    totals = [x.sum(axis=1) for x in (x_train, x_test)]
    if thin:
        least = int(min(total.min() for total in totals))
        x_train, x_test = (thinned(x, least, seed) for x in (x_train, x_test))
    keras.utils.set_random_seed(seed)
    genes, latents = x_train.shape[1], CELLS["latents"]
    hidden = (CELLS["hidden"],)
    encoder = vt.networks.mlp(genes, vt.layers.NormalDiag(latents), hidden=hidden)
    likelihood = vt.layers.NegativeBinomial(genes)
    decoder = vt.networks.mlp(latents, likelihood, hidden=hidden, size_factor=size_factor)
    # It begins at the average of each gene.
    mean = np.log(x_train.mean(axis=0) / (totals[0].mean() if size_factor else 1) + 1e-6)
    dense = [layer for layer in decoder.layers if isinstance(layer, keras.layers.Dense)]
    dense[-1].bias.assign(mean)
    vae = vt.VAE(encoder, decoder, seed=seed)
    vae.compile(keras.optimizers.Adam(CELLS["learning_rate"]))
    options = {"epochs": CELLS["epochs"], "batch_size": CELLS["batch_size"], "verbose": 0}
    vae.fit((x_train, totals[0]) if size_factor else x_train, **options)
    codes = [vae.encoder(x).mean().numpy() for x in (x_train, x_test)]
    fitted = LinearRegression().fit(codes[0], np.log(totals[0]))
    return float(fitted.score(codes[1], np.log(totals[1])))


def entry():
    """One figure again. On another machine a training of 560 steps ends a little elsewhere."""
    return {("R2 without", 0): (cells(0, False), 0.02)}


def main():
    """Runs all seeds, prints them, saves them."""
    began = time.monotonic()
    measured = {
        "R2 with size factor": (cells, True),
        "R2 without": (cells, False),
        "R2 of cells thinned to one total": (cells, False, True),
        "log p(x|y), nats": (digits, True),
        "log p(x), nats": (digits, False),
    }
    found = {}
    for name, (measure, *flags) in measured.items():
        found[name] = [measure(seed, *flags) for seed in SEEDS]
        print(f"{name:<34}{np.round(found[name], 3)}", flush=True)
    settings = {"digits": DIGITS, "cells": CELLS}
    seconds = time.monotonic() - began
    vt.results.save(
        "conditions", found, script=__file__, seeds=SEEDS, seconds=seconds, settings=settings
    )


if __name__ == "__main__":
    main()
