"""bunsenbench_chemistry_mcq: where a choice stands, what is alike, and why an answer is not right."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_gym import DataError
from pytest_gym.testing import judge, make_rollout, make_task, verifier_cases
from pytest_gym.verify import load_module, load_verifier

PATH = Path(__file__).parents[2] / "verifiers/bunsenbench_chemistry_mcq.py"
VERIFIER = load_verifier("bunsenbench_chemistry_mcq", PATH)
MODULE = load_module(PATH, "verifier")
OPTIONS = {"A": "H₂O", "B": "NaCl & HCl", "C": "5 × 10⁻³ mol", "D": "x < y"}
ROW = {"options": [{letter: text} for letter, text in OPTIONS.items()], "expected_answer": "C"}
test_standard = verifier_cases(
    "verifiers/bunsenbench_chemistry_mcq.py",
    full=[
        (ROW, "<choice>5 x 10-3 mol</choice>"),
        (ROW, "<choice>H₂O</choice>, no: \\boxed{C}"),
        (ROW, "**Answer**:\n\noption C"),
        ({**ROW, "expected_answer": "D"}, "I choose x &lt; y"),
        ({**ROW, "expected_answer": "A"}, "The correct answer is `H2O`."),
    ],
    zero=[(ROW, "<choice>H₂O</choice>"), (ROW, "C, I think it is"), (ROW, "<choice>E</choice>")],
    malformed=[(ROW, text) for text in ("<answer " * 500, "\n" * 3000, "answer:" + " " * 3000, "\\boxed{" * 500)],
)


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("<choices>\n<choice>H₂O</choice>\n</choices>", None),
        ("<choices>\n<choice>H₂O</choice>\n</choices>\n<choice> NaCl &amp; HCl </choice>", "B"),
        ("<final-answer>(d)</final-answer>", "D"),
        ("\\boxed{\\text{H₂O}}", "A"),
        ("\\boxed{A} \\boxed{B", "A"),
        ("Answer: A\nThe answer is B", "B"),
        ("H₂O\nso it is", "A"),
        ("so it is\n“H₂O”", None),
        ('"H₂O"', "A"),
        ("C) because", "C"),
    ],
)
def test_where_a_choice_stands(text, letter):
    assert MODULE.read(text, OPTIONS)["letter"] == letter


@pytest.mark.parametrize(
    ("text", "finish", "mode"),
    [
        ("<choice>A</choice>", "stop", "wrong_answer"),
        ("I'm sorry, but I can't do that", "stop", "refusal"),
        ("well", "content_filter", "refusal"),
        ("well", "length", "early_termination"),
        ("<think>well", "stop", "early_termination"),
        ("<choice>H3O</choice>", "stop", "malformed_choice"),
        ("well", "stop", "format_violation"),
        ("", "stop", "format_violation"),
    ],
)
def test_why_an_answer_is_not_right(text, finish, mode):
    verdict = judge(VERIFIER, ROW, replace(make_rollout(text), finish_reason=finish))
    assert [name for name, value in verdict.scores.items() if value] == [mode]


def test_a_long_answer_is_bounded():
    assert judge(VERIFIER, ROW, "so\n" * 3000 + "<choice>C</choice>").reward == 1
    verdict = judge(VERIFIER, ROW, "<answer " * 100_000, seconds=0.3)
    assert "took longer than" in verdict.explanation


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({**ROW, "expected_answer": "E"}, "expected_answer"),
        ({"expected_answer": "A"}, "options"),
        ({**ROW, "options": [{"A": "x"}, {"a": "y"}]}, "options"),
    ],
)
def test_a_broken_row_is_named(fields, field):
    with pytest.raises(DataError, match=rf"bottles: row 3 \(task '7'\), field '{field}'"):
        VERIFIER(make_task(task_id="7", index=2, benchmark="bottles", **fields), make_rollout("a"))


@given(st.text(st.sampled_from("<choice>/Answer: \\boxed{}C\n*")) | st.text())
@settings(max_examples=100, deadline=None)
def test_any_text_gets_a_verdict(text):
    verdict = judge(VERIFIER, ROW, text)
    assert verdict.reward + sum(verdict.scores.values()) == 1
