"""Results that take longer than a minute: made by a script, saved small, loaded by a notebook.

A script under `experiments/` calls `save`; the file in `data/results` holds its figures together
with what one needs to trust them: the script and its hash, the settings, the seeds, the versions,
the machine and how long it took. Running the script again writes the file again. A script that
takes hours keeps each finished run with `kept`, and goes on from there when it was stopped. A
notebook that repeats a part live takes settings and functions from the script itself: `script`.
"""

import datetime
import functools
import hashlib
import importlib.util
import json
import os
import pathlib
import platform
import subprocess
import types
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from vae_tf._core.backend import about

__all__ = ["kept", "load", "repeats", "save", "script"]

_PACKAGE = pathlib.Path(__file__).resolve().parents[1]
_CHECKOUT = _PACKAGE.parent / "data" / "results"
_FOLDERS = (_PACKAGE / "_files" / "results", _CHECKOUT)  # installed; in a checkout
_SCRIPTS = (_PACKAGE / "_files" / "experiments", _PACKAGE.parent / "experiments")


def save(
    name: str,
    figures: Any,
    *,
    script: str | os.PathLike,
    seeds: Iterable[int],
    seconds: float,
    settings: Mapping[str, Any] | None = None,
) -> pathlib.Path:
    """Writes `data/results/<name>.json` of a checkout.

    Args:
        name: the name of the file, without its ending.
        figures: what was measured: numbers, strings, lists and dicts.
        script: the path of the script, `__file__` or "experiments/<name>.py"; it has the name of
            the file that it writes.
        seeds: the integers that fix the random numbers.
        seconds: how long the script took.
        settings: what the script could be run with otherwise: sizes, epochs, rates.

    Returns:
        The path of the file.

    Raises:
        ValueError: if the script has another name than the result.
        FileNotFoundError: if there is no such script.

    Example:

    >>> figures = {"elbo": [-27.2, -27.4]}
    >>> vt.results.save(  # doctest: +SKIP
    ...     "05_balancing_act", figures, script=__file__, seeds=(0, 1), seconds=12.0
    ... )
    """
    path = _path(script)
    if path.stem != name:
        raise ValueError(
            f"A result has the name of its script. Expected `script` to be {name}.py. "
            f"Received: {path.name}"
        )
    made = {
        "script": _relative(path),
        "script_sha256": _sha256(path.read_bytes()),
        "commit": _commit(path.parent),
        "settings": dict(settings or {}),
        "seeds": [int(seed) for seed in seeds],
        "seconds": round(float(seconds), 1),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": _machine(),
        "versions": about(),
    }
    return _write(_CHECKOUT / f"{name}.json", {"made": made, "figures": figures})


def load(name: str) -> dict[str, Any]:
    """Reads what `save` has written.

    Args:
        name: the name of the file, without its ending.

    Returns:
        {"made": {"script": ..., "seeds": ..., "seconds": ..., "versions": ..., ...},
        "figures": ...}; older files say less in "made".

    Raises:
        FileNotFoundError: if no script has saved a result of this name.

    Example:

    >>> vt.results.load("05_balancing_act")["made"]["script"]
    'experiments/05_balancing_act.py'
    """
    paths = [folder / f"{name}.json" for folder in _FOLDERS]
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        known = sorted({p.stem for folder in _FOLDERS for p in folder.glob("*.json")})
        raise FileNotFoundError(f"Expected `name` to be one of {known}. Received: name={name!r}")
    return json.loads(path.read_text(encoding="utf-8"))


def kept(
    folder: str | os.PathLike,
    settings: Mapping[str, Any],
    make: Callable[[], Any] | None,
    *,
    script: str | os.PathLike,
) -> Any:
    """The figures of one run of a script: made once, then read from a file.

    The name of the file is a hash of the settings, the text of the script and the versions of the
    libraries: after a change of any of them the run is made anew, and no old figure is taken for
    a new one. The file is whole or absent, so that several processes can share the work.

    Args:
        folder: where to keep the files, such as "build/07_family"; made if absent.
        settings: all that this run depends on, its seed and its name included; as JSON takes it.
        make: takes nothing and returns the figures: numbers, strings, lists and dicts. None only
            looks.
        script: the path of the script, `__file__`.

    Returns:
        The figures, as JSON gives them back; None if `make` is None and the run is not there.

    Example:

    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     script = pathlib.Path(folder, "a.py")
    ...     _ = script.write_text("# an experiment")
    ...     run = {"objective": "ELBO", "epochs": 30, "seed": 0}
    ...     first = vt.results.kept(folder, run, lambda: {"elbo": -1.5}, script=script)
    ...     again = vt.results.kept(folder, run, None, script=script)
    ...     longer = vt.results.kept(folder, run | {"epochs": 60}, None, script=script)
    >>> first, again, longer
    ({'elbo': -1.5}, {'elbo': -1.5}, None)
    """
    text = _sha256(_path(script).read_bytes())
    key = {"settings": settings, "script_sha256": text, "versions": about()}
    key = json.dumps(key, sort_keys=True, allow_nan=False)
    path = pathlib.Path(folder) / f"{_sha256(key.encode())[:20]}.json"
    if not path.is_file():
        if make is None:
            return None
        _write(path, {**json.loads(key), "figures": make()})
    return json.loads(path.read_text(encoding="utf-8"))["figures"]


@functools.cache
def script(name: str) -> types.ModuleType:
    """The script that made a result, as a module: its settings and its functions.

    So a notebook trains one seed of an experiment live with the very settings and functions that
    made the stored figures, and holds no copy of them.

    Args:
        name: the name of the result and of its script, without their ending.

    Returns:
        The module `experiments/<name>.py`. Its `main`, which takes minutes, is not run.

    Raises:
        FileNotFoundError: if there is no script of this name.

    Example:

    >>> vt.results.script("05_balancing_act").SEEDS
    (0, 1, 2, 3, 4)
    """
    path = next((p for folder in _SCRIPTS if (p := folder / f"{name}.py").is_file()), None)
    if path is None:
        known = sorted({p.stem for folder in _SCRIPTS for p in folder.glob("*.py")})
        raise FileNotFoundError(f"Expected `name` to be one of {known}. Received: name={name!r}")
    spec = importlib.util.spec_from_file_location(f"experiment_{name}", path)
    assert spec is not None and spec.loader is not None  # a file that ends in .py has both
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def repeats(name: str, keys: Iterable[Any], value: Any, tolerance: float) -> bool:
    """Whether a figure that was made just now is the stored one.

    Where the file was made on such a machine with the same versions, it has to be equal to the
    last digit that is stored. Elsewhere processors and libraries round differently, and a training
    of many steps carries that on: then `tolerance` says how far the figures may lie apart.

    Args:
        name: of the result, as `load` takes it.
        keys: the way to the stored figure in `load(name)["figures"]`: keys and positions.
        value: what was made now: a number or a list of numbers, rounded as the script rounds.
        tolerance: the largest difference on another machine, in the figure's unit.

    Example:

    >>> keys = ("R2 without", 0)
    >>> stored = vt.results.load("conditions")["figures"]["R2 without"][0]
    >>> vt.results.repeats("conditions", keys, stored, tolerance=0.05)
    True
    >>> vt.results.repeats("conditions", keys, stored + 0.1, tolerance=0.05)
    False
    """
    stored = load(name)
    figure, made = stored["figures"], stored["made"]
    for key in keys:
        figure = figure[key]
    here = made.get("machine") == _machine() and made["versions"] == about()
    difference = np.abs(np.asarray(value, "float64") - np.asarray(figure, "float64"))
    return bool(np.all(difference <= (1e-12 if here else tolerance)))


def _path(script):
    """The path of a script, given as it stands or from the root of the checkout."""
    paths = pathlib.Path(script), _PACKAGE.parent / script
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        raise FileNotFoundError(
            f"Expected `script` to be the path of a script, such as __file__. Received: {script}"
        )
    return path.resolve()


def _relative(path):
    root = _PACKAGE.parent
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name


def _sha256(content):
    return hashlib.sha256(content).hexdigest()


def _write(path, content):
    """Writes a file beside `path`, then renames it: `path` is whole or absent."""
    text = json.dumps(content, indent=1) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{os.getpid()}.part.{path.name}")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return path


def _machine():
    """Cores and processor; no name of the machine, which tells a reader nothing."""
    return f"{os.cpu_count()} cores, {_processor()}"


def _processor():
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []  # not Linux
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _commit(folder):
    """The commit that the script ran at, "+" where files differ from it, None without git."""
    try:
        commit, changes = (
            subprocess.run(
                ["git", *arguments], cwd=folder, capture_output=True, text=True, check=True
            ).stdout.strip()
            for arguments in (
                ("rev-parse", "HEAD"),
                ("status", "--porcelain", "--untracked-files=no"),
            )
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit + "+" * bool(changes)
