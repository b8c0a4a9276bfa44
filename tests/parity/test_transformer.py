"""A Transformer from scratch is PyTorch's own with the same weights, wherever its norms stand."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from abnet.adapters import CrossAttention
from abnet.model import AbNet
from tests.systems import Toys, lively_model, small_pairs

WIDTH, HEADS, FFN, LAYERS, EPS = 16, 4, 32, 2, 1e-12  # those of `tests.systems`


def copy_attention(theirs: nn.MultiheadAttention, parts: tuple[nn.Linear, ...]) -> None:
    """parts: queries, keys, values and output."""
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([part.weight for part in parts[:3]]))
        theirs.in_proj_bias.copy_(torch.cat([part.bias for part in parts[:3]]))
    theirs.out_proj.load_state_dict(parts[3].state_dict())


def copy_layer(theirs: nn.Module, ours: nn.Module, last_norm: nn.Module, pre: bool) -> None:
    """All of a layer but its cross-attention."""
    inner = ours.attention.self
    copy_attention(
        theirs.self_attn, (inner.query, inner.key, inner.value, ours.attention.output.dense)
    )
    for linear, own in ((theirs.linear1, ours.intermediate), (theirs.linear2, ours.output)):
        linear.load_state_dict(own.dense.state_dict())
    first, last = ours.attention.output, ours.output
    if pre:
        first, last = ours.attention, ours.intermediate
    theirs.norm1.load_state_dict(first.LayerNorm.state_dict())
    last_norm.load_state_dict(last.LayerNorm.state_dict())


def queries_to_output(attention: CrossAttention) -> tuple[nn.Linear, ...]:
    return attention.q_proj, attention.k_proj, attention.v_proj, attention.out_proj


def with_the_weights_of(model: AbNet, pre: bool) -> tuple[nn.Module, nn.Module]:
    """PyTorch's encoder and decoder."""
    size = (WIDTH, HEADS, FFN, 0.0, F.gelu, EPS, True, pre)
    norms = [nn.LayerNorm(WIDTH, EPS) if pre else None for _ in range(2)]
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(*size), LAYERS, norms[0], False)
    decoder = nn.TransformerDecoder(nn.TransformerDecoderLayer(*size), LAYERS, norms[1])
    ours = model.encoder.backbone, model.decoder.backbone
    for theirs, own in zip(encoder.layers, ours[0].layers, strict=True):
        copy_layer(theirs, own, theirs.norm2, pre)
    for index, (theirs, own) in enumerate(zip(decoder.layers, ours[1].layers, strict=True)):
        copy_layer(theirs, own, theirs.norm3, pre)
        cross = model.decoder.adapters[str(index)]
        copy_attention(theirs.multihead_attn, queries_to_output(cross.attention))
        theirs.norm2.load_state_dict(cross.attention_norm.state_dict())
    for norm, backbone in zip(norms, ours, strict=True):
        if norm is not None:
            norm.load_state_dict(backbone.final_norm.state_dict())
    return encoder.eval(), decoder.eval()


def shaken(model: AbNet) -> AbNet:
    """Norms and biases, which all begin as ones and zeros, become their own."""
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight), alpha=0.1)
    return model


@torch.no_grad()
@pytest.mark.parametrize("norm", ["post", "pre"])
@pytest.mark.parametrize("name", ["transformer_base", "mask_predict"])
def test_states_are_those_of_pytorchs_layers(toys: Toys, name: str, norm: str) -> None:
    model = shaken(lively_model(name, toys, transformer_norm=norm, keep_cls=False))
    encoder, decoder = with_the_weights_of(model, norm == "pre")
    pairs = small_pairs(model)
    unseen = pairs.source.eq(model.source_symbols.pad)
    words = pairs.target.ne(model.target_symbols.pad)

    embedded: Tensor = model.encoder.backbone.embed(pairs.source)
    hidden = unseen
    if model.encoder.length is not None:
        embedded = model.encoder.length.prepend(embedded)
        hidden = torch.cat([unseen.new_zeros(len(unseen), 1), unseen], dim=1)
    memory = encoder(embedded, src_key_padding_mask=hidden)[:, embedded.size(1) - unseen.size(1) :]
    encoded = model.encode(pairs.source)
    torch.testing.assert_close(encoded.memory[~unseen], memory[~unseen], atol=1e-4, rtol=1e-4)

    later = None
    if model.decoder.causal:
        later = torch.ones(words.size(1), words.size(1), dtype=torch.bool).triu(1)
    states = decoder(
        model.decoder.backbone.embed(pairs.target),
        memory,
        tgt_mask=later,
        tgt_key_padding_mask=~words,
        memory_key_padding_mask=unseen,
    )
    logits = states[words] @ model.decoder.backbone.embeddings.word_embeddings.weight.T
    ours = model(pairs.source, pairs.target, words).word_logits
    torch.testing.assert_close(ours, logits, atol=1e-4, rtol=1e-4)
