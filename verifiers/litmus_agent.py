r"""litmus_agent: one value, taken out of the answer as the row says, and compared as the row says.

Where the value stands: the last match of the row's `output_regex` (one group; `.` takes line ends, too), else of its `answer_format`
(`fmt_00` to `fmt_30`, below), else in `\boxed{…}` where `use_box_format` is true, else in `((…))`.

How it is read, by `answer_type`: `float` as a number, else the last number in it; `bool` as 1 or 0 (1, true, yes, present, t, y; 0,
false, no, absent, f, n; else a number, which is true unless 0); `string` as it is. Rows without one go by `property_type`: `float` is a
float; `count`, `fragment`, `bool` and `presence` are read as numbers and compared as whole ones.

How it is compared: by the rule in `match`, else by that of the type (isclose, bool_eq, string_eq).

    exact        the same whole number after rounding
    isclose      math.isclose with rel_tol and abs_tol
    abs_window   at most abs_tol away
    rel_window   at most rel_tol times the expected value away
    bool_eq      both true or both false
    string_eq    the same text but for case and blanks

No value, NaN, or one that the rule cannot take (infinity as a whole number) is wrong. `abs_error` is how far a number is away, for the
types `float` and `count` only.

Source of truth: NeMo Gym's server of this name, without its tool. A row whose type, format, regex, rule or expected value is broken is an
error here even where nothing was found in the answer. Regular expressions of rows, and long answers, are matched in a helper process.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from pytest_gym import DataError, OutOfBounds, Rollout, Task, Verdict, run_bounded, verifier
from pytest_gym.extract import remove_thinking

# What stands before and after the value, by the format's number; `~` stands for any blanks. Without an end the value ends with the line.
FORMATS = (
    ("((", "))"), ("(Answer:~", ")"), ("Final answer:~(", ")"), ("Answer is~[", "]"), ("[Answer:~", "]"), ("[[", "]]"),
    ("Correct Answer:~[", "]"), ("\\boxed{", "}"), ("\\boxed{", "}"), ("{{", "}}"), ("Answer Value:~{", "}"), ("<<", ">>"), ("<<", ">>"),
    ("<", ">"), ("<Answer:~", ">"), ("<final_answer>~", "~</final_answer>"), ("Final Answer:~||", "||"), ("The answer is:~|", "|"),
    ("**Answer:~", "**"), ("**Final answer is:~", "**"), ("Answer:~*", "*"), ("## Answer:~", "~##"), ("ANSWER IS~", ""), ("Response:~", ""),
    ("Final Answer~->~", ""), ("Final value is:~", ""), ("Correct Answer >>~", ""), ("Answer Value:~", ""), ("Final Answer~=~", ""),
    ("Correct answer is~", ""), ("Final Answer:~", ""),
)  # fmt: skip

_TYPES = {"float": "float", "count": "float", "fragment": "float", "bool": "bool", "presence": "bool"}
_WHOLE = ("count", "fragment", "bool", "presence")
_DEFAULT_RULES = {"float": "isclose", "bool": "bool_eq", "string": "string_eq"}
_TRUE, _FALSE = ("1", "1.0", "true", "yes", "present", "t", "y"), ("0", "0.0", "false", "no", "absent", "f", "n")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")
_RULES: Mapping[str, Callable[[Any, Any, Mapping[str, float]], bool]] = {
    "exact": lambda found, expected, _: round(float(found)) == round(float(expected)),
    "isclose": lambda found, expected, tol: math.isclose(float(found), float(expected), rel_tol=tol["rel_tol"], abs_tol=tol["abs_tol"]),
    "abs_window": lambda found, expected, tol: abs(float(found) - float(expected)) <= tol["abs_tol"],
    "rel_window": lambda found, expected, tol: abs(float(found) - float(expected)) <= abs(tol["rel_tol"] * float(expected)),
    "bool_eq": lambda found, expected, _: float(found) == as_bool(str(expected)),
    "string_eq": lambda found, expected, _: _plain(found) == _plain(expected),
}
_QUICK = 4_000
"""Answers up to so many characters are searched for a coded format in place."""


@verifier
def litmus_agent(
    task: Task,
    rollout: Rollout,
    *,
    field: str = "expected_answer",
    rel_tol: float = 1e-6,
    abs_tol: float = 1e-6,
    seconds: float = 5.0,
) -> Verdict:
    """Reward 1 where the value in the answer is the expected one by the row's rule.

    Options:
        field: the row's field with the expected value.
        rel_tol: the relative tolerance of rows whose `match` gives none.
        abs_tol: the absolute tolerance, likewise.
        seconds: processor time for finding the value in one answer.

    Raises DataError for a row that says in a broken way how it is to be judged.
    """
    read_as, is_continuous = _type(task)
    rule, tolerances = _rule(task, rel_tol, abs_tol)
    expected = _expected(task, field, rule)
    pattern, own = _pattern(task)
    text = remove_thinking(rollout.text).strip()
    try:
        found = last_match(pattern, text) if not own and len(text) <= _QUICK else run_bounded(last_match, pattern, text, seconds=seconds)
    except OutOfBounds as error:
        return Verdict(0.0, extracted=None, explanation=f"finding the value {error}")
    value = None if found is None else found if read_as == "string" else as_bool(found) if read_as == "bool" else as_number(found)
    if value is None:
        return Verdict(0.0, extracted=None, explanation="no value found" if found is None else f"{found[:100]!r} is no {read_as}")
    try:
        right = value == value and _RULES[rule](value, expected, tolerances)
    except (ValueError, OverflowError):
        right = False
    scores = _distance(value, expected) if is_continuous and isinstance(value, float) else {}
    said = _plain(value)[:200] if isinstance(value, str) else repr(value).removesuffix(".0")
    return Verdict(float(right), extracted=said or None, explanation=f"found {said}, expected {expected}", scores=scores)


@litmus_agent.reference
def reference(task: Task, *, field: str = "expected_answer") -> str | None:
    """The expected value in the first form that the row's pattern takes it out of; None where it takes it out of none."""
    pattern, _ = _pattern(task)
    value = str(task[field])
    number = _format_number(task)
    for before, after in (FORMATS[number], *FORMATS):
        text = f"{before.replace('~', ' ')}{value}{after.replace('~', ' ')}"
        if run_bounded(last_match, pattern, text, seconds=5.0) == value:
            return text
    return None


def last_match(pattern: str, text: str) -> str | None:
    """What the last match of the pattern captured, stripped; None without a match. Runs in the helper process for patterns of rows."""
    last = None
    for match in re.finditer(pattern, text, re.DOTALL):
        last = match
    return (last[1] or "").strip() if last else None


def as_number(text: str) -> float | None:
    """The text as a number, else the last number in it."""
    try:
        return float(text)
    except ValueError:
        numbers = _NUMBER.findall(text)
        return float(numbers[-1]) if numbers else None


def as_bool(text: str) -> float | None:
    """1.0 for true and 0.0 for false; None for what is neither a word for them nor holds a number."""
    word = text.strip().lower()
    if word in _TRUE or word in _FALSE:
        return float(word in _TRUE)
    number = as_number(word)
    return None if number is None else float(number != 0)


def _pattern(task: Task) -> tuple[str, bool]:
    """The regular expression that takes the value out, and whether it is the row's own."""
    own = task.get("output_regex")
    if own is None:
        before, after = FORMATS[_format_number(task)]
        value = ("(.*?)" if before == "((" else "(.+?)") if after else r"([^\n]+)"
        return re.escape(before).replace("\\~", r"\s*") + value + re.escape(after).replace("\\~", r"\s*"), False
    try:
        groups = re.compile(own, re.DOTALL).groups
    except (TypeError, ValueError, OverflowError, RecursionError, re.error) as error:
        raise DataError(f"{task.where('output_regex')}: {own!r} is no regular expression: {error}") from error
    if groups != 1:
        raise DataError(f"{task.where('output_regex')}: {own!r} must have one group, and has {groups}")
    return str(own), True


def _format_number(task: Task) -> int:
    name = task.get("answer_format")
    if not name:
        return 7 if task.get("use_box_format") else 0
    match = re.fullmatch(r"fmt_(\d\d)", name) if isinstance(name, str) else None
    if match is None or int(match[1]) >= len(FORMATS):
        raise DataError(f"{task.where('answer_format')}: must be one of fmt_00 to fmt_{len(FORMATS) - 1}, not {name!r}")
    return int(match[1])


def _type(task: Task) -> tuple[str, bool]:
    """What the value is read as, and whether its distance means something."""
    said, kind = task.get("answer_type"), task.get("property_type")
    if said:
        if said not in _DEFAULT_RULES:
            raise DataError(f"{task.where('answer_type')}: must be one of {', '.join(_DEFAULT_RULES)}, not {said!r}")
    elif not isinstance(kind, str) or kind not in _TYPES:
        raise DataError(f"{task.where('answer_type')}: is missing, and property_type is {kind!r}, none of {', '.join(_TYPES)}")
    read_as = said or ("float" if kind in _WHOLE else _TYPES[kind])
    return read_as, kind in ("float", "count") if kind is not None else read_as == "float"


def _rule(task: Task, rel_tol: float, abs_tol: float) -> tuple[str, dict[str, float]]:
    match, tolerances = task.get("match"), {"rel_tol": rel_tol, "abs_tol": abs_tol}
    if not match:
        said, kind = task.get("answer_type"), task.get("property_type")
        return (_DEFAULT_RULES[said] if said else "exact" if kind in _WHOLE else "isclose"), tolerances
    if not isinstance(match, Mapping) or match.get("rule") not in _RULES:
        raise DataError(f"{task.where('match')}: must be a mapping with a rule ({', '.join(_RULES)}), not {match!r}")
    for name in tolerances:
        value = match.get(name, tolerances[name])
        if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
            raise DataError(f"{task.where('match')}: {name} must be a number from 0, not {value!r}")
        tolerances[name] = float(value)
    return str(match["rule"]), tolerances


def _expected(task: Task, field: str, rule: str) -> Any:
    value = task.get(field)
    usable = isinstance(value, str | int | float)
    if usable and rule != "string_eq":
        try:
            number = as_bool(str(value)) if rule == "bool_eq" else float(value)
            usable = number is not None and math.isfinite(number)
        except (ValueError, OverflowError):
            usable = False
    if not usable:
        raise DataError(f"{task.where(field)}: {value!r} is nothing that the rule {rule} can compare with")
    return value


def _distance(value: float, expected: Any) -> dict[str, float]:
    try:
        away = abs(value - float(expected))
    except ValueError:
        return {}
    return {"abs_error": away} if math.isfinite(away) else {}


def _plain(value: object) -> str:
    return re.sub(r"\s+", " ", str(value).strip().lower())
