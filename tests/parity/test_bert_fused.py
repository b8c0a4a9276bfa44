"""BERT-Fused against its formulas, in evaluation and under drop-net."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoModel

from abnet.model import AbNet
from tests.parity import reference_bert_fused as reference
from tests.systems import Toys, lively_model, small_pairs

CHOICES = [
    ("bert_fused", False, "post"),
    ("bert_fused", False, "pre"),
    ("bert_fused_nat", False, "pre"),
    ("bert_fused_nat", True, "post"),
]


def sentences(ids: torch.Tensor, pad: int) -> list[torch.Tensor]:
    return [row[row.ne(pad)] for row in ids]


def expected(model: AbNet, toys: Toys, shares: list[float]) -> list[torch.Tensor]:
    """Logits of each sentence, alone and unpadded, with the BERT as transformers runs it."""
    bert = AutoModel.from_pretrained(toys.german).eval()
    pairs = small_pairs(model)
    layers = len(model.encoder.backbone.layers)
    logits = []
    for source, target in zip(
        sentences(pairs.source, model.source_symbols.pad),
        sentences(pairs.target, model.target_symbols.pad),
        strict=True,
    ):
        if model.config.keep_cls:
            source = torch.cat([source.new_tensor([model.source_symbols.cls]), source])
            target = torch.cat([target.new_tensor([model.target_symbols.cls]), target])
        states = bert(source[None]).last_hidden_state[0]
        memory = reference.encode(model, source, states, shares[:layers])
        if model.encoder.length is not None:
            memory = memory[1:]
        found = reference.decode(model, target, memory, states, shares[layers:])
        logits.append(found[int(model.config.keep_cls) :])
    return logits


def actual(model: AbNet) -> torch.Tensor:
    pairs = small_pairs(model)
    return model(pairs.source, pairs.target, pairs.target.ne(model.target_symbols.pad)).word_logits


@torch.no_grad()
@pytest.mark.parametrize(("name", "keep_cls", "norm"), CHOICES)
def test_evaluation_takes_the_mean_and_padding_changes_nothing(
    toys: Toys, name: str, keep_cls: bool, norm: str
) -> None:
    model = lively_model(name, toys, keep_cls=keep_cls, transformer_norm=norm)
    wanted = torch.cat(expected(model, toys, [0.5] * 4))
    torch.testing.assert_close(actual(model), wanted, atol=1e-4, rtol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("name", ["bert_fused", "bert_fused_nat"])
def test_drop_net_keeps_one_attention_a_layer(toys: Toys, name: str) -> None:
    model = lively_model(name, toys, drop_net=0.8).train()  # no other dropout
    seen = set()
    for seed in range(4):
        torch.manual_seed(seed)
        shares = [
            1.0 if drawn < 0.4 else 0.0 if drawn >= 0.6 else 0.5 for drawn in torch.rand(4).tolist()
        ]
        seen.update(shares)
        torch.manual_seed(seed)
        wanted = torch.cat(expected(model, toys, shares))
        torch.manual_seed(seed)
        torch.testing.assert_close(actual(model), wanted, atol=1e-4, rtol=1e-4)
    assert seen == {0.0, 0.5, 1.0}
