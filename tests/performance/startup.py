"""What the installed plugin costs who does not use it, and `--gym-list`: `python tests/performance/startup.py [PAIRS]`.

With GYM_SOURCES also the list of a NeMo Gym checkout's 112 benchmarks beside our own.

`pytest --co -q` in an empty folder with the plugin and with `-p no:gym`, in turns, so that a drifting machine harms neither side.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
from pathlib import Path

from measure import pytest, run


def main() -> None:
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    folder = Path(tempfile.mkdtemp())
    commands = {"without": pytest("--co", "-q", "-p", "no:gym"), "with": pytest("--co", "-q"), "list": pytest("--gym-list")}
    checkout = Path(os.environ.get("GYM_SOURCES", "")).resolve() / "nemo_gym_checkout"
    if checkout.is_dir():
        commands["list with NeMo Gym"] = pytest(f"--gym-path={checkout}", "--gym-list")
    cpu: dict[str, list[float]] = {name: [] for name in commands}
    times: dict[str, list[float]] = {name: [] for name in commands}
    for command in commands.values():
        run(command, folder)
    for _ in range(pairs):
        for name, command in commands.items():
            figures = run(command, folder)
            times[name].append(figures.wall)
            cpu[name].append(figures.cpu)
    without, with_ = times["without"], times["with"]
    more = statistics.median(b - a for a, b in zip(without, with_, strict=True))
    print(f"unused: {more * 1000:+.1f} ms (median of {pairs} pairs; {statistics.median(without):.3f} s without the plugin)")
    for name in commands:
        if name.startswith("list"):
            wall, used = statistics.median(times[name]), statistics.median(cpu[name])
            print(f"--gym-{name}: {wall:.3f} s, whole process ({used:.3f} s of processor time)")


if __name__ == "__main__":
    main()
