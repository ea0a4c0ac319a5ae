r"""code_fim: the missing piece of a program, tested by HumanEval's tests: infilling ("fill in the middle").

Sources: Bavarian et al. 2022, "Efficient Training of Language Models to Fill in the Middle", and its human-eval-infilling: prefix,
completion and suffix are put together and run against the task's `check`. That takes the completion as it is; how it is found in a chat
answer is NeMo Gym's server `code_fim`: the last fence that opens with three backticks and `python`, else the last three backticks; it must
be closed; blanks are kept, one line break at its beginning is dropped. What the completion repeats of the end of the prefix or of the
beginning of the suffix is taken off once, the longest repetition; one of blanks without a line break is none
(`trim=false`: as upstream).

Edges: a line break before the closing fence belongs to the completion, so that a gap in the middle of a line wants the fence right behind
it (the prompt says so). The test runs beside the program, as in `evalplus`; 3 seconds of processor time.
"""

from __future__ import annotations

import re

from pytest_gym import DataError, Limits, Rollout, Sandbox, Task, Verdict, verifier
from pytest_gym.extract import python_tree

_LONGEST = 100_000
_FENCE = "```"


@verifier
async def code_fim(task: Task, rollout: Rollout, sandbox: Sandbox, *, seconds: float = 3.0, trim: bool = True) -> Verdict:
    """Reward 1 where the program, completed, passes the test; `seconds` of processor time; `trim=false` takes off no repetitions."""
    prefix, suffix, entry_point = task["prefix"], task["suffix"], task["entry_point"]
    test = [prefix + task["canonical_solution"] + suffix, task["test"], f"check({entry_point})"]
    for field, source in zip(("canonical_solution", "test"), test[:2], strict=True):
        try:
            python_tree(source)
        except SyntaxError:
            raise DataError(f"{task.where(field)}: is no Python that compiles") from None
    found = fenced(rollout.text)
    if found is None:
        return Verdict(0.0, explanation="no closed code fence found")
    if len(found) > _LONGEST:
        return Verdict(0.0, explanation=f"a completion of {len(found):,} characters, more than {_LONGEST:,}")
    completion = trimmed(found, prefix, suffix) if trim else found.removeprefix("\n")
    done = await sandbox.examine([prefix + completion + suffix], test, [entry_point], limits=Limits(cpu_s=seconds))
    if done.verdict is None:
        return Verdict(0.0, extracted=completion, explanation=f"the program {done.why}")
    return Verdict(float(done.verdict["passed"]), extracted=completion, explanation=done.verdict["why"] or "all tests pass")


@code_fim.reference
def reference(task: Task, *, trim: bool = True) -> str:
    """The missing piece in a fence that closes right behind it; with all that surrounds it where taking off would take of the piece."""
    piece = task["canonical_solution"]
    if trim and trimmed("\n" + piece, task["prefix"], task["suffix"]) != piece:
        piece = task["prefix"] + piece + task["suffix"]
    return f"{_FENCE}python\n{piece}{_FENCE}"


def fenced(text: str) -> str | None:
    """What stands in the last fence, or None where there is none or it is not closed.

    >>> fenced("```python\\nreturn 1```")
    '\\nreturn 1'
    """
    text = text.replace("\r", "")
    for opening in (_FENCE + "python", _FENCE):
        start = text.rfind(opening)
        if start >= 0:
            end = text.find(_FENCE, start + len(opening))
            return text[start + len(opening) : end] if end > start + len(opening) else None
    return None


def trimmed(completion: str, prefix: str, suffix: str) -> str:
    """The completion without one line break at its beginning and without what it repeats of its surroundings.

    >>> trimmed("\\nif a > b:\\n", "    if a", "\\n    pass")
    ' > b:'
    """
    completion = completion.removeprefix("\n")
    for size in range(min(len(prefix), len(completion)), 0, -1):
        if _counts(completion[:size]) and prefix.endswith(completion[:size]):
            completion = completion[size:]
            break
    for size in range(min(len(suffix), len(completion)), 0, -1):
        if _counts(completion[-size:]) and suffix.startswith(completion[-size:]):
            return completion[:-size]
    return completion


def _counts(overlap: str) -> bool:
    return "\n" in overlap or re.search(r"\S", overlap) is not None
