from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from abnet.errors import AbNetError
from abnet.processes import deaf_children, sole_user

# A process with a child that would wait for ever; the child writes its id when it is at work.
PARENT = """
import multiprocessing, os, sys, time
from abnet.processes import end_with_parent

def child(file):
    end_with_parent()
    with open(file, "w") as stream:
        stream.write(str(os.getpid()))
    time.sleep(600)

if __name__ == "__main__":
    process = multiprocessing.get_context("spawn").Process(target=child, args=(sys.argv[1],))
    process.start()
    process.join()
"""

USER = """
import sys, time
from pathlib import Path
from abnet.processes import sole_user

with sole_user(Path(sys.argv[1])):
    time.sleep(600)
"""


@pytest.fixture(autouse=True)
def hears_ctrl_c() -> Iterator[None]:
    """A suite in the background ignores the signal, and so would its children."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def wait_until(happened: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_running(process: int) -> bool:
    """Neither gone nor ended and not yet taken note of."""
    try:
        return ") Z " not in Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False


def test_a_child_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    script, file = tmp_path / "parent.py", tmp_path / "child"
    script.write_text(PARENT)
    parent = subprocess.Popen([sys.executable, str(script), str(file)])
    wait_until(lambda: file.exists() and file.read_text())
    child = int(file.read_text())
    assert is_running(child)
    parent.kill()
    parent.wait()
    wait_until(lambda: not is_running(child))


def sleep(connection: multiprocessing.connection.Connection) -> None:
    connection.send("at work")
    for _ in range(6000):  # Python hears a signal that comes just before a sleep only after it
        time.sleep(0.1)


def start() -> tuple[multiprocessing.process.BaseProcess, str]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    with deaf_children():
        process = context.Process(target=sleep, args=(theirs,), daemon=True)
        process.start()
    return process, ours.recv()


def test_children_do_not_hear_ctrl_c_but_their_parent_does() -> None:
    before = signal.getsignal(signal.SIGINT)
    process, said = start()
    assert said == "at work"
    assert signal.getsignal(signal.SIGINT) is before
    os.kill(process.pid or 0, signal.SIGINT)
    process.join(0.3)
    assert process.is_alive()
    process.kill()
    process.join()


def test_in_another_thread_children_are_as_usual() -> None:
    found: list[tuple[multiprocessing.process.BaseProcess, str]] = []
    thread = threading.Thread(target=lambda: found.append(start()))
    thread.start()
    thread.join()
    ((process, said),) = found
    assert said == "at work"
    os.kill(process.pid or 0, signal.SIGINT)
    process.join(60)
    status = process.exitcode
    process.kill()  # or later tests would find it among their children
    assert status not in (None, 0)


def test_a_folder_has_one_user_until_it_ends(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    with sole_user(folder):
        assert not any(folder.iterdir())
        with pytest.raises(AbNetError, match="is in use by another process"), sole_user(folder):
            pass
    with sole_user(folder):
        pass


def test_a_folder_whose_user_was_killed_is_free(tmp_path: Path) -> None:
    user = subprocess.Popen([sys.executable, "-c", USER, str(tmp_path)])
    wait_until(lambda: in_use(tmp_path))
    user.kill()
    user.wait()
    assert not in_use(tmp_path)


def in_use(folder: Path) -> bool:
    try:
        with sole_user(folder):
            return False
    except AbNetError:
        return True


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("text")
    with pytest.raises(FileExistsError), sole_user(tmp_path / "mine"):
        pass


def test_a_file_system_without_locks_is_used_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(handle: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("abnet.processes.fcntl.flock", refuse)
    with sole_user(tmp_path), sole_user(tmp_path):
        pass
