"""asr_with_pc: rates of one clip and of a set, each kind of task, and long answers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_gym import DataError
from pytest_gym.testing import judge, make_rollout, make_task, verifier_cases
from pytest_gym.verify import load_module, load_verifier
from tests.conftest import sources

jiwer = pytest.importorskip("jiwer", reason="needs the extra 'speech'")
pytest.importorskip("whisper_normalizer", reason="needs the extra 'speech'")
PATH = Path(__file__).parents[2] / "verifiers/asr_with_pc.py"
VERIFIER = load_verifier("asr_with_pc", PATH)
MODULE = load_module(PATH, "verifier")
ROW = {"expected_answer": "Dr. Olsen can't sail, said Ann."}
test_standard = verifier_cases(
    "verifiers/asr_with_pc.py",
    full=[
        (ROW, "Dr. Olsen can't sail, said Ann."),
        (ROW, "Dr Olsen can't sail said Ann"),
        ({**ROW, "task_type": "ASR"}, "doctor olsen cannot sail said ann"),
    ],
    zero=[(ROW, "The wind is up."), ({**ROW, "task_type": "ASR"}, ""), ({"expected_answer": "...", "task_type": "ASR"}, "hello")],
)


def test_numbers_of_one_clip():
    scores = judge(VERIFIER, {"expected_answer": "Hello, big world."}, "hello big ship!").scores
    assert (scores["edits"], scores["words"], scores["wer_c"]) == (1, 3, pytest.approx(2 / 3))
    assert (scores["wer_pc"], scores["per"]) == (pytest.approx(4 / 5), 1.0)


@pytest.mark.parametrize(
    ("spoken", "heard", "rate"), [("", "", 0), ("a, b.", "a b", 1), ("a, b.", "a, b", 0.5), ("a.", "a, b.", 0.5), ("a!", "a?", 1)]
)
def test_punctuation(spoken, heard, rate):
    assert MODULE.punctuation_error_rate(spoken, heard) == rate


def test_the_corpus_rate_is_that_of_the_set():
    pairs = [("Hello, world.", "hello word"), ("It's 25 ships", "it is twenty five ships"), ("One two three four", "")]
    verdicts = [judge(VERIFIER, {"expected_answer": spoken, "task_type": "ASR"}, heard) for spoken, heard in pairs]
    totals = {name: np.array([sum(verdict.scores[name] for verdict in verdicts)] * 2) for name in ("edits", "words")}
    spoken, heard = [MODULE.normalised(text) for text, _ in pairs], [MODULE.normalised(text) or "empty" for _, text in pairs]
    assert VERIFIER.aggregates["wer"].function(totals).tolist() == [jiwer.wer(spoken, heard)] * 2


def test_several_references():
    fields = {
        "expected_answer": "25",
        "text_itn": "25",
        "text_tn": "twenty five",
        "task_type": "ASR_LEADERBOARD",
        "reference_fields": ["text_tn", "text_itn"],
    }
    scores = judge(VERIFIER, fields, "twenty-four").scores
    assert {name: scores[name] for name in ("edits_tn", "words_tn", "edits_itn", "words_itn")} == dict.fromkeys(
        ("edits_tn", "words_tn", "edits_itn", "words_itn"), 1
    )


@pytest.mark.parametrize(("duration", "length", "reward"), [(60, 1500, 1), (60, 1501, 0), (None, 9999, 1), (0, 9999, 1)])
def test_hallucination(duration, length, reward):
    fields = {"task_type": "Hallucination", "audio_duration": duration, "expected_answer": ""}
    assert judge(VERIFIER, fields, "x" * length).reward == reward


def test_an_empty_reference_takes_no_part():
    verdict = judge(VERIFIER, {"expected_answer": " ", "task_type": "ASR"}, "hello")
    assert (verdict.reward, verdict.scores) == (0, {"empty_reference": 1})


def test_a_long_answer_is_bounded():
    verdict = judge(VERIFIER, ROW, "a, " * 200_000, seconds=0.5)
    assert "took longer than" in verdict.explanation
    assert verdict.scores["edits"] > 100_000


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({}, "expected_answer"),
        ({**ROW, "task_type": "x"}, "task_type"),
        ({"task_type": "Hallucination", "audio_duration": "9"}, "audio_duration"),
        ({**ROW, "task_type": "ASR_LEADERBOARD", "reference_fields": ["text_tn"]}, "text_tn"),
    ],
)
def test_a_broken_row_is_named(fields, field):
    with pytest.raises(DataError, match=rf"clips: row 3 \(task '7'\), field '{field}'"):
        VERIFIER(make_task(task_id="7", index=2, benchmark="clips", **fields), make_rollout("a"))


@given(st.text(), st.text())
@settings(max_examples=100, deadline=None)
def test_any_text_gets_a_verdict(text, spoken):
    for kind in ("ASR", "ASR-PC"):
        judge(VERIFIER, {"expected_answer": spoken, "task_type": kind}, text)


def test_nemo_gym_rows():
    path = sources() / "nemo_gym_checkout/resources_servers/asr_with_pc/data/example.jsonl"
    for line in path.read_text(encoding="utf-8").splitlines():
        fields = json.loads(line)
        assert judge(VERIFIER, fields, VERIFIER.reference_text(make_task(**fields), {})).reward == 1
        assert judge(VERIFIER, fields, "").reward == 0
