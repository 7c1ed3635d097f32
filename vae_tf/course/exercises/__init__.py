"""The exercises of the lessons, by their numbers: truths, hidden inputs, usual mistakes.

They live here so that no page of the course shows an answer. A module belongs to a notebook.
"""

from __future__ import annotations

import importlib
from typing import Any

from vae_tf.course.checks import Function, Value, Verdict

__all__ = ["check", "exercise", "numbers"]

_MODULES = {
    "00": "notation",
    "01": "the_elbo",
    "02": "derivation",
    "02b": "reparameterization",
    "03": "the_gap",
    "04a": "generation",
    "04b": "memorization",
    "04c": "smoothness",
    "05": "balancing_act",
    "06": "summary",
    "07": "family",
    "08": "evidence",
    "09": "causes",
    "10": "clinic",
    "11": "many_latents",
}


def exercise(number: str) -> Value | Function:
    """The exercise of a number such as "02.3": the notebook, a point, its place on the page.

    Raises:
        ValueError: if there is none.
    """
    lesson = str(number).partition(".")[0]
    found = _of(lesson) if lesson in _MODULES else {}
    if number not in found:
        known = ", ".join(found or _MODULES)
        raise ValueError(
            f"Expected `number` to be that of an exercise, such as {known}. Received: {number!r}"
        )
    return found[number]


def numbers() -> list[str]:
    """The numbers of all exercises that are checked, in the order of the course."""
    return [number for lesson in _MODULES for number in _of(lesson)]


def _of(lesson):
    return importlib.import_module(f"{__name__}.{_MODULES[lesson]}").EXERCISES


def check(number: str, answer: Any) -> Verdict:
    """Checks the answer to an exercise of the course.

    Args:
        number: of the exercise, as its heading has it: "02.3".
        answer: a number, an array or a tensor, or the function that was asked for; `...` or None
            while it is not attempted.

    Returns:
        A `Verdict`: not attempted, ok, or wrong and why.

    Raises:
        ValueError: if there is no exercise of this number.

    Example:

    >>> vt.course.check("02.1", ...)
    not attempted
    """
    return exercise(number).check(answer)
