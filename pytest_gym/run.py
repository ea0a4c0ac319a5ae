"""The run folder: where a run is kept, who may write to it, and the files that are left when it is over.

Formats are in docs/results.md. The process that the user started is the only writer, and holds the folder's lock.
Not here: the journal's own files (`journal`), what the numbers are (`tally`, `metrics`) and how they are shown (`report/`).
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pytest_gym.errors import RunError
from pytest_gym.journal import Journal
from pytest_gym.plan import Plan
from pytest_gym.records import CaseError, Result, Rollout, Verdict

SCHEMA = 1
MANIFEST, ROLLOUTS, SUMMARY, SUMMARY_MD = "run.json", "rollouts.jsonl", "summary.json", "summary.md"
CHANGES = "reverified.json"


def default_folder(invocation_dir: Path, benchmarks: Sequence[str], started: float, shard: str | None) -> Path:
    """`gym-results/<YYYYmmdd-HHMMSS>-<benchmarks>` below `invocation_dir`, with `-2`, `-3`, … where that exists already."""
    label = "+".join(name.replace("/", "_") for name in benchmarks[:3]) + ("+more" if len(benchmarks) > 3 else "")
    label += f"-{shard.replace('/', 'of')}" if shard else ""
    base = invocation_dir / "gym-results" / f"{time.strftime('%Y%m%d-%H%M%S', time.localtime(started))}-{label}"
    folder, number = base, 1
    while os.path.exists(folder):
        number += 1
        folder = base.with_name(f"{base.name}-{number}")
    return folder


class RunFolder:
    """One run's folder, locked: made anew, or with `resume` opened again. RunError says why it cannot be used."""

    journal: Journal

    def __init__(self, path: Path, *, ignore_parent: bool = False, resume: bool = False) -> None:
        self.path = path
        self.taken_over: str | None = None
        """The owner who left its lock behind, if one did: a process that was killed."""
        try:
            if not resume and (path / MANIFEST).exists():
                raise RunError(f"--gym-output={path}: holds a run already; name a new folder, or continue it with --gym-resume={path}")
            path.mkdir(parents=True, exist_ok=True)
            if ignore_parent and not (marker := path.parent / ".gitignore").exists():
                marker.write_text("# made by pytest-gym: results are not source\n*\n")
            self._lock()
        except OSError as error:
            raise RunError(f"the run folder {path} cannot be made: {error.strerror or error}; choose another with --gym-output") from error
        if not resume and any(journal.stat().st_size for journal in (path / "journal").glob("*.jsonl")):
            self.unlock()
            raise RunError(
                f"--gym-output={path}: holds the journal of a run that was killed while it began; remove it, or name a new folder"
            )
        if not resume and (path / MANIFEST).exists():
            self.unlock()
            raise RunError(f"--gym-output={path}: another process has just begun a run there; name a new folder")

    def open_journal(self, plan: Plan) -> None:
        """Open the journal for the cases of `plan`."""
        self._plan = plan
        self.journal = Journal(self.path / "journal", plan)

    def _lock(self) -> None:
        from filelock import FileLock, Timeout

        # The system frees a dead process's lock by itself; who holds or left it is told by a file beside it.
        self._held, owner = FileLock(self.path / ".lock"), self.path / ".owner.json"
        try:
            self._held.acquire(timeout=0)
        except Timeout:
            raise RunError(f"{self.path}: is in use by {_owner(owner)}; wait until it has ended, or choose another folder") from None
        if owner.exists():
            self.taken_over = _owner(owner)
        owner.write_text(json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}))

    def unlock(self) -> None:
        """Let others have the folder; may be called again."""
        if self._held.is_locked:
            for name in (".owner.json", ".lock"):
                with contextlib.suppress(OSError):
                    (self.path / name).unlink(missing_ok=True)
            self._held.release()

    def discard(self) -> None:
        """Take a folder back that was made for a run which cannot begin."""
        self.journal.close(remove=True)
        (self.path / MANIFEST).unlink(missing_ok=True)
        self.unlock()
        with contextlib.suppress(OSError):
            # Only where nothing but ours was in it.
            self.path.rmdir()

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

    def fold(self) -> int:
        """Write `rollouts.jsonl`, one result a line in the order of the cases, from the journal; returns the lines.

        Cases of which nothing is known have no line. A rollout that was made and not judged has none either: it stays in the journal.
        """
        target, temporary, lines = self.path / ROLLOUTS, self.path / f".{ROLLOUTS}.tmp", 0
        try:
            with temporary.open("wb") as out:
                for case in range(self._plan.cases):
                    if self.journal.judged(case) or self.journal.failed(case):
                        out.write(self._line(case) + b"\n")
                        lines += 1
            temporary.replace(target)
        except OSError as error:
            raise RunError(f"{target} cannot be written: {error.strerror or error}; what landed is in the journal beside it") from error
        return lines

    def _line(self, case: int) -> bytes:
        planned, position, repeat = self._plan.locate(case)
        row, raw, outcome = planned.rows[position], self.journal.raw(case), self.journal.outcome(case)
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


def _owner(path: Path) -> str:
    """Who wrote an owner file, in words."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return f"process {data['pid']} on {data['host']} since {data['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
