"""How fast: `fit`, `iwae` and the first epoch, against floors and against other people's code.

    python benchmarks/speed.py                    # all of it, about ten minutes on two cores
    python benchmarks/speed.py --part training

One model everywhere: 784-200-200-L with tanh and its mirror, a diagonal Normal q(z|x), a Bernoulli
p(x|z), 4,000 binarised digits, float32, Adam(1e-3), the same first weights. Every contender is a
process of its own (peers/speed_*.py); one computes at a time, in turns, and medians are compared.
Writes benchmarks/speed.json, the table in benchmarks/README.md and docs/speed.png. Ends with 1 if a
target is missed, with 3 if none is but a peer could not be had.
"""

import argparse
import dataclasses
import datetime
import json
import math
import os
import pathlib
import subprocess
import sys
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import speed_table
import table
from peer_environment import CACHE, peer_python
from speed_contenders import (
    CONTENDERS,
    LABELS,
    PEERS,
    PRODUCTS,
    Contender,
    Processes,
    environment,
    seconds,
)
from table import NotRun

import vae_tf as vt

sys.path.insert(0, str(PEERS))

import speed_protocol as protocol

ENVIRONMENT = CACHE / "speed"


@dataclasses.dataclass(frozen=True)
class Scale:
    """How much is measured."""

    rounds: int = 5
    images: int = 4000
    cells: tuple = ((32, 50, 4), (128, 50, 12), (512, 50, 25), (128, 2, 12), (128, 10, 12))
    # ... each (batch, latents, epochs of a round)
    evaluated: int = 100  # images of a round of evaluation
    whole: int = 1000  # images of the one full-size round
    samples: tuple = (500, 5000)  # K: both for the memory, the second for the time
    epochs: int = 30  # of training before an evaluation


QUICK = Scale(2, 400, ((128, 50, 2),), 10, 20, (50, 200), 1)


def digits(count):
    """[count, 784], zeros and ones."""
    x = vt.data.binarize(vt.data.load("mnist5k").x_train, seed=0)[:count]
    return x.reshape(len(x), -1)


def show(times, factor, unit):
    for name, of_rounds in times.items():
        low, middle, high = (factor * f(of_rounds) for f in (min, np.median, max))
        print(f"    {LABELS[name]:<32}{middle:8.3f} {unit} ({low:.3f} to {high:.3f})", flush=True)


# -- training --------------------------------------------------------------------------------

SCALES = {  # of q(z|x), as each contender makes it of what its encoder says
    "softplus of one": lambda raw: 1e-6 + np.logaddexp(0, raw + math.log(math.expm1(1.0))),
    "softplus": lambda raw: np.logaddexp(0, raw),
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


def training(scale, peers, folder):
    """Every cell of the grid: the seconds of each round, and what each contender has learnt."""
    x = digits(scale.images)
    np.save(folder / "x.npy", x)
    with Processes(CONTENDERS | PRODUCTS, peers) as processes:
        cells = [train(processes, x, folder, scale.rounds, *cell) for cell in scale.cells]
        about = {"peers": processes.versions(), "missing": processes.missing}
    return {"cells": cells, "images": len(x), "rounds": scale.rounds, **about}


def train(processes, x, folder, rounds, batch, latents, epochs):
    """One cell. The same number of epochs for everyone; the first round, which compiles, is not
    timed.
    """
    print(f"  batch {batch}, {latents} latents", flush=True)
    first = folder / "first.npz"
    np.savez(first, *protocol.first_weights(latents, seed=0))
    for process in processes.values():
        process.ask("prepare", x=folder / "x.npy", batch=batch, weights=first)
        process.ask("train", epochs=epochs)
    answers = processes.in_turns(rounds, "train", epochs=epochs)
    learnt = {}
    for name, process in processes.items():
        if name in CONTENDERS:
            weights = saved_weights(process, folder / f"{name}.npz")
            bound = elbo(weights, process.about["scale"], x)
            learnt[name] = {"elbo": bound, "loss": answers[name][-1]["value"]}
    steps = epochs * math.ceil(len(x) / batch)
    times = seconds(answers)
    show(times, 1000 / steps, "ms a step")
    cell = {"batch": batch, "latents": latents, "steps of a round": steps}
    return cell | {"epochs": epochs * (1 + rounds), "seconds": times, "learnt": learnt}


def saved_weights(process, path):
    process.ask("save", path=path)
    return protocol.arrays(path)


# -- evaluation ------------------------------------------------------------------------------

EVALUATED = {name: CONTENDERS[name] for name in ("fit", "torch")} | PRODUCTS


def evaluation(scale, peers, folder):
    """The K-sample bound of one trained model, by each; and the memory that it takes."""
    np.save(folder / "x.npy", digits(scale.images))
    few, many = ({"x": folder / "x.npy", "samples": samples} for samples in scale.samples)
    with Processes(EVALUATED, peers) as processes:
        weights = trained(processes["fit"], folder, scale.epochs)
        for process in processes.values():
            process.ask("load", weights=weights)
            process.ask("evaluate", **many, images=scale.evaluated, seed=100)  # compiles
        answers = processes.in_turns(scale.rounds, "evaluate", **many, images=scale.evaluated)
        whole = processes.in_turns(1, "evaluate", **many, images=scale.whole)
        about = {"peers": processes.versions(), "missing": processes.missing}
    times, whole = seconds(answers), {name: of_one[0] for name, of_one in seconds(whole).items()}
    estimates = {
        name: [answer["value"] for answer in of_rounds]
        for name, of_rounds in answers.items()
        if name in CONTENDERS
    }
    show(times, 1, "s")
    print("    at full size", {name: round(value, 1) for name, value in whole.items()}, flush=True)
    peaks = {
        name: [
            peak(CONTENDERS[name], peers, weights, images=scale.evaluated, **k) for k in (few, many)
        ]
        for name in estimates
    }
    print("    peak memory", peaks, flush=True)
    found = {"images": scale.evaluated, "samples": scale.samples, "latents": 50, "seconds": times}
    found |= {"images at full size": scale.whole, "seconds at full size": whole}
    found |= {"estimates": estimates, "peak": peaks}
    return found | {"rounds": scale.rounds, **about}


def trained(process, folder, epochs):
    """The weights of 50 latents after some epochs of `fit`: the model that all evaluate."""
    first, weights = folder / "first.npz", folder / "trained.npz"
    np.savez(first, *protocol.first_weights(50, seed=0))
    process.ask("prepare", x=folder / "x.npy", batch=128, weights=first)
    process.ask("train", epochs=epochs)
    process.ask("save", path=weights)
    return weights


def peak(contender, peers, weights, **details):
    """MB that a fresh process has held at most, after one evaluation."""
    with Processes({"one": contender}, peers) as processes:
        processes["one"].ask("load", weights=weights)
        answer = processes["one"].ask("evaluate", **details, seed=0)
    return answer["peak"] and round(answer["peak"])


# -- the first epoch -------------------------------------------------------------------------

WAYS = {way: Contender(way, "speed_start.py", way, True) for way in ("fit", "plain")}


def start(scale, *_):
    """Seconds from the start of the interpreter, and from the call of `fit`, to an epoch's end."""
    names = ("all", "import", "first", "second")
    times = {way: {name: [] for name in names} for way in WAYS}
    for _ in range(scale.rounds):
        for way, contender in WAYS.items():
            for name, value in first_epoch(contender, scale.images).items():
                times[way][name].append(round(value, 4))
    for way, of_way in times.items():
        print(f"    {way}:", {k: round(float(np.median(v)), 2) for k, v in of_way.items()})
    return {"seconds": times, "images": scale.images, "rounds": scale.rounds, "missing": []}


def first_epoch(contender, images):
    """Of a fresh interpreter: it says a line after its first epoch, and one after its second."""
    command = [sys.executable, str(PEERS / contender.file), contender.argument, str(images)]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    began = time.perf_counter()
    with subprocess.Popen(command, env=environment(contender), **options) as process:
        process.stdout.readline()
        found = {"all": time.perf_counter() - began}
        found |= json.loads(process.stdout.readline() or "{}")
    if process.returncode:
        raise RuntimeError(f"{' '.join(command[1:])} failed")
    return found


# -- all of it -------------------------------------------------------------------------------

MEASURE = {"training": training, "evaluation": evaluation, "start": start}


def measure(part, scale, peers, missing):
    """A record of a part, plain enough for JSON."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        record = MEASURE[part](scale, peers, pathlib.Path(folder))
    if missing and part != "start":  # which asks no peer
        record["missing"].append(missing)
    return {
        **speed_table.judged(part, record),
        "took": round(time.monotonic() - began, 1),
        "machine": table.machine(),
        "versions": vt.about(),
        "date": datetime.date.today().isoformat(),
    }


def peers_or_not(wanted):
    """The Python of the peers, or None and what is missing."""
    if not wanted:
        return None, "Not asked for"
    try:
        return peer_python(ENVIRONMENT, "speed_requirements.txt", "3.3 GB"), ""
    except NotRun as reason:
        print(f"  {reason}", flush=True)
        return None, str(reason)


def main(arguments=None):
    """Measures parts, shows them, writes all files; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--part", nargs="+", choices=MEASURE, default=list(MEASURE))
    parser.add_argument("--rounds", type=int, help="of each contender, 5 or more for the record")
    parser.add_argument("--quick", action="store_true", help="tiny; judges and writes nothing")
    parser.add_argument("--without-peers", action="store_true", help="what is installed here")
    options = parser.parse_args(arguments)
    scale = QUICK if options.quick else Scale()
    scale = dataclasses.replace(scale, rounds=options.rounds or scale.rounds)
    peers, missing = peers_or_not(not options.without_peers and options.part != ["start"])
    records = speed_table.read()
    for i, part in enumerate(options.part, start=1):
        print(f"{i} of {len(options.part)}: {part}", flush=True)
        record = records[part] = measure(part, scale, peers, missing)
        for check in record["checks"]:
            mark = "    " if check["holds"] else "NO  "
            found = table.number(check["ours"])
            print(f"  {mark}{check['quantity']}: {found}; {check['published']}")
        print(f"  {record['verdict']} after {record['took']} s", flush=True)
        if not options.quick:
            speed_table.write(records)
    code = table.exit_code([records[part] for part in options.part])
    if options.quick:  # its figures mean nothing
        code = 3 if any(records[part]["missing"] for part in options.part) else 0
    return code


if __name__ == "__main__":
    sys.exit(main())
