"""VAEs on 8x8 digits, for notebook 05: over beta, near the edge of collapse, and with cures.

Also with few and many latents, and with Normal noise of several sizes. Every combination is trained
from five seeds and judged on digits that it has not seen, in three drawings of their binary pixels.
Makes data/results/05_balancing_act.json with the time of the processor. Finished runs are kept in
build/05_balancing_act, so that a script that was stopped goes on where it was.
"""

import time
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

import vae_tf as vt

SEEDS = (0, 1, 2, 3, 4)
JUDGES = (0, 1, 2)  # each draws binary pixels and samples of z with a seed of its own
BETAS = (0.01, 0.25, 0.5, 1.0, 2.0, 3.0, 4.5)
LATENTS, PASSES, BATCH, RATE = 10, 100, 108, 3e-3
NOISE_PASSES, LONGER_PASSES = 200, 400  # for Normal noise; for the deep network, longer
LATENT_SIZES = (1, 2, 5, 20, 40)  # beside LATENTS
NETWORKS = {"shallow": ((64,), "tanh"), "deep": ((64, 64, 64), "relu"), "small": ((32,), "tanh")}
EDGE_BETAS = (3.0, 3.4, 3.6, 3.7, 3.8, 3.9, 4.2)
ALIVE = 2.5  # the beta of the networks that are led up through EDGE_BETAS
EDGE_ARMS = {  # passes and batch: 1000 steps, done twice at each beta; fresh 4000 steps, once
    "led up": (1000, 1296),
    "led up, small batches": (125, 162),
    "fresh, small batches": (500, 162),
}
EDGE_LATENTS, EDGE_RATE = 5, 1e-2
NOISES = {"sigma^2 = 1": 1.0, "sigma^2 = 0.5": 0.5**0.5, "sigma learned": "learned"}
DIGITS = vt.data.load("digits")
TRAIN = DIGITS.x_train[:1296]  # all but one: batches of one size
SECONDS = []  # of the processor, for all runs, those that were made before included
# First weights that differ by 1e-7 lead to figures that differ by 0.0001 at most. Another machine
# rounds otherwise in each of 1,200 steps: a hundred times that is allowed.
TOLERANCES = {"elbo": 0.01, "kl": 0.01}
SEEN = vt.data.binarize(TRAIN, 0)  # one drawing of their pixels: the training digits


def bernoulli():
    """Binary pixels."""
    return vt.layers.Bernoulli((8, 8))


class Family:
    """VAEs of one shape and one kind of objective: compiled once, trained from each seed."""

    def __init__(
        self,
        objective: Callable = vt.objectives.ELBO,
        network: str = "shallow",
        latents: int = LATENTS,
        likelihood: Callable = bernoulli,
        passes: int = PASSES,
        batch: int = BATCH,
        rate: float = RATE,
    ):
        self.network, self.latents, self.likelihood = NETWORKS[network], latents, likelihood
        # Several copies in a row: Keras takes as long between two epochs as some steps.
        copies = 20 if batch == len(SEEN) else 5
        self.x = np.tile(SEEN if likelihood is bernoulli else TRAIN, (copies, 1, 1))
        self.batch, self.epochs = batch, passes // copies
        self.vae = vt.VAE(*self.networks(0), objective=objective(), seed=0)
        schedule = keras.optimizers.schedules.CosineDecay(rate, self.epochs * len(self.x) // batch)
        self.vae.compile(keras.optimizers.Adam(schedule), jit_compile=True)

    def networks(self, seed):
        """Encoder and decoder before training."""
        keras.utils.set_random_seed(seed)
        encoder = vt.networks.mlp((8, 8), vt.layers.NormalDiag(self.latents), *self.network)
        return encoder, vt.networks.mlp(self.latents, self.likelihood(), *self.network)

    def train(self, seed, begin=None, **numbers):
        """A VAE from its first weights, or from those of `begin`, to a learning rate of zero.

        `numbers` are those of the objective, such as beta=2.0.
        """
        vae, fresh = self.vae, self.networks(seed)
        values = begin or [part.get_weights() for part in fresh]
        for part, value in zip((vae.encoder, vae.decoder), values, strict=True):
            part.set_weights(value)
        for variable in vae.optimizer.variables:
            variable.assign(tf.zeros_like(variable))
        vae.objective.step.assign(0)
        vae.seed_generator.state.assign([0, seed])
        for name, number in numbers.items():
            setattr(vae.objective, name, number)
        vae.fit(self.x, batch_size=self.batch, epochs=self.epochs, verbose=0)
        return vae

    def weights(self):
        """What `train` takes as `begin`."""
        return [part.get_weights() for part in (self.vae.encoder, self.vae.decoder)]


def beta_family(**shape):
    """VAEs whose beta can be chosen at each training."""
    return Family(lambda: vt.objectives.BetaELBO(1.0), **shape)


def cures(network):
    """{name of the cure: (family, numbers of its objective)}; all end at beta = 1."""
    warm_up = vt.schedules.LinearWarmup(PASSES * len(SEEN) // BATCH // 2)  # half of the steps
    free = Family(lambda: vt.objectives.FreeBits(0.1), network)
    return {
        "none": (Family(network=network), {}),
        "warm-up": (Family(lambda: vt.objectives.BetaELBO(warm_up), network), {}),
        "free bits 0.1": (free, {"free_nats": 0.1}),
        "free bits 0.5": (free, {"free_nats": 0.5}),
    }


# -- what is measured ------------------------------------------------------------------------------


def edges(p, noise=0.0):
    """Sharpness: the mean squared difference of neighbouring pixels, in rows plus in columns.

    `noise` is the variance that each pixel has beside its mean p: a draw has
    E[(x_i - x_j)^2] = (p_i - p_j)^2 + var_i + var_j.
    """
    noise = np.broadcast_to(noise, np.shape(p))
    total = 0.0
    for axis in (1, 2):
        both = [np.take(noise, range(*cut), axis) for cut in ((1, 8), (0, 7))]
        total += np.mean(np.diff(p, axis=axis) ** 2) + np.mean(both[0]) + np.mean(both[1])
    return float(total)


def sharpness(vae, binary=True):
    """Of means and of draws of p(x|z), for z from q(z|x) or from the prior; 1 is that of digits."""
    grey = DIGITS.x_test
    noise = grey * (1 - grey) if binary else 0.0  # of the pixels that the model has to explain
    held_out = vt.data.binarize(grey, 0) if binary else grey
    codes = {
        "reconstruction": vae.encode(held_out).sample(seed=[0, 0]),
        "new": vae.prior.sample(1000, seed=[0, 1]),
    }
    found = {}
    for name, z in codes.items():
        p_x = vae.decode(z)
        mean, variance = p_x.mean().numpy(), p_x.variance().numpy()
        found[f"sharpness, {name}"] = edges(mean) / edges(grey)
        found[f"sharpness, {name}, draw"] = edges(mean, variance) / edges(grey, noise)
    return found


def judged(vae):
    """The bounds on held-out and on training digits, by each judge: {name: [judges]}, nats."""
    rows = []
    for judge in JUDGES:
        held_out = vt.data.binarize(DIGITS.x_test, judge)
        terms, train = vae.elbo(held_out, 20, seed=judge), vae.elbo(SEEN, 3, seed=judge)
        row = {**terms._asdict(), "train elbo": train.elbo}
        row["train reconstruction"] = train.reconstruction
        row["iwae"] = vt.evidence.iwae(vae, held_out, num_samples=100, seed=judge).estimate
        rows.append({name: float(np.mean(value)) for name, value in row.items()})
    return transposed(rows)


def codes(vae, x):
    """What the codes of x are like."""
    kl = vt.diagnostics.kl_per_latent(vae, x).mean(axis=0)
    return {
        "active": vt.diagnostics.active_units(vae, x).count,
        "used": int((kl > 0.1).sum()),
        "kl of each": np.sort(kl)[::-1].tolist(),
        "scale": float(np.mean(vae.encode(x).stddev())),
    }


def measure(vae):
    """All that is said about a model of binary pixels."""
    return rounded({**judged(vae), **codes(vae, SEEN)} | sharpness(vae))


def measure_information(vae):
    """The same, and how much a code tells about its digit."""
    information = vt.diagnostics.mutual_information(vae, SEEN, seed=0).estimate
    return measure(vae) | rounded({"information": information})


def rounded(run):
    """Four decimals are more than the noise leaves."""
    return {name: np.round(value, 4).tolist() for name, value in run.items()}


def without_latents():
    """Independent pixels with the training digits' frequencies, by each judge: [judges], nats."""
    count = len(SEEN)
    p = (SEEN.sum(axis=0, dtype="float64") + 0.5) / (count + 1)  # no pixel is impossible
    held_out = [vt.data.binarize(DIGITS.x_test, judge) for judge in JUDGES]
    return [float(np.mean(np.log(np.where(x > 0, p, 1 - p)).sum(axis=(1, 2)))) for x in held_out]


# -- the linear model of the lesson, trained on its exact objective ------------------------------


def descend(loss, weights, steps=4000, rate=0.03):
    """The weights that Adam finds for loss(step, *weights), in one compiled program."""
    weights = [tf.Variable(weight) for weight in weights]
    adam = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(rate, steps))
    adam.build(weights)

    def one_step(step):
        with tf.GradientTape() as tape:
            value = loss(step, *weights)
        adam.apply(tape.gradient(value, weights), weights)
        return step + 1

    @tf.function(jit_compile=True)
    def all_steps():
        tf.while_loop(lambda step: step < steps, one_step, [0])

    all_steps()
    return [weight.numpy() for weight in weights]


# -- the runs --------------------------------------------------------------------------------------


def run(group, name, seed, make):
    """The figures of one training: made, or read from what was made before."""

    def timed():
        began = time.process_time()
        return {**make(), "seconds": round(time.process_time() - began, 1)}

    settings = {"group": group, "name": name, "seed": seed}
    found = vt.results.kept("build/05_balancing_act", settings, timed, script=__file__)
    bound = f"ELBO {np.mean(found['elbo']):.2f}  " if "elbo" in found else ""
    SECONDS.append(found.pop("seconds"))
    print(f"{group} {name} {seed}: {bound}active {found['active']}  {SECONDS[-1]} s", flush=True)
    return found


def gathered(group, name, make):
    """{what was measured: [seeds, ...]}; `make` takes a seed."""
    return transposed([run(group, name, seed, lambda s=seed: make(s)) for seed in SEEDS])


def sweep():
    """Over beta, from the first weights."""
    family = beta_family()
    return {
        f"{beta:g}": gathered(
            "sweep",
            f"{beta:g}",
            lambda seed, b=beta: measure_information(family.train(seed, beta=b)),
        )
        for beta in BETAS
    }


def edge():
    """Around the beta at which the last unit is said to die.

    "led up" begins where the beta before has ended, first with networks of beta = ALIVE whose
    units live; "fresh" begins anew at each beta.
    """
    found = {}
    for how, (passes, batch) in EDGE_ARMS.items():
        shape = {"network": "small", "latents": EDGE_LATENTS, "rate": EDGE_RATE}
        family = beta_family(**shape, passes=passes, batch=batch)
        found[how] = {f"{beta:g}": [] for beta in EDGE_BETAS}
        for seed in SEEDS:
            rows = run("edge", how, seed, lambda f=family, h=how, s=seed: walk(f, h, s))
            for beta, row in rows["betas"].items():
                found[how][beta].append(row)
    return {how: {b: transposed(rows) for b, rows in arm.items()} for how, arm in found.items()}


def walk(family, how, seed):
    """One seed through all EDGE_BETAS; "before" is what the first of two trainings has found."""
    rows, led = {}, how.startswith("led")
    if led:
        units_after(family, seed, None, ALIVE)
        units_after(family, seed, family.weights(), ALIVE)
    for beta in EDGE_BETAS:
        begin = family.weights() if led else None
        row = units_after(family, seed, begin, beta)
        if led:
            row = units_after(family, seed, family.weights(), beta) | {"before": row["variance"]}
        rows[f"{beta:g}"] = row
    return {"betas": rows, "active": [row["active"] for row in rows.values()]}


def units_after(family, seed, begin, beta):
    """How many units are active after a training, and the variances of their means, falling."""
    units = vt.diagnostics.active_units(family.train(seed, begin=begin, beta=beta), SEEN)
    return rounded({"active": units.count, "variance": np.sort(units.variance)[::-1]})


def transposed(runs):
    """[seeds] of {what: value} -> {what: [seeds]}"""
    return {what: [one[what] for one in runs] for what in runs[0]}


def cured():
    """Two networks with no cure and with three; the deep one without a cure for longer, too."""
    found = {}
    for network in ("shallow", "deep"):
        for cure, (family, numbers) in cures(network).items():
            found[f"{network}, {cure}"] = gathered(
                network,
                cure,
                lambda seed, f=family, n=numbers: measure(f.train(seed, **n)),
            )
    longer = Family(network="deep", passes=LONGER_PASSES)
    found["deep, longer"] = gathered("deep", "longer", lambda seed: measure(longer.train(seed)))
    return found


def latent_sizes():
    """From one latent to forty, at beta = 1."""
    found = {}
    for size in sorted({*LATENT_SIZES, LATENTS}):
        family = Family(latents=size)
        found[f"{size}"] = gathered(
            "latents", f"{size}", lambda seed, f=family: measure(f.train(seed))
        )
    return found


def noises():
    """Normal noise on grey digits: its variance fixed, or learned."""
    found = {}
    for name, scale in NOISES.items():
        family = Family(
            likelihood=lambda s=scale: vt.layers.Normal((8, 8), scale=s), passes=NOISE_PASSES
        )

        def measured(seed, family=family):
            vae = family.train(seed)
            sigma = float(vae.decode(np.zeros((1, LATENTS))).stddev()[0, 0, 0])
            return rounded({"sigma": sigma, **codes(vae, TRAIN)} | sharpness(vae, False))

        found[name] = gathered("noise", name, measured)
    return found


def differences(figures):
    """What the lesson has a verdict on: {what: paired differences, [seeds] or [seeds, judges]}."""

    def of(group, arm, name):
        return np.array(figures[group][arm][name], "float64")

    def between(group, first, second, name):
        return of(group, first, name) - of(group, second, name)

    def memorising(arm):
        return of("sweep", arm, "train elbo") - of("sweep", arm, "elbo")

    without, found = np.array(figures["without latents"]), {}
    for beta in BETAS:
        if beta != 1:
            arms = "1", f"{beta:g}"
            found[f"ELBO, beta 1 - {beta:g}"] = between("sweep", *arms, "elbo")
    for name, what in {"elbo": "ELBO", "iwae": "IWAE"}.items():
        found[f"{what}, beta 0.25 - no latents"] = of("sweep", "0.25", name) - without
    for arms in (("0.01", "1"), ("1", "4.5")):
        title = f"beta {arms[0]} - {arms[1]}"
        found[f"memorising, {title}"] = memorising(arms[0]) - memorising(arms[1])
        for name in ("scale", "kl", "information", "sharpness, reconstruction", "sharpness, new"):
            found[f"{name}, {title}"] = between("sweep", *arms, name)
    for name, what in {"elbo": "ELBO", "iwae": "IWAE"}.items():
        for network in ("shallow", "deep"):
            for cure in ("warm-up", "free bits 0.1", "free bits 0.5"):
                arms = f"{network}, {cure}", f"{network}, none"
                found[f"{what}, {arms[0]} - none"] = between("cures", *arms, name)
        for arm in ("none", "warm-up"):
            arms = "deep, longer", f"deep, {arm}"
            found[f"{what}, deep, longer - {arm}"] = between("cures", *arms, name)
        for arms in (("10", "5"), ("20", "10"), ("40", "10")):
            found[f"{what}, latents {arms[0]} - {arms[1]}"] = between("latent sizes", *arms, name)
    arms = "sigma learned", "sigma^2 = 0.5"
    what = "sharpness, reconstruction"
    found[f"{what}, {' - '.join(arms)}"] = between("noises", *arms, what)
    return found


def entry():
    """Seed 0 at beta = 1, trained and measured again."""
    found = measure(beta_family().train(0, beta=1.0))
    return {
        ("sweep", "1", name, 0): (found[name], tolerance) for name, tolerance in TOLERANCES.items()
    }


def main():
    """All runs, and the file."""
    figures = {
        "without latents": rounded({"elbo": without_latents()})["elbo"],
        "sweep": sweep(),
        "edge": edge(),
        "cures": cured(),
        "latent sizes": latent_sizes(),
        "noises": noises(),
    }
    settings = {
        "betas": BETAS,
        "edge_betas": EDGE_BETAS,
        "edge_arms": EDGE_ARMS,
        "edge_latents": EDGE_LATENTS,
        "edge_rate": EDGE_RATE,
        "alive": ALIVE,
        "latents": LATENTS,
        "latent_sizes": LATENT_SIZES,
        "networks": NETWORKS,
        "noises": NOISES,
        "judges": JUDGES,
        "passes": PASSES,
        "noise_passes": NOISE_PASSES,
        "longer_passes": LONGER_PASSES,
        "batch": BATCH,
        "rate": RATE,
    }
    where = {"script": __file__, "settings": settings, "seeds": SEEDS, "seconds": sum(SECONDS)}
    print(vt.results.save("05_balancing_act", figures, **where))


if __name__ == "__main__":
    main()
