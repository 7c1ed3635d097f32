"""Trains the small VAE of the site's explorable, and writes it for the browser.

    .venv/bin/python tools/explorable.py

One hidden layer of 32 on either side, two latents, 8x8 binarised digits. Makes
docs/site/_static/explore_model.js: weights, held-out digits, and training digits to train on with.
"""

import json
from pathlib import Path

import keras
import numpy as np

import vae_tf as vt

TARGET = Path(__file__).resolve().parents[1] / "docs" / "site" / "_static" / "explore_model.js"
HIDDEN, HELD_OUT, TRAINING = 32, 20, 600


def model(seed=0):
    """The network before training."""
    keras.utils.set_random_seed(seed)
    encoder = vt.networks.mlp((8, 8), vt.layers.NormalDiag(2), hidden=(HIDDEN,))
    decoder = vt.networks.mlp(2, vt.layers.Bernoulli((8, 8)), hidden=(HIDDEN,))
    vae = vt.VAE(encoder, decoder, seed=seed)
    vae.compile(keras.optimizers.Adam(3e-3))
    return vae


def data():
    """Binarised digits: for training, and two of each kind held out, with their labels."""
    digits = vt.data.load("digits")
    x_train, x_test = vt.data.binarize(digits.x_train, seed=0), vt.data.binarize(digits.x_test, 1)
    chosen = [np.flatnonzero(digits.y_test == kind)[:2] for kind in range(10)]
    chosen = np.concatenate(chosen)[:HELD_OUT]
    return x_train, x_test[chosen], digits.y_test[chosen]


def bits(images):
    """Each image as 64 characters, 0 or 1."""
    return ["".join(str(int(pixel)) for pixel in image.ravel()) for image in images]


def weights(network):
    """The arrays of its two dense layers, rounded to six digits."""
    return [[float(f"{v:.6g}") for v in w.ravel()] for w in network.get_weights()]


def written(vae, x_train, held_out, labels):
    """The text of the JavaScript file."""
    scale = vae.encoder.layers[-1]
    content = {
        "hidden": HIDDEN,
        "minScale": scale.min_scale,
        "encoder": weights(vae.encoder),
        "decoder": weights(vae.decoder),
        "heldOut": bits(held_out),
        "labels": [int(label) for label in labels],
        "training": bits(x_train[:TRAINING]),
    }
    return f"const EXPLORE_MODEL = {json.dumps(content, separators=(',', ':'))};\n"


def main():
    """Trains and writes."""
    x_train, held_out, labels = data()
    vae = model()
    vae.fit(x_train, epochs=200, batch_size=100, verbose=0)
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_text(written(vae, x_train, held_out, labels), encoding="utf-8")
    print("mean log p(x)", float(np.mean(vt.evidence.grid(vae, held_out).estimate)))
    print("mean ELBO", float(np.mean(vae.elbo(held_out, 500, seed=0).elbo)))


if __name__ == "__main__":
    main()
