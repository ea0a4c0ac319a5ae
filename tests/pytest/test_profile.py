"""`--gym-profile` on finished, stopped and odd runs."""

from __future__ import annotations

import json

import pytest

from pytest_gym.profile import of_benchmark
from pytest_gym.report.layout import plain
from pytest_gym.report.profile import profile_text
from tests.conftest import Gym, adder
from tests.endpoint import chat
from tests.test_compare import manifest, scored, tasks


def test_a_run_in_detail(gym: Gym, endpoint):
    gym.write(rows=12, repeats=2, wrong=(3,))
    seen: dict[str, int] = {}

    def script(body, number):
        question = body["messages"][-1]["content"]
        seen[question] = seen.get(question, 0) + 1
        flaky = question == "What is 5+1?" and seen[question] == 2
        return chat("It is", finish="length") if flaky else adder(body, number)

    gym.run(url=endpoint(script).url)
    result = gym.run("--gym-profile=run", benchmark=None)
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        [
            "run    run",
            "model  m",
            "sums * 12 tasks x 2 repeats, all scored",
            "  cases * truncated 1, wrong 2, right 21",
            "  output tokens * median 5*",
            "  hardest tasks  score  spread  verdicts  tokens  seconds",
            "  0003 * 0 * 2 *",
            "  flakiest tasks*",
            "  0005 * 0.5  0.7071 * 2 *",
        ]
    )
    found = json.loads(gym.run("--gym-profile=run", "--gym-json", benchmark=None).stdout.str())["benchmarks"]["sums"]
    assert [row["task_id"] for row in found["tasks"][:2]] == ["0003", "0005"] and len(found["tasks"]) == 12
    assert found["flakiest"] == ["0005"] and sum(found["histogram"]["tasks"]) == 12 and found["classes"]["truncated"] == 1
    metrics = gym.summary()["benchmarks"]["sums"]["metrics"]
    assert found["summary"]["metrics"] == metrics and found["tasks"][0]["latency_s"] > 0


def test_an_unfinished_run(gym: Gym, endpoint):
    gym.write(rows=6)
    gym.run("-k", "0001", url=endpoint(adder).url)
    result = gym.run("--gym-profile=run", benchmark=None)
    result.stdout.fnmatch_lines(["sums * 1 / 6 scored", "run is not finished; --gym-resume=run goes on with it"])


@pytest.mark.parametrize(
    "table",
    [tasks(1), tasks(0, error=2), {"x": ["-"]}, tasks(3), {"x": ["right", "-"], "y": ["error", "wrong"]}],
    ids=["one", "errors", "none", "equal", "mixed"],
)
def test_any_outcomes_have_a_profile(table):
    data = manifest()
    found = {"run": "r", "model": data["model"], "demo": False, "benchmarks": {"sums": of_benchmark(scored(table), data)}}
    json.dumps(found, allow_nan=False)
    shown = plain(profile_text(found))
    assert all(len(line) <= 80 for line in shown.splitlines()) and "sums" in shown


def test_no_such_run(gym: Gym):
    result = gym.run("--gym-profile=nothing", benchmark=None)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: nothing: is no run folder (it has no run.json)*"])
