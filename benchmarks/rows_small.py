"""Small VAEs, many in one program: entropies, thresholds of collapse, free bits, sprites."""

import dataclasses
import math

import keras
import numpy as np
from table import Check, Measured, beyond_zero, over_seeds

import vae_tf as vt


@dataclasses.dataclass(frozen=True)
class Small:
    """What the VAEs of a row share."""

    latents: int = 4
    hidden: tuple = (64,)
    epochs: int = 200
    batch: int = 100
    rate: float = 3e-3
    seeds: tuple = (0, 1, 2)


def swept(x, scale, likelihood, objectives, activation="tanh"):
    """{name: [seed: VAE]}, trained by `vt.sweep` with Adam.

    `likelihood` and the values of `objectives`, {name: objective}, are functions that make one.
    """
    shape, steps = x.shape[1:], scale.epochs * len(x) // scale.batch
    found = {}
    for name, objective in objectives.items():
        found[name] = []
        for seed in scale.seeds:
            keras.utils.set_random_seed(seed)
            q_z = vt.layers.NormalDiag(scale.latents)
            encoder = vt.networks.mlp(shape, q_z, scale.hidden, activation)
            decoder = vt.networks.mlp(scale.latents, likelihood(), scale.hidden, activation)
            vae = vt.VAE(encoder, decoder, objective=objective(), seed=seed)
            rate = keras.optimizers.schedules.CosineDecay(scale.rate, steps)
            vae.compile(keras.optimizers.Adam(rate))
            found[name].append(vae)
    vaes = [vae for one in found.values() for vae in one]
    # One long epoch: each has a fixed cost that is larger than its steps here.
    x = np.tile(x, (scale.epochs, *[1] * len(shape)))
    vt.sweep(vaes, x, epochs=1, batch_size=scale.batch, verbose=0)
    return found


def digits():
    """[1297, 64], grey levels between 0 and 1."""
    return vt.data.load("digits").x_train.reshape(-1, 64)


def columns(vaes, figures):
    """{name: [seed]}, from a function of a VAE that gives {name: figure}."""
    runs = [figures(vae) for vae in vaes]
    return {name: np.array([run[name] for run in runs]) for name in runs[0]}


def plain(found):
    """{name: columns} for JSON."""
    return {str(n): {k: v.tolist() for k, v in column.items()} for n, column in found.items()}


def three_entropies(scale):
    """The ELBO of a trained Gaussian VAE, and the entropies of q(z|x), p(z) and p(x|z)."""
    x = digits()
    vaes = swept(x, scale, lambda: vt.layers.Normal(64, scale="learned"), {0: vt.objectives.ELBO})
    column = columns(vaes[0], lambda vae: _entropies(x, vae))
    exact = vt.linear.LinearGaussian.fit(x, scale.latents)
    q_z = exact.encode(x)
    linear = exact.elbo(x, q_z).elbo.numpy().mean() - _sum_of_entropies(
        q_z, exact.decode(0.0 * q_z.mean())
    )
    quantity, because = "ELBO minus the three entropies, nats", "closed forms in float64"
    checks = [Check(f"{quantity}, linear model at its maximum", "0", linear, -1e-9, 1e-9, because)]
    quantity, most = f"{quantity}, MLP after training", 0.1 + 3 * column["error"].mean()
    because = "0.1 nats for a training that ends close to rest, and 3 standard errors of the ELBO"
    checks.append(over_seeds(quantity, "0", column["difference"], -most, most, because))
    quantity = "learned variance over mean squared error, the same model"
    because = "0.1 nats of D/2 = 32 are 0.3 %; three times as much"
    checks.append(over_seeds(quantity, "1", column["ratio"], 0.99, 1.01, because))
    return Measured(checks, scale.seeds, plain({"MLP": column}))


def _sum_of_entropies(q_z, p_x):
    """avg H[q(z|x)] - H[p(z)] - avg H[p(x|z)], nats."""
    latents = q_z.event_shape[0]
    prior = 0.5 * latents * math.log(2 * math.pi * math.e)
    return float(np.mean(q_z.entropy()) - prior - np.mean(p_x.entropy()))


def _entropies(x, vae):
    terms, error = vt.elbo.moments(vae, x, num_samples=100, seed=0)
    q_z = vae.encode(x)
    p_x = vae.decode(q_z.mean())
    variance = float(p_x.variance()[0, 0])
    constant = -0.5 * x.shape[1] * math.log(2 * math.pi * variance)
    squared = 2 * variance * (constant - terms.reconstruction.mean())  # summed over the pixels
    return {
        "difference": float(terms.elbo.mean() - _sum_of_entropies(q_z, p_x)),
        "error": float(np.sqrt(np.sum(np.square(error)))) / len(x),
        "ratio": variance * x.shape[1] / squared,
        "second moment of z": float(np.mean(q_z.mean() ** 2 + q_z.variance())),
    }


AROUND = (0.5, 0.9, 1.1, 1.5)  # sigma^2 over the largest eigenvalue


def transition(scale):
    """Deep VAEs with a fixed noise: whether anything is left in the latents.

    With a variance of one and beta = sigma^2 the objective is sigma^2 times the ELBO, up to a
    constant: the same models, and all of them in one program.
    """
    x = digits()
    largest = vt.diagnostics.predict_collapse(x).eigenvalues[0]
    betas = {factor: factor * largest for factor in AROUND}
    objectives = {f: lambda beta=beta: vt.objectives.BetaELBO(beta) for f, beta in betas.items()}
    vaes = swept(x, scale, lambda: vt.layers.Normal(64, scale=1.0), objectives)
    found = {factor: columns(one, lambda vae: _kls(x, vae)) for factor, one in vaes.items()}
    checks = []
    for factor, column in found.items():
        kl, alive = column["total"], factor < 1
        bounds, of = ((0.01, math.inf), min) if alive else ((-1e-6, 0.01), max)
        because = "a hundredth of a nat tells a latent that is used from one that is not"
        published = "above 0" if alive else "0: collapse"
        quantity = f"KL, nats, at sigma^2 = {factor} of the largest eigenvalue"
        checks.append(over_seeds(quantity, published, kl, *bounds, because, of=of))
        print(f"  {quantity}: {kl}", flush=True)
    return Measured(checks, scale.seeds, plain(found))


FREE = (0.125, 0.25, 0.5)


def free_bits(scale):
    """With free bits no latent falls below its allowance; with the ELBO some do."""
    x = digits()
    noise = math.sqrt(vt.diagnostics.predict_collapse(x).eigenvalues[2])
    objectives = {free: lambda free=free: vt.objectives.FreeBits(free) for free in (0.0, *FREE)}
    vaes = swept(x, scale, lambda: vt.layers.Normal(64, scale=noise), objectives)
    found = {free: columns(one, lambda vae: _kls(x, vae)) for free, one in vaes.items()}
    checks = []
    for free, column in found.items():
        least = column["least"]
        print(f"  {free} nats: least {least}, most {column['most']}", flush=True)
        quantity, bounds, of = "least KL of a latent, ELBO", (0.0, 0.01), max
        because = "a hundredth of a nat: collapsed"
        if free:
            quantity = f"least KL of a latent, free bits of {free} nats"
            bounds, of = (0.95 * free, 1.05 * free), np.mean
            because = "5 %: the mean of a minibatch is held there, not that of all examples"
        checks.append(over_seeds(quantity, f"{free:g}", least, *bounds, because, of=of))
    return Measured(checks, scale.seeds, plain(found))


def _kls(x, vae):
    kl = vt.diagnostics.kl_per_latent(vae, x).mean(axis=0)
    return {"least": float(kl.min()), "most": float(kl.max()), "total": float(kl.sum())}


# dSprites, YannDubs/disentangling-vae: distortion and rate of each objective, nats
POINTS = {"ELBO": (17.99, 25.40), "beta = 4": (35.61, 15.35), "beta-TC 6.4": (42.21, 13.60)}
CAPACITY = 25.0, 25.0006  # C, and the rate found with it


def sprites_points(scale):
    """Distortion and rate of four objectives on the 24x24 sprites of the course."""
    x = vt.data.load("sprites").x_train
    steps = scale.epochs * len(x) // scale.batch
    held = vt.schedules.LinearWarmup(steps // 2, stop=CAPACITY[0])
    sweeps = (
        {
            "ELBO": lambda: vt.objectives.BetaELBO(1.0),
            "beta = 4": lambda: vt.objectives.BetaELBO(4.0),
        },
        {"beta-TC 6.4": lambda: vt.objectives.BetaTC(6.4, len(x))},
        {"capacity": lambda: vt.objectives.Capacity(held, gamma=100.0)},
    )
    found = {}
    for objectives in sweeps:
        vaes = swept(x, scale, lambda: vt.layers.Bernoulli(x.shape[1:]), objectives, "relu")
        found |= {name: columns(one, lambda vae: _point(x, vae)) for name, one in vaes.items()}
        print(f"  {plain(found)}", flush=True)
    checks = []
    for name, point in list(POINTS.items())[1:]:
        for i, (what, sign) in enumerate({"distortion": 1, "rate": -1}.items()):
            word = "above" if sign > 0 else "below"
            ours = sign * (found[name][what] - found["ELBO"][what])
            published = f"{sign * (point[i] - POINTS['ELBO'][i]):+.2f}"
            quantity = f"{what} {word} that of the ELBO, nats, {name}"
            checks.append(beyond_zero(quantity, published, ours[:, None]))
    rate = found["capacity"]["rate"]
    published = f"{CAPACITY[1] - CAPACITY[0]:+.4f}"
    because = "1 % of C, for a rate that still moves"
    quantity, off = "rate minus the capacity C = 25, nats", rate - CAPACITY[0]
    checks.append(over_seeds(quantity, published, off, -0.25, 0.25, because))
    return Measured(checks, scale.seeds, plain(found))


def _point(x, vae):
    terms = vt.elbo.estimate(vae, x, 10, seed=0)
    return {"distortion": -float(np.mean(terms.reconstruction)), "rate": float(np.mean(terms.kl))}
