"""Drawings of ideas, not of data: the model with its symbols, the axes of a tensor."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vae_tf._core import require
from vae_tf.course.plots import STYLE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["model", "shapes"]

_INK = "#222222"
_PAPER = "#F2F2F2"
_SMALL, _LARGE = 11, 15  # points


def model(ax: Axes | None = None) -> Axes:
    """Encoder, z and decoder, with the ten symbols of the text at their places.

        x -> encoder -> q(z|x) -> z -> decoder -> p(x|z),    z ~ p(z)   (docs/the_elbo.md, Notation)

    Args:
        ax: Axes to draw on; a new figure otherwise.

    Returns:
        The Axes, without ticks.

    Example:

    >>> texts = [text.get_text() for text in vt.course.drawings.model().texts]
    >>> [word for word in texts if word.startswith(("encoder", "decoder"))]
    ['encoder\\n$\\\\phi$', 'decoder\\n$\\\\theta$']
    """
    ax = _canvas(ax, (7.4, 3.6), (0, 16), (0, 7.8))
    _tile(ax, 0.2, 5, 1.5, "$x$", "data")
    _network(ax, 2.5, 5, 2.0, (1.6, 0.8), "encoder\n$\\phi$")
    _bell(ax, 6.1, 4.7, "q", "$q_\\phi(z \\mid x)$", "approximate\nposterior", above=True)
    _bell(ax, 6.1, 1.2, "prior", "$p(z)$", "prior")
    _circle(ax, 9.1, 5, 0.6, "$z$", "latent\nvariable")
    _network(ax, 10.5, 5, 2.0, (0.8, 1.6), "decoder\n$\\theta$")
    _tile(ax, 13.3, 5, 2.5, "$p_\\theta(x \\mid z)$", "likelihood", fc="white")
    for start, end in ((1.7, 2.5), (4.5, 5.1), (7.1, 8.5), (9.7, 10.5), (12.5, 13.3)):
        _arrow(ax, (start, 5), (end, 5))
    ax.text(7.75, 5.15, "draw", ha="center", va="bottom", size=_SMALL)
    _arrow(ax, (7.2, 1.9), (8.75, 4.45))
    ax.text(8.25, 2.75, "or draw,\nto generate", ha="left", va="center", size=_SMALL)
    _arrow(ax, (6.1, 4.45), (6.1, 2.75), colour=STYLE["KL"]["color"])
    of_q = dict(size=_LARGE - 2, color=STYLE["KL"]["color"])
    ax.text(5.9, 3.3, "$\\mathrm{KL}(q\\,\\Vert\\,p)$", ha="right", va="center", **of_q)
    joint = "joint  $p_\\theta(x, z) = p_\\theta(x \\mid z)\\, p(z)$"
    evidence = "evidence  $p_\\theta(x) = \\int p_\\theta(x, z)\\, \\mathrm{d}z$"
    ax.text(9.9, 1.45, joint, ha="left", va="center", size=_LARGE - 2)
    ax.text(9.9, 0.45, evidence, ha="left", va="center", size=_LARGE - 2)
    return ax


def shapes(samples: int = 7, batch: int = 5, event: int = 3, ax: Axes | None = None) -> Axes:
    """Sample, batch and event as axes of a block, and what becomes of it: [S, B, L] -> [].

    A `log_prob` takes the event away, an average over samples the second axis, and the mean over
    the batch the last.

    Args:
        samples: S, the sheets that lie one behind the other.
        batch: B, the rows of a sheet.
        event: L, the columns of a sheet.
        ax: Axes to draw on; a new figure otherwise.

    Returns:
        The Axes, without ticks.

    Raises:
        ValueError: if a size is not a positive integer.

    Example:

    >>> texts = [text.get_text() for text in vt.course.drawings.shapes(samples=2).texts]
    >>> [text for text in texts if text.startswith("[")]
    ['[2, 5, 3]', '[2, 5]', '[5]', '[]']
    """
    sizes = {"samples": samples, "batch": batch, "event": event}
    s, b, n = (require.count(size, name) for name, size in sizes.items())
    lean = 0.22  # how far a sheet sticks out from behind the one before it
    height, width = b + lean * (s - 1), n + lean * (s - 1)
    steps = ("log_prob:\nsum over\nthe event", "mean over\nsamples", "mean over\nthe batch")
    widths = (width, 1 + lean * (s - 1), 1, 1)
    blocks = ((s, b, n), (s, b, 1), (1, b, 1), (1, 1, 1))
    labels = (f"[{s}, {b}, {n}]", f"[{s}, {b}]", f"[{b}]", "[]")
    gap, x = 2.7, 1.3
    right = x + sum(widths) + 3 * gap + 0.3
    ax = _canvas(ax, (7.4, 7.4 * (height + 2.8) / right), (0, right), (-1.9, height + 0.9))
    for i, (block, wide, label) in enumerate(zip(blocks, widths, labels, strict=True)):
        base = (b - block[1]) / 2
        _block(ax, x, base, block, lean)
        ax.text(x + wide / 2, -1.4, label, ha="center", va="center", size=_LARGE - 1)
        if i < 3:
            _arrow(ax, (x + wide + 0.25, b / 2), (x + wide + gap - 0.25, b / 2))
            above = dict(ha="center", va="bottom", size=_SMALL)
            ax.text(x + wide + gap / 2, b / 2 + 0.25, steps[i], **above)
        x += wide + gap
    ax.text(1.1, b / 2, f"batch: {b} examples", rotation=90, ha="right", va="center", size=_SMALL)
    ax.text(1.3, -0.2, f"event: {n} latents", ha="left", va="top", size=_SMALL)
    ax.text(1.3, height + 0.25, f"sample: {s} draws", ha="left", va="bottom", size=_SMALL)
    return ax


# -- strokes ---------------------------------------------------------------------------------------


def _canvas(ax, size, xlim, ylim):
    """Axes of equal scales, without frame or ticks."""
    import matplotlib.pyplot as plt

    ax = plt.subplots(figsize=size, layout="constrained")[1] if ax is None else ax
    ax.set(xlim=xlim, ylim=ylim, aspect="equal")
    ax.axis("off")
    return ax


def _polygon(ax, corners, **kwargs):
    from matplotlib.patches import Polygon

    ax.add_patch(Polygon(corners, **{"fc": _PAPER, "ec": _INK, "lw": 1.2} | kwargs))


def _named(ax, x, low, name):
    ax.text(x, low - 0.2, name, ha="center", va="top", size=_SMALL, linespacing=1.0)


def _tile(ax, left, y, width, symbol, name, **kwargs):
    """A box with a symbol in it and its name below; what is observed is grey."""
    right, half = left + width, 0.75
    _polygon(
        ax, [(left, y - half), (right, y - half), (right, y + half), (left, y + half)], **kwargs
    )
    ax.text(left + width / 2, y, symbol, ha="center", va="center", size=_LARGE)
    _named(ax, left + width / 2, y - half, name)


def _network(ax, left, y, width, halves, label):
    """A trapezium: wide where the data are, narrow where the latents are."""
    (a, b), right = halves, left + width
    _polygon(ax, [(left, y - a), (right, y - b), (right, y + b), (left, y + a)], fc="white")
    ax.text(left + width / 2, y, label, ha="center", va="center", size=_SMALL + 1)


def _circle(ax, x, y, radius, symbol, name):
    angles = np.linspace(0, 2 * np.pi, 61)
    rim = np.stack([x + radius * np.cos(angles), y + radius * np.sin(angles)], axis=-1)
    _polygon(ax, rim, fc="white")
    ax.text(x, y, symbol, ha="center", va="center", size=_LARGE)
    ax.text(x, y + radius + 0.25, name, ha="center", va="bottom", size=_SMALL, linespacing=1.0)


def _bell(ax, x, low, style, symbol, name, above=False):
    """A density in the style of its quantity, with its symbol; the one above is the narrower."""
    t = np.linspace(-1, 1, 61)
    ax.plot(x + t, low + 1.2 * np.exp(-(15 if above else 4.5) * t**2), lw=2, **STYLE[style])
    ax.plot([x - 1, x + 1], [low, low], color=_INK, lw=0.8)
    colour = STYLE[style]["color"]
    if above:
        ax.text(x, low + 1.4, symbol, ha="center", va="bottom", size=_LARGE, color=colour)
        ax.text(x, low + 2.2, name, ha="center", va="bottom", size=_SMALL, linespacing=1.0)
    else:
        ax.text(x - 1.15, low + 0.5, symbol, ha="right", va="center", size=_LARGE, color=colour)
        _named(ax, x, low, name)


def _arrow(ax, start, end, colour=_INK):
    style = dict(arrowstyle="-|>", color=colour, lw=1.3, shrinkA=0, shrinkB=0)
    ax.annotate("", end, start, arrowprops=style)


def _block(ax, x, y, sizes, lean):
    """Sheets one behind the other, the last one first."""
    from matplotlib.patches import Rectangle

    sheets, rows, columns = sizes
    for sheet in reversed(range(sheets)):
        left, low = x + lean * sheet, y + lean * sheet
        for row in range(rows):
            for column in range(columns):
                at = (left + column, low + row)
                ax.add_patch(Rectangle(at, 1, 1, fc=_PAPER, ec=_INK, lw=0.7))
