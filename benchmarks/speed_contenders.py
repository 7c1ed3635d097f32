"""Who competes in speed.py, and how each is kept running, asked and timed."""

import contextlib
import math
import os
import pickle
import subprocess
import sys
import tempfile

import numpy as np
from table import FOLDER, Check

import vae_tf as vt

PEERS = FOLDER / "peers"
sys.path.insert(0, str(PEERS))

# name: (what pages call it, a file of peers/, what that is called with), about the slowest first
CONTENDERS = {
    "keras_guide": ("Keras guide's `train_step`", "speed_keras_guide.py", ""),
    "keras": ("Keras' own `fit`, same model", "speed_fit.py", "keras"),
    "auto": ("`fit`, as it decides", "speed_fit.py", "auto"),
    "torch_compiled": ("PyTorch, compiled", "speed_torch.py", "compiled"),
    "torch": ("PyTorch, fused Adam", "speed_torch.py", "eager"),
    "fit": ("this project's `fit`", "speed_fit.py", "xla"),
    "bare": ("bare loop, one XLA program", "speed_bare.py", ""),
}
LABELS = {name: label for name, (label, *_) in CONTENDERS.items()}
TORCH = "torch", "torch_compiled"  # whose Python is another one


def digits(count):
    """[count, 784], zeros and ones: the 4,000 training digits of mnist5k, as often as needed."""
    x = vt.data.binarize(vt.data.load("mnist5k").x_train, seed=0).reshape(-1, 784)
    return np.tile(x, (-(-count // len(x)), 1))[:count]


class Process(subprocess.Popen):
    """A contender that runs: `ask` it, and it answers."""

    def __init__(self, name, python=None):
        self.label, file, argument = CONTENDERS[name]
        self.said = tempfile.TemporaryFile("w+", encoding="utf-8")
        # Ours find this project's package, PyTorch does not.
        python, path = (python, "") if name in TORCH else (sys.executable, str(FOLDER.parent))
        super().__init__(
            [str(python), str(PEERS / file), argument],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.said,
            env=os.environ | {"PYTHONPATH": path},
        )

    def ask(self, question, **details):
        """{"value", "seconds", "peak"} of a method of the contender."""
        try:
            pickle.dump((question, details), self.stdin)
            self.stdin.flush()
            answer = pickle.load(self.stdout)
        except (BrokenPipeError, EOFError):  # it has ended
            self.said.seek(0)
            answer = {"error": self.said.read()}
        if "error" in answer:
            raise RuntimeError(f"{self.label}: {answer['error']}")
        return answer

    def __exit__(self, *reason):
        super().__exit__(*reason)
        self.said.close()


@contextlib.contextmanager
def running(names, python):
    """{name: Process}, for the length of a `with`; no PyTorch without its `python`."""
    with contextlib.ExitStack() as stack:
        there = [name for name in names if python or name not in TORCH]
        yield {name: stack.enter_context(Process(name, python)) for name in there}


def in_turns(questions, rounds):
    """{name: [answer of each round]}: round 0 of each, round 1 of each, ..."""
    answers = {name: [] for name in questions}
    for _ in range(rounds):
        for name, question in questions.items():
            answers[name].append(question())
    return answers


def seconds(answers):
    """{name: [seconds of each round]}."""
    return {name: [round(one["seconds"], 5) for one in of] for name, of in answers.items()}


def ratio(times, name, to):
    """Of the medians over rounds."""
    return float(np.median(times[name]) / np.median(times[to]))


def at_most(quantity, found, limit, because="the target"):
    return Check(quantity, f"at most {limit:g}", found, 0.0, limit, because)


def at_least(quantity, found, limit, because="the target"):
    return Check(quantity, f"at least {limit:g}", found, limit, math.inf, because)
