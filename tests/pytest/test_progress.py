"""Progress as a user sees it: through a real pseudo-terminal, through a pipe, serial and distributed."""

from __future__ import annotations

import errno
import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from pytest_gym.benchmark import Metric
from pytest_gym.progress import GymProgress, _has_a_line_to_itself
from tests.conftest import Gym, adder
from tests.endpoint import chat, wait_until

SOON = """
import pytest_gym.progress as progress
progress.STALL_S, progress.REDRAW_S = 0.3, 0.1
"""


def slowly(seconds: float) -> Callable:
    """An adder that takes its time."""

    def script(body, number):
        time.sleep(seconds)
        return adder(body, number)

    return script


def words(gym: Gym, url: str, *more: str) -> list[str]:
    given = ["--gym-benchmark=sums", "--gym-model=m", f"--gym-base-url={url}", "--gym-concurrency=4", "--gym-output=shown", *more]
    return [sys.executable, "-m", "pytest", *given]


def on_terminal(
    gym: Gym, url: str, *more: str, columns: int = 80, interrupt: Callable[[], object] | None = None, **environment: str
) -> tuple[int, str]:
    """Exit code and transcript of a run whose input and output are a terminal; it gets one Ctrl-C when `interrupt` returns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    child = subprocess.Popen(
        words(gym, url, *more),
        cwd=gym.path,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm", "NO_COLOR": "1", **environment},
    )
    os.close(theirs)
    if interrupt is not None:
        threading.Thread(target=lambda: (interrupt(), child.send_signal(signal.SIGINT))).start()
    text = b""
    try:
        while part := os.read(ours, 65536):
            text += part
    except OSError as error:
        # So a terminal says that nobody holds its other end any more.
        assert error.errno == errno.EIO
    os.close(ours)
    return child.wait(), text.decode().replace("\r\n", "\n")


def drawn(transcript: str) -> list[str]:
    """What was drawn over and over, in order."""
    return re.findall(r"\r([^\r\n]+)\x1b\[K", transcript)


def left_on_screen(transcript: str) -> str:
    """The transcript as it stands on a screen in the end: a carriage return goes back, and erasing erases."""
    lines = []
    for line in transcript.split("\n"):
        screen = ""
        for part in line.split("\r"):
            written, erased, rest = part.partition("\x1b[K")
            screen = written + ("" if erased else screen[len(written) :]) + rest
        lines.append(screen.rstrip())
    return "\n".join(lines)


def without_times(text: str) -> str:
    return re.sub(r"\d+\.\d+s|wall time .*|=+", "~", text)


def test_one_status_line_on_a_terminal_and_the_rest_as_ever(gym: Gym, endpoint, how):
    gym.write(rows=30, wrong=(3, 8))
    code, transcript = on_terminal(gym, endpoint(slowly(0.1)).url, *how)
    lines, screen = drawn(transcript), left_on_screen(transcript)
    assert code == 1
    # pytest's "collecting ..." is rewritten in another way.
    assert len(lines) >= 2 and all(re.match(r"\d+/30 \| ", line) for line in lines), lines
    assert all(len(line) < 80 for line in lines)
    assert re.search(r"pass@1 0\.\d+ ±0\.\d+ \| \d in flight \| \d+ tokens/s \| \d:\d\d left", transcript)
    counts = [int(line.split("/")[0]) for line in lines]
    assert counts == sorted(counts) and counts[-1] >= 20
    # Nothing of it stays, and no dots: what follows is what a pipe gets.
    assert "/30" not in screen and "[100%]" not in screen and not re.search(r"^\S* ?[.F]{2,}", screen, re.M)
    piped = gym.run(url=endpoint(adder).url).stdout.str().replace("results in run", "results in shown")
    end = piped.index("= FAILURES =")
    assert "FAILED sums::0003-r0" in screen and "2 failed, 28 passed" in screen
    here = screen[screen.index("= FAILURES =") :]
    here = re.sub(r"^\[gw\d\] .*\n", "", here, flags=re.M)
    assert without_times(here).strip() == without_times(piped[end:]).replace(" \n", "\n").strip()


@pytest.mark.parametrize(
    "words, environment, one_line",
    [
        ([], {}, True),
        (["-s"], {}, False),
        (["--pdb"], {}, False),
        (["--setup-show"], {}, False),
        (["-o", "log_cli=true"], {}, False),
        (["--log-cli-level=INFO"], {}, False),
        ([], {"CI": "true"}, False),
        ([], {"TERM": "dumb"}, False),
    ],
)
def test_one_line_only_where_nothing_comes_between(pytester, monkeypatch, words, environment, one_line):
    """What verifiers print, or a log shows, would end up behind the status line; and a CI log keeps each of its drawings."""
    for name, value in {"TERM": "xterm", **environment}.items():
        monkeypatch.setenv(name, value)
    config = pytester.parseconfig(*words)
    assert _has_a_line_to_itself(config, SimpleNamespace(isatty=lambda: True)) == one_line
    assert not _has_a_line_to_itself(config, SimpleNamespace(isatty=lambda: False))


def test_a_narrow_terminal_without_unicode_while_output_is_captured(gym: Gym, endpoint):
    gym.write(rows=12, wrong=(0,))
    gym.pytester.makeconftest(
        "import pytest\n\n"
        "@pytest.fixture\ndef verifier(verifier):\n    print('printed by the fixture')\n    return verifier\n\n"
        "@pytest.fixture\ndef rollout(rollout):\n    print('printed after waiting')\n    return rollout\n"
    )
    _, transcript = on_terminal(gym, endpoint(slowly(0.4)).url, columns=34, PYTHONIOENCODING="ascii:strict")
    before, _, after = transcript.partition(" FAILURES ")
    lines = drawn(before)
    assert len(lines) >= 2 and all(len(line) < 34 for line in lines)
    assert any(re.search(r"/12 \| pass@1 0\.\d+ \+-0\.\d+$", line) for line in lines), lines
    assert "printed" not in before and "printed by the fixture" in after and "printed after waiting" in after


def test_a_rate_limit_shows_in_the_line(gym: Gym, endpoint):
    gym.write(rows=12)
    server = endpoint(lambda body, number: (429, {"error": "slow"}, {"Retry-After": "2"}) if number <= 4 else slowly(0.3)(body, number))
    code, transcript = on_terminal(gym, server.url, columns=120)
    lines = drawn(transcript)
    assert code == 0
    assert any(line.startswith("0/12 | rate limited: next try in 2 s | ") for line in lines), lines
    assert any(" in flight (limit 2 of 4)" in line for line in lines), lines


def test_a_crashed_worker_is_told_of_on_lines_of_its_own(gym: Gym, endpoint):
    gym.write(rows=12)
    gym.pytester.makeconftest(
        "import os, pathlib, pytest\n\n"
        "@pytest.fixture\ndef verifier(verifier):\n"
        "    def judge(task, rollout):\n"
        "        if task.id == '0006' and not pathlib.Path('crashed').exists():\n"
        "            pathlib.Path('crashed').touch()\n"
        "            os._exit(1)\n"
        "        return verifier(task, rollout)\n"
        "    return judge\n"
    )
    code, transcript = on_terminal(gym, endpoint(slowly(0.2)).url, "-n2")
    screen = left_on_screen(transcript)
    assert code == 0 and "12 passed" in screen
    assert re.search(r"^\[gw\d\] node down: Not properly terminated$", screen, re.M)
    assert re.search(r"^replacing crashed worker gw\d$", screen, re.M)


def test_what_is_waited_for_and_an_interrupt(gym: Gym, endpoint):
    gym.write(rows=12)
    gym.pytester.makeconftest(SOON)
    hurry = threading.Event()
    server = endpoint(lambda body, number: (hurry.wait(5), chat("It is 1"))[1])

    def impatient():
        wait_until(lambda: len(server.requests) == 4)
        time.sleep(1.2)
        threading.Timer(0.3, hurry.set).start()

    code, transcript = on_terminal(gym, server.url, interrupt=impatient)
    screen = left_on_screen(transcript)
    assert code == 2
    assert re.fullmatch(r"0/12 \| waiting [1-4] s for sums::0000-r0 and 3 more \| 4 in flight", drawn(transcript)[-1])
    assert re.search(r"^gym: waiting up to 5 s for 4 answers", screen, re.M) and "0/12" not in screen


def test_a_terminal_that_has_gone_is_no_error():
    def gone(text: str) -> None:
        raise OSError(errno.EIO, "Input/output error")

    file = SimpleNamespace(write=gone, flush=gone, encoding="utf-8")
    benchmark = SimpleNamespace(name="sums", metric=Metric())
    planned = SimpleNamespace(benchmark=benchmark, rows=[], repeats=1, dataset=SimpleNamespace(clusters=[]))
    session = SimpleNamespace(
        state=SimpleNamespace(plan=SimpleNamespace(benchmarks=[planned])),
        config=SimpleNamespace(pluginmanager=SimpleNamespace(get_plugin=lambda name: None)),
    )
    progress = GymProgress(session, SimpleNamespace(_tw=SimpleNamespace(_file=file)), "status", distributed=False)
    progress._put("x")
    assert progress._shown == "nothing"
