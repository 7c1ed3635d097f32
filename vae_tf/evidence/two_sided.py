"""log p(x) between a lower and an upper bound: bidirectional Monte Carlo."""

from typing import NamedTuple

import numpy as np
import scipy.stats
import tensorflow as tf

from vae_tf._core import require
from vae_tf._core.random import split
from vae_tf.evidence.annealing import Path
from vae_tf.linear import LinearGaussian

__all__ = ["Bracket", "bracket", "simulate"]


class Bracket(NamedTuple):
    """log p(x) between two bounds, in nats; `numpy.asarray(bracket)` is the lower one."""

    lower: np.ndarray  # [B], float64
    upper: np.ndarray  # [B], float64
    lower_error: np.ndarray  # [B], standard error of `lower`; infinite where it is not known
    upper_error: np.ndarray  # [B], standard error of `upper`; likewise, and for one z of each x
    certified: bool  # the way back began at exact samples of the posterior
    simulated_width: np.ndarray  # [M], upper - lower on data of the model, certified
    num_chains: int

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.lower, dtype)

    @property
    def estimate(self):
        """The lower bound, which needs no certificate."""
        return self.lower

    @property
    def standard_error(self):
        """That of `estimate`."""
        return self.lower_error

    def limits(self, level=0.95):
        """(low, high), each [B]: an interval that holds log p(x) with probability `level`.

        Half of the doubt, d = (1 - level) / 2, is given to each end, and the bounds themselves err
        outwards. A standard error counts by Student's t over the chains, which is approximate.
        Where there is none, Markov's inequality takes its place: a mean weight W with E[W] = p(x)
        is above p(x) / d with a probability of at most d, so that log(1 / d) nats, 3.7 at 0.95,
        are enough for any number of chains; for one z of each x this is an average over z.
        Where `certified` is False the upper end is no bound.
        """
        if not isinstance(level, float) or not 0 < level < 1:
            raise ValueError(f"Expected `level` between 0 and 1. Received: level={level!r}")
        t = scipy.stats.t.ppf((1 + level) / 2, self.num_chains - 1)
        markov = np.log(2 / (1 - level))
        below, above = (
            np.where(np.isfinite(error), t * error, markov)
            for error in (self.lower_error, self.upper_error)
        )
        return self.lower - below, self.upper + above


def bracket(
    model,
    x,
    *,
    z=None,
    num_chains=16,
    num_steps=200,
    initial="encoder",
    num_simulated=16,
    seed=None,
    progress=False,
):
    """log p(x) from both sides: bidirectional Monte Carlo (Grosse, Ancha and Roy 2016).

        E[log w_forward]  <=  log p(x)  <=  -E[log w_reverse]

    `lower` is `ais`. `upper` goes the same way back, from samples of p(z|x) to where the chains
    had begun. It is a bound if those samples are exact, and then `certified` is True: for the
    linear model, for posterior samples that you pass, and for data that the model itself made,
    whose `z` is one such sample. From one z the bound holds on average over z, and no spread over
    chains shows how it would move with another: its standard error is infinite.

    For any other x the way back begins at the ends of the way there, drawn by their weights. If
    the chains have missed a part of the posterior, both ends miss it: what can be certified then
    is the method. So `simulated_width` holds upper - lower for `num_simulated` examples drawn from
    the model, with the same settings: how far from log p(x) chains of this length can be on data
    like the model's own (Wu et al. 2017).

    Args:
        model: as for `ais`.
        x: data, shape [B, *event].
        z: the latents that x was drawn from, [B, L], if the model made it (`simulate`); or
            independent exact samples of p(z|x), one for each chain, [C, B, L].
        num_chains, num_steps, initial: as for `ais`.
        num_simulated: M, how many examples to draw from the model; 0 for none.
        seed: an integer for the same numbers each time.
        progress: show progress bars.

    Returns:
        A `Bracket`; `bracket.limits(0.95)` is an interval.

    Raises:
        ValueError: if an argument is not what is expected, or `x` is outside the support.

    Example:

    ```python
    both = vt.evidence.bracket(vae, x, seed=0)
    low, high = both.limits(0.95)
    ```
    """
    path = Path(model, num_chains, num_steps, initial)
    seeds = split(seed, 4)
    x = require.examples(x)
    own_x, own_z = simulate(model, num_simulated, seed=seeds[0]) if num_simulated else (x[:0], None)
    # The model's own examples travel with the others: the settings are the same, to the step.
    there = path.forward(np.concatenate([x, own_x]), seed=seeds[1], progress=progress)
    start, certified = _posterior_samples(model, x, z, there, seeds[2])
    if num_simulated:
        start = np.concatenate([start, _repeated(own_z, num_chains)], axis=1)
    back = path.reverse(
        np.concatenate([x, own_x]), start, there.step_sizes, seed=seeds[3], progress=progress
    )
    lower, upper = path.summary(there), path.summary(back)
    width = -upper.estimate - lower.estimate
    one_z = z is not None and np.ndim(z) == 2
    upper_error = np.full(len(x), np.inf) if one_z else upper.standard_error[: len(x)]
    return Bracket(
        lower.estimate[: len(x)],
        -upper.estimate[: len(x)],
        lower.standard_error[: len(x)],
        upper_error,
        certified,
        width[len(x) :],
        path.num_chains,
    )


def simulate(model, n, *, seed=None):
    """`n` examples that the model makes, with the latents it made them from.

    Of p(z|x) the z is one exact sample, which nothing else in a VAE provides.

    Args:
        model: has `prior` and `decode(z)`.
        n: how many.
        seed: an integer for the same numbers each time.

    Returns:
        (x, z): shapes [n, *event] and [n, L], NumPy.
    """
    seeds = split(seed, 2)
    z = model.prior.sample(require.count(n, "n"), seed=seeds[0])
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
    if isinstance(model, LinearGaussian):
        return model.posterior(x).sample(chains, seed=seed).numpy(), True
    # The ends of the way there, drawn again by their weights.
    log_w = there.log_w[:, : len(x)]
    index = tf.random.stateless_categorical(log_w.T, chains, seed=seed).numpy()  # [B, C]
    return np.take_along_axis(there.z[:, : len(x)], index.T[..., None], axis=0), False


def _repeated(z, chains):
    """One sample of each posterior for all chains, which part at once: [B, L] -> [C, B, L]."""
    return np.broadcast_to(z, (chains, *np.shape(z)))
