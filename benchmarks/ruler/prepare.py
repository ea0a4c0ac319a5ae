"""RULER: thirteen synthetic tasks on texts of a wished length, made from a seed: the same bytes everywhere.

A task is a haystack of units (sentences, needles, list items), needles between them, and a question with the beginning of its answer.
Units are added until the budget of tokens is used up. The tasks and their settings are those of RULER's synthetic.yaml; the texts are
written here.
"""

from __future__ import annotations

import itertools
import random
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pytest_gym.tokens import Count, token_counter

ADJECTIVES = """
amber ancient bitter blue brave bright broad calm clever cold copper coral crimson curious dark deep distant dry eager
early faint fierce gentle golden grand green grey happy heavy hidden hollow humble icy jolly late lively lonely long
lucky mellow mild misty narrow noble old pale patient plain proud quick quiet rapid red rough round rusty silent
silver slow small soft solemn steady still strong sudden sweet tall tame tender tidy tiny warm wild wise young
""".split()
NOUNS = """
anchor apple arrow barrel basket beacon bell blanket boat bottle branch bridge brush bucket button candle canyon
castle cellar chain chapel chimney cloak clock cloud coin compass cottage cradle crown curtain desert drum engine
falcon feather fence ferry fiddle flute forest fountain gate glacier glove hammer harbour harvest hedge helmet hill
island jacket kettle ladder lantern lighthouse lizard magnet map market meadow mirror mountain needle orchard otter
paddle parcel pebble pencil pepper pigeon pillow planet pocket pond raven ribbon river rope saddle sail shadow shovel
spoon stable station stone stove tailor temple thimble thunder timber tower trumpet tunnel valley village violin wagon
walnut window winter
""".split()
PEOPLE = (
    "Alma Bruno Clara Dario Edda Felix Greta Henk Ines Jonas Kira Leon Mona Nils Olga Paul Rosa Sven Tilda Ugo Vera Wim Yara Zeno".split()
)
NOISE = (
    "The field lies quiet. The water is clear. The wind comes from the west. The road goes on. Up the hill and down once more.",
    "Leaves turn in the air. The lamp is lit. The bread is on the table. Somebody walks by. Now and then a door is heard.",
)
TEXT = (
    "In those years {a} worked as {job} in a {adj} town by the {noun}, and every evening {a} wrote down what the day had brought.",
    "{a} used to say that a {adj} {noun} tells more about its owner than a long letter does.",
    "When the {noun} was mended at last, {a} and {b} sat down on the steps and talked about the winter that had gone.",
    "It is often claimed that {job}s are patient people, but {b} had never met a patient one.",
    "The {adj} {noun} stood where it had always stood, and nobody asked any more who had put it there.",
    "After the market had closed, {b} counted the coins twice and lent half of them to {a}.",
    "There were {n} houses in the lane, each with a {adj} door, and behind each of them somebody kept a {noun}.",
    "What {a} remembered best was the smell of the {noun} and the sound of rain on a {adj} roof.",
    "A good plan, {b} thought, is one that still works when the {job} is late and the {noun} is broken.",
    "They spent {n} days on the way, slept beside a {adj} {noun}, and arrived before anybody had missed them.",
    "If you ask {a} about it today, you will hear a different story, in which the {noun} was {adj} from the beginning.",
    "Few people know that the {job} of that valley once owned {n} boats and lost all of them in one night.",
)
JOBS = "baker carpenter clerk doctor farmer ferryman gardener miller painter sailor smith tailor teacher watchmaker weaver".split()
# The task's settings, as in RULER: haystack, kinds of keys and values, numbers of keys, of values each, and of keys asked for.
NIAH: dict[str, tuple[str, str, str, int, int, int]] = {
    "niah_single_1": ("noise", "words", "numbers", 1, 1, 1),
    "niah_single_2": ("text", "words", "numbers", 1, 1, 1),
    "niah_single_3": ("text", "words", "uuids", 1, 1, 1),
    "niah_multikey_1": ("text", "words", "numbers", 4, 1, 1),
    "niah_multikey_2": ("needles", "words", "numbers", 1, 1, 1),
    "niah_multikey_3": ("needles", "uuids", "uuids", 1, 1, 1),
    "niah_multivalue": ("text", "words", "numbers", 1, 4, 1),
    "niah_multiquery": ("text", "words", "numbers", 4, 1, 4),
}
ANSWER_TOKENS = {"niah": 128, "vt": 30, "cwe": 120, "fwe": 50, "qa": 32}
TASKS = (*NIAH, "vt", "cwe", "fwe", "qa_1", "qa_2")


def prepare(
    files: Mapping[str, Path],
    *,
    length: int,
    samples: int = 100,
    seed: int = 42,
    tokenizer: str = "words*1.33",
    tasks: Iterable[str] = TASKS,
    completion: bool = False,
) -> Iterator[dict[str, Any]]:
    """`samples` rows of each task; prompt and answer together have about `length` tokens, as `tokenizer` counts them, and not more.

    `tokenizer` is `words*1.33` (words between blanks, times 1.33) or `tiktoken:NAME`. With `completion` the prompt is a request that
    allows no more tokens than RULER gives the task's answer, as base models need it.
    """
    count = token_counter(tokenizer)
    for task in tasks:
        for index in range(samples):
            rng = random.Random(f"{seed}/{task}/{length}/{index}")
            limit = ANSWER_TOKENS[task.partition("_")[0]]
            budget = length - limit
            prompt, outputs = MAKERS[task](rng, budget, count)
            tokens = round(count(prompt))
            if tokens > length:
                raise ValueError(f"{task} needs at least {tokens} tokens, more than the {length} of the wished length")
            asked = {"responses_create_params": {"input": prompt, "max_output_tokens": limit}} if completion else {"prompt": prompt}
            row = {"id": f"{task}-{index:04d}", **asked, "outputs": outputs, "subset": task, "length": tokens}
            yield {**row, "stratum": f"{length}/{task}"}


# ----------------------------------------------------------------------------------------------------------------- needles in a haystack


def needle_in_haystack(task: str, rng: random.Random, budget: float, count: Count) -> tuple[str, list[str]]:
    """Values of keys hidden in noise, prose, or other keys' values."""
    haystack, keys_of, values_of, number_of_keys, values_each, asked = NIAH[task]
    keys = distinct(lambda: made(keys_of, rng), number_of_keys)
    values = {key: distinct(lambda: made(values_of, rng), values_each) for key in keys}
    kind = values_of[:-1] if asked * values_each == 1 else values_of
    needles = [needle(values_of, key, value) for key in keys for value in values[key]]
    rng.shuffle(needles)
    queries = rng.sample(keys, asked)
    names = queries[0] if asked == 1 else ", ".join(queries[:-1]) + f" and {queries[-1]}"
    one = asked * values_each == 1
    intro = (
        f"{'A special magic' if one else 'Some special magic'} {kind} {'is' if one else 'are'} hidden in the text below. Remember "
        f"{'it' if one else 'them'}: you will be asked for {'it' if one else 'them'} at the end."
    )
    question = (
        f"{'What is the' if one else 'What are all the'} special magic {kind} for {names} in the text above?\n"
        f"The special magic {kind} for {names} {'is' if one else 'are'}"
    )

    def unit() -> str:
        if haystack == "needles":
            key = made(keys_of, rng)
            return needle(values_of, key, made(values_of, rng)) if key not in values else ""
        return rng.choice(NOISE) if haystack == "noise" else sentence(rng)

    units = fill(unit, budget - count(f"{intro}\n{' '.join(needles)}\n{question}"), count)
    for text in needles:
        units.insert(rng.randint(0, len(units)), text)
    joint = "\n" if haystack != "text" else " "
    return f"{intro}\n{joint.join(units)}\n{question}", [value for key in queries for value in values[key]]


def needle(kind: str, key: str, value: str) -> str:
    """The sentence that hides a value."""
    return f"One of the special magic {kind} for {key} is: {value}."


def made(kind: str, rng: random.Random) -> str:
    """A key or a value: two words, a number of seven digits, or a UUID."""
    if kind == "words":
        return f"{rng.choice(ADJECTIVES)}-{rng.choice(NOUNS)}"
    return str(rng.randint(1_000_000, 9_999_999)) if kind == "numbers" else str(uuid.UUID(int=rng.getrandbits(128), version=4))


# --------------------------------------------------------------------------------------------------------------------- the other tasks


def variable_tracking(rng: random.Random, budget: float, count: Count) -> tuple[str, list[str]]:
    """One chain of five variables with the same value, one assignment after the other, in noise."""
    names = distinct(lambda: "".join(rng.choices("ABCDEFGHIJKLMNOPQRSTUVWXYZ", k=5)), 5)
    value = rng.randint(10_000, 99_999)
    chain = [f"VAR {names[0]} = {value}"] + [f"VAR {name} = VAR {before}" for before, name in itertools.pairwise(names)]
    intro = "The text below hides a chain of assignments to variables. Keep track of it."
    question = (
        f"Question: which variables have the value {value} in the text above?\n"
        f"Answer: by the assignments in the text, {len(names)} variables have the value {value}:"
    )
    units = fill(lambda: rng.choice(NOISE), budget - count(f"{intro}\n{' '.join(chain)}\n{question}"), count)
    for place, text in zip(sorted(rng.randint(0, len(units)) for _ in chain)[::-1], chain[::-1], strict=True):
        units.insert(place, text)
    return "\n".join([intro, *units, question]), names


def common_words(rng: random.Random, budget: float, count: Count) -> tuple[str, list[str]]:
    """A numbered list in which ten words stand thirty times and all others three times; in short lists ten times and once."""
    intro = "Below is a numbered list of words. Some of them appear much more often than the others. Remember which."
    question = "Question: which 10 words appear most often in the list above?\nAnswer: the 10 words that appear most often in the list are:"
    per_item, room = count("123. badoku"), budget - count(f"{intro}\n{question}")
    often, seldom = (30, 3) if room > per_item * 600 else (10, 1)
    others = max(1, int((room / per_item - 10 * often) / seldom))
    words = distinct(lambda: invented(rng, 3), 10 + others)
    items = [word for word in words[:10] for _ in range(often)] + [word for word in words[10:] for _ in range(seldom)]
    rng.shuffle(items)
    listed = " ".join(f"{number}. {word}" for number, word in enumerate(items, 1))
    return f"{intro}\n{listed}\n{question}", words[:10]


def frequent_words(rng: random.Random, budget: float, count: Count) -> tuple[str, list[str]]:
    """Coded words whose frequencies fall with the square of their rank; dots stand for the most frequent one."""
    intro = "Read the coded text below and keep track of how often each coded word appears. Dots do not count."
    question = (
        "Question: what are the three coded words that appear most often in the text above?\nAnswer: the three most frequent ones are:"
    )
    room = int((budget - count(f"{intro}\n{question}")) / count("badoku"))
    words = distinct(lambda: invented(rng, 3), 2000)
    shares = [1 / rank**2 for rank in range(1, len(words) + 1)]
    items: list[str] = []
    for word, share in zip(["...", *words], shares, strict=False):
        items.extend([word] * int(room * share / sum(shares)))
    rng.shuffle(items)
    return f"{intro}\n{' '.join(items)}\n{question}", words[:3]


def question_answering(hops: int, rng: random.Random, budget: float, count: Count) -> tuple[str, list[str]]:
    """One document among others answers the question, or two of them together."""
    towns = fresh(lambda: invented(rng, 4).title())
    facts = {town: (rng.choice(JOBS), rng.choice(PEOPLE), rng.randint(1200, 1900)) for town in [next(towns) for _ in range(2)]}
    (town, (job, person, year)), (other, _) = facts.items()
    document = (
        f"{town} was founded in {year} by the {job} {person} of {other}. It is known for its {rng.choice(ADJECTIVES)} {rng.choice(NOUNS)}."
    )
    river = invented(rng, 3).title()
    second = f"{other} lies on the river {river}, where a {rng.choice(NOUNS)} is held every {rng.choice(['spring', 'autumn', 'winter'])}."
    ask = f"In which year was {town} founded?" if hops == 1 else f"On which river lies the town that the founder of {town} came from?"
    intro = "Answer the question from the documents below. Give only the answer, in as few words as possible."
    question = f"Question: {ask}\nAnswer:"

    def unit() -> str:
        name = next(towns)
        founded = (
            f"{name} was founded in {rng.randint(1200, 1900)} by the {rng.choice(JOBS)} {rng.choice(PEOPLE)} of {invented(rng, 4).title()}."
        )
        lies = f"{name} lies on the river {invented(rng, 3).title()}, and its {rng.choice(NOUNS)} is {rng.choice(ADJECTIVES)}."
        return f"Document 0:\n{rng.choice([founded, lies])} {sentence(rng)}"

    needed = [document, second] if hops == 2 else [document]
    units = fill(unit, budget - count(f"{intro}\n{' '.join(f'Document 0: {text}' for text in needed)}\n{question}"), count)
    for text in needed:
        units.insert(rng.randint(0, len(units)), f"Document 0:\n{text}")
    numbered = [text.replace("Document 0:", f"Document {number}:", 1) for number, text in enumerate(units, 1)]
    return "\n\n".join([intro, *numbered, question]), [str(year) if hops == 1 else river]


# -------------------------------------------------------------------------------------------------------------------------- materials


def fill(unit: Callable[[], str], budget: float, count: Count) -> list[str]:
    """Units that together have no more tokens than the budget."""
    units, used = [], 0.0
    while True:
        text = unit()
        if not text:
            continue
        # A tokenizer may need a token more for the white space between two units.
        used += count(f"{text}\n")
        if used > budget:
            return units
        units.append(text)


def sentence(rng: random.Random) -> str:
    """A sentence of prose."""
    a, b = rng.sample(PEOPLE, 2)
    fields = {"a": a, "b": b, "job": rng.choice(JOBS), "adj": rng.choice(ADJECTIVES), "noun": rng.choice(NOUNS), "n": rng.randint(3, 40)}
    return rng.choice(TEXT).format(**fields)


def invented(rng: random.Random, syllables: int) -> str:
    """A word that no language has, of syllables such as `ba` and `ku`."""
    return "".join(rng.choice("bdfghklmnprstvz") + rng.choice("aeiou") for _ in range(syllables))


def distinct(make: Callable[[], str], number: int) -> list[str]:
    """So many different texts."""
    found: dict[str, None] = {}
    while len(found) < number:
        found[make()] = None
    return list(found)


def fresh(make: Callable[[], str]) -> Iterator[str]:
    """Ever more different texts."""
    seen = set()
    while True:
        text = make()
        if text not in seen:
            seen.add(text)
            yield text


MAKERS: dict[str, Callable[[random.Random, float, Count], tuple[str, list[str]]]] = {
    **{task: (lambda rng, budget, count, task=task: needle_in_haystack(task, rng, budget, count)) for task in NIAH},
    "vt": variable_tracking,
    "cwe": common_words,
    "fwe": frequent_words,
    "qa_1": lambda rng, budget, count: question_answering(1, rng, budget, count),
    "qa_2": lambda rng, budget, count: question_answering(2, rng, budget, count),
}
