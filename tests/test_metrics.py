"""Metrics: worked values, brute force over all subsets, and properties that hold for any outcomes, missing data included."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_gym import metrics, votes
from pytest_gym.outcomes import Outcomes
from pytest_gym.table import summarise

NAN = math.nan


def rows(*tasks):
    """Tasks of different lengths as one array, padded with NaN."""
    width = max(map(len, tasks))
    return np.array([[*task, *[NAN] * (width - len(task))] for task in tasks], dtype=float)


def outcomes(passed, answers=None, **more):
    passed = np.asarray(passed, dtype=float)
    return Outcomes(more.pop("rewards", passed), passed, None if answers is None else np.asarray(answers), **more)


def value(passed, key, answers=None):
    return summarise(outcomes(passed, answers))["metrics"][key]["value"]


# Worked values


THREE = rows([1, 0, 0, 1], [0, 0, 0, 0], [1, 1, 1, 1])


@pytest.mark.parametrize(("k", "expected"), [(1, 0.5), (2, 0.61111), (3, 0.66667), (4, 0.66667)])
def test_pass_at_k_of_three_tasks(k, expected):
    assert np.mean(metrics.pass_at_k(THREE, k)) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("k", range(1, 6))
def test_pass_at_k_of_one_hit_in_five(k):
    assert metrics.pass_at_k(rows([1, 0, 0, 0, 0]), k) == pytest.approx([k / 5])


def test_tasks_with_too_few_verdicts_are_left_out_and_counted():
    uneven = rows([1, 0], [0, 1, 1, 0])
    assert value(uneven, "pass@1") == pytest.approx(0.5)
    assert value(uneven, "pass@2") == pytest.approx(0.91667, abs=1e-5)
    found = summarise(outcomes(uneven))["metrics"]
    assert (found["pass@4"]["value"], found["pass@4"]["tasks"], found["pass@2"]["tasks"]) == (1.0, 1, 2)


def test_graded_rewards_average_and_their_best_is_an_expectation():
    rewards = rows([0.5, 1.0, 0.0], [0.25, 0.25, 0.75])
    assert metrics.task_means(rewards).mean() == pytest.approx(0.45833, abs=1e-5)
    # Over all pairs: (1 + 0.5 + 1)/3 and (0.25 + 0.75 + 0.75)/3.
    assert metrics.best_at_k(rewards, 2) == pytest.approx([2.5 / 3, 1.75 / 3])
    assert metrics.best_at_k(rewards, 3) == pytest.approx([1.0, 0.75])
    assert metrics.best_at_k(rewards, 2, lowest=True) == pytest.approx([0.5 / 3, 0.25])


def test_majority_over_all_verdicts_splits_ties_and_ignores_silence_in_ties():
    answers = np.array([[7, 7, 9, -1], [3, 4, 3, 4], [-1, -1, 5, 5], [-1, -1, -1, 5]])
    passed = rows([1, 1, 0, 0], [0, 1, 0, 1], [0, 0, 1, 1], [0, 0, 0, 1])
    assert metrics.majority_at_k(passed, answers, 4) == pytest.approx([1.0, 0.5, 1.0, 0.0])
    assert metrics.majority_at_k(passed, answers, 1) == pytest.approx([0.5, 0.5, 0.5, 0.25])


def test_majority_without_any_answer_is_zero():
    for k in (1, 2, 3):
        assert metrics.majority_at_k(rows([0, 0, 0]), np.array([[-1, -1, -1]]), k) == pytest.approx([0.0])


def test_the_same_answer_graded_differently_is_one_candidate():
    passed, answers = rows([1, 0, 1]), np.array([[0, 1, 1]])
    assert metrics.majority_at_k(passed, answers, 3) == pytest.approx([0.5])


def test_keys_for_the_numbers_of_attempts():
    assert metrics.attempt_counts(1) == []
    assert metrics.attempt_counts(2) == [2]
    assert metrics.attempt_counts(4) == [2, 4]
    assert metrics.attempt_counts(5) == [2, 4, 5]
    assert metrics.attempt_counts(32) == [2, 4, 8, 16, 32]
    found = set(summarise(outcomes(THREE, np.zeros((3, 4), int)))["metrics"])
    counted = {f"{family}{k}" for family in ("pass@", "pass^", "majority@", "best@") for k in (2, 4)}
    stable = {f"g-pass@{k}:{t}" for k in (2, 4) for t in ("0.5", "0.75", "1.0")}
    assert found == {"pass@1", "mean_reward"} | counted | stable


# Brute force


def subsets(n, k):
    return list(itertools.combinations(range(n), k))


@pytest.mark.parametrize("n", [1, 2, 5, 7])
def test_pass_metrics_against_all_subsets(n):
    for bits in itertools.product([0.0, 1.0], repeat=n):
        for k in range(1, n + 1):
            chosen = [sum(bits[i] for i in subset) for subset in subsets(n, k)]
            task = rows(bits)
            assert metrics.pass_at_k(task, k)[0] == pytest.approx(np.mean([hits > 0 for hits in chosen]))
            assert metrics.pass_hat_k(task, k)[0] == pytest.approx(np.mean([hits == k for hits in chosen]))
            for threshold in metrics.STABILITY:
                need = max(1, math.ceil(threshold * k))
                assert metrics.g_pass_at_k(task, k, threshold)[0] == pytest.approx(np.mean([hits >= need for hits in chosen]))


def brute_majority(passed, answers, k):
    total = 0.0
    for subset in subsets(len(passed), k):
        counts: dict[int, int] = {}
        for i in subset:
            counts[answers[i]] = counts.get(answers[i], 0) + 1
        silent = counts.pop(-1, 0)
        most = max(counts.values(), default=0)
        if most and most >= silent:
            winners = [answer for answer, count in counts.items() if count == most]
            scores = [np.mean([passed[i] for i in range(len(passed)) if answers[i] == answer]) for answer in winners]
            total += float(np.mean(scores))
    return total / math.comb(len(passed), k)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(-1, 4), st.booleans()), min_size=1, max_size=9))
def test_majority_and_best_against_all_subsets(cases):
    answers, passed = [answer for answer, _ in cases], [float(right and answer >= 0) for answer, right in cases]
    for k in range(1, len(cases) + 1):
        assert metrics.majority_at_k(rows(passed), np.array([answers]), k)[0] == pytest.approx(brute_majority(passed, answers, k))
        rewards = [answer / 4 for answer in answers]
        expected = np.mean([max(rewards[i] for i in subset) for subset in subsets(len(cases), k)])
        assert metrics.best_at_k(rows(rewards), k)[0] == pytest.approx(expected)


def test_sampled_majority_is_near_the_counted_one(monkeypatch):
    random = np.random.default_rng(1)
    answers = random.integers(-1, 4, (6, 32))
    passed = (answers == 1).astype(float)
    counted = metrics.majority_at_k(passed, answers, 8)
    monkeypatch.setattr(votes, "_EXACT_VERDICTS", 0)
    monkeypatch.setattr(votes, "_EXACT_VOTES", 0)
    sampled = metrics.majority_at_k(passed, answers, 8)
    assert sampled == pytest.approx(counted, abs=0.06)
    assert not np.array_equal(sampled, counted)
    np.testing.assert_array_equal(metrics.majority_at_k(passed[::-1, ::-1], answers[::-1, ::-1], 8)[::-1], sampled)


def test_many_repeats_neither_overflow_nor_drift():
    passed = np.zeros((2, 1500))
    passed[0, :700] = 1
    answers = np.where(passed == 1, 1, 0)
    found = summarise(outcomes(passed, answers))["metrics"]
    assert found["pass^2"]["value"] == pytest.approx(700 * 699 / (1500 * 1499) / 2)
    assert all(0 <= metric["value"] <= 1 for metric in found.values())


# Properties


@st.composite
def some_outcomes(draw, *, missing=True):
    m, k = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    cell = st.tuples(st.booleans() if missing else st.just(False), st.booleans(), st.integers(-1, 2), st.sampled_from([0.0, 0.3, 1.0]))
    cells = draw(st.lists(st.lists(cell, min_size=k, max_size=k), min_size=m, max_size=m))
    passed = np.array([[NAN if gone else float(right) for gone, right, _, _ in row] for row in cells])
    answers = np.array([[answer for _, _, answer, _ in row] for row in cells])
    rewards = np.array([[NAN if gone else reward for gone, _, _, reward in row] for row in cells])
    return Outcomes(rewards, passed, answers, ["a" if i % 2 else None for i in range(m)], None, {"named": rewards * 2})


def assert_same(a, b):
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            assert_same(a[key], b[key])
    elif isinstance(a, float):
        assert a == pytest.approx(b, abs=1e-9)
    elif isinstance(a, list):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert_same(x, y)
    else:
        assert a == b


@settings(max_examples=30, deadline=None)
@given(some_outcomes(), st.randoms(use_true_random=False))
def test_order_of_repeats_and_of_tasks_does_not_matter(data, random):
    columns = np.array([random.sample(range(data.repeats), data.repeats) for _ in range(data.tasks)])
    order = np.array(random.sample(range(data.tasks), data.tasks))
    moved = Outcomes(
        np.take_along_axis(data.rewards, columns, 1),
        np.take_along_axis(data.passed, columns, 1),
        np.take_along_axis(data.answers, columns, 1),
        data.subsets,
        None,
        {name: np.take_along_axis(array, columns, 1) for name, array in data.scores.items()},
    )
    assert_same(summarise(data), summarise(moved))
    assert_same(summarise(data), summarise(data.take(order)))


@settings(max_examples=40, deadline=None)
@given(some_outcomes())
def test_everything_is_in_range_and_bounds_hold_the_score(data):
    found = summarise(data)
    for key, metric in found["metrics"].items():
        if key == "named":
            continue
        assert metric["value"] is None or 0 <= metric["value"] <= 1
        if metric["ci95"]:
            assert 0 <= metric["ci95"][0] <= metric["value"] <= metric["ci95"][1] <= 1
        else:
            assert metric["reason"]
        if found["missing"]:
            assert 0 <= metric["bounds"][0] <= metric["bounds"][1] <= 1
            if metric["value"] is not None and key in ("pass@1", "mean_reward"):
                assert metric["bounds"][0] - 1e-12 <= metric["value"] <= metric["bounds"][1] + 1e-12
        else:
            assert "bounds" not in metric
    assert found["cases"] == data.tasks * data.repeats
    assert found["missing"] == int(np.isnan(data.passed).sum())


@settings(max_examples=40, deadline=None)
@given(some_outcomes(), st.data())
def test_bounds_hold_whatever_the_missing_verdicts_would_have_been(data, draw):
    bits = draw.draw(st.lists(st.booleans(), min_size=data.passed.size, max_size=data.passed.size))
    passed = np.where(np.isnan(data.passed), np.array(bits, dtype=float).reshape(data.passed.shape), data.passed)
    full = summarise(Outcomes(passed, passed, None))["metrics"]
    for key, metric in summarise(Outcomes(data.passed, data.passed, None))["metrics"].items():
        if "bounds" in metric:
            assert metric["bounds"][0] - 1e-9 <= full[key]["value"] <= metric["bounds"][1] + 1e-9


@settings(max_examples=40, deadline=None)
@given(some_outcomes(missing=False))
def test_without_missing_data_the_families_are_ordered(data):
    found = summarise(data)["metrics"]
    for k in metrics.attempt_counts(data.repeats):
        assert found[f"pass^{k}"]["value"] <= found["pass@1"]["value"] + 1e-9 <= found[f"pass@{k}"]["value"] + 2e-9
        assert found[f"g-pass@{k}:1.0"]["value"] == pytest.approx(found[f"pass^{k}"]["value"])
    if data.repeats > 1:
        assert found["majority@2"]["value"] is not None


# Missing data, ranges, groups


def test_tasks_weigh_the_same_however_many_verdicts_they_have():
    passed = rows([1, 1, 1, 1], [0], [])
    found = summarise(outcomes(passed))
    assert found["metrics"]["pass@1"]["value"] == 0.5
    assert found["metrics"]["pass@1"]["tasks"] == 2
    assert (found["cases"], found["missing"]) == (12, 7)
    assert found["metrics"]["pass@1"]["bounds"] == pytest.approx([1 / 3, (1 + 0.75 + 1) / 3])
    assert found["tasks_passed"] == {"always": 1, "sometimes": 0, "never": 1}


def test_majority_bounds_add_the_missing_votes_to_the_strongest_side():
    passed, answers = rows([1, 1, 0, NAN, NAN]), np.array([[5, 5, 6, 0, 0]])
    assert summarise(outcomes(passed, answers))["metrics"]["majority@5"]["bounds"] == pytest.approx([0.0, 1.0])
    passed, answers = rows([1, 1, 0, NAN]), np.array([[5, 5, 6, 0]])
    assert summarise(outcomes(passed, answers))["metrics"]["majority@4"]["bounds"] == pytest.approx([0.5, 1.0])


@pytest.mark.parametrize("seed", range(6))
def test_majority_bounds_hold_for_every_way_to_fill_the_gaps(seed):
    random = np.random.default_rng(seed)
    answers = random.integers(-1, 3, (1, 6))
    passed = (answers == 1).astype(float)
    passed[0, : 1 + seed % 3] = NAN
    gaps = int(np.isnan(passed).sum())
    bounds = {k: summarise(outcomes(passed, answers))["metrics"][f"majority@{k}"]["bounds"] for k in (2, 4, 6)}
    for filling in itertools.product((-1, 0, 1, 2, 3, 4), repeat=gaps):
        full = answers.copy()
        full[0, :gaps] = filling
        for k, (low, high) in bounds.items():
            assert low - 1e-9 <= metrics.majority_at_k((full == 1).astype(float), full, k)[0] <= high + 1e-9


def test_range_direction_and_headline_of_another_metric():
    rewards = np.array([[4.0, 2.0], [1.0, 3.0], [10.0, 0.0], [5.0, NAN]])
    passed = np.where(np.isnan(rewards), NAN, rewards >= 3)
    found = summarise(Outcomes(rewards, passed), headline="mean_reward", direction="lower", high=10.0)
    metric = found["metrics"]["mean_reward"]
    assert metric["value"] == pytest.approx((3 + 2 + 5 + 5) / 4)
    assert metric["bounds"] == pytest.approx([(3 + 2 + 5 + 2.5) / 4, (3 + 2 + 5 + 7.5) / 4])
    assert found["metrics"]["best@2"]["value"] == pytest.approx(1.0)
    assert (found["direction"], found["range"]) == ("lower", [0.0, 10.0])


def test_named_scores_are_metrics_and_may_be_the_headline():
    passed = np.array([[1.0], [0.0], [1.0]])
    data = outcomes(passed, scores={"strict": passed, "words": np.array([[120.0], [3.0], [NAN]])})
    found = summarise(data, headline="strict")
    assert found["metrics"]["strict"]["method"] == "wilson"
    assert (found["metrics"]["words"]["value"], found["metrics"]["words"]["tasks"]) == (61.5, 2)
    assert found["metrics"]["words"]["ci95"][0] < 0


@pytest.mark.parametrize(
    ("headline", "reason"), [("pass@8", "needs 8 repeats"), ("no_such", "no verdict has"), ("majority@2", "extracts no answers")]
)
def test_a_headline_that_the_run_cannot_have_is_null_with_its_reason(headline, reason):
    found = summarise(outcomes(THREE), headline=headline)
    assert found["metrics"][headline]["value"] is None
    assert reason in found["metrics"][headline]["reason"]


def test_any_number_of_attempts_may_be_the_headline():
    assert summarise(outcomes(THREE), headline="pass@3")["metrics"]["pass@3"]["value"] == pytest.approx(2 / 3)


def test_subsets_have_the_headline_and_pass_at_1():
    data = outcomes(THREE, subsets=["b", "a", None], rewards=np.where(THREE == 1, 0.5, 0.0))
    found = summarise(data, headline="mean_reward")["subsets"]
    assert list(found) == ["a", "b"]
    assert found["b"]["tasks"] == 1 and found["b"]["cases"] == 4 and found["b"]["missing"] == 0
    assert found["b"]["metrics"]["pass@1"]["value"] == 0.5
    assert found["b"]["metrics"]["mean_reward"]["value"] == 0.25


def test_clusters_widen_the_interval_and_few_are_refused():
    passed = np.repeat([[1.0], [0.0], [1.0], [1.0], [0.0], [1.0]], 10, axis=0)
    names = [str(i // 10) for i in range(60)]
    plain, clustered = (summarise(outcomes(passed, clusters=c))["metrics"]["pass@1"] for c in (None, names))
    assert clustered["se"] > 2 * plain["se"]
    assert clustered["ci95"][1] - clustered["ci95"][0] > 2 * (plain["ci95"][1] - plain["ci95"][0])
    refused = summarise(outcomes(passed[:30], clusters=names[:30]))
    assert refused["metrics"]["pass@1"]["ci95"] is None
    assert "only 3 clusters" in refused["metrics"]["pass@1"]["reason"]
    assert any("only 3 clusters" in hint for hint in refused["hints"])


# Variance and what can be detected


def test_variance_is_split_without_bias():
    random = np.random.default_rng(2)
    split = {"between_tasks": [], "within_task": []}
    for _ in range(400):
        chance = random.beta(2, 2, 40)
        found = metrics.variance_split((random.random((40, 3)) < chance[:, None]).astype(float))
        for name, values in split.items():
            values.append(found[name])
    assert np.mean(split["between_tasks"]) == pytest.approx(0.05, abs=0.004)
    assert np.mean(split["within_task"]) == pytest.approx(0.2, abs=0.004)


def test_run_sd_is_the_spread_of_runs_on_the_same_tasks():
    random = np.random.default_rng(3)
    chance = random.beta(1, 1, 50)
    runs = (random.random((3000, 50)) < chance).mean(axis=1)
    attempts = (random.random((50, 400)) < chance[:, None]).astype(float)
    assert metrics.variance_split(attempts)["run_sd"] == pytest.approx(runs.std(), rel=0.05)


def test_variance_of_worked_tasks():
    found = metrics.variance_split(rows([1, 1], [0, 1], [0, 0], [1]))
    assert found["within_task"] == pytest.approx((0 + 0.5 + 0) / 3)
    assert found["between_tasks"] == pytest.approx(0.25 - 0.5 / 2 / 3)
    assert found["run_sd"] == pytest.approx(math.sqrt(0.5 / 3 / 4))
    single = metrics.variance_split(rows([1], [0]))
    assert (single["between_tasks"], single["within_task"], single["run_sd"], single["total"]) == (None, None, None, 0.5)
    cut = metrics.variance_split(rows([1, 0], [0, 1]))
    assert (cut["between_tasks"], cut["cut"]) == (0.0, True)


def test_detectable_difference_by_its_formulas():
    single = summarise(outcomes(rows(*[[1]] * 60, *[[0]] * 40)))
    se = single["metrics"]["pass@1"]["se"]
    assert single["detectable_difference"]["unpaired"] == pytest.approx(2.80 * math.sqrt(2) * se)
    assert single["detectable_difference"]["paired"] == pytest.approx(2.80 * math.sqrt(0.10 / 100))
    repeated = summarise(outcomes(rows(*[[1, 0]] * 60, *[[0, 0]] * 40)))["detectable_difference"]
    assert repeated["paired"] == pytest.approx(2.80 * math.sqrt(2 * 0.3 / 200))
    assert "lower bound" in repeated["assumed"]
    needed = repeated["repeats"]["0.05"]
    assert 2.80 * math.sqrt(2 * 0.3 / (needed * 100)) <= 0.05 < 2.80 * math.sqrt(2 * 0.3 / ((needed - 1) * 100))


def test_macro_mean_over_fixed_strata():
    assert metrics.macro_mean([0.2, 0.8], [0.03, 0.04]) == pytest.approx((0.5, 0.025))
    assert metrics.macro_mean([0.2, 0.8], [0.03, 0.04], [3, 1]) == pytest.approx((0.35, math.hypot(0.0225, 0.01)))


def test_hints_where_repeats_cannot_vary_and_where_more_would_not_help():
    same = rows(*[[1, 1]] * 50, *[[0, 0]] * 50)
    assert any("temperature is 0" in hint for hint in summarise(outcomes(same), temperature=0.0)["hints"])
    assert any("same text" in hint for hint in summarise(outcomes(same), temperature=1.0, same_text=True)["hints"])
    assert not any("vary" in hint for hint in summarise(outcomes(same[:, :1]), temperature=0.0)["hints"])
    assert any("more repeats would not" in hint for hint in summarise(outcomes(same))["hints"])
    assert any("Fewer than ten" in hint for hint in summarise(outcomes(same[:10]))["hints"])


# Nothing, little and the same: no exception, no warning (warnings are errors here), JSON without NaN


@pytest.mark.parametrize("repeats", [1, 4])
@pytest.mark.parametrize(
    "passed",
    [np.empty((0, 1)), np.array([[1.0]]), np.array([[NAN]]), np.full((9, 1), NAN), np.zeros((9, 1)), np.ones((9, 1)), rows([1], [], [0])],
    ids=["no-task", "one-task", "one-missing", "all-missing", "all-wrong", "all-right", "mixed"],
)
@pytest.mark.parametrize("answered", [True, False])
def test_little_data_is_legal(passed, repeats, answered):
    import json

    passed = np.repeat(passed, repeats, axis=1)
    answers = np.where(np.nan_to_num(passed) > 0, 1, -1) if answered else None
    data = Outcomes(passed * 0.5, passed, answers, [f"s{i % 2}" for i in range(len(passed))], None, {"x": passed * 7})
    for headline in ("pass@1", "mean_reward", "x"):
        found = summarise(data, headline=headline, temperature=0.0)
        json.dumps(found, allow_nan=False)
        assert found["metrics"][headline]["tasks"] == int(np.sum(~np.isnan(passed[:, 0])))


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="shape"):
        Outcomes(np.zeros((2, 2)), np.zeros((2, 3)))
    with pytest.raises(ValueError, match="3 entries for 2 tasks"):
        Outcomes(np.zeros((2, 1)), np.zeros((2, 1)), None, ["a", "b", "c"])


def test_planned_repeats_that_were_not_run_are_missing():
    found = summarise(outcomes(rows([1], [0])), repeats=4)
    assert (found["repeats"], found["cases"], found["missing"]) == (4, 8, 6)
    assert found["metrics"]["pass@4"]["value"] is None


def test_a_hundred_thousand_results_are_quick():
    import time

    random = np.random.default_rng(4)
    chance = random.beta(0.6, 0.4, 3125)
    passed = (random.random((3125, 32)) < chance[:, None]).astype(float)
    answers = np.where(passed == 1, 0, random.integers(1, 6, passed.shape))
    started = time.perf_counter()
    summarise(outcomes(passed, answers))
    assert time.perf_counter() - started < 4
