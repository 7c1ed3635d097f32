"""The stack below the package: it must be Keras on TensorFlow, and here is what it is made of."""

import importlib.metadata
import os
import platform

__all__ = ["about"]

_FIX = (
    "Set the environment variable KERAS_BACKEND to `tensorflow` (or the entry `backend` of "
    "keras.json) before Keras is first imported, then restart Python."
)


def _require_tensorflow():
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


def _share_gpus():
    """Lets TensorFlow take the memory of a GPU as it needs it, and not all of it at once."""
    import tensorflow as tf

    for gpu in tf.config.list_physical_devices("GPU"):
        try:
            tf.config.experimental.set_memory_growth(gpu, True)
        except (RuntimeError, ValueError):
            pass  # it is in use already, or was divided up: whoever did that has chosen


_require_tensorflow()
_share_gpus()


def about():
    """One line on what computes: versions and device, for the top of a notebook or a bug report.

    Returns:
        A string such as `vae_tf 0.1.0 | Python 3.12.3, TensorFlow 2.20.0, ... | CPU`.

    Example:

    ```python
    print(vt.about())
    ```
    """
    import tensorflow as tf

    names = {
        "TensorFlow": "tensorflow",
        "Keras": "keras",
        "TFP": "tensorflow-probability",
        "NumPy": "numpy",
    }
    versions = [f"{name} {importlib.metadata.version(key)}" for name, key in names.items()]
    gpus = tf.config.list_physical_devices("GPU")
    device = f"{len(gpus)} GPU" if gpus else "CPU"
    from vae_tf import __version__

    stack = ", ".join([f"Python {platform.python_version()}", *versions])
    return f"vae_tf {__version__} | {stack} | {device}"
