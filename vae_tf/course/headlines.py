"""The figures that a notebook is remembered by, shown and handed on to whoever runs it."""

import numbers
from typing import Any

__all__ = ["headline"]

MIME = "application/vnd.vae-tf.headline+json"


def headline(**figures: Any) -> None:
    """Shows a notebook's main figures; the course runner collects them into its closing table.

    Args:
        **figures: label and value, a number (in nats unless the label says otherwise) or a
            string. Underscores in labels become spaces.

    Example:

    >>> vt.headline(ELBO=-181.4, log_p=-180.1, gap=1.3)  # doctest: +SKIP
    ELBO   -181.4
    log p  -180.1
    gap    1.3
    """
    from IPython.display import display

    plain = {
        label.replace("_", " "): round(float(value), 4)
        if isinstance(value, numbers.Real) or hasattr(value, "dtype")
        else str(value)
        for label, value in figures.items()
    }
    width = max(map(len, plain), default=0)
    table = "\n".join(f"{label:<{width}}  {value}" for label, value in plain.items())
    display({"text/plain": table, MIME: plain}, raw=True)
