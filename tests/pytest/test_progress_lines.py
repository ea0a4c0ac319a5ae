"""Progress where there is no terminal to draw on: lines at every tenth, and what other tests of the run keep."""

from __future__ import annotations

import re

from tests.conftest import Gym, adder
from tests.pytest.test_progress import SOON, drawn, left_on_screen, on_terminal, slowly


def test_a_line_every_tenth_elsewhere(gym: Gym, endpoint, how):
    gym.write(rows=30, wrong=(3,))
    result = gym.run(*how, url=endpoint(adder).url)
    lines = [line for line in result.outlines if line.startswith("gym: ") and " of 30" in line]
    assert [line.split(",")[0] for line in lines] == [f"gym: {number} of 30" for number in range(3, 31, 3)]
    assert re.fullmatch(r"gym: 15 of 30, 0\.9\d \[0\.\d+, 0\.\d+\](, \d:\d\d left)?", lines[4])
    assert lines[-1] == "gym: 30 of 30, 0.97 [0.83, 0.99]"
    result.assert_outcomes(passed=29, failed=1)
    text = result.stdout.str()
    assert "%]" not in text and not re.search(r"^\S* ?[.F]{2,}", text, re.M)


def test_few_cases_have_no_tenths_and_errors_are_counted(gym: Gym, endpoint):
    gym.write(rows=5, wrong=(2,))

    def refuses_one(body, number):
        return (400, {"error": "no"}) if "3+1" in body["messages"][-1]["content"] else adder(body, number)

    result = gym.run(url=endpoint(refuses_one).url)
    shown = [line for line in result.outlines if line.startswith("gym: ") and " of 5" in line]
    assert shown == ["gym: 5 of 5, 0.75 [0.30, 0.95], 1 error"]
    result.assert_outcomes(passed=3, failed=1, errors=1)


def test_several_benchmarks_and_metrics_are_named(gym: Gym, endpoint):
    gym.write(rows=10, name="sums")
    gym.write(rows=10, name="more", wrong=(0,))
    lines = [line for line in gym.run(benchmark="sums,more", url=endpoint(adder).url).outlines if " of 20" in line]
    assert lines[4].startswith("gym: 10 of 20, sums pass@1 1.00 [0.72, 1.00]")
    assert lines[9] == "gym: 20 of 20, more pass@1 0.90 [0.60, 0.98]"


def test_verbose_has_pytest_s_own_lines_and_quiet_has_nothing(gym: Gym, endpoint):
    gym.write(rows=12, wrong=(3,))
    url = endpoint(adder).url
    verbose = gym.run("-v", url=url).stdout.str()
    assert verbose.count("PASSED") == 11 and "gym: 12 of 12" not in verbose
    quiet = gym.run("-q", "--gym-model=m", f"--gym-base-url={url}").stdout.str()
    assert " of 12" not in quiet and "%]" not in quiet and not re.search(r"^[.F]{2,}", quiet, re.M)
    assert "FAILED sums::0003-r0" in quiet and "1 failed, 11 passed" in quiet


def test_without_a_terminal_reporter_or_capturing(gym: Gym, endpoint):
    gym.write(rows=10, verifier="chatty")
    (gym.path / "verifiers" / "chatty.py").write_text(
        "from pytest_gym import Rollout, Task, Verdict, verifier\n\n"
        "@verifier\ndef chatty(task: Task, rollout: Rollout) -> Verdict:\n    print('heard', rollout.text)\n    return Verdict(1.0)\n"
    )
    url = endpoint(adder).url
    assert gym.run("-p", "no:terminal", url=url).ret == 0
    text = gym.run("-s", "--gym-model=m", f"--gym-base-url={url}").stdout.str()
    assert "\nheard It is 1\n" in text and "\ngym: 10 of 10, 1.00" in text


def test_other_tests_of_the_run(gym: Gym, endpoint):
    gym.write(rows=12)
    own = gym.pytester.makepyfile(
        test_own="import pytest\n\n@pytest.mark.parametrize('n', range(3))\ndef test_own(n):\n    assert n != 1\n"
    )
    piped = gym.run(str(own), url=endpoint(adder).url)
    piped.assert_outcomes(passed=14, failed=1)
    text = piped.stdout.str()
    assert "%]" not in text and re.search(r"^gym: 12 of 12, 1\.00", text, re.M)
    piped.stdout.fnmatch_lines(["test_own.py .F.", "gym: *2 of 12, *"])
    code, transcript = on_terminal(gym, endpoint(slowly(0.2)).url, str(own), "-n2", columns=120)
    assert code == 1 and re.search(r" \| tests [123]/3", drawn(transcript)[-1])
    assert "%]" not in left_on_screen(transcript) and "1 failed, 14 passed" in transcript


def test_what_is_waited_for_is_said_once_and_why(gym: Gym, endpoint):
    gym.write(rows=12)
    gym.pytester.makeconftest(SOON)
    tries: list[int] = []

    def busy_at_first(body, number):
        if "3+1" in body["messages"][-1]["content"]:
            tries.append(number)
            if len(tries) <= 2:
                return 503, {"error": {"message": "\x1b[2Jbusy"}}
        return adder(body, number)

    result = gym.run(url=endpoint(busy_at_first).url)
    said = [line for line in result.outlines if "waiting" in line]
    assert len(said) == 1 and re.match(r"gym: waiting [012] s for sums::0003-r0, last try: answered 503: ", said[0]), said
    assert said[0].endswith("busy', 11 of 12 answered") and "\x1b" not in said[0]
    result.assert_outcomes(passed=12)


def test_verdicts_are_waited_for_as_well(gym: Gym, endpoint):
    gym.write(rows=10, verifier="slow")
    gym.pytester.makeconftest(SOON)
    (gym.path / "verifiers" / "slow.py").write_text(
        "import asyncio\nfrom pytest_gym import Rollout, Task, Verdict, verifier\n\n"
        "@verifier\nasync def slow(task: Task, rollout: Rollout) -> Verdict:\n    await asyncio.sleep(1.2)\n    return Verdict(1.0)\n"
    )
    result = gym.run(url=endpoint(adder).url)
    said = [line for line in result.outlines if "waiting" in line]
    assert len(said) == 1 and re.fullmatch(r"gym: waiting [012] s for 10 verdicts, 10 of 10 answered", said[0]), said
    result.assert_outcomes(passed=10)
