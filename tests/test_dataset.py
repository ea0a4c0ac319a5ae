"""Datasets: checks on opening, reading by row, the index, sampling, and node names."""

import hashlib
import json
import re
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_gym.dataset import Dataset, Row, node_names
from pytest_gym.errors import ConfigError, DataError

from .samples import make_benchmark


@pytest.fixture
def rows(tmp_path):
    def make(*lines, **changes):
        path = tmp_path / "rows.jsonl"
        path.write_bytes(b"".join((line if isinstance(line, bytes) else json.dumps(line).encode()) + b"\n" for line in lines))
        return Dataset.open(path, make_benchmark(**changes))

    return make


def test_ids_that_begin_anew_in_rows_of_nemo_gym(rows):
    twice = ({"id": 1, "question": "a"}, {"id": 1, "question": "b"}, {"id": 2, "question": "c"})
    assert rows(*twice, nemo={"agent": "simple_agent"}).ids == ["1", "1.0001", "2"]


def test_reads_tasks_by_row(rows):
    dataset = rows({"id": "a", "question": "é\u2028?"}, {"question": "2", "answer": 4}, {"id": 7, "question": "x"})
    assert (len(dataset), dataset.ids) == (3, ["a", "0001", "7"])
    task = dataset.task(1)
    assert (task.id, task.index, task.benchmark, task.subset, task.cluster) == ("0001", 1, "bench", None, None)
    assert (task["answer"], task.get("nothing"), dict(task.fields)) == (4, None, {"question": "2", "answer": 4})
    assert dataset.task(0)["question"] == "é\u2028?"
    assert dataset.sha256 == hashlib.sha256(dataset.path.read_bytes()).hexdigest()


def test_an_absent_field_names_benchmark_row_and_field(rows):
    task = rows({"question": "1"}, {"question": "2"}).task(1)
    with pytest.raises(DataError, match=r"^bench, row 2: no field 'answer' \(it has: question\)$"):
        task["answer"]
    assert Row({"a": 1}, "b", 1) == {"a": 1}


def test_subsets_and_clusters(rows):
    dataset = rows(
        {"question": "1", "level": 1, "topic": "x"}, {"question": "2", "level": True, "topic": None}, subset="level", cluster="topic"
    )
    assert (dataset.subsets, dataset.clusters) == (["1", "true"], ["x", None])
    assert (dataset.task(0).subset, dataset.task(1).cluster) == ("1", None)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([], "rows.jsonl: bench: the file has no rows"),
        ([{"question": "1"}, b"{oops"], "rows.jsonl:2: bench: the line is not JSON: "),
        ([b"[1]"], "rows.jsonl:1: bench: a row is a JSON object, not [1]"),
        ([{"question": "1"}, b'{"question": NaN}'], "rows.jsonl:2: bench: the line is not JSON: NaN is no JSON value"),
        ([b'{"question": "\xff"}'], "rows.jsonl:1: bench: the line is not JSON: 'utf-8' codec"),
        ([b'{"question": "\\ud800"}'], "rows.jsonl:1: bench: the row holds a lone surrogate"),
        ([b'{"question": ' + b"[" * 100_000], "rows.jsonl:1: bench: the line is not JSON: nested too deep"),
        ([{"question": "1"}, b"", {"question": "2"}], "rows.jsonl:2: bench: the line is empty"),
        ([{"question": "1"}, {"questoin": "2"}], "rows.jsonl:2: bench: field 'question', which the prompt needs, is missing from row 2;"),
        ([{"a": "1"}], "field 'question', which the prompt needs, is missing from row 1 (it has: a)"),
        ([{"question": None}], "field 'question', which the prompt needs, is null in row 1"),
        ([{"id": 1, "question": "1"}, {"id": "1", "question": "2"}], "rows.jsonl: bench: rows 1 and 2 have the same id '1'"),
        ([{"question": "1"}, {"id": "0000", "question": "2"}], "rows 1 and 2 have the same id '0000'"),
        ([{"id": None, "question": "1"}], "rows.jsonl:1: the id of a row must be a text or a whole number, not None"),
        ([{"id": 1.5, "question": "1"}], "must be a text or a whole number, not 1.5"),
        ([{"id": "", "question": "1"}], "must be a text or a whole number, not ''"),
    ],
)  # fmt: skip
def test_wrong_rows(rows, lines, said):
    with pytest.raises(DataError) as caught:
        rows(*lines)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_wrong_groups(rows):
    with pytest.raises(
        DataError, match=r"rows.jsonl:1: the row has no field 'levl', which the config names as subset; did you mean 'level'"
    ):
        rows({"question": "1", "level": 1}, subset="levl")
    with pytest.raises(DataError, match=r"field 'topic' is the cluster, so it must be a text or a number, not \['x'\]"):
        rows({"question": "1", "topic": ["x"]}, cluster="topic")


def test_a_missing_file(tmp_path):
    with pytest.raises(DataError, match=r"^bench: .*none\.jsonl cannot be read: No such file"):
        Dataset.open(tmp_path / "none.jsonl", make_benchmark())


def test_files_as_editors_leave_them(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"question": "1"}\r\n{"question": "2"}\r\n\r\n\n')
    dataset = Dataset.open(path, make_benchmark())
    assert [dataset.task(row)["question"] for row in range(len(dataset))] == ["1", "2"]
    path.write_bytes(b'{"question": "1"}\n{"question": "2"}')
    dataset = Dataset.open(path, make_benchmark())
    assert [dataset.task(row)["question"] for row in range(len(dataset))] == ["1", "2"]


def test_the_index_gives_the_same_dataset(rows, tmp_path):
    dataset = rows(*({"id": f"é{n}", "question": str(n), "kind": n % 3} for n in range(50)), subset="kind")
    dataset.save_index(tmp_path / "index")
    loaded = Dataset.load(tmp_path / "index")
    assert (loaded.ids, loaded.subsets, loaded.clusters, loaded.sha256) == (dataset.ids, dataset.subsets, dataset.clusters, dataset.sha256)
    assert [loaded.task(row) for row in range(50)] == [dataset.task(row) for row in range(50)]
    assert [loaded.row_hash(row) for row in range(50)] == [dataset.row_hash(row) for row in range(50)]
    assert loaded.row_hash(3) == hashlib.sha256(dataset.path.read_bytes().splitlines()[3]).hexdigest()[:16]


def test_an_index_of_another_file_is_refused(rows, tmp_path):
    dataset = rows({"question": "1"})
    dataset.save_index(tmp_path / "index")
    dataset.path.write_text('{"question": "1+1"}\n')
    with pytest.raises(DataError, match=r"rows\.jsonl has changed since it was indexed"):
        Dataset.load(tmp_path / "index")
    dataset.path.unlink()
    with pytest.raises(DataError, match="cannot be read"):
        Dataset.load(tmp_path / "index")
    for content in (b"", b"{}\n", b"[]\n", b"nonsense", (tmp_path / "index").read_bytes()[:-1]):
        (tmp_path / "index").write_bytes(content)
        with pytest.raises(DataError, match="is no dataset index"):
            Dataset.load(tmp_path / "index")


def test_many_threads_read_at_once(rows):
    dataset = rows(*({"question": str(n) * (n % 50)} for n in range(300)))
    wrong = []

    def read(start):
        for step in range(300):
            row = (start + step * 7) % 300
            if dataset.task(row)["question"] != str(row) * (row % 50):
                wrong.append(row)

    threads = [threading.Thread(target=read, args=(start,)) for start in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_selection(rows):
    dataset = rows(*({"id": f"t{n}", "question": "x"} for n in range(200)))
    assert dataset.select(None) == list(range(200))
    assert dataset.select("3") == [0, 1, 2]
    assert dataset.select("5000") == dataset.select("5000@1") == list(range(200))
    drawn = dataset.select("20@7")
    assert drawn == sorted(set(drawn)) and len(drawn) == 20
    assert drawn == dataset.select("20@7") != dataset.select("20@8")
    assert set(drawn) < set(dataset.select("21@7")), "a larger sample holds the smaller one"
    # Written down once: a sample must be the same on every machine and in every version of Python.
    assert dataset.select("8@7") == [48, 69, 89, 109, 122, 142, 144, 159]
    for limit in ("0", "-1", "x", "", "1@", "@7", "1@x", "1.5", "10 @ 7"):
        with pytest.raises(ConfigError, match="limit must be N or N@SEED"):
            dataset.select(limit)


def test_node_names():
    assert node_names(["0001", "a.b-C_9"]) == ["0001", "a.b-C_9"]
    slash, space, long = node_names(["HumanEval/0", "HumanEval 0", "x" * 60])
    assert re.fullmatch(r"HumanEval_0-[0-9a-f]{8}", slash) and re.fullmatch(r"HumanEval_0-[0-9a-f]{8}", space) and slash != space
    assert re.fullmatch(r"x{48}-[0-9a-f]{8}", long)
    with pytest.raises(DataError, match="the ids 'a' and 'a' give the same node id 'a'"):
        node_names(["a", "b", "a"])
    with pytest.raises(DataError, match=rf"the ids 'HumanEval/0' and '{slash}' give the same node id"):
        node_names(["HumanEval/0", slash])


@given(st.lists(st.text(min_size=1, max_size=80), unique=True))
def test_node_names_are_plain_short_and_unique(ids):
    names = node_names(ids)
    assert len(set(names)) == len(ids)
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]{1,57}", name) for name in names)
    assert names == [node_names([identifier])[0] for identifier in ids], "a name does not hang on the other rows"


def test_large_datasets_load_quickly(rows, tmp_path):
    dataset = rows(*(b'{"id": "task-%d", "question": "%s", "kind": %d}' % (n, b"x" * 200, n % 57) for n in range(100_000)), subset="kind")
    dataset.save_index(tmp_path / "index")
    started = time.process_time()
    loaded = Dataset.load(tmp_path / "index")
    assert time.process_time() - started < 0.4
    assert loaded.task(99_999).id == "task-99999"
