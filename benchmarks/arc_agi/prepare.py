"""ARC-AGI: the evaluation tasks of upstream's archive, one row for each test input, to rows."""

import json
import re
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

_TASK = re.compile(r"(?:.*/)?evaluation/(\w+)\.json")


def prepare(files: Mapping[str, Path]) -> Iterable[dict[str, Any]]:
    """Tasks in the order of their ids; `pairs` are the training pairs as text, `test` the input whose output is wanted."""
    (path,) = files.values()
    tasks = {}
    with tarfile.open(path) as archive:
        for member in archive:
            if (match := _TASK.fullmatch(member.name)) and (file := archive.extractfile(member)):
                tasks[match[1]] = json.load(file)
    for name, task in sorted(tasks.items()):
        pairs = [
            f"Example {number}\n\nInput:\n{_shown(pair['input'])}\n\nOutput:\n{_shown(pair['output'])}"
            for number, pair in enumerate(task["train"], 1)
        ]
        for number, pair in enumerate(task["test"]):
            yield {
                "id": f"{name}-{number}",
                "task": name,
                "pairs": "\n\n".join(pairs),
                "test": _shown(pair["input"]),
                "expected_output": pair["output"],
            }


def _shown(grid: list[list[int]]) -> str:
    return "\n".join(" ".join(map(str, row)) for row in grid)
