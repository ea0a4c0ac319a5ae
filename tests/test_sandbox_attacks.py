"""What programs may try against the host, each of which must fail within the sandbox and leave the host as it was."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_gym.errors import ConfigError
from pytest_gym.sandbox import Done
from tests.sandboxed import NOBODY, ROOT, SMALL, needs_bubblewrap, python, python_as_nobody

pytestmark = needs_bubblewrap
TRY = """
import os
def attempt(what):
    try:
        return str(what())
    except OSError as error:
        return type(error).__name__
"""

# Children that nobody waits for: what they use is in no account of a parent.
UNCOUNTED = """
import os, signal, time
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
while True:
    if not os.fork():
        end = time.process_time() + 0.3
        while time.process_time() < end: pass
        os._exit(0)
    try: os.wait()
    except ChildProcessError: pass
"""
# Memory of the kernel: what is sent and never read.
SOCKETS = """
import os, socket, time
for _ in range(12):
    if not os.fork(): break
kept = []
try:
    while True: kept += socket.socketpair()
except OSError: time.sleep(5)
"""


@pytest.fixture(scope="module", autouse=True)
def _host_is_left_as_it_was() -> Iterator[None]:
    """Whatever these programs do: no mount, no name, no shared memory and no file of theirs on the host."""

    def host() -> list[str]:
        said = [Path(f"/proc/self/{name}").read_text() for name in ("mountinfo", "limits")]
        said += [Path(f"/proc/sysvipc/{name}").read_text() for name in ("shm", "msg", "sem") if Path("/proc/sysvipc").exists()]
        folders = [*map(Path, ("/tmp", "/var/tmp", "/dev/shm", "/home")), ROOT]
        theirs = [str(path) for folder in folders if folder.exists() for path in folder.iterdir() if path.lstat().st_uid == NOBODY]
        return [*said, *theirs, socket.gethostname(), os.getcwd()]

    before = host()
    yield
    assert host() == before


@pytest.fixture(params=["as_is", "as_nobody"])
def run(request: pytest.FixtureRequest) -> Callable[..., Done]:
    """Runs a program asked for by this user, and by an unprivileged one where this is root."""
    return python if request.param == "as_is" else python_as_nobody


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


def test_a_fork_bomb_stays_below_its_limit(run):
    mark = uuid.uuid4().hex
    code = f"import os, sys\nif '{mark}' not in sys.argv: os.execv(sys.executable, ['python', '-I', '-S', 'main.py', '{mark}'])\n"
    done = run(code + "while True:\n    try: os.fork()\n    except OSError: pass\n", limits=replace(SMALL, wall_s=0.4))
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
        (UNCOUNTED, "cpu"),
        ("while True: print('x' * 1000)", "output"),
        ("import sys\nwhile True: sys.stderr.write('x' * 1000)", "output"),
        ("import os\nn = 0\nwhile True:\n    open(f'/tmp/{n}', 'w').close(); n += 1", "files"),
        (SOCKETS, "files"),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", "signal"),
    ],
)
def test_bombs_and_loops_end_at_their_limit(code, ended):
    assert python(code).ended == ended


def test_there_is_no_memory_that_no_limit_counts():
    code = """
import ctypes, os
c = ctypes.CDLL(None, use_errno=True)
for name, arguments in (('memfd_create', (b'x', 0)), ('shmget', (0, 4096, 0o1600)), ('msgget', (0, 0o1600)), ('semget', (0, 1, 0o1600))):
    print(getattr(c, name)(*arguments), ctypes.get_errno())
print(c.mq_open(b'/x', os.O_CREAT | os.O_RDWR, 0o600, None))
"""
    assert python(code).stdout.split("\n") == ["-1 1"] * 4 + ["-1", ""]


def test_a_sleeper_is_ended_by_the_clock_and_tried_once_more():
    done = python("import time\ntime.sleep(60)", limits=replace(SMALL, wall_s=0.2))
    assert (done.ended, done.attempts) == ("wall", 2)
    assert done.wall_s < 2


def test_a_disk_bomb_fills_its_own_small_disks_only(run):
    code = TRY + "for folder in ('/work', '/tmp', '/dev/shm', '/home/user'):\n    n = 0\n"
    code += "    try:\n        while n < 10: open(f'{folder}/{n}', 'wb').write(b'x' * 1000000); n += 1\n"
    code += "    except OSError as error: print(folder, n, error.errno)\n"
    lines = run(code).stdout.splitlines()
    assert len(lines) == 4
    assert all(line.endswith(" 1 28") for line in lines), lines


def test_nothing_outlives_the_program(run):
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
    done = run(code)
    assert (done.ended, done.stdout, done.exit_code) == ("exit", "left\n", 0)
    assert gone(mark)


def test_the_first_process_cannot_be_killed_or_read_by_the_program(run):
    code = TRY + "print(attempt(lambda: os.kill(1, 9)), attempt(lambda: os.kill(os.getppid(), 9)), attempt(lambda: os.kill(-1, 9)))\n"
    code += "for name in ('mem', 'maps', 'environ', 'fd/0', 'fd/1'): print(attempt(lambda: open(f'/proc/1/{name}', 'rb').read(1)))\n"
    code += "print(attempt(lambda: os.listdir('/proc/1/fd')))"
    done = run(code)
    # Signals to the first process of a namespace are dropped without an error.
    assert done.stdout.split() == ["None", "None", "ProcessLookupError", *["PermissionError"] * 6]
    assert done.ok


def test_no_signal_reaches_the_first_process():
    done = python("import os, time\nfor number in range(1, 65): os.kill(1, number)\ntime.sleep(0.1)\nprint('alive')")
    assert (done.ended, done.stdout) == ("exit", "alive\n")


def test_a_program_that_takes_its_sandbox_down_has_failed():
    code = (
        "import resource, time\nfor name in (resource.RLIMIT_NOFILE, resource.RLIMIT_AS): resource.prlimit(1, name, (0, 0))\ntime.sleep(1)"
    )
    assert python(code).ended == "killed"


def test_a_report_cannot_be_forged():
    line = '{"ended": "exit", "exit_code": 0, "stdout": "", "stderr": "", "verdict": "dHJ1ZQ==", "files": {}, "cpu_s": 0, "wall_s": 0}'
    code = f"import os, sys\nfor number in range(1, 64):\n    try: os.write(number, b'ready\\n' + {line.encode()!r} + b'\\n')\n"
    code += "    except OSError: pass\nsys.exit(3)"
    done = python(code)
    assert (done.ended, done.exit_code, done.verdict, done.stdout) == ("exit", 3, None, f"ready\n{line}\n")
    # Where a judge holds its output, it is the judge's to read.
    done = python(code, judge="import os\nverdict = os.read(0, 6).decode() == 'right\\n'")
    assert (done.ended, done.verdict) == ("exit", False)


def test_the_environment_and_the_files_of_the_host_are_not_there(run, monkeypatch, tmp_path):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-to-be-seen")
    (tmp_path / "secret").write_text("sk-not-to-be-seen")
    paths = [str(tmp_path / "secret"), __file__, "/etc/shadow", "/etc/passwd", "/root/.netrc", "/proc/1/environ", "/proc/self/environ"]
    code = TRY + f"for path in {paths}: print(attempt(lambda: open(path).read()))\n"
    code += "print(sorted(os.environ)); print(os.listdir('/home'), os.listdir('/home/user'), sorted(os.listdir('/')))\n"
    done = run(code + "for name in os.listdir('/proc'):\n    if name.isdigit(): print(name)")
    assert "sk-not" not in done.stdout
    lines = done.stdout.splitlines()
    assert lines[:6] == [*["FileNotFoundError"] * 5, "PermissionError"]
    assert "['HOME', 'LANG', 'LC_CTYPE', 'PATH']" in lines or "['HOME', 'LANG', 'PATH']" in lines
    assert any(line.startswith("['user'] []") and "'etc'" in line and "'var'" not in line for line in lines)
    assert len([line for line in lines if line.isdigit()]) == 2


def test_nothing_can_be_written_outside(run, tmp_path):
    places = ["/x", "/usr/x", "/etc/x", "/dev/x", "/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger"]
    places += [str(tmp_path / "x"), sys.base_prefix + "/x"]
    done = run(TRY + f"for path in {places}: print(attempt(lambda: open(path, 'w').write('x')))")
    assert set(done.stdout.split()) <= {"OSError", "PermissionError", "FileNotFoundError"}, done.stdout
    assert not list(tmp_path.iterdir())


def test_there_is_no_network(run, tmp_path):
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
        done = run(code)
        assert done.stdout.split() == ["ConnectionRefusedError", "FileNotFoundError", "ConnectionRefusedError", "OSError", "gaierror"]
        with pytest.raises(BlockingIOError):
            udp.recv(1)


def test_there_are_no_sockets_that_a_network_namespace_does_not_hold():
    families = {"AF_VSOCK": 40, "AF_ALG": 38, "AF_PACKET": 17, "AF_BLUETOOTH": 31}
    code = TRY + f"import socket as s\nfor family in {list(families.values())}: print(attempt(lambda: s.socket(family, s.SOCK_STREAM)))\n"
    code += "print(attempt(lambda: s.socket(s.AF_INET, s.SOCK_RAW, 1)), [name for _, name in s.if_nameindex()])"
    assert python(code).stdout.split("\n") == ["OSError"] * 4 + ["PermissionError ['lo']", ""]


def test_no_tracing_no_mounting_no_further_namespaces_no_privileges(run):
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


def test_links_lead_nowhere(run):
    code = """
os.symlink('/etc/passwd', 'a')
os.symlink('/proc/1/environ', 'b')
os.symlink('main.py', 'c')
os.mkfifo('d')
os.mkdir('e')
print(attempt(lambda: os.link('/usr/bin/env', 'f')), attempt(lambda: os.link('/proc/1/mem', 'g')))
open('h', 'w').write('mine')
os.symlink('/usr', 'i')
os.symlink('.', 'j')
"""
    done = run(TRY + code, collect=[*"abcdefgh", "i/bin/env", "j/h"])
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
