"""The journal: append-only files of what was paid for, a rollout the moment it lands, its verdict when it is judged.

Each line is written by one call to the operating system, so that a killed process loses no whole line. What was written leaves memory:
it is read back by its offset. Where a case's last lines stand is kept in arrays, sixteen bytes a case and file.
Not here: what else a run folder holds (`run`), and reading the run of somebody else (`stored`).
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_gym.errors import RunError
from pytest_gym.plan import CaseKey, Plan
from pytest_gym.records import CaseError, Json, Rollout, Verdict

ROLLOUTS, VERDICTS, SELECTION = "rollouts.jsonl", "verdicts.jsonl", "selection.json"
_OPEN = b', "rollout": '
_VERDICT, _ERROR = 1, 2


class Journal:
    """The journal of a run with the cases of `plan`, in `folder`, which is made. An existing one is appended to: call `load` first.

    Every method may be called from any thread. Raises RunError where the disk says no.
    """

    def __init__(self, folder: Path, plan: Plan) -> None:
        try:
            folder.mkdir(exist_ok=True)
            self.folder, self._plan = folder, plan
            self._rollouts = _File(folder / ROLLOUTS, plan.cases)
            self._verdicts = _File(folder / VERDICTS, plan.cases)
        except OSError as error:
            raise RunError(f"the journal {folder} cannot be opened: {error.strerror or error}") from error
        self._failed = bytearray(plan.cases)
        self._judged = bytearray(plan.cases)
        self._landed = 0

    def load(self, seen: Callable[[int, Rollout], None]) -> Loaded:
        """Find what an earlier process has written; `seen` hears of every rollout that was an answer.

        Rollouts and outcomes that are errors do not count: they are tried again. A torn last line is cut off.
        """
        found = Loaded()
        for line, raw, start in self._rollouts.lines(found):
            case, head = self._case(line), raw.find(_OPEN) + len(_OPEN)
            if case is None or head < len(_OPEN):
                found.foreign += 1
                continue
            rollout = Rollout.from_json(line["rollout"])
            if rollout.error is None:
                self._landed += self._rollouts.place(case, start + head, len(raw) - head - 2)
                seen(case, rollout)
        for line, raw, start in self._verdicts.lines(found):
            case = self._case(line)
            if case is not None and self._rollouts.has(case) and "verdict" in line:
                found.judged += not self._judged[case]
                self._judged[case] = _VERDICT
                self._verdicts.place(case, start, len(raw))
        found.landed = self._landed
        return found

    def _case(self, line: Json) -> int | None:
        try:
            return self._plan.number(CaseKey(line["benchmark"], line["task_id"], line["repeat"]))
        except (KeyError, TypeError):
            return None

    def add_rollout(self, case: int, rollout: Rollout) -> int:
        """Append a rollout and return its size in bytes; a later one for the same case counts."""
        head, body = self._head(case) + _OPEN.decode(), json.dumps(rollout.to_json())
        self._landed += self._rollouts.append(case, (head + body + "}\n").encode(), len(head), len(body))
        self._failed[case] = rollout.error is not None
        return len(body)

    def add_outcome(self, case: int, outcome: Verdict | CaseError) -> None:
        """Append what came of a case; a later one counts."""
        name = "verdict" if isinstance(outcome, Verdict) else "error"
        line = f'{self._head(case)}, "{name}": {json.dumps(outcome.to_json())}}}\n'.encode()
        self._verdicts.append(case, line, 0, len(line))
        self._judged[case] = _VERDICT if isinstance(outcome, Verdict) else _ERROR

    def _head(self, case: int) -> str:
        key = self._plan.key(case)
        return json.dumps({"benchmark": key.benchmark, "task_id": key.task_id, "repeat": key.repeat})[:-1]

    def raw(self, case: int) -> bytes | None:
        """The JSON of a landed rollout, or None."""
        return self._rollouts.at(case)

    def has(self, case: int) -> bool:
        """Whether a rollout has landed."""
        return self._rollouts.has(case)

    def failed(self, case: int) -> bool:
        """Whether the rollout that has landed is an error."""
        return bool(self._failed[case])

    def judged(self, case: int) -> bool:
        """Whether there is a verdict, or an error in its place."""
        return bool(self._judged[case])

    def judgements(self) -> bytes:
        """`judged` of all cases at this moment."""
        return bytes(self._judged)

    def rollout(self, case: int) -> Rollout | None:
        """A landed rollout, or None."""
        raw = self.raw(case)
        return None if raw is None else Rollout.from_json(json.loads(raw))

    def outcome(self, case: int) -> Verdict | CaseError | None:
        """What came of a case, or None where it is not known."""
        raw = self._verdicts.at(case)
        if raw is None:
            return None
        line = json.loads(raw)
        return Verdict.from_json(line["verdict"]) if "verdict" in line else CaseError.from_json(line["error"])

    def verdict(self, case: int) -> Verdict | None:
        """The verdict of a case, or None where there is none."""
        outcome = self.outcome(case) if self._judged[case] == _VERDICT else None
        return outcome if isinstance(outcome, Verdict) else None

    def without_verdict(self, cases: Iterable[int]) -> int:
        """How many of `cases` have no verdict."""
        return sum(self._judged[case] != _VERDICT for case in cases)

    def forget_verdicts(self) -> None:
        """Set the verdicts aside, in a file of their own: the verifier is another now, and they are not its."""
        number = 1
        while (aside := self.folder / f"verdicts-{number}.jsonl").exists():
            number += 1
        self._verdicts.close()
        (self.folder / VERDICTS).rename(aside)
        self._verdicts = _File(self.folder / VERDICTS, self._plan.cases)
        self._judged = bytearray(self._plan.cases)

    def write_selection(self, cases: Sequence[int], overridden: Sequence[str]) -> None:
        """Keep which cases were selected and which fixtures a conftest defines anew: whoever resumes the run needs to know."""
        data = {"cases": None if len(cases) == self._plan.cases else ranges(cases), "overridden": list(overridden)}
        target = self.folder / SELECTION
        try:
            temporary = target.with_suffix(".tmp")
            temporary.write_text(json.dumps(data))
            temporary.replace(target)
        except OSError as error:
            raise RunError(f"{target} cannot be written: {error.strerror or error}") from error

    @property
    def complete(self) -> bool:
        """Whether every planned case has come to something."""
        return all(self._judged)

    def __len__(self) -> int:
        return self._landed

    def close(self, *, remove: bool) -> None:
        """Close the files, and remove them once everything in them stands in `rollouts.jsonl` of the run."""
        self._rollouts.close()
        self._verdicts.close()
        if remove:
            for path in (self.folder / ROLLOUTS, self.folder / SELECTION, *self.folder.glob("verdicts*.jsonl")):
                path.unlink(missing_ok=True)
            if not any(self.folder.iterdir()):
                self.folder.rmdir()


@dataclass
class Loaded:
    """What a journal held: answers, verdicts on them, lines that cannot be read (a torn last one among them), lines of other cases."""

    landed: int = 0
    judged: int = 0
    broken: int = 0
    foreign: int = 0


class _File:
    """One append-only file, and where the last line of each case stands in it."""

    def __init__(self, path: Path, cases: int) -> None:
        self._path = path
        self._handle = os.open(path, os.O_CREAT | os.O_APPEND | os.O_RDWR | getattr(os, "O_BINARY", 0), 0o644)
        self._starts, self._sizes = array("q", [-1]) * cases, array("q", [0]) * cases
        self._end = os.fstat(self._handle).st_size
        self._lock = threading.Lock()

    def append(self, case: int, line: bytes, start: int, size: int) -> bool:
        """Write a line, of which `size` bytes from `start` are kept for the case; true for the case's first."""
        with self._lock:
            self._write(line)
            first = self.place(case, self._end + start, size)
            self._end += len(line)
        return first

    def place(self, case: int, start: int, size: int) -> bool:
        """Note where a case's line stands; true for its first."""
        first = self._starts[case] < 0
        self._starts[case], self._sizes[case] = start, size
        return first

    def has(self, case: int) -> bool:
        return self._starts[case] >= 0

    def at(self, case: int) -> bytes | None:
        # Under the lock: between its two halves a place means nothing.
        with self._lock:
            start, size = self._starts[case], self._sizes[case]
        return None if start < 0 else self.read(start, size)

    def read(self, start: int, size: int) -> bytes:
        return os.pread(self._handle, size, start)

    def lines(self, found: Loaded) -> Iterable[tuple[Json, bytes, int]]:
        """Each line, decoded and as it stands, and where it begins; what cannot be read is counted, and a torn end cut off."""
        start = 0
        with self._path.open("rb") as file:
            for raw in file:
                if not raw.endswith(b"\n"):
                    found.broken += 1
                    os.ftruncate(self._handle, start)
                    break
                try:
                    line = json.loads(raw)
                    if not isinstance(line, dict):
                        raise ValueError(raw)
                except (ValueError, RecursionError):
                    found.broken += 1
                else:
                    yield line, raw, start
                start += len(raw)
        self._end = start

    def _write(self, line: bytes) -> None:
        try:
            written = os.write(self._handle, line)
            while written < len(line):
                written += os.write(self._handle, line[written:])
        except OSError as error:
            # A torn line must not shift the places of those after it, should the disk take some again.
            with contextlib.suppress(OSError):
                os.ftruncate(self._handle, self._end)
            raise RunError(
                f"the journal {self._path.parent} cannot be written: {error.strerror or error}; free space there, then resume the run"
            ) from error

    def close(self) -> None:
        os.close(self._handle)


def ranges(cases: Iterable[int]) -> list[list[int]]:
    """Case numbers as `[first, last]` pairs in ascending order."""
    pairs: list[list[int]] = []
    for case in sorted(set(cases)):
        if pairs and pairs[-1][1] == case - 1:
            pairs[-1][1] = case
        else:
            pairs.append([case, case])
    return pairs
