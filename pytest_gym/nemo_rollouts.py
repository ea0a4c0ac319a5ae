"""NeMo Gym's rollouts as a stored run: one JSON Lines file of `gym eval run`, with its rewards as they are.

A benchmark is the agent that made the rollouts (`agent_ref.name`), a task its `_ng_task_index`, a repeat its `_ng_rollout_index`. The most
repeats that any task of an agent has were planned, so that what failed there is missing here. The answers are judged by nobody again: that
is `--gym-responses`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pytest_gym.errors import RunError
from pytest_gym.model import load_wire
from pytest_gym.plan import CaseKey
from pytest_gym.records import Json, Rollout, Verdict
from pytest_gym.stored import Entry, StoredRun

JUDGED_THERE = "NeMo Gym"
"""What stands for the verifier of such a run: whoever judged the answers there."""

_EXTRACTED = ("extracted_answer", "extracted_choice", "parsed_answer", "extracted")


class NemoRollouts(StoredRun):
    """The file at `path`, read twice: for its keys, then row by row. Raises RunError with file and line for what is no such row."""

    def __init__(self, path: Path, word: str) -> None:
        self.path, self.word, self.broken = path, word, 0
        repeats: dict[str, int] = {}
        tasks: dict[str, set[str]] = {}
        lowest, highest, model = 0.0, 1.0, None
        seen: dict[CaseKey, int] = {}
        for number, key, row in self._rows():
            if key in seen:
                raise RunError(
                    f"{word}:{number}: task {key.task_id}, repeat {key.repeat} stands here a second time (first on line {seen[key]})"
                )
            seen[key] = number
            repeats[key.benchmark] = max(repeats.get(key.benchmark, 1), key.repeat + 1)
            tasks.setdefault(key.benchmark, set()).add(key.task_id)
            lowest, highest = min(lowest, row["reward"]), max(highest, row["reward"])
            said = row.get("response")
            model = model or (said.get("model") if isinstance(said, dict) else None)
        if not tasks:
            raise RunError(f"{word}: has no rollouts")
        # All repeats up to it would be planned, for every task.
        if (most := max(repeats.values())) > max(len(seen), 1):
            raise RunError(f"{word}: repeat {most - 1:,} is beyond its {len(seen):,} rows; repeats count from 0")
        metric = {"headline": "mean_reward", "direction": "higher", "range": [lowest, highest], "pass_threshold": 1.0}
        self.manifest = {
            "schema": 1,
            "model": {"name": str(model or "unknown")},
            "planned": {"benchmarks": {name: {"tasks": len(tasks[name]), "repeats": repeats[name]} for name in tasks}},
            "benchmarks": {
                name: {"num_repeats": repeats[name], "metric": metric, "verifier": {"name": JUDGED_THERE}, "sampling": {}} for name in tasks
            },
        }

    @property
    def unfinished(self) -> bool:
        """Never: the file says nothing of what is still to come."""
        return False

    def entries(self) -> Iterator[Entry]:
        """Every row, as it stands there."""
        for _, key, row in self._rows():
            extracted = next((row[name] for name in _EXTRACTED if isinstance(row.get(name), str)), None)
            yield Entry(key, _rollout(row.get("response")), Verdict(row["reward"], row["reward"] >= 1.0, extracted))

    def _rows(self) -> Iterator[tuple[int, CaseKey, Json]]:
        try:
            with self.path.open("rb") as file:
                for number, line in enumerate(file, 1):
                    if line.strip():
                        row = _row(line, f"{self.word}:{number}")
                        yield number, _key(row), row
        except OSError as error:
            raise RunError(f"{self.word}: cannot be read: {error.strerror or error}") from None


def _row(line: bytes, where: str) -> Json:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise RunError(f"{where}: is no JSON: {error}") from None
    if not isinstance(row, dict):
        raise RunError(f"{where}: is no JSON object")
    for name in ("_ng_task_index", "_ng_rollout_index"):
        if not isinstance(row.get(name), int) or isinstance(row[name], bool) or row[name] < 0:
            raise RunError(f"{where}: {name} must be a whole number from 0, not {row.get(name)!r:.60}; is it a rollout of NeMo Gym?")
    reward = row.get("reward")
    if not isinstance(reward, int | float) or not math.isfinite(reward):
        raise RunError(f"{where}: reward must be a number, not {reward!r:.60}")
    row["reward"] = float(reward)
    return row


def _key(row: Json) -> CaseKey:
    agent = row.get("agent_ref")
    name = agent.get("name") if isinstance(agent, dict) else None
    return CaseKey(name if isinstance(name, str) and name else "rollouts", f"{row['_ng_task_index']:04d}", row["_ng_rollout_index"])


def _rollout(response: Any) -> Rollout:
    """What came of the attempt; where the response cannot be read, the reward stands alone."""
    try:
        reply = load_wire("responses").reply(response)
    except (ValueError, KeyError, TypeError, AttributeError):
        return Rollout(text="unknown", finish_reason="stop")
    text = reply.message.content if isinstance(reply.message.content, str) else ""
    return Rollout((reply.message,), text, reply.message.reasoning, reply.message.tool_calls, reply.finish_reason, reply.usage)
