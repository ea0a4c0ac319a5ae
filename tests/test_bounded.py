"""run_bounded: what comes back, what is stopped, and that nothing is left behind."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

import pytest_gym
from pytest_gym import bounded
from pytest_gym.bounded import CallFailed, OutOfBounds, run_bounded
from pytest_gym.errors import GymError

# These run in the helper process, which loads this very file.


def add(left, right):
    return left + right


def echo(value):
    return value


def helper_pid():
    return os.getpid()


def spin():
    while True:
        pass


def tower():
    return len(str(9**9**9))


def sleep(seconds):
    time.sleep(seconds)
    return "rested"


def allocate():
    return len(bytearray(10**12))


def recurse():
    return recurse()


def follow_null():
    ctypes.string_at(0)


def leave():
    os._exit(3)


def fail():
    raise ValueError("no good")


def a_set():
    return {1, 2}


def noise():
    print("noise")
    sys.stdout.flush()
    os.write(1, b"noise")
    return sys.stdin.read()


def environment():
    return sorted(os.environ)


def alive(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


def gone(pid: int, seconds: float = 5.0) -> bool:
    deadline = time.monotonic() + seconds
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not alive(pid)


@pytest.mark.parametrize("value", [None, True, 1.5, "é\ud800\x00", [1, {"a": []}], "x" * 3_000_000], ids=lambda value: str(type(value)))
def test_values_pass_both_ways(value):
    assert run_bounded(echo, value, seconds=5) == value


def test_functions_are_named_in_three_ways():
    for name in (add, "operator:add", f"{__file__}:add"):
        assert run_bounded(name, 1, 2, seconds=5) == 3


def test_is_public():
    assert pytest_gym.run_bounded is run_bounded
    assert issubclass(OutOfBounds, GymError) and issubclass(CallFailed, GymError)


def test_one_helper_serves_many_calls():
    assert len({run_bounded(helper_pid, seconds=5) for _ in range(20)}) == 1
    assert run_bounded(helper_pid, seconds=5) != os.getpid()


@pytest.mark.parametrize(
    ("function", "limit", "says"),
    [
        (spin, "time", "0.3 s of processor time"),
        (tower, "time", "0.3 s of processor time"),
        (allocate, "memory", "500 MiB"),
        (recurse, "recursion", "recursion limit"),
        (follow_null, "crash", "SIGSEGV"),
        (leave, "crash", "exit status 3"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_out_of_bounds(function, limit, says):
    before = run_bounded(helper_pid, seconds=5)
    with pytest.raises(OutOfBounds, match=says) as caught:
        run_bounded(function, seconds=0.3, memory_mb=500)
    assert caught.value.limit == limit
    assert gone(before)
    assert run_bounded(helper_pid, seconds=5) != before


def test_a_call_that_only_waits_is_stopped_by_the_clock():
    assert run_bounded(sleep, 0.1, seconds=1) == "rested"
    begin = time.monotonic()
    with pytest.raises(OutOfBounds, match=r"longer than 0\.8 s") as caught:
        run_bounded(sleep, 60, seconds=0.2)
    assert caught.value.limit == "time"
    assert time.monotonic() - begin < 10


def test_imports_do_not_count(tmp_path):
    (tmp_path / "slow_to_import.py").write_text(
        "import time\nbegin = time.process_time()\nwhile time.process_time() < begin + 0.4: pass\ndef f(): return 1\n"
    )
    assert run_bounded(f"{tmp_path / 'slow_to_import.py'}:f", seconds=0.2) == 1
    assert run_bounded(add, 1, 2, seconds=1, imports=["decimal"]) == 3


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (fail, "ValueError: no good"),
        (a_set, "not JSON serializable"),
        ("operator:nope", "nope"),
        ("no_such_module:f", "no_such_module"),
        (lambda: 1, "top level"),
    ],
    ids=["raises", "no JSON", "no function", "no module", "lambda"],
)
def test_call_failed_keeps_the_helper(function, says):
    before = run_bounded(helper_pid, seconds=5)
    with pytest.raises(CallFailed, match=says):
        run_bounded(function, seconds=5)
    assert run_bounded(helper_pid, seconds=5) == before


def test_arguments_that_are_no_json():
    with pytest.raises(CallFailed, match="JSON"):
        run_bounded(echo, object(), seconds=1)


def test_what_the_function_prints_goes_nowhere(capfd):
    assert run_bounded(noise, seconds=5) == ""
    assert run_bounded(add, 1, 1, seconds=5) == 2
    assert capfd.readouterr() == ("", "")


def test_no_keys_in_the_helper(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    bounded.close()
    assert "OPENAI_API_KEY" not in run_bounded(environment, seconds=5)


def test_threads_share_the_helper_and_get_their_own_values():
    values: dict[int, object] = {}

    def work(number: int) -> None:
        try:
            values[number] = run_bounded(spin, seconds=0.1) if number == 7 else run_bounded(add, number, number, seconds=5)
        except OutOfBounds as error:
            values[number] = error.limit

    threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert values == {number: "time" if number == 7 else 2 * number for number in range(16)}


def test_a_helper_killed_from_outside_is_replaced():
    before = run_bounded(helper_pid, seconds=5)
    os.kill(before, signal.SIGKILL)
    assert gone(before)
    assert run_bounded(add, 1, 2, seconds=5) == 3


def test_the_helper_has_its_own_session():
    assert os.getsid(run_bounded(helper_pid, seconds=5)) != os.getsid(0)


def test_an_interrupt_leaves_the_pipes_in_step(monkeypatch):
    run_bounded(add, 1, 2, seconds=5)
    with monkeypatch.context() as patch:
        patch.setattr(bounded.json, "loads", lambda text: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            run_bounded(echo, "old", seconds=5)
    assert run_bounded(echo, "new", seconds=5) == "new"


SCRIPT = """
    import os, signal, sys, threading
    from pytest_gym.bounded import run_bounded
    print(run_bounded("os:getpid", seconds=5), flush=True)
"""


def script(body: str, *options: str, wait: bool = True) -> subprocess.Popen[str]:
    root = str(Path(pytest_gym.__file__).parent.parent)
    process = subprocess.Popen(
        [sys.executable, *options, "-c", textwrap.dedent(SCRIPT) + textwrap.dedent(body)],
        env={**os.environ, "PYTHONPATH": root},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    if wait:
        process.stdout_text, process.stderr_text = process.communicate(timeout=60)  # type: ignore[attr-defined]
    return process


@pytest.mark.parametrize(
    "body", ["", "raise SystemExit(0)", "threading.Thread(target=run_bounded, args=('os:getpid',), kwargs={'seconds': 5}).start()"]
)
def test_a_clean_exit_takes_the_helper_along_without_warnings(body):
    process = script(body, "-X", "dev", "-W", "error")
    assert (process.returncode, process.stderr_text) == (0, "")
    assert gone(int(process.stdout_text.split()[0]))


def test_a_thread_in_the_middle_of_a_call_does_not_hold_up_the_exit():
    body = """
        import time
        threading.Thread(target=run_bounded, args=("time:sleep", 60), kwargs={"seconds": 60}, daemon=True).start()
        time.sleep(0.3)
    """
    begin = time.monotonic()
    process = script(body)
    assert process.returncode == 0
    assert time.monotonic() - begin < 20
    assert gone(int(process.stdout_text.split()[0]))


def test_the_helper_dies_with_a_killed_parent():
    process = script("sys.stdin.read()", wait=False)
    pid = int(process.stdout.readline())
    assert alive(pid)
    process.kill()
    process.communicate(timeout=10)
    assert gone(pid)


def test_a_busy_helper_outlives_a_killed_parent_no_longer_than_its_limit():
    process = script("run_bounded('time:sleep', 60, seconds=0.2)", wait=False)
    pid = int(process.stdout.readline())
    time.sleep(0.2)
    process.kill()
    process.communicate(timeout=10)
    assert gone(pid)


def test_a_forked_child_starts_its_own_helper():
    body = """
        child = os.fork()
        if child == 0:
            print(run_bounded("os:getpid", seconds=5), flush=True)
            sys.exit(0)
        os.waitpid(child, 0)
        print(run_bounded("os:getpid", seconds=5), flush=True)
    """
    process = script(body, "-W", "error", "-W", "ignore::DeprecationWarning")
    first, child, again = map(int, process.stdout_text.split())
    assert first == again != child
    assert process.stderr_text == ""
    assert gone(first) and gone(child)
