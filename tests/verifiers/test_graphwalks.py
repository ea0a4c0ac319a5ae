"""graphwalks: the last line, F1, and odd lines."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_gym import DataError
from pytest_gym.testing import judge, make_rollout, make_task, verifier_cases
from pytest_gym.verify import load_verifier
from tests.conftest import sources

VERIFIER = load_verifier("graphwalks", Path(__file__).parents[2] / "verifiers/graphwalks.py")

NODES = {"expected_answer": '["a", "b"]'}
NONE = {"expected_answer": []}
test_standard = verifier_cases(
    "verifiers/graphwalks.py",
    full=[
        (NODES, "Let me see.\nFinal Answer: [b, a]"),
        (NODES, "So the Final Answer:[a,b , a].\n\n"),
        (NONE, "Final Answer: [ ]"),
    ],
    zero=[
        (NODES, "Final Answer: []"),
        (NODES, "Final Answer: [a, b]\nDone."),
        (NODES, "final answer: [a, b]"),
        (NODES, "Final Answer: [a, b"),
        (NODES, "Final Answer: [c]"),
        (NONE, "Final Answer: [a]"),
        (NODES, 'Final Answer: ["a", "b"]'),
    ],
    malformed=[(NODES, "Final Answer: [" * 100_000), (NODES, "Final Answer:" + " " * 1_000_000)],
)


def test_f1():
    verdict = judge(VERIFIER, NODES, "Final Answer: [a, c, d]")
    assert (verdict.reward, verdict.scores) == (pytest.approx(0.4), {"exact": 0.0, "unquoted": pytest.approx(0.4)})
    assert judge(VERIFIER, NODES, "Final Answer: ['a', 'b']").scores == {"exact": 0.0, "unquoted": 1.0}


@given(st.text())
@settings(max_examples=100, deadline=None)
def test_any_text_gets_a_verdict(text):
    assert judge(VERIFIER, {"expected_answer": ["node 7"]}, text).reward == 0
    assert 0 <= judge(VERIFIER, NODES, f"Final Answer: [{text}]").reward <= 1


@pytest.mark.parametrize(
    ("fields", "field"),
    [({}, "expected_answer"), ({"expected_answer": "a, b"}, "expected_answer"), ({"expected_answer": [1]}, "expected_answer")],
)
def test_a_broken_row_is_named(fields, field):
    with pytest.raises(DataError, match=rf"texts: row 3 \(task '7'\), field '{field}'"):
        VERIFIER(make_task(task_id="7", index=2, benchmark="texts", **fields), make_rollout("a"))


def test_nemo_gym_rows():
    path = sources() / "nemo_gym_checkout/resources_servers/graphwalks/data/example.jsonl"
    for line in path.read_text(encoding="utf-8").splitlines():
        fields = json.loads(line)
        assert judge(VERIFIER, fields, VERIFIER.reference_text(make_task(**fields), {})).reward == 1
        assert judge(VERIFIER, fields, "").reward == 0
