"""For authors of verifiers: a task and a rollout in one line, and the four tests that every verifier should pass.

    from pytest_gym.testing import verifier_cases

    test_exact_match = verifier_cases(
        "verifiers/exact_match.py",
        full=[({"expected_answer": "Paris"}, "Paris")],
        zero=[({"expected_answer": "Paris"}, "Rome")],
    )

This module imports pytest; the rest of the core does not.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from pytest_gym.errors import GymError
from pytest_gym.records import FinishReason, Message, Rollout, Task, Verdict
from pytest_gym.sandbox import Sandbox
from pytest_gym.verify import Verifier, check_options, check_verdict, load_verifier

Case = tuple[Mapping[str, Any], str | Rollout]
"""The fields of a row, and what the model answers (a text, or a whole rollout)."""

MALFORMED = (
    "",
    " \n\t ",
    "<think>still at it",
    "<think>done</think>",
    "I do not know.",
    "\\boxed{",
    "\\boxed{}",
    "```python\n",
    "}{][)(<answer>",
    "\x00\x1b[31m\ud800\u202e",
    "(" * 5000,
    "no " * 20_000,
)
"""Answers that hold no answer. Every verifier has to give each of them a verdict with a reason."""


def make_task(
    *, task_id: str = "0000", index: int = 0, benchmark: str = "test", subset: str | None = None, cluster: str | None = None, **fields: Any
) -> Task:
    """A task whose row has these fields."""
    return Task(task_id, index, benchmark, fields, subset, cluster)


def make_rollout(text: str, *, prompt: str = "question", reasoning: str | None = None, finish_reason: FinishReason = "stop") -> Rollout:
    """A rollout in which the model answered `text` to one user message."""
    answer = Message("assistant", text, reasoning)
    return Rollout((Message("user", prompt), answer), text, reasoning, finish_reason=finish_reason, attempts=1)


def judge(
    verifier: Verifier, fields: Mapping[str, Any], answer: str | Message | Rollout, *, files: Path | None = None, **options: Any
) -> Verdict:
    """The checked verdict of a verifier, sync or async, on one row and one answer, with `passed` decided at a threshold of 1.

    Raises GymError for options that the verifier does not have, a verdict out of [0, 1], or a broken row.
    """
    resources = {"files": files, "sandbox": Sandbox()}
    chosen = check_options(verifier, options, "verifier_cases")
    if isinstance(answer, Message):
        answer = Rollout((Message("user", "question"), answer), str(answer.content), tool_calls=answer.tool_calls, attempts=1)
    rollout = make_rollout(answer) if isinstance(answer, str) else answer
    verdict = verifier(Task("0000", 0, "test", fields), rollout, *(resources[name] for name in verifier.resources), **chosen)
    if inspect.isawaitable(verdict):
        verdict = asyncio.run(_awaited(verdict))
    return check_verdict(verdict, verifier=verifier.name, low=0.0, high=1.0, threshold=1.0)


def verifier_cases(
    verifier: Verifier | str | Path,
    *,
    full: Sequence[Case],
    zero: Sequence[Case],
    malformed: Sequence[Case] = (),
    options: Mapping[str, Any] | None = None,
    files: Path | None = None,
    may_score: bool = False,
) -> Callable[..., None]:
    """The four standard cases of a verifier as one parametrised test function, to be assigned to a name that begins with `test`.

    - full: reward 1 for each of `full`, and for the verifier's own reference of these rows;
    - zero: reward 0 with an explanation for each of `zero`;
    - malformed: a verdict with an explanation, never an exception, for each of `malformed` and for MALFORMED on the first row of `full`;
      its reward is 0, unless `may_score` says that such an answer may rightly count;
    - deterministic: the same verdict again for everything above.

    `verifier` is the object, or its file: a path from the working directory or from a folder above the calling test file. `options` are
    the verifier's, `files` its folder where it asks for one.
    """
    found = verifier if isinstance(verifier, Verifier) else _load(Path(verifier), Path(inspect.stack()[1].filename))
    chosen = dict(options or {})
    if not full or not zero:
        raise ValueError("verifier_cases needs at least one case for full and one for zero")
    row = full[0][0]
    cases = {
        "full": [*full, *_references(found, full, chosen)],
        "zero": list(zero),
        "malformed": [*malformed, *((row, text) for text in MALFORMED)],
    }
    everything = [case for group in cases.values() for case in group]
    parameters = [
        *(pytest.param(kind, [case], id=f"{kind}-{number}") for kind, group in cases.items() for number, case in enumerate(group)),
        pytest.param("deterministic", everything, id="deterministic"),
    ]

    @pytest.mark.parametrize(("kind", "group"), parameters)
    def test(kind: str, group: Sequence[Case]) -> None:
        for fields, answer in group:
            try:
                verdict = judge(found, fields, answer, files=files, **chosen)
                again = judge(found, fields, answer, files=files, **chosen) if kind == "deterministic" else verdict
            except GymError as error:
                pytest.fail(f"{found.name}: {type(error).__name__}: {error}", pytrace=False)
            wrong = _complaint(kind, verdict, again, may_score)
            if wrong:
                text = answer if isinstance(answer, str) else answer.text
                pytest.fail(
                    f"{found.name}: {wrong}\n  row: {dict(fields)!r}\n  answer: {text[:500]!r}\n  verdict: {verdict}", pytrace=False
                )

    return test


def _complaint(kind: str, verdict: Verdict, again: Verdict, may_score: bool) -> str | None:
    if kind == "full":
        return None if verdict.reward == 1.0 and verdict.passed else "this answer must get the full reward"
    if kind == "deterministic":
        return None if verdict == again else f"judged again it got {again}"
    if verdict.reward > 0.0 and not (kind == "malformed" and may_score):
        return "this answer must get no reward"
    return None if verdict.explanation.strip() or verdict.reward == 1.0 else "a verdict without reward needs an explanation"


def _references(verifier: Verifier, full: Sequence[Case], options: Mapping[str, Any]) -> Iterator[Case]:
    for fields, _ in full:
        answer = verifier.reference_text(Task("0000", 0, "test", fields), options)
        if isinstance(answer, Message):
            yield fields, Rollout((answer,), str(answer.content), tool_calls=answer.tool_calls, attempts=1)
        elif answer is not None:
            yield fields, answer


def _load(path: Path, caller: Path) -> Verifier:
    for folder in (Path.cwd(), *caller.resolve().parents):
        if (folder / path).is_file():
            return load_verifier(path.stem, folder / path)
    raise GymError(f"{path}: no such verifier file in the working directory or in a folder above {caller}")


async def _awaited(awaitable: Any) -> Any:
    return await awaitable
