"""How often a run that stops at 99% is wrong about the full run's verdict, and how much it leaves out.

    python -m tests.simulations.stopping [RUNS]

A stop is false where the full run would give another verdict. The test is looked at after every hundredth of the tasks, as in a run. The
outcomes of a full run are drawn once and then held fixed: independent ones, ones that get harder with the task's number, and ones whose
wrong answers are the short ones, which land first: 256 requests are in flight, and only the completed prefix of the order counts.
"""

from __future__ import annotations

import sys

import numpy as np

from pytest_gym.plan import task_order
from pytest_gym.sequential import surely_above

ERROR = 0.01
IN_FLIGHT = 256


def run(random: np.random.Generator, kind: str, tasks: int, rate: float, threshold: float) -> tuple[bool, float]:
    """Whether one run stopped falsely, and the share of its tasks that it left out."""
    chance = np.full(tasks, rate)
    if kind == "sorted":
        chance = np.clip(rate + np.linspace(0.3, -0.3, tasks), 0, 1)
    outcomes = (random.random(tasks) < chance).astype(float)
    order = np.array(task_order(tasks))
    values = outcomes[order]
    # How long each answer takes; those that are wrong are short.
    seconds = random.exponential(1.0, tasks) * (1.0 if kind != "short first" else np.where(values > 0, 1.0, 0.2))
    landed, free = np.empty(tasks), np.zeros(min(IN_FLIGHT, tasks))
    for place in range(tasks):
        slot = int(np.argmin(free))
        landed[place] = free[slot] = free[slot] + seconds[place]
    until = np.maximum.accumulate(landed)
    for look in np.sort(landed)[:: max(1, tasks // 100)]:
        known = int(np.searchsorted(until, look, side="right"))
        if known < 20:
            continue
        above = surely_above(values[:known], tasks, threshold, ERROR)
        below = surely_above(1 - values[:known], tasks, 1 - threshold, ERROR)
        if above or below:
            return (outcomes.mean() >= threshold) != above, 1 - float(np.count_nonzero(landed <= look)) / tasks
    return False, 0.0


def main(runs: int = 2000) -> None:
    """Print the table of docs/gates.md."""
    print("| tasks | data set | score, gate is `pass@1 >=` | false stops, in % | left out on average, in % |")
    print("|--:|---|---|--:|--:|")
    for tasks in (198, 1319):
        for kind in ("unordered", "sorted", "short first"):
            for rate, threshold in ((0.85, 0.85), (0.85, 0.8), (0.85, 0.7), (0.5, 0.6)):
                random = np.random.default_rng(20)
                found = [run(random, kind, tasks, rate, threshold) for _ in range(runs)]
                false, left = np.mean([wrong for wrong, _ in found]), np.mean([share for _, share in found])
                print(f"| {tasks:,} | {kind} | {rate}, {threshold} | {100 * false:.2f} | {100 * left:.0f} |", flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
