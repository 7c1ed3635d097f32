"""The physical floor: the matrix products of a step, or of the decoder, and nothing else.

    python speed_products.py numpy|torch|tensorflow

Through three libraries, because none has the fastest product on every machine; the fastest of them
counts.
"""

import importlib
import os
import sys

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np
import speed_protocol as protocol

CHUNK = 1000  # rows of z at a time, in evaluation
NAMES = {"numpy": "NumPy", "torch": "PyTorch", "tensorflow": "TensorFlow"}


def matrix(*shape):
    return np.random.default_rng(0).standard_normal(shape, "float32")


def of_step(size, latents):
    """The 17 products of forward and backward: (left, right), as views of row-major matrices."""
    products = []
    for i, (rows, columns) in enumerate(protocol.shapes(latents)):
        x, w, by = matrix(size, rows), matrix(rows, columns), matrix(size, columns)
        products += [(x, w), (x.T, by)]
        if i > 0:  # nobody asks for the gradient into the data
            products.append((by, w.T))
    return products


def of_decoder(size, latents, back=False):
    """The three products of p(x|z), or those of its gradient into z."""
    pairs = protocol.shapes(latents)[3:]
    if back:
        return [(matrix(size, columns), matrix(rows, columns).T) for rows, columns in pairs]
    return [(matrix(size, rows), matrix(rows, columns)) for rows, columns in pairs]


def through_numpy(products):
    products = [(a, b, np.empty((len(a), b.shape[1]), "float32")) for a, b in products]
    return lambda: [np.matmul(a, b, out=out) for a, b, out in products]


def through_torch(products):
    import torch

    products = [
        (torch.from_numpy(a), torch.from_numpy(b), torch.empty(len(a), b.shape[1]))
        for a, b in products
    ]

    def run():
        with torch.inference_mode():
            for a, b, out in products:
                torch.mm(a, b, out=out)

    return run


def through_tensorflow(products):
    import tensorflow as tf

    turned = [tuple(not one.flags.c_contiguous for one in pair) for pair in products]
    # Variables, because the product of two constants would be taken once and kept.
    held = [
        tuple(tf.Variable(m.T if turn else m) for m, turn in zip(pair, turns, strict=True))
        for pair, turns in zip(products, turned, strict=True)
    ]

    @tf.function(autograph=False)
    def run():
        return [  # all of them: what is not returned would not be computed
            tf.matmul(a, b, transpose_a=turn_a, transpose_b=turn_b)
            for (a, b), (turn_a, turn_b) in zip(held, turned, strict=True)
        ]

    return run


class Products:
    def __init__(self, library):
        self.library = library
        self.through = globals()[f"through_{library}"]
        self.versions = {NAMES[library]: importlib.import_module(library).__version__}

    def prepare(self, x, batch, latents=50, **_):
        whole, left = divmod(len(x), batch)
        self.steps = [self.through(of_step(batch, latents))] * whole
        if left:
            self.steps.append(self.through(of_step(left, latents)))

    def train(self, epochs):
        for step in self.steps * epochs:
            step()

    def load(self, latents, **_):
        self.forward = self.through(of_decoder(CHUNK, latents))
        self.back = self.through(of_decoder(CHUNK, latents, back=True))

    def decode(self, decoded, back):
        """The products of so many decodings, and of so many gradients into z."""
        for _ in range(-(-decoded // CHUNK)):
            self.forward()
        for _ in range(-(-back // CHUNK)):
            self.back()


if __name__ == "__main__":
    protocol.serve(Products(sys.argv[1]))
