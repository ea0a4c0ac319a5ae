"""The outcomes of cases as arrays, and the file that keeps them: what is written is read back, a run without the file gives the same."""

from __future__ import annotations

import csv
import gzip
import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_gym.benchmark import Metric
from pytest_gym.errors import RunError
from pytest_gym.records import CaseError, Landed, Rollout, Usage, Verdict
from pytest_gym.scorefile import SCORES, read_scores, scored_run, write_scores
from pytest_gym.scores import CLASSES, Counts, Scored
from pytest_gym.stored import StoredRun
from tests.endpoint import chat

HEADER = b"benchmark,task_id,repeat,passed,reward,class,flags,error,answer,output_tokens,latency_s,row,subset,cluster\n"
LINE = b"sums,x,0,0,0,wrong,,,,5,0.1,0123456789abcdef,,\n"
WORDS = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=8)


def manifest(*names: str) -> dict[str, object]:
    entry = {"metric": {"headline": "pass@1", "direction": "higher", "range": [0.0, 1.0], "pass_threshold": 1.0}, "num_repeats": 1}
    return {"benchmarks": dict.fromkeys(names, entry), "planned": {"cases": 0, "benchmarks": {name: {"subset": "kind"} for name in names}}}


@st.composite
def some_scored(draw: st.DrawFn, name: str = "sums") -> Scored:
    tasks, repeats = draw(st.integers(1, 5)), draw(st.integers(1, 3))
    counts = Counts(tasks, repeats)
    named = draw(st.lists(WORDS, max_size=2, unique=True))
    # As a verifier does: one that extracts has an answer for whatever passes.
    extracts = draw(st.booleans())
    for position in range(tasks):
        for repeat in range(repeats):
            what = draw(st.sampled_from(("nothing", "error", "verdict", "verdict", "verdict")))
            if what == "error":
                counts.landed(position, repeat, Landed.of(0, Rollout(error=CaseError(draw(st.sampled_from(("timeout", "server"))), "x"))))
            if what == "verdict":
                finish = draw(st.sampled_from(("stop", "length", "refusal")))
                rollout = Rollout(
                    text=draw(st.sampled_from(("", "an answer"))),
                    finish_reason=finish,
                    usage=Usage(output_tokens=draw(st.none() | st.integers(0, 9_999))),
                    latency_s=draw(st.sampled_from((None, 0.25, 3.0))),
                )
                counts.landed(position, repeat, Landed.of(0, rollout))
                passed = draw(st.booleans())
                answer = draw(st.sampled_from(("1", "2"))) if extracts and (passed or draw(st.booleans())) else None
                reward = draw(st.sampled_from((0.0, 1.0, 1 / 3)))
                counts.judged(position, repeat, Verdict(reward, passed, answer, scores={key: draw(st.floats(-9, 9)) for key in named}))
    ids = draw(st.lists(WORDS, min_size=tasks, max_size=tasks, unique=True))
    groups = st.lists(st.sampled_from(("odd", "even", 'a, "b"\nc')) | st.none(), min_size=tasks, max_size=tasks)
    return counts.scored(
        name, Metric(), task_ids=ids, rows=["ab" * 8] * tasks, subsets=draw(groups), clusters=draw(groups), subset_field="kind"
    )  # fmt: skip


def assert_same(one: Scored, other: Scored) -> None:
    assert (one.name, one.metric, one.task_ids, one.rows, one.subset_field) == (
        other.name, other.metric, other.task_ids, other.rows, other.subset_field,
    )  # fmt: skip
    assert one.errors == other.errors and one.missing == other.missing and one.left_out == other.left_out
    a, b = one.outcomes, other.outcomes
    assert (list(a.subsets), a.clusters and list(a.clusters)) == (list(b.subsets), b.clusters and list(b.clusters))
    for left, right in ((a.passed, b.passed), (a.rewards, b.rewards), (one.classes, other.classes), (one.tokens, other.tokens)):
        np.testing.assert_array_equal(left, right)
    np.testing.assert_allclose(one.latency, other.latency, atol=1e-4)
    assert one.rates() == other.rates() and one.summary() == other.summary()


@settings(max_examples=60, deadline=None)
@given(some_scored("sums"), some_scored("more/sums"))
def test_what_is_written_is_read_back(tmp_path_factory, one, other):
    path = tmp_path_factory.mktemp("scores") / SCORES
    write_scores(path, [one, other])
    found = read_scores(path, manifest("sums", "more/sums"))
    assert list(found) == ["sums", "more/sums"]
    assert_same(found["sums"], one)
    assert_same(found["more/sums"], other)


@settings(max_examples=60, deadline=None)
@given(some_scored())
def test_every_case_has_one_class_and_right_is_what_passed(scored):
    passed, classes = scored.outcomes.passed, scored.classes
    assert classes.max() < len(CLASSES)
    np.testing.assert_array_equal(classes == CLASSES.index("right"), passed == 1)
    np.testing.assert_array_equal(classes == CLASSES.index("missing"), np.isnan(passed))
    assert scored.missing == scored.left_out + sum(scored.error_counts.values())


def test_quotes_anywhere_in_a_large_file(tmp_path):
    # From the first quote on the file is read in another way.
    rng = np.random.default_rng(1)
    tasks = 3_000
    counts = Counts(tasks, 1)
    for position in range(tasks):
        counts.judged(position, 0, Verdict(float(rng.random()), False, scores={"x": float(position)}))
    for quoted in (None, 0, 1_500, tasks - 1):
        ids = [f"task,{n}" if n == quoted else f"task {n}" for n in range(tasks)]
        groups = [f"kind {n % 7}" for n in range(tasks)]
        one = counts.scored("s", Metric(), task_ids=ids, rows=[""] * tasks, subsets=groups, clusters=[None] * tasks, subset_field="kind")
        write_scores(tmp_path / SCORES, [one])
        assert_same(read_scores(tmp_path / SCORES, manifest("s"))["s"], one)


def test_equal_outcomes_make_equal_files(tmp_path):
    counts = Counts(1, 1)
    counts.judged(0, 0, Verdict(0.5, False))
    scored = counts.scored("a", Metric(), task_ids=["0"], rows=[""], subsets=[None], clusters=[None], subset_field=None)
    for name in ("x.csv.gz", "y.csv.gz"):
        write_scores(tmp_path / name, [scored])
    assert (tmp_path / "x.csv.gz").read_bytes() == (tmp_path / "y.csv.gz").read_bytes()


def test_a_run_and_its_file_say_the_same(gym, endpoint):
    gym.write(rows=6, wrong=(1,), repeats=2)

    def script(body, number):
        content = body["messages"][-1]["content"]
        left = int(re.findall(r"\d+", content)[0])
        return (400, b'{"error": {"message": "no"}}') if left == 3 else chat(f"It is {left + 1}", finish="length" if left == 1 else "stop")

    gym.run(url=endpoint(script).url)
    with gzip.open(gym.path / "run" / SCORES, "rt", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["class"] for row in rows] == ["right"] * 2 + ["truncated"] * 2 + ["right"] * 2 + ["missing"] * 2 + ["right"] * 4
    assert [row["error"] for row in rows[6:8]] == ["bad_request"] * 2
    assert {row["subset"] for row in rows} == {"even", "odd"} and all(len(row["row"]) == 16 for row in rows)
    run = StoredRun(gym.path / "run", "run")
    from_file = scored_run(run)["sums"]
    entry = gym.summary()["benchmarks"]["sums"]
    again = from_file.summary(temperature=0.5)
    assert {key: again[key] for key in again if key != "hints"} == {key: entry[key] for key in again if key != "hints"}
    (gym.path / "run" / SCORES).unlink()
    without = scored_run(run)["sums"]
    assert without.summary()["metrics"] == from_file.summary()["metrics"] and without.error_counts == {"bad_request": 2}


def test_a_killed_run_has_its_planned_tasks(gym, endpoint):
    gym.write(rows=4)
    gym.run("-k", "0000", url=endpoint(lambda body, number: chat("It is 1")).url)
    scored = scored_run(StoredRun(gym.path / "run", "run"))["sums"]
    assert (scored.tasks, scored.missing, scored.left_out) == (4, 3, 3)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"not gzip", "cannot be read"),
        (gzip.compress(b"benchmark,task_id\n"), "has no column 'repeat'"),
        (gzip.compress(b"x" * 100)[:-12], "cannot be read"),
        (gzip.compress(HEADER + LINE + LINE.replace(b",x,", b",x,,")), "3 lines have 43 cells, not 14 each"),
        (gzip.compress(HEADER + LINE + LINE[:-1]), "the last line is not whole"),
        (gzip.compress(HEADER + LINE.replace(b"wrong", b"wronk")), "'wronk' is no class"),
        (gzip.compress(HEADER + LINE + b'"' + LINE), "cannot be read"),
        (gzip.compress(HEADER + LINE.replace(b"sums", b"\xff")), "cannot be read"),
    ],
    ids=["no gzip", "no columns", "cut", "ragged", "torn", "class", "quote", "utf-8"],
)
def test_a_broken_file_is_one_sentence(tmp_path, content, said):
    (tmp_path / SCORES).write_bytes(content)
    with pytest.raises(RunError, match=said):
        read_scores(tmp_path / SCORES, manifest("sums"))


def test_a_wrong_number_in_the_file_names_the_line(tmp_path):
    counts = Counts(1, 1)
    counts.judged(0, 0, Verdict(0.5, False))
    write_scores(
        tmp_path / SCORES,
        [counts.scored("sums", Metric(), task_ids=["0"], rows=[""], subsets=[None], clusters=[None], subset_field=None)],
    )
    text = gzip.decompress((tmp_path / SCORES).read_bytes()).replace(b",0.5,", b",half,")
    (tmp_path / SCORES).write_bytes(gzip.compress(text))
    with pytest.raises(RunError, match=r"after line 1: cannot be read: .*half"):
        read_scores(tmp_path / SCORES, manifest("sums"))


def test_counts_grow_with_the_cases():
    counts = Counts()
    counts.judged(7, 2, Verdict(1.0, True, scores={"x": 2.0}))
    assert counts.passed.shape[0] >= 8 and counts.passed.shape[1] == 3
    scored = counts.scored(
        "a", Metric(), task_ids=list("abcdefghij"), rows=[""] * 10, subsets=[None] * 10, clusters=[None] * 10, subset_field=None
    )
    assert scored.tasks == 10 and scored.outcomes.scores["x"][7, 2] == 2.0 and math.isnan(scored.outcomes.passed[9, 2])
