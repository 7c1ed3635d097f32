"""The exercises of a notebook, and the notebook with every exercise solved.

An exercise is four cells in a row, told apart by their tags: `exercise` (markdown), `stub` (code
that runs as it is), `check` (code that calls `vt.course.check`) and `solution` (markdown that folds
one fenced block of Python away). An open one has no stub and no check.
"""

import copy
import re

import nbformat

PARTS = ("exercise", "stub", "check", "solution")
FOLDED = re.compile(
    r"<details>\s*<summary>Solution</summary>.*?^```python\n(.*?)^```$.*?</details>",
    flags=re.DOTALL | re.MULTILINE,
)


def tagged(notebook, *tags):
    """The cells that carry one of the tags."""
    return [cell for cell in notebook.cells if {*tags} & {*cell.metadata.get("tags", [])}]


def to_solve(notebook):
    """The solution cells of the exercises that have a stub."""
    cells = tagged(notebook, "stub", "solution")
    tags = [{*cell.metadata.tags} for cell in cells]
    return [
        c
        for c, own, before in zip(cells[1:], tags[1:], tags, strict=False)
        if "stub" in before and "solution" in own
    ]


def solution_source(cell):
    """The Python code that a solution cell folds away."""
    blocks = FOLDED.findall(cell.source)
    if len(blocks) != 1 or cell.source.count("```python") != 1:
        count = cell.source.count("```python")
        raise ValueError(
            "Expected <details><summary>Solution</summary> around one ```python block. "
            f"Received {count} such blocks in cell {cell.get('id')}: {cell.source[:60]!r}."
        )
    return blocks[0].rstrip("\n")


def solved(notebook):
    """A copy of the notebook in which each stub is followed by its solution, before its check."""
    notebook = copy.deepcopy(notebook)
    solutions = iter(map(solution_source, to_solve(notebook)))
    cells = []
    for cell in notebook.cells:
        cells.append(cell)
        if "stub" in cell.metadata.get("tags", []):
            cells.append(nbformat.v4.new_code_cell(next(solutions)))
    notebook.cells = cells
    return notebook


def text(cell):
    """All that the outputs of a code cell say in words."""
    said = [output.text for output in cell.outputs if "text" in output]
    shown = [item for output in cell.outputs for item in output.get("data", {}).items()]
    said += [value for kind, value in shown if kind.startswith("text/")]
    return "\n".join(said)


def verdicts(notebook):
    """What the check of each exercise says."""
    return [text(cell) for cell in tagged(notebook, "check")]
