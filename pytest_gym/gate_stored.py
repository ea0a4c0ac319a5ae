"""Gates on runs that are over: the verdicts on a stored run, and the exit code of the command that shows them.

The same rules as while a run goes on (`gating`); which lines are asked of whom is said in `configure` and `commands`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_gym.baseline import read_baseline, with_differences
from pytest_gym.compare import differs
from pytest_gym.errors import ConfigError
from pytest_gym.gates import Gate, parse_all
from pytest_gym.gating import Circumstances, GateResult, judge
from pytest_gym.scores import Scored
from pytest_gym.stopping import is_bounded
from pytest_gym.stored import StoredRun
from pytest_gym.verify import Corpora


@dataclass(frozen=True)
class StoredGates:
    """What must hold of a stored run: `lines` are (text, where it stands), `baseline` the run to compare with, both as they were typed."""

    lines: Sequence[tuple[str, str]]
    base: Path
    corpora: Corpora
    baseline: str | None = None
    tolerance: str = "0"

    def check(self, benchmarks: Sequence[str], repeats: Sequence[int]) -> list[Gate]:
        """The gates of a run with these benchmarks. Raises ConfigError for one that does not fit, RunError where the baseline is no run."""
        gates = parse_all(self.lines, benchmarks, repeats)
        for gate in gates:
            if gate.needs_baseline and not self.baseline:
                raise ConfigError(f"gate {gate.text!r} compares with a baseline: give --gym-baseline=RUN")
        if self.baseline and gates:
            StoredRun(self.base / self.baseline, self.baseline)
        return gates

    def judged(self, manifest: Mapping[str, Any], scored: Sequence[Scored]) -> list[GateResult]:
        """The verdicts on a run with this manifest. Raises ConfigError for a gate that does not fit the run, RunError for the baseline."""
        gates = self.check([one.name for one in scored], [one.repeats for one in scored])
        baseline = None
        if self.baseline and gates:
            baseline = read_baseline(self.base / self.baseline, self.baseline, self.corpora)
            baseline = with_differences(baseline, differs(baseline.manifest, manifest))
        doubts = ["a simulated model answered (--gym-demo)"] if manifest.get("demo") else []
        early = bool(manifest.get("stopped_when_decided"))
        return [
            # What a run left out because its gates were decided counts both ways, where that bounds the number.
            judge(gate, one, Circumstances(self.tolerance, doubts, baseline, asked_all=not (early and is_bounded(gate, one))))
            for gate in gates
            for one in scored
            if gate.matches(one.name)
        ]


def exit_code(results: Sequence[GateResult], scored: Sequence[Scored]) -> int:
    """0 where all gates passed, 1 where not, 4 (usage error) where there are gates and nothing at all was judged."""
    if results and all(one.missing == one.tasks * one.repeats for one in scored):
        return 4
    return 0 if all(result.passed for result in results) else 1
