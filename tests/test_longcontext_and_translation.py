"""Prepare scripts of graphwalks, mrcr, wmt24pp and flores200 on files of upstream's form."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

from pytest_gym.catalogue import Catalogue, builtin_root
from pytest_gym.verify import load_module

FOLDER = builtin_root() / "benchmarks"


def table(path: Path, rows: list[dict]) -> Path:
    parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    return path


def script(name):
    return load_module(FOLDER / name / "prepare.py", "prepare")


def test_graphwalks(tmp_path):
    rows = [
        {"prompt": "… Perform a BFS from node ab with depth 2.", "answer_nodes": ["d", "c"], "problem_type": "bfs", "prompt_chars": 9},
        {"prompt": "… Find the parents of node ab.", "answer_nodes": ["ab", "c"], "problem_type": "parents", "prompt_chars": 9},
    ]
    files = {"g.parquet": table(tmp_path / "g.parquet", rows)}
    first, second = script("graphwalks").prepare(files)
    assert "only the nodes that are at depth 2 exactly" in first["prompt"]
    assert (json.loads(first["expected_answer"]), json.loads(second["expected_answer"])) == (["c", "d"], ["c"])
    assert [row["id"] for row in script("graphwalks").prepare(files, max_tokens=10)] == ["0001"]


def test_mrcr(tmp_path):
    messages = [
        {"role": "user", "content": "Write a poem."},
        {"role": "assistant", "content": "Sea."},
        {"role": "user", "content": "Repeat it."},
    ]
    row = {"prompt": json.dumps(messages), "answer": "x7Sea.", "random_string_to_prepend": "x7", "n_needles": 2}
    files = {"2needle.parquet": table(tmp_path / "2needle.parquet", [row, {**row, "prompt": json.dumps(messages * 9)}])}
    first, second = script("mrcr").prepare(files)
    assert (first["messages"], first["needles"], first["n_tokens"]) == (messages, "2 needles", 8)
    assert [row["id"] for row in script("mrcr").prepare(files, max_tokens=20)] == ["0000"] != second["id"]


def test_wmt24pp(tmp_path):
    path = tmp_path / "en-de_DE.jsonl"
    rows = [
        {"lp": "en-de_DE", "segment_id": 7, "is_bad_source": False, "source": "Yes.", "target": "Ja.", "domain": "news"},
        {"lp": "en-de_DE", "segment_id": 8, "is_bad_source": True, "source": "x", "target": "y", "domain": "news"},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (row,) = script("wmt24pp").prepare({path.name: path})
    assert (row["id"], row["pair"], row["target_lang_name"], row["translation"]) == ("de_DE-7", "en-de_DE", "German (Germany)", "Ja.")


def test_flores200(tmp_path, monkeypatch):
    module = script("flores200")
    names = [line.split("\t")[0] for line in (FOLDER / "flores200/languages.tsv").read_text(encoding="utf-8").splitlines()]
    english = table(tmp_path / "eng_Latn.parquet", [{"text": "Yes."}, {"text": "No."}])
    other = table(tmp_path / "other.parquet", [{"text": "Ja."}, {"text": "Nein."}])
    files = {"eng_Latn.parquet": english, **{f"{name}.parquet": other for name in names}}
    rows = list(module.prepare(files))
    assert len(rows) == 2 * 219
    assert (rows[1]["text"], rows[1]["translation"], rows[1]["id"]) == ("No.", "Nein.", f"{names[0]}-0001")
    with pytest.raises(ValueError, match="has 1 sentences, English 2"):
        list(module.prepare({**files, f"{names[0]}.parquet": table(tmp_path / "x.parquet", [{"text": "Ja."}])}))


def test_sources_and_languages_agree():
    catalogue = Catalogue([builtin_root()])
    for name, number in (("wmt24pp", 55), ("flores200", 219)):
        names = [line.split("\t")[0] for line in (FOLDER / name / "languages.tsv").read_text(encoding="utf-8").splitlines()]
        sources = {source.name for source in catalogue.benchmark(name).dataset("benchmark").sources}
        assert len(names) == number
        assert sources - {"eng_Latn.parquet"} == {f"en-{code}.jsonl" if name == "wmt24pp" else f"{code}.parquet" for code in names}
