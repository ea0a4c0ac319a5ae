"""Answers that were made elsewhere, read from a JSON Lines file and judged as if a model had just given them.

Rows are ours, `{"task_id", "repeat", "response"}`, or NeMo Gym's rollouts (`_ng_task_index`, `_ng_rollout_index`, `response`); which
rows count is in docs/results.md. The file is read twice: for its keys before there is a plan, then for the texts, so that these need
not stay in memory. Not here: reading a run of our own again (`stored`, `reverify`).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, get_args

from pytest_gym.errors import ConfigError, DataError
from pytest_gym.extract import remove_thinking
from pytest_gym.journal import Journal
from pytest_gym.model import load_wire
from pytest_gym.plan import CaseKey, Plan, Planned
from pytest_gym.records import FinishReason, Json, Message, Rollout, Usage

_MOST_REPEATS = 1_024


class _Row(NamedTuple):
    """One row. `task` is a raw id, or as a number the row of the dataset; `repeat` None: the next of its task."""

    where: str
    benchmark: str | None
    task: str | int
    repeat: int | None
    data: Json


class Responses:
    """The origin of a run whose answers stand in a file; implements `state.Origin`. Raises DataError for a file that cannot be meant."""

    asks = False

    def __init__(self, path: Path, word: str) -> None:
        self.path, self.word = path, word
        self._absent: dict[CaseKey, str] = {}
        self._most: Counter[str | None] = Counter()
        counted: Counter[tuple[str | None, str | int]] = Counter()
        rows, highest = 0, (0, "")
        for row in self._rows():
            rows += 1
            highest = max(highest, (row.repeat or 0, row.where))
            counted[row.benchmark, row.task] += 1
            most = counted[row.benchmark, row.task] if row.repeat is None else row.repeat + 1
            self._most[row.benchmark] = max(self._most[row.benchmark], most)
        if not counted:
            raise DataError(f"--gym-responses={word}: has no rows")
        if highest[0] >= max(rows, _MOST_REPEATS):
            # All repeats up to it would be planned, for every task.
            raise DataError(f"{highest[1]}: repeat {highest[0]:,} is beyond the {rows:,} rows of the file; repeats count from 0")

    def repeats(self, benchmark: str) -> int:
        """Attempts at each task: the most that the file has of any task of `benchmark` (or of rows that name none)."""
        return max(1, self._most[benchmark], self._most[None])

    def check(self, manifest: Mapping[str, Any]) -> None:
        """There is no earlier run to compare with."""

    def prepare(self, plan: Plan) -> None:
        """Nothing is to be made ready."""

    def preload(self, plan: Plan, journal: Journal, seen: Callable[[int, Rollout], None]) -> list[str]:
        """Put the answers into the journal. Raises ConfigError for unknown tasks and for two answers to one case."""
        planned_by = {planned.benchmark.name: planned for planned in plan.benchmarks}
        known = {name: set(planned.dataset.ids) for name, planned in planned_by.items()}
        first: dict[CaseKey, str] = {}
        next_: Counter[tuple[str, str]] = Counter()
        unknown: list[str] = []
        rows = ignored = 0
        for row in self._rows():
            rows += 1
            name = row.benchmark or (next(iter(known)) if len(known) == 1 else None)
            if name is None:
                raise DataError(f'{row.where}: names no benchmark, and the run has {len(known)}: add the key "benchmark"')
            if name not in known:
                ignored += 1
                continue
            task = _task_id(planned_by[name], row.task)
            if task not in known[name]:
                unknown.append(f"{row.task!r} ({row.where})")
                continue
            repeat = row.repeat
            if repeat is None:
                repeat, next_[name, task] = next_[name, task], next_[name, task] + 1
            key = CaseKey(name, task, repeat)
            if key in first:
                raise ConfigError(f"{row.where}: answers task {task!r}, repeat {repeat} a second time; {first[key]} did before")
            first[key] = row.where
            case = plan.number(key)
            if case is None:
                ignored += 1
                continue
            rollout = _rollout(row, planned_by[name].benchmark.prompt.render(plan.task(case)))
            if rollout is None:
                self._absent[key] = f"{row.where} has no response"
            else:
                journal.add_rollout(case, rollout)
                seen(case, rollout)
        if unknown:
            more = f" and {len(unknown) - 3:,} more" if len(unknown) > 3 else ""
            raise ConfigError(
                f"--gym-responses={self.word}: {len(unknown):,} of {rows:,} rows name tasks that {' and '.join(known)} "
                f"{'does' if len(known) == 1 else 'do'} not have: {', '.join(unknown[:3])}{more}"
            )
        if not len(journal) and not self._absent:
            raise ConfigError(f"--gym-responses={self.word}: not one of its {rows:,} rows answers a case of {' or '.join(known)}")
        notes = [f"judging {len(journal):,} answers from {self.word}; nobody is asked"]
        if ignored:
            notes.append(f"{ignored:,} of {rows:,} rows are of cases that this run does not plan, and are ignored")
        return notes

    def absent(self, key: CaseKey) -> str:
        """Why a planned case has no rollout."""
        return self._absent.get(key) or f"{self.word} has no row for it"

    def manifest(self) -> dict[str, Any]:
        """What the manifest says of where the answers are from."""
        return {"responses": str(self.path)}

    def _rows(self) -> Iterator[_Row]:
        try:
            with self.path.open("rb") as file:
                for number, line in enumerate(file, 1):
                    if line.strip():
                        yield _row(line, f"{self.word}:{number}")
        except OSError as error:
            raise DataError(f"--gym-responses={self.word}: cannot be read: {error.strerror or error}") from None


def _row(line: bytes, where: str) -> _Row:
    try:
        data = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: is no JSON: {error}") from None
    if not isinstance(data, dict):
        raise DataError(f"{where}: is no JSON object")
    task, repeat = data.get("task_id"), data.get("repeat", data.get("_ng_rollout_index"))
    if task is None:
        task = data.get("_ng_task_index")
        if not isinstance(task, int) or isinstance(task, bool):
            raise DataError(f'{where}: names no task: it needs "task_id", or NeMo Gym\'s "_ng_task_index"')
    elif not isinstance(task, str):
        task = str(task)
    if repeat is not None and (not isinstance(repeat, int) or isinstance(repeat, bool) or repeat < 0):
        raise DataError(f"{where}: repeat must be a whole number from 0, not {repeat!r}")
    benchmark = data.get("benchmark")
    if benchmark is not None and not isinstance(benchmark, str):
        raise DataError(f"{where}: benchmark must be a name, not {benchmark!r}")
    if "response" not in data and "messages" not in data:
        raise DataError(f'{where}: has no "response"')
    return _Row(where, benchmark, task, repeat, data)


def _task_id(planned: Planned, task: str | int) -> str:
    """The raw id of a task that may be given by its row number."""
    if isinstance(task, str):
        return task
    return planned.dataset.ids[task] if 0 <= task < len(planned.dataset) else str(task)


def _stored(data: Json) -> Rollout:
    """A line of `rollouts.jsonl`."""
    rollout = Rollout.from_json(data)
    if not isinstance(rollout.text, str) or rollout.finish_reason not in get_args(FinishReason):
        raise ValueError("it is no line of rollouts.jsonl")
    return rollout


def _rollout(row: _Row, prompt: tuple[Message, ...]) -> Rollout | None:
    """What a row answers; None where its response is null. The text is taken as it stands, but for closed thinking blocks before it."""
    data = row.data
    try:
        if "response" not in data and "text" in data:
            return _stored(data)
        response = data["response"] if "response" in data else data["messages"]
        if response is None:
            return None
        if isinstance(response, str):
            message = Message("assistant", response)
            messages: tuple[Message, ...] = (*prompt, message)
        elif isinstance(response, list):
            messages = tuple(Message.from_json(message) for message in response)
            message = next((message for message in reversed(messages) if message.role == "assistant"), Message("assistant"))
        elif isinstance(response, dict) and ("output" in response or "choices" in response):
            reply = load_wire("responses" if "output" in response else "chat").reply(response)
            return Rollout(
                messages=(*prompt, reply.message),
                text=reply.message.content if isinstance(reply.message.content, str) else "",
                reasoning=reply.message.reasoning,
                tool_calls=reply.message.tool_calls,
                finish_reason=reply.finish_reason,
                usage=reply.usage,
            )
        elif isinstance(response, dict):
            message = Message.from_json({"role": "assistant", **response})
            messages = (*prompt, message)
        else:
            raise ValueError("it is neither a text nor a message nor a list of messages")
        text = message.content if isinstance(message.content, str) else "".join(part.text or "" for part in message.content)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise DataError(f"{row.where}: response cannot be read: {reason}") from None
    finish: FinishReason = data.get("finish_reason") or ("tool_calls" if message.tool_calls else "stop")
    if finish not in get_args(FinishReason):
        raise DataError(f"{row.where}: finish_reason must be one of {', '.join(get_args(FinishReason))}, not {finish!r}")
    answer = remove_thinking(text)
    reasoning = message.reasoning if message.reasoning is not None else text[: len(text) - len(answer)] or None
    return Rollout(messages, answer, reasoning, message.tool_calls, finish, Usage())
