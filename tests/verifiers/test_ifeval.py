"""ifeval: each kind of instruction followed and not, strict and loose, rows of either form, and any text at all."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_gym import ifeval
from pytest_gym.errors import DataError
from pytest_gym.testing import judge, make_rollout, make_task, verifier_cases
from pytest_gym.verify import load_verifier
from tests.conftest import sources

ROOT = Path(__file__).resolve().parents[2]
VERIFIER = load_verifier("ifeval", ROOT / "verifiers" / "ifeval.py")
ROW = {"instruction_id_list": ["punctuation:no_comma", "startend:quotation"], "kwargs": [{}, None]}

test_cases = verifier_cases(
    VERIFIER, full=[(ROW, '"No comma here."')], zero=[(ROW, '"One, two."'), (ROW, "No quotes."), (ROW, ""), (ROW, "  ")]
)

KINDS = [
    ("keywords:existence", {"keywords": ["Rhine", "sea"]}, "The rhine and the SEA", "The Rhine"),
    ("keywords:frequency", {"keyword": "a", "relation": "less than", "frequency": 2}, "cat", "banana"),
    ("keywords:forbidden_words", {"forbidden_words": ["cat"]}, "concatenate", "A Cat."),
    ("keywords:letter_frequency", {"letter": "E", "let_relation": "at least", "let_frequency": 2}, "Eden", "Adam"),
    ("keywords:letter_frequency", {"letter": "!", "let_relation": "at least", "let_frequency": 2}, "a!b!", "a!"),
    ("language:response_language", {"language": "de"}, "Das ist ein deutscher Satz mit vielen Wörtern.", "This is an English sentence."),
    ("length_constraints:number_sentences", {"relation": "at least", "num_sentences": 2}, "Dr. No came. He went.", "Dr. No came."),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "one\n***\ntwo", "one *** *** two"),
    ("length_constraints:number_words", {"relation": "less than", "num_words": 3}, "two words", "now three words"),
    (
        "length_constraints:nth_paragraph_first_word",
        {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "so"},
        'One.\n\n"So, two.',
        "So.\n\nOne.",
    ),
    ("detectable_content:number_placeholders", {"num_placeholders": 2}, "[a] and [b]", "[a] and (b)"),
    ("detectable_content:postscript", {"postscript_marker": "P.P.S"}, "Text\nP. P.S. more", "P.S. more"),
    ("detectable_format:number_bullet_lists", {"num_bullets": 2}, "* one\n- two", "* one\n** two"),
    ("detectable_format:constrained_response", {}, "So: My answer is maybe.", "Maybe."),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 2}, "*a* and **b**", "*a* and **"),
    ("detectable_format:multiple_sections", {"section_spliter": "Day", "num_sections": 2}, "Day 1 x\nDay 2 y", "Day 1 x Day"),
    ("detectable_format:json_format", {}, "```json\n[1]\n```", "[1"),
    ("detectable_format:title", {}, "<<A title>>", "<< >>"),
    ("combination:two_responses", {}, "one ****** two", "one ****** one"),
    ("combination:repeat_prompt", {"prompt_to_repeat": "Say it."}, " say it. Yes", "Yes. Say it."),
    ("startend:end_checker", {"end_phrase": "Done."}, 'It is done."', "Done. Or not"),
    ("startend:quotation", {}, '"yes"', '"'),
    ("change_case:capital_word_frequency", {"capital_relation": "at least", "capital_frequency": 2}, "NASA and ESA", "NASA and Esa"),
    ("change_case:english_capital", {}, "THIS IS THE WHOLE ANSWER OF MINE.", "This is not."),
    ("change_case:english_lowercase", {}, "this is the whole answer of mine.", "This is not."),
    ("punctuation:no_comma", {}, "none", "one, two"),
]


@pytest.mark.parametrize(("kind", "arguments", "kept", "broken"), KINDS, ids=[kind for kind, *_ in KINDS])
def test_each_kind(kind, arguments, kept, broken):
    row = {"instruction_id_list": [kind], "kwargs": [{**arguments, "other": None}]}
    assert judge(VERIFIER, row, kept).passed
    verdict = judge(VERIFIER, {"verifier_metadata": row}, broken)
    assert not verdict.passed and verdict.explanation == f"not followed: {kind}"


def test_loose_readings_and_the_scores_behind_the_aggregates():
    row = {"instruction_id_list": ["startend:quotation", "punctuation:no_comma"], "kwargs": [{}, {}]}
    verdict = judge(VERIFIER, row, 'Here it is:\n"a quoted answer"')
    assert (verdict.passed, verdict.scores["strict_prompt"], verdict.scores["loose_prompt"]) == (False, 0.0, 1.0)
    assert (verdict.scores["strict_followed"], verdict.scores["loose_followed"], verdict.scores["instructions"]) == (1.0, 2.0, 2.0)
    assert judge(VERIFIER, row, '"a, b"', reward="fraction").reward == 0.5
    assert set(VERIFIER.aggregates) == {"strict_instruction", "loose_instruction"}


TEXTS = (
    "**Ceci** est une phrase, avec [des] mots; voir https://a.org/b*c ou ecrire a x@y.org!",
    "日本語の *文章* です。ABC",
    "Это *русский* текст",
    "12 + 3",
    "_It_ is `so`:\n- one\n- two*",
    "Đây  là tiếng Việt {có dấu}",
    "a * b",
)


def test_a_language_is_told_once_for_readings_that_differ_in_marks(monkeypatch):
    import langdetect

    langdetect.DetectorFactory.seed = 0
    detect, asked = langdetect.detect, []
    monkeypatch.setattr(langdetect, "detect", lambda text: asked.append(text) or detect(text))
    for text in TEXTS:
        try:
            expected = detect(text)
        except langdetect.LangDetectException:
            expected = None
        assert ifeval._language(text, expected or "en") and ifeval._language(text, "none") == (expected is None)
    asked.clear()
    row = {"instruction_id_list": ["language:response_language"], "kwargs": [{"language": "fr"}]}
    assert not judge(VERIFIER, row, "* **It** is raining, and cold.\n* We *stay* at home today.").passed
    # The whole, without its first line, without its last: each once, with asterisks or without.
    assert len(asked) == 3


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"instruction_id_list": ["a:b"], "kwargs": [{}]}, "there is no instruction 'a:b'"),
        ({"instruction_id_list": [], "kwargs": []}, "must be lists of the same length"),
        ({"instruction_id_list": ["punctuation:no_comma"], "kwargs": []}, "must be lists of the same length"),
        ({"instruction_id_list": ["keywords:existence"], "kwargs": [{}]}, "needs 'keywords'"),
    ],
)
def test_a_broken_row(row, said):
    with pytest.raises(DataError, match=said):
        VERIFIER(make_task(**row), make_rollout("x"))


ALL = {"instruction_id_list": [kind for kind, *_ in KINDS], "kwargs": [arguments for _, arguments, *_ in KINDS]}


@given(st.text(max_size=200))
@settings(max_examples=30, deadline=None)
def test_any_text_has_a_verdict(text):
    assert judge(VERIFIER, ALL, text).explanation


@pytest.mark.parametrize("text", ["[" * 30_000, "*" * 30_000, " \n" * 30_000], ids=["brackets", "stars", "blank"])
def test_long_answers_are_bounded(text):
    began = time.monotonic()
    assert not judge(VERIFIER, ALL, text).passed
    assert time.monotonic() - began < 60


def test_upstreams_rows_can_all_be_judged():
    for line in (sources() / "ifeval" / "input_data.jsonl").read_text(encoding="utf-8").splitlines()[::20]:
        row = json.loads(line)
        assert not judge(VERIFIER, row, "").passed
        assert judge(VERIFIER, row, row["prompt"]).explanation
