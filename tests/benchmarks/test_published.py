"""The table of published and obtained figures: its verdicts, its form, what its rows rest on."""

import dataclasses
import importlib
import json
import math
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from notebook_lint import MACHINE_PATH

import vae_tf as vt

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def modules():
    """The scripts of benchmarks/ by name; they import each other as they do when run."""
    names = ("published", "table", "peer_environment")
    names += ("rows_code", "rows_gradients", "rows_linear", "rows_models")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(FOLDER)
        yield {name: importlib.import_module(name) for name in names}


@pytest.fixture
def table(modules):
    return modules["table"]


def check(table, ours, low=0.9, high=1.1, verified=True):
    return table.Check("a figure", "1", ours, low, high, "because", "", verified)


def row(table, *checks):
    def measure(scale):
        return table.Measured(list(checks), (0,), {"scale": scale})

    return table.Row("name", "cpu", "paper", "protocol", "differs", measure, None)


class TestVerdict:
    @pytest.mark.parametrize(
        "known, unverified, expected",
        [
            ([1.0, 0.9, 1.1], [], "agrees"),
            ([1.0], [5.0], "agrees"),
            ([], [1.0], "unverified"),
            ([1.0, 1.2], [], "differs"),
            ([0.8], [1.0], "differs"),
            ([math.nan], [], "differs"),
            ([], [], "differs"),  # a row that checks nothing has shown nothing
        ],
    )
    def test_one_figure_outside_is_enough(self, table, known, unverified, expected):
        checks = [check(table, value) for value in known]
        checks += [check(table, value, verified=False) for value in unverified]
        assert table.verdict(checks) == expected
        record = table.run(row(table, *checks))
        assert record["verdict"] == expected
        shown = table.render([row(table)], {"name": record})
        assert shown.count("| unverified |") == len(unverified) + (expected == "unverified")

    def test_one_sided(self, table):
        assert check(table, 5.0, 3.0, math.inf).holds
        assert not check(table, 2.9, 3.0, math.inf).holds

    @pytest.mark.parametrize(
        "verdicts, code",
        [
            (["agrees", "unverified"], 0),
            (["agrees", "differs", "not run"], 1),
            (["agrees", "not run"], 3),
        ],
    )
    def test_exit_code(self, table, verdicts, code):
        assert table.exit_code([{"verdict": verdict} for verdict in verdicts]) == code

    def test_what_is_missing_is_said(self, table):
        def measure(_):
            raise table.NotRun("no package index")

        record = table.run(dataclasses.replace(row(table), measure=measure))
        assert (record["verdict"], record["missing"]) == ("not run", "no package index")
        assert "no package index" in table.render([row(table)], {"name": record})


class TestTable:
    def test_the_files_are_written_around_what_stands_there(self, table, tmp_path):
        one = row(table, check(table, 1.2))
        results, readme = tmp_path / "published.json", tmp_path / "README.md"
        readme.write_text(f"before\n{table.MARKS[0]}stale\n{table.MARKS[1]}\nafter\n", "utf-8")
        for _ in range(2):  # the second time changes nothing
            table.write([one], {"name": table.run(one)}, results, readme)
            text = readme.read_text("utf-8")
            assert text.startswith("before\n") and text.endswith("\nafter\n")
            assert "stale" not in text and text.count("| a figure | 1 | 1.2 |") == 1
            assert text.count("| **no** |") == 1
        assert json.loads(results.read_text("utf-8"))["name"]["checks"][0]["holds"] is False

    def test_each_line_of_a_table_has_as_many_cells(self, table, modules):
        records = json.loads(table.RESULTS.read_text("utf-8"))
        lines = table.render(modules["published"].ROWS, records).splitlines()
        blocks = re.findall(r"(?:^\|.*\n?)+", "\n".join(lines), re.MULTILINE)
        for block in blocks:
            cells = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
            assert len(cells) == 1, block

    def test_the_committed_table_is_that_of_the_committed_figures(self, table, modules):
        records = json.loads(table.RESULTS.read_text("utf-8"))
        rows = modules["published"].ROWS
        shown = table.README.read_text("utf-8").partition(table.MARKS[0])[2]
        assert shown.partition(table.MARKS[1])[0] == table.render(rows, records)
        assert not MACHINE_PATH.findall(json.dumps(records) + shown)
        assert records.keys() >= {one.name for one in rows if one.profile == "cpu"}
        assert {one.name for one in rows} >= records.keys()

    def test_the_committed_verdicts_follow_from_the_figures(self, table):
        for name, record in json.loads(table.RESULTS.read_text("utf-8")).items():
            for one in record["checks"]:
                low = -math.inf if one["low"] is None else one["low"]
                high = math.inf if one["high"] is None else one["high"]
                assert one["holds"] == (low <= one["ours"] <= high), name
            known = [one["holds"] for one in record["checks"] if one["verified"]]
            expected = {True: "agrees", False: "differs"}[bool(known) and all(known)]
            assert record["verdict"] == expected, name


class TestRows:
    def test_effective_betas(self, table, modules):
        """A cheap row, whole; and a derivation that is off by 1 % does not pass."""
        rows = {one.name: one for one in modules["published"].ROWS}
        record = table.run(rows["effective-beta"])
        assert record["verdict"] == "agrees" and len(record["checks"]) == 5
        wrong = (modules["rows_code"].CODES[1]._replace(beta=0.505),)
        record = table.run(dataclasses.replace(rows["effective-beta"], scale=wrong))
        assert record["verdict"] == "differs"

    @pytest.mark.parametrize(
        "losses, expected", [([1.5, 1.5], "agrees"), ([1.5], "differs"), ([1.5, 0.0], "differs")]
    )
    def test_doubled_kl(self, table, modules, losses, expected):
        found = {"batch": 4, "kl": 1.5, "regularizer": losses, "add_loss": [6.0]}
        assert table.verdict(modules["rows_code"]._doubled_checks(found)) == expected

    def test_doubled_kl_says_what_is_missing(self, modules, tmp_path, monkeypatch):
        code, peers = modules["rows_code"], modules["peer_environment"]
        failed = subprocess.CompletedProcess([], 1, "", "ERROR: No matching distribution found")
        monkeypatch.setattr(peers, "ask", lambda _: failed)
        monkeypatch.setattr(peers.venv, "create", lambda folder, **_: folder.mkdir())
        with pytest.raises(modules["table"].NotRun, match="package index.*No matching"):
            code.doubled_kl(code.Peers(tmp_path / "peers"))

    @pytest.mark.parametrize("beta", [0.5, 3.0, 12.0, 30.0])
    def test_collapse_figures_at_the_optimum(self, modules, beta):
        """With the weights of the closed form nothing is left of any error."""
        linear = modules["rows_linear"]
        x, thresholds = linear.collapse_data(points=200), np.array(linear.THRESHOLDS)
        values, axes = np.linalg.eigh(np.cov(x.T, ddof=0))
        np.testing.assert_allclose(values, thresholds, rtol=1e-10)
        alive = thresholds > beta
        # W = U (xi^2 - beta)^1/2, the mean of q is M^-1 W' x, its variance beta / xi^2
        stretch = np.sqrt(np.maximum(thresholds - beta, 0))
        encoder, decoder = axes * stretch / thresholds, (axes * stretch).T
        log_scale = 0.5 * np.log(np.where(alive, beta / thresholds, 1))[None]
        zeros = np.zeros((1, 5))
        figures = linear._linear_figures(x, beta, encoder, zeros, log_scale, decoder, zeros)
        np.testing.assert_allclose(figures["loss"], figures["formula"], rtol=1e-12)
        np.testing.assert_allclose(
            figures["variance"], np.maximum(1 - beta / thresholds, 0), atol=1e-12
        )
        assert figures["off"] < 1e-12

    def test_the_maximum_of_the_evidence(self, modules, rng):
        """By N it is that of the fitted model; by N - 1 it is lower by D/2 log(N/(N-1))."""
        x = rng.normal(size=(50, 12)) @ rng.normal(size=(12, 12))
        true, less = (modules["rows_linear"].formula_maximum(x, 4, ddof) for ddof in (0, 1))
        fitted = vt.linear.LinearGaussian.fit(x, 4).log_evidence(x).mean()
        np.testing.assert_allclose([true, true - less], [fitted, 6 * np.log(50 / 49)], rtol=1e-10)

    def test_a_trained_linear_vae_stays_below(self, modules, rng):
        """ELBO <= its own evidence <= the maximum, close to it where training was long enough."""
        linear = modules["rows_linear"]
        x = 0.3 * rng.normal(size=(60, 8)) @ rng.normal(size=(8, 8))
        scale = linear.Ppca(images=60, latents=3, steps=4000)
        figures = linear._ppca_figures(x, scale, seed=0)
        order = [figures[name] for name in ("elbo", "log_evidence", "maximum")]
        assert order == sorted(order) and order[2] - order[0] < 0.1
        off = figures["log_evidence"] - figures["log_evidence_n_minus_1"]
        assert 0 < off < 8 / 59  # tr(C^-1 S) / 2(N - 1), and the trace is 8 at the maximum

    def test_slope(self, modules):
        """Of exact powers of K; a ratio that was not seen is left out."""

        class Found:
            def __init__(self, snr):
                self.snr, self.standard_error = snr, 0.1

        found = {("standard", k): {"encoder": Found(3 * k**-0.5)} for k in (1, 4, 16)}
        found["standard", 64] = {"encoder": Found(0.0)}
        slope = modules["rows_gradients"]._slope(found, "standard", "encoder", (1, 4, 16, 64))
        np.testing.assert_allclose(slope, -0.5, rtol=1e-10)

    def test_an_order_must_be_beyond_its_error(self, modules, rng):
        ordered = modules["table"].beyond_zero
        noise = rng.normal(size=(3, 400))
        assert ordered("", "", 1.0 + noise, images=True).holds
        assert not ordered("", "", 0.05 + noise, images=True).holds
        assert not ordered("", "", -1.0 + noise, images=True).holds
        # of 3 seeds and 400 images, by hand
        error = math.sqrt(np.var(noise.mean(1), ddof=1) / 3 + np.var(noise.mean(0), ddof=1) / 400)
        np.testing.assert_allclose(ordered("", "", noise, images=True).low, 3 * error)

    def test_the_rows_of_the_gpu_run(self, modules, tmp_path, monkeypatch):
        """All their code, at a scale that has no meaning; a training that is over is not redone."""
        models = modules["rows_models"]
        monkeypatch.setattr(models, "KEPT", tmp_path)
        tiny = {"stages": ((1, 1e-3),), "batch": 1000, "latents": 2, "hidden": (4,)}
        tiny |= {"data": ("mnist5k",), "evidence_samples": 3}
        cells = models.Cells(samples=(2,), held_out=5, seeds=(0,), **tiny)
        measured = models.iwae_cells(cells)
        assert math.isfinite(measured.checks[0].ours) and measured.figures["data"] == "mnist5k"
        gap = models.Gap(warm_up=1, images=3, chains=2, temperatures=2, max_steps=100, **tiny)
        (parts,), again = (models.inference_gap(gap).figures["runs"] for _ in range(2))
        assert [parts] == again and (tmp_path / "gap-seed0").is_dir()
        np.testing.assert_allclose(
            parts["total"], parts["approximation"] + parts["amortization"], rtol=1e-6
        )

    def test_the_learning_rates_are_those_of_the_paper(self, modules):
        stages = modules["rows_models"].BURDA_STAGES
        assert sum(epochs for epochs, _ in stages) == 3280
        rates = np.array([10, 7.2, 5.2, 3.7, 2.7, 1.9, 1.4, 1.0]) * 1e-4
        np.testing.assert_allclose([rate for _, rate in stages], rates)
