r"""mcqa: a multiple-choice answer is the right letter.

Rule: a letter is taken out of the answer and compared with the expected one. Where from is the option `mode`:

    answer_is                   MMLU-Pro's own rule: the first `answer is (X)`; else, in the first line that has one, the last
                                `Answer: X` (a or A); else the last capital A–J that stands alone. Upstream guesses a letter where all
                                three fail; here that is "not extracted". As upstream, the first two take the letter without looking
                                what follows it, so `answer is Because` is B.
    strict_single_letter_boxed  the last \boxed{}: a single capital letter with no other letter beside it (`(B)`, `\text{B}`), or a
                                capital letter before a label's mark (`B: …`, `B) …`, `B. …`, `B - …`)
    lenient_boxed               the same; else the only option whose text stands in the box
    lenient_answer_colon        the rest of the line behind the first `Answer:`: one letter, or the exact text of an option
    lenient_answer_colon_md     the payloads of `Answer:`, `**Answer:**`, … from the last to the first: one letter, a leading letter, or
                                the last capital that stands alone; a list of letters (`A or B`) is no answer

A row may bring its own `template_metadata.output_regex`, one pattern or several in order (else the option `patterns` is taken), tried
before the mode: the last match, case ignored; its group (or the whole match) is a letter, in Latin, full-width, Arabic or Bengali script,
or an option's exact text. It runs in a helper process with a time limit, since a pattern may take for ever on some text.

Sources of truth: `answer_is` is `evaluate_from_local.py` of MMLU-Pro; the other four and output_regex are NeMo Gym's `mcqa` server.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Literal

from pytest_gym import DataError, OutOfBounds, Rollout, Task, Verdict, run_bounded, verifier
from pytest_gym.extract import choice_letter, last_boxed, remove_thinking

Mode = Literal["answer_is", "strict_single_letter_boxed", "lenient_boxed", "lenient_answer_colon", "lenient_answer_colon_md"]

_ANSWER_IS = re.compile(r"answer is \(?([A-J])")
_ANSWER_COLON_LETTER = re.compile(r"[aA]nswer:\s*([A-J])")
_ANSWER_COLON = re.compile(r"answer\s*:\s*(.+)", re.IGNORECASE)
_ANSWER_COLON_MD = re.compile(r"answer[*_]{0,2}\s*:[*_\s]{0,2}(.+)", re.IGNORECASE)
_ONLY_LETTER = re.compile(r"[^A-Za-z]*([A-Z])[^A-Za-z]*")
_LABEL = re.compile(r"\s*([A-Z])\s*[:).\-]")
_TEXT_COMMAND = re.compile(r"\\text\{(.*)\}", re.DOTALL)
_SINGLE_LETTER = re.compile(r"(?<![A-Za-z])[A-Za-z](?![A-Za-z])")
_BETWEEN_LISTED = re.compile(r"\s*[/|&,;]\s*|\s+(?:or|and)\s+|\s+", re.IGNORECASE)
_LEADING_LETTER = re.compile(r"([A-Za-z])(?![A-Za-z0-9])")
_LOCAL_LETTERS = str.maketrans(dict(zip("أبجدঅবডঢＡＢＣＤ", [f" {letter}" for letter in "ABCDABCDABCD"], strict=True)))


@verifier
def mcqa(
    task: Task,
    rollout: Rollout,
    *,
    mode: Mode = "strict_single_letter_boxed",
    field: str = "expected_answer",
    options_field: str = "options",
    patterns: tuple[str, ...] = (),
    seconds: float = 5.0,
) -> Verdict:
    """Reward 1 where the letter in the answer is the expected one.

    Options:
        mode: where the letter is looked for, see above.
        field: the row's field with the right letter.
        options_field: the row's field with the choices: a list of texts (A, B, … in order), a list of {letter: text}, or {letter: text}.
        patterns: the output_regex of rows that bring none.
        seconds: processor time that an output_regex may take.

    A letter that is none of the row's options is no answer. Raises DataError for a row whose options, letter or pattern are broken.
    """
    options = _options(task, options_field)
    gold = _gold(task, field, options)
    tried = _patterns(task) or _compiled(patterns, "option patterns")
    text = remove_thinking(rollout.text).strip()
    if not text:
        return Verdict(0.0, extracted=None, explanation="the answer is empty")
    letter = None
    if tried:
        try:
            found = run_bounded(last_match, tried, text, seconds=seconds, memory_mb=1024)
        except OutOfBounds as error:
            return Verdict(0.0, extracted=None, explanation=f"the output_regex {error} on this answer")
        letter = _by_pattern(found, options)
    if letter is None:
        letter = _MODES[mode](text, options)
    if letter is None:
        return Verdict(0.0, extracted=None, explanation=f"no choice found by {'output_regex or ' if tried else ''}{mode}")
    if letter not in options:
        return Verdict(0.0, extracted=None, explanation=f"{letter} is none of the choices {', '.join(options)}")
    right = letter == gold
    return Verdict(float(right), extracted=letter, explanation=f"chose {letter}" if right else f"chose {letter}, expected {gold}")


@mcqa.reference
def reference(task: Task, *, mode: Mode = "strict_single_letter_boxed", field: str = "expected_answer") -> str:
    r"""The right letter in the form that the mode asks for."""
    letter = str(task.get(field))
    return {"answer_is": f"The answer is ({letter}).", "strict_single_letter_boxed": f"Answer: \\boxed{{{letter}}}"}.get(
        mode, f"\\boxed{{{letter}}}" if mode == "lenient_boxed" else f"Answer: {letter}"
    )


def last_match(patterns: list[str], text: str) -> list[str]:
    """For each pattern what its last match captured (its first group that took part, else all of it); '' for a pattern without one.

    Runs in the helper process.
    """
    found = []
    for pattern in patterns:
        last = None
        for match in re.finditer(pattern, text, re.IGNORECASE):
            last = match
        groups = [group for group in last.groups() if group is not None] if last else []
        found.append((groups[0] if groups else last[0] if not last.re.groups else "") if last else "")
    return found


def _by_pattern(found: list[str], options: Mapping[str, str]) -> str | None:
    for captured in found:
        captured = captured.translate(_LOCAL_LETTERS).strip().upper()
        if len(captured) == 1 and captured.isalpha():
            return captured
        letter = _by_text(captured, options)
        if letter is not None:
            return letter
    return None


def _answer_is(text: str, options: Mapping[str, str]) -> str | None:
    match = _ANSWER_IS.search(text)
    if match:
        return match[1]
    letter, line_end = None, -1
    for match in _ANSWER_COLON_LETTER.finditer(text):
        if letter is None:
            line_end = text.find("\n", match.start())
        if -1 < line_end <= match.start():
            break
        letter = match[1]
    return letter or choice_letter(text, "ABCDEFGHIJ")


def _strict_boxed(text: str, options: Mapping[str, str]) -> str | None:
    box = last_boxed(text)
    if box is None:
        return None
    box = _without_text_command(box.strip())
    match = _ONLY_LETTER.fullmatch(box) or _LABEL.match(box)
    return match[1] if match and match[1] in options else None


def _lenient_boxed(text: str, options: Mapping[str, str]) -> str | None:
    letter = _strict_boxed(text, options)
    box = last_boxed(text)
    if letter is not None or box is None:
        return letter
    candidates = [_plain(box), _plain(_without_text_command(box.strip()))]
    letters = [letter for letter, option in options.items() if _plain(option) and any(_plain(option) in each for each in candidates)]
    return letters[0] if len(letters) == 1 else None


def _answer_colon(text: str, options: Mapping[str, str]) -> str | None:
    match = _ANSWER_COLON.search(text)
    if match is None:
        return None
    payload = _without_text_command(match[1]).strip()
    return payload.upper() if payload.upper() in options else _by_text(payload, options)


def _answer_colon_md(text: str, options: Mapping[str, str]) -> str | None:
    for payload in reversed(_ANSWER_COLON_MD.findall(text)):
        letter = _from_payload(payload.translate(_LOCAL_LETTERS).strip().strip("*_` \t\n\r.,;:"), options)
        if letter is not None:
            return letter
    return None


def _from_payload(payload: str, options: Mapping[str, str]) -> str | None:
    before: re.Match[str] | None = None
    for match in _SINGLE_LETTER.finditer(payload):
        if match[0].upper() in options:
            if before and match[0].upper() != before[0].upper() and _BETWEEN_LISTED.fullmatch(payload, before.end(), match.start()):
                return None
            before = match
    leading = _LEADING_LETTER.match(payload)
    letter = leading[1].upper() if leading else payload.upper() if len(payload) == 1 else choice_letter(payload)
    return letter if letter in options else None


_MODES = {
    "answer_is": _answer_is,
    "strict_single_letter_boxed": _strict_boxed,
    "lenient_boxed": _lenient_boxed,
    "lenient_answer_colon": _answer_colon,
    "lenient_answer_colon_md": _answer_colon_md,
}


def _by_text(text: str, options: Mapping[str, str]) -> str | None:
    return next((letter for letter, option in options.items() if _plain(option) == _plain(text)), None)


def _plain(text: str) -> str:
    return " ".join(text.lower().split())


def _without_text_command(text: str) -> str:
    # A handful of nested ones is all that models write; without a bound a long text of them would take quadratic time.
    for _ in range(5):
        match = _TEXT_COMMAND.fullmatch(text)
        if match is None:
            break
        text = match[1].strip()
    return text


def _options(task: Task, field: str) -> dict[str, str]:
    value = task.get(field)
    if isinstance(value, Mapping):
        pairs = list(value.items())
    elif isinstance(value, list) and all(isinstance(item, str) for item in value):
        pairs = [(chr(ord("A") + number), text) for number, text in enumerate(value)]
    elif isinstance(value, list) and all(isinstance(item, Mapping) for item in value):
        pairs = [pair for item in value for pair in item.items()]
    else:
        raise DataError(f"{task.where(field)}: must be a list of texts, a list of {{letter: text}} or {{letter: text}}, not {value!r}")
    # Tables that were read from a columnar file hold null for the letters that a row does not have.
    options: dict[str, str] = {}
    for letter, text in pairs:
        if text is None:
            continue
        if not (isinstance(letter, str) and len(letter) == 1 and letter.isascii() and letter.isalpha()) or letter.upper() in options:
            raise DataError(f"{task.where(field)}: {letter!r} must be one letter A–Z, and each only once")
        options[letter.upper()] = str(text)
    if not options:
        raise DataError(f"{task.where(field)}: has no choices")
    return options


def _gold(task: Task, field: str, options: Mapping[str, str]) -> str:
    gold = task.get(field)
    if not isinstance(gold, str) or gold.strip().upper() not in options:
        raise DataError(f"{task.where(field)}: must be one of the letters {', '.join(options)}, not {gold!r}")
    return gold.strip().upper()


def _patterns(task: Task) -> list[str]:
    metadata = task.get("template_metadata")
    value = metadata.get("output_regex") if isinstance(metadata, Mapping) else None
    return _compiled(
        value if isinstance(value, list) else [] if value is None else [value], f"{task.where('template_metadata')}: output_regex"
    )


def _compiled(patterns: Iterable[str], where: str) -> list[str]:
    for pattern in patterns:
        try:
            re.compile(pattern, re.IGNORECASE)
        except (TypeError, re.error) as error:
            raise DataError(f"{where} {pattern!r} is no regular expression: {error}") from error
    return list(patterns)
