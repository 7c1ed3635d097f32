"""What a GPU makes of this package: steps, images, samples and models a second, and the precisions.

    python benchmarks/gpu.py            # a few minutes on a GPU; on a CPU the same in little

The model is that of speed.py (784-200-200-50, tanh), the data are the 4,000 digits of mnist5k,
binarised, as often as needed. Five parts, each can be had alone (`--part`):

    steps       a training epoch at batch 100 as one program
    batches     images a second as the batch grows, and the share of the chip's arithmetic
    evaluation  the 5,000-sample bound
    sweep       24 values of beta as one program, against 24 runs of `fit`
    precision   TF32 and mixed precision: the ELBO in nats, and the speed

Writes benchmarks/gpu.json, unless --quick; figures of a CPU say nothing about a GPU.
"""

import argparse
import contextlib
import dataclasses
import datetime
import json
import math
import os
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import table
import tensorflow as tf
from table import FOLDER

import vae_tf as vt

sys.path.insert(0, str(FOLDER / "peers"))

import speed_protocol as protocol

RESULTS = FOLDER / "gpu.json"
LATENTS = 50


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


ON_CPU = Scale(2_000, (100, 400), 20, 1_000, 4, 2, 1_024, 3)
QUICK = Scale(200, (50, 100), 5, 50, 2, 1, 64, 2)


def digits(count):
    """[count, 784], zeros and ones."""
    x = vt.data.binarize(vt.data.load("mnist5k").x_train, seed=0).reshape(-1, protocol.EVENT)
    return np.tile(x, (-(-count // len(x)), 1))[:count]


def make(steps_of_a_program=1, objective=None, seed=0):
    """The VAE, compiled for programs of so many steps."""
    keras.utils.set_random_seed(seed)
    encoder = vt.networks.mlp(protocol.EVENT, vt.layers.NormalDiag(LATENTS))
    decoder = vt.networks.mlp(LATENTS, vt.layers.Bernoulli(protocol.EVENT))
    vae = vt.VAE(encoder, decoder, objective=objective, seed=seed)
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


# -- the parts -------------------------------------------------------------------------------


def steps(scale):
    x = digits(scale.examples)
    seconds = epoch_of(x, 100, scale.rounds)
    return {"batch": 100, "seconds": seconds, "steps a second": len(x) / 100 / seconds}


def arithmetic_of_an_image():
    """Multiplications and additions of the matrix products of a step, for each image."""
    products = [rows * columns for rows, columns in protocol.shapes(LATENTS)]
    # Forward, into the weights, into the layer below; nobody asks for that into the data.
    return 2 * (3 * sum(products) - products[0])


def ceiling(scale):
    """Operations a second of one large product of float32 matrices, in the present precision."""
    a, b = (tf.random.normal([scale.product] * 2, seed=s) for s in (0, 1))
    # The sum brings one number back: without it the call would return before the product is done.
    product = tf.function(lambda: tf.reduce_sum(a @ b), jit_compile=False, autograph=False)
    return 2 * scale.product**3 / median(lambda: product().numpy(), scale.rounds)


def batches(scale):
    top, work = ceiling(scale), arithmetic_of_an_image()
    found = []
    for batch in scale.batches:
        x = digits(max(scale.examples, 4 * batch) // batch * batch)
        a_second = len(x) / epoch_of(x, batch, scale.rounds)
        share = a_second * work / top
        found.append({"batch": batch, "images a second": a_second, "share of the ceiling": share})
        print(f"  batch {batch}: {a_second:,.0f} images a second, {share:.1%}", flush=True)
    return {"operations an image": work, "ceiling, operations a second": top, "batches": found}


def evaluation(scale):
    vae, x = make(), digits(scale.evaluated)
    seconds = median(lambda: vt.evidence.iwae(vae, x, scale.samples, seed=0), 1)
    a_second = scale.evaluated * scale.samples / seconds
    sizes = {"images": scale.evaluated, "samples": scale.samples}
    return sizes | {"seconds": seconds, "decodings a second": a_second}


def sweep(scale):
    """Both with their compilation: that is what a reader waits for."""
    x = digits(min(scale.examples, 4_000))
    betas = np.linspace(0.25, 4.5, scale.models)

    def models():
        return [make(objective=vt.objectives.BetaELBO(beta)) for beta in betas]

    def apart(vaes):
        for vae in vaes:
            vae.fit(x, epochs=scale.epochs, batch_size=100, verbose=0)

    def together(vaes):
        vt.sweep(vaes, x, epochs=scale.epochs, batch_size=100, verbose=0)

    seconds = {}
    for name, train in (("one program", together), ("one by one", apart)):
        vaes = models()
        _, seconds[name] = protocol.timed(lambda train=train, vaes=vaes: train(vaes))
    ratio = seconds["one by one"] / seconds["one program"]
    return {"models": scale.models, "epochs": scale.epochs, "seconds": seconds, "ratio": ratio}


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

    def elbo(vae):
        return float(np.mean(vae.elbo(held_out, 10, seed=0).elbo))

    for name, setting in PRECISIONS.items():
        with in_precision(*setting):
            vae = make(math.ceil(len(x) / 100))
            vae.fit(x, batch_size=100, verbose=0)  # compiles
            start = time.perf_counter()
            vae.fit(x, batch_size=100, epochs=scale.epochs, verbose=0)
            a_second = scale.epochs * len(x) / 100 / (time.perf_counter() - start)
            after_training = elbo(vae)
            weights = weights or vae.get_weights()
            vae.set_weights(weights)
            bounds = {"ELBO after equal training": after_training, "of float32's": elbo(vae)}
            found[name] = {"steps a second": a_second, **bounds}
        print(f"  {name}: {found[name]}", flush=True)
    return found


PARTS = {
    "steps": steps,
    "batches": batches,
    "evaluation": evaluation,
    "sweep": sweep,
    "precision": precision,
}


def main(arguments=None):
    """Measures parts, prints them, writes the file; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--part", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--quick", action="store_true", help="tiny; writes nothing")
    options = parser.parse_args(arguments)
    on_gpu = bool(tf.config.list_physical_devices("GPU"))
    scale = QUICK if options.quick else Scale() if on_gpu else ON_CPU
    records = json.loads(RESULTS.read_text("utf-8")) if RESULTS.is_file() else {}
    if not on_gpu:
        print("There is no GPU: everything runs, and no figure says anything about one.")
    for part in options.part:
        start = time.monotonic()
        record = PARTS[part](scale)
        print(part, json.dumps(record), flush=True)
        records[part] = record | {
            "scale": dataclasses.asdict(scale),
            "on a GPU": on_gpu,
            "machine": table.machine(),
            "versions": vt.about(),
            "date": datetime.date.today().isoformat(),
            "took": round(time.monotonic() - start, 1),
        }
        if on_gpu and not options.quick:
            RESULTS.write_text(json.dumps(records, indent=1) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
