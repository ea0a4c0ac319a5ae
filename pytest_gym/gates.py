"""Gates: what must hold of a run's numbers, parsed from a line such as `gsm8k: pass@1 >= 0.85 at 95%`.

    [benchmark[field=value]:] metric  >= | > | <= | <  value [at N%] [waive part, …]

The grammar only, and which gates belong to which benchmarks; whether one holds is decided in `gating`. Rules are in docs/gates.md.
"""

from __future__ import annotations

import fnmatch
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

from pytest_gym.errors import ConfigError, did_you_mean

RATES = ("truncated", "empty", "refused", "not_extracted")
COUNTS = ("errors", "missing", "flips")
METRICS = ("pass@K", "pass^K", "g-pass@K:T", "majority@K", "best@K", "mean_reward", *RATES, *COUNTS, "tokens", "min_subset(METRIC)")
"""What a gate may be about, besides the named scores of a verifier."""

WAIVABLE = ("prompt", "verifier", "dataset", "harness", "sampling", "judge")

_SCOPE = re.compile(r"\s*([\w./*?-]+)\s*(?:\[\s*([\w.-]+)\s*=\s*([^\]]*?)\s*\])?\s*:(?!\d)\s*")
_METRIC = re.compile(r"(?:pass@|pass\^|majority@|best@|g-pass@)(\d+)(?::(?:0\.5|0\.75|1\.0))?|[A-Za-z_][\w.-]*")
_NUMBER = re.compile(r"(\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?)\s*(%?)")
_PARTS = re.compile(r"[a-z]+")


@dataclass(frozen=True)
class Gate:
    """One gate. `condition` is the text without benchmark and subset. `benchmark` is a glob, None for all; `subset` is (field, value).

    `metric` is a key of `summary.json`'s metrics, a rate, a count, or `tokens`; with `least_subset` it is the lowest of all subsets.
    `value` is the threshold, of `baseline` ± value where `baseline`. `percent`: the value was given with a percent sign (of counts: a share
    of the planned cases). `level` is that of the interval whose near bound decides, None for the point. `waived` are parts of the protocol.
    """

    text: str
    condition: str
    benchmark: str | None
    subset: tuple[str, str] | None
    metric: str
    least_subset: bool
    operator: str
    value: float
    baseline: bool
    percent: bool
    level: float | None
    waived: tuple[str, ...]

    @property
    def needs_baseline(self) -> bool:
        """Whether the gate compares with another run."""
        return self.baseline or self.metric == "flips"

    @property
    def upwards(self) -> bool:
        """Whether more is better: `>=` or `>`."""
        return self.operator.startswith(">")

    @property
    def attempts(self) -> int:
        """The k of pass@k and its like, 1 for everything else."""
        match = _METRIC.fullmatch(self.metric)
        return int(match[1]) if match and match[1] else 1

    def holds(self, value: float, threshold: float) -> bool:
        """Whether `value` is on the right side of the threshold."""
        return {">=": value >= threshold, ">": value > threshold, "<=": value <= threshold, "<": value < threshold}[self.operator]

    def title(self, benchmark: str) -> str:
        """The gate as it is about one benchmark: `gsm8k: pass@1 >= 0.85`."""
        part = f"[{self.subset[0]}={self.subset[1]}]" if self.subset else ""
        return f"{benchmark}{part}: {self.condition}"

    def matches(self, benchmark: str) -> bool:
        """Whether the gate is about this benchmark."""
        return self.benchmark is None or fnmatch.fnmatchcase(benchmark, self.benchmark)


def parse(text: str, where: str = "--gym-gate") -> Gate:
    """The gate in a line. Raises ConfigError with a caret under the place where it stops making sense."""
    return _Reader(text, where).gate()


def parse_all(lines: Sequence[tuple[str, str]], benchmarks: Sequence[str], repeats: Sequence[int]) -> list[Gate]:
    """The gates of a run whose benchmarks have these repeats; lines are (text, where it stands).

    Raises ConfigError for one that does not parse, names no benchmark of the run, or asks more attempts than are planned.
    """
    gates = []
    for text, where in dict.fromkeys(lines):
        gate = parse(text, where)
        held = [name for name in benchmarks if gate.matches(name)]
        if not held:
            name = gate.benchmark or ""
            hint = did_you_mean(name, benchmarks, otherwise=f" (it has: {', '.join(benchmarks) or 'none'})")
            raise ConfigError(f"{where}: {text!r} names no benchmark of this run{hint}")
        for name, planned in zip(benchmarks, repeats, strict=True):
            if gate.matches(name) and gate.attempts > planned:
                raise ConfigError(
                    f"{where}: {text!r}: {gate.metric} needs {gate.attempts} repeats, {name} has {planned}; --gym-repeats={gate.attempts}"
                )
        gates.append(gate)
    return gates


def check_subsets(gate: Gate, benchmark: str, field: str | None, names: Sequence[str | None]) -> None:
    """Raise ConfigError where the gate is about subsets that a benchmark has not: `names` are its tasks' values of `field`."""
    if (gate.subset or gate.least_subset) and (field is None or not any(names)):
        raise ConfigError(f"gate {gate.text!r}: {benchmark} has no subsets")
    if gate.subset is None:
        return
    wanted, value = gate.subset
    if wanted != field:
        raise ConfigError(f"gate {gate.text!r}: the subsets of {benchmark} go by {field!r}, not by {wanted!r}")
    if value not in names:
        hint = did_you_mean(value, {name for name in names if name})
        raise ConfigError(f"gate {gate.text!r}: no task of {benchmark} has {field}={value}{hint}")


def tolerated(tolerance: str, cases: int) -> int:
    """How many of `cases` may be missing: `3`, or `1%` of them. Raises ConfigError for anything else."""
    number = tolerance.removesuffix("%")
    try:
        value = float(number) if tolerance.endswith("%") else int(number)
        if value < 0 or not math.isfinite(value) or (tolerance.endswith("%") and value > 100):
            raise ValueError
    except ValueError:
        raise ConfigError(f"--gym-max-errors={tolerance}: must be a number of cases, such as 3, or a share of them, such as 1%") from None
    return int(value / 100 * cases) if tolerance.endswith("%") else int(value)


class _Reader:
    """Reads one line from left to right."""

    def __init__(self, text: str, where: str) -> None:
        self.text, self.where, self.place = text, where, 0

    def gate(self) -> Gate:
        scope = _SCOPE.match(self.text)
        if scope:
            self.place = scope.end()
        benchmark, subset = (scope[1], (scope[2], scope[3]) if scope[2] else None) if scope else (None, None)
        begin = self.place
        metric, least = self._metric()
        operator = self._operator()
        value, percent, baseline = self._value()
        level = self._level()
        waived = self._waived()
        self._blank()
        if self.place < len(self.text):
            self._fail("here the gate should end, or go on with 'at N%' or 'waive …'")
        if level is not None and metric in (*RATES, *COUNTS, "tokens"):
            self._fail(f"{metric} is counted, not estimated: leave out 'at {level:.0%}'")
        if baseline and metric in (*RATES, *COUNTS, "tokens"):
            self._fail(f"{metric} cannot be compared with a baseline; give a number")
        if metric == "flips" and (percent or operator.startswith(">")):
            self._fail("flips are tasks that got worse: give the most that may be, as in flips <= 3")
        if waived and not (baseline or metric == "flips"):
            self._fail("only a gate with a baseline has parts to waive")
        condition = self.text[begin:].strip()
        return Gate(self.text.strip(), condition, benchmark, subset, metric, least, operator, value, baseline, percent, level, waived)

    def _metric(self) -> tuple[str, bool]:
        self._blank()
        least = self._word("min_subset(")
        self._blank()
        match = _METRIC.match(self.text, self.place)
        rest = re.compile(r"[^\s<>=!)]*").match(self.text, self.place)
        word = rest[0] if rest else ""
        if match is None or match[0] != word or word in ("baseline", "at", "waive") or match[1] == "0":
            near = did_you_mean(word, [name for name in METRICS if "(" not in name], otherwise="") if word else ""
            known = f"a gate is about one of {', '.join(METRICS)}, or a named score of the verifier"
            self._fail((f"there is no metric {word!r}{near}" if word else "a metric is missing") + f"; {known}")
        assert match is not None
        self.place = match.end()
        if least:
            self._blank()
            if not self._word(")"):
                self._fail("the parenthesis of min_subset( is not closed")
            if word in (*RATES, *COUNTS, "tokens"):
                self._fail("min_subset( takes a score, such as min_subset(pass@1)")
        return match[0], least

    def _operator(self) -> str:
        self._blank()
        for operator in (">=", "<=", ">", "<"):
            if self._word(operator):
                return operator
        return self._fail("expected >=, >, <= or <")

    def _value(self) -> tuple[float, bool, bool]:
        self._blank()
        if not self._word("baseline"):
            value, percent = self._number()
            return value, percent, False
        self._blank()
        sign = -1.0 if self._word("-") else 1.0 if self._word("+") else 0.0
        if sign == 0.0:
            return 0.0, False, True
        self._blank()
        value, percent = self._number()
        return sign * value, percent, True

    def _number(self) -> tuple[float, bool]:
        negative = self._word("-")
        match = _NUMBER.match(self.text, self.place)
        if match is None:
            return self._fail("expected a number, such as 0.85 or 85%, or 'baseline - 0.01'")
        self.place = match.end()
        value = float(match[1]) / (100 if match[2] else 1)
        return -value if negative else value, bool(match[2])

    def _level(self) -> float | None:
        self._blank()
        if not re.compile(r"at\b").match(self.text, self.place):
            return None
        self.place += 2
        self._blank()
        start = self.place
        value, percent = self._number()
        if not percent or not 0.5 <= value < 1:
            self.place = start
            self._fail("expected a confidence from 50% to below 100%, such as 'at 95%'")
        return value

    def _waived(self) -> tuple[str, ...]:
        self._blank()
        if not re.compile(r"waive\b").match(self.text, self.place):
            return ()
        self.place += 5
        parts: list[str] = []
        while True:
            self._blank()
            match = _PARTS.match(self.text, self.place)
            if match is None or match[0] not in WAIVABLE:
                hint = did_you_mean(match[0], WAIVABLE, otherwise="") if match else ""
                self._fail(f"expected a part of the protocol: {', '.join(WAIVABLE)}{hint}")
            assert match is not None
            parts.append(match[0])
            self.place = match.end()
            self._blank()
            if not self._word(","):
                return tuple(dict.fromkeys(parts))

    def _blank(self) -> None:
        while self.place < len(self.text) and self.text[self.place].isspace():
            self.place += 1

    def _word(self, word: str) -> bool:
        found = self.text.startswith(word, self.place)
        self.place += len(word) * found
        return found

    def _fail(self, why: str) -> NoReturn:
        line = "".join(c if c.isprintable() else " " for c in self.text)
        raise ConfigError(f"{self.where}: {why}\n  {line}\n  {' ' * self.place}^")
