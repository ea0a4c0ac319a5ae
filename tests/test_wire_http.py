"""The four wire APIs over HTTP: a case's model asked at scripted endpoints that answer, stream and refuse as each API documents."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from pytest_gym.errors import ModelError
from pytest_gym.harnesses import Reply
from pytest_gym.model import WIRES, load_wire
from pytest_gym.model.client import Client, ClientOptions
from pytest_gym.model.handle import CaseModel
from pytest_gym.records import Message, Part, Rollout, Usage
from pytest_gym.request import Request
from tests.endpoint import Endpoint, asked, speak, sse
from tests.spoken import BODIES, CALLING, EVENTS, Events, Said, can_say, responses_body, whole

QUESTION = (Message("user", "What is 2+2?"),)
WEATHER = {"type": "function", "function": {"name": "weather", "description": "Look outside", "parameters": {"type": "object"}}}
SAID = Said("It is 4.", "Two and two", logprobs=(("It", -0.5), (" is 4.", -0.25)))
with_tools = pytest.mark.parametrize("api", ["chat", "responses", "messages"])
every = pytest.mark.parametrize("api", WIRES)


def case(endpoint: Endpoint, api: str, talk: Callable[[CaseModel], Any], *, key: Any = None, retries: int = 0, **sampling: Any) -> Any:
    """What `talk` makes of a model that is asked at the endpoint."""

    async def main() -> Any:
        wire = load_wire(api)
        settings = ClientOptions(endpoint.url, concurrency=4, timeout=10, max_retries=retries, rate_limit_wait=0)
        async with Client(settings, path=wire.path, headers=wire.headers(key), key=key) as client:
            return await talk(CaseModel(client, wire, "m", Request(QUESTION), sampling))

    return asyncio.run(main())


async def ask_once(model: CaseModel) -> Rollout:
    return model.rollout(model.prompt, await model.ask(model.prompt))


@dataclass
class Script:
    """Answers from a list, in the API of the path."""

    answers: list[Any]
    seen: list[dict[str, Any]] = field(default_factory=list)

    def __call__(self, sent: dict[str, Any], number: int) -> Any:
        self.seen.append(sent)
        return self.answers[number - 1]


@every
def test_a_question_over_http(endpoint, api):
    server = endpoint(lambda sent, number: speak(server.paths[number - 1], f"{asked(sent)} 4"))
    rollout = case(server, api, ask_once, key="k-secret", max_tokens=9)
    assert (rollout.text, rollout.finish_reason, rollout.attempts) == ("What is 2+2? 4", "stop", 1)
    assert rollout.usage == Usage(10, 5, None, 1)
    assert rollout.first_token_s is None and rollout.tokens_per_s is None
    assert server.paths == ["/v1" + load_wire(api).path]
    assert "k-secret" in server.headers[0]["x-api-key" if api == "messages" else "authorization"]


@with_tools
def test_a_tool_loop_over_http(endpoint, api):
    script = Script([(200, BODIES[api](CALLING)), (200, BODIES[api](Said("Sunny.")))])

    async def talk(model: CaseModel) -> Rollout:
        reply = await model.ask(model.prompt, tools=[WEATHER])
        (call,) = reply.message.tool_calls
        messages = (*model.prompt, reply.message, Message("tool", f"{call.arguments['at']}: sun", tool_call_id=call.id))
        return model.rollout(messages, await model.ask(messages, tools=[WEATHER]))

    rollout = case(endpoint(script), api, talk)
    assert rollout.text == "Sunny." and rollout.usage == Usage(24, 14, 6, 2) and rollout.attempts == 2
    assert [message.role for message in rollout.messages] == ["user", "assistant", "tool", "assistant"]
    assert "here: sun" in json.dumps(script.seen[1]) and "Hm" in json.dumps(script.seen[1])


@with_tools
def test_files_are_read_when_asked(endpoint, tmp_path, api):
    server = endpoint(lambda sent, number: speak(server.paths[number - 1], "a picture"))
    (tmp_path / "a.png").write_bytes(b"not much of a picture")

    def look(name: str) -> Reply:
        question = Message("user", (Part("text", "What?"), Part("image", path=str(tmp_path / name))))
        return case(server, api, lambda model: model.ask((question,)))

    assert look("a.png").message.content == "a picture"
    assert base64.b64encode(b"not much of a picture").decode() in json.dumps(server.requests[0])
    with pytest.raises(ModelError, match=r"^the prompt cannot be sent: .*gone\.png cannot be read") as caught:
        look("gone.png")
    assert caught.value.kind == "bad_request" and len(server.requests) == 1


@every
def test_a_streamed_answer(endpoint, api):
    said = can_say(api, SAID)
    server = endpoint(lambda sent, number: sse(EVENTS[api](said, list)))
    rollout = case(server, api, ask_once, stream=True)
    assert (rollout.text, rollout.reasoning, rollout.finish_reason) == ("It is 4.", said.reasoning or None, "stop")
    assert rollout.usage == Usage(12, 7, None if api == "completions" else 3, 1)
    assert 0 < rollout.first_token_s <= rollout.latency_s and rollout.tokens_per_s > 0
    assert [token.token for token in rollout.logprobs or ()] == [token for token, _ in said.logprobs]
    assert server.requests[0]["stream"] is True
    plain = case(endpoint(lambda sent, number: (200, BODIES[api](said))), api, ask_once)
    assert (plain.messages, plain.usage, plain.logprobs) == (rollout.messages, rollout.usage, rollout.logprobs)
    assert plain.first_token_s is None and plain.tokens_per_s is None


@every
def test_a_server_that_does_not_stream(endpoint, api):
    rollout = case(endpoint(lambda sent, number: (200, BODIES[api](can_say(api, SAID)))), api, ask_once, stream=True)
    assert rollout.text == "It is 4." and rollout.first_token_s is None and rollout.tokens_per_s is None


def test_the_pace_is_that_of_all_answers(endpoint):
    async def talk(model: CaseModel) -> Rollout:
        await model.ask(model.prompt)
        return model.rollout(model.prompt, await model.ask(model.prompt))

    rollout = case(endpoint(lambda sent, number: sse(EVENTS["chat"](SAID, list))), "chat", talk, stream=True)
    assert rollout.usage.output_tokens == 14 and rollout.tokens_per_s > 0 and rollout.first_token_s < rollout.latency_s
    stumbles = endpoint(lambda sent, number: (500, {}) if number == 1 else sse(EVENTS["chat"](SAID, list)))
    again = case(stumbles, "chat", ask_once, retries=1, stream=True)
    # How much of the latency was the failed try is not known.
    assert again.attempts == 2 and again.first_token_s is not None and again.tokens_per_s is None


def openai(message: str, code: str | None) -> dict[str, Any]:
    return {"error": {"message": message, "type": "an_error", "param": None, "code": code}}


def vllm(message: str) -> dict[str, Any]:
    return {"object": "error", "message": message, "type": "BadRequestError", "param": None, "code": 400}


def anthropic(kind: str, message: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"}


@pytest.mark.parametrize(
    "api, status, body, kind, fatal",
    [
        ("chat", 429, openai("Too many", "rate_limit_exceeded"), "rate_limit", False),
        ("chat", 400, openai("maximum context length is 8", "context_length_exceeded"), "context_length", False),
        ("chat", 400, vllm("top_k must be -1"), "bad_request", False),
        ("chat", 404, openai("no such model", "model_not_found"), "not_found", True),
        ("completions", 500, openai("It broke", "server_error"), "server", False),
        ("responses", 401, openai("Incorrect API key", "invalid_api_key"), "auth", True),
        ("responses", 400, openai("Invalid value", None), "bad_request", False),
        ("messages", 529, anthropic("overloaded_error", "Overloaded"), "server", False),
        ("messages", 429, anthropic("rate_limit_error", "Too many"), "rate_limit", False),
        ("messages", 401, anthropic("authentication_error", "invalid x-api-key"), "auth", True),
        ("messages", 404, anthropic("not_found_error", "model: m"), "not_found", True),
        ("messages", 413, anthropic("request_too_large", "Too large"), "bad_request", False),
        ("messages", 400, anthropic("invalid_request_error", "prompt is too long: 9 tokens > 8"), "context_length", False),
        ("messages", 400, anthropic("invalid_request_error", "max_tokens: too many"), "bad_request", False),
    ],
)
def test_error_bodies(endpoint, api, status, body, kind, fatal):
    with pytest.raises(ModelError) as caught:
        case(endpoint(lambda sent, number: (status, body)), api, ask_once)
    assert (caught.value.kind, caught.value.fatal, caught.value.attempts) == (kind, fatal, 1)
    assert body.get("message", body.get("error", {}).get("message")) in str(caught.value)


FAILED = {**responses_body(Said()), "status": "failed", "error": {"code": "rate_limit_exceeded", "message": "Slow down"}}


@pytest.mark.parametrize(
    "api, end, kind, words",
    [
        ("chat", (None, {"error": {"message": "It broke", "code": 500}}), "server", "It broke"),
        ("chat", (None, "oops"), "bad_reply", "oops"),
        ("completions", (None, {"error": {"message": "Too fast", "type": "rate_limit_error"}}), "rate_limit", "Too fast"),
        ("responses", ("error", {"type": "error", "code": "server_error", "message": "It broke"}), "server", "It broke"),
        ("responses", ("response.failed", {"type": "response.failed", "response": FAILED}), "rate_limit", "Slow down"),
        ("messages", ("error", anthropic("overloaded_error", "Overloaded")), "server", "Overloaded"),
        ("messages", None, "bad_reply", "broke off"),
        ("responses", None, "bad_reply", "broke off"),
    ],
)
def test_streams_that_end_badly(endpoint, api, end, kind, words):
    begun: Events = EVENTS[api](Said("It is"), list)[:-3]
    events = [*begun, end] if end else begun
    with pytest.raises(ModelError, match=words) as caught:
        case(endpoint(lambda sent, number: sse(events)), api, ask_once, stream=True)
    assert caught.value.kind == kind


def test_lines_may_end_otherwise(endpoint):
    events: Events = [(None, ""), *EVENTS["chat"](SAID, whole)]
    for newline in ("\n", "\r\n", "\r"):
        rollout = case(endpoint(lambda sent, number, newline=newline: sse(events, newline=newline)), "chat", ask_once, stream=True)
        assert rollout.text == "It is 4."
