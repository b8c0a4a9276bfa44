"""A folder of texts, and what is prepared from it."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import pytest

from abnet.corpora.corpus import Archive, Corpus, Pair, Part, TextFile
from abnet.corpora.formats import read_text_pairs
from abnet.corpora.preparing import Options, prepare
from tests.conftest import TinyBerts
from tests.corpora.making import lines

GERMAN = ["der kleine Hund", "ein Mann liest", "zwei Frauen spielen", "das Mädchen isst"]
ENGLISH = ["the little dog", "a man reads", "two women play", "the girl eats"]


def spelled(number: int) -> str:
    """A number in letters, which the tiny BERTs know."""
    return " ".join("adehilnrst"[int(digit)] for digit in str(number))


class Scene:
    """A folder of texts, and what is prepared from it."""

    def __init__(self, root: Path, berts: TinyBerts) -> None:
        self.root = root
        self.dest = root / "out"
        self.said: list[str] = []
        self.options = Options(
            berts.german, berts.english, self.dest, root / "downloads", root, text_only=True
        )
        pairs = [
            (f"{GERMAN[n % 4]} {spelled(n)}", f"{ENGLISH[n % 4]} {spelled(n)}") for n in range(50)
        ]
        self.write("train", pairs)
        self.write("valid", [("der Zug", "the train")])
        self.write("test", [("der Arzt", "the doctor"), ("der Ball", "the ball")])

    def write(self, split: str, pairs: list[Pair]) -> None:
        for language, texts in zip(("de", "en"), zip(*pairs, strict=True), strict=True):
            (self.root / f"{split}.{language}").write_text(lines(list(texts)))

    def corpus(self, splits: tuple[str, ...] = ("train", "valid", "test"), **more: Any) -> Corpus:
        parts = tuple(
            Part(
                split,
                TextFile(Archive(f"{split}.de")),
                TextFile(Archive(f"{split}.en")),
                read_text_pairs,
            )
            for split in splits
        )
        return Corpus("scene", "de", "en", parts, **more)

    def prepare(self, corpus: Corpus | None = None, **options: Any) -> dict[str, Any]:
        self.said.clear()
        changed = dataclasses.replace(self.options, **options)
        return prepare(corpus or self.corpus(), changed, self.said.append).data

    def lines(self, name: str) -> list[str]:
        return (self.dest / name).read_text(encoding="utf-8").split("\n")[:-1]

    def warnings(self) -> list[str]:
        return [line for line in self.said if line.startswith("warning")]

    def digest(self) -> dict[str, str]:
        """Hashes of all text that was written."""
        files = [*self.dest.glob("raw/*"), *self.dest.glob("pieces/*")]
        return {
            str(path.relative_to(self.dest)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in files
        }


@pytest.fixture
def scene(tmp_path: Path, tiny_berts: TinyBerts) -> Scene:
    return Scene(tmp_path, tiny_berts)
