"""Deep models by the protocols of Burda et al., Cremer et al., and Tomczak and Welling."""

import dataclasses
import hashlib
import json
import math
import os
import pathlib

import keras
import numpy as np
from peer_environment import CACHE
from table import Check, Measured, NotRun, beyond_zero, over_seeds
from tqdm.auto import tqdm

import vae_tf as vt

KEPT = CACHE / "trainings"


@dataclasses.dataclass(frozen=True)
class Cells:
    """One-layer models as those of Burda et al., reduced: x-100-100-z-100-100-x, tanh."""

    data: str = "digits"
    samples: tuple = (1, 5, 50)
    stages: tuple = ((60, 2e-3), (20, 5e-4), (20, 1e-4))  # (epochs, learning rate)
    batch: int = 20
    epsilon: float = 1e-4
    latents: int = 50
    hidden: tuple = (100, 100)
    held_out: int = 500
    evidence_samples: int = 500
    seeds: tuple = (0, 1, 2)
    bracketed: int = 0  # so many of the held-out images get a bracket
    keep: bool = False  # hours of training: it goes on where it stood


# 3^(i-1) epochs at 1e-4 * round(10^(1 - (i-1)/7), 1), i = 1 to 8: 3,280 epochs
BURDA_STAGES = tuple((3**i, 1e-4 * round(10 ** (1 - i / 7), 1)) for i in range(8))
TABLE_1 = {1: (86.76, 19), 5: (85.54, 22), 50: (84.78, 25)}  # K: -log p(x), active units


def loaded(name):
    """The data set, or what is missing."""
    try:
        return vt.data.load(name)
    except FileNotFoundError as error:
        raise NotRun(f"no data: {name}: {str(error).splitlines()[0]}") from error


def one_layer(scale, seed, mean, activation="tanh", **kwargs):
    """A VAE whose output bias starts at the logits of the mean image."""
    keras.utils.set_random_seed(seed)
    network = gated if activation == "gated" else vt.networks.mlp
    options = {} if activation == "gated" else {"activation": activation}
    q_z, p_x = vt.layers.NormalDiag(scale.latents), vt.layers.Bernoulli(mean.shape)
    encoder = network(mean.shape, q_z, scale.hidden, **options)
    decoder = network(scale.latents, p_x, scale.hidden, **options)
    mean = np.clip(mean, 0.001, 0.999).ravel()
    decoder.layers[-2].bias.assign(np.log(mean / (1 - mean)))
    return vt.VAE(encoder, decoder, seed=seed, **kwargs)


def gated(shape, output, widths):
    """Layers (W h + b) sigmoid(V h + c), then a distribution."""
    h = inputs = keras.Input((shape,) if isinstance(shape, int) else shape)
    for width in widths:
        gate = keras.layers.Dense(width, activation="sigmoid")(h)
        h = keras.layers.Multiply()([keras.layers.Dense(width)(h), gate])
    return keras.Model(inputs, output(keras.layers.Dense(output.input_size)(h)))


def train(vae, x, scale, seed, binarize, name="", validation=None):
    """All stages by `vt.VAE.fit`. A training with a name, once killed, goes on where it stood."""
    rates = [rate for epochs, rate in scale.stages for _ in range(epochs)]
    batches = vt.data.Batches(x, scale.batch, seed, binarize)
    callbacks = [keras.callbacks.LearningRateScheduler(lambda epoch, _: rates[epoch])]
    best = None if validation is None else Best(KEPT / name, scale.warm_up, scale.patience)
    callbacks += [best] if best else []
    if name:
        # A kill in the middle of a backup leaves the one before.
        how = {"double_checkpoint": True, "delete_checkpoint": False}
        kept = keras.callbacks.BackupAndRestore(KEPT / name, **how)
        callbacks += [kept, Progress(batches, name)]
    vae.compile(keras.optimizers.Adam(rates[0], epsilon=scale.epsilon))
    if not (best and best.over()):
        options = {"validation_data": validation, "callbacks": callbacks, "verbose": 0}
        vae.fit(batches, epochs=len(rates), **options)
    if best:
        vae.load_weights(best.weights)


class Best(keras.callbacks.Callback):
    """Early stopping that remembers on disk: the weights of the best epoch, and what came since."""

    def __init__(self, folder, warm_up, patience):
        super().__init__()
        folder.mkdir(parents=True, exist_ok=True)
        self.weights, self.file = folder / "best.weights.h5", folder / "validation.json"
        self.warm_up, self.patience = warm_up, patience

    def values(self):
        """The validation ELBO of each epoch so far."""
        return json.loads(self.file.read_text("utf-8")) if self.file.is_file() else []

    def over(self):
        values = self.values()
        best = max(self.warm_up, int(np.argmax(values))) if values else 0
        return len(values) - 1 - best > self.patience

    def on_epoch_end(self, epoch, logs=None):
        values = [*self.values()[:epoch], float(logs["val_elbo"])]  # an epoch may be done again
        if values[-1] == max(values):
            self.model.save_weights(self.weights)
        self.file.write_text(json.dumps(values), "utf-8")
        self.model.stop_training = self.over()


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
    """{K: what `evaluated` says of each seed}."""
    name, data = scale.data, loaded(scale.data)
    small = name in ("mnist5k", "digits")
    x = data.x_train if small else np.concatenate([data.x_train, data.x_val])
    held_out = np.concatenate([data.x_val, data.x_test]) if small else data.x_test
    held_out = vt.data.binarize(held_out[: scale.held_out], seed=0)
    dynamic = name != "fashion_mnist"  # there the published figures are of one draw
    x = x if dynamic else vt.data.binarize(x, seed=1)
    epochs = sum(epochs for epochs, _ in scale.stages)
    cut = "" if scale.stages == BURDA_STAGES else f"-{epochs}epochs"
    found = {}
    for k in scale.samples:
        found[k] = []
        for seed in scale.seeds:
            vae = one_layer(scale, seed, x.mean(axis=0), objective=vt.objectives.IWAE(k))
            kept = f"{name}-k{k}{cut}-seed{seed}" if scale.keep else ""
            train(vae, x, scale, seed, dynamic, kept)
            few = vt.data.binarize(x[:500], seed=2)
            found[k].append(evaluated(vae, held_out, few, scale, f"{name}, K = {k}, seed {seed}"))
    return found


def evaluated(vae, held_out, few, scale, label):
    """The bound of each held-out image, the share that k-hat refuses, active units, a bracket."""
    how = {"seed": 0, "progress": True}
    bound = vt.evidence.iwae(vae, held_out, scale.evidence_samples, **how)
    active = vt.diagnostics.active_units(vae, few).count
    found = {"bound": np.asarray(bound.estimate), "active": active}
    found["refused"] = float(bound.refused.mean())
    print(f"  {label}: bound {bound.estimate.mean():.2f}, {active} active", flush=True)
    if scale.bracketed:
        both = vt.evidence.bracket(vae, held_out[: scale.bracketed], **how)
        names = ("lower", "upper", "simulated_width")
        found["bracket"] = {name: float(getattr(both, name).mean()) for name in names}
        found["bracket"]["bound"] = float(bound.estimate[: scale.bracketed].mean())
    return found


def remarks(found):
    """What stands beside the figures of a row."""
    text = f"k-hat refuses the bound as log p(x) for {found['refused']:.1%} of the images."
    if "bracket" in found:
        text += (
            " Of the first images it is {bound:.2f}, and annealing brackets log p(x) between "
            "{lower:.2f} and {upper:.2f} (width on simulated images: {simulated_width:.2f})."
        ).format(**found["bracket"])
    return text


def iwae_ordering(scale):
    """The bound of log p(x) and the number of active units grow with K."""
    found = cells(scale)
    log_p = {k: np.array([one["bound"] for one in runs]) for k, runs in found.items()}  # [seed, B]
    active = {k: np.array([one["active"] for one in runs]) for k, runs in found.items()}
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
    if len(scale.seeds) > 1:
        checks.append(beyond_zero(quantity, published, difference))
    else:  # no error is known
        because = "reduced: only the sign, of one seed"
        checks.append(Check(quantity, published, difference.mean(), 1, math.inf, because))
    means = {k: float(v.mean()) for k, v in log_p.items()}
    units = {k: float(v.mean()) for k, v in active.items()}
    refused = {k: float(np.mean([one["refused"] for one in runs])) for k, runs in found.items()}
    shares = ", ".join(f"{share:.1%} at K = {k}" for k, share in refused.items())
    figures = {"data": scale.data, "bound": means, "active": units, "refused": refused}
    figures["remarks"] = f"k-hat refuses the bound as log p(x) for {shares} of the images."
    return Measured(checks, scale.seeds, figures)


# (published, low, high)
REPRODUCED = {"mnist": ("86.76", 86.28, 87.96), "fashion_mnist": ("235.01", 234.17, 235.85)}


def iwae_cell(scale):
    """One whole cell, K = 1."""
    found = cells(scale)
    (k,) = scale.samples
    because = "the spread of published reproductions of the cell"
    if scale.data == "fashion_mnist":
        because = "as wide as the reproductions on MNIST spread, 1.7 nats: only one is known here"
    values = [-one["bound"].mean() for one in found[k]]
    published, *bounds = REPRODUCED.get(scale.data, ("none", -math.inf, math.inf))
    quantity = f"-log p(x), K = {k}, nats, {scale.data}"
    checks = [over_seeds(quantity, published, values, *bounds, because)]
    if scale.data == "mnist":
        units, quantity = [one["active"] for one in found[k]], f"active units, K = {k}"
        because = "two beside what the paper (19) and a reproduction (21) count"
        checks.append(over_seeds(quantity, "19", units, 17, 23, because))
    runs = [{key: v for key, v in one.items() if key != "bound"} for one in found[k]]
    return Measured(checks, scale.seeds, {"runs": runs, "remarks": remarks(runs[0])})


@dataclasses.dataclass(frozen=True)
class Gap:
    """The protocol of Cremer et al. on Fashion-MNIST, thresholded at 1/2."""

    data: str = "fashion_mnist"
    stages: tuple = BURDA_STAGES
    warm_up: int = 400  # epochs
    batch: int = 100
    epsilon: float = 1e-4
    latents: int = 50
    hidden: tuple = (200, 200)
    images: int = 50  # the first of the training images
    evidence_samples: int = 5000
    chains: int = 16
    temperatures: int = 1000
    max_steps: int = 5000  # of the search for the best q
    seeds: tuple = (0,)


def inference_gap(scale):
    """log p(x) - ELBO on training images, and its two parts."""
    data = loaded(scale.data)
    x = (np.concatenate([data.x_train, data.x_val]) > 0.5).astype("float32")
    steps = scale.warm_up * (len(x) // scale.batch)
    runs = []
    for seed in scale.seeds:
        warm_up = vt.objectives.BetaELBO(vt.schedules.LinearWarmup(steps))
        vae = one_layer(scale, seed, x.mean(axis=0), "elu", objective=warm_up)
        train(vae, x, scale, seed, False, f"gap-seed{seed}")
        runs.append(_gap_parts(vae, x[: scale.images], scale))
        print(f"  seed {seed}: {runs[-1]}", flush=True)
    because = "a nat is an allowance for other images and fewer chains; it is not derived"
    published = {"total": 7.19, "approximation": 3.06, "amortization": 4.22}
    checks = []
    for part, figure in published.items():
        bounds, seen = (figure - 1, figure + 1), part == "total"
        shown, values = f"{figure}" if seen else f"{figure}, unverified", [r[part] for r in runs]
        one = over_seeds(f"{part}, nats", shown, values, *bounds, because, verified=seen)
        checks.append(one)
    return Measured(checks, scale.seeds, {"runs": runs})


def _gap_parts(vae, x, scale):
    """The larger of two lower bounds stands for log p(x), as in the paper."""
    bound = vt.evidence.iwae(vae, x, scale.evidence_samples, seed=0).estimate
    annealed = vt.evidence.ais(vae, x, scale.chains, scale.temperatures, seed=1).estimate
    larger = np.maximum(bound, annealed)
    parts = vt.gap.decompose(vae, x, "diag", log_evidence=larger, max_steps=scale.max_steps, seed=2)
    names = ("total", "approximation", "amortization")
    return {name: float(np.mean(getattr(parts, name))) for name in names}


@dataclasses.dataclass(frozen=True)
class Fixed:
    """The protocol of Tomczak and Welling on the fixed binarisation of MNIST."""

    published: tuple = ("85.57", 85.07, 86.07, "half a nat, not derived; Pythae is 0.22 off")
    verified: bool = False  # quoted elsewhere
    pseudo_inputs: int = 500  # none for a standard Normal prior
    stages: tuple = ((2000, 5e-4),)
    warm_up: int = 100  # epochs
    patience: int = 50
    batch: int = 100
    epsilon: float = 1e-7
    latents: int = 40
    hidden: tuple = (300, 300)
    evidence_samples: int = 5000
    bracketed: int = 0
    seeds: tuple = (0,)


SPLITS = {  # of binarized_mnist.npz, packed bits: SHA-256 of the unpacked bytes
    "train": "43490d4d6ac9002727af4426d8748609fdb7e4094fa65ad8d681ea60082a7a5a",
    "valid": "069b4f0beb389b776478c3e872b4df71c95ac4be64d7cbe6d32e24ebac8e6d5e",
    "test": "ca0294c3b8d984c7a1dc891015a8eea6f37bae59a34e35ea0fc8c47110a8dd86",
}


def fixed_mnist():
    """x of each split, [N, 784], as Larochelle binarised them, from the folder VAE_TF_DATA."""
    path = pathlib.Path(os.environ.get("VAE_TF_DATA", ".")) / "binarized_mnist.npz"
    if not path.is_file():
        raise NotRun(f"no data: {path.name} in the folder VAE_TF_DATA")
    with np.load(path) as archive:
        splits = [np.unpackbits(archive[name], axis=-1) for name in SPLITS]
    for bits, wanted in zip(splits, SPLITS.values(), strict=True):
        if hashlib.sha256(bits.tobytes()).hexdigest() != wanted:
            raise NotRun(f"{path.name} is not the one that this row expects")
    return [bits.astype("float32") for bits in splits]


def fixed_binarisation(scale):
    """-log p(x) of the test images, for a gated VAE with a VampPrior or a standard Normal one."""
    x, validation, test = fixed_mnist()
    steps, runs = scale.warm_up * (len(x) // scale.batch), []
    for seed in scale.seeds:
        prior = None
        if scale.pseudo_inputs:
            prior = vt.priors.VampPrior(scale.latents, x[: scale.pseudo_inputs])
        warm_up = vt.objectives.BetaELBO(vt.schedules.LinearWarmup(steps))
        parts = {"prior": prior, "objective": warm_up}
        vae = one_layer(scale, seed, x.mean(axis=0), "gated", **parts)
        name = f"fixed-{scale.pseudo_inputs}-seed{seed}"
        train(vae, x, scale, seed, False, name, validation)
        runs.append(evaluated(vae, test, x[:500], scale, name))
    values = [-one.pop("bound").mean() for one in runs]
    published, *allowed = scale.published
    quantity = f"{scale.evidence_samples}-sample bound of -log p(x), test images, nats"
    checks = [over_seeds(quantity, published, values, *allowed, verified=scale.verified)]
    return Measured(checks, scale.seeds, {"runs": runs, "remarks": remarks(runs[0])})
