"""Writes the copies that students get: no outputs, no solutions (`make student`).

The notebooks themselves are the source: what is left out here is tested there. A lecturer may keep
the answers to the recall questions: they stay in.
"""

import argparse
import sys
from pathlib import Path

import nbformat
from solutions import tagged
from stamp import ROOT, notebooks, repository

LINK = "](../"


def student(notebook, root=ROOT):
    """A copy without outputs, counts and solutions; its links lead to where the files are."""
    copy = nbformat.from_dict(notebook)
    solutions = [cell.get("id") for cell in tagged(copy, "solution")]
    copy.cells = [cell for cell in copy.cells if cell.get("id") not in solutions]
    address = repository(root)
    there = f"https://github.com/{address}/blob/main/" if address else "../../"
    for cell in copy.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
        else:
            cell.source = cell.source.replace(LINK, f"]({there}")
    return copy


def write(paths, folder):
    """Writes a copy of each notebook into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in paths:
        nbformat.write(student(nbformat.read(path, as_version=4)), folder / path.name)


def main():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "student")
    folder = parser.parse_args().output
    write(notebooks(), folder)
    shown = folder.relative_to(ROOT) if folder.is_relative_to(ROOT) else folder
    print(f"{len(notebooks())} notebooks without outputs and solutions in {shown}")


if __name__ == "__main__":
    sys.exit(main())
