"""Peak memory while rollouts pass through: `python tests/performance/memory.py [CASES]` (100,000 by default).

The same run twice against an endpoint without latency, with answers of 0.1 KB and of 8 KB: texts belong on disk, so the second may not
need much more than the first. Whole process, `-n 0`, plain `-q`.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from measure import Figures, endpoint, pytest, run

CONFIG = """
echo:
  description: Anything goes
  domain: other
  prompt_config: {user: "{question}"}
  verifier: has_text
  datasets:
    - {name: echo, type: benchmark, path: echo.jsonl}
"""

VERIFIER = '''
"""Right if there is any text."""
from pytest_gym import Rollout, Task, Verdict, verifier

@verifier
def has_text(task: Task, rollout: Rollout) -> Verdict:
    return Verdict(float(bool(rollout.text)))
'''


def main() -> None:
    cases = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    folder = Path(tempfile.mkdtemp())
    (folder / "benchmarks" / "echo").mkdir(parents=True)
    (folder / "verifiers").mkdir()
    (folder / "benchmarks" / "echo" / "config.yaml").write_text(CONFIG)
    (folder / "verifiers" / "has_text.py").write_text(VERIFIER)
    with (folder / "benchmarks" / "echo" / "echo.jsonl").open("w") as rows:
        rows.writelines(json.dumps({"question": f"question {number}"}) + "\n" for number in range(cases))
    found: dict[int, Figures] = {}
    for size in (100, 8_000):
        with endpoint(0.0, padding=size) as url:
            words = ["--gym-benchmark=echo", "--gym-model=m", f"--gym-base-url={url}", "--gym-concurrency=256", "-q"]
            found[size] = run(pytest(*words), folder)
        assert found[size].code == 0, found[size].out[-2000:]
        print(f"{cases:,} cases x {size} B: {found[size].memory:.0f} MiB, {cases / found[size].wall:.0f} cases/s", flush=True)
    print(f"8 KB need {found[8_000].memory - found[100].memory:+.0f} MiB beside 0.1 KB")


if __name__ == "__main__":
    main()
