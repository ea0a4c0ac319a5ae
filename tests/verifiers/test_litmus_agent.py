"""litmus_agent: where the value stands, how it is read, how it is compared, and broken rows."""

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

PATH = Path(__file__).parents[2] / "verifiers/litmus_agent.py"
VERIFIER = load_verifier("litmus_agent", PATH)
MODULE = load_module(PATH, "verifier")


def row(expected, kind="float", **fields):
    return {"expected_answer": expected, "answer_type": kind, **fields}


COUNT = {"expected_answer": 3, "property_type": "count"}
NEAR = row(1.5, match={"rule": "abs_window", "abs_tol": 0.3}, output_regex=r"Answer:\s*([-+]?\d+(?:\.\d+)?)")
test_standard = verifier_cases(
    "verifiers/litmus_agent.py",
    full=[
        (COUNT, "((4)), or rather ((3))"),
        (COUNT, "((3.4))"),
        ({**COUNT, "use_box_format": True}, "\\boxed{3 atoms}"),
        (NEAR, "Answer: 1.79"),
        (row("yes", "bool", answer_format="fmt_15"), "<final_answer>\nPresent\n</final_answer>"),
        (row("carboxylic acid", "string", answer_format="fmt_24"), "Final Answer -> Carboxylic  Acid"),
    ],
    zero=[
        (COUNT, "3"),
        (COUNT, "((3)) no ((4))"),
        (COUNT, "((inf))"),
        (COUNT, "((nan))"),
        (NEAR, "Answer: 1.81"),
        (NEAR, "((1.5))"),
        (row(True, "bool"), "((maybe))"),
        ({"expected_answer": 1, "property_type": "bool"}, "((2))"),
        (row("ester", "string"), "(())"),
    ],
    malformed=[(COUNT, "((" * 1000), (row(1, answer_format="fmt_22"), "ANSWER IS " * 300)],
)


@pytest.mark.parametrize("number", range(31))
def test_each_format(number):
    fields = row("2.5", answer_format=f"fmt_{number:02d}")
    answer = VERIFIER.reference_text(make_task(**fields), {})
    assert answer and judge(VERIFIER, fields, f"So:\n{answer}\nDone.").reward == 1


@pytest.mark.parametrize(
    ("match", "found", "reward"),
    [
        ({"rule": "exact"}, "9.6", 1),
        ({"rule": "isclose"}, "10.00001", 1),
        ({"rule": "isclose"}, "10.0001", 0),
        ({"rule": "isclose", "rel_tol": 0.1}, "11", 1),
        ({"rule": "abs_window"}, "10.1", 0),
        ({"rule": "rel_window", "rel_tol": 0.1}, "9", 1),
        ({"rule": "rel_window", "rel_tol": 0.1}, "8.9", 0),
        ({"rule": "bool_eq"}, "1", 1),
        ({"rule": "string_eq"}, "10", 0),
        ({}, "10", 1),
        (None, "10", 1),
    ],
)
def test_rules(match, found, reward):
    assert judge(VERIFIER, row(10, match=match), f"(({found}))").reward == reward


@pytest.mark.parametrize(
    ("fields", "scores"),
    [
        (row(10), {"abs_error": 2.5}),
        ({"expected_answer": 10, "property_type": "count"}, {"abs_error": 2.5}),
        ({"expected_answer": 10, "property_type": "fragment"}, {}),
        (row(1, "bool"), {}),
    ],
)
def test_the_distance_is_told_where_it_means_something(fields, scores):
    assert judge(VERIFIER, fields, "((7.5))").scores == scores


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"expected_answer": 1}, "answer_type"),
        ({"expected_answer": 1, "property_type": "colour"}, "answer_type"),
        (row(1, "int"), "answer_type"),
        (row(None), "expected_answer"),
        (row("three"), "expected_answer"),
        (row("perhaps", "bool"), "expected_answer"),
        (row(1, answer_format="fmt_31"), "answer_format"),
        (row(1, output_regex="(a"), "output_regex"),
        (row(1, output_regex="(a)(b)"), "output_regex"),
        (row(1, output_regex=7), "output_regex"),
        (row(1, match={"abs_tol": 1}), "match"),
        (row(1, match={"rule": "near"}), "match"),
        (row(1, match={"rule": "abs_window", "abs_tol": "1"}), "match"),
        (row(1, match={"rule": "isclose", "rel_tol": -1}), "match"),
        (row(1, match="exact"), "match"),
    ],
)
def test_a_broken_row_is_named_whatever_the_answer(fields, field):
    with pytest.raises(DataError, match=rf"flasks: row 3 \(task '7'\), field '{field}'"):
        VERIFIER(make_task(task_id="7", index=2, benchmark="flasks", **fields), make_rollout("nothing"))


def test_a_catastrophic_pattern_is_bounded():
    verdict = judge(VERIFIER, row(1, output_regex="((?:a+)+)b"), "a" * 64, seconds=0.3)
    assert verdict.reward == 0 and "took longer than" in verdict.explanation
    assert "took longer than" in judge(VERIFIER, row(1), "((" * 200_000, seconds=0.3).explanation


def test_no_form_is_a_reference_for_a_pattern_that_takes_none():
    assert VERIFIER.reference_text(make_task(**row(1, output_regex="value=(x)")), {}) is None


@given(
    st.text(st.sampled_from("((1.5e9))-nainf \n")) | st.text(),
    st.sampled_from(["float", "bool", "string"]),
    st.sampled_from(list(MODULE._RULES)),
)
@settings(max_examples=100, deadline=None)
def test_any_text_gets_a_verdict(text, kind, rule):
    judge(VERIFIER, row("1", kind, match={"rule": rule}), f"(({text}))")


def test_nemo_gym_rows():
    path = sources() / "nemo_gym_checkout/resources_servers/litmus_agent/data/example.jsonl"
    for line in path.read_text(encoding="utf-8").splitlines():
        fields = json.loads(line)
        assert judge(VERIFIER, fields, VERIFIER.reference_text(make_task(**fields), {})).reward == 1
        assert judge(VERIFIER, fields, "").reward == 0
