"""Tasks in groups by any field of their rows (`--gym-by=FIELD`): of a run that is about to begin, and of a stored one.

Groups say by what scores are reported apart, and no more: the subsets that a benchmark names itself still make its means and its gates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from pytest_gym.dataset import Dataset, group_name
from pytest_gym.errors import ConfigError, DataError, GymError, did_you_mean
from pytest_gym.plan import Plan
from pytest_gym.stored import StoredRun

if TYPE_CHECKING:
    from pytest_gym.scores import Scored

Groups = list[str | None]
OpenStored = Callable[[StoredRun, str], Dataset]
"""Opens the dataset that a stored run's benchmark had. Raises GymError where it is not at hand."""
Regroup = Callable[[StoredRun, "dict[str, Scored]"], "tuple[dict[str, Scored], list[str]]"]
"""Puts the tasks of a stored run in groups, or leaves them as they are, and says in notes what it could not do."""


def groups_of(dataset: Dataset, field: str, rows: Sequence[int]) -> Groups:
    """The group of each row, None where it lacks the field. Raises DataError where all of them do, or a value is no text or number."""
    found: Groups = []
    fields: dict[str, None] = {}
    for row in rows:
        task = dataset.task(row)
        fields |= dict.fromkeys(task.fields)
        where = f"{dataset.benchmark}, row {row + 1}"
        found.append(group_name(task.fields.get(field), field, "what --gym-by names", where))
    if rows and field not in fields:
        hint = did_you_mean(field, list(fields), otherwise=f" (they have: {', '.join(fields)})")
        raise DataError(f"--gym-by={field}: the tasks of {dataset.benchmark} have no field {field!r}{hint}")
    return found


def of_plan(plan: Plan, field: str) -> tuple[dict[str, Groups], list[str]]:
    """The groups of each benchmark's tasks, and why a benchmark has none. Raises ConfigError where that is every one."""
    found: dict[str, Groups] = {}
    reasons = []
    for planned in plan.benchmarks:
        try:
            found[planned.benchmark.name] = groups_of(planned.dataset, field, planned.rows)
        except DataError as error:
            reasons.append(str(error))
    if not found and reasons:
        raise ConfigError(reasons[0])
    return found, reasons


def of_stored(run: StoredRun, benchmarks: Mapping[str, Scored], field: str, open_stored: OpenStored) -> tuple[dict[str, Scored], list[str]]:
    """The benchmarks of a stored run with its tasks in groups, as today's rows say where they are still the same, and notes.

    Raises ConfigError where no benchmark's tasks can be put in groups.
    """
    found = dict(benchmarks)
    notes = []
    grouped = False
    for name, scored in benchmarks.items():
        try:
            dataset = open_stored(run, name)
            rows = {task: row for row, task in enumerate(dataset.ids)}
            known = [rows.get(task) for task in scored.task_ids]
            same = [
                row if row is not None and content in ("", dataset.row_hash(row)) else None
                for row, content in zip(known, scored.rows, strict=True)
            ]
            groups = iter(groups_of(dataset, field, [row for row in same if row is not None]))
            found[name] = scored.grouped([None if row is None else next(groups) for row in same])
        except GymError as error:
            notes.append(f"{run.word}: {error}")
            continue
        grouped = True
        if changed := sum(row is None and task != "" for row, task in zip(same, scored.task_ids, strict=True)):
            notes.append(f"{run.word}: {changed:,} tasks of {name} have other rows today, or none, and are in no group of --gym-by={field}")
    if not grouped and notes:
        raise ConfigError(notes[0])
    return found, notes
