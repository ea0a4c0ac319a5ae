"""HotpotQA's dev split without its texts: one row for each question of the simplified file."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


def prepare(files: Mapping[str, Path]) -> Iterable[dict[str, Any]]:
    """Rows in upstream's order; the file has no ids, so the id is the row's number."""
    (path,) = files.values()
    for number, row in enumerate(json.loads(path.read_text(encoding="utf-8"))):
        yield {"id": f"{number:04d}", "question": row["question"], "expected_answer": row["answer"], "type": row["type"]}
