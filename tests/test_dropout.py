"""Where dropout acts: each place has the probability of the option that it belongs to."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from abnet.adapters import CrossAttention
from abnet.config import AbNetConfig
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


def test_attention_weights_of_adapters_may_have_their_own(toys: Toys) -> None:
    choices = {"adapter_dropout": 0.25, "adapter_attention_dropout": 0.5}
    adapters = small_model("abnet", toys, **choices).decoder.adapters
    assert {one.dropout for one in adapters.modules() if isinstance(one, CrossAttention)} == {0.5}
    assert found(adapters) == {0.25, 0.5}
    assert found(small_model("abnet_released_wmt_en_de", toys).decoder.adapters) == {0.0}


@pytest.mark.parametrize("system", ["mask_predict", "bert_fused"])
@pytest.mark.parametrize("norm", ["post", "pre"])
def test_what_is_from_scratch_has_its_own(system: str, norm: str, toys: Toys) -> None:
    rates = {"transformer_dropout": 0.375, "transformer_attention_dropout": 0.25}
    model = small_model(system, toys, **rates, transformer_norm=norm)
    for side in (model.encoder.backbone, model.decoder.backbone):
        assert found(side.layers) == {0.375, 0.25}
        assert {layer.attention.self.dropout.p for layer in side.layers} == {0.25}
    for adapters in (model.encoder.adapters, model.decoder.adapters):
        attentions = [one for one in adapters.modules() if isinstance(one, CrossAttention)]
        assert {one.dropout for one in attentions} <= {0.25}
        if len(adapters):
            assert found(adapters) == {0.375, 0.25}


def test_attention_weights_of_the_papers_baselines() -> None:
    """Fairseq's base and IWSLT shapes drop none, its big ones a tenth; CT-NMT's code a tenth."""
    rates = {
        name: AbNetConfig.from_preset(name, source_bert="a", target_bert="b")
        for name in ("transformer_base", "mask_predict", "transformer_big", "ct_nmt")
    }
    found = {name: config.transformer_attention_dropout for name, config in rates.items()}
    assert found == {
        "transformer_base": 0.0, "mask_predict": 0.0, "transformer_big": 0.1, "ct_nmt": 0.1,
    }  # fmt: skip


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
