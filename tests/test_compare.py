"""Comparing two runs: which tasks are pairs, and causes of a change that add up to it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_gym.benchmark import Metric
from pytest_gym.compare import compare_benchmark, compare_runs, differs, match
from pytest_gym.diagnosis import CAUSES, with_verifier
from pytest_gym.errors import ConfigError
from pytest_gym.records import CaseError, Landed, Rollout, Verdict
from pytest_gym.report.comparison import comparison, summary_sentence
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
    assert found["bounds"][0] == pytest.approx(-0.98) and found["bounds"][1] == pytest.approx(0.98)
    assert found["ci95"][1] > 0.2


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


@st.composite
def some_run(draw: st.DrawFn) -> Scored:
    cases = st.lists(st.sampled_from(("right", "wrong", "cut", "empty", "none", "error", "-")), min_size=2, max_size=2)
    ids = draw(st.lists(st.sampled_from("abcdefgh"), min_size=1, unique=True))
    return scored({task: draw(cases) for task in ids}, rows={task: draw(st.sampled_from(("one", "one", "two"))) for task in ids})


@settings(max_examples=50, deadline=None)
@given(some_run(), some_run())
def test_causes_add_up_to_the_change_of_the_scores(a, b):
    found = compare_benchmark(a, b)
    one, other = (run.summary()["metrics"]["pass@1"]["value"] for run in (a, b))
    if one is None or other is None:
        assert found["causes"] == []
        return
    assert sum(cause["change"] for cause in found["causes"]) == pytest.approx(other - one, abs=1e-12)
    assert {cause["cause"] for cause in found["causes"]} <= set(CAUSES)
    back = compare_benchmark(b, a)
    if found["difference"] is not None:
        assert back["difference"] == pytest.approx(-found["difference"])
        assert (back["improved"] and set(back["improved"]) == set(found["regressed"])) or not found["regressed"]
    if found["bounds"] and found["difference"] is not None and not found["only_a"] + found["only_b"] + found["changed_rows"]:
        assert found["bounds"][0] - 1e-9 <= found["bounds"][1]
    shown = plain(comparison(compare_runs({"sums": a}, {"sums": b}, manifest(), manifest(), words=("a", "b"), unpaired=True)))
    assert all(len(line) <= 80 for line in shown.splitlines()) and shown.isascii()


def test_one_cause_and_two():
    a = scored(tasks(90, wrong=10))
    cut = tasks(69, cut=21, wrong=10)
    found = compare_benchmark(a, scored(cut))
    changes = {cause["cause"]: cause for cause in found["causes"]}
    assert set(changes) == {"truncated"} and changes["truncated"]["change"] == pytest.approx(-0.21)
    assert not changes["truncated"]["within_noise"] and len(changes["truncated"]["examples"]) == 2
    differences = differs(manifest(), manifest(sampling={"max_tokens": 8}))
    assert [(d["part"], d["what"], d["a"], d["b"]) for d in differences] == [("sampling", "sampling.max_tokens", 100, 8)]
    assert summary_sentence("sums", found, differences) == "-21.0 points: 21.0 from truncation at max_tokens=8"
    two = compare_benchmark(a, scored({**cut, "0095": ["none"], "0003": ["none"], "0099": ["right"]}))
    assert sum(cause["change"] for cause in two["causes"]) == pytest.approx(-0.21)
    assert summary_sentence("sums", two, []) == "-21.0 points: 21.0 from truncation, 0.0 within noise"


def test_missing_cases_are_a_cause_of_their_own():
    a, b = scored(tasks(80, wrong=20)), scored(tasks(80, error=20))
    found = compare_benchmark(a, b)
    assert found["difference"] == 0 and found["causes"][0]["cause"] == "missing"
    assert found["causes"][0]["change"] == pytest.approx(0.2) and found["causes"][0]["examples"] == ["0080", "0081"]
    assert found["bounds"] == [pytest.approx(0.0), pytest.approx(0.2)]


def test_changed_rows_are_a_cause_of_their_own():
    a = scored(tasks(80, wrong=20), rows={f"{n:04}": "old" for n in range(10)})
    table = tasks(80, wrong=20)
    table.update({f"{n:04}": ["wrong"] for n in range(10)})
    found = compare_benchmark(a, scored(table))
    assert (found["changed_rows"], found["difference"]) == (10, 0.0)
    assert [(cause["cause"], cause["change"]) for cause in found["causes"]] == [("dataset", pytest.approx(-0.1))]


def test_graded_rewards_weigh_what_they_lose():
    metric = Metric("mean_reward", low=0.0, high=2.0, pass_threshold=1.5)
    a = scored({"x": ["2"], "y": ["1.5"], "z": ["0"]}, metric=metric)
    b = scored({"x": ["1"], "y": ["2"], "z": ["cut"]}, metric=metric)
    found = compare_benchmark(a, b)
    changes = {cause["cause"]: cause["change"] for cause in found["causes"]}
    assert changes == {"wrong": pytest.approx(0.5), "truncated": pytest.approx(-2 / 3)} and found["difference"] == pytest.approx(-1 / 6)


def test_another_verifier_is_taken_out_first():
    a, b = scored(tasks(50, wrong=50)), scored(tasks(70, wrong=30))
    today = compare_benchmark(a, a)
    causes = with_verifier(compare_benchmark(a, b), {**today, "causes": today["causes"]})
    assert [(cause["cause"], cause["change"]) for cause in causes] == [("verifier", pytest.approx(0.2))]


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
