"""The main job against a scripted endpoint: what a user sees, what is kept, serial and distributed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET

import pytest

from tests.conftest import Gym, adder
from tests.endpoint import chat, wait_until


def test_scores_and_keeps_results(gym: Gym, endpoint, how):
    gym.write(rows=6, repeats=2, wrong=(4,))
    server = endpoint(adder)
    result = gym.run(*how, url=server.url)
    result.assert_outcomes(passed=10, failed=2)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert len(server.requests) == 12
    # Which of the requests in flight arrives first is nobody's to say.
    assert min(server.requests, key=lambda body: body["messages"][0]["content"]) == {
        "model": "m",
        "messages": [{"role": "user", "content": "What is 0+1?"}],
        "temperature": 0.5,
        "max_tokens": 100,
    }
    entry = gym.summary()["benchmarks"]["sums"]
    assert (entry["tasks"], entry["repeats"], entry["cases"], entry["missing"]) == (6, 2, 12, 0)
    assert entry["metrics"]["pass@1"]["value"] == pytest.approx(5 / 6)
    assert entry["metrics"]["pass^2"]["value"] == pytest.approx(5 / 6)
    assert entry["tasks_passed"] == {"always": 5, "sometimes": 0, "never": 1}
    assert entry["tokens"] == {"input": 120, "output": 60, "reasoning": None}
    rows = gym.results()
    assert [(row["task_id"], row["repeat"]) for row in rows] == [(f"{n:04d}", r) for n in range(6) for r in range(2)]
    assert rows[8]["passed"] is False and rows[8]["extracted"] == "5" and rows[8]["text"] == "It is 5"
    assert (rows[8]["_ng_task_index"], rows[8]["_ng_rollout_index"]) == (4, 0)
    assert not (gym.path / "run" / "journal").exists()
    manifest = gym.manifest()
    assert manifest["exit_code"] == 1 and manifest["model"]["reported"] == "served-model" and manifest["finished"]
    assert manifest["benchmarks"]["sums"]["dataset"]["num_rows"] == 6
    assert "pass@1" in (gym.path / "run" / "summary.md").read_text()


def test_failure_says_what_was_asked_answered_and_expected(gym: Gym, endpoint, how):
    gym.write(rows=3, wrong=(1,))
    result = gym.run(*how, url=endpoint(adder).url)
    result.stdout.fnmatch_lines(
        [
            "*sums 0001-r0*",
            "extracted '2', expected '102'",
            "question: *What is 1+1?",
            "answer: *It is 2",
            "why: *found 2",
            "FAILED sums::0001-r0*",
        ]
    )
    assert "Traceback" not in result.stdout.str() and ".py:" not in result.stdout.str().split("FAILURES")[1]


def test_same_results_in_every_mode(gym: Gym, endpoint):
    gym.write(rows=12, repeats=2, wrong=(3, 7))
    server = endpoint(adder)
    kept = []
    for number, words in enumerate([(), ("-n2", "--dist=worksteal"), ("-n3", "--dist=loadscope")]):
        result = gym.pytester.runpytest_inprocess(
            "--gym-benchmark=sums", "--gym-model=m", f"--gym-base-url={server.url}", f"--gym-output=run{number}", *words
        )
        result.assert_outcomes(passed=20, failed=4)
        kept.append([{**row, "latency_s": 0} for row in gym.results(f"run{number}")])
    assert all(rows == kept[0] for rows in kept)
    assert len(server.requests) == 3 * 24


def test_ten_failures_in_full_and_the_rest_counted(gym: Gym, endpoint):
    gym.write(rows=15, wrong=tuple(range(13)))
    result = gym.run(url=endpoint(adder).url)
    text = result.stdout.str()
    assert text.count("question:") == 10 and "… and 3 more" in text
    result.assert_outcomes(passed=2, failed=13)
    assert (
        gym.run("--gym-show-failures=all", f"--gym-base-url={endpoint(adder).url}", "--gym-model=m").stdout.str().count("question:") == 13
    )


@pytest.mark.parametrize("shown", ["-q", "-v"])
def test_verbosity(gym: Gym, endpoint, shown):
    gym.write(rows=4)
    text = gym.run(shown, url=endpoint(adder).url).stdout.str()
    assert "pass@1" in text
    assert ("odd" in text) == (shown == "-v")


def test_expected_misses(gym: Gym, endpoint, how):
    gym.write(rows=4, wrong=(2,))
    result = gym.run(*how, "--gym-set=wrong_answers=xfail", url=endpoint(adder).url)
    result.assert_outcomes(passed=3, xfailed=1)
    assert result.ret == 0
    assert gym.summary()["benchmarks"]["sums"]["metrics"]["pass@1"]["value"] == 0.75


def test_pytest_own_selection(gym: Gym, endpoint, how):
    gym.write(rows=8, wrong=(5,))
    server = endpoint(adder)
    gym.run(*how, "-k", "0001 or 0005", url=server.url).assert_outcomes(passed=1, failed=1)
    assert len(server.requests) == 2
    entry = gym.summary()["benchmarks"]["sums"]
    assert (entry["cases"], entry["missing"]) == (8, 6)
    assert gym.manifest()["planned"] == {
        "cases": 8,
        "benchmarks": {"sums": {"tasks": 8, "repeats": 1, "subset": "kind"}},
        "selection": {"keyword": "0001 or 0005"},
    }
    run = ["--gym-benchmark=sums", "--gym-model=m", f"--gym-base-url={server.url}", *how]
    again = gym.pytester.runpytest_inprocess(*run, "--lf")
    again.assert_outcomes(failed=1)
    assert len(server.requests) == 3
    pasted = gym.pytester.runpytest_inprocess("sums::0003-r0", *run[1:])
    pasted.assert_outcomes(passed=1)
    assert len(server.requests) == 4
    marked = gym.pytester.runpytest_inprocess(*run, "-m", "math and not judge", "--strict-markers", "--deselect", "sums::0005")
    # xdist does not count what its workers deselected.
    marked.assert_outcomes(passed=7, deselected=0 if how else 1)


def test_collect_only_needs_no_endpoint_and_leaves_nothing(gym: Gym):
    gym.write(rows=3)
    result = gym.run("--co", "-q")
    result.stdout.fnmatch_lines(["sums::0000-r0", "sums::0001-r0", "sums::0002-r0"])
    assert result.ret == 0 and not (gym.path / "gym-results").exists()


def test_junit(gym: Gym, endpoint, how):
    gym.write(rows=13, wrong=tuple(range(12)))
    gym.run(*how, "--junitxml=junit.xml", url=endpoint(adder).url)
    suite = ET.parse(gym.path / "junit.xml").getroot().find("testsuite")
    assert suite is not None
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("13", "12", "0")
    assert len(suite.findall("testcase/failure")) == 12


def test_stops_at_the_first_failure_soon(gym: Gym, endpoint):
    gym.write(rows=60, wrong=tuple(range(60)))
    result = gym.run("-x", "-n2", url=endpoint(adder).url)
    assert result.ret in (1, 2)
    assert 1 <= result.parseoutcomes()["failed"] <= 10
    entry = gym.summary()["benchmarks"]["sums"]
    assert entry["missing"] >= 50
    assert (gym.path / "run" / "journal" / "rollouts.jsonl").stat().st_size > 0


def test_without_the_plugin_or_its_friends(gym: Gym, endpoint):
    gym.write(rows=3)
    url = endpoint(adder).url
    gone = gym.pytester.runpytest_inprocess("-p", "no:gym", "--gym-benchmark=sums")
    assert gone.ret == 4
    for words in (["-p", "no:cacheprovider"], ["-p", "no:terminal"], ["-p", "no:xdist"], ["-s"]):
        result = gym.pytester.runpytest_inprocess("--gym-benchmark=sums", "--gym-model=m", f"--gym-base-url={url}", *words)
        assert result.ret == 0, result.stdout.str() + result.stderr.str()


def test_limit_sample_repeats_and_split(gym: Gym, endpoint):
    gym.write(rows=20)
    server = endpoint(adder)
    gym.run("--gym-limit=3", "--gym-repeats=2", url=server.url).assert_outcomes(passed=6)
    assert gym.summary()["benchmarks"]["sums"]["cases"] == 6
    run = ["--gym-benchmark=sums", "--gym-model=m", f"--gym-base-url={server.url}", "--co", "-q"]
    samples = [gym.pytester.runpytest(*run, f"--gym-limit=5@{seed}").outlines[:5] for seed in (7, 7, 8)]
    assert samples[0] == samples[1] != samples[2]
    folder = gym.path / "benchmarks" / "sums" / "data"
    folder.mkdir()
    (folder / "example.jsonl").write_text(json.dumps({"question": "5+5", "answer": "10", "kind": "odd"}) + "\n")
    gym.pytester.runpytest(*run[:3], "--gym-split=example").assert_outcomes(passed=1)


def test_gym_runs_beside_ordinary_tests(gym: Gym, endpoint, how):
    gym.write(rows=3)
    gym.pytester.makepyfile(test_own="def test_own(): pass\ndef test_bad(): assert 0")
    result = gym.run(*how, "test_own.py", url=endpoint(adder).url)
    result.assert_outcomes(passed=4, failed=1)
    assert gym.summary()["benchmarks"]["sums"]["cases"] == 3


def test_path_of_a_benchmark_selects_it(gym: Gym, endpoint):
    gym.write(rows=3)
    for word in ("benchmarks/sums", "benchmarks/sums/", "benchmarks/sums/config.yaml"):
        gym.pytester.runpytest(word, "--gym-model=m", f"--gym-base-url={endpoint(adder).url}").assert_outcomes(passed=3)


def test_overridden_verifier_and_rollout(gym: Gym, endpoint, how):
    gym.write(rows=3, wrong=(0, 1, 2))
    gym.pytester.makeconftest(
        """
        import pytest
        from pytest_gym import Verdict

        @pytest.fixture
        def verifier(verifier):
            def kind(task, rollout):
                inner = verifier(task, rollout)
                return Verdict(1.0 if task["kind"] == "even" else inner.reward, extracted=inner.extracted)
            return kind
        """
    )
    server = endpoint(adder)
    gym.run(*how, url=server.url).assert_outcomes(passed=2, failed=1)
    assert len(server.requests) == 3
    gym.pytester.makeconftest(
        """
        import pytest
        from pytest_gym import Rollout

        @pytest.fixture
        def rollout(task):
            return Rollout(text="so " + task["answer"])
        """
    )
    result = gym.pytester.runpytest_inprocess(
        "--gym-benchmark=sums", "--gym-model=m", f"--gym-base-url={server.url}", "--gym-output=own", *how
    )
    result.assert_outcomes(passed=3)
    assert len(server.requests) == 3
    assert [row["text"] for row in gym.results("own")] == ["so 101", "so 102", "so 103"]


def test_environment_and_ini_twins(gym: Gym, endpoint, monkeypatch):
    gym.write(rows=3)
    server = endpoint(adder)
    gym.pytester.makeini(f"[pytest]\ngym_model = from-ini\ngym_base_url = {server.url}\ngym_set =\n    sampling.temperature=0.25\n")
    gym.pytester.runpytest("--gym-benchmark=sums", "--gym-limit=1").assert_outcomes(passed=1)
    assert (server.requests[-1]["model"], server.requests[-1]["temperature"]) == ("from-ini", 0.25)
    monkeypatch.setenv("GYM_MODEL", "from-env")
    monkeypatch.setenv("GYM_LIMIT", "1")
    gym.pytester.runpytest("--gym-benchmark=sums").assert_outcomes(passed=1)
    assert server.requests[-1]["model"] == "from-env"
    gym.pytester.runpytest("--gym-benchmark=sums", "--gym-model=typed", "--gym-set=sampling.temperature=1").assert_outcomes(passed=1)
    assert (server.requests[-1]["model"], server.requests[-1]["temperature"]) == ("typed", 1)
    # The twins alone start nothing.
    monkeypatch.setenv("GYM_BENCHMARK", "sums")
    assert gym.pytester.runpytest().ret == 5


def test_thinking_is_kept_apart(gym: Gym, endpoint):
    gym.write(rows=3)

    def think(body, number):
        answer = adder(body, number)[1]["choices"][0]["message"]["content"]
        return [
            chat(f"<think>maybe 999</think>\n\n{answer}"),
            chat(answer, reasoning_content="maybe 999"),
            chat(f"<think>{answer}"),
        ][int(body["messages"][0]["content"][8])]

    gym.run(url=endpoint(think).url).assert_outcomes(passed=2, failed=1)
    rows = gym.results()
    assert [row["text"] for row in rows] == ["It is 1", "It is 2", ""]
    assert "maybe 999" in rows[0]["reasoning"] and rows[1]["reasoning"] == "maybe 999"
    assert gym.summary()["benchmarks"]["sums"]["rates"]["empty"] == pytest.approx(1 / 3)


def test_an_overridden_fixture_shows_in_the_manifest(gym: Gym, endpoint):
    gym.write(rows=2)
    url = endpoint(adder).url
    gym.run(url=url)
    gym.pytester.makeconftest("import pytest\n@pytest.fixture\ndef verifier(verifier): return verifier")
    run = ["--gym-benchmark=sums", "--gym-model=m", f"--gym-base-url={url}", "--gym-output=own"]
    gym.pytester.runpytest_inprocess(*run).assert_outcomes(passed=2)
    before, after = (gym.manifest(folder)["benchmarks"]["sums"] for folder in ("run", "own"))
    assert (before["overridden"], after["overridden"]) == ([], ["verifier"])
    assert before["fingerprint"] != after["fingerprint"]


def test_a_hidden_override_is_told(gym: Gym, endpoint):
    gym.write(rows=2)
    gym.pytester.makepyfile(helper="import pytest\n@pytest.fixture\ndef verifier(): raise RuntimeError('never called')")
    gym.pytester.makeconftest("pytest_plugins = ['helper']")
    result = gym.run(url=endpoint(adder).url, subprocess=True)
    result.assert_outcomes(passed=2, warnings=1)
    result.stdout.fnmatch_lines(["*the fixture 'verifier' of helper is hidden*conftest.py itself*"])


CRASH = """
import os, pathlib, pytest

@pytest.fixture
def verifier(verifier):
    def fatal(task, rollout):
        mark = pathlib.Path("crashed")
        if task["question"] == "3+1" and (ALWAYS or not mark.exists()):
            mark.touch()
            os._exit(1)
        return verifier(task, rollout)
    return fatal
"""


@pytest.mark.parametrize("always", [False, True])
def test_a_crashed_worker(gym: Gym, endpoint, always):
    gym.write(rows=12)
    gym.pytester.makeconftest(CRASH.replace("ALWAYS", str(always)))
    server = endpoint(adder)
    result = gym.run("-n2", url=server.url)
    assert len(server.requests) == 12
    entry = gym.summary()["benchmarks"]["sums"]
    if always:
        result.assert_outcomes(passed=11, errors=1)
        result.stdout.fnmatch_lines(["*crash: two workers died while running sums::0003-r0*"])
        assert entry["errors"] == {"crash": 1} and entry["missing"] == 1
    else:
        assert result.parseoutcomes()["passed"] == 12 and result.ret == 0
        assert entry["errors"] == {} and entry["missing"] == 0


def test_github_job_summary(gym: Gym, endpoint, monkeypatch):
    gym.write(rows=2)
    page = gym.path / "page.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(page))
    gym.run(url=endpoint(adder).url)
    assert "pass@1" in page.read_text()


def test_repeats_that_cannot_vary_are_told(gym: Gym, endpoint):
    gym.write(rows=3, repeats=2)
    assert "caching server" in gym.run(url=endpoint(adder).url).stdout.str()


@pytest.mark.skipif(os.name == "nt", reason="limits of open files are POSIX")
def test_open_file_limit_is_raised_or_the_connections_lowered(gym: Gym, endpoint):
    gym.write(rows=3)
    run = f"--gym-benchmark=sums --gym-model=m --gym-base-url={endpoint(adder).url}"
    for limits, said in (("-Sn 64", "600 requests at once"), ("-n 200", "72 connections instead of 600")):
        command = f"ulimit {limits}; exec {sys.executable} -m pytest {run} --gym-concurrency=600"
        result = gym.pytester.run("bash", "-c", command)
        assert result.ret == 0 and said in result.stdout.str()


def test_skipped_cases_are_missing(gym: Gym, endpoint):
    gym.write(rows=6)
    gym.pytester.makeconftest(
        """
        import pytest

        def pytest_collection_modifyitems(items):
            items[1].add_marker(pytest.mark.skip(reason="not today"))

        @pytest.fixture(autouse=True)
        def _some(task):
            if task["question"] == "3+1":
                pytest.skip("nor this")
        """
    )
    gym.run(url=endpoint(adder).url).assert_outcomes(passed=4, skipped=2)
    entry = gym.summary()["benchmarks"]["sums"]
    assert entry["missing"] == 2 and entry["errors"] == {}


@pytest.mark.parametrize("words", [("--setup-plan",), ("--fixtures",), ("--fixtures-per-test",), ("--cache-show",), ("--co",)])
def test_what_only_looks_asks_nobody(gym: Gym, endpoint, words):
    gym.write(rows=3)
    server = endpoint(adder)
    result = gym.run(*words, url=server.url)
    assert result.ret == 0, result.stdout.str() + result.stderr.str()
    assert not server.requests and not (gym.path / "run").exists()


def test_an_override_that_wraps_ours_is_counted_once(gym: Gym, endpoint, how):
    gym.write(rows=6)
    gym.pytester.makeconftest(
        """
        import dataclasses, pytest

        @pytest.fixture
        def rollout(rollout):
            return dataclasses.replace(rollout, text="\\ud800 " + rollout.text)
        """
    )
    gym.run(*how, url=endpoint(adder).url).assert_outcomes(passed=6)
    summary = gym.summary()
    assert summary["requests"] == 6 and summary["benchmarks"]["sums"]["tokens"]["input"] == 60
    assert all(row["text"].startswith("\ud800 It is") for row in gym.results())


ASYNC = """
import asyncio, os
from pytest_gym import Rollout, Task, Verdict, verifier

@verifier
async def slow(task: Task, rollout: Rollout) -> Verdict:
    with open(os.environ["CALLS"], "a") as calls:
        calls.write(task.id + "\\n")
    await asyncio.sleep(0.2)
    if task["question"] == "1+1":
        raise ValueError("odd")
    if task["question"] == "2+1":
        raise asyncio.CancelledError
    return Verdict(float(task["answer"] in rollout.text))
"""


def test_an_async_verifier_judges_each_case_once_while_others_are_asked(gym: Gym, endpoint, how, monkeypatch):
    gym.write(rows=12, wrong=(5,), verifier="slow")
    (gym.path / "verifiers" / "slow.py").write_text(ASYNC.replace("\\\\", "\\"))
    monkeypatch.setenv("CALLS", str(gym.path / "calls"))
    result = gym.run(*how, "--gym-concurrency=2", url=endpoint(adder).url)
    result.assert_outcomes(passed=9, failed=1, errors=2)
    assert sorted((gym.path / "calls").read_text().split()) == [f"{n:04d}" for n in range(12)]
    assert gym.summary()["benchmarks"]["sums"]["errors"] == {"verifier": 2}
    assert "ValueError: odd" in result.stdout.str()


HARNESS = """
import asyncio
from pytest_gym import Message, harness

@harness
async def twice(task, model):
    if task["question"] == "1+1":
        raise ValueError("odd")
    if task["question"] == "2+1":
        pending = asyncio.ensure_future(asyncio.sleep(10))
        pending.cancel()
        await pending
    if task["question"] == "3+1":
        return None
    first = await model.ask(model.prompt)
    again = (*model.prompt, first.message, Message("user", "What is 1+1?"))
    return model.rollout(again, await model.ask(again))
"""


def test_a_harness_of_a_users_own(gym: Gym, endpoint, how):
    gym.write(rows=6)
    (gym.path / "harnesses").mkdir()
    (gym.path / "harnesses" / "twice.py").write_text(HARNESS)
    config = gym.path / "benchmarks" / "sums" / "config.yaml"
    config.write_text(config.read_text() + "  harness: twice\n")
    result = gym.run(*how, url=endpoint(adder).url)
    result.assert_outcomes(passed=0, failed=3, errors=3)
    assert gym.summary()["benchmarks"]["sums"]["errors"] == {"harness": 3}
    row = gym.results()[0]
    assert len(row["messages"]) == 4 and row["usage"]["input_tokens"] == 20 and row["attempts"] == 2


@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_keeps_what_came(gym: Gym, endpoint, how, number):
    gym.write(rows=200)

    def slow(body, asked):
        time.sleep(0.05)
        return adder(body, asked)

    server = endpoint(slow)
    words = ["--gym-benchmark=sums", "--gym-model=m", f"--gym-base-url={server.url}", "--gym-output=run", "--gym-concurrency=4", *how]
    command = [sys.executable, "-m", "pytest", *words]
    process = subprocess.Popen(command, cwd=gym.path, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    wait_until(lambda: len(server.requests) > 20, 60)
    process.send_signal(number)
    out = process.communicate(timeout=30)[0].decode()
    assert process.returncode == 2, out
    assert "scorecard" in out and "INTERNALERROR" not in out
    landed = (gym.path / "run" / "journal" / "rollouts.jsonl").read_text().splitlines()
    assert len(landed) == len(server.requests)
    assert gym.manifest()["exit_code"] == 2
