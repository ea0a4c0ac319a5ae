"""Why a score changed between two runs: the change split into named causes that add up to it.

Each case is in one class (`scores.CLASSES`). On the tasks that both runs have judged, the change is minus the change of what each class of
failures costs; what is left comes from tasks that one side alone has judged, from rows that changed, and from the verifier, which is taken
out where both sides have been judged again by one. Pure functions on arrays; which tasks are pairs is decided in `compare`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_gym import metrics
from pytest_gym.scores import CLASSES, Scored

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]
Mask = NDArray[np.bool_]

CAUSES = ("verifier", "dataset", "missing", *CLASSES[1:-1])
"""The causes in the order in which they are taken out; `wrong` is an answer that was extracted, and is another one."""

NOISE = 1.96
_EXAMPLES = 2
_DUST = 1e-12


@dataclass(frozen=True, eq=False)
class _Mean:
    """A mean over some units (tasks), or a sum of such means; `parts` is how far each unit moves it (float[U], adding up to 0)."""

    value: float
    parts: Floats

    def __sub__(self, other: _Mean) -> _Mean:
        return _Mean(self.value - other.value, self.parts - other.parts)


def explained_metric(key: str, a: Scored, b: Scored) -> str:
    """The metric whose change has causes: `key` where it is a mean of single attempts, else that of single attempts."""
    if key in ("pass@1", "mean_reward") or (key in a.outcomes.scores and key in b.outcomes.scores):
        return key
    return "mean_reward" if key.startswith("best@") else "pass@1"


class Ledger:
    """What each task of two runs of one benchmark gained and lost, by class: made once, then asked for all tasks or for some.

    pairs_a, pairs_b: positions of the tasks that are the same on both sides. changed: pairs of positions with the same id and another row.
    key: a metric that `explained_metric` gave. today: both runs as one verifier judges them, with the same tasks at the same positions.
    """

    def __init__(
        self,
        a: Scored,
        b: Scored,
        pairs_a: Codes,
        pairs_b: Codes,
        changed: Sequence[tuple[int, int]],
        key: str,
        today: tuple[Scored, Scored] | None = None,
    ) -> None:
        sides = today or (a, b)
        self.ids = [*b.task_ids, *a.task_ids]
        self.stored = [metrics.task_means(_attempts(side, key)) for side in (a, b)]
        self.judged = [metrics.task_means(_attempts(side, key)) for side in sides]
        self.again = today is not None
        best = _best(sides, key)
        self.lost = [_lost(side, key, best) for side in sides]
        self.spread = [_spread(_attempts(side, key)) for side in sides]
        self.pairs = (pairs_a, pairs_b)
        both = np.array(changed, dtype=np.int64).reshape(-1, 2)
        self.changed = (both[:, 0], both[:, 1])
        # A task is one unit on whichever side it is: B's tasks first, then those of A that are no task of B's.
        self.units = [b.tasks + np.arange(a.tasks), np.arange(b.tasks)]
        for one, other in (self.pairs, self.changed):
            self.units[0][one] = other
        self.clusters = metrics.cluster_codes([*(b.outcomes.clusters or [None] * b.tasks), *(a.outcomes.clusters or [None] * a.tasks)])

    def causes(self, of_a: Codes | None = None, of_b: Codes | None = None) -> tuple[list[dict[str, Any]], float | None]:
        """The causes of the change of the score, and the SE that repeats alone give it; of all tasks, or of these positions.

        Each cause has `cause`, `change`, `se` (None with one task or cluster), `within_noise` and `examples` (task ids). They add up to the
        change of the two scores as each run shows them; empty where one has none, or nothing changed.
        """
        marked = [_marked(len(units), of) for units, of in zip(self.units, (of_a, of_b), strict=True)]
        before, now = self._change(self.stored, marked), self._change(self.judged, marked)
        if before is None or now is None:
            return [], None
        known = [mask & ~np.isnan(values) for mask, values in zip(marked, self.judged, strict=True)]
        units = [at[mask] for at, mask in zip(self.units, known, strict=True)]
        every_unit = np.union1d(units[0], units[1])
        found = []
        if self.again:
            found.append(self._cause("verifier", before - now, every_unit, self._rejudged(marked)))
        same, changed = (self._both(places, known) for places in (self.pairs, self.changed))
        on_same = self._difference([same])
        on_every = self._difference([same, changed]) if len(changed[1]) else on_same
        if len(changed[1]):
            found.append(self._cause("dataset", on_every - on_same, every_unit, changed[1]))
        alone = np.setxor1d(units[0], units[1])
        if len(alone):
            found.append(self._cause("missing", now - on_every, every_unit, np.sort(alone)))
        for index, name in enumerate(CLASSES[1:-1]):
            one, other = self.lost[0][index][same[0]], self.lost[1][index][same[1]]
            shift = _clean(one - other, one, other)
            if shift.any():
                order = np.argsort(-np.sign(np.mean(shift) or 1.0) * shift, kind="stable")
                mean = self._mean(shift, same[1])
                found.append(self._cause(name, mean, same[1], same[1][order[shift[order] != 0]]))
        return found, self._noise(same)

    def _change(self, values: Sequence[Floats], marked: Sequence[Mask]) -> _Mean | None:
        """The score of B minus that of A; None where one has none."""
        means = []
        for units, side, mask in zip(self.units, values, marked, strict=True):
            known = mask & ~np.isnan(side)
            if not known.any():
                return None
            means.append(self._mean(side[known], units[known]))
        return means[1] - means[0]

    def _both(self, places: tuple[Codes, Codes], known: Sequence[Mask]) -> tuple[Codes, Codes]:
        chosen = known[0][places[0]] & known[1][places[1]]
        return places[0][chosen], places[1][chosen]

    def _difference(self, pairs: Sequence[tuple[Codes, Codes]]) -> _Mean:
        one, other = (np.concatenate([pair[side] for pair in pairs]) for side in (0, 1))
        return self._mean(self.judged[1][other] - self.judged[0][one], other)

    def _mean(self, values: Floats, units: Codes) -> _Mean:
        """The mean of one value for each of `units`; 0 for none."""
        parts = np.zeros(len(self.ids))
        mean = float(np.mean(values)) if len(values) else 0.0
        parts[units] = (values - mean) / max(len(values), 1)
        return _Mean(mean, parts)

    def _rejudged(self, marked: Sequence[Mask]) -> Codes:
        """The tasks that the verifiers judge differently, those first that it moves most."""
        moved = np.zeros(len(self.ids))
        for units, old, new, mask in zip(self.units, self.stored, self.judged, marked, strict=True):
            # A verdict that there is on one side only has moved, too, by nobody knows how much.
            apart = np.where(np.isnan(old) & np.isnan(new), 0.0, np.nan_to_num(np.abs(new - old), nan=math.inf))
            moved[units[mask]] += apart[mask]
        order = np.argsort(-moved, kind="stable")
        return order[moved[order] > 0]

    def _cause(self, name: str, change: _Mean, units: Codes, examples: Codes) -> dict[str, Any]:
        """units: those that the SE is over. examples: units, the best example first."""
        parts: Floats = change.parts[units]
        if self.clusters is not None:
            sums = np.bincount(np.unique(self.clusters[units], return_inverse=True)[1], weights=parts)
            parts = np.asarray(sums, dtype=np.float64)
        n = len(parts)
        # The sandwich estimator of a mean (and of differences of means), as in `intervals.standard_error`.
        se = math.sqrt(n / (n - 1) * float(parts @ parts)) if n > 1 else None
        within = se is None or abs(change.value) <= NOISE * se
        shown = [self.ids[unit] for unit in examples.tolist() if self.ids[unit]]
        return {"cause": name, "change": change.value, "se": se, "within_noise": within, "examples": shown[:_EXAMPLES]}

    def _noise(self, pairs: tuple[Codes, Codes]) -> float | None:
        """The SE of the difference that asking the same tasks again would give: √(Σ s²/n over both sides)/m. None with one repeat."""
        total = 0.0
        for (variance, verdicts), places in zip(self.spread, pairs, strict=True):
            there = variance[places]
            there = there[~np.isnan(there)]
            if not len(there):
                return None
            total += float(np.mean(there)) * float(np.sum(1 / verdicts[places]))
        return math.sqrt(total) / len(pairs[0])


def _marked(size: int, positions: Codes | None) -> Mask:
    mask = np.full(size, positions is None)
    if positions is not None:
        mask[positions] = True
    return mask


def _attempts(scored: Scored, key: str) -> Floats:
    """float[m, K]: what each attempt counts, NaN where it has no verdict."""
    outcomes = scored.outcomes
    return outcomes.passed if key == "pass@1" else outcomes.rewards if key == "mean_reward" else outcomes.scores[key]


def _best(sides: Sequence[Scored], key: str) -> float:
    """What an attempt that lost nothing counts: the better end of the range, or the best there is where the range is open."""
    metric = sides[1].metric
    if key == "pass@1":
        return 1.0
    higher = metric.direction == "higher"
    if math.isfinite(end := metric.high if higher else metric.low):
        return end
    values = np.concatenate([_attempts(side, key).ravel() for side in sides])
    values = values[~np.isnan(values)]
    return 0.0 if not len(values) else float(np.max(values) if higher else np.min(values))


def _lost(scored: Scored, key: str, best: float) -> list[Floats]:
    """For each class of failures float[m]: what it costs a task, as a mean over its judged attempts; NaN where it has none.

    A reward that is not full although the attempt passed counts to the last class, `wrong`: it is the answer that is not good enough.
    """
    classes, attempts = scored.classes, _attempts(scored, key)
    judged = ~np.isnan(attempts)
    counts = judged.sum(axis=1)
    lost = np.where(judged, best - attempts, 0.0)
    found = []
    for name in CLASSES[1:-1]:
        of_class = classes == CLASSES.index(name)
        if name == "wrong":
            of_class = of_class | (classes == CLASSES.index("right"))
        found.append(np.where(counts > 0, np.where(of_class, lost, 0.0).sum(axis=1) / np.maximum(counts, 1), np.nan))
    return found


def _spread(attempts: Floats) -> tuple[Floats, Codes]:
    """The unbiased variance between the attempts at each task, NaN below two of them; and how many there are."""
    judged = ~np.isnan(attempts)
    counts = judged.sum(axis=1)
    apart = np.where(judged, attempts - metrics.task_means(attempts)[:, None], 0.0)
    return np.where(counts > 1, (apart**2).sum(axis=1) / np.maximum(counts - 1, 1), np.nan), counts


def _clean(shift: Floats, one: Floats, other: Floats) -> Floats:
    """The shift without what rounding alone made of equal values."""
    return np.where(np.abs(shift) <= _DUST * np.maximum(np.abs(one), np.abs(other)), 0.0, shift)
