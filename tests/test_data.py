"""The data: what `load` returns, what it refuses, and what `Batches` feeds to `fit`."""

import gzip
import hashlib
import importlib.util
import io
import itertools
import os
import pathlib
import random
import shutil
import socket
import struct
import sys
import tempfile
import urllib.error

import keras
import numpy as np
import pytest
import scipy.sparse
import tensorflow as tf

from vae_tf import data

SCRIPTS = pathlib.Path(__file__).resolve().parent.parent / "data"
SHAPES = {
    "mnist5k": [(4000, 28, 28), (500, 28, 28), (500, 28, 28)],
    "digits": [(1297, 8, 8), (250, 8, 8), (250, 8, 8)],
    "pbmc": [(500, 765), (100, 765), (100, 765)],
    "fashion_mnist": [(55000, 28, 28), (5000, 28, 28), (10000, 28, 28)],
}
SEEDS = {"mnist5k": (500, 5000), "digits": (250, 1797), "pbmc": (100, 700)}
SMALL = sorted(SEEDS)


@pytest.fixture
def empty_machine(monkeypatch, tmp_path):
    """No larger set anywhere, and a network that fails the test if it is asked."""

    def urlopen(*args, **kwargs):
        raise AssertionError(f"the network was asked: {args}, {kwargs}")

    monkeypatch.setattr(data, "_SYSTEM_FOLDER", tmp_path / "system")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("VAE_TF_DATA", str(tmp_path / "own"))
    monkeypatch.setattr("urllib.request.urlopen", urlopen)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    return tmp_path


def idx(array):
    """The idx file of an array of small whole numbers, by the format's own description."""
    array = np.asarray(array, np.uint8)
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


@pytest.fixture
def small_mnist(empty_machine, monkeypatch):
    """An MNIST of 15 images in `own/mnist.npz`, with checksums of its own."""
    rng, folder = np.random.default_rng(0), empty_machine / "own"
    x, y = rng.integers(256, size=(15, 28, 28)), rng.integers(10, size=15)
    arrays = {"x_train": x[:11], "y_train": y[:11], "x_test": x[11:], "y_test": y[11:]}
    arrays = {key: array.astype("uint8") for key, array in arrays.items()}
    sums = {key: hashlib.sha256(idx(arrays[m])).hexdigest() for key, m in data._MEMBERS.items()}
    monkeypatch.setitem(data._LARGER, "mnist", data._LARGER["mnist"]._replace(sums=sums))
    monkeypatch.setattr(data, "_NUM_TRAIN", 8)
    folder.mkdir()
    np.savez_compressed(folder / "mnist.npz", **dict(reversed(arrays.items())))
    return arrays


class Response(io.BytesIO):
    """An answer of the network."""

    def info(self):
        return {}


def rows(x):
    return {row.tobytes() for row in x}


def archive(name):
    with np.load(SCRIPTS / f"{name}.npz") as f:
        return dict(f)


def make_script_helpers():
    spec = importlib.util.spec_from_file_location("_write", SCRIPTS / "_write.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class TestLoad:
    @pytest.mark.parametrize("name", SMALL)
    def test_shapes_types_and_names(self, name):
        d = data.load(name)
        assert [x.shape for x in d[:3]] == SHAPES[name]
        assert [y.shape for y in d[3:6]] == [shape[:1] for shape in SHAPES[name]]
        assert all(x.dtype == np.float32 for x in d[:3])
        assert all(y.dtype == np.int32 for y in d[3:6])
        assert len(d.label_names) == 10 and all(type(label) is str for label in d.label_names)
        assert all(set(y.tolist()) == set(range(10)) for y in d[3:6])

    @pytest.mark.parametrize("name", ["mnist5k", "digits"])
    def test_images_are_grey_levels(self, name):
        d = data.load(name)
        for x in d[:3]:
            assert x.min() == 0.0 and x.max() == 1.0
        assert d.label_names == tuple("0123456789") and d.feature_names is None

    def test_pbmc_holds_whole_counts_with_names(self):
        d = data.load("pbmc")
        for x in d[:3]:
            np.testing.assert_array_equal(x, np.round(x))
            assert x.min() == 0.0
            assert np.all(np.where(x > 0, x, np.inf).min(axis=1) == 1.0)  # one molecule
        assert max(x.max() for x in d[:3]) == 259
        assert len(d.feature_names) == len(set(d.feature_names)) == 765
        assert "CD19+ B" in d.label_names
        # B cells express CD79A, killer cells NKG7: names, columns and labels belong together
        x, y = np.concatenate(d[:3]), np.concatenate(d[3:6])
        for gene, cell_type in (("CD79A", "CD19+ B"), ("NKG7", "CD56+ NK")):
            count = x[:, d.feature_names.index(gene)]
            inside = y == d.label_names.index(cell_type)
            assert count[inside].mean() > 3 * count[~inside].mean()

    @pytest.mark.parametrize("name", SMALL)
    def test_splits_are_disjoint_and_complete(self, name):
        d, f = data.load(name), archive(name)
        parts = [rows(x) for x in d[:3]]
        assert not parts[0] & parts[1] and not parts[0] & parts[2] and not parts[1] & parts[2]
        one = {"mnist5k": 255, "digits": 16, "pbmc": 1}[name]
        everything = f["x"].astype(np.float32) / np.float32(one)
        assert parts[0] | parts[1] | parts[2] == rows(everything)
        assert sum(map(len, parts)) == len(everything)  # hence no example twice, in one or in two

    @pytest.mark.parametrize("name", SMALL)
    def test_labels_belong_to_their_rows(self, name):
        d, f = data.load(name), archive(name)
        for k, y in enumerate(d[3:6]):
            np.testing.assert_array_equal(y, f["y"][f["split"] == k])
        means = np.stack([d.x_train[d.y_train == k].mean(axis=0).ravel() for k in range(10)])
        x = d.x_test.reshape(len(d.x_test), -1)
        nearest = ((x[:, None] - means) ** 2).sum(axis=-1).argmin(axis=1)
        assert np.mean(nearest == d.y_test) > 0.5  # 0.1 if labels and rows were unrelated

    @pytest.mark.parametrize("name", [*SMALL, "fashion_mnist"])
    def test_arrays_are_read_only(self, name):
        if name == "fashion_mnist" and not (data._SYSTEM_FOLDER / "fashion-mnist").is_dir():
            pytest.skip("dataset-fashion-mnist is not installed")
        for array in data.load(name)[:6]:
            with pytest.raises(ValueError, match="read-only"):
                array[0] = 0

    @pytest.mark.parametrize("name", ["MNIST", "sprite", "", "../digits", 3, None, ["digits"]])
    def test_unknown_name(self, name):
        with pytest.raises(ValueError, match=r"Expected name .*'digits'.*Received: name="):
            data.load(name)

    def test_public_names(self):
        assert sorted(data.__all__) == ["Batches", "Dataset", "binarize", "load"]
        assert data.Dataset._fields[:6] == (
            *("x_train", "x_val", "x_test"),
            *("y_train", "y_val", "y_test"),
        )

    @pytest.mark.parametrize("name", SMALL)
    def test_the_others_have_no_factors(self, name):
        assert data.load(name).factor_names is data.load(name).factor_sizes is None


@pytest.fixture(scope="module")
def sprites():
    """The three splits as one, in the order of the factors: x [3, 4, 5, 10, 10, 24, 24]."""
    d = data.load("sprites")
    x, y = np.concatenate(d[:3]), np.concatenate(d[3:6])
    return x[np.lexsort(y.T[::-1])].reshape(3, 4, 5, 10, 10, 24, 24)


class TestSprites:
    def test_shapes_types_and_names(self):
        d = data.load("sprites")
        assert [x.shape for x in d[:3]] == [(n, 24, 24) for n in (5000, 500, 500)]
        assert [y.shape for y in d[3:6]] == [(n, 5) for n in (5000, 500, 500)]
        assert all(x.dtype == np.float32 and set(np.unique(x)) == {0.0, 1.0} for x in d[:3])
        assert all(y.dtype == np.int32 for y in d[3:6])
        assert d.factor_names == ("shape", "scale", "rotation", "x", "y")
        assert d.factor_sizes == (3, 4, 5, 10, 10)
        assert all(type(size) is int for size in d.factor_sizes)
        assert d.label_names == ("square", "ellipse", "triangle") and d.feature_names is None
        for array in d[:6]:
            with pytest.raises(ValueError, match="read-only"):
                array[0] = 0

    def test_every_combination_once_and_no_image_twice(self):
        d = data.load("sprites")
        x, y = np.concatenate(d[:3]), np.concatenate(d[3:6])
        combinations = set(map(tuple, y.tolist()))
        assert combinations == set(itertools.product(*map(range, d.factor_sizes)))
        assert len(y) == len(combinations) == len(rows(x)) == 6000
        # nor nearly twice: two sprites at the same place differ in at least 4 pixels
        here = x[(y[:, 3] == 4) & (y[:, 4] == 4)].reshape(60, -1)
        apart = np.abs(here[:, None] - here).sum(axis=-1) + 99 * np.eye(60)
        assert apart.min() >= 4

    def test_split_is_what_the_make_script_draws(self):
        f = archive("sprites")
        sprite = np.ravel_multi_index(f["y"][:, :3].T, (3, 4, 5))
        split = make_script_helpers().stratified_split(sprite, 500, 500, 6000)
        np.testing.assert_array_equal(f["split"], split)
        for k in (1, 2):  # each of 60 sprites gives its share, 8 or 9, to either
            assert set(np.bincount(sprite[split == k])) == {8, 9}
        first = f["y"][:300]  # in random order: the first rows are a fair sample
        assert all(len(np.unique(first[:, k])) == n for k, n in enumerate((3, 4, 5, 10, 10)))

    def test_readme_states_size_and_checksum(self):
        content = (SCRIPTS / "sprites.npz").read_bytes()
        readme = (SCRIPTS / "README.md").read_text(encoding="utf-8")
        assert hashlib.sha256(content).hexdigest() == data._SHIPPED["sprites"][0]
        assert f"`{data._SHIPPED['sprites'][0]}`" in readme and f"{len(content):,}" in readme
        assert len(content) < 60_000

    def test_the_script_draws_what_is_stored(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "_write", make_script_helpers())
        spec = importlib.util.spec_from_file_location("make_sprites", SCRIPTS / "make_sprites.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        written = {}
        monkeypatch.setattr(module, "write", lambda _, **arrays: written.update(arrays))
        module.main()
        stored = archive("sprites")
        assert written.keys() == stored.keys()
        for key, array in written.items():
            np.testing.assert_array_equal(array, stored[key])

    def test_a_step_of_x_or_y_moves_the_image_by_a_pixel(self, sprites):
        # `roll` would bring a pixel that leaves the picture in again on the other side
        np.testing.assert_array_equal(sprites[:, :, :, 1:], np.roll(sprites[:, :, :, :-1], 1, -1))
        np.testing.assert_array_equal(
            sprites[:, :, :, :, 1:], np.roll(sprites[:, :, :, :, :-1], 1, -2)
        )

    def test_the_mean_of_the_pixels_is_the_centre(self, sprites):
        c = np.arange(24) + 0.5
        on = sprites[:2].sum(axis=(-1, -2))  # square and ellipse are symmetric about their centre
        x = (sprites[:2].sum(axis=-2) @ c) / on  # [2, 4, 5, 10, 10]
        y = (sprites[:2].sum(axis=-1) @ c) / on
        # a pixel at the edge may fall to either side: less than a third of a pixel for the mean
        assert np.abs(x - (7.25 + np.arange(10))[:, None]).max() < 1 / 3
        assert np.abs(y - (7.4 + np.arange(10))).max() < 1 / 3

    def test_areas_are_those_of_the_geometry(self, sprites):
        radius = np.array([4.5, 5.3, 6.1, 6.9])
        for k, area in enumerate((2.0, np.pi / 2, 1.08)):  # triangle: 1.2 * 1.8 / 2
            pixels = sprites[k].sum(axis=(-1, -2)).mean(axis=(1, 2, 3))
            # pixels along an edge are in or out like coins: about 40 of them, over 5 angles
            np.testing.assert_allclose(pixels, area * radius**2, atol=4 * np.sqrt(40 / 4 / 5))

    def test_rotation_turns_the_long_axis_of_the_ellipse(self, sprites):
        x, up = np.arange(24.0), -np.arange(24.0)
        for angle, image in enumerate(sprites[1, 3, :, 5, 5]):
            p = image / image.sum()
            dx, dy = x - (p.sum(0) @ x), up - (p.sum(1) @ up)
            moments = dx**2 @ p.sum(0), dy**2 @ p.sum(1), dy @ p @ dx
            tilt = np.rad2deg(np.arctan2(2 * moments[2], moments[0] - moments[1]) / 2)
            assert tilt == pytest.approx(18 * angle, abs=4)  # anticlockwise


class TestShippedFiles:
    @pytest.mark.parametrize("name", SMALL)
    def test_split_is_what_the_make_script_draws(self, name):
        size, seed = SEEDS[name]
        script = (SCRIPTS / f"make_{name}.py").read_text(encoding="utf-8")
        assert f"num_val={size}, num_test={size}, seed={seed})" in script
        f = archive(name)
        split = make_script_helpers().stratified_split(f["y"], size, size, seed)
        np.testing.assert_array_equal(f["split"], split)

    @pytest.mark.parametrize("name", SMALL)
    def test_split_is_stratified(self, name):
        f = archive(name)
        size = SEEDS[name][0]
        for k in (1, 2):
            shares = np.bincount(f["y"]) * size / len(f["y"])
            taken = np.bincount(f["y"][f["split"] == k], minlength=10)
            assert np.all(np.abs(taken - shares) < 1) and taken.sum() == size

    def test_stored_arrays(self):
        x, y = archive("mnist5k")["x"], archive("mnist5k")["y"]
        assert x.dtype == np.uint8 and np.array_equal(np.bincount(y), np.full(10, 500))
        assert len(np.unique(y[:50])) == 10  # in random order: the first rows are a fair sample
        x, y = archive("digits")["x"], archive("digits")["y"]
        assert x.dtype == np.uint8 and x.max() == 16
        counts = [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]  # as the source states
        assert np.bincount(y).tolist() == counts
        x = archive("pbmc")["x"]
        assert x.dtype == np.uint16 and x.sum(axis=0).min() > 0

    @pytest.mark.parametrize("name", SMALL)
    def test_readme_states_size_and_checksum(self, name):
        content = (SCRIPTS / f"{name}.npz").read_bytes()
        readme = (SCRIPTS / "README.md").read_text(encoding="utf-8")
        assert hashlib.sha256(content).hexdigest() == data._SHIPPED[name][0]
        assert f"`{data._SHIPPED[name][0]}`" in readme and f"{len(content):,}" in readme

    def test_writing_again_gives_the_same_bytes(self, monkeypatch, tmp_path, capsys):
        helpers = make_script_helpers()
        monkeypatch.setattr(helpers, "__file__", str(tmp_path / "_write.py"))
        written = []
        for _ in range(2):
            helpers.write("digits", **archive("digits"))
            written.append((tmp_path / "digits.npz").read_bytes())
        assert written[0] == written[1]
        assert hashlib.sha256(written[0]).hexdigest() in capsys.readouterr().out

    def test_the_installed_folder_comes_first(self, monkeypatch, tmp_path):
        shutil.copy(SCRIPTS / "digits.npz", tmp_path / "digits.npz")
        monkeypatch.setattr(data, "_SHIPPED_FOLDERS", (tmp_path, tmp_path / "absent"))
        assert data.load("digits").x_train.shape == (1297, 8, 8)
        with pytest.raises(FileNotFoundError, match="(?s)Expected pbmc.npz.*absent.*Received"):
            data.load("pbmc")

    def test_folders_are_those_of_a_wheel_and_of_a_checkout(self):
        package = pathlib.Path(data.__file__).resolve().parent
        assert data._SHIPPED_FOLDERS == (package / "_files", package.parent / "data")

    @pytest.mark.parametrize("damage", ["flip", "truncate", "empty"])
    def test_a_changed_file_is_refused(self, monkeypatch, tmp_path, damage):
        content = bytearray((SCRIPTS / "digits.npz").read_bytes())
        if damage == "flip":
            content[20_000] ^= 1
        else:
            content = content[: {"truncate": -1, "empty": 0}[damage]]
        (tmp_path / "digits.npz").write_bytes(content)
        monkeypatch.setattr(data, "_SHIPPED_FOLDERS", (tmp_path, SCRIPTS))
        with pytest.raises(ValueError) as error:
            data.load("digits")
        for said in (
            "Expected",
            data._SHIPPED["digits"][0],
            "Received",
            hashlib.sha256(content).hexdigest(),
            "Install vae_tf again",
        ):
            assert said in str(error.value)


class TestLargerSets:
    def test_fashion_mnist(self, monkeypatch):
        if not (data._SYSTEM_FOLDER / "fashion-mnist").is_dir():
            pytest.skip("dataset-fashion-mnist is not installed")
        monkeypatch.delenv("VAE_TF_DATA", raising=False)
        d = data.load("fashion_mnist")
        assert [x.shape for x in d[:3]] == SHAPES["fashion_mnist"]
        assert all(x.dtype == np.float32 and x.min() == 0 and x.max() == 1 for x in d[:3])
        assert d.y_train[:5].tolist() == [9, 0, 0, 3, 0] and d.label_names[9] == "Ankle boot"
        assert np.bincount(d.y_test).tolist() == [1000] * 10
        assert np.bincount(np.concatenate([d.y_train, d.y_val])).tolist() == [6000] * 10
        parts = [rows(x) for x in d[:3]]
        assert list(map(len, parts)) == [55_000, 5_000, 10_000]
        assert not parts[0] & parts[1] and not parts[0] & parts[2] and not parts[1] & parts[2]

    def test_mnist_is_cut_in_the_frozen_order(self, small_mnist):
        d = data.load("mnist")
        assert [x.shape for x in d[:3]] == [(n, 28, 28) for n in (8, 3, 4)]
        np.testing.assert_array_equal(d.x_train, small_mnist["x_train"][:8] / np.float32(255))
        np.testing.assert_array_equal(d.x_val, small_mnist["x_train"][8:] / np.float32(255))
        np.testing.assert_array_equal(np.concatenate([d.y_train, d.y_val]), small_mnist["y_train"])
        np.testing.assert_array_equal(d.y_test, small_mnist["y_test"])
        assert d.label_names == tuple("0123456789") and d.x_train.dtype == np.float32

    @pytest.mark.parametrize("form", ["stored", "compressed", "wide"])
    def test_a_repacked_archive_has_the_same_content(self, small_mnist, empty_machine, form):
        expected, path = data.load("mnist"), empty_machine / "own" / "mnist.npz"
        before = path.read_bytes()
        wide = {key: array.astype("int64") for key, array in small_mnist.items()}
        save = np.savez if form == "stored" else np.savez_compressed
        save(path, **(wide if form == "wide" else small_mnist))
        assert path.read_bytes() != before
        for ours, theirs in zip(data.load("mnist")[:6], expected[:6], strict=True):
            np.testing.assert_array_equal(ours, theirs)

    @pytest.mark.parametrize("packed", [True, False])
    @pytest.mark.parametrize("place", ["own", "system", "keras/datasets"])
    def test_mnist_from_four_files(self, small_mnist, empty_machine, place, packed):
        expected = data.load("mnist")
        (empty_machine / "own" / "mnist.npz").unlink()
        folder = empty_machine / place / "mnist"
        folder.mkdir(parents=True)
        for key, member in data._MEMBERS.items():
            content = idx(small_mnist[member])
            name = f"{key}-ubyte" + ".gz" * packed
            (folder / name).write_bytes(gzip.compress(content) if packed else content)
        for ours, theirs in zip(data.load("mnist")[:6], expected[:6], strict=True):
            np.testing.assert_array_equal(ours, theirs)

    def test_places_are_searched_in_order(self, small_mnist, empty_machine):
        key, larger = "t10k-labels-idx1", data._LARGER["mnist"]
        archive = empty_machine / "own" / "mnist.npz"
        places = [empty_machine / "keras/datasets", empty_machine / "system", empty_machine / "own"]
        contents = {place: idx(small_mnist["y_test"] + i) for i, place in enumerate(places, 1)}
        for place in places:  # the last place first: each new one takes precedence
            path = place / "mnist" / f"{key}-ubyte.gz"
            path.parent.mkdir(parents=True)
            path.write_bytes(gzip.compress(contents[place]))
            archive.unlink(missing_ok=True)
            sums = {key: hashlib.sha256(contents[place]).hexdigest()}
            found = data._array(larger._replace(sums=sums), key)
            assert idx(found) == contents[place]

    def test_the_real_mnist(self, monkeypatch):
        folder = pathlib.Path(os.environ.get("VAE_TF_DATA") or "none")
        if not (folder / "mnist").is_dir():
            pytest.skip("no MNIST under VAE_TF_DATA")
        monkeypatch.setenv("VAE_TF_DATA", str(folder))
        d = data.load("mnist")
        assert [x.shape for x in d[:3]] == SHAPES["fashion_mnist"]
        assert d.y_train[:5].tolist() == [5, 0, 4, 1, 9]
        few, all_ = rows(data.load("mnist5k").x_test), rows(d.x_train) | rows(d.x_val)
        assert few <= all_

    @pytest.mark.parametrize("place", ["own", "system", "keras/datasets"])
    @pytest.mark.parametrize(
        "content",
        [gzip.compress(b"other", mtime=0), b"no gzip", b"\x1f\x8b\x08"],
        ids=["other", "no-gzip", "truncated"],
    )
    def test_a_damaged_copy_is_refused(self, empty_machine, place, content):
        path = empty_machine / place / "fashion-mnist" / "train-images-idx3-ubyte.gz"
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
        with pytest.raises(ValueError, match="(?s)Expected .* SHA-256 c59f.* Received: .*Delete"):
            data.load("fashion_mnist")
        assert path.read_bytes() == content

    @pytest.mark.parametrize("content", [b"PK", b"", b"no archive", b"\x80\x04N."])
    def test_a_damaged_npz_is_refused(self, empty_machine, content):
        (empty_machine / "own").mkdir()
        (empty_machine / "own" / "mnist.npz").write_bytes(content)
        with pytest.raises(ValueError, match="(?s)Expected .* SHA-256 ba89.* Received: .*Delete"):
            data.load("mnist")

    def test_another_npz_is_refused(self, small_mnist, empty_machine):
        path = empty_machine / "own" / "mnist.npz"
        for changed in (small_mnist | {"x_test": small_mnist["x_test"] + 1}, {"a": np.zeros(2)}):
            np.savez(path, **changed)
            with pytest.raises(ValueError, match="(?s)Expected .* SHA-256 .* Received: .*Delete"):
                data.load("mnist")

    @pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
    def test_offline_names_every_place_and_what_to_do(self, empty_machine, monkeypatch, name):
        def urlopen(url, _=None):
            assert url.startswith(data._ADDRESS) and 0 < socket.getdefaulttimeout() <= 10
            raise urllib.error.URLError("no route to host")

        monkeypatch.setattr("urllib.request.urlopen", urlopen)
        with pytest.raises(FileNotFoundError) as error:
            data.load(name)
        for said in ("own", "system", "keras", "https://", "no route to host", "VAE_TF_DATA"):
            assert said in str(error.value)
        assert not (empty_machine / "keras").exists() and socket.getdefaulttimeout() is None
        assert not list((empty_machine / "temporary").iterdir())

    def download(self, monkeypatch, response):
        def urlopen(url, _=None):
            assert url == data._ADDRESS + "t10k-labels-idx1-ubyte.gz"
            return response

        monkeypatch.setattr("urllib.request.urlopen", urlopen)
        key = "t10k-labels-idx1"
        larger = data._LARGER["fashion_mnist"]
        sums = {key: hashlib.sha256(idx(np.arange(3))).hexdigest()}
        return data._array(larger._replace(sums=sums), key)

    def test_a_download_goes_into_the_keras_cache(self, empty_machine, monkeypatch):
        content = gzip.compress(idx(np.arange(3)))
        found = self.download(monkeypatch, Response(content))
        np.testing.assert_array_equal(found, np.arange(3))
        folder = empty_machine / "keras" / "datasets" / "fashion-mnist"
        assert [path.name for path in folder.iterdir()] == ["t10k-labels-idx1-ubyte.gz"]
        assert (folder / "t10k-labels-idx1-ubyte.gz").read_bytes() == content

    def test_a_wrong_download_leaves_nothing(self, empty_machine, monkeypatch):
        with pytest.raises(ValueError, match="(?s)Expected .* Received: .*It came from"):
            self.download(monkeypatch, Response(b"<html>please log in</html>"))
        assert not (empty_machine / "keras").exists()
        assert not list((empty_machine / "temporary").iterdir())

    def test_an_interrupted_download_leaves_nothing(self, empty_machine, monkeypatch):
        class Broken(Response):
            def read(self, size=-1):
                if self.tell() >= 2**17:
                    raise TimeoutError("timed out")
                return super().read(size)

        with pytest.raises(FileNotFoundError, match="timed out"):
            self.download(monkeypatch, Broken(bytes(2**18)))
        assert not (empty_machine / "keras").exists()
        assert not list((empty_machine / "temporary").iterdir())


class TestBinarize:
    def test_mean_is_the_grey_level(self):
        n = 20_000
        grey = np.linspace(0, 1, 11)
        x = data.binarize(np.tile(grey, (n, 1)), seed=0)
        assert x.dtype == np.float32 and set(np.unique(x)) == {0.0, 1.0}
        # standard error of a mean of n Bernoulli draws; it is 0 at the ends
        assert np.all(np.abs(x.mean(axis=0) - grey) <= 4 * np.sqrt(grey * (1 - grey) / n))

    def test_pixels_are_independent(self):
        n = 20_000
        a, b = data.binarize(np.full((n, 2), 0.5), seed=1).T
        assert abs(np.mean(a * b) - 0.25) <= 4 * np.sqrt(0.25 * 0.75 / n)

    def test_seed(self):
        x = data.load("digits").x_train
        a, b, c = (data.binarize(x, seed) for seed in (3, np.int64(3), 4))
        np.testing.assert_array_equal(a, b)
        assert not np.array_equal(a, c)
        assert a.shape == x.shape and a.flags.writeable

    def test_binary_stays_as_it_is(self):
        x = np.array([[0, 1, 1], [1, 0, 0]])
        for same in (x, x.astype(bool), x.astype(np.float64), x.tolist()):
            np.testing.assert_array_equal(data.binarize(same, seed=0), x)
        assert data.binarize(np.zeros((0, 3)), seed=0).shape == (0, 3)

    @pytest.mark.parametrize("bad", [-1e-9, 1.0000001, 255.0, np.nan, np.inf, -np.inf])
    def test_refuses_what_is_no_grey_level(self, bad):
        with pytest.raises(ValueError, match=r"Expected x .*\[0, 1\]\. Received: "):
            data.binarize(np.array([0.5, bad]), seed=0)

    @pytest.mark.parametrize("bad", [["a"], [1j], [None]])
    def test_refuses_what_is_no_number(self, bad):
        with pytest.raises(ValueError, match="Expected `x` to hold real numbers. Received: "):
            data.binarize(bad, seed=0)

    @pytest.mark.parametrize("seed", [True, np.bool_(False), 1.0, "1", None, -1])
    def test_refuses_what_is_no_seed(self, seed):
        with pytest.raises(ValueError, match="Expected seed to be an integer >= 0. Received"):
            data.binarize(np.zeros(2), seed)


def epochs(batches, num=3):
    """The batches of the next `num` epochs."""
    seen = []
    for _ in range(num):
        seen.append([batches[i] for i in range(len(batches))])
        batches.on_epoch_end()
    return seen


class TestBatches:
    x = np.arange(1, 34, dtype=np.float32).reshape(11, 3)
    grey = np.linspace(0, 1, 300).reshape(10, 5, 6)

    def test_every_example_once_per_epoch_in_a_new_order(self):
        orders = []
        for seen in epochs(data.Batches(self.x, batch_size=4)):
            assert [batch.shape for batch in seen] == [(4, 3), (4, 3), (3, 3)]
            assert all(type(batch) is np.ndarray and batch.dtype == np.float32 for batch in seen)
            order = np.concatenate(seen)
            np.testing.assert_array_equal(order[order[:, 0].argsort()], self.x)
            orders.append(order.tobytes())
        assert len(set(orders)) == 3 and self.x.tobytes() not in orders

    @pytest.mark.parametrize("binarize", [False, True])
    def test_seed_and_epoch_determine_every_batch(self, binarize):
        a, b, c = (data.Batches(self.grey, 4, seed, binarize) for seed in (7, 7, 8))
        first = epochs(a)
        for i in (2, 0, 1, 0):  # b is asked in another order, and again: no draw is shared
            np.testing.assert_array_equal(b[i], first[0][i])
        for ours, theirs in zip(first, epochs(b), strict=True):
            for x, y in zip(ours, theirs, strict=True):
                np.testing.assert_array_equal(x, y)
        assert not np.array_equal(first[0][0], c[0])

    def test_dynamic_binarisation_changes_static_does_not(self):
        x = np.full((6, 200), 0.5)
        draws = [rows(np.concatenate(seen)) for seen in epochs(data.Batches(x, 4, 0, True))]
        assert all(len(draw) == 6 for draw in draws)  # rows of one epoch differ
        assert not draws[0] & draws[1] and not draws[1] & draws[2] and not draws[0] & draws[2]
        static = data.binarize(x, seed=0)
        for seen in epochs(data.Batches(static, 4)):
            assert rows(np.concatenate(seen)) == rows(static)
            assert set(np.unique(np.concatenate(seen))) == {0.0, 1.0}

    def test_dynamic_binarisation_has_the_right_mean(self):
        n = 4_000
        grey = np.linspace(0, 1, 9)
        batches = data.Batches(np.tile(grey, (n, 1)), 1000, seed=2, binarize=True)
        mean = np.concatenate(epochs(batches, 1)[0]).mean(axis=0)
        assert np.all(np.abs(mean - grey) <= 4 * np.sqrt(grey * (1 - grey) / n))

    def test_data_stays_as_it_was(self):
        x = data.load("digits").x_val
        batches = data.Batches(x, 100, binarize=True)
        epochs(batches)
        np.testing.assert_array_equal(x, data.load("digits").x_val)
        assert len(batches) == 3 and batches.epoch == 3

    def test_iteration_ends(self):
        assert [len(batch) for batch in data.Batches(self.x, 5)] == [5, 5, 1]
        batches = data.Batches(self.x, 5)
        for index in (3, -1):
            with pytest.raises(IndexError, match="Expected 0 <= index < 3. Received: index="):
                batches[index]

    @pytest.mark.parametrize(
        ("kwargs", "said"),
        [
            ({"x": np.zeros((0, 3))}, "Expected x of shape"),
            ({"x": 0.5}, "Expected `x` to be an array of examples"),
            ({"x": scipy.sparse.csr_matrix(np.eye(3))}, r"`x.toarray\(\)` makes one"),
            ({"x": np.ma.masked_less(np.eye(3), 0.5)}, "without masked entries"),
            ({"x": [[np.nan]]}, "Expected x to hold finite"),
            ({"x": [[np.inf]]}, "Expected x to hold finite"),
            ({"x": [["a"]]}, "Expected `x` to hold real numbers"),
            ({"x": [[1.5]], "binarize": True}, "Expected x to hold grey levels"),
            ({"binarize": 1}, "Expected binarize to be a bool"),
            ({"batch_size": 0}, "Expected `batch_size` to be a positive integer"),
            ({"batch_size": 2.0}, "Expected `batch_size` to be a positive integer"),
            ({"batch_size": True}, "Expected `batch_size` to be a positive integer"),
            ({"condition": np.zeros(10)}, "Expected `condition` with a row for each of 11"),
            ({"condition": (np.zeros(11), np.zeros(3))}, "Expected `condition` with a row"),
            ({"condition": ()}, "Expected `condition` with a row"),
            ({"condition": np.full(11, np.nan)}, "Expected `condition` to hold finite numbers"),
            ({"seed": None}, "Expected seed to be an integer >= 0"),
            ({"seed": True}, "Expected seed to be an integer >= 0"),
        ],
    )
    def test_refuses(self, kwargs, said):
        with pytest.raises(ValueError, match=f"{said}.* Received: "):
            data.Batches(**{"x": self.x, **kwargs})


class TestPixelsInEveryMode:
    """The same seed gives the same pixels eagerly, in a graph and under XLA."""

    @pytest.mark.parametrize("jit_compile", [False, True])
    def test_draw(self, jit_compile):
        x = np.random.default_rng(0).random((17, 9, 5), np.float32)
        batches = data.Batches(x, 17, seed=3, binarize=True)
        program = tf.function(data.Batches.draw, jit_compile=jit_compile)
        for index in (0, 5):
            drawn = program(tf.constant(x), tf.constant(batches.draw_seed), tf.constant(index))
            eager = data.Batches.draw(x, batches.draw_seed, index)
            np.testing.assert_array_equal(drawn, eager)

    def test_they_are_those_of_earlier_versions(self):
        x, seed = np.full((20, 30), 0.5, np.float32), np.array([5, -7], np.int32)
        own = tf.random.experimental.stateless_fold_in(seed, 2, alg="philox")
        uniform = tf.random.stateless_uniform(x.shape, own, alg="philox")
        np.testing.assert_array_equal(
            data.Batches.draw(x, seed, 2), tf.cast(uniform < x, "float32")
        )


class TestCondition:
    x = np.arange(66, dtype=np.float32).reshape(22, 3)

    def test_its_rows_go_with_those_of_x(self):
        labels, sizes = np.arange(22), np.linspace(0, 1, 44).reshape(22, 2)
        batches = data.Batches(self.x, 5, seed=1, condition=(labels, sizes))
        for seen in epochs(batches, 2):
            for ((x, label, size),) in seen:
                np.testing.assert_array_equal(x, self.x[label])
                np.testing.assert_array_equal(size, sizes[label].astype("float32"))
                assert label.dtype == labels.dtype and size.dtype == np.float32

    def test_x_is_the_same_with_one_and_without(self):
        grey = np.linspace(0, 1, 66).reshape(22, 3)
        plain, given = (
            data.Batches(grey, 5, 2, True, condition=c) for c in (None, np.full((22, 1), 0.5))
        )
        for ours, theirs in zip(epochs(given), epochs(plain), strict=True):
            for ((x, condition),), alone in zip(ours, theirs, strict=True):
                np.testing.assert_array_equal(x, alone)
                np.testing.assert_array_equal(condition, 0.5)  # is not binarised

    def test_keras_hands_both_to_the_model(self):
        x, condition = keras.layers.Input((3,)), keras.layers.Input((2,))
        y = keras.layers.Dense(1)(keras.layers.Concatenate()([x, condition]))
        model = keras.Model([x, condition], y)
        batches = data.Batches(self.x, 5, condition=self.x[:, :2])
        assert model.predict(batches, verbose=0).shape == (22, 1)
        unpacked = keras.utils.unpack_x_y_sample_weight(batches[0])
        assert len(unpacked[0]) == 2 and unpacked[1:] == (None, None)

    def test_containers(self):
        frame = type("Frame", (), {"to_numpy": lambda _: np.ones((22, 2)), "ndim": 2})()
        ((_, condition),) = data.Batches(self.x, 5, condition=frame)[0]
        np.testing.assert_array_equal(condition, np.ones((5, 2)))
        with pytest.raises(ValueError, match=r"`condition.toarray\(\)` makes one"):
            data.Batches(self.x, condition=scipy.sparse.csr_matrix(self.x))


class Recorder(keras.Model):
    """Keeps the first number of every example that `fit` feeds, batch by batch."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def train_step(self, batch):
        (x,) = batch
        self.seen.append(np.array(x)[:, 0].tolist())
        return {"loss": 0.0}


def recorded(batches, epochs, **kwargs):
    model = Recorder()
    model.compile(run_eagerly=True)
    model.fit(batches, epochs=epochs, verbose=0, **kwargs)
    n = len(batches)
    return [model.seen[i * n : (i + 1) * n] for i in range(epochs)]


class TestBatchesInFit:
    x = np.arange(66, dtype=np.float32).reshape(22, 3)

    @pytest.mark.parametrize("workers", [1, 2])
    def test_fit_sees_epochs_one_two_three(self, workers):
        fed = recorded(data.Batches(self.x, 5, 3, workers=workers), 3, shuffle=False)
        by_hand = epochs(data.Batches(self.x, 5, 3), 4)[1:]
        assert fed == [[batch[:, 0].tolist() for batch in seen] for seen in by_hand]

    def test_fit_with_its_own_shuffling_sees_every_example_once(self):
        random.seed(0)
        fed = recorded(data.Batches(self.x, 5), 3)
        for seen in fed:
            assert sorted(sum(seen, [])) == self.x[:, 0].tolist()
        assert fed[0] != fed[1] != fed[2] != fed[0]

    def test_each_epoch_binarises_afresh(self):
        fed = recorded(data.Batches(np.full((64, 1), 0.5), 32, binarize=True), 3, shuffle=False)
        flat = [sum(seen, []) for seen in fed]
        assert all(set(values) == {0.0, 1.0} for values in flat)
        assert flat[0] != flat[1] != flat[2] != flat[0]
