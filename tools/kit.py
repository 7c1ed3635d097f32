"""Makes the coursework kit: folders for students and for lecturers, autograders (`make kit`).

Each master, `coursework/<assignment>.ipynb`, is in the format of `otter assign`. From it come
`build/kit/<assignment>/student` (no solution, no hidden test), `instructor` (both, and the mark
scheme of the answers in words) and `autograder.zip`; with `--format nbgrader` also a source
notebook for nbgrader. otter-grader lives in an environment of its own, `build/kit/env`, which
borrows the packages of `.venv`, so that nothing of the course changes its version.
"""

import argparse
import contextlib
import copy
import csv
import io
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
import venv
from pathlib import Path

import colab
import course
import nbformat
from stamp import ROOT, UNKNOWN, repository

COURSEWORK = ROOT / "coursework"
KIT = ROOT / "build" / "kit"
PYTHON = KIT / "env" / "bin" / "python"
EXAMPLE = 4711  # the student number in the instructor's notebook
NUMBER = re.compile(r"^STUDENT = 0\b", flags=re.MULTILINE)
ANSWER = "otter_answer_cell"
SCHEMA = 3  # of nbgrader's cell metadata


# The environment: what otter-grader needs, beside the packages of .venv.


def requirements():
    """The dependency group `kit` of pyproject.toml."""
    with open(ROOT / "pyproject.toml", "rb") as file:
        return tomllib.load(file)["dependency-groups"]["kit"]


def pins():
    """The exact versions of constraints.txt, but for those that the group itself names."""
    own = {re.match(r"[\w.-]+", line)[0].lower() for line in requirements() if "==" in line}
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line.partition("==")[0].lower() not in own]


def installed():
    """What the environment was made from."""
    return "\n".join([sys.version, *requirements(), *pins()])


def has_environment():
    """Whether the environment is there, and made from what pyproject.toml says now."""
    marker = KIT / "installed.txt"
    return marker.exists() and marker.read_text(encoding="utf-8") == installed()


def make_environment():
    """Makes the environment; kept until the lists change."""
    if has_environment():
        return
    print("installing otter-grader and what it needs into build/kit/env (once)", flush=True)
    venv.create(KIT / "env", clear=True, with_pip=True)
    (own,) = (KIT / "env" / "lib").glob("python*/site-packages")
    borrowed = [path for path in sys.path if path.endswith("site-packages")]
    (own / "course.pth").write_text("\n".join([*borrowed, str(ROOT)]), encoding="utf-8")
    (KIT / "constraints.txt").write_text("\n".join(pins()), encoding="utf-8")
    command = [PYTHON, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    subprocess.run([*command, "-c", KIT / "constraints.txt", *requirements()], check=True)
    (KIT / "installed.txt").write_text(installed(), encoding="utf-8")


def inside(*arguments, **options):
    """Runs this tool in the environment."""
    return subprocess.run([PYTHON, Path(__file__), *map(str, arguments)], check=True, **options)


# A master and its questions.


def masters():
    """The master notebooks in their order."""
    return sorted(COURSEWORK.glob("[0-9]_*.ipynb"))


def master(name):
    """The master whose name begins so."""
    for path in masters():
        if path.stem.startswith(str(name)):
            return path
    raise SystemExit(f"Expected one of {[path.stem for path in masters()]}. Received {name!r}.")


class Question:
    """One question of a master: its settings, and its solution and tests as cells."""

    def __init__(self, config):
        settings = dict(re.findall(r"^(\w+): *(.*)$", config, flags=re.MULTILINE))
        self.name, self.manual = settings["name"], settings.get("manual") == "true"
        self.stated = float(settings.get("points", 0))
        self.text, self.solution, self.tests = [], None, []

    @property
    def points(self):
        """The marks: as stated, or the sum of the tests."""
        return self.stated if self.manual else sum(test.points for test in self.tests)


class Test:
    """A test cell: one function of the notebook's names, its marks, and whether it is hidden."""

    def __init__(self, source):
        head, _, self.code = source.partition('""" # END TEST CONFIG')
        self.points = float(re.search(r"points: *([\d.]+)", head)[1])
        self.hidden = "hidden: true" in head
        self.code = self.code.strip()
        self.function = re.match(r"def (\w+)\(env\):", self.code)[1]


def questions(notebook):
    """The questions of a master in their order."""
    found, block = [], None
    for cell in notebook.cells:
        boundary = cell.cell_type == "raw" and re.match(r"# (BEGIN|END) (\w+)", cell.source)
        if boundary:
            begins, kind = boundary[1] == "BEGIN", boundary[2]
            if begins and kind == "QUESTION":
                found.append(Question(cell.source))
            block = kind if begins else "QUESTION" if kind != "QUESTION" else None
        elif block == "SOLUTION":
            found[-1].solution = cell
        elif block == "TESTS":
            found[-1].tests.append(Test(cell.source))
        elif block == "QUESTION":
            found[-1].text.append(cell)
    return found


def read(path):
    """A notebook."""
    return nbformat.read(path, as_version=4)


# What `make kit` writes.


def number(notebook, student):
    """Puts a student number into the first code cell, in place."""
    for cell in notebook.cells:
        if cell.cell_type == "code" and NUMBER.search(cell.source):
            cell.source = NUMBER.sub(f"STUDENT = {student}", cell.source)
            return notebook
    raise ValueError("Expected a cell `STUDENT = 0`. Received a notebook without one.")


def stamped(notebook):
    """The address of the repository in the set-up cell, in place."""
    for cell in notebook.cells:
        if "set-up" in cell.metadata.get("tags", []):
            cell.source = cell.source.replace(UNKNOWN, repository() or UNKNOWN)
    return notebook


def mark_scheme(notebook):
    """The answers in words: each question, its model answer and its marks, as Markdown."""
    title = notebook.cells[1].source.partition("\n")[0]
    parts = [title.replace("# ", "# Mark scheme. ", 1)]
    for question in questions(notebook):
        if question.manual:
            parts += [cell.source for cell in question.text if cell.cell_type == "markdown"]
            parts += [f"*{question.points:g} marks.*", question.solution.source]
    return "\n\n".join(parts) + "\n"


def assign(path, folder):
    """Runs `otter assign` on a master; otter-grader must be installed."""
    from otter.assign import main as otter_assign

    shutil.rmtree(folder, ignore_errors=True)
    with contextlib.redirect_stdout(io.StringIO()):
        otter_assign(str(path), str(folder), no_pdfs=True, no_run_tests=True)
    instructor, (archive,) = folder / "autograder", (folder / "autograder").glob("*.zip")
    archive.rename(folder / "autograder.zip")
    (instructor / "otter_config.json").unlink(missing_ok=True)
    instructor.rename(folder / "instructor")
    notebook = folder / "instructor" / path.name
    nbformat.write(number(stamped(read(notebook)), EXAMPLE), notebook)
    notebook = folder / "student" / path.name
    nbformat.write(stamped(read(notebook)), notebook)
    scheme = folder / "instructor" / "mark_scheme.md"
    scheme.write_text(mark_scheme(read(path)), encoding="utf-8")


def make(paths, output, form="otter", wheel=None):
    """Writes the folders of each master, in this environment."""
    for path in paths:
        folder = output / path.stem
        assign(path, folder)
        if wheel:
            shutil.copy(wheel, folder / "student")
        if form == "nbgrader":
            write_nbgrader(path, folder / "nbgrader" / "source" / path.stem)
        total = sum(question.points for question in questions(read(path)))
        print(f"{path.stem:<12} {total:g} marks: {folder}", file=sys.stderr)


# The same master for nbgrader.


def for_nbgrader(source):
    """The source of a solution cell with the marks of nbgrader."""
    source = re.sub(r"# (BEGIN|END) SOLUTION", r"### \1 SOLUTION", source)
    lines = source.split("\n")
    for i, line in enumerate(lines):
        if line.endswith("# SOLUTION"):
            bare = line.removesuffix("# SOLUTION").rstrip()
            lines[i] = f"### BEGIN SOLUTION\n{bare}\n### END SOLUTION"
    return "\n".join(lines)


def described(cell, name, **settings):
    """A cell with nbgrader's metadata."""
    kept = {"grade": False, "solution": False, "locked": True, "task": False}
    cell.metadata = {"nbgrader": {"schema_version": SCHEMA, "grade_id": name} | kept | settings}
    cell.id = name
    return cell


def test_cells(question):
    """A locked cell for each test, with its marks; hidden tests between nbgrader's marks."""
    for i, test in enumerate(question.tests, start=1):
        source = f"{test.code}\n\n\n{test.function}(globals())"
        if test.hidden:
            source = f"### BEGIN HIDDEN TESTS\n{source}\n### END HIDDEN TESTS"
        cell = nbformat.v4.new_code_cell(source)
        yield described(cell, f"{question.name}-test-{i}", grade=True, points=test.points)


def nbgrader_source(notebook):
    """The source notebook of nbgrader: the same cells, with its metadata (schema 3)."""
    notebook, cells, block = nbformat.from_dict(notebook), [], None
    asked = iter(questions(notebook))
    for cell in notebook.cells:
        boundary = cell.cell_type == "raw" and re.match(r"# (BEGIN|END) (\w+)", cell.source)
        if cell.cell_type == "raw" and not boundary:
            continue  # the configuration
        if boundary:
            begins, kind = boundary[1] == "BEGIN", boundary[2]
            if begins and kind == "QUESTION":
                question = next(asked)
            if begins and kind == "TESTS":
                cells += test_cells(question)
            block = kind if begins else None
        elif block == "SOLUTION" and question.manual:
            marks = {"grade": True, "solution": True, "locked": False, "points": question.points}
            cells.append(described(cell, f"{question.name}-answer", **marks))
        elif block == "SOLUTION":
            cell.source, cell.outputs = for_nbgrader(cell.source), []
            cells.append(described(cell, f"{question.name}-answer", solution=True, locked=False))
        elif block != "TESTS":
            if "set-up" in cell.metadata.get("tags", []):
                cell.source = without_otter(cell.source)
            cells.append(cell)
    notebook.cells = cells
    return notebook


def without_otter(source):
    """The set-up cell without the lines that are otter-grader's."""
    title, *lines = source.split("\n")
    kept = [line for line in lines if "otter" not in line]
    title = title.replace(" and otter-grader, or installs them", ", or installs it")
    return "\n".join([title, *kept, "import vae_tf as vt; print(vt.about())"])


def write_nbgrader(path, folder):
    """Writes the source folder of one assignment for nbgrader."""
    folder.mkdir(parents=True)
    nbformat.write(nbgrader_source(stamped(read(path))), folder / path.name)
    for file in (path.parent / "student_number.py", path.parent / f"case_{path.stem[0]}.py"):
        shutil.copy(file, folder)


# Grading.


def graded(results):
    """{question: marks} and {question: what it says} of the results of otter-grader."""
    marks, words = {}, {}
    for name, file in results.results.items():
        marks[name] = file.score
        failed = [found for found in file.test_case_results if not found.passed]
        words[name] = [found.message.strip().splitlines()[-1] for found in failed]
    return marks, words


def grade(path, archive):
    """Runs the autograder on one notebook, in a kernel of its own."""
    from otter.run import main as otter_run

    submission = Path(path).resolve()
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        alone = Path(folder) / f"{archive.parent.name}.ipynb"
        shutil.copy(submission, alone)
        results = otter_run(str(alone), autograder=str(archive), output_dir=None, no_logo=True)
    return graded(results)


def student_of(notebook):
    """The student number that stands in a submission."""
    cells = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    found = re.findall(r"^STUDENT = (\d+)", "\n".join(cells), flags=re.MULTILINE)
    return int(found[0]) if found else 0


def grade_all(paths, folder):
    """Grades submissions: beside them marks/marks.csv, a row each, and a text for each student."""
    rows, archive = [], folder / "autograder.zip"
    marked = Path(paths[0]).parent / "marks"
    marked.mkdir(exist_ok=True)
    for path in map(Path, paths):
        marks, words = grade(path, archive)
        student = student_of(read(path))
        rows.append({"file": path.name, "student": student, **marks, "sum": sum(marks.values())})
        said = []
        for name, got in marks.items():
            said += [f"{name}: {got:g}\n", *(f"  {line}\n" for line in words[name])]
        (marked / f"{path.stem}.txt").write_text("".join(said), encoding="utf-8")
        print(f"{path.name}: {rows[-1]['sum']:g} marks by tests, student {student}", flush=True)
    with open(marked / "marks.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


# One assignment on Colab's versions, from the student's folder alone.


def colab_python(folder):
    """An interpreter that sees what Colab preloads, and installs into the folder."""
    colab.pip("uninstall", "-qq", "--yes", "vae-tf", "arviz-stats")
    subprocess.run([colab.PYTHON, "-m", "venv", folder], check=True)
    (own,) = (folder / "lib").glob("python*/site-packages")
    (preloaded,) = (colab.CACHE / "env" / "lib").glob("python*/site-packages")
    line = f"import site; site.addsitedir({str(preloaded)!r})"  # with the .pth files there
    (own / "colab.pth").write_text(line, encoding="utf-8")
    return folder / "bin" / "python", own


def run_on_colab(folder, work):
    """Runs the student's folder, with the answers of the solution, alone.

    Returns the notebook with its outputs, and the names and versions of what its set-up cell
    has installed beside what is preloaded.
    """
    python, own = colab_python(work / "env")
    before = {path.name for path in own.iterdir()}
    alone = work / "content"
    shutil.copytree(folder / "student", alone)
    (path,) = alone.glob("*.ipynb")
    if not list(alone.glob("*.whl")):
        colab.build_wheel(alone)
    notebook = number(read(path), EXAMPLE)
    right = iter([q.solution.source for q in questions(read(master(path.stem)))])
    for cell in notebook.cells:
        if ANSWER in cell.metadata.get("tags", []):
            cell.source = next(right)
    spec = {"argv": [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]}
    kernel = work / "jupyter" / "kernels" / "alone"
    kernel.mkdir(parents=True)
    text = json.dumps(spec | {"display_name": "alone", "language": "python"})
    (kernel / "kernel.json").write_text(text, encoding="utf-8")
    os.environ["JUPYTER_PATH"] = str(work / "jupyter")
    with open(work / "log.txt", "w", encoding="utf-8") as log:
        _, error = course.execute(notebook, path.stem, alone, log, kernel="alone")
    if error:
        raise error
    added = {path.name for path in own.glob("*.dist-info")} - before
    return notebook, sorted(added)


# Trying an assignment: a blank copy, the solution and wrong solutions, all in one process.


def answered(notebook, answers):
    """A copy in which the answer cells of some questions have another source."""
    notebook = copy.deepcopy(notebook)
    for cell in notebook.cells:
        if cell.metadata.get("question") in answers:
            cell.source = answers[cell.metadata["question"]]
    return notebook


def solution(path, folder, student):
    """The instructor's notebook, each answer cell with the name of its question."""
    notebook = read(folder / "instructor" / path.name)
    for cell in notebook.cells:
        if cell.source.startswith("STUDENT = "):
            cell.source = f"STUDENT = {student}"
    for question in questions(read(path)):
        (cell,) = [c for c in notebook.cells if c.source == question.solution.source]
        cell.metadata["question"] = question.name
    return notebook


def names_of(notebook):
    """Runs a notebook cell by cell in this process; returns the names that it leaves."""
    from IPython.core.interactiveshell import InteractiveShell
    from IPython.utils.capture import capture_output

    shell = InteractiveShell()
    for cell in notebook.cells:
        if cell.cell_type == "code" and not cell.source.startswith("grader.check"):
            with capture_output():
                shell.run_cell(cell.source, silent=True)
    return shell.user_ns


def quick_marks(names, folder):
    """What the tests of the autograder say to the names that a notebook has left.

    The test files, the points and the code are otter-grader's; only the kernel is missing, so
    that TensorFlow is imported once for many submissions.
    """
    from otter.test_files import ExceptionTestFile, GradingResults

    files = [ExceptionTestFile.from_file(str(p)) for p in sorted(folder.glob("tests/*.py"))]
    for file in files:
        with contextlib.redirect_stdout(io.StringIO()):
            file.run(names)
    return graded(GradingResults(files))


def trial(path, output):
    """What a blank copy, the solution, a copied one and each wrong solution get."""
    folder = output / path.stem
    wrong = runpy.run_path(str(ROOT / "tests" / "coursework" / f"wrong_{path.stem[0]}.py"))
    blank, right = folder / "student" / path.name, solution(path, folder, EXAMPLE)
    submissions = {"blank": read(blank), "blank, with a number": number(read(blank), EXAMPLE)}
    submissions["solution"] = right
    submissions |= {name: answered(right, given) for name, (given, _) in wrong["WRONG"].items()}
    os.environ.setdefault("MPLBACKEND", "Agg")
    results, tests = {}, folder / "instructor"
    with contextlib.chdir(tests):
        sys.path.insert(0, str(tests))
        for name, found in submissions.items():
            start = time.process_time()
            results[name] = quick_marks(names_of(found), tests)
            print(f"{path.stem}, {name}: {time.process_time() - start:.1f} s", file=sys.stderr)
        names = names_of(solution(path, folder, EXAMPLE + 1))
        results["solution of another number"] = quick_marks(names, tests)
        names["STUDENT"] = EXAMPLE  # handed in as one's own
        results["copied from another number"] = quick_marks(names, tests)
        sys.path.remove(str(tests))
    return results


def outside(command, given):
    """Makes the environment and the wheel, then runs the same command inside."""
    make_environment()
    with tempfile.TemporaryDirectory() as name:
        if command == "make":
            colab.build_wheel(name)
            given = [*(given or ["make"]), "--wheel", *Path(name).glob("*.whl")]
        return inside(*given).returncode


def main():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("command", nargs="?", default="make", choices=("make", "grade", "try"))
    parser.add_argument("assignment", nargs="?", help="its number; without one, all (make)")
    parser.add_argument("submissions", nargs="*", help="the notebooks to grade")
    parser.add_argument("--format", default="otter", choices=("otter", "nbgrader"))
    parser.add_argument("--output", type=Path, default=KIT, help="where the folders go (build/kit)")
    parser.add_argument("--wheel", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    paths = [master(options.assignment)] if options.assignment else masters()
    if Path(sys.prefix).resolve() != (KIT / "env").resolve():
        return outside(options.command, sys.argv[1:])
    output = options.output.resolve()
    if options.command == "make":
        make(paths, output, options.format, options.wheel)
    elif options.command == "grade":
        grade_all(options.submissions, output / paths[0].stem)
    else:
        make(paths, output)
        print(json.dumps({path.stem: trial(path, output) for path in paths}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
