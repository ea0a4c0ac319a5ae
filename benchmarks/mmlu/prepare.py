"""MMLU: the test questions in Hendrycks' data.tar to rows. The CSV files there have no header, and the answer is a letter."""

import csv
import io
import re
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

_TEST_FILE = re.compile(r"(?:\./)?data/test/(\w+)_test\.csv")


def prepare(files: Mapping[str, Path]) -> Iterable[dict[str, Any]]:
    """Subjects by name, questions in the order of their file; the id is the row number, since upstream gives none."""
    with tarfile.open(files["data.tar"]) as archive:
        texts = {match[1]: archive.extractfile(member) for member in archive if (match := _TEST_FILE.fullmatch(member.name))}
        number = 0
        for subject, file in sorted(texts.items()):
            if file is None:
                raise ValueError(f"data.tar: data/test/{subject}_test.csv is not a plain file")
            for cells in csv.reader(io.TextIOWrapper(file, encoding="utf-8", newline="")):
                if len(cells) != 6 or cells[5] not in "ABCD" or len(cells[5]) != 1:
                    raise ValueError(f"data.tar: {subject}_test.csv: a row is not question, four options and a letter A-D: {cells}")
                question, *choices, answer = cells
                options = dict(zip("ABCD", choices, strict=True))
                yield {
                    "id": f"{number:04d}",
                    "question": question,
                    "problem": "\n".join([question, "", *(f"{letter}) {text}" for letter, text in options.items())]),
                    "options": [{letter: text} for letter, text in options.items()],
                    "expected_answer": answer,
                    "subject": subject,
                }
                number += 1
