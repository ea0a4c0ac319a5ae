r"""code_gen: a program passes all tests of a contest problem, by LiveCodeBench's rule.

Source: Jain et al. 2024, "LiveCodeBench: Holistic and Contamination Free Evaluation of Large Language Models for Code", and its evaluator
(`lcb_runner/evaluation/testing_util.py`, LiveCodeBench/LiveCodeBench @ 28fef95). `rule="nemo"` is NeMo Gym's copy of it, which also
compares numbers approximately and lets programs loop over standard input; its time limit is 10 s (`seconds: 10`).

A row has `unit_tests` {inputs, outputs, fn_name}, at the top or in `verifier_metadata`. Without `fn_name` a test's input is what the
program reads and its output what it must print; with it, the input is one JSON value for each argument, a line each, of that function (or
of that method, where the code has `class Solution`), and the output is the JSON value that it must return.

The program is what stands between the last two lines with three backticks; fewer such lines hold none. As upstream has it, a program that
reads is put into a function, behind its imports and a prelude of star imports, without `if __name__ == "__main__":`; what it reads is a
stand-in, with its quirks: a loop over `sys.stdin` fails, `open(0)` is empty, `sys.stdin.buffer.readline()` always gives the first line,
standard output has no `buffer`, and `global` means a name that the program does not have.

Printed lines are compared after taking off blanks at both ends, each as text or else as a row of decimal numbers. What a function returns
is compared with Python's ==, a tuple as a list; types that are not built in (numpy's scalars apart) are equal to nothing.

The tests stop at the first that fails. Many run in one sandbox, each in a process of its own with `seconds` of processor time (upstream:
seconds on the clock; one process for all tests, so that a program whose first test spoils its second fails there). What is expected never
enters the sandbox: only outputs come back, and are compared here.
"""

from __future__ import annotations

import contextlib
import decimal
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pytest_gym import DataError, Done, Limits, Rollout, Sandbox, SandboxError, Task, Verdict, verifier

_LONGEST = 1_000_000
_BATCH_BYTES = 16 << 20
_FIRST_BATCH = 4
_SHOWN = 100
Test = tuple[str, str]  # the input of a test and the output that is expected


@verifier
async def code_gen(
    task: Task,
    rollout: Rollout,
    sandbox: Sandbox,
    *,
    rule: Literal["livecodebench", "nemo"] = "livecodebench",
    seconds: int = 6,
    python: str = "",
) -> Verdict:
    """Reward 1 where the program passes all tests.

    Options:
        rule: whose comparison and whose standard input.
        seconds: of processor time for each test.
        python: the interpreter that runs the programs, as the path of one in a virtual environment; else the one that runs pytest-gym,
            with its packages (numpy is one of them, as upstream), in a container the image's own.
    """
    tests, function = tests_of(task)
    code = code_of(rollout.text)
    if code is None:
        return Verdict(0.0, explanation="no program: fewer than two lines with three backticks")
    if len(code) > _LONGEST:
        return Verdict(0.0, explanation=f"a program of {len(code):,} characters, more than {_LONGEST:,}")
    for first, batch in _batches(tests):
        room = _room(batch)
        wanted = {"code": code, "function": function, "inputs": [given for given, _ in batch], "seconds": seconds, "room": room}
        done = await _run(sandbox, json.dumps({**wanted, "loops": rule == "nemo"}), room * len(batch), seconds * len(batch), python)
        reports = _reports(done)
        for number, (given, expected) in enumerate(batch):
            report = next(reports, {"end": "error", "text": f"the program ended its sandbox ({done.ended})"})
            if report["end"] == "input" and not all(map(_is_json, given.split("\n"))):
                raise _broken(task, f"input {first + number + 1} is not a JSON value on each line")
            if (why := _wrong(task, report, expected, function, rule)) is not None:
                return Verdict(0.0, extracted=code, explanation=f"test {first + number + 1} of {len(tests)}: {why}")
    return Verdict(1.0, extracted=code, explanation=f"all {len(tests)} tests pass")


def code_of(text: str) -> str | None:
    """What stands between the last two lines that have three backticks in them, or None.

    >>> code_of("So:\\n```python\\nprint(1)\\n```\\nDone.")
    'print(1)'
    >>> code_of("```python\\nprint(1)") is None
    True
    """
    lines = text.split("\n")
    fences = [number for number, line in enumerate(lines) if "```" in line]
    return "\n".join(lines[fences[-2] + 1 : fences[-1]]) if len(fences) > 1 else None


def tests_of(task: Task) -> tuple[list[Test], str | None]:
    """The tests of a row, and the function that they call. Raises DataError naming row and field."""
    inner = task.get("verifier_metadata")
    held = inner["unit_tests"] if isinstance(inner, Mapping) and "unit_tests" in inner else task["unit_tests"]
    parts: list[Any] = [held.get(name) for name in ("inputs", "outputs")] if isinstance(held, Mapping) else [None, None]
    if not all(isinstance(part, list) and part and all(isinstance(text, str) for text in part) for part in parts):
        raise _broken(task, "must have lists of texts, inputs and outputs, that are not empty")
    if len(parts[0]) != len(parts[1]):
        raise _broken(task, f"has {len(parts[0])} inputs and {len(parts[1])} outputs")
    function = held.get("fn_name") or None
    if function and not (isinstance(function, str) and function.isidentifier()):
        raise _broken(task, f"fn_name must be the name of a function, not {function!r}")
    return list(zip(parts[0], parts[1], strict=True)), function


def _broken(task: Task, why: str) -> DataError:
    return DataError(f"{task.where('unit_tests')}: {why}")


# -- running -------------------------------------------------------------------------------------------------------------------------------


def _batches(tests: Sequence[Test]) -> Iterator[tuple[int, list[Test]]]:
    """The tests in few sandboxes, of which the first has few tests, because most programs that fail do so at once."""
    batch: list[Test] = []
    most, first, size = _FIRST_BATCH, 0, 0
    for number, test in enumerate(tests):
        if batch and (len(batch) == most or size + len(test[0]) + len(test[1]) > _BATCH_BYTES):
            yield first, batch
            most, batch, first, size = most * 4, [], number, 0
        batch.append(test)
        size += len(test[0]) + len(test[1])
    yield first, batch


def _room(batch: Sequence[Test]) -> int:
    """Bytes that one test may print: a power of two, since the length of what is expected would say something about it."""
    return int(max(1 << 20, 1 << (4 * max(len(expected) for _, expected in batch)).bit_length()))


async def _run(sandbox: Sandbox, request: str, room: int, seconds: int, python: str) -> Done:
    own = not python and sandbox.backend.name in ("docker", "podman")
    command = "python" if own else os.path.normpath(python or sys.executable)
    paths = [] if own or python else [path for path in sys.path if path.endswith("site-packages")]
    shown = [] if own else [Path(command).parent.parent, *map(Path, paths)]
    limits = Limits(cpu_s=seconds + 20, wall_s=4.0 * seconds + 60, output_kb=room * 6 // 1024 + 1024)
    done = await sandbox.run([command, "-I", "-c", _DRIVER, *paths], stdin=request, limits=limits, read_only=shown)
    if not done.stdout.startswith("ready\n"):
        raise SandboxError(f"code_gen: the interpreter {command} does not start: {done.stderr.strip()[-300:] or done.ended}")
    return done


def _reports(done: Done) -> Iterator[dict[str, Any]]:
    """What the driver says of each test; a driver that was interfered with says less."""
    for line in done.stdout.split("\n")[1:-1]:
        try:
            report = json.loads(line)
        except ValueError:
            return
        yield {"end": str(report["end"]), "text": str(report["text"])}


_DRIVER = r"""
import ast, builtins, contextlib, ctypes, io, json, os, resource, select, signal, sys, time, types

sys.path += sys.argv[1:]
del sys.argv[1:]

# Nobody of the same user reads this process; what a test leaves behind becomes its child, and is ended with the test.
libc = ctypes.CDLL(None)
libc.prctl(4, 0, 0, 0, 0)
libc.prctl(36, 1, 0, 0, 0)
request = json.loads(sys.stdin.buffer.read())
code, function, seconds, room = request["code"], request["function"], request["seconds"], request["room"]
STARS = "string re datetime collections heapq bisect copy math random statistics itertools functools operator io sys json".split()
PRELUDE = "".join(f"from {name} import *\n" for name in STARS + ["builtins", "typing"]) + f"import {', '.join(STARS)}\n"
exec(PRELUDE, {})  # imported once, for all forks
sys.setrecursionlimit(50000)
sys.set_int_max_str_digits(50000)
null = os.open(os.devnull, os.O_RDWR)
print("ready", flush=True)


class Buffer:
    def __init__(self, text):
        self.data = text.encode("utf-8", "surrogatepass")

        self.read = lambda *_: self.data
        self.readline = lambda *_: self.data.split(b"\n")[0] + b"\n"


class Input:
    def __init__(self, text):
        self.buffer, self.file = Buffer(text), io.StringIO(text)
        self.read, self.readlines = lambda *_: text, lambda *_: text.split("\n")

    def __getattr__(self, name):
        return getattr(self.file, name)


if request["loops"]:
    Input.__iter__ = lambda self: self
    Input.__next__ = lambda self: next(self.file)


def unit():
    "The program as one compiled unit: with a function, as it stands; else wrapped into one, behind its imports."
    if function:
        return compile(PRELUDE + "\n" + code, "<program>", "exec")
    body = ast.parse(code).body
    if body and isinstance(body[-1], ast.If) and ast.unparse(body[-1].test) == "__name__ == '__main__'":
        body = body[:-1] + body[-1].body
    imports = [part for part in body if isinstance(part, (ast.Import, ast.ImportFrom))]
    tree = ast.parse(PRELUDE + "\n".join(map(ast.unparse, imports)) + "\ndef wrapped_function(): pass")
    tree.body[-1].body = [part for part in body if not isinstance(part, (ast.Import, ast.ImportFrom))]
    return compile(ast.unparse(tree), "<program>", "exec")


def plain(value, depth=0):
    "The value in JSON, other types than JSON's own as {type, items}."
    if depth > 500:
        raise ValueError("a value that is nested too deeply")
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int.__add__(value, 0)
    if isinstance(value, float):
        return float.__add__(value, 0.0)
    if isinstance(value, complex):
        return {"type": "complex", "items": [value.real, value.imag]}
    if isinstance(value, list):
        return [plain(item, depth + 1) for item in list.__iter__(value)]
    for kind in (tuple, set, frozenset):
        if isinstance(value, kind):
            return {"type": kind.__name__, "items": [plain(item, depth + 1) for item in kind.__iter__(value)]}
    if isinstance(value, dict):
        return {"type": "dict", "items": [[plain(key, depth + 1), plain(item, depth + 1)] for key, item in dict.items(value)]}
    if type(value).__module__ == "numpy" and getattr(value, "shape", None) == ():
        return plain(value.item(), depth + 1)
    return {"type": "other", "items": []}


def test(given, compiled):
    "What the program prints or returns, as text; runs in a process of its own."
    module = types.ModuleType("tmp_sol", "")
    exec(compiled, module.__dict__)
    if function:
        try:
            arguments = [json.loads(line) for line in given.split("\n")]
        except ValueError as error:
            return "input", str(error)
        holder = module.Solution() if "class Solution" in code else module
        value = getattr(holder, function)(*arguments)
        return "exit", json.dumps(plain(list(value) if isinstance(value, tuple) else value))
    wrapped = module.wrapped_function
    # Who has imported `stdin` by name holds the real one.
    lines, real = iter(given.split("\n")), sys.stdin
    real.read, real.readline, real.readlines = lambda *_: given, lambda *_: next(lines), lambda *_: given.split("\n")
    sys.stdin, sys.stdout = Input(given), io.StringIO()
    printed = sys.stdout
    printed.close = lambda *_: None
    builtins.open = lambda *_, **__: io.StringIO(given)
    with contextlib.suppress(SystemExit):
        wrapped()
    return "exit", printed.getvalue()


def child(given, compiled, pipe):
    end, send = os._exit, os.write  # before the program can put others in their place
    try:
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
        for descriptor in (0, 1, 2):
            os.dup2(null, descriptor)
        sys.stdin = open(0)
        builtins.quit = None
        for name in ("ipdb", "joblib", "resource", "psutil", "tkinter"):
            sys.modules[name] = None
        try:
            how, said = test(given, compiled)
        except Exception as error:
            how, said = "error", f"{type(error).__name__}: {error}"[:300]
        data = f"{how}\n{said}".encode("utf-8", "surrogatepass")
        while data:
            data = data[send(pipe, data) :]
    finally:
        end(0)


def end_all():
    "Kill what the test has left behind, also what became our child that way, and wait for it."
    used = 0.0
    while True:
        with open(f"/proc/self/task/{os.getpid()}/children") as file:
            for process in file.read().split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(process), signal.SIGKILL)
        try:
            _, _, usage = os.wait4(-1, 0)
        except ChildProcessError:
            return used
        used += usage.ru_utime + usage.ru_stime


def run(given, compiled):
    receive, send = os.pipe()
    process = os.fork()
    if not process:
        os.close(receive)
        child(given, compiled, send)
    os.close(send)
    os.set_blocking(receive, False)
    over, poll, parts, size, status = os.pidfd_open(process), select.poll(), [], 0, None
    poll.register(receive, select.POLLIN)
    poll.register(over, select.POLLIN)
    latest, used, late = time.monotonic() + 3 * seconds + 5, 0.0, False

    def drain():
        nonlocal size
        while size <= room:
            try:
                part = os.read(receive, 1 << 16)
            except BlockingIOError:
                return
            if not part:
                return poll.unregister(receive)
            parts.append(part)
            size += len(part)

    while status is None and size <= room and not late:
        for descriptor, _ in poll.poll(500):
            if descriptor == over:
                _, status, usage = os.wait4(process, 0)
                used = usage.ru_utime + usage.ru_stime
            elif size <= room:
                drain()
        late = time.monotonic() > latest
    used += end_all()
    if status is not None and size <= room:
        poll.register(receive)
        drain()
    os.close(receive)
    os.close(over)
    code = None if status is None else os.waitstatus_to_exitcode(status)
    how, _, said = b"".join(parts).decode("utf-8", "backslashreplace").partition("\n")
    if size > room:
        return "error", "it prints too much"
    if late or code == -signal.SIGXCPU or used >= seconds:
        return "time", "on the clock" if late else ""
    if code or how not in ("exit", "error", "input"):
        return "error", f"it ends by signal {-code}" if code and code < 0 else "it ends without an answer"
    return how, said


try:
    compiled = unit()
except BaseException as error:
    outcomes = [("error", f"it does not compile: {type(error).__name__}: {error}"[:300])]
else:
    outcomes = (run(given, compiled) for given in request["inputs"])
for how, said in outcomes:
    print(json.dumps({"end": how, "text": said}), flush=True)
    if how != "exit":
        break
"""


# -- comparing -----------------------------------------------------------------------------------------------------------------------------


def _wrong(task: Task, report: Mapping[str, str], expected: str, function: str | None, rule: str) -> str | None:
    """Why a test is not passed, or None."""
    if report["end"] == "time":
        return "over its time limit" + (f" {report['text']}" if report["text"] else "")
    if report["end"] != "exit":
        return _short(report["text"])
    if function is None:
        return differs(report["text"], expected)
    if not _is_json(expected):
        raise _broken(task, f"the output {_short(expected)!r} is no JSON")
    try:
        got = json.loads(report["text"], object_hook=_rebuilt)
        same = equal(got, json.loads(expected), rule)
    except (ValueError, RecursionError, TypeError, KeyError) as error:
        return f"it returns what cannot be compared: {error}"
    return None if same else f"it returns {_short(repr(got))}, expected {_short(expected)}"


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


class _Other:
    def __repr__(self) -> str:
        return "a value of another type"


_CONTAINERS: dict[str, Callable[[list[Any]], Any]] = {"tuple": tuple, "set": set, "frozenset": frozenset, "dict": dict}


def _rebuilt(held: dict[str, Any]) -> Any:
    if held["type"] == "complex":
        return complex(*held["items"])
    maker = _CONTAINERS.get(held["type"])
    return maker(held["items"]) if maker else _Other()


def equal(got: Any, wanted: Any, rule: str = "livecodebench") -> bool:
    """Whether a returned value is the expected one; by NeMo's rule also the same JSON, or a number as near as numpy's `allclose` wants."""
    if got == wanted:
        return True
    if rule != "nemo":
        return False
    with contextlib.suppress(TypeError, ValueError):
        if json.dumps(got) == json.dumps(wanted):
            return True
    try:
        one, other = float(got), float(wanted)
    except (TypeError, ValueError, OverflowError):
        return False
    return one == other or abs(one - other) <= 1e-8 + 1e-5 * abs(other) < float("inf")


def differs(printed: str, expected: str) -> str | None:
    """How a printed text differs from the expected one, or None where it does not: line by line, as text or as decimal numbers.

    >>> differs("1.0 2\\n", " 1 2.00")
    >>> differs("3", "4")
    "line 1 is '3', expected '4'"
    """
    lines, wanted = ([line.strip() for line in text.strip().split("\n")] for text in (printed, expected))
    if len(lines) != len(wanted):
        return f"it prints {len(lines):,} lines, expected {len(wanted):,}"
    for number, (line, other) in enumerate(zip(lines, wanted, strict=True)):
        if line != other and not _same_numbers(line, other):
            return f"line {number + 1:,} is {_short(repr(line))}, expected {_short(repr(other))}"
    return None


def _same_numbers(line: str, other: str) -> bool:
    try:
        return [decimal.Decimal(word) for word in line.split()] == [decimal.Decimal(word) for word in other.split()]
    except (decimal.InvalidOperation, ValueError):
        return False


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN // 2]}…{text[-_SHOWN // 2 :]}"
