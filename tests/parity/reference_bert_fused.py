"""BERT-Fused as its formulas say it: one sentence at a time, without padding, caches or modules."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from abnet.adapters import CrossAttention
from abnet.model import AbNet


def attend(
    queries: nn.Linear, keys: nn.Linear, values: nn.Linear, out: nn.Linear, heads: int,
    hidden: Tensor, memory: Tensor, causal: bool = False,
) -> Tensor:  # fmt: skip
    """(T, H) and (S, M) to (T, H)."""
    parts = []
    width = queries.out_features // heads
    q, k, v = queries(hidden), keys(memory), values(memory)
    for head in range(heads):
        of_head = slice(head * width, (head + 1) * width)
        scores = q[:, of_head] @ k[:, of_head].T / math.sqrt(width)
        if causal:
            scores = scores.masked_fill(torch.ones_like(scores).triu(1).bool(), -math.inf)
        parts.append(scores.softmax(dim=1) @ v[:, of_head])
    return out(torch.cat(parts, dim=1))


def cross(attention: CrossAttention, hidden: Tensor, memory: Tensor) -> Tensor:
    a = attention
    return attend(a.q_proj, a.k_proj, a.v_proj, a.out_proj, a.heads, hidden, memory)


def self_attention(layer: nn.Module, hidden: Tensor, causal: bool = False) -> Tensor:
    a = layer.attention.self
    out, heads = layer.attention.output.dense, a.num_attention_heads
    return attend(a.query, a.key, a.value, out, heads, hidden, hidden, causal)


def feed_forward(layer: nn.Module, hidden: Tensor, pre: bool) -> Tensor:
    inner, output = layer.intermediate, layer.output
    if pre:
        return hidden + output.dense(F.gelu(inner.dense(inner.LayerNorm(hidden))))
    return output.LayerNorm(hidden + output.dense(F.gelu(inner.dense(hidden))))


def norm_of(layer: nn.Module, pre: bool) -> nn.Module:
    return layer.attention.LayerNorm if pre else layer.attention.output.LayerNorm


def encode(model: AbNet, ids: Tensor, bert: Tensor, shares: Sequence[float]) -> Tensor:
    """(S,) ids and the BERT's (S, M) to (S, H); [LENGTH], where there is one, stays in front.

    Args:
        model: the weights.
        ids: of the source, [CLS] included where the model keeps it.
        bert: the BERT's states.
        shares: of each layer, the weight of self-attention; the BERT has the rest.
    """
    encoder, pre = model.encoder, model.config.transformer_norm == "pre"
    hidden = encoder.backbone.embed(ids[None])[0]
    if encoder.length is not None:
        hidden = torch.cat([encoder.length.table.weight[:1], hidden])
    for index, (layer, share) in enumerate(zip(encoder.backbone.layers, shares, strict=True)):
        norm = norm_of(layer, pre)
        asked = norm(hidden) if pre else hidden
        own = self_attention(layer, asked)
        read = cross(encoder.adapters[str(index)].attention, asked, bert)
        total = hidden + share * own + (1 - share) * read
        hidden = feed_forward(layer, total if pre else norm(total), pre)
    return encoder.backbone.final_norm(hidden)


def decode(
    model: AbNet, ids: Tensor, memory: Tensor, bert: Tensor, shares: Sequence[float]
) -> Tensor:
    """(T,) ids, the encoder's (S, H) without [LENGTH] and the BERT's (S, M) to logits (T, V)."""
    decoder, pre = model.decoder, model.config.transformer_norm == "pre"
    hidden = decoder.backbone.embed(ids[None])[0]
    for index, (layer, share) in enumerate(zip(decoder.backbone.layers, shares, strict=True)):
        norm = norm_of(layer, pre)
        asked = norm(hidden) if pre else hidden
        total = hidden + self_attention(layer, asked, decoder.causal)
        hidden = total if pre else norm(total)
        fused = decoder.adapters[str(index)]
        norm = fused.attention_norm
        asked = norm(hidden) if pre else hidden
        own = cross(fused.attention, asked, memory)
        read = cross(fused.bert.attention, asked, bert)
        total = hidden + share * own + (1 - share) * read
        hidden = feed_forward(layer, total if pre else norm(total), pre)
    states = decoder.backbone.final_norm(hidden)
    return states @ decoder.backbone.embeddings.word_embeddings.weight.T
