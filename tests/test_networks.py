"""Bodies of networks: their shapes and conditions, pixels and their parameters, leading axes."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from conftest import B, L, S

import vae_tf as vt
from vae_tf import networks

tfd = tfp.distributions
POSITIONS = (4, 4)
IMAGES = {
    "Bernoulli": lambda event: vt.layers.Bernoulli(event),
    "Normal": lambda event: vt.layers.Normal(event),
    "Normal learned": lambda event: vt.layers.Normal(event, scale="learned"),
    "Categorical": lambda event: vt.layers.Categorical(event, 5),
    "ZINB": lambda event: vt.layers.ZeroInflatedNegativeBinomial(event, "predicted"),
    "StudentT": lambda event: vt.layers.DistributionLayer("StudentT", event, df=4.0),
    "Mixture": lambda event: vt.layers.Mixture(vt.layers.Normal(event), 2, per_dimension=True),
}


class TestEveryParameterReachesItsPixel:
    """Parameters of one pixel of the last convolution move the density of that pixel alone."""

    @pytest.mark.parametrize("event", [(4, 4), (4, 4, 3)])
    @pytest.mark.parametrize("name", IMAGES)
    def test_by_kind(self, name, event):
        layer = IMAGES[name](event)
        width = layer.input_size // 16
        before = keras.Input((*POSITIONS, width))
        network = keras.Model(before, layer(_through(networks.by_kind(layer, POSITIONS), before)))
        params = tf.constant(np.random.default_rng(0).normal(size=(1, 4, 4, width)), tf.float32)
        x = tf.ones(event)
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(params)
            log_prob = network(params).distribution.log_prob(x)[0]
            of_pixel, channels = log_prob[1, 2], []
            if len(event) == 3:
                channels = tf.unstack(of_pixel)
            of_pixel = tf.reduce_sum(of_pixel)
        gradient = tape.gradient(of_pixel, params).numpy()[0]
        moved = {tuple(i) for i in np.argwhere(np.abs(gradient).sum(-1) > 0)}
        assert moved == {(1, 2)} and np.all(gradient[1, 2] != 0)
        # kind, channel, numbers of one kind: the parameters of a channel are its own
        for c, of_channel in enumerate(channels):
            own = tape.gradient(of_channel, params).numpy()[0, 1, 2]
            own = own.reshape(len(layer.layout), 3, layer.layout[0])
            assert np.all(own[:, c] != 0) and not np.delete(own, c, axis=1).any()

    def test_conv_decoder_of_categories(self):
        """Every pixel has logit 5 for class 0: the probabilities are known."""
        decoder = networks.conv_decoder(2, vt.layers.Categorical((4, 4), 4), filters=8, hidden=8)
        last = decoder.layers[-5]
        assert isinstance(last, keras.layers.Conv2D)
        kernel, _ = last.get_weights()
        last.set_weights([0 * kernel, np.array([5.0, 0, 0, 0])])
        p = tf.nn.softmax(decoder(tf.zeros([1, 2])).distribution.logits)[0]
        np.testing.assert_allclose(p[..., 0], np.exp(5) / (np.exp(5) + 3), rtol=1e-6)

    def test_steps_of_a_series(self):
        likelihood = vt.layers.Normal((7, 3))
        body = [keras.layers.RepeatVector(7), keras.layers.Dense(6)]
        network = keras.Sequential(
            [keras.Input((2,)), *body, *networks.by_kind(likelihood, 7), likelihood]
        )
        body[1].set_weights([np.zeros((2, 6)), np.array([1.0, 2, 3, -50, -50, -50])])
        p = network(tf.zeros([B, 2]))
        np.testing.assert_array_equal(p.mean(), np.broadcast_to([1.0, 2, 3], (B, 7, 3)))
        np.testing.assert_allclose(p.stddev(), 1e-6, rtol=1e-6)

    def test_what_belongs_to_no_pixel(self):
        with pytest.raises(ValueError, match="Expected an event that is a multiple"):
            networks.by_kind(vt.layers.Normal((4, 4)), (3, 4))
        with pytest.raises(ValueError, match="belong to single dimensions"):
            networks.by_kind(vt.layers.NormalTriL(4), 4)


def _through(layers, h):
    for layer in layers:
        h = layer(h)
    return h


class TestSizes:
    def test_one_hidden_layer_may_be_a_number(self):
        one, same = (networks.mlp(3, vt.layers.NormalDiag(2), hidden=h) for h in (16, (16,)))
        assert [w.shape for w in one.weights] == [w.shape for w in same.weights]
        assert len(networks.mlp(3, vt.layers.NormalDiag(2), hidden=()).weights) == 2

    @pytest.mark.parametrize("hidden", [0, -1, 2.5, "wide", (16, 0), None])
    def test_no_such_width(self, hidden):
        with pytest.raises(ValueError, match="Expected `hidden` to be a positive integer"):
            networks.mlp(3, vt.layers.NormalDiag(2), hidden=hidden)

    def test_a_decoder_without_filters(self):
        with pytest.raises(ValueError, match=r"Expected `filters`.*Received: filters=\(\)"):
            networks.conv_decoder(2, vt.layers.Bernoulli((8, 8)), filters=())
        with pytest.raises(ValueError, match="Expected images of shape"):
            networks.conv_decoder(2, vt.layers.Bernoulli(8))

    def test_the_decoder_of_keras_own_example(self):
        """One dense layer from z to the first filters, and no other."""
        decoder = networks.conv_decoder(2, vt.layers.Bernoulli((8, 8)), (6, 4), hidden=None)
        kinds = [type(layer).__name__ for layer in decoder.layers]
        assert kinds[:2] == ["Dense", "Reshape"] and kinds.count("Dense") == 1
        assert decoder.layers[0].kernel.shape == (2, 2 * 2 * 6)
        assert decoder(tf.zeros([B, 2])).event_shape == (8, 8)


class TestConditions:
    def inputs(self, *shapes, lead=(B,)):
        rng = np.random.default_rng(0)
        return [tf.constant(rng.normal(size=(*lead, *shape)), tf.float32) for shape in shapes]

    def test_without_one_it_is_the_sequential_that_it_was(self):
        network = networks.mlp((2, 3), vt.layers.NormalDiag(2), hidden=(4,))
        assert type(network) is keras.Sequential
        kinds = [type(layer).__name__ for layer in network.layers]
        assert kinds == ["Flatten", "Dense", "Dense", "NormalDiag"]

    @pytest.mark.parametrize(
        ("condition", "shapes"), [(4, [(4,)]), ((2, 3), [(2, 3)]), ([4, (2, 3)], [(4,), (2, 3)])]
    )
    def test_it_joins_the_input(self, condition, shapes):
        """By hand: one linear map of x and the flattened conditions, one after the other."""
        network = networks.mlp((2, 2), vt.layers.NormalDiag(2), hidden=(), condition=condition)
        x, *conditions = self.inputs((2, 2), *shapes)
        (kernel, bias), (linear,) = network.get_weights(), [network.layers[-2]]
        assert isinstance(linear, keras.layers.Dense)
        joined = np.concatenate([np.reshape(part, (B, -1)) for part in (x, *conditions)], axis=1)
        loc = (joined @ kernel + bias)[:, :2]
        np.testing.assert_allclose(network([x, *conditions]).mean(), loc, rtol=1e-5, atol=1e-6)

    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    def test_a_size_factor_goes_to_the_counts(self, dtype):
        likelihood = vt.layers.NegativeBinomial((2, 3), dtype=dtype)
        decoder = networks.mlp(L, likelihood, (4,), condition=4, size_factor=True, dtype=dtype)
        assert [tuple(i.shape) for i in decoder.inputs] == [(None, L), (None, 4), (None, 1, 1)]
        z, c = (tf.cast(part, dtype) for part in self.inputs((L,), (4,)))
        size = tf.constant(np.linspace(1, 2e5, B).reshape(B, 1, 1), dtype)
        mean = decoder([z, c, tf.ones_like(size)]).mean()
        np.testing.assert_allclose(decoder([z, c, size]).mean(), mean * size, rtol=1e-5)

    def test_a_size_factor_is_not_rounded_to_half_precision(self):
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy("mixed_float16")
        try:
            decoder = networks.mlp(L, vt.layers.Poisson(3), (), "tanh", 2, True)
        finally:
            keras.config.set_dtype_policy(before)
        decoder.layers[-3].set_weights([0 * w for w in decoder.layers[-3].get_weights()])
        size = tf.fill((B, 1), 100_003.0)  # infinite in float16
        mean = decoder([*self.inputs((L,), (2,)), size]).mean()
        np.testing.assert_allclose(mean, np.tile(size, 3), rtol=1e-5)

    def test_only_counts_take_a_size_factor(self):
        with pytest.raises(TypeError, match="Expected `output` to be a layer that takes a size"):
            networks.mlp(2, vt.layers.Bernoulli(3), size_factor=True)
        with pytest.raises(ValueError, match="Expected `condition` to be a positive integer"):
            networks.mlp(2, vt.layers.Bernoulli(3), condition=0)

    def test_convolutions(self, tmp_path):
        encoder = networks.conv_encoder((8, 8), vt.layers.NormalDiag(L), 4, 6, condition=4)
        decoder = networks.conv_decoder(L, vt.layers.Normal((8, 8)), 4, 6, condition=[4, (2, 3)])
        x, z, c, d = self.inputs((8, 8), (L,), (4,), (2, 3))
        assert encoder([x, c]).event_shape == (L,) and encoder([x, c]).batch_shape == (B,)
        p = decoder([z, c, d])
        assert (p.batch_shape, p.event_shape) == ((B,), (8, 8))
        assert np.any(decoder([z, c + 1, d]).mean() != p.mean())
        assert np.any(decoder([z, c, d + 1]).mean() != p.mean())
        decoder.save(tmp_path / "decoder.keras")
        again = keras.saving.load_model(tmp_path / "decoder.keras")
        np.testing.assert_array_equal(again([z, c, d]).mean(), p.mean())


class TestBatchApply:
    def decoder(self, **kwargs):
        return networks.mlp(L, vt.layers.Poisson(4), (6,), condition=[2, (2, 3)], **kwargs)

    def conditions(self, rows=B):
        rng = np.random.default_rng(1)
        return [rng.normal(size=(rows, *s)).astype("float32") for s in ((2,), (2, 3))]

    z = np.random.default_rng(0).normal(size=(S, B, L)).astype("float32")

    @pytest.mark.parametrize("lead", [(S, B), (2, S, B), (B,)])
    def test_conditions_are_repeated_for_every_sample(self, lead):
        network, conditions = self.decoder(), self.conditions()
        z = np.random.default_rng(0).normal(size=(*lead, L)).astype("float32")
        p = networks.batch_apply(network, tf.constant(z), conditions)
        assert p.batch_shape == lead
        for index in np.ndindex(*lead[:-1]):
            expected = network([z[index], *conditions]).mean()
            np.testing.assert_allclose(p.mean()[index], expected, rtol=1e-5)

    @pytest.mark.parametrize("batch", [1, B])
    def test_one_condition_for_all_and_one_z_for_all(self, batch):
        """[1, ...] against z [S, B, L]; [B, ...] against z [S, 1, L]."""
        network, conditions = self.decoder(), self.conditions(batch)
        z = self.z if batch == 1 else self.z[:, :1]
        p = networks.batch_apply(network, tf.constant(z), conditions)
        assert p.batch_shape == (S, B)
        for s in range(S):
            wide = [np.broadcast_to(part, (B, *part.shape[1:])) for part in (z[s], *conditions)]
            np.testing.assert_allclose(p.mean()[s], network(wide).mean(), rtol=1e-5)

    def test_the_first_that_there_are_inputs_for(self):
        conditions = self.conditions()
        one = networks.mlp(L, vt.layers.Poisson(4), (6,), condition=2)
        none = networks.mlp(L, vt.layers.Poisson(4), (6,))
        for network, taken in ((one, conditions[:1]), (none, [])):
            got = networks.batch_apply(network, tf.constant(self.z), conditions).mean()
            same = networks.batch_apply(network, tf.constant(self.z), taken).mean()
            np.testing.assert_array_equal(got, same)
        for given in (None, conditions[:1]):
            with pytest.raises(ValueError, match=r"Expected a `condition` of at least 2 parts"):
                networks.batch_apply(self.decoder(), tf.constant(self.z), given)

    def test_of_data_with_axes_of_their_own(self):
        network = networks.mlp((2, 2), vt.layers.NormalDiag(L), (), condition=3)
        x, c = tf.ones([S, B, 2, 2]), np.arange(3.0 * B).reshape(B, 3).astype("float32")
        q = networks.batch_apply(network, x, [c], event_ndims=2)
        np.testing.assert_allclose(q.mean()[2], network([x[2].numpy(), c]).mean(), rtol=1e-5)

    @pytest.mark.parametrize("jit_compile", [False, True])
    def test_compiled_with_batches_of_any_size(self, jit_compile):
        network, conditions = self.decoder(), self.conditions()
        specs = [
            tf.TensorSpec([None, None, L]),
            tf.TensorSpec([None, 2]),
            tf.TensorSpec([None, 2, 3]),
        ]

        @tf.function(input_signature=specs, jit_compile=jit_compile)
        def mean(z, *given):
            return networks.batch_apply(network, z, given).mean()

        expected = networks.batch_apply(network, tf.constant(self.z), conditions).mean()
        np.testing.assert_allclose(mean(self.z, *conditions), expected, rtol=1e-5)

    KINDS = {
        "LogRate": lambda h: vt.layers.Poisson(3)(h),
        "Mixture": lambda h: tfd.Independent(
            vt.distributions.Mixture(
                tfd.Categorical(logits=tf.stack([h, 2 * h], -1)),
                vt.distributions.Normal(tf.stack([h, -h], -1), 1.0),
            ),
            1,
        ),
        "of vectors": lambda h: vt.distributions.Mixture(
            tfd.Categorical(logits=h[..., :2]),
            tfd.Independent(tfd.Normal(tf.stack([h, -h], -2), 1.0), 1),
        ),
        "tfd.Mixture": lambda h: tfd.Independent(
            tfd.Mixture(
                tfd.Categorical(logits=tf.stack([h, 2 * h], -1)),
                [tfd.Normal(h, 1.0), tfd.Laplace(-h, 1.0)],
            ),
            1,
        ),
        "Masked": lambda h: tfd.Independent(tfd.Masked(tfd.Normal(h, 1.0), h > 0), 1),
        "Quantized": lambda h: tfd.Independent(
            tfd.QuantizedDistribution(tfd.Normal(h, 1.0), low=0.0), 1
        ),
        "Sample": lambda h: tfd.Sample(tfd.Normal(h[..., 0], 1.0), 3),
    }

    @pytest.mark.parametrize("name", KINDS)
    def test_any_distribution_takes_data_without_a_sample_axis(self, name):
        """Batch [S, B] against x [B, *event], as against each sample by itself."""
        make, x = self.KINDS[name], np.arange(B * 3.0).reshape(B, 3).astype("float32") % 4
        p = networks.batch_apply(make, tf.constant(self.z))
        assert p.batch_shape == (S, B)
        expected = [make(tf.constant(self.z[s])).log_prob(x) for s in range(S)]
        np.testing.assert_allclose(p.log_prob(x), expected, rtol=1e-5)
        assert p.sample(2, seed=[0, 1]).shape == (2, S, B, 3)


def test_a_saved_conv_decoder_of_0_1_0_is_what_it_was():
    """The layout of the file is Reshape, Permute, Flatten: made anew it has the same numbers."""
    import json
    import pathlib

    folder = pathlib.Path(__file__).parent / "fixtures" / "v0_1_0"
    entry = json.loads((folder / "expected.json").read_text())["expected"]["conv_bernoulli"]
    vae = keras.saving.load_model(folder / "conv_bernoulli.keras")
    x = np.load(folder / "data.npz")[entry["data"]][:5]
    z = np.random.default_rng(3).normal(size=(4, 5, 2)).astype("float32")
    q_z, p_x = vae.encode(x), vae.decode(z)
    log_weights = p_x.log_prob(x) + vae.prior.log_prob(z) - q_z.log_prob(z)
    np.testing.assert_allclose(log_weights, entry["log_weights"], rtol=1e-5)
