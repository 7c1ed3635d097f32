"""Figures: arrays in, Axes out. Every axis is named with its unit; no meaning in colour alone.

`STYLE` is the house style: a quantity has one colour and one kind of line in the whole course.
Matplotlib is imported by the first figure: what draws nothing does not wait for it.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from vae_tf._core import require

if TYPE_CHECKING:
    import keras
    from matplotlib.axes import Axes

__all__ = [
    "STYLE",
    "bounds",
    "contours",
    "curves",
    "images",
    "latents",
    "show",
    "terms",
    "waterfall",
]

# Okabe and Ito's palette, told apart by readers with any colour vision; styles differ as well.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_STYLES = ("-", "--", "-.", ":")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*")
STYLE: dict[str, dict[str, Any]] = {
    "log p(x)": {"color": "#000000", "linestyle": "-"},
    "ELBO": {"color": "#0072B2", "linestyle": "-"},
    "IWAE": {"color": "#007A5A", "linestyle": "-"},
    "gap": {"color": "#D55E00", "linestyle": "-"},
    "reconstruction": {"color": "#A0468A", "linestyle": "-"},
    "KL": {"color": "#8A6100", "linestyle": "-"},
    "q": {"color": "#0072B2", "linestyle": "--"},
    "posterior": {"color": "#000000", "linestyle": "-"},
    "prior": {"color": "#767676", "linestyle": "-."},
    "training": {"linestyle": "-"},
    "held-out": {"linestyle": ":"},
}
"""Quantity: keyword arguments of `Axes.plot`. The last two say whose data, on top of a colour."""
_DPI = 150
_UNLABELLED = -1  # the label of an example whose class is not known, as scikit-learn has it


def _axes(ax, **size):
    import matplotlib.pyplot as plt

    return plt.subplots(layout="constrained", **size)[1] if ax is None else ax


def show(alt: str) -> None:
    """Shows the current figure, sharp, with a text for those who cannot see it, and closes it.

    Args:
        alt: what is seen: the quantities, their order, the numbers that matter.

    Raises:
        ValueError: if there is no figure, or no text.

    Example:

    >>> ax = vt.plots.curves([1, 2], {"KL": [0.3, 36.0]}, "step", "KL [nats]")
    >>> vt.plots.show("The KL rises from 0.3 to 36 nats in one step.")  # doctest: +SKIP
    """
    import IPython
    import matplotlib.pyplot as plt
    from PIL import Image  # which Matplotlib brings

    if not isinstance(alt, str) or not alt.strip() or not plt.get_fignums():
        figures = len(plt.get_fignums())
        raise ValueError(
            "Expected `alt`, a sentence that says what the current figure shows. "
            f"Received: alt={alt!r}, {figures} open figures"
        )
    figure = plt.gcf()
    if IPython.get_ipython() is None:  # a script: in a window, where there is one
        plt.show()
        return
    with io.BytesIO() as drawn, io.BytesIO() as file:
        figure.savefig(drawn, format="png", dpi=_DPI)
        # 256 colours show no difference, and take a third of the bytes in a notebook.
        Image.open(drawn).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(
            file, format="png", optimize=True
        )
        picture = file.getvalue()
    width = round(figure.get_figwidth() * 96)  # in pixels of a page, of which an inch has 96
    plt.close(figure)
    data = {"image/png": base64.b64encode(picture).decode(), "text/plain": alt}
    IPython.display.display(data, raw=True, metadata={"image/png": {"alt": alt, "width": width}})


def waterfall(
    reconstruction: float,
    kl: float,
    log_evidence: float,
    ax: Axes | None = None,
    *,
    title: str | None = None,
) -> Axes:
    """How log p(x) is made up: down by the KL to the ELBO, up by the gap to log p(x).

        ELBO = reconstruction - KL,  log p(x) = ELBO + gap  (docs/the_elbo.md, sections 1 and 3)

    Args:
        reconstruction: E_q[log p(x|z)], nats.
        kl: KL(q(z|x) || p(z)), nats.
        log_evidence: log p(x), nats.
        ax: Axes to draw on.
        title: above the figure.

    Returns:
        The Axes, its only scale in nats.

    Raises:
        ValueError: if one is not a finite number.

    Example:

    >>> ax = vt.plots.waterfall(reconstruction=-150.0, kl=5.0, log_evidence=-152.5)
    >>> [text.get_text() for text in ax.texts][-2]
    '+2.50'
    """
    given = {"reconstruction": reconstruction, "kl": kl, "log_evidence": log_evidence}
    numbers = {name: np.asarray(value, "float64") for name, value in given.items()}
    if not all(number.size == 1 and np.isfinite(number).all() for number in numbers.values()):
        raise ValueError(f"Expected three finite numbers, in nats. Received: {given}")
    top, kl, log_p = (float(number.reshape(())) for number in numbers.values())
    elbo = top - kl
    ax = _axes(ax, figsize=(6.4, 3.2))
    # A level is a line: only a difference has a length that means something, and gets a bar.
    for i, (name, level) in {
        0: ("reconstruction", top),
        2: ("ELBO", elbo),
        4: ("log p(x)", log_p),
    }.items():
        ax.plot([i - 0.4, i + 0.4], [level, level], lw=4, solid_capstyle="butt", **STYLE[name])
        ax.plot([i - 1.3, i + 1.3], [level, level], color="0.45", lw=0.8, ls=":")
    for i, (name, end) in {1: ("KL", top), 3: ("gap", log_p)}.items():
        colour = STYLE[name]["color"]
        ax.bar(i, end - elbo, bottom=elbo, width=0.6, color=colour, hatch="//", ec="white", lw=0)
    spread = max(top, log_p) - min(elbo, log_p) or 1.0
    digits = max(1, 2 - int(np.floor(np.log10(spread))))
    highest = top, top, elbo, max(elbo, log_p), log_p
    values = top, -kl, elbo, log_p - elbo, log_p
    for i, (at, value) in enumerate(zip(highest, values, strict=True)):
        sign = "+" if i == 3 else ""
        value = round(value, digits) + 0.0  # no minus before a zero
        label = f"{value:{sign}.{digits}f}".replace("-", "\N{MINUS SIGN}")
        ax.annotate(label, (i, at), (0, 5), textcoords="offset points", ha="center", va="bottom")
    ax.set_xticks(range(5), ["reconstruction", "\N{MINUS SIGN} KL", "ELBO", "+ gap", "log p(x)"])
    ax.tick_params(axis="x", length=0)
    ax.set(xlim=(-0.6, 4.6), ylabel="[nats]", title=title or "")
    ax.set_ylim(min(elbo, log_p) - 0.1 * spread, max(top, log_p) + 0.18 * spread)
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def curves(
    x: Any, lines: Mapping[str, Any], xlabel: str, ylabel: str, ax: Axes | None = None
) -> Axes:
    """Lines over a common axis.

    Args:
        x: shape [N].
        lines: {label: values of shape [N]}.
        xlabel: with its unit.
        ylabel: with its unit.
        ax: Axes to draw on; a new figure otherwise.

    Returns:
        The Axes.

    Example:

    >>> betas = [0.5, 1.0, 2.0]
    >>> ax = vt.plots.curves(betas, {"KL": [9.1, 5.2, 2.4]}, "beta", "nats per example")
    >>> ax.get_xlabel()
    'beta'
    """
    ax = _axes(ax, figsize=(6, 3.5))
    for i, (label, values) in enumerate(lines.items()):
        colour, style = _COLOURS[i % len(_COLOURS)], _STYLES[i % len(_STYLES)]
        ax.plot(x, np.asarray(values), style, color=colour, label=label)
    ax.set(xlabel=xlabel, ylabel=ylabel)
    if len(lines) > 1:
        ax.legend()
    return ax


def terms(
    history: keras.callbacks.History | Mapping[str, Sequence[float]],
    ax: Axes | None = None,
    *,
    validation_freq: int | Sequence[int] | None = None,
) -> Axes:
    """The ELBO and its two terms through training.

        ELBO = reconstruction - KL                             (docs/the_elbo.md, section 1)

    Args:
        history: what `fit` returns, or its dict `history`: `elbo`, `reconstruction`, `kl`, and
            with validation data `val_elbo` and so on.
        ax: Axes to draw on.
        validation_freq: as `fit` had it, where it was given one: how many epochs lie between two
            validations, or the numbers of the epochs that end in one, from 1. A number that leaves
            no doubt is found from the lengths.

    Returns:
        The Axes; epochs against nats per example.

    Raises:
        ValueError: if one of the three is missing, or it is unclear which epochs were validated.

    Example:

    >>> history = {"elbo": [-9.0, -7.0], "reconstruction": [-8.0, -5.0], "kl": [1.0, 2.0]}
    >>> vt.plots.terms(history | {"val_elbo": [-7.5]}).get_ylabel()
    'nats per example'
    """
    history = _history(history)
    ax = _axes(ax, figsize=(6, 3.5))
    epochs = np.arange(1, len(history["elbo"]) + 1)
    quantities = {"elbo": "ELBO", "reconstruction": "reconstruction", "kl": "KL"}
    for marker, (name, quantity) in zip(_MARKERS, quantities.items(), strict=False):
        style = STYLE[quantity] | STYLE["training"]
        ax.plot(epochs, history[name], marker=marker, ms=3, label=name, **style)
        if f"val_{name}" in history:
            held_out = history[f"val_{name}"]
            at = _validated(len(epochs), len(held_out), validation_freq)
            ax.plot(at, held_out, label=f"val_{name}", **STYLE[quantity] | STYLE["held-out"])
    ax.set(xlabel="epoch", ylabel="nats per example")
    ax.legend(fontsize="small")
    return ax


def _history(history):
    """The dict of what `fit` returns, with the three terms in it."""
    history = getattr(history, "history", history)
    missing = [name for name in ("elbo", "reconstruction", "kl") if name not in history]
    if missing:
        raise ValueError(
            "Expected `history` of the fit of a VAE, with elbo, reconstruction and kl. "
            f"Received: one without {', '.join(missing)}; it has {sorted(history)}"
        )
    return history


def _validated(epochs, count, freq):
    """The numbers of the epochs, from 1, that ended in a validation: [count]."""
    if isinstance(freq, (list, tuple, set, range, np.ndarray)):
        at = [epoch for epoch in sorted(freq) if epoch <= epochs]
    else:
        freqs = range(1, epochs + 1) if freq is None else [require.count(freq, "validation_freq")]
        fitting = [freq for freq in freqs if epochs // freq == count]
        at = fitting[0] * np.arange(1, count + 1) if len(fitting) == 1 else []
    if len(at) != count:
        raise ValueError(
            "Expected `validation_freq` as `fit` had it, which says after which epochs there was "
            f"a validation. Received: validation_freq={freq!r}, {epochs} epochs, "
            f"{count} validations"
        )
    return at


def bounds(
    elbo: Any,
    log_evidence: Any,
    k_sample: Any | None = None,
    k: int | None = None,
    ax: Axes | None = None,
) -> Axes:
    """ELBO <= K-sample bound <= log p(x), example by example, in order of log p(x).

    Args:
        elbo: shape [B], nats.
        log_evidence: log p(x), shape [B], nats.
        k_sample: the K-sample bound, shape [B], if there is one.
        k: K, for the legend.
        ax: Axes to draw on.

    Returns:
        The Axes.

    Raises:
        ValueError: if they are not of the same length.

    Example:

    >>> ax = vt.plots.bounds(elbo=[-3.0, -5.0], log_evidence=[-2.5, -4.0])
    >>> ax.lines[0].get_ydata().tolist()
    [-4.0, -2.5]
    """
    _same_length(
        {"elbo": elbo, "log_evidence": log_evidence}
        | ({} if k_sample is None else {"k_sample": k_sample})
    )
    ax = _axes(ax, figsize=(7, 3.8))
    order = np.argsort(np.asarray(log_evidence))
    ranks = np.arange(len(order))
    ax.plot(ranks, np.asarray(log_evidence)[order], label="log p(x)", **STYLE["log p(x)"])
    if k_sample is not None:
        label = "K-sample bound" if k is None else f"{k}-sample bound"
        marks = np.asarray(k_sample)[order]
        ax.plot(ranks, marks, "x", color=STYLE["IWAE"]["color"], ms=4, label=label)
    ax.plot(ranks, np.asarray(elbo)[order], "o", color=STYLE["ELBO"]["color"], ms=3, label="ELBO")
    ax.set(xlabel="example, in order of log p(x)", ylabel="nats per example")
    ax.legend()
    return ax


def _same_length(named):
    """The longer one would be cut, without a word."""
    shapes = {name: np.shape(values) for name, values in named.items()}
    if len(set(shapes.values())) > 1 or len(next(iter(shapes.values()))) != 1:
        names = ", ".join(f"`{name}`" for name in shapes)
        received = ", ".join(str(list(shape)) for shape in shapes.values())
        raise ValueError(f"Expected {names} of one shape [N]. Received: shapes {received}")


def images(x: Any, columns: int = 10, ax: Axes | None = None, title: str | None = None) -> Axes:
    """A mosaic of images, row by row: grey ones black on white, or in colour.

    Args:
        x: grey levels, shape [N, height, width] or [N, height, width, 1], or red, green and blue,
            shape [N, height, width, 3]. Numbers from 0 to 1 (what lies outside is drawn as the
            nearer end), or, of type uint8 and if any is above 1, from 0 to 255.
        columns: images in a row.
        ax: Axes to draw on.
        title: above the mosaic.

    Returns:
        The Axes, without ticks.

    Raises:
        ValueError: if `x` is not of this form.

    Example:

    >>> ax = vt.plots.images(np.eye(8).reshape(1, 8, 8), columns=1)
    >>> ax.images[0].get_array().shape  # with a frame of one pixel
    (10, 10)
    """
    x, columns = _pixels(x), require.count(columns, "columns")
    rows = -(-len(x) // columns)
    ax = _axes(ax, figsize=(0.7 * columns, 0.7 * rows + (0.3 if title else 0)))
    height, width, channels = np.add(x.shape[1:], (2, 2, 0))
    white = 0.0 if channels == 1 else 1.0  # grey levels are ink, colours are light
    canvas = np.full((rows * columns, height, width, channels), white)
    canvas[: len(x), 1:-1, 1:-1] = x
    mosaic = canvas.reshape(rows, columns, height, width, channels).swapaxes(1, 2)
    mosaic = mosaic.reshape(rows * height, columns * width, channels)
    ax.imshow(mosaic[..., 0] if channels == 1 else mosaic, cmap="gray_r", vmin=0, vmax=1)
    ax.set(xticks=[], yticks=[], title=title or "")
    return ax


def _pixels(x):
    """Images as [N, height, width, 1 or 3], each number from 0 to 1."""
    x = np.asarray(x)
    x = x[..., None] if x.ndim == 3 else x
    if x.ndim != 4 or x.shape[-1] not in (1, 3) or not x.size:
        raise ValueError(
            "Expected images `x` of shape [N, height, width], or with 1 or 3 channels last, "
            f"N >= 1. Received: shape {list(np.shape(x))}"
        )
    if x.dtype == np.uint8 and x.max() > 1:
        return x / 255.0
    if x.dtype.kind in "iu" and (x.min() < 0 or x.max() > 1):
        raise ValueError(
            "Expected `x` from 0 to 1, or of type uint8 from 0 to 255. "
            f"Received: {x.dtype} from {x.min()} to {x.max()}"
        )
    return np.clip(x.astype("float64"), 0.0, 1.0)


def latents(
    z: Any,
    labels: Any,
    names: Sequence[str] | Mapping[int, str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Two latents of every example, each class with its own marker and colour.

    Args:
        z: shape [B, 2].
        labels: integers, shape [B]; -1 marks an example whose class is not known, drawn in grey.
        names: of the classes: `names[label]` is a str.
        ax: Axes to draw on.

    Returns:
        The Axes.

    Raises:
        ValueError: if `z` has not two latents, or a label has no name.

    Example:

    >>> z, labels = np.array([[0.0, 1.0], [2.0, 3.0], [1.0, 1.0]]), [0, 1, -1]
    >>> legend = vt.plots.latents(z, labels, names=("cat", "dog")).get_legend()
    >>> [text.get_text() for text in legend.get_texts()]
    ['unlabelled', 'cat', 'dog']
    """
    z, labels = _plane(z, labels)
    classes = {label: _name(label, names) for label in np.unique(labels).tolist()}
    import matplotlib

    ax = _axes(ax, figsize=(5.5, 4.5))
    colours = matplotlib.colormaps["tab10"]
    known = [label for label in classes if label != _UNLABELLED]
    for label, name in classes.items():
        colour: Any = "0.75"
        marker = "."
        if label != _UNLABELLED:
            i = known.index(label)
            colour, marker = colours(i % 10), _MARKERS[i % len(_MARKERS)]
        first, second = z[labels == label].T
        ax.scatter(first, second, s=12, marker=marker, color=colour, lw=0, label=name)
    ax.set(xlabel="$z_1$", ylabel="$z_2$", aspect="equal")
    ax.legend(fontsize="small", markerscale=1.5, loc="center left", bbox_to_anchor=(1, 0.5))
    return ax


def _plane(z, labels):
    """z as [B, 2] and its labels as [B], integers."""
    z, labels = np.asarray(z), np.asarray(labels)
    if z.ndim != 2 or z.shape[1] != 2 or labels.shape != z.shape[:1]:
        raise ValueError(
            "Expected two latents `z` of shape [B, 2], such as z[:, :2], and `labels` of shape "
            f"[B]. Received: shapes {list(z.shape)} and {list(labels.shape)}"
        )
    if labels.dtype.kind not in "iub":
        raise ValueError(f"Expected `labels` to be integers. Received: {labels.dtype}")
    return z, labels.astype(int)


def _name(label, names):
    """The name of a class. Python would take the last name for a label of -1, and say nothing."""
    if label == _UNLABELLED:
        return "unlabelled"
    if names is None:
        return str(label)
    if isinstance(names, Mapping) and label in names:
        return names[label]
    if not isinstance(names, Mapping) and 0 <= label < len(names):
        return names[label]
    raise ValueError(
        f"Expected `names` to have a name for each label. Received: label {label}, names={names!r}"
    )


def contours(
    z_1: Any,
    z_2: Any,
    log_densities: Mapping[str, Any],
    ax: Axes | None = None,
) -> Axes:
    """Contours of densities over two latents, at 0.5, 1, 2 and 3 standard deviations of a Normal.

    Args:
        z_1: shape [N].
        z_2: shape [M].
        log_densities: {label: log-density up to a constant, shape [N, M], first axis z_1}.
        ax: Axes to draw on.

    Returns:
        The Axes.

    Raises:
        ValueError: if a log-density has not the shape [N, M].

    Example:

    >>> z = np.linspace(-3, 3, 50)
    >>> normal = -0.5 * np.add.outer(z**2, z**2)
    >>> vt.plots.contours(z, z, {"p(z)": normal}).get_xlabel()
    '$z_1$'
    """
    for label, values in log_densities.items():
        if np.shape(values) != (len(z_1), len(z_2)):
            raise ValueError(
                f"Expected log_densities[{label!r}] of shape [{len(z_1)}, {len(z_2)}], first axis "
                f"z_1. Received: shape {list(np.shape(values))}"
            )
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
