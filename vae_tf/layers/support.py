"""The support of a likelihood: which data it gives a probability to, and a refusal of the rest.

A density evaluated outside its support still returns a number, and that number means nothing:
grey pixels under a Bernoulli are the classic case. So `check` raises where it can look at the
data, and where it cannot (inside a compiled step) it turns the offending example into NaN: a
wrong number never passes for a right one.

A rule takes x [B, *event] and the family, and says of each value whether it lies inside. What
wraps a family (`Independent`, `Masked`, a mixture) has the rule of what it wraps.
"""

from collections.abc import Callable
from typing import Any

import tensorflow as tf
import tensorflow_probability as tfp

from vae_tf.layers.counts import ZeroInflated
from vae_tf.layers.levels import Rounded

tfd = tfp.distributions

__all__ = ["check", "describe"]

Rule = Callable[[tf.Tensor], tf.Tensor]

_LEVEL_TOLERANCE = 0.01  # of the step from one grey level to the next: k / 255 is rounded
_SUM_TOLERANCE = 1e-4  # of shares that should sum to one, after they were rounded to be stored

# -- what a value may be ---------------------------------------------------------------------------


def _whole(x):
    return tf.equal(x, tf.floor(x))


def _between_0_and_1(x, _):
    return (x >= 0) & (x <= 1)


def _zero_or_one(x, _):
    return (x == 0) | (x == 1)


def _counts(x, _):
    return (x >= 0) & _whole(x)


def _positive(x, _):
    return x > 0


def _not_negative(x, _):
    return x >= 0


def _finite(x, _):
    return tf.math.is_finite(x)


def _category(x, family):
    classes = tf.cast(tf.shape(family.logits_parameter())[-1], x.dtype)
    return _counts(x, family) & (x < classes)


def _level(x, family):
    steps = x * (family.levels - 1)
    return _between_0_and_1(x, family) & (abs(steps - tf.round(steps)) < _LEVEL_TOLERANCE)


def _total(x, family):
    total = tf.convert_to_tensor(family.total_count)
    complete = tf.reduce_sum(x, axis=-1) == tf.cast(total, x.dtype)  # [..., B]
    return _counts(x, family) & _of_examples(complete[..., tf.newaxis], x)


def _one_hot(x, _):
    return _zero_or_one(x, _) & (tf.reduce_sum(x, axis=-1, keepdims=True) == 1)


def _shares(x, _):
    return (x > 0) & (abs(tf.reduce_sum(x, axis=-1, keepdims=True) - 1) < _SUM_TOLERANCE)


def _unit_vector(x, _):
    return abs(tf.norm(x, axis=-1, keepdims=True) - 1) < _SUM_TOLERANCE * tf.ones_like(x)


def _has_density(x, family):
    """Whether the log-density is finite, under every sample that the family was predicted from."""
    density = tf.math.is_finite(family.log_prob(x))
    for _ in range(family.event_shape.rank):  # one density for a vector: all its values share it
        density = density[..., tf.newaxis]
    return _of_examples(density, x)


def _of_examples(inside, x):
    """[S, B, ...] -> [B, ...]: inside under all samples."""
    return tf.reduce_all(inside, axis=list(range(inside.shape.rank - x.shape.rank)))


def _bounded(rule):
    """The ends belong to the support where they have a density, as 0 under Gamma(1, rate)."""
    return lambda x, family: rule(x, family) & _has_density(x, family)


def _as_tfp_knows_it(x, family):
    """For other families: where the density is finite, and TFP's bijector leads onto x."""
    onto_support = _onto_support(family)
    if onto_support is None:  # that is TFP's word for whole numbers
        return _whole(x) & _has_density(x, family)
    inverse = onto_support.inverse(x)  # infinite at the ends of the support, NaN beyond
    return _of_examples(~tf.math.is_nan(inverse), x) & _has_density(x, family)


def _onto_support(family):
    """The bijector from all real numbers onto the support; None where TFP has none."""
    try:
        bijector = family.experimental_default_event_space_bijector()
    except (AttributeError, NotImplementedError, TypeError):  # TFP 0.25 fails for a Deterministic
        return tfp.bijectors.Identity()
    # Of a transformed mixture, or of transformed whole numbers, TFP says None as well.
    transformed = bijector is None and isinstance(family, tfd.TransformedDistribution)
    return family.bijector if transformed else bijector


_COUNTS = (_counts, "whole numbers that are not negative (raw counts)")
_BINARY = (_zero_or_one, "only the values 0 and 1 (binarise grey values first)")
_TOTAL = (_total, "whole numbers that are not negative and sum to `total_count`")
_SHARES = (_shares, "positive shares that sum to one")
_UNIT = (_unit_vector, "vectors of length one")

_SUPPORTS = {
    tfd.Bernoulli: _BINARY,
    tfd.ProbitBernoulli: _BINARY,
    tfd.ContinuousBernoulli: (_between_0_and_1, "values between 0 and 1"),
    tfd.Beta: (_bounded(_between_0_and_1), "values between 0 and 1, both excluded"),
    tfd.Categorical: (_category, "category numbers 0, 1, ..., num_classes - 1"),
    tfd.OneHotCategorical: (_one_hot, "vectors of zeros and a single one"),
    tfd.FiniteDiscrete: (_has_density, "one of its outcomes"),
    tfd.Poisson: _COUNTS,
    tfd.NegativeBinomial: _COUNTS,
    tfd.Geometric: _COUNTS,
    ZeroInflated: _COUNTS,
    Rounded: (_level, "grey levels k / (levels - 1), such as uint8 values divided by 255"),
    tfd.Multinomial: _TOTAL,
    tfd.DirichletMultinomial: _TOTAL,
    tfd.Dirichlet: _SHARES,
    tfd.RelaxedOneHotCategorical: _SHARES,
    tfd.VonMisesFisher: _UNIT,
    tfd.PowerSpherical: _UNIT,
    tfd.SphericalUniform: _UNIT,
    tfd.Exponential: (_not_negative, "values that are not negative"),  # before Gamma: it is one
    tfd.Gamma: (_bounded(_not_negative), "positive values"),
    tfd.LogNormal: (_positive, "positive values"),
    tfd.Normal: (_finite, "finite values"),
}

# -- which rule a distribution has ----------------------------------------------------------------

_WRAPPERS = (tfd.Independent, tfd.BatchReshape, tfd.BatchBroadcast)


def _family(p):
    """The innermost distribution: what `Independent` and the like wrap."""
    while isinstance(p, _WRAPPERS):
        p = p.distribution
    return p


def _rule(p) -> tuple[Rule, str]:
    """The rule of a distribution, and the values that it accepts in words."""
    family = _family(p)
    for kind, of_kind in _COMPOUNDS.items():
        if isinstance(family, kind):
            return of_kind(family)
    inside, words = _as_tfp_knows_it, f"values in the support of {family.name}"
    for kind, of_kind in _SUPPORTS.items():
        if isinstance(family, kind):
            inside, words = of_kind
            break
    return (lambda x: inside(x, family)), words


def _whole_event(inside, rank):
    """A vector lies inside with all its values or not at all."""
    return tf.reduce_all(inside, axis=list(range(-rank, 0)), keepdims=True)


def _same_family(p):
    inside, words = _rule(p.components_distribution)
    rank = p.event_shape.rank

    def of_any(x):  # [B, *event] -> [B, 1, *event], and each component has its place there
        each = _whole_event(inside(tf.expand_dims(x, -1 - rank)), rank)
        return tf.reduce_any(each, axis=-1 - rank) & tf.ones_like(x, tf.bool)

    return of_any, words


def _mixture(p):
    rules, words = zip(*map(_rule, p.components), strict=True)
    rank = p.event_shape.rank

    def of_any(x):
        inside = tf.stack(
            [_whole_event(rule(x), rank) & tf.ones_like(x, tf.bool) for rule in rules]
        )
        return tf.reduce_any(inside, axis=0)

    return of_any, ", or ".join(dict.fromkeys(words))


def _masked(p):
    inside, words = _rule(p.distribution)
    rank = p.distribution.event_shape.rank

    def where_valid(x):  # what is masked has no density to be wrong about
        axes = tf.shape(p.validity_mask), tf.ones(rank, tf.int32)
        mask = tf.reshape(p.validity_mask, tf.concat(axes, axis=0))
        return inside(x) | ~_of_examples(mask & tf.ones_like(x, tf.bool), x)

    return where_valid, words


def _blockwise(p):
    rules, words = zip(*map(_rule, p.distributions), strict=True)
    scalar = [part.event_shape.rank == 0 for part in p.distributions]
    sizes = [part.event_shape.num_elements() for part in p.distributions]

    def by_block(x):
        inside = []
        for rule, is_scalar, part in zip(rules, scalar, tf.split(x, sizes, axis=-1), strict=True):
            of_part = rule(part[..., 0])[..., tf.newaxis] if is_scalar else rule(part)
            inside.append(of_part & tf.ones_like(part, tf.bool))
        return tf.concat(inside, axis=-1)

    return by_block, ", and ".join(dict.fromkeys(words))


_COMPOUNDS = {
    tfd.Blockwise: _blockwise,
    tfd.Masked: _masked,
    tfd.Mixture: _mixture,
    tfd.MixtureSameFamily: _same_family,
}

# -- the two functions ----------------------------------------------------------------------------


def describe(p_x: Any) -> str:
    """In words, the values that the likelihood `p_x` accepts.

    Args:
        p_x: a `tfd.Distribution`.

    Returns:
        What an error says after "Expected `x` with".

    Example:

    >>> describe(vt.layers.Poisson(2)(tf.zeros([1, 2])))
    'whole numbers that are not negative (raw counts)'
    """
    return _rule(p_x)[1]


def check(p_x: Any, x: Any, name: str = "x") -> tf.Tensor:
    """Returns `x` if it lies in the support of `p_x`, and refuses it otherwise.

    A mixture accepts what one of its components accepts. A distribution over whole numbers may
    be of an integer dtype, as TFP's Bernoulli and Categorical are by default: x stays floating,
    so that a grey 0.7 is refused and does not become a 0.

    Args:
        p_x: the likelihood, a `tfd.Distribution` with event shape [*event].
        x: data, shape [B, *event].
        name: what the error calls the data.

    Returns:
        `x`, of the dtype of `p_x` where that is floating. In a graph, values outside the support
        are NaN.

    Raises:
        ValueError: if the shape of an example is not `p_x.event_shape`, if `p_x` is a joint
            distribution, or (eagerly) if a value is outside the support, NaN or infinite.

    Example:

    >>> check(vt.layers.Bernoulli(2)(tf.zeros([1, 2])), np.array([[0, 1]])).numpy().tolist()
    [[0.0, 1.0]]
    """
    _require_one_array(p_x)
    x = _floating(x, p_x)
    event = p_x.event_shape
    if x.shape.rank != event.rank + 1 or not x.shape[1:].is_compatible_with(event):
        wrap = "" if event.rank else " (tfd.Independent makes independent dimensions one event)"
        raise ValueError(
            f"Expected `{name}` of shape {['B', *event]} for the likelihood "
            f"{_family(p_x).name}{wrap}. Received: shape {list(x.shape)}"
        )
    inside, words = _rule(p_x)
    ok = tf.math.is_finite(x) & inside(x)
    if not tf.executing_eagerly():
        # The NaN is computed, and only of what is refused: as a constant it would trip
        # `tf.debugging.enable_check_numerics` on good data.
        return tf.where(ok, x, tf.sqrt(tf.cast(ok, x.dtype) - 1))
    if not tf.reduce_all(ok):
        first = tf.boolean_mask(x, ~ok)[0]
        raise ValueError(
            f"The likelihood {_family(p_x).name} has another support. "
            f"Expected `{name}` with {words}. Received: the value {first.numpy():g} "
            f"(and {int(tf.reduce_sum(tf.cast(~ok, tf.int64))) - 1} more outside the support)"
        )
    return x


def _require_one_array(p_x):
    if not isinstance(p_x.dtype, (tf.DType, str)):  # TFP's Masked passes on a name as it was given
        raise ValueError(
            "Expected a likelihood of one array; tfd.Blockwise makes one of several. "
            f"Received: {p_x.name}, a joint distribution of {len(p_x.dtype)} parts"
        )


def _floating(x, p_x):
    """x in the dtype that the log-density is computed in: all kinds of TFP take floats."""
    x = tf.convert_to_tensor(x)
    dtype = tf.as_dtype(p_x.dtype)
    if not dtype.is_floating:
        dtype = tf.float64 if x.dtype == tf.float64 else tf.float32
    return x if x.dtype == dtype else tf.cast(x, dtype)
