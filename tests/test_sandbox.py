"""The sandbox's interface: ends, files, input, judges, settings, the backends' command lines, and what is said where there is none."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import struct
import sys
import time
from pathlib import Path

import pytest

from pytest_gym.errors import ConfigError, SandboxError, VerifierError
from pytest_gym.sandbox import Limits, Sandbox
from pytest_gym.sandboxes.bubblewrap import Bubblewrap
from pytest_gym.sandboxes.container import Container
from pytest_gym.sandboxes.syscalls import program
from pytest_gym.settings import parse_assignments
from pytest_gym.verify import verifier
from tests.sandboxed import SMALL, needs_bubblewrap, python

ROOT = Path(__file__).parent.parent
UNSAFE = Sandbox("none")


@pytest.fixture(params=[pytest.param("bubblewrap", marks=needs_bubblewrap), "none"])
def sandbox(request):
    return Sandbox(request.param)


def test_input_output_files_and_exit_code(sandbox):
    code = "import sys\nprint(input()[::-1], open('d/in.txt').read())\nopen('out', 'wb').write(bytes(range(256)))\nsys.exit('gone ☂')"
    done = asyncio.run(
        sandbox.run(["python", "main.py"], files={"main.py": code, "d/in.txt": "ok"}, stdin="äbc\n", collect=["out", "no"], limits=SMALL)
    )
    assert (done.ended, done.exit_code, done.stdout, done.stderr) == ("exit", 1, "cbä ok\n", "gone ☂\n")
    assert done.files == {"out": bytes(range(256))}
    assert not done.ok
    assert 0 < done.cpu_s < 1
    assert done.wall_s > 0


def test_any_text_can_be_a_file_and_any_bytes_an_output(sandbox):
    assert "SyntaxError" in python("print(1)\ud800\x00", sandbox=sandbox).stderr
    assert python("import sys; sys.stdout.buffer.write(b'a\\xff')", sandbox=sandbox).stdout == "a\\xff"
    big = "x" * 3_000_000
    done = python("import sys; print(len(sys.stdin.read()))", sandbox=sandbox, stdin=big)
    assert done.stdout == "3000000\n"
    # Whoever does not read its input is not waited for.
    assert python("print(1)", sandbox=sandbox, stdin=big).stdout == "1\n"


def test_a_command_that_does_not_exist(sandbox):
    done = asyncio.run(sandbox.run(["no-such-command"], limits=SMALL))
    assert (done.ended, done.exit_code) == ("exit", 127)
    assert "no-such-command" in done.stderr


def test_the_judge_holds_the_program_s_input_and_output(sandbox):
    judge = "import os\nos.write(1, b'3\\n')\nheard = os.read(0, 99).decode()\nverdict = {'heard': heard, 'wanted': given['wanted']}"
    done = python("print(int(input()) ** 2, flush=True)", sandbox=sandbox, judge=judge, secret={"wanted": "9"})
    assert done.ended == "exit"
    assert done.verdict == {"heard": "9\n", "wanted": "9"}


def test_a_judge_that_raises_or_is_killed_gives_no_verdict(sandbox):
    done = python("input()", sandbox=sandbox, judge="1 / 0")
    assert (done.ended, done.verdict) == ("judge", None)
    assert "ZeroDivisionError" in done.stderr
    done = python("input()", sandbox=sandbox, judge="import os, time\nos.kill(os.getpid(), 9)")
    assert (done.ended, done.verdict) == ("judge_killed", None)


@needs_bubblewrap
def test_the_program_can_end_its_judge_but_not_read_it_or_speak_for_it():
    look = """
import os
for pid in filter(str.isdigit, os.listdir('/proc')):
    for name, mode in (('mem', 'rb'), ('environ', 'rb'), ('maps', 'rb'), ('fd/0', 'rb'), ('fd/3', 'r+b')):
        try:
            if pid != str(os.getpid()):
                open(f'/proc/{pid}/{name}', mode).read(1)
                print('READ', pid, name, flush=True)
        except OSError:
            pass
print('end', flush=True)
"""
    done = python(look, judge="import os\nverdict = ''\nwhile 'end' not in verdict: verdict += os.read(0, 9999).decode()", secret="hidden")
    assert done.verdict == "end\n"
    done = python("import os\nos.kill(-1, 9)\nprint('verdict true', flush=True)", judge="import time\ntime.sleep(9)\nverdict = True")
    assert (done.ended, done.verdict) == ("judge_killed", None)


@needs_bubblewrap
def test_no_more_programs_at_once_than_the_setting_says():
    sandbox = Sandbox(concurrency=2)

    async def many():
        return await asyncio.gather(*(sandbox.run(["python", "-S", "-c", "import time; time.sleep(0.2)"], limits=SMALL) for _ in range(6)))

    began = time.monotonic()
    assert all(done.ok for done in asyncio.run(many()))
    assert time.monotonic() - began >= 0.6


def test_where_there_is_no_sandbox_the_error_names_the_package(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(SandboxError, match="package 'bubblewrap'"):
        Sandbox().check()
    with pytest.raises(SandboxError, match="there is no command 'podman'"):
        Sandbox("podman").check()
    with pytest.raises(ConfigError, match=r"sandbox\.backend"):
        Sandbox("chroot").check()


def test_a_sandbox_that_does_not_come_up_is_an_error_with_the_reason(tmp_path, monkeypatch):
    fake = tmp_path / "bwrap"
    fake.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace, likely because …' >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(SandboxError, match=r"No permissions to create new namespace.*choose another sandbox.backend"):
        Sandbox().check()
    fake.write_text("#!/bin/sh\nexec sleep 0\n")
    with pytest.raises(SandboxError, match="no reason given"):
        Sandbox().check()


def test_settings_reach_the_sandbox():
    sandbox = Sandbox.of(parse_assignments(["sandbox.backend=none", "sandbox.memory=100", "sandbox.concurrency=3"], "--gym-set"))
    assert (sandbox.choice, sandbox.unsafe, sandbox.memory_mb, sandbox.concurrency) == ("none", True, 100, 3)
    assert sandbox.protocol()["memory"] == 100
    assert Sandbox().concurrency == len(os.sched_getaffinity(0))
    with pytest.raises(ConfigError, match=r"sandbox\.backend must be"):
        parse_assignments(["sandbox.backend=chroot"], "--gym-set")


def test_a_verifier_that_runs_programs_is_async():
    async def ok(task, rollout, sandbox): ...

    def bad(task, rollout, sandbox): ...

    assert verifier(ok).resources == ("sandbox",)
    with pytest.raises(VerifierError, match="must be 'async def'"):
        verifier(bad)


# --------------------------------------------------------------------------------------------------------------------- command lines


@pytest.mark.parametrize("cli", ["docker", "podman"])
def test_the_command_line_of_a_container(cli, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    command = Container(cli).command("LAUNCHER", Limits(memory_mb=512, processes=9, disk_mb=7), [Path("/data")])
    argv = list(command.argv)
    assert argv[:4] == [f"/usr/bin/{cli}", "run", "--rm", "--interactive"]
    assert argv[-6:] == ["python3", "python:3.12-slim", "-I", "-S", "-c", "LAUNCHER"]
    for flag, value in {
        "--network": "none", "--cap-drop": "ALL", "--security-opt": "no-new-privileges", "--user": "65534:65534", "--memory": "512m",
        "--memory-swap": "512m", "--pids-limit": "11", "--pull": "never", "--ipc": "private", "--volume": "/data:/data:ro",
        "--shm-size": "7m", "--workdir": "/work",
    }.items():  # fmt: skip
        assert argv[argv.index(flag) + 1] == value
    assert "--read-only" in argv
    assert "--privileged" not in argv
    disks = [argv[n + 1] for n, word in enumerate(argv) if word == "--tmpfs"]
    assert [disk.partition(":")[0] for disk in disks] == ["/work", "/tmp", "/home/user"]
    assert all("size=7m" in disk and "nosuid" in disk for disk in disks)
    # Killing the command line's process leaves the container: it is ended by name.
    assert list(command.end) == [f"/usr/bin/{cli}", "kill", argv[argv.index("--name") + 1]]


@pytest.mark.parametrize(
    ("said", "hint"),
    [
        (
            "docker: Error response from daemon: No such image: python:3.12-slim",
            "docker pull python:3.12-slim",
        ),
        ("Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?", "start the daemon"),
        ("", "no reason given"),
    ],
)
def test_why_a_container_did_not_start(said, hint, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    assert hint in Container("docker").explain(said)


def test_a_container_that_hangs_is_ended_by_name(tmp_path, monkeypatch):
    # What docker and podman do here: the command line's process can be killed, the container lives on until it is ended by name.
    log = tmp_path / "log"
    fake = tmp_path / "docker"
    fake.write_text(f"#!/bin/sh\necho $1 $2 >> {log}\nif [ $1 = run ]; then echo ready; exec sleep 30; fi\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr("pytest_gym.sandbox.START_S", 0.3)
    with pytest.raises(SandboxError, match="gave no sign"):
        asyncio.run(Sandbox("docker").run(["python"], limits=Limits(wall_s=0.1)))
    assert "kill pytest-gym-" in log.read_text()


@needs_bubblewrap
def test_the_command_line_of_bubblewrap():
    command = Bubblewrap().command("LAUNCHER", Limits(disk_mb=3), [Path("/data")])
    argv = list(command.argv)
    inner = argv[argv.index("--unshare-user") - 1 :]
    for flag in ("--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-net", "--die-with-parent", "--new-session", "--clearenv"):
        assert flag in inner
    assert inner[-5:] == [f"{sys.base_prefix}/bin/python3.{sys.version_info[1]}", "-I", "-S", "-c", "LAUNCHER"]
    assert "/data" in inner
    assert inner.count(str(3 << 20)) == 4
    for descriptor in command.pass_fds:
        os.close(descriptor)


def test_the_filter_of_system_calls_is_well_formed():
    for machine in ("x86_64", "aarch64"):
        code = program(machine)
        assert code is not None
        lines = [struct.unpack("=HBBI", code[at : at + 8]) for at in range(0, len(code), 8)]
        assert len(lines) < 4096
        for number, (operation, yes, no, _) in enumerate(lines):
            if operation in (0x15, 0x45):
                assert number + 1 + max(yes, no) < len(lines)
        assert lines[-1] == (0x06, 0, 0, 0x7FFF0000)
    assert program("riscv64") is None


# -------------------------------------------------------------------------------------------------------------------------- in a run

CONFIG = """
sums:
  description: Programs that add
  domain: coding
  requires: [sandbox]
  prompt_config: {user: "{question}"}
  verifier: adds
  datasets: [{name: sums, type: benchmark, path: sums.jsonl}]
"""
ADDS = """
from pytest_gym import Limits, Rollout, Sandbox, Task, Verdict, verifier

@verifier
async def adds(task: Task, rollout: Rollout, sandbox: Sandbox) -> Verdict:
    done = await sandbox.run(["python", "-S", "-c", rollout.text], stdin=task["given"], limits=Limits(cpu_s=2))
    return Verdict(float(done.ok and done.stdout.strip() == task["wanted"]), explanation=done.ended)
"""


@pytest.fixture
def sums(pytester):
    folder = pytester.path / "benchmarks" / "sums"
    folder.mkdir(parents=True)
    (pytester.path / "verifiers").mkdir()
    (pytester.path / "verifiers" / "adds.py").write_text(ADDS)
    (folder / "config.yaml").write_text(CONFIG)
    rows = [{"id": str(n), "question": "sum", "given": f"{n} 1", "wanted": str(n + 1)} for n in range(3)]
    (folder / "sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    answers = ["print(sum(map(int, input().split())))", "print(0)", "raise SystemExit"]
    (pytester.path / "answers.jsonl").write_text(
        "".join(json.dumps({"task_id": str(n), "response": answer}) + "\n" for n, answer in enumerate(answers))
    )
    return pytester


@pytest.mark.parametrize("workers", [[], ["-n2"]])
def test_a_run_says_what_isolates_its_programs(sums, workers):
    backend = ["--gym-set=sandbox.backend=none"] if not shutil.which("bwrap") or workers else []
    done = sums.runpytest("--gym-benchmark=sums", "--gym-responses=answers.jsonl", "--gym-output=run", *backend, *workers)
    done.assert_outcomes(passed=1, failed=2)
    manifest = json.loads((sums.path / "run" / "run.json").read_text())
    markdown = (sums.path / "run" / "summary.md").read_text()
    if backend:
        done.stdout.fnmatch_lines(["gym: sandbox.backend=none: UNSAFE*"])
        assert manifest["sandbox"] == {"backend": "none", "unsafe": True}
        assert "UNSAFE" in markdown
    else:
        done.stdout.fnmatch_lines(["gym: programs run in bubblewrap, * at once"])
        assert manifest["sandbox"] == {"backend": "bubblewrap", "unsafe": False}
        assert "UNSAFE" not in markdown
    assert manifest["benchmarks"]["sums"]["verifier"]["sandbox"]["memory"] == 2048


def test_a_run_without_a_sandbox_does_not_begin(sums, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    done = sums.runpytest("--gym-benchmark=sums", "--gym-responses=answers.jsonl", "--gym-output=run")
    assert done.ret == 4
    done.stderr.fnmatch_lines(["*no sandbox for programs that a model wrote*package 'bubblewrap'*"])


def test_a_conftest_may_run_programs_of_its_own(sums):
    sums.makeconftest(
        """
import pytest
from pytest_gym import Verdict

@pytest.fixture
def verifier(sandbox):
    return lambda task, rollout: Verdict(float(sandbox.run_now(["python", "-c", "print(1)"]).stdout == "1\\n"))
"""
    )
    done = sums.runpytest("--gym-benchmark=sums", "--gym-responses=answers.jsonl", "--gym-set=sandbox.backend=none")
    done.assert_outcomes(passed=3)
