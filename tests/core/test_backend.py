"""The stack below the package: what is refused, what is left unsaid at import, and what is not."""

import os
import subprocess
import sys

import pytest
import tensorflow as tf

import vae_tf as vt
from vae_tf._core import backend

GREETING = (
    "WARNING: All log messages before absl::InitializeLog() is called are written to STDERR\n"
    "I0000 00:00:1 1 cudart_stub.cc:31] Could not find cuda drivers, GPU will not be used.\n"
    "E0000 00:00:1 1 cuda_platform.cc:52] failed call to cuInit: UNKNOWN ERROR (303)\n"
)
TROUBLE = "E0000 00:00:1 1 cuda_platform.cc:52] failed call to cuInit: CUDA_ERROR_NO_DEVICE\n"


def python(code, **environment):
    """A fresh process, in which TensorFlow has not been told what to say."""
    others = {key: value for key, value in os.environ.items() if key != "TF_CPP_MIN_LOG_LEVEL"}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=others | environment, capture_output=True, text=True)


def say(text):
    os.write(2, text.encode())


def test_about():
    assert vt.about().startswith(f"vae_tf {vt.__version__} | Python 3.")


def test_importing_says_nothing():
    assert python("import vae_tf").stderr == ""


def test_importing_loads_only_what_it_needs():
    """Beyond what TensorFlow, TensorFlow Probability and Keras load, nothing that takes time."""
    code = """import sys, keras, tensorflow, tensorflow_probability
before = {*sys.modules}
import vae_tf
print(*{name.partition(".")[0] for name in sys.modules.keys() - before})"""
    late = {"IPython", "arviz_stats", "matplotlib", "sklearn"}
    assert not late & {*python(code).stdout.split()}


@pytest.mark.parametrize("backend_name", ["jax", "numpy"])  # absent, at hand
def test_another_backend_is_refused_with_the_fix(backend_name):
    run = python("import vae_tf", KERAS_BACKEND=backend_name)
    assert run.returncode != 0
    assert f"Expected the Keras backend `tensorflow`. Received: `{backend_name}`" in run.stderr
    assert "Set the environment variable KERAS_BACKEND" in run.stderr


def test_greetings_are_left_out_and_all_else_is_said(capfd):
    with backend._without_greetings():
        say(GREETING + TROUBLE)
    assert capfd.readouterr().err == TROUBLE


def test_when_the_start_fails_all_is_said(capfd):
    with pytest.raises(ImportError), backend._without_greetings():
        say(GREETING)
        raise ImportError
    assert capfd.readouterr().err == GREETING


def test_a_reader_who_asks_for_everything_gets_it(capfd, monkeypatch):
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "0")
    with backend._without_greetings():
        say(GREETING)
    assert capfd.readouterr().err == GREETING


def test_it_works_without_a_standard_error():
    run = python("import os; os.close(2); import vae_tf; print('imported')")
    assert run.stdout == "imported\n"


def test_a_gpu_is_shared(monkeypatch):
    asked = []
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda _: ["free", "in use"])

    def set_memory_growth(gpu, grows):
        asked.append((gpu, grows))
        if gpu == "in use":
            raise RuntimeError("Physical devices cannot be modified after being initialized")

    monkeypatch.setattr(tf.config.experimental, "set_memory_growth", set_memory_growth)
    backend._share_gpus()
    assert asked == [("free", True), ("in use", True)]
