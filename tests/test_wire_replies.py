"""What the four wire APIs answer: each field read, a streamed reply equal to the unstreamed one, and what servers say in their own ways."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_gym.harnesses import Reply
from pytest_gym.model import WIRES, load_wire
from pytest_gym.records import Message, TokenLogprob, ToolCall, Usage
from tests.spoken import (
    BODIES,
    EVENTS,
    LAST,
    Events,
    Said,
    arguments,
    can_say,
    chat_body,
    messages_body,
    messages_events,
    names,
    read,
    responses_body,
    responses_events,
    streamed,
    texts,
    whole,
)

calls = st.lists(st.tuples(names, arguments), max_size=3).map(
    lambda found: tuple((f"call_{number}", name, args) for number, (name, args) in enumerate(found))
)
logprobs = st.lists(st.tuples(texts, st.floats(-50, 0)), max_size=3).map(tuple)
sayings = st.builds(Said, texts, texts, calls, st.booleans(), logprobs)


@pytest.mark.parametrize("api", WIRES)
@settings(max_examples=60, deadline=None)
@given(sayings)
def test_a_reply_is_read(api, said):
    said = can_say(api, said)
    reply = read(api, BODIES[api](said))
    assert reply.message.role == "assistant"
    assert reply.message.content == said.text
    assert reply.message.reasoning == (said.reasoning or None)
    assert [(call.id, call.name, call.arguments) for call in reply.message.tool_calls] == list(said.calls)
    assert [json.loads(call.raw) for call in reply.message.tool_calls] == [args for _, _, args in said.calls]
    assert reply.finish_reason == said.finish
    assert reply.usage == Usage(12, 7, None if api == "completions" else 3, 1)
    assert reply.model == "served"
    found = None if reply.logprobs is None else [(token.token, token.logprob) for token in reply.logprobs]
    assert found == (list(said.logprobs) or None)


@pytest.mark.parametrize("api", WIRES)
@settings(max_examples=60, deadline=None)
@given(sayings, st.integers(0, 2**32))
def test_a_streamed_reply_is_the_unstreamed_one(api, said, seed):
    said = can_say(api, said)
    chance = random.Random(seed)

    def pieces(text: str) -> list[str]:
        cuts = sorted({0, len(text), *(chance.randint(0, len(text)) for _ in range(chance.randint(0, 4)))})
        return [text[start:end] for start, end in itertools.pairwise(cuts)]

    data, carried = streamed(api, EVENTS[api](said, pieces))
    assert read(api, data) == read(api, BODIES[api](said))
    assert any(carried) == bool(said.text or said.reasoning or said.calls)


@pytest.mark.parametrize("api", WIRES)
def test_the_first_token_is_the_first_of_text_reasoning_or_call(api):
    for said in (Said("4"), Said("", "Hm"), Said("", "", (("c", "add", {"a": 1}),))):
        if can_say(api, said) == said:
            events = EVENTS[api](said, whole)
            _, carried = streamed(api, events)
            first = json.dumps(events[carried.index(True)][1])
            assert any(part in first for part in ('"4"', '"Hm"', '"add"'))


@pytest.mark.parametrize("api", WIRES)
def test_a_stream_that_breaks_off_is_no_reply(api):
    events = EVENTS[api](Said("four"), list)
    for length in range(len(events) + 1):
        stream = load_wire(api).stream()
        for name, data in events[:length]:
            stream.event(name, data)
        ended = LAST[api] in (events[length - 1] if length else ())
        assert stream.done == ended
        # Whole is what says why it ended, even where the mark behind it is lost.
        if any(finish in json.dumps(events[:length]) for finish in ('"stop"', '"end_turn"', "response.completed")):
            assert read(api, stream.body()).message.content == "four"
        else:
            with pytest.raises(ValueError, match="broke off"):
                stream.body()


@pytest.mark.parametrize("api", WIRES)
def test_no_reply_and_no_event(api):
    for data in (None, [], 3, "text", {}, {"choices": []}, {"choices": [{}]}, {"error": {"message": "no"}}, {"output": "x"}):
        with pytest.raises(ValueError):
            read(api, data)
    for data in (None, [], 3, "text"):
        with pytest.raises(ValueError):
            load_wire(api).stream().event(None, data)


JUNK = (None, True, -1, 2.5, "", "x", [], ["x"], [None], {}, {"x": None})
# What the client sorts as a broken reply.
BAD = (ValueError, TypeError, AttributeError, KeyError)


def spoilt(data: Any) -> Iterator[Any]:
    """The data with each of its values, in turn, replaced by something else, or left out."""
    if isinstance(data, dict):
        for key, value in data.items():
            yield {name: other for name, other in data.items() if name != key}
            for other in (*JUNK, *spoilt(value)):
                yield {**data, key: other}
    elif isinstance(data, list):
        for index, value in enumerate(data):
            for other in (*JUNK, *spoilt(value)):
                yield [*data[:index], other, *data[index + 1 :]]


def sound(reply: Reply) -> bool:
    """Whether the reply is what the records promise, and can be stored."""
    message = reply.message
    assert isinstance(message.content, str) and (message.reasoning is None or (isinstance(message.reasoning, str) and message.reasoning))
    assert all(isinstance(text, str) for call in message.tool_calls for text in (call.id, call.name, call.raw))
    assert reply.finish_reason in ("stop", "length", "tool_calls", "content_filter", "refusal")
    assert reply.model is None or isinstance(reply.model, str)
    assert Message.from_json(json.loads(json.dumps(message.to_json(), allow_nan=False))) == message
    assert Usage.from_json(reply.usage.to_json()) == reply.usage
    return True


@pytest.mark.parametrize("api", WIRES)
def test_whatever_a_server_sends_is_a_reply_or_a_bad_one(api):
    said = can_say(api, Said("4", "Hm", (("1", "f", {"a": 1}),), logprobs=(("4", -0.1),)))
    tried = good = 0
    for data in spoilt(BODIES[api](said)):
        tried += 1
        try:
            good += sound(read(api, data))
        except BAD:
            pass
    assert tried > good > 100
    events = EVENTS[api](said, whole)
    for place, (name, event) in enumerate(events):
        for other in spoilt(event):
            stream = load_wire(api).stream()
            try:
                for name_, data in (*events[:place], (name, other), *events[place + 1 :]):
                    assert stream.event(name_, data) in (True, False)
                assert sound(read(api, stream.body()))
            except BAD:
                pass


def test_infinite_log_probabilities_are_numbers_of_json():
    data = chat_body(Said("4", logprobs=(("4", float("-inf")),)))
    assert read("chat", data).logprobs == (TokenLogprob("4", -9999.0),)
    data["choices"][0]["logprobs"]["content"][0]["logprob"] = "much"
    with pytest.raises(ValueError, match="logprobs"):
        read("chat", data)


# -- what servers say in their own ways -----------------------------------------------------------------------------------------------


def choice(finish: Any = "stop", **message: Any) -> dict[str, Any]:
    return {"choices": [{"message": {"role": "assistant", "content": None, **message}, "finish_reason": finish}]}


@pytest.mark.parametrize("api", WIRES)
@pytest.mark.parametrize(
    "text, answer, reasoning",
    [
        ("<think>2 and 2</think>\n\n4", "4", "<think>2 and 2</think>"),
        ("2 and 2</think>4", "4", "2 and 2</think>"),
        ("<think>2 and 2 and", "", "<think>2 and 2 and"),
        ("\n 4", "\n 4", None),
    ],
)
def test_thinking_in_the_text_is_kept_apart(api, text, answer, reasoning):
    message = read(api, BODIES[api](Said(text))).message
    assert (message.content, message.reasoning) == (answer, reasoning)


@pytest.mark.parametrize(
    "data, answer, reasoning",
    [
        (choice(), "", None),
        (choice(content=""), "", None),
        (choice(reasoning="Hm"), "", "Hm"),
        (choice(reasoning_content="Hm", reasoning="Hm"), "", "Hm"),
        (choice(content="<think>a</think>b", reasoning_content="a"), "b", "a"),
        (choice(content=[{"type": "text", "text": "4"}, {"type": "text", "text": "!"}]), "4!", None),
        (choice(content=[{"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}]}, {"type": "text", "text": "4"}]), "4", "Hm"),
    ],
)
def test_forms_of_content(data, answer, reasoning):
    message = read("chat", data).message
    assert (message.content, message.reasoning) == (answer, reasoning)


def test_thinking_parts_are_streamed():
    parts = [{"content": [{"type": "thinking", "thinking": [{"type": "text", "text": word}]}]} for word in ("H", "m")]
    events: Events = [(None, {"choices": [{"index": 0, "delta": delta}]}) for delta in [*parts, {"content": "4"}]]
    data, carried = streamed("chat", [*events, (None, {"choices": [{"delta": {}, "finish_reason": "stop"}]})])
    message = read("chat", data).message
    assert (message.content, message.reasoning, carried) == ("4", "Hm", [True, True, True, False])


@pytest.mark.parametrize(
    "reason, finish",
    [
        ("stop", "stop"),
        (None, "stop"),
        ("length", "length"),
        ("content_filter", "content_filter"),
        ("content_filter: SAFETY", "content_filter"),
        ("function_call", "tool_calls"),
        ("max_tokens", "length"),
        ("model_length", "length"),
        ("eos", "stop"),
        ("something_new", "stop"),
    ],
)
@pytest.mark.parametrize("api", ["chat", "completions"])
def test_why_it_ended(api, reason, finish):
    data = BODIES[api](Said("4"))
    data["choices"][0]["finish_reason"] = reason
    assert read(api, data).finish_reason == finish


@pytest.mark.parametrize("reason", ["abort", "error", "network_error", "insufficient_system_resource"])
def test_an_answer_that_the_server_could_not_finish_is_none(reason):
    with pytest.raises(ValueError, match=f"not finished .*'{reason}'"):
        read("chat", choice(reason, content="So far"))


@pytest.mark.parametrize(
    "reason, finish",
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("pause_turn", "length"),
        ("tool_use", "tool_calls"),
        ("refusal", "refusal"),
        ("compaction", "stop"),
        (None, "stop"),
    ],
)
def test_why_a_message_ended(reason, finish):
    assert read("messages", {**messages_body(Said("4")), "stop_reason": reason}).finish_reason == finish


@pytest.mark.parametrize(
    "fields, finish",
    [
        ({"status": "completed"}, "stop"),
        ({"status": None}, "stop"),
        ({"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}, "length"),
        ({"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}, "content_filter"),
        ({"status": "incomplete", "incomplete_details": {"reason": "max_tool_calls"}}, "length"),
        ({"status": "incomplete", "incomplete_details": None}, "length"),
    ],
)
def test_why_a_response_ended(fields, finish):
    assert read("responses", {**responses_body(Said("4")), **fields}).finish_reason == finish


@pytest.mark.parametrize(
    "fields, words",
    [
        ({"status": "failed", "error": {"code": "server_error", "message": "It broke."}}, ["'failed'", "server_error", "It broke."]),
        ({"status": "cancelled"}, ["'cancelled'"]),
        ({"status": "in_progress"}, ["not finished", "'in_progress'"]),
        ({"status": "queued"}, ["'queued'"]),
    ],
)
def test_a_response_that_failed_is_no_answer(fields, words):
    data = {**responses_body(Said("4")), **fields}
    for one in (data, streamed("responses", [("response.failed", {"type": "response.failed", "response": data})])[0]):
        with pytest.raises(ValueError) as caught:
            read("responses", one)
        assert all(word in str(caught.value) for word in words)


def test_refusals():
    assert read("chat", choice(refusal="I will not.")).message.content == "I will not."
    assert read("chat", choice(refusal="I will not.")).finish_reason == "refusal"
    data = responses_body(Said("x"))
    data["output"][0]["content"] = [{"type": "refusal", "refusal": "I will not."}]
    assert (read("responses", data).message.content, read("responses", data).finish_reason) == ("I will not.", "refusal")
    pieces: Events = [(None, {"choices": [{"index": 0, "delta": {"refusal": word}}]}) for word in ("I will ", "not.")]
    streamed_, carried = streamed("chat", [*pieces, (None, {"choices": [{"delta": {}, "finish_reason": "stop"}]})])
    assert (read("chat", streamed_).message.content, carried) == ("I will not.", [True, True, False])


def test_calls_end_a_turn_though_the_server_says_stop():
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    assert read("chat", choice("stop", tool_calls=[call])).finish_reason == "tool_calls"
    assert read("chat", choice("length", tool_calls=[call])).finish_reason == "length"


def test_counts_of_tokens():
    bare = {"prompt_tokens": 1, "completion_tokens": 2, "reasoning_tokens": 1}
    assert read("chat", {**choice(content="4"), "usage": bare}).usage == Usage(1, 2, 1, 1)
    assert read("chat", choice(content="4")).usage == Usage(requests=1)
    assert read("chat", {**choice(content="4"), "usage": {"prompt_tokens": True}}).usage == Usage(requests=1)
    message = messages_body(Said("4"))
    assert read("messages", {**message, "usage": {"input_tokens": 5, "output_tokens": 6}}).usage == Usage(5, 6, None, 1)
    assert read("messages", {**message, "usage": None}).usage == Usage(requests=1)


def test_commentary_is_no_answer():
    def said(text: str, phase: str) -> dict[str, Any]:
        return {"type": "message", "role": "assistant", "phase": phase, "content": [{"type": "output_text", "text": text}]}

    data = {**responses_body(Said("x")), "output": [said("Let me add.", "commentary"), said("4", "final_answer")]}
    assert (read("responses", data).message.content, read("responses", data).message.reasoning) == ("4", "Let me add.")
    data["output"].pop()
    assert read("responses", data).message.content == "Let me add."


def test_reasoning_in_full_goes_before_its_summary():
    item = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "short"}]}
    data = {**responses_body(Said("4")), "output": [{**item, "content": [{"type": "reasoning_text", "text": "long"}]}]}
    assert (read("responses", data).message.content, read("responses", data).message.reasoning) == ("", "long")


def test_a_last_event_without_its_output():
    events = responses_events(Said("four", "Hm", (("1", "f", {}),)), whole)
    end = {**events[-1][1], "response": {**events[-1][1]["response"], "output": []}}
    data, _ = streamed("responses", [*events[:-1], ("response.completed", end), (None, "[DONE]")])
    assert read("responses", data) == read("responses", responses_body(Said("four", "Hm", (("1", "f", {}),))))


def test_calls_streamed_without_numbers():
    def chunk(*deltas: dict[str, Any]) -> tuple[None, Any]:
        return None, {"choices": [{"index": 0, "delta": {"tool_calls": list(deltas)}}]}

    one = {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
    two = {"id": "2", "type": "function", "function": {"name": "g", "arguments": {"b": 2}}}
    end: Events = [(None, {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]})]
    for first, second in ((one, two), ({**one, "index": 0}, {**two, "index": 0})):
        for events in ([chunk(first), chunk(second)], [chunk(first, second)]):
            made = read("chat", streamed("chat", [*events, *end])[0]).message.tool_calls
            assert [(call.id, call.name, call.arguments) for call in made] == [("1", "f", {"a": 1}), ("2", "g", {"b": 2})]


def test_input_of_a_tool_that_was_cut():
    events = messages_events(Said("", "", (("1", "f", {"a": 1}),), cut=True), whole)
    cut = [(name, data) for name, data in events if "partial_json" not in json.dumps(data)]
    place = next(index for index, (name, _) in enumerate(cut) if name == "content_block_stop")
    delta = {"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": '{"a": '}}
    data, _ = streamed("messages", [*cut[:place], ("content_block_delta", delta), *cut[place:]])
    reply = read("messages", data)
    assert reply.finish_reason == "length" and reply.message.tool_calls == (ToolCall("1", "f", None, '{"a": '),)


def test_events_that_belong_nowhere():
    stream = load_wire("messages").stream()
    with pytest.raises(ValueError, match="before 'message_start'"):
        stream.event("content_block_delta", {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "x"}})
    stream.event("message_start", {"type": "message_start", "message": {}})
    assert stream.event("a_new_kind", {"type": "a_new_kind"}) is False
    assert stream.event(None, "[DONE]") is False and not stream.done
    for data in ({"index": 0, "delta": {"text": "x"}}, {"index": 0, "delta": None}):
        with pytest.raises(ValueError, match="belongs to no block"):
            stream.event("content_block_delta", {"type": "content_block_delta", **data})
    with pytest.raises(ValueError, match="no 'response'"):
        load_wire("responses").stream().event("response.completed", {"type": "response.completed"})
