"""How speed.py talks to a contender: a line of JSON asks, a line of JSON answers.

A contender is a process of its own, in whichever environment it needs, so this file imports NumPy
alone. It is an object whose methods `serve` calls and times, those of them that it has:

    prepare(x, batch, model, latents, weights)   a fresh model, and Adam(1e-3) to train it
    train(epochs)                       -> the mean loss of the last epoch, nats per example
    weights()                           what training made
    load(model, latents, weights)       the same model, for what follows
    evaluate(x, function, seed, **settings)      -> the mean over x of what `function` says, nats

The models are "mlp" (784-200-200-L, tanh, and its mirror; `weights` are those it begins with),
"conv" (the layers of Keras' own VAE example) and "counts" (765 genes). `versions` are those of a
contender's libraries, and `scale` says how its encoder parameterises the scale.
"""

import json
import os
import pathlib
import sys
import time
import traceback

import numpy as np

HIDDEN = (200, 200)
EVENT = 784
GENES, HIDDEN_OF_COUNTS = 765, 128
STEP, EPSILON = 1e-3, 1e-7  # of Adam, as Keras has it


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
    if not status.exists():
        return None
    (line,) = [row for row in status.read_text().splitlines() if row.startswith("VmHWM")]
    return int(line.split()[1]) / 1024


def arrays(path):
    with np.load(path) as file:
        return [file[name] for name in file.files]


def timed(function):
    start = time.perf_counter()
    result = function()
    return result, time.perf_counter() - start


def _answer(contender, ask, **details):
    """Carries one request out: arrays travel by files, and only the work itself is timed."""
    if ask == "save":
        np.savez(details["path"], *contender.weights())
        return {}
    if details.get("weights"):
        details["weights"] = arrays(details["weights"])
    if "x" in details:
        details["x"] = np.load(details["x"])[: details.pop("images", None)]
    value, seconds = timed(lambda: getattr(contender, ask)(**details))
    return {"value": value, "seconds": seconds, "peak": peak()}


def serve(contender):
    """Answers until the input ends. What libraries print goes to standard error."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    scale = getattr(contender, "scale", None)
    print(json.dumps({"versions": contender.versions, "scale": scale}), file=answers)
    for line in sys.stdin:
        try:
            answer = _answer(contender, **json.loads(line))
        except Exception:
            answer = {"error": traceback.format_exc()}
        print(json.dumps(answer), file=answers)
