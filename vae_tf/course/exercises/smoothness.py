"""Exercises of notebook 04c: what makes the latent space smooth."""

import numpy as np

from vae_tf.course.checks import Function, Value

__all__ = ["EXERCISES"]


# -- 04c.1: the price of a detour ---------------------------------------------------------------

_TO_C, _FROM_C, _STRAIGHT, _STEPS = 8.7, 5.7, 8.9, 30
_DETOUR = (_TO_C + _FROM_C) / _STRAIGHT


# -- 04c.2: length and worst jump ---------------------------------------------------------------


def _steps(frames):
    return np.linalg.norm(np.diff(frames, axis=1), axis=-1)  # [N, T - 1]


def _direct(frames):
    return np.linalg.norm(frames[:, -1] - frames[:, 0], axis=-1)  # [N]


def _measures(frames):
    steps, direct = _steps(frames), _direct(frames)
    return steps.sum(axis=1) / direct, steps.max(axis=1) / direct * steps.shape[1]


def _measured_by(steps, direct, count):
    """The two measures from a step, a straight way and a number of steps of one's own."""

    def measures(frames):
        each, way = steps(frames), direct(frames)
        return each.sum(axis=1) / way, each.max(axis=1) / way * count(frames)

    return measures


def _even(frames):
    return frames.shape[1] - 1


def _squared_steps(frames):
    return _steps(frames) ** 2


def _squared_direct(frames):
    return _direct(frames) ** 2


def _absolute_steps(frames):
    return np.abs(np.diff(frames, axis=1)).sum(axis=-1)


def _absolute_direct(frames):
    return np.abs(frames[:, -1] - frames[:, 0]).sum(axis=-1)


def _jump_of_its_own_mean(frames):
    steps = _steps(frames)
    return _measures(frames)[0], steps.max(axis=1) / steps.mean(axis=1)


def _longest_way(frames):
    """From the first frame to each, not from each to the next."""
    away = np.linalg.norm(frames[:, 1:] - frames[:, :1], axis=-1)
    direct = _direct(frames)
    return away.sum(axis=1) / direct, away.max(axis=1) / direct * away.shape[1]


def _one_step(frames):
    """All steps of a path in one norm."""
    whole = np.linalg.norm(np.diff(frames, axis=1), axis=(1, 2))
    return whole / _direct(frames), whole / _direct(frames)


def _scalar(frames):
    return tuple(np.full(len(frames), one.mean()) for one in _measures(frames))


def _paths():
    """N = 4, T = 9, D = 5, and one path of three frames."""
    rng = np.random.default_rng(42)
    return [(rng.normal(size=(4, 9, 5)).cumsum(axis=1),), (rng.normal(size=(1, 3, 7)),)]


def _a_fade_is_even(measures):
    t = np.linspace(0, 1, 11)[:, None]
    ends = np.random.default_rng(0).normal(size=(2, 3, 1, 6))
    return np.allclose(measures((1 - t) * ends[0] + t * ends[1]), 1)


def _contrast_does_not_count(measures):
    (frames,) = _paths()[0]
    return np.allclose(measures(0.5 + 0.1 * frames), measures(frames))


# -- 04c.3: the price of noise ------------------------------------------------------------------


def _error_with(price):
    def error(x, f_mu, jacobian, scale):
        return ((x - f_mu) ** 2).sum(axis=1) + price(jacobian, scale)

    return error


def _price(jacobian, scale):
    return ((jacobian * scale[:, None]) ** 2).sum(axis=(1, 2))


def _price_of_one_direction(jacobian, scale):
    return ((jacobian * scale[:, None]).sum(axis=2) ** 2).sum(axis=1)


def _price_of_norms(jacobian, scale):
    return (scale**2 * np.sqrt((jacobian**2).sum(axis=1))).sum(axis=1)


def _price_of_scales(jacobian, scale):
    return (scale * (jacobian**2).sum(axis=1)).sum(axis=1)


def _price_without_scales(jacobian, scale):
    del scale
    return (jacobian**2).sum(axis=(1, 2))


def _price_summed_first(jacobian, scale):
    return (scale**2).sum(axis=1) * (jacobian**2).sum(axis=(1, 2))


def _error_of_shifted(x, f_mu, jacobian, scale):
    """As if z were one scale away from the mean in every latent at once."""
    return ((x - f_mu - (jacobian * scale[:, None]).sum(axis=2)) ** 2).sum(axis=1)


def _noisy():
    """B = 5, D = 6, L = 3; and B = 1, D = 2, L = 4."""
    rng, cases = np.random.default_rng(43), []
    for batch, event, latents in ((5, 6, 3), (1, 2, 4)):
        x, f_mu = rng.uniform(size=(2, batch, event))
        scale = np.exp(rng.normal(-1, 0.7, size=(batch, latents)))
        cases.append((x, f_mu, rng.normal(size=(batch, event, latents)), scale))
    return cases


def _no_noise_no_price(error):
    x, f_mu, jacobian, scale = _noisy()[0]
    return np.allclose(error(x, f_mu, jacobian, 0 * scale), ((x - f_mu) ** 2).sum(axis=1))


def _exact_for_a_line(error):
    """f(z) = W z, on the nodes of a rule that is exact for squares: z = mu +- scale."""
    rng = np.random.default_rng(44)
    weights, x, mu = rng.normal(size=(4, 2)), rng.normal(size=(1, 4)), rng.normal(size=(1, 2))
    scale = np.array([[0.3, 0.8]])
    signs = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]])
    exact = ((x - (mu + signs * scale) @ weights.T) ** 2).sum(axis=1).mean()
    return np.allclose(error(x, mu @ weights.T, weights[None], scale), exact)


# -- 04c.4: a Jacobian by differences -----------------------------------------------------------


def _jacobian(f, z, step):
    moves = step * np.eye(z.shape[1])
    columns = [(f(z + move) - f(z - move)) / (2 * step) for move in moves]
    return np.stack(columns, axis=-1)  # [B, D, L]


def _jacobian_forward(f, z, step):
    moves = step * np.eye(z.shape[1])
    return np.stack([(f(z + move) - f(z)) / step for move in moves], axis=-1)


def _jacobian_backward(f, z, step):
    return _jacobian_forward(f, z, -step)


def _jacobian_of_one_direction(f, z, step):
    column = (f(z + step) - f(z - step)) / (2 * step)
    return np.stack([column] * z.shape[1], axis=-1)


def _bent(z):
    """[N, 3] -> [N, 4], of second degree, so that central differences are exact."""
    a, b, c = z.T
    return np.stack([a * b, 3 * c**2 - a, b + 2 * b**2, 5 * a - c * b], axis=-1)


def _bow(z):
    """[N, 2] -> [N, 5]."""
    a, b = z.T
    return np.stack([a**2, b**2, a * b, a + b, 2 * a - 3 * b**2], axis=-1)


def _functions():
    rng = np.random.default_rng(45)
    return [(_bent, rng.normal(size=(6, 3)), 0.1), (_bow, rng.normal(size=(1, 2)), 0.01)]


# -- 04c.5: the best width ----------------------------------------------------------------------


def _width(slope, beta):
    return np.sqrt(beta / (beta + slope))


def _slopes():
    return [
        (np.array([[0.0, 0.5, 30.0], [2.0, 1e-3, 400.0]]), 1.0),
        (np.array([[7.0, 0.1]]), 0.01),
        (np.array([[7.0, 0.1]]), 4.0),
    ]


def _is_the_minimum(width):
    """Against its neighbours, of slope s^2 / 2 + beta KL."""
    slope, beta = np.array([[0.3, 5.0, 60.0]]), 0.7
    best = np.asarray(width(slope, beta), "float64")

    def cost(s):
        return slope * s**2 / 2 + beta * (s**2 - 1 - 2 * np.log(s)) / 2

    return np.all(cost(best) <= np.minimum(cost(1.01 * best), cost(0.99 * best)))


# -- 04c.6: an arc ------------------------------------------------------------------------------


def _angle(start, stop):
    cosine = start @ stop / np.linalg.norm(start) / np.linalg.norm(stop)
    return np.arccos(cosine)


def _arc(start, stop, t):
    angle, sizes = _angle(start, stop), np.linalg.norm([start, stop], axis=-1)
    t = np.asarray(t)[:, None]
    turned = np.sin((1 - t) * angle) * start / sizes[0] + np.sin(t * angle) * stop / sizes[1]
    return turned / np.sin(angle) * ((1 - t) * sizes[0] + t * sizes[1])


def _straight(start, stop, t):
    t = np.asarray(t)[:, None]
    return (1 - t) * start + t * stop


def _unit_arc(start, stop, t):
    points = _arc(start, stop, t)
    return points / np.linalg.norm(points, axis=-1, keepdims=True)


def _projected(start, stop, t):
    points = _straight(start, stop, t)
    norms = _straight(np.linalg.norm(start)[None], np.linalg.norm(stop)[None], t)
    return points / np.linalg.norm(points, axis=-1, keepdims=True) * norms


def _of_full_vectors(start, stop, t):
    """The weights of an arc on vectors that were not made unit vectors."""
    angle, t = _angle(start, stop), np.asarray(t)[:, None]
    return (np.sin((1 - t) * angle) * start + np.sin(t * angle) * stop) / np.sin(angle)


def _without_sine(start, stop, t):
    return _arc(start, stop, t) * np.sin(_angle(start, stop))


def _exchanged(start, stop, t):
    """The weights of the directions exchanged, but not those of the norms."""
    sizes = _straight(np.linalg.norm(start)[None], np.linalg.norm(stop)[None], t)
    return _unit_arc(stop, start, t) * sizes


def _without_norms(start, stop, t):
    """The angle from a cosine that was not divided by the norms."""
    angle, t = np.arccos(start @ stop), np.asarray(t)[:, None]
    return (np.sin((1 - t) * angle) * start + np.sin(t * angle) * stop) / np.sin(angle)


def _by_cosine(start, stop, t):
    """As if the two directions stood at a right angle."""
    angle, sizes = _angle(start, stop), np.linalg.norm([start, stop], axis=-1)
    t = np.asarray(t)[:, None]
    turned = np.cos(t * angle) * start / sizes[0] + np.sin(t * angle) * stop / sizes[1]
    return turned * ((1 - t) * sizes[0] + t * sizes[1])


def _in_degrees(start, stop, t):
    angle, sizes = np.degrees(_angle(start, stop)), np.linalg.norm([start, stop], axis=-1)
    t = np.asarray(t)[:, None]
    turned = np.sin((1 - t) * angle) * start / sizes[0] + np.sin(t * angle) * stop / sizes[1]
    return turned / np.sin(angle) * ((1 - t) * sizes[0] + t * sizes[1])


def _arcs():
    start, stop = np.array([3.0, 0.0, 0.0]), np.array([1.0, 2.0, -2.0])
    longer = np.random.default_rng(46).normal(size=(2, 8)) * [[1.0], [2.5]]
    return [(start, stop, np.array([0.0, 0.25, 0.9])), (*longer, np.linspace(0, 1, 5))]


def _ends_are_kept(arc):
    start, stop, _ = _arcs()[1]
    return np.allclose(arc(start, stop, np.array([0.0, 1.0])), [start, stop])


EXERCISES = {
    "04c.1": Value(
        [_DETOUR, _DETOUR],
        mistakes={
            "you divided the jump by the path's own mean step; it should be by the step of an even "
            "pace along the straight way": [_DETOUR, 1.0],
            "you gave the longer part of the way as the jump; the jump is a step, one of 30": [
                _DETOUR,
                _TO_C / _STRAIGHT,
            ],
            "you did not divide the jump by the step of an even pace": [
                _DETOUR,
                (_TO_C + _FROM_C) / _STEPS,
            ],
            "you divided the straight way by the path; it should be the other way round": [
                1 / _DETOUR,
                1 / _DETOUR,
            ],
            "you let each part have half of the steps; the pace is even along the whole path": [
                _DETOUR,
                2 * _TO_C / _STRAIGHT,
            ],
            "you took the pace of the straight way for the jump; C lies off it": [
                _DETOUR,
                _STRAIGHT / _STEPS,
            ],
            "you did not divide the length by the straight way": [_TO_C + _FROM_C, _DETOUR],
        },
    ),
    "04c.2": Function(
        truth=_measures,
        cases=_paths,
        mistakes={
            "you left out the number of steps: the jump should be divided by the step of an even "
            "pace": _measured_by(_steps, _direct, lambda _: 1),
            "you counted frames; T frames have T - 1 steps": _measured_by(
                _steps, _direct, lambda frames: frames.shape[1]
            ),
            "you divided the jump by the path's own mean step; it should be by that of the "
            "straight way": _jump_of_its_own_mean,
            "you took squared distances; a length is a sum of distances": _measured_by(
                _squared_steps, _squared_direct, _even
            ),
            "you squared the steps; a length is a sum of distances": _measured_by(
                _squared_steps, _direct, _even
            ),
            "you summed absolute differences; the distances are Euclidean": _measured_by(
                _absolute_steps, _absolute_direct, _even
            ),
            "you did not divide by the straight way from the first frame to the last": _measured_by(
                _steps, lambda frames: np.ones(len(frames)), _even
            ),
            "you measured from the first frame to each; a step goes from a frame to the next": (
                _longest_way
            ),
            "you put all steps of a path into one norm; each step has its own distance": _one_step,
            "you averaged over the paths; each has its own two numbers": _scalar,
            "you returned them in the other order; first the length": (
                lambda frames: _measures(frames)[::-1]
            ),
        },
        properties={
            "a cross-fade should have length 1 and worst jump 1": _a_fade_is_even,
            "less contrast in all frames should change neither number": _contrast_does_not_count,
        },
    ),
    "04c.3": Function(
        truth=_error_with(_price),
        cases=_noisy,
        mistakes={
            "you left the price of the noise out": _error_with(lambda *_: 0),
            "you returned the price alone; the error at the mean is to be added": (
                lambda _, __, jacobian, scale: _price(jacobian, scale)
            ),
            "you did not square the scale": _error_with(_price_of_scales),
            "you did not square the norm of each column of the Jacobian": _error_with(
                _price_of_norms
            ),
            "you left the scales out: a steep decoder pays where q is wide": _error_with(
                _price_without_scales
            ),
            "you added the latents before you squared; each latent has noise of its own": (
                _error_with(_price_of_one_direction)
            ),
            "you moved every latent by one scale at once; the noise has either sign": (
                _error_of_shifted
            ),
            "you summed scales and slopes apart; each latent's slope goes with its own scale": (
                _error_with(_price_summed_first)
            ),
            "you averaged over the latents; the price is a sum": _error_with(
                lambda jacobian, scale: _price(jacobian, scale) / scale.shape[1]
            ),
            "you averaged over the pixels; the price is a sum": _error_with(
                lambda jacobian, scale: _price(jacobian, scale) / jacobian.shape[1]
            ),
            "you halved the price: that factor belongs to a log-likelihood": _error_with(
                lambda jacobian, scale: _price(jacobian, scale) / 2
            ),
            "you took a root of the price; squared errors add as they are": _error_with(
                lambda jacobian, scale: np.sqrt(_price(jacobian, scale))
            ),
            "you took the distance at the mean; its square is to be added to": (
                lambda x, f_mu, jacobian, scale: (
                    np.linalg.norm(x - f_mu, axis=1) + _price(jacobian, scale)
                )
            ),
            "you subtracted the price; noise adds to the error": _error_with(
                lambda jacobian, scale: -_price(jacobian, scale)
            ),
        },
        properties={
            "without noise, only the error at the mean should be left": _no_noise_no_price,
            "for a decoder that is a matrix the formula should be exact": _exact_for_a_line,
        },
    ),
    "04c.4": Function(
        truth=_jacobian,
        cases=_functions,
        mistakes={
            "you went forward only; half a step to either side costs one more call and is far more "
            "exact": _jacobian_forward,
            "you went backward only; central differences go to either side": _jacobian_backward,
            "you divided by the step; the two points are two steps apart": (
                lambda *case: 2 * _jacobian(*case)
            ),
            "you did not divide by the distance of the two points": (
                lambda f, z, step: 2 * step * _jacobian(f, z, step)
            ),
            "you moved all latents at once; a column belongs to one latent": (
                _jacobian_of_one_direction
            ),
            "you put the latents before the pixels; the shape should be [B, D, L]": (
                lambda *case: _jacobian(*case).swapaxes(1, 2)
            ),
            "you put the latents first; the shape should be [B, D, L]": (
                lambda *case: np.moveaxis(_jacobian(*case), -1, 0)
            ),
            "you took the differences the wrong way round": lambda *case: -_jacobian(*case),
            "you averaged over the examples; each has a Jacobian of its own": (
                lambda *case: _jacobian(*case).mean(axis=0)
            ),
        },
    ),
    "04c.5": Function(
        truth=_width,
        cases=_slopes,
        mistakes={
            "you returned the variance; the width is its square root": (
                lambda slope, beta: _width(slope, beta) ** 2
            ),
            "you returned the precision; the width is one over its square root": (
                lambda slope, beta: _width(slope, beta) ** -2
            ),
            "you forgot beta": lambda slope, _: _width(slope, 1.0),
            "you divided the slope by beta twice, or put beta upside down": (
                lambda slope, beta: _width(slope, 1 / beta)
            ),
            "you forgot the 1 of the prior: no slope should give width 1": (
                lambda slope, beta: np.sqrt(beta / slope)
            ),
            "you forgot that the slope is squared already": (
                lambda slope, beta: np.sqrt(beta / (beta + slope**2))
            ),
            "you left a factor 1/2 on one of the two terms only": (
                lambda slope, beta: np.sqrt(beta / (beta + slope / 2))
            ),
            "you left a factor 2 on one of the two terms only": (
                lambda slope, beta: np.sqrt(beta / (beta + 2 * slope))
            ),
            "you returned the price at the best width; the width itself is asked": (
                lambda slope, beta: beta / 2 * np.log1p(slope / beta)
            ),
            "you took the root of the slope only": (
                lambda slope, beta: beta / (beta + np.sqrt(slope))
            ),
            "you took roots term by term; the root is of the whole sum": (
                lambda slope, beta: 1 / (1 + np.sqrt(slope / beta))
            ),
            "you subtracted the slope; it makes q narrower, so its part is to be added": (
                lambda slope, beta: 1 / np.sqrt(1 - slope / beta)
            ),
        },
        properties={"a little wider, or narrower, should cost more": _is_the_minimum},
    ),
    "04c.6": Function(
        truth=_arc,
        cases=_arcs,
        mistakes={
            "you took the straight line": _straight,
            "you projected the straight line onto the arc, where it turns unevenly": _projected,
            "you forgot the norm, which should change evenly from one end to the other": _unit_arc,
            "you did not make unit vectors first; between ends of unequal norm the norm should "
            "change evenly": _of_full_vectors,
            "you forgot to divide by the sine of the whole angle": _without_sine,
            "you went from stop to start": lambda start, stop, t: _arc(stop, start, t),
            "you kept the norm of the start": (
                lambda start, stop, t: _unit_arc(start, stop, t) * np.linalg.norm(start)
            ),
            "you exchanged the weights of the two directions": _exchanged,
            "you did not divide by both norms before arccos: a cosine lies between -1 and 1": (
                _without_norms
            ),
            "you used cosine and sine as if the ends stood at a right angle; the weights should be "
            "two sines": _by_cosine,
            "you used degrees; np.sin takes radians": _in_degrees,
        },
        properties={"the arc should begin at start and end at stop": _ends_are_kept},
    ),
}
