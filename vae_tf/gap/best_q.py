"""The best q of a family for each x by itself: q* = argmax_q ELBO(q; x), no encoder between.

All examples are searched at once, a row of parameters for each, in one compiled program. The
gradient is that of Roeder, Wu and Duvenaud (2017), whose noise vanishes as q nears p(z|x).
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
from tqdm.auto import tqdm

from vae_tf._core.random import split
from vae_tf.elbo import log_joint
from vae_tf.layers import NormalDiag, NormalTriL
from vae_tf.layers.base import raw_from
from vae_tf.layers.flows import CouplingFlow, FlowedNormal
from vae_tf.linear import LinearGaussian

tfd = tfp.distributions

__all__ = ["FAMILIES", "BestQ", "Compiled", "Search", "layer_of", "log_weights", "push"]

FAMILIES = {"diag": NormalDiag, "tril": NormalTriL, "flow": CouplingFlow}

_STEPS = 100  # in a round, after which the examples are scored
_SAMPLES = 2  # at each step, z and its mirror image
_PAIRS = 16  # by which they are scored, the same ones after each round
_RATES = (0.1, 0.03, 0.01, 0.003)  # of Adam, in standard deviations of the first q
_FINER_RATES = (*_RATES, 0.001, 0.0003, 0.0001)  # where there is no noise
_MOMENTUM, _MEMORY = 0.9, 0.99  # of Adam
_RECENT = 2  # how much more the later steps weigh in the average: 0 is a plain mean
_WEIGHT_STEP = 0.3  # of a flow's weights, which act together, against one of its loc and scale
_MOMENT_SAMPLES = 1000  # for the mean and the scale of a first q without closed forms


class BestQ(NamedTuple):
    """What a search found."""

    params: tf.Tensor  # [B, P]: one row of the family's layer for each example
    change: np.ndarray  # [B], nats: by how much one of the last two rounds still moved the ELBO
    steps: int  # how many steps were taken


def layer_of(family, q_z):
    """The layer of a family, "diag", "tril" or "flow", for latents like those of `q_z`."""
    if family not in FAMILIES:
        raise ValueError(f"Expected `family` to be one of {list(FAMILIES)}. Received: {family!r}")
    dtype = q_z.dtype.name
    if family == "flow" and isinstance(q_z, FlowedNormal):
        return CouplingFlow(**q_z.layer_config, dtype=dtype)
    return FAMILIES[family](q_z.event_shape[0], dtype=dtype)


def push(q, noise):
    """Samples of q from standard normal noise: [S, B, L] -> [S, B, L]."""
    if isinstance(q, tfd.TransformedDistribution):  # of NormalTriL and CouplingFlow
        return q.bijector.forward(noise)
    return q.mean() + q.stddev() * noise


def log_weights(model, x, q, z):
    """log p(x, z) - log q(z), shape [S, B], nats; the mean over samples of q is its ELBO."""
    return log_joint(model, x, z) - q.log_prob(z)


class _State(NamedTuple):
    """Where Adam stands at one rate."""

    params: tf.Tensor  # [B, P]
    mean: tf.Tensor  # of the gradients, [B, P]
    square: tf.Tensor  # of the gradients, [B, P]
    average: tf.Tensor  # of the params, [B, P]
    count: tf.Tensor  # of the steps, []


def _begin(params):
    zeros = tf.zeros_like(params)
    return _State(params, zeros, zeros, params, tf.zeros([], params.dtype))


class Compiled:
    """A function of tensors compiled by XLA, or as a plain graph where XLA cannot."""

    def __init__(self, function):
        self._function = function
        self._compiled = tf.function(function, jit_compile=True, autograph=False)

    def __call__(self, *args):
        try:
            return self._call(*args)
        except (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError):
            self._compiled = tf.function(self._function, autograph=False)
            return self._call(*args)

    def _call(self, *args):
        # Called directly, TensorFlow would warn of every fifth program that is meant to be new.
        return self._compiled.get_concrete_function(*args)(*args)


class Search:
    """The search for q*, compiled once for a model, a family and a shape of x.

    Args:
        model: a `vt.linear.LinearGaussian`, whose ELBO of a Gaussian needs no samples, or anything
            with `prior` and `decode(z)`.
        layer: the family, as `layer_of` gives it.
    """

    def __init__(self, model, layer):
        self._model, self._layer, self._data = model, layer, None
        self.exact = isinstance(model, LinearGaussian) and not isinstance(layer, CouplingFlow)
        self._compile()

    def _compile(self):
        self._run, self._judge = Compiled(self._round), Compiled(self._score)

    def __call__(self, x, q_z, *, tolerance=0.01, max_steps=5000, seed=None, progress=False):
        """q* of each example.

        Adam begins with steps of a tenth of a standard deviation. After each round of 100 steps
        the average of its iterates is scored, by samples that never change, and each example takes
        it unless it is clearly worse than what it had. Where two rounds gain less than
        `tolerance` each, on average, the rate falls; after the last rate the search ends.

        Args:
            x: data, shape [B, *event], in the support of the likelihood.
            q_z: where to start: batch [B], event [L].
            tolerance: nats.
            max_steps: no more steps than these, in whole rounds.
            seed: an integer for the same numbers each time.
            progress: show a progress bar.

        Returns:
            A `BestQ`.
        """
        rounds = max(1, -(-max_steps // _STEPS))
        start_seed, score_seed, *seeds = tf.unstack(tf.stack(split(seed, 2 + rounds)))
        first, unit = first_params(self._layer, q_z, start_seed)
        x = self._take(x)
        best, state, rates = first, _begin(first), list(_FINER_RATES if self.exact else _RATES)
        scores = self._judge(best, x, score_seed).numpy()
        gains, here = [], []  # of all rounds, and on average of those at this rate
        for seed in tqdm(seeds, disable=not progress):
            state = self._run(*state, x, seed, tf.cast(rates[0], unit.dtype) * unit)
            new_scores = self._judge(state.average, x, score_seed).numpy()
            gain, error = _gain(scores, new_scores)
            accepted = gain >= -2 * error
            best = tf.where(accepted[:, None], state.average, best)
            scores = np.where(accepted, new_scores, scores)
            gains.append(gain)
            here.append(np.mean(gain * accepted))
            if len(here) > 1 and np.mean(here[-2:]) < tolerance:
                state, here = _begin(best), []
                rates.pop(0)
            if not rates:
                break
        return BestQ(best, np.abs(gains[-2:]).max(axis=0), _STEPS * len(gains))

    def _take(self, x):
        if not self.exact:
            return tf.cast(x, self._layer.compute_dtype)
        if self._data is not x:  # its ELBO wants numbers: they are part of the program
            self._data = x
            self._compile()
        return tf.zeros([len(x), 1])

    # -- compiled ------------------------------------------------------------------------------

    def _round(self, params, mean, square, average, count, x, seed, unit):
        """`_STEPS` steps of Adam, and on with the average over them (Shamir and Zhang 2013)."""
        seeds = tf.stack(split(seed, _STEPS))

        def step(i, params, mean, square, average, count):
            count += 1
            gradient = self._gradient(params, x, seeds[i])
            mean = _MOMENTUM * mean + (1 - _MOMENTUM) * gradient
            square = _MEMORY * square + (1 - _MEMORY) * gradient**2
            corrected = square / (1 - _MEMORY**count)
            params += unit * mean / (1 - _MOMENTUM**count) / (tf.sqrt(corrected) + 1e-12)
            average += (_RECENT + 1) / (count + _RECENT) * (params - average)
            return i + 1, params, mean, square, average, count

        state = (tf.constant(0), params, mean, square, average, count)
        return _State(*tf.while_loop(lambda i, *_: i < _STEPS, step, state)[1:])

    def _gradient(self, params, x, seed):
        """d ELBO / d params for each example, [B, P]; zero where it is not finite."""
        with tf.GradientTape() as tape:
            tape.watch(params)
            bound = self._bound(params, x, seed)
        gradient = tape.gradient(bound, params)
        return tf.where(tf.math.is_finite(gradient), gradient, tf.zeros_like(gradient))

    def _bound(self, params, x, seed):
        """The ELBO of each example, [B], exactly or by one antithetic pair.

        Where it is sampled, log q is taken at constant parameters: the term that this leaves out
        of the gradient is zero on average.
        """
        q = self._layer.distribution(params)
        if self.exact:
            return self._model.elbo(self._data, q).elbo
        noise = tf.random.stateless_normal([1, *q.batch_shape, *q.event_shape], seed, dtype=q.dtype)
        z = push(q, tf.concat([noise, -noise], axis=0))  # [2, B, L]
        constant_q = self._layer.distribution(tf.stop_gradient(params))
        return tf.reduce_mean(log_weights(self._model, x, constant_q, z), axis=0)

    def _score(self, params, x, seed):
        """The ELBO of each example, exactly, [1, B], or by each of `_PAIRS` pairs, [_PAIRS, B]."""
        if self.exact:
            return self._bound(params, x, seed)[None]
        seeds = tf.stack(split(seed, _PAIRS))
        bounds = tf.TensorArray(params.dtype, _PAIRS, element_shape=params.shape[:1])

        def fill(i, bounds):
            return i + 1, bounds.write(i, self._bound(params, x, seeds[i]))

        return tf.while_loop(lambda i, _: i < _PAIRS, fill, (tf.constant(0), bounds))[1].stack()


def _gain(old, new):
    """new - old scores, [_PAIRS, B], and its standard error, each [B], float64.

    A search that took the best score would choose by noise: the average of many steps is better
    than most of what went into it, so that a row is taken unless it is clearly worse. Scores that
    are not finite are a very small number.
    """
    new, old = (np.nan_to_num(s.astype("float64"), nan=-1e9, neginf=-1e9) for s in (new, old))
    difference = new - old  # by the same noise on both sides
    error = difference.std(axis=0) / np.sqrt(max(1, len(difference) - 1))
    return difference.mean(axis=0), error


# -- where to start ----------------------------------------------------------------------------


def first_params(layer, q_z, seed=None):
    """The row of each example that is `q_z`, or the Gaussian of the family nearest to it.

    Returns:
        The parameters, and by how much a step of one would move each: shapes [B, P].
    """
    loc, covariance = _moments(q_z, seed)
    floor = layer.min_scale
    scale = np.sqrt(np.diagonal(covariance, axis1=-2, axis2=-1))  # [B, L]
    if isinstance(layer, NormalTriL):
        rest, unit = _triangle(np.linalg.cholesky(covariance), scale, floor)
    else:
        rest = _raw(scale, floor)
        weights = np.zeros((len(loc), layer.input_size - 2 * loc.shape[1]))
        rest, unit = np.concatenate([rest, weights], 1), np.ones_like(rest)
        unit = np.concatenate([unit, weights + _WEIGHT_STEP], axis=1)
    params = np.concatenate([loc, rest], axis=1)
    if isinstance(layer, CouplingFlow) and isinstance(q_z, FlowedNormal):
        params = q_z.params.numpy()
    unit = np.concatenate([scale, unit], axis=1)
    return tuple(tf.constant(part, layer.compute_dtype) for part in (params, unit))


def _raw(scale, floor):
    return raw_from(np.maximum(scale, 1.001 * floor), floor)


def _triangle(factor, scale, floor):
    """The raw triangle of a Cholesky factor [B, L, L], and the units of its entries."""
    raw, unit = factor.copy(), np.tile(scale[:, :, None], scale.shape[-1])
    index = np.arange(scale.shape[-1])
    raw[:, index, index] = _raw(factor[:, index, index], floor)
    unit[:, index, index] = 1.0
    return (tfp.math.fill_triangular_inverse(part).numpy() for part in (raw, unit))


def _moments(q_z, seed):
    """Mean [B, L] and covariance [B, L, L] of q(z|x), by samples where there is no closed form."""
    try:
        loc = q_z.mean().numpy().astype("float64")
    except NotImplementedError:
        z = q_z.sample(_MOMENT_SAMPLES, seed=seed).numpy().astype("float64")
        centred = z - z.mean(axis=0)
        covariance = np.einsum("sbi,sbj->bij", centred, centred) / len(z)
        return z.mean(axis=0), covariance
    try:
        return loc, q_z.covariance().numpy().astype("float64")
    except NotImplementedError:
        scale = q_z.stddev().numpy().astype("float64")
        return loc, scale[..., None] ** 2 * np.eye(scale.shape[-1])
