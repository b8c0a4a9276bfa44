"""Translations on disk in shards: files that appear as a whole, each with a record beside it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from abnet.corpora.formats import read_text
from abnet.errors import AbNetError
from abnet.translated.files import replacing, sha256_of, write_json

FOLDER = "shards"


class Part(NamedTuple):
    """Which shards a call translates: those whose number is `number` modulo `of`."""

    number: int = 1
    of: int = 1

    @classmethod
    def parse(cls, text: str) -> Part:
        """Reads "I/N".

        Raises:
            AbNetError: it is not of this form, or I is not among 1 to N.
        """
        number, _, of = text.partition("/")
        if number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of):
            return cls(int(number), int(of))
        raise AbNetError(
            f"`--part` must be I/N with I from 1 to N, such as 1/4, but is {text} instead."
        )


ALL = Part()


class ShardRecord(NamedTuple):
    """What is known of a finished shard.

    Attributes:
        shard: its number, from 1.
        lines: how many translations it has.
        sha256: of the file.
        cut: numbers, from 1 in the whole text, of lines that were too long and were cut.
        unknown: the same of lines that are made of unknown words only.
        seconds: that the translation took.
    """

    shard: int
    lines: int
    sha256: str
    cut: list[int]
    unknown: list[int]
    seconds: float


@dataclass(frozen=True)
class Shards:
    """The shards of one text.

    Attributes:
        folder: where their files are.
        lines: of the whole text.
        size: lines of a shard; the last one may have fewer.
    """

    folder: Path
    lines: int
    size: int

    def __post_init__(self) -> None:
        if self.size < 1:
            raise AbNetError(f"`--shard-lines` must be at least 1, but is {self.size} instead.")

    @property
    def numbers(self) -> range:
        """The shards' numbers."""
        return range(1, -(-self.lines // self.size) + 1)

    def first_line(self, number: int) -> int:
        """The number of a shard's first line in the whole text, from 1."""
        return (number - 1) * self.size + 1

    def lines_of(self, number: int) -> int:
        """How many lines a shard has."""
        return min(self.size, self.lines - self.first_line(number) + 1)

    def name(self, number: int) -> str:
        """How messages call a shard."""
        first = self.first_line(number)
        return f"shard {number} (lines {first} to {first + self.lines_of(number) - 1})"

    def text(self, number: int) -> Path:
        """The file of a shard's translations."""
        return self.folder / f"shard-{number:05}.txt"

    def record_file(self, number: int) -> Path:
        """The file that says that a shard is finished."""
        return self.text(number).with_suffix(".json")

    def save(
        self,
        number: int,
        translations: Sequence[str],
        cut: Sequence[int],
        unknown: Sequence[int],
        seconds: float,
    ) -> None:
        """Writes a finished shard; see `ShardRecord`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with replacing(self.text(number)) as (stream,):
            stream.writelines(f"{text}\n" for text in translations)
        record = ShardRecord(
            shard=number,
            lines=len(translations),
            sha256=sha256_of(self.text(number)),
            cut=list(cut),
            unknown=list(unknown),
            seconds=round(seconds, 2),
        )
        write_json(self.record_file(number), record._asdict())

    def record(self, number: int) -> ShardRecord:
        """The record of a finished shard."""
        return ShardRecord(**json.loads(self.record_file(number).read_text(encoding="utf-8")))

    def read(self, number: int) -> list[str]:
        """The translations of a finished shard."""
        return list(read_text(self.text(number)))

    def is_done(self, number: int) -> bool:
        """Whether a shard's files are there and whole."""
        try:
            record = self.record(number)
            whole = record.sha256 == sha256_of(self.text(number))
        except (OSError, ValueError, TypeError):  # AbNetError is a ValueError
            return False
        return whole and record.lines == self.lines_of(number)

    def missing(self, part: Part = ALL) -> list[int]:
        """The shards of a part that are not done. Their files stay: another call may be at them."""
        numbers = [number for number in self.numbers if (number - part.number) % part.of == 0]
        return [number for number in numbers if not self.is_done(number)]
