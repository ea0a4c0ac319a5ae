"""evalplus: which code counts, what a forger may try, what travels between program and test, and upstream's own tasks."""

from __future__ import annotations

import asyncio
import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pytest_gym import Limits, Sandbox, Verdict
from pytest_gym.errors import DataError
from pytest_gym.sandboxes.values import Other, packed, unpacked
from pytest_gym.testing import make_rollout, make_task, verifier_cases
from pytest_gym.verify import load_module, load_verifier
from tests.conftest import sources
from tests.forged import FORGERIES
from tests.sandboxed import needs_bubblewrap

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "verifiers" / "evalplus.py"
VERIFIER, MODULE = load_verifier("evalplus", FILE), load_module(FILE, "verifier")
SANDBOX = Sandbox()
HUMAN_EVAL = {
    "prompt": 'import math\n\n\ndef double(x):\n    """Twice x."""\n\n\ndef near(x: float) -> float:\n    """The root of x."""\n',
    "entry_point": "near",
    "canonical_solution": "    return math.sqrt(x)\n",
    "test": "def check(candidate):\n    assert candidate(4) == 2.0\n    assert math.isclose(candidate(2), 2**0.5) and not candidate(0)\n",
}
MBPP = {
    "test": ["", "assert pair(1) == (1, [2])", "assert pair(5) == (5, [6])", "assert {pair(0)[0]} == {0}"],
    "names": ["pair"],
    "canonical_solution": "def pair(x):\r\n    return (x, [x + 1])",
}
PLUS = {
    "prompt": "def halves(x):\n",
    "entry_point": "halves",
    "canonical_solution": "    return [x / 2] if x > 2 else x",
    "atol": 0,
    "base_input": [[2], [1]],
    "plus_input": [[3.0], [10**9 + 1]],
}


def fenced(code: str) -> str:
    return f"```python\n{code}\n```"


def judged(row: dict[str, Any], *answers: str, **options: Any) -> list[Verdict]:
    """The verdicts on several answers, as many at once as there are cores."""

    async def all_of() -> list[Verdict]:
        return await asyncio.gather(*(VERIFIER.function(make_task(**row), make_rollout(text), SANDBOX, **options) for text in answers))

    return asyncio.run(all_of())


if needs_bubblewrap.args[0] is False:
    test_cases = verifier_cases(
        VERIFIER, full=[(HUMAN_EVAL, fenced("    return x ** 0.5"))], zero=[(HUMAN_EVAL, fenced("    return x / 2"))]
    )


@needs_bubblewrap
def test_asserts_and_inputs_are_judged_too():
    assert [v.reward for v in judged(MBPP, *map(fenced, (MBPP["canonical_solution"], "def pair(x): return [x, [x + 1]]", "pair = 3")))] == [
        1,
        0,
        0,
    ]
    assert [v.reward for v in judged(PLUS, *map(fenced, ("    return x if x <= 2 else [x / 2]", "    return x")))] == [1, 0]


# --- which code


def test_code_without_the_function_completes_the_prompt_and_other_code_runs_after_it():
    prompt = HUMAN_EVAL["prompt"]
    assert MODULE.program_of("    return 1", prompt, "near") == [prompt + "    return 1"]
    assert MODULE.program_of("\treturn 1", prompt, "near") == [prompt + "\treturn 1"]
    for code in (
        "def near(x): return 1",
        "near = abs",
        "from math import sqrt as near",
        "class near: pass",
        "near: int = 3",
        "a, near = 1, 2",
    ):
        assert MODULE.program_of(code, prompt, "near") == [prompt, code]
    for code in ("def far(x): return 1", "if True:\n    def near(x): return 1", "def near(:", "x = '\0'", "(" * 300):
        assert MODULE.program_of(code, prompt, "near") == [prompt + code]
    assert MODULE.program_of("def near(x): 1", "def near(x):\n", "near") == ["def near(x):\n    pass", "def near(x): 1"]
    assert MODULE.program_of("def near(x): 1", "no code", "near") == ["def near(x): 1"]


@needs_bubblewrap
def test_answers_of_every_form_are_judged():
    right = "def near(x):\n    return math.sqrt(x)"
    answers = [
        fenced(right),
        "So:\n" + fenced("def near(x): return 0") + "\nor better\n" + fenced(right),
        fenced(right) + "\n```sh\npython near.py\n```",
        "```\n" + right + "\n```",
        "```python\n" + right,
        right,
        "    return math.sqrt(x)",
        fenced(right.replace("\n", "\r\n")),
        fenced("def near(x):\n    print('hello')\n    return math.sqrt(x)\nprint(near(4)); print('passed')"),
        fenced("from __future__ import annotations\nfrom dataclasses import dataclass\n@dataclass\nclass C:\n    v: float\n" + right),
    ]
    assert [verdict.reward for verdict in judged(HUMAN_EVAL, *answers)] == [1.0] * len(answers)


@needs_bubblewrap
def test_what_went_wrong_is_said():
    verdicts = judged(
        HUMAN_EVAL, *map(fenced, ("def near(x): return y", "def near(:", "import numpy\ndef near(x): return 2", "def near(x): return x"))
    )
    assert [verdict.explanation for verdict in verdicts] == [
        "NameError: name 'y' is not defined",
        "does not load: SyntaxError: invalid syntax (unit00.py, line 10)",
        "does not load: ModuleNotFoundError: No module named 'numpy'",
        "AssertionError",
    ]
    assert judged(MBPP, fenced("def pair(x): return (1, [2])"))[0].explanation == "test 2 of 3: AssertionError"
    loop, bomb = judged(HUMAN_EVAL, fenced("def near(x):\n    while True: pass"), fenced("def near(x): return [0] * 10**11"), seconds=1)
    assert loop.explanation == "the program used more processor time than it may"
    assert bomb.explanation.startswith("MemoryError")
    assert judged(HUMAN_EVAL, "x = 1\n" * 100_000)[0].explanation == "a program of 600,000 characters, more than 100,000"


@pytest.mark.parametrize(
    ("row", "match"),
    [
        ({**HUMAN_EVAL, "test": "def check(:"}, "field 'test': is no Python that compiles"),
        ({**MBPP, "names": []}, "field 'names': must be Python source"),
        ({**MBPP, "test": ["", 3]}, "field 'test': must be Python source"),
        ({**PLUS, "canonical_solution": "return"}, "field 'canonical_solution': is no Python behind the prompt"),
    ],
)
def test_broken_rows_are_errors_of_the_row(row, match):
    with pytest.raises(DataError, match=match):
        judged(row, "x")


# --- forgery: each of these passes where program and test share a process


@needs_bubblewrap
def test_no_forgery_passes():
    verdicts = dict(zip(FORGERIES, judged(HUMAN_EVAL, *map(fenced, FORGERIES.values())), strict=True))
    assert {name: verdict.explanation for name, verdict in verdicts.items() if verdict.reward} == {}
    assert verdicts["an early end"].explanation == "does not load: the program ended before it answered"
    assert "of type Yes, which is not compared" in verdicts["an equality that is always true"].explanation


@needs_bubblewrap
def test_a_test_that_swallows_exceptions_cannot_hide_a_program_that_is_gone():
    test = "def check(candidate):\n    try:\n        candidate(1)\n    except BaseException:\n        pass\n"
    gone, raised = judged(
        {**HUMAN_EVAL, "test": test}, fenced("import os\ndef near(x): os._exit(0)"), fenced("def near(x): raise KeyError(3)")
    )
    assert (gone.reward, gone.explanation) == (0.0, "the program ended before it answered")
    assert raised.reward == 1.0


@needs_bubblewrap
def test_exceptions_reach_the_test_as_the_builtin_ones_they_are():
    test = "def check(candidate):\n    for x in (1, 2):\n        try:\n            candidate(x)\n        except LookupError as error:\n"
    test += "            assert 'own' in str(error)\n        else:\n            assert False\n"
    code = "class Own(KeyError): pass\ndef near(x): raise (Own if x > 1 else KeyError)('own')"
    assert judged({**HUMAN_EVAL, "test": test}, fenced(code))[0].reward == 1.0


@needs_bubblewrap
def test_live_objects_share_a_process_and_the_explanation_says_so():
    row = {
        "test": ["one = Link(1)\ntwo = Link(2, one)", "assert total(two) == 3", "assert total(None) == 0"],
        "names": ["total"],
        "shared": True,
    }
    link = "class Link:\n    def __init__(self, value, rest=None): self.value, self.rest = value, rest\n"
    right, wrong, gone = judged(
        row,
        fenced(link + "def total(x): return x.value + total(x.rest) if x else 0"),
        fenced(link + "def total(x): return 3"),
        fenced(link + "import os\ndef total(x): os._exit(0)"),
    )
    assert right.explanation == "all tests pass (weaker: the test ran in the program's own process)"
    assert (wrong.reward, gone.reward) == (0.0, 0.0)


# --- EvalPlus' rule


def plus(entry: str, solution: str, inputs: list[Any], *programs: str, atol: float = 0) -> list[float]:
    row = {"prompt": "", "entry_point": entry, "canonical_solution": solution, "atol": atol, "base_input": [], "plus_input": inputs}
    return [verdict.reward for verdict in judged(row, *map(fenced, programs))]


@needs_bubblewrap
def test_floats_are_compared_within_a_tolerance_and_types_count_then():
    solution = "def f(x): return x / 3"
    assert plus("f", solution, [[1.0]], "def f(x): return x / 3 + 1e-7", "def f(x): return x / 3 + 1e-5", "def f(x): return [x / 3]") == [
        1,
        0,
        0,
    ]
    solution = "def f(x): return [x, x / 3]"
    programs = ("def f(x): return [x + 1e-8, x / 3]", "def f(x): return (x, x / 3)", "def f(x): return [x]", "def f(x): return [x, None]")
    assert plus("f", solution, [[1.0]], *programs) == [1, 0, 0, 0]
    # The tolerance that a float brought holds for what comes after it, as upstream; before it there is none.
    assert plus("f", "def f(x): return x", [[0.5], [10**9]], "def f(x): return x + 10 if x > 1 else x") == [1]
    assert plus("f", "def f(x): return x", [[10**9], [0.5]], "def f(x): return x + 10 if x > 1 else x") == [0]


@needs_bubblewrap
def test_tasks_with_several_right_answers_have_their_own_rule():
    assert plus(
        "find_zero", "def find_zero(xs): return 9", [[[-4, 0, 1]]], "def find_zero(xs): return -2", "def find_zero(xs): return 9", atol=1e-4
    ) == [1, 0]
    assert plus("Diff", "def Diff(a): return a", [[[1, 2]]], "def Diff(a): return a[::-1] * 2", "def Diff(a): return [1]") == [1, 0]
    match = "import re\ndef check_str(s): return re.match('a', s)"
    assert plus("check_str", match, [["ab"], ["b"]], match, "def check_str(s): return s[0] == 'a'", "def check_str(s): return True") == [
        1,
        1,
        0,
    ]
    assert plus("sum_div", "def sum_div(n): return 6", [[6]], "def sum_div(n): return 0", "def sum_div(n): return 5") == [1, 0]
    assert plus("are_equivalent", "def are_equivalent(a): return True", [[1]], "def are_equivalent(a): return False") == [1]
    assert plus("surface_Area", "def surface_Area(b, h): return 33", [[3, 4]], "def surface_Area(b, h): return 35", atol=1e-4) == [1]
    assert plus("surface_Area", "def surface_Area(b, h): return 33", [[3, 4]], "def surface_Area(b, h): return 34.6", atol=1e-4) == [0]
    assert plus("digit_distance_nums", "def digit_distance_nums(a, b): return 9", [[1, 23]], "def digit_distance_nums(a, b): return 4") == [
        1
    ]


@needs_bubblewrap
def test_base_and_plus_are_scores_of_their_own_and_a_call_has_its_own_time():
    programs = ["def halves(x): return [x / 2] if x > 2 else x", "def halves(x): return x", "def halves(x): return 7"]
    right, base_only, neither = judged(PLUS, *map(fenced, programs), seconds=60)
    assert [(v.reward, v.scores["base"], v.scores["plus"]) for v in (right, base_only, neither)] == [(1, 1, 1), (0, 1, 0), (0, 0, 0)]
    assert base_only.explanation == "plus: AssertionError: input 0: not what the canonical solution returns"
    loop = "def f(x):\n    while x: pass"
    done = asyncio.run(SANDBOX.examine([loop], ["f(0)\ntry: f(1)\nexcept TimeoutError: f(0)\nf(2)"], ["f"], call_s=0.1))
    assert done.verdict == {"passed": False, "unit": 0, "why": "TimeoutError: took more than 0.1 s of processor time", "calls": 4}


def test_release_files_of_evalplus_become_rows(tmp_path):
    prepare = load_module(ROOT / "benchmarks" / "human_eval" / "prepare_plus.py", "prepare").prepare
    oracle: dict[str, Any] = {"settings": {"solution": "f = 1", "entry": "f"}}
    exec(MODULE._ORACLE, oracle)
    rebuilt = oracle["rebuilt"]
    common = {"prompt": "p", "entry_point": "f", "canonical_solution": "c", "atol": 0, "contract": "", "base_input": []}
    given = {
        "HumanEval/3": [[1, [2.0], {"a": [1]}]],
        "Mbpp/2": [[[1, 2], [3]]],
        "Mbpp/63": [[[[1, 2]]]],
        "Mbpp/75": [[[[1, 2]], 6]],
        "Mbpp/106": [[[1], [2]]],
        "Mbpp/115": [[[[1, 1], [], {}]]],
        "Mbpp/124": [["0", "1j"]],
        "Mbpp/250": [[[1, 2], 2]],
        "Mbpp/252": [["1+2j"]],
        "Mbpp/259": [[[[1, 2]], [[3]]]],
        "Mbpp/278": [[[1, [2]]]],
        "Mbpp/307": [[["a"], 1, 50]],
        "Mbpp/580": [[[1, [2, [3]]]]],
        "Mbpp/722": [[{"a": [6.2, 70]}, 6, 70]],
        "Mbpp/777": {},
    }
    with gzip.open(tmp_path / "x.jsonl.gz", "wt") as file:
        file.writelines(json.dumps({**common, "task_id": name, "plus_input": value}) + "\n" for name, value in given.items())
    rows = list(prepare({"x.jsonl.gz": tmp_path / "x.jsonl.gz"}))
    made = {row["id"]: [[rebuilt(part) for part in parts] for parts in row["plus_input"]] for row in rows}
    assert made == {
        "HumanEval/3": [[1, [2.0], {"a": [1]}]],
        "Mbpp/2": [[(1, 2), (3,)]],
        "Mbpp/63": [[[(1, 2)]]],
        "Mbpp/75": [[[(1, 2)], 6]],
        "Mbpp/106": [[[1], (2,)]],
        "Mbpp/115": [[[{1}, {}, {}]]],
        "Mbpp/124": [[0.0, 1j]],
        "Mbpp/250": [[(1, 2), 2]],
        "Mbpp/252": [[1 + 2j]],
        "Mbpp/259": [[((1, 2),), ((3,),)]],
        "Mbpp/278": [[(1, (2,))]],
        "Mbpp/307": [[("a",), 1, 50]],
        "Mbpp/580": [[(1, (2, (3,)))]],
        "Mbpp/722": [[{"a": (6.2, 70)}, 6, 70]],
        "Mbpp/777": [],
    }


# --- what travels

SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.complex_numbers(allow_nan=False) | st.text() | st.binary()
)
HASHABLE = st.recursive(SCALARS, lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3), max_leaves=6)
VALUES = st.recursive(
    HASHABLE | st.sets(HASHABLE, max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner) | st.dictionaries(HASHABLE, inner, max_size=3),
    max_leaves=12,
)


def typed(value: Any) -> Any:
    """The value with its types spelled out, so that 1, 1.0 and True are three."""
    if isinstance(value, dict):
        return ("dict", [(typed(key), typed(item)) for key, item in value.items()])
    if isinstance(value, set | frozenset):
        return (type(value).__name__, sorted(map(repr, map(typed, value))))
    return (type(value).__name__, [typed(item) for item in value] if isinstance(value, list | tuple) else value)


@given(VALUES)
@example([1, 1.0, True, 1 << 200, -(1 << 61), float("inf"), "\ud800", {}, (), set(), {"tuple": [1]}])
@settings(max_examples=200, deadline=None)
def test_builtin_values_arrive_as_what_they_were(value):
    line = packed(value)
    assert "\n" not in line
    assert typed(unpacked(line)) == typed(value)


def test_other_values_arrive_as_what_can_be_compared_or_not_at_all():
    class Text(str):
        def __eq__(self, other: object) -> bool:
            return True

        __hash__ = str.__hash__

    assert unpacked(packed(Text("a"))) == "a" and type(unpacked(packed(Text("a")))) is str
    assert unpacked(packed(range(3, 0, -1))) == range(3, 0, -1)
    assert list(unpacked(packed(map(str, (1, 2))))) == ["1", "2"]
    assert sorted(unpacked(packed({"b": 1, "a": 2}.keys()))) == ["a", "b"]
    loop: list[Any] = []
    loop.append(loop)
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    for value in (object(), loop, deep, [0] * 2_000_001, print, type, [object()]):
        arrived = unpacked(packed(value))
        arrived = arrived[0] if isinstance(arrived, list) else arrived
        assert isinstance(arrived, Other)
        with pytest.raises(TypeError, match="is not compared"):
            _ = arrived == arrived
        with pytest.raises(TypeError):
            bool(arrived)


@needs_bubblewrap
@given(st.text(max_size=60) | st.text(alphabet="`python\n def near(x):=1", max_size=60))
@settings(max_examples=6, deadline=None)
def test_any_text_has_a_verdict(text):
    (verdict,) = judged(HUMAN_EVAL, text, seconds=1)
    assert verdict.explanation


# --- upstream's tasks


@needs_bubblewrap
@pytest.mark.parametrize("name", ["human_eval", "mbpp"])
def test_canonical_solutions_of_upstream_pass(name):
    """Every 40th; `tests/fidelity.py` runs them all."""
    file = sources() / name / ("HumanEval.jsonl.gz" if name == "human_eval" else "mbpp.jsonl")
    rows = list(load_module(ROOT / "benchmarks" / name / "prepare.py", "prepare").prepare({file.name: file}))
    assert len(rows) == {"human_eval": 164, "mbpp": 500}[name]
    chosen = [row for number, row in enumerate(rows) if number % 40 == 0 or row["id"] in ("HumanEval/32", "HumanEval/38", "126", "367")]

    async def all_of() -> list[Verdict]:
        tasks = [make_task(**row) for row in chosen]
        return await asyncio.gather(*(VERIFIER.function(task, make_rollout(MODULE.reference(task)), SANDBOX, seconds=10) for task in tasks))

    verdicts = asyncio.run(all_of())
    assert [(row["id"], v.explanation) for row, v in zip(chosen, verdicts, strict=True) if v.reward != 1] == []


@needs_bubblewrap
def test_the_sandbox_is_asked_for_no_more_than_it_gives():
    done = asyncio.run(SANDBOX.examine(["def f(x): return x"], ["assert f(1) == 1", "assert f(2) == 3"], ["f"], limits=Limits(cpu_s=2)))
    assert done.verdict == {"passed": False, "unit": 1, "why": "AssertionError", "calls": 2}
