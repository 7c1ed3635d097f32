"""Each bug of the clinic shows in the numbers of its case, and a test of this repository fails."""

import re
from pathlib import Path

import nbformat
import pytest
from solutions import tagged, text
from stamp import ROOT

from vae_tf.course import clinic

TESTS = Path(__file__).parents[1]
PAGE = nbformat.read(ROOT / "notebooks" / "10_what_went_wrong.ipynb", as_version=4)
LONG = "EFGHIPQS"  # seconds for each of their charts: those of the page are looked at


class Outcomes:
    """What became of the tests of a run inside of this one."""

    def __init__(self):
        self.passed, self.failed = [], []

    def pytest_runtest_logreport(self, report):
        if report.failed:
            self.failed.append(report.nodeid)
        elif report.when == "call" and report.passed:
            self.passed.append(report.nodeid)


def run(*names):
    """Runs tests of this repository in this process."""
    outcomes = Outcomes()
    quiet = ["-q", "-x", "--no-header", "--no-summary", "-p", "no:cacheprovider", "-p", "no:xdist"]
    paths = [str(TESTS / name) for name in names]
    pytest.main([*quiet, "--rootdir", str(ROOT), *paths], plugins=[outcomes])
    return outcomes


def named(name):
    """The function of a test, without its parameters."""
    return clinic.CASES[name].test.rpartition("::")[2].partition("[")[0]


def test_without_a_bug_the_named_tests_pass():
    tests = {case.test for case in clinic.CASES.values()}
    outcomes = run(*tests)
    assert not outcomes.failed and len(outcomes.passed) >= len(tests)


@pytest.mark.parametrize("name", clinic.CASES)
def test_the_named_test_fails_under_the_bug(name):
    with clinic.sick(name):
        outcomes = run(clinic.CASES[name].test)
    assert [one.partition("[")[0].rpartition("::")[2] for one in outcomes.failed] == [named(name)]


def differs(healthy, sick):
    """Whether some number of a chart is another one."""
    return any(abs(a - b) > 0.01 for a, b in zip(healthy, sick, strict=True))


@pytest.mark.parametrize("name", [name for name in clinic.CASES if name not in LONG])
def test_the_bug_shows_in_the_numbers(name):
    chart = clinic.chart(name)
    assert list(chart.healthy) == list(chart.sick)
    assert differs(chart.healthy.values(), chart.sick.values()), chart


@pytest.mark.parametrize("name", clinic.CASES)
def test_the_page_shows_it(name):
    (cell,) = [c for c in PAGE.cells if c.get("id") == f"case-{name.lower()}-chart"]
    rows = re.findall(r"(-?\d+\.\d{3}) +(-?\d+\.\d{3})$", text(cell), flags=re.MULTILINE)
    assert len(rows) >= 4 and differs(*zip(*(map(float, row) for row in rows), strict=True))


@pytest.mark.parametrize("name", clinic.CASES)
def test_the_page_tells_source_and_test_in_a_solution_only(name):
    (repository, *_), folded = clinic.CASES[name].source.split(), tagged(PAGE, "solution")
    told = "\n".join(cell.source for cell in folded)
    open_to_see = "\n".join(cell.source for cell in PAGE.cells if cell not in folded)
    paragraph = told.partition(f"**{name}: ")[2].partition("\n\n")[0]
    assert named(name) in paragraph and repository.rpartition("/")[2].strip(",:") in paragraph
    assert named(name) not in open_to_see


def test_each_cause_is_of_one_case_and_some_of_none():
    found = [case.cause for case in clinic.CASES.values()]
    assert len({*found}) == len(found) >= 15 and {*found} < {*clinic.CAUSES}


def test_a_bug_is_taken_back_and_no_training_is_mistaken():
    with clinic.sick("J"), pytest.raises(RuntimeError, match="Expected a healthy package"):
        clinic.trained("F")
    assert not clinic._ACTIVE
    with pytest.raises(ValueError, match="Expected a case"):
        clinic.sick("Z")
