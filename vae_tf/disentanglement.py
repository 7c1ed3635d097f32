"""Disentanglement: does each latent stand for one known factor, and each factor for one latent?

Five scores, after the protocols of disentanglement_lib (Locatello et al. 2019), on arrays alone:

    codes     [N, L]   the means of q(z|x)
    factors   [N, F]   the class numbers of the factors that x was drawn from

No function looks at the model, so any code can be scored, and codes whose score is known are the
tests. Where disentanglement_lib draws new images of given factors, these functions pick rows.
scikit-learn, whose classifiers are inside the scores, is imported by the first score.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from vae_tf._core import require

__all__ = [
    "BetaVae",
    "Dci",
    "FactorVae",
    "Mig",
    "Sap",
    "beta_vae_score",
    "dci",
    "factor_vae_score",
    "mig",
    "sap",
]

_ROWS = 100  # fewer say nothing
_STILL = 1e-12  # a latent of a smaller variance carries nothing
_PRUNED = 0.05  # FactorVAE score: a latent of a smaller standard deviation has no vote


class Mig(NamedTuple):
    """`float(result)` is the score."""

    score: float
    per_factor: np.ndarray  # [F], their mean is the score
    mutual_information: np.ndarray  # [L, F], nats
    entropy: np.ndarray  # [F], nats

    def __float__(self) -> float:
        return self.score


class Sap(NamedTuple):
    """`float(result)` is the score."""

    score: float
    per_factor: np.ndarray  # [F], their mean is the score
    predictability: np.ndarray  # [L, F], squared correlations or accuracies

    def __float__(self) -> float:
        return self.score


class Dci(NamedTuple):
    """Three scores, and the matrix that the first two are made of."""

    disentanglement: float
    completeness: float
    informativeness: float  # accuracy on held-out rows, a mean over factors
    importance: np.ndarray  # [L, F]; a column sums to 1, or to 0 if all latents have collapsed


class BetaVae(NamedTuple):
    """`float(result)` is the score."""

    score: float
    confusion: np.ndarray  # [F, F], held-out examples: the fixed factor, the guessed one

    def __float__(self) -> float:
        return self.score


class FactorVae(NamedTuple):
    """`float(result)` is the score."""

    score: float
    votes: np.ndarray  # [L, F], the training votes: the stillest latent, the fixed factor
    active: np.ndarray  # [L], bool: the latents that may be voted for

    def __float__(self) -> float:
        return self.score


def mig(codes: Any, factors: Any, *, num_bins: int = 20, seed: int | None = None) -> Mig:
    """The mutual information gap (Chen et al. 2018).

        MIG = 1/F sum_f (I(c_1; f) - I(c_2; f)) / H(f)

    where c_1 and c_2 are the two latents that know most about factor f. Latents are cut into bins
    of equal width, so a monotone map leaves the score alone only while it keeps the values of a
    factor in bins of their own. 1 for one latent a factor; 0 if every factor has two latents that
    know it equally well. N rows add to each I(c; f) about (bins - 1)(values - 1) / 2N nats.

    Args:
        codes: real numbers, shape [N, L], L >= 2.
        factors: integers, shape [N, F].
        num_bins: bins of each latent; disentanglement_lib has 20.
        seed: not used, there is nothing random; here so that all scores are called alike.

    Returns:
        `Mig(score, per_factor, mutual_information, entropy)`.

    Raises:
        ValueError: if codes or factors are not of this form, a factor is constant, or there are
            too few rows. So do the other scores.

    Example:

    >>> factors = np.random.default_rng(0).integers(4, size=[1000, 2])
    >>> round(float(vt.disentanglement.mig(factors, factors)), 2)  # each latent is a factor
    1.0
    """
    from sklearn.metrics import mutual_info_score

    del seed
    codes, factors = _checked(codes, factors)
    binned = np.stack([_bins(c, require.count(num_bins, "num_bins")) for c in codes.T])
    information = np.array([[mutual_info_score(b, f) for f in factors.T] for b in binned])
    entropy = np.array([mutual_info_score(f, f) for f in factors.T])  # I(f; f) = H(f)
    gaps = _top_gap(information) / entropy
    return Mig(float(gaps.mean()), gaps, information, entropy)


def sap(
    codes: Any,
    factors: Any,
    *,
    continuous: bool | Sequence[bool] = True,
    seed: int | None = None,
) -> Sap:
    """The separated attribute predictability (Kumar, Sattigeri and Balakrishnan 2018).

        SAP = 1/F sum_f (S[l_1, f] - S[l_2, f]),   S[l, f] how well latent l alone predicts f

    For the two best latents l_1, l_2. For a continuous factor S is the squared correlation,
    cov(c, f)^2 / (var(c) var(f)): 1 for one latent a factor if the map is linear. For the others
    it is the accuracy of a linear support vector machine (C = 0.01, balanced classes) on the third
    of the rows that it was not trained on. Then even a perfect code stays below 1 - 1/K, for its
    rival guesses one of K values with chance 1/K; and far below on small codes or codes far from
    zero, for the penalty of the machine falls on its slope and on its offset.

    A squared correlation takes class numbers for values: give it factors whose numbers are in
    order, and say `False` for those that are mere names, such as a shape, or the score depends on
    how the names are numbered.

    disentanglement_lib offers both and published the second, `continuous=False`; there 10,000 rows
    train and 5,000 test. The machine is solved in its primal form here, which is faster.

    Args:
        codes: real numbers, shape [N, L], L >= 2.
        factors: integers, shape [N, F].
        continuous: a bool, or one for each factor: whether its class numbers are in order.
        seed: an integer that fixes the split of the rows; a squared correlation needs none.

    Returns:
        `Sap(score, per_factor, predictability)`.

    Raises:
        ValueError: as `mig` does, or if a factor is constant in the rows that a machine
            learns from.

    Example:

    >>> factors = np.random.default_rng(0).integers(4, size=[1000, 2])
    >>> round(float(vt.disentanglement.sap(3 * factors - 1, factors)), 1)  # a linear map
    1.0
    """
    from sklearn.svm import LinearSVC

    codes, factors = _checked(codes, factors)
    continuous = np.broadcast_to(np.asarray(continuous), factors.shape[1:])
    if continuous.dtype != bool:
        raise ValueError(f"Expected `continuous` to be bools. Received: {continuous.tolist()}")
    train, test = _split(len(codes), np.random.default_rng(seed))
    _require_two_values(factors[:, ~continuous], train)
    matrix = np.zeros([codes.shape[1], factors.shape[1]])
    for index in np.ndindex(*matrix.shape):
        c, f = codes[:, index[0]], factors[:, index[1]]
        if c.var() > _STILL and continuous[index[1]]:
            matrix[index] = np.corrcoef(c, f)[0, 1] ** 2
        elif not continuous[index[1]]:
            machine = LinearSVC(C=0.01, class_weight="balanced", dual=False)
            machine.fit(c[train, None], f[train])
            matrix[index] = machine.score(c[test, None], f[test])
    gaps = _top_gap(matrix)
    return Sap(float(gaps.mean()), gaps, matrix)


def dci(
    codes: Any,
    factors: Any,
    *,
    num_trees: int = 20,
    num_rows: int = 3000,
    seed: int | None = None,
) -> Dci:
    """Disentanglement, completeness and informativeness (Eastwood and Williams 2018).

    For each factor f, boosted trees predict f from all latents; R[l, f] is the importance of
    latent l for them. With row l of R as shares P[l, f] and column f as shares Q[l, f],

        disentanglement = sum_l w_l (1 - H(P[l, :]) / log F),   w_l = sum_f R[l, f] / sum R
        completeness    = sum_f v_f (1 - H(Q[:, f]) / log L),   v_f = sum_l R[l, f] / sum R
        informativeness = mean_f accuracy of the trees on held-out rows

    A latent about one factor only has disentanglement 1, a factor known to one latent only
    completeness 1. The numbers depend on the trees, so compare only what was run alike:
    disentanglement_lib has 100 rounds of boosting on 10,000 rows and tests on 5,000, which takes
    minutes for each code; the default here is 20 rounds on 2,000 rows and a test on 1,000, some
    seconds, and reports less noise as importance, so that an imperfect code scores higher.
    `num_trees=100, num_rows=15_000` is the published protocol.

    Args:
        codes: real numbers, shape [N, L], L >= 2.
        factors: integers, shape [N, F], F >= 2.
        num_trees: rounds of boosting, each with one tree of depth 3 for every value of a factor.
        num_rows: at most so many rows are used, at least 100, two thirds of them for training.
        seed: an integer that fixes the choice of rows and the trees.

    Returns:
        `Dci(disentanglement, completeness, informativeness, importance)`.

    Raises:
        ValueError: as `mig` does, or if `num_rows` is below 100, or a factor is constant in the
            rows that the trees learn from.

    Example:

    >>> factors = np.random.default_rng(0).integers(4, size=[1000, 2])
    >>> round(vt.disentanglement.dci(factors, factors, num_trees=5).disentanglement, 2)
    1.0
    """
    from sklearn.ensemble import GradientBoostingClassifier

    codes, factors = _checked(codes, factors, min_factors=2)
    if require.count(num_rows, "num_rows") < _ROWS:
        raise ValueError(f"Expected `num_rows` of at least {_ROWS}. Received: num_rows={num_rows}")
    rng = np.random.default_rng(seed)
    train, test = _split(min(len(codes), num_rows), rng, len(codes))
    _require_two_values(factors, train)
    importance, accuracy = [], []
    for f in factors.T:
        trees = GradientBoostingClassifier(
            n_estimators=require.count(num_trees, "num_trees"),
            random_state=int(rng.integers(2**31)),
        ).fit(codes[train], f[train])
        importance.append(trees.feature_importances_)
        accuracy.append(trees.score(codes[test], f[test]))
    importance = np.stack(importance, axis=1)  # [L, F]
    return Dci(
        _weighted_concentration(importance),
        _weighted_concentration(importance.T),
        float(np.mean(accuracy)),
        importance,
    )


def beta_vae_score(
    codes: Any,
    factors: Any,
    *,
    batch_size: int = 64,
    num_train: int = 10_000,
    num_eval: int = 5_000,
    seed: int | None = None,
) -> BetaVae:
    """The score of the beta-VAE (Higgins et al. 2017).

    One factor is fixed: `batch_size` pairs of rows are drawn whose two rows share its value. From

        mean over the pairs of |c - c'|    [L]

    a logistic regression guesses which factor it was; the score is its accuracy on new batches.
    A code that says nothing has the score 1/F.

    The score depends on the scale of the codes: the regression has a penalty on its weights
    (C = 1), and small differences need large weights: a perfect code, a hundred times smaller, can
    have the score of one that says nothing. disentanglement_lib does not standardise codes, and
    neither does this function. To compare models whose codes differ in scale, divide them by
    their standard deviations: `codes / codes.std(axis=0)`.

    Rows and their partners are drawn with replacement. disentanglement_lib draws new images; and
    its regression is one-against-rest, where today's scikit-learn has one softmax for all.

    Args:
        codes: real numbers, shape [N, L], L >= 2.
        factors: integers, shape [N, F], F >= 2.
        batch_size: pairs behind one guess.
        num_train: guesses to learn from; each factor must be fixed in one of them.
        num_eval: guesses to be scored.
        seed: an integer that fixes the draws.

    Returns:
        `BetaVae(score, confusion)`.

    Raises:
        ValueError: as `mig` does, or if `num_train` is too small for every factor to be drawn.

    Example:

    >>> factors = np.random.default_rng(0).integers(4, size=[1000, 2])
    >>> score = vt.disentanglement.beta_vae_score(
    ...     factors, factors, num_train=200, num_eval=100, seed=0
    ... )
    >>> round(float(score), 2)
    1.0
    """
    from sklearn.linear_model import LogisticRegression

    codes, factors = _checked(codes, factors, min_factors=2)
    rng = np.random.default_rng(seed)

    def differences(num, fixed):
        rows = rng.integers(len(codes), size=[num, require.count(batch_size, "batch_size")])
        return np.abs(codes[rows] - codes[_partners(factors[:, fixed], rows, rng)]).mean(axis=1)

    x, y = _batches(differences, factors.shape[1], num_train, "num_train", rng)
    if len(np.unique(y)) < factors.shape[1]:  # a factor never seen could never be guessed
        raise ValueError(
            f"Expected `num_train` so large that each of {factors.shape[1]} factors is fixed in "
            f"some guess. Received: num_train={num_train}, with {len(np.unique(y))} factors in it"
        )
    regression = LogisticRegression(max_iter=10_000).fit(x, y)
    x, y = _batches(differences, factors.shape[1], num_eval, "num_eval", rng)
    confusion = np.zeros([factors.shape[1]] * 2, int)
    np.add.at(confusion, (y, regression.predict(x)), 1)
    return BetaVae(float(np.trace(confusion) / confusion.sum()), confusion)


def factor_vae_score(
    codes: Any,
    factors: Any,
    *,
    batch_size: int = 64,
    num_train: int = 10_000,
    num_eval: int = 5_000,
    seed: int | None = None,
) -> FactorVae:
    """The score of FactorVAE (Kim and Mnih 2018).

    One factor is fixed: `batch_size` rows are drawn that share one value of it. The latent with

        argmin_l var(c_l over these rows) / var(c_l over all rows)

    gets a vote for that factor. Each latent then stands for the factor that gave it most votes,
    and the score is how often that is right on new batches. A latent whose standard deviation is
    below 0.05 has collapsed and is left out; if all are, the score is 0. A code that says nothing
    has a score near 1/F.

    Rows are drawn with replacement. disentanglement_lib draws new images, and takes the variance
    of a latent from 10,000 of them; here it is that of all rows.

    Args:
        codes: real numbers, shape [N, L], L >= 2.
        factors: integers, shape [N, F], F >= 2.
        batch_size: rows behind one vote, at least 2.
        num_train: votes that settle what each latent stands for.
        num_eval: votes to be scored.
        seed: an integer that fixes the draws.

    Returns:
        `FactorVae(score, votes, active)`.

    Raises:
        ValueError: as `mig` does, or if `batch_size` is 1.

    Example:

    >>> factors = np.random.default_rng(0).integers(4, size=[1000, 2])
    >>> score = vt.disentanglement.factor_vae_score(
    ...     factors, factors, num_train=200, num_eval=100, seed=0
    ... )
    >>> round(float(score), 2)
    1.0
    """
    codes, factors = _checked(codes, factors, min_factors=2)
    if require.count(batch_size, "batch_size") < 2:
        raise ValueError("One row has no variance. Expected `batch_size` >= 2. Received: 1")
    rng, variances = np.random.default_rng(seed), codes.var(axis=0, ddof=1)
    active = np.sqrt(variances) >= _PRUNED
    scale = np.where(active, variances, 1.0)

    def stillest(num, fixed):
        rows = np.repeat(rng.integers(len(codes), size=[num, 1]), batch_size, axis=1)
        local = codes[_partners(factors[:, fixed], rows, rng)].var(axis=1, ddof=1)  # [num, L]
        return np.where(active, local / scale, np.inf).argmin(axis=1)

    def votes(num, name):
        table = np.zeros([codes.shape[1], factors.shape[1]], int)
        np.add.at(table, _batches(stillest, factors.shape[1], num, name, rng), 1)
        return table

    train, evaluation = votes(num_train, "num_train"), votes(num_eval, "num_eval")
    right = evaluation[np.arange(len(train)), train.argmax(axis=1)].sum() / evaluation.sum()
    return FactorVae(float(right) if active.any() else 0.0, train, active)


def _checked(codes, factors, min_factors=1):
    """Both as arrays, float64 [N, L] and integer [N, F] with values 0 to K_f - 1."""
    codes, factors = require.examples(codes, "codes"), require.examples(factors, "factors")
    if codes.ndim != 2 or factors.ndim != 2 or len(codes) != len(factors):
        raise ValueError(
            "Expected `codes` of shape [N, L] and `factors` of shape [N, F]. "
            f"Received: shapes {list(codes.shape)} and {list(factors.shape)}"
        )
    if codes.shape[1] < 2 or factors.shape[1] < min_factors:
        raise ValueError(
            f"Expected at least 2 latents and {min_factors} factors. "
            f"Received: {codes.shape[1]} and {factors.shape[1]}"
        )
    if codes.dtype.kind not in "iuf" or not np.isfinite(codes).all():
        raise ValueError(
            f"Expected `codes` to be finite real numbers. Received: others ({codes.dtype})"
        )
    if factors.dtype.kind not in "iu":
        raise ValueError(
            f"Expected `factors` to be class numbers, of an integer type. Received: {factors.dtype}"
        )
    if len(codes) < _ROWS:
        raise ValueError(f"Expected at least {_ROWS} rows. Received: {len(codes)}")
    return codes.astype("float64"), np.stack([_classes(f, i) for i, f in enumerate(factors.T)], 1)


def _require_two_values(factors, rows):
    """A classifier learns nothing where one value of a factor is all that it sees."""
    for index, factor in enumerate(factors[rows].T):
        if len(np.unique(factor)) < 2:
            raise ValueError(
                "Expected every factor to take at least two values in the rows that a classifier "
                f"learns from, two thirds of all. Received: {len(rows)} rows in which factor "
                f"{index} takes one"
            )


def _classes(factor, index):
    values, classes, counts = np.unique(factor, return_inverse=True, return_counts=True)
    if len(values) < 2 or counts.min() < 2:
        rare = values[counts.argmin()]
        raise ValueError(
            "Expected every factor to take at least two values, each in at least two rows. "
            f"Received: factor {index} takes {len(values)}, and {rare} in {counts.min()} rows"
        )
    return classes


def _bins(c, num_bins):
    edges = np.linspace(c.min(), c.max(), num_bins + 1)
    return np.clip(np.searchsorted(edges, c, side="right") - 1, 0, num_bins - 1)


def _top_gap(matrix):
    """The largest entry of each column minus the second largest: [L, F] -> [F]."""
    second, first = np.sort(matrix, axis=0)[-2:]
    return first - second


def _weighted_concentration(rows):
    """1 - H(shares) / log(width) of each row, 1 if one entry holds all; rows weighted by sum."""
    total = rows.sum(axis=1)
    shares = (rows + 1e-11) / (rows + 1e-11).sum(axis=1, keepdims=True)
    concentration = 1 + (shares * np.log(shares)).sum(axis=1) / np.log(rows.shape[1])
    return float(total @ concentration / max(total.sum(), 1e-11))  # 0 if all have collapsed


def _split(num, rng, total=None):
    """`num` of all rows in random order: the first two thirds, and the rest."""
    rows = rng.permutation(num if total is None else total)[:num]
    return np.split(rows, [2 * num // 3])


def _partners(factor, rows, rng):
    """For each of `rows`, of any shape, a random row with the same value of the factor."""
    order, counts = np.argsort(factor, kind="stable"), np.bincount(factor)
    first, value = np.cumsum(counts) - counts, factor[rows]
    return order[first[value] + rng.integers(counts[value])]


def _batches(measure, num_factors, num, name, rng):
    """`num` batches, each with a random factor fixed: what `measure` finds, and which it was."""
    counts = np.bincount(rng.integers(num_factors, size=require.count(num, name)))
    found = [measure(count, fixed) for fixed, count in enumerate(counts)]
    return np.concatenate(found), np.repeat(np.arange(len(counts)), counts)
