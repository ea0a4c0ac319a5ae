"""Plain completions, for base models: one text in, its continuation out. Body building and reply reading, no HTTP.

Format: https://platform.openai.com/docs/api-reference/completions, as vLLM, SGLang and llama.cpp speak it.
The API knows no turns. A single user message is the prompt, unchanged; a system message stands before it with an empty line between, as
lm-evaluation-harness joins a description and a question. Anything else is refused: how turns are written down is part of a benchmark's
prompt, and no two base models were taught the same way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pytest_gym.harnesses import Reply
from pytest_gym.model.answer import apart, text_of
from pytest_gym.model.chat import chunk_choice, finish_of, first_choice, usage_of
from pytest_gym.model.sampling import alternatives, parameters, refusal, with_extra
from pytest_gym.records import Json, Message, TokenLogprob

MAX_TOKENS = 1024
"""Sent where `sampling.max_tokens` is not set: the API's own default is 16, which no answer fits in."""

_NAMES = {name: name for name in ("temperature", "top_p", "max_tokens", "seed", "stop")}


class Completions:
    """The wire of `--gym-api=completions`."""

    path = "/completions"

    def headers(self, key: str | None) -> dict[str, str]:
        """The key, where there is one, as a bearer token."""
        return {"authorization": f"Bearer {key}"} if key else {}

    def request(
        self, model: str, messages: Sequence[Message], sampling: Mapping[str, Any], tools: Sequence[Mapping[str, Any]] | None
    ) -> dict[str, Any]:
        """The body: model, prompt, sampling parameters by their names, then the fields of `extra_body`."""
        if tools:
            raise ValueError("plain completions have no tools: use --gym-api=chat")
        if sampling.get("response_format") is not None:
            raise refusal("response_format", "Completions")
        body = {"model": model, "prompt": _prompt(messages), "max_tokens": MAX_TOKENS, **parameters(sampling, _NAMES, "Completions")}
        if (top := alternatives(sampling)) is not None:
            # 0 would do by the documentation, but some servers read it as "none".
            body["logprobs"] = top or 1
        if sampling.get("stream"):
            body.update(stream=True, stream_options={"include_usage": True})
        return with_extra(body, sampling)

    def reply(self, data: Any) -> Reply:
        """The first choice. ValueError says what is missing."""
        choice = first_choice(data)
        text = choice.get("text")
        if not isinstance(text, str):
            raise ValueError("the reply's first choice has no 'text'")
        answer, reasoning = apart(text)
        message = Message("assistant", answer, reasoning)
        return Reply(message, finish_of(choice), usage_of(data), text_of(data.get("model")), _logprobs(choice.get("logprobs")))

    def stream(self) -> CompletionsStream:
        """A new assembler for one streamed reply."""
        return CompletionsStream()


class CompletionsStream:
    """Puts chunks together, which have the form of whole replies; implements `pytest_gym.model.Stream`."""

    def __init__(self) -> None:
        self.done = False
        self._top: Json = {}
        self._texts: list[str] = []
        self._logprobs: dict[str, list[Any]] = {}
        self._finish: str | None = None
        self._begun = False

    def event(self, name: str | None, data: Any) -> bool:
        """Take one chunk, or `[DONE]`; usage comes in a last chunk without choices. Returns True where it carries text."""
        if data == "[DONE]":
            self.done = True
            return False
        choice = chunk_choice(data, self._top)
        if choice is None:
            return False
        self._begun = True
        self._finish = text_of(choice.get("finish_reason")) or self._finish
        logprobs = choice.get("logprobs")
        for key, values in logprobs.items() if isinstance(logprobs, dict) else ():
            if isinstance(values, list):
                self._logprobs.setdefault(key, []).extend(values)
        text = text_of(choice.get("text"))
        if text:
            self._texts.append(text)
        return text is not None

    def body(self) -> Any:
        """The body with one choice. Raises ValueError where the stream broke off."""
        if not self._begun or (self._finish is None and not self.done):
            raise ValueError("the stream broke off before its end")
        choice: Json = {"index": 0, "text": "".join(self._texts), "finish_reason": self._finish, "logprobs": self._logprobs or None}
        return {**self._top, "choices": [choice]}


def _prompt(messages: Sequence[Message]) -> str:
    if [message.role for message in messages if message.role != "system"] != ["user"] or messages[-1].role != "user":
        raise ValueError(
            "plain completions have no turns, only one prompt: a user message, with system messages before it at most; "
            "write further turns into the prompt, or use --gym-api=chat"
        )
    texts = [_text(message) for message in messages]
    return "\n\n".join([*filter(None, texts[:-1]), texts[-1]])


def _text(message: Message) -> str:
    if isinstance(message.content, str):
        return message.content
    for part in message.content:
        if part.type != "text":
            raise ValueError(f"plain completions take text only, no part of type {part.type!r}: use --gym-api=chat")
    return "".join(part.text or "" for part in message.content)


def _logprobs(data: Any) -> tuple[TokenLogprob, ...] | None:
    """Parallel lists: the tokens, their log probabilities, and for each place an object {token: log probability}."""
    if not isinstance(data, dict) or not isinstance(data.get("tokens"), list):
        return None
    tokens, numbers = data["tokens"], data.get("token_logprobs") or ()
    tops = data.get("top_logprobs") or [None] * len(tokens)
    try:
        return tuple(
            TokenLogprob.from_json(
                {
                    "token": token,
                    "logprob": number,
                    "top_logprobs": [{"token": other, "logprob": likely} for other, likely in (top or {}).items()],
                }
            )
            for token, number, top in zip(tokens, numbers, tops, strict=True)
        )
    except (TypeError, AttributeError, ValueError):
        raise ValueError("the reply's 'logprobs' have an unknown form") from None


WIRE = Completions()
