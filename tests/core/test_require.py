"""Guards of arguments: what passes for data, and how the rest is refused."""

import keras
import numpy as np
import pytest
import scipy.sparse
import tensorflow as tf

import vae_tf as vt
from vae_tf._core import require


class Frame:
    """What pandas and polars offer."""

    def __init__(self, values):
        self._values = values

    def to_numpy(self):
        return self._values


class TestExamples:
    @pytest.mark.parametrize(
        "x",
        [
            np.ones((3, 2), "float32"),
            np.ones((3, 2), bool),
            np.ones((3, 2), "uint8"),
            [[1, 1], [1, 1], [1, 1]],
            tf.ones([3, 2], tf.bfloat16),
            tf.Variable(tf.ones([3, 2])),
            np.ma.MaskedArray(np.ones((3, 2)), mask=False),
            Frame(np.ones((3, 2), "int64")),
            Frame(np.array([[1, 1.0], [True, 1], [1, 1]], dtype=object)),
        ],
        ids=lambda x: f"{type(x).__name__} {getattr(x, 'dtype', '')}",
    )
    def test_arrays_of_all_kinds(self, x):
        found = require.examples(x)
        assert type(found) is np.ndarray and found.shape == (3, 2)
        assert (found.astype("float64") == 1).all()

    def test_keras_variables(self):
        assert require.examples(keras.Variable(np.ones((3, 2)))).shape == (3, 2)

    @pytest.mark.parametrize(
        "x, words",
        [
            (scipy.sparse.csr_matrix(np.eye(3)), r"`x.toarray\(\)`.*csr_matrix"),
            (scipy.sparse.csc_array(np.eye(3)), r"`x.toarray\(\)`.*csc_array"),
            (tf.sparse.from_dense(np.eye(3)), "SparseTensor"),
            (np.ma.MaskedArray(np.eye(3), mask=np.eye(3)), "without masked entries.* 3 of them"),
            ([[1.0, 2.0], [3.0]], "rows of equal length"),
            (tf.ragged.constant([[1.0, 2.0], [3.0]]), "Expected `x` to"),
            (np.array([["a", "b"]]), "real numbers"),
            (np.array([[None, 1.0]]), "real numbers"),
            (Frame(np.array([["a", 1.0]], dtype=object)), "array of numbers"),
            (np.ones((2, 2), complex), "real numbers"),
            (np.float64(1.0), "array of examples"),
            (tf.data.Dataset.range(3), "array of examples"),
        ],
        ids=lambda x: type(x).__name__ if not isinstance(x, str) else "",
    )
    def test_refusals(self, x, words):
        with pytest.raises(ValueError, match=f"(?s)Expected `x`.*{words}|{words}"):
            require.examples(x)

    def test_every_measurement_refuses_counts_that_are_sparse(self, rng):
        model = vt.linear.LinearGaussian(np.ones((3, 1)), np.zeros(3), 1.0)
        x = scipy.sparse.csr_matrix(rng.normal(size=(4, 3)))
        for measure in (
            lambda: vt.elbo.forward(model, x),
            lambda: vt.elbo.estimate(model, x),
            lambda: vt.elbo.log_joint(model, x, np.zeros((2, 4, 1))),
            lambda: vt.evidence.iwae(model, x, 3),
            lambda: vt.evidence.cubo(model, x, 3),
            lambda: vt.evidence.eubo(model, x, np.zeros((2, 4, 1))),
            lambda: vt.evidence.grid(model, x),
            lambda: vt.evidence.ais(model, x, 2, 2),
            lambda: vt.evidence.bracket(model, x),
            lambda: vt.evidence.enumeration(model, x),
            lambda: model.log_evidence(x),
            lambda: vt.linear.LinearGaussian.fit(x, 1),
        ):
            with pytest.raises(ValueError, match=r"`x.toarray\(\)` makes one"):
                measure()
