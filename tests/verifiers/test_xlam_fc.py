"""xlam_fc: matching of calls, and calls of every kind."""

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

PATH = Path(__file__).parents[2] / "verifiers/xlam_fc.py"
VERIFIER = load_verifier("xlam_fc", PATH)


def row(*calls):
    return {"expected_answers": [{"name": name, "arguments": given} for name, given in calls]}


def made(*calls):
    return Rollout(
        tool_calls=tuple(ToolCall.from_json({"function": {"name": name, "arguments": json.dumps(given)}}) for name, given in calls)
    )


PAIR = row(("find", {"fish": "cod"}), ("find", {"fish": "eel", "depth": 3}))
test_standard = verifier_cases(
    "verifiers/xlam_fc.py",
    full=[
        (row(), "Nothing here can do that."),
        (PAIR, made(("find", {"fish": "eel", "depth": 3.0, "near": "quay"}), ("find", {"fish": "cod"}))),
        (row(("ping", {})), made(("ping", {"loud": True}))),
    ],
    zero=[
        (row(), made(("ping", {}))),
        (PAIR, "cod and eel"),
        (PAIR, made(("find", {"fish": "cod"}))),
        (PAIR, made(("find", {"fish": "cod"}), ("find", {"fish": "eel", "depth": "3"}))),
        (PAIR, made(("find", {"fish": "cod"}), ("find", {"fish": "eel", "depth": 3}), ("ping", {}))),
        (row(("ping", {"loud": True})), made(("ring", {"loud": True}))),
    ],
    may_score=True,  # the first row expects no call
)


def test_greedy_pairing_and_the_best_one():
    fields = row(("find", {}), ("find", {"fish": "eel"}))
    verdict = judge(VERIFIER, fields, made(("find", {"fish": "eel"}), ("find", {"fish": "cod"})))
    assert (verdict.reward, verdict.scores["strict"], verdict.scores["num_correct"]) == (0.0, 1.0, 1.0)


@pytest.mark.parametrize(("value", "strict"), [(1, 0.0), (1.0, 0.0), (True, 1.0)])
def test_true_is_one_but_not_strictly(value, strict):
    verdict = judge(VERIFIER, row(("ping", {"loud": [True]})), made(("ping", {"loud": [value]})))
    assert (verdict.reward, verdict.scores["strict"]) == (1.0, strict)


@pytest.mark.parametrize(
    "value", [None, {}, ["f"], [{"arguments": {}}], [{"name": "f", "arguments": "{"}], [{"name": "f", "arguments": [1]}]]
)
def test_a_broken_row_is_named(value):
    with pytest.raises(DataError, match=r"boats: row 3 \(task '7'\), field 'expected_answers'"):
        VERIFIER(make_task(task_id="7", index=2, benchmark="boats", expected_answers=value), make_rollout(""))


@given(st.lists(st.tuples(st.sampled_from(["find", "ping"]), st.text()), max_size=4))
@settings(max_examples=100, deadline=None)
def test_any_call_gets_a_verdict(pairs):
    calls = tuple(ToolCall.from_json({"function": {"name": name, "arguments": raw}}) for name, raw in pairs)
    assert judge(VERIFIER, PAIR, Rollout(tool_calls=calls)).reward == 0


def test_nemo_gym_rows():
    module = load_module(PATH, "verifier")
    path = sources() / "nemo_gym_checkout/resources_servers/xlam_fc/data/example.jsonl"
    for line in path.read_text(encoding="utf-8").splitlines():
        fields = json.loads(line)
        message = module.reference(make_task(**fields))
        assert judge(VERIFIER, fields, Rollout((message,), tool_calls=message.tool_calls)).reward == 1
        assert judge(VERIFIER, fields, "").reward == 0
