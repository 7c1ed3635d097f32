"""Builds the web site of the course into build/site (`make site`): offline, and no code is run.

The sources are laid out as in the repository, so that every relative link between pages stays what
it is: docs/, notebooks/ with their stored outputs, and api/ with a page for each room of the
package. What is folded in a notebook is folded on its page.
"""

import importlib
import inspect
import posixpath
import re
import shutil
import subprocess
import sys

import nbformat
from stamp import ROOT, notebooks

SOURCE, TARGET = ROOT / "build" / "site-source", ROOT / "build" / "site"
PAGES = ROOT / "docs" / "site"  # the front page, the configuration, what only the site has
ROOMS = (
    "elbo data networks layers priors objectives schedules evidence gap diagnostics linear "
    "disentanglement course plots checks results random support distributions"
).split()
CELL = re.compile(r"\b(\d\d[a-c]?_\w+)#([\w-]+)")
FOLDED = {"set-up", "proof", "check"}
SHOWN = {"text/plain", "text/html", "text/markdown", "text/latex", "image/png", "image/svg+xml"}


def lesson(path):
    """A notebook as its page shows it: folded cells, no output that a page cannot show.

    Before each cell stands an anchor with the cell's id, so that other pages can point at it.
    """
    book = nbformat.read(path, as_version=4)
    cells, book.cells = book.cells, []
    for cell in cells:
        anchor = nbformat.v4.new_markdown_cell(f'<span id="{cell.id}"></span>')
        book.cells += [anchor, cell] if book.cells else [cell, anchor]  # the title is the first
        tags = cell.metadata.get("tags", [])
        if cell.cell_type == "code":
            if FOLDED & set(tags):
                cell.metadata["tags"] = [*tags, "hide-input"]
            cell.outputs = [one for one in map(shown, cell.outputs) if one]
    return book


def shown(output):
    """An output without the kinds that only JupyterLab shows; None if nothing is left."""
    if "data" not in output:
        return output
    output["data"] = {kind: of for kind, of in output["data"].items() if kind in SHOWN}
    return output if output["data"] else None


def linked(text):
    """A page that names cells, such as 03_the_gap#up-and-down: each becomes a link to it."""
    return CELL.sub(r'<a href="../notebooks/\1.html#\2">\1#\2</a>', text)


def room(name):
    """A public module of the package."""
    return getattr(importlib.import_module("vae_tf"), name)


def public(name):
    """{name: object} of what a room offers."""
    module = room(name)
    found = {each: getattr(module, each) for each in getattr(module, "__all__", ())}
    return {each: one for each, one in found.items() if not inspect.ismodule(one)}


def room_page(name):
    """The reference of one room: its docstring, and all that it offers."""
    title = f"vt.{name}"
    lines = [title, "=" * len(title), "", f".. automodule:: vae_tf.{name}", "   :no-index:", ""]
    lines += [f".. currentmodule:: vae_tf.{name}", ""]
    for each, one in public(name).items():
        if inspect.isclass(one):
            lines += [f".. autoclass:: {each}", "   :members:", ""]
        else:
            lines += [f".. auto{'function' if callable(one) else 'data'}:: {each}", ""]
    return "\n".join(lines)


def without_page():
    """Public names that the built site does not explain; there should be none."""
    from sphinx.util.inventory import InventoryFile  # of the extra `site`, which tests do without

    with (TARGET / "objects.inv").open("rb") as file:
        inventory = InventoryFile.load(file, "", posixpath.join)
    known = {name for kind, of in inventory.items() if kind.startswith("py:") for name in of}
    wanted = {f"vae_tf.{name}.{each}" for name in ROOMS for each in public(name)}
    return sorted(wanted - known)


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def assemble():
    """Lays out the sources under build/site-source."""
    shutil.rmtree(SOURCE, ignore_errors=True)
    shutil.copytree(ROOT / "docs", SOURCE / "docs", ignore=shutil.ignore_patterns("site"))
    shutil.copytree(PAGES, SOURCE, dirs_exist_ok=True)
    shutil.copytree(ROOT / "experiments", SOURCE / "experiments")  # lessons link to their scripts
    for path in (SOURCE / "docs").glob("*.md"):
        write(path, linked(path.read_text(encoding="utf-8")))
    for path in notebooks():
        write(SOURCE / "notebooks" / path.name, nbformat.writes(lesson(path)) + "\n")
    for name in ROOMS:
        write(SOURCE / "api" / f"{name}.rst", room_page(name))
    for name in (
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "data/README.md",
        "benchmarks/README.md",
        "LICENSE-text",
    ):
        write(SOURCE / name, (ROOT / name).read_text(encoding="utf-8"))


def within_reach():
    """Gives the headings in the sidebar the level that a screen reader asks for."""
    for path in TARGET.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        write(path, text.replace('role="heading">', 'role="heading" aria-level="2">'))


def main():
    """Assembles the sources and has Sphinx build them; a warning is an error."""
    assemble()
    command = [sys.executable, "-m", "sphinx", "-b", "html", "-W", "--keep-going", "-q"]
    done = subprocess.run([*command, str(SOURCE), str(TARGET)], cwd=ROOT)
    if done.returncode:
        return done.returncode
    within_reach()
    if missing := without_page():
        print("Expected a page for every public name. Received none for:", ", ".join(missing))
        return 1
    print(f"open {(TARGET / 'index.html').relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
