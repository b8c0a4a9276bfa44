from __future__ import annotations

import math

import pytest
import torch

from abnet.tokenizer import SymbolIds
from abnet.training.masking import (
    batch_generator,
    corrupt_source,
    draw_revealed,
    mask_targets,
    rank,
    reveal_guesses,
)

SYMBOLS = SymbolIds(pad=0, unk=1, cls=2, sep=3, mask=7)
CPU = torch.device("cpu")


def sentences(lengths: list[int]) -> torch.Tensor:
    """Rows of ids 10, 11, ..., the last [SEP], right-padded."""
    rows = torch.zeros(len(lengths), max(lengths), dtype=torch.long)
    for row, length in zip(rows, lengths, strict=True):
        row[:length] = torch.arange(10, 10 + length)
        row[length - 1] = SYMBOLS.sep
    return rows


def test_the_count_is_uniform_from_one_to_the_length() -> None:
    target = sentences([5] * 20_000)
    masked = mask_targets(target, SYMBOLS, 40, "mask", batch_generator(CPU, 1))
    counts = masked.chosen.sum(dim=1)
    shares = torch.bincount(counts, minlength=6) / len(target)
    assert shares[0] == 0
    # 5 equal shares; the standard deviation of each is 0.0028
    torch.testing.assert_close(shares[1:], torch.full((5,), 0.2), atol=0.012, rtol=0)
    # and every position is as likely as every other: (1+2+3+4+5)/5/5 of the time
    torch.testing.assert_close(
        masked.chosen.float().mean(dim=0), torch.full((5,), 0.6), atol=0.015, rtol=0
    )


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        # P(n = k) of floor(cos(u pi/2) * 5) + 1: the lengths of the arcs between k/5 and (k+1)/5
        ("cosine", [2 / math.pi * (math.acos(k / 5) - math.acos((k + 1) / 5)) for k in range(5)]),
        ("share", [1.0, 0.0, 0.0, 0.0, 0.0]),
    ],
)
def test_other_counts(count: str, expected: list[float]) -> None:
    target = sentences([5] * 20_000)
    masked = mask_targets(target, SYMBOLS, 40, "mask", batch_generator(CPU, 1), count)
    shares = torch.bincount(masked.chosen.sum(dim=1), minlength=6) / len(target)
    torch.testing.assert_close(shares, torch.tensor([0.0, *expected]), atol=0.012, rtol=0)


def test_a_share_of_a_long_sentence() -> None:
    masked = mask_targets(
        sentences([100] * 10), SYMBOLS, 200, "mask", batch_generator(CPU, 1), "share"
    )
    assert masked.chosen.sum(dim=1).tolist() == [16] * 10  # floor(0.15 * 100) + 1


def test_guesses_replace_a_share_of_what_was_revealed() -> None:
    target = sentences([20] * 2000)
    masked = mask_targets(target, SYMBOLS, 100, "mask", batch_generator(CPU, 6))
    replaced = draw_revealed(masked, 0.3, batch_generator(CPU, 7))
    assert not (replaced & ~masked.revealed).any()
    assert abs(float(replaced.sum() / masked.revealed.sum()) - 0.3) < 0.01
    guesses = torch.arange(1000, 1000 + int(replaced.sum()))
    shown = reveal_guesses(masked, replaced, guesses)
    assert shown.inputs[replaced].equal(guesses)
    assert shown.inputs[~replaced].equal(masked.inputs[~replaced])
    assert shown.chosen.equal(masked.chosen | replaced)
    assert shown.revealed.equal(masked.revealed & ~replaced)
    assert shown.inputs[shown.revealed].equal(target[shown.revealed])
    assert not (masked.chosen & masked.revealed).any()


def test_chosen_are_masks_and_nothing_else_changes() -> None:
    target = sentences([1, 2, 9, 30])
    masked = mask_targets(target, SYMBOLS, 40, "mask", batch_generator(CPU, 2))
    assert not masked.chosen[target.eq(SYMBOLS.pad)].any()
    assert masked.chosen.any(dim=1).all()
    assert masked.inputs[masked.chosen].eq(SYMBOLS.mask).all()
    assert masked.inputs[~masked.chosen].equal(target[~masked.chosen])


def test_bert_noise_is_80_10_10_and_never_draws_special_symbols() -> None:
    target = sentences([30] * 4000)
    masked = mask_targets(target, SYMBOLS, 1000, "bert", batch_generator(CPU, 3))
    chosen, inputs = masked.chosen, masked.inputs
    is_mask = inputs[chosen].eq(SYMBOLS.mask)
    kept = inputs[chosen].eq(target[chosen])
    assert abs(float(is_mask.float().mean()) - 0.8) < 0.01
    assert abs(float(kept.float().mean()) - 0.1) < 0.01
    drawn = inputs[chosen][~is_mask & ~kept]
    assert not set(SYMBOLS) & set(drawn.tolist())
    assert drawn.min() < 40
    assert drawn.max() > 960
    assert inputs[~chosen].equal(target[~chosen])


def test_the_same_numbers_draw_the_same_masks() -> None:
    target = sentences([12] * 50)

    def chosen(*numbers: int) -> torch.Tensor:
        return mask_targets(target, SYMBOLS, 40, "mask", batch_generator(CPU, *numbers)).chosen

    assert chosen(1, 2, 3).equal(chosen(1, 2, 3))
    assert not chosen(1, 2, 3).equal(chosen(1, 3, 2))
    assert not chosen(1, 2).equal(chosen(1, 2, 0))


def test_the_source_loses_one_span() -> None:
    """As long as in the released code, and where that has it."""
    source = sentences([21] * 5000 + [2, 1])
    noisy = corrupt_source(source, SYMBOLS, 1000, 0.1, batch_generator(CPU, 4))
    changed = noisy.ne(source)
    assert not changed[source.eq(SYMBOLS.sep) | source.eq(SYMBOLS.pad)].any()
    # round(0.1 * 21) + 1 tokens, each kept now and then, at the end one fewer and [SEP]
    assert set(changed.sum(dim=1).tolist()) == {0, 1, 2, 3}
    whole = changed[changed.sum(dim=1) == 3]
    places = [row.nonzero().flatten().tolist() for row in whole]
    assert all(last == first + 2 for first, _, last in places)
    assert {first for first, *_ in places} == set(range(18))  # one of them ends before [SEP]
    # The standard deviations of these two are below 0.008.
    assert sum(first == 0 for first, *_ in places) / len(places) == pytest.approx(
        (0.2 + 0.6 / 19) / (0.2 + 0.6 * 18 / 19), abs=0.03
    )
    at_end = changed[:5000, 19] & ~changed[:5000, 18]
    assert float(at_end.float().mean()) == pytest.approx(0.2 * 0.9, abs=0.03)


def test_a_short_source_loses_something_too() -> None:
    source = sentences([4] * 400)
    changed = corrupt_source(source, SYMBOLS, 1000, 0.1, batch_generator(CPU, 4)).ne(source)
    assert changed.sum(dim=1).float().mean() > 0.9  # two tokens, unless one of them is [SEP]


def test_rank_breaks_ties_by_position() -> None:
    values = torch.tensor([[3.0, 1.0, 3.0, 2.0], [0.0, 0.0, 0.0, 0.0]])
    assert rank(values).tolist() == [[2, 0, 3, 1], [0, 1, 2, 3]]
