"""Which part of the tasks this process takes where several machines share one run: `--gym-shard=I/N`, or `auto` under a scheduler.

A pure split by position, and the reading of the schedulers' environment variables. Nobody is asked and nothing is coordinated: every shard
decides for itself, and all come to the same split. Not here: putting the shards' results together (`aggregate`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pytest_gym.errors import ConfigError

_TYPED = re.compile(r"\s*([0-9]{1,9})\s*/\s*([0-9]{1,9})\s*")
_NUMBER = re.compile(r"[0-9]{1,9}")
_OPTION = "--gym-shard"


@dataclass(frozen=True, slots=True)
class Shard:
    """Part `index` (from 1, as it is typed) of `count`. Its text is `2/4`."""

    index: int
    count: int

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    def take(self, rows: Sequence[int], before: int = 0) -> Sequence[int]:
        """The rows of this shard: every `count`-th.

        `before` is the number of rows of the benchmarks that come first: the stride goes on from one benchmark to the next, so that the
        shards of a run of many small benchmarks are as even as those of one large one. Every shard of the same rows gets its share of
        each region of a sorted file.
        """
        return rows[(self.index - 1 - before) % self.count :: self.count]

    def to_json(self) -> dict[str, int]:
        """The entry `shard` of `run.json`."""
        return {"index": self.index, "count": self.count}

    @classmethod
    def from_json(cls, data: Mapping[str, int]) -> Shard:
        """The shard that `to_json` wrote."""
        return cls(int(data["index"]), int(data["count"]))


def parse(text: str, environ: Mapping[str, str]) -> Shard:
    """The shard that `text` names: `I/N`, or `auto` for what the scheduler says in `environ`. Raises ConfigError where that is unclear."""
    if text.strip().lower() == "auto":
        return _scheduled(environ)
    match = _TYPED.fullmatch(text)
    if match is None:
        raise ConfigError(f"{_OPTION}={text}: must be I/N, such as 2/4 for the second of four shards, or auto under a scheduler")
    index, count = int(match[1]), int(match[2])
    if not 1 <= index <= count:
        raise ConfigError(f"{_OPTION}={text}: shards are counted from 1 to their number, as in 2/4 for the second of four")
    return Shard(index, count)


class _Scheduler(NamedTuple):
    """The variables by which a scheduler tells a job its number (counted from `first`) and how many there are."""

    name: str
    number: str
    totals: tuple[str, ...]
    first: int
    mark: str | None = None
    """A variable that must be set, where the others' names are in use elsewhere with another meaning."""


# Sources: the pages on environment variables of each product's own manual. CI_NODE_INDEX counts from 1 on GitLab alone; tools that borrow
# its name elsewhere count from 0. GitHub sets no variable for a job of a matrix, and Kubernetes none for the number of completions.
_SCHEDULERS = (
    _Scheduler("Kubernetes indexed job", "JOB_COMPLETION_INDEX", ("JOB_COMPLETIONS", "GYM_SHARD_COUNT"), 0),
    _Scheduler("GitLab", "CI_NODE_INDEX", ("CI_NODE_TOTAL",), 1, mark="GITLAB_CI"),
    _Scheduler("CircleCI", "CIRCLE_NODE_INDEX", ("CIRCLE_NODE_TOTAL",), 0),
    _Scheduler("Buildkite", "BUILDKITE_PARALLEL_JOB", ("BUILDKITE_PARALLEL_JOB_COUNT",), 0),
    _Scheduler("own variables", "GYM_SHARD_INDEX", ("GYM_SHARD_COUNT",), 0),
)
_HINTS = {
    "JOB_COMPLETION_INDEX": "Kubernetes tells a pod its number only: set JOB_COMPLETIONS in the pod's env to the job's spec.completions",
    "GYM_SHARD_INDEX": "set it to the number of shards; on GitHub: GYM_SHARD_COUNT: ${{ strategy.job-total }}",
}


def _scheduled(environ: Mapping[str, str]) -> Shard:
    found: dict[str, Shard] = {}
    if "SLURM_ARRAY_TASK_ID" in environ:
        found["Slurm array"] = _slurm(environ)
    for scheduler in _SCHEDULERS:
        shard = _read(scheduler, environ)
        if shard is not None:
            found[scheduler.name] = shard
    if not found:
        raise ConfigError(_nothing_found(environ))
    # A job of one in an outer system (a CI job without `parallel`) that started a scheduler's array says nothing about the split.
    split = {name: shard for name, shard in found.items() if shard.count > 1} or found
    if len(set(split.values())) > 1:
        said = " and ".join(f"{name} says {shard}" for name, shard in split.items())
        raise ConfigError(f"{_OPTION}=auto: {said}; name the shard yourself, as I/N")
    return next(iter(split.values()))


def _read(scheduler: _Scheduler, environ: Mapping[str, str]) -> Shard | None:
    """The shard that a scheduler's variables name, or None where it is not at work. Raises ConfigError for values that cannot be."""
    if scheduler.mark is not None and not environ.get(scheduler.mark):
        return None
    if not environ.get(scheduler.number):
        # A GitLab job without `parallel` has a total of 1 and no number.
        return Shard(1, 1) if scheduler.mark is not None and environ.get(scheduler.totals[0]) == "1" else None
    given = {name: _number(environ, name) for name in scheduler.totals if environ.get(name)}
    position = _number(environ, scheduler.number) - scheduler.first
    if not given:
        hint = _HINTS.get(scheduler.number, f"set {scheduler.totals[0]}")
        raise ConfigError(f"{_OPTION}=auto: {scheduler.number} is set, but {' or '.join(scheduler.totals)} is not: {hint}")
    if len(set(given.values())) > 1:
        said = " and ".join(f"{name}={count}" for name, count in given.items())
        raise ConfigError(f"{_OPTION}=auto: {said} contradict each other; leave one out")
    count = next(iter(given.values()))
    if not 0 <= position < count:
        said = ", ".join(f"{name}={count}" for name in given)
        last = count - 1 + scheduler.first
        raise ConfigError(
            f"{_OPTION}=auto: {scheduler.number}={environ[scheduler.number]} and {said} do not fit:"
            f" the number goes from {scheduler.first} to {last}"
        )
    return Shard(position + 1, count)


def _slurm(environ: Mapping[str, str]) -> Shard:
    """The shard of a Slurm array task: its place in the array, whatever its numbers are.

    An array that is no whole range from 0 or 1 is refused: it looks just like some tasks of a larger array that are submitted again
    (`--array=2,5`), and those would silently share the run out anew among themselves.
    """
    names = {name: f"SLURM_ARRAY_TASK_{name}" for name in ("ID", "MIN", "MAX", "COUNT", "STEP")}
    missing = [name for name in (names["MIN"], names["MAX"]) if not environ.get(name)]
    if missing:
        raise ConfigError(f"{_OPTION}=auto: SLURM_ARRAY_TASK_ID is set, but {' and '.join(missing)} is not; name the shard as I/N")
    own, low, high = (_number(environ, names[name]) for name in ("ID", "MIN", "MAX"))
    step = _number(environ, names["STEP"]) if environ.get(names["STEP"]) else 1
    count = (high - low) // max(step, 1) + 1
    said = ", ".join(f"{name}={environ[name]}" for name in names.values() if environ.get(name))
    if step < 1 or not low <= own <= high or (own - low) % step:
        raise ConfigError(f"{_OPTION}=auto: {said} contradict each other; name the shard as I/N")
    if low > 1 or (environ.get(names["COUNT"]) and _number(environ, names["COUNT"]) != count):
        raise ConfigError(
            f"{_OPTION}=auto: the Slurm array is no range from 0 or 1 ({said}); if these are tasks of a larger array that run again,"
            " name their shards as I/N, or carry their runs on with --gym-resume"
        )
    return Shard((own - low) // step + 1, count)


def _number(environ: Mapping[str, str], name: str) -> int:
    text = environ[name].strip()
    if _NUMBER.fullmatch(text) is None:
        raise ConfigError(f"{_OPTION}=auto: {name}={text!r:.60} is not a whole number")
    return int(text)


def _nothing_found(environ: Mapping[str, str]) -> str:
    if environ.get("GITHUB_ACTIONS"):
        return (
            f"{_OPTION}=auto: GitHub sets no variables for the jobs of a matrix; give the step"
            " env: GYM_SHARD_INDEX: ${{ strategy.job-index }} and GYM_SHARD_COUNT: ${{ strategy.job-total }}"
        )
    looked = ["SLURM_ARRAY_TASK_ID", *(scheduler.number for scheduler in _SCHEDULERS)]
    return f"{_OPTION}=auto: no scheduler is at work here (none of {', '.join(looked)} is set); name the shard, as in {_OPTION}=1/4"
