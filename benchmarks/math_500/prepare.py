"""MATH-500: the 500 test problems of openai/prm800k, one row for each line, to rows."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


def prepare(files: Mapping[str, Path]) -> Iterable[dict[str, Any]]:
    """Every upstream field, with the names that the math verifier and prompt read; the id is upstream's `unique_id`."""
    with files["test.jsonl"].open(encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            yield {
                "id": row["unique_id"],
                "question": row["problem"],
                "problem": row["problem"],
                "expected_answer": row["answer"],
                "reference_solution": row["solution"],
                "subject": row["subject"],
                "level": row["level"],
                "unique_id": row["unique_id"],
            }
