"""GPQA Diamond: upstream's table to rows, the four options in an order that depends on the question alone."""

import hashlib
import random
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pytest_gym.choices import choice_row
from pytest_gym.tables import read_rows


def prepare(files: Mapping[str, Path]) -> Iterable[dict[str, Any]]:
    """The order is NeMo Gym's: a generator seeded with the MD5 of the question shuffles the right option and the three wrong ones."""
    ((name, path),) = files.items()
    for row in read_rows(path, name):
        options = [row["Correct Answer"], *(row[f"Incorrect Answer {number}"] for number in (1, 2, 3))]
        seed = int(hashlib.md5(row["Question"].encode()).hexdigest(), 16)
        random.Random(seed).shuffle(options)
        fields = choice_row(row["Question"], options, options.index(row["Correct Answer"]), mark=":", gap="\n")
        yield {"id": row["Record ID"], **fields, "domain": row["High-level domain"], "subdomain": row["Subdomain"]}
