"""BFCL's prepare script: tools in Chat Completions' form, and upstream's files where they are at hand."""

from __future__ import annotations

import json
import re

import pytest

from pytest_gym.catalogue import Catalogue, builtin_root
from pytest_gym.prepare import prepare
from pytest_gym.testing import judge, make_task
from pytest_gym.verify import load_module, load_verifier
from tests.conftest import sources

FOLDER = builtin_root() / "benchmarks/bfcl"
TYPES = {"object", "string", "integer", "number", "boolean", "array"}


def types(schema):
    """The types of a schema and of all below it."""
    yield schema.get("type")
    for inner in schema.get("properties", {}).values():
        yield from types(inner)
    if isinstance(schema.get("items"), dict):
        yield from types(schema["items"])


def test_a_tool_has_json_schema_types_and_no_dots():
    module = load_module(FOLDER / "prepare.py", "prepare")
    properties = {
        "type": {"type": "any", "description": "a parameter of this name", "optional": True},
        "legs": {"type": "tuple", "items": {"type": "dict", "properties": {"optional": {"type": "float"}}}},
    }
    tool = module._tool(
        {"name": "boat.sail.to", "description": "x", "parameters": {"type": "dict", "properties": properties, "required": []}}
    )
    parameters = tool["function"]["parameters"]
    assert tool["function"]["name"] == "boat_sail_to"
    assert parameters["properties"]["type"] == {"type": "string", "description": "a parameter of this name"}
    assert parameters["properties"]["legs"]["items"] == {"type": "object", "properties": {"optional": {"type": "number"}}}
    assert parameters["type"] == "object"


def test_several_turns_become_one_text():
    module = load_module(FOLDER / "prepare.py", "prepare")
    turns = [{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Hello."}, {"role": "user", "content": "Sail."}]
    assert module._text(turns) == "User: Hi.\n\nAssistant: Hello.\n\nUser: Sail."
    assert module._text(turns[:1]) == "Hi."


@pytest.mark.parametrize("name", ["non_live", "irrelevance", "live_relevance", "live_multiple_first200", "live_irrelevance_first200"])
def test_the_real_files(name, tmp_path):
    folder = sources()
    benchmark = Catalogue([builtin_root()]).benchmark(f"bfcl/{name}")
    ready = prepare(benchmark, benchmark.dataset("benchmark"), cache=tmp_path, sources=folder, lock=None, progress=lambda text: None)
    assert ready.frozen
    verifier = load_verifier("bfcl", builtin_root() / "verifiers/bfcl.py")
    for number, line in enumerate(ready.path.read_text(encoding="utf-8").splitlines()):
        row = json.loads(line)
        for tool in row["tools"]:
            assert re.fullmatch(r"[A-Za-z0-9_-]{1,64}", tool["function"]["name"])
            assert set(types(tool["function"]["parameters"])) <= TYPES
        if number % 20 == 0:
            fields = {key: value for key, value in row.items() if key != "id"}
            text = verifier.reference_text(make_task(**fields), {"calls": "text"})
            assert judge(verifier, fields, text, calls="text").passed, row["id"]
            answer = load_module(builtin_root() / "verifiers/bfcl.py", "verifier").reference(make_task(**fields))
            assert judge(verifier, fields, answer).passed, row["id"]
