"""What may stand in for log p(x): makes data/results/08_certified_evidence.json.

    python experiments/08_certified_evidence.py

Binarised digits, five seeds. A seed fixes the pixels of the training digits, the first weights, the
order of the batches and the noise; the held-out digits are the same for all, and are the judges.

`yardsticks`: 8x8 digits, two latents, so that a sum over a grid gives log p(x). One network is
trained on the ELBO and on the K-sample (IWAE) bound: which is better by the ELBO, and which by
log p(x)?
`unseen`: handwritten digits of 14x14 pixels, two latents, trained without the ones; log p(x) of
held-out ones and of other held-out digits, by a grid.
`annealing`: 14x14 pixels, ten latents. Both ends of bidirectional Monte Carlo with few temperatures
and with many, on held-out digits and on digits that the network made; and the 1,000-sample bound.
About five minutes on two cores.
"""

import functools
import pathlib
import time
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

import vae_tf as vt

SEEDS = (0, 1, 2, 3, 4)
WIDTH, BATCH, RATE, STEPS = 100, 100, 2e-3, 400
SAMPLES = 8  # K of the IWAE bound in training
JUDGES = 50  # held-out digits that compare the objectives; unseen ones, and others
TEMPERATURES, EXAMPLES, CHAINS = (25, 200), 16, 8  # examples of either kind
LEFT_OUT = 1  # the digit that the networks of `unseen` never see
OBJECTIVES = {"ELBO": vt.objectives.ELBO, "IWAE": functools.partial(vt.objectives.IWAE, SAMPLES)}
# On another machine, nats a digit: rounding at every step carries on. `perturbed`, in the file,
# says how far first weights changed by 1e-7 moved any digit; this is wider.
TOLERANCE = 0.2
NAME = pathlib.Path(__file__).stem
KEPT = pathlib.Path(__file__).resolve().parent.parent / "build" / NAME
SETTINGS = {"width": WIDTH, "batch": BATCH, "rate": RATE, "steps": STEPS, "samples": SAMPLES}
SETTINGS |= {"judges": JUDGES, "temperatures": TEMPERATURES, "examples": EXAMPLES}
SETTINGS |= {"chains": CHAINS, "left out": LEFT_OUT}


class Digits(NamedTuple):
    """Binarised digits."""

    train: np.ndarray  # [N, side, side]
    held_out: np.ndarray  # [M, side, side]
    train_labels: np.ndarray  # [N]
    held_out_labels: np.ndarray  # [M]


def digits(seed, side=8):
    """Digits, with training pixels that `seed` draws; the held-out ones are the same for all."""
    data = vt.data.load("digits" if side == 8 else "mnist5k")
    train, held_out = (
        x if side == 8 else x.reshape(len(x), 14, 2, 14, 2).mean(axis=(2, 4))
        for x in (data.x_train, data.x_test)
    )
    pixels = vt.data.binarize(train, seed=seed), vt.data.binarize(held_out, seed=100)
    return Digits(*pixels, data.y_train, data.y_test)


@functools.cache
def _compiled(objective, latents, side):
    """A network of one kind: compiled once, trained from each seed."""
    vae = vt.VAE(*_fresh(0, latents, side), objective=OBJECTIVES[objective](), seed=0)
    vae.compile(keras.optimizers.Adam(RATE), jit_compile=True)
    return vae


def _fresh(seed, latents, side):
    """Encoder and decoder with their first weights."""
    keras.utils.set_random_seed(seed)
    encoder = vt.networks.mlp((side, side), vt.layers.NormalDiag(latents), hidden=(WIDTH,))
    p_x = vt.layers.Bernoulli((side, side))
    return encoder, vt.networks.mlp(latents, p_x, hidden=(WIDTH,))


def train(objective, seed, latents=2, side=8, without=None, change=0.0):
    """A network, trained from its start on all digits, or on those of other classes.

    The first weights are changed by the factor 1 + `change` times Normal noise.
    """
    vae, data = _compiled(objective, latents, side), digits(seed, side)
    for own, new in zip((vae.encoder, vae.decoder), _fresh(seed, latents, side), strict=True):
        noise = np.random.default_rng(seed)
        own.set_weights([w * (1 + change * noise.normal(size=w.shape)) for w in new.get_weights()])
    for variable in vae.optimizer.variables:
        if "learning_rate" not in variable.path:
            variable.assign(tf.zeros_like(variable))
    vae.seed_generator.state.assign([0, seed])
    shown = data.train if without is None else data.train[data.train_labels != without]
    epochs = round(STEPS / (len(shown) / BATCH))
    vae.fit(shown, epochs=epochs, batch_size=BATCH, verbose=0)
    return vae


def rounded(values):
    """As they are stored."""
    return [round(float(value), 4) for value in values]


def yardsticks(objective, seed):
    """A network of each seed, by both yardsticks."""
    return judged(train(objective, seed))


def judged(vae):
    """ELBO and log p(x) of the judges, nats, under a network of two latents."""
    judges = digits(0).held_out[:JUDGES]
    elbo = vae.elbo(judges, num_samples=100, seed=0).elbo.numpy()
    return {"ELBO": rounded(elbo), "log p(x)": rounded(vt.evidence.grid(vae, judges).estimate)}


def unseen(seed):
    """log p(x) of ones, which the network has never seen, and of other held-out digits."""
    vae, data = train("ELBO", seed, side=14, without=LEFT_OUT), digits(0, side=14)
    is_one = data.held_out_labels == LEFT_OUT
    both = {"ones": data.held_out[is_one], "others": data.held_out[~is_one]}
    return {name: rounded(vt.evidence.grid(vae, x[:JUDGES]).estimate) for name, x in both.items()}


def annealing(seed):
    """Both ends at each number of temperatures, of real digits; widths, of simulated ones."""
    vae = train("ELBO", seed, latents=10, side=14)
    x = digits(0, side=14).held_out[:EXAMPLES]
    sampled = vt.evidence.iwae(vae, x, 1000, seed=0)
    figures = {"1,000 samples": rounded(sampled.estimate), "refused": int(sampled.refused.sum())}
    figures |= {"lower": [], "upper": [], "simulated width": []}
    for steps in TEMPERATURES:
        how = {"num_chains": CHAINS, "num_steps": steps, "num_simulated": EXAMPLES, "seed": seed}
        both = vt.evidence.bracket(vae, x, **how)
        figures["lower"].append(rounded(both.lower))
        figures["upper"].append(rounded(both.upper))
        figures["simulated width"].append(rounded(both.simulated_width))
    return figures


def perturbed(seed):
    """How far ELBO and log p(x) of any judge move if the first weights change by 1e-7."""
    found, moved = (judged(train("ELBO", seed, change=change)) for change in (0.0, 1e-7))
    return {
        name: round(float(np.abs(np.subtract(found[name], moved[name])).max()), 4) for name in found
    }


RUNS = {
    "yardsticks, ELBO": functools.partial(yardsticks, "ELBO"),
    "yardsticks, IWAE": functools.partial(yardsticks, "IWAE"),
    "perturbed": perturbed,
    "unseen": unseen,
    "annealing": annealing,
}


def entry():
    """One network again: ELBO and log p(x) of its judges."""
    found = yardsticks("ELBO", 0)
    return {("yardsticks, ELBO", 0, name): (values, TOLERANCE) for name, values in found.items()}


def main():
    """Trains and judges all, and writes the file."""
    began, figures = time.monotonic(), {}
    for name, run in RUNS.items():
        figures[name] = []
        for seed in SEEDS:
            settings = {**SETTINGS, "run": name, "seed": seed}
            make = functools.partial(run, seed)
            figures[name].append(vt.results.kept(KEPT, settings, make, script=__file__))
            means = {key: round(float(np.mean(v)), 3) for key, v in figures[name][-1].items()}
            print(f"{time.monotonic() - began:5.0f} s", name, seed, means, flush=True)
    where = {"script": __file__, "settings": SETTINGS, "seeds": SEEDS}
    print(vt.results.save(NAME, figures, **where, seconds=time.monotonic() - began))


if __name__ == "__main__":
    main()
