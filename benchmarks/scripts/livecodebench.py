"""LiveCodeBench's problems, by the date of their contest, to rows with all their tests; also with statements in other languages."""

import base64
import binascii
import io
import json
import pickle
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from pytest_gym.errors import DataError
from pytest_gym.tables import read_rows

# The wording is ours; what it asks for is what upstream's does.
STARTER = "Write the solution from the starter code below, and put all of your code into one fenced block."
STDIN = (
    "Write a program that reads its input from standard input, solves the problem and prints the answer to standard output; "
    "do not test it on the examples. Put all of your code into one fenced block, as below."
)
HEADER = "\n\nUse this function header for your solution.\n\nFunction header:\n```\n{}\n```"
LANGUAGES = {
    "de": "Schreiben Sie zu der folgenden Aufgabe ein lauffähiges Programm in der Programmiersprache Python.",
    "es": "Escribe un programa ejecutable en el lenguaje de programación Python para el problema siguiente.",
    "fr": "Écrivez un programme exécutable dans le langage de programmation Python pour le problème suivant.",
    "ja": "次の問題を解く、実行可能なプログラムをプログラミング言語Pythonで書いてください。",
}


def prepare(files: Mapping[str, Path], *, first: str = "", until: str = "9999", cascade: bool = False) -> Iterable[dict[str, Any]]:
    """Problems of contests from the day `first` on and before `until`; the id is upstream's `question_id`.

    cascade: the prompt's parts as Nemotron-Cascade has them. Files `<release>_<language>.parquet` have statements in other languages: then
    there is a row for each of them whose problem is known, with the id `<release>-<language>-<question_id>`.
    """
    problems = [name for name in files if name.endswith(".jsonl")]
    translations = [name for name in files if not name.endswith(".jsonl")]
    if not translations:
        for name in problems:
            for row in read_rows(files[name], name):
                if first <= str(row["contest_date"]) < until:
                    yield {"id": row["question_id"], **_prompt(row, cascade), "verifier_metadata": _tests(name, row)}
        return
    wanted = {str(row["task_id"]) for name in translations for row in read_rows(files[name], name)}
    known = {
        str(row["question_id"]): _tests(name, row)
        for name in problems
        for row in read_rows(files[name], name)
        if str(row["question_id"]) in wanted
    }
    for name in translations:
        release, _, language = Path(name).stem.partition("_")
        for row in read_rows(files[name], name):
            if row["task_id"] in known:
                yield {
                    "id": f"{release}-{language}-{row['task_id']}",
                    "question": f"{LANGUAGES[language]}\n\n{row['question']}",
                    "problem": row["question"],
                    "task_id": row["task_id"],
                    "release_version": row.get("release_version") or release,
                    "target_language": language,
                    "verifier_metadata": known[row["task_id"]],
                }


def _prompt(row: Mapping[str, Any], cascade: bool) -> dict[str, str]:
    starter = row.get("starter_code") or ""
    parts = {"question_content": row["question_content"], "difficulty": row["difficulty"]}
    if cascade:
        return {**parts, "starter_code": HEADER.format(starter) if starter else ""}
    return {
        **parts,
        "formatting_message": STARTER if starter else STDIN,
        "starter_code": f"```python\n{starter or '# your code'}\n```",
    }


def _tests(file: str, row: Mapping[str, Any]) -> dict[str, Any]:
    where = f"{file}: problem {row['question_id']!r}"
    public = json.loads(row.get("public_test_cases") or "[]")
    tests = [*public, *private_tests(row.get("private_test_cases") or "[]", where)]
    held = row.get("metadata") or {}
    metadata = json.loads(held) if isinstance(held, str) else held
    return {
        "problem_id": row["question_id"],
        "difficulty": row["difficulty"],
        "unit_tests": {
            "inputs": [test["input"] for test in tests],
            "outputs": [test["output"] for test in tests],
            "fn_name": metadata.get("func_name") or None,
        },
    }


def private_tests(text: str, where: str = "") -> list[dict[str, Any]]:
    """The private tests: JSON, or base64 of zlib of a pickled text of JSON. Raises DataError for a pickle of anything but plain data."""
    try:
        if text.lstrip().startswith("["):
            found: Any = json.loads(text)
        else:
            found = _Plain(io.BytesIO(zlib.decompress(base64.b64decode(text)))).load()
            found = json.loads(found) if isinstance(found, str | bytes) else found
    except (ValueError, zlib.error, binascii.Error, EOFError, pickle.UnpicklingError) as error:
        raise DataError(f"{where}: its private tests cannot be read: {error}") from None
    if not isinstance(found, list) or not all(isinstance(test, dict) and {"input", "output"} <= test.keys() for test in found):
        raise DataError(f"{where}: its private tests are no list of inputs and outputs")
    return found


class _Plain(pickle.Unpickler):
    """Reads pickles of texts, numbers and containers; a pickle that names anything else could run any code, and is refused."""

    def find_class(self, module: str, name: str) -> NoReturn:
        raise pickle.UnpicklingError(f"a pickle that names {module}.{name}, and only plain data is read")

    def persistent_load(self, pid: Any) -> NoReturn:
        raise pickle.UnpicklingError("a pickle with references to the outside, and only plain data is read")
