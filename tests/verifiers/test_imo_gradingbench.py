"""imo_gradingbench: the last word, the points, and the mean error of the whole set."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_gym import DataError
from pytest_gym.testing import judge, make_rollout, make_task, verifier_cases
from pytest_gym.verify import load_verifier
from tests.conftest import sources

PATH = Path(__file__).parents[2] / "verifiers/imo_gradingbench.py"
VERIFIER = load_verifier("imo_gradingbench", PATH)


def row(grade):
    return {"expected_answer": grade}


test_standard = verifier_cases(
    "verifiers/imo_gradingbench.py",
    full=[
        (row("correct"), "It is complete. correct"),
        (row("Almost"), "Grade:\n**Almost.**"),
        (row("incorrect"), "It looks correct at first.\n\n(incorrect)\n"),
        (row("partial"), "<think>almost</think>`partial`!"),
    ],
    zero=[(row("correct"), "correct, I think"), (row("correct"), "incorrect"), (row("correct"), "7"), (row("correct"), "correct </grade>")],
)


@pytest.mark.parametrize(
    ("expected", "grade", "binary", "points"),
    [("correct", "almost", 1, 1), ("almost", "partial", 0, 5), ("incorrect", "partial", 1, 1), ("correct", "incorrect", 0, 7)],
)
def test_scores(expected, grade, binary, points):
    verdict = judge(VERIFIER, row(expected), grade)
    assert verdict.reward == 0
    assert verdict.scores == {"binarized_accuracy": binary, "no_answer": 0, "point_difference": points, "graded": 1}


def test_the_mean_error_is_over_what_has_a_grade():
    answers = [("correct", "correct"), ("correct", "partial"), ("almost", "no idea")]
    verdicts = [judge(VERIFIER, row(expected), answer) for expected, answer in answers]
    mae = VERIFIER.aggregates["mae"]
    totals = {name: np.array([sum(verdict.scores[name] for verdict in verdicts), 0.0]) for name in mae.statistics}
    with np.errstate(invalid="ignore"):
        values = mae.function(totals)
    assert (values[0], np.isnan(values[1]), mae.direction, mae.high) == (3.0, True, "lower", 7.0)


@pytest.mark.parametrize("grade", [None, "good", 7])
def test_a_broken_row_is_named(grade):
    with pytest.raises(DataError, match=r"proofs: row 3 \(task '7'\), field 'expected_answer': must be one of correct, almost"):
        VERIFIER(make_task(task_id="7", index=2, benchmark="proofs", expected_answer=grade), make_rollout("a"))


@given(st.text())
@settings(max_examples=100, deadline=None)
def test_any_text_gets_a_verdict(text):
    assert judge(VERIFIER, row("almost"), text).scores["no_answer"] == 1


def test_nemo_gym_rows():
    path = sources() / "nemo_gym_checkout/resources_servers/imo_gradingbench/data/example.jsonl"
    for line in path.read_text(encoding="utf-8").splitlines():
        fields = json.loads(line)
        assert judge(VERIFIER, fields, VERIFIER.reference_text(make_task(**fields), {})).reward == 1
        assert judge(VERIFIER, fields, "").reward == 0
