"""Annealed importance sampling: from a distribution that can be sampled to the posterior, and back.

    f_beta(z) = f_0(z)^(1 - beta) p(x, z)^beta,     beta = 0, 1/T, ..., 1

A chain follows f_beta from f_0 to p(x, z) by Hamiltonian Monte Carlo and collects a weight w with
E[w] = p(x), so that log w bounds log p(x) from below (Neal 2001; Wu et al. 2017). A chain that goes
the opposite way from an exact sample of the posterior has E[1/w] = 1/p(x), and bounds it from above
(Grosse, Ancha and Roy 2016). The sampler is that of `tfp.mcmc`; here are the two directions, and
the step sizes: found in a pilot run of their own and then held fixed, since a chain that adapts
while it collects its weight has an expectation of no known sign.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
from tqdm.auto import tqdm

from vae_tf._core import require
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
_FEWEST = 5  # chains' worth of weight, below which their spread says nothing of the error


class Annealed(NamedTuple):
    """A stochastic lower bound of log p(x), each [B]. `numpy.asarray(bound)` is the estimate."""

    estimate: np.ndarray  # float64, nats
    standard_error: np.ndarray  # float64, over the chains; infinite where few have the weight
    effective_sample_size: np.ndarray  # float64, between 1 and the number of chains
    acceptance: np.ndarray  # float64: the mean acceptance of the HMC steps

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.estimate, dtype)


def ais(model, x, num_chains=16, num_steps=200, *, initial="encoder", seed=None, progress=False):
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
        initial: where the chains start: "encoder", q(z|x), or "prior", p(z), which needs more
            steps and does not know of the encoder at all.
        seed: an integer for the same numbers each time.
        progress: show a progress bar.

    Returns:
        `Annealed(estimate, standard_error, effective_sample_size, acceptance)`, each [B]. Where the
        weight lies with fewer than five chains their spread says nothing, and the standard error
        is infinite: more steps, or more chains. So does an acceptance far from 0.65.

    Raises:
        ValueError: if an argument is not what is expected, or `x` is outside the support.

    Example:

    ```python
    lower = vt.evidence.ais(vae, x, seed=0)
    lower.estimate, lower.standard_error  # [B], nats
    ```
    """
    path = Path(model, num_chains, num_steps, initial)
    return path.summary(path.forward(x, seed=seed, progress=progress))


class Travelled(NamedTuple):
    """What the chains bring home."""

    log_w: np.ndarray  # [C, B], float64
    z: np.ndarray  # [C, B, L]: where they ended
    step_sizes: np.ndarray  # [T, B]
    acceptance: np.ndarray  # [B]


class Path:
    """The way from f_0 to the posterior of a model, and back. The arguments are those of `ais`."""

    def __init__(self, model, num_chains, num_steps, initial):
        self.model = model
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

    def forward(self, x, *, seed=None, progress=False):
        """From f_0 to the posterior: E[exp(log_w)] = p(x)."""
        return self._in_parts(self._forward, [self._checked(x)], seed, progress)

    def reverse(self, x, z, step_sizes, *, seed=None, progress=False):
        """From samples z of the posterior, [C, B, L], to f_0: E[exp(log_w)] = 1 / p(x)."""
        x = self._checked(x)
        z = np.swapaxes(np.asarray(z, self._dtype), 0, 1)
        parts = [x, z, np.swapaxes(step_sizes, 0, 1)]
        return self._in_parts(self._reverse, parts, seed, progress)

    def summary(self, travelled):
        """The mean weight of the chains of each example, as an `Annealed`."""
        log_w = travelled.log_w
        sums = WeightSums(log_w.shape[1], len(log_w))
        sums.add(np.arange(log_w.shape[1]), log_w)
        estimate, error, effective, _ = sums.log_mean()
        error = np.where(effective < min(_FEWEST, len(log_w)), np.inf, error)
        rounding = 4 * np.finfo(self._dtype).eps * (1 + np.abs(estimate))
        return Annealed(estimate, error + rounding, effective, travelled.acceptance)

    # -- one example after the other, in parts of equal size: one compilation -----------------

    @property
    def _dtype(self):
        return self.model.prior.dtype.as_numpy_dtype

    def _checked(self, x):
        """`x` in the support of the likelihood and of its dtype, or an error."""
        if not self.model.prior.dtype.is_floating:
            raise ValueError(
                "Hamiltonian Monte Carlo moves along gradients. Expected continuous latents. "
                f"Received: a prior of dtype {self.model.prior.dtype.name} "
                "(vt.evidence.enumeration sums over discrete ones)"
            )
        p_x = self.model.decode(tf.zeros([1, *self.model.prior.event_shape], self._dtype))
        x = support.check(p_x, require.examples(x)).numpy()
        if len(x) == 0:
            raise ValueError("Expected at least one example. Received: `x` with none")
        return x

    def _in_parts(self, program, arrays, seed, progress):
        """Runs `program` on rows [b, ...] of all arrays; the last part is filled up and cut."""
        program = tf.function(program, autograph=False)
        examples = len(arrays[0])
        count = -(-examples // _EXAMPLES)
        rows = np.arange(count * -(-examples // count)).reshape(count, -1) % examples
        arrays = [tf.convert_to_tensor(array) for array in arrays]
        parts = [[tf.gather(array, part) for array in arrays] for part in rows]
        seeds = split(seed, count)
        # Traced here, once: many short calls in a row would make TensorFlow warn of retracing.
        program = program.get_concrete_function(*parts[0], seeds[0])
        results = [
            program(*p, s) for p, s in zip(tqdm(parts, disable=not progress), seeds, strict=True)
        ]
        fields = (np.concatenate(f, axis=1)[:, :examples] for f in zip(*results, strict=True))
        log_w, z, step_sizes, acceptance = fields
        return Travelled(log_w.astype("float64"), z, step_sizes, acceptance[0].astype("float64"))

    # -- the two programs, for a few examples: every result has them on its second axis --------

    def _forward(self, x, seed):
        seeds = tfp.random.split_seed(seed, n=6)
        f_0, target = self._initial(x), self._target(x)
        scale = self._scale(f_0, x, seeds[0])
        pilot = tf.fill([self.num_steps, x.shape[0]], tf.cast(_FIRST_STEP_SIZE, x.dtype))
        few = max(4, self.num_chains // 4)
        z = self._sample(f_0, few, x, seeds[1])
        *_, step_sizes, _ = self._anneal(f_0.log_prob, target, z, pilot, scale, True, seeds[2])
        z = self._sample(f_0, self.num_chains, x, seeds[3])
        return self._anneal(f_0.log_prob, target, z, step_sizes, scale, False, seeds[4])

    def _reverse(self, x, z, step_sizes, seed):
        seeds = tfp.random.split_seed(seed, n=3)
        f_0, target = self._initial(x), self._target(x)
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

    def _initial(self, x):
        return self.model.prior if self.initial == "prior" else self.model.encode(x)

    def _sample(self, f_0, count, x, seed):
        shape = [count, x.shape[0]] if self.initial == "prior" else [count]
        return f_0.sample(shape, seed=seed)  # [C, b, L]

    def _target(self, x):
        def log_joint(z):
            return self.model.decode(z).log_prob(x) + self.model.prior.log_prob(z)

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

    TFP's annealed chain hands the results of one temperature to the next, among them the
    log-density of the state, which there is another one: so they are made anew in each step.
    """

    is_calibrated = True
    parameters = {}

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
