"""Collecting 100,000 cases beside collecting nothing: `python tests/performance/collect.py [CASES]`."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from measure import pytest, run

CONFIG = """
big:
  prompt_config: {user: "{question}"}
  verifier: exact_match
  datasets: [{name: big, path: big.jsonl}]
"""


def main() -> None:
    cases = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    folder = Path(tempfile.mkdtemp())
    home = folder / "benchmarks" / "big"
    home.mkdir(parents=True)
    (home / "config.yaml").write_text(CONFIG)
    with (home / "big.jsonl").open("w") as out:
        for number in range(cases):
            out.write(json.dumps({"question": f"What is {number} + 1?", "expected_answer": str(number + 1)}) + "\n")
    run(pytest("--co", "-q"), folder)
    empty = run(pytest("--co", "-q"), folder)
    full = run(pytest("--co", "-qq", "--gym-benchmark=big"), folder)
    assert full.code == 0, full.out
    print(f"{cases:,} cases: {full.wall - empty.wall:.2f} s and {full.memory - empty.memory:.0f} MiB beyond an empty session")
    print(f"whole process: {full.wall:.2f} s, {full.memory:.0f} MiB; an empty one {empty.wall:.2f} s, {empty.memory:.0f} MiB")


if __name__ == "__main__":
    main()
