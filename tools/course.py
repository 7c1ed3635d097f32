"""Runs the notebooks top to bottom, one after the other (`make course`, `make notebooks`).

While a notebook runs, one line tells its name, its cell and the seconds. At the end a table shows
the headline figures, which the notebooks themselves declare with `vt.headline(...)`.
"""

import argparse
import asyncio
import copy
import re
import sys
import time
from pathlib import Path

import nbformat
import zmq
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from notebook_lint import is_folded
from stamp import FOLDED, ROOT, notebooks

HEADLINE = "application/vnd.vae-tf.headline+json"
WIDGET = "application/vnd.jupyter.widget-view+json"
FAILURES = (CellExecutionError, CellTimeoutError, DeadKernelError)
CELL_SECONDS = 180  # a cell that takes longer than this hangs


class Progress:
    """One line: rewritten in place on a terminal, written once at the end elsewhere."""

    def __init__(self, name, total, stream=sys.stdout):
        self.name, self.total, self.stream = name, total, stream
        self.cell, self.start = 0, time.monotonic()

    def __str__(self):
        seconds = time.monotonic() - self.start
        return f"{self.name:<22} cell {self.cell:>3} of {self.total:<3} {seconds:6.1f} s"

    def advance(self, cell, cell_index):  # noqa: ARG002, nbclient hands over both
        """Notes which cell runs."""
        self.cell = cell_index + 1

    async def tick(self):
        """Rewrites the line every half second, for as long as it is left to run."""
        while self.stream.isatty():
            print(f"\r{self}", end="", file=self.stream, flush=True)
            await asyncio.sleep(0.5)

    def finish(self, verdict):
        """Writes the line that stays."""
        back = "\r" if self.stream.isatty() else ""
        print(f"{back}{self}  {verdict}", file=self.stream, flush=True)


async def _look_again(client):
    """Asks the sockets every second what has arrived: now and then a message lies there unseen."""
    while True:
        await asyncio.sleep(1)
        if client.kc is not None and client.kc.channels_running:
            for channel in (client.kc.shell_channel, client.kc.iopub_channel):
                channel.socket.get(zmq.EVENTS)


async def _execute(client, progress, log):
    beside = [asyncio.create_task(work) for work in (progress.tick(), _look_again(client))]
    try:
        await client.async_execute(stderr=log)  # what the kernel says outside of its cells
    finally:
        for task in beside:
            task.cancel()


def execute(notebook, name, folder, log, kernel="python3"):
    """Runs a notebook in `folder`, in place; returns its Progress, and the error or None.

    Now and then a message between the runner and a kernel is lost, and both wait for ever: a
    kernel that falls silent or dies is replaced, once.
    """
    for last in (False, True):
        trial = copy.deepcopy(notebook)
        progress, error = _attempt(trial, name, folder, log, kernel)
        if last or not isinstance(error, (CellTimeoutError, DeadKernelError)):
            break
    notebook.update(trial)
    return progress, error


def _attempt(notebook, name, folder, log, kernel):
    progress = Progress(name, len(notebook.cells))
    client = NotebookClient(
        notebook,
        kernel_name=kernel,
        timeout=CELL_SECONDS,
        record_timing=False,
        coalesce_streams=True,
        resources={"metadata": {"path": str(folder)}},
        on_cell_start=progress.advance,
    )
    try:
        asyncio.run(_execute(client, progress, log))
    except FAILURES as error:
        return progress, error
    return progress, None


def normalise(notebook):
    """Takes out whatever would differ on another machine, or is of no use on a page."""
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"file_extension": ".py", "name": "python"},
        }
    )
    for cell in notebook.cells:
        tags = cell.metadata.get("tags", [])
        kept = ({"tags": tags} if tags else {}) | (FOLDED if is_folded(cell) else {})
        cell.metadata = nbformat.from_dict(kept)
        for output in cell.get("outputs", []):
            _still(output.get("data", {}))
    return notebook


def _still(data):
    """A live control is dead on a page: a sentence stands in for it."""
    if data.pop(WIDGET, None):
        data["text/markdown"] = "*A live control appears here when this cell is run.*"
        data["text/plain"] = "A live control appears here when this cell is run."


def headlines(notebook):
    """The figures that the notebook declares, in their order: {label: number or string}."""
    figures = {}
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            figures |= output.get("data", {}).get(HEADLINE, {})
    return figures


def table(figures):
    """One line a figure: notebook, label, value."""
    rows = [(name, *item) for name, found in figures.items() for item in found.items()]
    width = max((len(label) for _, label, _ in rows), default=0)
    return "\n".join(f"{name:<22} {label:<{width}}  {_show(value)}" for name, label, value in rows)


def _show(value):
    if not isinstance(value, float):
        return str(value)
    return f"{value:.4g}" if abs(value) < 10_000 else f"{value:.0f}"


def explain(notebook, number, error):
    """The failing cell's number, its source and what it raised."""
    source = notebook.cells[number - 1].source if number else ""
    outputs = notebook.cells[number - 1].get("outputs", []) if number else []
    raised = [line for output in outputs for line in output.get("traceback", [])] or [str(error)]
    traceback = "\n".join(raised)
    if not sys.stdout.isatty():
        traceback = re.sub(r"\x1b\[[\d;]*m", "", traceback)
    return f"\ncell {number} failed:\n\n{_indent(source)}\n\n{traceback}"


def _indent(text):
    return "\n".join(f"    {line}" for line in text.splitlines())


def run(path, output, in_place):
    """Runs the notebook of one file, writes it and returns its headlines; None if it fails."""
    notebook = nbformat.read(path, as_version=4)
    output.mkdir(parents=True, exist_ok=True)
    with open(output / "kernel.log", "a", encoding="utf-8") as log:
        progress, error = execute(notebook, path.stem, path.parent, log)
    target = path if in_place and not error else output / path.name
    nbformat.write(normalise(notebook), target)
    progress.finish("failed" if error else "ok")
    if error:
        print(explain(notebook, progress.cell, error), f"\nleft in {target}", flush=True)
        return None
    return headlines(notebook)


def select(names):
    """The notebooks whose names begin with one of `names`; all of them if there are none."""
    found = notebooks()
    for name in names:
        if not any(path.stem.startswith(name) for path in found):
            known = ", ".join(path.stem for path in found)
            raise SystemExit(f"Expected the beginning of one of: {known}. Received: {name}.")
    return [path for path in found if path.stem.startswith(tuple(names) or "")]


def main():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", help="notebooks (the beginning of a name is enough)")
    parser.add_argument("--in-place", action="store_true", help="refresh the notebooks themselves")
    parser.add_argument("--output", type=Path, default=ROOT / "build", help="where to write")
    options = parser.parse_args()
    figures = {}
    for path in select(options.names):
        figures[path.stem] = run(path, options.output, options.in_place)
        if figures[path.stem] is None:
            return 1
    print(f"\n{table(figures)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
