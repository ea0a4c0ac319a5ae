"""Going on with a run that was interrupted, or whose cases ended in errors: what is kept, and what forbids it.

The model is asked for what is missing only. Whatever moves what the model answers must be as it was; a verifier that has changed judges
everything again. Not here: the command line's part in it (`restore`), and reading runs for other purposes (`stored`).
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Mapping
from typing import Any

from pytest_gym.errors import ConfigError, RunError
from pytest_gym.fingerprint import Difference, differences
from pytest_gym.journal import SELECTION, Journal
from pytest_gym.plan import CaseKey, Plan
from pytest_gym.records import Rollout, Verdict
from pytest_gym.run import SUMMARY
from pytest_gym.stored import JOURNAL, StoredRun

Seen = Callable[[int, Rollout], None]

_JUDGING = ("verifier", "metric")
_SAYS_NOTHING = ("version", "overridden", "metric.headline")
"""Parts that do not change an answer or a verdict by themselves, or (`overridden`) are known only when cases are collected."""


class Resume:
    """The origin of a resumed run: its own folder. `begun` says whether it came as far as running cases; then `selected` are
    those that were selected (None: all) and `overridden` the fixtures that a conftest defined anew. Implements `state.Origin`."""

    asks = True

    def __init__(self, run: StoredRun) -> None:
        self.run = run
        self._rejudge: list[Difference] = []
        self._now = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        self.begun, self.selected, self.overridden = _selection(run)

    def check(self, manifest: Mapping[str, Any]) -> None:
        """Compare today's manifest with the run's. Raises ConfigError listing what must not differ."""
        found = [d for d in differences(self.run.manifest, manifest) if d.part not in _SAYS_NOTHING]
        forbidden = [d for d in found if not d.part.startswith(_JUDGING)]
        if forbidden:
            raise ConfigError(
                f"--gym-resume={self.run.word}: its answers were made under another protocol, and would be mixed with new ones ("
                + "; ".join(map(str, forbidden))
                + "); undo the change, or start a new run"
            )
        self._rejudge = [d for d in found if d.part.startswith(_JUDGING)]

    def prepare(self, plan: Plan) -> None:
        """Make the journal of a complete run again from its results, so that errors can be tried again. The folder must be locked."""
        if self.run.unfinished:
            return
        # Renamed when it is whole: the results are the only copy until then.
        temporary, target = self.run.path / f"{JOURNAL}.new", self.run.path / JOURNAL
        shutil.rmtree(temporary, ignore_errors=True)
        journal = Journal(temporary, plan)
        for entry in self.run.entries():
            case = plan.number(entry.key)
            if case is not None and entry.rollout.error is None:
                journal.add_rollout(case, entry.rollout)
                if isinstance(entry.outcome, Verdict):
                    journal.add_outcome(case, entry.outcome)
        journal.close(remove=False)
        shutil.rmtree(target, ignore_errors=True)
        temporary.rename(target)

    def preload(self, plan: Plan, journal: Journal, seen: Seen) -> list[str]:
        """Load the journal; the notes say what was found and what will be done."""
        found = journal.load(seen)
        notes = [f"resumed: {found.landed:,} of {plan.cases:,} answers are there, {found.judged:,} judged"]
        if found.broken:
            notes.append(
                f"{found.broken} line{'s' * (found.broken > 1)} of the journal cannot be read (a killed process tears its last one)"
            )
        if found.foreign:
            raise RunError(f"{journal.folder}: holds {found.foreign} lines of cases that this run does not plan")
        if self._rejudge and found.judged:
            journal.forget_verdicts()
            notes.append(f"the verifier has changed, all answers are judged again ({'; '.join(map(str, self._rejudge))})")
        return notes

    @property
    def wall_s(self) -> float:
        """The seconds that earlier processes took, as far as they came to say so."""
        try:
            return float(json.loads((self.run.path / SUMMARY).read_text(encoding="utf-8"))["wall_s"])
        except (OSError, ValueError, KeyError, TypeError):
            # A process that was killed wrote no summary.
            return 0.0

    def absent(self, key: CaseKey) -> str:
        """Why a planned case has no rollout: it is yet to be asked."""
        return "it has not been asked yet"

    def manifest(self) -> dict[str, Any]:
        """When the run began, and when it was resumed."""
        before = self.run.manifest
        return {"started": before["started"], "resumed": [*before.get("resumed", []), self._now]}


def _selection(run: StoredRun) -> tuple[bool, list[int] | None, tuple[str, ...]]:
    """Whether cases were begun, which (None: all), and which fixtures were overridden."""
    path = run.path / JOURNAL / SELECTION
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        cases = data["cases"]
        numbers = None if cases is None else [case for first, last in cases for case in range(first, last + 1)]
        return True, numbers, tuple(data["overridden"])
    except FileNotFoundError:
        # The journal of a complete run is gone; what it says of the fixtures is in the manifest then.
        overridden = {name for entry in run.manifest["benchmarks"].values() for name in entry.get("overridden", ())}
        return run.manifest["finished"] is not None, None, tuple(sorted(overridden))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path} cannot be read: {error}") from None
