"""Values on the way between a program and its judge: a tagged form in JSON that keeps Python's builtin types apart.

None, bool, int, float, str and list are JSON's own (an int of many digits as hexadecimal text); every other value is an object with one
key, its type: `{"tuple": […]}`. A subclass of a builtin type travels as that type, by the builtin's own methods, so that no method of
its own has a say in a comparison. What is none of these arrives as an `Other`, which fails whatever compares it.

Its source is put before `candidate` and before `examiner`, so: standard library only, nothing of ours, and no `from __future__`.
"""

import json
import types
from typing import Any

BIG = 1 << 60
MOST = 2_000_000
"""How many values one message may hold; an iterator is read up to that many."""

_ITERATORS = (types.GeneratorType, map, filter, zip, enumerate, reversed)


class Other:
    """A value of a type that does not travel: it exists, but it can be neither compared nor taken for true or false."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, name: str) -> None:
        self.name = name

    def _refuse(self, *_: object) -> Any:
        raise TypeError(f"the program returned an object of type {self.name}, which is not compared: only builtin types are")

    __eq__ = __ne__ = __bool__ = __lt__ = __gt__ = __le__ = __ge__ = __len__ = __iter__ = _refuse

    def __repr__(self) -> str:
        return f"<an object of type {self.name}>"


def packed(value: object) -> str:
    """One line of JSON for `value`. A value that contains itself, or is too large or too deep, is an `other`."""
    try:
        return json.dumps(_pack(value, [MOST]))
    except (RecursionError, OverflowError):
        return json.dumps({"other": f"{type(value).__name__} (too large or too deep)"})


def unpacked(line: str | bytes) -> Any:
    """The value of one line. Raises ValueError or TypeError for a line that `packed` does not write."""
    return _unpack(json.loads(line))


def _pack(value: Any, left: list[int]) -> Any:
    left[0] -= 1
    if left[0] < 0:
        raise OverflowError
    kind = type(value)
    if value is None or kind is bool or kind is str:
        return value
    if isinstance(value, int):
        number = int.__index__(value)
        return number if -BIG < number < BIG else {"int": hex(number)}
    if isinstance(value, float):
        return float.__float__(value)
    if isinstance(value, str):
        return str.__getitem__(value, slice(None))
    if isinstance(value, list):
        return [_pack(item, left) for item in list.__iter__(value)]
    if isinstance(value, dict):
        return {"dict": [[_pack(key, left), _pack(item, left)] for key, item in dict.items(value)]}
    for base, items in _COLLECTIONS:
        if isinstance(value, base):
            return {base.__name__: [_pack(item, left) for item in items(value)]}
    if isinstance(value, complex):
        return {"complex": [complex.__complex__(value).real, complex.__complex__(value).imag]}
    if isinstance(value, (bytes, bytearray)):
        return {kind.__name__ if kind in (bytes, bytearray) else "bytes": bytes(memoryview(value)).hex()}
    if kind is range:
        return {"range": [_pack(part, left) for part in (value.start, value.stop, value.step)]}
    if isinstance(value, _ITERATORS) or kind in _VIEWS:
        return {"iterator": [_pack(item, left) for item in value]}
    if getattr(kind, "__module__", "") == "numpy" and getattr(value, "ndim", None) == 0:
        return _pack(value.item(), left)
    return {"other": str(getattr(kind, "__name__", "?"))[:80]}


_COLLECTIONS: tuple[tuple[type, Any], ...] = ((tuple, tuple.__iter__), (set, set.__iter__), (frozenset, frozenset.__iter__))
_VIEWS: tuple[type, ...] = (
    type(iter([])),
    type(iter(())),
    type(iter({})),
    type(iter(set())),
    type({}.keys()),
    type({}.values()),
    type({}.items()),
)


def _unpack(value: Any) -> Any:
    if isinstance(value, list):
        return [_unpack(item) for item in value]
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "dict":
        return {_unpack(key): _unpack(item) for key, item in content}
    if kind == "int":
        return int(content, 16)
    if kind == "complex":
        return complex(float(content[0]), float(content[1]))
    if kind in ("bytes", "bytearray"):
        return (bytes if kind == "bytes" else bytearray).fromhex(content)
    if kind == "other":
        return Other(str(content))
    makers: dict[str, Any] = {"tuple": tuple, "set": set, "frozenset": frozenset, "iterator": iter}
    if kind == "range":
        return range(*(_unpack(part) for part in content))
    return makers[kind]([_unpack(item) for item in content])
