"""Who competes in speed.py, and how each is kept running, asked and timed."""

import contextlib
import math
import pickle
import subprocess
import sys
import tempfile
import time
from typing import NamedTuple

import numpy as np
from peer_environment import without_path
from table import FOLDER, Check

import vae_tf as vt

PEERS = FOLDER / "peers"
sys.path.insert(0, str(PEERS))


class Contender(NamedTuple):
    """A file of peers/, what it is called with, and the environment that it runs in."""

    label: str
    file: str
    argument: str = ""
    ours: bool = True  # whether it runs in this environment


PRODUCTS = "numpy", "mkl"
CONTENDERS = {
    "fit": Contender("this project's `fit`", "speed_fit.py", "xla"),
    "auto": Contender("`fit`, as it decides", "speed_fit.py", "auto"),
    "keras": Contender("Keras' own `fit`, same model", "speed_fit.py", "keras"),
    "keras_guide": Contender("Keras guide's `train_step`", "speed_keras_guide.py"),
    "bare": Contender("bare loop, one XLA program", "speed_bare.py"),
    "torch": Contender("PyTorch, fused Adam", "speed_torch.py", "eager", False),
    "torch_compiled": Contender("PyTorch, compiled", "speed_torch.py", "compiled", False),
    "numpy": Contender("products, NumPy", "speed_products.py", "numpy"),
    "mkl": Contender("products, PyTorch", "speed_products.py", "torch", False),
}
LABELS = {name: one.label for name, one in CONTENDERS.items()}
LABELS["products"] = "matrix products alone"


def digits(count):
    """[count, 784], zeros and ones: the 4,000 training digits of mnist5k, as often as needed."""
    x = vt.data.binarize(vt.data.load("mnist5k").x_train, seed=0).reshape(-1, 784)
    return np.tile(x, (-(-count // len(x)), 1))[:count]


class Process:
    """A contender that runs: `ask` it, and it answers."""

    def __init__(self, name, python=None):
        self.began, self._contender = time.perf_counter(), CONTENDERS[name]
        _, file, argument, ours = self._contender
        self._noise = tempfile.TemporaryFile("w+", encoding="utf-8")
        self._process = subprocess.Popen(
            [str(sys.executable if ours else python), str(PEERS / file), argument],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._noise,
            # Ours find this project's package, the others do not.
            env=without_path() | ({"PYTHONPATH": str(FOLDER.parent)} if ours else {}),
        )

    def ask(self, question, **details):
        """{"value", "seconds", "peak"} of a method of the contender."""
        try:
            pickle.dump((question, details), self._process.stdin)
            self._process.stdin.flush()
            answer = pickle.load(self._process.stdout)
        except (BrokenPipeError, EOFError):
            self._noise.seek(0)
            answer = {"error": self._noise.read()}
        if "error" in answer:
            raise RuntimeError(f"{self._contender.label}: {answer['error'].strip()[-2000:]}")
        return answer

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(BrokenPipeError):  # of one that has died
            self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()
        self._noise.close()


@contextlib.contextmanager
def running(names, python):
    """{name: Process}, for the length of a `with`; without `python`, that of the peers, ours."""
    with contextlib.ExitStack() as stack:
        there = [name for name in names if python or CONTENDERS[name].ours]
        yield {name: stack.enter_context(Process(name, python)) for name in there}


def in_turns(questions, rounds):
    """{name: [answer of each round]}: round 0 of each, round 1 of each, ..."""
    answers = {name: [] for name in questions}
    for _ in range(rounds):
        for name, question in questions.items():
            answers[name].append(question())
    return answers


def seconds(answers):
    """{name: [seconds of each round]}; "products" is the library that multiplies faster."""
    times = {name: [round(one["seconds"], 5) for one in of] for name, of in answers.items()}
    products = [times.pop(name) for name in PRODUCTS if name in times]
    return times | ({"products": min(products, key=np.median)} if products else {})


def ratio(times, name, to):
    """Of the medians over rounds."""
    return float(np.median(times[name]) / np.median(times[to]))


def at_most(quantity, found, limit, because="the target"):
    return Check(quantity, f"at most {limit:g}", found, 0.0, limit, because)


def at_least(quantity, found, limit, because="the target"):
    return Check(quantity, f"at least {limit:g}", found, limit, math.inf, because)
