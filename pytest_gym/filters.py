"""Filters: `math and not (judge or sandbox)` as a test on the entries of a list of benchmarks.

A word is a domain, a tag, a need, a kind of judging, or a name or glob of names; `and`, `or`, `not` and brackets are as in pytest's `-m`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from typing import Any

from pytest_gym.errors import ConfigError

Filter = Callable[[Mapping[str, Any]], bool]

_TOKEN = re.compile(r"[()]|[^\s()]+")


def parse_filter(expression: str) -> Filter:
    """The test that an expression means. Raises ConfigError where it is none."""
    tokens: list[str] = _TOKEN.findall(expression)
    position = 0

    def peek() -> str | None:
        return tokens[position] if position < len(tokens) else None

    def take() -> str:
        nonlocal position
        position += 1
        return tokens[position - 1]

    def either() -> Filter:
        parts = [both()]
        while peek() == "or":
            take()
            parts.append(both())
        return lambda entry: any(part(entry) for part in parts)

    def both() -> Filter:
        parts = [one()]
        while peek() == "and":
            take()
            parts.append(one())
        return lambda entry: all(part(entry) for part in parts)

    def one() -> Filter:
        token = take() if peek() is not None else None
        if token == "not":
            inner = one()
            return lambda entry: not inner(entry)
        if token == "(":
            inner = either()
            if peek() != ")":
                raise wrong("a ')' is missing")
            take()
            return inner
        if token in (None, ")", "and", "or"):
            raise wrong(f"a name is missing before {token!r}" if token else "a name is missing at its end")
        return lambda entry: _matches(entry, str(token))

    def wrong(why: str) -> ConfigError:
        return ConfigError(f"{expression!r} is no filter: {why}; for example 'math and not judge'")

    try:
        keep = either()
    except RecursionError:
        raise wrong("it is nested too deep") from None
    if peek() is not None:
        raise wrong(f"{peek()!r} stands where 'and' or 'or' should")
    return keep


def _matches(entry: Mapping[str, Any], word: str) -> bool:
    return word in (entry["domain"], entry.get("kind"), *entry["tags"], *entry["needs"]) or fnmatchcase(entry["name"], word)
