"""How fast `vt.gap.decompose` searches, and how much memory it takes.

    python benchmarks/decompose.py

A VAE is trained on MNIST for a few seconds. Then (a) the best q of 500 held-out images is searched
for at once, and by the same optimisation written the usual way: image by image, a Python loop
around a compiled step. Both take the same number of steps, of the same antithetic pair of
samples, from the same start. (b) The peak memory of `decompose` is measured in fresh processes,
with 500 and with 5,000 samples. Exits with 1 if the search is less than 20 times faster, if the
two ways disagree, or if the peaks differ by more than 10 %.
"""

import argparse
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

import vae_tf as vt
from vae_tf.gap import best_q

FASTER = 20.0  # at least, for 500 images
MEMORY = 0.10  # at most, the relative difference of the two peaks
TOLERANCE = 0.10  # nats, at most: how far the two ways may differ on average
RATES = (0.1, 0.03, 0.01, 0.003)  # of the loop, each for a quarter of the steps


def images(count):
    digits = vt.data.load("mnist5k")
    return vt.data.binarize(digits.x_test, seed=1)[:count]


def trained(latents, epochs):
    keras.utils.set_random_seed(0)
    encoder = vt.networks.mlp((28, 28), vt.layers.NormalDiag(latents))
    decoder = vt.networks.mlp(latents, vt.layers.Bernoulli((28, 28)))
    vae = vt.VAE(encoder, decoder, seed=0)
    x_train = vt.data.binarize(vt.data.load("mnist5k").x_train, seed=0)
    vae.fit(x_train, epochs=epochs, batch_size=100, verbose=0)
    return vae


def timed(function):
    start = time.perf_counter()
    result = function()
    return result, time.perf_counter() - start


# -- the usual way ---------------------------------------------------------------------------


class ImageByImage:
    """Adam on one row of parameters: a compiled step, and a Python loop around it."""

    def __init__(self, vae, layer, x, jit_compile):
        shape = [1, layer.input_size]
        self.first, self.unit, self.moved = (tf.Variable(tf.zeros(shape)) for _ in range(3))
        self.x = tf.Variable(x)
        self.optimizer = keras.optimizers.Adam(RATES[0])
        self.optimizer.build([self.moved])
        self.fresh = [variable.numpy() for variable in self.optimizer.variables]

        @tf.function(jit_compile=jit_compile, autograph=False)
        def step(seed):
            noise = tf.random.stateless_normal([1, 1, *layer.event_shape], seed)
            with tf.GradientTape() as tape:
                params = self.params()
                z = best_q.push(layer.distribution(params), tf.concat([noise, -noise], axis=0))
                constant_q = layer.distribution(tf.stop_gradient(params))
                loss = -tf.reduce_mean(best_q.log_weights(vae, self.x, constant_q, z))
            self.optimizer.apply([tape.gradient(loss, self.moved)], [self.moved])

        self.step = step

    def params(self):
        return self.first + self.unit * self.moved

    def __call__(self, x, first, unit, steps):
        self.x.assign(x)
        self.first.assign(first)
        self.unit.assign(unit)
        self.moved.assign(tf.zeros_like(first))
        for variable, value in zip(self.optimizer.variables, self.fresh, strict=True):
            variable.assign(value)
        at_last, average = steps - steps // 10, 0.0
        for i in range(steps):
            self.optimizer.learning_rate = RATES[i * len(RATES) // steps]
            self.step(tf.constant([i, 0]))
            if i >= at_last:
                average += self.params().numpy() / (steps - at_last)
        return average


def speed(vae, family, count, few):
    """The table, and how many times faster the search is; and by how much its ELBO is larger."""
    x = images(count)
    q_z = vae.encode(x)
    layer = best_q.layer_of(family, q_z)
    search = best_q.Search(vae, layer)
    found, together = timed(lambda: search(x, q_z, seed=0))
    _, again = timed(lambda: search(x, q_z, seed=0))

    rows = [slice(i, i + 1) for i in range(few)]
    single, q_of = best_q.Search(vae, layer), [vae.encode(x[i]) for i in rows]
    single(x[:1], q_of[0], max_steps=100, seed=0)  # compiles
    _, reused = timed(lambda: [single(x[i], q, seed=0) for i, q in zip(rows, q_of, strict=True)])

    first, unit = best_q.first_params(layer, q_z)
    loops = {}
    for jit_compile in (False, True):
        loop = ImageByImage(vae, layer, x[:1], jit_compile)
        loop(x[:1], first[:1], unit[:1], 20)  # compiles
        params, loops[jit_compile] = timed(
            lambda loop=loop: [loop(x[i], first[i], unit[i], found.steps) for i in rows]
        )

    scale = count / few
    print(f"family {family}: {found.steps} steps of 2 samples for each of {count} images")
    print(f"{'':<56}{'seconds':>10}{'ratio':>9}")
    for name, seconds in (
        ("all at once, compilation included", together),
        ("all at once, compiled before", again),
        (f"one at a time, compiled before, {few} images scaled", reused * scale),
        (f"Python loop around a graph step, {few} images scaled", loops[False] * scale),
        (f"Python loop around an XLA step, {few} images scaled", loops[True] * scale),
    ):
        print(f"{name:<56}{seconds:>10.1f}{seconds / together:>9.1f}")
    noise = tf.random.stateless_normal([4000, few, *layer.event_shape], [7, 7])
    ours, theirs = (
        elbo(vae, layer.distribution(part), x[:few], noise)
        for part in (found.params[:few], tf.constant(np.concatenate(params), tf.float32))
    )
    difference = float(np.mean(ours - theirs))
    print(f"ELBO of the search minus that of the loop: {difference:+.3f} nats on average\n")
    return min(loops.values()) * scale / together, difference


def elbo(vae, q, x, noise):
    return best_q.log_weights(vae, x, q, best_q.push(q, noise)).numpy().mean(axis=0)


# -- memory ----------------------------------------------------------------------------------


def peak():
    """The most memory that this process has ever held, in MB."""
    status = Path("/proc/self/status")
    if status.exists():  # there `ru_maxrss` of a child begins at what its parent held
        (line,) = [row for row in status.read_text().splitlines() if row.startswith("VmHWM")]
        return int(line.split()[1]) / 1024
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def peak_memory(path, count, num_samples):
    """MB that one `decompose` takes on top of what the process had taken before."""
    vae = keras.saving.load_model(path)
    x = images(count)
    before = peak()
    vt.gap.decompose(
        vae, x, log_evidence=np.zeros(count), num_samples=num_samples, max_steps=200, seed=0
    )
    return peak() - before


def memory(vae, count):
    """The peaks for 500 and for 5,000 samples, each in a process of its own; their ratio."""
    peaks = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vae.keras"
        vae.save(path)
        for num_samples in (500, 5000):
            command = [sys.executable, __file__, "--peak", str(path), str(count), str(num_samples)]
            run = subprocess.run(command, capture_output=True, text=True, check=True)
            peaks.append(float(run.stdout.split()[-1]))
            print(f"{count} images, {num_samples:>5} samples: {peaks[-1]:.0f} MB")
    print(f"ratio {peaks[1] / peaks[0]:.3f}")
    return peaks[1] / peaks[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--family", default="diag", choices=list(best_q.FAMILIES))
    parser.add_argument("--latents", type=int, default=10)
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--few", type=int, default=3, help="images for the loops")
    parser.add_argument("--peak", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peak:
        path, count, num_samples = args.peak
        print(peak_memory(path, int(count), int(num_samples)))
        return 0
    print(f"{vt.about()} | {platform.machine()}, {os.cpu_count()} cores\n")
    vae = trained(args.latents, epochs=20)
    ratio, difference = speed(vae, args.family, args.images, args.few)
    growth = memory(vae, args.images)
    verdicts = {
        f"{ratio:.0f} times faster, at least {FASTER:.0f}": ratio >= FASTER,
        f"ELBOs differ by {difference:+.3f}, at most {TOLERANCE}": abs(difference) <= TOLERANCE,
        f"memory ratio {growth:.3f}, within {MEMORY} of one": abs(growth - 1) <= MEMORY,
    }
    print()
    for verdict, ok in verdicts.items():
        print(f"{'ok    ' if ok else 'FAILED'} {verdict}")
    return 0 if all(verdicts.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
