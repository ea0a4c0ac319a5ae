"""Which cases a run has: benchmarks × tasks × repeats, and the numbers that stand for them everywhere else.

A case number counts through the benchmarks in the order given, the tasks in the order of the dataset, the repeats of a task side by side,
so that it is the same in every process that has the same plan. Not here: how cases become pytest items, and what has happened to them.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from pytest_gym.benchmark import Benchmark
from pytest_gym.dataset import Dataset, node_names
from pytest_gym.records import Task
from pytest_gym.shard import Shard

ORDER_SEED = 1
"""Of the order in which tasks are asked where a sequential test may stop the run."""


class CaseKey(NamedTuple):
    """What identifies a case across runs: benchmark, raw task id, repeat (from 0)."""

    benchmark: str
    task_id: str
    repeat: int


@dataclass(frozen=True, eq=False)
class Planned:
    """One benchmark of a run: its dataset, the rows taken from it, how often each is repeated, and the number of its first case.

    `whole` is the number of rows that all shards together take; without a shard that is `len(rows)`.
    """

    benchmark: Benchmark
    dataset: Dataset
    rows: Sequence[int]
    names: Sequence[str]
    repeats: int
    first: int
    limit: str | None
    index: Path
    shard: Shard | None
    whole: int

    @property
    def cases(self) -> int:
        """Number of cases: rows × repeats."""
        return len(self.rows) * self.repeats

    def task(self, position: int) -> Task:
        """The task at `position` among the rows taken. Raises DataError for a broken row."""
        return self.dataset.task(self.rows[position])


class Plan:
    """The benchmarks of a run, and the way from case numbers to tasks and back."""

    def __init__(self) -> None:
        self.benchmarks: list[Planned] = []
        self._firsts: list[int] = []
        self._positions: dict[str, tuple[Planned, dict[str, int]]] = {}

    def add(
        self, benchmark: Benchmark, dataset: Dataset, *, repeats: int, limit: str | None, index: Path, shard: Shard | None = None
    ) -> Planned:
        """Append a benchmark; `limit` as in `Dataset.select`, `index` where the dataset's index is saved for other processes.

        `shard` takes its part of what `limit` leaves, whole tasks with all their repeats.
        """
        selected = dataset.select(limit)
        rows = selected if shard is None else shard.take(selected, sum(planned.whole for planned in self.benchmarks))
        names = node_names([dataset.ids[row] for row in rows])
        planned = Planned(benchmark, dataset, rows, names, repeats, self.cases, limit, index, shard, len(selected))
        self.benchmarks.append(planned)
        self._firsts.append(planned.first)
        return planned

    @property
    def cases(self) -> int:
        """Number of cases of all benchmarks."""
        return self.benchmarks[-1].first + self.benchmarks[-1].cases if self.benchmarks else 0

    def sizes(self) -> dict[str, dict[str, Any]]:
        """For the manifest: the number of tasks and repeats of each benchmark, and the field that its subsets go by."""
        return {
            planned.benchmark.name: {"tasks": len(planned.rows), "repeats": planned.repeats, "subset": planned.benchmark.subset}
            for planned in self.benchmarks
        }

    def locate(self, case: int) -> tuple[Planned, int, int]:
        """Benchmark, position of the task among its rows, and repeat of a case number."""
        planned = self.benchmarks[bisect_right(self._firsts, case) - 1]
        position, repeat = divmod(case - planned.first, planned.repeats)
        return planned, position, repeat

    def key(self, case: int) -> CaseKey:
        """Benchmark, raw task id and repeat of a case number."""
        planned, position, repeat = self.locate(case)
        return CaseKey(planned.benchmark.name, planned.dataset.ids[planned.rows[position]], repeat)

    def number(self, key: CaseKey) -> int | None:
        """The case number of a key, or None where it is no case of this plan."""
        if not self._positions:
            self._positions = {
                planned.benchmark.name: (planned, {planned.dataset.ids[row]: position for position, row in enumerate(planned.rows)})
                for planned in self.benchmarks
            }
        planned, positions = self._positions.get(key.benchmark, (None, {}))
        position = positions.get(key.task_id)
        if planned is None or position is None or not 0 <= key.repeat < planned.repeats:
            return None
        return planned.first + position * planned.repeats + key.repeat

    def node_id(self, case: int) -> str:
        """The pytest node id of a case number, `gsm8k::0007-r2`."""
        planned, position, repeat = self.locate(case)
        return f"{planned.benchmark.name}::{planned.names[position]}-r{repeat}"

    def case_of(self, node_id: str) -> int | None:
        """The case number of a node id, or None where it is no case of this plan."""
        name, _, rest = node_id.partition("::")
        task, _, repeat = rest.rpartition("-r")
        for planned in self.benchmarks:
            if planned.benchmark.name == name and task in planned.names and repeat.isdecimal() and int(repeat) < planned.repeats:
                return planned.first + planned.names.index(task) * planned.repeats + int(repeat)
        return None

    def task(self, case: int) -> Task:
        """The task of a case number. Raises DataError for a broken row."""
        planned, position, _ = self.locate(case)
        return planned.task(position)

    def to_json(self) -> list[dict[str, Any]]:
        """The plan for another process on this machine: it reads the datasets by their indexes."""
        return [
            {
                "benchmark": planned.benchmark.to_json(),
                "index": str(planned.index),
                "repeats": planned.repeats,
                "limit": planned.limit,
                "shard": planned.shard.to_json() if planned.shard else None,
            }
            for planned in self.benchmarks
        ]

    @classmethod
    def from_json(cls, data: Sequence[dict[str, Any]]) -> Plan:
        """The plan that `to_json` wrote."""
        plan = cls()
        for entry in data:
            index = Path(entry["index"])
            plan.add(
                Benchmark.from_json(entry["benchmark"]),
                Dataset.load(index),
                repeats=entry["repeats"],
                limit=entry["limit"],
                index=index,
                shard=Shard.from_json(entry["shard"]) if entry["shard"] else None,
            )
        return plan


def task_order(tasks: int) -> list[int]:
    """The seeded random order of so many tasks, the same in every process."""
    order = list(range(tasks))
    random.Random(ORDER_SEED).shuffle(order)
    return order
