"""How often the paired tests find a difference where there is none: the table in docs/compare.md.

    python tests/simulations/paired_tests.py [RUNS]

Two runs of one model on the same tasks, whose chances of passing are drawn anew for each pair of runs; in 'clusters' the tasks of a cluster
share one chance, and the values of a cluster move together by a draw of its own. 'graded' rewards are uniform draws.
"""

from __future__ import annotations

import sys

import numpy as np

from pytest_gym.paired import paired_difference

ALPHAS = (0.01, 0.05, 0.10)
REGIMES = {
    "30 tasks x 1, McNemar": (30, 1, "binary"),
    "198 tasks x 1, McNemar": (198, 1, "binary"),
    "1,319 tasks x 1, McNemar": (1_319, 1, "binary"),
    "30 tasks x 4, permutation": (30, 4, "repeats"),
    "198 tasks x 4, permutation": (198, 4, "repeats"),
    "30 tasks graded, permutation": (30, 1, "graded"),
    "198 tasks graded, permutation": (198, 1, "graded"),
    "20 clusters of 8 x 1, permutation": (160, 1, "clusters"),
}


def p_values(tasks: int, repeats: int, kind: str, runs: int, seed: int = 1) -> tuple[np.ndarray, float]:
    """The p-values of `runs` A/A comparisons, and the share of intervals that hold 0."""
    random = np.random.default_rng(seed)
    found, held, told = [], 0, 0
    for number in range(runs):
        clusters = None
        if kind == "graded":
            a, b = random.random(tasks), random.random(tasks)
        elif kind == "clusters":
            clusters = np.repeat(np.arange(tasks // 8), 8)
            shared = [np.repeat(random.random(tasks // 8), 8) for _ in range(2)]
            a, b = ((random.random(tasks) < chance).astype(float) for chance in shared)
        else:
            chance = random.random(tasks)
            a, b = (random.binomial(repeats, chance) / repeats for _ in range(2))
        result = paired_difference(b - a, binary=kind == "binary", clusters=clusters, seed=number)
        assert result is not None
        found.append(result.p_value)
        if result.low is not None and result.high is not None:
            told += 1
            held += result.low <= 0 <= result.high
    return np.array(found), held / told


def main() -> None:
    """Print the table."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 2_000
    for name, (tasks, repeats, kind) in REGIMES.items():
        values, held = p_values(tasks, repeats, kind, runs)
        shares = " | ".join(f"{100 * np.mean(values <= alpha):.1f}" for alpha in ALPHAS)
        print(f"| {name} | {shares} | {100 * held:.1f} |", flush=True)


if __name__ == "__main__":
    main()
