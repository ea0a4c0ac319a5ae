"""EvalPlus' release files of HumanEval+ and MBPP+ to rows: inputs in a form that keeps tuples, sets and complex numbers apart.

Which inputs of MBPP+ are no lists stands in no file: upstream's loader knows it by task (evalplus/data/mbpp.py, release 0.3). The table
here says the same by where in the arguments a list stands for something else.
"""

import gzip
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

Change = Callable[[list[Any]], Any]

_EACH_ARGUMENT = (2, 116, 132, 143, 222, 261, 273, 394, 399, 421, 424, 429, 470, 560, 579, 596, 616, 630, 726, 740, 744, 809)
_EACH_ITEM = (63, 64, 70, 94, 120, 237, 272, 299, 400, 409, 417, 438, 473, 614, 780)
_ITEMS_OF_FIRST = (75, 413, 444, 753)
_SECOND = (106, 750)
_FIRST_OF_TWO = (250, 405, 446, 617, 720, 763, 808)
_FIRST_OF_THREE = (307,)
_ARGUMENTS_AND_ITEMS = (259, 401, 445)
_ALL_THE_WAY = (580, 615, 791)


def prepare(files: Mapping[str, Path]) -> Iterable[dict[str, Any]]:
    """Prompt, entry point, canonical solution, inputs and tolerance of each task; the id is upstream's `task_id`."""
    (file,) = files.values()
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        for row in map(json.loads, lines):
            change = _change(row["task_id"])
            yield {
                "id": row["task_id"],
                "prompt": row["prompt"],
                "entry_point": row["entry_point"],
                "canonical_solution": row["canonical_solution"],
                "atol": row["atol"],
                "base_input": [change(given) for given in row["base_input"]],
                "plus_input": [change(given) for given in _many(row["plus_input"])],
            }


def _many(inputs: Any) -> Iterator[Any]:
    # Some tasks of MBPP+ have an empty mapping where there are no further inputs.
    yield from inputs if isinstance(inputs, list) else ()


def _change(task_id: str) -> Change:
    """How the arguments of one call are written."""
    benchmark, _, text = task_id.partition("/")
    return _mbpp(int(text)) if benchmark == "Mbpp" else lambda arguments: [_plain(argument) for argument in arguments]


def _mbpp(number: int) -> Change:
    if number in _EACH_ARGUMENT:
        return lambda given: [_tuple(argument) for argument in given]
    if number in _EACH_ITEM:
        return lambda given: [[_tuple(item) for item in argument] for argument in given]
    if number in _ITEMS_OF_FIRST:
        return lambda given: [[_tuple(item) for item in given[0]], _plain(given[1])]
    if number in _SECOND:
        return lambda given: [_plain(given[0]), _tuple(given[1])]
    if number in _FIRST_OF_TWO:
        return lambda given: [_tuple(given[0]), _plain(given[1])]
    if number in _FIRST_OF_THREE:
        return lambda given: [_tuple(given[0]), *map(_plain, given[1:3])]
    if number in _ARGUMENTS_AND_ITEMS:
        return lambda given: [{"tuple": [_tuple(item) for item in argument]} for argument in given]
    if number in _ALL_THE_WAY:
        return lambda given: [_deep(argument) for argument in given]
    return {
        115: lambda given: [[{"set": item} if isinstance(item, list) and item else {"dict": []} for item in given[0]]],
        124: lambda given: [float(given[0]), {"complex": given[1]}],
        252: lambda given: [{"complex": given[0]}],
        278: lambda given: [{"tuple": [_tuple(item) if isinstance(item, list) else item for item in given[0]]}],
        722: lambda given: [{"dict": [[key, _tuple(item)] for key, item in given[0].items()]}, *map(_plain, given[1:])],
    }.get(number, lambda given: [_plain(argument) for argument in given])


def _tuple(value: Any) -> Any:
    return {"tuple": [_plain(item) for item in value]}


def _plain(value: Any) -> Any:
    """Lists as they are; objects as pairs, since the keys of JSON are texts and the form's own objects have one key."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return {"dict": [[key, _plain(item)] for key, item in value.items()]} if isinstance(value, dict) else value


def _deep(value: Any) -> Any:
    return {"tuple": [_deep(item) for item in value]} if isinstance(value, list) else _plain(value)
