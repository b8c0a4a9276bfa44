"""Counts the parameters of a model by part, without its weights."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn

from abnet.backbone import shape_backbone
from abnet.config import AbNetConfig
from abnet.model import AbNet, build_decoder, build_encoder
from abnet.shapes import bert_shape
from abnet.tokenizer import SymbolIds


class Description(NamedTuple):
    """Numbers of parameters.

    Attributes:
        total_parameters: frozen and trained.
        trained_parameters: what the optimizer updates and a checkpoint holds.
        trained: by part: encoder_adapters, decoder_adapters, length.
        frozen: by part: source_bert, target_bert.
    """

    total_parameters: int
    trained_parameters: int
    trained: dict[str, int]
    frozen: dict[str, int]


def describe(config: AbNetConfig) -> Description:
    """Counts for a config whose BERTs are built-in shapes, folders or names; needs no weights.

    Raises:
        AbNetError: a BERT's shape is not known, or the adapters do not fit it.
    """
    source = shape_backbone(bert_shape(config.source_bert), with_head=False)
    target = shape_backbone(bert_shape(config.target_bert), with_head=True)
    symbols = SymbolIds(pad=0, unk=1, cls=2, sep=3, mask=4)  # their values do not matter here
    with torch.device("meta"):
        model = AbNet(
            config,
            build_encoder(config, source, symbols),
            build_decoder(config, target, symbols, source.hidden_size),
        )
    trained = {
        "encoder_adapters": _count(model.encoder.adapters),
        "decoder_adapters": _count(model.decoder.adapters),
        "length": _count(model.encoder.length),
    }
    return Description(
        total_parameters=_count(model),
        trained_parameters=sum(p.numel() for p in model.parameters() if p.requires_grad),
        trained=trained,
        frozen={"source_bert": _count(source), "target_bert": _count(target)},
    )


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
