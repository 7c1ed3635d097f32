"""Checks of exercises: "not attempted", "wrong, because ...", or "ok".

A check compares an answer with the truth and, where it differs, with what the usual mistakes lead
to, so that it can say what went wrong. An answer is a number or an array (`Value`), or a function
that the student has written, run on inputs that the student does not see (`Function`).
"""

import inspect
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
        mistakes: {"you ...": the answer that it gives}. Some are recognised without being listed:
            a wrong sign, bits in place of nats, a factor of two, an exponential, a root, a square,
            one over the truth, and terms that were not added up.
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

        def everywhere(found):
            return _by_an_axis(found, [truth], [near]) or _rounded(found[0], truth)

        return _verdict([answer], [truth], usual, [near], everywhere, named=_nearest)


@dataclass(frozen=True)
class Function:
    """An exercise whose answer is a function.

    Args:
        truth: a function that is right; None where the properties say all.
        cases: returns the inputs, a tuple of positional arguments each. They are made when the
            exercise is checked, so that nothing is imported or drawn before.
        mistakes: {"you ...": a function that makes this mistake}, recognised where it agrees with
            the student's in every case. What a `Value` recognises is recognised without being
            listed, and an axis too few or too many, the wrong axis, a mean in place of a sum, and
            one number that is added, or multiplied by, everywhere. Give the cases unequal sizes.
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
            things = "thing" if received == 1 else "things"
            return Verdict("wrong", f"it returns {received} {things} and not {wanted}")
        usual = {
            reason: _flat([mistaken(*case) for case in cases])[0]
            for reason, mistaken in self.mistakes.items()
        }
        truths = [np.asarray(truth, "float64") for truth in truths]
        near = [np.full(t.shape, self.atol + self.rtol * _largest(t)) for t in truths]
        lengths = _lengths(answer, cases, parts)

        def everywhere(found):
            told = _repeated(found, truths, near, lengths) or self._turned(answer, truths, near)
            return told or _by_an_axis(found, truths, near) or _left_over(found, truths, lengths)

        return _verdict(found, truths, usual, near, everywhere, parts)

    def _turned(self, answer, truths, near):
        """Whether it is right once rows and columns of every input have changed places."""
        cases = list(self.cases())
        if any(getattr(given, "ndim", 0) != 2 for case in cases for given in case):
            return None
        cases = [tuple(np.transpose(given) for given in case) for case in cases]
        try:
            found = [np.asarray(one, "float64") for one in _flat([answer(*c) for c in cases])[0]]
        except Exception:  # whatever a student's code may raise
            return None
        if len(found) == len(truths) and _agree(found, truths, near):
            return "you worked along the wrong axis: rows and columns of the inputs are exchanged"
        return None

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
_BITS, _TWICE, _HALF = (
    "it is in bits where nats are asked: a logarithm to base 2",
    "it is twice too large: is a factor 1/2 missing?",
    "it is half of what it should be: is a factor 1/2 too many?",
)
_USUAL: dict[str, Callable] = {
    "its sign is wrong": np.negative,
    _BITS: lambda t: t / np.log(2),
    _TWICE: lambda t: 2 * t,
    _HALF: lambda t: t / 2,
    "its logarithm is to base 10: nats are natural logarithms": lambda t: t / np.log(10),
    f"its sign is wrong, and {_BITS}": lambda t: -t / np.log(2),
    f"its sign is wrong, and {_TWICE}": lambda t: -2 * t,
    f"its sign is wrong, and {_HALF}": lambda t: -t / 2,
    "it is ten times too large": lambda t: 10 * t,
    "it is ten times too small": lambda t: t / 10,
    "it is a hundred times too large": lambda t: 100 * t,
    "it is a hundred times too small": lambda t: t / 100,
}
# These bend the truth: a tolerance of the truth is none of theirs.
_BENT: dict[str, Callable] = {
    "it is the exponential of what is asked: take the logarithm": np.exp,
    "it is the logarithm of what is asked: one logarithm too many": np.log,
    "it is the square of what is asked: is a root missing?": np.square,
    "it is the root of what is asked: is a square missing?": np.sqrt,
    "it is one over what is asked: was a ratio turned round?": np.reciprocal,
    "it is one minus what is asked": lambda t: 1 - t,
}


def _verdict(answers, truths, mistakes, near, everywhere, parts=(1,), named=None):
    """The verdict on numbers or arrays that belong together; every list has one entry for each."""
    try:
        answers = [np.asarray(answer, "float64") for answer in answers]
    except (TypeError, ValueError):
        kinds = {type(answer).__name__ for answer in answers}
        return Verdict("wrong", f"it is no number or array but {', '.join(sorted(kinds))}")
    answers = [_as_one(a, t) for a, t in zip(answers, truths, strict=True)]
    if _same(answers, truths, near):
        return Verdict("ok")
    usual = {r: [np.asarray(v, "float64") for v in values] for r, values in mistakes.items()}
    listed = (named or _first)(answers, usual, near)
    if listed:
        return Verdict("wrong", listed)
    of_a_kind = [a.shape == t.shape for a, t in zip(answers, truths, strict=True)]
    general = _by_a_change(answers, truths, near) if all(of_a_kind) else None
    general = general or everywhere(answers)
    if not all(of_a_kind):
        first = of_a_kind.index(False)
        shapes = [list(these[first].shape) for these in (answers, truths)]
        shape = f"its shape is {shapes[0]} and not {shapes[1]}"
        return Verdict("wrong", f"{general}; {shape}" if general else shape)
    if general:
        return Verdict("wrong", general)
    each = [_equal(*three).all() for three in zip(answers, truths, near, strict=True)]
    first = each.index(False)
    off = _difference(answers[first], truths[first], near[first])
    if len(set(parts)) == 1 and parts[0] > 1:  # several results in each case
        right = np.flatnonzero(np.reshape(each, (-1, parts[0])).all(axis=0))
        if right.size:
            n = first % parts[0]
            own = [these[n :: parts[0]] for these in (answers, truths, near)]
            told = _by_a_change(*own) or _factor(*own) or f"it is {off}"
            kept = " and ".join(f"result {k + 1}" for k in right)
            return Verdict("wrong", f"{kept} is right, result {n + 1} is not: {told}")
    some = f"right in {sum(each)} of {len(each)} cases; in another " if any(each) else ""
    return Verdict("wrong", f"it is {some}{off}")


def _first(answers, mistakes, near):
    """The first mistake that gives these answers, or None."""
    return next((r for r, values in mistakes.items() if _same(answers, values, near)), None)


def _nearest(answers, mistakes, near):
    """The mistake that a number comes nearest to, if it may have been rounded to three digits."""
    far = {}
    for reason, values in mistakes.items():
        wide = [
            np.maximum(n, _three_digits(v)) if n.shape == v.shape else n
            for n, v in zip(near, values, strict=True)
        ]
        if _same(answers, values, wide):
            with np.errstate(invalid="ignore"):
                off = [np.abs(a - v).max(initial=0.0) for a, v in zip(answers, values, strict=True)]
            far[reason] = np.nan_to_num(max(off))
    return min(far, key=far.get, default=None)


def _by_a_change(answers, truths, near):
    """What was done to every number of the truth; None if that is not known."""
    close = [np.minimum(n, _three_digits(truth)) for n, truth in zip(near, truths, strict=True)]
    for reason, change in _USUAL.items():
        if _same(answers, [change(truth) for truth in truths], close):
            return reason
    with np.errstate(all="ignore"):
        for reason, change in _BENT.items():
            bent = [change(truth) for truth in truths]
            if all(np.all(np.isfinite(b) & (b != 0)) for b in bent):  # no underflow
                close = [np.minimum(n, _three_digits(b)) for n, b in zip(near, bent, strict=True)]
                if _same(answers, bent, close):
                    return reason
    return None


def _by_an_axis(answers, truths, near):
    """Which axis was treated in another way, where a shape is not that of the truth; or None."""
    if any(answer.size == 0 for answer in answers):
        return None
    rank = max(truth.ndim for truth in truths)

    def fits(of_answer, of_truth):
        pairs = [
            (a, t) if a.shape == t.shape else (of_answer(a), of_truth(t))
            for a, t in zip(answers, truths, strict=True)
        ]
        return _agree(*zip(*pairs, strict=True), near)

    tried = {
        "you averaged over everything": (np.asarray, np.mean),
        "you summed over everything": (np.asarray, np.sum),
        "it has an axis of length 1 too many, or too few": (np.squeeze, np.squeeze),
        "rows and columns are exchanged": (np.transpose, np.asarray),
    }
    for k in range(rank):
        tried[f"you averaged over axis {k} too, which should stay"] = (
            np.asarray,
            lambda t, k=k: t.mean(k),
        )
        tried[f"you summed over axis {k} too, which should stay"] = (
            np.asarray,
            lambda t, k=k: t.sum(k),
        )
    for k in range(rank + 1):
        tried[f"you did not sum over axis {k}"] = lambda a, k=k: a.sum(k), np.asarray
        tried[f"you did not average over axis {k}"] = lambda a, k=k: a.mean(k), np.asarray
    # Copies of one number: their mean tells nothing.
    copies = all(np.ptp(a) == 0 for a, t in zip(answers, truths, strict=True) if a.ndim > t.ndim)
    for reason, changes in tried.items():
        try:
            if fits(*changes) and not (copies and "not average" in reason):
                return reason
        except ValueError:  # no such axis
            continue
    return None


def _left_over(answers, truths, lengths):
    """Whose axis is left over, or lost, as far as the shapes tell; or None."""
    pairs = [(list(a.shape), list(t.shape)) for a, t in zip(answers, truths, strict=True)]
    other = [n for n, (a, t) in enumerate(pairs) if a != t]
    pairs = [pairs[n] for n in other]
    for axis, length in lengths.items() if other else ():
        of_each = length[other].tolist()
        for k in range(max(len(shape) for pair in pairs for shape in pair)):
            without = [(a[:k] + a[k + 1 :], t[:k] + t[k + 1 :]) for a, t in pairs]
            kept = all(a[k : k + 1] == [n] for (a, _), n in zip(pairs, of_each, strict=True))
            lost = all(t[k : k + 1] == [n] for (_, t), n in zip(pairs, of_each, strict=True))
            if kept and [a for a, _ in without] == [t for _, t in pairs]:
                return f"{axis} is left over: it should be summed, or averaged, away"
            if kept and all(a == t for a, t in without):
                return f"it keeps {axis} and loses another: the wrong axis is summed, or averaged"
            if lost and [t for _, t in without] == [a for a, _ in pairs]:
                return f"{axis} is lost: it should stay"
    return None


def _rounded(answer, truth):
    """Whether a number was rounded to fewer than three digits."""
    if answer.ndim or truth.ndim or not np.isfinite([answer, truth]).all() or not truth:
        return None
    if float(answer) in (float(f"{truth:.0e}"), float(f"{truth:.1e}")):
        return "it is rounded too far: three digits are asked"
    return None


def _lengths(function, cases, parts):
    """{name of an axis of an input: its length, once for each part of each case}."""
    try:
        names = [f"`{name}`" for name in inspect.signature(function).parameters]
    except (TypeError, ValueError):
        names = []
    lengths = {}
    for j in range(min(len(case) for case in cases)):
        shapes = [np.shape(case[j]) if hasattr(case[j], "shape") else () for case in cases]
        name = names[j] if len(names) == len(cases[0]) else f"input {j + 1}"
        for k in range(min(len(shape) for shape in shapes)):
            found = [shape[k] for shape in shapes]
            if len(set(found)) > 1:  # else any number would do
                lengths[f"axis {k} of {name}"] = np.repeat(found, parts)
    return lengths


def _repeated(answers, truths, near, lengths):
    """What was done once for each case: a factor, or an addend, that an axis or no axis tells."""
    pairs = list(zip(answers, truths, strict=True))
    if any(a.shape != t.shape or not np.isfinite(a - t).all() for a, t in pairs):
        return None
    wrong = [not _equal(*three).all() for three in zip(answers, truths, near, strict=True)]
    sizes = [(f"the length of {axis}", length) for axis, length in lengths.items()]
    for name, length in sizes:
        for reason, factor in (
            (f"it is divided by {name}: a mean in place of a sum?", 1 / length),
            (f"it is multiplied by {name}: a sum in place of a mean?", length),
            (f"it is divided by the root of {name}", length**-0.5),
            (f"it is multiplied by the root of {name}", length**0.5),
        ):
            factors = np.where(wrong, factor, 1.0)
            scaled = [f * t for f, t in zip(factors, truths, strict=True)]
            close = [np.minimum(n, f * n) for f, n in zip(factors, near, strict=True)]
            if np.ptp(factor[wrong]) > 0 and _agree(answers, scaled, close):
                return reason
    for name, length in [("", np.ones(len(truths))), *sizes]:
        reason = _addend(answers, truths, near, length, name)
        if reason:
            return reason
    return _factor(answers, truths, near)


def _factor(answers, truths, near):
    """Whether one factor stands everywhere."""
    every = np.concatenate([np.ravel(truth) for truth in truths])
    if len(truths) < 2 or every.size < 3 or not np.any(every):
        return None
    found = np.concatenate([np.ravel(answer) for answer in answers])
    factor = float(found @ every / (every @ every))
    scale = max(abs(factor), 1e-3)
    close = [scale * n for n in near]
    if scale > 1e-3 and _agree(answers, [factor * truth for truth in truths], close):
        return f"it is {factor:.3g} times what is asked, everywhere"
    return None


def _addend(answers, truths, near, length, name):
    """Whether one number is added everywhere, or once for each entry along an axis."""
    offsets = [(a - t) / n for a, t, n in zip(answers, truths, length, strict=True)]
    noise = np.array([n.max(initial=0.0) for n in near]) / length
    one = float(np.mean(offsets[noise.argmin()]))
    spread = [np.abs(offset - one).max(initial=0.0) for offset in offsets]
    seen = np.sum(abs(one) > 10 * noise)  # in how many parts it cannot be mistaken
    if np.any(spread > noise) or seen < 2 or sum(offset.size for offset in offsets) < 3:
        return None
    normals = abs(one) / (0.5 * np.log(2 * np.pi))
    known = {1: "log(2 pi) / 2", 2: "log(2 pi)"}.get(round(normals))
    said = f", {known}," if known and abs(normals - round(normals)) < 1e-3 else ""
    where = f"for each entry along {name.removeprefix('the length of ')}" if name else "everywhere"
    return f"it is too {'large' if one > 0 else 'small'} by the same {abs(one):.3g}{said} {where}"


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


def _agree(answers, values, near):
    """Whether all agree within the widest tolerance of each, whatever the shape of the truth."""
    return all(
        a.shape == v.shape and _equal(a, v, np.max(n, initial=0.0)).all()
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
