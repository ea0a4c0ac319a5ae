"""Competition mathematics as most publishers give it: a table with a problem and one final answer in each row."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pytest_gym.tables import read_rows

_IDS = ("id", "problem_idx", "unique_id")
_KEPT = ("reference_solution", "solution", "subject", "type", "level", "url", "subset_for_metrics")


def prepare(files: Mapping[str, Path]) -> Iterable[dict[str, Any]]:
    """The id is upstream's, else the row's number; a whole number that upstream writes as 27.0 is 27."""
    ((name, path),) = files.items()
    # Some publishers call JSON lines .txt.
    for number, row in enumerate(read_rows(path, name.replace(".txt", ".jsonl"))):
        answer = row["expected_answer"] if "expected_answer" in row else row["answer"]
        own = next((row[key] for key in _IDS if row.get(key) is not None), f"{number:04d}")
        yield {
            "id": str(own),
            "question": row["problem"] if "problem" in row else row["question"],
            "expected_answer": str(int(answer)) if isinstance(answer, float) and answer.is_integer() else str(answer),
            **{key: row[key] for key in _KEPT if row.get(key) is not None},
        }
