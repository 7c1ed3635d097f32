"""The rows of the table: what was published stands in rows.toml, what measures it here."""

import dataclasses
import tomllib

import rows_code as code
import rows_gradients as bounds
import rows_linear as linear
import rows_models as deep
import rows_small as small
from table import FOLDER, Row

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


def cut(k, stages):
    """K beside one, so many stages, for the order alone."""
    few = {"samples": (1, k), "stages": deep.BURDA_STAGES[:stages], "held_out": 2000}
    return dataclasses.replace(FULL, **few, bracketed=0)


MEASURES = {  # name of a row: what measures it, and the scale
    "linear-collapse": (linear.linear_collapse, LINEAR),
    "rate-distortion": (linear.rate_distortion, LINEAR),
    "ppca-maximum": (linear.ppca_maximum, linear.Ppca()),
    "lucas-units": (linear.lucas_units, linear.Ppca(latents=16, seeds=(0, 1, 2))),
    "collapse-transition": (small.transition, small.Small()),
    "three-entropies": (small.three_entropies, small.Small(epochs=600, rate=1e-2)),
    "free-bits": (small.free_bits, small.Small(latents=8)),
    "doubled-kl": (code.doubled_kl, code.ENVIRONMENT),
    "gradient-slopes": (bounds.gradient_slopes, bounds.Slopes()),
    "iwae-ordering": (deep.iwae_ordering, deep.Cells()),
    "iwae-k1": (deep.iwae_cell, FULL),
    "iwae-k5": (deep.iwae_ordering, cut(5, stages=5)),
    "iwae-k50": (deep.iwae_ordering, cut(50, stages=4)),
    "iwae-fashion": (deep.iwae_cell, dataclasses.replace(FULL, data="fashion_mnist")),
    "inference-gap": (deep.inference_gap, deep.Gap()),
    "fixed-vampprior": (deep.fixed_binarisation, deep.Fixed()),
    "fixed-diagonal": (
        deep.fixed_binarisation,
        deep.Fixed(
            published=("88.71", 87.7, 89.93, "another network: a nat below, not derived"),
            verified=True,
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
