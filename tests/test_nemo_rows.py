"""Prepare scripts of the benchmarks that NeMo Gym's servers define, on rows of upstream's form and, where at hand, on its example rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pytest_gym.catalogue import builtin_root
from pytest_gym.verify import load_module

ROOT = builtin_root() / "benchmarks"


def table(path: Path, rows: list[Any]) -> Path:
    text = json.dumps(rows) if path.suffix == ".json" else "".join(json.dumps(row) + "\n" for row in rows)
    path.write_text(text, encoding="utf-8")
    return path


def made(script: str, *paths: Path, **options: Any) -> list[dict[str, Any]]:
    return list(load_module(ROOT / script, "prepare").prepare({path.name: path for path in paths}, **options))


def test_rows_keep_everything_but_the_agent(tmp_path):
    rows = [
        {"responses_create_params": {"input": "x"}, "a": 1, "agent_ref": {"name": "y"}},
        {"id": 7, "responses_create_params": {}, "a": 0},
    ]
    assert made("scripts/nemo_rows.py", table(tmp_path / "r.jsonl", rows), needs=["a"]) == [
        {"id": "0000", "responses_create_params": {"input": "x"}, "a": 1},
        {"id": "7", "responses_create_params": {}, "a": 0},
    ]


@pytest.mark.parametrize("row", [{"a": 1}, {"responses_create_params": {}, "a": None}, [1]])
def test_rows_without_what_is_needed_are_refused(row, tmp_path):
    path = table(tmp_path / "r.jsonl", [{"responses_create_params": {}, "a": 1}, row])
    with pytest.raises(ValueError, match=r"r\.jsonl, row 2: has no '"):
        made("scripts/nemo_rows.py", path, needs=["a"])


def xlam(number: int) -> dict[str, Any]:
    parameters = {
        "size": {"type": "int", "description": "s", "default": "3"},
        "names": {"type": "List[str], optional", "description": "n"},
        "flag": {"type": "Optional[bool]", "description": "f"},
        "place": {"type": "str", "description": "p"},
        "map": {"type": "Dict[str, int]", "description": "m"},
    }
    tools = [{"name": "f", "description": "d", "parameters": parameters}]
    return {
        "id": number,
        "query": f"q{number}",
        "tools": json.dumps(tools),
        "answers": json.dumps([{"name": "f", "arguments": {"size": 1}}]),
    }


def test_xlam_holds_back_the_rows_that_the_package_datasets_would(tmp_path):
    # datasets 3.6.0: Dataset.from_list(rows).train_test_split(test_size=5, seed=42)["test"]["id"] of 20 rows.
    path = table(tmp_path / "x.json", [xlam(number) for number in range(20)])
    rows = made("xlam_fc/prepare.py", path, held_back=5)
    assert [row["id"] for row in rows] == HELD_BACK
    assert rows[0]["responses_create_params"]["input"][1] == {"role": "user", "content": f"q{rows[0]['id']}"}
    assert rows[0]["expected_answers"] == [{"name": "f", "arguments": {"size": 1}}]


HELD_BACK = ["15", "9", "14", "7", "12"]


@pytest.mark.parametrize(
    ("types", "kinds", "required"),
    [
        ("nemo", ["integer", "string", "string", "string", "string"], ["names", "flag", "place", "map"]),
        ("python", ["integer", "array", "boolean", "string", "object"], ["place", "map"]),
    ],
)
def test_xlam_tools(types, kinds, required, tmp_path):
    (row,) = made("xlam_fc/prepare.py", table(tmp_path / "x.json", [xlam(0)]), held_back=1, types=types)
    (tool,) = row["responses_create_params"]["tools"]
    assert [about["type"] for about in tool["parameters"]["properties"].values()] == kinds
    assert tool["parameters"]["required"] == required
    assert tool["parameters"]["properties"]["size"]["default"] == "3"


def test_xlam_refuses_what_it_cannot_read(tmp_path):
    with pytest.raises(ValueError, match="has 1 rows, fewer than the 1000"):
        made("xlam_fc/prepare.py", table(tmp_path / "x.json", [xlam(0)]))
    with pytest.raises(ValueError, match=r"x\.json, row 1: cannot be read"):
        made("xlam_fc/prepare.py", table(tmp_path / "x.json", [{**xlam(0), "tools": "["}]), held_back=1)
