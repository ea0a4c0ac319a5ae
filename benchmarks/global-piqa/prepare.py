"""Global PIQA: one table for each language to rows."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pytest_gym.tables import read_rows


def prepare(files: Mapping[str, Path]) -> Iterable[dict[str, Any]]:
    """The language is in the file's name; the id is language and row number."""
    for name, path in files.items():
        language = Path(name).stem.removeprefix("nonparallel_")
        for number, row in enumerate(read_rows(path, name)):
            first, second = row["solution0"].strip(), row["solution1"].strip()
            letter = "AB"[int(row["label"])]
            yield {
                "id": f"{language}-{number:04d}",
                "question": row["prompt"].strip(),
                "A": first,
                "B": second,
                "options": [{"A": first}, {"B": second}],
                "expected_answer": letter,
                "reference_response": f"The best answer is: {letter}",
                "language": language,
            }
