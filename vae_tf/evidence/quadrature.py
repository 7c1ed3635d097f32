"""log p(x) by quadrature over one or two latents, with an error estimate: `vt.evidence.grid`."""

import dataclasses
import math
from typing import Any, NamedTuple

import numpy as np
import scipy.ndimage
import scipy.special
import tensorflow as tf
from tqdm.auto import tqdm

from vae_tf._core import chunks, require
from vae_tf._core.estimates import Estimate
from vae_tf._core.models import LatentModel, as_condition, by_condition, given
from vae_tf.elbo import log_joint
from vae_tf.evidence import pairwise
from vae_tf.evidence.cover import cover

__all__ = ["Grid", "grid"]

# {number of latents: ...}
_FIRST_SIDES = {1: (20_000,), 2: (80, 320)}  # nodes per axis on the prior, decoded once for all
_LAST_SIDE = {1: 200_000, 2: 640}  # the same, for the few examples that nothing else resolves
_WIDTH = 9.0  # grids in between reach so many standard deviations of a single posterior,
_SIDES = (48, 96, 192)  # with so many nodes per axis,
_ROUNDS = 12  # and so many moves for each.
_EXAMPLES, _AT_LAST = 256, 64  # at a time: 200 MB for the weights on the largest grid
# Of a grid over the prior with so many times the nodes per axis of another, or fewer, this part of
# the tolerance, as judged by that one, is not decoded: hills that it resolves show there.
_TIMES, _LEFT_OUT = 4, 1e-3


@dataclasses.dataclass(frozen=True, eq=False)
class Grid(Estimate):
    """log p(x) by quadrature, each [B], in nats.

    `standard_error` is a conservative estimate of |estimate - log p(x)|, infinite where nothing is
    resolved. It holds no randomness; `error` is another name for it.
    """

    nodes: np.ndarray  # int, how many nodes per axis it took

    @property
    def error(self) -> np.ndarray:
        """`standard_error`, by the name that fits it better."""
        return self.standard_error


def grid(
    model: LatentModel,
    x: Any,
    *,
    condition: Any = None,
    tolerance: float = 1e-4,
    progress: bool = False,
) -> Grid:
    """log p(x) by quadrature over one or two latents: the truth that bounds are measured against.

        log p(x) = log int p(x|z) p(z) dz   ~   log sum_i h^L p(x|z_i) p(z_i)

    For a smooth integrand a sum over equidistant nodes converges faster than any power of the
    spacing h, once h is about as small as the width of the posterior. Range and resolution are
    found for each example. The first grids cover the prior: eight standard deviations each way, of
    every component if it is a mixture. Where they are too coarse, the weights p(x, z_i) are raised
    to a power below one, which widens them until the grid resolves them, and the next grid is laid
    around their mean, along their principal axes. Where the posterior has hills too far apart for
    that, a finer grid covers the prior. Of a finer grid over the prior only those nodes are decoded
    that may count: by the coarser one, the others hold less than a thousandth of `tolerance`.

    The error estimate compares the sum with those over every second node of each axis, which use
    twice the spacing and are far worse. To it are added: the share of the integral beyond the box,
    that of hills narrower than one spacing (three times), that of the components of a mixture that
    are narrower than one spacing, and rounding. Of a prior that is neither a Normal nor a mixture,
    the box is widened until the grid finds all but 1e-6 of its mass there; what is missing counts
    with the largest likelihood on the grid. What the error cannot know of is a likelihood with a
    hill that the first grid steps over (its nodes are 0.0008 prior standard deviations apart for
    one latent, 0.2 for two), or with one beyond it, whose weights do not rise towards it. Where a
    kink, such as the tip of a Laplace density, lies about halfway between nodes, the comparison
    sees less than the error.

    Args:
        model: has `prior` and `decode(z)`.
        x: data, shape [B, *event].
        condition: of a conditional model: an array [B, ...] or a tuple of them. The first grids
            are decoded once for each of its values.
        tolerance: refine until the estimated error, rounding aside, is below, in nats; positive.
            Where the finest grids are not enough, `standard_error` says so.
        progress: show a progress bar.

    Returns:
        `Grid(estimate, standard_error, nodes)`, each [B].

    Raises:
        ValueError: if the model has more than two latents, `tolerance` is not positive, `x` is
            outside the support, or `condition` has not B rows.

    Example:

    >>> model = vt.linear.LinearGaussian(np.ones((3, 1)), np.zeros(3), 1.0)
    >>> x = np.zeros((5, 3))
    >>> truth = vt.evidence.grid(model, x)
    >>> bool((abs(truth.estimate - model.log_evidence(x)) <= truth.standard_error).all())
    True
    """
    model = given(model, prior=model.prior)  # which is asked for once
    require.latents(model.prior, "prior")
    tolerance, x = require.positive(tolerance, "tolerance"), require.examples(x)
    latents = model.prior.event_shape[0]
    if latents not in (1, 2):
        raise ValueError(
            "A grid over the latents is exact for one or two of them. "
            f"Expected a model with 1 or 2 latents. Received: {latents} latents "
            "(vt.evidence.iwae bounds log p(x) for any number)"
        )
    result = _Result(len(x), latents)
    with tqdm(total=len(x), disable=not progress) as bar:
        for group, one_model in by_condition(model, as_condition(condition, len(x)), len(x)):
            first = cover(one_model.prior)
            for rows in np.split(group, range(_EXAMPLES, len(group), _EXAMPLES)):
                _grid(one_model, x[rows], first, tolerance, result, rows)
                bar.update(len(rows))
    return Grid(result.estimate, result.error, result.nodes)


class _Result:
    """The best so far of each example, and where it was found."""

    def __init__(self, batch, latents):
        self.estimate, self.error = np.zeros(batch), np.full(batch, np.inf)
        self.nodes, self.spacing = np.zeros(batch, int), np.ones(batch)
        self.centre, self.axes = np.zeros((batch, latents)), np.tile(np.eye(latents), (batch, 1, 1))
        self.largest = np.full(batch, -np.inf)  # log-likelihood on the first grids

    def take(self, rows, better, estimate, error, box, lattice):
        rows = rows[better]
        self.estimate[rows], self.error[rows] = estimate[better], error[better]
        self.nodes[rows], self.spacing[rows] = lattice.side, lattice.spacing
        self.centre[rows] = np.broadcast_to(box.centre, (len(better), *box.centre.shape[1:]))[
            better
        ]
        self.axes[rows] = np.broadcast_to(box.axes, (len(better), *box.axes.shape[1:]))[better]


def _grid(model, x, first, tolerance, result, rows):
    """`grid` of a few examples, whose numbers are `rows`."""
    latents = model.prior.event_shape[0]
    box = _Box(first.centre[None], np.diag(first.reach)[None], np.zeros(1))
    shared, todo, powers = box, np.arange(len(x)), np.ones(len(x))
    if len(x) == 0:
        return

    def judge(log_joint, todo, box, side):
        lattice = _lattice(side, latents)
        return _refine(log_joint, todo, box, lattice, tolerance, result, rows)

    def over_prior(todo, side, coarse):
        """log p(x, z) on a grid over the prior, and what `judge` says of it."""
        lattice, box, share = _lattice(side, latents), shared, _LEFT_OUT * min(tolerance, 1.0)
        if coarse:
            coarse, box = coarse.take(todo), shared._replace(outside=np.array([share]))
        log_joint, largest = _log_joint_on_prior(model, x[todo], box, lattice, coarse, share)
        result.largest[rows[todo]] = np.maximum(result.largest[rows[todo]], largest)
        return log_joint, judge(log_joint, todo, box, side)

    coarse = None
    for side in _FIRST_SIDES[latents]:
        # Four times the nodes resolve what had to be widened by a power of 1/16.
        if len(todo) and powers.max() >= 1 / 16:
            log_joint, judged = over_prior(todo, side, coarse)
            coarse = _OnPrior(todo, side, log_joint)
            todo, box, powers = judged
    last, hills = _LAST_SIDE[latents], todo[:0]
    coarse = coarse.take(todo) if last <= _TIMES * coarse.side else None
    if len(todo) and coarse:  # its last grid is cheap, so no box that is coarser in all directions
        many = (powers == 1) & _is_coarser(box, first.reach / last)
        hills, todo, box, powers = todo[many], todo[~many], box.take(~many), powers[~many]
    for side in _SIDES:
        for _ in range(_ROUNDS):
            if len(todo):
                log_joint = _log_joint_on(model, x[todo], box, _lattice(side, latents))
                todo, box, powers = judge(log_joint, todo, box, side)
            if len(todo) == 0 or powers.min() == 1:  # all in place: what lacks is resolution
                break
    hills = np.union1d(hills, todo)  # so far apart that they fit no single box
    for some in np.split(hills, range(_AT_LAST, len(hills), _AT_LAST)):
        if len(some):
            over_prior(some, last, coarse)
    with np.errstate(over="ignore"):
        result.error[rows] += _unseen_prior(model, x, first, result, rows)
    result.error[rows] += _rounding(model, x, first.centre)


def _is_coarser(box, half):
    """Whether the finest box has no axis along which its nodes are nearer than those of a grid
    whose half spacings are `half`, [L]: [b].
    """
    ratio = np.abs(box.axes) / _SIDES[-1] / half[:, None]  # [b, L, L], a column for each axis
    return (ratio.max(axis=1) >= 1).all(axis=1)


def _unseen_prior(model, x, first, result, rows):
    """The share of the integral where the grid does not see the prior as it is, [b]."""
    estimate = result.estimate[rows]
    share = np.exp(np.log(first.missing) + result.largest[rows] - estimate) if first.missing else 0
    narrow = np.flatnonzero(first.scale.min(axis=1) < _first_spacing(first))
    if not len(narrow):
        return share
    # Over a component that narrow the likelihood hardly changes: w_k E_k[p(x|z)] by 2 L + 1 nodes.
    latents = first.centre.size
    steps = np.concatenate([np.eye(latents), -np.eye(latents)]) * math.sqrt(latents)  # [2 L, L]
    z = first.loc[narrow] + steps[:, None] * first.scale[narrow]  # [2 L, K, L]
    at = _log_likelihood(model, x, z.reshape(-1, latents)).reshape(len(steps), len(narrow), -1)
    parts = scipy.special.logsumexp(at, axis=0) - math.log(len(steps))  # [K, b]
    parts += first.log_w[narrow, None] - estimate
    inverse = np.linalg.inv(result.axes[rows])  # [b, L, L]
    u = np.einsum("bij,kbj->kbi", inverse, first.loc[narrow, None] - result.centre[rows])
    width = np.abs(np.einsum("bij,kj->kbij", inverse, first.scale[narrow])).max(axis=-2)
    seen = (np.abs(u).max(axis=-1) < 0.9) & (width.min(axis=-1) >= result.spacing[rows])
    return share + np.where(seen, 0.0, np.exp(parts)).sum(axis=0)


def _first_spacing(first):
    return first.reach.max() / (_FIRST_SIDES[first.centre.size][-1] // 2)


def _rounding(model, x, centre):
    """What float arithmetic loses, [B]: terms as large as log p(x, centre) cancel in log p(x)."""
    z = tf.convert_to_tensor(centre[None], model.prior.dtype)  # [1, L]
    size = 1 + np.abs(pairwise.log_prob(model.decode(z), x).numpy()[0])
    precise, own = (np.finfo(d).eps for d in ("float64", model.prior.dtype.as_numpy_dtype))
    terms = pairwise.rounding(model.decode(z), x)  # larger than their sum
    return 1024 * precise * size + 4 * own * size + terms


def _refine(log_w, todo, box, lattice, tolerance, result, rows):
    """One round for the examples `todo`, with log p(x, z) at the nodes, [N, b]: keeps what it
    improves, and returns the examples that need another, the boxes for it, and the powers by which
    their weights were widened for them, zero where the box does not hold all of the posterior.
    """
    unknown = np.isnan(log_w).any(axis=0)  # the model has no number there, and so has the integral
    result.estimate[rows[todo[unknown]]] = result.error[rows[todo[unknown]]] = np.nan
    never = np.isneginf(log_w).all(axis=0)
    result.estimate[rows[todo[never]]] = -np.inf
    known = ~(unknown | never)
    todo, log_w = todo[known], log_w[:, known]
    if len(box.centre) > 1:
        box = box.take(known)
    if len(todo) == 0:
        return todo, box, np.ones(0)
    log_sum, w = _normalised(log_w)
    estimate, spread = _integrate(log_sum, w, box, lattice)
    missed = _tail(w, lattice) + box.outside
    flat = _is_resolved(np.linalg.eigvalsh(_moments(w, lattice.u)[1]), lattice)
    rough = np.ones(len(todo))
    rough[flat] = _share_unresolved(log_w[:, flat], w[:, flat], lattice)
    error = np.where(rough < 0.05, spread + missed + 3 * rough, np.inf)
    better = error <= result.error[rows[todo]]
    result.take(rows[todo], better, estimate, error, box, lattice)
    left = ~(error <= tolerance)
    if not left.any():
        return todo[left], box, np.ones(0)
    if len(box.centre) > 1:
        box = box.take(left)
    power, next_box = _next_box(log_w[:, left], w[:, left], box, lattice)
    return todo[left], next_box, power * (missed <= tolerance)[left]


class _Lattice(NamedTuple):
    u: np.ndarray  # [N, L], in [-1, 1)
    spacing: float
    side: int  # nodes per axis


class _Box(NamedTuple):
    """A parallelogram of latents for each example: z = centre + axes @ u, u in [-1, 1]^L."""

    centre: np.ndarray  # [b, L], or [1, L] shared by all examples
    axes: np.ndarray  # [b, L, L], or [1, L, L]
    outside: np.ndarray  # [b], or [1]: the share of the integral that is known to lie outside

    def place(self, u):
        return self.centre + np.einsum("bij,nj->nbi", self.axes, u)  # [N, b, L]

    def take(self, rows):
        return _Box(*(part[rows] for part in self))

    def log_volume(self):
        return np.linalg.slogdet(self.axes)[1]  # [b]


def _lattice(side, latents):
    # The centre of the box is a node: then nodes and sublattices do not lie symmetric about it.
    u = (np.arange(side) - side // 2) / (side // 2)
    mesh = np.stack(np.meshgrid(*[u] * latents, indexing="ij"), axis=-1)
    return _Lattice(mesh.reshape(-1, latents), u[1] - u[0], side)


class _OnPrior(NamedTuple):
    """What a grid over all of the prior found."""

    todo: np.ndarray  # the numbers of its examples, ascending, [b]
    side: int
    log_joint: np.ndarray  # [N, b]

    def take(self, todo):
        columns = np.searchsorted(self.todo, todo)
        return _OnPrior(todo, self.side, self.log_joint[:, columns])


def _log_joint_on_prior(model, x, box, lattice, coarse, share):
    """log p(x, z) [N, b] and the largest log p(x|z), [b].

    A node is decoded once for all examples, and where there is a coarser grid, only if it may
    count for one of them. Elsewhere it has the value of the coarse node at or below it.
    """
    z = box.place(lattice.u)[:, 0].astype(model.prior.dtype.as_numpy_dtype)  # [N, L]
    if coarse is None:
        some, log_joint = np.ones(len(z), bool), np.empty((len(z), len(x)))
    else:
        some, log_joint = _between(coarse, lattice, share)
    log_likelihood = _log_likelihood(model, x, z[some])
    log_joint[some] = log_likelihood + _log_prior(model, z[some], x)[:, None]
    return log_joint, log_likelihood.max(axis=0)


def _between(coarse, lattice, share):
    """Which nodes may count that a coarser grid lacks, [N], and its values at all nodes, [N, b].

    For each example, those that do not count hold at most this share of the integral.
    """
    latents, times = lattice.u.shape[1], lattice.side // coarse.side
    shape = [coarse.side] * latents
    counts, values = np.zeros(shape, bool), coarse.log_joint.reshape([*shape, -1])
    for one in np.moveaxis(values, -1, 0):
        counts |= ~_negligible(one, share)
    known = np.zeros([lattice.side] * latents, bool)
    known[(slice(None, None, times),) * latents] = True
    for axis in range(latents):
        counts, values = counts.repeat(times, axis), values.repeat(times, axis)
    return (counts & ~known).ravel(), values.reshape(len(lattice.u), -1)


def _negligible(log_w, share):
    """Nodes around which there is no more than this share of the weights, in all: [side] * L.

    A function rises between nodes by an eighth of its second differences. Here it may rise by the
    whole of the largest ones that are near, over the largest values that are near.
    """
    curved = np.zeros(log_w.shape)
    with np.errstate(invalid="ignore"):  # where a weight is zero, nothing is known
        for axis in range(log_w.ndim):
            ends = [(int(axis == k), int(axis == k)) for k in range(log_w.ndim)]
            curved += np.pad(np.abs(np.diff(log_w, n=2, axis=axis)), ends, mode="edge")
        curved = np.nan_to_num(curved, nan=np.inf)
        most = scipy.ndimage.maximum_filter(log_w, 3, mode="nearest")
        most += scipy.ndimage.maximum_filter(curved, 5, mode="nearest")
        shares = np.nan_to_num(most - scipy.special.logsumexp(log_w), nan=np.inf)
    order = np.argsort(shares, axis=None)
    few = order[np.cumsum(np.exp(np.minimum(shares.ravel()[order], 0))) <= share]
    negligible = np.zeros(log_w.size, bool)
    negligible[few] = True
    return negligible.reshape(log_w.shape)


def _log_joint_on(model, x, box, lattice):
    """log p(x, z) at the nodes of the boxes, in chunks: float64, [N, b]."""
    z = box.place(lattice.u).astype(model.prior.dtype.as_numpy_dtype)  # [N, b, L]
    log_joint = np.empty(z.shape[:2])
    for part, samples, values in chunks.over_z(_log_joint, model, x, z):
        log_joint[samples, part] = values
    return log_joint


def _log_joint(model, x, z):
    return log_joint(model, x, z)


def _log_likelihood(model, x, z):
    """log p(x_b|z_n), z [N, L]: float64, [N, b]."""
    z = np.asarray(z, model.prior.dtype.as_numpy_dtype)
    return chunks.over_nodes(_log_likelihood_at, model, x, z)


def _log_likelihood_at(model, x, z):
    return pairwise.log_prob(model.decode(z), x)


def _log_prior(model, z, x):
    ends = np.cumsum(chunks.sizes(len(z), chunks.width(model, x)))[:-1]
    return np.concatenate([model.prior.log_prob(part).numpy() for part in np.split(z, ends)])


def _normalised(log_w):
    """log sum exp over the nodes, [b], -inf where all weights are zero, and the weights over it."""
    top = log_w.max(axis=0)
    w = log_w - np.where(np.isfinite(top), top, 0.0)
    total = np.exp(w, out=w).sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        w /= total
        return np.where(np.isfinite(top), top, 0.0) + np.log(total), w


def _integrate(log_sum, w, box, lattice):
    """The integral over a box and its error estimate, each [b]."""
    latents, half = lattice.u.shape[1], lattice.side // 2
    estimate = log_sum + latents * math.log(lattice.spacing) + box.log_volume()
    # The 2^L sublattices of twice the spacing; their mean is the sum over all nodes.
    pairs = w.reshape([half, 2] * latents + [-1])
    coarse = pairs.sum(axis=tuple(range(0, 2 * latents, 2))).reshape(2**latents, -1)
    with np.errstate(divide="ignore"):
        spread = np.abs(np.log(2**latents * coarse)).max(axis=0)
    return estimate, spread


def _tail(w, lattice):
    """The share of the integral beyond the box, if it goes on falling as at the edge, [b].

    It is judged by bands a sixteenth of the box wide, so that no ripple of the likelihood passes
    for a rise, and infinite where they do not fall, unless nothing to speak of is there.
    """
    index = np.rint((lattice.u + 1) / lattice.spacing)
    to_edge = np.minimum(index, lattice.side - 1 - index).min(axis=1) // (lattice.side // 16)
    outer, inner = (w[to_edge == k].sum(axis=0) for k in (0, 1))
    ratio = np.divide(outer, inner, out=np.ones_like(outer), where=outer < inner)
    beyond = np.divide(outer * ratio, 1 - ratio, out=np.full_like(outer, np.inf), where=ratio < 1)
    return np.where((ratio == 1) & (outer < 1e-9), 16 * outer, beyond)


def _share_unresolved(log_w, w, lattice):
    """The share of the weights on nodes whose hill is narrower than one spacing, [b].

    The second difference of the log weights along an axis is (spacing / width)^2 for a Normal. A
    hill between the nodes, or one of many, has a large one, whatever the variance of the whole.
    """
    latents = lattice.u.shape[1]
    cube = log_w.reshape([lattice.side] * latents + [-1])
    sharp = np.zeros(cube.shape, bool)
    for axis in range(latents):
        inside = [slice(None)] * axis + [slice(1, -1)]
        with np.errstate(invalid="ignore"):  # where weights are zero, nothing is sharp
            sharp[tuple(inside)] |= np.diff(cube, n=2, axis=axis) < -1
    return np.einsum("nb,nb->b", w, sharp.reshape(w.shape))


def _is_resolved(variance, lattice):
    """Whether weights of these variances, ascending, are no narrower than one spacing, [b]."""
    return variance[:, 0] >= lattice.spacing**2


def _next_box(log_w, w, box, lattice):
    """A box around the weights, widened (w ** power) until the lattice resolves them.

    Returns the powers, [b], one where that was not needed, and the box.
    """
    batch, latents = log_w.shape[1], lattice.u.shape[1]
    mean, axes = np.zeros((batch, latents)), np.zeros((batch, latents, latents))
    power, todo, widened = np.ones(batch), np.arange(batch), w
    for _ in range(60):
        m, covariance = _moments(widened, lattice.u)
        variance, directions = np.linalg.eigh(covariance)
        mean[todo] = m
        # A single node stays one, whatever the power: its hill is about as wide as a spacing.
        axes[todo] = directions * np.sqrt(np.maximum(variance, lattice.spacing**2))[:, None, :]
        todo = todo[~_is_resolved(variance, lattice)]
        if len(todo) == 0:
            break
        power[todo] /= 2
        widened = _normalised(log_w[:, todo] * power[todo])[1]
    centre = box.centre + np.einsum("bij,bj->bi", box.axes, mean)
    outside = box.outside + _share_outside(w, lattice.u, mean, _WIDTH * axes)
    return power, _Box(centre, _WIDTH * box.axes @ axes, outside)


def _share_outside(w, u, mean, axes):
    """The share of the weights beyond the boxes mean + axes @ [-1, 1]^L of the unit box, [b]."""
    inverse = np.linalg.inv(axes)
    beyond = [np.abs((u - m) @ a.T).max(axis=1) > 1 for m, a in zip(mean, inverse, strict=True)]
    return np.array([column[far].sum() for column, far in zip(w.T, beyond, strict=True)])


def _moments(w, u):
    """Mean [b, L] and covariance [b, L, L] of normalised weights, [N, b]."""
    mean = w.T @ u
    second = w.T @ (u[:, :, None] * u[:, None, :]).reshape(len(u), -1)
    return mean, second.reshape(*mean.shape, -1) - mean[:, :, None] * mean[:, None, :]
