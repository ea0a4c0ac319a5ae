r"""bigcodebench: a function that uses libraries passes the unittest of its task; weaker: test and program share a process.

Source: Zhuo et al. 2024, "BigCodeBench: Benchmarking Code Generation with Diverse Function Calls and Complex Instructions", and its
evaluator (`bigcodebench/eval`, bigcode-project/bigcodebench), as NeMo Gym's server `bigcodebench` calls it. A row has `test` (source
with a class `TestCases`), `entry_point` and `code_prompt`, at the top or in `verifier_metadata`.

The program is the last block that begins with three backticks and `python`, else the last that begins with three backticks, without
blanks around it; without any it is the whole answer, and a block that is not closed is none. It runs behind the row's `code_prompt` with
`pass` as its body (BigCodeBench's "calibrated" mode). It passes where no test fails or ends with an error; skipped tests are no failures.

These tests need live objects, so that they run in the program's own process, in the sandbox; that is weaker than a test which the
program cannot reach. What is done about it: each outcome leaves the process when it is known; the end must be told together with a
word that a judge beside the process gives out when the tests are over; a program that changes unittest fails; and so does one that
returns objects of a class of its own with an `__eq__` of its own. A program that knows this very file can still speak for its tests.

A library that the test or `code_prompt` imports and that is not there is no wrong answer but missing data, named in one sentence.
"""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytest_gym import DataError, Limits, Rollout, Sandbox, SandboxError, Task, Verdict, verifier
from pytest_gym.extract import python_tree

_LONGEST = 1_000_000
_MEMORY_MB = 8192
_FENCE = "```"


@verifier
async def bigcodebench(
    task: Task, rollout: Rollout, sandbox: Sandbox, *, calibrated: bool = True, seconds: int = 240, python: str = ""
) -> Verdict:
    """Reward 1 where the program passes the row's unittest.

    Options:
        calibrated: whether the row's `code_prompt` stands before the program.
        seconds: of processor time for the whole test.
        python: the interpreter that runs programs and tests, as the path of one in a virtual environment with the libraries that
            BigCodeBench needs; else the one that runs pytest-gym, in a container the image's own.
    """
    row = row_of(task)
    code = code_of(rollout.text)
    if not code:
        return Verdict(0.0, explanation="no program in the answer")
    if len(code) > _LONGEST:
        return Verdict(0.0, explanation=f"a program of {len(code):,} characters, more than {_LONGEST:,}")
    program = f"{row['code_prompt']}\n    pass\n{code}" if calibrated else code
    try:
        python_tree(program)
    except SyntaxError as error:
        return Verdict(0.0, extracted=code, explanation=f"the program does not compile: {str(error)[:200]}")
    needed = sorted(imports_of(row["test"]) | imports_of(row["code_prompt"] + "\n    pass\n"))
    command, shown, paths = _interpreter(sandbox, python)
    done = await sandbox.run(
        [command, "-I", "-c", _RUNNER, *paths],
        judge=_JUDGE,
        secret={"needed": needed, "program": program, "test": row["test"], "entry": row["entry_point"]},
        limits=Limits(
            cpu_s=seconds, memory_mb=max(sandbox.memory_mb, _MEMORY_MB), processes=256, open_files=1024, disk_mb=256, output_kb=16384
        ),
        read_only=shown,
        environment={"OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"},
    )
    end: Mapping[str, Any] = done.verdict or {"end": f"the program ended its sandbox ({done.ended})"}
    if end["end"] == "start":
        raise SandboxError(f"bigcodebench: the interpreter {command} does not start: {done.stderr.strip()[-300:] or done.ended}")
    if missing := end.get("missing"):
        raise SandboxError(
            f"task {task.id!r} needs {', '.join(missing)}, which {command} does not have: install it there, or set verifier.python to an "
            "interpreter that has it"
        )
    if end["end"] == "passed":
        return Verdict(1.0, extracted=code, explanation=f"all {end['tests']} tests pass (weaker: in the program's own process)")
    return Verdict(0.0, extracted=code, explanation=str(end["end"])[:300] or "no reason given")


@bigcodebench.reference
def reference(task: Task) -> str | None:
    """The canonical solution behind `code_prompt`, where the row has one."""
    row = row_of(task)
    solution = row.get("canonical_solution", task.get("canonical_solution"))
    return f"```python\n{row['code_prompt']}{solution}\n```" if solution else None


def _interpreter(sandbox: Sandbox, python: str) -> tuple[str, list[Path], list[str]]:
    """The interpreter, the folders that it needs to see, and where it finds further packages."""
    if not python and sandbox.backend.name in ("docker", "podman"):
        return "python", [], []
    command = os.path.normpath(python or sys.executable)
    paths = [] if python else [path for path in sys.path if path.endswith("site-packages")]
    return command, [Path(command).parent.parent, *map(Path, paths)], paths


def row_of(task: Task) -> Mapping[str, Any]:
    """The part of the row that has the test. Raises DataError naming row and field."""
    inner = task.get("verifier_metadata")
    row: Mapping[str, Any] = inner if isinstance(inner, Mapping) and "test" in inner else task.fields
    for field in ("test", "entry_point", "code_prompt"):
        if not isinstance(row.get(field), str) or not row[field].strip():
            raise DataError(f"{task.where(field)}: must be a text that is not empty")
    try:
        python_tree(row["test"])
    except SyntaxError as error:
        raise DataError(f"{task.where('test')}: does not compile: {error}") from None
    return row


def code_of(text: str) -> str:
    """The program of an answer, '' where there is none.

    >>> code_of("First ```python\\na\\n``` then ```python\\nb\\n``` and ```c```")
    'b'
    >>> code_of("print(1) ")
    'print(1)'
    >>> code_of("```python\\nprint(1)")
    ''
    """
    text = text.replace("\r", "")
    for opening in (f"{_FENCE}python", _FENCE):
        start = text.rfind(opening)
        if start >= 0:
            content, closed, _ = text[start + len(opening) :].partition(_FENCE)
            return content.strip() if closed else ""
    return text.strip()


def imports_of(source: str) -> set[str]:
    """The modules at the top of all names that a source imports; none where it does not compile."""
    try:
        tree = python_tree(source)
    except SyntaxError:
        return set()
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found


_JUDGE = r"""
import json, os

replies = os.fdopen(0, "rb")


def hear():
    line = replies.readline(1 << 22)
    return json.loads(line) if line.endswith(b"\n") else None


def tell(message):
    line = json.dumps(message).encode() + b"\n"
    while line:
        line = line[os.write(1, line) :]


def judge():
    try:
        if hear() != {"ready": True}:
            return {"end": "start"}
    except ValueError:
        return {"end": "start"}
    tell(given["needed"])
    missing = hear()
    if missing["missing"]:
        return {"end": "missing", "missing": missing["missing"]}
    tell([given["program"], given["test"], given["entry"]])
    word, tests, failed = os.urandom(16).hex(), 0, None
    while True:
        said = hear()
        if said is None:
            return {"end": failed or "the program ended before its tests did"}
        if "failed" in said:
            failed = failed or str(said["failed"])[:300]
        elif "over" in said:
            tell(word)
        elif said.get("word") == word:
            return {"end": failed or "passed", "tests": int(said["tests"])}


try:
    verdict = judge()
except (ValueError, KeyError, TypeError, OSError):
    verdict = {"end": "the program spoke for its tests"}
"""

_RUNNER = r"""
import builtins, functools, importlib.util, json, os, sys, types, unittest, unittest.mock

sys.path += sys.argv[1:]
del sys.argv[1:]


def main():
    "All in one function, so that the program finds none of it by name in a module."
    receive, send, null = os.fdopen(os.dup(0), "rb"), os.dup(1), os.open(os.devnull, os.O_RDWR)
    write, dumps, loads, read, find, leave = os.write, json.dumps, json.loads, receive.readline, importlib.util.find_spec, os._exit
    for descriptor in (0, 1):
        os.dup2(null, descriptor)

    def tell(message):
        line = dumps(message).encode() + b"\n"
        while line:
            line = line[write(send, line) :]

    def found(name):
        try:
            return find(name) is not None
        except (ImportError, ValueError):
            return False

    class Result:
        "What TestCase and TestSuite need of a result. It keeps nothing that could be taken back, and takes no new methods."

        __slots__ = ("_moduleSetUpFailed", "_previousTestClass", "_testRunEntered", "failfast", "shouldStop", "testsRun")

        def __init__(self):
            self._moduleSetUpFailed = self._testRunEntered = self.failfast = self.shouldStop = False
            self._previousTestClass, self.testsRun = None, 0

        def startTest(self, case):
            self.testsRun += 1

        def stopTest(self, case):
            if fingerprint() != before:
                tell({"failed": "the program changed unittest"})

        def addError(self, case, error):
            tell({"failed": f"{case.id().split('.')[-1]}: {error[0].__name__}: {error[1]}"[:300]})

        addFailure = addError

        def addSubTest(self, case, sub, error):
            if error is not None:
                tell({"failed": f"{case.id().split('.')[-1]}: {error[0].__name__}: {error[1]}"[:300]})

        def addSuccess(self, case, *_):
            pass

        addSkip = addExpectedFailure = addUnexpectedSuccess = addSuccess

    def fingerprint():
        "What unittest's classes are made of, down to the code of their functions."
        owners = [Result, TestCase, *(value for value in vars(unittest.case).values() if isinstance(value, type))]
        for module in (unittest.suite, unittest.loader, unittest.mock):
            owners += [value for value in vars(module).values() if isinstance(value, type) and value.__module__ == module.__name__]
        values = [(owner, name, value) for owner in owners for name, value in list(vars(owner).items())]
        callable_types = (types.FunctionType, classmethod, staticmethod, property)
        return {
            (owner, name): (value, getattr(getattr(value, "__func__", value), "__code__", None))
            for owner, name, value in values
            if isinstance(value, callable_types)
        }

    def of_a_library(kind):
        owner = sys.modules.get(kind.__module__)
        if owner is None or kind.__module__ in ("__test__", "__main__"):
            return False
        for part in kind.__qualname__.split("."):
            owner = vars(owner).get(part) if hasattr(owner, "__dict__") else None
        return owner is kind

    def decides(value, depth=0):
        "Whether a value is, or holds, an object of a class that the program made, with an __eq__ of its own; or mock's ANY."
        for kind in type(value).__mro__:
            if kind is anything or isinstance(vars(kind).get("__eq__"), types.FunctionType) and not of_a_library(kind):
                return True
        if depth < 4 and isinstance(value, (list, tuple, set, frozenset)):
            return any(decides(item, depth + 1) for item in list(value)[:10000])
        if depth < 4 and isinstance(value, dict):
            return any(decides(item, depth + 1) for pair in list(dict.items(value))[:10000] for item in pair)
        return False

    def guarded(function):
        @functools.wraps(function)
        def call(*args, **kwargs):
            value = function(*args, **kwargs)
            if decides(value):
                tell({"failed": "the program returns an object that says itself what it is equal to"})
            return value

        return call

    anything, TestCase = type(unittest.mock.ANY), unittest.TestCase
    tell({"ready": True})
    tell({"missing": [name for name in loads(read()) if not found(name)]})
    program, test, entry = loads(read())
    module = types.ModuleType("__test__")
    module.__dict__.update(__builtins__=builtins, __file__="__test__.py", __package__=None, sys=sys, os=os, environ=os.environ)
    before = fingerprint()
    try:
        exec(compile(program, "__test__.py", "exec"), module.__dict__)
        if fingerprint() != before:
            tell({"failed": "the program changed unittest"})
        if isinstance(module.__dict__.get(entry), types.FunctionType):
            module.__dict__[entry] = guarded(module.__dict__[entry])
        sys.modules["__test__"] = module
        exec(compile(test, "__test__.py", "exec"), module.__dict__)
        result = Result()
        unittest.TestLoader().loadTestsFromTestCase(module.__dict__["TestCases"]).run(result)
        tell({"over": True})
        tell({"word": loads(read()), "tests": result.testsRun})
    except BaseException as error:
        tell({"failed": f"{type(error).__name__}: {error}"[:300]})
    leave(0)


main()
"""
