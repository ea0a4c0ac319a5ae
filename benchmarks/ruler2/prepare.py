"""RULER 2: twelve synthetic tasks in three families and four degrees, made from a seed: the same bytes everywhere.

A prompt is a haystack of numbered questions, documents or needles, worked examples where a question has to be solved, and what is wanted.
Tasks and settings are those of upstream's generator as NeMo Gym has it; where that draws on MMLU and HotpotQA, questions and documents are
invented here.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from pytest_gym.tokens import token_counter

Made = tuple[str, Any]
PEOPLE = "Alma Bruno Clara Dario Edda Felix Greta Henk Ines Jonas Kira Leon Mona Nils Olga Paul Rosa Sven Tilda Ugo Vera Wim".split()
JOBS = "baker carpenter clerk doctor farmer ferryman gardener miller painter sailor smith tailor teacher watchmaker weaver".split()
WORDS = """
anchor apple arrow barrel basket beacon bell blanket boat bottle branch bridge brush bucket button candle canyon castle cellar chain chapel
chimney cloak clock cloud coin compass cottage cradle crown curtain desert drum engine falcon feather fence ferry fiddle flute forest
fountain gate glacier glove hammer harbour harvest hedge helmet hill island jacket kettle ladder lantern lighthouse lizard magnet map market
meadow mirror mountain needle orchard otter paddle parcel pebble pencil pepper pigeon pillow planet pocket pond raven ribbon river rope
saddle sail shadow shovel spoon stable station stone stove temple thimble thunder timber tower trumpet tunnel valley village violin wagon
""".split()
ORDER = ("first", "second", "third", "fourth")
DEGREES = ("basic", "easy", "medium", "hard")
# How each task is judged: the row's eval_type and match_type.
JUDGED = {
    **dict.fromkeys(("mk_niah_basic", "mk_niah_easy", "mv_niah_basic", "mv_niah_easy", "mv_niah_hard"), ("ruler2", "all")),
    **dict.fromkeys(("mk_niah_medium", "mk_niah_hard"), ("multichoice", "all")),
    "mv_niah_medium": ("ruler2", "2steps"),
    **dict.fromkeys(("qa_basic", "qa_easy", "qa_medium", "qa_hard"), ("ruler2", "part")),
}
TASKS = tuple(f"{family}_{degree}" for family in ("mk_niah", "mv_niah", "qa") for degree in DEGREES)
_FEWEST = 10


def prepare(
    files: Mapping[str, Path],
    *,
    length: int,
    samples: int = 100,
    seed: int = 42,
    tokenizer: str = "words*1.33",
    tasks: Iterable[str] = TASKS,
) -> Iterable[dict[str, Any]]:
    """`samples` rows of each task, whose prompts have about `length` tokens, as `tokenizer` counts them, and not more.

    `tokenizer` is `words*1.33` (words between blanks, times 1.33) or `tiktoken:NAME`. Raises ValueError where a task does not fit.
    """
    count = token_counter(tokenizer)
    for task in tasks:
        make = MAKERS[task.rpartition("_")[0]]
        few, more = (count(make(task, random.Random(f"{seed}/{task}"), units)[0]) for units in (_FEWEST, 5 * _FEWEST))
        # A little fewer than fit on average, so that few rows have to be made anew.
        most = max(_FEWEST, int(0.98 * (length - few) / (more - few) * 4 * _FEWEST) + _FEWEST)
        for index in range(samples):
            units, tokens = most, float("inf")
            while tokens > length:
                question, expected = make(task, random.Random(f"{seed}/{task}/{length}/{index}"), units)
                tokens = count(question)
                if tokens > length and units <= _FEWEST:
                    raise ValueError(f"{task} needs at least {round(tokens)} tokens, more than the {length} of the wished length")
                units = max(_FEWEST, units - max(1, units // 100))
            kind, match = JUDGED[task]
            row = {"id": f"{task}-{index:04d}", "question": question, "expected_answer": expected, "task": task, "length": round(tokens)}
            yield {**row, "eval_type": kind, "match_type": match, "stratum": f"{length}/{task}"}


def numbered(task: str, rng: random.Random, units: int) -> Made:
    """Needles, or questions behind numbers, among `units` others: to find, to copy, or to solve."""
    family, _, degree = task.rpartition("_")
    several = family == "mv_niah"
    if degree == "basic":
        return needles(rng, units, 4 if several else 1)
    questions = distinct(lambda: choice(rng), units + 1)
    # In the family with several values each number stands for four questions.
    numbers = rng.sample(range(10**6, 10**7), -(-len(questions) // 4) if several else len(questions))
    numbers = (numbers * 4)[: len(questions)] if several else numbers
    rng.shuffle(numbers)
    wanted = rng.randrange(len(questions))
    number = numbers[wanted]
    same = [text for (text, _), other in zip(questions, numbers, strict=True) if other == number]
    text, letter = questions[wanted]
    listed = "\n\n".join(f"Question {other}: {each}" for (each, _), other in zip(questions, numbers, strict=True))
    if not several and degree in ("medium", "hard"):
        copy = "Copy Question {} from above, then solve it" if degree == "medium" else "Solve Question {} from above"
        ask = copy + " step by step; the answer is A, B, C or D."
        picked = rng.sample([place for place in range(len(questions)) if place != wanted], 5)
        solved = (
            f"{ask.format(numbers[place])}\n"
            + (f"Question {numbers[place]}: {questions[place][0]}\n" if degree == "medium" else "")
            + f"Solution: \\boxed{{{questions[place][1]}}}"
            for place in picked
        )
        intro = (
            "Below are many questions, each with a number. One of them is to be solved; put its letter, and only that, inside \\boxed{}."
        )
        examples = "Some worked examples:\n\n" + "\n\n".join(solved) + "\n\nNow it is your turn:"
        return f"{intro}\n\n{listed}\n\n{examples}\n\n{ask.format(number)}", letter
    place = ORDER[same.index(text)] + " " if several else ""
    if several and degree == "easy":
        intro, ask, expected = "some of them are", f"Find every Question {number} above, and copy them all.", same
    elif several and degree == "medium":
        intro, expected = "one of them is", [text]
        ask = (
            f"First copy every Question {number} from above in order. "
            f"Then, after an empty line, copy the {place}Question {number} once more."
        )
    else:
        intro, ask, expected = "one of them is", f"Copy the {place}Question {number} from above, and nothing else.", [text]
    return f"Below are many questions, each with a number; {intro} to be copied word for word.\n\n{listed}\n\n{ask}", expected


def needles(rng: random.Random, units: int, values: int) -> Made:
    """Numbers of ten digits behind pairs of words; one pair is asked for, which has `values` of them."""
    keys = distinct(lambda: "-".join(rng.sample(WORDS, 2)), units + 1)
    pairs = [(key, rng.randrange(10**9, 10**10)) for key in keys[1:]]
    hidden = [(keys[0], number) for number in rng.sample(range(10**9, 10**10), values)]
    for pair in hidden:
        pairs.insert(rng.randint(0, len(pairs)), pair)
    found = [str(number) for key, number in pairs if key == keys[0]]
    listed = "\n".join(f"One of the secret numbers of {key} is {number}." for key, number in pairs)
    ask = f"What is the secret number of {keys[0]}?" if values == 1 else f"What are all the secret numbers of {keys[0]}?"
    return f"Below are many sentences with secret numbers. Remember them: some will be asked for.\n\n{listed}\n\n{ask}", found


def documents(task: str, rng: random.Random, units: int) -> Made:
    """Documents behind numbers, two of which together answer a question; the others are about other towns."""
    degree = task.rpartition("_")[2]
    names = distinct(lambda: invented(rng, 4).title(), 2 * units + 4)
    town, other, *rest = names
    river, year = rest.pop(), rng.randint(1200, 1900)
    person, job = rng.choice(PEOPLE), rng.choice(JOBS)
    founded = f"{town}\n{town} was founded in {year} by the {job} {person} of {other}. {known(rng, town)}"
    lies = f"{other}\n{other} lies on the river {river}. {known(rng, other)}"
    texts = [founded, lies]
    for _ in range(units):
        first, second = rest.pop(), rest.pop()
        line = (
            f"{first} was founded in {rng.randint(1200, 1900)} by the {rng.choice(JOBS)} {rng.choice(PEOPLE)} of {second}."
            if rng.random() < 0.5
            else f"{first} lies on the river {second}."
        )
        texts.append(f"{first}\n{line} {known(rng, first)}")
    rng.shuffle(texts)
    numbers = [str(number) for number in rng.sample(range(10**6, 10**7), len(texts))]
    listed = "\n\n".join(f"Document {number}:\n{text}" for number, text in zip(numbers, texts, strict=True))
    indices = [numbers[texts.index(text)] for text in (founded, lies)]
    question = f"On which river lies the town from which the founder of {town} came?"
    expected = [river]
    if degree == "basic":
        intro, expected = "At the end stands a text. Give the number of the document that has it, and nothing else.", indices[:1]
        ask = f"Text: {founded}\nNumber of the document:"
    elif degree == "easy":
        intro, expected = "At the end stands a question. Give the number of a document that helps to answer it, and nothing else.", indices
        ask = f"Question: {question}\nNumber of a document that helps to answer it:"
    else:
        intro = "At the end stands a question. Answer it from the documents."
        how = "First copy the documents that it takes, then answer this question." if degree == "medium" else "Answer this question."
        ask = f"{how}\n\nQuestion: {question}"
    return f"Below are many documents, each with a number. {intro}\n\n{listed}\n\n{ask}", expected


MAKERS: dict[str, Callable[[str, random.Random, int], Made]] = {"mk_niah": numbered, "mv_niah": numbered, "qa": documents}


# -------------------------------------------------------------------------------------------------------------------------- materials


def choice(rng: random.Random) -> tuple[str, str]:
    """A question with four options in one line, and the letter of the right one."""
    kind, (a, b) = rng.randrange(5), rng.sample(PEOPLE, 2)
    if kind == 0:
        n, price, left = rng.randint(3, 19), rng.randint(2, 40), rng.randint(1, 60)
        text = f"{a} buys {n} {rng.choice(WORDS)}s for {price} coins each and pays with {n * price + left} coins. How many coins come back?"
        right, wrong = str(left), [str(left + step) for step in rng.sample(sorted({price, n, 1, 2, 10}), 3)]
    elif kind == 1:
        steps, minutes = rng.randint(60, 130), rng.randint(3, 59)
        text = f"The {rng.choice(JOBS)} {a} takes {steps} steps a minute. How many steps are that in {minutes} minutes?"
        right, wrong = (
            str(steps * minutes),
            [str(steps * minutes + step) for step in rng.sample(sorted({-steps, steps, minutes, 10, 100}), 3)],
        )
    elif kind == 2:
        words = rng.sample(WORDS, 4)
        text = f"{a} sorts cards by the alphabet. Which of these comes first?"
        right, wrong = min(words), [word for word in words if word != min(words)]
    elif kind == 3:
        numbers = rng.sample(range(1000, 9999), 4)
        text = f"{a} and {b} compare their collections. Which of these numbers is the largest?"
        right, wrong = str(max(numbers)), [str(number) for number in numbers if number != max(numbers)]
    else:
        total, share = rng.randint(100, 999), rng.randint(6, 12)
        text = f"{a} deals {total} beads out to {share} children, the same number to each. How many beads are left over?"
        right, wrong = str(total % share), [str(number) for number in rng.sample([n for n in range(12) if n != total % share], 3)]
    options = [right, *wrong]
    rng.shuffle(options)
    return f"{text} " + " ".join(f"{letter}. {option}" for letter, option in zip("ABCD", options, strict=True)), "ABCD"[
        options.index(right)
    ]


def known(rng: random.Random, town: str) -> str:
    """A sentence about a town that nothing depends on."""
    first, second, third = rng.sample(WORDS, 3)
    return rng.choice(
        (
            f"It is known for its {first} and for the {second} beside the {third}.",
            f"Every spring the {rng.choice(JOBS)}s of {town} carry a {first} through the streets, and the {second} is painted anew.",
            f"Nobody knows who put the {first} on the {second}, but on coins of {town} it is shown beside the {third}.",
        )
    )


def invented(rng: random.Random, syllables: int) -> str:
    """A word that no language has, of syllables such as `ba` and `ku`."""
    return "".join(rng.choice("bdfghklmnprstvz") + rng.choice("aeiou") for _ in range(syllables))


def distinct(make: Callable[[], Any], number: int) -> list[Any]:
    """So many different things."""
    found: dict[Any, None] = {}
    while len(found) < number:
        found[make()] = None
    return list(found)
