"""Gates as pytest shows them: terminal, JUnit and exit code agree, serially and under xdist."""

from __future__ import annotations

import json
import threading
import xml.etree.ElementTree as ElementTree

import pytest

from tests.conftest import Gym, adder, sources
from tests.endpoint import chat

GATES = tuple(f"--gym-gate={gate}" for gate in ("sums: pass@1 >= 0.8", "pass@1 >= 0.8 at 95%", "errors <= 0", "min_subset(pass@1) > 0.9"))


def junit(gym: Gym) -> dict[str, str | None]:
    """Gate → its failure's message."""
    cases = ElementTree.parse(gym.path / "junit.xml").iter("testcase")
    gates = [case for case in cases if case.get("classname") == "gates"]
    return {case.get("name") or "": None if (f := case.find("failure")) is None else f.get("message") for case in gates}


def test_gates_are_tests_and_wrong_answers_are_not(gym: Gym, endpoint, how):
    gym.write(rows=20, wrong=(1, 3))
    result = gym.run(*GATES, "--junitxml=junit.xml", *how, url=endpoint(adder).url)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(passed=20, xfailed=2, failed=2)
    result.stdout.fnmatch_lines(
        [
            "FAILED gates::sums: pass@1 >= 0.8 at 95%*not decided: *",
            "FAILED gates::sums: min_subset(pass@1) > 0.9*failed: odd: *",
            "gate passed * sums: pass@1 >= 0.8",
            "gate not decided * sums: pass@1 >= 0.8 at 95%",
        ]
    )
    found = junit(gym)
    assert [name for name, failure in found.items() if failure is None] == ["sums: pass@1 >= 0.8", "sums: errors <= 0"]
    assert found["sums: pass@1 >= 0.8 at 95%"].startswith("not decided:") and found["sums: min_subset(pass@1) > 0.9"].startswith("failed:")
    gates = gym.summary()["gates"]
    assert [(gate["decided"], gate["passed"]) for gate in gates] == [(True, True), (False, False), (True, True), (True, False)]
    assert gates[0]["value"] == 0.9 and len(gates[1]["ci95"]) == 2 and gym.manifest()["exit_code"] == 1
    assert gym.manifest()["options"]["gate"] == [word.partition("=")[2] for word in GATES]


def test_all_gates_pass(gym: Gym, endpoint):
    gym.write(rows=20, wrong=(1,))
    result = gym.run("--gym-gate=pass@1 >= 0.9", "-v", url=endpoint(adder).url)
    assert result.ret == 0
    result.assert_outcomes(passed=20, xfailed=1)
    result.stdout.fnmatch_lines(["gates::sums: pass@1 >= 0.9 PASSED*"])


def test_gates_of_pyproject_and_of_the_config_hold_too(gym: Gym, endpoint):
    gym.write(rows=4)
    ini = gym.path / "tox.ini"
    ini.write_text(ini.read_text() + "\ngym_gates =\n    pass@1 >= 0.1\n    errors <= 3\n")
    config = gym.path / "benchmarks/sums/config.yaml"
    config.write_text(config.read_text() + '  gates: ["mean_reward >= 0.2"]\n')
    result = gym.run("--gym-gate=pass@1 > 0.3", url=endpoint(adder).url)
    assert result.ret == 0
    assert [gate["gate"] for gate in gym.summary()["gates"]] == [
        "sums: pass@1 > 0.3",
        "sums: pass@1 >= 0.1",
        "sums: errors <= 3",
        "sums: mean_reward >= 0.2",
    ]


def failing(*numbers: int):
    def script(body, number):
        asked = body["messages"][-1]["content"]
        return (400, {"error": {"message": "no"}}) if any(asked == f"What is {n}+1?" for n in numbers) else adder(body, number)

    return script


def test_tolerated_errors_are_skipped_and_the_gates_decide(gym: Gym, endpoint, how):
    gym.write(rows=10)
    url = endpoint(failing(2, 5)).url
    result = gym.run("--gym-gate=pass@1 >= 0.7", "--gym-max-errors=20%", "-rs", *how, url=url)
    result.assert_outcomes(passed=9, skipped=2)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["SKIPPED * missing, within --gym-max-errors=20%: bad_request: *"])
    again = gym.run("--gym-gate=pass@1 >= 0.7", "--gym-max-errors=1", "--gym-resume=run", *how, benchmark=None)
    again.assert_outcomes(passed=8, skipped=1, errors=1, failed=1)
    assert again.ret == 1


def test_what_was_left_out_passes_no_gate(gym: Gym, endpoint):
    gym.write(rows=10)
    url = endpoint(adder).url
    result = gym.run("--gym-gate=pass@1 >= 0.1", "-k", "0001 or 0002", url=url)
    assert result.ret == 1
    result.stdout.fnmatch_lines(["not decided: 8 of 10 planned cases were left out (-k, -m, --lf, -x or a stop)*"])
    resumed = gym.run("--gym-gate=pass@1 >= 0.1", "--gym-limit=3", "--gym-output=three", *(f"--gym-base-url={url}", "--gym-model=m"))
    assert resumed.ret == 0 and "sums: 3 of 10 tasks" in resumed.stdout.str()


def test_a_demo_passes_no_gate(gym: Gym):
    gym.write(rows=4)
    result = gym.run("--gym-demo", "--gym-gate=pass@1 >= 0.1")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["not decided: a simulated model answered (--gym-demo)*"])


def test_nothing_judged_is_a_usage_error(gym: Gym, endpoint):
    gym.write(rows=3)
    result = gym.run("--gym-gate=pass@1 >= 0", url=endpoint(failing(0, 1, 2)).url)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert gym.summary()["gates"][0]["decided"] is False and gym.manifest()["exit_code"] == 4


def test_x_counts_errors_and_not_wrong_answers(gym: Gym, endpoint):
    gym.write(rows=10, wrong=(0, 1, 2))
    result = gym.run("--gym-gate=pass@1 >= 0.5", "-x", url=endpoint(adder).url)
    result.assert_outcomes(passed=8, xfailed=3)
    assert result.ret == 0


def test_a_baseline(gym: Gym, endpoint):
    gym.write(rows=200, wrong=(1, 2))
    url = endpoint(adder).url
    gym.run(url=url)
    words = (f"--gym-base-url={url}", "--gym-model=other", "--gym-baseline=run")
    result = gym.run("--gym-gate=pass@1 >= baseline - 3% at 95%", "--gym-gate=flips <= 0", "--gym-output=new", *words)
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        [
            "gym: gate sums: pass@1 >= baseline - 3% at 95%: a model exactly as good as the baseline passes in about *",
            "sums: +0.0 points [[]-1.9, +1.9[]] from run, p 1.000; 0 tasks better, 0 worse",
            "  pytest --gym-compare=run,new",
        ]
    )

    def worse(body, number):
        return chat("It is 0") if any(f"What is {n}+1?" == body["messages"][-1]["content"] for n in range(50, 70)) else adder(body, number)

    gates = ("pass@1 >= baseline - 3% at 95% waive sampling", "pass@1 >= baseline", "flips <= 19 waive sampling")
    words = (f"--gym-base-url={endpoint(worse).url}", "--gym-model=worse", "--gym-baseline=run", "--gym-output=third")
    result = gym.run(*(f"--gym-gate={gate}" for gate in gates), "--gym-set=sampling.temperature=1", *words)
    assert result.ret == 1
    gates = json.loads((gym.path / "third/summary.json").read_text())["gates"]
    assert [(gate["decided"], gate["passed"]) for gate in gates] == [(True, False), (False, False), (True, False)]
    assert "waived: sampling" in gates[0]["message"] and "sampling.temperature 0.5 there, 1" in gates[1]["message"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--gym-gate=pas@1 >= 3",), ["there is no metric 'pas@1'", "  pas@1 >= 3", "  ^"]),
        (("--gym-gate=suns: pass@1 >= 0.3",), ["names no benchmark of this run; did you mean 'sums'?"]),
        (("--gym-gate=pass@8 >= 0.3", "--gym-repeats=4"), ["pass@8 needs 8 repeats, sums has 4; --gym-repeats=8"]),
        (("--gym-gate=flips <= 3",), ["compares with a baseline: give --gym-baseline=RUN"]),
        (("--gym-gate=pass@1 >= baseline", "--gym-baseline=nothing"), ["nothing: is no run folder"]),
        (("--gym-gate=sums[kind=blue]: pass@1 > 0.1",), ["no task of sums has kind=blue"]),
        (("--gym-gate=sums[colour=blue]: pass@1 > 0.1",), ["the subsets of sums go by 'kind', not by 'colour'"]),
        (("--gym-gate=pass@1 > 0.1", "--gym-max-errors=many"), ["--gym-max-errors=many: must be a number of cases"]),
    ],
)
def test_a_gate_that_cannot_be_meant(gym: Gym, endpoint, words, said):
    gym.write(rows=3)
    server = endpoint(adder)
    result = gym.run(*words, url=server.url)
    assert result.ret == pytest.ExitCode.USAGE_ERROR and not server.requests and not (gym.path / "run").exists()
    for line in said:
        assert line in result.stderr.str()


@pytest.mark.parametrize(("wrong", "gate", "code"), [((), "pass@1 >= 0.3", 0), (tuple(range(30)), "pass@1 >= 0.8", 1)])
def test_a_run_stops_when_its_gates_are_decided(gym: Gym, endpoint, how, wrong, gate, code):
    gym.write(rows=60, wrong=wrong)
    words = (f"--gym-gate={gate}", "--gym-stop-when-decided", "--gym-concurrency=2", "--junitxml=junit.xml", *how)
    held = threading.Event()

    def script(body, number):
        # Whoever asks for the last cases waits: a run that needs them does not end.
        if any(body["messages"][-1]["content"] == f"What is {n}+1?" for n in range(50, 60)):
            held.wait(20)
        return adder(body, number)

    server = endpoint(script)
    result = gym.run(*words, url=server.url)
    held.set()
    assert result.ret == code
    summary, manifest = gym.summary(), gym.manifest()
    spared = summary["stopped_when_decided"]["not_asked"]
    assert manifest["stopped_when_decided"] == {"rule": "exact", "not_asked": spared} and manifest["exit_code"] == code
    found = summary["gates"][0]
    assert (found["decided"], found["passed"]) == (True, code == 0)
    assert 10 <= spared < 60 and summary["benchmarks"]["sums"]["missing"] == spared and len(server.requests) < 60
    result.stdout.fnmatch_lines([f"all gates are decided: {spared} of 60 cases were neither run nor reported"])
    # A report for each case that was asked, and one for the gate.
    assert len(list(ElementTree.parse(gym.path / "junit.xml").iter("testcase"))) == 60 - spared + 1
    assert "skipped" not in result.parseoutcomes() and "errors" not in result.parseoutcomes()


def test_a_run_that_stopped_early_is_no_baseline_and_goes_on(gym: Gym, endpoint):
    gym.write(rows=30)
    url = endpoint(adder).url
    gym.run("--gym-gate=pass@1 >= 0.3", "--gym-stop-when-decided", "--gym-concurrency=1", url=url)
    words = (f"--gym-base-url={url}", "--gym-model=m", "--gym-output=new")
    result = gym.run("--gym-gate=pass@1 >= baseline", "--gym-baseline=run", *words)
    assert result.ret == 1
    result.stdout.fnmatch_lines(["not decided: the baseline run was stopped when its own gates were decided*"])
    resumed = gym.run("--gym-resume=run", "--gym-gate=pass@1 >= 0.3", benchmark=None)
    assert resumed.ret == 0 and gym.summary()["benchmarks"]["sums"]["missing"] == 0
    assert "stopped_when_decided" not in gym.summary() | gym.manifest()


def test_what_cannot_be_decided_early_is_asked_to_the_end(gym: Gym, endpoint):
    gym.write(rows=12)
    url = endpoint(adder).url
    result = gym.run("--gym-gate=pass@1 >= 0.1", "--gym-gate=errors <= 0", "--gym-stop-when-decided", url=url)
    assert result.ret == 0 and "stopped_when_decided" not in gym.summary()
    without = gym.run("--gym-stop-when-decided", f"--gym-base-url={url}", "--gym-model=m", "--gym-output=other")
    assert without.ret == pytest.ExitCode.USAGE_ERROR and "there is no gate to be decided" in without.stderr.str()


def test_gates_on_a_stored_run(gym: Gym, endpoint):
    gym.write(rows=20, wrong=(1, 3))
    url = endpoint(adder).url
    gym.run(url=url)
    gates = ("--gym-gate=pass@1 >= 0.8", "--gym-gate=sums[kind=odd]: pass@1 >= 0.9", "--gym-gate=flips <= 0", "--gym-baseline=run")
    result = gym.run("--gym-profile=run", *gates, benchmark=None)
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        ["gate passed * sums: pass@1 >= 0.8", "gate failed * sums[[]kind=odd]: pass@1 >= 0.9", "gate passed * sums: flips <= 0"]
    )
    assert gym.run("--gym-profile=run", gates[0], benchmark=None).ret == 0
    told = json.loads(gym.run("--gym-profile=run", *gates, "--gym-json", benchmark=None).stdout.str())["gates"]
    assert [(gate["decided"], gate["passed"]) for gate in told] == [(True, True), (True, False), (True, True)]
    for words, said in ((("--gym-gate=suns: pass@1 > 0",), "names no benchmark"), (("--gym-gate=flips <= 0",), "--gym-baseline=RUN")):
        refused = gym.run("--gym-profile=run", *words, benchmark=None)
        assert refused.ret == pytest.ExitCode.USAGE_ERROR and said in refused.stderr.str()


def test_gates_on_merged_runs(gym: Gym, endpoint):
    gym.write(rows=20, wrong=(1, 3))
    url = endpoint(adder).url
    for shard in ("1/2", "2/2"):
        name = f"--gym-output=s{shard[0]}"
        gym.run(f"--gym-shard={shard}", name, f"--gym-base-url={url}", "--gym-model=m")
    gates = ("--gym-gate=pass@1 >= 0.9", "--gym-gate=missing <= 0")
    whole = gym.run("--gym-aggregate=s1,s2", "--gym-output=whole", *gates, benchmark=None)
    assert whole.ret == 0 and [gate["passed"] for gate in gym.summary("whole")["gates"]] == [True, True]
    whole.stdout.fnmatch_lines(["gate passed * sums: pass@1 >= 0.9"])
    half = gym.run("--gym-aggregate=s1", "--gym-output=half", *gates, benchmark=None)
    assert half.ret == 1 and [gate["decided"] for gate in gym.summary("half")["gates"]] == [False, True]
    refused = gym.run("--gym-aggregate=s1,s2", "--gym-output=no", "--gym-gate=pass@9 > 0", benchmark=None)
    assert refused.ret == pytest.ExitCode.USAGE_ERROR and not (gym.path / "no").exists()


@pytest.mark.parametrize(("right", "code", "verdict"), [(150, 0, "passed"), (75, 1, "failed"), (130, 1, "not decided")])
def test_gsm8k_against_its_gate(gym: Gym, endpoint, right, code, verdict):
    lines = (sources() / "gsm8k" / "test.jsonl").read_text(encoding="utf-8").splitlines()[:150]
    rows = [json.loads(line) for line in lines]
    known = {row["question"].strip(): row["answer"].rpartition("####")[2].strip() for row in rows[:right]}

    def script(body, number):
        asked = body["messages"][-1]["content"]
        return chat(next((f"\\boxed{{{answer}}}" for question, answer in known.items() if question in asked), "I do not know."))

    gate = "gsm8k: pass@1 >= 0.85 at 95%"
    words = (f"--gym-gate={gate}", "--gym-limit=150", "--junitxml=junit.xml")
    result = gym.run(*words, url=endpoint(script).url, benchmark="gsm8k")
    assert result.ret == code == gym.manifest()["exit_code"]
    result.stdout.fnmatch_lines([f"gate {verdict} * {gate}"])
    failure = junit(gym)[gate]
    assert failure is None if code == 0 else (failure or "").startswith(f"{verdict}: ")
    found = gym.summary()["gates"][0]
    assert (found["value"], found["passed"], found["decided"]) == (right / 150, code == 0, verdict != "not decided")
