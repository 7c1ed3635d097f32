"""Trains ten objectives on the sprites, five seeds each, and scores their codes, for notebook 07.

Networks, steps and the order of the data are the same for all; a seed fixes the first weights,
the order and the noise, and all objectives share the seeds. A finished model's figures are kept in
build/07_family, under a hash of all that they depend on, so that a run that was stopped goes on
where it was, and several runs with different `--objectives` can share the work. Makes
data/results/07_family.json once all are there, with the time of the processor.
"""

import argparse
import functools
import pathlib
import time

import keras
import numpy as np

import vae_tf as vt

SEEDS = (0, 1, 2, 3, 4)
LATENTS, EPOCHS, BATCH, RATE = 8, 30, 64, 2e-3
HIDDEN = (256, 256)
ORDERED = [False, True, True, True, True]  # of shape, scale, rotation, x, y
KEPT = pathlib.Path(__file__).resolve().parent.parent / "build" / "07_family"
SETTINGS = {"latents": LATENTS, "epochs": EPOCHS, "batch": BATCH, "rate": RATE, "hidden": HIDDEN}
OBJECTIVES = (
    *("ELBO", "beta-VAE", "free bits", "capacity", "beta-TC"),
    *("DIP-I", "DIP-II", "InfoVAE", "FactorVAE", "IWAE"),
)


def objective(name, steps, num_examples, seed):
    """One strength for each: strong enough to be seen, and not so strong that factors are lost."""
    half = vt.schedules.LinearWarmup(steps // 2, stop=7.0)
    return {
        "ELBO": lambda: vt.objectives.ELBO(),
        "beta-VAE": lambda: vt.objectives.BetaELBO(2.0),
        "free bits": lambda: vt.objectives.FreeBits(0.5),
        "capacity": lambda: vt.objectives.Capacity(half, gamma=10.0),
        "beta-TC": lambda: vt.objectives.BetaTC(4.0, dataset_size=num_examples),
        "DIP-I": lambda: vt.objectives.DIP("I", lambda_od=5.0, lambda_d=50.0),
        "DIP-II": lambda: vt.objectives.DIP("II", lambda_od=5.0, lambda_d=5.0),
        "InfoVAE": lambda: vt.objectives.InfoMMD(alpha=0.0, lambda_=100.0, seed=seed),
        "FactorVAE": lambda: vt.objectives.Factor(10.0, learning_rate=1e-3, seed=seed),
        "IWAE": lambda: vt.objectives.IWAE(num_samples=5),
    }[name]()


def train(sprites, name, seed, epochs=EPOCHS):
    """One VAE, from its first weights to a learning rate of zero."""
    keras.utils.set_random_seed(seed)
    encoder = vt.networks.mlp((24, 24), vt.layers.NormalDiag(LATENTS), HIDDEN, "relu")
    decoder = vt.networks.mlp(LATENTS, vt.layers.Bernoulli((24, 24)), HIDDEN, "relu")
    batches = vt.data.Batches(sprites.x_train, BATCH, seed=seed)
    steps = epochs * len(batches)
    chosen = objective(name, steps, len(sprites.x_train), seed)
    vae = vt.VAE(encoder, decoder, objective=chosen, seed=seed)
    vae.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(RATE, steps)))
    vae.fit(batches, epochs=epochs, verbose=0)
    return vae


def measure(vae, sprites, seed):
    """The bound on held-out images, in nats per image; the scores on all images."""
    held_out = np.concatenate([sprites.x_val, sprites.x_test])  # nothing was chosen by either
    elbo, reconstruction, rate = (np.mean(t) for t in vae.elbo(held_out, num_samples=20, seed=0))
    x = np.concatenate([sprites.x_train, held_out])
    factors = np.concatenate([sprites.y_train, sprites.y_val, sprites.y_test])
    codes = vae.encode(x).mean().numpy()  # [6000, L]
    dci = vt.disentanglement.dci(codes, factors, seed=seed)
    found = {
        "elbo": elbo,
        "rate": rate,
        "distortion": -reconstruction,
        "active": vt.diagnostics.active_units(vae, x).count,
        "mig": vt.disentanglement.mig(codes, factors),
        # a shape is a name: only the other factors have an order
        "sap": vt.disentanglement.sap(codes, factors, continuous=ORDERED, seed=seed),
        "sap_svm": vt.disentanglement.sap(codes, factors, continuous=False, seed=seed),
        "dci": dci.disentanglement,
        "completeness": dci.completeness,
        "informativeness": dci.informativeness,
        "beta_vae": vt.disentanglement.beta_vae_score(codes, factors, seed=seed),
        "factor_vae": vt.disentanglement.factor_vae_score(codes, factors, seed=seed),
    }
    return {key: round(float(value), 4) for key, value in found.items()}


def run(sprites, name, seed):
    """The figures of one model and the seconds that it took, of processor time."""
    start = time.process_time()
    found = measure(train(sprites, name, seed), sprites, seed)
    found["seconds"] = round(time.process_time() - start, 1)
    print(name, seed, found, flush=True)
    keras.backend.clear_session()
    return found


def kept(name, seed, make=None):
    """The figures of one model, if they are there or can be made."""
    settings = {**SETTINGS, "objective": name, "seed": seed}
    return vt.results.kept(KEPT, settings, make, script=__file__)


def main():
    """Trains what is missing, and writes the file when nothing is."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--objectives", nargs="+", default=OBJECTIVES, choices=OBJECTIVES)
    names = parser.parse_args().objectives
    sprites = vt.data.load("sprites")
    for seed in SEEDS:
        for name in names:
            kept(name, seed, functools.partial(run, sprites, name, seed))
    runs = {name: [kept(name, seed) for seed in SEEDS] for name in OBJECTIVES}
    if any(found is None for column in runs.values() for found in column):
        return
    seconds = sum(found["seconds"] for column in runs.values() for found in column)
    where = {"script": __file__, "settings": SETTINGS, "seeds": SEEDS}
    figures = {"settings": SETTINGS, "runs": runs}
    print(vt.results.save("07_family", figures, **where, seconds=seconds))


if __name__ == "__main__":
    main()
