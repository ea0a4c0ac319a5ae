"""`--gym-compare`: two runs side by side, task by task: which tasks are pairs, how far the scores are apart and how surely, what moved.

The statistics are `paired`'s, why the score changed is `diagnosis`', text is `report/comparison`'s; judging again is the caller's.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_gym import metrics, paired
from pytest_gym.diagnosis import causes, with_verifier
from pytest_gym.discovery import Output
from pytest_gym.errors import ConfigError, GymError
from pytest_gym.fingerprint import differences
from pytest_gym.report.comparison import comparison
from pytest_gym.report.layout import plain
from pytest_gym.scorefile import scored_run
from pytest_gym.scores import Scored
from pytest_gym.stored import StoredRun

Rejudge = Callable[[StoredRun, Scored], Scored]
Floats = NDArray[np.float64]
Codes = NDArray[np.int64]

PARTS = ("model", "prompt", "verifier", "dataset", "harness", "sampling", "judge")
"""What two runs can differ in; each leaf of a manifest's protocol belongs to one."""

_PART_OF = {
    "metric": "verifier",
    "outcomes": "verifier",
    "num_repeats": "sampling",
    "version": "dataset",
    "overridden": "harness",
    "api": "harness",
}


@dataclass(frozen=True, eq=False)
class Pairs:
    """Which tasks two runs of one benchmark share: positions in `a` and in `b`, of the same id and the same row.

    `changed` are pairs of positions with the same id and another row; `only_a`, `only_b` are positions that the other has not planned.
    """

    a: Codes
    b: Codes
    changed: Sequence[tuple[int, int]]
    only_a: Codes
    only_b: Codes


def compare_command(words: str, base: Path, rejudge: Rejudge, *, unpaired: bool, as_json: bool, width: int) -> Output:
    """`--gym-compare=A,B`, two run folders relative to `base`.

    `rejudge` judges one benchmark of a run again with today's verifier; it is called where the runs' verifiers differ, and a GymError of it
    becomes a note. Raises GymError for whatever forbids a comparison.
    """
    folders = [word.strip() for word in words.split(",")]
    if len(folders) != 2 or not all(folders):
        raise ConfigError(f"--gym-compare={words}: name two run folders, separated by a comma: --gym-compare=OLD,NEW")
    runs = [StoredRun(base / folder, folder) for folder in folders]
    sides = [scored_run(run) for run in runs]
    found = compare_runs(sides[0], sides[1], runs[0].manifest, runs[1].manifest, words=(folders[0], folders[1]), unpaired=unpaired)
    notes = []
    for name, entry in found["benchmarks"].items():
        verifiers = {d["what"] for d in found["differs"] if d["benchmark"] == name and d["what"].startswith("verifier")}
        if not verifiers or not entry["causes"]:
            continue
        try:
            today = [rejudge(run, side[name]) for run, side in zip(runs, sides, strict=True)]
        except GymError as error:
            notes.append(f"{name}: the verifiers differ, and what that did to the scores cannot be told: {error}")
            continue
        after = compare_benchmark(today[0], today[1], unpaired=unpaired)
        if after["difference"] is not None:
            entry["causes"] = with_verifier(entry, after)
    for run in runs:
        if run.unfinished:
            notes.append(f"{run.word} is not finished; --gym-resume={run.word} goes on with it")
        if run.manifest.get("demo"):
            notes.append(f"{run.word} is a demo: a simulated model answered")
    if as_json:
        return Output(json.dumps(found, indent=1, ensure_ascii=False) + "\n", "".join(f"gym: {note}\n" for note in notes))
    return Output(plain(comparison(found, width=width, notes=notes)))


def match(a: Scored, b: Scored) -> Pairs:
    """The tasks of two runs, matched by id and by the content of the row where both know it."""
    there = {task: position for position, task in enumerate(b.task_ids) if task}
    same: list[tuple[int, int]] = []
    changed: list[tuple[int, int]] = []
    only_a: list[int] = []
    for position, task in enumerate(a.task_ids):
        other = there.pop(task, None) if task else None
        if other is None:
            only_a.append(position)
        elif a.rows[position] and b.rows[other] and a.rows[position] != b.rows[other]:
            changed.append((position, other))
        else:
            same.append((position, other))
    unknown = [position for position, task in enumerate(b.task_ids) if not task]
    both = np.array(same, dtype=np.int64).reshape(-1, 2)
    only_b = np.array(sorted([*there.values(), *unknown]), dtype=np.int64)
    return Pairs(both[:, 0], both[:, 1], changed, np.array(only_a, dtype=np.int64), only_b)


def compare_runs(
    a: Mapping[str, Scored],
    b: Mapping[str, Scored],
    manifest_a: Mapping[str, Any],
    manifest_b: Mapping[str, Any],
    *,
    words: tuple[str, str],
    unpaired: bool = False,
) -> dict[str, Any]:
    """The content of `--gym-compare=A,B --gym-json`: `differs`, `benchmarks`, and benchmarks that only one has.

    Raises ConfigError where the runs have no benchmark, or a benchmark no task, in common (unless `unpaired`).
    """
    shared = [name for name in a if name in b]
    if not shared:
        raise ConfigError(f"{words[0]} and {words[1]} have no benchmark in common: {_names(a)} there, {_names(b)} here")
    entries: dict[str, Any] = {}
    for name in shared:
        found = compare_benchmark(a[name], b[name], unpaired=unpaired)
        if not found["shared"] and not unpaired:
            tasks = f"tasks in {words[0]}: {a[name].tasks:,}, in {words[1]}: {b[name].tasks:,}"
            raise ConfigError(
                f"{name}: the runs have no task in common ({tasks}; {found['changed_rows']:,} with the same id have another row);"
                " --gym-set=compare.unpaired=true compares them as different sets"
            )
        entries[name] = found
    tested = [name for name in shared if entries[name]["p_value"] is not None]
    corrected = paired.holm([entries[name]["p_value"] for name in tested])
    for name, value in zip(tested, corrected, strict=True):
        entries[name]["p_holm"] = value
    return {
        "schema": 1,
        "a": words[0],
        "b": words[1],
        "differs": differs(manifest_a, manifest_b),
        "benchmarks": entries,
        "only_a": [name for name in a if name not in b],
        "only_b": [name for name in b if name not in a],
    }


def differs(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[dict[str, Any]]:
    """In what two manifests differ that can move a score: {`part`, `what`, `benchmark`, `a`, `b`}, the model first."""
    found = []
    one, other = a["model"].get("reported"), b["model"].get("reported")
    if one != other:
        found.append({"part": "model", "what": "model.reported", "benchmark": None, "a": one, "b": other})
    for difference in differences(a, b):
        root = difference.part.partition(".")[0]
        if root == "benchmark":
            continue
        part = _PART_OF.get(root, root)
        if root == "overridden":
            part = "verifier" if "verifier" in {*(difference.a or ()), *(difference.b or ())} else "harness"
        entry = {"part": part, "what": difference.part, "benchmark": difference.benchmark, "a": difference.a, "b": difference.b}
        found.append(entry)
    return sorted(found, key=lambda entry: PARTS.index(entry["part"]) if entry["part"] in PARTS else len(PARTS))


def compare_benchmark(a: Scored, b: Scored, *, unpaired: bool = False, level: float = 0.95, key: str | None = None) -> dict[str, Any]:
    """The difference B − A of one benchmark: keys as in docs/compare.md. Tasks are those of `match`; a value may be None, with a `reason`.

    key: another metric than the headline of `b`.
    """
    pairs = match(a, b)
    key = key or b.metric.headline
    left, right = a.take(pairs.a), b.take(pairs.b)
    result = _difference(left, right, key, level)
    result["test"] = result["test"] if len(pairs.a) or not unpaired else "welch"
    if unpaired:
        result.update(_unpaired(a, b, key, level))
    planned = len(pairs.a) + len(pairs.changed) + len(pairs.only_a) + len(pairs.only_b)
    result |= {
        "metric": key,
        "direction": b.metric.direction,
        "range": [end if math.isfinite(end) else None for end in (b.metric.low, b.metric.high)],
        "only_a": len(pairs.only_a),
        "only_b": len(pairs.only_b),
        "changed_rows": len(pairs.changed),
        "missing_a": a.missing,
        "missing_b": b.missing,
        "planned": planned,
        "shared": len(pairs.a),
        "bounds": _bounds(left, right, key, len(pairs.only_a) + len(pairs.only_b) + len(pairs.changed)),
        "p_holm": None,
    }
    result |= _moved(left, right, key)
    result["metrics"] = {other: _difference(left, right, other, level, full=False) for other in _keys(left, right) if other != key}
    result["subsets"] = {name: _difference(left.take(rows), right.take(rows), key, level) for name, rows in _subsets(left).items()}
    result["causes"], result["noise_se"] = causes(a, b, pairs.a, pairs.b, pairs.changed, score_change(a, b, key), key)
    return result


def score_change(a: Scored, b: Scored, key: str) -> float | None:
    """The difference of the two scores as each run's own scorecard shows them, None where one has none."""
    one, other = (values[~np.isnan(values)] for values in (values_of(a, key), values_of(b, key)))
    return float(np.mean(other) - np.mean(one)) if len(one) and len(other) else None


def values_of(scored: Scored, key: str) -> Floats:
    """float[m]: the metric of each task, NaN where it has too few verdicts."""
    metric = scored.metric
    return metrics.task_values(scored.outcomes, key, direction=metric.direction, low=metric.low, high=metric.high)


def span_of(scored: Scored, key: str) -> float:
    """The width of a metric's range: 1 for what counts passes, that of the rewards else (infinite where they have none)."""
    counted = key.startswith(("pass@", "pass^", "majority@", "g-pass@"))
    return 1.0 if counted else scored.metric.high - scored.metric.low


def paired_values(a: Scored, b: Scored, key: str) -> tuple[Floats, Codes | None, bool]:
    """For tasks that are pairs already: the differences where both sides have a value, their clusters, whether one verdict made each."""
    one, other = values_of(a, key), values_of(b, key)
    both = ~np.isnan(one) & ~np.isnan(other)
    clusters = metrics.cluster_codes(b.outcomes.clusters)
    single = bool(np.all(a.outcomes.verdicts[both] == 1) and np.all(b.outcomes.verdicts[both] == 1))
    differences_ = (other - one)[both]
    span = span_of(b, key)
    binary = (
        single
        and bool(np.all(np.isin(differences_, (-span, 0.0, span))))
        and bool(np.all(np.isin(one[both], (b.metric.low, b.metric.high))))
    )
    return differences_, None if clusters is None else clusters[both], binary


def _difference(a: Scored, b: Scored, key: str, level: float, *, full: bool = True) -> dict[str, Any]:
    values, clusters, binary = paired_values(a, b, key)
    one, other = values_of(a, key), values_of(b, key)
    both = ~np.isnan(one) & ~np.isnan(other)
    found = paired.paired_difference(values, binary=binary, span=span_of(b, key), clusters=clusters, level=level)
    result: dict[str, Any] = {
        "a": float(np.mean(one[both])) if both.any() else None,
        "b": float(np.mean(other[both])) if both.any() else None,
        "difference": found.difference if found else None,
        "ci95": None if found is None or found.low is None else [found.low, found.high],
        "p_value": found.p_value if found else None,
        "pairs": len(values),
    }
    if full:
        result |= {
            "test": found.test if found else None,
            "method": found.method if found else None,
            "se": found.se if found else None,
            "detectable_difference": found.detectable if found else None,
            "reason": found.reason if found else "no task has a verdict on both sides",
        }
    return result


def _unpaired(a: Scored, b: Scored, key: str, level: float) -> dict[str, Any]:
    one, other = (values[~np.isnan(values)] for values in (values_of(a, key), values_of(b, key)))
    mean, low, high, p_value, se = paired.unpaired_difference(one, other, level=level)
    known = len(one) > 0 and len(other) > 0
    return {
        "a": float(np.mean(one)) if len(one) else None,
        "b": float(np.mean(other)) if len(other) else None,
        "difference": mean if known else None,
        "ci95": None if low is None else [low, high],
        "p_value": p_value,
        "pairs": 0,
        "test": "welch",
        "method": "t, unpaired" if low is not None else None,
        "se": se,
        "detectable_difference": None if not se else paired.POWER_FACTOR * se,
        "reason": None if low is not None else "the tasks are too few, or all alike, for an unpaired comparison",
    }


def _bounds(a: Scored, b: Scored, key: str, unpaired: int) -> list[float] | None:
    """The difference with everything that is missing counted against B, and for it; tasks that one side never planned count as missing."""
    metric, planned = b.metric, a.tasks + unpaired
    span = span_of(b, key)
    if not planned or not math.isfinite(span):
        return None
    if unpaired == 0 and not a.missing and not b.missing:
        return None
    ends = []
    for right in (False, True):
        sides = [
            replace(side, outcomes=side.outcomes.filled(right=this, low=metric.low, high=metric.high, unanswered=not this))
            for side, this in ((a, not right), (b, right))
        ]
        values = values_of(sides[1], key) - values_of(sides[0], key)
        worst = span if (metric.direction == "higher") == right else -span
        ends.append((float(np.nansum(values)) + worst * unpaired) / planned)
    return sorted(ends)


def _moved(a: Scored, b: Scored, key: str) -> dict[str, list[str]]:
    """Tasks that got better and worse, those first that surely did: by the difference over its standard error, smoothed for few repeats."""
    one, other = values_of(a, key), values_of(b, key)
    d = other - one
    n_a, n_b = np.maximum(a.outcomes.verdicts, 1), np.maximum(b.outcomes.verdicts, 1)
    low, span = b.metric.low, span_of(b, key)
    scale = span if math.isfinite(span) else 1.0
    start = low if math.isfinite(low) else 0.0

    def spread(values: Floats, n: Codes) -> Floats:
        # Agresti and Caffo's two further verdicts, one of each kind: a task with one verdict is not sure of itself.
        share = np.clip((np.nan_to_num(values) - start) / scale, 0, 1)
        smooth = (share * n + 1) / (n + 2)
        return np.asarray(smooth * (1 - smooth) / (n + 2))

    sure = np.abs(np.nan_to_num(d)) / scale / np.sqrt(spread(one, n_a) + spread(other, n_b))
    order = np.argsort(-sure, kind="stable")
    better = 1.0 if b.metric.direction == "higher" else -1.0
    ids = list(b.task_ids)
    return {
        "improved": [ids[i] for i in order.tolist() if d[i] * better > 0],
        "regressed": [ids[i] for i in order.tolist() if d[i] * better < 0],
    }


def _keys(a: Scored, b: Scored) -> list[str]:
    repeats = min(a.repeats, b.repeats)
    keys = ["pass@1", *(f"{family}{k}" for k in metrics.attempt_counts(repeats) for family in ("pass@", "pass^")), "mean_reward"]
    return list(dict.fromkeys([*keys, *(name for name in a.outcomes.scores if name in b.outcomes.scores)]))


def _subsets(scored: Scored) -> dict[str, Codes]:
    rows: dict[str, list[int]] = {}
    for position, name in enumerate(scored.outcomes.subsets):
        if name is not None:
            rows.setdefault(name, []).append(position)
    return {name: np.array(rows[name], dtype=np.int64) for name in sorted(rows)}


def _names(runs: Mapping[str, Scored]) -> str:
    return ", ".join(runs) or "none"
