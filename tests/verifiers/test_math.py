"""math: its rule, its short cut against the library, inputs that never end, and real solutions."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_gym import DataError, bounded
from pytest_gym.testing import judge, make_rollout, make_task, verifier_cases
from pytest_gym.verify import load_module, load_verifier
from tests.conftest import sources

PATH = Path(__file__).parent.parent.parent / "verifiers" / "math.py"
VERIFIER = load_verifier("math", PATH)
MODULE = load_module(PATH, "verifier")

test_standard = verifier_cases(
    "verifiers/math.py",
    full=[
        ({"expected_answer": "18"}, r"The answer is \boxed{18}." + "\n#### 18"),
        ({"expected_answer": 18}, "#### 18"),
        ({"expected_answer": r"\frac{1}{2}"}, r"\boxed{0.5}"),
        ({"expected_answer": r"\left( 3, \frac{\pi}{2} \right)"}, r"\boxed{(3, \pi/2)}"),
        ({"expected_answer": "x^2 + 1"}, "so the answer is $1+x^2$."),
    ],
    zero=[
        ({"expected_answer": "18"}, r"\boxed{19}"),
        ({"expected_answer": "18"}, "18 or 19"),
        ({"expected_answer": r"\frac{1}{2}"}, r"\boxed{2}"),
        ({"expected_answer": "18"}, r"\boxed{18}<think>or"),
    ],
)


@pytest.mark.parametrize(
    ("gold", "text", "reward", "extracted"),
    [
        ("18", r"\boxed{17} no, \boxed{18}", 1, "18"),
        ("18", r"\boxed{18} and \boxed{19", 1, "18"),
        ("18", r"it is 18, so \boxed{}", 1, "18"),
        ("18", r"\fbox{18}", 1, "18"),
        ("18", r"\boxed{18\text{ dollars}}", 1, "18"),
        ("18", r"\boxed{x = 18}", 1, "Eq(x, 18)"),
        ("$18$", r"\boxed{18}", 1, "18"),
        (r"\(18\)", r"\boxed{18}", 1, "18"),
        (18.0, r"\boxed{18}", 1, "18"),
        (1e22, r"\boxed{10^{22}}", 1, "10**22"),
        ("1,234.50", r"\boxed{\$1234.5}", 1, "1234.5"),
        ("0.5", r"\boxed{\frac{1}{2}}", 1, "0.5"),
        ("\\frac{1}{3}", r"\boxed{0.333333}", 1, "0.333333"),
        ("20", r"\boxed{20\%}", 1, "20%"),
        ("18", r"\boxed{\text{about 18}}", 0, "about18"),
        ("18", "I do not know.", 0, None),
        ("3", "One, two, 3.", 1, "3"),
    ],
)
def test_rule(gold, text, reward, extracted):
    verdict = judge(VERIFIER, {"expected_answer": gold}, text)
    assert (verdict.reward, verdict.extracted) == (reward, extracted)


@pytest.mark.parametrize("value", [None, "", "  ", True, [], float("nan"), float("inf"), {"a": 1}])
def test_a_broken_row_is_named(value):
    with pytest.raises(DataError, match=r"sums: row 4 \(task '7'\), field 'expected_answer'"):
        VERIFIER(make_task(task_id="7", index=3, benchmark="sums", expected_answer=value), make_rollout(r"\boxed{1}"))


def test_an_expected_answer_that_nobody_can_read():
    with pytest.raises(DataError, match="field 'gold': math-verify finds nothing"):
        VERIFIER(make_task(gold="$ $"), make_rollout(r"\boxed{1}"), field="gold")


@pytest.mark.parametrize(
    "text",
    [
        r"\boxed{9^{9^{9}}}",
        r"\boxed{99999999!}",
        r"\boxed{" + "(" * 3000 + "18" + ")" * 3000 + "}",
        "1+" * 5_000_000,
        "$" * 10_000_000,
    ],
    ids=["tower", "factorial", "parentheses", "10 MB of plus", "10 MB of dollars"],
)
def test_what_never_ends_is_wrong_with_a_reason(text):
    begin = time.monotonic()
    verdict = judge(VERIFIER, {"expected_answer": "17"}, text, seconds=0.2)
    assert verdict.reward == 0
    assert "took longer than" in verdict.explanation
    assert time.monotonic() - begin < 10


def test_memory_is_bounded_too():
    verdict = judge(VERIFIER, {"expected_answer": "17"}, r"\boxed{x+1}", memory_mb=16)
    assert verdict.reward == 0


def test_a_huge_answer_with_a_box_is_judged():
    text = "so " * 1_000_000
    assert judge(VERIFIER, {"expected_answer": "18"}, text + r"\boxed{18}").passed
    assert judge(VERIFIER, {"expected_answer": "18"}, text + "18.").passed


@given(st.text())
@settings(max_examples=50, deadline=None)
def test_any_text_gets_a_verdict(text):
    assert judge(VERIFIER, {"expected_answer": "987654"}, text).reward == 0
    assert judge(VERIFIER, {"expected_answer": "987654"}, rf"\boxed{{{text}}}", seconds=1).explanation


# ------------------------------------------------------------------------------------------------------------- the short cut for numbers

DIGITS = st.one_of(
    st.text("0123456789", min_size=1, max_size=4), st.sampled_from(["1,234", "12,345,678", "1{,}234", r"1,\!234", "0", "073"])
)
POINT = st.sampled_from(["", "", "", ".0", ".5", ".50", ".125", ".000001", ".3333333", "."])
BEFORE = st.sampled_from(["", "", "", "-", "+", "- ", "$", r"\$", "-$", r"-\$", "$-"])
AFTER = st.sampled_from(["", "", "", "%", r"\%", "$", r"\$"])
NUMBER = st.builds(lambda *parts: "".join(parts), BEFORE, DIGITS, POINT, AFTER)
PIECES = st.sampled_from(
    "answer| answer: |The final answer is| is|Answer|=|$|[|] |18|-|- 5|+|**|/|(|)|.|,| |\n|\n#### |x|%| percent |and|"
    r"\frac{1}{2}|3.5|1,234|0|×|anſwer|²|٣|{|}|12 34| = |answer is ".split("|")
)


def library(gold: str, text: str) -> dict:
    return MODULE.compare(rf"\boxed{{{gold}}}", text)


@given(NUMBER, st.one_of(NUMBER, st.none()))
@settings(max_examples=100, deadline=None)
def test_numbers_in_a_box_as_the_library_has_them(gold, answer):
    answer = gold.replace(",", "").strip("$%\\+") if answer is None else answer
    expected, found = MODULE._Number.in_box(gold), MODULE._Number.in_box(answer)
    same = expected.equals(found) if expected and found else None
    if same is not None:
        reply = library(gold, rf"\boxed{{{answer}}}")
        assert (same, str(found)) == (reply["right"], reply["extracted"])


@given(
    st.lists(PIECES, max_size=12).map("".join),
    st.sampled_from([" ", "=", "\n", " $", "= ", " **", "#### ", ""]),
    st.sampled_from(["18", "-18", "18.0", "1,234", "3.5"]),
    st.sampled_from(["", ".", "**", "**.", "\n", "*", "$"]),
)
@settings(max_examples=100, deadline=None)
def test_numbers_at_the_end_as_the_library_has_them(body, before, number, after):
    text = body + before + number + after
    found = MODULE._Number.at_end(text)
    if found:
        reply = library("18", text)
        assert (MODULE._Number.in_box("18").equals(found), str(found)) == (reply["right"], reply["extracted"])


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("#### 18", "18"),
        ("A: 18\n", "18"),
        ("3 + 4 = 7, so she has $18.", "18"),
        ("The answer is **-1,234.50**.", "-1234.5"),
        ("18", "18"),
        ("x=18", "18"),
        ("the answer to 5 is 18", None),
        ("first answer 4, then 18", None),
        ("3 + 18", None),
        ("5 18", None),
        ("y18", None),
        (r"\boxed{} 18", None),
        ("18%", None),
    ],
)
def test_where_the_short_cut_applies(text, number):
    found = MODULE._Number.at_end(text)
    assert (str(found) if found else None) == number


# ------------------------------------------------------------------------------------------------------------------------------ real data


def rows(name: str) -> list[dict]:
    path = sources() / name
    if not path.exists():
        pytest.skip(f"needs {name} under GYM_SOURCES")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_gsm8k_takes_a_second_and_no_helper(monkeypatch):
    golds = [row["answer"].rpartition("####")[2].strip() for row in rows("gsm8k/test.jsonl")]
    assert len(golds) == 1319
    monkeypatch.setattr(bounded, "_Helper", None)
    bounded.close()
    begin = time.process_time()
    for gold in golds:
        assert judge(VERIFIER, {"expected_answer": gold.replace(",", "")}, f"The answer is \\boxed{{{gold}}}.\n#### {gold}").passed
    assert time.process_time() - begin < 1


def test_math_500():
    problems = rows("math_500/test.jsonl")
    assert len(problems) == 500
    # Every tenth here, for time; tests/fidelity.py takes all.
    for row in problems[::10]:
        fields = {"expected_answer": row["answer"]}
        assert judge(VERIFIER, fields, row["solution"], seconds=20).passed, row["unique_id"]
        assert judge(VERIFIER, fields, VERIFIER.reference_text(make_task(**fields), {}), seconds=20).passed, row["unique_id"]
        assert judge(VERIFIER, fields, "").reward == 0


@pytest.mark.parametrize("name", ["aime/aime24.jsonl", "aime/aime25.jsonl"])
def test_aime(name):
    problems = rows(name)
    for number, row in enumerate(problems):
        fields = {"expected_answer": row["expected_answer"]}
        assert judge(VERIFIER, fields, rf"\boxed{{{row['expected_answer'].zfill(3)}}}").passed
        other = problems[number - 1]["expected_answer"]
        assert judge(VERIFIER, fields, rf"\boxed{{{other}}}").passed == (other == row["expected_answer"])
