"""Whether a gate holds: passed, failed, or not decided, with the reason, what it could have seen, and what would decide it.

Pure: from the outcomes of a run (and of a baseline) to sentences. What a gate may say is in `gates`, how it shows in pytest in
`gate_tests`. The rules are those of docs/gates.md: what is missing can only harm, and a doubt is never a pass.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_gym import hints, intervals, metrics, paired, table
from pytest_gym.baseline import Baseline
from pytest_gym.compare import match, paired_values, span_of, values_of
from pytest_gym.derived import Corpus
from pytest_gym.errors import ConfigError
from pytest_gym.gates import RATES, Gate, check_subsets, tolerated
from pytest_gym.scores import Scored

Floats = NDArray[np.float64]

_POWER = NormalDist().inv_cdf(0.8)


@dataclass(frozen=True)
class Circumstances:
    """What else of the run decides: `doubts` make every gate undecided, `tolerance` is the missing data that is tolerated.

    `asked_all` is false where cases were left out on purpose because all gates were decided; these then count both ways.
    """

    tolerance: str = "0"
    doubts: Sequence[str] = ()
    baseline: Baseline | None = None
    asked_all: bool = True


@dataclass(frozen=True)
class GateResult:
    """One gate on one benchmark. `value` and `ci95` are of the number that it is about (of the difference, where it has a baseline)."""

    gate: str
    benchmark: str
    decided: bool
    passed: bool
    value: float | None
    interval: tuple[float, float] | None
    message: str

    @property
    def verdict(self) -> str:
        """`passed`, `failed` or `not decided`."""
        return "passed" if self.passed else "failed" if self.decided else "not decided"

    def to_json(self) -> dict[str, Any]:
        """An entry of `gates` in `summary.json`."""
        interval = None if self.interval is None else list(self.interval)
        return {
            "gate": self.gate,
            "benchmark": self.benchmark,
            "decided": self.decided,
            "passed": self.passed,
            "value": self.value,
            "ci95": interval,
            "message": self.message,
        }


def judge(gate: Gate, scored: Scored, known: Circumstances) -> GateResult:
    """The verdict of a gate on one benchmark. Raises ConfigError where the gate asks for what the run cannot have."""
    if gate.subset is not None:
        scored = scored.take(_rows_of(gate, scored))
    return _Judgement(gate, scored, known).result()


def _rows_of(gate: Gate, scored: Scored) -> NDArray[np.int64]:
    """The tasks of the gate's subset."""
    assert gate.subset is not None
    names = list(scored.outcomes.subsets)
    check_subsets(gate, scored.name, scored.subset_field, names)
    return np.flatnonzero(np.array([name == gate.subset[1] for name in names])).astype(np.int64)


class _Judgement:
    """One gate on one benchmark, while it is judged."""

    def __init__(self, gate: Gate, scored: Scored, known: Circumstances) -> None:
        self.gate, self.scored, self.known = gate, scored, known
        self.cases = scored.tasks * scored.repeats
        self.allowed = tolerated(known.tolerance, self.cases)
        self.notes: list[str] = []

    def result(self) -> GateResult:
        gate, scored = self.gate, self.scored
        if gate.metric in ("errors", "missing"):
            return self._counted(len(scored.errors) if gate.metric == "errors" else scored.missing, self.cases)
        doubts = [*self.known.doubts, *self._missing()]
        if gate.needs_baseline:
            doubts += self._baseline_doubts()
        if gate.metric in RATES or gate.metric == "tokens":
            found = self._rate() if gate.metric in RATES else self._tokens()
        elif gate.needs_baseline:
            found = self._against_baseline()
        elif gate.least_subset:
            found = self._subsets()
        else:
            found = self._score(scored)
        if doubts:
            why = "; ".join(doubts)
            return replace(found, decided=False, passed=False, message=f"{why}. As it stands: {found.message}" if found.message else why)
        return found

    # -- why a gate may not be decided ------------------------------------------------------------------------------------------------

    def _missing(self) -> list[str]:
        scored = self.scored
        asked = scored.missing - (0 if self.known.asked_all else scored.left_out)
        if scored.missing == self.cases:
            return ["nothing was judged"]
        if self.known.asked_all and scored.left_out:
            return [f"{scored.left_out:,} of {self.cases:,} planned cases were left out (-k, -m, --lf, -x or a stop)"]
        if asked > self.allowed:
            kinds = ", ".join(f"{kind} {count:,}" for kind, count in scored.error_counts.items())
            return [f"{asked:,} of {self.cases:,} cases are missing ({kinds}), and --gym-max-errors tolerates {self.allowed:,}"]
        return []

    def _baseline_doubts(self) -> list[str]:
        baseline = self.known.baseline
        assert baseline is not None
        if baseline.unfit:
            return [f"the baseline {baseline.word} {baseline.unfit}"]
        told = [d for d in baseline.differs if d["part"] != "model" and d["benchmark"] in (None, self.scored.name)]
        kept = [d for d in told if d["part"] not in self.gate.waived]
        waived = sorted({d["part"] for d in told} & set(self.gate.waived))
        if waived:
            self.notes.append(f"waived: {', '.join(waived)}")
        if kept:
            parts = ", ".join(dict.fromkeys(d["part"] for d in kept))
            what = ", ".join(f"{d['what']} {d['a']} there, {d['b']} here" for d in kept[:3])
            return [f"more than the model differs from the baseline: {what} (waive {parts}, if that is meant)"]
        return []

    # -- the kinds of gates -------------------------------------------------------------------------------------------------------------

    def _counted(self, count: int, of: int) -> GateResult:
        gate = self.gate
        value = count / of if gate.percent and of else float(count)
        passed = gate.holds(value, gate.value)
        doubts = list(self.known.doubts)
        if self.known.asked_all and self.scored.left_out and gate.metric == "errors":
            doubts.append(f"{self.scored.left_out:,} of {self.cases:,} planned cases were left out (-k, -m, --lf, -x or a stop)")
        message = f"{count:,} of {of:,} cases"
        if not self.known.asked_all and self.scored.left_out:
            # Each of those that were not asked might have been lost, or not.
            known = count - (self.scored.left_out if gate.metric == "missing" else 0)
            ends = {gate.holds(n / of if gate.percent and of else float(n), gate.value) for n in (known, known + self.scored.left_out)}
            if doubts or len(ends) > 1:
                return self._result(False, False, value, None, f"the cases that were not asked decide it. As it stands: {message}")
            return self._result(True, ends.pop(), value, None, message)
        if doubts and passed:
            return self._result(False, False, value, None, f"{'; '.join(doubts)}. As it stands: {message}")
        return self._result(True, passed, value, None, message)

    def _rate(self) -> GateResult:
        gate, scored = self.gate, self.scored
        judged = self.cases - scored.missing
        count = round(scored.rates()[gate.metric] * judged)
        value = count / judged if judged else 0.0
        threshold = gate.value if gate.percent or gate.value < 1 else gate.value / max(self.cases, 1)
        ends = [count / max(self.cases, 1), (count + scored.missing) / max(self.cases, 1)] if scored.missing else [value]
        verdicts = {gate.holds(end, threshold) for end in ends}
        message = f"{count:,} of {judged:,} answers ({100 * value:.2f}%)"
        return self._both_ways(verdicts, value, message)

    def _tokens(self) -> GateResult:
        tokens = self.scored.tokens[~np.isnan(self.scored.tokens)].astype(np.float64)
        if not len(tokens):
            return self._result(False, False, None, None, "the endpoint did not say how many tokens it made")
        value = float(np.mean(tokens))
        unknown = int(np.count_nonzero(~np.isnan(self.scored.outcomes.passed))) - len(tokens)
        note = f", {unknown:,} answers without a count" if unknown > 0 else ""
        return self._result(True, self.gate.holds(value, self.gate.value), value, None, f"{value:,.1f} output tokens an answer{note}")

    def _score(self, scored: Scored, words: str = "") -> GateResult:
        """A score against a number, for all tasks of `scored`."""
        gate = self.gate
        point = self._interval(scored)
        if point is None:
            has = ", ".join([*scored.outcomes.scores, *scored.outcomes.derived]) or "none"
            return self._result(False, False, None, None, f"{words}no task has enough verdicts for {gate.metric} (named scores: {has})")
        value, interval, se, reason = point
        if scored.missing and isinstance(scored.outcomes.derived.get(gate.metric), Corpus):
            why = f"{scored.missing:,} cases are missing, and nothing bounds what they would add to {gate.metric}"
            return self._result(False, False, value, interval, f"{words}{why}. As it stands: {gate.metric} is {value:.4f}")
        shown = f"{words}{gate.metric} is {value:.4f}"
        if gate.level is None:
            if se is not None and se > 0:
                shown += (
                    f"; changes from {100 * metrics.POWER_FACTOR * se / self._span(scored):.1f} points on would be seen four times in five"
                )
            points = {gate.holds(end, gate.value) for end in self._ends(scored)}
            return self._both_ways(points, value, shown, interval)
        if interval is None:
            return self._result(False, False, value, None, f"{shown}, and there is no interval: {reason}")
        verdicts: set[bool | None] = set()
        for filled in self._filled(scored):
            side = self._interval(filled)
            verdicts.add(None if side is None or side[1] is None else self._by_interval(side[1], gate.value))
        shown += f" [{interval[0]:.4f}, {interval[1]:.4f}] at {gate.level:.0%}"
        if se is not None and se > 0:
            seen = (intervals.normal_quantile(gate.level) + _POWER) * se
            shown += f"; a score {100 * seen / self._span(scored):.1f} points beyond the threshold passes four times in five"
        if None in verdicts and len(verdicts) == 1:
            attempts = {"pass@1": scored.outcomes.passed, "mean_reward": scored.outcomes.rewards}.get(gate.metric)
            split = None if attempts is None else metrics.variance_split(attempts)
            shown += f". {hints.would_decide(scored.tasks, scored.repeats, value - gate.value, se, split, gate.level)}"
        return self._both_ways(verdicts, value, shown, interval)

    def _subsets(self) -> GateResult:
        scored, gate = self.scored, self.gate
        names = sorted({name for name in scored.outcomes.subsets if name is not None})
        check_subsets(gate, scored.name, scored.subset_field, names)
        column = np.array([name or "" for name in scored.outcomes.subsets])
        found = {name: self._score(scored.take(np.flatnonzero(column == name).astype(np.int64)), f"{name}: ") for name in names}
        # What fails comes first, then what is in doubt, then the one that is nearest to it.
        sign = 1.0 if gate.upwards else -1.0

        def order(name: str) -> tuple[bool, bool, float]:
            value = found[name].value
            return found[name].passed, not found[name].decided, math.inf if value is None else sign * value

        worst = min(names, key=order)
        failing = [name for name in names if not found[name].passed]
        more = f" (and {len(failing) - 1} more of {len(names)} subsets)" if len(failing) > 1 else f" (the lowest of {len(names)} subsets)"
        return replace(found[worst], message=found[worst].message + (more if failing or gate.upwards else ""))

    def _against_baseline(self) -> GateResult:
        gate, b, baseline = self.gate, self.scored, self.known.baseline
        assert baseline is not None
        a = baseline.benchmarks.get(b.name)
        if a is None:
            raise ConfigError(f"gate {gate.text!r}: the baseline {baseline.word} has no benchmark {b.name}")
        if gate.subset is not None:
            a = a.take(_rows_of(gate, a))
        pairs = match(a, b)
        left, right = a.take(pairs.a), b.take(pairs.b)
        apart = len(pairs.only_a) + len(pairs.only_b) + len(pairs.changed)
        lost = apart * b.repeats + left.missing + right.missing - (0 if self.known.asked_all else right.left_out)
        unsure = bool(lost or right.missing)
        allowed = tolerated(self.known.tolerance, max(self.cases, a.tasks * a.repeats))
        if gate.metric == "flips":
            return self._flips(left, right, apart, lost, allowed)
        values, clusters, binary = paired_values(left, right, gate.metric)
        span = self._span(right)
        found = paired.paired_difference(values, binary=binary, span=span, clusters=clusters, level=gate.level or 0.95)
        if found is None:
            return self._result(False, False, None, None, f"no task of {b.name} has a verdict here and in {baseline.word}")
        interval = None if found.low is None or found.high is None else (found.low, found.high)
        shown = f"{gate.metric} is {100 * found.difference / span:+.2f} points from the baseline over {found.pairs:,} tasks"
        if interval and gate.level is not None:
            shown += f" [{100 * interval[0] / span:+.2f}, {100 * interval[1] / span:+.2f}] at {gate.level:.0%}"
        if found.detectable is not None:
            shown += f"; a change of {100 * found.detectable / span:.1f} points would be seen four times in five"
        if gate.level is not None and gate.value < 0 and gate.upwards and found.se:
            power = paired.power_of_equal(-gate.value, found.se, gate.level)
            if power is not None:
                shown += f"; a model as good as the baseline passes in {power:.0%} of such runs"
        if lost > allowed:
            where = f"{apart:,} tasks are in one run only or have another row, {left.missing + right.missing:,} cases have no verdict"
            return self._result(False, False, found.difference, interval, f"{where}, and --gym-max-errors tolerates {allowed:,}. {shown}")
        verdicts: set[bool | None] = set()
        for worst in self._paired_ends(left, right, apart, span) if unsure else [values]:
            side = paired.paired_difference(
                worst, binary=binary and len(worst) == len(values), span=span,
                clusters=clusters if len(worst) == len(values) else None, level=gate.level or 0.95,
            )  # fmt: skip
            assert side is not None
            if gate.level is None:
                verdicts.add(gate.holds(side.difference, gate.value))
            elif side.low is None or side.high is None:
                verdicts.add(None)
                shown += f"; there is no interval: {side.reason}"
            else:
                verdicts.add(self._by_interval((side.low, side.high), gate.value))
        if verdicts == {None} and interval is not None and found.se:
            shown += f". {hints.would_decide_pairs(found.pairs, found.difference - gate.value, found.se, gate.level or 0.95)}"
        return self._both_ways(verdicts, found.difference, shown, interval)

    def _flips(self, a: Scored, b: Scored, apart: int, lost: int, allowed: int) -> GateResult:
        one, other = values_of(a, b.metric.headline), values_of(b, b.metric.headline)
        better = 1.0 if b.metric.direction == "higher" else -1.0
        with np.errstate(invalid="ignore"):
            worse = (other - one) * better < 0
        unknown = apart + int(np.count_nonzero((a.outcomes.verdicts < a.repeats) | (b.outcomes.verdicts < b.repeats)))
        count = int(np.count_nonzero(worse))
        names = ", ".join(b.task_ids[i] for i in np.flatnonzero(worse)[:5].tolist())
        message = f"{count:,} tasks got worse" + (f" ({names}{', …' if count > 5 else ''})" if count else "")
        if lost > allowed:
            return self._result(False, False, float(count), None, f"{unknown:,} tasks cannot be compared in full. {message}")
        verdicts = {self.gate.holds(float(end), self.gate.value) for end in (count, count + unknown)}
        return self._both_ways(verdicts, float(count), message)

    # -- helpers ------------------------------------------------------------------------------------------------------------------------

    def _span(self, scored: Scored) -> float:
        span = span_of(scored, self.gate.metric)
        return span if math.isfinite(span) else 1.0

    def _interval(self, scored: Scored) -> tuple[float, tuple[float, float] | None, float | None, str | None] | None:
        """Value, interval at the gate's level, SE over tasks and the reason for no interval; None where there is no value."""
        values = values_of(scored, self.gate.metric)
        there = ~np.isnan(values)
        if not there.any():
            return None
        if self.gate.metric in scored.outcomes.derived:
            made = table.metric_at(scored.outcomes, self.gate.metric, low=scored.metric.low, high=scored.metric.high, level=self._level)
            pair = None if made["ci95"] is None else (made["ci95"][0], made["ci95"][1])
            return None if made["value"] is None else (made["value"], pair, made["se"], made["reason"])
        clusters = metrics.cluster_codes(scored.outcomes.clusters)
        low, high, binary = table.scale_of(scored.outcomes, self.gate.metric, scored.metric.headline, scored.metric.low, scored.metric.high)
        found = intervals.interval(
            values[there],
            verdicts=int(scored.outcomes.verdicts[there].sum()),
            low=low,
            high=high,
            binary=binary,
            clusters=None if clusters is None else clusters[there],
            level=self._level,
        )
        ends = None if found.low is None or found.high is None else (found.low, found.high)
        return float(np.mean(values[there])), ends, found.se, found.reason

    @property
    def _level(self) -> float:
        return self.gate.level or 0.95

    def _filled(self, scored: Scored) -> list[Scored]:
        """The outcomes with what is missing counted wrong, and right; themselves where nothing is."""
        if not scored.missing:
            return [scored]
        metric = scored.metric
        return [replace(scored, outcomes=scored.outcomes.filled(right=right, low=metric.low, high=metric.high)) for right in (False, True)]

    def _ends(self, scored: Scored) -> list[float]:
        return [
            float(np.mean(values[~np.isnan(values)])) for values in (values_of(side, self.gate.metric) for side in self._filled(scored))
        ]

    def _paired_ends(self, a: Scored, b: Scored, apart: int, span: float) -> list[Floats]:
        """The differences with all that is missing counted against B, and for it."""
        ends = []
        for right in (False, True):
            one, other = (
                replace(side, outcomes=side.outcomes.filled(right=this, low=side.metric.low, high=side.metric.high))
                for side, this in ((a, not right), (b, right))
            )
            values = values_of(other, self.gate.metric) - values_of(one, self.gate.metric)
            ends.append(np.concatenate((values[~np.isnan(values)], np.full(apart, span if right else -span))))
        return ends

    def _by_interval(self, interval: tuple[float, float], threshold: float) -> bool | None:
        """True where the near bound is on the right side, False where the far one is not, None astride."""
        near, far = interval if self.gate.upwards else (interval[1], interval[0])
        return True if self.gate.holds(near, threshold) else None if self.gate.holds(far, threshold) else False

    def _both_ways(
        self, verdicts: set[bool] | set[bool | None], value: float | None, message: str, interval: tuple[float, float] | None = None
    ) -> GateResult:
        """One verdict where missing cases counted wrong and counted right give the same, else none."""
        if len(verdicts) == 1 and None not in verdicts:
            return self._result(True, bool(next(iter(verdicts))), value, interval, message)
        if verdicts == {None}:
            return self._result(False, False, value, interval, f"the interval is astride the threshold: {message}")
        return self._result(
            False, False, value, interval, f"the missing cases decide it: counted wrong and counted right differ. {message}"
        )

    def _result(self, decided: bool, passed: bool, value: float | None, interval: tuple[float, float] | None, message: str) -> GateResult:
        notes = "".join(f"; {note}" for note in self.notes)
        return GateResult(self.gate.title(self.scored.name), self.scored.name, decided, passed, value, interval, message + notes)
