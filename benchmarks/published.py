"""Published versus obtained: figures of papers and of well-known code, measured again.

    python benchmarks/published.py --profile cpu

Each row of the table is a function that measures and says how far from the published figure it may
be, and why; what was published stands in rows.toml. Writes benchmarks/published.json, and from it
the table in benchmarks/README.md. Ends with 1 if a row differs, with 3 if none does but one could
not be run.
"""

import argparse
import dataclasses
import json
import os
import sys
import tomllib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import rows_code as code
import rows_gradients as bounds
import rows_linear as linear
import rows_models as deep
import rows_small as small
from table import FOLDER, RESULTS, Row, allowed, exit_code, number, run, write

FULL = deep.Cells(
    data="mnist",
    samples=(1,),
    stages=deep.BURDA_STAGES,
    batch=100,
    hidden=(200, 200),
    held_out=10_000,
    evidence_samples=5000,
    seeds=(0,),
    bracketed=100,
    keep=True,
)
LINEAR = small.Small(latents=5, hidden=(), epochs=256, batch=16, rate=1e-3)
MEASURES = {  # name of a row: what measures it, and the scale
    "linear-collapse": (linear.linear_collapse, LINEAR),
    "rate-distortion": (linear.rate_distortion, LINEAR),
    "ppca-maximum": (linear.ppca_maximum, linear.Ppca()),
    "lucas-units": (linear.lucas_units, linear.Ppca(latents=16, seeds=(0, 1, 2))),
    "collapse-transition": (small.transition, small.Small()),
    "three-entropies": (small.three_entropies, small.Small(epochs=600, rate=1e-2)),
    "free-bits": (small.free_bits, small.Small(latents=8)),
    "dsprites-points": (
        small.sprites_points,
        small.Small(latents=10, hidden=(200, 200), epochs=12, batch=64, rate=1e-3),
    ),
    "doubled-kl": (code.doubled_kl, code.Peers()),
    "effective-beta": (code.effective_betas, code.CODES),
    "gradient-slopes": (bounds.gradient_slopes, bounds.Slopes()),
    "iwae-ordering": (deep.iwae_ordering, deep.Cells()),
    "iwae-k1": (deep.iwae_cell, FULL),
    "iwae-k5": (
        deep.iwae_ordering,
        dataclasses.replace(FULL, samples=(1, 5), stages=deep.BURDA_STAGES[:6]),
    ),
    "iwae-k50": (
        deep.iwae_ordering,
        dataclasses.replace(FULL, samples=(1, 50), stages=deep.BURDA_STAGES[:5]),
    ),
    "iwae-fashion": (deep.iwae_cell, dataclasses.replace(FULL, data="fashion_mnist")),
    "inference-gap": (deep.inference_gap, deep.Gap()),
    "fixed-vampprior": (deep.fixed_binarisation, deep.Fixed()),
    "fixed-diagonal": (
        deep.fixed_binarisation,
        deep.Fixed(
            published=("88.71", 87.7, 89.93, "a nat below the paper's to the highest reproduction"),
            pseudo_inputs=0,
        ),
    ),
}


def rows():
    """All of them, in the order of rows.toml."""
    texts = tomllib.loads((FOLDER / "rows.toml").read_text("utf-8"))
    one_line = {name: [" ".join(t.split()) for t in row.values()] for name, row in texts.items()}
    return tuple(Row(name, *row, *MEASURES[name]) for name, row in one_line.items())


ROWS = rows()


def main(arguments=None):
    """Runs rows, shows them, writes both files; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--profile", choices=("cpu", "full"), default="cpu")
    parser.add_argument("--rows", nargs="+", choices=list(MEASURES), metavar="NAME")
    options = parser.parse_args(arguments)
    chosen = [
        row
        for row in ROWS
        if (row.name in options.rows if options.rows else row.profile == options.profile)
    ]
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
        print(f"  {record['verdict']} {record.get('missing', '')}after {record['seconds']} s")
        # Read again: hours may have passed, and another run may have written other rows.
        records = json.loads(RESULTS.read_text("utf-8")) if RESULTS.is_file() else {}
        write(ROWS, records | {row.name: record})
        keras.backend.clear_session()
    return exit_code(done)


if __name__ == "__main__":
    sys.exit(main())
