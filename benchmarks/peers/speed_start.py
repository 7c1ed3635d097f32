"""Until the first epoch is done, in a fresh interpreter: through `fit`, and Keras' own `fit`.

    python speed_start.py fit|plain IMAGES

Prints a line of JSON as soon as the first epoch is done, and one after the second.
"""

import json
import os
import sys
import time

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"


def timed(function):
    start = time.perf_counter()
    result = function()
    return result, time.perf_counter() - start


def libraries():
    import keras

    import vae_tf

    return keras, vae_tf


def main(way, images):
    (keras, vt), imports = timed(libraries)

    class Plain(vt.VAE):
        """The same model, and Keras' `fit` with nothing in between."""

        def fit(self, x, **kwargs):
            return keras.Model.fit(self, x, **kwargs)

    x = vt.data.binarize(vt.data.load("mnist5k").x_train, seed=0)[: int(images)]
    keras.utils.set_random_seed(0)
    encoder = vt.networks.mlp((28, 28), vt.layers.NormalDiag(50))
    decoder = vt.networks.mlp(50, vt.layers.Bernoulli((28, 28)))
    vae = {"fit": vt.VAE, "plain": Plain}[way](encoder, decoder, seed=0)
    found = {"import": imports}
    for name in ("first", "second"):
        _, found[name] = timed(lambda: vae.fit(x, batch_size=128, epochs=1, verbose=0))
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
