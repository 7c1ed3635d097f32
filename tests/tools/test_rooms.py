"""The package's arrows point one way, as CONTRIBUTING.md says."""

import ast
import graphlib

from stamp import ROOT

FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in (ROOT / "vae_tf").rglob("*.py")
}


def imported(name):
    """The modules of the package that a module imports, wherever in its text it does so."""
    for node in ast.walk(ast.parse(FILES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            whole = [f"{node.module}.{alias.name}" for alias in node.names]
            found = [name if name in FILES else node.module for name in whole]
        else:
            continue
        yield from (name for name in found if name in FILES and name != "vae_tf")


ARROWS = {name: {*imported(name)} for name in FILES if name != "vae_tf"}


def room(name):
    return name.removeprefix("vae_tf.").partition(".")[0]


def test_there_is_no_circle():
    list(graphlib.TopologicalSorter(ARROWS).static_order())


def test_who_measures_knows_no_model():
    for name, others in ARROWS.items():
        if room(name) in ("evidence", "gap", "diagnostics"):
            assert {room(other) for other in others}.isdisjoint({"model", "linear"}), name


def test_nothing_needs_the_course():
    for name, others in ARROWS.items():
        assert room(name) == "course" or "course" not in {room(other) for other in others}, name
