"""Which options do nothing: held against what they change in models of every kind."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest
import torch

from abnet.config import AbNetConfig
from abnet.config_use import USED, without_effect
from abnet.errors import AbNetError
from abnet.model import AbNet
from abnet.training.objective import training_loss
from tests.systems import Toys, small_config, small_pairs

OTHER: dict[str, Any] = {  # than those of most small systems
    "train": "all",
    "source_weights": "random",
    "target_weights": "random",
    "cross_attention": "inside",
    "encoder_adapter_dim": 12,
    "encoder_adapter_layers": 1,
    "decoder_adapter_layers": 1,
    "decoder_adapter_ffn_dim": 12,
    "decoder_adapter_heads": 1,
    "decoder_adapter_norm": "post",
    "adapter_init": "released",
    "adapter_dropout": 0.4,
    "adapter_attention_dropout": 0.4,
    "bert_dropout": 0.4,
    "transformer_encoder_layers": 3,
    "transformer_decoder_layers": 3,
    "transformer_dim": 24,
    "transformer_ffn_dim": 40,
    "transformer_heads": 2,
    "transformer_dropout": 0.4,
    "transformer_attention_dropout": 0.4,
    "transformer_norm": "pre",
    "drop_net": 0.7,
    "soft_label_top_k": 1,
    "soft_label_temperature": 2.0,
    "soft_label_passes": 2,
    "length_classes": 40,
    "length_loss_weight": 7.0,
    "mask_count": "share",
    "target_noise": "bert",
    "loss_normalization": "target",
    "frames_per_piece": 4,
}
SYSTEMS = (
    "abnet", "abnet_enc_ar", "abnet_dag", "mask_predict", "bert_fused", "ct_nmt", "bert_distilled",
)  # fmt: skip


def test_every_option_that_may_do_nothing_is_tried() -> None:
    assert OTHER.keys() == USED.keys() - {"bert_rate_rise"}  # which the optimizer reads
    assert set(USED) <= {field.name for field in fields(AbNetConfig)}


@pytest.mark.parametrize("system", SYSTEMS)
def test_options_do_nothing_where_they_are_said_to_and_only_there(system: str, toys: Toys) -> None:
    base = small_config(system, toys)
    usual = trace(base)
    assert usual == trace(base)
    tried = 0
    for name, value in OTHER.items():
        try:
            config = small_config(system, toys, **{name: value})
        except AbNetError:
            continue  # refused, which is as well
        if config == base:
            continue
        tried += 1
        assert (trace(config) != usual) == USED[name](config), name
    assert tried > 20


def trace(config: AbNetConfig) -> tuple[list[tuple[str, torch.Size]], float, float]:
    """Names and shapes of what trains, and a training batch's loss and its size."""
    torch.manual_seed(3)
    model = AbNet.from_pretrained(config).train()
    for weight in model.parameters():
        if weight.requires_grad:  # for an adapter that is the identity hides what it does
            weight.data += 0.3 * torch.randn_like(weight)
    trained = [
        (name, weight.shape) for name, weight in model.named_parameters() if weight.requires_grad
    ]
    torch.manual_seed(5)
    generator = torch.Generator().manual_seed(4)
    parts = training_loss(model, model, small_pairs(model), generator, training=True)
    return trained, float(parts.loss.detach()), float(parts.sample_size)


def test_what_does_nothing_is_named_unless_it_is_the_default(toys: Toys) -> None:
    config = AbNetConfig(toys.german, toys.english, transformer_dropout=0.3, bert_dropout=0.2)
    assert without_effect(config) == ["transformer_dropout"]
    assert without_effect(AbNetConfig(toys.german, toys.english)) == []
    alone = AbNetConfig(toys.german, toys.english, bert_rate_rise=5)
    assert without_effect(alone) == ["bert_rate_rise"]
