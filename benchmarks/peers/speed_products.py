"""The physical floor of evaluation: the matrix products of the decoder, and nothing else.

    python speed_products.py numpy|torch

Through two libraries, because neither has the faster product on every machine; the faster counts.
"""

import importlib
import sys

import numpy as np
import speed_protocol as protocol


def matrices(latents):
    """[(left, right)] of the three products of p(x|z); a gradient into z takes as many as large."""
    draw = np.random.default_rng(0).standard_normal
    shapes = protocol.shapes(latents)[3:]
    return [(draw((protocol.CHUNK, n), "float32"), draw((n, m), "float32")) for n, m in shapes]


class Products:
    def __init__(self, library):
        self.library = importlib.import_module(library)
        self.take = getattr(self.library, "from_numpy", np.asarray)

    def load(self, latents=50, **_):
        pairs = [(self.take(a), self.take(b)) for a, b in matrices(latents)]
        self.held = [(a, b, a @ b) for a, b in pairs]  # into memory that is there already

    def decode(self, rows):
        for _ in range(-(-rows // protocol.CHUNK)):
            for a, b, out in self.held:
                self.library.matmul(a, b, out=out)


if __name__ == "__main__":
    protocol.serve(Products(sys.argv[1]))
