"""The built-in benchmarks: configs, prompts, own examples, prepare scripts on upstream's forms and, where at hand, on upstream's data."""

from __future__ import annotations

import csv
import io
import itertools
import json
import math
import os
import re
import sys
import tarfile
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from pytest_gym.benchmark import Benchmark
from pytest_gym.catalogue import Catalogue, builtin_root
from pytest_gym.dataset import Dataset
from pytest_gym.errors import DataError
from pytest_gym.prepare import Prepared, prepare
from pytest_gym.records import Rollout, Task
from pytest_gym.resolve import Selected, select
from pytest_gym.verify import load_module

FOLDERS = ["aime24", "aime25", "gsm8k", "math_500", "mmlu", "mmlu_pro"]
NAMES = [*FOLDERS, "mmlu/five_subjects", "mmlu_pro/every_12th"]
# What GYM_SOURCES can hold; the two full multiple-choice sets are pinned, but their bytes have not been at hand.
FROZEN = [name for name in NAMES if name not in ("mmlu", "mmlu_pro")]
FIELDS = {
    "gsm8k": {"id", "question", "expected_answer", "reference_solution"},
    "aime24": {"id", "question", "expected_answer", "reference_solution"},
    "aime25": {"id", "question", "expected_answer", "reference_solution"},
    "math_500": {"id", "question", "problem", "expected_answer", "reference_solution", "subject", "level", "unique_id"},
    "mmlu": {"id", "question", "problem", "options", "expected_answer", "subject"},
    "mmlu_pro": {"id", "question", "options_text", "problem", "options", "expected_answer", "category", "src"},
}
IDS = {
    "gsm8k": r"\d{4}",
    "aime24": r"aime24-\d{1,2}",
    "aime25": r"aime25-\d{1,2}",
    "math_500": r"(test|example)/[a-z_]+/\d+\.json",
    "mmlu": r"\d{4}",
    "mmlu_pro": r"\d+",
}


@cache
def catalogue() -> Catalogue:
    return Catalogue([builtin_root()])


@cache
def selected(name: str, split: str | None = None) -> Selected:
    return select(catalogue(), catalogue().benchmark(name), split=split, demo=False, where=name)


def example(name: str) -> Dataset:
    benchmark = catalogue().benchmark(name)
    return Dataset.open(benchmark.folder / benchmark.dataset("example").path, benchmark)


def tasks(dataset: Dataset) -> list[Task]:
    return [dataset.task(index) for index in range(len(dataset))]


def script(benchmark: str, files: Mapping[str, Path], name: str = "prepare.py") -> list[dict[str, Any]]:
    """The rows that a prepare script makes of these files."""
    rows: Iterable[dict[str, Any]] = load_module(builtin_root() / "benchmarks" / benchmark / name, "prepare").prepare(files)
    return list(rows)


def json_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def family(name: str) -> str:
    return name.partition("/")[0]


@cache
def sources() -> Path:
    folder = os.environ.get("GYM_SOURCES")
    if not folder:
        pytest.skip("GYM_SOURCES is not set, so upstream's files are not at hand")
    return Path(folder)


def real(name: str, tmp_path: Path) -> tuple[Benchmark, Prepared]:
    """The benchmark prepared from GYM_SOURCES into a cache of its own; skips where a file is not there."""
    benchmark = catalogue().benchmark(name)
    spec = benchmark.dataset(None)
    for source in spec.sources:
        path = sources() / (source.local or f"{name}/{source.name}")
        if not path.is_file():
            pytest.skip(f"GYM_SOURCES has no {path.relative_to(sources())}")
    return benchmark, prepare(benchmark, spec, cache=tmp_path, sources=sources(), lock=None, progress=lambda sentence: None)


# --- configs and prompts


def test_the_catalogue_reads_them_all():
    assert set(NAMES) <= set(catalogue().names())
    assert [str(error) for error in catalogue().broken()] == []


@pytest.mark.parametrize(
    ("name", "rows", "repeats", "temperature", "subset", "options"),
    [
        ("gsm8k", 1319, 1, 0.0, None, {}),
        ("math_500", 500, 1, 0.0, "subject", {}),
        ("aime24", 30, 32, 0.6, None, {}),
        ("aime25", 30, 32, 0.6, None, {}),
        ("mmlu", 14042, 1, 0.0, "subject", {"mode": "strict_single_letter_boxed"}),
        ("mmlu/five_subjects", 752, 1, 0.0, "subject", {"mode": "strict_single_letter_boxed"}),
        ("mmlu_pro", 12032, 1, 0.0, "category", {"mode": "answer_is"}),
        ("mmlu_pro/every_12th", 1003, 1, 0.0, "category", {"mode": "answer_is"}),
    ],
)
def test_config(name, rows, repeats, temperature, subset, options):
    benchmark = catalogue().benchmark(name)
    spec = benchmark.dataset(None)
    assert (spec.num_rows, spec.num_repeats, benchmark.subset) == (rows, repeats, subset)
    assert benchmark.sampling["temperature"] == temperature
    assert benchmark.sampling["max_tokens"] >= 2048
    assert benchmark.verifier_options == options
    assert (benchmark.domain, benchmark.verifier) == (("knowledge", "mcqa") if options else ("math", "math"))
    assert repeats == 1 or benchmark.sampling["temperature"] > 0, "repeats at temperature 0 cannot differ"


@pytest.mark.parametrize("name", NAMES)
def test_sources_are_pinned(name):
    for source in catalogue().benchmark(name).dataset(None).sources:
        assert re.fullmatch(r"[0-9a-f]{64}", source.sha256 or ""), source.name
        address = source.url or source.hf
        if source.name not in ("data.tar", "test_every_12th.jsonl"):
            assert re.search(r"[/@][0-9a-f]{40}/", address or ""), f"{source.name}: {address} names no commit"


@pytest.mark.parametrize("name", FROZEN)
def test_the_prepared_file_is_frozen_by_the_config(name):
    assert re.fullmatch(r"[0-9a-f]{64}", catalogue().benchmark(name).dataset(None).sha256 or "")


@pytest.mark.parametrize("name", ["mmlu/five_subjects", "mmlu_pro/every_12th"])
def test_a_variant_differs_in_its_rows_only(name):
    variant, whole = catalogue().benchmark(name), catalogue().benchmark(family(name))
    for attribute in ("prompt", "harness", "verifier", "verifier_options", "sampling", "metric", "subset", "domain", "tags"):
        assert getattr(variant, attribute) == getattr(whole, attribute)
    assert variant.dataset(None).path != whole.dataset(None).path


@pytest.mark.parametrize("name", NAMES)
def test_the_readme_says_rows_and_the_exact_prompt(name):
    benchmark = catalogue().benchmark(name)
    readme = (benchmark.folder / "README.md").read_text(encoding="utf-8")
    user = benchmark.prompt.user or ""
    assert f"```\n{user.replace('{{', '{').replace('}}', '}')}\n```" in readme
    assert benchmark.prompt.system is None
    rows = benchmark.dataset(None).num_rows
    assert f"{rows:,}" in readme
    assert {heading for heading in re.findall(r"^## (.*)$", readme, re.M)} >= {
        "Reward",
        "Prompt",
        "Published scores to reproduce",
        "Pitfalls",
    }


# --- examples of our own


@pytest.mark.parametrize("name", NAMES)
def test_example_rows_have_the_form_of_prepared_rows(name):
    dataset = example(name)
    assert 6 <= len(dataset) <= 8
    for task in tasks(dataset):
        assert set(task.fields) == FIELDS[family(name)]
        assert re.fullmatch(IDS[family(name)], task.id), task.id
        assert isinstance(task["expected_answer"], str) and task["expected_answer"]
        if "options" in task.fields:
            check_choices(task)
    if catalogue().benchmark(name).subset:
        assert None not in dataset.subsets and len(set(dataset.subsets)) > 1


def check_choices(task: Task) -> None:
    lettered = [pair for option in task["options"] for pair in option.items()]
    letters = "".join(letter for letter, _ in lettered)
    assert letters == "ABCDEFGHIJ"[: len(letters)] and len(letters) >= 3
    assert task["expected_answer"] in letters
    assert task["problem"] == "\n".join([task["question"], "", *(f"{letter}) {text}" for letter, text in lettered)])


@pytest.mark.parametrize("name", NAMES)
def test_the_prompt_renders(name):
    benchmark = catalogue().benchmark(name)
    for task in tasks(example(name)):
        (message,) = benchmark.prompt.render(task)
        assert message.role == "user"
        assert isinstance(message.content, str)
        assert message.content.endswith("\n\n" + task["problem" if "options" in task.fields else "question"])
        opening = message.content.partition("\n\n")[0]
        assert ("Answer: X" if family(name) == "mmlu_pro" else "\\boxed{") in opening
        assert "{{" not in opening and "}}" not in opening


@pytest.mark.parametrize("name", NAMES)
def test_references_pass_and_empty_answers_fail(name):
    judge = selected(name, "example")
    for task in tasks(example(name)):
        answer = judge.reference(task)
        assert answer
        assert judge.call(task, Rollout(text=answer)).reward == 1.0, (task.id, answer)
        for text in ("", " \n", "No idea at all."):
            assert judge.call(task, Rollout(text=text)).reward == 0.0, (task.id, text)


@pytest.mark.parametrize("name", FOLDERS)
def test_answers_to_other_rows_fail(name):
    judge, all_tasks = selected(name, "example"), tasks(example(name))
    rewards = [judge.call(task, Rollout(text=judge.reference(other) or "")).reward for task, other in itertools.permutations(all_tasks, 2)]
    if "options" in all_tasks[0].fields:
        assert sum(rewards) / len(rewards) <= sum(1 / len(task["options"]) for task in all_tasks) / len(all_tasks)
    else:
        assert sum(rewards) == 0


@pytest.mark.parametrize("name", ["gsm8k", "aime24", "aime25", "math_500"])
def test_the_solutions_of_the_examples_end_in_the_answer(name):
    for task in tasks(example(name)):
        if name == "gsm8k":
            assert re.findall(r"-?\d[\d,]*", task["reference_solution"])[-1].replace(",", "") == task["expected_answer"]
        else:
            assert f"\\boxed{{{task['expected_answer']}}}" in task["reference_solution"]


# --- prepare scripts on small files of upstream's form


def write(path: Path, text: str) -> Path:
    path.write_bytes(text.encode())
    return path


def test_gsm8k_takes_answers_and_solutions_apart(tmp_path):
    lines = [
        {"question": "How many is 2 dozens of pens — and 3?", "answer": "2 dozens are 2*12=<<2*12=24>>24.\n24+3=<<24+3=27>>27\n#### 27"},
        {"question": "Q", "answer": "It is $<<1000+250=1250>>1,250.\n#### 1,250"},
        {"question": "Q", "answer": "A # sign and 5 < 6 > 4 stay.\n#### -3"},
    ]
    path = write(tmp_path / "x", "".join(json.dumps(line) + "\n" for line in lines))
    assert script("gsm8k", {"test.jsonl": path}) == [
        {
            "id": "0000",
            "question": "How many is 2 dozens of pens — and 3?",
            "expected_answer": "27",
            "reference_solution": "2 dozens are 2*12=24.\n24+3=27",
        },
        {"id": "0001", "question": "Q", "expected_answer": "1250", "reference_solution": "It is $1,250."},
        {"id": "0002", "question": "Q", "expected_answer": "-3", "reference_solution": "A # sign and 5 < 6 > 4 stay."},
    ]


def test_gsm8k_refuses_a_row_without_the_mark(tmp_path):
    path = write(tmp_path / "x", '{"question": "Q", "answer": "#### 1"}\n{"question": "Q", "answer": "2"}\n')
    with pytest.raises(ValueError, match=r"test\.jsonl:2"):
        script("gsm8k", {"test.jsonl": path})


def test_math_500_keeps_upstreams_fields(tmp_path):
    row = {
        "problem": "What is $1+1$?",
        "solution": "It is $\\boxed{2}$.",
        "answer": "2",
        "subject": "Algebra",
        "level": 1,
        "unique_id": "test/algebra/1.json",
    }
    path = write(tmp_path / "x", json.dumps(row) + "\n")
    assert script("math_500", {"test.jsonl": path}) == [
        {
            "id": "test/algebra/1.json",
            "question": "What is $1+1$?",
            "problem": "What is $1+1$?",
            "expected_answer": "2",
            "reference_solution": "It is $\\boxed{2}$.",
            "subject": "Algebra",
            "level": 1,
            "unique_id": "test/algebra/1.json",
        }
    ]


@pytest.mark.parametrize("name", ["aime24", "aime25"])
def test_aime_keeps_upstreams_ids(name, tmp_path):
    row = {"id": f"{name}-7", "problem": "P?", "expected_answer": "033", "reference_solution": "S", "source": "s", "pass_ratio": 0.5}
    path = write(tmp_path / "x", json.dumps(row) + "\n")
    assert script(name, {"test.txt": path}) == [{"id": f"{name}-7", "question": "P?", "expected_answer": "033", "reference_solution": "S"}]


def archive(path: Path, members: Mapping[str, str]) -> Path:
    """A tar file as upstream's: folders and files, not compressed."""
    with tarfile.open(path, "w") as tar:
        folder = tarfile.TarInfo("data/test")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        for name, text in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(text.encode())
            tar.addfile(info, io.BytesIO(text.encode()))
    return path


def test_mmlu_reads_the_test_files_of_the_archive_by_name(tmp_path):
    path = archive(
        tmp_path / "data.tar",
        {
            "data/README.txt": "none of this is read",
            "data/dev/virology_dev.csv": "Q,a,b,c,d,A\n",
            "data/test/virology_test.csv": 'Which?,"1, 2",b,c,d,D\n"Two\nlines ""quoted""", a ,b,c,d,A\n',
            "data/test/._virology_test.csv": "\x00\x05",
            "data/test/anatomy_test.csv": "Wo – é?,a,b,c,d,C\n",
            "data/val/virology_val.csv": "Q,a,b,c,d,A\n",
        },
    )
    rows = script("mmlu", {"data.tar": path})
    assert [(row["id"], row["subject"], row["question"], row["expected_answer"]) for row in rows] == [
        ("0000", "anatomy", "Wo – é?", "C"),
        ("0001", "virology", "Which?", "D"),
        ("0002", "virology", 'Two\nlines "quoted"', "A"),
    ]
    assert rows[1]["options"] == [{"A": "1, 2"}, {"B": "b"}, {"C": "c"}, {"D": "d"}]
    assert rows[1]["problem"] == "Which?\n\nA) 1, 2\nB) b\nC) c\nD) d"
    assert rows[2]["options"][0] == {"A": " a "}
    assert set(rows[0]) == FIELDS["mmlu"]


@pytest.mark.parametrize("line", ["Q,a,b,c,d,0", "question,A,B,C,D,answer", "Q,a,b,c,A", "Q,a,b,c,d,", "Q,a,b,c,d,AB"])
def test_mmlu_refuses_rows_of_another_form(line, tmp_path):
    path = archive(tmp_path / "data.tar", {"data/test/anatomy_test.csv": f"Q,a,b,c,d,A\n{line}\n"})
    with pytest.raises(ValueError, match="anatomy"):
        script("mmlu", {"data.tar": path})


MIRROR = "question,choice0,choice1,choice2,choice3,answer\n"


def test_five_subjects_reads_the_mirrors_form(tmp_path):
    files = {
        "b_test.csv": write(tmp_path / "1", MIRROR + '"One, two",0,4,"0,1",6,3\n'),
        "a_test.csv": write(tmp_path / "2", MIRROR + "First?,w,x,y,z,0\n"),
    }
    rows = script("mmlu", files, "prepare_five_subjects.py")
    assert [(row["id"], row["subject"], row["expected_answer"]) for row in rows] == [("0000", "a", "A"), ("0001", "b", "D")]
    assert rows[1]["problem"] == "One, two\n\nA) 0\nB) 4\nC) 0,1\nD) 6"
    assert set(rows[0]) == FIELDS["mmlu"]


@pytest.mark.parametrize(
    "text", ["First?,w,x,y,z,0\n", MIRROR + "First?,w,x,y,z,A\n", MIRROR + "First?,w,x,y,z,4\n", MIRROR + "First?,w,x,0\n", ""]
)
def test_five_subjects_refuses_another_form(text, tmp_path):
    with pytest.raises(ValueError, match=r"a_test\.csv:\d"):
        script("mmlu", {"a_test.csv": write(tmp_path / "x", text)}, "prepare_five_subjects.py")


PRO = [
    {
        "question_id": 70,
        "question": "Which – {x}?",
        "options": ["one", " two", "three"],
        "answer": "C",
        "answer_index": 1,  # upstream's two disagree in places; the letter counts
        "cot_content": "",
        "category": "business",
        "src": "ori_mmlu-business_ethics",
    },
    {
        "question_id": 71,
        "question": "And?",
        "options": list("qrstuvwxyz"),
        "answer": "J",
        "answer_index": 9,
        "cot_content": "",
        "category": "law",
        "src": "s",
    },
]


def check_pro(rows: list[dict[str, Any]]) -> None:
    assert [(row["id"], row["expected_answer"], row["category"]) for row in rows] == [("70", "C", "business"), ("71", "J", "law")]
    assert rows[0]["options"] == [{"A": "one"}, {"B": " two"}, {"C": "three"}]
    assert rows[0]["problem"] == "Which – {x}?\n\nA) one\nB)  two\nC) three"
    assert rows[1]["options_text"].endswith("\nJ) z")
    assert set(rows[0]) == FIELDS["mmlu_pro"]


def test_mmlu_pro_reads_json_lines(tmp_path):
    path = write(tmp_path / "rows.jsonl", "".join(json.dumps(row) + "\n" for row in PRO))
    check_pro(script("mmlu_pro", {"test_every_12th.jsonl": path}))


def test_mmlu_pro_reads_parquet(tmp_path):
    arrow = pytest.importorskip("pyarrow", reason="reading parquet needs the extra 'parquet'")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(arrow.Table.from_pylist(PRO), tmp_path / "test.parquet")
    check_pro(script("mmlu_pro", {"test-00000-of-00001.parquet": tmp_path / "test.parquet"}))


def test_mmlu_pro_names_the_extra_where_pyarrow_is_missing(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ModuleNotFoundError, match=r"pytest-gym\[parquet\]"):
        script("mmlu_pro", {"test.parquet": tmp_path / "test.parquet"})


# --- prepare scripts on upstream's data


@pytest.mark.parametrize("name", FROZEN)
def test_upstreams_data_gives_the_frozen_file(name, tmp_path):
    benchmark, prepared = real(name, tmp_path)
    spec = benchmark.dataset(None)
    assert (prepared.sha256, prepared.num_rows, prepared.frozen) == (spec.sha256, spec.num_rows, True)
    dataset = Dataset.open(prepared.path, benchmark)
    assert all(re.fullmatch(IDS[family(name)], identifier) for identifier in dataset.ids)
    for task in tasks(dataset):
        assert set(task.fields) == FIELDS[family(name)]
        if "options" in task.fields:
            check_choices(task)
    if name == "mmlu/five_subjects":
        counts = {"abstract_algebra": 100, "anatomy": 135, "astronomy": 152, "business_ethics": 100, "clinical_knowledge": 265}
        assert Counter(dataset.subsets) == counts
    if name == "mmlu_pro/every_12th":
        assert len(set(dataset.subsets)) == 14
    if name == "gsm8k":
        assert all(re.fullmatch(r"-?\d+(\.\d+)?", task["expected_answer"]) for task in tasks(dataset))
        assert not any("<<" in task["reference_solution"] for task in tasks(dataset))
    examples = {task["question"] for task in tasks(example(name))}
    assert not examples & {task["question"] for task in tasks(dataset)}, "examples are written by us"


@pytest.mark.parametrize("name", FROZEN)
def test_upstreams_references_pass_and_neighbours_answers_fail(name, tmp_path):
    benchmark, prepared = real(name, tmp_path)
    judge, rows = selected(name, "example"), tasks(Dataset.open(prepared.path, benchmark))
    if name == "math_500":
        # Each of these goes through the library's helper process; --gym-check holds all of them against it.
        rows = rows[::20]
    answers = [judge.reference(task) or "" for task in rows]
    wrong = [task.id for task, answer in zip(rows, answers, strict=True) if judge.call(task, Rollout(text=answer)).reward != 1.0]
    assert wrong == []
    foreign = [judge.call(task, Rollout(text=answers[index - 1])).reward for index, task in enumerate(rows)]
    if "options" in rows[0].fields:
        chance = sum(1 / len(task["options"]) for task in rows) / len(rows)
        assert sum(foreign) / len(rows) <= chance + 3 * math.sqrt(chance * (1 - chance) / len(rows))
    else:
        same = sum(task["expected_answer"] == rows[index - 1]["expected_answer"] for index, task in enumerate(rows))
        assert sum(foreign) == same


def test_the_full_archive_gives_the_same_rows_as_the_mirror(tmp_path):
    benchmark, prepared = real("mmlu/five_subjects", tmp_path)
    members = {}
    for source in benchmark.dataset(None).sources:
        with (sources() / (source.local or "")).open(encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file))[1:]
        text = io.StringIO(newline="")
        csv.writer(text).writerows([*cells[:5], "ABCD"[int(cells[5])]] for cells in rows)
        members[f"data/test/{source.name}"] = text.getvalue()
    path = archive(tmp_path / "data.tar", dict(reversed(members.items())))
    assert script("mmlu", {"data.tar": path}) == json_lines(prepared.path)


def test_parquet_gives_the_same_rows_as_json_lines(tmp_path):
    arrow = pytest.importorskip("pyarrow", reason="reading parquet needs the extra 'parquet'")
    parquet = pytest.importorskip("pyarrow.parquet")
    benchmark, prepared = real("mmlu_pro/every_12th", tmp_path)
    (source,) = benchmark.dataset(None).sources
    parquet.write_table(arrow.Table.from_pylist(json_lines(sources() / (source.local or ""))), tmp_path / "test.parquet")
    rows = script("mmlu_pro", {"test.parquet": tmp_path / "test.parquet"})
    assert rows == json_lines(prepared.path)


def test_a_changed_source_is_refused(tmp_path):
    benchmark, _ = real("aime24", tmp_path / "cache")
    spec = benchmark.dataset(None)
    local = spec.sources[0].local or ""
    (tmp_path / local).parent.mkdir()
    write(tmp_path / local, (sources() / local).read_text(encoding="utf-8").replace("900 residents", "901 residents", 1))
    with pytest.raises(DataError, match="sha256"):
        prepare(benchmark, spec, cache=tmp_path / "other", sources=tmp_path, lock=None, progress=lambda sentence: None)
