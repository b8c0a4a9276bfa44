"""With adapters that change nothing, the stacks are Hugging Face's own models."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForMaskedLM

from abnet.backbone import load_backbone
from abnet.config import AbNetConfig
from abnet.model import AbNet
from tests.batches import batch
from tests.conftest import TinyBerts
from tests.tiny import ENGLISH, GERMAN, make_bert


@pytest.mark.parametrize(
    "kind", ["bert", "roberta", "roberta-prelayernorm", "electra", "distilbert"]
)
def test_backbone_equals_the_masked_lm(tmp_path: Path, kind: str) -> None:
    folder = str(make_bert(tmp_path / kind, ENGLISH, seed=4, kind=kind))
    ours = load_backbone(folder, with_head=True, dropout=0.0).eval()
    theirs = AutoModelForMaskedLM.from_pretrained(folder).eval()
    ids = torch.randint(5, ours.vocab_size, (3, 11), generator=torch.Generator().manual_seed(0))
    hidden = ours.embed(ids)
    mask = torch.zeros(3, 1, 1, 11)
    for layer in ours.layers:
        hidden = layer(hidden, attention_mask=mask)
    assert ours.lm_head is not None
    with torch.no_grad():
        logits = ours.lm_head(ours.final_norm(hidden))
        torch.testing.assert_close(logits, theirs(ids).logits)
        if ours.halves is None:
            return
        halved = ours.embed(ids)
        for layer in ours.layers:
            halved = ours.halves.feed_forward(layer, ours.halves.attend(layer, halved, mask, None))
        torch.testing.assert_close(ours.lm_head(ours.final_norm(halved)), logits)


@pytest.mark.parametrize("keep_cls", [False, True])
def test_identity_adapters_leave_the_decoder_a_bert(tiny_berts: TinyBerts, keep_cls: bool) -> None:
    config = AbNetConfig(*tiny_berts, encoder_adapter_dim=16, keep_cls=keep_cls)
    model = AbNet.from_pretrained(config).eval()
    assert model.source_tokenizer is not None
    assert model.target_tokenizer is not None
    source = batch(model.source_tokenizer, GERMAN)
    target = batch(model.target_tokenizer, ENGLISH)
    words = target.ne(model.target_symbols.pad)
    theirs = AutoModelForMaskedLM.from_pretrained(tiny_berts.english).eval()
    inputs, mask = target, words
    if keep_cls:
        inputs = torch.cat([torch.full((len(target), 1), model.target_symbols.cls), target], dim=1)
        mask = torch.cat([torch.ones(len(target), 1, dtype=torch.bool), words], dim=1)
    with torch.no_grad():
        expected = theirs(inputs, attention_mask=mask).logits
        ours = model(source, target, words).word_logits
    torch.testing.assert_close(ours, expected[:, int(keep_cls) :][words])


def test_identity_adapters_leave_the_encoder_a_bert_that_also_sees_length(
    tiny_berts: TinyBerts,
) -> None:
    """[LENGTH] in front, without a position: Hugging Face's model run on such embeddings."""
    model = AbNet.from_pretrained(AbNetConfig(*tiny_berts, encoder_adapter_dim=16)).eval()
    assert model.source_tokenizer is not None
    source = batch(model.source_tokenizer, GERMAN)
    theirs = AutoModelForMaskedLM.from_pretrained(tiny_berts.german).eval().bert
    vector = model.encoder.length.table.weight[0].expand(len(source), 1, -1)
    words = source.ne(model.source_symbols.pad)
    seen = torch.cat([torch.ones(len(source), 1, dtype=torch.bool), words], dim=1)
    with torch.no_grad():
        hidden = torch.cat([vector, theirs.embeddings(source)], dim=1)
        bias = torch.zeros(seen.shape).masked_fill(~seen, -1e9)[:, None, None, :]
        for layer in theirs.encoder.layer:
            hidden = layer(hidden, attention_mask=bias)
        encoded = model.encode(source)
    torch.testing.assert_close(encoded.memory[words], hidden[:, 1:][words])
    logits = hidden[:, 0] @ model.encoder.length.table.weight.t()
    torch.testing.assert_close(encoded.length_logits[:, 1:], logits[:, 1:])
