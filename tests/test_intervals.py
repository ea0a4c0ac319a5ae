"""Intervals: against scipy, against a small seeded simulation, and on inputs that leave nothing to estimate."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pytest_gym import intervals
from pytest_gym.intervals import interval


@pytest.mark.parametrize("n", [1, 2, 10, 30, 198, 1319])
def test_wilson_agrees_with_scipy(n):
    for successes in sorted({0, 1, n // 3, n - 1, n}):
        expected = stats.binomtest(successes, n).proportion_ci(0.95, method="wilson")
        assert intervals.wilson(successes, n) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_quantiles_agree_with_scipy():
    assert intervals.normal_quantile(0.95) == pytest.approx(stats.norm.ppf(0.975))
    assert intervals.t_quantile(7, 0.9) == pytest.approx(stats.t.ppf(0.95, 7))


def test_one_binary_verdict_per_task_is_wilson():
    found = interval(np.array([1.0, 0.0, 1.0, 1.0]), verdicts=4)
    assert found.method == "wilson"
    assert (found.low, found.high) == pytest.approx(intervals.wilson(3, 4))
    assert found.se == pytest.approx(0.25)


@pytest.mark.parametrize("value", [0.0, 1.0])
@pytest.mark.parametrize("verdicts", [20, 80])
def test_none_and_all_passed_have_an_interval(value, verdicts):
    found = interval(np.full(20, value), verdicts=verdicts)
    assert (found.low, found.high)[int(value)] == value
    assert 0.1 < found.high - found.low < 0.25
    assert found.few


def test_equal_shares_of_every_task_count_as_independent_verdicts():
    found = interval(np.full(40, 0.5), verdicts=160)
    assert found.method == "n_eff"
    assert (found.low, found.high) == pytest.approx(intervals.score_interval(0.5, 160, intervals.t_quantile(39, 0.95)))


def test_repeats_that_always_agree_are_worth_one_verdict():
    values = np.array([1.0, 0.0] * 50)
    found = interval(values, verdicts=3200)
    assert (found.low, found.high) == pytest.approx(intervals.score_interval(0.5, 100, intervals.t_quantile(99, 0.95)))


def test_effective_size_is_clipped_and_shrinks_where_passes_are_rare():
    assert intervals.effective_size(0.5, 0.05, units=50, most=1600) == pytest.approx(100)
    assert intervals.effective_size(0.5, 0.5, units=50, most=1600) == 50
    assert intervals.effective_size(0.5, 0.0, units=50, most=1600) == 1600
    assert intervals.effective_size(0.0, 0.0, units=30, most=960) == 30
    assert intervals.effective_size(0.02, 0.0045, units=30, most=960) < 0.2 * 0.02 * 0.98 / 0.0045**2


def test_graded_values_take_t_or_bca():
    uniform = np.linspace(0.2, 0.8, 50)
    found = interval(uniform, verdicts=50, binary=False)
    half = stats.t.ppf(0.975, 49) * uniform.std(ddof=1) / math.sqrt(50)
    assert (found.method, found.low, found.high) == ("t", pytest.approx(0.5 - half), pytest.approx(0.5 + half))
    skewed = np.concatenate([np.linspace(0, 0.1, 45), np.ones(5)])
    found = interval(skewed, verdicts=50, binary=False)
    assert found.method == "bca"
    assert found.high - skewed.mean() > skewed.mean() - found.low


def test_bca_is_near_scipys_and_does_not_depend_on_order():
    values = np.random.default_rng(3).exponential(size=200)
    ours = intervals.bca(values, resamples=20_000)
    theirs = stats.bootstrap((values,), np.mean, n_resamples=20_000, method="BCa", rng=np.random.default_rng(4)).confidence_interval
    assert ours == pytest.approx((theirs.low, theirs.high), abs=0.012)
    assert intervals.bca(values[::-1]) == intervals.bca(values)


def test_equal_graded_values_keep_a_width():
    found = interval(np.full(100, 0.5), verdicts=100, binary=False)
    assert (found.method, found.low, found.high) == ("all_equal", pytest.approx(0.5 - 0.0369, abs=1e-4), pytest.approx(0.5369, abs=1e-4))
    unbounded = interval(np.full(100, 0.5), verdicts=100, binary=False, low=-math.inf, high=math.inf)
    assert unbounded.low is None and "no range" in unbounded.reason


def test_intervals_are_cut_at_the_range_of_the_metric():
    found = interval(np.array([0.0, 0.1, 0.0, 9.0]), verdicts=4, binary=False, high=10.0)
    assert found.low == 0.0 and found.high <= 10.0
    scaled = interval(np.array([0.0, 10.0, 10.0, 10.0]), verdicts=4, high=10.0)
    assert (scaled.low, scaled.high) == pytest.approx(tuple(10 * end for end in intervals.wilson(3, 4)))


@pytest.mark.parametrize(("values", "reason"), [([], "no task"), ([0.5], "only one task")])
def test_where_nothing_can_be_said_there_is_a_reason(values, reason):
    found = interval(np.array(values), verdicts=4 * len(values))
    assert found.low is None and found.high is None and found.method is None
    assert reason in found.reason


def test_clustered_standard_error_is_the_sandwich_of_a_regression_on_a_constant():
    random = np.random.default_rng(5)
    clusters = random.integers(0, 12, 80)
    values = random.random(80)
    residuals = values - values.mean()
    meat = sum(residuals[clusters == g].sum() ** 2 for g in np.unique(clusters))
    assert intervals.standard_error(values, clusters) == pytest.approx(math.sqrt(12 / 11 * meat) / 80)
    alone = np.arange(80)
    assert intervals.standard_error(values, alone) == pytest.approx(intervals.standard_error(values))


def test_clusters_use_their_own_degrees_of_freedom_and_need_five():
    values = np.repeat([0.0, 1.0, 1.0, 0.0, 1.0, 0.0], 10)
    clusters = np.repeat(np.arange(6), 10)
    found = interval(values, verdicts=60, clusters=clusters)
    assert found.method == "n_eff, clustered"
    assert found.high - found.low > 2 * (intervals.wilson(30, 60)[1] - intervals.wilson(30, 60)[0])
    graded = interval(values * 0.5, verdicts=60, binary=False, clusters=clusters)
    assert graded.method == "t, clustered"
    assert graded.high == pytest.approx(min(1, 0.25 + stats.t.ppf(0.975, 5) * graded.se))
    refused = interval(values[:40], verdicts=40, clusters=clusters[:40])
    assert refused.low is None and "only 4 clusters" in refused.reason
    assert interval(values, verdicts=60, clusters=np.arange(60)).method == "wilson"


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]), min_size=1, max_size=60),
    st.sampled_from([1, 4, 32]),
    st.booleans(),
    st.sampled_from([0.8, 0.95, 0.99]),
    st.integers(1, 12) | st.none(),
)
def test_an_interval_holds_its_mean_and_stays_in_range(values, repeats, binary, level, groups):
    array = np.array(values) if not binary or repeats > 1 else np.round(values)
    clusters = None if groups is None else np.arange(len(array)) % groups
    found = interval(array, verdicts=repeats * len(array), binary=binary, level=level, clusters=clusters)
    if found.low is None:
        assert found.reason
    else:
        assert 0 <= found.low <= array.mean() + 1e-12
        assert array.mean() - 1e-12 <= found.high <= 1
        assert found.low < found.high


@pytest.mark.parametrize(
    ("tasks", "repeats", "mean", "total", "least", "most"),
    [(100, 1, 0.5, 2.0, 0.92, 0.98), (30, 32, 0.5, 2.0, 0.92, 0.98), (30, 32, 0.02, 2.0, 0.91, 1.0), (198, 4, 0.1, 0.3, 0.91, 0.98)],
)
def test_simulated_coverage(tasks, repeats, mean, total, least, most):
    random = np.random.default_rng(6)
    runs = 500
    chances = random.beta(mean * total, (1 - mean) * total, (runs, tasks))
    shares = random.binomial(repeats, chances) / repeats
    held = 0
    for values in shares:
        found = interval(values, verdicts=tasks * repeats)
        held += found.low <= mean <= found.high
    assert least <= held / runs <= most
