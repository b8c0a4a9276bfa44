"""Steps forked from one process that has read the libraries: reading them takes seconds a step."""

from __future__ import annotations

import logging
import multiprocessing
import os
import runpy
import shutil
import sys
import threading
import time
from collections.abc import Mapping, Sequence

from scripts.reproduce.steps import Runner

LOOKING = threading.Lock()
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["fairseq.trainer", "fairseq_plugins", "abnet.pretraining.pretrain"])


class Forked(Runner):
    """Runs the commands as they are, but for their start."""

    def _spawn(self, command: Sequence[str], output: int) -> tuple[int, int]:
        if not command[0].startswith(("abnet", "fairseq-", "python")):
            return super()._spawn(command, output)  # a shell's
        log = os.readlink(f"/proc/self/fd/{output}")
        process = SERVER.Process(target=_run, args=(list(command), self.environment, log))
        # A start looks after all processes, and an exit status can be read only once: of two
        # threads that read one the second finds 255.
        with LOOKING:
            process.start()
        while True:
            with LOOKING:
                status = process.exitcode
            if status is not None:
                return status, 1 << 20
            time.sleep(0.01)


def _run(command: list[str], environment: Mapping[str, str], log: str) -> None:
    """Runs `python -m MODULE` or a program that is a Python file."""
    with open(log, "ab") as stream:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
    os.environ.update(environment)
    logging.root.handlers.clear()  # those of what was read
    if command[1] == "-m":
        sys.argv = command[2:]
        runpy.run_module(command[2], run_name="__main__", alter_sys=True)
    else:
        program = shutil.which(command[0], path=environment["PATH"])
        assert program is not None
        sys.argv = [program, *command[1:]]
        runpy.run_path(program, run_name="__main__")
