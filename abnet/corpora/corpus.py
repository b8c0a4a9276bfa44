"""What a corpus is: archives, the text files in them, and how these become splits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from abnet.errors import AbNetError
from abnet.text import clean_line

# What may become of sources that are too long for their BERT; the first is the default.
OVERLONG_SOURCE = ("drop", "truncate", "refuse")

Pair = tuple[str, str]
PairReader = Callable[[Path, Path], Iterator[Pair]]


@dataclass(frozen=True)
class Archive:
    """One file to download.

    Attributes:
        file: the name it is stored under.
        urls: where it is, tried in this order.
        checksums: "sha256:..." or "md5:..." of every known edition; empty if none could be
            verified: the first download's is then kept beside the file and later ones must match.
        inside: an archive that holds this one, for a folder that has only that.
        inside_as: the path there.
    """

    file: str
    urls: tuple[str, ...] = ()
    checksums: tuple[str, ...] = ()
    inside: Archive | None = None
    inside_as: str = ""


class TextFile(NamedTuple):
    """One text file of a corpus.

    Attributes:
        archive: what holds it, or the file itself.
        member: its path in the archive; empty when the archive is the file.
        also: other names under which a folder may hold it.
    """

    archive: Archive
    member: str = ""
    also: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The names under which a folder may hold the file, the likeliest first."""
        name = self.member or self.archive.file
        return tuple(dict.fromkeys((name, Path(name).name, *self.also)))


class Part(NamedTuple):
    """Two text files that become pairs of one split.

    Attributes:
        split: "train", "valid" or "test".
        source: the source side; for a bilingual file, the same as `target`.
        target: the target side.
        read: makes the pairs, in the order (source, target).
        optional: whether the corpus may lack it.
    """

    split: str
    source: TextFile
    target: TextFile
    read: PairReader
    optional: bool = False


Located = tuple[Part, Path, Path]  # and where its source and its target file are


def read_parts(parts: Iterable[Located]) -> Iterator[Pair]:
    """The pairs of all parts, one part after the other.

    Raises:
        AbNetError: a file cannot be read, or the sides differ in length.
    """
    for part, source, target in parts:
        yield from part.read(source, target)


def line_of(text: str, parts: Sequence[Located]) -> str:
    """The file and the line that a clean source text comes from."""
    lines = (
        f"{path}, line {number}"
        for part, path, other in parts
        for number, (source, _) in enumerate(part.read(path, other), start=1)
        if clean_line(source) == text
    )
    return next(lines, str(parts[0][1]))  # without the line if the file was changed meanwhile


@dataclass(frozen=True)
class Rules:
    """Which training pairs are dropped, beside empty ones and those too long for the BERTs.

    Attributes:
        max_length: the most units that a side may have.
        max_ratio: the most that the longer side's units may be of the shorter side's.
        unit: what is counted, "words" (runs of letters and digits, and each other sign) or
            "pieces" of the BERT of the side.
    """

    max_length: int | None = None
    max_ratio: float | None = None
    unit: str = "words"

    def verdict(self, source_units: int, target_units: int) -> str | None:
        """Why a pair is dropped: "too_long", "ratio", or `None` if it is kept."""
        longer, shorter = max(source_units, target_units), min(source_units, target_units)
        if self.max_length is not None and longer > self.max_length:
            return "too_long"
        if self.max_ratio is not None and longer > self.max_ratio * shorter:
            return "ratio"
        return None


@dataclass(frozen=True)
class Corpus:
    """A corpus in one direction.

    Attributes:
        name: as in `abnet prepare NAME`.
        source: the source language's code, or what else that side is called.
        target: the same for the target side.
        parts: the text files in the order in which their pairs are read.
        rules: what is dropped from the training part.
        valid_every: every n-th clean training pair goes to the validation split; 0 = there is a
            validation split of its own.
        expected: the number of pairs that the published set-ups have, by split.
        choices: what the papers leave open, and how it was settled here.
        origin: what models wrote of the training part; see `abnet.translated.origin`.
    """

    name: str
    source: str
    target: str
    parts: tuple[Part, ...]
    rules: Rules = Rules()
    valid_every: int = 0
    expected: Mapping[str, int] = field(default_factory=dict)
    choices: tuple[str, ...] = ()
    origin: Mapping[str, Any] = field(default_factory=dict)

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that are written, training last."""
        names = {part.split for part in self.parts} | ({"valid"} if self.valid_every else set())
        return tuple(split for split in ("test", "valid", "train") if split in names)


def check_direction(name: str, source: str, target: str, foreign: tuple[str, ...]) -> str:
    """The language that is not English.

    Args:
        name: the corpus, for the error.
        foreign: the languages that the corpus pairs with English.

    Raises:
        AbNetError: the corpus has no such pair.
    """
    for language, other in ((source, target), (target, source)):
        if language in foreign and other == "en":
            return language
    pairs = ", ".join(f"{language}-en, en-{language}" for language in foreign)
    raise AbNetError(
        f"`--pair` of {name} must be one of {pairs}, but is {source}-{target} instead."
    )
