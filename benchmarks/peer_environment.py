"""Environments for code that the course itself does not install: other people's libraries."""

import os
import subprocess
import venv

from table import FOLDER, NotRun

CACHE = FOLDER.parent / ".cache"


def peer_python(environment, requirements, size):
    """The Python of a folder's environment, which is made at the first call and then kept.

    `requirements` is a file in peers/; `size` tells, in words, whoever waits. Raises `NotRun` if
    pip cannot install them.
    """
    python = environment / ("Scripts" if os.name == "nt" else "bin") / "python"
    requirements = FOLDER / "peers" / requirements
    wanted, stamp = requirements.read_text("utf-8"), environment / "installed.txt"
    if stamp.is_file() and stamp.read_text("utf-8") == wanted:
        return python
    print(f"  making the environment of the peers ({size}, a minute or two)", flush=True)
    venv.create(environment, with_pip=True, clear=True)
    (environment / ".gitignore").write_text("*\n", "utf-8")
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    installed = ask([*install, "-r", requirements])
    if installed.returncode:
        reason = [line for line in installed.stderr.splitlines() if "ERROR" in line]
        raise NotRun(
            f"pip could not install benchmarks/peers/{requirements.name}, which needs a package "
            f"index once: {(reason or ['no reason given'])[-1]}"
        )
    stamp.write_text(wanted, "utf-8")
    return python


def ask(command):
    """Runs a command, which cannot find this project's packages, and returns what it said."""
    command, env = list(map(str, command)), os.environ | {"PYTHONPATH": ""}
    return subprocess.run(command, capture_output=True, text=True, env=env)
