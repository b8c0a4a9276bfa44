"""A config's choices to modules: which backbones, adapters and cross-attention a system has."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import nn

from abnet.adapters import CrossAttention, CrossAttentionAdapter, FeedForward, FeedForwardAdapter
from abnet.backbone import (
    Backbone,
    TransformerShape,
    load_backbone,
    load_bert_config,
    random_backbone,
    transformer_backbone,
)
from abnet.config import AbNetConfig
from abnet.decoder import Decoder
from abnet.encoder import Encoder
from abnet.errors import AbNetError
from abnet.length import LengthPredictor
from abnet.tokenizer import SymbolIds

INITIAL_DEVIATION = 0.02  # of weights that are new inside a Transformer's layer, as BERT's


class Vocabulary(NamedTuple):
    """What a model from scratch needs of a BERT's vocabulary."""

    size: int
    symbols: SymbolIds


class Backbones(NamedTuple):
    """The two sides; one object twice where they share their weights."""

    source: Backbone
    target: Backbone


def load_bert(config: AbNetConfig, side: str) -> Backbone:
    """The BERT of a side: its weights, or random ones of its shape.

    Raises:
        AbNetError: see `load_backbone`.
    """
    with_head = side == "target" or config.share_bert
    name = config.bert(side)
    if config.weights(side) == "random":
        return random_backbone(load_bert_config(name), with_head, config.bert_dropout)
    return load_backbone(name, with_head, config.bert_dropout)


def build_backbones(
    config: AbNetConfig,
    source: Vocabulary,
    target: Vocabulary,
    bert: Callable[[AbNetConfig, str], Backbone] = load_bert,
) -> Backbones:
    """What encoder and decoder stand on.

    Args:
        config: the choices.
        source, target: the vocabularies, for a side from scratch.
        bert: makes the BERT of a side, "source" or "target".

    Raises:
        AbNetError: a BERT cannot be loaded, or a Transformer's shape is not possible.
    """

    def scratch(layers: int, vocabulary: Vocabulary, with_head: bool) -> Backbone:
        shape = TransformerShape(
            layers,
            config.transformer_dim,
            config.transformer_ffn_dim,
            config.transformer_heads,
            config.transformer_dropout,
        )
        return transformer_backbone(shape, vocabulary.size, with_head, vocabulary.symbols.pad)

    if config.encoder == "transformer":
        encoder = scratch(config.transformer_encoder_layers, source, with_head=False)
    else:
        encoder = bert(config, "source")
    if config.share_bert:
        return Backbones(encoder, encoder)
    if config.decoder == "transformer":
        return Backbones(
            encoder, scratch(config.transformer_decoder_layers, target, with_head=True)
        )
    return Backbones(encoder, bert(config, "target"))


def build_encoder(config: AbNetConfig, backbone: Backbone, symbols: SymbolIds) -> Encoder:
    """The encoder of a config around its backbone; a Transformer has no adapters."""
    count = config.encoder_adapter_layers if config.encoder == "bert" else 0
    adapters = nn.ModuleDict(
        {
            str(layer): FeedForwardAdapter(
                backbone.hidden_size, config.encoder_adapter_dim, config.adapter_init == "identity"
            )
            for layer in _top_layers("encoder", count, backbone)
        }
    )
    length = None
    if config.objective == "conditional_masked_lm":
        length = LengthPredictor(config.length_classes, backbone.hidden_size)
    return Encoder(backbone, adapters, length, symbols, config.keep_cls)


def build_decoder(
    config: AbNetConfig, backbone: Backbone, symbols: SymbolIds, memory_width: int
) -> Decoder:
    """The decoder of a config around its backbone; `memory_width` is the encoder's."""
    causal = config.objective == "autoregressive"
    inside = config.decoder == "transformer" or config.cross_attention == "inside"
    make = _cross_attention_inside if inside else _adapter
    count = config.decoder_adapter_layers if config.decoder == "bert" else None
    adapters = nn.ModuleDict(
        {
            str(layer): make(config, backbone, memory_width)
            for layer in _top_layers("decoder", count, backbone)
        }
    )
    return Decoder(backbone, adapters, symbols, config.keep_cls and not causal, causal, inside)


def _adapter(config: AbNetConfig, backbone: Backbone, memory_width: int) -> CrossAttentionAdapter:
    """The adapter behind a layer of a BERT (Eq. 6)."""
    width, dropout = backbone.hidden_size, config.adapter_dropout
    heads = config.decoder_adapter_heads or backbone.num_heads
    identity = config.adapter_init == "identity"
    attention = CrossAttention(width, memory_width, heads, dropout, identity)
    block = None
    if config.decoder_adapter_ffn_dim:
        block = FeedForward(width, config.decoder_adapter_ffn_dim, identity)
    pre_norm = config.decoder_adapter_norm == "pre"
    return CrossAttentionAdapter(attention, block, width, dropout, pre_norm)


def _cross_attention_inside(
    config: AbNetConfig, backbone: Backbone, memory_width: int
) -> CrossAttentionAdapter:
    """The cross-attention within a Transformer's layer, where the layer's norms stand."""
    width = backbone.hidden_size
    scratch = config.decoder == "transformer"
    dropout = config.transformer_dropout if scratch else config.bert_dropout
    attention = CrossAttention(width, memory_width, backbone.num_heads, dropout, identity=False)
    for projection in (attention.q_proj, attention.k_proj, attention.v_proj, attention.out_proj):
        nn.init.normal_(projection.weight, std=INITIAL_DEVIATION)
    pre_norm = backbone.halves is not None and backbone.halves.pre_norm
    return CrossAttentionAdapter(attention, None, width, dropout, pre_norm, backbone.norm_eps)


def _top_layers(side: str, count: int | None, backbone: Backbone) -> range:
    """Indices of the top `count` layers, all if `None`."""
    depth = len(backbone.layers)
    if count is None:
        return range(depth)
    if count > depth:
        raise AbNetError(
            f"`{side}_adapter_layers` must be at most the BERT's {depth} layers, "
            f"but is {count} instead."
        )
    return range(depth - count, depth)
