"""What does a GPU make of this package? Steps, images, samples, models a second; the lessons.

    python benchmarks/gpu.py            # a few minutes on a GPU; on a CPU the same in little
    python benchmarks/gpu.py --quick    # tiny: does it work? writes nothing

The model is that of speed.py (784-200-200-50, tanh), the data are the 4,000 digits of mnist5k,
binarised, as often as needed. Six parts, each can be had alone (`--part`):

    steps       a training epoch at batch 100 as one program
    batches     images a second as the batch grows, and the share of the chip's arithmetic
    evaluation  the 5,000-sample bound
    sweep       24 values of beta as one program, against 24 runs of `fit`
    precision   TF32 and mixed precision: the ELBO in nats, and the speed
    lessons     all notebooks, as `make course` runs them

Writes benchmarks/gpu.json and the pages that quote it; figures of a CPU say nothing about a GPU.
"""

import argparse
import contextlib
import dataclasses
import datetime
import math
import os
import subprocess
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import pages
import table
import tensorflow as tf
from speed_contenders import digits

import vae_tf as vt

import speed_fit  # isort: skip  (of peers/, which speed_contenders puts on the path)
import speed_protocol as protocol  # isort: skip


@dataclasses.dataclass(frozen=True)
class Scale:
    """How much is measured: enough to fill a GPU."""

    examples: int = 60_000
    batches: tuple = (100, 400, 1_600, 6_400, 25_600)
    evaluated: int = 10_000
    samples: int = 5_000
    models: int = 24
    epochs: int = 5
    product: int = 8_192  # rows and columns of the matrices of the ceiling
    rounds: int = 5
    lessons: tuple = ()  # all


ON_CPU = Scale(2_000, (100, 400), 20, 1_000, 4, 2, 1_024, 3, ("00_notation",))
QUICK = Scale(200, (50, 100), 5, 50, 2, 1, 64, 2, ("00_notation",))


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


def arithmetic_of_an_image():
    """Multiplications and additions of the matrix products of a step, for each image."""
    products = [rows * columns for rows, columns in protocol.shapes(50)]
    # Forward, into the weights, into the layer below; nobody asks for that into the data.
    return 2 * (3 * sum(products) - products[0])


def ceiling(scale):
    """Operations a second of one large product of float32 matrices, in the present precision."""
    a, b = (tf.random.normal([scale.product] * 2, seed=s) for s in (0, 1))
    # The sum brings one number back: without it the call would return before the product is done.
    product = tf.function(lambda: tf.reduce_sum(a @ b), jit_compile=False, autograph=False)
    return 2 * scale.product**3 / median(lambda: product().numpy(), scale.rounds)


def batches(scale):
    top, found = ceiling(scale), {}
    for batch in scale.batches:
        x = digits(max(scale.examples, 4 * batch) // batch * batch)
        a_second = len(x) / epoch_of(x, batch, scale.rounds)
        found[f"images a second, batch {batch}"] = a_second
        share = a_second * arithmetic_of_an_image() / top
        found[f"share of the largest product's arithmetic, batch {batch}"] = share
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

    def apart(vaes):
        for vae in vaes:
            vae.fit(x, verbose=0, **how)

    found = {}
    for name, train in (
        ("one program", lambda vaes: vt.sweep(vaes, x, verbose=0, **how)),
        ("one by one", apart),
    ):
        vaes = models()
        _, found[f"{scale.models} models, {name}, s"] = protocol.timed(lambda: train(vaes))  # noqa: B023
    together, apart = found.values()
    return found | {"one by one over one program": apart / together}


PRECISIONS = {  # policy of Keras, whether TF32 may be used
    "float32": ("float32", False),
    "TF32": ("float32", True),
    "mixed bfloat16": ("mixed_bfloat16", True),
    "mixed float16": ("mixed_float16", True),
}


@contextlib.contextmanager
def in_precision(policy, tf32):
    experimental = tf.config.experimental
    before = keras.config.dtype_policy(), experimental.tensor_float_32_execution_enabled()
    keras.config.set_dtype_policy(policy)
    experimental.enable_tensor_float_32_execution(tf32)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before[0])
        experimental.enable_tensor_float_32_execution(before[1])


def precision(scale):
    """Speed, the ELBO after equal training, and that of the same weights by the same noise."""
    x, found, weights = digits(scale.examples), {}, None
    held_out = vt.data.binarize(vt.data.load("mnist5k").x_test, seed=1).reshape(-1, protocol.EVENT)
    for name, setting in PRECISIONS.items():
        with in_precision(*setting):
            vae = make(math.ceil(len(x) / 100))
            seconds = median(lambda: vae.fit(x, batch_size=100, verbose=0), scale.epochs)  # noqa: B023
            found[f"steps a second, {name}"] = len(x) / 100 / seconds
            for words in ("ELBO after equal training", "ELBO of float32's weights"):
                found[f"{words}, {name}"] = np.mean(vae.elbo(held_out, 10, seed=0).elbo)
                weights = weights or vae.get_weights()
                vae.set_weights(weights)
    return found


def lessons(scale):
    command = [sys.executable, pages.ROOT / "tools" / "course.py", *scale.lessons]
    run, seconds = protocol.timed(lambda: subprocess.run(command, stdout=subprocess.DEVNULL))
    words = ", ".join(scale.lessons) or "all lessons"
    return {f"{words}, s": seconds, "of them ended well": run.returncode == 0}


PARTS = {
    "steps": steps,
    "batches": batches,
    "evaluation": evaluation,
    "sweep": sweep,
    "precision": precision,
    "lessons": lessons,
}


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
            "scale": dataclasses.asdict(scale),
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
