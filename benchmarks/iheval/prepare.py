"""IHEval: upstream's `input_data.json` of each task and setting to rows, in the form of NeMo Gym's rows, with its messages and tools.

A source's name is `<task>.<setting>.json`, with a dot for the slash in the setting.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


def prepare(files: Mapping[str, Path]) -> Iterable[dict[str, Any]]:
    """One row for each of upstream's; its id is task, setting and upstream's id, since these begin anew in each file."""
    for name, path in files.items():
        task, category, setting = name.removesuffix(".json").split(".")
        subset = f"{task}/{category}/{setting}"
        for row in json.loads(path.read_text(encoding="utf-8")):
            yield {
                "id": f"{subset}/{row['id']}",
                "subset": subset,
                "task": task,
                "setting": f"{category}/{setting}",
                "answer": json.dumps(row["answer"], ensure_ascii=False),
                "responses_create_params": request(row),
            }


def request(row: Mapping[str, Any]) -> dict[str, Any]:
    """System message, history (user and assistant in turn), instruction, and the call of the tool with its result; the tool itself."""
    items: list[dict[str, Any]] = [] if row["system"] is None else [{"role": "system", "content": row["system"]}]
    turns = [*row.get("conversation_history", ()), row["instruction"]]
    items += [{"role": ("user", "assistant")[place % 2], "content": turn} for place, turn in enumerate(turns)]
    tool = row.get("tool")
    if tool is None:
        return {"input": items}
    call, about = tool["call"], tool["definition"]
    arguments = json.dumps(call["arguments"], ensure_ascii=False)
    items.append({"type": "function_call", "call_id": call["id"], "name": call["name"], "arguments": arguments})
    items.append({"type": "function_call_output", "call_id": call["id"], "output": tool["return"]["content"]})
    parameters = {"type": "object", "properties": about["parameters"], "required": list(about["parameters"])}
    return {
        "input": items,
        "tools": [{"type": "function", "name": about["name"], "description": about["description"], "parameters": parameters}],
    }
