"""bigcodebench: unittests beside programs that use libraries, what hostile programs try there, missing libraries, and its data."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_gym.errors import DataError, SandboxError
from pytest_gym.testing import judge, make_task, verifier_cases
from pytest_gym.verify import load_module, load_verifier
from tests.sandboxed import needs_bubblewrap

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "verifiers" / "bigcodebench.py"
VERIFIER = load_verifier("bigcodebench", FILE)
RULE = load_module(FILE, "bigcodebench")

TEST = """
import unittest
from unittest.mock import patch

class TestCases(unittest.TestCase):
    def test_sum(self):
        self.assertEqual(task_func('[1, 2]'), 3)
    def test_patched(self):
        with patch('json.loads', return_value=[5]):
            self.assertEqual(task_func('x'), 5)
    def test_error(self):
        with self.assertRaises(ValueError):
            task_func('[')
    @unittest.skip('not here')
    def test_skipped(self):
        self.fail()
"""
ROW = {
    "code_prompt": "import json\ndef task_func(text):\n",
    "entry_point": "task_func",
    "test": TEST,
    "canonical_solution": "    return sum(json.loads(text))",
}
RIGHT = "def task_func(text):\n    return sum(json.loads(text))"


def fenced(code: str) -> str:
    return f"So:\n```python\n{code}\n```\nDone."


test_cases = needs_bubblewrap(
    verifier_cases(VERIFIER, full=[(ROW, fenced(RIGHT)), (ROW, RIGHT)], zero=[(ROW, fenced("def task_func(text): return 3")), (ROW, "")])
)

# Each is a program of its own; parts are separated by a line of dashes.
HOSTILE = """
import os
os._exit(0)
---
import sys
print('OK')
sys.exit(0)
---
import os
for fd in range(64):
    try: os.write(fd, b'{"over": true}\\\\n{"word": "", "tests": 4}\\\\n')
    except OSError: pass
os._exit(0)
---
import contextlib, unittest
unittest.TestCase.assertEqual = lambda *a: None
unittest.TestCase.assertRaises = lambda *a: contextlib.nullcontext()
def task_func(text): return 1
---
import unittest
def task_func(text):
    unittest.TestCase.assertEqual.__code__ = (lambda self, *a, **k: None).__code__
    if text == '[': raise ValueError
    return 1
---
class Same:
    def __eq__(self, other): return True
def task_func(text):
    if text == '[': raise ValueError
    return Same()
---
import unittest.mock
def task_func(text):
    if text == '[': raise ValueError
    return unittest.mock.ANY
---
import sys
def task_func(text):
    frame = sys._getframe()
    while frame:
        for value in list(frame.f_locals.values()):
            if hasattr(value, 'addFailure'):
                value.failures = value.errors = []
        frame = frame.f_back
    return 1
---
import sys
def task_func(text):
    frame = sys._getframe()
    while frame:
        for value in list(frame.f_locals.values()):
            if hasattr(value, 'addFailure'):
                type(value).addFailure = type(value).addError = lambda *a: None
        frame = frame.f_back
    return 1
---
import __main__
__main__.main = __main__.tell = print
def task_func(text): return 1
---
import builtins
builtins.AssertionError = ZeroDivisionError
def task_func(text): return 1
"""


@needs_bubblewrap
@pytest.mark.parametrize("code", re.split(r"^---\n", HOSTILE, flags=re.MULTILINE))
def test_hostile_programs_do_not_pass(code):
    verdict = judge(VERIFIER, ROW, fenced(code))
    assert verdict.reward == 0.0 and verdict.explanation


@needs_bubblewrap
def test_a_failing_test_is_named_and_calibration_brings_the_imports():
    assert (
        judge(VERIFIER, ROW, fenced("def task_func(text):\n    return 3")).explanation
        == "test_error: AssertionError: ValueError not raised"
    )
    assert judge(VERIFIER, ROW, fenced(RIGHT), calibrated=False).explanation.startswith("test_error: NameError: name 'json'")


@needs_bubblewrap
def test_a_library_that_the_task_needs_and_that_is_missing_is_no_wrong_answer():
    row = {**ROW, "code_prompt": "import not_a_library.part\ndef task_func(text):\n"}
    with pytest.raises(SandboxError, match=r"task '0000' needs not_a_library, which .* does not have: install it there"):
        judge(VERIFIER, row, fenced(RIGHT))
    assert "not_a_library" in judge(VERIFIER, ROW, fenced("import not_a_library")).explanation
    with pytest.raises(SandboxError, match="the interpreter /usr/lib/none/bin/python does not start"):
        judge(VERIFIER, ROW, fenced(RIGHT), python="/usr/lib/none/bin/python")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"test": ""}, "field 'test': must be a text that is not empty"),
        ({"entry_point": 1}, "field 'entry_point'"),
        ({"test": "x ="}, "does not compile"),
    ],
)
def test_broken_rows_are_named(change, said):
    with pytest.raises(DataError, match=f"row 1 .task '0000'.*{said}"):
        RULE.row_of(make_task(**{**ROW, **change}))


@given(st.text(alphabet="`py \nthon", max_size=60))
def test_code_of_any_text(text):
    code = RULE.code_of(text)
    assert code == code.strip() and (code in text or code == "")


def test_prompts_end_with_the_starter_code(tmp_path):
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    script = load_module(ROOT / "benchmarks" / "bigcodebench" / "prepare.py", "prepare")
    row = {**ROW, "task_id": "BigCodeBench/1", "instruct_prompt": f"Add.\n    Well.\n{script.STARTER}\n```\nx\n```"}
    parquet.write_table(pyarrow.Table.from_pylist([row]), tmp_path / "hard.parquet")
    [got] = script.prepare({"hard.parquet": tmp_path / "hard.parquet"})
    assert got["question"] == f"Add.\n\tWell.\n\n{script.STARTER}\n```python\nimport json\ndef task_func(text):\n\n```"
    assert got["id"] == "BigCodeBench/1" and RULE.row_of(make_task(**got))["test"] == TEST
    parquet.write_table(pyarrow.Table.from_pylist([{**row, "instruct_prompt": "Add."}]), tmp_path / "hard.parquet")
    with pytest.raises(DataError, match="task 'BigCodeBench/1', field 'instruct_prompt'"):
        list(script.prepare({"hard.parquet": tmp_path / "hard.parquet"}))
