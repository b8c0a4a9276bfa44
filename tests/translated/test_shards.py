from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abnet.errors import AbNetError
from abnet.translated.shards import Part, ShardRecord, Shards


@given(st.integers(1, 500), st.integers(1, 60), st.integers(1, 7))
def test_shards_cover_the_lines_and_parts_the_shards(lines: int, size: int, of: int) -> None:
    shards = Shards(Path("nowhere"), lines, size)
    covered = [
        shards.first_line(number) + at
        for number in shards.numbers
        for at in range(shards.lines_of(number))
    ]
    assert covered == list(range(1, lines + 1))
    parts = [shards.missing(Part(number, of)) for number in range(1, of + 1)]
    assert sorted(number for part in parts for number in part) == list(shards.numbers)


def test_a_shard_reads_back(tmp_path: Path) -> None:
    shards = Shards(tmp_path / "shards", 5, 2)
    assert shards.missing() == [1, 2, 3]
    shards.save(3, ["five"], [5], [], 1.234)
    assert shards.missing() == [1, 2]
    assert shards.read(3) == ["five"]
    record = shards.record(3)
    assert record == ShardRecord(3, 1, record.sha256, [5], [], 1.23)
    assert shards.name(3) == "shard 3 (lines 5 to 5)"
    assert sorted(path.name for path in shards.folder.iterdir()) == [
        "shard-00003.json",
        "shard-00003.txt",
    ]


@pytest.mark.parametrize("damage", ["text", "record", "no text", "lines"])
def test_a_damaged_shard_is_missing(tmp_path: Path, damage: str) -> None:
    shards = Shards(tmp_path, 2, 2)
    shards.save(1, ["one", "two"], [], [], 0)
    assert shards.missing() == []
    match damage:
        case "text":
            shards.text(1).write_text("one\nt")
        case "record":
            shards.record_file(1).write_text("{")
        case "no text":
            shards.text(1).unlink()
        case _:
            shards.save(1, ["one"], [], [], 0)
    assert shards.missing() == [1]
    shards.save(1, ["three", "four"], [], [], 0)
    assert shards.missing() == []
    assert shards.read(1) == ["three", "four"]


def test_a_shard_that_another_call_saves_meanwhile_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shards = Shards(tmp_path, 4, 2)
    shards.save(1, ["one", "two"], [], [], 0)
    is_done = Shards.is_done

    def saved_behind_it(self: Shards, number: int) -> bool:
        done = is_done(self, number)
        if number == 2:  # the other call's machine is ready just now
            self.save(2, ["three", "four"], [], [], 0)
        return done

    monkeypatch.setattr(Shards, "is_done", saved_behind_it)
    assert shards.missing() == [2]
    monkeypatch.undo()
    assert shards.missing() == []
    assert shards.record(2).lines == 2
    assert shards.read(2) == ["three", "four"]


def test_bad_values() -> None:
    with pytest.raises(AbNetError, match="`--shard-lines` must be at least 1, but is 0 instead"):
        Shards(Path("x"), 5, 0)
    assert Part.parse("2/3") == Part(2, 3)
    for text in ("0/3", "4/3", "1", "a/b", "1/2/3", "/"):
        with pytest.raises(AbNetError, match=f"with I from 1 to N, such as 1/4, but is {text} "):
            Part.parse(text)
