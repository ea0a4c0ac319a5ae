"""ruler2: what was to be found, copied or chosen in a long text is in the answer, with credit for nearly right copies.

Rule, by the row's `eval_type`:

    ruler2       For each reference: 1 if it is in the answer (case does not matter), else 1 − word error rate, the number of words to
                 insert, delete or replace over the reference's words. `match_type` `all` takes the mean over the references; `part` the
                 largest, after document headers (`Document 7:` and all up to the next blank line) are taken away; `2steps` the mean,
                 over what stands behind the last blank line. A rate above 1 counts as 1.
    multichoice  1 if the letter is the expected one: from the last `The final answer is …`, else the last \\boxed{}: a single character, or
                 the last lone capital; else the last `Answer: X`. Full-width, Arabic and Bengali letters count as A to D.

Source of truth: NeMo Gym's server `ruler2`. One difference: the last *closed* box counts (there, a box that is cut off
hides an earlier one).
"""

from __future__ import annotations

import re

from pytest_gym import DataError, Rollout, Task, Verdict, verifier
from pytest_gym.extract import last_boxed, remove_thinking

_HEADER = re.compile(r"Document \d+:[^\n]*\n")
_FINAL = re.compile(r"The final answer is (.+)$", re.MULTILINE)
_ANSWER = re.compile(r"answer[*_]{0,2}\s*:[\s*_]{0,2}\s*([a-z])(?![a-z0-9])", re.IGNORECASE)
_CAPITAL = re.compile(r"\b[A-Z]\b")
_LETTERS = str.maketrans(dict(zip("أبجدঅবডঢＡＢＣＤ", [f" {letter}" for letter in "ABCDABCDABCD"], strict=True)))


@verifier
def ruler2(task: Task, rollout: Rollout, *, field: str = "expected_answer") -> Verdict:
    """Reward between 0 and 1.

    Options:
        field: the row's field with the references (a list of texts), or with the right letter.

    Raises DataError for a row whose references, eval_type or match_type cannot be used.
    """
    text = remove_thinking(rollout.text)
    kind, match = task.get("eval_type", "ruler2"), task.get("match_type", "all")
    if kind == "multichoice":
        gold = _gold(task, field)
        letter = _letter(text)
        return Verdict(
            float(letter == gold), extracted=letter, explanation=f"chose {letter}, expected {gold}" if letter else "no choice found"
        )
    if kind != "ruler2" or match not in ("all", "part", "2steps"):
        raise DataError(
            f"{task.where('eval_type')}: must be multichoice, or ruler2 with match_type all, part or 2steps, not {kind!r}, {match!r}"
        )
    references = _references(task, field)
    if not text.strip():
        return Verdict(0.0, explanation="the answer is empty")
    if match == "part":
        text = _without_headers(text)
    elif match == "2steps":
        text = text.rpartition("\n\n")[2]
    scores = [_soft(text.lower(), reference.lower()) for reference in references]
    reward = max(scores) if match == "part" else sum(scores) / len(scores)
    return Verdict(reward, explanation=f"references found: {', '.join(f'{score:.2f}' for score in scores[:10])}")


@ruler2.reference
def reference(task: Task, *, field: str = "expected_answer") -> str:
    """All references, or the letter in a box."""
    if task.get("eval_type") == "multichoice":
        return f"\\boxed{{{_gold(task, field)}}}"
    return "\n".join(_references(task, field)) if task.get("match_type") != "2steps" else "Here.\n\n" + "\n".join(_references(task, field))


def _soft(text: str, reference: str) -> float:
    if reference in text:
        return 1.0
    words, wanted = text.split(), reference.split()
    # So many words too many alone make the rate 1 or more.
    if not wanted or len(words) >= 2 * len(wanted) + 1:
        return 0.0
    return max(0.0, 1.0 - _edits(words, wanted) / len(wanted))


def _edits(words: list[str], wanted: list[str]) -> int:
    row = list(range(len(wanted) + 1))
    for number, word in enumerate(words, 1):
        diagonal, row[0] = row[0], number
        for index, other in enumerate(wanted, 1):
            diagonal, row[index] = row[index], min(row[index] + 1, row[index - 1] + 1, diagonal + (word != other))
    return row[-1]


def _without_headers(text: str) -> str:
    kept, position = [], 0
    while match := _HEADER.search(text, position):
        kept.append(text[position : match.start()])
        end = text.find("\n\n", match.end() - 1)
        if end < 0:
            kept.append(text[match.start() : match.end()])
            position = match.end()
            break
        position = end + 2
    return "".join(kept) + text[position:]


def _letter(text: str) -> str | None:
    finals = _FINAL.findall(text)
    found = finals[-1] if finals else last_boxed(text)
    if found is not None:
        found = found.translate(_LETTERS).strip()
        capitals = _CAPITAL.findall(found)
        if len(found) == 1 or capitals:
            return str(found.upper() if len(found) == 1 else capitals[-1])
    answers = _ANSWER.findall(text)
    return str(answers[-1]).upper() if answers else None


def _gold(task: Task, field: str) -> str:
    value = task.get(field)
    if not isinstance(value, str) or not re.fullmatch(r"\s*[A-Za-z]\s*", value):
        raise DataError(f"{task.where(field)}: must be one letter, not {value!r}")
    return value.strip().upper()


def _references(task: Task, field: str) -> list[str]:
    value = task.get(field)
    values = value if isinstance(value, list) else [value]
    if not values or not all(isinstance(text, str | int | float) and str(text).strip() for text in values):
        raise DataError(f"{task.where(field)}: must be a list of texts, not {value!r}")
    return [str(text) for text in values]
