r"""IFEval's 25 kinds of instructions and what checks that each is followed: for the verifiers of IFEval and of benchmarks made from it.

Source: Zhou et al. 2023, "Instruction-Following Evaluation for Large Language Models", and the authors' evaluation code
(google-research/instruction_following_eval). Edges, as there unless said: where no language can be told (langdetect, seeded), the
language is taken to be right; words are runs of `\w`; sentences are Punkt's; a JSON answer may stand in a fence. `letter_frequency` of
what is no letter counts that very character, where upstream draws a letter at random.

    CHECKS    the check of each kind, by its name
    NEEDS     the arguments that each cannot be without
    followed  which instructions an answer follows, strict and loose; for `instructions.verdict`

Needs the extra `instructions`. Not here: reading a row and making a verdict (`instructions`).
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Sequence
from typing import Any

from pytest_gym.english import sentences, words
from pytest_gym.instructions import Arguments, Check, Needs, follow

_LANGUAGE_BY = 10_000
# So many characters langdetect looks at.
_CONSTRAINED = ("My answer is yes.", "My answer is no.", "My answer is maybe.")


def followed(text: str, instructions: Sequence[Sequence[Any]]) -> tuple[list[bool], list[bool]]:
    """Whether each instruction (name, arguments) is followed, strict and loose."""
    return follow(text, instructions, CHECKS)


def _relation(count: int, relation: str, bound: int) -> bool:
    return count < bound if relation == "less than" else count >= bound


def _found(pattern: str, text: str) -> int:
    return len(re.findall(pattern, text, re.IGNORECASE))


def _language(text: str, language: str) -> bool:
    from langdetect.detector import Detector

    if len(text) < _LANGUAGE_BY:
        # Most of the eight readings differ only in marks, which langdetect takes for blanks: once is enough for all of them.
        text = Detector.MAIL_RE.sub(" ", Detector.URL_RE.sub(" ", text))
        text = re.sub(r"[\x00-@{-\x7f]+", " ", text).removeprefix(" ")
    return _told(text) in (language, None)


@functools.lru_cache(maxsize=16)
def _told(text: str) -> str | None:
    """The language of a text; None where none can be told."""
    import langdetect

    langdetect.DetectorFactory.seed = 0
    try:
        return str(langdetect.detect(text))
    except langdetect.LangDetectException:
        return None


def _paragraphs(text: str, arguments: Arguments) -> bool:
    parts = re.split(r"\s?\*\*\*\s?", text)
    blank = [index for index, part in enumerate(parts) if not part.strip()]
    return all(index in (0, len(parts) - 1) for index in blank) and len(parts) - len(blank) == arguments["num_paragraphs"]


def _first_word(text: str, arguments: Arguments) -> bool:
    parts = text.split("\n\n")
    count = sum(bool(part.strip()) for part in parts)
    place = arguments["nth_paragraph"]
    if place > count or not parts[place - 1].strip():
        return False
    word = parts[place - 1].split()[0].lstrip("'").lstrip('"')
    return bool(count == arguments["num_paragraphs"] and re.split(r"[.,?!'\"]", word)[0].lower() == arguments["first_word"].lower())


def _postscript(text: str, arguments: Arguments) -> bool:
    marker = arguments["postscript_marker"]
    patterns = {"P.P.S": r"\s*p\.\s?p\.\s?s.*$", "P.S.": r"\s*p\.\s?s\..*$"}
    return re.search(patterns.get(marker, r"\s*" + marker.lower() + r".*$"), text.lower(), re.MULTILINE) is not None


def _highlights(text: str, arguments: Arguments) -> bool:
    single = re.findall(r"\*[^\n\*]*\*", text)
    double = re.findall(r"\*\*[^\n\*]*\*\*", text)
    shown = [part for part in single if part.strip("*").strip()]
    shown += [part for part in double if part.removeprefix("**").removesuffix("**").strip()]
    return bool(len(shown) >= arguments["num_highlights"])


def _sections(text: str, arguments: Arguments) -> bool:
    return bool(len(re.split(r"\s?" + arguments["section_spliter"] + r"\s?\d+\s?", text)) - 1 >= arguments["num_sections"])


def _bullets(text: str, arguments: Arguments) -> bool:
    stars, dashes = re.findall(r"^\s*\*[^\*].*$", text, re.MULTILINE), re.findall(r"^\s*-.*$", text, re.MULTILINE)
    return bool(len(stars) + len(dashes) == arguments["num_bullets"])


def _title(text: str, arguments: Arguments) -> bool:
    return any(title.lstrip("<").rstrip(">").strip() for title in re.findall(r"<<[^\n]+>>", text))


def _json(text: str, arguments: Arguments) -> bool:
    text = text.strip()
    for fence in ("```json", "```Json", "```JSON", "```"):
        text = text.removeprefix(fence)
    try:
        json.loads(text.removesuffix("```").strip())
    except (ValueError, RecursionError):
        return False
    return True


def _two_responses(text: str, arguments: Arguments) -> bool:
    parts = text.split("******")
    if any(not part.strip() for part in parts[1:-1]):
        return False
    answers = [part.strip() for part in parts if part.strip()]
    return len(answers) == 2 and answers[0] != answers[1]


def _letters(text: str, arguments: Arguments) -> bool:
    count = text.lower().count(arguments["letter"].strip().lower()[:1])
    return _relation(count, arguments["let_relation"], arguments["let_frequency"])


CHECKS: dict[str, Check] = {
    "keywords:existence": lambda text, a: all(re.search(word, text, re.IGNORECASE) for word in a["keywords"]),
    "keywords:frequency": lambda text, a: _relation(_found(a["keyword"], text), a["relation"], a["frequency"]),
    "keywords:forbidden_words": lambda text, a: not any(re.search(rf"\b{word}\b", text, re.IGNORECASE) for word in a["forbidden_words"]),
    "keywords:letter_frequency": _letters,
    "language:response_language": lambda text, a: _language(text, a["language"]),
    "length_constraints:number_sentences": lambda text, a: _relation(len(sentences(text)), a["relation"], a["num_sentences"]),
    "length_constraints:number_paragraphs": _paragraphs,
    "length_constraints:number_words": lambda text, a: _relation(len(re.findall(r"\w+", text)), a["relation"], a["num_words"]),
    "length_constraints:nth_paragraph_first_word": _first_word,
    "detectable_content:number_placeholders": lambda text, a: len(re.findall(r"\[.*?\]", text)) >= a["num_placeholders"],
    "detectable_content:postscript": _postscript,
    "detectable_format:number_bullet_lists": _bullets,
    "detectable_format:constrained_response": lambda text, a: any(answer in text for answer in _CONSTRAINED),
    "detectable_format:number_highlighted_sections": _highlights,
    "detectable_format:multiple_sections": _sections,
    "detectable_format:json_format": _json,
    "detectable_format:title": _title,
    "combination:two_responses": _two_responses,
    "combination:repeat_prompt": lambda text, a: text.strip().lower().startswith(a["prompt_to_repeat"].strip().lower()),
    "startend:end_checker": lambda text, a: text.strip().strip('"').lower().endswith(a["end_phrase"].strip().lower()),
    "startend:quotation": lambda text, a: len(text.strip()) > 1 and text.strip()[0] == text.strip()[-1] == '"',
    "change_case:capital_word_frequency": lambda text, a: _relation(
        sum(word.isupper() for word in words(text)), a["capital_relation"], a["capital_frequency"]
    ),
    "change_case:english_capital": lambda text, a: text.isupper() and _language(text, "en"),
    "change_case:english_lowercase": lambda text, a: text.islower() and _language(text, "en"),
    "punctuation:no_comma": lambda text, a: "," not in text,
}

NEEDS: Needs = {
    "keywords:existence": {"keywords": list},
    "keywords:frequency": {"keyword": str, "relation": str, "frequency": float},
    "keywords:forbidden_words": {"forbidden_words": list},
    "keywords:letter_frequency": {"letter": str, "let_relation": str, "let_frequency": float},
    "language:response_language": {"language": str},
    "length_constraints:number_sentences": {"relation": str, "num_sentences": float},
    "length_constraints:number_paragraphs": {"num_paragraphs": float},
    "length_constraints:number_words": {"relation": str, "num_words": float},
    "length_constraints:nth_paragraph_first_word": {"num_paragraphs": float, "nth_paragraph": float, "first_word": str},
    "detectable_content:number_placeholders": {"num_placeholders": float},
    "detectable_content:postscript": {"postscript_marker": str},
    "detectable_format:number_bullet_lists": {"num_bullets": float},
    "detectable_format:number_highlighted_sections": {"num_highlights": float},
    "detectable_format:multiple_sections": {"section_spliter": str, "num_sections": float},
    "combination:repeat_prompt": {"prompt_to_repeat": str},
    "startend:end_checker": {"end_phrase": str},
    "change_case:capital_word_frequency": {"capital_relation": str, "capital_frequency": float},
}
