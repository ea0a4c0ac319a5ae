"""What the client tries again, how often, how long it waits, and what it leaves alone: over real sockets."""

from __future__ import annotations

import asyncio
import random
import time
from email.utils import formatdate

import pytest

from pytest_gym.errors import ModelError
from pytest_gym.model import client as client_module
from pytest_gym.model.client import Answer, Client, ClientOptions
from pytest_gym.model.failures import retry_after
from tests.hostile import (
    Hostile,
    Peer,
    Script,
    always,
    answer,
    ask,
    content,
    error,
    first,
    half_a_chunk,
    hang,
    hang_up,
    no_http,
    reset,
    served,
    short,
    took,
)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits of milliseconds in place of seconds."""
    monkeypatch.setattr(client_module, "_BACKOFF_FIRST", 0.01)
    monkeypatch.setattr(client_module, "_BACKOFF_LIMIT", 0.05)
    monkeypatch.setattr(client_module, "_JITTER_S", 0.01)


# -- what is tried again ----------------------------------------------------------------------------------------------------------------

BROKEN: dict[str, Script] = {
    **{str(status): always({"error": {"message": "oops"}}, status=status) for status in (408, 409, 425, 429, 500, 502, 503, 504, 529)},
    "reset": reset,
    "hang up": hang_up,
    "not JSON": always(b"the answer is 4"),
    "empty": always(b""),
    "204": always(b"", status=204),
    "null": always(b"null"),
    "no choices": always({"choices": []}),
    "an error inside": always({"error": {"message": "later", "type": "overloaded_error"}}),
    "HTML": always(b"<html><body>It works!</body></html>", content_type="text/html"),
    "NUL": always(b"\0\0\0\0"),
    "invalid UTF-8": always(b'{"choices": \xff\xfe}'),
    "deep": always(b"[" * 100_000),
    "a number too long": always(b'{"choices": ' + b"9" * 5000 + b"}"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_may_pass_is_tried_again(name):
    got = answer(first(BROKEN[name], BROKEN[name]), max_retries=2)
    assert (got.value, got.attempts) == ("4", 3)
    assert 0 < got.waited_s <= got.latency_s


@pytest.mark.parametrize("name", BROKEN)
def test_what_does_not_pass_is_an_error_of_its_kind(name):
    found = error(BROKEN[name], max_retries=1, rate_limit_wait=0.0)
    kind = {"429": "rate_limit", "reset": "connect", "hang up": "connect", "an error inside": "server"}.get(name)
    status = int(name) if name.isdecimal() else None if kind == "connect" else 200
    assert found.kind == (kind or ("server" if status not in (200, 204) else "bad_reply"))
    assert found.attempts == 2 and not found.fatal and found.waited_s > 0
    assert "after 2 tries in 0." in str(found) and "s of that waiting" in str(found)
    if name.isdecimal() and name != "204":
        assert found.status == status and found.excerpt == "oops" and f"answered {name}: 'oops'" in str(found)


@pytest.mark.parametrize(
    ("status", "body", "kind", "fatal"),
    [
        (400, {"error": {"message": "no such field"}}, "bad_request", False),
        (413, {"detail": "too much"}, "bad_request", False),
        (422, {"detail": [{"loc": ["body"], "msg": "field required"}]}, "bad_request", False),
        (400, {"error": {"message": "This model's maximum context length is 10 tokens"}}, "context_length", False),
        (400, {"message": "x", "code": "context_length_exceeded"}, "context_length", False),
        (400, {"error": {"message": "The response was filtered", "code": "content_filter"}}, "content_filter", False),
        (401, {"error": "bad key"}, "auth", True),
        (403, b"", "auth", True),
        (404, {"detail": "Not Found"}, "not_found", True),
        (400, {"error": {"message": "no m", "code": "model_not_found"}}, "not_found", True),
        (402, {"error": {"message": "pay"}}, "rate_limit", True),
        (429, {"error": {"message": "You exceeded your current quota", "type": "insufficient_quota"}}, "rate_limit", True),
        (429, {"error": {"message": "no more", "code": "insufficient_quota", "type": "requests"}}, "rate_limit", True),
        (
            400,
            {"type": "error", "error": {"type": "invalid_request_error", "message": "Your credit balance is too low"}},
            "rate_limit",
            True,
        ),
        (200, {"type": "error", "error": {"type": "authentication_error", "message": "no"}}, "auth", True),
        (200, {"error": {"message": "no", "code": 400}}, "bad_request", False),
    ],
)
def test_what_would_not_pass_is_asked_once(status, body, kind, fatal):
    results, server, _ = ask(always(body, status=status), max_retries=5)
    found = results[0]
    assert isinstance(found, ModelError)
    assert (found.kind, found.fatal, found.attempts, found.status) == (kind, fatal, 1, status)
    assert len(server.requests) == 1 and "after 1 try in " in str(found)
    if kind == "rate_limit":
        assert "quota is used up" in str(found)


def test_the_last_answer_of_the_server_is_told_even_if_the_last_try_had_none():
    found = error(first(always({"error": {"message": "warming up"}}, status=503), then=reset), max_retries=1)
    assert (found.kind, found.status, found.excerpt) == ("connect", 503, "warming up")
    assert "(an earlier try: answered 503: 'warming up')" in str(found)


def test_a_server_that_dies_and_comes_back_loses_nothing(monkeypatch):
    """With the waits as they are by default, but a tenth as long: the server is away for half a second, where it may be for five."""

    async def run() -> list[Answer[str]]:
        async def slow(peer: Peer) -> None:
            await asyncio.sleep(0.05)
            await peer.answer()

        server = Hostile(slow)
        await server.start()
        options = ClientOptions(server.url, 16)
        async with Client(options, path="/x", headers={}, key=None) as client:
            posts = [asyncio.ensure_future(client.post({"n": n}, content)) for n in range(200)]
            await asyncio.sleep(0.2)
            await server.stop()
            await asyncio.sleep(0.5)
            assert client.retrying > 0 and client.retry_reason
            assert client.limiter.limit < 16
            await server.start(server.port)
            answers = await asyncio.gather(*posts)
            assert client.limiter.limit == 16 and client.retrying == 0
            await server.stop()
        return answers

    monkeypatch.setattr(client_module, "_BACKOFF_FIRST", 0.05)
    monkeypatch.setattr(client_module, "_BACKOFF_LIMIT", 3.0)
    answers = asyncio.run(run())
    assert [got.value for got in answers] == ["4"] * 200
    assert max(got.attempts for got in answers) <= 6


# -- limits on the rate -----------------------------------------------------------------------------------------------------------------


def bucket(per_second: float, *, wish: str | None = None) -> Script:
    """A server that answers so many a second and refuses the others."""
    free_at = 0.0

    async def script(peer: Peer) -> None:
        nonlocal free_at
        now = time.monotonic()
        if now < free_at:
            await peer.answer({"error": {"message": "slow down"}}, status=429, headers={"retry-after": wish} if wish else {})
            return
        free_at = now + 1 / per_second
        await peer.answer()

    return script


@pytest.mark.parametrize("wish", [None, "0.01"])
def test_a_rate_limit_loses_nothing_however_often_it_refuses(wish):
    results, server, client = ask(bucket(50, wish=wish), times=40, concurrency=40, max_retries=1)
    assert [result.value for result in results if isinstance(result, Answer)] == ["4"] * 40
    assert max(result.attempts for result in results if isinstance(result, Answer)) > 2
    assert client.limiter.limit < 40 and len(server.requests) < 1000


def test_without_patience_a_rate_limit_counts_as_any_other_error():
    found = error(always({}, status=429), max_retries=3, rate_limit_wait=0.0)
    assert (found.kind, found.attempts) == ("rate_limit", 4)


def test_patience_with_a_rate_limit_ends():
    found, seconds = took(always({}, status=429), max_retries=1, rate_limit_wait=0.3)
    assert found.kind == "rate_limit" and not found.fatal and found.attempts > 3
    assert 0.3 <= found.waited_s <= seconds < 2


def test_other_errors_count_on_their_own_while_a_rate_limit_is_waited_out():
    refuse, fail = always({}, status=429), always({}, status=500)
    assert answer(first(*[refuse] * 6, fail, *[refuse] * 3), max_retries=1).attempts == 11
    assert error(first(*[refuse] * 6, fail, fail), max_retries=1).kind == "server"


def test_retry_after_is_obeyed_by_everybody():
    times: list[float] = []

    async def script(peer: Peer) -> None:
        times.append(time.monotonic())
        if peer.number == 1:
            await peer.answer({}, status=429, headers={"retry-after": "0.4"})
        else:
            await peer.answer()

    async def run() -> None:
        async with served(script) as server, Client(ClientOptions(server.url, 4), path="/x", headers={}, key=None) as client:
            one = asyncio.ensure_future(client.post({}, content))
            while not client.retrying:
                await asyncio.sleep(0.005)
            assert client.retry_reason == "answered 429: '{}'"
            assert client.limiter.pause_until > time.monotonic() + 0.2
            others = await asyncio.gather(*(client.post({}, content) for _ in range(3)))
            assert all(got.latency_s < 0.2 for got in others) and (await one).waited_s >= 0.4

    asyncio.run(run())
    assert min(times[1:]) - times[0] >= 0.4


@pytest.mark.parametrize("ahead", [-3600, 0, 3600])
@pytest.mark.parametrize("zone", ["GMT", "-0000", "+0000"])
def test_a_date_to_retry_after_is_by_the_servers_clock(ahead, zone):
    now = int(time.time()) + ahead
    until = formatdate(now + 30, usegmt=True).replace("GMT", zone)
    assert retry_after({"date": formatdate(now, usegmt=True), "retry-after": until}) == 30
    wait = retry_after({"retry-after": until})
    assert wait is not None and abs(wait - max(0, ahead + 30)) <= 2


def test_a_date_is_waited_for():
    now = time.time() + 3600
    headers = {"Date": formatdate(now, usegmt=True), "Retry-After": formatdate(now + 1, usegmt=True)}
    got = answer(first(always({}, status=503, headers=headers)), max_retries=1)
    assert got.attempts == 2 and 1.0 <= got.waited_s < 1.5


def test_a_pause_that_is_too_long_is_not_waited_for():
    found, seconds = took(always({}, status=429, headers={"retry-after": "86400"}), max_retries=5)
    assert (found.kind, found.fatal, found.attempts) == ("rate_limit", False, 1) and seconds < 2
    assert "asks to be left alone for 86400 s (client.rate_limit_wait" in str(found)


@pytest.mark.parametrize("value", ["nan", "-5", "soon", "", "Thu, 99 Foo 2020 00:00:00 GMT", "1e400"])
def test_a_retry_after_that_cannot_be_meant_is_ignored(value):
    assert answer(first(always({}, status=429, headers={"retry-after": value})), max_retries=1).attempts == 2


def test_a_server_that_always_says_at_once_is_not_hammered():
    results, server, _ = ask(always({}, status=429, headers={"retry-after": "0"}), max_retries=2, rate_limit_wait=0.5)
    assert isinstance(results[0], ModelError) and len(server.requests) < 30


# -- everything at once -----------------------------------------------------------------------------------------------------------------


def test_a_server_of_thirty_percent_faults_loses_nothing():
    chance = random.Random(3)
    faults = [script for name, script in BROKEN.items() if name not in ("408", "409", "425", "a number too long")]
    faults += [short, half_a_chunk, no_http, hang]
    answered: list[bytes] = []

    async def script(peer: Peer) -> None:
        if chance.random() < 0.3:
            await chance.choice(faults)(peer)
        else:
            answered.append(peer.body)
            await peer.answer()

    results, server, _ = ask(script, times=300, concurrency=32, timeout=0.3, max_retries=8)
    assert [result.value for result in results if isinstance(result, Answer)] == ["4"] * 300
    assert len(answered) == len(set(answered)) == 300
    assert len(server.requests) > 350 and server.peak <= 32
