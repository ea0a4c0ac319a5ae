"""Litmus-Bench: upstream's rows with their messages, without what neither prompt nor verifier reads."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pytest_gym.tables import read_rows

_KEPT = (
    "responses_create_params", "expected_answer", "answer_type", "property_type", "property", "match", "output_regex", "answer_format",
    "use_box_format", "method", "chembl_id", "smiles", "source_id_1", "smiles_1", "source_id_2", "smiles_2",
)  # fmt: skip


def prepare(files: Mapping[str, Path]) -> Iterable[dict[str, Any]]:
    """The id is upstream's `uuid`. Rows with tools are refused; a `float` without a rule, which nobody can hit, is left out."""
    for name, path in files.items():
        for number, row in enumerate(read_rows(path, name), 1):
            if row["responses_create_params"].get("tools"):
                raise ValueError(f"{name}: row {number} has tools, which are no part of this benchmark")
            if row.get("answer_type") == "float" and not row.get("match"):
                continue
            fields = {key: row[key] for key in _KEPT if row.get(key) is not None}
            if not row.get("answer_type"):
                # Counts are whole; some readers of the data set write them as 3.0.
                fields["expected_answer"] = int(row["expected_answer"])
            yield {"id": row["uuid"], **fields}
