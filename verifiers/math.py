r"""math: a mathematical answer equals the expected one, as math-verify judges it.

Rule: the content of the last closed `\boxed{}` (or `\fbox{}`) is the answer; where there is none, or an empty one, math-verify looks
through the whole text for a final expression, in plain and in LaTeX notation. So answers without a box count. The expected answer, without
an outer `$…$` or `\(…\)`, is read as LaTeX in a box. math-verify compares with its defaults: six decimals, strict about variables.

Source of truth: the package math-verify, called as NeMo Gym's `math_with_judge` does without a judge; that server hands it the whole text
in every case. The difference shows where several boxes stand side by side: math-verify reads them as one list, this rule takes the last.

math-verify is known for inputs that never end (`9^{9^{9}}`), so it runs in a helper process with limits; an answer that breaks them is
wrong, and the explanation says why. Most answers to most tasks are plain numbers, and those never get there: where the expected answer is
a plain integer or decimal, and so is the box (or, without a box, what math-verify is bound to pick at the end of the text), they are
compared here, with the same verdict. `tests/verifiers/test_math.py` holds this short cut against the library.
"""

from __future__ import annotations

import math as mathematics
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from pytest_gym import DataError, OutOfBounds, Rollout, Task, Verdict, run_bounded, verifier
from pytest_gym.extract import last_boxed, remove_thinking


@verifier
def math(task: Task, rollout: Rollout, *, field: str = "expected_answer", seconds: float = 5.0, memory_mb: int = 2048) -> Verdict:
    r"""Reward 1 where the answer equals the expected one.

    Options:
        field: the row's field with the expected answer, a number or LaTeX text.
        seconds: processor time that math-verify may take for one answer. Beyond it the answer is wrong.
        memory_mb: address space of the helper process in MiB, likewise.

    `extracted` is the answer as a number without separators and closing zeros, else as math-verify writes it. Raises DataError for a row
    whose expected answer is missing or nothing that math-verify can read.
    """
    gold = _gold(task, field)
    text = remove_thinking(rollout.text)
    if not text.strip():
        return Verdict(0.0, extracted=None, explanation="the answer is empty")
    box = (last_boxed(text) or "").strip()
    expected = _Number.in_box(gold)
    answer = (_Number.in_box(box) if box else _Number.at_end(text)) if expected else None
    same = expected.equals(answer) if expected and answer else None
    if answer and same is not None:
        return _verdict(same, str(answer), gold)
    try:
        reply = run_bounded(
            compare,
            rf"\boxed{{{gold}}}",
            rf"\boxed{{{box}}}" if box else text,
            seconds=seconds,
            memory_mb=memory_mb,
            imports=("math_verify",),
        )
    except OutOfBounds as error:
        return Verdict(0.0, extracted=_short(box) or None, explanation=f"math-verify {error} on this answer")
    if reply["unreadable"]:
        raise DataError(f"{task.where(field)}: math-verify finds nothing in {_short(gold)!r}")
    if reply["extracted"] is None:
        return Verdict(0.0, extracted=None, explanation=r"no answer found: no \boxed{} and nothing that math-verify can read")
    return _verdict(reply["right"], reply["extracted"], gold)


@math.reference
def reference(task: Task, *, field: str = "expected_answer") -> str:
    r"""The expected answer in a `\boxed{}`."""
    return rf"The answer is \boxed{{{_gold(task, field)}}}."


def compare(gold_text: str, answer_text: str) -> dict[str, Any]:
    """Let math-verify read both texts and compare. Runs in the helper process.

    Gives `right`, `extracted` (None: nothing found in the answer) and `unreadable` (nothing found in the gold).
    """
    import logging

    from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse, verify

    logging.disable(logging.CRITICAL)
    # Its own time-outs are signals of the main thread; here run_bounded's limits hold.
    golds = parse(gold_text, [LatexExtractionConfig()], parsing_timeout=None)
    answers = parse(answer_text, [ExprExtractionConfig(), LatexExtractionConfig()], parsing_timeout=None)
    pairs = [(gold, answer) for gold in golds for answer in answers]
    # Texts first: that two are the same must not depend on how long the comparison of what they mean takes.
    pairs.sort(key=lambda pair: not all(isinstance(side, str) for side in pair))
    right = any(verify(gold, answer, float_rounding=6, timeout_seconds=None) for gold, answer in pairs)
    return {"right": right, "extracted": _written(answers[0]) if answers else None, "unreadable": not golds}


# ---------------------------------------------------------------------------------------------------------------------- plain numbers

# What math-verify reads as one number in a box. It ignores dollar signs; `{,}` and `,\!` are LaTeX for a comma without a gap.
_BOXED = re.compile(
    r"(?:\\?\$)?(?P<sign>[+-]?)(?:\\?\$)?(?P<whole>[1-9]\d{0,2}(?:(?:,|\{,\}|,\\!)\d{3})+|\d+)(?P<decimals>\.\d+)?(?P<percent>\\?%)?(?:\\?\$)?",
    re.ASCII,
)
# A number at the end of a text, behind a blank or `=`. The character before these is none of which an expression is made, so that every
# other candidate of math-verify ends earlier, and it takes the one that ends last.
_AT_END = re.compile(
    r"(?:\A|(?:\A|[^\s\d.,+\-*/^()×÷%$])\s+|(?<=[^\s\d.,+\-*/^()×÷%$=])=|(?<=\s)=)"
    r"(?:\*\*)?\$?(?P<sign>-?)(?P<whole>[1-9][0-9]{0,2}(?:,[0-9]{3})+|[0-9]+)(?P<decimals>\.[0-9]+)?(?P<percent>(?!))?(?:\*\*)?[\s.]*\Z"
)
_ANSWER = re.compile("answer", re.IGNORECASE)
_LATEX_OR_DIGIT = re.compile(r"[\d$\\\[\]]")
_TAIL = 200


@dataclass(frozen=True)
class _Number:
    """A plain number with few enough digits that math-verify's floating point does not matter."""

    value: Decimal
    decimals: int
    digits: int
    percent: bool

    @classmethod
    def in_box(cls, text: str) -> _Number | None:
        return cls._of(_BOXED.fullmatch(text))

    @classmethod
    def at_end(cls, text: str) -> _Number | None:
        """The number that math-verify is bound to take from a text without a box; None where that is not certain."""
        tail = text[-_TAIL:]
        match = _AT_END.search(tail)
        # At the tail's own beginning one cannot know what stands before.
        if match is None or (match.start() == 0 and len(text) > len(tail)) or "boxed" in text:
            return None
        # The word "answer" draws math-verify to what follows it, so it may stand only once, with nothing but words up to the number.
        words = list(_ANSWER.finditer(text))
        number = match.start("whole") - len(tail) + len(text)
        if len(words) > 1 or (words and _LATEX_OR_DIGIT.search(text[words[0].end() : number].removesuffix("-").removesuffix("$"))):
            return None
        return cls._of(match)

    @classmethod
    def _of(cls, match: re.Match[str] | None) -> _Number | None:
        if match is None:
            return None
        whole, decimals = re.sub("[^0-9]", "", match["whole"]), (match["decimals"] or "")[1:]
        digits = len(whole) + len(decimals)
        # Oddities of math-verify: a signed percentage is a product and compares by other rules; `+1,234` and `1,234%` are sets of two.
        odd = match["percent"] and (match["sign"] or not match["whole"].isdigit())
        odd = odd or (match["sign"] == "+" and not match["whole"].isdigit())
        if odd or digits > 30 or len(decimals) > 6:
            return None
        return cls(Decimal(f"{match['sign']}{whole}.{decimals}0"), len(decimals), digits, bool(match["percent"]))

    def equals(self, other: _Number) -> bool | None:
        """Whether math-verify calls the two equal; None where that takes more than a look."""
        if self.percent or other.percent:
            return True if self.value == other.value and not self.decimals and not other.decimals else None
        if (self.decimals or other.decimals) and max(self.digits, other.digits) > 15:
            return None
        return self.value == other.value

    def __str__(self) -> str:
        return _plain(self.value) + ("%" if self.percent else "")


def _plain(value: Decimal) -> str:
    text = format(value, "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in ("-0", "") else text


def _written(answer: Any) -> str:
    """What math-verify read, as text: numbers as `_Number` writes them where they end, everything else as SymPy or the text itself."""
    if isinstance(answer, str):
        return " ".join(answer.split())
    try:
        text = str(answer)
        if answer.is_Symbol:
            # A text such as `\text{082}` is no number, and is not equal to one.
            return text
        hundredth = text.endswith("*(1/100)")
        number = text.removesuffix("*(1/100)")
        if re.fullmatch(r"-?\d+(?:\.\d+)?(?:e[+-]?\d{1,2})?", number):
            return _plain(Decimal(number)) + ("%" if hundredth else "")
        fraction = re.fullmatch(r"(-?\d{1,15})/(\d{1,15})", number)
        if fraction and 10**15 % int(fraction[2]) == 0:
            return _plain(Decimal(fraction[1]) / int(fraction[2]))
        return text
    except Exception:
        # SymPy cannot write everything that it can hold, such as integers of more than 4,300 digits.
        return type(answer).__name__


# ------------------------------------------------------------------------------------------------------------------------ row and verdict


def _gold(task: Task, field: str) -> str:
    value = task.get(field)
    if isinstance(value, float) and mathematics.isfinite(value):
        value = format(Decimal(repr(value)), "f")
    elif isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"{task.where(field)}: must be a number or a text that is not empty, not {value!r}")
    value = value.strip()
    for start, end in ((r"\(", r"\)"), ("$", "$")):
        if value.startswith(start) and value.endswith(end) and len(value) > len(start + end):
            value = value[len(start) : -len(end)].strip()
    return value


def _verdict(right: bool, extracted: str, gold: str) -> Verdict:
    return Verdict(float(right), extracted=extracted, explanation=f"{'equals' if right else 'does not equal'} {_short(gold)}")


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 200 else text[:199] + "…"
