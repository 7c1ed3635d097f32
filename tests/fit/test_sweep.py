"""Many models in one program: each gets exactly the training that `fit` gives it alone."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import vae_tf as vt
from vae_tf._fit.sweep import Histories, sweep

LATENTS, EVENT, BATCH, EPOCHS = 3, 6, 16, 3
OBJECTIVES, LAYERS = vt.objectives, vt.layers


def make(objective=None, seed=0, q=None, p=None, hidden=(8,), optimizer=None, **kwargs):
    keras.utils.set_random_seed(seed)
    q = LAYERS.NormalDiag(LATENTS) if q is None else q
    p = LAYERS.Bernoulli(EVENT) if p is None else p
    encoder = vt.networks.mlp(EVENT, q, hidden)
    decoder = vt.networks.mlp(LATENTS, p, hidden, **kwargs)
    vae = vt.VAE(encoder, decoder, objective=objective, seed=seed)
    vae.compile(keras.optimizers.Adam(0.01) if optimizer is None else optimizer)
    return vae


def uniform(examples=48):
    return np.random.default_rng(0).random((examples, EVENT)).astype("float32")


def binary(examples=48):
    return (uniform(examples) < 0.4).astype("float32")


def warm_up(stop):
    return vt.schedules.LinearWarmup(2 * EPOCHS, stop=stop)


def betas():
    """Numbers and schedules, seeds that differ and that do not, a schedule of the learning rate."""
    decay = keras.optimizers.schedules.CosineDecay
    return [
        make(OBJECTIVES.BetaELBO(beta), seed, optimizer=keras.optimizers.Adam(decay(0.01, 20)))
        for beta, seed in ((0.5, 0), (4.0, 0), (warm_up(2.0), 1))
    ]


def full_covariances():
    """Samples through a triangle, a gradient of its own making, a learned scalar, a momentum."""
    return [
        make(
            OBJECTIVES.IWAE(5, gradient="dreg"),
            seed,
            q=LAYERS.NormalTriL(LATENTS),
            p=LAYERS.Normal(EVENT, scale="learned"),
            optimizer=keras.optimizers.SGD(0.01, momentum=0.9),
        )
        for seed in (0, 1)
    ]


def counts():
    """Two numbers in one objective."""
    return [
        make(OBJECTIVES.Capacity(capacity, gamma), p=LAYERS.NegativeBinomial(EVENT))
        for capacity, gamma in ((1.0, 10.0), (warm_up(3.0), 2.0))
    ]


def free_bits():
    return [make(OBJECTIVES.FreeBits(free), seed) for free, seed in ((0.0, 0), (0.3, 5))]


CASES = {
    "betas": (betas, lambda: binary(50)),  # a last batch of two
    "full covariances": (full_covariances, lambda: 3 * uniform()),
    "counts": (counts, lambda: np.floor(8 * uniform())),
    "batches": (free_bits, lambda: vt.data.Batches(uniform(), BATCH, seed=2, binarize=True)),
}


def fit(vae, x, epochs=EPOCHS):
    return vae.fit(
        x, epochs=epochs, batch_size=None if isinstance(x, vt.data.Batches) else BATCH, verbose=0
    ).history


def numbers(vae):
    return [getattr(vae.objective, name) for name in vae.objective.scheduled]


@pytest.mark.parametrize("case", CASES)
def test_each_model_gets_the_training_of_fit_alone(case):
    makers, data = CASES[case]
    together, alone = makers(), makers()
    kept = [numbers(vae) for vae in together]
    found = sweep(together, data(), EPOCHS, BATCH, verbose=0)
    histories = [fit(vae, data()) for vae in alone]
    for name in Histories._fields:  # only the order within sums differs
        wanted = [history[name] for history in histories]
        np.testing.assert_allclose(getattr(found, name), wanted, rtol=1e-5, atol=1e-5)
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_array_equal(one.seed_generator.state, other.seed_generator.state)
        steps = int(other.optimizer.iterations)
        assert int(one.objective.step) == int(one.optimizer.iterations) == steps > 0
    assert [numbers(vae) for vae in together] == kept


def test_a_model_does_not_depend_on_its_neighbours():
    x = binary()
    alone = sweep(betas()[1:2], x, EPOCHS, BATCH, verbose=0)
    among = sweep(betas(), x, EPOCHS, BATCH, verbose=0)
    for one, many in zip(alone, among, strict=True):
        np.testing.assert_allclose(one[0], many[1], rtol=1e-5)


def test_equal_seeds_share_order_and_noise_and_other_seeds_do_not():
    x = binary()
    vaes = [make(seed=seed) for seed in (0, 0, 1)]
    vaes[2].set_weights([*vaes[0].get_weights()[:-1], vaes[2].get_weights()[-1]])
    found = sweep(vaes, x, 1, BATCH, verbose=0)
    assert found.elbo[0] == found.elbo[1]
    assert abs(found.elbo[0] - found.elbo[2]) > 1e-4


def by_hand(vae, x, rate, steps):
    """Plain gradient descent on all examples at once, one step at a time."""
    for _ in range(steps):
        with tf.GradientTape() as tape:
            loss = vae.compute_loss(x, y_pred=vae(x, training=True))
        gradients = tape.gradient(loss, vae.trainable_weights)
        for weight, gradient in zip(vae.trainable_weights, gradients, strict=True):
            weight.assign_sub(rate * gradient)
    return float(loss)


def test_without_noise_it_is_gradient_descent():
    def families():
        # Without a path from z to x nothing is random.
        return [
            make(
                OBJECTIVES.BetaELBO(beta), optimizer=keras.optimizers.SGD(0.1), hidden=(),
                kernel_initializer="zeros",
            )
            for beta in (0.5, 3.0)
        ]  # fmt: skip

    x, steps = binary(), 5
    frozen, by_step = families(), families()
    for vae in (*frozen, *by_step):
        vae.decoder.layers[-2].kernel.trainable = False
    found = sweep(frozen, x, steps, len(x), verbose=0)
    for one, other, losses in zip(frozen, by_step, found.loss, strict=True):
        np.testing.assert_allclose(by_hand(other, x, 0.1, steps), losses[-1], rtol=1e-5)
        for a, b in zip(one.weights, other.weights, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_a_sweep_goes_on_after_fit_and_fit_after_a_sweep():
    one, other = (make(OBJECTIVES.BetaELBO(warm_up(2.0))) for _ in range(2))
    wanted = fit(one, binary(), epochs=3)["elbo"]
    found = fit(other, binary(), epochs=1)["elbo"]
    found += sweep([other], binary(), 1, BATCH, verbose=0).elbo[0].tolist()
    found += fit(other, binary(), epochs=1)["elbo"]
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_one_program_and_what_an_interruption_leaves(monkeypatch, capsys):
    passes, update = [], keras.utils.Progbar.update

    def compute_loss(self, *args, compute=vt.VAE.compute_loss, **kwargs):
        passes.append(self)
        return compute(self, *args, **kwargs)

    def interrupted(self, epoch, *args, **kwargs):
        update(self, epoch, *args, **kwargs)
        if epoch == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(vt.VAE, "compute_loss", compute_loss)
    monkeypatch.setattr(keras.utils.Progbar, "update", interrupted)
    vaes, x = [make(seed=seed) for seed in range(4)], binary(50)
    with pytest.raises(KeyboardInterrupt):
        sweep(vaes, x, 5, BATCH)
    assert len(passes) == 2  # a whole batch and a short one, each traced once for all models
    assert "lowest ELBO" in capsys.readouterr().out
    wanted = [make(seed=seed) for seed in range(4)]
    monkeypatch.undo()
    sweep(wanted, x, 2, BATCH, verbose=0)
    for one, other in zip(vaes, wanted, strict=True):
        assert int(one.optimizer.iterations) == 8
        for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)


def clipped(**kwargs):
    return make(optimizer=keras.optimizers.Adam(0.01, **kwargs))


def constrained():
    return make(kernel_constraint="max_norm")


def trained():
    vae = make()
    vae.optimizer.build(vae.trainable_variables)
    vae.optimizer.iterations.assign(7)
    return vae


class OwnStep(vt.VAE):
    def train_step(self, data):
        return super().train_step(data)


def own_step():
    vae = make()
    return OwnStep(vae.encoder, vae.decoder)


class OwnLoss(vt.VAE):
    def compute_loss(self, *args, **kwargs):
        return 1000 * super().compute_loss(*args, **kwargs)


def own_loss():
    vae = make()
    return OwnLoss(vae.encoder, vae.decoder)


def compiled(**kwargs):
    vae = make()
    vae.compile(vae.optimizer, **kwargs)
    return vae


def sharing(part):
    one, other = make(), make()
    if part == "objective":
        other.objective = one.objective
        return [one, other]
    if part == "encoder":
        return [one, vt.VAE(one.encoder, other.decoder)]
    other.compile(one.optimizer)
    return [one, other]


REFUSED = [
    ("in encoder, decoder", lambda: [make(), make(hidden=(9,))]),
    ("in decoder", lambda: [make(p=LAYERS.Normal(EVENT, scale=s)) for s in (0.5, 0.6)]),
    ("in objective", lambda: [make(), make(OBJECTIVES.BetaELBO(1.0))]),
    ("differ in objective", lambda: [make(OBJECTIVES.BetaELBO(1.0, n)) for n in (1, 2)]),
    ("in optimizer", lambda: [make(optimizer=keras.optimizers.Adam(r)) for r in (0.01, 0.02)]),
    ("differ in optimizer", lambda: [make(), trained()]),
    ("the optimizer Lamb", lambda: [make(optimizer=keras.optimizers.Lamb(0.01))]),
    ("clipping by norm", lambda: [clipped(clipnorm=1.0)]),
    ("clipping by norm", lambda: [clipped(global_clipnorm=1.0)]),
    ("weights with a constraint", lambda: [constrained()]),
    ("the objective Factor", lambda: [make(OBJECTIVES.Factor(1.0, hidden=(4,)))]),
    ("a train_step of its own", lambda: [own_step()]),
    ("run_eagerly", lambda: [compiled(run_eagerly=True)]),
    ("in class", lambda: [make(), own_loss()]),
    ("in jit_compile", lambda: [make(), compiled(jit_compile=True)]),
    ("two of them share", lambda: [make()] * 2),
    ("an encoder, a decoder", lambda: sharing("encoder")),
    ("or an optimizer that", lambda: sharing("optimizer")),
]


@pytest.mark.parametrize("message, vaes", REFUSED, ids=[message for message, _ in REFUSED])
def test_what_cannot_be_stacked_is_refused(message, vaes):
    with pytest.raises(ValueError, match=f"Expected.*Received:.*{message}"):
        sweep(vaes(), binary())


def test_other_arguments_are_refused():
    x = binary()
    for vaes in ([], make(), [make(), "a VAE"]):
        with pytest.raises(TypeError, match=r"Expected `vaes` to be a list of vt.VAE. Received"):
            sweep(vaes, x)
    with pytest.raises(TypeError, match=r"Expected `x` to be an array or vt.data.Batches"):
        sweep([make()], tf.data.Dataset.from_tensor_slices(x))
    with pytest.raises(ValueError, match="only the values 0 and 1"):
        sweep([make()], x / 2)
    with pytest.raises(ValueError, match="at least one example"):
        sweep([make()], x[:0])
    with pytest.raises(ValueError, match="Expected `epochs` to be a positive integer"):
        sweep([make()], x, epochs=0)
