"""Runs of a shard: what is selected and said, under a scheduler's variables, and by the documented job file."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Gym, adder
from tests.pytest.test_aggregate import aggregate, refused


def test_a_shard_too_many_ends_well(gym: Gym, endpoint, how):
    gym.write(rows=2)
    server = endpoint(adder)
    result = gym.run(*how, "--gym-shard=3/3", "--gym-output=part3", url=server.url)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["gym: sums: shard 3 of 3: 0 of 2 tasks × 1", "gym: this shard is empty: *"])
    assert server.requests == [] and gym.results("part3") == [] and gym.manifest("part3")["exit_code"] == 0
    for index in (1, 2):
        gym.run(f"--gym-shard={index}/3", f"--gym-output=part{index}", url=server.url)
    aggregate(gym, "part3", "part2", "part1").stdout.fnmatch_lines(["3 runs merged: 2 of 2 planned cases have a result"])


def test_auto_takes_the_scheduler_s_word(gym: Gym, endpoint, monkeypatch):
    gym.write(rows=4)
    for name, value in {"ID": 6, "MIN": 0, "MAX": 6, "COUNT": 4, "STEP": 2}.items():
        monkeypatch.setenv(f"SLURM_ARRAY_TASK_{name}", str(value))
    monkeypatch.setenv("GYM_SHARD", "auto")
    result = gym.pytester.runpytest_inprocess("--gym-benchmark=sums", "--gym-model=m", f"--gym-base-url={endpoint(adder).url}")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["gym: sums: shard 4 of 4: 1 of 4 tasks × 1"])
    (folder,) = (gym.path / "gym-results").glob("*-sums-4of4")
    assert json.loads((folder / "run.json").read_text())["options"]["shard"] == "4/4"
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "7")
    assert "SLURM_ARRAY_TASK_ID=7" in refused(gym.run(url="http://127.0.0.1:9/v1"))


def test_shards_and_what_is_asked_for_by_name(gym: Gym):
    gym.write(rows=6, repeats=2)
    listed = gym.run("--co", "-q", "--gym-demo", "--gym-shard=2/3")
    listed.stdout.fnmatch_lines(["sums::0001-r0", "sums::0001-r1", "sums::0004-r0", "sums::0004-r1"])
    assert "0000" not in listed.stdout.str()
    # The limit comes first, then the split.
    listed = gym.run("--co", "-q", "--gym-demo", "--gym-shard=2/2", "--gym-limit=3")
    assert [line for line in listed.outlines if "::" in line] == ["sums::0001-r0", "sums::0001-r1"]
    said = refused(gym.run("sums::0000-r1", "--gym-demo", "--gym-shard=2/3", benchmark=None))
    assert "sums has no case '0000-r1' in shard 2/3" in said
    assert "must be I/N, such as 2/4" in refused(gym.run("--gym-demo", "--gym-shard=two"))


@pytest.mark.skipif(shutil.which("bash") is None, reason="a job file is a bash script")
def test_the_documented_job_file_runs_and_goes_on(gym: Gym, endpoint):
    gym.write(rows=5)
    text = (Path(__file__).parents[2] / "docs" / "shards.md").read_text(encoding="utf-8")
    shown = re.search(r"^`evaluate.sbatch`:\n\n```bash\n(.*?)^```", text, re.M | re.S)
    assert shown
    (gym.path / "evaluate.sbatch").write_text(shown[1].replace("gsm8k", "sums"))
    (gym.path / "bin").mkdir()
    (gym.path / "bin" / "pytest").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m pytest "$@"\n')
    (gym.path / "bin" / "pytest").chmod(0o755)
    server = endpoint(lambda body, number: (400, {"error": {"message": "no"}}) if number == 1 else adder(body, number))

    def start(task: int) -> int:
        numbers = {"ID": task, "MIN": 0, "MAX": 1, "COUNT": 2, "STEP": 1}
        environ = {**os.environ, **{f"SLURM_ARRAY_TASK_{name}": str(value) for name, value in numbers.items()}, "SLURM_ARRAY_JOB_ID": "17"}
        environ |= {"GYM_MODEL": "m", "GYM_BASE_URL": server.url, "PATH": f"{gym.path / 'bin'}{os.pathsep}{os.environ['PATH']}"}
        done = subprocess.run(["bash", "evaluate.sbatch"], cwd=gym.path, env=environ, capture_output=True, text=True, check=False)
        assert "Traceback" not in done.stdout + done.stderr
        return done.returncode

    # One case of the first task ends in an error: started again, the task asks for that one alone.
    assert (start(0), len(server.requests)) == (1, 3)
    assert (start(0), len(server.requests)) == (0, 4)
    assert (start(1), len(server.requests)) == (0, 6)
    done = aggregate(gym, "runs/17-*", into="runs/17")
    done.stdout.fnmatch_lines(["*5 tasks x 1 repeat, all scored", "2 runs merged: 5 of 5 planned cases have a result"])
