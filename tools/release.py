"""Builds the source archive and the wheel into dist/, and checks them (`make release`).

The wheel is built from the archive, so that the archive is whole. It is then installed alone in an
environment of its own, kept under build/release/, where `import vae_tf` and the twelve lines of the
README must run: with a network the first time, and without one until a dependency changes.
"""

import argparse
import email
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

from stamp import ROOT

import vae_tf

DIST, CACHE = ROOT / "dist", ROOT / "build" / "release"
PYTHON = CACHE / "env" / "bin" / "python"
PINS = ROOT / "constraints.txt"
BLOCK = re.compile(r"```python\n(.*?)```\n```text\n(.*?)```", re.DOTALL)
NUMBER = re.compile(r"-?\d+\.\d+")
NATS = 3.0  # how far another processor may lead a training of twenty epochs
# What an archive must hold, besides the package, and what it must not.
NEEDED = ["README.md", "LICENSE", "LICENSE-text", "CITATION.cff", "pyproject.toml", "data/pbmc.npz"]
UNWANTED = re.compile(r"\.pyc$|(^|/)(\.venv|build|dist|shared|__pycache__)/|\.ipynb_checkpoints")


def build(folder=DIST):
    """Makes both files in a folder that holds nothing else; returns (archive, wheel)."""
    shutil.rmtree(folder, ignore_errors=True)
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    (archive,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return archive, wheel


def metadata(wheel):
    """What the wheel says of itself."""
    with zipfile.ZipFile(wheel) as file:
        (name,) = [each for each in file.namelist() if each.endswith(".dist-info/METADATA")]
        return email.message_from_bytes(file.read(name))


def names(path):
    """The files inside an archive or a wheel; of an archive without its first folder."""
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as file:
            return set(file.namelist())
    with tarfile.open(path) as file:
        return {name.partition("/")[2] for name in file.getnames()}


def faults_of_metadata(of, readme):
    """What is wrong with the metadata of a wheel, a sentence each."""
    found = []
    expected = {"Name": "vae-tf", "Version": vae_tf.__version__, "License-Expression": "MIT"}
    for field, value in expected.items():
        if of[field] != value:
            found.append(f"{field}: expected {value}, received {of[field]}.")
    if of.get_payload(decode=True).decode("utf-8").strip() != readme.strip():
        found.append("The description is not README.md.")
    if not of.get_all("Requires-Dist") or not of["Requires-Python"]:
        found.append("It says nothing of what it requires.")
    return found


def faults_of_contents(inside, needed):
    """Files that are missing, and files that do not belong there."""
    missing = [f"Missing: {name}." for name in sorted(set(needed) - inside)]
    return missing + [f"Unwanted: {name}." for name in sorted(inside) if UNWANTED.search(name)]


def package():
    """The modules of the package, by their path."""
    return [path.relative_to(ROOT).as_posix() for path in (ROOT / "vae_tf").rglob("*.py")]


def twelve_lines(readme):
    """The first program of the README, and what it prints there."""
    return BLOCK.search(readme).groups()


def alike(printed, said):
    """Whether a program printed what the README says, but for the rounding of a training."""
    words = [NUMBER.sub("#", text).split() for text in (printed, said)]
    pairs = zip(*(map(float, NUMBER.findall(text)) for text in (printed, said)), strict=False)
    return words[0] == words[1] and all(abs(ours - theirs) <= NATS for ours, theirs in pairs)


def pip(*arguments):
    """Runs pip in the environment of the release."""
    subprocess.run([PYTHON, "-m", "pip", "--disable-pip-version-check", *arguments], check=True)


def install(wheel):
    """The wheel in an environment that has only what the wheel asks for."""
    asked = "\n".join(metadata(wheel).get_all("Requires-Dist")) + PINS.read_text(encoding="utf-8")
    marker, digest = CACHE / "installed.txt", hashlib.sha256(asked.encode()).hexdigest()
    if not marker.exists() or marker.read_text(encoding="utf-8") != digest:
        shutil.rmtree(CACHE, ignore_errors=True)
        print("installing what the wheel asks for (a minute or two)", flush=True)
        subprocess.run([sys.executable, "-m", "venv", CACHE / "env"], check=True)
        pip("install", "--quiet", "--constraint", str(PINS), str(wheel))
        marker.write_text(digest, encoding="utf-8")
    pip("install", "--quiet", "--no-index", "--no-deps", "--force-reinstall", str(wheel))
    pip("check")


def run_alone(code):
    """Runs a program far from the checkout; returns what it prints."""
    bare = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    with tempfile.TemporaryDirectory() as folder:
        command = [PYTHON, "-I", "-c", code]
        done = subprocess.run(command, cwd=folder, env=bare, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"Expected the wheel to run alone. Received:\n{done.stderr[-3000:]}")
    return done.stdout


def faults_alone(readme):
    """Whether the installed wheel is what is imported, and does what the README shows."""
    where = run_alone("import vae_tf; print(vae_tf.__file__, vae_tf.__version__)").split()
    if not Path(where[0]).is_relative_to(CACHE / "env") or where[1] != vae_tf.__version__:
        return [f"Expected version {vae_tf.__version__} of the wheel. Received {' '.join(where)}."]
    code, said = twelve_lines(readme)
    printed = run_alone(code)
    print(printed, end="")
    return [] if alike(printed, said) else [f"Expected the README's {said!r}. Received {printed!r}"]


def main(arguments=None):
    """The command line; ends with 1 if something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tag", help="the tag of the release, such as v0.2.0")
    tag = parser.parse_args(arguments).tag
    if tag and tag != f"v{vae_tf.__version__}":
        parser.error(f"Expected the tag v{vae_tf.__version__}. Received {tag}.")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    archive, wheel = build()
    faults = faults_of_metadata(metadata(wheel), readme)
    faults += faults_of_contents(names(archive), [*NEEDED, *package()])
    faults += faults_of_contents(names(wheel), [*package(), "vae_tf/py.typed"])
    if not faults:
        install(wheel)
        faults = faults_alone(readme)
    for fault in faults:
        print(fault)
    for path in (archive, wheel):
        print(f"{path.relative_to(ROOT)}: {path.stat().st_size / 1e6:.1f} MB")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
