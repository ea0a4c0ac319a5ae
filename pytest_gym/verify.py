"""Verifiers: the `@verifier` decorator, loading one by its file, its options from its signature, and the check of its verdict.

A verifier is a function `(task, rollout, *, options…) -> Verdict` in `verifiers/<name>.py` of a gym root. Keyword-only parameters are its
options, typed and validated against the config; positional parameters after `task` and `rollout` name resources (`files: Path`,
`sandbox: Sandbox`).
`async def` verifiers are awaited in the engine. Not here: what any verifier decides, and who calls it when.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import inspect
import math
import sys
import threading
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pytest_gym.errors import ConfigError, GymError, VerifierError, did_you_mean
from pytest_gym.records import Message, Rollout, Task, Verdict

RESOURCES = ("files", "sandbox")
_LOADING = threading.RLock()
_LONGEST = 2_000
"""Characters of an explanation that are kept: a sentence, and not the whole of an answer that it quotes."""
AggregateFunction = typing.TypeVar("AggregateFunction", bound=Callable[..., Any])
ReferenceFunction = typing.TypeVar("ReferenceFunction", bound=Callable[..., "str | Message | None"])


@dataclass(frozen=True)
class Option:
    """One keyword-only parameter of a verifier. `annotation` is its type, `default` `inspect.Parameter.empty` where it must be given."""

    name: str
    annotation: Any
    default: Any


@dataclass(frozen=True)
class CorpusMetric:
    """A metric of a verifier's summed statistics: `function` takes {name: sums}, arrays of any shape, and gives the metric elementwise.

    statistics: names of scores of the verdicts. low, high: the metric's range.
    """

    name: str
    statistics: tuple[str, ...]
    function: Callable[[Mapping[str, Any]], Any]
    direction: str
    low: float
    high: float


Corpora = Callable[[str], Sequence[CorpusMetric]]
"""Gives the corpus metrics of a verifier by its name."""


class Verifier:
    """A verifier function with what can be read off it; calling it calls the function.

    `options` maps names to Option, `resources` lists the positional parameters after task and rollout, `is_async` says where it runs.
    `needs` maps importable modules to the extra that brings them, checked before a run starts.
    """

    def __init__(self, function: Callable[..., Any], needs: Mapping[str, str] | None = None) -> None:
        self.function = function
        self.name = function.__name__
        self.__doc__ = function.__doc__
        self.__name__ = function.__name__
        self.__module__ = function.__module__
        self.needs = dict(needs or {})
        self.is_async = inspect.iscoroutinefunction(function)
        self._reference: Callable[..., str | Message | None] | None = None
        self._ready: Callable[..., None] | None = None
        self.aggregates: dict[str, CorpusMetric] = {}
        parameters = list(inspect.signature(function).parameters.values())
        hints = typing.get_type_hints(function)
        positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        if [p.name for p in positional[:2]] != ["task", "rollout"]:
            raise VerifierError(f"verifier {self.name!r}: its first two parameters must be 'task' and 'rollout'")
        self.resources = tuple(p.name for p in positional[2:])
        if unknown := [name for name in self.resources if name not in RESOURCES]:
            raise VerifierError(
                f"verifier {self.name!r}: unknown resource {unknown[0]!r} (known: {', '.join(RESOURCES)}); options come after a lone '*'"
            )
        if "sandbox" in self.resources and not self.is_async:
            raise VerifierError(f"verifier {self.name!r}: one that runs programs must be 'async def', so that many run beside the requests")
        self.options = {p.name: Option(p.name, hints.get(p.name, Any), p.default) for p in parameters if p.kind is p.KEYWORD_ONLY}

    def __call__(self, task: Task, rollout: Rollout, *resources: Any, **options: Any) -> Any:
        """Judge: the function's own verdict, or a coroutine of it where `is_async`."""
        return self.function(task, rollout, *resources, **options)

    def reference(self, function: ReferenceFunction) -> ReferenceFunction:
        """Decorator: `(task, *, options…) -> str` says what a perfect answer to a task looks like (None: it has none).

        It may also be a `Message`, whose tool calls are the answer.
        """
        self._reference = function
        return function

    def ready(self, function: AggregateFunction) -> AggregateFunction:
        """Decorator: `(task, files, *, options…) -> None` raises a GymError for a task that cannot be judged, whatever is answered.

        It is asked before a run asks the model anything, for each task of the run: for files that may be missing, not for long checks.
        """
        self._ready = function
        return function

    @property
    def has_ready(self) -> bool:
        """Whether the verifier looks at tasks before a run."""
        return self._ready is not None

    def check_ready(self, task: Task, files: Path, options: Mapping[str, Any]) -> None:
        """Let the verifier look at a task before a run. Raises GymError where it cannot be judged."""
        if self._ready is None:
            return
        wanted = inspect.signature(self._ready).parameters
        try:
            self._ready(task, files, **{name: value for name, value in options.items() if name in wanted})
        except GymError:
            raise
        except Exception as error:
            raise VerifierError(f"the look beforehand of {explain_exception(error, self.name, task)}") from error

    def aggregate(
        self, *, statistics: Sequence[str], direction: str = "higher", range: tuple[float, float] = (0.0, 1.0)
    ) -> Callable[[AggregateFunction], AggregateFunction]:
        """Decorator: a metric of summed statistics, such as the word error rate, named after the function `(totals) -> metric`.

        statistics: names of `scores` that every verdict has. `totals` maps them to their sums over tasks, as arrays of one shape; the
        function works elementwise and gives NaN where the metric is undefined. direction: `higher` or `lower` is better.
        Raises VerifierError where a name is missing or taken, or the range is none.
        """
        names = tuple(statistics)
        if not names or not all(isinstance(name, str) for name in names):
            raise VerifierError(f"verifier {self.name!r}: an aggregate needs the names of the scores that it sums")
        if direction not in ("higher", "lower") or not float(range[0]) < float(range[1]):
            raise VerifierError(f"verifier {self.name!r}: an aggregate's direction is 'higher' or 'lower', its range two numbers")

        def declare(function: AggregateFunction) -> AggregateFunction:
            name = function.__name__
            if name in self.aggregates:
                raise VerifierError(f"verifier {self.name!r} has two aggregates named {name!r}")
            self.aggregates[name] = CorpusMetric(name, names, function, direction, float(range[0]), float(range[1]))
            return function

        return declare

    def reference_text(self, task: Task, options: Mapping[str, Any]) -> str | Message | None:
        """A perfect answer to `task`: the row's own `reference_response`, else what `@verifier.reference` says, else None.

        A text, or a message where it is more than that: tool calls. In a row a message has the form of Chat Completions.
        """
        own = task.get("reference_response")
        if isinstance(own, str):
            return own
        if isinstance(own, Mapping):
            return Message.from_json({"role": "assistant", **own})
        if self._reference is None:
            return None
        wanted = inspect.signature(self._reference).parameters
        try:
            return self._reference(task, **{name: value for name, value in options.items() if name in wanted})
        except GymError:
            raise
        except Exception as error:
            raise VerifierError(f"the reference of {explain_exception(error, self.name, task)}") from error


@typing.overload
def verifier(function: Callable[..., Any]) -> Verifier: ...
@typing.overload
def verifier(*, needs: Mapping[str, str]) -> Callable[[Callable[..., Any]], Verifier]: ...
def verifier(
    function: Callable[..., Any] | None = None, *, needs: Mapping[str, str] | None = None
) -> Verifier | Callable[[Callable[..., Any]], Verifier]:
    """Declare a verifier: `@verifier` or `@verifier(needs={"module": "extra"})` above `(task, rollout, *, options…) -> Verdict`."""
    if function is None:
        return lambda inner: Verifier(inner, needs)
    return Verifier(function, needs)


class _FromSource(importlib.machinery.SourceFileLoader):
    """Compiles what is in the file: Python's cache goes by second and size, so that a changed == might run as it was."""

    def get_code(self, fullname: str) -> types.CodeType:
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)


def load_module(path: Path, prefix: str) -> types.ModuleType:
    """Load a Python file of a gym root under a unique module name, without touching sys.path.

    Raises ConfigError with file and line where it cannot be imported.
    """
    path = path.resolve()
    name = f"pytest_gym_{prefix}_{path.stem}_{abs(hash(str(path))):x}"
    # Several benchmarks may be prepared at once by one script: nobody must get a module that is only half there.
    with _LOADING:
        if name in sys.modules:
            return sys.modules[name]
        loader = _FromSource(name, str(path))
        spec = importlib.util.spec_from_file_location(name, path, loader=loader)
        assert spec is not None  # only missing where there is no loader
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            loader.exec_module(module)
        except Exception as error:
            del sys.modules[name]
            if isinstance(error, GymError):
                raise
            raise ConfigError(f"{_place(error, path)}: cannot be loaded: {type(error).__name__}: {error}") from error
        return module


def load_verifier(name: str, path: Path) -> Verifier:
    """The verifier in `path`, whose file name must be the verifier's name. Raises VerifierError, or ConfigError on a broken file."""
    found = [value for value in vars(load_module(path, "verifier")).values() if isinstance(value, Verifier)]
    for candidate in found:
        if candidate.name == name:
            return candidate
    has = f"it has {', '.join(repr(v.name) for v in found)}" if found else "it has none"
    raise VerifierError(f"{path}: has no '@verifier def {name}(task, rollout, …)'; {has}")


def check_needs(verifier: Verifier) -> None:
    """Raise VerifierError naming the extra where a module that the verifier imports on use is not installed."""
    for module, extra in verifier.needs.items():
        if importlib.util.find_spec(module) is None:
            raise VerifierError(f"verifier {verifier.name!r} needs the package {module!r}: pip install 'pytest-gym[{extra}]'")


def check_options(verifier: Verifier, options: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The options as the verifier will get them: every given name known, every value of its type, every needed one there.

    `where` (file and line) begins the sentence of the ConfigError that is raised otherwise.
    """
    for name in options:
        if name not in verifier.options:
            known = ", ".join(sorted(verifier.options)) or "none"
            raise ConfigError(
                f"{where}: verifier {verifier.name!r} has no option {name!r}"
                + did_you_mean(name, verifier.options, otherwise=f" (it has: {known})")
            )
    checked = {}
    for option in verifier.options.values():
        if option.name in options:
            value = options[option.name]
            if option.annotation is float and isinstance(value, int) and not isinstance(value, bool):
                value = float(value)
            if not _fits(value, option.annotation):
                raise ConfigError(
                    f"{where}: option {option.name!r} of verifier {verifier.name!r} must be {type_name(option.annotation)}, not {value!r}"
                )
            checked[option.name] = value
        elif option.default is inspect.Parameter.empty:
            raise ConfigError(f"{where}: verifier {verifier.name!r} needs the option {option.name!r}")
        else:
            checked[option.name] = option.default
    return checked


def check_verdict(verdict: Any, *, verifier: str, low: float, high: float, threshold: float) -> Verdict:
    """The verdict with plain Python values, `passed` decided and its explanation cut to 2,000 characters.

    Raises VerifierError where it is no verdict or its reward is out of range.
    """
    if not isinstance(verdict, Verdict):
        raise VerifierError(f"verifier {verifier!r} returned {type(verdict).__name__}, not a Verdict")
    try:
        reward = float(verdict.reward)
        scores = {str(name): float(value) for name, value in verdict.scores.items()}
    except (TypeError, ValueError, AttributeError) as error:
        raise VerifierError(f"verifier {verifier!r} gave a reward or score that is not a number: {error}") from error
    if not math.isfinite(reward) or not low <= reward <= high:
        raise VerifierError(f"verifier {verifier!r} gave the reward {reward!r}, outside the metric's range [{low:g}, {high:g}]")
    for name, value in scores.items():
        if not math.isfinite(value):
            raise VerifierError(f"verifier {verifier!r} gave {value!r} as score {name!r}; scores must be finite")
    return replace(
        verdict,
        reward=reward,
        passed=reward >= threshold if verdict.passed is None else bool(verdict.passed),
        extracted=None if verdict.extracted is None else clean(str(verdict.extracted)),
        explanation=_shortened(clean(str(verdict.explanation))),
        scores=scores,
    )


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}… ({len(text):,} characters)"


def explain_exception(error: BaseException, verifier: str, task: Task) -> str:
    """One sentence for an exception out of a verifier: which verifier, which task, what, and at which line."""
    place = _place(error, None)
    return f"verifier {verifier!r} raised {type(error).__name__}: {clean(str(error))} on task {task.id!r} ({place})"


def clean(text: str) -> str:
    """The text without lone surrogates (as '?'), so that it can be written as UTF-8 and sent between processes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode()
    return text if type(text) is str else str.__str__(text)


def type_name(annotation: Any) -> str:
    """How a type is named to a user: 'float', \"'a' or 'b'\", 'int or null'."""
    if typing.get_origin(annotation) is typing.Literal:
        return " or ".join(repr(value) for value in typing.get_args(annotation))
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return " or ".join(type_name(part) for part in typing.get_args(annotation))
    if annotation is type(None):
        return "null"
    return getattr(annotation, "__name__", str(annotation)) if typing.get_origin(annotation) is None else str(annotation)


def _fits(value: Any, annotation: Any) -> bool:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation in (Any, inspect.Parameter.empty):
        return True
    if origin is typing.Literal:
        return value in arguments
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, part) for part in arguments)
    if origin in (list, tuple, typing.get_origin(typing.Sequence[int])):
        return isinstance(value, list | tuple) and (not arguments or all(_fits(item, arguments[0]) for item in value))
    if origin is not None:
        return isinstance(value, origin)
    if annotation is None:
        return value is None
    if annotation in (int, float) and isinstance(value, bool):
        return False
    if annotation is float:
        return isinstance(value, int | float)
    return isinstance(value, annotation) if isinstance(annotation, type) else True


def _place(error: BaseException, path: Path | None) -> str:
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    trace, place = error.__traceback__, str(path) if path else "unknown place"
    while trace is not None:
        if path is None or trace.tb_frame.f_code.co_filename == str(path):
            place = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place
