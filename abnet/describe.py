"""Counts the parameters of a model by part, without its weights."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn

from abnet.backbone import Backbone, shape_backbone
from abnet.builders import Vocabulary, build_backbones, build_decoder, build_encoder
from abnet.config import AbNetConfig
from abnet.model import AbNet
from abnet.shapes import bert_shape
from abnet.tokenizer import SymbolIds


class Description(NamedTuple):
    """Numbers of parameters.

    Attributes:
        total_parameters: frozen and trained.
        trained_parameters: what the optimizer updates and a checkpoint holds.
        trained, frozen: by part: source (BERT or Transformer), encoder_adapters, lexical_adapter,
            length, target, decoder_adapters (cross-attention), source_spread, ctc_blank, dag_links;
            what both sides share counts as the source's. With BERT-Fused and CT-NMT source_bert is
            their BERT, and the adapters' parts are the switch or all that attends to it and, in the
            decoder, to the encoder.
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
    symbols = SymbolIds(pad=0, unk=1, cls=2, sep=3, mask=4)  # their values do not matter here
    source, target = (
        Vocabulary(bert_shape(config.bert(side)).vocab_size, symbols)
        for side in ("source", "target")
    )
    with torch.device("meta"):
        backbones = build_backbones(config, source, target, _shape)
        encoder = build_encoder(config, backbones, symbols)
        decoder = build_decoder(config, backbones, symbols)
        model = AbNet(config, encoder, decoder)
    parts = {
        "source": backbones.source,
        "source_bert": backbones.fused or nn.Identity(),
        "encoder_adapters": encoder.adapters,
        "lexical_adapter": encoder.lexical or nn.Identity(),
        "length": encoder.length or nn.Identity(),
        "target": backbones.target,
        "decoder_adapters": decoder.adapters,
        "source_spread": decoder.spread or nn.Identity(),
        "ctc_blank": decoder.blank or nn.Identity(),
        "dag_links": decoder.links or nn.Identity(),
    }
    counts: dict[bool, dict[str, int]] = {True: {}, False: {}}
    seen: set[nn.Parameter] = set()
    for part, module in parts.items():
        for parameter in set(module.parameters()) - seen:
            seen.add(parameter)
            found = counts[parameter.requires_grad]
            found[part] = found.get(part, 0) + parameter.numel()
    return Description(
        total_parameters=sum(parameter.numel() for parameter in model.parameters()),
        trained_parameters=sum(counts[True].values()),
        trained=counts[True],
        frozen=counts[False],
    )


def _shape(config: AbNetConfig, side: str) -> Backbone:
    """A BERT's shape."""
    with_head = side == "target" or config.share_bert
    return shape_backbone(bert_shape(config.bert(side)), with_head)
