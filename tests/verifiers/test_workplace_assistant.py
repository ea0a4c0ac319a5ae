"""workplace_assistant: replays on small tables, which calls change what, and rows of other tables."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_gym import DataError, Message, Rollout, ToolCall
from pytest_gym.testing import judge, make_rollout, make_task
from pytest_gym.verify import load_verifier

VERIFIER = load_verifier("workplace_assistant", Path(__file__).parents[2] / "verifiers/workplace_assistant.py")
TABLES = {
    "calendar_events": "event_id,event_name,participant_email,event_start,duration\n00000001,Talk,ann@x.org,2023-12-01 10:00:00,30\n"
    "00000002,Walk,bo@x.org,2023-12-01 12:00:00,60\n",
    "emails": "email_id,inbox/outbox,sender/recipient,subject,sent_datetime,body\n"
    "00000007,inbox,ann@x.org,Boat,2023-11-01 10:00:00,It leaks.\n"
    "00000008,outbox,bo@x.org,Sail,2023-11-02 10:00:00,It is torn.\n",
    "project_tasks": "task_id,task_name,assigned_to_email,list_name,due_date,board\n00000003,Mend,ann@x.org,Backlog,2023-12-01,Design\n",
    "customer_relationship_manager_data": "customer_id,assigned_to_email,customer_name,customer_email,customer_phone,"
    "last_contact_date,product_interest,status,follow_up_by,notes\n00000005,ann@x.org,Cy,cy@y.org,,2023-11-01,Software,Lead,,\n",
}


@pytest.fixture(scope="module")
def office(tmp_path_factory):
    folder = tmp_path_factory.mktemp("office")
    (folder / "tables").mkdir()
    for name, text in TABLES.items():
        (folder / "tables" / f"{name}.csv").write_text(text, encoding="utf-8")
    return folder


def row(*calls):
    return {"ground_truth": [{"name": name, "arguments": json.dumps(given)} for name, given in calls]}


def made(*calls):
    return Rollout(
        tool_calls=tuple(ToolCall.from_json({"function": {"name": name, "arguments": json.dumps(given)}}) for name, given in calls)
    )


REPLY = ("email_reply_email", {"email_id": "00000007", "body": "Thanks."})
LOST = ("customer_relationship_manager_update_customer", {"customer_id": "00000005", "field": "status", "new_value": "Lost"})
EVENT = {"event_name": "Tea", "participant_email": "Ann@x.org", "event_start": "2023-12-02 10:00:00", "duration": "30"}


@pytest.mark.parametrize(
    ("wanted", "calls", "reward"),
    [
        ([REPLY], [REPLY], 1),
        ([REPLY], [("email_search_emails", {"query": "boat"}), REPLY, ("no_such_tool", {})], 1),
        ([REPLY], [("email_reply_email", {"email_id": "00000007", "body": "THANKS."})], 1),
        ([REPLY], [("email_send_email", {"recipient": "ann@x.org", "subject": "RE: Boat", "body": "Thanks."})], 1),
        ([REPLY], [], 0),
        ([REPLY], [REPLY, REPLY], 0),
        ([REPLY, LOST], [LOST, REPLY], 1),
        ([LOST], [(LOST[0], {**LOST[1], "new_value": "lost"})], 0),
        (
            [("calendar_create_event", EVENT)],
            [("calendar_create_event", {**EVENT, "event_name": "TEA", "participant_email": "ann@x.org"})],
            1,
        ),
        ([("calendar_create_event", EVENT)], [("calendar_create_event", {**EVENT, "duration": 30})], 0),
        ([("calendar_create_event", EVENT)], [("calendar_create_event", {**EVENT, "event_start": "tomorrow"})], 0),
        ([("calendar_delete_event", {"event_id": "00000002"})], [("calendar_delete_event", {"event_id": "00000001"})], 0),
        (
            [],
            [
                ("calendar_delete_event", {"event_id": "9"}),
                ("project_management_update_task", {"task_id": "00000003", "field": "x", "new_value": "y"}),
            ],
            1,
        ),
        ([], [("project_management_delete_task", {"task_id": "00000003"})], 0),
        ([], [("__init__", {}), ("_assignee", {"email": "x"})], 1),
    ],
)
def test_replays(office, wanted, calls, reward):
    assert judge(VERIFIER, row(*wanted), made(*calls), files=office).reward == reward


def test_every_changing_tool_changes_something(office):
    calls = [
        REPLY,
        LOST,
        ("calendar_create_event", EVENT),
        ("calendar_delete_event", {"event_id": "00000001"}),
        ("calendar_update_event", {"event_id": "00000001", "field": "duration", "new_value": "45"}),
        ("email_delete_email", {"email_id": "00000007"}),
        ("email_forward_email", {"email_id": "00000007", "recipient": "bo@x.org"}),
        (
            "analytics_create_plot",
            {"time_min": "2023-10-01", "time_max": "2023-11-01", "value_to_plot": "total_visits", "plot_type": "bar"},
        ),
        (
            "project_management_create_task",
            {"task_name": "Row", "assigned_to_email": "ann@x.org", "list_name": "Backlog", "due_date": "2024-01-01", "board": "Design"},
        ),
        ("project_management_update_task", {"task_id": "00000003", "field": "board", "new_value": "Back end"}),
        ("customer_relationship_manager_add_customer", {"customer_name": "Di", "assigned_to_email": "ann@x.org", "status": "Lead"}),
        ("customer_relationship_manager_delete_customer", {"customer_id": "00000005"}),
    ]
    for call in calls:
        assert judge(VERIFIER, row(call), made(call), files=office).passed, call
        assert not judge(VERIFIER, row(call), "Done.", files=office).passed, call
        assert VERIFIER.function.__globals__["reference"](make_task(**row(call))).tool_calls[0].name == call[0]


def test_calls_of_all_turns_are_replayed(office):
    first, last = made(REPLY), made(LOST)
    turns = (Message("user", "Do it."), Message("assistant", "", tool_calls=first.tool_calls), Message("tool", "ok"))
    turns += (Message("assistant", "", tool_calls=last.tool_calls), Message("tool", "ok"), Message("assistant", "Done."))
    assert judge(VERIFIER, row(REPLY, LOST), Rollout(turns, "Done."), files=office).passed


@pytest.mark.parametrize("value", [None, "{", [{"name": "x"}], [{"name": "x", "arguments": "{"}], [{"name": 5, "arguments": "{}"}]])
def test_a_broken_row_is_named(office, value):
    with pytest.raises(DataError, match=r"office: row 3 \(task '7'\), field 'ground_truth'"):
        VERIFIER(make_task(task_id="7", index=2, benchmark="office", ground_truth=value), make_rollout(""), office)


def test_a_row_of_other_tables_and_tables_that_are_not_there(office, tmp_path):
    with pytest.raises(DataError, match=r"there is no email_id '00000057' in .*tables; the row belongs to other tables"):
        judge(VERIFIER, row(("email_delete_email", {"email_id": "00000057"})), "", files=office)
    with pytest.raises(DataError, match=r"needs the table .*calendar_events\.csv"):
        judge(VERIFIER, row(REPLY), "", files=tmp_path)


NAMES = ["event_id", "field", "new_value", "recipient", "subject", "body", "customer_name", "status"]
TOOLS = ["calendar_update_event", "email_send_email", "customer_relationship_manager_add_customer"]
VALUES = st.none() | st.integers() | st.text() | st.lists(st.text(), max_size=2)


@given(st.sampled_from(TOOLS), st.text(), st.dictionaries(st.sampled_from(NAMES), VALUES))
@settings(max_examples=100, deadline=None)
def test_any_call_gets_a_verdict(office, name, raw, arguments):
    calls = (ToolCall.from_json({"function": {"name": name, "arguments": raw}}), *made((name, arguments)).tool_calls)
    judge(VERIFIER, row(REPLY), Rollout(tool_calls=calls), files=office)
