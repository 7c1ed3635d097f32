"""benchmarks/scaling.py and benchmarks/gpu.py: that they run, and what they make of figures."""

import importlib
import json
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"
AXES = ("examples", "samples", "batches", "replicas")


@pytest.fixture(scope="module")
def modules():
    """The scripts of benchmarks/ by name; they import each other as they do when run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(FOLDER / "peers")
        patch.syspath_prepend(FOLDER)
        yield {name: importlib.import_module(name) for name in ("gpu", "scaling", "table")}


@pytest.fixture
def scaling(modules):
    return modules["scaling"]


@pytest.fixture
def gpu(modules):
    return modules["gpu"]


def record(power=1.0, peaks=(900.0, 905.0, 910.0)):
    """Times that grow as size^power, with an outlier in each."""
    sizes = (1000, 2000, 4000)
    points = [
        {"size": size, "seconds": [0.001 * size**power] * 4 + [9e9], "peak": peak}
        for size, peak in zip(sizes, peaks, strict=True)
    ]
    return {axis: points for axis in AXES}


class TestScaling:
    @pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
    def test_the_exponent_is_found(self, scaling, power):
        assert scaling.exponent(record(power)["examples"]) == pytest.approx(power)

    @pytest.mark.parametrize(
        ("found", "holds"),
        [
            (record(), [True, True, True]),
            (record(1.1), [False, False, True]),
            (record(peaks=(900.0, 905.0, 1800.0)), [True, True, False]),
            (record(peaks=(None, None, None)), [True, True]),
        ],
    )
    def test_what_must_hold(self, scaling, found, holds):
        assert [check.holds for check in scaling.checks(found)] == holds

    def test_the_table_stands_between_its_marks(self, modules, tmp_path, monkeypatch):
        scaling, table = modules["scaling"], modules["table"]
        readme = tmp_path / "README.md"
        readme.write_text("before\n" + "".join(scaling.MARKS) + "\nafter\n", "utf-8")
        monkeypatch.setattr(table, "README", readme)
        monkeypatch.setattr(scaling, "RESULTS", tmp_path / "scaling.json")
        found = record(1.1)
        found |= {"checks": [table._plain(check) for check in scaling.checks(found)]}
        found |= {"rounds": 5, "machine": "2 cores", "versions": "a | b", "date": "2026-01-01"}
        scaling.write(found)
        text = readme.read_text("utf-8")
        assert text.startswith("before\n") and text.endswith("\nafter\n")
        assert "| **no** |" in text and "one epoch of N examples" in text
        assert json.loads((tmp_path / "scaling.json").read_text("utf-8")) == found

    @pytest.mark.parametrize(("axis", "size"), [("samples", 30), ("batches", 4096)])
    def test_a_point_is_measured(self, scaling, axis, size):
        found = scaling.point(axis, size, rounds=1)
        assert found["size"] == size and found["seconds"][0] > 0


class TestGpu:
    def test_everything_but_the_long_parts_runs_on_a_cpu(self, gpu, capsys):
        assert gpu.main(["--quick", "--part", "steps", "batches", "evaluation"]) == 0
        assert "There is no GPU" in capsys.readouterr().out

    def test_the_arithmetic(self, gpu):
        # Three products a matrix, two operations each, but no gradient into the data.
        matrices = [784 * 200, 200 * 200, 200 * 100, 50 * 200, 200 * 200, 200 * 784]
        assert gpu.arithmetic_of_an_image() == 6 * sum(matrices) - 2 * 784 * 200
