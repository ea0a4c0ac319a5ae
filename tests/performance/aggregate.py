"""Merging ten shards of 100,000 results each: `python tests/performance/aggregate.py [TASKS] [BYTES]`, each task with ten repeats.

Prints the time and peak memory of `--gym-aggregate`, and what of it is more than merging the same runs with 100 bytes a result.
At the default of 8 KB it needs some 17 GB of disk below the temporary folder (TMPDIR) while it runs.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from measure import Figures, pytest, run

SHARDS = REPEATS = 10
CONFIG = """
big:
  prompt_config: {user: "{question}"}
  verifier: exact_match
  datasets: [{name: big, path: big.jsonl}]
"""


def main() -> None:
    tasks = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    size = int(sys.argv[2]) if len(sys.argv) > 2 else 8192
    folder = Path(tempfile.mkdtemp())
    try:
        home = folder / "benchmarks" / "big"
        home.mkdir(parents=True)
        (home / "config.yaml").write_text(CONFIG)
        with (home / "big.jsonl").open("w") as out:
            for number in range(tasks):
                out.write(json.dumps({"question": f"What is {number} + 1?", "expected_answer": str(number + 1)}) + "\n")
        small, large = measured(folder, tasks, 100), measured(folder, tasks, size)
    finally:
        shutil.rmtree(folder)
    results = tasks * REPEATS
    print(
        f"{SHARDS} runs, {results:,} results of {size:,} bytes: {large.wall:.0f} s, {large.cpu:.0f} s of processor, {large.memory:.0f} MiB"
    )
    print(f"with 100 bytes each: {small.wall:.0f} s, {small.memory:.0f} MiB; difference {large.memory - small.memory:.0f} MiB")
    print(f"a result costs {1e6 * large.cpu / results:.0f} µs of processor and {large.memory * 2**20 / results:.0f} bytes, all included")


def measured(folder: Path, tasks: int, size: int) -> Figures:
    """Make the runs, merge them, and throw all of it away."""
    # One real task gives a manifest that is true in all that does not concern its size.
    words = ("--gym-benchmark=big", "--gym-demo", f"--gym-repeats={REPEATS}", f"--gym-shard=1/{tasks}", "--gym-output=seed")
    seed = run(pytest(*words), folder)
    assert seed.code == 0, seed.out
    manifest = json.loads((folder / "seed" / "run.json").read_text())
    line = json.loads((folder / "seed" / "rollouts.jsonl").read_text().splitlines()[0])
    for index in range(1, SHARDS + 1):
        write_run(
            folder / f"run-{index}", {**manifest, "shard": {"index": index, "count": SHARDS}}, line, range(index - 1, tasks, SHARDS), size
        )
    done = run(pytest("--gym-aggregate=run-*", "--gym-output=all"), folder)
    assert done.code == 0 and f"{tasks * REPEATS:,} of {tasks * REPEATS:,} planned cases have a result" in done.out, done.out
    for path in (*folder.glob("run-*"), folder / "all", folder / "seed"):
        shutil.rmtree(path)
    return done


def write_run(path: Path, manifest: dict[str, Any], line: dict[str, Any], rows: range, size: int) -> None:
    """A finished run with results of about `size` bytes for `rows`; some of the answers are wrong."""
    path.mkdir()
    (path / "run.json").write_text(json.dumps({**manifest, "planned": {"cases": len(rows) * REPEATS, "selection": {}}}))
    with (path / "rollouts.jsonl").open("w") as out:
        for row in rows:
            question, answer = f"What is {row} + 1?", str(row + 1)
            for repeat in range(REPEATS):
                right = (row * 7 + repeat * 13) % 10 > 3
                text = "so it goes on " * (size // 14) + (answer if right else "0")
                messages = [{"role": "user", "content": question}, {"role": "assistant", "content": text}]
                verdict = {"reward": float(right), "passed": right, "extracted": answer if right else "0"}
                own = {"task_id": f"{row:04d}", "repeat": repeat, "messages": messages, "text": text[-60:]}
                out.write(json.dumps({**line, **verdict, **own, "_ng_task_index": row, "_ng_rollout_index": repeat}) + "\n")


if __name__ == "__main__":
    main()
