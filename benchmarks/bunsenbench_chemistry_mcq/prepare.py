"""BunsenBench: the rows that upstream's program puts together, their options shuffled as in NeMo Gym."""

import hashlib
import html
import random
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pytest_gym.choices import choice_row
from pytest_gym.tables import read_rows

_KEPT = ("source", "source_record_id", "bct_field", "bct_subfield")


def prepare(files: Mapping[str, Path]) -> Iterable[dict[str, Any]]:
    """The id is upstream's `bunsen_id`. A source record that comes twice, or a right answer that is not there just once, is refused."""
    seen: set[tuple[str, str]] = set()
    for name, path in files.items():
        for number, row in enumerate(read_rows(path, name), 1):
            where = f"{name}: row {number} ({row['bunsen_id']})"
            if (row["source"], row["source_record_id"]) in seen:
                raise ValueError(f"{where}: {row['source']} {row['source_record_id']} comes twice")
            seen.add((row["source"], row["source_record_id"]))
            choices = list(row["choices"])
            if choices.count(row["answer"]) != 1:
                raise ValueError(f"{where}: the right answer is not there just once")
            digest = hashlib.sha256(f"{row['bunsen_id']}:bunsen_chem_mcq_xml_choice_v1".encode()).digest()
            random.Random(int.from_bytes(digest[:8], "big")).shuffle(choices)
            fields = choice_row(row["question"], choices, choices.index(row["answer"]))
            listed = "\n".join(f"<choice>{html.escape(choice, quote=False)}</choice>" for choice in choices)
            yield {
                "id": row["bunsen_id"],
                "question": fields["question"],
                "options_text": f"<choices>\n{listed}\n</choices>",
                "options": fields["options"],
                "expected_answer": fields["expected_answer"],
                **{key: row[key] for key in _KEPT},
            }
