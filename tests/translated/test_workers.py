"""One process that translates shards, whatever happens around it."""

from __future__ import annotations

from pathlib import Path

import pytest

from abnet.decoding.mask_predict import DecodingOptions
from abnet.errors import AbNetError
from abnet.translated.files import Lines
from abnet.translated.shards import Shards
from abnet.translated.workers import ShardTranslator, Work


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
