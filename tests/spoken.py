"""What a model may say, and how each wire API documents that it is sent: as one body, and as a stream of events.

Written by hand from the APIs' documentation and not with the wires, so that a field that a wire misnames is found.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from pytest_gym.harnesses import Reply
from pytest_gym.model import load_wire

Events = list[tuple[str | None, Any]]


@dataclass(frozen=True)
class Said:
    """What a model says, whatever the API."""

    text: str = ""
    reasoning: str = ""
    calls: tuple[tuple[str, str, dict[str, Any]], ...] = ()
    cut: bool = False
    logprobs: tuple[tuple[str, float], ...] = ()

    @property
    def finish(self) -> str:
        return "length" if self.cut else "tool_calls" if self.calls else "stop"


def chat_body(said: Said) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": said.text, "refusal": None}
    if said.reasoning:
        message["reasoning_content"] = said.reasoning
    if said.calls:
        message["tool_calls"] = [
            {"id": id_, "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
            for id_, name, arguments in said.calls
        ]
    tokens = [{"token": token, "logprob": number, "bytes": None, "top_logprobs": []} for token, number in said.logprobs]
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "served",
        "choices": [
            {
                "index": 0,
                "message": message,
                "finish_reason": said.finish,
                "logprobs": {"content": tokens, "refusal": None} if tokens else None,
            }
        ],
        "usage": {
            "prompt_tokens": 12,
            "completion_tokens": 7,
            "total_tokens": 19,
            "prompt_tokens_details": {"cached_tokens": 8},
            "completion_tokens_details": {"reasoning_tokens": 3},
        },
    }


def chat_events(said: Said, pieces: Callable[[str], list[str]]) -> Events:
    whole = chat_body(said)

    def chunk(delta: dict[str, Any], finish: str | None = None, logprobs: Any = None) -> tuple[None, Any]:
        choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": logprobs}
        return None, {"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": "served", "choices": [choice], "usage": None}

    events: Events = [chunk({"role": "assistant", "content": ""})]
    events += [chunk({"reasoning_content": piece}) for piece in pieces(said.reasoning)]
    texts: Events = [chunk({"content": piece}) for piece in pieces(said.text)]
    tokens = (whole["choices"][0]["logprobs"] or {}).get("content") or []
    texts += [chunk({}, logprobs={"content": [token], "refusal": None}) for token in tokens]
    events += texts
    for index, (id_, name, arguments) in enumerate(said.calls):
        events.append(chunk({"tool_calls": [{"index": index, "id": id_, "type": "function", "function": {"name": name, "arguments": ""}}]}))
        for piece in pieces(json.dumps(arguments)):
            events.append(chunk({"tool_calls": [{"index": index, "function": {"arguments": piece}}]}))
    return [
        *events,
        chunk({}, said.finish),
        (None, {"id": "chatcmpl-1", "model": "served", "choices": [], "usage": whole["usage"]}),
        (None, "[DONE]"),
    ]


def completions_body(said: Said) -> dict[str, Any]:
    logprobs = None
    if said.logprobs:
        logprobs = {
            "tokens": [token for token, _ in said.logprobs],
            "token_logprobs": [number for _, number in said.logprobs],
            "top_logprobs": [{token: number} for token, number in said.logprobs],
            "text_offset": list(range(len(said.logprobs))),
        }
    choice = {"index": 0, "text": said.text, "finish_reason": said.finish, "logprobs": logprobs}
    usage = {"prompt_tokens": 12, "completion_tokens": 7, "total_tokens": 19}
    return {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": "served", "choices": [choice], "usage": usage}


def completions_events(said: Said, pieces: Callable[[str], list[str]]) -> Events:
    whole = completions_body(said)
    events: Events = []

    def chunk(text: str, finish: str | None = None, logprobs: Any = None) -> tuple[None, Any]:
        choice = {"index": 0, "text": text, "finish_reason": finish, "logprobs": logprobs}
        return None, {"id": "cmpl-1", "object": "text_completion", "model": "served", "choices": [choice]}

    events += [chunk(piece) for piece in pieces(said.text)]
    logprobs = whole["choices"][0]["logprobs"]
    for place in range(len(said.logprobs)):
        events.append(chunk("", logprobs={key: values[place : place + 1] for key, values in logprobs.items()}))
    return [*events, chunk("", said.finish), (None, {**whole, "choices": []}), (None, "[DONE]")]


def responses_body(said: Said) -> dict[str, Any]:
    output: list[dict[str, Any]] = []
    if said.reasoning:
        summary = [{"type": "summary_text", "text": said.reasoning}]
        output.append({"type": "reasoning", "id": "rs_1", "summary": summary, "encrypted_content": "gAAA"})
    if said.text:
        tokens = [{"token": token, "logprob": number, "bytes": [], "top_logprobs": []} for token, number in said.logprobs]
        part = {"type": "output_text", "text": said.text, "annotations": [], **({"logprobs": tokens} if tokens else {})}
        output.append({"type": "message", "id": "msg_1", "status": "completed", "role": "assistant", "content": [part]})
    for id_, name, arguments in said.calls:
        call = {"type": "function_call", "id": f"fc_{id_}", "call_id": id_, "name": name, "arguments": json.dumps(arguments)}
        output.append({**call, "status": "completed"})
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "model": "served",
        "status": "incomplete" if said.cut else "completed",
        "incomplete_details": {"reason": "max_output_tokens"} if said.cut else None,
        "error": None,
        "output": output,
        "usage": {
            "input_tokens": 12,
            "input_tokens_details": {"cached_tokens": 8},
            "output_tokens": 7,
            "output_tokens_details": {"reasoning_tokens": 3},
            "total_tokens": 19,
        },
    }


def responses_events(said: Said, pieces: Callable[[str], list[str]]) -> Events:
    whole = responses_body(said)
    empty = {**whole, "status": "in_progress", "output": [], "usage": None, "incomplete_details": None}
    events: Events = []

    def add(kind: str, **fields: Any) -> None:
        events.append((kind, {"type": kind, "sequence_number": len(events), **fields}))

    add("response.created", response=empty)
    add("response.in_progress", response=empty)
    for index, item in enumerate(whole["output"]):
        begun = {**item, "content": []} if item["type"] == "message" else {**item, "summary": []} if item["type"] == "reasoning" else item
        begun = {**begun, "arguments": ""} if item["type"] == "function_call" else begun
        at = {"item_id": item["id"], "output_index": index}
        add("response.output_item.added", output_index=index, item=begun)
        if item["type"] == "message":
            add("response.content_part.added", content_index=0, part={"type": "output_text", "text": "", "annotations": []}, **at)
            for piece in pieces(said.text):
                add("response.output_text.delta", content_index=0, delta=piece, logprobs=[], **at)
            add("response.output_text.done", content_index=0, text=said.text, logprobs=[], **at)
        elif item["type"] == "reasoning":
            for piece in pieces(said.reasoning):
                add("response.reasoning_summary_text.delta", summary_index=0, delta=piece, **at)
        else:
            for piece in pieces(item["arguments"]):
                add("response.function_call_arguments.delta", delta=piece, **at)
            add("response.function_call_arguments.done", arguments=item["arguments"], name=item["name"], **at)
        add("response.output_item.done", output_index=index, item=item)
    add("response.incomplete" if said.cut else "response.completed", response=whole)
    return events


def messages_body(said: Said) -> dict[str, Any]:
    content: list[dict[str, Any]] = []
    if said.reasoning:
        content.append({"type": "thinking", "thinking": said.reasoning, "signature": "EqQB"})
    if said.text:
        content.append({"type": "text", "text": said.text, "citations": None})
    content += [{"type": "tool_use", "id": id_, "name": name, "input": arguments} for id_, name, arguments in said.calls]
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "served",
        "content": content,
        "stop_reason": {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}[said.finish],
        "stop_sequence": None,
        "usage": {
            "input_tokens": 3,
            "cache_creation_input_tokens": 1,
            "cache_read_input_tokens": 8,
            "output_tokens": 7,
            "output_tokens_details": {"thinking_tokens": 3},
        },
    }


def messages_events(said: Said, pieces: Callable[[str], list[str]]) -> Events:
    whole = messages_body(said)
    usage = {**whole["usage"], "output_tokens": 1, "output_tokens_details": None}
    events: Events = []

    def add(kind: str, **fields: Any) -> None:
        events.append((kind, {"type": kind, **fields}))

    add("message_start", message={**whole, "content": [], "stop_reason": None, "usage": usage})
    for index, block in enumerate(whole["content"]):
        kind = block["type"]
        begun = {"thinking": {**block, "thinking": "", "signature": ""}, "text": {**block, "text": ""}, "tool_use": {**block, "input": {}}}
        add("content_block_start", index=index, content_block=begun[kind])
        add("ping")
        if kind == "thinking":
            for piece in pieces(said.reasoning):
                add("content_block_delta", index=index, delta={"type": "thinking_delta", "thinking": piece})
            add("content_block_delta", index=index, delta={"type": "signature_delta", "signature": "EqQB"})
        elif kind == "text":
            for piece in pieces(said.text):
                add("content_block_delta", index=index, delta={"type": "text_delta", "text": piece})
        else:
            for piece in ["", *pieces(json.dumps(block["input"]))]:
                add("content_block_delta", index=index, delta={"type": "input_json_delta", "partial_json": piece})
        add("content_block_stop", index=index)
    counts = {"output_tokens": 7, "output_tokens_details": {"thinking_tokens": 3}, "input_tokens": None}
    add("message_delta", delta={"stop_reason": whole["stop_reason"], "stop_sequence": None}, usage=counts)
    add("message_stop")
    return events


BODIES: dict[str, Callable[[Said], dict[str, Any]]] = {
    "chat": chat_body,
    "responses": responses_body,
    "messages": messages_body,
    "completions": completions_body,
}
EVENTS: dict[str, Callable[[Said, Callable[[str], list[str]]], Events]] = {
    "chat": chat_events,
    "responses": responses_events,
    "messages": messages_events,
    "completions": completions_events,
}
LAST = {"chat": "[DONE]", "completions": "[DONE]", "responses": "response.completed", "messages": "message_stop"}


def can_say(api: str, said: Said) -> Said:
    """What this API has a place for."""
    if api == "completions":
        return Said(said.text, cut=said.cut, logprobs=said.logprobs)
    if api == "messages":
        return Said(said.text, said.reasoning, said.calls, said.cut)
    return said if said.text or api == "chat" else Said(said.text, said.reasoning, said.calls, said.cut)


def whole(text: str) -> list[str]:
    return [text] if text else []


CALLING = Said("Let me look.", "Hm", (("1", "weather", {"at": "here"}),))

texts = st.text(st.characters(exclude_characters="<", exclude_categories=["Cs"]), max_size=12)
values = st.recursive(st.none() | st.booleans() | st.integers(-9, 9) | texts, lambda inner: st.lists(inner, max_size=2), max_leaves=4)
arguments = st.dictionaries(texts, values, max_size=3)
names = st.sampled_from(["weather", "search", "add_two"])


def read(api: str, data: Any) -> Reply:
    return load_wire(api).reply(data)


def streamed(api: str, events: Events) -> tuple[Any, list[bool]]:
    """The body that the events make, and which of them carried tokens."""
    stream = load_wire(api).stream()
    carried = [stream.event(name, data) for name, data in events]
    return stream.body(), carried
