"""What the docstrings show is run, and every public name has an example and says its types."""

import dataclasses
import doctest
import enum
import importlib
import inspect
import pkgutil

import keras
import matplotlib.pyplot as plt
import numpy as np
import pytest
import tensorflow as tf

import vae_tf as vt

OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
ROOMS = (
    *("course", "data", "diagnostics", "disentanglement", "elbo", "evidence", "gap", "layers"),
    *("linear", "networks", "objectives", "priors", "checks", "plots", "random", "results"),
    *("distributions", "schedules", "support"),
)
X = np.random.default_rng(0).normal(size=(20, 3)).astype("float32")
UNSAID = ("self", "cls")


def modules():
    """Every module of the package."""
    found = pkgutil.walk_packages(vt.__path__, "vae_tf.")
    return [vt, *(importlib.import_module(entry.name) for entry in found)]


def docstrings_with_examples():
    """A doctest for each docstring that has an example; np, tf, keras, vt and x are at hand."""
    found = []
    at_hand = {"np": np, "tf": tf, "keras": keras, "vt": vt, "x": X}
    finder = doctest.DocTestFinder(exclude_empty=True)
    for module in modules():
        for test in finder.find(module, globs=at_hand | vars(module)):
            if test.examples:
                found.append(pytest.param(test, id=test.name.removeprefix("vae_tf.")))
    return found


def public():
    """{name: function or class}, each once, under the first name by which it is reached."""
    rooms = [("vt", vt), *((f"vt.{room}", getattr(vt, room)) for room in ROOMS)]
    found = {}
    for place, room in rooms:
        for name in room.__all__:
            thing = getattr(room, name)
            if inspect.isfunction(thing) or inspect.isclass(thing):
                found.setdefault(thing, f"{place}.{name}")
    return {name: thing for thing, name in found.items()}


def is_record(thing):
    """Classes that only hold what a function has found, or only say what a model offers."""
    if not inspect.isclass(thing):
        return False
    frozen = dataclasses.is_dataclass(thing) and thing.__dataclass_params__.frozen
    named = issubclass(thing, tuple) and hasattr(thing, "_fields")
    return frozen or named or issubclass(thing, enum.Enum) or getattr(thing, "_is_protocol", False)


def signatures(thing):
    """The functions of a public name that a user calls: itself, or the methods that it defines."""
    if inspect.isfunction(thing):
        yield thing
        return
    for name, member in vars(thing).items():
        if isinstance(member, property):
            member = member.fget
        elif isinstance(member, (staticmethod, classmethod)):
            member = member.__func__
        ours = inspect.isfunction(member) and member.__module__.startswith("vae_tf")
        if ours and (name == "__init__" or not name.startswith("_")):
            yield member


def unsaid(function):
    """What a signature leaves open: the parameters without a type, and `return`."""
    signature = inspect.signature(function)
    found = [
        name
        for name, parameter in signature.parameters.items()
        if parameter.annotation is inspect.Parameter.empty and name not in UNSAID
    ]
    constructs = function.__name__ == "__init__"  # what it returns goes without saying
    if signature.return_annotation is inspect.Signature.empty and not constructs:
        found.append("return")
    return found


@pytest.mark.parametrize("test", docstrings_with_examples())
def test_example(test):
    said = []
    doctest.DocTestRunner(optionflags=OPTIONS).run(test, out=said.append)
    plt.close("all")
    assert not said, "".join(said)


PUBLIC = public()


@pytest.mark.parametrize("name", [name for name, thing in PUBLIC.items() if not is_record(thing)])
def test_public_name_has_an_example(name):
    assert ">>> " in (inspect.getdoc(PUBLIC[name]) or "")


@pytest.mark.parametrize("name", PUBLIC)
def test_public_signature_says_its_types(name):
    open_ends = {f.__qualname__: unsaid(f) for f in signatures(PUBLIC[name])}
    assert {function: names for function, names in open_ends.items() if names} == {}


def test_no_progress_bar_unless_it_is_asked_for():
    defaults = {
        f"{name}, {function.__name__}": parameter.default
        for name, thing in PUBLIC.items()
        for function in signatures(thing)
        if (parameter := inspect.signature(function).parameters.get("progress"))
    }
    assert len(defaults) > 5 and not any(defaults.values()), defaults
