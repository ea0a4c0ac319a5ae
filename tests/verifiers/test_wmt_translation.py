"""wmt_translation: chrF and BLEU of sentences and of whole sets, against sacrebleu itself."""

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

sacrebleu = pytest.importorskip("sacrebleu", reason="needs the extra 'translation'")
VERIFIER = load_verifier("wmt_translation", Path(__file__).parents[2] / "verifiers/wmt_translation.py")
ROW = {"translation": "Der Wind kommt heute aus Süden."}
test_standard = verifier_cases(
    "verifiers/wmt_translation.py",
    full=[
        (ROW, "Der Wind kommt heute aus Süden."),
        (ROW, " Der Wind kommt heute aus Su\u0308den.\n"),
        (ROW, "DerWind kommt heute aus Süden."),
    ],
    zero=[(ROW, ""), (ROW, "QQQ ÖÖ"), (ROW, "風")],
    may_score=True,  # a letter in common is already something
)
PAIRS = st.lists(st.tuples(st.text("abc äß.,", min_size=1).filter(str.strip), st.text("abc äß.,")), min_size=1, max_size=6)


def totals(pairs, **options):
    verdicts = [judge(VERIFIER, {"translation": wanted}, answer, **options) for wanted, answer in pairs]
    return {name: np.array([[sum(verdict.scores[name] for verdict in verdicts)]]) for name in verdicts[0].scores}


@given(PAIRS)
@settings(max_examples=80, deadline=None)
def test_the_metrics_of_a_set_are_sacrebleus(pairs):
    wanted, answers = [wanted for wanted, _ in pairs], [answer.strip() for _, answer in pairs]
    sums = totals(pairs, bleu="13a")
    assert VERIFIER.aggregates["chrf"].function(sums)[0, 0] == pytest.approx(sacrebleu.corpus_chrf(answers, [wanted]).score, abs=1e-6)
    assert VERIFIER.aggregates["bleu"].function(sums)[0, 0] == pytest.approx(sacrebleu.corpus_bleu(answers, [wanted]).score, abs=1e-6)


def test_the_reward_is_the_sentences():
    answer = "Der Wind kommt morgen aus Norden."
    assert judge(VERIFIER, ROW, answer).reward == sacrebleu.sentence_chrf(answer, [ROW["translation"]]).score / 100


def test_spbleu_without_its_model_says_so(monkeypatch, tmp_path):
    monkeypatch.setenv("SACREBLEU", str(tmp_path))
    with pytest.raises(DataError, match="spBLEU needs the file"):
        judge(VERIFIER, ROW, "Wind", bleu="flores200")


def test_a_long_answer_is_bounded():
    verdict = judge(VERIFIER, ROW, "ab" * 1_000_000, seconds=0.2)
    assert "took longer than" in verdict.explanation
    assert (verdict.scores["found_1"], verdict.scores["common_1"], verdict.scores["wanted_6"]) == (2_000_000, 0, 21)


@pytest.mark.parametrize("fields", [{}, {"translation": " "}, {"translation": 5}])
def test_a_broken_row_is_named(fields):
    with pytest.raises(DataError, match=r"lines: row 3 \(task '7'\), field 'translation'"):
        VERIFIER(make_task(task_id="7", index=2, benchmark="lines", **fields), make_rollout("a"))


@given(st.text())
@settings(max_examples=60, deadline=None)
def test_any_text_gets_a_verdict(text):
    assert 0 <= judge(VERIFIER, ROW, text).reward <= 1


def test_nemo_gym_rows():
    path = sources() / "nemo_gym_checkout/resources_servers/wmt_translation/data/example.jsonl"
    for line in path.read_text(encoding="utf-8").splitlines():
        fields = json.loads(line)
        assert judge(VERIFIER, fields, VERIFIER.reference_text(make_task(**fields), {})).reward == 1
        assert judge(VERIFIER, fields, "").reward == 0
