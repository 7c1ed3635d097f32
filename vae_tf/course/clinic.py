"""A clinic: bugs of public code, brought into `vae_tf` while it runs, and what they do to numbers.

A case is one bug. `sick(name)` is a context in which the package has it, `chart(name)` measures the
same numbers with and without it. Where each bug was seen, its cure, and the test of this repository
that fails under it are in `CASES`; lesson 10 gives them after the diagnosis.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import scipy.stats
import tensorflow as tf
import tensorflow_probability as tfp

from vae_tf import (
    data,
    disentanglement,
    elbo,
    evidence,
    layers,
    linear,
    networks,
    objectives,
    priors,
)
from vae_tf.elbo import ElboTerms, Forward
from vae_tf.evidence import importance
from vae_tf.layers import distributions
from vae_tf.model import VAE

tfd = tfp.distributions

__all__ = ["CASES", "CAUSES", "Case", "Chart", "causes", "chart", "sick", "trained"]

Mutation = Callable[[], contextlib.AbstractContextManager]
Numbers = dict[str, float]

# What a student chooses from, by number; not all of them are a case.
CAUSES = {
    1: "the reconstruction is averaged over the pixels, and the KL over the latents",
    2: "the mean of q(z|x) is decoded where a sample belongs",
    3: "the weights of all images of a batch are multiplied before the mean over the K samples",
    4: "the KL is counted twice",
    5: "the constants of the Normal, (log 2 pi) / 2 for each number, are left out",
    6: "a variance is passed where a standard deviation is wanted",
    7: "the images for testing are among those for training",
    8: "the two arguments of the binary cross-entropy are exchanged",
    9: "the KL is summed over the batch",
    10: "importance weights are a softmax of errors: the worst sample weighs most",
    11: "grey pixels are scored by a Bernoulli",
    12: "the prior is given 1 as the logarithm of its variance, not as its scale",
    13: "the KL is missing from the loss",
    14: "the means of the batches are averaged, whatever the size of a batch",
    15: "the noise of the samples is smaller than the scale of q(z|x) that the KL knows",
    16: "the logarithm in the KL has lost its factor 1/2",
    17: "beta is stored and never used",
    18: "the KL is taken the other way round, KL(p || q)",
    19: "the log weights are averaged by their own normalised weights",
    20: "an array is reshaped where it should be transposed",
    21: "the reconstruction is a mean over pixels, and the KL a sum with a small weight before it",
    22: "only the last batch is evaluated",
    23: "(log 2 pi) / 2 is subtracted too often",
    24: "all examples of a batch share one draw of the noise",
}


def causes() -> str:
    """The numbered list of causes, as a student reads it.

    Example:

    >>> from vae_tf.course import clinic
    >>> clinic.causes().count("\\n")
    23
    """
    return "\n".join(f"{number:2}  {cause}" for number, cause in CAUSES.items())


@dataclass(frozen=True)
class Chart:
    """The same numbers without and with a bug; prints as a table."""

    name: str
    healthy: Numbers
    sick: Numbers

    def __str__(self) -> str:
        width = max(map(len, self.healthy))
        rows = [f"{'case ' + self.name:{width}}  {'healthy':>9}  {'sick':>9}"]
        for row, number in self.healthy.items():
            rows.append(f"{row:{width}}  {number:9.3f}  {self.sick[row]:9.3f}")
        return "\n".join(rows)

    def __repr__(self) -> str:
        return str(self)


@dataclass(frozen=True, repr=False)
class Case:
    """A bug of public code.

    Args:
        cause: its number in `CAUSES`.
        mutation: gives a context in which `vae_tf` has the bug.
        measure: the numbers that show it, {what is measured: number}.
        source: where it was seen: repository, and issue, pull request, commit or file.
        test: the test of this repository that fails under it, as pytest calls it.
    """

    cause: int
    mutation: Mutation
    measure: Callable[[], Numbers]
    source: str
    test: str


def sick(name: str) -> contextlib.AbstractContextManager:
    """A context in which `vae_tf` has the bug of a case.

    Models made outside of it and compiled before stay healthy: a compiled step holds what it met
    when it was traced.

    Args:
        name: a letter.

    Raises:
        ValueError: if there is no such case.

    Example:

    >>> from vae_tf.course import clinic
    >>> with clinic.sick("A"):  # here the package has it
    ...     pass
    """
    return _infected(name, _case(name))


_ACTIVE: list[str] = []  # the cases whose bugs the package has at present


@contextlib.contextmanager
def _infected(name, case):
    with case.mutation():
        _ACTIVE.append(name)
        try:
            yield
        finally:
            _ACTIVE.pop()


def chart(name: str) -> Chart:
    """What a case does to the numbers: measured without its bug, then with it.

    Args:
        name: a letter.

    Raises:
        ValueError: if there is no such case.
    """
    case = _case(name)
    healthy = case.measure() if _ACTIVE else dict(_healthy(case.measure))
    with sick(name):
        return Chart(name, healthy, case.measure())


@functools.cache
def _healthy(measure):
    """What some cases have in common: measured once."""
    return measure()


def _case(name):
    if name not in CASES:
        raise ValueError(f"Expected a case: {', '.join(CASES)}. Received: {name!r}")
    return CASES[name]


# -- mutations ------------------------------------------------------------------------------------


def _replaced(owner: Any, name: str, make: Callable[[Any], Any]) -> Mutation:
    """A context in which `owner.name` is what `make` makes of it."""

    @contextlib.contextmanager
    def context() -> Iterator[None]:
        own = name in vars(owner)
        healthy = getattr(owner, name)
        setattr(owner, name, make(healthy))
        try:
            yield
        finally:
            if own:
                setattr(owner, name, healthy)
            else:
                delattr(owner, name)

    return context


def _both(*mutations: Mutation) -> Mutation:
    @contextlib.contextmanager
    def context() -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            for mutation in mutations:
                stack.enter_context(mutation())
            yield

    return context


def _other_kl(change: Callable[[Callable, Any, Any, Any], Any]) -> Mutation:
    """`vt.elbo.kl` changed: `change(healthy kl, q_z, p_z, z)`."""

    def make(kl):
        return lambda q_z, p_z, z=None: change(kl, q_z, p_z, z)

    return _replaced(elbo, "kl", make)


def _half_lost(kl, q_z, p_z, z):
    # log(v_p / v_q) for its half: once more the logarithm of the ratio of scales.
    ratio = tf.math.log(p_z.stddev()) - tf.math.log(q_z.stddev())
    return kl(q_z, p_z, z) + tf.reduce_sum(ratio, axis=-1)


def _decoded_mean(healthy):
    def forward(model, x, num_samples=1, *, condition=None, **kwargs):
        one_pass = healthy(model, x, num_samples, condition=condition, **kwargs)
        z = tf.zeros_like(one_pass.z) + one_pass.q_z.mean()
        return Forward(one_pass.x, one_pass.p_z, one_pass.q_z, z, model.decode(z))

    return forward


def _own_weights(_):
    def bound(_self, forward, _terms=None):
        log_w = elbo.log_weights(forward)
        return tf.reduce_sum(tf.nn.softmax(log_w, axis=0) * log_w, axis=0)

    return bound


def _once_for_the_batch(_):
    def bound(_self, forward, _terms=None):
        log_w = elbo.log_weights(forward)  # [S, B]
        whole = tf.reduce_sum(log_w, axis=1)
        samples, batch = (tf.cast(size, log_w.dtype) for size in tf.unstack(tf.shape(log_w)))
        mean = (tf.reduce_logsumexp(whole) - tf.math.log(samples)) / batch
        return mean + tf.zeros_like(log_w[0])

    return bound


def _worst_weighs_most(healthy):
    class WorstFirst(healthy):
        """Weighs each sample by one over its weight."""

        def __init__(self, batch, count):
            super().__init__(batch, count)
            self._all = [[] for _ in range(batch)]

        def add(self, rows, log_w):
            super().add(rows, log_w)
            for row, values in zip(rows, np.transpose(log_w), strict=True):
                self._all[row].extend(values)

        def log_mean(self):
            log_w = np.transpose(self._all)  # [K, B]
            weights = np.exp(log_w.min(axis=0) - log_w)
            estimate = (weights * log_w).sum(axis=0) / weights.sum(axis=0)
            return super().log_mean()._replace(estimate=estimate)

    return WorstFirst


def _mean_with_small_weight(_):
    weight = 0.0005 * 64 * 64 * 3  # the effective beta of its source, for images of any size

    def objective(_self, forward, terms=None):
        terms = terms or elbo.reconstruction_kl(forward)
        pixels = math.prod(forward.p_x.event_shape)
        return (terms.reconstruction - weight * terms.kl) / pixels

    return objective


def _mean_of_batch_means(healthy):
    def of_batch(terms):
        return lambda one: ElboTerms(*(tf.reduce_mean(t, keepdims=True) for t in terms(one)))

    def compute_loss(self, *args, **kwargs):
        with _replaced(elbo, "reconstruction_kl", of_batch)():
            return healthy(self, *args, **kwargs)

    return compute_loss


def _joined(load):
    def joined(*args, **kwargs):
        parts = load(*args, **kwargs)
        return parts._replace(x_train=np.concatenate([parts.x_train, parts.x_test]))

    return joined


def _viewed(checked):
    def other(codes, factors):
        codes, factors = checked(codes, factors)
        return codes.reshape(codes.shape[::-1]).T, factors

    return other


def _wide_normal(_):
    def distribution(self):
        zeros = tf.zeros([self.latent_size], self.compute_dtype)
        scale = tf.exp(0.5 * tf.ones_like(zeros))
        return distributions.Independent(distributions.Normal(zeros, scale), 1)

    return distribution


# -- patients ------------------------------------------------------------------------------------


@functools.cache
def _digits():
    """Grey digits, flat, in float64; binary digits for training and for testing."""
    digits = data.load("digits")
    flat = np.float64(digits.x_test).reshape(len(digits.x_test), -1)
    binary = [data.binarize(x, seed=i) for i, x in enumerate((digits.x_train, digits.x_test))]
    return np.float64(digits.x_train).reshape(-1, 64), flat, *binary


@functools.cache
def _linear():
    """A linear model of the grey digits, and the same with its latents rotated.

    The encoder of the first is the exact posterior; that of the second cannot be.
    """
    model = linear.LinearGaussian.fit(_digits()[0], latent_size=10)
    rotation = scipy.stats.ortho_group.rvs(10, random_state=0)
    return model, linear.LinearGaussian(model.weights @ rotation, model.mean, model.scale)


def _new_vae():
    """Two latents, 8x8 binary images, and always the same weights."""
    seeds = iter(range(1, 9))
    encoder = networks.mlp((8, 8), layers.NormalDiag(2), hidden=(64,))
    decoder = networks.mlp(2, layers.Bernoulli((8, 8)), hidden=(64,))
    for network in (encoder, decoder):
        for weight in network.trainable_variables:
            if len(weight.shape) > 1:
                make = keras.initializers.GlorotUniform(seed=next(seeds))
                weight.assign(make(weight.shape))
    vae = VAE(encoder, decoder, seed=0)
    vae.compile(keras.optimizers.Adam(1e-2), jit_compile=False)
    return vae


_TRAINED: dict[str, tuple[VAE, dict]] = {}


def trained(name: str = "") -> VAE:
    """The VAE of the binary digits as it comes out of a training with the bug of a case.

    Args:
        name: a letter; by default no bug.

    Raises:
        ValueError: if there is no such case.
    """
    return _training(name)[0]


def _training(name):
    if name not in _TRAINED:
        if _ACTIVE not in ([], [name]):
            raise RuntimeError(f"Expected a healthy package. Received: one with bug {_ACTIVE}")
        with sick(name) if name and not _ACTIVE else contextlib.nullcontext():
            vae = _new_vae()
            history = vae.fit(_digits()[2], epochs=15, batch_size=64, verbose=0).history
        _TRAINED[name] = vae, {key: values[-1] for key, values in history.items()}
    return _TRAINED[name]


def _by_hand(vae, x):
    """Reconstruction and KL of a VAE with Bernoulli pixels, [B] each, without `vae_tf.elbo`."""
    q_z = vae.encode(x)
    loc, scale = np.float64(q_z.mean()), np.float64(q_z.stddev())
    z = loc + scale * np.random.default_rng(0).standard_normal((20, *loc.shape))
    logits = np.float64(vae.decode(z).distribution.logits_parameter())
    log_p = -np.logaddexp(0, (1 - 2 * np.float64(x)) * logits).sum(axis=(-1, -2)).mean(axis=0)
    return log_p, 0.5 * (scale**2 + loc**2 - 1 - 2 * np.log(scale)).sum(axis=-1)


# -- what is measured -----------------------------------------------------------------------------


def _of_linear_model() -> Numbers:
    (model, _), x = _linear(), _digits()[1][:200]
    vae = model.to_vae()
    terms = vae.elbo(x, 100, seed=0)
    difference = np.asarray(terms.elbo) - model.log_evidence(x)
    q_z = vae.encode(x)
    z = elbo.forward(vae, x, 100, seed=1).z
    return {
        "reconstruction": float(np.mean(terms.reconstruction)),
        "KL": float(np.mean(terms.kl)),
        "ELBO": float(np.mean(terms.elbo)),
        "exact log p(x)": float(model.log_evidence(x).mean()),
        "ELBO - log p(x): mean": float(difference.mean()),
        "ELBO - log p(x): spread over images": float(difference.std()),
        "(z - mean) / scale of q: spread": float(np.std((z - q_z.mean()) / q_z.stddev())),
    }


def _of_a_pixel() -> Numbers:
    numbers = {}
    for logit in (-5.0, 0.0, 5.0):
        p_x = distributions.Bernoulli(logits=logit, dtype="float64")
        log_p = [float(p_x.log_prob(value)) for value in (0.0, 1.0)]
        numbers[f"logit {logit:2g}: log P(pixel = 0)"] = log_p[0]
        numbers[f"logit {logit:2g}: log P(pixel = 1)"] = log_p[1]
        numbers[f"logit {logit:2g}: sum of both P"] = float(np.exp(log_p).sum())
    return numbers


def _of_objective_by_samples() -> Numbers:
    (_, model), x = _linear(), _digits()[1][:100]
    many, numbers = np.tile(x, (8, 1)), {}
    for samples in (1, 4, 16, 64, 256):
        one_pass = elbo.forward(model, many, samples, seed=samples)
        value = objectives.IWAE(samples)(one_pass)
        numbers[f"objective, K = {samples}"] = float(np.mean(value))
    return {**numbers, "exact log p(x)": float(model.log_evidence(x).mean())}


def _of_objective_by_batches() -> Numbers:
    (_, model), x = _linear(), _digits()[1][:64]
    numbers, objective = {}, objectives.IWAE(256)
    for size in (2, 8, 64):
        batches = [x[start : start + size] for start in range(0, 64, size)]
        passes = [elbo.forward(model, batch, 256, seed=i) for i, batch in enumerate(batches)]
        value = np.mean([np.mean(objective(one_pass)) for one_pass in passes])
        numbers[f"objective, K = 256, batches of {size}"] = float(value)
    terms = model.elbo(x, model.encode(x))
    return {
        **numbers,
        "ELBO": float(np.mean(terms.elbo)),
        "exact log p(x)": float(model.log_evidence(x).mean()),
    }


def _of_bound_by_samples() -> Numbers:
    (_, model), x = _linear(), _digits()[1][:100]
    numbers = {
        f"evidence.iwae, K = {k}": float(np.mean(evidence.iwae(model, x, k, seed=0).estimate))
        for k in (1, 4, 16, 64, 256)
    }
    return {**numbers, "exact log p(x)": float(model.log_evidence(x).mean())}


def _of_training(name: str) -> Callable[[], Numbers]:
    """The numbers of a training with the bug where it is there, and of a healthy one."""

    def measure():
        vae, reported = _training(name if name in _ACTIVE else "")
        x, well = _digits()[3], trained()
        own_kl = [float(np.mean(well.elbo(x[:size], seed=0).kl)) for size in (10, 100)]
        log_p, kl = _by_hand(vae, x)
        codes = np.float64(vae.encode(x).mean())
        return {
            "reported loss": reported["loss"],
            "reported reconstruction": reported["reconstruction"],
            "reported KL": reported["kl"],
            "vae.elbo, healthy weights: KL of 10 images": own_kl[0],
            "vae.elbo, healthy weights: KL of 100 images": own_kl[1],
            "held out, by hand: reconstruction": float(log_p.mean()),
            "held out, by hand: KL": float(kl.mean()),
            "held out, by hand: ELBO": float((log_p - kl).mean()),
            "active units": float((codes.var(axis=0) > 0.01).sum()),
        }

    return measure


def _of_kl() -> Numbers:
    p_z = priors.StandardNormal(1)()
    numbers = {}
    for loc, scale in ((0.0, 1.0), (2.0, 1.0), (0.0, 0.5), (0.0, 2.0), (0.0, 1.3)):
        q_z = distributions.Independent(distributions.Normal([[loc]], [[scale]]), 1)
        numbers[f"KL(N({loc:g}, {scale:g}^2) || p(z))"] = float(elbo.kl(q_z, p_z)[0])
    draws = priors.StandardNormal(1)().sample(10_000, seed=[0, 1])
    return {**numbers, "standard deviation of draws of p(z)": float(np.std(draws))}


def _of_mig() -> Numbers:
    rng = np.random.default_rng(0)
    factors = rng.integers(4, size=(3000, 3))
    noisy = factors + 0.3 * rng.standard_normal(factors.shape)
    nothing = rng.standard_normal(factors.shape)
    mig, told = disentanglement.mig, np.arange(1.0, 301.0).reshape(100, 3)
    read = disentanglement._checked(told, np.arange(100)[:, None] % 2)[0]  # as any score reads it
    return {
        "MIG, each latent is a factor": float(mig(factors, factors)),
        "MIG, ... with noise": float(mig(noisy, factors)),
        "MIG, latents of noise alone": float(mig(nothing, factors)),
        "what the first latent knows of its factor": float(
            mig(factors, factors).mutual_information[0, 0]
        ),
        **{
            f"(1, 2, 3), (4, 5, 6), ...: image 1, latent {i + 1}": float(read[0, i])
            for i in range(3)
        },
    }


def _of_batches() -> Numbers:
    model, x = _linear()[0], _digits()[1][:100]
    x = np.concatenate([x, 0.6 * x[:1] + 0.4 * (1 - x[:1])])  # the last one is pale: hard
    numbers = {}
    for size in (101, 100, 50):
        vae = model.to_vae(seed=0)
        vae.compile(run_eagerly=True)
        report = vae.evaluate(x, batch_size=size, return_dict=True, verbose=0)
        numbers[f"evaluate, batch_size={size}: ELBO"] = report["elbo"]
    by_image = np.asarray(model.to_vae().elbo(x, 100, seed=0).elbo)
    return {
        **numbers,
        "vae.elbo: mean over 101 images": float(by_image.mean()),
        "vae.elbo: the last image": float(by_image[-1]),
    }


def _of_splits() -> Numbers:
    digits = data.load("digits")
    train, test = (x.reshape(len(x), -1) for x in (digits.x_train[-300:], digits.x_test))
    numbers = {}
    for latents in (2, 10, 30):
        model = linear.LinearGaussian.fit(train, latents)
        for name, x in (("training", train), ("test", test)):
            numbers[f"{latents} latents: log p(x), {name}"] = float(model.log_evidence(x).mean())
    return numbers


def _of_beta() -> Numbers:
    vae, x = trained(), _digits()[3]
    one_pass = vae(x, num_samples=20, seed=0)
    numbers = {
        f"objective, beta = {beta:g}": float(np.mean(objectives.BetaELBO(beta)(one_pass)))
        for beta in (0.0, 1.0, 4.0, 16.0)
    }
    terms = elbo.reconstruction_kl(one_pass)
    return {
        **numbers,
        "reconstruction": float(np.mean(terms.reconstruction)),
        "KL": float(np.mean(terms.kl)),
    }


# -- the cases -------------------------------------------------------------------------------------

_HALF_LOG_2_PI = 0.5 * math.log(2 * math.pi)
_UNITS = "Test_01_units_nats_per_example_sum_over_event_mean_over_batch"
_LOSS = "Test_07_no_loss_hides_in_a_layer"
_SIGNS = "Test_02_signs_kl_not_negative_elbo_maximised_loss_minus_mean_objective"

CASES = {
    "A": Case(
        5,
        _replaced(
            distributions.Normal,
            "_log_prob",
            lambda log_prob: lambda self, x: log_prob(self, x) + _HALF_LOG_2_PI,
        ),
        _of_linear_model,
        "clementchadebec/benchmark_VAE (Pythae 0.1.2): the training loss",
        f"test_contract.py::{_UNITS}::test_a_normal_likelihood_keeps_its_constants",
    ),
    "B": Case(
        15,
        _replaced(
            distributions.Normal,
            "_sample_n",
            lambda sample: (
                lambda self, n, seed=None: self.loc + 0.01 * (sample(self, n, seed) - self.loc)
            ),
        ),
        _of_linear_model,
        "keras-team/keras, pull requests 3838 and 4211: epsilon_std = 0.01",
        "layers/test_families.py::TestFasterFamilies::test_normal",
    ),
    "C": Case(
        2,
        _replaced(elbo, "forward", _decoded_mean),
        _of_linear_model,
        "pytorch/examples, pull request 419",
        "test_linear.py::TestClosedForms::test_elbo_is_what_sampling_estimates",
    ),
    "D": Case(
        8,
        _replaced(
            distributions.Bernoulli,
            "_log_prob",
            lambda _: (
                lambda self, x: (
                    tf.cast(x, self.logits.dtype) * self.logits
                    - tf.math.softplus(tf.cast(x, self.logits.dtype))
                )
            ),
        ),
        _of_a_pixel,
        "autonomousvision/sledge, issue 4",
        "layers/test_families.py::TestFasterFamilies::test_bernoulli[float32]",
    ),
    "E": Case(
        19,
        _replaced(objectives.IWAE, "__call__", _own_weights),
        _of_objective_by_samples,
        "xqding/Importance_Weighted_Autoencoders, model/vae_models.py (03b916e), issue 3",
        "objectives/test_objectives.py::TestIWAE::test_the_logarithm_is_taken_for_each_example",
    ),
    "F": Case(
        1,
        _both(
            _replaced(
                elbo,
                "log_likelihood",
                lambda log_p: (
                    lambda one_pass, **how: (
                        log_p(one_pass, **how) / math.prod(one_pass.p_x.event_shape)
                    )
                ),
            ),
            _other_kl(lambda kl, q_z, p_z, z: kl(q_z, p_z, z) / q_z.event_shape[-1]),
        ),
        _of_training("F"),
        "keras-team/keras, the guide to layers and models by subclassing (3422977)",
        f"test_contract.py::{_UNITS}::test_reconstruction_is_the_sum_of_all_log_probabilities",
    ),
    "G": Case(
        9,
        _other_kl(
            lambda kl, q_z, p_z, z: tf.reduce_sum(kl(q_z, p_z, z)) + tf.zeros_like(kl(q_z, p_z, z))
        ),
        _of_training("G"),
        "tensorflow/probability 0.25: KLDivergenceAddLoss, which issue 1215 recommends",
        f"test_contract.py::{_UNITS}::"
        "test_evaluate_does_not_depend_on_batch_size_or_a_short_last_batch",
    ),
    "H": Case(
        21,
        _replaced(objectives.ELBO, "__call__", _mean_with_small_weight),
        _of_training("H"),
        "MIT 6.S191, lab 2 (2026)",
        f"test_contract.py::{_LOSS}::test_the_weight_of_the_kl_is_exactly_one",
    ),
    "I": Case(
        13,
        _replaced(
            objectives.ELBO,
            "__call__",
            lambda _: lambda _self, one_pass, _terms=None: elbo.reconstruction(one_pass),
        ),
        _of_training("I"),
        "facebookresearch/irmae, issue 1",
        "test_model.py::TestObjectives::test_beta_one_is_the_elbo",
    ),
    "J": Case(
        4,
        _other_kl(lambda kl, q_z, p_z, z: 2 * kl(q_z, p_z, z)),
        _of_kl,
        "tensorflow/probability, issue 1215: KLDivergenceRegularizer",
        f"test_contract.py::{_UNITS}::test_kl_is_the_sum_over_latents",
    ),
    "K": Case(
        16,
        _other_kl(_half_lost),
        _of_kl,
        "probml/pyprobml, book2/21/lvae.ipynb",
        f"test_contract.py::{_SIGNS}::test_kl_is_never_negative",
    ),
    "L": Case(
        12,
        _replaced(priors.StandardNormal, "distribution", _wide_normal),
        _of_kl,
        "probml/pyprobml, book2/21/lvae.ipynb",
        "test_priors.py::TestMixtureOfNormals::test_one_component_can_be_the_standard_normal",
    ),
    "M": Case(
        18,
        _other_kl(lambda kl, q_z, p_z, _: kl(p_z, q_z)),
        _of_kl,
        "kumar-shridhar/PyTorch-BayesianCNN, issue 28",
        "evidence/test_evidence.py::TestElbo::test_three_forms_agree",
    ),
    "N": Case(
        20,
        _replaced(disentanglement, "_checked", _viewed),
        _of_mig,
        "YannDubs/disentangling-vae, issue 64",
        "test_disentanglement.py::TestPerfectCodes::test_score_one[mig]",
    ),
    "O": Case(
        10,
        _replaced(importance, "WeightSums", _worst_weighs_most),
        _of_bound_by_samples,
        "AntixK/PyTorch-VAE, models/iwae.py (a6896b9)",
        "evidence/test_evidence.py::TestIwae::test_the_divisor_is_what_was_drawn",
    ),
    "P": Case(
        3,
        _replaced(objectives.IWAE, "__call__", _once_for_the_batch),
        _of_objective_by_batches,
        "pyro-ppl/pyro, issue 3104: RenyiELBO",
        "objectives/test_objectives.py::TestIWAE::test_without_noise_where_q_is_the_posterior[7]",
    ),
    "Q": Case(
        14,
        _replaced(VAE, "compute_loss", _mean_of_batch_means),
        _of_batches,
        "scverse/scvi-tools (93dc4fa): get_marginal_ll(return_mean=True)",
        f"test_contract.py::{_UNITS}::"
        "test_evaluate_does_not_depend_on_batch_size_or_a_short_last_batch",
    ),
    "R": Case(
        7,
        _replaced(data, "load", _joined),
        _of_splits,
        "keras-team/keras-io, examples/generative/vae.py (cca4efb)",
        "test_data.py::TestLoad::test_splits_are_disjoint_and_complete[digits]",
    ),
    "S": Case(
        17,
        _replaced(
            objectives.BetaELBO,
            "__call__",
            lambda _: (
                lambda _self, one_pass, terms=None: (terms or elbo.reconstruction_kl(one_pass)).elbo
            ),
        ),
        _of_beta,
        "Lightning-Universe/lightning-bolts, issue 328",
        "test_model.py::TestObjectives::test_beta_weighs_the_kl_alone",
    ),
}
