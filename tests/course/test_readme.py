"""The README's code runs as it stands there, and shows what it says."""

import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).resolve().parents[2] / "README.md"


def snippets():
    return re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


def test_it_is_twelve_lines():
    assert len([line for line in snippets()[0].splitlines() if line.strip()]) == 12


def test_it_runs_and_the_bounds_are_in_order():
    """The second piece goes on where the first one ends."""
    code = "\n".join([*snippets(), "print(bound.estimate.mean(), threes.shape)"])
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-3000:]
    elbo, bound, truth, given = (float(v) for v in re.findall(r"-\d+\.\d+", run.stdout))
    # The means of 100 examples, each with a Monte Carlo error well below the steps between them.
    assert elbo < bound < truth < given  # ten latents and a label explain more than two latents
    assert "(16, 28, 28)" in run.stdout


def test_it_names_every_file_and_every_room():
    text = README.read_text(encoding="utf-8")
    package = README.parent / "vae_tf"
    rooms = {f"{path.parent.name}/" for path in package.glob("*/__init__.py")}
    for name in rooms | {path.name for path in package.glob("[!_]*.py")}:
        assert name in text, name


def test_what_it_links_to_is_there():
    for page in (README, README.parent / "CONTRIBUTING.md", README.parent / "CHANGELOG.md"):
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
