"""What does a GPU make of this package? Steps, images, samples, models a second; the lessons.

    python benchmarks/gpu.py            # a few minutes on a GPU; on a CPU the same in little
    python benchmarks/gpu.py --quick    # tiny: does it work? writes nothing

The model is that of speed.py (784-200-200-50, tanh), the data are the 4,000 digits of mnist5k,
binarised, as often as needed. Five parts, each can be had alone (`--part`):

    steps       a training epoch at batch 100 as one program
    batches     images a second as the batch grows
    evaluation  the 5,000-sample bound
    sweep       24 values of beta as one program, against 24 runs of `fit`
    lessons     all notebooks, as `make course` runs them

Writes benchmarks/gpu.json and the pages that quote it; figures of a CPU say nothing about a GPU.
"""

import argparse
import datetime
import math
import os
import subprocess
import sys
import time
from typing import NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pages
import table
import tensorflow as tf
from speed_contenders import digits

import vae_tf as vt

import speed_fit  # isort: skip  (of peers/, which speed_contenders puts on the path)
import speed_protocol as protocol  # isort: skip


class Scale(NamedTuple):
    """How much is measured: enough to fill a GPU."""

    examples: int = 60_000
    batches: tuple = (100, 400, 1_600, 6_400, 25_600)
    evaluated: int = 10_000
    samples: int = 5_000
    models: int = 24
    epochs: int = 5
    rounds: int = 5
    lessons: tuple = ()  # all


ON_CPU = Scale(2_000, (100, 400), 20, 1_000, 4, 2, 3, ("00_notation",))
QUICK = Scale(200, (50, 100), 5, 50, 2, 1, 2, ("00_notation",))


def make(steps_of_a_program=1, **options):
    """The VAE, compiled for programs of so many steps."""
    vae = speed_fit.make(**options)
    vae.compile("adam", jit_compile=True, steps_per_execution=steps_of_a_program)
    return vae


def median(function, rounds):
    """Seconds of a call, the median of the rounds after a first one that compiles."""
    function()
    return float(np.median([protocol.timed(function)[1] for _ in range(rounds)]))


def epoch_of(x, batch, rounds):
    """Seconds of an epoch in one program."""
    vae = make(math.ceil(len(x) / batch))
    return median(lambda: vae.fit(x, batch_size=batch, verbose=0), rounds)


# -- the parts: each returns {figure: value} -------------------------------------------------


def steps(scale):
    seconds = epoch_of(digits(scale.examples), 100, scale.rounds)
    return {"steps a second, batch 100": scale.examples / 100 / seconds}


def batches(scale):
    found = {}
    for batch in scale.batches:
        x = digits(max(scale.examples, 4 * batch) // batch * batch)
        found[f"images a second, batch {batch}"] = len(x) / epoch_of(x, batch, scale.rounds)
    return found


def evaluation(scale):
    vae, x = make(), digits(scale.evaluated)
    seconds = median(lambda: vt.evidence.iwae(vae, x, scale.samples, seed=0), 1)
    what = f"{scale.samples}-sample bound of {scale.evaluated} images"
    return {f"{what}, s": seconds, "decodings a second": len(x) * scale.samples / seconds}


def sweep(scale):
    """Both with their compilation: that is what a reader waits for."""
    x, how = digits(4_000)[: scale.examples], {"epochs": scale.epochs, "batch_size": 100}

    def models():
        betas = np.linspace(0.25, 4.5, scale.models)
        return [make(objective=vt.objectives.BetaELBO(beta)) for beta in betas]

    vaes, others = models(), models()
    _, together = protocol.timed(lambda: vt.sweep(vaes, x, verbose=0, **how))
    _, apart = protocol.timed(lambda: [vae.fit(x, verbose=0, **how) for vae in others])
    found = {f"{scale.models} models, one program, s": together, "one by one, s": apart}
    return found | {"one by one over one program": apart / together}


def lessons(scale):
    command = [sys.executable, pages.ROOT / "tools" / "course.py", *scale.lessons]
    run, seconds = protocol.timed(lambda: subprocess.run(command, stdout=subprocess.DEVNULL))
    words = ", ".join(scale.lessons) or "all lessons"
    return {f"{words}, s": seconds, "of them ended well": run.returncode == 0}


PARTS = {part.__name__: part for part in (steps, batches, evaluation, sweep, lessons)}


def main(arguments=None):
    """Measures parts, prints them, writes the file; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--part", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--quick", action="store_true", help="tiny; writes nothing")
    options = parser.parse_args(arguments)
    on_gpu = bool(tf.config.list_physical_devices("GPU"))
    scale = QUICK if options.quick else Scale() if on_gpu else ON_CPU
    records = pages.read("gpu")
    if not on_gpu:
        print("There is no GPU: everything runs, and no figure says anything about one.")
    for part in options.part:
        start = time.monotonic()
        found = {name: float(f"{value:.4g}") for name, value in PARTS[part](scale).items()}
        for name, value in found.items():
            print(f"{part:<11}{name}: {value:,g}", flush=True)
        records[part] = {
            "figures": found,
            "scale": scale._asdict(),
            "machine": table.machine(),
            "versions": vt.about(),
            "date": datetime.date.today().isoformat(),
            "took": round(time.monotonic() - start, 1),
        }
        if on_gpu and not options.quick:
            pages.write("gpu", records)
    return 0


if __name__ == "__main__":
    sys.exit(main())
