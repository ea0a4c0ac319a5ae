"""SciCode: one request for each step of a problem, with the code of the steps before it; the verifier `scicode` runs what comes back.

Each request is a conversation of its own. A step whose code upstream gives (`prefilled`) is not asked. Where the prompt no longer fits
into the model's context, the remaining steps are not asked either, and fail. Not here: running anything.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pytest_gym import GymError, Message, Model, Reply, Rollout, Task, harness

PROMPT = """You solve a scientific problem step by step, with Python code that is put together in the end.

CODE OF THE STEPS BEFORE THIS ONE:

{before}

THE NEXT STEP, WITH ITS BACKGROUND AND FUNCTION HEADER:

{step}

DEPENDENCIES (use only these, and do not import them again):

{dependencies}

Write the code of the next step only, as one ```python block. Keep to the function header. Call functions of earlier steps as they
stand above, without repeating them. No tests, no examples of use."""


@harness
async def scicode(task: Task, model: Model) -> Rollout:
    """Ask for step after step; the rollout holds all requests and answers, one after the other."""
    messages: list[Message] = []
    before: list[str] = []
    last: Reply | None = None
    for step in task["sub_steps"]:
        if step.get("prefilled"):
            before.append(_told(step) + "\n\n" + step["prefilled"])
            continue
        question = PROMPT.format(
            before="\n\n------\n\n".join(before),
            step=f"{_told(step)}\n\n{step['function_header']}\n\n{step['return_line']}",
            dependencies=task["required_dependencies"],
        )
        ask = Message("user", question)
        try:
            reply = await model.ask([ask])
        except GymError as error:
            if last is not None and getattr(error, "kind", "") == "context_length":
                break
            raise
        last = reply
        messages += [ask, reply.message]
        text = reply.message.content
        before.append(_told(step) + "\n\n" + code_of(text if isinstance(text, str) else ""))
    if last is None:
        return Rollout()
    return model.rollout(messages[:-1], last)


def _told(step: Mapping[str, Any]) -> str:
    return "\n".join(part for part in (step["step_description_prompt"], step.get("step_background") or "") if part)


def code_of(text: str) -> str:
    """The first python block of an answer, else its first block, else all of it, without lines that import."""
    parts: Sequence[str] = text.split("```python", 1)
    if len(parts) == 1:
        parts = text.split("```", 1)
    code = parts[-1].split("```", 1)[0]
    return "\n".join(line for line in code.split("\n") if not re.match(r"\s*(?:import |from .*\simport\s)", line))
