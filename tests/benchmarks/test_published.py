"""The table of published and obtained figures: its verdicts, its form, what its rows rest on."""

import dataclasses
import importlib
import json
import math
import re
import subprocess
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import tensorflow_probability as tfp
from notebook_lint import MACHINE_PATH

import vae_tf as vt

tfd = tfp.distributions
FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def modules():
    """The scripts of benchmarks/ by name; they import each other as they do when run."""
    names = ("published", "pages", "table", "rows", "peer_environment")
    names += ("rows_code", "rows_gradients", "rows_linear", "rows_models", "rows_small")
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
    def test_what_is_shown_of_a_row(self, table):
        one = row(table, check(table, 1.2))
        shown = table.render([one], {"name": table.run(one)})
        assert shown.count("| a figure | 1 | 1.2 |") == 1 and shown.count("| **no** |") == 1
        assert "Of 1 rows: 1 differs" in table.summary([one], {"name": table.run(one)})

    def test_each_line_of_a_table_has_as_many_cells(self, table, modules):
        lines = table.render(modules["rows"].ROWS, modules["pages"].read("published")).splitlines()
        blocks = re.findall(r"(?:^\|.*\n?)+", "\n".join(lines), re.MULTILINE)
        for block in blocks:
            cells = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
            assert len(cells) == 1, block

    def test_what_is_committed(self, modules):
        """The pages themselves are compared with the figures in test_speed.py."""
        records, rows = modules["pages"].read("published"), modules["rows"].ROWS
        assert not MACHINE_PATH.findall(json.dumps(records))
        assert records.keys() >= {one.name for one in rows if one.profile == "cpu"}
        assert {one.name for one in rows} >= records.keys()

    def test_the_committed_verdicts_follow_from_the_figures(self, modules):
        for name, record in modules["pages"].read("published").items():
            for one in record["checks"]:
                low = -math.inf if one["low"] is None else one["low"]
                high = math.inf if one["high"] is None else one["high"]
                assert one["holds"] == (low <= one["ours"] <= high), name
            known = [one["holds"] for one in record["checks"] if one["verified"]]
            expected = {True: "agrees", False: "differs"}[bool(known) and all(known)]
            assert record["verdict"] == expected, name


class TestRows:
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
            code.doubled_kl(tmp_path / "peers")

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
        scale = np.sqrt(np.where(alive, beta / thresholds, 1))
        q_z = tfd.Independent(tfd.Normal(x @ encoder, np.tile(scale, (len(x), 1))), 1)
        figures = linear.linear_figures(x, beta, q_z, encoder, decoder, np.zeros(5))
        np.testing.assert_allclose(figures["loss"], figures["formula"], rtol=1e-12)
        np.testing.assert_allclose(
            figures["variance"], np.maximum(1 - beta / thresholds, 0), atol=1e-12
        )
        assert figures["off"] < 1e-12

    def test_collapse_at_a_scale_that_has_no_meaning(self, modules, monkeypatch):
        linear, small = modules["rows_linear"], modules["rows_small"]
        monkeypatch.setattr(linear, "collapse_data", lambda: np.eye(5) * np.sqrt(5))
        scale = small.Small(latents=5, hidden=(), epochs=1, batch=5, seeds=(0,))
        for measure in (linear.linear_collapse, linear.rate_distortion):
            assert all(math.isfinite(check.ours) for check in measure(scale).checks)

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

    def test_active_units_of_a_linear_vae(self, modules, table):
        linear = modules["rows_linear"]
        measured = linear.lucas_units(linear.Ppca(latents=6, seeds=(0,)), kept=(3,))
        assert table.verdict(measured.checks) == "agrees"

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

    def test_the_rate_distortion_function(self, modules):
        """Reverse water-filling, found again from the rate of each optimum."""
        linear = modules["rows_linear"]
        x = linear.collapse_data(points=200)
        for beta in (0.5, 3.0, 20.0):
            best = vt.diagnostics.predict_collapse(x, beta)
            found = linear._least_distortion(x, best.rate)
            np.testing.assert_allclose(found, best.distortion, rtol=1e-9)

    def test_the_three_entropies_of_a_linear_model(self, modules, rng):
        small = modules["rows_small"]
        model = vt.linear.LinearGaussian.fit(rng.normal(size=(60, 5)) * [3, 2, 1, 1, 1], 2)
        x = model.mean + np.zeros((3, 5))
        q_z = model.encode(x)
        total = small._sum_of_entropies(q_z, model.decode(q_z.mean()))
        by_hand = np.log(q_z.stddev()).sum(axis=-1).mean()
        by_hand -= 2.5 * np.log(2 * np.pi * np.e * model.scale**2)
        np.testing.assert_allclose(total, by_hand, rtol=1e-12)

    def test_the_rows_of_small_models(self, modules, monkeypatch):
        """Their code, at a scale that has no meaning."""
        small = modules["rows_small"]
        scale = small.Small(latents=2, hidden=(4,), epochs=1, seeds=(0,))
        monkeypatch.setattr(small, "AROUND", (0.5,))
        monkeypatch.setattr(small, "FREE", (0.5,))
        rows = (small.three_entropies, small.transition, small.free_bits)
        one = [measure(scale) for measure in rows]
        assert all(math.isfinite(c.ours) for measured in one for c in measured.checks)
        assert one[0].checks[0].holds  # a closed form: no training

    def test_the_rows_of_the_full_run(self, modules, tmp_path, monkeypatch):
        """All their code, at a scale that has no meaning; a training that is over is not redone."""
        models = modules["rows_models"]
        monkeypatch.setattr(models, "KEPT", tmp_path)
        tiny = {"stages": ((1, 1e-3),), "batch": 1000, "latents": 2, "hidden": (4,)}
        tiny |= {"evidence_samples": 3}
        cells = models.Cells("mnist5k", (2,), held_out=5, seeds=(0,), bracketed=2, **tiny)
        measured = models.iwae_cell(cells)
        assert math.isfinite(measured.checks[0].ours) and "k-hat" in measured.figures["remarks"]
        tiny["data"] = "mnist5k"
        gap = models.Gap(warm_up=1, images=3, chains=2, temperatures=2, max_steps=100, **tiny)
        (parts,), again = (models.inference_gap(gap).figures["runs"] for _ in range(2))
        assert [parts] == again and (tmp_path / "gap-seed0").is_dir()
        np.testing.assert_allclose(
            parts["total"], parts["approximation"] + parts["amortization"], rtol=1e-6
        )

    def test_a_killed_training_goes_on_where_it_stood(self, modules, tmp_path, monkeypatch, rng):
        """Weights, Adam, the order, pixels, the warm-up and the memory of the best epoch."""
        models = modules["rows_models"]
        monkeypatch.setattr(models, "KEPT", tmp_path)
        x = rng.uniform(size=(60, 6)).astype("float32")
        held_out = vt.data.binarize(x[:20], seed=0)
        weights = []
        for folder, cuts in (("whole", (4,)), ("killed", (2, 4))):
            for epochs in cuts:
                if (tmp_path / folder).is_dir():  # killed while it wrote: the one before is used
                    (tmp_path / folder / "latest.weights.h5").write_bytes(b"half a file")
                scale = models.Fixed(
                    stages=((epochs, 1e-2),), batch=20, latents=2, hidden=(4,), warm_up=2
                )
                objective = vt.objectives.BetaELBO(vt.schedules.LinearWarmup(10))
                prior = vt.priors.VampPrior(2, x[:3])
                parts = {"objective": objective, "prior": prior}
                vae = models.one_layer(scale, 0, x.mean(axis=0), "gated", **parts)
                models.train(vae, x, scale, 0, True, folder, held_out)
            weights.append(vae.get_weights())
        for one, other in zip(*weights, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-7)

    def test_early_stopping_remembers(self, modules, tmp_path):
        best = modules["rows_models"].Best(tmp_path, warm_up=2, patience=1)
        ended = []
        for count in range(7):  # the best epoch is the fourth; those before 2 do not count
            best.file.write_text(json.dumps([-9.0, -9.5, -9.6, -3.0, -4.0, -5.0, -6.0][:count]))
            ended.append(best.over())
        assert ended == [False] * 6 + [True]

    def test_the_fixed_binarisation(self, modules, tmp_path, monkeypatch, rng):
        models = modules["rows_models"]
        monkeypatch.setenv("VAE_TF_DATA", str(tmp_path))
        with pytest.raises(modules["table"].NotRun, match="binarized_mnist.npz"):
            models.fixed_mnist()
        bits = (rng.uniform(size=(3, 784)) > 0.5).astype("uint8")
        packed = np.packbits(bits, axis=-1)
        np.savez(tmp_path / "binarized_mnist.npz", train=packed, valid=packed, test=packed)
        with pytest.raises(modules["table"].NotRun, match="not the one"):
            models.fixed_mnist()
        monkeypatch.setattr(
            models, "SPLITS", dict.fromkeys(models.SPLITS, sha256(bits).hexdigest())
        )
        for x in models.fixed_mnist():
            np.testing.assert_array_equal(x, bits.astype("float32"))

    def test_each_row_has_a_text_and_a_function(self, modules):
        rows, measures = modules["rows"].ROWS, modules["rows"].MEASURES
        assert {row.name for row in rows} == measures.keys()
        assert {row.profile for row in rows} == {"cpu", "full"}
        assert len(rows) >= 12

    def test_the_learning_rates_are_those_of_the_paper(self, modules):
        stages = modules["rows_models"].BURDA_STAGES
        assert sum(epochs for epochs, _ in stages) == 3280
        rates = np.array([10, 7.2, 5.2, 3.7, 2.7, 1.9, 1.4, 1.0]) * 1e-4
        np.testing.assert_allclose([rate for _, rate in stages], rates)
