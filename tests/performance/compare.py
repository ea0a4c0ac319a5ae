"""Looking at runs of 1,000,000 results each: `python tests/performance/compare.py [TASKS] [REPEATS] [SUBSETS]`, from `scores.csv.gz`.

Prints the time and peak memory of `--gym-compare` of two and of `--gym-profile` of one, for which the goal is 15 s, and what of it is
reading. The verdicts are graded and named scores stand beside them, so that every metric that there is has to be tested.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from measure import pytest, run

from pytest_gym.scorefile import SCORES, read_scores, write_scores
from pytest_gym.scores import Scored, outcomes_of

CONFIG = """
big:
  prompt_config: {user: "{question}"}
  verifier: exact_match
  datasets: [{name: big, path: big.jsonl}]
"""


def main() -> None:
    tasks, repeats, subsets = (int(word) for word in [*sys.argv[1:], *("31250", "32", "57")[len(sys.argv) - 1 :]])
    folder = Path(tempfile.mkdtemp())
    try:
        home = folder / "benchmarks" / "big"
        home.mkdir(parents=True)
        (home / "config.yaml").write_text(CONFIG)
        with (home / "big.jsonl").open("w") as out:
            for number in range(2):
                out.write(json.dumps({"question": f"What is {number} + 1?", "expected_answer": str(number + 1)}) + "\n")
        # A real run gives a manifest that is true in all that does not concern its size.
        seed = run(pytest("--gym-benchmark=big", "--gym-demo", "--gym-repeats=2", "--gym-output=seed"), folder)
        assert seed.code == 0, seed.out
        chance = np.random.default_rng(1).beta(0.5, 0.5, tasks)
        for number, word in enumerate(("old", "new")):
            write_run(folder, word, chance, repeats, subsets, number)
        manifest = json.loads((folder / "old" / "run.json").read_text())
        began = time.perf_counter()
        read_scores(folder / "old" / SCORES, manifest)
        reading = time.perf_counter() - began
        found = run(pytest("--gym-compare=old,new"), folder)
        assert found.code == 0 and f"{tasks:,} of {tasks:,} tasks paired" in found.out, found.out
        alone = run(pytest("--gym-profile=old"), folder)
        assert alone.code == 0 and f"{tasks:,} tasks x {repeats} repeats, all scored" in alone.out, alone.out
    finally:
        shutil.rmtree(folder)
    print(f"2 runs, {tasks * repeats:,} results each, {subsets} subsets: {found.wall:.1f} s, {found.cpu:.1f} s of processor")
    print(f"peak memory {found.memory:.0f} MiB; reading one of the two files takes {reading:.1f} s")
    print(f"the profile of one: {alone.wall:.1f} s, {alone.cpu:.1f} s of processor, peak memory {alone.memory:.0f} MiB")


def write_run(folder: Path, word: str, chance: np.ndarray, repeats: int, subsets: int, seed: int) -> None:
    """A run folder with the manifest of `seed` and outcomes of these chances."""
    random = np.random.default_rng(seed + 2)
    tasks, shape = len(chance), (len(chance), repeats)
    passed = (random.random(shape) < chance[:, None]).astype(float)
    part = random.random(shape)
    answers = np.where(passed == 1, 0, random.integers(1, 5, shape))
    groups = [f"subject {number % subsets:02}" for number in range(tasks)] if subsets else [None] * tasks
    outcomes = outcomes_of(np.where(passed == 1, 1.0, part / 2), passed, answers, groups, [None] * tasks, {"strict": passed, "part": part})
    shutil.copytree(folder / "seed", folder / word)
    path = folder / word / "run.json"
    manifest = json.loads(path.read_text())
    manifest["planned"]["cases"] = tasks * repeats
    path.write_text(json.dumps(manifest))
    # The metric is the seed's own; what the file says of it is what a run of this size would say.
    metric = read_scores(folder / "seed" / SCORES, manifest)["big"].metric
    scored = Scored(
        "big", metric, [f"{number:05}" for number in range(tasks)], ["0123456789abcdef"] * tasks, outcomes,
        np.ones(shape, dtype=np.uint8), random.integers(20, 2_000, shape).astype(np.float32), random.random(shape).astype(np.float32),
        {}, [f"{code:012x}" for code in range(5)], "subject",
    )  # fmt: skip
    write_scores(folder / word / SCORES, [scored])


if __name__ == "__main__":
    main()
