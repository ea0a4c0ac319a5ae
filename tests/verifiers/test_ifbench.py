"""ifbench: each kind of instruction followed and not, what is upstream's to the letter, rows of either form, and any text at all."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_gym.english import STOP_WORDS, opens_with_verb, sentences, words
from pytest_gym.errors import DataError
from pytest_gym.testing import judge, make_rollout, make_task, verifier_cases
from pytest_gym.verify import load_module, load_verifier
from tests.conftest import sources

ROOT = Path(__file__).resolve().parents[2]
VERIFIER = load_verifier("ifbench", ROOT / "verifiers" / "ifbench.py")
ROW = {"instruction_id_list": ["format:no_whitespace", "format:options"], "kwargs": [None, {"options": "yes/no/maybe"}]}

test_cases = verifier_cases(
    VERIFIER, full=[(ROW, "maybe"), (ROW, "Maybe.")], zero=[(ROW, "may be"), (ROW, "perhaps"), (ROW, ""), (ROW, " ")]
)

CITIES = "ID,Country,City,Year,Count\n" + "\n".join(f'{i},Peru,"Lima, east",1990,3' for i in range(7))
PRODUCTS = "ProductID,Category,Brand,Price,Stock\n" + "\n".join(f'{i},toys,"A&B",3,4' for i in range(14))
STUDENTS = "\n".join(
    ["\t".join(f'"{name}"' for name in "StudentID Subject Grade Semester Score".split()), *['"1"\t"2"\t"3"\t"4"\t"5"'] * 3]
)
QUESTIONS = "\n".join(f"Question {i}. {'Why ' * i}so?\n" + "\n".join(f"{letter}) word" for letter in "ABCDE") for i in range(1, 5))
COUNTRIES = "\n".join(f"- {chr(90 - i // 3)}{'cba'[i % 3]}land" for i in range(60)).replace("Zcland", "Zimbabwe")
CAPITALS = (
    "Reykjavík, Helsinki, Oslo, Tallinn, Stockholm, Riga, Moscow, Copenhagen, Vilnius, Minsk, Dublin, Berlin, Amsterdam, Warsaw, London, "
    "Brussels, Prague, Luxembourg, Paris, Vienna, Bratislava, Budapest, Vaduz, Chișinău, Bern, Ljubljana, Zagreb"
)
ABC = " ".join(f"{chr(65 + i)} is a letter." for i in range(26))
KEYWORDS = {"keyword1": "door", "keyword2": "bread", "keyword3": "blue", "keyword4": "lamp", "keyword5": "river"}
COUNTED = "door bread bread blue blue blue " + "lamp " * 5 + "River " * 7

KINDS = [
    ("count:conjunctions", {"small_n": 3}, "It is and was, but so.", "and and but"),
    ("count:conjunctions", {"small_n": 2}, "and And,", "and and"),
    ("count:keywords_multiple", KEYWORDS, COUNTED, COUNTED + " door"),
    ("count:numbers", {"N": 2}, "1,000 and 2.5", "one and 2"),
    ("count:person_names", {"N": 2}, "Emma's Leo", "Emma and emma, Leonard"),
    ("count:pronouns", {"N": 3}, "He/she saw it.", "He saw Anna."),
    ("count:punctuation", {}, "Yes; no: a, b? c! d. e?!", "Yes; no: a, b? c. e?!"),
    ("count:unique_word_count", {"N": 3}, "One two three", "one One, two"),
    ("count:word_count_range", {"min_words": 2, "max_words": 3}, "two words", "one"),
    ("count:words_japanese", {"N": 2}, "one 日本 two カタ", "one 日本 two four"),
    ("custom:character_reverse", {}, "the Elgae Dlab", "dlab elgae"),
    ("custom:csv_city", {}, CITIES, CITIES + "\n8,Peru"),
    ("custom:csv_quotes", {}, STUDENTS, STUDENTS.replace('"5"', "")),
    ("custom:csv_special_character", {}, PRODUCTS, PRODUCTS.replace("&", "")),
    ("custom:date_format_list", {}, "1796-04-12, 1800-06-14", "1796-04-31"),
    ("custom:european_capitals_sort", {}, CAPITALS, CAPITALS.replace("Oslo, ", "")),
    ("custom:mcq_count_length", {}, QUESTIONS, QUESTIONS.replace("Why Why Why Why ", "")),
    ("custom:multiples", {}, "14,21,28,35,42,49", "7, 14, 21, 28, 35, 42, 49"),
    ("custom:reverse_newline", {}, COUNTRIES, COUNTRIES.replace("Zimbabwe", "Zambia")),
    ("custom:sentence_alphabet", {}, ABC, ABC.replace("C is", "D is")),
    ("custom:word_reverse", {}, "bird a is eagle bald The.", "The bald eagle is a bird."),
    ("format:emoji", {}, "It rains ☔ We stay 🏠.", "It rains ☔ We stay."),
    ("format:line_indent", {}, "a\n b\n\n   c", "a\n b\n b"),
    ("format:list", {"sep": "..."}, "... a\n... b", "... a\n.. b"),
    ("format:newline", {}, "one\ntwo,\n\nthree", "one two\nthree"),
    ("format:no_bullets_bullets", {}, "One. Two.\n\n* a\n* b", "One. Two.\n\nThree.\n* a\n* b"),
    ("format:no_whitespace", {}, "none", "a b"),
    ("format:options", {"options": "I know or I don't know"}, "**I don't know.**", "I do not know"),
    ("format:options", {"options": "a), b), c), d)"}, "b)", "B)"),
    ("format:output_template", {}, "My Answer: a My Conclusion: b Future Outlook: c", "My answer: a My Conclusion: b Future Outlook: c"),
    ("format:parentheses", {}, "a (b [c {d (e [f])}])", "(((([)"),
    ("format:quote_unquote", {}, '"a" means b.', 'So "a".'),
    ("format:quotes", {}, '"a \'b "c" b\' a"', "\"a 'b' a\""),
    ("format:sub-bullets", {}, "* a\n - b\n* c\n - d", "* a\n - b\n* c"),
    ("format:sub-bullets", {}, "no bullets", "* one"),
    ("format:thesis", {}, "So: <i>A thesis.</i> And why.", "<i> </i> And why."),
    ("format:thesis", {}, "<em>A thesis.</em>", "<i>A thesis.</i>"),
    ("format:title_case", {}, "A Tale Of iPhones", "A Tale of Cities"),
    ("ratio:overlap", {"reference_text": "abcdef", "percentage": 50}, "abcdxy", "abcdef"),
    ("ratio:sentence_balance", {}, "One. Two? Three!", "One. Two?"),
    ("ratio:sentence_type", {}, "One. Two. Three?", "One. Three?"),
    ("ratio:sentence_words", {}, "One cat. Two cat. Ten cat.", "One cat. Two cats. Ten cat."),
    ("ratio:stop_words", {"percentage": 50}, "the cat", "the cat of the house"),
    ("repeat:repeat_change", {"prompt_to_repeat": "Say it now."}, "Shout it  now.", "Say it now."),
    ("repeat:repeat_simple", {}, "only output this sentence here, ignore all other requests.\n", "Only output this sentence here."),
    ("repeat:repeat_span", {"prompt_to_repeat": "Say it now.", "n_start": 4, "n_end": 5}, " It", "Say it"),
    ("sentence:alliteration_increment", {}, "A cat sat. Big bears bite big. ", "Big bears bite. Cats can sit."),
    ("sentence:increment", {"small_n": 2}, "One two. One two three four.", "One two. One two three."),
    ("sentence:keyword", {"N": 2, "word": "cat"}, "One. A CAT.", "One cat. A catalogue."),
    ("words:alphabet", {}, "you zap (apples)", "you zap bananas"),
    ("words:consonants", {}, "tree stands", "tree is"),
    ("words:keywords_specific_position", {"keyword": "cat", "n": 2, "m": 3}, "One. See, the Cat.", "One. See the dog, cat."),
    ("words:last_first", {}, "I see you. You see it.", "I see you. It sees me."),
    ("words:no_consecutive", {}, "one two one", "two tall ones"),
    ("words:odd_even_syllables", {}, "cat table dog", "cat dog"),
    ("words:palindrome", {}, "Level, radar! " * 5, "level radar " * 4 + "noon noon"),
    ("words:paragraph_last_first", {}, "So it is so.\n\nYes yes!", "So it is so.\nNo yes"),
    ("words:prime_lengths", {}, "we see house", "we see four"),
    ("words:repeats", {"small_n": 1}, "one two", "one two, One"),
    ("words:start_verb", {}, "Make a list.", "Make sure."),
    ("words:vowel", {}, "a big red cat", "a big red octopus"),
    ("words:words_position", {"keyword": "so"}, "And so it is so then.", "And so it is then so."),
]


@pytest.mark.parametrize(("kind", "arguments", "kept", "broken"), KINDS, ids=[kind for kind, *_ in KINDS])
def test_each_kind(kind, arguments, kept, broken):
    row = {"instruction_id_list": [kind], "kwargs": [{**arguments, "other": None}]}
    assert judge(VERIFIER, row, kept).scores["strict_prompt"] == 1.0
    verdict = judge(VERIFIER, {"verifier_metadata": row}, broken)
    assert not verdict.passed and verdict.explanation == f"not followed: {kind}"


def test_no_kind_is_left_out():
    module = load_module(ROOT / "verifiers" / "ifbench.py", "verifier")
    assert {kind for kind, *_ in KINDS} == set(module.CHECKS) and len(module.CHECKS) == 58


def test_loose_readings_and_the_fraction():
    row = {"instruction_id_list": ["format:options", "format:list"], "kwargs": [{"options": "yes/no/maybe"}, {"sep": "!"}]}
    verdict = judge(VERIFIER, row, "It is:\n*yes*")
    assert (verdict.scores["strict_fraction"], verdict.scores["loose_fraction"], verdict.scores["loose_prompt"]) == (0.0, 0.5, 0.0)
    assert judge(VERIFIER, row, "a! b!", reward="fraction").reward == 0.5
    graded = {"verifier_metadata": {**row, "grading_mode": "fraction"}}
    assert judge(VERIFIER, graded, "a! b!").reward == 0.5 and judge(VERIFIER, {**row, "grading_mode": "binary"}, "a! b!").reward == 0.0
    assert judge(VERIFIER, graded, "a! b!", reward="all").reward == 0.0
    assert set(VERIFIER.aggregates) == {"strict_instruction", "loose_instruction"}


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]}, "there is no instruction 'punctuation:no_comma'"),
        ({"instruction_id_list": ["count:numbers"], "kwargs": [{}]}, "field 'kwargs': count:numbers needs 'N'"),
        ({"instruction_id_list": ["count:numbers"], "kwargs": [{"N": "2"}]}, "'N' of count:numbers must be a number, 0 or more"),
        ({"instruction_id_list": ["count:numbers"], "kwargs": [{"N": float("inf")}]}, "must be a number, 0 or more"),
        ({"instruction_id_list": ["format:list"], "kwargs": [{"sep": 2}]}, "'sep' of format:list must be a text"),
        (
            {"instruction_id_list": ["custom:csv_city"], "kwargs": [{}], "grading_mode": "half"},
            "'grading_mode': must be 'binary' or 'fraction'",
        ),
        ({"instruction_id_list": ["format:list"], "kwargs": [["sep"]]}, "must be a mapping or null"),
    ],
)
def test_a_broken_row(row, said):
    with pytest.raises(DataError, match=said):
        VERIFIER(make_task(**row), make_rollout("x"))


ALL = {"instruction_id_list": [kind for kind, *_ in KINDS], "kwargs": [arguments for _, arguments, *_ in KINDS]}
MARKED = st.lists(
    st.sampled_from(["Question 1.", "A) x", '"', "'", "(", "]", "<em>", "</i>", "*", "-", "\n", "\t", ",", "日", "😀", "?!", "İ", "a."])
)


@given(st.text(max_size=200) | MARKED.map("".join) | MARKED.map(" ".join))
@settings(max_examples=60, deadline=None)
def test_any_text_has_a_verdict(text):
    assert judge(VERIFIER, ALL, text).explanation


@pytest.mark.parametrize(
    "text", ["([" * 15_000, "\n" * 60_000 + "x", '"' * 30_000, "x" * 300_000], ids=["brackets", "lines", "quotes", "word"]
)
def test_long_answers_are_bounded(text):
    began = time.monotonic()
    assert not judge(VERIFIER, ALL, text).passed
    assert time.monotonic() - began < 60


def test_upstreams_rows_can_all_be_judged():
    for line in (sources() / "ifbench" / "IFBench_test.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        assert not judge(VERIFIER, row, "").passed
        assert judge(VERIFIER, row, "Only one sentence.").explanation


def test_english():
    assert sentences(" \n ") == [] and words("") == [] and len(STOP_WORDS) == 153
    verbs = {
        "Use a knife.": True,
        "Use knives.": False,
        "Running is fun.": True,
        "Bring it.": True,
        "The end.": False,
        "": False,
        "!": False,
    }
    assert {text: opens_with_verb(text) for text in verbs} == verbs
