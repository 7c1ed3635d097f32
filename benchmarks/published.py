"""Published versus obtained: figures of papers and of well-known code, measured again.

    python benchmarks/published.py --profile cpu

Each row of the table (rows.py) is a function that measures and says how far from the published
figure it may be, and why. Writes benchmarks/published.json, and from it the pages. Ends with 1 if a
row differs, with 3 if none does but one could not be run.
"""

import argparse
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import pages
from rows import ROWS
from table import allowed, exit_code, number, run


def main(arguments=None):
    """Runs rows, shows them, writes them; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--profile", choices=("cpu", "full"), default="cpu")
    parser.add_argument("--rows", nargs="+", choices=[row.name for row in ROWS], metavar="NAME")
    options = parser.parse_args(arguments)
    names = options.rows or [row.name for row in ROWS if row.profile == options.profile]
    chosen = [row for row in ROWS if row.name in names]
    done = []
    for i, row in enumerate(chosen, start=1):
        print(f"{i} of {len(chosen)}: {row.name}", flush=True)
        record = run(row)
        done.append(record)
        for check in record["checks"]:
            mark = "    " if check["holds"] else "NO  "
            spread = f" ({check['spread']})" if check["spread"] else ""
            shown = f"{number(check['ours'])}{spread}; published {check['published']}"
            print(f"  {mark}{check['quantity']}: {shown}; allowed {allowed(check)}")
        print(f"  {record['verdict']} after {record['seconds']} s {record.get('missing', '')}")
        # Read again: hours may have passed, and another run may have written other rows.
        pages.write("published", pages.read("published") | {row.name: record})
        keras.backend.clear_session()
    return exit_code(done)


if __name__ == "__main__":
    sys.exit(main())
