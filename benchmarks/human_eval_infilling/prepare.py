"""HumanEval infilling: upstream's gzipped JSON lines, one row for each, to rows; `prompt` there is `prefix` here, blanks are kept."""

import gzip
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


def prepare(files: Mapping[str, Path]) -> Iterable[dict[str, Any]]:
    """Prefix, suffix, the missing piece, entry point and test; the id is upstream's `task_id`."""
    (file,) = files.values()
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        for row in map(json.loads, lines):
            yield {
                "id": row["task_id"],
                "prefix": row["prompt"],
                "suffix": row["suffix"],
                "canonical_solution": row["canonical_solution"],
                "entry_point": row["entry_point"],
                "test": row["test"],
            }
