"""Import paths of version 0.1.0: they lead to the new places until version 0.3, with a warning."""

import importlib.abc
import importlib.machinery
import sys
import warnings

_ROOMS = {
    "_core": "chunks random",
    "_fit": "engine replicas",
    "course": "checks plots results",
    "diagnostics": "aggregate collapse gradients loss_weights",
    "evidence": "annealing importance pairwise quadrature weights",
    "gap": "best_q",
    "layers": "counts distributions flows support",
    "objectives": "schedules",
}
PLACES = {f"vae_tf.{n}": f"vae_tf.{room}.{n}" for room in _ROOMS for n in _ROOMS[room].split()}
PLACES["vae_tf.bracket"] = "vae_tf.evidence.two_sided"
PLACES["vae_tf.enumeration"] = "vae_tf.evidence.states"
PLACES["vae_tf.to_distribution"] = "vae_tf.layers.base"


def load(old: str, stacklevel: int = 1) -> object:
    """The module that had the name `old`."""
    message = f"{old} is now {PLACES[old]}. The old name goes with version 0.3."
    warnings.warn(message, DeprecationWarning, stacklevel=stacklevel + 1)
    return importlib.import_module(PLACES[old])


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Answers `import vae_tf.counts`; Python asks it last, for what it has found nowhere else."""

    def find_spec(self, fullname, path=None, target=None):  # noqa: ARG002, Python hands over all
        return importlib.machinery.ModuleSpec(fullname, self) if fullname in PLACES else None

    def exec_module(self, module):  # what stands in sys.modules afterwards is what is imported
        sys.modules[module.__name__] = load(module.__name__, stacklevel=2)


sys.meta_path.append(Finder())
