"""workplace_assistant: the tool calls leave the office's tables as the expected calls would.

Rule: all calls that the model made after the user's last message are replayed on fresh tables, and so are the row's `ground_truth` calls.
Reward 1 where the five tables are equal afterwards: calendar, emails, plots, project tasks, customers. Case does not matter but in
`status`, `list_name` and `board`; a value that is no text equals any other such value elsewhere. A call that fails or does not exist
changes nothing, and calls that only read are free.

The tables are CSV files with a header in the folder `tables` beside the benchmark's config: `calendar_events.csv`, `emails.csv`,
`project_tasks.csv`, `customer_relationship_manager_data.csv`. A row whose expected calls are about something that they do not have is
broken (DataError): it belongs to other tables.

Source of truth: NeMo Gym's server of this name, which defines the benchmark (derived from WorkBench). As there, the labels of rows take
part: a table from which a row was deleted after one was added is not that in which it was deleted before. Dates of new events may be ISO
or a few other common forms; pandas, which the server uses, reads more.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from pytest_gym import DataError, Message, Rollout, Task, ToolCall, Verdict, verifier

Cells = dict[str, Any]
NOW = "2023-11-30 23:59:00"
BOARDS = ("Back end", "Front end", "Design")
LISTS = ("Backlog", "In Progress", "In Review", "Completed")
STATES = ("Qualified", "Won", "Lost", "Lead", "Proposal")
PRODUCTS = ("Software", "Hardware", "Services", "Consulting", "Training")
_SOURCES = ("direct", "referral", "search_engine", "social_media")
PLOTTED = ("total_visits", "session_duration_seconds", "user_engaged", *(f"visits_{source}" for source in _SOURCES))
_CASE_COUNTS = ("status", "list_name", "board")
_DATES = (
    "%m/%d/%Y %H:%M:%S",
    "%m/%d/%Y %H:%M",
    "%m/%d/%Y",
    "%B %d, %Y %H:%M",
    "%B %d, %Y",
    "%Y/%m/%d %H:%M:%S",
    "%Y/%m/%d %H:%M",
    "%Y/%m/%d",
)


class _Refused(Exception):
    """A call that changes nothing; `missing` says that it names something which the tables do not have."""

    def __init__(self, reason: str, missing: bool = False) -> None:
        super().__init__(reason)
        self.missing = missing


@verifier
def workplace_assistant(task: Task, rollout: Rollout, files: Path) -> Verdict:
    """Reward 1 where the calls of the model and the expected ones leave the same tables.

    Raises DataError for a row whose expected calls cannot be read or replayed.
    """
    tables = _tables(str(files / "tables"))
    wanted = _replayed(tables, _expected(task), lambda reason: _raise(task, files, reason))
    calls = _calls(rollout)
    found = _replayed(tables, [(call.name, call.arguments) for call in calls], lambda reason: None)
    different = [name for name in wanted if found[name] != wanted[name]]
    says = f"after {len(calls)} calls {different[0]} is not as expected" if different else "the tables are as expected"
    return Verdict(float(not different), explanation=says)


@workplace_assistant.reference  # type: ignore[type-var, unused-ignore]
def reference(task: Task) -> str | Message:
    """The expected calls."""
    calls = [
        ToolCall.from_json({"id": f"call_{number}", "function": {"name": name, "arguments": json.dumps(given)}})
        for number, (name, given) in enumerate(_expected(task))
    ]
    return Message("assistant", "", tool_calls=tuple(calls)) if calls else "There is nothing to do."


class _Table:
    """Rows with labels, as a data frame has them."""

    def __init__(self, key: str, columns: list[str], rows: Iterable[Cells]) -> None:
        self.key, self.columns = key, columns
        self.rows = [(label, dict(row)) for label, row in enumerate(rows)]

    def find(self, key: Any) -> Cells:
        """The row with this key; _Refused without one."""
        for _, row in self.rows:
            if row[self.key] == key:
                return row
        raise _Refused(f"there is no {self.key} {key!r}", missing=True)

    def next_key(self) -> int:
        """One more than the largest key."""
        return int(max(row[self.key] for _, row in self.rows)) + 1

    def add(self, row: Cells, relabel: bool = True) -> None:
        """Append a row: all rows get new labels, or the new one gets 0."""
        self.rows.append((0, {column: row.get(column) for column in self.columns}))
        if relabel:
            self.rows = [(label, each) for label, (_, each) in enumerate(self.rows)]

    def delete(self, key: Any) -> None:
        """Remove the row with this key; the others keep their labels."""
        self.find(key)
        self.rows = [(label, row) for label, row in self.rows if row[self.key] != key]

    def change(self, key: Any, column: str, value: Any) -> None:
        """Set one cell of the row with this key."""
        row = self.find(key)
        if not isinstance(value, str | int | float):
            raise _Refused("a cell takes one value")
        row[column] = value

    def state(self) -> list[Any]:
        """What is compared."""
        return [(label, [_cell(row[column], column) for column in self.columns]) for label, row in self.rows]


def _cell(value: Any, column: str) -> Any:
    if column in _CASE_COUNTS:
        return value
    return value.lower() if isinstance(value, str) else None


class _Office:
    """The tables, and the tools that change them."""

    def __init__(self, tables: dict[str, tuple[str, list[str], list[Cells]]]) -> None:
        self.events, self.emails, self.tasks, self.customers = (_Table(*tables[name]) for name in _FILES)
        self.plots = _Table("file_path", ["file_path"], [])

    def calendar_create_event(
        self, event_name: Any = None, participant_email: Any = None, event_start: Any = None, duration: Any = None
    ) -> None:
        _need(event_name, participant_email, event_start, duration)
        _date(event_start)
        _minutes(duration)
        row = {"event_id": f"{self.events.next_key():08}", "event_name": event_name, "participant_email": participant_email.lower()}
        self.events.add({**row, "event_start": event_start, "duration": duration}, relabel=False)

    def calendar_delete_event(self, event_id: Any = None) -> None:
        self.events.delete(_eight_digits(event_id))

    def calendar_update_event(self, event_id: Any = None, field: Any = None, new_value: Any = None) -> None:
        _need(event_id, field, new_value)
        _eight_digits(event_id)
        _one_of(field, ("event_name", "participant_email", "event_start", "duration"))
        if field == "event_start":
            _date(new_value)
        elif field == "duration":
            _minutes(new_value)
        self.events.find(event_id)
        self.events.change(event_id, field, new_value.lower() if field == "participant_email" else new_value)

    def email_send_email(self, recipient: Any = None, subject: Any = None, body: Any = None) -> None:
        _need(recipient, subject, body)
        if "@" not in recipient or "." not in recipient:
            raise _Refused("the recipient is no address")
        row = {"email_id": str(self.emails.next_key()) if self.emails.rows else "1", "inbox/outbox": "outbox"}
        self.emails.add({**row, "sender/recipient": recipient.lower(), "subject": subject, "sent_datetime": NOW, "body": body})

    def email_delete_email(self, email_id: Any = None) -> None:
        _need(email_id)
        self.emails.delete(email_id)

    def email_forward_email(self, email_id: Any = None, recipient: Any = None) -> None:
        _need(email_id, recipient)
        if "@" not in recipient or "." not in recipient:
            raise _Refused("the recipient is no address")
        email = self.emails.find(email_id)
        self.email_send_email(recipient, f"FW: {email['subject']}", email["body"])

    def email_reply_email(self, email_id: Any = None, body: Any = None) -> None:
        _need(email_id, body)
        email = self.emails.find(email_id)
        self.email_send_email(email["sender/recipient"], f"RE: {email['subject']}", body)

    def analytics_create_plot(self, time_min: Any = None, time_max: Any = None, value_to_plot: Any = None, plot_type: Any = None) -> None:
        _need(time_min, time_max)
        _one_of(value_to_plot, PLOTTED)
        _one_of(plot_type, ("bar", "line", "scatter", "histogram"))
        self.plots.add({"file_path": f"plots/{time_min}_{time_max}_{value_to_plot}_{plot_type}.png"})

    def project_management_create_task(
        self, task_name: Any = None, assigned_to_email: Any = None, list_name: Any = None, due_date: Any = None, board: Any = None
    ) -> None:
        _need(task_name, assigned_to_email, list_name, due_date, board)
        self._assignee(assigned_to_email.lower())
        _one_of(list_name, LISTS)
        _one_of(board, BOARDS)
        row = {"task_id": f"{self.tasks.next_key():08}", "task_name": task_name, "assigned_to_email": assigned_to_email.lower()}
        self.tasks.add({**row, "list_name": list_name, "due_date": due_date, "board": board})

    def project_management_delete_task(self, task_id: Any = None) -> None:
        _need(task_id)
        self.tasks.delete(task_id)

    def project_management_update_task(self, task_id: Any = None, field: Any = None, new_value: Any = None) -> None:
        _need(task_id, field, new_value)
        if field == "assigned_to_email":
            new_value = new_value.lower()
            self._assignee(new_value)
        elif field in ("board", "list_name"):
            _one_of(new_value, BOARDS if field == "board" else LISTS)
        self.tasks.find(task_id)
        _one_of(field, self.tasks.columns)
        self.tasks.change(task_id, field, new_value)

    def customer_relationship_manager_update_customer(self, customer_id: Any = None, field: Any = None, new_value: Any = None) -> None:
        _need(customer_id, field, new_value)
        if field in ("status", "product_interest"):
            _one_of(new_value, STATES if field == "status" else PRODUCTS)
        if field in ("customer_email", "assigned_to_email"):
            new_value = new_value.lower()
        self.customers.find(customer_id)
        _one_of(field, self.customers.columns)
        self.customers.change(customer_id, field, new_value)

    def customer_relationship_manager_add_customer(
        self,
        customer_name: Any = None,
        assigned_to_email: Any = None,
        status: Any = None,
        customer_email: Any = None,
        customer_phone: Any = None,
        last_contact_date: Any = None,
        product_interest: Any = None,
        notes: Any = "",
        follow_up_by: Any = None,
    ) -> None:
        _need(customer_name, assigned_to_email, status)
        row = {"customer_name": customer_name, "assigned_to_email": assigned_to_email.lower(), "status": status, "notes": notes}
        row |= {"customer_email": customer_email.lower() if customer_email else customer_email, "customer_phone": customer_phone}
        row |= {"last_contact_date": last_contact_date, "product_interest": product_interest, "follow_up_by": follow_up_by}
        self.customers.add({"customer_id": f"{self.customers.next_key():08}", **row})

    def customer_relationship_manager_delete_customer(self, customer_id: Any = None) -> None:
        _need(customer_id)
        self.customers.delete(customer_id)

    def _assignee(self, email: Any) -> None:
        if email not in [str(row["assigned_to_email"]).lower() for _, row in self.tasks.rows]:
            raise _Refused(f"nobody has the address {email!r}", missing=True)


_FILES = {
    "calendar_events": "event_id",
    "emails": "email_id",
    "project_tasks": "task_id",
    "customer_relationship_manager_data": "customer_id",
}


def _replayed(tables: dict[str, Any], calls: Iterable[tuple[str, Any]], missing: Callable[[str], None]) -> dict[str, list[Any]]:
    office = _Office(tables)
    for name, arguments in calls:
        tool = None if name.startswith("_") else getattr(office, name, None)
        if not callable(tool) or not isinstance(arguments, dict):
            continue
        try:
            tool(**arguments)
        except _Refused as error:
            if error.missing:
                missing(str(error))
        except (TypeError, ValueError, AttributeError):
            continue  # arguments that the tool does not have, or of a type that it cannot use
    names = ("events", "emails", "tasks", "customers", "plots")
    return {name: getattr(office, name).state() for name in names}


def _need(*values: Any) -> None:
    if not all(values):
        raise _Refused("an argument is missing")


def _one_of(value: Any, allowed: Iterable[str]) -> None:
    if value not in allowed:
        raise _Refused(f"{value!r} is not allowed")


def _eight_digits(value: Any) -> Any:
    if not (isinstance(value, str) and len(value) == 8 and value.isdigit()):
        raise _Refused("the id needs eight digits")
    return value


def _minutes(value: Any) -> None:
    if int(value) <= 0:
        raise _Refused("the duration must be positive")


def _date(value: Any) -> None:
    for form in ("", *_DATES):
        try:
            datetime.strptime(value, form) if form else datetime.fromisoformat(value)
            return
        except ValueError:
            continue
    raise _Refused("the date cannot be read")


def _calls(rollout: Rollout) -> list[ToolCall]:
    last = max((number for number, message in enumerate(rollout.messages) if message.role == "user"), default=-1)
    calls = [call for message in rollout.messages[last + 1 :] if message.role == "assistant" for call in message.tool_calls]
    return calls or list(rollout.tool_calls)


def _expected(task: Task) -> list[tuple[str, dict[str, Any]]]:
    where = task.where("ground_truth")
    value = task.get("ground_truth")
    try:
        calls = json.loads(value) if isinstance(value, str) else value
        found = [
            (call["name"], json.loads(call["arguments"]) if isinstance(call["arguments"], str) else call["arguments"]) for call in calls
        ]
    except (TypeError, KeyError, ValueError) as error:
        raise DataError(f"{where}: must be a list of {{name, arguments}}, not {value!r}") from error
    if not all(isinstance(name, str) and isinstance(given, dict) for name, given in found):
        raise DataError(f"{where}: must be a list of {{name, arguments}}, not {value!r}")
    return found


def _raise(task: Task, files: Path, reason: str) -> None:
    where = task.where("ground_truth")
    raise DataError(f"{where}: {reason} in {files / 'tables'}; the row belongs to other tables")


@cache
def _tables(folder: str) -> dict[str, tuple[str, list[str], list[Cells]]]:
    found = {}
    for name, key in _FILES.items():
        path = Path(folder) / f"{name}.csv"
        try:
            with path.open(encoding="utf-8", newline="") as file:
                rows = csv.DictReader(file)
                # An empty cell is no value, as pandas has it.
                cells = [{column: value or None for column, value in row.items()} for row in rows]
                found[name] = (key, list(rows.fieldnames or ()), cells)
        except OSError as error:
            raise DataError(f"workplace_assistant needs the table {path}: {error.strerror or error}") from error
        if not cells or key not in found[name][1] or not all((row[key] or "").isdecimal() for row in cells):
            raise DataError(f"{path}: needs rows, each with a number in the column {key!r}")
    return found
