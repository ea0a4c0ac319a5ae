"""Rows of NeMo Gym's environments: JSON lines that bring their whole request along as `responses_create_params`."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pytest_gym.tables import read_rows


def prepare(files: Mapping[str, Path], *, needs: Iterable[str] = ()) -> Iterable[dict[str, Any]]:
    """The rows as they are, but for `agent_ref`, which names upstream's own agent; the id is the row's own, else its number.

    Raises ValueError for a row without a request, or without one of the fields `needs`.
    """
    wanted = ("responses_create_params", *needs)
    for name, path in files.items():
        for number, row in enumerate(read_rows(path, name)):
            lacking = [field for field in wanted if row.get(field) is None] if isinstance(row, dict) else wanted
            if lacking:
                raise ValueError(f"{name}, row {number + 1}: has no {lacking[0]!r}")
            own = row.get("id")
            kept = {field: value for field, value in row.items() if field not in ("agent_ref", "id")}
            yield {"id": f"{number:04d}" if own is None else str(own), **kept}
