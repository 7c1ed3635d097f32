"""log p(x) between a lower and an upper bound: bidirectional Monte Carlo."""

import dataclasses
from statistics import NormalDist
from typing import Any

import numpy as np
import scipy.special

from vae_tf._core import require
from vae_tf._core.estimates import Estimate
from vae_tf._core.models import LatentModel, as_condition, given, is_exact, rows
from vae_tf._core.random import split
from vae_tf.evidence.annealing import Path, t_factor
from vae_tf.evidence.weights import draw

__all__ = ["Bracket", "bracket", "simulate"]


@dataclasses.dataclass(frozen=True, eq=False)
class Bracket(Estimate):
    """log p(x) between two bounds, in nats: `lower` and `upper`, with an error each.

    The estimate is the lower one, which is a bound for any x. Both errors are as for `Annealed`;
    `upper_error` is also infinite with one z for each x.
    """

    upper: np.ndarray  # [B], float64
    upper_error: np.ndarray  # [B]
    certified: bool  # the way back began at exact samples of the posterior
    simulated_width: np.ndarray  # [M], upper - lower on data of the model, certified
    num_chains: int

    @property
    def lower(self) -> np.ndarray:
        """The estimate, by its other name."""
        return self.estimate

    @property
    def lower_error(self) -> np.ndarray:
        """The standard error of the estimate."""
        return self.standard_error

    def limits(self, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
        """(low, high), each [B]: an interval that holds log p(x) with probability `level`.

        Each end may miss log p(x) with probability d = (1 - level) / 2. On average the lower bound
        is too low and the upper one too high, which only makes the interval wider. A finite
        standard error counts by Student's t over the chains, which is approximate. An infinite one
        is replaced by Markov's inequality: a mean weight W with E[W] = p(x) is above p(x) / d with
        a probability of at most d, so that log(1 / d) nats, 3.7 at 0.95, are enough for any number
        of chains; for one z of each x this is an average over z. Where `certified` is False the
        upper end is no bound.

        Raises:
            ValueError: if `level` is not between 0 and 1.
        """
        if not isinstance(level, float) or not 0 < level < 1:
            raise ValueError(f"Expected `level` between 0 and 1. Received: level={level!r}")
        # The errors hold the factor of level 0.95 already.
        ratio = t_factor(self.num_chains, level) / t_factor(self.num_chains)
        t = NormalDist().inv_cdf((1 + level) / 2) * ratio
        markov = np.log(2 / (1 - level))
        below, above = (
            np.where(np.isposinf(error), markov, t * error)
            for error in (self.lower_error, self.upper_error)
        )
        return self.lower - below, self.upper + above


def bracket(
    model: LatentModel,
    x: Any,
    *,
    condition: Any = None,
    z: Any = None,
    num_chains: int = 16,
    num_steps: int = 200,
    initial: str = "encoder",
    num_simulated: int = 16,
    seed: Any = None,
    progress: bool = False,
) -> Bracket:
    """log p(x) from both sides: bidirectional Monte Carlo (Grosse, Ancha and Roy 2016).

        E[log w_forward]  <=  log p(x)  <=  -E[log w_reverse]

    `lower` is `ais`. `upper` goes the same way back, from samples of p(z|x) to where the chains
    had begun. It is a bound if those samples are exact, and then `certified` is True: for a model
    with a closed form, for posterior samples that you pass, and for data that the model itself
    made, whose `z` is one such sample. From one z the bound holds on average over z, and no spread
    over chains shows how it would move with another: its standard error is infinite.

    For any other x the way back begins where the chains ended, drawn by their weights. If the
    chains have missed a part of the posterior, both bounds miss it, and nothing about this x shows
    it; what can be tested is the method. So `simulated_width` holds upper - lower for
    `num_simulated` examples drawn from the model, with the same settings: how far from log p(x)
    chains of this length can be on data like the model's own (Wu et al. 2017).

    Args:
        model: as for `ais`.
        x: data, shape [B, *event].
        condition: of a conditional model: an array [B, ...] or a tuple of them. The simulated
            examples have the conditions of the first ones, in turn.
        z: the latents that x was drawn from, [B, L], if the model made it (`simulate`); or
            independent exact samples of p(z|x), one for each chain, [C, B, L].
        num_chains, num_steps, initial: as for `ais`.
        num_simulated: M, how many examples to draw from the model; 0 for none.
        seed: an integer for the same numbers each time.
        progress: show progress bars.

    Returns:
        A `Bracket`; `bracket.limits(0.95)` is an interval.

    Raises:
        ValueError: if an argument is not what is expected, `x` is outside the support, or
            `condition` has not B rows.

    Example:

    >>> model = vt.linear.LinearGaussian(np.ones((3, 2)), np.zeros(3), 1.0)
    >>> x, z = vt.evidence.simulate(model, 5, seed=0)
    >>> both = vt.evidence.bracket(model, x, num_chains=8, num_steps=20, num_simulated=0, seed=0)
    >>> low, high = both.limits(0.95)
    >>> bool((low < model.log_evidence(x)).all() and (model.log_evidence(x) < high).all())
    True
    """
    model = given(model, prior=model.prior)  # which is asked for once
    path = Path(model, num_chains, num_steps, initial)
    seeds = split(seed, 4)
    x = require.examples(x)
    condition = as_condition(condition, len(x))
    own_x, own_z, own_condition = _simulated(model, x, condition, num_simulated, seeds[0])
    # The model's own examples travel with the others: the settings are the same, to the step.
    every = np.concatenate([x, own_x])
    way = {"condition": _joined(condition, own_condition), "progress": progress}
    there = path.forward(every, seed=seeds[1], **way)
    start, certified = _posterior_samples(given(model, condition), x, z, there, seeds[2])
    start = np.concatenate([start, _repeated(own_z, num_chains)], axis=1)
    back = path.reverse(every, start, there.step_sizes, seed=seeds[3], **way)
    lower, upper = path.summary(there), path.summary(back)
    own, others = slice(len(x), None), slice(len(x))
    one_z = z is not None and np.ndim(z) == 2
    return Bracket(
        estimate=lower.estimate[others],
        standard_error=lower.standard_error[others],
        upper=-upper.estimate[others],
        upper_error=np.full(len(x), np.inf) if one_z else upper.standard_error[others],
        certified=certified,
        simulated_width=-upper.estimate[own] - lower.estimate[own],
        num_chains=path.num_chains,
    )


def _simulated(model, x, condition, count, seed):
    """x, z and condition of `count` examples that the model makes."""
    if not count:
        return x[:0], np.zeros((0, *model.prior.event_shape)), rows(condition, slice(0))
    own = rows(condition, np.arange(require.count(count, "num_simulated")) % max(1, len(x)))
    return *simulate(model, count, condition=own, seed=seed), own


def _joined(first, second):
    return first and tuple(np.concatenate(parts) for parts in zip(first, second, strict=True))


def simulate(
    model: LatentModel, n: int, *, condition: Any = None, seed: Any = None
) -> tuple[np.ndarray, np.ndarray]:
    """`n` examples that the model makes, with the latents it made them from.

        z ~ p(z),   x ~ p(x|z)

    Of p(z|x) that z is one exact sample, which nothing else in a VAE provides.

    Args:
        model: has `prior` and `decode(z)`.
        n: how many.
        condition: of a conditional model: an array [n, ...] or a tuple of them.
        seed: an integer for the same numbers each time.

    Returns:
        (x, z): shapes [n, *event] and [n, L], NumPy.

    Raises:
        ValueError: if `n` is not a positive integer, or `condition` has not n rows.

    Example:

    >>> model = vt.linear.LinearGaussian(np.ones((3, 2)), np.zeros(3), 1.0)
    >>> x, z = vt.evidence.simulate(model, 5, seed=0)
    >>> x.shape, z.shape
    ((5, 3), (5, 2))
    """
    seeds, n = split(seed, 2), require.count(n, "n")
    model = given(model, as_condition(condition, n), prior=model.prior)
    z = model.prior.sample(n, seed=seeds[0])
    return model.decode(z).sample(seed=seeds[1]).numpy(), z.numpy()


def _posterior_samples(model, x, z, there, seed):
    """Samples of p(z|x), [C, B, L], and whether they are exact."""
    chains, _, latents = there.z.shape
    if z is not None:
        z = np.asarray(z)
        shapes = (len(x), latents), (chains, len(x), latents)
        if z.shape not in shapes or not np.isfinite(z).all():
            raise ValueError(
                f"Expected `z` of shape {list(shapes[0])}, one for each example, or "
                f"{list(shapes[1])}, one for each chain, finite. Received: shape "
                f"{list(z.shape)}, finite={np.isfinite(z).all()}"
            )
        return (z if z.ndim == 3 else _repeated(z, chains)), True
    if is_exact(model):
        return model.posterior(x).sample(chains, seed=seed).numpy(), True
    # Where the chains ended, drawn by their weights.
    log_w = there.log_w[:, : len(x)]
    index = draw(scipy.special.softmax(log_w, axis=0), chains, seed)  # [C, B]
    return np.take_along_axis(there.z[:, : len(x)], index[..., None], axis=0), False


def _repeated(z, chains):
    """One sample of each posterior for all chains, which part at once: [B, L] -> [C, B, L]."""
    return np.broadcast_to(z, (chains, *np.shape(z)))
