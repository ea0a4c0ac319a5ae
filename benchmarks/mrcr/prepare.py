"""MRCR: upstream's tables to rows, the conversation as a list of messages."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pytest_gym.tables import read_rows

TOKENS_A_WORD = 1.33
"""About how many tokens a word of English prose has."""


def prepare(files: Mapping[str, Path], *, max_tokens: int | None = None) -> Iterable[dict[str, Any]]:
    """One row for each conversation in upstream's order, those above `max_tokens` (words times 1.33) left out."""
    number = 0
    for name, path in files.items():
        for row in read_rows(path, name):
            messages = json.loads(row["prompt"])
            tokens = round(sum(len(message["content"].split()) for message in messages) * TOKENS_A_WORD)
            if max_tokens is None or tokens <= max_tokens:
                yield {
                    "id": f"{number:04d}",
                    "messages": messages,
                    "expected_answer": row["answer"],
                    "random_string_to_prepend": row["random_string_to_prepend"],
                    "n_needles": int(row["n_needles"]),
                    "needles": f"{row['n_needles']} needles",
                    "n_tokens": tokens,
                }
            number += 1
