"""`--gym-compare` on run folders, as a user types it."""

from __future__ import annotations

import json

import pytest

from tests.conftest import Gym, adder
from tests.endpoint import chat


@pytest.fixture
def two(gym: Gym, endpoint) -> Gym:
    """The runs `old` and `new`, which differ in one answer that is cut and in max_tokens."""
    gym.write(rows=20, wrong=(3,))
    words = ("--gym-model=m",)

    def cut(body, number):
        return chat("It", finish="length") if "What is 7+" in str(body) else adder(body, number)

    for folder, script, more in (("old", adder, ()), ("new", cut, ("--gym-set=sampling.max_tokens=7",))):
        gym.run(*words, f"--gym-base-url={endpoint(script).url}", f"--gym-output={folder}", *more)
    return gym


def test_two_runs_are_compared(two: Gym):
    result = two.run("--gym-compare=old,new", benchmark=None)
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        [
            "A  old",
            "B  new",
            "differs in",
            "  sums: sampling.max_tokens: 100 -> 7",
            "sums * 20 of 20 tasks paired",
            "  -5.0 points: 5.0 within noise",
            "  pass@1 * A 0.950   B 0.900",
            "  B - A * -5.0 points  [[]-23.6, +11.*[]] 95% interval",
            "  p * 1.000 exact McNemar test",
            "  truncation * -5.0 * 0007",
            "  worse in B * 1 task: 0007",
            "  subset*",
        ]
    )


def test_json_alone_is_on_stdout(two: Gym):
    result = two.run("--gym-compare=old,new", "--gym-json", benchmark=None)
    found = json.loads(result.stdout.str())
    assert found["differs"] == [{"part": "sampling", "what": "sampling.max_tokens", "benchmark": "sums", "a": 100, "b": 7}]
    entry = found["benchmarks"]["sums"]
    keys = ("difference", "ci95", "p_value", "p_holm", "test", "pairs", "only_a", "only_b", "missing_a", "missing_b", "improved", "metrics")
    assert all(key in entry for key in keys) and entry["regressed"] == ["0007"] and set(entry["subsets"]) == {"even", "odd"}


def test_another_verifier_is_told_apart(two: Gym, endpoint):
    verifier = two.path / "verifiers/ends_with.py"
    verifier.write_text(verifier.read_text().replace("found == task[field]", "found is not None"))
    two.run("--gym-model=m", f"--gym-base-url={endpoint(adder).url}", "--gym-output=lax")
    result = two.run("--gym-compare=old,lax", benchmark=None)
    # One task of twenty is all that it moved.
    result.stdout.fnmatch_lines(
        ["  sums: verifier.source: * -> *", "  +5.0 points: 5.0 within noise", "  the verifier*+5.0*+-5.0*within noise*0003"]
    )
    verifier.write_text(verifier.read_text().replace("found is not None", "False"))
    two.run("--gym-model=m", f"--gym-base-url={endpoint(adder).url}", "--gym-output=strict")
    result = two.run("--gym-compare=old,strict", benchmark=None)
    result.stdout.fnmatch_lines(["  -95.0 points: 95.0 from the verifier", "  even: -100.0 points: 100.0 from the verifier"])
    (two.path / "benchmarks/sums/sums.jsonl").write_text('{"question": "1+1", "answer": "2", "kind": "odd"}\n')
    result = two.run("--gym-compare=old,lax", benchmark=None)
    shown = " ".join(result.stdout.str().split())
    assert "sums: the verifiers differ, and what that did to the scores cannot be told: sums: today's dataset" in shown


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("old", "name two run folders, separated by a comma"),
        ("old,new,old", "name two run folders"),
        ("old,nwe", "nwe: is no run folder*new*"),
    ],
)
def test_what_cannot_be_compared(two: Gym, words, said):
    result = two.run(f"--gym-compare={words}", benchmark=None)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: *{said}*"])


def test_runs_of_other_tasks_are_compared_only_when_forced(two: Gym, endpoint):
    rows = "".join(json.dumps({"id": f"n{n}", "question": f"{n}+2", "answer": str(n + 2), "kind": "odd"}) + "\n" for n in range(5))
    (two.path / "benchmarks/sums/sums.jsonl").write_text(rows)
    two.run("--gym-model=m", f"--gym-base-url={endpoint(adder).url}", "--gym-output=other")
    refused = two.run("--gym-compare=old,other", benchmark=None)
    assert refused.ret == pytest.ExitCode.USAGE_ERROR
    forced = two.run("--gym-compare=old,other", "--gym-set=compare.unpaired=true", benchmark=None)
    forced.stdout.fnmatch_lines(["sums * not paired", "*Welch's t test, unpaired"])
