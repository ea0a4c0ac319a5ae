"""How often gates pass that should not, and how often a model as good as the baseline passes: the tables in docs/gates.md.

    python tests/simulations/gates.py [RUNS]

Each task's chance of passing is drawn from a beta distribution with the mean named and a sum of parameters of 2, anew in each run. 'At the
threshold' means that the model's true score is the gate's, or the baseline's less the margin: each chance shrunk by the same share.
"""

from __future__ import annotations

import math
import sys

import numpy as np

from pytest_gym.baseline import Baseline
from pytest_gym.benchmark import Metric
from pytest_gym.gates import parse
from pytest_gym.gating import Circumstances, judge
from pytest_gym.outcomes import Outcomes
from pytest_gym.paired import paired_difference, power_of_equal
from pytest_gym.scores import Scored

SIZES = (30, 198, 1_319)


def run_of(passed: np.ndarray) -> Scored:
    """A run with these verdicts, float[m, K]."""
    m = len(passed)
    nothing = np.full(passed.shape, np.nan, dtype=np.float32)
    outcomes = Outcomes(passed, passed, None, [None] * m)
    return Scored("sums", Metric(), [str(n) for n in range(m)], [""] * m, outcomes, np.ones(passed.shape, dtype=np.uint8), nothing, nothing)


def drawn(random: np.random.Generator, chance: np.ndarray, repeats: int) -> np.ndarray:
    """Verdicts of tasks with these chances of passing."""
    return (random.random((len(chance), repeats)) < chance[:, None]).astype(float)


def at_the_score(m: int, repeats: int, mean: float, runs: int, seed: int = 1) -> float:
    """The share of runs in which a model whose true score is the threshold passes `at 95%`."""
    random, gate, passed = np.random.default_rng(seed), parse(f"pass@1 >= {mean} at 95%"), 0
    for _ in range(runs):
        chance = random.beta(2 * mean, 2 * (1 - mean), m)
        passed += judge(gate, run_of(drawn(random, chance, repeats)), Circumstances()).passed
    return passed / runs


def at_the_baseline(m: int, repeats: int, margin: float, runs: int, seed: int = 2) -> float:
    """The share in which a model that is worse than the baseline by exactly the margin passes."""
    random, gate, passed = np.random.default_rng(seed), parse(f"pass@1 >= baseline - {margin} at 95%"), 0
    for _ in range(runs):
        chance = random.uniform(0, 1, m)
        # The expected score is lower by the margin: each task's chance shrinks by the same share.
        base, run = run_of(drawn(random, chance, repeats)), run_of(drawn(random, chance * (1 - 2 * margin), repeats))
        passed += judge(gate, run, Circumstances(baseline=Baseline("old", {"sums": base}, {}))).passed
    return passed / runs


def equal_model(m: int, repeats: int, margin: float, runs: int, seed: int = 3) -> tuple[float, float]:
    """The share in which a model exactly as good as the baseline passes, and the mean of the power that the gates printed."""
    random, gate, passed, told = np.random.default_rng(seed), parse(f"pass@1 >= baseline - {margin} at 95%"), 0, []
    for _ in range(runs):
        chance = random.uniform(0, 1, m)
        base, run = run_of(drawn(random, chance, repeats)), run_of(drawn(random, chance, repeats))
        passed += judge(gate, run, Circumstances(baseline=Baseline("old", {"sums": base}, {}))).passed
        values = (run.outcomes.passed - base.outcomes.passed).mean(axis=1)
        found = paired_difference(values, binary=repeats == 1)
        assert found is not None
        told.append(power_of_equal(margin, found.se) or 0.0)
    return passed / runs, float(np.mean(told))


def main() -> None:
    """Print the tables."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 2_000
    most = 0.025 + 3 * math.sqrt(0.025 * 0.975 / runs)
    print(f"at most {100 * most:.1f}")
    for m in SIZES:
        for repeats in (1, 4):
            scores = " | ".join(f"{100 * at_the_score(m, repeats, mean, runs):.1f}" for mean in (0.5, 0.7, 0.9))
            worse = 100 * at_the_baseline(m, repeats, 0.02, runs)
            share, told = equal_model(m, repeats, 0.02, runs)
            print(f"| {m:,} x {repeats} | {scores} | {worse:.1f} | {100 * share:.1f} | {100 * told:.1f} |", flush=True)


if __name__ == "__main__":
    main()
