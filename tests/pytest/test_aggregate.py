"""Shards of a run, and merging runs: against a scripted endpoint, serial and distributed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.conftest import Gym, adder
from tests.endpoint import chat


def aggregate(gym: Gym, *runs: str, into: str = "all", words: tuple[str, ...] = ()) -> pytest.RunResult:
    return gym.pytester.runpytest_inprocess(f"--gym-aggregate={','.join(runs)}", f"--gym-output={into}", *words)


def without_times(summary: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in summary.items() if key != "wall_s"}


def results(gym: Gym, folder: str) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key != "latency_s"} for row in gym.results(folder)]


def sometimes(body: dict[str, Any], number: int) -> Any:
    """Answers every third request wrongly."""
    return chat("no idea") if number % 3 == 0 else adder(body, number)


def refused(result: pytest.RunResult) -> str:
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "Traceback" not in result.stderr.str() and not result.stdout.str().strip()
    return result.stderr.str()


def test_shards_together_are_the_whole(gym: Gym, endpoint, how):
    gym.write(rows=7, repeats=2, wrong=(2, 5))
    server = endpoint(adder)
    gym.run("--gym-output=whole", url=server.url)
    server.requests.clear()
    for index in (1, 2, 3):
        result = gym.run(*how, f"--gym-shard={index}/3", f"--gym-output=part{index}", url=server.url)
        size = 3 if index == 1 else 2
        result.stdout.fnmatch_lines([f"gym: sums: shard {index} of 3: {size} of 7 tasks × 2"])
        assert gym.manifest(f"part{index}")["shard"] == {"index": index, "count": 3}
        assert gym.summary(f"part{index}")["benchmarks"]["sums"]["tasks"] == size
    # Whole tasks: both repeats of each were asked for once, in one shard.
    assert len(server.requests) == 14
    owners = [{row["task_id"] for row in gym.results(f"part{index}")} for index in (1, 2, 3)]
    assert owners == [{"0000", "0003", "0006"}, {"0001", "0004"}, {"0002", "0005"}]

    done = aggregate(gym, "part1", "part3", "part2")
    assert done.ret == 0
    done.stdout.fnmatch_lines(["*7 tasks x 2 repeats, all scored", "3 runs merged: 14 of 14 planned cases have a result", "results in all"])
    assert without_times(gym.summary("all")) == without_times(gym.summary("whole"))
    assert results(gym, "all") == results(gym, "whole")
    manifest = gym.manifest("all")
    assert (manifest["shard"], manifest["planned"]["cases"], manifest["exit_code"]) == (None, 14, 0)
    assert manifest["benchmarks"] == gym.manifest("whole")["benchmarks"] and manifest["model"] == gym.manifest("whole")["model"]
    runs = manifest["aggregated"]["runs"]
    assert [(run["run"], run["shard"]["index"], run["results"], run["used"]) for run in runs] == [
        ("part1", 1, 6, 6),
        ("part3", 3, 4, 4),
        ("part2", 2, 4, 4),
    ]
    assert (manifest["aggregated"]["cases"], manifest["aggregated"]["duplicates"]) == (14, 0)
    assert {path.name for path in (gym.path / "all").iterdir()} == {
        "run.json",
        "rollouts.jsonl",
        "scores.csv.gz",
        "summary.json",
        "summary.md",
    }


def test_several_benchmarks_share_one_stride(gym: Gym, endpoint):
    for name in ("ones", "twos", "threes"):
        gym.write(rows=1 if name == "ones" else 2, name=name)
    server = endpoint(adder)
    whole = "ones,twos,threes"
    gym.run("--gym-output=whole", url=server.url, benchmark=whole)
    for index in (1, 2, 3, 4, 5):
        gym.run(f"--gym-shard={index}/5", f"--gym-output=part{index}", url=server.url, benchmark=whole).assert_outcomes(passed=1)
    assert aggregate(gym, "part*").ret == 0
    assert without_times(gym.summary("all")) == without_times(gym.summary("whole"))
    assert results(gym, "all") == results(gym, "whole")


def test_a_missing_shard_is_missing_data(gym: Gym, endpoint):
    gym.write(rows=6, repeats=2)
    server = endpoint(adder)
    for index in (1, 4):
        gym.run(f"--gym-shard={index}/4", f"--gym-output=part{index}", url=server.url)
    done = aggregate(gym, "part1", "part4")
    assert done.ret == 0
    done.stdout.fnmatch_lines(["2 runs merged: 6 of 12 planned cases have a result", "shards 2 and 3 of 4 are missing"])
    entry = gym.summary("all")["benchmarks"]["sums"]
    assert (entry["tasks"], entry["cases"], entry["missing"]) == (6, 12, 6)
    assert entry["metrics"]["pass@1"]["bounds"] == [0.5, 1.0]
    assert len(gym.results("all")) == 6


def test_overlapping_runs_count_each_case_once(gym: Gym, endpoint):
    gym.write(rows=6)
    first, second = endpoint(adder), endpoint(lambda body, number: chat("no idea") if "0+1" in str(body) else adder(body, number))
    gym.run("--gym-output=left", "-k", "0000 or 0001 or 0002", url=first.url)
    gym.run("--gym-output=right", "-k", "not 0001", url=second.url)
    done = aggregate(gym, "left", "right")
    done.stdout.fnmatch_lines(
        [
            "2 runs merged: 6 of 6 planned cases have a result",
            "2 cases in several runs, 1 of them judged differently: *",
            "left is not finished: 3 results in its journal; --gym-resume=left goes on",
        ]
    )
    rows = gym.results("all")
    assert [(row["task_id"], row["passed"]) for row in rows] == [(f"000{n}", True) for n in range(6)]
    merged = gym.manifest("all")["aggregated"]
    assert (merged["duplicates"], merged["disagreements"]) == (2, 1)
    assert [(run["results"], run["used"]) for run in merged["runs"]] == [(3, 3), (5, 3)]
    assert gym.manifest("all")["model"]["base_url"] is None
    # The other way round the other run's answer to 0+1 counts.
    aggregate(gym, "right", "left", into="turned")
    assert [row["passed"] for row in gym.results("turned")] == [False, True, True, True, True, True]


def test_a_verdict_beats_an_error(gym: Gym, endpoint):
    gym.write(rows=4)
    broken = endpoint(lambda body, number: (400, {"error": {"message": "no"}}) if "2+1" in str(body) else adder(body, number))
    gym.run("--gym-output=one", url=broken.url)
    gym.run("--gym-output=two", "-k", "0002 or 0003", url=endpoint(adder).url)
    gym.run("--gym-output=three", "-k", "0002", url=broken.url)
    assert gym.summary("one")["benchmarks"]["sums"]["errors"] == {"bad_request": 1}
    assert aggregate(gym, "one", "three", "two").ret == 0
    entry = gym.summary("all")["benchmarks"]["sums"]
    assert (entry["errors"], entry["missing"], entry["metrics"]["pass@1"]["value"]) == ({}, 0, 1.0)
    assert [run["used"] for run in gym.manifest("all")["aggregated"]["runs"]] == [3, 0, 1]
    # An error is kept where there is nothing better.
    assert aggregate(gym, "one", "three", into="errors").ret == 0
    assert gym.summary("errors")["benchmarks"]["sums"]["errors"] == {"bad_request": 1}
    assert without_times(gym.summary("errors")) == without_times(gym.summary("one"))


def test_killed_runs_are_read_from_their_journals(gym: Gym, endpoint):
    gym.write(rows=6, wrong=(4,))
    server = endpoint(adder)
    gym.run("--gym-output=whole", url=server.url)
    gym.run("--gym-output=killed", "-k", "not 0003", url=server.url)
    # What a kill -9 leaves: no results, no summary, a torn last line, an answer that was not judged.
    folder = gym.path / "killed"
    for name in ("rollouts.jsonl", "scores.csv.gz", "summary.json", "summary.md"):
        (folder / name).unlink()
    verdicts = (folder / "journal" / "verdicts.jsonl").read_text().splitlines(keepends=True)
    kept = [line for line in verdicts if '"0005"' not in line]
    assert len(verdicts) - len(kept) == 1
    (folder / "journal" / "verdicts.jsonl").write_text("".join(kept) + '{"benchmark": "sums", "task_id": "00')
    done = aggregate(gym, "killed")
    done.stdout.fnmatch_lines(
        [
            "1 run merged: 4 of 6 planned cases have a result",
            "killed is not finished: 4 results in its journal, 1 answer not judged; --gym-resume=killed goes on",
            "killed: 1 line cannot be read",
        ]
    )
    kept_tasks = ("0000", "0001", "0002", "0004")
    assert results(gym, "all") == [row for row in results(gym, "whole") if row["task_id"] in kept_tasks]
    assert aggregate(gym, "killed", "whole", into="both").ret == 0
    assert without_times(gym.summary("both")) == without_times(gym.summary("whole"))


def test_a_merged_run_is_a_run(gym: Gym, endpoint):
    gym.write(rows=5)
    server = endpoint(sometimes)
    for index in (1, 2):
        gym.run(f"--gym-shard={index}/2", f"--gym-output=part{index}", url=server.url)
    aggregate(gym, "part1", into="half")
    assert aggregate(gym, "half", "part2").ret == 0
    aggregate(gym, "part1", "part2", into="direct")
    assert without_times(gym.summary("all")) == without_times(gym.summary("direct"))
    assert results(gym, "all") == results(gym, "direct")


def test_what_differs_is_refused_part_by_part(gym: Gym, endpoint):
    gym.write(rows=4)
    server = endpoint(adder)
    gym.run("--gym-output=one", url=server.url)
    gym.run(
        "--gym-output=two", "--gym-model=other", "--gym-set=sampling.temperature=0.9", "--gym-repeats=2", "--gym-limit=3", url=server.url
    )
    said = refused(aggregate(gym, "one", "two"))
    for part in (
        "one and two are not parts of one run, they differ in",
        "model: m → other",
        "sums: sampling.temperature: 0.5 → 0.9",
        "sums: num_repeats: 1 → 2",
        "limit: not set → 3",
    ):
        assert part in said
    assert not (gym.path / "all").exists()

    config = gym.path / "benchmarks" / "sums" / "config.yaml"
    config.write_text(config.read_text().replace("What is {question}?", "So what is {question}?"))
    gym.run("--gym-output=three", url=endpoint(lambda body, number: chat("1")).url)
    assert "sums: prompt.user: What is {question}? → So what is {question}?" in refused(aggregate(gym, "one", "three"))

    gym.write(rows=5)
    gym.run("--gym-output=four", url=server.url)
    assert "sums: dataset.num_rows: 4 → 5" in refused(aggregate(gym, "one", "four"))
    # The runs agree, but the rows are no longer there.
    assert "is not the one of the runs (4 rows, sha256 " in refused(aggregate(gym, "one"))


def test_overridden_fixtures_are_part_of_the_protocol(gym: Gym, endpoint):
    gym.write(rows=3)
    server = endpoint(adder)
    gym.run("--gym-output=plain", url=server.url)
    (gym.path / "conftest.py").write_text(
        "import pytest\nfrom pytest_gym import Verdict\n\n@pytest.fixture\ndef verifier():\n    return lambda task, rollout: Verdict(1.0)\n"
    )
    for index in (1, 2):
        gym.run(f"--gym-shard={index}/4", f"--gym-output=part{index}", url=server.url)
    gym.run("--gym-shard=3/4", "--gym-output=part3", "-k", "nothing", url=server.url)
    assert not (gym.path / "part3").exists()
    gym.run("--gym-shard=4/4", "--gym-output=part4", url=server.url)
    # A killed run: its manifest was written before any case was collected.
    gym.run("-k", "0001", "--gym-output=killed", url=server.url)
    path = gym.path / "killed" / "run.json"
    manifest = json.loads(path.read_text())
    assert manifest["benchmarks"]["sums"]["overridden"] == ["verifier"]
    manifest["finished"], manifest["benchmarks"]["sums"]["overridden"] = None, []
    path.write_text(json.dumps(manifest))
    # An empty shard never came to know.
    assert aggregate(gym, "part1", "part2", "part4", "killed").ret == 0
    assert 'sums: overridden: [] → ["verifier"]' in refused(aggregate(gym, "plain", "part1", into="no"))
    assert 'sums: overridden: [] → ["verifier"]' in refused(aggregate(gym, "plain", "killed", into="no"))


def test_a_manifest_that_is_not_whole_is_refused(gym: Gym, endpoint):
    gym.write(rows=1)
    gym.run(url=endpoint(adder).url)
    path = gym.path / "run" / "run.json"
    manifest = json.loads(path.read_text())
    for change in ({"planned": {}}, {"model": None}, {"benchmarks": {"sums": {"dataset": {}}}}, {"benchmarks": {"sums": []}}):
        path.write_text(json.dumps({**manifest, **change}))
        assert "run: its run.json is not whole (" in refused(aggregate(gym, "run"))


def test_json_alone_on_stdout(gym: Gym, endpoint):
    gym.write(rows=4)
    gym.run("--gym-output=part", "--gym-shard=2/2", url=endpoint(adder).url)
    done = aggregate(gym, "part", words=("--gym-json",))
    assert json.loads(done.stdout.str()) == gym.summary("all")
    done.stderr.fnmatch_lines(["gym: 1 run merged: 2 of 4 planned cases have a result", "gym: shard 1 of 2 is missing"])


def test_slips_are_said_in_a_sentence(gym: Gym, endpoint):
    gym.write(rows=2)
    gym.run(url=endpoint(adder).url)
    assert "name the folder for the merged run with --gym-output=DIR" in refused(gym.pytester.runpytest_inprocess("--gym-aggregate=run"))
    assert "holds a run already" in refused(aggregate(gym, "run", into="run"))
    assert "is no run folder (it has no run.json); did you mean 'run'?" in refused(aggregate(gym, "runn"))
    assert "no run folder matches part*" in refused(aggregate(gym, "run", "part*"))
    assert "name the folders of the runs" in refused(aggregate(gym, " ,"))
    assert "exclude each other" in refused(aggregate(gym, "run", words=("--gym-list",)))
    # A line that is no result is left out and said; the same folder twice is one run.
    path = gym.path / "run" / "rollouts.jsonl"
    path.write_text(path.read_text() + '{"benchmark": "sums", "task_id": "0001", "repeat": 0, "reward": "high"}\nnonsense\n')
    done = aggregate(gym, "run", "./run", "ru?")
    done.stdout.fnmatch_lines(["1 run merged: 2 of 2 planned cases have a result", "run: 2 lines cannot be read"])
