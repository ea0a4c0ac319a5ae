"""The verdicts of one benchmark as arrays of tasks × repeats: what every number is made from.

Arrays and names only, no records and no files. Which number follows is said in `metrics`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pytest_gym import votes
from pytest_gym.derived import Derived

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]


@dataclass(frozen=True)
class Outcomes:
    """All verdicts of one benchmark: m planned tasks × K planned repeats.

    rewards, passed: float[m, K]; where `passed` is NaN the verdict is missing, and the other arrays are not looked at.
    answers: int[m, K], equal codes ≥ 0 for equal answers, −1 for none; None where the verifier extracts no answers.
    subsets, clusters: one name per task, None where it has none. scores: named float[m, K], NaN also where a verdict lacks the score.
    derived: metrics by name that are made from all tasks at once. groups: one name per task by which scores are reported apart, where that
    is not by `subsets`.
    Raises ValueError where the shapes do not fit.
    """

    rewards: Floats
    passed: Floats
    answers: Codes | None = None
    subsets: Sequence[str | None] = ()
    clusters: Sequence[str | None] | None = None
    scores: Mapping[str, Floats] = field(default_factory=dict)
    derived: Mapping[str, Derived] = field(default_factory=dict)
    groups: Sequence[str | None] = ()

    def __post_init__(self) -> None:
        passed = np.asarray(self.passed, dtype=np.float64)
        if passed.ndim != 2:
            raise ValueError(f"outcomes are tasks x repeats, not an array of shape {passed.shape}")
        missing = np.isnan(passed)
        arrays = {"rewards": self.rewards, **{f"score {name!r}": values for name, values in self.scores.items()}}
        for name, values in arrays.items():
            if np.shape(values) != passed.shape:
                raise ValueError(f"{name} has shape {np.shape(values)}, not {passed.shape} as passed has")
        if self.answers is not None and np.shape(self.answers) != passed.shape:
            raise ValueError(f"answers has shape {np.shape(self.answers)}, not {passed.shape} as passed has")
        for name, names in (("subsets", self.subsets), ("clusters", self.clusters or ()), ("groups", self.groups)):
            if len(names) not in (0, len(passed)):
                raise ValueError(f"{name} has {len(names)} entries for {len(passed)} tasks")
        object.__setattr__(self, "passed", passed)
        object.__setattr__(self, "rewards", np.where(missing, np.nan, self.rewards))
        object.__setattr__(self, "scores", {name: np.where(missing, np.nan, values) for name, values in self.scores.items()})

    @property
    def tasks(self) -> int:
        """Planned tasks, m."""
        return int(self.passed.shape[0])

    @property
    def repeats(self) -> int:
        """Planned repeats, K."""
        return int(self.passed.shape[1])

    @property
    def reported(self) -> Sequence[str | None]:
        """The names by which scores are reported apart: the groups that were asked for, else the subsets. Empty without either."""
        return self.groups or self.subsets

    @property
    def verdicts(self) -> Codes:
        """int[m]: the verdicts that each task has."""
        return np.asarray(np.count_nonzero(~np.isnan(self.passed), axis=1), dtype=np.int64)

    def take(self, rows: Codes) -> Outcomes:
        """The outcomes of some tasks."""
        return Outcomes(
            self.rewards[rows],
            self.passed[rows],
            None if self.answers is None else self.answers[rows],
            [self.subsets[row] for row in rows] if len(self.subsets) else (),
            [self.clusters[row] for row in rows] if self.clusters else None,
            {name: values[rows] for name, values in self.scores.items()},
            self.derived,
            [self.groups[row] for row in rows] if len(self.groups) else (),
        )

    def widened(self, repeats: int) -> Outcomes:
        """The outcomes with missing verdicts added up to `repeats` columns; themselves where they have as many."""
        more = ((0, 0), (0, max(repeats - self.repeats, 0)))
        if more[1][1] == 0:
            return self
        return Outcomes(
            np.pad(self.rewards, more, constant_values=np.nan),
            np.pad(self.passed, more, constant_values=np.nan),
            None if self.answers is None else np.pad(self.answers, more, constant_values=votes.NO_ANSWER),
            self.subsets,
            self.clusters,
            {name: np.pad(values, more, constant_values=np.nan) for name, values in self.scores.items()},
            self.derived,
            self.groups,
        )

    def filled(self, *, right: bool, low: float, high: float, unanswered: bool = False) -> Outcomes:
        """The outcomes with every missing verdict counted as right (reward `high`) or wrong (`low`)."""
        missing = np.isnan(self.passed)
        passed, answers = np.where(missing, float(right), self.passed), self.answers
        if answers is not None:
            passed, answers = votes.fill_votes(self.passed, answers, right=right, unanswered=unanswered)
        reward = high if right else low
        return Outcomes(
            np.where(missing, reward, self.rewards),
            passed,
            answers,
            self.subsets,
            self.clusters,
            {name: np.where(missing, reward, values) for name, values in self.scores.items()},
            self.derived,
            self.groups,
        )
