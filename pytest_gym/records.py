"""The records that every other module passes on: read this first.

Frozen dataclasses with a JSON form, and nothing else: no files, no pytest, no rules of scoring. A task becomes messages, messages a
rollout, a rollout a verdict, and both together a result, which is one line of `rollouts.jsonl`.
The JSON form of messages is Chat Completions' (plus `reasoning`); the modules in `model/` translate it for other wire APIs.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

FinishReason = Literal["stop", "length", "tool_calls", "content_filter", "refusal"]
Role = Literal["system", "user", "assistant", "tool"]
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Task:
    """One row of a dataset.

    `id` is upstream's own identifier as text, `index` the row number in the prepared file, `fields` the whole row. `subset` and
    `cluster` name the group that the row is reported in and the group that it was drawn with, where there is one.
    `task["answer"]` reads a field; in a loaded dataset an absent one raises DataError with row and field.
    """

    id: str
    index: int
    benchmark: str
    fields: Mapping[str, Any]
    subset: str | None = None
    cluster: str | None = None

    def __getitem__(self, name: str) -> Any:
        return self.fields[name]

    def get(self, name: str, default: Any = None) -> Any:
        """The field, or `default` where the row has none."""
        return self.fields.get(name, default)

    def where(self, field: str | None = None) -> str:
        """The row, and perhaps a field of it, in the words that begin an error: `gsm8k: row 4 (task '0003'), field 'answer'`."""
        row = f"{self.benchmark}: row {self.index + 1} (task {self.id!r})"
        return row if field is None else f"{row}, field {field!r}"


@dataclass(frozen=True, slots=True)
class Part:
    """One piece of a message that is more than text. Binary data is never inlined: it is a url, or a path with its sha256."""

    type: Literal["text", "image", "audio", "file"]
    text: str | None = None
    url: str | None = None
    path: str | None = None
    sha256: str | None = None

    def to_json(self) -> Json:
        """The part as a JSON object without its empty keys."""
        pairs = (("type", self.type), ("text", self.text), ("url", self.url), ("path", self.path), ("sha256", self.sha256))
        return {name: value for name, value in pairs if value is not None}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Part:
        """The part that `to_json` wrote."""
        return cls(**data)


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call that the model asked for. `arguments` is None where `raw`, its own text, is no JSON object."""

    id: str
    name: str
    arguments: Mapping[str, Any] | None
    raw: str

    def to_json(self) -> Json:
        """The call as Chat Completions writes it."""
        return {"id": self.id, "type": "function", "function": {"name": self.name, "arguments": self.raw}}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ToolCall:
        """The call from Chat Completions' form; arguments that are no JSON object stay text only."""
        function = data.get("function") or {}
        raw = function.get("arguments")
        if not isinstance(raw, str):
            raw = "" if raw is None else json.dumps(raw)
        try:
            arguments = json.loads(raw) if raw else {}
        except (ValueError, RecursionError):
            arguments = None
        return cls(str(data.get("id") or ""), str(function.get("name") or ""), arguments if isinstance(arguments, dict) else None, raw)


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation.

    `native` is what the wire API must get back unchanged once the tools have answered (signed thinking and the like), in its own form:
    only `model/` reads it, and only turns with tool calls have it. Whoever changes such a turn drops it.
    """

    role: Role
    content: str | tuple[Part, ...] = ""
    reasoning: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    native: tuple[Json, ...] = field(default=(), hash=False)

    def to_json(self) -> Json:
        """The message as Chat Completions writes it, plus `reasoning` and `native`."""
        content = self.content if isinstance(self.content, str) else [part.to_json() for part in self.content]
        data: Json = {"role": self.role, "content": content}
        if self.reasoning is not None:
            data["reasoning"] = self.reasoning
        if self.tool_calls:
            data["tool_calls"] = [call.to_json() for call in self.tool_calls]
        if self.tool_call_id is not None:
            data["tool_call_id"] = self.tool_call_id
        if self.native:
            data["native"] = list(self.native)
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Message:
        """The message that `to_json` wrote."""
        content = data.get("content")
        return cls(
            data["role"],
            tuple(Part.from_json(part) for part in content) if isinstance(content, list) else content or "",
            data.get("reasoning"),
            tuple(ToolCall.from_json(call) for call in data.get("tool_calls") or ()),
            data.get("tool_call_id"),
            tuple(data.get("native") or ()),
        )


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as the server counted them (None: it did not say), and the number of requests that were answered."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None
    requests: int = 0

    def to_json(self) -> Json:
        """All four numbers."""
        return {
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "reasoning_tokens": self.reasoning_tokens,
            "requests": self.requests,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Usage:
        """The usage that `to_json` wrote."""
        return cls(**data)


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """A token of the answer, the natural logarithm of its probability, and the same for the likeliest tokens in its place.

    JSON has no infinity: −9999 stands for it, as in Chat Completions.
    """

    token: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()

    def to_json(self) -> Json:
        """The token as Chat Completions writes it, without its bytes."""
        data: Json = {"token": self.token, "logprob": self.logprob}
        if self.top:
            data["top_logprobs"] = [{"token": token, "logprob": logprob} for token, logprob in self.top]
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> TokenLogprob:
        """The token from Chat Completions' form. Raises KeyError, TypeError or ValueError where it is none."""
        top = tuple((str(other["token"]), _finite(other["logprob"])) for other in data.get("top_logprobs") or ())
        return cls(str(data["token"]), _finite(data["logprob"]), top)


def _finite(logprob: Any) -> float:
    return number if math.isfinite(number := float(logprob)) else -9999.0


@dataclass(frozen=True, slots=True)
class CaseError:
    """Why a case has no verdict. `kind` is one word of the taxonomy in docs/results.md, `message` one sentence."""

    kind: str
    message: str

    def to_json(self) -> Json:
        """Kind and message."""
        return {"kind": self.kind, "message": self.message}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> CaseError:
        """The error that `to_json` wrote."""
        return cls(str(data["kind"]), str(data["message"]))


@dataclass(frozen=True, slots=True)
class Rollout:
    """What happened in one attempt.

    `messages` includes the prompt; `text` is the last answer of the assistant without its reasoning. `latency_s` counts from the first
    request sent to the last answer, in seconds; `attempts` is the number of requests sent, retries included.
    Where the answer was streamed, `first_token_s` is the time to its first token (that of the first request, where there were several)
    and `tokens_per_s` the output tokens per second from there to its end. `logprobs` belongs to the last answer, where asked for.
    Where `error` is set nothing came that could be judged.
    """

    messages: tuple[Message, ...] = ()
    text: str = ""
    reasoning: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: FinishReason = "stop"
    usage: Usage = field(default_factory=Usage)
    latency_s: float = 0.0
    attempts: int = 0
    error: CaseError | None = None
    first_token_s: float | None = None
    tokens_per_s: float | None = None
    logprobs: tuple[TokenLogprob, ...] | None = None

    def to_json(self) -> Json:
        """The rollout with the keys of `rollouts.jsonl`."""
        data: Json = {
            "error": self.error.to_json() if self.error else None,
            "messages": [message.to_json() for message in self.messages],
            "text": self.text,
            "finish_reason": self.finish_reason,
            "usage": self.usage.to_json(),
            "latency_s": self.latency_s,
            "attempts": self.attempts,
        }
        if self.reasoning is not None:
            data["reasoning"] = self.reasoning
        if self.tool_calls:
            data["tool_calls"] = [call.to_json() for call in self.tool_calls]
        if self.first_token_s is not None:
            data["first_token_s"] = self.first_token_s
        if self.tokens_per_s is not None:
            data["tokens_per_s"] = self.tokens_per_s
        if self.logprobs is not None:
            data["logprobs"] = [token.to_json() for token in self.logprobs]
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Rollout:
        """The rollout that `to_json` wrote; further keys are ignored."""
        return cls(
            messages=tuple(Message.from_json(message) for message in data.get("messages") or ()),
            text=data.get("text") or "",
            reasoning=data.get("reasoning"),
            tool_calls=tuple(ToolCall.from_json(call) for call in data.get("tool_calls") or ()),
            finish_reason=data.get("finish_reason") or "stop",
            usage=Usage.from_json(data["usage"]) if data.get("usage") else Usage(),
            latency_s=data.get("latency_s") or 0.0,
            attempts=data.get("attempts") or 0,
            error=CaseError.from_json(data["error"]) if data.get("error") else None,
            first_token_s=data.get("first_token_s"),
            tokens_per_s=data.get("tokens_per_s"),
            logprobs=None if data.get("logprobs") is None else tuple(TokenLogprob.from_json(token) for token in data["logprobs"]),
        )


class Landed(NamedTuple):
    """What the counts need of a landed rollout, without its texts: these leave memory."""

    case: int
    attempts: int
    usage: Usage
    error: str | None
    finish_reason: FinishReason
    empty: bool
    text_hash: int
    latency_s: float | None
    model: str | None

    @classmethod
    def of(cls, case: int, rollout: Rollout, model: str | None = None) -> Landed:
        """The facts of a rollout; `model` is the name that the server reported."""
        return cls(
            case,
            rollout.attempts,
            rollout.usage,
            rollout.error.kind if rollout.error else None,
            rollout.finish_reason,
            not rollout.text.strip() and not rollout.tool_calls,
            hash((rollout.text, rollout.reasoning)),
            rollout.latency_s,
            model,
        )


@dataclass(frozen=True, slots=True)
class Verdict:
    """A verifier's judgement.

    `reward` is a number in the metric's range. `passed` may be left None: it then becomes reward ≥ the benchmark's `pass_threshold`.
    `extracted` is the answer that the verifier saw, normalised (what majority votes count), or None where it found none.
    `explanation` says in a sentence why; `scores` holds further named numbers.
    """

    reward: float
    passed: bool | None = None
    extracted: str | None = None
    explanation: str = ""
    scores: Mapping[str, float] = field(default_factory=dict)

    def to_json(self) -> Json:
        """The verdict with the keys of `rollouts.jsonl`."""
        return {
            "reward": self.reward,
            "passed": self.passed,
            "extracted": self.extracted,
            "explanation": self.explanation,
            "scores": dict(self.scores),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Verdict:
        """The verdict that `to_json` wrote; further keys are ignored."""
        return cls(data["reward"], data.get("passed"), data.get("extracted"), data.get("explanation") or "", data.get("scores") or {})


@dataclass(frozen=True, slots=True)
class Result:
    """One case of a run with all that came of it: a verdict, or an error, and the rollout where there is one."""

    benchmark: str
    task_id: str
    task_index: int
    repeat: int
    verdict: Verdict | None = None
    error: CaseError | None = None
    rollout: Rollout | None = None

    def judgement(self) -> Json:
        """What is known of the case besides its rollout: identity and verdict, with NeMo Gym's two index keys beside ours."""
        empty = {"reward": None, "passed": None, "extracted": None, "explanation": None, "scores": None}
        return {
            "benchmark": self.benchmark,
            "task_id": self.task_id,
            "repeat": self.repeat,
            **(self.verdict.to_json() if self.verdict else empty),
            "_ng_task_index": self.task_index,
            "_ng_rollout_index": self.repeat,
        }

    def to_json(self) -> Json:
        """One line of `rollouts.jsonl`: the judgement, the rollout, and the error of either."""
        return {
            **self.judgement(),
            **(self.rollout or Rollout()).to_json(),
            # Nothing came, so nothing finished.
            **({"finish_reason": None} if self.rollout is None or (self.rollout.error and not self.rollout.text) else {}),
            "error": self.error.to_json() if self.error else None,
        }
