"""Why a try came to nothing: HTTP statuses, error bodies and broken connections become a kind, a sentence, and whether to try again.

The kinds are those of docs/results.md. Here is also what keeps the key out of every text. Nothing is sent, awaited or counted here.
"""

from __future__ import annotations

import email.utils
import html
import json
import math
import os
import re
import ssl
import time
from collections.abc import Mapping
from datetime import UTC
from typing import Any
from urllib.parse import parse_qsl, urlsplit

RETRIED = frozenset({408, 409, 425, 429})
"""Statuses below 500 that are tried again; every 5xx is, too."""

_PUSHED_BACK = frozenset({429, 503, 529})
_EXCERPT, _LOOKED_AT = 200, 65_536
_SHORTEST, _LONG = 4, 16
_CONTEXT_LENGTH = re.compile(r"context.{0,20}length|maximum context|context window|too many tokens|prompt is too long", re.I)
_NO_CREDIT = re.compile(r"credit balance is too low|insufficient (credits|balance|funds)", re.I)
_QUOTA = frozenset({"insufficient_quota", "billing_error", "billing_hard_limit_reached", "billing_not_active"})
_FILTERED = frozenset({"content_filter", "content_policy_violation"})
_KEY_LIKE = re.compile(r"\b(sk|key|hf|nvapi)[-_][A-Za-z0-9_*.-]{6,}")

# What an error inside of an answer calls itself, and the status that the same error has outside of one. From
# https://docs.anthropic.com/en/api/errors and https://platform.openai.com/docs/guides/error-codes.
_STATUS_OF = {
    "authentication_error": 401, "billing_error": 402, "context_length_exceeded": 400, "insufficient_quota": 429, "invalid_api_key": 401,
    "invalid_prompt": 400, "invalid_request_error": 400, "model_not_found": 404, "not_found_error": 404, "overloaded_error": 529,
    "permission_error": 403, "rate_limit_error": 429, "rate_limit_exceeded": 429, "request_too_large": 413, "timeout_error": 504,
}  # fmt: skip


class Failure(Exception):
    """One try that came to nothing.

    `text` goes on from the endpoint's URL: "answered 500: 'oops'". `again`: another try may help. `fatal`: every other request would end
    the same way. `retry_after` are the seconds that the server asks for; `limited` says that it has a limit on the rate, which passes, and
    `pushed_back` that it had no room. `status` and `excerpt` (what the body said, short) are of the answer, where there was one.
    """

    def __init__(
        self,
        kind: str,
        text: str,
        *,
        again: bool = True,
        fatal: bool = False,
        retry_after: float | None = None,
        limited: bool = False,
        pushed_back: bool = False,
        status: int | None = None,
        excerpt: str | None = None,
    ) -> None:
        super().__init__(text)
        self.kind, self.text, self.again, self.fatal = kind, text, again and not fatal, fatal
        self.retry_after, self.limited, self.pushed_back = retry_after, limited, pushed_back
        self.status, self.excerpt = status, excerpt


class Secret:
    """The key, and what the query of `url` holds, for taking them out of what is shown or kept. Its repr does not show them."""

    def __init__(self, key: str | None, url: str = "") -> None:
        self._key = key
        values = [value for _, value in parse_qsl(urlsplit(url).query)]
        self._words = [word for word in (key or "", *values) if len(word) >= _SHORTEST]

    def __repr__(self) -> str:
        return f"Secret({'set' if self._key else 'none'})"

    def __bool__(self) -> bool:
        return bool(self._key)

    def out_of(self, text: str) -> str:
        """The text without the key: for texts of a model, which may hold what merely looks like one.

        A key of fewer than 16 characters (a dummy such as `EMPTY`) stays: it is a word, and cutting words changes answers.
        """
        return text.replace(self._key, "[key]") if self._key and len(self._key) >= _LONG else text

    def redact(self, text: str) -> str:
        """The text without the key, the values of the URL's query, and whatever looks like a key: for messages."""
        for word in self._words:
            text = text.replace(word, "[key]")
        return _KEY_LIKE.sub("[key]", text)

    def may_be_in(self, text: str) -> bool:
        """Whether the JSON `text` may hold the key: as it is, or with escapes, of which only these can stand for a character of a key."""
        return self._key is not None and len(self._key) >= _LONG and (self._key in text or "\\u00" in text or "\\/" in text)

    def out_of_all(self, value: Any) -> Any:
        """The decoded JSON `value` without the key in any of its texts."""
        if isinstance(value, str):
            return self.out_of(value)
        if isinstance(value, list):
            return [self.out_of_all(item) for item in value]
        if isinstance(value, dict):
            return {self.out_of(name): self.out_of_all(item) for name, item in value.items()}
        return value


def excerpt(content: bytes | str, secret: Secret) -> str:
    """What a body says, in at most 200 characters: an error's message, a page's text, else how it begins. Empty where it says nothing."""
    text = content if isinstance(content, str) else content.decode("utf-8", "replace")
    try:
        data = json.loads(text) if len(text) < _LOOKED_AT else None
    except (ValueError, RecursionError):
        data = None
    text = _error(data)[0] or text[:_LOOKED_AT]
    if text.lstrip()[:1] == "<":
        text = re.sub(r"(?is)<(script|style)\b.*?(</\1\s*>|\Z)|<!--.*?(-->|\Z)", " ", text)
        text = html.unescape(re.sub(r"<[^<>]*>", " ", text))
    # Lone surrogates, which JSON can hold, cannot be written.
    text = " ".join(secret.redact(text).encode("utf-8", "replace").decode().split())
    return text[:_EXCERPT] + ("…" if len(text) > _EXCERPT else "")


def refused(status: int, headers: Mapping[str, str], content: bytes, secret: Secret) -> Failure:
    """The failure that an answer with another status than 200 is. The names in `headers` are found in any case."""
    said = excerpt(content, secret)
    text = f"answered {status}: {_quoted(said)}"
    if 200 <= status < 300:
        return Failure("bad_reply", f"{text}, where only 200 is an answer", status=status, excerpt=said)
    if 300 <= status < 400:
        target = secret.redact(headers.get("location", "elsewhere").partition("?")[0])[:_EXCERPT]
        text = f"redirects ({status}) to {_quoted(target)}; give that as --gym-base-url"
        return Failure("not_found", text, fatal=True, status=status, excerpt=said)
    try:
        data = json.loads(content)
    except (ValueError, RecursionError):
        data = None
    return _sorted(status, text, said, data, retry_after(headers), secret)


def error_inside(data: Any, secret: Secret) -> Failure:
    """The failure that an error in the body, or among the events, of an answer with status 200 is: what it were as a status of its own."""
    said = excerpt(json.dumps(data), secret)
    _, words, status = _error(data)
    name = next((word for word in words if word in _STATUS_OF), None)
    if status is None:
        status = 500 if name is None else _STATUS_OF[name]
    text = f"answered with an error{f' ({name})' if name else ''}: {_quoted(said)}"
    failure = _sorted(status, text, said, data, None, secret)
    failure.status = 200
    return failure


def of_exception(error: BaseException, secret: Secret, *, connect_s: float) -> Failure | None:
    """The failure that an exception of the transport is, or None where it is none of those that a server or the network can cause."""
    import aiohttp

    # The transport raises httpx's exceptions, which say less than the ones that they were made from.
    cause = error.__cause__ if isinstance(error.__cause__, aiohttp.ClientError | OSError) else error
    if isinstance(cause, aiohttp.ClientHttpProxyError):
        said = secret.redact(cause.message)[:_EXCERPT]
        return Failure("connect", f"was not reached: the proxy answered {cause.status}: {_quoted(said)}", status=cause.status, excerpt=said)
    if isinstance(cause, aiohttp.ClientProxyConnectionError):
        return Failure("connect", f"was not reached: the proxy cannot be reached ({_reason(cause, secret)})")
    if isinstance(cause, ssl.SSLCertVerificationError | aiohttp.ClientConnectorCertificateError):
        reason = getattr(getattr(cause, "certificate_error", cause), "verify_message", "") or _reason(cause, secret)
        text = f"has a certificate that is not trusted ({reason}); SSL_CERT_FILE=FILE names a file of authorities to trust"
        return Failure("connect", text, fatal=True)
    if isinstance(cause, aiohttp.ClientSSLError | ssl.SSLError):
        reason = _reason(cause, secret)
        if re.search(r"wrong.version.number|record.layer.failure|http.request", reason, re.I):
            return Failure("connect", "does not speak TLS there; is its URL http://…?", fatal=True)
        return Failure("connect", f"could not be reached over TLS ({reason})", pushed_back=True)
    if isinstance(cause, aiohttp.ConnectionTimeoutError):
        text = f"could not be reached: no connection within {connect_s:g} s (client.timeout.connect)"
        return Failure("connect", text, pushed_back=True)
    if isinstance(cause, aiohttp.ClientConnectorDNSError):
        return Failure("connect", f"could not be reached: its name cannot be resolved ({_reason(cause, secret)})", pushed_back=True)
    if isinstance(cause, aiohttp.ClientConnectorError):
        return Failure("connect", f"could not be reached ({_reason(cause, secret)})", pushed_back=True)
    if isinstance(cause, aiohttp.ServerDisconnectedError):
        return Failure("connect", "broke the connection off before it answered")
    if isinstance(cause, aiohttp.ClientPayloadError):
        return Failure("bad_reply", "broke its answer off before its end")
    if isinstance(cause, aiohttp.InvalidURL):
        return Failure("not_found", "is no URL that can be asked; check --gym-base-url", fatal=True)
    if isinstance(cause, aiohttp.ClientConnectionError | OSError):
        return Failure("connect", f"broke the connection off ({_reason(cause, secret)})")
    if isinstance(cause, aiohttp.ClientResponseError):
        # 'message' may hold the offending bytes, whole.
        said = " ".join(secret.redact(cause.message).split())[:_EXCERPT]
        return Failure("bad_reply", f"sent no HTTP that can be read: {_quoted(said)}", excerpt=said)
    if isinstance(cause, aiohttp.ClientError | ValueError):
        return Failure("bad_reply", f"sent no HTTP that can be read: {_reason(cause, secret)}")
    return None


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds from `Retry-After`, which holds seconds or a date (RFC 9110, 10.2.3).

    A date is compared with the `Date` of the same answer where it has one: the clock of this machine may be wrong.
    """
    value = headers.get("retry-after")
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        until, now = _date(value), _date(headers.get("date", ""))
        if until is None:
            return None
        seconds = until - (time.time() if now is None else now)
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _date(value: str) -> float | None:
    """Seconds since 1970 of an HTTP date; what has no zone is UTC."""
    try:
        date = email.utils.parsedate_to_datetime(value)
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (TypeError, ValueError, OverflowError):
        return None


def _sorted(status: int, text: str, said: str, data: Any, wait: float | None, secret: Secret) -> Failure:
    """What a status of 400 or more means."""
    message, words, _ = _error(data)
    message = message or said
    if status == 402 or _QUOTA.intersection(words) or (status in (400, 403, 429) and _NO_CREDIT.search(message)):
        text = f"{text} (the account's quota is used up: waiting does not help)"
        return Failure("rate_limit", text, fatal=True, status=status, excerpt=said)
    if status in (401, 403):
        hint = (
            "the key was refused: is GYM_API_KEY, or the vendor's own variable, the right one?"
            if secret
            else "no key is set: export GYM_API_KEY=…"
        )
        return Failure("auth", f"{text} ({hint})", fatal=True, status=status, excerpt=said)
    if status == 407:
        return Failure("connect", f"{text} (the proxy asks for a password)", fatal=True, status=status, excerpt=said)
    if status in (404, 405, 410) or "model_not_found" in words:
        return Failure("not_found", f"{text} (check --gym-model and --gym-base-url)", fatal=True, status=status, excerpt=said)
    if status in RETRIED or status >= 500:
        return Failure(
            "rate_limit" if status == 429 else "server",
            text,
            retry_after=wait,
            limited=status == 429 or (status in _PUSHED_BACK and wait is not None),
            pushed_back=status in _PUSHED_BACK,
            status=status,
            excerpt=said,
        )
    kind = "bad_request"
    if "context_length_exceeded" in words or _CONTEXT_LENGTH.search(message):
        kind = "context_length"
    elif _FILTERED.intersection(words):
        kind = "content_filter"
    return Failure(kind, text, again=False, status=status, excerpt=said)


def _error(data: Any) -> tuple[str | None, tuple[str, ...], int | None]:
    """The message of an error body, the words that it calls itself, and the HTTP status that it names.

    OpenAI and Anthropic {"error": {"message", "type", "code"}}, vLLM {"message", "type", "code"}, FastAPI {"detail"}, Google [{"error"}].
    """
    if isinstance(data, list) and data:
        data = data[0]
    if not isinstance(data, dict):
        return None, (), None
    error = data.get("error") or data.get("detail") or data
    if isinstance(error, str):
        return error, (), None
    if not isinstance(error, dict):
        return None, (), None
    message, code = error.get("message"), error.get("code")
    words = tuple(word for word in (code, error.get("type")) if isinstance(word, str))
    status = code if isinstance(code, int) and 400 <= code < 600 else None
    return message if isinstance(message, str) else None, words, status


def _reason(error: BaseException, secret: Secret) -> str:
    """What an exception says, without the addresses and objects that the transport puts around it."""
    inner = getattr(error, "os_error", None) or error
    text: str | None
    if isinstance(inner, ssl.SSLError):
        text = (inner.reason or "").replace("_", " ").lower()
    else:
        number = getattr(inner, "errno", None)
        # A name that cannot be resolved has a number below 0 and a text of its own.
        text = os.strerror(number) if isinstance(number, int) and number > 0 else getattr(inner, "strerror", None)
    return " ".join(secret.redact(text or str(inner) or type(inner).__name__).split())[:_EXCERPT]


def _quoted(text: str) -> str:
    return repr(text) if text else "an empty body"
