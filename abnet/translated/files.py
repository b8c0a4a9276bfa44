"""The text files that a model translates, and the files that are made of it."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple, TypeVar

from abnet.corpora.download import file_digests
from abnet.corpora.formats import read_text
from abnet.corpora.writing import to_json
from abnet.errors import AbNetError
from abnet.text import comparable

T = TypeVar("T")


class Sample(NamedTuple):
    """So many of some lines or pairs, chosen at random without replacement, in their order.

    Attributes:
        taken: how many are chosen.
        of: how many there are.
        seed: decides which; of no account when all are taken.
    """

    taken: int
    of: int
    seed: int

    def choose(self, lines: Iterator[T]) -> Iterator[T]:
        """The chosen lines: each set of so many lines is equally probable (Knuth's Algorithm S)."""
        numbers = random.Random(self.seed)
        wanted = self.taken
        for left, line in zip(range(self.of, 0, -1), lines, strict=False):
            if numbers.random() * left < wanted:
                wanted -= 1
                yield line


@dataclass(frozen=True)
class Lines:
    """The lines of UTF-8 files, one file after the other, each perhaps compressed (`.gz`).

    Attributes:
        paths: the files.
        only_new: whether empty lines and those of `exclude` are left out.
        exclude: files whose lines are left out, whatever their case, spacing and accents' form.
        sample: which of the lines are taken; all if not given.

    Raises:
        AbNetError: one is no file.
    """

    paths: tuple[Path, ...]
    only_new: bool = False
    exclude: tuple[Path, ...] = ()
    sample: Sample | None = None

    def __post_init__(self) -> None:
        refuse_pipes((*self.paths, *self.exclude))

    def __iter__(self) -> Iterator[str]:
        lines: Iterator[str] = itertools.chain.from_iterable(read_text(path) for path in self.paths)
        if self.only_new:
            lines = self._new(lines)
        return lines if self.sample is None else self.sample.choose(lines)

    def count(self) -> int:
        """How many there are; reads the files.

        Raises:
            AbNetError: a file cannot be read, or there is no line.
        """
        count = sum(1 for _ in self)
        if not count:
            names = ", ".join(map(str, self.paths))
            left = " is left" if self.only_new else ""
            raise AbNetError(f"There must be text to translate, but no line{left} of {names}.")
        return count

    def _new(self, lines: Iterator[str]) -> Iterator[str]:
        banned = {comparable(line) for path in self.exclude for line in read_text(path)} | {""}
        for line in lines:
            if comparable(line) not in banned:
                yield line


def refuse_pipes(paths: Iterable[Path]) -> None:
    """Sees to it that what is read can be read again: a pipe is empty the second time.

    Raises:
        AbNetError: something is no file.
    """
    for path in paths:
        if path.exists() and not path.is_file():
            raise AbNetError(
                f"{path} must be a file, since it is read more than once, but is a pipe or a "
                "folder: write the text to a file, and name that."
            )


def describe_files(paths: Sequence[Path]) -> list[dict[str, Any]]:
    """What a manifest says of text files: name, hash and number of lines.

    Raises:
        AbNetError: one cannot be read, or is no file.
    """
    refuse_pipes(paths)
    return [
        {"file": str(path), "sha256": sha256_of(path), "lines": sum(1 for _ in read_text(path))}
        for path in paths
    ]


def sha256_of(path: Path) -> str:
    """The hexadecimal hash of a file.

    Raises:
        AbNetError: it cannot be read.
    """
    try:
        return file_digests(path)["sha256"]
    except OSError as error:
        raise AbNetError(f"Cannot read {path}: {error.strerror}.") from None


@contextlib.contextmanager
def replacing(*paths: Path) -> Iterator[Sequence[IO[str]]]:
    """Text files that get their names when all is written, and leave nothing behind otherwise.

    Until then each has a name of its own, so that several processes may write the same file: the
    last one's stays, whole.
    """
    mark = uuid.uuid4().hex[:8]
    parts = [path.with_name(f"{path.name}.{mark}.part") for path in paths]
    with contextlib.ExitStack() as stack:
        for part in parts:
            stack.callback(part.unlink, missing_ok=True)
        with contextlib.ExitStack() as opened:
            streams = [
                opened.enter_context(open(part, "w", encoding="utf-8", newline="\n"))
                for part in parts
            ]
            yield streams
            for stream in streams:
                stream.flush()
                os.fsync(stream.fileno())
        for part, path in zip(parts, paths, strict=True):
            os.replace(part, path)


def write_pairs(files: Sequence[Path], pairs: Iterable[Sequence[str]]) -> int:
    """Writes line-aligned files, whole or not at all; how many pairs there were.

    Raises:
        AbNetError: there is no pair.
    """
    count = 0
    with replacing(*files) as streams:
        for pair in pairs:
            count += 1
            for stream, text in zip(streams, pair, strict=True):
                stream.write(f"{text}\n")
        if not count:
            raise AbNetError(
                f"There must be a pair for {files[0].name} and {files[1].name}, but all were "
                "dropped: look at some translations, and at the filter's options."
            )
    return count


def write_json(path: Path, value: Any) -> None:
    """Writes a small file, whole or not at all."""
    with replacing(path) as (stream,):
        stream.write(to_json(value))
