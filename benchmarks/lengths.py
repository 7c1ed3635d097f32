"""Trainings of several lengths, from the call of `fit` to its return, compiling included.

    python benchmarks/lengths.py                      # half an hour on two cores
    python benchmarks/lengths.py --epochs 10 30

The model of speed.py, batch 128, 4,000 digits, 50 latents. Every training is one of a fresh process
that has its libraries, its data and its model: `fit` as a reader calls it, PyTorch with fused Adam,
the `fit` of Keras on the same model. The bare XLA loop beside them has compiled before. Writes
benchmarks/lengths.json: seconds, and ratios to `fit` and to the bare loop, all of one run.
"""

import argparse
import json
import pathlib
import sys
import tempfile

import numpy as np
import table
from peer_environment import peer_python
from speed import ENVIRONMENT, digits
from speed_contenders import PEERS, Contender, Process

import vae_tf as vt

sys.path.insert(0, str(PEERS))

import speed_protocol as protocol

RECORD = table.FOLDER / "lengths.json"
CONTENDERS = {
    "fit": Contender("this project's `fit`", "speed_fit.py", "auto", True),
    "torch": Contender("PyTorch, fused Adam", "speed_torch.py", "fused"),
    "keras": Contender("Keras' own `fit`", "speed_fit.py", "keras", True),
    "bare": Contender("bare XLA loop, its steps alone", "speed_bare.py", "xla", True),
}


def seconds(name, peers, folder, epochs):
    """Of one training in a fresh process."""
    process = Process(CONTENDERS[name], peers)
    try:
        process.greet()
        process.ask("prepare", x=folder / "x.npy", batch=128, weights=folder / "first.npz")
        if name == "bare":
            process.ask("train", epochs=1)
        return process.ask("train", epochs=epochs)["seconds"]
    finally:
        process.close()


def main(arguments=None):
    """Measures, prints a line for each length, writes the record."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--epochs", type=int, nargs="+", default=[10, 30, 100, 300])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peers", help="a Python that has PyTorch; by default one is made")
    options = parser.parse_args(arguments)
    peers = options.peers or peer_python(ENVIRONMENT, "speed_requirements.txt", "3.3 GB")
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        np.save(folder / "x.npy", digits(4000))
        np.savez(folder / "first.npz", *protocol.first_weights(50, seed=0))
        for epochs in options.epochs:
            times = {name: [] for name in CONTENDERS}
            for _ in range(options.rounds):
                for name in CONTENDERS:
                    times[name].append(round(seconds(name, peers, folder, epochs), 3))
            middle = {name: float(np.median(of)) for name, of in times.items()}
            ratios = {f"{n} / fit": round(middle[n] / middle["fit"], 3) for n in ("torch", "keras")}
            ratios["fit / bare"] = round(middle["fit"] / middle["bare"], 3)
            found[epochs] = {"seconds": times, **ratios}
            print(epochs, "epochs:", middle, ratios, flush=True)
    record = {"lengths": found, "machine": table.machine(), "versions": vt.about()}
    RECORD.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
