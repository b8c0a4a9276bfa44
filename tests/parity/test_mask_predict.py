"""Batched Mask-Predict equals the obvious loop, token for token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from abnet.config import AbNetConfig
from abnet.decoder import Memory
from abnet.decoding import candidates, selection
from abnet.decoding import mask_predict as loop
from abnet.decoding.candidates import Candidates, Results, on_device
from abnet.decoding.compiling import Bucketed, power_of_two
from abnet.decoding.ensemble import Ensemble
from abnet.decoding.hypothesis import Hypothesis
from abnet.decoding.mask_predict import DecodingOptions, mask_predict
from abnet.errors import AbNetError
from abnet.model import AbNet
from tests.batches import batch
from tests.parity import reference_mask_predict as reference
from tests.parity.waits import LIST, Waits
from tests.tiny import GERMAN

LINES = [*GERMAN, "Hund", "", "ein Hund und ein Mann , und das Mädchen am Strand heute Abend ."]


def lines_for(options: DecodingOptions) -> list[str]:
    """All, or a third where the reference scores every token by itself."""
    return LINES[::3] if options.rescore_weight else LINES


@pytest.fixture
def lively_model(tiny_model: AbNet) -> AbNet:
    """Predictions that differ from place to place and change from pass to pass.

    In 64 bits, so that no near-tie is decided by the shape of a batch.
    """
    return enliven(tiny_model, 7)


@pytest.fixture
def another_model(tiny_config: AbNetConfig) -> AbNet:
    """Of another shape, other weights, and fewer lengths, with the source spread through."""
    torch.manual_seed(4)
    changes = {
        "encoder_adapter_dim": 8,
        "keep_cls": True,
        "length_classes": 40,
        "spread_source": True,
    }
    return enliven(AbNet.from_pretrained(replace(tiny_config, **changes)).eval(), 8)


def enliven(model: AbNet, seed: int) -> AbNet:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.decoder.named_parameters():
            if "position_embeddings" in name or "word_embeddings" in name:
                weight.normal_(std=1.0, generator=generator)
            if "spread.projection" in name:
                weight.normal_(generator=generator)
            if "self.query" in name or "self.key" in name:
                weight.mul_(4.0)  # sharp self-attention: a token looks at few others
            if "attention.out_proj.weight" in name:
                # Larger still, and all positions would see the same source.
                torch.nn.init.xavier_uniform_(weight, gain=1.2, generator=generator)
    return model.double()


def check(ours: Hypothesis, theirs: reference.Reference) -> None:
    assert ours.tokens.tolist() == theirs.tokens
    torch.testing.assert_close(ours.token_scores.tolist(), theirs.token_scores, atol=1e-4, rtol=0)
    assert ours.score == pytest.approx(theirs.score, abs=1e-4)
    assert ours.passes == theirs.passes
    assert [tokens.tolist() for tokens in ours.history] == theirs.history


def test_a_spread_source_equals_the_reference_loop(another_model: AbNet) -> None:
    options = DecodingOptions(patience=1, keep_history=True)
    assert another_model.source_tokenizer is not None
    source = batch(another_model.source_tokenizer, LINES)
    found = mask_predict(another_model, source, options)
    for [ours], row in zip(found, source, strict=True):
        words = row[row.ne(another_model.source_symbols.pad)]
        check(ours, reference.translate([another_model], words, options)[0])
    assert len({ours.passes for [ours] in found}) > 1  # some leave the batch before others


@pytest.mark.parametrize(
    "options",
    [
        DecodingOptions(iterations=1, length_beam=1),
        DecodingOptions(iterations=4, length_beam=3),
        DecodingOptions(),
        DecodingOptions(length_penalty=0.0, force_max_iterations=True),
        DecodingOptions(iterations=7, length_beam=2, length_penalty=2, force_max_iterations=True),
        DecodingOptions(patience=1),
        DecodingOptions(iterations=8, patience=3, ban_repeats=True),
        DecodingOptions(length_weight=0.7),
        DecodingOptions(iterations=2, lm_weight=0.4, length_penalty=0.8),
        DecodingOptions(iterations=6, prune_after=1, prune_keep=2, lm_weight=1, length_weight=0.1),
        DecodingOptions(iterations=3, rescore_weight=0.7, length_weight=0.1, length_penalty=0.9),
        DecodingOptions(iterations=6, prune_after=1, prune_keep=2, rescore_weight=1, lm_weight=0.1),
        DecodingOptions(iterations=6, repredict=True),
        DecodingOptions(iterations=6, ban_repeats=True),
        DecodingOptions(iterations=6, ban_repeats=True, repredict=True, length_weight=-0.2),
        DecodingOptions(iterations=6, prune_after=2, prune_keep=2, patience=1),
        DecodingOptions(iterations=6, prune_after=1, prune_margin=0.05, force_max_iterations=True),
        DecodingOptions(iterations=6, confidence=0.5, force_max_iterations=True),
        DecodingOptions(
            iterations=6,
            confidence=0.3,
            prune_after=3,
            prune_keep=3,
            prune_margin=0.2,
            length_weight=0.1,
            length_penalty=0.5,
        ),
    ],
)
def test_equals_the_reference_loop(lively_model: AbNet, options: DecodingOptions) -> None:
    assert lively_model.source_tokenizer is not None
    source = batch(lively_model.source_tokenizer, lines_for(options))
    options = replace(options, n_best=options.length_beam, keep_history=True)
    results = mask_predict(lively_model, source, options)
    assert len(results) == len(source)
    changes = 0
    for row, ours in zip(source, results, strict=True):
        alone = row[row.ne(lively_model.source_symbols.pad)]
        theirs = reference.translate([lively_model], alone, options)
        assert len(ours) == options.length_beam
        for hypothesis, expected in zip(ours, theirs, strict=True):
            check(hypothesis, expected)
            changes += sum(
                a != b for a, b in zip(expected.history, expected.history[1:], strict=False)
            )
    if options.iterations > 1:
        assert changes > 5  # the passes after the first do something in this test


@pytest.mark.parametrize(
    "options",
    [
        DecodingOptions(iterations=5, length_beam=3, length_weight=0.7),
        DecodingOptions(iterations=4, length_beam=2, ban_repeats=True, repredict=True),
        DecodingOptions(iterations=2, length_beam=3, lm_weight=0.4),
        DecodingOptions(iterations=6, patience=1, rescore_weight=2.0),
    ],
)
def test_an_ensemble_equals_the_reference_loop(
    lively_model: AbNet, another_model: AbNet, options: DecodingOptions
) -> None:
    models = [lively_model, another_model]
    assert lively_model.source_tokenizer is not None
    source = batch(lively_model.source_tokenizer, lines_for(options))
    options = replace(options, n_best=options.length_beam, keep_history=True)
    results = mask_predict(Ensemble(models), source, options)
    alone = [mask_predict(model, source, options) for model in models]
    for number, row in enumerate(source):
        words = row[row.ne(lively_model.source_symbols.pad)]
        theirs = reference.translate(models, words, options)
        for hypothesis, expected in zip(results[number], theirs, strict=True):
            check(hypothesis, expected)
    for one in alone:
        same = [a[0].tokens.equal(b[0].tokens) for a, b in zip(results, one, strict=True)]
        assert sum(same) < len(source) / 2  # both models have a say


def test_parts_of_the_logits_change_nothing(
    lively_model: AbNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert lively_model.source_tokenizer is not None
    source = batch(lively_model.source_tokenizer, LINES)
    for options in (DecodingOptions(n_best=4), DecodingOptions(n_best=4, ban_repeats=True)):
        expected = mask_predict(lively_model, source, options)
        with monkeypatch.context() as patch:
            patch.setattr(selection, "POSITIONS_AT_ONCE", 7)
            found = mask_predict(lively_model, source, options)
        for ours, theirs in zip(found, expected, strict=True):
            for one, other in zip(ours, theirs, strict=True):
                assert one.tokens.tolist() == other.tokens.tolist()
                torch.testing.assert_close(one.token_scores, other.token_scores)


def test_candidates_that_are_done_leave_the_batch(
    lively_model: AbNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The decoder runs each candidate as often as it needs, and no wider than the longest left."""
    assert lively_model.source_tokenizer is not None
    source = batch(lively_model.source_tokenizer, LINES)
    shapes = []
    states = lively_model.decoder.states

    def spy(target: Tensor, memory: Memory, positions: Tensor) -> Tensor:
        shapes.append(target.shape)
        assert target.ne(lively_model.target_symbols.pad).any(dim=0).all()
        return states(target, memory, positions)

    monkeypatch.setattr(lively_model.decoder, "states", spy)
    found = mask_predict(lively_model, source, DecodingOptions(n_best=4, patience=1))
    passes = [hypothesis.passes for hypotheses in found for hypothesis in hypotheses]
    assert sum(rows for rows, _ in shapes) == sum(passes)
    assert len({rows for rows, _ in shapes}) > 2
    assert any(rows % 4 for rows, _ in shapes)
    assert min(passes) < max(passes)


@pytest.mark.parametrize(
    "options", [DecodingOptions(patience=1), DecodingOptions(ban_repeats=True, repredict=True)]
)
def test_nothing_in_a_pass_waits_for_an_accelerator(
    lively_model: AbNet, options: DecodingOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But the one list of who is done, which every pass but the last has."""
    assert lively_model.source_tokenizer is not None
    source = batch(lively_model.source_tokenizer, LINES)
    waits = Waits()
    weakest, best = Candidates.weakest, Results.best

    def begin(*args: Any) -> Any:  # what the loop calls first
        waits.watching = True
        return weakest(*args)

    def end(*args: Any) -> Any:
        waits.watching = False
        return best(*args)

    def unseen(numbers: Sequence[int], device: torch.device) -> Tensor:
        waits.watching = False
        found = on_device(numbers, device)
        waits.watching = True
        return found

    waits.watching = False
    monkeypatch.setattr(Candidates, "weakest", begin)
    monkeypatch.setattr(Results, "best", end)
    for module in (candidates, loop):
        monkeypatch.setattr(module, "on_device", unseen)
    with waits:
        mask_predict(lively_model, source, options)
    assert waits.found == [LIST] * (options.iterations - 1)


def test_a_compiled_decoder_changes_nothing(lively_model: AbNet) -> None:
    """The shapes it is run at are larger; torch's own code generation is not at issue here."""
    assert lively_model.source_tokenizer is not None
    source = batch(lively_model.source_tokenizer, LINES)
    many = [
        DecodingOptions(n_best=4, patience=1, rescore_weight=1.0),
        DecodingOptions(length_beam=3, iterations=3),
    ]
    expected = [mask_predict(lively_model, source, options) for options in many]
    shapes = set()

    def run(target: Tensor, memory: Memory) -> Tensor:
        shapes.add((*target.shape, *memory.visible.shape))
        return lively_model.decoder.hidden(target, memory)

    lively_model.decoder.fast = Bucketed(lively_model.decoder, run)
    for options, wanted in zip(many, expected, strict=True):
        found = mask_predict(lively_model, source, options)
        for ours, theirs in zip(found, wanted, strict=True):
            assert [one.tokens.tolist() for one in ours] == [one.tokens.tolist() for one in theirs]
            assert [one.passes for one in ours] == [one.passes for one in theirs]
            assert [one.score for one in ours] == pytest.approx([one.score for one in theirs])
    longest = lively_model.decoder.max_positions
    for rows, length, sentences, _, _, source_length in shapes:
        assert sentences == power_of_two(sentences)
        assert rows % sentences == 0
        assert length % 8 == 0 or length == longest
        assert source_length % 16 == 0


def test_sentences_stop_early_and_at_different_passes(lively_model: AbNet) -> None:
    assert lively_model.source_tokenizer is not None
    source = batch(lively_model.source_tokenizer, LINES)
    results = mask_predict(lively_model, source, DecodingOptions(length_beam=1, patience=1))
    passes = {hypotheses[0].passes for hypotheses in results}
    assert min(passes) < 10
    assert len(passes) > 1


@pytest.mark.parametrize("repredict", [False, True])
def test_options_change_what_they_are_for(lively_model: AbNet, repredict: bool) -> None:
    assert lively_model.source_tokenizer is not None
    source = batch(lively_model.source_tokenizer, LINES)

    def repeats(**options: Any) -> int:
        found = mask_predict(lively_model, source, DecodingOptions(repredict=repredict, **options))
        return sum(int(h.tokens[1:].eq(h.tokens[:-1]).sum()) for (h,) in found)

    assert repeats(ban_repeats=True) < repeats() / 2

    by_length = DecodingOptions(repredict=repredict, length_weight=1e6)
    lengths = lively_model.predict_length(lively_model.encode(source), 1).lengths[:, 0]
    found = mask_predict(lively_model, source, by_length)
    assert [len(h.tokens) for (h,) in found] == lengths.tolist()


def test_an_empty_batch_and_no_batch(lively_model: AbNet) -> None:
    assert lively_model.source_tokenizer is not None
    source = batch(lively_model.source_tokenizer, LINES)
    assert mask_predict(lively_model, source[:0], DecodingOptions()) == []
    with pytest.raises(AbNetError, match=r"of the shape \(B, S\), but has 1 dimensions instead"):
        mask_predict(lively_model, source[0], DecodingOptions())


def test_gold_lengths_are_kept(lively_model: AbNet) -> None:
    assert lively_model.source_tokenizer is not None
    source = batch(lively_model.source_tokenizer, LINES)
    gold = torch.arange(2, 2 + len(LINES))
    found = mask_predict(lively_model, source, DecodingOptions(length_beam=1), gold)
    assert [len(h.tokens) for (h,) in found] == gold.tolist()
    for (hypothesis,) in found:
        mean = float(hypothesis.token_scores.mean())
        assert hypothesis.score == pytest.approx(mean, abs=1e-6)


def test_a_permuted_batch_gives_permuted_output(lively_model: AbNet) -> None:
    assert lively_model.source_tokenizer is not None
    source = batch(lively_model.source_tokenizer, LINES)
    order = torch.randperm(len(LINES), generator=torch.Generator().manual_seed(5))
    straight = mask_predict(lively_model, source, DecodingOptions())
    permuted = mask_predict(lively_model, source[order], DecodingOptions())
    for place, row in enumerate(order.tolist()):
        assert permuted[place][0].tokens.tolist() == straight[row][0].tokens.tolist()


def test_banned_symbols_never_appear(lively_model: AbNet) -> None:
    symbols = lively_model.target_symbols
    with torch.no_grad():  # a head that loves what is banned
        bias = lively_model.decoder.lm_head.get_parameter("bias")
        bias[[symbols.pad, symbols.mask, symbols.cls, symbols.sep]] += 1000.0
    assert lively_model.source_tokenizer is not None
    source = batch(lively_model.source_tokenizer, LINES)
    for hypotheses in mask_predict(lively_model, source, DecodingOptions(n_best=4)):
        for hypothesis in hypotheses:
            tokens = hypothesis.tokens.tolist()
            assert not {symbols.pad, symbols.mask, symbols.cls} & set(tokens)
            assert symbols.sep not in tokens[:-1]
            assert tokens[-1] == symbols.sep
