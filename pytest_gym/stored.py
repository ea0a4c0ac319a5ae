"""A run folder as somebody reads it who did not write it: its manifest, and its results one by one, finished or not.

Reads `rollouts.jsonl` of a run that is over and the journal of one that is not, in constant memory. Nothing is written or locked here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_gym import journal
from pytest_gym.errors import RunError, did_you_mean
from pytest_gym.plan import CaseKey
from pytest_gym.records import CaseError, Json, Rollout, Verdict

MANIFEST, RESULTS, JOURNAL = "run.json", "rollouts.jsonl", "journal"
JUDGES = frozenset({"verifier", "fixture", "crash", "judge", "sandbox", "data"})
"""Kinds of errors that a case may have although its rollout is an answer."""


@dataclass(frozen=True)
class Entry:
    """What a run holds of one case: its rollout, and the verdict or error that came of it (None: not judged)."""

    key: CaseKey
    rollout: Rollout
    outcome: Verdict | CaseError | None


class StoredRun:
    """The run in `path`. Raises RunError where there is none, or its manifest cannot be read."""

    def __init__(self, path: Path, word: str) -> None:
        self.path, self.word = path, word
        manifest = path / MANIFEST
        try:
            data = json.loads(manifest.read_text(encoding="utf-8"))
            if not isinstance(data, dict) or not isinstance(data.get("benchmarks"), dict):
                raise ValueError("it is no manifest of a run")
        except FileNotFoundError:
            raise RunError(f"{word}: is no run folder (it has no {MANIFEST}){_near(path)}") from None
        except (OSError, ValueError, RecursionError) as error:
            raise RunError(f"{manifest} cannot be read: {error}") from None
        if data.get("schema") != 1:
            raise RunError(f"{manifest}: has schema {data.get('schema')!r}; this version of pytest-gym reads schema 1")
        self.manifest: Mapping[str, Any] = data
        self.broken = 0
        """Lines that could not be read, counted while `entries` is read: a process that is killed may tear its last one."""

    @property
    def unfinished(self) -> bool:
        """Whether the journal is still there: something planned has no outcome, or was stopped in the middle."""
        return (self.path / JOURNAL / journal.ROLLOUTS).exists()

    def entries(self) -> Iterator[Entry]:
        """Every case that the run knows something of, in no particular order, each once. Raises RunError for what cannot be opened."""
        self.broken = 0
        try:
            yield from self._journal() if self.unfinished else self._results()
        except OSError as error:
            raise RunError(f"{self.path}: its results cannot be read: {error.strerror or error}") from error

    def _results(self) -> Iterator[Entry]:
        path = self.path / RESULTS
        if not path.exists():
            return
        with path.open("rb") as file:
            for _, line in self._lines(file):
                key = key_of(line)
                if key is not None:
                    error = CaseError.from_json(line["error"]) if line.get("error") else None
                    verdict = Verdict.from_json(line) if line.get("reward") is not None else None
                    yield Entry(key, rollout_of(line, error), verdict or error)

    def _journal(self) -> Iterator[Entry]:
        # The last line of a case counts, so where these stand is found first: offsets are small, texts are not.
        folder = self.path / JOURNAL
        places: dict[CaseKey, int] = {}
        outcomes: dict[CaseKey, int] = {}
        with (folder / journal.ROLLOUTS).open("rb") as rollouts, (folder / journal.VERDICTS).open("rb") as verdicts:
            for file, found in ((rollouts, places), (verdicts, outcomes)):
                for start, line in self._lines(file):
                    if (key := key_of(line)) is not None:
                        found[key] = start
            for key in (*places, *(key for key in outcomes if key not in places)):
                rollout, outcome = Rollout(), None
                if key in places:
                    rollouts.seek(places[key])
                    rollout = Rollout.from_json(json.loads(rollouts.readline())["rollout"])
                if key in outcomes:
                    verdicts.seek(outcomes[key])
                    line = json.loads(verdicts.readline())
                    outcome = Verdict.from_json(line["verdict"]) if "verdict" in line else CaseError.from_json(line["error"])
                    if isinstance(outcome, CaseError) and key in places and rollout.error is None and outcome.kind not in JUDGES:
                        # It was tried again since, and that answer waits to be judged.
                        outcome = None
                if isinstance(outcome, CaseError) and key not in places:
                    # It never had an answer, and no verifier is to see an empty one in its place.
                    rollout = Rollout(error=outcome)
                yield Entry(key, rollout, outcome or rollout.error)

    def _lines(self, file: Any) -> Iterator[tuple[int, Json]]:
        start = 0
        for raw in file:
            try:
                line = json.loads(raw)
                if not isinstance(line, dict) or not raw.endswith(b"\n"):
                    raise ValueError(raw)
                yield start, line
            except (ValueError, RecursionError):
                self.broken += 1
            start += len(raw)


def key_of(line: Json) -> CaseKey | None:
    """The case that a line of results or of a journal belongs to, or None where it does not say."""
    key = CaseKey(line.get("benchmark", ""), line.get("task_id", ""), line.get("repeat", -1))
    return key if isinstance(key.benchmark, str) and isinstance(key.task_id, str) and isinstance(key.repeat, int) else None


def rollout_of(line: Json, error: CaseError | None) -> Rollout:
    """The rollout in a line of results, whose `error` may be the verifier's."""
    judged_late = error is not None and error.kind in JUDGES and line.get("finish_reason") is not None
    return Rollout.from_json({**line, "error": None} if judged_late else line)


def _near(path: Path) -> str:
    """Where the runs are, for whoever mistyped one."""
    runs = sorted(found.parent.name for parent in (path.parent, path) for found in parent.glob(f"*/{MANIFEST}"))
    return did_you_mean(path.name, runs, otherwise=f"; the newest there is {runs[-1]}" if runs else "")
