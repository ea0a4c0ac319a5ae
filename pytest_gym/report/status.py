"""Progress as text: the status line of a terminal, and the lines of a log.

Numbers in, one line out; when and where it is written is `progress`' business. ASCII but for `±`, which the caller may replace.
"""

from __future__ import annotations

import math

from pytest_gym.report.text import columns, fit, printable
from pytest_gym.standing import Score, Standing, Waiting

_BETWEEN = " | "
_REASON = 60


def status_line(standing: Standing, width: int) -> str:
    """The status line in at most `width` columns: what matters least is left out first, and what is still too long is cut."""
    counted = f"{standing.done:,}/{standing.total:,}"
    # The number is the weight: of what does not fit, the lightest goes first.
    pieces: list[tuple[int, str]] = [(10, counted)]
    # A few always are: answers come in any order, and cases are judged in theirs.
    if standing.to_judge > standing.in_flight:
        pieces.append((2, f"{standing.to_judge:,} to judge"))
    score = standing.score
    if score is not None:
        pieces.append((8, " ".join(_named(standing.benchmark, score.metric, _value(score)))))
    if quiet := _quiet(standing):
        pieces.append((9, quiet))
    if standing.waiting is not None and standing.waiting.reason and standing.paused is None:
        pieces.append((5, _last_try(standing.waiting.reason)))
    if standing.in_flight or standing.limit is not None:
        limited = f" (limit {standing.limit:,} of {standing.most:,})" if standing.limit is not None and standing.most is not None else ""
        pieces.append((6 if limited else 4, f"{standing.in_flight:,} in flight{limited}"))
    if standing.errors:
        pieces.append((7, _errors(standing.errors)))
    if standing.tokens_per_s:
        pieces.append((3, f"{_rate(standing.tokens_per_s)} tokens/s"))
    if standing.others[1]:
        pieces.append((1, f"tests {standing.others[0]:,}/{standing.others[1]:,}"))
    if standing.left is not None:
        pieces.append((7, f"{duration(standing.left)} left"))
    for least in range(11):
        line = _BETWEEN.join(text for weight, text in pieces if weight >= least)
        if columns(line) <= width:
            return line
    return fit(counted, max(width, 0)).rstrip()


def log_line(standing: Standing) -> str:
    """The line of a log: how many are done, the score so far with its interval, errors, and the time left."""
    parts = [f"{standing.done:,} of {standing.total:,}"]
    score = standing.score
    if score is not None:
        digits = _digits(score)
        ends = "" if score.low is None or score.high is None else f" [{score.low:.{digits}f}, {score.high:.{digits}f}]"
        # The commonest metric needs no name.
        metric = score.metric if score.metric != "pass@1" or standing.benchmark else None
        parts.append(" ".join(_named(standing.benchmark, metric, f"{score.value:.{digits}f}{ends}")))
    if standing.errors:
        parts.append(_errors(standing.errors))
    if standing.left and standing.done < standing.total:
        parts.append(f"{duration(standing.left)} left")
    return ", ".join(parts)


def stall_line(standing: Standing) -> str | None:
    """The sentence of a log on what is waited for, or None where nothing is."""
    quiet = _quiet(standing)
    if quiet is None:
        return None
    reason = standing.waiting.reason if standing.waiting is not None and standing.paused is None else None
    return ", ".join([quiet, *([_last_try(reason)] if reason else []), f"{standing.done:,} of {standing.total:,} answered"])


def duration(seconds: float) -> str:
    """Seconds, rounded up, as `0:07`, `3:10`, `2:05:00` or `3 d 4 h`."""
    if not math.isfinite(seconds) or seconds >= 1000 * 86400:
        return "very long"
    whole = math.ceil(seconds)
    minutes, hours = whole // 60, whole // 3600
    if hours >= 48:
        return f"{hours // 24} d {hours % 24} h"
    return f"{hours}:{minutes % 60:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"


def _quiet(standing: Standing) -> str | None:
    """What is waited for, where there is something to say."""
    if standing.paused is not None:
        return f"rate limited: next try in {math.ceil(standing.paused):,} s"
    return None if standing.waiting is None else _waiting(standing.waiting)


def _waiting(waiting: Waiting) -> str:
    more = f" and {waiting.more:,} more" if waiting.more else ""
    return f"waiting {round(waiting.seconds):,} s for {_shown(waiting.case)}{more}"


def _last_try(reason: str) -> str:
    text = _shown(reason)
    return f"last try: {fit(text, _REASON).rstrip() if columns(text) > _REASON else text}"


def _named(*words: str | None) -> list[str]:
    return [_shown(word) for word in words if word]


def _shown(text: str) -> str:
    """Other people's text on one line."""
    return " ".join(printable(text).split())


def _errors(count: int) -> str:
    return f"{count:,} error{'s' * (count != 1)}"


def _value(score: Score) -> str:
    digits = _digits(score)
    if score.low is None or score.high is None:
        return f"{score.value:.{digits}f}"
    return f"{score.value:.{digits}f} ±{(score.high - score.low) / 2:.{digits}f}"


def _digits(score: Score) -> int:
    """As many decimals as the interval leaves a meaning to."""
    if score.low is None or score.high is None or not 0 < score.high - score.low < math.inf:
        return 3
    # A share has two, however wide its interval.
    return min(max(math.ceil(-math.log10((score.high - score.low) / 4)), 2 if score.high <= 1 else 0), 4)


def _rate(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.1f}"
