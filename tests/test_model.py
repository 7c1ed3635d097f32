"""The VAE beyond its contract: bad input, samples, resuming, other bodies."""

import copy
import random

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from conftest import B, L, S, make_vae

import vae_tf as vt

tfd = tfp.distributions


def binary(n, event=(8, 8)):
    return (np.random.default_rng(0).random((n, *event)) < 0.4).astype("float32")


class TestBadInput:
    @pytest.mark.parametrize("shape", [(8, 8), (B, 8, 7), (B, 64), (B, 8, 8, 1), (8,)])
    def test_shapes(self, shape):
        vae = make_vae(2)
        for attempt in (vae.elbo, vae.encode, vae.fit, vae.evaluate, vae.reconstruct):
            with pytest.raises(ValueError, match=r"Expected `x` of shape \[B, 8, 8\]. Received"):
                attempt(np.zeros(shape, "float32"))

    @pytest.mark.parametrize("shape", [(2,), (B, 3), (S, B, 1)])
    def test_latents(self, shape):
        with pytest.raises(ValueError, match=r"Expected `z` of shape \[..., 2\]"):
            make_vae(2).decode(np.zeros(shape, "float32"))

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_not_finite(self, value):
        x = np.zeros((B, 4), "float32")
        x[1, 2] = value
        vae = make_vae(2, vt.layers.Normal(4), event=(4,))
        for attempt in (vae.elbo, lambda x: vae.fit(x, verbose=0)):
            with pytest.raises(ValueError, match="with finite values. Received"):
                attempt(x)

    def test_nothing_is_half_done(self):
        vae, x = make_vae(2), binary(64)
        before = vae.get_weights()
        x[-1, 0, 0] = 0.5
        with pytest.raises(ValueError, match="Received: the value 0.5"):
            vae.fit(x, batch_size=8, verbose=0)
        for a, b in zip(before, vae.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)

    def test_parts_that_do_not_fit(self):
        encoder = vt.networks.mlp((8, 8), vt.layers.NormalDiag(2))
        decoder = vt.networks.mlp(2, vt.layers.Bernoulli((8, 8)))
        for arguments, error in (
            ((encoder, vt.networks.mlp(3, vt.layers.Bernoulli((8, 8)))), ValueError),
            ((encoder, vt.networks.mlp(2, vt.layers.Bernoulli((8, 7)))), ValueError),
            ((encoder, decoder, vt.priors.StandardNormal(3)), ValueError),
            ((encoder, decoder, "normal"), ValueError),
            ((encoder, decoder, None, "elbo"), TypeError),
            ((lambda x: x, decoder), TypeError),
            ((keras.Sequential([keras.layers.Dense(3)]), decoder), TypeError),
        ):
            with pytest.raises(error, match=r"Expected .*Received"):
                vt.VAE(*arguments)

    @pytest.mark.parametrize("beta", [-1.0, np.nan, np.inf, "1", None, True])
    def test_beta(self, beta):
        with pytest.raises(ValueError, match="Expected `beta`"):
            vt.objectives.BetaELBO(beta)

    def test_encoder_and_decoder_swapped(self):
        vae = make_vae(2)
        with pytest.raises(ValueError, match="are encoder and decoder swapped"):
            vt.VAE(vae.decoder, vae.encoder)

    def test_metrics_of_keras_have_no_target(self):
        with pytest.raises(ValueError, match="Expected no `metrics`"):
            make_vae(2).compile("adam", metrics=["mse"])

    @pytest.mark.parametrize("shape", [(8, 8), (3, 2, 8, 8)])
    def test_evidence_wants_one_batch_axis(self, shape):
        vae, x = make_vae(2), np.zeros(shape, "float32")
        for attempt in (vt.evidence.grid, lambda m, x: vt.evidence.iwae(m, x, 3)):
            with pytest.raises(ValueError, match=r"Expected `x` of shape \[.?B.?, 8, 8\]"):
                attempt(vae, x)

    def test_no_examples_give_no_numbers(self):
        vae, x = make_vae(2), np.zeros((0, 8, 8), "float32")
        found = vt.evidence.iwae(vae, x, 3), vt.evidence.grid(vae, x)
        for field in (*vae.elbo(x), *(value for one in found for value in vars(one).values())):
            assert field.shape == (0,)

    def test_a_class_that_forgets_independent(self):
        class Forgets:
            prior = vt.priors.StandardNormal(1)()

            def encode(self, x):
                return tfd.Normal(tf.zeros([len(x), 1]), 1.0)

            def decode(self, z):
                return tfd.Normal(z, 1.0)

        with pytest.raises(ValueError, match=r"`encode\(x\)` to be a distribution of event shape"):
            vt.elbo.forward(Forgets(), np.zeros((B, 1), "float32"))
        Forgets.encode = lambda _, x: vt.layers.NormalDiag(1)(tf.zeros([len(x), 2]))
        with pytest.raises(ValueError, match="tfd.Independent makes independent dimensions"):
            vt.elbo.forward(Forgets(), np.zeros((B, 1), "float32"))

    @pytest.mark.parametrize(
        "family, outside",
        [("Beta", 0.0), ("Geometric", 1.5), ("Weibull", -1.0), ("VonMises", np.inf)],
    )
    def test_the_support_of_any_family(self, family, outside):
        vae = make_vae(2, vt.layers.DistributionLayer(family, 4), event=(4,))
        with pytest.raises(ValueError, match="another support"):
            vae.elbo(np.full((B, 4), outside, "float32"))

    def test_a_network_without_a_distribution(self):
        encoder = keras.Sequential([keras.Input((8, 8)), keras.layers.Flatten()])
        decoder = vt.networks.mlp(64, vt.layers.Bernoulli((8, 8)))
        with pytest.raises(TypeError, match="Expected `encoder` to end in a distribution"):
            vt.VAE(encoder, decoder)


class TestObjectives:
    def test_beta_one_is_the_elbo(self):
        one_pass = make_vae(L)(binary(B), num_samples=S, seed=0)
        a, b = vt.objectives.ELBO()(one_pass), vt.objectives.BetaELBO(1.0)(one_pass)
        np.testing.assert_allclose(a, b, rtol=1e-6)

    def test_beta_weighs_the_kl_alone(self):
        one_pass = make_vae(L)(binary(B), num_samples=S, seed=0)
        terms = vt.elbo.reconstruction_kl(one_pass)
        value = vt.objectives.BetaELBO(4.0)(one_pass)
        np.testing.assert_allclose(value, terms.reconstruction - 4 * terms.kl, rtol=1e-6)

    def test_the_number_of_samples_in_training(self):
        vae = make_vae(2, objective=vt.objectives.ELBO(num_samples=S))
        assert vae(binary(B)).z.shape == (S, B, 2)

    def test_one_of_your_own(self):
        @keras.saving.register_keras_serializable("test")
        class Half(vt.objectives.Objective):
            def __call__(self, forward, terms=None):
                terms = terms or vt.elbo.reconstruction_kl(forward)
                return 0.5 * terms.elbo

        vae = make_vae(2, objective=Half())
        report = vae.evaluate(binary(B), return_dict=True, verbose=0)
        assert report["loss"] == pytest.approx(-0.5 * report["elbo"], rel=1e-6)


class TestUse:
    def test_samples_are_data(self):
        x = make_vae(2).sample(S, seed=0)
        assert set(np.unique(x)) == {0.0, 1.0}

    def test_samples_have_the_models_mean(self):
        """Linear model: x ~ N(mean, W W' + scale^2 I), so the mean of n samples is known."""
        model = vt.linear.LinearGaussian(np.ones((3, 2)), [1.0, 2.0, 3.0], 0.5)
        x = model.to_vae().sample(4000, seed=0).numpy()
        error = np.sqrt(2 + 0.25) / np.sqrt(4000)
        assert (np.abs(x.mean(0) - model.mean) < 4 * error).all()

    def test_predict_is_the_decoded_mean(self):
        vae, x = make_vae(2), binary(B)
        expected = vae.decode(vae.encode(x).mean()).mean()
        np.testing.assert_allclose(vae.predict(x, verbose=0), expected, rtol=1e-5)

    def test_float64_networks_bring_their_prior_along(self):
        encoder = vt.networks.mlp(4, vt.layers.NormalDiag(2, dtype="float64"), dtype="float64")
        decoder = vt.networks.mlp(2, vt.layers.Normal(4, dtype="float64"), dtype="float64")
        assert vt.VAE(encoder, decoder).elbo(np.zeros((B, 4))).elbo.dtype == "float64"

    def test_integers_and_doubles_are_cast(self):
        vae, x = make_vae(2), binary(B)
        for dtype in ("int32", "float64", "uint8", "bool"):
            a = vae.elbo(x.astype(dtype), seed=0).elbo
            np.testing.assert_array_equal(a, vae.elbo(x, seed=0).elbo)

    def test_a_saved_training_goes_on_as_if_it_had_never_stopped(self, tmp_path):
        x = binary(64)
        fit = {"batch_size": 16, "shuffle": False, "verbose": 0}
        straight = make_vae(2, seed=7)
        straight.fit(x, epochs=2, **fit)
        keras.utils.set_random_seed(0)
        first = make_vae(2, seed=7)
        first.fit(x, epochs=1, **fit)
        first.save(tmp_path / "half.keras")
        second = keras.saving.load_model(tmp_path / "half.keras")
        second.fit(x, epochs=1, **fit)
        for a, b in zip(straight.get_weights(), second.get_weights(), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)

    def test_batches_train_the_same_twice_dynamic_binarisation_included(self):
        def train(order):
            keras.utils.set_random_seed(0)
            vae = make_vae(2, seed=1)
            random.seed(order)  # by this Keras would order the batches
            grey = np.random.default_rng(0).random((40, 8, 8)).astype("float32")
            vae.fit(vt.data.Batches(grey, 16, seed=2, binarize=True), epochs=2, verbose=0)
            return vae.get_weights()

        for a, b in zip(train(1), train(2), strict=True):
            np.testing.assert_array_equal(a, b)

    def test_a_class_of_your_own_is_served(self):
        """`prior`, `encode`, `decode` are all that evidence asks for."""

        class Mine:
            prior = vt.priors.StandardNormal(1)()

            def encode(self, x):
                return vt.layers.NormalDiag(1)(tf.zeros([len(x), 2]))

            def decode(self, z):
                return vt.layers.Normal(3, scale=1.0)(tf.repeat(z, 3, axis=-1))

        x = np.ones((B, 3), "float32")
        exact = vt.linear.LinearGaussian(np.ones((3, 1)), np.zeros(3), 1.0).log_evidence(x)
        assert (np.abs(vt.evidence.grid(Mine(), x).estimate - exact) < 1e-4).all()
        bound = vt.evidence.iwae(Mine(), x, 5000, seed=0)
        assert (np.abs(bound.estimate - exact) < 4 * bound.standard_error).all()


def test_a_model_that_was_never_trained_is_saved_and_loaded_in_silence(tmp_path):
    """Warnings are errors here; deepcopy and pickle go the same way."""
    vae = make_vae()
    vae.save(tmp_path / "new.keras")
    again = keras.models.load_model(tmp_path / "new.keras")
    assert again.optimizer.built and copy.deepcopy(vae).optimizer.iterations.numpy() == 0


def test_a_mask_that_would_be_lost_is_refused():
    layers = [keras.Input((7, 3)), keras.layers.Masking(), keras.layers.Dense(4)]
    with pytest.raises(ValueError, match="Received: a mask"):
        keras.Sequential([*layers, vt.layers.NormalDiag(2)])
