"""Graphs for work in parts: made once, kept by the models that can, and never out of date."""

import numpy as np
import pytest
import tensorflow as tf

import vae_tf as vt
from vae_tf._core import chunks, programs


@pytest.fixture
def vae():
    encoder = vt.networks.mlp(6, vt.layers.NormalDiag(2), hidden=(8,))
    decoder = vt.networks.mlp(2, vt.layers.Bernoulli(6), hidden=(8,))
    return vt.VAE(encoder, decoder, prior=vt.priors.MixtureOfNormals(2, 3), seed=0)


@pytest.fixture
def x(rng):
    return (rng.random((5, 6)) < 0.4).astype("float32")


class TestRepeated:
    def test_traces_once_for_the_same_shapes(self):
        runs = []

        def function(x, *, power):
            runs.append(tf.executing_eagerly())
            return x**power

        repeated = programs.Repeated(function)
        for value in range(6):
            assert repeated([float(value), 1.0], power=2).numpy().tolist() == [value**2, 1]
        assert runs == [True, True, False]
        for value in range(6):
            assert repeated([float(value), 1.0], power=3).numpy().tolist() == [value**3, 1]
        assert runs == 2 * [True, True, False]

    def test_what_cannot_be_traced_stays_as_it_is(self):
        repeated = programs.Repeated(lambda x: tf.constant(np.sort(x.numpy())))
        for _ in range(5):
            assert repeated([2.0, 1.0]).numpy().tolist() == [1, 2]

    def test_an_error_of_the_function_is_its_own(self):
        def function(x):
            raise ZeroDivisionError(x.shape)

        repeated = programs.Repeated(function)
        for _ in range(4):
            with pytest.raises(ZeroDivisionError):
                repeated(1.0)


class TestKept:
    def test_the_oldest_gives_way_and_other_parts_forget_all(self):
        keep, one, other = programs.Kept(), object(), object()
        assert keep.get((one,), 0, list) is keep.get((one,), 0, list)
        first = keep.get((one,), 0, list)
        for key in range(programs._MOST + 1):
            keep.get((one,), key, list)
        assert keep.get((one,), 0, list) is not first
        assert keep.get((one,), 0, list) is not keep.get((other,), 0, list)


# What is asked of a model again and again, in parts of the same shapes.
QUESTIONS = {
    "elbo": lambda vae, x: vae.elbo(x, 200, seed=0).elbo.numpy(),
    "iwae": lambda vae, x: vt.evidence.iwae(vae, x, 200, seed=0).estimate,
    "grid": lambda vae, x: vt.evidence.grid(vae, x).estimate,
    "ais": lambda vae, x: vt.evidence.ais(vae, x, 4, 5, seed=0).estimate,
    "decompose": lambda vae, x: vt.gap.decompose(vae, x, log_evidence=np.zeros(5), max_steps=100,
                                                 num_samples=200, seed=0).amortization,
}  # fmt: skip


@pytest.fixture
def traced(monkeypatch):
    """How often a decoder was asked outside of eager execution: while a graph is made."""
    count = []
    decode = vt.VAE.decode

    def counted(self, *args, **kwargs):
        if not tf.executing_eagerly():
            count.append(1)
        return decode(self, *args, **kwargs)

    monkeypatch.setattr(vt.VAE, "decode", counted)
    return count


def sees_what_changed(ask, vae, x):
    """The answers are those of a model that has kept nothing."""
    ask(vae, x)
    for variable in vae.trainable_variables:  # of networks and prior
        variable.assign(variable + 0.3 * tf.random.stateless_normal(variable.shape, (1, 2)))
    before = ask(vae, x)
    keeps, vae._kept = vae._kept, programs.Kept()
    np.testing.assert_array_equal(before, ask(vae, x))
    vae._kept = keeps
    vae.decoder = vt.networks.mlp(2, vt.layers.Bernoulli(6), hidden=(7,))
    changed = ask(vae, x)
    vae._kept = programs.Kept()
    np.testing.assert_array_equal(changed, ask(vae, x))
    assert not np.array_equal(before, changed)


@pytest.fixture
def in_parts(monkeypatch):
    monkeypatch.setattr(chunks, "BUDGET", 5 * 8 * 2 * 20)


@pytest.mark.usefixtures("in_parts")
class TestAModelKeepsItsGraphs:
    @pytest.mark.parametrize("name", QUESTIONS)
    def test_nothing_is_traced_twice_and_every_digit_is_the_same(self, name, vae, x, traced):
        first = QUESTIONS[name](vae, x)
        once = len(traced)
        assert once > 0
        np.testing.assert_array_equal(QUESTIONS[name](vae, x), first)
        assert len(traced) == once

    @pytest.mark.parametrize("name", ["elbo", "iwae", "grid"])
    def test_new_numbers_and_new_parts_are_seen(self, name, vae, x):
        sees_what_changed(QUESTIONS[name], vae, x)

    @pytest.mark.parametrize("name", ["ais", "decompose"])
    def test_searches_and_chains_see_them_too(self, name, vae, x):
        sees_what_changed(QUESTIONS[name], vae, x)


@pytest.mark.usefixtures("in_parts")
def test_compile_forgets(vae, x, traced):
    QUESTIONS["iwae"](vae, x)
    once = len(traced)
    vae.compile()
    QUESTIONS["iwae"](vae, x)
    assert len(traced) == 2 * once > 0


@pytest.mark.usefixtures("in_parts")
def test_a_subclass_may_change_its_mind(vae, x):
    class Tempered(vt.VAE):
        temperature = 1.0

        def decode(self, z, *args, **kwargs):
            return super().decode(z / self.temperature, *args, **kwargs)

    tempered = Tempered(vae.encoder, vae.decoder, seed=0)
    first = QUESTIONS["iwae"](tempered, x)
    tempered.temperature = 9.0
    assert not np.allclose(QUESTIONS["iwae"](tempered, x), first)
