"""The best that several runs hold of each case, found and copied without holding their texts: millions of rollouts pass through.

A verdict beats an error, an error beats nothing; among equals the run that was named first wins. What is kept of a case in memory is where
its line stands: some twenty bytes. Not here: whether the runs belong together, and what is told of them (`aggregate`).
"""

from __future__ import annotations

import json
import math
import os
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pytest_gym.errors import RunError
from pytest_gym.plan import Plan
from pytest_gym.records import CaseError, Json, Result, Rollout, Verdict
from pytest_gym.stored import RESULTS, StoredRun, key_of, rollout_of

_NOTHING, _ERROR, _VERDICT = 0, 1, 2
_SEVERAL, _DIFFER = 1, 2
_MOST_OPEN = 128

Seen = Callable[[int, Rollout, Verdict | CaseError], None]


@dataclass
class Share:
    """What one run gave: cases with a result, how many of those were taken, and what could not be used.

    `unjudged` answers have no verdict yet, `foreign` lines belong to no planned case, `broken` lines cannot be read.
    """

    results: int = 0
    used: int = 0
    unjudged: int = 0
    foreign: int = 0
    broken: int = 0


class Merge:
    """Merges runs over the cases of `plan`: call `read` for each, in the order in which they were named, then `write` once.

    `folder` takes the results of runs that are not finished, as files beginning with `.spool`; `close` removes them.
    """

    def __init__(self, plan: Plan, folder: Path) -> None:
        self.shares: list[Share] = []
        self._plan, self._folder = plan, folder
        self._files = _Files()
        self._spools: list[Path] = []
        # Where the best line of a case stands (file, start, size), how good it is, and what it says.
        self._file, self._start, self._size = array("H", [0]) * plan.cases, array("q", [0]) * plan.cases, array("I", [0]) * plan.cases
        self._rank, self._flags = bytearray(plan.cases), bytearray(plan.cases)
        self._reward = array("d", [math.nan]) * plan.cases

    @property
    def cases(self) -> int:
        """Cases that have a result."""
        return self._plan.cases - self._rank.count(_NOTHING)

    @property
    def duplicates(self) -> int:
        """Cases of which several runs have a result."""
        return self._plan.cases - self._flags.count(0)

    @property
    def disagreements(self) -> int:
        """Cases that were judged in several runs, and not with the same reward."""
        return self._flags.count(_SEVERAL | _DIFFER)

    def read(self, run: StoredRun) -> Share:
        """Take in a run. Raises RunError where its files cannot be read."""
        share = Share()
        number = len(self.shares)
        self.shares.append(share)
        path = self._spool(run, share) if run.unfinished else run.path / RESULTS
        self._files.add(path)
        for start, size, line in _lines(path, share):
            key = key_of(line)
            case = None if key is None else self._plan.number(key)
            if case is None:
                share.foreign += 1
                continue
            try:
                outcome = _outcome(line)
            except (KeyError, TypeError, ValueError):
                share.broken += 1
                continue
            if outcome is not None:
                share.results += 1
                self._weigh(case, outcome, number, start, size)
        return share

    def _weigh(self, case: int, outcome: Verdict | CaseError, number: int, start: int, size: int) -> None:
        rank, reward = (_VERDICT, outcome.reward) if isinstance(outcome, Verdict) else (_ERROR, math.nan)
        before = self._rank[case]
        if before != _NOTHING and self._file[case] != number:
            self._flags[case] |= _SEVERAL
            if before == rank == _VERDICT and reward != self._reward[case]:
                self._flags[case] |= _DIFFER
        if rank > before:
            self._rank[case], self._reward[case] = rank, reward
            self._file[case], self._start[case], self._size[case] = number, start, size

    def write(self, target: Path, seen: Seen) -> None:
        """Write the best lines to `target` in the order of the cases, each as its run has it, and tell `seen` of each.

        Messages are left out of the rollouts that `seen` gets. Raises RunError where the disk says no.
        """
        temporary = target.with_name(f".{target.name}.tmp")
        try:
            with temporary.open("wb") as out:
                for case in range(self._plan.cases):
                    if self._rank[case] != _NOTHING:
                        out.write(self._best(case, seen))
            temporary.replace(target)
        except OSError as error:
            raise RunError(f"{target} cannot be written: {error.strerror or error}") from error
        finally:
            temporary.unlink(missing_ok=True)

    def _best(self, case: int, seen: Seen) -> bytes:
        number = self._file[case]
        raw = self._files.read(number, self._start[case], self._size[case])
        try:
            line = json.loads(raw)
            outcome = _outcome(line)
            if outcome is None:
                raise ValueError(raw)
            # The bulk of a line, and nothing that is counted.
            rollout = rollout_of({**line, "messages": ()}, outcome if isinstance(outcome, CaseError) else None)
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
            path = self._files.path(number)
            raise RunError(f"{path}: the line at byte {self._start[case]} is no result, or the run changes while it is read") from None
        self.shares[number].used += 1
        seen(case, rollout, outcome)
        return raw

    def close(self) -> None:
        """Close the runs' files, and remove what was made to read them."""
        self._files.close()
        for path in self._spools:
            path.unlink(missing_ok=True)

    def _spool(self, run: StoredRun, share: Share) -> Path:
        """The results of a run that is not finished, written as a finished one has them."""
        path = self._folder / f".spool-{len(self._spools)}.jsonl"
        self._spools.append(path)
        try:
            with path.open("wb") as out:
                for entry in run.entries():
                    case = self._plan.number(entry.key)
                    if case is None:
                        share.foreign += 1
                    elif entry.outcome is None:
                        share.unjudged += 1
                    else:
                        planned, position, _ = self._plan.locate(case)
                        verdict = entry.outcome if isinstance(entry.outcome, Verdict) else None
                        error = entry.outcome if isinstance(entry.outcome, CaseError) else None
                        rollout = None if entry.rollout == Rollout() else entry.rollout
                        result = Result(*entry.key[:2], planned.rows[position], entry.key.repeat, verdict, error, rollout)
                        out.write(json.dumps(result.to_json()).encode() + b"\n")
        except OSError as error_:
            raise RunError(f"{path} cannot be written: {error_.strerror or error_}") from error_
        share.broken += run.broken
        return path


def _outcome(line: Json) -> Verdict | CaseError | None:
    """What a line of results says came of its case. Raises ValueError, KeyError or TypeError where that cannot be."""
    if line.get("reward") is None:
        return CaseError.from_json(line["error"]) if line.get("error") else None
    verdict = Verdict.from_json(line)
    if isinstance(verdict.reward, bool) or not math.isfinite(verdict.reward) or not isinstance(verdict.scores, dict):
        raise ValueError(verdict)
    return verdict


def _lines(path: Path, share: Share) -> Iterator[tuple[int, int, Json]]:
    """Start, size and content of each line; what cannot be read is counted."""
    start = 0
    try:
        with path.open("rb", buffering=1 << 20) as file:
            for raw in file:
                try:
                    line = json.loads(raw)
                except (ValueError, RecursionError):
                    line = None
                if isinstance(line, dict) and raw.endswith(b"\n"):
                    yield start, len(raw), line
                else:
                    share.broken += 1
                start += len(raw)
    except FileNotFoundError:
        # A run that never had a result.
        return
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror or error}") from error


class _Files:
    """Files by number, read at any place; only some are open at a time, however many runs there are."""

    def __init__(self) -> None:
        self._paths: list[Path] = []
        self._open: dict[int, int] = {}

    def add(self, path: Path) -> None:
        self._paths.append(path)

    def path(self, number: int) -> Path:
        return self._paths[number]

    def read(self, number: int, start: int, size: int) -> bytes:
        handle = self._open.get(number)
        if handle is None:
            if len(self._open) >= _MOST_OPEN:
                os.close(self._open.pop(next(iter(self._open))))
            handle = self._open[number] = os.open(self._paths[number], os.O_RDONLY | getattr(os, "O_BINARY", 0))
        return os.pread(handle, size, start)

    def close(self) -> None:
        while self._open:
            os.close(self._open.popitem()[1])
