"""What a condition is worth: makes data/results/conditions.json.

    python experiments/conditions.py

Five seeds each. Digits given their labels: the K-sample bound of held-out log p(x|y), against that
of log p(x) of the same networks without labels. Blood cells given how many molecules were counted
in each: how much of log(total count) the means of q(z|x) still tell, as R^2 of a linear regression
on held-out cells, with and without the size factor. About ten minutes on two cores.
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


def cells(seed, size_factor):
    """R^2 of log(total count) from the means of q(z|x), on held-out cells."""
    data = vt.data.load("pbmc")
    totals = [x.sum(axis=1) for x in (data.x_train, data.x_test)]
    keras.utils.set_random_seed(seed)
    genes, latents = data.x_train.shape[1], CELLS["latents"]
    hidden = (CELLS["hidden"],)
    encoder = vt.networks.mlp(genes, vt.layers.NormalDiag(latents), hidden=hidden)
    likelihood = vt.layers.NegativeBinomial(genes)
    decoder = vt.networks.mlp(latents, likelihood, hidden=hidden, size_factor=size_factor)
    # It begins at the average of each gene.
    mean = np.log(data.x_train.mean(axis=0) / (totals[0].mean() if size_factor else 1))
    dense = [layer for layer in decoder.layers if isinstance(layer, keras.layers.Dense)]
    dense[-1].bias.assign(mean)
    vae = vt.VAE(encoder, decoder, seed=seed)
    vae.compile(keras.optimizers.Adam(CELLS["learning_rate"]))
    options = {"epochs": CELLS["epochs"], "batch_size": CELLS["batch_size"], "verbose": 0}
    vae.fit((data.x_train, totals[0]) if size_factor else data.x_train, **options)
    codes = [vae.encoder(x).mean().numpy() for x in (data.x_train, data.x_test)]
    fitted = LinearRegression().fit(codes[0], np.log(totals[0]))
    return float(fitted.score(codes[1], np.log(totals[1])))


def main():
    """Runs all seeds, prints them, saves them."""
    began = time.monotonic()
    measured = {
        "R2 with size factor": (cells, True),
        "R2 without": (cells, False),
        "log p(x|y), nats": (digits, True),
        "log p(x), nats": (digits, False),
    }
    found = {}
    for name, (measure, flag) in measured.items():
        found[name] = [measure(seed, flag) for seed in SEEDS]
        print(f"{name:<22}{np.round(found[name], 3)}", flush=True)
    settings = {"digits": DIGITS, "cells": CELLS}
    seconds = time.monotonic() - began
    vt.results.save(
        "conditions", found, script=__file__, seeds=SEEDS, seconds=seconds, settings=settings
    )


if __name__ == "__main__":
    main()
