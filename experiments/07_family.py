"""Trains ten objectives on the sprites, five seeds each, and scores their codes, for notebook 07.

Networks, steps and the order of the data are the same for all; a seed fixes the first weights,
the order and the noise, and all objectives share the seeds. A finished model's figures are kept in
build/family, so that a run that was stopped goes on where it was, and several runs with different
`--objectives` can share the work. Writes data/results/07_family.json once all are there, with the
time of the processor.
"""

import argparse
import json
import pathlib
import time

import keras
import numpy as np

import vae_tf as vt

SEEDS = (0, 1, 2, 3, 4)
LATENTS, EPOCHS, BATCH, RATE = 8, 30, 64, 2e-3
HIDDEN = (256, 256)
ORDERED = [False, True, True, True, True]  # of shape, scale, rotation, x, y
KEPT = pathlib.Path(__file__).resolve().parent.parent / "build" / "family"
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


def kept(name, seed):
    """The file of one finished model."""
    return KEPT / f"{name}_{seed}.json"


def main():
    """Trains what is missing, and writes the file when nothing is."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--objectives", nargs="+", default=OBJECTIVES, choices=OBJECTIVES)
    names = parser.parse_args().objectives
    sprites = vt.data.load("sprites")
    KEPT.mkdir(parents=True, exist_ok=True)
    for seed in SEEDS:
        for name in names:
            if kept(name, seed).exists():
                continue
            start = time.process_time()
            found = measure(train(sprites, name, seed), sprites, seed)
            found["seconds"] = round(time.process_time() - start, 1)
            kept(name, seed).write_text(json.dumps(found) + "\n")
            print(name, seed, found, flush=True)
            keras.backend.clear_session()
    if not all(kept(name, seed).exists() for name in OBJECTIVES for seed in SEEDS):
        return
    runs = {
        name: [json.loads(kept(name, seed).read_text()) for seed in SEEDS] for name in OBJECTIVES
    }
    settings = {"latents": LATENTS, "epochs": EPOCHS, "batch": BATCH, "rate": RATE}
    seconds = sum(run["seconds"] for found in runs.values() for run in found)  # of processor time
    figures = {"settings": {**settings, "hidden": HIDDEN}, "runs": runs}
    script = "experiments/07_family.py"
    print(vt.results.save("07_family", figures, script=script, seeds=SEEDS, seconds=seconds))


if __name__ == "__main__":
    main()
