"""StructEval: upstream's list of tasks that need no rendering, one row each."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

_KEPT = ("task_name", "query", "input_type", "output_type", "raw_output_metric")


def prepare(files: Mapping[str, Path]) -> Iterable[dict[str, Any]]:
    """The id is upstream's `task_id`; paths that are there twice stay so, since each counts."""
    (path,) = files.values()
    for row in json.loads(path.read_text(encoding="utf-8")):
        yield {"id": str(row["task_id"]), **{name: row[name] for name in _KEPT}}
