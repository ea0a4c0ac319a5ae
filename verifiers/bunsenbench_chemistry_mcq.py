r"""bunsenbench_chemistry_mcq: a multiple-choice answer given as the text of an option, or as its letter.

Rule: candidates are looked for in the text, and the last that is a choice counts (by where it begins):

    <answer>, <choice>, <response>, <final_answer>   what stands in the tag; a <choice> within <choices>…</choices> is only the list again
    \boxed{…}                                        what stands in the braces
    Answer: …                                        the rest of the line, or the next one that is not blank
    the (correct) answer is …, my answer is …, I choose …, I select …     the rest of the line

Where none is a choice the last line that is not blank is tried, then the first. A candidate is a choice if it is one letter of an option,
alone or among other signs (`(B)`, `option B`, `B: …`), or an option's text; then once more without quotes, brackets, `\text{}` and closing
punctuation. Texts are compared without HTML escapes, in Unicode's NFKC form, with minus signs, multiplication signs and dots made alike,
and blanks collapsed.

`scores` says why an answer is not right, one of them being 1: `wrong_answer`, `refusal`, `early_termination` (cut off, or nothing but
thinking), `malformed_choice` (a <choice> that is none of the options), `format_violation`.

Source of truth: NeMo Gym's server of this name. A row whose options or letter are broken is an error here, and 0 there. Several of the
patterns take quadratic time on odd texts, so longer answers are read in a helper process with a limit.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any

from pytest_gym import DataError, OutOfBounds, Rollout, Task, Verdict, run_bounded, verifier
from pytest_gym.extract import remove_thinking

MODES = ("wrong_answer", "refusal", "early_termination", "malformed_choice", "format_violation")

_TAG = re.compile(r"<\s*(answer|choice|response|final[_-]answer)\b[^>]*>\s*(.*?)\s*<\s*/\s*\1\s*>", re.IGNORECASE | re.DOTALL)
_CHOICE = re.compile(r"<\s*choice\b[^>]*>.*?<\s*/\s*choice\s*>", re.IGNORECASE | re.DOTALL)
_LIST = re.compile(r"<\s*choices\b[^>]*>.*?<\s*/\s*choices\s*>", re.IGNORECASE | re.DOTALL)
_BOX = re.compile(r"\\boxed\s*\{")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
_BOLD_ANSWER = r"(?:\*\*)?answer(?:\*\*)?\s*:\s*"
_LINES = (
    re.compile(rf"^\s*(?:(?:[-*•]|\d+[.)])\s*)?{_BOLD_ANSWER}(.+?)\s*$", re.IGNORECASE | re.MULTILINE),
    re.compile(rf"{_BOLD_ANSWER}(.+?)(?=$|[\r\n])", re.IGNORECASE | re.DOTALL),
    re.compile(r"(?:the\s+(?:correct\s+)?answer\s+is|my\s+answer\s+is|i\s+(?:choose|select))\s+(.+?)(?:\n|$)", re.IGNORECASE | re.DOTALL),
)
_LETTERS = (
    re.compile(r"(?:option|choice)\s+([A-Z])\s*[)\].:]?\Z", re.IGNORECASE),
    re.compile(r"([A-Z])[)\].:](?:\s|\Z)", re.IGNORECASE),
    re.compile(r"[^A-Za-z]*([A-Za-z])[^A-Za-z]*\Z"),
)
_LATEX_TEXT = re.compile(r"\\(?:text|mathrm|operatorname)\{\s*(.*?)\s*\}", re.DOTALL)
_ONLY_BOX = re.compile(r"\\boxed\{\s*(.*?)\s*\}", re.DOTALL)
_QUOTES = " \t\r\n`*_\"'"
_SIGNS = str.maketrans("−–—‒×✕·∙⋅•μ⁄∕", "----xx....u//")
_A = "['’]?"
_REFUSAL = re.compile(
    rf"i\s*{_A}\s*m\s+sorry[, ]+(?:but\s+)?i\s+(?:can{_A}t|cannot|am\s+unable|won{_A}t)"
    rf"|i\s+(?:can{_A}t|cannot)\s+(?:help|assist|comply|provide|answer|do\s+that|continue)"
    r"|i\s+am\s+(?:not\s+able|unable)\s+to\s+(?:help|assist|comply|provide|answer)"
    rf"|i\s+won{_A}t\s+be\s+able\s+to\s+(?:help|assist|provide|answer)"
    r"|as\s+an\s+ai(?:\s+language)?\s+model[, ]+i"
    r"|i\s+(?:must|have\s+to|will\s+have\s+to)\s+(?:decline|refuse)"
    r"|i\s+do\s+not\s+feel\s+comfortable",
    re.IGNORECASE,
)
_REASONS = {
    "refusal": "the model refused",
    "malformed_choice": "the <choice> is none of the options",
    "format_violation": "there is no choice",
}
_QUICK = 4_000
"""Answers up to so many characters are read in place, longer ones in the helper process."""


@verifier
def bunsenbench_chemistry_mcq(
    task: Task, rollout: Rollout, *, field: str = "expected_answer", options_field: str = "options", seconds: float = 5.0
) -> Verdict:
    """Reward 1 where the choice in the answer is the right one.

    Options:
        field: the row's field with the right letter.
        options_field: the row's field with the options, a list of {letter: text}.
        seconds: processor time for reading one long answer.

    Raises DataError for a row whose options or letter are broken.
    """
    options = _options(task, options_field)
    gold = _gold(task, field, options)
    text = remove_thinking(rollout.text).strip()
    try:
        found = read(text, options) if len(text) <= _QUICK else run_bounded(read, text, options, seconds=seconds, memory_mb=1024)
    except OutOfBounds as error:
        return _wrong("format_violation", f"reading the answer {error}")
    letter = found["letter"]
    if letter == gold:
        return Verdict(1.0, extracted=letter, explanation=f"chose {letter}", scores=dict.fromkeys(MODES, 0.0))
    if letter is not None:
        return _wrong("wrong_answer", f"chose {letter}, expected {gold}", letter)
    if rollout.finish_reason in ("refusal", "content_filter"):
        return _wrong("refusal", "the model refused")
    if rollout.finish_reason == "length" or (rollout.text.strip() and not text):
        return _wrong("early_termination", "the answer ends before a choice")
    return _wrong(found["mode"], _REASONS[found["mode"]])


@bunsenbench_chemistry_mcq.reference
def reference(task: Task, *, field: str = "expected_answer", options_field: str = "options") -> str:
    """The text of the right option in its tag, with HTML's escapes as in the prompt."""
    options = _options(task, options_field)
    return f"<choice>{html.escape(options[_gold(task, field, options)], quote=False)}</choice>"


def read(text: str, options: dict[str, str]) -> dict[str, Any]:
    """The `letter` that the text chooses (None: none), and the `mode` that a text without one has."""
    choices: dict[str, str] = {}
    for letter, option in options.items():
        choices.setdefault(_alike(option), letter)
    letters = set(options)
    lists = [match.span() for match in _LIST.finditer(text)]
    for _, candidate in sorted(_candidates(text, lists), reverse=True):
        if found := _choice(candidate, letters, choices):
            return {"letter": found, "mode": None}
    lines = [line for line in text.splitlines() if line.strip()]
    for line in (lines[-1], lines[0]) if lines else ():
        if found := _choice(line, letters, choices):
            return {"letter": found, "mode": None}
    if _REFUSAL.search(text):
        return {"letter": None, "mode": "refusal"}
    malformed = any(not _within(match.start(), lists) for match in _CHOICE.finditer(text))
    return {"letter": None, "mode": "malformed_choice" if malformed else "format_violation"}


def _candidates(text: str, lists: list[tuple[int, int]]) -> Iterator[tuple[int, str]]:
    for match in _TAG.finditer(text):
        if match[1].lower() != "choice" or not _within(match.start(), lists):
            yield match.start(), match[2]
    yield from _boxes(text)
    for pattern in _LINES:
        yield from ((match.start(), match[1]) for match in pattern.finditer(text))


def _boxes(text: str) -> Iterator[tuple[int, str]]:
    """The outermost boxes up to the first that is never closed."""
    position = 0
    while box := _BOX.search(text, position):
        depth = 1
        for brace in _BRACE.finditer(text, box.end()):
            depth += {"{": 1, "}": -1}.get(brace[0], 0)
            if not depth:
                break
        if depth:
            return
        yield box.start(), text[box.end() : brace.start()]
        position = brace.end()


def _choice(candidate: str, letters: set[str], choices: Mapping[str, str]) -> str | None:
    candidate = candidate.strip()
    for form in (candidate, _unwrapped(candidate)):
        letter = (_letter(form, letters) or choices.get(_alike(form))) if form else None
        if letter:
            return letter
    return None


def _letter(candidate: str, letters: set[str]) -> str | None:
    if len(candidate) == 1 and candidate.isalpha():
        return candidate.upper() if candidate.upper() in letters else None
    matches = (pattern.match(candidate) for pattern in _LETTERS)
    return next((match[1].upper() for match in matches if match and match[1].upper() in letters), None)


def _alike(text: str) -> str:
    text = unicodedata.normalize("NFKC", html.unescape(text)).translate(_SIGNS)
    return " ".join("".join(character for character in text if unicodedata.category(character) != "Cf").split())


def _unwrapped(candidate: str) -> str:
    candidate = candidate.strip(_QUOTES)
    box = _ONLY_BOX.fullmatch(candidate)
    candidate = box[1].strip() if box else candidate
    while command := _LATEX_TEXT.fullmatch(candidate):
        candidate = command[1].strip()
    while len(candidate) >= 2 and candidate[0] in "([{\"'<" and candidate[-1] in ")]}\"'>":
        candidate = candidate[1:-1].strip(_QUOTES)
    return candidate.strip(_QUOTES + ".;,")


def _within(position: int, spans: list[tuple[int, int]]) -> bool:
    return any(start <= position < end for start, end in spans)


def _wrong(mode: str, explanation: str, letter: str | None = None) -> Verdict:
    return Verdict(0.0, extracted=letter, explanation=explanation, scores={name: float(name == mode) for name in MODES})


def _options(task: Task, field: str) -> dict[str, str]:
    value = task.get(field)
    if not isinstance(value, list) or not all(isinstance(each, Mapping) for each in value):
        raise DataError(f"{task.where(field)}: must be a list of {{letter: text}}, not {value!r}")
    options: dict[str, str] = {}
    for letter, text in (pair for each in value for pair in each.items() if pair[1] is not None):
        if not (isinstance(letter, str) and len(letter) == 1 and letter.isascii() and letter.isalpha()) or letter.upper() in options:
            raise DataError(f"{task.where(field)}: {letter!r} must be one letter A–Z, and each only once")
        options[letter.upper()] = str(text)
    return options


def _gold(task: Task, field: str, options: Mapping[str, str]) -> str:
    gold = task.get(field)
    if not isinstance(gold, str) or gold.strip().upper() not in options:
        raise DataError(f"{task.where(field)}: must be one of the letters {', '.join(options)}, not {gold!r}")
    return gold.strip().upper()
