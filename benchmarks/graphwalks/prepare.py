"""GraphWalks: upstream's tables to rows, with two mistakes of its prompts mended as NeMo Gym mends them."""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pytest_gym.tables import read_rows

_BFS = re.compile(r"Perform a BFS from node (\S+) with depth (\d+)")
_PARENTS = re.compile(r"Find the parents of node ([^\s.]+)\.")
TOKENS_A_WORD = 1.33
"""About how many tokens a word has. Node names are far longer than words; a limit by this count is a rough one."""


def prepare(files: Mapping[str, Path], *, max_tokens: int | None = None) -> Iterable[dict[str, Any]]:
    """One row for each prompt in upstream's order, those above `max_tokens` (words times 1.33) left out.

    "Depth N" is made plain: the nodes at exactly that depth. A node is not its own parent.
    """
    number = 0
    for name, path in files.items():
        for row in read_rows(path, name):
            prompt = _BFS.sub(
                r"Perform a BFS from node \1 and return only the nodes that are at depth \2 exactly, none nearer,", row["prompt"]
            )
            parents = _PARENTS.search(prompt)
            nodes = [node for node in row["answer_nodes"] if parents is None or node != parents[1]]
            tokens = round(len(prompt.split()) * TOKENS_A_WORD)
            if max_tokens is None or tokens <= max_tokens:
                yield {
                    "id": f"{number:04d}",
                    "prompt": prompt,
                    "expected_answer": json.dumps(sorted(nodes)),
                    "problem_type": row["problem_type"],
                    "n_tokens": tokens,
                    "prompt_chars": len(prompt),
                }
            number += 1
