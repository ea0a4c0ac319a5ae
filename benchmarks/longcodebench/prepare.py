"""LongCodeBench's LongCodeQA: the JSON files of upstream's archive to rows."""

import json
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pytest_gym.tokens import approximate_tokens

LENGTHS = ("32K", "64K", "128K", "256K", "512K", "1M")


def prepare(files: Mapping[str, Path], *, max_tokens: int | None = None) -> Iterable[dict[str, Any]]:
    """Prompts of at most `max_tokens`, which is an estimate as `n_tokens` is. The id is length and number.

    The options stand in the prompt, so here they are letters alone.
    """
    with zipfile.ZipFile(files["LongCodeQA.zip"]) as archive:
        members = {Path(name).stem: name for name in archive.namelist() if name.endswith(".json") and not Path(name).name.startswith(".")}
        for length in (length for length in LENGTHS if length in members):
            for number, row in enumerate(json.loads(archive.read(members[length]))):
                question = row["prompt"].strip()
                tokens = approximate_tokens(question)
                if max_tokens is not None and tokens > max_tokens:
                    continue
                yield {
                    "id": f"{length}-{number:04d}",
                    "question": question,
                    "options": [{letter: ""} for letter in "ABCD"],
                    "expected_answer": row["correct_letter"].strip().upper(),
                    "length": length,
                    "repo": row["repo"],
                    "is_hard": row["is_hard"],
                    "n_tokens": tokens,
                }
