"""code_fim: which fence counts, what is taken off, and that the program is tested where it cannot reach the test."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_gym import Sandbox, Verdict
from pytest_gym.errors import DataError
from pytest_gym.testing import make_rollout, make_task
from pytest_gym.verify import load_module, load_verifier
from tests.forged import FORGERIES
from tests.sandboxed import needs_bubblewrap

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "verifiers" / "code_fim.py"
VERIFIER, MODULE = load_verifier("code_fim", FILE), load_module(FILE, "verifier")
SANDBOX = Sandbox()
ROW = {
    "prefix": "def ramp(n):\n    return [step for step in",
    "suffix": "\n            if step % 2]\n",
    "canonical_solution": " range(n)",
    "entry_point": "ramp",
    "test": "def check(candidate):\n    assert candidate(6) == [1, 3, 5]\n    assert candidate(0) == []\n",
}


def judged(row: dict[str, Any], *answers: str, **options: Any) -> list[Verdict]:
    async def all_of() -> list[Verdict]:
        return await asyncio.gather(*(VERIFIER.function(make_task(**row), make_rollout(text), SANDBOX, **options) for text in answers))

    return asyncio.run(all_of())


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("```python\n x```", "\n x"),
        ("```python\na\n```\nor\n```python\nb\n```", "\nb\n"),
        ("```python\na\n```\nor\n```\nb\n```", "\na\n"),
        ("```python\r\na\r\n```", "\na\n"),
        ("```python\na", None),
        ("```python```", None),
        ("a", None),
    ],
)
def test_the_last_closed_fence_counts(text, found):
    assert MODULE.fenced(text) == found


@pytest.mark.parametrize(
    ("completion", "prefix", "suffix", "left"),
    [
        ("\n\n x", "", "", "\n x"),
        ("    return x", "def f(x):\n    return", "\n", " x"),
        ("def f(x):\n    return x", "def f(x):\n    return", "", " x"),
        (" x\n", "return", "\n\ny", " x"),
        ("x ", "", " y", "x "),
        ("in in", "for x in", "", " in"),
    ],
)
def test_what_the_completion_repeats_of_its_surroundings_is_taken_off_once(completion, prefix, suffix, left):
    assert MODULE.trimmed(completion, prefix, suffix) == left


@needs_bubblewrap
def test_the_completed_program_is_tested():
    fences = [" range(n)```", "\n range(n)\n```", "\n    return [step for step in range(n)```", " n```", "\nfor x```"]
    verdicts = judged(ROW, *(f"```python{fence}" for fence in fences), "range(n)")
    assert [verdict.reward for verdict in verdicts] == [1, 1, 1, 0, 0, 0]
    assert verdicts[3].explanation == "TypeError: 'int' object is not iterable"
    assert verdicts[4].explanation.startswith("does not load: SyntaxError: ")
    assert verdicts[5].explanation == "no closed code fence found"
    around = {**ROW, "prefix": "def ramp(n):\n    return list(", "canonical_solution": "(range", "suffix": "(1, n, 2)))\n"}
    assert MODULE.reference(make_task(**around)).startswith("```python\ndef ramp")
    assert judged(around, MODULE.reference(make_task(**around)))[0].reward == 1
    assert judged(ROW, "```python\n    return [step for step in range(n)```", trim=False)[0].reward == 0
    forged = {**ROW, "prefix": "", "suffix": "", "canonical_solution": "def near(x): return 2", "entry_point": "near"}
    forged["test"] = "def check(candidate):\n    assert candidate(4) == 2\n"
    names = ("an equality that is always true", "a walk over the stack", "an early end")
    assert [v.reward for v in judged(forged, *(f"```python\n{FORGERIES[name]}\n```" for name in names))] == [0, 0, 0]


def test_broken_rows_are_errors_of_the_row():
    for field in ("test", "canonical_solution"):
        with pytest.raises(DataError, match=f"field '{field}': is no Python that compiles"):
            judged({**ROW, field: "def ("}, "x")


@given(st.text(alphabet="`python\n x", max_size=60))
@settings(max_examples=200, deadline=None)
def test_any_text_is_read(text):
    found = MODULE.fenced(text)
    if found is None:
        assert judged(ROW, text)[0].explanation == "no closed code fence found"
    else:
        assert MODULE.trimmed(found, text, text) in found
