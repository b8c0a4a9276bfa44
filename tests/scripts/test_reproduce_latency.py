"""Which sentences are timed, and in what order systems take their turns."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.reproduce import latency, timing


def test_sentences_are_quantiles_of_the_lengths(tmp_path: Path) -> None:
    source = tmp_path / "test.de"
    lengths = [9, 1, 7, 3, 5, 2, 8, 4, 6, 10]
    source.write_text("".join("x" * length + "\n" for length in lengths))
    chosen = [lengths[place] for place in timing.spread(source, 5)]
    assert chosen == [2, 4, 6, 8, 10]
    assert sorted(timing.spread(source, 99)) == list(range(10))


def test_a_ratio_is_the_median_of_the_rounds() -> None:
    assert timing.ratio([1.0, 9.0, 3.0], [2.0, 3.0, 4.0]) == 0.75


def test_systems_take_turns_after_a_round_that_does_not_count() -> None:
    called = []

    class Fake(timing.Timed):
        def __init__(self, name: str) -> None:
            self.name = name

        def decode(self) -> list[object]:
            called.append(self.name)
            return []

    found = timing.measure({name: Fake(name) for name in "abc"}, 2)
    assert "".join(called) == "abc" + "abc" + "bca"
    assert {name: len(seconds) for name, seconds in found.items()} == {"a": 2, "b": 2, "c": 2}


def test_what_is_compared_with_must_be_trained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        latency.main(["--out", str(tmp_path)])
    assert "has no averaged transformer of de-en: multi30k.sh trains it" in capsys.readouterr().err
