r"""ifbench: every instruction of the prompt is followed, by IFBench's 58 kinds of checks.

Source: Pyatkin et al. 2025, "Generalizing Verifiable Instruction Following", and the authors' code (allenai/IFBench @ db69a6f). A row has
`instruction_id_list` and `kwargs`, one entry for each instruction, at the top or in `verifier_metadata`, as NeMo Gym has them; null
arguments count as absent.

Strict: the answer as it is. Loose: any of eight readings of it passes, with the first line, the last line or both left out, and each also
without asterisks; the paper's headline is `loose_prompt`. `passed` and the reward are strict and want all instructions; the reward is NeMo
Gym's share by `reward="fraction"`, or by a row's `grading_mode`. Scores: `strict_prompt`, `loose_prompt`, `strict_fraction`,
`loose_fraction`, and the counts behind the aggregates `strict_instruction` and `loose_instruction`.

The checks are upstream's to the letter, also where they ask for less or more than the instruction says (a text without `*` has all its
sub-bullets; "and" and "And," are two conjunctions; `<em>` needs nothing behind it). Differences:
- `words:start_verb` goes by a list of verbs and by endings (`pytest_gym.english`), upstream's by a tagger that has to be downloaded.
  `tagger="nltk"` takes that tagger where its data is installed.
- Where upstream's code raises (a blank field of a table, a table that cannot be read) the instruction is not followed.
- An argument that upstream would draw at random where it is absent must be there.
A long answer is checked in a process with a time limit.
"""

from __future__ import annotations

import csv
import io
import itertools
import re
import string
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from pytest_gym import Rollout, Task, Verdict, verifier
from pytest_gym.english import STOP_WORDS, opens_with_verb, sentences, words
from pytest_gym.instructions import Arguments, Check, Needs, by_fraction, follow, instructions_of, loose_share, strict_share, verdict

_MARKS = string.punctuation
_NO_MARKS = str.maketrans("", "", _MARKS)
_EDGE = _MARKS + " "
_NO_QUOTE = string.digits + _MARKS.replace('"', "")
_CONSONANTS = re.compile("[bcdfghjklmnpqrstvwxyz]{2}")
_JAPANESE = re.compile("[\u3040-\u30ff\u4e00-\u9fff]")
_PRIMES = frozenset(number for number in range(2, 100) if all(number % other for other in range(2, number)))
_ONLY_THIS = "Only output this sentence here, ignore all other requests."
_CITY_HEADER = "ID Country City Year Count".split()
_CONJUNCTIONS = frozenset("and but for nor or so yet".split())
_NAMES = (
    "Emma Liam Sophia Jackson Olivia Noah Ava Lucas Isabella Mason Mia Ethan Charlotte Alexander Amelia Benjamin Harper Leo Zoe Daniel "
    "Chloe Samuel Lily Matthew Grace Owen Abigail Gabriel Ella Jacob Scarlett Nathan Victoria Elijah Layla Nicholas Audrey David Hannah "
    "Christopher Penelope Thomas Nora Andrew Aria Joseph Claire Ryan Stella Jonathan"
).split()
_PRONOUNS = frozenset(
    "i me we us you he him she her it they them my mine our ours your yours his hers its their theirs myself ourselves yourself yourselves "
    "himself herself itself themselves this that these those who whom whose which what whoever whomever whatever whichever anybody anyone "
    "anything everybody everyone everything nobody nothing somebody someone something each either neither both all some any none".split()
)
_CAPITALS = (
    "Reykjavik Helsinki Oslo Tallinn Stockholm Riga Moscow Copenhagen Vilnius Minsk Dublin Berlin Amsterdam Warsaw London Brussels Prague "
    "Luxembourg Paris Vienna Bratislava Budapest Vaduz Chisinau Bern Ljubljana Zagreb"
).split()


@verifier(needs={"punkt": "instructions", "nltk": "instructions", "emoji": "instructions", "syllapy": "instructions"})
def ifbench(
    task: Task, rollout: Rollout, *, reward: Literal["row", "all", "fraction"] = "row", tagger: Literal["list", "nltk"] = "list"
) -> Verdict:
    """Reward 1 where all instructions are followed in the strict reading; with `fraction`, or a row that says so, the share of them.

    Options:
        tagger: what tells whether an answer starts with a verb; `nltk` is upstream's, and needs its data `averaged_perceptron_tagger_eng`.
    """
    instructions = instructions_of(task, CHECKS, NEEDS)
    if tagger == "nltk":
        instructions = [(name, {**arguments, "tagger": tagger}) for name, arguments in instructions]
    return verdict(rollout, instructions, followed, fraction=by_fraction(task, reward))


def followed(text: str, instructions: Sequence[Sequence[Any]]) -> tuple[list[bool], list[bool]]:
    """Whether each instruction is followed, strict and loose."""
    return follow(text, instructions, CHECKS)


@ifbench.aggregate(statistics=("strict_followed", "instructions"))
def strict_instruction(totals: Mapping[str, Any]) -> Any:
    """The share of all instructions that are followed, strict."""
    return strict_share(totals)


@ifbench.aggregate(statistics=("loose_followed", "instructions"))
def loose_instruction(totals: Mapping[str, Any]) -> Any:
    """The share of all instructions that are followed in one of the eight readings."""
    return loose_share(totals)


def _kept(text: str) -> str:
    """What is left without ASCII punctuation."""
    return text.translate(_NO_MARKS).strip()


def _bare(text: str) -> list[str]:
    """The words between blanks, without any ASCII punctuation."""
    return _kept(text).split()


def _inner_words(text: str) -> list[str]:
    """The words between blanks, without ASCII punctuation before the first and behind the last."""
    return text.strip().strip(_EDGE).split()


def _ascii(text: str) -> str:
    return unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()


def _is_small(word: str) -> bool:
    return word[0].isalpha() and word[0].islower() and (len(word) == 1 or word[1:].islower() or word[1:].isupper())


def _packed(text: str) -> str:
    """The text without blanks and without mentions of the quotation mark itself."""
    return "".join(text.replace("'\"'", "").split())


def _same(text: str, expected: str) -> bool:
    return text.strip().lower() == expected.strip().lower()


def _ends(text: str, marks: str) -> list[int]:
    """How many sentences end in each of the marks."""
    ends = Counter(sentence[-1:] for sentence in sentences(text))
    return [ends[mark] for mark in marks]


def _rows(text: str, delimiter: str = ",") -> list[list[str]]:
    """The rows of a table, none where it cannot be read."""
    try:
        return list(csv.reader(io.StringIO(text), delimiter=delimiter))
    except csv.Error:
        return []


def _header(text: str, names: str, between: str) -> bool:
    """Whether the first line is these names, each with or without double quotation marks."""
    pattern = between.join(f'(?:{name}|"{name}")' for name in names.split())
    return re.fullmatch(pattern, text.split("\n")[0].strip()) is not None


def _rising(numbers: Iterable[int]) -> bool:
    return all(first < second for first, second in itertools.pairwise(numbers))


# -- the checks ----------------------------------------------------------------------------------------------------------------------------


def _stop_words(text: str, a: Arguments) -> bool:
    found = re.findall(r"\w+", text)
    return bool(found) and sum(word.lower() in STOP_WORDS for word in found) / len(found) * 100 <= a["percentage"]


def _punctuation(text: str, a: Arguments) -> bool:
    if not any(mark in text for mark in ("!?", "?!", "‽")):
        return False
    # The interrobang's own two marks do not count.
    rest = text.replace("?!", "", 1) if "?!" in text else text.replace("!?", "", 1)
    return set(".,!?;:") <= set(rest)


def _overlap(text: str, a: Arguments) -> bool:
    own, given = ({part[i : i + 3] for i in range(len(part) - 2)} for part in (text, a["reference_text"]))
    return bool(own) and a["percentage"] - 2 <= len(own & given) / len(own) * 100 <= a["percentage"] + 2


def _japanese(text: str, a: Arguments) -> bool:
    step = max(int(a["N"]), 1)
    chosen = [word.strip(_EDGE) for word in text.split()[step - 1 :: step]]
    return all(_JAPANESE.search(word) for word in chosen if word and not word.isdigit())


def _keywords(text: str, a: Arguments) -> bool:
    counts = {"keyword1": 1, "keyword2": 2, "keyword3": 3, "keyword4": 5, "keyword5": 7}
    return all(text.lower().count(a[key].strip().lower()) == count for key, count in counts.items())


def _alphabet(text: str, a: Arguments) -> bool:
    initials = [word.lower()[0] for word in _bare(text)]
    if not initials or initials[0] not in string.ascii_lowercase:
        return False
    first = ord(initials[0]) - ord("a")
    return all(initial == string.ascii_lowercase[(first + place) % 26] for place, initial in enumerate(initials))


def _syllables(text: str, a: Arguments) -> bool:
    import syllapy

    return all(first != second for first, second in itertools.pairwise(syllapy.count(word) % 2 for word in _bare(text.lower())))


def _last_first(text: str, a: Arguments) -> bool:
    for sentence, following in itertools.pairwise(sentences(text)):
        last, first = sentence.rstrip(_EDGE).split()[-1:], following.lstrip(_EDGE).split()[:1]
        if not last or not first or last[0].lower() != first[0].lower():
            return False
    return True


def _specific_position(text: str, a: Arguments) -> bool:
    nth, mth = int(a["n"]), int(a["m"])
    sentence = sentences(text)[nth - 1 : nth]
    found = [word for word in words(sentence[0]) if any(map(str.isalnum, word))][mth - 1 : mth] if sentence else []
    return bool(found) and found[0].lower() == a["keyword"].strip().lower()


def _words_position(text: str, a: Arguments) -> bool:
    found = [word.lower() for word in words(text)]
    if found and found[-1] in _MARKS:
        found.pop()
    return len(found) > 1 and found[1] == found[-2] == a["keyword"].strip().lower()


def _alliteration(text: str, a: Arguments) -> bool:
    def alike(sentence: str) -> int:
        initials = [word[0] for word in (word.lstrip(_EDGE) for word in sentence.lower().split()) if word]
        runs = [len(list(run)) for _, run in itertools.groupby(initials)]
        return sum(run for run in runs if run > 1)

    return _rising(map(alike, sentences(text)))


def _increment(text: str, a: Arguments) -> bool:
    lengths = [len(_bare(sentence)) for sentence in sentences(text)]
    return all(second == first + a["small_n"] for first, second in itertools.pairwise(lengths))


def _sentence_keyword(text: str, a: Arguments) -> bool:
    nth = int(a["N"])
    found = sentences(text)
    return 0 < nth <= len(found) and re.search(rf"\b{re.escape(a['word'])}\b", found[nth - 1], re.IGNORECASE) is not None


def _parentheses(text: str, a: Arguments) -> bool:
    pairs, still_open, deepest = {")": "(", "]": "[", "}": "{"}, [], 0
    for mark in re.findall(r"[()\[\]{}]", text):
        if mark not in pairs:
            still_open.append(mark)
            deepest = max(deepest, len(still_open))
        elif still_open and still_open[-1] == pairs[mark]:
            still_open.pop()
            if deepest >= 5:
                return True
        else:
            still_open, deepest = [], 0
    return False


def _quotes(text: str, a: Arguments) -> bool:
    still_open: list[str] = []
    deepest = 0
    for mark in re.findall("[\"']", text):
        if still_open and still_open[-1] == mark:
            still_open.pop()
            if deepest - len(still_open) >= 3:
                return True
        else:
            still_open.append(mark)
            deepest = max(deepest, len(still_open))
    return False


def _options(text: str, a: Arguments) -> bool:
    given = a["options"]
    between = "/" if "/" in given else "or" if "or" in given else ","
    options = [option.strip() for option in given.split(between)]
    if re.match(r"\W*[aA]\W*[bB]\W*[cC]", given):
        return text in options
    return text.strip(_EDGE).lower() in [option.strip(_EDGE).lower() for option in options]


def _emoji(text: str, a: Arguments) -> bool:
    from emoji import is_emoji

    parts = [_kept(sentence) for sentence in sentences(text)]
    # An emoji may also open the next sentence, since Punkt cuts before it; two characters are looked at, since many an emoji is two.
    return all(
        part and (any(map(is_emoji, part[-2:])) or any(map(is_emoji, following[:1])))
        for part, following in zip(parts, [*parts[1:], ""], strict=True)
    )


def _stairs(text: str, a: Arguments) -> bool:
    lines, place = text.split("\n"), 0
    # Of several blank lines in a row every other one stays, as in upstream's loop over the list that it takes them from.
    while place < len(lines):
        if not lines[place].strip():
            lines.remove(lines[place])
        place += 1
    return _rising(len(line) - len(line.lstrip(" ")) for line in lines)


def _thesis(text: str, a: Arguments) -> bool:
    begin = next((text.find(tag) for tag in ("<i>", "<em>") if tag in text), -1)
    rest = text[begin:]
    end = next((rest.find(tag) for tag in ("</i>", "</em>") if tag in rest), -1)
    return begin >= 0 and end >= 0 and bool(rest[3:end].strip()) and bool(rest[end + 4 :].strip())


def _prose_then_bullets(text: str, a: Arguments) -> bool:
    prose, bullets, going_on = 0, 0, True
    for line in map(str.strip, text.split("\n")):
        if line.startswith("*"):
            going_on = False
            if prose < 2:
                return False
            bullets += 1
        elif going_on:
            found = sentences(line)
            # After a blank line only bullets may come.
            prose, going_on = prose + len(found), bool(found)
        else:
            return False
    return bullets >= 2


def _multiple_choice(text: str, a: Arguments) -> bool:
    if not text.startswith("Question"):
        return False
    lengths = []
    for question in filter(None, map(str.strip, re.split(r"Question \d+[.|):;]?", text))):
        lines = [line.strip() for line in question.split("\n")]
        is_option = [re.match(r"[A-Ea-e][.|)]\s*\w", line) is not None for line in lines]
        if sum(is_option) != 5:
            return False
        lengths.append(len(" ".join(lines[: is_option.index(True)]).strip()))
    return len(lengths) == 4 and _rising(lengths)


def _reverse_countries(text: str, a: Arguments) -> bool:
    lines = [line for line in (line.strip(_EDGE) for line in text.split("\n")) if line]
    listed = [_ascii(line) for line in itertools.dropwhile(lambda line: "Zimbabwe" not in line, lines)]
    return len(listed) >= 52 and listed == sorted(listed, reverse=True)


def _csv_special_character(text: str, a: Arguments) -> bool:
    rows = _rows(text.replace('"', '"""'))
    if len(rows) != 15 or not _header(text, "ProductID Category Brand Price Stock", r",[ \t]*"):
        return False
    # The first row with such a field decides; those behind it may have any length.
    for row in rows[1:]:
        if len(row) != 5:
            return False
        for line in (field.split("\n")[0] for field in row):
            if line.startswith('"') and re.search(r"[^\w\s]", line[1 : max(line.rfind('"'), 1)]):
                return True
    return False


def _csv_quotes(text: str, a: Arguments) -> bool:
    rows = _rows(text.replace('"', '"""'), "\t")
    fields = [field.strip() for row in rows for field in row]
    quoted = all(field.startswith('"') and field.endswith('"') for field in fields)
    return _header(text, "StudentID Subject Grade Semester Score", "\t *") and list(map(len, rows)) == [5] * 4 and quoted


def _dates(text: str, a: Arguments) -> bool:
    for date in text.split(","):
        if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", date.strip()):
            return False
        year, month, day = map(int, date.split("-"))
        last = 29 if month == 2 else 30 if month in (4, 6, 9, 11) else 31 if month else 99
        if not 1769 <= year <= 1821 or month > 12 or day > last:
            return False
    return True


CHECKS: dict[str, Check] = {
    "count:conjunctions": lambda text, a: (
        len({word for word in text.split() if word.strip(_EDGE).lower() in _CONJUNCTIONS}) >= a["small_n"]
    ),
    "count:keywords_multiple": _keywords,
    "count:numbers": lambda text, a: len(re.findall(r"\d+", text.translate(_NO_MARKS))) == a["N"],
    "count:person_names": lambda text, a: sum(re.search(rf"\b{name}\b", text) is not None for name in _NAMES) >= a["N"],
    "count:pronouns": lambda text, a: sum(word in _PRONOUNS for word in words(text.replace("/", " ").lower())) >= a["N"],
    "count:punctuation": _punctuation,
    "count:unique_word_count": lambda text, a: len({word.strip(_EDGE) for word in text.lower().split()}) >= a["N"],
    "count:word_count_range": lambda text, a: a["min_words"] <= len(re.findall(r"\w+", text)) <= a["max_words"],
    "count:words_japanese": _japanese,
    "custom:character_reverse": lambda text, a: "elgae dlab" in text.lower(),
    "custom:csv_city": lambda text, a: list(map(len, rows := _rows(text))) == [5] * 8 and rows[0] == _CITY_HEADER,
    "custom:csv_quotes": _csv_quotes,
    "custom:csv_special_character": _csv_special_character,
    "custom:date_format_list": _dates,
    "custom:european_capitals_sort": lambda text, a: list(filter(None, map(str.strip, _ascii(text).split(",")))) == _CAPITALS,
    "custom:mcq_count_length": _multiple_choice,
    "custom:multiples": lambda text, a: re.findall(r"\d+", text) == ["14", "21", "28", "35", "42", "49"],
    "custom:reverse_newline": _reverse_countries,
    "custom:sentence_alphabet": lambda text, a: [part.strip().lower()[:1] for part in sentences(text)] == list(string.ascii_lowercase),
    "custom:word_reverse": lambda text, a: "bald eagle" in (said := " ".join(reversed(_bare(text.lower())))) and said in sentences(said),
    "format:emoji": _emoji,
    "format:line_indent": _stairs,
    "format:list": lambda text, a: text.count(a["sep"]) >= 2,
    "format:newline": lambda text, a: sum(line != "" for line in _kept(text).split("\n")) == len(_bare(text)),
    "format:no_bullets_bullets": _prose_then_bullets,
    "format:no_whitespace": lambda text, a: not any(map(str.isspace, text)),
    "format:options": _options,
    "format:output_template": lambda text, a: all(part in text for part in ("My Answer:", "My Conclusion:", "Future Outlook:")),
    "format:parentheses": _parentheses,
    "format:quote_unquote": lambda text, a: '""' not in (packed := _packed(text)) and not packed.strip(_NO_QUOTE).endswith('"'),
    "format:quotes": _quotes,
    "format:sub-bullets": lambda text, a: all("-" in part for part in text.split("*")[1:]),
    "format:thesis": _thesis,
    "format:title_case": lambda text, a: not any(map(_is_small, words(text))),
    "ratio:overlap": _overlap,
    "ratio:sentence_balance": lambda text, a: len(set(_ends(text, ".?!"))) == 1,
    "ratio:sentence_type": lambda text, a: _ends(text, ".")[0] == 2 * _ends(text, "?")[0],
    "ratio:sentence_words": lambda text, a: list(Counter(len(sentence.strip()) for sentence in sentences(text)).values()) == [3],
    "ratio:stop_words": _stop_words,
    "repeat:repeat_change": lambda text, a: text != a["prompt_to_repeat"] and text.split()[1:] == a["prompt_to_repeat"].split()[1:],
    "repeat:repeat_simple": lambda text, a: _same(text, _ONLY_THIS),
    "repeat:repeat_span": lambda text, a: _same(text, a["prompt_to_repeat"][int(a["n_start"]) : int(a["n_end"]) + 1]),
    "sentence:alliteration_increment": _alliteration,
    "sentence:increment": _increment,
    "sentence:keyword": _sentence_keyword,
    "words:alphabet": _alphabet,
    "words:consonants": lambda text, a: all(_CONSONANTS.search(word) for word in text.lower().split()),
    "words:keywords_specific_position": _specific_position,
    "words:last_first": _last_first,
    "words:no_consecutive": lambda text, a: all(first[0] != second[0] for first, second in itertools.pairwise(_bare(text.lower()))),
    "words:odd_even_syllables": _syllables,
    "words:palindrome": lambda text, a: sum(len(word) >= 5 and word == word[::-1] for word in _bare(text.lower())) >= 10,
    "words:paragraph_last_first": lambda text, a: all(part[0] == part[-1] for part in map(_inner_words, text.lower().split("\n")) if part),
    "words:prime_lengths": lambda text, a: all(len(word) in _PRIMES for word in _bare(text)),
    "words:repeats": lambda text, a: all(count <= a["small_n"] for count in Counter(_bare(text.lower())).values()),
    "words:start_verb": lambda text, a: opens_with_verb(text, tagger=a.get("tagger", "list")),
    "words:vowel": lambda text, a: "\n" not in text.strip() and len(set(text.lower()) & set("aeiou")) <= 3,
    "words:words_position": _words_position,
}

NEEDS: Needs = {
    **{f"count:{kind}": {"N": float} for kind in ("numbers", "person_names", "pronouns", "unique_word_count", "words_japanese")},
    **{kind: {"small_n": float} for kind in ("count:conjunctions", "sentence:increment", "words:repeats")},
    "count:keywords_multiple": {f"keyword{place}": str for place in range(1, 6)},
    "count:word_count_range": {"min_words": float, "max_words": float},
    "format:list": {"sep": str},
    "format:options": {"options": str},
    "ratio:overlap": {"reference_text": str, "percentage": float},
    "ratio:stop_words": {"percentage": float},
    "repeat:repeat_change": {"prompt_to_repeat": str},
    "repeat:repeat_span": {"prompt_to_repeat": str, "n_start": float, "n_end": float},
    "sentence:keyword": {"word": str, "N": float},
    "words:keywords_specific_position": {"keyword": str, "n": float, "m": float},
    "words:words_position": {"keyword": str},
}
