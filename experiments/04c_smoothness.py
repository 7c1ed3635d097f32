"""What makes straight paths between codes smooth: makes data/results/04c_smoothness.json.

VAEs of 8 x 8 digits, five seeds and six weights of the KL. Between the codes of 100 pairs of
training digits it decodes straight paths, and measures their length and their worst jump: as they
are, blurred alike, and in black and white. Then the decoder alone: new decoders for given codes,
with noise on the codes, without it, and with the price of the noise to second order in its place.
Last, fewer digits and shorter trainings. A seed fixes the digits, their binarisation, the pairs,
the first weights, the order of the batches and the noise.

    python experiments/04c_smoothness.py
"""

import functools
import time
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from scipy.ndimage import gaussian_filter
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.svm import SVC

import vae_tf as vt

SEEDS, BETAS = (0, 1, 2, 3, 4), (0.0, 0.01, 0.1, 1.0, 2.0, 4.0)
MEMBERS, STEPS, BATCH, RATE = 1000, 2000, 50, 3e-3
LATENTS, HIDDEN = 8, 200
OTHER_SETTINGS = ((200, 2000), (200, 400))  # members, steps
HELD_OUT, PATHS, FRAMES, FINE, DRAWS = 200, 100, 33, 257, 16
BLURS = (0.0, 0.5, 1.0)  # standard deviations of the blur, pixels
WIDTHS = (0.1, 0.2, 0.4, 0.8)  # of the noise, in units of the codes' spread
PRICED = (0.2, 0.4, 0.8)  # widths of which the price is tried in place of the noise
BLOCK = 400  # steps in one program: a divisor of all numbers of steps
DIGITS = vt.data.load("digits")


class Split(NamedTuple):
    """Binary digits [N, 8, 8] and their classes: those to train on, and others."""

    x: np.ndarray
    y: np.ndarray
    x_held_out: np.ndarray
    y_held_out: np.ndarray


def split(seed, members=MEMBERS):
    """Which digits a seed trains on; the held-out ones do not depend on how many."""
    x = vt.data.binarize(DIGITS.x_train, seed=seed)
    order = np.random.default_rng(seed).permutation(len(x))
    ours, others = order[:members], order[-HELD_OUT:]
    return Split(x[ours], DIGITS.y_train[ours], x[others], DIGITS.y_train[others])


def draw_pairs(y, seed):
    """Rows of digits of different classes, [PATHS, 2]."""
    pairs = np.random.default_rng(seed).integers(len(y), size=(3 * PATHS, 2))
    return pairs[y[pairs[:, 0]] != y[pairs[:, 1]]][:PATHS]


# -- VAEs ----------------------------------------------------------------------------------------


def networks(seed):
    """Encoder and decoder with new weights."""
    keras.utils.set_random_seed(seed)
    hidden = (HIDDEN, HIDDEN)
    encoder = vt.networks.mlp((8, 8), vt.layers.NormalDiag(LATENTS), hidden=hidden)
    return encoder, vt.networks.mlp(LATENTS, vt.layers.Bernoulli((8, 8)), hidden=hidden)


@functools.cache
def trainer():
    """One VAE, compiled once; every training borrows it."""
    vae = vt.VAE(*networks(0), objective=vt.objectives.BetaELBO(1.0), seed=0)
    vae.compile(keras.optimizers.Adam(RATE), steps_per_execution=BLOCK)
    return vae


def reset(optimizer):
    """An optimizer that has not moved yet."""
    for variable in optimizer.variables:
        if "learning_rate" not in variable.path:
            variable.assign(tf.zeros_like(variable))


def train(beta, seed, x, steps=STEPS):
    """A VAE after so many steps."""
    own, vae = vt.VAE(*networks(seed), seed=seed), trainer()
    vae.set_weights(own.get_weights())
    reset(vae.optimizer)
    vae.objective.beta = beta
    vae.seed_generator.state.assign([0, seed])
    vae.fit(np.tile(x, (steps * BATCH // len(x), 1, 1)), batch_size=BATCH, verbose=0)
    own.set_weights(vae.get_weights())
    return own


def decode(vae, z):
    """The probabilities of ink, z [..., L] -> [..., 64]."""
    flat = vae.decode(z.reshape(-1, z.shape[-1]).astype("float32")).mean().numpy()
    return flat.astype("float64").reshape(*z.shape[:-1], 64)


def log_odds(vae, z):
    """The logits of ink, z [B, L] -> [B, 64]."""
    p_x = vae.decode(z.astype("float32")).distribution
    return p_x.logits_parameter().numpy().astype("float64").reshape(len(z), 64)


def codes(vae, x):
    """Means and scales of q(z|x), [B, L] each."""
    q_z = vae.encode(x)
    return q_z.mean().numpy().astype("float64"), q_z.stddev().numpy().astype("float64")


# -- paths ---------------------------------------------------------------------------------------


def line(ends, count=FRAMES):
    """Points of straight lines: ends [N, 2, L] -> [N, T, L]."""
    t = np.linspace(0, 1, count)[:, None]
    return (1 - t) * ends[:, :1] + t * ends[:, 1:]


def measures(frames):
    """Length and worst jump of paths [N, T, D], in units of the straight way: [N] each."""
    steps = np.linalg.norm(np.diff(frames, axis=1), axis=-1)  # [N, T - 1]
    direct = np.linalg.norm(frames[:, -1] - frames[:, 0], axis=-1)
    return steps.sum(axis=1) / direct, steps.max(axis=1) / direct * steps.shape[1]


def blurred(frames, pixels):
    """Frames [..., 64] after a Gaussian blur of so many pixels, as images."""
    images = frames.reshape(-1, 8, 8)
    return gaussian_filter(images, (0, pixels, pixels)).reshape(frames.shape) if pixels else frames


def flips(frames):
    """How often pixels change between black and white, per change that the ends require: [N].

    A cross-fade has 1. A path whose ends look the same in black and white has no number.
    """
    ink = frames > 0.5
    needed = (ink[:, 0] != ink[:, -1]).sum(axis=-1)
    made = (ink[:, 1:] != ink[:, :-1]).sum(axis=(1, 2))
    return made[needed > 0] / needed[needed > 0]


@functools.cache
def judges():
    """Five classifiers of digits in black and white, which no VAE here was trained on."""
    x = np.concatenate([DIGITS.x_val, DIGITS.x_test]).reshape(-1, 64) > 0.5
    y = np.concatenate([DIGITS.y_val, DIGITS.y_test])
    kinds = {
        "support vectors": SVC(C=5, gamma=0.03),
        "three neighbours": KNeighborsClassifier(3),
        "logistic regression": LogisticRegression(C=0.3, max_iter=500),
        "random forest": RandomForestClassifier(200, random_state=0),
        "network": MLPClassifier((64,), alpha=1.0, max_iter=2000, random_state=0),
    }
    return {name: kind.fit(x.astype("float64"), y) for name, kind in kinds.items()}


def classes(frames):
    """What the judges say of paths [N, T, 64], every second frame: a number by judge each.

    `third`: the share of frames of a class that neither end of their path has; `changes`: how often
    the class changes along a path, beyond what its ends require.
    """
    ink = (frames[:, ::2] > 0.5).astype("float64")
    found = {"third": [], "changes": []}
    for judge in judges().values():
        label = judge.predict(ink.reshape(-1, 64)).reshape(ink.shape[:2])
        first, last = label[:, :1], label[:, -1:]
        found["third"].append(((label != first) & (label != last))[:, 1:-1].mean())
        changes = (label[:, 1:] != label[:, :-1]).sum(axis=1) - (first != last)[:, 0]
        found["changes"].append(changes.mean())
    return found


def of_paths(frames):
    """What needs no judge, of paths [N, T, 64]."""
    turned = flips(frames)
    found = {"length": [], "jump": []}
    for pixels in BLURS:
        for name, values in zip(found, measures(blurred(frames, pixels)), strict=True):
            found[name].append(values.mean())
    return found | {"flips": turned.mean() if len(turned) > PATHS / 2 else None}


# -- what the decoder costs ----------------------------------------------------------------------


def jacobian(f, z, step=1e-2):
    """Central differences of f [B, L] -> [B, D], at z: [B, D, L]."""
    moves = step * np.eye(z.shape[1])
    return np.stack([(f(z + move) - f(z - move)) / (2 * step) for move in moves], axis=-1)


def slopes(vae, z):
    """Of each latent: |df/dz_i|^2, and the same with each pixel divided by its variance: [B, L].

    The second is sum_d p_d (1 - p_d) (da_d / dz_i)^2 with log-odds a: what -log p(x|z) has where
    the squared error has the first.
    """
    p = 1 / (1 + np.exp(-log_odds(vae, z)))
    variance = (p * (1 - p))[..., None]
    of_odds = jacobian(functools.partial(log_odds, vae), z)
    return ((variance * of_odds) ** 2).sum(axis=1), (variance * of_odds**2).sum(axis=1)


def of_noise(vae, x, seed):
    """How far q's noise moves the image, what it costs, and how wide q is."""
    loc, scale = codes(vae, x)
    rng, flat = np.random.default_rng(seed), x.reshape(-1, 64)
    z = loc + scale * rng.normal(size=(DRAWS, *loc.shape))
    images, at_mean = decode(vae, z), decode(vae, loc)
    steep, weighed = slopes(vae, loc)
    over_q = np.mean([slopes(vae, one)[1] for one in z[:2]], axis=0)
    spread = np.sqrt(loc.var(axis=0).mean())
    return {
        "moved": np.linalg.norm(images[0] - images[1], axis=-1).mean(),
        "error": ((flat - images) ** 2).sum(axis=-1).mean(),
        "error_at_mean": ((flat - at_mean) ** 2).sum(axis=-1).mean(),
        "price": (scale**2 * steep).sum(axis=1).mean(),
        "steep_per_unit": np.sqrt(steep.sum(axis=1)).mean(),
        "steep_per_width": np.sqrt((scale**2 * steep).sum(axis=1)).mean(),
        "steep_per_spread": np.sqrt((spread**2 * steep).sum(axis=1)).mean(),
        "spread": spread,
        "width": np.exp(np.log(scale).mean()),
        "slope": np.exp(np.log(over_q).mean()),
        "slope_at_mean": np.exp(np.log(weighed).mean()),
        "widths": [np.log(scale), np.log(over_q), np.log(weighed)],
    }


def from_nearest(z, loc, scale):
    """How many widths of q away the nearest code is, root mean square over latents: z [N, L]."""
    away = ((z[:, None] - loc) / scale) ** 2  # [N, B, L]
    return np.sqrt(away.mean(axis=-1)).min(axis=1)


def measure(vae, data, seed, beta):
    """All figures of one VAE."""
    pairs = draw_pairs(data.y, seed)
    loc, scale = codes(vae, data.x)
    ends = loc[pairs]
    frames = decode(vae, line(ends))
    found = of_paths(frames) | classes(frames)
    travelled = np.linalg.norm(np.diff(frames, axis=1), axis=-1).sum(axis=1)
    apart = np.linalg.norm(ends[:, 1] - ends[:, 0], axis=-1)
    found |= {"apart": apart.mean(), "per_unit": (travelled / apart).mean()}
    found["jump_fine"] = measures(decode(vae, line(ends, FINE)))[1].mean()
    found["nearest"] = np.median(from_nearest(ends.mean(axis=1), loc, scale))
    noise = of_noise(vae, data.x, seed)
    log_scale, *log_slopes = noise.pop("widths")
    for name, log_slope in zip(("predicted", "predicted_at_mean"), log_slopes, strict=True):
        log_width = -0.5 * np.log1p(np.exp(log_slope) / max(beta, 1e-12))
        noise[name] = np.exp(log_width.mean())
        noise[f"{name}_off"] = np.sqrt(np.mean((log_width - log_scale) ** 2))
    new_loc, _ = codes(vae, data.x_held_out)
    new = new_loc[draw_pairs(data.y_held_out, seed)]
    length, jump = measures(decode(vae, line(new)))
    found |= noise | {"length_held_out": length.mean(), "jump_held_out": jump.mean()}
    for name, x in (("", data.x), ("_held_out", data.x_held_out)):
        terms = vae.elbo(x, 20, seed=seed)
        found |= {f"{part}{name}": float(np.mean(getattr(terms, part))) for part in terms._fields}
    return found


# -- decoders for given codes --------------------------------------------------------------------


class Decoders:
    """Decoders trained on codes that stay as they are: with noise, without, or with its price."""

    def __init__(self):
        self.decoder = networks(0)[1]
        self.optimizer = keras.optimizers.Adam(RATE)
        self.optimizer.build(self.decoder.trainable_variables)
        self.noisy = tf.function(functools.partial(self._steps, self._loss), jit_compile=True)
        self.priced = tf.function(
            functools.partial(self._steps, self._with_price), jit_compile=True
        )

    def _loss(self, x, loc, width, noise):
        """-log p(x|z) at z = loc + width * noise."""
        return -self.decoder(loc + width * noise).log_prob(x)

    def _with_price(self, x, loc, width, _):
        """-log p(x|z) at z = loc, plus what noise of this width would add, to second order.

        With log-odds a(z): 1/2 sum_i width^2 sum_d p_d (1 - p_d) (da_d / dz_i)^2. The derivatives
        pass through the layers as the rows of one matrix, [B * L, units].
        """
        *hidden, last, likelihood = self.decoder.layers
        h, tangents = loc, width * tf.tile(tf.eye(LATENTS), (len(loc), 1))
        for layer in hidden:
            h = layer(h)
            slope = tf.repeat(1 - h**2, LATENTS, axis=0)  # of tanh
            tangents = tf.matmul(tangents, layer.kernel) * slope
        odds, tangents = last(h), tf.matmul(tangents, last.kernel)
        weighed = tangents**2 * tf.repeat(tf.sigmoid(odds) * tf.sigmoid(-odds), LATENTS, axis=0)
        price = tf.reduce_sum(tf.reshape(weighed, (len(loc), -1)), axis=1) / 2
        return price - likelihood(odds).log_prob(x)

    def _steps(self, loss, x, loc, width, rows, noise):
        for t in tf.range(len(rows)):
            batch = tf.gather(x, rows[t]), tf.gather(loc, rows[t])
            with tf.GradientTape() as tape:
                value = tf.reduce_mean(loss(*batch, width, noise[t]))
            weights = self.decoder.trainable_variables
            self.optimizer.apply(tape.gradient(value, weights), weights)

    def train(self, x, loc, width, seed, price=False):
        """A decoder for the codes `loc` [N, L], as a VAE whose encoder is not used."""
        own = vt.VAE(*networks(seed), seed=seed)
        self.decoder.set_weights(own.decoder.get_weights())
        reset(self.optimizer)
        rng = np.random.default_rng(seed)
        passes = STEPS * BATCH // len(x)
        rows = np.concatenate([rng.permutation(len(x)) for _ in range(passes)])
        rows = rows.reshape(STEPS, BATCH).astype("int32")
        noise = rng.normal(size=(STEPS, BATCH, LATENTS)).astype("float32")
        steps = self.priced if price else self.noisy
        steps(x, tf.constant(loc, tf.float32), tf.constant(width, tf.float32), rows, noise)
        own.decoder.set_weights(self.decoder.get_weights())
        return own


decoders = functools.cache(Decoders)


def standard(loc):
    """Codes about zero, of spread one: one factor for all latents."""
    centred = loc - loc.mean(axis=0)
    return centred / np.sqrt((centred**2).mean())


def of_decoder(vae, loc, data, seed):
    """Paths between given codes, and how well the codes themselves are decoded."""
    frames = decode(vae, line(loc[draw_pairs(data.y, seed)]))
    off = [((data.x.reshape(-1, 64) - blurred(decode(vae, loc), b)) ** 2) for b in BLURS]
    found = of_paths(frames) | {"error_at_code": [one.sum(axis=1).mean() for one in off]}
    return found | {"steep_at_code": np.sqrt(slopes(vae, loc)[0].sum(axis=1)).mean()}


def of_decoders(vaes, data, seed):
    """New decoders for the codes of beta = 1 and of beta = 0, in one set of units."""
    found = {}
    for beta, vae in vaes.items():
        loc = standard(codes(vae, data.x)[0])
        arms = {"no noise": (0.0, False)}
        arms |= {f"noise {width:g}": (width, False) for width in WIDTHS}
        if beta == 1:
            arms |= {f"price {width:g}": (width, True) for width in PRICED}
        for arm, (width, price) in arms.items():
            decoder = decoders().train(data.x, loc, width, seed, price)
            found[f"codes of beta {beta:g}, {arm}"] = of_decoder(decoder, loc, data, seed)
    return found


# -- all together --------------------------------------------------------------------------------


def rounded(value):
    """Arrays and numbers as rounded Python numbers, None kept."""
    if isinstance(value, dict):
        return {key: rounded(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [rounded(entry) for entry in value]
    return None if value is None else float(f"{float(value):.5g}")


def run(seed):
    """The six VAEs of a seed, and the decoders for the codes of two of them."""
    data, found, vaes = split(seed), {}, {}
    for beta in BETAS:
        vae = train(beta, seed, data.x)
        found[f"beta {beta:g}"] = measure(vae, data, seed, beta)
        if beta in (0.0, 1.0):
            vaes[beta] = vae
    return rounded(found | of_decoders(vaes, data, seed))


def run_other(seed, members, steps):
    """Fewer digits, or fewer steps."""
    data, found = split(seed, members), {}
    for beta in (0.0, 1.0):
        vae = train(beta, seed, data.x, steps)
        found[f"{members} digits, {steps} steps, beta {beta:g}"] = measure(vae, data, seed, beta)
    return rounded(found)


def entry():
    """Seed 0 at beta = 1, made again: its paths.

    First weights changed by one part in 10^7 moved these figures by less than 2e-6, and those of
    beta = 0 by less than 1e-4; one part in 10^6 by up to 2e-3. The tolerance is well above.
    """
    data = split(0)
    vae = train(1.0, 0, data.x)
    frames = decode(vae, line(codes(vae, data.x)[0][draw_pairs(data.y, 0)]))
    length, jump = (values.mean() for values in measures(frames))
    found = {("beta 1", "length", 0, 0): (length, 0.01), ("beta 1", "jump", 0, 0): (jump, 0.02)}
    return {keys: (rounded(value), tolerance) for keys, (value, tolerance) in found.items()}


def timed(make, *arguments):
    """The figures of one job, and how long they took: a script that was stopped goes on."""
    began = time.monotonic()
    arms = make(*arguments)
    return {"arms": arms, "seconds": time.monotonic() - began}


def main():
    """Runs all seeds, keeping each that is finished, and saves them."""
    figures, seconds = {}, 0.0
    x = DIGITS.x_train.reshape(-1, 64) > 0.5
    accuracy = {n: rounded(j.score(x, DIGITS.y_train)) for n, j in judges().items()}
    print("judges", accuracy, flush=True)
    jobs = [("main", seed, run, ()) for seed in SEEDS]
    jobs += [("other", seed, run_other, other) for other in OTHER_SETTINGS for seed in SEEDS]
    for kind, seed, make, arguments in jobs:
        settings = {"kind": kind, "seed": seed, "arguments": list(arguments)}
        make = functools.partial(timed, make, seed, *arguments)
        found = vt.results.kept("build/04c_smoothness", settings, make, script=__file__)
        seconds += found["seconds"]
        for arm, values in found["arms"].items():
            for name, value in values.items():
                figures.setdefault(arm, {}).setdefault(name, []).append(value)
            jumps = values["length"][0], values["jump"][0], values["flips"]
            print(f"{seconds:4.0f} s  seed {seed}  {arm:40}", *jumps, flush=True)
    settings = {"betas": BETAS, "members": MEMBERS, "steps": STEPS, "batch": BATCH, "rate": RATE}
    settings |= {"latents": LATENTS, "hidden": HIDDEN, "paths": PATHS, "frames": FRAMES}
    settings |= {"blurs": BLURS, "widths": WIDTHS, "judges": accuracy}
    where = {"script": __file__, "settings": settings, "seeds": SEEDS}
    print(vt.results.save("04c_smoothness", figures, **where, seconds=seconds))


if __name__ == "__main__":
    main()
