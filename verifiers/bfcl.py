"""bfcl: the function calls of one turn are the expected ones, by the Berkeley Function Calling Leaderboard's AST rules for Python.

Rule, by the row's `category` (`live_` before it changes nothing):

    simple, multiple              exactly one call, and it matches the expected one
    parallel, parallel_multiple   as many calls as expected, in any order; each expected call in turn takes the first that matches
    irrelevance                   no call that can be read
    relevance                     at least one call, and all can be read; which one does not matter

A call matches where the name is right, every required parameter is there, no parameter is unknown, each value is one of those that
`ground_truth` lists for it, and every parameter that is left out has "" in its list. Values have the type that the function's description
names (an int will do for a float; a bool is no int); a value of the type of the listed ones will do too. Strings are compared in lower
case, without blanks and `, . / - _ * ^`, and ' as "; also the strings in a list, and the values of a dict, one level deep.

Names: function names with dots are sent with underscores, as upstream does for APIs that allow no dots, and compared that way.

Option `calls`: `native` reads the API's tool calls; `text` reads Python calls in the answer (`[f(a=1), g(b="x")]`), upstream's way for
models without tools; nothing is evaluated.

Source of truth: `bfcl_eval/eval_checker/ast_eval` of ShishirPatil/gorilla @ 6ea5797. Known quirks are kept: the types of a list's items are
checked against the listed values, `True` equals 1 inside lists and dicts, and parallel calls are paired greedily. The Java and JavaScript
categories are not here: their values need those languages' own parsers.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping
from typing import Any, Literal

from pytest_gym import DataError, Message, OutOfBounds, Rollout, Task, ToolCall, Verdict, run_bounded, verifier
from pytest_gym.extract import remove_thinking

Call = tuple[str, Any]
_PYTHON = {"string": str, "integer": int, "float": float, "boolean": bool, "array": list, "tuple": list, "dict": dict, "any": str}
_IGNORED = re.compile(r"[ ,./\-_*^]")
_KINDS = ("parallel_multiple", "parallel", "multiple", "simple", "irrelevance", "relevance")
_LONGEST_TEXT = 200_000


class _Mismatch(Exception):
    """Why a call is not the expected one, as a sentence."""


@verifier
def bfcl(task: Task, rollout: Rollout, *, calls: Literal["native", "text"] = "native") -> Verdict:
    """Reward 1 where the calls of the answer are the expected ones (or there are none, where none are expected).

    Options:
        calls: where the calls are: in the API's tool calls, or as Python in the answer's text.

    Raises DataError for a row whose functions or expected calls cannot be used.
    """
    kind = _kind(task)
    found, problem = _from_text(rollout.text) if calls == "text" else _native(rollout)
    shown = json.dumps([{name: arguments} for name, arguments in found], ensure_ascii=False, sort_keys=True, default=str) if found else None
    if kind in ("irrelevance", "relevance"):
        called = bool(found) and problem is None and all(isinstance(arguments, dict) for _, arguments in found)
        right = called == (kind == "relevance")
        return Verdict(float(right), extracted=shown or "no call", explanation=f"{'a call' if called else problem or 'no call'} was made")
    if problem:
        return Verdict(0.0, extracted=None, explanation=problem)
    functions, expected = _functions(task), _expected(task)
    if len(found) != (len(expected) if kind.startswith("parallel") else 1):
        return Verdict(0.0, extracted=shown, explanation=f"{len(expected)} calls are expected, {len(found)} were made")
    left = list(found)
    for name, arguments in expected:
        if name not in functions:
            raise DataError(f"{task.where('ground_truth')}: calls {name!r}, which 'function' does not describe")
        reason = "every call is used up"
        for call in left:
            try:
                _match(call, functions[name], arguments, task.where("function"))
            except _Mismatch as error:
                reason = str(error)
                continue
            left.remove(call)
            break
        else:
            return Verdict(0.0, extracted=shown, explanation=f"no call matches {name}: {reason}")
    return Verdict(1.0, extracted=shown, explanation="the expected calls were made")


@bfcl.reference  # type: ignore[type-var, unused-ignore]
def reference(task: Task, *, calls: Literal["native", "text"] = "native") -> str | Message:
    """The expected calls with the first listed values; for irrelevance a refusal, for relevance a call of the first function."""
    kind = _kind(task)
    if kind == "irrelevance":
        return "None of the functions can do this."
    functions = _functions(task)
    wanted: list[tuple[str, dict[str, Any]]] = [(next(iter(functions)), {})] if kind == "relevance" else []
    for name, arguments in [] if kind == "relevance" else _expected(task):
        given = {}
        for parameter, values in arguments.items():
            chosen = [value for value in values if not (isinstance(value, str) and value == "")]
            required = parameter in functions[name]["parameters"].get("required", [])
            if chosen and ("" not in values or required):
                given[parameter] = _first(chosen[0])
            elif required:
                given[parameter] = ""
        wanted.append((name, given))
    if calls == "text":
        return "[" + ", ".join(f"{name}({', '.join(f'{key}={value!r}' for key, value in given.items())})" for name, given in wanted) + "]"
    raw = [
        {"id": f"call_{number}", "function": {"name": _sent(name), "arguments": json.dumps(given)}}
        for number, (name, given) in enumerate(wanted)
    ]
    return Message("assistant", "", tool_calls=tuple(ToolCall.from_json(call) for call in raw))


def _match(call: Call, function: Mapping[str, Any], expected: Mapping[str, list[Any]], where: str) -> None:
    name, arguments = call
    if _sent(name) != _sent(function["name"]):
        raise _Mismatch(f"{name} is another function")
    if not isinstance(arguments, dict):
        raise _Mismatch("the arguments are no object")
    described = function["parameters"].get("properties", {})
    for parameter in function["parameters"].get("required", []):
        if parameter not in arguments:
            raise _Mismatch(f"the required parameter {parameter!r} is missing")
    for parameter, value in arguments.items():
        if parameter not in described or parameter not in expected:
            raise _Mismatch(f"the parameter {parameter!r} is not expected")
        try:
            right = _right(value, described[parameter], expected[parameter])
        except (KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{where}: parameter {parameter!r} of {function['name']!r} cannot be compared: {error!r}") from error
        if not right:
            raise _Mismatch(f"{parameter} is {_short(value)}, expected one of {_short(expected[parameter])}")
    for parameter, values in expected.items():
        if parameter not in arguments and "" not in values:
            raise _Mismatch(f"the parameter {parameter!r} is missing")


def _right(value: Any, described: Mapping[str, Any], listed: list[Any]) -> bool:
    kind = described["type"]
    wanted: type = _PYTHON[kind]
    inner: type | None = _PYTHON[described["items"]["type"]] if kind in ("array", "tuple") else None
    if kind == "float" and type(value) is int:
        try:
            value = float(value)
        except OverflowError:
            return False
    typed, variable = _type_fits(value, listed, wanted, inner)
    if not typed:
        return False
    if variable:
        return value in listed
    if wanted is dict:
        return _dict_fits(value, listed)
    if wanted is list and inner is dict:
        return any(
            len(value) == len(option) and all(_dict_fits(item, [each]) for item, each in zip(value, option, strict=True))
            for option in listed
        )
    if wanted is str:
        return _plain(value) in [_plain(option) for option in listed if isinstance(option, str)]
    if wanted is list:
        return [_plain(item) for item in value] in [[_plain(item) for item in option] for option in listed]
    return value in listed


def _type_fits(value: Any, listed: Any, wanted: type, inner: type | None) -> tuple[bool, bool]:
    """Whether the type is right, and whether the value is to be taken as the name of a variable."""
    shown = next((type(option) for option in listed if option != ""), None)
    if isinstance(value, wanted) and type(value) is wanted:
        if inner is None or not isinstance(value, list):
            return True, shown is not None and shown is not wanted
        for option in listed:
            if not isinstance(option, list) or all(_type_fits(item, option, inner, None)[0] for item in value):
                return True, shown is not None and shown is not wanted
        return False, False
    return shown is not None and type(value) is shown, True


def _dict_fits(value: Any, listed: list[Any]) -> bool:
    for option in listed:
        if option == "" or not isinstance(value, dict):
            continue
        known = all(key in option and _plain(item) in [_plain(each) for each in option[key]] for key, item in value.items())
        if known and all(key in value or "" in values for key, values in option.items()):
            return True
    return False


def _plain(value: Any) -> Any:
    return _IGNORED.sub("", value).lower().replace("'", '"') if isinstance(value, str) else value


def _sent(name: str) -> str:
    return name.replace(".", "_")


def _native(rollout: Rollout) -> tuple[list[Call], str | None]:
    found: list[Call] = []
    for call in rollout.tool_calls:
        try:
            found.append((call.name, json.loads(call.raw) if call.arguments is None else dict(call.arguments)))
        except (ValueError, RecursionError):
            return found, f"the arguments of {call.name} are not JSON"
    return found, None


def _from_text(text: str) -> tuple[list[Call], str | None]:
    text = remove_thinking(text).strip().strip("`\n ")
    if len(text) > _LONGEST_TEXT:
        return [], "the answer is too long to be calls"
    text = text if text.startswith("[") else f"[{text}]"
    try:
        calls = run_bounded(python_calls, text, seconds=2.0)
    except OutOfBounds as error:
        return [], f"reading the calls {error}"
    return ([], "the answer is not a list of calls") if calls is None else ([(name, arguments) for name, arguments in calls], None)


def python_calls(text: str) -> list[Call] | None:
    """The calls in the text of a Python list, as (name, arguments); None where it is something else. Runs in the helper process."""
    try:
        tree = ast.parse(text, mode="eval").body
        return [_python_call(node) for node in tree.elts] if isinstance(tree, ast.List) else None
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _python_call(node: ast.expr) -> Call:
    if not isinstance(node, ast.Call) or any(word.arg is None for word in node.keywords):
        raise ValueError("no call")
    return ast.unparse(node.func), {word.arg or "": _python_value(word.value) for word in node.keywords}


def _python_value(node: ast.expr) -> Any:
    if isinstance(node, ast.List | ast.Tuple):
        return [_python_value(item) for item in node.elts]
    if isinstance(node, ast.Dict):
        return {str(_python_value(key)): _python_value(value) for key, value in zip(node.keys, node.values, strict=True) if key is not None}
    if isinstance(node, ast.Constant | ast.UnaryOp):
        value = ast.literal_eval(node)
        return value if isinstance(value, str | int | float | bool | None) else str(value)
    return ast.unparse(node)


def _first(value: Any) -> Any:
    """A value of the listed ones: a dict lists values for each of its keys, and so do dicts in a list."""
    if isinstance(value, dict):
        chosen = {key: [each for each in values if each != ""] for key, values in value.items()}
        return {key: values[0] for key, values in chosen.items() if values}
    return [_first(item) if isinstance(item, dict) else item for item in value] if isinstance(value, list) else value


def _kind(task: Task) -> str:
    category = task.get("category")
    name = category.removeprefix("live_") if isinstance(category, str) else ""
    for kind in _KINDS:
        if name == kind or (kind == "simple" and name == "simple_python"):
            return kind
    raise DataError(f"{task.where('category')}: must be one of {', '.join(_KINDS)}, with or without 'live_', not {category!r}")


def _functions(task: Task) -> dict[str, Mapping[str, Any]]:
    functions = task.get("function")
    if not isinstance(functions, list) or not functions:
        raise DataError(f"{task.where('function')}: must be a list of function descriptions, not {_short(functions)}")
    for function in functions:
        if not isinstance(function, dict) or not isinstance(function.get("name"), str) or not isinstance(function.get("parameters"), dict):
            raise DataError(f"{task.where('function')}: each needs a name and parameters, not {_short(function)}")
    # As upstream, the first of two with the same name counts.
    return {function["name"]: function for function in reversed(functions)}


def _expected(task: Task) -> list[tuple[str, dict[str, list[Any]]]]:
    calls = task.get("ground_truth")
    if not isinstance(calls, list) or not calls or not all(isinstance(call, dict) and len(call) == 1 for call in calls):
        raise DataError(f"{task.where('ground_truth')}: must be a list of {{function: {{parameter: [values]}}}}, not {_short(calls)}")
    pairs = [next(iter(call.items())) for call in calls]
    if not all(isinstance(given, dict) and all(isinstance(values, list) for values in given.values()) for _, given in pairs):
        raise DataError(f"{task.where('ground_truth')}: each parameter needs a list of values, not {_short(calls)}")
    return pairs


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 200 else text[:200] + "…"
