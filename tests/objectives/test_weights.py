"""The weights of an objective: numbers that can be changed at any time, by a callback too."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import make_vae

import vae_tf as vt

X = (np.random.default_rng(0).random((96, 6)) < 0.5).astype("float32")
BETAS = (0.0, 1000.0, 2.0, 0.0)


def vae(objective):
    keras.utils.set_random_seed(0)
    model = make_vae(event=(6,), hidden=(8,), seed=0, objective=objective)
    model.compile(keras.optimizers.SGD(0.0))  # nothing moves but beta
    return model


class Change(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):  # noqa: ARG002, Keras hands over both
        self.model.objective.beta = BETAS[epoch]


FEEDS = {
    "array": (lambda: X, {"batch_size": 32}),
    "data set": (lambda: tf.data.Dataset.from_tensor_slices(X).batch(32), {}),
    "generator": (lambda: (X[:32] for _ in iter(int, 1)), {"steps_per_epoch": 3}),
    "Batches": (lambda: vt.data.Batches(X, 32, seed=0), {}),
}


@pytest.mark.parametrize("feed", FEEDS)
def test_a_callback_changes_beta_for_every_kind_of_input(feed):
    make, options = FEEDS[feed]
    model = vae(vt.objectives.BetaELBO(1.0))
    history = model.fit(make(), epochs=4, verbose=0, callbacks=[Change()], **options).history
    expected = -(np.array(history["reconstruction"]) - np.array(BETAS) * history["kl"])
    np.testing.assert_allclose(history["loss"], expected, rtol=1e-5)


def test_nothing_is_traced_again_and_no_program_is_kept():
    model = vae(vt.objectives.BetaELBO(1.0))
    model.fit(X, batch_size=32, epochs=4, verbose=0, callbacks=[Change()])
    assert len(model.train_function._programs) == 1


def test_another_number_of_samples_is_obeyed():
    model = vae(vt.objectives.ELBO())
    model.fit(X, batch_size=32, verbose=0)
    first = model.train_function._programs
    model.objective.num_samples = 3
    model.fit(X, batch_size=32, verbose=0)
    assert model.train_function._programs is not first


NUMBERS = {
    "BetaELBO": (lambda w: vt.objectives.BetaELBO(w), "beta"),
    "FreeBits": (lambda w: vt.objectives.FreeBits(w), "free_nats"),
    "Capacity": (lambda w: vt.objectives.Capacity(w), "capacity"),
    "BetaTC": (lambda w: vt.objectives.BetaTC(w, dataset_size=96), "beta"),
    "DIP": (lambda w: vt.objectives.DIP("I", w, 1.0), "lambda_od"),
    "InfoMMD": (lambda w: vt.objectives.InfoMMD(lambda_=1 + w, seed=0), "lambda_"),
    "Factor": (lambda w: vt.objectives.Factor(w, hidden=(4,), seed=0), "gamma"),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_every_number_lives_in_a_variable(name):
    make, weight = NUMBERS[name]
    objective = make(1.0)
    model = vae(objective)
    one_pass = model(X, seed=0)
    compiled = tf.function(lambda: tf.reduce_mean(objective(one_pass)))
    compiled()
    assert isinstance(getattr(objective, weight), float)
    setattr(objective, weight, getattr(objective, weight) + 2.5)
    version = objective.version
    other = make(3.5)
    other.attach(2)
    if name == "Factor":
        other.discriminator.set_weights(objective.discriminator.get_weights())
    if name == "InfoMMD":
        objective.seed_generator.state.assign(other.seed_generator.state)
    expected = float(tf.reduce_mean(other(one_pass)))
    assert float(compiled()) == pytest.approx(expected, rel=1e-5)
    assert objective.version == version


@pytest.mark.parametrize("value", [-1.0, np.nan, np.inf, "1", None, True, [1.0]])
def test_other_values_are_refused_at_any_time(value):
    objective = vt.objectives.BetaELBO(1.0)
    with pytest.raises(ValueError, match="Expected `beta` to be a number that is not negative"):
        objective.beta = value
    assert objective.beta == 1.0


def test_a_variable_is_read_at_every_step():
    beta = tf.Variable(0.0)
    model = vae(vt.objectives.BetaELBO(beta))
    before = model.fit(X, verbose=0).history
    beta.assign(1000.0)
    after = model.fit(X, verbose=0).history
    assert before["loss"][0] == pytest.approx(-before["reconstruction"][0], rel=1e-5)
    assert after["loss"][0] > 100
    assert model.get_config()["objective"]["config"]["beta"] == 1000.0


def test_a_number_that_was_changed_is_saved(tmp_path):
    model = vae(vt.objectives.BetaELBO(1.0))
    model.objective.beta = 0.1
    model.save(tmp_path / "model.keras")
    assert keras.models.load_model(tmp_path / "model.keras").objective.beta == 0.1


def test_a_schedule_takes_the_place_of_a_number_and_back():
    model = vae(vt.objectives.BetaELBO(1.0))
    model.fit(X, verbose=0)
    model.objective.beta = vt.schedules.LinearWarmup(3, start=1000.0, stop=1000.0)
    assert model.fit(X, verbose=0).history["loss"][0] > 100
    model.objective.beta = 0.0
    history = model.fit(X, verbose=0).history
    assert history["loss"][0] == pytest.approx(-history["reconstruction"][0], rel=1e-5)


def test_an_objective_that_is_replaced_leaves_nothing_behind():
    model = vae(vt.objectives.ELBO())
    count = len(model.variables)
    for _ in range(3):
        model.objective = vt.objectives.Factor(1.0, hidden=(4,))
    model.objective = vt.objectives.ELBO()
    assert len(model.variables) == count
    vt.sweep([model, vae(vt.objectives.ELBO())], X, verbose=0)


def test_an_objective_belongs_to_one_model():
    objective = vt.objectives.BetaELBO(2.0)
    model = vae(objective)
    with pytest.raises(ValueError, match="one that another model has"):
        vae(objective)
    model.objective = vt.objectives.ELBO()
    vae(objective)  # it was given up


def test_a_prior_belongs_to_one_model():
    prior = vt.priors.StandardNormal(2)
    first = make_vae(event=(6,), prior=prior)
    with pytest.raises(ValueError, match="another"):
        make_vae(event=(6,), prior=prior)
    assert first.prior_layer is prior
