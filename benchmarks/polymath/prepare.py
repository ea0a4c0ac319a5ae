"""PolyMath: one table for each language and level, every problem with upstream's closing note in its language."""

import ast
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pytest_gym.tables import read_rows


def prepare(files: Mapping[str, Path]) -> Iterable[dict[str, Any]]:
    """The notes come from upstream's instruction.py, which is read as data and not run. The id is language, level and the row's number."""
    notes = _notes(files["instruction.py"])
    for name, path in files.items():
        if name == "instruction.py":
            continue
        language, level = Path(name).stem.split("-")
        for number, row in enumerate(read_rows(path, name)):
            yield {
                "id": f"{language}-{level}-{number:03d}",
                "question": f"{row['question']}\n\n{notes[language]}".strip(),
                "problem": row["question"],
                "expected_answer": row["answer"],
                "language": language,
                "level": level,
                "stratum": f"{language}/{level}",
            }


def _notes(path: Path) -> dict[str, str]:
    with warnings.catch_warnings():
        # Upstream writes \{ in texts, of which Python complains and which it leaves as it is.
        warnings.simplefilter("ignore")
        tree = ast.parse(path.read_text(encoding="utf-8"))
    for statement in tree.body:
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name) and statement.targets[0].id == "query_dic":
            notes: dict[str, str] = ast.literal_eval(statement.value)
            return notes
    raise ValueError(f"{path.name}: has no mapping named query_dic")
