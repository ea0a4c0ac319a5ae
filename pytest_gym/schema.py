"""The keys of a config: one table for each kind of block, and the reader that holds a block against its table.

What a table does not know is an error that points at its line and names the nearest key.
Not here: what the values are used for (benchmark).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_gym.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from pytest_gym.config import Block

DOMAINS = (
    "math", "coding", "agent", "knowledge", "instruction_following", "long_context", "safety", "games", "translation", "other",
)  # fmt: skip
REQUIRES = (
    "tools", "images", "audio", "video", "long_context", "structured_output", "logprobs", "judge", "sandbox", "docker", "network",
)  # fmt: skip
CHECKS = (
    "config", "sources", "version", "readme", "rows", "ids", "prompt", "length", "duplicates", "positions",
    "reference", "empty", "corrupted", "foreign",
)  # fmt: skip

_SHA256 = re.compile(r"[0-9a-f]{64}")


class Key(NamedTuple):
    """What a key of a config must be: `type`, the default where it is absent (or `...` where it may not be), the words it may be."""

    type: str
    default: Any
    words: tuple[str, ...] = ()


BLOCK_KEYS: dict[str, Key] = {
    "_inherit_from": Key("text", None),
    "description": Key("text", ""),
    "domain": Key("text", "other", DOMAINS),
    "aliases": Key("list of texts", ()),
    "tags": Key("list of texts", ()),
    "requires": Key("list of texts", (), REQUIRES),
    "version": Key("count", 1),
    "prompt_config": Key("text or mapping", None),
    "harness": Key("text", "single_turn"),
    "verifier": Key("mapping", ...),
    "metric": Key("mapping", None),
    "aggregate": Key("mapping", None),
    "sampling": Key("mapping", None),
    "datasets": Key("list of mappings", ...),
    "subset": Key("text", None),
    "cluster": Key("text", None),
    "gates": Key("list of texts", ()),
    "suite": Key("mapping", None),
    "context_length": Key("count", None),
    "check": Key("mapping", None),
    "published": Key("list of mappings", ()),
}
DATASET_KEYS: dict[str, Key] = {
    "name": Key("text", None),
    "type": Key("text", "benchmark"),
    "sources": Key("mapping", None),
    "prepare_script": Key("text", None),
    "prepare_options": Key("mapping", None),
    "path": Key("text", ...),
    "sha256": Key("sha256", None),
    "num_rows": Key("count", None),
    "num_repeats": Key("count", 1),
}
SOURCE_KEYS: dict[str, Key] = {
    "url": Key("text", None),
    "hf": Key("text", None),
    "local": Key("text", None),
    "member": Key("text", None),
    "sha256": Key("sha256", None),
}
PUBLISHED_KEYS: dict[str, Key] = {
    "model": Key("text", ...),
    "metric": Key("text", "pass@1"),
    "score": Key("number", ...),
    "n": Key("count", None),
    "sampling": Key("mapping", None),
    "examples": Key("count from 0", None),
    "protocol": Key("text", ...),
    "source": Key("text", ...),
}
CHECK_KEYS: dict[str, Key] = {name: Key("text", None) for name in CHECKS}
METRIC_KEYS: dict[str, Key] = {
    "headline": Key("text", "pass@1"),
    "direction": Key("text", "higher", ("higher", "lower")),
    "range": Key("range", (0.0, 1.0)),
    "pass_threshold": Key("number", 1.0),
}
SUITE_KEYS: dict[str, Key] = {
    "benchmarks": Key("list of texts", ...),
    "settings": Key("list of texts", ()),
    "gates": Key("list of texts", ()),
}
AGGREGATE_KEYS: dict[str, Key] = {
    "of": Key("text", "pass@1"),
    "only": Key("list of texts", ()),
    "weights": Key("text or mapping", None),
}
PROMPT_KEYS: dict[str, Key] = {
    "system": Key("text", None),
    "messages": Key("list of mappings", ()),
    "field": Key("text", None),
    "user": Key("text", None),
    "tools": Key("text", None),
}
TURN_KEYS: dict[str, Key] = {"role": Key("text", ..., ("system", "user", "assistant")), "content": Key("text or list of mappings", ...)}
PART_KEYS: dict[str, Key] = {
    "type": Key("text", ..., ("text", "image", "audio", "file")),
    "text": Key("text", None),
    "url": Key("text", None),
    "path": Key("text", None),
}

_MEANS = {
    "text": "a text",
    "list of texts": "a list of texts",
    "text or mapping": "a file name or a mapping",
    "text or list of mappings": "a text or a list of parts",
    "mapping": "a mapping",
    "list of mappings": "a list of mappings",
    "count": "a whole number of at least 1",
    "count from 0": "a whole number of at least 0",
    "number": "a number",
    "range": "two numbers, the lower first, as [0, 1]",
    "sha256": "64 lower-case hexadecimal digits in quotes",
}


def read(block: Block, keys: Mapping[str, Key], what: str) -> dict[str, Any]:
    """The values of a block by the table, null counting as absent.

    `what` names the block in a sentence. Raises ConfigError with file and line for an unknown, missing or unfit key.
    """
    check_keys(block, keys, what)
    values = {}
    for name, key in keys.items():
        value = block.get(name)
        if value is None:
            if key.default is ...:
                raise ConfigError(f"{block.place}: {what} lacks the key {name!r} ({_MEANS[key.type]})")
            value = key.default
        elif not _fits(value, key.type):
            hint = "; put it in quotes" if key.type == "text" and isinstance(value, int | float) else ""
            raise ConfigError(f"{block.where(name)}: {name} must be {_MEANS[key.type]}, not {_shown(value)}{hint}")
        for word in value if isinstance(value, list) else [value]:
            if key.words and isinstance(word, str) and word not in key.words:
                hint = did_you_mean(word, key.words, otherwise=f" (known: {', '.join(key.words)})")
                raise ConfigError(f"{block.where(name)}: {name} has no value {word!r}{hint}")
        values[name] = value
    values.pop("_inherit_from", None)
    return values


def check_keys(block: Block, keys: Mapping[str, Key], what: str) -> None:
    """Raise ConfigError with file and line, and the nearest key, where a block has a key that the table does not know."""
    for name in block:
        if name not in keys:
            hint = did_you_mean(name, keys, otherwise=f" (it has: {', '.join(keys)})")
            raise ConfigError(f"{block.where(name)}: {what} has no key {name!r}{hint}")


def _fits(value: Any, kind: str) -> bool:
    match kind:
        case "text":
            return isinstance(value, str)
        case "list of texts":
            return isinstance(value, list) and all(isinstance(item, str) for item in value)
        case "text or mapping":
            return isinstance(value, str | dict)
        case "mapping":
            return isinstance(value, dict)
        case "list of mappings":
            return isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)
        case "text or list of mappings":
            return isinstance(value, str) or _fits(value, "list of mappings")
        case "count" | "count from 0":
            return isinstance(value, int) and not isinstance(value, bool) and value >= (kind == "count")
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        case "range":
            return isinstance(value, list) and len(value) == 2 and all(_fits(item, "number") for item in value) and value[0] < value[1]
        case _:
            return isinstance(value, str) and _SHA256.fullmatch(value) is not None


def plain(value: Any) -> Any:
    """The value as ordinary dicts and lists, without places."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


def _shown(value: Any) -> str:
    text = "a mapping" if isinstance(value, dict) else repr(plain(value))
    return text if len(text) <= 80 else text[:77] + "..."
