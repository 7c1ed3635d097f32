"""How often do TensorFlow Probability's own Keras layers count the KL? Prints JSON.

Runs in an environment of its own, which benchmarks/published.py makes: these are Keras 2 layers.
The same q(z|x) and p(z) each time; only the way in which the KL joins the loss differs.
"""

import json
import os

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["TF_USE_LEGACY_KERAS"] = "1"

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
import tf_keras

tfd, tfpl = tfp.distributions, tfp.layers
B, L = 4096, 16


def posterior(params):
    """q(z|x) = N(loc, diag scale^2): batch [B], event [L]."""
    loc, raw = tf.split(params, 2, axis=-1)
    return tfd.MultivariateNormalDiag(loc, tf.math.softplus(raw))


def registered(params, layers):
    """The losses that a model of these layers adds to its own when it is called."""
    model = tf_keras.Sequential([tf_keras.layers.InputLayer((2 * L,)), *layers])
    model(params)
    return [float(loss) for loss in model.losses]


def main():
    """The mean KL, and what the two layers make of it."""
    params = tf.constant(np.random.default_rng(0).normal(size=(B, 2 * L)), tf.float32)
    prior = tfd.MultivariateNormalDiag(tf.zeros(L))
    kl = tfd.kl_divergence(posterior(params), prior)  # [B]
    options = {"use_exact_kl": True, "weight": 1.0}
    regularizer = tfpl.KLDivergenceRegularizer(prior, **options)
    doubled = [tfpl.DistributionLambda(posterior, activity_regularizer=regularizer)]
    summed = [tfpl.DistributionLambda(posterior), tfpl.KLDivergenceAddLoss(prior, **options)]
    found = {
        "batch": B,
        "kl": float(tf.reduce_mean(tf.cast(kl, tf.float64))),  # nats per example
        "regularizer": registered(params, doubled),
        "add_loss": registered(params, summed),
        "versions": {m.__name__: m.__version__ for m in (tf, tf_keras, tfp)},
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
