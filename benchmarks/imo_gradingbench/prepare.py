"""IMO-GradingBench: upstream's table, one row for each graded solution."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pytest_gym.tables import read_rows

_COLUMNS = {
    "problem_id": "Problem ID",
    "problem_statement": "Problem",
    "reference_solution": "Solution",
    "rubric": "Grading guidelines",
    "proof": "Response",
    "points": "Points",
    "source": "Problem Source",
}


def prepare(files: Mapping[str, Path]) -> Iterable[dict[str, Any]]:
    """The id is upstream's Grading ID; the expected grade is its Reward in lower case."""
    for name, path in files.items():
        for row in read_rows(path, name):
            fields = {field: row[column] for field, column in _COLUMNS.items()}
            yield {"id": row["Grading ID"], **fields, "expected_answer": row["Reward"].strip().lower()}
