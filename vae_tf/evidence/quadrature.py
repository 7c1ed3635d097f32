"""log p(x) by quadrature over one or two latents, with an error estimate: `vt.evidence.grid`."""

import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from tqdm.auto import tqdm

from vae_tf._core import chunks, require
from vae_tf.elbo import log_joint
from vae_tf.evidence import pairwise

__all__ = ["Grid", "grid"]

# {number of latents: ...}
_FIRST_SIDES = {1: (20_000,), 2: (80, 320)}  # nodes per axis on the prior, decoded once for all
_LAST_SIDE = {1: 200_000, 2: 640}  # the same, for the few examples that nothing else resolves
_FIRST_WIDTH = 8.0  # these grids reach so many standard deviations of the prior,
_WIDTH = 9.0  # those in between so many of a single posterior,
_SIDES = (48, 96, 192)  # with so many nodes per axis,
_ROUNDS = 12  # and so many moves for each.
_EXAMPLES, _AT_LAST = 256, 64  # at a time: 200 MB for the weights on the largest grid


class Grid(NamedTuple):
    """log p(x) by quadrature, each [B], in nats. `numpy.asarray(grid)` is the estimate."""

    estimate: np.ndarray  # float64
    error: np.ndarray  # float64, a conservative estimate of |estimate - log p(x)|
    nodes: np.ndarray  # int, how many nodes per axis it took

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.estimate, dtype)


def grid(model, x, *, tolerance=1e-4, progress=False):
    """log p(x) by quadrature over one or two latents: the truth that bounds are measured against.

        log p(x) = log int p(x|z) p(z) dz   ~   log sum_i h^L p(x|z_i) p(z_i)

    For a smooth integrand a sum over equidistant nodes converges faster than any power of the
    spacing h, once h is about as small as the width of the posterior. Range and resolution are
    found for each example: the first grids cover the prior; where they are too coarse, the weights
    are flattened until they can be resolved, and the next grid is laid around their mean, along
    their principal axes. Where hills lie too far apart for that, a finer grid covers the prior.

    The error estimate compares the sum with those over every second node of each axis, which use
    twice the spacing and are far worse. The share of the integral beyond the box, that of hills
    narrower than one spacing (three times) and rounding are added. What it cannot know of are
    hills so narrow that the first grids step over them: 0.0008 prior standard deviations apart
    for one latent, 0.05 for two.

    Args:
        model: has `prior` (with a mean and a standard deviation) and `decode(z)`.
        x: data, shape [B, *event].
        tolerance: refine until the estimated error, rounding aside, is below, in nats. Where the
            finest grids are not enough, `error` says so; it is infinite where they resolve nothing.
        progress: show a progress bar.

    Returns:
        `Grid(estimate, error, nodes)`, each [B].

    Raises:
        ValueError: if the model has more than two latents, or `x` is outside the support.

    Example:

    ```python
    truth = vt.evidence.grid(vae, x)
    truth.estimate  # [B], nats
    ```
    """
    require.latents(model.prior, "prior")
    latents = model.prior.event_shape[0]
    if latents not in (1, 2):
        raise ValueError(
            "A grid over the latents is exact for one or two of them. "
            f"Expected a model with 1 or 2 latents. Received: {latents} latents "
            "(vt.evidence.iwae bounds log p(x) for any number)"
        )
    x = np.asarray(x)
    if len(x) == 0:
        return Grid(np.zeros(0), np.zeros(0), np.zeros(0, int))
    parts = [x[i : i + _EXAMPLES] for i in range(0, len(x), _EXAMPLES)]
    grids = [_grid(model, part, tolerance) for part in tqdm(parts, disable=not progress)]
    return Grid(*(np.concatenate(field) for field in zip(*grids, strict=True)))


def _grid(model, x, tolerance):
    """`grid` of a few examples."""
    latents = model.prior.event_shape[0]
    centre, reach = model.prior.mean().numpy(), _FIRST_WIDTH * model.prior.stddev().numpy()
    first = _Box(centre[None], np.diag(reach)[None], np.zeros(1))
    result = Grid(np.zeros(len(x)), np.full(len(x), np.inf), np.zeros(len(x), int))

    def refine(todo, box, side):
        return _refine(model, x, todo, box, _lattice(side, latents), tolerance, result)

    todo, powers = np.arange(len(x)), np.ones(len(x))
    for side in _FIRST_SIDES[latents]:
        # Four times the nodes resolve what had to be flattened by a factor of sixteen.
        if len(todo) and powers.max() >= 1 / 16:
            todo, box, powers = refine(todo, first, side)
    for side in _SIDES:
        for _ in range(_ROUNDS):
            if len(todo):
                todo, box, powers = refine(todo, box, side)
            if len(todo) == 0 or powers.min() == 1:  # all in place: what lacks is resolution
                break
    for start in range(0, len(todo), _AT_LAST):  # hills far apart fit no single box
        refine(todo[start : start + _AT_LAST], first, _LAST_SIDE[latents])
    return result._replace(error=result.error + _rounding(model, x, centre))


def _rounding(model, x, centre):
    """What float arithmetic loses, [B]: terms as large as log p(x, centre) cancel in log p(x)."""
    z = tf.convert_to_tensor(centre[None], model.prior.dtype)  # [1, L]
    size = 1 + np.abs(pairwise.log_prob(model.decode(z), x).numpy()[0])
    precise, own = (np.finfo(d).eps for d in ("float64", model.prior.dtype.as_numpy_dtype))
    return 1024 * precise * size + 4 * own * size


def _refine(model, x, todo, box, lattice, tolerance, result):
    """One round for the examples `todo`: keeps what it improves, and returns the examples that
    need another, the boxes for it, and the powers by which their weights were flattened for them,
    zero where the box does not hold all of the posterior.
    """
    log_w = _log_joint_on(model, x[todo], box.place(lattice.u))  # [N, b]
    power, next_box = _next_box(log_w, box, lattice)
    estimate, spread = _integrate(log_w, box, lattice)
    missed = _tail(log_w, lattice) + box.outside
    flat = power == 1
    rough = np.ones(len(todo))
    rough[flat] = _share_unresolved(log_w[:, flat], lattice)
    error = np.where(rough < 0.05, spread + missed + 3 * rough, np.inf)
    better = error <= result.error[todo]
    rows = todo[better]
    result.estimate[rows], result.error[rows] = estimate[better], error[better]
    result.nodes[rows] = lattice.side
    left = ~(error <= tolerance)
    return todo[left], next_box.take(left), (power * (missed <= tolerance))[left]


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


def _log_joint_on(model, x, z):
    """log p(x, z) at nodes z, [N, b, L] or [N, 1, L], in chunks: float64, [N, b]."""
    shared = z.shape[1] == 1
    per_node = math.prod(x.shape[1:]) + len(x) if shared else x.size
    chunk = max(1, chunks.BUDGET // max(1, per_node))
    parts = []
    for start in range(0, len(z), chunk):
        part = tf.convert_to_tensor(z[start : start + chunk], model.prior.dtype)
        if shared:  # each node is decoded once, for all examples
            log_likelihood = pairwise.log_prob(model.decode(part[:, 0]), x)
            parts.append((log_likelihood + tf.cast(model.prior.log_prob(part), tf.float64)).numpy())
        else:
            parts.append(log_joint(model, x, part).numpy().astype("float64"))
    return np.concatenate(parts)


def _log_sum(log_w, axis=0):
    top = log_w.max(axis=axis, keepdims=True)
    top = np.where(np.isfinite(top), top, 0.0)  # nothing but zero weights
    with np.errstate(divide="ignore"):
        return np.squeeze(top, axis) + np.log(np.exp(log_w - top).sum(axis=axis))


def _integrate(log_w, box, lattice):
    """The integral over a box and its error estimate, each [b]."""
    latents = lattice.u.shape[1]
    log_cell = latents * math.log(lattice.spacing) + box.log_volume()
    estimate = _log_sum(log_w) + log_cell
    # The 2^L sublattices of twice the spacing; their mean is the sum over all nodes.
    cube = log_w.reshape([lattice.side] * latents + [-1])
    starts = np.ndindex(*[2] * latents)
    coarse = [
        _log_sum(cube[tuple(slice(s, None, 2) for s in start)].reshape(-1, log_w.shape[1]))
        for start in starts
    ]
    spread = np.abs(np.array(coarse) + latents * math.log(2) + log_cell - estimate).max(axis=0)
    return estimate, spread


def _tail(log_w, lattice):
    """The share of the integral beyond the box, if it goes on falling as at the edge, [b].

    It is judged by bands a sixteenth of the box wide, so that no ripple of the likelihood passes
    for a rise, and infinite where they do not fall, unless nothing to speak of is there.
    """
    index = np.rint((lattice.u + 1) / lattice.spacing)
    to_edge = np.minimum(index, lattice.side - 1 - index).min(axis=1) // (lattice.side // 16)
    outer, inner = (np.exp(_log_sum(log_w[to_edge == k]) - _log_sum(log_w)) for k in (0, 1))
    ratio = np.divide(outer, inner, out=np.ones_like(outer), where=outer < inner)
    beyond = np.divide(outer * ratio, 1 - ratio, out=np.full_like(outer, np.inf), where=ratio < 1)
    return np.where((ratio == 1) & (outer < 1e-9), 16 * outer, beyond)


def _share_unresolved(log_w, lattice):
    """The share of the weights on nodes whose hill is narrower than one spacing, [b].

    The second difference of the log weights along an axis is (spacing / width)^2 for a Normal. A
    hill between the nodes, or one of many, has a large one, whatever the variance of the whole.
    """
    latents = lattice.u.shape[1]
    cube = log_w.reshape([lattice.side] * latents + [-1])
    sharp = np.zeros(cube.shape, bool)
    for axis in range(latents):
        inside = [slice(None)] * axis + [slice(1, -1)]
        sharp[tuple(inside)] |= np.diff(cube, n=2, axis=axis) < -1
    w = np.exp(log_w - _log_sum(log_w))
    return (w * sharp.reshape(w.shape)).sum(axis=0)


def _next_box(log_w, box, lattice):
    """A box around the weights, flattened (w ** power) until the lattice resolves them.

    Returns the powers, [b], one where no flattening was needed, and the box.
    """
    batch, latents = log_w.shape[1], lattice.u.shape[1]
    mean, axes = np.zeros((batch, latents)), np.zeros((batch, latents, latents))
    power, todo = np.ones(batch), np.arange(batch)
    for _ in range(60):
        m, covariance = _moments(log_w[:, todo] * power[todo], lattice.u)
        variance, directions = np.linalg.eigh(covariance)
        ok = variance[:, 0] >= lattice.spacing**2  # no narrower than one spacing
        mean[todo[ok]] = m[ok]
        axes[todo[ok]] = directions[ok] * np.sqrt(variance[ok])[:, None, :]
        todo = todo[~ok]
        if len(todo) == 0:
            break
        power[todo] /= 2
    centre = box.centre + np.einsum("bij,bj->bi", box.axes, mean)
    outside = box.outside + _share_outside(log_w, lattice.u, mean, _WIDTH * axes)
    return power, _Box(centre, _WIDTH * box.axes @ axes, outside)


def _share_outside(log_w, u, mean, axes):
    """The share of the weights beyond the boxes mean + axes @ [-1, 1]^L of the unit box, [b]."""
    w = np.exp(log_w - _log_sum(log_w))
    inverse = np.linalg.inv(axes)
    beyond = [np.abs((u - m) @ a.T).max(axis=1) > 1 for m, a in zip(mean, inverse, strict=True)]
    return np.array([column[far].sum() for column, far in zip(w.T, beyond, strict=True)])


def _moments(log_w, u):
    """Mean [b, L] and covariance [b, L, L] of the normalised weights."""
    w = np.exp(log_w - _log_sum(log_w))  # [N, b]
    mean = w.T @ u
    second = w.T @ (u[:, :, None] * u[:, None, :]).reshape(len(u), -1)
    return mean, second.reshape(*mean.shape, -1) - mean[:, :, None] * mean[:, None, :]
