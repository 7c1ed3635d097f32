"""`fit` on arrays: many steps in one program, and everything of Keras as it was.

The oracle is Keras itself: the same batches through `train_on_batch`, or through a
`tf.data.Dataset`, which takes Keras' own way, must leave the same weights to the bit.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

import vae_tf as vt
from vae_tf._fit import engine

N, D, L = 37, 6, 3  # 37 = 4 * 8 + 5: the last batch is short
X = (np.random.default_rng(0).random((N, D)) < 0.4).astype("float32")
GREY = np.random.default_rng(1).random((N, D)).astype("float32")


def make(optimizer="adam", *, decoder=None, objective=None, **compiled):
    keras.utils.set_random_seed(0)
    encoder = vt.networks.mlp(D, vt.layers.NormalDiag(L), hidden=(8,))
    decoder = decoder or vt.networks.mlp(L, vt.layers.Bernoulli(D), hidden=(8,))
    vae = vt.VAE(encoder, decoder, seed=0, objective=objective)
    vae.compile(optimizer, **compiled)
    return vae


def by_keras(x=X, batch_size=8):
    """The same rows in the same order, through Keras' own data pipeline."""
    return tf.data.Dataset.from_tensor_slices(x).batch(batch_size)


def assert_same_weights(a, b, **tolerance):
    for one, other in zip(a.get_weights(), b.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, **(tolerance or {"rtol": 0}))


class Recorder(keras.callbacks.Callback):
    """Every hook that is called, and with what."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def on_epoch_begin(self, epoch, *_, **__):
        self.calls.append(("begin", epoch))

    def on_epoch_end(self, epoch, logs=None):
        self.calls.append(("end", epoch, set(logs)))


class BatchRecorder(Recorder):
    def on_train_batch_end(self, batch, *_, **__):
        self.calls.append(("batch", batch))


@pytest.fixture(autouse=True)
def nothing_stays_behind(monkeypatch):
    made, of_engine = [], engine.Arrays.__init__

    def noted(self, *arguments):
        of_engine(self, *arguments)
        made.append(self)

    monkeypatch.setattr(engine.Arrays, "__init__", noted)
    yield
    assert not [arrays.residents for arrays in made if arrays.residents]


class TestTheSameTraining:
    @pytest.mark.parametrize(
        "optimizer",
        [
            lambda: "adam",
            lambda: keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True),
            lambda: keras.optimizers.Adam(1e-2, clipnorm=0.5),
            lambda: keras.optimizers.Adam(1e-2, global_clipnorm=0.5),
            lambda: keras.optimizers.AdamW(1e-2, weight_decay=0.1),
            lambda: keras.optimizers.RMSprop(
                keras.optimizers.schedules.ExponentialDecay(0.1, 3, 0.5)
            ),
            lambda: keras.optimizers.Adam(1e-2, use_ema=True, ema_overwrite_frequency=4),
            lambda: keras.optimizers.Adam(1e-2, gradient_accumulation_steps=2),
            lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(1e-2)),
        ],
        ids=["adam", "sgd", "clip", "clip-all", "decay", "schedule", "ema", "accumulate", "scale"],
    )
    def test_as_keras_own_way(self, optimizer):
        mine, keras_own = make(optimizer()), make(optimizer())
        history = mine.fit(X, batch_size=8, epochs=3, shuffle=False, verbose=0).history
        expected = keras_own.fit(by_keras(), epochs=3, verbose=0).history
        assert_same_weights(mine, keras_own)
        for name, values in expected.items():
            np.testing.assert_allclose(history[name], values, rtol=1e-6)
        assert mine.optimizer.iterations == keras_own.optimizer.iterations
        assert mine.objective.step == keras_own.objective.step == 15

    def test_each_epoch_has_its_own_order_and_sees_every_example_once(self):
        class Orders(vt.objectives.ELBO):
            def __call__(self, forward, terms=None):
                orders.append(forward.x.numpy()[:, 0])
                return super().__call__(forward, terms)

        orders, x = [], np.tile(np.arange(N, dtype="float32")[:, None], (1, D))
        decoder = vt.networks.mlp(L, vt.layers.Normal(D, scale=1.0), hidden=(8,))
        vae = make(decoder=decoder, objective=Orders(), run_eagerly=True)
        vae.fit(x, batch_size=8, epochs=2, verbose=0)
        first, second = np.concatenate(orders[:5]), np.concatenate(orders[5:])
        np.testing.assert_array_equal(np.sort(first), x[:, 0])
        np.testing.assert_array_equal(np.sort(second), x[:, 0])
        assert (first != x[:, 0]).any() and (first != second).any()
        assert [len(part) for part in orders[:5]] == [8, 8, 8, 8, 5]

    @pytest.mark.parametrize(
        "batch_size, floatx", [(8, "float32"), (8, "float64"), (N, "float32"), (2 * N, "float32")]
    )
    def test_batches_are_those_that_one_sees_by_hand(self, batch_size, floatx):
        before = keras.config.floatx()
        keras.config.set_floatx(floatx)
        try:
            self.compare_by_hand(batch_size)
        finally:
            keras.config.set_floatx(before)

    def compare_by_hand(self, batch_size):
        batches = vt.data.Batches(GREY, batch_size, seed=3, binarize=True)
        mine, by_hand = make(), make()
        mine.fit(batches, epochs=2, verbose=0)
        batches = vt.data.Batches(GREY, batch_size, seed=3, binarize=True)
        for _ in range(2):
            batches.on_epoch_end()
            for i in range(len(batches)):
                by_hand.train_on_batch(batches[i])
        assert_same_weights(mine, by_hand)

    def test_one_process_draws_for_data_of_any_shape(self):
        seed, rng = tf.constant([1, 2]), np.random.default_rng(0)
        for shape in [(10, 6), (10, 7), (10, 2, 3), (8, 2, 3), (3, 7), (3, 2, 3)]:
            x, order = rng.random(shape, "float32"), rng.permutation(shape[0]).astype("int32")
            drawn = engine._drawn(tf.constant(x), tf.constant(order), seed, 4).numpy()
            for i, batch in enumerate(np.split(order, range(4, len(order), 4))):
                expected = vt.data.Batches.draw(x[batch], seed, tf.constant(i))
                np.testing.assert_array_equal(drawn[batch], expected)

    @pytest.mark.parametrize("jit", [True, False])
    def test_pixels_drawn_in_a_program_have_their_probabilities(self, jit):
        p = np.repeat(np.float32([0, 0.1, 0.7, 1]), 20_000).reshape(4, -1)
        draw = tf.function(vt.data.Batches.draw, autograph=False, jit_compile=jit)
        seed = tf.constant([3, 4])
        first, second = (draw(p, seed, tf.constant(i)).numpy() for i in (0, 1))
        error = np.sqrt(p[:, 0] * (1 - p[:, 0]) / p.shape[1])
        for x in (first, second):
            assert np.all(np.abs(x.mean(axis=1) - p[:, 0]) <= 4 * error + 1e-7)
        # Batches are independent: they agree in p^2 + (1 - p)^2 of the pixels.
        agree = p[:, 0] ** 2 + (1 - p[:, 0]) ** 2
        error = np.sqrt(agree * (1 - agree) / p.shape[1])
        assert np.all(np.abs((first == second).mean(axis=1) - agree) <= 4 * error + 1e-7)

    def test_eagerly_and_compiled_alike(self):
        whole, eager = make(), make(run_eagerly=True)
        for vae in (whole, eager):
            vae.fit(X, batch_size=8, epochs=2, verbose=0)
        assert_same_weights(whole, eager, rtol=1e-4, atol=1e-6)

    def test_with_and_without_xla(self):
        # No path from z to x: nothing is random, and both must agree.
        vaes = []
        for jit in (True, False):
            decoder = vt.networks.mlp(
                L, vt.layers.Bernoulli(D), hidden=(8,), kernel_initializer="zeros"
            )
            vaes.append(make("sgd", decoder=decoder, jit_compile=jit))
            vaes[-1].fit(X, batch_size=8, epochs=2, verbose=0)
        assert_same_weights(*vaes, rtol=1e-5, atol=1e-7)

    @pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16", "float64"])
    def test_other_precisions(self, policy):
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy(policy)
        try:
            mine, keras_own = make(), make()
        finally:
            keras.config.set_dtype_policy(before)
        mine.fit(X, batch_size=8, epochs=2, shuffle=False, verbose=0)
        keras_own.fit(by_keras(), epochs=2, verbose=0)
        assert_same_weights(mine, keras_own)

    def test_a_training_that_stopped_goes_on_as_if_it_had_not(self, tmp_path):
        whole, parts = make(), make()
        whole.fit(X, batch_size=8, epochs=4, verbose=0)
        backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")

        class Power(keras.callbacks.Callback):
            def on_epoch_begin(self, epoch, *_, **__):
                if epoch == 2:
                    raise InterruptedError

        with pytest.raises(InterruptedError):
            parts.fit(X, batch_size=8, epochs=4, verbose=0, callbacks=[backup, Power()])
        again = make()
        again.fit(X, batch_size=8, epochs=4, verbose=0, callbacks=[backup])
        assert_same_weights(whole, again)


class TestWhatKerasSees:
    def test_epochs_and_steps(self):
        recorder = Recorder()
        make().fit(X, batch_size=8, epochs=2, verbose=0, callbacks=[recorder])
        logs = {"loss", "elbo", "reconstruction", "kl"}
        assert recorder.calls == [("begin", 0), ("end", 0, logs), ("begin", 1), ("end", 1, logs)]

    def test_a_callback_of_batches_is_called_at_each(self):
        recorder, seen = BatchRecorder(), []
        also = keras.callbacks.LambdaCallback(
            on_train_batch_begin=lambda batch, **_: seen.append(batch)
        )
        make().fit(X, batch_size=8, verbose=0, callbacks=[recorder])
        make().fit(X, batch_size=8, verbose=0, callbacks=[also])
        batches = [call[1] for call in recorder.calls if call[0] == "batch"]
        assert batches == seen == [0, 1, 2, 3, 4]

    def test_callbacks_do_not_change_the_numbers(self):
        alone, watched = make(), make()
        alone.fit(X, batch_size=8, epochs=2, verbose=0)
        watched.fit(X, batch_size=8, epochs=2, verbose=0, callbacks=[BatchRecorder()])
        assert_same_weights(alone, watched)

    def test_steps_per_execution_is_obeyed(self):
        recorder = BatchRecorder()
        vae = make(steps_per_execution=2)
        vae.fit(X, batch_size=8, verbose=0, callbacks=[recorder])
        assert [call[1] for call in recorder.calls if call[0] == "batch"] == [1, 3, 5]
        assert vae.steps_per_execution == 2

    def test_which_callbacks_look_at_batches(self, tmp_path):
        kinds = keras.callbacks
        file = tmp_path / "model.keras"
        at_epochs = [
            kinds.BackupAndRestore(tmp_path / "backup"),
            kinds.CSVLogger(tmp_path / "log.csv"),
            kinds.EarlyStopping("elbo", mode="max"),
            kinds.LearningRateScheduler(lambda _: 0.01),
            kinds.ModelCheckpoint(file),
            kinds.ReduceLROnPlateau("elbo", mode="max"),
        ]
        at_steps = [kinds.ModelCheckpoint(file, save_freq=3), kinds.TerminateOnNaN()]
        for callbacks, steps in ((at_epochs, 5), (at_steps, 1)):
            vae = make()
            with vae._arrays.lent():
                tickets, _ = vae._arrays.for_fit((X,), {"batch_size": 8, "callbacks": callbacks})
                assert tickets.resident.wanted_steps == steps
            vae.fit(X, batch_size=8, epochs=2, verbose=0, callbacks=callbacks)
        board = kinds.TensorBoard  # not installed everywhere, so it is not run
        assert not engine._looks_at_batches([board(tmp_path)], engine._TRAIN_HOOKS)
        assert engine._looks_at_batches([board(tmp_path, update_freq=5)], engine._TRAIN_HOOKS)

    def test_a_callback_that_adds_a_hook_to_one_of_keras_is_called(self, tmp_path):
        class Own(keras.callbacks.ModelCheckpoint):
            def on_train_batch_end(self, batch, *_, **__):
                seen.append(batch)

        seen = []
        callbacks = [Own(tmp_path / "model.keras")]
        make().fit(X, batch_size=8, verbose=0, callbacks=callbacks)
        assert seen == [0, 1, 2, 3, 4]

    def test_a_callback_of_test_batches_is_called_at_each(self):
        class Seen(keras.callbacks.Callback):
            def on_test_batch_end(self, batch, *_, **__):
                seen.append(batch)

        for run in (
            lambda vae: vae.fit(X, batch_size=8, validation_data=X, verbose=0, callbacks=[Seen()]),
            lambda vae: vae.evaluate(X, batch_size=8, verbose=0, callbacks=[Seen()]),
        ):
            seen = []
            run(make())
            assert seen == [0, 1, 2, 3, 4]

    def test_early_stopping_stops(self):
        stop = keras.callbacks.EarlyStopping("val_elbo", mode="max", baseline=1e6)
        history = make().fit(X, validation_data=X, epochs=9, verbose=0, callbacks=[stop]).history
        assert len(history["loss"]) < 9

    def test_validation_is_an_evaluation(self):
        decoder = vt.networks.mlp(
            L, vt.layers.Bernoulli(D), hidden=(8,), kernel_initializer="zeros"
        )
        vae = make(decoder=decoder)
        held_out = X[::-1][:11]
        history = vae.fit(X, batch_size=8, validation_data=held_out, verbose=0).history
        report = vae.evaluate(held_out, batch_size=4, return_dict=True, verbose=0)
        by_keras_way = vae.evaluate(by_keras(held_out), return_dict=True, verbose=0)
        for name, value in report.items():
            assert history[f"val_{name}"][0] == pytest.approx(value, rel=1e-5)
            assert by_keras_way[name] == pytest.approx(value, rel=1e-5)

    def test_an_evaluation_counts_no_step(self):
        vae = make()
        vae.fit(X, batch_size=8, verbose=0)
        trained = int(vae.objective.step.numpy())
        vae.evaluate(X, batch_size=8, verbose=0)
        vae.test_on_batch(X[:8])
        assert int(vae.objective.step.numpy()) == trained > 0

    def test_validation_split_takes_the_last(self):
        split, by_hand = make(), make()
        a = split.fit(X, batch_size=8, validation_split=0.25, verbose=0).history
        b = by_hand.fit(X[:27], batch_size=8, validation_data=X[27:], verbose=0).history
        assert a == b
        assert_same_weights(split, by_hand)

    def test_the_progress_bar_counts_steps(self, capsys):
        make().fit(X, batch_size=8, epochs=2)
        assert "5/5" in capsys.readouterr().out

    def test_evaluations_by_a_callback_in_the_middle(self):
        class Evaluate(keras.callbacks.Callback):
            def on_epoch_end(self, *_, **__):
                seen.append(self.model.evaluate(X[:5], verbose=0))
                seen.append(self.model.evaluate(by_keras(X[:5]), verbose=0))
                self.model.test_on_batch(X[:5])

        seen, vae = [], make()
        vae.fit(X, batch_size=8, epochs=2, validation_data=X, verbose=0, callbacks=[Evaluate()])
        alone = make()
        alone.fit(X, batch_size=8, epochs=1, verbose=0)
        assert len(seen) == 4 and np.isfinite(seen).all()
        assert vae.optimizer.iterations == 10

    def test_what_keras_made_before_or_makes_meanwhile_is_left_alone(self):
        """Its functions hold the number of steps of an execution that they were made with."""
        few = by_keras(X, 2)
        decoder = vt.networks.mlp(
            L, vt.layers.Bernoulli(D), hidden=(8,), kernel_initializer="zeros"
        )
        vae, predicted = make(keras.optimizers.SGD(0.0), decoder=decoder), []
        expected = vae.evaluate(few, return_dict=True, verbose=0)["elbo"]

        class Predict(keras.callbacks.Callback):
            def on_epoch_end(self, *_, **__):
                predicted.append(self.model.predict(X, batch_size=2, verbose=0).shape)

        for size in (20, 4):
            options = {"batch_size": size, "verbose": 0, "callbacks": [Predict()]}
            history = vae.fit(X, validation_data=few, **options).history
            assert history["val_elbo"][0] == pytest.approx(expected, rel=1e-6)
            some = vae.evaluate(few, steps=2, return_dict=True, verbose=0)["elbo"]
            first = vae.evaluate(X[:4], return_dict=True, verbose=0)["elbo"]
            assert some == pytest.approx(first, rel=1e-6)
        assert predicted == [X.shape, X.shape]
        assert vae.predict(X, batch_size=2, verbose=0).shape == X.shape

    @pytest.mark.parametrize("data", [X, by_keras()], ids=["array", "Keras' own way"])
    def test_a_callback_may_change_the_objective(self, data):
        class Change(keras.callbacks.Callback):
            def on_epoch_begin(self, epoch, *_, **__):
                if epoch == 1:
                    self.model.objective = vt.objectives.BetaELBO(50.0)

        history = make().fit(data, epochs=2, verbose=0, callbacks=[Change()]).history
        elbo, loss = np.array(history["elbo"]), np.array(history["loss"])
        assert loss[0] == pytest.approx(-elbo[0], rel=1e-5) and loss[1] > -elbo[1]

    @pytest.mark.parametrize("jit", [True, False])
    def test_a_number_of_the_objective_may_change(self, jit):
        objective = vt.objectives.BetaELBO(1.0)
        vae = make(keras.optimizers.SGD(0.0), objective=objective, jit_compile=jit)
        for beta in (1.0, 50.0):
            vae.objective.beta = beta
            last = {k: v[0] for k, v in vae.fit(X, batch_size=8, verbose=0).history.items()}
            expected = beta * last["kl"] - last["reconstruction"]
            assert last["loss"] == pytest.approx(expected, rel=1e-4)

    def test_arguments_by_position(self):
        mine, by_name = make(), make()
        mine.fit(X, None, 8, 2, verbose=0)
        by_name.fit(X, batch_size=8, epochs=2, verbose=0)
        assert_same_weights(mine, by_name)
        mine.evaluate(X, None, 8, verbose=0)


class TestErrors:
    @pytest.mark.parametrize(
        ("arguments", "error", "message"),
        [
            ({"batch_size": 0}, ValueError, "`batch_size` to be a positive integer"),
            ({"batch_size": 8.0}, ValueError, "`batch_size` to be a positive integer"),
            ({"epochs": None}, TypeError, "NoneType"),
            ({"validation_split": 0.999}, ValueError, "not sufficient to split"),
            ({"validation_data": (0.5 * X,)}, ValueError, "`validation_data` with only the values"),
        ],
    )
    def test_arguments(self, arguments, error, message):
        with pytest.raises(error, match=message):
            make().fit(X, verbose=0, **arguments)

    def test_a_variable_is_checked_as_an_array_is(self):
        with pytest.raises(ValueError, match="with only the values"):
            make().fit(tf.Variable(0.5 * X), verbose=0)
        make().fit(tf.Variable(X), validation_data=(X,), verbose=0)

    def test_a_device_without_room_says_so(self, monkeypatch):
        def full(_):
            raise MemoryError("the device is full")

        monkeypatch.setattr(engine, "_tensor", full)
        with pytest.raises(MemoryError, match="full"):
            make().fit(X, verbose=0)

    def test_an_error_leaves_the_model_as_it_was(self):
        vae = make()
        with pytest.raises(ValueError, match="batch"):
            vae.fit(X, batch_size=8, epochs=2, verbose=0, callbacks=[Failing()])
        vae.fit(X, batch_size=8, verbose=0)


class TestWhatStaysWithKeras:
    def uses_programs(self, monkeypatch, vae, x=X, **kwargs):
        seen = []
        run = engine.Program._run
        monkeypatch.setattr(
            engine.Program, "_run", lambda self, *args: seen.append(1) or run(self, *args)
        )
        vae.fit(x, verbose=0, **kwargs)
        return bool(seen)

    def test_arrays_tensors_and_batches_do_not(self, monkeypatch):
        for x in (X, tf.constant(X), X > 0.5, X.astype("float64"), vt.data.Batches(X)):
            assert self.uses_programs(monkeypatch, make(), x)

    def test_data_pipelines_and_limited_epochs_do(self, monkeypatch):
        assert not self.uses_programs(monkeypatch, make(), by_keras())
        assert not self.uses_programs(monkeypatch, make(), X, steps_per_epoch=2)
        monkeypatch.setattr(engine, "_LARGEST", X.nbytes - 1)
        assert not self.uses_programs(monkeypatch, make(), X)

    def test_validation_on_batches_and_debugging_runs_do(self, monkeypatch):
        batches = vt.data.Batches(X, 8)
        history = make().fit(X, validation_data=batches, verbose=0).history
        assert np.isfinite(history["val_elbo"]).all()
        monkeypatch.setattr(keras.config, "max_steps_per_epoch", lambda: 2)
        assert not self.uses_programs(monkeypatch, make(), X)

    def test_functions_run_eagerly_are_obeyed(self):
        class Calls(vt.objectives.ELBO):
            def __call__(self, forward, terms=None):
                seen.append(tf.executing_eagerly())
                return super().__call__(forward, terms)

        seen, vae = [], make(objective=Calls())
        vae.fit(X, batch_size=8, verbose=0)
        assert not any(seen)
        tf.config.run_functions_eagerly(True)
        try:
            vae.fit(X, batch_size=8, verbose=0)
        finally:
            tf.config.run_functions_eagerly(False)
        assert seen[-5:] == [True] * 5

    def test_a_train_step_of_ones_own_does(self, monkeypatch):
        class Own(vt.VAE):
            def train_step(self, data):
                return {"mine": super().train_step(data)["loss"]}

        base = make()
        vae = Own(base.encoder, base.decoder, seed=0)
        assert not self.uses_programs(monkeypatch, vae)

    def test_a_strategy_does(self, monkeypatch):
        with tf.distribute.OneDeviceStrategy("CPU:0").scope():
            vae = make()
        assert not self.uses_programs(monkeypatch, vae)


class TestCompilation:
    def test_long_trainings_use_xla_and_keep_it(self, monkeypatch):
        vae = make()
        vae.fit(X, batch_size=8, verbose=0)
        used = {key[-1] for key in vae.train_function._programs}
        assert used == {False}
        monkeypatch.setattr(engine, "_LONG", 10)
        vae.fit(X, batch_size=8, epochs=2, verbose=0)
        assert {key[-1] for key in vae.train_function._programs} == {False, True}
        never = make(jit_compile=False)
        never.fit(X, batch_size=8, epochs=2, verbose=0)
        assert {key[-1] for key in never.train_function._programs} == {False}

    def test_convolutions_use_it_only_where_they_are_told_to(self, monkeypatch):
        """On a CPU XLA's own take some five times as long as TensorFlow's."""
        monkeypatch.setattr(engine, "_LONG", 1)
        x = np.zeros((16, 4, 4, 1), "float32")
        for choice, used in (("auto", False), (True, True)):
            encoder = vt.networks.conv_encoder(x.shape[1:], vt.layers.NormalDiag(2), (2,))
            decoder = vt.networks.conv_decoder(2, vt.layers.Bernoulli(x.shape[1:]), (2,))
            vae = vt.VAE(encoder, decoder, seed=0)
            vae.compile("sgd", jit_compile=choice)
            vae.fit(x, batch_size=8, verbose=0)
            assert {key[-1] for key in vae.train_function._programs} == {used}

    def test_what_xla_cannot_compile_is_trained_without(self):
        class ByHand(vt.objectives.ELBO):
            def __call__(self, forward, terms=None):
                value = super().__call__(forward, terms)
                one = tf.py_function(lambda: 1.0, [], tf.float32)
                return value * one

        vae, same = (make(objective=ByHand(), jit_compile=jit) for jit in (True, False))
        with pytest.warns(UserWarning, match="XLA cannot compile this model.*without"):
            vae.fit(X, batch_size=8, verbose=0)
        vae.fit(X, batch_size=8, verbose=0)  # says it once
        same.fit(X, batch_size=8, epochs=2, verbose=0)
        assert_same_weights(vae, same)

    def test_the_choice_is_saved(self, tmp_path):
        for choice in ("auto", True, False):
            vae = make(jit_compile=choice)
            vae.train_on_batch(X)
            vae.save(tmp_path / "vae.keras")
            assert keras.saving.load_model(tmp_path / "vae.keras").jit_choice == choice


class Failing(keras.callbacks.Callback):
    def on_epoch_end(self, *_, **__):
        raise ValueError("a batch of trouble")
