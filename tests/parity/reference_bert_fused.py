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


def feed_forward(layer: nn.Module, hidden: Tensor) -> Tensor:
    output = layer.output
    return output.LayerNorm(hidden + output.dense(F.gelu(layer.intermediate.dense(hidden))))


def encode(model: AbNet, ids: Tensor, bert: Tensor, shares: Sequence[float]) -> Tensor:
    """(S,) ids and the BERT's (S, M) to (S, H); [LENGTH], where there is one, stays in front.

    Args:
        model: the weights.
        ids: of the source, [CLS] included where the model keeps it.
        bert: the BERT's states.
        shares: of each layer, the weight of self-attention; the BERT has the rest.
    """
    encoder = model.encoder
    hidden = encoder.backbone.embed(ids[None])[0]
    if encoder.length is not None:
        hidden = torch.cat([encoder.length.table.weight[:1], hidden])
    for index, (layer, share) in enumerate(zip(encoder.backbone.layers, shares, strict=True)):
        own = self_attention(layer, hidden)
        read = cross(encoder.adapters[str(index)].attention, hidden, bert)
        norm = layer.attention.output.LayerNorm
        hidden = feed_forward(layer, norm(hidden + share * own + (1 - share) * read))
    return hidden


def decode(
    model: AbNet, ids: Tensor, memory: Tensor, bert: Tensor, shares: Sequence[float]
) -> Tensor:
    """(T,) ids, the encoder's (S, H) without [LENGTH] and the BERT's (S, M) to logits (T, V)."""
    decoder = model.decoder
    hidden = decoder.backbone.embed(ids[None])[0]
    for index, (layer, share) in enumerate(zip(decoder.backbone.layers, shares, strict=True)):
        hidden = layer.attention.output.LayerNorm(
            hidden + self_attention(layer, hidden, decoder.causal)
        )
        fused = decoder.adapters[str(index)]
        own = cross(fused.attention, hidden, memory)
        read = cross(fused.bert.attention, hidden, bert)
        hidden = feed_forward(
            layer, fused.attention_norm(hidden + share * own + (1 - share) * read)
        )
    return hidden @ decoder.backbone.embeddings.word_embeddings.weight.T
