"""The JSON Schema of config files, made from the same tables that validate them (schema), for completion in editors.

It is shipped as `pytest_gym/config.schema.json`; `python -m pytest_gym.completion` prints it. Blocks inherit, so the schema demands no key
that a base may bring; that, and what several keys say together, only reading the config decides.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytest_gym.schema import (
    AGGREGATE_KEYS,
    BLOCK_KEYS,
    CHECK_KEYS,
    DATASET_KEYS,
    METRIC_KEYS,
    PART_KEYS,
    PROMPT_KEYS,
    PUBLISHED_KEYS,
    SOURCE_KEYS,
    SUITE_KEYS,
    TURN_KEYS,
    Key,
)
from pytest_gym.settings import SETTINGS

FILE = Path(__file__).parent / "config.schema.json"

_TEXT: dict[str, Any] = {"type": "string"}
_TYPES: dict[str, tuple[dict[str, Any], ...]] = {
    "text": (_TEXT,),
    "list of texts": ({"type": "array", "items": _TEXT},),
    "text or mapping": (_TEXT, {"type": "object"}),
    "text or list of mappings": (_TEXT, {"type": "array", "minItems": 1, "items": {"type": "object"}}),
    "mapping": ({"type": "object"},),
    "list of mappings": ({"type": "array", "minItems": 1, "items": {"type": "object"}},),
    "count": ({"type": "integer", "minimum": 1},),
    "count from 0": ({"type": "integer", "minimum": 0},),
    "number": ({"type": "number"},),
    "range": ({"type": "array", "minItems": 2, "maxItems": 2, "items": {"type": "number"}},),
    "sha256": ({"type": "string", "pattern": "^[0-9a-f]{64}$"},),
}
# What a mapping is made of, by table and key: one mapping, a list of them, or mappings by name.
_BELOW: dict[tuple[str, str], tuple[str, str]] = {
    ("block", "prompt_config"): ("one", "prompt"),
    ("block", "metric"): ("one", "metric"),
    ("block", "check"): ("one", "check"),
    ("block", "aggregate"): ("named", "aggregate"),
    ("block", "suite"): ("one", "suite"),
    ("block", "datasets"): ("many", "dataset"),
    ("block", "published"): ("many", "published"),
    ("dataset", "sources"): ("named", "source"),
    ("prompt", "messages"): ("many", "turn"),
    ("turn", "content"): ("many", "part"),
}
_TABLES: dict[str, Mapping[str, Key]] = {
    "block": BLOCK_KEYS,
    "dataset": DATASET_KEYS,
    "source": SOURCE_KEYS,
    "prompt": PROMPT_KEYS,
    "turn": TURN_KEYS,
    "part": PART_KEYS,
    "metric": METRIC_KEYS,
    "aggregate": AGGREGATE_KEYS,
    "suite": SUITE_KEYS,
    "check": CHECK_KEYS,
    "published": PUBLISHED_KEYS,
}


def json_schema() -> dict[str, Any]:
    """The schema of a config file, in JSON Schema's draft 7, which editors' YAML plug-ins read."""
    definitions: dict[str, Any] = {name: _table(name, keys) for name, keys in _TABLES.items()}
    block = definitions["block"]["properties"]
    block["verifier"] = {"anyOf": [_TEXT, {"type": "object", "properties": {"name": _TEXT}}, {"type": "null"}]}
    sampling = {
        "type": ["object", "null"],
        "properties": _sampling(),
        "additionalProperties": False,
    }
    block["sampling"] = definitions["published"]["properties"]["sampling"] = sampling
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "A benchmark config of pytest-gym",
        "type": ["object", "null"],
        "properties": {"config_paths": {"type": ["array", "null"], "items": _TEXT}},
        "additionalProperties": {"$ref": "#/definitions/block"},
        "definitions": definitions,
    }


def text() -> str:
    """The schema as the shipped file has it."""
    return json.dumps(json_schema(), indent=1) + "\n"


def _table(name: str, keys: Mapping[str, Key]) -> dict[str, Any]:
    # What a base may bring is not demanded of a block; below a list nothing is inherited.
    required = [] if name == "block" else [key for key, said in keys.items() if said.default is ...]
    table: dict[str, Any] = {"type": "object", "properties": {key: _key(name, key, said) for key, said in keys.items()}}
    return {**table, **({"required": required} if required else {}), "additionalProperties": False}


def _key(table: str, name: str, key: Key) -> dict[str, Any]:
    forms = [dict(form) for form in _TYPES[key.type]]
    if (table, name) in _BELOW:
        how, below = _BELOW[table, name]
        reference = {"$ref": f"#/definitions/{below}"}
        if how == "one":
            forms = [form for form in forms if form["type"] != "object"] + [reference]
        elif how == "many":
            forms[-1]["items"] = reference
        else:
            forms[-1]["additionalProperties"] = {"anyOf": [reference, {"type": "null"}]}
    if key.words:
        for form in forms:
            if form["type"] == "array":
                form["items"] = {"enum": list(key.words)}
            else:
                form["enum"] = list(key.words)
    if key.default is ...:
        return forms[0] if len(forms) == 1 else {"anyOf": forms}
    return {"anyOf": [*forms, {"type": "null"}]}


def _sampling() -> dict[str, Any]:
    kinds: dict[str, Any] = {
        "number": ["number", "null"],
        "integer": ["integer", "null"],
        "text": ["string", "null"],
        "texts": ["string", "array", "null"],
        "flag": ["boolean", "null"],
        "mapping": ["object", "null"],
    }
    found: dict[str, Any] = {"extra_body": {"type": ["object", "null"]}}
    for setting in SETTINGS:
        prefix, _, key = setting.name.partition(".")
        if prefix == "sampling" and "." not in key and key != "*":
            found[key] = {"description": setting.help, **({"type": kinds[setting.type]} if setting.type in kinds else {})}
    return found


if __name__ == "__main__":
    print(text(), end="")
