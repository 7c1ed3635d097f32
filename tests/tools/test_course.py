"""The runner of the course: side by side, longest first, one table in the order of the lessons."""

import io
import json
import os
import signal
import subprocess
import sys
import time

import course
import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

HEADLINE = """from IPython.display import display
display({{"{kind}": {{"answer": {n}}}, "text/plain": ""}}, raw=True)"""


@pytest.fixture
def folder(tmp_path):
    """An empty folder of outputs."""
    (tmp_path / "build").mkdir()
    return tmp_path


def book(folder, name, *sources):
    """A notebook of these cells in `folder`."""
    cells = [new_code_cell(source, id=f"{name}-{n}") for n, source in enumerate(sources)]
    path = folder / f"{name}.ipynb"
    nbformat.write(new_notebook(cells=cells), path)
    return path


def run(paths, folder, jobs, in_place=False):
    """What comes back from the run of some notebooks, and what it says."""
    stream = io.StringIO()
    work = course.run_all(paths, folder / "build", in_place, jobs, stream)
    return course.until_interrupted(work), stream.getvalue()


def test_notebooks_run_side_by_side(folder):
    """Each waits for the other: one at a time would never end."""
    wait = "import pathlib, time\npathlib.Path('{}').touch()\n"
    wait += "while not pathlib.Path('{}').exists():\n    time.sleep(0.05)"
    paths = [book(folder, a, wait.format(a, b)) for a, b in (("one", "two"), ("two", "one"))]
    found, said = run(paths, folder, 2)
    assert [*found] and {*found} == {"one", "two"}
    lines = [line.split() for line in said.splitlines()]
    assert [line[:2] for line in lines[:2]] == [["one", "started"], ["two", "started"]]
    assert [line[-4:] for line in lines[2:]] == [["ok,", n, "to", "go"] for n in "10"]


def test_each_is_begun_in_the_order_given_and_written(folder):
    paths = [book(folder, name, f"print('{name}')", "2") for name in ("b", "c", "a")]
    found, said = run(paths, folder, 1)
    assert [*found] == ["b", "c", "a"]
    assert [line.split()[0] for line in said.splitlines()] == ["b", "b", "c", "c", "a", "a"]
    written = nbformat.read(folder / "build" / "c.ipynb", as_version=4)
    assert written.cells[0].outputs[0].text == "c\n"
    assert not nbformat.read(paths[0], as_version=4).cells[0].outputs  # the source is left alone


def test_in_place_refreshes_the_notebook_itself(folder):
    path = book(folder, "a", "print('fresh')")
    run([path], folder, 2, in_place=True)
    assert nbformat.read(path, as_version=4).cells[0].outputs[0].text == "fresh\n"
    assert not (folder / "build" / "a.ipynb").exists()


def test_headlines_and_the_seconds_of_each_cell_come_back(folder):
    source = HEADLINE.format(kind=course.HEADLINE, n=42)
    path = book(folder, "a", "import time\ntime.sleep(0.4)", source)
    found, _ = run([path], folder, 1)
    figures, seconds = found["a"]
    assert figures == {"answer": 42}
    assert [*seconds] == ["a-0", "a-1"]
    assert seconds["a-0"] > 0.4 > seconds["a-1"] > 0


def test_a_failure_ends_the_others_and_is_explained(folder):
    slow = book(folder, "slow", "import time\ntime.sleep(600)")
    bad, late = book(folder, "bad", "x = 1", "x / 0"), book(folder, "late", "1")
    begun = time.monotonic()
    found, said = run([slow, bad, late], folder, 2)
    assert found is None
    assert time.monotonic() - begun < 300
    assert "cell 2 failed" in said and "ZeroDivisionError" in said
    assert f"left in {folder / 'build' / 'bad.ipynb'}" in said
    assert "late" not in said


def main(monkeypatch, folder, *arguments):
    """The exit code of the command line on the notebooks of a folder."""
    paths = sorted(folder.glob("*.ipynb"))
    monkeypatch.setattr(course, "notebooks", lambda: paths)
    monkeypatch.setattr(sys, "argv", ["course.py", "--output", str(folder / "build"), *arguments])
    return course.main()


def test_the_command_keeps_the_order_of_the_table_and_names_the_slowest(
    monkeypatch, capsys, folder
):
    for n, name in enumerate("abc"):
        source = HEADLINE.format(kind=course.HEADLINE, n=n)
        book(folder, name, f"import time\ntime.sleep({n} * 0.3)", source)
    earlier = {"a": {"a-0": 9.0}, "b": {"b-0": 1.0}, "gone": {"x": 99.0}}
    (folder / "build" / course.SECONDS).write_text(json.dumps(earlier), encoding="utf-8")
    assert main(monkeypatch, folder, "--jobs", "1", "--cells", "2") == 0
    said = capsys.readouterr().out
    started = [line.split()[0] for line in said.splitlines() if line.endswith("started")]
    assert started == ["c", "a", "b"]  # never run, then 9 s, then 1 s
    _, figures, cells, total = said.split("\n\n")
    assert [line.split() for line in figures.splitlines()] == [
        [name, "answer", str(n)] for n, name in enumerate("abc")
    ]
    assert [line.split()[2:] for line in cells.splitlines()[1:]] == [["c", "c-0"], ["b", "b-0"]]
    assert total.startswith("3 notebooks in") and "1 at a time" in total
    kept = course.measured(folder / "build")
    assert kept["gone"] == {"x": 99.0} and kept["a"]["a-0"] < 9


def test_the_command_returns_one_when_a_notebook_fails(monkeypatch, capsys, folder):
    book(folder, "a", "1 / 0")
    assert main(monkeypatch, folder) == 1
    said = capsys.readouterr().out
    assert "cell 1 failed" in said and "The slowest" not in said
    assert not (folder / "build" / course.SECONDS).exists()


@pytest.mark.skipif(sys.platform == "win32", reason="signals of another kind")
def test_ctrl_c_ends_the_run_and_every_kernel(folder):
    source = "import os, pathlib, time\npathlib.Path(f'pid{os.getpid()}').touch()\ntime.sleep(600)"
    for name in "ab":
        book(folder, name, source)
    code = f"""import sys; sys.path.insert(0, {str(course.ROOT / "tools")!r})
import pathlib, course
course.notebooks = lambda: sorted(pathlib.Path({str(folder)!r}).glob("*.ipynb"))
sys.argv = ["course.py", "--jobs", "2", "--output", {str(folder / "build")!r}]
sys.exit(course.main())"""
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        text=True,
        # A shell lets what it runs in the background ignore Ctrl-C, and that is inherited.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    kernels, until = [], time.monotonic() + 200
    while len(kernels) < 2 and time.monotonic() < until:
        time.sleep(0.1)
        kernels = [int(path.name.removeprefix("pid")) for path in folder.glob("pid*")]
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=200)
    assert process.returncode == 130
    assert said.endswith("stopped\n")
    assert len(kernels) == 2
    for pid in kernels:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_jobs_come_from_workers_then_from_cores_and_memory(monkeypatch):
    monkeypatch.setenv("WORKERS", "5")
    assert course.jobs_by_default() == 5
    monkeypatch.delenv("WORKERS")
    assert 1 <= course.jobs_by_default() <= course.available_cores()
    monkeypatch.setattr(course, "MEMORY", 2**60)  # bytes: nobody has as many
    assert course.jobs_by_default() == 1


def test_the_line_of_a_terminal_gives_way_to_lines_that_stay():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    board = course.Board(3, Terminal())
    progress = course.Progress("01_the_elbo", 40, board.stream)
    board.begin(progress)
    progress.cell = 12
    assert str(board) == "3 to go: 01_the_elbo 12/40"
    board.end(progress, "ok")
    assert str(board) == "2 to go: "
    *lines, last = board.stream.getvalue().split("\n")
    assert last == "" and all(line.startswith("\r\033[K") for line in lines)
    assert lines[-1].endswith("ok, 2 to go")
