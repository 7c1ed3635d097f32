"""The small rooms: plots, headline, seeds, backend."""

import datetime
import hashlib
import json
import os
import platform
import subprocess
from pathlib import Path

import keras
import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest

import vae_tf as vt

matplotlib.use("Agg")
ROOT = Path(__file__).resolve().parents[2]
RESULTS = sorted((ROOT / "data" / "results").glob("*.json"))


class TestPlots:
    def setup_method(self):
        plt.close("all")

    def labels(self, ax):
        return ax.get_xlabel(), ax.get_ylabel()

    def test_every_axis_is_named(self):
        n = np.arange(5.0)
        history = {k: [1.0, 2.0] for k in ("elbo", "reconstruction", "kl", "val_elbo")}
        plots = vt.plots
        axes = [
            plots.curves(n, {"a": n, "b": -n}, "n, count", "nats"),
            plots.terms(history),
            plots.bounds(n - 1, n, n - 0.5, k=10),
            plots.latents(np.ones((3, 2)), [0, 1, 1], names=("a", "b")),
            plots.contours(n, n, {"p": -np.add.outer(n**2, n**2)}),
        ]
        for ax in axes:
            assert all(self.labels(ax)) and ax.get_legend() is not None

    def test_bounds_are_drawn_in_the_order_of_log_p(self):
        ax = vt.plots.bounds([3.0, 1.0], [4.0, 2.0])
        np.testing.assert_array_equal(ax.lines[0].get_ydata(), [2.0, 4.0])
        np.testing.assert_array_equal(ax.lines[1].get_ydata(), [1.0, 3.0])

    def test_a_mosaic_keeps_rows_and_columns(self):
        x = np.zeros((3, 2, 2))
        x[1] = 1.0  # second of the first row, of two columns
        mosaic = np.asarray(vt.plots.images(x, columns=2).images[0].get_array())
        assert mosaic.shape == (8, 8)
        assert mosaic[1:3, 5:7].min() == 1 and mosaic.sum() == 4

    def test_it_draws_on_the_axes_that_it_is_given(self):
        _, ax = plt.subplots()
        assert vt.plots.curves([0, 1], {"a": [0, 1]}, "x", "y", ax=ax) is ax


class TestHeadline:
    def test_it_hands_the_figures_on(self, monkeypatch):
        shown = []
        monkeypatch.setattr("IPython.display.display", lambda data, raw: shown.append((data, raw)))
        vt.headline(ELBO=np.float32(-1.5), log_p=-1.25, note="exact")
        ((data, raw),) = shown
        expected = {"ELBO": -1.5, "log p": -1.25, "note": "exact"}
        assert raw and data["application/vnd.vae-tf.headline+json"] == expected


class TestSeeds:
    def test_different_integers_are_different_seeds(self):
        seeds = {tuple(vt.random.as_seed(n).numpy()) for n in (0, 1, -1, 2**31, 2**32, 2**40)}
        assert len(seeds) == 6

    def test_a_generator_moves_on(self):
        generator = keras.random.SeedGenerator(3)
        a, b = vt.random.as_seed(generator), vt.random.as_seed(generator)
        assert np.any(a != b)

    def test_none_is_fresh(self):
        assert np.any(vt.random.as_seed(None) != vt.random.as_seed(None))

    def test_split(self):
        assert len({tuple(seed) for seed in np.asarray(vt.random.split(0, 5))}) == 5


class TestBackend:
    def test_public_names(self):
        assert set(vt.__all__) <= set(dir(vt))
        for module in (vt.elbo, vt.evidence, vt.layers, vt.networks, vt.plots, vt.random):
            assert all(hasattr(module, name) for name in module.__all__)

    def test_every_public_function_says_what_it_takes_and_gives(self):
        for module in (vt.checks, vt.elbo, vt.evidence, vt.gap, vt.layers, vt.networks, vt.plots):
            for name in module.__all__:
                assert getattr(module, name).__doc__, f"{module.__name__}.{name}"


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A checkout of its own, with a script `00_test.py`."""
    monkeypatch.setattr(vt.results, "_CHECKOUT", tmp_path)
    monkeypatch.setattr(vt.results, "_FOLDERS", (tmp_path,))
    (tmp_path / "00_test.py").write_text("# measures\n")
    return tmp_path


class TestResults:
    figures = {"elbo": [-1.5, -2.0], "label": "beta 1"}

    def save(self, folder, **changed):
        known = {"script": folder / "00_test.py", "seeds": range(2), "seconds": 1.23}
        return vt.results.save("00_test", self.figures, **{**known, **changed})

    def test_what_a_script_saves_a_notebook_loads(self, checkout):
        self.save(checkout, settings={"epochs": 3})
        loaded = vt.results.load("00_test")
        assert loaded["figures"] == self.figures
        assert loaded["made"]["seeds"] == [0, 1]
        assert loaded["made"]["versions"] == vt.about()
        assert loaded["made"]["settings"] == {"epochs": 3}

    def test_it_says_where_it_comes_from(self, checkout):
        self.save(checkout, seeds=[np.int64(3)])
        made = vt.results.load("00_test")["made"]
        assert made["script"] == "00_test.py" and made["seeds"] == [3]
        assert made["script_sha256"] == hashlib.sha256(b"# measures\n").hexdigest()
        assert datetime.date.fromisoformat(made["date"])
        cores, _, processor = made["machine"].partition(" cores, ")
        assert int(cores) == os.cpu_count() and processor
        assert platform.node() not in made["machine"]
        assert made["commit"] is None  # the folder is under no version control

    @pytest.mark.parametrize(("name", "known"), [("", "arm64"), ("i386", "i386")])
    def test_the_processor_where_there_is_no_cpuinfo(self, monkeypatch, name, known):
        def refuse(*_, **__):
            raise FileNotFoundError

        monkeypatch.setattr(Path, "read_text", refuse)
        monkeypatch.setattr(platform, "processor", lambda: name)
        monkeypatch.setattr(platform, "machine", lambda: "arm64")
        assert vt.results._processor() == known

    def test_the_commit_is_that_of_the_script(self):
        run = ["git", "rev-parse", "HEAD"]
        known = subprocess.run(run, cwd=ROOT, capture_output=True, text=True)
        if known.returncode:
            pytest.skip("not a checkout of git")
        commit = vt.results._commit(ROOT / "experiments")
        assert commit.rstrip("+") == known.stdout.strip() and commit.count("+") <= 1

    def test_a_script_has_the_name_of_its_result(self, checkout):
        (checkout / "other.py").write_text("")
        with pytest.raises(ValueError, match="Expected `script` to be 00_test.py. Received: other"):
            self.save(checkout, script=checkout / "other.py")
        with pytest.raises(FileNotFoundError, match="Expected `script`.*Received: none.py"):
            self.save(checkout, script="none.py")
        assert not list(checkout.glob("*.json"))

    @pytest.mark.usefixtures("checkout")
    def test_a_script_may_be_named_from_the_root(self):
        script = "experiments/05_balancing_act.py"
        vt.results.save("05_balancing_act", 1, script=script, seeds=[0], seconds=1)
        assert vt.results.load("05_balancing_act")["made"]["script"] == script

    def test_a_write_that_fails_leaves_the_old_file(self, checkout):
        path = self.save(checkout)
        before = path.read_text()
        with pytest.raises(TypeError):
            vt.results.save(
                "00_test", object(), script=checkout / "00_test.py", seeds=[], seconds=0
            )
        assert path.read_text() == before
        assert sorted(p.name for p in checkout.iterdir()) == ["00_test.json", "00_test.py"]

    def test_an_unknown_name_lists_the_known_ones(self):
        with pytest.raises(FileNotFoundError, match=r"Expected `name` to be one of .*Received"):
            vt.results.load("none")

    @pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
    def test_each_result_names_a_script_that_is_there(self, path):
        made = json.loads(path.read_text(encoding="utf-8"))["made"]
        assert (ROOT / made["script"]).is_file() and Path(made["script"]).stem == path.stem
        assert made["seeds"] and made["seconds"] > 0
        assert vt.results.load(path.stem)["made"] == made


class TestKept:
    run = {"name": "ELBO", "epochs": 3, "seed": 0, "hidden": (4, 5)}

    def kept(self, folder, run, elbo, script=None):
        def make():
            made.append(run)
            return {"elbo": elbo}

        made = []
        script = script or folder / "00_test.py"
        return vt.results.kept(folder / "runs", run, make, script=script), len(made)

    def test_a_run_is_made_once(self, checkout):
        assert self.kept(checkout, self.run, 1.5) == ({"elbo": 1.5}, 1)
        assert self.kept(checkout, self.run, 9.0) == ({"elbo": 1.5}, 0)
        turned = dict(reversed(self.run.items()))
        assert self.kept(checkout, turned, 9.0) == ({"elbo": 1.5}, 0)

    @pytest.mark.parametrize("change", [{"epochs": 4}, {"seed": 1}, {"more": None}])
    def test_other_settings_are_another_run(self, checkout, change):
        self.kept(checkout, self.run, 1.5)
        assert self.kept(checkout, self.run | change, 2.5) == ({"elbo": 2.5}, 1)
        assert self.kept(checkout, self.run, 9.0) == ({"elbo": 1.5}, 0)

    def test_another_text_of_the_script_is_another_run(self, checkout):
        self.kept(checkout, self.run, 1.5)
        (checkout / "00_test.py").write_text("# measures otherwise\n")
        assert self.kept(checkout, self.run, 2.5) == ({"elbo": 2.5}, 1)

    def test_other_versions_are_another_run(self, checkout, monkeypatch):
        self.kept(checkout, self.run, 1.5)
        monkeypatch.setattr(vt.results, "about", lambda: "vae_tf 9.9.9 | TensorFlow 9.9")
        assert self.kept(checkout, self.run, 2.5) == ({"elbo": 2.5}, 1)

    def test_one_may_only_look(self, checkout):
        script = checkout / "00_test.py"
        assert vt.results.kept(checkout / "runs", self.run, None, script=script) is None
        assert not (checkout / "runs").exists()
        self.kept(checkout, self.run, 1.5)
        found = vt.results.kept(checkout / "runs", self.run, None, script=script)
        assert found == {"elbo": 1.5}

    def test_the_first_answer_is_as_the_later_ones(self, checkout):
        script = checkout / "00_test.py"
        answers = [
            vt.results.kept(checkout / "runs", self.run, lambda: {1: (2, 3)}, script=script)
            for _ in range(2)
        ]
        assert answers == [{"1": [2, 3]}] * 2

    def test_a_run_that_fails_leaves_nothing(self, checkout):
        def fail():
            raise RuntimeError("stopped")

        for make in (fail, object):  # in the run; as it is written
            with pytest.raises((RuntimeError, TypeError)):
                vt.results.kept(checkout / "runs", self.run, make, script=checkout / "00_test.py")
        assert not list((checkout / "runs").glob("*"))

    def test_a_file_says_what_it_is_of(self, checkout):
        self.kept(checkout, self.run, 1.5)
        (path,) = (checkout / "runs").iterdir()
        content = json.loads(path.read_text())
        assert content["settings"]["epochs"] == 3 and content["versions"] == vt.about()
