"""How much of a gradient is signal: its mean over the samples of z, against its noise.

    SNR = |E g| / sd g   of one parameter,      ||E g|| / sqrt(tr Cov g)   of a group of them

A tighter bound can have a worse gradient: for the encoder, the signal-to-noise ratio of the
K-sample bound falls as 1/sqrt(K) (Rainforth et al. 2018). `gradient_snr` measures it for the parts
of a VAE, `signal_to_noise` for any function that draws a gradient.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np
import tensorflow as tf
from tqdm.auto import tqdm

from vae_tf import elbo
from vae_tf._core import require
from vae_tf._core.models import LatentModel, as_condition
from vae_tf._core.random import split
from vae_tf.diagnostics.scalar import Scalar
from vae_tf.objectives.base import Objective

__all__ = ["GradientSNR", "SignalToNoise", "gradient_snr", "signal_to_noise"]

_PARTS = 20  # that the replicates are divided into for the standard error


class _Trained(Protocol):
    """A network, or a prior: something with weights to train."""

    @property
    def trainable_variables(self) -> list: ...


class TrainableModel(LatentModel, Protocol):
    """A `LatentModel` that says which weights belong to which of its parts, as a `vt.VAE` does."""

    @property
    def encoder(self) -> _Trained: ...

    @property
    def decoder(self) -> _Trained: ...

    @property
    def prior_layer(self) -> _Trained: ...


@dataclasses.dataclass(frozen=True, eq=False)
class SignalToNoise(Scalar):
    """What is known of the gradient into a group of parameters; `numpy.asarray` is the SNR.

    `snr`, ||E g|| / sqrt(tr Cov g), is another name for `estimate`.
    """

    signal: float  # ||E g||, corrected as the ratio is
    noise: float  # sqrt(tr Cov g)
    mean: tuple  # E g of each variable: arrays of its shape, float64
    deviation: tuple  # sd g, the same
    parameters: tuple  # |E g| / sd g, the same; not corrected

    @property
    def snr(self) -> float:
        """`estimate`."""
        return self.estimate


class GradientSNR(NamedTuple):
    """A `SignalToNoise` for each part of the model; None if it has nothing to train."""

    encoder: SignalToNoise | None
    decoder: SignalToNoise | None
    prior: SignalToNoise | None


def gradient_snr(
    model: TrainableModel,
    x: Any,
    objective: Objective,
    num_replicates: int = 1000,
    *,
    condition: Any = None,
    seed: Any = None,
    progress: bool = False,
) -> GradientSNR:
    """The signal-to-noise ratio of the gradient of mean_B objective (Rainforth et al. 2018).

        SNR = ||E g|| / sqrt(tr Cov g),   g = d/d(parameters) 1/B sum_b objective(x_b, z)

    The examples are fixed, and z is drawn anew for each replicate. Networks run as when they are
    evaluated (no dropout). See `signal_to_noise` for what is corrected, and how the error is found.

    Args:
        model: a `vt.VAE`, or any model with `encoder`, `decoder` and `prior_layer`, each with its
            `trainable_variables`. The objective that it is trained with is not used.
        x: data, shape [B, *event].
        objective: a `vt.objectives.Objective`, such as `vt.objectives.IWAE(64, gradient="dreg")`.
        num_replicates: R, how many gradients are drawn, at least three.
        condition: of a conditional model: an array [B, ...] or a tuple of them.
        seed: an integer for the same numbers each time.
        progress: show a progress bar.

    Returns:
        `GradientSNR(encoder, decoder, prior)`.

    Raises:
        TypeError: if `model` has not these parts, or `objective` is no `vt.objectives.Objective`.
        ValueError: if `num_replicates` is below three, `x` is outside the support, or `condition`
            has not B rows.

    Example:

    >>> encoder = vt.networks.mlp(3, vt.layers.NormalDiag(2), hidden=(4,))
    >>> vae = vt.VAE(encoder, vt.networks.mlp(2, vt.layers.Normal(3), hidden=(4,)), seed=0)
    >>> x = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")
    >>> found = vt.diagnostics.gradient_snr(vae, x, vt.objectives.IWAE(8), 100, seed=0)
    >>> found.encoder.snr > 0, found.prior is None  # this prior has nothing to train
    (True, True)
    """
    groups = _groups(model)
    if not isinstance(objective, Objective):
        raise TypeError(
            "Expected `objective` to be a vt.objectives.Objective, such as "
            f"vt.objectives.ELBO(). Received: {objective!r}"
        )
    objective.attach(model.prior.event_shape[0])
    x = tf.convert_to_tensor(require.examples(x))
    condition = as_condition(condition, len(x))
    elbo.forward(model, x, condition=condition, seed=0)  # in a graph nothing could be refused

    def gradients(seed):
        with tf.GradientTape() as tape:
            one_pass = elbo.forward(
                model,
                x,
                objective.num_samples,
                condition=condition,
                seed=seed,
                gate=objective.gate,
                training=False,
            )
            mean = tf.reduce_mean(objective(one_pass))
        return tape.gradient(mean, groups, unconnected_gradients="zero")

    found = signal_to_noise(gradients, num_replicates, seed=seed, progress=progress)
    return GradientSNR(*(found.get(name) for name in GradientSNR._fields))


def _groups(model):
    """{name of a part: its trainable variables}, without empty parts."""
    for name in ("encoder", "decoder", "prior_layer"):
        if not hasattr(getattr(model, name, None), "trainable_variables"):
            raise TypeError(
                "Expected `model` to be a vt.VAE, or to have `encoder`, `decoder` and "
                "`prior_layer`, each with `trainable_variables`. "
                f"Received: a {type(model).__name__} without `{name}` of this kind"
            )
    encoder = model.encoder.trainable_variables
    shared = {id(variable) for variable in encoder}  # a VampPrior holds the encoder
    prior = [v for v in model.prior_layer.trainable_variables if id(v) not in shared]
    groups = {"encoder": encoder, "decoder": model.decoder.trainable_variables, "prior": prior}
    return {name: [v.value for v in variables] for name, variables in groups.items() if variables}


def signal_to_noise(
    gradients: Callable[[tf.Tensor], dict[str, list]],
    num_replicates: int,
    *,
    seed: Any = None,
    progress: bool = False,
) -> dict[str, SignalToNoise]:
    """The signal-to-noise ratio of random gradients, one number for each group of them.

        SNR^2 = ( ||m||^2 - tr C / R ) / tr C,   m and C the mean and covariance of R gradients

    The mean of R gradients has noise of its own, and without the second term SNR would never be
    seen below 1/sqrt(R). With it the numerator is an unbiased estimate of ||E g||^2; where it is
    negative the SNR is zero. The standard error is by the jackknife over 20 parts of the
    replicates, of SNR^2, and carried over to the SNR, to the side where it is larger. The ratios
    of the single parameters are not corrected: where the mean is zero they show about 1/sqrt(R).

    One program runs all replicates and keeps running moments, so that memory does not grow with
    their number.

    Args:
        gradients: maps a seed (int32, shape [2]) to {name: [a tensor for each variable]}. It is
            compiled to a graph.
        num_replicates: R, at least three.
        seed: an integer for the same numbers each time.
        progress: show a progress bar.

    Returns:
        {name: `SignalToNoise`}. Ratios are infinite where there is no noise, NaN where there is
        no gradient at all.

    Raises:
        ValueError: if `num_replicates` is below three.
    """
    if require.count(num_replicates, "num_replicates") < 3:
        raise ValueError(
            "Expected `num_replicates` of at least 3, for a spread and its error. "
            f"Received: num_replicates={num_replicates}"
        )
    program = _compiled(gradients)
    counts = [len(part) for part in np.array_split(range(num_replicates), _PARTS) if len(part)]
    seeds = split(seed, len(counts))
    bar = tqdm(list(zip(seeds, counts, strict=True)), disable=not progress)
    parts = [program(seed, tf.constant(count)) for seed, count in bar]
    return {name: _summary(counts, [part[name] for part in parts]) for name in parts[0]}


def _compiled(gradients):
    """A program that gives (mean, squares) of `count` gradients: {name: ([...], [...])}."""
    specification = tf.TensorSpec([2], tf.int32)
    draw = tf.function(gradients, autograph=False).get_concrete_function(specification)
    zeros = {
        name: [tf.zeros(tensor.shape, tf.float64) for tensor in tensors]
        for name, tensors in draw.structured_outputs.items()
    }

    @tf.function(autograph=False)
    def program(seed, count):
        def step(i, seed, moments):
            own, following = tf.unstack(split(seed, 2))
            gradient = draw(own)
            added = {name: _add(i, moments[name], gradient[name]) for name in moments}
            return i + 1, following, added

        start = {name: (empty, empty) for name, empty in zeros.items()}
        return tf.while_loop(lambda i, *_: i < count, step, (0, seed, start))[-1]

    return program


def _add(i, moments, gradient):
    """The means and the sums of squared deviations of i + 1 gradients from those of i (Welford)."""
    new_mean, new_squares = [], []
    for mean, squares, g in zip(*moments, gradient, strict=True):
        g = tf.cast(g, tf.float64)
        new_mean.append(mean + (g - mean) / tf.cast(i + 1, tf.float64))
        new_squares.append(squares + (g - mean) * (g - new_mean[-1]))
    return new_mean, new_squares


def _summary(counts, parts):
    """A `SignalToNoise` from the moments of the parts of the replicates."""
    counts, shapes = np.array(counts, "float64"), [mean.shape for mean in parts[0][0]]
    means, squares = (np.stack([_flat(part[i]) for part in parts]) for i in (0, 1))  # [G, P]
    signal, noise = _squared(counts, means, squares.sum(1))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = signal / noise  # SNR^2
        error = _jackknife(counts, means, squares.sum(1))
        snr = np.sqrt(np.maximum(ratio, 0.0))
        mean = counts @ means / counts.sum()
        total = squares.sum(0) + counts @ (means - mean) ** 2
        deviation = np.sqrt(total / (counts.sum() - 1))
        each = np.abs(mean) / deviation
    return SignalToNoise(
        float(snr),
        float(_error_of_root(snr**2, error)),
        float(np.sqrt(np.maximum(signal, 0.0))),
        float(np.sqrt(noise)),
        *(_unflat(values, shapes) for values in (mean, deviation, each)),
    )


def _flat(tensors):
    return np.concatenate([np.ravel(tensor) for tensor in tensors])


def _unflat(values, shapes):
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes])
    pieces = np.split(values, ends[:-1])
    return tuple(piece.reshape(shape) for piece, shape in zip(pieces, shapes, strict=True))


def _squared(counts, means, squares):
    """||E g||^2 without bias, and tr Cov g, from the parts' counts [G], means [G, P], squares [G].

    `squares` are the squared deviations from each part's own mean, summed over the parameters.
    """
    total = counts.sum()
    mean = counts @ means / total
    between = counts @ ((means - mean) ** 2).sum(1)
    noise = (squares.sum() + between) / (total - 1)
    return mean @ mean - noise / total, noise


def _error_of_root(square, error):
    """The larger of the two sides of sqrt(square +- error)."""
    low, middle, high = np.sqrt(np.maximum([square - error, square, square + error], 0.0))
    return max(high - middle, middle - low)


def _jackknife(counts, means, squares):
    """The standard error of SNR^2, from its values without one part each."""
    parts = len(counts)
    without = [
        np.divide(*_squared(*(np.delete(v, i, axis=0) for v in (counts, means, squares))))
        for i in range(parts)
    ]
    return np.sqrt((parts - 1) * np.var(without))
