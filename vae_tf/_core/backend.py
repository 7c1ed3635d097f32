"""The stack below the package: it must be Keras on TensorFlow, and here is what it is made of."""

import contextlib
import importlib.metadata
import os
import platform
import re
import tempfile
from collections.abc import Iterator

__all__ = ["about"]

_FIX = (
    "Set the environment variable KERAS_BACKEND to `tensorflow` (or the entry `backend` of "
    "keras.json) before Keras is first imported, then restart Python."
)
# What TensorFlow writes when it starts and nobody can act on. It does so before it reads
# TF_CPP_MIN_LOG_LEVEL, or as an error where a machine merely has no GPU (cuInit, 303).
_GREETINGS = re.compile(
    rb"absl::InitializeLog\(\)|cudart_stub\.cc|cuInit: UNKNOWN ERROR \(303\)"
    rb"|oneDNN custom operations are on|cpu_feature_guard\.cc|rebuild TensorFlow with the appropri"
    rb"|Unable to register cu\w+ factory|computation placer already registered"
)


def _standard_error() -> tuple[int, int] | None:
    """A copy of file descriptor 2, and a file to take its place; None where that cannot be."""
    try:
        with tempfile.TemporaryFile() as file:
            return os.dup(2), os.dup(file.fileno())
    except OSError:
        return None


@contextlib.contextmanager
def _without_greetings() -> Iterator[None]:
    """Holds the standard error back for as long as TensorFlow starts, then passes it on.

    Known greetings are left out, unless what runs inside raises: then all is said. The setting
    TF_CPP_MIN_LOG_LEVEL=0 holds nothing back; without a setting, TensorFlow's notes are silenced
    for good, its warnings and errors are not.
    """
    wanted = os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1") == "0"
    if wanted or (pair := _standard_error()) is None:
        yield
        return
    screen, held = pair
    os.dup2(held, 2)
    raised = True
    try:
        yield
        raised = False
    finally:
        os.dup2(screen, 2)
        os.close(screen)
        os.lseek(held, 0, os.SEEK_SET)
        with open(held, "rb") as lines:
            kept = b"".join(line for line in lines if raised or not _GREETINGS.search(line))
        os.write(2, kept)


def _require_tensorflow() -> None:
    """Raises ImportError, with the fix, when Keras would run on anything else."""
    try:
        import keras
    except ModuleNotFoundError as error:
        if error.name not in ("jax", "torch", "openvino"):
            raise
        # Keras was told to use a backend that is not even installed.
        backend = os.environ.get("KERAS_BACKEND", error.name)
    else:
        backend = keras.config.backend()
    if backend != "tensorflow":
        raise ImportError(
            "vae_tf computes with TensorFlow Probability. "
            f"Expected the Keras backend `tensorflow`. Received: `{backend}`. {_FIX}"
        )


def _share_gpus() -> None:
    """Lets TensorFlow take the memory of a GPU as it needs it, and not all of it at once."""
    import tensorflow as tf

    for gpu in tf.config.list_physical_devices("GPU"):
        try:
            tf.config.experimental.set_memory_growth(gpu, True)
        except (RuntimeError, ValueError):
            pass  # it is in use already, or was divided up: whoever did that has chosen


with _without_greetings():
    _require_tensorflow()
    _share_gpus()


def about() -> str:
    """One line on what computes: versions and device, for the top of a notebook or a bug report.

    Returns:
        A string such as `vae_tf 0.2.0 | Python 3.12.3, TensorFlow 2.20.0, ... | CPU`.

    Example:

    >>> vt.about()
    'vae_tf ... | Python 3..., TensorFlow 2..., Keras 3..., TFP 0..., NumPy 2... | ...'
    """
    import tensorflow as tf

    from vae_tf import __version__

    names = {
        "TensorFlow": "tensorflow",
        "Keras": "keras",
        "TFP": "tensorflow-probability",
        "NumPy": "numpy",
    }
    versions = [f"{name} {importlib.metadata.version(key)}" for name, key in names.items()]
    gpus = tf.config.list_physical_devices("GPU")
    device = f"{len(gpus)} GPU" if gpus else "CPU"
    stack = ", ".join([f"Python {platform.python_version()}", *versions])
    return f"vae_tf {__version__} | {stack} | {device}"
