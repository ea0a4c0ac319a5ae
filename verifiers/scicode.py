r"""scicode: the code of each step of a scientific problem passes its tests; weaker: test and program share a process.

Source: Tian et al. 2024, "SciCode: A Research Coding Benchmark Curated by Scientists", and its evaluator (scicode-bench/SciCode), as NeMo
Gym's server `scicode` calls it. A row has `required_dependencies` and `sub_steps`, each with `step_number` and `test_cases`, Python
source that asserts something of `target`. The expected values are in SciCode's file test_data.h5, or as JSON in the step's `targets`.

The answers are the assistant's messages in order, one for each step without `prefilled` code (the harness `scicode` asks for them); a
single message may hold the blocks of all steps. Of an answer the first python block counts, without its imports. A step's program is the
dependencies, the code of all steps before it and its own. A step without an answer has failed.

The reward is 1 where all steps pass (problem accuracy); the headline `subtask_accuracy` is passed steps over all steps of all tasks.

Tests run in the program's own process, in the sandbox, because they need live objects; that is weaker than a test which the program
cannot reach. What is done about it: the expected value comes into the process only when the test itself asks for it, behind the call
of the program; the end must be told with a word that a judge beside the process gives out; a program that changes numpy's or Python's
own functions fails, and so does one that returns objects which decide themselves what they are equal to.
"""

from __future__ import annotations

import ast
import asyncio
import base64
import os
import pickle
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pytest_gym import DataError, Limits, Rollout, Sandbox, SandboxError, Task, Verdict, verifier
from pytest_gym.extract import python_tree

_LONGEST = 200_000


@verifier
async def scicode(
    task: Task, rollout: Rollout, files: Path, sandbox: Sandbox, *, seconds: int = 30, python: str = "", test_data: str = "test_data.h5"
) -> Verdict:
    """Reward 1 where all steps pass their tests.

    Options:
        seconds: of processor time for each step.
        python: the interpreter that runs the programs, as the path of one in a virtual environment with numpy, scipy and what else the
            problems need; else the one that runs pytest-gym, in a container the image's own.
        test_data: SciCode's file of expected values, from the benchmark's folder.
    """
    steps = [step for step in task["sub_steps"] if not step.get("prefilled")]
    answers = [code_of(text) for text in answers_of(rollout, len(steps))]
    before: list[str] = [task["required_dependencies"]]
    programs: list[str] = []
    for step in task["sub_steps"]:
        number = len(programs)
        code = step.get("prefilled") or (answers[number] if number < len(answers) else "")
        before.append(code)
        if not step.get("prefilled"):
            programs.append("\n".join(before) if code.strip() else "")
    expected = [targets_of(task, step, files / test_data) if program else [] for step, program in zip(steps, programs, strict=True)]
    ran = zip(steps, programs, expected, strict=True)
    ends = await asyncio.gather(*(_run(task, sandbox, *each, seconds=seconds, python=python) for each in ran))
    passed = sum(end is None for end in ends)
    first = next((f"step {step['step_number']}: {end}" for step, end in zip(steps, ends, strict=True) if end is not None), "")
    return Verdict(
        float(passed == len(steps)),
        explanation=f"{passed} of {len(steps)} steps pass (weaker: in the program's own process)" + (f"; {first}" if first else ""),
        scores={"problem_accuracy": float(passed == len(steps)), "steps_passed": float(passed), "steps": float(len(steps))},
    )


@scicode.aggregate(statistics=("steps_passed", "steps"))
def subtask_accuracy(totals: Mapping[str, Any]) -> Any:
    """The share of all steps of all tasks that pass."""
    return totals["steps_passed"] / totals["steps"]


@scicode.reference
def reference(task: Task) -> str | None:
    """The code of all steps, a block each, where the row has it."""
    codes = [step.get("ground_truth_code") for step in task["sub_steps"] if not step.get("prefilled")]
    return "\n".join(f"```python\n{code}\n```" for code in codes) if all(codes) else None


def answers_of(rollout: Rollout, steps: int) -> list[str]:
    """The answers, one for each step that was asked."""
    said = [message.content for message in rollout.messages if message.role == "assistant" and isinstance(message.content, str)]
    if len(said) > 1 or steps == 1:
        return said
    blocks = re.findall(r"```python\n.*?```", rollout.text[: _LONGEST * steps], re.DOTALL)
    return blocks if len(blocks) > 1 else said


def code_of(text: str) -> str:
    """The first python block of an answer, else its first block, else all of it, without lines that import; '' if it is far too long."""
    parts: Sequence[str] = text.split("```python", 1)
    if len(parts) == 1:
        parts = text.split("```", 1)
    code = parts[-1].split("```", 1)[0]
    if len(code) > _LONGEST:
        return ""
    return "\n".join(line for line in code.split("\n") if not re.match(r"\s*(?:import |from .*\simport\s)", line))


def targets_of(task: Task, step: Mapping[str, Any], file: Path) -> list[Any]:
    """The expected values of a step's tests. Raises DataError naming the row where there are none."""
    tests, number = step["test_cases"], step["step_number"]
    where = f"{task.where()}, step {number}"
    if "targets" in step:
        if not isinstance(step["targets"], list) or len(step["targets"]) != len(tests):
            raise DataError(f"{where}, field 'targets': must be a list with a value for each of the {len(tests)} tests")
        return list(step["targets"])
    if not file.is_file():
        raise DataError(
            f"{where}: its expected values are in SciCode's test_data.h5, which is not at {file}: see the benchmark's README.md"
        )
    try:
        import h5py
    except ImportError:
        raise DataError(f"{where}: {file} cannot be read without h5py: pip install 'pytest-gym[scicode]'") from None
    try:
        with h5py.File(file) as data:
            return [_case([_value(part) for part in data[f"{number}/test{n + 1}"].values()]) for n in range(len(tests))]
    except (KeyError, OSError, ValueError) as error:
        raise DataError(f"{where}: {file} has no values for it: {error}") from None


def _case(parts: list[Any]) -> Any:
    return parts[0] if len(parts) == 1 else tuple(parts)


def _value(node: Any) -> Any:
    """A value of test_data.h5: an array, a text, or a group that stands for a list, a sparse matrix or a dict."""
    if not hasattr(node, "keys"):
        value = node[()]
        return value.decode() if isinstance(value, bytes) else value
    first = next(iter(node.keys()), "")
    if first == "list":
        return [part[()] for part in node[first].values()]
    if first == "sparse_matrix":
        return _sparse(node[first])
    return {_key(name): _sparse(part["sparse_matrix"]) if hasattr(part, "keys") else _value(part) for name, part in node.items()}


def _key(name: str) -> str | float:
    try:
        return float(name)
    except ValueError:
        return name


def _sparse(node: Any) -> Any:
    import scipy.sparse

    data, shape = node["data"][()], tuple(node["shape"][()])
    if "row" in node and "col" in node:
        return scipy.sparse.coo_matrix((data, (node["row"][()], node["col"][()])), shape=shape)
    inner = (data, node["indices"][()], node["indptr"][()])
    if "blocksize" in node:
        return scipy.sparse.bsr_matrix(inner, shape=shape, blocksize=tuple(node["blocksize"][()]))
    return scipy.sparse.csr_matrix(inner, shape=shape)


def _interpreter(sandbox: Sandbox, python: str) -> tuple[str, list[Path], list[str]]:
    """The interpreter, the folders that it needs to see, and where it finds further packages."""
    if not python and sandbox.backend.name in ("docker", "podman"):
        return "python", [], []
    command = os.path.normpath(python or sys.executable)
    paths = [] if python else [path for path in sys.path if path.endswith("site-packages")]
    return command, [Path(command).parent.parent, *map(Path, paths)], paths


async def _run(
    task: Task, sandbox: Sandbox, step: Mapping[str, Any], program: str, targets: Sequence[Any], *, seconds: int, python: str
) -> str | None:
    """Why a step does not pass, or None."""
    if not program:
        return "there is no code for it"
    try:
        python_tree(program)
    except SyntaxError as error:
        return f"its code does not compile: {str(error)[:200]}"
    command, shown, paths = _interpreter(sandbox, python)
    imports = {"numpy"}
    for source in (task["required_dependencies"], *step["test_cases"]):
        try:
            nodes = list(ast.walk(python_tree(source)))
        except SyntaxError:
            raise DataError(f"{task.where()}, step {step['step_number']}: source that does not compile") from None
        imports |= {alias.name.partition(".")[0] for node in nodes if isinstance(node, ast.Import) for alias in node.names}
        imports |= {(node.module or "").partition(".")[0] for node in nodes if isinstance(node, ast.ImportFrom)}
    packed = [base64.b64encode(pickle.dumps(target, 4)).decode() for target in targets]
    done = await sandbox.run(
        [command, "-I", "-c", _RUNNER, *paths],
        judge=_JUDGE,
        secret={"needed": sorted(imports - {"scicode", ""}), "program": program, "tests": step["test_cases"], "targets": packed},
        limits=Limits(cpu_s=seconds, memory_mb=max(sandbox.memory_mb, 8192), open_files=1024),
        read_only=shown,
        environment={"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MPLBACKEND": "Agg"},
    )
    end: Mapping[str, Any] = done.verdict or {"end": f"the program ended its sandbox ({done.ended})"}
    if end["end"] == "start":
        raise SandboxError(f"scicode: the interpreter {command} does not start: {done.stderr.strip()[-300:] or done.ended}")
    if missing := end.get("missing"):
        what = f"task {task.id!r} needs {', '.join(missing)}, which {command} does not have"
        raise SandboxError(f"{what}: install it there, or set verifier.python to an interpreter that has it")
    return None if end["end"] == "passed" else str(end["end"])[:300] or "no reason given"


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
    tell([given["program"], given["tests"]])
    word, failed, done = os.urandom(16).hex(), None, 0
    while True:
        said = hear()
        if said is None:
            return {"end": failed or "the program ended before its tests did"}
        if "failed" in said:
            failed = failed or str(said["failed"])[:300]
        elif "target" in said:
            tell(given["targets"][done])
        elif "done" in said:
            done += 1
        elif "over" in said:
            tell(word)
        elif said.get("word") == word:
            return {"end": failed or ("passed" if done == len(given["tests"]) else "not all tests ran")}


try:
    verdict = judge()
except (ValueError, KeyError, TypeError, OSError, IndexError):
    verdict = {"end": "the program spoke for its tests"}
"""

_RUNNER = r"""
import base64, builtins, functools, importlib.util, json, os, pickle, sys, types

sys.path += sys.argv[1:]
del sys.argv[1:]


def main():
    "All in one function, so that the program finds none of it by name in a module."
    receive, send, null = os.fdopen(os.dup(0), "rb"), os.dup(1), os.open(os.devnull, os.O_RDWR)
    write, dumps, loads, read, find, leave = os.write, json.dumps, json.loads, receive.readline, importlib.util.find_spec, os._exit
    frame_at, unpickle, decode = sys._getframe, pickle.loads, base64.b64decode
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

    tell({"ready": True})
    missing = [name for name in loads(read()) if not found(name)]
    tell({"missing": missing})
    if missing:
        leave(0)
    program, tests = loads(read())
    import numpy as np

    def close(one, other):
        if isinstance(one, dict):
            one, other = ({str(key) if type(key).__name__ == "Symbol" else key: value for key, value in d.items()} for d in (one, other))
            return one.keys() == other.keys() and all(close(one[key], other[key]) for key in one)
        if hasattr(one, "toarray"):
            return bool(allclose(one.toarray(), other.toarray() if hasattr(other, "toarray") else other))
        if isinstance(one, (bool, str)) or type(one).__name__ == "Symbol":
            return bool(str(one) == str(other) if type(one).__name__ == "Symbol" else one == other)
        try:
            return bool(allclose(one, other))
        except ValueError:
            return bool(one == other)

    def close_sequences(one, other):
        return len(one) == len(other) and all(close(a, b) for a, b in zip(one, other))

    allclose = np.allclose
    compare = types.ModuleType("scicode.compare.cmp")
    compare.are_dicts_close = compare.are_csc_matrix_close = lambda one, other, **_: close(one, other)
    compare.cmp_tuple_or_list = close_sequences
    for name in ("scicode", "scicode.compare"):
        sys.modules[name] = types.ModuleType(name)
    sys.modules["scicode.compare.cmp"] = compare

    def fingerprint():
        "Python's and numpy's own functions, and what they are made of."
        owners = (builtins, np, np.linalg, compare)
        values = {(owner.__name__, name): value for owner in owners for name, value in list(vars(owner).items()) if callable(value)}
        made = lambda value: getattr(getattr(value, "_implementation", value), "__code__", None)
        return {key: (value, made(value)) for key, value in values.items()}

    def of_a_library(kind):
        owner = sys.modules.get(kind.__module__)
        if owner is None or kind.__module__ in ("__program__", "__main__"):
            return False
        for part in kind.__qualname__.split("."):
            owner = vars(owner).get(part) if hasattr(owner, "__dict__") else None
        return owner is kind

    def decides(value, depth=0):
        "Whether a value is, or holds, an object of a class of the program that says itself what it is equal to."
        for kind in type(value).__mro__:
            own = [vars(kind).get(name) for name in ("__eq__", "__array_function__", "__array_ufunc__", "__bool__")]
            if any(isinstance(part, types.FunctionType) for part in own) and not of_a_library(kind):
                return True
        if depth < 4 and isinstance(value, (list, tuple)):
            return any(decides(item, depth + 1) for item in value[:10000])
        if depth < 4 and isinstance(value, dict):
            return any(decides(item, depth + 1) for item in list(dict.values(value))[:10000])
        return isinstance(value, np.ndarray) and value.dtype == object and depth < 4 and any(decides(v, depth + 1) for v in value.flat)

    def guarded(function):
        @functools.wraps(function)
        def call(*args, **kwargs):
            value = function(*args, **kwargs)
            if decides(value):
                tell({"failed": "the program returns an object that says itself what it is equal to"})
            return value

        return call

    class Names(dict):
        "The names of the tests; `target` comes when a test asks for it, and for nobody else."

        def __missing__(self, name):
            if name == "scipy":
                import scipy.sparse  # only where a test wants it: it takes longer than most tests

                return scipy
            if name != "target" or frame_at(1).f_code.co_filename != source:
                raise KeyError(name)
            if not held:
                tell({"target": True})
                held.append(unpickle(decode(loads(read()))))
            return held[0]

    held, source = [], "test-" + os.urandom(8).hex()
    space = {"__name__": "__program__", "__builtins__": builtins}
    before = fingerprint()
    try:
        exec(compile(program, "program", "exec"), space)
        names = Names(space)
        for name, value in space.items():
            if isinstance(value, types.FunctionType) and value.__globals__ is space:
                names[name] = guarded(value)
        names.pop("target", None)
        for test in tests:
            exec(compile(test, source, "exec"), names)
            if fingerprint() != before:
                tell({"failed": "the program changed numpy or Python"})
            names.pop("target", None)
            held.clear()
            tell({"done": True})
        tell({"over": True})
        tell({"word": loads(read())})
    except BaseException as error:
        tell({"failed": f"{type(error).__name__}: {error}"[:300]})
    leave(0)


main()
"""
