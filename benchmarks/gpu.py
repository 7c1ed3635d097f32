"""What does a GPU make of this package? Steps, images, samples, models a second; the lessons.

    python benchmarks/gpu.py                # minutes on a GPU; on a CPU the same in little
    python benchmarks/gpu.py --part sweep   # or `training`, `evaluation`, `lessons`
    python benchmarks/gpu.py --quick        # tiny: does it work? writes nothing

The model is that of speed.py (784-200-200-50, tanh), the data are the 4,000 digits of mnist5k,
binarised, as often as needed. Writes benchmarks/gpu.json and the pages that quote it; figures of a
CPU say nothing about a GPU.
"""

import argparse
import subprocess
import sys
import time
from functools import partial
from typing import NamedTuple

import numpy as np
import pages
import table
import tensorflow as tf
from speed_contenders import digits

import vae_tf as vt

from speed_fit import make  # isort: skip  (of peers/, which speed_contenders finds)
from speed_protocol import timed  # isort: skip


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


QUICK = Scale(200, (50, 100), 5, 50, 2, 1, 2, ("00_notation",))


def median(function, rounds):
    """Seconds of a call, the median of the rounds after a first one that compiles."""
    function()
    return float(np.median([timed(function)[1] for _ in range(rounds)]))


def training(scale):
    """Steps and images, as the batch grows."""
    found = {}
    for batch in scale.batches:
        steps = max(scale.examples // batch, 4)
        x, fit = digits(steps * batch), make(jit_compile=True).fit
        rate = steps / median(partial(fit, x, batch_size=batch, verbose=0), scale.rounds)
        found |= {f"steps a second, batch {batch}": rate}
        found |= {f"images a second, batch {batch}": rate * batch}
    return found


def evaluation(scale):
    """The 5,000-sample bound."""
    x = digits(scale.evaluated)
    seconds = median(partial(vt.evidence.iwae, make(), x, scale.samples, seed=0), 1)
    what = f"{scale.samples}-sample bound of {scale.evaluated} images"
    return {f"{what}, s": seconds, "decodings a second": len(x) * scale.samples / seconds}


def sweep(scale):
    """Values of beta as one program, against as many runs of `fit`, all with their compilation."""
    x, how = digits(min(4_000, scale.examples)), {"epochs": scale.epochs, "batch_size": 100}
    betas = np.linspace(0.25, 4.5, scale.models)
    vaes, others = (
        [make(jit_compile=True, objective=vt.objectives.BetaELBO(beta)) for beta in betas]
        for _ in range(2)
    )
    _, together = timed(lambda: vt.sweep(vaes, x, verbose=0, **how))
    _, apart = timed(lambda: [vae.fit(x, verbose=0, **how) for vae in others])
    found = {f"{scale.models} models, one program, s": together, "one by one, s": apart}
    return found | {"one by one over one program": apart / together}


def lessons(scale):
    """All notebooks, as `make course` runs them."""
    command = [sys.executable, pages.ROOT / "tools" / "course.py", *scale.lessons]
    run, seconds = timed(lambda: subprocess.run(command, stdout=subprocess.DEVNULL))
    words = ", ".join(scale.lessons) or "all lessons"
    return {f"{words}, s": seconds, "of them ended well": run.returncode == 0}


# Each returns {figure: value}.
PARTS = {part.__name__: part for part in (training, evaluation, sweep, lessons)}


def main(arguments=None):
    """Measures parts, prints them, writes the file; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--part", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--quick", action="store_true", help="tiny; writes nothing")
    options = parser.parse_args(arguments)
    quick = options.quick or not tf.config.list_physical_devices("GPU")
    print("In little: nothing is written." if quick else "Writes benchmarks/gpu.json.")
    scale, records = QUICK if quick else Scale(), pages.read("gpu")
    for part in options.part:
        began = time.monotonic()
        found = {name: float(f"{value:.4g}") for name, value in PARTS[part](scale).items()}
        print(part, *(f"  {name}: {value:,g}" for name, value in found.items()), sep="\n")
        records[part] = {"figures": found, "scale": scale._asdict(), **table.stamp(began)}
        if not quick:
            pages.write("gpu", records)
    return 0


if __name__ == "__main__":
    sys.exit(main())
