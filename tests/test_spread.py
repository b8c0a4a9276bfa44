from __future__ import annotations

import pytest
import torch

from abnet.decoding.mask_predict import DecodingOptions, mask_predict
from abnet.errors import AbNetError
from abnet.spread import SourceSpread
from tests.systems import Toys, lively_model, small_config, small_model, small_pairs


def test_each_position_gets_the_source_at_its_share() -> None:
    layer = SourceSpread(2, 3)
    memory = torch.randn(2, 3, 3)
    embedded = torch.randn(4, 6, 2)
    sizes, counts = torch.tensor([3, 2]), torch.tensor([6, 3, 5, 1])
    shape = (torch.tensor([0, 0, 1, 1]), sizes, counts)
    assert layer(embedded, layer.project(memory), *shape).equal(embedded)  # at first
    torch.nn.init.normal_(layer.projection.weight)
    projected = layer.project(memory)
    found = layer(embedded, projected, *shape)
    places = ([0, 0, 1, 1, 2, 2], [0, 1, 2], [0, 0, 0, 1, 1], [0])
    for row, expected in enumerate(places):
        for position, place in enumerate(expected):
            total = embedded[row, position] + projected[row // 2, place]
            torch.testing.assert_close(found[row, position], total)


@pytest.mark.parametrize("keep_cls", [False, True])
def test_mask_predict_reads_it_and_padding_changes_nothing(toys: Toys, keep_cls: bool) -> None:
    model = lively_model("abnet", toys, spread_source=True, keep_cls=keep_cls)
    assert model.decoder.spread is not None
    torch.nn.init.normal_(model.decoder.spread.projection.weight)
    source = small_pairs(model).source
    options = DecodingOptions(length_beam=3, iterations=4)
    together = mask_predict(model, source, options)
    for row, [hypothesis] in zip(source, together, strict=True):
        alone = row[: int(row.ne(model.source_symbols.pad).sum())][None]
        [[single]] = mask_predict(model, alone, options)
        assert single.tokens.equal(hypothesis.tokens)
        assert single.score == pytest.approx(hypothesis.score, rel=1e-4)
    torch.nn.init.zeros_(model.decoder.spread.projection.weight)
    without = mask_predict(model, source, options)
    pairs = zip(together, without, strict=True)
    assert not all(one.tokens.equal(other.tokens) for [one], [other] in pairs)


def test_it_changes_nothing_at_first(toys: Toys) -> None:
    plain, spread = (small_model("abnet", toys, spread_source=on).eval() for on in (False, True))
    spread.load_state_dict(plain.state_dict(), strict=False)
    pairs = small_pairs(plain)
    words = pairs.target.ne(plain.target_symbols.pad)
    one, other = (model(pairs.source, pairs.target, words) for model in (plain, spread))
    torch.testing.assert_close(one.word_logits, other.word_logits)


def test_word_by_word_there_is_no_length_to_spread_it_over(toys: Toys) -> None:
    with pytest.raises(AbNetError, match="`spread_source` must be left out for the autoregressive"):
        small_config("abnet_causal", toys, spread_source=True)
