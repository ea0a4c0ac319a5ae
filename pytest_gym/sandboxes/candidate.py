"""Within the sandbox: the program that a model wrote, whose functions a judge calls from another process.

The program's sources (`unit00.py`, `unit01.py`, …) are compiled one by one and run in one module. Then each line on standard input is a
call, `[number, name, args, kwargs, seconds]`, and each line on standard output its reply. The seconds are of processor time for the call,
kept by a timer of the process itself; 0 is no limit. The program's own standard input is empty, and what it prints goes nowhere.

Nothing that a test expects is ever here; only where the test needs live objects (`run`) is it run in this process,
after the program is loaded, and ends with the word that the judge made up for it.

Its source follows that of `values`, so: standard library only, nothing of ours, and no `from __future__`.
"""

import os
import signal
import sys
import types
from typing import Any

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pytest_gym.sandboxes.values import packed, unpacked


def serve() -> None:
    """Load the program, then answer the judge until it says no more."""
    sources = [open(name, newline="").read() for name in sorted(os.listdir(".")) if name.startswith("unit")]
    calls, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    sys.set_int_max_str_digits(0)
    module, seconds = types.ModuleType("solution"), 0.0
    sys.modules["solution"] = module

    def over(*_: object) -> None:
        raise TimeoutError(f"took more than {seconds:g} s of processor time")

    signal.signal(signal.SIGPROF, over)

    def say(number: int, kind: str, content: str) -> None:
        replies.write(f'[{number}, "{kind}", {content}]\n'.encode())
        replies.flush()

    def told(error: BaseException) -> str:
        return packed([base.__name__ for base in type(error).__mro__] + [str(error)[:500]])

    try:
        for number, source in enumerate(sources):
            exec(compile(source, f"unit{number:02}.py", "exec", dont_inherit=True), module.__dict__)
    except BaseException as error:
        return say(0, "raised", told(error))
    say(0, "value", "null")
    for line in calls:
        number, name, args, kwargs, seconds = unpacked(line)
        try:
            if name == "":
                for source in args:
                    exec(compile(source, "test.py", "exec", dont_inherit=True), module.__dict__)
                value: Any = kwargs["word"]
            else:
                signal.setitimer(signal.ITIMER_PROF, seconds)
                value = getattr(module, name)(*args, **kwargs)
                signal.setitimer(signal.ITIMER_PROF, 0)
            reply = packed(value)
        except BaseException as error:
            signal.setitimer(signal.ITIMER_PROF, 0)
            say(number, "raised", told(error))
        else:
            say(number, "value", reply)


if __name__ == "__main__":
    serve()
