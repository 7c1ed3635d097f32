"""How speed.py talks to a contender: a question goes in, an answer and its seconds come out.

A contender is a process of its own, in whichever environment it needs, so this file imports NumPy
alone. It is an object whose methods `serve` calls and times, those of them that it has:

    prepare(x, batch, model, latents, weights)   a fresh model, and Adam(1e-3) to train it
    train(epochs)                     -> the mean loss of the last epoch, nats per example
    evaluate(x, function, **settings) -> the mean over x of what `function` says, nats
    decode(rows)                      what p(x|z) of so many z takes at least

The models are "mlp" (784-200-200-L, tanh, and its mirror; `weights` are those it begins with),
"conv" (the layers of Keras' own VAE example) and "counts" (765 genes).
"""

import os
import pathlib
import pickle
import re
import sys
import time
import traceback

import numpy as np

HIDDEN = (200, 200)
EVENT = 784
GENES, HIDDEN_OF_COUNTS = 765, 128
STEP, EPSILON = 1e-3, 1e-7  # of Adam, as Keras has it
CHUNK = 1000  # rows of z that `decode` takes at a time


def products(library, rows, latents):
    """The floor of evaluation: the matrix products of the "mlp" decoder, by NumPy or PyTorch.

    A gradient into z takes as many products, as large.
    """
    take, sizes = getattr(library, "from_numpy", np.asarray), (latents, *reversed(HIDDEN), EVENT)
    held = []
    for n, m in zip(sizes[:-1], sizes[1:], strict=True):
        a, b = np.ones((CHUNK, n), "float32"), np.ones((n, m), "float32")
        held.append((take(a), take(b), take(a @ b)))
    for _ in range(-(-rows // CHUNK)):
        for a, b, out in held:
            library.matmul(a, b, out=out)  # into memory that is there already


def peak():
    """The most memory that this process has ever held, in MB; None where only Linux tells."""
    status = pathlib.Path("/proc/self/status")
    found = re.search(r"VmHWM:\s+(\d+)", status.read_text()) if status.exists() else None
    return int(found[1]) / 1024 if found else None


def timed(function, /, **details):
    start = time.perf_counter()
    result = function(**details)
    return result, time.perf_counter() - start


def serve(contender):
    """Answers until the input ends. What libraries print goes to standard error."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    while True:
        try:
            question, details = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        try:
            value, seconds = timed(getattr(contender, question), **details)
            answer = {"value": value, "seconds": seconds, "peak": peak()}
        except Exception:
            answer = {"error": traceback.format_exc()}
        pickle.dump(answer, answers)
        answers.flush()
