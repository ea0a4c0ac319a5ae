"""Merging runs: which of several results counts, held against the plain rule, and what cannot be read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_gym import merge
from pytest_gym.dataset import Dataset
from pytest_gym.errors import RunError
from pytest_gym.journal import Journal
from pytest_gym.merge import Merge
from pytest_gym.plan import Plan
from pytest_gym.records import CaseError, Message, Result, Rollout, Usage, Verdict
from pytest_gym.stored import StoredRun

from .samples import make_benchmark

TASKS, REPEATS = 4, 2
CASES = TASKS * REPEATS


@pytest.fixture(scope="module")
def plan(tmp_path_factory) -> Plan:
    path = tmp_path_factory.mktemp("data") / "rows.jsonl"
    path.write_text("".join(json.dumps({"question": str(n)}) + "\n" for n in range(TASKS)))
    made, benchmark = Plan(), make_benchmark()
    made.add(benchmark, Dataset.open(path, benchmark), repeats=REPEATS, limit=None, index=Path())
    return made


def outcome_of(word: str) -> Verdict | CaseError:
    return CaseError("server", "status 500") if word == "error" else Verdict(float(word == "right"), word == "right", word)


def rollout(text: str, word: str) -> Rollout:
    messages, outcome = (Message("user", "?"), Message("assistant", text)), outcome_of(word)
    error = outcome if isinstance(outcome, CaseError) else None
    return Rollout(messages, text, usage=Usage(3, 2, None, 1), latency_s=0.5, attempts=1, error=error)


def stored(folder: Path, plan: Plan, words: dict[int, str], *, finished: bool = True) -> StoredRun:
    """A run in which case n came to `words[n]`: right, wrong, error, or (unfinished ones only) unjudged."""
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps({"schema": 1, "benchmarks": {}}))
    if finished:
        with (folder / "rollouts.jsonl").open("w") as out:
            for case, word in words.items():
                key, outcome = plan.key(case), outcome_of(word)
                verdict, error = (outcome, None) if isinstance(outcome, Verdict) else (None, outcome)
                made = rollout(f"{folder.name} {case}", word)
                result = Result(key.benchmark, key.task_id, case // REPEATS, key.repeat, verdict, error, made)
                out.write(json.dumps(result.to_json()) + "\n")
    else:
        journal = Journal(folder / "journal", plan)
        for case, word in words.items():
            journal.add_rollout(case, rollout(f"{folder.name} {case}", word))
            if word != "unjudged":
                journal.add_outcome(case, outcome_of(word))
        journal.close(remove=False)
    return StoredRun(folder, folder.name)


def merged(plan: Plan, runs: list[StoredRun], folder: Path) -> tuple[Merge, list[dict[str, Any]], dict[int, Any]]:
    folder.mkdir()
    found, seen = Merge(plan, folder), {}
    try:
        for run in runs:
            found.read(run)
        found.write(folder / "rollouts.jsonl", lambda case, rollout, outcome: seen.update({case: (rollout, outcome)}))
    finally:
        found.close()
    assert [path.name for path in folder.iterdir()] == ["rollouts.jsonl"]
    return found, [json.loads(line) for line in (folder / "rollouts.jsonl").read_text().splitlines()], seen


RUN = st.tuples(st.booleans(), st.dictionaries(st.integers(0, CASES - 1), st.sampled_from(["right", "wrong", "error"])))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(RUN, min_size=1, max_size=5))
def test_the_best_result_counts(plan, tmp_path_factory, runs):
    folder = tmp_path_factory.mktemp("merge")
    stored_runs = [stored(folder / f"run{n}", plan, words, finished=finished) for n, (finished, words) in enumerate(runs)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(merge, "_MOST_OPEN", 2)
        found, lines, seen = merged(plan, stored_runs, folder / "all")
    expected = {}
    for case in range(CASES):
        have = [(words[case], n) for n, (_, words) in enumerate(runs) if case in words]
        judged = [pair for pair in have if pair[0] != "error"]
        if have:
            expected[case] = (judged or have)[0]
    assert [(line["text"], line["_ng_task_index"]) for line in lines] == [
        (f"run{n} {case}", case // REPEATS) for case, (_, n) in sorted(expected.items())
    ]
    assert {case: outcome for case, (_, outcome) in seen.items()} == {case: outcome_of(word) for case, (word, _) in expected.items()}
    assert all(landed.usage == Usage(3, 2, None, 1) and landed.messages == () for landed, _ in seen.values())
    several = [case for case in range(CASES) if sum(case in words for _, words in runs) > 1]
    differing = [case for case in several if len({words[case] for _, words in runs if words.get(case, "error") != "error"}) > 1]
    assert (found.cases, found.duplicates, found.disagreements) == (len(expected), len(several), len(differing))
    used = [sum(n == number for _, n in expected.values()) for number in range(len(runs))]
    assert [(share.results, share.used) for share in found.shares] == [
        (len(words), use) for (_, words), use in zip(runs, used, strict=True)
    ]


def test_lines_are_copied_as_they_are(plan, tmp_path):
    run = stored(tmp_path / "one", plan, {3: "right"})
    path = tmp_path / "one" / "rollouts.jsonl"
    line = path.read_text().rstrip("\n")[:-1] + ', "from_a_later_version": [1,2]}\n'
    path.write_text(line)
    merged(plan, [run], tmp_path / "all")
    assert (tmp_path / "all" / "rollouts.jsonl").read_text() == line


def test_what_cannot_be_used_is_counted(plan, tmp_path):
    run = stored(tmp_path / "one", plan, {0: "right"})
    good = json.loads((tmp_path / "one" / "rollouts.jsonl").read_text())
    bad = [
        {**good, "benchmark": "other"},
        {**good, "task_id": "nine"},
        {**good, "repeat": REPEATS},
        {**good, "task_id": 7},
        {**good, "repeat": 1, "reward": "1"},
        {**good, "repeat": 1, "reward": True},
        {**good, "repeat": 1, "reward": None, "error": {"kind": "server"}},
        {**good, "repeat": 1, "scores": [1]},
        {**good, "repeat": 1, "reward": None},
    ]
    with (tmp_path / "one" / "rollouts.jsonl").open("a") as out:
        out.writelines(json.dumps(line) + "\n" for line in bad)
        out.write('[1]\n\n{"benchmark": "bench", "task_id": "0001"')
    found, lines, _ = merged(plan, [run], tmp_path / "all")
    assert [line["task_id"] for line in lines] == ["0000"]
    share = found.shares[0]
    assert (share.results, share.used, share.foreign, share.broken) == (1, 1, 4, 7)


def test_unjudged_answers_and_runs_without_results(plan, tmp_path):
    killed = stored(tmp_path / "killed", plan, {0: "unjudged", 1: "right", 2: "unjudged"}, finished=False)
    empty = stored(tmp_path / "empty", plan, {})
    (tmp_path / "empty" / "rollouts.jsonl").unlink()
    found, lines, _ = merged(plan, [empty, killed], tmp_path / "all")
    assert [line["text"] for line in lines] == ["killed 1"]
    assert [(share.results, share.unjudged) for share in found.shares] == [(0, 0), (1, 2)]


def test_a_case_that_was_never_asked_has_no_rollout(plan, tmp_path):
    run = stored(tmp_path / "one", plan, {0: "right"}, finished=False)
    journal = Journal(tmp_path / "one" / "journal", plan)
    journal.add_outcome(4, CaseError("fixture", "setup failed"))
    journal.close(remove=False)
    _, lines, seen = merged(plan, [run], tmp_path / "all")
    assert [(line["task_id"], line["finish_reason"], line["error"]) for line in lines] == [
        ("0000", "stop", None),
        ("0002", None, {"kind": "fixture", "message": "setup failed"}),
    ]
    assert seen[4][0].attempts == 0


def test_a_run_that_changes_meanwhile_is_refused(plan, tmp_path):
    run = stored(tmp_path / "one", plan, {0: "right", 1: "wrong"})
    (tmp_path / "all").mkdir()
    found = Merge(plan, tmp_path / "all")
    found.read(run)
    path = tmp_path / "one" / "rollouts.jsonl"
    path.write_text("  " + path.read_text())
    with pytest.raises(RunError, match=r"rollouts\.jsonl: the line at byte 0 is no result, or the run changes while it is read"):
        found.write(tmp_path / "all" / "rollouts.jsonl", lambda *_: None)
    found.close()
    assert list((tmp_path / "all").iterdir()) == []


def test_a_full_disk_is_said(plan, tmp_path):
    run = stored(tmp_path / "one", plan, {0: "right"})
    found = Merge(plan, tmp_path)
    found.read(run)
    with pytest.raises(RunError, match=r"rollouts\.jsonl cannot be written: No such file or directory"):
        found.write(tmp_path / "gone" / "rollouts.jsonl", lambda *_: None)
    found.close()
