"""Judging the answers of a stored run with today's verifier, in memory: so that a comparison can take the verifier out of a change.

Nothing is written, nobody is asked. `--gym-reverify`, which leaves a run of its own, is pytest's way of the same (`reverify`).
"""

from __future__ import annotations

import asyncio

from pytest_gym.dataset import Dataset
from pytest_gym.errors import DataError, GymError
from pytest_gym.records import CaseError, Landed, Rollout, Task, Verdict
from pytest_gym.resolve import Selected
from pytest_gym.scores import Counts, Scored
from pytest_gym.stored import StoredRun
from pytest_gym.verify import check_verdict, explain_exception


def rejudge(run: StoredRun, stored: Scored, selected: Selected, dataset: Dataset) -> Scored:
    """The outcomes of one benchmark of `run` as today's verifier sees its answers; what is missing there is missing here.

    stored: the run's own outcomes. Raises DataError where the dataset is not the one that the run had.
    """
    name = stored.name
    wanted = run.manifest["benchmarks"][name]["dataset"]["sha256"]
    if dataset.sha256 != wanted:
        raise DataError(f"{name}: today's dataset (sha256 {dataset.sha256[:12]}…) is not the one of {run.word} (sha256 {wanted[:12]}…)")
    positions = {task: position for position, task in enumerate(stored.task_ids)}
    rows = {task: row for row, task in enumerate(dataset.ids)}
    counts = Counts(stored.tasks, stored.repeats)
    for entry in run.entries():
        if entry.key.benchmark != name or entry.key.task_id not in positions or entry.outcome is None:
            continue
        position = positions[entry.key.task_id]
        counts.landed(position, entry.key.repeat, Landed.of(0, entry.rollout))
        if entry.rollout.error is None:
            outcome = _judge(selected, dataset.task(rows[entry.key.task_id]), entry.rollout)
            counts.judged(position, entry.key.repeat, outcome)
    return counts.scored(
        name,
        stored.metric,
        task_ids=stored.task_ids,
        rows=stored.rows,
        subsets=stored.outcomes.subsets or [None] * stored.tasks,
        clusters=stored.outcomes.clusters or [None] * stored.tasks,
        subset_field=stored.subset_field,
        corpora=list(selected.verifier.aggregates.values()),
    )


def _judge(selected: Selected, task: Task, rollout: Rollout) -> Verdict | CaseError:
    metric, name = selected.benchmark.metric, selected.verifier.name
    try:
        verdict = asyncio.run(selected.call_async(task, rollout)) if selected.verifier.is_async else selected.call(task, rollout)
        return check_verdict(verdict, verifier=name, low=metric.low, high=metric.high, threshold=metric.pass_threshold)
    except GymError as error:
        return CaseError(error.kind, str(error))
    except Exception as error:
        return CaseError("verifier", explain_exception(error, name, task))
