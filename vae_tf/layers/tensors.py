"""From a distribution back to a tensor, inside a network.

A distribution is no tensor, and the next layer of a network cannot take it. Which tensor is meant
is a choice, so it is a layer: what `convert_to_tensor_fn` is in `tfp.layers`.
"""

from typing import Any

import keras
import tensorflow as tf
import tensorflow_probability as tfp

from vae_tf._core.random import SavesSeed, as_seed

tfd = tfp.distributions

__all__ = ["ToTensor"]

_KINDS = ("sample", "mean", "mode", "stddev")


@keras.saving.register_keras_serializable("vae_tf")
class ToTensor(SavesSeed, keras.Layer):
    """A tensor of a distribution: one draw, its mean, its mode or its standard deviation.

    Batch [B], event [*event] to a tensor [B, *event]. A draw is new at each call, in training and
    after it; gradients pass through it where the family is reparameterized. `vt.VAE` needs no such
    layer: it draws z itself.

    Args:
        kind: "sample", "mean", "mode" or "stddev".
        seed: of the draws, an integer; the same seed makes the same sequence of draws.
        **kwargs: of `keras.Layer`.

    Raises:
        ValueError: if `kind` is none of these, or if a seed is given where nothing is drawn.
        TypeError: when it is called, if the input is a tensor.

    Example:

    >>> x = keras.Input((4,))
    >>> q_z = vt.layers.NormalDiag(2)(keras.layers.Dense(4)(x))
    >>> regression = keras.Model(x, keras.layers.Dense(1)(ToTensor("mean")(q_z)))
    >>> regression.predict(np.zeros((5, 4)), verbose=0).shape
    (5, 1)
    """

    def __init__(self, kind: str, *, seed: int | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        if kind not in _KINDS:
            raise ValueError(f"Expected `kind` to be one of {_KINDS}. Received: kind={kind!r}")
        if seed is not None and kind != "sample":
            raise ValueError(f"Expected no `seed` for the {kind}. Received: seed={seed!r}")
        self.kind, self.seed = kind, seed
        self.seed_generator = keras.random.SeedGenerator(seed) if kind == "sample" else None

    def __call__(self, distribution: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(distribution, tfd.Distribution):  # Keras would make an array of it
            return self.call(distribution)
        return super().__call__(distribution, *args, **kwargs)

    def call(self, distribution: tfd.Distribution) -> tf.Tensor:
        if not isinstance(distribution, tfd.Distribution):
            raise TypeError(
                "Expected a distribution, as a layer of vt.layers returns. Received: a tensor, "
                f"{distribution!r}"
            )
        if self.kind == "sample":
            return distribution.sample(seed=as_seed(self.seed_generator))
        return getattr(distribution, self.kind)()

    def compute_output_spec(self, distribution: Any) -> keras.KerasTensor:
        return keras.KerasTensor(distribution.shape, dtype=distribution.dtype)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "kind": self.kind, "seed": self.seed}
