"""Steps leave stamps; a failed one ends the others."""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from abnet.errors import AbNetError
from scripts.reproduce.steps import Runner, Step, StepError, working_in


def step(folder: Path, name: str, code: str) -> Step:
    return Step(name, folder, (sys.executable, "-c", code))


def runner(jobs: int = 2) -> Runner:
    return Runner(jobs, os.environ)


def test_a_finished_step_is_not_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    once = step(tmp_path / "new", "count", "open('count', 'a').write('x'); print('hello')")
    runner().run([[once, once]])
    runner().run([[once]])
    assert (tmp_path / "count").read_text() == "x"
    assert once.log.read_text() == "hello\n"
    stamp = json.loads(once.stamp.read_text())
    assert stamp["command"] == list(once.command)
    assert 0 < stamp["seconds"] < 60  # no Python starts in 5 ms
    own = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # a new process begins with it
    assert 1_000_000 < stamp["peak_memory_bytes"] <= max(own, 1_000_000_000)


def test_a_stamp_of_another_command_is_an_error(tmp_path: Path) -> None:
    runner().run([[step(tmp_path, "one", "pass")]])
    with pytest.raises(StepError, match=r"one\.done is of another command .*remove it to do"):
        runner().run([[step(tmp_path, "one", "pass # but slower")]])


def test_a_failure_is_told_and_ends_the_rest(tmp_path: Path) -> None:
    long = step(tmp_path, "long", "import time; time.sleep(60)")
    bad = step(tmp_path, "bad", "import sys; print('no space left'); sys.exit(3)")
    never = step(tmp_path, "never", "pass")
    started = time.monotonic()
    with pytest.raises(StepError, match=r"no space left(.|\n)*ended with status 3"):
        runner().run([[long, never], [bad, never]])
    assert time.monotonic() - started < 30
    assert not long.stamp.exists()
    assert not bad.stamp.exists()
    assert not never.stamp.exists()


def test_a_failed_step_is_tried_again(tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    again = step(tmp_path, "again", f"import os, sys; sys.exit(not os.path.exists({str(flag)!r}))")
    with pytest.raises(StepError):
        runner().run([[again]])
    flag.touch()
    runner().run([[again]])
    assert again.stamp.exists()


def test_chains_run_side_by_side_and_their_steps_in_order(tmp_path: Path) -> None:
    wait = "import pathlib, time\nwhile not pathlib.Path({!r}).exists(): time.sleep(0.02)"
    first = step(tmp_path, "first", wait.format(str(tmp_path / "other.done")))
    second = step(tmp_path, "second", f"open({str(first.stamp)!r})")
    other = step(tmp_path, "other", "pass")
    runner().run([[first, second], [other]])
    assert second.stamp.exists()


def test_a_step_of_two_chains_is_done_once(tmp_path: Path) -> None:
    code = f"import time; open({str(tmp_path / 'count')!r}, 'a').write('x'); time.sleep(0.5)"
    shared = step(tmp_path, "shared", code)
    ends = [step(tmp_path, name, f"open({str(shared.stamp)!r})") for name in ("one", "two")]
    runner().run([[shared, end] for end in ends])
    assert (tmp_path / "count").read_text() == "x"
    assert all(end.stamp.exists() for end in ends)


def test_what_is_made_of_an_older_step_is_an_error(tmp_path: Path) -> None:
    other, first = step(tmp_path, "other", "pass"), step(tmp_path, "first", "pass")
    second = replace(step(tmp_path, "second", "pass"), needs=(first.stamp, other.stamp))
    runner().run([[other], [first]])
    runner().run([[second, first]])
    for need in (first, other):
        need.stamp.unlink()
        runner().run([[second]])  # nobody knows yet
        runner().run([[need]])
        told = rf"second\.done is older than .*{need.name}\.done, of which it is made; remove it"
        with pytest.raises(StepError, match=told):
            runner().run([[second]])
        second.stamp.unlink()
        runner().run([[need, second]])


def test_a_step_that_was_begun_goes_on_with_the_same_command_only(tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    code = f"import os, sys; print('try'); sys.exit(not os.path.exists({str(flag)!r}))"
    begun = step(tmp_path, "one", code)
    with pytest.raises(StepError, match="ended with status 1"):
        runner().run([[begun]])
    with pytest.raises(StepError, match=r"one\.begun is of another command .*remove it to do"):
        runner().run([[step(tmp_path, "one", "pass")]])
    flag.touch()
    runner().run([[begun]])
    assert begun.log.read_text() == "try\n" * 2
    assert not begun.begun.exists()


def test_a_step_that_was_begun_before_what_it_is_made_of_was_done_anew_is_an_error(
    tmp_path: Path,
) -> None:
    first = step(tmp_path, "first", "pass")
    second = replace(step(tmp_path, "second", "raise SystemExit(1)"), needs=(first.stamp,))
    with pytest.raises(StepError, match="ended with status 1"):
        runner().run([[first, second]])
    assert not second.is_done()  # it may go on
    first.stamp.unlink()
    runner().run([[first]])
    told = r"second\.begun is older than .*first\.done, of which it is made; remove it"
    with pytest.raises(StepError, match=told):
        runner().run([[first, second]])


def test_a_step_that_is_done_anew_has_a_log_of_its_own(tmp_path: Path) -> None:
    for word in ("first", "second"):
        told = step(tmp_path, "told", f"print({word!r})")
        runner().run([[told]])
        told.stamp.unlink()
        assert told.log.read_text() == f"{word}\n"
    assert (tmp_path / "told.log.before").read_text() == "first\n"


def test_a_stamp_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    one = step(tmp_path, "one", "pass")
    one.stamp.touch()
    with pytest.raises(StepError, match=r"one\.done cannot be read \(.*\); remove it to do"):
        runner().run([[one]])


def test_a_folder_has_one_user(tmp_path: Path) -> None:
    with working_in(tmp_path):
        with pytest.raises(AbNetError, match="is in use by another"), working_in(tmp_path):
            pass
        with pytest.raises(KeyboardInterrupt):  # which ends the steps, as Ctrl-C does
            signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    with working_in(tmp_path):
        pass
