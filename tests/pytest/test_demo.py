"""The offline trial and the looks: what somebody sees who has just installed."""

from __future__ import annotations

import json

import pytest

from pytest_gym.catalogue import Catalogue, builtin_root
from tests.conftest import Gym, adder


def test_demo_ends_well_and_says_what_it_is(gym: Gym, how):
    result = gym.run("--gym-demo", *how, benchmark="gsm8k")
    outcomes = result.parseoutcomes()
    assert result.ret == 0
    assert outcomes["passed"] > 0 and outcomes["xfailed"] > 0
    assert outcomes["passed"] + outcomes["xfailed"] == 32
    text = result.stdout.str()
    assert "DEMO" in text and "pass@1" in text and "pass@k" in text
    [folder] = (gym.path / "gym-results").glob("2*-gsm8k")
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["demo"] is True
    assert (gym.path / "gym-results" / ".gitignore").read_text().endswith("*\n")
    assert "DEMO" in (folder / "summary.md").read_text()
    manifest = json.loads((folder / "run.json").read_text())
    assert manifest["demo"] is True and manifest["model"]["base_url"] == "demo" and manifest["exit_code"] == 0


def test_demo_gives_the_same_score_every_time(gym: Gym):
    scores = set()
    for number, connections in enumerate((7, 64)):
        gym.run("--gym-demo", f"--gym-output=run{number}", f"--gym-concurrency={connections}", benchmark="gsm8k,mmlu")
        entries = gym.summary(f"run{number}")["benchmarks"]
        scores.add(tuple(entry["metrics"][key]["value"] for entry in entries.values() for key in ("pass@1", "pass@4", "pass^4")))
    assert len(scores) == 1


def test_demo_misses_are_failures_with_runxfail(gym: Gym):
    result = gym.run("--gym-demo", "--runxfail", benchmark="gsm8k")
    assert result.ret == 1 and result.parseoutcomes()["failed"] > 0


def test_every_shipped_benchmark_runs_in_the_demo(gym: Gym):
    # One for each file of examples. Molecules are designed with a file of upstream's, which has to be fetched.
    catalogue = Catalogue([builtin_root()])
    examples = {benchmark.folder / benchmark.dataset("example").path: benchmark.name for benchmark in catalogue.all()}
    names = [name for name in examples.values() if name != "ether0/design"]
    result = gym.run("--gym-demo", "--gym-repeats=1", "--gym-output=run", benchmark=",".join(names))
    assert result.ret == 0
    for name, entry in gym.summary()["benchmarks"].items():
        # A problem of SciCode counts only where all of its steps are right.
        right = name.startswith("scicode") or entry["metrics"]["pass@1"]["value"] > 0
        assert entry["missing"] == 0 and right, (name, entry["missing"])


def test_demo_ignores_a_model_of_the_environment(gym: Gym, monkeypatch):
    monkeypatch.setenv("GYM_MODEL", "m")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    assert gym.run("--gym-demo", "-k", "0001", benchmark="gsm8k").ret == 0


def test_list(gym: Gym, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    gym.write(rows=2)
    result = gym.pytester.runpytest("--gym-list")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["math*", "*gsm8k*1,319*", "*sums*", "knowledge*", "*mmlu_pro*12,032*"])
    data = json.loads(gym.pytester.runpytest("--gym-list", "--gym-json").stdout.str())
    keys = {"name", "description", "domain", "tags", "rows", "num_repeats", "verifier", "needs", "prepared", "source"}
    assert all(keys <= set(entry) for entry in data)
    assert {"gsm8k", "math_500", "aime24", "aime25", "mmlu", "mmlu_pro", "sums"} <= {entry["name"] for entry in data}
    assert next(entry for entry in data if entry["name"] == "aime25")["num_repeats"] == 32
    few = json.loads(gym.pytester.runpytest("--gym-list=knowledge", "--gym-json").stdout.str())
    assert {entry["domain"] for entry in few} == {"knowledge"}


def test_list_is_not_stopped_by_a_broken_config(gym: Gym):
    gym.write(rows=2)
    (gym.path / "benchmarks" / "sums" / "config.yaml").write_text("sums: {domian: math, datasets: []}\n")
    result = gym.pytester.runpytest("--gym-list")
    assert result.ret == 0
    text = result.stdout.str()
    assert "gsm8k" in text and "config.yaml:1" in text and "domian" in text
    quiet = gym.pytester.runpytest("--gym-list", "--gym-json")
    json.loads(quiet.stdout.str())
    assert "domian" in quiet.stderr.str()


def test_search_and_show(gym: Gym):
    found = gym.pytester.runpytest("--gym-search=grade school", "--gym-json")
    assert json.loads(found.stdout.str())[0]["name"] == "gsm8k"
    shown = gym.pytester.runpytest("--gym-show=gsm8k")
    shown.stdout.fnmatch_lines(["gsm8k*", "*1,319*", "*verifier*math*", "*boxed*"])
    data = json.loads(gym.pytester.runpytest("--gym-show=gsm8k", "--gym-json").stdout.str())
    assert data["name"] == "gsm8k"
    wrong = gym.pytester.runpytest("--gym-show=gsm9k")
    assert wrong.ret == 4
    wrong.stderr.fnmatch_lines(["ERROR:*gsm9k*did you mean 'gsm8k'*"])
    both = gym.pytester.runpytest("--gym-show=gsm8k", "--gym-list")
    assert both.ret == 4


def test_looks_start_no_workers_and_collect_nothing(gym: Gym):
    gym.pytester.makepyfile("raise RuntimeError('collected')")
    result = gym.pytester.runpytest("--gym-list", "-n", "4")
    assert result.ret == 0 and "collected" not in result.stdout.str()


def test_hooks_of_other_plugins(gym: Gym, endpoint):
    gym.write(rows=3, wrong=(1,))
    (gym.path / "elsewhere" / "benchmarks").mkdir(parents=True)
    gym.pytester.makeconftest(
        """
        import dataclasses, pathlib
        seen = []
        def pytest_gym_roots(config):
            return [pathlib.Path(__file__).parent / "elsewhere"]
        def pytest_gym_modify_benchmark(config, benchmark):
            return dataclasses.replace(benchmark, sampling={"temperature": 0.125})
        def pytest_gym_result(config, result):
            seen.append((result.task_id, result.verdict.passed))
        def pytest_gym_run_finished(config, run, summary):
            print("\\nFINISHED", sorted(seen), run.name, summary["benchmarks"]["sums"]["cases"])
        """
    )
    server = endpoint(adder)
    result = gym.run("-s", url=server.url)
    result.stdout.fnmatch_lines(["FINISHED [[]('0000', True), ('0001', False), ('0002', True)[]] run 3"])
    assert server.requests[0]["temperature"] == 0.125


@pytest.mark.parametrize("words", [("--help",), ("--markers",), ("--fixtures",), ("--version",)])
def test_pytest_own_looks_still_work(gym: Gym, words):
    gym.write(rows=2)
    result = gym.pytester.runpytest_inprocess("--gym-benchmark=sums", "--gym-demo", *words)
    assert result.ret == 0, result.stdout.str() + result.stderr.str()


def test_demo_of_nothing_says_what_is_missing(gym: Gym):
    result = gym.run("--gym-demo", benchmark=None)
    assert result.ret == 4
    result.stderr.fnmatch_lines(["ERROR:*--gym-benchmark=gsm8k --gym-demo*"])


def test_demo_of_an_own_benchmark_without_examples(gym: Gym, how):
    gym.write(rows=3)
    assert gym.run("--gym-demo", *how).ret == 0
