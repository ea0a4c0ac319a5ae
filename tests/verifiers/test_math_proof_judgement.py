"""math_proof_judgement: where the judgement stands, and the metrics of the whole set."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_gym import DataError
from pytest_gym.derived import Corpus, Statistics
from pytest_gym.testing import judge, make_rollout, make_task, verifier_cases
from pytest_gym.verify import load_module, load_verifier
from tests.conftest import sources

PATH = Path(__file__).parents[2] / "verifiers/math_proof_judgement.py"
VERIFIER = load_verifier("math_proof_judgement", PATH)
MODULE = load_module(PATH, "verifier")
RIGHT, WRONG = {"expected_judgement": "Judgement: Yes"}, {"expected_judgement": "Judgement: No"}
test_standard = verifier_cases(
    "verifiers/math_proof_judgement.py",
    full=[
        (RIGHT, "All steps hold.\n<judgement>Judgement: Yes</judgement>"),
        (RIGHT, "**Judgement**: **yes**"),
        (WRONG, "judgement :\n no"),
        (WRONG, "<think>Judgement: Yes</think>Judgement: No"),
    ],
    zero=[(RIGHT, "Judgement: No"), (RIGHT, "Judgement: maybe. Judgement: Yes"), (RIGHT, "Yes"), (WRONG, "Judgment: No")],
)


def metrics(pairs):
    """Precision, recall and F1 of one repeat of (expert, judge) pairs."""
    verdicts = [judge(VERIFIER, RIGHT if right else WRONG, f"Judgement: {said}") for right, said in pairs]
    found = []
    for each in VERIFIER.aggregates.values():
        corpus = Corpus(each.name, each.statistics, each.function, each.direction, each.low, each.high)
        values = np.array([[[verdict.scores[name] for name in each.statistics]] for verdict in verdicts])
        found.append(Statistics(corpus, values).value())
    return found


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ([(True, "Yes"), (True, "No"), (False, "Yes"), (False, "No")], (0.5, 0.5, 0.5)),
        ([(True, "Yes"), (True, "?"), (False, "?")], (1, 0.5, 2 / 3)),
        ([(True, "No"), (False, "No")], (None, 0, 0)),
        ([(False, "Yes"), (False, "No")], (0, None, 0)),
        ([(False, "No")], (None, None, None)),
    ],
)
def test_metrics_of_the_set(pairs, expected):
    assert [None if np.isnan(value) else value for value in metrics(pairs)] == [
        None if value is None else pytest.approx(value) for value in expected
    ]


@pytest.mark.parametrize("label", [None, "Yes", "Judgement: perhaps", True])
def test_a_broken_row_is_named(label):
    with pytest.raises(DataError, match=r"proofs: row 3 \(task '7'\), field 'expected_judgement': must be"):
        VERIFIER(make_task(task_id="7", index=2, benchmark="proofs", expected_judgement=label), make_rollout("a"))


@given(st.text(st.sampled_from("Judgement:*\nyesno ")) | st.text())
@settings(max_examples=100, deadline=None)
def test_any_text_gets_a_verdict(text):
    scores = judge(VERIFIER, RIGHT, text).scores
    assert sum(scores[name] for name in ("true_positive", "false_negative", "no_answer")) == 1


def test_nemo_gym_rows():
    path = sources() / "nemo_gym_checkout/resources_servers/math_proof_judgement/data/example.jsonl"
    for line in path.read_text(encoding="utf-8").splitlines():
        fields = json.loads(line)
        assert judge(VERIFIER, fields, VERIFIER.reference_text(make_task(**fields), {})).reward == 1
        assert judge(VERIFIER, fields, "").reward == 0
