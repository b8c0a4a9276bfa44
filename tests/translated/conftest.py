"""A teacher, and commands run with it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from abnet.checkpoint import save_checkpoint
from abnet.cli import main
from abnet.model import AbNet
from tests.corpora.making import lines
from tests.tiny import ENGLISH, GERMAN

# With an empty line, one that is too long for the model, and one in another script.
SOURCES = [*GERMAN, "", " ".join(["Hund"] * 60), "שלום", *(f"{line} ja" for line in GERMAN[:3])]


class Outcome(NamedTuple):
    status: int
    errors: str


class Folder:
    """What a command made."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def manifest(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.path / "manifest.json").read_text())
        return found

    @property
    def result(self) -> dict[str, Any]:
        found: dict[str, Any] = self.manifest["result"]
        return found

    def lines(self, language: str) -> list[str]:
        text = (self.path / f"train.{language}").read_text(encoding="utf-8")
        return text.split("\n")[:-1]

    def times(self) -> dict[str, int]:
        """When each shard was written."""
        return {one.name: one.stat().st_mtime_ns for one in self.path.glob("shards/*.txt")}

    def leftovers(self) -> list[Path]:
        return list(self.path.rglob("*.part"))


def write(path: Path, texts: Sequence[str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(lines(texts), encoding="utf-8")
    return path


@pytest.fixture
def checkpoint(tiny_model: AbNet, tmp_path: Path) -> str:
    """German to English."""
    path = tmp_path / "teacher.safetensors"
    save_checkpoint(path, tiny_model)
    return str(path)


@pytest.fixture
def train(tmp_path: Path) -> str:
    """The prefix of a training side with 14 lines."""
    write(tmp_path / "in" / "train.de", SOURCES)
    write(tmp_path / "in" / "train.en", [*ENGLISH, *ENGLISH[:6]])
    return str(tmp_path / "in" / "train")


@pytest.fixture
def output(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "out")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Runs `abnet` with arguments."""

    def call(*arguments: str | Path) -> Outcome:
        status = main([str(one) for one in arguments])
        return Outcome(status, capsys.readouterr().err)

    return call
