"""The run folder: where a run is kept, the journal that loses nothing, and the files that are left when it is over.

Formats are in docs/results.md. The process that the user started is the only writer.
Not here: what the numbers are (`tally`, `metrics`) and how they are shown (`report/`).
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pytest_gym.errors import RunError
from pytest_gym.plan import CaseKey, Plan
from pytest_gym.records import CaseError, Result, Rollout, Verdict

SCHEMA = 1
MANIFEST, ROLLOUTS, SUMMARY, SUMMARY_MD = "run.json", "rollouts.jsonl", "summary.json", "summary.md"


def default_folder(invocation_dir: Path, benchmarks: Sequence[str], started: float) -> Path:
    """`gym-results/<YYYYmmdd-HHMMSS>-<benchmarks>` below `invocation_dir`, with `-2`, `-3`, … where that exists already."""
    label = "+".join(name.replace("/", "_") for name in benchmarks[:3]) + ("+more" if len(benchmarks) > 3 else "")
    base = invocation_dir / "gym-results" / f"{time.strftime('%Y%m%d-%H%M%S', time.localtime(started))}-{label}"
    folder, number = base, 1
    while os.path.exists(folder):
        number += 1
        folder = base.with_name(f"{base.name}-{number}")
    return folder


class RunFolder:
    """One run's folder. Creating it makes the folder; RunError says why it cannot be used."""

    def __init__(self, path: Path, *, ignore_parent: bool) -> None:
        self.path = path
        try:
            if (path / MANIFEST).exists():
                raise RunError(f"--gym-output={path}: holds a run already; name a new folder")
            path.mkdir(parents=True, exist_ok=True)
            if ignore_parent and not (marker := path.parent / ".gitignore").exists():
                marker.write_text("# made by pytest-gym: results are not source\n*\n")
            self.journal = Journal(path / "journal")
        except OSError as error:
            raise RunError(f"the run folder {path} cannot be made: {error.strerror or error}; choose another with --gym-output") from error

    def write_json(self, name: str, data: Any) -> None:
        """Write a file of the folder whole or not at all."""
        self.write_text(name, json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n")

    def write_text(self, name: str, text: str) -> None:
        """Write a file of the folder whole or not at all. Raises RunError where the disk says no."""
        target, temporary = self.path / name, self.path / f".{name}.tmp"
        try:
            temporary.write_text(text, encoding="utf-8", errors="replace")
            temporary.replace(target)
        except OSError as error:
            raise RunError(f"{target} cannot be written: {error.strerror or error}; what landed is in the journal beside it") from error

    def fold(self, plan: Plan, verdicts: Mapping[int, Verdict | CaseError]) -> int:
        """Write `rollouts.jsonl`, one result a line in the order of the cases, from the journal and the verdicts; returns the lines.

        Cases of which nothing is known have no line. A rollout that was made and not judged has none either: it stays in the journal.
        """
        target, temporary, lines = self.path / ROLLOUTS, self.path / f".{ROLLOUTS}.tmp", 0
        try:
            with temporary.open("wb") as out:
                for case in sorted(verdicts.keys() | self.journal.failed):
                    out.write(self._line(plan, case, verdicts.get(case)) + b"\n")
                    lines += 1
            temporary.replace(target)
        except OSError as error:
            raise RunError(f"{target} cannot be written: {error.strerror or error}; what landed is in the journal beside it") from error
        return lines

    def _line(self, plan: Plan, case: int, outcome: Verdict | CaseError | None) -> bytes:
        planned, position, repeat = plan.locate(case)
        row, raw = planned.rows[position], self.journal.raw(case)
        verdict = outcome if isinstance(outcome, Verdict) else None
        bare = raw is not None and verdict is not None
        rollout = None if raw is None or bare else Rollout.from_json(json.loads(raw))
        error = outcome if isinstance(outcome, CaseError) else rollout.error if rollout and not verdict else None
        result = Result(planned.benchmark.name, planned.dataset.ids[row], row, repeat, verdict, error, rollout)
        if not bare:
            return json.dumps(result.to_json()).encode()
        # The usual case: the rollout goes over as the journal has it, which spares parsing every message once more.
        assert raw is not None
        return json.dumps(result.judgement()).encode()[:-1] + b", " + raw[1:]


class Journal:
    """Append-only files of what was paid for: a rollout the moment it lands, a verdict when it is judged.

    Each line is written by one call to the operating system, so that a killed process loses no whole line. A landed rollout leaves
    memory: it is read back by its offset.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        flags = os.O_CREAT | os.O_APPEND | os.O_RDWR
        self._rollouts = os.open(folder / "rollouts.jsonl", flags, 0o644)
        self._verdicts = os.open(folder / "verdicts.jsonl", flags, 0o644)
        self._places: dict[int, tuple[int, int]] = {}
        self._end = 0
        self._lock = threading.Lock()
        self.failed: set[int] = set()
        """Case numbers whose rollout is an error."""

    def add_rollout(self, case: int, key: CaseKey, rollout: Rollout) -> int:
        """Append a rollout and return its size in bytes; a later one for the same case counts. Raises RunError where the disk says no."""
        head = json.dumps({"benchmark": key.benchmark, "task_id": key.task_id, "repeat": key.repeat})[:-1] + ', "rollout": '
        body = json.dumps(rollout.to_json())
        line = (head + body + "}\n").encode()
        with self._lock:
            self._write(self._rollouts, line, self._end)
            self._places[case] = (self._end + len(head), len(body))
            self._end += len(line)
        if rollout.error is not None:
            self.failed.add(case)
        else:
            self.failed.discard(case)
        return len(body)

    def add_verdict(self, key: CaseKey, outcome: Verdict | CaseError) -> None:
        """Append what came of a case."""
        name = "verdict" if isinstance(outcome, Verdict) else "error"
        line = {"benchmark": key.benchmark, "task_id": key.task_id, "repeat": key.repeat, name: outcome.to_json()}
        self._write(self._verdicts, (json.dumps(line) + "\n").encode(), None)

    def raw(self, case: int) -> bytes | None:
        """The JSON of a landed rollout, or None. Safe in any thread."""
        place = self._places.get(case)
        return None if place is None else os.pread(self._rollouts, place[1], place[0])

    def rollout(self, case: int) -> Rollout | None:
        """A landed rollout, or None. Safe in any thread."""
        raw = self.raw(case)
        return None if raw is None else Rollout.from_json(json.loads(raw))

    def __len__(self) -> int:
        return len(self._places)

    def _write(self, handle: int, line: bytes, start: int | None) -> None:
        try:
            written = os.write(handle, line)
            while written < len(line):
                written += os.write(handle, line[written:])
        except OSError as error:
            if start is not None:
                # A torn line must not shift the places of those after it, should the disk take some again.
                with contextlib.suppress(OSError):
                    os.ftruncate(handle, start)
            raise RunError(
                f"the journal {self.folder} cannot be written: {error.strerror or error}; free space or choose another --gym-output"
            ) from error

    def close(self, *, remove: bool) -> None:
        """Close the files, and remove them once everything in them stands in `rollouts.jsonl`."""
        for handle in (self._rollouts, self._verdicts):
            os.close(handle)
        if remove:
            for name in ("rollouts.jsonl", "verdicts.jsonl"):
                (self.folder / name).unlink(missing_ok=True)
            if not any(self.folder.iterdir()):
                self.folder.rmdir()
