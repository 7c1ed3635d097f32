"""Is `fit` still close to its floor? And is what benchmarks/speed.py measures what it says?

Also that benchmarks/gpu.py runs, and that pages say what the stored figures say.
"""

import importlib
import json
import math
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from notebook_lint import MACHINE_PATH

import vae_tf as vt

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"
NAMES = ("table", "speed_contenders", "pages", "speed", "gpu")
NAMES += ("speed_training", "speed_evaluation", "speed_growth")
NAMES += ("speed_protocol", "speed_bare", "speed_fit")


@pytest.fixture(scope="module")
def modules():
    """The scripts by name; they import each other as they do when run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(FOLDER)
        patch.syspath_prepend(FOLDER / "peers")
        yield {name: importlib.import_module(name) for name in NAMES}


@pytest.fixture
def weights(modules, rng):
    """Of 3 latents; no bias is zero."""
    first = modules["speed_fit"].make(latents=3).trainable_variables
    return [w.numpy() + 0.1 * rng.normal(size=w.shape).astype("float32") for w in first]


@pytest.fixture
def x(rng):
    return (rng.random((7, 784)) < 0.2).astype("float32")


class TestGuard:
    def test_fit_is_near_the_bare_loop(self, modules):
        """Twice the recorded ratio is a regression, whatever else this machine does."""
        x = modules["speed_contenders"].digits(3584)
        fit, bare = modules["speed_fit"].Fit(), modules["speed_bare"].Bare()
        fit.prepare(x, 128)
        bare.prepare(x, 128, fit.weights())
        contenders, best = {"fit": fit, "bare": bare}, {"fit": math.inf, "bare": math.inf}
        for contender in contenders.values():
            contender.train(1)  # compiles
        for _ in range(3):
            for name, contender in contenders.items():
                _, seconds = modules["speed_protocol"].timed(contender.train, epochs=5)
                best[name] = min(best[name], seconds)
        assert best["fit"] <= 2 * recorded(modules) * best["bare"], best


def recorded(modules):
    """`fit` over the bare loop at batch 128 in speed.json."""
    cells = modules["pages"].read("speed")["training"]["cells"]
    (times,) = (c["seconds"] for c in cells if (c["batch"], c["latents"]) == (128, 50))
    return modules["speed_contenders"].ratio(times, "fit", "bare")


class TestSameModel:
    """The floors compute what the package computes."""

    def test_loss_of_the_bare_loop(self, modules, weights, x, rng):
        noise = rng.normal(size=(7, 3)).astype("float32")
        vae = modules["speed_fit"].make(latents=3, weights=weights)
        q_z = vae.encode(x)
        p_x = vae.decode(q_z.mean() + q_z.stddev() * noise)
        expected = -tf.reduce_mean(p_x.log_prob(x) - vt.elbo.kl(q_z, vae.prior))
        found = modules["speed_bare"].loss_of(weights, x, noise)
        np.testing.assert_allclose(found, expected, rtol=1e-5)  # sums of 784 float32 terms

    def test_adam_of_the_bare_loop(self, modules, rng):
        """As Keras' Adam, step by step; the two place epsilon differently, by 1e-7 / |gradient|."""
        start = rng.normal(size=(4, 3)).astype("float32")
        variable, optimizer = keras.Variable(start), keras.optimizers.Adam(1e-3)
        state = [(tf.constant(start), tf.zeros_like(start), tf.zeros_like(start))]
        for step in range(1, 6):
            gradient = rng.normal(size=(4, 3)).astype("float32")
            optimizer.apply([tf.constant(gradient)], [variable])
            state = modules["speed_bare"].adam(state, tf.constant(float(step)), [gradient])
        moved = state[0][0].numpy() - start
        np.testing.assert_allclose(moved, variable.numpy() - start, rtol=1e-3, atol=1e-6)

    def test_an_epoch_of_the_bare_loop_sees_every_image_once(self, modules, weights, x):
        """The mean loss of an epoch that learns nothing is the loss."""
        bare = modules["speed_bare"]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(bare.protocol, "STEP", 0.0)
            patch.setattr(
                bare.tf.random, "stateless_normal", lambda shape, _, **__: tf.zeros(shape)
            )
            contender = bare.Bare()
            contender.prepare(x[:6], 3, weights=weights)
            found = contender.train(2)
        expected = bare.loss_of(weights, x[:6], 0.0)
        np.testing.assert_allclose(found, expected, rtol=1e-5)

    def test_products_are_those_of_the_decoder(self, modules):
        """[1000, L] to [1000, 784], by three matrices, as often as it takes."""
        seen = []

        def matmul(a, b, out):
            seen.append((a.shape, b.shape))
            assert out.shape == (a @ b).shape

        modules["speed_protocol"].products(SimpleNamespace(matmul=matmul), rows=1500, latents=50)
        inner = [(50, 200), (200, 200), (200, 784)]
        assert seen == 2 * [((1000, shape[0]), shape) for shape in inner]

    def test_counts_train(self, modules, rng):
        fit = modules["speed_fit"].Fit("auto")
        fit.prepare(rng.poisson(1.0, (8, 765)).astype("float32"), 4, "counts", latents=2)
        assert math.isfinite(fit.train(1))


@pytest.fixture(scope="module")
def fit(modules):
    fit = modules["speed_fit"].Fit()
    fit.prepare(np.zeros((3, 784), "float32"), 3, latents=2, counted=True)
    return fit


class TestCount:
    """What an estimate asks of the decoder, by what it is known to ask."""

    def count(self, fit, function, **settings):
        fit.count()
        fit.evaluate(fit.x, function, seed=0, **settings)
        return fit.count()

    def test_samples(self, fit):
        assert self.count(fit, "iwae", num_samples=30)[0] == 90

    def test_gradients(self, fit):
        """Of 100 steps for a pair of samples, forward and back; scores and ELBOs on top."""
        many, _ = self.count(fit, "decompose", num_samples=20, max_steps=200)
        few, _ = self.count(fit, "decompose", num_samples=20, max_steps=100)
        assert many - few >= 2 * 100 * 3 * 2

    def test_a_second_call_builds_no_graph(self, fit):
        steps = {"num_chains": 2, "num_steps": 2}
        (_, first), (_, second) = (self.count(fit, "ais", **steps) for _ in range(2))
        assert first > 0 == second

    def test_the_floor_of_convolutions_is_not_counted(self, modules):
        conv = modules["speed_fit"].Fit()
        conv.prepare(np.zeros((3, 784), "float32"), 3, "conv", latents=2, counted=True)
        assert self.count(conv, "elbo", num_samples=30)[0] == 90
        conv.decode(rows=1)
        assert conv.count() == (0, 0)

    def test_parts_of_the_bound(self, fit):
        parts = fit.parts(fit.x, num_samples=200, seed=0)
        assert len(parts) == 6 and min(parts.values()) > 0


def cell(slower=1.0, **more):
    seconds = {"bare": 0.2, "fit": 0.21 * slower, "torch": 0.5, "keras_guide": 0.6}
    found = {"model": "mlp", "batch": 128, "latents": 50, "steps": 160, "epochs": 30}
    found["seconds"] = {name: [0.99 * s, s, 1.5 * s] for name, s in seconds.items()}
    return found | {"losses": dict.fromkeys(seconds, 100.5)} | more


def other(**more):
    """A cell of another model."""
    seconds = {"fit": [0.2] * 3, "keras": [0.5] * 3, "torch": [0.4] * 3}
    found = {"model": "counts", "batch": 50, "latents": 10, "seconds": seconds}
    return cell(**found, losses=dict.fromkeys(seconds, 650.0)) | more


def estimate(**more):
    """A case of the evaluation."""
    seconds = {"products": [1.0] * 5, "fit": [1.4] * 5, "torch": [3.0] * 5}
    found = {"function": "iwae", "model": "mlp", "latents": 50, "images": 100, "settings": {}}
    found |= {"seconds": seconds, "estimates": {"fit": -90.0, "torch": -90.1}}
    return found | {"first call": 3.0, "traced again": 0, "decodings": 500} | more


def growth(power=1.0, peaks=(900.0, 905.0, 910.0)):
    """Times that grow as size^power, with an outlier in each."""
    points = [
        {"size": size, "seconds": [0.001 * size**power] * 4 + [9e9], "peak": peak}
        for size, peak in zip((1000, 2000, 4000), peaks, strict=True)
    ]
    cold = {"auto": [7.0] * 5, "keras": [7.0] * 5}
    return {"cold": cold, "examples": points, "samples": points}


def records(modules, **more):
    """What a run might have found."""
    found = {
        "training": {"cells": [cell(**more), other()]},
        "evaluation": {"cases": [estimate(), estimate(function="ais", estimates={})]},
        "growth": growth(),
    }
    about = {"rounds": 5, "missing": [], "peers": {"PyTorch": "2"}}
    about |= {"machine": "2 cores", "versions": "vae_tf 0 | CPU", "date": "2026-01-01"}
    return {part: modules["speed"].judged(part, about | one) for part, one in found.items()}


class TestVerdict:
    def test_verdicts(self, modules):
        exit_code = modules["table"].exit_code
        good = records(modules)
        assert {one["verdict"] for one in good.values()} == {"agrees"}
        assert exit_code(good.values()) == 0
        slow = records(modules, slower=1.2)  # 1.26 times the bare loop
        assert (slow["training"]["verdict"], exit_code(slow.values())) == ("differs", 1)
        missed = [one["quantity"] for one in slow["training"]["checks"] if not one["holds"]]
        assert missed == ["`fit` over the bare loop, batch 128, L = 50"]

    def test_nobody_is_fast_by_computing_something_else(self, modules):
        losses = cell()["losses"] | {"torch": 90.0}
        assert records(modules, losses=losses)["training"]["verdict"] == "differs"

    @pytest.mark.parametrize(
        "more, held",
        [
            ({}, [True] * 4),
            ({"seconds": {"products": [1.0], "fit": [2.0], "torch": [3.0]}}, [False, *[True] * 3]),
            (
                {"seconds": {"products": [1], "fit": [1], "torch": [2], "torch_compiled": [1.2]}},
                [True, False, True, True],
            ),
            ({"traced again": 2}, [True, True, True, False]),
        ],
    )
    def test_an_estimate(self, modules, more, held):
        found = estimate(**more)
        found["estimates"]["torch_compiled"] = -90.0
        checks = modules["speed_evaluation"].checks({"cases": [found]})
        assert [check.holds for check in checks] == held

    @pytest.mark.parametrize(
        "found, holds",
        [
            (growth(), [True, True, True]),
            (growth(1.1), [False, False, True]),
            (growth(peaks=(900.0, 905.0, 1800.0)), [True, True, False]),
            (growth(peaks=(None, None, None)), [True, True]),
        ],
    )
    def test_what_must_grow_linearly(self, modules, found, holds):
        cold, *checks = modules["speed_growth"].checks(found)
        assert cold.holds and [check.holds for check in checks] == holds

    def test_what_is_missing_is_said(self, modules):
        found = records(modules)
        record = found["training"] | {"missing": ["no package index"]}
        found["training"] = modules["speed"].judged("training", record)
        assert modules["table"].exit_code(found.values()) == 3
        assert "Without peers: no package index." in modules["pages"].the_speed(found)


class TestPages:
    def test_the_committed_pages_are_those_of_the_committed_figures(self, modules):
        pages = modules["pages"]
        for page in {page for page, _ in pages.DRAWN}:
            text = (pages.ROOT / page).read_text("utf-8")
            assert text == pages.written(page, text), f"{page}: run benchmarks/pages.py"
            assert not MACHINE_PATH.findall(text)

    def test_the_committed_verdicts_follow_from_the_figures(self, modules):
        found = modules["pages"].read("speed")
        assert not MACHINE_PATH.findall(json.dumps(found))
        for part, record in found.items():
            again = modules["speed"].judged(part, record)
            assert again["verdict"] == record["verdict"]
            assert json.loads(json.dumps(again["checks"], default=float)) == record["checks"]

    def test_only_what_stands_between_marks_changes(self, modules):
        filled = modules["pages"].filled
        page = "before\n<!-- a begins -->\nstale\n<!-- a ends -->\nafter\n"
        fresh = filled(page, "a", "new")
        assert fresh == page.replace("stale", "new") == filled(fresh, "a", "new")
        with pytest.raises(ValueError, match="marks of 'b'"):
            filled(page, "b", "new")

    def test_each_line_of_a_table_has_as_many_cells(self, modules):
        pages = modules["pages"]
        for found in (records(modules), pages.read("speed")):
            text = pages.the_speed(found) + "\n\n" + pages.the_steps(found)
            for block in re.findall(r"(?:^\|.*\n?)+", text, re.MULTILINE):
                cells = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
                assert len(cells) == 1, block

    def test_missed_targets_are_told(self, modules):
        the_targets = modules["pages"].the_targets
        found = records(modules)
        number = sum(len(record["checks"]) for record in found.values())
        assert the_targets(found) == f"All {number} targets are met."
        told = the_targets(records(modules, slower=1.2))
        assert told.startswith(f"Of {number} targets {number - 1} are met")
        assert "batch 128, L = 50: 1.26 (target: at most 1.15)" in told


STAND_IN = """
import sys, time
sys.path.insert(0, {peers!r})
import speed_protocol as protocol

def says(value):
    def answer(self, **_):
        time.sleep(0.001)
        return value
    return answer

class StandIn:
    prepare = decode = says(None)
    train, weights, evaluate = says(100.0), says([]), says(-90.0)
    count, parts = says((5000, 1)), says({{"noise": 0.25}})

protocol.serve(StandIn())
"""


class TestRun:
    def test_quick_without_peers(self, modules, monkeypatch, capsys, tmp_path):
        """All parts with stand-ins that start at once; nothing is written."""
        contenders = modules["speed_contenders"]
        file = tmp_path / "stand_in.py"
        file.write_text(STAND_IN.format(peers=str(FOLDER / "peers")), "utf-8")
        for name, label in contenders.LABELS.items():
            monkeypatch.setitem(contenders.CONTENDERS, name, (label, str(file), ""))
        monkeypatch.setattr(modules["pages"], "write", None)
        monkeypatch.setattr(modules["speed"], "find_peers", lambda _: (None, {}))
        assert modules["speed"].main(["--quick"]) == 0
        shown = capsys.readouterr().out
        assert "this project's `fit`" in shown and "PyTorch, fused" not in shown
        assert "| mean losses, nats | 100.0 to 100.0 |" in shown
        assert "- `iwae`: compilations of a second call: 1 (target: at most 0)" in shown
        assert "| noise |\n| --- |\n| 0.250 |" in shown
        assert "interpreter to the first epoch's end" in shown

    def test_what_takes_long_is_called_twice_in_all(self, modules):
        evaluation, asked = modules["speed_evaluation"], []

        def ask(question, **_):
            asked.append(question)
            value = (5000, 0) if question == "count" else 0.0
            return {"value": value, "seconds": 30.0 if question == "evaluate" else 1.0}

        grid = next(case for case in evaluation.CASES if case.model == "conv")
        found = evaluation._estimate({"fit": SimpleNamespace(ask=ask)}, grid, np.zeros(4), 3)
        assert asked.count("evaluate") == 2 and found["seconds"]["fit"] == [30.0]
        found["seconds"]["products"] = [10.0]  # of as many decodings
        assert "rounds = 1 | 4 | 30.00 | 30.000 | 10.000 | 3.00 |" in "\n".join(
            evaluation.render({"rounds": 3, "cases": [found]})
        )

    def test_peers_that_cannot_be_had(self, modules, monkeypatch, capsys):
        """A Python that is named and has no PyTorch is an error."""
        speed = modules["speed"]
        reason = modules["table"].NotRun("no package index")
        monkeypatch.setattr(speed, "peer_python", lambda *_: (_ for _ in ()).throw(reason))
        assert speed.find_peers() == (None, {})
        assert "no package index" in capsys.readouterr().out
        with pytest.raises(subprocess.CalledProcessError):
            speed.find_peers(sys.executable)

    @pytest.mark.parametrize(
        "text, error",
        [("raise ImportError('no such library')", "no such library"), (STAND_IN, "no attribute")],
    )
    def test_an_error_is_told(self, modules, monkeypatch, tmp_path, text, error):
        """... of one that does not start, too."""
        contenders, file = modules["speed_contenders"], tmp_path / "one.py"
        file.write_text(text.format(peers=str(FOLDER / "peers")), "utf-8")
        monkeypatch.setitem(contenders.CONTENDERS, "one", ("One", str(file), ""))
        with pytest.raises(RuntimeError, match=f"(?s)One: .*{error}"):
            with contenders.running(["one", "torch"], None) as processes:
                processes["one"].ask("fly")


class TestGpu:
    def test_everything_but_the_long_parts_runs_on_a_cpu(self, modules, capsys):
        assert modules["gpu"].main(["--quick", "--part", "training", "evaluation", "sweep"]) == 0
        assert "In little" in capsys.readouterr().out

    def test_its_table(self, modules):
        about = {"machine": "a chip", "date": "2026-01-01", "versions": "vae_tf 0"}
        record = {"figures": {"steps a second": 2000.0}} | about
        told = modules["pages"].the_gpu({"training": record})
        assert "| training | steps a second | 2,000 |" in told
