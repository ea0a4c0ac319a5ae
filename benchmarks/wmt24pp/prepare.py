"""WMT24++: one file for each language, one row for each segment whose source upstream holds for good."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


def prepare(files: Mapping[str, Path]) -> Iterable[dict[str, Any]]:
    """Rows language by language, in upstream's order; segments marked `is_bad_source` are left out."""
    lines = (Path(__file__).parent / "languages.tsv").read_text(encoding="utf-8").splitlines()
    names = dict(line.split("\t") for line in lines)
    for name, path in files.items():
        target = name.removeprefix("en-").removesuffix(".jsonl")
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file):
                row = json.loads(line)
                if row["is_bad_source"]:
                    continue
                yield {
                    "id": f"{target}-{row.get('segment_id', number)}",
                    "text": row["source"],
                    "translation": row["target"],
                    "source_language": "en",
                    "target_language": target,
                    "source_lang_name": "English",
                    "target_lang_name": names[target],
                    "pair": f"en-{target}",
                    "source_domain": row.get("domain", ""),
                }
