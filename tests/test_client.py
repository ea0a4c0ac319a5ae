"""The client against servers that behave badly, over real sockets: what it makes of their answers, and what it says about them."""

from __future__ import annotations

import asyncio
import gzip
import json
import shutil
import socket
import ssl
import subprocess
import time
import tracemalloc
import zlib
from typing import Any

import pytest

from pytest_gym.errors import ModelError
from pytest_gym.model import client as client_module
from pytest_gym.model.client import Answer, Client, ClientOptions
from tests.hostile import (
    CHAT,
    KEY,
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
    no_http,
    served,
    short,
    took,
    unused_port,
)

EVENTS = (
    b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}\n\n',
    'data: {"choices":[{"index":0,"delta":{"content":"vi\u00e8r"}}]}\n\n'.encode(),
    b': keep-alive\r\n\r\ndata: {"choices":[{"index":0,"delta":{"content":"!"},"finish_reason":"stop"}]}\r\n\r\n',
    b"data: [DONE]\n\n",
)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits of milliseconds in place of seconds."""
    monkeypatch.setattr(client_module, "_BACKOFF_FIRST", 0.01)
    monkeypatch.setattr(client_module, "_BACKOFF_LIMIT", 0.05)
    monkeypatch.setattr(client_module, "_JITTER_S", 0.01)


def test_a_redirect_says_where_to():
    found = error(always(b"", status=308, headers={"location": f"https://elsewhere/v1?key={KEY}"}))
    assert (found.kind, found.fatal, found.status) == ("not_found", True, 308)
    assert "redirects (308) to 'https://elsewhere/v1'; give that as --gym-base-url" in str(found)


def test_an_error_page_is_told_by_its_text():
    page = b"<!DOCTYPE html><html><head><title>502 Bad Gateway</title><style>b {color: red}</style></head>"
    page += b"<body><h1>Bad &amp; broken</h1><script>evil()</script><hr>nginx</body></html>" + b"<" * 50_000
    found = error(always(page, status=502, content_type="text/html"))
    assert found.excerpt is not None and found.excerpt.startswith("502 Bad Gateway Bad & broken nginx")
    assert len(found.excerpt) <= 201


def test_the_wrong_content_type_is_no_reason_to_refuse_json():
    assert answer(always(content_type="text/html; charset=latin-1")).value == "4"
    assert answer(always(b"\xef\xbb\xbf" + json.dumps(CHAT).encode())).value == "4"


def test_texts_that_no_server_should_send_are_answers():
    odd = "\ud800 \x00 \x1b[31m"
    data = {"choices": [{"message": {"role": "assistant", "content": odd}}]}
    assert answer(always(data)).value == odd
    raw = json.dumps({"choices": [{"message": {"content": "X"}}]}).encode().replace(b"X", b"a\xffb")
    assert answer(always(raw)).value == "a\ufffdb"


def test_excerpts_hold_no_lone_surrogate_and_are_one_line():
    found = error(always({"error": {"message": "a\ud800\n\n  b" + "x" * 500}}, status=400))
    assert found.excerpt is not None and found.excerpt.startswith("a? bxxx") and found.excerpt.endswith("x…") and len(found.excerpt) == 201
    str(found).encode()


# -- the key ----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 400, 401, 500])
@pytest.mark.parametrize("written", [KEY, KEY.replace("/", "\\/"), KEY.replace("-", "\\u002d")])
def test_the_key_is_in_no_error(status, written):
    text = '{"error": {"message": "your key X, and sk-another-secret", "type": "X"}}'.replace("X", written)
    found = error(always(text.encode(), status=status))
    assert "[key]" in str(found) and "verysecret" not in str(found) and "another" not in str(found)


@pytest.mark.parametrize("written", [KEY, KEY.replace("/", "\\/"), KEY.replace("-", "\\u002d")])
def test_the_key_is_in_no_answer(written):
    got = answer(always(json.dumps({**CHAT, "echo": {"k": ["X"]}, "X": 1}).replace("X", written).encode()), read=lambda data: data)
    assert got.value["echo"] == {"k": ["[key]"]} and "[key]" in got.value


def test_what_looks_like_a_key_is_left_in_an_answer():
    data = {"choices": [{"message": {"content": "export sk-my-own-example"}}]}
    assert answer(always(data)).value == "export sk-my-own-example"


def test_the_key_is_in_no_streamed_answer_and_in_no_repr():
    async def script(peer: Peer) -> None:
        await peer.begin_stream()
        for part in (KEY[:5], KEY[5:]):
            await peer.piece(
                b"data: " + json.dumps({"choices": [{"delta": {"content": part}, "finish_reason": "stop"}]}).encode() + b"\n\n"
            )
        await peer.piece(EVENTS[-1])
        await peer.piece(b"")

    results, server, client = ask(script, stream=True)
    assert isinstance(results[0], Answer) and results[0].value == "[key]"
    assert f"authorization: bearer {KEY}".encode() in server.heads[0].lower()
    assert "verysecret" not in repr(client._secret) + repr(client)


# -- time -------------------------------------------------------------------------------------------------------------------------------


def test_an_answer_that_never_comes_is_abandoned():
    found, seconds = took(hang, timeout=0.3)
    assert found.kind == "timeout" and "gave no answer within 0.3 s (client.timeout)" in str(found)
    assert 0.3 <= seconds < 2 and found.status is None


def test_an_answer_that_does_not_begin_is_abandoned_at_its_own_time():
    found, seconds = took(hang, first_byte=0.2)
    assert found.kind == "timeout" and "sent nothing within 0.2 s (client.timeout.first_byte)" in str(found)
    assert 0.2 <= seconds < 2

    async def slow(peer: Peer) -> None:
        await peer.begin_stream("application/json")
        await asyncio.sleep(0.5)
        await peer.piece(json.dumps(CHAT).encode())
        await peer.piece(b"")

    assert answer(slow, first_byte=0.3).value == "4"


async def trickling_body(peer: Peer) -> None:
    await peer.begin_stream("application/json")
    while True:
        await peer.piece(b" ")
        await asyncio.sleep(0.02)


async def trickling_headers(peer: Peer) -> None:
    await peer.send(b"HTTP/1.1 200 OK\r\n")
    while True:
        await peer.send(b"x-more: yes\r\n")
        await asyncio.sleep(0.02)


async def trickling_events(peer: Peer) -> None:
    await peer.begin_stream()
    while True:
        await peer.piece(b": still thinking\n\n")
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("script", [trickling_body, trickling_headers, trickling_events])
@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_that_never_ends_is_abandoned(script, stream):
    found, seconds = took(script, timeout=0.2, stream=stream)
    assert found.kind == "timeout" and "within 0.2 s (client.timeout)" in str(found)
    assert 0.2 <= seconds < 2


def test_a_large_request_arrives_whole():
    text = "x" * 3_000_000
    results, server, _ = ask(always(), body={"text": text})
    assert isinstance(results[0], Answer) and json.loads(server.requests[0]) == {"text": text}
    assert b"chunked" not in server.heads[0].lower() and KEY.encode() in server.heads[0]


def test_a_server_that_reads_nothing_of_a_large_request_is_abandoned():
    async def run() -> ModelError:
        over = asyncio.Event()

        async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await over.wait()
            writer.transport.abort()

        async with await asyncio.start_server(deaf, "127.0.0.1", 0) as server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
            async with Client(ClientOptions(url, 1, timeout=0.4, max_retries=0), path="/x", headers={}, key=None) as client:
                with pytest.raises(ModelError) as caught:
                    await client.post({"text": "x" * 20_000_000}, content)
            over.set()
            await asyncio.sleep(0.1)
        return caught.value

    began = time.monotonic()
    assert asyncio.run(run()).kind == "timeout"
    assert time.monotonic() - began < 3


def test_connecting_has_a_time_of_its_own():
    """A listener whose queue is full lets nobody in, and says nothing."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        crowd = [socket.socket() for _ in range(4)]
        for one in crowd:
            one.setblocking(False)
            one.connect_ex(address)
        found, seconds = took(always(), url=f"http://127.0.0.1:{address[1]}/v1", connect=0.3, timeout=5.0)
        for one in crowd:
            one.close()
    assert found.kind == "connect" and "no connection within 0.3 s (client.timeout.connect)" in str(found)
    assert 0.3 <= seconds < 2


def test_the_clock_starts_when_a_request_is_sent_and_not_while_it_is_queued():
    async def slow(peer: Peer) -> None:
        await asyncio.sleep(0.15)
        await peer.answer()

    results, server, _ = ask(slow, times=6, concurrency=1, timeout=0.6)
    assert all(isinstance(result, Answer) and 0.15 <= result.latency_s < 0.4 and result.waited_s == 0 for result in results)
    assert server.peak == 1


# -- what is too large, too long, or broken ---------------------------------------------------------------------------------------------


async def endless_headers(peer: Peer) -> None:
    await peer.send(b"HTTP/1.1 200 OK\r\n")
    while True:
        await peer.send(b"x-more: yes\r\n" * 1000)


async def one_endless_header(peer: Peer) -> None:
    await peer.send(b"HTTP/1.1 200 OK\r\nx-more: ")
    while True:
        await peer.send(b"y" * 10_000)


async def endless_body(peer: Peer) -> None:
    await peer.begin_stream("application/json")
    while True:
        await peer.piece(b" " * 100_000)


async def endless_event(peer: Peer) -> None:
    await peer.begin_stream()
    await peer.piece(b"data: ")
    while True:
        await peer.piece(b"x" * 100_000)


def memory(script: Script, **options: Any) -> tuple[ModelError, float]:
    tracemalloc.start()
    try:
        found = error(script, **options)
        return found, tracemalloc.get_traced_memory()[1] / 1e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("script", [endless_headers, one_endless_header])
def test_headers_without_end_are_cut_off(script):
    found, peak = memory(script)
    assert found.kind == "bad_reply" and "sent no HTTP that can be read" in str(found)
    assert peak < 20 and len(str(found)) < 500


@pytest.mark.parametrize(("script", "stream"), [(endless_body, False), (endless_event, True)])
def test_an_answer_beyond_the_limit_is_cut_off(script, stream):
    found, peak = memory(script, stream=stream, max_reply_mb=2.0, max_retries=5)
    assert found.kind == "bad_reply" and "more than 2 MB" in str(found) and "client.max_reply_mb" in str(found)
    assert peak < 20 and found.attempts == 1


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress])
def test_packed_answers(pack):
    encoding = {"content-encoding": "gzip" if pack is gzip.compress else "deflate"}
    assert answer(always(pack(json.dumps(CHAT).encode()), headers=encoding)).value == "4"
    bomb = pack(b" " * 40_000_000)
    found, peak = memory(always(bomb, headers=encoding), max_reply_mb=2.0)
    assert found.kind == "bad_reply" and "client.max_reply_mb" in str(found)
    assert peak < 20
    broken = error(always(pack(json.dumps(CHAT).encode())[:-6], headers=encoding))
    assert broken.kind == "bad_reply" and "broke its answer off" in str(broken)
    assert "does not unpack" in str(error(always(b"no such thing", headers=encoding)))


def test_an_encoding_that_was_not_asked_for():
    found = error(always(b"...", headers={"content-encoding": "gzip, br"}))
    assert found.kind == "bad_reply" and "'gzip, br'" in str(found)


def test_an_answer_of_fifty_megabytes():
    big = {"choices": [{"message": {"role": "assistant", "content": "x" * 50_000_000}}]}
    assert len(answer(always(big)).value) == 50_000_000


async def no_chunk(peer: Peer) -> None:
    await peer.begin_stream("application/json")
    await peer.send(b"zz\r\nwhat\r\n")


async def odd_status_line(peer: Peer) -> None:
    await peer.send(b"HTTP/1.1 200 \xff\xfe\r\ncontent-length: 0\r\n\r\n")


@pytest.mark.parametrize("script", [short, half_a_chunk, no_chunk, no_http, odd_status_line])
def test_http_that_is_none(script):
    found = error(script)
    assert found.kind == "bad_reply" and (
        "broke its answer off" in str(found) or "sent no HTTP" in str(found) or "empty body" in str(found)
    )
    assert answer(first(script), max_retries=1).attempts == 2


# -- streams ----------------------------------------------------------------------------------------------------------------------------


async def stream_of(peer: Peer, pieces: list[bytes], *, end: bool = True, pause: float = 0.0) -> None:
    await peer.begin_stream()
    for piece in pieces:
        if piece:
            await peer.piece(piece)
        await asyncio.sleep(pause)
    if end:
        await peer.piece(b"")


def test_a_stream_is_read_as_the_same_answer_and_timed():
    async def script(peer: Peer) -> None:
        await stream_of(peer, [b"", *EVENTS], pause=0.1)

    got = answer(script, stream=True)
    assert got.value == "vièr!"
    assert got.first_token_s is not None and 0.2 <= got.first_token_s < 0.35 < got.latency_s < 0.9


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_a_stream_may_be_cut_anywhere(size):
    whole = b"".join(EVENTS)

    async def script(peer: Peer) -> None:
        await stream_of(peer, [whole[at : at + size] for at in range(0, len(whole), size)])

    assert answer(script, stream=True).value == "vièr!"


def test_the_first_token_is_timed_from_the_try_that_was_answered():
    async def script(peer: Peer) -> None:
        await stream_of(peer, list(EVENTS))

    async def late(peer: Peer) -> None:
        await asyncio.sleep(0.3)
        await peer.answer({}, status=500)

    got = answer(first(late, then=script), stream=True, max_retries=1)
    assert got.attempts == 2 and got.first_token_s is not None and got.first_token_s < 0.2 < 0.3 < got.latency_s


def test_a_server_that_ignores_the_wish_to_stream():
    got = answer(always(), stream=True)
    assert (got.value, got.first_token_s) == ("4", None)


def test_a_connection_is_used_again_after_a_stream_and_one_left_open_is_not_waited_for():
    async def script(peer: Peer) -> None:
        await stream_of(peer, list(EVENTS))

    assert ask(script, times=5, concurrency=1, stream=True)[1].connections == 1

    async def left_open(peer: Peer) -> None:
        await stream_of(peer, list(EVENTS), end=False)
        await asyncio.sleep(60)

    began = time.monotonic()
    got = answer(left_open, stream=True)
    assert got.value == "vièr!" and got.latency_s < 0.3 and time.monotonic() - began < 2


@pytest.mark.parametrize(
    ("event", "kind", "fatal", "again"),
    [
        (b'event: error\ndata: {"type": "error", "error": {"type": "overloaded_error", "message": "busy"}}\n\n', "server", False, True),
        (b'data: {"error": {"message": "busy", "code": 429}}\n\n', "rate_limit", False, True),
        (b'data: {"error": {"message": "busy", "type": "invalid_request_error"}}\n\n', "bad_request", False, False),
        (b'event: error\ndata: {"type": "error", "code": "rate_limit_exceeded", "message": "busy"}\n\n', "rate_limit", False, True),
        (b"event: error\ndata: busy\n\n", "server", False, True),
        (b'data: {"error": {"message": "busy", "code": "insufficient_quota"}}\n\n', "rate_limit", True, False),
        (b"data: busy\n\n", "bad_reply", False, True),
        (b'data: ["busy"]\n\n', "bad_reply", False, True),
        (b"busy, come again\n\n", "bad_reply", False, True),
    ],
)
def test_errors_among_the_events(event, kind, fatal, again):
    async def script(peer: Peer) -> None:
        await stream_of(peer, [*EVENTS[:1], event])

    async def good(peer: Peer) -> None:
        await stream_of(peer, list(EVENTS))

    found = error(script, stream=True, max_retries=0, rate_limit_wait=0.0)
    assert (found.kind, found.fatal) == (kind, fatal) and "busy" in str(found) and "busy" in (found.excerpt or "")
    if again:
        assert answer(first(script, then=good), stream=True, max_retries=1).value == "vièr!"


@pytest.mark.parametrize("pieces", [[], [b": hello\n\n"], list(EVENTS[:2])])
@pytest.mark.parametrize("end", [True, False])
def test_a_stream_that_breaks_off_is_no_answer(pieces, end):
    async def script(peer: Peer) -> None:
        await stream_of(peer, pieces, end=end)
        await peer.close()

    assert error(script, stream=True).kind == "bad_reply"


# -- ways to a server -------------------------------------------------------------------------------------------------------------------


def test_nobody_there():
    port = unused_port()
    found = error(always(), url=f"http://127.0.0.1:{port}/v1")
    assert found.kind == "connect" and "could not be reached (Connection refused), after 1 try" in str(found)
    found = error(always(), url="http://no-such-name.invalid/v1")
    assert found.kind == "connect" and "name cannot be resolved" in str(found)


def test_a_proxy_that_refuses_is_named(monkeypatch):
    port = unused_port()
    monkeypatch.setenv("HTTP_PROXY", f"http://user:hush@127.0.0.1:{port}")
    monkeypatch.setenv("HTTPS_PROXY", f"127.0.0.1:{port}")
    for scheme in ("http", "https"):
        found = error(always(), url=f"{scheme}://model.example/v1")
        assert found.kind == "connect" and "the proxy cannot be reached (Connection refused)" in str(found)
        assert f"(through the proxy http://127.0.0.1:{port})" in str(found) and "hush" not in str(found)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    assert answer(always()).value == "4"
    monkeypatch.delenv("NO_PROXY")
    assert answer(always(), proxies=False).value == "4"


def test_a_proxy_is_used_and_what_it_answers_is_told(monkeypatch):
    async def run() -> tuple[Answer[str], ModelError, list[bytes]]:
        async def script(peer: Peer) -> None:
            if peer.head.startswith(b"CONNECT"):
                await peer.answer(b"", status=403)
                await peer.close()
            else:
                await peer.answer()

        async def post(url: str) -> Answer[str]:
            options = ClientOptions(url, 1, max_retries=0)
            async with Client(options, path="/x", headers={"authorization": f"Bearer {KEY}"}, key=KEY) as client:
                return await client.post({}, content)

        async with served(script) as proxy:
            monkeypatch.setenv("http_proxy", f"http://user:hush@127.0.0.1:{proxy.port}")
            monkeypatch.setenv("https_proxy", f"http://user:hush@127.0.0.1:{proxy.port}")
            got = await post("http://model.example/v1")
            with pytest.raises(ModelError) as caught:
                await post("https://model.example/v1")
            return got, caught.value, proxy.heads

    got, found, (plain, connect) = asyncio.run(run())
    assert got.value == "4" and plain.startswith(b"POST http://model.example/v1/x HTTP/1.1")
    assert KEY.encode() in plain and b"application/json" in plain
    assert found.kind == "connect" and "the proxy answered 403" in str(found) and "hush" not in str(found)
    # What is for the endpoint alone does not go to a proxy that only makes the way.
    assert connect.startswith(b"CONNECT model.example:443 HTTP/1.1") and KEY.encode() not in connect
    assert all(b"proxy-authorization: basic dxnlcjpodxno" in head.lower() for head in (plain, connect))


def test_a_proxy_that_cannot_be_meant_is_said_before_anything_is_asked(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "socks5://127.0.0.1:1")
    with pytest.raises(ModelError, match=r"proxy must be http://HOST:PORT \(not socks5://127.0.0.1:1\)"):
        answer(always(), url="http://model.example/v1")


def test_tls_errors_are_one_sentence(tls):
    async def run(url: str) -> ModelError:
        async with Client(ClientOptions(url, 1, max_retries=3), path="/x", headers={}, key=None) as client:
            with pytest.raises(ModelError) as caught:
                await client.post({}, content)
        return caught.value

    async def both() -> tuple[ModelError, ModelError]:
        server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0, ssl=tls)
        port = server.sockets[0].getsockname()[1]
        untrusted = await run(f"https://127.0.0.1:{port}/v1")
        server.close()
        async with await asyncio.start_server(no_tls, "127.0.0.1", 0) as plain:
            return untrusted, await run(f"https://127.0.0.1:{plain.sockets[0].getsockname()[1]}/v1")

    async def no_tls(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    untrusted, plain = asyncio.run(both())
    assert untrusted.kind == "connect" and untrusted.fatal and "certificate that is not trusted" in str(untrusted)
    assert "SSL_CERT_FILE" in str(untrusted) and untrusted.attempts == 1
    assert plain.kind == "connect" and plain.fatal and "does not speak TLS" in str(plain)


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """The TLS of a server whose certificate nobody vouches for."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs the program openssl to make a certificate")
    folder = tmp_path_factory.mktemp("tls")
    words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=127.0.0.1 -keyout key.pem -out cert.pem"
    subprocess.run([openssl, *words.split()], cwd=folder, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context
