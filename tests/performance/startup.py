"""What the installed plugin costs who does not use it, and `--gym-list`: `python tests/performance/startup.py [PAIRS]`.

`pytest --co -q` in an empty folder with the plugin and with `-p no:gym`, in turns, so that a drifting machine harms neither side.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path

from measure import pytest, run


def main() -> None:
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    folder = Path(tempfile.mkdtemp())
    commands = {"without": pytest("--co", "-q", "-p", "no:gym"), "with": pytest("--co", "-q"), "list": pytest("--gym-list")}
    times: dict[str, list[float]] = {name: [] for name in commands}
    for command in commands.values():
        run(command, folder)
    for _ in range(pairs):
        for name, command in commands.items():
            times[name].append(run(command, folder).wall)
    without, with_ = times["without"], times["with"]
    more = statistics.median(b - a for a, b in zip(without, with_, strict=True))
    print(f"unused: {more * 1000:+.1f} ms (median of {pairs} pairs; {statistics.median(without):.3f} s without the plugin)")
    print(f"--gym-list: {statistics.median(times['list']):.3f} s, whole process")


if __name__ == "__main__":
    main()
