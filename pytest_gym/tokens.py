"""How many tokens a text has: about, without a tokenizer, to plan with; or as the tokenizer counts that a generator of long texts names.

Not here: what a server counted, which is in `Usage`.
"""

from __future__ import annotations

from collections.abc import Callable

Count = Callable[[str], float]

PER_WORD = 1.33
PER_CHARACTER = 0.25


def approximate_tokens(text: str) -> int:
    """The larger of words × 1.33 and characters ÷ 4, rounded up.

    English prose comes out within some 15 % of what common tokenizers count; code, formulas and scripts without blanks by their length.
    """
    return int(max(len(text.split()) * PER_WORD, len(text) * PER_CHARACTER) + 0.999)


def token_counter(tokenizer: str) -> Count:
    """The function that counts the tokens of a text, for `words*FACTOR` or `tiktoken:NAME`.

    Raises ValueError for another name, ModuleNotFoundError that names the extra where tiktoken is missing.
    """
    name, star, factor = tokenizer.partition("*")
    if name == "words" and star:
        per_word = float(factor)
        return lambda text: len(text.split()) * per_word
    kind, _, name = tokenizer.partition(":")
    if kind != "tiktoken":
        raise ValueError(f"the tokenizer must be words*FACTOR or tiktoken:NAME, not {tokenizer!r}")
    try:
        import tiktoken
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("counting with tiktoken needs tiktoken: pip install 'pytest-gym[longcontext]'") from error
    encoding = tiktoken.get_encoding(name)
    return lambda text: len(encoding.encode(text, disallowed_special=()))
