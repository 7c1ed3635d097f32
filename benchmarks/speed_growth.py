"""How does the cost grow: with the examples N, the samples K, the batch, and the replicas?

Every point is a fresh process, which takes medians of rounds after a first one that is not timed,
and its own peak of memory. An exponent is the slope of log time over log size. Replicas are logical
devices that share the same cores, and go through Keras' own path, a step a call.
"""

import numpy as np
import speed_contenders as contenders
import table
from speed_contenders import CONTENDERS, Process, at_most
from table import Check

LINEAR = 0.95, 1.05
FULL = {
    "rounds": 3,
    "axes": {
        "examples": (16_000, 32_000, 64_000),  # N, of an epoch in batches of 128
        "samples": (10_000, 20_000, 40_000),  # K, for 50 images
        "batches": (8, 32, 128, 512, 2048),
        "replicas": (1, 2),
    },
}
QUICK = {
    "rounds": 2,
    "axes": {
        "examples": (256, 512),
        "samples": (50, 100),
        "batches": (1024, 2048),
        "replicas": (1, 2),
    },
}
UNITS = {
    "examples": "one epoch of N examples, batch 128",
    "samples": "`vt.evidence.iwae` with K samples of 50 images",
    "batches": "one epoch of 8,192 examples in batches of B",
    "replicas": "one epoch of 4,000 examples, batch 128, under MirroredStrategy of R logical CPUs",
}


def measure(_, folder, *, rounds, axes):
    import speed_protocol as protocol

    np.savez(folder / "first.npz", *protocol.first_weights(50))
    record = {"rounds": rounds, "missing": []}
    for axis, sizes in axes.items():
        record[axis] = [_point(axis, size, rounds, folder) for size in sizes]
    return record


def _point(axis, size, rounds, folder):
    """The seconds of each round and the peak of memory, MB."""
    counts = {"examples": size, "samples": 50, "batches": 8192, "replicas": 4000}
    np.save(folder / "x.npy", contenders.digits(counts[axis]))
    x, weights = folder / "x.npy", folder / "first.npz"
    with Process(CONTENDERS["auto" if axis == "replicas" else "fit"]) as process:
        process.greet()
        if axis == "samples":
            process.ask("load", model="mlp", latents=50, weights=weights)
            settings = {"function": "iwae", "num_samples": size, "seed": 0}
            answers = [process.ask("evaluate", x=x, **settings) for _ in range(1 + rounds)]
        else:
            replicas = {"replicas": size} if axis == "replicas" else {}
            batch = size if axis == "batches" else 128
            process.ask("prepare", x=x, batch=batch, weights=weights, **replicas)
            answers = [process.ask("train", epochs=1) for _ in range(1 + rounds)]
    found = [round(one["seconds"], 4) for one in answers[1:]]
    print(f"  {axis} {size}: {np.median(found):.3f} s", flush=True)
    return {"size": size, "seconds": found, "peak": answers[-1]["peak"]}


def exponent(points):
    """p of seconds ~ size^p."""
    sizes = np.log([point["size"] for point in points])
    return float(np.polyfit(sizes, np.log([np.median(p["seconds"]) for p in points]), 1)[0])


def checks(record):
    """The costs that must be linear, and the memory that must not grow."""
    words, because = "{} to {}".format(*LINEAR), "linear; the exponent is fitted to all sizes"
    found = [
        Check(f"exponent of the time in {letter}", words, exponent(record[axis]), *LINEAR, because)
        for axis, letter in (("examples", "N"), ("samples", "K"))
    ]
    peaks = [point["peak"] for point in record["samples"]]
    if all(peaks):
        quantity = "peak memory at the largest K over that at the smallest"
        because = "samples are drawn in chunks"
        found.append(at_most(quantity, peaks[-1] / peaks[0], 1.1, because))
    return found


def render(record):
    lines = []
    for axis, words in UNITS.items():
        lines += ["", *table._head(words, *(f"{point['size']:,}" for point in record[axis]))]
        middle = [np.median(point["seconds"]) for point in record[axis]]
        lines.append(table._line("seconds", *(f"{value:.3f}" for value in middle)))
        peaks = [point["peak"] for point in record[axis]]
        lines.append(table._line("peak memory, MB", *(f"{p:.0f}" if p else "" for p in peaks)))
    return lines[1:]
