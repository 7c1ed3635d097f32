"""The data of the course: small sets that ship with the package, two larger ones, and batches.

`load` gives the same disjoint, read-only arrays on every machine: what it reads is compared with a
SHA-256 that stands in this file, and anything else is refused. `data/README.md` says where each
set comes from, under which licence, and how its file was made.
"""

import gzip
import hashlib
import http.client
import io
import math
import os
import pathlib
import urllib.request
import zlib
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from tqdm.auto import tqdm

__all__ = ["Batches", "Dataset", "binarize", "load"]

# name: (SHA-256 of <name>.npz, the stored value that becomes 1.0; counts stay counts)
_SHIPPED = {
    "mnist5k": ("730def53137389e1d00e068ad7f94c038379ac24988439ff35debf24053a188d", 255),
    "digits": ("ab472317cd9e01691260f9a90dcb0883ada4d266daec75507532a110dacfea7a", 16),
    "pbmc": ("8b634d485e62bf4fe6ad0d80da53a1243e675e1ad88dfd5b6444abf7393e3978", 1),
    "sprites": ("b04c98bf28bc76d52b4997f8122b829f731103bab1f3d7930d13a2170bdef64d", 1),
}
_MNIST = "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1"
# of the unpacked bytes: the gzip header holds a date and a name, in which good copies differ
_FASHION_MNIST = {
    "train-images-idx3": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
_DIGITS = tuple("0123456789")
_CLOTHES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat")
_CLOTHES += ("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
_NUM_TRAIN = 55_000  # of the 60,000 training examples of a larger set; the other 5,000 validate

_PACKAGE = pathlib.Path(__file__).resolve().parent
_SHIPPED_FOLDERS = (_PACKAGE / "_files", _PACKAGE.parent / "data")  # installed; in a checkout
_SYSTEM_FOLDER = pathlib.Path("/usr/share/datasets")  # Debian's dataset-fashion-mnist
_ADDRESS = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"  # as keras.datasets
_TIMEOUT = 10.0  # seconds without an answer


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


def load(name):
    """Loads one of the data sets of the course.

    The first four ship with the package: no network, no wait. The two larger ones are looked for
    in the folder that the environment variable `VAE_TF_DATA` names, in `/usr/share/datasets`, and
    in the Keras cache (`datasets` in `$KERAS_HOME` or `~/.keras`), then downloaded into that cache.

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

    ```python
    digits = load("digits")
    digits.x_train.shape  # (1297, 8, 8)
    ```
    """
    known = (*_SHIPPED, "fashion_mnist", "mnist")
    if not isinstance(name, str) or name not in known:
        raise ValueError(f"Expected name to be one of {known}. Received: name={name!r}")
    if name in _SHIPPED:
        return _load_shipped(name)
    return _load_mnist() if name == "mnist" else _load_fashion_mnist()


def binarize(x, seed):
    """Draws each pixel once from the Bernoulli distribution whose mean is its grey level.

    Args:
        x: Grey levels in [0, 1], any shape.
        seed: Integer >= 0. The same seed gives the same draw.

    Returns:
        Zeros and ones, float32, shape of `x`.

    Raises:
        ValueError: A value of `x` is NaN or outside [0, 1], or `seed` is not an integer >= 0.

    Example:

    ```python
    binarize([[0.0, 0.3, 1.0]], seed=0)  # 0 stays 0 and 1 stays 1, whatever the seed
    ```

    Source: Salakhutdinov and Murray, 2008, On the quantitative analysis of deep belief networks.
    """
    x, rng = _floats(x, grey=True), np.random.default_rng(_integer("seed", seed, minimum=0))
    # u uniform on [0, 1): P(u < x) = x
    return (rng.random(x.shape, dtype=np.float32) < x).astype(np.float32)


class Batches(keras.utils.PyDataset):
    """Shuffled batches of `x` for `fit`, each gathered whole; binarised afresh at every epoch.

    `seed` and the number of the epoch, `epoch`, determine every batch. Keras ends an epoch with
    `on_epoch_end`, and calls it once more before the first: a `fit` starts with epoch 1. In a loop
    of your own, call it after each pass. `vt.VAE.fit` keeps the order of these batches; the `fit`
    of another Keras model needs `shuffle=False` for that. Where XLA compiles `vt.VAE.fit` (on a
    GPU, or in a long training) it draws other pixels, with the same probabilities. With
    `steps_per_epoch` an epoch may end before all examples were seen.

    Args:
        x: Examples, finite numbers, shape `[N, *event]`, N >= 1; used as float32.
        batch_size: Examples in a batch, >= 1; the last batch holds what remains.
        seed: Integer >= 0.
        binarize: Whether each epoch draws the pixels anew, as `binarize` does (dynamic
            binarisation); `x` must then be in [0, 1]. With `False`, `x` stays as it is.
        **kwargs: Passed on to `keras.utils.PyDataset`, for example `workers`.

    Raises:
        ValueError: An argument is not of this form.

    Example:

    ```python
    batches = Batches(load("mnist5k").x_train, batch_size=100, seed=0, binarize=True)
    batches[0].shape  # (100, 28, 28)
    vae.fit(batches, epochs=10, shuffle=False)
    ```
    """

    def __init__(self, x, batch_size=128, seed=0, binarize=False, **kwargs):
        if not isinstance(binarize, (bool, np.bool_)):
            raise ValueError(f"Expected binarize to be a bool. Received: binarize={binarize!r}")
        self.x = _floats(x, grey=binarize)
        if self.x.ndim < 1 or len(self.x) < 1:
            raise ValueError(f"Expected x of shape [N, *event], N >= 1. Received: {self.x.shape}")
        self.batch_size = _integer("batch_size", batch_size, minimum=1)
        self.seed = _integer("seed", seed, minimum=0)
        self.binarize = bool(binarize)
        super().__init__(**kwargs)
        self.epoch = -1
        self.on_epoch_end()

    def __len__(self):
        return math.ceil(len(self.x) / self.batch_size)

    def __getitem__(self, index):
        """Batch `index` of this epoch, float32, shape `[batch_size, *event]`."""
        if not 0 <= index < len(self):
            raise IndexError(f"Expected 0 <= index < {len(self)}. Received: index={index}")
        rows = self.order[index * self.batch_size : (index + 1) * self.batch_size]
        x = self.x[rows]  # [B, *event]
        return self.draw(x, self.draw_seed, index).numpy() if self.binarize else x

    @staticmethod
    def draw(x, seed, index):
        """Binary pixels for batch `index` of the epoch with this seed; also inside a program."""
        own_seed = tf.random.experimental.stateless_fold_in(seed, index, alg="philox")
        # u uniform on [0, 1): P(u < x) = x
        uniform = tf.random.stateless_uniform(tf.shape(x), own_seed, alg="philox")
        return tf.cast(uniform < x, tf.float32)

    def on_epoch_end(self):
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
    arrays = _unpack_npz(_read(path, sha256, "Install vae_tf again, or restore the file with git"))
    x = arrays["x"] if name != "sprites" else np.unpackbits(arrays["x"], axis=-1)
    x = x.astype(np.float32) / np.float32(one)
    y = arrays["y"].astype(np.int32)
    parts = [values[arrays["split"] == k] for values in (x, y) for k in (0, 1, 2)]
    names = {key: tuple(arrays[key].tolist()) for key in arrays if key not in ("x", "y", "split")}
    return _dataset(
        parts,
        names.get("cell_types") or names.get("shapes") or _DIGITS,
        names.get("genes"),
        names.get("factor_names"),
        names.get("factor_sizes"),
    )


def _load_mnist():
    arrays = _unpack_npz(_fetch("mnist.npz", _MNIST))
    return _large(*(arrays[key] for key in ("x_train", "y_train", "x_test", "y_test")), _DIGITS)


def _load_fashion_mnist():
    shapes = [(60_000, 28, 28), (60_000,), (10_000, 28, 28), (10_000,)]
    arrays = [
        _idx(_fetch(f"fashion-mnist/{key}-ubyte.gz", sha256), shape)
        for (key, sha256), shape in zip(_FASHION_MNIST.items(), shapes, strict=True)
    ]
    return _large(*arrays, _CLOTHES)


def _large(pixels, labels, test_pixels, test_labels, label_names):
    x, x_test = (a.astype(np.float32) / np.float32(255) for a in (pixels, test_pixels))
    y, y_test = (a.astype(np.int32) for a in (labels, test_labels))
    parts = x[:_NUM_TRAIN], x[_NUM_TRAIN:], x_test, y[:_NUM_TRAIN], y[_NUM_TRAIN:], y_test
    return _dataset(parts, label_names, None)


def _dataset(parts, *names):
    for part in parts:
        part.setflags(write=False)
    return Dataset(*parts, *names)


def _fetch(relative, sha256):
    """Returns the checked content of a file of a larger set, from disk or from the network."""
    cache = pathlib.Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser() / "datasets"
    own = os.environ.get("VAE_TF_DATA")
    folders = (*([pathlib.Path(own).expanduser()] if own else []), _SYSTEM_FOLDER, cache)
    paths = [folder / relative for folder in folders]
    for path in paths:
        if path.is_file():
            return _read(path, sha256, "Delete this file, and load again")
    url = _ADDRESS + relative.rpartition("/")[-1]
    try:
        return _download(url, paths[-1], sha256)
    except (OSError, http.client.HTTPException) as error:
        raise FileNotFoundError(
            f"Expected {relative} at one of{_lines([*paths, url])}Received: no such file, and no "
            f"download ({error}). Connect to the network once, or set the environment variable "
            f"VAE_TF_DATA to a folder that holds {relative}; load('mnist5k') needs neither"
        ) from error


def _download(url, path, sha256):
    """Downloads to a file beside `path`, checks it, then renames it: `path` is whole or absent."""
    with urllib.request.urlopen(url, timeout=_TIMEOUT) as response:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{os.getpid()}.part.{path.name}")
        total = int(response.headers.get("Content-Length") or 0) or None
        try:
            with part.open("wb") as file, tqdm(total=total, unit="B", unit_scale=True) as bar:
                while chunk := response.read(2**16):
                    bar.update(file.write(chunk))
            content = _read(part, sha256, f"It came from {url} and was thrown away; load again")
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    return content


def _read(path, sha256, remedy):
    """Returns the bytes of a file, of a .gz file the unpacked ones, if they have this SHA-256."""
    content = path.read_bytes()
    try:
        content = gzip.decompress(content) if path.suffix == ".gz" else content
        received = hashlib.sha256(content).hexdigest()
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        received = f"a gzip file that cannot be unpacked ({error})"
    if received != sha256:
        raise ValueError(f"Expected {path} with SHA-256 {sha256}. Received: {received}. {remedy}")
    return content


def _unpack_npz(content):
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        return dict(archive)


def _idx(content, shape):
    """Reads an idx file of unsigned bytes: a magic number, the length of each axis, the values."""
    start = 4 * (1 + len(shape))
    expected = (0x0800 + len(shape), *shape)  # 0x08: unsigned bytes; then the number of axes
    received = tuple(int.from_bytes(content[i : i + 4], "big") for i in range(0, start, 4))
    if received != expected or len(content) != start + math.prod(shape):
        raise ValueError(
            f"Expected an idx file with magic number and shape {expected} in "
            f"{start + math.prod(shape)} bytes. Received: {received} in {len(content)} bytes"
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def _lines(places):
    return "".join(f"\n  {place}" for place in places) + "\n"


def _floats(x, grey):
    x = np.asarray(x)
    if x.dtype.kind not in "biuf":
        raise ValueError(f"Expected x to hold real numbers. Received: dtype {x.dtype}")
    floats = x.astype(np.float32, copy=False)
    if not np.all((x >= 0) & (x <= 1) if grey else np.isfinite(floats)):  # NaN passes neither
        wanted = "grey levels in [0, 1]" if grey else "finite float32 numbers"
        raise ValueError(f"Expected x to hold {wanted}. Received: {x.min()} to {x.max()}")
    return floats


def _integer(name, value, minimum):
    is_integer = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not is_integer or value < minimum:
        raise ValueError(
            f"Expected {name} to be an integer >= {minimum}. Received: {name}={value!r}"
        )
    return int(value)
