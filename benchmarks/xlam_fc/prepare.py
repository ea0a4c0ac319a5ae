"""xLAM function calling: the 1,000 rows that NeMo Gym holds back of the published 60,000, with tools in Responses' form."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from pytest_gym.tables import read_rows

SYSTEM = (
    "You answer by calling functions. Call every function that the request needs, several at once where it asks for several things, "
    "with the arguments that it gives."
)
_PLAIN = {
    **dict.fromkeys(("str", "string"), "string"),
    **dict.fromkeys(("int", "integer"), "integer"),
    **dict.fromkeys(("float", "number"), "number"),
    **dict.fromkeys(("bool", "boolean"), "boolean"),
    **dict.fromkeys(("list", "array", "tuple", "set"), "array"),
    **dict.fromkeys(("dict", "object"), "object"),
}


def prepare(
    files: Mapping[str, Path], *, held_back: int = 1000, seed: int = 42, types: Literal["nemo", "python"] = "nemo"
) -> Iterable[dict[str, Any]]:
    """The first `held_back` rows of the permutation that the package datasets draws for `train_test_split(seed=42)`.

    `types` says how parameters are read: `nemo` knows bare types only, so that `List[int]` and `str, optional` are texts, and requires
    whatever has no default; `python` reads these as what they are. Raises ValueError for a row that cannot be read.
    """
    import numpy as np

    ((name, path),) = files.items()
    rows = list(read_rows(path, name))
    if len(rows) < held_back:
        raise ValueError(f"{name}: has {len(rows)} rows, fewer than the {held_back} that are held back")
    for number in np.random.default_rng(seed).permutation(len(rows))[:held_back].tolist():
        row = rows[number]
        try:
            tools, answers = json.loads(row["tools"]), json.loads(row["answers"])
            asked = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": row["query"]}]
            request = {"input": asked, "tools": [_tool(tool, types == "python") for tool in tools]}
            calls = [{"name": answer["name"], "arguments": answer["arguments"]} for answer in answers]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{name}, row {number + 1}: cannot be read: {error!r}") from error
        if tools and calls:
            yield {"id": str(row["id"]), "responses_create_params": request, "expected_answers": calls}


def _tool(tool: Mapping[str, Any], python: bool) -> dict[str, Any]:
    properties, required = {}, []
    for name, about in (tool.get("parameters") or {}).items():
        written = str(about.get("type", "string"))
        kind, optional = _python(written) if python else (_PLAIN.get(written.lower(), "string"), False)
        properties[name] = {"type": kind, "description": about.get("description", "")}
        properties[name] |= {key: about[key] for key in ("default", "enum") if key in about}
        if "default" not in about and not optional:
            required.append(name)
    parameters = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
    return {
        "type": "function",
        "name": tool["name"],
        "description": tool.get("description", ""),
        "parameters": parameters,
        "strict": False,
    }


def _python(written: str) -> tuple[str, bool]:
    """`Optional[List[int]]` or `List[int], optional` is an array that need not be given."""
    kind, _, rest = written.strip().partition(", opt")
    inner = kind.removeprefix("Optional[")
    return _PLAIN.get(inner.partition("[")[0].rstrip("]").strip().lower(), "string"), bool(rest) or inner != kind
