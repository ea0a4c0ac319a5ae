"""XSTest: upstream's table of prompts to rows, `id` as it is there; what is unsafe has the label unsafe."""

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


def prepare(files: Mapping[str, Path]) -> Iterable[dict[str, Any]]:
    """Prompt, kind of prompt and label as upstream has them."""
    with files["xstest_prompts.csv"].open(encoding="utf-8", newline="") as table:
        for row in csv.DictReader(table):
            yield {key: row[key] for key in ("id", "prompt", "type", "label")}
