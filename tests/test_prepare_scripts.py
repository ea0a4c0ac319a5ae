"""Prepare scripts of the built-in catalogue whose upstream data is not at hand, on rows of upstream's form; and what they are made with."""

from __future__ import annotations

import hashlib
import json
import random
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest

from pytest_gym.catalogue import Catalogue, builtin_root
from pytest_gym.choices import choice_row
from pytest_gym.errors import DataError
from pytest_gym.verify import load_module

ROOT = builtin_root() / "benchmarks"


def table(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def made(script: str, files: dict[str, Path]) -> list[dict[str, Any]]:
    return list(load_module(ROOT / script, "prepare").prepare(files))


def test_competition_problems_keep_ids_and_write_whole_numbers_plainly(tmp_path):
    rows = [
        {"problem_idx": 7, "problem": "P", "answer": 27.0},
        {"id": "a-1", "problem": "Q", "expected_answer": "\\frac{1}{2}", "level": "Level 2"},
        {"question": "R", "answer": 0.5},
    ]
    got = made("scripts/competition.py", {"x.jsonl": table(tmp_path / "x.jsonl", rows)})
    assert [(row["id"], row["question"], row["expected_answer"]) for row in got] == [
        ("7", "P", "27"),
        ("a-1", "Q", "\\frac{1}{2}"),
        ("0002", "R", "0.5"),
    ]
    assert got[1]["level"] == "Level 2"


def test_gpqa_shuffles_by_the_question_and_letters_come_out_even(tmp_path):
    rows = [
        {
            "Record ID": f"rec{n}",
            "Question": f"Question {n}?",
            "Correct Answer": "right",
            **{f"Incorrect Answer {k}": f"wrong {k}" for k in (1, 2, 3)},
            "High-level domain": "Physics",
            "Subdomain": "Optics",
        }
        for n in range(400)
    ]
    got = made("gpqa/prepare.py", {"x.jsonl": table(tmp_path / "x.jsonl", rows)})
    order = ["right", "wrong 1", "wrong 2", "wrong 3"]
    random.Random(int(hashlib.md5(b"Question 0?").hexdigest(), 16)).shuffle(order)
    assert got[0]["options"] == [{letter: text} for letter, text in zip("ABCD", order, strict=True)]
    assert got[0]["problem"] == "Question 0?\n" + "\n".join(f"{letter}: {text}" for letter, text in zip("ABCD", order, strict=True))
    assert all(
        {"right"} == {option[row["expected_answer"]] for option in row["options"] if row["expected_answer"] in option} for row in got
    )
    shares = [sum(row["expected_answer"] == letter for row in got) for letter in "ABCD"]
    assert min(shares) > 75 and got[0]["id"] == "rec0"


def test_supergpqa_shuffles_in_one_stream_and_refuses_equal_options(tmp_path):
    row = {"uuid": "u", "question": "Q?", "options": [" one", "t  wo", "three "], "answer_letter": "b"}
    row |= dict.fromkeys(("discipline", "field", "subfield", "difficulty", "is_calculation"), "x")
    got = made("supergpqa/prepare.py", {"x.jsonl": table(tmp_path / "x.jsonl", [row, row])})
    order = random.Random(42)
    for each in got:
        expected = ["one", "t wo", "three"]
        order.shuffle(expected)
        assert [text for option in each["options"] for text in option.values()] == expected
        assert expected["ABC".index(each["expected_answer"])] == "t wo"
    with pytest.raises(ValueError, match=r"row 1 \(u\): two options are the same"):
        made("supergpqa/prepare.py", {"x.jsonl": table(tmp_path / "y.jsonl", [{**row, "options": ["a", "a "]}])})


def test_mmlu_redux_takes_corrections_and_drops_what_has_none(tmp_path):
    def row(kind: str, answer: int, correct: str | None) -> dict[str, Any]:
        return {
            "question": f" {kind}? ",
            "choices": list("wxyz"),
            "answer": answer,
            "error_type": kind,
            "correct_answer": correct,
            "source": "s",
        }

    rows = [
        row("ok", 2, None),
        row("wrong_groundtruth", 0, "D"),
        row("wrong_groundtruth", 0, "A and B"),
        row("bad_question_clarity", 1, None),
    ]
    got = made("mmlu-redux/prepare.py", {"virology.jsonl": table(tmp_path / "x.jsonl", rows)})
    assert [(each["id"], each["expected_answer"]) for each in got] == [("virology-0000", "C"), ("virology-0001", "D")]
    assert got[0]["problem"] == "ok?\n\nA) w\nB) x\nC) y\nD) z"


def test_mmlu_prox_reads_phrases_as_data(tmp_path):
    libs = tmp_path / "lang_libs.py"
    libs.write_text(
        "LANG_LIBS = {'en': ['Question:', 'Options:', '', 'About {subject}: end with \"{ans_suffix}\".', '', 'the answer is ({})']}\n"
        "LANG_SUBJECTS = {'en': {'computer_science': 'computing'}}\nraise SystemExit('must not run')\n"
    )
    row = {"question_id": 5, "question": "Q?", "answer": "B", "category": "computer science"} | {f"option_{n}": None for n in range(10)}
    (got,) = made(
        "mmlu_prox/prepare.py",
        {"lang_libs.py": libs, "en.jsonl": table(tmp_path / "x.jsonl", [row | {"option_0": "u", "option_1": "v"}])},
    )
    assert got["problem"] == 'About computing: end with "the answer is (X)".\nQuestion:\nQ?\nOptions:\nA. u\nB. v\n'
    assert (got["id"], got["reference_response"]) == ("en-5", "the answer is (B)")
    pattern = got["template_metadata"]["output_regex"]
    assert re.findall(pattern, "The answer is **(C)**, no: answer is D") == ["C", "D"]


def test_longcodebench_reads_the_archive_by_length(tmp_path):
    row = {"prompt": " code and question ", "correct_letter": "c", "repo": "a/b", "prompt_goal": "", "is_hard": True}
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for name in ("LQA/1M.json", "LQA/32K.json", "__MACOSX/LQA/._32K.json"):
            archive.writestr(name, json.dumps([row]))
    got = made("longcodebench/prepare.py", {"LongCodeQA.zip": tmp_path / "x.zip"})
    script = load_module(ROOT / "longcodebench/prepare.py", "prepare")
    assert list(script.prepare({"LongCodeQA.zip": tmp_path / "x.zip"}, max_tokens=4)) == [], "about five tokens"
    assert [(each["id"], each["question"], each["expected_answer"]) for each in got] == [
        ("32K-0000", "code and question", "C"),
        ("1M-0000", "code and question", "C"),
    ]


def test_choice_rows():
    assert (
        choice_row("Q?", ["u", "v"], "b")
        == choice_row("Q?", ["u", "v"], 1)
        == {
            "question": "Q?",
            "problem": "Q?\n\nA) u\nB) v",
            "options": [{"A": "u"}, {"B": "v"}],
            "expected_answer": "B",
        }
    )
    for wrong in (2, -1, "C", "", "1"):
        with pytest.raises(DataError, match="is none of the 2 options"):
            choice_row("Q?", ["u", "v"], wrong)


def test_a_benchmark_is_found_by_its_other_names():
    catalogue = Catalogue([builtin_root()])
    assert catalogue.benchmark("math-500").name == "math_500"
    assert catalogue.match("math-500,math_500") == ["math_500"]
    assert "math-500 is another name of math_500" in catalogue.shadowed
    aliases = [alias for benchmark in catalogue.all() for alias in benchmark.aliases]
    assert len(aliases) == len(set(aliases)) and not set(aliases) & set(catalogue.names())


def test_mmmlu_reads_upstreams_tables(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text(',Question,A,B,C,D,Answer,Subject\n117,"Wie, bitte?",w,x,y,z,D,virology\n', encoding="utf-8")
    (got,) = made("mmmlu/prepare.py", {"mmlu_DE-DE.csv": path})
    assert (got["id"], got["question"], got["expected_answer"], got["language"]) == ("DE-DE-117", "Wie, bitte?", "D", "DE-DE")
