"""All metrics and intervals of 1,000,000 results: `python tests/performance/metrics.py [TASKS] [REPEATS] [SUBSETS]`, from arrays.

Prints the time of `table.summarise` and its peak memory, arrays included, for which the goals are 5 s and 500 MB; once for binary verdicts
with answers to vote on, once for graded ones with named scores, a corpus metric, a macro mean, clusters and missing verdicts.
"""

from __future__ import annotations

import resource
import sys
import time

import numpy as np

from pytest_gym.derived import Corpus, SubsetMean
from pytest_gym.outcomes import Outcomes
from pytest_gym.table import summarise


def main() -> None:
    tasks, repeats, subsets = (int(word) for word in [*sys.argv[1:], *("31250", "32", "57")[len(sys.argv) - 1 :]])
    empty = peak()
    for name, make in (("binary, votes", binary), ("graded, all there is", graded)):
        outcomes = make(tasks, repeats, subsets)
        began = time.perf_counter()
        found = summarise(outcomes, headline="pass@1" if name.startswith("binary") else "mean_reward")
        took = time.perf_counter() - began
        print(f"{name}: {tasks * repeats:,} results, {len(found['metrics'])} metrics, {subsets} subsets: {took:.1f} s", end=", ")
        print(f"peak {peak() - empty:.0f} MiB above the {empty:.0f} of Python and numpy")
        del outcomes, found


def peak() -> float:
    """The most memory that this process has had, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def drawn(tasks: int, repeats: int, subsets: int) -> tuple[np.random.Generator, np.ndarray, list[str]]:
    random = np.random.default_rng(1)
    passed = (random.random((tasks, repeats)) < random.beta(0.5, 0.5, tasks)[:, None]).astype(float)
    return random, passed, [f"subject {number % subsets:02}" for number in range(tasks)]


def binary(tasks: int, repeats: int, subsets: int) -> Outcomes:
    random, passed, groups = drawn(tasks, repeats, subsets)
    return Outcomes(passed, passed, np.where(passed == 1, 0, random.integers(1, 5, passed.shape)), groups)


def graded(tasks: int, repeats: int, subsets: int) -> Outcomes:
    random, passed, groups = drawn(tasks, repeats, subsets)
    passed[random.random(passed.shape) < 0.01] = np.nan
    rewards = np.where(passed == 1, 1.0, random.random(passed.shape) / 2)
    scores = {"strict": passed, "edits": np.round(20 * (1 - rewards)), "words": np.round(20 + 10 * random.random(passed.shape))}
    derived = {"wer": Corpus("wer", ("edits", "words"), lambda t: t["edits"] / t["words"], "lower"), "macro": SubsetMean("macro")}
    clusters = [f"document {number // 5}" for number in range(tasks)]
    answers = np.where(passed == 1, 0, random.integers(1, 5, passed.shape))
    return Outcomes(rewards, passed, answers, groups, clusters, scores, derived)


if __name__ == "__main__":
    main()
