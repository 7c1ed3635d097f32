"""What the make scripts share: shuffle, draw the split, write the archive, print its checksum."""

import hashlib
import pathlib

import numpy as np

TRAIN, VAL, TEST = 0, 1, 2


def shuffled(*arrays, seed):
    """The arrays with their rows in one random order, so that the first n are a fair sample."""
    order = np.random.default_rng(seed).permutation(len(arrays[0]))
    return tuple(array[order] for array in arrays)


def stratified_split(y, num_val, num_test, seed):
    """Assigns every example to train, validation or test, label by label.

    Each label gives its proportional share of the validation and of the test examples. Shares are
    rounded down, and the labels with the largest remainders give one example more (the smaller
    label number first among equals), so that the totals are exact.

    Args:
        y: Integer labels, shape `[N]`.
        num_val: Number of validation examples.
        num_test: Number of test examples.
        seed: Seed of the permutation within each label.

    Returns:
        The split, shape `[N]`, uint8: 0 train, 1 validation, 2 test.
    """
    rng = np.random.default_rng(seed)
    split = np.full(len(y), TRAIN, np.uint8)
    labels, counts = np.unique(y, return_counts=True)
    quotas = zip(labels, _shares(counts, num_val), _shares(counts, num_test), strict=True)
    for label, val, test in quotas:
        members = rng.permutation(np.flatnonzero(y == label))
        split[members[:val]] = VAL
        split[members[val : val + test]] = TEST
    return split


def _shares(counts, total):
    """Splits `total` in proportion to `counts`, in whole numbers, by largest remainders."""
    shares, remainders = np.divmod(counts * total, counts.sum())
    extra = np.argsort(-remainders, kind="stable")[: total - shares.sum()]
    shares[extra] += 1
    return shares


def write(name, **arrays):
    """Writes `<name>.npz` beside this script and prints its size, splits and SHA-256.

    NumPy dates every member of the archive 1980, so one machine writes the same bytes each time.
    """
    path = pathlib.Path(__file__).with_name(f"{name}.npz")
    np.savez_compressed(path, **arrays)
    sizes = np.bincount(arrays["split"], minlength=3)
    duplicates = len(arrays["x"]) - len(np.unique(arrays["x"], axis=0))
    print(f"{path.name}: {path.stat().st_size} bytes, x {arrays['x'].dtype}{arrays['x'].shape}")
    print(f"train, val, test: {sizes.tolist()}; repeated rows of x: {duplicates}")
    print(f"SHA-256 {hashlib.sha256(path.read_bytes()).hexdigest()}")
