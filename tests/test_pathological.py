"""Every verifier on answers that are made to be costly: a verdict, in little time and memory, whichever verifier it is.

The row and the options of a verifier are those of its own tests (`verifier_cases` in tests/verifiers/test_<name>.py), else the first
example row of a benchmark that it judges.
"""

from __future__ import annotations

import importlib.util
import inspect
import json
import resource
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from pytest_gym.catalogue import Catalogue, builtin_root
from pytest_gym.dataset import Dataset
from pytest_gym.errors import GymError
from pytest_gym.records import Message, Rollout, ToolCall
from pytest_gym.resolve import select
from pytest_gym.testing import judge, make_rollout
from pytest_gym.verify import Verifier
from tests.verifiers import test_workplace_assistant as office

NAMES = sorted(path.stem for path in (builtin_root() / "verifiers").glob("*.py"))
CPU_S = 5
"""Seconds of this process for one answer; what runs in a helper process or in the sandbox ends at the verifier's own limit."""
MEMORY_MB = 1500
"""What judging may add to the address space of its process; helper processes have limits of their own."""


class Known(NamedTuple):
    """A verifier and a row that it can judge."""

    verifier: Verifier
    row: Mapping[str, Any]
    options: Mapping[str, Any]
    files: Path | None


def known(name: str, folder: Path) -> Known:
    found = first_case(name, folder)
    # What is judged in a helper process ends at the verifier's own limit; a shorter one ends the same way.
    option = found.verifier.options.get("seconds")
    return found._replace(options={**found.options, "seconds": 0.2 if option.annotation is float else 1}) if option else found


def first_case(name: str, folder: Path) -> Known:
    if importlib.util.find_spec(f"tests.verifiers.test_{name}"):
        module = importlib.import_module(f"tests.verifiers.test_{name}")
        for test in vars(module).values():
            if getattr(test, "__module__", None) == "pytest_gym.testing" and inspect.isfunction(test) and hasattr(test, "pytestmark"):
                given = inspect.getclosurevars(test).nonlocals
                if given["found"].name == name:
                    _, [(row, _)] = test.pytestmark[0].args[1][0].values
                    return Known(given["found"], row, given["chosen"], given["files"])
    catalogue = Catalogue([builtin_root()])
    for benchmark in catalogue.all():
        if benchmark.verifier == name and (benchmark.folder / "data" / "example.jsonl").is_file():
            found = select(catalogue, benchmark, split="example", demo=False, where=name)
            task = Dataset.open(benchmark.folder / found.spec.path, benchmark).task(0)
            return Known(found.verifier, task.fields, found.options, benchmark.folder)
    if name == "workplace_assistant":
        # Its tables cannot be had: the ones of its tests take their place.
        for table, text in office.TABLES.items():
            (folder / "tables").mkdir(exist_ok=True)
            (folder / "tables" / f"{table}.csv").write_text(text, encoding="utf-8")
        return Known(catalogue.verifier(name), office.row(office.REPLY), {}, folder)
    pytest.fail(f"no row for verifier {name!r}: call verifier_cases in tests/verifiers/test_{name}.py")


def nested(depth: int) -> Any:
    value: Any = 1
    for level in range(depth):
        value = [value] if level % 2 else {"a": value}
    return value


def nested_call(depth: int) -> Rollout:
    call = ToolCall("0", "a", {"a": nested(depth)}, json.dumps({"a": nested(depth)}))
    broken = ToolCall("1", "a", None, "[" * 100_000)
    message = Message("assistant", "", tool_calls=(call, broken) * 50)
    return Rollout((Message("user", "question"), message), "", tool_calls=message.tool_calls, finish_reason="tool_calls", attempts=1)


LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10 if n else "lol"}">' for n in range(10))
ANSWERS: dict[str, str | Rollout] = {
    "ten megabytes of words": "So the answer is (7), or 1,234.5 of them.\n" * 240_000,
    "ten megabytes without a blank": "a" * 10_000_000,
    "a number of a million digits": "\\boxed{" + "9" * 1_000_000 + "}",
    "powers": "\\boxed{9**9**9} = 9^{9^{9}} = $9^{9^{9^{9}}}$ = 1e999999999 = 10**10**10\n9**9**9",
    "factorials": "\\boxed{99999999!!!} \\binom{10^{9}}{10^{8}} \\sum_{n=1}^{10^{12}} n",
    "open JSON": "[" * 40_000 + '{"a":' * 40_000,
    "deep JSON": '```json\n{"a":' + "[" * 40_000 + "]" * 40_000 + "}\n```",
    "deep LaTeX": "\\boxed{" * 20_000 + "\\frac{1}{" * 20_000 + "2" + "}" * 40_000,
    "deep parentheses": "(" * 20_000 + "1" + ")" * 20_000,
    "deep XML": "<a>" * 20_000 + "</a>" * 20_000,
    "billions of laughs": f"<!DOCTYPE a [{LAUGHS}]><a>&l9;</a>",
    "aliases of aliases": "\n".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9) if n else 'x'}]" for n in range(12)),
    "a regex's worst": "a" * 20_000 + "!" + " " * 80_000 + "x" + "1," * 40_000 + "." * 40_000 + "=\t" * 20_000,
    "fences": "```python\n" * 20_000 + "````\n~~~\n" * 20_000,
    "tags": "<think>" * 20_000 + "</think>" + "<answer>" * 20_000 + "Answer: " * 20_000,
    "lines": "\n" * 100_000 + "\r\n\u2028" * 40_000,
    "marks": "\u0301" * 80_000 + "\ud800" * 1000 + "\U0001f600" * 1000 + "\ufdfa" * 20_000,
    "calls": nested_call(400),
}


@pytest.fixture
def _bounded() -> Iterator[None]:
    """An answer that takes longer fails here, also within a regular expression, and memory beyond the bound is a MemoryError."""

    def late(*_: object) -> None:
        pytest.fail(f"still judging after {CPU_S} s of processor time")

    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    before = signal.signal(signal.SIGPROF, late)
    resource.setrlimit(resource.RLIMIT_AS, (size + (MEMORY_MB << 20), hard))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
        resource.setrlimit(resource.RLIMIT_AS, (hard, hard))


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="looks at Linux's /proc")
@pytest.mark.parametrize("name", NAMES)
def test_costly_answers_get_a_verdict(name, tmp_path, _bounded):
    verifier, row, options, files = known(name, tmp_path)
    for what, answer in ANSWERS.items():
        signal.setitimer(signal.ITIMER_PROF, CPU_S)
        try:
            verdict = judge(verifier, row, answer if isinstance(answer, Rollout) else make_rollout(answer), files=files, **options)
        except GymError as error:
            pytest.fail(f"{what}: {type(error).__name__}: {error}")
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        assert 0 <= verdict.reward <= 1 and (verdict.reward or verdict.explanation), what
