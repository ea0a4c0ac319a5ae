"""calendar: where the list is found, constraints, overlaps, and lists that are hard to find."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_gym import DataError
from pytest_gym.testing import judge, make_rollout, make_task, verifier_cases
from pytest_gym.verify import load_module, load_verifier
from tests.conftest import sources

PATH = Path(__file__).parents[2] / "verifiers/calendar.py"
VERIFIER = load_verifier("calendar", PATH)
MODULE = load_module(PATH, "verifier")


def row(*constraints, duration=60):
    state = {str(n): {"event_id": n, "duration": duration, "constraint": c} for n, c in enumerate(constraints)}
    return {"exp_cal_state": {name: {**event, "min_time": "10:00", "max_time": "16:00"} for name, event in state.items()}}


def events(*starts, duration=60):
    return json.dumps([{"event_id": n, "event_name": "talk", "start_time": at, "duration": duration} for n, at in enumerate(starts)])


test_standard = verifier_cases(
    "verifiers/calendar.py",
    full=[
        (row("before 2pm", "at 12:30pm"), "Here you are:\n```json\n" + events("10:00", "12:30") + "\n```"),
        (row(None), events("3pm")),
        (row("between 10:15am and 11:15am"), events("10:15am")),
        (row("after 3pm"), events("15:00")),
        (row("after 3pm"), "As in [1]: " + events("15:00") + " [2]"),
    ],
    zero=[
        (row("before 2pm"), events("13:15")),
        (row("after 3pm"), events("14:59")),
        (row("at 12pm"), events("12:01")),
        (row("between 10am and 11:15am"), events("10:30")),
        (row(None), events("15:30")),
        (row(None), events("09:00")),
        (row(None), events("12")),
        (row(None, None), events("10:00")),
        (row(None, None), events("10:00", "10:59")),
        (row(None), events("10:00", duration=30)),
        (row(None), "[]"),
        (row(None), '["event_id"] {}'),
        (row(None), "[{}]"),
        (row(None), '[{"event_id": 0, "start_time": "10:00"}]'),
        (row(None), "<think>" + events("10:00")),
        (row(None), '[{"event_id": 0,}]'),
    ],
    malformed=[(row(None), text) for text in ("[{" * 100_000, "[{}" * 50_000, "[" + "{}" * 100_000, "{" * 1_000_000, '[{"event_id": []}]')],
)


def test_an_empty_state_is_met_by_any_answer():
    assert judge(VERIFIER, row(), "What a fine day.").passed
    assert not judge(VERIFIER, row(), " ").passed


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('[1] [{"a": 1}]', [{"a": 1}]),
        ('[{"a": "[x]"}, {"b": 2}]', [{"a": "[x]"}, {"b": 2}]),
        ('[{"a": ["x"]}]', None),
        ('[{"b": 2}, {"a": "x]"}]', None),
        ('x ] [ {"a": 1} [2] ]', None),
        ('{"a": 1}', None),
        ('[{"a": 1', None),
    ],
)
def test_the_first_list(text, found):
    assert MODULE.first_list(text) == found


@pytest.mark.parametrize(
    ("text", "expected"), [("14:30", 870), ("2:30pm", 870), ("12am", 0), ("12pm", 720), ("12:05am", 5), (" 9am ", 540)]
)
def test_minutes(text, expected):
    assert MODULE.minutes(text) == expected


def test_many_events_are_compared_in_time():
    begin = time.monotonic()
    text = json.dumps([{"event_id": n, "start_time": f"{n}:00", "duration": 60} for n in range(20_000)])
    assert "20000 found" in judge(VERIFIER, row(None), text).explanation
    same = json.dumps([{"event_id": 0, "start_time": "10:00", "duration": 60}] * 20_000)
    assert judge(VERIFIER, row(None), same).passed
    assert time.monotonic() - begin < 5


@pytest.mark.parametrize(
    "value", [None, [], {"0": {}}, {"0": {"duration": 5, "min_time": "x", "max_time": "16:00"}}, row("at noon")["exp_cal_state"]]
)
def test_a_broken_row_is_named(value):
    with pytest.raises(DataError, match=r"boats: row 3 \(task '7'\), field 'exp_cal_state'"):
        VERIFIER(make_task(task_id="7", index=2, benchmark="boats", exp_cal_state=value), make_rollout("[]"))


@given(st.text(st.sampled_from('[]{}":, 01aevent_idstart_timeduration\\')), st.text())
@settings(max_examples=120, deadline=None)
def test_any_text_gets_a_verdict(text, other):
    assert judge(VERIFIER, row("at 11am"), text).reward == 0
    assert judge(VERIFIER, row("at 11am"), f'[{{"event_id": 0, "start_time": "{other}", "duration": 60}}]').explanation


def test_nemo_gym_rows():
    path = sources() / "nemo_gym_checkout/resources_servers/calendar/data/example.jsonl"
    for line in path.read_text(encoding="utf-8").splitlines():
        fields = json.loads(line)
        assert judge(VERIFIER, fields, VERIFIER.reference_text(make_task(**fields), {})).reward == 1
        assert judge(VERIFIER, fields, "").reward == 0
