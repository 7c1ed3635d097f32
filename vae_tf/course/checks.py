"""Checks of exercises: "not attempted", "wrong, because ...", or "ok".

A check compares an answer with the truth and, where it differs, with the numbers that the usual
mistakes lead to, so that it can say what went wrong.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

__all__ = ["Verdict", "check"]


class Verdict(NamedTuple):
    """What a check found. Printing it gives the sentence; `bool(verdict)` is True for ok."""

    status: str  # "not attempted", "wrong" or "ok"
    reason: str = ""

    def __repr__(self) -> str:
        return f"{self.status}, because {self.reason}" if self.reason else self.status

    def __bool__(self) -> bool:
        return self.status == "ok"


def check(
    answer: Any, truth: Any, *, atol: float, mistakes: Mapping[str, Any] | None = None
) -> Verdict:
    """Compares the answer to an exercise with the truth.

    Args:
        answer: a number, an array or a tensor; `...` or None while it is not attempted.
        truth: what it should be, of the same shape. Where it is infinite or NaN, the answer must
            be the same.
        atol: the largest difference that still counts as equal.
        mistakes: {what was done: the answer that it gives}, such as
            {"you averaged over the latents where the KL is a sum": truth / 2}.

    Returns:
        A `Verdict`.

    Example:

    >>> vt.checks.check(..., 1.0, atol=1e-6)
    not attempted
    >>> vt.checks.check(0.5, 1.0, atol=1e-6, mistakes={"you averaged over two latents": 0.5})
    wrong, because you averaged over two latents
    """
    if answer is None or answer is Ellipsis:
        return Verdict("not attempted")
    try:
        answer = np.asarray(answer, "float64")
    except (TypeError, ValueError):
        return Verdict("wrong", f"it is no number or array but {type(answer).__name__}")
    truth = np.asarray(truth, "float64")
    if answer.shape != truth.shape:
        return Verdict("wrong", f"its shape is {list(answer.shape)} and not {list(truth.shape)}")
    if _equal(answer, truth, atol).all():
        return Verdict("ok")
    for reason, value in (mistakes or {}).items():
        value = np.asarray(value, "float64")
        if answer.shape == value.shape and _equal(answer, value, atol).all():
            return Verdict("wrong", reason)
    return Verdict("wrong", _difference(answer, truth, atol))


def _equal(answer, value, atol):
    """Entry by entry; an infinity, or NaN, equals only itself."""
    near = np.isclose(answer, value, rtol=0, atol=atol, equal_nan=True)
    return near & (np.isfinite(answer) == np.isfinite(value))


def _difference(answer, truth, atol):
    """What is wrong with an answer of the right shape, in words."""
    wrong = ~_equal(answer, truth, atol)
    for name, found in (("NaN", np.isnan(answer)), ("infinite", np.isinf(answer))):
        count = int((found & wrong).sum())
        if count:
            return f"it is {name}" if answer.ndim == 0 else f"{count} of {answer.size} are {name}"
    if not np.isfinite(truth[wrong]).all():
        return "it is finite where the truth is not"
    return f"it is off by {np.abs(answer[wrong] - truth[wrong]).max():.3g}"
