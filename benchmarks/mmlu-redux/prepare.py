"""MMLU-Redux 2.0: one table for each subject to rows, with the annotators' corrections."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pytest_gym.choices import choice_row
from pytest_gym.tables import read_rows


def prepare(files: Mapping[str, Path]) -> Iterable[dict[str, Any]]:
    """Kept are rows without an error, and those whose wrong answer was replaced by a single letter. The id is subject and row number."""
    for name, path in files.items():
        subject = Path(name).stem
        for number, row in enumerate(read_rows(path, name)):
            if row["error_type"] == "ok":
                right: int | str = int(row["answer"])
            elif row["error_type"] == "wrong_groundtruth" and row["correct_answer"] in ("A", "B", "C", "D"):
                right = row["correct_answer"]
            else:
                continue
            fields = choice_row(row["question"].strip(), [str(option) for option in row["choices"]], right)
            yield {"id": f"{subject}-{number:04d}", **fields, "subject": subject, "source": row["source"]}
