"""Who competes in speed.py, and how each is kept running, asked and timed."""

import json
import math
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


CONTENDERS = {
    "fit": Contender("this project's `fit`", "speed_fit.py", "long"),
    "fit_short": Contender("`fit`, below 2,000 steps", "speed_fit.py", "short"),
    "auto": Contender("`fit`, as it decides", "speed_fit.py", "auto"),
    "keras": Contender("Keras' own `fit`, same model", "speed_fit.py", "keras"),
    "keras_guide": Contender("Keras guide's `train_step`", "speed_keras_guide.py"),
    "bare": Contender("bare loop, one XLA program", "speed_bare.py", "xla"),
    "graph": Contender("bare loop, one TensorFlow graph", "speed_bare.py", "graph"),
    "torch": Contender("PyTorch, fused Adam", "speed_torch.py", "fused", False),
    "torch_stock": Contender("PyTorch, stock Adam", "speed_torch.py", "stock", False),
    "torch_compiled": Contender("PyTorch, compiled", "speed_torch.py", "compiled", False),
}
PRODUCTS = {
    "numpy": Contender("products, NumPy", "speed_products.py", "numpy"),
    "tensorflow": Contender("products, TensorFlow", "speed_products.py", "tensorflow"),
    "mkl": Contender("products, PyTorch", "speed_products.py", "torch", False),
}
LABELS = {name: one.label for name, one in (CONTENDERS | PRODUCTS).items()}
LABELS["products"] = "matrix products alone"


def digits(count):
    """[count, 784], zeros and ones: the 4,000 training digits of mnist5k, as often as needed."""
    x = vt.data.binarize(vt.data.load("mnist5k").x_train, seed=0).reshape(-1, 784)
    return np.tile(x, (-(-count // len(x)), 1))[:count]


class Process:
    """A contender that runs: `ask` it, and it answers."""

    def __init__(self, contender, python=None):
        command = [python or sys.executable, PEERS / contender.file, contender.argument]
        # Ours find this project's package, the others do not.
        own = {"PYTHONPATH": str(FOLDER.parent)} if contender.ours else {}
        self.label, self._noise = contender.label, tempfile.TemporaryFile("w+", encoding="utf-8")
        self._began = time.perf_counter()
        self._process = subprocess.Popen(
            list(map(str, command)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._noise,
            text=True,
            env=without_path() | own,
        )

    def greet(self):
        """Waits until it is there: after that, `about` tells what its greeting says."""
        self.about = self._read()
        return self

    def _read(self):
        line = self._process.stdout.readline()
        if not line:
            self._noise.seek(0)
            line = json.dumps({"error": self._noise.read()})
        answer = json.loads(line)
        if "error" in answer:
            raise RuntimeError(f"{self.label} failed: {answer['error'].strip()[-2000:]}")
        return answer

    def ask(self, question, **details):
        details = {
            k: str(v) if k in ("x", "weights", "path") and v else v for k, v in details.items()
        }
        self._process.stdin.write(json.dumps({"ask": question, **details}) + "\n")
        self._process.stdin.flush()
        return self._read()

    def now(self):
        """Seconds since the interpreter was started."""
        return time.perf_counter() - self._began

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()
        self._noise.close()


class Processes(dict):
    """Contenders that run, by name, for the length of a `with`; without `python`, that of the
    peers, only ours do. A peer that does not start is left out, and `missing` says why.
    """

    def __init__(self, names, python):
        super().__init__()
        contenders = {name: (CONTENDERS | PRODUCTS)[name] for name in names}
        self._contenders = {n: one for n, one in contenders.items() if one.ours or python}
        self._python, self.missing, self.versions = python, [], {}

    def __enter__(self):
        for name, contender in self._contenders.items():
            self[name] = Process(contender, None if contender.ours else self._python)
        try:
            for name, contender in self._contenders.items():
                self._greet(name, contender)
        except BaseException:
            self.__exit__()
            raise
        return self

    def _greet(self, name, contender):
        try:
            self[name].greet()
        except RuntimeError as error:
            if contender.ours:
                raise
            self.pop(name).__exit__()
            self.missing.append(str(error).strip().splitlines()[-1])
        else:
            self.versions |= {} if contender.ours else self[name].about["versions"]

    def __exit__(self, *_):
        for process in self.values():
            process.__exit__()


def in_turns(questions, rounds):
    """{name: [answer of each round]}: round 0 of each, round 1 of each, ...

    Args:
        questions: {name: a function of the round that asks a process}.
    """
    answers = {name: [] for name in questions}
    for i in range(rounds):
        for name, question in questions.items():
            answers[name].append(question(i))
    return answers


def seconds(answers):
    """{name: [seconds of each round]}; "products" is the library that multiplies fastest."""
    times = {name: [round(one["seconds"], 5) for one in of] for name, of in answers.items()}
    products = {name: times.pop(name) for name in PRODUCTS if name in times}
    if products:
        times["products"] = min(products.values(), key=np.median)
    return times


def ratio(times, name, to):
    """Of the medians over rounds."""
    return float(np.median(times[name]) / np.median(times[to]))


def at_most(quantity, found, limit, because="the target"):
    return Check(quantity, f"at most {limit:g}", found, 0.0, limit, because)


def at_least(quantity, found, limit, because="the target"):
    return Check(quantity, f"at least {limit:g}", found, limit, math.inf, because)


def show(what, times, factor=1.0, unit="s"):
    """Prints the medians of a measurement, and between what they lie."""
    print(f"  {what}", flush=True)
    for name, of_rounds in times.items():
        low, middle, high = (factor * f(of_rounds) for f in (min, np.median, max))
        print(f"    {LABELS[name]:<32}{middle:9.3f} {unit} ({low:.3f} to {high:.3f})", flush=True)
