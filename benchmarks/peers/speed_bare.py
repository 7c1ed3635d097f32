"""The floor of TensorFlow: an epoch as one program, gradients and Adam written out by hand.

    python speed_bare.py xla|graph

Compiled by XLA, or as TensorFlow's own graph. No Keras, no tape, no distribution objects: whatever
`fit` takes on top of this is overhead.
"""

import math
import os
import sys

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import speed_protocol as protocol
import tensorflow as tf

SHIFT = math.log(math.expm1(1.0))  # softplus(SHIFT) = 1
FLOOR = 1e-6  # under the scale
MEAN, SQUARE = 0.9, 0.999  # what Adam keeps of its two averages


def gradients(weights, x, noise):
    """The loss of a batch, nats per example, and its gradient into each of the weights."""
    w1, b1, w2, b2, w3, b3, w4, b4, w5, b5, w6, b6 = weights
    size = x.shape[0]
    h1 = tf.tanh(x @ w1 + b1)
    h2 = tf.tanh(h1 @ w2 + b2)
    loc, raw = tf.split(h2 @ w3 + b3, 2, axis=1)
    scale = FLOOR + tf.nn.softplus(raw + SHIFT)
    z = loc + scale * noise
    h4 = tf.tanh(z @ w4 + b4)
    h5 = tf.tanh(h4 @ w5 + b5)
    logits = h5 @ w6 + b6

    reconstruction = tf.reduce_sum(x * logits - tf.nn.softplus(logits))
    kl = tf.reduce_sum(0.5 * (loc**2 + scale**2 - 1) - tf.math.log(scale))

    by_6 = (tf.sigmoid(logits) - x) / size
    by_5 = _into(by_6, w6) * (1 - h5**2)
    by_4 = _into(by_5, w5) * (1 - h4**2)
    by_z = _into(by_4, w4)
    by_loc = by_z + loc / size
    by_raw = (by_z * noise + (scale - 1 / scale) / size) * tf.sigmoid(raw + SHIFT)
    by_3 = tf.concat([by_loc, by_raw], axis=1)
    by_2 = _into(by_3, w3) * (1 - h2**2)
    by_1 = _into(by_2, w2) * (1 - h1**2)
    pairs = ((x, by_1), (h1, by_2), (h2, by_3), (z, by_4), (h4, by_5), (h5, by_6))
    by_weights = [
        part
        for h, by in pairs
        for part in (tf.matmul(h, by, transpose_a=True), tf.reduce_sum(by, axis=0))
    ]
    return (kl - reconstruction) / size, by_weights


def _into(by, matrix):
    return tf.matmul(by, matrix, transpose_b=True)


def adam(state, step, gradient):
    """One step of Adam for each (weight, mean, square)."""
    rate = protocol.STEP * tf.sqrt(1 - SQUARE**step) / (1 - MEAN**step)
    moved = []
    for (weight, mean, square), by in zip(state, gradient, strict=True):
        mean += (1 - MEAN) * (by - mean)
        square += (1 - SQUARE) * (by * by - square)
        weight -= rate * mean / (tf.sqrt(square) + protocol.EPSILON)
        moved.append((weight, mean, square))
    return moved


def epoch_of(x, batch, jit_compile):
    """(state, steps so far, seed) -> (state, steps so far, mean loss): one epoch."""
    count = len(x)
    whole, left = divmod(count, batch)

    def epoch(state, step, seed):
        latents = state[6][0].shape[0]
        order = tf.argsort(tf.random.stateless_uniform([count], seed))

        def train(i, size, state, step):
            rows = tf.slice(order, [i * batch], [size])
            # Left to choose the algorithm, XLA takes one that is ten times slower on a CPU.
            noise = tf.random.stateless_normal([size, latents], seed + [0, 1 + i], alg="philox")
            weights = [weight for weight, _, _ in state]
            loss, by_weights = gradients(weights, tf.gather(x, rows), noise)
            return size * loss, adam(state, step + 1, by_weights), step + 1

        def body(i, total, state, step):
            loss, state, step = train(i, batch, state, step)
            return i + 1, total + loss, state, step

        loop = (0, 0.0, state, step)
        _, total, state, step = tf.while_loop(lambda i, *_: i < whole, body, loop)
        if left:
            loss, state, step = train(whole, left, state, step)
            total += loss
        return state, step, total / count

    return tf.function(epoch, autograph=False, jit_compile=jit_compile)


class Bare:
    scale = "softplus of one"
    versions = {"TensorFlow": tf.__version__}

    def __init__(self, form="xla"):
        self.jit_compile = form == "xla"

    def prepare(self, x, batch, weights, **_):
        self.state = [(tf.constant(w), tf.zeros_like(w), tf.zeros_like(w)) for w in weights]
        self.step, self.epochs = tf.constant(0.0), 0
        self.epoch = epoch_of(tf.constant(x), batch, self.jit_compile)

    def train(self, epochs):
        for _ in range(epochs):
            self.epochs += 1
            seed = tf.constant([self.epochs, 0])
            self.state, self.step, loss = self.epoch(self.state, self.step, seed)
        return float(loss)

    def weights(self):
        return [weight.numpy() for weight, _, _ in self.state]


if __name__ == "__main__":
    protocol.serve(Bare(sys.argv[1]))
