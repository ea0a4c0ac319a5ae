"""How close a run of GSM8K comes to the ideal: `GYM_SOURCES=DIR python tests/performance/gsm8k.py [CONNECTIONS …]`.

1,319 cases against an endpoint of one second's latency, whole process, `-n 0`: ratio to waves × latency, and processor time per case.
Then `-n 16` beside an empty `-n 16` session, and the rate at no latency. Every figure is of this one run on this one machine.
"""

from __future__ import annotations

import math
import os
import sys
import tempfile
from pathlib import Path

from measure import Figures, endpoint, pytest, run

CASES, LATENCY = 1319, 1.0
WORKERS = 16


def main() -> None:
    source = Path(os.environ["GYM_SOURCES"]).resolve() / "gsm8k" / "test.jsonl"
    connections = [int(word) for word in sys.argv[1:]] or [64, 256, 1024]
    folder = Path(tempfile.mkdtemp())
    (folder / "test_empty.py").write_text("def test_empty(): pass\n")

    def job(url: str, number: int, *words: str) -> Figures:
        given = ["--gym-benchmark=gsm8k", "--gym-model=m", f"--gym-base-url={url}", f"--gym-concurrency={number}", "-q"]
        done = run(pytest(*given, *words), folder)
        assert done.code == 0, done.out
        return done

    with endpoint(LATENCY, source) as url:
        job(url, 1024, "--gym-limit=20")  # prepares the data, writes the byte code
        for number in connections:
            ideal = math.ceil(CASES / number) * LATENCY
            done = job(url, number)
            print(
                f"-n 0, {number:>5} connections: {done.wall:6.2f} s = {done.wall / ideal:.2f} x ideal ({ideal:.0f} s), "
                f"{done.cpu / CASES * 1000:.2f} ms of CPU a case, {done.memory:.0f} MiB"
            )
        number = connections[-1]
        single, empty = job(url, number), run(pytest("-q", "-n", str(WORKERS), "test_empty.py"), folder)
        spread = job(url, number, "-n", str(WORKERS))
        print(
            f"-n {WORKERS}, {number} connections: {spread.wall:.2f} s = {spread.wall / (single.wall + empty.wall):.2f} x "
            f"(the -n 0 run {single.wall:.2f} s + an empty -n {WORKERS} session {empty.wall:.2f} s)"
        )
    with endpoint(0.0, source) as url:
        few, all_ = job(url, 64, "--gym-limit=19"), job(url, 64)
        print(f"no latency, -n 0, 64 connections: {(CASES - 19) / (all_.wall - few.wall):.0f} cases/s beyond start-up")


if __name__ == "__main__":
    main()
