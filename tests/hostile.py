"""A server on loopback that sends whatever bytes a test wants, when it wants, and a client that asks it: what came of it is looked at."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

from pytest_gym.errors import ModelError
from pytest_gym.model import load_wire
from pytest_gym.model.client import Answer, Client, ClientOptions

KEY = "sk-verysecret/0123456789"
CHAT = {"model": "served", "choices": [{"message": {"role": "assistant", "content": "4"}, "finish_reason": "stop"}]}


def unused_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


class Peer:
    """One connection as a script sees it: the request that came, and what to send. `number` counts requests over all connections."""

    def __init__(self, number: int, head: bytes, body: bytes, writer: asyncio.StreamWriter) -> None:
        self.number, self.head, self.body, self.writer = number, head, body, writer
        self.closing = False

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def close(self) -> None:
        """Hang up after this answer."""
        self.closing = True

    def reset(self) -> None:
        """Break the connection off with a reset."""
        self.writer.transport.abort()

    async def answer(
        self,
        body: Any = CHAT,
        *,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        content_type: str = "application/json",
        length: int | None = None,
    ) -> None:
        """A whole HTTP answer; `length` is what its content-length says where that is not the truth."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        lines = {"content-type": content_type, "content-length": str(len(data) if length is None else length), **(headers or {})}
        head = f"HTTP/1.1 {status} Whatever\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        await self.send(head.encode() + b"\r\n" + data)

    async def begin_stream(self, content_type: str = "text/event-stream") -> None:
        """The head of a chunked answer."""
        head = f"HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ntransfer-encoding: chunked\r\n\r\n"
        await self.send(head.encode())

    async def piece(self, data: bytes) -> None:
        """One chunk of a chunked answer; an empty one ends it."""
        await self.send(f"{len(data):x}\r\n".encode() + data + b"\r\n")


Script = Callable[[Peer], Awaitable[None]]


class Hostile:
    """The server: what it was sent, and how much at once. `url` is its base URL."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.requests: list[bytes] = []
        self.heads: list[bytes] = []
        self.active = self.peak = self.connections = 0
        self.url = ""
        self.port = 0
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()

    async def start(self, port: int = 0) -> None:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", port, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/v1"

    async def stop(self) -> None:
        """Close the port and all connections."""
        if self._server is not None:
            self._server.close()
        for task in tuple(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next((int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0)
                body = await reader.readexactly(length)
                self.requests.append(body)
                self.heads.append(head)
                self.active += 1
                self.peak = max(self.peak, self.active)
                peer = Peer(len(self.requests), head, body, writer)
                try:
                    await self.script(peer)
                finally:
                    self.active -= 1
                if peer.closing:
                    break
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the client, or the test, has had enough
        finally:
            self._open.discard(task)
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


@contextlib.asynccontextmanager
async def served(script: Script) -> AsyncIterator[Hostile]:
    """A running server that handles each request as `script` says."""
    server = Hostile(script)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


def content(data: Any) -> str:
    text: str = data["choices"][0]["message"]["content"]
    return text


def ask(
    script: Script,
    *,
    times: int = 1,
    concurrency: int = 8,
    stream: bool = False,
    key: str | None = KEY,
    read: Callable[[Any], Any] = content,
    url: str | None = None,
    body: Any = None,
    **options: Any,
) -> tuple[list[Answer[Any] | BaseException], Hostile, Client]:
    """Send requests to a server that follows `script`, all at once; what came of each, the server and the client."""

    async def run() -> tuple[list[Answer[Any] | BaseException], Hostile, Client]:
        wire = load_wire("chat")
        async with served(script) as server:
            settings = ClientOptions(url or server.url, concurrency, **{"timeout": 5.0, "max_retries": 0, **options})
            async with Client(settings, path=wire.path, headers=wire.headers(key), key=key) as client:
                posts = [client.post(body or {"n": n}, read, wire.stream if stream else None) for n in range(times)]
                results = await asyncio.gather(*posts, return_exceptions=True)
                return results, server, client

    return asyncio.run(run())


def answer(script: Script, **options: Any) -> Answer[Any]:
    result = ask(script, **options)[0][0]
    if isinstance(result, BaseException):
        raise result
    return result


def error(script: Script, **options: Any) -> ModelError:
    result = ask(script, **options)[0][0]
    assert isinstance(result, ModelError), result
    assert KEY not in str(result) and KEY not in (result.excerpt or "")
    return result


def took(script: Script, **options: Any) -> tuple[ModelError, float]:
    began = time.monotonic()
    found = error(script, **options)
    return found, time.monotonic() - began


def always(*args: Any, **kwargs: Any) -> Script:
    async def script(peer: Peer) -> None:
        await peer.answer(*args, **kwargs)

    return script


def first(*firsts: Script, then: Script | None = None) -> Script:
    """The n-th request gets the n-th script, the further ones a proper answer."""

    async def script(peer: Peer) -> None:
        await (firsts[peer.number - 1] if peer.number <= len(firsts) else then or always())(peer)

    return script


async def hang(peer: Peer) -> None:
    await asyncio.sleep(60)


async def reset(peer: Peer) -> None:
    peer.reset()


async def hang_up(peer: Peer) -> None:
    await peer.close()


async def short(peer: Peer) -> None:
    await peer.answer(length=10_000)
    await peer.close()


async def half_a_chunk(peer: Peer) -> None:
    await peer.begin_stream("application/json")
    await peer.send(b'ff\r\n{"choices": [')
    await peer.close()


async def no_http(peer: Peer) -> None:
    await peer.send(b"220 mail.example ESMTP\r\n\r\n")
    await peer.close()


class Sums:
    """A script that answers `What is 3+1?` rightly, and counts for each question how often it was asked and how often answered.

    `fault(peer, question)` may do something else first: it says whether that was all.
    """

    def __init__(self, fault: Callable[[Peer, str], Awaitable[bool]] | None = None, *, latency: float = 0.0) -> None:
        self.asked: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()
        self._fault, self._latency = fault, latency

    async def __call__(self, peer: Peer) -> None:
        question = json.loads(peer.body)["messages"][-1]["content"]
        self.asked[question] += 1
        if self._latency:
            await asyncio.sleep(self._latency)
        if self._fault is None or not await self._fault(peer, question):
            await self.answer(peer, question)

    async def answer(self, peer: Peer, question: str, *, before: str = "") -> None:
        """The right answer, with a text before it."""
        left, right = question.removeprefix("What is ").removesuffix("?").split("+")
        message = {"role": "assistant", "content": f"{before}It is {int(left) + int(right)}"}
        await peer.answer(
            {"model": "served", "choices": [{"message": message, "finish_reason": "stop"}], "usage": {"completion_tokens": 3}}
        )
        self.answered[question] += 1


class Background:
    """A server in a thread of its own, for tests that run a whole pytest. `down` and `up` close its port and open it again."""

    def __init__(self, script: Script) -> None:
        self.server = Hostile(script)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.up()

    @property
    def url(self) -> str:
        return self.server.url

    def up(self) -> None:
        asyncio.run_coroutine_threadsafe(self.server.start(self.server.port), self._loop).result(10)

    def down(self) -> None:
        asyncio.run_coroutine_threadsafe(self.server.stop(), self._loop).result(10)

    def __enter__(self) -> Background:
        return self

    def __exit__(self, *exc: object) -> None:
        self.down()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()
