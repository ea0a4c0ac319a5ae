"""`--gym-profile`: one run in detail: tasks from the hardest to the easiest, the flakiest ones, subsets, tokens and seconds.

From the outcomes alone, of a finished run or of one that was killed. Text is made in `report/profile`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_gym import metrics, table
from pytest_gym.discovery import Output
from pytest_gym.gate_stored import StoredGates, exit_code
from pytest_gym.grouping import Regroup
from pytest_gym.nemo_rollouts import NemoRollouts
from pytest_gym.report.layout import plain
from pytest_gym.report.profile import profile_text
from pytest_gym.report.terminal import gate_lines
from pytest_gym.scorefile import scored_run
from pytest_gym.scores import CLASSES, Scored
from pytest_gym.stored import StoredRun
from pytest_gym.verify import Corpora

BINS = 10
_QUANTILES = {"p5": 0.05, "median": 0.5, "p95": 0.95}


def profile_command(word: str, base: Path, corpora: Corpora, gates: StoredGates, regroup: Regroup, *, as_json: bool, width: int) -> Output:
    """`--gym-profile=RUN`, a run folder or a file of NeMo Gym's rollouts relative to `base`, and the verdicts on gates.

    Raises GymError for what cannot be read.
    """
    run = NemoRollouts(base / word, word) if (base / word).is_file() else StoredRun(base / word, word)
    benchmarks, notes = regroup(run, scored_run(run, corpora))
    results = gates.judged(run.manifest, list(benchmarks.values()))
    code = exit_code(results, list(benchmarks.values()))
    found = profile(run, benchmarks) | {"gates": [result.to_json() for result in results]}
    if run.unfinished:
        notes.append(f"{word} is not finished; --gym-resume={word} goes on with it")
    if run.broken:
        notes.append(f"{word}: {run.broken:,} lines cannot be read")
    if as_json:
        return Output(json.dumps(found, ensure_ascii=False) + "\n", "".join(f"gym: {note}\n" for note in notes), code)
    told = [line for gate in found["gates"] for line in gate_lines(gate, width)]
    return Output(plain([*profile_text(found, width=width, notes=notes), *told]), code=code)


def profile(run: StoredRun, benchmarks: Mapping[str, Scored]) -> dict[str, Any]:
    """The content of `--gym-profile=RUN --gym-json` (docs/profile.md)."""
    found = {name: of_benchmark(scored, run.manifest) for name, scored in benchmarks.items()}
    return {
        "schema": 1,
        "run": run.word,
        "model": run.manifest["model"],
        "demo": bool(run.manifest.get("demo")),
        "mean": table.macro_mean({name: entry["summary"] for name, entry in found.items()}),
        "benchmarks": found,
    }


def of_benchmark(scored: Scored, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """One benchmark: its `summary`, `tasks` (the hardest first), `flakiest` (ids), `histogram`, `classes`, `output_tokens`, `latency_s`."""
    sampling = manifest["benchmarks"][scored.name].get("sampling") or {}
    demo = bool(manifest.get("demo"))
    summary = scored.summary(temperature=None if demo else sampling.get("temperature"))
    rows = _tasks(scored)
    values = [row["score"] for row in rows if row["score"] is not None]
    flaky = sorted((row for row in rows if row["spread"]), key=lambda row: -row["spread"])
    return {
        "summary": summary,
        "tasks": rows,
        "flakiest": [row["task_id"] for row in flaky],
        "histogram": _histogram(values, *summary["range"]),
        "classes": {name: int(np.count_nonzero(scored.classes == code)) for code, name in enumerate(CLASSES)},
        "output_tokens": _spread(scored.tokens),
        "latency_s": _spread(scored.latency),
    }


def _tasks(scored: Scored) -> list[dict[str, Any]]:
    """A row for each task, those with the worst score first; tasks without a verdict last."""
    outcomes, lower = scored.outcomes, scored.metric.direction == "lower"
    score = table.task_values(
        outcomes, scored.metric.headline, direction=scored.metric.direction, low=scored.metric.low, high=scored.metric.high
    )
    passes, rewards = metrics.task_means(outcomes.passed), metrics.task_means(outcomes.rewards)
    verdicts = outcomes.verdicts
    square = metrics.task_means(outcomes.rewards**2)
    spread = np.sqrt(np.maximum(square - rewards**2, 0.0) * np.where(verdicts > 1, verdicts / np.maximum(verdicts - 1, 1), np.nan))
    tokens, latency = _medians(scored.tokens), _medians(scored.latency)
    order = np.argsort(np.where(np.isnan(score), np.inf, -score if lower else score), kind="stable")
    columns = {
        "score": score, "pass_rate": passes, "mean_reward": rewards, "spread": spread, "output_tokens": tokens, "latency_s": latency,
    }  # fmt: skip
    plain_ = {name: [None if value != value else round(value, 6) for value in column[order].tolist()] for name, column in columns.items()}
    subsets = outcomes.reported or [None] * scored.tasks
    counts = verdicts[order].tolist()
    return [
        {"task_id": scored.task_ids[position], "subset": subsets[position], "verdicts": counts[i], **{n: c[i] for n, c in plain_.items()}}
        for i, position in enumerate(order.tolist())
    ]


def _medians(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """The median of each task's values, NaN where it has none (as numpy's, without its warning)."""
    ordered = np.sort(values.astype(np.float64), axis=1)
    n = np.count_nonzero(~np.isnan(ordered), axis=1)
    rows = np.arange(len(ordered))
    low, high = ordered[rows, np.maximum((n - 1) // 2, 0)], ordered[rows, np.minimum(n // 2, ordered.shape[1] - 1)]
    return np.where(n > 0, (low + high) / 2, np.nan)


def _histogram(values: list[float], low: float | None, high: float | None) -> dict[str, Any] | None:
    """How many tasks have a score in each of ten equal parts of the range (of what there is, where the range is open)."""
    if not values:
        return None
    start, end = min(values) if low is None else low, max(values) if high is None else high
    if not math.isfinite(end - start) or end <= start:
        end = start + 1.0
    counts, edges = np.histogram(np.clip(values, start, end), bins=BINS, range=(start, end))
    return {"edges": [round(float(edge), 6) for edge in edges], "tasks": counts.tolist()}


def _spread(values: NDArray[np.float32]) -> dict[str, float] | None:
    known = values[~np.isnan(values)].astype(np.float64)
    if not len(known):
        return None
    quantiles = np.quantile(known, list(_QUANTILES.values()))
    found = {name: round(float(value), 4) for name, value in zip(_QUANTILES, quantiles, strict=True)}
    total, mean, most = (round(float(value), 4) for value in (known.sum(), known.mean(), known.max()))
    return {"answers": len(known), "total": total, "mean": mean, **found, "max": most}
