"""MMMLU: one table for each language to rows."""

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pytest_gym.choices import choice_row


def prepare(files: Mapping[str, Path]) -> Iterable[dict[str, Any]]:
    """The language is in the file's name; the id is language and upstream's row number, which stands in the first column."""
    for name, path in files.items():
        language = Path(name).stem.removeprefix("mmlu_")
        with path.open(encoding="utf-8", newline="") as lines:
            table = list(csv.DictReader(lines, strict=True))
        for row in table:
            fields = choice_row(row["Question"], [row[letter] for letter in "ABCD"], row["Answer"])
            yield {"id": f"{language}-{row['']}", **fields, "language": language, "subject": row["Subject"]}
