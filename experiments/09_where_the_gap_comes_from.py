"""Splits the gap of some forty VAEs on the 8x8 digits into its two parts, for notebook 09.

What moves which part: the width of the encoder, the depth of the decoder, the family of q, and
overfitting. A seed fixes the first weights, the order of the data and the noise, and all settings
share the seeds, so that differences are paired. The figures of a finished model are kept in
build/09_where_the_gap_comes_from, under a hash of all that they depend on, so that a run that was
stopped goes on where it was. Makes data/results/09_where_the_gap_comes_from.json once all are
there, with the time of the processor.
"""

import argparse
import functools
import pathlib
import time

import keras
import numpy as np

import vae_tf as vt

SEEDS = (0, 1, 2, 3, 4)
LATENTS, BATCH, RATE, STEPS, IMAGES = 10, 100, 3e-3, 1300, 100
SAMPLES = 5000  # of the K-sample bound that stands for log p(x)
PLAIN = {"family": "diag", "encoder": 100, "decoder": [100], "few": False, "steps": STEPS}
SETTINGS = {
    "plain": {},
    "narrow encoder": {"encoder": 20},
    "wide encoder": {"encoder": 400},
    "linear decoder": {"decoder": []},
    "deep decoder": {"decoder": [100, 100]},
    "tril": {"family": "tril"},
    "flow": {"family": "flow"},
    "few images, short": {"few": True, "steps": 300},
    "few images, long": {"few": True, "steps": 6000},
}
FEW = 500  # images to overfit, binarised once and for all
LAYERS = {
    "diag": vt.layers.NormalDiag,
    "tril": vt.layers.NormalTriL,
    "flow": vt.layers.CouplingFlow,
}
NAME = pathlib.Path(__file__).stem
KEPT = pathlib.Path(__file__).resolve().parent.parent / "build" / NAME
SHARED = {"latents": LATENTS, "batch": BATCH, "rate": RATE, "images": IMAGES, "few": FEW}
SHARED["samples"] = SAMPLES


def train(x, setting, seed):
    """One VAE, from its first weights to a learning rate of zero."""
    keras.utils.set_random_seed(seed)
    layer = LAYERS[setting["family"]](LATENTS)
    encoder = vt.networks.mlp((8, 8), layer, hidden=(setting["encoder"],))
    likelihood = vt.layers.Bernoulli((8, 8))
    decoder = vt.networks.mlp(LATENTS, likelihood, hidden=setting["decoder"])
    vae = vt.VAE(encoder, decoder, seed=seed)
    steps = setting["steps"]
    schedule = keras.optimizers.schedules.CosineDecay(RATE, steps)
    vae.compile(keras.optimizers.Adam(schedule))
    batches = vt.data.Batches(x, BATCH, seed=seed, binarize=not setting["few"])
    vae.fit(batches, epochs=-(-steps // len(batches)), verbose=0)
    return vae


def measure(vae, seen, held_out, family, seed):
    """The parts of the gap in the model's own family, means over images, in nats per image."""
    x = np.concatenate([seen, held_out])
    truth = vt.evidence.iwae(vae, x, SAMPLES, seed=seed)
    parts = vt.gap.decompose(
        vae, x, family, log_evidence=truth, num_samples=500, tolerance=0.005, seed=seed
    )
    found = {"refused": int(truth.refused.sum())}  # by k-hat, of all images
    for name, rows in (("seen", slice(None, len(seen))), ("held_out", slice(len(seen), None))):
        found[name] = {
            field: round(float(getattr(parts, field)[rows].mean()), 5)
            for field in ("total", "approximation", "amortization", "log_evidence", "elbo")
        }
        missed = parts.optimization_error[rows].mean()
        found[name]["optimization_error"] = round(float(missed), 5)
    return found


def run(name, seed):
    """The figures of one model and the seconds that it took, of processor time."""
    start = time.process_time()
    setting, digits = {**PLAIN, **SETTINGS[name]}, vt.data.load("digits")
    fixed = vt.data.binarize(digits.x_train, seed=0)
    held_out = vt.data.binarize(digits.x_test, seed=1)[:IMAGES]
    vae = train(fixed[:FEW] if setting["few"] else digits.x_train, setting, seed)
    found = measure(vae, fixed[:IMAGES], held_out, setting["family"], seed)
    found["seconds"] = round(time.process_time() - start, 1)
    print(name, seed, found, flush=True)
    keras.backend.clear_session()
    return found


def kept(name, seed, make=None):
    """The figures of one model, if they are there or can be made."""
    settings = {**SHARED, **PLAIN, **SETTINGS[name], "seed": seed}
    return vt.results.kept(KEPT, settings, make, script=__file__)


def main():
    """Trains what is missing, and writes the file when nothing is."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--settings", nargs="+", default=list(SETTINGS), choices=list(SETTINGS))
    parser.add_argument("--seeds", nargs="+", type=int, default=SEEDS, choices=SEEDS)
    chosen = parser.parse_args()
    for seed in chosen.seeds:
        for name in chosen.settings:
            kept(name, seed, functools.partial(run, name, seed))
    runs = {name: [kept(name, seed) for seed in SEEDS] for name in SETTINGS}
    if any(found is None for column in runs.values() for found in column):
        return
    seconds = sum(found["seconds"] for column in runs.values() for found in column)
    settings = {name: {**PLAIN, **setting} for name, setting in SETTINGS.items()}
    figures = {"shared": SHARED, "settings": settings, "runs": runs}
    where = {"script": __file__, "settings": {**SHARED, **settings}, "seeds": SEEDS}
    print(vt.results.save(NAME, figures, **where, seconds=seconds))


if __name__ == "__main__":
    main()
