"""English text as NLTK sees it, without what NLTK downloads: its sentences, its words, its stop words, whether it opens with a verb.

For verifiers of instructions on how a text is written. Needs the extra `instructions` where sentences or words are cut; both cut any text,
and in time linear in its length. How far each agrees with NLTK and its data stands in docs/verifiers.md.

Not here: other languages; grammar. Whether a text opens with a verb is told from its first word alone, unless a tagger is at hand.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Literal

from pytest_gym.errors import GymError

STOP_WORDS = frozenset(
    # Pronouns and articles.
    "i me my myself we our ours ourselves you your yours yourself yourselves he him his himself she her hers herself it its itself they "
    "them their theirs themselves what which who whom this that these those a an the "
    # Forms of be, have and do, and other helpers.
    "am is are was were be been being have has had having do does did doing can will just don should now "
    # Prepositions and conjunctions.
    "and but if or because as until while of at by for with about against between into through during before after above below to from "
    "up down in out on off over under "
    # Adverbs and quantities.
    "again further then once here there when where why how all any both each few more most other some such no nor not only own same so "
    "than too very "
    # What is left of short forms when they are cut at the apostrophe: don't, he'll, I'm.
    "s t d ll m o re ve y ma ain aren couldn didn doesn hadn hasn haven isn mightn mustn needn shan shouldn wasn weren won wouldn".split()
)
"""The words of NLTK's English stop word list, its short forms with an apostrophe left out: a word has none."""

_OPENING_VERBS = frozenset(
    "abolish accomplish adjust allow am appoint apprehend approve arise arrange ascend assist assume attract be begin bend boil "
    "brainstorm calculate call catch change collect combine come commend complain comprehend conceal conduct confirm conform consider "
    "consist consolidate constrain construct contain control copy cross define defend delve demolish depend descend determine detonate "
    "dig diminish disassemble discourage dissolve distinguish distribute do does draw drill embark embellish encourage ensure enter "
    "escalate establish estimate exceed exemplify exhibit exist expect expose extend extinguish familiarize feed feel fold gain give "
    "given go grow hallucinate happen have heed hire hit hold illustrate improve integrate is keep know knows lasts lead leave let lift "
    "lighten listen locate lose manage mourn offset organize paint participate pay pinch ponder possess prefer preheat present preserve "
    "pretend proceed produce propose protect prove publish punch punish purify pursue put quote raise reach react realize rebuild "
    "receive recollect recommend reconsider redefine refer regain rehearse reject remind remove reorder repackage repay resist resolve "
    "retain rethink reverse revise rinse roll rotate save secure see seize send serve settle shake share shift shrink sit sow specify "
    "sprinkle squeeze stalk stir store stretch strive submit succeed suspend sustain synthesize take tap tend think threaten throw "
    "tighten tote track transform try turn twist undertake unleash unlock untangle utilize vanish visit walk want was watch weave were "
    "wipe yearn".split()
)
_VERBS_WITH_OBJECT = frozenset(
    "accommodate achieve adopt affect agree alleviate allocate amend anticipate apply appreciate approach ask assemble attend become "
    "behave believe boost borrow break bring build buy carve celebrate check choose clean communicate compare compose compute "
    "concentrate connect conserve consume contact continue contribute coordinate cover create cultivate cut decorate deepen deliver "
    "demonstrate denote describe designate detect develop devise differ disguise dive donate earn ease eat elaborate elevate eliminate "
    "emerge empower enable end engage enhance enjoy escape evaluate evolve examine execute expand explain explore express extract fetch "
    "fill finish flourish forget generate get govern greet guess handle heal help identify imagine implement include increase inflate "
    "inform inspect intend invest involve join kill launch learn leverage list live look maintain make match mean merge mix move "
    "negotiate observe open operate pave peel perceive perform pick play portray pose pour prepare prevent promote prompt provide pump "
    "push quit read recycle reduce refine reflect refrain regulate reinforce remain rename repeat rephrase replicate represent research "
    "respond restart resume retrieve return reveal review rewrite ride rip run say seek select sell separate set show sing sleep slice "
    "solve speak spend stand start stay steal stop streamline subtract suppose tackle talk teach tell test translate treat trim "
    "understand update use wash wish wrap write yield".split()
)
_OBJECTS = frozenset("a the this those it its me them us you your yourself my his their".split())
_VERB_ENDINGS = ("ing", "ed", "ize", "ify")
_VOWELS = frozenset("aeiouy")
_NO_VERBS = frozenset(
    "ceiling cleaning darling during evening everything exploring housing indeed limited marketing morning networking nothing "
    "organizing outsourcing overcrowding packaging pricing red sacred shopping speed training united writing".split()
)


def sentences(text: str) -> list[str]:
    """The sentences of a text, as Punkt's English model cuts it (Kiss and Strunk 2006; `nltk.sent_tokenize`); none of blanks alone.

    >>> sentences("Dr. No came. He went!")
    ['Dr. No came.', 'He went!']
    """
    import punkt

    return list(punkt.sent_tokenize(text))


def words(text: str) -> list[str]:
    """The words and punctuation marks of a text, cut as the Penn Treebank does, sentence by sentence (`nltk.word_tokenize`).

    >>> words("It's done.")
    ['It', "'s", 'done', '.']
    """
    cut = _cutter()
    return [word for sentence in sentences(text) for word in cut(sentence)]


def opens_with_verb(text: str, *, tagger: Literal["list", "nltk"] = "list") -> bool:
    """Whether a text's first word is a verb: one of a list, in any case of letters, or by its ending (-ing, -ed, -ize, -ify).

    Stands in for NLTK's tagger, which looks at the words behind the first as well and takes many a capital verb for a name: the list has
    those verbs that it takes for verbs there more often than not, so neither "make" nor "please". `nltk` is that tagger; GymError where its
    data is not installed.

    >>> opens_with_verb("Consider the lilies."), opens_with_verb("The lilies.")
    (True, False)
    """
    # The tagger looks at three words.
    first = words(text[:_HEAD])[:3]
    if tagger == "nltk":
        return any("VB" in tag for _, tag in _tagger().tag(first)[:1])
    return bool(first) and _is_verb(*(word.lower() for word in first[:2]))


@functools.cache
def _tagger() -> Any:
    from nltk.tag.perceptron import PerceptronTagger

    try:
        return PerceptronTagger()
    except LookupError:
        raise GymError("tagger=nltk needs NLTK's data: python -m nltk.downloader averaged_perceptron_tagger_eng") from None


def _is_verb(word: str, following: str = "") -> bool:
    if word in _VERBS_WITH_OBJECT:
        return following in _OBJECTS
    if word in _OPENING_VERBS or word in _NO_VERBS:
        return word in _OPENING_VERBS
    stem = next((word.removesuffix(ending) for ending in _VERB_ENDINGS if word.endswith(ending)), "")
    return stem.replace("-", "").isalpha() and not _VOWELS.isdisjoint(stem)


_HEAD = 10_000
# Enough of a text to have its first word whole, unless that word is no word.


@functools.cache
def _cutter() -> Callable[[str], list[str]]:
    from nltk.tokenize.destructive import NLTKWordTokenizer

    tokenize: Callable[[str], list[str]] = NLTKWordTokenizer().tokenize
    return tokenize
