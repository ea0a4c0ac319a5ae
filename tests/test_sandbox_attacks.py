"""What programs may try against the host, each of which must fail within the sandbox and leave the host as it was."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
import uuid
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_gym.errors import ConfigError
from tests.sandboxed import SMALL, needs_bubblewrap, python

pytestmark = needs_bubblewrap
ROOT = Path(__file__).parent.parent
TRY = """
import os
def attempt(what):
    try:
        return str(what())
    except OSError as error:
        return type(error).__name__
"""


def running(mark: str) -> list[str]:
    """The processes of this machine that have `mark` on their command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if mark.encode() in path.read_bytes():
                found.append(path.parent.name)
        except OSError:
            continue
    return found


def gone(mark: str) -> bool:
    end = time.monotonic() + 5
    while running(mark) and time.monotonic() < end:
        time.sleep(0.02)
    return not running(mark)


def test_a_fork_bomb_stays_below_its_limit():
    mark = uuid.uuid4().hex
    code = f"import os, sys\nif '{mark}' not in sys.argv: os.execv(sys.executable, ['python', '-I', '-S', 'main.py', '{mark}'])\n"
    done = python(code + "while True:\n    try: os.fork()\n    except OSError: pass\n", limits=replace(SMALL, wall_s=0.4))
    assert done.ended in ("cpu", "wall")
    assert gone(mark)


@pytest.mark.parametrize(
    ("code", "ended"),
    [
        ("blocks = []\nwhile True: blocks.append(bytearray(10**7))", "exit"),
        # Each process is below the limit of one; together they are not.
        ("import os, time\nfor _ in range(8):\n    if not os.fork(): break\nx = b'x' * (10**8)\ntime.sleep(2)", "memory"),
        ("while True: pass", "cpu"),
        ("import os\nfor _ in range(3): os.fork()\nwhile True: pass", "cpu"),
        ("import signal\nsignal.signal(signal.SIGXCPU, lambda *_: None)\nwhile True: pass", "cpu"),
        ("while True: print('x' * 1000)", "output"),
        ("import sys\nwhile True: sys.stderr.write('x' * 1000)", "output"),
        ("import os\nn = 0\nwhile True:\n    open(f'/tmp/{n}', 'w').close(); n += 1", "files"),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", "signal"),
    ],
)
def test_bombs_and_loops_end_at_their_limit(code, ended):
    assert python(code).ended == ended


def test_a_sleeper_is_ended_by_the_clock_and_tried_once_more():
    done = python("import time\ntime.sleep(60)", limits=replace(SMALL, wall_s=0.2))
    assert (done.ended, done.attempts) == ("wall", 2)
    assert done.wall_s < 2


def test_a_disk_bomb_fills_its_own_small_disks_only():
    code = TRY + "for folder in ('/work', '/tmp', '/dev/shm', '/home/user'):\n    n = 0\n"
    code += "    try:\n        while n < 10: open(f'{folder}/{n}', 'wb').write(b'x' * 1000000); n += 1\n"
    code += "    except OSError as error: print(folder, n, error.errno)\n"
    lines = python(code).stdout.splitlines()
    assert len(lines) == 4
    assert all(line.endswith(" 1 28") for line in lines), lines


def test_nothing_outlives_the_program():
    mark = uuid.uuid4().hex
    code = f"""
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execv(sys.executable, ['python', '-c', 'import time; time.sleep(60)', '{mark}'])
    os._exit(0)
time.sleep(0.1)
print('left')
"""
    done = python(code)
    assert (done.ended, done.stdout, done.exit_code) == ("exit", "left\n", 0)
    assert gone(mark)


def test_the_first_process_cannot_be_killed_or_read_by_the_program():
    code = TRY + "print(attempt(lambda: os.kill(1, 9)), attempt(lambda: os.kill(os.getppid(), 9)), attempt(lambda: os.kill(-1, 9)))\n"
    code += "for name in ('mem', 'maps', 'environ', 'fd/0', 'fd/1'): print(attempt(lambda: open(f'/proc/1/{name}', 'rb').read(1)))\n"
    code += "print(attempt(lambda: os.listdir('/proc/1/fd')))"
    done = python(code)
    # Signals to the first process of a namespace are dropped without an error.
    assert done.stdout.split() == ["None", "None", "ProcessLookupError", *["PermissionError"] * 6]
    assert done.ok


def test_the_environment_and_the_files_of_the_host_are_not_there(monkeypatch, tmp_path):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-to-be-seen")
    (tmp_path / "secret").write_text("sk-not-to-be-seen")
    paths = [str(tmp_path / "secret"), __file__, "/etc/shadow", "/etc/passwd", "/root/.netrc", "/proc/1/environ", "/proc/self/environ"]
    code = TRY + f"for path in {paths}: print(attempt(lambda: open(path).read()))\n"
    code += "print(sorted(os.environ)); print(os.listdir('/home'), os.listdir('/home/user'), sorted(os.listdir('/')))\n"
    done = python(code + "for name in os.listdir('/proc'):\n    if name.isdigit(): print(name)")
    assert "sk-not" not in done.stdout
    lines = done.stdout.splitlines()
    assert lines[:6] == [*["FileNotFoundError"] * 5, "PermissionError"]
    assert "['HOME', 'LANG', 'LC_CTYPE', 'PATH']" in lines or "['HOME', 'LANG', 'PATH']" in lines
    assert any(line.startswith("['user'] []") and "'etc'" in line and "'var'" not in line for line in lines)
    assert len([line for line in lines if line.isdigit()]) == 2


def test_nothing_can_be_written_outside(tmp_path):
    places = ["/x", "/usr/x", "/etc/x", "/dev/x", "/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger"]
    places += [str(tmp_path / "x"), sys.base_prefix + "/x"]
    done = python(TRY + f"for path in {places}: print(attempt(lambda: open(path, 'w').write('x')))")
    assert set(done.stdout.split()) <= {"OSError", "PermissionError", "FileNotFoundError"}, done.stdout
    assert not list(tmp_path.iterdir())


def test_there_is_no_network(tmp_path):
    abstract = f"\0gym-{uuid.uuid4().hex}"
    with (
        socket.create_server(("127.0.0.1", 0)) as tcp,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
        socket.socket(socket.AF_UNIX) as path,
        socket.socket(socket.AF_UNIX) as name,
    ):
        udp.bind(("127.0.0.1", 0))
        udp.setblocking(False)
        path.bind(str(tmp_path / "s"))
        name.bind(abstract)
        path.listen()
        name.listen()
        code = TRY + "import socket as s\n"
        code += f"print(attempt(lambda: s.create_connection(('127.0.0.1', {tcp.getsockname()[1]}), 1)))\n"
        code += f"attempt(lambda: s.socket(s.AF_INET, s.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', {udp.getsockname()[1]})))\n"
        code += f"print(attempt(lambda: s.socket(s.AF_UNIX).connect({str(tmp_path / 's')!r})))\n"
        code += f"print(attempt(lambda: s.socket(s.AF_UNIX).connect({abstract!r})))\n"
        code += "print(attempt(lambda: s.create_connection(('192.0.2.1', 80), 1)))\n"
        code += "print(attempt(lambda: s.getaddrinfo('example.org', 80)))\n"
        done = python(code)
        assert done.stdout.split() == ["ConnectionRefusedError", "FileNotFoundError", "ConnectionRefusedError", "OSError", "gaierror"]
        with pytest.raises(BlockingIOError):
            udp.recv(1)


def test_no_tracing_no_mounting_no_further_namespaces_no_privileges():
    code = """
import ctypes, os
c = ctypes.CDLL(None, use_errno=True)
def call(name, *arguments):
    print(name, getattr(c, name)(*arguments), ctypes.get_errno())
call('ptrace', 16, 1, 0, 0)
call('ptrace', 16, os.getppid(), 0, 0)
call('unshare', 0x10000000)
call('mount', b'none', b'/tmp', b'tmpfs', 0, None)
call('umount2', b'/usr', 2)
call('chroot', b'/tmp')
call('setuid', 0)
said = ('NoNewPrivs', 'Seccomp:', 'CapBnd', 'CapEff')
print([line.split()[1] for line in open('/proc/self/status') if line.startswith(said)])
"""
    lines = python(code).stdout.splitlines()
    assert lines[-1] == "['0000000000000000', '0000000000000000', '1', '2']"
    for line in lines[:-1]:
        assert line.split()[1:] in (["-1", "1"], ["-1", "22"]), line


def test_links_lead_nowhere():
    code = """
os.symlink('/etc/passwd', 'a')
os.symlink('/proc/1/environ', 'b')
os.symlink('main.py', 'c')
os.mkfifo('d')
os.mkdir('e')
print(attempt(lambda: os.link('/usr/bin/env', 'f')), attempt(lambda: os.link('/proc/1/mem', 'g')))
open('h', 'w').write('mine')
"""
    done = python(TRY + code, collect=list("abcdefgh"))
    assert dict(done.files) == {"h": b"mine"}
    assert done.stdout.split()[0] in ("OSError", "PermissionError")


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x", "", "a\0b"])
def test_files_go_into_the_work_folder_only(name):
    with pytest.raises(ConfigError, match="work folder"):
        python("", collect=[name])


def test_nothing_is_left_for_the_next_program():
    leave = "for folder in ('/work', '/tmp', '/dev/shm', '/home/user'): open(folder + '/left', 'w').write('x')"
    assert python(leave).ok
    done = python("import os\nprint([os.path.exists(f + '/left') for f in ('/work', '/tmp', '/dev/shm', '/home/user')])")
    assert done.stdout == "[False, False, False, False]\n"


def test_a_program_dies_with_who_asked_for_it():
    mark = uuid.uuid4().hex
    code = "import asyncio\nfrom pytest_gym.sandbox import Limits, Sandbox\n"
    code += f"asyncio.run(Sandbox().run(['python', '-c', 'import time; time.sleep(60)', '{mark}'], limits=Limits(cpu_s=9, wall_s=60)))"
    asker = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 20
    while len(running(mark)) < 2 and time.monotonic() < end:
        time.sleep(0.02)
    assert len(running(mark)) >= 2
    asker.send_signal(signal.SIGKILL)
    asker.wait()
    assert gone(mark)
