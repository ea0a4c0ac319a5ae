"""Faults to survive, one test each, through a whole run: nothing is lost, nothing is asked twice once it was answered, and what is an
error is an error of its kind. The server counts for each question how often it was asked and answered.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest

from tests.conftest import Gym
from tests.endpoint import wait_until
from tests.hostile import Background, Peer, Script, Sums, always, half_a_chunk, hang, no_http, reset, short

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc, and makes mounts")

PYTEST = [sys.executable, "-m", "pytest"]


def words(url: str, *more: str) -> list[str]:
    return ["--gym-benchmark=sums", "--gym-model=m", f"--gym-base-url={url}", "--gym-output=run", *more]


def begin(gym: Gym, *given: str) -> subprocess.Popen[bytes]:
    """A run in a process group of its own."""
    with open(gym.path / "out.txt", "wb") as out:
        return subprocess.Popen([*PYTEST, *given], cwd=gym.path, stdout=out, stderr=subprocess.STDOUT, start_new_session=True)


def landed(gym: Gym) -> set[str]:
    """The questions whose answers are in the journal: whole lines only."""
    journal = gym.path / "run/journal/rollouts.jsonl"
    lines = journal.read_bytes().split(b"\n")[:-1] if journal.exists() else []
    rollouts = [json.loads(line)["rollout"] for line in lines]
    return {rollout["messages"][0]["content"] for rollout in rollouts if rollout["error"] is None}


def complete(gym: Gym, cases: int) -> None:
    """Everything was judged, and is right."""
    entry = gym.summary()["benchmarks"]["sums"]
    assert (entry["cases"], entry["missing"], entry["errors"]) == (cases, 0, {})
    rows = gym.results()
    assert len(rows) == cases and all(row["passed"] for row in rows)


def errors(gym: Gym) -> dict[str, int]:
    found: dict[str, int] = gym.summary()["benchmarks"]["sums"]["errors"]
    return found


def only(number: int, script: Script) -> Callable[[Peer, str], Awaitable[bool]]:
    """A fault of one question alone."""

    async def fault(peer: Peer, question: str) -> bool:
        if question != f"What is {number}+1?":
            return False
        await script(peer)
        return True

    return fault


# -- processes that die -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("how", "times"), [((), 2), (("-n2",), 1)], ids=["serial", "n2"])
def test_kill_9_of_the_controller_at_random_moments_and_going_on(gym: Gym, how, times):
    cases, chance = 150, random.Random(7)
    gym.write(rows=cases)
    sums = Sums(latency=0.02)
    finished: Counter[str] = Counter()

    def look() -> None:
        """What was in the journal once is there still, and was not asked for again."""
        now = landed(gym)
        assert set(finished) <= now, "an answer was lost"
        assert all(sums.asked[question] == number for question, number in finished.items()), "an answer was asked for again"
        finished.update({question: sums.asked[question] for question in now - set(finished)})

    with Background(sums) as server:
        for attempt in range(times):
            wanted = sums.answered.total() + chance.randint(1, 24)
            process = begin(gym, *(["--gym-resume=run"] if attempt else words(server.url, "--gym-concurrency=4")), *how)
            wait_until(reached(sums, wanted), 20)
            time.sleep(chance.random() * 0.02)
            process.kill()
            process.wait(10)
            time.sleep(0.1)  # what was on its way has come, or never will
            look()
            # Of each killed process the four answers that were on their way may be missing.
            assert len(finished) >= len(sums.answered) - 4 * (attempt + 1)
        known = len(finished)
        done = subprocess.run([*PYTEST, "--gym-resume=run", *how], cwd=gym.path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"gym: resumed: {known} of {cases} answers are there" in done.stdout
    assert all(sums.asked[question] == number for question, number in finished.items()), "an answer was asked for again"
    complete(gym, cases)


def test_kill_9_of_workers_at_random_moments(gym: Gym):
    cases, chance = 300, random.Random(11)
    gym.write(rows=cases)
    sums = Sums(latency=0.1)
    with Background(sums) as server:
        process = begin(gym, *words(server.url, "-n2", "--gym-concurrency=8"))
        for _ in range(3):
            wait_until(reached(sums, sums.answered.total() + chance.randint(5, 40)), 20)
            # execnet itself does not survive the end of a process that it is just starting.
            wait_until(lambda: bool(grown(process.pid)))
            os.kill(chance.choice(grown(process.pid)), signal.SIGKILL)
        process.wait(60)
        out = (gym.path / "out.txt").read_text()
        assert out.count("node down: Not properly terminated") == 3 and "INTERNALERROR" not in out
        if process.returncode:
            # The same case in the hands of two of the three: it is an error until it is judged.
            assert set(errors(gym)) == {"crash"}
            gym.run("--gym-resume=run", benchmark=None).assert_outcomes(passed=cases)
    # The controller has the answers: a worker takes none of them with it.
    assert sums.asked == sums.answered and set(sums.asked.values()) == {1}
    complete(gym, cases)


def reached(sums: Sums, answers: int) -> Callable[[], bool]:
    return lambda: sums.answered.total() >= answers


def grown(pid: int) -> list[int]:
    """The living processes that a process started at least half a second ago."""
    found = []
    with open("/proc/uptime") as clock:
        now = float(clock.read().split()[0])
    for folder in filter(str.isdecimal, os.listdir("/proc")):
        try:
            with open(f"/proc/{folder}/stat") as stat:
                state, parent, *rest = stat.read().rpartition(")")[2].split()
        except OSError:
            continue
        age = now - int(rest[17]) / os.sysconf("SC_CLK_TCK")
        if int(parent) == pid and state != "Z" and age > 0.5:
            found.append(int(folder))
    return found


def test_a_torn_journal_line(gym: Gym):
    gym.write(rows=40)
    sums = Sums(latency=0.02)
    with Background(sums) as server:
        process = begin(gym, *words(server.url, "--gym-concurrency=2"))
        wait_until(lambda: sums.answered.total() >= 10, 20)
        process.kill()
        process.wait(10)
        journal = gym.path / "run/journal/rollouts.jsonl"
        lines = journal.read_bytes().splitlines(keepends=True)
        torn = json.loads(lines[-1])["rollout"]["messages"][0]["content"]
        journal.write_bytes(b"".join(lines[:-1]) + lines[-1][: len(lines[-1]) // 2])
        kept = landed(gym)
        assert torn not in kept and len(kept) == len(lines) - 1
        result = gym.run("--gym-resume=run", benchmark=None)
    result.assert_outcomes(passed=40)
    result.stdout.fnmatch_lines(["gym: 1 line of the journal cannot be read*"])
    assert sums.asked[torn] == 2 and all(sums.asked[question] == 1 for question in kept)
    complete(gym, 40)


# -- servers that misbehave -------------------------------------------------------------------------------------------------------------


async def slow(peer: Peer) -> None:
    await asyncio.sleep(2)


MIXED: dict[str, Script] = {
    "429": always({"error": {"message": "slow down"}}, status=429),
    "500": always({"error": {"message": "oops"}}, status=500),
    "503": always({"error": {"message": "busy"}}, status=503),
    "reset": reset,
    "slow": slow,
    "truncated": short,
    "broken chunk": half_a_chunk,
    "garbage": always(b"{'text': 'It is 4'}"),
    "no HTTP": no_http,
    "content type": always(b"<html><body>Welcome!</body></html>", content_type="text/html"),
}


def test_thirty_percent_of_mixed_faults(gym: Gym):
    chance, seen = random.Random(5), set()

    async def fault(peer: Peer, question: str) -> bool:
        if chance.random() >= 0.3:
            return False
        name = chance.choice(sorted(MIXED))
        seen.add(name)
        await MIXED[name](peer)
        return True

    gym.write(rows=80)
    sums = Sums(fault)
    with Background(sums) as server:
        result = gym.run("--gym-set=client.timeout=0.6", "--gym-concurrency=32", url=server.url)
    result.assert_outcomes(passed=80)
    assert set(sums.answered.values()) == {1} and len(sums.answered) == 80 and sums.asked.total() > 90
    assert seen == set(MIXED)
    assert {row["attempts"] for row in gym.results()} > {1, 2}
    complete(gym, 80)


def test_an_answer_that_never_comes(gym: Gym):
    """The case is an error, everything else goes on: also what is asked after it, over its only connection."""
    gym.write(rows=20)
    sums = Sums(only(3, hang))
    given = ("--gym-set=client.timeout=1", "--gym-set=client.max_retries=1")
    with Background(sums) as server:
        began = time.monotonic()
        result = gym.run(*given, "--gym-concurrency=4", url=server.url)
        assert time.monotonic() - began < 10
    result.assert_outcomes(passed=19, errors=1)
    result.stdout.fnmatch_lines(["*gave no answer within 1 s (client.timeout), after 2 tries in *"])
    assert errors(gym) == {"timeout": 1} and sums.asked["What is 3+1?"] == 2


def test_a_server_that_accepts_and_never_answers(gym: Gym):
    gym.write(rows=60)
    with Background(hang) as server:
        given = ("--gym-set=client.timeout=0.5", "--gym-set=client.max_retries=0", "--gym-concurrency=8")
        result = gym.run(*given, url=server.url)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert "20 cases in a row ended in an error" in (text := result.stdout.str() + result.stderr.str())
    assert "--gym-resume=run" in text and "Traceback" not in text
    assert set(errors(gym)) == {"timeout"}


def test_a_server_that_dies_for_seconds_and_comes_back(gym: Gym):
    """With the settings as they are by default."""
    gym.write(rows=100)
    sums = Sums(latency=0.1)
    with Background(sums) as server:
        process = begin(gym, *words(server.url, "--gym-concurrency=16"))
        wait_until(lambda: sums.answered.total() >= 40, 20)
        server.down()
        time.sleep(2)
        server.up()
        assert process.wait(60) == 0, (gym.path / "out.txt").read_text()
    complete(gym, 100)
    assert set(sums.answered.values()) == {1}


async def endless_headers(peer: Peer) -> None:
    await peer.send(b"HTTP/1.1 200 OK\r\n")
    while True:
        await peer.send(b"x-more: yes\r\n" * 1000)


def test_headers_without_end(gym: Gym):
    gym.write(rows=20)
    sums = Sums(only(5, endless_headers))
    with Background(sums) as server:
        result = gym.run("--gym-set=client.max_retries=1", url=server.url)
    result.assert_outcomes(passed=19, errors=1)
    assert errors(gym) == {"bad_reply": 1}
    assert all(len(line) < 1000 for line in result.outlines)


def test_an_answer_of_twenty_megabytes(gym: Gym):
    sums: Sums

    async def huge(peer: Peer, question: str) -> bool:
        if question == "What is 2+1?":
            await sums.answer(peer, question, before="x" * 20_000_000 + " ")
        return question == "What is 2+1?"

    gym.write(rows=8, wrong=(2,))
    sums = Sums(huge)
    with Background(sums) as server:
        result = gym.run(url=server.url)
        result.assert_outcomes(passed=7, failed=1)
        # What is shown of it is its end.
        assert len(result.stdout.str()) < 20_000
        result.stdout.fnmatch_lines(["answer: *xxx It is 3"])
        assert len(gym.results()[2]["text"]) > 20_000_000
        result = gym.run("--gym-set=client.max_reply_mb=10", "--gym-output=smaller", url=server.url)
    result.assert_outcomes(passed=7, errors=1)
    result.stdout.fnmatch_lines(["*sent more than 10 MB, the most that is read (client.max_reply_mb), after 1 try*"])


HOSTILE_TEXTS = {
    1: b'{"choices":[{"message":{"role":"assistant","content":"\\ud800 It is 2"}}]}',
    2: b'{"choices":[{"message":{"role":"assistant","content":"\\u0000 It is 3"}}]}',
    3: b'{"choices":[{"message":{"role":"assistant","content":"\\u001b[2J\\u001b]0;owned\\u0007\\u009b31m It is 4"}}]}',
    4: b'{"choices":[{"message":{"role":"assistant","content":"\xff\xfe It is 5"}}]}',
    5: b'{"choices":[{"message":{"role":"assistant","content":"\\u202e\\r\\n\\u2028 It is 6"}}]}',
    6: b'{"choices":[{"message":{"role":"assistant","content":"It is 7\\ud83d"}}]}',
    7: b'{"error":{"message":"\\u001b[2J \\udc00 \\u0000 \xff"}}',
}


def test_texts_that_no_server_should_send(gym: Gym, how):
    async def fault(peer: Peer, question: str) -> bool:
        raw = HOSTILE_TEXTS.get(int(question.removeprefix("What is ").partition("+")[0]))
        if raw is not None:
            await peer.answer(raw)
        return raw is not None

    # Wrong ones, too, since these are shown.
    gym.write(rows=10, wrong=(1, 2, 3, 4, 5))
    with Background(Sums(fault)) as server:
        result = gym.run(*how, "--gym-set=client.max_retries=0", "--junitxml=junit.xml", url=server.url)
    result.assert_outcomes(passed=3, failed=6, errors=1)
    assert errors(gym) == {"server": 1}
    shown = result.stdout.str() + result.stderr.str()
    assert not {"\x1b", "\x00", "\x9b", "\x07", "\u202e"} & set(shown) and "Traceback" not in shown and "INTERNALERROR" not in shown
    # The files are UTF-8 without exception, and hold what came.
    assert len(gym.texts()) >= 4
    rows = gym.results()
    assert rows[1]["text"].endswith(" It is 2") and rows[2]["text"] == "\x00 It is 3" and rows[3]["text"].startswith("\x1b[2J")
    assert rows[4]["text"] == "\ufffd\ufffd It is 5" and rows[5]["text"] == "\u202e\r\n\u2028 It is 6"


# -- machines that misbehave ------------------------------------------------------------------------------------------------------------


def in_namespace(gym: Gym, script: str) -> subprocess.CompletedProcess[str]:
    """Run a shell script as root of a mount namespace of its own, in which `$PYTEST` is pytest."""
    unshare = shutil.which("unshare")
    trial = "unshare -rm mount -t tmpfs none /mnt".split()
    if unshare is None or subprocess.run(trial, capture_output=True, check=False).returncode:
        pytest.skip("needs a mount namespace, which this machine does not allow")
    environment = {**os.environ, "PYTEST": shlex.join(PYTEST)}
    command = [unshare, "-rm", "sh", "-c", script]
    return subprocess.run(command, cwd=gym.path, env=environment, capture_output=True, text=True, timeout=90, check=False)


@pytest.mark.parametrize("how", [(), ("-n2",)], ids=["serial", "n2"])
def test_disk_full_and_going_on(gym: Gym, how):
    sums: Sums

    async def long(peer: Peer, question: str) -> bool:
        await sums.answer(peer, question, before="x" * 20_000 + " ")
        return True

    gym.write(rows=100)
    sums = Sums(long)
    (gym.path / "full").mkdir()
    with Background(sums) as server:
        given = shlex.join([*words(server.url, "--gym-concurrency=4", *how), "--gym-output=full/run"])
        done = in_namespace(
            gym,
            f"""
            mount -t tmpfs -o size=1m none full || exit 90
            eval "$PYTEST" {given} > first.txt 2>&1; echo $? > first.code
            cp full/run/journal/rollouts.jsonl kept.jsonl
            mount -o remount,size=30m full || exit 91
            eval "$PYTEST" --gym-resume=full/run {" ".join(how)} > second.txt 2>&1; echo $? > second.code
            cp -r full/run run
            """,
        )
    first, second = ((gym.path / f"{name}.txt").read_text() for name in ("first", "second"))
    assert done.returncode == 0, done.stderr + first + second
    assert (gym.path / "first.code").read_text() == "2\n", first
    assert "No space left on device" in first and "Traceback" not in first and "INTERNALERROR" not in first
    assert (gym.path / "second.code").read_text() == "0\n", second
    lines = (gym.path / "kept.jsonl").read_bytes().split(b"\n")[:-1]
    kept = {json.loads(line)["rollout"]["messages"][0]["content"] for line in lines}
    assert 20 < len(kept) < 60
    assert {sums.asked[question] for question in kept} == {1}, "an answer that was kept was asked for again"
    assert sums.asked.total() <= 100 + 8
    complete(gym, 100)


def test_a_run_folder_that_cannot_be_written(gym: Gym):
    gym.write(rows=5)
    sums = Sums()
    (gym.path / "locked").mkdir()
    with Background(sums) as server:
        given = shlex.join([*words(server.url), "--gym-output=locked/run"])
        done = in_namespace(gym, f'mount -t tmpfs -o ro none locked || exit 90\neval "$PYTEST" {given}')
    assert done.returncode == pytest.ExitCode.USAGE_ERROR, done.stdout + done.stderr
    assert "Read-only file system" in done.stderr and "locked/run" in done.stderr and "Traceback" not in done.stdout + done.stderr
    assert not sums.asked


@pytest.mark.parametrize("jump", [-86_400.0, 86_400.0])
def test_a_clock_that_jumps(gym: Gym, monkeypatch, jump):
    sums: Sums
    real, jumped = time.time, threading.Event()

    async def fault(peer: Peer, question: str) -> bool:
        if sums.asked.total() >= 20:
            jumped.set()
        if question == "What is 30+1?" and sums.asked[question] == 1:
            # By the server's clock, which did not jump, this is one second.
            date = {"date": "Thu, 01 Jan 2026 00:00:00 GMT", "retry-after": "Thu, 01 Jan 2026 00:00:01 GMT"}
            await peer.answer({}, status=503, headers=date)
            return True
        return False

    gym.write(rows=60)
    sums = Sums(fault, latency=0.02)
    monkeypatch.setattr(time, "time", lambda: real() + (jump if jumped.is_set() else 0.0))
    with Background(sums) as server:
        began = time.monotonic()
        result = gym.run("--gym-concurrency=4", url=server.url)
        seconds = time.monotonic() - began
    result.assert_outcomes(passed=60)
    assert jumped.is_set() and seconds < 10
    complete(gym, 60)
    assert all(0.02 <= row["latency_s"] < seconds for row in gym.results())
    assert 0 < gym.summary()["wall_s"] <= seconds + 1
    assert set(sums.answered.values()) == {1}


def limited(soft: int, hard: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize(
    ("cases", "hard", "said", "connections"),
    [
        (1_500, 1024, "896 connections instead of 1024: the limit on open files allows no more", 896),
        (1_100, resource.getrlimit(resource.RLIMIT_NOFILE)[1], None, 1024),
    ],
    ids=["lowered", "raised"],
)
def test_many_connections_with_few_open_files(gym: Gym, cases, hard, said, connections):
    if hard < 2048 and said is None:
        pytest.skip("needs a hard limit on open files beyond 2,048")
    gym.write(rows=cases)
    sums = Sums(latency=0.5)
    with Background(sums) as server:
        command = [*PYTEST, *words(server.url, "--gym-concurrency=1024")]
        done = subprocess.run(
            command, cwd=gym.path, capture_output=True, text=True, timeout=120, check=False, preexec_fn=limited(1024, hard)
        )
        peak = server.server.peak
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("open files") == (said is not None) and (said is None or said in done.stdout)
    assert 0.6 * connections < peak <= connections and server.server.connections <= connections + 8
    assert set(sums.asked.values()) == {1}
    complete(gym, cases)
