"""Writes the repository's address and the set-up cell wherever they stand (`make stamp`).

The address is `[tool.vae-tf] repository` in pyproject.toml. From there it goes into the set-up cell
of every notebook, into a Colab badge on its first line, and into README.md: beside the link to each
notebook, and where it says what to clone. As long as nobody knows the address there is no badge: it
would lead nowhere. Outputs stay as they are.
"""

import argparse
import re
import tomllib
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parents[1]
ADDRESS = re.compile(r"[\w.-]+/[\w.-]+")
BADGE = "[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]"
BADGED = re.compile(re.escape(BADGE) + r"\([^)\s]*\)\n*")
LINKED = re.compile(r"(\]\(notebooks/([\w-]+\.ipynb)\))(?: \(\[Colab\]\([^)\s]*\)\))?")
CLONED = re.compile(r"(?<=git clone https://github\.com/)\S+(?=\.git)")
ENTRY = re.compile(r'^repository = "[^"]*"', flags=re.MULTILINE)
UNKNOWN = "OWNER/NAME"  # in the address from which a set-up cell installs
FOLDED = {"cellView": "form", "jupyter": {"source_hidden": True}}  # for Colab, for JupyterLab


def notebooks(root=ROOT):
    """The notebooks in their order; a copy beside them, or a reader's own, is none of them."""
    found = (root / "notebooks").glob("*.ipynb")
    return sorted(path for path in found if re.fullmatch(r"\d\d[a-z]?_\w+\.ipynb", path.name))


def repository(root=ROOT):
    """The address `owner/name`, or an empty string as long as nobody knows it."""
    text = (root / "pyproject.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)["tool"]["vae-tf"]["repository"]


def set_repository(address, root=ROOT):
    """Writes the address into pyproject.toml."""
    if not ADDRESS.fullmatch(address):
        raise ValueError(f'Expected REPOSITORY to be "owner/name". Received "{address}".')
    path = root / "pyproject.toml"
    text = ENTRY.sub(f'repository = "{address}"', path.read_text(encoding="utf-8"), count=1)
    path.write_text(text, encoding="utf-8")


def set_up_source(root=ROOT):
    """The source of the set-up cell: its template, with the address filled in."""
    template = (root / "notebooks" / "_setup_cell.py").read_text(encoding="utf-8")
    return template.replace(UNKNOWN, repository(root) or UNKNOWN).rstrip("\n")


def in_colab(name, root=ROOT):
    """Where Colab opens a notebook; an empty string as long as nobody knows the repository."""
    if not (address := repository(root)):
        return ""
    return f"https://colab.research.google.com/github/{address}/blob/main/notebooks/{name}"


def badged(source, name, root=ROOT):
    """The first cell of a notebook, with its badge if there is somewhere to go."""
    source, link = BADGED.sub("", source), in_colab(name, root)
    return f"{BADGE}({link})\n\n{source}" if link else source


def linked(readme, root=ROOT):
    """The text of README.md: with each link to a notebook one to Colab, and what to clone."""

    def both(found):
        link = in_colab(found[2], root)
        return found[1] + (f" ([Colab]({link}))" if link else "")

    return CLONED.sub(repository(root) or UNKNOWN, LINKED.sub(both, readme))


def stamp_notebook(path, root=ROOT):
    """Stamps one notebook and says whether that changed it."""
    before = nbformat.read(path, as_version=4)
    after = nbformat.from_dict(before)
    after.cells[0].source = badged(after.cells[0].source, path.name, root)
    for cell in after.cells:
        if "set-up" in cell.metadata.get("tags", []):
            cell.source = set_up_source(root)
            cell.metadata |= FOLDED
    if after != before:
        nbformat.write(after, path)
    return after != before


def stamp_readme(path, root=ROOT):
    """Stamps README.md and says whether that changed it."""
    before = path.read_text(encoding="utf-8")
    after = linked(before, root)
    if after != before:
        path.write_text(after, encoding="utf-8")
    return after != before


def stamp(root=ROOT):
    """Stamps everything; returns the paths that changed."""
    readme = root / "README.md"
    changed = [path for path in notebooks(root) if stamp_notebook(path, root)]
    return changed + ([readme] if readme.exists() and stamp_readme(readme, root) else [])


def main():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("repository", nargs="?", help='the GitHub address "owner/name"')
    if address := parser.parse_args().repository:
        try:
            set_repository(address)
        except ValueError as error:
            parser.error(str(error))
    changed = [str(path.relative_to(ROOT)) for path in stamp()]
    print(f"repository: {repository() or 'not known yet'}")
    print("stamped:", ", ".join(changed) or "nothing, all was up to date")


if __name__ == "__main__":
    main()
