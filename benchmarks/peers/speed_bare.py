"""The floor of TensorFlow: an epoch as one XLA program, loss and Adam written out by hand.

No Keras and no distribution objects: whatever `fit` takes on top of this is overhead.
"""

import math
import os

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


def epoch_of(x, batch):
    """(state, steps so far, seed) -> (state, steps so far, mean loss): one epoch."""
    steps, left = divmod(len(x), batch)
    if left:
        raise ValueError(f"Expected a batch that divides {len(x)} examples. Received: {batch}")

    def epoch(state, step, seed):
        latents = state[6][0].shape[0]
        order = tf.argsort(tf.random.stateless_uniform([len(x)], seed))

        def train(i, total, state, step):
            rows = tf.slice(order, [i * batch], [batch])
            # Left to choose the algorithm, XLA takes one that is ten times slower on a CPU.
            noise = tf.random.stateless_normal([batch, latents], seed + [0, 1 + i], alg="philox")
            weights = [weight for weight, _, _ in state]
            with tf.GradientTape() as tape:
                tape.watch(weights)
                loss = loss_of(weights, tf.gather(x, rows), noise)
            state = adam(state, step + 1, tape.gradient(loss, weights))
            return i + 1, total + loss, state, step + 1

        start = (0, 0.0, state, step)
        _, total, state, step = tf.while_loop(lambda i, *_: i < steps, train, start)
        return state, step, total / steps

    return tf.function(epoch, autograph=False, jit_compile=True)


class Bare:
    def prepare(self, x, batch, weights, **_):
        self.state = [(tf.constant(w), tf.zeros_like(w), tf.zeros_like(w)) for w in weights]
        self.step, self.epochs = tf.constant(0.0), 0
        self.epoch = epoch_of(tf.constant(x), batch)

    def train(self, epochs):
        for _ in range(epochs):
            self.epochs += 1
            seed = tf.constant([self.epochs, 0])
            self.state, self.step, loss = self.epoch(self.state, self.step, seed)
        return float(loss)


if __name__ == "__main__":
    protocol.serve(Bare())
