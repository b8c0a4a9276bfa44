"""Every system at toy size."""

from __future__ import annotations

from typing import Any

import torch

from abnet.config import AbNetConfig
from abnet.model import AbNet
from abnet.objective import Pairs
from abnet.systems import SYSTEMS
from tests.batches import batch
from tests.conftest import TinyBerts
from tests.tiny import ENGLISH, GERMAN

SMALL: dict[str, Any] = {
    "encoder_adapter_dim": 8,
    "transformer_encoder_layers": 2,
    "transformer_decoder_layers": 2,
    "transformer_dim": 16,
    "transformer_ffn_dim": 32,
    "transformer_heads": 4,
    "transformer_dropout": 0.0,
    "bert_dropout": 0.0,
    "adapter_dropout": 0.0,
    "length_classes": 48,
}


def small_config(name: str, berts: TinyBerts, **changes: Any) -> AbNetConfig:
    """A system of `abnet.systems`, German to English, without dropout."""
    options = SYSTEMS[name].options
    fewer: dict[str, Any] = {
        layers: 2
        for layers in ("encoder_adapter_layers", "decoder_adapter_layers")
        if options.get(layers)
    }
    if options.get("decoder_adapter_ffn_dim"):
        fewer["decoder_adapter_ffn_dim"] = 8
    target = berts.german if options.get("share_bert") else berts.english
    return AbNetConfig.from_preset(
        name, source_bert=berts.german, target_bert=target, **{**SMALL, **fewer, **changes}
    )


def small_model(name: str, berts: TinyBerts, **changes: Any) -> AbNet:
    """The model of `small_config`, its new weights always the same."""
    torch.manual_seed(3)
    return AbNet.from_pretrained(small_config(name, berts, **changes))


def small_pairs(model: AbNet) -> Pairs:
    """Eight German sentences and their translations."""
    source, target = model.source_tokenizer, model.target_tokenizer
    assert source is not None
    assert target is not None
    return Pairs(
        batch(source, GERMAN),
        batch(target, ENGLISH),
        len(source.vocabulary),
        len(target.vocabulary),
    )
