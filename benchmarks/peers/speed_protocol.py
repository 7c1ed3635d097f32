"""How speed.py talks to a contender: a question goes in, an answer and its seconds come out.

A contender is a process of its own, in whichever environment it needs, so this file imports NumPy
alone. It is an object whose methods `serve` calls and times, those of them that it has:

    prepare(x, batch, model, latents, weights)   a fresh model, and Adam(1e-3) to train it
    train(epochs)                     -> the mean loss of the last epoch, nats per example
    load(model, latents, weights)     the same model, for what follows
    evaluate(x, function, **settings) -> the mean over x of what `function` says, nats
    decode(rows)                      p(x|z) of so many z, or the matrix products that it takes

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


def shapes(latents):
    """Of the six dense layers' matrices, [in, out]: three of the encoder, three of the decoder."""
    sizes = (EVENT, *HIDDEN, 2 * latents), (latents, *reversed(HIDDEN), EVENT)
    return [pair for part in sizes for pair in zip(part[:-1], part[1:], strict=True)]


def first_weights(latents, seed=0):
    """Glorot and Bengio's uniform matrices and zero biases: [matrix, bias, matrix, ...]."""
    draw = np.random.default_rng(seed)
    weights = []
    for rows, columns in shapes(latents):
        limit = np.sqrt(6 / (rows + columns))
        weights.append(draw.uniform(-limit, limit, (rows, columns)).astype("float32"))
        weights.append(np.zeros(columns, "float32"))
    return weights


def peak():
    """The most memory that this process has ever held, in MB; None where only Linux tells."""
    status = pathlib.Path("/proc/self/status")
    found = re.search(r"VmHWM:\s+(\d+)", status.read_text()) if status.exists() else None
    return int(found[1]) / 1024 if found else None


def timed(function):
    start = time.perf_counter()
    result = function()
    return result, time.perf_counter() - start


def _answer(contender, question, details):
    try:
        value, seconds = timed(lambda: getattr(contender, question)(**details))
    except Exception:
        return {"error": traceback.format_exc()}
    return {"value": value, "seconds": seconds, "peak": peak()}


def serve(contender):
    """Answers until the input ends. What libraries print goes to standard error."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    while True:
        try:
            question, details = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        pickle.dump(_answer(contender, question, details), answers)
        answers.flush()
