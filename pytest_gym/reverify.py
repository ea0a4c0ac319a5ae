"""Judging the answers of an earlier run with today's verifier, in a run of their own: nobody is asked, old and new verdicts are compared.

Not here: reading the earlier run (`stored`), and the judging itself, which is that of any run.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Mapping
from typing import Any

from pytest_gym.errors import ConfigError
from pytest_gym.fingerprint import differences
from pytest_gym.journal import Journal
from pytest_gym.plan import CaseKey, Plan
from pytest_gym.records import CaseError, Rollout, Verdict
from pytest_gym.stored import StoredRun

_ANSWERS = ("model", "harness", "sampling", "prompt")


class Reverify:
    """The origin of a run that judges another's answers again; implements `state.Origin`."""

    asks = False

    def __init__(self, run: StoredRun) -> None:
        self.run = run
        self._plan = Plan()
        self._old = array("d")
        self._new = array("d")
        self._notes: list[str] = []

    def check(self, manifest: Mapping[str, Any]) -> None:
        """Compare today's manifest with the run's: what has changed is noted, since all of it is judged as it is today."""
        found = [d for d in differences(self.run.manifest, manifest) if not d.part.startswith(_ANSWERS)]
        self._notes = [f"differs from the run: {difference}" for difference in found]

    def prepare(self, plan: Plan) -> None:
        """Nothing is to be made ready."""

    def preload(self, plan: Plan, journal: Journal, seen: Callable[[int, Rollout], None]) -> list[str]:
        """Copy the rollouts into the journal. Raises ConfigError where not one of them belongs to a planned case."""
        self._plan = plan
        self._old, self._new = array("d", [math.nan]) * plan.cases, array("d", [math.nan]) * plan.cases
        copied = left = 0
        for entry in self.run.entries():
            case = plan.number(entry.key)
            if case is None:
                left += 1
                continue
            journal.add_rollout(case, entry.rollout)
            seen(case, entry.rollout)
            copied += 1
            if isinstance(entry.outcome, Verdict):
                self._old[case] = entry.outcome.reward
        if not copied:
            raise ConfigError(
                f"--gym-reverify={self.run.word}: has no answer to any case of today's {', '.join(self.run.manifest['benchmarks'])}"
            )
        notes = [f"judging {copied:,} answers of {self.run.word} again; nobody is asked", *self._notes]
        if left:
            notes.append(f"{left:,} answers are to tasks that are not planned today, and are left out")
        if self.run.broken:
            notes.append(f"{self.run.broken} lines of {self.run.word} cannot be read, and are left out")
        return notes

    def absent(self, key: CaseKey) -> str:
        """Why a planned case has no rollout."""
        return f"{self.run.word} has no answer to it"

    def judged(self, case: int, outcome: Verdict | CaseError) -> None:
        """Note a new outcome, to be compared with the old one."""
        self._new[case] = outcome.reward if isinstance(outcome, Verdict) else math.nan

    def manifest(self) -> dict[str, Any]:
        """What the manifest says of where the answers are from."""
        return {"reverified": str(self.run.path), "model": self.run.manifest["model"]}

    def changes(self) -> dict[str, Any]:
        """Old against new: how many verdicts were compared, and each that changed, in the order of the cases.

        `changed` holds {`benchmark`, `task_id`, `repeat`, `old`, `new`} with rewards; null is a case without a verdict.
        """
        changed, compared = [], 0
        for case, (old, new) in enumerate(zip(self._old, self._new, strict=True)):
            compared += not (math.isnan(old) or math.isnan(new))
            if old != new and not (math.isnan(old) and math.isnan(new)):
                key = self._plan.key(case)
                changed.append({**key._asdict(), "old": None if math.isnan(old) else old, "new": None if math.isnan(new) else new})
        return {"run": str(self.run.path), "compared": compared, "changed": changed}
