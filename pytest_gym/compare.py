"""`--gym-compare`: two runs side by side, task by task: which tasks are pairs, how far the scores are apart and how surely, what moved.

The statistics are `paired`'s, why the score changed is `diagnosis`', text is `report/comparison`'s; judging again is the caller's.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_gym import metrics, paired, table
from pytest_gym.derived import Corpus
from pytest_gym.diagnosis import Ledger, explained_metric
from pytest_gym.discovery import Output
from pytest_gym.errors import ConfigError, GymError
from pytest_gym.fingerprint import differences
from pytest_gym.grouping import Regroup
from pytest_gym.report.comparison import comparison
from pytest_gym.report.layout import plain
from pytest_gym.scorefile import scored_run
from pytest_gym.scores import Scored
from pytest_gym.stored import StoredRun
from pytest_gym.verify import Corpora

Rejudge = Callable[[StoredRun, Scored], Scored]
Floats = NDArray[np.float64]
Codes = NDArray[np.int64]
Today = Callable[[str], tuple[Scored, Scored] | None]

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

_DUST = 1e-12
"""Values that are apart by less than this share of themselves are apart by rounding only."""


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

    @property
    def planned(self) -> int:
        """Tasks that either run planned."""
        return len(self.a) + len(self.changed) + len(self.only_a) + len(self.only_b)


def compare_command(
    words: str, base: Path, rejudge: Rejudge, corpora: Corpora, regroup: Regroup, *, unpaired: bool, as_json: bool, width: int
) -> Output:
    """`--gym-compare=A,B`, two run folders relative to `base`.

    `rejudge` judges one benchmark of a run again with today's verifier; it is called where the runs' verifiers differ, and a GymError of it
    becomes a note. `regroup` puts the tasks of a run in groups. Raises GymError for whatever forbids a comparison.
    """
    folders = [word.strip() for word in words.split(",")]
    if len(folders) != 2 or not all(folders):
        raise ConfigError(f"--gym-compare={words}: name two run folders, separated by a comma: --gym-compare=OLD,NEW")
    runs = [StoredRun(base / folder, folder) for folder in folders]
    grouped = [regroup(run, scored_run(run, corpora)) for run in runs]
    sides = [side for side, _ in grouped]
    notes = [note for _, more in grouped for note in more]

    def today(name: str) -> tuple[Scored, Scored] | None:
        try:
            return rejudge(runs[0], sides[0][name]), rejudge(runs[1], sides[1][name])
        except GymError as error:
            notes.append(f"{name}: the verifiers differ, and what that did to the scores cannot be told: {error}")
            return None

    found = compare_runs(*sides, *(run.manifest for run in runs), words=(folders[0], folders[1]), unpaired=unpaired, today=today)
    for name in found["benchmarks"]:
        unknown = [run.word for run, side in zip(runs, sides, strict=True) if not any(side[name].rows)]
        if unknown and any(d["benchmark"] == name and d["what"] == "dataset.sha256" for d in found["differs"]):
            words = " and ".join(dict.fromkeys(unknown))
            notes.append(f"{name}: the datasets differ and {words} does not know its rows, so tasks are matched by their ids alone")
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
    return Pairs(both[:, 0], both[:, 1], changed, np.array(only_a, dtype=np.int64), np.array(sorted([*there.values(), *unknown]), np.int64))


def compare_runs(
    a: Mapping[str, Scored],
    b: Mapping[str, Scored],
    manifest_a: Mapping[str, Any],
    manifest_b: Mapping[str, Any],
    *,
    words: tuple[str, str],
    unpaired: bool = False,
    today: Today | None = None,
) -> dict[str, Any]:
    """The content of `--gym-compare=A,B --gym-json`: `differs`, `benchmarks`, and benchmarks that only one has.

    today: gives both sides of a benchmark as one verifier judges them, or None; asked where the verifiers differ.
    Raises ConfigError where the runs have no benchmark, or a benchmark no task, in common (unless `unpaired`).
    """
    shared = [name for name in a if name in b]
    if not shared:
        raise ConfigError(f"{words[0]} and {words[1]} have no benchmark in common: {_names(a)} there, {_names(b)} here")
    entries: dict[str, Any] = {}
    different = differs(manifest_a, manifest_b)
    for name in shared:
        found = compare_benchmark(a[name], b[name], unpaired=unpaired)
        if not found["shared"] and not unpaired:
            tasks = f"tasks in {words[0]}: {a[name].tasks:,}, in {words[1]}: {b[name].tasks:,}"
            raise ConfigError(
                f"{name}: the runs have no task in common ({tasks}; {found['changed_rows']:,} with the same id have another row);"
                " --gym-set=compare.unpaired=true compares them as different sets"
            )
        entries[name] = found
        verifiers = any(d["benchmark"] == name and d["what"].startswith(("verifier", "metric.pass_threshold")) for d in different)
        if today is not None and verifiers and (again := today(name)) is not None:
            _explain(found, a[name], b[name], again)
    tested = [name for name in shared if entries[name]["p_value"] is not None]
    corrected = paired.holm([entries[name]["p_value"] for name in tested])
    for name, value in zip(tested, corrected, strict=True):
        entries[name]["p_holm"] = value
    return {
        "schema": 1,
        "a": words[0],
        "b": words[1],
        "differs": different,
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

    key: another metric than the headline of `b`. Where the runs' own metrics differ, both are read by that of `b`.
    """
    pairs = match(a, b)
    key = key or b.metric.headline
    usable = _same_scale(a, b, key)
    others = [other for other in _keys(a, b) if other != key and _same_scale(a, b, other)]
    one = replace(a, metric=b.metric)
    both = _Both(one, b, pairs)
    result = both.difference(key, level)
    if not usable:
        result = {**dict.fromkeys(result), "pairs": 0, "reason": f"the rewards have another range in A than in B, and {key} depends on it"}
    elif unpaired:
        result |= _unpaired(one, b, key, level)
    result |= {
        "metric": key,
        "direction": b.metric.direction,
        "range": [end if math.isfinite(end) else None for end in range_of(b, key)],
        "only_a": len(pairs.only_a),
        "only_b": len(pairs.only_b),
        "changed_rows": len(pairs.changed),
        "missing_a": a.missing,
        "missing_b": b.missing,
        "planned": pairs.planned,
        "shared": len(pairs.a),
        "bounds": _bounds(one, b, pairs, key) if usable else None,
        "p_holm": None,
    }
    result |= _moved(both, key) if usable else {"improved": [], "regressed": []}
    result["metrics"] = {other: both.difference(other, level, full=False) for other in others}
    subsets = table.rows_by_name(both.b.outcomes.reported) if usable else {}
    result["subsets"] = {name: both.difference(key, level, rows=rows, full=False) for name, rows in subsets.items()}
    _explain(result, a, b)
    return result


class _Both:
    """The tasks that are pairs, with the values of each metric that is asked for, made once."""

    def __init__(self, a: Scored, b: Scored, pairs: Pairs) -> None:
        self.a, self.b = a.take(pairs.a), b.take(pairs.b)
        self._values: dict[str, tuple[Floats, Floats]] = {}

    @cached_property
    def single(self) -> NDArray[np.bool_]:
        """bool[m]: whether one verdict on each side is all that a task has."""
        return np.asarray((self.a.outcomes.verdicts == 1) & (self.b.outcomes.verdicts == 1))

    @cached_property
    def clusters(self) -> Codes | None:
        """int[m]: equal for tasks that were drawn together."""
        return metrics.cluster_codes(self.b.outcomes.clusters)

    def values(self, key: str) -> tuple[Floats, Floats]:
        """float[m] of A and of B, NaN where a task has too few verdicts; exactly equal where they are equal but for rounding."""
        if key not in self._values:
            one, other = values_of(self.a, key), values_of(self.b, key)
            with np.errstate(invalid="ignore"):
                dust = np.abs(other - one) <= _DUST * np.maximum(np.abs(one), np.abs(other))
            self._values[key] = one, np.where(dust, one, other)
        return self._values[key]

    def paired(self, key: str, rows: Codes | None = None) -> tuple[Floats, Floats, Codes | None, bool]:
        """For tasks (in `rows`) with a value on both sides: A's, B's, their clusters, and whether one yes or no a side made each."""
        one, other = self.values(key)
        both = ~np.isnan(one) & ~np.isnan(other)
        chosen = np.flatnonzero(both) if rows is None else rows[both[rows]]
        one, other = one[chosen], other[chosen]
        ends = range_of(self.b, key)
        binary = bool(np.all(self.single[chosen]) and np.all(np.isin(one, ends)) and np.all(np.isin(other, ends)))
        return one, other, None if self.clusters is None else self.clusters[chosen], binary

    def difference(self, key: str, level: float, *, rows: Codes | None = None, full: bool = True) -> dict[str, Any]:
        """The difference of one metric, of all tasks or of some, as it stands in the JSON; with how it was made, where `full`."""
        one, other, clusters, binary = self.paired(key, rows)
        span = span_of(self.b, key)
        found = paired.paired_difference(other - one, binary=binary, span=span, clusters=clusters, level=level)
        result: dict[str, Any] = {
            "a": float(np.mean(one)) if len(one) else None,
            "b": float(np.mean(other)) if len(one) else None,
            "difference": found.difference if found else None,
            "ci95": None if found is None or found.low is None else [found.low, found.high],
            "p_value": found.p_value if found else None,
            "pairs": len(one),
        }
        if full:
            detectable = found.detectable if found else None
            result |= {
                "test": found.test if found else None,
                "method": found.method if found else None,
                "se": found.se if found else None,
                "detectable_difference": None if detectable is None or detectable > span else detectable,
                "reason": found.reason if found else f"no task has {'a verdict' if key == 'pass@1' else f'a value of {key}'} on both sides",
            }
        return result


def _explain(entry: dict[str, Any], a: Scored, b: Scored, today: tuple[Scored, Scored] | None = None) -> None:
    """Put why the score changed into the entry of a comparison and into those of its subsets. today: both sides judged by one verifier."""
    key = explained_metric(entry["metric"], a, b)
    entry |= {"causes_of": key, "causes": [], "noise_se": None}
    for subset in entry["subsets"].values():
        subset["causes"] = []
    if not _same_scale(a, b, key):
        return
    pairs = match(a, b)
    ledger = Ledger(a, b, pairs.a, pairs.b, pairs.changed, key, today)
    entry["causes"], entry["noise_se"] = ledger.causes()
    of_a, of_b = list(a.outcomes.reported) or [None] * a.tasks, list(b.outcomes.reported) or [None] * b.tasks
    for one, other in zip(pairs.a.tolist(), pairs.b.tolist(), strict=True):
        of_a[one] = of_b[other]  # an unfinished run does not know its own
    rows_a, rows_b = table.rows_by_name(of_a), table.rows_by_name(of_b)
    for name, subset in entry["subsets"].items():
        subset["causes"] = ledger.causes(rows_a[name], rows_b[name])[0]


def values_of(scored: Scored, key: str) -> Floats:
    """float[m]: the metric of each task, NaN where it has too few verdicts."""
    metric, outcomes = scored.metric, scored.outcomes
    if not key.startswith("majority@"):
        # Counting votes is most of the time that a metric takes, and no other metric looks at them.
        outcomes = replace(outcomes, answers=None)
    return table.task_values(outcomes, key, direction=metric.direction, low=metric.low, high=metric.high)


def span_of(scored: Scored, key: str) -> float:
    """The width of a metric's range: 1 for what counts passes, that of the rewards else (infinite where they have none)."""
    low, high = range_of(scored, key)
    return high - low


def range_of(scored: Scored, key: str) -> tuple[float, float]:
    """The range of a metric: [0, 1] for what counts passes, its own for a corpus metric, that of the rewards else."""
    derived = scored.outcomes.derived.get(key)
    if isinstance(derived, Corpus):
        return derived.low, derived.high
    counts = _counts(key if derived is None else derived.of)
    return (0.0, 1.0) if counts else (scored.metric.low, scored.metric.high)


def paired_values(a: Scored, b: Scored, key: str) -> tuple[Floats, Codes | None, bool]:
    """For tasks that are pairs already: the differences where both sides have a value, their clusters, whether one verdict made each."""
    every = np.arange(a.tasks)
    one, other, clusters, binary = _Both(a, b, Pairs(every, every, (), every[:0], every[:0])).paired(key)
    return other - one, clusters, binary


def _same_scale(a: Scored, b: Scored, key: str) -> bool:
    return _counts(key) or key in b.outcomes.derived or (a.metric.low, a.metric.high) == (b.metric.low, b.metric.high)


def _counts(key: str) -> bool:
    """Whether a metric counts passes, so that its range is [0, 1] whatever the rewards' is."""
    return key.startswith(("pass@", "pass^", "majority@", "g-pass@"))


def _unpaired(a: Scored, b: Scored, key: str, level: float) -> dict[str, Any]:
    one, other = (values[~np.isnan(values)] for values in (values_of(a, key), values_of(b, key)))
    mean, low, high, p_value, se = paired.unpaired_difference(one, other, level=level)
    return {
        "a": float(np.mean(one)) if len(one) else None,
        "b": float(np.mean(other)) if len(other) else None,
        "difference": None if math.isnan(mean) else mean,
        "ci95": None if low is None else [low, high],
        "p_value": p_value,
        "pairs": 0,
        "test": "welch",
        "method": "t, unpaired" if low is not None else None,
        "se": se,
        "detectable_difference": None if not se else paired.POWER_FACTOR * se,
        "reason": None if low is not None else "the tasks are too few, or all alike, for an unpaired comparison",
    }


def _bounds(a: Scored, b: Scored, pairs: Pairs, key: str) -> list[float] | None:
    """The least and the greatest difference over all planned tasks that what is missing leaves possible; None where nothing is missing.

    A task that one side alone has planned is missing on the other; where its row has changed, nothing is known of the same row.
    """
    if not math.isfinite(span_of(b, key)) or not (pairs.planned > len(pairs.a) or a.missing or b.missing):
        return None
    if isinstance(b.outcomes.derived.get(key), Corpus):
        return None
    low, high = range_of(b, key)
    ends = []
    for least, most, right in ((high, low, False), (low, high, True)):
        one, other = (
            values_of(replace(side, outcomes=side.outcomes.filled(right=up, low=b.metric.low, high=b.metric.high, unanswered=not up)), key)
            for side, up in ((a, not right), (b, right))
        )
        total = float(np.sum(other[pairs.b]) - np.sum(one[pairs.a])) + len(pairs.changed) * (most - least)
        total += (
            len(pairs.only_a) * most - float(np.sum(one[pairs.only_a])) + float(np.sum(other[pairs.only_b])) - len(pairs.only_b) * least
        )
        ends.append(total / pairs.planned)
    return None if any(map(math.isnan, ends)) else ends


def _moved(both: _Both, key: str) -> dict[str, list[str]]:
    """Tasks that got better and worse, those first that most surely did."""
    a, b, (one, other) = both.a, both.b, both.values(key)
    d = other - one
    low, span = range_of(b, key)[0], span_of(b, key)
    sure = paired.sureness(one, other, a.outcomes.verdicts, b.outcomes.verdicts, low=low, span=span)
    order = np.argsort(-sure, kind="stable")
    better = 1.0 if b.metric.direction == "higher" else -1.0
    moved = [(b.task_ids[i], d[i] * better) for i in order.tolist()]
    return {"improved": [task for task, by in moved if by > 0], "regressed": [task for task, by in moved if by < 0]}


def _keys(a: Scored, b: Scored) -> list[str]:
    repeats = min(a.repeats, b.repeats)
    keys = ["pass@1", *(f"{family}{k}" for k in metrics.attempt_counts(repeats) for family in ("pass@", "pass^")), "mean_reward"]
    return list(dict.fromkeys([*keys, *(name for name in a.outcomes.scores if name in b.outcomes.scores), *b.outcomes.derived]))


def _names(runs: Mapping[str, Scored]) -> str:
    return ", ".join(runs) or "none"
