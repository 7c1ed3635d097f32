"""Writes figures into the pages that quote them, from the stored JSON alone: none is typed.

    python benchmarks/pages.py

A page holds `<!-- NAME begins -->` and `<!-- NAME ends -->`; what stands between the two is drawn
by a function of this file. A test compares the committed pages with what is drawn.
"""

import json
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import matplotlib.pyplot as plt
import numpy as np
import speed_evaluation
import speed_growth
import speed_training
import speed_waiting
import table
from speed_contenders import CONTENDERS, LABELS
from table import FOLDER

ROOT = FOLDER.parent
PICTURE = ROOT / "docs" / "speed.png"
PARTS = {
    "training": speed_training,
    "evaluation": speed_evaluation,
    "waiting": speed_waiting,
    "growth": speed_growth,
}
WORDS = "no one two three four five six seven eight nine ten eleven twelve".split()


def read(name):
    """The records of a JSON file beside this one, or none."""
    path = FOLDER / f"{name}.json"
    return json.loads(path.read_text("utf-8")) if path.is_file() else {}


# -- speed -----------------------------------------------------------------------------------


def the_speed(records):
    """Markdown: the targets, then the tables of each part."""
    lines = table._head("figure", "obtained", "target", "why", "holds")
    for check in targets(records):
        holds = "yes" if check["holds"] else "**no**"
        cells = (table.obtained(check["ours"]), check["published"], check["because"], holds)
        lines.append(table._line(check["quantity"], *cells))
    for part, record in records.items():
        lines += ["", f"### Speed: {part}", "", *PARTS[part].render(record), ""]
        if record["missing"]:
            lines += [f"Without peers: {'; '.join(record['missing'])}.", ""]
        lines.append(made(record))
    return "\n".join(lines)


def made(record):
    parts = [record["machine"], record["date"], record["versions"].replace(" | ", ", ")]
    peers = ", ".join(f"{name} {version}" for name, version in record.get("peers", {}).items())
    rounds = f"Medians of {record['rounds']} rounds. " if "rounds" in record else "Medians. "
    return rounds + ", ".join(parts) + (f"; the peers: {peers}." if peers else ".")


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
        return f"All {len(found)} targets that were set beforehand are met."
    text = f"Of {len(found)} targets that were set beforehand {len(found) - len(missed)} are met."
    return "\n".join([f"{text} Not met:", "", *(f"- {one}" for one in missed)])


def the_steps(records):
    """The table of docs/how_fast.md: milliseconds a step of the one model at three batches."""
    cells = [one for one in records["training"]["cells"] if one["latents"] == 50]
    cells = sorted(
        (one for one in cells if one.get("model", "mlp") == "mlp"), key=lambda cell: cell["batch"]
    )
    names = {"keras_guide", "torch", "fit_short", "fit", "bare", "products"}
    lines = table._head("milliseconds a step", *(f"batch {cell['batch']}" for cell in cells))
    return "\n".join([*lines, *speed_training.rows(cells, _milliseconds, names)])


def _milliseconds(cell, name):
    return f"{speed_training.per_step(cell, name):.2f}"


def the_picture(records):
    """The picture with its description, and under what it was measured."""
    record = records["training"]
    cell = speed_training.pictured(record)
    parts = "; ".join(f"{_plain(name)} {_milliseconds(cell, name)}" for name in _order(cell))
    version = record["versions"].split(" | ")[0].split()[-1]
    return (
        f"![Horizontal bars, milliseconds a training step of {cell['batch']} images: {parts}.]"
        f"(speed.png)\n\n*One VAE (784-200-200-{cell['latents']}, tanh, batch {cell['batch']}, "
        f"Adam) on {record['machine'].split(',')[0]}, all in turns in one run; medians of "
        f"{record['rounds']} rounds. It shows\nneither larger models nor a GPU. Recorded with "
        f"version {version}, {record['date']}.*"
    )


def _plain(name):
    return LABELS[name].replace("`", "")


def _order(cell):
    """The floors first, then the fastest."""
    floors = [name for name in ("products", "graph", "bare") if name in cell["seconds"]]
    others = CONTENDERS.keys() & cell["seconds"].keys() - {*floors}
    return [*floors, *sorted(others, key=lambda name: np.median(cell["seconds"][name]))]


OURS, FLOOR, OTHERS = "#0072B2", "#BBBBBB", "#E69F00"  # told apart by every eye, and in grey


def draw(cell):
    """Bars: milliseconds a step of each contender, with the floors on top."""
    scale, names = 1000 / cell["steps of a round"], _order(cell)
    times = {name: scale * np.array(cell["seconds"][name]) for name in names}
    figure, axes = plt.subplots(figsize=(8, 3.4), layout="constrained")
    for i, name in enumerate(names):
        middle, floor = np.median(times[name]), name in ("products", "graph", "bare")
        colour = FLOOR if floor else OURS if name.startswith("fit") else OTHERS
        hatch = "///" if floor else None
        axes.barh(i, middle, color=colour, hatch=hatch, edgecolor="white")
        axes.hlines(i, min(times[name]), max(times[name]), color="black", lw=1)
        words = f"{middle:.1f}"
        if not floor and name != "fit":
            words += f" ({middle / np.median(times['fit']):.1f} times fit)"
        axes.annotate(words, (max(times[name]), i), (5, 0), va="center", textcoords="offset points")
    axes.set_yticks(range(len(names)), map(_plain, names))
    axes.get_yticklabels()[names.index("fit")].set_fontweight("bold")
    axes.invert_yaxis()
    axes.set_xlim(0, 1.4 * max(max(times[name]) for name in names))
    axes.set_xlabel(f"milliseconds a step of {cell['batch']} images (thin line: all rounds)")
    axes.spines[["top", "right"]].set_visible(False)
    return figure


# -- what else is quoted ---------------------------------------------------------------------


def the_gpu(records):
    """What gpu.py has found, or that it has found nothing yet."""
    if not records:
        return "No figure of a GPU has been measured so far."
    lines = table._head("on a GPU", "figure", "value")
    for part, record in records.items():
        lines += [
            table._line(part, name, f"{value:,g}") for name, value in record["figures"].items()
        ]
    (one, *_) = records.values()
    return "\n".join([*lines, "", f"{one['machine']}, {one['date']}, {one['versions']}."])


def the_evidence(records):
    """How many published results were found again."""
    from published import ROWS

    verdicts = [records[row.name]["verdict"] if row.name in records else "" for row in ROWS]
    agree, differ, unverified = map(verdicts.count, (table.AGREES, table.DIFFERS, table.UNVERIFIED))
    parts = [
        f"Figures of {_word(agree)} published results are measured again within what was allowed "
        "beforehand, row by row in\n[Published versus obtained](benchmarks/README.md)"
    ]
    others = {
        "differing": differ,
        "unverified": unverified,
        "not measured so far": len(verdicts) - agree - differ - unverified,
    }
    parts += [f"{_word(count)} {words}" for words, count in others.items() if count]
    return "; ".join(parts) + "."


def _word(number):
    return WORDS[number] if number < len(WORDS) else str(number)


# (page, name of the marks): (the JSON file, the function that draws)
DRAWN = {
    ("benchmarks/README.md", "the speed"): ("speed", the_speed),
    ("benchmarks/README.md", "the targets"): ("speed", the_targets),
    ("benchmarks/README.md", "the GPU"): ("gpu", the_gpu),
    ("docs/how_fast.md", "the picture"): ("speed", the_picture),
    ("docs/how_fast.md", "the targets"): ("speed", the_targets),
    ("docs/how_fast.md", "the steps"): ("speed", the_steps),
    ("docs/how_fast.md", "the GPU"): ("gpu", the_gpu),
    ("README.md", "the evidence"): ("published", the_evidence),
}


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
    for (own, name), (source, draw_it) in DRAWN.items():
        if own == page:
            text = filled(text, name, draw_it(read(source)))
    return text


def write(name=None, records=None):
    """The JSON file of that name, if there is one; then all pages and the picture."""
    if name:
        path = FOLDER / f"{name}.json"
        path.write_text(json.dumps(records, indent=1, default=float) + "\n", "utf-8")
    for page in {page for page, _ in DRAWN}:
        (ROOT / page).write_text(written(page), "utf-8")
    if cell := speed_training.pictured(read("speed")["training"]):
        figure = draw(cell)
        figure.savefig(PICTURE, dpi=110)
        plt.close(figure)


if __name__ == "__main__":
    sys.exit(write())
