"""What has become of the cases of a run, as arrays (tasks × repeats) that grow while results come in, and the summary of them.

One thread fills it: the session's, which is also told what has landed in the engine's. The numbers themselves are made in `metrics`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from pytest_gym import metrics
from pytest_gym.outcomes import Outcomes
from pytest_gym.plan import Plan, Planned
from pytest_gym.records import CaseError, Landed, Usage, Verdict

LANDED, TRUNCATED, EMPTY, REFUSED = 1, 2, 4, 8


class Tally:
    """The outcomes of all benchmarks of a plan."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.benchmarks = [_Counts(planned) for planned in plan.benchmarks]
        self._of = dict(zip(plan.benchmarks, self.benchmarks, strict=True))
        self.requests = 0
        self._counted = bytearray(plan.cases)
        self.reported_models: Counter[str] = Counter()

    def landed(self, rollout: Landed) -> None:
        """Note a rollout that has landed (an error, too)."""
        case = rollout.case
        planned, position, repeat = self.plan.locate(case)
        counts = self._of[planned]
        if self._counted[case]:
            # A conftest has changed what was counted already: its tokens and requests were spent once.
            rollout = rollout._replace(attempts=0, usage=Usage())
        self._counted[case] = True
        self.requests += rollout.attempts
        if rollout.model:
            self.reported_models[rollout.model] += 1
        usage = rollout.usage
        counts.input_tokens += usage.input_tokens or 0
        counts.output_tokens += usage.output_tokens or 0
        if usage.reasoning_tokens is not None:
            counts.reasoning_tokens = (counts.reasoning_tokens or 0) + usage.reasoning_tokens
        if rollout.error is not None:
            counts.errors[case] = rollout.error
            return
        counts.errors.pop(case, None)
        flags = LANDED
        if rollout.finish_reason == "length":
            flags |= TRUNCATED
        if rollout.empty:
            flags |= EMPTY
        if rollout.finish_reason == "refusal":
            flags |= REFUSED
        counts.flags[position, repeat] = flags
        counts.texts[position, repeat] = rollout.text_hash

    def judged(self, case: int, outcome: Verdict | CaseError) -> None:
        """Note a verdict, or why there is none; a later one for the same case counts."""
        planned, position, repeat = self.plan.locate(case)
        counts = self._of[planned]
        if isinstance(outcome, CaseError):
            counts.errors[case] = outcome.kind
            counts.rewards[position, repeat] = counts.passed[position, repeat] = np.nan
            return
        counts.errors.pop(case, None)
        counts.judge(position, repeat, outcome)

    def summary(self, *, demo: bool, wall_s: float) -> dict[str, Any]:
        """The content of `summary.json` (docs/results.md)."""
        return {
            "schema": 1,
            "demo": demo,
            "wall_s": round(wall_s, 3),
            "requests": self.requests,
            "benchmarks": {counts.planned.benchmark.name: counts.summary(demo) for counts in self.benchmarks},
            "gates": [],
        }


class _Counts:
    """The arrays of one benchmark."""

    def __init__(self, planned: Planned) -> None:
        shape = (len(planned.rows), planned.repeats)
        self.planned = planned
        self.rewards = np.full(shape, np.nan)
        self.passed = np.full(shape, np.nan)
        self.answers = np.full(shape, -1, dtype=np.int32)
        self.flags = np.zeros(shape, dtype=np.uint8)
        self.texts = np.zeros(shape, dtype=np.int64)
        self.scores: dict[str, np.ndarray[Any, np.dtype[np.float64]]] = {}
        self.errors: dict[int, str] = {}
        self.input_tokens = self.output_tokens = 0
        self.reasoning_tokens: int | None = None
        self.judged = 0
        self.hits = 0
        self._codes: dict[str, int] = {}

    def judge(self, position: int, repeat: int, verdict: Verdict) -> None:
        before = self.passed[position, repeat]
        if np.isnan(before):
            self.judged += 1
        else:
            self.hits -= int(before)
        self.hits += bool(verdict.passed)
        self.rewards[position, repeat] = verdict.reward
        self.passed[position, repeat] = bool(verdict.passed)
        extracted = verdict.extracted
        self.answers[position, repeat] = -1 if extracted is None else self._codes.setdefault(extracted, len(self._codes))
        for name, value in verdict.scores.items():
            if name not in self.scores:
                self.scores[name] = np.full(self.rewards.shape, np.nan)
            self.scores[name][position, repeat] = value

    def summary(self, demo: bool) -> dict[str, Any]:
        planned, dataset = self.planned, self.planned.dataset
        metric = planned.benchmark.metric
        clusters = [dataset.clusters[row] for row in planned.rows]
        # A verifier that passes an answer without saying what it extracted extracts nothing: no votes, no rate of missed answers.
        extracts = bool(self._codes) and not np.any((self.passed == 1) & (self.answers < 0))
        entry = metrics.summarise(
            Outcomes(
                rewards=self.rewards,
                passed=self.passed,
                answers=self.answers.astype(np.int64) if extracts else None,
                subsets=[dataset.subsets[row] for row in planned.rows],
                clusters=clusters if any(cluster is not None for cluster in clusters) else None,
                scores=self.scores,
            ),
            headline=metric.headline,
            direction=metric.direction,
            low=metric.low,
            high=metric.high,
            repeats=planned.repeats,
            # The demo model does not sample: hints on repeats that cannot vary would be wrong of it.
            same_text=not demo and self._same_text(),
            temperature=None if demo else planned.benchmark.sampling.get("temperature"),
        )
        entry["errors"] = dict(sorted(Counter(self.errors.values()).items()))
        entry["rates"] = self._rates(extracts)
        entry["tokens"] = {"input": self.input_tokens, "output": self.output_tokens, "reasoning": self.reasoning_tokens}
        return entry

    def _same_text(self) -> bool:
        """Whether all repeats of every task came with the same text, which answers of any length do by a cache alone."""
        landed = self.flags != 0
        several = landed.sum(axis=1) > 1
        first = self.texts[np.arange(len(self.texts)), landed.argmax(axis=1)][:, None]
        return bool(several.any() and np.all((self.texts == first) | ~landed))

    def _rates(self, extracts: bool) -> Mapping[str, float]:
        """Shares of the judged cases. An empty answer is not counted as not extracted as well."""
        scored = ~np.isnan(self.passed)
        total = int(scored.sum())
        found: dict[str, Any] = {
            "truncated": self.flags & TRUNCATED,
            "empty": self.flags & EMPTY,
            "refused": self.flags & REFUSED,
            "not_extracted": (self.answers < 0) & ((self.flags & EMPTY) == 0) & (extracts or not self.hits),
        }
        return {name: float(np.sum((array != 0) & scored) / total) if total else 0.0 for name, array in found.items()}
