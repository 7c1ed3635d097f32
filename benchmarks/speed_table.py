"""What speed.py must show, how its figures stand in the README, and the picture of them."""

import json
import math

import matplotlib.pyplot as plt
import numpy as np
import table
from speed_contenders import CONTENDERS, LABELS, PRODUCTS
from table import FOLDER, Check

RESULTS, PICTURE = FOLDER / "speed.json", FOLDER.parent / "docs" / "speed.png"
MARKS = "<!-- the speed begins -->\n", "<!-- the speed ends -->"
PICTURED = 128, 50  # batch and latents

# -- the targets -----------------------------------------------------------------------------

OVER_BARE = {32: 1.3, 128: 1.15, 512: 1.3}  # `fit` over the bare loop, at most, by batch
OVER_FIT = {"torch": 1.5, "pythae": 2.2, "keras_guide": 2.0, "tfp_layers": 2.0}  # at least
OVER_PRODUCTS = 1.5  # `iwae` over the decoder's matrix products, at most
FLAT = 1.1  # peak memory with many samples over that with few, at most
LATER = 1.05  # the first epoch of `fit` over that of Keras' own, at most
# In nats. So early in training the ELBO varies over seeds with a standard deviation of 2 to 3 (four
# runs of the bare loop), and there are eight contenders; an epoch still gains up to 3; the
# estimates of the two evaluations have a standard error of about 0.03.
ALIKE, OWN, AGREE = 12.0, 5.0, 0.3

SAME = "the same model, trained equally long; sd over seeds 2 to 3 nats"


def ratio(times, name, to):
    """Of the medians over rounds."""
    return np.median(times[name]) / np.median(times[to])


def _at_most(quantity, found, limit, because="the target"):
    return Check(quantity, f"at most {limit:g}", found, 0.0, limit, because)


def _at_least(quantity, found, limit, because="the target"):
    return Check(quantity, f"at least {limit:g}", found, limit, math.inf, because)


def training_checks(record):
    checks = []
    for cell in record["cells"]:
        times, learnt = cell["seconds"], cell["learnt"].values()
        where = f"batch {cell['batch']}, L = {cell['latents']}"
        found, limit = ratio(times, "fit", "bare"), OVER_BARE[cell["batch"]]
        checks.append(_at_most(f"`fit` over the bare loop, {where}", found, limit))
        if (cell["batch"], cell["latents"]) == PICTURED:
            for name in [name for name in OVER_FIT if name in times]:
                found, limit = ratio(times, name, "fit"), OVER_FIT[name]
                checks.append(_at_least(f"{LABELS[name]} over `fit`, {where}", found, limit))
        bounds = [one["elbo"] for one in learnt]
        off = max(bounds) - min(bounds)
        checks.append(_at_most(f"ELBOs apart, nats, {where}", off, ALIKE, SAME))
        off = max(abs(one["elbo"] + one["loss"]) for one in learnt)
        because = "the loss is a mean over the last epoch, the ELBO is of its end"
        checks.append(_at_most(f"ELBO and own loss apart, nats, {where}", off, OWN, because))
    return checks


def evaluation_checks(record):
    times, peaks = record["seconds"], record["peak"]["fit"]
    found = ratio(times, "fit", "products")
    checks = [_at_most("`iwae` over the decoder's matrix products", found, OVER_PRODUCTS)]
    if "torch" in times:
        found = ratio(times, "torch", "fit")
        checks.append(_at_least("PyTorch's evaluation over `iwae`", found, 1.0))
        ours, theirs = (np.mean(record["estimates"][name]) for name in ("fit", "torch"))
        because = "the same weights, other noise"
        checks.append(_at_most("estimates apart, nats", abs(ours - theirs), AGREE, because))
    if all(peaks):
        few, many = record["samples"]
        because = "flat: samples are drawn in chunks"
        quantity = f"peak memory of `iwae`, K = {many} over K = {few}"
        checks.append(_at_most(quantity, peaks[1] / peaks[0], FLAT, because))
    return checks


def start_checks(record):
    ours, plain = (record["seconds"][way]["all"] for way in ("fit", "plain"))
    quantity = "interpreter to the first epoch's end, `fit` over plain Keras"
    because = "not worse, but for the scatter of the same thing measured twice"
    return [_at_most(quantity, np.median(ours) / np.median(plain), LATER, because)]


CHECKS = {"training": training_checks, "evaluation": evaluation_checks, "start": start_checks}


def judged(part, record):
    """A record with its checks and its verdict."""
    checks = CHECKS[part](record)
    verdict = table.verdict(checks)
    if record["missing"] and verdict == table.AGREES:
        verdict = table.NOT_RUN
    plain = [table._plain(check) for check in checks]
    return record | {"verdict": verdict, "checks": plain}


# -- the tables ------------------------------------------------------------------------------


def render(records):
    """Markdown: the targets, then the tables of each part."""
    records = {part: records[part] for part in CHECKS if part in records}
    lines = table._head("figure", "obtained", "target", "why", "holds")
    for record in records.values():
        for check in record["checks"]:
            holds = "yes" if check["holds"] else "**no**"
            cells = (table.obtained(check["ours"]), check["published"], check["because"], holds)
            lines.append(table._line(check["quantity"], *cells))
    for part, record in records.items():
        lines += ["", f"### Speed: {part}", "", *RENDER[part](record), ""]
        if record["missing"]:
            lines += [f"Without peers: {'; '.join(record['missing'])}.", ""]
        lines.append(_made(record))
    return "\n".join(lines) + "\n"


def _made(record):
    parts = [record["machine"], record["date"], record["versions"].replace(" | ", ", ")]
    peers = ", ".join(f"{name} {version}" for name, version in record.get("peers", {}).items())
    return f"Medians of {record['rounds']} rounds. {', '.join(parts)}" + (
        f"; the peers: {peers}." if peers else "."
    )


def per_step(cell, name):
    """Milliseconds of a step, median."""
    return 1000 * np.median(cell["seconds"][name]) / cell["steps of a round"]


def _rows(cells, figure, leave_out=()):
    """A line for each contender, the slowest first: its label, and the figure of each cell."""
    names = cells[0]["seconds"].keys() - PRODUCTS.keys() - {*leave_out}
    for name in sorted(names, key=lambda name: -np.mean([per_step(c, name) for c in cells])):
        yield table._line(LABELS[name], *(figure(cell, name) for cell in cells))


def render_training(record):
    cells = record["cells"]
    head = table._head("", *(f"batch {cell['batch']}, L = {cell['latents']}" for cell in cells))
    epochs = ", ".join(str(cell["epochs"]) for cell in cells)

    def milliseconds(cell, name):
        return f"{per_step(cell, name):.2f}"

    def times_ours(cell, name):
        return f"{ratio(cell['seconds'], name, 'fit'):.2f}"

    def bound(cell, name):
        return f"{cell['learnt'][name]['elbo']:.1f}"

    return [
        *("Milliseconds a step:", "", *head, *_rows(cells, milliseconds)),
        *("", "The same, divided by that of `fit`:", "", *head, *_rows(cells, times_ours)),
        *("", f"ELBO of the training data after {epochs} epochs, nats:", ""),
        *(*head, *_rows(cells, bound, leave_out=["products"])),
    ]


def render_evaluation(record):
    times, whole = record["seconds"], record["seconds at full size"]
    few, many = record["samples"]
    labels = LABELS | {"fit": "`vt.evidence.iwae`", "torch": "PyTorch"}
    heads = (f"seconds, {record['images']} images", "divided by ours")
    lines = [f"The {many}-sample bound, L = {record['latents']}:", ""]
    lines += table._head("", *heads, f"seconds, {record['images at full size']} images, one round")
    for name in sorted(times.keys() - PRODUCTS.keys(), key=lambda name: -np.median(times[name])):
        cells = (f"{np.median(times[name]):.2f}", f"{ratio(times, name, 'fit'):.2f}")
        lines.append(table._line(labels[name], *cells, f"{whole[name]:.1f}"))
    lines += ["", *table._head("peak of a fresh process, MB", f"K = {few}", f"K = {many}")]
    for name, peaks in record["peak"].items():
        lines.append(table._line(labels[name], *(one or "" for one in peaks)))
    return lines


def render_start(record):
    middle = {
        way: {name: float(np.median(rounds)) for name, rounds in times.items()}
        for way, times in record["seconds"].items()
    }
    for times in middle.values():
        times["compiling"] = times["first"] - times["second"]
    lines = table._head("seconds", "`vae.fit`", "plain Keras `fit`")
    for name, words in (
        ("all", "start of the interpreter to the end of the first epoch"),
        ("import", "of that, imports"),
        ("first", "first call of `fit`, one epoch"),
        ("second", "second call of `fit`, one epoch"),
        ("compiling", "tracing and compiling: the first call minus the second"),
    ):
        lines.append(table._line(words, *(f"{middle[way][name]:.2f}" for way in middle)))
    return lines


RENDER = {"training": render_training, "evaluation": render_evaluation, "start": render_start}


# -- the picture -----------------------------------------------------------------------------

OURS, FLOOR, OTHERS = "#0072B2", "#BBBBBB", "#E69F00"  # told apart by every eye, and in grey


def draw(cell):
    """Bars: milliseconds a step of each contender, with the floors on top."""
    scale = 1000 / cell["steps of a round"]
    times = {name: scale * np.array(rounds) for name, rounds in cell["seconds"].items()}
    floors = [name for name in ("products", "graph", "bare") if name in times]
    shown = CONTENDERS.keys() & times.keys() - {*floors}
    names = [*floors, *sorted(shown, key=lambda name: np.median(times[name]))]
    colours = dict.fromkeys(floors, FLOOR) | dict.fromkeys(("fit", "fit_short"), OURS)
    figure, axes = plt.subplots(figsize=(8, 3.4), layout="constrained")
    for i, name in enumerate(names):
        middle = np.median(times[name])
        hatch = "///" if name in floors else None
        axes.barh(i, middle, color=colours.get(name, OTHERS), hatch=hatch, edgecolor="white")
        axes.hlines(i, min(times[name]), max(times[name]), color="black", lw=1)
        words = f"{middle:.1f}"
        if name not in (*floors, "fit"):
            words += f" ({middle / np.median(times['fit']):.1f} times `fit`)".replace("`", "")
        axes.annotate(words, (max(times[name]), i), (5, 0), va="center", textcoords="offset points")
    axes.set_yticks(range(len(names)), [LABELS[name].replace("`", "") for name in names])
    axes.get_yticklabels()[names.index("fit")].set_fontweight("bold")
    axes.invert_yaxis()
    axes.set_xlim(0, 1.4 * max(max(times[name]) for name in names))
    axes.set_xlabel(f"milliseconds a step of {cell['batch']} images (thin line: all rounds)")
    axes.spines[["top", "right"]].set_visible(False)
    return figure


# -- the files -------------------------------------------------------------------------------


def read(results=RESULTS):
    """The records so far, by part."""
    return json.loads(results.read_text("utf-8")) if results.is_file() else {}


def write(records, results=RESULTS, readme=table.README, picture=PICTURE):
    """All files; what stands around the table in the README stays."""
    results.write_text(json.dumps(records, indent=1, default=float) + "\n", "utf-8")
    before, _, rest = readme.read_text("utf-8").partition(MARKS[0])
    after = rest.partition(MARKS[1])[2]
    shown = render(json.loads(results.read_text("utf-8")))
    readme.write_text(before + MARKS[0] + shown + MARKS[1] + after, "utf-8")
    for cell in records.get("training", {}).get("cells", ()):
        if (cell["batch"], cell["latents"]) == PICTURED:
            figure = draw(cell)
            figure.savefig(picture, dpi=110)
            plt.close(figure)
