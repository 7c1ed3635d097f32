"""The disentanglement scores: codes whose score is known, and each score computed a second time."""

import itertools

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import chi2
from sklearn.linear_model import LogisticRegression

from vae_tf import disentanglement as dis

SIZES = (2, 3, 4)  # of the factors, F = 3
REPEATS = 50
N, F = 24 * REPEATS, len(SIZES)
SCORES = {
    "mig": dis.mig,
    "sap": dis.sap,
    "dci": lambda *args, **seed: dis.dci(*args, **seed).disentanglement,
    "beta_vae": dis.beta_vae_score,
    "factor_vae": dis.factor_vae_score,
}


@pytest.fixture
def factors():
    grid = np.array(list(itertools.product(*map(range, SIZES))))
    return np.repeat(grid, REPEATS, axis=0)  # [N, F], every combination equally often


@pytest.fixture
def perfect(factors):
    """One latent a factor, in another order, on other scales, and one of them turned round."""
    return factors[:, [2, 0, 1]] * [3.0, -0.5, 100.0] + [0.0, 7.0, -1.0]


@pytest.fixture
def noisy(factors, rng):
    """Each factor in one latent with noise, a latent of noise alone, and a collapsed one."""
    codes = np.c_[factors, np.zeros(N)] + rng.normal(scale=0.6, size=[N, F + 1])
    return np.c_[codes, np.full(N, 0.3)]  # L = 5


def rotated(factors):
    """Every latent mixes all factors equally: a Hadamard-like rotation of standardised factors."""
    standard = (factors - factors.mean(axis=0)) / factors.std(axis=0)
    third = np.array([[2.0, -1.0, 2.0], [2.0, 2.0, -1.0], [-1.0, 2.0, 2.0]]) / 3
    np.testing.assert_allclose(third @ third.T, np.eye(3), atol=1e-15)
    return standard @ third


class TestPerfectCodes:
    @pytest.mark.parametrize("name", SCORES)
    def test_score_one(self, name, factors, perfect):
        assert float(SCORES[name](perfect, factors, seed=0)) == pytest.approx(1, abs=1e-6)

    @pytest.mark.parametrize("name", SCORES)
    def test_latents_of_noise_and_collapsed_ones_change_little(self, name, factors, perfect, rng):
        codes = np.c_[perfect, rng.uniform(size=[N, 2]), np.full(N, 2.0)]
        # an independent latent has N r^2 ~ chi2(1) and 2 N I ~ chi2((bins - 1)(values - 1))
        slack = {"sap": chi2.isf(1e-6, 1) / N}
        slack["mig"] = max(chi2.isf(1e-6, 19 * (k - 1)) / 2 / N / np.log(k) for k in SIZES)
        score = float(SCORES[name](codes, factors, seed=0))
        assert 1 - slack.get(name, 1e-3) <= score <= 1 + 1e-9

    @pytest.mark.parametrize("name", SCORES)
    def test_a_monotone_map(self, name, factors, perfect):
        warped = np.sinh((perfect - perfect.mean(axis=0)) / perfect.std(axis=0))
        # SAP measures a linear relation: sinh of k equidistant values keeps R^2 > 0.97
        atol = 0.02 if name == "sap" else 1e-6
        assert float(SCORES[name](warped, factors, seed=0)) == pytest.approx(1, abs=atol)

    def test_all_three_of_dci(self, factors, perfect):
        assert dis.dci(perfect, factors, seed=0)[:3] == pytest.approx((1, 1, 1), abs=1e-6)

    def test_sap_by_accuracy_cannot_reach_one(self, factors, perfect):
        # centred: the penalty falls on the offset of the line too
        codes = 5 * (perfect - perfect.mean(axis=0)) / perfect.std(axis=0)
        found = dis.sap(codes, factors, continuous=False, seed=0)
        assert found.predictability[1, 0] == 1.0  # the line separates two values
        # the rivals guess, with accuracy 1/K: 5 standard errors of it on N / 3 held-out rows
        chance = 1 / np.array(SIZES)
        ceiling = 1 - chance + 5 * np.sqrt(chance * (1 - chance) / (N / 3))
        assert np.all(found.per_factor < ceiling) and found.score < 0.8
        assert found.per_factor[0] > 1 - ceiling[0]  # as far below 1/2 as the ceiling is above


class TestCodesThatSayNothing:
    """Codes drawn without a look at the factors."""

    def test_mig(self, factors, rng):
        codes = rng.uniform(size=[N, 5])
        found = dis.mig(codes, factors)
        # 2 N I is asymptotically chi2 with (bins - 1)(values - 1) degrees of freedom
        bound = np.array([chi2.isf(1e-6, 19 * (k - 1)) / (2 * N) for k in SIZES])
        assert np.all(found.mutual_information < bound)
        assert 0 <= found.score < (bound / np.log(SIZES)).mean()

    def test_sap(self, factors, rng):
        codes = rng.normal(size=[N, 5])
        found = dis.sap(codes, factors)
        assert np.all(found.predictability < chi2.isf(1e-6, 1) / N) and found.score >= 0
        found = dis.sap(codes, factors, continuous=False, seed=0)
        # values are equally frequent, so any guess is right with chance 1/K
        chance = 1 / np.array(SIZES)
        error = np.sqrt(chance * (1 - chance) / (N / 3))
        assert np.all(np.abs(found.predictability - chance) < 5 * error)

    def test_dci(self, factors, rng):
        found = dis.dci(rng.normal(size=[N, 5]), factors, seed=0)
        chance = 1 / np.array(SIZES)
        error = np.sqrt((chance * (1 - chance)).sum() / (N / 3)) / F
        assert abs(found.informativeness - chance.mean()) < 4 * error
        # no exact floor: shares differ by chance; a relative spread e costs about e^2 / (2 log F)
        assert 0 <= found.disentanglement < 0.05 and 0 <= found.completeness < 0.05

    @pytest.mark.parametrize("score", [dis.beta_vae_score, dis.factor_vae_score])
    def test_votes_find_the_factor_by_chance(self, score, rng):
        # so many rows that those of one value vary like all of them
        factors = np.stack([rng.integers(k, size=200_000) for k in SIZES], axis=1)
        found = float(score(rng.normal(size=[200_000, 2]), factors, seed=0))
        assert found == pytest.approx(1 / F, abs=4 * np.sqrt(1 / F * (1 - 1 / F) / 5000))


class TestMixedCodes:
    def test_rotated(self, factors):
        codes = rotated(factors)
        assert dis.mig(codes, factors).score < 0.3
        assert dis.dci(codes, factors, seed=0).disentanglement < 0.5
        # SAP has a closed form: latent l has squared correlation Q[f, l]^2 with factor f, and
        # these are 4/9, 4/9, 1/9 for every factor
        found = dis.sap(codes, factors)
        np.testing.assert_allclose(
            np.sort(found.predictability, axis=0)[:, 0], [1 / 9, 4 / 9, 4 / 9]
        )
        assert found.score == pytest.approx(0, abs=1e-12)

    def test_duplicated(self, factors, perfect):
        codes = np.c_[perfect, perfect]  # L = 6
        assert dis.mig(codes, factors).score == 0
        assert dis.sap(codes, factors).score == pytest.approx(0, abs=1e-12)
        found = dis.dci(codes, factors, seed=0)
        assert found.disentanglement == pytest.approx(1, abs=1e-6)
        # two copies share the importance: half each would give 1 - log 2 / log 6
        assert 1 - np.log(2) / np.log(6) - 1e-6 <= found.completeness < 0.9
        assert dis.beta_vae_score(codes, factors, seed=0).score == 1
        assert dis.factor_vae_score(codes, factors, seed=0).score == 1

    def test_two_factors_in_one_latent(self, factors):
        codes = np.c_[factors[:, 0] + 2.0 * factors[:, 1], factors[:, 2]]
        found = dis.dci(codes, factors, seed=0)
        assert found.completeness == pytest.approx(1, abs=1e-6)
        # latent 0 holds two of three factors: w = (2/3, 1/3)
        expected = 2 / 3 * (1 - np.log(2) / np.log(3)) + 1 / 3
        assert found.disentanglement == pytest.approx(expected, abs=1e-6)
        assert found.informativeness == 1
        found = dis.factor_vae_score(codes, factors, seed=0)  # latent 0 can win one factor at most
        assert found.score < 0.8 and dis.mig(codes, factors).score == pytest.approx(1)


class TestComputedTwice:
    def test_mig(self, factors, noisy):
        found = dis.mig(noisy, factors)

        def entropy(*columns):
            _, counts = np.unique(np.stack(columns), axis=1, return_counts=True)
            return -sum(n / N * np.log(n / N) for n in counts)

        for f in range(F):
            information = []
            for code in noisy.T:
                width = (code.max() - code.min()) / 20 or 1.0
                bins = np.minimum(np.floor((code - code.min()) / width), 19)
                h = entropy(bins) + entropy(factors[:, f]) - entropy(bins, factors[:, f])
                information.append(h)
            np.testing.assert_allclose(found.mutual_information[:, f], information, atol=1e-10)
            best = sorted(information)[::-1]
            expected = (best[0] - best[1]) / entropy(factors[:, f])
            assert found.per_factor[f] == pytest.approx(expected, abs=1e-10)
            assert found.entropy[f] == pytest.approx(np.log(SIZES[f]))
        assert found.score == pytest.approx(found.per_factor.mean())
        assert 0.1 < found.score < 0.9

    def test_sap_of_continuous_factors(self, factors, noisy):
        found = dis.sap(noisy, factors)
        for index in np.ndindex(5, F):
            c, f = noisy[:, index[0]], factors[:, index[1]]
            if index[0] == 4:
                assert found.predictability[index] == 0  # collapsed
                continue
            slope, constant = np.polyfit(c, f, 1)
            explained = 1 - ((f - slope * c - constant) ** 2).mean() / f.var()
            assert found.predictability[index] == pytest.approx(explained, abs=1e-10)
        best = np.sort(found.predictability, axis=0)[::-1]
        assert found.score == pytest.approx(np.mean(best[0] - best[1]))

    def test_sap_of_both_kinds(self, factors, noisy):
        mixed = dis.sap(noisy, factors, continuous=[False, True, True], seed=1)
        apart = [dis.sap(noisy, factors, continuous=kind, seed=1) for kind in (False, True)]
        np.testing.assert_array_equal(mixed.predictability[:, 0], apart[0].predictability[:, 0])
        np.testing.assert_array_equal(mixed.predictability[:, 1:], apart[1].predictability[:, 1:])
        best = np.sort(mixed.predictability, axis=0)[::-1]
        assert mixed.score == pytest.approx(np.mean(best[0] - best[1]))
        hits = apart[0].predictability * (N // 3)  # counted on the third that is held out
        np.testing.assert_allclose(hits, np.round(hits), atol=1e-9)
        # the line between two values of a noisy latent: right with chance Phi(0.5 / 0.6)
        chance = 0.7977
        error = np.sqrt(chance * (1 - chance) / (N / 3))
        assert mixed.predictability[0, 0] == pytest.approx(chance, abs=4 * error)

    def test_only_a_factor_without_order_may_be_numbered_anew(self, factors, noisy):
        """By accuracy the numbering does not matter; a squared correlation takes it at its word."""
        renumbered = factors.copy()
        renumbered[:, 2] = np.array([0, 3, 1, 2])[factors[:, 2]]
        by_name, by_value = (
            [
                dis.sap(noisy, f, continuous=kind, seed=1).per_factor[2]
                for f in (factors, renumbered)
            ]
            for kind in (False, True)
        )
        assert by_name[0] == by_name[1]
        assert abs(by_value[0] - by_value[1]) > 0.1

    def test_the_support_vector_machine_of_sap(self, factors, noisy):
        c, side = noisy[:, 0] + 13, 2 * factors[:, 0] - 1  # away from zero the penalty matters

        def wrong(rows):
            """How often the line that is best for so many rows is wrong, value by value."""

            def loss(line):
                hinge = np.maximum(0, 1 - side * (line[0] * c + line[1])) ** 2
                return (line @ line) / 2 + 0.01 * rows * hinge.mean()

            slope, offset = minimize(loss, np.zeros(2)).x
            return [np.mean((slope * c + offset > 0)[side == k] != (k > 0)) for k in (-1, 1)]

        found = dis.sap(np.c_[c, c], factors, continuous=False, seed=0).predictability[0, 0]
        assert found == pytest.approx(1 - np.mean(wrong(800)), abs=4 * np.sqrt(0.25 / 400))
        # values are balanced: four times as many zeros count for a half, as before
        more = np.repeat(np.arange(N), np.where(factors[:, 0] == 0, 4, 1))  # 3,000 rows
        found = dis.sap(np.c_[c, c][more], factors[more], continuous=False, seed=0)
        expected = 1 - np.dot([0.8, 0.2], wrong(2000))
        assert found.predictability[0, 0] == pytest.approx(expected, abs=4 * np.sqrt(0.25 / 1000))

    def test_dci(self, factors, noisy):
        found = dis.dci(noisy, factors, seed=0)
        importance = found.importance
        np.testing.assert_allclose(importance.sum(axis=0), 1)
        assert importance[4].sum() == 0 and importance.shape == (5, F)  # collapsed

        def one_minus_entropy(values):
            shares = [v / sum(values) for v in values if v > 0]
            return 1 + sum(p * np.log(p) for p in shares) / np.log(len(values))

        weights = importance.sum(axis=1) / importance.sum()
        expected = sum(weights[i] * one_minus_entropy(importance[i]) for i in range(4))
        assert found.disentanglement == pytest.approx(expected, abs=1e-8)
        expected = np.mean([one_minus_entropy(column) for column in importance.T])
        assert found.completeness == pytest.approx(expected, abs=1e-8)
        assert np.all(importance[:F].argmax(axis=0) == np.arange(F))

    def test_beta_vae_score(self, factors, noisy, rng):
        codes = 5 * noisy[:, 2:]  # one informative latent, so that the score is not 1

        def draw(num):
            features, labels = [], rng.integers(F, size=num)
            for k in labels:
                pairs = []
                while len(pairs) < 64:
                    i = rng.integers(N)
                    same = np.flatnonzero(factors[:, k] == factors[i, k])
                    pairs.append(np.abs(codes[i] - codes[rng.choice(same)]))
                features.append(np.mean(pairs, axis=0))
            return np.array(features), labels

        x, y = draw(600)
        expected = LogisticRegression(max_iter=10_000).fit(x[:300], y[:300]).score(x[300:], y[300:])
        found = dis.beta_vae_score(codes, factors, num_train=300, num_eval=5000, seed=0)
        assert found.score == np.trace(found.confusion) / found.confusion.sum()
        assert found.confusion.sum() == 5000 and 0.4 < expected < 0.9
        # 4 standard errors of 300 tests, and as much again for 300 training examples
        assert found.score == pytest.approx(expected, abs=8 * np.sqrt(0.25 / 300))

    def test_factor_vae_score(self, factors, noisy, rng):
        codes = noisy[:, [0, 1, 3]] * [1.0, 30.0, 0.1]

        def draw(num):
            votes = np.zeros([3, F])
            for _ in range(num):
                k = rng.integers(F)
                same = np.flatnonzero(factors[:, k] == factors[rng.integers(N), k])
                local = np.var(codes[rng.choice(same, 64)], axis=0, ddof=1)
                votes[np.argmin(local / np.var(codes, axis=0, ddof=1)), k] += 1
            return votes

        table, other = draw(2000), draw(2000)
        winners = table.argmax(axis=1)
        expected = sum(other[i, winners[i]] for i in range(3)) / 2000
        found = dis.factor_vae_score(codes, factors, seed=0)
        assert found.votes.sum() == 10_000 and found.active.all() and 0.4 < expected < 0.9
        alone = dis.factor_vae_score(codes, factors, num_train=1, seed=0)
        assert (
            alone.votes.sum() == 1 and 0 < alone.score < 0.9
        )  # new votes are scored, not that one
        assert found.score == pytest.approx(expected, abs=4 * np.sqrt(0.25 / 2000 + 0.25 / 5000))
        error = np.sqrt(0.25 / 2000 + 0.25 / 10_000)
        np.testing.assert_allclose(found.votes / 10_000, table / 2000, atol=4 * error)


class TestWhatMustNotMatter:
    @pytest.mark.parametrize("name", SCORES)
    def test_order_and_scale_of_latents_and_names_of_values(self, name, factors, noisy):
        expected = float(SCORES[name](noisy, factors, seed=3))
        other = (factors * [-3, 5, 1] + [7, 0, -2]).astype("int8")  # other numbers, same classes
        if name != "beta_vae":  # its regression has a penalty, which depends on the scale
            noisy = noisy * [4.0, 0.5, 2.0, 8.0, 1.0]
        changed = float(SCORES[name](noisy[:, ::-1], other, seed=3))
        # trees break ties by the position of a latent, and the regression stops at 1e-4
        atol = {"dci": 0.03, "beta_vae": 0.002}.get(name, 1e-9)
        assert changed == pytest.approx(expected, abs=atol)

    @pytest.mark.parametrize("name", SCORES)
    def test_same_seed_same_number(self, name, factors, noisy):
        a, b = (float(SCORES[name](noisy, factors, seed=5)) for _ in range(2))
        assert a == b

    @pytest.mark.parametrize("name", ["dci", "beta_vae", "factor_vae"])
    def test_another_seed_another_number(self, name, factors, noisy):
        codes = noisy[:, 2:]
        assert len({float(SCORES[name](codes, factors, seed=seed)) for seed in (5, 6, None)}) == 3

    def test_dci_takes_the_rows_it_is_told_to(self, factors, noisy):
        few = dis.dci(noisy, factors, num_rows=150, seed=0)
        assert few.informativeness * 50 * F == pytest.approx(round(few.informativeness * 50 * F))
        every = dis.dci(noisy, factors, num_rows=10 * N, seed=0)
        assert every.informativeness * 400 * F == pytest.approx(
            round(every.informativeness * 400 * F)
        )


class TestCollapsed:
    @pytest.mark.parametrize("name", SCORES)
    def test_all_latents(self, name, factors):
        score = float(SCORES[name](np.zeros([N, 2]), factors, seed=0))
        expected = {"beta_vae": 1 / F}.get(name, 0)
        assert score == pytest.approx(expected, abs=4 * np.sqrt(0.25 / 5000))

    def test_a_collapsed_latent_gets_no_vote(self, factors, perfect, rng):
        codes = np.c_[perfect, rng.normal(scale=0.049, size=N), np.zeros(N)]
        found = dis.factor_vae_score(codes, factors, seed=0)
        assert found.active.tolist() == [True, True, True, False, False]
        assert found.votes[3:].sum() == 0 and found.score == 1


class TestErrors:
    @pytest.mark.parametrize("score", [*SCORES.values()])
    def test_what_is_refused(self, score, factors, perfect):
        constant, lone = factors.copy(), factors.copy()
        constant[:, 1] = 4
        lone[0, 1] = 9
        holes = perfect.copy()
        holes[3, 1] = np.nan
        for bad, message in (
            ((perfect[:, 0], factors), r"shape \[N, L\].*Received: shapes \[1200\]"),
            ((perfect, factors[:, 0]), r"`factors` of shape \[N, F\].*\[1200\]"),
            ((perfect[:-1], factors), r"Received: shapes \[1199, 3\] and \[1200, 3\]"),
            ((perfect[:, :1], factors), "at least 2 latents.*Received: 1"),
            ((holes, factors), "real numbers"),
            ((perfect.astype(str), factors), "real numbers"),
            ((perfect, factors * 1.0), "of an integer type. Received: float64"),
            ((perfect, factors > 0), "of an integer type. Received: bool"),
            ((perfect, constant), "at least two values.*factor 1 takes 1"),
            ((perfect, lone), "factor 1 takes 4, and 9 in 1 rows"),
            ((perfect[::20], factors[::20]), "at least 100 rows. Received: 60"),
        ):
            with pytest.raises(ValueError, match=message):
                score(*bad, seed=0)

    @pytest.mark.parametrize("score", [dis.dci, dis.beta_vae_score, dis.factor_vae_score])
    def test_one_factor_can_not_be_confused(self, score, factors, perfect):
        with pytest.raises(ValueError, match="and 2 factors. Received: 3 and 1"):
            score(perfect, factors[:, :1], seed=0)

    def test_counts(self, factors, perfect):
        for call in (
            lambda: dis.mig(perfect, factors, num_bins=0),
            lambda: dis.dci(perfect, factors, num_trees=0),
            lambda: dis.dci(perfect, factors, num_rows=1.5),
            lambda: dis.beta_vae_score(perfect, factors, num_train=0),
            lambda: dis.factor_vae_score(perfect, factors, num_eval=True),
        ):
            with pytest.raises(ValueError, match="positive integer"):
                call()
        with pytest.raises(ValueError, match="`batch_size` >= 2"):
            dis.factor_vae_score(perfect, factors, batch_size=1)
        with pytest.raises(ValueError, match="Expected `continuous` to be bools"):
            dis.sap(perfect, factors, continuous="yes")

    def test_rows_too_few_to_learn_from(self, factors, perfect):
        with pytest.raises(ValueError, match="Expected `num_rows` of at least 100. Received: num_"):
            dis.dci(perfect, factors, num_rows=3)
        with pytest.raises(ValueError, match="each of 3 factors is fixed.*num_train=1, with 1 fac"):
            dis.beta_vae_score(perfect, factors, num_train=1)

    @pytest.mark.parametrize("seed", range(3))
    def test_a_value_that_a_classifier_never_sees(self, factors, perfect, seed):
        rare = np.zeros([N, 2], int)
        rare[:, 1] = factors[:, 1]
        rows = np.random.default_rng(seed).permutation(N)[-2:]  # in the last third, the test rows
        rare[rows, 0] = 1
        for score in (dis.dci, lambda *args, seed: dis.sap(*args, continuous=False, seed=seed)):
            with pytest.raises(ValueError, match="at least two values in the rows that .*factor 0"):
                score(perfect[:, :2], rare, seed=seed)


class TestTheScaleOfCodes:
    """What the docstring of `beta_vae_score` says, and how to do without."""

    @pytest.fixture
    def scores(self, rng):
        factors = rng.integers(5, size=[2000, 3])
        codes = factors + 0.3 * rng.normal(size=[2000, 3])

        def score(codes):
            found = dis.beta_vae_score(codes, factors, num_train=1000, num_eval=1000, seed=0)
            return found.score

        return score, codes

    def test_small_codes_score_less(self, scores):
        score, codes = scores
        assert score(codes) > 0.99
        assert score(1e-3 * codes) < 0.8

    def test_standardised_codes_score_alike(self, scores):
        score, codes = scores
        one = score(codes / codes.std(axis=0))
        for scale in (1e-3, [1e-3, 1.0, 1e3]):
            scaled = scale * codes
            assert score(scaled / scaled.std(axis=0)) == one
