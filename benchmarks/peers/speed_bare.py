"""The floor of TensorFlow: an epoch as one program, loss and Adam written out by hand.

    python speed_bare.py xla|graph

Compiled by XLA, or as TensorFlow's own graph. No Keras and no distribution objects: whatever
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


def loss_of(weights, x, noise):
    """The loss of a batch, nats per example."""
    w1, b1, w2, b2, w3, b3, w4, b4, w5, b5, w6, b6 = weights
    h = tf.tanh(tf.tanh(x @ w1 + b1) @ w2 + b2)
    loc, raw = tf.split(h @ w3 + b3, 2, axis=1)
    scale = FLOOR + tf.nn.softplus(raw + SHIFT)
    z = loc + scale * noise
    logits = tf.tanh(tf.tanh(z @ w4 + b4) @ w5 + b5) @ w6 + b6
    reconstruction = tf.reduce_sum(x * logits - tf.nn.softplus(logits))
    kl = tf.reduce_sum(0.5 * (loc**2 + scale**2 - 1) - tf.math.log(scale))
    return (kl - reconstruction) / x.shape[0]


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
            with tf.GradientTape() as tape:
                tape.watch(weights)
                loss = loss_of(weights, tf.gather(x, rows), noise)
            state = adam(state, step + 1, tape.gradient(loss, weights))
            return size * loss, state, step + 1

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
