r"""ifeval: every instruction of the prompt is followed, by IFEval's 25 kinds of checks.

Source: Zhou et al. 2023, "Instruction-Following Evaluation for Large Language Models", and the authors' evaluation code
(google-research/instruction_following_eval). A row has `instruction_id_list` and `kwargs`, one entry for each instruction, at the top or in
`verifier_metadata`, as NeMo Gym has them; null arguments count as absent.

Strict: the answer as it is. Loose: any of eight readings of it passes, with the first line, the last line or both left out, and each also
without asterisks. `passed` and the reward are strict and want all instructions; `reward="fraction"` gives NeMo Gym's share.
Named scores: `strict_prompt`, `loose_prompt`, `strict_fraction`, `loose_fraction`, and the counts behind the aggregates
`strict_instruction` and `loose_instruction` (sums over all instructions of all tasks).

Edges, as upstream has them unless said: an empty answer follows nothing; where no language can be told (langdetect, seeded), the
language is taken to be right; words are runs of `\w`; sentences are Punkt's; a JSON answer may stand in a fence. `letter_frequency` of
what is no letter counts that very character, where upstream draws a letter at random. A long answer is checked in a process with a
time limit.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

from pytest_gym import DataError, OutOfBounds, Rollout, Task, Verdict, run_bounded, verifier

_LONG = 50_000
_SECONDS = 5.0
_CONSTRAINED = ("My answer is yes.", "My answer is no.", "My answer is maybe.")

Arguments = Mapping[str, Any]
Check = Callable[[str, Arguments], bool]


@verifier(needs={"langdetect": "instructions", "punkt": "instructions", "nltk": "instructions"})
def ifeval(task: Task, rollout: Rollout, *, reward: Literal["all", "fraction"] = "all") -> Verdict:
    """Reward 1 where all instructions are followed in the strict reading; with `fraction` the share of them."""
    instructions = instructions_of(task)
    text = rollout.text
    try:
        strict, loose = run_bounded(followed, text, instructions, seconds=_SECONDS) if len(text) > _LONG else followed(text, instructions)
    except OutOfBounds as error:
        why = f"checking this answer of {len(text):,} characters {error}"
        return Verdict(0.0, False, explanation=why, scores=_scores([], [], len(instructions)))
    broken = [name for (name, _), kept in zip(instructions, strict, strict=True) if not kept]
    return Verdict(
        float(not broken) if reward == "all" else sum(strict) / len(strict),
        not broken,
        explanation="not followed: " + ", ".join(broken) if broken else "all instructions are followed",
        scores=_scores(strict, loose, len(instructions)),
    )


@ifeval.aggregate(statistics=("strict_followed", "instructions"))
def strict_instruction(totals: Mapping[str, Any]) -> Any:
    """The share of all instructions that are followed, strict."""
    return totals["strict_followed"] / totals["instructions"]


@ifeval.aggregate(statistics=("loose_followed", "instructions"))
def loose_instruction(totals: Mapping[str, Any]) -> Any:
    """The share of all instructions that are followed in one of the eight readings."""
    return totals["loose_followed"] / totals["instructions"]


def _scores(strict: Sequence[bool], loose: Sequence[bool], total: int) -> dict[str, float]:
    kept, nearly = sum(strict), sum(loose)
    return {
        "strict_prompt": float(kept == total),
        "loose_prompt": float(nearly == total),
        "strict_fraction": kept / total,
        "loose_fraction": nearly / total,
        "strict_followed": float(kept),
        "loose_followed": float(nearly),
        "instructions": float(total),
    }


def instructions_of(task: Task) -> list[tuple[str, dict[str, Any]]]:
    """The instructions of a row with their arguments. Raises DataError naming row and field."""
    inner = task.get("verifier_metadata")
    held = inner if isinstance(inner, Mapping) and "instruction_id_list" in inner else task
    names, arguments = held["instruction_id_list"], held.get("kwargs")
    where = f"{task.benchmark}: row {task.index + 1} (task {task.id!r})"
    if not isinstance(names, list) or not names or not isinstance(arguments, list) or len(arguments) != len(names):
        raise DataError(f"{where}: instruction_id_list and kwargs must be lists of the same length, not empty")
    found = []
    for name, given in zip(names, arguments, strict=True):
        if name not in CHECKS:
            raise DataError(f"{where}, field 'instruction_id_list': there is no instruction {name!r}")
        needed = NEEDED.get(name, ())
        said = {key: value for key, value in (given or {}).items() if value is not None}
        if missing := [key for key in needed if key not in said]:
            raise DataError(f"{where}, field 'kwargs': {name} needs {missing[0]!r}")
        found.append((name, said))
    return found


def followed(text: str, instructions: Sequence[Sequence[Any]]) -> tuple[list[bool], list[bool]]:
    """Whether each instruction is followed, strict and loose."""
    # Many of the eight are the same text, and telling a language is slow.
    readings = [reading for reading in dict.fromkeys(_readings(text)) if reading.strip() and reading != text]
    strict, loose = [], []
    for name, arguments in instructions:
        check = CHECKS[name]
        strict.append(bool(text.strip()) and check(text, arguments))
        loose.append(strict[-1] or any(check(reading, arguments) for reading in readings))
    return strict, loose


def _readings(text: str) -> Iterator[str]:
    lines = text.split("\n")
    for reading in ("\n".join(lines[1:]).strip(), "\n".join(lines[:-1]).strip(), "\n".join(lines[1:-1]).strip()):
        yield reading
        yield reading.replace("*", "")
    yield text.replace("*", "")


# -- the checks ----------------------------------------------------------------------------------------------------------------------------


def _relation(count: int, relation: str, bound: int) -> bool:
    return count < bound if relation == "less than" else count >= bound


def _found(pattern: str, text: str) -> int:
    return len(re.findall(pattern, text, re.IGNORECASE))


def _language(text: str, language: str) -> bool:
    import langdetect

    langdetect.DetectorFactory.seed = 0
    try:
        return bool(langdetect.detect(text) == language)
    except langdetect.LangDetectException:
        return True


def _sentences(text: str) -> int:
    import punkt

    return len(punkt.sent_tokenize(text))


def _capital_words(text: str) -> int:
    import punkt

    words = _word_tokenizer()
    return sum(word.isupper() for sentence in punkt.sent_tokenize(text) for word in words(sentence))


@functools.cache
def _word_tokenizer() -> Callable[[str], list[str]]:
    from nltk.tokenize.destructive import NLTKWordTokenizer

    tokenize: Callable[[str], list[str]] = NLTKWordTokenizer().tokenize
    return tokenize


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
    "length_constraints:number_sentences": lambda text, a: _relation(_sentences(text), a["relation"], a["num_sentences"]),
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
    "change_case:capital_word_frequency": lambda text, a: _relation(_capital_words(text), a["capital_relation"], a["capital_frequency"]),
    "change_case:english_capital": lambda text, a: text.isupper() and _language(text, "en"),
    "change_case:english_lowercase": lambda text, a: text.islower() and _language(text, "en"),
    "punctuation:no_comma": lambda text, a: "," not in text,
}

NEEDED: dict[str, tuple[str, ...]] = {
    "keywords:existence": ("keywords",),
    "keywords:frequency": ("keyword", "relation", "frequency"),
    "keywords:forbidden_words": ("forbidden_words",),
    "keywords:letter_frequency": ("letter", "let_relation", "let_frequency"),
    "language:response_language": ("language",),
    "length_constraints:number_sentences": ("relation", "num_sentences"),
    "length_constraints:number_paragraphs": ("num_paragraphs",),
    "length_constraints:number_words": ("relation", "num_words"),
    "length_constraints:nth_paragraph_first_word": ("num_paragraphs", "nth_paragraph", "first_word"),
    "detectable_content:number_placeholders": ("num_placeholders",),
    "detectable_content:postscript": ("postscript_marker",),
    "detectable_format:number_bullet_lists": ("num_bullets",),
    "detectable_format:number_highlighted_sections": ("num_highlights",),
    "detectable_format:multiple_sections": ("section_spliter", "num_sections"),
    "combination:repeat_prompt": ("prompt_to_repeat",),
    "startend:end_checker": ("end_phrase",),
    "change_case:capital_word_frequency": ("capital_relation", "capital_frequency"),
}
