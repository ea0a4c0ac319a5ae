"""hotpotqa_qa: normalisation, the four scores, and where the answer stands in the text."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_gym import DataError
from pytest_gym.testing import judge, make_rollout, make_task, verifier_cases
from pytest_gym.verify import load_module, load_verifier
from tests.conftest import sources

PATH = Path(__file__).parents[2] / "verifiers/hotpotqa_qa.py"
VERIFIER = load_verifier("hotpotqa_qa", PATH)
MODULE = load_module(PATH, "verifier")


def row(expected):
    return {"expected_answer": expected}


test_standard = verifier_cases(
    "verifiers/hotpotqa_qa.py",
    full=[
        (row("the Danube"), '{"answer": "Danube"}'),
        (row("the Danube"), 'Rivers {long}: {"answer": "x"}\n```json\n{"answer": "THE DANUBE!"}\n```'),
        (row("no"), "No."),
        (row('The "Big" Sea'), '{"answer": "big sea"}'),
    ],
    zero=[
        (row("the Danube"), '{"answer": "the river Danube"}'),
        (row("the Danube"), '{"answer": "Danube"} {"answer": "Rhine"}'),
        (row("no"), "No, they were not."),
        (row("yes"), '{"answer": true}'),
        (row("!!!"), ""),
    ],
    malformed=[
        (row("a"), text) for text in ('{"answer":' * 1000, '{"answer": [' * 300 + "1," * 3000, '{"answer": "\\ud800"}', '{"answer": null}')
    ],
)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ('{"answer": "a", "support": {"answer": "b"}}', "a"),
        ('{"support": {"answer": "b"}}', None),
        ('{"answer": "a } {"}', "a } {"),
        ('{x {"answer": "a"}', "a"),
        ('{"answer": "a"} {"note": 1}', "a"),
        ('{"answer": "a"} {"answer": ', "a"),
        ('{"answer": ["a", 1]}', "['a', 1]"),
        ('```json\n{"answer": "a"}\n``` or {"answer": "b"}', "b"),
        ("Paris", None),
    ],
)
def test_the_last_object_with_an_answer_counts(text, answer):
    assert MODULE.last_answer(text) == answer


@pytest.mark.parametrize(
    ("answer", "expected", "f1"),
    [
        ("grey cat", "cat", 2 / 3),
        ("cat cat", "cat", 2 / 3),
        ("dog", "cat", 0),
        ("yes", "yes it is", 0),
        ("yes it is", "yes", 0),
        ("", "", 0),
        ("noanswer", "noanswer", 1),
    ],
)
def test_f1(answer, expected, f1):
    assert MODULE.word_f1(answer, expected) == pytest.approx(f1)


@pytest.mark.parametrize(
    ("expected", "form"),
    [
        ("The Sea", "Sea"),
        ("Ann (the Elder)", "Ann"),
        ("Ann (the Elder)", "Elder"),
        ("three", "3"),
        ("21st", "twenty-first"),
        ("1,234,567", "1234567"),
        ("U.S. Navy", "US Navy"),
        ("Jean-Paul", "Jean Paul"),
        ("Ann & Bob", "Ann and Bob"),
        ("Ann and Bob", "Ann & Bob"),
        ("at sea.", "at sea"),
        ("“Big” sea", "Big sea"),
    ],
)
def test_forms(expected, form):
    assert form in MODULE.forms(expected) and expected in MODULE.forms(expected)


@pytest.mark.parametrize(
    ("expected", "answer", "substring", "strict"),
    [
        ("Ann", "Annabel", 1, 0),
        ("Annab", "Annabel", 1, 1),
        ("the Rhine", "along the rhine valley", 1, 1),
        ("the Rhine", "x" * 40 + " Rhine " + "x" * 40, 1, 0),
        ("the Rhine", "x" * 39 + " Rhine " + "x" * 40, 1, 1),
        ("Jean-Paul", "jean\u2011paul", 1, 1),
        ("the Rhine", "Danube", 0, 0),
    ],
)
def test_substrings(expected, answer, substring, strict):
    scores = judge(VERIFIER, row(expected), answer).scores
    assert (scores["substring"], scores["substring_strict"], scores["filtered_substring_strict"]) == (substring, strict, strict)


@pytest.mark.parametrize(
    ("expected", "suits"),
    [("Ann Maria Olsen", False), ("Ann of Norway", True), ("Ann Olsen", True), ("x" * 41, False), ("Ann Olsen and Bob Dale", False)],
)
def test_names_are_left_out_of_the_filtered_score(expected, suits):
    for answer in (expected, ""):
        assert ("filtered_substring_strict" in judge(VERIFIER, row(expected), answer).scores) is suits


def test_the_reward_is_a_choice():
    answer = '{"answer": "the long river Danube"}'
    rewards = {name: judge(VERIFIER, row("Danube"), answer, reward=name).reward for name in ("em", "f1", "substring", "substring_strict")}
    assert rewards == {"em": 0, "f1": pytest.approx(0.5), "substring": 1, "substring_strict": 1}


def test_a_long_answer_is_bounded():
    verdict = judge(VERIFIER, row("Danube"), '{"answer": [' * 900 + "1," * 3_000_000, seconds=0.3)
    assert verdict.reward == 0 and "took longer than" in verdict.explanation


@pytest.mark.parametrize("fields", [{}, row(7), row(" ")])
def test_a_broken_row_is_named(fields):
    with pytest.raises(DataError, match=r"rivers: row 3 \(task '7'\), field 'expected_answer'"):
        VERIFIER(make_task(task_id="7", index=2, benchmark="rivers", **fields), make_rollout("a"))


@given(st.text(), st.text(min_size=1).filter(str.strip))
@settings(max_examples=100, deadline=None)
def test_any_text_gets_a_verdict(text, expected):
    scores = judge(VERIFIER, row(expected), text).scores
    assert scores["substring"] >= scores["substring_strict"]
    assert judge(VERIFIER, row(expected), json.dumps({"answer": expected})).scores["em"] == 1


def test_references_of_the_whole_dev_split_pass():
    rows = json.loads((sources() / "hotpotqa/hotpot_dev_v1_simplified.json").read_text(encoding="utf-8"))
    fields = [row(each["answer"]) for each in rows]
    rewards = [judge(VERIFIER, each, VERIFIER.reference_text(make_task(**each), {})).reward for each in fields]
    assert (len(rewards), sum(rewards)) == (7405, 7405)
    assert sum(judge(VERIFIER, each, "").reward for each in fields) == 0


def test_nemo_gym_rows():
    path = sources() / "nemo_gym_checkout/resources_servers/hotpotqa_qa/data/example.jsonl"
    for line in path.read_text(encoding="utf-8").splitlines():
        fields = json.loads(line)
        assert judge(VERIFIER, fields, VERIFIER.reference_text(make_task(**fields), {})).reward == 1
        assert judge(VERIFIER, fields, "").reward == 0
