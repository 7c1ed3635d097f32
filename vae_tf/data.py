"""The data of the course: small sets that ship with the package, two larger ones, and batches.

`load` gives the same disjoint, read-only arrays on every machine: what it reads is compared with a
SHA-256 that stands in this file, and anything else is refused. `data/README.md` says where each
set comes from, under which licence, and how its file was made.
"""

import contextlib
import gzip
import hashlib
import math
import os
import pathlib
import pickle
import socket
import tempfile
import zipfile
import zlib
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from vae_tf._core import random, require
from vae_tf._core.models import as_condition

__all__ = ["Batches", "Dataset", "binarize", "load"]

# name: (SHA-256 of <name>.npz, the stored value that becomes 1.0; counts stay counts)
_SHIPPED = {
    "mnist5k": ("730def53137389e1d00e068ad7f94c038379ac24988439ff35debf24053a188d", 255),
    "digits": ("ab472317cd9e01691260f9a90dcb0883ada4d266daec75507532a110dacfea7a", 16),
    "pbmc": ("8b634d485e62bf4fe6ad0d80da53a1243e675e1ad88dfd5b6444abf7393e3978", 1),
    "sprites": ("b04c98bf28bc76d52b4997f8122b829f731103bab1f3d7930d13a2170bdef64d", 1),
}


class _Larger(NamedTuple):
    """A set of four arrays, as idx files or as an archive of NumPy's."""

    folder: str  # of the idx files
    archive: str | None
    sums: dict  # name of the idx file: SHA-256 of its bytes, unpacked
    label_names: tuple


# of the unpacked bytes: a gzip header holds a date and a name, an archive is packed in many ways
_LARGER = {
    "mnist": _Larger(
        "mnist",
        "mnist.npz",
        {
            "train-images-idx3": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "train-labels-idx1": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            "t10k-images-idx3": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "t10k-labels-idx1": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        },
        tuple("0123456789"),
    ),
    "fashion_mnist": _Larger(
        "fashion-mnist",
        None,
        {
            "train-images-idx3": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            "train-labels-idx1": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            "t10k-images-idx3": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            "t10k-labels-idx1": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        },
        (
            *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
            *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
        ),
    ),
}
_MEMBERS = {  # of an archive
    "train-images-idx3": "x_train",
    "train-labels-idx1": "y_train",
    "t10k-images-idx3": "x_test",
    "t10k-labels-idx1": "y_test",
}
_NUM_TRAIN = 55_000  # of the 60,000 training examples of a larger set; the other 5,000 validate

_PACKAGE = pathlib.Path(__file__).resolve().parent
_SHIPPED_FOLDERS = (_PACKAGE / "_files", _PACKAGE.parent / "data")  # installed; in a checkout
_SYSTEM_FOLDER = pathlib.Path("/usr/share/datasets")  # Debian's dataset-fashion-mnist
_ADDRESS = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"  # as keras.datasets
_TIMEOUT = 10.0  # seconds without an answer
_UNREADABLE = (EOFError, KeyError, ValueError, gzip.BadGzipFile, pickle.UnpicklingError)
_UNREADABLE += (zipfile.BadZipFile, zlib.error)


class Dataset(NamedTuple):
    """Three disjoint splits of one data set, as read-only arrays.

    `x` are grey images, float32 in [0, 1], shape `[N, rows, columns]`, or whole counts, float32,
    shape `[N, genes]`. `y` are labels, int32, shape `[N]`; those of "sprites" are the values of
    the factors that an image was drawn from, class numbers, shape `[N, factors]`.
    """

    x_train: np.ndarray
    x_val: np.ndarray
    x_test: np.ndarray
    y_train: np.ndarray
    y_val: np.ndarray
    y_test: np.ndarray
    label_names: tuple  # label_names[y] is a str; of "sprites", its shapes: y[:, 0]
    feature_names: tuple | None  # the genes of "pbmc"; None for images
    factor_names: tuple | None = None  # the columns of y of "sprites"; None for the others
    factor_sizes: tuple | None = None  # y[:, f] takes the values 0 to factor_sizes[f] - 1


def load(name: str) -> Dataset:
    """Loads one of the data sets of the course.

    The first four ship with the package: no network, no wait. The two larger ones are looked for
    in the folder that the environment variable `VAE_TF_DATA` names, in `/usr/share/datasets`, and
    in the Keras cache (`datasets` in `$KERAS_HOME` or `~/.keras`), then downloaded into that cache.
    They may be there as `mnist.npz`, or as the four files `train-images-idx3-ubyte.gz` and so on,
    unpacked or not, in a folder `mnist` or `fashion-mnist`.

    Args:
        name: One of `"mnist5k"` (digits, `[28, 28]`; 4,000, 500 and 500 examples),
            `"digits"` (digits, `[8, 8]`; 1,297, 250 and 250),
            `"pbmc"` (molecule counts of genes in blood cells, `[765]`; 500, 100 and 100),
            `"sprites"` (binary images of five known factors: shape, scale, rotation, x and y,
            `[24, 24]`; 5,000, 500 and 500),
            `"fashion_mnist"` (clothes, `[28, 28]`; 55,000, 5,000 and 10,000),
            `"mnist"` (digits, `[28, 28]`; 55,000, 5,000 and 10,000).

    Returns:
        A `Dataset`.

    Raises:
        ValueError: The name is not known, or a file is not the one that this package expects.
        FileNotFoundError: The data is in none of the places, and cannot be downloaded.

    Example:

    >>> vt.data.load("digits").x_train.shape
    (1297, 8, 8)
    """
    known = (*_SHIPPED, *reversed(_LARGER))
    if not isinstance(name, str) or name not in known:
        raise ValueError(f"Expected name to be one of {known}. Received: name={name!r}")
    return _load_shipped(name) if name in _SHIPPED else _load_larger(_LARGER[name])


def binarize(x: Any, seed: int) -> np.ndarray:
    """Draws each pixel once from the Bernoulli distribution whose mean is its grey level.

    Args:
        x: Grey levels in [0, 1], any shape.
        seed: Integer >= 0. The same seed gives the same draw.

    Returns:
        Zeros and ones, float32, shape of `x`.

    Raises:
        ValueError: A value of `x` is NaN or outside [0, 1], or `seed` is not an integer >= 0.

    Example:

    >>> vt.data.binarize([[0.0, 1.0, 1.0]], seed=0)  # 0 stays 0 and 1 stays 1
    array([[0., 1., 1.]], dtype=float32)

    Source: Salakhutdinov and Murray, 2008, On the quantitative analysis of deep belief networks.
    """
    x, rng = _floats(x, grey=True), np.random.default_rng(_seed(seed))
    # u uniform on [0, 1): P(u < x) = x
    return (rng.random(x.shape, dtype=np.float32) < x).astype(np.float32)


class Batches(keras.utils.PyDataset):
    """Shuffled batches of `x` for `fit`, each gathered whole; binarised afresh at every epoch.

    `seed` and the number of the epoch, `epoch`, determine every batch: the same pixels eagerly, in
    a graph and where XLA compiles. Keras ends an epoch with `on_epoch_end`, and calls it once more
    before the first: a `fit` starts with epoch 1. In a loop of your own, call it after each pass.
    `vt.VAE.fit` keeps the order of these batches; the `fit` of another Keras model needs
    `shuffle=False` for that. With `steps_per_epoch` an epoch may end before all examples were seen.

    Args:
        x: Examples, finite numbers, shape `[N, *event]`, N >= 1; used as float32.
        batch_size: Examples in a batch, >= 1; the last batch holds what remains.
        seed: Integer >= 0.
        binarize: Whether each epoch draws the pixels anew, as `binarize` does (dynamic
            binarisation); `x` must then be in [0, 1]. With `False`, `x` stays as it is.
        condition: What a conditional model knows beside `x`: an array `[N, ...]` or a tuple of
            them, whose rows go with those of `x`. It is never binarised. A batch is then
            `((x, condition),)`, or `((x, first, second, ...),)`.
        **kwargs: Passed on to `keras.utils.PyDataset`, for example `workers`.

    Raises:
        ValueError: An argument is not of this form.

    Example:

    >>> digits = vt.data.load("mnist5k")
    >>> batches = vt.data.Batches(digits.x_train, batch_size=100, binarize=True)
    >>> batches[0].shape
    (100, 28, 28)
    >>> ((x, labels),) = vt.data.Batches(digits.x_train, 100, condition=digits.y_train)[0]
    >>> labels.shape
    (100,)
    """

    def __init__(
        self,
        x: Any,
        batch_size: int = 128,
        seed: int = 0,
        binarize: bool = False,
        *,
        condition: Any = None,
        **kwargs: Any,
    ):
        if not isinstance(binarize, (bool, np.bool_)):
            raise ValueError(f"Expected binarize to be a bool. Received: binarize={binarize!r}")
        self.x = _floats(require.examples(x), grey=bool(binarize))
        if len(self.x) < 1:
            raise ValueError(f"Expected x of shape [N, *event], N >= 1. Received: {self.x.shape}")
        self.condition = _condition(condition, len(self.x))  # a tuple, or None
        self.batch_size = require.count(batch_size, "batch_size")
        self.seed = _seed(seed)
        self.binarize = bool(binarize)
        super().__init__(**kwargs)
        self.epoch = -1
        self.on_epoch_end()

    def __len__(self) -> int:
        return math.ceil(len(self.x) / self.batch_size)

    def __getitem__(self, index: int) -> Any:
        """Batch `index` of this epoch: x `[batch_size, *event]`, or `((x, *conditions),)`."""
        if not 0 <= index < len(self):
            raise IndexError(f"Expected 0 <= index < {len(self)}. Received: index={index}")
        rows = self.order[index * self.batch_size : (index + 1) * self.batch_size]
        x = self.x[rows]  # [B, *event]
        x = self.draw(x, self.draw_seed, index).numpy() if self.binarize else x
        return x if self.condition is None else ((x, *(part[rows] for part in self.condition)),)

    @staticmethod
    def draw(x: Any, seed: Any, index: Any) -> tf.Tensor:
        """Binary pixels for batch `index` of the epoch with this seed; also inside a program."""
        # u uniform on [0, 1): P(u < x) = x
        uniform = random.uniform(tf.shape(x), random.fold_in(seed, index))
        return tf.cast(uniform < tf.cast(x, tf.float32), tf.float32)

    def on_epoch_end(self) -> None:
        """Moves on to the next epoch: a new order, and new draws."""
        self.epoch += 1
        # a stream of its own for each purpose in each epoch: no draw depends on an earlier call
        order, draws = np.random.SeedSequence([self.seed, self.epoch]).spawn(2)
        self.order = np.random.default_rng(order).permutation(len(self.x))  # [N]
        self.draw_seed = draws.generate_state(2).astype(np.int32)  # [2]


def _load_shipped(name):
    sha256, one = _SHIPPED[name]
    paths = [folder / f"{name}.npz" for folder in _SHIPPED_FOLDERS]
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        raise FileNotFoundError(
            f"Expected {name}.npz at one of{_lines(paths)}Received: no such file. "
            "Install vae_tf again, or make the file as data/README.md says"
        )
    received = hashlib.sha256(path.read_bytes()).hexdigest()
    _compare(path, sha256, received, "Install vae_tf again, or restore the file with git")
    with np.load(path, allow_pickle=False) as archive:
        arrays = dict(archive)
    x = arrays["x"] if name != "sprites" else np.unpackbits(arrays["x"], axis=-1)
    x = x.astype(np.float32) / np.float32(one)
    y = arrays["y"].astype(np.int32)
    parts = [values[arrays["split"] == k] for values in (x, y) for k in (0, 1, 2)]
    names = {key: tuple(arrays[key].tolist()) for key in arrays if key not in ("x", "y", "split")}
    return _dataset(
        parts,
        names.get("cell_types") or names.get("shapes") or tuple("0123456789"),
        names.get("genes"),
        names.get("factor_names"),
        names.get("factor_sizes"),
    )


def _load_larger(larger):
    pixels, labels, test_pixels, test_labels = (_array(larger, key) for key in larger.sums)
    x, x_test = (a.astype(np.float32) / np.float32(255) for a in (pixels, test_pixels))
    y, y_test = (a.astype(np.int32) for a in (labels, test_labels))
    parts = x[:_NUM_TRAIN], x[_NUM_TRAIN:], x_test, y[:_NUM_TRAIN], y[_NUM_TRAIN:], y_test
    return _dataset(parts, larger.label_names, None)


def _dataset(parts, *names):
    for part in parts:
        part.setflags(write=False)
    return Dataset(*parts, *names)


def _array(larger, key):
    """One of the four arrays of a larger set, checked, from disk or from the network."""
    packed, unpacked = f"{larger.folder}/{key}-ubyte.gz", f"{larger.folder}/{key}-ubyte"
    names = [*([larger.archive] if larger.archive else []), packed, unpacked]
    paths = [folder / name for folder in _folders() for name in names]
    for path in paths:
        if path.is_file():
            return _read(path, key, larger.sums[key], "Delete this file, and load again")
    path = _folders()[-1] / names[0]
    url = _ADDRESS + path.name
    try:
        with _downloaded(url) as file:
            array = _read(file, key, larger.sums[key], f"It came from {url}; load again")
            _put(path, file.read_bytes())
    except OSError as error:
        raise FileNotFoundError(
            f"Expected {' or '.join(names)} at one of{_lines([*paths, url])}Received: no such "
            f"file, and no download ({error}). Connect to the network once, or set the environment "
            f"variable VAE_TF_DATA to a folder that holds {names[0]}; load('mnist5k') needs neither"
        ) from error
    return array


def _folders():
    """Where a larger set is looked for; what is downloaded goes into the last one."""
    cache = pathlib.Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser() / "datasets"
    own = os.environ.get("VAE_TF_DATA")
    return *([pathlib.Path(own).expanduser()] if own else []), _SYSTEM_FOLDER, cache


@contextlib.contextmanager
def _downloaded(url):
    """A file from the network, in a folder that goes when it has been read."""
    before = socket.getdefaulttimeout()
    with tempfile.TemporaryDirectory() as folder:
        socket.setdefaulttimeout(_TIMEOUT)  # Keras sets none, and would wait for ever
        try:
            name = url.rpartition("/")[-1]
            path = keras.utils.get_file(name, url, cache_dir=folder, cache_subdir="")
        except Exception as error:  # Keras makes plain ones of those of the network
            raise OSError(str(error)) from error
        finally:
            socket.setdefaulttimeout(before)
        yield pathlib.Path(path)


def _put(path, content):
    """Writes a file beside `path`, then renames it: `path` is whole or absent."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{os.getpid()}.part.{path.name}")
    try:
        part.write_bytes(content)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _read(path, key, sha256, remedy):
    """An array from an idx file, packed or not, or from an archive, if its SHA-256 is this."""
    try:
        content = _idx(path, key)
        received = hashlib.sha256(content).hexdigest()
    except _UNREADABLE as error:
        content, received = b"", f"a file that cannot be unpacked ({error})"
    _compare(path, sha256, received, remedy, f"whose {key} has")
    images = key.endswith("3")
    # after a number for the type of the file, and the length of each axis
    values = np.frombuffer(content, np.uint8, offset=16 if images else 8)
    return values.reshape(-1, 28, 28) if images else values


def _idx(path, key):
    """The bytes of the idx file, or those that it would have, of the array in an archive."""
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as archive:
            array = archive[_MEMBERS[key]].astype(np.uint8)
        header = (0x0800 + array.ndim, *array.shape)  # 0x08: unsigned bytes
        return b"".join(n.to_bytes(4, "big") for n in header) + array.tobytes()
    content = path.read_bytes()
    return gzip.decompress(content) if path.suffix == ".gz" else content


def _compare(path, expected, received, remedy, has="with"):
    if received != expected:
        raise ValueError(
            f"Expected {path} {has} SHA-256 {expected}. Received: {received}. {remedy}"
        )


def _lines(places):
    return "".join(f"\n  {place}" for place in places) + "\n"


def _floats(x, grey):
    x = require.examples(x) if np.ndim(x) else np.asarray(x)
    if x.dtype.kind not in "biuf":
        raise ValueError(f"Expected x to hold real numbers. Received: dtype {x.dtype}")
    floats = x.astype(np.float32, copy=False)
    if not np.all((x >= 0) & (x <= 1) if grey else np.isfinite(floats)):  # NaN passes neither
        wanted = "grey levels in [0, 1]" if grey else "finite float32 numbers"
        raise ValueError(f"Expected x to hold {wanted}. Received: {x.min()} to {x.max()}")
    return floats


def _condition(condition, count):
    """A tuple of arrays, each with a row for each example; float32 where they are fractions."""
    parts = as_condition(condition, count)
    if parts is None:
        return None
    parts = [np.asarray(part) for part in parts]
    for part in parts:
        if part.dtype.kind == "f" and not np.isfinite(part).all():
            raise ValueError("Expected `condition` to hold finite numbers. Received: NaN or inf")
    return tuple(part.astype(np.float32) if part.dtype.kind == "f" else part for part in parts)


def _seed(seed):
    is_integer = isinstance(seed, (int, np.integer)) and not isinstance(seed, bool)
    if not is_integer or seed < 0:
        raise ValueError(f"Expected seed to be an integer >= 0. Received: seed={seed!r}")
    return int(seed)
