"""AIME 2025: NVIDIA-NeMo/Skills' test.txt, which holds JSON lines, to rows."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


def prepare(files: Mapping[str, Path]) -> Iterable[dict[str, Any]]:
    """The answer stays text as upstream has it; the id is upstream's, `aime25-0` to `aime25-29`."""
    with files["test.txt"].open(encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            yield {
                "id": row["id"],
                "question": row["problem"],
                "expected_answer": row["expected_answer"],
                "reference_solution": row["reference_solution"],
            }
