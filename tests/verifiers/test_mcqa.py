"""mcqa: every mode on worked cases, rows of every form, broken rows, and real questions."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_gym import DataError
from pytest_gym.testing import judge, make_rollout, make_task, verifier_cases
from pytest_gym.verify import load_verifier
from tests.conftest import sources

VERIFIER = load_verifier("mcqa", Path(__file__).parent.parent.parent / "verifiers" / "mcqa.py")
MODES = VERIFIER.options["mode"].annotation.__args__
CITIES = [{"A": "Paris"}, {"B": "Rome"}, {"C": "Berlin Mitte"}, {"D": "E. coli"}]
ROW = {"options": CITIES, "expected_answer": "B"}

test_answer_is = verifier_cases(
    "verifiers/mcqa.py",
    full=[(ROW, "So the answer is (B)."), (ROW, "Answer: B"), (ROW, "It has to be B"), (ROW, "<think>the answer is A</think>B")],
    zero=[(ROW, "the answer is (A)"), (ROW, "the answer is (J)"), (ROW, "B <think>")],
    options={"mode": "answer_is"},
    may_score=False,
    malformed=[(ROW, "no capital that stands alone")],
)
test_strict_boxed = verifier_cases(VERIFIER, full=[(ROW, r"\boxed{B}")], zero=[(ROW, r"\boxed{A}"), (ROW, "B"), (ROW, r"\boxed{Rome}")])
test_lenient_boxed = verifier_cases(
    VERIFIER, full=[(ROW, r"\boxed{the city of ROME}")], zero=[(ROW, r"\boxed{Paris or Rome}")], options={"mode": "lenient_boxed"}
)
test_answer_colon = verifier_cases(
    VERIFIER, full=[(ROW, "answer :b"), (ROW, "Answer: rome")], zero=[(ROW, "Answer: B.")], options={"mode": "lenient_answer_colon"}
)
test_answer_colon_md = verifier_cases(
    VERIFIER, full=[(ROW, "**Answer:** (B)")], zero=[(ROW, "Answer: A or B")], options={"mode": "lenient_answer_colon_md"}
)

# The expected letters follow the reference functions named in the verifier's docstring.
CASES = {
    "answer_is": [
        ("the answer is (A). No: the answer is (B).", "A"),
        ("the answer is C", "C"),
        ("the answer is Because", "B"),
        ("The Answer is (A)", "A"),
        ("Answer: A\nAnswer: B", "A"),
        ("answer: A, answer: B\nAnswer: C", "B"),
        ("Answer:\n\nD", "D"),
        ("ANSWER: A or B", "B"),
        ("first A then C!", "C"),
        ("A1 _B", None),
        ("ABC", None),
        ("none", None),
        ("Z is not asked for, A is", "A"),
    ],
    "strict_single_letter_boxed": [
        (r"\boxed{A} then \boxed{C}", "C"),
        (r"\boxed{(C)}", "C"),
        (r"\boxed{[ C ].}", "C"),
        (r"\boxed{\text{C}}", "C"),
        (r"\boxed{\text{ \text{C} }}", "C"),
        (r"\boxed{C: Berlin}", "C"),
        (r"\boxed{C) Berlin}", "C"),
        (r"\boxed{C - Berlin}", "C"),
        (r"\boxed{c}", None),
        (r"\boxed{E. coli}", None),
        (r"\boxed{A, B}", None),
        (r"\boxed{}", None),
        (r"\boxed{Z}", None),
        ("C", None),
    ],
    "lenient_boxed": [
        (r"\boxed{C}", "C"),
        (r"\boxed{berlin   mitte}", "C"),
        (r"\boxed{\text{Paris}, of course}", "A"),
        (r"\boxed{Paris, not Rome}", None),
        (r"\boxed{e. COLI}", "D"),
        ("Paris", None),
    ],
    "lenient_answer_colon": [
        ("Answer: A\nAnswer: B", "A"),
        ("ANSWER:\n c", "C"),
        (r"Answer: \text{C}", "C"),
        ("Answer: Berlin  mitte ", "C"),
        ("Answer: (C)", None),
        ("Answer: Berlin", None),
        ("The answer is C", None),
    ],
    "lenient_answer_colon_md": [
        ("Answer: A\nAnswer: B", "B"),
        ("Answer: A\nAnswer: see above", "A"),
        ("**Answer**: C", "C"),
        ("__Answer:__ `C`.", "C"),
        ("Answer: C because it is", "C"),
        ("Answer: the right one is C", "C"),
        ("Answer: A/B", None),
        ("Answer: A, B", None),
        ("Answer: A and A", "A"),
        ("Answer: ج", "C"),
        ("Answer: Ｂ", "B"),
        ("Answer: X", None),
        ("Answer:", None),
    ],
}


@pytest.mark.parametrize(("mode", "text", "letter"), [(mode, *case) for mode, cases in CASES.items() for case in cases])
def test_letter(mode, text, letter):
    verdict = judge(VERIFIER, ROW, text, mode=mode)
    assert verdict.extracted == letter
    assert verdict.reward == float(letter == "B")
    assert verdict.explanation


@pytest.mark.parametrize(
    "options",
    [
        ["Paris", "Rome", "Berlin"],
        {"A": "Paris", "B": "Rome", "C": "Berlin"},
        [{"a": "Paris"}, {"b": "Rome"}],
        [{"A": "Paris", "B": None}, {"A": None, "B": "Rome"}],
    ],
    ids=["texts", "mapping", "small letters", "with nulls"],
)
def test_forms_of_a_row(options):
    row = {"options": options, "expected_answer": " b "}
    assert judge(VERIFIER, row, r"\boxed{B}").passed
    assert judge(VERIFIER, row, r"\boxed{Z}").extracted is None


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"expected_answer": "A"}, "field 'options'"),
        ({"options": [], "expected_answer": "A"}, "has no choices"),
        ({"options": "A, B", "expected_answer": "A"}, "must be a list"),
        ({"options": ["x", 1], "expected_answer": "A"}, "must be a list"),
        ({"options": [{"AB": "x"}], "expected_answer": "A"}, "one letter"),
        ({"options": [{"A": "x"}, {"a": "y"}], "expected_answer": "A"}, "only once"),
        ({"options": ["x", "y"]}, "field 'expected_answer': must be one of the letters A, B, not None"),
        ({"options": ["x", "y"], "expected_answer": "C"}, "not 'C'"),
        ({"options": ["x", "y"], "expected_answer": 1}, "not 1"),
        ({"options": ["x"], "expected_answer": "A", "template_metadata": {"output_regex": "("}}, "no regular expression"),
        ({"options": ["x"], "expected_answer": "A", "template_metadata": {"output_regex": 3}}, "no regular expression"),
        ({"options": ["x"], "expected_answer": "A", "template_metadata": {"output_regex": [3]}}, "no regular expression"),
    ],
)
def test_a_broken_row_is_named(fields, says):
    with pytest.raises(DataError, match=r"quiz: row 4 \(task '7'\)") as caught:
        VERIFIER(make_task(task_id="7", index=3, benchmark="quiz", **fields), make_rollout("A"))
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("regex", "text", "letter"),
    [
        (r"result: (\w)", "result: a, RESULT: b", "B"),
        (r"result: (\w)", r"nothing, but \boxed{B}", "B"),
        (r"result: (\w)", r"result: A \boxed{B}", "A"),
        ([r"first: (\w)", r"second: (\w)"], "second: A first: B", "B"),
        ([r"first: (\w)", r"second: (\w)"], "second: B", "B"),
        (r"result: (.+)", "result:  rome ", "B"),
        (r"result: (.+)", "result: ব", "B"),
        (r"(?:it is (\w)|call it (\w)\b)", "call it B", "B"),
        (r"\bB\b", "take b", "B"),
        (r"result: (\w)", r"result: K \boxed{B}", None),
    ],
)
def test_a_rows_own_pattern_comes_first(regex, text, letter):
    row = {**ROW, "template_metadata": {"output_regex": regex}}
    assert judge(VERIFIER, row, text).extracted == letter


def test_a_pattern_that_takes_for_ever_is_a_verdict():
    row = {**ROW, "template_metadata": {"output_regex": r"(?:a+)+b"}}
    verdict = judge(VERIFIER, row, "a" * 50 + r"\boxed{B}", seconds=0.3)
    assert (verdict.reward, verdict.extracted) == (0.0, None)
    assert "output_regex took longer than 0.3 s" in verdict.explanation


@pytest.mark.parametrize("mode", MODES)
@settings(deadline=None)
@given(st.text())
def test_any_text_gets_a_verdict(mode, text):
    verdict = judge(VERIFIER, ROW, text, mode=mode)
    assert verdict.extracted in (None, "A", "B", "C", "D")
    assert verdict.passed == (verdict.extracted == "B")


@pytest.mark.parametrize(
    "piece", ["answer: ", "answer ", "A ", "A or ", "\\boxed{\\text{", "\\text{", "Answer: A B\n", "*", "answer:\n\n", "(", "Rome "]
)
def test_huge_answers(piece):
    text = piece * (200_000 // len(piece))
    begin = time.process_time()
    for mode in MODES:
        judge(VERIFIER, ROW, text, mode=mode)
        judge(VERIFIER, ROW, rf"Answer: \boxed{{{text}}}", mode=mode)
    assert time.process_time() - begin < 10


def test_real_questions():
    path = sources() / "mmlu_pro" / "test_every_12th.jsonl"
    if not path.exists():
        pytest.skip("needs mmlu_pro/test_every_12th.jsonl under GYM_SOURCES")
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert len(rows) == 1003
    for mode in MODES:
        foreign = 0
        for number, row in enumerate(rows):
            fields = {"options": row["options"], "expected_answer": row["answer"]}
            text = VERIFIER.reference_text(make_task(**fields), {"mode": mode})
            assert judge(VERIFIER, fields, text, mode=mode).passed, (mode, row["question_id"])
            assert judge(VERIFIER, fields, "", mode=mode).reward == 0
            other = {"options": "ABCDEFGHIJ", "expected_answer": rows[number - 1]["answer"]}
            foreign += judge(VERIFIER, fields, VERIFIER.reference_text(make_task(**other), {"mode": mode}), mode=mode).passed
        # Another question's letter is right by chance only: about one in ten.
        assert foreign < 0.16 * len(rows)
