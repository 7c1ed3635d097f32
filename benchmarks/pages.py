"""Writes figures into the pages that quote them, from the stored JSON alone: none is typed.

    python benchmarks/pages.py

A page holds `<!-- NAME begins -->` and `<!-- NAME ends -->`; what stands between the two is drawn
by a function of this file. A test compares the committed pages with what is drawn.
"""

import json
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import speed_evaluation
import speed_growth
import speed_training
import table
from rows import ROWS
from table import FOLDER

ROOT = FOLDER.parent
PARTS = {
    "training": speed_training,
    "evaluation": speed_evaluation,
    "growth": speed_growth,
}


def read(name):
    """The records of a JSON file beside this one, or none."""
    path = FOLDER / f"{name}.json"
    return json.loads(path.read_text("utf-8")) if path.is_file() else {}


def made(record):
    """The stamp of a record in words."""
    versions = [record["versions"].replace(" | ", ", ")]
    versions += [f"{name} {version}" for name, version in record.get("peers", {}).items()]
    rounds = f"Medians of {record['rounds']} rounds" if "rounds" in record else "Medians"
    return f"{rounds}. {record['machine']}, {record['date']}, {', '.join(versions)}."


# -- what is drawn -----------------------------------------------------------------------------


def the_speed(records):
    """Markdown: the targets, then the tables of each part."""
    lines = table.head("figure", "obtained", "target", "why", "holds")
    for check in targets(records):
        holds = "yes" if check["holds"] else "**no**"
        cells = (table.obtained(check["ours"]), check["published"], check["because"], holds)
        lines.append(table.line(check["quantity"], *cells))
    for part, record in records.items():
        lines += ["", f"### Speed: {part}", "", *PARTS[part].render(record), ""]
        if record["missing"]:
            lines += [f"Without peers: {'; '.join(record['missing'])}.", ""]
        lines.append(made(record))
    return "\n".join(lines)


def targets(records):
    return [check for record in records.values() for check in record["checks"]]


def the_targets(records):
    """How many are met, and by how much the others are missed."""
    found = targets(records)
    missed = [
        f"{check['quantity']}: {table.obtained(check['ours'])} (target: {check['published']})"
        for check in found
        if not check["holds"]
    ]
    if not missed:
        return f"All {len(found)} targets are met."
    text = f"Of {len(found)} targets {len(found) - len(missed)} are met."
    return "\n".join([f"{text} Not met:", "", *(f"- {one}" for one in missed)])


def the_steps(records):
    """Of the training alone."""
    record = records["training"]
    return "\n".join([*speed_training.render(record), "", made(record)])


def the_gpu(records):
    """What gpu.py has found, or that it has found nothing yet."""
    if not records:
        return "No figure of a GPU has been measured so far."
    lines = table.head("on a GPU", "figure", "value")
    for part, record in records.items():
        figures = record["figures"].items()
        lines += [table.line(part, name, f"{value:,g}") for name, value in figures]
    return "\n".join([*lines, *(f"\n{part}: {made(one)}" for part, one in records.items())])


def the_table(records):
    """What was published and what was obtained, row by row."""
    return table.render(ROWS, records)


def the_summary(records):
    """How many published results were found again."""
    return table.summary(ROWS, records)


def the_evidence(records):
    """The same on another page."""
    return the_summary(records).replace("#the-table", "benchmarks/README.md")


# (page, name of the marks): (the JSON file, the function that draws)
DRAWN = {
    ("benchmarks/README.md", "the summary"): ("published", the_summary),
    ("benchmarks/README.md", "the table"): ("published", the_table),
    ("benchmarks/README.md", "the speed"): ("speed", the_speed),
    ("benchmarks/README.md", "the targets"): ("speed", the_targets),
    ("benchmarks/README.md", "the GPU"): ("gpu", the_gpu),
    ("docs/how_fast.md", "the targets"): ("speed", the_targets),
    ("docs/how_fast.md", "the steps"): ("speed", the_steps),
    ("docs/how_fast.md", "the GPU"): ("gpu", the_gpu),
    ("README.md", "the evidence"): ("published", the_evidence),
}


# -- where it is written -------------------------------------------------------------------------


def filled(text, name, drawn):
    """A page whose part of that name is what was drawn; all around it stays."""
    before, begin, rest = text.partition(f"<!-- {name} begins -->\n")
    _, end, after = rest.partition(f"<!-- {name} ends -->")
    if not begin or not end:
        raise ValueError(f"Expected marks of {name!r} in the page. Received: none")
    return f"{before}{begin}{drawn}\n{end}{after}"


def written(page, text=None):
    """A page as it should be."""
    text = (ROOT / page).read_text("utf-8") if text is None else text
    for (own, name), (source, draw) in DRAWN.items():
        if own == page:
            text = filled(text, name, draw(read(source)))
    return text


def write(name=None, records=None):
    """The JSON file of that name, if there is one; then all pages."""
    if name:
        path = FOLDER / f"{name}.json"
        path.write_text(json.dumps(records, indent=1, default=float) + "\n", "utf-8")
    for page in {page for page, _ in DRAWN}:
        (ROOT / page).write_text(written(page), "utf-8")


if __name__ == "__main__":
    sys.exit(write())
