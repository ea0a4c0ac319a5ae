"""asr_with_pc: a transcript against the spoken words: word error rates of the whole set, and of each clip.

Rule, by the row's `task_type` (else the option):

    ASR-PC           right if `wer_pc` < 0.5: the word error rate on words and punctuation marks as they are written. `scores` also has
                     `wer_c` (without punctuation, with capitals) and `per`, the share of punctuation marks that are wrong, missing or
                     too many, among all that were aligned
    ASR              right if the word error rate after Whisper's English normaliser is < 0.5. An answer of which nothing is left counts
                     as the one word "empty"; a reference of which nothing is left takes no part (`empty_reference`)
    ASR_LEADERBOARD  the same, and for each field in `reference_fields` the statistics against that reference: `text_tn` gives `wer_tn`
    Hallucination    right if the answer has at most 1,500 characters a minute of `audio_duration`; right, too, without a duration

The corpus metric `wer` is all edits over all words, after Whisper's normaliser in every mode; `wer_tn` and `wer_itn` likewise; lower is
better.

Source of truth: NeMo Gym's server `asr_with_pc`, with the packages jiwer and whisper_normalizer, which it uses too. One difference: in
ASR-PC, too, an empty reference takes no part (the server fails on it). Only text is judged here: how audio reaches the model is the
benchmark's.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from functools import cache
from typing import Any, Literal

from pytest_gym import DataError, OutOfBounds, Rollout, Task, Verdict, run_bounded, verifier
from pytest_gym.extract import remove_thinking

Kind = Literal["ASR-PC", "ASR", "ASR_LEADERBOARD", "Hallucination"]
KINDS = ("ASR-PC", "ASR", "ASR_LEADERBOARD", "Hallucination")
CHARACTERS_A_MINUTE = 1500.0
_QUICK = 20_000
"""Answers up to so many characters are judged in place; longer ones in the helper process, which has a limit."""


@verifier(needs={"jiwer": "speech", "whisper_normalizer": "speech"})
def asr_with_pc(
    task: Task, rollout: Rollout, *, task_type: Kind = "ASR-PC", field: str = "expected_answer", seconds: float = 20.0
) -> Verdict:
    """Reward 1 where the transcript is right by more than half (or, for Hallucination, not much too long).

    Options:
        task_type: what is measured where the row does not say.
        field: the row's field with the spoken words.
        seconds: processor time for one long answer.

    Raises DataError for a row whose reference, task_type or duration cannot be used.
    """
    kind = task.get("task_type") or task_type
    if kind not in KINDS:
        raise DataError(f"{task.where('task_type')}: must be one of {', '.join(KINDS)}, not {kind!r}")
    answer = remove_thinking(rollout.text).strip()
    if kind == "Hallucination":
        return _hallucination(task, answer)
    references = {"": _text(task, field)}
    for name in (task.get("reference_fields") or []) if kind == "ASR_LEADERBOARD" else []:
        references[f"_{name.removeprefix('text_')}"] = _text(task, name)
    try:
        found = measure(answer, references, kind == "ASR-PC") if len(answer) <= _QUICK else _bounded(answer, references, kind, seconds)
    except OutOfBounds as error:
        words = {f"words{suffix}": float(len(text.split())) for suffix, text in references.items()}
        edits = {f"edits{suffix}": float(max(len(text.split()), len(answer.split()))) for suffix, text in references.items()}
        return Verdict(0.0, explanation=f"comparing the answer {error}", scores={**words, **edits, "empty_reference": 0.0})
    scores: dict[str, float] = {name: value for name, value in found.items() if value is not None}
    if found["empty_reference"]:
        return Verdict(0.0, explanation="nothing is left of the reference: it takes no part", scores=scores)
    rate = scores["wer_pc"] if kind == "ASR-PC" else scores["edits"] / scores["words"]
    return Verdict(float(rate < 0.5), explanation=f"{rate:.1%} of the words are wrong", scores=scores)


@asr_with_pc.aggregate(statistics=("edits", "words"), direction="lower", range=(0.0, float("inf")))
def wer(totals: Mapping[str, Any]) -> Any:
    """Word error rate: all edits over all words of the references."""
    return totals["edits"] / totals["words"]


@asr_with_pc.aggregate(statistics=("edits_tn", "words_tn"), direction="lower", range=(0.0, float("inf")))
def wer_tn(totals: Mapping[str, Any]) -> Any:
    """Word error rate against the spoken form (`text_tn`)."""
    return totals["edits_tn"] / totals["words_tn"]


@asr_with_pc.aggregate(statistics=("edits_itn", "words_itn"), direction="lower", range=(0.0, float("inf")))
def wer_itn(totals: Mapping[str, Any]) -> Any:
    """Word error rate against the written form (`text_itn`)."""
    return totals["edits_itn"] / totals["words_itn"]


@asr_with_pc.reference
def reference(task: Task, *, field: str = "expected_answer") -> str:
    """The spoken words themselves."""
    return _text(task, field)


def measure(answer: str, references: Mapping[str, str], punctuation: bool) -> dict[str, float | None]:
    """All numbers of one answer: edits and words for each reference by its suffix, and in ASR-PC the three further rates."""
    scores: dict[str, float | None] = {"empty_reference": 0.0}
    heard = normalised(answer) or "empty"
    for suffix, text in references.items():
        spoken = normalised(text)
        if not spoken:
            scores["empty_reference"] = 1.0 if not suffix else scores["empty_reference"]
            continue
        scores[f"edits{suffix}"], scores[f"words{suffix}"] = _edits(spoken, heard), float(len(spoken.split()))
    if punctuation and not scores["empty_reference"]:
        spoken = references[""]
        scores["wer_pc"] = _rate(" ".join(re.findall(r"\w+|[^\w\s]", spoken)), " ".join(re.findall(r"\w+|[^\w\s]", answer)))
        scores["wer_c"] = _rate(_plain(spoken), _plain(answer)) if _plain(spoken) else None
        scores["per"] = punctuation_error_rate(spoken, answer)
    return scores


def normalised(text: str) -> str:
    """Lower case, Whisper's English normaliser, single blanks. A text with a number that Python cannot read keeps its numbers."""
    text = text.lower()
    with contextlib.suppress(AssertionError, ValueError):
        # Whisper's own: it has no other word for a number of more than 4,300 digits.
        text = _whisper()(text)
    return " ".join(text.split())


def punctuation_error_rate(spoken: str, heard: str) -> float:
    """Wrong, missing and surplus punctuation marks over these and the right ones, by the alignment with the fewest errors.

    Of several such alignments the one is taken that replaces rather than leaves out, and leaves out rather than puts in.
    """
    marks = [[mark for mark in text if not mark.isalnum() and not mark.isspace()] for text in (spoken, heard)]
    wanted, found = marks
    # Each cell is (errors, right ones).
    row = [(number, 0) for number in range(len(found) + 1)]
    for number, mark in enumerate(wanted, 1):
        diagonal, row[0] = row[0], (number, 0)
        for index, other in enumerate(found, 1):
            if mark == other:
                best = (diagonal[0], diagonal[1] + 1)
            else:
                steps = (diagonal, row[index], row[index - 1])
                least = min(steps, key=lambda cell: cell[0])
                best = (least[0] + 1, least[1])
            diagonal, row[index] = row[index], best
    errors, right = row[-1]
    return errors / (errors + right) if errors + right else 0.0


def _hallucination(task: Task, answer: str) -> Verdict:
    duration = task.get("audio_duration")
    if duration is not None and (isinstance(duration, bool) or not isinstance(duration, int | float)):
        raise DataError(f"{task.where('audio_duration')}: must be a number of seconds, not {duration!r}")
    if not duration or duration <= 0:
        return Verdict(1.0, explanation="the row has no duration", scores={"hallucination_rate": 0.0})
    rate = len(answer) / duration * 60
    wrong = rate > CHARACTERS_A_MINUTE
    return Verdict(float(not wrong), explanation=f"{rate:,.0f} characters a minute", scores={"hallucination_rate": float(wrong)})


def _bounded(answer: str, references: Mapping[str, str], kind: str, seconds: float) -> dict[str, float | None]:
    arguments = answer, references, kind == "ASR-PC"
    found: dict[str, float | None] = run_bounded(measure, *arguments, seconds=seconds, imports=("jiwer", "whisper_normalizer.english"))
    return found


def _edits(spoken: str, heard: str) -> float:
    import jiwer

    aligned = jiwer.process_words(spoken, heard)
    return float(aligned.substitutions + aligned.deletions + aligned.insertions)


def _rate(spoken: str, heard: str) -> float:
    return _edits(spoken, heard) / len(spoken.split()) if spoken else 0.0


def _plain(text: str) -> str:
    return " ".join(re.sub(r"[^\w\s]", "", text).split())


@cache
def _whisper() -> Any:
    import warnings

    with warnings.catch_warnings():
        # Its docstrings have escapes that Python warns of when it compiles them, also where warnings are errors.
        warnings.simplefilter("ignore")
        from whisper_normalizer.english import EnglishTextNormalizer

    return EnglishTextNormalizer()


def _text(task: Task, field: str) -> str:
    value = task.get(field)
    if not isinstance(value, str):
        raise DataError(f"{task.where(field)}: must be a text, not {value!r}")
    return value.strip()
