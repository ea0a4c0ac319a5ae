"""Beside the program, where it can neither look nor reach: a judge that runs a test against functions of the program.

`given` has the test's sources (`test`, run one after another in one namespace) and the `names` of the functions, each of which is a
stand-in here: called, it sends its arguments to the program (`candidate`) and gives back what comes, rebuilt as a builtin value. Its
attribute `seconds` is the processor time that the next calls may take: `call_s`, unless the test says otherwise; 0 is no limit. The
`verdict` is `{"passed": bool, "unit": number of the source that failed, "why": text, "calls": how many}`.

Its source follows that of `values`, so: standard library only, nothing of ours, and no `from __future__`.
"""

import builtins
import os
import sys
from typing import Any

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pytest_gym.sandboxes.values import packed, unpacked


MOST_BYTES = 64 << 20


class Lost(Exception):
    """The program does not answer as it must."""


class Program:
    """The other end: the program's functions, by name."""

    def __init__(self) -> None:
        self.replies, self.calls, self.lost = os.fdopen(0, "rb"), 0, ""

    def function(self, name: str, seconds: float) -> Any:
        """A stand-in for the function `name`."""

        def call(*args: object, **kwargs: object) -> Any:
            self.calls += 1
            return self.ask(self.calls, name, args, kwargs, float(stand_in.seconds))

        stand_in: Any = call
        stand_in.__name__ = stand_in.__qualname__ = name
        stand_in.seconds = seconds
        return stand_in

    def ask(self, number: int, name: str = "", args: object = (), kwargs: object = None, seconds: float = 0.0) -> Any:
        """Send a call (number 0: none, the program only has to be there) and wait for its value or its exception."""
        if self.lost:
            raise Lost(self.lost)
        try:
            if number:
                line = packed([number, name, args, kwargs or {}, seconds]).encode() + b"\n"
                while line:
                    line = line[os.write(1, line) :]
            reply = self.replies.readline(MOST_BYTES)
            if not reply.endswith(b"\n"):
                raise Lost("the program ended before it answered" if len(reply) < MOST_BYTES else "the program's answer is too large")
            answered, kind, content = unpacked(reply)
            if answered != number or kind not in ("value", "raised"):
                raise Lost("the program's answer is none to what it was asked")
        except (Lost, OSError, ValueError, TypeError, KeyError, RecursionError) as error:
            # Remembered, since a test may catch what it raises.
            self.lost = str(error) if isinstance(error, Lost) else "the program's answer cannot be read"
            raise Lost(self.lost) from None
        if kind == "raised":
            raise error_like(content)
        return content


def error_like(told: list[str]) -> BaseException:
    """The nearest builtin exception to the one that was raised; `told` is the names of its classes, then its text."""
    *names, text = map(str, told)
    for name in names:
        kind = getattr(builtins, name, None)
        if isinstance(kind, type) and issubclass(kind, Exception) and name != "Exception":
            try:
                return kind(text)
            except TypeError:
                continue
    return Exception(f"{names[0] if names else 'error'}: {text}")


def examine(test: list[str], names: list[str], shared: bool, call_s: float) -> dict[str, Any]:
    """Run the test against the program; never raises."""
    program, unit = Program(), 0
    sys.stdout = sys.stderr
    sys.set_int_max_str_digits(0)

    def failed(why: str) -> dict[str, Any]:
        return {"passed": False, "unit": unit, "why": why[:500], "calls": program.calls}

    try:
        program.ask(0)
    except Exception as error:
        return failed(f"does not load: {program.lost or described(error)}")
    try:
        if shared:
            program.calls, word = 1, os.urandom(16).hex()
            if program.ask(1, "", test, {"word": word}) != word:
                return failed("the test did not come to its end")
        else:
            space: dict[str, Any] = {"__name__": "test"}
            for unit, source in enumerate(test):
                code = compile(source, f"test{unit}.py", "exec", dont_inherit=True)
                space.update({name: program.function(name, call_s) for name in names})
                exec(code, space)
    except BaseException as error:
        return failed(program.lost or described(error))
    return failed(program.lost) if program.lost else {"passed": True, "unit": unit, "why": "", "calls": program.calls}


def described(error: BaseException) -> str:
    """One line for an exception."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


_given: dict[str, Any] = globals().get("given", {})
verdict = examine(**_given) if _given else None
