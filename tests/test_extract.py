"""extract: each function's grammar, on examples and on arbitrary text, and that none takes more than linear time."""

from __future__ import annotations

import doctest
import inspect
import time
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_gym import extract
from pytest_gym.extract import choice_letter, code_block, last_boxed, last_number, python_tree, remove_thinking, tagged

PIECES = [
    "\\boxed{",
    "\\fbox{",
    "{",
    "}",
    "\\{",
    "\\}",
    "\\",
    "<think>",
    "</think>",
    "<answer>",
    "</answer>",
    "```",
    "~~~~",
    "python",
    "\n",
    " ",
]
TEXT = st.one_of(st.text(), st.lists(st.sampled_from([*PIECES, "1,234.5", "A", "x", "-", "."])).map("".join))


def test_examples_in_docstrings():
    result = doctest.testmod(extract)
    assert result.attempted >= 15
    assert result.failed == 0


def test_each_function_says_its_grammar_and_shows_examples():
    functions = [one for name, one in vars(extract).items() if inspect.isfunction(one) and not name.startswith("_")]
    assert {function.__name__ for function in functions} >= {
        "remove_thinking",
        "last_boxed",
        "last_number",
        "choice_letter",
        "code_block",
        "tagged",
    }
    for function in functions:
        assert "Grammar:" in function.__doc__ and ">>> " in function.__doc__, function.__name__


def test_a_program_compiles_or_is_a_syntax_error():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(python_tree(r'x = "\d"').body) == 1
    for source in ("x =", "x = '\0'", "(" * 300 + ")" * 300, "-" * 100_000 + "1"):
        with pytest.raises(SyntaxError):
            python_tree(source)


@settings(deadline=None)
@given(TEXT)
def test_any_text_gives_a_part_of_it_or_nothing(text):
    assert text.endswith(remove_thinking(text))
    for found in (last_boxed(text), tagged(text, "answer")):
        assert found is None or found in text
    number = last_number(text)
    assert number is None or float(number) is not None
    letter = choice_letter(text)
    assert letter is None or (letter in text and letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    code_block(text)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("plain", "plain"),
        ("  kept \n", "  kept \n"),
        ("<think>a</think>b", "b"),
        ("<think>a</think>b<think>c</think>\n d", "\n d"),
        ("before<think>a</think>after", "after"),
        ("no opening tag</think>b", "b"),
        ("<think>never closed", ""),
        ("<think>a</think>b<think>open again", ""),
        ("<THINKING>a</Thinking>b", "b"),
        ("a < think > b", "a < think > b"),
        ("<think></think>", ""),
    ],
)
def test_remove_thinking(text, answer):
    assert remove_thinking(text) == answer


@settings(deadline=None)
@given(TEXT.filter(lambda text: "think" not in text.lower()), TEXT.filter(lambda text: "think" not in text.lower()))
def test_thinking_never_leaks(thought, answer):
    assert remove_thinking(f"<think>{thought}</think>{answer}") == answer
    assert remove_thinking(f"{answer}<think>{thought}") == ""


@pytest.mark.parametrize(
    ("text", "box"),
    [
        ("no box", None),
        (r"\boxed{18}", "18"),
        (r"\boxed{1} \boxed{2}", "2"),
        (r"\boxed{\frac{a}{\sqrt{b}}} end", r"\frac{a}{\sqrt{b}}"),
        (r"\boxed{ }", " "),
        (r"\boxed{}", ""),
        (r"\boxed {5}", "5"),
        (r"\fbox{5}", "5"),
        (r"\boxed{x = \boxed{5} + 1}", "5"),
        (r"\boxed{\left\{ 1, 2 \right.}", r"\left\{ 1, 2 \right."),
        (r"\boxed{1\}2}", r"1\}2"),
        (r"\\boxed{18}", "18"),
        (r"\boxed{4} then \boxed{5", "4"),
        (r"\boxed{4", None),
        (r"} } \boxed{3}", "3"),
        (r"\boxed 5", None),
        (r"\text{boxed{5}}", None),
        ("\\boxed{1\n2}", "1\n2"),
        (r"\mathboxed{5}", None),
    ],
)
def test_last_boxed(text, box):
    assert last_boxed(text) == box


@settings(deadline=None)
@given(st.text("ab \n\\é{}", max_size=30))
def test_a_balanced_content_comes_back(content):
    # Braces that balance, and no backslash that would take the closing brace with it.
    content = content.replace("\\", "").replace("{", "").replace("}", "")
    assert last_boxed(f"text \\boxed{{{{{content}}}}} more") == f"{{{content}}}"


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("", None),
        ("12", "12"),
        ("-12", "-12"),
        ("+3", "+3"),
        ("1,234,567", "1234567"),
        ("12,34", "34"),
        ("1,2345", "2345"),
        ("3.14.", "3.14"),
        (".5", ".5"),
        ("x2 5", "5"),
        ("x2", None),
        ("7-3", "3"),
        ("$18.00!", "18.00"),
        ("٣", None),
    ],
)
def test_last_number(text, number):
    assert last_number(text) == number


@pytest.mark.parametrize(
    ("text", "letters", "letter"),
    [
        ("", None, None),
        ("A or (B).", None, "B"),
        ("*C*", None, "C"),
        ("ABC", None, None),
        ("A1 B_", None, None),
        ("D. I think", "ABCD", "D"),
        ("É A", None, "A"),
        ("ÉA", None, None),
        ("a", None, None),
    ],
)
def test_choice_letter(text, letters, letter):
    assert choice_letter(text, letters) == letter


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", ""),
        ("  return 1\n", "  return 1\n"),
        ("```python\na\n```\n```python\nb\n```", "b"),
        ("```python\na\n```\n```\noutput\n```", "a"),
        ("```py\na\n```", "a"),
        ("```Python3 title\na\n```", "a"),
        ("```js\na\n```\n```\nb\n```", "b"),
        ("```python\n    a\n", "    a\n"),
        ("```python\na\n```\n```python\nb", "a"),
        ("~~~\na\n```\nb\n~~~", "a\n```\nb"),
        ("````\n```\na\n```\n````", "```\na\n```"),
        ("1. so:\n   ```python\n   if x:\n       y\n   ```", "if x:\n    y"),
        ("```\r\na\r\n```\r\n", "a\r"),
        ("inline ```x``` stays", "inline ```x``` stays"),
        ("```python\n```", ""),
    ],
)
def test_code_block(text, code):
    assert code_block(text) == code


def test_code_block_of_another_language():
    assert code_block("```sql\nSELECT 1\n```\n```python\nx\n```", ["sql"]) == "SELECT 1"


@pytest.mark.parametrize(
    ("text", "content"),
    [
        ("", None),
        ("<answer>1</answer>", "1"),
        ("<ANSWER> 1\n</Answer>", " 1\n"),
        ("<answer>1</answer><answer>2</answer>", "2"),
        ("<answer>1</answer><answer>2", "1"),
        ("<answer><answer>1</answer></answer>", "1"),
        ("1</answer>", None),
        ("<answers>1</answers>", None),
        ("İ<answer>1</answer>", "1"),
    ],
)
def test_tagged(text, content):
    assert tagged(text, "answer") == content


def test_tagged_takes_the_name_literally():
    assert tagged("<a.b>1</a.b><axb>2</axb>", "a.b") == "1"


HUGE = [
    "\\",
    "\\boxed{",
    "\\boxed",
    "{",
    "}",
    "\\boxed ",
    "1",
    "1,111",
    "-",
    "A ",
    "```\n",
    "`",
    " ",
    "<think>",
    "<",
    "<answer>",
    ".1",
    "```python\n  ",
]


@pytest.mark.parametrize("piece", HUGE)
def test_linear_time(piece):
    functions = (remove_thinking, last_boxed, last_number, choice_letter, code_block, lambda text: tagged(text, "answer"))
    text = piece * (500_000 // len(piece)) + "\n"
    begin = time.process_time()
    for function in functions:
        function(text)
    # One pass takes some 0.05 s at most; a quadratic one would take hours.
    assert time.process_time() - begin < 5
