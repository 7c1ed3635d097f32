"""How fast is evaluation? Each estimate against the matrix products of the decodings it takes."""

import math
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
    peaks: tuple = ()  # numbers of samples for which the memory is compared

    @property
    def words(self):
        return f"`{self.function}`" + ("" if self.model == "mlp" else f" of {self.model}")


CHAINS = {"num_chains": 16, "num_steps": 100}
CASES = (
    Case("elbo", "mlp", 50, 500, {"num_samples": 100}),
    Case("iwae", "mlp", 50, 100, {"num_samples": 5000}, (500, 5000)),
    Case("grid", "mlp", 2, 50, {}),
    Case("grid", "conv", 2, 4, {}),
    Case("ais", "mlp", 50, 10, CHAINS),
    Case("bracket", "mlp", 50, 5, CHAINS | {"num_simulated": 5}),
    Case("decompose", "mlp", 10, 100, {"num_samples": 500, "max_steps": 1000}, (500, 5000)),
)
LARGEST = {"mlp": 100_000, "conv": 5_000}  # decodings for a floor: more are proportional
LONG = 20.0  # seconds: what takes longer is called once more only
EPOCHS = {"mlp": 30, "conv": 3}  # of training before
TINY = (
    Case("elbo", "conv", 2, 2, {"num_samples": 20}),
    Case("iwae", "mlp", 50, 2, {"num_samples": 50}, (20, 50)),
    Case("grid", "mlp", 2, 2, {"tolerance": 1e-2}),
    Case("ais", "mlp", 2, 2, {"num_chains": 2, "num_steps": 3}),
    Case("bracket", "mlp", 2, 2, {"num_chains": 2, "num_steps": 3, "num_simulated": 1}),
    Case("decompose", "mlp", 2, 2, {"num_samples": 20, "max_steps": 100}),
)

FULL = {"rounds": 3, "epochs": EPOCHS, "cases": CASES}
QUICK = {"rounds": 2, "epochs": dict.fromkeys(EPOCHS, 1), "cases": TINY}

OVER_PRODUCTS = 1.6  # `iwae` over the decoder's matrix products, at most
OVER_IWAE = 1.4  # PyTorch's best over `iwae`, at least
GRID = 15.0  # seconds for four images of the convolutional decoder, at most
FLAT = 1.1  # peak memory with many samples over that with few, at most
AGREE = 0.3  # nats; both estimates have a standard error of about 0.03
TORCH = "torch", "torch_compiled"


def measure(python, folder, *, rounds, epochs, cases):
    """Every case, one after the other, of models that are trained once."""
    np.save(folder / "x.npy", contenders.digits(4000))
    record, weights = {"rounds": rounds, "cases": [], "peers": {}, "missing": []}, {}
    with contenders.Processes(("fit", *TORCH, *PRODUCTS), python) as processes:
        record["peers"], record["missing"] = processes.versions, processes.missing
        for case in cases:
            model = {"model": case.model, "latents": case.latents}
            if case[1:3] not in weights:
                path = weights[case[1:3]] = folder / f"{case.model}{case.latents}.npz"
                processes["fit"].ask("prepare", x=folder / "x.npy", batch=128, **model)
                processes["fit"].ask("train", epochs=epochs[case.model])
                processes["fit"].ask("save", path=path)
            model["weights"] = weights[case[1:3]]
            record["cases"].append(_estimate(processes, case, model, folder, rounds))
    for case, found in zip(cases, record["cases"], strict=True):
        model = {"model": case.model, "latents": case.latents, "weights": weights[case[1:3]]}
        for name in ("fit", "torch") if case.peaks else ():
            if name in found["seconds"]:
                peaks = [_peak(name, python, case, model, k, folder) for k in case.peaks]
                found.setdefault("peak", {})[name] = peaks
    return record


def _estimate(processes, case, model, folder, rounds):
    """One case. The first call, which traces and compiles, is timed by itself."""
    details = {"x": folder / "x.npy", "images": case.images, "function": case.function}
    details |= case.settings
    floors = {"tensorflow": "fit", "mkl": "torch"}  # of convolutions: the decoder itself
    if case.model != "conv":
        floors = {name: name for name in PRODUCTS}
    asked = ("fit", *TORCH) if case.function == "iwae" else ("fit",)
    for name in {*asked, *floors.values()} & processes.keys():
        own = (
            name != "fit" and case.model == "conv"
        )  # PyTorch's convolutions have weights of theirs
        processes[name].ask("load", **model | ({"weights": None} if own else {}))
    decoded, back, traced = processes["fit"].ask("count", **details, seed=0)["value"]
    share = min(1.0, LARGEST[case.model] / (decoded + back))  # of the floor, then scaled up

    def evaluate(process):
        return lambda i: process.ask("evaluate", **details, seed=i)

    def decode(process):
        part = {"decoded": math.ceil(share * decoded), "back": math.ceil(share * back)}

        def ask(_):
            answer = process.ask("decode", **part)
            return answer | {"seconds": answer["seconds"] / share}

        return ask

    questions = {name: evaluate(processes[name]) for name in asked if name in processes}
    questions |= {to: decode(processes[name]) for to, name in floors.items() if name in processes}
    first = {name: question(100)["seconds"] for name, question in questions.items()}
    answers = contenders.in_turns(questions, rounds if first["fit"] < LONG else 1)
    times = contenders.seconds(answers)
    contenders.show(f"{case.words}: {decoded:,} decodings, {back:,} gradients", times)
    about = {"function": case.function, "model": case.model, "latents": case.latents}
    about |= {"images": case.images, "settings": case.settings, "seconds": times}
    about |= {"first call": round(first["fit"], 3), "decoded": decoded, "gradients": back}
    estimates = {n: [one["value"] for one in answers[n]] for n in asked if n in answers}
    return about | {"traced again": traced, "estimates": estimates}


def _peak(name, python, case, model, samples, folder):
    """MB that a fresh process has held at most, after one evaluation."""
    with contenders.Processes([name], python) as processes:
        processes[name].ask("load", **model)
        settings = case.settings | {"num_samples": samples}
        details = {"x": folder / "x.npy", "images": case.images, "function": case.function}
        answer = processes[name].ask("evaluate", **details, **settings, seed=0)
    return answer["peak"] and round(answer["peak"])


def _case(one):
    return Case(*(one[name] for name in ("function", "model", "latents", "images", "settings")))


def checks(record):
    found = []
    for one in record["cases"]:
        times, words = one["seconds"], _case(one).words
        if one["function"] == "iwae":
            if "products" in times:
                off = ratio(times, "fit", "products")
                quantity = "`iwae` over the decoder's matrix products"
                found.append(at_most(quantity, off, OVER_PRODUCTS))
            if theirs := [name for name in TORCH if name in times]:
                off = min(ratio(times, name, "fit") for name in theirs)
                quantity = "PyTorch's best evaluation over `iwae`"
                found.append(at_least(quantity, off, OVER_IWAE))
                off = abs(np.mean(one["estimates"]["fit"]) - np.mean(one["estimates"][theirs[0]]))
                because = "the same weights, other noise"
                found.append(at_most("estimates apart, nats", off, AGREE, because))
        if one["function"] == "grid" and one["model"] == "conv":
            quantity = f"{words}, {one['images']} images, seconds"
            found.append(at_most(quantity, np.median(times["fit"]), GRID))
        if "traced again" in one:
            quantity = f"{words}: compilations of a second call"
            because = "the same shapes: compiled once and kept"
            found.append(at_most(quantity, one["traced again"], 0, because))
        peaks = one.get("peak", {}).get("fit")
        if peaks and all(peaks):
            because = "flat: samples are drawn in chunks"
            quantity = f"peak memory of {words}, many samples over few"
            found.append(at_most(quantity, peaks[1] / peaks[0], FLAT, because))
    return found


def render(record):
    lines = table._head(
        *("", "images", "first call, s", "later calls, s", "products alone, s", "ratio"),
        *("decodings", "gradients"),
    )
    for one in record["cases"]:
        times = one["seconds"]
        floor = f"{np.median(times['products']):.3f}" if "products" in times else ""
        over = f"{ratio(times, 'fit', 'products'):.2f}" if "products" in times else ""
        first = f"{one['first call']:.2f}" if "first call" in one else ""
        counted = [f"{one[name]:,}" if name in one else "" for name in ("decoded", "gradients")]
        settings = ", ".join(f"{name} = {value}" for name, value in one["settings"].items())
        what = f"{_case(one).words}, L = {one['latents']}" + (f", {settings}" if settings else "")
        later = f"{np.median(times['fit']):.3f}"
        lines.append(table._line(what, one["images"], first, later, floor, over, *counted))
    for one in (one for one in record["cases"] if one["function"] == "iwae"):
        times = one["seconds"]
        lines += ["", *table._head("`iwae` of PyTorch, same weights", "s", "divided by ours")]
        for name in (name for name in TORCH if name in times):
            words = "eager" if name == "torch" else "compiled"
            cells = f"{np.median(times[name]):.3f}", f"{ratio(times, name, 'fit'):.2f}"
            lines.append(table._line(words, *cells))
    if with_peaks := [one for one in record["cases"] if one.get("peak")]:
        lines += ["", *table._head("peak of a fresh process, MB", "few samples", "many samples")]
        for one in with_peaks:
            for name, peaks in one["peak"].items():
                words = _case(one).words if name == "fit" else "PyTorch, the same"
                lines.append(table._line(words, *(peak or "" for peak in peaks)))
    return lines
