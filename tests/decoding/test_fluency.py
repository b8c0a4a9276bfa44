"""Pseudo-log-likelihoods, against transformers' own masked language model."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForMaskedLM

from abnet.decoding.fluency import pseudo_log_likelihood, read_alone
from abnet.model import AbNet
from tests.batches import batch
from tests.systems import Toys, lively_model
from tests.tiny import ENGLISH


@torch.inference_mode()
def by_transformers(folder: str, model: AbNet, ids: list[int]) -> float:
    """Of one sentence: `[CLS] words [SEP]` with every fourth word hidden, four times."""
    bert = AutoModelForMaskedLM.from_pretrained(folder).eval()
    symbols = model.target_symbols
    total = 0.0
    for own in range(4):
        hidden = range(own, len(ids), 4)
        shown = [symbols.mask if at in hidden else id for at, id in enumerate(ids)]
        logits: Tensor = bert(torch.tensor([[symbols.cls, *shown, symbols.sep]])).logits[0]
        log_probs = logits.log_softmax(dim=1)
        total += sum(float(log_probs[at + 1, ids[at]]) for at in hidden)
    return total


@torch.inference_mode()
@pytest.mark.parametrize("keep_cls", [False, True])
def test_it_is_that_of_the_bert_alone(toys: Toys, keep_cls: bool) -> None:
    model = lively_model("abnet_dag", toys, keep_cls=keep_cls)
    assert model.target_tokenizer is not None
    target = batch(model.target_tokenizer, ENGLISH)
    found = pseudo_log_likelihood(model, target)
    for row, value in zip(target, found.tolist(), strict=True):
        ids = [
            id
            for id in row.tolist()
            if id not in (model.target_symbols.pad, model.target_symbols.sep)
        ]
        assert value == pytest.approx(by_transformers(toys.english, model, ids), rel=1e-4)
    assert len({round(value) for value in found.tolist()}) > 3


@torch.inference_mode()
def test_many_words_are_read_in_parts(toys: Toys, monkeypatch: pytest.MonkeyPatch) -> None:
    model = lively_model("abnet_dag", toys)
    assert model.target_tokenizer is not None
    target = batch(model.target_tokenizer, ENGLISH)
    whole = pseudo_log_likelihood(model, target)
    monkeypatch.setattr("abnet.decoding.likelihood.WORDS_AT_ONCE", 7)
    torch.testing.assert_close(pseudo_log_likelihood(model, target), whole)


@torch.inference_mode()
def test_translations_are_read_with_and_without_their_end(toys: Toys) -> None:
    model = lively_model("abnet_dag", toys)
    assert model.target_tokenizer is not None
    ended = batch(model.target_tokenizer, ENGLISH[:1])
    [own] = pseudo_log_likelihood(model, ended)
    words = ended[0, :-1]
    found = read_alone(model, [words, ended[0], words[:0]], torch.device("cpu"))
    torch.testing.assert_close(found, torch.stack([own, own, torch.tensor(0.0)]))
