"""`--gym-new`: what is guessed of a table, and a benchmark of one's own from a CSV file to the freeze."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_gym.catalogue import Catalogue, builtin_root
from pytest_gym.checkup import Checkup
from pytest_gym.errors import ConfigError, DataError, GymError
from pytest_gym.scaffold import draft, new_command

CAPITALS = "question,answer,topic\n" + "".join(
    f"{land},{city},{continent}\n"
    for land, city, continent in (
        ("Norway", "Oslo", "elsewhere"),
        ("Japan", "Tokyo", "Asia"),
        ("Peru", "Lima", "America"),
        ("Kenya", "Nairobi", "elsewhere"),
        ("Chile", "Santiago", "America"),
        ("India", "Delhi", "Asia"),
    )
)


def test_a_users_repository_from_a_table_to_the_freeze(gym):
    (gym.path / "capitals.csv").write_text(CAPITALS)
    done = gym.run("--gym-new=capitals=capitals.csv", benchmark=None)
    assert done.ret == 0
    done.stdout.fnmatch_lines(
        [
            "benchmarks/capitals: config.yaml, capitals.jsonl, README.md (6 rows)",
            "  subset    topic",
            "  verifier  exact_match: the answers are short texts*",
            "  pytest --gym-check=capitals",
            "  pytest --gym-benchmark=capitals --gym-demo",
        ]
    )
    done = gym.run("--gym-check=capitals", benchmark=None)
    assert done.ret == 0
    done.stdout.fnmatch_lines(["1 benchmark: 0 failed, 0 with warnings"])
    assert gym.run("--gym-demo", benchmark="capitals").ret == 0
    rows = gym.path / "benchmarks/capitals/capitals.jsonl"
    rows.write_text(rows.read_text().replace("Lima", "Lama"))
    done = gym.run("--gym-demo", benchmark="capitals")
    assert done.ret == 4
    done.stderr.fnmatch_lines(["*capitals.jsonl is not what the config froze: its sha256 is *"])
    assert gym.run("--gym-check=capitals", benchmark=None).ret == 1
    assert gym.run("--gym-new=capitals=capitals.csv", benchmark=None).ret == 4, "it is there already"


@pytest.mark.parametrize(
    ("rows", "verifier", "said", "fields"),
    [
        ([{"question": "2+2?", "answer": "4"}, {"question": "3*5?", "answer": "1,500.5"}], "math", "all 2 answers are numbers", {}),
        ([{"problem": "p", "solution": "\\frac12"}, {"problem": "q", "solution": 3}], "math", "formulas", {"question": "problem"}),
        ([{"question": "Who?", "answer": "Ada"}, {"question": "When?", "answer": "1843"}], "exact_match", "short texts", {}),
        ([{"question": "Why?", "answer": "x" * 300}], "exact_match", "no rule compares free texts", {}),
        ([{"question": "Q", "A": "u", "B": "v", "answer": "B"}], "mcqa", "up to 2", {"options": "A, B"}),
        ([{"question": "Q", "option_a": "u", "option_b": "v", "answer": "v"}], "mcqa", "up to 2", {"options": "option_a, option_b"}),
        ([{"question": "Q", "choices": '["u", "v", "w"]', "label": 2}], "mcqa", "up to 3", {"options": "choices", "answer": "label"}),
        ([{"id": "a", "My words": "long enough to be it", "target": "t"}], "exact_match", "", {"id": "id", "question": "My_words"}),
    ],
)
def test_guesses(rows, verifier, said, fields):
    made = draft("x", rows, "t.csv")
    assert made.verifier == verifier and said in made.why
    assert {role: made.fields[role] for role in fields} == fields
    if verifier == "mcqa":
        assert made.rows[0]["expected_answer"] in "BC" and made.rows[0]["problem"].startswith("Q\n\nA) u\nB) v")


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], "has no rows"),
        ([3], "row 1 is no object but 3"),
        ([{"question": "q", "x": 1}], r"which column is the right answer\? Call it 'answer' \(it has: question, x\)"),
        ([{"n": 1, "answer": 1}], r"which column is the question\?"),
        ([{"question": "q", "answer": "a"}, {"question": "q", "answer": " "}], "row 2 has no 'answer'"),
        ([{"question": "q", "A": "u", "B": "v", "answer": "C"}], "row 1: 'answer' is 'C', which is none of its options"),
        ([{"question": "q", "answer": 1, "a b": 1, "a-b": 2}], "two columns have the same name"),
    ],
)
def test_tables_that_cannot_be_used(rows, said):
    with pytest.raises(DataError, match=said):
        draft("x", rows, "t.csv")


@pytest.mark.parametrize("word", ["", "x", "x=", "=t.csv", "a b=t.csv", "../x=t.csv", "x=t.pdf", "x=missing.csv"])
def test_words_that_cannot_be_meant(tmp_path, word):
    with pytest.raises(GymError):
        new_command(word, tmp_path, tmp_path, as_json=False)
    assert not (tmp_path / "benchmarks").exists()


CELLS = st.one_of(
    st.text(max_size=12), st.integers(-99, 99), st.none(), st.lists(st.text(max_size=3), max_size=3), st.booleans(), st.floats()
)
COLUMNS = st.sampled_from(["question", "answer", "A", "B", "C", "id", "options", "topic", "Ä b", "2nd", "{x}"])


@settings(max_examples=80, deadline=None)
@given(st.lists(st.dictionaries(COLUMNS, CELLS, max_size=7), max_size=6))
def test_any_table_is_a_benchmark_or_one_sentence(tmp_path_factory, table):
    folder = tmp_path_factory.mktemp("new")
    (folder / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in table))
    try:
        said = json.loads(new_command("mine=t.jsonl", folder, folder, as_json=True).out)
    except GymError as error:
        assert str(error) and "Traceback" not in str(error)
        return
    assert said["rows"] == len(table) and len(said["next"]) == 3
    catalogue = Catalogue([folder, builtin_root()])
    try:
        benchmark = catalogue.benchmark("mine")
        checked = Checkup(catalogue, catalogue.benchmark, folder, None, Path(folder, "gym.lock"), lambda line: None).check(
            "mine", limit="2"
        )
    except ConfigError as error:
        pytest.fail(f"the config is broken: {error}")
    assert benchmark.dataset().num_rows == len(table)
    assert {finding.check for finding in checked.findings if finding.result == "fail"} <= {"positions", "corrupted", "foreign", "reference"}
