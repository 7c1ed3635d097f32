"""How fast is a step of training? Against a bare loop, PyTorch, and Keras' own way."""

from functools import partial
from typing import NamedTuple

import numpy as np
import speed_contenders as contenders
import table
from speed_contenders import LABELS, at_least, at_most, ratio

import vae_tf as vt


class Cell(NamedTuple):
    """A model and a batch; everyone trains for the same number of epochs in a round."""

    model: str
    batch: int
    latents: int
    epochs: int


CELLS = (
    Cell("mlp", 128, 50, 12),
    Cell("mlp", 32, 50, 4),
    Cell("mlp", 512, 50, 12),
    Cell("mlp", 128, 2, 12),
    Cell("conv", 128, 10, 1),
    Cell("counts", 50, 10, 40),
)
NAMES = {
    "mlp": ("fit", "auto", "bare", "keras_guide", "torch", "torch_compiled"),
    "conv": ("fit", "keras", "torch"),
    "counts": ("fit", "auto", "keras", "torch"),
}
# 3,584 images: every batch divides them, so that the floor needs no rule for a short last one.
FULL = {"rounds": 5, "images": 3584, "cells": CELLS}
QUICK = {"rounds": 2, "images": 256, "cells": [CELLS[i]._replace(epochs=1) for i in (0, 4, 5)]}

OVER_BARE = {32: 1.3, 128: 1.15, 512: 1.3}  # `fit` over the bare loop, at most, by batch
OVER_FIT = {  # by model, batch and latents, at least
    ("mlp", 128, 50): {"torch": 1.5, "keras_guide": 2.0},
    ("conv", 128, 10): {"torch": 1.0, "keras": 1.0},
    ("counts", 50, 10): {"torch": 1.0, "keras": 1.0},
}
# So early in training the loss varies by 2 % over seeds, and a KL that is halved, doubled or
# averaged moves it by more than 5 %.
APART = 0.05


def words(cell):
    model = "" if cell["model"] == "mlp" else f"{cell['model']}, "
    return f"{model}batch {cell['batch']}, L = {cell['latents']}"


def measure(python, *, rounds, images, cells):
    """Every cell, one after the other."""
    with contenders.running(LABELS, python) as processes:
        found = []
        for cell in cells:
            some = {name: processes[name] for name in NAMES[cell.model] if name in processes}
            found.append(_train(some, cell, images, rounds))
    return {"rounds": rounds, "cells": found}


def _train(processes, cell, images, rounds):
    """One cell. The first round, which compiles, is not timed."""
    print(f"  {words(cell._asdict())}", flush=True)
    x = vt.data.load("pbmc").x_train if cell.model == "counts" else contenders.digits(images)
    how = {"x": x, "batch": cell.batch, "model": cell.model, "latents": cell.latents}
    for name, process in processes.items():
        process.ask("prepare", **how)
        if name == "fit" and cell.model == "mlp":  # all begin where it does
            how["weights"] = process.ask("weights")["value"]
        process.ask("train", epochs=cell.epochs)
    questions = {n: partial(one.ask, "train", epochs=cell.epochs) for n, one in processes.items()}
    answers = contenders.in_turns(questions, rounds)
    losses = {name: of[-1]["value"] for name, of in answers.items()}
    found = {"steps": cell.epochs * -(-len(x) // cell.batch), "losses": losses}
    return cell._asdict() | found | {"seconds": contenders.seconds(answers)}


def checks(record):
    """Is `fit` as fast as it should be, and have all of them done the same?"""
    for cell in record["cells"]:
        times, where = cell["seconds"], words(cell)
        if "bare" in times:
            off = ratio(times, "fit", "bare")
            yield at_most(f"`fit` over the bare loop, {where}", off, OVER_BARE[cell["batch"]])
        targets = OVER_FIT.get((cell["model"], cell["batch"], cell["latents"]), {})
        for name in (name for name in targets if name in times):
            quantity = f"time of {LABELS[name]} over that of `fit`, {where}"
            yield at_least(quantity, ratio(times, name, "fit"), targets[name])
        low, *_, high = sorted(cell["losses"].values())
        because = "the same model, trained equally long; 2 % over seeds"
        yield at_most(f"losses apart, relative, {where}", (high - low) / low, APART, because)


def render(record):
    """Milliseconds a step, with how many times those of `fit` they are."""
    cells = record["cells"]

    def milliseconds(cell, name):
        if name not in cell["seconds"]:
            return ""
        step = 1000 * np.median(cell["seconds"][name]) / cell["steps"]
        return f"{step:.2f} ({ratio(cell['seconds'], name, 'fit'):.2f})"

    lines = table.head("ms a step (divided by that of `fit`)", *map(words, cells))
    for name in LABELS:
        times = [milliseconds(cell, name) for cell in cells]
        if any(times):
            lines.append(table.line(LABELS[name], *times))
    losses = [cell["losses"].values() for cell in cells]
    ranges = (f"{min(some):.1f} to {max(some):.1f}" for some in losses)
    return [*lines, table.line("mean losses, nats", *ranges)]
