"""Indirect prompt injection: rows of NeMo Gym's form, with what tells the kinds of attack apart in fields of its own."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pytest_gym.tables import read_rows

_KINDS = {"attack_difficulty": "attack_difficulty", "attack_category": "category", "verification_type": "verification_type"}


def prepare(files: Mapping[str, Path]) -> Iterable[dict[str, Any]]:
    """The rows without `agent_ref`; the id is the row's own, else its number. Raises ValueError for a row without request or attack."""
    for name, path in files.items():
        for number, row in enumerate(read_rows(path, name)):
            attack = row.get("injection") if isinstance(row, dict) else None
            if not isinstance(attack, dict) or "responses_create_params" not in row:
                raise ValueError(f"{name}, row {number + 1}: needs 'responses_create_params' and 'injection'")
            kept = {field: value for field, value in row.items() if field not in ("agent_ref", "id")}
            told = {ours: str(attack.get(theirs) or "unknown") for ours, theirs in _KINDS.items()}
            yield {"id": str(row.get("id", f"{number:04d}")), **kept, **told}
