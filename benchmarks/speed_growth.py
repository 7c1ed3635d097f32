"""What does a cold start cost, and how does the cost grow with the examples N and the samples K?

Every point is a process of its own. A cold start is what a reader waits for, from the start of the
interpreter to the end of the first epoch; the others are calls after a first one, and the peak of
memory.
"""

import contextlib
import time
from functools import partial

import numpy as np
import table
from speed_contenders import LABELS, TORCH, Process, at_most, digits, in_turns, ratio, seconds
from table import Check

NAMES = "auto", "keras", "torch"  # who starts cold
FULL = {"rounds": 3, "examples": (16_000, 32_000, 64_000), "samples": (10_000, 20_000, 40_000)}
QUICK = {"rounds": 1, "examples": (256, 512), "samples": (50, 100)}

LATER = 1.05  # the first epoch of `fit` over that of Keras' own, at most
LINEAR = 0.95, 1.05  # an exponent: the slope of log time over log size
FLAT = 1.1  # peak memory with many samples over that with few, at most


def measure(python, *, rounds, examples, samples):
    there = (name for name in NAMES if python or name not in TORCH)
    starts = {name: partial(_cold, name, python) for name in there}
    found = {"rounds": rounds, "cold": in_turns(starts, rounds)}
    epochs = {size: (digits(size), {"epochs": 1}) for size in examples}
    x = digits(50)
    how = {"x": x, "function": "iwae", "seed": 0}
    bounds = {size: (x, how | {"num_samples": size}) for size in samples}
    found |= {"examples": _points(epochs, rounds, "train")}
    return found | {"samples": _points(bounds, rounds, "evaluate")}


def _cold(name, python):
    """Seconds from the start of the interpreter to the end of the first epoch."""
    x, began = digits(4000), time.perf_counter()
    with Process(name, python) as process:
        process.ask("prepare", x=x, batch=128)
        process.ask("train", epochs=1)
        return round(time.perf_counter() - began, 3)


def _points(asked, rounds, question):
    """The seconds of each round, and the peak of memory in MB; `asked` is {size: (x, how)}.

    All sizes take turns: a machine that slows down in between slows all of them.
    """
    with contextlib.ExitStack() as stack:
        questions = {}
        for size, (x, how) in asked.items():
            fit = stack.enter_context(Process("fit"))
            fit.ask("prepare", x=x, batch=128)
            questions[size] = partial(fit.ask, question, **how)
        answers = in_turns(questions, 1 + rounds)
    found = seconds({size: of[1:] for size, of in answers.items()})
    return [
        {"size": size, "seconds": found[size], "peak": of[-1]["peak"]}
        for size, of in answers.items()
    ]


def exponent(points):
    """p of seconds ~ size^p."""
    sizes = np.log([point["size"] for point in points])
    return float(np.polyfit(sizes, np.log([np.median(p["seconds"]) for p in points]), 1)[0])


def checks(record):
    """A cold start no slower than Keras', costs that are linear, and memory that does not grow."""
    quantity = "interpreter to the first epoch's end, `fit` over plain Keras"
    because = "not worse, but for the scatter of the same thing measured twice"
    yield at_most(quantity, ratio(record["cold"], "auto", "keras"), LATER, because)
    words, because = "{} to {}".format(*LINEAR), "linear; the exponent is fitted to all sizes"
    for axis, letter in (("examples", "N"), ("samples", "K")):
        found = exponent(record[axis])
        yield Check(f"exponent of the time in {letter}", words, found, *LINEAR, because)
    peaks = [point["peak"] for point in record["samples"]]
    if all(peaks):
        quantity = "peak memory at the largest K over that at the smallest"
        yield at_most(quantity, peaks[-1] / peaks[0], FLAT, "samples are drawn in chunks")


def render(record):
    lines = table.head("", "seconds", "peak memory, MB")
    for name, times in record["cold"].items():
        what = f"interpreter to the first epoch's end, {LABELS[name]}"
        lines.append(table.line(what, f"{np.median(times):.3f}", ""))
    epoch = "an epoch of {:,} examples, batch 128"
    bound = "`vt.evidence.iwae` with {:,} samples of 50 images"
    for what, points in ((epoch, record["examples"]), (bound, record["samples"])):
        for point in points:
            cells = f"{np.median(point['seconds']):.3f}", f"{point['peak'] or np.nan:.0f}"
            lines.append(table.line(what.format(point["size"]), *cells))
    return lines
