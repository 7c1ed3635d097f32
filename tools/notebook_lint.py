"""The house rules of the notebooks, as code.

A rule is a function of a notebook that yields one sentence for every breach. `lint` applies them
all to one notebook, `lint_together` applies the rules that need to see every notebook at once.
"""

import ast
import re
import statistics
import sys

import nbformat
from solutions import PARTS, solution_source, tagged, text, to_solve, verdicts
from stamp import FOLDED, ROOT, notebooks, set_up_source

# The source of these is hidden until a reader opens it.
HIDDEN = ("set-up", "proof", "check")
TAGS = {*HIDDEN, *PARTS, "nbval-check-output"}
CLOSING = ["Summary", "Recall", "References"]
LINES = 20  # of code in a cell
VISIBLE_LINES, MEDIAN_LINES = 12, 6  # of code in a cell of a lesson that a reader sees unfolded
ASSERTING = 0.05  # share of the visible lines of code
WORDS = 8  # of an alternative text, at least
BYTES = 500_000  # of a notebook
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:home|root|work|tmp|Users)/\w|\bC:\\")
ADDRESS = re.compile(r"\bat 0x[0-9a-f]{6,}")
HEADING = re.compile(r"^(#{1,6}) +(.+?)\s*$", flags=re.MULTILINE)
CHECK = re.compile(r"\b(?:checks|course)\.check\(")
GRADED = re.compile(r"### Exercise (\d\d[a-c]?\.\d+) \((warm-up|build|explore)\): \S")
CHECKED = re.compile(r"# @title Check\nvt\.course\.check\(\"(\d\d[a-c]?\.\d+)\", \w+\)")
ANSWERED = re.compile(r"<details>\s*<summary>Answer</summary>")
FENCED = re.compile(r"^```.*?^```$", flags=re.DOTALL | re.MULTILINE)
RULES = []


def rule(function):
    """Adds a function to the house rules."""
    RULES.append(function)
    return function


def lint(notebook):
    """Every breach in one notebook, as sentences that begin with the name of the rule."""
    return [f"{check.__name__}: {breach}" for check in RULES for breach in check(notebook)]


def code_cells(notebook):
    """The code cells that hold code, with their positions in the notebook from 1."""
    cells = enumerate(notebook.cells, start=1)
    return [(n, cell) for n, cell in cells if cell.cell_type == "code" and cell.source.strip()]


def outputs(notebook):
    """All outputs, with the positions of their cells."""
    return [(n, output) for n, cell in code_cells(notebook) for output in cell.outputs]


def headings(notebook):
    """(level, title) of each heading, in order."""
    prose = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    found = HEADING.findall(FENCED.sub("", "\n".join(prose)))
    return [(len(marks), title) for marks, title in found]


def definitions(source):
    """The names of the functions and classes at the top level of some Python code."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return {node.name for node in ast.parse(source).body if isinstance(node, kinds)}


def _python(cell):
    """The code of a cell without IPython's magic lines."""
    lines = cell.source.splitlines()
    return "\n".join(line for line in lines if not line.lstrip().startswith(("%", "!", "?")))


@rule
def outputs_are_committed(notebook):
    """A reader on a web page sees what the code does."""
    if not outputs(notebook):
        yield "Expected outputs. Received none: run `make notebooks`."


@rule
def cells_ran_once_in_order(notebook):
    """Run All on a fresh kernel, and nothing else."""
    counts = [cell.execution_count for _, cell in code_cells(notebook)]
    if counts != list(range(1, len(counts) + 1)):
        yield f"Expected execution counts 1 to {len(counts)}. Received {counts}."


@rule
def nothing_raised(notebook):
    """No cell ends in an error."""
    for n, output in outputs(notebook):
        if output.output_type == "error":
            yield f"Expected no error. Received {output.ename} in cell {n}."


@rule
def nothing_on_stderr(notebook):
    """No warnings on the page."""
    for n, output in outputs(notebook):
        if output.get("name") == "stderr":
            yield f"Expected no stderr. Received {output.text[:60]!r} in cell {n}."


@rule
def no_trace_of_a_machine(notebook):
    """No absolute path and no address in memory, in what is written or in what is shown."""
    for n, cell in enumerate(notebook.cells, start=1):
        shown = text(cell) if cell.cell_type == "code" else ""
        for found in [*MACHINE_PATH.findall(cell.source + shown), *ADDRESS.findall(shown)]:
            yield f"Expected nothing that differs between machines. Received {found!r} in cell {n}."


@rule
def small(notebook):
    """A notebook loads at once."""
    size = len(nbformat.v4.writes(notebook).encode())
    if size >= BYTES:
        yield f"Expected less than {BYTES:,} bytes. Received {size:,}."


@rule
def headings_descend_in_steps(notebook):
    """One title, and no level is skipped."""
    levels = [level for level, _ in headings(notebook)]
    if levels.count(1) != 1:
        yield f"Expected one heading of level 1. Received {levels.count(1)}."
    for above, below in zip(levels, levels[1:], strict=False):
        if below > above + 1:
            yield f"Expected a heading of level {above + 1} or less. Received {below}."


@rule
def opens_with_title_and_section(notebook):
    """The first two cells say what this is, and which section it follows."""
    opening = "\n".join(cell.source for cell in notebook.cells[:2])
    for mark, meaning in {"# ": "a title", "Section": "its section"}.items():
        if mark.lower() not in opening.lower():
            yield f"Expected {meaning} ({mark!r}) at the beginning. Received {opening[:60]!r}."


@rule
def one_set_up_cell_from_the_template(notebook):
    """The same set-up cell everywhere, before any other code."""
    found = tagged(notebook, "set-up")
    first = [cell for _, cell in code_cells(notebook)][:1]
    if len(found) != 1 or found != first:
        yield f"Expected the tag set-up on the first code cell only. Received {len(found)} tags."
    elif found[0].source != set_up_source():
        yield "Expected the code of notebooks/_setup_cell.py. Received other: run `make stamp`."


@rule
def cells_are_short(notebook):
    """A code cell is read at a glance."""
    for n, cell in code_cells(notebook):
        lines = [line for line in cell.source.splitlines() if line.strip()]
        code = [line for line in lines if not line.lstrip().startswith("#")]
        if len(code) > LINES:
            yield f"Expected at most {LINES} lines of code. Received {len(code)} in cell {n}."


@rule
def shows_a_figure(notebook):
    """A picture at least."""
    if not any("image/png" in output.get("data", {}) for _, output in outputs(notebook)):
        yield "Expected a figure (image/png). Received none."


@rule
def ends_with_summary_recall_references(notebook):
    """The last three sections are the same everywhere."""
    titles = [title for level, title in headings(notebook) if level == 2][-3:]
    if titles != CLOSING:
        yield f"Expected the last sections {CLOSING}. Received {titles}."


@rule
def cells_have_ids(notebook):
    """An id keeps a cell the same cell when others move."""
    ids = [cell.get("id") for cell in notebook.cells]
    if None in ids or len({*ids}) != len(ids):
        yield "Expected a different id in each cell. Received a missing or a repeated one."


@rule
def tags_are_known(notebook):
    """A misspelt tag would silently do nothing."""
    for n, cell in enumerate(notebook.cells, start=1):
        for tag in sorted({*cell.metadata.get("tags", [])} - TAGS):
            yield f"Expected tags among {sorted(TAGS)}. Received {tag!r} in cell {n}."


@rule
def exercises_have_their_parts(notebook):
    """Exercise, stub, check, solution, in this order; of an open one, exercise and solution."""
    wanted = []
    for cell in tagged(notebook, "exercise"):
        graded = GRADED.match(cell.source)
        wanted += [PARTS[0], PARTS[-1]] if graded and graded[2] == "explore" else PARTS
    cells = tagged(notebook, *PARTS)
    parts = [part for cell in cells for part in PARTS if part in cell.metadata.tags]
    if parts != wanted:
        yield f"Expected {wanted}. Received {parts}."
    for cell in tagged(notebook, "check"):
        if not CHECK.search(cell.source):
            yield f"Expected a call of vt.course.check. Received {cell.source[:60]!r}."


def is_folded(cell):
    """Whether the house rules want the source of a cell hidden."""
    return bool({*HIDDEN} & {*cell.metadata.get("tags", [])})


@rule
def plumbing_and_proofs_are_folded(notebook):
    """Set-up, proofs and checks stand behind their titles, in JupyterLab and in Colab."""
    for cell in filter(is_folded, notebook.cells):
        kept = {key: cell.metadata.get(key) for key in FOLDED}
        if kept != FOLDED or not cell.source.startswith("# @title "):
            yield f"Expected a '# @title' line and {FOLDED}. Received {cell.source[:40]!r}, {kept}."


@rule
def proofs_say_so(notebook):
    """The title of a proof tells it from the story."""
    for cell in tagged(notebook, "proof"):
        if not cell.source.startswith("# @title Proof: "):
            yield f"Expected '# @title Proof: ...'. Received {cell.source[:40]!r}."


@rule
def exercises_are_left_to_the_reader(notebook):
    """Committed, an exercise is not attempted, and its solution can be read."""
    for verdict in verdicts(notebook):
        if "not attempted" not in verdict:
            yield f"Expected 'not attempted'. Received {verdict[:60]!r}."
    for cell in to_solve(notebook):
        try:
            solution_source(cell)
        except ValueError as error:
            yield str(error)


def visible(notebook):
    """The code cells that a reader of a lesson sees, with positions and their lines of code."""
    cells = [(n, cell) for n, cell in code_cells(notebook) if not is_folded(cell)]
    return [(n, cell, _lines(cell)) for n, cell in cells]


def _lines(cell):
    lines = (line.strip() for line in cell.source.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def _asserts(cell):
    """How many lines assert something, and how many assertions there are."""
    found = [node for node in ast.walk(ast.parse(_python(cell))) if isinstance(node, ast.Assert)]
    return sum(node.end_lineno - node.lineno + 1 for node in found), len(found)


@rule
def visible_cells_have_one_idea(notebook):
    """Twelve lines at most, six as a rule."""
    counts = {n: len(lines) for n, _, lines in visible(notebook)}
    for n, count in counts.items():
        if count > VISIBLE_LINES:
            yield f"Expected at most {VISIBLE_LINES} visible lines. Received {count} in cell {n}."
    if counts and (median := statistics.median(counts.values())) > MEDIAN_LINES:
        yield f"Expected a median of at most {MEDIAN_LINES} visible lines. Received {median}."


@rule
def proofs_are_folded(notebook):
    """A visible cell asserts one claim at most; the rest is proof."""
    cells = visible(notebook)
    found = {n: _asserts(cell) for n, cell, _ in cells}
    for n, (_, count) in found.items():
        if count > 1:
            yield f"Expected at most one visible assertion. Received {count} in cell {n}."
    share = sum(lines for lines, _ in found.values()) / max(sum(len(c[2]) for c in cells), 1)
    if share > ASSERTING:
        yield f"Expected at most {ASSERTING:.0%} of visible lines to assert. Received {share:.1%}."


@rule
def the_title_is_a_question(notebook):
    """What the lesson answers."""
    title = next((title for level, title in headings(notebook) if level == 1), "")
    if not title.endswith("?"):
        yield f"Expected a title that ends in '?'. Received {title!r}."


@rule
def links_to_its_section_of_the_text(notebook):
    """`docs/the_elbo.md` has the argument; a lesson unfolds a part of it."""
    opening = "\n".join(cell.source for cell in notebook.cells[:2])
    if "](../docs/the_elbo.md#" not in opening:
        yield "Expected a link to ../docs/the_elbo.md#... in the first two cells. Received none."
    prose = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    if "the document" in prose.lower():
        yield "Expected 'the text'. Received 'the document'."


@rule
def a_picture_comes_first(notebook):
    """Within five cells of the set-up, and before the sixth of all."""
    early = [cell for cell in notebook.cells[:6] if cell.cell_type == "code"]
    kinds = {kind for cell in early for output in cell.outputs for kind in output.get("data", {})}
    if "image/png" not in kinds:
        yield "Expected a figure within the first six cells. Received none."


@rule
def figures_can_be_read_aloud(notebook):
    """Each picture carries a text of its own that says what is seen (`vt.plots.show`)."""
    texts = []
    for n, output in outputs(notebook):
        if "image/png" in output.get("data", {}):
            texts.append(output.get("metadata", {}).get("image/png", {}).get("alt", ""))
            if len(texts[-1].split()) < WORDS or texts[-1] in texts[:-1]:
                yield (
                    f"Expected an alt text of its own, {WORDS} words or more, in cell {n}."
                    f" Received {texts[-1]!r}."
                )


@rule
def exercises_are_graded(notebook):
    """Numbered in order, warm-up, build or explore, half of them to build; each check one line."""
    found = [GRADED.match(cell.source) for cell in tagged(notebook, "exercise")]
    if None in found:
        n = found.index(None) + 1
        yield f"Expected '### Exercise 01.2 (build): ...'. Received another heading, exercise {n}."
        return
    places = [int(match[1].partition(".")[2]) for match in found]
    if places != list(range(1, len(found) + 1)) or len({m[1].partition(".")[0] for m in found}) > 1:
        yield f"Expected the numbers 1, 2, 3 ... Received {[match[1] for match in found]}."
    grades = [match[2] for match in found]
    if len(grades) < 4 or 2 * grades.count("build") < len(grades):
        yield f"Expected four exercises or more, half of them to build. Received {grades}."
    wanted = [match[1] for match in found if match[2] != "explore"]
    checks = [CHECKED.fullmatch(cell.source) for cell in tagged(notebook, "check")]
    if [match and match[1] for match in checks] != wanted:
        yield f"Expected one line, vt.course.check(number, answer), for each of {wanted}."


@rule
def recall_has_answers(notebook):
    """Folded, one for each question."""
    recall = [cell.source for cell in notebook.cells if cell.source.startswith("## Recall")]
    whole = "\n".join(recall)
    questions, answers = len(re.findall(r"^\d+\. ", whole, re.M)), len(ANSWERED.findall(whole))
    if not questions or questions != answers:
        yield f"Expected an answer to each question. Received {questions} and {answers}."


def public_names(package=ROOT / "vae_tf"):
    """The functions and classes that the package offers, read from its source."""
    found = set()
    for path in package.rglob("*.py"):
        if not any(part.startswith("_") for part in path.relative_to(package).parts):
            found |= definitions(path.read_text(encoding="utf-8"))
    return {name for name in found if not name.startswith("_")}


def lint_together(collection, public=None):
    """Breaches between notebooks ({name: notebook}): what two need belongs to the package."""
    owners = dict.fromkeys(public_names() if public is None else public, "vae_tf")
    breaches = []
    for name, notebook in collection.items():
        found = set().union(*(definitions(_python(cell)) for _, cell in code_cells(notebook)))
        for known in sorted(found & owners.keys()):
            places = f"{owners[known]}, {name}"
            breaches.append(f"Expected {known} to be defined once. Received {places}.")
        owners |= dict.fromkeys(found, name)
    return breaches


def main():
    """Lints every notebook; the exit status says whether all is well."""
    collection = {path.stem: nbformat.read(path, as_version=4) for path in notebooks()}
    found = [f"{name}: {breach}" for name, book in collection.items() for breach in lint(book)]
    found += lint_together(collection)
    print("\n".join(found) or f"{len(collection)} notebooks keep the house rules")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
