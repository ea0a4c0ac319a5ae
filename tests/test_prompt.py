"""Prompts: placeholders, escapes, what is refused, and that values are never read as templates."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_gym.dataset import Row
from pytest_gym.errors import ConfigError, DataError
from pytest_gym.prompt import Prompt
from pytest_gym.records import Message, Task


def task(**fields):
    return Task("7", 6, "bench", fields)


def test_renders_system_and_user_with_values_as_text():
    prompt = Prompt("You are {role}.", "Q: {question}\n{n}", "p.yaml")
    assert prompt.render(task(role="terse", question="1+1?", n=3)) == (
        Message("system", "You are terse."),
        Message("user", "Q: 1+1?\n3"),
    )
    assert prompt.fields == {"role", "question", "n"}


def test_an_empty_system_message_is_sent_and_an_absent_one_is_not():
    assert Prompt("", "x", "p").render(task()) == (Message("system", ""), Message("user", "x"))
    assert Prompt(None, "x", "p").render(task()) == (Message("user", "x"),)


def test_double_braces_are_single_ones():
    prompt = Prompt(None, r"\boxed{{}} {{answer}} {{{answer}}}", "p")
    assert prompt.render(task(answer="4"))[0].content == r"\boxed{} {answer} {4}"
    assert prompt.fields == {"answer"}


def test_values_are_no_templates():
    assert Prompt(None, "{a}{b}", "p").render(task(a="{b}", b="{{x}} %s {0}"))[0].content == "{b}{{x}} %s {0}"


@pytest.mark.parametrize("text", ["{}", "{0}", "{a.b}", "{a[0]}", "{a!r}", "{a:>10}", "{a b}", "{", "}", "x {a", "a} {b}", "{ a }"])
def test_anything_but_a_field_name_is_refused_with_its_line(text):
    with pytest.raises(ConfigError, match=r"^p\.yaml: prompt 'user', line 3: .*double"):
        Prompt(None, "one\ntwo\n" + text, "p.yaml")


def test_a_missing_field_names_row_and_field():
    with pytest.raises(DataError, match=r"bench, task '7' \(row 7\): no field 'question'"):
        Prompt(None, "{question}", "p").render(task(answer="4"))
    row = Row({"answer": "4"}, "bench", 7)
    with pytest.raises(DataError, match=r"bench, row 7: no field 'question' \(it has: answer\)"):
        Prompt(None, "{question}", "p").render(Task("7", 6, "bench", row))
    with pytest.raises(DataError, match=r"row 7\): field 'question' is null"):
        Prompt(None, "{question}", "p").render(task(question=None))


def test_json_round_trip():
    prompt = Prompt("", "{q}", "p.yaml")
    assert Prompt.from_json(prompt.to_json()) == prompt
    assert Prompt.from_json(prompt.to_json()).fields == {"q"}


@given(st.text(), st.text())
def test_escaped_text_comes_back_as_it_was(before, value):
    escaped = before.replace("{", "{{").replace("}", "}}")
    assert Prompt(None, escaped + "{q}", "p").render(task(q=value))[0].content == before + value


@given(st.text(alphabet="{}ab. \n[]!:0"))
def test_any_text_is_a_prompt_or_a_config_error(text):
    try:
        prompt = Prompt(text, None, "p")
    except ConfigError as error:
        assert str(error).startswith("p: prompt 'system', line ")
    else:
        assert prompt.render(task(**dict.fromkeys(prompt.fields, "x")))[0].role == "system"
