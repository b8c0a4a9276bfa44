"""Which attention kernel a training step takes, and that it computes the same."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from abnet.attention import FUSED_FROM, training_attention
from abnet.training.objective import training_loss
from tests.systems import Toys, small_model, small_pairs


def is_fused(
    dtype: torch.dtype, length: int, autocast: bool = False, gradient: bool = True
) -> bool:
    """Whether torch may take its fused attention."""
    model = nn.Linear(2, 2).to(dtype)
    ids = torch.zeros(3, 5, dtype=torch.long), torch.zeros(3, length, dtype=torch.long)
    with (
        torch.set_grad_enabled(gradient),
        torch.autocast("cpu", torch.bfloat16, enabled=autocast),
        training_attention(model, *ids),
    ):
        return torch.backends.cuda.flash_sdp_enabled()  # the CPU's switch as well


def test_short_sentences_train_unfused_in_bfloat16() -> None:
    assert not is_fused(torch.bfloat16, 10)
    assert not is_fused(torch.float32, 10, autocast=True)
    assert not is_fused(torch.bfloat16, FUSED_FROM - 1)
    assert torch.backends.cuda.flash_sdp_enabled()  # once more


def test_all_else_is_fused() -> None:
    assert is_fused(torch.float32, 10)
    assert is_fused(torch.bfloat16, FUSED_FROM)
    assert is_fused(torch.bfloat16, 10, gradient=False)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_training_step_takes_what_is_faster(dtype: torch.dtype, toys: Toys) -> None:
    model = small_model("abnet", toys).to(dtype)
    seen: list[bool] = []

    def look(*given: object) -> None:
        seen.append(torch.backends.cuda.flash_sdp_enabled())

    for side in (model.encoder.backbone, model.decoder.backbone):
        side.layers[0].register_forward_hook(look)
    generator = torch.Generator().manual_seed(1)
    training_loss(model, model, small_pairs(model), generator, training=True)
    assert seen == [dtype == torch.float32] * 2


@pytest.mark.parametrize("system", ["abnet", "abnet_ctc", "bert_fused"])
def test_gradients_in_bfloat16_are_those_in_32_bits_but_for_rounding(
    system: str, toys: Toys
) -> None:
    def gradients(dtype: torch.dtype) -> Tensor:
        model = small_model(system, toys).to(dtype)
        generator = torch.Generator().manual_seed(1)
        parts = training_loss(model, model, small_pairs(model), generator, training=False)
        (parts.loss / parts.sample_size).backward()
        found = [p.grad.flatten() for p in model.parameters() if p.grad is not None]
        return torch.cat(found).float()

    exact, rounded = gradients(torch.float32), gradients(torch.bfloat16)
    assert (exact - rounded).norm() < 0.05 * exact.norm()
