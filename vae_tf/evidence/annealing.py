"""Annealed importance sampling: from a distribution that can be sampled to the posterior, and back.

    f_beta(z) = f_0(z)^(1 - beta) p(x, z)^beta,     beta = 0, 1/T, ..., 1

A chain follows f_beta from f_0 to p(x, z) by Hamiltonian Monte Carlo and collects a weight w with
E[w] = p(x), so that log w bounds log p(x) from below (Neal 2001; Wu et al. 2017). A chain that goes
the opposite way from an exact sample of the posterior has E[1/w] = 1/p(x), and bounds it from above
(Grosse, Ancha and Roy 2016). The sampler is that of `tfp.mcmc`; here are the two directions, and
the step sizes: found in a pilot run of their own and then held fixed, since a chain that adapts
while it collects its weight has an expectation of no known sign.
"""

import dataclasses
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
from tqdm.auto import tqdm

from vae_tf._core import chunks, require
from vae_tf._core.estimates import Estimate
from vae_tf._core.models import LatentModel, as_condition, given, rows_of, taken_apart
from vae_tf._core.programs import kept
from vae_tf._core.random import split
from vae_tf.evidence.weights import WeightSums
from vae_tf.layers import support

__all__ = ["Annealed", "Path", "Travelled", "ais"]

_EXAMPLES = 64  # at a time
_LEAPFROG_STEPS = 5
_ACCEPTANCE = 0.65  # the optimum of HMC in many dimensions (Neal 2011)
_FIRST_STEP_SIZE = 0.5  # in standard deviations of f_0
_STEP_SIZE_RATE = 1.1  # from one temperature to the next, in the pilot run
_REFRESHING_STEPS = 20  # at beta = 1, before a way back
_LARGEST_ERROR = 0.5  # nats: beyond, the weights are so uneven that their spread says nothing


@dataclasses.dataclass(frozen=True, eq=False)
class Annealed(Estimate):
    """A stochastic lower bound of log p(x), each [B], nats.

    Twice the `standard_error` holds log p(x) in 95 of 100 cases for any number of chains, if the
    log weights are about Normal; it is infinite where few chains have nearly all of the weight.
    """

    effective_sample_size: np.ndarray  # float64, between 1 and the number of chains
    acceptance: np.ndarray  # float64: the mean acceptance of the HMC steps


def ais(
    model: LatentModel,
    x: Any,
    num_chains: int = 16,
    num_steps: int = 200,
    *,
    condition: Any = None,
    initial: str = "encoder",
    seed: Any = None,
    progress: bool = False,
) -> Annealed:
    """Annealed importance sampling (Neal 2001) with HMC: log p(x) from below, for any VAE.

        log 1/C sum_c w_c,     w = prod_t f_t(z_t) / f_(t-1)(z_t),     E[w] = p(x)

    Its expectation is below log p(x), and comes close as `num_steps` grows. The chains need not
    start where the posterior is: q(z|x) only saves steps, and a bad one does little harm.

    Args:
        model: has `prior` and `decode(z)`, and `encode(x)` if the chains start there, all of them
            made of TensorFlow's operations, since they are compiled; its latents are continuous.
        x: data, shape [B, *event].
        num_chains: C, chains for each example, at least two.
        num_steps: T, the number of temperatures.
        condition: of a conditional model: an array [B, ...] or a tuple of them.
        initial: where the chains start: "encoder", q(z|x), or "prior", p(z), which needs more
            steps and does not know of the encoder at all.
        seed: an integer for the same numbers each time.
        progress: show a progress bar.

    Returns:
        `Annealed(estimate, standard_error, effective_sample_size, acceptance)`, each [B], nats. The
        error is the larger of two, that of the delta method and that of Normal log weights with the
        variance found, sqrt((exp(v) - 1) / C), times Student's t over the chains relative to a
        Normal. Above half a nat it is infinite: take more steps, or more chains. The same helps
        where the acceptance is far from 0.65.

    Raises:
        ValueError: if an argument is not what is expected, `x` is outside the support, or
            `condition` has not B rows.

    Example:

    >>> model = vt.linear.LinearGaussian(np.ones((3, 2)), np.zeros(3), 1.0)
    >>> x = np.zeros((5, 3))
    >>> lower = vt.evidence.ais(model, x, num_chains=8, num_steps=20, seed=0)
    >>> bool((abs(lower.estimate - model.log_evidence(x)) < 4 * lower.standard_error).all())
    True
    """
    path = Path(model, num_chains, num_steps, initial)
    return path.summary(path.forward(x, condition=condition, seed=seed, progress=progress))


class Travelled(NamedTuple):
    """What the chains bring home."""

    log_w: np.ndarray  # [C, B], float64
    z: np.ndarray  # [C, B, L]: where they ended
    step_sizes: np.ndarray  # [T, B]
    acceptance: np.ndarray  # [B]


class Path:
    """The way from f_0 to the posterior of a model, and back. The arguments are those of `ais`."""

    def __init__(self, model, num_chains, num_steps, initial):
        self.model = given(model, prior=model.prior)  # which is asked for once
        self.num_chains = require.count(num_chains, "num_chains")
        self.num_steps = require.count(num_steps, "num_steps")
        if self.num_chains < 2:
            raise ValueError(
                "One chain has no standard error. Expected `num_chains` of at least 2. "
                f"Received: num_chains={num_chains}"
            )
        if initial not in ("encoder", "prior"):
            raise ValueError(
                f'Expected `initial` to be "encoder" or "prior". Received: initial={initial!r}'
            )
        self.initial = initial

    def forward(self, x, *, condition=None, seed=None, progress=False):
        """From f_0 to the posterior: E[exp(log_w)] = p(x)."""
        x, condition = self._checked(x, condition)
        return self._in_parts("_forward", [x], condition, seed, progress)

    def reverse(self, x, z, step_sizes, *, condition=None, seed=None, progress=False):
        """From samples z of the posterior, [C, B, L], to f_0: E[exp(log_w)] = 1 / p(x)."""
        x, condition = self._checked(x, condition)
        z = np.swapaxes(np.asarray(z, self._dtype), 0, 1)
        parts = [x, z, np.swapaxes(step_sizes, 0, 1)]
        return self._in_parts("_reverse", parts, condition, seed, progress)

    def summary(self, travelled):
        """The mean weight of the chains of each example, as an `Annealed`."""
        log_w = travelled.log_w
        sums = WeightSums(log_w.shape[1], len(log_w))
        sums.add(np.arange(log_w.shape[1]), log_w)
        estimate, error, effective, _ = sums.log_mean()
        error = covering(error, log_w)
        rounding = 4 * np.finfo(self._dtype).eps * (1 + np.abs(estimate))
        return Annealed(estimate, error + rounding, effective, travelled.acceptance)

    # -- one example after the other, in parts of equal size: one compilation -----------------

    @property
    def _dtype(self):
        return self.model.prior.dtype.as_numpy_dtype

    def _checked(self, x, condition):
        """`x` in the support of the likelihood and of its dtype, and its condition, or an error."""
        if not self.model.prior.dtype.is_floating:
            raise ValueError(
                "Hamiltonian Monte Carlo moves along gradients. Expected continuous latents. "
                f"Received: a prior of dtype {self.model.prior.dtype.name} "
                "(vt.evidence.enumeration sums over discrete ones)"
            )
        x = require.examples(x)
        condition = as_condition(condition, len(x))
        if len(x) == 0:
            raise ValueError("Expected at least one example. Received: `x` with none")
        one = given(self.model, condition and rows_of(condition, slice(1)))
        p_x = one.decode(tf.zeros([1, *self.model.prior.event_shape], self._dtype))
        return support.check(p_x, x).numpy(), condition or ()

    def _in_parts(self, way, arrays, condition, seed, progress):
        """Goes a way with rows [b, ...] of all arrays; the last part is filled up and cut."""
        program = self._program(way, len(arrays))
        arrays = [*arrays, *condition]
        examples = len(arrays[0])
        at_once = chunks.BUDGET // (self.num_chains * chunks.width(self.model, arrays[0]))
        count = -(-examples // max(1, min(_EXAMPLES, at_once)))
        rows = np.arange(count * -(-examples // count)).reshape(count, -1) % examples
        arrays = [tf.convert_to_tensor(array) for array in arrays]
        parts = [[tf.gather(array, part) for array in arrays] for part in rows]
        seeds = split(seed, count)
        # Traced here, once: many short calls in a row would make TensorFlow warn of retracing.
        run = program.get_concrete_function(*parts[0], seeds[0])
        results = [
            run(*p, s) for p, s in zip(tqdm(parts, disable=not progress), seeds, strict=True)
        ]
        fields = (np.concatenate(f, axis=1)[:, :examples] for f in zip(*results, strict=True))
        log_w, z, step_sizes, acceptance = fields
        return Travelled(log_w.astype("float64"), z, step_sizes, acceptance[0].astype("float64"))

    def _program(self, way, own):
        """One of the two programs, as a function of `own` tensors, the condition and a seed."""
        bare, _, prior = taken_apart(self.model)

        def of_tensors(*tensors):
            condition = tensors[own:-1] or None
            # What the model keeps asks for the prior itself: its numbers may have changed by then.
            asked = bare.prior if hasattr(bare, "kept") else prior
            model = given(bare, condition, prior=asked)
            return getattr(self, way)(model, *tensors[:own], tensors[-1])

        key = (way, self.num_chains, self.num_steps, self.initial)
        return kept(bare, key, lambda: tf.function(of_tensors, autograph=False))

    # -- the two programs, for a few examples: every result has them on its second axis --------

    def _forward(self, model, x, seed):
        seeds = tfp.random.split_seed(seed, n=6)
        f_0, target = self._initial(model, x), self._target(model, x)
        scale = self._scale(f_0, x, seeds[0])
        pilot = tf.fill([self.num_steps, x.shape[0]], tf.cast(_FIRST_STEP_SIZE, x.dtype))
        few = max(4, self.num_chains // 4)
        z = self._sample(f_0, few, x, seeds[1])
        *_, step_sizes, _ = self._anneal(f_0.log_prob, target, z, pilot, scale, True, seeds[2])
        z = self._sample(f_0, self.num_chains, x, seeds[3])
        return self._anneal(f_0.log_prob, target, z, step_sizes, scale, False, seeds[4])

    def _reverse(self, model, x, z, step_sizes, seed):
        seeds = tfp.random.split_seed(seed, n=3)
        f_0, target = self._initial(model, x), self._target(model, x)
        scale = self._scale(f_0, x, seeds[0])
        z, step_sizes = tf.einsum("bcl->cbl", z), tf.transpose(step_sizes)  # [C, B, L], [T, B]
        z = tfp.mcmc.sample_chain(
            num_results=1,
            num_burnin_steps=_REFRESHING_STEPS - 1,
            current_state=z,
            kernel=_hmc(target, step_sizes[-1], scale),
            trace_fn=None,
            seed=seeds[1],
        )[0]
        # The same temperatures in the opposite order; at f_0 itself any step size will do.
        back = tf.concat([step_sizes[:-1][::-1], step_sizes[:1]], axis=0)
        return self._anneal(target, f_0.log_prob, z, back, scale, False, seeds[2])

    def _initial(self, model, x):
        return model.prior if self.initial == "prior" else model.encode(x)

    def _sample(self, f_0, count, x, seed):
        shape = [count, x.shape[0]] if self.initial == "prior" else [count]
        return f_0.sample(shape, seed=seed)  # [C, b, L]

    @staticmethod
    def _target(model, x):
        def log_joint(z):
            return model.decode(z).log_prob(x) + model.prior.log_prob(z)

        return log_joint

    def _scale(self, f_0, x, seed):
        """The spread of f_0, [b, L], from samples: a flow has no other way to say it."""
        return tf.math.reduce_std(self._sample(f_0, 64, x, seed), axis=0)

    def _anneal(self, start, end, z, step_sizes, scale, adapt, seed):
        z, log_w, results = tfp.mcmc.sample_annealed_importance_chain(
            num_steps=self.num_steps,
            proposal_log_prob_fn=start,
            target_log_prob_fn=end,
            current_state=z,
            make_kernel_fn=lambda log_prob: _Kernel(log_prob, step_sizes, scale, adapt),
            seed=seed,
        )
        kernel = results.inner_results
        return log_w, z, kernel.step_sizes, kernel.acceptance[None] / self.num_steps


def covering(error, log_w):
    """A standard error that covers for any number of chains, [b], from that of the delta method.

    A few uneven weights have a sample variance that is mostly too small. That of their logarithms
    is not, and the variance of a log-Normal follows from it.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        variance = log_w.var(axis=0, ddof=1)
        error = np.maximum(error, np.sqrt(np.expm1(variance) / len(log_w)))
    few = (error > _LARGEST_ERROR) | np.isneginf(log_w).any(axis=0)
    return np.where(few, np.inf, error * t_factor(len(log_w)))


def t_factor(num_chains, level=0.95):
    """Student's t over the chains, relative to a Normal of the same level."""
    from scipy import stats  # here, because it takes long to import

    return stats.t.ppf((1 + level) / 2, num_chains - 1) / stats.norm.ppf((1 + level) / 2)


def _hmc(log_prob, step_size, scale):
    """HMC in units of `scale`, [b, L], with a step size for each example, [b]."""
    return tfp.mcmc.HamiltonianMonteCarlo(log_prob, step_size[:, None] * scale, _LEAPFROG_STEPS)


class _KernelResults(NamedTuple):
    inner_results: object
    step: tf.Tensor
    step_sizes: tf.Tensor  # [T, b]
    acceptance: tf.Tensor  # [b], the sum so far


class _Kernel(tfp.mcmc.TransitionKernel):
    """HMC with the step size of the present temperature; `adapt` finds that of the next one.

    TFP's annealed chain hands the results of one temperature on to the next. Among them is the
    log-density of the state at the previous temperature, which is no longer right: so the results
    are computed again in each step.
    """

    is_calibrated = True
    parameters: dict = {}

    def __init__(self, log_prob, step_sizes, scale, adapt):
        self._log_prob, self._step_sizes, self._scale = log_prob, step_sizes, scale
        self._adapt = adapt

    def bootstrap_results(self, state):
        inner = _hmc(self._log_prob, self._step_sizes[0], self._scale).bootstrap_results(state)
        return _KernelResults(
            inner, tf.constant(0), self._step_sizes, tf.zeros_like(self._step_sizes[0])
        )

    def one_step(self, state, previous, seed=None):
        _, step, step_sizes, acceptance = previous
        kernel = _hmc(self._log_prob, step_sizes[step], self._scale)
        state, inner = kernel.one_step(state, kernel.bootstrap_results(state), seed=seed)
        accepted = tf.exp(tf.minimum(inner.log_accept_ratio, 0.0))  # [C, b]
        accepted = tf.where(tf.math.is_nan(accepted), tf.zeros_like(accepted), accepted)
        accepted = tf.reduce_mean(accepted, axis=0)
        if self._adapt:
            rate = tf.cast(_STEP_SIZE_RATE, accepted.dtype)
            next_size = step_sizes[step] * tf.where(accepted > _ACCEPTANCE, rate, 1 / rate)
            following = tf.minimum(step + 1, step_sizes.shape[0] - 1)
            step_sizes = tf.tensor_scatter_nd_update(step_sizes, [[following]], [next_size])
        return state, _KernelResults(inner, step + 1, step_sizes, acceptance + accepted)
