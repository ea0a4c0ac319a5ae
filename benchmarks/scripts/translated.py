"""Problems translated into German, Spanish, French and Japanese, one table for each language, with an instruction in that language."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pytest_gym.tables import read_rows

# The wording is ours; what it asks for is what upstream's does.
INSTRUCTIONS = {
    "de": "Lösen Sie die folgende Aufgabe. Schreiben Sie Ihre endgültige Antwort, und nur die Antwort, in \\boxed{}.",
    "es": "Resuelve el problema siguiente. Escribe tu respuesta final, y solo la respuesta, dentro de \\boxed{}.",
    "fr": "Résolvez le problème suivant. Écrivez votre réponse finale, et rien d'autre, dans \\boxed{}.",
    "ja": "次の問題を解いてください。最終的な答えだけを \\boxed{} の中に書いてください。",
}


def prepare(files: Mapping[str, Path]) -> Iterable[dict[str, Any]]:
    """`question` is instruction, problem and, where there are some, lettered options; the id is language and row number."""
    for name, path in files.items():
        language = Path(name).stem
        for number, row in enumerate(read_rows(path, name)):
            choices = [row[letter] for letter in "ABCD"] if "A" in row else []
            parts = [INSTRUCTIONS[language], row["problem"], *([row["options"]] if choices else [])]
            yield {
                "id": f"{language}-{number:04d}",
                "question": "\n\n".join(parts),
                "problem": row["problem"],
                "expected_answer": str(row["expected_answer"]),
                "target_language": language,
                **({"options": [{letter: text} for letter, text in zip("ABCD", choices, strict=True)]} if choices else {}),
            }
