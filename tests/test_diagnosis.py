"""Why a score changed: causes that add up to the change, whatever the runs are, each with its error and with tasks to look at."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_gym import intervals
from pytest_gym.benchmark import Metric
from pytest_gym.compare import compare_benchmark, compare_runs, differs
from pytest_gym.diagnosis import CAUSES
from pytest_gym.report.comparison import comparison, summary_sentence
from pytest_gym.report.layout import plain
from pytest_gym.scores import Scored
from tests.test_compare import manifest, scored, tasks

OTHER_VERIFIER = {"verifier": {"name": "v", "options": {}, "source": "new"}}


def by_name(found: dict) -> dict[str, dict]:
    return {cause["cause"]: cause for cause in found["causes"]}


@st.composite
def some_run(draw: st.DrawFn) -> Scored:
    cases = st.lists(st.sampled_from(("right", "wrong", "cut", "empty", "none", "error", "-")), min_size=2, max_size=2)
    ids = draw(st.lists(st.sampled_from("abcdefgh"), min_size=1, unique=True))
    rows = {task: draw(st.sampled_from(("one", "one", "two"))) for task in ids}
    return scored({task: draw(cases) for task in ids}, rows=rows, subsets={task: "early" if task < "d" else "late" for task in ids})


@settings(max_examples=60, deadline=None)
@given(some_run(), some_run())
def test_causes_add_up_to_the_change_of_the_scores(a, b):
    found = compare_benchmark(a, b)
    one, other = (run.summary()["metrics"]["pass@1"]["value"] for run in (a, b))
    if one is None or other is None:
        assert found["causes"] == []
        return
    assert sum(cause["change"] for cause in found["causes"]) == pytest.approx(other - one, abs=1e-12)
    assert [cause["cause"] for cause in found["causes"]] == [name for name in CAUSES if name in by_name(found)]
    for name, subset in found["subsets"].items():
        own = [run.summary()["subsets"].get(name) for run in (a, b)]
        values = [None if entry is None else entry["metrics"]["pass@1"]["value"] for entry in own]
        whole = 0.0 if None in values else values[1] - values[0]
        assert sum(cause["change"] for cause in subset["causes"]) == pytest.approx(whole, abs=1e-12)
    back = compare_benchmark(b, a)
    assert set(by_name(back)) == set(by_name(found))
    for name, cause in by_name(found).items():
        assert by_name(back)[name]["change"] == pytest.approx(-cause["change"], abs=1e-12)
        assert by_name(back)[name]["se"] == (None if cause["se"] is None else pytest.approx(cause["se"], abs=1e-12))
    shown = plain(comparison(compare_runs({"sums": a}, {"sums": b}, manifest(), manifest(), words=("a", "b"), unpaired=True)))
    assert all(len(line) <= 80 for line in shown.splitlines()) and shown.isascii()


def test_one_cause_and_two():
    a = scored(tasks(90, wrong=10))
    cut = tasks(69, cut=21, wrong=10)
    found = compare_benchmark(a, scored(cut))
    changes = by_name(found)
    assert set(changes) == {"truncated"} and changes["truncated"]["change"] == pytest.approx(-0.21)
    assert not changes["truncated"]["within_noise"] and len(changes["truncated"]["examples"]) == 2
    differences = differs(manifest(), manifest(sampling={"max_tokens": 8}))
    assert [(d["part"], d["what"], d["a"], d["b"]) for d in differences] == [("sampling", "sampling.max_tokens", 100, 8)]
    assert summary_sentence("sums", found, differences) == "-21.0 points: 21.0 from truncation at max_tokens=8"
    two = compare_benchmark(a, scored({**cut, "0095": ["none"], "0003": ["none"], "0099": ["right"]}))
    assert sum(cause["change"] for cause in two["causes"]) == pytest.approx(-0.21)
    assert summary_sentence("sums", two, []) == "-21.0 points: 21.0 from truncation, 0.0 within noise"


def test_the_error_of_a_cause_is_that_of_a_mean_over_tasks():
    found = compare_benchmark(scored(tasks(90, wrong=10)), scored(tasks(69, cut=21, wrong=10)))
    shift = np.repeat([0.0, -1.0, 0.0], [69, 21, 10])
    assert by_name(found)["truncated"]["se"] == pytest.approx(intervals.standard_error(shift))
    # Tasks that were drawn together count as one.
    clusters = [str(number // 10) for number in range(100)]
    runs = [scored(tasks(90, wrong=10)), scored(tasks(69, cut=21, wrong=10))]
    runs = [replace(run, outcomes=replace(run.outcomes, clusters=clusters)) for run in runs]
    together = by_name(compare_benchmark(*runs))["truncated"]["se"]
    assert together == pytest.approx(intervals.standard_error(shift, np.arange(100) // 10)) and together > 0.08


def test_one_task_shows_nothing_for_sure():
    found = compare_benchmark(scored(tasks(1)), scored(tasks(0, cut=1)))
    assert by_name(found)["truncated"]["se"] is None and summary_sentence("sums", found, []) == "-100.0 points: 100.0 within noise"


def test_missing_cases_are_a_cause_of_their_own():
    a, b = scored(tasks(80, wrong=20)), scored(tasks(80, error=20))
    found = compare_benchmark(a, b)
    assert found["difference"] == 0 and found["causes"][0]["cause"] == "missing"
    assert found["causes"][0]["change"] == pytest.approx(0.2) and found["causes"][0]["examples"] == ["0080", "0081"]
    assert found["bounds"] == [pytest.approx(0.0), pytest.approx(0.2)]
    # Over tasks as a sample: nothing but A's mean moves, as B is right wherever it is judged.
    assert found["causes"][0]["se"] == pytest.approx(intervals.standard_error(np.repeat([1.0, 0.0], [80, 20])))
    few = compare_benchmark(scored(tasks(40, wrong=10)), scored({**tasks(40, wrong=10), "0041": ["error"]}))
    assert by_name(few)["missing"]["within_noise"]


def test_changed_rows_are_a_cause_of_their_own():
    a = scored(tasks(80, wrong=20), rows={f"{n:04}": "old" for n in range(10)})
    table = tasks(80, wrong=20)
    table.update({f"{n:04}": ["wrong"] for n in range(10)})
    found = compare_benchmark(a, scored(table))
    assert (found["changed_rows"], found["difference"]) == (10, 0.0)
    assert [(cause["cause"], cause["change"], cause["within_noise"]) for cause in found["causes"]] == [
        ("dataset", pytest.approx(-0.1), False)
    ]


def test_graded_rewards_weigh_what_they_lose():
    metric = Metric("mean_reward", low=0.0, high=2.0, pass_threshold=1.5)
    a = scored({"x": ["2"], "y": ["1.5"], "z": ["0"]}, metric=metric)
    b = scored({"x": ["1"], "y": ["2"], "z": ["cut"]}, metric=metric)
    found = compare_benchmark(a, b)
    changes = {cause["cause"]: cause["change"] for cause in found["causes"]}
    assert changes == {"wrong": pytest.approx(0.5), "truncated": pytest.approx(-2 / 3)} and found["difference"] == pytest.approx(-1 / 6)


def test_a_reward_without_a_range_is_measured_from_the_best_there_is():
    metric = Metric("mean_reward", "lower", 0.0, math.inf, 1.0)
    a = scored({f"{n}": ["2"] for n in range(20)}, metric=metric)
    found = compare_benchmark(a, scored({f"{n}": ["5"] for n in range(20)}, metric=metric))
    assert found["causes"][0]["change"] == pytest.approx(3) and summary_sentence("sums", found, []).startswith("+3.0: 3.0 from")


def test_a_named_headline_has_causes():
    def run(loose: list[float], table: dict[str, list[str]]) -> Scored:
        made = scored(table, metric=Metric("loose"))
        return replace(made, outcomes=replace(made.outcomes, scores={"loose": np.array(loose)[:, None]}))

    a = run([1.0] * 20, tasks(20))
    found = compare_benchmark(a, run([1.0] * 10 + [0.0] * 10, tasks(10, cut=10)))
    assert (found["metric"], found["causes_of"]) == ("loose", "loose")
    assert {cause["cause"]: cause["change"] for cause in found["causes"]} == {"truncated": pytest.approx(-0.5)}


def test_what_has_no_causes_of_its_own_has_those_of_the_single_attempt():
    a = scored({f"{n}": ["right", "wrong"] for n in range(20)}, metric=Metric("pass@2"))
    b = scored({f"{n}": ["cut", "wrong"] for n in range(20)}, metric=Metric("pass@2"))
    found = compare_benchmark(a, b)
    assert (found["difference"], found["causes_of"]) == (-1.0, "pass@1")
    assert summary_sentence("sums", found, []) == "pass@1 -50.0 points: 50.0 from truncation"


def test_another_verifier_is_taken_out_first():
    a, b = (
        scored(tasks(50, wrong=50)),
        scored(tasks(70, wrong=30), subsets={f"{n:04}": "mid" if 50 <= n < 70 else "rest" for n in range(100)}),
    )
    one, other = manifest(), manifest(**OTHER_VERIFIER)

    def found(today):
        return compare_runs({"sums": a}, {"sums": b}, one, other, words=("a", "b"), today=today)["benchmarks"]["sums"]

    # By one verifier the answers are as good as each other.
    entry = found(lambda name: (a, replace(a, name=name)))
    assert [(cause["cause"], cause["change"], cause["examples"]) for cause in entry["causes"]] == [
        ("verifier", pytest.approx(0.2), ["0050", "0051"])
    ]
    assert entry["causes"][0]["se"] == pytest.approx(intervals.standard_error(np.repeat([0.0, 1.0, 0.0], [50, 20, 30])))
    assert [cause["cause"] for cause in entry["subsets"]["mid"]["causes"]] == ["verifier"]
    # By one verifier B is better, but not by as much; a verdict that there is no more today is the verifier's as well.
    b_today = scored({**tasks(60, wrong=40), "0099": ["error"]})
    entry = found(lambda name: (a, b_today))
    assert set(by_name(entry)) == {"verifier", "missing", "wrong"}
    assert sum(cause["change"] for cause in entry["causes"]) == pytest.approx(0.2)
    # Nobody is asked where the verifiers are the same, and nothing is told where they cannot be had.
    assert by_name(found(lambda name: None)).keys() == {"wrong"}
    compare_runs({"sums": a}, {"sums": b}, one, one, words=("a", "b"), today=lambda name: pytest.fail("asked"))


def test_subsets_have_causes_of_their_own():
    kinds = {f"{n:04}": "odd" if n % 2 else "even" for n in range(40)}
    a = scored(tasks(40), subsets=kinds)
    b = scored({task: ["cut" if kind == "odd" else "right"] for task, kind in kinds.items()}, subsets=kinds)
    both = compare_runs({"sums": a}, {"sums": b}, manifest(), manifest(), words=("a", "b"))
    found = both["benchmarks"]["sums"]
    assert [(cause["cause"], cause["change"]) for cause in found["subsets"]["odd"]["causes"]] == [("truncated", -1.0)]
    assert found["subsets"]["even"]["causes"] == []
    assert "  odd: -100.0 points: 100.0 from truncation\n" in plain(comparison(both))
    # A run that was killed does not know of subsets.
    found = compare_benchmark(replace(a, outcomes=replace(a.outcomes, subsets=[None] * 40)), b)
    assert found["subsets"]["odd"]["causes"][0]["change"] == -1.0


def test_repeats_alone_say_how_much_of_it_is_noise():
    random = np.random.default_rng(1)
    chance = random.random(300)

    def run() -> Scored:
        return scored({f"{n}": ["right" if random.random() < p else "wrong" for _ in range(4)] for n, p in enumerate(chance)})

    pairs = [compare_benchmark(run(), run()) for _ in range(12)]
    expected = math.sqrt(2 * float(np.mean(chance * (1 - chance))) / 4 / 300)
    assert all(found["noise_se"] == pytest.approx(expected, rel=0.15) for found in pairs)
    assert sum(abs(found["difference"]) < 1.96 * found["noise_se"] for found in pairs) >= 9
    assert compare_benchmark(scored(tasks(3)), scored(tasks(3)))["noise_se"] is None
