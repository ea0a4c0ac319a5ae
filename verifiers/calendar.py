"""calendar: the events of the answer stand where their constraints allow, without overlaps.

Rule, with the row's `exp_cal_state` ({event_id: {duration, min_time, max_time, constraint}}):

    - an empty state is met by any answer that is not empty;
    - else the events are the answer's first JSON list of objects; there must be as many different `event_id`s as expected;
    - no two events overlap (events that are equal in every field count as one and the same);
    - each expected event has its duration, lies between `min_time` and `max_time`, and keeps its constraint: `before T` (ends by T),
      `after T` (begins from T on), `between T and T` (both), `at T` (begins at T), or none;
    - times are 14:30, 2:30pm or 2pm; whatever cannot be read is wrong.

An answer that still has a `<think>` in it is wrong. `scores`: `events` is the share of expected events that are right by themselves,
whatever the others are.

Source of truth: NeMo Gym's server `calendar`, which defines the benchmark. There the list is found by a regular expression that takes
exponential time on some texts; here the same list is found by looking at brackets and braces, and nothing after 200 openings.
"""

from __future__ import annotations

import itertools
import json
import re
from typing import Any

from pytest_gym import DataError, Rollout, Task, Verdict, verifier

Event = dict[str, Any]
_MARK = re.compile(r"[\[\]{]")
_BRACKET = re.compile(r"[\[\]]")
_TRIES = 200


@verifier
def calendar(task: Task, rollout: Rollout, *, field: str = "exp_cal_state") -> Verdict:
    """Reward 1 where all expected events are in the answer, keep their constraints, and do not overlap.

    Options:
        field: the row's field with the expected state.

    Raises DataError for a row whose state cannot be read.
    """
    expected = _state(task, field)
    text = rollout.text
    if not text.strip():
        return Verdict(0.0, explanation="the answer is empty", scores={"events": 0.0})
    if "<think>" in text:
        return Verdict(0.0, explanation="the answer has a <think> in it", scores={"events": 0.0})
    if not expected:
        return Verdict(1.0, extracted="{}", explanation="no event is expected", scores={"events": 1.0})
    events = first_list(text)
    if not events:
        return Verdict(0.0, explanation="no JSON list of events in the answer", scores={"events": 0.0})
    try:
        found = {str(event["event_id"]): event for event in events}
        right = sum(_keeps(found.get(name), wanted) for name, wanted in expected.items()) / len(expected)
    except (KeyError, TypeError, AttributeError):
        return Verdict(0.0, explanation="the list holds something that is no event with an event_id", scores={"events": 0.0})
    scores = {"events": right}
    shown = json.dumps({name: event.get("start_time") for name, event in sorted(found.items())}, default=str)
    if len(found) != len(expected):
        return Verdict(0.0, extracted=shown, explanation=f"{len(expected)} events are expected, {len(found)} found", scores=scores)
    if missing := [name for name in expected if name not in found]:
        return Verdict(0.0, extracted=shown, explanation=f"event {missing[0]} is missing", scores=scores)
    try:
        clash = _overlap(events)
    except (KeyError, TypeError, ValueError, AttributeError):
        return Verdict(0.0, extracted=shown, explanation="an event has no readable start_time and duration", scores=scores)
    if clash:
        return Verdict(0.0, extracted=shown, explanation=f"events {clash[0]} and {clash[1]} overlap", scores=scores)
    for name, wanted in expected.items():
        if not _keeps(found[name], wanted):
            says = f"event {name} breaks: {wanted['duration']} minutes, {wanted['min_time']}–{wanted['max_time']}, {wanted['constraint']}"
            return Verdict(0.0, extracted=shown, explanation=says, scores=scores)
    return Verdict(1.0, extracted=shown, explanation="all events keep their constraints", scores=scores)


@calendar.reference
def reference(task: Task, *, field: str = "exp_cal_state") -> str | None:
    """A schedule that keeps all constraints, each event as early as may be, tightest first; None where that finds none."""
    expected = _state(task, field)
    if not expected:
        return "Nothing has to be scheduled."
    windows = {name: _window(wanted) for name, wanted in expected.items()}
    starts = _placed(sorted(windows, key=lambda name: (windows[name][1] - windows[name][0], windows[name][1])), windows, expected)
    if starts is None:
        return None
    events = [
        {"event_id": int(name) if name.isdecimal() else name, "event_name": f"event {name}", "start_time": f"{at // 60:02}:{at % 60:02}"}
        | {"duration": expected[name]["duration"]}
        for name, at in sorted(starts.items())
    ]
    return json.dumps(events)


def first_list(text: str) -> list[Any] | None:
    """The first list of the text that has an object and no list beside it, as JSON; None without one, or where it is broken.

    Brackets count only outside of braces, but for a closing one behind the last whole object; one of the objects must be without
    any. At most _TRIES lists are looked at.
    """
    start, tries, last_brace = text.find("["), 0, text.rfind("}")
    while start >= 0 and tries < _TRIES:
        tries += 1
        position, has_object, early = start + 1, False, None
        while match := _MARK.search(text, position):
            position = match.end()
            if match[0] == "{":
                end = text.find("}", position) if position <= last_brace else -1
                inner = _BRACKET.search(text, position, end) if end >= 0 else None
                if inner and inner[0] == "]" and has_object and early is None:
                    early = inner.end()
                if end >= 0:
                    has_object, early = (has_object, early) if inner else (True, None)
                    position = end + 1
            elif match[0] == "[":
                break
            elif has_object:
                return _json_list(text[start : early or position])
            else:
                break
        if early:
            return _json_list(text[start:early])
        start = text.find("[", start + 1)
    return None


def _json_list(text: str) -> list[Any] | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, list) else None


def minutes(text: str) -> int:
    """Minutes since midnight of 14:30, 2:30pm or 2pm. Raises ValueError for anything else."""
    text = text.strip()
    half = "am" if "am" in text else "pm" if "pm" in text else None
    hour, colon, minute = text.replace(half or "", "").partition(":")
    if half is None and not colon:
        raise ValueError(f"no time: {text!r}")
    at = int(hour) * 60 if half is None or int(hour) != 12 else 0
    return at + (720 if half == "pm" else 0) + (int(minute) if colon else 0)


def _overlap(events: list[Any]) -> tuple[Any, Any] | None:
    spans = []
    for event in {json.dumps(event, sort_keys=True): event for event in events}.values():
        begin = minutes(event["start_time"])
        spans.append((begin, begin + event["duration"], event))
    spans.sort(key=lambda span: span[:2])
    for number, (begin, end, event) in enumerate(spans):
        for later, later_end, other in itertools.islice(spans, number + 1, None):
            if end <= later:
                break
            if begin < later_end:
                return event["event_id"], other["event_id"]
    return None


def _keeps(event: Any, wanted: Event) -> bool:
    try:
        begin = minutes(event["start_time"])
        first, last = _window(wanted)
        return bool(event["duration"] == wanted["duration"] and first <= begin <= last)
    except (KeyError, TypeError, ValueError, AttributeError):
        return False


def _window(wanted: Event) -> tuple[int, int]:
    """The first and the last minute at which the event may begin."""
    first, last, duration = minutes(wanted["min_time"]), minutes(wanted["max_time"]) - wanted["duration"], wanted["duration"]
    kind, _, rest = (wanted["constraint"] or "").partition(" ")
    if kind == "before":
        return first, min(last, minutes(rest) - duration)
    if kind == "after":
        return max(first, minutes(rest)), last
    if kind == "at":
        return max(first, minutes(rest)), min(last, minutes(rest))
    if kind == "between":
        begin, end = rest.split(" and ")
        return max(first, minutes(begin)), min(last, minutes(end) - duration)
    return first, last


def _placed(names: list[str], windows: dict[str, tuple[int, int]], expected: dict[str, Event]) -> dict[str, int] | None:
    taken: list[tuple[int, int]] = []
    steps = 0

    def place(index: int) -> dict[str, int] | None:
        nonlocal steps
        steps += 1
        if index == len(names):
            return {}
        if steps > 20_000:
            return None
        name, duration = names[index], expected[names[index]]["duration"]
        first, last = windows[name]
        for at in sorted({first, last, *(end for _, end in taken), *(begin - duration for begin, _ in taken)}):
            if first <= at <= last and all(at + duration <= begin or at >= end for begin, end in taken):
                taken.append((at, at + duration))
                rest = place(index + 1)
                taken.pop()
                if rest is not None:
                    return {name: at, **rest}
        return None

    return place(0)


def _state(task: Task, field: str) -> dict[str, Event]:
    where = task.where(field)
    state = task.get(field)
    if not isinstance(state, dict):
        raise DataError(f"{where}: must be {{event_id: {{duration, min_time, max_time, constraint}}}}, not {state!r}")
    for name, wanted in state.items():
        try:
            _window({"constraint": None, **wanted})
            if not isinstance(wanted.get("constraint"), str | None):
                raise TypeError("the constraint is no text")
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"{where}: event {name!r} cannot be read: {error!r}") from error
    return {str(name): {"constraint": None, **wanted} for name, wanted in state.items()}
