"""How fast, and compared with what? Everything that is measured of speed, in one run.

    python benchmarks/speed.py                       # all of it, some 15 minutes on two cores
    python benchmarks/speed.py --part evaluation     # one question
    python benchmarks/speed.py --quick               # tiny: does it work? judges and writes nothing

Each part is a file: `speed_training`, `speed_evaluation`, `speed_waiting`, `speed_growth`. Who is
measured is a process of its own (peers/speed_*.py); one computes at a time, in turns, and medians
are compared. Writes benchmarks/speed.json and the pages that quote it. Ends with 1 if a target is
missed, with 3 if none is but a peer could not be had.
"""

import argparse
import datetime
import os
import pathlib
import sys
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import pages
import table
from pages import PARTS
from peer_environment import CACHE, peer_python
from table import NotRun

import vae_tf as vt


def measure(part, python, quick=False):
    """A record of a part, plain enough for JSON."""
    began, module = time.monotonic(), PARTS[part]
    with tempfile.TemporaryDirectory() as folder:
        settings = module.QUICK if quick else module.FULL
        record = module.measure(python, pathlib.Path(folder), **settings)
    if not python and part != "growth":  # which asks no peer
        record["missing"].append("PyTorch")
    return {
        **judged(part, record),
        "took": round(time.monotonic() - began, 1),
        "machine": table.machine(),
        "versions": vt.about(),
        "date": datetime.date.today().isoformat(),
    }


def judged(part, record):
    """A record with its checks and its verdict."""
    checks = PARTS[part].checks(record)
    verdict = table.verdict(checks)
    if record["missing"] and verdict == table.AGREES:
        verdict = table.NOT_RUN
    return record | {"verdict": verdict, "checks": [table._plain(check) for check in checks]}


def peers(options):
    """The Python of the peers, or None."""
    if options.python or options.without_peers or options.part == ["growth"]:
        return options.python
    try:
        return peer_python(CACHE / "speed", "speed_requirements.txt", "1 GB")
    except NotRun as reason:
        print(f"  {reason}", flush=True)
        return None


def main(arguments=None):
    """Measures parts, shows them, writes all files; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--part", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--quick", action="store_true", help="tiny; judges and writes nothing")
    parser.add_argument("--without-peers", action="store_true", help="what is installed here")
    parser.add_argument("--python", help="one that has PyTorch; by default an environment is made")
    options = parser.parse_args(arguments)
    python, records = peers(options), pages.read("speed")
    for i, part in enumerate(options.part, start=1):
        print(f"{i} of {len(options.part)}: {part}", flush=True)
        record = records[part] = measure(part, python, options.quick)
        for check in record["checks"]:
            mark = "    " if check["holds"] else "NO  "
            found = table.obtained(check["ours"])
            print(f"  {mark}{check['quantity']}: {found}; {check['published']}")
        print(f"  {record['verdict']} after {record['took']} s", flush=True)
        if not options.quick:
            pages.write("speed", records)
    code = table.exit_code([records[part] for part in options.part])
    if options.quick:  # its figures mean nothing
        code = 3 if any(records[part]["missing"] for part in options.part) else 0
    return code


if __name__ == "__main__":
    sys.exit(main())
