"""structured_outputs: each format, the strict schema, tool mode, fences, and documents that are hard to read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_gym import DataError, Rollout, ToolCall
from pytest_gym.testing import judge, make_rollout, make_task, verifier_cases
from pytest_gym.verify import load_module, load_verifier
from tests.conftest import sources

pytest.importorskip("openapi_schema_validator", reason="needs the extra 'structured'")
pytest.importorskip("xmltodict", reason="needs the extra 'structured'")
PATH = Path(__file__).parents[2] / "verifiers/structured_outputs.py"
VERIFIER = load_verifier("structured_outputs", PATH)
MODULE = load_module(PATH, "verifier")
BOAT = {
    "type": "object",
    "properties": {
        "boat": {"type": "object", "properties": {"masts": {"type": "integer"}, "crew": {"type": "array", "items": {"type": "string"}}}}
    },
}


def row(schema=BOAT, kind="json", **fields):
    return {"schema_str": json.dumps(schema), "schema_type": kind, **fields}


def calls(*pairs):
    return Rollout(tool_calls=tuple(ToolCall.from_json({"function": {"name": name, "arguments": raw}}) for name, raw in pairs))


test_standard = verifier_cases(
    "verifiers/structured_outputs.py",
    full=[
        (row(), '{"boat": {"masts": 2, "crew": ["Ann"]}}'),
        (row(kind="yaml"), "boat:\n  masts: 2\n  crew: [Ann, Bo]"),
        (row(kind="toml"), '[boat]\nmasts = 2\ncrew = ["Ann"]'),
        (row(kind="xml"), "<boat><masts>2</masts><crew><name>Ann</name><name>Bo</name></crew></boat>"),
        (row(kind="JSON"), '\n{"boat": {"masts": 2, "crew": []}}'),
    ],
    zero=[
        (row(), '```json\n{"boat": {"masts": 2, "crew": []}}\n```'),
        (row(), '{"boat": {"masts": "2", "crew": []}}'),
        (row(), '{"boat": {"masts": 2}}'),
        (row(), '{"boat": {"masts": 2, "crew": [], "flag": 1}}'),
        (row(kind="xml"), "<boat><masts>two</masts><crew/></boat>"),
        (row(kind="yaml"), "a: &a [*a]\nb: *a"),
        (row(kind="toml"), "boat = "),
    ],
    malformed=[
        (row(kind=kind), text) for kind in ("yaml", "xml", "toml", "csv") for text in ("[" * 20_000, "<a>" * 20_000, "\x00", "a,b\n1")
    ],
    may_score=False,
)
TABLE = {"type": "array", "items": {"type": "object", "properties": {"n": {"type": "integer"}, "ok": {"type": ["boolean", "null"]}}}}


@pytest.mark.parametrize(
    ("text", "reward"),
    [("n,ok\n1,true\n2,\n", 1), ("n,ok\n1,0", 1), ("n,ok\n1,maybe", 0), ("n\n1", 0), ("n,ok\n1,true,3", 0), ("n,ok", 1)],
)
def test_csv_cells_take_the_type_that_the_schema_wants(text, reward):
    assert judge(VERIFIER, row(TABLE, "csv"), text).reward == reward


@pytest.mark.parametrize(
    ("rollout", "reward", "says"),
    [
        (calls(("save", '{"out": {"boat": {"masts": 1, "crew": []}}}')), 1, "valid"),
        (calls(("save", '{"boat": {"masts": 1, "crew": []}}')), 0, "no key 'out'"),
        (calls(("save", '{"out": {"boat": {"masts": 1.5, "crew": []}}}')), 0, "not valid"),
        (calls(("keep", '{"out": 1}')), 0, "expected a call of save, found keep"),
        (calls(("save", "{")), 0, "not JSON"),
        (calls(("save", "[" * 50_000)), 0, "not JSON"),
        (calls(("save", "{}"), ("save", "{}")), 0, "found 2"),
        (make_rollout('{"boat": {"masts": 1, "crew": []}}'), 0, "found 0"),
    ],
)
def test_tool_mode(rollout, reward, says):
    verdict = judge(VERIFIER, row(response_mode="tool_call", tool_name="save", tool_payload_key="out"), rollout)
    assert verdict.reward == reward
    assert says in verdict.explanation


def test_fences_are_a_second_score_and_an_option():
    text = 'Here:\n```json\n{"boat": {"masts": 2, "crew": []}}\n```'
    assert (judge(VERIFIER, row(), text).reward, judge(VERIFIER, row(), text).scores) == (0.0, {"fenced": 1.0})
    assert judge(VERIFIER, row(), text, fences=True).reward == 1.0
    assert judge(VERIFIER, row(), '{"boat": {"masts": 2, "crew": []}}').scores == {"fenced": 1.0}


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"schema_str": "{"}, "schema_str"),
        ({"schema_str": None}, "schema_str"),
        ({"schema_str": "[]"}, "schema_str"),
        ({"schema_str": "{}", "schema_type": "html"}, "schema_type"),
        ({"schema_str": "{}", "response_mode": "voice"}, "response_mode"),
    ],
)
def test_a_broken_row_is_named(fields, field):
    with pytest.raises(DataError, match=rf"boats: row 3 \(task '7'\), field '{field}'"):
        VERIFIER(make_task(task_id="7", index=2, benchmark="boats", **fields), make_rollout("{}"))


def test_what_takes_too_long_is_invalid_with_a_reason():
    verdict = judge(VERIFIER, row(kind="yaml"), "a: 1\n" * 100_000, seconds=0.2)
    assert verdict.reward == 0
    assert "took longer than" in verdict.explanation


@given(st.text(), st.sampled_from(MODULE.FORMATS))
@settings(max_examples=40, deadline=None)
def test_any_text_gets_a_verdict(text, kind):
    assert judge(VERIFIER, row(kind=kind), text).reward == 0
    assert judge(VERIFIER, row(response_mode="tool_call"), calls((text, text))).reward == 0


def test_nemo_gym_rows():
    path = sources() / "nemo_gym_checkout/resources_servers/structured_outputs/data/example.jsonl"
    for line in path.read_text(encoding="utf-8").splitlines():
        fields = json.loads(line)
        message = MODULE.reference(make_task(**fields))
        assert judge(VERIFIER, fields, Rollout((message,), tool_calls=message.tool_calls)).reward == 1
        assert judge(VERIFIER, fields, "").reward == 0
