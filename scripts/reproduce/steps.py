"""Long commands as steps that leave a stamp, several of them at a time."""

from __future__ import annotations

import contextlib
import json
import math
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from abnet.processes import sole_user
from abnet.translated.files import write_json

ANEW = "remove it to do the step anew (a training's checkpoints, too)"


class StepError(Exception):
    """A step failed, or was done before in another way."""


@dataclass(frozen=True)
class Step:
    """One command.

    Attributes:
        name: of the stamp `NAME.done` and the log `NAME.log` in `folder`.
        folder: what the command works on.
        command: the program and its arguments.
        needs: stamps of the steps that it is made of.
    """

    name: str
    folder: Path
    command: tuple[str, ...]
    needs: tuple[Path, ...] = ()

    @property
    def stamp(self) -> Path:
        """JSON with the command, its `seconds` and `peak_memory_bytes`, once it has finished.

        `finished` is when, in seconds since 1970.
        """
        return self.folder / f"{self.name}.done"

    @property
    def begun(self) -> Path:
        """JSON with the command, from its first try until it has finished.

        `started` is when that was, in seconds since 1970.
        """
        return self.folder / f"{self.name}.begun"

    @property
    def log(self) -> Path:
        """All that the command printed, earlier tries included."""
        return self.folder / f"{self.name}.log"

    def is_done(self) -> bool:
        """Whether it has finished.

        Raises:
            StepError: it was done, or begun, with another command, a stamp cannot be read, or it is
                older than what it is made of, or was begun before that was there.
        """
        for stamp in (self.stamp, self.begun):
            if stamp.exists() and _read(stamp)["command"] != list(self.command):
                raise StepError(
                    f"{stamp} is of another command than {shlex.join(self.command)}; {ANEW}, or "
                    "give another --out."
                )
        is_done = self.stamp.exists()
        own = self.stamp if is_done else self.begun
        time_of_own = _time(own, "finished" if is_done else "started", math.inf)
        for need in self.needs:
            if _time(need, "finished", 0.0) > time_of_own:
                raise StepError(f"{own} is older than {need}, of which it is made; {ANEW}.")
        return is_done


class Runner:
    """Runs steps that have no stamp yet, and ends all of them when one fails.

    Args:
        jobs: chains of steps at a time.
        environment: for the commands.
    """

    def __init__(self, jobs: int, environment: Mapping[str, str]) -> None:
        self.jobs = jobs
        self.environment = dict(environment)
        self.running: set[int] = set()  # process groups
        self.stopped = False
        self.lock = threading.Lock()
        self.at_work: defaultdict[Path, threading.Lock] = defaultdict(threading.Lock)  # by stamp

    def run(self, chains: Sequence[Sequence[Step | Callable[[], object]]]) -> None:
        """Runs chains side by side, and the steps of a chain one after another.

        A function in a chain is called each time, in a thread. A step that stands in two chains is
        done once.

        Raises:
            StepError: a step failed, or see `Step.is_done`.
        """
        with ThreadPoolExecutor(self.jobs) as pool:
            futures = [pool.submit(self._run_chain, chain) for chain in chains]
            try:
                for future in futures:
                    future.result()
            except BaseException:
                self._stop()
                raise

    def _run_chain(self, chain: Sequence[Step | Callable[[], object]]) -> None:
        for step in dict.fromkeys(chain):  # one that stands in it twice comes first
            if self.stopped:
                return
            try:
                if isinstance(step, Step):
                    with self.lock:
                        own = self.at_work[step.stamp]
                    with own:
                        self._run_step(step)
                else:
                    step()
            except BaseException:
                self._stop()
                raise

    def _run_step(self, step: Step) -> None:
        if step.is_done():
            return
        step.folder.mkdir(parents=True, exist_ok=True)
        if not step.begun.exists():
            if step.log.exists():
                step.log.replace(step.log.with_suffix(".log.before"))
            write_json(step.begun, {"command": step.command, "started": time.time()})
        say(f"{step.log.with_suffix('')} ...")
        started = time.monotonic()
        with open(step.log, "ab") as log:
            status, peak = self._spawn(step.command, log.fileno())
        seconds = round(time.monotonic() - started, 2)
        if self.stopped:
            return
        if status != 0:
            tail = "\n".join(step.log.read_text("utf-8", errors="replace").splitlines()[-20:])
            raise StepError(
                f"{tail}\n{shlex.join(step.command)}\nended with status {status}; all it said is "
                f"in {step.log}."
            )
        record = {
            "command": step.command,
            "seconds": seconds,
            "peak_memory_bytes": peak,
            "finished": time.time(),
        }
        write_json(step.stamp, record)
        step.begun.unlink()
        say(f"{step.log.with_suffix('')} done in {seconds / 60:.1f} min")

    def _spawn(self, command: Sequence[str], output: int) -> tuple[int, int]:
        """Runs a command in a process group of its own; returns its status and peak memory.

        The peak is at least that of this process, from which the command's began.
        """
        with self.lock:
            if self.stopped:
                return 1, 0
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                env=self.environment, start_new_session=True,
            )  # fmt: skip
            self.running.add(process.pid)
        _, wait_status, usage = os.wait4(process.pid, 0)
        with self.lock:
            self.running.discard(process.pid)
        process.returncode = os.waitstatus_to_exitcode(wait_status)
        return process.returncode, usage.ru_maxrss * 1024

    def _stop(self) -> None:
        with self.lock:
            self.stopped = True
            for group in self.running:
                os.killpg(group, signal.SIGTERM)


def _read(stamp: Path) -> dict[str, Any]:
    """What a stamp tells.

    Raises:
        StepError: nothing.
    """
    try:
        told: dict[str, Any] = json.loads(stamp.read_text(encoding="utf-8"))
    except ValueError as error:
        raise StepError(f"{stamp} cannot be read ({error}); {ANEW}.") from error
    return told


def _time(stamp: Path, name: str, unknown: float) -> float:
    """When a step has finished, or was started."""
    found: float = _read(stamp).get(name, unknown) if stamp.exists() else unknown
    return found


@contextlib.contextmanager
def working_in(folder: Path) -> Iterator[None]:
    """Keeps a folder for this process, and makes a polite kill (SIGTERM) end its steps too.

    Raises:
        AbNetError: another process works there.
    """
    with sole_user(folder):
        before = signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before)


def say(line: str) -> None:
    """Tells the time and a line on standard error."""
    print(f"{time.strftime('%H:%M:%S')}  {line}", file=sys.stderr, flush=True)
