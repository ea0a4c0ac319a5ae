"""`--gym-by`: scores apart by any field of the tasks, in a run and of a stored one."""

from __future__ import annotations

import json

import pytest

from tests.conftest import Gym, adder


@pytest.fixture
def levels(gym: Gym, endpoint) -> Gym:
    """The run `run` of 12 tasks, of which two are wrong; rows 0 to 3 have level 1, the next four level 2, the last four none."""
    gym.write(rows=12, wrong=(3, 5))
    rewrite(gym, lambda number, row: {**row, "level": number // 4 + 1} if number < 8 else row)
    gym.url = endpoint(adder).url  # type: ignore[attr-defined]
    return gym


def rewrite(gym: Gym, change) -> None:
    path = gym.path / "benchmarks/sums/sums.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(change(number, row)) + "\n" for number, row in enumerate(rows)))


def values(entry: dict) -> dict[str, float]:
    return {name: subset["metrics"]["pass@1"]["value"] for name, subset in entry["subsets"].items()}


def test_a_run_by_a_field(levels: Gym):
    result = levels.run("--gym-by=level", url=levels.url)
    result.stdout.fnmatch_lines(["  subset * tasks  score  95% interval*", "  1 * 4  0.750*", "  2 * 4  0.750*"])
    assert values(levels.summary()["benchmarks"]["sums"]) == {"1": 0.75, "2": 0.75}
    # The benchmark's own subsets stay what they are in the file that others read.
    stored = levels.run("--gym-profile=run", "--gym-json", benchmark=None)
    assert set(json.loads(stored.stdout.str())["benchmarks"]["sums"]["summary"]["subsets"]) == {"even", "odd"}


def test_a_stored_run_by_a_field(levels: Gym):
    levels.run(url=levels.url)
    result = levels.run("--gym-profile=run", "--gym-by=level", benchmark=None)
    result.stdout.fnmatch_lines(["  1 * 4  0.750*", "  2 * 4  0.750*"])
    result.stdout.no_fnmatch_line("  even *")
    result = levels.run("--gym-compare=run,run", "--gym-by=level", benchmark=None)
    result.stdout.fnmatch_lines(["  subset *", "  1 *", "  2 *"])
    # Rows that have changed since are no longer known.
    rewrite(levels, lambda number, row: {**row, "level": 9} if number == 0 else row)
    result = levels.run("--gym-profile=run", "--gym-by=level", benchmark=None)
    result.stdout.fnmatch_lines(
        ["  1 * 3  0.667*", "run: 1 tasks of sums have other rows today, or none, and are in no group of --gym-by=level"]
    )


def test_what_cannot_be(levels: Gym):
    result = levels.run("--gym-by=leval", url=levels.url)
    assert result.ret == pytest.ExitCode.USAGE_ERROR and not (levels.path / "run").exists()
    result.stderr.fnmatch_lines(["ERROR: --gym-by=leval: the tasks of sums have no field 'leval'; did you mean 'level'?*"])
    levels.run(url=levels.url)
    result = levels.run("--gym-profile=run", "--gym-by=leval", benchmark=None)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: run: --gym-by=leval: the tasks of sums have no field 'leval'*"])
    (levels.path / "benchmarks/sums/sums.jsonl").unlink()
    result = levels.run("--gym-profile=run", "--gym-by=level", benchmark=None)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: run: the rows of sums are not at hand, and --gym-by needs them: --gym-prepare=sums fetches them"])
    result = levels.run("--gym-list", "--gym-by=level", benchmark=None)
    result.stderr.fnmatch_lines(["ERROR: --gym-by goes with a run, --gym-profile or --gym-compare, not with --gym-list"])
