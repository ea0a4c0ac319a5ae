"""mrcr: the prefix, the similarity, and texts that are long to compare."""

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

VERIFIER = load_verifier("mrcr", Path(__file__).parents[2] / "verifiers/mrcr.py")

ROW = {"expected_answer": "x7The wind is up.", "random_string_to_prepend": "x7"}
test_standard = verifier_cases(
    "verifiers/mrcr.py",
    full=[(ROW, "x7The wind is up."), (ROW, "\n x7The wind is up. ")],
    zero=[(ROW, "The wind is up."), (ROW, "Here: x7The wind is up."), (ROW, "x7"), (ROW, "x7QQQ")],
)


def test_similarity():
    verdict = judge(VERIFIER, ROW, "x7The wind is down.")
    assert (verdict.reward, verdict.scores) == (pytest.approx(2 * 13 / 32), {"prefix": 1.0})


def test_what_takes_too_long_is_wrong_with_a_reason():
    fields = {"expected_answer": "x" + "ab" * 99, "random_string_to_prepend": "x"}
    assert "took longer than" in judge(VERIFIER, fields, "x" + "ba" * 500_000, seconds=0.1).explanation


@given(st.text())
@settings(max_examples=100, deadline=None)
def test_any_text_gets_a_verdict(text):
    assert 0 <= judge(VERIFIER, ROW, "x7" + text).reward <= 1


@pytest.mark.parametrize(
    ("fields", "field"),
    [({"expected_answer": "x"}, "random_string_to_prepend"), ({"random_string_to_prepend": "x", "expected_answer": ""}, "expected_answer")],
)
def test_a_broken_row_is_named(fields, field):
    with pytest.raises(DataError, match=rf"texts: row 3 \(task '7'\), field '{field}'"):
        VERIFIER(make_task(task_id="7", index=2, benchmark="texts", **fields), make_rollout("a"))


def test_nemo_gym_rows():
    path = sources() / "nemo_gym_checkout/resources_servers/mrcr/data/example.jsonl"
    for line in path.read_text(encoding="utf-8").splitlines():
        fields = json.loads(line)
        assert judge(VERIFIER, fields, VERIFIER.reference_text(make_task(**fields), {})).reward == 1
        assert judge(VERIFIER, fields, "").reward == 0
