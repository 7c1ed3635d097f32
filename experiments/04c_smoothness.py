"""Straight paths between digits, with the KL term and almost without it, for notebook 04c.

For each of five seeds it trains four VAEs on binarised digits (8 and 2 latents; beta = 1 and
0.001), walks 100 straight lines between the codes of held-out digits of different classes, and
measures the decoded frames: path length, worst jump, a classifier's confidence, and log p(x) under
a judge, a beta = 1 model of yet another seed. Makes data/results/04c_smoothness.json.
"""

import itertools
import sys
import time

import keras
import numpy as np
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import RidgeClassifier
from sklearn.pipeline import make_pipeline

import vae_tf as vt

SEEDS, LATENTS, BETAS = (0, 1, 2, 3, 4), (8, 2), (1.0, 0.001)
JUDGE_SEED, EPOCHS, PATHS, FRAMES = 100, 20, 100, 33
LOOK = np.array([0, 8, 16, 24, 32])  # the frames that classifier and judge look at

DIGITS = vt.data.load("mnist5k")
HELD_OUT = vt.data.binarize(DIGITS.x_test, seed=0)


def train(latents, beta, seed):
    """A VAE with one hidden layer on either side."""
    keras.utils.set_random_seed(seed)
    encoder = vt.networks.mlp((28, 28), vt.layers.NormalDiag(latents), hidden=(200,))
    decoder = vt.networks.mlp(latents, vt.layers.Bernoulli((28, 28)), hidden=(200,))
    vae = vt.VAE(encoder, decoder, objective=vt.objectives.BetaELBO(beta), seed=seed)
    vae.compile(keras.optimizers.Adam(2e-3))
    batches = vt.data.Batches(DIGITS.x_train, batch_size=100, seed=seed, binarize=True)
    vae.fit(batches, epochs=EPOCHS, verbose=0)
    return vae


def draw_pairs(seed):
    """Rows of held-out digits of different classes, [PATHS, 2]."""
    pairs = np.random.default_rng(seed).integers(len(HELD_OUT), size=(4 * PATHS, 2))
    return pairs[DIGITS.y_test[pairs[:, 0]] != DIGITS.y_test[pairs[:, 1]]][:PATHS]


def line(ends, times):
    """Points of straight lines: ends [N, 2, ...], times [T] -> [N, T, ...]."""
    t = times.reshape(1, -1, *[1] * (ends.ndim - 2))
    return (1 - t) * ends[:, :1] + t * ends[:, 1:]


def arc(ends, times):
    """Points of great arcs: the direction turns evenly, the length changes evenly (slerp)."""
    size = np.linalg.norm(ends, axis=-1, keepdims=True)  # [N, 2, 1]
    unit = ends / size
    angle = np.arccos(np.sum(unit[:, 0] * unit[:, 1], axis=-1))[:, None, None]  # [N, 1, 1]
    t = times[None, :, None]
    turned = np.sin((1 - t) * angle) * unit[:, :1] + np.sin(t * angle) * unit[:, 1:]
    return turned / np.sin(angle) * line(size, times)


def geometry(frames):
    """Means over the paths: length and worst jump, in units of the straight line (see text)."""
    flat = frames.reshape(*frames.shape[:2], -1)
    steps = np.linalg.norm(np.diff(flat, axis=1), axis=-1)  # [N, T - 1]
    direct = np.linalg.norm(flat[:, -1] - flat[:, 0], axis=-1)
    return {
        "length": np.mean(steps.sum(axis=1) / direct),
        "worst_jump": np.mean(steps.max(axis=1) / direct) * steps.shape[1],
    }


class Jury:
    """A classifier and a VAE of another seed, each with the threshold that real digits set."""

    def __init__(self):
        kernel = Nystroem(gamma=0.02, n_components=800, random_state=0)
        self.classifier = make_pipeline(kernel, RidgeClassifier(alpha=0.1))
        self.classifier.fit(DIGITS.x_train.reshape(-1, 784), DIGITS.y_train)
        self.judge = train(8, 1.0, JUDGE_SEED)
        self.confident = np.quantile(self.confidence(DIGITS.x_val), 0.1)
        self.likely = np.quantile(self.log_p(vt.data.binarize(DIGITS.x_val, seed=0)), 0.1)

    def confidence(self, images):
        scores = np.sort(self.classifier.decision_function(images.reshape(-1, 784)), axis=-1)
        return (scores[:, -1] - scores[:, -2]) / 2  # targets are -1 and 1

    def log_p(self, x):
        return vt.evidence.iwae(self.judge, x, num_samples=100, seed=0).estimate

    def hear(self, frames):
        """Per looked-at time: the share of confident frames, mean log p(x), share of likely."""
        shape = (len(frames), len(LOOK))
        images = frames[:, LOOK].reshape(-1, 28, 28)
        confidence = self.confidence(images).reshape(shape)
        log_p = self.log_p(vt.data.binarize(images, seed=1)).reshape(shape)
        return {
            "confident": (confidence > self.confident).mean(axis=0),
            "log_p": log_p.mean(axis=0),
            "likely": (log_p > self.likely).mean(axis=0),
            "both": ((confidence > self.confident) & (log_p > self.likely)).mean(axis=0),
        }

    def on_real_digits(self):
        x = DIGITS.x_test
        log_p = self.log_p(HELD_OUT)
        confident, likely = self.confidence(x) > self.confident, log_p > self.likely
        return {
            "accuracy": self.classifier.score(x.reshape(-1, 784), DIGITS.y_test),
            "confident": np.mean(confident),
            "log_p": np.mean(log_p),
            "likely": np.mean(likely),
            "both": np.mean(confident & likely),
        }


def measure(vae, pairs, jury):
    """All figures of one model: straight lines, arcs, and the cross-fade of the same ends."""
    times = np.linspace(0, 1, FRAMES)
    codes = vae.encode(HELD_OUT).mean().numpy().astype("float64")
    ends = codes[pairs]  # [N, 2, L]

    def decode(z):
        return np.clip(vae.decode(z.astype("float32")).mean().numpy(), 0, 1)

    paths = {"line": decode(line(ends, times)), "arc": decode(arc(ends, times))}
    paths["fade"] = line(paths["line"][:, [0, -1]], times)
    found = {name: geometry(frames) | jury.hear(frames) for name, frames in paths.items()}
    apart = np.linalg.norm(ends[:, 1] - ends[:, 0], axis=-1)
    flat = paths["line"].reshape(PATHS, FRAMES, -1)
    travelled = np.linalg.norm(np.diff(flat, axis=1), axis=-1).sum(axis=1)
    norms, middle = np.linalg.norm(codes, axis=-1), np.linalg.norm(ends.mean(axis=1), axis=-1)
    found["per_unit_of_z"] = np.mean(travelled / apart)
    found["norm_of_ends"] = np.mean(norms[pairs])
    found["norm_of_middle"] = np.mean(middle)
    found["codes_nearer_to_origin_than_middle"] = np.mean(norms[None] < middle[:, None])
    terms = vae.elbo(HELD_OUT, num_samples=10, seed=0)
    return found | {name: np.mean(getattr(terms, name)) for name in terms._fields}


def plain(value):
    """Arrays and NumPy numbers as rounded Python numbers, for JSON."""
    if isinstance(value, dict):
        return {key: plain(entry) for key, entry in value.items()}
    return np.round(np.asarray(value, "float64"), 5).tolist()


def main():
    """Trains, measures and writes the result."""
    start = time.monotonic()
    jury = Jury()
    models = {}
    for seed, latents, beta in itertools.product(SEEDS, LATENTS, BETAS):
        found = measure(train(latents, beta, seed), draw_pairs(seed), jury)
        models.setdefault(f"{latents} latents, beta {beta:g}", []).append(plain(found))
        print(f"seed {seed}, {latents} latents, beta {beta:g}, {time.monotonic() - start:.0f} s")
    setting = {"paths": PATHS, "frames": FRAMES, "epochs": EPOCHS, "times": (LOOK / 32).tolist()}
    figures = {"setting": setting, "real_digits": plain(jury.on_real_digits()), "models": models}
    seconds = time.monotonic() - start
    settings = {**setting, "latents": LATENTS, "betas": BETAS}
    where = {"script": __file__, "settings": settings, "seeds": [*SEEDS, JUDGE_SEED]}
    print(vt.results.save("04c_smoothness", figures, **where, seconds=seconds))


if __name__ == "__main__":
    sys.exit(main())
