"""How fast is evaluation? Each estimate against the matrix products of the decodings it takes."""

from functools import partial
from typing import Any, NamedTuple

import numpy as np
import speed_contenders as contenders
import table
from speed_contenders import PRODUCTS, at_least, at_most, ratio


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
    Case("grid", "mlp", 2, 50, {"tolerance": 1e-4}),
    Case("grid", "conv", 2, 4, {"tolerance": 1e-4}),
    Case("ais", "mlp", 50, 10, CHAINS),
    Case("bracket", "mlp", 50, 5, CHAINS | {"num_simulated": 5}),
    Case("decompose", "mlp", 10, 100, {"num_samples": 500, "max_steps": 1000, "seed": 0}),
)
EPOCHS = {"mlp": 30, "conv": 3}  # of training before
FULL = {"rounds": 3, "epochs": EPOCHS, "cases": CASES}

TINY = {"num_samples": 20, "num_chains": 2, "num_steps": 3, "num_simulated": 1, "max_steps": 100}
TINY |= {"tolerance": 0.01, "seed": 0}
FEW = [case._replace(images=1, settings={k: TINY[k] for k in case.settings}) for case in CASES]
QUICK = {"rounds": 1, "epochs": dict.fromkeys(EPOCHS, 1), "cases": FEW}

LARGEST = {"mlp": 100_000, "conv": 5_000}  # decodings for a floor: more are proportional
LONG = 20.0  # seconds: what takes longer is called once more only
TORCH = "torch", "torch_compiled"

OVER_PRODUCTS = 1.6  # `iwae` over the decoder's matrix products, at most
OVER_IWAE = 1.4  # PyTorch's best over `iwae`, at least
GRID = 15.0  # seconds for four images of the convolutional decoder, at most
AGREE = 0.3  # nats; both estimates have a standard error of about 0.03


def measure(python, *, rounds, epochs, cases):
    """Every case, one after the other, of models that are trained once."""
    x, trained = contenders.digits(4000), {}
    with contenders.running(("fit", *TORCH, *PRODUCTS), python) as processes:
        fit, found = processes["fit"], []
        for case in cases:
            model = {"model": case.model, "latents": case.latents}
            if case[1:3] not in trained:
                fit.ask("prepare", x=x, batch=128, **model)
                fit.ask("train", epochs=epochs[case.model])
                trained[case[1:3]] = fit.ask("weights")["value"]
            model["weights"] = trained[case[1:3]]
            found.append(_estimate(processes, case, model, x[: case.images], rounds))
    return {"rounds": rounds, "cases": found}


def _estimate(processes, case, model, x, rounds):
    """One case. The first call, which traces and compiles, is timed by itself."""
    print(f"  {_words(case._asdict())}", flush=True)
    asked = ("fit", *TORCH) if case.function == "iwae" else ("fit",)
    asked = [name for name in asked if name in processes]
    # The floor under a convolutional decoder is the decoder itself.
    floors = {name: name for name in PRODUCTS if name in processes}
    floors = floors if case.model == "mlp" else {"numpy": "fit"}
    for name in {*asked, *floors.values()}:
        processes[name].ask("load", **model)
    how = {"x": x, "function": case.function, **case.settings}
    rows, traced = processes["fit"].ask("count", **how)["value"]
    part = min(rows, LARGEST[case.model])
    questions = {name: partial(processes[name].ask, "evaluate", **how) for name in asked}
    questions |= {to: partial(processes[n].ask, "decode", rows=part) for to, n in floors.items()}
    first = contenders.seconds(contenders.in_turns(questions, 1))["fit"][0]
    answers = contenders.in_turns(questions, rounds if first < LONG else 1)
    times = contenders.seconds(answers)
    times["products"] = [seconds * rows / part for seconds in times["products"]]
    estimates = {name: answers[name][-1]["value"] for name in asked}
    found = {"first call": first, "decodings": rows, "traced again": traced}
    return case._asdict() | {"seconds": times, "estimates": estimates} | found


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
                quantity = "PyTorch's best evaluation over `iwae`"
                yield at_least(quantity, ratio(times, best, "fit"), OVER_IWAE)
                off = abs(case["estimates"]["fit"] - case["estimates"][best])
                because = "the same weights, other noise"
                yield at_most("estimates apart, nats", off, AGREE, because)
        if case["function"] == "grid" and case["model"] == "conv":
            quantity = f"{words}, {case['images']} images, seconds"
            yield at_most(quantity, np.median(times["fit"]), GRID)
        if "traced again" in case:
            because = "the same shapes: compiled once and kept"
            quantity = f"{words}: compilations of a second call"
            yield at_most(quantity, case["traced again"], 0, because)


def render(record):
    head = "", "images", "first call, s", "later calls, s", "products alone, s", "ratio"
    lines = table._head(*head, "PyTorch's best, s", "decodings, and gradients into z")
    for case in record["cases"]:
        times, best = case["seconds"], _best(case["seconds"])
        first = f"{case['first call']:.2f}" if "first call" in case else ""
        later, floor = (f"{np.median(times[name]):.3f}" for name in ("fit", "products"))
        over = f"{ratio(times, 'fit', 'products'):.2f}"
        theirs = f"{np.median(times[best]):.3f}" if best else ""
        settings = [f"{k} = {v}" for k, v in case["settings"].items() if k != "seed"]
        what = ", ".join([_words(case), f"L = {case['latents']}", *settings])
        cells = case["images"], first, later, floor, over, theirs, f"{case['decodings']:,}"
        lines.append(table._line(what, *cells))
    return lines
