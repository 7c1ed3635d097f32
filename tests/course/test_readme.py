"""The README and the pages beside it: their code runs and prints what they say."""

import json
import re
import subprocess
import sys

import nbformat
import numpy as np
import pytest
import release
from stamp import ROOT, notebooks

README = ROOT / "README.md"
TEXT = README.read_text(encoding="utf-8")
PAGES = {
    name: ROOT / name
    for name in ("README.md", "docs/one_way_through.md", "docs/how_fast.md", "docs/conditions.md")
}
ROWS = re.findall(r"^\| \[(\d\d\w?) [^|]*\]\((notebooks/\S+)\).*?\| (.+?) \| (\d+) \|", TEXT, re.M)


def test_it_is_twelve_lines():
    assert len([line for line in release.twelve_lines(TEXT)[0].splitlines() if line.strip()]) == 12


@pytest.mark.parametrize("name", PAGES)
def test_a_page_prints_what_it_says(name):
    programs = release.BLOCK.findall(PAGES[name].read_text(encoding="utf-8"))
    assert programs
    for code, said in programs:
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert run.returncode == 0, run.stderr[-3000:]
        assert release.alike(run.stdout, said), run.stdout


def test_the_bounds_are_in_order():
    """Means of 100 examples, with Monte Carlo errors well below the steps between them."""
    elbo, bound, truth = map(float, release.NUMBER.findall(release.twelve_lines(TEXT)[1]))
    assert elbo < bound < truth
    # Ten latents and a label explain more than two latents.
    ((_, said),) = release.BLOCK.findall(PAGES["docs/conditions.md"].read_text(encoding="utf-8"))
    assert truth < float(release.NUMBER.findall(said)[0])


def test_every_lesson_has_its_question_and_its_time():
    assert [target for _, target, *_ in ROWS] == [f"notebooks/{p.name}" for p in notebooks()]
    for (_, _, question, minutes), path in zip(ROWS, notebooks(), strict=True):
        cells = nbformat.read(path, as_version=4).cells
        opening = "\n".join(c.source for c in cells[:12] if c.cell_type == "markdown")
        assert re.search(r"^# \w+\. (.+)$", opening, re.MULTILINE)[1] == question
        assert re.search(r"Time:\**\s+(\d+) minutes", opening)[1] == minutes, path.name


def test_the_way_through_names_every_file_and_every_room():
    text = PAGES["docs/one_way_through.md"].read_text(encoding="utf-8")
    package = ROOT / "vae_tf"
    rooms = {f"{path.parent.name}/" for path in package.glob("*/__init__.py")}
    for name in rooms | {path.name for path in package.glob("[!_]*.py")}:
        assert name in text, name


def test_what_a_condition_is_worth_is_what_was_measured():
    path = ROOT / "data" / "results" / "conditions.json"
    figures = json.loads(path.read_text(encoding="utf-8"))["figures"]
    given, without = (np.array(figures[f"log {p}, nats"]) for p in ("p(x|y)", "p(x)"))
    worth = given - without
    text = PAGES["docs/conditions.md"].read_text(encoding="utf-8")
    assert f"by {worth.mean():.1f} nats (standard error {worth.std(ddof=1) / 5**0.5:.1f}" in text
    r2 = ("R2 without", "R2 with size factor", "R2 of cells thinned to one total")
    for name in r2:
        assert f"{np.mean(figures[name]):.2f} " in text.replace("|", " "), name


def test_what_it_links_to_is_there():
    pages = [*PAGES.values(), *ROOT.glob("docs/*.md"), ROOT / "CONTRIBUTING.md"]
    for page in [*pages, ROOT / "CHANGELOG.md"]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
