"""What well-known code makes of the KL: counted twice, or weighed by sums and means."""

import dataclasses
import json
import pathlib
from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf
from peer_environment import CACHE, ask, peer_python
from table import FOLDER, Check, Measured, NotRun

import vae_tf as vt

PEERS = CACHE / "peers"  # the environment of the doubled KL


@dataclasses.dataclass(frozen=True)
class Peers:
    """Where the environment is, or will be."""

    environment: pathlib.Path = PEERS


def doubled_kl(scale):
    """What TensorFlow Probability's Keras layers add to a loss, in units of the KL."""
    python = peer_python(scale.environment, "requirements.txt", "2.2 GB")
    answer = ask([python, FOLDER / "peers" / "doubled_kl.py"])
    if answer.returncode:
        raise NotRun(f"benchmarks/peers/doubled_kl.py failed: {answer.stderr[-300:].strip()}")
    found = json.loads(answer.stdout)
    return Measured(_doubled_checks(found), (0,), found)


def _doubled_checks(found):
    double, batch = sum(found["regularizer"]) / found["kl"], found["batch"]
    total = sum(found["add_loss"]) / found["kl"]
    because = "float32 sums"
    return [
        Check(
            "KLDivergenceRegularizer, loss over mean KL", "2.0000", double, 1.9999, 2.0001, because
        ),
        Check("losses it registers", "2", len(found["regularizer"]), 2, 2, "a count"),
        Check(
            f"KLDivergenceAddLoss, loss over mean KL, batch of {batch}",
            "4096 for 4096",
            *(total, batch * (1 - 1e-4), batch * (1 + 1e-4)),
            because,
        ),
    ]


class Code(NamedTuple):
    """A loss in the shape of well-known code, and the beta that its sums and means imply."""

    name: str
    source: str
    derivation: str
    beta: float
    loss: Callable  # of x, x_hat, loc, scale, as vt.diagnostics.effective_beta wants it
    event_size: int
    latent_size: int
    binary: bool


def _kl(loc, scale):
    return 0.5 * (loc**2 + scale**2 - 1) - tf.math.log(scale)  # [B, L]


def _mean_kl(loc, scale):
    return tf.reduce_mean(tf.reduce_sum(_kl(loc, scale), axis=1))


def _cross_entropy(x, logits):
    return tf.nn.sigmoid_cross_entropy_with_logits(x, logits)  # [B, D]


CODES = (
    Code(
        "sums over pixels, latents and batch",
        "pytorch/examples, vae/main.py",
        "both terms summed",
        1.0,
        lambda x, r, m, s: tf.reduce_sum(_cross_entropy(x, r)) + tf.reduce_sum(_kl(m, s)),
        *(784, 20, True),
    ),
    Code(
        "784 times the mean over pixels, mean over latents",
        "keras-team/keras-io issue 270",
        "1/L, L = 2",
        0.5,
        lambda x, r, m, s: 784 * tf.reduce_mean(_cross_entropy(x, r)) + tf.reduce_mean(_kl(m, s)),
        *(784, 2, True),
    ),
    Code(
        "mean squared error, mean over latents",
        "Keras guide on subclassing, its VAE",
        "D/(2L), D = 784, L = 32",
        12.25,
        lambda x, r, m, s: tf.reduce_mean((x - r) ** 2) + tf.reduce_mean(_kl(m, s)),
        *(784, 32, False),
    ),
    Code(
        "mean squared error, 0.00025 KL",
        "AntixK/PyTorch-VAE issue 56",
        "0.00025 D/2, D = 3 x 64 x 64",
        1.536,
        lambda x, r, m, s: tf.reduce_mean((x - r) ** 2) + 0.00025 * _mean_kl(m, s),
        *(3 * 64 * 64, 128, False),
    ),
    Code(
        "-log p(x|z), KL registered twice",
        "tensorflow/probability issue 1215",
        "2",
        2.0,
        lambda x, r, m, s: (
            tf.reduce_mean(tf.reduce_sum(_cross_entropy(x, r), axis=1)) + 2 * _mean_kl(m, s)
        ),
        *(784, 16, True),
    ),
)


def effective_betas(codes):
    """The beta of each loss, from its gradients alone."""
    checks = []
    for code in codes:
        likelihood = vt.layers.Bernoulli(code.event_size) if code.binary else None
        sizes = (code.event_size, code.latent_size)
        beta = vt.diagnostics.effective_beta(code.loss, *sizes, likelihood=likelihood).beta
        quantity = f"{code.name} ({code.source})"
        bounds = (code.beta * (1 - 1e-3), code.beta * (1 + 1e-3))
        because = "float32 gradients: effective_beta itself accepts 0.1 %"
        published = f"{code.beta:g}: {code.derivation}"
        checks.append(Check(quantity, published, beta, *bounds, because))
    return Measured(checks, (0,), {})
