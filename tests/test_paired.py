"""Paired differences: worked values against scipy and brute force, and what must hold for any data."""

from __future__ import annotations

import itertools
import math
import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pytest_gym.paired import holm, mcnemar, paired_difference, power_of_equal, sign_flip, sureness, tango, unpaired_difference


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_is_the_binomial_test(gained, lost):
    expected = stats.binomtest(gained, gained + lost, 0.5).pvalue if gained + lost else 1.0
    assert mcnemar(gained, lost) == pytest.approx(expected, abs=1e-12)


def test_tango_s_worked_values():
    # Without a discordant pair the ends are ± z²/(m + z²).
    for m in (10, 500):
        z2 = stats.norm.ppf(0.975) ** 2
        low, high = tango(0, 0, m)
        assert (low, high) == (pytest.approx(-z2 / (m + z2), abs=1e-9), pytest.approx(z2 / (m + z2), abs=1e-9))
    assert 100 * tango(0, 0, 500)[1] == pytest.approx(0.76, abs=0.005) and 100 * tango(0, 0, 10)[1] == pytest.approx(28, abs=0.5)


@given(st.integers(0, 20), st.integers(0, 20), st.integers(0, 40))
def test_tango_s_ends_have_the_score_z(gained, lost, same):
    m = gained + lost + same
    if m == 0:
        return
    low, high = tango(gained, lost, m)
    share = (gained - lost) / m
    assert -1 <= low <= share <= high <= 1
    mirrored = tango(lost, gained, m)
    assert mirrored == (pytest.approx(-high, abs=1e-9), pytest.approx(-low, abs=1e-9))
    for delta in (low, high):
        if abs(delta) < 1 - 1e-6:
            grid = np.linspace(max(0.0, -delta), (1 - delta) / 2, 4001)
            with np.errstate(divide="ignore", invalid="ignore"):
                likelihood = (
                    np.where(gained > 0, gained * np.log(grid + delta), 0.0)
                    + np.where(lost > 0, lost * np.log(grid), 0.0)
                    + np.where(same > 0, same * np.log(1 - 2 * grid - delta), 0.0)
                )
            q = grid[np.nanargmax(np.where(np.isnan(likelihood), -np.inf, likelihood))]
            score = abs(gained - lost - m * delta) / math.sqrt(m * (2 * q + delta * (1 - delta)))
            assert score == pytest.approx(1.96, abs=0.03)


@given(st.integers(0, 60), st.integers(0, 60), st.integers(1, 400), st.sampled_from((0.8, 0.95, 0.99)))
def test_tango_s_ends_are_roots_of_his_quartic(gained, lost, same, level):
    # The score equation without its square roots is of the fourth degree (Yang, Sun & Hardin, "A non-iterative implementation of Tango's
    # score confidence interval for a paired difference of proportions", Statistics in Medicine).
    m, squared = gained + lost + same, stats.norm.ppf(0.5 + level / 2) ** 2
    delta = np.polynomial.Polynomial([0, 1])
    b = -gained - lost + (2 * m - gained + lost) * delta
    rest = 2 * (gained - lost - m * delta) ** 2 / squared - 2 * m * delta * (1 - delta)
    roots = (rest * rest + 2 * rest * b - 8 * m * lost * delta * (1 - delta)).roots()
    for end in tango(gained, lost, m, level):
        assert np.min(np.abs(roots - end)) < 1e-5


@given(st.lists(st.integers(-4, 4), min_size=1, max_size=9))
def test_sign_flip_is_all_flips(values):
    differences = np.array(values, dtype=float) / 4
    observed = abs(differences.sum())
    sums = [abs(sum(s * d for s, d in zip(signs, differences, strict=True))) for signs in itertools.product((-1, 1), repeat=len(values))]
    assert sign_flip(differences) == pytest.approx(np.mean([total >= observed - 1e-9 for total in sums]))


def test_sampled_flips_agree_with_scipy():
    random = np.random.default_rng(1)
    differences = random.normal(0.1, 0.5, 60)
    exact = stats.permutation_test((differences,), np.mean, permutation_type="samples", n_resamples=20_000, rng=np.random.default_rng(2))
    assert sign_flip(differences) == pytest.approx(exact.pvalue, abs=0.012)
    # A cluster flips as a whole: the same as one value a cluster.
    clusters = np.repeat(np.arange(20), 3)
    assert sign_flip(differences, clusters) == pytest.approx(sign_flip(differences.reshape(20, 3).sum(axis=1)), abs=1e-12)


def test_many_problems_permute_fast_in_flat_memory():
    differences = np.random.default_rng(3).choice([-0.5, 0.0, 0.25, 1.0], 12_032)
    began = time.process_time()
    sign_flip(differences)
    seconds = time.process_time() - began
    tracemalloc.start()
    sign_flip(differences)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # It takes 0.1 s and 5 MB; the whole matrix of flips would be seconds and 2 GB.
    assert seconds < 0.5 and peak < 20e6


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm(values):
    found = holm(values)
    for i, value in enumerate(values):
        expected = max(min(1.0, (len(values) - sorted(values).index(other)) * other) for other in values if other <= value)
        assert value <= found[i] <= 1 and found[i] == pytest.approx(expected)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from((-1.0, -0.5, 0.0, 0.25, 1.0)), min_size=0, max_size=40), st.booleans(), st.booleans())
def test_any_pairs_have_a_result(values, binary, grouped):
    differences = np.round(np.array(values)) if binary else np.array(values)
    clusters = np.arange(len(values)) // 3 if grouped else None
    found = paired_difference(differences, binary=binary, clusters=clusters)
    if not values:
        assert found is None
        return
    assert 0 < found.p_value <= 1 and found.pairs == len(values)
    if found.reason is None:
        assert -1 <= found.low <= found.difference <= found.high <= 1 and found.high > found.low
    else:
        assert found.low is None and found.high is None
    mirrored = paired_difference(-differences, binary=binary, clusters=clusters)
    assert mirrored.p_value == pytest.approx(found.p_value)


def test_equal_differences_have_a_width():
    found = paired_difference(np.full(50, 0.25), binary=False)
    assert (found.method, found.low, found.high) == (
        "all_equal",
        pytest.approx(0.25 - 3.689 / 50, abs=1e-3),
        pytest.approx(0.25 + 3.689 / 50, abs=1e-3),
    )
    assert paired_difference(np.zeros(10), binary=True).high == pytest.approx(0.278, abs=0.001)
    assert paired_difference(np.full(3, 0.5), binary=False, span=math.inf).reason == "all differences are equal and the metric has no range"


def test_clusters_whose_differences_cancel_out_have_a_width():
    found = paired_difference(np.tile([1.0, -1.0], 10), binary=False, clusters=np.repeat(np.arange(10), 2))
    assert found.method == "all_equal, clustered" and found.high == pytest.approx(0.369, abs=1e-3)


def test_few_clusters_have_no_interval():
    found = paired_difference(np.array([1.0, 0, 1, 0, 0, 1]), binary=True, clusters=np.array([0, 0, 1, 1, 2, 2]))
    assert found.low is None and found.reason == "only 3 clusters: at least 5 are needed"


def test_what_is_detectable_is_on_the_scale_of_the_score():
    # 12,032 problems, 350 flips each way: ±0.43 points, and nothing like 10 % can go unseen.
    differences = np.concatenate((np.ones(350), -np.ones(350), np.zeros(12_032 - 700)))
    found = paired_difference(differences, binary=True)
    assert 100 * found.high == pytest.approx(0.43, abs=0.01) and 100 * found.detectable == pytest.approx(0.62, abs=0.01)


def test_a_detectable_difference_is_found_four_times_in_five():
    random = np.random.default_rng(7)
    for values in (random.normal(0, 0.4, 80), random.choice([-0.5, -0.25, 0.0, 0.25, 0.5], 200)):
        values = values - values.mean()
        shift = paired_difference(values, binary=False).detectable
        runs = [random.choice(values, len(values)) + shift for _ in range(300)]
        found = np.mean([sign_flip(run, flips=1_000, seed=number) <= 0.05 for number, run in enumerate(runs)])
        assert found == pytest.approx(0.8, abs=0.07)


def test_what_surely_moved_comes_before_what_moved_far():
    one, other = np.array([0.0, 0.0, 0.5, np.nan]), np.array([1.0, 0.9, 0.6, 1.0])
    sure = sureness(one, other, np.array([1, 10, 10, 0]), np.array([1, 10, 10, 4]), low=0.0, span=1.0)
    assert np.argsort(-sure).tolist() == [1, 0, 2, 3] and sure[3] == 0
    # Rewards from 0 to 10 are as sure as those from 0 to 1, and without a range the order is that of the differences.
    assert sureness(10 * one, 10 * other, np.full(4, 3), np.full(4, 3), low=0.0, span=10.0) == pytest.approx(
        sureness(one, other, np.full(4, 3), np.full(4, 3), low=0.0, span=1.0)
    )
    assert np.argsort(-sureness(one, 7 * other, np.ones(4), np.ones(4), low=-math.inf, span=math.inf)).tolist() == [0, 1, 2, 3]


def test_equal_but_for_rounding_is_equal():
    found = paired_difference(np.array([0.3 - 0.2, 0.2 - 0.1, 0.4 - 0.3] * 10), binary=False)
    assert found.method == "all_equal" and found.high - found.low == pytest.approx(2 * 3.689 / 30, abs=1e-3)


def test_the_power_of_an_equal_model():
    # One repeat, tasks uniform in difficulty: a third of the tasks comes out differently.
    shown = [100 * power_of_equal(0.02, math.sqrt(1 / 3 / m)) for m in (30, 198, 1_319)]
    assert shown == [pytest.approx(3, abs=1), pytest.approx(7, abs=1), pytest.approx(24, abs=1)]
    assert power_of_equal(0.1, 0.0) == 1.0 and power_of_equal(0.1, None) is None


def test_unpaired_is_welch():
    random = np.random.default_rng(5)
    a, b = random.random(30), random.random(50) + 0.1
    expected = stats.ttest_ind(b, a, equal_var=False)
    mean, low, high, p_value, _ = unpaired_difference(a, b)
    interval = expected.confidence_interval()
    assert (mean, p_value) == (pytest.approx(b.mean() - a.mean()), pytest.approx(expected.pvalue))
    assert (low, high) == (pytest.approx(interval.low), pytest.approx(interval.high))


def test_a_metric_without_a_range_has_finite_ends():
    found = paired_difference(np.array([0.0, 1.0, 0.0, 2.0, 1.0]), binary=True, span=math.inf)
    assert found.low is not None and math.isfinite(found.low) and math.isfinite(found.difference)
