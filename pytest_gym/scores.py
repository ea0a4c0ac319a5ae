"""The outcomes of every planned case of a benchmark as arrays: what scorecard, profile, comparison and gates work on.

`Counts` takes in rollouts and verdicts one by one, `Scored` is what came of them: no texts, no dataset, no verifier. Not here: the file
that keeps them (`scorefile`), and any number that is made from them (`metrics`, `paired`).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_gym import table
from pytest_gym.benchmark import Metric
from pytest_gym.derived import Corpus, Derived, SubsetMean
from pytest_gym.outcomes import Outcomes
from pytest_gym.records import CaseError, Landed, Verdict
from pytest_gym.verify import CorpusMetric

LANDED, TRUNCATED, EMPTY, REFUSED = 1, 2, 4, 8
"""What is known of an answer before it is judged, as bits."""

CLASSES = ("missing", "truncated", "empty", "refused", "not_extracted", "wrong", "right")
"""What became of a case, exactly one of these. What passed is right; what failed has the first reason that holds, in this order."""

FLAG_NAMES = {TRUNCATED: "truncated", EMPTY: "empty", REFUSED: "refused"}
_KEY_LENGTH = 12

Bytes = NDArray[np.uint8]
Singles = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Scored:
    """One benchmark of one run: m planned tasks × K planned repeats, in the order of the dataset.

    task_ids: raw ids, "" where an unfinished run does not know which tasks it has not come to. rows: 16 hexadecimal digits of each row's
    content, "" where unknown. outcomes: verdicts, answers, subsets and clusters. flags: uint8[m, K], bits of LANDED and its like.
    tokens (of the output), latency (seconds): float32[m, K], NaN where unknown. errors: why a case has no verdict, by its place
    (position · K + repeat). answers: what the codes of `outcomes.answers` stand for, 12 hexadecimal digits of the answer's SHA-256.
    subset_field: the task field whose values the subsets are.
    """

    name: str
    metric: Metric
    task_ids: Sequence[str]
    rows: Sequence[str]
    outcomes: Outcomes
    flags: Bytes
    tokens: Singles
    latency: Singles
    errors: Mapping[int, str] = field(default_factory=dict)
    answers: Sequence[str] = ()
    subset_field: str | None = None

    @property
    def tasks(self) -> int:
        """Planned tasks, m."""
        return self.outcomes.tasks

    @property
    def repeats(self) -> int:
        """Planned repeats, K."""
        return self.outcomes.repeats

    def with_corpora(self, corpora: Sequence[CorpusMetric]) -> Scored:
        """With what is made from all tasks at once: the verifier's own metrics, and the means over subsets that the benchmark names."""
        derived: dict[str, Derived] = {
            one.name: Corpus(one.name, one.statistics, one.function, one.direction, one.low, one.high) for one in corpora
        }
        derived |= {name: SubsetMean.from_json(name, mean) for name, mean in self.metric.aggregate.items()}
        return replace(self, outcomes=replace(self.outcomes, derived=derived)) if derived else self

    def grouped(self, groups: Sequence[str | None]) -> Scored:
        """With scores reported apart by these groups, one name per task, and not by the benchmark's own subsets."""
        return replace(self, outcomes=replace(self.outcomes, groups=groups))

    def take(self, positions: NDArray[np.int64]) -> Scored:
        """Some of the tasks."""
        places = {int(position): new for new, position in enumerate(positions)}
        errors = {
            places[p // self.repeats] * self.repeats + p % self.repeats: k for p, k in self.errors.items() if p // self.repeats in places
        }
        return replace(
            self,
            task_ids=[self.task_ids[position] for position in positions],
            rows=[self.rows[position] for position in positions],
            outcomes=self.outcomes.take(positions),
            flags=self.flags[positions],
            tokens=self.tokens[positions],
            latency=self.latency[positions],
            errors=errors,
        )

    @property
    def missing(self) -> int:
        """Planned cases without a verdict, whatever the reason."""
        return int(np.count_nonzero(np.isnan(self.outcomes.passed)))

    @property
    def left_out(self) -> int:
        """Those of the missing cases that were never asked: `-k`, `-x`, a stop."""
        return self.missing - len(self.errors)

    @cached_property
    def error_counts(self) -> dict[str, int]:
        """Cases without a verdict by the kind of their error."""
        return dict(sorted(Counter(self.errors.values()).items()))

    @cached_property
    def classes(self) -> Bytes:
        """uint8[m, K]: the class of each case, an index into CLASSES."""
        passed, flags = self.outcomes.passed, self.flags
        found = np.full(passed.shape, CLASSES.index("wrong"), dtype=np.uint8)
        # From the last to the first, so that the first that holds stays.
        found[self._unextracted()] = CLASSES.index("not_extracted")
        for bit in (REFUSED, EMPTY, TRUNCATED):
            found[(flags & bit) != 0] = CLASSES.index(FLAG_NAMES[bit])
        found[passed == 1] = CLASSES.index("right")
        found[np.isnan(passed)] = CLASSES.index("missing")
        return found

    def _unextracted(self) -> NDArray[np.bool_]:
        """Judged cases, not empty, in which a verifier that extracts answers found none, or nothing passed at all."""
        answers, passed = self.outcomes.answers, self.outcomes.passed
        if answers is None and bool(np.any(passed == 1)):
            return np.zeros(passed.shape, dtype=np.bool_)
        none = np.full(passed.shape, True) if answers is None else answers < 0
        return np.asarray(none & ((self.flags & EMPTY) == 0) & ~np.isnan(passed), dtype=np.bool_)

    def rates(self) -> dict[str, float]:
        """Shares of the judged cases. An empty answer is not counted as not extracted as well."""
        scored = ~np.isnan(self.outcomes.passed)
        total = int(scored.sum())
        found = {word: (self.flags & bit) != 0 for bit, word in FLAG_NAMES.items()} | {"not_extracted": self._unextracted()}
        return {name: float(np.sum(marked & scored) / total) if total else 0.0 for name, marked in found.items()}

    def summary(self, *, temperature: float | None = None, same_text: bool = False) -> dict[str, Any]:
        """The benchmark's entry of `summary.json`, without the tokens that only a live run counts in full."""
        metric = self.metric
        entry = table.summarise(
            self.outcomes,
            headline=metric.headline,
            direction=metric.direction,
            low=metric.low,
            high=metric.high,
            temperature=temperature,
            same_text=same_text,
        )
        entry["errors"] = dict(self.error_counts)
        entry["rates"] = self.rates()
        return entry


class Counts:
    """The outcomes of one benchmark while they come in: m tasks × K repeats, both of which grow where a case lies beyond them."""

    def __init__(self, tasks: int = 0, repeats: int = 1) -> None:
        shape = (tasks, repeats)
        self.rewards = np.full(shape, np.nan)
        self.passed = np.full(shape, np.nan)
        self.answers = np.full(shape, -1, dtype=np.int32)
        self.flags = np.zeros(shape, dtype=np.uint8)
        self.texts = np.zeros(shape, dtype=np.int64)
        self.tokens = np.full(shape, np.nan, dtype=np.float32)
        self.latency = np.full(shape, np.nan, dtype=np.float32)
        self.scores: dict[str, NDArray[np.float64]] = {}
        self.errors: dict[tuple[int, int], str] = {}
        self._codes: dict[str, int] = {}

    def landed(self, position: int, repeat: int, rollout: Landed) -> None:
        """Note a rollout of a case (an error, too)."""
        self._reach(position, repeat)
        if rollout.error is not None:
            self.errors[position, repeat] = rollout.error
            return
        self.errors.pop((position, repeat), None)
        flags = LANDED | (TRUNCATED if rollout.finish_reason == "length" else 0)
        flags |= (EMPTY if rollout.empty else 0) | (REFUSED if rollout.finish_reason == "refusal" else 0)
        self.flags[position, repeat] = flags
        self.texts[position, repeat] = rollout.text_hash
        self.tokens[position, repeat] = np.nan if rollout.usage.output_tokens is None else rollout.usage.output_tokens
        self.latency[position, repeat] = np.nan if rollout.latency_s is None else rollout.latency_s

    def judged(self, position: int, repeat: int, outcome: Verdict | CaseError) -> None:
        """Note a verdict, or why there is none; a later one for the same case counts."""
        self._reach(position, repeat)
        if isinstance(outcome, CaseError):
            self.errors[position, repeat] = outcome.kind
            self.rewards[position, repeat] = self.passed[position, repeat] = np.nan
            return
        self.errors.pop((position, repeat), None)
        self.rewards[position, repeat] = outcome.reward
        self.passed[position, repeat] = bool(outcome.passed)
        extracted = outcome.extracted
        self.answers[position, repeat] = -1 if extracted is None else self._codes.setdefault(extracted, len(self._codes))
        for name, value in outcome.scores.items():
            if name not in self.scores:
                self.scores[name] = np.full(self.rewards.shape, np.nan)
            self.scores[name][position, repeat] = value

    def _reach(self, position: int, repeat: int) -> None:
        tasks, repeats = self.passed.shape
        if position < tasks and repeat < repeats:
            return
        more = ((0, max(position + 1, 2 * tasks) - tasks if position >= tasks else 0), (0, max(repeat + 1 - repeats, 0)))

        def grown(array: NDArray[Any], empty: float) -> NDArray[Any]:
            return np.pad(array, more, constant_values=empty)

        self.rewards, self.passed = grown(self.rewards, np.nan), grown(self.passed, np.nan)
        self.tokens, self.latency = grown(self.tokens, np.nan), grown(self.latency, np.nan)
        self.answers, self.flags, self.texts = grown(self.answers, -1), grown(self.flags, 0), grown(self.texts, 0)
        self.scores = {name: grown(values, np.nan) for name, values in self.scores.items()}

    def same_text(self) -> bool:
        """Whether all repeats of every task came with the same text, which answers of any length do by a cache alone."""
        landed = self.flags != 0
        several = landed.sum(axis=1) > 1
        first = self.texts[np.arange(len(self.texts)), landed.argmax(axis=1)][:, None]
        return bool(several.any() and np.all((self.texts == first) | ~landed))

    def scored(
        self,
        name: str,
        metric: Metric,
        *,
        task_ids: Sequence[str],
        rows: Sequence[str],
        subsets: Sequence[str | None],
        clusters: Sequence[str | None],
        subset_field: str | None,
        corpora: Sequence[CorpusMetric] = (),
    ) -> Scored:
        """All that was noted, for these tasks (of which there may be fewer or more than were noted).

        corpora: the verifier's own metrics.
        """
        self._reach(len(task_ids) - 1, 0)
        m, repeats = len(task_ids), self.passed.shape[1]
        return Scored(
            name,
            metric,
            task_ids,
            rows,
            outcomes_of(self.rewards[:m], self.passed[:m], self.answers[:m], subsets, clusters, {k: v[:m] for k, v in self.scores.items()}),
            self.flags[:m],
            self.tokens[:m],
            self.latency[:m],
            {position * repeats + repeat: kind for (position, repeat), kind in self.errors.items()},
            [answer_key(answer) for answer in self._codes],
            subset_field,
        ).with_corpora(corpora)


def answer_key(answer: str) -> str:
    """What stands for an extracted answer in files: 12 hexadecimal digits of its SHA-256."""
    return hashlib.sha256(answer.encode("utf-8", "surrogatepass")).hexdigest()[:_KEY_LENGTH]


def outcomes_of(
    rewards: NDArray[Any],
    passed: NDArray[Any],
    answers: NDArray[Any],
    subsets: Sequence[str | None],
    clusters: Sequence[str | None],
    scores: Mapping[str, NDArray[Any]],
) -> Outcomes:
    """The outcomes, with answers to vote on only where the verifier extracts any, and clusters only where there are some."""
    # A verifier that passes an answer without saying what it extracted extracts nothing: no votes, no rate of missed answers.
    extracts = bool(np.any(answers >= 0)) and not bool(np.any((passed == 1) & (answers < 0)))
    known = list(clusters) if any(cluster is not None for cluster in clusters) else None
    return Outcomes(rewards, passed, answers.astype(np.int64) if extracts else None, list(subsets), known, dict(scores))
