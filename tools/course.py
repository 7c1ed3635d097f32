"""Runs the notebooks top to bottom, as many at a time as there are cores (`make course`).

Each says when it starts and when it has finished; on a terminal one more line tells where those
are that run. At the end a table shows the headline figures, which the notebooks themselves declare
with `vt.headline(...)`, then the cells that took longest. A notebook that fails ends the run.
"""

import argparse
import asyncio
import concurrent.futures
import copy
import json
import math
import os
import re
import shutil
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
MEMORY = 2 * 2**30  # bytes that a notebook may need
SECONDS = "seconds.json"  # in the folder of outputs: what each cell took


class Failed(Exception):
    """A notebook has failed, and its report is printed."""


class Progress:
    """How far one notebook is, and what its cells took; written once at the end."""

    def __init__(self, name, total, stream=None):
        self.name, self.total, self.stream = name, total, stream or sys.stdout
        self.cell, self.start, self.seconds = 0, time.monotonic(), {}

    def __str__(self):
        seconds = time.monotonic() - self.start
        return f"{self.name:<27} cell {self.cell:>3} of {self.total:<3} {seconds:6.1f} s"

    def advance(self, cell, cell_index):
        """Notes which cell runs, and when it began."""
        self.cell = cell_index + 1
        self.seconds[cell.id] = -time.monotonic()

    def passed(self, cell, **reply):  # noqa: ARG002, nbclient hands over more
        """Notes what the cell took."""
        self.seconds[cell.id] += time.monotonic()

    def finish(self, verdict):
        """Writes the line that stays."""
        write(f"{self}  {verdict}", self.stream)


class Board:
    """Several notebooks at a time: those that run, and how many have not finished."""

    def __init__(self, to_go, stream=None):
        self.running, self.to_go, self.stream = [], to_go, stream or sys.stdout

    def __str__(self):
        places = (f"{one.name} {one.cell}/{one.total}" for one in self.running)
        return f"{self.to_go} to go: {', '.join(places)}"

    def begin(self, progress):
        """A notebook starts."""
        self.running.append(progress)
        write(f"{progress.name:<27} started", self.stream)

    def end(self, progress, verdict):
        """A notebook has finished."""
        self.running.remove(progress)
        self.to_go -= 1
        progress.finish(f"{verdict}, {self.to_go} to go" if verdict == "ok" else verdict)


def write(line, stream):
    """A line that stays; on a terminal it takes the place of the one that is rewritten."""
    clear = "\r\033[K" if stream.isatty() else ""
    print(f"{clear}{line}", file=stream, flush=True)


async def show(state, stream):
    """Rewrites a line on a terminal, for as long as it is left to run."""
    while stream.isatty():
        line = str(state)[: shutil.get_terminal_size().columns - 1]
        print(f"\r\033[K{line}", end="", file=stream, flush=True)
        await asyncio.sleep(0.5)


async def _look_again(client):
    """Asks the sockets every second what has arrived: now and then a message lies there unseen."""
    while True:
        await asyncio.sleep(1)
        if client.kc is not None and client.kc.channels_running:
            for channel in (client.kc.shell_channel, client.kc.iopub_channel):
                channel.socket.get(zmq.EVENTS)


async def _beside(work, *others):
    """Awaits `work`, while others run that never end by themselves."""
    tasks = [asyncio.create_task(other) for other in others]
    try:
        return await work
    finally:
        for task in tasks:
            task.cancel()


def execute(notebook, name, folder, log, kernel="python3"):
    """Runs a notebook in `folder`, in place; returns its Progress, and the error or None."""
    progress = Progress(name, len(notebook.cells))

    async def alone():
        work = _execute(notebook, progress, folder, log, kernel)
        return await _beside(work, show(progress, progress.stream))

    return progress, asyncio.run(alone())


async def _execute(notebook, progress, folder, log, kernel="python3"):
    """Runs a notebook in place and returns the error or None.

    Now and then a message between the runner and a kernel is lost, and both wait for ever: a
    kernel that falls silent or dies is replaced, once.
    """
    for last in (False, True):
        trial = copy.deepcopy(notebook)
        error = await _attempt(trial, progress, folder, log, kernel)
        if last or not isinstance(error, (CellTimeoutError, DeadKernelError)):
            break
    notebook.update(trial)
    return error


async def _attempt(notebook, progress, folder, log, kernel):
    client = NotebookClient(
        notebook,
        kernel_name=kernel,
        timeout=CELL_SECONDS,
        record_timing=False,
        coalesce_streams=True,
        resources={"metadata": {"path": str(folder)}},
        on_cell_start=progress.advance,
        on_cell_executed=progress.passed,
    )
    work = client.async_execute(stderr=log)  # what the kernel says outside of its cells
    try:
        await _beside(work, _look_again(client))
    except FAILURES as error:
        if asyncio.current_task().cancelling():  # the client takes this for a dead kernel
            raise asyncio.CancelledError from error
        return error
    return None


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


async def run(path, output, in_place, board):
    """Runs the notebook of one file and writes it; returns its headlines and its cells' seconds."""
    notebook = nbformat.read(path, as_version=4)
    progress = Progress(path.stem, len(notebook.cells), board.stream)
    board.begin(progress)
    with open(output / "kernel.log", "a", encoding="utf-8") as log:
        error = await _execute(notebook, progress, path.parent, log)
    target = path if in_place and not error else output / path.name
    nbformat.write(normalise(notebook), target)
    board.end(progress, "failed" if error else "ok")
    if error:
        write(f"{explain(notebook, progress.cell, error)} \nleft in {target}", board.stream)
        raise Failed(path.stem)
    return headlines(notebook), progress.seconds


async def run_all(paths, output, in_place, jobs, stream=None):
    """Runs notebooks side by side, in this order: {name: (headlines, seconds)}.

    If one fails, all end, and the result is None.
    """
    waiting, found, board = [*paths], {}, Board(len(paths), stream)

    async def worker():
        while waiting:
            path = waiting.pop(0)
            found[path.stem] = await run(path, output, in_place, board)

    async def together():
        async with asyncio.TaskGroup() as group:  # an error in one task ends the others
            for _ in range(min(jobs, len(paths))):
                group.create_task(worker())

    try:
        await _beside(together(), show(board, board.stream))
    except* Failed:
        found = None
    return found


def until_interrupted(work):
    """Runs a coroutine in a thread of its own. Ctrl-C ends it and all kernels that it started.

    In the main thread each client of a kernel would take Ctrl-C for itself.
    """
    begun = concurrent.futures.Future()

    async def cancellable():
        begun.set_result((asyncio.get_running_loop(), asyncio.current_task()))
        return await work

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        outcome = pool.submit(asyncio.run, cancellable())
        try:
            return outcome.result()
        except KeyboardInterrupt:
            loop, task = begun.result()
            loop.call_soon_threadsafe(task.cancel)
            raise


def available_cores():
    """The cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # not on macOS
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def jobs_by_default():
    """WORKERS, if it is set; else one notebook a core, as far as the memory goes."""
    if os.environ.get("WORKERS"):
        return int(os.environ["WORKERS"])
    memory = math.inf
    if "SC_PHYS_PAGES" in getattr(os, "sysconf_names", {}):
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return max(1, int(min(available_cores(), memory // MEMORY)))


def measured(output):
    """What the cells took in earlier runs: {notebook: {cell: seconds}}."""
    try:
        return json.loads((output / SECONDS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def longest_first(paths, seconds):
    """By what an earlier run took; those that never ran before them, later lessons first."""
    took = {name: sum(cells.values()) for name, cells in seconds.items()}
    return sorted(paths, key=lambda p: (took.get(p.stem, math.inf), p.stem), reverse=True)


def slowest(seconds, count):
    """The cells that took longest, one a line: seconds, notebook, cell."""
    rows = [(took, name, cell) for name, cells in seconds.items() for cell, took in cells.items()]
    rows = sorted(rows, reverse=True)[:count]
    return "\n".join(f"{took:6.1f} s  {name:<27} {cell}" for took, name, cell in rows)


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
    parser.add_argument("--jobs", type=int, help="notebooks at a time (default: WORKERS, or cores)")
    parser.add_argument("--cells", type=int, default=10, help="how many slow cells to name")
    options = parser.parse_args()
    jobs = max(1, options.jobs or jobs_by_default())
    options.output.mkdir(parents=True, exist_ok=True)
    paths, before = select(options.names), measured(options.output)
    start = time.monotonic()
    work = run_all(longest_first(paths, before), options.output, options.in_place, jobs)
    try:
        found = until_interrupted(work)
    except KeyboardInterrupt:
        write("stopped", sys.stdout)
        return 130
    if found is None:
        return 1
    took = time.monotonic() - start
    seconds = {path.stem: found[path.stem][1] for path in paths}
    text = json.dumps(before | seconds, indent=1)
    (options.output / SECONDS).write_text(text, encoding="utf-8")
    print(f"\n{table({path.stem: found[path.stem][0] for path in paths})}")
    print(f"\nThe slowest cells\n{slowest(seconds, options.cells)}")
    print(f"\n{len(paths)} notebooks in {took:.0f} s, {min(jobs, len(paths))} at a time")
    return 0


if __name__ == "__main__":
    sys.exit(main())
