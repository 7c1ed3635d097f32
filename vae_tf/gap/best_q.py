"""The best q of a family for each single x: q* = argmax_q ELBO(q; x), without an encoder.

Each example has a row of parameters of its own. All rows are improved together, in one compiled
program. The gradient is that of Roeder, Wu and Duvenaud (2017): its noise vanishes where q is the
posterior p(z|x).
"""

from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
from tqdm.auto import tqdm

from vae_tf._core.models import LatentModel, given, is_exact, taken_apart
from vae_tf._core.programs import suits_xla
from vae_tf._core.random import normal, split
from vae_tf.elbo import log_joint
from vae_tf.layers import NormalDiag, NormalTriL
from vae_tf.layers.base import raw_from
from vae_tf.layers.flows import CouplingFlow, FlowedNormal

tfd = tfp.distributions

__all__ = ["FAMILIES", "BestQ", "Compiled", "Search", "layer_of", "log_weights", "push"]

FAMILIES = {"diag": NormalDiag, "tril": NormalTriL, "flow": CouplingFlow}

_STEPS = 100  # in a round; after each round the parameters are scored
_PAIRS = 16  # of samples, z and its mirror image, for a score: the same ones for all rounds
_RATES = (0.1, 0.03, 0.01, 0.003)  # of Adam, in standard deviations of the first q
_FINER_RATES = (*_RATES, 0.001, 0.0003, 0.0001)  # where there is no noise
_MOMENTUM, _MEMORY = 0.9, 0.99  # of Adam
_RECENT = 2  # later steps have a larger weight in the average; 0 would be a plain mean
_WEIGHT_STEP = 0.3  # a flow's weights move by less than its loc and scale: they act together
_MOMENT_SAMPLES = 1000  # for the mean and the covariance of a first q without closed forms


class BestQ(NamedTuple):
    """What a search found."""

    params: tf.Tensor  # [B, P]: one row of the family's layer for each example
    change: np.ndarray  # [B], nats: the larger change of the ELBO in one of the last two rounds
    steps: int  # how many steps were taken


def layer_of(family: str, q_z: Any) -> Any:
    """The layer of a family, "diag", "tril" or "flow", for latents like those of `q_z`."""
    if family not in FAMILIES:
        raise ValueError(f"Expected `family` to be one of {list(FAMILIES)}. Received: {family!r}")
    dtype = q_z.dtype.name
    if family == "flow" and isinstance(q_z, FlowedNormal):
        return CouplingFlow(**q_z.layer_config, dtype=dtype)
    return FAMILIES[family](q_z.event_shape[0], dtype=dtype)


def push(q: Any, noise: Any) -> tf.Tensor:
    """Samples of q from standard normal noise: [S, B, L] -> [S, B, L]."""
    if isinstance(q, tfd.TransformedDistribution):  # of NormalTriL and CouplingFlow
        return q.bijector.forward(noise)
    return q.mean() + q.stddev() * noise


def log_weights(model: LatentModel, x: Any, q: Any, z: Any) -> tf.Tensor:
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
    """A function of tensors compiled by XLA where that pays, or as a plain graph."""

    def __init__(self, function, xla=True):
        self._function = function
        self._compiled = tf.function(function, jit_compile=xla, autograph=False)

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
        model: has `prior` and `decode(z)`; the ELBO of a Gaussian needs no samples where the model
            has it as a closed form, written in TensorFlow.
        layer: the family, as `layer_of` gives it.
    """

    def __init__(self, model: LatentModel, layer: Any):
        # What a model keeps asks for the prior itself: its numbers may have changed by then.
        bare = taken_apart(model)[0]
        self._model = bare if hasattr(bare, "kept") else model
        self.layer = layer
        self.exact = is_exact(model) and not isinstance(layer, CouplingFlow)
        xla = suits_xla(model)
        self._run, self._judge = (Compiled(one, xla) for one in (self._round, self._score))

    def __call__(
        self,
        x: Any,
        q_z: Any,
        *,
        condition: tuple | None = None,
        tolerance: float = 0.01,
        max_steps: int = 5000,
        seed: Any = None,
        progress: bool = False,
    ) -> BestQ:
        """q* of each example.

        Adam's first steps are a tenth of a standard deviation. After each round of 100 steps the
        mean of the parameters over these steps is scored, with the same samples each time. An
        example keeps the mean unless its score is clearly worse than the best so far. When two
        rounds in a row gain less than `tolerance`, on average, the steps become smaller; after the
        smallest the search ends.

        Args:
            x: data, shape [B, *event], in the support of the likelihood.
            q_z: where to start: batch [B], event [L].
            condition: of a conditional model: a tuple of arrays [B, ...], or None.
            tolerance: nats.
            max_steps: no more steps than these, in whole rounds.
            seed: an integer for the same numbers each time.
            progress: show a progress bar.

        Returns:
            A `BestQ`.
        """
        rounds = max(1, -(-max_steps // _STEPS))
        start_seed, score_seed, *seeds = split(seed, 2 + rounds)
        first, unit = first_params(self.layer, q_z, start_seed)
        data = tf.cast(x, tf.float64 if self.exact else self.layer.compute_dtype)
        given_rows = [tf.convert_to_tensor(part) for part in condition or ()]
        best, state, rates = first, _begin(first), list(_FINER_RATES if self.exact else _RATES)
        scores = self._judge(best, score_seed, data, *given_rows).numpy()
        gains, here = [], []  # of all rounds, and on average of those at this rate
        for one in tqdm(seeds, disable=not progress):
            rate = tf.cast(rates[0], unit.dtype) * unit
            state = self._run(*state, one, rate, data, *given_rows)
            new_scores = self._judge(state.average, score_seed, data, *given_rows).numpy()
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
        change = np.abs(gains[-2:]).max(axis=0)
        change[np.isnan(scores).any(axis=0)] = np.nan  # nothing was found, and not: no change
        return BestQ(best, change, _STEPS * len(gains))

    # -- compiled ------------------------------------------------------------------------------

    def _round(self, params, mean, square, average, count, seed, unit, x, *condition):
        """`_STEPS` steps of Adam, which also update the average (Shamir and Zhang 2013)."""
        seeds, model = tf.stack(split(seed, _STEPS)), self._given(condition)

        def step(i, params, mean, square, average, count):
            count += 1
            gradient = self._gradient(model, params, seeds[i], x)
            mean = _MOMENTUM * mean + (1 - _MOMENTUM) * gradient
            square = _MEMORY * square + (1 - _MEMORY) * gradient**2
            corrected = square / (1 - _MEMORY**count)
            params += unit * mean / (1 - _MOMENTUM**count) / (tf.sqrt(corrected) + 1e-12)
            average += (_RECENT + 1) / (count + _RECENT) * (params - average)
            return i + 1, params, mean, square, average, count

        state = (tf.constant(0), params, mean, square, average, count)
        return _State(*tf.while_loop(lambda i, *_: i < _STEPS, step, state)[1:])

    def _given(self, condition):
        """The model of x and z alone; its prior is asked for once: a VampPrior runs its encoder."""
        return given(self._model, condition or None, prior=self._model.prior)

    def _gradient(self, model, params, seed, x):
        """d ELBO / d params for each example, [B, P]; zero where it is not finite."""
        with tf.GradientTape() as tape:
            tape.watch(params)
            bound = self._bound(model, params, seed, x)
        gradient = tape.gradient(bound, params)
        return tf.where(tf.math.is_finite(gradient), gradient, tf.zeros_like(gradient))

    def _bound(self, model, params, seed, x):
        """The ELBO of each example, [B], exactly or from one pair of samples, z and its mirror.

        Where it is sampled, log q(z) does not follow the parameters: the part of the gradient that
        is left out is zero on average.
        """
        q = self.layer.distribution(params)
        if self.exact:
            return model.elbo(x, q).elbo
        noise = normal([1, *q.batch_shape, *q.event_shape], seed, q.dtype)
        z = push(q, tf.concat([noise, -noise], axis=0))  # [2, B, L]
        constant_q = self.layer.distribution(tf.stop_gradient(params))
        return tf.reduce_mean(log_weights(model, x, constant_q, z), axis=0)

    def _score(self, params, seed, x, *condition):
        """The ELBO of each example, exactly, [1, B], or from each of the pairs, [_PAIRS, B]."""
        model = self._given(condition)
        if self.exact:
            return self._bound(model, params, seed, x)[None]
        seeds = tf.stack(split(seed, _PAIRS))
        bounds = tf.TensorArray(params.dtype, _PAIRS, element_shape=params.shape[:1])

        def fill(i, bounds):
            return i + 1, bounds.write(i, self._bound(model, params, seeds[i], x))

        return tf.while_loop(lambda i, _: i < _PAIRS, fill, (tf.constant(0), bounds))[1].stack()


def _gain(old, new):
    """new - old scores, [_PAIRS, B], and its standard error, each [B], float64.

    Scores are noisy: to keep only what scores better would be to choose by noise. A mean over many
    steps is better than most of them, so it is kept unless it is clearly worse. A score that is
    not finite counts as a very small number.
    """
    new, old = (np.nan_to_num(s.astype("float64"), nan=-1e9, neginf=-1e9) for s in (new, old))
    difference = new - old  # by the same noise on both sides
    error = difference.std(axis=0) / np.sqrt(max(1, len(difference) - 1))
    return difference.mean(axis=0), error


# -- where to start ----------------------------------------------------------------------------


def first_params(layer: Any, q_z: Any, seed: Any = None) -> tuple[tf.Tensor, ...]:
    """The row of each example whose q is `q_z`, or has its mean and its covariance.

    Returns:
        The parameters, and by how much a step of one would move each: shapes [B, P].
    """
    loc, covariance = _moments(q_z, seed)
    broken = ~np.isfinite(covariance).all(axis=(1, 2))
    covariance[broken] = np.eye(loc.shape[1])  # a q of NaN has no factor; its loc says the rest
    loc[broken] = np.nan
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
        return z.mean(axis=0), np.einsum("sbi,sbj->bij", centred, centred) / len(z)
    try:
        return loc, q_z.covariance().numpy().astype("float64")
    except NotImplementedError:
        scale = q_z.stddev().numpy().astype("float64")
        return loc, scale[..., None] ** 2 * np.eye(scale.shape[-1])
