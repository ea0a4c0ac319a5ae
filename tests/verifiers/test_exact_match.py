"""exact_match: its options, its broken rows and the four standard cases."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_gym import DataError
from pytest_gym.testing import judge, make_rollout, make_task, verifier_cases
from pytest_gym.verify import load_verifier

PATH = Path(__file__).parent.parent.parent / "verifiers" / "exact_match.py"
VERIFIER = load_verifier("exact_match", PATH)

test_standard = verifier_cases(
    "verifiers/exact_match.py",
    full=[
        ({"expected_answer": "Paris"}, "paris"),
        ({"expected_answer": "New  York"}, "\n new york "),
        ({"expected_answer": 42}, "42"),
        ({"expected_answer": ["yes", "true"]}, "True"),
        ({"expected_answer": "Straße"}, "STRASSE"),
        ({"expected_answer": "é"}, "e\u0301"),
        ({"expected_answer": "Paris"}, "<think>Rome? No.</think>Paris"),
    ],
    zero=[
        ({"expected_answer": "Paris"}, "Rome"),
        ({"expected_answer": "Paris"}, "It is Paris"),
        ({"expected_answer": "Paris"}, "Paris."),
        ({"expected_answer": "42"}, "42.0"),
        ({"expected_answer": "Paris"}, "Paris<think>or"),
    ],
)

test_strictest = verifier_cases(
    VERIFIER,
    full=[({"answer": " Paris"}, " Paris")],
    zero=[({"answer": " Paris"}, "Paris"), ({"answer": " Paris"}, " paris")],
    options={"field": "answer", "ignore_case": False, "ignore_whitespace": False},
)

test_without_punctuation = verifier_cases(
    VERIFIER,
    full=[({"expected_answer": "U.S.A."}, "»usa«!")],
    zero=[({"expected_answer": "U.S.A."}, "us")],
    options={"ignore_punctuation": True},
)


@pytest.mark.parametrize("value", [None, "", "  ", True, [], ["a", None], {"a": 1}])
def test_a_broken_row_is_named(value):
    with pytest.raises(DataError, match=r"sums: row 4 \(task '7'\), field 'expected_answer'"):
        VERIFIER(make_task(task_id="7", index=3, benchmark="sums", expected_answer=value), make_rollout("x"))


def test_what_majority_votes_count():
    assert judge(VERIFIER, {"expected_answer": "a"}, " B  c ").extracted == "b c"
    assert judge(VERIFIER, {"expected_answer": "a"}, " ").extracted is None


@settings(deadline=None)
@given(st.text(), st.text(min_size=1).filter(str.strip))
def test_any_text_gets_a_verdict(answer, expected):
    assert judge(VERIFIER, {"expected_answer": expected}, answer).reward in (0.0, 1.0)
