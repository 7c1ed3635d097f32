"""Results that take longer than a minute: made by a script, saved small, loaded by a notebook.

A script under `experiments/` calls `save`; the file in `data/results` holds its figures together
with what one needs to trust them: the script, the seeds, the versions and how long it took.
Running the script again writes the file again.
"""

import json
import pathlib

from vae_tf._core.backend import about

__all__ = ["load", "save"]

_PACKAGE = pathlib.Path(__file__).resolve().parents[1]
_CHECKOUT = _PACKAGE.parent / "data" / "results"
_FOLDERS = (_PACKAGE / "_files" / "results", _CHECKOUT)  # installed; in a checkout


def save(name, figures, *, script, seeds, seconds):
    """Writes `data/results/<name>.json` of a checkout.

    Args:
        name: the name of the file, without its ending.
        figures: what was measured: numbers, strings, lists and dicts.
        script: the path of the script in the repository, such as "experiments/05_balancing_act.py".
        seeds: the integers that fix the random numbers, a list.
        seconds: how long the script took.

    Returns:
        The path of the file.
    """
    made = {
        "script": script,
        "seeds": list(seeds),
        "seconds": round(float(seconds), 1),
        "versions": about(),
    }
    _CHECKOUT.mkdir(parents=True, exist_ok=True)
    path = _CHECKOUT / f"{name}.json"
    path.write_text(json.dumps({"made": made, "figures": figures}, indent=1) + "\n")
    return path


def load(name):
    """Reads what `save` has written: {"made": {script, seeds, seconds, versions}, "figures": ...}.

    Raises:
        FileNotFoundError: if no script has saved a result of this name.
    """
    paths = [folder / f"{name}.json" for folder in _FOLDERS]
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        known = sorted({p.stem for folder in _FOLDERS for p in folder.glob("*.json")})
        raise FileNotFoundError(f"Expected `name` to be one of {known}. Received: name={name!r}")
    return json.loads(path.read_text(encoding="utf-8"))
