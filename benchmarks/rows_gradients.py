"""The K-sample bound with more and more samples: the signal of its gradient."""

import dataclasses
import math

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
from table import Measured, over_seeds

import vae_tf as vt
from vae_tf.diagnostics.gradients import signal_to_noise

tfd = tfp.distributions


@dataclasses.dataclass(frozen=True)
class Slopes:
    """How many samples K, and how many gradients for each."""

    few: tuple = (1, 4, 16, 64)
    many: tuple = (16, 64, 256, 1024)
    replicates: int = 40_000  # of "standard": 1/sqrt(replicates) must be far below its SNR
    rising: int = 1000
    shared: int = 16  # the K at which the three means are compared
    seeds: tuple = (0, 1)


class RainforthToy:
    """p(z) = N(mu, I), p(x|z) = N(z, I), q(z|x) = N(A x + b, 2/3 I), near the optimum.

    z and x have 20 dimensions. At the optimum mu is the mean of x, A = I / 2 and b = mu / 2; every
    parameter is moved from it by N(0, 0.01^2).
    """

    def __init__(self, seed, size=20):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=size) + math.sqrt(2) * rng.normal(size=(1024, size))
        mu = x.mean(axis=0)
        moved = [v + 0.01 * rng.normal(size=v.shape) for v in (mu, 0.5 * np.eye(size), 0.5 * mu)]
        self.mu, self.a, self.b, self.x = (tf.constant(v, tf.float32) for v in (*moved, x))

    @property
    def prior(self):
        return tfd.Independent(tfd.Normal(self.mu, 1.0), 1)

    def encode(self, x):
        return tfd.Independent(tfd.Normal(tf.linalg.matvec(self.a, x) + self.b, (2 / 3) ** 0.5), 1)

    def decode(self, z):
        return tfd.Independent(tfd.Normal(z, 1.0), 1)

    def gradients(self, num_samples, gradient="standard"):
        """A function of a seed that draws the gradients into b and mu, of one example."""
        objective = vt.objectives.IWAE(num_samples, gradient=gradient)
        groups = {"encoder": [self.b], "generative": [self.mu]}

        def draw(seed):
            with tf.GradientTape() as tape:
                tape.watch(groups)
                how = {"seed": seed, "gate": objective.gate}
                one_pass = vt.elbo.forward(self, self.x[:1], num_samples, **how)
                bound = tf.reduce_mean(objective(one_pass))
            return tape.gradient(bound, groups)

        return draw


def gradient_slopes(scale):
    """d log SNR / d log K, and the mean of each gradient at one K."""
    plan = {"standard": (scale.few, scale.replicates), "dreg": (scale.many, scale.rising)}
    plan["stl"] = ((scale.shared,), scale.rising)
    runs = []
    for seed in scale.seeds:
        toy, found = RainforthToy(seed), {}
        for i, (gradient, (samples, replicates)) in enumerate(plan.items()):
            for k in samples:
                draw = toy.gradients(k, gradient)
                own = 100_000 * seed + 10 * k + i  # no two share their noise
                found[gradient, k] = signal_to_noise(draw, replicates, seed=own)
            print(f"  seed {seed}, {gradient}: K = {samples}", flush=True)
        runs.append(_slopes_of(found, scale))
    return Measured(_slope_checks(runs, scale.shared), scale.seeds, {"runs": runs})


def _slopes_of(found, scale):
    norms = {g: found[g, scale.shared]["encoder"] for g in ("standard", "dreg", "stl")}
    means = {g: norm.mean[0] for g, norm in norms.items()}
    # Of two means of the same gradient, E|m_1 - m_2|^2 is the sum of their squared errors.
    counts = {"standard": scale.replicates, "dreg": scale.rising}
    error = math.sqrt(sum(norms[g].noise ** 2 / r for g, r in counts.items()))
    return {
        "encoder": _slope(found, "standard", "encoder", scale.few),
        "generative": _slope(found, "standard", "generative", scale.few),
        "dreg": _slope(found, "dreg", "encoder", scale.many),
        "stl_ratio": norms["stl"].signal / norms["standard"].signal,
        "dreg_off": float(np.linalg.norm(means["dreg"] - means["standard"])) / error,
    }


def _slope(found, gradient, group, samples):
    """Least squares of log SNR on log K, weighed by the errors, where an SNR is seen at all."""
    parts = [found[gradient, k][group] for k in samples]
    snr, error = (np.array([getattr(p, name) for p in parts]) for name in ("snr", "standard_error"))
    use = snr > 0
    weights = snr[use] / error[use]
    return float(np.polyfit(np.log(np.array(samples)[use]), np.log(snr[use]), 1, w=weights)[0])


def _slope_checks(runs, shared):
    because = "the exponents are those of large K; 0.1 tells them from a flat line at these K"
    exponents = (
        ("encoder", "slope of log SNR, encoder, K-sample bound", -0.5),
        ("generative", "slope of log SNR, prior mean, K-sample bound", 0.5),
        ("dreg", "slope of log SNR, encoder, DReG", 0.5),
    )
    checks = []
    for name, quantity, exponent in exponents:
        values, bounds = [one[name] for one in runs], (exponent - 0.1, exponent + 0.1)
        checks.append(over_seeds(quantity, f"{exponent:+}", values, *bounds, because))
    ratios, off = ([one[name] for one in runs] for name in ("stl_ratio", "dreg_off"))
    quantity = f"|E g| of STL over that of the K-sample bound, K = {shared}"
    because = "any ratio but 1 is a bias; 2 is far beyond the noise, the value depends on the draw"
    published, bounds = "not 1: biased for K > 1", (2.0, math.inf)
    checks.append(over_seeds(quantity, published, ratios, *bounds, because, of=min))
    quantity = f"|E g| difference of DReG and the K-sample bound, K = {shared}, in standard errors"
    because = "of 20 independent components the length is 1, sd 1/sqrt(40); four of them"
    published, bounds = "0: the same mean", (0.0, 1 + 4 / math.sqrt(2 * 20))
    return [*checks, over_seeds(quantity, published, off, *bounds, because, of=max)]
