"""The split into shards, and what each scheduler's environment is read as."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pytest_gym.errors import ConfigError
from pytest_gym.shard import Shard, parse

SLURM = {
    "SLURM_ARRAY_JOB_ID": "17",
    "SLURM_ARRAY_TASK_ID": "2",
    "SLURM_ARRAY_TASK_MIN": "0",
    "SLURM_ARRAY_TASK_MAX": "3",
    "SLURM_ARRAY_TASK_COUNT": "4",
    "SLURM_ARRAY_TASK_STEP": "1",
}
GITLAB = {"GITLAB_CI": "true", "CI_NODE_INDEX": "3", "CI_NODE_TOTAL": "4"}
CIRCLE = {"CIRCLE_NODE_INDEX": "2", "CIRCLE_NODE_TOTAL": "4"}
BUILDKITE = {"BUILDKITE_PARALLEL_JOB": "2", "BUILDKITE_PARALLEL_JOB_COUNT": "4"}
KUBERNETES = {"JOB_COMPLETION_INDEX": "2", "JOB_COMPLETIONS": "4"}
OWN = {"GYM_SHARD_INDEX": "2", "GYM_SHARD_COUNT": "4"}


def shards(count: int) -> list[Shard]:
    return [Shard(index, count) for index in range(1, count + 1)]


@given(st.lists(st.integers(0, 200), max_size=6), st.integers(1, 40))
def test_shards_are_disjoint_whole_and_even(sizes, count):
    benchmarks = [[10_000 * number + row for row in range(size)] for number, size in enumerate(sizes)]
    taken = []
    for shard in shards(count):
        before, own = 0, []
        for rows in benchmarks:
            part = list(shard.take(rows, before))
            assert part == sorted(part)
            own.append(part)
            before += len(rows)
        taken.append(own)
    assert sorted(row for own in taken for part in own for row in part) == [row for rows in benchmarks for row in rows]
    totals = [sum(map(len, own)) for own in taken]
    assert max(totals) - min(totals) <= 1
    for number in range(len(benchmarks)):
        parts = [len(own[number]) for own in taken]
        assert max(parts) - min(parts) <= 1


@given(st.integers(0, 300), st.integers(1, 20), st.integers(0, 100))
def test_the_split_depends_on_positions_alone(size, count, before):
    rows = list(range(size))
    for shard in shards(count):
        renamed = shard.take([row * 7 + 3 for row in rows], before)
        assert renamed == [row * 7 + 3 for row in shard.take(rows, before)]


def test_neighbours_go_to_different_shards():
    assert [list(shard.take(range(7))) for shard in shards(3)] == [[0, 3, 6], [1, 4], [2, 5]]
    # The stride goes on where the benchmark before (of seven rows) has ended.
    assert [list(shard.take(range(4), 7)) for shard in shards(3)] == [[2], [0, 3], [1]]


@given(st.integers(1, 10**6), st.integers(1, 10**6))
def test_typed_shards_are_read(one, other):
    index, count = sorted((one, other))
    shard = parse(f" {index} / {count} ", {})
    assert (shard.index, shard.count) == (index, count)
    assert parse(str(shard), {}) == shard == Shard.from_json(shard.to_json())


@given(st.text(max_size=12))
def test_any_text_is_read_or_refused(text):
    try:
        shard = parse(text, {})
    except ConfigError as error:
        assert str(error).startswith(f"--gym-shard={text}: ") or text.strip().lower() == "auto"
    else:
        assert 1 <= shard.index <= shard.count


@pytest.mark.parametrize("text", ["", "4", "1-4", "1/4/2", "a/b", "-1/4", "1.5/4", "²/4", "٣/4", "1/9999999999"])
def test_what_is_no_shard_is_refused(text):
    with pytest.raises(ConfigError, match=re.escape(f"--gym-shard={text}: must be I/N, such as 2/4 ")):
        parse(text, {})


@pytest.mark.parametrize("text", ["0/4", "5/4", "0/0", "1/0"])
def test_numbers_out_of_range_are_refused(text):
    with pytest.raises(ConfigError, match=rf"--gym-shard={text}: shards are counted from 1 "):
        parse(text, SLURM)


@pytest.mark.parametrize(
    "environ", [SLURM, GITLAB, CIRCLE, BUILDKITE, KUBERNETES, OWN], ids=["slurm", "gitlab", "circleci", "buildkite", "kubernetes", "own"]
)
def test_auto_reads_each_scheduler(environ):
    assert parse("auto", environ) == Shard(3, 4)
    # What is typed counts, whatever the scheduler says.
    assert parse("1/2", environ) == Shard(1, 2)


def test_kubernetes_count_may_have_our_name():
    assert parse("auto", {"JOB_COMPLETION_INDEX": "0", "GYM_SHARD_COUNT": "3"}) == Shard(1, 3)


@pytest.mark.parametrize(
    ("environ", "shard"),
    [
        ({"ID": "1", "MIN": "1", "MAX": "4", "COUNT": "4", "STEP": "1"}, "1/4"),
        ({"ID": "5", "MIN": "1", "MAX": "7", "COUNT": "4", "STEP": "2"}, "3/4"),
        ({"ID": "8", "MIN": "0", "MAX": "12", "COUNT": "4", "STEP": "4"}, "3/4"),
        # The end of a range need not be one of its numbers.
        ({"ID": "8", "MIN": "0", "MAX": "15", "COUNT": "4", "STEP": "4"}, "3/4"),
        # Slurm before 16.05 has neither a count nor a step.
        ({"ID": "3", "MIN": "0", "MAX": "3"}, "4/4"),
        ({"ID": "0", "MIN": "0", "MAX": "0", "COUNT": "1", "STEP": "1"}, "1/1"),
    ],
)
def test_slurm_arrays_of_any_numbering(environ, shard):
    assert str(parse("auto", {f"SLURM_ARRAY_TASK_{name}": value for name, value in environ.items()})) == shard


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        # --array=2,5 and --array=3 of what was --array=0-7: a split of their own would be silently wrong.
        ({"ID": "5", "MIN": "2", "MAX": "5", "COUNT": "2", "STEP": "1"}, "no range from 0 or 1"),
        ({"ID": "3", "MIN": "3", "MAX": "3", "COUNT": "1", "STEP": "1"}, "no range from 0 or 1"),
        ({"ID": "7", "MIN": "1", "MAX": "7", "COUNT": "2", "STEP": "1"}, "no range from 0 or 1"),
        ({"ID": "9", "MIN": "0", "MAX": "3", "COUNT": "4", "STEP": "1"}, "contradict each other"),
        ({"ID": "2", "MIN": "1", "MAX": "7", "COUNT": "4", "STEP": "2"}, "contradict each other"),
        ({"ID": "2", "MIN": "0", "MAX": "3", "COUNT": "4", "STEP": "0"}, "contradict each other"),
        ({"ID": "2"}, "SLURM_ARRAY_TASK_MIN and SLURM_ARRAY_TASK_MAX is not"),
        ({"ID": "x", "MIN": "0", "MAX": "3"}, "SLURM_ARRAY_TASK_ID='x' is not a whole number"),
    ],
)
def test_slurm_arrays_that_do_not_tell(environ, said):
    with pytest.raises(ConfigError, match=f"^--gym-shard=auto: .*{said}") as caught:
        parse("auto", {f"SLURM_ARRAY_TASK_{name}": value for name, value in environ.items()})
    assert "I/N" in str(caught.value) or "whole number" in str(caught.value)


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"JOB_COMPLETION_INDEX": "2"}, "set JOB_COMPLETIONS in the pod's env to the job's spec.completions"),
        ({**KUBERNETES, "GYM_SHARD_COUNT": "5"}, "JOB_COMPLETIONS=4 and GYM_SHARD_COUNT=5 contradict each other"),
        ({"GYM_SHARD_INDEX": "2"}, "GYM_SHARD_COUNT is not"),
        ({"CIRCLE_NODE_INDEX": "2"}, "set CIRCLE_NODE_TOTAL"),
        ({**CIRCLE, "CIRCLE_NODE_INDEX": "4"}, "the number goes from 0 to 3"),
        ({**GITLAB, "CI_NODE_INDEX": "0"}, "the number goes from 1 to 4"),
        ({**BUILDKITE, "BUILDKITE_PARALLEL_JOB": "-1"}, "BUILDKITE_PARALLEL_JOB='-1' is not a whole number"),
        ({**BUILDKITE, "BUILDKITE_PARALLEL_JOB_COUNT": "0"}, "do not fit"),
        # Two that split, and do not agree.
        ({**SLURM, **GITLAB, "CI_NODE_INDEX": "1"}, "Slurm array says 3/4 and GitLab says 1/4; name the shard yourself"),
        ({**OWN, **CIRCLE, "CIRCLE_NODE_INDEX": "0"}, "CircleCI says 1/4 and own variables says 3/4"),
    ],
)
def test_schedulers_that_do_not_tell(environ, said):
    with pytest.raises(ConfigError) as caught:
        parse("auto", environ)
    assert str(caught.value).startswith("--gym-shard=auto: ") and said in str(caught.value)


def test_a_scheduler_of_one_job_does_not_split():
    alone = {"GITLAB_CI": "true", "CI_NODE_TOTAL": "1"}
    assert parse("auto", alone) == Shard(1, 1)
    assert parse("auto", {**alone, **SLURM}) == Shard(3, 4)
    assert parse("auto", {"CIRCLE_NODE_INDEX": "0", "CIRCLE_NODE_TOTAL": "1", **KUBERNETES}) == Shard(3, 4)
    assert parse("auto", {**OWN, **KUBERNETES}) == Shard(3, 4)


@pytest.mark.parametrize("environ", [{}, {"CI_NODE_INDEX": "1", "CI_NODE_TOTAL": "4"}, {"SLURM_JOB_ID": "3"}, {"GYM_SHARD_COUNT": "4"}])
def test_auto_without_a_scheduler_says_what_was_looked_for(environ):
    with pytest.raises(ConfigError) as caught:
        parse("auto", environ)
    for name in (
        "SLURM_ARRAY_TASK_ID",
        "JOB_COMPLETION_INDEX",
        "CI_NODE_INDEX",
        "CIRCLE_NODE_INDEX",
        "BUILDKITE_PARALLEL_JOB",
        "GYM_SHARD_INDEX",
    ):
        assert name in str(caught.value)


def test_auto_on_github_says_what_to_export():
    with pytest.raises(ConfigError, match=re.escape("GYM_SHARD_INDEX: ${{ strategy.job-index }}")):
        parse("auto", {"GITHUB_ACTIONS": "true", "CI": "true"})
    assert parse("auto", {"GITHUB_ACTIONS": "true", **OWN}) == Shard(3, 4)


DOCS = (Path(__file__).parent.parent / "docs" / "shards.md").read_text(encoding="utf-8")


def documented(name: str) -> Any:
    """The content of a YAML file that docs/shards.md shows."""
    shown = re.search(rf"^`{re.escape(name)}`:\n\n```yaml\n(.*?)^```", DOCS, re.M | re.S)
    assert shown
    return yaml.safe_load(shown[1])


def test_the_documented_kubernetes_job_tells_its_shards():
    spec = documented("job.yaml")["spec"]
    given = {entry["name"]: entry.get("value") for entry in spec["template"]["spec"]["containers"][0]["env"]}
    assert spec["completionMode"] == "Indexed"
    assert [str(parse("auto", {**given, "JOB_COMPLETION_INDEX": str(n)})) for n in range(spec["completions"])] == [
        "1/4",
        "2/4",
        "3/4",
        "4/4",
    ]


def test_the_documented_github_workflow_tells_its_shards():
    job = documented(".github/workflows/evaluate.yml")["jobs"]["shard"]
    for index in range(len(job["strategy"]["matrix"]["shard"])):
        context = {"${{ strategy.job-index }}": str(index), "${{ strategy.job-total }}": "4"}
        given = {name: context.get(value, value) for name, value in job["env"].items()}
        assert parse("auto", {"GITHUB_ACTIONS": "true", **given}) == Shard(index + 1, 4)


@pytest.mark.parametrize(
    ("name", "job", "count"),
    [
        (".gitlab-ci.yml", lambda data: data["shard"], "parallel"),
        (".circleci/config.yml", lambda data: data["jobs"]["shard"], "parallelism"),
        (".buildkite/pipeline.yml", lambda data: data["steps"][0], "parallelism"),
    ],
)
def test_documented_pipelines_name_a_folder_for_each_job(name, job, count):
    entry = job(documented(name))
    assert entry[count] == 4
    numbers = re.findall(r"--gym-output=runs/\$+(\w+)", str(entry))
    assert len(numbers) == 1 and numbers[0] in {*GITLAB, *CIRCLE, *BUILDKITE}
    assert "--gym-shard=auto" in str(entry)
