"""Checks of exercises: "not attempted", "wrong, because ...", or "ok".

A check compares an answer with the truth and, where it differs, with what the usual mistakes lead
to, so that it can say what went wrong. An answer is a number or an array (`Value`), or a function
that the student has written, run on inputs that the student does not see (`Function`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

__all__ = ["Function", "Value", "Verdict", "check"]


class Verdict(NamedTuple):
    """What a check found. Printing it gives the sentence; `bool(verdict)` is True for ok."""

    status: str  # "not attempted", "wrong" or "ok"
    reason: str = ""

    def __repr__(self) -> str:
        return f"{self.status}, because {self.reason}" if self.reason else self.status

    def __bool__(self) -> bool:
        return self.status == "ok"


@dataclass(frozen=True)
class Value:
    """An exercise whose answer is a number or an array.

    Args:
        truth: what the answer should be. An answer that is rounded to three digits is right.
        mistakes: {"you ...": the answer that it gives}. A wrong sign, bits in place of nats and a
            factor of two are recognised without being listed.
        atol: the largest difference that still counts as equal, in place of the three digits.

    Example:

    >>> vt.checks.Value(1.0, {"you averaged over two latents": 0.25}).check(0.25)
    wrong, because you averaged over two latents
    """

    truth: Any
    mistakes: Mapping[str, Any] = field(default_factory=dict)
    atol: float | None = None

    def check(self, answer: Any) -> Verdict:
        """What the answer deserves; `...` and None are not attempted."""
        if answer is None or answer is Ellipsis:
            return Verdict("not attempted")
        if callable(answer):
            return Verdict("wrong", "it is a function: hand over what it returns")
        truth = np.asarray(self.truth, "float64")
        near = _three_digits(truth) if self.atol is None else np.full(truth.shape, self.atol)
        usual = {reason: [value] for reason, value in self.mistakes.items()}
        return _verdict([answer], [truth], usual, [near])


@dataclass(frozen=True)
class Function:
    """An exercise whose answer is a function.

    Args:
        truth: a function that is right; None where the properties say all.
        cases: returns the inputs, a tuple of positional arguments each. They are made when the
            exercise is checked, so that nothing is imported or drawn before.
        mistakes: {"you ...": a function that makes this mistake}, recognised where it agrees with
            the student's in every case.
        properties: {what should hold, as the student is told: function of the student's function}.
        rtol: of the largest number in a result.
        atol: added to it. The two are wide enough for float32.

    Example:

    >>> doubled = {"you doubled it": lambda x: 2 * x}
    >>> square = vt.checks.Function(lambda x: x**2, lambda: [(3.0,)], doubled)
    >>> square.check(lambda x: x + x)
    wrong, because you doubled it
    """

    truth: Callable | None
    cases: Callable[[], Sequence[tuple]] = tuple
    mistakes: Mapping[str, Callable] = field(default_factory=dict)
    properties: Mapping[str, Callable[[Callable], Any]] = field(default_factory=dict)
    rtol: float = 1e-4
    atol: float = 1e-5

    def check(self, answer: Any) -> Verdict:
        """What the function deserves; one that returns None everywhere is not attempted."""
        if answer is None or answer is Ellipsis:
            return Verdict("not attempted")
        if not callable(answer):
            return Verdict("wrong", "it is no function: hand over its name, without brackets")
        try:
            with np.errstate(all="ignore"):  # the verdict says it, where an overflow matters
                for compared in (self._compared, self._kept):
                    verdict = compared(answer)
                    if not verdict:
                        return verdict
        except Exception as error:  # whatever a student's code may raise
            said = str(error).strip().partition("\n")[0][:200]
            return Verdict("wrong", f"it raised {type(error).__name__} on a hidden input: {said}")
        return Verdict("ok")

    def _compared(self, answer):
        """The verdict on its results."""
        if self.truth is None:
            return Verdict("ok")
        cases = list(self.cases())
        right = [self.truth(*case) for case in cases]
        truths, parts = _flat(right)
        # On inputs of its own, which it may change.
        given = zip(self.cases(), right, strict=True)
        results = [_as_tuple(answer(*case), one) for case, one in given]
        if all(result is None or result is Ellipsis for result in results):
            return Verdict("not attempted", "it returns None: does it end in `return`?")
        found, own_parts = _flat(results)
        if own_parts != parts:
            wanted, received = max(parts), max(own_parts)
            return Verdict("wrong", f"it returns {received} things and not {wanted}")
        usual = {
            reason: _flat([mistaken(*case) for case in cases])[0]
            for reason, mistaken in self.mistakes.items()
        }
        truths = [np.asarray(truth, "float64") for truth in truths]
        near = [np.full(t.shape, self.atol + self.rtol * _largest(t)) for t in truths]
        return _verdict(found, truths, usual, near)

    def _kept(self, answer):
        """The verdict on its properties: the first that does not hold."""
        for sentence, holds in self.properties.items():
            found = holds(answer)
            if not (found is not None and bool(np.all(found))):
                return Verdict("wrong", sentence)
        return Verdict("ok")


def check(
    answer: Any, truth: Any, *, atol: float, mistakes: Mapping[str, Any] | None = None
) -> Verdict:
    """Compares the answer to an exercise with a truth that the caller has.

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
    return Value(truth, mistakes or {}, atol).check(answer)


# What is tried where no listed mistake fits: reason, and what it makes of the truth.
_USUAL: dict[str, Callable] = {
    "its sign is wrong": np.negative,
    "it is in bits where nats are asked: a logarithm to base 2": lambda t: t / np.log(2),
    "it is twice too large: is a factor 1/2 missing?": lambda t: 2 * t,
    "it is half of what it should be: is a factor 1/2 too many?": lambda t: t / 2,
}


def _verdict(answers, truths, mistakes, near):
    """The verdict on numbers or arrays that belong together; every list has one entry for each."""
    try:
        answers = [np.asarray(answer, "float64") for answer in answers]
    except (TypeError, ValueError):
        kinds = {type(answer).__name__ for answer in answers}
        return Verdict("wrong", f"it is no number or array but {', '.join(sorted(kinds))}")
    answers = [_as_one(a, t) for a, t in zip(answers, truths, strict=True)]
    if _same(answers, truths, near):
        return Verdict("ok")
    for reason, values in mistakes.items():
        if _same(answers, [np.asarray(value, "float64") for value in values], near):
            return Verdict("wrong", reason)
    for answer, truth in zip(answers, truths, strict=True):
        if answer.shape != truth.shape:
            return Verdict(
                "wrong", f"its shape is {list(answer.shape)} and not {list(truth.shape)}"
            )
    close = [np.minimum(n, _three_digits(truth)) for n, truth in zip(near, truths, strict=True)]
    for reason, change in _USUAL.items():
        if _same(answers, [change(truth) for truth in truths], close):
            return Verdict("wrong", reason)
    each = [_equal(*three).all() for three in zip(answers, truths, near, strict=True)]
    first = each.index(False)
    some = f"right in {sum(each)} of {len(each)} cases; in another " if any(each) else ""
    return Verdict(
        "wrong", f"it is {some}{_difference(answers[first], truths[first], near[first])}"
    )


def _as_tuple(result, truth):
    """A list, or an array, of as many parts as are asked for is as good as a tuple of them."""
    has_length = getattr(result, "shape", True) and hasattr(result, "__len__")
    if not isinstance(truth, tuple) or not has_length or len(result) != len(truth):
        return result
    return tuple(result)


def _as_one(answer, truth):
    """One number of shape [1] is one number."""
    return answer.reshape(truth.shape) if answer.size == truth.size == 1 else answer


def _same(answers, values, near):
    """Whether all agree: shapes, and numbers."""
    return len(answers) == len(values) and all(
        a.shape == v.shape
        and (a.shape != n.shape or _equal(a, v, n).all())
        and (a.shape == n.shape or np.allclose(a, v, rtol=1e-4, equal_nan=True))
        for a, v, n in zip(answers, values, near, strict=True)
    )


def _equal(answer, value, near):
    """Entry by entry; an infinity, or NaN, equals only itself."""
    with np.errstate(invalid="ignore"):
        equal = (np.abs(answer - value) <= near) | (answer == value)
    return equal | (np.isnan(answer) & np.isnan(value))


def _difference(answer, truth, near):
    """What is wrong with an answer of the right shape, in words."""
    wrong = ~_equal(answer, truth, near)
    for name, found in (("NaN", np.isnan(answer)), ("infinite", np.isinf(answer))):
        count = int((found & wrong).sum())
        if count:
            return name if answer.ndim == 0 else f"{name} in {count} of {answer.size} entries"
    if not np.isfinite(truth[wrong]).all():
        return "finite where the truth is not"
    return f"off by {np.abs(answer[wrong] - truth[wrong]).max():.3g}"


def _three_digits(truth):
    """Half a unit of the third digit of each entry; of the largest one, for a zero."""
    size = np.where(np.isfinite(truth) & (truth != 0), np.abs(truth), _largest(truth) or 1.0)
    return 0.5001 * 10.0 ** (np.floor(np.log10(size)) - 2)


def _largest(truth):
    return float(np.abs(truth[np.isfinite(truth)]).max(initial=0.0))


def _flat(results):
    """The results in one list, a tuple's parts one by one, and how many parts each had."""
    parts = [list(r) if isinstance(r, tuple) else [r] for r in results]
    return [one for several in parts for one in several], [len(several) for several in parts]
