"""arc_agi: which grid counts, what is none, and upstream's tasks."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_gym.errors import DataError
from pytest_gym.testing import judge, make_rollout, make_task, verifier_cases
from pytest_gym.verify import load_module, load_verifier
from tests.conftest import sources

ROOT = Path(__file__).resolve().parents[2]
VERIFIER = load_verifier("arc_agi", ROOT / "verifiers" / "arc_agi.py")
ROW = {"expected_output": [[1, 0], [2, 3]]}

test_cases = verifier_cases(
    VERIFIER,
    full=[
        (ROW, r"\boxed{[[1, 0], [2, 3]]}"),
        (ROW, "As in [[9]] it is\n[[1,0],\n [2,3]]"),
        (ROW, r"\boxed{[[9]]} no: \boxed{ [[1,0],[2,3]] } and [[4]]"),
    ],
    zero=[
        (ROW, r"\boxed{[[1, 0], [2, 4]]}"),
        (ROW, "[[1, 0], [2, 3"),
        (ROW, "[1, 0], [2, 3]"),
        (ROW, "[[1, 0], [2]]"),
        (ROW, "[[1.0, 0], [2, 3]]"),
        (ROW, "[[[1, 0]], [2, 3]]"),
    ],
)


def test_what_is_wrong_is_said():
    assert judge(VERIFIER, ROW, "[[1, 0], [3, 3]]").explanation == "1 of 4 cells are wrong"
    assert judge(VERIFIER, ROW, "[[1]]").explanation == "a grid of 1 x 1, expected 2 x 2"
    assert judge(VERIFIER, ROW, "[[1, 0], [2, 3]] then [[5]]", grid="first").passed
    with pytest.raises(DataError, match="must be a list of lists"):
        VERIFIER(make_task(expected_output=[[1, "a"]]), make_rollout("x"))


@given(st.text(alphabet="[]0123, \n\\boxed{}", max_size=80))
@settings(max_examples=120, deadline=None)
def test_any_text_has_a_verdict(text):
    assert judge(VERIFIER, ROW, text).explanation


@pytest.mark.parametrize("text", ["[" * 1_000_000, "[1," * 400_000, "[[1]," * 300_000, "\\boxed{[[" * 200_000])
def test_long_answers_take_no_time(text):
    began = time.monotonic()
    judge(VERIFIER, ROW, text)
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(("number", "rows", "tasks"), [(1, 419, 400), (2, 167, 120)])
def test_upstreams_tasks(number, rows, tasks):
    script = load_module(ROOT / "benchmarks" / "arc_agi" / "prepare.py", "prepare")
    found = list(script.prepare({"x": sources() / "arc_agi" / f"arc_agi_{number}_evaluation.tar.gz"}))
    assert (len(found), len({row["task"] for row in found})) == (rows, tasks)
    for row in found:
        assert judge(VERIFIER, row, VERIFIER.reference_text(make_task(**row), {})).passed
        assert not judge(VERIFIER, row, json.dumps(row["expected_output"][:-1] or [[10]])).passed
