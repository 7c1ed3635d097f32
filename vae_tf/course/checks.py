"""Checks of exercises: "not attempted", "wrong, because ...", or "ok".

A check compares an answer with the truth and, where it differs, with the numbers that the usual
mistakes lead to, so that it can say what went wrong.
"""

from typing import NamedTuple

import numpy as np

__all__ = ["Verdict", "check"]


class Verdict(NamedTuple):
    """What a check found. Printing it gives the sentence; `bool(verdict)` is True for ok."""

    status: str  # "not attempted", "wrong" or "ok"
    reason: str = ""

    def __repr__(self):
        return f"{self.status}, because {self.reason}" if self.reason else self.status

    __str__ = __repr__

    def __bool__(self):
        return self.status == "ok"


def check(answer, truth, *, atol, mistakes=None):
    """Compares the answer to an exercise with the truth.

    Args:
        answer: a number, an array or a tensor; `...` or None while it is not attempted.
        truth: what it should be, of the same shape.
        atol: the largest difference that still counts as equal.
        mistakes: {what was done: the answer that it gives}, such as
            {"you averaged over the latents where the KL is a sum": truth / 2}.

    Returns:
        A `Verdict`.

    Example:

    >>> check(..., 1.0, atol=1e-6)
    not attempted
    >>> check(0.5, 1.0, atol=1e-6, mistakes={"you averaged over two latents": 0.5})
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
    if _close(answer, truth, atol):
        return Verdict("ok")
    for reason, value in (mistakes or {}).items():
        if _close(answer, np.asarray(value, "float64"), atol):
            return Verdict("wrong", reason)
    return Verdict("wrong", f"it is off by {np.abs(answer - truth).max():.3g}")


def _close(answer, value, atol):
    return answer.shape == value.shape and bool(np.all(np.abs(answer - value) <= atol))
