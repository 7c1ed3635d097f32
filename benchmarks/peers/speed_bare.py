"""The floor of TensorFlow: an epoch as one XLA program, loss and Adam written out by hand.

No Keras and no distribution objects: whatever `fit` takes on top of this is overhead.
"""

import math

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
    """(state, epochs so far) -> (state, mean loss): one epoch, where `batch` divides x."""
    steps = len(x) // batch

    def epoch(state, done):
        latents = state[6][0].shape[0]
        order = tf.argsort(tf.random.stateless_uniform([len(x)], [done, 0]))

        def train(i, total, state):
            rows = tf.slice(order, [i * batch], [batch])
            # Left to choose the algorithm, XLA takes one that is ten times slower on a CPU.
            noise = tf.random.stateless_normal([batch, latents], [done, 1 + i], alg="philox")
            weights = [weight for weight, _, _ in state]
            with tf.GradientTape() as tape:
                tape.watch(weights)
                loss = loss_of(weights, tf.gather(x, rows), noise)
            step = tf.cast(done * steps + i + 1, tf.float32)
            return i + 1, total + loss, adam(state, step, tape.gradient(loss, weights))

        _, total, state = tf.while_loop(lambda i, *_: i < steps, train, (0, 0.0, state))
        return state, total / steps

    return tf.function(epoch, autograph=False, jit_compile=True)


class Bare:
    def prepare(self, x, batch, weights, **_):
        self.state = [(tf.constant(w), tf.zeros_like(w), tf.zeros_like(w)) for w in weights]
        self.epoch, self.done = epoch_of(tf.constant(x), batch), tf.constant(0)

    def train(self, epochs):
        for _ in range(epochs):
            self.state, loss = self.epoch(self.state, self.done)
            self.done += 1
        return float(loss)


if __name__ == "__main__":
    protocol.serve(Bare())
