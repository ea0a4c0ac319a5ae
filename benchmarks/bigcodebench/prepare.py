"""BigCodeBench's parquet to rows: the instruct prompt up to its starter code, the starter code in a fence, and the test."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pytest_gym.errors import DataError
from pytest_gym.tables import read_rows

STARTER = "You should write self-contained code starting with:"
FENCE = "```"


def prepare(files: Mapping[str, Path]) -> Iterable[dict[str, Any]]:
    """The id is upstream's `task_id`; four blanks are a tab in the prompt, as in NeMo Gym. Raises DataError for another prompt."""
    for name, path in files.items():
        for row in read_rows(path, name):
            text, found, _ = row["instruct_prompt"].partition(STARTER)
            if not found:
                raise DataError(f"{name}: task {row['task_id']!r}, field 'instruct_prompt': does not have {STARTER!r}")
            code = row["code_prompt"]
            fenced = code if f"{FENCE}python" in code else f"{FENCE}python\n{code}\n{FENCE}"
            yield {
                "id": row["task_id"],
                "question": f"{text.strip()}\n\n{STARTER}\n{fenced}".replace("    ", "\t"),
                "verifier_metadata": {
                    "test": row["test"],
                    "entry_point": row["entry_point"],
                    "code_prompt": code,
                    "canonical_solution": row["canonical_solution"],
                },
            }
