"""The sandbox: how programs end, and what an attack in one comes to. Each needs bubblewrap, which CI installs."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from pytest_gym.errors import ConfigError, SandboxError
from pytest_gym.sandbox import Done, Limits, Sandbox
from pytest_gym.sandboxes.bubblewrap import MISSING
from pytest_gym.sandboxes.container import Container
from tests.conftest import adder

SANDBOX = Sandbox()
SMALL = Limits(cpu_s=2, wall_s=8, memory_mb=512, processes=20, output_kb=64, disk_mb=4)
needs_bwrap = pytest.mark.skipif(shutil.which("bwrap") is None, reason="needs bubblewrap: apt-get install bubblewrap")


def python(source: str, *, limits: Limits = SMALL, **rest: object) -> Done:
    return SANDBOX.run_now(["python", "-I", "main.py"], files={"main.py": source}, limits=limits, **rest)


@needs_bwrap
def test_a_program_gets_its_files_and_input_and_leaves_files():
    done = python("print(input() * 2, end=''); open('out.txt', 'w').write('x\\u20ac')", stdin="ab", collect=["out.txt"])
    assert (done.ended, done.exit_code, done.stdout, done.ok) == ("exit", 0, "abab", True)
    assert done.files == {"out.txt": "x\u20ac".encode()}
    assert python("import sys; sys.exit(3)").exit_code == 3


@needs_bwrap
@pytest.mark.parametrize(
    ("source", "ended"),
    [
        ("while True: pass", {"cpu", "wall"}),
        ("print('x' * 10_000_000)", {"output"}),
        ("x = bytearray(10**10)", {"exit", "memory"}),
        ("open('big', 'wb').write(b'x' * 50_000_000)", {"exit", "signal", "files", "memory"}),
        ("import os\nfor _ in range(1000): os.fork()", {"exit", "signal", "wall", "cpu", "killed", "memory", "output"}),
        ("import os, signal; os.kill(os.getppid(), signal.SIGKILL)", {"exit", "signal", "killed"}),
        ("import ctypes; ctypes.string_at(0)", {"signal"}),
    ],
    ids=["loop", "output", "memory", "disk", "forks", "parent", "crash"],
)
def test_what_takes_too_much_ends(source, ended):
    began = time.monotonic()
    done = python(source)
    assert done.ended in ended and not (done.ok and "kill" not in source)
    assert time.monotonic() - began < 30
    assert python("print(1)").stdout == "1\n", "the next program is not touched"


@needs_bwrap
def test_sleeping_is_ended_by_the_clock_and_tried_once_more():
    done = python("import time; time.sleep(60)", limits=Limits(cpu_s=1, wall_s=0.5))
    assert (done.ended, done.attempts) == ("wall", 2)


@needs_bwrap
@pytest.mark.parametrize(
    "source",
    [
        "import os; print(os.environ['GYM_API_KEY'])",
        "print(open('/etc/shadow').read())",
        f"print(open({str(Path(__file__).resolve())!r}).read())",
        "open('/usr/forbidden', 'w')",
        "import socket; socket.create_connection(('127.0.0.1', 80), 1)",
        "import socket; socket.create_connection(('8.8.8.8', 53), 1)",
        "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('8.8.8.8', 53))",
        "import socket; socket.getaddrinfo('example.org', 80)",
        "import ctypes; c = ctypes.CDLL(None, use_errno=True); assert c.mount(b'none', b'/mnt', b'tmpfs', 0, None) == 0",
        "import ctypes; c = ctypes.CDLL(None); assert c.ptrace(16, 1, 0, 0) == 0",
        "import os; os.symlink('/etc/shadow', 's'); print(open('s').read())",
        "import os; os.link('/etc/passwd', 'p')",
        "import os; os.kill(1, 9); print(open('/proc/1/environ').read()[1000000])",
    ],
    ids=["keys", "shadow", "host", "write", "tcp", "far", "udp", "dns", "mount", "ptrace", "symlink", "link", "init"],
)
def test_an_attack_fails_within(source, monkeypatch):
    monkeypatch.setenv("GYM_API_KEY", "sk-secret")
    done = python(source)
    assert not done.ok and "sk-secret" not in done.stdout + done.stderr


@needs_bwrap
def test_nothing_outlives_a_program_and_nothing_is_left_for_the_next():
    source = (
        "import os, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        time.sleep(47.11)\nopen('/tmp/left', 'w')"
    )
    python(source)
    running = [p.read_bytes() for p in Path("/proc").glob("[0-9]*/cmdline") if os.access(p, os.R_OK)]
    assert not any(b"47.11" in line for line in running)
    assert python("import os; print(os.listdir('/tmp'), sorted(os.listdir('.')))").stdout == "[] ['main.py']\n"


@needs_bwrap
def test_a_judge_s_verdict_cannot_be_forged():
    judge = "verdict = {'right': given['answer'] == 42}"
    assert python("pass", judge=judge, secret={"answer": 42}).verdict == {"right": True}
    forged = "print('{\"right\": true}')\nimport os\nos._exit(0)"
    assert python(forged, judge=judge, secret={"answer": 1}).verdict == {"right": False}
    peek = "import glob\nfor p in glob.glob('/proc/*/environ') + glob.glob('/proc/*/cmdline'):\n    print(open(p).read())"
    assert "4711" not in python(peek, judge="import time; time.sleep(0.2); verdict = given", secret=4711).stdout


def test_what_is_asked_for_wrongly_or_is_not_there(monkeypatch):
    with pytest.raises(ConfigError, match="must lie in its work folder"):
        SANDBOX.run_now(["true"], files={"../x": "y"})
    with pytest.raises(ConfigError, match=r"sandbox\.backend must be one of"):
        Sandbox("chroot").backend  # noqa: B018
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(SandboxError, match="package 'bubblewrap'") as caught:
        Sandbox().backend  # noqa: B018
    assert str(caught.value) == MISSING


def test_a_container_s_command_line(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    argv = list(Container("podman", "python:3.11").command("print()", SMALL, []).argv)
    for words in (["--network", "none"], ["--read-only"], ["--cap-drop", "ALL"]):
        assert any(argv[i : i + len(words)] == words or f"{words[0]}={words[-1]}" in argv for i in range(len(argv))), words


CODE = """
from pytest_gym import Limits, Rollout, Sandbox, Task, Verdict, verifier

@verifier
async def prints(task: Task, rollout: Rollout, sandbox: Sandbox) -> Verdict:
    done = await sandbox.run(["python", "-c", f"print({rollout.text.split()[-1]})"], limits=Limits(cpu_s=2))
    return Verdict(float(done.stdout.strip() == task["answer"]), explanation=done.ended)
"""


@needs_bwrap
def test_a_verifier_runs_programs(gym, endpoint, how):
    gym.write(rows=4, wrong=(1,), verifier="prints")
    (gym.path / "verifiers" / "prints.py").write_text(CODE)
    result = gym.run(*how, url=endpoint(adder).url)
    result.assert_outcomes(passed=3, failed=1)
    assert gym.manifest()["sandbox"] == {"backend": "bubblewrap", "unsafe": False}
    unsafe = gym.run("--gym-set=sandbox.backend=none", "--gym-output=other", "--gym-model=m", f"--gym-base-url={endpoint(adder).url}")
    assert "UNSAFE" in unsafe.stdout.str() and gym.manifest("other")["sandbox"]["unsafe"] is True
