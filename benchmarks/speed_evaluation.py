"""How fast is evaluation? Each estimate against the matrix products of the decodings it takes."""

import itertools
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import speed_contenders as contenders
import table
from speed_contenders import TORCH, at_least, at_most, ratio


class Case(NamedTuple):
    """An estimate of a trained model's log p(x), or of a bound of it."""

    function: str
    model: str
    latents: int
    images: int
    settings: dict[str, Any]


CHAINS = {"num_chains": 16, "num_steps": 100, "seed": 0}
CASES = (
    Case("elbo", "mlp", 50, 500, {"num_samples": 100, "seed": 0}),
    Case("iwae", "mlp", 50, 100, {"num_samples": 5000, "seed": 0}),
    Case("ais", "mlp", 50, 10, CHAINS),
    Case("bracket", "mlp", 50, 5, CHAINS | {"num_simulated": 5}),
    Case("decompose", "mlp", 10, 100, {"num_samples": 500, "max_steps": 1000, "seed": 0}),
    Case("grid", "mlp", 2, 50, {"tolerance": 1e-4}),
    Case("grid", "conv", 2, 4, {"tolerance": 1e-4}),
)
EPOCHS = {"mlp": 30, "conv": 3}  # of training before
DECODED = {"mlp": 100_000, "conv": 5_000}  # for a floor: others are in proportion
FULL = {"rounds": 3, "epochs": EPOCHS, "cases": CASES}

TINY = {"num_samples": 20, "num_steps": 3, "max_steps": 100, "tolerance": 1.0}
FEW = [
    case._replace(images=1, settings={k: TINY.get(k, v) for k, v in case.settings.items()})
    for case in CASES
    if case.model == "mlp"  # the other one is never tiny
]
QUICK = {"rounds": 1, "epochs": {"mlp": 1}, "cases": FEW}

LONG = 20.0  # seconds: what takes longer is called twice in all

OVER_PRODUCTS = 1.6  # `iwae` over the decoder's matrix products, at most
OVER_IWAE = 1.4  # PyTorch's best over `iwae`, at least
GRID = 15.0  # seconds for four images of the convolutional decoder, at most
AGREE = 0.3  # nats; both estimates have a standard error of about 0.03


def measure(python, *, rounds, epochs, cases):
    """Every case, one after the other; those of one trained model follow each other."""
    x, found = contenders.digits(4000), []
    with contenders.running(("fit", *TORCH), python) as processes:
        for (model, latents), some in itertools.groupby(cases, key=lambda case: case[1:3]):
            _train(processes, x, model, latents, epochs[model])
            for case in some:
                print(f"  {_words(case._asdict())}", flush=True)
                found.append(_estimate(processes, case, x[: case.images], rounds))
    return {"rounds": rounds, "cases": found}


def _train(processes, x, model, latents, epochs):
    """Trains the model that will be evaluated; of an "mlp", PyTorch is given the weights."""
    fit, how = processes["fit"], {"x": x, "batch": 128, "model": model, "latents": latents}
    fit.ask("prepare", counted=True, **how)
    fit.ask("train", epochs=epochs)
    fit.ask("count")  # from zero
    weights = fit.ask("weights")["value"]
    for name in processes.keys() & TORCH if model == "mlp" else ():
        processes[name].ask("prepare", weights=weights, **how)


def _estimate(processes, case, x, rounds):
    """One case. A first call, which traces and compiles, is timed by itself, and counted."""
    fit, rows = processes["fit"], DECODED[case.model]
    who = list(processes) if case.function == "iwae" else ["fit"]
    how = {"x": x, "function": case.function, **case.settings}
    questions = {name: partial(processes[name].ask, "evaluate", **how) for name in who}
    # Of NumPy and PyTorch neither has the faster product on every machine.
    floors = {
        f"decode, {name}": partial(processes[name].ask, "decode", rows=rows)
        for name in (("fit", "torch") if case.model == "mlp" else ("fit",))
        if name in processes
    }
    (first,) = contenders.seconds(contenders.in_turns(questions | floors, 1))["fit"]
    decodings, _ = fit.ask("count")["value"]
    answers = contenders.in_turns(questions | floors, rounds if first < LONG else 1)
    _, traced = fit.ask("count")["value"]
    times = contenders.seconds(answers)
    floor = min((times.pop(name) for name in floors), key=np.median)
    times["products"] = [seconds * decodings / rows for seconds in floor]
    found = {"seconds": times, "estimates": {name: answers[name][-1]["value"] for name in who}}
    found |= {"first call": first, "decodings": decodings, "traced again": traced}
    if case.function == "iwae":
        found["parts"] = fit.ask("parts", x=x, **case.settings)["value"]
        fit.ask("count")  # what they decoded is no other case's
    return case._asdict() | found


def _words(case):
    return f"`{case['function']}`" + ("" if case["model"] == "mlp" else f" of {case['model']}")


def _best(times):
    """The faster of PyTorch's two ways, or None."""
    theirs = [name for name in TORCH if name in times]
    return min(theirs, key=lambda name: np.median(times[name]), default=None)


def checks(record):
    for case in record["cases"]:
        times, words = case["seconds"], _words(case)
        if case["function"] == "iwae":
            off = ratio(times, "fit", "products")
            yield at_most("`iwae` over the decoder's matrix products", off, OVER_PRODUCTS)
            if best := _best(times):
                quantity = "time of PyTorch's best evaluation over that of `iwae`"
                yield at_least(quantity, ratio(times, best, "fit"), OVER_IWAE)
                off = abs(case["estimates"]["fit"] - case["estimates"][best])
                because = "the same weights, other noise"
                yield at_most("estimates apart, nats", off, AGREE, because)
        if case["function"] == "grid" and case["model"] == "conv":
            seconds = np.median(times["fit"])
            yield at_most(f"{words}, {case['images']} images, seconds", seconds, GRID)
        again, because = case["traced again"], "the same shapes: compiled once and kept"
        yield at_most(f"{words}: compilations of a second call", again, 0, because)


def render(record):
    head = "", "images", "first call, s", "later calls, s", "products alone, s", "ratio"
    lines = table.head(*head, "PyTorch's best, s", "decodings, and gradients into z")
    for case in record["cases"]:
        times, best = case["seconds"], _best(case["seconds"])
        later, floor = (f"{np.median(times[name]):.3f}" for name in ("fit", "products"))
        over = f"{ratio(times, 'fit', 'products'):.2f}"
        theirs = f"{np.median(times[best]):.3f}" if best else ""
        what = [f"{k} = {v}" for k, v in case["settings"].items() if k != "seed"]
        if (rounds := len(times["fit"])) != record["rounds"]:
            what.append(f"rounds = {rounds}")
        what = ", ".join([_words(case), f"L = {case['latents']}", *what])
        cells = case["images"], f"{case['first call']:.2f}", later, floor, over, theirs
        lines.append(table.line(what, *cells, f"{case['decodings']:,}"))
    for case in record["cases"]:
        if parts := case.get("parts"):
            lines += ["", f"Parts of {_words(case)}, seconds of each by itself:"]
            lines += ["", *table.head(*parts)]
            lines.append(table.line(*(f"{seconds:.3f}" for seconds in parts.values())))
    return lines
