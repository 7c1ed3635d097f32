"""What `fit` is given: done, or refused by name; nothing unchecked reaches the weights."""

import keras
import numpy as np
import pytest
import scipy.sparse
import tensorflow as tf
from conftest import make_vae

import vae_tf as vt
from vae_tf._fit import replicas

EVENT, N = (6,), 48
GOOD = (np.random.default_rng(0).random((N, 6)) < 0.5).astype("float32")
BAD = GOOD.copy()
BAD[40, 2] = 0.5


def vae(**kwargs):
    keras.utils.set_random_seed(0)
    return make_vae(event=EVENT, hidden=(8,), seed=0, **kwargs)


def weights(model):
    return np.concatenate([np.ravel(w) for w in model.trainable_variables])


class Data(keras.utils.PyDataset):
    def __init__(self, x, **kwargs):
        super().__init__(**kwargs)
        self.x = x

    def __len__(self):
        return 3

    def __getitem__(self, index):
        return self.x[16 * index : 16 * index + 16]


class Frame:
    """What a data frame offers: a table, its columns by name, and `to_numpy`."""

    def __init__(self, x):
        self.x, self.shape = x, x.shape

    def to_numpy(self):
        return self.x

    def __len__(self):
        return len(self.x)


FEEDS = {
    "array": lambda model, x: model.fit(x, verbose=0),
    "float64": lambda model, x: model.fit(x.astype("float64"), verbose=0),
    "tensor": lambda model, x: model.fit(tf.constant(x), verbose=0),
    "variable": lambda model, x: model.fit(tf.Variable(x), verbose=0),
    "list": lambda model, x: model.fit(x.tolist(), verbose=0),
    "list of one array": lambda model, x: model.fit([x], verbose=0),
    "data frame": lambda model, x: model.fit(Frame(x), verbose=0),
    "generator": lambda model, x: model.fit((b for b in (x,)), steps_per_epoch=1, verbose=0),
    "PyDataset": lambda model, x: model.fit(Data(x), verbose=0),
    "validation data": lambda model, x: model.fit(GOOD, validation_data=x, verbose=0),
    "train_on_batch": lambda model, x: model.train_on_batch(x),
    "test_on_batch": lambda model, x: model.test_on_batch(x),
    "evaluate": lambda model, x: model.evaluate(x, verbose=0),
    "predict": lambda model, x: model.predict(x, verbose=0),
    "sweep": lambda model, x: vt.sweep([model], x, verbose=0),
}


@pytest.mark.parametrize("name", FEEDS)
def test_every_container_is_taken_and_checked(name):
    model = vae()
    FEEDS[name](model, GOOD)
    before = weights(model)
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError), match="binarise grey"):
        FEEDS[name](model, BAD)
    if name == "PyDataset":  # its third batch is refused; the first two were taken
        assert np.isfinite(weights(model)).all()
    else:
        np.testing.assert_array_equal(weights(model), before)


@pytest.mark.parametrize("kind", ["bool", "int8", "uint8", "int64", "float16"])
def test_arrays_of_all_dtypes(kind):
    expected = vae().fit(GOOD, verbose=0).history["loss"]
    assert vae().fit(GOOD.astype(kind), verbose=0).history["loss"] == expected


REFUSED = {
    "CSR": (lambda: scipy.sparse.csr_matrix(GOOD), "toarray"),
    "CSC": (lambda: scipy.sparse.csc_matrix(GOOD), "toarray"),
    "masked": (lambda: np.ma.masked_array(GOOD, BAD != GOOD), "masked"),
    "text": (lambda: np.full(GOOD.shape, "0"), "real numbers"),
    "ragged": (lambda: [[0.0, 1.0], [1.0]], "equal length|rows"),
    "nothing": (lambda: None, "Received: None"),
    "no examples": (lambda: GOOD[:0], "at least one example"),
    "another shape": (lambda: GOOD[:, :5], r"shape \[B, 6\]"),
    "a number": (lambda: 3.0, "array of examples"),
    "two arrays": (lambda: (GOOD, GOOD), "no target y"),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("call", ["fit", "evaluate", "validation"])
def test_other_containers_are_refused_by_name(name, call):
    data, words = REFUSED[name]
    model = vae()
    with pytest.raises(ValueError, match=words):
        if call == "validation" and name != "nothing":
            model.fit(GOOD, validation_data=data(), verbose=0)
        else:
            getattr(model, "evaluate" if call == "evaluate" else "fit")(data(), verbose=0)


@pytest.mark.filterwarnings("ignore:Your input ran out of data")
def test_a_data_set_without_a_signature():
    unknown = tf.data.Dataset.from_generator(lambda: iter([GOOD]), output_types=tf.float32)
    assert np.isfinite(vae().fit(unknown, verbose=0).history["loss"])


def test_a_data_set_with_one_grey_pixel_changes_nothing():
    model = vae()
    before = weights(model)
    with pytest.raises(tf.errors.InvalidArgumentError, match="binarise grey values first"):
        model.fit(tf.data.Dataset.from_tensor_slices(BAD).batch(N), verbose=0)
    np.testing.assert_array_equal(weights(model), before)


@pytest.mark.parametrize("method", ["fit", "evaluate"])
@pytest.mark.parametrize("argument", ["y", "sample_weight", "class_weight"])
def test_targets_and_weights_are_refused(method, argument):
    if (method, argument) == ("evaluate", "class_weight"):
        return  # Keras has none there
    with pytest.raises(ValueError, match=rf"(?s)every example counts alike.*{argument}"):
        getattr(vae(), method)(GOOD, verbose=0, **{argument: np.ones(N)})


@pytest.mark.parametrize("weights", [(), (np.ones(N, "float32"),)])
def test_targets_in_a_data_set_are_refused(weights):
    data = tf.data.Dataset.from_tensor_slices((GOOD, GOOD[:, 0], *weights)).batch(16)
    with pytest.raises(ValueError, match="no target y"):
        vae().fit(data, verbose=0)


@pytest.mark.parametrize("kind", ["Batches", "data set"])
def test_a_source_of_batches_has_its_own_batch_size(kind):
    data = tf.data.Dataset.from_tensor_slices(GOOD).batch(16)
    with pytest.raises(ValueError, match="batch size of its own"):
        vae().fit(data if kind == "data set" else vt.data.Batches(GOOD, 16), batch_size=8)


def test_arguments_by_position_as_in_keras():
    model = vae()
    assert len(model.fit(GOOD, None, 16, 2, 0).history["loss"]) == 2
    assert model.objective.step.numpy() == 6
    assert len(model.evaluate(GOOD, None, 16, 0)) == 4
    model.compile("sgd", None, None)
    with pytest.raises(TypeError, match="Expected at most"):
        model.fit(*[None] * 30)


def test_a_generator_that_goes_wrong_later_leaves_weights_that_are_whole():
    model = vae()
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError), match="binarise"):
        model.fit((b for b in (*[GOOD] * 9, BAD)), steps_per_epoch=10, verbose=0)
    assert np.isfinite(weights(model)).all()


class Explodes(vt.objectives.ELBO):
    """From step 3 on, not a number."""

    def __call__(self, forward, terms=None):
        return super().__call__(forward, terms) * tf.where(self.step.value < 3, 1.0, np.nan)


@tf.custom_gradient
def without_gradient(value, factor):
    return tf.identity(value), lambda upstream: (upstream * factor, None)


class HidesNaN(vt.objectives.ELBO):
    """From step 3 on a finite value, whose gradient is not a number."""

    def __call__(self, forward, terms=None):
        factor = tf.where(self.step.value < 3, 1.0, np.nan)
        return without_gradient(super().__call__(forward, terms), factor)


@pytest.mark.parametrize("objective", [Explodes, HidesNaN])
@pytest.mark.parametrize("data, jit", [("array", False), ("array", True), ("data set", False)])
def test_a_step_that_is_not_finite_changes_nothing_and_ends_training(data, jit, objective):
    expected = vae()
    expected.compile("adam", jit_compile=jit)
    expected.fit(GOOD[:36], batch_size=12, shuffle=False, verbose=0)  # three steps
    model = vae(objective=objective())
    model.compile("adam", jit_compile=jit)
    x = GOOD if data == "array" else tf.data.Dataset.from_tensor_slices(GOOD).batch(12)
    with pytest.raises(FloatingPointError, match="the loss of its last step is not finite"):
        options = {"batch_size": 12} if data == "array" else {}
        model.fit(x, epochs=3, shuffle=False, verbose=0, **options)
    for a, b in zip(model.trainable_variables, expected.trainable_variables, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    assert model.optimizer.iterations.numpy() == 3
    model.objective = vt.objectives.ELBO()
    assert np.isfinite(model.fit(GOOD, verbose=0).history["loss"])  # and it trains on


def test_the_averages_of_a_batch_normalization_are_taken_back():
    norm = keras.layers.BatchNormalization()
    layers = [keras.Input((6,)), norm, keras.layers.Dense(4), vt.layers.NormalDiag(2)]
    encoder = keras.Sequential(layers)
    decoder = vt.networks.mlp(2, vt.layers.Bernoulli(6), hidden=())
    model = vt.VAE(encoder, decoder, objective=Explodes(), seed=0)
    model.fit(GOOD[:36], batch_size=12, verbose=0)
    before = norm.moving_mean.numpy()
    with pytest.raises(FloatingPointError):
        model.fit(GOOD, batch_size=12, verbose=0)
    np.testing.assert_array_equal(norm.moving_mean, before)


def test_a_sweep_that_is_not_finite_ends_with_the_weights_before():
    models = [vae(objective=Explodes()), vae(objective=Explodes())]
    with pytest.raises(FloatingPointError, match=r"models \[0, 1\]"):
        vt.sweep(models, GOOD, epochs=3, batch_size=12, verbose=0)
    assert models[0].optimizer.iterations.numpy() == 3
    assert np.isfinite(weights(models[0])).all()


def test_a_gradient_of_no_numbers_stops_no_step():
    """Of a layer of no units, say: a mean of nothing would be NaN."""
    moved, gradients = [], [tf.zeros([0]), tf.ones([3])]
    loss = replicas.apply_if_finite(tf.constant(2.0), moved.append, gradients, lambda: None)
    assert loss == 2.0 and len(moved) == 1
