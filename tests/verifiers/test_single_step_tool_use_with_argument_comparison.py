"""single_step_tool_use_with_argument_comparison: comparison of arguments, pairing, and rewards by number of calls."""

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

NAME = "single_step_tool_use_with_argument_comparison"
PATH = Path(__file__).parents[2] / f"verifiers/{NAME}.py"
VERIFIER = load_verifier(NAME, PATH)
MODULE = load_module(PATH, "verifier")


def call(name, arguments):
    return {"type": "function_call", "name": name, "arguments": json.dumps(arguments)}


def row(*calls):
    return {"expected_action": calls[0] if len(calls) == 1 else {"type": "function_call_batch", "calls": list(calls)}}


def made(*calls, text=""):
    return Rollout(text=text, tool_calls=tuple(ToolCall.from_json({"function": each}) for each in calls))


MESSAGE = {"expected_action": {"type": "message", "content": "Which boat?"}}
NOTE = row(call("note", {"text": "the crew is on board", "at": 4.0}))
test_standard = verifier_cases(
    f"verifiers/{NAME}.py",
    full=[
        (MESSAGE, "Any words will do."),
        (NOTE, made(call("note", {"text": "On board is the crew", "at": 4.0000001}), text="Noted.")),
        (NOTE, made(call("note", {"text": "the crew is on board", "at": 4.0}), call("moor", {}))),
        (row(call("moor", {"at": ["quay", {"n": 3}]})), made(call("moor", {"at": ["quay", {"n": 3}]}))),
    ],
    zero=[
        (MESSAGE, made(call("moor", {}))),
        (MESSAGE, ""),
        (NOTE, "the crew is on board"),
        (NOTE, made(call("note", {"text": "nobody has come yet", "at": 4.0}))),
        (NOTE, made(call("note", {"text": "the crew is on board", "at": 4}))),
        (NOTE, made(call("note", {"text": "the crew is on board"}))),
        (NOTE, made(call("write", {"text": "the crew is on board", "at": 4.0}))),
        (row(call("moor", {"at": "Oslo"})), made(call("moor", {"at": "oslo"}))),
        (row(call("a", {}), call("b", {})), made(call("a", {}))),
    ],
    may_score=True,  # the first row expects a message
)


def test_both_similarities():
    # One word of five is common: 1/10 by the benchmark's definition, 1/9 by Jaccard's.
    fields, rollout = row(call("note", {"text": "a b c d e"})), made(call("note", {"text": "e f g h i"}))
    for threshold, reward, jaccard in ((0.1, 1.0, 1.0), (0.105, 0.0, 1.0), (0.12, 0.0, 0.0), (0.0, 1.0, 1.0)):
        verdict = judge(VERIFIER, fields, rollout, word_count_similarity_threshold=threshold)
        assert (verdict.reward, verdict.scores["jaccard"]) == (reward, jaccard)


def test_pairing_is_the_best_one():
    # Both texts are near the first expected one, one alone near the second: the greedy pairing strands it.
    fields = row(call("note", {"text": "red boat big sail"}), call("note", {"text": "big sail old rope"}))
    rollout = made(call("note", {"text": "red boat big sail"}), call("note", {"text": "red boat"}))
    assert judge(VERIFIER, fields, rollout, word_count_similarity_threshold=0.2).reward == 1


@pytest.mark.parametrize(
    ("names", "options", "reward"),
    [
        ("ab", {}, 1),
        ("ba", {}, 1),
        ("ax", {"parallel_tool_call_reward_mode": "fractional"}, 0.5),
        ("ax", {"parallel_tool_call_reward_mode": "f1"}, 0.5),
        ("ax", {}, 0),
        ("a", {}, 0),
        ("a", {"allow_subset": True}, 1),
        ("a", {"allow_subset": True, "parallel_tool_call_reward_mode": "f1"}, 2 / 3),
        ("abxyz", {}, 0),
        ("abxyz", {"allow_superset": True}, 1),
        ("abxyz", {"allow_superset": True, "parallel_tool_call_reward_mode": "f1"}, 4 / 7),
    ],
)
def test_rewards_by_number_of_calls(names, options, reward):
    fields, rollout = row(call("a", {}), call("b", {})), made(*(call(name, {}) for name in names))
    assert judge(VERIFIER, fields, rollout, parallel_tool_call_rewarding=True, **options).reward == pytest.approx(reward)


@pytest.mark.parametrize(
    "value",
    [
        None,
        {},
        {"type": "sing"},
        {"type": "function_call"},
        {"type": "function_call_batch", "calls": []},
        call("f", {}) | {"arguments": "{"},
    ],
)
def test_a_broken_row_is_named(value):
    with pytest.raises(DataError, match=r"boats: row 3 \(task '7'\), field 'expected_action'"):
        VERIFIER(make_task(task_id="7", index=2, benchmark="boats", expected_action=value), make_rollout("hello"))


@given(st.text(), st.text())
@settings(max_examples=100, deadline=None)
def test_any_call_gets_a_verdict(text, raw):
    rollout = Rollout(text=text, tool_calls=(ToolCall.from_json({"function": {"name": "note", "arguments": raw}}),))
    assert judge(VERIFIER, NOTE, rollout).reward == 0
    assert judge(VERIFIER, MESSAGE, text).reward == bool(text.strip())


def test_many_calls_are_paired_in_time():
    calls = [call("note", {"text": "the same words"})] * 300
    assert judge(VERIFIER, row(*calls), made(*calls)).reward == 1


def test_nemo_gym_rows():
    path = sources() / f"nemo_gym_checkout/resources_servers/{NAME}/data/example.jsonl"
    for line in path.read_text(encoding="utf-8").splitlines():
        fields = json.loads(line)
        answer = MODULE.reference(make_task(**fields))
        rollout = answer if isinstance(answer, str) else Rollout((answer,), tool_calls=answer.tool_calls)
        assert judge(VERIFIER, fields, rollout).reward == 1
        assert judge(VERIFIER, fields, "").reward == 0
