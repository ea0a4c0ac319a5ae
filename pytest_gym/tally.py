"""What has become of the cases of a run while results come in, benchmark by benchmark, and the summary of them.

One thread fills it: the session's, which is also told what has landed in the engine's. The arrays are those of `scores`, the numbers
are made in `metrics`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pytest_gym.plan import Plan, Planned
from pytest_gym.published import beside_published
from pytest_gym.records import CaseError, Landed, Usage, Verdict
from pytest_gym.scores import Counts, Scored
from pytest_gym.table import macro_mean
from pytest_gym.verify import Corpora, CorpusMetric


class Tally:
    """The outcomes of all benchmarks of a plan.

    `corpora` gives the corpus metrics of a verifier by its name, `groups` of some benchmarks by what their tasks are reported apart.
    """

    def __init__(self, plan: Plan, corpora: Corpora, groups: Mapping[str, Sequence[str | None]]) -> None:
        self.plan = plan
        self.benchmarks = [
            _Counts(planned, corpora(planned.benchmark.verifier), groups.get(planned.benchmark.name, ())) for planned in plan.benchmarks
        ]
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
        counts.counts.landed(position, repeat, rollout)

    def judged(self, case: int, outcome: Verdict | CaseError) -> None:
        """Note a verdict, or why there is none; a later one for the same case counts."""
        planned, position, repeat = self.plan.locate(case)
        self._of[planned].counts.judged(position, repeat, outcome)

    def scored(self) -> list[Scored]:
        """The outcomes so far, benchmark by benchmark."""
        return [counts.scored() for counts in self.benchmarks]

    @property
    def nothing_judged(self) -> bool:
        """Whether no case at all has a verdict."""
        return all(bool(np.all(np.isnan(counts.counts.passed))) for counts in self.benchmarks)

    def summary(
        self, scored: Sequence[Scored], *, demo: bool, wall_s: float, asked: bool = True, models: Sequence[str] = ()
    ) -> dict[str, Any]:
        """The content of `summary.json` (docs/results.md), of what `scored` gave. models: names that the model goes by."""
        benchmarks = {s.name: counts.summary(s, demo) for s, counts in zip(scored, self.benchmarks, strict=True)}
        for counts in self.benchmarks if not demo else ():
            entry = benchmarks[counts.planned.benchmark.name]
            if published := beside_published(counts.planned.benchmark, entry, models):
                entry["published"] = published
        return {
            "schema": 1,
            "demo": demo,
            "wall_s": round(wall_s, 3),
            "requests": self.requests if asked else 0,
            "benchmarks": benchmarks,
            "mean": macro_mean(benchmarks),
            "gates": [],
        }


class _Counts:
    """One benchmark: its outcomes, and the tokens that they took."""

    def __init__(self, planned: Planned, corpora: Sequence[CorpusMetric], groups: Sequence[str | None]) -> None:
        self.planned, self.corpora, self.groups = planned, corpora, groups
        self.counts = Counts(len(planned.rows), planned.repeats)
        self.input_tokens = self.output_tokens = 0
        self.reasoning_tokens: int | None = None

    def scored(self) -> Scored:
        planned, dataset = self.planned, self.planned.dataset
        return self.counts.scored(
            planned.benchmark.name,
            planned.benchmark.metric,
            task_ids=[dataset.ids[row] for row in planned.rows],
            rows=[dataset.row_hash(row) for row in planned.rows],
            subsets=[dataset.subsets[row] for row in planned.rows],
            clusters=[dataset.clusters[row] for row in planned.rows],
            subset_field=planned.benchmark.subset,
            corpora=self.corpora,
        ).grouped(self.groups)

    def summary(self, scored: Scored, demo: bool) -> dict[str, Any]:
        # The demo model does not sample: hints on repeats that cannot vary would be wrong of it.
        temperature = None if demo else self.planned.benchmark.sampling.get("temperature")
        entry = scored.summary(temperature=temperature, same_text=not demo and self.counts.same_text())
        entry["tokens"] = {"input": self.input_tokens, "output": self.output_tokens, "reasoning": self.reasoning_tokens}
        return entry
