"""The table docs/coverage.md: nothing is missing from it, and its cells show what it says."""

import re

import nbformat
import pytest
from stamp import ROOT, notebooks

PAGE = (ROOT / "docs" / "coverage.md").read_text(encoding="utf-8")
BOOKS = {path.stem: nbformat.read(path, as_version=4) for path in notebooks()}
ROWS = [
    tuple(part.strip() for part in line.strip("| ").split(" | "))
    for line in PAGE.partition("## ")[0].splitlines()
    if line.startswith("| ") and "#" in line
]
# What must be displayed, in the spelling of the text without spaces: a row for each.
FORMULAS = {
    "the divergence is an expectation": r"\log\frac{q(z)}{p(z)}",
    "what we want": r"\log\intp_\theta(x\midz)\,p(z)",
    "the ELBO equation": r"\underbrace{\mathrm{KL}",
    "Jensen's inequality": r"\log\mathbb{E}[w]\;\ge\;\mathbb{E}[\logw]",
    "step 1": r"\log\intp_\theta(x,z)",
    "step 2": r"\intq_\phi(z\midx)\cdot\frac{p_\theta(x,z)}{q_\phi(z\midx)}",
    "step 3": r"\log\mathbb{E}_{q_\phi(z\midx)}\left[\frac{p_\theta(x,z)}{q_\phi(z\midx)}\right]",
    "step 4": r"\ge\mathbb{E}_{q_\phi(z\midx)}\left[\log\frac{p_\theta(x,z)}{q_\phi(z\midx)}",
    "step 5": r"\logp_\theta(x,z)-\logq_\phi(z\midx)",
    "step 6": r"\logp_\theta(x\midz)+\logp(z)-\logq_\phi(z\midx)",
    "step 7": r"\underbrace{\mathbb{E}_{q_\phi(z\midx)}[\logp_\theta(x\midz)]}",
    "importance weighted": r"\frac1K\sum_{k=1}^K",
    "the gap is $": r"\logp(x)-\mathrm{ELBO}=\mathrm{KL}",
}
SYMBOLS = ("x", "z", r"\theta", r"\phi", r"p_\theta(x \mid z)", "p(z)", r"p_\theta(x, z)")
SYMBOLS += (r"p_\theta(x)", r"q_\phi(z \mid x)", r"\mathrm{KL}")


def cell(place):
    """The cell of a place such as 02_derivation#step-1-number."""
    name, _, identity = place.partition("#")
    found = [cell for cell in BOOKS[name].cells if cell.get("id") == identity]
    assert len(found) == 1, f"{place}: {len(found)} cells"
    return found[0]


@pytest.mark.parametrize("section, claim, displayed, measured", ROWS)
def test_displayed_and_measured(section, claim, displayed, measured):
    assert section in ("Notation", "1", "2", "3", "4", "5", "6") and claim
    assert cell(displayed).source.strip()
    shown = cell(measured)
    assert shown.cell_type == "code" and shown.outputs, f"{measured} shows nothing"


def test_ten_symbols():
    rows = [claim for section, claim, *_ in ROWS if section == "Notation"]
    for symbol in SYMBOLS:
        assert any(claim.startswith(f"${symbol}$,") for claim in rows), symbol


@pytest.mark.parametrize("claim", FORMULAS)
def test_the_formula_is_there(claim):
    (displayed,) = {row[2] for row in ROWS if row[1].startswith(claim)} or {
        row[2] for row in ROWS if claim in row[1]
    }
    source = re.sub(r"\s|\\(?:big|Big)[lr]?(?![a-z])", "", cell(displayed).source)
    assert FORMULAS[claim] in source, displayed


@pytest.mark.parametrize("place", re.findall(r"\d\d\w*#[\w-]+", PAGE))
def test_every_cell_exists(place):
    assert cell(place)
