"""Probes: answers whose verdict is known beforehand, to hold a verifier against.

References must pass; empty answers, corrupted references and the references of other rows must not. Not here: which of that a benchmark
may rightly break, and what is said about it (check).
"""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

from pytest_gym.errors import GymError, VerifierError
from pytest_gym.records import Message, Rollout, Task, ToolCall, Verdict
from pytest_gym.resolve import Selected
from pytest_gym.verify import check_verdict, explain_exception

Answer = str | Message
Probe = tuple[Task, Answer]

EMPTY: tuple[str, ...] = ("", " \n")
_LOOK_AHEAD = 50


def rollout_of(answer: Answer) -> Rollout:
    """What would have come back if the model had answered this: a text, or a message with tool calls."""
    message = Message("assistant", answer) if isinstance(answer, str) else answer
    text = message.content if isinstance(message.content, str) else "".join(part.text or "" for part in message.content)
    finish = "tool_calls" if message.tool_calls else "stop"
    return Rollout((message,), text, message.reasoning, message.tool_calls, finish, attempts=1)  # type: ignore[arg-type]


def judge_all(selected: Selected, probes: Sequence[Probe], seconds: float = math.inf) -> list[Verdict | GymError]:
    """The checked verdict on each probe, or the error in its place. Async verifiers judge as many at once as there are cores.

    After `seconds` no further probe is begun, so that the list may be shorter than `probes`.
    """
    end = time.monotonic() + seconds
    found: list[Verdict | GymError] = []
    if not selected.verifier.is_async:
        for task, answer in probes:
            if time.monotonic() > end:
                break
            found.append(_judge(selected, task, answer))
        return found

    async def one(task: Task, answer: Answer) -> Verdict | GymError:
        try:
            return _checked(selected, await selected.call_async(task, rollout_of(answer)))
        except GymError as error:
            return error
        except (Exception, SystemExit) as error:
            return VerifierError(explain_exception(error, selected.verifier.name, task))

    async def main() -> None:
        some = os.cpu_count() or 1
        for first in range(0, len(probes), some):
            if time.monotonic() > end:
                break
            found.extend(await asyncio.gather(*(one(task, answer) for task, answer in probes[first : first + some])))

    asyncio.run(main())
    return found


def corrupted(answers: Sequence[tuple[Task, Answer]]) -> Iterator[Probe]:
    """Each answer twice: with its own part altered, and cut in half.

    An answer's own part is what lies between the beginning and the end that all answers share (`The answer is \\boxed{` … `}.`): its digits
    are counted on by one, or, where it has none, its letters. Of tool calls the names and arguments are altered.
    """
    texts = [answer for _, answer in answers if isinstance(answer, str)]
    head, tail = _frame(texts)
    for task, answer in answers:
        if isinstance(answer, Message):
            if answer.tool_calls:
                yield task, replace(answer, content="", tool_calls=tuple(map(_other_call, answer.tool_calls)))
            continue
        own = answer[head : len(answer) - tail]
        altered = answer[:head] + _counted_on(own) + answer[len(answer) - tail :]
        if altered == answer:
            altered = _counted_on(answer)
        for text in (altered, answer[: len(answer) // 2]):
            if text.strip() and text != answer:
                yield task, text


def foreign(answers: Sequence[tuple[Task, Answer]]) -> Iterator[Probe]:
    """Each task with the answer of the next row whose answer is another one."""
    for position, (task, answer) in enumerate(answers):
        for step in range(1, min(_LOOK_AHEAD, len(answers))):
            other = answers[(position + step) % len(answers)][1]
            if other != answer:
                yield task, other
                break


def _judge(selected: Selected, task: Task, answer: Answer) -> Verdict | GymError:
    try:
        return _checked(selected, selected.call(task, rollout_of(answer)))
    except GymError as error:
        return error
    except (Exception, SystemExit) as error:
        return VerifierError(explain_exception(error, selected.verifier.name, task))


def _checked(selected: Selected, verdict: Verdict) -> Verdict:
    metric = selected.benchmark.metric
    return check_verdict(verdict, verifier=selected.verifier.name, low=metric.low, high=metric.high, threshold=metric.pass_threshold)


def _frame(texts: Sequence[str]) -> tuple[int, int]:
    """How many characters all texts share at their beginning and at their end, which do not overlap in any of them."""
    if len(set(texts)) < 2:
        return 0, 0
    head = _shared(texts)
    return head, _shared([text[head:][::-1] for text in texts])


def _shared(texts: Sequence[str]) -> int:
    """The length of the common prefix, which is that of the two texts furthest apart."""
    first, last = min(texts), max(texts)
    return next((place for place, (one, other) in enumerate(zip(first, last, strict=False)) if one != other), len(first))


def _counted_on(text: str) -> str:
    if any(character in "0123456789" for character in text):
        return "".join(str((int(character) + 1) % 10) if character in "0123456789" else character for character in text)
    return "".join(_next_letter(character) for character in text)


def _next_letter(letter: str) -> str:
    if letter in "zZ":
        return chr(ord(letter) - 25)
    return chr(ord(letter) + 1) if letter.isalpha() and ord(letter) < 0xD000 else letter


def _other_call(call: ToolCall) -> ToolCall:
    return replace(call, name=f"{call.name}_x", arguments={"x": 1}, raw='{"x": 1}')
