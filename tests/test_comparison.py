"""Tests and intervals of score differences, against formulas, scipy and simulation."""

import numpy as np
import pytest
from scipy.signal import lfilter
from scipy.stats import t, ttest_rel

from degmm.verification import block_bootstrap, block_length_of, diebold_mariano, skill_table


def persistent(rng, shape, rho):
    """Return autoregressions of first order along the last axis."""
    noise = rng.normal(size=(*shape[:-1], shape[-1] + 100))
    return lfilter([1], [1, -rho], noise, axis=-1)[..., 100:]


def test_with_independent_cases_it_is_the_paired_t_test():
    rng = np.random.default_rng(0)
    a, b = rng.exponential(size=(2, 60))
    a[3], b[9] = np.nan, np.nan
    found = diebold_mariano(a, b, block_length=1)
    expected = ttest_rel(a, b, nan_policy="omit")
    assert (found.statistic, found.p_value) == pytest.approx((expected.statistic, expected.pvalue))
    assert found.difference == pytest.approx(np.nanmean(a - b))


def test_statistic_by_its_formula():
    rng = np.random.default_rng(1)
    d, length = persistent(rng, (80,), 0.5), 6
    mean, n = d.mean(), 80
    variance, corrected, freedom = 0.0, 1.0, 1.0
    for k in range(length):
        weight = 1 - k / length
        gamma = sum((d[i] - mean) * (d[i + k] - mean) for i in range(n - k)) / n
        variance += (1 if k == 0 else 2) * weight * gamma
        # white noise: E γ̂_k is −(n − k)/n² at lags, beside 1 at lag 0
        corrected -= (1 if k == 0 else 2) * weight * (n - k) / n**2
        freedom += 0 if k == 0 else 2 * weight**2
    statistic = mean / np.sqrt(variance / n) * np.sqrt(corrected)
    found = diebold_mariano(d, np.zeros(n), length)
    assert found.statistic == pytest.approx(statistic)
    assert found.p_value == pytest.approx(2 * t.sf(abs(statistic), (n - 1) / freedom))
    other_way = diebold_mariano(np.zeros(n), d, length)
    assert (other_way.statistic, other_way.p_value) == pytest.approx((-statistic, found.p_value))


def test_size_and_power_with_persistent_differences():
    rng = np.random.default_rng(2)
    d = persistent(rng, (500, 500), 0.6)
    zero = np.zeros(500)
    size = np.mean([diebold_mariano(x, zero).p_value < 0.05 for x in d])
    assert 0.02 < size < 0.1
    assert np.mean([diebold_mariano(x, zero, 1).p_value < 0.05 for x in d]) > 0.25
    # The mean has the standard error 1/(0.4 √500) = 0.11: a shift of 0.4 is found almost always.
    assert np.mean([diebold_mariano(x + 0.4, zero).p_value < 0.05 for x in d[:200]]) > 0.9


def test_missing_scores_keep_their_place_in_time():
    rng = np.random.default_rng(3)
    # Alternating signs: without the gaps' places, the lags would mix.
    d = np.tile([1.0, -1], 100) + 0.01 * rng.normal(size=200) + 0.05
    gaps = d.copy()
    gaps[50:150:3] = np.nan
    closed = gaps[~np.isnan(gaps)]
    whole, kept, shut = (diebold_mariano(x, np.zeros(len(x)), 4) for x in (d, gaps, closed))
    assert whole.p_value < 0.05
    # gaps take every other pair of neighbours: less is known, never more than the closed series pretends
    departures = np.where(np.isnan(gaps), 0, gaps - np.nanmean(gaps))
    n = (~np.isnan(gaps)).sum()
    variance = departures @ departures / n
    variance += 2 * sum((1 - k / 4) * (departures[k:] @ departures[:-k]) / n for k in range(1, 4))
    factor = 1 - 4 / n + 15 / (3 * n**2)
    assert kept.statistic == pytest.approx(np.nanmean(gaps) / np.sqrt(variance / n) * np.sqrt(factor))
    assert kept.statistic != pytest.approx(shut.statistic, rel=0.01)


def test_differences_without_variance():
    a = np.linspace(1, 2, 50)
    assert diebold_mariano(a, a) == (0, 0, 1, 4)
    better = diebold_mariano(a - 0.25, a)
    assert (better.statistic, better.p_value) == (-np.inf, 0)


def test_block_lengths_follow_their_rule():
    rng = np.random.default_rng(4)
    x = persistent(rng, (4000,), 0.7)
    rho = np.corrcoef(x[1:], x[:-1])[0, 1]
    assert block_length_of(x) == pytest.approx((6 * 4000) ** (1 / 3) * (rho / (1 - rho**2)) ** (2 / 3), abs=1)
    assert block_length_of(rng.normal(size=1000)) == 10
    assert block_length_of(np.ones(1000)) == 10
    assert block_length_of(np.cumsum(rng.normal(size=40))) == 10  # a quarter
    assert block_length_of([1.0, 2]) == 1
    x[::3] = np.nan  # leaves 2667 cases, and as much dependence
    expected = (6 * 2666) ** (1 / 3) * (rho / (1 - rho**2)) ** (2 / 3)
    assert block_length_of(x) == pytest.approx(expected, abs=3)
    rare = np.full(50, np.nan)
    rare[::7] = 1, 2, 1, 4, 3, 2, 0, 1
    assert block_length_of(rare) == 2  # no neighbours: the third root of 8 alone


def test_bootstrap_of_blocks_has_the_spread_of_the_mean():
    rng = np.random.default_rng(5)
    x = persistent(rng, (4000,), 0.6)
    spread = 1 / 0.4 / np.sqrt(4000)
    found = block_bootstrap(x, n_replicates=400)
    assert found.estimate == x.mean()
    assert found.replicates.std() == pytest.approx(spread, rel=0.15)
    assert [found.low, found.high] == pytest.approx(np.quantile(found.replicates, [0.025, 0.975]))
    assert block_bootstrap(x, block_length=1, n_replicates=400).replicates.std() < 0.6 * spread
    again, other = block_bootstrap(x, n_replicates=5), block_bootstrap(x, n_replicates=5, random_state=1)
    assert (again.replicates == found.replicates[:5]).all()
    assert (again.replicates != other.replicates).all()


def test_bootstrap_intervals_hold_what_they_say():
    rng = np.random.default_rng(6)
    held = []
    for x in persistent(rng, (150, 400), 0.5):
        found = block_bootstrap(x, n_replicates=150, level=0.9, random_state=rng)
        held.append(found.low < 0 < found.high)
    assert 0.8 < np.mean(held) < 0.96


def test_blocks_are_consecutive_and_go_round():
    seen = []

    def of(drawn):
        seen.append(drawn)
        return drawn.sum()

    block_bootstrap(np.arange(10.0), of, 4, 50)
    firsts = set()
    for drawn in seen[:50]:
        assert drawn.size == 10
        for block in (drawn[:4], drawn[4:8], drawn[8:]):
            assert (np.diff(block) % 10 == 1).all()
            firsts.add(block[0])
    assert firsts == set(range(10))


def test_bootstrap_of_several_columns_and_of_gaps():
    rng = np.random.default_rng(7)
    both = rng.exponential(size=(300, 2))
    both[:, 1] *= 2
    both[10:20, 0] = np.nan
    known = both[~np.isnan(both).any(axis=1)]

    def skill(drawn):
        assert not np.isnan(drawn).any()
        return 1 - drawn[:, 0].mean() / drawn[:, 1].mean()

    found = block_bootstrap(both, skill, n_replicates=200)
    assert found.estimate == skill(known)
    assert found.low < found.estimate < found.high
    rare = np.full(100, np.nan)
    rare[40] = 3.0
    assert set(block_bootstrap(rare, n_replicates=20, block_length=2).replicates) == {3.0}


def test_skill_table():
    rng = np.random.default_rng(8)
    reference = rng.exponential(size=800)
    better = reference * 0.8 + 0.02 * rng.normal(size=800)
    same = reference + 0.3 * rng.normal(size=800)
    better[4], same[9] = np.nan, np.nan
    table = skill_table({"b": better, "raw": reference, "s": same}, "raw", n_replicates=300)
    assert table.index.tolist() == ["b", "raw", "s"]
    assert table["cases"].tolist() == [798] * 3
    left = ~np.isnan(better + same)
    assert table.loc["b", "mean"] == pytest.approx(better[left].mean())
    assert table.loc["b", "skill"] == pytest.approx(1 - better[left].mean() / reference[left].mean())
    gaps = np.where(left, better, np.nan)
    assert table.loc["b", "p_value"] == diebold_mariano(gaps, reference).p_value < 1e-6
    assert table.loc["s", "p_value"] > 0.01
    for name in ("b", "s"):
        for what in ("skill", "difference"):
            low, at, high = table.loc[name, [f"{what}_low", what, f"{what}_high"]]
            assert low < at < high
    assert table.loc["b", "skill_low"] > 0.15
    assert table.loc["s", "skill_low"] < 0 < table.loc["s", "skill_high"]
    assert table.loc["raw", ["skill", "difference"]].tolist() == [0, 0]
    assert np.isnan(table.loc["raw", ["p_value", "skill_low", "difference_high"]].tolist()).all()
    negative = skill_table({"a": reference - 5, "b": same - 5}, "a", n_replicates=10)
    assert negative["skill"].isna().all()
    assert negative.loc["b", "difference"] == pytest.approx(
        np.nanmean(same) - reference[left | ~np.isnan(same)].mean(), abs=0.01
    )


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: diebold_mariano(np.zeros(3), np.zeros(2)), "scores_b: expected scores of the same cases"),
        (lambda: diebold_mariano([1, np.nan], [1, 2]), "scores_a: fewer than two cases"),
        (lambda: diebold_mariano([1, 2], [1, 2], 0), "block_length: expected an integer of at least 1"),
        (lambda: block_bootstrap(np.zeros((2, 2, 2))), "scores: expected shape"),
        (lambda: block_bootstrap([np.nan]), "scores: no case"),
        (lambda: block_bootstrap([1.0], level=1.0), "level: expected"),
        (lambda: block_bootstrap([1.0], n_replicates=0), "n_replicates: expected"),
        (lambda: block_length_of([np.nan]), "scores: expected a series"),
        (lambda: skill_table({"a": [1, 2]}, "b"), "reference: 'b' is not among 'a'"),
        (lambda: skill_table({"a": [1, 2], "b": [1, 2, 3]}, "a"), "scores: 'b' has shape"),
        (lambda: skill_table({"a": [1, np.nan], "b": [1, 2]}, "a"), "scores: fewer than two cases"),
    ],
)
def test_bad_arguments(call, match):
    with pytest.raises(ValueError, match=match):
        call()
