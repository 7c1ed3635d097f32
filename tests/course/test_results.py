"""Stored results: a reader can make any of them again, and gets what is stored."""

import hashlib

import pytest
from stamp import ROOT

import vae_tf as vt

SCRIPTS = {path.stem: vt.results.script(path.stem) for path in (ROOT / "experiments").glob("*.py")}
REPEATED = sorted(name for name, script in SCRIPTS.items() if hasattr(script, "entry"))


@pytest.mark.parametrize("name", REPEATED)
def test_one_entry_is_made_again(name):
    """`entry()` of a script makes a part of its figures: {keys: (value, tolerance)}."""
    for keys, (value, tolerance) in SCRIPTS[name].entry().items():
        assert vt.results.repeats(name, keys, value, tolerance), (
            f"Expected {keys} of {name} within {tolerance} of the stored figure. Received: {value}"
        )


def test_a_file_for_each_script():
    assert {path.stem for path in (ROOT / "data" / "results").glob("*.json")} == set(SCRIPTS)


@pytest.mark.parametrize("name", sorted(SCRIPTS))
def test_a_file_says_how_it_was_made(name):
    made = vt.results.load(name)["made"]
    assert made.keys() >= {"script", "script_sha256", "commit", "settings", "seeds", "seconds"}
    assert made.keys() >= {"date", "machine", "versions"}
    script = ROOT / made["script"]
    assert hashlib.sha256(script.read_bytes()).hexdigest() == made["script_sha256"], (
        f"Expected {made['script']} as it was when it made the result. Received: another version"
    )


def test_a_script_that_is_not_there():
    with pytest.raises(FileNotFoundError, match="Expected `name` to be one of"):
        vt.results.script("nothing")
