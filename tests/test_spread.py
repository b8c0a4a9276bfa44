from __future__ import annotations

import pytest
import torch

from abnet.decoding.mask_predict import DecodingOptions, mask_predict
from abnet.errors import AbNetError
from abnet.one_pass.frames import make_frames
from abnet.spread import SourceSpread
from tests.systems import Toys, lively_model, small_config, small_model, small_pairs


def test_each_position_gets_the_source_at_its_share() -> None:
    layer = SourceSpread(2, 3)
    memory = torch.randn(2, 3, 3)
    embedded = torch.randn(4, 6, 2)
    sizes, counts = torch.tensor([3, 2]), torch.tensor([6, 3, 5, 1])
    shape = (torch.tensor([0, 0, 1, 1]), sizes, counts)
    masked = torch.ones(4, 6, dtype=torch.bool)
    assert layer(embedded, masked, layer.project(memory), *shape).equal(embedded)  # at first
    torch.nn.init.normal_(layer.projection.weight)
    spread = layer.project(memory)
    projected = spread.states
    assert spread.glosses is None
    found = layer(embedded, masked, spread, *shape)
    places = ([0, 0, 1, 1, 2, 2], [0, 1, 2], [0, 0, 0, 1, 1], [0])
    for row, expected in enumerate(places):
        for position, place in enumerate(expected):
            total = embedded[row, position] + projected[row // 2, place]
            torch.testing.assert_close(found[row, position], total)


def test_one_mask_of_each_source_position_gets_its_gloss() -> None:
    layer = SourceSpread(2, 3, gloss_dim=4)
    assert layer.gloss is not None
    embedded, pieces = torch.randn(4, 8, 2), torch.randn(2, 3, 4)
    shape = (torch.tensor([0, 0, 1, 1]), torch.tensor([3, 2]), torch.tensor([8, 3, 5, 1]))
    masked = torch.ones(4, 8, dtype=torch.bool)
    masked[2, 4] = False  # says a word already
    spread = layer.project(torch.randn(2, 3, 3), pieces)
    assert layer(embedded, masked, spread, *shape).equal(embedded)  # at first
    axes = torch.randn(4, 2)
    layer.begin_with(axes)
    found = layer(embedded, masked, layer.project(torch.randn(2, 3, 3), pieces), *shape)
    added = found - embedded
    # Source positions: 0 0 0 1 1 1 2 2; 0 1 2; 0 0 0 1 1; 0.
    places = [{1: 0, 4: 1, 7: 2}, {0: 0, 1: 1, 2: 2}, {1: 0}, {0: 0}]
    for row, own in enumerate(places):
        for position in range(int(shape[2][row])):
            expected = torch.zeros(2)
            if position in own:
                expected = pieces[row // 2, own[position]] @ axes
            torch.testing.assert_close(added[row, position], expected)
    with pytest.raises(AbNetError, match="must be of a target BERT of width 2, but is of one of w"):
        layer.begin_with(torch.randn(4, 3))


@pytest.mark.parametrize("system", ["abnet_dag", "abnet_ctc", "abnet"])
@pytest.mark.parametrize("frames", [1, 2, 3])
@pytest.mark.parametrize("keep_cls", [False, True])
def test_padding_changes_no_gloss(toys: Toys, system: str, frames: int, keep_cls: bool) -> None:
    options = {"gloss_source": True, "spread_source": True, "keep_cls": keep_cls}
    model = lively_model(system, toys, frames_per_piece=frames, **options)
    assert model.decoder.spread is not None
    assert model.decoder.spread.gloss is not None
    source = small_pairs(model).source
    frame = make_frames(model, source)
    counts = frame.ne(model.target_symbols.pad).sum(dim=1)
    torch.nn.init.zeros_(model.decoder.spread.gloss.weight)
    without = model.decoder.hidden(frame, model.project(model.encode(source)))
    torch.nn.init.normal_(model.decoder.spread.gloss.weight)
    together = model.decoder.hidden(frame, model.project(model.encode(source)))
    assert not torch.allclose(together[0, : counts[0]], without[0, : counts[0]], atol=1e-3)
    for row, count, states in zip(source, counts, together, strict=True):
        alone = row[: int(row.ne(model.source_symbols.pad).sum())][None]
        single = model.decoder.hidden(make_frames(model, alone), model.project(model.encode(alone)))
        torch.testing.assert_close(single[0], states[:count], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("changes", "needed"),
    [
        ({"spread_source": False}, "spread_source"),
        ({"lexical_adapter_dim": 0}, "lexical_adapter_dim"),
        ({"decoder": "transformer"}, 'decoder="bert"'),
    ],
)
def test_a_gloss_needs_vectors_and_a_bert(
    toys: Toys, changes: dict[str, object], needed: str
) -> None:
    with pytest.raises(AbNetError, match=f"`gloss_source` needs `{needed}`"):
        small_config("abnet_dag", toys, gloss_source=True, **changes)


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
