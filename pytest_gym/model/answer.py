"""What the replies of several wire APIs have in common: thinking in the text, counts of tokens, log probabilities.

Each API's own fields are read in its own module.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pytest_gym.extract import remove_thinking
from pytest_gym.records import FinishReason, TokenLogprob, ToolCall


def apart(text: str, reasoning: str | None = None) -> tuple[str, str | None]:
    """Answer and reasoning. A `<think>` block in the text is reasoning, unless the server names its own; one left open leaves no answer.

    What stands before the answer is kept with its tags.
    """
    answer = remove_thinking(text)
    if answer != text:
        reasoning = reasoning or text[: len(text) - len(answer)]
        answer = answer.lstrip("\n")
    return answer, reasoning or None


def with_calls(finish: FinishReason, calls: Sequence[ToolCall]) -> FinishReason:
    """`tool_calls` in place of `stop` where there are calls: some servers say `stop` for every whole answer."""
    return "tool_calls" if finish == "stop" and calls else finish


def text_of(value: Any) -> str | None:
    """The value if it is a text that is not empty, else None."""
    return value if isinstance(value, str) and value else None


def count(value: Any) -> int | None:
    """The value if it is a whole number, else None: the server did not say."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def count_in(data: Any, *path: str) -> int | None:
    """The whole number below a path of keys, or None."""
    for key in path:
        data = data.get(key) if isinstance(data, dict) else None
    return count(data)


def logprobs_of(items: Any) -> tuple[TokenLogprob, ...] | None:
    """Log probabilities in the form of Chat Completions and Responses; None where there are none. ValueError where they are malformed."""
    if not isinstance(items, list):
        return None
    try:
        return tuple(TokenLogprob.from_json(item) for item in items)
    except (KeyError, TypeError, AttributeError, ValueError):
        raise ValueError("the reply's 'logprobs' have an unknown form") from None
