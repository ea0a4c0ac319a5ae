"""HumanEval: upstream's HumanEval.jsonl.gz, one row for each line, to rows; every field stays as it is, blanks included."""

import gzip
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


def prepare(files: Mapping[str, Path]) -> Iterable[dict[str, Any]]:
    """`prompt`, `entry_point`, `canonical_solution` and `test` as upstream has them; the id is `task_id`."""
    with gzip.open(files["HumanEval.jsonl.gz"], "rt", encoding="utf-8") as lines:
        for row in map(json.loads, lines):
            yield {"id": row["task_id"], **row}
