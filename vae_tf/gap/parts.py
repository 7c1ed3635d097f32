"""The gap and its two parts. Here are the estimates; `best_q` finds the best q.

log p(x) is a closed form where the model has one, else it comes from a grid over its one or two
latents, or is given. The ELBOs are closed forms likewise, or means over samples of z.
"""

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from vae_tf import elbo, evidence
from vae_tf._core import chunks, random, require
from vae_tf._core.estimates import Estimate
from vae_tf._core.models import LatentModel, as_condition, given, is_exact, rows_of
from vae_tf._core.moments import Moments
from vae_tf._core.programs import kept
from vae_tf.gap.best_q import Search, layer_of, log_weights, push
from vae_tf.layers import support
from vae_tf.layers.flows import FlowedNormal

tfd = tfp.distributions

__all__ = ["Decomposition", "TotalGap", "decompose", "total"]


@dataclasses.dataclass(frozen=True, eq=False)
class TotalGap(Estimate):
    """The gap and its two ends, each [B], nats. `numpy.asarray(gap)` is the gap.

    `standard_error` is that of the ELBO plus the error of `log_evidence`. `total` and `error` are
    other names for `estimate` and `standard_error`.
    """

    log_evidence: np.ndarray
    elbo: np.ndarray

    @property
    def total(self) -> np.ndarray:
        """log_evidence - elbo."""
        return self.estimate

    @property
    def error(self) -> np.ndarray:
        """`standard_error`."""
        return self.standard_error


def total(
    model: LatentModel,
    x: Any,
    num_samples: int = 1000,
    *,
    condition: Any = None,
    seed: Any = None,
) -> TotalGap:
    """The gap of each example, with its error.

        gap(x) = log p(x) - ELBO(x)                            (docs/the_elbo.md, section 3)

    Args:
        model: has `prior`, `encode(x)` and `decode(z)` and one or two latents; or closed forms, as
            `vt.linear.LinearGaussian`.
        x: data, shape [B, *event].
        num_samples: samples for the ELBO, at least two; a closed form needs none.
        condition: of a conditional model: an array [B, ...] or a tuple of them.
        seed: an integer for the same numbers each time.

    Returns:
        `TotalGap(estimate, standard_error, log_evidence, elbo)`, each [B], nats.

    Raises:
        ValueError: if `num_samples` is below two; if there is no closed form for log p(x) and more
            than two latents; if `x` is outside the support or `condition` has not B rows.

    Example:

    >>> rng = np.random.default_rng(0)
    >>> model = vt.linear.LinearGaussian(rng.normal(size=(4, 2)), np.zeros(4), 1.0)
    >>> x = rng.normal(size=(3, 4))
    >>> gap = vt.gap.total(model, x)
    >>> np.allclose(gap, model.log_evidence(x) - model.elbo(x, model.encode(x)).elbo)
    True
    """
    x = require.examples(x)
    condition = as_condition(condition, len(x))
    bound = _closed_elbo(model, x, condition)
    if bound is None:
        _require_two(num_samples)
    truth, truth_error = _log_evidence(model, x, condition)
    error = np.zeros(len(x))
    if bound is None:
        terms, error = elbo.moments(model, x, num_samples, condition=condition, seed=seed)
        bound = terms.elbo
    return TotalGap(truth - bound, error + truth_error, truth, bound)


def _closed_elbo(model, x, condition):
    """The encoder's ELBO in closed form, [B], float64, or None if there is none."""
    if not is_exact(model):
        return None
    model = given(model, condition)
    q_z = model.encode(x)
    return _float64(model.elbo(x, q_z).elbo) if _is_gaussian(q_z) else None


def _float64(values):
    return np.asarray(values).astype("float64")


def _is_gaussian(q):
    normals = elbo.has_independent_latents(q) and isinstance(q.distribution, tfd.Normal)
    return normals or isinstance(q, tfd.MultivariateNormalLinearOperator)


def _require_two(num_samples):
    if require.count(num_samples, "num_samples") < 2:
        raise ValueError(
            "One sample has no standard error. Expected `num_samples` of at least 2. "
            f"Received: num_samples={num_samples}"
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Decomposition(Estimate):
    """The gap and its two parts, each [B], nats. `numpy.asarray` of it is the whole gap.

    `standard_error` is that of the ELBO plus the error of `log_evidence`. `total` and
    `total_error` are other names for `estimate` and `standard_error`.
    """

    approximation: np.ndarray  # log_evidence - best_elbo: what no q of the family can avoid
    amortization: np.ndarray  # best_elbo - elbo: what the encoder adds to it
    approximation_error: np.ndarray  # as `standard_error`, for best_elbo
    amortization_error: np.ndarray  # one standard error; both ELBOs use the same noise
    optimization_error: np.ndarray  # by how much best_elbo still changed when the search ended
    log_evidence: np.ndarray
    elbo: np.ndarray  # of the encoder's q
    best_elbo: np.ndarray  # of the best q of the family

    @property
    def total(self) -> np.ndarray:
        """log_evidence - elbo = approximation + amortization."""
        return self.estimate

    @property
    def total_error(self) -> np.ndarray:
        """`standard_error`."""
        return self.standard_error


def decompose(
    model: LatentModel,
    x: Any,
    family: str = "diag",
    *,
    condition: Any = None,
    log_evidence: Any = None,
    num_samples: int = 1000,
    tolerance: float = 0.01,
    max_steps: int = 5000,
    seed: Any = None,
    progress: bool = False,
) -> Decomposition:
    """Where the gap of each example comes from (Cremer, Li and Duvenaud 2018).

        log p(x) - ELBO[q] = (log p(x) - ELBO[q*]) + (ELBO[q*] - ELBO[q])
             total         =    approximation      +    amortization

    q* is the best q of the family for this x alone. The search for it starts at the encoder's q
    and follows the gradient of Roeder, Wu and Duvenaud (2017), for all examples at once. If the
    encoder's q belongs to the family, amortization is at least zero, up to noise; if it does not,
    it may be negative. A search that ends too early finds a q* that is not the best: then
    approximation is too large, and amortization too small by the same amount.

    Args:
        model: has `prior`, `encode(x)` and `decode(z)` and continuous latents. With closed forms,
            as `vt.linear.LinearGaussian` has them, nothing is sampled, except for a flow.
        x: data, shape [B, *event], B >= 1.
        family: "diag", Normals with a diagonal covariance; "tril", with a full one; or "flow",
            `vt.layers.CouplingFlow`, with the sizes of the encoder's own if it ends in one.
        condition: of a conditional model: an array [B, ...] or a tuple of them.
        log_evidence: log p(x), shape [B], or a result with `estimate` such as that of
            `vt.evidence.iwae`. By default a closed form, `vt.evidence.grid` for one or two
            latents, or `vt.evidence.ais` for more. The last is a lower bound of log p(x); total
            and approximation are then lower bounds too.
        num_samples: samples for the two ELBOs, at least two.
        tolerance: the search ends when 100 steps gain less than this, in nats, on average.
        max_steps: the search ends after so many steps in any case.
        seed: an integer for the same numbers each time.
        progress: show progress bars.

    Returns:
        A `Decomposition`, each field [B], nats. `optimization_error` is about as large as what the
        search has not found; where it is large, lower `tolerance` or raise `max_steps`.

    Raises:
        ValueError: if `family` is unknown, `num_samples` below two, `log_evidence` of another
            shape than [B], `x` empty or outside the support, or `condition` has not B rows.

    Example:

    >>> weights = np.array([[1.0, 0.5], [0.5, 1.0], [0.0, 1.0]])
    >>> model = vt.linear.LinearGaussian(weights, np.zeros(3), 1.0)
    >>> parts = vt.gap.decompose(model, np.ones((2, 3)), "diag", max_steps=100)
    >>> np.allclose(parts.total, parts.approximation + parts.amortization)
    True
    >>> np.allclose(parts.amortization, 0, atol=1e-6)  # this encoder is the best of its family
    True
    """
    _require_two(num_samples)
    require.count(max_steps, "max_steps")
    require.positive(tolerance, "tolerance")
    x = require.examples(x)
    condition = as_condition(condition, len(x))
    _check_support(model, x, condition)
    truth_seed, search_seed, elbo_seed = random.split(seed, 3)
    truth, truth_error = _log_evidence(model, x, condition, log_evidence, truth_seed, progress)
    how = {"tolerance": tolerance, "max_steps": max_steps, "progress": progress}
    layer, params, change = _search(model, x, condition, family, search_seed, how)
    (bound, best), errors = _elbos(model, x, condition, layer, params, num_samples, elbo_seed)
    return Decomposition(
        estimate=truth - bound,
        standard_error=errors[0] + truth_error,
        approximation=truth - best,
        amortization=best - bound,
        approximation_error=errors[1] + truth_error,
        amortization_error=errors[2],
        optimization_error=change,
        log_evidence=truth,
        elbo=bound,
        best_elbo=best,
    )


def _check_support(model, x, condition):
    """Refuses x before the search, inside whose program nothing can be refused any more."""
    if len(x) == 0:
        raise ValueError(f"Expected at least one example `x`. Received: shape {list(x.shape)}")
    one = None if condition is None else rows_of(condition, np.array([0]))
    z = tf.zeros([1, 1, *model.prior.event_shape], model.prior.dtype)
    support.check(given(model, one).decode(z), x)


def _log_evidence(model, x, condition, known=None, seed=None, progress=False):
    """log p(x) and its error, each [B]: what is known, or the best that there is."""
    if known is None and is_exact(model):
        known = given(model, condition).log_evidence(x)
    elif known is None and (model.prior.event_shape[0] <= 2 or seed is None):
        known = evidence.grid(model, x, condition=condition, progress=progress)
    elif known is None:
        known = evidence.ais(model, x, condition=condition, seed=seed, progress=progress)
    truth = _float64(getattr(known, "estimate", known))
    error = getattr(known, "standard_error", getattr(known, "error", 0.0))
    if truth.shape != (len(x),):
        raise ValueError(
            f"Expected `log_evidence` of shape [{len(x)}], a number for each example, or a result "
            f"with such an `estimate`. Received: shape {list(truth.shape)}"
        )
    return truth, np.broadcast_to(_float64(error), truth.shape)


def _search(model, x, condition, family, seed, how):
    """The layer of the family, the row of q* for each example, [B, P], and its last change, [B]."""
    # The gradient of a pair of samples holds about four tensors of the widest layer.
    groups = chunks.examples(len(x), 4 * chunks.width(model, x))
    search = None
    params, changes = [], []
    for rows, one in zip(groups, random.split(seed, len(groups)), strict=True):
        own = None if condition is None else rows_of(condition, rows)
        q_z = given(model, own).encode(x[rows])
        require.latents(q_z, "encode(x)")
        if search is None:
            search = _search_of(model, family, q_z)
        found = search(x[rows], q_z, condition=own, seed=one, **how)
        params.append(found.params)
        changes.append(found.change)
    return search.layer, tf.concat(params, axis=0), np.concatenate(changes)


def _search_of(model, family, q_z):
    """The `Search` in a family, which a model keeps if it can: to compile it takes seconds."""
    key = ("search", family, q_z.dtype, *q_z.event_shape, repr(getattr(q_z, "layer_config", None)))
    return kept(model, key, lambda: Search(model, layer_of(family, q_z)))


def _elbos(model, x, condition, layer, params, num_samples, seed):
    """The ELBOs of q and of q*, [2, B], and the errors of both and of their difference, [3, B]."""
    bound, best_q = _closed_elbo(model, x, condition), layer.distribution(params)
    if bound is not None and _is_gaussian(best_q):
        best = _float64(given(model, condition).elbo(x, best_q).elbo)
        return np.stack([bound, best]), np.zeros((3, len(x)))
    sums, loop = Moments(3, len(x)), {"condition": condition, "seed": seed}
    sampled = kept(model, ("sampled elbos", layer), lambda: _sampled_elbos(layer))
    for rows, size, values in chunks.over(
        sampled, model, x, params, num_samples=num_samples, **loop
    ):
        sums.add(rows, size, *values)
    return sums.mean[:2], sums.standard_error


def _sampled_elbos(layer):
    """A function for `chunks.over`: mean and mean square deviation of the log weights of q, of
    those of q* and of their difference, [3, b] each, float64."""

    def sampled(model, x, seed, params, *, size):
        q_z, best_q = model.encode(x), layer.distribution(params)
        # The same noise for both, wherever q can be made of it: less noise in the difference.
        noise = random.normal([size, *best_q.batch_shape, *best_q.event_shape], seed, best_q.dtype)
        own = _is_gaussian(q_z) or isinstance(q_z, FlowedNormal)
        z = push(q_z, noise) if own else q_z.sample(size, seed=seed)
        x = tf.cast(x, best_q.dtype)
        log_w, best_log_w = (
            tf.cast(log_weights(model, x, q, z), tf.float64)
            for q, z in ((q_z, z), (best_q, push(best_q, noise)))
        )
        values = tf.stack([log_w, best_log_w, best_log_w - log_w])  # [3, S, b]
        return tf.reduce_mean(values, axis=1), tf.math.reduce_variance(values, axis=1)

    return sampled
