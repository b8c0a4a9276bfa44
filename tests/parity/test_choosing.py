"""What chooses among the candidates of Mask-Predict, beside its own probabilities."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from abnet.config import AbNetConfig
from abnet.decoding import likelihood
from abnet.decoding.fluency import pseudo_log_likelihood
from abnet.decoding.likelihood import given_the_source
from abnet.decoding.mask_predict import DecodingOptions, mask_predict
from abnet.errors import AbNetError
from abnet.model import AbNet
from tests.batches import batch
from tests.parity.test_mask_predict import LINES, enliven
from tests.tiny import ENGLISH


@pytest.fixture
def lively_model(tiny_model: AbNet) -> AbNet:
    """Predictions that differ from place to place and change from pass to pass."""
    return enliven(tiny_model, 7)


def test_the_target_bert_chooses_among_lengths(lively_model: AbNet) -> None:
    assert lively_model.source_tokenizer is not None
    source = batch(lively_model.source_tokenizer, LINES)
    options = DecodingOptions(n_best=4)
    found = mask_predict(lively_model, source, replace(options, lm_weight=1e6))
    for own in found:
        fluency = [fluency_of(lively_model, one.tokens) / len(one.tokens) for one in own]
        assert fluency == sorted(fluency, reverse=True)
    plain = mask_predict(lively_model, source, options)
    assert any(not a.tokens.equal(b.tokens) for (a, *_), (b, *_) in zip(found, plain, strict=True))


def test_candidates_are_rescored_as_they_came_out(lively_model: AbNet) -> None:
    """Also those that left the batch early. A huge weight leaves nothing else a say."""
    assert lively_model.source_tokenizer is not None
    source = batch(lively_model.source_tokenizer, LINES)
    options = DecodingOptions(n_best=4)
    found = mask_predict(lively_model, source, replace(options, rescore_weight=1e6))
    assert len({one.passes for own in found for one in own}) > 1
    pad = lively_model.target_symbols.pad
    for row, own in zip(source, found, strict=True):
        alone = row[row.ne(lively_model.source_symbols.pad)][None]
        memory = lively_model.project(lively_model.encode(alone))
        target = pad_sequence([one.tokens for one in own], batch_first=True, padding_value=pad)
        with torch.inference_mode():
            found_likely = given_the_source(lively_model, memory, target)
        means = (found_likely / target.ne(pad).sum(dim=1)).tolist()
        assert means == sorted(means, reverse=True)
    plain = mask_predict(lively_model, source, options)
    assert any(not a.tokens.equal(b.tokens) for (a, *_), (b, *_) in zip(found, plain, strict=True))
    with pytest.raises(AbNetError, match="`length_beam` must be at least 2 with `rescore_weight`"):
        DecodingOptions(length_beam=1, rescore_weight=1.0)


def test_a_likelihood_is_the_same_in_parts(
    lively_model: AbNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert lively_model.source_tokenizer is not None
    assert lively_model.target_tokenizer is not None
    source = batch(lively_model.source_tokenizer, LINES[:2])
    target = batch(lively_model.target_tokenizer, ENGLISH[:4])  # two candidates a sentence
    with torch.inference_mode():
        memory = lively_model.project(lively_model.encode(source))
        whole = given_the_source(lively_model, memory, target)
        monkeypatch.setattr(likelihood, "TOKENS_AT_ONCE", 3 * target.numel())
        parts = given_the_source(lively_model, memory, target)
        torch.testing.assert_close(parts, whole)


def fluency_of(model: AbNet, tokens: Tensor) -> float:
    symbols = model.target_symbols
    words = tokens[tokens.ne(symbols.sep)]
    return float(pseudo_log_likelihood(model, F.pad(words, (0, 1), value=symbols.sep)[None])[0])


def test_a_translation_that_fills_all_positions_is_read(tiny_config: AbNetConfig) -> None:
    """Before it the BERT alone reads a [CLS], for which there would be no room."""
    model = AbNet.from_pretrained(replace(tiny_config, length_classes=512)).eval()
    longest = model.max_target_positions
    assert longest == model.decoder.backbone.max_positions
    assert model.source_tokenizer is not None
    source = batch(model.source_tokenizer, LINES[:1])
    options, gold = DecodingOptions(iterations=1), torch.tensor([longest])
    [[plain]] = mask_predict(model, source, options, gold)
    [[read]] = mask_predict(model, source, replace(options, lm_weight=1.0), gold)
    assert read.tokens.equal(plain.tokens)
    fluency = float(pseudo_log_likelihood(model, read.tokens[None, :-1])[0])
    assert read.score == pytest.approx(plain.score + fluency / longest, rel=1e-5)


def test_a_target_bert_that_was_trained_does_not_choose(tiny_config: AbNetConfig) -> None:
    model = AbNet.from_pretrained(replace(tiny_config, train_head="bias")).eval()
    assert model.source_tokenizer is not None
    source = batch(model.source_tokenizer, LINES[:1])
    with pytest.raises(AbNetError, match="`lm_weight` must be 0 for this system: its target BERT"):
        mask_predict(model, source, DecodingOptions(lm_weight=0.3))
    with pytest.raises(AbNetError, match="`length_beam` must be at least 2 with `lm_weight`"):
        DecodingOptions(length_beam=1, lm_weight=0.3)
    with pytest.raises(AbNetError, match="`lm_weight` must be a finite number, but is inf"):
        DecodingOptions(lm_weight=float("inf"))
