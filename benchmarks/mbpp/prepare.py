"""MBPP: the tasks 11 to 510 of upstream's mbpp.jsonl, its test split, to rows.

`names` is what the asserts call: the one function that the canonical solution defines and they use. Where a task has set-up code, its
test builds objects of a class of the program (task 367 alone), so that test and program have to share a process: `shared`.
"""

import ast
import json
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


def prepare(files: Mapping[str, Path]) -> Iterable[dict[str, Any]]:
    """Text, asserts and canonical solution as upstream has them, Windows' line ends included; the id is `task_id`."""
    with files["mbpp.jsonl"].open(encoding="utf-8") as lines:
        for row in map(json.loads, lines):
            if 11 <= row["task_id"] <= 510:
                defined = {node.name for node in _parsed(row["code"]).body if isinstance(node, ast.FunctionDef)}
                used = {node.id for test in row["test_list"] for node in ast.walk(_parsed(test)) if isinstance(node, ast.Name)}
                yield {
                    "id": str(row["task_id"]),
                    "text": row["text"],
                    "tests": "\n".join(row["test_list"]),
                    "test": [row["test_setup_code"], *row["test_list"]],
                    "names": sorted(defined & used),
                    "canonical_solution": row["code"],
                    "shared": bool(row["test_setup_code"]),
                }


def _parsed(source: str) -> ast.Module:
    with warnings.catch_warnings():
        # Some solutions have escapes such as "\w" that Python only warns of.
        warnings.simplefilter("ignore")
        return ast.parse(source)
