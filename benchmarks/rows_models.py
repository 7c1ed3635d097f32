"""Deep models by the protocols of Burda et al. (K-sample bounds) and Cremer et al. (the gap)."""

import dataclasses
import math
import pathlib

import keras
import numpy as np
from table import Check, Measured, NotRun, beyond_zero, over_seeds
from tqdm.auto import tqdm

import vae_tf as vt

KEPT = pathlib.Path(__file__).resolve().parents[1] / ".cache" / "trainings"


@dataclasses.dataclass(frozen=True)
class Cells:
    """One-layer models as those of Burda et al., reduced: x-100-100-z-100-100-x, tanh."""

    data: tuple = ("digits",)  # the first that can be had
    samples: tuple = (1, 5, 50)
    stages: tuple = ((60, 2e-3), (20, 5e-4), (20, 1e-4))  # (epochs, learning rate)
    batch: int = 20
    epsilon: float = 1e-4
    latents: int = 50
    hidden: tuple = (100, 100)
    held_out: int = 500
    evidence_samples: int = 500
    seeds: tuple = (0, 1, 2)
    keep: bool = False  # hours of training: it goes on where it stood


# 3^(i-1) epochs at 1e-4 * round(10^(1 - (i-1)/7), 1), i = 1 to 8: 3,280 epochs
BURDA_STAGES = tuple((3**i, 1e-4 * round(10 ** (1 - i / 7), 1)) for i in range(8))
TABLE_1 = {1: (86.76, 19), 5: (85.54, 22), 50: (84.78, 25)}  # K: -log p(x), active units


def first_that_loads(names):
    """(name, data) of the first data set that can be had."""
    missing = []
    for name in names:
        try:
            return name, vt.data.load(name)
        except FileNotFoundError as error:
            missing.append(f"{name}: {str(error).splitlines()[0]}")
    raise NotRun("no data: " + "; ".join(missing))


def one_layer(scale, seed, mean, activation="tanh", **kwargs):
    """A VAE whose output bias starts at the logits of the mean image."""
    keras.utils.set_random_seed(seed)
    encoder = vt.networks.mlp(
        mean.shape, vt.layers.NormalDiag(scale.latents), scale.hidden, activation
    )
    decoder = vt.networks.mlp(
        scale.latents, vt.layers.Bernoulli(mean.shape), scale.hidden, activation
    )
    mean = np.clip(mean, 0.001, 0.999).ravel()
    decoder.layers[-2].bias.assign(np.log(mean / (1 - mean)))
    return vt.VAE(encoder, decoder, seed=seed, **kwargs)


def train(vae, x, scale, seed, binarize, name=""):
    """All stages by `vt.VAE.fit`. A training with a name, once killed, goes on where it stood."""
    rates = [rate for epochs, rate in scale.stages for _ in range(epochs)]
    batches = vt.data.Batches(x, scale.batch, seed, binarize)
    callbacks = [keras.callbacks.LearningRateScheduler(lambda epoch, _: rates[epoch])]
    if name:
        kept = keras.callbacks.BackupAndRestore(KEPT / name, delete_checkpoint=False)
        callbacks += [kept, Progress(batches, name)]
    vae.compile(keras.optimizers.Adam(rates[0], epsilon=scale.epsilon))
    vae.fit(batches, epochs=len(rates), callbacks=callbacks, verbose=0)


class Progress(keras.callbacks.Callback):
    """Time to go. The batches of an epoch are those of its number, wherever training began."""

    def __init__(self, batches, name):
        super().__init__()
        self.batches, self.name, self.bar = batches, name, None

    def on_epoch_begin(self, epoch, _logs=None):
        self.batches.epoch = epoch
        if self.bar is None:
            total = self.params["epochs"]
            self.bar = tqdm(total=total, initial=epoch, desc=self.name, unit="epoch", mininterval=5)

    def on_epoch_end(self, _epoch, logs=None):
        self.bar.set_postfix(elbo=f"{logs['elbo']:.2f}")
        self.bar.update()


def cells(scale):
    """{K: [seed: (bound of each held-out image, active units, share that k-hat refuses)]}, and the
    name of the data."""
    name, data = first_that_loads(scale.data)
    small = name in ("mnist5k", "digits")
    x = data.x_train if small else np.concatenate([data.x_train, data.x_val])
    held_out = np.concatenate([data.x_val, data.x_test]) if small else data.x_test
    held_out = vt.data.binarize(held_out[: scale.held_out], seed=0)
    dynamic = name != "fashion_mnist"  # there the published figures are of one draw
    x = x if dynamic else vt.data.binarize(x, seed=1)
    found = {}
    for k in scale.samples:
        found[k] = []
        for seed in scale.seeds:
            vae = one_layer(scale, seed, x.mean(axis=0), objective=vt.objectives.IWAE(k))
            train(vae, x, scale, seed, dynamic, f"{name}-k{k}-seed{seed}" if scale.keep else "")
            bound = vt.evidence.iwae(vae, held_out, scale.evidence_samples, seed=0)
            active = vt.diagnostics.active_units(vae, vt.data.binarize(x[:500], seed=2)).count
            found[k].append((np.asarray(bound.estimate), active, float(bound.refused.mean())))
            shown = f"bound {bound.estimate.mean():.2f}, {active} active"
            print(f"  {name}, K = {k}, seed {seed}: {shown}", flush=True)
    return found, name


def iwae_ordering(scale):
    """The bound of log p(x) and the number of active units grow with K."""
    found, name = cells(scale)
    log_p = {k: np.array([one[0] for one in runs]) for k, runs in found.items()}  # [seed, B]
    active = {k: np.array([one[1] for one in runs]) for k, runs in found.items()}
    checks = []
    for low, high in zip(scale.samples, scale.samples[1:], strict=False):
        published = TABLE_1[low][0] - TABLE_1[high][0]
        quantity = f"{scale.evidence_samples}-sample bound at K = {high} minus that at K = {low}"
        difference = log_p[high] - log_p[low]
        checks.append(beyond_zero(quantity, f"{published:+.2f}", difference, images=True))
    low, high = min(scale.samples), max(scale.samples)
    quantity = f"active units at K = {high} minus those at K = {low}"
    difference = (active[high] - active[low])[:, None]
    published = f"{TABLE_1[high][1] - TABLE_1[low][1]:+d}"
    checks.append(beyond_zero(quantity, published, difference))
    means = {k: float(v.mean()) for k, v in log_p.items()}
    units = {k: float(v.mean()) for k, v in active.items()}
    refused = {k: float(np.mean([one[2] for one in runs])) for k, runs in found.items()}
    figures = {"data": name, "bound": means, "active": units, "refused": refused}
    return Measured(checks, scale.seeds, figures)


# (low, high): what honest reproductions of the same cell have found
REPRODUCED = {
    "mnist": {1: ("86.76", 86.28, 87.96), 50: ("84.78", 84.37, 86.34)},
    "fashion_mnist": {1: ("235.01", 233.3, 236.7), 50: ("231.95", 230.2, 233.7)},
}


def iwae_cells(scale):
    """Whole cells of Table 1."""
    found, name = cells(scale)
    because = "the spread of published reproductions of the cell"
    if name == "fashion_mnist":
        because = "1.7 nats, as wide as that of the reproductions on MNIST: only one is known here"
    checks, figures = [], {"data": name}
    for k in scale.samples:
        values = [-one[0].mean() for one in found[k]]
        figures[f"active, K = {k}"] = [int(one[1]) for one in found[k]]
        published, *bounds = REPRODUCED.get(name, {}).get(k, ("none", -math.inf, math.inf))
        quantity, spread = f"-log p(x), K = {k}, nats, {name}", over_seeds(values)
        checks.append(Check(quantity, published, np.mean(values), *bounds, because, spread))
    return Measured(checks, scale.seeds, figures)


@dataclasses.dataclass(frozen=True)
class Gap:
    """The protocol of Cremer et al. on Fashion-MNIST, thresholded at 1/2."""

    data: tuple = ("fashion_mnist",)
    stages: tuple = BURDA_STAGES
    warm_up: int = 400  # epochs
    batch: int = 100
    epsilon: float = 1e-4
    latents: int = 50
    hidden: tuple = (200, 200)
    images: int = 1000  # the first of the training images
    evidence_samples: int = 5000
    chains: int = 16
    temperatures: int = 1000
    max_steps: int = 5000  # of the search for the best q
    seeds: tuple = (0,)


def inference_gap(scale):
    """log p(x) - ELBO on training images, and its two parts."""
    name, data = first_that_loads(scale.data)
    x = (np.concatenate([data.x_train, data.x_val]) > 0.5).astype("float32")
    steps = scale.warm_up * (len(x) // scale.batch)
    runs = []
    for seed in scale.seeds:
        warm_up = vt.objectives.BetaELBO(vt.schedules.LinearWarmup(steps))
        vae = one_layer(scale, seed, x.mean(axis=0), "elu", objective=warm_up)
        train(vae, x, scale, seed, False, f"gap-seed{seed}")
        runs.append(_gap_parts(vae, x[: scale.images], scale))
        print(f"  {name}, seed {seed}: {runs[-1]}", flush=True)
    column = {key: np.array([one[key] for one in runs]) for key in runs[0]}
    because = "a nat is an allowance for other images and fewer chains; it is not derived"
    published = {"total": 7.19, "approximation": 3.06, "amortization": 4.22}
    checks = []
    for part, figure in published.items():
        ours, spread = column[part].mean(), over_seeds(column[part])
        bounds, seen = (figure - 1, figure + 1), part == "total"
        shown = f"{figure}" if seen else f"{figure}, unverified"
        checks.append(Check(f"{part}, nats", shown, ours, *bounds, because, spread, seen))
    return Measured(checks, scale.seeds, {"data": name, "runs": runs})


def _gap_parts(vae, x, scale):
    """The larger of two lower bounds stands for log p(x), as in the paper."""
    bound = vt.evidence.iwae(vae, x, scale.evidence_samples, seed=0).estimate
    annealed = vt.evidence.ais(vae, x, scale.chains, scale.temperatures, seed=1).estimate
    larger = np.maximum(bound, annealed)
    parts = vt.gap.decompose(vae, x, "diag", log_evidence=larger, max_steps=scale.max_steps, seed=2)
    names = ("total", "approximation", "amortization")
    return {name: float(np.mean(getattr(parts, name))) for name in names}
