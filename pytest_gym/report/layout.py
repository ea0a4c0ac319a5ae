"""Lines for a terminal: tables, labelled rows and paragraphs, as pieces of text with markup for pytest's TerminalWriter.

What stands in them is the business of the modules beside this one.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence

from pytest_gym.report.text import fit

Piece = tuple[str, Mapping[str, bool]]
Line = list[Piece]

LABEL = 17
PLAIN: Mapping[str, bool] = {}
BOLD = {"bold": True}
GOOD = {"green": True}
WARN = {"yellow": True}
BAD = {"red": True}


def plain(lines: Iterable[Line]) -> str:
    """The lines as text without markup."""
    return "".join("".join(text for text, _ in line).rstrip() + "\n" for line in lines)


def table(header: Line, rows: Sequence[Line], widths: Sequence[int], right: set[int], indent: str = "") -> list[Line]:
    """Rows below a header, each column as wide as `widths` says; those in `right` are flush right. Columns without a width are left out."""
    lines: list[Line] = []
    for row in [header, *rows]:
        line: Line = [(indent, PLAIN)] if indent else []
        for i, (text, markup) in enumerate(row[: len(widths)]):
            line += [("  ", PLAIN)] if i else []
            line.append((fit(text, widths[i], right=i in right), markup))
        lines.append(line)
    return lines


def labelled(label: str, text: str, width: int, markup: Mapping[str, bool] = PLAIN) -> list[Line]:
    """A text beside its label, continued below itself."""
    indent = " " * (LABEL + 3)
    parts = textwrap.wrap(text, max(width - len(indent), 20), break_long_words=False)
    return [[(f"  {fit(label, LABEL)} " if i == 0 else indent, PLAIN), (part, markup)] for i, part in enumerate(parts)]


def wrapped(text: str, width: int, indent: str, markup: Mapping[str, bool] = PLAIN) -> list[Line]:
    """A paragraph, each line indented."""
    parts = textwrap.wrap(text, width, initial_indent=indent, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    return [[(part, markup)] for part in parts]
