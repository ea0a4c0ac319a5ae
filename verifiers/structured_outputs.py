"""structured_outputs: the answer is a document, or a tool call, that its schema admits. Its content is not looked at.

Rule, by the row's `response_mode`:

    text        The whole answer is read as the row's `schema_type`: JSON, YAML, XML, TOML or CSV. Code fences are not taken away, so that
                a fenced document is no document. XML and CSV know only text: values are turned into the type that the schema wants where
                that works, and an XML list is the content of the one element around it.
    tool_call   Exactly one tool call, of the tool `tool_name`; its arguments, or their key `tool_payload_key`, are the document.

The schema (`schema_str`, JSON) is made strict first: every property of an object is required and no other is allowed. Documents are held
against it by openapi-schema-validator, with its defaults.

`scores` has `fenced` (text mode): the same with the last code block as the document where the answer has one, which is how most models
answer. Option `fences` makes that the reward.

Source of truth: NeMo Gym's server `structured_outputs`, which defines the benchmark. Edge cases: JSON takes NaN and Infinity as Python's
reader does; a YAML or JSON document nested beyond Python's limit, or one that takes too long, is invalid with that as its reason.
"""

from __future__ import annotations

import csv
import io
import json
import tomllib
from typing import Any

import yaml

from pytest_gym import DataError, Message, OutOfBounds, Rollout, Task, ToolCall, Verdict, run_bounded, verifier
from pytest_gym.extract import code_block, remove_thinking

FORMATS = ("json", "yaml", "xml", "toml", "csv")
Json = dict[str, Any]


@verifier(needs={"openapi_schema_validator": "structured", "xmltodict": "structured"})
def structured_outputs(task: Task, rollout: Rollout, *, fences: bool = False, seconds: float = 5.0) -> Verdict:
    """Reward 1 where the document that the model gave is valid by the row's schema.

    Options:
        fences: take the document out of a code fence where there is one (NeMo Gym does not).
        seconds: processor time for reading and validating one document.

    Raises DataError for a row whose schema, format or mode cannot be used.
    """
    schema_text, kind = _schema(task)
    if task.get("response_mode") == "tool_call":
        payload, complaint = _payload(task, rollout)
        if complaint:
            return Verdict(0.0, explanation=complaint)
        error = _checked(schema_text, "object", payload, seconds)
        return Verdict(float(error is None), explanation=error or "the arguments are valid")
    text = remove_thinking(rollout.text)
    if not text.strip():
        return Verdict(0.0, explanation="the answer is empty", scores={"fenced": 0.0})
    error = _checked(schema_text, kind, text, seconds)
    block = code_block(text) if "```" in text or "~~~" in text else text
    fenced = error if block == text else _checked(schema_text, kind, block, seconds)
    chosen = fenced if fences else error
    return Verdict(float(chosen is None), explanation=chosen or f"valid {kind.upper()}", scores={"fenced": float(fenced is None)})


@structured_outputs.reference  # type: ignore[type-var, unused-ignore]
def reference(task: Task) -> str | Message | None:
    """The smallest document that the schema admits, written in the row's format; None where it is not as simple as that."""
    schema_text, kind = _schema(task)
    schema = json.loads(schema_text)
    document = _example(schema)
    if validate(schema_text, "object", document) is not None:
        return None
    if task.get("response_mode") == "tool_call":
        key = task.get("tool_payload_key")
        raw = json.dumps({key: document} if key else document, ensure_ascii=False)
        return Message(
            "assistant", "", tool_calls=(ToolCall.from_json({"function": {"name": task.get("tool_name") or "f", "arguments": raw}}),)
        )
    text = _written(kind, document)
    return text if text is not None and validate(schema_text, kind, text) is None else None


def validate(schema_text: str, kind: str, document: Any) -> str | None:
    """What is wrong with the document, as one line, or None where it is valid. Runs in the helper process.

    `kind` is a format of FORMATS (the document is its text), or "object" (it is the value itself).
    """
    from openapi_schema_validator import validate as validate_by_schema

    schema = json.loads(schema_text)
    _make_strict(schema)
    try:
        value = document if kind == "object" else _read(kind, document)
    except Exception as error:  # the readers raise what they like on arbitrary text
        return f"not {kind.upper()}: {_line(error)}"
    try:
        if kind == "xml":
            value = _typed_xml(value, schema)
        elif kind == "csv":
            value = _typed_rows(value, schema)
        validate_by_schema(value, schema)
    except Exception as error:  # jsonschema's own errors, and Python's where a value is stranger than the schema expects
        return f"not valid by the schema: {_line(error)}"
    return None


def _checked(schema_text: str, kind: str, document: Any, seconds: float) -> str | None:
    try:
        found = run_bounded(validate, schema_text, kind, document, seconds=seconds, imports=("openapi_schema_validator", "xmltodict"))
    except OutOfBounds as error:
        return f"reading and validating {error}"
    return None if found is None else str(found)


def _payload(task: Task, rollout: Rollout) -> tuple[Any, str | None]:
    calls = rollout.tool_calls
    names = ", ".join(call.name for call in calls[:10])
    if len(calls) != 1:
        return None, f"expected one tool call, found {len(calls)}{f': {names}' if calls else ''}"
    wanted = task.get("tool_name")
    if wanted and calls[0].name != wanted:
        return None, f"expected a call of {wanted}, found {names}"
    try:
        arguments = json.loads(calls[0].raw)
    except (ValueError, RecursionError) as error:
        return None, f"the arguments are not JSON: {_line(error)}"
    key = task.get("tool_payload_key")
    if not key:
        return arguments, None
    if not isinstance(arguments, dict) or key not in arguments:
        return None, f"the arguments have no key {key!r}"
    return arguments[key], None


def _read(kind: str, text: str) -> Any:
    if kind == "json":
        return json.loads(text)
    if kind == "yaml":
        return yaml.safe_load(text)
    if kind == "toml":
        return tomllib.loads(text)
    if kind == "csv":
        return list(csv.DictReader(io.StringIO(text)))
    import xmltodict

    return xmltodict.parse(text)


def _make_strict(schema: Any) -> None:
    # As the reference: only mappings inside mappings, so that the members of anyOf and the like stay as they are.
    if isinstance(schema, dict):
        if "properties" in schema:
            schema["required"] = list(schema["properties"])
            schema["additionalProperties"] = False
        for value in schema.values():
            _make_strict(value)


def _typed_xml(value: Any, schema: Any) -> Any:
    if not isinstance(schema, dict) or "type" not in schema:
        return value
    kind = schema["type"]
    if kind == "object" and isinstance(value, dict):
        properties = schema.get("properties", {})
        return {key: _typed_xml(item, properties[key]) if key in properties else item for key, item in value.items()}
    if kind == "array":
        if isinstance(value, dict) and len(value) == 1:
            value = next(iter(value.values()))
        items = value if isinstance(value, list) else [] if value is None else [value]
        return [_typed_xml(item, schema.get("items", {})) for item in items]
    if value is None and kind == "string":
        return ""
    return _typed(value, kind) if isinstance(value, str) and isinstance(kind, str) else value


def _typed_rows(rows: list[dict[str, Any]], schema: Json) -> list[dict[str, Any]]:
    properties = schema.get("items", schema).get("properties", {})
    return [{key: _typed_cell(value, properties.get(key, {}).get("type", "string")) for key, value in row.items()} for row in rows]


def _typed_cell(value: Any, kind: Any) -> Any:
    if isinstance(kind, list):
        if value in (None, "") and "null" in kind:
            return None
        for each in kind:
            found = value if each == "null" else _typed_cell(value, each)
            if each != "null" and (not isinstance(found, str) or each == "string"):
                return found
        return value
    return value if value in (None, "") else _typed(value, kind)


def _typed(value: str, kind: str) -> Any:
    try:
        if kind == "integer":
            return int(value)
        if kind == "number":
            return float(value)
        if kind == "boolean":
            return {"true": True, "1": True, "false": False, "0": False}.get(value.lower(), value)
    except (ValueError, AttributeError):
        pass
    return value


def _example(schema: Json) -> Any:
    if "enum" in schema:
        return schema["enum"][0]
    if "const" in schema:
        return schema["const"]
    for key in ("anyOf", "oneOf", "allOf"):
        if schema.get(key):
            return _example(schema[key][0])
    kind = schema.get("type", "object" if "properties" in schema else "string")
    kind = next((each for each in kind if each != "null"), "null") if isinstance(kind, list) else kind
    if kind == "object":
        return {key: _example(inner) for key, inner in schema.get("properties", {}).items()}
    if kind == "array":
        return [_example(schema.get("items", {})) for _ in range(max(1, schema.get("minItems", 1)))]
    if kind in ("integer", "number"):
        return schema.get("minimum", schema.get("exclusiveMinimum", 0) + 1)
    texts = {"date": "2024-01-31", "date-time": "2024-01-31T12:00:00Z", "email": "a@example.org", "uri": "https://example.org"}
    text = texts.get(schema.get("format", ""), "text")
    return {"boolean": True, "null": None}.get(kind, text + "x" * (schema.get("minLength", 0) - len(text)))


def _written(kind: str, document: Any) -> str | None:
    if kind in ("json", "yaml"):
        return json.dumps(document, ensure_ascii=False)
    if kind == "toml":
        return "\n".join(f"{json.dumps(key)} = {_toml(value)}" for key, value in document.items()) if isinstance(document, dict) else None
    if kind == "xml":
        import xmltodict

        inner = xmltodict.unparse(document, full_document=False) if isinstance(document, dict) and len(document) == 1 else None
        return inner
    rows = document if isinstance(document, list) else [document]
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]) if isinstance(rows[0], dict) else [])
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {_toml(inner)}" for key, inner in value.items()) + "}"
    return "[" + ", ".join(map(_toml, value)) + "]" if isinstance(value, list) else json.dumps(value)


def _schema(task: Task) -> tuple[str, str]:
    text, kind, mode = task.get("schema_str"), task.get("schema_type", "json"), task.get("response_mode") or "text"
    try:
        schema = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{task.where('schema_str')}: is not JSON: {error}") from error
    if not isinstance(text, str) or not isinstance(schema, dict):
        raise DataError(f"{task.where('schema_str')}: must be the text of a JSON schema (an object), not {text!r}")
    if not isinstance(kind, str) or kind.lower() not in FORMATS:
        raise DataError(f"{task.where('schema_type')}: must be one of {', '.join(FORMATS)}, not {kind!r}")
    if mode not in ("text", "tool_call"):
        raise DataError(f"{task.where('response_mode')}: must be 'text' or 'tool_call', not {mode!r}")
    return text, kind.lower()


def _line(error: BaseException) -> str:
    message = str(getattr(error, "message", error)).strip().split("\n")[0]
    return f"{type(error).__name__}: {message[:200]}"
