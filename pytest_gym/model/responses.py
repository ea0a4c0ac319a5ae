"""OpenAI's Responses API: OpenAI, vLLM, SGLang, gateways. Body building and reply reading, no HTTP.

Format: https://platform.openai.com/docs/api-reference/responses and …/responses-streaming; field names as in the types of OpenAI's Python
package (`openai.types.responses`). Reasoning items must be sent back with the tool calls that followed them: where a reply has both, its
items are kept in `Message.native` and sent as they came. The API has no seed and no stop sequences, and takes no audio.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pytest_gym.harnesses import Reply
from pytest_gym.model import attachments
from pytest_gym.model.answer import apart, count_in, logprobs_of, text_of, with_calls
from pytest_gym.model.sampling import alternatives, function_of, json_schema, parameters, tool_choice, with_extra
from pytest_gym.records import FinishReason, Json, Message, Part, TokenLogprob, ToolCall, Usage

_NAMES = {"temperature": "temperature", "top_p": "top_p", "max_tokens": "max_output_tokens"}
_INCOMPLETE: dict[str, FinishReason] = {"max_output_tokens": "length", "content_filter": "content_filter"}
_ENDS = ("response.completed", "response.incomplete", "response.failed")
_TOKENS = (
    "response.output_text.delta",
    "response.refusal.delta",
    "response.reasoning_text.delta",
    "response.reasoning_summary_text.delta",
    "response.function_call_arguments.delta",
)


class Responses:
    """The wire of `--gym-api=responses`."""

    path = "/responses"

    def headers(self, key: str | None) -> dict[str, str]:
        """The key, where there is one, as a bearer token."""
        return {"authorization": f"Bearer {key}"} if key else {}

    def request(
        self, model: str, messages: Sequence[Message], sampling: Mapping[str, Any], tools: Sequence[Mapping[str, Any]] | None
    ) -> dict[str, Any]:
        """The body: model, the conversation as input items, sampling parameters under their names here, then the fields of `extra_body`."""
        body: dict[str, Any] = {"model": model, "input": [item for message in messages for item in _items(message)]}
        if tools:
            body["tools"] = [_tool(tool) for tool in tools]
        body.update(parameters(sampling, _NAMES, "Responses"))
        if tools and (choice := tool_choice(sampling)) is not None:
            body["tool_choice"] = {"type": "function", "name": choice[1:]} if choice.startswith("=") else choice
        if tools and sampling.get("parallel_tool_calls") is not None:
            body["parallel_tool_calls"] = sampling["parallel_tool_calls"]
        if (wanted := json_schema(sampling)) is not None:
            body["text"] = {"format": {"type": wanted[0], **wanted[1]}}
        if (top := alternatives(sampling)) is not None:
            body.update(include=["message.output_text.logprobs"], top_logprobs=top)
        if sampling.get("stream"):
            body["stream"] = True
        return with_extra(body, sampling)

    def reply(self, data: Any) -> Reply:
        """The items of the output in one message. ValueError says what is missing, or why the response failed."""
        if not isinstance(data, dict):
            raise ValueError("the reply is no JSON object")
        finish = _finish(data)
        items = data.get("output")
        if not isinstance(items, list):
            raise ValueError("the reply has no 'output'")
        items = [item for item in items if isinstance(item, dict)]
        spoken = _Spoken(items)
        answer, reasoning = apart("".join(spoken.answer), "\n\n".join(spoken.reasoning) or None)
        calls = tuple(
            ToolCall.from_json({"id": item.get("call_id"), "function": item}) for item in items if item.get("type") == "function_call"
        )
        if spoken.refusal:
            finish, answer = "refusal", answer or "".join(spoken.refusal)
        # Items with a phase must keep it, too: it tells commentary from answer.
        native = calls and any(item.get("type") == "reasoning" or item.get("phase") for item in items)
        return Reply(
            Message("assistant", answer, reasoning, calls, native=tuple(items) if native else ()),
            with_calls(finish, calls),
            Usage(
                count_in(data, "usage", "input_tokens"),
                count_in(data, "usage", "output_tokens"),
                count_in(data, "usage", "output_tokens_details", "reasoning_tokens"),
                1,
            ),
            text_of(data.get("model")),
            spoken.logprobs,
        )

    def stream(self) -> ResponsesStream:
        """A new assembler for one streamed reply."""
        return ResponsesStream()


class ResponsesStream:
    """Waits for the event with the whole response; implements `pytest_gym.model.Stream`.

    Some servers leave the output out of that last event: then it is what the finished items said.
    """

    def __init__(self) -> None:
        self.done = False
        self._response: Json | None = None
        self._items: dict[int, Json] = {}

    def event(self, name: str | None, data: Any) -> bool:
        """Take one event; its type stands in it, or is its name. Returns True where it carries text, reasoning or a tool call."""
        if data == "[DONE]":
            return False
        if not isinstance(data, dict):
            raise ValueError("a streamed event is no JSON object")
        kind = data.get("type") or name
        if kind in _ENDS:
            response = data.get("response")
            if not isinstance(response, dict):
                raise ValueError(f"the event {kind!r} has no 'response'")
            self._response, self.done = response, True
        elif kind == "response.output_item.done" and isinstance(data.get("item"), dict):
            self._items[data.get("output_index") or 0] = data["item"]
        elif kind == "response.output_item.added":
            return isinstance(data.get("item"), dict) and data["item"].get("type") == "function_call"
        return kind in _TOKENS and bool(data.get("delta"))

    def body(self) -> Any:
        """The response. Raises ValueError where the stream broke off."""
        if self._response is None:
            raise ValueError("the stream broke off before its end")
        return {**self._response, "output": self._response.get("output") or [self._items[index] for index in sorted(self._items)]}


class _Spoken:
    """The texts of the output items: answer, reasoning, refusal, and the answer's log probabilities."""

    def __init__(self, items: list[Json]) -> None:
        self.answer: list[str] = []
        self.reasoning: list[str] = []
        self.refusal: list[str] = []
        self.logprobs: tuple[TokenLogprob, ...] | None = None
        final = any(item.get("phase") == "final_answer" for item in items)
        for item in items:
            kind = item.get("type")
            if kind == "reasoning":
                # The summary stands for reasoning that is not shown.
                self.reasoning += _texts(item.get("content"), "reasoning_text") or _texts(item.get("summary"), "summary_text")
            elif kind == "message" and final and item.get("phase") == "commentary":
                self.reasoning += _texts(item.get("content"), "output_text")
            elif kind == "message":
                self.answer += _texts(item.get("content"), "output_text")
                self.refusal += _texts(item.get("content"), "refusal", key="refusal")
                for part in _parts(item.get("content"), "output_text"):
                    if (found := logprobs_of(part.get("logprobs"))) is not None:
                        self.logprobs = (self.logprobs or ()) + found


def _parts(content: Any, kind: str) -> list[Json]:
    return [part for part in content if isinstance(part, dict) and part.get("type") == kind] if isinstance(content, list) else []


def _texts(content: Any, kind: str, key: str = "text") -> list[str]:
    return [text for part in _parts(content, kind) if (text := text_of(part.get(key)))]


def _finish(data: Json) -> FinishReason:
    """From status and incomplete_details; an unknown reason for an incomplete answer is a cut. ValueError where there is no answer."""
    status = data.get("status") or "completed"
    if status in ("failed", "cancelled") or (isinstance(data.get("error"), dict) and status != "incomplete"):
        error = data.get("error")
        said = f": {error.get('code')}: {error.get('message')}" if isinstance(error, dict) else ""
        raise ValueError(f"the response has status {status!r}{said}")
    if status == "incomplete":
        details = data.get("incomplete_details")
        return _INCOMPLETE.get(str(details.get("reason")) if isinstance(details, dict) else "", "length")
    if status in ("queued", "in_progress"):
        raise ValueError(f"the response is not finished: its status is {status!r}")
    return "stop"


def _items(message: Message) -> list[Json]:
    if message.native:
        return list(message.native)
    if message.role == "tool":
        output = message.content if isinstance(message.content, str) else [_part(part) for part in message.content]
        return [{"type": "function_call_output", "call_id": message.tool_call_id or "", "output": output}]
    items: list[Json] = []
    if message.role == "assistant":
        if message.content or not message.tool_calls:
            items.append({"role": "assistant", "content": _assistant_text(message)})
    else:
        content = message.content if isinstance(message.content, str) else [_part(part) for part in message.content]
        items.append({"role": message.role, "content": content})
    for call in message.tool_calls:
        items.append({"type": "function_call", "call_id": call.id, "name": call.name, "arguments": call.raw})
    return items


def _assistant_text(message: Message) -> str:
    if isinstance(message.content, str):
        return message.content
    if any(part.type != "text" for part in message.content):
        raise ValueError("Responses takes text only as an earlier answer of the assistant")
    return "".join(part.text or "" for part in message.content)


def _part(part: Part) -> Json:
    if part.type == "text":
        return {"type": "input_text", "text": part.text or ""}
    if part.type == "image":
        return {"type": "input_image", "detail": "auto", "image_url": attachments.image_url(part)}
    if part.type == "audio":
        raise ValueError("Responses takes no audio: use --gym-api=chat")
    if part.url is not None:
        return {"type": "input_file", "file_url": part.url}
    file = attachments.read(part)
    return {"type": "input_file", "filename": file.name, "file_data": file.data_url}


def _tool(tool: Mapping[str, Any]) -> Json:
    function = function_of(tool, "Responses")
    # Chat Completions is not strict unless it is told to be; here it is the other way round.
    schema = function.get("parameters") or {"type": "object", "properties": {}}
    return {"type": "function", **function, "parameters": schema, "strict": bool(function.get("strict"))}


WIRE = Responses()
