"""Builds the web site of the course into build/site (`make site`): offline, and no code is run.

The sources are laid out as in the repository, so that every relative link between pages stays what
it is: docs/, notebooks/ with their stored outputs, and api/ with a page for each room of the
package. What is folded in a notebook is folded on its page. Where a page names a cell or a public
name of the package, the name is a link.
"""

import functools
import importlib
import inspect
import posixpath
import re
import shutil
import subprocess
import sys

import nbformat
import references
from stamp import ROOT, UNKNOWN, notebooks, repository

SOURCE, TARGET = ROOT / "build" / "site-source", ROOT / "build" / "site"
PAGES = ROOT / "docs" / "site"  # the front page, the configuration, what only the site has
ROOMS = (
    "",  # the package itself
    *"elbo data networks layers priors objectives schedules evidence gap diagnostics linear "
    "disentanglement course plots checks results random support distributions".split(),
)
CELL = re.compile(r"\b(\d\d[a-c]?_\w+)#([\w-]+)")
TO_CELL = re.compile(r"\[([^\]]+)\]\((?:\.\./)*notebooks/(\w+)\.ipynb#([\w-]+)\)")
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
NAME = re.compile(r"(?<!\[)`(vt(?:\.\w+)+)(\([^`]*\))?`")  # a call, too
FOLDED = {"set-up", "proof", "check"}
TITLE = re.compile(r"# @title (.+)")
FROM_README = re.compile(r"<!-- README: (.+) -->")
FROM_GITHUB = re.compile(rf'(,? or from GitHub$| or \["https://github\.com/{UNKNOWN}/.*?"\])', re.M)
TO_CLONE = re.compile(rf"^git clone .*{UNKNOWN}.*$", re.M)
FIRST = {  # what a user calls, in this order; what Keras calls comes after it
    "VAE": "fit evaluate elbo sample reconstruct encode decode prior objective predict compile "
    "compute_loss call export".split()
}
SHOWN = {"text/plain", "text/html", "text/markdown", "text/latex", "image/png", "image/svg+xml"}


def lesson(path):
    """A notebook as its page shows it: folded cells, no output that a page cannot show.

    Before each cell stands an anchor with the cell's id, so that other pages can point at it. A
    folded cell shows its title. Below the title of the lesson the notebook can be downloaded.
    """
    book = nbformat.read(path, as_version=4)
    book.cells[0].source += (
        f"\n\n{{download}}`Download this lesson <../download/{path.name}>` and open it in "
        "JupyterLab ([how to run the course](../index.md#run-it)), or read it here."
    )
    cells, book.cells = book.cells, []
    for cell in cells:
        anchor = nbformat.v4.new_markdown_cell(f'<span id="{cell.id}"></span>')
        book.cells += [anchor, cell] if book.cells else [cell, anchor]  # the title is the first
        tags = cell.metadata.get("tags", [])
        if cell.cell_type == "code":
            if FOLDED & set(tags):
                cell.metadata["tags"] = [*tags, "hide-input"]
                cell.source = FROM_GITHUB.sub("", cell.source)  # an address that nobody knows yet
                cell.metadata["mystnb"] = {"code_prompt_show": name_of(cell)}
            cell.outputs = [one for one in map(shown, cell.outputs) if one]
    return book


def name_of(cell):
    """What a folded cell is called: its title, if it has one."""
    return title[1] if (title := TITLE.match(cell.source)) else "Show the code"


def section(name, text):
    """What stands under a heading of README.md, up to the last table or program in it."""
    (body,) = re.findall(rf"^## {name}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    return body[: max(body.rfind("|\n"), body.rfind("```\n") + 2) + 2].strip()


def front(text):
    """The front page, with the parts that README.md has, too; nothing is cloned from nowhere."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    text = text.replace(UNKNOWN, repository() or UNKNOWN)
    text = TO_CLONE.sub("# in your copy of the repository", text)
    return FROM_README.sub(lambda found: section(found[1], readme), text)


def shown(output):
    """An output without the kinds that only JupyterLab shows; None if nothing is left."""
    if "data" not in output:
        return output
    output["data"] = {kind: of for kind, of in output["data"].items() if kind in SHOWN}
    return output if output["data"] else None


def linked(text, root=".."):
    """A page on which cells (03_the_gap#up-and-down) and public names (`vt.VAE`) are links."""
    text = TO_CELL.sub(lambda found: to_cell(found, root), text)
    text = CELL.sub(rf'<a href="{root}/notebooks/\1.html#\2">\1#\2</a>', text)
    parts, fences = FENCE.split(text), [*FENCE.findall(text), ""]
    parts = [NAME.sub(lambda found: to_reference(*found.groups(""), root), part) for part in parts]
    return "".join(part + fence for part, fence in zip(parts, fences, strict=True))


@functools.cache
def cells(name):
    """The ids of a notebook's cells."""
    book = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
    return {cell.id for cell in book.cells}


def to_cell(found, root):
    """A link to a cell of a notebook leads to the cell's anchor; one to a heading stays."""
    words, name, cell = found.groups()
    if cell not in cells(name):
        return found[0]
    return f'<a href="{root}/notebooks/{name}.html#{cell}">{words}</a>'


def to_reference(name, call, root):
    """A public name as a link to its place in the reference; what has none stays code."""
    _, *rooms, last = name.split(".")
    if not rooms and last in ROOMS:
        return f'<a href="{root}/api/{last}.html">`{name}{call}`</a>'
    where = "".join(rooms)
    if where not in ROOMS or last not in public(where):
        return f"`{name}{call}`"
    page, full = where or "vt", name.replace("vt", "vae_tf", 1)
    return f'<a href="{root}/api/{page}.html#{full}">`{name}{call}`</a>'


def room(name):
    """A public module of the package; "" is the package itself."""
    package = importlib.import_module("vae_tf")
    return getattr(package, name) if name else package


def public(name):
    """{name: object} of what a room offers."""
    module = room(name)
    found = {each: getattr(module, each) for each in getattr(module, "__all__", ())}
    return {each: one for each, one in found.items() if not inspect.ismodule(one)}


def full_name(name):
    """Of a room, as Python imports it."""
    return f"vae_tf.{name}" if name else "vae_tf"


def room_page(name):
    """The reference of one room: its docstring, and all that it offers."""
    full = full_name(name)
    title = full.replace("vae_tf", "vt")
    lines = [title, "=" * len(title), "", f".. automodule:: {full}", "   :no-index:", ""]
    lines += [f".. currentmodule:: {full}", ""]
    for each, one in public(name).items():
        if each in FIRST:
            lines += [f".. autoclass:: {each}", "", *members(each, one)]
        elif inspect.isclass(one):
            lines += [f".. autoclass:: {each}", "   :members:", ""]
        elif callable(one):
            lines += [f".. autofunction:: {each}", ""]
        else:
            lines += [f".. autodata:: {each}", "   :no-value:", ""]
    return "\n".join(lines)


def members(name, of):
    """The members of a class that have a docstring, those that a user calls first."""
    own = {each: one for each, one in vars(of).items() if each[0] != "_" and one.__doc__}
    last = [each for each in own if each not in FIRST[name]]
    for each in [*FIRST[name], None, *last]:
        kind = "property" if isinstance(own.get(each), property) else "method"
        line = f"auto{kind}:: {name}.{each}" if each else "rubric:: For Keras, and for own code"
        yield from (f"   .. {line}", "")


def without_page():
    """Public names that the built site does not explain; there should be none."""
    from sphinx.util.inventory import InventoryFile  # of the extra `site`, which tests do without

    with (TARGET / "objects.inv").open("rb") as file:
        inventory = InventoryFile.load(file, "", posixpath.join)
    known = {name for kind, of in inventory.items() if kind.startswith("py:") for name in of}
    wanted = {f"{full_name(name)}.{each}" for name in ROOMS for each in public(name)}
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
    for path in (SOURCE / "docs").rglob("*.md"):
        root = "/".join([".."] * (len(path.relative_to(SOURCE).parts) - 1))
        write(path, linked(path.read_text(encoding="utf-8"), root))
    write(SOURCE / "docs" / "references.md", references.page())
    write(SOURCE / "index.md", front((PAGES / "index.md").read_text(encoding="utf-8")))
    for path in notebooks():
        write(SOURCE / "notebooks" / path.name, nbformat.writes(lesson(path)) + "\n")
        write(SOURCE / "download" / path.name, path.read_text(encoding="utf-8"))
    for name in ROOMS:
        write(SOURCE / "api" / f"{name or 'vt'}.rst", room_page(name))
    for name in (
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "data/README.md",
        "benchmarks/README.md",
        "coursework/README.md",
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
    shutil.rmtree(TARGET, ignore_errors=True)  # a page that is no longer made would stay
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
