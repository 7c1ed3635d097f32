"""vt.course.compare against SciPy, by enumeration, and by its rate of false verdicts."""

import numpy as np
import pytest
from scipy import stats

import vae_tf as vt


def test_one_axis_is_a_paired_t_test():
    a, b = np.random.default_rng(0).normal(size=(2, 5))
    one = vt.course.compare({"a - b": a - b})["a - b"]
    expected = stats.ttest_rel(a, b)
    np.testing.assert_allclose(one.p, expected.pvalue, rtol=1e-10)
    assert one.freedom == expected.df
    np.testing.assert_allclose(one.mean / one.standard_error, expected.statistic, rtol=1e-10)


def test_holm_by_hand():
    # Differences of two values with these two-sided p values: Cauchy, t = tan(pi (1 - p) / 2).
    p = np.array([0.01, 0.04, 0.03, 0.2])
    t = np.tan(np.pi * (1 - p) / 2)
    found = vt.course.compare({str(i): [t_i - 1, t_i + 1] for i, t_i in enumerate(t)})
    np.testing.assert_allclose([one.p for one in found.values()], p, rtol=1e-9)
    # 4 * 0.01; 3 * 0.03; max(2 * 0.04, 0.09); max(1 * 0.2, 0.09)
    np.testing.assert_allclose([one.adjusted_p for one in found.values()], [0.04, 0.09, 0.09, 0.2])
    assert [one.holds for one in found.values()] == [True, False, False, False]


@pytest.mark.parametrize("judges", [None, 3], ids=["runs", "runs and judges"])
def test_all_false_verdicts_of_a_page_together_are_as_rare_as_said(judges):
    rng, pages, level = np.random.default_rng(1), 2000, 0.05
    wrong = 0
    for _ in range(pages):
        noise = rng.normal(size=(4, 5))
        if judges:  # each judge has an opinion of its own, the same of every run
            noise = noise[..., None] + 2 * rng.normal(size=(4, 1, judges))
        wrong += any(one.holds for one in vt.course.compare(dict(enumerate(noise))).values())
    # Within four standard errors of the level; of runs alone the rate is 1 - (1 - level / 4)^4.
    assert wrong / pages <= level + 4 * np.sqrt(level * (1 - level) / pages)
    if not judges:
        assert wrong / pages >= level - 0.005 - 4 * np.sqrt(level * (1 - level) / pages)


def test_judges_that_disagree_widen_the_error():
    runs = np.array([1.0, 1.1, 0.9, 1.05, 0.95])
    alone = vt.course.compare({"one judge": runs})["one judge"]
    judged = vt.course.compare({"three": runs[:, None] + [-1.0, 0.0, 1.0]})["three"]
    assert alone.holds and not judged.holds
    np.testing.assert_allclose(judged.mean, alone.mean)
    # The variance of the mean is that of five runs plus that of three judges.
    np.testing.assert_allclose(judged.standard_error**2, alone.standard_error**2 + 1 / 3)


def test_the_same_difference_in_every_run():
    found = vt.course.compare({"equal": [0.0, 0.0], "shifted": [0.5, 0.5]})
    assert found["equal"].p == 1 and found["shifted"].p == 0


@pytest.mark.parametrize("values", [[1.0], [[1.0, 2.0]], [1.0, np.nan], 3.0, np.zeros((2, 2, 2))])
def test_what_cannot_be_compared_is_refused(values):
    with pytest.raises(ValueError, match="Expected `x` to hold finite differences"):
        vt.course.compare({"x": values})


def test_level_is_a_probability():
    with pytest.raises(ValueError, match="between 0 and 1"):
        vt.course.compare({"x": [1.0, 2.0]}, level=5)


def test_prints_as_a_table():
    lines = str(vt.course.compare({"a": [1.0, 1.2], "long": [0.1, -0.1]})).splitlines()
    assert [line.index("+") for line in lines] == [6, 6]
    assert str(vt.course.compare({})) == ""
