from __future__ import annotations

import pytest
import torch
from torch import nn

from abnet.adapters import CrossAttention, CrossAttentionAdapter, FeedForward, FeedForwardAdapter
from abnet.encoder import EncoderOutput


def test_equation_4() -> None:
    torch.manual_seed(0)
    adapter = FeedForwardAdapter(width=8, hidden=5, identity=False)
    hidden = torch.randn(2, 3, 8)
    normed = (hidden - hidden.mean(-1, keepdim=True)) / hidden.std(-1, unbiased=False, keepdim=True)
    expected = hidden + (normed @ adapter.w1.weight.T).clamp(min=0) @ adapter.w2.weight.T
    torch.testing.assert_close(adapter(hidden), expected)
    assert adapter.w1.bias is None
    assert adapter.norm.eps == 1e-12


def test_equation_6_is_torchs_multi_head_attention() -> None:
    torch.manual_seed(0)
    ours = CrossAttention(width=12, memory_width=8, heads=3, dropout=0.0, identity=False)
    theirs = nn.MultiheadAttention(12, 3, kdim=8, vdim=8, batch_first=True)
    with torch.no_grad():
        for name in ("q", "k", "v"):
            getattr(theirs, f"{name}_proj_weight").copy_(ours.get_submodule(f"{name}_proj").weight)
        theirs.in_proj_bias.zero_()
        theirs.out_proj.weight.copy_(ours.out_proj.weight)
    hidden, memory = torch.randn(2, 4, 12), torch.randn(2, 5, 8)
    padding = torch.tensor([[False] * 5, [False, False, False, True, True]])
    expected, _ = theirs(hidden, memory, memory, key_padding_mask=padding)
    actual = ours(hidden, ours.project(memory), ~padding[:, None, None, :])
    torch.testing.assert_close(actual, expected)


@pytest.mark.parametrize("block", [False, True])
def test_pre_norm_starts_as_the_identity_and_released_does_not(block: bool) -> None:
    hidden, memory = torch.randn(2, 4, 12), torch.randn(2, 5, 8)
    visible = torch.ones(2, 1, 1, 5, dtype=torch.bool)

    def output(identity: bool, pre_norm: bool) -> torch.Tensor:
        attention = CrossAttention(12, 8, 3, 0.0, identity)
        feed_forward = FeedForward(12, 6, identity) if block else None
        adapter = CrossAttentionAdapter(attention, feed_forward, 12, 0.0, pre_norm)
        encoded = EncoderOutput(memory, ~visible[:, 0, 0], None)
        return adapter(hidden, adapter.project(encoded), visible)

    torch.testing.assert_close(output(identity=True, pre_norm=True), hidden)
    assert (output(identity=False, pre_norm=True) - hidden).abs().mean() > 1e-3
    released = output(identity=False, pre_norm=False)  # ends in a layer norm
    torch.testing.assert_close(released.mean(-1), torch.zeros(2, 4), atol=1e-5, rtol=0)
    torch.testing.assert_close(
        released.var(-1, unbiased=False), torch.ones(2, 4), atol=1e-3, rtol=0
    )


def test_the_released_initialisation() -> None:
    """Deviations of the released code's own classes at BERT-Base's width, printed from them."""
    torch.manual_seed(1)
    attention = CrossAttention(768, 768, 8, 0.0, identity=False)
    block, adapter = FeedForward(768, 2048, False), FeedForwardAdapter(768, 2048, identity=False)
    for linear, deviation in (
        (attention.q_proj, 0.0255), (attention.k_proj, 0.0255), (attention.v_proj, 0.0255),
        (attention.out_proj, 0.02), (block.fc1, 0.02), (block.fc2, 0.02),
        (adapter.w1, 0.0266), (adapter.w2, 0.0266),
    ):  # fmt: skip
        assert float(linear.weight.std()) == pytest.approx(deviation, rel=0.01)
        assert linear.bias is None or not linear.bias.any()
