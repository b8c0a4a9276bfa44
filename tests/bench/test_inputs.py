"""Which lines are translated."""

from __future__ import annotations

import pytest

from abnet.bench.engine import Materials
from abnet.bench.inputs import Line, Text
from abnet.errors import AbNetError
from tests.tiny import ENGLISH, GERMAN


def test_batches_have_one_length_each_at_the_quantiles() -> None:
    lines = [Line(f"{number}", 5, length) for number, length in enumerate([3, 3, 7, 9, 9, 9])]
    batches = Text("x", lines, 0).batches(size=3, count=2)
    assert [(batch.lines, batch.length) for batch in batches] == [
        (["0", "1", "0"], 4),  # repeated where there are too few
        (["3", "4", "5"], 10),
    ]
    alone = Text("x", lines, 0).batches(size=1, count=3)
    assert [(batch.lines, batch.length) for batch in alone] == [
        (["0"], 4),
        (["3"], 10),
        (["4"], 10),
    ]


def test_lengths_are_those_in_pieces_and_the_longest_are_left_out(materials: Materials) -> None:
    source, target = materials.tokenizers
    whole = Text.of("x", [*GERMAN, ""], [*ENGLISH, "no source"], materials.tokenizers, 50)
    assert (len(whole.lines), whole.dropped) == (8, 1)
    assert whole.lines[2] == Line(
        GERMAN[2], len(source.pieces(GERMAN[2])), len(target.pieces(ENGLISH[2]))
    )
    longest = max(max(line[1:]) for line in whole.lines)
    assert Text.of("x", GERMAN, ENGLISH, materials.tokenizers, longest - 1).dropped >= 1
    with pytest.raises(AbNetError, match="pairs of 1 to 1 pieces a side, but none of its 8 pairs"):
        Text.of("x", GERMAN, ENGLISH, materials.tokenizers, 1)
