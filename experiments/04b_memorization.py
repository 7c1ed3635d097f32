"""Makes data/results/04b_memorization.json: what the weight of the KL does to memorisation.

Trains the network of notebook 04b on 200 binarised digits for each weight and each seed, and asks
of each whether it knows its own training digits from strangers. A seed fixes which digits are
members, their binarisation, the initial weights and the samples.
"""

import sys
import time

import keras
import numpy as np
from sklearn.metrics import roc_auc_score

import vae_tf as vt

BETAS = (1.0, 0.1, 0.01, 0.001, 0.0)
SEEDS = (0, 1, 2, 3, 4)
N, LATENTS, WIDTH, BATCH, RATE = 200, 8, 200, 50, 3e-3
EPOCHS, PASSES = 20, 5  # an epoch shows each member five times: fewer pauses, less waiting


def split(seed):
    """Members, monitors and strangers: three disjoint random sets of N binarised digits."""
    pool = vt.data.binarize(vt.data.load("digits").x_train, seed=seed)
    return pool[np.random.default_rng(seed).permutation(len(pool))[: 3 * N]].reshape(3, N, 8, 8)


class Best(keras.callbacks.Callback):
    """Keeps the weights of the epoch with the largest value of a figure of the history."""

    def __init__(self, monitor):
        super().__init__()
        self.monitor, self.value, self.epoch, self.weights = monitor, -np.inf, None, None

    def on_epoch_end(self, epoch, logs=None):
        if logs[self.monitor] > self.value:
            self.value, self.epoch = logs[self.monitor], epoch + 1
            self.weights = self.model.get_weights()


def train(beta, seed, members, monitors):
    """One network, and its best epochs by the bound and by the reconstruction."""
    keras.utils.set_random_seed(seed)
    encoder = vt.networks.mlp((8, 8), vt.layers.NormalDiag(LATENTS), hidden=(WIDTH, WIDTH))
    decoder = vt.networks.mlp(LATENTS, vt.layers.Bernoulli((8, 8)), hidden=(WIDTH, WIDTH))
    vae = vt.VAE(encoder, decoder, objective=vt.objectives.BetaELBO(beta), seed=seed)
    vae.compile(keras.optimizers.Adam(RATE), steps_per_execution=PASSES * N // BATCH)
    best = [Best("val_elbo"), Best("val_reconstruction")]
    options = {"epochs": EPOCHS, "batch_size": BATCH, "verbose": 0, "callbacks": best}
    vae.fit(np.tile(members, (PASSES, 1, 1)), validation_data=monitors, **options)
    return vae, best


def terms(vae, members, strangers):
    """The bound and its terms for members and strangers, and how well they tell the two apart."""
    figures, is_member = {}, np.repeat([1, 0], N)
    ours, theirs = vae.elbo(members, 50, seed=1), vae.elbo(strangers, 50, seed=2)
    for name in ("elbo", "reconstruction", "kl"):
        a, b = getattr(ours, name).numpy(), getattr(theirs, name).numpy()
        figures[name], figures[f"held_out_{name}"] = a.mean(), b.mean()
        figures[f"auc_{name}"] = roc_auc_score(is_member, np.r_[a, b])
    return figures


def geometry(vae, members, strangers):
    """Where the encoder puts members, how wide, and beside whom it puts strangers."""
    q, new = vae.encode(members), vae.encode(strangers).mean().numpy()
    loc, scale = q.mean().numpy(), q.stddev().numpy()  # [N, L]
    radius = scale * np.sqrt(LATENTS)  # a sample's typical distance from its mean
    apart = np.linalg.norm((loc - loc[:, None]) / radius[:, None], axis=-1)  # [from, to]
    np.fill_diagonal(apart, np.inf)
    nearest = np.linalg.norm(new[:, None] - loc, axis=-1).argmin(axis=1)
    p_x = vae.decode(new)
    lead = p_x.log_prob(members[nearest]) - p_x.log_prob(strangers)
    return {
        "mean_size": np.sqrt((loc**2).mean()),
        "scale": np.exp(np.log(scale).mean()),
        "smallest_scale": scale.min(),
        "radii_apart": np.median(apart.min(axis=1)),
        "neighbour_lead": lead.numpy().mean(),
        "information": vt.diagnostics.mutual_information(vae, members, 20, seed=3).estimate,
    }


def measure(beta, seed):
    """All figures of one network: at the end, and at its best epochs."""
    members, monitors, strangers = split(seed)
    vae, best = train(beta, seed, members, monitors)
    figures = {**terms(vae, members, strangers), **geometry(vae, members, strangers)}
    for callback in best:
        vae.set_weights(callback.weights)
        stopped = {"epoch": callback.epoch, **terms(vae, members, strangers)}
        figures |= {f"{name}_at_best_{callback.monitor}": v for name, v in stopped.items()}
    return {name: float(f"{value:.5g}") for name, value in figures.items()}


def main():
    """Measures every weight with every seed, and saves the result."""
    start, figures = time.monotonic(), {}
    for beta in BETAS:
        found = [measure(beta, seed) for seed in SEEDS]
        figures[f"{beta:g}"] = {name: [f[name] for f in found] for name in found[0]}
        means = {name: f"{np.mean(v):.4g}" for name, v in figures[f"{beta:g}"].items()}
        print(f"{beta:g}", means, flush=True)
    seconds = time.monotonic() - start
    settings = {"betas": BETAS, "members": N, "latents": LATENTS, "width": WIDTH}
    settings |= {"batch": BATCH, "rate": RATE, "epochs": EPOCHS, "passes": PASSES}
    where = {"script": __file__, "settings": settings, "seeds": SEEDS}
    print(vt.results.save("04b_memorization", figures, **where, seconds=seconds))


if __name__ == "__main__":
    sys.exit(main())
