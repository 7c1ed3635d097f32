"""The copies for students: nothing is solved in them, and they run as they are."""

import nbformat
import pytest
import solutions
import student
from stamp import ROOT, notebooks


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("student")
    student.write(notebooks(), path)
    return path


@pytest.mark.parametrize("path", notebooks(), ids=lambda path: path.stem)
def test_no_outputs_and_no_solutions(path, folder):
    whole = nbformat.read(path, as_version=4)
    copy = nbformat.read(folder / path.name, as_version=4)
    solved = solutions.tagged(whole, "solution")
    assert len(copy.cells) == len(whole.cells) - len(solved)
    written = nbformat.writes(copy)
    for cell in solutions.to_solve(whole):
        assert solutions.solution_source(cell) not in "\n".join(c.source for c in copy.cells)
    assert "<summary>Solution</summary>" not in written
    codes = [cell for cell in copy.cells if cell.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in codes)
    stubs = [len(solutions.tagged(book, "stub")) for book in (whole, copy)]
    assert stubs[0] == stubs[1]


def test_links_lead_to_files(folder):
    """As they would from build/student."""
    for path in folder.glob("*.ipynb"):
        for cell in nbformat.read(path, as_version=4).cells:
            for link in cell.source.split("](../../")[1:]:
                assert (ROOT / link.partition(")")[0].partition("#")[0]).exists(), (path, link)
