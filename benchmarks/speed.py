"""How fast, and compared with what? Everything that is measured of speed, in one run.

    python benchmarks/speed.py                       # all of it, some 20 minutes on two cores
    python benchmarks/speed.py --part evaluation     # one question
    python benchmarks/speed.py --quick               # tiny: does it work? writes nothing

Each part is a file: `speed_training`, `speed_evaluation`, `speed_growth`. Who is measured is a
process of its own (peers/speed_*.py); one computes at a time, in turns, and medians are compared.
Writes benchmarks/speed.json and the pages that quote it. Ends with 1 if a target is missed, with 3
if none is but a peer could not be had.
"""

import argparse
import sys
import time

import pages
import table
from pages import PARTS
from peer_environment import CACHE, ask, peer_python


def judged(part, record):
    """A record with its checks and its verdict."""
    checks = list(PARTS[part].checks(record))
    verdict = table.verdict(checks)
    if record["missing"] and verdict == table.AGREES:
        verdict = table.NOT_RUN
    return record | {"verdict": verdict, "checks": [table.plain(check) for check in checks]}


def find_peers(python=None):
    """The Python that has PyTorch, and its version; or None, and nothing."""
    try:
        python = python or peer_python(CACHE / "speed", "speed_requirements.txt", "1 GB")
    except table.NotRun as reason:
        print(f"  {reason}", flush=True)
        return None, {}
    found = ask([python, "-c", "import torch; print(torch.__version__)"])
    found.check_returncode()
    return python, {"PyTorch": found.stdout.strip()}


def main(arguments=None):
    """Measures parts, shows them, writes all files; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--part", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--quick", action="store_true", help="tiny; writes nothing")
    parser.add_argument("--python", help="one that has PyTorch; by default an environment is made")
    options = parser.parse_args(arguments)
    (python, peers), records = find_peers(options.python), pages.read("speed")
    about = {"peers": peers, "missing": [] if python else ["PyTorch"]}
    for i, part in enumerate(options.part, start=1):
        print(f"{i} of {len(options.part)}: {part}", flush=True)
        began, module = time.monotonic(), PARTS[part]
        found = module.measure(python, **(module.QUICK if options.quick else module.FULL))
        record = records[part] = judged(part, found | about) | table.stamp(began)
        print(*module.render(record), "", pages.the_targets({part: record}), sep="\n")
        print(f"{record['verdict']} after {record['seconds']} s", flush=True)
        if not options.quick:
            pages.write("speed", records)
    return 0 if options.quick else table.exit_code([records[part] for part in options.part])


if __name__ == "__main__":
    sys.exit(main())
