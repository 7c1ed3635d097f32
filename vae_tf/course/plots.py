"""Figures: arrays in, Axes out. Every axis is named with its unit; no meaning in colour alone."""

import matplotlib.pyplot as plt
import numpy as np

__all__ = ["bounds", "contours", "curves", "images", "latents", "terms"]

# Okabe and Ito's palette, told apart by readers with any colour vision; styles differ as well.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_STYLES = ("-", "--", "-.", ":")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*")


def _axes(ax, **size):
    return plt.subplots(layout="constrained", **size)[1] if ax is None else ax


def curves(x, lines, xlabel, ylabel, ax=None):
    """Lines over a common axis.

    Args:
        x: shape [N].
        lines: {label: values of shape [N]}.
        xlabel: with its unit.
        ylabel: with its unit.
        ax: Axes to draw on; a new figure otherwise.

    Returns:
        The Axes.
    """
    ax = _axes(ax, figsize=(6, 3.5))
    for i, (label, values) in enumerate(lines.items()):
        colour, style = _COLOURS[i % len(_COLOURS)], _STYLES[i % len(_STYLES)]
        ax.plot(x, np.asarray(values), style, color=colour, label=label)
    ax.set(xlabel=xlabel, ylabel=ylabel)
    if len(lines) > 1:
        ax.legend()
    return ax


def terms(history, ax=None):
    """The ELBO and its two terms through training.

    Args:
        history: the `history` dict of `fit`: `elbo`, `reconstruction`, `kl`, and with validation
            data `val_elbo` and so on.
        ax: Axes to draw on.

    Returns:
        The Axes; epochs against nats per example.
    """
    ax = _axes(ax, figsize=(6, 3.5))
    epochs = np.arange(1, len(history["elbo"]) + 1)
    for i, name in enumerate(("elbo", "reconstruction", "kl")):
        ax.plot(epochs, history[name], color=_COLOURS[i], marker=_MARKERS[i], ms=3, label=name)
        if f"val_{name}" in history:
            ax.plot(epochs, history[f"val_{name}"], "--", color=_COLOURS[i], label=f"val_{name}")
    ax.set(xlabel="epoch", ylabel="nats per example")
    ax.legend(fontsize="small")
    return ax


def bounds(elbo, log_evidence, k_sample=None, k=None, ax=None):
    """ELBO <= K-sample bound <= log p(x), example by example, in order of log p(x).

    Args:
        elbo: shape [B], nats.
        log_evidence: log p(x), shape [B], nats.
        k_sample: the K-sample bound, shape [B], if there is one.
        k: K, for the legend.
        ax: Axes to draw on.

    Returns:
        The Axes.
    """
    ax = _axes(ax, figsize=(7, 3.8))
    order = np.argsort(np.asarray(log_evidence))
    ranks = np.arange(len(order))
    ax.plot(ranks, np.asarray(log_evidence)[order], color=_COLOURS[6], lw=1.5, label="log p(x)")
    if k_sample is not None:
        label = "K-sample bound" if k is None else f"{k}-sample bound"
        marks = np.asarray(k_sample)[order]
        ax.plot(ranks, marks, "x", color=_COLOURS[2], ms=4, label=label)
    ax.plot(ranks, np.asarray(elbo)[order], "o", color=_COLOURS[0], ms=3, label="ELBO")
    ax.set(xlabel="example, in order of log p(x)", ylabel="nats per example")
    ax.legend()
    return ax


def images(x, columns=10, ax=None, title=None):
    """A mosaic of images, black on white, row by row.

    Args:
        x: shape [N, height, width].
        columns: images in a row.
        ax: Axes to draw on.
        title: above the mosaic.

    Returns:
        The Axes, without ticks.
    """
    x = np.asarray(x)
    rows = -(-len(x) // columns)
    ax = _axes(ax, figsize=(0.7 * columns, 0.7 * rows + (0.3 if title else 0)))
    canvas = np.zeros((rows * columns, *np.add(x.shape[1:], 2)))  # a frame of one empty pixel
    canvas[: len(x), 1:-1, 1:-1] = x
    _, height, width = canvas.shape
    mosaic = canvas.reshape(rows, columns, height, width).swapaxes(1, 2)
    ax.imshow(mosaic.reshape(rows * height, columns * width), cmap="gray_r", vmin=0, vmax=1)
    ax.set(xticks=[], yticks=[], title=title or "")
    return ax


def latents(z, labels, names=None, ax=None):
    """Two latents of every example, each class with its own marker and colour.

    Args:
        z: shape [B, 2].
        labels: integers, shape [B].
        names: of the classes.
        ax: Axes to draw on.

    Returns:
        The Axes.
    """
    z, labels = np.asarray(z), np.asarray(labels)
    ax = _axes(ax, figsize=(5.5, 4.5))
    for i, label in enumerate(np.unique(labels)):
        name = str(label) if names is None else names[label]
        colour = plt.get_cmap("tab10")(i % 10)
        marker = _MARKERS[i % len(_MARKERS)]
        ax.scatter(*z[labels == label].T, s=12, marker=marker, color=colour, lw=0, label=name)
    ax.set(xlabel="$z_1$", ylabel="$z_2$", aspect="equal")
    ax.legend(fontsize="small", markerscale=1.5, loc="center left", bbox_to_anchor=(1, 0.5))
    return ax


def contours(z_1, z_2, log_densities, ax=None):
    """Contours of densities over two latents, at 0.5, 1, 2 and 3 standard deviations of a Normal.

    Args:
        z_1: shape [N].
        z_2: shape [M].
        log_densities: {label: log-density up to a constant, shape [N, M], first axis z_1}.
        ax: Axes to draw on.

    Returns:
        The Axes.
    """
    ax = _axes(ax, figsize=(5, 4.5))
    drops = [-0.5 * sigma**2 for sigma in (3, 2, 1, 0.5)]
    for i, (label, values) in enumerate(log_densities.items()):
        values = np.asarray(values).T
        style, colour = _STYLES[i % len(_STYLES)], _COLOURS[i % len(_COLOURS)]
        ax.contour(z_1, z_2, values - values.max(), drops, colors=colour, linestyles=style)
        ax.plot([], [], style, color=colour, label=label)  # contours have no legend entry
    ax.set(xlabel="$z_1$", ylabel="$z_2$", aspect="equal")
    ax.legend()
    return ax
