"""One script a stored result, of the same name; a run is kept for exactly what it depends on."""

import importlib.util
import json
import sys

import pytest
from stamp import ROOT

import vae_tf as vt

SCRIPTS = {path.stem: path for path in (ROOT / "experiments").glob("*.py")}
KEEPING = ("07_family", "09_where_the_gap_comes_from")


def module(name):
    """A script as a module; its name begins with a digit."""
    spec = importlib.util.spec_from_file_location(f"experiment_{name}", SCRIPTS[name])
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def test_each_result_has_a_script_and_each_script_a_result():
    assert SCRIPTS.keys() == {path.stem for path in (ROOT / "data" / "results").glob("*.json")}


@pytest.mark.parametrize("name", KEEPING)
def test_a_stopped_script_goes_on_and_a_changed_one_begins_anew(name, tmp_path, monkeypatch):
    script, made = module(name), []

    def run(*arguments):
        made.append(arguments)
        if len(made) == 3:
            raise KeyboardInterrupt
        return {"elbo": -1.0, "seconds": 2.0}

    monkeypatch.setattr(script, "KEPT", tmp_path / "kept")
    monkeypatch.setattr(script, "run", run)
    monkeypatch.setattr(vt.results, "_CHECKOUT", tmp_path / "results")
    monkeypatch.setattr(sys, "argv", [name])
    with pytest.raises(KeyboardInterrupt):
        script.main()
    script.main()
    result = json.loads((tmp_path / "results" / f"{name}.json").read_text())
    runs = sum(map(len, result["figures"]["runs"].values()))
    assert len(made) == runs + 1 and result["made"]["seconds"] == 2.0 * runs
    script.main()
    assert len(made) == runs + 1, "nothing is left to make"
    monkeypatch.setitem(script.SETTINGS if name == "07_family" else script.SHARED, "rate", 1.0)
    script.main()
    assert len(made) == 2 * runs + 1, "with another setting, all of it"
