"""Who competes in speed.py, and how each is kept running, asked and timed."""

import json
import subprocess
import sys
import tempfile
from typing import NamedTuple

import numpy as np
from peer_environment import without_path
from table import FOLDER

PEERS = FOLDER / "peers"


class Contender(NamedTuple):
    """A file of peers/, what it is called with, and the environment that it runs in."""

    label: str
    file: str
    argument: str = ""
    ours: bool = False  # whether it runs in this environment


CONTENDERS = {
    "fit": Contender("this project's `fit`", "speed_fit.py", "long", True),
    "fit_short": Contender("`fit`, below 2,000 steps", "speed_fit.py", "short", True),
    "bare": Contender("bare loop, one XLA program", "speed_bare.py", "xla", True),
    "graph": Contender("bare loop, one TensorFlow graph", "speed_bare.py", "graph", True),
    "torch": Contender("PyTorch, fused Adam", "speed_torch.py", "fused"),
    "torch_stock": Contender("PyTorch, stock Adam", "speed_torch.py", "stock"),
    "pythae": Contender("Pythae", "speed_pythae.py"),
    "keras_guide": Contender("Keras guide's `train_step`", "speed_keras_guide.py"),
    "tfp_layers": Contender("tfp.layers on tf_keras", "speed_tfp_layers.py"),
}
PRODUCTS = {
    "numpy": Contender("matrix products, NumPy", "speed_products.py", "numpy", True),
    "tensorflow": Contender("matrix products, TensorFlow", "speed_products.py", "tensorflow", True),
    "mkl": Contender("matrix products, PyTorch", "speed_products.py", "torch"),
}
LABELS = {name: one.label for name, one in (CONTENDERS | PRODUCTS).items()}
LABELS["products"] = "matrix products alone"


def environment(contender):
    """Its variables: ours find this project's package, the others do not."""
    own = {"PYTHONPATH": str(FOLDER.parent)} if contender.ours else {}
    return without_path() | own


class Process:
    """A contender that runs: `ask` it, and it answers."""

    def __init__(self, contender, peers):
        python = sys.executable if contender.ours else peers
        command = [python, PEERS / contender.file, contender.argument]
        self.label, self._noise = contender.label, tempfile.TemporaryFile("w+", encoding="utf-8")
        self._process = subprocess.Popen(
            list(map(str, command)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._noise,
            text=True,
            env=environment(contender),
        )

    def greet(self):
        """Waits until it is there: after that, `about` tells what its greeting says."""
        self.about = self._read()

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
        details = {k: str(v) if k in ("x", "weights", "path") else v for k, v in details.items()}
        self._process.stdin.write(json.dumps({"ask": question, **details}) + "\n")
        self._process.stdin.flush()
        return self._read()

    def close(self):
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()
        self._noise.close()


class Processes(dict):
    """Contenders that run, by name, for the length of a `with`; without `peers` only ours do.

    A peer that does not start is left out, and `missing` says why.
    """

    def __init__(self, contenders, peers):
        super().__init__()
        self._contenders = {n: one for n, one in contenders.items() if one.ours or peers}
        self._peers, self.missing = peers, []

    def __enter__(self):
        for name, contender in self._contenders.items():
            self[name] = Process(contender, self._peers)
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
            self.pop(name).close()
            self.missing.append(str(error).strip().splitlines()[-1])

    def __exit__(self, *_):
        for process in self.values():
            process.close()

    def versions(self):
        """Of the peers' libraries."""
        found = {}
        for name, process in self.items():
            found |= {} if self._contenders[name].ours else process.about["versions"]
        return found

    def in_turns(self, rounds, question, **details):
        """{name: [answer of each round]}: round 0 of each, round 1 of each, ..."""
        answers = {name: [] for name in self}
        for i in range(rounds):
            for name, process in self.items():
                if question == "evaluate":
                    details["seed"] = i
                answers[name].append(process.ask(question, **details))
        return answers


def seconds(answers):
    """{name: [seconds of each round]}; "products" is the library that multiplies fastest."""
    times = {name: [round(one["seconds"], 5) for one in of] for name, of in answers.items()}
    products = [name for name in PRODUCTS if name in times]
    return times | {"products": times[min(products, key=lambda name: np.median(times[name]))]}
