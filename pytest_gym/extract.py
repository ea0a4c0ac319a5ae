r"""Taking the answer out of what a model wrote: for verifiers, standard library only, every function linear in the text's length.

Each function is total: any text gives a string or None, never an exception (only `python_tree` gives a tree or a SyntaxError). What an
answer is worth is the verifier's business.

    remove_thinking  what stands after the model's reasoning
    last_boxed       the content of the last \boxed{…}
    last_number      the last number, without its thousands separators
    choice_letter    the last capital letter that stands alone
    code_block       the program in a Markdown fence
    sql_block        the query in an sql fence
    tagged           the content of the last <tag>…</tag>
    python_tree      the tree of a program in Python
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Collection

_THINKING = re.compile(r"<(/?)think(?:ing)?>", re.IGNORECASE)
# The first alternative opens a box, the second is any other escaped character, so that \{ and \} are no braces.
_BOX_TOKEN = re.compile(r"\\\\?(?:boxed|fbox)\s*\{|\\.|[{}]", re.DOTALL)
_NUMBER = re.compile(r"(?<![\w.])[+-]?(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|(?<![\w.])[+-]?\.\d+", re.ASCII)
_LONE_CAPITAL = re.compile(r"\b[A-Z]\b")
_FENCE = re.compile(r"([ \t]*)(`{3,}|~{3,})[ \t]*([^\n]*)")
_SQL_FENCE = re.compile(r"```sql(?:ite3?)?\b", re.IGNORECASE | re.ASCII)
_PYTHON = ("python", "python3", "py")


def remove_thinking(text: str) -> str:
    """The text after the last closed thinking block; '' where a block is still open.

    Grammar: a block is `<think>…</think>` or `<thinking>…</thinking>`, in any case of letters. A closing tag without an opening one
    counts, because chat templates often write the opening tag into the prompt. Blanks are kept; text without a tag comes back as it is.

    >>> remove_thinking("<think>2 + 2</think>4")
    '4'
    >>> remove_thinking("so 4?</think>4")
    '4'
    >>> remove_thinking("4 <think>or is it")
    ''
    """
    answer, is_open = 0, False
    for tag in _THINKING.finditer(text):
        is_open = not tag[1]
        if tag[1]:
            answer = tag.end()
    return "" if is_open else text[answer:]


def last_boxed(text: str) -> str | None:
    r"""The content of the last closed `\boxed{…}` or `\fbox{…}`, or None without one.

    Grammar: a backslash (or two, as in text that was escaped once too often), `boxed` or `fbox`, blanks, then braces that balance; an
    escaped brace `\{` is no brace. The last box is the one that opens last, so the inner one of two nested. A box that never closes is
    none. The content keeps its blanks and may be empty.

    >>> last_boxed(r"first \boxed{1}, then \boxed{\frac{1}{2}}")
    '\\frac{1}{2}'
    >>> last_boxed(r"\boxed{\boxed{3}}")
    '3'
    >>> last_boxed(r"\boxed{4} and \boxed{5")
    '4'
    """
    opened: list[int | None] = []
    start, end = -1, -1
    for token in _BOX_TOKEN.finditer(text):
        if token[0] == "}":
            box = opened.pop() if opened else None
            if box is not None and box > start:
                start, end = box, token.start()
        elif token[0][-1] == "{" and token[0] != "\\{":
            opened.append(token.end() if token[0] != "{" else None)
    return text[start:end] if start >= 0 else None


def last_number(text: str) -> str | None:
    """The last number in the text, without thousands separators, or None.

    Grammar: an optional sign, ASCII digits in one run or in comma-separated groups of three, optionally a point and digits; or a point
    and digits. It does not begin inside a word or another number. A sign right behind a word character is a minus between two terms.

    >>> last_number("It costs $1,234.50.")
    '1234.50'
    >>> last_number("from 3 to -4")
    '-4'
    >>> last_number("none") is None
    True
    """
    last = None
    for match in _NUMBER.finditer(text):
        last = match
    return last[0].replace(",", "") if last else None


def choice_letter(text: str, letters: Collection[str] | None = None) -> str | None:
    """The last capital A–Z that is a word of its own, or None; with `letters` the last one that is among them.

    Grammar: no letter, digit or underscore of any script on either side.

    >>> choice_letter("B looks right, but (C) is better.")
    'C'
    >>> choice_letter("I choose B because I can", letters="ABCD")
    'B'
    """
    last = None
    for match in _LONE_CAPITAL.finditer(text):
        if letters is None or match[0] in letters:
            last = match[0]
    return last


def code_block(text: str, languages: Collection[str] = _PYTHON) -> str:
    """The program in a text: the last closed fence of `languages`, else the last closed fence, else an open one to its end, else all.

    Grammar: a fence opens on a line of its own with three or more backticks or tildes and an optional info string, whose first word is
    the language (any case); it closes on a line with nothing but as many or more of the same character. As in CommonMark the opening
    fence's indentation is taken off the lines inside; all other blanks are kept.

    >>> code_block("Here:\\n```python\\nx = 1\\n```\\nRun it:\\n```sh\\npython x.py\\n```")
    'x = 1'
    >>> code_block("```\\n    return 1")
    '    return 1'
    >>> code_block("    return 1")
    '    return 1'
    """
    wanted = {language.lower() for language in languages}
    lines = text.split("\n")
    best: dict[bool, list[str]] = {}
    opening: re.Match[str] | None = None
    first = 0
    for number, line in enumerate(lines):
        fence = _FENCE.fullmatch(line.rstrip("\r"))
        if fence is None:
            continue
        if opening is None:
            if fence[2][0] == "~" or "`" not in fence[3]:
                opening, first = fence, number + 1
        elif not fence[3].strip() and fence[2].startswith(opening[2]):
            info = opening[3].split(maxsplit=1)
            best[bool(info) and info[0].lower() in wanted] = _unindented(lines[first:number], opening[1])
            opening = None
    for is_wanted in (True, False):
        if is_wanted in best:
            return "\n".join(best[is_wanted])
    return "\n".join(_unindented(lines[first:], opening[1])) if opening else text


def _unindented(lines: list[str], indent: str) -> list[str]:
    if not indent:
        return lines
    blanks = re.compile(rf"[ \t]{{0,{len(indent)}}}")
    return [blanks.sub("", line, count=1) for line in lines]


def sql_block(text: str) -> str:
    """The query in a text: what stands between the last ```` ```sql ```` and the next ```` ``` ````, else what `code_block` finds.

    Grammar: the fence may stand anywhere in a line, and its language is `sql`, `sqlite` or `sqlite3` in any case of letters. One that
    never closes counts, to its end, where there is no closed one. The query comes without blanks around it.

    >>> sql_block("The query is ```sql SELECT 1;```")
    'SELECT 1;'
    >>> sql_block("```sql\\nSELECT 1\\n```\\nor rather\\n```SQL\\nSELECT 2\\n```")
    'SELECT 2'
    >>> sql_block("SELECT 3")
    'SELECT 3'
    """
    found, closed, at = None, False, 0
    while fence := _SQL_FENCE.search(text, at):
        end = text.find("```", fence.end())
        if end < 0:
            found = found if closed else text[fence.end() :]
            break
        found, closed, at = text[fence.end() : end], True, end + 3
    return (code_block(text, ()) if found is None else found).strip()


def tagged(text: str, tag: str) -> str | None:
    """The content of the last closed `<tag>…</tag>`, or None without one.

    Grammar: the tag's name in any case of letters, without attributes. The content begins behind the nearest opening tag before the
    last closing one that has such; it keeps its blanks.

    >>> tagged("<answer>3</answer> or rather <answer> 4 </answer>", "answer")
    ' 4 '
    >>> tagged("<answer>5", "answer") is None
    True
    """
    start, found = -1, None
    for match in re.finditer(rf"<(/?){re.escape(tag)}>", text, re.IGNORECASE):
        if not match[1]:
            start = match.end()
        elif start >= 0:
            found, start = (start, match.start()), -1
    return text[found[0] : found[1]] if found else None


def python_tree(source: str) -> ast.Module:
    """The syntax tree of a program. Raises SyntaxError where it does not compile, whatever Python itself raises.

    Grammar: Python's, of the version that runs. What Python only warns of, such as the escape in `"\\d"`, compiles, also where warnings are
    errors.

    >>> len(python_tree("x = 1; y = 2").body)
    2
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(source)
    except (ValueError, RecursionError, MemoryError) as error:
        raise SyntaxError(str(error) or type(error).__name__) from error
