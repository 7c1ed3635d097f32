"""Writes pbmc.npz: molecule counts of 765 genes in 700 human blood cells of 10 types.

Needs scanpy (`pip install scanpy`), which carries `pbmc68k_reduced`. Its `.raw.X` holds no counts:
each count was divided by its cell's total, multiplied by 10,000, passed through log(1 + .) and
rounded to three decimals. Undoing this takes one assumption and leaves a rounding; both are
checked here, and the script stops where a check fails.

1.  The smallest positive value of a cell stands for one molecule. Dividing by it makes every value
    of the cell a whole number, up to the rounding of the stored decimals. If a cell had no gene
    with a single molecule, its counts would come out too small by a common factor.
2.  The evidence against such a factor does not use step 1. The table also stores each cell's total
    over all genes, `n_counts`. If step 1 holds, then 10,000 / (smallest value) is that total; a
    common factor of two would make it half.
3.  The recovered counts and `n_counts` together give back every stored value, to within the half
    unit of its third decimal. A neighbouring whole number would miss it: the closest call is the
    largest count, 259, where one molecule more or less moves the logarithm by 0.0038.
"""

import numpy as np
import scanpy as sc
from _write import stratified_split, write

cells = sc.datasets.pbmc68k_reduced()
stored = cells.raw.X.toarray().astype(np.float64)  # [700, 765], log(1 + 10000 count / total)
total = cells.obs["n_counts"].to_numpy(np.float64)[:, None]  # [700, 1]
assert stored.shape == (700, 765)

# 1. count = expm1(stored) / one molecule
values = np.expm1(stored)
one = np.where(values > 0, values, np.inf).min(axis=1, keepdims=True)  # [700, 1]
unrounded = values / one
counts = np.round(unrounded)
rounding = np.abs(unrounded - counts).max()
assert rounding < 0.12, rounding
assert np.array_equal(np.where(counts > 0, counts, np.inf).min(axis=1), np.ones(700))
print(f"largest rounding: {rounding:.4f} of one molecule; largest count: {counts.max():.0f}")

# 2. the totals that step 1 implies, against those that the table stores
ratio = 1e4 / one / total
assert 0.999 < ratio.min() and ratio.max() < 1.001
print(f"implied / stored total of a cell: {ratio.min():.5f} to {ratio.max():.5f}")

# 3. forwards again: log(1 + 10000 count / total) against every stored value
error = np.abs(np.log1p(1e4 * counts / total) - stored).max()
assert error < 0.000501, error
print(f"largest distance to a stored value: {error:.6f} (half a unit of the third decimal: 0.0005)")

labels = cells.obs["bulk_labels"].cat
y = labels.codes.to_numpy()
write(
    "pbmc",
    x=counts.astype(np.min_scalar_type(int(counts.max()))),
    y=y.astype(np.uint8),
    split=stratified_split(y, num_val=100, num_test=100, seed=700),
    genes=np.array(cells.raw.var_names.tolist()),
    cell_types=np.array(labels.categories.tolist()),
)
