"""The coursework kit: marks of blank, right and wrong copies, and what the student's folder holds.

The masters, the cases and the converter are tested everywhere. What needs otter-grader runs where
`make kit` has installed it, into build/kit/env, and is skipped elsewhere.
"""

import ast
import json
import os
import pickle
import re
import runpy
import subprocess
import sys
import time

import kit
import nbformat
import numpy as np
import pytest
from solutions import text as said_by
from stamp import ROOT

sys.path.insert(0, str(kit.COURSEWORK))

NAMES = [path.stem for path in kit.masters()]
each = pytest.mark.parametrize("name", NAMES)
# An assignment that trains networks takes minutes to try: `make test-all` does it.
trains = {
    path.stem for path in kit.masters() if re.search(r"\.fit\(|sweep\(", path.read_text("utf-8"))
}
each_trial = pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] * (n in trains)) for n in NAMES]
)
TRIVIAL = 20  # characters: shorter lines of a solution may stand anywhere
needs_otter = pytest.mark.skipif(
    not kit.PYTHON.exists(), reason="otter-grader is not installed: `make kit` installs it"
)


def notebook(name):
    return kit.read(kit.master(name))


def wrong(name):
    return runpy.run_path(str(ROOT / "tests" / "coursework" / f"wrong_{name[0]}.py"))["WRONG"]


def case_module(name):
    return __import__(f"case_{name[0]}")


def kinds(question):
    """What its title says in brackets: build, number, words, or two of them."""
    return re.search(r"\(([\w, ]+)\):", question.text[0].source)[1].split(", ")


def autograded(name):
    asked = [question for question in kit.questions(notebook(name)) if not question.manual]
    return {question.name: question.points for question in asked}


# A master.


@each
def test_twenty_marks(name):
    asked = kit.questions(notebook(name))
    assert [question.name for question in asked] == [f"q{i + 1}" for i in range(len(asked))]
    assert 6 <= len(asked) <= 9
    assert sum(question.points for question in asked) == 20
    assert 5 <= sum(question.points for question in asked if question.manual) <= 7
    assert {kind for question in asked for kind in kinds(question)} == {"build", "number", "words"}


@each
def test_marks_are_on_hidden_tests_and_each_says_why(name):
    for question in kit.questions(notebook(name)):
        assert bool(question.tests) != question.manual
        assert len({test.function for test in question.tests}) == len(question.tests)
        for test in question.tests:
            assert test.hidden == bool(test.points), f"{question.name}: {test.function}"
            assert test.points * 2 == int(test.points * 2)
            (function,) = ast.parse(test.code).body
            stated = [node for node in ast.walk(function) if isinstance(node, ast.Assert)]
            assert stated and all(node.msg is not None for node in stated), test.function


@each
def test_words_have_a_mark_scheme(name):
    for question in kit.questions(notebook(name)):
        if question.manual:
            scheme = question.solution.source.partition("**Mark scheme.**")[2]
            found = re.findall(r"^- (half a|[\d.]+) marks?\b", scheme, re.MULTILINE)
            marks = [0.5 if mark == "half a" else float(mark) for mark in found]
            assert sum(marks) == question.points, question.name


@each
def test_first_cells(name):
    config, _, first, set_up = notebook(name).cells[:4]
    assert config.cell_type == "raw" and f"name: {name}\n" in config.source
    assert first.source == "STUDENT = 0  # your student number"
    assert set_up.source + "\n" == (kit.COURSEWORK / "_setup_cell.py").read_text("utf-8")
    assert "set-up" in set_up.metadata.tags
    assert all(not cell.get("outputs") for cell in notebook(name).cells)


@each
def test_the_tables_of_the_readme_say_the_same(name):
    text, full = (kit.COURSEWORK / "README.md").read_text("utf-8"), {}
    for question in kit.questions(notebook(name)):
        title = re.match(r"### (q\d) \((.*?)\): (.*)", question.text[0].source)
        row = f"| {name[0]} | {title[1]} | {title[2]} | {title[3]} | {question.points:g} |"
        assert row in text, row
        full[question.name] = question.points
    for what, (_, lost) in wrong(name).items():
        costs = ", ".join(f"{cost:g} of {full[asked]:g} in {asked}" for asked, cost in lost.items())
        assert f"| {name[0]} | {what} | {costs} |" in text, what


# A case.


@each
def test_each_number_has_its_case(name):
    cases = [case_module(name).case(student) for student in range(1, 201)]
    numbers = [np.asarray(value) for case in cases for value in case]
    assert all(np.all(np.isfinite(n)) for n in numbers if np.issubdtype(n.dtype, np.number))
    texts = [pickle.dumps(case) for case in cases]
    assert len(set(texts)) == 200
    assert pickle.dumps(case_module(name).case(17)) == texts[16], "the same on each call"


@each
@pytest.mark.parametrize("number", [0, -3, 1.5, "17", True, None])
def test_a_number_is_asked_for(name, number):
    with pytest.raises(ValueError, match="Expected your student number"):
        case_module(name).case(number)


# The source for nbgrader.


@each
def test_source_for_nbgrader(name):
    source = kit.nbgrader_source(notebook(name))
    nbformat.validate(source)
    cells = [cell for cell in source.cells if "nbgrader" in cell.metadata]
    marks = [cell.metadata.nbgrader for cell in cells]
    assert len({mark.grade_id for mark in marks}) == len(marks)
    assert all(mark.schema_version == 3 for mark in marks)
    assert sum(mark.points for mark in marks if mark.grade) == 20
    assert not any(cell.cell_type == "raw" or "otter" in cell.source for cell in source.cells)
    for cell in cells:
        answer = cell.metadata.nbgrader.solution and cell.cell_type == "code"
        for kind, there in (("SOLUTION", answer), ("HIDDEN TESTS", "HIDDEN" in cell.source)):
            count = cell.source.count(f"### BEGIN {kind}")
            assert count == cell.source.count(f"### END {kind}")
            assert bool(count) == there
        if cell.cell_type == "code":
            ast.parse(cell.source)


# What otter-grader makes, and how it marks.


@pytest.fixture(scope="session")
def tried(tmp_path_factory):
    """Makes an assignment and tries it, once for all workers: its folder, {copy: marks, words}."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent

    def of(name):
        folder, done = shared / f"kit_{name}", shared / f"kit_{name}.json"
        try:
            folder.mkdir()
        except FileExistsError:
            while not done.exists():
                time.sleep(1)
        else:
            command = "try", name, "--output", folder
            found = kit.inside(*command, stdout=subprocess.PIPE, text=True).stdout
            done.with_suffix(".part").write_text(found, encoding="utf-8")
            done.with_suffix(".part").rename(done)
        return folder / name, json.loads(done.read_text("utf-8"))[name]

    return of


def marks(tried, name):
    return {given: got for given, (got, _) in tried(name)[1].items()}


@needs_otter
@each_trial
def test_a_blank_copy_scores_nothing(tried, name):
    got = marks(tried, name)
    nothing = dict.fromkeys(autograded(name), 0)
    assert got["blank"] == nothing
    assert got["blank, with a number"] == nothing


@needs_otter
@each_trial
def test_the_solution_gets_full_marks(tried, name):
    got = marks(tried, name)
    assert got["solution"] == autograded(name)
    assert got["solution of another number"] == autograded(name)


@needs_otter
@each_trial
def test_numbers_of_another_student_do_not_fit(tried, name):
    got, full = marks(tried, name)["copied from another number"], autograded(name)
    asked = {question.name: kinds(question) for question in kit.questions(notebook(name))}
    for question, mark in got.items():
        if asked[question] == ["number"]:
            assert mark == 0, question
        elif "number" in asked[question]:
            assert mark < full[question], question
        else:
            assert mark == full[question], question


@needs_otter
@each_trial
def test_wrong_solutions_lose_the_right_marks(tried, name):
    full, got = autograded(name), marks(tried, name)
    assert len(wrong(name)) >= 5
    for what, (_, lost) in wrong(name).items():
        expected = {question: full[question] - lost.get(question, 0) for question in full}
        assert got[what] == expected, what


@needs_otter
@each_trial
def test_what_is_said_helps_and_keeps_the_secret(tried, name):
    """Where marks are lost something is said, and no number of the solution is in it."""
    for what, (got, words) in tried(name)[1].items():
        for question, said in words.items():
            assert bool(said) == (got[question] < autograded(name)[question]), (what, question)
            assert all(len(line) > 30 for line in said), (what, said)
            assert not any(re.search(r"\d\.\d{2,}", line) for line in said), (what, said)


def sentences(test):
    """What a test may say, and its name."""
    nodes = [node for node in ast.walk(ast.parse(test.code)) if isinstance(node, ast.Constant)]
    words = [node.value.strip() for node in nodes if isinstance(node.value, str)]
    return {test.function, *(line for line in words if " " in line and len(line) >= TRIVIAL)}


def answers(question):
    """What the student is to write: lines of the solution, and what follows after `name =`."""
    source = question.solution.source
    if question.manual:
        return {line.strip() for line in source.split("\n")}
    blocks = re.findall(r"# BEGIN SOLUTION\n(.*?)# END SOLUTION", source, re.DOTALL)
    values = re.findall(r"^\w+ = (.*)# SOLUTION$", source, re.MULTILINE)
    assert blocks or values, question.name
    return {line.strip() for line in [*"\n".join(blocks).split("\n"), *values]}


def leaks(folder, name):
    """The files of a folder in which something stands that students must not see."""
    files = [path for path in folder.rglob("*") if path.suffix in (".py", ".ipynb", ".md")]
    texts = {path.name: path.read_text("utf-8") for path in files}
    given = kit.read(folder / f"{name}.ipynb")
    cells = [cell.source for cell in given.cells]
    texts[f"{name}.ipynb"] = "\n".join([*cells, str(given.metadata)])
    assert {f"{name}.ipynb", "student_number.py", f"case_{name[0]}.py"} <= texts.keys()
    secret, public = {"SOLUTION", "hidden=True"}, set()
    for question in kit.questions(notebook(name)):
        secret |= {line for line in answers(question) if len(line) >= TRIVIAL}
        for test in question.tests:
            known = secret if test.hidden else public
            known |= sentences(test)
    assert len(secret - public) > 40
    return {file for file, text in texts.items() if any(line in text for line in secret - public)}


@needs_otter
@each_trial
def test_no_solution_and_no_hidden_test_in_the_folder_of_students(tried, name):
    student = tried(name)[0] / "student"
    kinds_of_files = {path.suffix for path in student.rglob("*") if path.is_file()}
    assert kinds_of_files == {".ipynb", ".py"} and not leaks(student, name)
    tests = {f"{asked}.py" for asked in autograded(name)}
    assert leaks(tried(name)[0] / "instructor", name) >= {f"{name}.ipynb", *tests}


@needs_otter
def test_the_autograder_marks_a_file_alone(tried, tmp_path):
    """The zip file, with a kernel of its own, says what the quick way of these tests says."""
    name, (folder, results) = NAMES[0], tried(NAMES[0])
    what, (given, _) = next(iter(wrong(name).items()))
    submission = kit.solution(kit.master(name), folder, kit.EXAMPLE)
    nbformat.write(kit.answered(submission, given), tmp_path / "a.ipynb")
    kit.inside("grade", name, tmp_path / "a.ipynb", "--output", folder.parent)
    head, row = (tmp_path / "marks" / "marks.csv").read_text("utf-8").splitlines()
    row = dict(zip(head.split(","), row.split(","), strict=True))
    got, words = results[what]
    assert {question: float(row[question]) for question in got} == got
    assert row["student"] == str(kit.EXAMPLE)
    feedback = (tmp_path / "marks" / "a.txt").read_text("utf-8")
    assert all(line in feedback for said in words.values() for line in said)


@needs_otter
@pytest.mark.skipif(
    not (ROOT / "build/colab/env/bin/python").exists(),
    reason="no environment with Colab's versions: `make test-colab` makes it",
)
def test_the_folder_of_a_student_runs_alone_on_colab(tried, tmp_path):
    """On Colab's versions, from the folder and a wheel alone: the set-up cell brings the rest."""
    notebook, added = kit.run_on_colab(tried(NAMES[0])[0], tmp_path)
    checks = [cell for cell in notebook.cells if cell.source.startswith("grader.check")]
    assert len(checks) == len(autograded(NAMES[0]))
    assert all("All test cases passed!" in said_by(cell) for cell in checks)
    env = ROOT / "build" / "colab" / "env"
    preloaded = {path.name for path in env.glob("lib/*/site-packages/*.dist-info")}
    project = re.compile(r"[^-]+")
    shadowed = {project.match(n)[0] for n in added} & {project.match(n)[0] for n in preloaded}
    assert not shadowed, "expected what is preloaded to stay as it is"
