"""Simulated coverage of the 95% intervals, as a Markdown table for docs/: `python tests/simulations/interval_coverage.py [runs]`.

Not collected by pytest. Every regime says how its data are made; the truth is the mean of the population that the tasks are drawn from.
Regimes with at least ten expected passes and failures over the tasks must come out between 93 and 97 %, the others ("few") at 91 % or more.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable, Iterator

import numpy as np

from pytest_gym import intervals
from pytest_gym.metrics import task_means

Drawn = tuple[np.ndarray, np.ndarray | None]
Regime = tuple[str, float, Callable[[np.random.Generator], Drawn], bool, bool]


def attempts(m: int, repeats: int, mean: float, concentration: float) -> Callable[[np.random.Generator], Drawn]:
    """Tasks with a chance of passing drawn from Beta(mean · c, (1 − mean) · c); repeats independent given the task."""

    def draw(random: np.random.Generator) -> Drawn:
        chance = random.beta(mean * concentration, (1 - mean) * concentration, m)
        return (random.random((m, repeats)) < chance[:, None]).astype(float), None

    return draw


def clustered(groups: int, size: int, repeats: int, mean: float, concentration: float) -> Callable[[np.random.Generator], Drawn]:
    """Clusters with a chance from Beta(mean · c, (1 − mean) · c), and sizes from 1 to 2 · size − 1; their tasks share the chance."""

    def draw(random: np.random.Generator) -> Drawn:
        sizes = random.integers(1, 2 * size, groups)
        names = np.repeat(np.arange(groups), sizes)
        chance = random.beta(mean * concentration, (1 - mean) * concentration, groups)[names]
        return (random.random((len(names), repeats)) < chance[:, None]).astype(float), names

    return draw


def graded(m: int, sample: Callable[[np.random.Generator, int], np.ndarray]) -> Callable[[np.random.Generator], Drawn]:
    """One graded reward per task, drawn by `sample`."""
    return lambda random: (sample(random, m)[:, None], None)


def regimes() -> Iterator[Regime]:
    """Name, truth, how a run is drawn, whether verdicts are binary, whether the regime is one of the few."""
    for m in (30, 198, 1319):
        for repeats in (1, 4, 32):
            for mean in (0.02, 0.1, 0.5, 0.9):
                if m == 1319 and repeats == 32 and mean != 0.5:
                    continue
                few = min(mean, 1 - mean) * m < 10
                yield f"{m} tasks x {repeats}, mean {mean}, Beta sum 2", mean, attempts(m, repeats, mean, 2.0), True, few
    for concentration in (0.3, 20.0):
        yield f"30 tasks x 32, mean 0.5, Beta sum {concentration}", 0.5, attempts(30, 32, 0.5, concentration), True, False
        yield f"30 tasks x 32, mean 0.05, Beta sum {concentration}", 0.05, attempts(30, 32, 0.05, concentration), True, True
        yield f"198 tasks x 4, mean 0.1, Beta sum {concentration}", 0.1, attempts(198, 4, 0.1, concentration), True, False
    for groups, size, repeats, mean in ((8, 10, 1, 0.5), (20, 10, 1, 0.5), (20, 10, 1, 0.9), (60, 5, 4, 0.7), (60, 5, 1, 0.05)):
        few = groups * min(mean, 1 - mean) < 10
        yield (
            f"{groups} clusters of about {size} x {repeats}, mean {mean}, Beta sum 2",
            mean,
            clustered(groups, size, repeats, mean, 2.0),
            True,
            few,
        )
    for m in (30, 100, 500):
        yield f"{m} graded, uniform", 0.5, graded(m, lambda random, n: random.random(n)), False, False
        yield f"{m} graded, Beta(0.3, 2)", 0.3 / 2.3, graded(m, lambda random, n: random.beta(0.3, 2, n)), False, m * 0.3 / 2.3 < 10
        yield f"{m} graded, Beta(8, 1)", 8 / 9, graded(m, lambda random, n: random.beta(8, 1, n)), False, m / 9 < 10


def coverage(regime: Regime, runs: int) -> tuple[float, float, float, dict[str | None, int]]:
    """Share of runs whose interval holds the truth, shares that lie wholly below and above it, and how often each method was chosen."""
    name, truth, draw, binary, _ = regime
    random = np.random.default_rng(zlib.crc32(name.encode()))
    below = above = 0
    methods: dict[str | None, int] = {}
    for _ in range(runs):
        attempts_, clusters = draw(random)
        found = intervals.interval(task_means(attempts_), verdicts=attempts_.size, binary=binary, clusters=clusters)
        assert found.low is not None and found.high is not None
        below += found.high < truth - 1e-12
        above += found.low > truth + 1e-12
        methods[found.method] = methods.get(found.method, 0) + 1
    return 1 - (below + above) / runs, below / runs, above / runs, methods


def main() -> None:
    """Print the table, and end with 1 where a regime misses its mark by more than three Monte-Carlo standard errors."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    missed = 0
    print("| regime | coverage % | below % | above % | methods | |\n|---|--:|--:|--:|---|---|")
    for regime in regimes():
        held, below, above, methods = coverage(regime, runs)
        few = regime[4]
        least, most = (0.91, 1.0) if few else (0.93, 0.97)
        slack = 3 * (0.05 * 0.95 / runs) ** 0.5 if runs < 20_000 else 0.0
        bad = not least - slack <= held <= most + slack
        missed += bad
        used = ", ".join(f"{name} {count / runs:.0%}" for name, count in sorted(methods.items(), key=lambda item: -item[1]))
        mark = ("few" if few else "") + (" MISSED" if bad else "" if least <= held <= most else " within noise")
        print(f"| {regime[0]} | {100 * held:.1f} | {100 * below:.1f} | {100 * above:.1f} | {used} | {mark} |", flush=True)
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
