"""code_gen: programs that read and functions that are called, by LiveCodeBench's rule; hostile ones, any text, and its data."""

from __future__ import annotations

import base64
import json
import pickle
import re
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_gym.errors import DataError, SandboxError
from pytest_gym.testing import judge, make_task, verifier_cases
from pytest_gym.verify import load_module, load_verifier
from tests.sandboxed import needs_bubblewrap

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "verifiers" / "code_gen.py"
VERIFIER = load_verifier("code_gen", FILE)
RULE = load_module(FILE, "code_gen")
SCRIPT = load_module(ROOT / "benchmarks" / "scripts" / "livecodebench.py", "prepare")

READS = {"unit_tests": {"inputs": ["1 2\n", "3 4\n", "5 5", "6 6", "7 0"], "outputs": ["3\n", "7\n", "10", "12", "7"]}}
CALLS = {
    "verifier_metadata": {"unit_tests": {"inputs": ['["a", "b"]\n2', "[]\n1"], "outputs": ['["b", "a", 2]', "[1]"], "fn_name": "turn"}}
}
SUM = "a, b = map(int, input().split())\nprint(a + b)"
TURN = "class Solution:\n    def turn(self, words: List[str], n: int):\n        return (*words[::-1], n)"


def fenced(code: str) -> str:
    return f"So:\n```python\n{code}\n```\nDone."


test_cases = needs_bubblewrap(verifier_cases(VERIFIER, full=[(READS, fenced(SUM))], zero=[(READS, fenced("print(3)")), (READS, SUM)]))


@needs_bubblewrap
@pytest.mark.parametrize(
    ("row", "code", "said"),
    [
        (CALLS, TURN, "all 2 tests pass"),
        (CALLS, "turn = lambda words, n: list(reversed(words)) + [n]", "all 2 tests pass"),
        (READS, f"def main():\n    {SUM.splitlines()[0]}\n    print(a + b)\nif __name__ == '__main__':\n    main()\n", "all 5 tests pass"),
        (READS, "from sys import stdin\nprint(sum(map(int, stdin.readline().split())))\nexit()", "all 5 tests pass"),
        (READS, "print(3 if input()[0] == '1' else 8)", "test 2 of 5: line 1 is '8', expected '7'"),
        (READS, "print(1 / 0)", "test 1 of 5: ZeroDivisionError: division by zero"),
        (READS, "x =", "test 1 of 5: it does not compile: SyntaxError: invalid syntax (<unknown>, line 1)"),
        (READS, "print('x' * 3_000_000)", "test 1 of 5: it prints too much"),
        (READS, "total = 0\ndef add():\n    global total\n    total += 1\nadd()", "test 1 of 5: NameError: name 'total' is not defined"),
        (READS, "for line in __import__('sys').stdin: pass", "test 1 of 5: TypeError: 'Input' object is not iterable"),
        (CALLS, "def turn(words, n): return {*words}", "test 1 of 2: it returns {"),
        (CALLS, "def other(): pass", "test 1 of 2: AttributeError: module 'tmp_sol' has no attribute 'turn'"),
    ],
)
def test_verdicts_say_which_test_failed_and_why(row, code, said):
    verdict = judge(VERIFIER, row, fenced(code))
    assert (verdict.reward, verdict.extracted) == (float("pass" in said), code)
    assert verdict.explanation.startswith(said)


# Each is a program of its own; parts are separated by a line of dashes.
HOSTILE = """
import os
os._exit(0)
---
import sys
sys.exit(0)
--- the driver's own words, to every descriptor that may lead somewhere
import os
for fd in range(64):
    try: os.write(fd, b'exit\\n3\\n{"end": "exit", "text": "3"}\\n')
    except OSError: pass
os._exit(0)
---
import os, signal
os.kill(os.getppid(), signal.SIGKILL)
--- all that can be reached from here: what is expected is not among it
import sys
frame, seen = sys._getframe(), []
while frame:
    seen += map(repr, frame.f_locals.values())
    frame = frame.f_back
print('3' if any('outputs' in word for word in seen) else max(map(len, seen)))
---
import builtins, json, os
json.dumps = lambda *a, **k: '{"end": "exit"}'
os.write = lambda fd, data: len(data)
os._exit = print
builtins.print = lambda *a: 3
---
import os
if os.fork() == 0:
    os.setsid()
    while True: pass
---
class Same(str):
    def __eq__(self, other): return True
print(Same('x'))
"""
HOSTILE_CALLS = """
class Same:
    def __eq__(self, other): return True
def turn(*_): return Same()
---
class Same(list):
    def __eq__(self, other): return True
    def __iter__(self): return iter(['b', 'a', 2])
def turn(*_): return Same()
---
import json
json.dumps = lambda *_: '{"type": "other"}'
def turn(*_): return 1
---
import os
def turn(*_):
    for fd in range(3, 64):
        try: os.write(fd, b'input\\n')
        except OSError: pass
    os._exit(0)
---
import os
os._exit(0)
"""


def parts(text: str) -> list[str]:
    return re.split(r"^---.*\n", text, flags=re.MULTILINE)


@needs_bubblewrap
@pytest.mark.parametrize(("row", "code"), [*((READS, code) for code in parts(HOSTILE)), *((CALLS, code) for code in parts(HOSTILE_CALLS))])
def test_hostile_programs_do_not_pass(row, code):
    assert judge(VERIFIER, row, fenced(code), seconds=1).reward == 0.0


@needs_bubblewrap
def test_time_is_limited_for_each_test():
    verdict = judge(VERIFIER, {"unit_tests": {"inputs": ["5"], "outputs": ["3"]}}, fenced("while True: pass"), seconds=1)
    assert verdict.explanation == "test 1 of 1: over its time limit"


@needs_bubblewrap
def test_nemos_rule_is_looser():
    row = {"unit_tests": {"inputs": ["1"], "outputs": ["0.5"], "fn_name": "half"}}
    code = fenced("def half(n): return n / 2 + 1e-7")
    assert (judge(VERIFIER, row, code).reward, judge(VERIFIER, row, code, rule="nemo").reward) == (0.0, 1.0)
    assert (
        judge(VERIFIER, READS, fenced("import sys\nfor line in sys.stdin: print(sum(map(int, line.split())))"), rule="nemo").reward == 1.0
    )


@needs_bubblewrap
def test_an_interpreter_that_is_not_there_is_no_wrong_answer():
    with pytest.raises(SandboxError, match="the interpreter /usr/lib/none/bin/python does not start"):
        judge(VERIFIER, READS, fenced(SUM), python="/usr/lib/none/bin/python")


@pytest.mark.parametrize(
    ("tests", "said"),
    [
        ([], "must have lists of texts"),
        ({"inputs": [], "outputs": []}, "must have lists of texts"),
        ({"inputs": ["1", 2], "outputs": ["1", "2"]}, "must have lists of texts"),
        ({"inputs": ["1", "2"], "outputs": ["1"]}, "has 2 inputs and 1 outputs"),
        ({"inputs": ["1"], "outputs": ["1"], "fn_name": "a b"}, "fn_name must be the name of a function, not 'a b'"),
    ],
)
def test_broken_rows_are_named(tests, said):
    with pytest.raises(DataError, match=f"row 1 .task '0000'., field 'unit_tests': {said}"):
        RULE.tests_of(make_task(unit_tests=tests))


@needs_bubblewrap
@pytest.mark.parametrize(
    ("tests", "said"),
    [
        ({"inputs": ["x"], "outputs": ["1"], "fn_name": "f"}, "input 1 is not a JSON value on each line"),
        ({"inputs": ["1"], "outputs": ["x"], "fn_name": "f"}, "the output 'x' is no JSON"),
    ],
)
def test_a_row_that_is_no_json_is_broken_only_where_it_is(tests, said):
    with pytest.raises(DataError, match=said):
        judge(VERIFIER, {"unit_tests": tests}, fenced("def f(x): return 1"))


@pytest.mark.parametrize(
    ("printed", "expected", "same"),
    [
        ("3", "3\n", True),
        (" 1  2 \n\n", "1 2", True),
        ("1.0 2e0", "1 2", True),
        ("abc", "ABC", False),
        ("a  b", "a b", False),
        ("1\n\n2", "1\n2", False),
        ("1000000000000000000001", "1000000000000000000002", False),
        ("nan", "nan", True),
        ("nan 1", "nan 1.0", False),
        ("sNaN 1", "1 1", False),
        ("", "\n", True),
    ],
)
def test_printed_lines(printed, expected, same):
    assert (RULE.differs(printed, expected) is None) == same


@given(st.text(max_size=60), st.text(max_size=60))
@settings(max_examples=80)
def test_any_two_texts_compare_and_a_text_with_itself(one, other):
    assert RULE.differs(one, one) is None
    assert (RULE.differs(one, other) is None) == (RULE.differs(other, one) is None)


@given(st.lists(st.decimals(allow_nan=False, allow_infinity=False, places=3), min_size=1, max_size=5))
@settings(max_examples=100)
def test_numbers_are_the_same_however_they_are_written(numbers):
    assert RULE.differs(" ".join(f"{n:f}" for n in numbers), " ".join(f"{n:f}0" for n in numbers)) is None


@given(st.text(alphabet="`a\n pyth", max_size=80))
@settings(max_examples=150)
def test_code_of_any_text(text):
    code = RULE.code_of(text)
    assert (code is None) == (sum("```" in line for line in text.split("\n")) < 2)
    assert code is None or (code in text and "```" not in code)


def test_batches_keep_all_tests_in_order_and_the_room_tells_no_length():
    tests = [(f"{n}", "x" * n) for n in range(400)]
    batches = list(RULE._batches(tests))
    assert [len(batch) for _, batch in batches] == [4, 16, 64, 256, 60]
    assert [test for _, batch in batches for test in batch] == tests
    assert [first for first, _ in batches] == [0, 4, 20, 84, 340]
    assert [len(batch) for _, batch in RULE._batches([("x" * (9 << 20), "")] * 3)] == [1, 1, 1]
    assert RULE._room([("", "3")]) == RULE._room([("", "x" * 100_000)]) == 1 << 20


# -- the data ------------------------------------------------------------------------------------------------------------------------------


def packed(value: object) -> str:
    return base64.b64encode(zlib.compress(pickle.dumps(value))).decode()


def problem(number: int, date: str, **fields: object) -> dict[str, object]:
    tests = [{"input": str(number), "output": "1", "testtype": "stdin"}]
    return {
        "question_id": f"q{number}",
        "question_content": "Q",
        "difficulty": "easy",
        "contest_date": date,
        "starter_code": "",
        "public_test_cases": json.dumps(tests),
        "private_test_cases": packed(json.dumps([{"input": "x", "output": "y"}])),
        "metadata": "{}",
        **fields,
    }


def lines(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_problems_of_a_window_with_public_and_private_tests(tmp_path):
    starter = {"starter_code": "class Solution:", "metadata": '{"func_name": "go"}'}
    rows = [problem(1, "2024-07-31T00:00:00"), problem(2, "2024-08-01T00:00:00", **starter), problem(3, "2025-03-01T00:00:00")]
    files = {"test.jsonl": lines(tmp_path / "a", rows), "test2.jsonl": lines(tmp_path / "b", [problem(4, "2025-02-28T19:30:00")])}
    got = list(SCRIPT.prepare(files, first="2024-08-01", until="2025-03-01"))
    assert [row["id"] for row in got] == ["q2", "q4"]
    assert got[0]["verifier_metadata"]["unit_tests"] == {"inputs": ["2", "x"], "outputs": ["1", "y"], "fn_name": "go"}
    assert got[0]["starter_code"] == "```python\nclass Solution:\n```" and got[1]["verifier_metadata"]["unit_tests"]["fn_name"] is None
    assert "standard input" in got[1]["formatting_message"]
    cascade = list(SCRIPT.prepare(files, first="2024-08-01", cascade=True))
    assert [row["starter_code"] for row in cascade] == [SCRIPT.HEADER.format("class Solution:"), "", ""]


def test_translations_find_the_tests_of_their_problem(tmp_path):
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    rows = [{"task_id": "q1", "question": "Frage", "release_version": "v5"}, {"task_id": "none", "question": "?", "release_version": "v5"}]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "v5_de.parquet")
    files = {"test.jsonl": lines(tmp_path / "a", [problem(1, "2024-09-01")]), "v5_de.parquet": tmp_path / "v5_de.parquet"}
    [row] = SCRIPT.prepare(files)
    assert (row["id"], row["target_language"], row["verifier_metadata"]["unit_tests"]["inputs"]) == ("v5-de-q1", "de", ["1", "x"])
    assert row["question"] == f"{SCRIPT.LANGUAGES['de']}\n\nFrage"


def test_plain_pickles_are_read_and_all_others_refused():
    tests = [{"input": "1", "output": "2"}]
    assert SCRIPT.private_tests(json.dumps(tests)) == SCRIPT.private_tests(packed(tests)) == SCRIPT.private_tests(packed(json.dumps(tests)))
    for value, said in ((Path, "names pathlib.Path"), (print, "names builtins.print"), ({"input": 1}, "no list"), ("[", "cannot be read")):
        with pytest.raises(DataError, match=f"problem 'q': its private tests .*{said}"):
            SCRIPT.private_tests(packed(value), "problem 'q'")
    for text in ("", "no base64!", base64.b64encode(b"no zlib").decode()):
        with pytest.raises(DataError, match="cannot be read"):
            SCRIPT.private_tests(text, "problem 'q'")
