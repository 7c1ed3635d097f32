"""Runs notebooks, each alone with the wheel, on the versions of Colab (`make test-colab`).

Proves that the package can be installed there from its wheel, that a notebook then runs, and that
nothing preloaded was touched.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import course
import nbformat
from stamp import ROOT, notebooks

PINS = ROOT / "colab-constraints.txt"
CACHE = ROOT / "build" / "colab"
PYTHON = CACHE / "env" / "bin" / "python"
VERSION = "import sys; print('%d.%d' % sys.version_info[:2])"


def version(python):
    """The version of an interpreter, such as "3.12"; None if it does not run."""
    try:
        found = subprocess.run([python, "-c", VERSION], capture_output=True, text=True)
    except OSError:
        return None
    return found.stdout.strip() or None


def find_python():
    """A Python 3.12: the one that PYTHON312 names, else one on the path or of pyenv; or None."""
    if named := os.environ.get("PYTHON312"):
        if version(named) != "3.12":
            raise SystemExit(f"Expected PYTHON312 to run Python 3.12. Received {named}.")
        return named
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    candidates = ["python3.12", "python3", *sorted(map(str, pyenv.glob("3.12*/bin/python")))]
    return next((python for python in candidates if version(python) == "3.12"), None)


def pip(*arguments):
    """Runs pip in the environment of the kernel and returns what it prints."""
    command = [PYTHON, "-m", "pip", "--disable-pip-version-check", *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def make_environment(python):
    """The environment with the versions of Colab; kept until their list changes."""
    marker = CACHE / "installed.txt"
    if marker.exists() and marker.read_text(encoding="utf-8") == PINS.read_text(encoding="utf-8"):
        return
    shutil.rmtree(CACHE / "env", ignore_errors=True)
    print("installing what Colab preloads (a minute or two, 2 GB)", flush=True)
    subprocess.run([python, "-m", "venv", CACHE / "env"], check=True)
    pip("install", "--quiet", "--requirement", str(PINS))
    shutil.copy(PINS, marker)


def build_wheel(folder):
    """Builds the wheel of this checkout into the folder."""
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def add_kernel(folder):
    """A kernel named `colab` that runs in the environment; other kernels stay out of sight."""
    argv = [str(PYTHON), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = {"argv": argv, "display_name": "colab", "language": "python"}
    (folder / "kernels" / "colab").mkdir(parents=True)
    path = folder / "kernels" / "colab" / "kernel.json"
    path.write_text(json.dumps(spec), encoding="utf-8")
    os.environ["JUPYTER_PATH"] = str(folder)


def preloaded():
    """What the environment holds."""
    return set(pip("freeze").splitlines())


def run(path):
    """Runs a notebook alone with the wheel; returns the error or None."""
    with tempfile.TemporaryDirectory() as name:
        alone, kernels = Path(name) / "content", Path(name) / "jupyter"
        build_wheel(alone)
        add_kernel(kernels)
        notebook = nbformat.read(shutil.copy(path, alone), as_version=4)
        with open(CACHE / "kernel.log", "w", encoding="utf-8") as log:
            progress, error = course.execute(notebook, path.stem, alone, log, kernel="colab")
    nbformat.write(notebook, CACHE / path.name)
    progress.finish("failed" if error else "ok")
    if error:
        print(course.explain(notebook, progress.cell, error))
    return error


def choose(name):
    """The notebooks whose names begin so; "all" of them; without a name, that of section 1."""
    start = {"all": "", None: "01_the_elbo"}.get(name, name)
    if found := [path for path in notebooks() if path.stem.startswith(start)]:
        return found
    raise SystemExit(f'Expected the name of a notebook, or "all". Received {name}.')


def main():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("name", nargs="?", help='the beginning of a name, or "all"')
    paths = choose(parser.parse_args().name)
    python = find_python()
    if python is None:
        print("skipped: no Python 3.12 found; PYTHON312=/path/to/python3.12 names one")
        return 0
    make_environment(python)
    pip("uninstall", "-qq", "--yes", "vae-tf", "arviz-stats")
    before = preloaded()
    errors = [run(path) for path in paths]  # all of them, also after an error
    changed = sorted(before - preloaded())  # added may be what is not preloaded
    if changed:
        print(f"Expected what is preloaded to stay as it is. Received changes: {changed}.")
    return bool(any(errors) or changed)


if __name__ == "__main__":
    sys.exit(main())
