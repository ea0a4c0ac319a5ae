"""Comparing two runs: which tasks are pairs, what is missing, and the difference of each metric. Why there is one: test_diagnosis.py."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pytest_gym.benchmark import Metric
from pytest_gym.compare import compare_benchmark, compare_runs, match, paired_values
from pytest_gym.errors import ConfigError
from pytest_gym.records import CaseError, Landed, Rollout, Verdict
from pytest_gym.report.comparison import comparison
from pytest_gym.report.layout import plain
from pytest_gym.scores import Counts, Scored
from tests.simulations.paired_tests import ALPHAS, p_values

ENTRY = {
    "metric": {"headline": "pass@1", "direction": "higher", "range": [0.0, 1.0], "pass_threshold": 1.0},
    "num_repeats": 1,
    "sampling": {"max_tokens": 100},
}


def manifest(model: str = "m", **entry: object) -> dict[str, object]:
    return {"model": {"name": model, "base_url": "x", "api": "chat", "reported": None}, "benchmarks": {"sums": {**ENTRY, **entry}}}


def scored(
    table: dict[str, list[str]],
    *,
    rows: dict[str, str] | None = None,
    metric: Metric = Metric(),  # noqa: B008 (frozen)
    subsets: dict[str, str] | None = None,
    name: str = "sums",
) -> Scored:
    """A run: for each task what its repeats are, `right`, `wrong`, `cut`, `empty`, `none` (not extracted), `error`, `-`, or a reward."""
    repeats = max(map(len, table.values()))
    counts = Counts(len(table), repeats)
    for position, cases in enumerate(table.values()):
        for repeat, what in enumerate(cases):
            if what == "-":
                continue
            if what == "error":
                counts.landed(position, repeat, Landed.of(0, Rollout(error=CaseError("timeout", "x"))))
                continue
            reward = float(what == "right") if what in ("right", "wrong", "cut", "empty", "none") else float(what)
            finish = "length" if what == "cut" else "stop"
            counts.landed(position, repeat, Landed.of(0, Rollout(text="" if what == "empty" else "text", finish_reason=finish)))
            extracted = None if what in ("cut", "empty", "none") else what
            counts.judged(position, repeat, Verdict(reward, reward >= metric.pass_threshold, extracted))
    ids = list(table)
    return counts.scored(
        name,
        metric,
        task_ids=ids,
        rows=[(rows or {}).get(task, "same") for task in ids],
        subsets=[(subsets or {}).get(task) for task in ids],
        clusters=[None] * len(ids),
        subset_field="kind",
    )


def tasks(right: int, **others: int) -> dict[str, list[str]]:
    cases = ["right"] * right + [what for what, count in others.items() for _ in range(count)]
    return {f"{number:04}": [what] for number, what in enumerate(cases)}


def test_tasks_are_matched_by_id_and_row_and_never_by_position():
    a = scored({"x": ["right"], "y": ["right"], "z": ["wrong"]}, rows={"y": "old"})
    b = scored({"z": ["right"], "y": ["right"], "w": ["right"], "": ["-"]}, rows={"y": "new"})
    pairs = match(a, b)
    assert (pairs.a.tolist(), pairs.b.tolist(), pairs.changed) == ([2], [0], [(1, 1)])
    assert (pairs.only_a.tolist(), pairs.only_b.tolist()) == ([0], [2, 3])
    found = compare_benchmark(a, b)
    assert (found["difference"], found["pairs"], found["planned"], found["improved"]) == (1.0, 1, 5, ["z"])


def test_a_run_that_lost_its_problems_has_bounds():
    # 490 of 500 problems vanished, and ten easy ones are left.
    a, b = scored(tasks(300, wrong=200)), scored(tasks(10))
    found = compare_benchmark(a, b)
    assert (found["pairs"], found["only_a"], found["difference"]) == (10, 490, 0.0)
    # Of those that are gone A passed 290 and failed 200.
    assert found["bounds"] == [pytest.approx(-0.58), pytest.approx(0.4)] and found["ci95"][1] > 0.2


@settings(max_examples=40, deadline=None)
@given(
    *[st.dictionaries(st.sampled_from("abcd"), st.sampled_from(("right", "wrong", "error")), min_size=1)] * 2,
    st.sampled_from(("higher", "lower")),
)
def test_bounds_are_the_least_and_the_most_that_can_be(a, b, direction):
    metric = Metric("mean_reward", direction)
    found = compare_benchmark(*(scored({task: [case] for task, case in run.items()}, metric=metric) for run in (a, b)))
    every = sorted({*a, *b})
    known = {"right": (1.0,), "wrong": (0.0,), "error": (0.0, 1.0)}
    ends = [[known[run.get(task, "error")] for task in every] for run in (a, b)]
    means = [[np.mean(values) for values in itertools.product(*side)] for side in ends]
    possible = [other - one for one in means[0] for other in means[1]]
    if "error" in (*a.values(), *b.values()) or set(a) != set(b):
        assert found["bounds"] == [pytest.approx(min(possible)), pytest.approx(max(possible))]
    else:
        assert found["bounds"] is None


def test_nothing_is_known_of_a_row_that_has_changed():
    a, b = scored({"x": ["right"], "y": ["right"]}, rows={"x": "old"}), scored({"x": ["right"], "y": ["wrong"]})
    assert compare_benchmark(a, b)["bounds"] == [-1.0, 0.0]


def test_rounding_makes_no_difference():
    # The same rewards in another order add up to something else in the last digit, and 0.3 - 0.2 is not 0.2 - 0.1.
    metric = Metric("mean_reward")
    a = scored({f"{n}": ["0.1", "0.2", "0.3"] for n in range(30)}, metric=metric)
    b = scored({f"{n}": ["0.3", "0.2", "0.1"] for n in range(30)}, metric=metric)
    found = compare_benchmark(a, b)
    assert (found["difference"], found["p_value"], found["improved"], found["regressed"], found["causes"]) == (0.0, 1.0, [], [], [])
    values, _, _ = paired_values(a, b, "mean_reward")
    assert not values.any()
    a = scored({f"{n}": [f"0.{1 + n % 3}"] for n in range(30)}, metric=metric)
    b = scored({f"{n}": [f"0.{2 + n % 3}"] for n in range(30)}, metric=metric)
    found = compare_benchmark(a, b)
    assert found["method"] == "all_equal" and found["ci95"][1] - found["ci95"][0] == pytest.approx(2 * 3.689 / 30, abs=1e-3)


def test_runs_with_other_ranges_share_what_counts_passes():
    a = scored(tasks(5, wrong=5), metric=Metric("mean_reward"))
    b = scored({f"{n:04}": ["10" if n < 6 else "0"] for n in range(10)}, metric=Metric("mean_reward", high=10.0, pass_threshold=5.0))
    found = compare_benchmark(a, b)
    assert found["difference"] is None and found["reason"] == "the rewards have another range in A than in B, and mean_reward depends on it"
    assert list(found["metrics"]) == ["pass@1"] and found["metrics"]["pass@1"]["difference"] == pytest.approx(0.1)
    # Passes are 0 and 1 whatever rewards are: one verdict a side is McNemar's.
    assert compare_benchmark(replace(a, metric=b.metric), b, key="pass@1")["test"] == "mcnemar"
    shown = plain(comparison(compare_runs({"sums": a}, {"sums": b}, manifest(), manifest(), words=("a", "b"))))
    assert "difference        none: the rewards have another range" in shown


def test_a_headline_that_one_run_cannot_have_is_one_sentence():
    a = scored(tasks(5, wrong=5))
    b = scored({task: cases * 4 for task, cases in tasks(6, wrong=4).items()}, metric=Metric("pass@4"))
    both = compare_runs({"sums": a}, {"sums": b}, manifest(), manifest(), words=("a", "b"))
    assert both["benchmarks"]["sums"]["reason"] == "no task has a value of pass@4 on both sides"
    shown = plain(comparison(both))
    assert "difference        none: no task has a value of pass@4" in shown and "\n  mean_reward  0.500  0.600" in shown


def test_what_no_difference_could_show_is_not_called_detectable():
    found = compare_runs({"sums": scored(tasks(1))}, {"sums": scored(tasks(0, wrong=1))}, manifest(), manifest(), words=("a", "b"))
    assert found["benchmarks"]["sums"]["detectable_difference"] is None
    assert "could have seen   nothing: for so few tasks no difference is large enough" in plain(comparison(found))


def test_a_metric_without_a_range_is_in_its_own_unit():
    metric = Metric("mean_reward", "lower", 0.0, math.inf, 1.0)
    a, b = (scored({f"{n}": [str(n % 5 * more)] for n in range(40)}, metric=metric) for more in (1, 2))
    shown = plain(comparison(compare_runs({"sums": a}, {"sums": b}, manifest(), manifest(), words=("a", "b"))))
    assert "B - A             +2.0  [+1." in shown and "lower is better" in shown and "points" not in shown


def test_all_right_on_both_sides_is_not_a_point():
    found = compare_benchmark(scored(tasks(10)), scored(tasks(10)))
    assert found["difference"] == 0 and found["p_value"] == 1.0
    assert found["ci95"] == [pytest.approx(-0.278, abs=1e-3), pytest.approx(0.278, abs=1e-3)]


def test_one_verdict_a_side_is_mcnemar_and_repeats_are_permuted():
    a, b = scored(tasks(50, wrong=50)), scored(tasks(60, wrong=40))
    found = compare_benchmark(a, b)
    assert (found["test"], found["method"], found["p_value"]) == ("mcnemar", "tango", pytest.approx(2 / 2**10))
    twice = {task: cases * 2 for task, cases in tasks(60, wrong=40).items()}
    assert compare_benchmark(a, scored(twice))["test"] == "permutation"


def test_tasks_that_surely_moved_come_first():
    a = scored({"sure": ["wrong"] * 8, "less": ["wrong"] * 4 + ["right"] * 4, "bad": ["right"] * 8})
    b = scored({"sure": ["right"] * 8, "less": ["wrong"] * 3 + ["right"] * 5, "bad": ["wrong"] * 8})
    found = compare_benchmark(a, b)
    assert (found["improved"], found["regressed"]) == (["sure", "less"], ["bad"])
    lower = Metric("mean_reward", "lower")
    found = compare_benchmark(scored({"x": ["1"]}, metric=lower), scored({"x": ["0"]}, metric=lower))
    assert (found["improved"], found["regressed"]) == (["x"], [])


def test_subsets_are_compared_each():
    kinds = {f"{n:04}": "odd" if n % 2 else "even" for n in range(40)}
    found = compare_benchmark(
        scored(tasks(40), subsets=kinds),
        scored({k: ["wrong" if k in kinds and kinds[k] == "odd" else "right"] for k in kinds}, subsets=kinds),
    )
    assert found["subsets"]["odd"]["difference"] == -1 and found["subsets"]["even"]["difference"] == 0


def test_what_cannot_be_compared_is_one_sentence():
    a, b = {"sums": scored(tasks(3))}, {"sums": scored({"other": ["right"]})}
    with pytest.raises(ConfigError, match="no benchmark in common: sums there, none here"):
        compare_runs(a, {}, manifest(), manifest(), words=("a", "b"))
    with pytest.raises(ConfigError, match=r"sums: the runs have no task in common \(tasks in a: 3, in b: 1; 0 .*compare.unpaired"):
        compare_runs(a, b, manifest(), manifest(), words=("a", "b"))
    found = compare_runs(a, b, manifest(), manifest(), words=("a", "b"), unpaired=True)
    assert found["benchmarks"]["sums"]["test"] == "welch" and "not paired" in plain(comparison(found))


@pytest.mark.parametrize(
    "table", [{"x": ["right"]}, {"x": ["error"]}, {"x": ["-"]}, {"x": ["right"] * 3}, {"x": ["right"], "y": ["right"]}], ids=str
)
def test_any_run_compares_with_itself(table):
    run = scored(table)
    found = compare_benchmark(run, run)
    assert found["difference"] in (0.0, None) and found["improved"] == found["regressed"] == []
    assert found["p_value"] in (1.0, None) and found["causes"] == []
    both = compare_runs({"sums": run}, {"sums": run}, manifest(), manifest(), words=("a", "a"))
    assert both["differs"] == [] and "differs: nothing" in plain(comparison(both))


def test_several_benchmarks_are_corrected_for_their_number():
    a = {name: scored(tasks(50, wrong=50), name=name) for name in ("sums", "more")}
    b = {"sums": scored(tasks(56, wrong=44)), "more": scored(tasks(50, wrong=50), name="more")}
    one = {**manifest(), "benchmarks": {"sums": ENTRY, "more": ENTRY}}
    found = compare_runs(a, b, one, one, words=("a", "b"))
    assert found["benchmarks"]["sums"]["p_holm"] == pytest.approx(2 * found["benchmarks"]["sums"]["p_value"])
    assert "p (Holm)" in plain(comparison(found))


@pytest.mark.parametrize(("size", "repeats", "kind"), [(30, 1, "binary"), (60, 4, "repeats"), (30, 1, "graded"), (80, 1, "clusters")])
def test_runs_that_differ_by_chance_alone_seldom_differ(size, repeats, kind):
    runs = 400
    values, held = p_values(size, repeats, kind, runs)
    for alpha in ALPHAS:
        assert np.mean(values <= alpha) <= alpha + 3 * math.sqrt(alpha * (1 - alpha) / runs)
    assert held >= 0.91
    if kind == "graded":
        # Graded rewards hardly tie, so that their p-values are spread evenly; the others keep below.
        assert stats.kstest(values, "uniform").pvalue > 0.01
