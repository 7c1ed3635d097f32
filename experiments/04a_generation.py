"""What generation loses without the KL, and what a new prior gives back, over eight seeds.

For each seed two VAEs of two latents learn binarised 8x8 digits, one with beta = 1, one with
beta = 0.01. Then encoder and decoder of both are kept, and only the prior is fitted again, to the
codes of the training digits: one Normal, a mixture, a VampPrior, a flow, and q(z) itself. All are
judged by the exact log p(x) of held-out digits. Then both train on, and are judged once more.
Makes `data/results/04a_generation.json`; about seven minutes on two cores.
"""

import time
from types import SimpleNamespace

import keras
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

import vae_tf as vt

tfd = tfp.distributions

SEEDS = (0, 1, 2, 3, 4, 5, 6, 7)
BETAS = {"beta 1": 1.0, "beta 0.01": 0.01}
LATENTS, HIDDEN, EPOCHS, BATCH = 2, 100, 60, 100
LONGER = 150  # epochs, of the last look
STAGES = 3  # how often in the course of training the codes are looked at
AXIS = np.linspace(-4, 4, 61)  # of the plane of the prior
DEAD = 0.01  # dead where a density of the codes is below 0.01 p(z)
COMPONENTS, PSEUDO_INPUTS, FLOWS = 10, 50, 4  # of the priors
FIT_STEPS, FIT_RATE = 1000, 0.02
SPACING = 0.15  # of the grid for log p(x)
NODES = 5  # of Gauss and Hermite, for each latent of each q(z|x)
SAMPLES = 1000  # of each generator
# Nats, on another machine: a training carries rounding on. Weights that are changed by 1e-7 before
# it move log p(x) by less than a tenth of this.
TOLERANCE = 0.3


def data():
    """Training digits [1297, 8, 8], and held-out ones [250, 8, 8]; black or white."""
    digits = vt.data.load("digits")
    return vt.data.binarize(digits.x_train, seed=0), vt.data.binarize(digits.x_test, seed=1)


def network(beta, seed, prior=None):
    """A VAE of two latents on 8x8 pixels, before training."""
    keras.utils.set_random_seed(seed)
    encoder = vt.networks.mlp((8, 8), vt.layers.NormalDiag(LATENTS), hidden=(HIDDEN,))
    decoder = vt.networks.mlp(LATENTS, vt.layers.Bernoulli((8, 8)), hidden=(HIDDEN,))
    made = None if prior is None else prior(LATENTS)
    objective = vt.objectives.BetaELBO(beta)
    return vt.VAE(encoder, decoder, prior=made, objective=objective, seed=seed)


def fit(vae, x_train, epochs):
    """Trains on."""
    vae.fit(x_train, epochs=epochs, batch_size=BATCH, verbose=0)


def train(beta, seed, prior=None, after=None):
    """A trained VAE; `after` is told of it at each of the stages."""
    x_train, vae = data()[0], network(beta, seed, prior)
    for _ in range(STAGES):
        fit(vae, x_train, EPOCHS // STAGES)
        if after is not None:
            after(vae)
    return vae


# -- the codes, and a prior for them --------------------------------------------------------------


def codes(vae, x):
    """Means and scales of q(z|x), each [N, L], float64."""
    q_z = vae.encode(x)
    return q_z.mean().numpy().astype("float64"), q_z.stddev().numpy().astype("float64")


def moments(loc, scale):
    """Mean [L] and covariance [L, L] of q(z), the mixture of all q(z|x_n)."""
    return loc.mean(axis=0), np.cov(loc.T, bias=True) + np.diag(np.mean(scale**2, axis=0))


def normal(mean, covariance):
    """The Normal of these moments, in float32."""
    lower = np.linalg.cholesky(covariance)
    return tfd.MultivariateNormalTriL(mean.astype("float32"), lower.astype("float32"))


def place(mean, covariance):
    """KL(N(mean, covariance) || N(0, I)), nats: what a shift and a stretch repair."""
    trace, determinant = np.trace(covariance), np.linalg.slogdet(covariance)[1]
    return 0.5 * (mean @ mean + trace - len(mean) - determinant)


def with_prior(vae, p_z):
    """The kept encoder and decoder, under another prior."""
    return SimpleNamespace(prior=p_z, decode=vae.decode, encode=vae.encode)


def moved(p_u, mean, lower):
    """The distribution of z = mean + lower u, where u has the distribution p_u."""
    shift = tfp.bijectors.Shift(mean.astype("float32"))
    stretch = tfp.bijectors.ScaleMatvecTriL(lower.astype("float32"))
    return tfd.TransformedDistribution(p_u, shift(stretch))


class Fit:
    """Fits a prior to q(z): the highest mean of log p(z) over draws of z from all q(z|x_n).

    It is compiled once, and begins anew for each model: the numbers of a fit do not depend on
    what was fitted before.
    """

    def __init__(self, prior, weights=None):
        self.prior, self.weights = prior, weights or prior.trainable_weights
        rate = keras.optimizers.schedules.CosineDecay(FIT_RATE, FIT_STEPS)
        self.optimizer = keras.optimizers.Adam(rate)
        self.optimizer.build(self.weights)
        self.run = tf.function(self._run, jit_compile=True)

    def _run(self, loc, lower, scale, seed):
        for step in tf.range(FIT_STEPS):
            noise = tf.random.stateless_normal(tf.shape(loc), tf.stack([seed, step]))
            z = loc + tf.linalg.matvec(lower, scale * noise)
            with tf.GradientTape() as tape:
                loss = -tf.reduce_mean(self.prior().log_prob(z))
            self.optimizer.apply(tape.gradient(loss, self.weights), self.weights)

    def __call__(self, loc, scale, start, lower=None, seed=0):
        """From the weights `start`, to codes N(loc, (lower scale)^2); returns p(z)."""
        for weight, value in zip(self.weights, start, strict=True):
            weight.assign(value)
        for variable in self.optimizer.variables:
            if "learning_rate" not in variable.path:
                variable.assign(tf.zeros_like(variable))
        lower = np.eye(LATENTS) if lower is None else lower
        loc, lower, scale = (tf.constant(array, tf.float32) for array in (loc, lower, scale))
        self.run(loc, lower, scale, tf.constant(seed, tf.int32))
        return self.prior()


class Refits:
    """The priors that are learned, each compiled once: refits(vae, x_train, seed)."""

    def __init__(self):
        keras.utils.set_random_seed(0)
        self.mixture = vt.priors.MixtureOfNormals(LATENTS, COMPONENTS)
        self.flow = vt.priors.Flow(LATENTS, num_flows=FLOWS)
        self.vamp = vt.priors.VampPrior(LATENTS, (PSEUDO_INPUTS, 8, 8))
        self.encoder = network(1.0, 0).encoder
        self.vamp.attach(self.encoder)
        self.starts = {
            name: [weight.numpy() for weight in prior.trainable_weights]
            for name, prior in {"mixture": self.mixture, "flow": self.flow}.items()
        }
        pseudo_inputs = [self.vamp.pseudo_inputs]
        self.fits = {"mixture": Fit(self.mixture), "flow": Fit(self.flow)}
        self.fits["VampPrior"] = Fit(self.vamp, pseudo_inputs)

    def __call__(self, vae, x_train, seed):
        """{name: p(z)}, all fitted to the codes of the training digits.

        Mixture and flow are fitted to the codes u with mean 0 and covariance I, where z = mean +
        lower u: so they begin at the fitted Normal, near enough.
        """
        loc, scale = codes(vae, x_train)
        mean, covariance = moments(loc, scale)
        lower = np.linalg.cholesky(covariance)
        inverse = np.linalg.inv(lower)
        found = {"one Normal": normal(mean, covariance)}
        u = (loc - mean) @ inverse.T
        for name, start in self.starts.items():
            p_u = self.fits[name](u, scale, start, inverse, seed)
            found[name] = moved(p_u, mean, lower)
        self.encoder.set_weights(vae.encoder.get_weights())
        chosen = np.random.default_rng(seed).choice(x_train, PSEUDO_INPUTS, replace=False)
        found["VampPrior"] = self.fits["VampPrior"](loc, scale, [chosen], seed=seed)
        return found


# -- log p(x) -------------------------------------------------------------------------------------


def likelihood(vae, z, x):
    """p(x|z) of every pair, [M, B], float64: 64 pixels do not underflow."""
    logits = vae.decode(z.astype("float32")).distribution.logits.numpy().reshape(len(z), -1)
    logits, flat = logits.astype("float64"), x.reshape(len(x), -1).astype("float64")
    return np.exp(logits @ flat.T - np.logaddexp(0, logits).sum(axis=1)[:, None])


def log_evidence(vae, priors, x, spacing=SPACING):
    """{name: log p(x) [B]} of one decoder under several priors, by one grid for all of them.

    The grid reaches seven standard deviations about N(0, I) and about each of the priors. A
    mixture of q(z|u), such as a VampPrior, may be too narrow for it: see `log_p_under_codes`.
    """
    boxes = [(np.zeros(LATENTS), np.ones(LATENTS))]
    for p_z in priors.values():
        z = p_z.sample(2000, seed=[0, 0]).numpy()
        boxes.append((z.mean(axis=0), z.std(axis=0)))
    low = np.min([mean - 7 * std for mean, std in boxes], axis=0) // spacing
    high = np.max([mean + 7 * std for mean, std in boxes], axis=0) // spacing + 2
    axes = [spacing * np.arange(*ends) for ends in zip(low, high, strict=True)]
    nodes = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, LATENTS)
    total = np.zeros((len(priors), len(x)))
    for z in np.array_split(nodes, 1 + len(nodes) // 20_000):
        log_prior = [p_z.log_prob(z.astype("float32")).numpy() for p_z in priors.values()]
        total += np.exp(np.array(log_prior, "float64")) @ likelihood(vae, z, x)
    return dict(zip(priors, np.log(total) + 2 * np.log(spacing), strict=True))


def log_p_under_codes(vae, loc, scale, x, nodes=NODES):
    """log p(x), [B], if the prior is q(z) itself: the mean over n of E_q(z|x_n)[p(x|z)].

    Each expectation by Gauss and Hermite, with `nodes` for each latent.
    """
    t, w = np.polynomial.hermite_e.hermegauss(nodes)
    t = np.stack(np.meshgrid(t, t, indexing="ij"), axis=-1).reshape(-1, LATENTS)
    w = np.outer(w, w).ravel() / w.sum() ** 2
    total = np.zeros(len(x))
    for part in np.array_split(np.arange(len(loc)), 10):
        z = loc[part, None] + scale[part, None] * t  # [n, nodes^2, L]
        total += np.tile(w, len(part)) @ likelihood(vae, z.reshape(-1, LATENTS), x)
    return np.log(total / len(loc))


def evidences(vae, priors, loc, scale, x, spacing=SPACING, nodes=NODES):
    """{name: log p(x) [B]}: smooth priors by the grid; mixtures of q(z|x) by quadrature in each."""
    smooth = {name: p_z for name, p_z in priors.items() if name != "VampPrior"}
    found = log_evidence(vae, smooth, x, spacing)
    if "VampPrior" in priors:
        q_u = priors["VampPrior"].components_distribution
        own = (part.numpy().astype("float64") for part in (q_u.mean(), q_u.stddev()))
        found["VampPrior"] = log_p_under_codes(vae, *own, x, nodes)
    return found | {"q(z)": log_p_under_codes(vae, loc, scale, x, nodes)}


# -- samples --------------------------------------------------------------------------------------


def energy_distance(x, y):
    """2 E|X - Y| - E|X - X'| - E|Y - Y'| of two sets of black and white images, pixels.

    Zero in the mean if and only if both come from one distribution (Szekely and Rizzo 2013); no
    trained judge takes part. |X - Y| is the square root of the number of pixels that differ.
    """
    x, y = (images.reshape(len(images), -1).astype("float64") for images in (x, y))

    def mean_distance(a, b, pairs):
        differing = a.sum(axis=1)[:, None] + b.sum(axis=1) - 2 * a @ b.T
        return np.sqrt(np.maximum(differing, 0)).sum() / pairs

    within = sum(mean_distance(a, a, len(a) * (len(a) - 1)) for a in (x, y))
    return 2 * mean_distance(x, y, len(x) * len(y)) - within


def draw(model, seed, count=SAMPLES):
    """New digits: z from the model's prior, x from p(x|z)."""
    return model.decode(model.prior.sample(count, seed=[seed, 1])).sample(seed=[seed, 2]).numpy()


# -- what is measured -----------------------------------------------------------------------------


def plane():
    """Points of the prior's plane [61, 61, 2], and the prior's mass at each."""
    points = np.stack(np.meshgrid(AXIS, AXIS, indexing="ij"), axis=-1)
    mass = np.exp(-0.5 * (points**2).sum(axis=-1))
    return points, mass / mass.sum()


def dead_share(log_density):
    """The prior's mass where the codes have less than DEAD of its density."""
    points, mass = plane()
    log_p = -0.5 * (points**2).sum(axis=-1) - np.log(2 * np.pi)
    return float(mass[log_density < np.log(DEAD) + log_p].sum())


def mean_kl(vae, p_z, x, count=50):
    """Mean KL(q(z|x) || p(z)) under any prior, from draws."""
    q_z = vae.encode(x)
    z = q_z.sample(count, seed=[3, 0])
    return float(tf.reduce_mean(q_z.log_prob(z) - p_z.log_prob(z)))


def measure(beta, seed, refits):
    """Trains one VAE, refits its prior, and returns what is reported: {name: number}."""
    x_train, x_test = data()
    points = plane()[0]
    ever = np.full(points.shape[:-1], -np.inf)

    def look(vae):
        nonlocal ever
        ever = np.maximum(ever, vt.diagnostics.aggregate_log_prob(vae, x_train, points))

    vae = train(beta, seed, after=look)
    parts = vt.diagnostics.surgery(vae, x_train, 1, seed=0)
    loc, scale = codes(vae, x_train)
    mean, covariance = moments(loc, scale)
    log_q = vt.diagnostics.aggregate_log_prob(vae, x_train, points)
    seen, unseen = vae.elbo(x_train, 20, seed=0), vae.elbo(x_test, 20, seed=0)
    priors = {"N(0, I)": vae.prior} | refits(vae, x_train, seed)
    log_p = evidences(vae, priors, loc, scale, x_test)
    rough = evidences(vae, priors, loc, scale, x_test, 2 * SPACING, NODES - 2)
    numbers = {
        "reconstruction, training": np.mean(seen.reconstruction),
        "reconstruction, held out": np.mean(unseen.reconstruction),
        "ELBO, held out": np.mean(unseen.elbo),
        "ELBO, held out, one Normal": np.mean(unseen.reconstruction)
        - mean_kl(vae, priors["one Normal"], x_test),
        "mean KL": parts.kl,
        "information": parts.mutual_information,
        "KL(q(z) || p(z))": parts.marginal_kl,
        "surgery error": parts.standard_error,
        "place": place(mean, covariance),
        "smallest scale": scale.min(),
        "median scale": np.median(scale),
        "dead share": dead_share(log_q),
        "dead share, ever": dead_share(ever),
        "dead share, Normal": dead_share(priors["one Normal"].log_prob(points).numpy()),
        "dead share, flow": dead_share(priors["flow"].log_prob(points).numpy()),
        "grid error": max(np.abs(log_p[name] - rough[name]).max() for name in log_p),
    }
    numbers |= {f"log p(x), {name}": values.mean() for name, values in log_p.items()}
    for name in ("N(0, I)", "one Normal", "flow"):
        samples = draw(with_prior(vae, priors[name]), seed)
        numbers[f"energy distance, {name}"] = energy_distance(samples, x_test)
    fit(vae, x_train, LONGER - EPOCHS)
    later = {"N(0, I)": vae.prior, "one Normal": normal(*moments(*codes(vae, x_train)))}
    for name, values in log_evidence(vae, later, x_test).items():
        numbers[f"log p(x), {name}, longer"] = values.mean()
    return {name: round(float(value), 4) for name, value in numbers.items()}


def once(what, make):
    """A finished run and its seconds, kept until the script or a version changes."""

    def timed():
        start = time.monotonic()
        return {"figures": make(), "seconds": time.monotonic() - start}

    return vt.results.kept("build/04a_generation", what, timed, script=__file__)


def main():
    """All runs, printed as they come, and saved."""
    figures, seconds, refits = {}, 0.0, Refits()
    for name, beta in BETAS.items():
        for seed in SEEDS:
            run = once([name, seed], lambda b=beta, s=seed: measure(b, s, refits))
            seconds += run["seconds"]
            figures.setdefault(name, []).append(run["figures"])
            print(f"{seconds:5.0f} s", name, seed, run["figures"], flush=True)
    columns = {
        name: {key: [run[key] for run in runs] for key in runs[0]} for name, runs in figures.items()
    }
    floor = round(energy_distance(*data()), 4)
    settings = {"betas": BETAS, "epochs": EPOCHS, "longer": LONGER, "batch": BATCH, "dead": DEAD}
    settings |= {"components": COMPONENTS, "pseudo_inputs": PSEUDO_INPUTS, "flows": FLOWS}
    settings |= {"fit_steps": FIT_STEPS, "fit_rate": FIT_RATE, "samples": SAMPLES}
    where = {"script": __file__, "settings": settings, "seeds": SEEDS, "seconds": seconds}
    found = columns | {"training digits": {"energy distance": floor}}
    print(vt.results.save("04a_generation", found, **where))


def entry():
    """Re-makes what seed 0 says of beta 0.01 under the old prior and under a Normal: 15 s."""
    x_train, x_test = data()
    vae = train(BETAS["beta 0.01"], 0)
    p_z = normal(*moments(*codes(vae, x_train)))
    log_p = log_evidence(vae, {"N(0, I)": vae.prior, "one Normal": p_z}, x_test)
    return {
        ("beta 0.01", f"log p(x), {name}", 0): (round(float(values.mean()), 4), TOLERANCE)
        for name, values in log_p.items()
    }


if __name__ == "__main__":
    main()
