"""Writes splits as raw text and pieces, so that an interruption loses nothing."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

from abnet.corpora.cleaning import Side

KINDS = ("raw", "pieces")


class SplitWriter:
    """The four files of one split: `raw/` and `pieces/`, each in both languages.

    They are written as `FILE.part` and get their names when all is there.

    Args:
        folder: what holds `raw/` and `pieces/`.
        split: "train", "valid" or "test".
        languages: source and target.
        offsets: bytes of every file that are known to be good, by file name; what was
            written after them is cut off. Empty to start anew.
    """

    def __init__(
        self, folder: Path, split: str, languages: tuple[str, str], offsets: dict[str, int]
    ) -> None:
        self.folder = folder
        self.names = split_files(split, languages)
        self._streams: dict[str, IO[bytes]] = {}
        for name in self.names:
            part = self._part(name)
            part.parent.mkdir(parents=True, exist_ok=True)
            part.touch()
            stream = open(part, "r+b")  # noqa: SIM115 (`close` closes it)
            stream.truncate(offsets.get(name, 0))
            stream.seek(0, os.SEEK_END)
            self._streams[name] = stream

    def write(self, pairs: Iterable[tuple[Side, Side]]) -> None:
        """Adds pairs to all four files."""
        rows = [
            (source.text, target.text, source.pieces, target.pieces) for source, target in pairs
        ]
        for position, name in enumerate(self.names):
            lines = "".join([f"{row[position]}\n" for row in rows])
            self._streams[name].write(lines.encode("utf-8"))

    def sync(self) -> dict[str, int]:
        """Makes sure that all is on the disk; the offsets to continue at."""
        for stream in self._streams.values():
            stream.flush()
            os.fsync(stream.fileno())
        return {name: stream.tell() for name, stream in self._streams.items()}

    def close(self) -> None:
        """Closes the files as they are."""
        for stream in self._streams.values():
            stream.close()

    def finish(self) -> None:
        """Gives the files their names."""
        self.close()
        for name in self.names:
            os.replace(self._part(name), self.folder / name)

    def _part(self, name: str) -> Path:
        return self.folder / f"{name}.part"


def split_files(split: str, languages: tuple[str, str]) -> tuple[str, ...]:
    """The files of a split, below the prepared folder."""
    return tuple(f"{kind}/{split}.{language}" for kind in KINDS for language in languages)


def to_json(value: Any) -> str:
    """As people read it, and UTF-8 whatever names of files are in it.

    What of a name is no UTF-8 is escaped, so that what reads it has the name again.
    """
    text = json.dumps(value, indent=1, ensure_ascii=False) + "\n"
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def write_atomically(path: Path, text: str) -> None:
    """Writes a small file so that there is the old one or the new one, never a half."""
    part = path.with_name(path.name + ".part")
    with open(part, "w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(part, path)
