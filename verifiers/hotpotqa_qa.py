"""hotpotqa_qa: a short answer in words equals the expected one, after HotpotQA's normalisation.

Rule: the answer is `answer` of the last JSON object in the text that has it (an object within another is none), else the whole text.
Both sides are normalised: lower case, ASCII punctuation left out, the words a, an, the left out, single blanks. `scores`:

    em                exact match of what is left: the default reward, HotpotQA's "answer EM"
    f1                harmonic mean of precision and recall over words, as counts; 0 where only one side is yes, no or noanswer
    substring         1 where a form of the expected answer stands anywhere in the answer: as it is, without article, quotation marks,
                      brackets, commas in numbers, closing punctuation, points of abbreviations, hyphens, with & for "and", with a
                      digit for a number word, and the other way round
    substring_strict  the same, but a form of up to 4 characters must be a word of its own, and in an answer of more than 80 characters
                      the form must begin among the first 41: NeMo Gym's reward
    filtered_substring_strict   the same, only on rows whose expected answer suits it: at most 40 characters, and no name of 3 to 6 words

Sources of truth: `hotpot_evaluate_v1.py` (hotpotqa/hotpot) for em and f1; NeMo Gym's server `hotpotqa_qa` for the substrings. That
server looks at fenced objects before all others and counts braces within strings; here the last object is the last, and JSON is read as
JSON.
"""

from __future__ import annotations

import json
import re
import string
from collections import Counter
from typing import Any, Literal

from pytest_gym import DataError, OutOfBounds, Rollout, Task, Verdict, run_bounded, verifier
from pytest_gym.extract import remove_thinking

Score = Literal["em", "f1", "substring", "substring_strict"]

_ARTICLE = re.compile(r"\b(?:a|an|the)\b")
_LEADING_ARTICLES = ("the ", "a ", "an ")
_OBJECT = re.compile(r'\{\s*"')
_PUNCTUATION = str.maketrans("", "", string.punctuation)
_SIGNS = str.maketrans(
    {
        **dict.fromkeys("\u202f\u00a0\u2009\u200a\u2002\u2003", " "),
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015", "-"),
        **dict.fromkeys("\u2018\u2019", "'"),
        **dict.fromkeys("\u201c\u201d", '"'),
    }
)
_CLOSED = ("yes", "no", "noanswer")
_WORDS = (
    "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty"
)
_ORDINALS = "1st 2nd 3rd 4th 5th 19th 20th 21st"
_DIGITS = {
    **{word: str(number) for number, word in enumerate(_WORDS.split(), 1)},
    **dict(zip("first second third fourth fifth nineteenth twentieth twenty-first".split(), _ORDINALS.split(), strict=True)),
}
_NUMBER_FORMS = {**_DIGITS, **{digits: word for word, digits in _DIGITS.items()}}
_SMALL_WORDS = frozenset(
    "the a an of in on at for and or to by is was are were be been with from that this it its his her my our their no not but if as into "
    "about than then".split()
)
_QUICK = 20_000
"""Texts up to so many characters are searched in place; longer ones in the helper process, as the search may take quadratic time."""


@verifier
def hotpotqa_qa(task: Task, rollout: Rollout, *, field: str = "expected_answer", reward: Score = "em", seconds: float = 5.0) -> Verdict:
    """Reward 1 where the answer is the expected one after normalisation; all four scores in `scores`.

    Options:
        field: the row's field with the expected answer.
        reward: the score that is the reward; `substring_strict` is NeMo Gym's.
        seconds: processor time for finding the answer in a long text.

    Raises DataError for a row whose expected answer is no text or is blank.
    """
    expected = task.get(field)
    if not isinstance(expected, str) or not expected.strip():
        where = task.where(field)
        raise DataError(f"{where}: must be a text that is not blank, not {expected!r}")
    text = remove_thinking(rollout.text).strip()
    try:
        found = last_answer(text) if len(text) <= _QUICK else run_bounded(last_answer, text, seconds=seconds, memory_mb=2048)
    except OutOfBounds as error:
        return _nothing(expected, f"finding the answer {error}")
    answer = text if found is None else str(found)
    if not answer.strip():
        return _nothing(expected, "the answer is empty")
    scores = _scored(answer, expected)
    said = " ".join(answer.split())
    explanation = f"answered {said[:200]!r}, expected {expected!r}"
    return Verdict(scores[reward], extracted=normalised(answer) or said, explanation=explanation, scores=scores)


@hotpotqa_qa.reference
def reference(task: Task, *, field: str = "expected_answer") -> str:
    """The expected answer as JSON."""
    return json.dumps({"answer": task[field]}, ensure_ascii=False)


def last_answer(text: str) -> str | None:
    """`answer`, as text, of the last JSON object that has it and is no part of another; None without one."""
    decoder, found, end = json.JSONDecoder(), None, 0
    for opening in _OBJECT.finditer(text):
        if opening.start() < end:
            continue
        try:
            value, after = decoder.raw_decode(text, opening.start())
            found = str(value["answer"]) if "answer" in value else found
        except (ValueError, RecursionError):
            continue
        end = after
    return found


def normalised(text: str) -> str:
    """HotpotQA's normalisation of an answer."""
    return " ".join(_ARTICLE.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def word_f1(answer: str, expected: str) -> float:
    """F1 over the words of two normalised answers."""
    if answer != expected and (answer in _CLOSED or expected in _CLOSED):
        return 0.0
    said, wanted = answer.split(), expected.split()
    common = sum((Counter(said) & Counter(wanted)).values())
    if not common:
        return 0.0
    precision, recall = common / len(said), common / len(wanted)
    return 2 * precision * recall / (precision + recall)


def forms(expected: str) -> list[str]:
    """The forms of an expected answer that the substring rules accept."""
    found = {expected, _without_article(expected), re.sub('["\u201c\u201d]', "", expected).strip()}
    if "(" in expected:
        found.add(" ".join(re.sub(r"\s*\([^)]*\)\s*", " ", expected).split()))
        found |= {inner.strip() for inner in re.findall(r"\(([^)]+)\)", expected) if len(inner.strip()) > 1}
    found.add(_NUMBER_FORMS.get(expected.lower().strip(), expected))
    found.add(re.sub(r"(?<=\d),(?=\d{3})", "", expected))
    if expected[-1] in ".,;:!?":
        found.add(expected[:-1].rstrip())
    abbreviation = re.sub(r"(?<!\d)\.(?!\d)", "", expected)
    if len(abbreviation) > 1:
        found.add(abbreviation)
    if not expected.startswith("-"):
        found.add(" ".join(expected.replace("-", " ").split()))
    found.add(expected.replace(" & ", " and "))
    conjunction = expected.lower().find(" and ")
    if conjunction >= 0:
        found.add(f"{expected[:conjunction]} & {expected[conjunction + 5 :]}")
    found |= {form[len(article) :] for form in found for article in _LEADING_ARTICLES if form.lower().startswith(article)}
    tidy = {re.sub(r"\s+", " ", form.strip()) for form in found}
    return sorted(form for form in tidy if form and (len(form) >= 3 or form == expected.strip() or form.isdigit()))


def suits_substrings(expected: str) -> bool:
    """Whether the expected answer is short enough, and no name of several words, so that finding it as a substring means something."""
    words = expected.strip().rstrip(".").split()
    large = [word for word in words if word[0].isupper() and word.lower() not in _SMALL_WORDS]
    is_name = len(large) == len(words) if len(words) in (3, 4) else len(large) >= 3 if len(words) in (5, 6) else False
    return len(expected) <= 40 and not is_name


def _scored(answer: str, expected: str) -> dict[str, float]:
    wanted, said = normalised(expected), normalised(answer)
    text = _plain(answer)
    found = [form for form in map(_plain, forms(expected)) if form and form in text]
    strict = float(any(_stands_well(form, text) for form in found))
    scores = {"em": float(said == wanted), "f1": word_f1(said, wanted), "substring": float(bool(found)), "substring_strict": strict}
    return {**scores, "filtered_substring_strict": strict} if suits_substrings(expected) else scores


def _stands_well(form: str, text: str) -> bool:
    if len(form) <= 4 and not re.search(rf"(?<!\w){re.escape(form)}(?!\w)", text):
        return False
    return len(text) <= 80 or text.find(form) <= 40


def _plain(text: str) -> str:
    return re.sub(" {2,}", " ", text.lower().translate(_SIGNS)).strip()


def _without_article(text: str) -> str:
    return next((text[len(article) :] for article in _LEADING_ARTICLES if text.lower().startswith(article)), text)


def _nothing(expected: str, reason: str) -> Verdict:
    scores: dict[str, Any] = dict.fromkeys(("em", "f1", "substring", "substring_strict"), 0.0)
    if suits_substrings(expected):
        scores["filtered_substring_strict"] = 0.0
    return Verdict(0.0, extracted=None, explanation=reason, scores=scores)
