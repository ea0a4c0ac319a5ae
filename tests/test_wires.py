"""What the four wire APIs are sent: messages, tools, files and settings under each API's names, and what it wants back in a tool loop."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_gym import options
from pytest_gym.errors import ConfigError
from pytest_gym.model import WIRES, check_wire, load_wire
from pytest_gym.records import Message, Part, Rollout, TokenLogprob, ToolCall
from pytest_gym.settings import check_sampling as check_table
from pytest_gym.settings import parse_assignments
from tests.spoken import (
    CALLING,
    Said,
    arguments,
    chat_body,
    chat_events,
    messages_body,
    messages_events,
    names,
    read,
    responses_body,
    streamed,
    texts,
    whole,
)

QUESTION = (Message("user", "What is 2+2?"),)
WEATHER = {"type": "function", "function": {"name": "weather", "description": "Look outside", "parameters": {"type": "object"}}}
SCHEMA = {"type": "object", "properties": {"answer": {"type": "integer"}}, "required": ["answer"], "additionalProperties": False}
FORMAT = {"type": "json_schema", "json_schema": {"name": "sum", "schema": SCHEMA, "strict": True}}
PNG = b"\x89PNG\r\n\x1a\n not much of a picture"


def body(api: str, messages: tuple[Message, ...] = QUESTION, tools: Any = None, **sampling: Any) -> dict[str, Any]:
    return load_wire(api).request("m", messages, sampling, tools)


# -- conversations there and back -----------------------------------------------------------------------------------------------------


def chat_read(sent: dict[str, Any]) -> list[Message]:
    return [Message.from_json(message) for message in sent["messages"]]


def responses_read(sent: dict[str, Any]) -> list[Message]:
    found: list[Message] = []
    for item in sent["input"]:
        if item.get("type") == "function_call":
            call = ToolCall(item["call_id"], item["name"], json.loads(item["arguments"]), item["arguments"])
            if found[-1].role != "assistant":
                found.append(Message("assistant"))
            last = found.pop()
            found.append(Message("assistant", last.content, None, (*last.tool_calls, call)))
        elif item.get("type") == "function_call_output":
            found.append(Message("tool", item["output"], tool_call_id=item["call_id"]))
        else:
            found.append(Message(item["role"], item["content"]))
    return found


def messages_read(sent: dict[str, Any]) -> list[Message]:
    found = [Message("system", sent["system"])] if "system" in sent else []
    roles = [turn["role"] for turn in sent["messages"]]
    assert all(one != other for one, other in itertools.pairwise(roles)), "the turns must alternate"
    for turn in sent["messages"]:
        blocks = turn["content"] if isinstance(turn["content"], list) else [{"type": "text", "text": turn["content"]}]
        kinds = [block["type"] for block in blocks]
        assert kinds == sorted(kinds, key=["tool_result", "text", "tool_use"].index), "the results of tools come first"
        if turn["role"] == "assistant":
            text = "".join(block["text"] for block in blocks if block["type"] == "text")
            made = [block for block in blocks if block["type"] == "tool_use"]
            calls = tuple(ToolCall(block["id"], block["name"], block["input"], json.dumps(block["input"])) for block in made)
            found.append(Message("assistant", text, None, calls))
            continue
        for block in blocks:
            if block["type"] == "tool_result":
                found.append(Message("tool", block["content"], tool_call_id=block["tool_use_id"]))
            else:
                found.append(Message("user", block["text"]))
    return found


@st.composite
def conversations(draw: st.DrawFn) -> tuple[Message, ...]:
    found = [Message("system", draw(texts.filter(bool)))] if draw(st.booleans()) else []
    found.append(Message("user", draw(texts)))
    for turn in range(draw(st.integers(0, 3))):
        made = [
            ToolCall(f"{turn}-{number}", name, args, json.dumps(args))
            for number, (name, args) in enumerate(draw(st.lists(st.tuples(names, arguments), max_size=2)))
        ]
        found.append(Message("assistant", draw(texts), None, tuple(made)))
        found += [Message("tool", draw(texts), tool_call_id=call.id) for call in made]
        if not made or draw(st.booleans()):
            found.append(Message("user", draw(texts)))
    return tuple(found)


@pytest.mark.parametrize("api, back", [("chat", chat_read), ("responses", responses_read), ("messages", messages_read)])
@settings(max_examples=60, deadline=None)
@given(conversations())
def test_a_conversation_arrives_as_it_is(api, back, conversation):
    sent = json.loads(json.dumps(body(api, conversation)))
    assert tuple(back(sent)) == conversation


@settings(max_examples=60, deadline=None)
@given(conversations())
def test_messages_have_a_json_form(conversation):
    kept = Message("assistant", "", "Hm", (ToolCall("1", "f", {}, "{}"),), native=({"type": "thinking", "signature": "x"},))
    for message in (*conversation, kept):
        assert Message.from_json(json.loads(json.dumps(message.to_json()))) == message
    assert "native" not in conversation[0].to_json() and hash(conversation[0])


def test_rollouts_have_a_json_form():
    tokens = (TokenLogprob("4", -0.1, (("4", -0.1), ("5", -2.5))), TokenLogprob(".", -9999.0))
    rollout = Rollout(QUESTION, "4.", first_token_s=0.25, tokens_per_s=33.3, logprobs=tokens)
    assert Rollout.from_json(json.loads(json.dumps(rollout.to_json()))) == rollout
    assert not {"first_token_s", "tokens_per_s", "logprobs"} & set(Rollout(QUESTION, "4.").to_json())
    assert Rollout.from_json({**Rollout().to_json(), "logprobs": []}).logprobs == ()


# -- what is sent ---------------------------------------------------------------------------------------------------------------------

ALL = {"temperature": 0.5, "top_p": 0.9, "max_tokens": 100, "seed": 7, "stop": ["\n\n"], "extra_body": {"top_k": 20}}


def without(*settings: str) -> dict[str, Any]:
    return {name: value for name, value in ALL.items() if name not in settings}


@pytest.mark.parametrize(
    "api, sampling, expected",
    [
        ("chat", ALL, {"temperature": 0.5, "top_p": 0.9, "max_tokens": 100, "seed": 7, "stop": ["\n\n"], "top_k": 20}),
        ("chat", {"stop": "Q:", "seed": None}, {"stop": "Q:"}),
        ("chat", {"response_format": FORMAT}, {"response_format": FORMAT}),
        ("chat", {"logprobs": True}, {"logprobs": True}),
        ("chat", {"top_logprobs": 3}, {"logprobs": True, "top_logprobs": 3}),
        ("chat", {"logprobs": False, "stream": False}, {}),
        ("chat", {"stream": True}, {"stream": True, "stream_options": {"include_usage": True}}),
        ("chat", {"max_tokens": None, "extra_body": {"max_completion_tokens": 9}}, {"max_completion_tokens": 9}),
        ("chat", {"temperature": 1.0, "extra_body": {"temperature": 0.1}}, {"temperature": 0.1}),
        ("completions", ALL, {"temperature": 0.5, "top_p": 0.9, "max_tokens": 100, "seed": 7, "stop": ["\n\n"], "top_k": 20}),
        ("completions", {}, {"max_tokens": 1024}),
        ("completions", {"logprobs": True}, {"max_tokens": 1024, "logprobs": 1}),
        ("completions", {"top_logprobs": 5}, {"max_tokens": 1024, "logprobs": 5}),
        ("completions", {"stream": True}, {"max_tokens": 1024, "stream": True, "stream_options": {"include_usage": True}}),
        ("responses", without("seed", "stop"), {"temperature": 0.5, "top_p": 0.9, "max_output_tokens": 100, "top_k": 20}),
        ("responses", {"response_format": FORMAT}, {"text": {"format": {"type": "json_schema", **FORMAT["json_schema"]}}}),
        ("responses", {"response_format": {"type": "json_object"}}, {"text": {"format": {"type": "json_object"}}}),
        (
            "responses",
            {"response_format": {"type": "text"}, "extra_body": {"text": {"verbosity": "low"}}},
            {"text": {"format": {"type": "text"}, "verbosity": "low"}},
        ),
        ("responses", {"logprobs": True}, {"include": ["message.output_text.logprobs"], "top_logprobs": 0}),
        ("responses", {"stream": True}, {"stream": True}),
        (
            "messages",
            without("seed"),
            {"temperature": 0.5, "top_p": 0.9, "max_tokens": 100, "stop_sequences": ["\n\n"], "top_k": 20},
        ),
        ("messages", {"stop": "Q:"}, {"max_tokens": 4096, "stop_sequences": ["Q:"]}),
        ("messages", {"stream": True}, {"max_tokens": 4096, "stream": True}),
        ("messages", {"response_format": {"type": "text"}}, {"max_tokens": 4096}),
        (
            "messages",
            {"response_format": FORMAT, "extra_body": {"output_config": {"effort": "low"}}},
            {"max_tokens": 4096, "output_config": {"format": {"type": "json_schema", "schema": SCHEMA}, "effort": "low"}},
        ),
    ],
)
def test_settings_have_the_api_s_names(api, sampling, expected):
    said = {"chat": "messages", "responses": "input", "messages": "messages", "completions": "prompt"}[api]
    sent = body(api, **sampling)
    assert {key: value for key, value in sent.items() if key not in ("model", said)} == expected
    assert sent["model"] == "m" and said in sent


@pytest.mark.parametrize(
    "api, sampling, parts",
    [
        ("responses", {"seed": 7}, ["Responses", "sampling.seed", "sampling.extra_body.seed"]),
        ("responses", {"stop": "x"}, ["Responses", "sampling.stop"]),
        ("responses", {"response_format": {"type": "xml"}}, ["sampling.response_format", "json_schema"]),
        ("responses", {"response_format": {"type": "json_schema", "schema": {}}}, ["sampling.response_format"]),
        ("responses", {"response_format": {"type": "json_schema", "json_schema": {}}}, ["sampling.response_format", "'schema'"]),
        ("messages", {"seed": 7}, ["Messages", "sampling.seed=null"]),
        ("messages", {"logprobs": True}, ["Messages", "sampling.logprobs"]),
        ("messages", {"top_logprobs": 1}, ["Messages", "sampling.top_logprobs"]),
        ("messages", {"response_format": {"type": "json_object"}}, ["sampling.response_format", "json_schema"]),
        ("completions", {"response_format": FORMAT}, ["Completions", "sampling.response_format"]),
    ],
)
def test_what_an_api_lacks_is_refused_and_never_dropped(api, sampling, parts):
    with pytest.raises(ValueError) as caught:
        body(api, **sampling)
    assert all(part in str(caught.value) for part in parts), caught.value
    with pytest.raises(ConfigError, match=r"^gsm8k: .*sampling"):
        check_wire(load_wire(api), sampling, "gsm8k")


@pytest.mark.parametrize("api", WIRES)
def test_settings_that_fit_are_accepted(api):
    check_wire(load_wire(api), {"temperature": 0.0, "max_tokens": 5, "stream": True, "extra_body": {"x": {"y": 1}}}, "gsm8k")


def test_the_table_knows_the_settings():
    lines = ["sampling.stream=true", "sampling.logprobs=true", "sampling.top_logprobs=5", f"sampling.response_format={json.dumps(FORMAT)}"]
    found = parse_assignments(lines, "--gym-set")
    assert [found.get(line.partition("=")[0]) for line in lines] == [True, True, 5, FORMAT]
    for line, word in (
        ("sampling.stream=yes", "true or false"),
        ("sampling.logprobs=1", "true or false"),
        ("sampling.top_logprobs=21", "at most 20"),
        ("sampling.response_format=json", "a mapping"),
    ):
        with pytest.raises(ConfigError, match=word):
            parse_assignments([line], "--gym-set")
    with pytest.raises(ConfigError, match=r"config\.yaml:3: sampling.response_format must be a mapping, not 'json'"):
        check_table({"response_format": "json"}, lambda key: "config.yaml:3")


def test_options_name_the_wires_that_there_are():
    assert options.APIS == WIRES == next(option.choices for option in options.DECLARED if option.name == "api")


def test_keys_go_to_their_own_vendor(monkeypatch):
    def key(api: str) -> str | None:
        return options.api_key(options.Options(api=api))

    assert {key(api) for api in WIRES} == {None}
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-oai")
    assert {api: key(api) for api in WIRES} == {"chat": "sk-oai", "responses": "sk-oai", "messages": "sk-ant", "completions": "sk-oai"}
    monkeypatch.setenv("GYM_API_KEY", "own")
    assert {key(api) for api in WIRES} == {"own"}
    assert options.api_key(options.Options(api="messages", demo=True)) is None


@pytest.mark.parametrize(
    "words, variables, url",
    [
        ((), {}, None),
        ((), {"OPENAI_API_KEY": "k"}, "https://api.openai.com/v1"),
        ((), {"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": "http://gate/v1"}, "http://gate/v1"),
        ((), {"ANTHROPIC_API_KEY": "k"}, None),
        (("--gym-api=messages",), {"ANTHROPIC_API_KEY": "k"}, "https://api.anthropic.com/v1"),
        (("--gym-api=messages",), {"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": "http://gate/v1"}, None),
        (("--gym-api=messages", "--gym-base-url=http://own/v1"), {"ANTHROPIC_API_KEY": "k"}, "http://own/v1"),
    ],
)
def test_the_endpoint_where_none_is_given(pytester, monkeypatch, words, variables, url):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    config = pytester.parseconfig("--gym-model=m", *words)
    assert options.parse(config).base_url == url


def test_the_demo_speaks_chat(pytester, monkeypatch):
    monkeypatch.setenv("GYM_API", "messages")
    assert options.parse(pytester.parseconfig("--gym-demo")).api == "chat"
    with pytest.raises(pytest.UsageError, match="leave out --gym-api"):
        options.parse(pytester.parseconfig("--gym-demo", "--gym-api=responses"))


@pytest.mark.parametrize("api", WIRES)
def test_headers(api):
    wire = load_wire(api)
    if api == "messages":
        assert wire.headers("k") == {"anthropic-version": "2023-06-01", "x-api-key": "k"}
        assert wire.headers(None) == {"anthropic-version": "2023-06-01"}
    else:
        assert wire.headers("k") == {"authorization": "Bearer k"}
        assert wire.headers(None) == {}


def test_tools():
    strict = {"type": "function", "function": {"name": "now", "strict": True}}
    empty = {"type": "object", "properties": {}}
    assert body("chat", tools=[WEATHER])["tools"] == [WEATHER]
    assert body("responses", tools=[WEATHER, strict])["tools"] == [
        {"type": "function", "name": "weather", "description": "Look outside", "parameters": {"type": "object"}, "strict": False},
        {"type": "function", "name": "now", "parameters": empty, "strict": True},
    ]
    assert body("messages", tools=[WEATHER, strict])["tools"] == [
        {"name": "weather", "description": "Look outside", "input_schema": {"type": "object"}},
        {"name": "now", "strict": True, "input_schema": empty},
    ]
    with pytest.raises(ValueError, match="no tools: use --gym-api=chat"):
        body("completions", tools=[WEATHER])
    for api in ("responses", "messages"):
        assert "tools" not in body(api, tools=[])
        with pytest.raises(ValueError, match='"type": "function"'):
            body(api, tools=[{"name": "weather"}])


def test_tool_arguments_that_are_no_object():
    turn = Message("assistant", "", None, (ToolCall("1", "f", None, "{oops"),))
    assert body("chat", (*QUESTION, turn))["messages"][1]["tool_calls"][0]["function"]["arguments"] == "{oops"
    assert body("responses", (*QUESTION, turn))["input"][1]["arguments"] == "{oops"
    assert body("messages", (*QUESTION, turn))["messages"][1]["content"][0]["input"] == {"INVALID_JSON": "{oops"}


def test_system_messages():
    twice = (Message("system", "Be brief."), Message("system", "Be kind."), *QUESTION)
    assert body("messages", twice)["system"] == "Be brief.\n\nBe kind."
    assert body("messages", (Message("system", (Part("text", "Be brief."),)), *QUESTION))["system"] == "Be brief."
    assert "system" not in body("messages", (Message("system", ""), *QUESTION))
    with pytest.raises(ValueError, match="cannot stand within"):
        body("messages", (*QUESTION, Message("system", "Now be long.")))
    with pytest.raises(ValueError, match="system prompt"):
        body("messages", (Message("system", (Part("image", url="http://x/y.png"),)), *QUESTION))


def test_an_earlier_answer_in_parts():
    turns = (*QUESTION, Message("assistant", (Part("text", "It "), Part("text", "is"))), Message("user", "Go on."))
    assert body("responses", turns)["input"][1] == {"role": "assistant", "content": "It is"}
    assert body("messages", turns)["messages"][1]["content"] == [{"type": "text", "text": "It "}, {"type": "text", "text": "is"}]
    with pytest.raises(ValueError, match="text only"):
        body("responses", (*QUESTION, Message("assistant", (Part("image", url="http://x/y.png"),))))


def test_a_prompt_of_plain_completions():
    assert body("completions")["prompt"] == "What is 2+2?"
    assert body("completions", (Message("user", "  Q: 2+2\nA:"),))["prompt"] == "  Q: 2+2\nA:"
    assert body("completions", (Message("system", "Add."), *QUESTION))["prompt"] == "Add.\n\nWhat is 2+2?"
    assert body("completions", (Message("system", ""), *QUESTION))["prompt"] == "What is 2+2?"
    assert body("completions", (Message("user", (Part("text", "2"), Part("text", "+2"))),))["prompt"] == "2+2"
    for turns in (
        (),
        (Message("system", "Add."),),
        (*QUESTION, *QUESTION),
        (*QUESTION, Message("system", "Add.")),
        (*QUESTION, Message("assistant", "It is")),
        (*QUESTION, Message("assistant", "It is"), *QUESTION),
    ):
        with pytest.raises(ValueError, match="no turns"):
            body("completions", turns)
    with pytest.raises(ValueError, match="text only, no part of type 'image'"):
        body("completions", (Message("user", (Part("image", url="http://x/y.png"),)),))


# -- files ----------------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path) -> dict[str, str]:
    made = {"a.png": PNG, "b.wav": b"RIFF", "c.pdf": b"%PDF", "d.txt": "Grüße".encode(), "e.xyz": b"", "f.bmp": b"BM"}
    for name, content in made.items():
        (tmp_path / name).write_bytes(content)
    return {path.stem: str(path) for path in tmp_path.iterdir()}


def base64_of(content: bytes) -> str:
    return base64.b64encode(content).decode()


def part(api: str, *parts: Part) -> Any:
    sent = body(api, (Message("user", (Part("text", "Look:"), *parts)),))
    text, *others = sent["messages" if "messages" in sent else "input"][0]["content"]
    assert text == {"type": "input_text" if api == "responses" else "text", "text": "Look:"}
    return others[0]


def test_images(files):
    png, link = Part("image", path=files["a"], sha256=hashlib.sha256(PNG).hexdigest()), Part("image", url="https://example.org/a.png")
    data = f"data:image/png;base64,{base64_of(PNG)}"
    assert part("chat", png) == {"type": "image_url", "image_url": {"url": data}}
    assert part("chat", link) == {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}
    assert part("responses", png) == {"type": "input_image", "detail": "auto", "image_url": data}
    assert part("responses", link) == {"type": "input_image", "detail": "auto", "image_url": "https://example.org/a.png"}
    assert part("messages", png) == {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": base64_of(PNG)}}
    assert part("messages", link) == {"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}}


def test_sounds_and_documents(files):
    wav, pdf, txt = Part("audio", path=files["b"]), Part("file", path=files["c"]), Part("file", path=files["d"])
    link = Part("file", url="https://example.org/c.pdf")
    data = f"data:application/pdf;base64,{base64_of(b'%PDF')}"
    assert part("chat", wav) == {"type": "input_audio", "input_audio": {"data": base64_of(b"RIFF"), "format": "wav"}}
    assert part("chat", pdf) == {"type": "file", "file": {"filename": "c.pdf", "file_data": data}}
    assert part("responses", pdf) == {"type": "input_file", "filename": "c.pdf", "file_data": data}
    assert part("responses", link) == {"type": "input_file", "file_url": "https://example.org/c.pdf"}
    source = {"type": "base64", "media_type": "application/pdf", "data": base64_of(b"%PDF")}
    assert part("messages", pdf) == {"type": "document", "source": source}
    assert part("messages", txt) == {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "Grüße"}}
    assert part("messages", link) == {"type": "document", "source": {"type": "url", "url": "https://example.org/c.pdf"}}


def test_tools_may_return_images(files):
    turn = Message("assistant", "", None, (ToolCall("1", "look", {}, "{}"),))
    result = Message("tool", (Part("image", path=files["a"]),), tool_call_id="1")
    talk = (*QUESTION, turn, result)
    assert body("chat", talk)["messages"][2]["content"][0]["type"] == "image_url"
    assert body("responses", talk)["input"][2]["output"][0]["type"] == "input_image"
    assert body("messages", talk)["messages"][2]["content"][0]["content"][0]["type"] == "image"


@pytest.mark.parametrize(
    "api, given_, words",
    [
        ("chat", {"type": "image", "path": "a", "sha256": "00"}, ["a.png", "SHA-256", "00"]),
        ("chat", {"type": "image", "path": "nowhere.png"}, ["nowhere.png", "cannot be read"]),
        ("chat", {"type": "image"}, ["'image'", "neither a url nor a path"]),
        ("chat", {"type": "image", "path": "e"}, ["e.xyz", "media type", ".png"]),
        ("chat", {"type": "image", "path": "c"}, ["c.pdf", "no image"]),
        ("chat", {"type": "audio", "path": "a"}, ["a.png", "no audio"]),
        ("chat", {"type": "audio", "url": "https://x/y.wav"}, ["'audio'", "give its path"]),
        ("chat", {"type": "file", "url": "https://x/y.pdf"}, ["'file'", "give its path"]),
        ("responses", {"type": "audio", "path": "b"}, ["Responses", "audio", "--gym-api=chat"]),
        ("messages", {"type": "audio", "path": "b"}, ["Messages", "audio", "--gym-api=chat"]),
        ("messages", {"type": "image", "path": "f"}, ["f.bmp", "JPEG"]),
        ("messages", {"type": "file", "path": "a"}, ["a.png", "PDF"]),
    ],
)
def test_parts_that_cannot_be_sent(files, api, given_, words):
    given_ = {**given_, **({"path": files.get(given_["path"], given_["path"])} if "path" in given_ else {})}
    with pytest.raises(ValueError) as caught:
        body(api, (Message("user", (Part(**given_),)),))
    assert all(word in str(caught.value) for word in words), caught.value


# -- tool loops: what the API wants back ----------------------------------------------------------------------------------------------


def again(api: str, data: Any) -> Any:
    """The request that follows a reply with a tool call: its turns after the question."""
    message = Message.from_json(json.loads(json.dumps(read(api, data).message.to_json())))
    sent = body(api, (*QUESTION, message, Message("tool", "sunny", tool_call_id="1")))
    return sent["input" if api == "responses" else "messages"][1:]


def test_signed_thinking_goes_back_unchanged():
    turns = again("messages", messages_body(CALLING))
    assert turns[0] == {"role": "assistant", "content": messages_body(CALLING)["content"]}
    assert turns[1] == {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1", "content": "sunny"}]}
    data, _ = streamed("messages", messages_events(CALLING, list))
    assert again("messages", data) == turns
    assert read("messages", messages_body(Said("4", "Hm"))).message.native == ()


def test_hidden_thinking_goes_back_unchanged():
    data = messages_body(CALLING)
    data["content"][0] = {"type": "redacted_thinking", "data": "EmwK"}
    assert again("messages", data)[0]["content"][0] == {"type": "redacted_thinking", "data": "EmwK"}
    assert read("messages", data).message.reasoning is None


def test_reasoning_items_go_back_unchanged():
    items = again("responses", responses_body(CALLING))
    assert items[:3] == responses_body(CALLING)["output"] and items[0]["encrypted_content"] == "gAAA"
    assert items[3] == {"type": "function_call_output", "call_id": "1", "output": "sunny"}
    assert read("responses", responses_body(Said("4", "Hm"))).message.native == ()


def test_reasoning_goes_back_under_the_name_that_the_server_gave_it():
    for name in ("reasoning_content", "reasoning"):
        for text in ("Hm", ""):
            data = chat_body(Said("", "", CALLING.calls))
            data["choices"][0]["message"][name] = text
            assert again("chat", data)[0][name] == text
    assert "reasoning" not in str(again("chat", chat_body(Said("", "", CALLING.calls))))
    data, _ = streamed("chat", chat_events(CALLING, list))
    assert again("chat", data) == again("chat", chat_body(CALLING)) and again("chat", data)[0]["reasoning_content"] == "Hm"


def test_what_else_stands_in_a_call_goes_back():
    data = chat_body(CALLING)
    extra = {"google": {"thought_signature": "sig"}}
    data["choices"][0]["message"]["tool_calls"][0]["extra_content"] = extra
    assert again("chat", data)[0]["tool_calls"] == data["choices"][0]["message"]["tool_calls"]
    events = chat_events(CALLING, whole)
    for _, event in events:
        for choice_ in event["choices"] if isinstance(event, dict) else ():
            for call in choice_["delta"].get("tool_calls", ()):
                if "id" in call:
                    call["extra_content"] = extra
    assert again("chat", streamed("chat", events)[0]) == again("chat", data)
