"""scicode: steps that build on each other, asked one by one and tested beside the program; hostile programs; expected values; the data."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import re
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_gym import GymError, Message, Reply, Rollout, Usage
from pytest_gym.errors import DataError, SandboxError
from pytest_gym.harnesses import load_harness
from pytest_gym.testing import judge, make_task, verifier_cases
from pytest_gym.verify import load_module, load_verifier
from tests.conftest import sources
from tests.sandboxed import needs_bubblewrap

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "benchmarks" / "scicode"
FILE = ROOT / "verifiers" / "scicode.py"
VERIFIER = load_verifier("scicode", FILE)
RULE = load_module(FILE, "scicode")
SCRIPT = load_module(FOLDER / "prepare.py", "prepare")


def step(number: str, **fields: object) -> dict[str, object]:
    return {
        "step_number": number,
        "step_description_prompt": f"Do {number}.",
        "step_background": "Background: none",
        "function_header": "def f(x):",
        "return_line": "    return y",
        "test_cases": ["assert np.allclose(f(np.array([1.0, 2.0])), target)", "assert f(3.0) == target"],
        "targets": [[2.0, 4.0], 6.0],
        **fields,
    }


ONE = {"required_dependencies": "import numpy as np", "sub_steps": [step("1.1", ground_truth_code="def f(x):\n    return 2 * x")]}
TWO = {
    "required_dependencies": "import numpy as np",
    "sub_steps": [
        step("1.1", prefilled="def g(x):\n    return x + x"),
        step("1.2", ground_truth_code="def f(x):\n    return g(x)"),
        step("1.3", ground_truth_code="def h(x):\n    return f(x) / 2", test_cases=["assert h(5.0) == target"], targets=[5.0]),
    ],
}


def fenced(*codes: str) -> str:
    return "\n".join(f"```python\n{code}\n```" for code in codes)


test_cases = needs_bubblewrap(
    verifier_cases(
        VERIFIER,
        full=[(ONE, fenced("import os\ndef f(x):\n    return x * 2.0"))],
        zero=[(ONE, fenced("def f(x):\n    return x"))],
        files=FOLDER,
    )
)

# Each is a program of its own; parts are separated by a line of dashes.
HOSTILE = """
import os
os._exit(0)
---
print('OK')
raise SystemExit(0)
---
import sys
def f(x):
    frame = sys._getframe()
    while frame:
        for space in (frame.f_locals, frame.f_globals):
            try: return space['target']
            except KeyError: pass
        frame = frame.f_back
---
class Same:
    def __eq__(self, other): return True
    def __array_function__(self, *a): return True
def f(x): return Same()
---
np.allclose = lambda *a, **k: True
class Same(float):
    def __eq__(self, other): return True
f = lambda x: Same(x)
---
import builtins
builtins.AssertionError = None
builtins.all = lambda *a: True
def f(x): return 2 * x
---
def f(x):
    import __main__
    __main__.main = None
    return [2.0, 4.0]
"""


@needs_bubblewrap
@pytest.mark.parametrize("code", re.split(r"^---\n", HOSTILE, flags=re.MULTILINE))
def test_hostile_programs_do_not_pass(code):
    # As `prefilled`, since lines that import are taken out of answers.
    row = {**ONE, "sub_steps": [step("1.0", prefilled=code), step("1.1")]}
    verdict = judge(VERIFIER, row, fenced("pass"), files=FOLDER)
    assert verdict.reward == 0.0 and "0 of 1 steps pass" in verdict.explanation


@needs_bubblewrap
def test_steps_build_on_each_other_and_count_one_by_one():
    right = ("def f(x):\n    return g(x)", "def h(x):\n    return f(x) / 2")
    messages = [Message("user", "?"), Message("assistant", fenced(right[0])), Message("user", "?"), Message("assistant", fenced("h = abs"))]
    verdict = judge(VERIFIER, TWO, Rollout(tuple(messages), fenced("h = abs"), attempts=2), files=FOLDER)
    assert verdict.reward == 1.0, "abs(5.0) is 5.0"
    verdict = judge(VERIFIER, TWO, fenced(right[0]), files=FOLDER)
    assert (verdict.reward, verdict.scores) == (0.0, {"problem_accuracy": 0.0, "steps_passed": 1.0, "steps": 2.0})
    assert verdict.explanation.endswith("step 1.3: there is no code for it")
    assert VERIFIER.aggregates["subtask_accuracy"].function({"steps_passed": 3.0, "steps": 4.0}) == 0.75


@needs_bubblewrap
def test_the_comparisons_of_upstream():
    tests = [
        "from scicode.compare.cmp import are_dicts_close\nassert are_dicts_close(f(0), target)",
        "from scicode.compare.cmp import cmp_tuple_or_list\nassert cmp_tuple_or_list(f(1), target)",
        "from scicode.compare.cmp import are_csc_matrix_close\nassert are_csc_matrix_close(f(2), target)",
        "n = 2\nassert all(f(n)[i, i] == target[i][i] for i in range(n))",
    ]
    code = "import scipy.sparse\nKINDS = [{'a': np.ones(2), 'b': 'x'}, (1, np.array([0.1 + 0.2])), scipy.sparse.csc_matrix(np.eye(2))]\n"
    targets = [{"a": [1, 1], "b": "x"}, [1, [0.3]], [[1, 0], [0, 1]], [[1, 0], [0, 1]]]
    first = step("1.0", prefilled=code)
    row = {**ONE, "sub_steps": [first, step("1.1", test_cases=tests, targets=targets)]}
    assert judge(VERIFIER, row, fenced("def f(n):\n    return KINDS[n]"), files=FOLDER).reward == 1.0


def test_without_expected_values_a_row_is_missing_data(tmp_path):
    bare = step("7.1")
    del bare["targets"]
    with pytest.raises(DataError, match=r"step 7.1: its expected values are in SciCode's test_data.h5, which is not at .*README"):
        judge(VERIFIER, {**ONE, "sub_steps": [bare]}, fenced("f = abs"), files=tmp_path)
    with pytest.raises(DataError, match=r"step 7.1, field 'targets': must be a list with a value for each of the 2 tests"):
        judge(VERIFIER, {**ONE, "sub_steps": [step("7.1", targets=[1])]}, fenced("f = abs"), files=tmp_path)


def test_expected_values_of_upstreams_file(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "test_data.h5", "w") as data:
        data["7.1/test1/var1"] = [2.0, 4.0]
        data["7.1/test2/var1"] = "text"
        data["7.1/test2/var2"] = 3
        data["7.2/test1/var1/list/a"] = [1.0]
        data["7.2/test1/var1/list/b"] = [2.0, 3.0]
        data["7.2/test2/var1/0.5"] = 1.5
        data["7.2/test2/var1/name"] = "x"
        for name, values in (("data", [1.0, 2.0]), ("shape", [2, 2]), ("row", [0, 1]), ("col", [1, 0])):
            data[f"7.3/test1/var1/sparse_matrix/{name}"] = values
    task = make_task()

    def read(number: str, tests: int) -> list[object]:
        return RULE.targets_of(task, {"step_number": number, "test_cases": [""] * tests}, tmp_path / "test_data.h5")

    array, pair = read("7.1", 2)
    assert (array.tolist(), pair) == ([2.0, 4.0], ("text", 3))
    listed, named = read("7.2", 2)
    assert ([part.tolist() for part in listed], named) == ([[1.0], [2.0, 3.0]], {0.5: 1.5, "name": "x"})
    assert read("7.3", 1)[0].toarray().tolist() == [[0.0, 1.0], [2.0, 0.0]]
    with pytest.raises(DataError, match=r"step 7.9: .*test_data.h5 has no values for it"):
        read("7.9", 1)


@needs_bubblewrap
def test_a_package_that_is_missing_is_no_wrong_answer():
    with pytest.raises(SandboxError, match=r"task '0000' needs not_a_package, which .* does not have: install it there"):
        judge(VERIFIER, {**ONE, "required_dependencies": "import numpy as np\nimport not_a_package"}, fenced("f = abs"), files=FOLDER)


@given(st.text(alphabet="`py\n import from x", max_size=80))
def test_code_of_any_text_is_the_same_in_harness_and_verifier(text):
    harness = load_module(
        Path(str(importlib.util.find_spec("pytest_gym.harnesses").submodule_search_locations[0])) / "scicode.py", "harness"
    )
    assert RULE.code_of(text) == harness.code_of(text)
    assert not any(line.startswith("import ") for line in RULE.code_of(text).split("\n"))


@dataclass
class Scripted:
    """A model that gives these answers in turn, or fails."""

    answers: list[str | GymError]
    asked: list[str] = field(default_factory=list)

    async def ask(self, messages, *, tools=None):
        self.asked.append(messages[-1].content)
        answer = self.answers[len(self.asked) - 1]
        if isinstance(answer, GymError):
            raise answer
        return Reply(Message("assistant", answer), "stop", Usage())

    def rollout(self, messages, reply):
        return Rollout((*messages, reply.message), reply.message.content, attempts=len(self.asked))


def test_the_harness_asks_step_by_step_and_stops_where_the_context_ends():
    harness = load_harness("scicode", [], "test")
    model = Scripted([fenced("import os\ndef f(x): return 1"), fenced("h = 2")])
    rollout = asyncio.run(harness(make_task(**TWO), model))
    assert [message.role for message in rollout.messages] == ["user", "assistant"] * 2
    assert "def g(x):\n    return x + x" in model.asked[0] and "Do 1.2." in model.asked[0] and "Do 1.3." not in model.asked[0]
    assert "def f(x): return 1" in model.asked[1] and "import os" not in model.asked[1]
    assert RULE.answers_of(rollout, 2) == [fenced("import os\ndef f(x): return 1"), fenced("h = 2")]
    full = GymError("too long")
    full.kind = "context_length"
    assert len(asyncio.run(harness(make_task(**TWO), Scripted([fenced("a"), full]))).messages) == 2
    for answers in ([full], [fenced("a"), GymError("gone")]):
        with pytest.raises(GymError):
            asyncio.run(harness(make_task(**TWO), Scripted(answers)))


def test_rows_keep_the_steps_and_take_what_upstream_gives(tmp_path):
    problem = {**TWO, "problem_id": "62", "problem_name": "p"}
    (tmp_path / "p.jsonl").write_text(json.dumps(problem) + "\n")
    (tmp_path / "x.txt").write_text("def f(x): pass")
    [row] = SCRIPT.prepare({"problems_test.jsonl": tmp_path / "p.jsonl", "1.2.txt": tmp_path / "x.txt"})
    assert row["id"] == "62" and [part.get("prefilled") for part in row["sub_steps"]] == [None, "def f(x): pass", None]


def test_the_real_first_problem_has_twelve_steps_without_expected_values(tmp_path):
    path = sources() / "scicode" / "first_problem.jsonl"
    [row] = SCRIPT.prepare({"first_problem.jsonl": path})
    assert (row["id"], len(row["sub_steps"])) == ("77", 12)
    with pytest.raises(DataError, match=r"step 77.1: its expected values are in SciCode's test_data.h5"):
        judge(VERIFIER, row, fenced("def wrap(r, L):\n    return r % L"), files=tmp_path)
