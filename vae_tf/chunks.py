"""Long work in parts, so that memory does not grow with the number of samples or nodes."""

__all__ = ["BUDGET", "sizes"]

# Values that one tensor may hold at a time: 8 million float32 values are 32 MB.
BUDGET = 8_000_000


def sizes(total, values_each):
    """`total` items in parts that each fit the budget: [size, ...], whose sum is `total`."""
    part = max(1, BUDGET // max(1, values_each))
    return [min(part, total - start) for start in range(0, total, part)]
