"""ruler2: soft matches, documents, last paragraphs and letters."""

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

VERIFIER = load_verifier("ruler2", Path(__file__).parents[2] / "verifiers/ruler2.py")

COPY = {"expected_answer": ["What is the wind at sea"], "eval_type": "ruler2", "match_type": "all"}
PART = {**COPY, "match_type": "part", "expected_answer": ["Oslo", "the old quay"]}
LETTER = {"expected_answer": "C", "eval_type": "multichoice"}
test_standard = verifier_cases(
    "verifiers/ruler2.py",
    full=[
        (COPY, "Question 7: what is the wind at sea?"),
        ({**COPY, "match_type": "2steps"}, "first\n\nWhat is the wind at sea"),
        (PART, "At the old quay."),
        (LETTER, "The final answer is (C)."),
        (LETTER, "\\boxed{\\text{C}}"),
        (LETTER, "**Answer:** C"),
        (LETTER, "The final answer is B\nThe final answer is c"),
        (LETTER, "\\boxed{Ｃ}"),
    ],
    zero=[
        (COPY, "Rain."),
        ({**COPY, "match_type": "2steps"}, "What is the wind at sea\n\nno"),
        (PART, "Document 3: Oslo\nthe old quay\n\nRome"),
        (LETTER, "B"),
        (LETTER, "C"),
        (LETTER, "The final answer is C or D"),
        (LETTER, "Answer: Cod"),
    ],
    malformed=[(PART, "Document 1:\n" * 50_000), (LETTER, "answer" + "*" * 100_000)],
)


@pytest.mark.parametrize(
    ("text", "reward"),
    [
        ("What is the rain at sea", 5 / 6),
        ("What is the wind at the sea", 5 / 6),
        ("What is wind", 0.5),
        (" ".join("abcdefghijkl"), 0),
    ],
)
def test_nearly_right_copies(text, reward):
    assert judge(VERIFIER, COPY, text).reward == pytest.approx(reward)


@given(st.text())
@settings(max_examples=50, deadline=None)
def test_any_text_gets_a_verdict(text):
    for fields in (COPY, PART, {**COPY, "match_type": "2steps"}):
        assert 0 <= judge(VERIFIER, fields, text).reward <= 1
    assert judge(VERIFIER, {**LETTER, "expected_answer": "Q"}, text.replace("Q", "").replace("q", "")).reward == 0


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({**COPY, "eval_type": "x"}, "eval_type"),
        ({**COPY, "match_type": "x"}, "eval_type"),
        ({**LETTER, "expected_answer": "CC"}, "expected_answer"),
        ({"expected_answer": []}, "expected_answer"),
    ],
)
def test_a_broken_row_is_named(fields, field):
    with pytest.raises(DataError, match=rf"texts: row 3 \(task '7'\), field '{field}'"):
        VERIFIER(make_task(task_id="7", index=2, benchmark="texts", **fields), make_rollout("a"))


def test_nemo_gym_rows():
    path = sources() / "nemo_gym_checkout/resources_servers/ruler2/data/example.jsonl"
    for line in path.read_text(encoding="utf-8").splitlines():
        fields = json.loads(line)
        assert judge(VERIFIER, fields, VERIFIER.reference_text(make_task(**fields), {})).reward == 1
        assert judge(VERIFIER, fields, "").reward == 0
