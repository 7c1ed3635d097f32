"""The contract of the package, line by line: each class is one line."""

import inspect
import itertools
import re
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
import tensorflow_probability as tfp
from conftest import B, D, L, S, make_vae

import vae_tf as vt

tfd = tfp.distributions
SOURCE = {p.name: p.read_text() for p in Path(vt.__file__).parent.rglob("*.py")}
PUBLIC = [getattr(vt, name) for name in vt.__all__]
MODULES = [m for m in PUBLIC if inspect.ismodule(m)]


def binary(n, seed=0, event=(8, 8)):
    return (np.random.default_rng(seed).random((n, *event)) < 0.4).astype("float32")


def without_noise(vae):
    """Cuts the decoder off from z: then nothing in the ELBO is random."""
    kernel, bias = vae.decoder.layers[0].get_weights()
    vae.decoder.layers[0].set_weights([np.zeros_like(kernel), bias + 0.3])
    return vae


class Test_01_units_nats_per_example_sum_over_event_mean_over_batch:
    def test_reconstruction_is_the_sum_of_all_log_probabilities(self):
        vae, x = make_vae(L), binary(B)
        one_pass = vae(x, num_samples=S, seed=1)
        logits = one_pass.p_x.distribution.logits_parameter().numpy().astype("float64")
        expected = scipy.stats.bernoulli(1 / (1 + np.exp(-logits))).logpmf(x).sum((-1, -2)).mean(0)
        terms = vae.elbo(x, num_samples=S, seed=1)
        np.testing.assert_allclose(terms.reconstruction, expected, rtol=1e-5)

    def test_kl_is_the_sum_over_latents(self):
        vae, x = make_vae(L), binary(B)
        loc, scale = (np.float64(v) for v in (vae.encode(x).mean(), vae.encode(x).stddev()))
        by_hand = 0.5 * (scale**2 + loc**2 - 1 - 2 * np.log(scale)).sum(-1)
        np.testing.assert_allclose(vae.elbo(x).kl, by_hand, rtol=1e-5, atol=1e-6)

    def test_a_normal_likelihood_keeps_its_constants(self):
        vae = make_vae(2, vt.layers.Normal((4,), scale=0.5), event=(4,))
        x = np.ones((B, 4), "float32")
        p_x = vae(x, num_samples=1, seed=0).p_x
        expected = scipy.stats.norm(p_x.mean()[0], 0.5).logpdf(x).sum(-1)
        np.testing.assert_allclose(vae.elbo(x, seed=0).reconstruction, expected, rtol=1e-5)

    @pytest.mark.parametrize("batch_size", [7, 32, 100])
    def test_evaluate_does_not_depend_on_batch_size_or_a_short_last_batch(self, batch_size):
        vae, x = without_noise(make_vae(L)), binary(100)
        report = vae.evaluate(x, batch_size=batch_size, return_dict=True, verbose=0)
        terms = vae.elbo(x)
        for name in ("elbo", "reconstruction", "kl"):
            assert report[name] == pytest.approx(np.mean(getattr(terms, name)), rel=1e-5)
        assert report["loss"] == pytest.approx(-report["elbo"], rel=1e-5)

    def test_evaluate_does_not_depend_on_the_order(self):
        vae, x = without_noise(make_vae(L)), binary(100)
        a, b = (
            vae.evaluate(data, batch_size=32, return_dict=True, verbose=0)["elbo"]
            for data in (x, x[::-1])
        )
        assert a == pytest.approx(b, rel=1e-6)

    def test_two_replicas_train_and_report_as_one(self):
        script = Path(__file__).with_name("fit") / "two_replicas.py"
        run = subprocess.run([sys.executable, script], capture_output=True, text=True)
        assert run.returncode == 0, run.stderr[-3000:]

    def test_bits_per_dimension_is_an_explicit_converter(self):
        assert vt.elbo.bits_per_dimension(np.log(2.0) * 784, (28, 28)) == pytest.approx(1.0)


class Test_02_signs_kl_not_negative_elbo_maximised_loss_minus_mean_objective:
    def test_kl_is_never_negative(self, rng):
        loc, raw = rng.normal(size=(2, 1000, L)).astype("float32")
        q_z = vt.layers.NormalDiag(L)(tf.concat([loc, 3 * raw], axis=1))
        assert np.min(vt.elbo.kl(q_z, vt.priors.StandardNormal(L)())) >= 0

    @pytest.mark.parametrize("objective", [vt.objectives.ELBO(), vt.objectives.BetaELBO(3.0)])
    def test_loss_is_minus_the_mean_of_the_objective(self, objective):
        vae, x = without_noise(make_vae(L, objective=objective)), binary(40)
        report = vae.evaluate(x, return_dict=True, verbose=0)
        expected = -np.mean(objective(vae(x, seed=0)))
        assert report["loss"] == pytest.approx(expected, rel=1e-5)

    def test_training_raises_the_elbo(self):
        vae, x = make_vae(2, seed=0), binary(256)
        elbo = vae.fit(x, epochs=5, verbose=0).history["elbo"]
        assert elbo[-1] > elbo[0]

    def test_minus_an_elbo_is_never_called_an_nll(self):
        for name, text in SOURCE.items():
            assert not re.search(r"\bnll\b|negative log-likelihood", text, re.IGNORECASE), name


class Test_03_elbo_is_always_the_bound_of_beta_one:
    def test_history_and_validation_report_beta_one(self):
        vae = without_noise(make_vae(L, objective=vt.objectives.BetaELBO(4.0)))
        vae.compile(keras.optimizers.SGD(0.0))
        x = binary(64)
        history = vae.fit(x, validation_data=x, verbose=0).history
        terms = vae.elbo(x)
        for prefix in ("", "val_"):
            elbo, kl = history[f"{prefix}elbo"][0], history[f"{prefix}kl"][0]
            assert elbo == pytest.approx(np.mean(terms.elbo), rel=1e-5)
            assert history[f"{prefix}loss"][0] == pytest.approx(-elbo + 3 * kl, rel=1e-5)

    def test_callbacks_can_watch_it(self, tmp_path):
        vae, x, best = make_vae(L, seed=0), binary(64), tmp_path / "best.keras"
        watch = {"monitor": "val_elbo", "mode": "max"}
        callbacks = [
            keras.callbacks.EarlyStopping(patience=1, **watch),
            keras.callbacks.ModelCheckpoint(best, save_best_only=True, **watch),
        ]
        history = vae.fit(x, epochs=3, validation_data=x, callbacks=callbacks, verbose=0).history
        assert len(history["val_elbo"]) >= 1
        assert keras.saving.load_model(best).elbo(x, seed=0).elbo.shape == (64,)


class Test_04_shapes_are_sample_batch_event:
    def test_one_pass(self):
        one_pass = make_vae(L)(binary(B), num_samples=S, seed=0)
        assert (one_pass.p_z.batch_shape, one_pass.p_z.event_shape) == ([], [L])
        assert (one_pass.q_z.batch_shape, one_pass.q_z.event_shape) == ([B], [L])
        assert one_pass.z.shape == (S, B, L)
        assert (one_pass.p_x.batch_shape, one_pass.p_x.event_shape) == ([S, B], [8, 8])
        assert vt.elbo.log_weights(one_pass).shape == (S, B)

    def test_terms_bounds_and_samples(self):
        vae, x = make_vae(2), binary(B)
        found = vt.evidence.iwae(vae, x, S), vt.evidence.grid(vae, x)
        for field in (*vae.elbo(x, S), *(value for one in found for value in vars(one).values())):
            assert field.shape == (B,)
        assert vae.sample(S).shape == (S, 8, 8)
        assert vae.reconstruct(x).shape == vae.predict(x, verbose=0).shape == (B, 8, 8)


class Test_05_names_are_the_symbols_of_the_document:
    def test_no_logarithm_of_a_variance(self):
        for name, text in SOURCE.items():
            assert not re.search(r"log_?var", text, re.IGNORECASE), name

    def test_distributions_and_tensors(self):
        assert vt.elbo.Forward._fields == ("x", "p_z", "q_z", "z", "p_x")
        assert vt.elbo.ElboTerms._fields == ("elbo", "reconstruction", "kl")

    def test_scale_is_a_standard_deviation(self):
        p_x = vt.layers.Normal(3, scale=0.5)(tf.zeros([1, 3]))
        np.testing.assert_allclose(p_x.stddev(), 0.5)
        np.testing.assert_allclose(p_x.variance(), 0.25)


class Test_06_randomness_is_a_keyword_seed:
    def test_seed_is_keyword_only(self):
        members = [vt.VAE, *MODULES]
        for owner in members:
            for name, function in inspect.getmembers(owner, inspect.isfunction):
                if owner in (vt.data, vt.random) or not function.__module__.startswith("vae_tf"):
                    continue  # binarize(x, seed) makes data, once: there the seed is required
                seed = inspect.signature(function).parameters.get("seed")
                if (
                    seed is not None
                    and not name.startswith("_")
                    and owner.__name__
                    in (
                        function.__module__,
                        "VAE",
                    )
                ):
                    assert seed.kind is seed.KEYWORD_ONLY, f"{owner.__name__}.{name}"

    def test_same_seed_same_numbers(self):
        vae, x = make_vae(2), binary(B)
        for draw in (
            lambda seed: vae.elbo(x, S, seed=seed).elbo,
            lambda seed: vae.sample(S, seed=seed),
            lambda seed: vae.reconstruct(x, seed=seed),
            lambda seed: vt.evidence.iwae(vae, x, S, seed=seed).estimate,
            lambda seed: vt.evidence.ais(vae, x, 4, 5, seed=seed).estimate,
            lambda seed: vt.gap.total(vae, x, S, seed=seed).elbo,
        ):
            np.testing.assert_array_equal(draw(3), draw(3))
            assert np.any(np.asarray(draw(3)) != np.asarray(draw(4)))

    def test_a_model_with_a_seed_trains_the_same_twice(self):
        def train():
            keras.utils.set_random_seed(1)
            return make_vae(2, seed=5).fit(binary(64), epochs=2, verbose=0).history["elbo"]

        assert train() == train()

    def test_no_seed_means_new_numbers_each_time(self):
        vae, x = make_vae(2), binary(B)
        assert np.any(vae.elbo(x).elbo != vae.elbo(x).elbo)


class Test_07_no_loss_hides_in_a_layer:
    def test_no_losses_are_collected(self):
        vae = make_vae(2)
        vae(binary(B))
        assert vae.losses == []

    def test_nobody_adds_one(self):
        for name, text in SOURCE.items():
            assert not re.search(r"\.add_loss\(|activity_regularizer=", text), name

    def test_the_weight_of_the_kl_is_exactly_one(self):
        vae, x = without_noise(make_vae(L)), binary(40)
        report = vae.evaluate(x, return_dict=True, verbose=0)
        assert report["loss"] == pytest.approx(report["kl"] - report["reconstruction"], rel=1e-6)


LIKELIHOODS = {
    "Bernoulli": (lambda: vt.layers.Bernoulli(4), 1.0, 0.5),
    "ContinuousBernoulli": (lambda: vt.layers.ContinuousBernoulli(4), 0.5, 1.5),
    "Categorical": (lambda: vt.layers.Categorical(4, 3), 2.0, 3.0),
    "DiscretizedLogistic": (lambda: vt.layers.DiscretizedLogistic(4), 0.2, 0.3),
    "Poisson": (lambda: vt.layers.Poisson(4), 3.0, 2.5),
    "NegativeBinomial": (lambda: vt.layers.NegativeBinomial(4), 3.0, 2.5),
    "ZINB": (lambda: vt.layers.ZeroInflatedNegativeBinomial(4, "predicted"), 3.0, -1.0),
    "Normal fixed": (lambda: vt.layers.Normal(4, scale=0.7), -1.0, np.inf),
    "Normal learned": (lambda: vt.layers.Normal(4, scale="learned"), -1.0, np.nan),
    "Normal predicted": (lambda: vt.layers.Normal(4), -1.0, np.nan),
    "StudentT": (lambda: vt.layers.DistributionLayer("StudentT", 4, df=4.0), 2.0, np.inf),
    "Gamma": (lambda: vt.layers.DistributionLayer("Gamma", 4), 2.0, -1.0),
    "Mixture": (lambda: vt.layers.Mixture(vt.layers.Normal(4), 3), -1.0, np.nan),
}


@pytest.mark.parametrize("family", LIKELIHOODS)
class Test_08_a_likelihood_refuses_data_outside_its_support:
    def test_inside_is_accepted_outside_is_refused(self, family):
        make, inside, outside = LIKELIHOODS[family]
        vae = make_vae(2, make(), event=(4,))
        x = np.full((B, 4), inside, "float32")
        assert np.isfinite(vae.elbo(x, seed=0).elbo).all()
        x[3, 2] = outside
        for attempt in (
            lambda: vae.elbo(x),
            lambda: vae.fit(x, verbose=0),
            lambda: vae.evaluate(x, verbose=0),
            lambda: vae.fit(np.full_like(x, inside), validation_data=x, verbose=0),
            lambda: vt.evidence.iwae(vae, x, 3),
            lambda: vt.evidence.grid(vae, x),
            lambda: vt.evidence.ais(vae, x, 2, 2),
            lambda: vt.gap.decompose(vae, x),
        ):
            with pytest.raises(ValueError, match=r"Expected .*Received"):
                attempt()

    def test_a_data_set_is_refused_while_it_is_read(self, family):
        make, inside, outside = LIKELIHOODS[family]
        x = np.full((B, 4), inside, "float32")
        x[-1, -1] = outside
        data = tf.data.Dataset.from_tensor_slices(x).batch(2)
        with pytest.raises(tf.errors.InvalidArgumentError, match="Expected `x` with"):
            make_vae(2, make(), event=(4,)).fit(data, verbose=0)

    def test_inside_a_compiled_step_it_turns_into_nan(self, family):
        make, inside, outside = LIKELIHOODS[family]
        vae, x = make_vae(2, make(), event=(4,)), np.full((B, 4), inside, "float32")
        x[3, 2] = outside
        terms = tf.function(lambda x: vae.elbo(x, seed=0), jit_compile=True)(x)
        np.testing.assert_array_equal(np.isnan(terms.elbo), np.arange(B) == 3)


@keras.saving.register_keras_serializable("test")
class LearnedPrior(vt.priors.Prior):
    """A prior with a weight, which training moves."""

    def __init__(self, latent_size, **kwargs):
        super().__init__(latent_size, **kwargs)
        self.loc = self.add_weight(shape=(latent_size,), initializer="ones")

    def distribution(self):
        loc = tf.convert_to_tensor(self.loc)
        return tfd.Independent(tfd.Normal(loc, tf.ones_like(loc)), 1)


def saved_models():
    layers = vt.layers
    yield "Bernoulli", lambda: make_vae(L), (8, 8), 1.0
    for family, (make, inside, _) in LIKELIHOODS.items():
        yield family, lambda make=make: make_vae(2, make(), event=(4,)), (4,), inside

    def full_covariance():
        encoder = vt.networks.mlp(4, layers.NormalTriL(2), hidden=(8,))
        decoder = vt.networks.mlp(2, layers.Poisson(4), hidden=(8,))
        return vt.VAE(encoder, decoder, objective=vt.objectives.BetaELBO(2.0, num_samples=3))

    yield "NormalTriL", full_covariance, (4,), 2.0

    def flow():
        encoder = vt.networks.mlp(4, layers.CouplingFlow(L, num_flows=2), hidden=(8,))
        return vt.VAE(encoder, vt.networks.mlp(L, layers.Poisson(4), hidden=(8,)))

    yield "CouplingFlow", flow, (4,), 2.0
    yield "learned prior", lambda: make_vae(2, prior=LearnedPrior(2)), (8, 8), 1.0
    mixture, vamp = vt.priors.MixtureOfNormals, vt.priors.VampPrior
    yield "mixture prior", lambda: make_vae(2, prior=mixture(2, 4)), (8, 8), 1.0
    yield "flow prior", lambda: make_vae(2, prior=vt.priors.Flow(2)), (8, 8), 1.0
    yield "VampPrior", lambda: make_vae(2, prior=vamp(2, (4, 8, 8))), (8, 8), 1.0

    def convolutional():
        encoder = vt.networks.conv_encoder((8, 8), layers.NormalDiag(2), filters=(4, 8), hidden=8)
        decoder = vt.networks.conv_decoder(2, layers.Bernoulli((8, 8)), filters=(8, 4), hidden=8)
        return vt.VAE(encoder, decoder, seed=3)

    yield "convolutional", convolutional, (8, 8), 1.0


@pytest.mark.parametrize("case", list(saved_models()), ids=lambda case: case[0])
class Test_09_everything_saves:
    def test_round_trip_to_the_bit(self, case, tmp_path):
        _, make, event, value = case
        vae, x = make(), np.full((B, *event), value, "float32")
        vae.fit(x, epochs=2, verbose=0)
        vae.save(tmp_path / "vae.keras")
        loaded = keras.saving.load_model(tmp_path / "vae.keras", safe_mode=True)
        for a, b in zip(vae.elbo(x, S, seed=2), loaded.elbo(x, S, seed=2), strict=True):
            np.testing.assert_array_equal(a, b)
        assert type(loaded.prior_layer) is type(vae.prior_layer)
        z = np.ones(vae.prior.event_shape, vae.prior.dtype.name)
        np.testing.assert_array_equal(loaded.prior.log_prob(z), vae.prior.log_prob(z))
        assert type(loaded.decoder.layers[-1]) is type(vae.decoder.layers[-1])
        assert loaded.objective.get_config() == vae.objective.get_config()
        for a, b in itertools.zip_longest(vae.optimizer.variables, loaded.optimizer.variables):
            np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(vae.seed_generator.state, loaded.seed_generator.state)


class Test_10_stock_keras_habits_work:
    @pytest.mark.parametrize("jit_compile", [True, False])
    def test_compile_fit_evaluate_predict(self, jit_compile):
        vae, x = make_vae(2, seed=0), binary(70)
        vae.compile(keras.optimizers.Adam(1e-2, clipnorm=1.0), jit_compile=jit_compile)
        history = vae.fit(x, epochs=2, batch_size=32, validation_data=x, verbose=0).history
        names = {"loss", "elbo", "reconstruction", "kl"}
        assert set(history) == names | {f"val_{name}" for name in names}
        assert set(vae.evaluate(x, return_dict=True, verbose=0)) == names
        assert vae.predict(x, verbose=0).shape == x.shape

    def test_run_eagerly_and_several_steps_per_execution(self):
        for options in ({"run_eagerly": True}, {"steps_per_execution": 4}):
            vae = make_vae(2)
            vae.compile("adam", **options)
            assert len(vae.fit(binary(64), batch_size=16, verbose=0).history["elbo"]) == 1

    def test_data_sets_batches_and_dynamic_binarisation(self):
        vae, x = make_vae(2), binary(70)
        data = tf.data.Dataset.from_tensor_slices(x).batch(32)
        vae.fit(data, validation_data=data, verbose=0)
        vae.evaluate(data, verbose=0)
        vae.fit(vt.data.Batches(x * 0.5, batch_size=32, binarize=True), epochs=2, verbose=0)

    def test_mixed_precision(self):
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy("mixed_float16")
        try:
            vae, x = make_vae(2), binary(64)
            assert vae.encode(x).dtype == tf.float32
            assert np.isfinite(vae.fit(x, epochs=2, verbose=0).history["elbo"]).all()
        finally:
            keras.config.set_dtype_policy(before)

    def test_a_target_is_refused(self):
        with pytest.raises(ValueError, match="Expected fit"):
            make_vae(2).fit(binary(B), binary(B), verbose=0)

    def test_a_loss_is_refused(self):
        with pytest.raises(ValueError, match="Expected no `loss`"):
            make_vae(2).compile("adam", loss="mse")

    def test_wide_data(self):
        vae = make_vae(L, event=(D,))
        assert vae.elbo(binary(B, event=(D,)), S).elbo.shape == (B,)
