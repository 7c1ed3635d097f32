"""Trains VAEs on 8x8 digits over many beta, and with two cures of collapse, for notebook 05.

Every combination is trained with five seeds, at equal numbers of steps, and measured on digits
that it has not seen. Writes data/results/05_balancing_act.json.
"""

import argparse
import time

import keras
import numpy as np

import vae_tf as vt

SEEDS = (0, 1, 2, 3, 4)
BETAS = (0.25, 0.5, 1.0, 2.0, 3.0, 4.5)
LATENTS, EPOCHS, BATCH, RATE = 10, 100, 100, 3e-3
NETWORKS = {"shallow": ((100,), "tanh"), "deep": ((100, 100, 100), "relu")}
CURES = ("none", "warm-up", "free bits 0.1", "free bits 0.5")


def cured(cure, steps):
    """The objective of each cure; all of them end at beta = 1."""
    return {
        "none": vt.objectives.ELBO,
        "warm-up": lambda: vt.objectives.BetaELBO(vt.schedules.LinearWarmup(steps // 2)),
        "free bits 0.1": lambda: vt.objectives.FreeBits(0.1),
        "free bits 0.5": lambda: vt.objectives.FreeBits(0.5),
    }[cure]()


def train(digits, network, objective, seed, epochs=EPOCHS):
    """One VAE, from its first weights to a learning rate of zero."""
    keras.utils.set_random_seed(seed)
    encoder = vt.networks.mlp((8, 8), vt.layers.NormalDiag(LATENTS), *NETWORKS[network])
    decoder = vt.networks.mlp(LATENTS, vt.layers.Bernoulli((8, 8)), *NETWORKS[network])
    vae = vt.VAE(encoder, decoder, objective=objective, seed=seed)
    batches = vt.data.Batches(digits.x_train, BATCH, seed=seed, binarize=True)
    steps = epochs * len(batches)
    vae.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(RATE, steps)))
    vae.fit(batches, epochs=epochs, verbose=0)
    return vae


def edges(x):
    """The mean squared difference of neighbouring pixels: large for sharp images."""
    return np.mean(np.diff(x, axis=1) ** 2) + np.mean(np.diff(x, axis=2) ** 2)


def measure(vae, digits):
    """Numbers in nats per digit; latents in falling order of their KL."""
    seen, held_out = vt.data.binarize(digits.x_train, 0), vt.data.binarize(digits.x_test, 1)
    terms = [float(np.mean(part)) for part in vae.elbo(held_out, num_samples=20, seed=0)]
    k_sample = vt.evidence.iwae(vae, held_out, num_samples=100, seed=0).estimate
    kl = vt.diagnostics.kl_per_latent(vae, seen).mean(axis=0)
    information = vt.diagnostics.mutual_information(vae, seen, seed=0)
    images = vae.reconstruct(held_out, seed=0).numpy()
    return {
        **dict(zip(("elbo", "reconstruction", "kl"), terms, strict=True)),
        "k_sample": float(np.mean(k_sample)),
        "kl_per_latent": np.sort(kl)[::-1].round(4).tolist(),
        "active": vt.diagnostics.active_units(vae, seen).count,
        "information": information.estimate,
        "saturated": bool(information.saturated),
        "sharpness": float(edges(images) / edges(digits.x_test)),
    }


def rounded(run):
    """Four decimals are more than the noise leaves."""
    return {k: round(v, 4) if isinstance(v, float) else v for k, v in run.items()}


def main():
    """The sweep over beta, the cures, and the file."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    options = parser.parse_args()
    digits, start = vt.data.load("digits"), time.monotonic()
    steps = options.epochs * -(-len(digits.x_train) // BATCH)
    jobs = [("shallow", f"beta {b:g}", lambda b=b: vt.objectives.BetaELBO(b)) for b in BETAS]
    jobs += [(n, c, lambda c=c: cured(c, steps)) for n in NETWORKS for c in CURES]
    runs = []
    for network, what, objective in jobs:
        for seed in options.seeds:
            if (network, what) == ("shallow", "none"):  # beta 1 is the same run
                continue
            vae = train(digits, network, objective(), seed, options.epochs)
            run = {"network": network, "objective": what, "seed": seed, **measure(vae, digits)}
            runs.append(rounded(run))
            shown = [f"{name} {run[name]:.2f}" for name in ("elbo", "k_sample", "kl", "sharpness")]
            print(network, what, seed, *shown, run["active"], flush=True)
            keras.backend.clear_session()
    figures = {"betas": BETAS, "latents": LATENTS, "epochs": options.epochs, "runs": runs}
    seconds = time.monotonic() - start
    settings = {"betas": BETAS, "networks": NETWORKS, "cures": CURES, "latents": LATENTS}
    settings |= {"epochs": options.epochs, "batch": BATCH, "rate": RATE}
    where = {"script": __file__, "settings": settings, "seeds": options.seeds}
    print(vt.results.save("05_balancing_act", figures, **where, seconds=seconds))


if __name__ == "__main__":
    main()
