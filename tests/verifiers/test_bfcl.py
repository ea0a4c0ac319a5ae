"""bfcl: every category, the comparison of values, both ways to call, and the real files."""

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

PATH = Path(__file__).parents[2] / "verifiers/bfcl.py"
VERIFIER = load_verifier("bfcl", PATH)
MODULE = load_module(PATH, "verifier")
SAIL = {
    "name": "boat.sail",
    "parameters": {
        "type": "dict",
        "properties": {
            "to": {"type": "string"},
            "knots": {"type": "float"},
            "crew": {"type": "array", "items": {"type": "string"}},
            "wind": {"type": "dict", "properties": {}},
            "legs": {"type": "array", "items": {"type": "dict"}},
            "fast": {"type": "boolean"},
            "days": {"type": "integer"},
        },
        "required": ["to"],
    },
}
MOOR = {"name": "moor", "parameters": {"type": "dict", "properties": {"at": {"type": "string"}}, "required": ["at"]}}


def row(category="simple", *calls, **sail):
    return {"category": category, "function": [SAIL, MOOR], "ground_truth": [*calls, {"boat.sail": {"to": ["Oslo"], **sail}}]}


def made(*calls):
    return Rollout(
        tool_calls=tuple(ToolCall.from_json({"function": {"name": name, "arguments": json.dumps(given)}}) for name, given in calls)
    )


test_standard = verifier_cases(
    "verifiers/bfcl.py",
    options={"calls": "text"},
    full=[
        (row(), 'boat.sail(to="Oslo")'),
        (row(), "[boat_sail(to='oslo.')]"),
        (row("parallel", {"moor": {"at": ["quay 3"]}}), "[boat.sail(to='Oslo'), moor(at='Quay 3')]"),
        (row(days=[-3]), "[boat.sail(to='Oslo', days=-3)]"),
        ({"category": "live_relevance", "function": [MOOR]}, "[moor()]"),
        ({"category": "irrelevance", "function": [MOOR]}, "That cannot be done."),
    ],
    zero=[
        (row(), "boat.sail(to='Rome')"),
        (row(), "boat.sail(to='Oslo'); moor(at='x')"),
        (row(), "[boat.sail(to='Oslo'), boat.sail(to='Oslo')]"),
        (row(), "[moor(to='Oslo')]"),
        (row("parallel"), "[]"),
        (row(days=[2]), "[boat.sail(to='Oslo', days=1+1)]"),
        ({"category": "irrelevance", "function": [MOOR]}, "moor(at='x')"),
        ({"category": "relevance", "function": [MOOR]}, "I would moor."),
    ],
    malformed=[(row(), "[" + "f(" * 3000), (row(), "f(a=" + "9**" * 5000 + "9)"), (row(), "f(**{})"), (row(), "x" * 300_000)],
)


@pytest.mark.parametrize(
    ("given", "right"),
    [
        ({"knots": 5}, True),
        ({"knots": 5.0}, True),
        ({"knots": "5"}, False),
        ({"knots": 10**400}, False),
        ({"crew": ["ann", "BO"]}, True),
        ({"crew": ["Bo", "Ann"]}, False),
        ({"crew": "Ann, Bo"}, False),
        ({"crew": ["Ann", 1]}, False),
        ({"wind": {"from": "n.w.", "force": 4}}, True),
        ({"wind": {"from": "nw"}}, True),
        ({"wind": {"force": 4}}, False),
        ({"wind": {"from": "nw", "gusts": 1}}, False),
        ({"legs": [{"to": "a"}, {"to": "b"}]}, True),
        ({"legs": [{"to": "b"}, {"to": "a"}]}, False),
        ({"legs": [{"to": "a"}]}, False),
        ({"fast": True}, True),
        ({"fast": 1}, False),
        ({"days": 2}, True),
        ({"days": 2.0}, False),
        ({"days": True}, False),
        ({"days": None}, False),
        ({"engine": 1}, False),
    ],
)
def test_values(given, right):
    listed = {
        "knots": [5.0, ""],
        "crew": [["Ann", "Bo"], ""],
        "wind": [{"from": ["NW"], "force": [4, ""]}, ""],
        "legs": [[{"to": ["A"]}, {"to": ["B"]}], ""],
        "fast": [True, ""],
        "days": [2, ""],
    }
    assert judge(VERIFIER, row(**listed), made(("boat_sail", {"to": "Oslo", **given}))).passed is right


def test_a_parameter_that_must_be_given():
    assert not judge(VERIFIER, row(days=[2]), made(("boat_sail", {"to": "Oslo"}))).passed
    assert not judge(VERIFIER, row(), made(("boat_sail", {}))).passed


def test_a_variable_counts_where_it_is_listed():
    fields = row(days=["two", "2"])
    assert judge(VERIFIER, fields, made(("boat_sail", {"to": "Oslo", "days": "two"}))).passed
    assert not judge(VERIFIER, fields, made(("boat_sail", {"to": "Oslo", "days": 2}))).passed


def test_calls_that_cannot_be_read():
    broken = Rollout(tool_calls=(ToolCall("1", "moor", None, '{"at": '),))
    assert not judge(VERIFIER, row(), broken).passed
    assert judge(VERIFIER, {"category": "irrelevance", "function": [MOOR]}, broken).passed
    assert not judge(VERIFIER, {"category": "relevance", "function": [MOOR]}, broken).passed


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"category": "simple_java"}, "category"),
        ({"category": None}, "category"),
        ({"function": []}, "function"),
        ({"function": [{"name": "f"}]}, "function"),
        ({"ground_truth": None}, "ground_truth"),
        ({"ground_truth": [{"boat.sail": {"to": "Oslo"}}]}, "ground_truth"),
        ({"ground_truth": [{"fly": {}}]}, "ground_truth"),
        ({"function": [{"name": "boat.sail", "parameters": {"properties": {"to": {"type": "ship"}}}}]}, "function"),
    ],
)
def test_a_broken_row_is_named(fields, field):
    with pytest.raises(DataError, match=rf"boats: row 3 \(task '7'\), field '{field}'"):
        VERIFIER(make_task(task_id="7", index=2, benchmark="boats", **{**row(), **fields}), made(("boat_sail", {"to": "Oslo"})))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.text(), st.dictionaries(st.sampled_from(sorted(SAIL["parameters"]["properties"])), JSON))
@settings(max_examples=100, deadline=None)
def test_any_call_gets_a_verdict(text, given_values):
    fields = row(crew=[["Ann"], ""], wind=[{"from": ["NW"]}, ""], legs=[[{"to": ["A"]}], ""], knots=[5.0, ""])
    judge(VERIFIER, fields, made(("boat_sail", {"to": "Oslo", **given_values})))
    judge(VERIFIER, fields, Rollout(tool_calls=(ToolCall.from_json({"function": {"name": "boat_sail", "arguments": text}}),)))


@given(st.text())
@settings(max_examples=50, deadline=None)
def test_any_text_gets_a_verdict(text):
    assert judge(VERIFIER, row(), make_rollout(text), calls="text").reward == 0


# Upstream's own rows that its checker cannot pass: a required list without a listed value, expected calls against their description.
IMPOSSIBLE = {"live_simple_106-63-0", "live_simple_112-68-0"}


@pytest.mark.parametrize("category", ["simple_python", "multiple", "parallel", "parallel_multiple", "live_simple", "live_parallel"])
def test_references_of_the_real_files(category):
    folder = sources() / "bfcl"
    answers = (folder / f"possible_answer/BFCL_v4_{category}.json").read_text(encoding="utf-8").splitlines()
    rows = (folder / f"BFCL_v4_{category}.json").read_text(encoding="utf-8").splitlines()
    for line, answer in zip(rows, answers, strict=True):
        fields = {**json.loads(line), **json.loads(answer), "category": category}
        message = MODULE.reference(make_task(**{name: value for name, value in fields.items() if name != "id"}))
        verdict = judge(VERIFIER, fields, Rollout((message,), tool_calls=message.tool_calls))
        assert verdict.passed is (fields["id"] not in IMPOSSIBLE), (fields["id"], verdict.explanation)
        assert not judge(VERIFIER, fields, "").passed
