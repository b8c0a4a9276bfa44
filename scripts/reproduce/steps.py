"""Long commands as steps that leave a stamp, several of them at a time."""

from __future__ import annotations

import contextlib
import json
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

from abnet.processes import sole_user


class StepError(Exception):
    """A step failed, or was done before in another way."""


@dataclass(frozen=True)
class Step:
    """One command.

    Attributes:
        name: of the stamp `NAME.done` and the log `NAME.log` in `folder`.
        folder: what the command works on.
        command: the program and its arguments.
        needs: stamps of what it is made of, beside the steps before it in its chain.
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
    def log(self) -> Path:
        """All that the command printed, earlier tries included."""
        return self.folder / f"{self.name}.log"


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
            StepError: a step failed, or its stamp is of another command, or older than that of a
                step before it or of one that it needs.
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
        last: tuple[float, Path] | None = None
        for step in dict.fromkeys(chain):  # one that stands in it twice comes first
            if self.stopped:
                return
            try:
                if isinstance(step, Step):
                    with self.lock:
                        own = self.at_work[step.stamp]
                    with own:
                        self._run_step(step)
                    last = _later(last, step)
                else:
                    step()
            except BaseException:
                self._stop()
                raise

    def _run_step(self, step: Step) -> None:
        if step.stamp.exists():
            done = json.loads(step.stamp.read_text(encoding="utf-8"))
            if done["command"] != list(step.command):
                raise StepError(
                    f"{step.stamp} is of another command than {shlex.join(step.command)}; remove "
                    "it to do the step anew (a training's checkpoints, too), or give another --out."
                )
            return
        step.folder.mkdir(parents=True, exist_ok=True)
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
        step.stamp.write_text(json.dumps(record) + "\n", encoding="utf-8")
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


def _later(last: tuple[float, Path] | None, step: Step) -> tuple[float, Path] | None:
    """When the last of a chain's steps has finished, and its stamp.

    Raises:
        StepError: this one is older, or than what it needs, and so made of what is there no more.
    """
    own = _finished(step.stamp)
    if own is None:  # stopped
        return last
    for before in (last, *map(_finished, step.needs)):
        if before is not None and own[0] < before[0]:
            raise StepError(
                f"{step.stamp} is older than {before[1]}, which came before it; remove it to do "
                "the step anew (a training's checkpoints, too)."
            )
    return own


def _finished(stamp: Path) -> tuple[float, Path] | None:
    """When a step has finished, and its stamp."""
    if not stamp.exists():
        return None
    finished = json.loads(stamp.read_text(encoding="utf-8")).get("finished")
    return None if finished is None else (finished, stamp)


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
