"""A benchmark's sampling settings as the parameters of a wire API: shared by the wires.

What an API has no parameter for is refused and never dropped: the run would not be the one that was asked for. Which settings there are
is said in `settings`, not here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# What each wire writes in a form of its own.
_BY_HAND = ("extra_body", "stream", "response_format", "logprobs", "top_logprobs", "tool_choice", "parallel_tool_calls")


def parameters(sampling: Mapping[str, Any], names: Mapping[str, str], api: str) -> dict[str, Any]:
    """The plain settings under the API's names for them. Raises ValueError for one that is not in `names`."""
    body = {}
    for setting, value in sampling.items():
        if value is None or setting in _BY_HAND:
            continue
        if setting not in names:
            raise refusal(setting, api)
        body[names[setting]] = value
    return body


def refusal(setting: str, api: str, instead: str = "") -> ValueError:
    """The error for a setting that an API has no parameter for; `instead` says what else would do."""
    instead = instead or f"send it as an extension of the server with sampling.extra_body.{setting}"
    return ValueError(f"{api} has no parameter for sampling.{setting}: unset it (sampling.{setting}=null), or {instead}")


def alternatives(sampling: Mapping[str, Any]) -> int | None:
    """For how many likely tokens in each place log probabilities are asked for; None where for none at all.

    `top_logprobs` alone asks for log probabilities, too: without them it has no meaning in any API.
    """
    top = sampling.get("top_logprobs")
    if top is None and not sampling.get("logprobs"):
        return None
    return int(top or 0)


def json_schema(sampling: Mapping[str, Any]) -> tuple[str, dict[str, Any]] | None:
    """The type of `response_format` and, for `json_schema`, what stands in it; None where none is set.

    Raises ValueError where it has not the form of Chat Completions.
    """
    wanted = sampling.get("response_format")
    if wanted is None:
        return None
    kind = wanted.get("type") if isinstance(wanted, Mapping) else None
    inner = wanted.get("json_schema") if kind == "json_schema" else {}
    if kind not in ("text", "json_object", "json_schema") or not isinstance(inner, Mapping):
        raise ValueError(
            "sampling.response_format must have the form of Chat Completions: "
            '{"type": "json_schema", "json_schema": {"name": …, "schema": …}}, {"type": "json_object"} or {"type": "text"}'
        )
    if kind == "json_schema" and not isinstance(inner.get("schema"), Mapping):
        raise ValueError("sampling.response_format: json_schema has no 'schema'")
    return kind, dict(inner)


def tool_choice(sampling: Mapping[str, Any]) -> str | None:
    """`auto`, `none`, `required`, or the name of the function that must be called behind `=`; None where nothing is set.

    Chat Completions' form and Responses' flat one are read. Raises ValueError for anything else.
    """
    said = sampling.get("tool_choice")
    if said is None or said in ("auto", "none", "required"):
        return None if said is None else str(said)
    function = said.get("function", said) if isinstance(said, Mapping) else None
    if isinstance(function, Mapping) and isinstance(function.get("name"), str):
        return f"={function['name']}"
    raise ValueError('sampling.tool_choice must be "auto", "none", "required" or {"type": "function", "function": {"name": …}}')


def with_extra(body: dict[str, Any], sampling: Mapping[str, Any]) -> dict[str, Any]:
    """The body with the fields of `sampling.extra_body`, which go over what is there; objects are merged."""
    extra = sampling.get("extra_body")
    return _merged(body, extra) if extra else body


def _merged(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(one)
    for key, value in other.items():
        below = merged.get(key)
        merged[key] = _merged(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return merged


def function_of(tool: Mapping[str, Any], api: str) -> Mapping[str, Any]:
    """The function that a tool in Chat Completions' form describes. Raises ValueError where it has another form."""
    function = tool.get("function")
    if tool.get("type") != "function" or not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise ValueError(f'a tool for {api} must have the form {{"type": "function", "function": {{"name": …, "parameters": …}}}}')
    return function
