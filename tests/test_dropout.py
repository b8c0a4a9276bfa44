"""Where dropout acts: each place has the probability of the option that it belongs to."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from abnet.adapters import CrossAttention
from tests.systems import Toys, small_model


def found(model: nn.Module) -> set[float]:
    """The probabilities of all dropouts in it."""
    return {
        module.p if isinstance(module, nn.Dropout) else module.dropout
        for module in model.modules()
        if isinstance(module, nn.Dropout | CrossAttention)
    }


def test_adapters_have_theirs_and_berts_theirs(toys: Toys) -> None:
    model = small_model("abnet", toys, adapter_dropout=0.25, bert_dropout=0.125)
    assert {nn.Dropout, CrossAttention} <= {type(one) for one in model.decoder.adapters.modules()}
    assert found(model.decoder.adapters) == {0.25}
    for side in (model.encoder.backbone, model.decoder.backbone):
        assert found(side) == {0.125}
        for layer in side.layers:
            assert layer.attention.self.dropout.p == 0.125


@pytest.mark.parametrize("system", ["mask_predict", "bert_fused"])
def test_what_is_from_scratch_has_its_own(system: str, toys: Toys) -> None:
    model = small_model(system, toys, transformer_dropout=0.375)
    for side in (model.encoder.backbone, model.decoder.backbone):
        assert found(side.layers) == {0.375}
    for adapters in (model.encoder.adapters, model.decoder.adapters):
        if len(adapters):
            assert found(adapters) == {0.375}


def test_attention_drops_some_of_its_weights_while_training() -> None:
    torch.manual_seed(1)
    attention = CrossAttention(width=8, memory_width=8, heads=2, dropout=0.5, identity=False)
    states, memory = torch.randn(1, 3, 8), torch.randn(1, 5, 8)
    visible = torch.ones(1, 1, 1, 5, dtype=torch.bool)

    def attend() -> torch.Tensor:
        return attention(states, attention.project(memory), visible)

    assert not attend().equal(attend())
    attention.eval()
    assert attend().equal(attend())
