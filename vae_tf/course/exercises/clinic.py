"""Exercises of notebook 10: diagnoses, and tests that kill a bug."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp

from vae_tf.course.checks import Function, Verdict
from vae_tf.course.clinic import CASES, CAUSES

__all__ = ["EXERCISES"]


# -- diagnoses ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Diagnosis(Function):
    """An exercise whose answer is a dictionary, {case: number of its cause}."""

    names: str = ""

    def check(self, answer):
        """Names the first case whose cause is wrong."""
        if answer is None or answer is Ellipsis:
            return Verdict("not attempted")
        if not isinstance(answer, Mapping) and not callable(answer):
            return Verdict("wrong", "it is no dictionary: hand over {case: number, ...}")
        look_up = answer.get if isinstance(answer, Mapping) else answer
        given = {name: look_up(name) for name in self.names}
        if all(cause in (None, Ellipsis) for cause in given.values()):
            return Verdict("not attempted")
        wrong = [name for name, cause in given.items() if cause != self.truth(name)]
        if not wrong:
            return Verdict("ok")
        for sentence, mistaken in self.mistakes.items():
            if mistaken(wrong[0]) == given[wrong[0]]:
                return Verdict("wrong", sentence)
        right = len(given) - len(wrong)
        if given[wrong[0]] not in CAUSES:
            asked = f"case {wrong[0]} asks for a number from 1 to {len(CAUSES)}"
            return Verdict("wrong", f"{asked}; {right} of {len(given)} are right")
        told = f"case {wrong[0]} has another cause; {right} of {len(given)} are right"
        return Verdict("wrong", told)


def _diagnosis(names, hints):
    """`hints` is {(case, wrong cause): what speaks against it}."""

    def truth(name):
        return CASES[name].cause

    def with_one_wrong(case, cause):
        return lambda name: cause if name == case else CASES[name].cause

    mistakes = {
        f"you gave case {case} cause {cause}: {against}": with_one_wrong(case, cause)
        for (case, cause), against in hints.items()
    }
    return Diagnosis(truth, lambda: [(name,) for name in names], mistakes, names=names)


# -- 10.2: a bound is a bound ---------------------------------------------------------------------


def _is_bound(estimates, log_p):
    above = (estimates - log_p).mean(axis=1)
    return above.mean() <= 4 * above.std(ddof=1) / np.sqrt(len(above))


def _cases_of_bounds():
    rng = np.random.default_rng(102)
    cases = []
    # (how far above on average, noise of an estimate, noise of all images together)
    for above, noise, shared, runs, batch in (
        (-0.3, 0.1, 0.0, 20, 7),
        (0.2, 0.1, 0.0, 30, 5),
        (-0.05, 2.0, 0.0, 400, 6),  # single estimates lie above
        (0.5, 2.0, 0.0, 400, 8),  # within the spread of one run, far outside of the error
        (0.15, 0.5, 0.0, 25, 4),  # above, by three standard errors
        (-1.0, 2.0, 0.0, 20, 400),  # single estimates lie above, and no mean of a run
        (0.3, 0.02, 1.0, 16, 300),  # one draw for all images: B R estimates, R of them independent
    ):
        log_p = rng.normal(-80, 10, size=batch)
        draws = rng.normal(size=(runs, batch))
        draws -= draws.mean()
        common = rng.normal(size=(runs, 1))
        common -= common.mean()
        cases.append((log_p + above + noise * draws + shared * common, log_p))
    return cases


def _no_bound_mistakes():
    def mean(estimates, log_p):
        return (estimates - log_p).mean(axis=1)

    def spread(estimates, log_p):
        return mean(estimates, log_p).mean() <= 4 * mean(estimates, log_p).std(ddof=1)

    def all_independent(estimates, log_p):
        off = estimates - log_p
        return off.mean() <= 4 * off.std(ddof=1) / np.sqrt(off.size)

    return {
        "you asked that no single estimate lies above: estimates have noise, and may": (
            lambda estimates, log_p: (estimates <= log_p).all()
        ),
        "you compared the means without an error: a bound may lie above by chance": (
            lambda estimates, log_p: mean(estimates, log_p).mean() <= 0
        ),
        "you took the spread of one run for the error of the mean: divide it by the root of R": (
            spread
        ),
        "you counted all R times B estimates as independent: the images of a run may share their "
        "noise, so average over them first": all_independent,
        "you allowed two standard errors: four are asked for": (
            lambda estimates, log_p: (
                mean(estimates, log_p).mean()
                <= 2 * mean(estimates, log_p).std(ddof=1) / np.sqrt(len(estimates))
            )
        ),
        "you turned the inequality round": (
            lambda estimates, log_p: not _is_bound(estimates, log_p)
        ),
        "you asked that each run lies below": (
            lambda estimates, log_p: (mean(estimates, log_p) <= 0).all()
        ),
    }


# -- 10.4: the beta of a loss ---------------------------------------------------------------------


def _beta(weight, pixels, latents, mean_over_pixels, mean_over_latents, squared):
    beta = weight * (pixels if mean_over_pixels else 1) / (latents if mean_over_latents else 1)
    return beta / 2 if squared else beta


def _beta_cases():
    return [
        (1.0, 784, 32, True, True, True),
        (0.0005, 12288, 64, True, False, False),
        (0.5, 2000, 60, True, True, True),
        (4.0, 100, 10, False, False, False),
        (1.0, 64, 2, False, True, False),
        (0.25, 300, 7, True, False, True),
        (2.0, 50, 5, False, False, True),
    ]


# -- 10.6: a test of a KL -------------------------------------------------------------------------


def _kl(loc, scale):
    return 0.5 * (loc**2 + scale**2 - 1 - 2 * np.log(scale)).sum(axis=-1)


def _kl_test(kl):
    loc = np.array([[0.0, 1.0, -2.0], [0.5, 0.0, 3.0]])
    scale = np.array([[1.0, 0.5, 2.0], [0.1, 1.3, 4.0]])
    return bool(np.allclose(kl(loc, scale), _kl(loc, scale), rtol=1e-4))


def _kl_mutants():
    def terms(loc, scale):
        return 0.5 * (loc**2 + scale**2 - 1) - np.log(scale)

    return {
        "counted twice": lambda m, s: 2 * _kl(m, s),
        "with the wrong sign": lambda m, s: -_kl(m, s),
        "averaged over the latents": lambda m, s: terms(m, s).mean(axis=-1),
        "summed over the examples": lambda m, s: _kl(m, s).sum() + np.zeros(len(m)),
        "averaged over the examples": lambda m, s: _kl(m, s).mean() + np.zeros(len(m)),
        "whose logarithm lost its factor 1/2": lambda m, s: (terms(m, s) - np.log(s)).sum(axis=-1),
        "that is taken the other way round": (
            lambda m, s: (0.5 * (1 + m**2) / s**2 - 0.5 + np.log(s)).sum(axis=-1)
        ),
        "that takes the scale for a variance": lambda m, s: _kl(m, np.sqrt(s)),
        "that takes the scale for the logarithm of a variance": lambda m, s: _kl(m, np.exp(s / 2)),
        "without the means": lambda m, s: _kl(0 * m, s),
        "without the scales": lambda m, s: _kl(m, np.ones_like(s)),
        "of the first latent alone": lambda m, s: terms(m, s)[..., 0],
        "against a prior of scale 2": lambda m, s: _kl(m / 2, s / 2),
    }


# -- 10.8: a test of a K-sample bound -------------------------------------------------------------


def _bound(log_w):
    return logsumexp(log_w, axis=0) - np.log(len(log_w))


def _bound_test(bound):
    log_w = np.array([[-3.0, -1000.0], [-1.0, -1002.0], [-2.5, -1001.0]])
    return bool(np.allclose(bound(log_w), _bound(log_w), rtol=1e-6))


def _bound_mutants():
    def softmax(log_w):
        w = np.exp(log_w - log_w.max(axis=0))
        return w / w.sum(axis=0)

    def naive(log_w):
        with np.errstate(all="ignore"):
            return np.log(np.exp(log_w).mean(axis=0))

    return {
        "that averages the logarithms: that is the ELBO": lambda log_w: log_w.mean(axis=0),
        "that forgets to divide by K": lambda log_w: logsumexp(log_w, axis=0),
        "that divides by K - 1": (
            lambda log_w: logsumexp(log_w, axis=0) - np.log(max(len(log_w) - 1, 1))
        ),
        "that takes the largest weight": lambda log_w: log_w.max(axis=0),
        "that averages log weights by their own normalised weights": (
            lambda log_w: (softmax(log_w) * log_w).sum(axis=0)
        ),
        "in which the worst sample weighs most": (
            lambda log_w: (softmax(-log_w) * log_w).sum(axis=0)
        ),
        "that takes one logarithm for the whole batch": (
            lambda log_w: _bound(log_w.sum(axis=1)) / log_w.shape[1] + np.zeros(log_w.shape[1])
        ),
        "that averages over the batch": (
            lambda log_w: _bound(log_w).mean() + np.zeros(log_w.shape[1])
        ),
        "that underflows for log weights near -1000": naive,
    }


# -- 10.9: a test of a mean over batches ----------------------------------------------------------


def _report(values, batch_size):
    del batch_size
    return float(np.mean(values))


def _batches(values, size):
    return [values[start : start + size] for start in range(0, len(values), size)]


def _report_by_sums(values, batch_size):
    parts = _batches(np.asarray(values), batch_size)
    return sum(part.sum() for part in parts) / sum(map(len, parts))


def _report_test(report):
    values = np.array([1.0, -2.0, 4.0, 10.0, -50.0])
    return bool(np.allclose([report(values, size) for size in (1, 2, 3, 5)], values.mean()))


def _report_mutants():
    def whole(values, size):
        return [part for part in _batches(values, size) if len(part) == size]

    return {
        "that averages the means of the batches": (
            lambda values, size: np.mean([np.mean(part) for part in _batches(values, size)])
        ),
        "of the last batch alone": lambda values, size: np.mean(_batches(values, size)[-1]),
        "of the first batch alone": lambda values, size: np.mean(values[:size]),
        "that leaves a short last batch out": (
            lambda values, size: np.mean(np.concatenate(whole(values, size) or [values]))
        ),
        "that divides by the number of batches": (
            lambda values, size: np.sum(values) / len(_batches(values, size))
        ),
        "that sums over the batch": (
            lambda values, size: np.mean([np.sum(part) for part in _batches(values, size)])
        ),
        "that divides by the size of a batch times their number": (
            lambda values, size: np.sum(values) / (size * len(_batches(values, size)))
        ),
    }


def _kills(mutants, what):
    """A property for each mutant: that the student's test fails it."""
    return {
        f"your test lets a {what} pass {mutant}": lambda test, bad=bad: not test(bad)
        for mutant, bad in mutants.items()
    }


EXERCISES = {
    "10.1": _diagnosis(
        "ABCDE",
        {
            ("A", 23): "too many constants would make the number too low",
            ("A", 15): "that changes the noise of z, and here it is as it should be",
            ("A", 2): "then z would have no spread about the mean, and it has",
            ("A", 6): "then the noise of z would have another spread",
            ("B", 2): "z has little spread about the mean here, but it has some",
            ("B", 5): "then the difference would be the same number per pixel in A and here",
            ("B", 6): "every latent would then have a noise of its own; here all are 100 times too "
            "small",
            ("B", 24): "shared noise still has the spread of q",
            ("C", 15): "the noise is not small here, there is none",
            ("C", 24): "shared noise still has the spread of q",
            ("C", 13): "the KL is what it should be",
            ("D", 11): "these pixels are 0 and 1",
            ("D", 5): "there is no Normal here",
            ("D", 16): "there is no KL in this table",
            ("D", 4): "there is no KL in this table",
            ("E", 10): "then more samples would make it lower, and here they make it higher",
            ("E", 3): "then it would be lower than the K-sample bound, and it is higher",
            ("E", 5): "then K = 1 would be off as well",
        },
    ),
    "10.2": Function(
        truth=_is_bound,
        cases=_cases_of_bounds,
        mistakes=_no_bound_mistakes(),
    ),
    "10.3": _diagnosis(
        "FGHI",
        {
            (
                "F",
                21,
            ): "the KL of healthy weights is wrong as well: it is half of what it should be",
            ("F", 9): "then more images would have a larger KL",
            ("F", 13): "without a KL in the loss the KL grows; here it is zero",
            ("F", 4): "that is no factor of 64 in the reconstruction",
            ("G", 4): "the factor is not two: compare 10 images with 100",
            ("G", 1): "the reconstruction that is reported is a sum over pixels",
            ("G", 21): "both terms are reported as sums, and the loss is their difference",
            ("G", 22): "then no number would depend on how many images are handed over",
            ("H", 1): "both terms that are reported agree with those by hand; it is the loss that "
            "does not",
            ("H", 13): "without a KL in the loss the KL grows; here it is zero",
            ("H", 9): "the KL of 10 images and of 100 images agree",
            ("H", 17): "no beta was set here: it should be 1",
            ("I", 17): "no beta was set here: it should be 1, and it acts like 0",
            ("I", 4): "a KL counted twice would be smaller after training",
            ("I", 21): "then the loss would be a small number",
        },
    ),
    "10.4": Function(
        truth=_beta,
        cases=_beta_cases,
        mistakes={
            "you turned the pixels round: a mean over them makes the KL heavier": (
                lambda w, d, k, a, b, s: _beta(w, 1 / d, k, a, b, s)
            ),
            "you turned the latents round: a mean over them makes the KL lighter": (
                lambda w, d, k, a, b, s: _beta(w, d, 1 / k, a, b, s)
            ),
            "you turned both round: that is one over the ratio of the means": (
                lambda w, d, k, a, b, s: _beta(w, 1 / d, 1 / k, a, b, s)
            ),
            "you left out the 1/2 of the Normal: -log p is half of the squared error": (
                lambda w, d, k, a, b, _: _beta(w, d, k, a, b, False)
            ),
            "you doubled for the squared error: -log p is half of it, so the error weighs twice": (
                lambda w, d, k, a, b, s: _beta(w, d, k, a, b, False) * (2 if s else 1)
            ),
            "you halved everywhere: only a squared error has the 1/2": (
                lambda w, d, k, a, b, _: _beta(w, d, k, a, b, True)
            ),
            "you forgot that the reconstruction may be a mean over pixels": (
                lambda w, _, k, __, b, s: _beta(w, 1, k, False, b, s)
            ),
            "you forgot that the KL may be a mean over latents": (
                lambda w, d, _, a, __, s: _beta(w, d, 1, a, False, s)
            ),
            "you divided by both sizes everywhere, sums included": (
                lambda w, d, k, _, __, s: _beta(w, d, k, True, True, s)
            ),
            "you divided by both sizes everywhere, and left out the 1/2 of the Normal": (
                lambda w, d, k, _, __, ___: _beta(w, d, k, True, True, False)
            ),
            "you turned both round, and left out the 1/2 of the Normal": (
                lambda w, d, k, a, b, _: _beta(w, 1 / d, 1 / k, a, b, False)
            ),
            "you returned the weight as it is written: that is beta only for two sums": (
                lambda w, *_: w
            ),
        },
    ),
    "10.5": _diagnosis(
        "JKLMNO",
        {
            ("J", 16): "then N(2, 1) would be right, for its logarithm is zero",
            ("J", 9): "there is one example in this table",
            ("J", 18): "then N(2, 1) would be right, for it is as far one way as the other",
            ("J", 12): "then N(0, 1) would not have zero",
            ("K", 18): "no KL is negative, whichever way round",
            ("K", 4): "the factor is not two everywhere: see N(2, 1)",
            ("K", 12): "then N(0, 1) would not have zero, and the draws another spread",
            ("K", 6): "then a scale of 2 would be taken for 4, and no KL would be negative",
            ("L", 6): "the scale of q = N(2, 1) is 1 whatever it is taken for",
            ("L", 16): "the draws of the prior have another spread",
            ("L", 18): "then q = N(0, 1) would have zero",
            ("M", 16): "then N(0, 1.3) would be negative",
            ("M", 6): "try it: a scale of 0.5 taken for a variance gives 0.10",
            ("M", 12): "then N(0, 1) would not have zero",
            ("N", 7): "there is no training here",
            ("N", 24): "there is no model here: the codes are the factors",
            ("O", 19): "then more samples would make it higher",
            ("O", 3): "then it would stay above the ELBO, which is K = 1",
            ("O", 2): "without noise more samples would change nothing",
        },
    ),
    "10.6": Function(
        truth=_kl_test,
        cases=lambda: [(_kl,), (lambda m, s: np.float32(_kl(m, s)),)],
        mistakes={
            "you fail a KL that is right: your test must pass it": lambda _: False,
            "you ask for more digits than float32 has": lambda kl: (
                kl(np.ones((1, 1)), np.ones((1, 1))).dtype == np.float64
            ),
        },
        properties=_kills(_kl_mutants(), "KL"),
    ),
    "10.7": _diagnosis(
        "PQRS",
        {
            ("P", 14): "all batches here are of equal size",
            ("P", 19): "then it would lie above the K-sample bound",
            ("P", 22): "then batches of 64 would be right, for there is one only",
            ("P", 10): "then batches of any size would give the same",
            ("P", 9): "there is no KL in this objective, only log weights",
            ("Q", 22): "then batch_size=100 would give the ELBO of the last image alone",
            ("Q", 9): "no KL that is summed over a batch makes one image weigh more",
            ("Q", 3): "batch_size=101 is right, and so is every image by itself",
            ("R", 14): "no batch is involved: log p(x) is a closed form",
            ("R", 5): "constants would be missing in both sets alike",
            ("R", 22): "no batch is involved: log p(x) is a closed form",
            ("S", 13): "the objective is reconstruction minus KL, so the KL is there",
            ("S", 4): "the objective at beta = 1 is right",
            ("S", 21): "the objective at beta = 1 is right",
        },
    ),
    "10.8": Function(
        truth=_bound_test,
        cases=lambda: [(_bound,), (lambda log_w: _bound(log_w) + 1e-9,)],
        mistakes={
            "you fail a bound that is right: your test must pass it": lambda _: False,
            "you ask for equality to the last digit: allow for rounding": lambda bound: bool(
                bound(np.zeros((2, 1)))[0] == 0
            ),
        },
        properties=_kills(_bound_mutants(), "bound"),
    ),
    "10.9": Function(
        truth=_report_test,
        cases=lambda: [(_report,), (_report_by_sums,), (lambda v, n: _report(v, n) + 1e-9,)],
        mistakes={
            "you fail a report that is right: your test must pass it": lambda _: False,
            "you ask for equality to the last digit: allow for rounding": lambda report: bool(
                report(np.arange(3.0), 2) == 1
            ),
        },
        properties=_kills(_report_mutants(), "report"),
    ),
}
