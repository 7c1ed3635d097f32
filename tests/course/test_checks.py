"""Checks of exercises: what is forgiven, what is named, and that nothing wrong passes."""

import re

import nbformat
import numpy as np
import pytest
import solutions
import tensorflow as tf
from stamp import notebooks

import vae_tf as vt
from vae_tf.course import exercises
from vae_tf.course.checks import Function, Value


class TestChecks:
    def test_not_attempted(self):
        for answer in (..., None):
            assert str(vt.checks.check(answer, 1.0, atol=1e-6)) == "not attempted"

    def test_ok_within_the_tolerance_only(self):
        assert vt.checks.check(1.0 + 1e-7, 1.0, atol=1e-6)
        verdict = vt.checks.check(1.1, 1.0, atol=1e-6)
        assert not verdict and str(verdict) == "wrong, because it is off by 0.1"

    def test_it_names_the_mistake(self):
        verdict = vt.checks.check(0.5, 1.0, atol=1e-6, mistakes={"you took the mean": 0.5})
        assert repr(verdict) == "wrong, because you took the mean"

    def test_shapes_types_and_nan(self):
        check = vt.checks.check
        assert "its shape is [2]" in str(check(np.ones(2), 1.0, atol=1.0))
        assert "its shape is [0]" in str(check([], 1.0, atol=1.0))
        assert "no number" in str(check("one", 1.0, atol=1.0))

    @pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
    def test_what_is_not_finite_equals_itself_only(self, value):
        check = vt.checks.check
        assert check(value, value, atol=1e-3)
        assert check([1.0, value], [1.0, value], atol=1e-3)
        for other in {1.0, np.inf, -np.inf, np.nan} - {value}:
            if not (np.isnan(other) and np.isnan(value)):
                assert not check(other, value, atol=1e300)
                assert not check(value, other, atol=1e300)

    def test_it_names_nan_and_infinity(self):
        check = vt.checks.check
        assert str(check(np.nan, 1.0, atol=1.0)) == "wrong, because it is NaN"
        assert str(check(-np.inf, 1.0, atol=1.0)) == "wrong, because it is infinite"
        x = [np.nan, 2.0, np.nan]
        assert str(check(x, np.ones(3), atol=1.0)) == "wrong, because it is NaN in 2 of 3 entries"
        assert str(check([np.inf, 5.0], [np.inf, 2.0], atol=1.0)).endswith("off by 3")
        assert "finite where the truth is not" in str(check(1.0, np.inf, atol=1.0))

    def test_a_mistake_may_be_infinite(self):
        verdict = vt.checks.check(np.inf, 1.0, atol=1.0, mistakes={"you divided by zero": np.inf})
        assert verdict.reason == "you divided by zero"


class TestValues:
    truth = -3.38397

    @pytest.mark.parametrize(
        "answer", [truth, -3.384, -3.38, [truth], [[truth]], np.float32(truth)]
    )
    def test_forgiven(self, answer):
        assert Value(self.truth).check(answer)
        assert Value(self.truth).check(tf.constant(answer))

    @pytest.mark.parametrize(
        "answer, word",
        [
            (-3.5, "off by"),
            (-3.39, "off by"),
            (-truth, "sign"),
            (truth / np.log(2), "bits"),
            (2 * truth, "twice"),
            (truth / 2, "half"),
            (-2 * truth, "sign is wrong, and it is twice"),
            (truth / np.log(10), "base 10"),
            (10 * truth, "ten times too large"),
            (np.exp(truth), "exponential"),
            (truth**2, "square"),
            (1 / truth, "one over"),
            (1 - truth, "one minus"),
            (-3.4, "rounded too far"),
            ([1.0, truth - 1.0], "did not sum over axis 0"),
            (np.nan, "NaN"),
            (-np.inf, "infinite"),
            ([truth, truth], "shape"),
            ("three", "no number"),
            (len, "a function"),
            (1.5, "you forgot"),
        ],
    )
    def test_named(self, answer, word):
        verdict = Value(self.truth, {"you forgot": 1.5}).check(answer)
        assert not verdict and verdict.status == "wrong" and word in verdict.reason

    def test_each_entry_has_three_digits_of_its_own(self):
        truth = np.array([1000.0, 0.001234, 0.0])
        assert Value(truth).check([1004.0, 0.00123, 0.0])
        assert not Value(truth).check([1000.0, 0.0013, 0.0])
        assert not Value(truth).check([1006.0, 0.001234, 0.0])
        assert not Value(0.0).check(0.006) and Value(0.0).check(0.004)

    def test_the_nearest_mistake_is_named_and_may_be_rounded(self):
        exercise = Value(2.0, {"you forgot": 1234.4, "you swapped": 1231.6, "you left out": 0.0375})
        assert exercise.check(1233).reason == "you forgot"
        assert exercise.check(1231.1).reason == "you swapped"
        assert exercise.check(0.04).reason == "you left out"

    def test_an_exponential_that_rounds_to_zero_is_not_named(self):
        assert Value(-1000.0).check(0.0).reason == "it is off by 1e+03"

    def test_copies_of_the_truth_are_no_average_that_was_left_out(self):
        assert Value(2.0).check([2.0, 2.0]).reason == "its shape is [2] and not []"

    def test_a_mistake_of_another_shape(self):
        verdict = Value(1.0, {"you kept the examples apart": [0.5, 1.5]}).check([0.5, 1.5])
        assert verdict.reason == "you kept the examples apart"


def log_mean_exp(log_w):
    """Over the first axis."""
    top = np.max(log_w, axis=0)
    return top + np.log(np.mean(np.exp(log_w - top), axis=0))


class TestFunctions:
    bound = Function(
        log_mean_exp,
        lambda: [(np.array([-1.0, -2.0, -4.0]),), (np.array([[-1000.0, 2.0], [-1001.0, 3.0]]),)],
        {"you averaged the logarithms": lambda log_w: log_w.mean(axis=0)},
        {"one weight should be its own mean": lambda f: np.isclose(f(np.array([-5.0])), -5.0)},
    )

    @pytest.mark.parametrize("answer", [log_mean_exp, lambda w: tf.constant(log_mean_exp(w))])
    def test_right(self, answer):
        assert self.bound.check(answer)

    @pytest.mark.filterwarnings("ignore:divide by zero")
    @pytest.mark.parametrize(
        "answer, sentence",
        [
            (lambda w: w.mean(axis=0), "wrong, because you averaged the logarithms"),
            (
                lambda w: np.log(np.exp(w).mean(axis=0)),
                "right in 1 of 2 cases; in another infinite",
            ),
            (lambda w: -log_mean_exp(w), "sign"),
            (lambda w: log_mean_exp(w) / np.log(2), "bits"),
            (lambda w: w, "its shape is [3] and not []"),
            (lambda w: (log_mean_exp(w), 1), "returns 2 things and not 1"),
            (lambda w: w.no_such_name, "it raised AttributeError on a hidden input: "),
            (lambda _: "text", "no number"),
            (lambda: 1.0, "TypeError"),
            (3.0, "no function"),
        ],
    )
    def test_wrong(self, answer, sentence):
        verdict = self.bound.check(answer)
        assert verdict.status == "wrong" and sentence in str(verdict)

    @pytest.mark.parametrize("answer", [..., None, lambda _: None])
    def test_not_attempted(self, answer):
        assert self.bound.check(answer).status == "not attempted"

    def test_a_function_that_changes_its_input_is_told_its_mistake(self):
        def in_place(w):
            w -= 1.0
            return w.mean(axis=0) + 1.0

        assert self.bound.check(in_place).reason == "you averaged the logarithms"

    def test_a_property_that_does_not_hold(self):
        verdict = self.bound.check(lambda w: log_mean_exp(w) if len(w) > 1 else 0.0)
        assert verdict.reason == "one weight should be its own mean"
        alone = Function(None, properties={"zero at zero": lambda f: f(0.0) == 0.0})
        assert alone.check(abs) and not alone.check(np.cos)

    def test_several_results(self):
        both = Function(lambda x: (x, x**2), lambda: [(3.0,)])
        assert both.check(lambda x: (x, x * x)) and not both.check(lambda x: (x, x))
        assert both.check(lambda x: [x, x * x]) and both.check(lambda x: np.array([x, x * x]))


def total(x, y):
    """[S, B], [B] -> [B]."""
    return x.sum(axis=0) + y


def unequal():
    """Inputs [7, 5] with [5], and [4, 3] with [3]."""
    rng = np.random.default_rng(0)
    return [(rng.normal(size=size), rng.normal(size=size[1])) for size in ((7, 5), (4, 3))]


class TestKindsOfMistakes:
    """What is recognised in any function, by what it does to hidden inputs of unequal sizes."""

    exercise = Function(total, unequal)
    alone = Function(lambda x: x.sum(axis=0), lambda: [(x,) for x, _ in unequal()])
    both = Function(lambda x: (x.mean(0), x.std(0)), alone.cases)

    @pytest.mark.parametrize(
        "answer, sentence",
        [
            (lambda x, y: total(x, y).mean(), "averaged over everything; its shape is [] and not"),
            (lambda x, y: total(x, y).sum(), "summed over everything; its shape is [] and not [5]"),
            (lambda x, y: total(x, y)[None], "an axis of length 1 too many"),
            (lambda x, y: x + y / len(x), "you did not sum over axis 0"),
            (lambda x, y: x + y, "axis 0 of `x` is left over"),
            (lambda x, y: total(x, y) + 0.25, "too large by the same 0.25 everywhere"),
            (
                lambda x, y: total(x - 0.5, y),
                "too small by the same 0.5 for each entry along axis 0",
            ),
            (lambda x, y: total(x, y) - np.log(2 * np.pi), "same 1.84, log(2 pi), everywhere"),
            (lambda x, y: total(x, y) / len(x), "divided by the length of axis 0 of `x`: a mean"),
            (lambda x, y: total(x, y) * y.size, "multiplied by the length of axis 1 of `x`: a sum"),
            (lambda x, y: total(x, y) / np.sqrt(len(x)), "by the root of the length of axis 0"),
            (lambda x, y: 0.3 * total(x, y), "it is 0.3 times what is asked, everywhere"),
            (lambda x, y: x.mean(axis=0) + y, "off by"),
            (lambda x, y: total(x, y) + x[0], "off by"),
        ],
    )
    def test_named(self, answer, sentence):
        verdict = self.exercise.check(answer)
        assert verdict.status == "wrong" and sentence in str(verdict), verdict

    def test_the_wrong_axis(self):
        assert "along the wrong axis" in self.alone.check(lambda x: x.sum(axis=1)).reason
        assert "it keeps axis 0 of `x`" in self.alone.check(lambda x: x.mean(axis=1)).reason

    def test_one_of_several_results(self):
        verdict = self.both.check(lambda x: (x.mean(0), 1.5 * x.std(0)))
        assert verdict.reason.startswith("result 1 is right, result 2 is not: it is 1.5 times")
        verdict = self.both.check(lambda x: (-x.mean(0), x.std(0)))
        assert verdict.reason == "result 2 is right, result 1 is not: its sign is wrong"
        assert "returns 1 thing and not 2" in str(self.both.check(lambda x: x.mean(0)))

    def test_cases_of_one_size_tell_no_length(self):
        same = Function(lambda x: x.sum(0), lambda: [(np.ones((4, 2)),), (np.eye(4)[:, :2],)])
        assert "length of axis" not in str(same.check(lambda x: x.mean(0)))


EXERCISES = exercises.numbers()


def test_there_are_exercises_and_an_unknown_number_is_refused():
    assert len(EXERCISES) >= 20
    for number in ("02.99", "17.1", "two", 2):
        with pytest.raises(ValueError, match="Expected `number`"):
            vt.course.check(number, 1.0)


@pytest.mark.parametrize("number", EXERCISES)
class TestEachExercise:
    def test_the_truth_passes_and_nothing_is_not_attempted(self, number):
        exercise = exercises.exercise(number)
        assert vt.course.check(number, ...).status == "not attempted"
        if exercise.truth is not None:
            assert vt.course.check(number, exercise.truth), vt.course.check(number, exercise.truth)

    def test_each_mistake_is_recognised_and_four_or_more(self, number):
        exercise = exercises.exercise(number)
        assert len(exercise.mistakes) + len(getattr(exercise, "properties", ())) >= 4
        for sentence, mistaken in exercise.mistakes.items():
            verdict = vt.course.check(number, mistaken)
            assert verdict.status == "wrong" and verdict.reason == sentence, verdict

    def test_what_a_student_reads_says_what_was_done(self, number):
        for sentence in exercises.exercise(number).mistakes:
            assert sentence.startswith("you "), sentence


def page(lesson):
    """What a reader of the lesson sees without unfolding a solution: prose, code, outputs."""
    (path,) = [path for path in notebooks() if path.stem.startswith(f"{lesson}_")]
    shown = []
    for cell in nbformat.read(path, as_version=4).cells:
        if "solution" not in cell.metadata.get("tags", []):
            shown += [cell.source, solutions.text(cell) if cell.cell_type == "code" else ""]
    return "\n".join(shown).replace("\N{MINUS SIGN}", "-")


def stands_in(number, text):
    """Whether a number stands in a text, to three digits or more."""
    spellings = {f"{abs(number):.{digits}g}" for digits in (3, 4, 5, 6)}
    return [s for s in spellings if re.search(rf"(?<![\d.]){re.escape(s)}(?![\d]|\.\d)", text)]


@pytest.mark.parametrize(
    "number", [n for n in EXERCISES if isinstance(exercises.exercise(n), Value)]
)
def test_no_page_tells_the_answer(number):
    parts = np.ravel(exercises.exercise(number).truth)
    told = [stands_in(float(part), page(number.partition(".")[0])) for part in parts]
    assert not all(told), told


def test_an_answer_on_a_page_would_be_found():
    assert stands_in(-2.31456, "it is -2.31 nats") and stands_in(-2.31456, "2.3146.")
    assert not stands_in(-2.31456, "12.31, 2.319 or 2.31.4") and not stands_in(0.5, "0.51")
