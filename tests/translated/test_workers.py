"""One process that translates shards, whatever happens around it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from abnet.decoding.mask_predict import DecodingOptions
from abnet.errors import AbNetError
from abnet.translated import workers
from abnet.translated.files import Lines, replacing
from abnet.translated.shards import Shards
from abnet.translated.workers import ShardTranslator, Work, translate_shards


def test_text_that_changes_on_the_way(checkpoint: str, train: str, tmp_path: Path) -> None:
    shards = Shards(tmp_path / "shards", 15, 10)
    lines = Lines((Path(f"{train}.de"),))
    work = Work((Path(checkpoint),), None, None, DecodingOptions(), 32, lines, shards)
    with pytest.raises(AbNetError, match=r"shard 2 \(lines 11 to 15\) has 4 lines now"):
        ShardTranslator(work, "cpu").translate(2)
    with pytest.raises(AbNetError, match=r"shard 2 \(lines 11 to 15\) has 0 lines now"):
        ShardTranslator(work._replace(lines=Lines(())), "cpu").translate(2)


def test_a_shard_that_another_call_finished_is_left(
    checkpoint: str, train: str, tmp_path: Path
) -> None:
    shards = Shards(tmp_path / "shards", 14, 10)
    lines = Lines((Path(f"{train}.de"),))
    work = Work((Path(checkpoint),), None, None, DecodingOptions(), 32, lines, shards)
    shards.save(1, ["theirs"] * 10, [], [], 0)
    translator = ShardTranslator(work, "cpu")
    assert [translator.translate(1), translator.translate(2)] == [10, 4]
    assert shards.read(1) == ["theirs"] * 10
    assert shards.missing() == []
    shards.text(1).write_text("half")  # its record still stands
    assert ShardTranslator(work, "cpu").translate(1) == 10
    assert shards.missing() == []
    assert shards.read(1) != ["theirs"] * 10


def test_workers_are_spread_over_the_devices(
    checkpoint: str, train: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shards = Shards(tmp_path / "shards", 14, 3)
    lines = Lines((Path(f"{train}.de"),))
    work = Work((Path(checkpoint),), None, None, DecodingOptions(), 32, lines, shards)
    devices: list[str | None] = []

    class Recorded:
        def __init__(self, context: object, work: Work, device: str | None, threads: int) -> None:
            devices.append(device)

        def end(self) -> None:
            pass

        ask_to_end = end

        def __getattr__(self, name: str) -> object:
            return lambda *given: None

    monkeypatch.setattr(workers, "_Process", Recorded)
    monkeypatch.setattr(workers, "_lead", lambda staff, numbers, progress: None)
    translate_shards(work, [1, 2, 3, 4, 5], ["a", "b"], 3, lambda lines: None)
    assert devices == ["a", "b", "a"]


class SlowShards(Shards):
    """A disk that never finishes the second shard, and fails with the first one meanwhile."""

    def save(
        self,
        number: int,
        translations: Sequence[str],
        cut: Sequence[int],
        unknown: Sequence[int],
        seconds: float,
    ) -> None:
        self.folder.mkdir(exist_ok=True)
        if number == 1:
            while not list(self.folder.glob("*.part")):
                time.sleep(0.01)
            raise OSError("the disk is full")
        with replacing(self.text(number)):
            while True:
                time.sleep(0.01)  # a signal just before a long sleep is heard after it


def test_a_failure_leaves_no_half_of_another_processs_file(
    checkpoint: str, train: str, tmp_path: Path
) -> None:
    shards = SlowShards(tmp_path / "shards", 14, 10)
    lines = Lines((Path(f"{train}.de"),))
    work = Work((Path(checkpoint),), None, None, DecodingOptions(), 32, lines, shards)
    with pytest.raises(AbNetError, match="the disk is full"):
        translate_shards(work, [1, 2], ["cpu"], 2, lambda lines: None)
    assert list(shards.folder.iterdir()) == []
