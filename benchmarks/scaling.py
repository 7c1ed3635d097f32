"""How the cost of training and of evaluation grows: with N, K, the batch, and the replicas.

    python benchmarks/scaling.py            # about five minutes on two cores
    python benchmarks/scaling.py --quick    # tiny; judges and writes nothing

The model is that of speed.py (784-200-200-50, tanh). Every point is a fresh process, which measures
its own seconds, medians of rounds after a first one that is not timed, and its own peak of memory.
An exponent is the slope of log time over log size. Writes benchmarks/scaling.json and the table in
benchmarks/README.md. Ends with 1 if the cost in N or in K is not linear, exponent 0.95 to 1.05.
"""

import argparse
import dataclasses
import datetime
import json
import os
import subprocess
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import table
import tensorflow as tf
from table import FOLDER, Check

import vae_tf as vt

sys.path.insert(0, str(FOLDER / "peers"))

import speed_protocol as protocol
from speed_fit import model

RESULTS = FOLDER / "scaling.json"
MARKS = "<!-- the scaling begins -->\n", "<!-- the scaling ends -->"
LINEAR = 0.95, 1.05


@dataclasses.dataclass(frozen=True)
class Scale:
    """The sizes along each axis, and the rounds at each of them."""

    examples: tuple = (8_000, 16_000, 32_000, 64_000)  # N, of an epoch in batches of 128
    samples: tuple = (10_000, 20_000, 40_000, 80_000)  # K, for 50 images; the start is 0.2 s
    batches: tuple = (8, 32, 128, 512, 2048)
    replicas: tuple = (1, 2)
    rounds: int = 5


QUICK = Scale((256, 512), (50, 100), (32, 64), (1, 2), 2)
UNITS = {
    "examples": "one epoch of N examples, batch 128",
    "samples": "`vt.evidence.iwae` with K samples of 50 images",
    "batches": "one epoch of 8,192 examples in batches of B",
    "replicas": "one epoch of 4,000 examples, batch 128, under MirroredStrategy of R logical CPUs",
}


def digits(count):
    """[count, 784], zeros and ones; the 4,000 of mnist5k again and again."""
    x = vt.data.binarize(vt.data.load("mnist5k").x_train, seed=0).reshape(-1, 784)
    return np.tile(x, (-(-count // len(x)), 1))[:count]


# -- one point, in a process of its own ------------------------------------------------------


def epoch(x, batch, scope=None):
    """A function that trains for one epoch, in the program of a long training."""
    with scope or tf.distribute.get_strategy().scope():
        vae = model(protocol.first_weights(50, seed=0))
        vae.compile("adam", jit_compile="auto" if scope else True)
    return lambda: vae.fit(x, batch_size=batch, verbose=0)


def replicated(replicas):
    """The scope of so many logical CPUs."""
    cpu = tf.config.list_physical_devices("CPU")[0]
    logical = [tf.config.LogicalDeviceConfiguration()] * replicas
    tf.config.set_logical_device_configuration(cpu, logical)
    return tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(replicas)]).scope()


def evaluation(samples):
    """A function that bounds log p(x) of 50 images."""
    vae, x = model(protocol.first_weights(50, seed=0)), digits(50)
    return lambda: vt.evidence.iwae(vae, x, samples, seed=0)


def work(axis, size):
    """What is timed at a point."""
    if axis == "samples":
        return evaluation(size)
    if axis == "replicas":
        return epoch(digits(4000), 128, replicated(size))
    return epoch(digits(size), 128) if axis == "examples" else epoch(digits(8192), size)


def point(axis, size, rounds):
    """The seconds of each round and the peak of memory, MB."""
    run = work(axis, size)
    run()
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        run()
        seconds.append(round(time.perf_counter() - start, 4))
    return {"size": size, "seconds": seconds, "peak": protocol.peak()}


# -- all points ------------------------------------------------------------------------------


def measure(axis, size, rounds):
    """`point`, in a fresh process."""
    command = [sys.executable, __file__, "--point", axis, str(size), str(rounds)]
    run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode:
        raise RuntimeError(f"{axis} {size} failed: {run.stderr[-2000:]}")
    found = json.loads(run.stdout.splitlines()[-1])
    middle, peak = np.median(found["seconds"]), found["peak"]
    print(f"  {axis} {size}: {middle:.3f} s" + (f", {peak:.0f} MB" if peak else ""), flush=True)
    return found


def exponent(points):
    """p of seconds ~ size^p."""
    sizes = np.log([point["size"] for point in points])
    return float(np.polyfit(sizes, np.log([np.median(p["seconds"]) for p in points]), 1)[0])


def checks(record):
    """The costs that must be linear, and the memory that must not grow."""
    because = "linear; the exponent is fitted to four sizes"
    found = [
        Check(f"exponent of the time in {letter}", "1", exponent(record[axis]), *LINEAR, because)
        for axis, letter in (("examples", "N"), ("samples", "K"))
    ]
    peaks = [point["peak"] for point in record["samples"]]
    if all(peaks):
        because = "samples are drawn in chunks"
        grown = peaks[-1] / peaks[0]
        quantity = "peak memory at the largest K over that at the smallest"
        found.append(Check(quantity, "1", grown, 0.9, 1.1, because))
    return found


def render(record):
    """Markdown: what must hold, then a table for each axis."""
    lines = table._head("figure", "obtained", "allowed", "why", "holds")
    for check in record["checks"]:
        holds = "yes" if check["holds"] else "**no**"
        cells = (table.obtained(check["ours"]), table.allowed(check), check["because"], holds)
        lines.append(table._line(check["quantity"], *cells))
    for axis, words in UNITS.items():
        lines += ["", *table._head(words, *(f"{point['size']:,}" for point in record[axis]))]
        middle = [np.median(point["seconds"]) for point in record[axis]]
        lines.append(table._line("seconds", *(f"{value:.3f}" for value in middle)))
        peaks = [point["peak"] for point in record[axis]]
        lines.append(table._line("peak memory, MB", *(f"{p:.0f}" if p else "" for p in peaks)))
    made = f"{record['machine']}, {record['date']}, {record['versions'].replace(' | ', ', ')}"
    return "\n".join([*lines, "", f"Medians of {record['rounds']} rounds. {made}."]) + "\n"


def write(record):
    """Both files; what stands around the table in the README stays."""
    RESULTS.write_text(json.dumps(record, indent=1) + "\n", "utf-8")
    before, _, rest = table.README.read_text("utf-8").partition(MARKS[0])
    after = rest.partition(MARKS[1])[2]
    table.README.write_text(before + MARKS[0] + render(record) + MARKS[1] + after, "utf-8")


def main(arguments=None):
    """Measures all points, shows them, writes both files; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="tiny; judges and writes nothing")
    parser.add_argument("--axis", nargs="+", choices=UNITS, default=list(UNITS))
    parser.add_argument("--point", nargs=3, metavar=("AXIS", "SIZE", "ROUNDS"))
    options = parser.parse_args(arguments)
    if options.point:
        axis, *numbers = options.point
        print(json.dumps(point(axis, *map(int, numbers))))
        return 0
    scale = QUICK if options.quick else Scale()
    record = json.loads(RESULTS.read_text("utf-8")) if len(options.axis) < len(UNITS) else {}
    for axis in options.axis:
        record[axis] = [measure(axis, size, scale.rounds) for size in getattr(scale, axis)]
    found = checks(record)
    record |= {
        "checks": [table._plain(check) for check in found],
        "rounds": scale.rounds,
        "machine": table.machine(),
        "versions": vt.about(),
        "date": datetime.date.today().isoformat(),
    }
    for check in found:
        print(f"{'ok' if check.holds else 'NO'}  {check.quantity}: {check.ours:.3f}")
    if options.quick:
        return 0
    write(record)
    return 0 if all(check.holds for check in found) else 1


if __name__ == "__main__":
    sys.exit(main())
