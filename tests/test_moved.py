"""What version 0.1.0 could import can still be imported; what has moved says where to."""

import contextlib
import importlib
import importlib.util
import subprocess
import sys
import warnings

import pytest

import vae_tf as vt
from vae_tf import _moved

MODULES_OF_0_1_0 = """
    aggregate annealing best_q bracket checks chunks collapse counts data diagnostics
    disentanglement distributions elbo engine enumeration evidence flows gap gradients importance
    layers linear loss_weights model networks objectives pairwise plots priors quadrature random
    replicas results schedules support to_distribution weights
""".split()
ATTRIBUTES = "checks distributions plots random results schedules support".split()


@pytest.fixture(autouse=True)
def _as_if_never_imported():
    for old in _moved.PLACES:
        sys.modules.pop(old, None)
        if old.rpartition(".")[2] not in ATTRIBUTES:
            vars(vt).pop(old.rpartition(".")[2], None)


@pytest.mark.parametrize("old", _moved.PLACES)
def test_an_old_module_is_the_new_one_and_says_where_it_is(old):
    message = rf"{old} is now {_moved.PLACES[old]}\. The old name goes with version 0\.3\."
    with pytest.warns(DeprecationWarning, match=message) as caught:
        module = importlib.import_module(old)
    assert module is importlib.import_module(_moved.PLACES[old])
    assert module.__name__ == _moved.PLACES[old]
    assert len(caught) == 1


@pytest.mark.parametrize("name", MODULES_OF_0_1_0)
def test_every_module_of_version_0_1_0_is_found(name):
    moved = contextlib.nullcontext()
    if importlib.util.find_spec(f"vae_tf.{name}").origin is None:
        moved = pytest.warns(DeprecationWarning, match=f"vae_tf.{name} is now")
    with moved:
        assert importlib.import_module(f"vae_tf.{name}").__all__


def test_the_warning_points_at_the_line_that_imports():
    with pytest.warns(DeprecationWarning) as caught:
        from vae_tf.counts import MeanDispersion
    assert caught[0].filename == __file__
    assert MeanDispersion is sys.modules["vae_tf.layers.counts"].MeanDispersion
    with pytest.warns(DeprecationWarning) as caught:
        assert vt.pairwise.__name__ == "vae_tf.evidence.pairwise"
    assert caught[0].filename == __file__


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_public_attributes_do_not_warn(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert getattr(vt, name).__name__.endswith(name)


def test_sweep_is_the_function():
    assert callable(vt.sweep)
    with pytest.raises(ImportError):
        importlib.import_module("vae_tf.sweep")


def test_what_never_was_is_not_found():
    with pytest.raises(AttributeError, match="module 'vae_tf' has no attribute 'nothing'"):
        vt.nothing  # noqa: B018
    with pytest.raises(ModuleNotFoundError, match="vae_tf.nothing"):
        importlib.import_module("vae_tf.nothing")


def test_a_script_of_version_0_1_0_runs():
    code = (
        "from vae_tf import pairwise, VAE; from vae_tf.quadrature import grid; import vae_tf.flows"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
