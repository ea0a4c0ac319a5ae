"""IFBench: upstream's IFBench_test.jsonl, one row for each line, to rows; `key` is the id."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


def prepare(files: Mapping[str, Path]) -> Iterable[dict[str, Any]]:
    """Prompt, instructions and their arguments as upstream has them."""
    with files["IFBench_test.jsonl"].open(encoding="utf-8") as lines:
        for row in map(json.loads, lines):
            yield {
                "id": str(row["key"]),
                "prompt": row["prompt"],
                "instruction_id_list": row["instruction_id_list"],
                "kwargs": row["kwargs"],
            }
