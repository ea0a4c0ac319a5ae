"""SuperGPQA: upstream's JSON lines to rows, options shuffled by one seeded stream."""

import random
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pytest_gym.choices import choice_row
from pytest_gym.tables import read_rows

SEED = 42
_KEPT = ("discipline", "field", "subfield", "difficulty", "is_calculation")


def prepare(files: Mapping[str, Path]) -> Iterable[dict[str, Any]]:
    """The order of the options is NeMo Gym's: one generator over all rows in upstream's order. Blanks at the ends go, two are one."""
    ((name, path),) = files.items()
    order = random.Random(SEED)
    for number, row in enumerate(read_rows(path, name), 1):
        options = [" " if option is None else option.strip().replace("  ", " ") for option in row["options"]]
        if len(set(options)) < len(options):
            raise ValueError(f"row {number} ({row['uuid']}): two options are the same: {options}")
        right = options["ABCDEFGHIJ".index(row["answer_letter"].strip().upper())]
        order.shuffle(options)
        fields = choice_row(row["question"], options, options.index(right), mark=":")
        yield {"id": row["uuid"], **fields, **{key: row[key] for key in _KEPT}}
