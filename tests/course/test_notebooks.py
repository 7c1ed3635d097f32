"""The house rules of the notebooks: each rule is seen to bite, and each notebook to keep them."""

import ast
import io
import re
import symtable

import course
import nbformat
import notebook_lint
import pytest
import solutions
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from stamp import FOLDED, notebooks, set_up_source

NOTEBOOKS = {path.stem: path for path in notebooks()}
OPENING = """# 1. What is one and one?

[Section 1 of the text](../docs/the_elbo.md#1-the-elbo-equation)"""
ANSWER = "<details><summary>Answer</summary>Two.</details>"
CLOSING = [
    "## Exercises",
    "## Summary",
    f"## Recall\n\n1. What is it?\n\n{ANSWER}",
    "## References",
]
SOLUTION = """<details><summary>Solution</summary>

Add them up.

```python
answer = 2
```
</details>"""
CHECK = "# vt.checks.check(answer)\nprint('not attempted' if answer is None else 'ok')"
ALT = "Two lines, one for the ELBO and one above it for log p(x)."


def markdown(source, *tags):
    """A markdown cell."""
    return new_markdown_cell(source, metadata={"tags": [*tags]})


def code(source, *tags, outputs=()):
    """A code cell; `good` numbers it."""
    return new_code_cell(source, metadata={"tags": [*tags]}, outputs=[*outputs])


def stream(text, name="stdout"):
    """What a cell prints."""
    return new_output("stream", name=name, text=text)


def picture(alt=ALT):
    """A figure with its text."""
    data = {"image/png": "iVBORw0KGgo=", "text/plain": alt}
    return new_output("display_data", data, metadata={"image/png": {"alt": alt}})


def folded(cell):
    """The cell, as the runner folds a check."""
    cell.metadata |= FOLDED
    return cell


def exercise(place=1, grade="build"):
    """The four cells of an exercise, not attempted; an open one has two."""
    question = markdown(f"### Exercise 01.{place} ({grade}): one and one", "exercise")
    if grade == "explore":
        return [question, markdown("<details>...</details>", "solution")]
    check = f'# @title Check\nvt.course.check("01.{place}", answer)'
    return [
        question,
        code("answer = None", "stub"),
        folded(code(check, "check", outputs=[stream("not attempted")])),
        markdown(SOLUTION, "solution"),
    ]


def runnable():
    """An exercise whose check needs no package."""
    cells = exercise()
    cells[2].source = f"# @title Check\n{CHECK}"
    return cells


def good(*extra):
    """A notebook that keeps all rules, with the extra cells in its middle."""
    set_up = folded(code(set_up_source(), "set-up", outputs=[stream("vae_tf 0.2.0")]))
    grades = "warm-up", "build", "build", "explore"
    exercises = [cell for n, grade in enumerate(grades, 1) for cell in exercise(n, grade)]
    middle = [code("plot()", outputs=[picture()]), *extra, *exercises]
    closing = [markdown(source) for source in CLOSING[1:]]
    opening = [markdown(OPENING), set_up, *middle[:1], markdown(CLOSING[0]), *middle[1:]]
    book = new_notebook(cells=[*opening, *closing])
    for count, (_, cell) in enumerate(notebook_lint.code_cells(book), start=1):
        cell.execution_count = count
    return book


def broken(rule):
    """A notebook that breaks one rule."""
    error = new_output("error", ename="ValueError", evalue="", traceback=[])
    path = "/" + "home/ada/x.npz"
    extras = {
        "nothing_raised": [code("1 / 0", outputs=[error])],
        "nothing_on_stderr": [code("f()", outputs=[stream("careful", "stderr")])],
        "no_trace_of_a_machine": [code("f()", outputs=[stream(path)])],
        "small": [code("f()", outputs=[stream("x" * notebook_lint.BYTES)])],
        "headings_descend_in_steps": [markdown("#### Too deep")],
        "one_set_up_cell_from_the_template": [code("import vae_tf", "set-up")],
        "cells_are_short": [code("x = 1\n" * (notebook_lint.LINES + 1))],
        "ends_with_summary_recall_references": [markdown("## Summary")],
        "tags_are_known": [code("x = 1", "exercize")],
        "exercises_have_their_parts": [code("answer = None", "stub")],
        "plumbing_and_proofs_are_folded": [*exercise()[:2], code(CHECK, "check"), exercise()[3]],
        "visible_cells_have_one_idea": [code("f()\n" * 13)],
        "proofs_are_folded": [code("assert f()\n" * 2)],
        "links_to_its_section_of_the_text": [markdown("So says the document.")],
        "figures_can_be_read_aloud": [code("plot()", outputs=[picture()])],
        "exercises_are_graded": exercise(7),
        "proofs_say_so": [folded(code("# @title A detail\n1 + 1", "proof"))],
        "exercises_are_left_to_the_reader": exercise()[:2]
        + [code(CHECK, "check", outputs=[stream("ok")]), exercise()[3]],
    }
    book = good(*extras.get(rule, []))
    if rule == "outputs_are_committed":
        for cell in book.cells:
            cell.pop("outputs", None)
            cell.update({"outputs": []} if cell.cell_type == "code" else {})
    elif rule == "cells_ran_once_in_order":
        book.cells[1].execution_count = 7
    elif rule == "opens_with_title_and_section":
        book.cells[0].source = "# A title, and nothing else"
    elif rule == "the_title_is_a_question":
        book.cells[0].source = OPENING.replace("?", ".")
    elif rule == "shows_a_figure":
        book.cells[2].outputs = []
    elif rule == "a_picture_comes_first":
        book.cells[3:3] = [markdown(".")] * 3 + [book.cells.pop(2)]
    elif rule == "ends_with_summary_recall_references":
        book.cells[-1].source = "## Recall\n\n## Summary\n\n## References"
    elif rule == "recall_has_answers":
        book.cells[-2].source = "## Recall\n\n1. What is it?"
    elif rule == "cells_have_ids":
        book.cells[0].id = book.cells[1].id
    return book


def names_read(table):
    """The names that some code takes from outside of its functions."""
    inside = table.get_type() != "module"
    own = {s.get_name() for s in table.get_symbols() if s.is_referenced()}
    own -= {s.get_name() for s in table.get_symbols() if inside and not s.is_global()}
    return own.union(*map(names_read, table.get_children()))


def owner(node):
    """The name that an expression such as `model.fit(x)` or `table["a"].b` begins with."""
    while isinstance(node, (ast.Attribute, ast.Subscript, ast.Call)):
        node = node.func if isinstance(node, ast.Call) else node.value
    return getattr(node, "id", None)


def uses(source):
    """(names that a cell reads, that it binds, whose objects it changes)"""
    reads, binds, changes = set(), set(), set()
    for statement in ast.parse(source).body:
        table = symtable.symtable(ast.unparse(statement), "cell", "exec")
        reads |= names_read(table) - binds
        binds |= {s.get_name() for s in table.get_symbols() if s.is_assigned() or s.is_imported()}
        for node in ast.walk(statement):
            stores = isinstance(node, (ast.Attribute, ast.Subscript))
            if stores and isinstance(node.ctx, ast.Store):
                changes.add(owner(node))
            elif isinstance(node, ast.Expr):
                changes.add(owner(node.value))
            elif isinstance(node, ast.Call) and owner(node) == "rng":  # each draw changes it
                changes.add("rng")
    return reads, binds, changes


def for_exercises(book):
    """The book, its exercises solved, without the cells whose results no exercise needs.

    Backwards: a cell stays if it makes or changes what a later cell that stays reads. A change
    that is not seen (by another name, inside a function) leaves an exercise an earlier value,
    and a name that a function meets before it is there raises an error.
    """
    book = solutions.solved(book)
    cells = [cell for cell in book.cells if cell.cell_type == "code"]
    tags = [{*cell.metadata.get("tags", [])} for cell in cells]
    sources = [notebook_lint._python(cell) for cell in cells]
    imported = [ast.walk(ast.parse(source)) for source in sources]
    imported = {
        (alias.asname or alias.name).partition(".")[0]
        for nodes in imported
        for node in nodes
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for alias in node.names
    }
    kept, wanted = [], set()
    for i in reversed(range(len(cells))):
        reads, binds, changes = uses(sources[i])
        solution = i > 0 and "stub" in tags[i - 1]
        part = solution or tags[i] & {"set-up", "stub", "check"}
        if part or wanted & (binds | changes - imported):  # a call of a module changes no module
            kept.append(cells[i])
            wanted = (wanted - binds) | reads
    book.cells = kept[::-1]
    return book


def test_a_good_notebook_keeps_all_rules():
    assert notebook_lint.lint(good()) == []


@pytest.mark.parametrize("rule", notebook_lint.RULES)
def test_each_rule_bites(rule):
    breaches = notebook_lint.lint(broken(rule.__name__))
    assert any(breach.startswith(f"{rule.__name__}: Expected") for breach in breaches), breaches


@pytest.mark.parametrize(
    "source, fine",
    [
        ("assert a\n" + "f()\n" * 19, True),
        ("assert a\n" + "f()\n" * 5, False),
        ("assert (\n    a\n)\n" + "f()\n" * 19, False),
        ("# assert a", True),
    ],
)
def test_the_share_of_lines_that_assert(source, fine):
    book = new_notebook(cells=[code(source)])
    assert (list(notebook_lint.proofs_are_folded(book)) == []) == fine


def test_the_median_of_visible_lines():
    book = new_notebook(cells=[code("x = 1\n" * n) for n in (2, 7, 8)])
    (breach,) = notebook_lint.visible_cells_have_one_idea(book)
    assert "median" in breach
    book.cells[1].metadata.tags = ["proof"]
    assert list(notebook_lint.visible_cells_have_one_idea(book)) == []


@pytest.mark.parametrize(
    "change, breach",
    [
        (lambda cells: cells[0].update(source="### Exercise 1. Add"), "another heading"),
        (
            lambda cells: cells[2].update(source='# @title Check\nvt.course.check("01.1", 2)\n1'),
            "line",
        ),
        (
            lambda cells: [c.update(source=c.source.replace("build", "warm-up")) for c in cells],
            "half",
        ),
    ],
)
def test_what_is_asked_of_exercises(change, breach):
    book = good()
    change([cell for cell in book.cells if {*cell.metadata.tags} & {*solutions.PARTS}])
    assert breach in " ".join(notebook_lint.exercises_are_graded(book))


@pytest.mark.parametrize(
    "source, found",
    [
        ("<function f at 0x7f00c0ffee00>", True),
        ("C:" + "\\Users", True),
        ("https://example.org/home/index", False),
        ("f at home/work", False),
    ],
)
def test_traces_of_a_machine(source, found):
    book = good(code("f()", outputs=[stream(source)]))
    assert any("no_trace" in breach for breach in notebook_lint.lint(book)) == found


def test_headings_inside_code_are_no_headings():
    assert notebook_lint.lint(good(markdown("```\n#### comment\n```"))) == []


def test_a_set_up_cell_that_has_drifted_is_refused():
    book = good()
    book.cells[1].source += "\n# and more"
    assert any("make stamp" in breach for breach in notebook_lint.lint(book))


@pytest.mark.parametrize("source", ["def f(): pass", "%matplotlib inline\nclass f: pass"])
def test_a_name_belongs_to_one_notebook(source):
    pair = {"01": good(code("def f(): pass")), "02": good(code(source))}
    assert notebook_lint.lint_together(pair, public=set()) == [
        "Expected f to be defined once. Received 01, 02."
    ]


def test_a_name_of_the_package_is_not_defined_again():
    breaches = notebook_lint.lint_together({"01": good(code("def mlp(): pass"))})
    assert breaches == ["Expected mlp to be defined once. Received vae_tf, 01."]


def test_the_solution_goes_between_stub_and_check():
    sources = [cell.source for cell in solutions.solved(new_notebook(cells=runnable())).cells]
    assert sources[1:4] == ["answer = None", "answer = 2", f"# @title Check\n{CHECK}"]


@pytest.mark.parametrize("source", ["no block", SOLUTION + SOLUTION, "```python\nx = 1\n```"])
def test_a_solution_is_one_folded_block(source):
    with pytest.raises(ValueError, match="Expected .* Received"):
        solutions.solution_source(markdown(source, "solution"))


def test_a_solved_exercise_is_ok(tmp_path):
    book = new_notebook(cells=runnable())
    for wanted, variant in {"not attempted": book, "ok": solutions.solved(book)}.items():
        _, error = course.execute(variant, "example", tmp_path, log=None)
        assert error is None
        assert solutions.verdicts(variant) == [f"{wanted}\n"]


def test_only_what_an_exercise_needs_is_run():
    """Kept: what it reads, what changes that, what that was made of; and no plots beside."""
    before = {
        "import numpy as np": True,
        "n, numbers = 3, [0]": False,
        "numbers, letters = [1], 'a'": True,
        "numbers.append(2)": True,
        "table = {}": True,
        "table['two'] = 2": True,
        "total = sum(numbers)": False,
        "np.sum(numbers)": False,
        "factor = 2": True,
        "def double(x):\n    n = factor * x\n    return n": True,
        "numbers = list(numbers)": True,
    }
    solution = "answer = np.sum(numbers) + double(table['two'])"
    parts = runnable()
    parts[3] = markdown(SOLUTION.replace("answer = 2", solution), "solution")
    book = new_notebook(cells=[*map(code, before), *parts, code("late = 1")])
    kept = [source for source, stays in before.items() if stays]
    assert [cell.source for cell in for_exercises(book).cells] == [
        *kept,
        *("answer = None", solution, f"# @title Check\n{CHECK}"),
    ]


def test_a_failure_names_cell_source_and_traceback(tmp_path):
    book = new_notebook(cells=[markdown("# Title"), code("x = 1"), code("x / 0")])
    progress, error = course.execute(book, "example", tmp_path, log=None)
    report = course.explain(book, progress.cell, error)
    assert "cell 3 failed" in report
    assert "    x / 0" in report
    assert "ZeroDivisionError" in report


def test_a_kernel_that_falls_silent_is_replaced_once(tmp_path, monkeypatch):
    monkeypatch.setattr(course, "CELL_SECONDS", 3)
    silent_once = """import pathlib, time
second = pathlib.Path("seen").exists()
pathlib.Path("seen").touch()
time.sleep(0 if second else 60)
print("done")"""
    book = new_notebook(cells=[code(silent_once)])
    _, error = course.execute(book, "example", tmp_path, log=None)
    assert error is None
    assert book.cells[0].outputs[0].text == "done\n"


def test_progress_is_one_finished_line_off_a_terminal():
    stream = io.StringIO()
    progress = course.Progress("01_the_elbo", 40, stream)
    progress.cell = 12
    progress.finish("ok")
    assert stream.getvalue().startswith("01_the_elbo")
    assert "cell  12 of 40" in stream.getvalue()
    assert stream.getvalue().count("\n") == 1


def test_headlines_become_a_table():
    figures = {"ELBO [nats]": -97.1234, "gap": 0.5, "digits": 5000, "genes": 12345.0}
    output = new_output("display_data", {course.HEADLINE: figures})
    found = course.headlines(new_notebook(cells=[code("headline()", outputs=[output])]))
    assert found == figures
    assert [line.split()[-1] for line in course.table({"01": found}).splitlines()] == [
        "-97.12",
        "0.5",
        "5000",
        "12345",
    ]


def test_a_written_notebook_says_nothing_of_the_machine():
    view = new_output("display_data", {course.WIDGET: {"model_id": "1"}, "text/plain": "slider"})
    book = new_notebook(cells=[code("slider()", "stub", outputs=[view])])
    book.cells[0].metadata["execution"] = {"iopub.execute_input": "2026-01-01"}
    book.metadata = nbformat.from_dict({"language_info": {"name": "python", "version": "3.11.7"}})
    written = nbformat.writes(course.normalise(book))
    nbformat.validate(book)
    assert "3.11.7" not in written and "2026" not in written and course.WIDGET not in written
    assert book.cells[0].metadata == {"tags": ["stub"]}


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebook_keeps_the_house_rules(name):
    book = nbformat.read(NOTEBOOKS[name], as_version=4)
    assert notebook_lint.lint(book) == []


def test_no_two_notebooks_define_the_same_name():
    books = {name: nbformat.read(path, as_version=4) for name, path in NOTEBOOKS.items()}
    assert notebook_lint.lint_together(books) == []


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_solutions_pass_their_checks(name, tmp_path):
    book = for_exercises(nbformat.read(NOTEBOOKS[name], as_version=4))
    if not solutions.verdicts(book):
        pytest.skip("no exercises")
    with open(tmp_path / "kernel.log", "w", encoding="utf-8") as log:
        progress, error = course.execute(book, name, NOTEBOOKS[name].parent, log)
    assert error is None, course.explain(book, progress.cell, error)
    for verdict in solutions.verdicts(book):
        assert re.search(r"\bok\b", verdict), verdict
        assert not re.search(r"not attempted|wrong", verdict), verdict
