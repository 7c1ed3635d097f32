"""The table of published and obtained figures: what a row is, its verdict, and how it is shown."""

import dataclasses
import datetime
import math
import os
import pathlib
import platform
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

import vae_tf as vt

FOLDER = pathlib.Path(__file__).resolve().parent
AGREES, DIFFERS, UNVERIFIED, NOT_RUN = "agrees", "differs", "unverified", "not run"


class NotRun(Exception):
    """What is missing for a row to be measured."""


class Check(NamedTuple):
    """One figure: it holds where low <= ours <= high."""

    quantity: str
    published: str
    ours: float
    low: float
    high: float
    because: str  # where the tolerance comes from
    spread: str = ""  # over seeds, or the standard error
    verified: bool = True  # False: the published figure was never seen in its source

    @property
    def holds(self):
        return self.low <= self.ours <= self.high  # NaN does not


class Measured(NamedTuple):
    """What a row's function returns."""

    checks: list
    seeds: tuple
    figures: dict  # whatever else was measured


@dataclasses.dataclass(frozen=True)
class Row:
    """A published result, and the function that measures it."""

    name: str
    profile: str  # "cpu", or "full": on full data sets
    paper: str
    protocol: str  # of the paper
    differs: str  # what is done differently here
    measure: Callable  # of the scale
    scale: object


def verdict(checks):
    """One figure outside its tolerance, and the row differs; unverified ones decide nothing."""
    known = [check for check in checks if check.verified]
    if not checks or not all(check.holds for check in known):
        return DIFFERS
    return AGREES if known else UNVERIFIED


def run(row):
    """Measures a row: a record for the table, plain enough for JSON."""
    began = time.monotonic()
    try:
        measured = row.measure(row.scale)
    except NotRun as missing:
        record = {"verdict": NOT_RUN, "missing": str(missing), "checks": [], "seeds": []}
    else:
        record = {
            "verdict": verdict(measured.checks),
            "checks": [plain(check) for check in measured.checks],
            "seeds": list(measured.seeds),
            "figures": measured.figures,
        }
    return record | stamp(began)


def plain(check):
    bounds = {name: getattr(check, name) for name in ("low", "high")}
    bounds = {name: float(v) if math.isfinite(v) else None for name, v in bounds.items()}
    return {**check._asdict(), **bounds, "ours": float(check.ours), "holds": bool(check.holds)}


def stamp(began):
    """Where and when a record was made, and in how many seconds since `began`."""
    about = {"machine": machine(), "versions": vt.about()}
    seconds = round(time.monotonic() - began, 1)
    return {"seconds": seconds, **about, "date": datetime.date.today().isoformat()}


def machine():
    """Cores, memory and accelerators; no name of a host."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    info = pathlib.Path("/proc/cpuinfo")
    lines = info.read_text("utf-8").splitlines() if info.is_file() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    parts = [f"{cores} cores, {models[0] if models else platform.machine()}"]
    if "SC_PHYS_PAGES" in getattr(os, "sysconf_names", ()):
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
        parts.append(f"{memory:.0f} GiB")
    for gpu in tf.config.list_physical_devices("GPU"):
        details = tf.config.experimental.get_device_details(gpu)
        parts.append(details.get("device_name", "GPU"))
    return ", ".join(parts)


def over_seeds(quantity, published, values, low, high, because, *, of=np.mean, verified=True):
    """A figure of several seeds, their mean unless another is asked for, with the sd over them."""
    spread = f"sd {np.std(values, ddof=1):.2g}" if len(values) > 1 else ""
    return Check(quantity, published, of(values), low, high, because, spread, verified)


def beyond_zero(quantity, published, difference, images=False):
    """A mean above zero by three standard errors; differences [seed, B], paired."""
    by_seed = difference.mean(axis=1)
    variance = by_seed.var(ddof=1) / len(by_seed) if len(by_seed) > 1 else 0.0
    if images:
        variance += difference.mean(axis=0).var(ddof=1) / difference.shape[1]
    error = math.sqrt(variance)
    over = " and ".join(["seeds"] * (len(by_seed) > 1) + ["images"] * images)
    because = f"reduced: only the sign, beyond 3 standard errors (over {over})"
    spread = f"se {error:.2g}"
    return Check(quantity, published, by_seed.mean(), 3 * error, math.inf, because, spread)


def number(value):
    return "" if value is None else f"{value:.5g}"


def obtained(value):
    """A time, a ratio or a slope, in three digits: more would be noise."""
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def allowed(check):
    low, high = check["low"], check["high"]
    if low is not None and low == high:
        return f"exactly {number(low)}"
    if high is None:
        return f"at least {number(low)}"
    return f"{number(low)} to {number(high)}"


def render(rows, records):
    """The table, Markdown: one part for the rows, and one for the figures of each."""
    lines = head("row", "profile", "verdict", "seeds", "seconds", "machine")
    for row in rows:
        record = records.get(row.name)
        if record is None:
            lines.append(line(f"`{row.name}`", row.profile, "unmeasured so far", "", "", ""))
            continue
        seeds = ", ".join(map(str, record["seeds"]))
        cells = (row.profile, record["verdict"], seeds, record["seconds"], record["machine"])
        lines.append(line(f"`{row.name}`", *cells))
    for row in rows:
        lines += ["", *_section(row, records.get(row.name))]
    return "\n".join(lines)


def line(*cells):
    return "| " + " | ".join(str(cell).replace("|", r"\|") for cell in cells) + " |"


def head(*cells):
    return [line(*cells), "| --- " * len(cells) + "|"]


def _holds(check):
    if not check["verified"]:
        return UNVERIFIED
    return "yes" if check["holds"] else "**no**"


def _section(row, record):
    lines = [f"### {row.name}", "", f"{row.paper}."]
    lines += ["", f"Published: {row.protocol}", "", f"Here: {row.differs}", ""]
    if record is None:
        return [*lines, "Unmeasured so far."]
    if record["verdict"] == NOT_RUN:
        return [*lines, f"Not run. {record['missing']}"]
    lines += head("figure", "published", "obtained", "spread", "allowed", "why", "holds")
    for check in record["checks"]:
        cells = (check["quantity"], check["published"], number(check["ours"]), check["spread"])
        lines.append(line(*cells, allowed(check), check["because"], _holds(check)))
    made = f"{record['date']}, {record['versions'].replace(' | ', ', ')}"
    beside = record["figures"].get("remarks")
    return [*lines, *(["", beside] if beside else []), "", f"Verdict: {record['verdict']}. {made}."]


def summary(rows, records):
    """How many rows have which verdict, a sentence."""
    measured = [records[row.name]["verdict"] for row in rows if row.name in records]
    many = {AGREES: "agree", DIFFERS: "differ", UNVERIFIED: UNVERIFIED, NOT_RUN: NOT_RUN}
    counts = {verdict: measured.count(verdict) for verdict in many}
    parts = [f"{n} {v if n == 1 else many[v]}" for v, n in counts.items() if n]
    open_ = len(rows) - len(measured)
    parts += [f"{open_} unmeasured so far"] if open_ else []
    return f"**In short.** Of {len(rows)} rows: {', '.join(parts)} ([the table](#the-table))."


def exit_code(records):
    """Of the rows that were asked for: 1 if one differs, 3 if one is missing, else 0."""
    verdicts = [record["verdict"] for record in records]
    return 1 if DIFFERS in verdicts else 3 if NOT_RUN in verdicts else 0
