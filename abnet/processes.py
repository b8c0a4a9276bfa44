"""Processes: what they keep, those that work for another one, or on the same files."""

from __future__ import annotations

import contextlib
import fcntl
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from abnet.errors import AbNetError


def keep_kernels(count: int) -> None:
    """Has oneDNN keep so many kernels rather than 1,024, unless the environment says how many.

    It compiles one for each shape of a product, and compiles anew what it has not kept. To be
    called before the first product.
    """
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", str(count))


def end_with_parent() -> None:
    """From now on this process ends when the one that started it does; it would wait for ever."""
    threading.Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@contextlib.contextmanager
def deaf_children() -> Iterator[None]:
    """Processes started inside ignore Ctrl-C, which a terminal sends to all: the parent ends them.

    In another thread than the main one it does nothing, since signals cannot be set there.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # what a new process takes over
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def sole_user(folder: Path) -> Iterator[None]:
    """Makes a folder and keeps it for this process, on file systems that have locks.

    Raises:
        AbNetError: another process works there.
        OSError: the folder cannot be made.
    """
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        if not _lock(handle):
            raise AbNetError(
                f"{folder} is in use by another process: wait until it ends, or name another one."
            )
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def taking_turns(folder: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Makes a folder and waits until no other one works there in such a block; never nested.

    Args:
        say: takes a line if there is something to wait for.
    """
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        if not _lock(handle):
            say(f"waiting for another process that works in {folder}")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # this file system has no locks
        return True
    return True
