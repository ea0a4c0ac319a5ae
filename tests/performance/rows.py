"""A benchmark of 200,000 rows, of which a run needs ten: `python tests/performance/rows.py [ROWS]`.

Loading is what a run does before its first case: preparing, opening and planning. The first time the rows are read and indexed, from then
on the index is enough. Below it a whole run of ten demo cases, serially and with a worker, as whole processes.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

import measure

from pytest_gym.catalogue import Catalogue, builtin_root
from pytest_gym.plan import Plan
from pytest_gym.resolve import open_dataset, select

CONFIG = """
large:
  prompt_config: {user: "{question}"}
  verifier: {name: exact_match, field: answer}
  subset: topic
  datasets:
    - path: large.jsonl
"""


def main() -> None:
    """Make the rows, then time."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 200_000
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        folder = root / "benchmarks" / "large"
        folder.mkdir(parents=True)
        (folder / "config.yaml").write_text(CONFIG)
        with (folder / "large.jsonl").open("w") as file:
            for number in range(rows):
                row = {"id": f"q{number}", "question": f"What is {number}+1? " + "word " * 60, "answer": str(number + 1)}
                file.write(json.dumps({**row, "topic": f"topic {number % 57}"}) + "\n")
        size = (folder / "large.jsonl").stat().st_size / 1e6
        print(f"{rows:,} rows, {size:.0f} MB")
        time.sleep(0.2)
        for label, limit in (("loading, not indexed", "10"), ("loading, indexed", "10"), ("with a seeded sample", "10@7")):
            seconds = load(root, limit)
            print(f"{label:<24}{seconds:8.3f} s")
        for words in ((), ("-n1",)):
            command = measure.pytest(
                f"--gym-path={root}", "--gym-benchmark=large", "--gym-demo", "--gym-limit=10", "--gym-repeats=1", *words
            )
            command += [f"--gym-set=data.cache={root / 'cache'}", "-q"]
            figures = measure.run(command, root)
            print(f"{'ten cases ' + ' '.join(words):<24}{figures.wall:8.3f} s  (exit code {figures.code})")


def load(root: Path, limit: str) -> float:
    """Seconds from the name to the plan of ten cases."""
    catalogue = Catalogue([root, builtin_root()])
    began = time.perf_counter()
    benchmark = catalogue.benchmark("large")
    selected = select(catalogue, benchmark, split=None, demo=False, where="")
    opened = open_dataset(selected, cache=root / "cache", sources=None, lock=None, progress=lambda line: None)
    plan = Plan()
    plan.add(benchmark, opened.dataset, repeats=1, limit=limit, index=Path())
    plan.task(0)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
