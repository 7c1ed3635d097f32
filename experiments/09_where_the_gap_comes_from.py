"""Where the gap of VAEs comes from: makes data/results/09_where_the_gap_comes_from.json.

    python experiments/09_where_the_gap_comes_from.py

Each model's gap is split in two, on images that it was trained on and on held-out ones: what no q
of the family could avoid (approximation), and what the encoder adds (amortization). The best q of
each image is found by the search that `vt.gap.decompose` uses; here it is compiled once for each
kind of network, and serves all seeds.

`few images`, `all images`: 8x8 digits with fixed pixels and two latents, 200 images or 1,200, split
at three times or at the last. `cells`: blood cells and two latents, after 12 and after 100 passes
over the data. `plain`, `linear decoder`: 8x8 digits and ten latents; the decoder alone differs.
`plain` also holds `encoders`: its decoder stays fixed, and new encoders are trained for it, narrow
or wide, on few or all images, or on images that the decoder has drawn.

For digits with two latents a grid gives log p(x); elsewhere the bound of 1,000 samples from the
best q stands for it, and is measured against the grid where there is one.

A seed fixes the first weights, the order of the data and the noise, and is shared by all arms. The
figures of a finished run are kept in build/09_where_the_gap_comes_from. About seven minutes of one
core.
"""

import functools
import pathlib
import time

import keras
import numpy as np
import tensorflow as tf

import vae_tf as vt
from vae_tf.evidence.weights import WeightSums, largest_pareto_k
from vae_tf.gap import best_q

SEEDS = (0, 1, 2, 3, 4)
STEPS, BATCH, RATE = 1200, 100, 3e-3
FEW, ALL = 200, 1200  # images to train on
STOPS = (120, 600, 3000)  # steps after which `few images` and `all images` are split
PASSES = (12, 100)  # over the blood cells
IMAGES, CELLS = 40, 24  # to split the gap of: so many seen in training, so many held out
DRAWS = 1000  # of z, for the ELBOs and for the bound that stands for log p(x)
TOLERANCE, SEARCH = 0.01, 1500  # of the search for the best q: nats in 100 steps; most steps
KNOBS = {
    "plain": {},
    "linear decoder": {"decoder": ()},
}
ENCODERS = {  # width, and what it is trained on, for twice as many steps
    "narrow, all": (4, "all"),
    "wide, few": (400, "few"),
    "wide, all": (400, "all"),
    "wide, simulated": (400, "simulated"),
}
RUNS = (*KNOBS, "few images", "all images", "cells")
NAME = pathlib.Path(__file__).stem
KEPT = pathlib.Path(__file__).resolve().parent.parent / "build" / NAME
SHARED = {"steps": STEPS, "batch": BATCH, "rate": RATE, "few": FEW, "all": ALL, "stops": STOPS}
SHARED |= {"passes": PASSES, "images": IMAGES, "cells": CELLS, "draws": DRAWS}
SHARED |= {"tolerance": TOLERANCE, "search": SEARCH, "knobs": KNOBS, "encoders": ENCODERS}


class Network:
    """Encoder and decoder of one kind: training and search compiled once, for every seed."""

    def __init__(self, build, rate=RATE, steps=60, fixed_decoder=False):
        self.build, self.steps = build, steps
        encoder, decoder = build(0)
        decoder.trainable = not fixed_decoder
        self.vae = vt.VAE(encoder, decoder, seed=0)
        self.vae.compile(keras.optimizers.Adam(rate), steps_per_execution=steps, jit_compile=True)
        one = np.zeros([1, *encoder.input_shape[1:]])
        self.layer = best_q.layer_of("diag", self.vae.encode(one))
        self.search = best_q.Search(self.vae, self.layer)
        self.pair = best_q.Compiled(self._pair)

    def begin(self, seed, decoder=None, perturbed=False):
        """First weights; a decoder's weights if they are given; all changed by 1e-7 if wanted."""
        keras.utils.set_random_seed(seed)
        vae, rng = self.vae, np.random.default_rng(seed)
        for own, new in zip((vae.encoder, vae.decoder), self.build(seed), strict=True):
            own.set_weights(new.get_weights())
        if decoder is not None:
            vae.decoder.set_weights(decoder)
        for variable in vae.trainable_variables if perturbed else ():
            variable.assign(variable * (1 + 1e-7 * rng.standard_normal(variable.shape)))
        for variable in vae.optimizer.variables:
            if "learning_rate" not in variable.path:
                variable.assign(tf.zeros_like(variable))
        vae.seed_generator.state.assign([0, seed])

    def train(self, x, seed, stops=(STEPS,), batch=BATCH, binarize=False, **begin):
        """From the start; yields the VAE after each number of steps in `stops`."""
        self.begin(seed, **begin)
        batches, done = vt.data.Batches(x, batch, seed=seed, binarize=binarize), 0
        for stop in stops:
            self.vae.fit(batches, epochs=(stop - done) // len(batches), verbose=0)
            done = stop
            yield self.vae

    def split(self, x, seed, log_evidence=None):
        """The gap of each x and its parts, [B], nats, as `vt.gap.decompose` defines them.

        By default log p(x) is the bound of DRAWS samples from the best q, whose log weights vary
        less than those of the encoder's; k-hat says where even these are not to be trusted.
        """
        found = self.best(x, seed)
        elbo, best, bound, refused = self.bounds(x, found.params, seed)
        log_p = bound if log_evidence is None else log_evidence
        return {
            "log_evidence": log_p,
            "elbo": elbo,
            "total": log_p - elbo,
            "approximation": log_p - best,
            "amortization": best - elbo,
            "search_error": found.change,
            "bound": bound,
            "refused": refused,
        }

    def best(self, x, seed):
        """The parameters of the best q of each x, and how much the search still moved."""
        how = {"tolerance": TOLERANCE, "max_steps": SEARCH, "seed": seed}
        return self.search(x, self.vae.encode(x), **how)

    def bounds(self, x, params, seed):
        """ELBOs of the encoder's q and of the best, the bound by the best, refused: each [B]."""
        given = params, tf.constant(x), tf.constant([seed, 9])
        own, best = (log_w.numpy().astype("float64") for log_w in self.pair(*given))
        sums = WeightSums(len(x), DRAWS)
        sums.add(np.arange(len(x)), best)
        bound = sums.log_mean()
        refused = bound.pareto_k > largest_pareto_k(DRAWS)
        return own.mean(axis=0), best.mean(axis=0), bound.estimate, refused

    def _pair(self, params, x, seed):
        """Log weights of the encoder's q and of the best one, by the same noise, [DRAWS, B]."""
        q_z, q_best = self.vae.encode(x), self.layer.distribution(params)
        noise = tf.random.stateless_normal([DRAWS, *q_best.batch_shape, *q_best.event_shape], seed)
        return [best_q.log_weights(self.vae, x, q, best_q.push(q, noise)) for q in (q_z, q_best)]


def tiled(x, size=6000):
    """The same images again and again: an epoch of `size`."""
    return np.tile(x, (size // len(x), *[1] * (x.ndim - 1)))


@functools.cache
def small(latents=10, encoder=100, decoder=(100,), fixed_decoder=False):
    """The networks for 8x8 digits."""

    def build(seed):
        keras.utils.set_random_seed(seed)
        body = vt.networks.mlp((8, 8), vt.layers.NormalDiag(latents), hidden=(encoder,))
        return body, vt.networks.mlp(latents, vt.layers.Bernoulli((8, 8)), hidden=decoder)

    return Network(build, fixed_decoder=fixed_decoder)


@functools.cache
def blood():
    """The networks for the molecule counts of blood cells: two latents."""
    start = np.log(vt.data.load("pbmc").x_train.mean(axis=0) + 1e-2)

    def build(seed):
        keras.utils.set_random_seed(seed)
        counts = keras.Input((765,))
        hidden = keras.layers.Dense(64, "tanh")(keras.ops.log1p(counts))
        layer = vt.layers.NormalDiag(2)
        encoder = keras.Model(counts, layer(keras.layers.Dense(layer.params_size(2))(hidden)))
        decoder = vt.networks.mlp(2, vt.layers.NegativeBinomial(765), hidden=(64,))
        bias = decoder.layers[-2].bias  # begins at the average of each gene
        bias.assign(np.pad(start, (0, bias.shape[0] - 765)))
        return encoder, decoder

    return Network(build, rate=5e-3, steps=40)


def digits():
    """Binary 8x8 digits: those to train on, and held-out ones, [1200, 8, 8], [40, 8, 8]."""
    data = vt.data.load("digits")
    held_out = vt.data.binarize(data.x_test, seed=1)[:IMAGES]
    return vt.data.binarize(data.x_train, seed=0)[:ALL], held_out


def train_plain(seed, name="plain"):
    """A VAE of ten latents; the pixels are drawn anew in each pass."""
    x = vt.data.load("digits").x_train[:ALL]
    return next(small(**KNOBS[name]).train(tiled(x), seed, binarize=True))


def train_plane(seed, name="all images", stops=STOPS[-1:], perturbed=False):
    """VAEs of two latents, after each number of steps."""
    shown = tiled(digits()[0][: FEW if name == "few images" else ALL])
    return small(2).train(shown, seed, stops, perturbed=perturbed)


def run_cells(_, seed):
    """Blood cells, split after each number of passes."""
    data = vt.data.load("pbmc")
    x = np.concatenate([data.x_train[:CELLS], data.x_test[:CELLS]])
    stops, found = [10 * passes for passes in PASSES], {}
    train = blood().train(tiled(data.x_train, 2000), seed, stops, batch=50)
    for passes, _ in zip(PASSES, train, strict=True):
        found[str(passes)] = halves(blood().split(x, seed))
    return found


def run_knob(name, seed):
    """Ten latents; of the plain network also the new encoders."""
    vae, (train, held_out) = train_plain(seed, name), digits()
    x = np.concatenate([train[:IMAGES], held_out])
    found = halves(small(**KNOBS[name]).split(x, seed))
    return found | ({"encoders": encoders(vae, seed)} if name == "plain" else {})


def encoders(vae, seed):
    """New encoders for a fixed decoder; the best q of each image is the same for all."""
    train, held_out = digits()
    x, decoder = np.concatenate([train[:IMAGES], held_out]), vae.decoder.get_weights()
    params = small().best(x, seed).params
    data = {"few": tiled(train[:FEW]), "all": tiled(train)}
    data["simulated"] = vae.sample(6000, seed=seed).numpy()
    found = {}
    for arm, (width, images) in ENCODERS.items():
        network = small(encoder=width, fixed_decoder=True)
        next(network.train(data[images], seed, (2 * STEPS,), decoder=decoder))
        elbo, best, *_ = network.bounds(x, params, seed)
        found[arm] = halves({"elbo": elbo, "amortization": best - elbo})
    return found


def run_plane(name, seed):
    """Two latents, split after each number of steps, or after the last."""
    train, held_out = digits()
    x, found = np.concatenate([train[:IMAGES], held_out]), {}
    stops = STOPS if name == "few images" else STOPS[-1:]
    for stop, vae in zip(stops, train_plane(seed, name, stops), strict=True):
        found[str(stop)] = halves(small(2).split(x, seed, vt.evidence.grid(vae, x).estimate))
    if name == "all images":
        found["live"] = monitored(vae, held_out)
        again = next(train_plane(seed, name, perturbed=True))  # for `tolerance`
        found["perturbed"] = monitored(again, held_out)
    return found


def monitored(vae, x):
    """The mean ELBO, by the package."""
    return rounded(vae.elbo(x, num_samples=200, seed=1).elbo.numpy().mean())


def halves(found):
    """Means over the seen and the held-out half, and the standard deviation of the two parts."""
    figures, size = {}, len(found["elbo"]) // 2
    for half, rows in {"seen": slice(0, size), "held_out": slice(size, None)}.items():
        figures[half] = {name: rounded(values[rows].mean()) for name, values in found.items()}
        for name in {"approximation", "amortization"} & found.keys():
            figures[half][f"{name}_deviation"] = rounded(found[name][rows].std(ddof=1))
    return figures


def rounded(value):
    """Five decimals."""
    return round(float(value), 5)


def run(name, seed):
    """The figures of one run, and the seconds that it took."""
    start = time.monotonic()
    make = run_knob if name in KNOBS else run_cells if name == "cells" else run_plane
    found = make(name, seed)
    found["seconds"] = round(time.monotonic() - start, 1)
    print(name, seed, found, flush=True)
    return found


def kept(name, seed, make=None):
    """The figures of one run, if they are there or can be made."""
    return vt.results.kept(KEPT, SHARED | {"run": name, "seed": seed}, make, script=__file__)


def main():
    """Makes what is missing, and writes the file."""
    runs = {
        name: [kept(name, seed, functools.partial(run, name, seed)) for seed in SEEDS]
        for name in RUNS
    }
    seconds = sum(found["seconds"] for column in runs.values() for found in column)
    where = {"script": __file__, "settings": SHARED, "seeds": SEEDS, "seconds": seconds}
    print(vt.results.save(NAME, {"runs": runs}, **where), f"{seconds:.0f} s")


def tolerance():
    """For another machine, nats: four times what a start changed by 1e-7 does, and a little."""
    runs = vt.results.load(NAME)["figures"]["runs"]["all images"]
    return 0.01 + 4 * max(abs(run["live"] - run["perturbed"]) for run in runs)


def entry():
    """The held-out ELBO of one network, made again: {keys: (value, tolerance)}."""
    live = monitored(next(train_plane(0)), digits()[1])
    return {("runs", "all images", 0, "live"): (live, tolerance())}


if __name__ == "__main__":
    main()
