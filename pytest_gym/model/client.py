"""The HTTP client: sends a body, waits, tries again where that can help, and says in one sentence why no answer could be had.

It knows one endpoint and no cases, tasks or messages. httpx over the aiohttp transport, because plain httpx's connection pool takes time
quadratic in its connections. The key is held here alone and is taken out of every text that leaves this module.
"""

from __future__ import annotations

import asyncio
import email.utils
import json
import random
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import httpx

from pytest_gym import __version__
from pytest_gym.errors import ModelError

T = TypeVar("T")

RETRIED = frozenset({408, 409, 425, 429})
"""Statuses below 500 that are tried again; every 5xx is, too."""

_OTHER_FILES = 128
"""Files that a run has open besides its connections: pytest's, the journal, workers' sockets."""

_BACKOFF_FIRST, _BACKOFF_LIMIT = 0.5, 30.0
_LONGEST_RETRY_AFTER = 600.0
_CONTEXT_LENGTH = re.compile(r"context.{0,20}length|maximum context|context window|too many tokens|prompt is too long", re.I)
_KEY_LIKE = re.compile(r"\b(sk|key|hf|nvapi)[-_][A-Za-z0-9_*.-]{6,}")


@dataclass(frozen=True)
class ClientOptions:
    """Where and how requests go. Times in seconds; `first_byte` None means that only `timeout`, for the whole answer, counts."""

    base_url: str
    concurrency: int
    timeout: float = 600.0
    connect: float = 10.0
    first_byte: float | None = None
    max_retries: int = 5


@dataclass(frozen=True)
class Answer(Generic[T]):
    """What a request came to: the decoded value, the number of tries, and the seconds from the first sent to the answer."""

    value: T
    attempts: int
    latency_s: float


class Client:
    """One endpoint. Use it as an async context manager; `post` may run as often at once as `concurrency` says."""

    def __init__(self, options: ClientOptions, *, path: str, key: str | None) -> None:
        self.url = _join(options.base_url, path)
        self._options = options
        self._key = key
        self._http: httpx.AsyncClient | None = None
        self._headers = httpx.Headers({"content-type": "application/json", "user-agent": f"pytest-gym/{__version__}"})
        if key:
            self._headers["authorization"] = f"Bearer {key}"
        timeout = httpx.Timeout(None, connect=options.connect, read=options.first_byte)
        self._extensions = {"timeout": timeout.as_dict()}

    async def __aenter__(self) -> Client:
        """Open the pool. Raises ModelError where the URL is none."""
        try:
            self._url = httpx.URL(self.url)
        except httpx.InvalidURL as error:
            raise ModelError(f"--gym-base-url is no valid URL: {error}", kind="not_found", fatal=True) from None
        from httpx_aiohttp import HttpxAiohttpClient

        options = self._options
        limits = httpx.Limits(max_connections=options.concurrency, max_keepalive_connections=options.concurrency, keepalive_expiry=60)
        # Loading the system's certificates takes 20 ms, which plain http does not need.
        self._http = HttpxAiohttpClient(
            limits=limits,
            verify=self.url.startswith("https:"),
        )
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._http is not None:
            await self._http.aclose()

    async def post(self, body: Mapping[str, Any], read: Callable[[Any], T]) -> Answer[T]:
        """Send `body` until a reply comes that `read` takes (it raises ValueError otherwise).

        Raises ModelError with the kind of the last failure, the number of tries and the time spent.
        """
        content = json.dumps(body).encode()
        started = time.monotonic()
        attempt = 0
        while True:
            attempt += 1
            try:
                value = await self._once(content, read)
                return Answer(value, attempt, time.monotonic() - started)
            except _Failure as failure:
                if failure.fatal or not failure.again or attempt > self._options.max_retries:
                    raise ModelError(
                        self._sentence(failure, attempt, time.monotonic() - started),
                        kind=failure.kind,
                        fatal=failure.fatal,
                        attempts=attempt,
                    ) from None
                await asyncio.sleep(_wait(attempt, failure.retry_after))

    async def _once(self, content: bytes, read: Callable[[Any], T]) -> T:
        assert self._http is not None
        try:
            async with asyncio.timeout(self._options.timeout):
                # Made here and not by `post`, which would merge headers, cookies and URL anew for each request.
                request = httpx.Request("POST", self._url, headers=self._headers, content=content, extensions=self._extensions)
                response = await self._http.send(request)
        except TimeoutError:
            raise _Failure("timeout", f"gave no answer within {self._options.timeout:g} s (client.timeout)") from None
        except httpx.ConnectError as error:
            raise _Failure("connect", f"could not be reached: {self.redact(str(error))}") from None
        except httpx.ReadTimeout:
            raise _Failure("timeout", f"sent nothing for {self._options.first_byte or self._options.timeout:g} s") from None
        except httpx.TransportError as error:
            # The aiohttp transport reports a connection that the server closed as a connect time-out.
            raise _Failure("connect", f"broke the connection off: {self.redact(str(error)) or type(error).__name__}") from None
        except Exception as error:
            # The transport lets some errors through as they are: a status line that is none, a body that does not unpack.
            raise _Failure("bad_reply", f"sent no HTTP that can be read: {type(error).__name__}: {self.redact(str(error))[:200]}") from None
        if response.status_code != 200:
            raise self._refusal(response)
        text = response.content.decode("utf-8", "replace")
        if self._key and self._key in text:
            text = text.replace(self._key, "[key]")
        try:
            return read(json.loads(text))
        except json.JSONDecodeError:
            raise _Failure("bad_reply", f"answered with something that is not JSON: {self._excerpt(response)}") from None
        except RecursionError:
            raise _Failure("bad_reply", "answered with JSON nested too deeply") from None
        except (TypeError, AttributeError, KeyError) as error:
            raise _Failure("bad_reply", f"answered with fields of unknown form ({error}): {self._excerpt(response)}") from None
        except ValueError as error:
            raise _Failure("bad_reply", f"answered, but {error}: {self._excerpt(response)}") from None

    def _refusal(self, response: httpx.Response) -> _Failure:
        status, excerpt = response.status_code, self._excerpt(response)
        text = f"answered {status}: {excerpt}"
        if status in (401, 403):
            hint = "the key in GYM_API_KEY or OPENAI_API_KEY was refused" if self._key else "no key is set: export GYM_API_KEY=…"
            return _Failure("auth", f"{text} ({hint})", again=False, fatal=True)
        if status in (404, 405, 410):
            return _Failure("not_found", f"{text} (check --gym-model and --gym-base-url)", again=False, fatal=True)
        if 300 <= status < 400:
            target = response.headers.get("location", "elsewhere")
            return _Failure(
                "not_found", f"redirects ({status}) to {self.redact(target)}; give that as --gym-base-url", again=False, fatal=True
            )
        if status == 429 or status == 503:
            retry_after = _retry_after(response.headers.get("retry-after"))
            return _Failure("rate_limit" if status == 429 else "server", text, retry_after=retry_after)
        if status in RETRIED or status >= 500:
            return _Failure("server", text, retry_after=_retry_after(response.headers.get("retry-after")))
        if _CONTEXT_LENGTH.search(excerpt):
            return _Failure("context_length", text, again=False)
        return _Failure("bad_request", text, again=False)

    def _excerpt(self, response: httpx.Response) -> str:
        text = response.content[:2000].decode("utf-8", "replace")
        try:
            data = json.loads(text)
            error = data.get("error", data)
            message = error.get("message") if isinstance(error, dict) else error
            text = message if isinstance(message, str) else text
        except (ValueError, AttributeError, RecursionError):
            pass
        text = " ".join(self.redact(text).split())
        return repr(text[:200] + ("…" if len(text) > 200 else "")) if text else "an empty body"

    def redact(self, text: str) -> str:
        """The text with the key, and what looks like a key, replaced."""
        if self._key:
            text = text.replace(self._key, "[key]")
        return _KEY_LIKE.sub("[key]", text)

    def _sentence(self, failure: _Failure, attempts: int, seconds: float) -> str:
        tries = "" if attempts == 1 else f", after {attempts} tries in {seconds:.1f} s"
        return f"{self.redact(self.url.partition('?')[0])} {failure.text}{tries}"


class _Failure(Exception):
    """One try that came to nothing."""

    def __init__(self, kind: str, text: str, *, again: bool = True, fatal: bool = False, retry_after: float | None = None) -> None:
        super().__init__(text)
        self.kind, self.text, self.again, self.fatal, self.retry_after = kind, text, again, fatal, retry_after


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


def _wait(attempt: int, retry_after: float | None) -> float:
    """Seconds before the next try: what the server asks for, else exponential with full jitter on the upper half."""
    if retry_after is not None:
        return min(retry_after, _LONGEST_RETRY_AFTER) + random.uniform(0, 0.25)
    backoff = min(_BACKOFF_FIRST * 2 ** (attempt - 1), _BACKOFF_LIMIT)
    return random.uniform(backoff / 2, backoff)


def _retry_after(value: str | None) -> float | None:
    """Seconds from a Retry-After header, which holds seconds or an HTTP date (RFC 9110, 10.2.3)."""
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (TypeError, ValueError):
        return None
