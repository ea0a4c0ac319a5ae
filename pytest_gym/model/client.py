"""The HTTP client: sends a body, waits, tries again where that can help, and says in one sentence why no answer could be had.

It knows one endpoint and no cases, tasks or messages; why a try failed is for `failures`, what came back for `body`, how many at once
for `limiter`. httpx's requests and responses over the aiohttp transport, because plain httpx's connection pool takes time quadratic in its
connections; the transport is called directly, because httpx's client would look for redirects, cookies and hooks at each request.
"""

from __future__ import annotations

import asyncio
import base64
import json
import random
import urllib.request
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import httpx

from pytest_gym import __version__
from pytest_gym.errors import ModelError
from pytest_gym.model import Stream
from pytest_gym.model.body import TooLarge, decoded, pieces, streamed, understood
from pytest_gym.model.failures import Failure, Secret, of_exception, refused
from pytest_gym.model.limiter import Limiter

if TYPE_CHECKING:
    from httpx_aiohttp import AiohttpTransport

T = TypeVar("T")

_OTHER_FILES = 128
"""Files that a run has open besides its connections: pytest's, the journal, workers' sockets."""

_BACKOFF_FIRST, _BACKOFF_LIMIT = 0.5, 30.0
_JITTER_S = 0.25
_LONGEST_RETRY_AFTER = 600.0
_ERROR_BODY = 1_000_000
_LARGE, _SLICE = 1_000_000, 65_536
_REST_S = 0.5


@dataclass(frozen=True)
class ClientOptions:
    """Where and how requests go. Times in seconds; `first_byte` None means that only `timeout`, for the whole answer, counts.

    `rate_limit_wait` is how long a limit on the rate is waited out beyond `max_retries`, while nobody gets an answer; with `max_retries` 0
    nothing is tried again, whatever it is. `proxies` says whether the environment's proxies are used.
    """

    base_url: str
    concurrency: int
    timeout: float = 600.0
    connect: float = 10.0
    first_byte: float | None = None
    max_retries: int = 5
    rate_limit_wait: float = 600.0
    max_reply_mb: float = 64.0
    proxies: bool = True


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """What a request came to: the decoded value and the number of tries; times in seconds.

    `latency_s` goes from the first try sent to the end of the answer. `first_token_s`, for a streamed answer, goes from the sending of the
    answered try to its first token. `waited_s` is what of `latency_s` was spent waiting between tries.
    """

    value: T
    attempts: int
    latency_s: float
    first_token_s: float | None = None
    waited_s: float = 0.0


class _Course:
    """What has happened so far to one request, over all its tries. Times are the loop's."""

    __slots__ = ("answered", "attempts", "failed_at", "failure", "limited_s", "others", "started", "waited_s")

    def __init__(self) -> None:
        self.attempts = self.others = 0
        self.started = self.failed_at = self.waited_s = self.limited_s = 0.0
        self.failure: Failure | None = None
        self.answered: Failure | None = None

    def begin(self, now: float) -> None:
        """A try is sent: the clock starts with the first, and what lies between the last failure and this one was waiting."""
        self.attempts += 1
        if self.failure is None:
            self.started = now
            return
        self.waited_s += now - self.failed_at
        if self.failure.limited:
            self.limited_s += now - self.failed_at

    def fail(self, failure: Failure, now: float) -> None:
        """A try has failed."""
        self.failure, self.failed_at = failure, now
        self.others += not failure.limited
        if failure.status is not None:
            self.answered = failure


class Client:
    """One endpoint. Use it as an async context manager; `post` may run as often at once as wanted, `limiter` holds tries back.

    `retrying` is the number of requests that wait before another try, and `retry_reason` what the last of them heard.
    """

    def __init__(self, options: ClientOptions, *, path: str, headers: Mapping[str, str], key: str | None) -> None:
        self.url = _join(options.base_url, path)
        self.limiter = Limiter(options.concurrency)
        self.retrying = 0
        self.retry_reason: str | None = None
        self._options = options
        self._secret = Secret(key, options.base_url)
        self._headers = {
            "content-type": "application/json",
            "accept": "*/*",
            "accept-encoding": "gzip",
            "user-agent": f"pytest-gym/{__version__}",
            **headers,
        }
        self._extensions = {"timeout": httpx.Timeout(None, connect=options.connect).as_dict()}
        self._most = int(options.max_reply_mb * 1e6)
        self._answered_at = float("-inf")
        self._proxy: str | None = None
        self._transport: AiohttpTransport | None = None

    async def __aenter__(self) -> Client:
        """Open the pool. Raises ModelError where the URL, or the environment's proxy, is none."""
        try:
            self._url = httpx.URL(self.url)
        except httpx.InvalidURL as error:
            raise ModelError(f"--gym-base-url is no valid URL: {error}", kind="not_found", fatal=True) from None
        proxy = self._environment_proxy() if self._options.proxies else None
        import aiohttp
        from httpx_aiohttp import AiohttpTransport

        # What the session holds need not be copied for each request, but it would go to a proxy, too, and with it the key.
        constant, self._headers = (self._headers, {}) if proxy is None else ({}, self._headers)

        def session() -> aiohttp.ClientSession:
            # No cookies: what a server leaves behind with one case must not reach the next. No limit: the limiter is below it.
            connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=60, ssl=transport.ssl_context)
            return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar(), headers=constant)

        # Loading the system's certificates takes 20 ms, which plain http does not need.
        secure = self._url.scheme == "https" or (proxy is not None and proxy.url.scheme == "https")
        transport = AiohttpTransport(verify=secure, proxy=proxy, client=session)
        self._transport = transport
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.limiter.close()
        if self._transport is not None:
            await self._transport.aclose()

    async def post(self, body: Mapping[str, Any], read: Callable[[Any], T], stream: Callable[[], Stream] | None = None) -> Answer[T]:
        """Send `body` until a reply comes that `read` takes (it raises ValueError otherwise).

        With `stream` the reply may come as server-sent events, which a new assembler puts together at each try. Raises ModelError with the
        kind of the last failure, its status and excerpt, the number of tries and the seconds waited.
        """
        content = json.dumps(body).encode()
        clock = asyncio.get_running_loop().time
        limiter, course = self.limiter, _Course()
        while True:
            async with limiter.slot():
                sent = clock()
                course.begin(sent)
                try:
                    value, first, ended = await self._once(content, read, stream)
                except Failure as failure:
                    course.fail(failure, clock())
                    if failure.pushed_back:
                        limiter.pushed_back(sent)
                else:
                    limiter.succeeded()
                    self._answered_at = ended
                    first_token_s = None if first is None else first - sent
                    return Answer(value, course.attempts, ended - course.started, first_token_s, course.waited_s)
            await self._before_another(course)

    async def _before_another(self, course: _Course) -> None:
        """Wait until the next try may be made. Raises ModelError where there shall be none."""
        failure = course.failure
        assert failure is not None
        if not self._tries_again(course, failure):
            raise self._error(course, failure)
        wait = _wait(course.attempts, failure.retry_after, believed=course.attempts <= self._options.max_retries)
        if failure.pushed_back and failure.retry_after:
            self.limiter.pause(failure.retry_after)
        self.retrying += 1
        self.retry_reason = failure.text
        try:
            await asyncio.sleep(wait)
        finally:
            self.retrying -= 1

    def _tries_again(self, course: _Course, failure: Failure) -> bool:
        options = self._options
        if not failure.again or not options.max_retries:
            return False
        if failure.retry_after is not None and failure.retry_after > (options.rate_limit_wait or _LONGEST_RETRY_AFTER):
            failure.text += f", and asks to be left alone for {failure.retry_after:.0f} s (client.rate_limit_wait says how long is waited)"
            return False
        if not options.rate_limit_wait or (failure.limited and course.attempts <= options.max_retries):
            return course.attempts <= options.max_retries
        if failure.limited:
            # While others are answered the limit works as it should, and this one's turn will come.
            return min(course.limited_s, course.failed_at - self._answered_at) < options.rate_limit_wait
        return course.others <= options.max_retries

    async def _once(self, content: bytes, read: Callable[[Any], T], stream: Callable[[], Stream] | None) -> tuple[T, float | None, float]:
        """One try: the value, and when its first token (of a stream) and its end came. Raises Failure."""
        assert self._transport is not None
        clock = asyncio.get_running_loop().time
        options = self._options
        deadline = clock() + options.timeout
        first_byte = deadline if options.first_byte is None else min(deadline, clock() + options.first_byte)
        response: httpx.Response | None = None
        try:
            async with asyncio.timeout_at(first_byte) as timer:
                response = await self._transport.handle_async_request(self._request(content))
                if first_byte < deadline:
                    timer.reschedule(deadline)
                headers = response.headers
                most = self._most if response.status_code == 200 else min(self._most, _ERROR_BODY)
                chunks = pieces(cast(httpx.AsyncByteStream, response.stream), headers.get("content-encoding"), most)
                try:
                    if response.status_code != 200:
                        raise refused(response.status_code, headers, await _head(chunks), self._secret)
                    if stream is None or not _holds_events(headers.get("content-type", "")):
                        whole = b"".join([chunk async for chunk in chunks])
                        return decoded(whole, read, self._secret), None, clock()
                    assembler = stream()
                    body, first, ended = await streamed(chunks, assembler, self._secret)
                    value = understood(body, read, self._secret)
                    timer.reschedule(clock() + 2 * _REST_S)
                    await _rest(chunks)
                    return value, first, ended
                finally:
                    await chunks.aclose()
                    await response.aclose()
        except TimeoutError:
            raise self._late(response, clock() >= deadline) from None
        except TooLarge:
            text = f"sent more than {options.max_reply_mb:g} MB, the most that is read (client.max_reply_mb)"
            raise Failure("bad_reply", text, again=False, status=200) from None
        except Failure:
            raise
        except Exception as error:
            failure = of_exception(error, self._secret, connect_s=options.connect)
            if failure is None:
                raise
            raise failure from None

    def _request(self, content: bytes) -> httpx.Request:
        if len(content) > _LARGE:
            # In one piece it would hold up the loop, and aiohttp warns of that.
            headers = {**self._headers, "content-length": str(len(content))}
            return httpx.Request("POST", self._url, headers=headers, stream=_Slices(content), extensions=self._extensions)
        # As a stream, because httpx spends as long on headers for `content` as on all else, and the transport makes its own.
        request = httpx.Request("POST", self._url, headers=self._headers, stream=httpx.ByteStream(content), extensions=self._extensions)
        request.read()
        return request

    def _late(self, response: httpx.Response | None, whole: bool) -> Failure:
        options = self._options
        if response is not None:
            return Failure("timeout", f"did not end its answer within {options.timeout:g} s (client.timeout)", status=response.status_code)
        if whole:
            return Failure("timeout", f"gave no answer within {options.timeout:g} s (client.timeout)")
        return Failure("timeout", f"sent nothing within {options.first_byte:g} s (client.timeout.first_byte)")

    def _error(self, course: _Course, failure: Failure) -> ModelError:
        """The error that a request ends in, with what is known of its last try, and of the last that was answered."""
        redact, answered = self._secret.redact, course.answered
        text = redact(self.url.partition("?")[0])
        if self._proxy is not None:
            text += f" (through the proxy {self._proxy})"
        text += f" {failure.text}"
        if answered is not None and failure.status is None:
            text += f" (an earlier try: {answered.text})"
        seconds = course.failed_at - course.started
        text += f", after {course.attempts} {'try' if course.attempts == 1 else 'tries'} in {seconds:.1f} s"
        if course.waited_s:
            text += f", {course.waited_s:.1f} s of that waiting"
        return ModelError(
            text,
            kind=failure.kind,
            fatal=failure.fatal,
            attempts=course.attempts,
            status=answered.status if answered else None,
            excerpt=answered.excerpt if answered else failure.excerpt,
            waited_s=course.waited_s,
        )

    def _environment_proxy(self) -> httpx.Proxy | None:
        """The proxy that the environment names for this endpoint: HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, but for NO_PROXY."""
        proxies = urllib.request.getproxies()
        address = proxies.get(self._url.scheme) or proxies.get("all")
        if not address or urllib.request.proxy_bypass(self._url.host):
            return None
        try:
            url = httpx.URL(address if "://" in address else f"http://{address}")
            self._proxy = f"{url.scheme}://{url.netloc.decode()}"
            if url.scheme not in ("http", "https") or not url.host:
                raise httpx.InvalidURL(f"not {self._proxy}")
        except httpx.InvalidURL as error:
            text = f"the environment's proxy must be http://HOST:PORT ({error}): change it, or name {self._url.host} in NO_PROXY"
            raise ModelError(text, kind="connect", fatal=True) from None
        password = {}
        if url.userinfo:
            pair = f"{url.username}:{url.password}".encode()
            password = {"proxy-authorization": f"Basic {base64.b64encode(pair).decode()}"}
        if self._url.scheme == "http":
            # Without TLS there is no request to the proxy alone.
            self._headers.update(password)
        return httpx.Proxy(url.copy_with(username=None, password=None), headers=password)


class _Slices(httpx.AsyncByteStream):
    """A large body, piece by piece."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for at in range(0, len(self._content), _SLICE):
            yield self._content[at : at + _SLICE]


async def _head(chunks: AsyncGenerator[bytes, None]) -> bytes:
    """What there is of an error's body, as far as it is read."""
    content = bytearray()
    try:
        async for chunk in chunks:
            content += chunk
    except TooLarge:
        pass
    return bytes(content)


async def _rest(chunks: AsyncGenerator[bytes, None]) -> None:
    """Read on after a stream's end marker, so that the connection can be used again. The answer has come: what follows is no part of it."""
    try:
        async with asyncio.timeout(_REST_S):
            async for _ in chunks:
                pass
    except Exception:
        return


def _holds_events(content_type: str) -> bool:
    """Whether what a streamed request got is a stream. Servers that ignore `stream` send JSON; some name a stream text/plain."""
    return "event-stream" in content_type or not ("json" in content_type or "html" in content_type)


def allowed_connections(wanted: int) -> int:
    """How many connections this process may open, up to `wanted`: the limit on open files is raised to the hard one where it must be."""
    try:
        import resource
    except ImportError:
        return wanted
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted + _OTHER_FILES:
        return wanted
    limit = wanted + _OTHER_FILES if hard == resource.RLIM_INFINITY else min(hard, wanted + _OTHER_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    return max(1, min(wanted, limit - _OTHER_FILES))


def _join(base_url: str, path: str) -> str:
    """The URL of a path below the base URL, whose query, if it has one, stays at the end."""
    base, mark, query = base_url.partition("?")
    return base.rstrip("/") + path + mark + query


def _wait(attempt: int, retry_after: float | None, *, believed: bool) -> float:
    """Seconds before the next try: what the server asks for, else exponential with full jitter on the upper half.

    A server that has been wrong about it often enough is no longer `believed`: then it is the longer of both.
    """
    if retry_after is not None and believed:
        return retry_after + random.uniform(0, _JITTER_S)
    backoff = min(_BACKOFF_FIRST * 2 ** min(attempt - 1, 20), _BACKOFF_LIMIT)
    wait = random.uniform(backoff / 2, backoff)
    return wait if retry_after is None else max(retry_after, wait)
