"""A config's choices to modules: which backbones, adapters and cross-attention a system has."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import nn

from abnet.adapters import (
    INITIAL_DEVIATION,
    CrossAttention,
    CrossAttentionAdapter,
    FeedForward,
    FeedForwardAdapter,
)
from abnet.backbone import (
    Backbone,
    TransformerShape,
    load_backbone,
    load_bert_config,
    random_backbone,
    transformer_backbone,
)
from abnet.bert_fused import BertAttention, FusedCrossAttention, FusedEncoder
from abnet.config import AbNetConfig
from abnet.ct_nmt import SwitchedEncoder
from abnet.decoder import Decoder
from abnet.encoder import Encoder
from abnet.errors import AbNetError
from abnet.length import LengthPredictor
from abnet.lexical import LexicalAdapter
from abnet.one_pass.links import Links
from abnet.spread import SourceSpread
from abnet.tokenizer import SymbolIds


class Vocabulary(NamedTuple):
    """What a model from scratch needs of a BERT's vocabulary."""

    size: int
    symbols: SymbolIds


class Backbones(NamedTuple):
    """What the layers of both sides are.

    Attributes:
        source, target: the two sides; one object twice where they share their weights.
        fused: the source BERT that a Transformer (BERT-Fused, CT-NMT) reads besides; else `None`.
    """

    source: Backbone
    target: Backbone
    fused: Backbone | None = None


def load_bert(config: AbNetConfig, side: str) -> Backbone:
    """The BERT of a side: its weights, or random ones of its shape, its embeddings kept or not.

    Raises:
        AbNetError: see `load_backbone`.
    """
    with_head = side == "target" or config.share_bert
    name, dropout = config.bert(side), config.bert_dropout
    if config.weights(side) == "pretrained":
        return load_backbone(name, with_head, dropout)
    backbone = random_backbone(load_bert_config(name), with_head, dropout)
    if config.weights(side) == "random_layers":
        known = load_backbone(name, with_head, dropout)
        for part in ("embeddings", "embedding_projection"):
            backbone.get_submodule(part).load_state_dict(known.get_submodule(part).state_dict())
    return backbone


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
            config.transformer_attention_dropout,
            config.transformer_norm == "pre",
        )
        return transformer_backbone(shape, vocabulary.size, with_head, vocabulary.symbols.pad)

    if config.encoder == "bert":
        encoder = bert(config, "source")
    else:
        encoder = scratch(config.transformer_encoder_layers, source, with_head=False)
    if config.share_bert:
        return Backbones(encoder, encoder)
    if config.decoder == "bert":
        decoder = bert(config, "target")
    else:
        decoder = scratch(config.transformer_decoder_layers, target, with_head=True)
    fused = bert(config, "source") if config.encoder in ("bert_fused", "ct_nmt") else None
    return Backbones(encoder, decoder, fused)


def build_encoder(config: AbNetConfig, backbones: Backbones, symbols: SymbolIds) -> Encoder:
    """The encoder of a config around its backbone; a Transformer has no adapters."""
    backbone, bert = backbones.source, backbones.fused
    length = None
    if config.objective == "conditional_masked_lm":
        length = LengthPredictor(config.length_classes, backbone.hidden_size)
    if bert is None:
        adapters = _encoder_adapters(config, backbone, None)
        lexical = None
        if config.lexical_adapter_dim:
            size, width = backbone.vocab_size, backbone.hidden_size
            dim, dropout = config.lexical_adapter_dim, config.adapter_dropout
            lexical = LexicalAdapter(size, dim, width, dropout)
        return Encoder(backbone, adapters, length, symbols, config.keep_cls, lexical)
    alone = Encoder(bert, nn.ModuleDict(), None, symbols, config.keep_cls)
    if config.encoder == "ct_nmt":
        distill = config.distillation_weight > 0
        return SwitchedEncoder(backbone, length, symbols, config.keep_cls, alone, distill)
    adapters = _encoder_adapters(config, backbone, bert)
    return FusedEncoder(backbone, adapters, length, symbols, config.keep_cls, alone)


def _encoder_adapters(
    config: AbNetConfig, backbone: Backbone, bert: Backbone | None
) -> nn.ModuleDict:
    """What stands in or behind the encoder's layers."""
    if bert is not None:
        layers = range(len(backbone.layers))
        return nn.ModuleDict(
            {str(layer): _bert_attention(config, backbone, bert) for layer in layers}
        )
    count = config.encoder_adapter_layers if config.encoder == "bert" else 0
    return nn.ModuleDict(
        {
            str(layer): FeedForwardAdapter(
                backbone.hidden_size, config.encoder_adapter_dim, config.adapter_init == "identity"
            )
            for layer in _top_layers("encoder", count, backbone)
        }
    )


def build_decoder(config: AbNetConfig, backbones: Backbones, symbols: SymbolIds) -> Decoder:
    """The decoder of a config around its backbone."""
    causal = config.objective == "autoregressive"
    inside = config.decoder != "bert" or config.cross_attention == "inside"
    make: Callable[[AbNetConfig, Backbones], nn.Module] = _adapter
    if config.decoder == "bert_fused":
        make = _fused_cross_attention
    elif inside:
        make = _cross_attention_inside
    backbone = backbones.target
    count = config.decoder_adapter_layers if config.decoder == "bert" else None
    adapters = nn.ModuleDict(
        {str(layer): make(config, backbones) for layer in _top_layers("decoder", count, backbone)}
    )
    spread = blank = links = None
    if config.spread_source:
        gloss_dim = config.lexical_adapter_dim if config.gloss_source else 0
        spread = SourceSpread(backbone.hidden_size, backbones.source.hidden_size, gloss_dim)
    if config.objective == "ctc":
        blank = nn.Linear(backbone.hidden_size, 1)
    if config.objective == "dag":
        links = Links(backbone.hidden_size, backbone.num_heads, backbone.max_positions)
    keep_cls = config.keep_cls and not causal
    return Decoder(backbone, adapters, symbols, keep_cls, causal, inside, spread, blank, links)


def _adapter(config: AbNetConfig, backbones: Backbones) -> CrossAttentionAdapter:
    """The adapter behind a layer of a BERT (Eq. 6)."""
    backbone, memory_width = backbones.target, backbones.source.hidden_size
    width, dropout = backbone.hidden_size, config.adapter_dropout
    heads = config.decoder_adapter_heads or backbone.num_heads
    identity = config.adapter_init == "identity"
    of_weights = config.adapter_attention_dropout
    of_weights = dropout if of_weights is None else of_weights
    attention = CrossAttention(width, memory_width, heads, of_weights, identity)
    block = None
    if config.decoder_adapter_ffn_dim:
        block = FeedForward(width, config.decoder_adapter_ffn_dim, identity)
    pre_norm = config.decoder_adapter_norm == "pre"
    return CrossAttentionAdapter(attention, block, width, dropout, pre_norm)


def _cross_attention_inside(config: AbNetConfig, backbones: Backbones) -> CrossAttentionAdapter:
    """The cross-attention within a Transformer's layer, where the layer's norms stand."""
    backbone = backbones.target
    dropout = of_weights = config.bert_dropout
    if config.decoder != "bert":
        dropout = config.transformer_dropout
        of_weights = config.transformer_attention_dropout
    attention = _attention_inside(backbone, backbones.source.hidden_size, of_weights)
    return CrossAttentionAdapter(
        attention, None, backbone.hidden_size, dropout, backbone.pre_norm, backbone.norm_eps
    )


def _fused_cross_attention(config: AbNetConfig, backbones: Backbones) -> FusedCrossAttention:
    """The two cross-attentions within a decoder's layer of BERT-Fused."""
    backbone, of_weights = backbones.target, config.transformer_attention_dropout
    return FusedCrossAttention(
        _attention_inside(backbone, backbones.source.hidden_size, of_weights),
        _bert_attention(config, backbone, backbones.fused),
        backbone.hidden_size,
        config.transformer_dropout,
        backbone.pre_norm,
        backbone.norm_eps,
    )


def _bert_attention(
    config: AbNetConfig, backbone: Backbone, bert: Backbone | None
) -> BertAttention:
    """The attention of one of the backbone's layers to the source BERT."""
    if bert is None:
        raise AbNetError("`backbones` must have a BERT to fuse, but have none.")
    of_weights = config.transformer_attention_dropout
    attention = _attention_inside(backbone, bert.hidden_size, of_weights)
    return BertAttention(attention, config.transformer_dropout, config.drop_net)


def _attention_inside(backbone: Backbone, memory_width: int, dropout: float) -> CrossAttention:
    """A new attention with weights as those of the layer that it stands in."""
    attention = CrossAttention(
        backbone.hidden_size, memory_width, backbone.num_heads, dropout, identity=False
    )
    for projection in (attention.q_proj, attention.k_proj, attention.v_proj, attention.out_proj):
        nn.init.normal_(projection.weight, std=INITIAL_DEVIATION)
    return attention


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
