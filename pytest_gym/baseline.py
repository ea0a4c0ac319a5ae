"""The run that gates and the scorecard compare with: reading it, whether it may serve, and what to expect of a comparison with it.

The comparison itself is `compare`'s, the verdict on a gate `gating`'s.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pytest_gym import metrics, paired
from pytest_gym.compare import compare_benchmark
from pytest_gym.gates import Gate
from pytest_gym.scorefile import scored_run
from pytest_gym.scores import Scored
from pytest_gym.stored import StoredRun
from pytest_gym.verify import Corpora


@dataclass(frozen=True)
class Baseline:
    """The run that gates compare with: its outcomes by benchmark, in what its protocol differs (as `compare.differs` says it), and why it
    may not serve (None: it may)."""

    word: str
    benchmarks: Mapping[str, Scored]
    manifest: Mapping[str, Any]
    differs: Sequence[Mapping[str, Any]] = ()
    unfit: str | None = None


def read_baseline(path: Path, word: str, corpora: Corpora) -> Baseline:
    """The run in `path` as a baseline; `corpora` as in `scored_run`. Raises RunError where there is none."""
    run = StoredRun(path, word)
    demo = bool(run.manifest.get("demo"))
    early = run.manifest.get("stopped_when_decided")
    unfit = "is a demo: a simulated model answered" if demo else "was stopped when its own gates were decided" if early else None
    return Baseline(word, scored_run(run, corpora), run.manifest, unfit=unfit)


def with_differences(baseline: Baseline, differs: Sequence[Mapping[str, Any]]) -> Baseline:
    """The baseline with what is known at the end: in what the protocols differ."""
    return replace(baseline, differs=differs)


def expected_power(gate: Gate, before: Scored, repeats: int) -> list[str]:
    """For `>= baseline - x at N%`, before anything is asked: how often a model as good as the baseline would pass. Else nothing."""
    if not gate.baseline or gate.level is None or gate.value >= 0 or not gate.upwards:
        return []
    split = metrics.variance_split(before.outcomes.passed if gate.metric != "mean_reward" else before.outcomes.rewards)
    within = split["within_task"]
    if within is not None:
        spread = [within * (1 / before.repeats + 1 / repeats)]
    else:
        # One repeat does not say how much a task varies: between a tenth and a third of the tasks coming out differently.
        spread = [0.10 / repeats, 1 / 3 / repeats]
    shares = [paired.power_of_equal(-gate.value, math.sqrt(value / max(before.tasks, 1)), gate.level) for value in spread]
    told = " to ".join(f"{share:.0%}" for share in sorted(share for share in shares if share is not None))
    return [f"gate {gate.title(before.name)}: a model exactly as good as the baseline passes in about {told} of such runs"]


def against(baseline: Baseline, scored: Scored) -> str | None:
    """One sentence on the difference to the baseline, None where it has not the benchmark."""
    if scored.name not in baseline.benchmarks:
        return None
    found = compare_benchmark(baseline.benchmarks[scored.name], scored)
    if found["difference"] is None:
        return f"{scored.name}: no task has a verdict here and in the baseline {baseline.word}"
    span = found["range"][1] - found["range"][0] if None not in found["range"] else 1.0
    interval = f" [{100 * found['ci95'][0] / span:+.1f}, {100 * found['ci95'][1] / span:+.1f}]" if found["ci95"] else ""
    moved = f"{len(found['improved']):,} tasks better, {len(found['regressed']):,} worse"
    return (
        f"{scored.name}: {100 * found['difference'] / span:+.1f} points{interval} from {baseline.word}, p {found['p_value']:.3f}; {moved}"
    )
