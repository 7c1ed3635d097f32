"""The gap: what the ELBO loses, and to what.

    gap(x) = log p(x) - ELBO(x) = KL(q(z|x) || p(z|x)) >= 0                (document, section 3)

To measure a difference one needs both ends. log p(x) is taken from a closed form where the model
has one, else from a grid over its one or two latents. `decompose` says how much of the gap is the
fault of the family that q is taken from, and how much that of the encoder.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from vae_tf import elbo, evidence
from vae_tf._core import chunks, require
from vae_tf._core.random import split
from vae_tf.gap.best_q import Compiled, Search, layer_of, log_weights, push
from vae_tf.layers import support
from vae_tf.layers.flows import FlowedNormal
from vae_tf.linear import LinearGaussian

tfd = tfp.distributions

__all__ = ["Decomposition", "TotalGap", "decompose", "total"]


class TotalGap(NamedTuple):
    """The gap and its two ends, each [B], in nats. `numpy.asarray(gap)` is the total."""

    total: np.ndarray  # log_evidence - elbo
    error: np.ndarray  # one standard error of the ELBO, plus the error of log_evidence
    log_evidence: np.ndarray
    elbo: np.ndarray

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.total, dtype)


def total(model, x, num_samples=1000, *, seed=None):
    """log p(x) - ELBO(x) for each example, with its error.

    Args:
        model: a `vt.linear.LinearGaussian`, whose gap is a closed form, or anything with `prior`,
            `encode(x)` and `decode(z)` and one or two latents.
        x: data, shape [B, *event].
        num_samples: samples for the ELBO, at least two; a closed form needs none.
        seed: an integer for the same numbers each time.

    Returns:
        `TotalGap(total, error, log_evidence, elbo)`, each [B], nats.

    Raises:
        ValueError: if `num_samples` is below two, or the truth is out of reach: no closed form
            and more than two latents.
    """
    if isinstance(model, LinearGaussian):
        truth, bound = model.log_evidence(x), np.asarray(model.elbo(x, model.encode(x)))
        return TotalGap(truth - bound, np.zeros_like(truth), truth, bound)
    _require_two(num_samples)
    truth = evidence.grid(model, x)
    bound, standard_error = _elbo(model, x, num_samples, seed)
    return TotalGap(truth.estimate - bound, standard_error + truth.error, truth.estimate, bound)


def _require_two(num_samples):
    if require.count(num_samples, "num_samples") < 2:
        raise ValueError(
            "One sample has no standard error. Expected `num_samples` of at least 2. "
            f"Received: num_samples={num_samples}"
        )


def _elbo(model, x, num_samples, seed):
    """The ELBO and its standard error, each [B], float64, with the samples drawn in chunks."""
    x = np.asarray(x)
    sizes = chunks.sizes(num_samples, x.size)
    samples = []
    for size, one_seed in zip(sizes, split(seed, len(sizes)), strict=True):
        one_pass = elbo.forward(model, x, size, seed=one_seed)
        samples.append(tf.cast(_elbo_of_each_sample(one_pass), tf.float64))
    samples = np.concatenate(samples)  # [S, B]
    return samples.mean(axis=0), samples.std(axis=0, ddof=1) / np.sqrt(num_samples)


def _elbo_of_each_sample(one_pass):
    """[S, B], nats: with the KL in closed form if there is one, else sampled as well."""
    try:
        return elbo.log_likelihood(one_pass) - elbo.kl(one_pass.q_z, one_pass.p_z)
    except NotImplementedError:
        return elbo.log_weights(one_pass)


class Decomposition(NamedTuple):
    """The gap and its two parts, each [B], in nats. `numpy.asarray` of it is the total."""

    total: np.ndarray  # log_evidence - elbo = approximation + amortization
    approximation: np.ndarray  # log_evidence - best_elbo: what the family cannot do
    amortization: np.ndarray  # best_elbo - elbo: what the encoder does not do
    total_error: np.ndarray  # one standard error, plus the error of log_evidence
    approximation_error: np.ndarray  # likewise
    amortization_error: np.ndarray  # one standard error, by the same noise for both ends
    optimization_error: np.ndarray  # by what best_elbo still moved as the search ended
    log_evidence: np.ndarray
    elbo: np.ndarray  # of the encoder's q
    best_elbo: np.ndarray  # of the best q of the family

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.total, dtype)


def decompose(
    model,
    x,
    family="diag",
    *,
    log_evidence=None,
    num_samples=1000,
    tolerance=0.01,
    max_steps=5000,
    seed=None,
    progress=False,
):
    """Where the gap of each example comes from (Cremer, Li and Duvenaud 2018).

        log p(x) - ELBO[q] = (log p(x) - ELBO[q*]) + (ELBO[q*] - ELBO[q])
             total         =    approximation      +    amortization

    q* is the best q of the family for this x alone. It is searched for all examples at once, from
    the encoder's q on, by the gradient of Roeder, Wu and Duvenaud (2017); see `best_q.Search`. If
    the encoder's q is of the family, amortization is not negative but for noise; if it is not, it
    may well be. What the search misses counts as approximation instead of amortization.

    Args:
        model: a `vt.linear.LinearGaussian`, where all is exact but for a flow, or anything with
            `prior`, `encode(x)` and `decode(z)` and continuous latents.
        x: data, shape [B, *event].
        family: "diag", Normals with a diagonal covariance; "tril", with a full one; or "flow",
            `vt.layers.CouplingFlow`, with the sizes of the encoder's own if it ends in one.
        log_evidence: log p(x), shape [B], or a result with `estimate` such as that of
            `vt.evidence.iwae`. By default a closed form, `vt.evidence.grid` for one or two
            latents, or `vt.evidence.ais` for more; that is a bound from below, and so then are
            total and approximation.
        num_samples: samples for the two ELBOs, at least two.
        tolerance: the search ends when 100 steps gain less than this, in nats, on average.
        max_steps: the search ends after so many steps in any case.
        seed: an integer for the same numbers each time.
        progress: show progress bars.

    Returns:
        A `Decomposition`, each field [B], nats. `optimization_error` is of the size of what the
        search has missed; where it is large, lower `tolerance` or raise `max_steps`.

    Raises:
        ValueError: if `family` is unknown, `num_samples` below two, `log_evidence` of another
            shape than [B], or `x` outside the support.

    Example:

    ```python
    parts = vt.gap.decompose(vae, x, "diag", seed=0)
    parts.approximation.mean(), parts.amortization.mean()  # nats
    ```
    """
    _require_two(num_samples)
    require.count(max_steps, "max_steps")
    require.positive(tolerance, "tolerance")
    x = require.examples(x)
    z = tf.zeros([1, 1, *model.prior.event_shape], model.prior.dtype)
    support.check(model.decode(z), x)
    row_parts = np.array_split(np.arange(len(x)), max(1, 4 * x.size // chunks.BUDGET))
    truth_seed, *seeds = tf.unstack(split(seed, 1 + 2 * len(row_parts)))
    truth, truth_error = _log_evidence(model, x, log_evidence, truth_seed, progress)
    layer = search = None
    parts = []
    for rows, search_seed, elbo_seed in zip(row_parts, seeds[::2], seeds[1::2], strict=True):
        q_z = model.encode(x[rows])
        require.latents(q_z, "encode(x)")
        if search is None:
            layer = layer_of(family, q_z)
            search = Search(model, layer)
        found = search(
            x[rows],
            q_z,
            tolerance=tolerance,
            max_steps=max_steps,
            seed=search_seed,
            progress=progress,
        )
        best_q = layer.distribution(found.params)
        bounds = _elbos(model, x[rows], q_z, best_q, num_samples, elbo_seed)
        parts.append((*bounds, found.change))
    bound, best, error, best_error, difference_error, change = (
        np.concatenate(field) for field in zip(*parts, strict=True)
    )
    return Decomposition(
        total=truth - bound,
        approximation=truth - best,
        amortization=best - bound,
        total_error=error + truth_error,
        approximation_error=best_error + truth_error,
        amortization_error=difference_error,
        optimization_error=change,
        log_evidence=truth,
        elbo=bound,
        best_elbo=best,
    )


def _log_evidence(model, x, given, seed, progress):
    """log p(x) and its error, each [B]: what was given, or the best that there is."""
    if given is None and isinstance(model, LinearGaussian):
        given = model.log_evidence(x)
    elif given is None and model.prior.event_shape[0] <= 2:
        given = evidence.grid(model, x, progress=progress)
    elif given is None:
        given = evidence.ais(model, x, seed=seed, progress=progress)
    truth = np.asarray(getattr(given, "estimate", given), "float64")
    error = getattr(given, "standard_error", getattr(given, "error", 0.0))
    if truth.shape != (len(x),):
        raise ValueError(
            f"Expected `log_evidence` of shape [{len(x)}], a number for each example, or a result "
            f"with such an `estimate`. Received: shape {list(truth.shape)}"
        )
    return truth, np.broadcast_to(np.asarray(error, "float64"), truth.shape)


def _elbos(model, x, q_z, best_q, num_samples, seed):
    """The ELBOs of q and of q*, their standard errors and that of the difference, each [B]."""
    if isinstance(model, LinearGaussian) and _is_gaussian(q_z) and _is_gaussian(best_q):
        bound, best = (model.elbo(x, q).elbo.numpy() for q in (q_z, best_q))
        return bound, best, *np.zeros((3, len(x)))
    totals = _Moments()
    sizes = chunks.sizes(num_samples, x.size)
    programs = {size: Compiled(_sampled_elbos(model, x, q_z, best_q, size)) for size in set(sizes)}
    for size, one_seed in zip(sizes, split(seed, len(sizes)), strict=True):
        totals.add(size, *programs[size](one_seed))
    (bound, best, _), errors = totals.mean, totals.standard_error()
    return bound, best, *errors


def _is_gaussian(q):
    normals = elbo.has_independent_latents(q) and isinstance(q.distribution, tfd.Normal)
    return normals or isinstance(q, tfd.MultivariateNormalLinearOperator)


def _sampled_elbos(model, x, q_z, best_q, size):
    """A program: seed -> mean and mean square deviation of `size` log weights of q, those of q*
    and of q* - q, by the same noise wherever q can be made from it: [3, B], float64."""
    x = tf.cast(x, model.prior.dtype)

    def program(seed):
        shape = [size, *q_z.batch_shape, *q_z.event_shape]
        noise = tf.random.stateless_normal(shape, seed, dtype=best_q.dtype)
        own = _is_gaussian(q_z) or isinstance(q_z, FlowedNormal)
        z = push(q_z, noise) if own else q_z.sample(size, seed=seed)
        log_w, best_log_w = (
            tf.cast(log_weights(model, x, q, z), tf.float64)
            for q, z in ((q_z, z), (best_q, push(best_q, noise)))
        )
        values = tf.stack([log_w, best_log_w, best_log_w - log_w])  # [3, S, B]
        return tf.reduce_mean(values, axis=1), tf.math.reduce_variance(values, axis=1)

    return program


class _Moments:
    """Mean and variance of samples that come in chunks; memory does not grow with their number."""

    def __init__(self):
        self.count, self.mean, self._squares = 0, 0.0, 0.0

    def add(self, size, mean, variance):
        """Chan, Golub and LeVeque (1983): no cancellation, whatever the mean."""
        count, step = self.count + size, mean.numpy() - self.mean
        self.mean = self.mean + step * size / count
        self._squares = self._squares + variance.numpy() * size
        self._squares = self._squares + step**2 * self.count * size / count
        self.count = count

    def standard_error(self):
        return np.sqrt(self._squares / (self.count - 1) / self.count)
