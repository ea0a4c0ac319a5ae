"""Suites: selected like a benchmark, with settings and gates, and everything that can be wrong with one."""

from __future__ import annotations

import pytest

from tests.conftest import Gym, adder

SUITES = """
inner:
  suite: {benchmarks: [sums], settings: ["sums.num_repeats=3", "sampling.max_tokens=7"]}
release:
  description: What a release is held against
  suite:
    benchmarks: [inner, "mo*"]
    settings: ["sums.num_repeats=2"]
    gates: ["sums: pass@1 >= 0.5", "errors <= 0"]
"""


def write(gym: Gym, text: str = SUITES) -> None:
    gym.write(rows=3)
    gym.write(rows=2, name="more")
    (gym.path / "benchmarks" / "suites").mkdir()
    (gym.path / "benchmarks" / "suites" / "config.yaml").write_text(text)


def test_a_suite_brings_benchmarks_settings_and_gates(gym: Gym, endpoint, how):
    write(gym)
    result = gym.run(*how, "--gym-set=sampling.temperature=0.1", url=endpoint(adder).url, benchmark="release")
    result.assert_outcomes(passed=2 * 3 + 2 + 3)
    manifest = gym.manifest()
    assert list(manifest["benchmarks"]) == ["sums", "more"]
    assert manifest["benchmarks"]["sums"]["num_repeats"] == 2
    assert manifest["benchmarks"]["more"]["sampling"] == {"temperature": 0.1, "max_tokens": 7}
    assert [gate["gate"] for gate in gym.summary()["gates"]] == ["sums: pass@1 >= 0.5", "sums: errors <= 0", "more: errors <= 0"]


def test_suites_are_listed_and_shown(gym: Gym):
    write(gym)
    listed = gym.pytester.runpytest("--gym-list")
    listed.stdout.fnmatch_lines(["suites", "  inner: sums", "  release: What a release is held against"])
    shown = gym.pytester.runpytest("--gym-show=release").stdout
    shown.fnmatch_lines(["release", "benchmarks", "  sums", "  more", "settings", "gates", "  sums: pass@1 >= 0.5", "config*config.yaml:4"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: {suite: {benchmarks: [b]}}\nb: {suite: {benchmarks: [a]}}", "suites name each other in a circle: a -> b -> a"),
        ("a: {suite: {benchmarks: [summs]}}", "suite 'a': there is no benchmark 'summs'; did you mean 'sums'"),
        ("a: {suite: {benchmarks: []}}", "suite 'a' names no benchmark"),
        ("a: {suite: {benchmark: [sums]}}", "has no key 'benchmark'"),
        ("a: {suite: [sums]}", "suite must be a mapping"),
        ("a: {suite: {benchmarks: [sums], settings: [nonsense]}}", "'nonsense' is not NAME=VALUE"),
        ("a: {suite: {benchmarks: [sums], gates: ['pass@1 >> 1']}}", "expected a number"),
        ("a: {suite: {benchmarks: [sums]}, datasets: [{path: x}]}", "a block is a benchmark or a suite"),
    ],
)
def test_what_can_be_wrong_with_one(gym: Gym, text, said):
    write(gym, text)
    result = gym.run("--gym-model=m", "--gym-base-url=http://127.0.0.1:1", benchmark="a")
    assert result.ret == 4
    assert said in result.stderr.str(), result.stderr.str()
