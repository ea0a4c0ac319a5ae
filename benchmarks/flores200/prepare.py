"""FLORES+ devtest: one parquet file for each language, one row for each sentence and language other than English."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pytest_gym.tables import read_rows


def prepare(files: Mapping[str, Path]) -> Iterable[dict[str, Any]]:
    """Rows language by language, in upstream's order; the English sentence of the same number is the source."""
    lines = (Path(__file__).parent / "languages.tsv").read_text(encoding="utf-8").splitlines()
    names = dict(line.split("\t") for line in lines)
    english = [row["text"] for row in read_rows(files["eng_Latn.parquet"], "eng_Latn.parquet")]
    for target, name in names.items():
        translations = [row["text"] for row in read_rows(files[f"{target}.parquet"], "x.parquet")]
        if len(translations) != len(english):
            raise ValueError(f"{target} has {len(translations)} sentences, English {len(english)}")
        for number, (text, translation) in enumerate(zip(english, translations, strict=True)):
            yield {
                "id": f"{target}-{number:04d}",
                "text": text,
                "translation": translation,
                "source_language": "eng_Latn",
                "target_language": target,
                "source_lang_name": "English",
                "target_lang_name": name,
                "pair": f"eng_Latn-{target}",
            }
