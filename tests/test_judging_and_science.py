"""Benchmarks of judging, of mathematics in many languages and of chemistry: their prepare scripts, on rows of upstream's form."""

from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path
from typing import Any

import pytest

from pytest_gym.catalogue import Catalogue, builtin_root
from pytest_gym.derived import SubsetMean
from pytest_gym.verify import load_module

ROOT = builtin_root() / "benchmarks"


def written(path: Path, rows: list[dict[str, Any]] | str) -> Path:
    text = rows if isinstance(rows, str) else "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.write_text(text, encoding="utf-8")
    return path


def made(script: str, files: dict[str, Path], **options: Any) -> list[dict[str, Any]]:
    return list(load_module(ROOT / script, "prepare").prepare(files, **options))


def test_answer_judge_reads_the_script_as_data(tmp_path):
    row = {
        "problem": "P",
        "expected_answer": "\\frac{1}{2}",
        "predicted_answer": "0.5",
        "expected_judgement": "Judgement: Yes",
        "comment": "c",
    }
    script = f"raise SystemExit('must not run')\nROWS = {[row, row]!r}\n"
    assert made("answer-judge/prepare.py", {"prepare.py": written(tmp_path / "x.py", script)}) == [
        {"id": "0000", **row},
        {"id": "0001", **row},
    ]
    with pytest.raises(ValueError, match=r"x\.py: has no list named ROWS"):
        made("answer-judge/prepare.py", {"prepare.py": written(tmp_path / "x.py", "rows = []")})


def test_proof_bench_labels_by_rating_and_drops_long_proofs(tmp_path):
    def row(number: int, rating: float, proof: str = " a proof ") -> dict[str, Any]:
        names = ("problem_id", "problem", "marking_scheme", "reference_solution", "generator")
        return dict.fromkeys(names, f"{number} ") | {"model_solution": proof, "expert_rating": rating}

    rows = [row(0, 7), row(1, 6), row(2, 5.5), row(3, 7, "word " * 8000)]
    got = made("proof_bench_judge/prepare.py", {"train.jsonl": written(tmp_path / "x", rows)})
    order = [0, 1, 2, 3]
    random.Random(42).shuffle(order)
    assert [(row["id"], row["problem"]) for row in got] == [(f"{at:04d}", str(number)) for at, number in enumerate(order) if number != 3]
    assert {row["problem"]: row["expected_judgement"][-3:].strip() for row in got} == {"0": "Yes", "1": "Yes", "2": "No"}
    assert got[0]["proof"] == "a proof"


def test_proof_arena_labels_by_both_judges(monkeypatch, tmp_path):
    scheme = [{"grading_scheme_desc": "part one"}, {"grading_scheme_desc": "part two"}]

    def row(first: int, second: int | None, **more: Any) -> dict[str, Any]:
        names = {"problem": " P ", "answer": "<think>x</think> A ", "problem_idx": 1, "model_name": "m"}
        return {**names, "points_judge_1": first, "points_judge_2": second, "grading_details_judge_1": scheme, **more}

    tables = {
        "imo_2025": [{"problem_idx": n, "problem": f"IMO {n}", "grading_scheme": [{"desc": "d"}]} for n in range(1, 7)],
        "imo_2025_outputs": [row(7, 7), row(7, None), row(6, 7), row(5, 0), row(5, 6)],
        "usamo_2025_outputs": [row(0, None)],
        "imc_2025_outputs": [row(10, 0), row(9, 9), row(7, 10)],
    }
    files = {
        f"{source}-{n}.txt": written(tmp_path / f"{source}{n}", f"proof {n}")
        for source in ("openai_imo", "gemini_imo")
        for n in range(1, 6)
    }
    files |= {f"{name}.parquet": written(tmp_path / name, rows) for name, rows in tables.items()}
    script = load_module(ROOT / "proof-arena-judge/prepare.py", "prepare")
    monkeypatch.setattr(script, "read_rows", lambda path, name: [json.loads(line) for line in path.read_text().splitlines()])
    got = list(script.prepare(files))
    labels = {
        source: sorted(row["expected_judgement"] for row in got if row["source"] == source)
        for source in ("imo", "usamo", "imc", "gemini_imo")
    }
    yes, no = "Judgement: Yes", "Judgement: No"
    assert labels == {"imo": [no, yes, yes], "usamo": [no], "imc": [no, yes], "gemini_imo": [yes] * 5}
    judged = next(row for row in got if row["source"] == "usamo")
    assert (judged["problem"], judged["proof"], judged["rubric"], len(got)) == ("P", "A", "- part one\n- part two", 16)
    written(files["imo_2025.parquet"], tables["imo_2025"][1:])
    with pytest.raises(ValueError, match=r"imo_2025\.parquet: row 1 is problem 2"):
        list(script.prepare(files))


def test_gradingbench_takes_the_grade_in_lower_case(tmp_path):
    header = "Grading ID,Problem ID,Problem,Solution,Grading guidelines,Response,Points,Reward,Problem Source"
    path = written(tmp_path / "x.csv", f'{header}\nGB-1,PB-1,"Prove, that",S,G,"two\nlines",6,Almost,IMO\n')
    (got,) = made("imo_gradingbench/prepare.py", {"gradingbench.csv": path})
    assert (got["id"], got["problem_statement"], got["proof"], got["points"], got["expected_answer"]) == (
        "GB-1",
        "Prove, that",
        "two\nlines",
        "6",
        "almost",
    )


def test_polymath_puts_the_note_behind_the_problem(tmp_path):
    script = "query_dic = {'de': 'Ende in $\\\\boxed\\{\\}$.'}\nraise SystemExit('must not run')\n"
    files = {
        "instruction.py": written(tmp_path / "x.py", script),
        "de-top.jsonl": written(tmp_path / "x", [{"question": "Was?", "answer": "3"}] * 2),
    }
    got = made("polymath/prepare.py", files)
    assert got[1] == {
        "id": "de-top-001",
        "question": "Was?\n\nEnde in $\\boxed\\{\\}$.",
        "problem": "Was?",
        "expected_answer": "3",
        "language": "de",
        "level": "top",
        "stratum": "de/top",
    }


def test_polymath_weighs_levels_within_languages_as_upstream_does():
    benchmark = Catalogue([builtin_root()]).benchmark("polymath")
    levels = {"low": 1, "medium": 2, "high": 4, "top": 8}
    names = [source.name.removesuffix(".parquet").replace("-", "/") for source in benchmark.dataset("benchmark").sources]
    strata = [name for name in names if "/" in name]
    shares = SubsetMean.from_json("dw_acc", benchmark.metric.aggregate["dw_acc"]).shares(strata)
    # Upstream: the levels' accuracies times 2^i over 15 in each language; then the plain mean over languages.
    assert len(shares) == 72 and shares == {name: pytest.approx(levels[name.partition("/")[2]] / 15 / 18) for name in strata}
    assert benchmark.metric.headline == "dw_acc"


def test_bunsenbench_shuffles_by_the_id_and_escapes(tmp_path):
    row = {"bunsen_id": "b:1", "question": "Q?", "choices": ["u", "v < w", "x"], "answer": "v < w", "source": "s", "source_record_id": "1"}
    row |= {"bct_field": "organic", "bct_subfield": "esters"}
    (got,) = made("bunsenbench_chemistry_mcq/prepare.py", {"x.jsonl": written(tmp_path / "x", [row])})
    order = ["u", "v < w", "x"]
    random.Random(int.from_bytes(hashlib.sha256(b"b:1:bunsen_chem_mcq_xml_choice_v1").digest()[:8], "big")).shuffle(order)
    assert [text for option in got["options"] for text in option.values()] == order
    assert order["ABC".index(got["expected_answer"])] == "v < w" and "<choice>v &lt; w</choice>" in got["options_text"]
    for wrong, reason in (([row, row], "s 1 comes twice"), ([{**row, "answer": "y"}], "not there just once")):
        with pytest.raises(ValueError, match=reason):
            made("bunsenbench_chemistry_mcq/prepare.py", {"x.jsonl": written(tmp_path / "x", wrong)})


def test_litmus_drops_what_nobody_can_hit_and_refuses_tools(tmp_path):
    params = {"input": [{"role": "user", "content": "Q"}]}
    row = {
        "uuid": "u1",
        "responses_create_params": params,
        "expected_answer": 3.0,
        "property_type": "count",
        "agent_ref": {},
        "smiles": "C",
    }
    value = {**row, "uuid": "u2", "answer_type": "float", "property_type": None}
    rows = [row, value, {**value, "uuid": "u3", "match": {"rule": "exact"}, "expected_answer": 0.5}]
    got = made("litmus-bench/prepare.py", {"test.jsonl": written(tmp_path / "x", rows)})
    assert [(each["id"], each["expected_answer"]) for each in got] == [("u1", 3), ("u3", 0.5)]
    assert set(got[0]) == {"id", "responses_create_params", "expected_answer", "property_type", "smiles"}
    assert isinstance(got[0]["expected_answer"], int)
    with pytest.raises(ValueError, match=r"test\.jsonl: row 1 has tools"):
        made(
            "litmus-bench/prepare.py",
            {"test.jsonl": written(tmp_path / "x", [{**row, "responses_create_params": {**params, "tools": [{}]}}])},
        )
