"""What the collectors, fixtures and reports of one gym run share, handed to each when it is registered.

The same object stands in the process that the user started and in each worker; only `engine` differs: there the engine itself is asked,
here a socket. No module-level state: nested runs (pytester) live in one process.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from pytest_gym.cases import Case
from pytest_gym.errors import VerifierError
from pytest_gym.journal import Journal
from pytest_gym.options import Options
from pytest_gym.plan import CaseKey, Plan
from pytest_gym.records import CaseError, Rollout, Task, Verdict
from pytest_gym.resolve import Selected
from pytest_gym.verify import CorpusMetric


class EngineAccess(Protocol):
    """The engine as a case sees it, wherever the case runs."""

    @property
    def stopped(self) -> str | None:
        """Why nothing more is asked, or None."""

    @property
    def decided(self) -> bool:
        """Whether nothing more needs to be asked, for all gates are decided."""

    def begin(self, cases: Sequence[int], *, overridden: Sequence[str]) -> None:
        """Say which cases are to be rolled out, in their order, and which of our fixtures are defined anew."""

    def rollout(self, case: int) -> Rollout:
        """Wait for the rollout of a case. Raises Stopped where it will never come."""

    def kept(self, case: int) -> Verdict | None:
        """The verdict that an earlier process of this run gave on the rollout that was just asked for, or None."""

    def judge(self, case: int, rollout: Rollout | None) -> Verdict | CaseError:
        """Wait for the async verifier's verdict on a rollout; None means the stored one."""


class Origin(Protocol):
    """Where rollouts are from, if not (all) from the model: an earlier run, or a file."""

    @property
    def asks(self) -> bool:
        """Whether the model is asked for what is missing."""

    def check(self, manifest: Mapping[str, Any]) -> None:
        """Compare today's manifest with that of the origin. Raises ConfigError where they do not go together."""

    def prepare(self, plan: Plan) -> None:
        """Make the locked run folder ready, before its journal is opened."""

    def preload(self, plan: Plan, journal: Journal, seen: Callable[[int, Rollout], None]) -> list[str]:
        """Put into the journal what is there; `seen` hears of each rollout. Returns notes for the header."""

    def absent(self, key: CaseKey) -> str:
        """Why a planned case has no rollout."""

    def manifest(self) -> dict[str, Any]:
        """Further keys of `run.json`."""


@dataclass
class GymState:
    """One gym run in one process. `wanted` maps a benchmark to the case names that were asked for by id."""

    options: Options
    selected: Sequence[Selected]
    plan: Plan
    misses: str
    engine: EngineAccess = field(init=False)
    wanted: Mapping[str, set[str]] = field(default_factory=dict)
    overridden: tuple[str, ...] = ()
    """Which of our fixtures, `rollout` and `verifier`, a conftest defines anew."""
    origin: Origin | None = None
    """Only in the process that the user started; None where the model is asked for everything."""
    only: frozenset[int] | None = None
    """The cases that a resumed run selected; None means all."""

    def by_name(self, name: str) -> Selected:
        """What was selected under a benchmark's name."""
        return next(selected for selected in self.selected if selected.benchmark.name == name)

    @property
    def in_random_order(self) -> bool:
        """Whether the tasks are asked in a seeded random order, as a sequential test needs them."""
        return (self.options.stop_when_decided or "").endswith("%")

    def corpora(self, verifier: str) -> list[CorpusMetric]:
        """The corpus metrics of a verifier of this run, by its name."""
        found = [selected.verifier for selected in self.selected if selected.verifier.name == verifier]
        return list(found[0].aggregates.values()) if found else []

    def judge(self, item: Case) -> Callable[[Task, Rollout], Verdict]:
        """The verifier of a case's benchmark as a plain callable."""
        selected = self.by_name(item.planned.benchmark.name)
        if not selected.verifier.is_async:
            return selected.call
        stored = "rollout" not in self.overridden

        def wait(task: Task, rollout: Rollout) -> Verdict:
            outcome = self.engine.judge(item.gym_case, None if stored else rollout)
            if isinstance(outcome, CaseError):
                error = VerifierError(outcome.message)
                error.kind = outcome.kind
                raise error
            return outcome

        return wait
