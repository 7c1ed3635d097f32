"""How fast is a step of training? Against the floors, PyTorch, and Keras' own way."""

import math
from typing import NamedTuple

import numpy as np
import speed_contenders as contenders
import table
from speed_contenders import LABELS, PRODUCTS, at_least, at_most, ratio

import vae_tf as vt

MOST = "fit", "fit_short", "bare", "keras_guide", "torch", *PRODUCTS
ALL = *MOST, "graph", "keras", "torch_stock", "torch_compiled"
FEW = "fit", "bare", "torch", *PRODUCTS


class Cell(NamedTuple):
    """A model and a batch; everyone trains for the same number of epochs in a round."""

    model: str
    batch: int
    latents: int
    epochs: int
    names: tuple = ALL

    @property
    def words(self):
        mlp = f"batch {self.batch}, L = {self.latents}"
        return mlp if self.model == "mlp" else f"{self.model}, batch {self.batch}"


PICTURED = Cell("mlp", 128, 50, 12)
CELLS = (
    PICTURED,
    Cell("mlp", 32, 50, 4, tuple(name for name in ALL if name not in ("keras", "torch_compiled"))),
    Cell(
        "mlp", 512, 50, 12, tuple(name for name in ALL if name not in ("keras", "torch_compiled"))
    ),
    Cell("mlp", 128, 2, 12, FEW),
    Cell("conv", 128, 10, 1, ("fit", "keras_guide", "keras", "torch")),
    Cell("counts", 50, 10, 40, ("fit", "fit_short", "keras", "torch")),
)
FULL = {"rounds": 5, "images": 4000, "cells": CELLS}
QUICK = {"rounds": 2, "images": 300, "cells": [CELLS[i]._replace(epochs=1) for i in (0, 4, 5)]}

OVER_BARE = {32: 1.3, 128: 1.15, 512: 1.3}  # `fit` over the bare loop, at most, by batch
OVER_FIT = {"torch": 1.5, "keras_guide": 2.0}  # at least, of the pictured cell
OF_OTHERS = {"torch": 1.0, "keras": 1.0, "keras_guide": 1.0}  # ... and of "conv" and "counts"
# In nats. So early in training the ELBO varies over seeds with a standard deviation of 2 to 3 (four
# runs of the bare loop), and there are eight contenders; an epoch still gains up to 3. Models whose
# first weights are drawn by each library itself differ by some percent of the loss.
ALIKE, OWN, SHARE = 12.0, 5.0, 0.05

SCALES = {  # of q(z|x), as each contender makes it of what its encoder says
    "softplus of one": lambda raw: 1e-6 + np.logaddexp(0, raw + math.log(math.expm1(1.0))),
    "log variance": lambda raw: np.exp(0.5 * raw),
}


def elbo(weights, scale, x, seed=0):
    """The mean ELBO of x, nats, by one sample each: from weights alone, one judge for all."""
    dense = list(zip(weights[::2], weights[1::2], strict=True))

    def mlp(h, layers):
        for matrix, bias in layers[:-1]:
            h = np.tanh(h @ matrix + bias)
        return h @ layers[-1][0] + layers[-1][1]

    loc, raw = np.split(mlp(x, dense[:3]), 2, axis=1)  # [N, L]
    scale = SCALES[scale](raw)
    z = loc + scale * np.random.default_rng(seed).standard_normal(loc.shape)
    logits = mlp(z, dense[3:])  # [N, D]
    reconstruction = np.sum(x * logits - np.logaddexp(0, logits), axis=1)
    kl = np.sum(0.5 * (loc**2 + scale**2 - 1) - np.log(scale), axis=1)
    return float(np.mean(reconstruction - kl))


def measure(python, folder, *, rounds, images, cells):
    """Every cell, one after the other."""
    record = {"rounds": rounds, "images": images, "cells": [], "peers": {}, "missing": []}
    for cell in cells:
        x = vt.data.load("pbmc").x_train if cell.model == "counts" else contenders.digits(4000)
        np.save(folder / "x.npy", x[:images])
        with contenders.Processes(cell.names, python) as processes:
            record["cells"].append(_train(processes, cell, x[:images], folder, rounds))
            record["peers"] |= processes.versions
            record["missing"] += [why for why in processes.missing if why not in record["missing"]]
    return record


def _train(processes, cell, x, folder, rounds):
    """One cell. The first round, which compiles, is not timed."""
    import speed_protocol as protocol

    first = folder / "first.npz" if cell.model == "mlp" else None
    if first:
        np.savez(first, *protocol.first_weights(cell.latents))
    model = {"model": cell.model, "latents": cell.latents, "weights": first}
    for process in processes.values():
        process.ask("prepare", x=folder / "x.npy", batch=cell.batch, **model)
        process.ask("train", epochs=cell.epochs)
    answers = contenders.in_turns(
        {
            n: lambda _, one=one: one.ask("train", epochs=cell.epochs)
            for n, one in processes.items()
        },
        rounds,
    )
    learnt = {}
    for name in (name for name in processes if name not in PRODUCTS):
        learnt[name] = {"loss": answers[name][-1]["value"]}
        if first:
            processes[name].ask("save", path=folder / "learnt.npz")
            weights = protocol.arrays(folder / "learnt.npz")
            learnt[name]["elbo"] = elbo(weights, processes[name].about["scale"], x)
    steps = cell.epochs * math.ceil(len(x) / cell.batch)
    times = contenders.seconds(answers)
    contenders.show(cell.words, times, 1000 / steps, "ms a step")
    about = {"model": cell.model, "batch": cell.batch, "latents": cell.latents}
    about |= {"steps of a round": steps, "epochs": cell.epochs * (1 + rounds)}
    return about | {"seconds": times, "learnt": learnt}


def _cell(cell):
    return Cell(cell.get("model", "mlp"), cell["batch"], cell["latents"], cell["epochs"])


def pictured(record):
    """The cell of the picture, or None."""
    return next((cell for cell in record["cells"] if _is_pictured(cell)), None)


def _is_pictured(cell):
    return _cell(cell)[:3] == PICTURED[:3]


def checks(record):
    return [check for cell in record["cells"] for check in (*_fast(cell), *_alike(cell))]


def _fast(cell):
    """Is `fit` as fast as it should be?"""
    times, where = cell["seconds"], _cell(cell).words
    if "bare" in times:
        limit, quantity = OVER_BARE[cell["batch"]], f"`fit` over the bare loop, {where}"
        yield at_most(quantity, ratio(times, "fit", "bare"), limit)
    of_mlp = OVER_FIT if _is_pictured(cell) else {}
    for name, limit in (of_mlp if _cell(cell).model == "mlp" else OF_OTHERS).items():
        if name in times:
            quantity = f"{LABELS[name]} over `fit`, {where}"
            yield at_least(quantity, ratio(times, name, "fit"), limit)


def _alike(cell):
    """Have all of them done the same?"""
    learnt, where = cell["learnt"].values(), _cell(cell).words
    if _cell(cell).model == "mlp":
        bounds = [one["elbo"] for one in learnt]
        because = "the same model, trained equally long; sd over seeds 2 to 3 nats"
        apart = max(bounds) - min(bounds)
        yield at_most(f"ELBOs apart, nats, {where}", apart, ALIKE, because)
        because = "the loss is a mean over the last epoch, the ELBO is of its end"
        apart = max(abs(one["elbo"] + one["loss"]) for one in learnt)
        yield at_most(f"ELBO and own loss apart, nats, {where}", apart, OWN, because)
    else:
        losses = [one["loss"] for one in learnt]
        because = "the same model, trained equally long from other first weights"
        apart = (max(losses) - min(losses)) / min(losses)
        yield at_most(f"losses apart, relative, {where}", apart, SHARE, because)


def per_step(cell, name):
    """Milliseconds of a step, median."""
    return 1000 * np.median(cell["seconds"][name]) / cell["steps of a round"]


def rows(cells, figure, names=None):
    """A line for each contender, the slowest first: its label, and the figure of each cell."""
    measured = {name for cell in cells for name in cell["seconds"]}
    names = measured & (names or measured)

    def slowness(name):
        return -np.mean([ratio(c["seconds"], name, "fit") for c in cells if name in c["seconds"]])

    for name in sorted(names, key=slowness):
        figures = (figure(c, name) if name in c["seconds"] else "" for c in cells)
        yield table._line(LABELS[name], *figures)


def render(record):
    cells = record["cells"]
    head = table._head("", *(_cell(cell).words for cell in cells))
    epochs = ", ".join(str(cell["epochs"]) for cell in cells)
    learners = {name for cell in cells for name in cell["learnt"]}

    def milliseconds(cell, name):
        return f"{per_step(cell, name):.2f}"

    def times_ours(cell, name):
        return f"{ratio(cell['seconds'], name, 'fit'):.2f}"

    def bound(cell, name):
        learnt = cell["learnt"].get(name, {})
        return f"{learnt.get('elbo', -learnt['loss']):.1f}" if learnt else ""

    return [
        *("Milliseconds a step:", "", *head, *rows(cells, milliseconds)),
        *("", "The same, divided by that of `fit`:", "", *head, *rows(cells, times_ours)),
        *("", f"ELBO of the training data after {epochs} epochs, nats (of conv and counts, as"),
        *("each reports it itself):", "", *head, *rows(cells, bound, learners)),
    ]
