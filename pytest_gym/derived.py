"""Metrics that are no mean of single tasks: corpus metrics of summed statistics (WER, BLEU, F1), and means over subsets (macro, weighted).

Each gives one value per task whose mean over the tasks is the metric, so that differences between two runs are paired by task like those
of any other metric. Pure functions on arrays. What a config may say of them is in docs/benchmarks.md, the statistics of a corpus metric
come from its verifier (`@x.aggregate`, in `verify`).
"""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_gym import intervals

Floats = NDArray[np.float64]
Totals = Callable[[Mapping[str, Floats]], Any]

_CELLS = 4_000_000


@dataclass(frozen=True)
class Corpus:
    """A metric of summed statistics: `function` takes {name: sums} (arrays of any shape) and gives the metric, NaN where it is undefined.

    statistics: the named scores that are summed over tasks. low, high: the metric's range, infinite where it has none.
    """

    name: str
    statistics: tuple[str, ...]
    function: Totals
    direction: str = "higher"
    low: float = 0.0
    high: float = 1.0

    def of(self, scores: Mapping[str, Floats]) -> Statistics | None:
        """The statistics of some tasks by name, float[m, K] each; None where a verdict never had one of them."""
        if any(name not in scores for name in self.statistics):
            return None
        return Statistics(self, np.stack([scores[name] for name in self.statistics], axis=-1))

    def at(self, totals: Floats) -> Floats:
        """The metric of sums float[…, s] as float[…]; NaN where it is undefined."""
        with np.errstate(all="ignore"):
            values = self.function({name: totals[..., i] for i, name in enumerate(self.statistics)})
        made = np.broadcast_to(np.asarray(values, dtype=np.float64), totals.shape[:-1])
        # Edits in no words: what is infinite is undefined, too, and would make everything else so.
        return np.where(np.isfinite(made), made, np.nan)


class Statistics:
    """The statistics of m tasks × K repeats, float[m, K, s]; a verdict that lacks one of them takes no part."""

    def __init__(self, corpus: Corpus, values: Floats) -> None:
        self.corpus = corpus
        self.known = ~np.any(np.isnan(values), axis=-1)
        self.values = np.where(self.known[..., None], values, 0.0)

    def value(self) -> float:
        """The metric: of each repeat by itself, then averaged over the repeats that have one. NaN where none has."""
        return _mean(self.corpus.at(np.sum(self.values, axis=0))[np.any(self.known, axis=0)])

    def per_task(self) -> Floats:
        """float[m]: the metric plus each task's influence on it, so that the mean is the metric; NaN for tasks that take no part.

        The influence is that of the jackknife, (m − 1)(f − f₋ᵢ), centred (Efron & Tibshirani 1993, chapter 11).
        """
        return _row_means(self.influences())

    def influences(self) -> Floats:
        """float[m, K]: the same for each attempt."""
        totals = np.sum(self.values, axis=0)
        whole = self.corpus.at(totals)
        without = self.corpus.at(totals - self.values)
        count = np.count_nonzero(self.known, axis=0)
        moved = np.where(self.known, (count - 1) * (whole - without), 0.0)
        # Without its only task a corpus has no metric; what it then is cannot be told from one task.
        moved = np.where(np.isnan(moved), 0.0, moved)
        centred = moved - np.sum(moved, axis=0) / np.maximum(count, 1)
        return np.where(self.known, whole + centred, np.nan)

    def resampled(self, resamples: int, seed: int) -> Floats:
        """float[resamples]: the metric of as many bootstrap samples of the tasks (with all their repeats), seeded."""
        m, repeats, size = self.values.shape
        flat = self.values.reshape(m, repeats * size)
        present = np.any(self.known, axis=0)
        random = np.random.default_rng(seed)
        found = np.empty(resamples)
        rows = max(1, _CELLS // m)
        for start in range(0, resamples, rows):
            n = min(rows, resamples - start)
            drawn = random.integers(0, m, (n, m)) + np.arange(n)[:, None] * m
            weights = np.bincount(drawn.ravel(), minlength=n * m).reshape(n, m).astype(np.float64)
            values = self.corpus.at((weights @ flat).reshape(n, repeats, size))[:, present]
            found[start : start + n] = _row_means(values)
        return found

    def interval(self, clusters: NDArray[np.int64] | None, level: float = 0.95) -> intervals.Interval:
        """The interval of the metric: BCa over resampled tasks; t over the influences with few tasks, clusters, or no spread."""
        values = self.per_task()
        scored = ~np.isnan(values)
        low, high = self.corpus.low, self.corpus.high
        plain = intervals.interval(
            values[scored],
            verdicts=int(np.count_nonzero(self.known)),
            low=low,
            high=high,
            binary=False,
            clusters=None if clusters is None else clusters[scored],
            level=level,
        )
        if plain.method not in ("t", "bca") or int(np.count_nonzero(scored)) < intervals.MIN_BOOTSTRAP_TASKS:
            return plain
        draws = self.resampled(intervals.BOOTSTRAP_RESAMPLES, intervals.BOOTSTRAP_SEED)
        if np.any(np.isnan(draws)):
            return plain
        value = self.value()
        lower, upper = intervals.bca_ends(draws, value, values[scored], level)
        return intervals.Interval(max(lower, low), min(upper, high), "bca", plain.se, plain.few)


@dataclass(frozen=True)
class SubsetMean:
    """A mean over subsets, whose names may have parts as in `en/high`: at each level of the names the parts below are averaged.

    of: the metric that is taken of each subset. only: globs of the subsets that count (all where empty); without a subset for each of
    them there is no mean. weights: by the last part of a name; `by_tasks` weighs each subset by its number of tasks. Without either all
    parts weigh the same.
    """

    name: str
    of: str = "pass@1"
    only: tuple[str, ...] = ()
    weights: Mapping[str, float] | None = None
    by_tasks: bool = False

    def shares(self, names: Sequence[str | None]) -> dict[str, float]:
        """The weight of each subset, adding up to 1; names: float[m], the subset of each task. Empty where no subset counts."""
        counts: dict[str, int] = {}
        for name in names:
            if name is not None and (not self.only or any(fnmatch.fnmatchcase(name, glob) for glob in self.only)):
                counts[name] = counts.get(name, 0) + 1
        if self.by_tasks:
            return {name: count / sum(counts.values()) for name, count in counts.items()}
        found: dict[str, float] = {}
        self._spread(sorted(counts), 0, 1.0, found)
        return found

    def absent(self, names: Sequence[str | None]) -> list[str]:
        """Globs of `only` that no subset matches."""
        known = {name for name in names if name is not None}
        return [glob for glob in self.only if not any(fnmatch.fnmatchcase(name, glob) for name in known)]

    def unknown_weights(self, names: Sequence[str | None]) -> list[str]:
        """Last parts of subsets that `weights` does not know."""
        if self.weights is None:
            return []
        return sorted({name.rpartition("/")[2] for name in self.shares(names)} - set(self.weights))

    def _spread(self, names: Sequence[str], depth: int, share: float, found: dict[str, float]) -> None:
        below: dict[str, list[str]] = {}
        for name in names:
            below.setdefault(name.split("/")[depth], []).append(name)
        leaves = {part: [name for name in within if name.count("/") == depth] for part, within in below.items()}
        weigh = {part: self._weight(part) if leaves[part] else 1.0 for part in below}
        total = sum(weigh.values())
        for part, within in below.items():
            mine = share * weigh[part] / total if total else 0.0
            deeper = [name for name in within if name.count("/") > depth]
            for name in leaves[part]:
                found[name] = mine / (2 if deeper else 1)
            if deeper:
                self._spread(deeper, depth + 1, mine / (2 if leaves[part] else 1), found)

    def _weight(self, part: str) -> float:
        return 1.0 if self.weights is None else float(self.weights.get(part, 0.0))

    def to_json(self) -> dict[str, Any]:
        """The mean as a config says it."""
        weights: Any = "tasks" if self.by_tasks else None if self.weights is None else dict(self.weights)
        return {"of": self.of, "only": list(self.only), "weights": weights}

    @classmethod
    def from_json(cls, name: str, data: Mapping[str, Any]) -> SubsetMean:
        """The mean that `to_json` wrote."""
        weights = data.get("weights")
        by_tasks = weights == "tasks"
        return cls(name, str(data.get("of") or "pass@1"), tuple(data.get("only") or ()), None if by_tasks else weights, by_tasks)


Derived = Corpus | SubsetMean


def strata_interval(
    parts: Sequence[tuple[float, float, float | None, int]], *, low: float, high: float, level: float = 0.95
) -> intervals.Interval:
    """The interval of Σ w v over fixed strata (weight, value, SE, tasks): t with SE² = Σ w² SE² and Welch and Satterthwaite's degrees.

    Where a stratum has one task its SE is unknown, and with it that of the whole.
    """
    value = sum(weight * mean for weight, mean, _, _ in parts)
    tasks = sum(n for *_, n in parts)
    errors = [(weight * se, n) for weight, _, se, n in parts if se is not None and weight]
    if len(errors) < sum(1 for weight, *_ in parts if weight):
        return intervals.Interval(None, None, None, None, reason="a subset has only one task")
    squares = sum(error**2 for error, _ in errors)
    few = tasks < intervals.FEW or (math.isfinite(high - low) and min(value - low, high - value) / (high - low) * tasks < intervals.FEW)
    if squares <= 0:
        if not math.isfinite(high - low):
            return intervals.Interval(None, None, None, 0.0, reason="all values are equal and the metric has no range")
        reach = -math.log((1 - level) / 2) / tasks * (high - low)
        return intervals.Interval(max(value - reach, low), min(value + reach, high), "all_equal", 0.0, few)
    degrees = squares**2 / sum(error**4 / (n - 1) for error, n in errors if error)
    half = intervals.t_quantile(degrees, level) * math.sqrt(squares)
    return intervals.Interval(max(value - half, low), min(value + half, high), "strata", math.sqrt(squares), few)


def _row_means(values: Floats) -> Floats:
    counts = np.count_nonzero(~np.isnan(values), axis=1)
    return np.where(counts > 0, np.sum(np.where(np.isnan(values), 0.0, values), axis=1) / np.maximum(counts, 1), np.nan)


def _mean(values: Floats) -> float:
    known = values[~np.isnan(values)]
    return float(np.mean(known)) if len(known) else math.nan
