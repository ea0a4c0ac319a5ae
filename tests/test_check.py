"""`--gym-check`: each check on a benchmark that breaks it, the built-in catalogue, and what the command prints."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from pytest_gym.catalogue import Catalogue, builtin_root
from pytest_gym.checkup import Checked, Checkup
from pytest_gym.duplicates import duplicates
from pytest_gym.errors import ConfigError
from pytest_gym.probe import corrupted, foreign, rollout_of
from pytest_gym.records import Message, Task, ToolCall

from .samples import write

CONFIG = """
sums:
  description: Small sums
  prompt_config: {user: "What is {question}?"}
  verifier: ends_with
  datasets: [{path: sums.jsonl}]
"""
VERIFIER = """
from pytest_gym import Rollout, Task, Verdict, verifier

@verifier
def ends_with(task: Task, rollout: Rollout, *, field: str = "answer") -> Verdict:
    return Verdict(float(rollout.text.split()[-1:] == [task[field]]))

@ends_with.reference
def reference(task: Task, *, field: str = "answer") -> str | None:
    return f"It is {task[field]}"
"""
README = "# sums\n\n| source | written here |\n| licence | MIT |\n\n## Reward\n\n1 if right.\n"
WORDS = "apple pear plum fig lime date kiwi melon peach cherry".split()


def row(number, **fields):
    return {"id": f"r{number}", "question": f"{WORDS[number % 10]} {number} and {number * number}", "answer": str(number + 10)} | fields


@pytest.fixture
def make(tmp_path):
    """Write the benchmark `sums` and check it; `files` replaces or adds files, `rows` its rows."""

    def check(*, rows=None, limit=None, split=None, **files) -> Checked:
        rows = [row(n) for n in range(12)] if rows is None else rows
        texts = {
            "benchmarks/sums/config.yaml": files.get("config", CONFIG),
            "benchmarks/sums/README.md": files.get("readme", README),
            "benchmarks/sums/sums.jsonl": "".join(json.dumps(one) + "\n" for one in rows),
            "verifiers/ends_with.py": files.get("verifier", VERIFIER),
        }
        write(tmp_path, texts)
        catalogue = Catalogue([tmp_path, builtin_root()])
        checkup = Checkup(catalogue, catalogue.benchmark, tmp_path / "cache", None, tmp_path / "gym.lock", lambda line: None)
        return checkup.check("sums", split, limit)

    return check


def result(checked: Checked, check: str) -> tuple[str, str]:
    (found,) = [(finding.result, finding.message) for finding in checked.findings if finding.check == check]
    return found


def test_a_good_benchmark_passes_every_check(make):
    checked = make()
    assert checked.ok and checked.rows == {"benchmark": 12}
    results = {finding.check: finding.result for finding in checked.findings}
    assert results.pop("sources") == "warn", "its bytes are not frozen"
    assert results.pop("positions") == "skipped"
    assert set(results.values()) == {"ok"} and len(results) == 12


@pytest.mark.parametrize(
    ("check", "expected", "said", "changes"),
    [
        ("config", "fail", "no description", {"config": CONFIG.replace("Small sums", "''")}),
        ("config", "fail", "temperature 0", {
            "config": CONFIG.replace("sums.jsonl", "sums.jsonl, num_repeats: 4") + "  sampling: {temperature: 0}"}),
        ("readme", "fail", "licence", {"readme": "# sums\n\nsource: here\n\n## Reward\n"}),
        ("sources", "warn", "sha256", {}),
        ("rows", "fail", "sums.jsonl:3", {"rows": [row(0), row(1), {"id": "r2", "answer": "1"}]}),
        ("rows", "fail", "the same id", {"rows": [row(0), row(0)]}),
        ("prompt", "fail", "blank in row r1", {"rows": [row(0), row(1, question=" ")]}),
        ("ids", "warn", "no 'id'", {"rows": [{"question": q, "answer": q} for q in "ab"]}),
        ("length", "fail", "2 rows (r0, r1) are over", {"rows": [row(0), row(1)], "config": CONFIG + "  context_length: 5\n"}),
        ("duplicates", "warn", "1 ask the same as another (r0 and r1)", {"rows": [row(0), row(0, id="r1"), row(2)]}),
        ("reference", "fail", "no reference for row r1", {"rows": [row(0), row(1, answer=None)], "verifier": VERIFIER.replace(
            'return f"It', 'return None if task[field] is None else f"It')}),
        ("reference", "fail", "2 of 2 references do not get full reward: r0 (reward 0: )", {
            "rows": [row(0), row(1)], "verifier": VERIFIER.replace('"It is {task[field]}"', '"{task[field]} it is"')}),
        ("reference", "fail", "ZeroDivisionError", {"verifier": VERIFIER.replace("return Verdict", "1 / 0\n    return Verdict")}),
        ("empty", "fail", "an empty answer passes in 4 of 4", {
            "rows": [row(0), row(1)], "verifier": VERIFIER.replace("float(", "float(not rollout.text.strip() or ")}),
        ("corrupted", "fail", "a corrupted reference passes", {"verifier": VERIFIER.replace("float(", "float('is' in rollout.text or ")}),
        ("foreign", "fail", "another row's reference passes in 12 of 12", {
            "verifier": VERIFIER.replace("float(", "float(rollout.text[-1:].isdigit() or ")}),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) < 12 else "",
)  # fmt: skip
def test_each_check_notices(make, check, expected, said, changes):
    checked = make(**changes)
    found, message = result(checked, check)
    assert found == expected and said in message
    assert checked.ok == (expected != "fail")


def test_an_excuse_turns_a_failure_into_a_reason(make):
    config = CONFIG + "  check: {readme: not for others, empty: silence is golden}\n"
    checked = make(config=config, readme="", verifier=VERIFIER.replace("float(", "float(not rollout.text.strip() or "))
    assert checked.ok
    assert result(checked, "readme")[0] == "excused" and result(checked, "readme")[1].endswith("the config says: not for others")
    assert result(checked, "empty")[0] == "excused"


def test_a_check_that_does_not_exist_cannot_be_excused(tmp_path):
    write(tmp_path, {"benchmarks/sums/config.yaml": CONFIG + "  check:\n    redme: x\n"})
    with pytest.raises(ConfigError, match=r"config\.yaml:7: check has no key 'redme'; did you mean 'readme'"):
        Catalogue([tmp_path]).benchmark("sums")


@pytest.mark.parametrize(("line", "said"), [("await asyncio.sleep(0)", "12 of 12 get full reward"), ("1 / 0", "raised ZeroDivisionError")])
def test_async_verifiers_are_held_against_the_same(make, line, said):
    text = VERIFIER.replace("def ends_with", "async def ends_with").replace("    return Verdict", f"    {line}\n    return Verdict")
    assert said in result(make(verifier="import asyncio\n" + text), "reference")[1]


@pytest.mark.parametrize("word", ["def", "async def"])
def test_slow_verifiers_are_asked_about_fewer_wrong_answers(make, monkeypatch, word):
    monkeypatch.setattr("pytest_gym.check.SECONDS", 0.02)
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    text = VERIFIER.replace("def ends_with", f"{word} ends_with").replace("    return Verdict", "    time.sleep(0.03)\n    return Verdict")
    checked = make(rows=[row(0), row(1)], verifier="import time\n" + text)
    assert result(checked, "reference")[1] == "2 of 2 get full reward"
    assert result(checked, "empty") == ("ok", "none of 1 passes (of 4, as 0.02 s were over)")


def test_a_limit_checks_fewer_rows(make):
    checked = make(limit="3@1")
    assert result(checked, "reference")[1] == "3 of 3 get full reward"


@pytest.mark.parametrize(
    ("shares", "expected"), [((25, 25, 25, 25), "ok"), ((55, 15, 15, 15), "fail"), ((0, 50, 0, 0), "fail"), ((2, 2, 2, 2), "skipped")]
)
def test_positions_of_right_answers(make, shares, expected):
    letters = "".join(letter * count for letter, count in zip("ABCD", shares, strict=True))
    rows = [row(n, expected_answer=letter, options=["w", "x", "y", "z"]) for n, letter in enumerate(letters)]
    config = CONFIG.replace("verifier: ends_with", "verifier: {name: mcqa}")
    assert result(make(rows=rows, config=config), "positions")[0] == expected


def test_a_protocol_that_changed_under_the_same_version(make, tmp_path):
    assert result(make(), "version") == ("ok", "version 1 recorded in gym.lock; commit it")
    assert result(make(), "version") == ("ok", "version 1, as recorded in gym.lock")
    other = CONFIG.replace("What is", "How much is")
    found, said = result(make(config=other), "version")
    assert found == "fail" and said.startswith("prompt changed since version 1 was recorded in gym.lock: raise version in")
    assert result(make(config=other + "  version: 2\n"), "version") == ("ok", "version 2 recorded in gym.lock; commit it")
    assert result(make(config=other + "  version: 2\n", rows=[row(1), row(2)]), "version")[1].startswith("dataset changed")
    assert json.loads((tmp_path / "gym.lock").read_text())["sums"]["version"] == 2


def test_duplicates_are_found_and_others_not():
    long = "a train leaves the station at noon and travels north at sixty miles an hour for three whole days and nights".split()
    texts = [
        " ".join(long),
        " ".join(long).upper() + " ",
        " ".join([*long[:-1], "evenings"]),
        " ".join(reversed(long)),
        "short",
        "Short",
        "",
    ]
    found = duplicates(texts)
    assert found.same == [(0, 1), (4, 5)]
    assert found.near == [(0, 2)]


def answers(*texts):
    return [(Task(str(n), n, "b", {}), text) for n, text in enumerate(texts)]


def test_references_are_corrupted_in_their_own_part():
    given = answers("The answer is \\boxed{19}.", "The answer is \\boxed{7}.")
    assert [text for _, text in corrupted(given)] == [
        "The answer is \\boxed{20}.",
        "The answer i",
        "The answer is \\boxed{8}.",
        "The answer i",
    ]
    assert [text for _, text in corrupted(answers("Answer: Z", "Answer: B"))][::2] == ["Answer: A", "Answer: C"]
    assert next(text for _, text in corrupted(answers("same", "same"))) == "tbnf"
    assert list(corrupted(answers(""))) == []


def test_references_that_are_tool_calls():
    call = Message("assistant", "", tool_calls=(ToolCall("1", "add", {"a": 1}, '{"a": 1}'),))
    (_, other), *rest = corrupted(answers(call))
    assert rest == [] and other.tool_calls[0].name != "add"
    assert rollout_of(call).tool_calls == call.tool_calls and rollout_of(call).finish_reason == "tool_calls"


def test_foreign_answers_are_other_answers():
    assert [(task.id, text) for task, text in foreign(answers("a", "a", "b"))] == [("0", "b"), ("1", "b"), ("2", "a")]
    assert list(foreign(answers("a", "a"))) == []


# --- the command


def test_the_command(gym):
    gym.write()
    write(gym.path, {"benchmarks/sums/README.md": README})
    done = gym.run("--gym-check=sums", benchmark=None)
    assert done.ret == 0
    done.stdout.fnmatch_lines(
        ["*rows  config  frozen*", "sums *5  ok *warn *", "sums: sources: warn: *", "1 benchmark: 0 failed, 1 with warnings"]
    )
    (gym.path / "benchmarks/sums/README.md").unlink()
    done = gym.run("--gym-check=sum*", "--gym-json", benchmark=None)
    assert done.ret == 1
    (entry,) = json.loads(done.stdout.str())
    assert set(entry) == {"name", "ok", "rows", "findings"} and entry["ok"] is False
    assert {finding["check"] for finding in entry["findings"] if finding["result"] == "fail"} == {"readme"}
    assert gym.run("--gym-check=nothing", benchmark=None).ret == 4
    (gym.path / "benchmarks/sums/config.yaml").write_text("sums: {datasets: 1}")
    done = gym.run("--gym-check=all", "--gym-split=example", "--gym-limit=1", benchmark=None)
    assert done.ret == 1
    said = " ".join(done.stdout.str().split())
    assert "FAIL" in said and "config.yaml:1: benchmark 'sums'" in said


# --- the built-in catalogue

CATALOGUE = Catalogue([builtin_root()])
NAMES = CATALOGUE.names()


def distinct() -> list[str]:
    """One name for all variants whose examples, prompt, verifier and metric are the same: they would be judged alike."""
    found: dict[str, str] = {}
    for benchmark in map(CATALOGUE.benchmark, NAMES):
        path = benchmark.folder / benchmark.dataset("example").path
        judged = (path, benchmark.verifier, benchmark.verifier_options, benchmark.prompt.content(), benchmark.metric, benchmark.check)
        found.setdefault(repr(judged), benchmark.name)
    return list(found.values())


@pytest.fixture(scope="module")
def builtin(tmp_path_factory):
    folder, sources = tmp_path_factory.mktemp("check"), os.environ.get("GYM_SOURCES")
    catalogue = Catalogue([builtin_root()])
    given = Path(sources) if sources else None
    return Checkup(catalogue, catalogue.benchmark, folder / "cache", given, folder / "gym.lock", lambda line: None)


@pytest.mark.parametrize("name", distinct())
def test_the_catalogues_examples(builtin, name, monkeypatch):
    monkeypatch.setattr("pytest_gym.check.PROGRAMS", 3)
    checked = builtin.check(name, "example")
    assert checked.rows["example"] >= 5
    assert [str(finding) for finding in checked.findings if finding.result == "fail"] == []
    assert [
        finding.message for finding in checked.findings if finding.check in ("duplicates", "ids", "foreign") and finding.result == "warn"
    ] == []


@pytest.mark.parametrize("name", NAMES)
def test_the_catalogue_on_real_data(builtin, name, monkeypatch):
    """References get full reward and empty answers none, on a sample where there are many: judging all takes minutes."""
    monkeypatch.setattr("pytest_gym.check.PROGRAMS", 3)
    benchmark = builtin.catalogue.benchmark(name)
    if not builtin._is_at_hand(benchmark, benchmark.dataset()):
        pytest.skip("its sources are not in GYM_SOURCES")
    if "sandbox" in benchmark.requires:
        pytest.skip("test_benchmark_folders.py takes some of its programs")
    checked = builtin.check(name, "benchmark", "25@1")
    assert [str(finding) for finding in checked.findings if finding.result == "fail"] == []
    assert checked.rows["benchmark"] == (benchmark.dataset().num_rows or checked.rows["benchmark"])
