"""Shards translated by one process or by several, each with the model on its device."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnContext
from pathlib import Path
from types import FrameType
from typing import NamedTuple, NoReturn

import torch

from abnet.corpora.cleaning import in_chunks
from abnet.decoding.decode import Options
from abnet.errors import AbNetError
from abnet.processes import deaf_children, end_with_parent
from abnet.translated.files import Lines
from abnet.translated.shards import Shards
from abnet.translator import InputReport, Translator

Progress = Callable[[int], object]
SECONDS_TO_END = 10.0


class Work(NamedTuple):
    """What a process must know to translate shards.

    Attributes:
        checkpoints: of the model, several for an ensemble.
        source_bert: where its source BERT is now, if it has moved.
        target_bert: the same for the target BERT.
        options: how to decode.
        batch_size: lines decoded at once.
        lines: the text.
        shards: where the translations go.
    """

    checkpoints: tuple[Path, ...]
    source_bert: str | None
    target_bert: str | None
    options: Options
    batch_size: int
    lines: Lines
    shards: Shards


class Answer(NamedTuple):
    """What a process says of a shard: how many lines it has, or what went wrong."""

    lines: int
    error: str | None = None


class ShardTranslator:
    """Translates shards one after the other.

    Args:
        work: what there is to do.
        device: a torch device; by default the GPU if there is one.
    """

    def __init__(self, work: Work, device: str | None) -> None:
        self.work = work
        self.translator = Translator.from_checkpoint(
            work.checkpoints, device, work.source_bert, work.target_bert
        )
        self._texts = enumerate(in_chunks(work.lines, work.shards.size), start=1)

    def translate(self, number: int) -> int:
        """Writes one shard, unless another call has meanwhile; returns its lines.

        Args:
            number: of the shard; higher than in the call before, since the text is read once.

        Raises:
            AbNetError: the shard cannot be translated or written; the message names it.
        """
        shards = self.work.shards
        lines: list[str] = next((text for at, text in self._texts if at == number), [])
        if len(lines) != shards.lines_of(number):
            raise AbNetError(
                f"The text must stay as it is while it is translated, but {shards.name(number)} "
                f"has {len(lines)} lines now."
            )
        if shards.is_done(number):
            return len(lines)
        report = InputReport(lines=shards.first_line(number) - 1)
        started = time.perf_counter()
        try:
            found = self.translator.translate_n_best(
                lines, self.work.options, batch_size=self.work.batch_size, report=report
            )
            texts = [translations[0].text for translations in found]
            seconds = time.perf_counter() - started
            shards.save(number, texts, report.truncated, report.unknown, seconds)
        except (RuntimeError, MemoryError, OSError) as error:  # out of memory, a full disk
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            raise AbNetError(
                f"{shards.name(number).capitalize()} could not be translated ({reason}). Finished "
                "shards are kept: run the command again, if memory was short with a smaller "
                "`--batch-size`."
            ) from error
        return len(lines)


def translate_shards(
    work: Work,
    numbers: Sequence[int],
    devices: Sequence[str | None],
    workers: int,
    progress: Progress,
) -> None:
    """Translates shards; several processes take them from one list, in order.

    Args:
        work: what there is to do.
        numbers: of the shards, rising.
        devices: taken in turn by the processes; `None` is the GPU if there is one.
        workers: processes; 1 is this one. No more are started than there are shards.
        progress: takes the number of lines of each finished shard.

    Raises:
        AbNetError: a shard cannot be translated, or a process died. Finished shards stay.
    """
    if workers == 1:
        translator = ShardTranslator(work, devices[0])
        for number in numbers:
            progress(translator.translate(number))
        return
    context = get_context("spawn")  # a fork would copy torch's and the GPU's locked state
    threads = max(1, torch.get_num_threads() // workers)
    staff: list[_Process] = []
    try:
        with deaf_children():
            for at in range(min(workers, len(numbers))):
                device = devices[at % len(devices)]
                staff.append(_Process(context, work, device, threads))
        _lead(staff, iter(numbers), progress)
        for process in staff:
            process.end()
    finally:
        for process in staff:
            process.ask_to_end()
        for process in staff:
            process.kill()


def _lead(staff: Sequence[_Process], numbers: Iterator[int], progress: Progress) -> None:
    """Gives each process a shard, and the next when it is done, until none is left."""
    busy: dict[object, _Process] = {}
    for process, number in zip(staff, numbers, strict=False):
        process.give(number)
        busy[process.connection] = process
    while busy:
        for connection in wait([process.connection for process in busy.values()]):
            process = busy.pop(connection)
            progress(process.answer())
            number = next(numbers, 0)
            if number:
                process.give(number)
                busy[process.connection] = process


class _Process:
    """A process that translates shards, seen from the one that leads it."""

    def __init__(self, context: SpawnContext, work: Work, device: str | None, threads: int) -> None:
        self.shards = work.shards
        self.shard = 0
        self.connection, theirs = context.Pipe()
        self.process = context.Process(
            target=_serve, args=(theirs, work, device, threads), daemon=True
        )
        self.process.start()
        theirs.close()  # or its end would stay open when the process dies

    def give(self, number: int) -> None:
        self.shard = number
        try:
            self.connection.send(number)
        except OSError:
            raise self._died() from None

    def answer(self) -> int:
        """The lines of the shard that it is done with."""
        try:
            answer: Answer = self.connection.recv()
        except (EOFError, OSError):
            raise self._died() from None
        if answer.error is not None:
            raise AbNetError(answer.error)
        return answer.lines

    def end(self) -> None:
        """Lets it end by itself, which frees a GPU in good order."""
        self.connection.close()
        self.process.join(SECONDS_TO_END)

    def ask_to_end(self) -> None:
        """Lets it leave no half of a file behind, if it is in the middle of a shard."""
        self.connection.close()
        self.process.terminate()

    def kill(self) -> None:
        """Ends it, if it has not ended when it was asked to."""
        self.process.join(SECONDS_TO_END)
        self.process.kill()
        self.process.join()

    def _died(self) -> AbNetError:
        self.process.join(SECONDS_TO_END)
        status = self.process.exitcode or 0
        how = (
            f"was ended by {signal.Signals(-status).name}, perhaps for want of memory"
            if status < 0
            else f"failed with status {status}"
        )
        return AbNetError(
            f"The process that had {self.shards.name(self.shard)} {how}. Finished shards are kept: "
            "run the command again, with fewer `--workers` or a smaller `--batch-size`."
        )


def _serve(connection: Connection, work: Work, device: str | None, threads: int) -> None:
    """Translates the shards whose numbers come in, until the connection is closed."""
    end_with_parent()
    signal.signal(signal.SIGTERM, _leave)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # one thread a process
    torch.set_num_threads(threads)
    try:
        translator = ShardTranslator(work, device)
        while True:
            connection.send(Answer(translator.translate(connection.recv())))
    except AbNetError as error:
        connection.send(Answer(0, str(error)))
    except (EOFError, ConnectionError):  # the other end is closed, or gone
        return


def _leave(_signal: int, _frame: FrameType | None) -> NoReturn:
    """Ends this process as Ctrl-C would: what is open is closed, and half a file is removed."""
    sys.exit()
