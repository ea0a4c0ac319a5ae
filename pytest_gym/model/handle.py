"""The handle of one case, which a harness calls `model`: it sends, counts and records. Neither HTTP nor scheduling is done here."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from pytest_gym.errors import ModelError
from pytest_gym.harnesses import Reply
from pytest_gym.model import Wire
from pytest_gym.model.client import Client
from pytest_gym.records import Message, Rollout, Usage
from pytest_gym.request import Request


class CaseModel:
    """The model as one case sees it; implements `pytest_gym.Model`."""

    def __init__(self, client: Client, wire: Wire, name: str, request: Request, sampling: Mapping[str, Any]) -> None:
        self.prompt, self.tools = request.messages, request.tools
        self.attempts = 0
        self.latency_s = 0.0
        self.reported: str | None = None
        self.first_token_s: float | None = None
        self._streamed_tokens, self._streaming_s = 0, 0.0
        self._client, self._wire, self._name, self._sampling = client, wire, name, sampling
        self.usage = Usage()

    async def ask(self, messages: Sequence[Message], *, tools: Sequence[Mapping[str, Any]] | None = None) -> Reply:
        """Send the conversation and wait for the answer, retries included. Raises ModelError where none can be had."""
        what = (self._name, messages, self._sampling, tools)
        try:
            # Reading files and encoding them would hold up every other case.
            body = await asyncio.to_thread(self._wire.request, *what) if _reads_files(messages) else self._wire.request(*what)
        except ValueError as error:
            raise ModelError(f"the prompt cannot be sent: {error}", kind="bad_request") from error
        try:
            answer = await self._client.post(body, self._wire.reply, self._wire.stream if self._sampling.get("stream") else None)
        except ModelError as error:
            self.attempts += error.attempts
            raise
        self.attempts += answer.attempts
        self.latency_s += answer.latency_s
        self.usage = _add(self.usage, answer.value.usage)
        self.reported = answer.value.model or self.reported
        if answer.first_token_s is not None:
            self._clock(answer.first_token_s, answer.latency_s, answer.attempts, answer.value.usage.output_tokens)
        return answer.value

    def _clock(self, first_token_s: float, latency_s: float, attempts: int, tokens: int | None) -> None:
        if self.first_token_s is None:
            self.first_token_s = first_token_s
        # After a failed try the latency holds that as well, and the pace is not known.
        if tokens is not None and attempts == 1 and latency_s > first_token_s:
            self._streamed_tokens += tokens
            self._streaming_s += latency_s - first_token_s

    def rollout(self, messages: Sequence[Message], reply: Reply) -> Rollout:
        """The record of the attempt: the conversation up to `reply`, with all tokens, time and requests of this case."""
        return Rollout(
            messages=(*messages, reply.message),
            text=reply.message.content if isinstance(reply.message.content, str) else "",
            reasoning=reply.message.reasoning,
            tool_calls=reply.message.tool_calls,
            finish_reason=reply.finish_reason,
            usage=self.usage,
            latency_s=round(self.latency_s, 4),
            attempts=self.attempts,
            first_token_s=None if self.first_token_s is None else round(self.first_token_s, 4),
            tokens_per_s=round(self._streamed_tokens / self._streaming_s, 2) if self._streaming_s else None,
            logprobs=reply.logprobs,
        )


def _reads_files(messages: Sequence[Message]) -> bool:
    return any(part.path is not None for message in messages if not isinstance(message.content, str) for part in message.content)


def _add(one: Usage, other: Usage) -> Usage:
    if not one.requests:
        return other

    def total(a: int | None, b: int | None) -> int | None:
        return None if a is None and b is None else (a or 0) + (b or 0)

    return Usage(
        total(one.input_tokens, other.input_tokens),
        total(one.output_tokens, other.output_tokens),
        total(one.reasoning_tokens, other.reasoning_tokens),
        one.requests + other.requests,
    )
