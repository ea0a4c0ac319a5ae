"""BFCL: upstream's files of single-turn Python categories to rows, with the functions as tools and as text."""

import copy
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

_TYPES = {"dict": "object", "float": "number", "tuple": "array", "any": "string", "list": "array", "bool": "boolean"}


def prepare(files: Mapping[str, Path]) -> Iterable[dict[str, Any]]:
    """One row for each entry, category by category in the order of the files; `answer_…` files hold the expected calls."""
    for name, path in files.items():
        if name.startswith("answer_"):
            continue
        category = name.removesuffix(".json")
        answers = {row["id"]: row["ground_truth"] for row in _lines(files[f"answer_{name}"])} if f"answer_{name}" in files else {}
        for row in _lines(path):
            (messages,) = row["question"]
            yield {
                "id": row["id"],
                "category": category,
                "messages": messages,
                "tools": [_tool(function) for function in row["function"]],
                "function": row["function"],
                "ground_truth": answers[row["id"]] if answers else [],
                "functions_text": json.dumps(row["function"], ensure_ascii=False),
                "question_text": _text(messages),
            }


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def _text(messages: list[dict[str, str]]) -> str:
    """The message itself where there is one; else all of them, each behind the name of its role."""
    if len(messages) == 1:
        return messages[0]["content"]
    return "\n\n".join(f"{message['role'].title()}: {message['content']}" for message in messages)


def _tool(function: dict[str, Any]) -> dict[str, Any]:
    """Chat Completions' form: no dots in names, types as JSON schema has them."""
    function = copy.deepcopy(function)
    parameters = {"type": "object", "properties": {}, **function["parameters"]}
    return {
        "type": "function",
        "function": {"name": function["name"].replace(".", "_"), "description": function["description"], "parameters": _schema(parameters)},
    }


def _schema(value: Any) -> Any:
    if isinstance(value, list):
        return [_schema(item) for item in value]
    if not isinstance(value, dict):
        return value
    # A parameter may itself be called `type`: its value is then a description, not a name.
    kind = value.get("type")
    named = {"type": _TYPES.get(kind, kind)} if isinstance(kind, str) else {}
    return {key: _schema(inner) for key, inner in value.items() if key != "optional" or not isinstance(inner, bool)} | named
