r"""structeval: a generated or converted JSON, YAML, TOML, XML or CSV document can be read, and has the parts that the task names.

Rule: the document is the first code fence of the answer, else what stands between `<|BEGIN_CODE|>` and `<|END_CODE|>` (either may be left
open at the end), else the whole answer. Before that the literal pairs `\n`, `\t` and `\"` become what they stand for, and `&lt;` and
`&gt;` their signs. It is read as the row's `output_type`; then each path of `raw_output_metric` is looked for:

    reward = round(0.2 · readable + 0.8 · share of the paths that are there, 2)

Paths: keys with dots between, backticks around a key that holds dots, `[i]` an item of a list, `*` any item, `@name` an attribute in XML
(without the @ where only that is there), `csv::name` a column. An empty document (`{}`, `null`) is not readable.

`scores`: `render_score` (readable), `key_validation_score` (share of paths), `undecoded` (the reward with backslashes left as they are: a
right JSON text with `\"` in a string is broken by the decoding).

Sources of truth: StructEval's `eval_engine` (render_utils, eval_utils), as NeMo Gym's server `structeval` has it for the formats that need
no rendering. One difference, decided: upstream decodes all of Python's unicode escapes, which garbles every letter beyond ASCII (`é` turns
into `Ã©`) and with it keys and values; here only the three pairs above are decoded.
"""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import yaml

from pytest_gym import DataError, OutOfBounds, Rollout, Task, Verdict, run_bounded, verifier
from pytest_gym.extract import remove_thinking

FORMATS = ("json", "yaml", "toml", "xml", "csv")


@verifier(needs={"xmltodict": "structured", "toml": "structured"})
def structeval(task: Task, rollout: Rollout, *, seconds: float = 5.0) -> Verdict:
    """Reward between 0 and 1: a fifth for a readable document, the rest by the share of the named paths that are in it.

    Options:
        seconds: processor time for reading one document.

    Raises DataError for a row without a known `output_type` or with a path that cannot be read.
    """
    kind, paths = _wanted(task)
    text = remove_thinking(rollout.text).replace("&lt;", "<").replace("&gt;", ">")
    if not text.strip():
        return Verdict(0.0, explanation="the answer is empty", scores={"render_score": 0.0, "key_validation_score": 0.0, "undecoded": 0.0})
    decoded = text.replace("\\n", "\n").replace("\\t", "\t").replace('\\"', '"')
    readable, share, reason = _judged(_document(decoded), kind, paths, seconds)
    as_it_stands = (readable, share, reason) if decoded == text else _judged(_document(text), kind, paths, seconds)
    scores = {"render_score": readable, "key_validation_score": share, "undecoded": _reward(*as_it_stands[:2])}
    return Verdict(_reward(readable, share), explanation=reason, scores=scores)


@structeval.reference
def reference(task: Task) -> str | None:
    """The smallest document that has all the paths; None where the format cannot hold one."""
    kind, paths = _wanted(task)
    try:
        text = _written(kind, paths)
    except (ValueError, TypeError, AttributeError, IndexError):
        return None
    # Where the decoding breaks a document it cannot be a perfect answer.
    return f"<|BEGIN_CODE|>\n{text}\n<|END_CODE|>"


def look(text: str, kind: str, paths: list[list[str]]) -> dict[str, Any]:
    """Whether the document can be read, and how many of the paths are in it. Runs in the helper process."""
    try:
        value = _read(text, kind)
    except Exception as error:  # the readers raise what they like on arbitrary text
        return {"readable": False, "found": 0, "reason": f"not {kind.upper()}: {type(error).__name__}: {str(error).splitlines()[:1]}"[:250]}
    if not value:
        return {"readable": False, "found": 0, "reason": "the document is empty"}
    missing = [path for path in paths if not _has(value, path)]
    reason = f"{len(missing)} of {len(paths)} paths are missing: {'.'.join(missing[0])}" if missing else "all paths are there"
    return {"readable": True, "found": len(paths) - len(missing), "reason": reason}


def _judged(text: str, kind: str, paths: list[list[str]], seconds: float) -> tuple[float, float, str]:
    try:
        found = run_bounded(look, text, kind, paths, seconds=seconds, imports=("xmltodict", "toml"))
    except OutOfBounds as error:
        return 0.0, 0.0, f"reading the document {error}"
    return float(found["readable"]), found["found"] / len(paths) if paths else 0.0, str(found["reason"])


def _reward(readable: float, share: float) -> float:
    return round(0.2 * readable + 0.8 * share, 2)


def _document(text: str) -> str:
    fence = text.find("```")
    line_end = text.find("\n", fence) if fence >= 0 else -1
    if line_end >= 0:
        end = text.find("```", line_end)
        return text[line_end : end if end >= 0 else None].strip()
    # Both marks count in any case of letters; lower() could change the length of other letters, so it is not used.
    begin = _find(text, "<|BEGIN_CODE|>", 0)
    if begin < 0:
        return text.strip()
    begin += len("<|BEGIN_CODE|>")
    end = _find(text, "<|END_CODE|>", begin)
    return text[begin : end if end >= 0 else None].strip()


def _find(text: str, mark: str, start: int) -> int:
    position = text.find("<|", start)
    while position >= 0 and text[position : position + len(mark)].upper() != mark:
        position = text.find("<|", position + 2)
    return position


def _read(text: str, kind: str) -> Any:
    if kind == "json":
        return json.loads(text)
    if kind == "yaml":
        return yaml.safe_load(text)
    if kind == "csv":
        rows = csv.DictReader(io.StringIO(text))
        return {"csv_headers": rows.fieldnames, "csv_rows": list(rows)}
    if kind == "toml":
        import toml

        return toml.loads(text)
    import xmltodict

    return xmltodict.parse(text)


def _steps(path: str) -> list[str]:
    """The path in its steps; ValueError for a `[` that is never closed."""
    if path.startswith("csv::"):
        return [path]
    steps, step, quoted, position = [], "", False, 0
    while position < len(path):
        character = path[position]
        if character == "`":
            quoted = not quoted
        elif quoted or character not in ".[":
            step += character
        else:
            steps.append(step)
            step = ""
            if character == "[":
                end = path.index("]", position)
                steps.append(path[position : end + 1])
                position = end
        position += 1
    return [step for step in [*steps, step] if step]


def _has(value: Any, steps: list[str]) -> bool:
    for number, step in enumerate(steps):
        if isinstance(value, dict) and "csv_headers" in value and step.startswith("csv::"):
            return step[5:] in (value["csv_headers"] or []) and number == len(steps) - 1
        if step == "*":
            return isinstance(value, list) and any(_has(item, steps[number + 1 :]) for item in value)
        if step.startswith("[") and step.endswith("]"):
            index = int(step[1:-1]) if step[1:-1].strip().lstrip("+-").isdecimal() else -1
            if not isinstance(value, list) or not 0 <= index < len(value):
                return False
            value = value[index]
        elif isinstance(value, dict) and step in value:
            value = value[step]
        elif isinstance(value, dict) and step.startswith("@") and step[1:] in value:
            value = value[step[1:]]
        else:
            return False
    return True


def _written(kind: str, paths: list[list[str]]) -> str:
    if kind == "csv":
        return ",".join(f'"{path[0].removeprefix("csv::")}"' for path in paths) + "\n" + ",".join("1" for _ in paths)
    root: Any = {}
    for path in paths:
        node: Any = {"": root}
        key: Any = ""
        for step in path:
            index = step == "*" or (step.startswith("[") and step.endswith("]"))
            if node[key] is None or not isinstance(node[key], list if index else dict):
                if node[key]:
                    raise ValueError("a path goes through a list and a mapping")
                node[key] = [] if index else {}
            node, key = node[key], 0 if step == "*" else int(step[1:-1]) if index else step
            if index:
                node.extend([None] * (key + 1 - len(node)))
            else:
                node.setdefault(key, None)
            if root == {} and not index:
                root = node
    # A single XML element is no list when it is read back; two of the same name are.
    filled = _filled(root, copies=2 if kind == "xml" else 1)
    if kind == "json":
        return json.dumps(filled, ensure_ascii=False)
    if kind == "yaml":
        return yaml.safe_dump(filled, allow_unicode=True)
    if kind == "toml":
        import toml

        return str(toml.dumps(filled))
    import xmltodict

    return str(xmltodict.unparse(filled))


def _filled(value: Any, copies: int) -> Any:
    if isinstance(value, dict):
        return {key: _filled(inner, copies) for key, inner in value.items()}
    return [_filled(inner, copies) for inner in value * copies] if isinstance(value, list) else "x"


def _wanted(task: Task) -> tuple[str, list[list[str]]]:
    kind, paths = task.get("output_type"), task.get("raw_output_metric")
    if not isinstance(kind, str) or kind.lower() not in FORMATS:
        raise DataError(f"{task.where('output_type')}: must be one of {', '.join(FORMATS)}, not {kind!r}")
    if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
        raise DataError(f"{task.where('raw_output_metric')}: must be a list of paths, not {paths!r}")
    try:
        return kind.lower(), [_steps(path) for path in paths]
    except ValueError as error:
        raise DataError(f"{task.where('raw_output_metric')}: a path has a '[' without ']'") from error
