"""What a VAE learns by heart, with and without its KL: makes data/results/04b_memorization.json.

    python experiments/04b_memorization.py

Two parts on binarised 8x8 digits, five seeds each. A seed fixes which digits are members, their
pixels, the first weights, the order of the batches and the noise.

`sizes`: the same network learns N digits, the members, under several weights of the KL, and is
asked afterwards which digits it knows: how well it tells members from strangers, and where it puts
their codes. All take the same number of steps. Each is asked after 2, 8 and 32 epochs of 2,000
digits: a network with four times the members needs four times the epochs for the same passes, so
that sizes can be compared at equal steps and at equal passes. And each is asked at its best epoch
by the ELBO of digits that are neither members nor strangers.

`noise`: is a VAE an autoencoder with noise? Autoencoders of two latents, whose noise is learned,
fixed or absent, with and without the KL; and log p(x) of strangers, by a sum over a grid, under the
prior and under a Normal fitted to the codes. About six minutes on two cores.
"""

import itertools
import time

import keras
import numpy as np
import tensorflow as tf
from sklearn.metrics import roc_auc_score

import vae_tf as vt

SEEDS = (0, 1, 2, 3, 4)
BETAS = (1.0, 0.1, 0.01, 0.0)
SIZES = (50, 200, 800)  # N
LATENTS, WIDTH, BATCH, RATE = 8, 100, 50, 3e-3
SHOWN, EPOCHS, STOPS = 2000, 32, (2, 8, 32)  # digits in an epoch; when the networks are asked
HELD_OUT = 200  # monitors, and strangers
SAMPLES = 20  # of z, for each digit of a measurement
NOISES = {"learned": "predicted", "fixed": 0.3, "none": 1e-3}  # the scale of q(z|x)
PLANE = 2  # latents of the second part
SIDE, REACH = 281, 5.5  # nodes per axis, and how many standard deviations they reach
# On another machine, nats: a start changed by 1e-7 ended within 1e-4 at beta 1, 3e-3 at beta 0, and
# within 1e-4 of the AUC (four tries each); rounding at every step may carry on further.
TOLERANCES = {"kl": 0.1, "held_out_elbo": 0.1, "auc_reconstruction": 0.005}


def split(seed, size=200):
    """Members, monitors and strangers: disjoint, [N, 8, 8], [200, 8, 8] twice.

    Monitors and strangers are the same for every N, and fewer members are the first of more.
    """
    pool = vt.data.binarize(vt.data.load("digits").x_train, seed=seed)
    pool = pool[np.random.default_rng(seed).permutation(len(pool))]
    monitors, strangers, members = np.split(pool, [HELD_OUT, 2 * HELD_OUT])
    return members[:size], monitors, strangers


class Keep(keras.callbacks.Callback):
    """The weights after the epochs STOPS, and of the epoch with the best `val_elbo`."""

    def on_train_begin(self, logs=None):
        del logs
        self.weights, self.best, self.best_epoch = {}, -np.inf, 0

    def on_epoch_end(self, epoch, logs=None):
        if epoch + 1 in STOPS:
            self.weights[epoch + 1] = self.model.get_weights()
        if logs["val_elbo"] > self.best:
            self.best, self.best_epoch = logs["val_elbo"], epoch + 1
            self.weights["best"] = self.model.get_weights()


class Network:
    """Encoder and decoder of one kind: compiled once, trained from each seed with any weight."""

    def __init__(self, latents=LATENTS, noise="learned"):
        self.latents, self.noise = latents, noise
        self.vae = vt.VAE(*self.fresh(0), objective=vt.objectives.BetaELBO(1.0), seed=0)
        steps = SHOWN // BATCH
        self.vae.compile(keras.optimizers.Adam(RATE), steps_per_execution=steps, jit_compile=True)

    def fresh(self, seed):
        """Networks with their first weights."""
        keras.utils.set_random_seed(seed)
        q_z = vt.layers.Normal(self.latents, scale=NOISES[self.noise])
        encoder = vt.networks.mlp((8, 8), q_z, hidden=(WIDTH, WIDTH))
        return encoder, vt.networks.mlp(
            self.latents, vt.layers.Bernoulli((8, 8)), hidden=(WIDTH, WIDTH)
        )

    def train(self, beta, seed, members, monitors):
        """From the start. Returns the history of `fit`, and the weights that `Keep` kept."""
        vae, keep = self.vae, Keep()
        for own, new in zip((vae.encoder, vae.decoder), self.fresh(seed), strict=True):
            own.set_weights(new.get_weights())
        for variable in vae.optimizer.variables:
            if "learning_rate" not in variable.path:
                variable.assign(tf.zeros_like(variable))
        vae.seed_generator.state.assign([0, seed])
        vae.objective.beta = beta
        shown = np.tile(members, (SHOWN // len(members), 1, 1))
        options = {"epochs": EPOCHS, "batch_size": BATCH, "verbose": 0, "callbacks": [keep]}
        return vae.fit(shown, validation_data=monitors, **options).history, keep


def terms(vae, members, strangers):
    """The ELBO and its terms, nats, and the AUC: how well each tells members from strangers."""
    figures, is_member = {}, np.repeat([1, 0], [len(members), len(strangers)])
    ours, theirs = vae.elbo(members, SAMPLES, seed=1), vae.elbo(strangers, SAMPLES, seed=2)
    for name in ("elbo", "reconstruction", "kl"):
        a, b = getattr(ours, name).numpy(), getattr(theirs, name).numpy()
        figures[name], figures[f"held_out_{name}"] = a.mean(), b.mean()
        figures[f"auc_{name}"] = roc_auc_score(is_member, np.r_[a, b])
    return figures


def geometry(vae, members, strangers):
    """Where the codes of members lie, how wide they are, and what a stranger decodes to."""
    q_z, new = vae.encode(members), vae.encode(strangers).mean().numpy()
    loc, scale = q_z.mean().numpy(), q_z.stddev().numpy()  # [N, L]
    radius = np.sqrt((scale**2).sum(axis=1))  # of the noise: a draw's distance from its mean
    apart = np.linalg.norm(loc - loc[:, None], axis=-1)
    np.fill_diagonal(apart, np.inf)
    p_x = vae.decode(new)
    nearest = np.linalg.norm(new[:, None] - loc, axis=-1).argmin(axis=1)
    lead = p_x.log_prob(members[nearest]) - p_x.log_prob(strangers)
    samples = max(1, 800 // len(members))
    return {
        "mean_size": np.sqrt((loc**2).mean()),
        "scale": np.exp(np.log(scale).mean()),
        "smallest_scale": scale.min(),
        "radii_apart": np.median(apart.min(axis=1) / radius),
        "neighbour_lead": lead.numpy().mean(),
        "information": vt.diagnostics.mutual_information(vae, members, samples, seed=3).estimate,
    }


def measure_size(network, size, beta, seed):
    """One network on N members: asked at each stop and at its best epoch, {when: figures}."""
    members, monitors, strangers = split(seed, size)
    _, keep = network.train(beta, seed, members, monitors)
    found = {}
    for when in (*STOPS, "best"):
        network.vae.set_weights(keep.weights[when])
        found[str(when)] = terms(network.vae, members, strangers)
        if when == EPOCHS:
            found[str(when)] |= geometry(network.vae, members, strangers)
    found["best"]["epoch"] = keep.best_epoch
    return {when: {name: rounded(v) for name, v in f.items()} for when, f in found.items()}


def rounded(value):
    """Four decimals, or five digits where that is less."""
    return float(f"{value:.5g}") if abs(value) < 1 else round(float(value), 4)


def log_evidence(vae, x, mean, factor):
    """log p(x), [B], for z = mean + factor u and a standard Normal u: a sum over a grid of u.

    And how far the sum over every second node of each axis is from it, the mean over all x.
    """
    u, step = np.linspace(-REACH, REACH, SIDE, retstep=True)
    u = np.stack(np.meshgrid(u, u, indexing="ij"), axis=-1).reshape(-1, PLANE)
    log_prior = -0.5 * (u**2).sum(axis=1) - np.log(2 * np.pi) + 2 * np.log(step)
    even = np.add.outer(*[np.arange(SIDE) % 2] * 2).ravel() == 0  # every second node of each axis
    z, pixels = (mean + u @ factor.T).astype("float32"), x.reshape(len(x), -1).T
    top, sums = (
        np.full(len(x), -np.inf, "float32"),
        np.zeros((2, len(x))),
    )  # of all, of every second
    for part in np.array_split(np.arange(len(z)), 20):
        logits = vae.decoder(z[part]).distribution.logits.numpy().reshape(len(part), -1)
        log_w = logits @ pixels  # float32, [nodes, B]
        log_w += (log_prior[part] - np.logaddexp(0, logits).sum(axis=1)).astype("float32")[:, None]
        new = np.maximum(top, log_w.max(axis=0))
        w = np.exp(log_w - new)
        added = w.sum(axis=0, dtype="float64"), w[even[part]].sum(axis=0, dtype="float64")
        sums, top = sums * np.exp(top - new) + added, new
    return top + np.log(sums[0]), np.abs(np.log(sums[0] / (4 * sums[1]))).mean()


def measure_noise(network, beta, seed):
    """One autoencoder of two latents: its codes, its noise, and log p(x) of strangers."""
    members, monitors, strangers = split(seed)
    network.train(beta, seed, members, monitors)
    vae, q_z = network.vae, network.vae.encode(members)
    loc, scale = q_z.mean().numpy().astype("float64"), q_z.stddev().numpy().astype("float64")
    covariance = np.cov(loc.T, ddof=0) + np.diag((scale**2).mean(axis=0))
    normals = {
        "prior": (np.zeros(PLANE), np.eye(PLANE)),
        "fitted": (loc.mean(axis=0), np.linalg.cholesky(covariance)),
    }
    found = terms(vae, members, strangers)
    for name, normal in normals.items():
        log_p, error = log_evidence(vae, np.concatenate([members, strangers]), *normal)
        found[f"log_p_{name}"], found[f"held_out_log_p_{name}"] = (
            log_p[: len(members)].mean(),
            log_p[len(members) :].mean(),
        )
        found[f"error_{name}"] = error
    found |= {"spread": loc.std(axis=0).mean(), "scale": np.exp(np.log(scale).mean())}
    codes = np.round(np.concatenate([loc, scale], axis=1), 4).tolist()
    return {name: rounded(value) for name, value in found.items()}, codes


def kept(make, network, *arguments):
    """One run, made once: its figures and its seconds."""

    def timed():
        began = time.monotonic()
        found = make(network, *arguments)
        return {"figures": found, "seconds": round(time.monotonic() - began, 2)}

    settings = {"what": make.__name__, "latents": network.latents, "noise": network.noise}
    settings["arguments"] = arguments
    return vt.results.kept("build/04b_memorization", settings, timed, script=__file__)


def over_seeds(found):
    """[{name: value}, ...] to {name: [values]}."""
    return {name: [f[name] for f in found] for name in found[0]}


def measured_sizes(network):
    """{N: {beta: {when: {name: [of each seed]}}}}, and the seconds."""
    figures, seconds = {}, 0.0
    for size, beta in itertools.product(SIZES, BETAS):
        runs = [kept(measure_size, network, size, beta, seed) for seed in SEEDS]
        found = [run["figures"] for run in runs]
        stages = {when: over_seeds([f[when] for f in found]) for when in found[0]}
        figures.setdefault(str(size), {})[f"{beta:g}"] = stages
        seconds += sum(run["seconds"] for run in runs)
        auc = np.mean(stages[str(EPOCHS)]["auc_reconstruction"])
        print(f"N {size}, beta {beta:g}: AUC {auc:.3f}, {seconds:.0f} s so far", flush=True)
    return figures, seconds


def measured_noise():
    """{arm: {name: [of each seed]}}, the codes of seed 0, and the seconds."""
    figures, codes, seconds = {}, {}, 0.0
    for noise in NOISES:
        network = Network(PLANE, noise)
        for beta in (1.0, 0.0):
            arm = f"{noise}, beta {beta:g}"
            runs = [kept(measure_noise, network, beta, seed) for seed in SEEDS]
            figures[arm] = over_seeds([run["figures"][0] for run in runs])
            codes[arm] = runs[0]["figures"][1]
            seconds += sum(run["seconds"] for run in runs)
            log_p = np.mean(figures[arm]["held_out_log_p_prior"])
            print(f"{arm}: log p(x) {log_p:.2f}, {seconds:.0f} s so far", flush=True)
    return figures, codes, seconds


def main():
    """Runs what is not there yet, prints it, saves all."""
    sizes, first = measured_sizes(Network())
    noise, codes, second = measured_noise()
    shown = {arm: codes[arm] for arm in ("learned, beta 1", "learned, beta 0")}
    figures = {"sizes": sizes, "noise": noise, "codes": shown}
    names = "BETAS SIZES LATENTS WIDTH BATCH RATE SHOWN EPOCHS STOPS HELD_OUT SAMPLES NOISES PLANE"
    settings = {name.lower(): globals()[name] for name in [*names.split(), "SIDE", "REACH"]}
    where = {"script": __file__, "settings": settings, "seeds": SEEDS, "seconds": first + second}
    print(vt.results.save("04b_memorization", figures, **where), f"{first + second:.0f} s")


def entry():
    """One network of the first part, made again: {keys: (value, tolerance)}."""
    found = terms_at_the_end(Network(), 200, 1.0, 0)
    return {
        ("sizes", "200", "1", str(EPOCHS), name, 0): (found[name], tolerance)
        for name, tolerance in TOLERANCES.items()
    }


def terms_at_the_end(network, size, beta, seed):
    """What `measure_size` says of the end of training, without the rest."""
    members, monitors, strangers = split(seed, size)
    network.train(beta, seed, members, monitors)
    return {name: rounded(v) for name, v in terms(network.vae, members, strangers).items()}


if __name__ == "__main__":
    main()
