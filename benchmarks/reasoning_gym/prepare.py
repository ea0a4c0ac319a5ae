"""Problems of reasoning-gym, generated from a seed: the same number of each task, the same bytes everywhere.

Several generators walk over Python sets, whose order hangs on the hash seed of the process; so they run in a process of their own with a
fixed one, which also keeps the library out of the process that runs the tests.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

VERSION = "0.1.25"
TASKS = {
    "algebra": """
        complex_arithmetic intermediate_integration polynomial_equations polynomial_multiplication simple_equations simple_integration
    """.split(),
    "algorithmic": """
        ab base_conversion binary_alternation binary_matrix caesar_cipher count_primes cryptarithm game_of_life graph_color group_anagrams
        isomorphic_strings jugs letter_counting letter_jumble manipulate_matrix number_filtering number_sorting palindrome_generation
        palindrome_partitioning pool_matrix ransom_note rotate_matrix rotten_oranges sentence_reordering spell_backward spiral_matrix
        string_insertion string_manipulation string_splitting string_synthesis word_ladder word_sequence_reversal word_sorting
    """.split(),
    "arc": ["arc_1d", "arc_agi"],
    "arithmetic": """
        basic_arithmetic bitwise_arithmetic calendar_arithmetic chain_sum count_bits decimal_arithmetic decimal_chain_sum dice
        fraction_simplification gcd gsm_symbolic lcm leg_counting number_format power_function prime_factorization products time_intervals
    """.split(),
    "code": ["bf"],
    "cognition": "color_cube_rotation figlet_font modulo_grid needle_haystack number_sequence rectangle_count rubiks_cube".split(),
    "games": """
        boxnet countdown emoji_mystery futoshiki kakurasu knight_swap mahjong_puzzle maze mini_sudoku n_queens puzzle24 rush_hour sokoban
        sudoku survo tower_of_hanoi tsumego
    """.split(),
    "geometry": ["advanced_geometry", "simple_geometry"],
    "graphs": "course_schedule family_relationships largest_island path_star quantum_lock shortest_path".split(),
    "induction": ["acre", "list_functions"],
    "logic": "aiw circuit_logic knights_knaves propositional_logic self_reference syllogism zebra_puzzles".split(),
    "probability": ["coin_flip"],
}
"""The library's tasks by its categories, without codeio and rearc, whose problems differ from one machine to the next, and without
game_of_life_halting, whose scorer takes any answer for right."""


def prepare(
    files: Mapping[str, Path], *, categories: Iterable[str] = tuple(TASKS), samples: int = 5, seed: int = 42
) -> Iterator[dict[str, Any]]:
    """`samples` problems of each task of the `categories`, with the settings that the library has as its defaults."""
    unknown = [name for name in categories if name not in TASKS]
    if unknown:
        raise ValueError(f"there is no category {unknown[0]!r}; there are {', '.join(TASKS)}")
    if importlib.util.find_spec("reasoning_gym") is None:
        raise ModuleNotFoundError("generating problems needs reasoning-gym: pip install 'pytest-gym[reasoning_gym]'")
    options = json.dumps({"categories": list(categories), "samples": samples, "seed": seed})
    done = subprocess.run(
        [sys.executable, "-P", "-W", "ignore", __file__, options],
        env={**os.environ, "PYTHONHASHSEED": "0", "PYTHONUTF8": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"generating problems failed: {(done.stderr.strip() or 'no reason given').splitlines()[-1]}")
    yield from map(json.loads, done.stdout.splitlines())


def generate(categories: Iterable[str], samples: int, seed: int) -> Iterator[dict[str, Any]]:
    """The rows themselves, in whichever process this is called."""
    from importlib.metadata import version

    import reasoning_gym

    if version("reasoning-gym") != VERSION:
        raise RuntimeError(f"the problems are those of reasoning-gym {VERSION}, and {version('reasoning-gym')} is installed")
    for category in categories:
        for task in TASKS[category]:
            problems = reasoning_gym.create_dataset(task, size=samples, seed=seed)
            for index in range(samples):
                yield {"id": f"{task}-{index:04d}", "task": f"{category}/{task}", **problems[index]}


if __name__ == "__main__":
    # Some generators print, and what they print is no row.
    with contextlib.redirect_stdout(sys.stderr):
        for row in generate(**json.loads(sys.argv[1])):
            print(json.dumps(row, ensure_ascii=True), file=sys.__stdout__)
