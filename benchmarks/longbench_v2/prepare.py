"""LongBench v2: upstream's JSON to rows."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pytest_gym.choices import choice_row
from pytest_gym.tables import read_rows
from pytest_gym.tokens import approximate_tokens

_KEPT = ("context", "choice_A", "choice_B", "choice_C", "choice_D", "domain", "sub_domain", "difficulty", "length")


def prepare(files: Mapping[str, Path], *, max_tokens: int | None = None) -> Iterable[dict[str, Any]]:
    """Documents of at most `max_tokens`. The id is upstream's `_id`.

    `context_tokens` is an estimate (words × 1.33 or characters ÷ 4), since no tokenizer is assumed.
    """
    ((name, path),) = files.items()
    for row in read_rows(path, name):
        tokens = approximate_tokens(row["context"])
        if max_tokens is not None and tokens > max_tokens:
            continue
        fields = choice_row(row["question"], [row[f"choice_{letter}"] for letter in "ABCD"], row["answer"])
        del fields["problem"]
        yield {"id": row["_id"], **fields, **{key: row[key] for key in _KEPT}, "context_tokens": tokens}
