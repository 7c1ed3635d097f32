"""Small VAEs, many in one program: entropies, thresholds of collapse, free bits."""

import dataclasses
import math

import keras
import numpy as np
from table import Check, Measured, over_seeds

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


def swept(x, scale, likelihood, objectives):
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
            encoder = vt.networks.mlp(shape, q_z, scale.hidden, "tanh")
            decoder = vt.networks.mlp(scale.latents, likelihood(), scale.hidden, "tanh")
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
    p_x = exact.decode(0.0 * q_z.mean())
    linear = exact.elbo(x, q_z).elbo.numpy().mean() - _sum_of_entropies(q_z, p_x)
    quantity, because = "ELBO minus the three entropies, nats", "closed forms in float64"
    checks = [Check(f"{quantity}, linear model at its maximum", "0", linear, -1e-9, 1e-9, because)]
    quantity, most = f"{quantity}, MLP after training", 0.1 + 3 * column["error"].mean()
    because = "0.1 nats, not derived, and 3 standard errors of the ELBO; the seed that is furthest"
    off = {"of": lambda values: max(values, key=abs)}
    checks.append(over_seeds(quantity, "0", column["difference"], -most, most, because, **off))
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

    def trained(scale, *allowances):
        some = {free: objectives[free] for free in allowances}
        vaes = swept(x, scale, lambda: vt.layers.Normal(64, scale=noise), some)
        return {free: columns(one, lambda vae: _kls(x, vae)) for free, one in vaes.items()}

    found, checks = trained(scale, *objectives), []
    for free, column in found.items():
        least = column["least"]
        print(f"  {free} nats: least {least}, most {column['most']}", flush=True)
        quantity, bounds, of = "least KL of a latent, ELBO", (0.0, 0.01), max
        because = "a hundredth of a nat: collapsed"
        if free:
            quantity = f"least KL of a latent, free bits of {free} nats"
            bounds, of = (0.95 * free, 1.05 * free), np.mean
            because = "5 %, not derived: the hinge holds the mean of a minibatch, not of all x"
        checks.append(over_seeds(quantity, f"{free:g}", least, *bounds, because, of=of))
    # The hinge acts on the mean KL of a batch, whose noise is half as large in one four times so.
    most, larger = max(FREE), {"batch": 4 * scale.batch, "epochs": 4 * scale.epochs}
    again = trained(dataclasses.replace(scale, **larger), most)[most]
    ratio = np.mean(most - again["least"]) / np.mean(most - found[most]["least"])
    because = "30 %: four standard errors of the three seeds"
    quantity = f"what is missing to {most} nats, batches of {larger['batch']} over {scale.batch}"
    checks.append(Check(quantity, "1/2: 1/sqrt(batch)", ratio, 0.35, 0.65, because))
    return Measured(checks, scale.seeds, plain(found | {"larger batches": again}))


def _kls(x, vae):
    kl = vt.diagnostics.kl_per_latent(vae, x).mean(axis=0)
    return {"least": float(kl.min()), "most": float(kl.max()), "total": float(kl.sum())}
