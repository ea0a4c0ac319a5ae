"""Rows that bring their own messages, tools and sampling; few-shot prompts and parts; tool calls through a whole run."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_gym.dataset import Dataset
from pytest_gym.errors import ConfigError, DataError, GymError
from pytest_gym.model import load_wire
from pytest_gym.prompt import Prompt, Turn
from pytest_gym.records import Message, Part, Task, ToolCall
from pytest_gym.request import merged_sampling, request_of, tools_of
from tests.conftest import Gym
from tests.endpoint import chat
from tests.samples import make_benchmark

FLAT = {"type": "function", "name": "add", "description": "Adds.", "parameters": {"type": "object"}, "strict": True}
TOOL = {"type": "function", "function": {key: FLAT[key] for key in ("name", "description", "parameters", "strict")}}


def task(**fields) -> Task:
    return Task("t", 0, "b", fields)


def test_a_responses_request_becomes_messages_tools_and_sampling():
    params = {
        "instructions": "Be brief.",
        "input": [
            {"role": "developer", "content": "Rules."},
            {"role": "user", "content": [{"type": "input_text", "text": "1+1?"}]},
            {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm."}]},
            {"type": "function_call", "call_id": "c1", "name": "add", "arguments": '{"a": 1}'},
            {"type": "function_call", "call_id": "c2", "name": "add", "arguments": "broken"},
            {"type": "function_call_output", "call_id": "c1", "output": "2"},
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Two."}]},
            {"role": "user", "content": [{"type": "input_image", "image_url": "data:image/png;base64,AA=="}]},
        ],
        "tools": [FLAT],
        "tool_choice": {"type": "function", "name": "add"},
        "parallel_tool_calls": False,
        "temperature": 0.3,
        "max_output_tokens": 9,
        "text": {"format": {"type": "json_schema", "name": "n", "schema": {}}},
        "metadata": {"extra_body": '{"seed": 3}'},
        "store": None,
    }
    found = request_of(params, "b")
    assert found.messages == (
        Message("system", "Be brief."),
        Message("system", "Rules."),
        Message("user", "1+1?"),
        Message("assistant", "", "Hm.", (ToolCall("c1", "add", {"a": 1}, '{"a": 1}'), ToolCall("c2", "add", None, "broken"))),
        Message("tool", "2", tool_call_id="c1"),
        Message("assistant", "Two."),
        Message("user", (Part("image", url="data:image/png;base64,AA=="),)),
    )
    assert found.tools == (TOOL,) and tools_of([TOOL], "b") == (TOOL,) and tools_of([], "b") is None
    assert found.sampling == {
        "temperature": 0.3,
        "max_tokens": 9,
        "tool_choice": {"type": "function", "name": "add"},
        "parallel_tool_calls": False,
        "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {}}},
        "extra_body": {"seed": 3},
    }
    bodies = {api: load_wire(api).request("m", found.messages, found.sampling, found.tools) for api in ("chat", "responses")}
    assert bodies["chat"]["tool_choice"] == {"type": "function", "function": {"name": "add"}}
    assert bodies["responses"]["tool_choice"] == {"type": "function", "name": "add"}
    assert bodies["chat"]["parallel_tool_calls"] is bodies["responses"]["parallel_tool_calls"] is False
    turn = load_wire("messages").request("m", found.messages[:3], {"tool_choice": "required", "parallel_tool_calls": False}, found.tools)
    assert turn["tool_choice"] == {"type": "any", "disable_parallel_tool_use": True}


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "a prompt must be a text or a list of messages"),
        ([], "a prompt must be a text or a list of messages"),
        ([3], "b[0]: a message must be an object"),
        ([{"role": "king", "content": "x"}], "b[0]: role must be one of system"),
        ([{"role": "user", "content": 3}], "b[0]: content must be a text or a list of parts, not 3"),
        ([{"role": "user", "content": [{"type": "video"}]}], "b[0].content[0]: "),
        ([{"type": "web_search_call"}], "an item of type 'web_search_call' is not supported"),
        ({"input": "x", "previous_response_id": "r"}, "'previous_response_id' refers to what is kept elsewhere"),
        ({"input": "x", "tools": [{"type": "web_search"}]}, "b.tools[0]: a tool must be"),
        ({"input": "x", "tools": 3}, "b.tools: tools must be a list"),
        ({"input": "x", "metadata": {"extra_body": "{"}}, "extra_body is no JSON"),
    ],
)
def test_a_broken_row_is_told_where(value, said):
    with pytest.raises(DataError) as caught:
        request_of(value, "b")
    assert said in str(caught.value) and "\n" not in str(caught.value)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(["user", "message", "function_call", "input_text"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["role", "content", "type", "text", "input", "tools", "tool_calls", "name", "function", "summary", "output", "metadata"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(anything)
@settings(max_examples=150, deadline=None)
def test_any_row_is_a_request_or_one_sentence(value):
    try:
        for message in request_of(value, "row").messages:
            message.to_json()
    except DataError as error:
        assert str(error).startswith("row") and "\n" not in str(error)


def test_the_user_s_settings_go_over_the_row_s_and_these_over_the_config_s():
    config = {"temperature": 0.0, "top_p": 0.5, "extra_body": {"a": 1}}
    row = {"temperature": 1.0, "top_p": 0.9, "extra_body": {"b": 2}}
    assert merged_sampling(config, row, ("temperature",)) == {"temperature": 0.0, "top_p": 0.9, "extra_body": {"a": 1, "b": 2}}
    assert merged_sampling(config, {}, ()) is config


def test_worked_examples_and_parts_stand_between_system_and_user(tmp_path):
    prompt = Prompt(
        "S",
        "Q: {q}",
        "p",
        (
            Turn("user", "Q: {{1}}"),
            Turn("assistant", "A: {first}"),
            Turn("user", ({"type": "text", "text": "see {q}"}, {"type": "image", "path": "{picture}"})),
        ),
        folder=str(tmp_path),
    )
    assert prompt.fields == {"q", "first", "picture"}
    rendered = prompt.render(task(q="2", first="1", picture="images/a.png"))
    assert [message.role for message in rendered] == ["system", "user", "assistant", "user", "user"]
    assert rendered[1].content == "Q: {1}" and rendered[2].content == "A: 1"
    assert rendered[3].content == (Part("text", text="see 2"), Part("image", path=str(tmp_path / "images" / "a.png")))
    assert Prompt.from_json(json.loads(json.dumps(prompt.to_json()))) == prompt
    with pytest.raises(DataError, match="outside the benchmark's folder"):
        prompt.render(task(q="2", first="1", picture="../secret.png"))


VERIFIER = '''
"""calls: the one call that is expected."""
from pytest_gym import Message, Rollout, Task, ToolCall, Verdict, verifier

@verifier
def calls(task: Task, rollout: Rollout) -> Verdict:
    made = [(call.name, call.arguments) for call in rollout.tool_calls]
    right = made == [("add", {"a": task["a"]})]
    return Verdict(float(right), extracted=str(made) if made else None, explanation="expected one call")

@calls.reference
def reference(task: Task) -> Message:
    return Message("assistant", "", tool_calls=(ToolCall("c", "add", {"a": task["a"]}, '{"a": %d}' % task["a"]),))
'''


def write(gym: Gym, prompt: str, verifier: str = VERIFIER) -> None:
    (gym.path / "benchmarks" / "sums").mkdir(parents=True)
    (gym.path / "verifiers").mkdir()
    (gym.path / "verifiers" / "calls.py").write_text(verifier)
    rows = [{"a": a, "request": {"input": f"Add {a}.", "tools": [FLAT], "temperature": 0.9, "top_p": 0.8}} for a in range(4)]
    (gym.path / "benchmarks" / "sums" / "sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = f"sums:\n  prompt_config: {prompt}\n  verifier: {{name: calls}}\n  sampling: {{max_tokens: 50}}\n"
    config += "  datasets: [{path: sums.jsonl}]\n"
    (gym.path / "benchmarks" / "sums" / "config.yaml").write_text(config)


def test_tools_and_sampling_of_rows_are_sent_and_the_demo_calls_them(gym: Gym, endpoint, how):
    write(gym, "{system: Call a tool., field: request}")

    def script(body, number):
        argument = body["messages"][1]["content"].removeprefix("Add ").removesuffix(".")
        call = {"id": "c", "type": "function", "function": {"name": "add", "arguments": json.dumps({"a": int(argument)})}}
        message = {"role": "assistant", "content": None, "tool_calls": [call]}
        return 200, {"choices": [{"message": message, "finish_reason": "tool_calls"}]}

    server = endpoint(script)
    gym.run(*how, "--gym-set=sampling.temperature=0", url=server.url).assert_outcomes(passed=4)
    body = server.requests[0]
    assert (body["tools"], body["temperature"], body["top_p"], body["max_tokens"]) == ([TOOL], 0, 0.8, 50)
    assert body["messages"][0] == {"role": "system", "content": "Call a tool."}
    demo = gym.run(*how, "--gym-demo", "--gym-output=demo")
    assert demo.ret == 0 and gym.summary("demo")["benchmarks"]["sums"]["metrics"]["pass@1"]["value"] > 0.4


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ("{tools: request}", "a prompt needs the key 'user', 'messages' or 'field'"),
        ("{messages: [{role: tool, content: x}]}", "role has no value 'tool'"),
        ("{messages: [{role: user, content: [{type: image, text: x}]}]}", "a part of type 'image' has 'url' or 'path', and nothing else"),
        ("{messages: [{role: user, content: 3}]}", "content must be a text or a list of parts"),
        ("{field: reqest}", "did you mean 'request'"),
        ("{user: x, tools: a}", "tools must be a list, not 0"),
    ],
)
def test_what_a_config_says_wrong_of_it(gym: Gym, endpoint, prompt, said):
    write(gym, prompt)
    result = gym.run(url=endpoint(lambda body, number: chat("x")).url)
    assert said in result.stdout.str() + result.stderr.str() and ConfigError.__name__ not in result.stderr.str()


ROW = {
    "id": "a",
    "question": "1+1?",
    "picture": "a.png",
    "tools": [FLAT],
    "chat": {
        "input": [
            {"role": "user", "content": [{"type": "input_text", "text": "Hi"}]},
            {"type": "function_call", "call_id": "c", "name": "add", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": "2"},
        ],
        "temperature": 0.5,
        "text": {"format": {"type": "json_schema", "name": "n", "schema": {}}},
    },
}
LINE = json.dumps(ROW)


@given(st.integers(0, len(LINE) - 1), st.integers(0, 6), st.text(max_size=3) | st.sampled_from(["null", "[]", "{}", '"', "1e999", "-1"]))
@settings(max_examples=120, deadline=None)
def test_any_mutation_of_a_row_is_a_request_or_one_sentence(tmp_path_factory, start, length, text):
    folder = tmp_path_factory.getbasetemp() / "rows"
    folder.mkdir(exist_ok=True)
    path = folder / "rows.jsonl"
    path.write_bytes((LINE[:start] + text + LINE[start + length :]).encode("utf-8", "surrogatepass"))
    parts = ({"type": "text", "text": "{question}"}, {"type": "image", "path": "{picture}"})
    prompt = Prompt("s", None, "p.yaml", (Turn("user", parts),), "chat", "tools", str(folder))
    try:
        dataset = Dataset.open(path, make_benchmark(folder=folder, prompt=prompt))
        for row in range(len(dataset)):
            found = prompt.request(dataset.task(row))
            assert found.messages[0].content == "s" and all(isinstance(message, Message) for message in found.messages)
            json.dumps([message.to_json() for message in found.messages])
            merged_sampling({}, found.sampling, ())
    except GymError as error:
        assert str(error).splitlines() == [str(error)]


@pytest.mark.parametrize("path", ["a\x00.png", "\ud800.png", "", ".", "../a.png", "/etc/passwd"])
def test_a_path_of_a_row_that_is_no_file_of_the_benchmark(tmp_path, path):
    prompt = Prompt(None, None, "p.yaml", (Turn("user", ({"type": "image", "path": "{picture}"},)),), folder=str(tmp_path))
    with pytest.raises(DataError, match=r"^b, task 't' \(row 1\): "):
        prompt.request(task(picture=path))
