"""MMLU-ProX: one table for each language to rows, with the instruction and the pattern of the answer in that language."""

import ast
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pytest_gym.choices import choice_row
from pytest_gym.tables import read_rows

LETTER = r"\(?([ABCDEFGHIJ])\)?"


def prepare(files: Mapping[str, Path]) -> Iterable[dict[str, Any]]:
    """The phrases come from lm-evaluation-harness' lang_libs.py, read as data and not run. The id is language and question_id."""
    phrases, subjects = _read(files["lang_libs.py"])
    for name, path in files.items():
        if name == "lang_libs.py":
            continue
        language = Path(name).stem
        before, options, _, opening, _, closing = phrases[language]
        for row in read_rows(path, name):
            choices = [text for number in range(10) if (text := row[f"option_{number}"]) is not None]
            fields = choice_row(row["question"], choices, row["answer"], mark=".")
            category = row["category"].replace(" ", "_")
            text = opening.format(subject=subjects[language][category], ans_suffix=closing.format("X"))
            lines = "\n".join(f"{letter}. {choice}" for letter, choice in zip("ABCDEFGHIJ", choices, strict=False))
            yield {
                **fields,
                "id": f"{language}-{row['question_id']}",
                "problem": f"{text}\n{before}\n{row['question']}\n{options}\n{lines}\n",
                "template_metadata": {"output_regex": _pattern(language, closing)},
                "reference_response": closing.format(fields["expected_answer"]),
                "language": language,
                "category": category,
            }


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    values = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    return values["LANG_LIBS"], values["LANG_SUBJECTS"]


def _pattern(language: str, closing: str) -> str:
    """NeMo Gym's: the closing phrase around a letter, its brackets optional; the English one lacks its article and bears bold marks."""
    pattern = closing.replace("({})", LETTER)
    if language != "en":
        return pattern
    return pattern.lstrip("the").strip().replace("\\(", "\\**\\(").replace("\\)?", "\\)?\\**")
